/* sine.h: a trained network, written by nnpy 0.1.0:
 *
 *     net.export_c("sine.h", name="sine")
 *
 * Layers:          1-8-1, tanh, linear
 * Flash:           100 bytes of constants, and the code
 * Stack:           32 bytes of buffers; no other RAM, no heap
 * Multiply-adds:   16 for a prediction
 *
 * In one source file of a program:
 *
 *     #define SINE_IMPLEMENTATION
 *     #include "sine.h"
 *
 * In the others without the first line. It is C99 and C++11 and needs no mathematical library. The outputs have the same bits
 * as those of nnpy, on every processor with IEEE 754 arithmetic. Where there is no instruction for the fused multiply-add, it
 * is computed exactly, which takes longer; #define SINE_FAST rounds twice instead, which may change the last digits.
 * Compile without -ffast-math. */
#ifndef SINE_H_
#define SINE_H_

#define SINE_NUM_INPUTS 1
#define SINE_NUM_OUTPUTS 1

#ifdef __cplusplus
extern "C" {
#endif

/* Computes the outputs. The inputs must be finite. */
void sine_predict(const float in[SINE_NUM_INPUTS], float out[SINE_NUM_OUTPUTS]);

#ifndef SINE_NO_SELFTEST
/* Predicts for 5 inputs, and returns how many results have other bits than in nnpy: 0. */
int sine_selftest(void);
#endif

#ifdef __cplusplus
}
#endif
#endif /* SINE_H_ */

#ifdef SINE_IMPLEMENTATION
#ifndef SINE_IMPLEMENTED_
#define SINE_IMPLEMENTED_

#include <float.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__FAST_MATH__) && !defined(SINE_FAST)
#error "-ffast-math changes the results: define SINE_FAST if that is wanted"
#endif
#if defined(FLT_EVAL_METHOD) && FLT_EVAL_METHOD != 0 && FLT_EVAL_METHOD != 16 && !defined(SINE_FAST)
#error "arithmetic must round to float: compile for 32-bit x86 with -msse2 -mfpmath=sse"
#endif

