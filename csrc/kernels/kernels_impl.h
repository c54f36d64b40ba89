/* kernels_impl.h: the kernels of kernels.h for the vectors of one instruction-set file, which includes it. */

#include "activations.h"
#include "kernels.h"

#include <math.h>

#ifndef DEPTH_BLOCK /* rows of a panel that stay in the cache while the samples go by: 512 x 64 floats, 128 KiB */
#define DEPTH_BLOCK 512
#endif
#define TILE_COLUMNS (TILE_VECTORS * VL)

/* ---- Functions of a layer, over rows ---- */

/* c = f(c), with what f' is taken from in saved, or d = d f'(act), for num_rows x width numbers. `function` is a constant in each
 * copy. */
NN_INLINE void activate_rows(int function, float *c, float *saved, size_t stride, size_t num_rows, size_t width)
{
    for (size_t i = 0; i < num_rows; i++) {
        for (size_t j = 0; j < width; j += VL) {
            size_t at = i * stride + j;
            V z = v_load(c + at), a = activate(function, z);
            if (saved != NULL) {
                v_store(saved + at, NN_DERIVED_FROM_Z(function) ? z : a);
            }
            v_store(c + at, a);
        }
    }
}

NN_INLINE void derive_rows(int function, const float *act, float *d, size_t stride, size_t num_rows, size_t width)
{
    for (size_t i = 0; i < num_rows; i++) {
        for (size_t j = 0; j < width; j += VL) {
            size_t at = i * stride + j;
            v_store(d + at, v_mul(v_load(d + at), derivative(function, v_load(act + at))));
        }
    }
}

#define EACH_FUNCTION(call, function, ...)                             \
    do {                                                               \
        switch (function) {                                            \
        case NN_SIGMOID: call(NN_SIGMOID, __VA_ARGS__); break;         \
        case NN_TANH: call(NN_TANH, __VA_ARGS__); break;               \
        case NN_RELU: call(NN_RELU, __VA_ARGS__); break;               \
        case NN_LEAKY_RELU: call(NN_LEAKY_RELU, __VA_ARGS__); break;   \
        case NN_ELU: call(NN_ELU, __VA_ARGS__); break;                 \
        case NN_SOFTPLUS: call(NN_SOFTPLUS, __VA_ARGS__); break;       \
        case NN_SILU: call(NN_SILU, __VA_ARGS__); break;               \
        case NN_GELU: call(NN_GELU, __VA_ARGS__); break;               \
        default: break;                                                \
        }                                                              \
    } while (0)

static void math(int function, const float *in, float *out, size_t n)
{
    for (size_t i = 0; i < n; i += VL) {
        V x = v_load(in + i);
        switch (function) {
        case NN_MATH_EXP: v_store(out + i, v_exp(x)); break;
        case NN_MATH_TANH: v_store(out + i, v_tanh(x)); break;
        case NN_MATH_LOG: v_store(out + i, v_log(x)); break;
        case NN_MATH_EXPM1: v_store(out + i, v_expm1(x)); break;
        case NN_MATH_SOFTPLUS: v_store(out + i, v_softplus(x)); break;
        case NN_MATH_NORMAL_CDF: v_store(out + i, v_normal_cdf(x)); break;
        default: v_store(out + i, v_sigmoid(x)); break;
        }
    }
}

/* 0 x is 0 for every number and NaN for everything else. */
static int are_finite(const float *x, size_t n)
{
    V zero = v_set(0.0f), sum0 = zero, sum1 = zero;
    float lanes[VL], sum = 0.0f;
    size_t i = 0;
    for (; i + 2 * VL <= n; i += 2 * VL) {
        sum0 = v_fma(zero, v_load(x + i), sum0);
        sum1 = v_fma(zero, v_load(x + i + VL), sum1);
    }
    for (; i < n; i++) {
        sum += 0.0f * x[i];
    }
    v_store(lanes, v_add(sum0, sum1));
    for (int l = 0; l < VL; l++) {
        sum += lanes[l];
    }
    return sum == 0.0f;
}

/* ---- The tile: c = base + (init + a b), num_rows x num_vectors of sums in registers ---- */

