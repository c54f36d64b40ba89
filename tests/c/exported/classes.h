/* classes.h: a trained network, written by nnpy 0.1.0:
 *
 *     net.export_c("classes.h", name="classes")
 *
 * Layers:          3-4-9-5-3, relu, tanh, sigmoid, softmax
 * Flash:           516 bytes of constants, and the code
 * Stack:           56 bytes of buffers; no other RAM, no heap
 * Multiply-adds:   108 for a prediction
 *
 * In one source file of a program:
 *
 *     #define CLASSES_IMPLEMENTATION
 *     #include "classes.h"
 *
 * In the others without the first line. It is C99 and C++11 and needs no mathematical library. The outputs have the same bits
 * as those of nnpy, on every processor with IEEE 754 arithmetic. Where there is no instruction for the fused multiply-add, it
 * is computed exactly, which takes longer; #define CLASSES_FAST rounds twice instead, which may change the last digits.
 * Compile without -ffast-math. */
#ifndef CLASSES_H_
#define CLASSES_H_

#define CLASSES_NUM_INPUTS 3
#define CLASSES_NUM_OUTPUTS 3
#define CLASSES_NUM_CLASSES 3

#ifdef __cplusplus
extern "C" {
#endif

/* Computes the outputs. The inputs must be finite. */
void classes_predict(const float in[CLASSES_NUM_INPUTS], float out[CLASSES_NUM_OUTPUTS]);

/* Returns the class: the index of the largest output. */
int classes_classify(const float in[CLASSES_NUM_INPUTS]);

/* Returns the name of a class, from 0 to CLASSES_NUM_CLASSES - 1. */
const char *classes_class_name(int number);

#ifndef CLASSES_NO_SELFTEST
/* Predicts for 6 inputs, and returns how many results have other bits than in nnpy: 0. */
int classes_selftest(void);
#endif

#ifdef __cplusplus
}
#endif
#endif /* CLASSES_H_ */

#ifdef CLASSES_IMPLEMENTATION
#ifndef CLASSES_IMPLEMENTED_
#define CLASSES_IMPLEMENTED_

#include <float.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__FAST_MATH__) && !defined(CLASSES_FAST)
#error "-ffast-math changes the results: define CLASSES_FAST if that is wanted"
#endif
#if defined(FLT_EVAL_METHOD) && FLT_EVAL_METHOD != 0 && FLT_EVAL_METHOD != 16 && !defined(CLASSES_FAST)
#error "arithmetic must round to float: compile for 32-bit x86 with -msse2 -mfpmath=sse"
#endif

