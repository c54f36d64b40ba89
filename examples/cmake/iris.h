/* iris.h: a trained network, written by nnpy 0.1.0:
 *
 *     net.export_c("iris.h", name="iris")
 *
 * Layers:          4-8-3, tanh, softmax
 * Flash:           268 bytes of constants, and the code
 * Stack:           32 bytes of buffers; no other RAM, no heap
 * Multiply-adds:   56 for a prediction
 *
 * In one source file of a program:
 *
 *     #define IRIS_IMPLEMENTATION
 *     #include "iris.h"
 *
 * In the others without the first line. It is C99 and C++11 and needs no mathematical library. The outputs have the same bits
 * as those of nnpy, on every processor with IEEE 754 arithmetic. Where there is no instruction for the fused multiply-add, it
 * is computed exactly, which takes longer; #define IRIS_FAST rounds twice instead, which may change the last digits.
 * Compile without -ffast-math. */
#ifndef IRIS_H_
#define IRIS_H_

#define IRIS_NUM_INPUTS 4
#define IRIS_NUM_OUTPUTS 3
#define IRIS_NUM_CLASSES 3

#ifdef __cplusplus
extern "C" {
#endif

/* Computes the outputs. The inputs must be finite. */
void iris_predict(const float in[IRIS_NUM_INPUTS], float out[IRIS_NUM_OUTPUTS]);

/* Returns the class: the index of the largest output. */
int iris_classify(const float in[IRIS_NUM_INPUTS]);

/* Returns the name of a class, from 0 to IRIS_NUM_CLASSES - 1. */
const char *iris_class_name(int number);

#ifndef IRIS_NO_SELFTEST
/* Predicts for 6 inputs, and returns how many results have other bits than in nnpy: 0. */
int iris_selftest(void);
#endif

#ifdef __cplusplus
}
#endif
#endif /* IRIS_H_ */

#ifdef IRIS_IMPLEMENTATION
#ifndef IRIS_IMPLEMENTED_
#define IRIS_IMPLEMENTED_

#include <float.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__FAST_MATH__) && !defined(IRIS_FAST)
#error "-ffast-math changes the results: define IRIS_FAST if that is wanted"
#endif
#if defined(FLT_EVAL_METHOD) && FLT_EVAL_METHOD != 0 && FLT_EVAL_METHOD != 16 && !defined(IRIS_FAST)
#error "arithmetic must round to float: compile for 32-bit x86 with -msse2 -mfpmath=sse"
#endif

