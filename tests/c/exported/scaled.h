/* scaled.h: a trained network, written by nnpy 0.1.0:
 *
 *     net.export_c("scaled.h", name="scaled")
 *
 * Layers:          3-5-4-6-2, elu, gelu, leaky_relu, linear
 * Flash:           432 bytes of constants, and the code
 * Stack:           52 bytes of buffers; no other RAM, no heap
 * Multiply-adds:   71 for a prediction
 *
 * In one source file of a program:
 *
 *     #define SCALED_IMPLEMENTATION
 *     #include "scaled.h"
 *
 * In the others without the first line. It is C99 and C++11 and needs no mathematical library. The outputs have the same bits
 * as those of nnpy, on every processor with IEEE 754 arithmetic. Where there is no instruction for the fused multiply-add, it
 * is computed exactly, which takes longer; #define SCALED_FAST rounds twice instead, which may change the last digits.
 * Compile without -ffast-math. */
#ifndef SCALED_H_
#define SCALED_H_

#define SCALED_NUM_INPUTS 3
#define SCALED_NUM_OUTPUTS 2
#define SCALED_NUM_CLASSES 2

#ifdef __cplusplus
extern "C" {
#endif

/* Computes the outputs. The inputs must be finite. */
void scaled_predict(const float in[SCALED_NUM_INPUTS], double out[SCALED_NUM_OUTPUTS]);

/* Returns the class: the index of the largest output. */
int scaled_classify(const float in[SCALED_NUM_INPUTS]);

#ifndef SCALED_NO_SELFTEST
/* Predicts for 6 inputs, and returns how many results have other bits than in nnpy: 0. */
int scaled_selftest(void);
#endif

#ifdef __cplusplus
}
#endif
#endif /* SCALED_H_ */

#ifdef SCALED_IMPLEMENTATION
#ifndef SCALED_IMPLEMENTED_
#define SCALED_IMPLEMENTED_

#include <float.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__FAST_MATH__) && !defined(SCALED_FAST)
#error "-ffast-math changes the results: define SCALED_FAST if that is wanted"
#endif
#if defined(FLT_EVAL_METHOD) && FLT_EVAL_METHOD != 0 && FLT_EVAL_METHOD != 16 && !defined(SCALED_FAST)
#error "arithmetic must round to float: compile for 32-bit x86 with -msse2 -mfpmath=sse"
#endif
#if defined(__SIZEOF_DOUBLE__) && __SIZEOF_DOUBLE__ < 8 && !defined(SCALED_FAST)
#error "the scaler needs a double of 64 bits to be exact: define SCALED_FAST, which may change the last digits"
#endif

