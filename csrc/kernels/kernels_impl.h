/* kernels_impl.h: the kernels that kernels.h describes, written once with the vector operations of isa.h. Each instruction-set file
 * includes this file and so compiles its own copy and its own table. kernels.c chooses between the tables. */

#include "activations.h"
#include "kernels.h"

#include <math.h>
#include <string.h>

#ifndef DEPTH_BLOCK /* rows of a panel that stay in the cache while all rows of x pass: 512 x 64 floats, 128 KiB */
#define DEPTH_BLOCK 512
#endif
#define TILE_COLUMNS (TILE_VECTORS * VL)
#define WIDE_VECTORS 8 /* of a tile with a single row, so that there are enough sums to go on while one is computed */
#define MAX_VECTORS (TILE_VECTORS > WIDE_VECTORS ? TILE_VECTORS : WIDE_VECTORS)

#ifndef NN_WITHOUT_EVALUATE_MATH /* the extension for Python is smaller without it */
static void evaluate_math(int function, const float *in, float *out, size_t n)
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
#endif

/* Whether x is NaN or infinite, by its exponent: for a few numbers that is quicker than a sum of products. */
NN_INLINE int is_not_finite(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return (bits & 0x7f800000u) == 0x7f800000u;
}

/* Vectors are tested by their sum of 0 x: 0 x is 0 if x is finite, and NaN otherwise. */
static int all_finite(const float *x, size_t n)
{
    int found = 0;
    size_t i = 0;
    if (n >= VL) {
        V zero = v_set(0.0f), sum0 = zero, sum1 = zero;
        float lanes[VL];
        for (; i + 2 * VL <= n; i += 2 * VL) {
            sum0 = v_fma(zero, v_load(x + i), sum0);
            sum1 = v_fma(zero, v_load(x + i + VL), sum1);
        }
        if (i + VL <= n) {
            sum0 = v_fma(zero, v_load(x + i), sum0);
            i += VL;
        }
        v_store(lanes, v_add(sum0, sum1));
        for (int l = 0; l < VL; l++) {
            found |= is_not_finite(lanes[l]);
        }
    }
    for (; i < n; i++) {
        found |= is_not_finite(x[i]);
    }
    return !found;
}

/* ---- Scaling ---- */

#define SCALE_WIDTH 16 /* the most numbers that are scaled together */

/* A division takes several times as long as a product with the reciprocal. The product is not the quotient, but both are within
 * 4e-16 of each other, relatively. So if all numbers within twice that of the product round to the same float, the quotient does as
 * well, which is nearly always so.
 *
 * Scales n numbers by their reciprocals, `width` at a time; sets elements of uncertain, (width,), where a quotient may round to
 * another float. */
NN_INLINE void scale_by_reciprocals(size_t width, const float *x, const double *mean, const double *reciprocal, float *out,
                                    int *uncertain)
{
    float low[SCALE_WIDTH], high[SCALE_WIDTH];
    for (size_t i = 0; i < width; i++) {
        double product = ((double)x[i] - mean[i]) * reciprocal[i];
        low[i] = (float)(product * (1 - 1e-15));
        high[i] = (float)(product * (1 + 1e-15));
    }
    for (size_t i = 0; i < width; i++) {
        uncertain[i] |= !(low[i] == high[i]); /* NaN is uncertain */
    }
    memcpy(out, low, width * sizeof(float));
}

/* Does so for a row of n >= width numbers; the last group overlaps the one before. Returns whether a quotient is uncertain. */
NN_INLINE int scale_row_in_groups(size_t width, const float *x, const double *mean, const double *reciprocal, float *out, size_t n)
{
    int uncertain[SCALE_WIDTH] = {0}, any = 0;
    size_t i = 0;
    for (; i + width <= n; i += width) {
        scale_by_reciprocals(width, x + i, mean + i, reciprocal + i, out + i, uncertain);
    }
    if (i < n) {
        i = n - width;
        scale_by_reciprocals(width, x + i, mean + i, reciprocal + i, out + i, uncertain);
    }
    for (i = 0; i < width; i++) {
        any |= uncertain[i];
    }
    return any;
}

static void scale_row(const float *x, const double *mean, const double *scale, const double *reciprocal, float *out, size_t n)
{
    int uncertain = 1;
    if (n >= 16) {
        uncertain = scale_row_in_groups(16, x, mean, reciprocal, out, n);
    } else if (n >= 8) {
        uncertain = scale_row_in_groups(8, x, mean, reciprocal, out, n);
    } else if (n >= 4) {
        uncertain = scale_row_in_groups(4, x, mean, reciprocal, out, n);
    }
    for (size_t i = 0; uncertain && i < n; i++) {
        out[i] = (float)(((double)x[i] - mean[i]) / scale[i]);
    }
}

/* ---- Activation functions over rows ---- */

/* Calls function(NN_..., arguments) for the given activation function, which becomes a compile-time constant in each call. Linear
 * and softmax call nothing: over rows they leave the numbers as they are. */