/* A row of the tile in each of these matrices begins stride after the one before. base may be NULL for 0. */
typedef struct {
    const float *base, *init;
    float *c;
    size_t base_stride, init_stride, c_stride;
} Ends;

/* Element (r, t) of a is a[r][t + first] or, where a is transposed, a[t][r + first]. num_rows, num_vectors and transposed are
 * constants in each copy. */
NN_INLINE void tile(int num_rows, int num_vectors, int transposed, const float *const *a, size_t first, size_t depth,
                    const float *b, size_t b_stride, Ends ends)
{
    V sum[NN_TILE_ROWS][TILE_VECTORS], column[TILE_VECTORS];
    const float *row[NN_TILE_ROWS];
    NN_UNROLL
    for (int r = 0; r < num_rows; r++) {
        if (!transposed) {
            row[r] = a[r] + first;
        }
        NN_UNROLL
        for (int v = 0; v < num_vectors; v++) {
            sum[r][v] = v_load(ends.init + (size_t)r * ends.init_stride + v * VL);
        }
    }
    for (size_t t = 0; t < depth; t++) {
        const float *at = transposed ? a[t] + first : NULL;
        NN_UNROLL
        for (int v = 0; v < num_vectors; v++) {
            column[v] = v_load(b + t * b_stride + v * VL);
        }
        NN_UNROLL
        for (int r = 0; r < num_rows; r++) {
            V x = v_set(transposed ? at[r] : row[r][t]);
            NN_UNROLL
            for (int v = 0; v < num_vectors; v++) {
                sum[r][v] = v_fma(x, column[v], sum[r][v]);
            }
        }
    }
    NN_UNROLL
    for (int r = 0; r < num_rows; r++) {
        NN_UNROLL
        for (int v = 0; v < num_vectors; v++) {
            V s = sum[r][v];
            if (transposed && ends.base != NULL) {
                s = v_add(v_load(ends.base + (size_t)r * ends.base_stride + v * VL), s);
            }
            v_store(ends.c + (size_t)r * ends.c_stride + v * VL, s);
        }
    }
}

/* A tile of any number of rows; num_vectors and transposed are constants. */
#define TILE_OF_ROWS(name, num_vectors, transposed)                                                                       \
    static void name(size_t num_rows, const float *const *a, size_t first, size_t depth, const float *b, size_t b_stride, \
                     Ends ends)                                                                                           \
    {                                                                                                                     \
        switch (num_rows) {                                                                                               \
        case 1: tile(1, num_vectors, transposed, a, first, depth, b, b_stride, ends); break;                              \
        case 2: tile(2, num_vectors, transposed, a, first, depth, b, b_stride, ends); break;                              \
        case 3: tile(3, num_vectors, transposed, a, first, depth, b, b_stride, ends); break;                              \
        case 4: tile(4, num_vectors, transposed, a, first, depth, b, b_stride, ends); break;                              \
        case 5: tile(5, num_vectors, transposed, a, first, depth, b, b_stride, ends); break;                              \
        default: tile(6, num_vectors, transposed, a, first, depth, b, b_stride, ends); break;                             \
        }                                                                                                                 \
    }

/* A panel is as wide as a tile may be, or narrower by multiples of 16 columns. */
#if TILE_COLUMNS == 64
TILE_OF_ROWS(tile_16, 16 / VL, 0)
TILE_OF_ROWS(tile_32, 32 / VL, 0)
TILE_OF_ROWS(tile_48, 48 / VL, 0)
TILE_OF_ROWS(tile_64, 64 / VL, 0)
TILE_OF_ROWS(tile_transposed_16, 16 / VL, 1)
TILE_OF_ROWS(tile_transposed_32, 32 / VL, 1)
TILE_OF_ROWS(tile_transposed_48, 48 / VL, 1)
TILE_OF_ROWS(tile_transposed_64, 64 / VL, 1)

