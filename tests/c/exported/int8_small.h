/* int8_small.h: a trained network of 8-bit integers, written by nnpy 0.1.0:
 *
 *     net.quantize(calibration).export_c("int8_small.h", name="int8_small")
 *
 * Layers:          5-3-1, sigmoid, sigmoid
 * Flash:           574 bytes of constants, and the code
 * Stack:           12 bytes of buffers; no other RAM, no heap
 * Multiply-adds:   18 of 8-bit integers for a prediction
 *
 * In one source file of a program:
 *
 *     #define INT8_SMALL_IMPLEMENTATION
 *     #include "int8_small.h"
 *
 * In the others without the first line. It is C99 and C++11 and needs no mathematical library. The outputs are the integers
 * that nnpy computes, on every processor. #define INT8_SMALL_NO_FLOAT leaves out the functions that take or return numbers with a
 * fractional part. */
#ifndef INT8_SMALL_H_
#define INT8_SMALL_H_

#include <stdint.h>

#define INT8_SMALL_NUM_INPUTS 5
#define INT8_SMALL_NUM_OUTPUTS 1
#define INT8_SMALL_OUTPUT_SCALE 3.05175781e-05f /* what 1 stands for in the integers of the outputs */
#define INT8_SMALL_NUM_CLASSES 2

#ifdef __cplusplus
extern "C" {
#endif

/* Computes the outputs from inputs that are integers, with integers only. */
void int8_small_predict_int8(const uint8_t in[INT8_SMALL_NUM_INPUTS], int32_t out[INT8_SMALL_NUM_OUTPUTS]);

/* Returns the class: 1 if the output is above 0.5, else 0. */
int int8_small_classify_int8(const uint8_t in[INT8_SMALL_NUM_INPUTS]);

#ifndef INT8_SMALL_NO_FLOAT
/* Turns inputs into integers, 0 to 255. They must be finite. */
void int8_small_quantize(const float in[INT8_SMALL_NUM_INPUTS], uint8_t out[INT8_SMALL_NUM_INPUTS]);

/* Does the same as int8_small_predict_int8, from inputs to outputs in their own units. */
void int8_small_predict(const float in[INT8_SMALL_NUM_INPUTS], float out[INT8_SMALL_NUM_OUTPUTS]);
int int8_small_classify(const float in[INT8_SMALL_NUM_INPUTS]);
#endif

#ifndef INT8_SMALL_NO_SELFTEST
/* Predicts for 12 inputs, and returns how many results are other integers than in nnpy: 0. */
int int8_small_selftest(void);
#endif

#ifdef __cplusplus
}
#endif
#endif /* INT8_SMALL_H_ */

#ifdef INT8_SMALL_IMPLEMENTATION
#ifndef INT8_SMALL_IMPLEMENTED_
#define INT8_SMALL_IMPLEMENTED_

#include <float.h>
#include <stddef.h>
#include <string.h>