#define FOR_ACTIVATION(function, activation, ...)                        \
    do {                                                                 \
        switch (activation) {                                            \
        case NN_SIGMOID: function(NN_SIGMOID, __VA_ARGS__); break;       \
        case NN_TANH: function(NN_TANH, __VA_ARGS__); break;             \
        case NN_RELU: function(NN_RELU, __VA_ARGS__); break;             \
        case NN_LEAKY_RELU: function(NN_LEAKY_RELU, __VA_ARGS__); break; \
        case NN_ELU: function(NN_ELU, __VA_ARGS__); break;               \
        case NN_SOFTPLUS: function(NN_SOFTPLUS, __VA_ARGS__); break;     \
        case NN_SILU: function(NN_SILU, __VA_ARGS__); break;             \
        case NN_GELU: function(NN_GELU, __VA_ARGS__); break;             \
        default: break;                                                  \
        }                                                                \
    } while (0)

/* a = f(z) in place.
 *
 * z                  (num_rows, width), rows `stride` apart
 * derivative_input   the same shape and stride; written with what f' is computed from; or NULL */
NN_INLINE void activate_rows(int activation, float *z, float *derivative_input, size_t stride, size_t num_rows, size_t width)
{
    for (size_t i = 0; i < num_rows; i++) {
        for (size_t j = 0; j < width; j += VL) {
            size_t at = i * stride + j;
            V zj = v_load(z + at), a = activate(activation, zj);
            if (derivative_input != NULL) {
                v_store(derivative_input + at, NN_DERIVATIVE_USES_Z(activation) ? zj : a);
            }
            v_store(z + at, a);
        }
    }
}

/* a = f(z) in place, for n numbers, padded to a multiple of VL; a function that is not inlined. */
static void activate_numbers(int activation, float *z, size_t n)
{
    FOR_ACTIVATION(activate_rows, activation, z, NULL, 0, 1, n);
}

#define PACKED_SIZE 256

/* Copies rows of `size` numbers, a compile-time constant in each copy. */
NN_INLINE void copy_rows(size_t size, const float *from, size_t from_stride, float *to, size_t to_stride, size_t num_rows)
{
    for (size_t i = 0; i < num_rows; i++) {
        memcpy(to + i * to_stride, from + i * from_stride, size * sizeof(float));
    }
}

/* activate_rows for rows of up to `width` = 4 or 8 numbers, less than a vector: several rows at a time are copied together. */
NN_INLINE void activate_narrow_rows(size_t width, int activation, float *z, float *derivative_input, size_t stride, size_t num_rows)
{
    float packed[PACKED_SIZE]; /* (rows, width) */
    for (size_t first = 0, rows; first < num_rows; first += rows) {
        float *zi = z + first * stride;
        rows = nn_min(num_rows - first, PACKED_SIZE / width);
        copy_rows(width, zi, stride, packed, width, rows);
        memset(packed + rows * width, 0, (nn_round_up(rows * width, VL) - rows * width) * sizeof(float));
        if (derivative_input != NULL && NN_DERIVATIVE_USES_Z(activation)) {
            copy_rows(width, packed, width, derivative_input + first * stride, stride, rows);
        }
        activate_numbers(activation, packed, rows * width);
        copy_rows(width, packed, width, zi, stride, rows);
        if (derivative_input != NULL && !NN_DERIVATIVE_USES_Z(activation)) {
            copy_rows(width, packed, width, derivative_input + first * stride, stride, rows);
        }
    }
}

/* delta = delta f'.
 *
 * derivative_input   (num_rows, width), rows `stride` apart: what f' is computed from
 * delta              the same shape and stride; updated */
NN_INLINE void multiply_by_derivative(int activation, const float *derivative_input, float *delta, size_t stride, size_t num_rows,
                                      size_t width)
{
    for (size_t i = 0; i < num_rows; i++) {
        for (size_t j = 0; j < width; j += VL) {
            size_t at = i * stride + j;
            v_store(delta + at, v_mul(v_load(delta + at), derivative(activation, v_load(derivative_input + at))));
        }
    }
}

/* ---- Tiles: the innermost matrix products, with num_rows x num_vectors sums in registers ---- */

/* A tile of a forward or backward pass: out = bias + a b.
 *
 * a      row pointers of (num_rows, first + depth); its columns first, ..., first + depth - 1 are used
 * b      (depth, num_vectors * VL), rows b_stride apart
 * bias   (num_vectors * VL,); or NULL: the sums go on from what out has
 * out    (num_rows, num_vectors * VL), rows out_stride apart
 *
 * num_rows and num_vectors are compile-time constants in each copy. */
NN_INLINE void product_tile(int num_rows, int num_vectors, const float *const *a, size_t first, size_t depth, const float *b,
                            size_t b_stride, const float *bias, float *out, size_t out_stride)
{
    V sum[NN_TILE_ROWS][MAX_VECTORS], b_row[MAX_VECTORS];
    const float *a_row[NN_TILE_ROWS];
    NN_UNROLL
    for (int r = 0; r < num_rows; r++) {
        a_row[r] = a[r] + first;
        NN_UNROLL
        for (int v = 0; v < num_vectors; v++) {
            sum[r][v] = v_load((bias == NULL ? out + (size_t)r * out_stride : bias) + v * VL);
        }
    }
    for (size_t t = 0; t < depth; t++) {
        NN_UNROLL
        for (int v = 0; v < num_vectors; v++) {
            b_row[v] = v_load(b + t * b_stride + v * VL);
        }
        NN_UNROLL
        for (int r = 0; r < num_rows; r++) {
            V x = v_set(a_row[r][t]);
            NN_UNROLL
            for (int v = 0; v < num_vectors; v++) {
                sum[r][v] = v_fma(x, b_row[v], sum[r][v]);
            }
        }
    }
    NN_UNROLL
    for (int r = 0; r < num_rows; r++) {
        NN_UNROLL
        for (int v = 0; v < num_vectors; v++) {
            v_store(out + (size_t)r * out_stride + v * VL, sum[r][v]);
        }
    }
}

