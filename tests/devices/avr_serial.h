/* avr_serial.h: how a test program on an AVR prints, and ends simavr. */
#ifndef AVR_SERIAL_H_
#define AVR_SERIAL_H_

#include <avr/interrupt.h>
#include <avr/io.h>
#include <avr/sleep.h>
#include <stdio.h>

static int put(char character, FILE *file)
{
    (void)file;
    while (!(UCSR0A & (1 << UDRE0))) {
    }
    UDR0 = (uint8_t)character;
    return 0;
}

static FILE serial_port = FDEV_SETUP_STREAM(put, NULL, _FDEV_SETUP_WRITE);

/* From here on, printf writes to the serial port. */
static void begin_output(void)
{
    stdout = &serial_port;
    UCSR0B = 1 << TXEN0;
}

/* Sleeps without interrupts, which ends simavr. */
static void end_program(void)
{
    cli();
    sleep_mode();
}

#endif /* AVR_SERIAL_H_ */
