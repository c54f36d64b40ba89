/* int8_portable.c: the kernels of int8.h in plain C99, for every processor and compiler. They are the definition of what the others
 * compute. */
#include <string.h>

#include "int8.h"

static int quantize(const float *x, const float *low, const float *inverse_step, uint8_t *out, size_t n)
{
    float sum = 0.0f; /* of 0 and NaN */
    for (size_t k = 0; k < n; k++) {
        float t = (x[k] - low[k]) * inverse_step[k], shifted;
        uint32_t bits;
        sum += t - t;
        t = t > 0.0f ? t : 0.0f;
        t = t < 255.0f ? t : 255.0f;
        shifted = t + 8388608.0f; /* 2^23: the last bit of the sum stands for 1 */
        memcpy(&bits, &shifted, sizeof bits);
        out[k] = (uint8_t)(bits & 0xffu);
    }
    return sum == 0.0f;
}

static void multiply(const uint8_t *x, size_t x_stride, size_t num_rows, size_t num_quads, const int8_t *w, const int32_t *bias,
                     size_t num_groups, int32_t *sums, NNPrefetch *prefetch)
{
    (void)prefetch;
    for (size_t i = 0; i < num_rows; i++) {
        for (size_t g = 0; g < num_groups; g++) {
            const int8_t *group = w + g * num_quads * NN_INT8_GROUP * 4;
            int32_t *sum = sums + (i * num_groups + g) * NN_INT8_GROUP;
            memcpy(sum, bias + g * NN_INT8_GROUP, NN_INT8_GROUP * sizeof(int32_t));
            for (size_t q = 0; q < num_quads; q++) {
                const uint8_t *a = x + i * x_stride + 4 * q;
                for (size_t j = 0; j < NN_INT8_GROUP; j++) {
                    const int8_t *b = group + (q * NN_INT8_GROUP + j) * 4;
                    sum[j] += a[0] * b[0] + a[1] * b[1] + a[2] * b[2] + a[3] * b[3];
                }
            }
        }
    }
}

static int32_t rescaled(int32_t sum, int32_t multiplier, int shift)
{
    int32_t limit = nn_int8_limit(shift);
    sum = sum < limit ? sum : limit;
    sum = sum > -limit ? sum : -limit;
    /* 2^62 makes the number positive, because C does not define the right shift of negative ones. */
    return (int32_t)((int64_t)(((uint64_t)((int64_t)sum * multiplier) + ((uint64_t)1 << (shift - 1)) + ((uint64_t)1 << 62)) >> shift) -
                     ((int64_t)1 << (62 - shift)));
}

static void requantize(const int32_t *sums, const int32_t *multiplier, int shift, uint8_t *out, size_t n)
{
    for (size_t j = 0; j < n; j++) {
        int32_t value = rescaled(sums[j], multiplier[j], shift);
        out[j] = (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value);
    }
}

static void rescale(const int32_t *sums, const int32_t *multiplier, int shift, int32_t low, int32_t high, int32_t *out, size_t n)
{
    for (size_t j = 0; j < n; j++) {
        int32_t value = rescaled(sums[j], multiplier[j], shift);
        out[j] = value < low ? low : value > high ? high : value;
    }
}

void nn_int8_interpolate(const int32_t *position, const int16_t *table, uint8_t *out, size_t n)
{
    for (size_t j = 0; j < n; j++) {
        out[j] = (uint8_t)((nn_int8_interpolated(table, position[j]) + (1 << 14)) >> 15);
    }
}

const NNInt8Kernels nn_int8_portable = {"portable", "portable", quantize, multiply, requantize, rescale, nn_int8_interpolate, 0};