static const float classes_weights_0[12] = { /* (4, 3): a row for each output */
    0.288384408f, -0.344031841f, -0.21378389f, -0.147347435f, 0.110583261f, 0.441361099f, -0.071263656f,
    -0.0510732122f, 0.0173904188f, 0.524368763f, -0.36263895f, 0.0388145633f,
};
static const float classes_biases_0[4] = { /* (4,) */
    0.0f, 0.0f, 0.0f, 0.0f,
};
static const float classes_weights_1[36] = { /* (9, 4): a row for each output */
    0.574435651f, -0.202806577f, 0.129354492f, -0.254619569f, -0.405135006f, 0.494069576f, -0.0480621643f,
    -0.435793012f, -0.468900084f, 0.218410611f, -0.209129944f, -0.540099382f, 0.062592648f, -0.600663781f,
    -0.112750664f, 0.167851716f, -0.567083478f, 0.570275784f, -0.12803489f, -0.266444027f, 0.0015696045f,
    0.398669183f, 0.0934421271f, -0.478180677f, 0.00350867072f, -0.421849281f, -0.0756039768f, -0.12048085f,
    -0.0331943706f, 0.289875597f, -0.202350378f, 0.242625579f, -0.43408671f, -0.553139031f, 0.500180602f,
    -0.480820775f,
};
static const float classes_biases_1[9] = { /* (9,) */
    0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f,
};
static const float classes_weights_2[45] = { /* (5, 9): a row for each output */
    -0.549356103f, 0.0163813103f, 0.532363355f, -0.205068901f, 0.407102555f, 0.599100173f, 0.233147517f, 0.197877288f,
    0.440552324f, 0.10519556f, 0.349204332f, -0.2927728f, -0.144116923f, 0.469459563f, 0.39913702f, 0.0626370311f,
    0.502591848f, 0.449677885f, -0.462140292f, -0.00933375768f, -0.0364966393f, -0.323364556f, -0.325368881f,
    0.0244874079f, -0.439532727f, -0.287454933f, -0.433955848f, 0.197698027f, 0.537987888f, 0.528476536f,
    0.0259706508f, 0.353658825f, -0.25239417f, 0.477023751f, -0.232399806f, -0.505277872f, -0.499820322f,
    0.576462328f, 0.608668208f, -0.539009094f, 0.301052123f, -0.202828422f, 0.617168427f, -0.222088113f,
    -0.133035362f,
};
static const float classes_biases_2[5] = { /* (5,) */
    0.0f, 0.0f, 0.0f, 0.0f, 0.0f,
};
static const float classes_weights_3[15] = { /* (3, 5): a row for each output */
    0.437016219f, 0.203199491f, 0.31301716f, 0.265047729f, 0.337385297f, -0.0948495343f, -0.24053213f, -0.29425779f,
    -0.322274446f, -0.0602227971f, 0.260466605f, 0.035482984f, -0.273011148f, 0.0580126941f, 0.255329937f,
};
static const float classes_biases_3[3] = { /* (3,) */
    0.0f, 0.0f, 0.0f,
};
static uint32_t classes_bits(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static float classes_from_bits(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* x y + z with one rounding: the fused multiply-add. Every variant but that of CLASSES_FAST gives the same bits. */
#if defined(CLASSES_FAST)
static float classes_fma(float x, float y, float z)
{
    return x * y + z;
}
#elif defined(__GNUC__) && defined(__OPTIMIZE__) && !defined(CLASSES_INTEGER_FMA) &&                                           \
    (defined(__FMA__) || defined(__ARM_FEATURE_FMA) || defined(__aarch64__) || defined(__powerpc64__) || defined(__s390x__) || \
     (defined(__riscv_flen) && __riscv_flen >= 32))
static float classes_fma(float x, float y, float z)
{
    return __builtin_fmaf(x, y, z);
}
#elif !defined(CLASSES_INTEGER_FMA) &&                                                                                         \
    (defined(__SSE2__) || defined(_M_X64) || defined(__aarch64__) || defined(_M_ARM64) || defined(__wasm__) ||             \
     defined(__powerpc64__) || defined(__s390x__) || (defined(__ARM_FP) && (__ARM_FP & 8)) ||                              \
     (defined(__riscv_flen) && __riscv_flen >= 64) || (defined(__mips_hard_float) && !defined(__mips_single_float)))
/* In double precision, where the processor is known to have it. The product is exact, and the sum is rounded to odd, so that rounding
 * it to float gives the float next to the exact sum (S. Boldo and G. Melquiond, IEEE Transactions on Computers 57(4), 2008). */
static float classes_fma(float x, float y, float z)
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
/* With integers elsewhere; CLASSES_INTEGER_FMA chooses it for tests. An int may have 16 bits. */

/* x / 2^n for n >= 0. Its last bit is 1 if a bit of x is lost (a sticky bit), so that a later rounding is right. */
static uint64_t classes_shift_right(uint64_t x, int n)
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
static float classes_fma(float x, float y, float z)
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
        addend = classes_shift_right(addend, exponent - z_exponent);
    } else {
        product = classes_shift_right(product, z_exponent - exponent);
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
        high = (uint32_t)classes_shift_right(high, 1 - exponent);
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
static void classes_layer(const float *x, size_t num_inputs, const float *w, const float *bias, float *z, size_t num_outputs)
{
    size_t i, j, num_of_four = num_outputs - num_outputs % 4;
    for (j = 0; j < num_of_four; j += 4) { /* four sums at a time, for speed */
        const float *w0 = w + j * num_inputs, *w1 = w0 + num_inputs, *w2 = w1 + num_inputs, *w3 = w2 + num_inputs;
        float z0 = bias[j], z1 = bias[j + 1], z2 = bias[j + 2], z3 = bias[j + 3];
        for (i = 0; i < num_inputs; i++) {
            z0 = classes_fma(x[i], w0[i], z0);
            z1 = classes_fma(x[i], w1[i], z1);
            z2 = classes_fma(x[i], w2[i], z2);
            z3 = classes_fma(x[i], w3[i], z3);
        }
        z[j] = z0;
        z[j + 1] = z1;
        z[j + 2] = z2;
        z[j + 3] = z3;
    }
    for (j = num_of_four; j < num_outputs; j++) {
        float z0 = bias[j];
        for (i = 0; i < num_inputs; i++) {
            z0 = classes_fma(x[i], w[j * num_inputs + i], z0);
        }
        z[j] = z0;
    }
}

/* (exp(r) - 1 - r) / r^2 for |r| <= ln(2) / 2, with r2 = r^2. */
static float classes_exp_tail(float r, float r2)
{
    float low = classes_fma(1.6666665459e-1f, r, 5.0000001201e-1f);
    float middle = classes_fma(8.3334519073e-3f, r, 4.1665795894e-2f);
    float high = classes_fma(1.9875691500e-4f, r, 1.3981999507e-3f);
    return classes_fma(classes_fma(high, r2, middle), r2, low);
}

/* x = n ln(2) + r. Returns exp(r), and in *t a float whose low bits are n. */
static float classes_exp_reduced(float x, float *t)
{
    float n, r, r2;
    *t = classes_fma(x, 1.44269504f, 12582912.0f);
    n = *t - 12582912.0f;
    r = classes_fma(n, -0.693359375f, x);
    r = classes_fma(n, 2.12194440e-4f, r);
    r2 = r * r;
    return classes_fma(classes_exp_tail(r, r2), r2, r + 1.0f);
}

/* exp(x) for |x| <= 87. */
static float classes_exp_bounded(float x)
{
    float t, p = classes_exp_reduced(x, &t);
    return classes_from_bits(classes_bits(p) + (classes_bits(t < 25165824.0f ? t : 12582912.0f) << 23));
}

/* exp(x) for every float. The factor 2^n is applied in two halves, each of which is a normal number. */
static float classes_exp(float x)
{
    float t, n, t1, t2, p;
    volatile float result; /* so that no compiler fuses the product with a sum */
    x = 89.0f < x ? 89.0f : x;
    x = -104.0f > x ? -104.0f : x;
    p = classes_exp_reduced(x, &t);
    n = t - 12582912.0f;
    t1 = classes_fma(n, 0.5f, 12582912.0f);
    t2 = (n - (t1 - 12582912.0f)) + 12582912.0f;
    result = p * classes_from_bits(0x3f800000u + (classes_bits(t1) << 23)) * classes_from_bits(0x3f800000u + (classes_bits(t2) << 23));
    return result;
}

/* 1 / (1 + exp(-x)), but 0 for x < -87. */
static float classes_sigmoid(float x)
{
    float bounded = 87.0f < x ? 87.0f : x;
    bounded = -87.0f > bounded ? -87.0f : bounded;
    return x < -87.0f ? 0.0f : 1.0f / (1.0f + classes_exp_bounded(-bounded));
}

/* x + x^3 P(x^2) for |x| <= 0.625, else sign(x) (1 - 2 / (exp(2 |x|) + 1)). */
static float classes_tanh(float x)
{
    float y = x < 0.0f ? -x : x, z = x * x, p, beyond;
    if (!(0.625f < y)) {
        p = classes_fma(-5.70498872745e-3f, z, 2.06390887954e-2f);
        p = classes_fma(p, z, -5.37397155531e-2f);
        p = classes_fma(p, z, 1.33314422036e-1f);
        p = classes_fma(p, z, -3.33332819422e-1f);
        return classes_fma(p * z, x, x);
    }
    y = y + y;
    beyond = 1.0f - 2.0f / (classes_exp_bounded(40.0f < y ? 40.0f : y) + 1.0f);
    return x < 0.0f ? -beyond : beyond;
}

static float classes_relu(float x)
{
    return x < 0.0f ? 0.0f : x;
}

static void classes_softmax(float *z, size_t num)
{
    float max = z[0], sum = 0.0f;
    size_t j;
    for (j = 1; j < num; j++) {
        max = z[j] > max ? z[j] : max;
    }
    for (j = 0; j < num; j++) {
        z[j] = classes_exp(z[j] - max);
    }
    for (j = 0; j < num; j++) {
        sum += z[j];
    }
    for (j = 0; j < num; j++) {
        z[j] /= sum;
    }
}


void classes_predict(const float in[CLASSES_NUM_INPUTS], float out[CLASSES_NUM_OUTPUTS])
{
    float buffer_0[5];
    float buffer_1[9];
    size_t i;
    classes_layer(in, 3, classes_weights_0, classes_biases_0, buffer_0, 4);
    for (i = 0; i < 4; i++) {
        buffer_0[i] = classes_relu(buffer_0[i]);
    }
    classes_layer(buffer_0, 4, classes_weights_1, classes_biases_1, buffer_1, 9);
    for (i = 0; i < 9; i++) {
        buffer_1[i] = classes_tanh(buffer_1[i]);
    }
    classes_layer(buffer_1, 9, classes_weights_2, classes_biases_2, buffer_0, 5);
    for (i = 0; i < 5; i++) {
        buffer_0[i] = classes_sigmoid(buffer_0[i]);
    }
    classes_layer(buffer_0, 5, classes_weights_3, classes_biases_3, out, 3);
    classes_softmax(out, 3);
}

int classes_classify(const float in[CLASSES_NUM_INPUTS])
{
    float out[CLASSES_NUM_OUTPUTS];
    int j, best = 0;
    classes_predict(in, out);
    for (j = 1; j < CLASSES_NUM_OUTPUTS; j++) {
        if (out[j] > out[best]) {
            best = j;
        }
    }
    return best;
}

const char *classes_class_name(int number)
{
    static const char *const names[CLASSES_NUM_CLASSES] = {"one", "two", "three"};
    return names[number];
}

#ifndef CLASSES_NO_SELFTEST
static const float classes_test_inputs[18] = { /* (6, 3) */
    0.0f, 0.0f, 0.0f, 1.0f, -2.0f, 0.5f, -100.0f, 30.0f, 7.0f, 0.25f, 0.125f, -3.0f, 1.0005271e-42f, -0.0f, 10000.0f,
    -8.0f, 9.0f, -50.0f,
};

static const float classes_test_outputs[18] = { /* (6, 3) */
    0.549307823f, 0.152133405f, 0.298558742f, 0.499294132f, 0.205207139f, 0.295498729f, 0.64812851f, 0.091772899f,
    0.260098606f, 0.524187028f, 0.175960153f, 0.299852848f, 0.648175359f, 0.0917468145f, 0.260077834f, 0.481400341f,
    0.2208464f, 0.297753215f,
};

int classes_selftest(void)
{
    float out[CLASSES_NUM_OUTPUTS];
    int i, num_wrong = 0;
    for (i = 0; i < 6; i++) {
        classes_predict(classes_test_inputs + i * CLASSES_NUM_INPUTS, out);
        num_wrong += memcmp(out, classes_test_outputs + i * CLASSES_NUM_OUTPUTS, sizeof out) != 0;
    }
    return num_wrong;
}
#endif

#endif /* CLASSES_IMPLEMENTED_ */
#endif /* CLASSES_IMPLEMENTATION */