#define FEW_SAMPLES 4 /* in a batch whose weight gradient is computed by gradient_of_few */

/* A tile of a weight gradient: out = base + (sum + x^T delta).
 *
 * x           row pointers of (num_samples, first + num_rows); its columns first, ..., first + num_rows - 1 are used
 * delta       (num_samples, num_vectors * VL), rows delta_stride apart
 * base, sum   (num_rows, num_vectors * VL), rows `stride` apart; or NULL for 0
 * out         the same shape and stride
 *
 * num_rows and num_vectors are compile-time constants in each copy. */
NN_INLINE void gradient_tile(int num_rows, int num_vectors, const float *const *x, size_t first, size_t num_samples,
                             const float *delta, size_t delta_stride, const float *base, const float *sum, float *out,
                             size_t stride)
{
    V total[NN_TILE_ROWS][TILE_VECTORS], delta_row[TILE_VECTORS];
    NN_UNROLL
    for (int r = 0; r < num_rows; r++) {
        NN_UNROLL
        for (int v = 0; v < num_vectors; v++) {
            total[r][v] = sum == NULL ? v_set(0.0f) : v_load(sum + (size_t)r * stride + v * VL);
        }
    }
    for (size_t i = 0; i < num_samples; i++) {
        const float *xi = x[i] + first;
        NN_UNROLL
        for (int v = 0; v < num_vectors; v++) {
            delta_row[v] = v_load(delta + i * delta_stride + v * VL);
        }
        NN_UNROLL
        for (int r = 0; r < num_rows; r++) {
            V xr = v_set(xi[r]);
            NN_UNROLL
            for (int v = 0; v < num_vectors; v++) {
                total[r][v] = v_fma(xr, delta_row[v], total[r][v]);
            }
        }
    }
    NN_UNROLL
    for (int r = 0; r < num_rows; r++) {
        NN_UNROLL
        for (int v = 0; v < num_vectors; v++) {
            size_t at = (size_t)r * stride + (size_t)v * VL;
            v_store(out + at, base == NULL ? total[r][v] : v_add(v_load(base + at), total[r][v]));
        }
    }
}

/* Rows first_row to last_row - 1 of a weight gradient of few samples, with the arguments of gradient_tile. The deltas stay in
 * registers while the rows pass. num_samples, 1 to FEW_SAMPLES, and num_vectors are compile-time constants in each copy. */
NN_INLINE void gradient_of_few(int num_samples, int num_vectors, const float *const *x, size_t first_row, size_t last_row,
                               const float *delta, size_t delta_stride, const float *base, const float *sum, float *out,
                               size_t stride)
{
    V deltas[FEW_SAMPLES][TILE_VECTORS], total[TILE_VECTORS];
    NN_UNROLL
    for (int i = 0; i < num_samples; i++) {
        NN_UNROLL
        for (int v = 0; v < num_vectors; v++) {
            deltas[i][v] = v_load(delta + (size_t)i * delta_stride + v * VL);
        }
    }
    for (size_t k = first_row; k < last_row; k++) {
        NN_UNROLL
        for (int v = 0; v < num_vectors; v++) {
            total[v] = sum == NULL ? v_set(0.0f) : v_load(sum + k * stride + v * VL);
        }
        NN_UNROLL
        for (int i = 0; i < num_samples; i++) {
            V xk = v_set(x[i][k]);
            NN_UNROLL
            for (int v = 0; v < num_vectors; v++) {
                total[v] = v_fma(xk, deltas[i][v], total[v]);
            }
        }
        NN_UNROLL
        for (int v = 0; v < num_vectors; v++) {
            size_t at = k * stride + (size_t)v * VL;
            v_store(out + at, base == NULL ? total[v] : v_add(v_load(base + at), total[v]));
        }
    }
}

/* Calls function(1, ...), ..., or function(6, ...): the number becomes a compile-time constant in each call. */
#define FOR_NUMBER(function, number, ...)        \
    do {                                         \
        switch (number) {                        \
        case 1: function(1, __VA_ARGS__); break; \
        case 2: function(2, __VA_ARGS__); break; \
        case 3: function(3, __VA_ARGS__); break; \
        case 4: function(4, __VA_ARGS__); break; \
        case 5: function(5, __VA_ARGS__); break; \
        default: function(6, __VA_ARGS__);       \
        }                                        \
    } while (0)

/* Calls function(num_vectors, ...) for the columns of a tile of a panel: TILE_COLUMNS, or less if the panel is narrower (a multiple
 * of 16) or has fewer columns in use. num_vectors becomes a compile-time constant in each call. */
