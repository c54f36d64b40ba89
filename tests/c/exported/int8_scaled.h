/* int8_scaled.h: a trained network of 8-bit integers, written by nnpy 0.1.0:
 *
 *     net.quantize(calibration).export_c("int8_scaled.h", name="int8_scaled")
 *
 * Layers:          5-6-4-2, relu, gelu, linear
 * Flash:           488 bytes of constants, and the code
 * Stack:           23 bytes of buffers; no other RAM, no heap
 * Multiply-adds:   62 of 8-bit integers for a prediction
 *
 * In one source file of a program:
 *
 *     #define INT8_SCALED_IMPLEMENTATION
 *     #include "int8_scaled.h"
 *
 * In the others without the first line. It is C99 and C++11 and needs no mathematical library. The outputs are the integers
 * that nnpy computes, on every processor. #define INT8_SCALED_NO_FLOAT leaves out the functions that take or return numbers with a
 * fractional part. */
#ifndef INT8_SCALED_H_
#define INT8_SCALED_H_

#include <stdint.h>

#define INT8_SCALED_NUM_INPUTS 5
#define INT8_SCALED_NUM_OUTPUTS 2
#define INT8_SCALED_OUTPUT_SCALE 4.79089749e-06f /* what 1 stands for in the integers of the outputs */
#define INT8_SCALED_NUM_CLASSES 2

#ifdef __cplusplus
extern "C" {
#endif

/* Computes the outputs from inputs that are integers, with integers only. */
void int8_scaled_predict_int8(const uint8_t in[INT8_SCALED_NUM_INPUTS], int32_t out[INT8_SCALED_NUM_OUTPUTS]);

/* Returns the class: the index of the largest output. */
int int8_scaled_classify_int8(const uint8_t in[INT8_SCALED_NUM_INPUTS]);

#ifndef INT8_SCALED_NO_FLOAT
/* Turns inputs into integers, 0 to 255. They must be finite. */
void int8_scaled_quantize(const float in[INT8_SCALED_NUM_INPUTS], uint8_t out[INT8_SCALED_NUM_INPUTS]);

/* Does the same as int8_scaled_predict_int8, from inputs to outputs in their own units. */
void int8_scaled_predict(const float in[INT8_SCALED_NUM_INPUTS], double out[INT8_SCALED_NUM_OUTPUTS]);
int int8_scaled_classify(const float in[INT8_SCALED_NUM_INPUTS]);
#endif

#ifndef INT8_SCALED_NO_SELFTEST
/* Predicts for 12 inputs, and returns how many results are other integers than in nnpy: 0. */
int int8_scaled_selftest(void);
#endif

#ifdef __cplusplus
}
#endif
#endif /* INT8_SCALED_H_ */

#ifdef INT8_SCALED_IMPLEMENTATION
#ifndef INT8_SCALED_IMPLEMENTED_
#define INT8_SCALED_IMPLEMENTED_

#include <float.h>
#include <stddef.h>
#include <string.h>

