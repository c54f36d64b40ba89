/* isa.h: how a kernel is compiled for one instruction set. For the files isa_*.c, and nobody else.
 *
 * Each of them names a target, defines the vector type V of VL floats and the operations on it, and includes kernel.h or
 * kernel_tiny.h. The operations, in terms of the floats x, y, ... of a lane:
 *
 *     v_load(p), v_store(p, x), v_set(number)            no alignment is needed
 *     v_add, v_sub, v_mul, v_div(x, y), v_sqrt(x)        rounded as IEEE 754 has it (kernel_tiny.h takes no root)
 *     v_fma(x, y, z)                                     x y + z with one rounding
 *     v_max(bound, x), v_min(bound, x)                   NaN if x is NaN
 *     v_if_less(x, y, a, b)                              x < y ? a : b
 *     v_neg(x), v_abs(x), v_copysign(x, y)
 *     v_scale(x, t)                                      the low bits of t, an integer n in two's complement, added to the
 *                                                        exponent of x: x 2^n, as long as neither is subnormal or infinite
 *     v_split(x, &e)                                     x = m 2^e with m in [sqrt(1/2), sqrt(2)), for a normal x > 0
 *
 * Whoever computes with them gets the same bits from each. */
#ifndef NN_ISA_H_
#define NN_ISA_H_

#include <stdint.h>

#if defined(__GNUC__) || defined(__clang__)
#define NN_INLINE static inline __attribute__((always_inline))
#define NN_UNROLL _Pragma("GCC unroll 8")
#else
#define NN_INLINE static inline
#define NN_UNROLL
#endif

#endif /* NN_ISA_H_ */
