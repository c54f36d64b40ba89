/* avx2_128.c: tiny_impl.h with vectors of 4 floats, on x86-64 with FMA: for up to 4 samples they are quicker than longer ones. */
#include "isa.h"

#if defined(__x86_64__) && defined(__GNUC__)

#include <immintrin.h>
#include <math.h>

#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx2,fma")
#endif

#define VL 4
typedef __m128 V;

NN_INLINE V v_load(const float *p) { return _mm_loadu_ps(p); }
NN_INLINE void v_store(float *p, V x) { _mm_storeu_ps(p, x); }
NN_INLINE V v_set(float x) { return _mm_set1_ps(x); }
NN_INLINE V v_add(V x, V y) { return _mm_add_ps(x, y); }
NN_INLINE V v_sub(V x, V y) { return _mm_sub_ps(x, y); }
NN_INLINE V v_mul(V x, V y) { return _mm_mul_ps(x, y); }
NN_INLINE V v_div(V x, V y) { return _mm_div_ps(x, y); }
NN_INLINE V v_fma(V x, V y, V z) { return _mm_fmadd_ps(x, y, z); }
NN_INLINE V v_max(V bound, V x) { return _mm_max_ps(bound, x); }
NN_INLINE V v_min(V bound, V x) { return _mm_min_ps(bound, x); }
NN_INLINE V v_if_less(V x, V y, V a, V b) { return _mm_blendv_ps(b, a, _mm_cmp_ps(x, y, _CMP_LT_OQ)); }
NN_INLINE V v_neg(V x) { return _mm_xor_ps(x, _mm_set1_ps(-0.0f)); }
NN_INLINE V v_abs(V x) { return _mm_andnot_ps(_mm_set1_ps(-0.0f), x); }
NN_INLINE V v_copysign(V x, V y)
{
    V sign = _mm_set1_ps(-0.0f);
    return _mm_or_ps(_mm_andnot_ps(sign, x), _mm_and_ps(sign, y));
}
NN_INLINE V v_scale(V x, V t)
{
    return _mm_castsi128_ps(_mm_add_epi32(_mm_castps_si128(x), _mm_slli_epi32(_mm_castps_si128(t), 23)));
}
NN_INLINE V v_split(V x, V *e)
{
    __m128i root = _mm_set1_epi32(0x3f3504f3), i = _mm_sub_epi32(_mm_castps_si128(x), root);
    *e = _mm_cvtepi32_ps(_mm_srai_epi32(i, 23));
    return _mm_castsi128_ps(_mm_add_epi32(_mm_and_si128(i, _mm_set1_epi32(0x007fffff)), root));
}

#include "activations.h"
#include "tiny_impl.h"

void nn_train_tiny_avx2_128(const NNTiny *tiny, size_t iterations);
void nn_train_tiny_avx2_128(const NNTiny *tiny, size_t iterations)
{
    descend_tiny(tiny, iterations);
}

#ifdef __clang__
#pragma clang attribute pop
#endif

#else
typedef int nn_no_avx2_128;
#endif
