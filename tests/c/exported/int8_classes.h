/* int8_classes.h: a trained network of 8-bit integers, written by nnpy 0.1.0:
 *
 *     net.quantize(calibration).export_c("int8_classes.h", name="int8_classes")
 *
 * Layers:          3-7-6-3, tanh, relu, softmax
 * Flash:           733 bytes of constants, and the code
 * Stack:           28 bytes of buffers; no other RAM, no heap
 * Multiply-adds:   81 of 8-bit integers for a prediction
 *
 * In one source file of a program:
 *
 *     #define INT8_CLASSES_IMPLEMENTATION
 *     #include "int8_classes.h"
 *
 * In the others without the first line. It is C99 and C++11 and needs no mathematical library. The outputs are the integers
 * that nnpy computes, on every processor. #define INT8_CLASSES_NO_FLOAT leaves out the functions that take or return numbers with a
 * fractional part. */
#ifndef INT8_CLASSES_H_
#define INT8_CLASSES_H_

#include <stdint.h>

#define INT8_CLASSES_NUM_INPUTS 3
#define INT8_CLASSES_NUM_OUTPUTS 3
#define INT8_CLASSES_OUTPUT_SCALE 3.05175781e-05f /* what 1 stands for in the integers of the outputs */
#define INT8_CLASSES_NUM_CLASSES 3

#ifdef __cplusplus
extern "C" {
#endif

/* Computes the outputs from inputs that are integers, with integers only. */
void int8_classes_predict_int8(const uint8_t in[INT8_CLASSES_NUM_INPUTS], int32_t out[INT8_CLASSES_NUM_OUTPUTS]);

/* Returns the class: the index of the largest output. */
int int8_classes_classify_int8(const uint8_t in[INT8_CLASSES_NUM_INPUTS]);

#ifndef INT8_CLASSES_NO_FLOAT
/* Turns inputs into integers, 0 to 255. They must be finite. */
void int8_classes_quantize(const float in[INT8_CLASSES_NUM_INPUTS], uint8_t out[INT8_CLASSES_NUM_INPUTS]);

/* Does the same as int8_classes_predict_int8, from inputs to outputs in their own units. */
void int8_classes_predict(const float in[INT8_CLASSES_NUM_INPUTS], float out[INT8_CLASSES_NUM_OUTPUTS]);
int int8_classes_classify(const float in[INT8_CLASSES_NUM_INPUTS]);
#endif

#ifndef INT8_CLASSES_NO_SELFTEST
/* Predicts for 6 inputs, and returns how many results are other integers than in nnpy: 0. */
int int8_classes_selftest(void);
#endif

#ifdef __cplusplus
}
#endif
#endif /* INT8_CLASSES_H_ */

#ifdef INT8_CLASSES_IMPLEMENTATION
#ifndef INT8_CLASSES_IMPLEMENTED_
#define INT8_CLASSES_IMPLEMENTED_

#include <float.h>
#include <stddef.h>
#include <string.h>