#if TILE_COLUMNS == 64
#define FOR_WIDTH(function, width, num_columns, ...)    \
    do {                                                \
        switch (width) {                                \
        case 16: function(16 / VL, __VA_ARGS__); break; \
        case 32: function(32 / VL, __VA_ARGS__); break; \
        case 48: function(48 / VL, __VA_ARGS__); break; \
        default: function(64 / VL, __VA_ARGS__);        \
        }                                               \
        (void)num_columns;                              \
    } while (0)
#elif TILE_COLUMNS == 16
#define FOR_WIDTH(function, width, num_columns, ...) \
    do {                                             \
        if (num_columns <= 8) {                      \
            function(8 / VL, __VA_ARGS__);           \
        } else {                                     \
            function(16 / VL, __VA_ARGS__);          \
        }                                            \
    } while (0)
#else
#error "a tile must have 16 or 64 columns"
#endif

/* ---- Matrix products ---- */

static const float zeros[NN_PANEL];

/* product_tile for any number of rows. */
NN_INLINE void product_columns(int num_vectors, const float *const *a, size_t num_rows, size_t first, size_t depth, const float *b,
                               size_t b_stride, const float *bias, float *out, size_t out_stride)
{
    for (size_t i = 0; i < num_rows; i += NN_TILE_ROWS) {
        FOR_NUMBER(product_tile, nn_min(num_rows - i, NN_TILE_ROWS), num_vectors, a + i, first, depth, b, b_stride, bias,
                   out + i * out_stride, out_stride);
    }
}

/* out = bias + a b, for one panel b. The rows of b are taken in blocks of DEPTH_BLOCK, which stay in the cache while all rows of a
 * pass; between two blocks the sums are kept in out.
 *
 * a      (num_rows, depth), row pointers
 * b      (depth, width), of which num_columns columns are in use
 * bias   (width,)
 * out    (num_rows, width), rows out_stride apart */
static void multiply_panel(const float *const *a, size_t num_rows, size_t depth, const float *b, size_t width,
                           size_t num_columns, const float *bias, float *out, size_t out_stride)
{
    size_t t = 0;
    do {
        size_t block = nn_min(depth - t, DEPTH_BLOCK), j = 0;
        for (; num_rows == 1 && j + WIDE_VECTORS * VL <= width; j += WIDE_VECTORS * VL) {
            product_tile(1, WIDE_VECTORS, a, t, block, b + t * width + j, width, t == 0 ? bias + j : NULL, out + j, out_stride);
        }
        for (; j < width; j += TILE_COLUMNS) {
            FOR_WIDTH(product_columns, width, num_columns, a, num_rows, t, block, b + t * width + j, width,
                      t == 0 ? bias + j : NULL, out + j, out_stride);
        }
        t += block;
    } while (t < depth);
}

/* Whether an activation function takes so long to compute that activate_narrow_rows pays off. */
NN_INLINE int is_costly(int activation)
{
    return activation != NN_LINEAR && activation != NN_RELU && activation != NN_LEAKY_RELU;
}

static void forward(int activation, const float *const *x, size_t num_rows, size_t depth, const float *w, size_t width,
                    size_t num_columns, const float *bias, float *a, float *derivative_input, size_t a_stride)
{
    multiply_panel(x, num_rows, depth, w, width, num_columns, bias, a, a_stride);
    if (VL > 4 && num_columns <= 4 && num_rows > 1 && is_costly(activation)) {
        activate_narrow_rows(4, activation, a, derivative_input, a_stride, num_rows);
    } else if (VL > 8 && num_columns <= 8 && num_rows > 1 && is_costly(activation)) {
        activate_narrow_rows(8, activation, a, derivative_input, a_stride, num_rows);
    } else {
        FOR_ACTIVATION(activate_rows, activation, a, derivative_input, a_stride, num_rows, num_columns);
    }
}

static void backward(int activation, const float *const *next_delta, size_t num_rows, size_t depth, const float *wt, size_t width,
                     size_t num_columns, const float *derivative_input, float *delta, size_t stride)
{
    multiply_panel(next_delta, num_rows, depth, wt, width, num_columns, zeros, delta, stride);
    FOR_ACTIVATION(multiply_by_derivative, activation, derivative_input, delta, stride, num_rows, num_columns);
}

/* ---- Products with transposed weights, without tiles ---- */

#ifndef TRANSPOSED_BLOCK
#define TRANSPOSED_BLOCK 4

/* Transposes a block of TRANSPOSED_BLOCK rows and columns: to[j][k] = from[k][j]. */
NN_INLINE void transpose_block(const float *from, size_t from_stride, float *to, size_t to_stride)
{
    for (size_t j = 0; j < TRANSPOSED_BLOCK; j++) {
        for (size_t k = 0; k < TRANSPOSED_BLOCK; k++) {
            to[j * to_stride + k] = from[k * from_stride + j];
        }
    }
}