NN_INLINE void any_tile(int transposed, size_t num_rows, size_t width, const float *const *a, size_t first, size_t depth,
                        const float *b, size_t b_stride, Ends ends)
{
    switch (width) {
    case 16: (transposed ? tile_transposed_16 : tile_16)(num_rows, a, first, depth, b, b_stride, ends); break;
    case 32: (transposed ? tile_transposed_32 : tile_32)(num_rows, a, first, depth, b, b_stride, ends); break;
    case 48: (transposed ? tile_transposed_48 : tile_48)(num_rows, a, first, depth, b, b_stride, ends); break;
    default: (transposed ? tile_transposed_64 : tile_64)(num_rows, a, first, depth, b, b_stride, ends); break;
    }
}
#elif TILE_COLUMNS == 16
TILE_OF_ROWS(tile_16, TILE_VECTORS, 0)
TILE_OF_ROWS(tile_transposed_16, TILE_VECTORS, 1)

NN_INLINE void any_tile(int transposed, size_t num_rows, size_t width, const float *const *a, size_t first, size_t depth,
                        const float *b, size_t b_stride, Ends ends)
{
    (void)width;
    (transposed ? tile_transposed_16 : tile_16)(num_rows, a, first, depth, b, b_stride, ends);
}
#else
#error "a tile has 16 or 64 columns"
#endif

/* ---- Products ---- */

static const float zeros[NN_PANEL];

/* c = init + a b, with init the row `bias`; then what is left for the caller is to apply a function. The rows of b are taken in
 * blocks that stay in the cache; what they have summed up goes through c. */
NN_INLINE void product(const float *const *a, size_t num_rows, size_t depth, const float *b, size_t width, const float *bias,
                       float *c, size_t c_stride)
{
    size_t step = width < TILE_COLUMNS ? width : TILE_COLUMNS;
    size_t t = 0;
    do {
        size_t block = depth - t < DEPTH_BLOCK ? depth - t : DEPTH_BLOCK;
        for (size_t j = 0; j < width; j += step) {
            for (size_t i = 0; i < num_rows; i += NN_TILE_ROWS) {
                size_t rows = num_rows - i < NN_TILE_ROWS ? num_rows - i : NN_TILE_ROWS;
                float *out = c + i * c_stride + j;
                Ends ends = {NULL, t == 0 ? bias + j : out, out, 0, t == 0 ? 0 : c_stride, c_stride};
                any_tile(0, rows, step, a + i, t, block, b + t * width + j, width, ends);
            }
        }
        t += block;
    } while (t < depth);
}

static void forward(int function, const float *const *a, size_t num_rows, size_t depth, const float *w, size_t width,
                    const float *bias, float *c, float *saved, size_t c_stride)
{
    product(a, num_rows, depth, w, width, bias, c, c_stride);
    EACH_FUNCTION(activate_rows, function, c, saved, c_stride, num_rows, width);
}

static void delta(int function, const float *const *e, size_t num_rows, size_t depth, const float *wt, size_t width,
                  const float *act, float *d, size_t stride)
{
    product(e, num_rows, depth, wt, width, zeros, d, stride);
    EACH_FUNCTION(derive_rows, function, act, d, stride, num_rows, width);
}

static void update(const float *const *x, size_t num_samples, size_t first, size_t last, const float *d, size_t d_stride,
                   const float *w, const float *sum, float *out, size_t width)
{
    size_t step = width < TILE_COLUMNS ? width : TILE_COLUMNS;
    for (size_t j = 0; j < width; j += step) {
        for (size_t k = first; k < last; k += NN_TILE_ROWS) {
            size_t rows = last - k < NN_TILE_ROWS ? last - k : NN_TILE_ROWS;
            size_t at = k * width + j;
            Ends ends = {w == NULL ? NULL : w + at, sum == NULL ? zeros : sum + at, out + at, width, sum == NULL ? 0 : width, width};
            any_tile(1, rows, step, x, k, num_samples, d + j, d_stride, ends);
        }
    }
}

static void update_bias(const float *d, size_t num_samples, size_t d_stride, const float *b, const float *sum, float *out,
                        size_t num_columns)
{
    for (size_t j = 0; j < num_columns; j += VL) {
        V total = sum == NULL ? v_set(0.0f) : v_load(sum + j);
        for (size_t i = 0; i < num_samples; i++) {
            total = v_add(total, v_load(d + i * d_stride + j));
        }
        v_store(out + j, b == NULL ? total : v_add(v_load(b + j), total));
    }
}

/* ---- A step of an optimiser ---- */

NN_INLINE V v_sign(V x)
{
    V zero = v_set(0.0f);
    return v_if_less(zero, x, v_set(1.0f), v_if_less(x, zero, v_set(-1.0f), zero));
}