static const int8_t int8_classes_weights_0[21] = { /* (7, 3): a row for each output */
    -127, 39, 119, 127, 72, -73, -96, -119, -127, -73, -33, -127, -110, -4, -127, -127, 65, -127, -127, -116, -27,
};
static const int32_t int8_classes_biases_0[7] = { /* (7,) */
    -52, -278, 893, 612, 633, 513, 732,
};
static const int32_t int8_classes_multipliers_0[7] = { /* (7,) */
    1407420276, 914439931, 1302111768, 1584669272, 1557917269, 1349111970, 886093921,
};
static const int16_t int8_classes_table_0[129] = { /* (129,) */
    0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 3, 3, 4, 5, 6, 7, 8, 9, 11, 13, 15, 18, 21, 25, 29, 35, 41, 48, 56, 66, 77,
    90, 106, 124, 145, 170, 200, 234, 274, 321, 375, 439, 514, 601, 702, 821, 958, 1117, 1302, 1517, 1764, 2049, 2376,
    2751, 3180, 3666, 4216, 4836, 5528, 6297, 7145, 8072, 9077, 10154, 11299, 12501, 13748, 15027, 16322, 17617,
    18896, 20143, 21345, 22489, 23567, 24571, 25498, 26346, 27115, 27808, 28427, 28977, 29464, 29892, 30267, 30595,
    30880, 31127, 31341, 31526, 31685, 31823, 31941, 32042, 32129, 32204, 32268, 32323, 32369, 32409, 32444, 32473,
    32498, 32519, 32538, 32553, 32566, 32578, 32587, 32596, 32603, 32609, 32614, 32618, 32622, 32625, 32628, 32630,
    32632, 32634, 32635, 32637, 32638, 32639, 32639, 32640,
};
static const int8_t int8_classes_weights_1[42] = { /* (6, 7): a row for each output */
    -21, -14, -71, 12, -2, -127, -56, 111, 127, 17, 52, 123, -11, -72, -29, -77, -77, 6, 127, -62, 62, 88, 127, 56,
    -122, -116, 100, -34, -38, 103, 45, 80, -127, 127, -125, 127, -76, 14, 28, 56, -105, -45,
};
static const int32_t int8_classes_biases_1[6] = { /* (6,) */
    35563, -44236, 6366, -12643, -8286, 74,
};
static const int32_t int8_classes_multipliers_1[6] = { /* (6,) */
    1158802033, 1141839640, 1154052802, 1035472762, 1141587730, 976344457,
};
static const int8_t int8_classes_weights_2[18] = { /* (3, 6): a row for each output */
    27, -73, -36, 16, -66, 127, -127, 107, -47, 108, -36, 127, 14, -3, -53, -86, 127, -55,
};
static const int32_t int8_classes_biases_2[3] = { /* (3,) */
    54, -25, -15,
};
static const int32_t int8_classes_multipliers_2[3] = { /* (3,) */
    1245376142, 1590152317, 1403353789,
};
static const int16_t int8_classes_table_2[129] = { /* (129,) */
    32767, 32590, 32414, 32239, 32065, 31892, 31719, 31548, 31378, 31208, 31040, 30872, 30705, 30540, 30375, 30211,
    30047, 29885, 29724, 29563, 29404, 29245, 29087, 28930, 28774, 28618, 28464, 28310, 28157, 28005, 27854, 27703,
    27554, 27405, 27257, 27110, 26963, 26818, 26673, 26529, 26385, 26243, 26101, 25960, 25820, 25681, 25542, 25404,
    25267, 25130, 24995, 24860, 24725, 24592, 24459, 24327, 24196, 24065, 23935, 23806, 23677, 23549, 23422, 23296,
    23170, 23045, 22920, 22796, 22673, 22551, 22429, 22308, 22187, 22068, 21948, 21830, 21712, 21595, 21478, 21362,
    21247, 21132, 21018, 20904, 20791, 20679, 20568, 20456, 20346, 20236, 20127, 20018, 19910, 19802, 19696, 19589,
    19483, 19378, 19274, 19169, 19066, 18963, 18861, 18759, 18657, 18557, 18456, 18357, 18258, 18159, 18061, 17963,
    17866, 17770, 17674, 17578, 17483, 17389, 17295, 17202, 17109, 17016, 16925, 16833, 16742, 16652, 16562, 16472,
    16384,
};
/* sums_j = bias_j + w_j x for `num` outputs, from 1 to INT8_CLASSES_ROWS. w: (num, num_inputs), a row for each output. Where there are fewer
 * outputs, the last sum is computed more than once. */
#if defined(__ARM_FEATURE_SIMD32) && defined(__GNUC__)
#define INT8_CLASSES_ROWS 4

/* Adds four products to a sum, two with each of a Cortex-M4's instructions for it. even: inputs 0 and 2, odd: inputs 1 and 3. */
static inline int32_t int8_classes_add_four(uint32_t even, uint32_t odd, const int8_t *w, int32_t sum)
{
    uint32_t four, even_w, odd_w;
    memcpy(&four, w, sizeof four);
    __asm__("sxtb16 %0, %1" : "=r"(even_w) : "r"(four));
    __asm__("sxtb16 %0, %1, ror #8" : "=r"(odd_w) : "r"(four));
    __asm__("smlad %0, %1, %2, %0" : "+r"(sum) : "r"(even), "r"(even_w));
    __asm__("smlad %0, %1, %2, %0" : "+r"(sum) : "r"(odd), "r"(odd_w));
    return sum;
}

static void int8_classes_sums(const uint8_t *x, size_t num_inputs, const int8_t *w, const int32_t *bias, size_t num, int32_t *sums)
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
        sum0 = int8_classes_add_four(even, odd, w, sum0);
        sum1 = int8_classes_add_four(even, odd, w1, sum1);
        sum2 = int8_classes_add_four(even, odd, w2, sum2);
        sum3 = int8_classes_add_four(even, odd, w3, sum3);
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
#define INT8_CLASSES_ROWS 2 /* with more, the registers of small processors would not suffice */

#if defined(__GNUC__)
__attribute__((noinline)) /* it needs all registers */
#endif
static void int8_classes_sums(const uint8_t *x, size_t num_inputs, const int8_t *w, const int32_t *bias, size_t num, int32_t *sums)
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
static int32_t int8_classes_rescale(int32_t sum, int32_t multiplier, int shift)
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

static int32_t int8_classes_limit(int32_t x, int32_t high)
{
    return x < 0 ? 0 : x > high ? high : x;
}

