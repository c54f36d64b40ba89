/* isa.h: what an instruction-set file (avx2.c, avx512.c, neon.c, portable.c, ...) has to define. Only those files include it.
 *
 * Each of them selects a compilation target, includes this file after defining NN_TARGET_HAS_FMA if the target has fused
 * multiply-adds (fma.h has nn_fmaf, for single floats), defines the vector type V of VL floats and the operations below, and includes
 * kernels_impl.h (or tiny_impl.h). To add an instruction set, write such a file and list its table in kernels.c. The operations,
 * for the floats x, y, ... of one lane:
 *
 *     v_load(p), v_store(p, x), v_set(number)            no alignment is needed
 *     v_add, v_sub, v_mul, v_div(x, y), v_sqrt(x)        rounded as in IEEE 754 (v_sqrt is not needed for tiny_impl.h)
 *     v_fma(x, y, z)                                     x y + z with one rounding
 *     v_max(bound, x), v_min(bound, x)                   NaN if x is NaN
 *     v_if_less(x, y, a, b)                              x < y ? a : b
 *     v_neg(x), v_abs(x), v_copysign(x, y)
 *     v_scale(x, t)                                      x 2^n, for the integer n in the low bits of t (two's complement): n is
 *                                                        added to the exponent of x; x and the result must be normal
 *     v_split(x, &e)                                     returns m of x = m 2^e with m in [sqrt(1/2), sqrt(2)), for a normal x > 0
 *
 * Every instruction set computes the same bits from the same sequence of operations. */
#ifndef NN_ISA_H_
#define NN_ISA_H_

#include <stddef.h>
#include <stdint.h>

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h> /* before an instruction set is selected */
#endif

#include "fma.h"

#if defined(__GNUC__) || defined(__clang__)
#define NN_INLINE static inline __attribute__((always_inline))
#else
#define NN_INLINE static inline
#endif

/* Stands before each function of vector_math.h and activations.h. */
#ifndef NN_MATH
#define NN_MATH NN_INLINE
#endif

/* Stands before each loop over the vectors of a tile, which must be unrolled for the vectors to stay in registers. */
#if defined(__GNUC__) && !defined(NN_UNROLL)
#define NN_UNROLL _Pragma("GCC unroll 8")
#elif !defined(NN_UNROLL)
#define NN_UNROLL
#endif

#endif /* NN_ISA_H_ */
