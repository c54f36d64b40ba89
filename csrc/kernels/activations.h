/* activations.h: the functions of a layer and their derivatives, for the vectors of one instruction-set file. */

#include "kernels.h"
#include "vector_math.h"

NN_MATH V activate(int function, V z)
{
    V zero = v_set(0.0f);
    switch (function) {
    case NN_SIGMOID: return v_sigmoid(z);
    case NN_TANH: return v_tanh(z);
    case NN_RELU: return v_if_less(z, zero, zero, z);
    case NN_LEAKY_RELU: return v_if_less(z, zero, v_mul(v_set(NN_LEAK), z), z);
    case NN_ELU: return v_if_less(z, zero, v_expm1(z), z);
    case NN_SOFTPLUS: return v_softplus(z);
    case NN_SILU: return v_mul(z, v_sigmoid(z));
    case NN_GELU: return v_mul(z, v_normal_cdf(z));
    default: return z; /* linear; softmax, which needs the whole row first */
    }
}

/* f'(z): from z where NN_DERIVED_FROM_Z says so, else from a = f(z). */
NN_MATH V derivative(int function, V x)
{
    V one = v_set(1.0f), zero = v_set(0.0f), s;
    switch (function) {
    case NN_SIGMOID: return v_mul(x, v_sub(one, x));
    case NN_TANH: return v_fma(v_neg(x), x, one);
    case NN_RELU: return v_if_less(zero, x, one, zero);
    case NN_LEAKY_RELU: return v_if_less(zero, x, one, v_set(NN_LEAK));
    case NN_ELU: return v_if_less(zero, x, one, v_add(x, one));
    case NN_SOFTPLUS: return v_sigmoid(x);
    case NN_SILU:
        s = v_sigmoid(x);
        return v_mul(s, v_fma(x, v_sub(one, s), one));
    case NN_GELU: return v_fma(x, v_normal_density(x), v_normal_cdf(x));
    default: return one;
    }
}