static const int8_t int8_scaled_weights_0[30] = { /* (6, 5): a row for each output */
    -22, 127, 71, -65, -13, 18, 127, 126, 118, 9, 75, 51, 9, 127, 27, 127, 120, -109, -104, 11, 90, 127, 70, 28, -55,
    123, 71, 118, 97, 127,
};
static const int32_t int8_scaled_biases_0[6] = { /* (6,) */
    -11176, -45387, -32957, -5132, -29650, -61124,
};
static const int32_t int8_scaled_multipliers_0[6] = { /* (6,) */
    1286624907, 689061928, 1255624627, 708314351, 1275545210, 1194997196,
};
static const int8_t int8_scaled_weights_1[24] = { /* (4, 6): a row for each output */
    -97, -5, 127, -103, -117, -15, 18, 127, -84, 68, 10, -20, -30, 87, -28, 19, -32, 127, -46, -127, 121, 48, -15, 59,
};
static const int32_t int8_scaled_biases_1[4] = { /* (4,) */
    35835, 30979, 26339, 46937,
};
static const int32_t int8_scaled_multipliers_1[4] = { /* (4,) */
    1028663358, 1190514003, 1398992723, 785870983,
};
static const int16_t int8_scaled_table_1[129] = { /* (129,) */
    0, 105, 213, 322, 434, 548, 664, 782, 903, 1025, 1150, 1277, 1406, 1538, 1671, 1807, 1945, 2086, 2229, 2374, 2521,
    2670, 2822, 2977, 3133, 3292, 3453, 3616, 3782, 3951, 4121, 4294, 4469, 4647, 4827, 5009, 5194, 5381, 5571, 5763,
    5958, 6154, 6354, 6555, 6760, 6966, 7175, 7387, 7601, 7817, 8036, 8257, 8481, 8707, 8936, 9167, 9400, 9636, 9875,
    10116, 10360, 10606, 10854, 11105, 11358, 11614, 11873, 12133, 12397, 12663, 12931, 13202, 13475, 13751, 14029,
    14310, 14593, 14878, 15167, 15457, 15750, 16046, 16344, 16644, 16947, 17252, 17560, 17871, 18183, 18498, 18816,
    19136, 19459, 19784, 20111, 20441, 20773, 21107, 21444, 21784, 22125, 22470, 22816, 23165, 23516, 23870, 24226,
    24584, 24945, 25308, 25673, 26041, 26411, 26783, 27158, 27535, 27914, 28296, 28679, 29065, 29454, 29844, 30237,
    30632, 31029, 31429, 31830, 32234, 32640,
};
static const int8_t int8_scaled_weights_2[8] = { /* (2, 4): a row for each output */
    63, -41, 127, 116, -18, 12, -127, 109,
};
static const int32_t int8_scaled_biases_2[2] = { /* (2,) */
    -25128, 2267,
};
static const int32_t int8_scaled_multipliers_2[2] = { /* (2,) */
    2147481523, 1550427863,
};
/* sums_j = bias_j + w_j x for `num` outputs, from 1 to INT8_SCALED_ROWS. w: (num, num_inputs), a row for each output. Where there are fewer
 * outputs, the last sum is computed more than once. */
#if defined(__ARM_FEATURE_SIMD32) && defined(__GNUC__)
#define INT8_SCALED_ROWS 4

/* Adds four products to a sum, two with each of a Cortex-M4's instructions for it. even: inputs 0 and 2, odd: inputs 1 and 3. */
static inline int32_t int8_scaled_add_four(uint32_t even, uint32_t odd, const int8_t *w, int32_t sum)
{
    uint32_t four, even_w, odd_w;
    memcpy(&four, w, sizeof four);
    __asm__("sxtb16 %0, %1" : "=r"(even_w) : "r"(four));
    __asm__("sxtb16 %0, %1, ror #8" : "=r"(odd_w) : "r"(four));
    __asm__("smlad %0, %1, %2, %0" : "+r"(sum) : "r"(even), "r"(even_w));
    __asm__("smlad %0, %1, %2, %0" : "+r"(sum) : "r"(odd), "r"(odd_w));
    return sum;
}

static void int8_scaled_sums(const uint8_t *x, size_t num_inputs, const int8_t *w, const int32_t *bias, size_t num, int32_t *sums)
{
    size_t last = num - 1, second = last < 1 ? last : 1, third = last < 2 ? last : 2;
    const int8_t *w1 = w + second * num_inputs, *w2 = w + third * num_inputs, *w3 = w + last * num_inputs;
    const uint8_t *end = x + num_inputs, *end_of_fours = end - num_inputs % 4;
    int32_t sum0 = bias[0], sum1 = bias[second], sum2 = bias[third], sum3 = bias[last];
    while (x < end_of_fours) {
        uint32_t four, even, odd;
        memcpy(&four, x, sizeof four);
        __asm__("uxtb16 %0, %1" : "=r"(even) : "r"(four));
        __asm__("uxtb16 %0, %1, ror #8" : "=r"(odd) : "r"(four));
        sum0 = int8_scaled_add_four(even, odd, w, sum0);
        sum1 = int8_scaled_add_four(even, odd, w1, sum1);
        sum2 = int8_scaled_add_four(even, odd, w2, sum2);
        sum3 = int8_scaled_add_four(even, odd, w3, sum3);
        x += 4;
        w += 4;
        w1 += 4;
        w2 += 4;
        w3 += 4;
    }
    for (; x < end; x++) {
        sum0 += (int32_t)*x * *w++;
        sum1 += (int32_t)*x * *w1++;
        sum2 += (int32_t)*x * *w2++;
        sum3 += (int32_t)*x * *w3++;
    }
    sums[0] = sum0;
    sums[second] = sum1;
    sums[third] = sum2;
    sums[last] = sum3;
}
#else
#define INT8_SCALED_ROWS 2 /* with more, the registers of small processors would not suffice */

