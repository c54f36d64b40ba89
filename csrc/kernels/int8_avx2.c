/* int8_avx2.c: the kernels of int8.h for x86-64 with AVX2. Its instruction for products of 8-bit integers (vpmaddubsw) limits the sums
 * of two to 16 bits, which would change them. So integers are widened to 16 bits, whose products are added in 32. */
#include <string.h>

#include "int8.h"
#include "isa.h"

#if defined(__x86_64__) && defined(__GNUC__)

#ifdef __clang__
#pragma clang attribute push(__attribute__((target("fma,avx2"))), apply_to = function)
#else
#pragma GCC target("fma,avx2")
#endif

#include "int8_avx2_impl.h"

#define TILE_ROWS 4 /* with more rows GCC spills registers */
#define BLOCK 256 /* quads of inputs that are widened at a time */

/* A tile of `rows` samples and eight outputs: half a group. sum[i][h] holds the sums of four outputs, each of them in two parts.
 *
 * wide    (rows, 4 BLOCK): the inputs, of which 4 num_quads are used
 * w       (num_quads, 16, 4), from the first of the eight outputs on
 * start   (rows, 8), rows start_stride apart: what is added to the products; may be sums */
NN_INLINE void tile(const int16_t *wide, int rows, size_t num_quads, const int8_t *w, const int32_t *start, size_t start_stride,
                    int32_t *sums, size_t sums_stride)
{
    __m256i sum[TILE_ROWS][2];
    NN_UNROLL
    for (int i = 0; i < rows; i++) {
        sum[i][0] = sum[i][1] = _mm256_setzero_si256();
    }
    for (size_t q = 0; q < num_quads; q++) {
        const int8_t *quads = w + q * NN_INT8_GROUP * 4;
        __m256i first = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(const void *)quads));
        __m256i second = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(const void *)(quads + 16)));
        NN_UNROLL
        for (int i = 0; i < rows; i++) {
            int64_t quad;
            __m256i a;
            memcpy(&quad, wide + (size_t)i * 4 * BLOCK + 4 * q, sizeof quad);
            a = _mm256_set1_epi64x(quad);
            sum[i][0] = _mm256_add_epi32(sum[i][0], _mm256_madd_epi16(a, first));
            sum[i][1] = _mm256_add_epi32(sum[i][1], _mm256_madd_epi16(a, second));
        }
    }
    NN_UNROLL
    for (int i = 0; i < rows; i++) {
        __m256i whole = _mm256_permute4x64_epi64(_mm256_hadd_epi32(sum[i][0], sum[i][1]), 0xd8); /* hadd works in halves */
        whole = _mm256_add_epi32(whole, load_256(start + (size_t)i * start_stride));
        _mm256_storeu_si256((__m256i *)(void *)(sums + (size_t)i * sums_stride), whole);
    }
}

NN_INLINE void multiply_rows(const uint8_t *x, size_t x_stride, int rows, size_t num_quads, const int8_t *w, const int32_t *bias,
                             size_t num_groups, int32_t *sums)
{
    int16_t wide[TILE_ROWS][4 * BLOCK];
    size_t stride = num_groups * NN_INT8_GROUP;
    for (size_t first = 0; first < num_quads; first += BLOCK) {
        size_t num = nn_min(num_quads - first, BLOCK);
        for (int i = 0; i < rows; i++) {
            for (size_t k = 0; k < 4 * num; k += 16) { /* rows of x are padded */
                const uint8_t *from = x + (size_t)i * x_stride + 4 * first + k;
                _mm256_storeu_si256((__m256i *)(void *)(wide[i] + k),
                                    _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)(const void *)from)));
            }
        }
        for (size_t j = 0; j < stride; j += 8) {
            const int8_t *group = w + (j / NN_INT8_GROUP * num_quads + first) * NN_INT8_GROUP * 4 + j % NN_INT8_GROUP * 4;
            tile(wide[0], rows, num, group, first == 0 ? bias + j : sums + j, first == 0 ? 0 : stride, sums + j, stride);
        }
    }
}

static void multiply(const uint8_t *x, size_t x_stride, size_t num_rows, size_t num_quads, const int8_t *w, const int32_t *bias,
                     size_t num_groups, int32_t *sums, NNPrefetch *prefetch)
{
    size_t i = 0, stride = num_groups * NN_INT8_GROUP;
    (void)prefetch;
    for (; i + TILE_ROWS <= num_rows; i += TILE_ROWS) {
        multiply_rows(x + i * x_stride, x_stride, TILE_ROWS, num_quads, w, bias, num_groups, sums + i * stride);
    }
    for (; i + 2 <= num_rows; i += 2) {
        multiply_rows(x + i * x_stride, x_stride, 2, num_quads, w, bias, num_groups, sums + i * stride);
    }
    if (i < num_rows) {
        multiply_rows(x + i * x_stride, x_stride, 1, num_quads, w, bias, num_groups, sums + i * stride);
    }
}

const NNInt8Kernels nn_int8_avx2 = {"avx2", "avx2", quantize, multiply, requantize, rescale, interpolate, 0};

#ifdef __clang__
#pragma clang attribute pop
#endif

#else
typedef int nn_no_int8_avx2; /* a C file must not be empty */
#endif