/* What is to be taken off w, from its gradient and what is remembered of it. `kind` is a constant in each copy. */
NN_INLINE V change(int kind, const NNStep *s, V g, V *m, V *v)
{
    V rate = v_set(s->rate), beta1 = v_set(s->beta1), beta2 = v_set(s->beta2), same, factor;
    switch (kind) {
    case NN_ADAM:
        *m = v_fma(v_set(s->one_minus_beta1), v_sub(g, *m), *m);
        *v = v_fma(beta2, *v, v_mul(v_mul(v_set(s->one_minus_beta2), g), g));
        return v_div(v_mul(rate, *m), v_fma(v_sqrt(*v), v_set(s->root), v_set(s->epsilon)));
    case NN_RMSPROP:
        *v = v_fma(beta2, *v, v_mul(v_mul(v_set(s->one_minus_beta2), g), g));
        *m = v_fma(beta1, *m, v_div(g, v_add(v_sqrt(*v), v_set(s->epsilon))));
        return v_mul(rate, *m);
    case NN_RPROP:
        same = v_mul(v_sign(g), v_sign(*m));
        factor = v_if_less(v_set(0.0f), same, v_set(s->eta_plus), v_if_less(same, v_set(0.0f), v_set(s->eta_minus), v_set(1.0f)));
        *v = v_max(v_set(s->min_step), v_min(v_set(s->max_step), v_mul(*v, factor)));
        *m = v_if_less(same, v_set(0.0f), v_set(0.0f), g);
        return v_mul(*v, v_sign(*m));
    default:
        *m = v_fma(beta1, *m, g);
        return v_mul(rate, s->nesterov ? v_fma(beta1, *m, g) : *m);
    }
}

NN_INLINE void step_of(int kind, const NNStep *s, const float *g, float *m, float *v, float *w, size_t n)
{
    for (size_t i = 0; i < n; i += VL) {
        V wi = v_load(w + i), mi = v_load(m + i), vi = v_load(v + i);
        V gi = v_fma(v_set(s->l2), wi, v_mul(v_set(s->scale), v_load(g + i))), less = change(kind, s, gi, &mi, &vi);
        v_store(m + i, mi);
        v_store(v + i, vi);
        v_store(w + i, v_sub(v_mul(v_set(s->keep), wi), less));
    }
}

static void step_all(const NNStep *s, const float *g, float *m, float *v, float *w, size_t n)
{
    switch (s->kind) {
    case NN_ADAM: step_of(NN_ADAM, s, g, m, v, w, n); break;
    case NN_RMSPROP: step_of(NN_RMSPROP, s, g, m, v, w, n); break;
    case NN_RPROP: step_of(NN_RPROP, s, g, m, v, w, n); break;
    default: step_of(NN_SGD, s, g, m, v, w, n); break;
    }
}

static double sum_squares(const float *x, size_t n)
{
    V sum[16 / VL];
    float lanes[16];
    double total = 0;
    for (int v = 0; v < 16 / VL; v++) {
        sum[v] = v_set(0.0f);
    }
    for (size_t i = 0; i < n; i += 16) {
        for (int v = 0; v < 16 / VL; v++) {
            V xi = v_load(x + i + (size_t)v * VL);
            sum[v] = v_fma(xi, xi, sum[v]);
        }
    }
    for (int v = 0; v < 16 / VL; v++) {
        v_store(lanes + v * VL, sum[v]);
    }
    for (int l = 0; l < 16; l++) {
        total += (double)lanes[l];
    }
    return total;
}

static void transpose(const float *from, size_t from_stride, size_t num_rows, size_t num_columns, float *to, size_t to_stride)
{
    size_t whole_rows = num_rows / 4 * 4, whole_columns = num_columns / 4 * 4;
    for (size_t k = 0; k < whole_rows; k += 4) {
        for (size_t j = 0; j < whole_columns; j += 4) {
            transpose4(from + k * from_stride + j, from_stride, to + j * to_stride + k, to_stride);
        }
    }
    for (size_t k = 0; k < num_rows; k++) {
        for (size_t j = k < whole_rows ? whole_columns : 0; j < num_columns; j++) {
            to[j * to_stride + k] = from[k * from_stride + j];
        }
    }
}

