/* small.h: a trained network, written by nnpy 0.1.0:
 *
 *     net.export_c("small.h", name="small")
 *
 * Layers:          3-6-3-1, silu, softplus, sigmoid
 * Flash:           196 bytes of constants, and the code
 * Stack:           36 bytes of buffers; no other RAM, no heap
 * Multiply-adds:   39 for a prediction
 *
 * In one source file of a program:
 *
 *     #define SMALL_IMPLEMENTATION
 *     #include "small.h"
 *
 * In the others without the first line. It is C99 and C++11 and needs no mathematical library. The outputs have the same bits
 * as those of nnpy, on every processor with IEEE 754 arithmetic. Where there is no instruction for the fused multiply-add, it
 * is computed exactly, which takes longer; #define SMALL_FAST rounds twice instead, which may change the last digits.
 * Compile without -ffast-math. */
#ifndef SMALL_H_
#define SMALL_H_

#define SMALL_NUM_INPUTS 3
#define SMALL_NUM_OUTPUTS 1
#define SMALL_NUM_CLASSES 2

#ifdef __cplusplus
extern "C" {
#endif

/* Computes the outputs. The inputs must be finite. */
void small_predict(const float in[SMALL_NUM_INPUTS], float out[SMALL_NUM_OUTPUTS]);

/* Returns the class: 1 if the output is above 0.5, else 0. */
int small_classify(const float in[SMALL_NUM_INPUTS]);

#ifndef SMALL_NO_SELFTEST
/* Predicts for 6 inputs, and returns how many results have other bits than in nnpy: 0. */
int small_selftest(void);
#endif

#ifdef __cplusplus
}
#endif
#endif /* SMALL_H_ */

#ifdef SMALL_IMPLEMENTATION
#ifndef SMALL_IMPLEMENTED_
#define SMALL_IMPLEMENTED_

#include <float.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__FAST_MATH__) && !defined(SMALL_FAST)
#error "-ffast-math changes the results: define SMALL_FAST if that is wanted"
#endif
#if defined(FLT_EVAL_METHOD) && FLT_EVAL_METHOD != 0 && FLT_EVAL_METHOD != 16 && !defined(SMALL_FAST)
#error "arithmetic must round to float: compile for 32-bit x86 with -msse2 -mfpmath=sse"
#endif