static const float iris_weights_0[32] = { /* (8, 4): a row for each output */
    -0.163048193f, -1.13727486f, 0.511812687f, 1.95196009f, 0.149776071f, 0.886890054f, 0.598593295f, 0.23494415f,
    -0.907683015f, -0.381154805f, -0.658744156f, -0.363980591f, 0.957345545f, 0.664469421f, 0.739474535f,
    -0.192307979f, -0.692542553f, -0.0995883867f, 0.327955574f, -0.022569418f, -0.442578375f, -0.6279127f,
    1.23919618f, 1.88438106f, -0.698070467f, -0.178092614f, 1.21172106f, 2.08818078f, 0.561459422f, 0.176850483f,
    -0.0499639101f, -0.218194932f,
};
static const float iris_biases_0[8] = { /* (8,) */
    -1.29969633f, 0.243253648f, -0.232799605f, 0.284936607f, -0.115371473f, -0.404024065f, -0.325896412f,
    0.176980928f,
};
static const float iris_weights_1[24] = { /* (3, 8): a row for each output */
    -1.80740893f, -0.000541238231f, -0.113637052f, -0.23599413f, 0.102736279f, -2.32124305f, -1.23902416f,
    -0.253712684f, -2.75113988f, -0.271160156f, -0.0343589f, -0.431001693f, 0.399217695f, 1.49601996f, 0.958083749f,
    0.105195358f, 3.60279131f, -0.126438484f, -0.0448193029f, -0.243380114f, -0.146699443f, 0.659353018f,
    0.0869904906f, 0.0573537722f,
};
static const float iris_biases_1[3] = { /* (3,) */
    0.064229317f, -0.0991659388f, 0.0583745725f,
};
static uint32_t iris_bits(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static float iris_from_bits(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* x y + z with one rounding: the fused multiply-add. Every variant but that of IRIS_FAST gives the same bits. */
#if defined(IRIS_FAST)
static float iris_fma(float x, float y, float z)
{
    return x * y + z;
}
#elif defined(__GNUC__) && defined(__OPTIMIZE__) && !defined(IRIS_INTEGER_FMA) &&                                           \
    (defined(__FMA__) || defined(__ARM_FEATURE_FMA) || defined(__aarch64__) || defined(__powerpc64__) || defined(__s390x__) || \
     (defined(__riscv_flen) && __riscv_flen >= 32))
static float iris_fma(float x, float y, float z)
{
    return __builtin_fmaf(x, y, z);
}
#elif !defined(IRIS_INTEGER_FMA) &&                                                                                         \
    (defined(__SSE2__) || defined(_M_X64) || defined(__aarch64__) || defined(_M_ARM64) || defined(__wasm__) ||             \
     defined(__powerpc64__) || defined(__s390x__) || (defined(__ARM_FP) && (__ARM_FP & 8)) ||                              \
     (defined(__riscv_flen) && __riscv_flen >= 64) || (defined(__mips_hard_float) && !defined(__mips_single_float)))
/* In double precision, where the processor is known to have it. The product is exact, and the sum is rounded to odd, so that rounding
 * it to float gives the float next to the exact sum (S. Boldo and G. Melquiond, IEEE Transactions on Computers 57(4), 2008). */
static float iris_fma(float x, float y, float z)
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
/* With integers elsewhere; IRIS_INTEGER_FMA chooses it for tests. An int may have 16 bits. */

/* x / 2^n for n >= 0. Its last bit is 1 if a bit of x is lost (a sticky bit), so that a later rounding is right. */
static uint64_t iris_shift_right(uint64_t x, int n)
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
static float iris_fma(float x, float y, float z)
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
        addend = iris_shift_right(addend, exponent - z_exponent);
    } else {
        product = iris_shift_right(product, z_exponent - exponent);
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
        high = (uint32_t)iris_shift_right(high, 1 - exponent);
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
static void iris_layer(const float *x, size_t num_inputs, const float *w, const float *bias, float *z, size_t num_outputs)
{
    size_t i, j, num_of_four = num_outputs - num_outputs % 4;
    for (j = 0; j < num_of_four; j += 4) { /* four sums at a time, for speed */
        const float *w0 = w + j * num_inputs, *w1 = w0 + num_inputs, *w2 = w1 + num_inputs, *w3 = w2 + num_inputs;
        float z0 = bias[j], z1 = bias[j + 1], z2 = bias[j + 2], z3 = bias[j + 3];
        for (i = 0; i < num_inputs; i++) {
            z0 = iris_fma(x[i], w0[i], z0);
            z1 = iris_fma(x[i], w1[i], z1);
            z2 = iris_fma(x[i], w2[i], z2);
            z3 = iris_fma(x[i], w3[i], z3);
        }
        z[j] = z0;
        z[j + 1] = z1;
        z[j + 2] = z2;
        z[j + 3] = z3;
    }
    for (j = num_of_four; j < num_outputs; j++) {
        float z0 = bias[j];
        for (i = 0; i < num_inputs; i++) {
            z0 = iris_fma(x[i], w[j * num_inputs + i], z0);
        }
        z[j] = z0;
    }
}

/* (exp(r) - 1 - r) / r^2 for |r| <= ln(2) / 2, with r2 = r^2. */
static float iris_exp_tail(float r, float r2)
{
    float low = iris_fma(1.6666665459e-1f, r, 5.0000001201e-1f);
    float middle = iris_fma(8.3334519073e-3f, r, 4.1665795894e-2f);
    float high = iris_fma(1.9875691500e-4f, r, 1.3981999507e-3f);
    return iris_fma(iris_fma(high, r2, middle), r2, low);
}

/* x = n ln(2) + r. Returns exp(r), and in *t a float whose low bits are n. */
static float iris_exp_reduced(float x, float *t)
{
    float n, r, r2;
    *t = iris_fma(x, 1.44269504f, 12582912.0f);
    n = *t - 12582912.0f;
    r = iris_fma(n, -0.693359375f, x);
    r = iris_fma(n, 2.12194440e-4f, r);
    r2 = r * r;
    return iris_fma(iris_exp_tail(r, r2), r2, r + 1.0f);
}

/* exp(x) for |x| <= 87. */
static float iris_exp_bounded(float x)
{
    float t, p = iris_exp_reduced(x, &t);
    return iris_from_bits(iris_bits(p) + (iris_bits(t < 25165824.0f ? t : 12582912.0f) << 23));
}

/* exp(x) for every float. The factor 2^n is applied in two halves, each of which is a normal number. */
static float iris_exp(float x)
{
    float t, n, t1, t2, p;
    volatile float result; /* so that no compiler fuses the product with a sum */
    x = 89.0f < x ? 89.0f : x;
    x = -104.0f > x ? -104.0f : x;
    p = iris_exp_reduced(x, &t);
    n = t - 12582912.0f;
    t1 = iris_fma(n, 0.5f, 12582912.0f);
    t2 = (n - (t1 - 12582912.0f)) + 12582912.0f;
    result = p * iris_from_bits(0x3f800000u + (iris_bits(t1) << 23)) * iris_from_bits(0x3f800000u + (iris_bits(t2) << 23));
    return result;
}

/* x + x^3 P(x^2) for |x| <= 0.625, else sign(x) (1 - 2 / (exp(2 |x|) + 1)). */
static float iris_tanh(float x)
{
    float y = x < 0.0f ? -x : x, z = x * x, p, beyond;
    if (!(0.625f < y)) {
        p = iris_fma(-5.70498872745e-3f, z, 2.06390887954e-2f);
        p = iris_fma(p, z, -5.37397155531e-2f);
        p = iris_fma(p, z, 1.33314422036e-1f);
        p = iris_fma(p, z, -3.33332819422e-1f);
        return iris_fma(p * z, x, x);
    }
    y = y + y;
    beyond = 1.0f - 2.0f / (iris_exp_bounded(40.0f < y ? 40.0f : y) + 1.0f);
    return x < 0.0f ? -beyond : beyond;
}

static void iris_softmax(float *z, size_t num)
{
    float max = z[0], sum = 0.0f;
    size_t j;
    for (j = 1; j < num; j++) {
        max = z[j] > max ? z[j] : max;
    }
    for (j = 0; j < num; j++) {
        z[j] = iris_exp(z[j] - max);
    }
    for (j = 0; j < num; j++) {
        sum += z[j];
    }
    for (j = 0; j < num; j++) {
        z[j] /= sum;
    }
}


void iris_predict(const float in[IRIS_NUM_INPUTS], float out[IRIS_NUM_OUTPUTS])
{
    float buffer_0[8];
    size_t i;
    iris_layer(in, 4, iris_weights_0, iris_biases_0, buffer_0, 8);
    for (i = 0; i < 8; i++) {
        buffer_0[i] = iris_tanh(buffer_0[i]);
    }
    iris_layer(buffer_0, 8, iris_weights_1, iris_biases_1, out, 3);
    iris_softmax(out, 3);
}

int iris_classify(const float in[IRIS_NUM_INPUTS])
{
    float out[IRIS_NUM_OUTPUTS];
    int j, best = 0;
    iris_predict(in, out);
    for (j = 1; j < IRIS_NUM_OUTPUTS; j++) {
        if (out[j] > out[best]) {
            best = j;
        }
    }
    return best;
}

const char *iris_class_name(int number)
{
    static const char *const names[IRIS_NUM_CLASSES] = {"setosa", "versicolor", "virginica"};
    return names[number];
}

#ifndef IRIS_NO_SELFTEST
static const float iris_test_inputs[24] = { /* (6, 4) */
    5.0999999f, 3.5f, 1.39999998f, 0.200000003f, 5.0f, 3.0f, 1.60000002f, 0.200000003f, 7.0f, 3.20000005f,
    4.69999981f, 1.39999998f, 6.5999999f, 3.0f, 4.4000001f, 1.39999998f, 6.30000019f, 3.29999995f, 6.0f, 2.5f,
    7.19999981f, 3.20000005f, 6.0f, 1.79999995f,
};

static const float iris_test_outputs[18] = { /* (6, 3) */
    0.996402979f, 0.00350760412f, 8.94299956e-05f, 0.995964289f, 0.00393845979f, 9.72526323e-05f, 0.00239470089f,
    0.993015289f, 0.00458991108f, 0.00256405328f, 0.990265012f, 0.0071709347f, 5.42789749e-05f, 0.00473955693f,
    0.995206177f, 0.000781896582f, 0.110803813f, 0.888414264f,
};

int iris_selftest(void)
{
    float out[IRIS_NUM_OUTPUTS];
    int i, num_wrong = 0;
    for (i = 0; i < 6; i++) {
        iris_predict(iris_test_inputs + i * IRIS_NUM_INPUTS, out);
        num_wrong += memcmp(out, iris_test_outputs + i * IRIS_NUM_OUTPUTS, sizeof out) != 0;
    }
    return num_wrong;
}
#endif

#endif /* IRIS_IMPLEMENTED_ */
#endif /* IRIS_IMPLEMENTATION */