static const float scaled_weights_0[15] = { /* (5, 3): a row for each output */
    -0.283809453f, 0.473421395f, -0.264673203f, 0.455787063f, 0.454231888f, 0.103817508f, -0.145621374f, 0.085452728f,
    -0.550925732f, 0.285338044f, -0.285919905f, -0.291642964f, 0.0428928174f, -0.129577652f, -0.349786133f,
};
static const float scaled_biases_0[5] = { /* (5,) */
    0.0f, 0.0f, 0.0f, 0.0f, 0.0f,
};
static const float scaled_weights_1[20] = { /* (4, 5): a row for each output */
    -0.0308405738f, 0.0966599062f, 0.379631668f, -0.417369515f, 0.292441249f, 0.111191802f, 0.250172853f,
    0.0849949196f, -0.130629689f, -0.139865622f, 0.419697821f, 0.27597338f, -0.248453602f, -0.34362644f,
    -0.395867467f, -0.272568971f, -0.105570585f, -0.146043032f, 0.304564387f, 0.327851355f,
};
static const float scaled_biases_1[4] = { /* (4,) */
    0.0f, 0.0f, 0.0f, 0.0f,
};
static const float scaled_weights_2[24] = { /* (6, 4): a row for each output */
    -0.066649735f, 0.0036509037f, -0.047493875f, -0.0652648211f, -0.100823939f, 0.0666257143f, -0.119931757f,
    -0.384413958f, -0.0936695337f, 0.290872931f, -0.12959224f, -0.377429485f, 0.161901176f, -0.300230324f,
    -0.153021038f, -0.00712126493f, -0.342918575f, -0.248176038f, 0.299862623f, 0.0189533234f, 0.359233797f,
    0.343234897f, 0.154263556f, -0.446551442f,
};
static const float scaled_biases_2[6] = { /* (6,) */
    0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f,
};
static const float scaled_weights_3[12] = { /* (2, 6): a row for each output */
    -0.22361818f, 0.380823493f, -0.105889969f, -0.378981173f, 0.327233642f, -0.334261358f, -0.339655578f,
    0.301474214f, -0.0166473221f, 0.0539958775f, -0.0859968066f, 0.315837592f,
};
static const float scaled_biases_3[2] = { /* (2,) */
    0.0f, 0.0f,
};
static const double scaled_x_mean[3] = { /* (3,) */
    2.0, -1.0, 2.0,
};
static const double scaled_x_scale[3] = { /* (3,) */
    1.6329931618554521, 5.3541261347363367, 1.6329931618554521,
};
static const double scaled_y_mean[2] = { /* (2,) */
    1001.6666666666666, -1.3333333333333335,
};
static const double scaled_y_scale[2] = { /* (2,) */
    1.699673171197595, 4.7842333648024411,
};
static uint32_t scaled_bits(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static float scaled_from_bits(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* x y + z with one rounding: the fused multiply-add. Every variant but that of SCALED_FAST gives the same bits. */
#if defined(SCALED_FAST)
static float scaled_fma(float x, float y, float z)
{
    return x * y + z;
}
#elif defined(__GNUC__) && defined(__OPTIMIZE__) && !defined(SCALED_INTEGER_FMA) &&                                           \
    (defined(__FMA__) || defined(__ARM_FEATURE_FMA) || defined(__aarch64__) || defined(__powerpc64__) || defined(__s390x__) || \
     (defined(__riscv_flen) && __riscv_flen >= 32))
static float scaled_fma(float x, float y, float z)
{
    return __builtin_fmaf(x, y, z);
}
#elif !defined(SCALED_INTEGER_FMA) &&                                                                                         \
    (defined(__SSE2__) || defined(_M_X64) || defined(__aarch64__) || defined(_M_ARM64) || defined(__wasm__) ||             \
     defined(__powerpc64__) || defined(__s390x__) || (defined(__ARM_FP) && (__ARM_FP & 8)) ||                              \
     (defined(__riscv_flen) && __riscv_flen >= 64) || (defined(__mips_hard_float) && !defined(__mips_single_float)))
/* In double precision, where the processor is known to have it. The product is exact, and the sum is rounded to odd, so that rounding
 * it to float gives the float next to the exact sum (S. Boldo and G. Melquiond, IEEE Transactions on Computers 57(4), 2008). */
static float scaled_fma(float x, float y, float z)
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
/* With integers elsewhere; SCALED_INTEGER_FMA chooses it for tests. An int may have 16 bits. */

/* x / 2^n for n >= 0. Its last bit is 1 if a bit of x is lost (a sticky bit), so that a later rounding is right. */
static uint64_t scaled_shift_right(uint64_t x, int n)
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
static float scaled_fma(float x, float y, float z)
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
        addend = scaled_shift_right(addend, exponent - z_exponent);
    } else {
        product = scaled_shift_right(product, z_exponent - exponent);
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
        high = (uint32_t)scaled_shift_right(high, 1 - exponent);
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
static void scaled_layer(const float *x, size_t num_inputs, const float *w, const float *bias, float *z, size_t num_outputs)
{
    size_t i, j, num_of_four = num_outputs - num_outputs % 4;
    for (j = 0; j < num_of_four; j += 4) { /* four sums at a time, for speed */
        const float *w0 = w + j * num_inputs, *w1 = w0 + num_inputs, *w2 = w1 + num_inputs, *w3 = w2 + num_inputs;
        float z0 = bias[j], z1 = bias[j + 1], z2 = bias[j + 2], z3 = bias[j + 3];
        for (i = 0; i < num_inputs; i++) {
            z0 = scaled_fma(x[i], w0[i], z0);
            z1 = scaled_fma(x[i], w1[i], z1);
            z2 = scaled_fma(x[i], w2[i], z2);
            z3 = scaled_fma(x[i], w3[i], z3);
        }
        z[j] = z0;
        z[j + 1] = z1;
        z[j + 2] = z2;
        z[j + 3] = z3;
    }
    for (j = num_of_four; j < num_outputs; j++) {
        float z0 = bias[j];
        for (i = 0; i < num_inputs; i++) {
            z0 = scaled_fma(x[i], w[j * num_inputs + i], z0);
        }
        z[j] = z0;
    }
}

/* (exp(r) - 1 - r) / r^2 for |r| <= ln(2) / 2, with r2 = r^2. */
static float scaled_exp_tail(float r, float r2)
{
    float low = scaled_fma(1.6666665459e-1f, r, 5.0000001201e-1f);
    float middle = scaled_fma(8.3334519073e-3f, r, 4.1665795894e-2f);
    float high = scaled_fma(1.9875691500e-4f, r, 1.3981999507e-3f);
    return scaled_fma(scaled_fma(high, r2, middle), r2, low);
}

/* x = n ln(2) + r. Returns exp(r), and in *t a float whose low bits are n. */
static float scaled_exp_reduced(float x, float *t)
{
    float n, r, r2;
    *t = scaled_fma(x, 1.44269504f, 12582912.0f);
    n = *t - 12582912.0f;
    r = scaled_fma(n, -0.693359375f, x);
    r = scaled_fma(n, 2.12194440e-4f, r);
    r2 = r * r;
    return scaled_fma(scaled_exp_tail(r, r2), r2, r + 1.0f);
}

/* exp(x) for every float. The factor 2^n is applied in two halves, each of which is a normal number. */
static float scaled_exp(float x)
{
    float t, n, t1, t2, p;
    volatile float result; /* so that no compiler fuses the product with a sum */
    x = 89.0f < x ? 89.0f : x;
    x = -104.0f > x ? -104.0f : x;
    p = scaled_exp_reduced(x, &t);
    n = t - 12582912.0f;
    t1 = scaled_fma(n, 0.5f, 12582912.0f);
    t2 = (n - (t1 - 12582912.0f)) + 12582912.0f;
    result = p * scaled_from_bits(0x3f800000u + (scaled_bits(t1) << 23)) * scaled_from_bits(0x3f800000u + (scaled_bits(t2) << 23));
    return result;
}

static float scaled_leaky_relu(float x)
{
    return x < 0.0f ? 0.01f * x : x;
}

/* exp(x) - 1 for x < 0, else x. */
static float scaled_elu(float x)
{
    float x2 = x * x;
    if (!(x < 0.0f)) {
        return x;
    }
    return x < -0.34f ? scaled_exp(x) - 1.0f : scaled_fma(scaled_exp_tail(x, x2), x2, x);
}

/* The cumulative distribution of the standard normal: (1 + erf(t)) / 2 with t = x / sqrt(2). */
static float scaled_normal_cdf(float x)
{
    float t = x * 0.707106781f, s = t * t, y = t < 0.0f ? -t : t, p, r, u, tail;
    if (!(0.927734375f < y)) {
        p = scaled_fma(-5.96761703e-4f, s, 4.99119423e-3f);
        p = scaled_fma(p, s, -2.67681349e-2f);
        p = scaled_fma(p, s, 1.12819925e-1f);
        p = scaled_fma(p, s, -3.76125336e-1f);
        p = scaled_fma(p, s, 1.28379166e-1f);
        return scaled_fma(0.5f, scaled_fma(p, t, t), 0.5f);
    }
    r = scaled_fma(-1.72853470e-5f, y, 3.83197126e-4f);
    u = scaled_fma(-3.88396438e-3f, y, 2.42546219e-2f);
    r = scaled_fma(r, s, u);
    r = scaled_fma(r, y, -1.06777877e-1f);
    r = scaled_fma(r, y, -6.34846687e-1f);
    r = scaled_fma(r, y, -1.28717512e-1f);
    tail = 0.5f * scaled_exp(scaled_fma(r, y, -y));
    return x < 0.0f ? tail : 1.0f - tail;
}

static float scaled_gelu(float x)
{
    return x * scaled_normal_cdf(x);
}


void scaled_predict(const float in[SCALED_NUM_INPUTS], double out[SCALED_NUM_OUTPUTS])
{
    float scaled[3];
    float buffer_0[6];
    float buffer_1[4];
    size_t i;
    for (i = 0; i < 3; i++) {
        scaled[i] = (float)(((double)in[i] - scaled_x_mean[i]) / scaled_x_scale[i]);
    }
    scaled_layer(scaled, 3, scaled_weights_0, scaled_biases_0, buffer_0, 5);
    for (i = 0; i < 5; i++) {
        buffer_0[i] = scaled_elu(buffer_0[i]);
    }
    scaled_layer(buffer_0, 5, scaled_weights_1, scaled_biases_1, buffer_1, 4);
    for (i = 0; i < 4; i++) {
        buffer_1[i] = scaled_gelu(buffer_1[i]);
    }
    scaled_layer(buffer_1, 4, scaled_weights_2, scaled_biases_2, buffer_0, 6);
    for (i = 0; i < 6; i++) {
        buffer_0[i] = scaled_leaky_relu(buffer_0[i]);
    }
    scaled_layer(buffer_0, 6, scaled_weights_3, scaled_biases_3, buffer_1, 2);
    for (i = 0; i < 2; i++) {
        /* volatile, so that no compiler fuses the product with the sum */
        volatile double product = (double)buffer_1[i] * scaled_y_scale[i];
        out[i] = product + scaled_y_mean[i];
    }
}

int scaled_classify(const float in[SCALED_NUM_INPUTS])
{
    double out[SCALED_NUM_OUTPUTS];
    int j, best = 0;
    scaled_predict(in, out);
    for (j = 1; j < SCALED_NUM_OUTPUTS; j++) {
        if (out[j] > out[best]) {
            best = j;
        }
    }
    return best;
}

#ifndef SCALED_NO_SELFTEST
static const float scaled_test_inputs[18] = { /* (6, 3) */
    0.0f, 0.0f, 0.0f, 1.0f, -2.0f, 0.5f, -100.0f, 30.0f, 7.0f, 0.25f, 0.125f, -3.0f, 1.0005271e-42f, -0.0f, 10000.0f,
    -8.0f, 9.0f, -50.0f,
};

static const double scaled_test_outputs[12] = { /* (6, 2) */
    1001.5737059948593, -1.1280034614300476, 1001.629963659773, -1.3036435741189647, 1000.3004778026254,
    2.8266256422364049, 1001.4949505358169, -1.048806109573752, 939.89199131478495, 153.71593111947732,
    999.55203463039084, 2.6947311281035549,
};

int scaled_selftest(void)
{
    double out[SCALED_NUM_OUTPUTS];
    int i, num_wrong = 0;
    for (i = 0; i < 6; i++) {
        scaled_predict(scaled_test_inputs + i * SCALED_NUM_INPUTS, out);
        num_wrong += memcmp(out, scaled_test_outputs + i * SCALED_NUM_OUTPUTS, sizeof out) != 0;
    }
    return num_wrong;
}
#endif

#endif /* SCALED_IMPLEMENTED_ */
#endif /* SCALED_IMPLEMENTATION */
