/* avx512.c: the kernels with vectors of 16 floats, for x86-64 with AVX-512 (F, DQ, BW, VL). */
#define NN_TARGET_HAS_FMA
#include "isa.h"

#if defined(__x86_64__) && defined(__GNUC__)

#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx512f,avx512dq,avx512bw,avx512vl,avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx512f,avx512dq,avx512bw,avx512vl,avx2,fma")
#endif

#define KERNELS nn_kernels_avx512
#define ISA_NAME "avx512"
#define IS_SLOW 0
#define VL 16
#define TILE_VECTORS 4 /* 6 x 4 sums, 4 vectors of b and 1 of a: 29 of 32 registers */
typedef __m512 V;
typedef __m512i V_INT;
#define MM(name) _mm512_##name
#define MM_INT_AND _mm512_and_si512
#define MM_CAST_INT(x) _mm512_castps_si512(x)
#define MM_CAST_FLOAT(i) _mm512_castsi512_ps(i)

#include "x86_operations.h"

NN_INLINE V v_if_less(V x, V y, V a, V b) { return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(x, y, _CMP_LT_OQ), b, a); }

#include "kernels_impl.h"

#ifdef __clang__
#pragma clang attribute pop
#endif

#else
typedef int nn_no_avx512; /* a C file must not be empty */
#endif