static const int8_t int8_small_weights_0[15] = { /* (3, 5): a row for each output */
    -127, 124, 125, 82, 106, -52, 97, -127, 102, 38, -21, 127, 114, 32, 10,
};
static const int32_t int8_small_biases_0[3] = { /* (3,) */
    -1181, 35293, 1023,
};
static const int32_t int8_small_multipliers_0[3] = { /* (3,) */
    1190005223, 1068781460, 1325344108,
};
static const int16_t int8_small_table_0[129] = { /* (129,) */
    0, 10, 21, 33, 46, 59, 73, 88, 105, 122, 140, 160, 181, 203, 227, 252, 279, 308, 339, 371, 406, 443, 483, 525,
    570, 617, 668, 722, 779, 840, 905, 974, 1048, 1125, 1208, 1296, 1389, 1488, 1593, 1705, 1823, 1948, 2080, 2220,
    2368, 2525, 2690, 2865, 3049, 3244, 3449, 3665, 3892, 4130, 4381, 4644, 4919, 5208, 5510, 5825, 6154, 6497, 6854,
    7225, 7610, 8009, 8422, 8849, 9290, 9744, 10210, 10689, 11179, 11681, 12193, 12714, 13245, 13783, 14328, 14879,
    15434, 15993, 16554, 17117, 17679, 18240, 18799, 19355, 19905, 20450, 20988, 21519, 22040, 22552, 23054, 23545,
    24023, 24490, 24943, 25384, 25811, 26224, 26623, 27008, 27379, 27736, 28079, 28408, 28724, 29025, 29314, 29590,
    29852, 30103, 30342, 30569, 30784, 30989, 31184, 31368, 31543, 31709, 31865, 32013, 32153, 32286, 32411, 32529,
    32640,
};
static const int8_t int8_small_weights_1[3] = { /* (1, 3): a row for each output */
    -20, 127, 114,
};
static const int32_t int8_small_biases_1[1] = { /* (1,) */
    314477,
};
static const int32_t int8_small_multipliers_1[1] = { /* (1,) */
    1791637446,
};
static const int16_t int8_small_table_1[129] = { /* (129,) */
    0, 1, 1, 1, 1, 1, 1, 2, 2, 2, 3, 3, 4, 4, 5, 6, 7, 9, 11, 13, 15, 18, 21, 25, 30, 36, 43, 51, 61, 72, 86, 103,
    122, 145, 173, 206, 245, 291, 346, 411, 488, 580, 688, 816, 967, 1145, 1355, 1601, 1889, 2224, 2615, 3067, 3589,
    4186, 4866, 5635, 6497, 7455, 8508, 9653, 10883, 12188, 13551, 14957, 16384, 17811, 19217, 20580, 21885, 23115,
    24260, 25313, 26271, 27133, 27902, 28582, 29179, 29701, 30153, 30544, 30879, 31167, 31413, 31623, 31801, 31952,
    32080, 32188, 32280, 32357, 32422, 32477, 32523, 32562, 32595, 32623, 32646, 32665, 32682, 32696, 32707, 32717,
    32725, 32732, 32738, 32743, 32747, 32750, 32753, 32755, 32757, 32759, 32761, 32762, 32763, 32764, 32764, 32765,
    32765, 32766, 32766, 32766, 32767, 32767, 32767, 32767, 32767, 32767, 32767,
};
/* sums_j = bias_j + w_j x for `num` outputs, from 1 to INT8_SMALL_ROWS. w: (num, num_inputs), a row for each output. Where there are fewer
 * outputs, the last sum is computed more than once. */
#if defined(__ARM_FEATURE_SIMD32) && defined(__GNUC__)
#define INT8_SMALL_ROWS 4

/* Adds four products to a sum, two with each of a Cortex-M4's instructions for it. even: inputs 0 and 2, odd: inputs 1 and 3. */
static inline int32_t int8_small_add_four(uint32_t even, uint32_t odd, const int8_t *w, int32_t sum)
{
    uint32_t four, even_w, odd_w;
    memcpy(&four, w, sizeof four);
    __asm__("sxtb16 %0, %1" : "=r"(even_w) : "r"(four));
    __asm__("sxtb16 %0, %1, ror #8" : "=r"(odd_w) : "r"(four));
    __asm__("smlad %0, %1, %2, %0" : "+r"(sum) : "r"(even), "r"(even_w));
    __asm__("smlad %0, %1, %2, %0" : "+r"(sum) : "r"(odd), "r"(odd_w));
    return sum;
}

static void int8_small_sums(const uint8_t *x, size_t num_inputs, const int8_t *w, const int32_t *bias, size_t num, int32_t *sums)
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
        sum0 = int8_small_add_four(even, odd, w, sum0);
        sum1 = int8_small_add_four(even, odd, w1, sum1);
        sum2 = int8_small_add_four(even, odd, w2, sum2);
        sum3 = int8_small_add_four(even, odd, w3, sum3);
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
#define INT8_SMALL_ROWS 2 /* with more, the registers of small processors would not suffice */

#if defined(__GNUC__)
__attribute__((noinline)) /* it needs all registers */
#endif
static void int8_small_sums(const uint8_t *x, size_t num_inputs, const int8_t *w, const int32_t *bias, size_t num, int32_t *sums)
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
static int32_t int8_small_rescale(int32_t sum, int32_t multiplier, int shift)
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

static int32_t int8_small_limit(int32_t x, int32_t high)
{
    return x < 0 ? 0 : x > high ? high : x;
}