static const float small_weights_0[18] = { /* (6, 3): a row for each output */
    0.364147961f, 0.0133683924f, -0.129103243f, -0.074952431f, 0.333588332f, 0.23858729f, -0.114531025f, -0.28070733f,
    0.199627787f, 0.375350535f, 0.52003026f, -0.190859616f, 0.134085521f, 0.464110136f, -0.16800797f, 0.255112916f,
    0.305492103f, 0.0736293271f,
};
static const float small_biases_0[6] = { /* (6,) */
    0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f,
};
static const float small_weights_1[18] = { /* (3, 6): a row for each output */
    -0.239905804f, -0.0550631918f, 0.0364241265f, -0.258327097f, -0.263324559f, -0.326061815f, 0.392444313f,
    -0.280611157f, 0.0763118342f, 0.00913362578f, 0.328903705f, -0.189864948f, 0.0559289791f, 0.220476538f,
    -0.301410764f, 0.390373826f, -0.157690719f, 0.307421625f,
};
static const float small_biases_1[3] = { /* (3,) */
    0.0f, 0.0f, 0.0f,
};
static const float small_weights_2[3] = { /* (1, 3): a row for each output */
    -0.384827018f, -0.281435132f, -0.736028731f,
};
static const float small_biases_2[1] = { /* (1,) */
    0.0f,
};
static uint32_t small_bits(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static float small_from_bits(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* x y + z with one rounding: the fused multiply-add. Every variant but that of SMALL_FAST gives the same bits. */
#if defined(SMALL_FAST)
static float small_fma(float x, float y, float z)
{
    return x * y + z;
}
#elif defined(__GNUC__) && defined(__OPTIMIZE__) && !defined(SMALL_INTEGER_FMA) &&                                           \
    (defined(__FMA__) || defined(__ARM_FEATURE_FMA) || defined(__aarch64__) || defined(__powerpc64__) || defined(__s390x__) || \
     (defined(__riscv_flen) && __riscv_flen >= 32))
static float small_fma(float x, float y, float z)
{
    return __builtin_fmaf(x, y, z);
}
#elif !defined(SMALL_INTEGER_FMA) &&                                                                                         \
    (defined(__SSE2__) || defined(_M_X64) || defined(__aarch64__) || defined(_M_ARM64) || defined(__wasm__) ||             \
     defined(__powerpc64__) || defined(__s390x__) || (defined(__ARM_FP) && (__ARM_FP & 8)) ||                              \
     (defined(__riscv_flen) && __riscv_flen >= 64) || (defined(__mips_hard_float) && !defined(__mips_single_float)))
/* In double precision, where the processor is known to have it. The product is exact, and the sum is rounded to odd, so that rounding
 * it to float gives the float next to the exact sum (S. Boldo and G. Melquiond, IEEE Transactions on Computers 57(4), 2008). */
static float small_fma(float x, float y, float z)
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
/* With integers elsewhere; SMALL_INTEGER_FMA chooses it for tests. An int may have 16 bits. */

/* x / 2^n for n >= 0. Its last bit is 1 if a bit of x is lost (a sticky bit), so that a later rounding is right. */
static uint64_t small_shift_right(uint64_t x, int n)
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
static float small_fma(float x, float y, float z)
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
        addend = small_shift_right(addend, exponent - z_exponent);
    } else {
        product = small_shift_right(product, z_exponent - exponent);
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
        high = (uint32_t)small_shift_right(high, 1 - exponent);
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
static void small_layer(const float *x, size_t num_inputs, const float *w, const float *bias, float *z, size_t num_outputs)
{
    size_t i, j, num_of_four = num_outputs - num_outputs % 4;
    for (j = 0; j < num_of_four; j += 4) { /* four sums at a time, for speed */
        const float *w0 = w + j * num_inputs, *w1 = w0 + num_inputs, *w2 = w1 + num_inputs, *w3 = w2 + num_inputs;
        float z0 = bias[j], z1 = bias[j + 1], z2 = bias[j + 2], z3 = bias[j + 3];
        for (i = 0; i < num_inputs; i++) {
            z0 = small_fma(x[i], w0[i], z0);
            z1 = small_fma(x[i], w1[i], z1);
            z2 = small_fma(x[i], w2[i], z2);
            z3 = small_fma(x[i], w3[i], z3);
        }
        z[j] = z0;
        z[j + 1] = z1;
        z[j + 2] = z2;
        z[j + 3] = z3;
    }
    for (j = num_of_four; j < num_outputs; j++) {
        float z0 = bias[j];
        for (i = 0; i < num_inputs; i++) {
            z0 = small_fma(x[i], w[j * num_inputs + i], z0);
        }
        z[j] = z0;
    }
}

/* (exp(r) - 1 - r) / r^2 for |r| <= ln(2) / 2, with r2 = r^2. */
static float small_exp_tail(float r, float r2)
{
    float low = small_fma(1.6666665459e-1f, r, 5.0000001201e-1f);
    float middle = small_fma(8.3334519073e-3f, r, 4.1665795894e-2f);
    float high = small_fma(1.9875691500e-4f, r, 1.3981999507e-3f);
    return small_fma(small_fma(high, r2, middle), r2, low);
}

/* x = n ln(2) + r. Returns exp(r), and in *t a float whose low bits are n. */
static float small_exp_reduced(float x, float *t)
{
    float n, r, r2;
    *t = small_fma(x, 1.44269504f, 12582912.0f);
    n = *t - 12582912.0f;
    r = small_fma(n, -0.693359375f, x);
    r = small_fma(n, 2.12194440e-4f, r);
    r2 = r * r;
    return small_fma(small_exp_tail(r, r2), r2, r + 1.0f);
}

/* exp(x) for |x| <= 87. */
static float small_exp_bounded(float x)
{
    float t, p = small_exp_reduced(x, &t);
    return small_from_bits(small_bits(p) + (small_bits(t < 25165824.0f ? t : 12582912.0f) << 23));
}

/* exp(x) for every float. The factor 2^n is applied in two halves, each of which is a normal number. */
static float small_exp(float x)
{
    float t, n, t1, t2, p;
    volatile float result; /* so that no compiler fuses the product with a sum */
    x = 89.0f < x ? 89.0f : x;
    x = -104.0f > x ? -104.0f : x;
    p = small_exp_reduced(x, &t);
    n = t - 12582912.0f;
    t1 = small_fma(n, 0.5f, 12582912.0f);
    t2 = (n - (t1 - 12582912.0f)) + 12582912.0f;
    result = p * small_from_bits(0x3f800000u + (small_bits(t1) << 23)) * small_from_bits(0x3f800000u + (small_bits(t2) << 23));
    return result;
}

/* 1 / (1 + exp(-x)), but 0 for x < -87. */
static float small_sigmoid(float x)
{
    float bounded = 87.0f < x ? 87.0f : x;
    bounded = -87.0f > bounded ? -87.0f : bounded;
    return x < -87.0f ? 0.0f : 1.0f / (1.0f + small_exp_bounded(-bounded));
}

/* log(x) for 1 <= x <= 2. With x = m 2^e and f = m - 1, log(x) = f - f^2 / 2 + f^3 P(f) + e ln(2). */
static float small_log(float x)
{
    uint32_t bits = small_bits(x) - 0x3f3504f3u; /* the bits of sqrt(1/2) */
    float e = (float)(int)((bits >> 23) ^ 0x100u) - 256.0f, m = small_from_bits((bits & 0x007fffffu) + 0x3f3504f3u);
    float f = m - 1.0f, f2 = f * f, p, r;
    p = small_fma(7.0376836292e-2f, f, -1.1514610310e-1f);
    p = small_fma(p, f, 1.1676998740e-1f);
    p = small_fma(p, f, -1.2420140846e-1f);
    p = small_fma(p, f, 1.4249322787e-1f);
    p = small_fma(p, f, -1.6668057665e-1f);
    p = small_fma(p, f, 2.0000714765e-1f);
    p = small_fma(p, f, -2.4999993993e-1f);
    p = small_fma(p, f, 3.3333331174e-1f);
    r = small_fma(e, -2.12194440e-4f, f * f2 * p);
    r = f + small_fma(-0.5f, f2, r);
    return small_fma(e, 0.693359375f, r);
}

/* log(1 + exp(x)) = max(x, 0) + log(1 + e) with e = exp(-|x|). The factor e / (u - 1) corrects the rounding of u = 1 + e. */
static float small_softplus(float x)
{
    float e = small_exp(x < 0.0f ? x : -x), u = 1.0f + e, log_u = e;
    if (0.0f < u - 1.0f) {
        log_u = small_log(u) * e / (u - 1.0f);
    }
    return (x < 0.0f ? 0.0f : x) + log_u;
}

static float small_silu(float x)
{
    return x * small_sigmoid(x);
}


void small_predict(const float in[SMALL_NUM_INPUTS], float out[SMALL_NUM_OUTPUTS])
{
    float buffer_0[6];
    float buffer_1[3];
    size_t i;
    small_layer(in, 3, small_weights_0, small_biases_0, buffer_0, 6);
    for (i = 0; i < 6; i++) {
        buffer_0[i] = small_silu(buffer_0[i]);
    }
    small_layer(buffer_0, 6, small_weights_1, small_biases_1, buffer_1, 3);
    for (i = 0; i < 3; i++) {
        buffer_1[i] = small_softplus(buffer_1[i]);
    }
    small_layer(buffer_1, 3, small_weights_2, small_biases_2, out, 1);
    for (i = 0; i < 1; i++) {
        out[i] = small_sigmoid(out[i]);
    }
}

int small_classify(const float in[SMALL_NUM_INPUTS])
{
    float out[SMALL_NUM_OUTPUTS];
    small_predict(in, out);
    return out[0] > 0.5f;
}

#ifndef SMALL_NO_SELFTEST
static const float small_test_inputs[18] = { /* (6, 3) */
    0.0f, 0.0f, 0.0f, 1.0f, -2.0f, 0.5f, -100.0f, 30.0f, 7.0f, 0.25f, 0.125f, -3.0f, 1.0005271e-42f, -0.0f, 10000.0f,
    -8.0f, 9.0f, -50.0f,
};

static const float small_test_outputs[6] = { /* (6, 1) */
    0.274483263f, 0.282079726f, 0.0875164345f, 0.263989747f, 0.0f, 0.0279950947f,
};

int small_selftest(void)
{
    float out[SMALL_NUM_OUTPUTS];
    int i, num_wrong = 0;
    for (i = 0; i < 6; i++) {
        small_predict(small_test_inputs + i * SMALL_NUM_INPUTS, out);
        num_wrong += memcmp(out, small_test_outputs + i * SMALL_NUM_OUTPUTS, sizeof out) != 0;
    }
    return num_wrong;
}
#endif

#endif /* SMALL_IMPLEMENTED_ */
#endif /* SMALL_IMPLEMENTATION */
