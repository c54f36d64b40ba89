/* int8_avxvnni.c: the kernels of int8.h for x86-64 with AVX-VNNI, which has the instructions of AVX-512's VNNI for vectors of 256
 * bits. */
#include <string.h>

#include "int8.h"
#include "isa.h"

#if NN_INT8_HAS_AVXVNNI

#pragma GCC target("fma,avx2,avxvnni")

#include "int8_avx2_impl.h"

/* A tile of `rows` samples and a group of outputs, in two halves. */
NN_INLINE void tile(const uint8_t *x, size_t x_stride, int rows, size_t num_quads, const int8_t *w, const int32_t *bias, int groups,
                    int32_t *sums, size_t sums_stride, NNPrefetch *prefetch)
{
    __m256i sum[6][2];
    uintptr_t address = prefetch->address;
    size_t step = prefetch->step;
    (void)groups; /* 1 */
    NN_UNROLL
    for (int i = 0; i < rows; i++) {
        sum[i][0] = load_256(bias);
        sum[i][1] = load_256(bias + 8);
    }
    for (size_t q = 0; q < num_quads; q++, address += step) {
        const int8_t *quads = w + q * NN_INT8_GROUP * 4;
        __m256i first = load_256(quads), second = load_256(quads + 32);
        _mm_prefetch((const char *)address, _MM_HINT_T1);
        NN_UNROLL
        for (int i = 0; i < rows; i++) {
            int32_t quad;
            __m256i a;
            memcpy(&quad, x + (size_t)i * x_stride + 4 * q, sizeof quad);
            a = _mm256_set1_epi32(quad);
            sum[i][0] = _mm256_dpbusd_avx_epi32(sum[i][0], a, first);
            sum[i][1] = _mm256_dpbusd_avx_epi32(sum[i][1], a, second);
        }
    }
    NN_UNROLL
    for (int i = 0; i < rows; i++) {
        _mm256_storeu_si256((__m256i *)(void *)(sums + (size_t)i * sums_stride), sum[i][0]);
        _mm256_storeu_si256((__m256i *)(void *)(sums + (size_t)i * sums_stride + 8), sum[i][1]);
    }
    prefetch->address = address;
}

#define TILE_ROWS 6
#define TILE_GROUPS 1
#include "int8_tiles.h"

const NNInt8Kernels nn_int8_avxvnni = {"avxvnni", "avx2", quantize, multiply, requantize, rescale, interpolate, 0};

#else
typedef int nn_no_int8_avxvnni; /* a C file must not be empty */
#endif