/* ---- The output layer, one sample ---- */

NN_INLINE float largest(const float *z, size_t num_columns)
{
    float max = z[0];
    for (size_t j = 1; j < num_columns; j++) {
        max = z[j] > max ? z[j] : max;
    }
    return max;
}

/* z = exp(z - max) / sum; returns the sum, which is added up in order. */
static float normalize(float *z, float max, size_t num_columns)
{
    float sum = 0.0f;
    for (size_t j = 0; j < num_columns; j += VL) {
        v_store(z + j, v_exp(v_sub(v_load(z + j), v_set(max))));
    }
    for (size_t j = 0; j < num_columns; j++) {
        sum += z[j];
    }
    for (size_t j = 0; j < num_columns; j += VL) {
        v_store(z + j, v_div(v_load(z + j), v_set(sum)));
    }
    return sum;
}

static void activate_row(int function, float *z, size_t num_columns)
{
    if (function == NN_SOFTMAX) {
        normalize(z, largest(z, num_columns), num_columns);
    } else {
        EACH_FUNCTION(activate_rows, function, z, NULL, 0, 1, num_columns);
    }
}

/* z becomes a = f(z), and d is f'(z). */
NN_INLINE void activate_and_derive(int function, float *z, float *d, size_t num_columns)
{
    for (size_t j = 0; j < num_columns; j += VL) {
        V zj = v_load(z + j), a = activate(function, zj);
        v_store(d + j, derivative(function, NN_DERIVED_FROM_Z(function) ? zj : a));
        v_store(z + j, a);
    }
}

/* The term of one output, added to the cost, and its derivative by a; that of the squared error is halved. */
NN_INLINE float add_term(NNLoss loss, float diff, float cost, float *g)
{
    float size = fabsf(diff), p = loss.parameter, sign = (float)(diff > 0.0f) - (float)(diff < 0.0f);
    switch (loss.kind) {
    case NN_MAE:
        *g = sign;
        return cost + size;
    case NN_HUBER:
        *g = size <= p ? diff : p * sign;
        return cost + (size <= p ? 0.5f * diff * diff : p * (size - 0.5f * p));
    case NN_PINBALL:
        *g = diff < 0.0f ? -p : (1.0f - p) * sign;
        return cost + (diff < 0.0f ? -p * diff : (1.0f - p) * diff);
    default:
        *g = diff;
        return fmaf(diff, diff, cost);
    }
}

/* The losses that are a sum over the outputs of something of a - y. */
static float output_by_difference(int function, NNLoss loss, float *z, const float *y, float scale, float *d, size_t num_columns)
{
    float cost = 0.0f, mixed = 0.0f;
    int is_derived = d != NULL && function != NN_LINEAR && function != NN_SOFTMAX;
    if (is_derived) {
        EACH_FUNCTION(activate_and_derive, function, z, d, num_columns);
    } else {
        activate_row(function, z, num_columns);
    }
    for (size_t j = 0; j < num_columns; j++) {
        float g = 0.0f;
        if (!isnan(y[j])) {
            cost = add_term(loss, z[j] - y[j], cost, &g);
        }
        if (d != NULL) {
            d[j] = is_derived ? g * scale * d[j] : g * scale;
        }
    }
    if (d != NULL && function == NN_SOFTMAX) {
        for (size_t j = 0; j < num_columns; j++) {
            mixed = fmaf(d[j], z[j], mixed);
        }
        for (size_t j = 0; j < num_columns; j++) {
            d[j] = z[j] * (d[j] - mixed);
        }
    }
    for (size_t j = num_columns; is_derived && j % VL != 0; j++) {
        d[j] = 0.0f; /* what stands there gets into products */
    }
    return cost;
}

