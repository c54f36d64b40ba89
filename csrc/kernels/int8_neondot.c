/* int8_neondot.c: the kernels of int8.h for AArch64 with the dot products of ARMv8.2. */
#include <string.h>

#include "int8.h"
#include "isa.h"

#if NN_INT8_HAS_NEON_DOT

#ifdef __clang__
#pragma clang attribute push(__attribute__((target("dotprod"))), apply_to = function)
#else
#pragma GCC target("arch=armv8.2-a+dotprod")
#endif

#include <arm_neon.h>

#include "int8_neon_impl.h"

/* A tile of `rows` samples and a group of outputs, four in a vector. */
NN_INLINE void tile(const uint8_t *x, size_t x_stride, int rows, size_t num_quads, const int8_t *w, const int32_t *bias, int groups,
                    int32_t *sums, size_t sums_stride, NNPrefetch *prefetch)
{
    int32x4_t sum[4][4];
    (void)groups; /* 1 */
    (void)prefetch;
    NN_UNROLL
    for (int v = 0; v < 4; v++) {
        NN_UNROLL
        for (int i = 0; i < rows; i++) {
            sum[i][v] = vld1q_s32(bias + 4 * v);
        }
    }
    for (size_t q = 0; q < num_quads; q++) {
        int8x16_t b[4];
        NN_UNROLL
        for (int v = 0; v < 4; v++) {
            b[v] = vld1q_s8(w + q * NN_INT8_GROUP * 4 + v * 16);
        }
        NN_UNROLL
        for (int i = 0; i < rows; i++) {
            uint32_t quad;
            int8x16_t a;
            memcpy(&quad, x + (size_t)i * x_stride + 4 * q, sizeof quad);
            a = vreinterpretq_s8_u32(vdupq_n_u32(quad ^ 0x80808080u));
            NN_UNROLL
            for (int v = 0; v < 4; v++) {
                sum[i][v] = vdotq_s32(sum[i][v], a, b[v]);
            }
        }
    }
    NN_UNROLL
    for (int i = 0; i < rows; i++) {
        NN_UNROLL
        for (int v = 0; v < 4; v++) {
            vst1q_s32(sums + (size_t)i * sums_stride + 4 * v, sum[i][v]);
        }
    }
}

#define TILE_ROWS 4
#define TILE_GROUPS 1
#include "int8_tiles.h"

const NNInt8Kernels nn_int8_neondot = {"neondot", "neon", quantize, multiply, requantize, rescale, nn_int8_interpolate, 1};

#ifdef __clang__
#pragma clang attribute pop
#endif

#else
typedef int nn_no_int8_neondot; /* a C file must not be empty */
#endif