/* 256 times the value at a position from 0 to 32767 in a table of 128 segments. */
static int32_t int8_classes_interpolate(const int16_t *table, int32_t position)
{
    const int16_t *segment = table + (position >> 8);
    int32_t part = position & 255;
    return segment[0] * (256 - part) + segment[1] * part;
}

/* A hidden layer whose outputs are limited to 0 and 255. */
static void int8_classes_clip_layer(const uint8_t *x, size_t num_inputs, const int8_t *w, const int32_t *bias, const int32_t *multipliers,
                           int shift, uint8_t *out, size_t num_outputs)
{
    size_t j, i, num;
    int32_t sums[INT8_CLASSES_ROWS];
    for (j = 0; j < num_outputs; j += num) {
        num = num_outputs - j < INT8_CLASSES_ROWS ? num_outputs - j : INT8_CLASSES_ROWS;
        int8_classes_sums(x, num_inputs, w + j * num_inputs, bias + j, num, sums);
        for (i = 0; i < num; i++) {
            out[j + i] = (uint8_t)int8_classes_limit(int8_classes_rescale(sums[i], multipliers[j + i], shift), 255);
        }
    }
}

/* A hidden layer whose activation function is in a table. */
static void int8_classes_table_layer(const uint8_t *x, size_t num_inputs, const int8_t *w, const int32_t *bias, const int32_t *multipliers,
                            int shift, const int16_t *table, uint8_t *out, size_t num_outputs)
{
    size_t j, i, num;
    int32_t sums[INT8_CLASSES_ROWS];
    for (j = 0; j < num_outputs; j += num) {
        num = num_outputs - j < INT8_CLASSES_ROWS ? num_outputs - j : INT8_CLASSES_ROWS;
        int8_classes_sums(x, num_inputs, w + j * num_inputs, bias + j, num, sums);
        for (i = 0; i < num; i++) {
            int32_t position = int8_classes_limit(int8_classes_rescale(sums[i], multipliers[j + i], shift), 32767);
            out[j + i] = (uint8_t)((int8_classes_interpolate(table, position) + 16384) >> 15);
        }
    }
}

/* The last layer, without its activation function. */
static void int8_classes_output_layer(const uint8_t *x, size_t num_inputs, const int8_t *w, const int32_t *bias, const int32_t *multipliers,
                             int shift, int32_t *out, size_t num_outputs)
{
    size_t j, i, num;
    for (j = 0; j < num_outputs; j += num) {
        num = num_outputs - j < INT8_CLASSES_ROWS ? num_outputs - j : INT8_CLASSES_ROWS;
        int8_classes_sums(x, num_inputs, w + j * num_inputs, bias + j, num, out + j);
        for (i = j; i < j + num; i++) {
            out[i] = int8_classes_rescale(out[i], multipliers[i], shift);
        }
    }
}

/* A logit of 32768 stands for a factor of 2; the table has the powers of 1/2 between two of them. */
static void int8_classes_softmax(const int16_t *table, int32_t *z, size_t num)
{
    int32_t max = z[0];
    uint32_t sum = 0;
    size_t j;
    for (j = 1; j < num; j++) {
        max = z[j] > max ? z[j] : max;
    }
    for (j = 0; j < num; j++) {
        uint32_t below = (uint32_t)max - (uint32_t)z[j], halvings = below >> 15;
        int32_t power = (int8_classes_interpolate(table, (int32_t)(below & 32767u)) + 128) >> 8;
        z[j] = halvings < 15 ? power >> halvings : 0;
        sum += (uint32_t)z[j];
    }
    for (j = 0; j < num; j++) {
        uint32_t probability = (((uint32_t)z[j] << 15) + sum / 2) / sum;
        z[j] = (int32_t)(probability < 32767u ? probability : 32767u);
    }
}


static void int8_classes_compute(const uint8_t in[INT8_CLASSES_NUM_INPUTS], int32_t out[INT8_CLASSES_NUM_OUTPUTS])
{
    uint8_t buffer_0[7];
    uint8_t buffer_1[6];
    int8_classes_table_layer(in, 3, int8_classes_weights_0, int8_classes_biases_0, int8_classes_multipliers_0, 21, int8_classes_table_0, buffer_0, 7);
    int8_classes_clip_layer(buffer_0, 7, int8_classes_weights_1, int8_classes_biases_1, int8_classes_multipliers_1, 37, buffer_1, 6);
    int8_classes_output_layer(buffer_1, 6, int8_classes_weights_2, int8_classes_biases_2, int8_classes_multipliers_2, 32, out, 3);
}

