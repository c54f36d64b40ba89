/* fma.h: nn_fmaf(x, y, z), the fused multiply-add of floats: x y + z with one rounding, on every machine.
 *
 * It is the compiler's instruction where there is one. Elsewhere it is computed in double precision, because the fmaf of a C library
 * is not always right: those of mingw-w64 and Emscripten round twice. */
#ifndef NN_FMA_H_
#define NN_FMA_H_

#include <math.h>
#include <stdint.h>
#include <string.h>

/* Whether fmaf becomes an instruction. An instruction-set file that selects a target with it defines NN_TARGET_HAS_FMA. Without
 * optimisation GCC and Clang call the library. */
#if defined(NN_TARGET_HAS_FMA) || defined(FP_FAST_FMAF) || defined(__FMA__) || defined(__ARM_FEATURE_FMA) || defined(__aarch64__) || \
    defined(__powerpc64__) || defined(__s390x__) || (defined(__riscv_flen) && __riscv_flen >= 32)
#if defined(__OPTIMIZE__) || !defined(__MINGW32__)
#define NN_HAS_FMA 1
#endif
#endif

/* The fused multiply-add without an instruction for it. The product of two floats is exact as a double. The sum is rounded to odd:
 * if it is inexact, to that one of the two doubles around it whose last bit is 1. Rounding the result to float then gives the
 * float next to the exact sum, as double has more than two bits more than float (S. Boldo and G. Melquiond, Emulation of a FMA and
 * correctly rounded sums: proved algorithms using rounding to odd, IEEE Transactions on Computers 57(4), 2008). */
#ifdef __GNUC__
__attribute__((noinline, unused)) /* it is large, and called in many places */
#endif
static float nn_fmaf_in_double(float x, float y, float z)
{
    double product = (double)x * (double)y, sum = product + (double)z;
    double part = sum - product, error = (product - (sum - part)) + ((double)z - part); /* Knuth's TwoSum; NaN if sum is infinite */
    uint64_t bits;
    memcpy(&bits, &sum, sizeof bits);
    if ((error > 0 || error < 0) && (bits & 1) == 0) { /* the exact sum lies between this double and the next one towards `error` */
        bits += (error > 0) == (sum > 0) ? 1 : (uint64_t)-1;
        memcpy(&sum, &bits, sizeof sum);
    }
    return (float)sum;
}

#ifdef NN_HAS_FMA
#define nn_fmaf fmaf
#else
#define nn_fmaf nn_fmaf_in_double
#endif

#endif /* NN_FMA_H_ */
