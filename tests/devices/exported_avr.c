/* exported_avr.c: an exported network on an AVR. Prints how many test vectors give other bits, and the largest error, relative to the
 * expected output where that is above 1, in units of 1e-9. The command line defines NAME (such as small), MACRO (SMALL), HEADER,
 * OUTPUT (the type of an output) and SMALL_IMPLEMENTATION, and SMALL_FAST if the network has a scaler. */
#include "avr_serial.h"

#include HEADER

#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)
#define NUM_INPUTS JOIN(MACRO, _NUM_INPUTS)
#define NUM_OUTPUTS JOIN(MACRO, _NUM_OUTPUTS)
#define TEST_INPUTS JOIN(NAME, _test_inputs)
#define TEST_OUTPUTS JOIN(NAME, _test_outputs)

static OUTPUT magnitude(OUTPUT x)
{
    return x < 0 ? -x : x;
}

int main(void)
{
    OUTPUT out[NUM_OUTPUTS], largest = 0;
    size_t i, j, num = sizeof TEST_INPUTS / sizeof TEST_INPUTS[0] / NUM_INPUTS;
    for (i = 0; i < num; i++) {
        JOIN(NAME, _predict)(TEST_INPUTS + i * NUM_INPUTS, out);
        for (j = 0; j < NUM_OUTPUTS; j++) {
            OUTPUT expected = TEST_OUTPUTS[i * NUM_OUTPUTS + j], scale = magnitude(expected);
            OUTPUT error = magnitude(out[j] - expected) / (scale > 1 ? scale : 1);
            largest = error > largest ? error : largest;
        }
    }
    begin_output();
    printf("%u vectors, %d wrong, error %ld\n", (unsigned)num, JOIN(NAME, _selftest)(), (long)(1e9f * (float)largest));
    end_program();
    return 0;
}