#if defined(__GNUC__)
__attribute__((noinline)) /* it needs all registers */
#endif
static void int8_scaled_sums(const uint8_t *x, size_t num_inputs, const int8_t *w, const int32_t *bias, size_t num, int32_t *sums)
{
    const int8_t *w1 = w + (num - 1) * num_inputs;
    int32_t sum0 = bias[0], sum1 = bias[num - 1];
    size_t k = 0;
    do {
        sum0 += (int32_t)x[k] * w[k];
        sum1 += (int32_t)x[k] * w1[k];
    } while (++k < num_inputs);
    sums[0] = sum0;
    sums[num - 1] = sum1;
}
#endif

/* (sum multiplier + 2^(shift - 1)) >> shift: one rounding, of ties towards larger numbers. */
static int32_t int8_scaled_rescale(int32_t sum, int32_t multiplier, int shift)
{
    uint64_t product;
    if (shift < 31) { /* the result has to fit into 32 bits */
        int32_t limit = (int32_t)(((uint32_t)1 << shift) - 1u);
        sum = sum > limit ? limit : sum < -limit ? -limit : sum;
    }
    product = (uint64_t)((int64_t)sum * multiplier) + ((uint64_t)1 << (shift - 1));
    product += (uint64_t)1 << 62; /* C does not define the right shift of negative numbers */
    return (int32_t)((int64_t)(product >> shift) - ((int64_t)1 << (62 - shift)));
}

static int32_t int8_scaled_limit(int32_t x, int32_t high)
{
    return x < 0 ? 0 : x > high ? high : x;
}

/* 256 times the value at a position from 0 to 32767 in a table of 128 segments. */
static int32_t int8_scaled_interpolate(const int16_t *table, int32_t position)
{
    const int16_t *segment = table + (position >> 8);
    int32_t part = position & 255;
    return segment[0] * (256 - part) + segment[1] * part;
}

/* A hidden layer whose outputs are limited to 0 and 255. */
static void int8_scaled_clip_layer(const uint8_t *x, size_t num_inputs, const int8_t *w, const int32_t *bias, const int32_t *multipliers,
                           int shift, uint8_t *out, size_t num_outputs)
{
    size_t j, i, num;
    int32_t sums[INT8_SCALED_ROWS];
    for (j = 0; j < num_outputs; j += num) {
        num = num_outputs - j < INT8_SCALED_ROWS ? num_outputs - j : INT8_SCALED_ROWS;
        int8_scaled_sums(x, num_inputs, w + j * num_inputs, bias + j, num, sums);
        for (i = 0; i < num; i++) {
            out[j + i] = (uint8_t)int8_scaled_limit(int8_scaled_rescale(sums[i], multipliers[j + i], shift), 255);
        }
    }
}

/* A hidden layer whose activation function is in a table. */
static void int8_scaled_table_layer(const uint8_t *x, size_t num_inputs, const int8_t *w, const int32_t *bias, const int32_t *multipliers,
                            int shift, const int16_t *table, uint8_t *out, size_t num_outputs)
{
    size_t j, i, num;
    int32_t sums[INT8_SCALED_ROWS];
    for (j = 0; j < num_outputs; j += num) {
        num = num_outputs - j < INT8_SCALED_ROWS ? num_outputs - j : INT8_SCALED_ROWS;
        int8_scaled_sums(x, num_inputs, w + j * num_inputs, bias + j, num, sums);
        for (i = 0; i < num; i++) {
            int32_t position = int8_scaled_limit(int8_scaled_rescale(sums[i], multipliers[j + i], shift), 32767);
            out[j + i] = (uint8_t)((int8_scaled_interpolate(table, position) + 16384) >> 15);
        }
    }
}

