/* avx2_128.c: only the training of tiny networks, with vectors of 4 floats, for x86-64 with AVX2 and FMA. For up to 4 samples it is
 * faster than the same code with longer vectors. */
#define NN_TARGET_HAS_FMA
#include "isa.h"

#if defined(__x86_64__) && defined(__GNUC__)

#include <math.h>

#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx2,fma")
#endif

#define VL 4
typedef __m128 V;
typedef __m128i V_INT;
#define MM(name) _mm_##name
#define MM_INT_AND _mm_and_si128
#define MM_CAST_INT(x) _mm_castps_si128(x)
#define MM_CAST_FLOAT(i) _mm_castsi128_ps(i)

#include "x86_operations.h"

NN_INLINE V v_if_less(V x, V y, V a, V b) { return _mm_blendv_ps(b, a, _mm_cmp_ps(x, y, _CMP_LT_OQ)); }

#include "activations.h"
#include "tiny_impl.h"

void nn_train_tiny_avx2_128(const NNTinyTraining *training, size_t iterations)
{
    train_tiny(training, iterations);
}

#ifdef __clang__
#pragma clang attribute pop
#endif

#else
typedef int nn_no_avx2_128; /* a C file must not be empty */
#endif