/* Adds the products of such a block and a vector: sums[k] = sums[k] + from[k][0] x[0] + from[k][1] x[1] + ... */
NN_INLINE void multiply_block(const float *from, size_t from_stride, const float *x, float *sums)
{
    for (size_t k = 0; k < TRANSPOSED_BLOCK; k++) {
        for (size_t j = 0; j < TRANSPOSED_BLOCK; j++) {
            sums[k] = nn_fmaf(x[j], from[k * from_stride + j], sums[k]);
        }
    }
}
#endif

static void transpose(const float *from, size_t from_stride, size_t num_rows, size_t num_columns, float *to, size_t to_stride)
{
    const size_t size = TRANSPOSED_BLOCK;
    size_t block_rows = num_rows / size * size, block_columns = num_columns / size * size; /* covered by blocks */
    for (size_t k = 0; k < block_rows; k += size) {
        for (size_t j = 0; j < block_columns; j += size) {
            transpose_block(from + k * from_stride + j, from_stride, to + j * to_stride + k, to_stride);
        }
    }
    for (size_t k = 0; k < num_rows; k++) {
        for (size_t j = k < block_rows ? block_columns : 0; j < num_columns; j++) {
            to[j * to_stride + k] = from[k * from_stride + j];
        }
    }
}

/* Adds the products of some rows of a panel and a vector: sums[k] = sums[k] + w[k][0] x[0] + w[k][1] x[1] + ...
 *
 * w      (num_rows, width), of which num_columns columns are used
 * x      (num_columns,)
 * sums   (num_rows,); updated */
static void multiply_rows(const float *w, size_t width, size_t num_rows, size_t num_columns, const float *x, float *sums)
{
    size_t block_rows = num_rows / TRANSPOSED_BLOCK * TRANSPOSED_BLOCK; /* covered by blocks */
    size_t block_columns = num_columns / TRANSPOSED_BLOCK * TRANSPOSED_BLOCK;
    for (size_t j = 0; j < block_columns; j += TRANSPOSED_BLOCK) {
        for (size_t k = 0; k < block_rows; k += TRANSPOSED_BLOCK) {
            multiply_block(w + k * width + j, width, x + j, sums + k);
        }
    }
    for (size_t k = 0; k < num_rows; k++) {
        for (size_t j = k < block_rows ? block_columns : 0; j < num_columns; j++) {
            sums[k] = nn_fmaf(x[j], w[k * width + j], sums[k]);
        }
    }
}

/* accumulate_weight_gradient for a single sample: the outer product of x and delta is added to base. It takes as long as reading base
 * and writing out. */
static void add_outer_product(const float *x, size_t first_row, size_t last_row, const float *delta, const float *base, float *out,
                              size_t width)
{
    for (size_t k = first_row; k < last_row; k++) {
        V xk = v_set(x[k]), zero = v_set(0.0f);
        for (size_t j = 0; j < width; j += VL) {
            v_store(out + k * width + j, v_add(v_load(base + k * width + j), v_fma(xk, v_load(delta + j), zero)));
        }
    }
}

#define ROWS_TOGETHER 32 /* rows of a panel that stay in the first-level cache, and enough sums to go on while one is computed */
static void backward_of_one(int activation, const float *next_delta, size_t depth, float *w, size_t num_columns,
                            const float *derivative_input, float *delta, const float *x)
{
    size_t padded_depth = nn_padded(depth);
    memset(delta, 0, nn_padded(num_columns) * sizeof(float));
    for (size_t k = 0; k < num_columns; k += ROWS_TOGETHER) {
        for (size_t j = 0; j < depth; j += NN_PANEL) {
            size_t width = nn_panel_width(padded_depth, j), num_rows = nn_min(num_columns - k, ROWS_TOGETHER);
            float *rows = w + j * num_columns + k * width;
            multiply_rows(rows, width, num_rows, nn_min(depth - j, width), next_delta + j, delta + k);
            if (x != NULL) {
                add_outer_product(x + k, 0, num_rows, next_delta + j, rows, rows, width);
            }
        }
    }
    FOR_ACTIVATION(multiply_by_derivative, activation, derivative_input, delta, 0, 1, nn_padded(num_columns));
}

/* ---- The weight gradient ---- */

/* Rows first_row to last_row - 1 of some columns of a weight gradient, with the arguments of gradient_tile. */
NN_INLINE void gradient_columns(int num_vectors, const float *const *x, size_t num_samples, size_t first_row, size_t last_row,
                                const float *delta, size_t delta_stride, const float *base, const float *sum, float *out,
                                size_t stride)
{
    switch (num_samples) {
    case 1: gradient_of_few(1, num_vectors, x, first_row, last_row, delta, delta_stride, base, sum, out, stride); return;
    case 2: gradient_of_few(2, num_vectors, x, first_row, last_row, delta, delta_stride, base, sum, out, stride); return;
    case 3: gradient_of_few(3, num_vectors, x, first_row, last_row, delta, delta_stride, base, sum, out, stride); return;
    case 4: gradient_of_few(4, num_vectors, x, first_row, last_row, delta, delta_stride, base, sum, out, stride); return;
    default: break;
    }
    for (size_t k = first_row; k < last_row; k += NN_TILE_ROWS) {
        size_t at = k * stride;
        FOR_NUMBER(gradient_tile, nn_min(last_row - k, NN_TILE_ROWS), num_vectors, x, k, num_samples, delta, delta_stride,
                   base == NULL ? NULL : base + at, sum == NULL ? NULL : sum + at, out + at, stride);
    }
}