void int8_classes_predict_int8(const uint8_t in[INT8_CLASSES_NUM_INPUTS], int32_t out[INT8_CLASSES_NUM_OUTPUTS])
{
    int8_classes_compute(in, out);
    int8_classes_softmax(int8_classes_table_2, out, 3);
}

int int8_classes_classify_int8(const uint8_t in[INT8_CLASSES_NUM_INPUTS])
{
    int32_t out[INT8_CLASSES_NUM_OUTPUTS];
    int j, best = 0;
    int8_classes_compute(in, out);
    for (j = 1; j < INT8_CLASSES_NUM_OUTPUTS; j++) {
        if (out[j] > out[best]) {
            best = j;
        }
    }
    return best;
}

#ifndef INT8_CLASSES_NO_FLOAT
#if defined(FLT_EVAL_METHOD) && FLT_EVAL_METHOD != 0 && FLT_EVAL_METHOD != 16
#error "arithmetic must round to float: compile for 32-bit x86 with -msse2 -mfpmath=sse, or define INT8_CLASSES_NO_FLOAT"
#endif
static const float int8_classes_low = -1.000000000e+02f;
static const float int8_classes_inverse_step = 2.524752542e-02f;
/* (x - low) inverse_step, limited to 0 and 255, rounded to the nearest integer, ties to even. */
static uint8_t int8_classes_quantize_one(float x, float low, float inverse_step)
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

void int8_classes_quantize(const float in[INT8_CLASSES_NUM_INPUTS], uint8_t out[INT8_CLASSES_NUM_INPUTS])
{
    size_t i;
    for (i = 0; i < INT8_CLASSES_NUM_INPUTS; i++) {
        out[i] = int8_classes_quantize_one(in[i], int8_classes_low, int8_classes_inverse_step);
    }
}

void int8_classes_predict(const float in[INT8_CLASSES_NUM_INPUTS], float out[INT8_CLASSES_NUM_OUTPUTS])
{
    uint8_t x[INT8_CLASSES_NUM_INPUTS];
    int32_t integers[INT8_CLASSES_NUM_OUTPUTS];
    size_t i;
    int8_classes_quantize(in, x);
    int8_classes_predict_int8(x, integers);
    for (i = 0; i < INT8_CLASSES_NUM_OUTPUTS; i++) {
        out[i] = (float)integers[i] * INT8_CLASSES_OUTPUT_SCALE;
    }
}

int int8_classes_classify(const float in[INT8_CLASSES_NUM_INPUTS])
{
    uint8_t x[INT8_CLASSES_NUM_INPUTS];
    int8_classes_quantize(in, x);
    return int8_classes_classify_int8(x);
}
#endif

#ifndef INT8_CLASSES_NO_SELFTEST
static const uint8_t int8_classes_test_integers[18] = { /* (6, 3) */
    3, 3, 3, 3, 2, 3, 0, 3, 3, 3, 3, 2, 3, 3, 255, 2, 3, 1,
};

static const int32_t int8_classes_test_outputs[18] = { /* (6, 3) */
    10923, 12468, 9377, 12109, 8900, 11759, 10828, 12451, 9489, 8378, 11570, 12820, 12902, 10656, 9211, 9407, 11333,
    12028,
};

#ifndef INT8_CLASSES_NO_FLOAT
static const float int8_classes_test_inputs[18] = { /* (6, 3) */
    0.0f, 0.0f, 0.0f, 1.0f, -2.0f, 0.5f, -100.0f, 30.0f, 7.0f, 0.25f, 0.125f, -3.0f, 1.0005271e-42f, -0.0f, 10000.0f,
    -8.0f, 9.0f, -50.0f,
};

#endif
int int8_classes_selftest(void)
{
    int32_t out[INT8_CLASSES_NUM_OUTPUTS];
    int i, num_wrong = 0;
    for (i = 0; i < 6; i++) {
        int is_wrong;
        int8_classes_predict_int8(int8_classes_test_integers + (size_t)i * INT8_CLASSES_NUM_INPUTS, out);
        is_wrong = memcmp(out, int8_classes_test_outputs + (size_t)i * INT8_CLASSES_NUM_OUTPUTS, sizeof out) != 0;
#ifndef INT8_CLASSES_NO_FLOAT
        {
            uint8_t x[INT8_CLASSES_NUM_INPUTS];
            int8_classes_quantize(int8_classes_test_inputs + (size_t)i * INT8_CLASSES_NUM_INPUTS, x);
            is_wrong |= memcmp(x, int8_classes_test_integers + (size_t)i * INT8_CLASSES_NUM_INPUTS, sizeof x) != 0;
        }
#endif
        num_wrong += is_wrong;
    }
    return num_wrong;
}
#endif

#endif /* INT8_CLASSES_IMPLEMENTED_ */
#endif /* INT8_CLASSES_IMPLEMENTATION */
