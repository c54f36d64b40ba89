/* vector_math.h: exp, tanh, log and functions made of them, on one vector, written with the operations of isa.h: the same bits with
 * every instruction set and on every machine. activations.h and kernels_impl.h use them.
 *
 * Polynomials and constants are those of Cephes (S. L. Moshier, Methods and Programs for Mathematical Functions, 1989), rearranged;
 * those of the error function are N. Juffa's. tests/c/math_error.c measures the largest error over all floats: at most 3.5 ulp. */

#define V_ROUND 12582912.0f /* 1.5 2^23: x + V_ROUND has round(x) in its low bits */

/* (exp(r) - 1 - r) / r^2 for |r| <= ln(2) / 2, with r2 = r^2. */
NN_MATH V v_exp_tail(V r, V r2)
{
    V low = v_fma(v_set(1.6666665459e-1f), r, v_set(5.0000001201e-1f));
    V middle = v_fma(v_set(8.3334519073e-3f), r, v_set(4.1665795894e-2f));
    V high = v_fma(v_set(1.9875691500e-4f), r, v_set(1.3981999507e-3f));
    return v_fma(v_fma(high, r2, middle), r2, low);
}

/* Range reduction: x = n ln(2) + r. Returns exp(r), and in *t a float whose low bits are n. */
NN_MATH V v_exp_reduced(V x, V *t)
{
    V n, r, r2;
    *t = v_fma(x, v_set(1.44269504f), v_set(V_ROUND));
    n = v_sub(*t, v_set(V_ROUND));
    r = v_fma(n, v_set(-0.693359375f), x);
    r = v_fma(n, v_set(2.12194440e-4f), r);
    r2 = v_mul(r, r);
    return v_fma(v_exp_tail(r, r2), r2, v_add(r, v_set(1.0f)));
}

/* exp(x) for |x| <= 87, where neither exp(x) nor its reciprocal is subnormal. */
NN_MATH V v_exp_bounded(V x)
{
    V t, p = v_exp_reduced(x, &t), zero = v_set(V_ROUND);
    return v_scale(p, v_if_less(t, v_set(2.0f * V_ROUND), t, zero)); /* if x is NaN: n = 0, so that v_scale keeps it NaN */
}

/* exp(x) for every float: 0 below -103.97, infinity above 88.72, also subnormal results and NaN. The factor 2^n is applied in two
 * halves, each of which is a normal number. */
NN_MATH V v_exp(V x)
{
    V t, n, t1, t2, p, one = v_set(1.0f), round = v_set(V_ROUND);
    x = v_max(v_set(-104.0f), v_min(v_set(89.0f), x));
    p = v_exp_reduced(x, &t);
    n = v_sub(t, round);
    t1 = v_fma(n, v_set(0.5f), round);
    t2 = v_add(v_sub(n, v_sub(t1, round)), round);
    return v_mul(v_mul(p, v_scale(one, t1)), v_scale(one, t2));
}

/* 1 / (1 + exp(-x)), but 0 for x < -87, where the result would be below 1.7e-38. */
NN_MATH V v_sigmoid(V x)
{
    V bounded = v_max(v_set(-87.0f), v_min(v_set(87.0f), x));
    V s = v_div(v_set(1.0f), v_add(v_set(1.0f), v_exp_bounded(v_neg(bounded))));
    return v_if_less(x, v_set(-87.0f), v_set(0.0f), s);
}

/* tanh(x): x + x^3 P(x^2) for |x| <= 0.625, else sign(x) (1 - 2 / (exp(2 |x|) + 1)). */
NN_MATH V v_tanh(V x)
{
    V y = v_abs(x), z = v_mul(x, x), p, e, near_zero, beyond;
    p = v_fma(v_set(-5.70498872745e-3f), z, v_set(2.06390887954e-2f));
    p = v_fma(p, z, v_set(-5.37397155531e-2f));
    p = v_fma(p, z, v_set(1.33314422036e-1f));
    p = v_fma(p, z, v_set(-3.33332819422e-1f));
    near_zero = v_fma(v_mul(p, z), x, x);
    e = v_exp_bounded(v_min(v_set(40.0f), v_add(y, y)));
    beyond = v_sub(v_set(1.0f), v_div(v_set(2.0f), v_add(e, v_set(1.0f))));
    return v_if_less(v_set(0.625f), y, v_copysign(beyond, x), near_zero);
}

/* log(x): -infinity at 0, NaN below 0, infinity at infinity. With x = m 2^e and f = m - 1,
 * log(x) = f - f^2 / 2 + f^3 P(f) + e ln(2). */
