/* activations.h: the activation functions and their derivatives, on one vector. nn.h has the formulas. Included by kernels_impl.h
 * and avx2_128.c, after the operations of isa.h are defined. */

#include "kernels.h"
#include "vector_math.h"

/* a = f(z). Softmax, which needs the whole row, is left to the caller: its z is returned. */
NN_MATH V activate(int activation, V z)
{
    V zero = v_set(0.0f);
    switch (activation) {
    case NN_SIGMOID: return v_sigmoid(z);
    case NN_TANH: return v_tanh(z);
    case NN_RELU: return v_if_less(z, zero, zero, z);
    case NN_LEAKY_RELU: return v_if_less(z, zero, v_mul(v_set(NN_LEAK), z), z);
    case NN_ELU: return v_if_less(z, zero, v_expm1(z), z);
    case NN_SOFTPLUS: return v_softplus(z);
    case NN_SILU: return v_mul(z, v_sigmoid(z));
    case NN_GELU: return v_mul(z, v_normal_cdf(z));
    default: return z;
    }
}

/* f'(z). x is z if NN_DERIVATIVE_USES_Z(activation), else a = f(z). */
NN_MATH V derivative(int activation, V x)
{
    V one = v_set(1.0f), zero = v_set(0.0f), s;
    switch (activation) {
    case NN_SIGMOID: return v_mul(x, v_sub(one, x)); /* a (1 - a) */
    case NN_TANH: return v_fma(v_neg(x), x, one);    /* 1 - a^2 */
    case NN_RELU: return v_if_less(zero, x, one, zero);
    case NN_LEAKY_RELU: return v_if_less(zero, x, one, v_set(NN_LEAK));
    case NN_ELU: return v_if_less(zero, x, one, v_add(x, one)); /* exp(z) = a + 1 */
    case NN_SOFTPLUS: return v_sigmoid(x);
    case NN_SILU: /* s + z s (1 - s), s = sigmoid(z) */
        s = v_sigmoid(x);
        return v_mul(s, v_fma(x, v_sub(one, s), one));
    case NN_GELU: return v_fma(x, v_normal_density(x), v_normal_cdf(x)); /* Phi(z) + z Phi'(z) */
    default: return one;
    }
}
