/* test_export_fma.c: the fused multiply-add with integers of exported networks (nnpy/data/predict.c) against the one in double precision
 * (csrc/kernels/fma.h) and the processor's instruction, if it is compiled for one.
 *
 *     test_export_fma [NUMBER]   compares NUMBER random multiply-adds (default 1000000); prints those that differ, and returns 1 if
 *                                there are any */
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/fma.h"

#define NET_INTEGER_FMA
#include "../../nnpy/data/predict.c"

static int num_failed = 0;

static uint32_t random_bits(void)
{
    static uint64_t state = 88172645463325252u; /* xorshift64 */
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 20);
}

static void compare(float x, float y, float z, float expected)
{
    float result = net_fma(x, y, z);
    if (net_bits(result) != net_bits(expected) && !(isnan(result) && isnan(expected)) && num_failed++ < 10) {
        printf("%a * %a + %a is %a instead of %a\n", (double)x, (double)y, (double)z, (double)result, (double)expected);
    }
}

static void check(float x, float y, float z)
{
    compare(x, y, z, nn_fmaf_in_double(x, y, z));
#ifdef NN_HAS_FMA
    compare(x, y, z, fmaf(x, y, z));
#endif
}

/* Every combination of zeros, subnormal numbers, powers of two and their neighbours, the largest floats, infinities and NaN. */
static void check_special_numbers(void)
{
    static const uint32_t magnitudes[] = {0, 1, 2, 3, 0x3fffff, 0x400000, 0x7ffffe, 0x7fffff, 0x800000, 0x800001, 0xffffff, 0x1000000,
        0x0c800000, 0x20000000, 0x33800000, 0x33ffffff, 0x34000000, 0x39800001, 0x3f7ffffe, 0x3f7fffff, 0x3f800000, 0x3f800001,
        0x3fffffff, 0x40000000, 0x4b7fffff, 0x4b800000, 0x5f7fffff, 0x5f800000, 0x7effffff, 0x7f000000, 0x7f7ffffe, 0x7f7fffff,
        0x7f800000, 0x7f800001, 0x7fc00000, 0x7fffffff};
    enum { NUM = sizeof magnitudes / sizeof *magnitudes };
    float numbers[2 * NUM];
    size_t i, j, k;
    for (i = 0; i < NUM; i++) {
        numbers[2 * i] = net_from_bits(magnitudes[i]);
        numbers[2 * i + 1] = net_from_bits(magnitudes[i] | 0x80000000u);
    }
    for (i = 0; i < 2 * NUM; i++) {
        for (j = 0; j < 2 * NUM; j++) {
            for (k = 0; k < 2 * NUM; k++) {
                check(numbers[i], numbers[j], numbers[k]);
            }
        }
    }
}

/* Replaces the exponent by one of `num` numbers from `first` on, of which only those from 0 to 255 are possible. */
static uint32_t with_exponent(uint32_t bits, int first, uint32_t num)
{
    int exponent = first + (int)(random_bits() % num);
    exponent = exponent < 0 ? 0 : exponent > 255 ? 255 : exponent;
    return (bits & 0x807fffffu) | (uint32_t)exponent << 23;
}

static void check_random_numbers(long num)
{
    long i;
    for (i = 0; i < num && num_failed < 10; i++) {
        uint32_t x = random_bits(), y = random_bits(), z = random_bits(), random;
        switch (i % 8) {
        case 0: /* all bit patterns */ break;
        case 1: /* z about as large as x y, at any size: all distances of the exponents */
            z = with_exponent(z, (int)(x >> 23 & 255) + (int)(y >> 23 & 255) - 127 - 64, 128);
            break;
        case 2: /* as the sums of a network */
            x = with_exponent(x, 110, 24);
            y = with_exponent(y, 110, 24);
            z = with_exponent(z, 110, 24);
            break;
        case 3: /* cancellation: z is -x y, rounded, or a neighbour of it */
            x = with_exponent(x, 1, 254);
            y = with_exponent(y, 1, 254);
            z = net_bits(-(net_from_bits(x) * net_from_bits(y))) + random_bits() % 5 - 2;
            break;
        case 4: /* exact cancellation, or all but a unit: the product has few bits */
            x &= 0xfffff000u;
            y &= 0xfffff000u;
            z = net_bits(-(net_from_bits(x) * net_from_bits(y))) + random_bits() % 3 - 1;
            break;
        case 5: /* about half a unit in the last place of z, 1 +- 2^-46 k^2 times: near ties */
            random = 1 + random_bits() % 64;
            x = (x & 0x80000000u) | ((uint32_t)115 << 23 | random);
            y = (y & 0x80000000u) | (((uint32_t)115 << 23) - 2 * random + random_bits() % 3);
            z = with_exponent(z, 126, 3);
            if (random % 4 == 0) {
                y = (y & 0x80000000u) | (uint32_t)115 << 23; /* x y = 2^-24 (1 + 2^-23 k) */
                x &= 0xff800001u;                           /* or an exact tie */
            }
            break;
        case 6: /* subnormal numbers: any of the three, and the result */
            x = with_exponent(x, 0, 70);
            y = with_exponent(y, 0, 150);
            z = with_exponent(z, 0, 3) & ~(uint32_t)(random_bits() & 1 ? 0x7ffff0u : 0u);
            break;
        default: /* beside the largest float */
            x = with_exponent(x, 180, 10);
            y = with_exponent(y, 250 + 127 - 190, 12);
            z = with_exponent(z, 250, 5);
            break;
        }
        if (random_bits() & 1) {
            uint32_t swap = x;
            x = y;
            y = swap;
        }
        check(net_from_bits(x), net_from_bits(y), net_from_bits(z));
    }
}

int main(int argc, char **argv)
{
    check_special_numbers();
    check_random_numbers(argc > 1 ? strtol(argv[1], NULL, 10) : 1000000);
    printf("%d wrong\n", num_failed);
    return num_failed > 0;
}
