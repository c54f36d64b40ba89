/* isa.h: how a kernel is compiled for one instruction set. For the files instruction-set, and nobody else.
 *
 * Each of them names a target, defines the vector type V of VL floats and the operations on it, and includes kernels_impl.h or
 * tiny_impl.h. The operations, in terms of the floats x, y, ... of a lane:
 *
 *     v_load(p), v_store(p, x), v_set(number)            no alignment is needed
 *     v_add, v_sub, v_mul, v_div(x, y), v_sqrt(x)        rounded as IEEE 754 has it (tiny_impl.h takes no root)
 *     v_fma(x, y, z)                                     x y + z with one rounding
 *     v_max(bound, x), v_min(bound, x)                   NaN if x is NaN
 *     v_if_less(x, y, a, b)                              x < y ? a : b
 *     v_neg(x), v_abs(x), v_copysign(x, y)
 *     v_scale(x, t)                                      the low bits of t, an integer n in two's complement, added to the
 *                                                        exponent of x: x 2^n, as long as neither is subnormal or infinite
 *     transpose4(from, from_stride, to, to_stride)       to[j][k] = from[k][j] for j, k < 4; not a vector operation
 *     v_split(x, &e)                                     x = m 2^e with m in [sqrt(1/2), sqrt(2)), for a normal x > 0
 *
 * Whoever computes with them gets the same bits from each. */
#ifndef NN_ISA_H_
#define NN_ISA_H_

#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__) || defined(__clang__)
#define NN_INLINE static inline __attribute__((always_inline))
#else
#define NN_INLINE static inline
#endif

/* Before a function of vector_math.h or activations.h. */
#ifndef NN_MATH
#define NN_MATH NN_INLINE
#endif

/* Before a loop over the vectors of a tile, which have to become registers. */
#if defined(__GNUC__) && !defined(NN_UNROLL)
#define NN_UNROLL _Pragma("GCC unroll 8")
#elif !defined(NN_UNROLL)
#define NN_UNROLL
#endif

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>
NN_INLINE void transpose4(const float *from, size_t from_stride, float *to, size_t to_stride)
{
    __m128 a = _mm_loadu_ps(from), b = _mm_loadu_ps(from + from_stride);
    __m128 c = _mm_loadu_ps(from + 2 * from_stride), d = _mm_loadu_ps(from + 3 * from_stride);
    _MM_TRANSPOSE4_PS(a, b, c, d);
    _mm_storeu_ps(to, a);
    _mm_storeu_ps(to + to_stride, b);
    _mm_storeu_ps(to + 2 * to_stride, c);
    _mm_storeu_ps(to + 3 * to_stride, d);
}
#else
NN_INLINE void transpose4(const float *from, size_t from_stride, float *to, size_t to_stride)
{
    for (size_t j = 0; j < 4; j++) {
        for (size_t k = 0; k < 4; k++) {
            to[j * to_stride + k] = from[k * from_stride + j];
        }
    }
}
#endif

#endif /* NN_ISA_H_ */