/* 256 times the value at a position from 0 to 32767 in a table of 128 segments. */
static int32_t int8_small_interpolate(const int16_t *table, int32_t position)
{
    const int16_t *segment = table + (position >> 8);
    int32_t part = position & 255;
    return segment[0] * (256 - part) + segment[1] * part;
}

/* A hidden layer whose activation function is in a table. */
static void int8_small_table_layer(const uint8_t *x, size_t num_inputs, const int8_t *w, const int32_t *bias, const int32_t *multipliers,
                            int shift, const int16_t *table, uint8_t *out, size_t num_outputs)
{
    size_t j, i, num;
    int32_t sums[INT8_SMALL_ROWS];
    for (j = 0; j < num_outputs; j += num) {
        num = num_outputs - j < INT8_SMALL_ROWS ? num_outputs - j : INT8_SMALL_ROWS;
        int8_small_sums(x, num_inputs, w + j * num_inputs, bias + j, num, sums);
        for (i = 0; i < num; i++) {
            int32_t position = int8_small_limit(int8_small_rescale(sums[i], multipliers[j + i], shift), 32767);
            out[j + i] = (uint8_t)((int8_small_interpolate(table, position) + 16384) >> 15);
        }
    }
}

/* The last layer, without its activation function. */
static void int8_small_output_layer(const uint8_t *x, size_t num_inputs, const int8_t *w, const int32_t *bias, const int32_t *multipliers,
                             int shift, int32_t *out, size_t num_outputs)
{
    size_t j, i, num;
    for (j = 0; j < num_outputs; j += num) {
        num = num_outputs - j < INT8_SMALL_ROWS ? num_outputs - j : INT8_SMALL_ROWS;
        int8_small_sums(x, num_inputs, w + j * num_inputs, bias + j, num, out + j);
        for (i = j; i < j + num; i++) {
            out[i] = int8_small_rescale(out[i], multipliers[i], shift);
        }
    }
}

static void int8_small_output_table(const int16_t *table, int32_t *z, size_t num)
{
    size_t j;
    for (j = 0; j < num; j++) {
        int32_t value = int8_small_interpolate(table, int8_small_limit(z[j], 32767)) + 128; /* divided by 256, and rounded down: */
        z[j] = (int32_t)(((uint32_t)value + ((uint32_t)1 << 31)) >> 8) - ((int32_t)1 << 23);
    }
}


static void int8_small_compute(const uint8_t in[INT8_SMALL_NUM_INPUTS], int32_t out[INT8_SMALL_NUM_OUTPUTS])
{
    uint8_t buffer_0[3];
    int8_small_table_layer(in, 5, int8_small_weights_0, int8_small_biases_0, int8_small_multipliers_0, 31, int8_small_table_0, buffer_0, 3);
    int8_small_output_layer(buffer_0, 3, int8_small_weights_1, int8_small_biases_1, int8_small_multipliers_1, 35, out, 1);
}

void int8_small_predict_int8(const uint8_t in[INT8_SMALL_NUM_INPUTS], int32_t out[INT8_SMALL_NUM_OUTPUTS])
{
    int8_small_compute(in, out);
    int8_small_output_table(int8_small_table_1, out, 1);
}

int int8_small_classify_int8(const uint8_t in[INT8_SMALL_NUM_INPUTS])
{
    int32_t out[INT8_SMALL_NUM_OUTPUTS];
    int8_small_predict_int8(in, out);
    return out[0] > 16384;
}

#ifndef INT8_SMALL_NO_FLOAT
#if defined(FLT_EVAL_METHOD) && FLT_EVAL_METHOD != 0 && FLT_EVAL_METHOD != 16
#error "arithmetic must round to float: compile for 32-bit x86 with -msse2 -mfpmath=sse, or define INT8_SMALL_NO_FLOAT"
#endif
static const float int8_small_low = -3.000000000e+00f;
static const float int8_small_inverse_step = 4.250000000e+01f;
/* (x - low) inverse_step, limited to 0 and 255, rounded to the nearest integer, ties to even. */
static uint8_t int8_small_quantize_one(float x, float low, float inverse_step)
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