/* The last layer, without its activation function. */
static void int8_scaled_output_layer(const uint8_t *x, size_t num_inputs, const int8_t *w, const int32_t *bias, const int32_t *multipliers,
                             int shift, int32_t *out, size_t num_outputs)
{
    size_t j, i, num;
    for (j = 0; j < num_outputs; j += num) {
        num = num_outputs - j < INT8_SCALED_ROWS ? num_outputs - j : INT8_SCALED_ROWS;
        int8_scaled_sums(x, num_inputs, w + j * num_inputs, bias + j, num, out + j);
        for (i = j; i < j + num; i++) {
            out[i] = int8_scaled_rescale(out[i], multipliers[i], shift);
        }
    }
}


static void int8_scaled_compute(const uint8_t in[INT8_SCALED_NUM_INPUTS], int32_t out[INT8_SCALED_NUM_OUTPUTS])
{
    uint8_t buffer_0[6];
    uint8_t buffer_1[4];
    int8_scaled_clip_layer(in, 5, int8_scaled_weights_0, int8_scaled_biases_0, int8_scaled_multipliers_0, 37, buffer_0, 6);
    int8_scaled_table_layer(buffer_0, 6, int8_scaled_weights_1, int8_scaled_biases_1, int8_scaled_multipliers_1, 31, int8_scaled_table_1, buffer_1, 4);
    int8_scaled_output_layer(buffer_1, 4, int8_scaled_weights_2, int8_scaled_biases_2, int8_scaled_multipliers_2, 31, out, 2);
}

void int8_scaled_predict_int8(const uint8_t in[INT8_SCALED_NUM_INPUTS], int32_t out[INT8_SCALED_NUM_OUTPUTS])
{
    int8_scaled_compute(in, out);
}

int int8_scaled_classify_int8(const uint8_t in[INT8_SCALED_NUM_INPUTS])
{
    int32_t out[INT8_SCALED_NUM_OUTPUTS];
    int j, best = 0;
    int8_scaled_predict_int8(in, out);
    for (j = 1; j < INT8_SCALED_NUM_OUTPUTS; j++) {
        if (out[j] > out[best]) {
            best = j;
        }
    }
    return best;
}

#ifndef INT8_SCALED_NO_FLOAT
#if defined(FLT_EVAL_METHOD) && FLT_EVAL_METHOD != 0 && FLT_EVAL_METHOD != 16
#error "arithmetic must round to float: compile for 32-bit x86 with -msse2 -mfpmath=sse, or define INT8_SCALED_NO_FLOAT"
#endif
#if defined(__SIZEOF_DOUBLE__) && __SIZEOF_DOUBLE__ < 8
#error "double is shorter than 64 bits: define INT8_SCALED_NO_FLOAT"
#endif
static const float int8_scaled_low[5] = { /* (5,) */
    -3.18068314f, -3.27262568f, -3.0f, -3.18863988f, -3.17531919f,
};
static const float int8_scaled_inverse_step[5] = { /* (5,) */
    41.257576f, 36.7154274f, 36.984848f, 38.8059158f, 35.9134331f,
};
static const double int8_scaled_y_mean[2] = { /* (2,) */
    1001.6666666666666, -1.3333333333333335,
};
static const double int8_scaled_y_scale[2] = { /* (2,) */
    1.699673171197595, 4.7842333648024411,
};
/* (x - low) inverse_step, limited to 0 and 255, rounded to the nearest integer, ties to even. */
static uint8_t int8_scaled_quantize_one(float x, float low, float inverse_step)
{
    volatile float t = (x - low) * inverse_step, shifted; /* volatile, so that no compiler fuses the product with the sum */
    uint32_t bits;
    float limited = t > 0.0f ? t : 0.0f;
    limited = limited < 255.0f ? limited : 255.0f;
    shifted = limited + 8388608.0f; /* 2^23: the last bit of the sum stands for 1 */
    limited = shifted;
    memcpy(&bits, &limited, sizeof bits);
    return (uint8_t)(bits & 255u);
}

void int8_scaled_quantize(const float in[INT8_SCALED_NUM_INPUTS], uint8_t out[INT8_SCALED_NUM_INPUTS])
{
    size_t i;
    for (i = 0; i < INT8_SCALED_NUM_INPUTS; i++) {
        out[i] = int8_scaled_quantize_one(in[i], int8_scaled_low[i], int8_scaled_inverse_step[i]);
    }
}

