/* functions.h: the functions of a layer and their derivatives, for the vectors of one isa_*.c file. */

#include "kernels.h"
#include "vmath.h"

NN_INLINE V activate(int function, V z)
{
    switch (function) {
    case NN_SIGMOID: return v_sigmoid(z);
    case NN_TANH: return v_tanh(z);
    case NN_RELU: return v_if_less(z, v_set(0.0f), v_set(0.0f), z);
    default: return z; /* linear; softmax, which needs the whole row first */
    }
}

/* f'(z), from a = f(z). */
NN_INLINE V derivative(int function, V a)
{
    V one = v_set(1.0f), zero = v_set(0.0f);
    switch (function) {
    case NN_SIGMOID: return v_mul(a, v_sub(one, a));
    case NN_TANH: return v_fma(v_neg(a), a, one);
    case NN_RELU: return v_if_less(zero, a, one, zero);
    default: return one;
    }
}