static void accumulate_weight_gradient(const float *const *x, size_t num_samples, size_t first_row, size_t last_row,
                                       const float *delta, size_t delta_stride, const float *base, const float *sum, float *out,
                                       size_t width, size_t num_columns)
{
    if (num_samples == 1 && base != NULL && sum == NULL) {
        add_outer_product(x[0], first_row, last_row, delta, base, out, width);
        return;
    }
    for (size_t j = 0; j < width; j += TILE_COLUMNS) {
        FOR_WIDTH(gradient_columns, width, num_columns, x, num_samples, first_row, last_row, delta + j, delta_stride,
                  base == NULL ? NULL : base + j, sum == NULL ? NULL : sum + j, out + j, width);
    }
}

static void accumulate_bias_gradient(const float *delta, size_t num_samples, size_t delta_stride, const float *base,
                                     const float *sum, float *out, size_t width)
{
    for (size_t j = 0; j < width; j += NN_PAD) {
        V total[NN_PAD / VL];
        NN_UNROLL
        for (int v = 0; v < NN_PAD / VL; v++) {
            total[v] = sum == NULL ? v_set(0.0f) : v_load(sum + j + v * VL);
        }
        for (size_t i = 0; i < num_samples; i++) {
            NN_UNROLL
            for (int v = 0; v < NN_PAD / VL; v++) {
                total[v] = v_add(total[v], v_load(delta + i * delta_stride + j + v * VL));
            }
        }
        NN_UNROLL
        for (int v = 0; v < NN_PAD / VL; v++) {
            v_store(out + j + v * VL, base == NULL ? total[v] : v_add(v_load(base + j + v * VL), total[v]));
        }
    }
}

/* ---- The parameter update ---- */

/* The sign of each element of x: 1, -1 or 0. */
NN_INLINE V v_sign(V x)
{
    V zero = v_set(0.0f);
    return v_if_less(zero, x, v_set(1.0f), v_if_less(x, zero, v_set(-1.0f), zero));
}

/* Returns the update u of NNUpdateConstants for the gradient g, and advances the state m and v of the optimiser. `kind` is a
 * compile-time constant in each copy. */
NN_INLINE V parameter_update(int kind, const NNUpdateConstants *c, V g, V *m, V *v)
{
    V learning_rate = v_set(c->learning_rate), beta1 = v_set(c->beta1), beta2 = v_set(c->beta2), zero = v_set(0.0f);
    V sign_product, factor;
    switch (kind) {
    case NN_ADAM:
        *m = v_fma(v_set(c->one_minus_beta1), v_sub(g, *m), *m);                                /* first moment */
        *v = v_fma(beta2, *v, v_mul(v_mul(v_set(c->one_minus_beta2), g), g));                   /* second moment */
        return v_div(v_mul(learning_rate, *m), v_fma(v_sqrt(*v), v_set(c->bias_correction2), v_set(c->epsilon)));
    case NN_RMSPROP:
        *v = v_fma(beta2, *v, v_mul(v_mul(v_set(c->one_minus_beta2), g), g));                   /* second moment */
        *m = v_fma(beta1, *m, v_div(g, v_add(v_sqrt(*v), v_set(c->epsilon))));                  /* momentum buffer */
        return v_mul(learning_rate, *m);
    case NN_RPROP:
        sign_product = v_mul(v_sign(g), v_sign(*m)); /* *m is the previous gradient, *v the step size */
        factor = v_if_less(zero, sign_product, v_set(c->eta_plus),
                           v_if_less(sign_product, zero, v_set(c->eta_minus), v_set(1.0f)));
        *v = v_max(v_set(c->min_step), v_min(v_set(c->max_step), v_mul(*v, factor)));
        *m = v_if_less(sign_product, zero, zero, g);
        return v_mul(*v, v_sign(*m));
    default: /* NN_SGD */
        *m = v_fma(beta1, *m, g); /* momentum buffer */
        return v_mul(learning_rate, c->nesterov ? v_fma(beta1, *m, g) : *m);
    }
}

NN_INLINE void optimizer_step_of_kind(int kind, const NNUpdateConstants *c, const float *g, float *m, float *v, float *w, size_t n)
{
    for (size_t i = 0; i < n; i += VL) {
        V wi = v_load(w + i), mi = v_load(m + i), vi = v_load(v + i);
        V gi = v_fma(v_set(c->l2), wi, v_mul(v_set(c->gradient_scale), v_load(g + i)));
        V update = parameter_update(kind, c, gi, &mi, &vi);
        v_store(m + i, mi);
        v_store(v + i, vi);
        v_store(w + i, v_sub(v_mul(v_set(c->weight_decay_factor), wi), update));
    }
}

static void optimizer_step(const NNUpdateConstants *c, const float *g, float *m, float *v, float *w, size_t n)
{
    switch (c->kind) {
    case NN_ADAM: optimizer_step_of_kind(NN_ADAM, c, g, m, v, w, n); break;
    case NN_RMSPROP: optimizer_step_of_kind(NN_RMSPROP, c, g, m, v, w, n); break;
    case NN_RPROP: optimizer_step_of_kind(NN_RPROP, c, g, m, v, w, n); break;
    default: optimizer_step_of_kind(NN_SGD, c, g, m, v, w, n); break;
    }
}