/* C = sum over j of softplus(z_j) - y_j z_j, and dC/dz = sigmoid(z) - y. */
static float output_binary_cross_entropy(int function, float *z, const float *y, float scale, float *d, size_t num_columns)
{
    float cost = 0.0f;
    for (size_t j = 0; j < num_columns; j += VL) {
        V zj = v_load(z + j), p = v_sigmoid(zj);
        float softplus[VL], sigmoid[VL];
        v_store(softplus, v_softplus(zj));
        v_store(sigmoid, p);
        for (size_t l = 0; l < VL && j + l < num_columns; l++) {
            float target = y[j + l];
            int is_there = !isnan(target);
            cost += is_there ? fmaf(-target, z[j + l], softplus[l]) : 0.0f;
            if (d != NULL) {
                d[j + l] = is_there ? (sigmoid[l] - target) * scale : 0.0f;
            }
        }
        if (function == NN_SIGMOID) {
            v_store(z + j, p);
        }
    }
    return cost;
}

/* C = sum over j of -y_j log(p_j), and log(p_j) = z_j - max - log(sum). */
static float output_cross_entropy(float *z, const float *y, size_t label, float scale, float *d, size_t num_columns)
{
    float max = largest(z, num_columns), total = 1.0f, distance, sum, log_sum[VL];
    if (y == NULL) {
        distance = max - z[label];
    } else {
        total = distance = 0.0f;
        for (size_t j = 0; j < num_columns; j++) {
            float target = isnan(y[j]) ? 0.0f : y[j];
            total += target;
            distance = fmaf(target, max - z[j], distance);
        }
    }
    sum = normalize(z, max, num_columns);
    v_store(log_sum, v_log(v_set(sum)));
    for (size_t j = 0; d != NULL && j < num_columns; j++) {
        float target = y == NULL ? (j == label ? 1.0f : 0.0f) : isnan(y[j]) ? 0.0f : y[j];
        d[j] = fmaf(total, z[j], -target) * scale;
    }
    return fmaf(total, log_sum[0], distance);
}

static float output(int function, NNLoss loss, float *z, const float *y, size_t label, float scale, float *d, size_t num_columns)
{
    switch (loss.kind) {
    case NN_CROSS_ENTROPY: return output_cross_entropy(z, y, label, scale, d, num_columns);
    case NN_BINARY_CROSS_ENTROPY: return output_binary_cross_entropy(function, z, y, scale, d, num_columns);
    default: return output_by_difference(function, loss, z, y, scale, d, num_columns);
    }
}

/* ---- Few samples ---- */

/* z_j = b_j + x w for num_vectors vectors of columns from j on. */
NN_INLINE void direct_columns(int num_vectors, const float *x, Matrix w, const float *bias, size_t j, float *z)
{
    V sum[4];
    NN_UNROLL
    for (int v = 0; v < num_vectors; v++) {
        sum[v] = v_load(bias + j + v * VL);
    }
    for (size_t k = 0; k < w.rows; k++) {
        const float *row = w.data + k * w.stride + j;
        V xk = v_set(x[k]);
        NN_UNROLL
        for (int v = 0; v < num_vectors; v++) {
            sum[v] = v_fma(xk, v_load(row + v * VL), sum[v]);
        }
    }
    NN_UNROLL
    for (int v = 0; v < num_vectors; v++) {
        v_store(z + j + v * VL, sum[v]);
    }
}

static float *forward_direct(NeuralNetwork nn, const float *x, float *scratch, size_t scratch_stride)
{
    float *z = NULL;
    for (size_t l = 0; l < nn.num_layers; l++) {
        Matrix w = nn.weights[l];
        const float *bias = nn.biases[l].data;
        z = scratch + (l % 2) * scratch_stride;
        size_t j = 0;
        for (; j + 4 * VL <= w.cols; j += 4 * VL) {
            direct_columns(4, x, w, bias, j, z);
        }
        for (; j + VL <= w.cols; j += VL) {
            direct_columns(1, x, w, bias, j, z);
        }
        for (; j < w.cols; j++) {
            float sum = bias[j];
            for (size_t k = 0; k < w.rows; k++) {
                sum = fmaf(x[k], w.data[k * w.stride + j], sum);
            }
            z[j] = sum;
        }
        if (l + 1 < nn.num_layers) {
            EACH_FUNCTION(activate_rows, nn.activation_functions[l], z, NULL, 0, 1, w.cols);
        }
        x = z;
    }
    return z;
}

#include "tiny_impl.h"

const NNKernels KERNELS = {
    VECTORS, IS_SLOW, math, are_finite, forward, delta, update, update_bias, step_all, sum_squares, transpose, activate_row, output,
    forward_direct, descend_tiny,
};
