/* avx512.c: the kernels with vectors of 16 floats, on x86-64 with AVX-512 (F, DQ, BW, VL). */
#include "isa.h"

#if defined(__x86_64__) && defined(__GNUC__)

#include <immintrin.h>

#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx512f,avx512dq,avx512bw,avx512vl,avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx512f,avx512dq,avx512bw,avx512vl,avx2,fma")
#endif

#define KERNELS nn_kernels_avx512
#define VECTORS "avx512"
#define IS_SLOW 0
#define VL 16
#define TILE_VECTORS 4 /* 6 x 4 sums, 4 of B and 1 of A: 29 of 32 registers */
typedef __m512 V;

NN_INLINE V v_load(const float *p) { return _mm512_loadu_ps(p); }
NN_INLINE void v_store(float *p, V x) { _mm512_storeu_ps(p, x); }
NN_INLINE V v_set(float x) { return _mm512_set1_ps(x); }
NN_INLINE V v_add(V x, V y) { return _mm512_add_ps(x, y); }
NN_INLINE V v_sub(V x, V y) { return _mm512_sub_ps(x, y); }
NN_INLINE V v_mul(V x, V y) { return _mm512_mul_ps(x, y); }
NN_INLINE V v_div(V x, V y) { return _mm512_div_ps(x, y); }
NN_INLINE V v_sqrt(V x) { return _mm512_sqrt_ps(x); }
NN_INLINE V v_fma(V x, V y, V z) { return _mm512_fmadd_ps(x, y, z); }
NN_INLINE V v_max(V bound, V x) { return _mm512_max_ps(bound, x); }
NN_INLINE V v_min(V bound, V x) { return _mm512_min_ps(bound, x); }
NN_INLINE V v_if_less(V x, V y, V a, V b) { return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(x, y, _CMP_LT_OQ), b, a); }
NN_INLINE V v_neg(V x) { return _mm512_xor_ps(x, _mm512_set1_ps(-0.0f)); }
NN_INLINE V v_abs(V x) { return _mm512_andnot_ps(_mm512_set1_ps(-0.0f), x); }
NN_INLINE V v_copysign(V x, V y)
{
    V sign = _mm512_set1_ps(-0.0f);
    return _mm512_or_ps(_mm512_andnot_ps(sign, x), _mm512_and_ps(sign, y));
}
NN_INLINE V v_scale(V x, V t)
{
    return _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(x), _mm512_slli_epi32(_mm512_castps_si512(t), 23)));
}
NN_INLINE V v_split(V x, V *e)
{
    __m512i root = _mm512_set1_epi32(0x3f3504f3), i = _mm512_sub_epi32(_mm512_castps_si512(x), root);
    *e = _mm512_cvtepi32_ps(_mm512_srai_epi32(i, 23));
    return _mm512_castsi512_ps(_mm512_add_epi32(_mm512_and_si512(i, _mm512_set1_epi32(0x007fffff)), root));
}

#include "kernels_impl.h"

#ifdef __clang__
#pragma clang attribute pop
#endif

#else
typedef int nn_no_avx512; /* C wants a file to hold something */
#endif