void int8_small_quantize(const float in[INT8_SMALL_NUM_INPUTS], uint8_t out[INT8_SMALL_NUM_INPUTS])
{
    size_t i;
    for (i = 0; i < INT8_SMALL_NUM_INPUTS; i++) {
        out[i] = int8_small_quantize_one(in[i], int8_small_low, int8_small_inverse_step);
    }
}

void int8_small_predict(const float in[INT8_SMALL_NUM_INPUTS], float out[INT8_SMALL_NUM_OUTPUTS])
{
    uint8_t x[INT8_SMALL_NUM_INPUTS];
    int32_t integers[INT8_SMALL_NUM_OUTPUTS];
    size_t i;
    int8_small_quantize(in, x);
    int8_small_predict_int8(x, integers);
    for (i = 0; i < INT8_SMALL_NUM_OUTPUTS; i++) {
        out[i] = (float)integers[i] * INT8_SMALL_OUTPUT_SCALE;
    }
}

int int8_small_classify(const float in[INT8_SMALL_NUM_INPUTS])
{
    uint8_t x[INT8_SMALL_NUM_INPUTS];
    int8_small_quantize(in, x);
    return int8_small_classify_int8(x);
}
#endif

#ifndef INT8_SMALL_NO_SELFTEST
static const uint8_t int8_small_test_integers[60] = { /* (12, 5) */
    0, 0, 0, 0, 0, 42, 85, 128, 170, 212, 85, 170, 255, 42, 128, 128, 255, 85, 212, 42, 170, 42, 212, 85, 255, 212,
    128, 42, 255, 170, 255, 212, 170, 128, 85, 0, 0, 0, 0, 0, 42, 85, 128, 170, 212, 85, 170, 255, 42, 128, 128, 255,
    85, 212, 42, 170, 42, 212, 85, 255,
};

static const int32_t int8_small_test_outputs[12] = { /* (12, 1) */
    19212, 25177, 23679, 28787, 19702, 26069, 25743, 19212, 25177, 23679, 28787, 19702,
};

#ifndef INT8_SMALL_NO_FLOAT
static const float int8_small_test_inputs[60] = { /* (12, 5) */
    -3.0f, -3.0f, -3.0f, -3.0f, -3.0f, -2.0f, -1.0f, 0.0f, 1.0f, 2.0f, -1.0f, 1.0f, 3.0f, -2.0f, 0.0f, 0.0f, 3.0f,
    -1.0f, 2.0f, -2.0f, 1.0f, -2.0f, 2.0f, -1.0f, 3.0f, 2.0f, 0.0f, -2.0f, 3.0f, 1.0f, 3.0f, 2.0f, 1.0f, 0.0f, -1.0f,
    -3.0f, -3.0f, -3.0f, -3.0f, -3.0f, -2.0f, -1.0f, 0.0f, 1.0f, 2.0f, -1.0f, 1.0f, 3.0f, -2.0f, 0.0f, 0.0f, 3.0f,
    -1.0f, 2.0f, -2.0f, 1.0f, -2.0f, 2.0f, -1.0f, 3.0f,
};

#endif
int int8_small_selftest(void)
{
    int32_t out[INT8_SMALL_NUM_OUTPUTS];
    int i, num_wrong = 0;
    for (i = 0; i < 12; i++) {
        int is_wrong;
        int8_small_predict_int8(int8_small_test_integers + (size_t)i * INT8_SMALL_NUM_INPUTS, out);
        is_wrong = memcmp(out, int8_small_test_outputs + (size_t)i * INT8_SMALL_NUM_OUTPUTS, sizeof out) != 0;
#ifndef INT8_SMALL_NO_FLOAT
        {
            uint8_t x[INT8_SMALL_NUM_INPUTS];
            int8_small_quantize(int8_small_test_inputs + (size_t)i * INT8_SMALL_NUM_INPUTS, x);
            is_wrong |= memcmp(x, int8_small_test_integers + (size_t)i * INT8_SMALL_NUM_INPUTS, sizeof x) != 0;
        }
#endif
        num_wrong += is_wrong;
    }
    return num_wrong;
}
#endif

#endif /* INT8_SMALL_IMPLEMENTED_ */
#endif /* INT8_SMALL_IMPLEMENTATION */
