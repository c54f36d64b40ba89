/* avx2.c: the kernels with vectors of 8 floats, on x86-64 with AVX2 and FMA. */
#include "isa.h"

#if defined(__x86_64__) && defined(__GNUC__)

#include <immintrin.h>

#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx2,fma")
#endif

#define KERNELS nn_kernels_avx2
#define VECTORS "avx2"
#define IS_SLOW 0
#define VL 8
#define TILE_VECTORS 2 /* 6 x 2 sums, 2 of B and 1 of A: 15 of 16 registers */
typedef __m256 V;

NN_INLINE V v_load(const float *p) { return _mm256_loadu_ps(p); }
NN_INLINE void v_store(float *p, V x) { _mm256_storeu_ps(p, x); }
NN_INLINE V v_set(float x) { return _mm256_set1_ps(x); }
NN_INLINE V v_add(V x, V y) { return _mm256_add_ps(x, y); }
NN_INLINE V v_sub(V x, V y) { return _mm256_sub_ps(x, y); }
NN_INLINE V v_mul(V x, V y) { return _mm256_mul_ps(x, y); }
NN_INLINE V v_div(V x, V y) { return _mm256_div_ps(x, y); }
NN_INLINE V v_sqrt(V x) { return _mm256_sqrt_ps(x); }
NN_INLINE V v_fma(V x, V y, V z) { return _mm256_fmadd_ps(x, y, z); }
NN_INLINE V v_max(V bound, V x) { return _mm256_max_ps(bound, x); }
NN_INLINE V v_min(V bound, V x) { return _mm256_min_ps(bound, x); }
NN_INLINE V v_if_less(V x, V y, V a, V b) { return _mm256_blendv_ps(b, a, _mm256_cmp_ps(x, y, _CMP_LT_OQ)); }
NN_INLINE V v_neg(V x) { return _mm256_xor_ps(x, _mm256_set1_ps(-0.0f)); }
NN_INLINE V v_abs(V x) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), x); }
NN_INLINE V v_copysign(V x, V y)
{
    V sign = _mm256_set1_ps(-0.0f);
    return _mm256_or_ps(_mm256_andnot_ps(sign, x), _mm256_and_ps(sign, y));
}
NN_INLINE V v_scale(V x, V t)
{
    return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(x), _mm256_slli_epi32(_mm256_castps_si256(t), 23)));
}
NN_INLINE V v_split(V x, V *e)
{
    __m256i root = _mm256_set1_epi32(0x3f3504f3), i = _mm256_sub_epi32(_mm256_castps_si256(x), root);
    *e = _mm256_cvtepi32_ps(_mm256_srai_epi32(i, 23));
    return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_and_si256(i, _mm256_set1_epi32(0x007fffff)), root));
}

#include "kernels_impl.h"

#ifdef __clang__
#pragma clang attribute pop
#endif

#else
typedef int nn_no_avx2;
#endif
