/* int8_neon.c: the kernels of int8.h for AArch64, which always has NEON. */
#include <string.h>

#include "int8.h"
#include "isa.h"

#if NN_INT8_HAS_NEON

#include <arm_neon.h>

#include "int8_neon_impl.h"

/* A tile of `rows` samples and a quarter of a group of outputs: sum[i][v] holds the sums of two outputs, each of them in two parts. */
NN_INLINE void quarter_tile(const uint8_t *x, size_t x_stride, int rows, size_t num_quads, const int8_t *w, const int32_t *bias,
                            int32_t *sums, size_t sums_stride)
{
    int32x4_t sum[4][2];
    NN_UNROLL
    for (int i = 0; i < rows; i++) {
        sum[i][0] = sum[i][1] = vdupq_n_s32(0);
    }
    for (size_t q = 0; q < num_quads; q++) {
        int8x16_t b = vld1q_s8(w + q * NN_INT8_GROUP * 4);
        NN_UNROLL
        for (int i = 0; i < rows; i++) {
            uint32_t quad;
            int8x8_t a;
            memcpy(&quad, x + (size_t)i * x_stride + 4 * q, sizeof quad);
            a = vreinterpret_s8_u32(vdup_n_u32(quad ^ 0x80808080u));
            sum[i][0] = vpadalq_s16(sum[i][0], vmull_s8(a, vget_low_s8(b)));
            sum[i][1] = vpadalq_s16(sum[i][1], vmull_s8(a, vget_high_s8(b)));
        }
    }
    NN_UNROLL
    for (int i = 0; i < rows; i++) {
        vst1q_s32(sums + (size_t)i * sums_stride, vaddq_s32(vpaddq_s32(sum[i][0], sum[i][1]), vld1q_s32(bias)));
    }
}

NN_INLINE void tile(const uint8_t *x, size_t x_stride, int rows, size_t num_quads, const int8_t *w, const int32_t *bias, int groups,
                    int32_t *sums, size_t sums_stride, NNPrefetch *prefetch)
{
    (void)groups; /* 1 */
    (void)prefetch;
    for (int quarter = 0; quarter < 4; quarter++) {
        quarter_tile(x, x_stride, rows, num_quads, w + quarter * 16, bias + quarter * 4, sums + quarter * 4, sums_stride);
    }
}

#define TILE_ROWS 4
#define TILE_GROUPS 1
#include "int8_tiles.h"

const NNInt8Kernels nn_int8_neon = {"neon", "neon", quantize, multiply, requantize, rescale, nn_int8_interpolate, 1};

#else
typedef int nn_no_int8_neon; /* a C file must not be empty */
#endif
