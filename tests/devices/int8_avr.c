/* int8_avr.c: the self-test of an exported network of 8-bit integers on an AVR, whose int has 16 bits. The command line defines HEADER,
 * SELFTEST (such as int8_small_selftest) and INT8_SMALL_IMPLEMENTATION. */
#include "avr_serial.h"

#include HEADER

int main(void)
{
    begin_output();
    printf("%d wrong\n", SELFTEST());
    end_program();
    return 0;
}