/* ---- Sums of squares ---- */

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

/* ---- The output layer of one sample ---- */

NN_INLINE float maximum(const float *z, size_t num_columns)
{
    float max = z[0];
    for (size_t j = 1; j < num_columns; j++) {
        max = z[j] > max ? z[j] : max;
    }
    return max;
}

/* Softmax in place: z = exp(z - max) / sum, where max is the largest of z, so that exp does not overflow. Returns the sum of the
 * exponentials, added in order. */
static float softmax_row(float *z, float max, size_t num_columns)
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

static void activate_row(int activation, float *z, size_t num_columns)
{
    if (activation == NN_SOFTMAX) {
        softmax_row(z, maximum(z, num_columns), num_columns);
    } else {
        activate_numbers(activation, z, num_columns);
    }
}

/* Activations and derivatives in one pass over a row: z becomes a = f(z), and f'(z) is written to slopes. Both are (num_columns,),
 * padded to a multiple of 16. */
NN_INLINE void activate_and_derive(int activation, float *z, float *slopes, size_t num_columns)
{
    for (size_t j = 0; j < num_columns; j += VL) {
        V zj = v_load(z + j), a = activate(activation, zj);
        v_store(slopes + j, derivative(activation, NN_DERIVATIVE_USES_Z(activation) ? zj : a));
        v_store(z + j, a);
    }
}

/* Returns sum + the loss of one output with difference = a - y. Writes dC_i/da, for NN_MSE half of it, to *dC_da. */
NN_INLINE float add_loss_term(NNLoss loss, float difference, float sum, float *dC_da)
{
    float distance = fabsf(difference), p = loss.parameter, sign = (float)(difference > 0.0f) - (float)(difference < 0.0f);
    switch (loss.kind) {
    case NN_MAE:
        *dC_da = sign;
        return sum + distance;
    case NN_HUBER:
        *dC_da = distance <= p ? difference : p * sign;
        return sum + (distance <= p ? 0.5f * difference * difference : p * (distance - 0.5f * p));
    case NN_PINBALL:
        *dC_da = difference < 0.0f ? -p : (1.0f - p) * sign;
        return sum + (difference < 0.0f ? -p * difference : (1.0f - p) * difference);
    default:
        *dC_da = difference;
        return nn_fmaf(difference, difference, sum);
    }
}

/* Returns the loss of a row where it is a sum of functions of a - y. If delta is not NULL, writes dC_i/da times delta_scale to it, times
 * f'(z), which delta has before, if has_slopes. */
NN_INLINE float add_loss_terms(NNLoss loss, int has_slopes, const float *a, const float *targets, float delta_scale, float *delta,
                               size_t num_columns)
{
    float sum = 0.0f;
    for (size_t j = 0; j < num_columns; j++) {
        float dC_da = 0.0f;
        if (!isnan(targets[j])) {
            sum = add_loss_term(loss, a[j] - targets[j], sum, &dC_da);
        }
        if (delta != NULL) {
            delta[j] = has_slopes ? dC_da * delta_scale * delta[j] : dC_da * delta_scale;
        }
    }
    return sum;
}

/* output_layer_loss for the losses that are a sum of functions of a - y. For softmax
 * dC/dz_j = a_j (dC/da_j - sum over k of dC/da_k a_k), else dC/dz_j = dC/da_j f'(z_j). */
static float regression_output(int activation, NNLoss loss, float *z, const float *targets, float delta_scale, float *delta,
                               size_t num_columns)
{
    float sum, sum_delta_a = 0.0f;
    int has_slopes = delta != NULL && activation != NN_LINEAR && activation != NN_SOFTMAX;
    if (has_slopes) {
        FOR_ACTIVATION(activate_and_derive, activation, z, delta, num_columns);
    } else {
        activate_row(activation, z, num_columns);
    }
    if (loss.kind == NN_MSE && !has_slopes) { /* the most common case has a copy without the branches of the others */
        sum = add_loss_terms(loss, 0, z, targets, delta_scale, delta, num_columns);
    } else {
        sum = add_loss_terms(loss, has_slopes, z, targets, delta_scale, delta, num_columns);
    }
    if (delta != NULL && activation == NN_SOFTMAX) {
        for (size_t j = 0; j < num_columns; j++) {
            sum_delta_a = nn_fmaf(delta[j], z[j], sum_delta_a);
        }
        for (size_t j = 0; j < num_columns; j++) {
            delta[j] = z[j] * (delta[j] - sum_delta_a);
        }
    }
    for (size_t j = num_columns; has_slopes && j % VL != 0; j++) {
        delta[j] = 0.0f; /* activate_and_derive wrote to the padding, which must be 0: it takes part in products */
    }
    return sum;
}

