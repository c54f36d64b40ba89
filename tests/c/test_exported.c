/* test_exported.c: runs the self-tests of exported networks; prints the number of wrong results, and returns it. With -DINTEGER_FMA the
 * fused multiply-add is computed with integers, whatever the processor has. */
#include <stdio.h>

#ifdef INTEGER_FMA
#define CLASSES_INTEGER_FMA
#define SCALED_INTEGER_FMA
#define SMALL_INTEGER_FMA
#endif

#define CLASSES_IMPLEMENTATION
#define SCALED_IMPLEMENTATION
#define SMALL_IMPLEMENTATION
#define INT8_CLASSES_IMPLEMENTATION
#define INT8_SCALED_IMPLEMENTATION
#define INT8_SMALL_IMPLEMENTATION
#include "exported/classes.h"
#include "exported/int8_classes.h"
#include "exported/int8_scaled.h"
#include "exported/int8_small.h"
#include "exported/scaled.h"
#include "exported/small.h"

int main(void)
{
    int num_wrong = classes_selftest() + scaled_selftest() + small_selftest();
    num_wrong += int8_classes_selftest() + int8_scaled_selftest() + int8_small_selftest();
    printf("%d wrong\n", num_wrong);
    return num_wrong;
}
