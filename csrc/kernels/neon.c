/* neon.c: the kernels with vectors of 4 floats, for AArch64, which always has NEON with fused multiply-add. */
#include "isa.h"

#if defined(__aarch64__) && defined(__ARM_NEON)

#include <arm_neon.h>

#define KERNELS nn_kernels_neon
#define ISA_NAME "neon"
#define IS_SLOW 0
#define VL 4
#define TILE_VECTORS 4 /* 6 x 4 sums, 4 vectors of b and 1 of a: 29 of 32 registers */
typedef float32x4_t V;

NN_INLINE V v_load(const float *p) { return vld1q_f32(p); }
NN_INLINE void v_store(float *p, V x) { vst1q_f32(p, x); }
NN_INLINE V v_set(float x) { return vdupq_n_f32(x); }
NN_INLINE V v_add(V x, V y) { return vaddq_f32(x, y); }
NN_INLINE V v_sub(V x, V y) { return vsubq_f32(x, y); }
NN_INLINE V v_mul(V x, V y) { return vmulq_f32(x, y); }
NN_INLINE V v_div(V x, V y) { return vdivq_f32(x, y); }
NN_INLINE V v_sqrt(V x) { return vsqrtq_f32(x); }
NN_INLINE V v_fma(V x, V y, V z) { return vfmaq_f32(z, x, y); }
NN_INLINE V v_max(V bound, V x) { return vmaxq_f32(bound, x); }
NN_INLINE V v_min(V bound, V x) { return vminq_f32(bound, x); }
NN_INLINE V v_if_less(V x, V y, V a, V b) { return vbslq_f32(vcltq_f32(x, y), a, b); }
NN_INLINE V v_neg(V x) { return vnegq_f32(x); }
NN_INLINE V v_abs(V x) { return vabsq_f32(x); }
NN_INLINE V v_copysign(V x, V y) { return vbslq_f32(vdupq_n_u32(0x80000000u), y, x); }
NN_INLINE V v_scale(V x, V t)
{
    return vreinterpretq_f32_s32(vaddq_s32(vreinterpretq_s32_f32(x), vshlq_n_s32(vreinterpretq_s32_f32(t), 23)));
}
NN_INLINE V v_split(V x, V *e)
{
    int32x4_t sqrt_half = vdupq_n_s32(0x3f3504f3), i = vsubq_s32(vreinterpretq_s32_f32(x), sqrt_half); /* the bits of sqrt(1/2) */
    *e = vcvtq_f32_s32(vshrq_n_s32(i, 23));
    return vreinterpretq_f32_s32(vaddq_s32(vandq_s32(i, vdupq_n_s32(0x007fffff)), sqrt_half));
}

#include "kernels_impl.h"

#else
typedef int nn_no_neon; /* a C file must not be empty */
#endif
