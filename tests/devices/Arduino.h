/* Arduino.h: as much of Arduino as examples/arduino/sine/sine.ino uses, for a board with a Cortex-M in QEMU. Floats are printed as their
 * bits. */
#ifndef ARDUINO_H_
#define ARDUINO_H_

#include <stdint.h>
#include <string.h>

extern "C" {
#include "board.h"
}

struct SerialPort {
    void begin(long) {}
    void println(const char *text)
    {
        board_print(text);
        board_print("\n");
    }
    void println(float number, int)
    {
        uint32_t bits;
        memcpy(&bits, &number, sizeof bits);
        board_print_hex(bits);
        board_print("\n");
    }
};

static SerialPort Serial;

static inline void delay(unsigned long) {}

#endif
