/* predict.c: the functions that an exported network needs. nnpy/_export_c.py copies those that are used, and replaces net_ and NET_ by
 * the name of the network. They are the functions of csrc/kernels/vector_math.h for one number, and give the same bits.
 *
 * A line that begins with "//@" stands before a function: its name, and the functions that it calls. */
//@ bits:
static uint32_t net_bits(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static float net_from_bits(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

//@ fma:
/* x y + z with one rounding: the fused multiply-add. Every variant but that of NET_FAST gives the same bits. */
#if defined(NET_FAST)
static float net_fma(float x, float y, float z)
{
    return x * y + z;
}
#elif defined(__GNUC__) && defined(__OPTIMIZE__) && !defined(NET_INTEGER_FMA) &&                                           \
    (defined(__FMA__) || defined(__ARM_FEATURE_FMA) || defined(__aarch64__) || defined(__powerpc64__) || defined(__s390x__) || \
     (defined(__riscv_flen) && __riscv_flen >= 32))
static float net_fma(float x, float y, float z)
{
    return __builtin_fmaf(x, y, z);
}
#elif !defined(NET_INTEGER_FMA) &&                                                                                         \
    (defined(__SSE2__) || defined(_M_X64) || defined(__aarch64__) || defined(_M_ARM64) || defined(__wasm__) ||             \
     defined(__powerpc64__) || defined(__s390x__) || (defined(__ARM_FP) && (__ARM_FP & 8)) ||                              \
     (defined(__riscv_flen) && __riscv_flen >= 64) || (defined(__mips_hard_float) && !defined(__mips_single_float)))
/* In double precision, where the processor is known to have it. The product is exact, and the sum is rounded to odd, so that rounding
 * it to float gives the float next to the exact sum (S. Boldo and G. Melquiond, IEEE Transactions on Computers 57(4), 2008). */
static float net_fma(float x, float y, float z)
{
    double product = (double)x * (double)y, sum = product + (double)z;
    double part = sum - product, error = (product - (sum - part)) + ((double)z - part); /* sum + error is exact */
    uint64_t bits;
    memcpy(&bits, &sum, sizeof bits);
    if ((error > 0 || error < 0) && (bits & 1u) == 0) { /* to the neighbour towards the exact sum, whose last bit is 1 */
        bits += (error > 0) == (sum > 0) ? (uint64_t)1 : (uint64_t)-1;
        memcpy(&sum, &bits, sizeof sum);
    }
    return (float)sum;
}
#else
/* With integers elsewhere; NET_INTEGER_FMA chooses it for tests. An int may have 16 bits. */

/* x / 2^n for n >= 0. Its last bit is 1 if a bit of x is lost (a sticky bit), so that a later rounding is right. */
static uint64_t net_shift_right(uint64_t x, int n)
{
    uint32_t high = (uint32_t)(x >> 32), low = (uint32_t)x, lost = 0;
    if (n >= 32) {
        lost = low;
        low = high;
        high = 0;
        n -= 32;
    }
    if (n >= 32) {
        lost |= low;
        low = 0;
    } else if (n > 0) {
        lost |= low << (32 - n);
        low = low >> n | high << (32 - n);
        high >>= n;
    }
    return (uint64_t)high << 32 | low | (lost != 0);
}

/* The product of two significands has 48 bits and is exact. It and the significand of z are shifted to the same exponent and added.
 * The sum, with its leading bit shifted to the same place again, is rounded to 24 bits, or fewer if it is subnormal. */
static float net_fma(float x, float y, float z)
{
    const uint32_t sign_bit = 0x80000000u, leading = 0x800000u; /* the leading bit of a significand is not stored */
    uint32_t x_bits, y_bits, z_bits, x_part, y_part, z_part, sign, high, low;
    uint64_t product, addend, sum;
    int x_exponent, y_exponent, z_exponent, exponent;
    memcpy(&x_bits, &x, sizeof x_bits);
    memcpy(&y_bits, &y, sizeof y_bits);
    memcpy(&z_bits, &z, sizeof z_bits);
    x_exponent = (int)(x_bits >> 23 & 255u);
    y_exponent = (int)(y_bits >> 23 & 255u);
    z_exponent = (int)(z_bits >> 23 & 255u);
    x_part = (x_bits & (leading - 1u)) | leading;
    y_part = (y_bits & (leading - 1u)) | leading;
    z_part = (z_bits & (leading - 1u)) | leading;
    sign = (x_bits ^ y_bits) & sign_bit;

    if (x_exponent == 0 || x_exponent == 255 || y_exponent == 0 || y_exponent == 255 || z_exponent == 0 || z_exponent == 255) {
        if (x_exponent == 255 || y_exponent == 255) { /* infinity or NaN */
            return x * y + z;
        }
        if (z_exponent == 255) { /* also where x y would overflow */
            return z;
        }
        if (x_bits << 1 == 0 || y_bits << 1 == 0) {
            if (z_bits << 1 == 0) { /* the sum of two zeros is -0 if both are */
                z_bits &= sign;
                memcpy(&z, &z_bits, sizeof z);
            }
            return z;
        }
        if (x_exponent == 0) { /* subnormal: without the leading bit, and with the exponent 1 */
            for (x_exponent = 1, x_part -= leading; x_part < leading; x_exponent--) {
                x_part <<= 1;
            }
        }
        if (y_exponent == 0) {
            for (y_exponent = 1, y_part -= leading; y_part < leading; y_exponent--) {
                y_part <<= 1;
            }
        }
        if (z_exponent == 0) { /* subnormal or 0 */
            z_exponent = 1;
            z_part -= leading;
        }
    }

    /* Product and addend are below 2^62, so that their sum and the sign of their difference fit into 64 bits. */
    exponent = x_exponent + y_exponent - 127;
    product = (uint64_t)(x_part << 7) * (y_part << 7);
    addend = (uint64_t)z_part << 37;
    if (exponent >= z_exponent) {
        addend = net_shift_right(addend, exponent - z_exponent);
    } else {
        product = net_shift_right(product, z_exponent - exponent);
        exponent = z_exponent;
    }
    if (sign == (z_bits & sign_bit)) {
        sum = product + addend;
    } else {
        sum = product - addend;
        if (sum == 0) {
            return 0.0f;
        }
        if (sum >> 63 != 0) { /* negative */
            sum = 0u - sum;
            sign ^= sign_bit;
        }
    }

    /* The leading bit goes to bit 30 of the upper half: 24 bits of the result, 7 bits that are rounded, and the lower half as a sticky
     * bit. */
    exponent += 2;
    if (sum >> 32 == 0) {
        sum <<= 31;
        exponent -= 31;
    }
    high = (uint32_t)(sum >> 32);
    low = (uint32_t)sum;
    for (; high >> 30 == 0; exponent--) {
        high = high << 1 | low >> 31;
        low <<= 1;
    }
    high |= low != 0;
    if (exponent <= 0) { /* subnormal */
        high = (uint32_t)net_shift_right(high, 1 - exponent);
        exponent = 1;
    }
    if (exponent >= 255) {
        z_bits = sign | 0x7f800000u;
    } else { /* to the nearest, of two to the even one; a carry, like the leading bit, adds 1 to the exponent */
        high = (high + 63u + (high >> 7 & 1u)) >> 7;
        z_bits = sign + ((uint32_t)(exponent - 1) << 23) + high;
    }
    memcpy(&z, &z_bits, sizeof z);
    return z;
}
#endif

//@ layer: fma
/* z = bias + w x, each element from left to right. w: (num_outputs, num_inputs), a row for each output. */
static void net_layer(const float *x, size_t num_inputs, const float *w, const float *bias, float *z, size_t num_outputs)
{
    size_t i, j, num_of_four = num_outputs - num_outputs % 4;
    for (j = 0; j < num_of_four; j += 4) { /* four sums at a time, for speed */
        const float *w0 = w + j * num_inputs, *w1 = w0 + num_inputs, *w2 = w1 + num_inputs, *w3 = w2 + num_inputs;
        float z0 = bias[j], z1 = bias[j + 1], z2 = bias[j + 2], z3 = bias[j + 3];
        for (i = 0; i < num_inputs; i++) {
            z0 = net_fma(x[i], w0[i], z0);
            z1 = net_fma(x[i], w1[i], z1);
            z2 = net_fma(x[i], w2[i], z2);
            z3 = net_fma(x[i], w3[i], z3);
        }
        z[j] = z0;
        z[j + 1] = z1;
        z[j + 2] = z2;
        z[j + 3] = z3;
    }
    for (j = num_of_four; j < num_outputs; j++) {
        float z0 = bias[j];
        for (i = 0; i < num_inputs; i++) {
            z0 = net_fma(x[i], w[j * num_inputs + i], z0);
        }
        z[j] = z0;
    }
}

//@ exp_tail: fma
/* (exp(r) - 1 - r) / r^2 for |r| <= ln(2) / 2, with r2 = r^2. */
static float net_exp_tail(float r, float r2)
{
    float low = net_fma(1.6666665459e-1f, r, 5.0000001201e-1f);
    float middle = net_fma(8.3334519073e-3f, r, 4.1665795894e-2f);
    float high = net_fma(1.9875691500e-4f, r, 1.3981999507e-3f);
    return net_fma(net_fma(high, r2, middle), r2, low);
}

//@ exp_reduced: fma exp_tail
/* x = n ln(2) + r. Returns exp(r), and in *t a float whose low bits are n. */
static float net_exp_reduced(float x, float *t)
{
    float n, r, r2;
    *t = net_fma(x, 1.44269504f, 12582912.0f);
    n = *t - 12582912.0f;
    r = net_fma(n, -0.693359375f, x);
    r = net_fma(n, 2.12194440e-4f, r);
    r2 = r * r;
    return net_fma(net_exp_tail(r, r2), r2, r + 1.0f);
}

//@ exp_bounded: bits exp_reduced
/* exp(x) for |x| <= 87. */
static float net_exp_bounded(float x)
{
    float t, p = net_exp_reduced(x, &t);
    return net_from_bits(net_bits(p) + (net_bits(t < 25165824.0f ? t : 12582912.0f) << 23));
}

//@ exp: bits exp_reduced
/* exp(x) for every float. The factor 2^n is applied in two halves, each of which is a normal number. */
static float net_exp(float x)
{
    float t, n, t1, t2, p;
    volatile float result; /* so that no compiler fuses the product with a sum */
    x = 89.0f < x ? 89.0f : x;
    x = -104.0f > x ? -104.0f : x;
    p = net_exp_reduced(x, &t);
    n = t - 12582912.0f;
    t1 = net_fma(n, 0.5f, 12582912.0f);
    t2 = (n - (t1 - 12582912.0f)) + 12582912.0f;
    result = p * net_from_bits(0x3f800000u + (net_bits(t1) << 23)) * net_from_bits(0x3f800000u + (net_bits(t2) << 23));
    return result;
}

//@ sigmoid: exp_bounded
/* 1 / (1 + exp(-x)), but 0 for x < -87. */
static float net_sigmoid(float x)
{
    float bounded = 87.0f < x ? 87.0f : x;
    bounded = -87.0f > bounded ? -87.0f : bounded;
    return x < -87.0f ? 0.0f : 1.0f / (1.0f + net_exp_bounded(-bounded));
}

//@ tanh: fma exp_bounded
/* x + x^3 P(x^2) for |x| <= 0.625, else sign(x) (1 - 2 / (exp(2 |x|) + 1)). */
static float net_tanh(float x)
{
    float y = x < 0.0f ? -x : x, z = x * x, p, beyond;
    if (!(0.625f < y)) {
        p = net_fma(-5.70498872745e-3f, z, 2.06390887954e-2f);
        p = net_fma(p, z, -5.37397155531e-2f);
        p = net_fma(p, z, 1.33314422036e-1f);
        p = net_fma(p, z, -3.33332819422e-1f);
        return net_fma(p * z, x, x);
    }
    y = y + y;
    beyond = 1.0f - 2.0f / (net_exp_bounded(40.0f < y ? 40.0f : y) + 1.0f);
    return x < 0.0f ? -beyond : beyond;
}

//@ relu:
static float net_relu(float x)
{
    return x < 0.0f ? 0.0f : x;
}

//@ leaky_relu:
static float net_leaky_relu(float x)
{
    return x < 0.0f ? 0.01f * x : x;
}

//@ elu: fma exp exp_tail
/* exp(x) - 1 for x < 0, else x. */
static float net_elu(float x)
{
    float x2 = x * x;
    if (!(x < 0.0f)) {
        return x;
    }
    return x < -0.34f ? net_exp(x) - 1.0f : net_fma(net_exp_tail(x, x2), x2, x);
}

//@ log: bits fma
/* log(x) for 1 <= x <= 2. With x = m 2^e and f = m - 1, log(x) = f - f^2 / 2 + f^3 P(f) + e ln(2). */
static float net_log(float x)
{
    uint32_t bits = net_bits(x) - 0x3f3504f3u; /* the bits of sqrt(1/2) */
    float e = (float)(int)((bits >> 23) ^ 0x100u) - 256.0f, m = net_from_bits((bits & 0x007fffffu) + 0x3f3504f3u);
    float f = m - 1.0f, f2 = f * f, p, r;
    p = net_fma(7.0376836292e-2f, f, -1.1514610310e-1f);
    p = net_fma(p, f, 1.1676998740e-1f);
    p = net_fma(p, f, -1.2420140846e-1f);
    p = net_fma(p, f, 1.4249322787e-1f);
    p = net_fma(p, f, -1.6668057665e-1f);
    p = net_fma(p, f, 2.0000714765e-1f);
    p = net_fma(p, f, -2.4999993993e-1f);
    p = net_fma(p, f, 3.3333331174e-1f);
    r = net_fma(e, -2.12194440e-4f, f * f2 * p);
    r = f + net_fma(-0.5f, f2, r);
    return net_fma(e, 0.693359375f, r);
}

//@ softplus: exp log
/* log(1 + exp(x)) = max(x, 0) + log(1 + e) with e = exp(-|x|). The factor e / (u - 1) corrects the rounding of u = 1 + e. */
static float net_softplus(float x)
{
    float e = net_exp(x < 0.0f ? x : -x), u = 1.0f + e, log_u = e;
    if (0.0f < u - 1.0f) {
        log_u = net_log(u) * e / (u - 1.0f);
    }
    return (x < 0.0f ? 0.0f : x) + log_u;
}

//@ silu: sigmoid
static float net_silu(float x)
{
    return x * net_sigmoid(x);
}

//@ normal_cdf: fma exp
/* The cumulative distribution of the standard normal: (1 + erf(t)) / 2 with t = x / sqrt(2). */
static float net_normal_cdf(float x)
{
    float t = x * 0.707106781f, s = t * t, y = t < 0.0f ? -t : t, p, r, u, tail;
    if (!(0.927734375f < y)) {
        p = net_fma(-5.96761703e-4f, s, 4.99119423e-3f);
        p = net_fma(p, s, -2.67681349e-2f);
        p = net_fma(p, s, 1.12819925e-1f);
        p = net_fma(p, s, -3.76125336e-1f);
        p = net_fma(p, s, 1.28379166e-1f);
        return net_fma(0.5f, net_fma(p, t, t), 0.5f);
    }
    r = net_fma(-1.72853470e-5f, y, 3.83197126e-4f);
    u = net_fma(-3.88396438e-3f, y, 2.42546219e-2f);
    r = net_fma(r, s, u);
    r = net_fma(r, y, -1.06777877e-1f);
    r = net_fma(r, y, -6.34846687e-1f);
    r = net_fma(r, y, -1.28717512e-1f);
    tail = 0.5f * net_exp(net_fma(r, y, -y));
    return x < 0.0f ? tail : 1.0f - tail;
}

//@ gelu: normal_cdf
static float net_gelu(float x)
{
    return x * net_normal_cdf(x);
}

//@ softmax: exp
static void net_softmax(float *z, size_t num)
{
    float max = z[0], sum = 0.0f;
    size_t j;
    for (j = 1; j < num; j++) {
        max = z[j] > max ? z[j] : max;
    }
    for (j = 0; j < num; j++) {
        z[j] = net_exp(z[j] - max);
    }
    for (j = 0; j < num; j++) {
        sum += z[j];
    }
    for (j = 0; j < num; j++) {
        z[j] /= sum;
    }
}

//@ sigmoid_slope:
/* The derivatives are functions of a = f(z), but those of softplus, silu and gelu are functions of z. */
static float net_sigmoid_slope(float a)
{
    return a * (1.0f - a);
}

//@ tanh_slope: fma
static float net_tanh_slope(float a)
{
    return net_fma(-a, a, 1.0f);
}

//@ relu_slope:
static float net_relu_slope(float a)
{
    return 0.0f < a ? 1.0f : 0.0f;
}

//@ leaky_relu_slope:
static float net_leaky_relu_slope(float a)
{
    return 0.0f < a ? 1.0f : 0.01f;
}

//@ elu_slope:
static float net_elu_slope(float a)
{
    return 0.0f < a ? 1.0f : a + 1.0f;
}

//@ softplus_slope: sigmoid
static float net_softplus_slope(float z)
{
    return net_sigmoid(z);
}

//@ silu_slope: fma sigmoid
static float net_silu_slope(float z)
{
    float s = net_sigmoid(z);
    return s * net_fma(z, 1.0f - s, 1.0f);
}

//@ gelu_slope: fma exp normal_cdf
static float net_gelu_slope(float z)
{
    float density = 0.398942280f * net_exp(-0.5f * z * z);
    return net_fma(z, density, net_normal_cdf(z));
}

//@ mse: fma
/* The losses write the derivatives times `rate`, for the squared error of half the loss, and return the loss. z: the outputs. A target
 * that is NaN is missing. */
static float net_mse(const float *z, const float *target, size_t num, float rate, float *delta)
{
    float sum = 0.0f;
    size_t j;
    for (j = 0; j < num; j++) {
        float difference = z[j] - target[j];
        int is_missing = target[j] != target[j];
        sum = is_missing ? sum : net_fma(difference, difference, sum);
        delta[j] = (is_missing ? 0.0f : difference) * rate;
    }
    return sum;
}

//@ cross_entropy: exp fma log
/* z: the logits, which become the outputs of softmax. */
static float net_cross_entropy(float *z, const float *target, size_t num, float rate, float *delta)
{
    float max = z[0], sum_y = 0.0f, sum_y_distance = 0.0f, sum = 0.0f;
    size_t j;
    for (j = 1; j < num; j++) {
        max = z[j] > max ? z[j] : max;
    }
    for (j = 0; j < num; j++) {
        float y = target[j] != target[j] ? 0.0f : target[j];
        sum_y += y;
        sum_y_distance = net_fma(y, max - z[j], sum_y_distance);
    }
    for (j = 0; j < num; j++) {
        z[j] = net_exp(z[j] - max);
    }
    for (j = 0; j < num; j++) {
        sum += z[j];
    }
    for (j = 0; j < num; j++) {
        z[j] /= sum;
        delta[j] = net_fma(sum_y, z[j], -(target[j] != target[j] ? 0.0f : target[j])) * rate;
    }
    return net_fma(sum_y, net_log(sum), sum_y_distance);
}

//@ binary_cross_entropy: fma sigmoid softplus
/* z: the logits. */
static float net_binary_cross_entropy(const float *z, const float *target, size_t num, float rate, float *delta)
{
    float sum = 0.0f;
    size_t j;
    for (j = 0; j < num; j++) {
        int is_missing = target[j] != target[j];
        sum += is_missing ? 0.0f : net_fma(-target[j], z[j], net_softplus(z[j]));
        delta[j] = is_missing ? 0.0f : (net_sigmoid(z[j]) - target[j]) * rate;
    }
    return sum;
}

//@ backward: fma
/* The derivatives with respect to the inputs of a layer, (num_inputs,), times the slopes of the layer before. */
static void net_backward(const float *delta, size_t num_outputs, const float *w, const float *slope, float *out, size_t num_inputs)
{
    size_t k, j;
    for (k = 0; k < num_inputs; k++) {
        float sum = 0.0f;
        for (j = 0; j < num_outputs; j++) {
            sum = net_fma(delta[j], w[j * num_inputs + k], sum);
        }
        out[k] = sum * slope[k];
    }
}

//@ update: fma
/* The step of stochastic gradient descent. delta has been multiplied by the negative learning rate. */
static void net_update(const float *x, size_t num_inputs, const float *delta, float *w, float *bias, size_t num_outputs)
{
    size_t k, j;
    for (j = 0; j < num_outputs; j++) {
        for (k = 0; k < num_inputs; k++) {
            w[j * num_inputs + k] += net_fma(x[k], delta[j], 0.0f);
        }
        bias[j] += 0.0f + delta[j];
    }
}