static const float sine_weights_0[8] = { /* (8, 1): a row for each output */
    2.41396999f, 0.653255045f, -1.22211981f, 0.0313966535f, 0.231057644f, -1.64293075f, -2.97318792f, 3.22601271f,
};
static const float sine_biases_0[8] = { /* (8,) */
    -1.19949472f, 0.147853851f, 0.177261785f, 1.04954088f, 0.0687691197f, 0.531128824f, 2.78989005f, -0.214643195f,
};
static const float sine_weights_1[8] = { /* (1, 8): a row for each output */
    -5.81668901f, 0.830829144f, -1.15212286f, -0.0198782701f, -2.40789795f, -1.80028141f, -3.15581274f, 2.23853469f,
};
static const float sine_biases_1[1] = { /* (1,) */
    -0.107092157f,
};
static uint32_t sine_bits(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static float sine_from_bits(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* x y + z with one rounding: the fused multiply-add. Every variant but that of SINE_FAST gives the same bits. */
#if defined(SINE_FAST)
static float sine_fma(float x, float y, float z)
{
    return x * y + z;
}
#elif defined(__GNUC__) && defined(__OPTIMIZE__) && !defined(SINE_INTEGER_FMA) &&                                           \
    (defined(__FMA__) || defined(__ARM_FEATURE_FMA) || defined(__aarch64__) || defined(__powerpc64__) || defined(__s390x__) || \
     (defined(__riscv_flen) && __riscv_flen >= 32))
static float sine_fma(float x, float y, float z)
{
    return __builtin_fmaf(x, y, z);
}
#elif !defined(SINE_INTEGER_FMA) &&                                                                                         \
    (defined(__SSE2__) || defined(_M_X64) || defined(__aarch64__) || defined(_M_ARM64) || defined(__wasm__) ||             \
     defined(__powerpc64__) || defined(__s390x__) || (defined(__ARM_FP) && (__ARM_FP & 8)) ||                              \
     (defined(__riscv_flen) && __riscv_flen >= 64) || (defined(__mips_hard_float) && !defined(__mips_single_float)))
/* In double precision, where the processor is known to have it. The product is exact, and the sum is rounded to odd, so that rounding
 * it to float gives the float next to the exact sum (S. Boldo and G. Melquiond, IEEE Transactions on Computers 57(4), 2008). */
static float sine_fma(float x, float y, float z)
{
    double product = (double)x * (double)y, sum = product + (double)z;
    double part = sum - product, error = (product - (sum - part)) + ((double)z - part); /* sum + error is exact */
    uint64_t bits;
    memcpy(&bits, &sum, sizeof bits);
    if ((error > 0 || error < 0) && (bits & 1u) == 0) { /* to the neighbour towards the exact sum, whose last bit is 1 */
        bits += (error > 0) == (sum > 0) ? (uint64_t)1 : (uint64_t)-1;
        memcpy(&sum, &bits, sizeof sum);
    }
    return (float)sum;
}
#else
/* With integers elsewhere; SINE_INTEGER_FMA chooses it for tests. An int may have 16 bits. */

/* x / 2^n for n >= 0. Its last bit is 1 if a bit of x is lost (a sticky bit), so that a later rounding is right. */
static uint64_t sine_shift_right(uint64_t x, int n)
{
    uint32_t high = (uint32_t)(x >> 32), low = (uint32_t)x, lost = 0;
    if (n >= 32) {
        lost = low;
        low = high;
        high = 0;
        n -= 32;
    }
    if (n >= 32) {
        lost |= low;
        low = 0;
    } else if (n > 0) {
        lost |= low << (32 - n);
        low = low >> n | high << (32 - n);
        high >>= n;
    }
    return (uint64_t)high << 32 | low | (lost != 0);
}

/* The product of two significands has 48 bits and is exact. It and the significand of z are shifted to the same exponent and added.
 * The sum, with its leading bit shifted to the same place again, is rounded to 24 bits, or fewer if it is subnormal. */
static float sine_fma(float x, float y, float z)
{
    const uint32_t sign_bit = 0x80000000u, leading = 0x800000u; /* the leading bit of a significand is not stored */
    uint32_t x_bits, y_bits, z_bits, x_part, y_part, z_part, sign, high, low;
    uint64_t product, addend, sum;
    int x_exponent, y_exponent, z_exponent, exponent;
    memcpy(&x_bits, &x, sizeof x_bits);
    memcpy(&y_bits, &y, sizeof y_bits);
    memcpy(&z_bits, &z, sizeof z_bits);
    x_exponent = (int)(x_bits >> 23 & 255u);
    y_exponent = (int)(y_bits >> 23 & 255u);
    z_exponent = (int)(z_bits >> 23 & 255u);
    x_part = (x_bits & (leading - 1u)) | leading;
    y_part = (y_bits & (leading - 1u)) | leading;
    z_part = (z_bits & (leading - 1u)) | leading;
    sign = (x_bits ^ y_bits) & sign_bit;

    if (x_exponent == 0 || x_exponent == 255 || y_exponent == 0 || y_exponent == 255 || z_exponent == 0 || z_exponent == 255) {
        if (x_exponent == 255 || y_exponent == 255) { /* infinity or NaN */
            return x * y + z;
        }
        if (z_exponent == 255) { /* also where x y would overflow */
            return z;
        }
        if (x_bits << 1 == 0 || y_bits << 1 == 0) {
            if (z_bits << 1 == 0) { /* the sum of two zeros is -0 if both are */
                z_bits &= sign;
                memcpy(&z, &z_bits, sizeof z);
            }
            return z;
        }
        if (x_exponent == 0) { /* subnormal: without the leading bit, and with the exponent 1 */
            for (x_exponent = 1, x_part -= leading; x_part < leading; x_exponent--) {
                x_part <<= 1;
            }
        }
        if (y_exponent == 0) {
            for (y_exponent = 1, y_part -= leading; y_part < leading; y_exponent--) {
                y_part <<= 1;
            }
        }
        if (z_exponent == 0) { /* subnormal or 0 */
            z_exponent = 1;
            z_part -= leading;
        }
    }

    /* Product and addend are below 2^62, so that their sum and the sign of their difference fit into 64 bits. */
    exponent = x_exponent + y_exponent - 127;
    product = (uint64_t)(x_part << 7) * (y_part << 7);
    addend = (uint64_t)z_part << 37;
    if (exponent >= z_exponent) {
        addend = sine_shift_right(addend, exponent - z_exponent);
    } else {
        product = sine_shift_right(product, z_exponent - exponent);
        exponent = z_exponent;
    }
    if (sign == (z_bits & sign_bit)) {
        sum = product + addend;
    } else {
        sum = product - addend;
        if (sum == 0) {
            return 0.0f;
        }
        if (sum >> 63 != 0) { /* negative */
            sum = 0u - sum;
            sign ^= sign_bit;
        }
    }

    /* The leading bit goes to bit 30 of the upper half: 24 bits of the result, 7 bits that are rounded, and the lower half as a sticky
     * bit. */
    exponent += 2;
    if (sum >> 32 == 0) {
        sum <<= 31;
        exponent -= 31;
    }
    high = (uint32_t)(sum >> 32);
    low = (uint32_t)sum;
    for (; high >> 30 == 0; exponent--) {
        high = high << 1 | low >> 31;
        low <<= 1;
    }
    high |= low != 0;
    if (exponent <= 0) { /* subnormal */
        high = (uint32_t)sine_shift_right(high, 1 - exponent);
        exponent = 1;
    }
    if (exponent >= 255) {
        z_bits = sign | 0x7f800000u;
    } else { /* to the nearest, of two to the even one; a carry, like the leading bit, adds 1 to the exponent */
        high = (high + 63u + (high >> 7 & 1u)) >> 7;
        z_bits = sign + ((uint32_t)(exponent - 1) << 23) + high;
    }
    memcpy(&z, &z_bits, sizeof z);
    return z;
}
#endif

/* z = bias + w x, each element from left to right. w: (num_outputs, num_inputs), a row for each output. */
static void sine_layer(const float *x, size_t num_inputs, const float *w, const float *bias, float *z, size_t num_outputs)
{
    size_t i, j, num_of_four = num_outputs - num_outputs % 4;
    for (j = 0; j < num_of_four; j += 4) { /* four sums at a time, for speed */
        const float *w0 = w + j * num_inputs, *w1 = w0 + num_inputs, *w2 = w1 + num_inputs, *w3 = w2 + num_inputs;
        float z0 = bias[j], z1 = bias[j + 1], z2 = bias[j + 2], z3 = bias[j + 3];
        for (i = 0; i < num_inputs; i++) {
            z0 = sine_fma(x[i], w0[i], z0);
            z1 = sine_fma(x[i], w1[i], z1);
            z2 = sine_fma(x[i], w2[i], z2);
            z3 = sine_fma(x[i], w3[i], z3);
        }
        z[j] = z0;
        z[j + 1] = z1;
        z[j + 2] = z2;
        z[j + 3] = z3;
    }
    for (j = num_of_four; j < num_outputs; j++) {
        float z0 = bias[j];
        for (i = 0; i < num_inputs; i++) {
            z0 = sine_fma(x[i], w[j * num_inputs + i], z0);
        }
        z[j] = z0;
    }
}

/* (exp(r) - 1 - r) / r^2 for |r| <= ln(2) / 2, with r2 = r^2. */
static float sine_exp_tail(float r, float r2)
{
    float low = sine_fma(1.6666665459e-1f, r, 5.0000001201e-1f);
    float middle = sine_fma(8.3334519073e-3f, r, 4.1665795894e-2f);
    float high = sine_fma(1.9875691500e-4f, r, 1.3981999507e-3f);
    return sine_fma(sine_fma(high, r2, middle), r2, low);
}

/* x = n ln(2) + r. Returns exp(r), and in *t a float whose low bits are n. */
static float sine_exp_reduced(float x, float *t)
{
    float n, r, r2;
    *t = sine_fma(x, 1.44269504f, 12582912.0f);
    n = *t - 12582912.0f;
    r = sine_fma(n, -0.693359375f, x);
    r = sine_fma(n, 2.12194440e-4f, r);
    r2 = r * r;
    return sine_fma(sine_exp_tail(r, r2), r2, r + 1.0f);
}

/* exp(x) for |x| <= 87. */
static float sine_exp_bounded(float x)
{
    float t, p = sine_exp_reduced(x, &t);
    return sine_from_bits(sine_bits(p) + (sine_bits(t < 25165824.0f ? t : 12582912.0f) << 23));
}

/* x + x^3 P(x^2) for |x| <= 0.625, else sign(x) (1 - 2 / (exp(2 |x|) + 1)). */
static float sine_tanh(float x)
{
    float y = x < 0.0f ? -x : x, z = x * x, p, beyond;
    if (!(0.625f < y)) {
        p = sine_fma(-5.70498872745e-3f, z, 2.06390887954e-2f);
        p = sine_fma(p, z, -5.37397155531e-2f);
        p = sine_fma(p, z, 1.33314422036e-1f);
        p = sine_fma(p, z, -3.33332819422e-1f);
        return sine_fma(p * z, x, x);
    }
    y = y + y;
    beyond = 1.0f - 2.0f / (sine_exp_bounded(40.0f < y ? 40.0f : y) + 1.0f);
    return x < 0.0f ? -beyond : beyond;
}


void sine_predict(const float in[SINE_NUM_INPUTS], float out[SINE_NUM_OUTPUTS])
{
    float buffer_0[8];
    size_t i;
    sine_layer(in, 1, sine_weights_0, sine_biases_0, buffer_0, 8);
    for (i = 0; i < 8; i++) {
        buffer_0[i] = sine_tanh(buffer_0[i]);
    }
    sine_layer(buffer_0, 8, sine_weights_1, sine_biases_1, out, 1);
}

#ifndef SINE_NO_SELFTEST
static const float sine_test_inputs[5] = { /* (5, 1) */
    0.0f, 0.25f, 0.5f, 0.75f, 1.0f,
};

static const float sine_test_outputs[5] = { /* (5, 1) */
    -0.000608373666f, 1.00023365f, 4.13184025e-05f, -1.00018775f, 0.000678251206f,
};

int sine_selftest(void)
{
    float out[SINE_NUM_OUTPUTS];
    int i, num_wrong = 0;
    for (i = 0; i < 5; i++) {
        sine_predict(sine_test_inputs + i * SINE_NUM_INPUTS, out);
        num_wrong += memcmp(out, sine_test_outputs + i * SINE_NUM_OUTPUTS, sizeof out) != 0;
    }
    return num_wrong;
}
#endif

#endif /* SINE_IMPLEMENTED_ */
#endif /* SINE_IMPLEMENTATION */