/* output_layer_loss for NN_BINARY_CROSS_ENTROPY: C = sum over j of softplus(z_j) - y_j z_j, and dC/dz = sigmoid(z) - y. */
static float binary_cross_entropy_output(int activation, float *z, const float *targets, float delta_scale, float *delta,
                                         size_t num_columns)
{
    float sum = 0.0f;
    for (size_t j = 0; j < num_columns; j += VL) {
        V zj = v_load(z + j), p = v_sigmoid(zj);
        float softplus[VL], sigmoid[VL];
        v_store(softplus, v_softplus(zj));
        v_store(sigmoid, p);
        for (size_t l = 0; l < VL && j + l < num_columns; l++) {
            float y = targets[j + l];
            int is_present = !isnan(y);
            sum += is_present ? nn_fmaf(-y, z[j + l], softplus[l]) : 0.0f;
            if (delta != NULL) {
                delta[j + l] = is_present ? (sigmoid[l] - y) * delta_scale : 0.0f;
            }
        }
        if (activation == NN_SIGMOID) {
            v_store(z + j, p);
        }
    }
    return sum;
}

/* output_layer_loss for NN_CROSS_ENTROPY: C = sum over j of -y_j log(a_j) with log(a_j) = z_j - max - log(sum of exp(z - max)), and
 * dC/dz_j = sum(y) a_j - y_j. */
static float cross_entropy_output(float *z, const float *targets, size_t label, float delta_scale, float *delta, size_t num_columns)
{
    float max = maximum(z, num_columns), sum_y = 1.0f, sum_y_distance, sum_exp, log_sum_exp[VL];
    if (targets == NULL) {
        sum_y_distance = max - z[label];
    } else {
        sum_y = sum_y_distance = 0.0f;
        for (size_t j = 0; j < num_columns; j++) {
            float y = isnan(targets[j]) ? 0.0f : targets[j];
            sum_y += y;
            sum_y_distance = nn_fmaf(y, max - z[j], sum_y_distance);
        }
    }
    sum_exp = softmax_row(z, max, num_columns);
    v_store(log_sum_exp, v_log(v_set(sum_exp)));
    for (size_t j = 0; delta != NULL && j < num_columns; j++) {
        float y = targets == NULL ? (j == label ? 1.0f : 0.0f) : isnan(targets[j]) ? 0.0f : targets[j];
        delta[j] = nn_fmaf(sum_y, z[j], -y) * delta_scale;
    }
    return nn_fmaf(sum_y, log_sum_exp[0], sum_y_distance);
}

static float output_layer_loss(int activation, NNLoss loss, float *z, const float *targets, size_t label, float delta_scale,
                               float *delta, size_t num_columns)
{
    switch (loss.kind) {
    case NN_CROSS_ENTROPY: return cross_entropy_output(z, targets, label, delta_scale, delta, num_columns);
    case NN_BINARY_CROSS_ENTROPY: return binary_cross_entropy_output(activation, z, targets, delta_scale, delta, num_columns);
    default: return regression_output(activation, loss, z, targets, delta_scale, delta, num_columns);
    }
}

/* ---- The forward pass without packing, for few samples ---- */

/* z_j = b_j + sum over k of x_k w_kj, for num_vectors vectors of columns from j on.
 *
 * x       (inputs,)
 * w       (inputs, outputs)
 * bias    (outputs,)
 * z       (outputs,), written */
NN_INLINE void unpacked_columns(int num_vectors, const float *x, Matrix w, const float *bias, size_t j, float *z)
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

static float *forward_unpacked(NeuralNetwork nn, const float *x, float *scratch, size_t scratch_stride)
{
    float *z = NULL;
    for (size_t l = 0; l < nn.num_layers; l++) {
        Matrix w = nn.weights[l];
        const float *bias = nn.biases[l].data;
        size_t j = 0;
        z = scratch + (l % 2) * scratch_stride;
        for (; j + 4 * VL <= w.cols; j += 4 * VL) {
            unpacked_columns(4, x, w, bias, j, z);
        }
        for (; j + VL <= w.cols; j += VL) {
            unpacked_columns(1, x, w, bias, j, z);
        }
        for (; j < w.cols; j++) {
            float sum = bias[j];
            for (size_t k = 0; k < w.rows; k++) {
                sum = nn_fmaf(x[k], w.data[k * w.stride + j], sum);
            }
            z[j] = sum;
        }
        if (l + 1 < nn.num_layers) {
            activate_row(nn.activation_functions[l], z, w.cols);
        }
        x = z;
    }
    return z;
}

#include "tiny_impl.h"

const NNKernels KERNELS = {
    .name = ISA_NAME,
    .is_slow = IS_SLOW,
    .vector_length = VL,
#ifndef NN_WITHOUT_EVALUATE_MATH
    .evaluate_math = evaluate_math,
#endif
    .all_finite = all_finite,
    .scale = scale_row,
    .forward = forward,
    .backward = backward,
    .backward_of_one = backward_of_one,
    .accumulate_weight_gradient = accumulate_weight_gradient,
    .accumulate_bias_gradient = accumulate_bias_gradient,
    .optimizer_step = optimizer_step,
    .sum_squares = sum_squares,
    .transpose = transpose,
    .activate_row = activate_row,
    .output_layer_loss = output_layer_loss,
    .forward_unpacked = forward_unpacked,
    .train_tiny = train_tiny,
};
