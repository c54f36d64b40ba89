/* avx2.c: the kernels with vectors of 8 floats, for x86-64 with AVX2 and FMA. */
#define NN_TARGET_HAS_FMA
#include "isa.h"

#if defined(__x86_64__) && defined(__GNUC__)

#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx2,fma")
#endif

#define KERNELS nn_kernels_avx2
#define ISA_NAME "avx2"
#define IS_SLOW 0
#define VL 8
#define TILE_VECTORS 2 /* 6 x 2 sums, 2 vectors of b and 1 of a: 15 of 16 registers */
typedef __m256 V;
typedef __m256i V_INT;
#define MM(name) _mm256_##name
#define MM_INT_AND _mm256_and_si256
#define MM_CAST_INT(x) _mm256_castps_si256(x)
#define MM_CAST_FLOAT(i) _mm256_castsi256_ps(i)

#include "x86_operations.h"

NN_INLINE V v_if_less(V x, V y, V a, V b) { return _mm256_blendv_ps(b, a, _mm256_cmp_ps(x, y, _CMP_LT_OQ)); }

#include "kernels_impl.h"

#ifdef __clang__
#pragma clang attribute pop
#endif

#else
typedef int nn_no_avx2; /* a C file must not be empty */
#endif