NN_MATH V v_log(V x)
{
    V e, m, f, f2, p, r, largest = v_set(3.402823466e38f), zero = v_set(0.0f);
    V small = v_set(1.17549435e-38f), normal = v_if_less(x, small, v_mul(x, v_set(8388608.0f)), x);
    m = v_split(normal, &e);
    e = v_sub(e, v_if_less(x, small, v_set(23.0f), zero));
    f = v_sub(m, v_set(1.0f));
    f2 = v_mul(f, f);
    p = v_fma(v_set(7.0376836292e-2f), f, v_set(-1.1514610310e-1f));
    p = v_fma(p, f, v_set(1.1676998740e-1f));
    p = v_fma(p, f, v_set(-1.2420140846e-1f));
    p = v_fma(p, f, v_set(1.4249322787e-1f));
    p = v_fma(p, f, v_set(-1.6668057665e-1f));
    p = v_fma(p, f, v_set(2.0000714765e-1f));
    p = v_fma(p, f, v_set(-2.4999993993e-1f));
    p = v_fma(p, f, v_set(3.3333331174e-1f));
    r = v_fma(e, v_set(-2.12194440e-4f), v_mul(v_mul(f, f2), p));
    r = v_add(f, v_fma(v_set(-0.5f), f2, r));
    r = v_fma(e, v_set(0.693359375f), r);
    r = v_if_less(largest, x, x, r);                                    /* x is infinite */
    r = v_if_less(x, zero, v_div(zero, v_sub(x, x)), r);                /* x < 0: 0 / 0 is NaN */
    r = v_if_less(zero, v_abs(x), r, v_div(v_set(-1.0f), v_mul(x, x))); /* x = 0: -1 / 0 is -infinity; NaN stays NaN */
    return r;
}

/* exp(x) - 1 for x <= 0; near 0 from the polynomial, without the cancellation. */
NN_MATH V v_expm1(V x)
{
    V x2 = v_mul(x, x), near_zero = v_fma(v_exp_tail(x, x2), x2, x);
    return v_if_less(x, v_set(-0.34f), v_sub(v_exp(x), v_set(1.0f)), near_zero);
}

/* log(1 + exp(x)) = max(x, 0) + log(1 + e) with e = exp(-|x|). The factor e / (u - 1) corrects the rounding of u = 1 + e. */
NN_MATH V v_softplus(V x)
{
    V one = v_set(1.0f), zero = v_set(0.0f), e = v_exp(v_neg(v_abs(x))), u = v_add(one, e), u_minus_1 = v_sub(u, one);
    V log_u = v_if_less(zero, u_minus_1, v_div(v_mul(v_log(u), e), v_if_less(zero, u_minus_1, u_minus_1, one)), e);
    return v_add(v_if_less(x, zero, zero, x), log_u);
}

/* Phi(x), the cumulative distribution of the standard normal: (1 + erf(t)) / 2 with t = x / sqrt(2). For |t| > 0.93 from
 * 1 - erf(|t|) = exp(polynomial of |t|). */
NN_MATH V v_normal_cdf(V x)
{
    V half = v_set(0.5f), t = v_mul(x, v_set(0.707106781f)), s = v_mul(t, t), abs_t = v_abs(t), p, r, u, tail;
    p = v_fma(v_set(-5.96761703e-4f), s, v_set(4.99119423e-3f));
    p = v_fma(p, s, v_set(-2.67681349e-2f));
    p = v_fma(p, s, v_set(1.12819925e-1f));
    p = v_fma(p, s, v_set(-3.76125336e-1f));
    p = v_fma(p, s, v_set(1.28379166e-1f));
    p = v_fma(half, v_fma(p, t, t), half);
    r = v_fma(v_set(-1.72853470e-5f), abs_t, v_set(3.83197126e-4f));
    u = v_fma(v_set(-3.88396438e-3f), abs_t, v_set(2.42546219e-2f));
    r = v_fma(r, s, u);
    r = v_fma(r, abs_t, v_set(-1.06777877e-1f));
    r = v_fma(r, abs_t, v_set(-6.34846687e-1f));
    r = v_fma(r, abs_t, v_set(-1.28717512e-1f));
    tail = v_mul(half, v_exp(v_fma(r, abs_t, v_neg(abs_t))));
    tail = v_if_less(x, v_set(0.0f), tail, v_sub(v_set(1.0f), tail));
    return v_if_less(v_set(0.927734375f), abs_t, tail, p);
}

/* The density of the standard normal, Phi'(x) = exp(-x^2 / 2) / sqrt(2 pi). */
NN_MATH V v_normal_density(V x)
{
    return v_mul(v_set(0.398942280f), v_exp(v_mul(v_mul(v_set(-0.5f), x), x)));
}
