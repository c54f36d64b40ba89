/* int8_avr.c: the self-test of an exported network of 8-bit integers on an AVR, whose int has 16 bits. The command line defines HEADER,
 * SELFTEST (such as int8_small_selftest) and INT8_SMALL_IMPLEMENTATION. */
#include <avr/interrupt.h>
#include <avr/io.h>
#include <avr/sleep.h>
#include <stdio.h>

#include HEADER

static int put(char character, FILE *file)
{
    (void)file;
    while (!(UCSR0A & (1 << UDRE0))) {
    }
    UDR0 = (uint8_t)character;
    return 0;
}

static FILE serial_port = FDEV_SETUP_STREAM(put, NULL, _FDEV_SETUP_WRITE);

int main(void)
{
    stdout = &serial_port;
    UCSR0B = 1 << TXEN0;
    printf("%d wrong\n", SELFTEST());
    cli();
    sleep_mode(); /* without interrupts: ends simavr */
    return 0;
}