void int8_scaled_predict(const float in[INT8_SCALED_NUM_INPUTS], double out[INT8_SCALED_NUM_OUTPUTS])
{
    uint8_t x[INT8_SCALED_NUM_INPUTS];
    int32_t integers[INT8_SCALED_NUM_OUTPUTS];
    size_t i;
    int8_scaled_quantize(in, x);
    int8_scaled_predict_int8(x, integers);
    for (i = 0; i < INT8_SCALED_NUM_OUTPUTS; i++) {
        /* volatile, so that no compiler fuses the product with the sum */
        volatile double product = (double)((float)integers[i] * INT8_SCALED_OUTPUT_SCALE) * int8_scaled_y_scale[i];
        out[i] = product + int8_scaled_y_mean[i];
    }
}

int int8_scaled_classify(const float in[INT8_SCALED_NUM_INPUTS])
{
    uint8_t x[INT8_SCALED_NUM_INPUTS];
    int8_scaled_quantize(in, x);
    return int8_scaled_classify_int8(x);
}
#endif

#ifndef INT8_SCALED_NO_SELFTEST
static const uint8_t int8_scaled_test_integers[60] = { /* (12, 5) */
    7, 10, 0, 7, 6, 49, 83, 111, 163, 186, 90, 157, 222, 46, 114, 131, 230, 74, 201, 42, 172, 47, 185, 85, 222, 214,
    120, 37, 240, 150, 255, 194, 148, 124, 78, 7, 10, 0, 7, 6, 49, 83, 111, 163, 186, 90, 157, 222, 46, 114, 131, 230,
    74, 201, 42, 172, 47, 185, 85, 222,
};

static const int32_t int8_scaled_test_outputs[24] = { /* (12, 2) */
    47, -9, 4214, -1256, -8283, -3081, -825, 565, 24818, -11571, 35142, -2869, 15796, -7260, 47, -9, 4214, -1256,
    -8283, -3081, -825, 565, 24818, -11571,
};

#ifndef INT8_SCALED_NO_FLOAT
static const float int8_scaled_test_inputs[60] = { /* (12, 5) */
    -3.0f, -3.0f, -3.0f, -3.0f, -3.0f, -2.0f, -1.0f, 0.0f, 1.0f, 2.0f, -1.0f, 1.0f, 3.0f, -2.0f, 0.0f, 0.0f, 3.0f,
    -1.0f, 2.0f, -2.0f, 1.0f, -2.0f, 2.0f, -1.0f, 3.0f, 2.0f, 0.0f, -2.0f, 3.0f, 1.0f, 3.0f, 2.0f, 1.0f, 0.0f, -1.0f,
    -3.0f, -3.0f, -3.0f, -3.0f, -3.0f, -2.0f, -1.0f, 0.0f, 1.0f, 2.0f, -1.0f, 1.0f, 3.0f, -2.0f, 0.0f, 0.0f, 3.0f,
    -1.0f, 2.0f, -2.0f, 1.0f, -2.0f, 2.0f, -1.0f, 3.0f,
};

#endif
int int8_scaled_selftest(void)
{
    int32_t out[INT8_SCALED_NUM_OUTPUTS];
    int i, num_wrong = 0;
    for (i = 0; i < 12; i++) {
        int is_wrong;
        int8_scaled_predict_int8(int8_scaled_test_integers + (size_t)i * INT8_SCALED_NUM_INPUTS, out);
        is_wrong = memcmp(out, int8_scaled_test_outputs + (size_t)i * INT8_SCALED_NUM_OUTPUTS, sizeof out) != 0;
#ifndef INT8_SCALED_NO_FLOAT
        {
            uint8_t x[INT8_SCALED_NUM_INPUTS];
            int8_scaled_quantize(int8_scaled_test_inputs + (size_t)i * INT8_SCALED_NUM_INPUTS, x);
            is_wrong |= memcmp(x, int8_scaled_test_integers + (size_t)i * INT8_SCALED_NUM_INPUTS, sizeof x) != 0;
        }
#endif
        num_wrong += is_wrong;
    }
    return num_wrong;
}
#endif

#endif /* INT8_SCALED_IMPLEMENTED_ */
#endif /* INT8_SCALED_IMPLEMENTATION */
