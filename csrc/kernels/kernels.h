/* kernels.h: the table of kernels (inner loops) through which the engine calls them, one table per instruction set, and the
 * memory layout that they share. Internal to the engine; users include ../engine.h. The code is in kernels_impl.h, once for all
 * instruction sets.
 *
 * Memory layout:
 *
 *     Activations and deltas: samples are rows. Columns are padded to a multiple of NN_PAD = 16. The padding of activations holds
 *     finite numbers that have no effect; that of deltas is 0. Kernels read rows through an array of row pointers, so that the rows
 *     of a shuffled batch are not copied.
 *
 *     Weights: packed in panels of NN_PANEL = 64 columns; the last panel may be narrower (16, 32 or 48) and its padding is 0. A
 *     panel is a row-major (rows, width) matrix and begins where the previous one ends.
 *
 * Order of sums. Each element is one chain of fused multiply-adds from left to right, whatever the tiles, panels and vectors:
 *
 *     forward                       z_ij = b_j + x_i0 w_0j + x_i1 w_1j + ...               a_ij = f(z_ij)
 *     backward                      d_ik = (0 + d'_i0 w_k0 + d'_i1 w_k1 + ...) f'(z_ik)    d' is the delta of the next layer
 *     accumulate_weight_gradient    g_kj = x_0k d_0j + x_1k d_1j + ... (from 0 or from the sum so far)
 *     accumulate_bias_gradient      g_j  = d_0j + d_1j + ...           (the same, with additions)
 *
 * "delta" is dC/dz, the derivative of the loss with respect to the pre-activations. */
#ifndef NN_KERNELS_H_
#define NN_KERNELS_H_

#include <stddef.h>
#include <stdint.h>

#include <float.h>

#include "../engine.h"
#include "../ieee754.h"
#include "../sizes.h"

/* Results have the same bits everywhere only if a float is computed as a float and the compiler does not rearrange arithmetic.
 * FLT_EVAL_METHOD is 16 where the processor computes with numbers of 16 bits, which are not used here. */
#if defined(FLT_EVAL_METHOD) && FLT_EVAL_METHOD != 0 && FLT_EVAL_METHOD != 16
#error "nnpy needs arithmetic that rounds to float at each operation: compile for 32-bit x86 with -msse2 -mfpmath=sse"
#endif
#ifdef __FAST_MATH__
#error "nnpy does not work with -ffast-math or -Ofast"
#endif

#define NN_PANEL 64
#define NN_PAD 16
#define NN_TILE_ROWS 6 /* the rows of a tile. A tile is the part of a product whose sums stay in registers; see kernels_impl.h */

/* The number of columns after padding. */
static inline size_t nn_padded(size_t num_columns)
{
    return nn_round_up(num_columns, NN_PAD);
}

/* The width of the panel that begins at `column` of a matrix with padded_columns columns. */
static inline size_t nn_panel_width(size_t padded_columns, size_t column)
{
    return nn_min(padded_columns - column, NN_PANEL);
}

/* Whether the derivative f' is computed from z. For the other activation functions it is computed from a = f(z). */
#define NN_DERIVATIVE_USES_Z(activation) \
    ((activation) == NN_SOFTPLUS || (activation) == NN_SILU || (activation) == NN_GELU)

/* The functions of vector_math.h, for evaluate_math. */
enum { NN_MATH_EXP, NN_MATH_TANH, NN_MATH_LOG, NN_MATH_SIGMOID, NN_MATH_EXPM1, NN_MATH_SOFTPLUS, NN_MATH_NORMAL_CDF };

/* The constants of one parameter update, the same for all parameters (biases have l2 = 0 and weight_decay_factor = 1).
 *
 * The update of a parameter w with gradient g; m and v are the state of the optimiser for this parameter:
 *
 *     g = gradient_scale g + l2 w
 *     w = weight_decay_factor w - u, with u from the optimiser:
 *
 *     NN_SGD       m = beta1 m + g                                 momentum buffer
 *                  u = learning_rate m, or learning_rate (g + beta1 m) with Nesterov's momentum
 *     NN_ADAM      m = m + (1 - beta1) (g - m)                     first moment
 *                  v = beta2 v + (1 - beta2) g^2                   second moment
 *                  u = learning_rate m / (sqrt(v) bias_correction2 + epsilon)
 *                  with the bias correction of step t in two constants: learning_rate is divided by 1 - beta1^t, and
 *                  bias_correction2 = 1 / sqrt(1 - beta2^t)
 *     NN_RMSPROP   v = beta2 v + (1 - beta2) g^2                   second moment
 *                  m = beta1 m + g / (sqrt(v) + epsilon)           momentum buffer
 *                  u = learning_rate m
 *     NN_RPROP     v is the step size, m the previous gradient
 *                  v = eta_plus v if g m > 0, eta_minus v if g m < 0; limited to [min_step, max_step]
 *                  m = g, but 0 if g m < 0
 *                  u = v sign(m) */
typedef struct {
    int kind, nesterov;
    float gradient_scale;      /* 1, or less if the gradient is clipped */
    float l2;
    float weight_decay_factor; /* 1 - learning_rate * weight_decay */
    float learning_rate, bias_correction2, epsilon;
    float beta1, one_minus_beta1, beta2, one_minus_beta2;
    float eta_minus, eta_plus, min_step, max_step;
} NNUpdateConstants;

/* The memory of the training of a tiny network; see tiny_impl.h. Activations are transposed: each neuron has a row of num_samples
 * numbers, padded to `stride`, a multiple of the vector length. */
#define NN_TINY_MAX_LAYERS 4
typedef struct {
    NeuralNetwork nn;
    size_t num_samples, stride;
    float *activations[NN_TINY_MAX_LAYERS + 1]; /* activations[l]: (archi[l], stride); activations[0] are the inputs */
    float *deltas[NN_TINY_MAX_LAYERS + 1];      /* deltas[l]: (archi[l], stride); deltas[0] is not used */
    const float *targets;                       /* (outputs, stride) */
    float delta_scale;                          /* -2 learning_rate / num_samples */
} NNTinyTraining;

/* `width` is a multiple of NN_PAD. `num_columns` is how many of these columns are in use: the others are padding, which is written or
 * not. `activation` is NN_SIGMOID, ... */
typedef struct {
    const char *name;
    int is_slow; /* fused multiply-adds are emulated, so that everything takes about a hundred times as long */
    size_t vector_length; /* floats */

    /* out[i] = function(in[i]), for tests; NULL if NN_WITHOUT_EVALUATE_MATH was defined.
     *
     * function           NN_MATH_EXP, ...
     * in, out            (n,); n is a multiple of 16 */
    void (*evaluate_math)(int function, const float *in, float *out, size_t n);

    /* Whether none of the numbers is infinite or NaN.
     *
     * x                  (n,); any n */
    int (*all_finite)(const float *x, size_t n);

    /* out[i] = (x[i] - mean[i]) / scale[i], in double precision, then rounded to float.
     *
     * x, mean, scale     (n,) each; any n
     * reciprocal         (n,): 1 / scale[i]; NaN where that is no normal number
     * out                (n,); written; not x */
    void (*scale)(const float *x, const double *mean, const double *scale, const double *reciprocal, float *out, size_t n);

    /* One panel of the forward pass of a layer: a = f(bias + x w).
     *
     * x                  (num_rows, depth), row pointers: (samples, inputs of the layer)
     * w                  (depth, width), a panel of the weights
     * bias               (width,)
     * a                  (num_rows, width), rows a_stride apart; written
     * derivative_input   the same shape and stride; written with what f' is computed from (z or a); or NULL */
    void (*forward)(int activation, const float *const *x, size_t num_rows, size_t depth, const float *w, size_t width,
                    size_t num_columns, const float *bias, float *a, float *derivative_input, size_t a_stride);

    /* One panel of the backward pass through a layer: delta = (next_delta wt) f'.
     *
     * next_delta         (num_rows, depth), row pointers: (samples, outputs of the layer)
     * wt                 (depth, width), a panel of the transposed weights
     * derivative_input   (num_rows, width), rows `stride` apart: what f' is computed from
     * delta              (num_rows, width), rows `stride` apart; written */
    void (*backward)(int activation, const float *const *next_delta, size_t num_rows, size_t depth, const float *wt, size_t width,
                     size_t num_columns, const float *derivative_input, float *delta, size_t stride);

    /* The backward pass of one sample through a whole layer, from the weights themselves.
     *
     * next_delta         (depth,), padded: the outputs of the layer
     * w                  (num_columns, depth) in panels: the weights. num_columns, any number, are the inputs of the layer
     * derivative_input   (num_columns,), padded: what f' is computed from
     * delta              (num_columns,), padded; written
     * x                  (num_columns,), the inputs of the layer: the weight gradient, x^T next_delta, is added to w. Or NULL for no
     *                    update */
    void (*backward_of_one)(int activation, const float *next_delta, size_t depth, float *w, size_t num_columns,
                            const float *derivative_input, float *delta, const float *x);

    /* Rows first_row to last_row - 1 of one panel of the weight gradient: out = base + (sum + x^T delta).
     *
     * x                  (num_samples, rows), row pointers; the inputs of the layer
     * delta              (num_samples, width), rows delta_stride apart
     * base               (rows, width): the weights, for an update in place; or NULL for 0
     * sum                (rows, width): the gradient of the previous samples; or NULL for 0
     * out                (rows, width); may be base or sum */
    void (*accumulate_weight_gradient)(const float *const *x, size_t num_samples, size_t first_row, size_t last_row,
                                       const float *delta, size_t delta_stride, const float *base, const float *sum, float *out,
                                       size_t width, size_t num_columns);

    /* The bias gradient: out[j] = base[j] + (sum[j] + delta[0][j] + delta[1][j] + ...).
     *
     * delta              (num_samples, width), rows delta_stride apart
     * base, sum          (width,), or NULL for 0
     * out                (width,); may be base or sum */
    void (*accumulate_bias_gradient)(const float *delta, size_t num_samples, size_t delta_stride, const float *base,
                                     const float *sum, float *out, size_t width);

    /* The optimiser step of n parameters; see NNUpdateConstants.
     *
     * g                  (n,): the gradient; n is a multiple of 16
     * m, v, w            (n,): the state of the optimiser and the parameters; updated */
    void (*optimizer_step)(const NNUpdateConstants *constants, const float *g, float *m, float *v, float *w, size_t n);

    /* Returns the sum of the squares, from 16 chains (the elements i, i + 16, i + 32, ...) that are then added in order.
     *
     * x                  (n,); n is a multiple of 16 */
    double (*sum_squares)(const float *x, size_t n);

    /* to[j][k] = from[k][j].
     *
     * from               (num_rows, num_columns), rows from_stride apart; any numbers of rows and columns
     * to                 (num_columns, num_rows), rows to_stride apart */
    void (*transpose)(const float *from, size_t from_stride, size_t num_rows, size_t num_columns, float *to, size_t to_stride);

    /* a = f(z) in place, for one sample; softmax as well.
     *
     * z                  (num_columns,), any number, readable and writable up to the next multiple of 16 */
    void (*activate_row)(int activation, float *z, size_t num_columns);

    /* The output layer of one sample: computes the activations, the loss C_i, and delta_scale dC_i/dz (for NN_MSE half of that).
     * Returns C_i.
     *
     * z                  (num_columns,), as in activate_row; overwritten with a
     * targets            (num_columns,), or NULL if the target is the class `label`
     * delta              (num_columns,), padded like z; written; or NULL */
    float (*output_layer_loss)(int activation, NNLoss loss, float *z, const float *targets, size_t label, float delta_scale,
                               float *delta, size_t num_columns);

    /* The forward pass of one sample with the weights where they lie in the NeuralNetwork, without packing. Returns the
     * pre-activations z of the last layer, which lie in scratch.
     *
     * x                  (inputs,)
     * scratch            (2, scratch_stride), with scratch_stride at least 16 more than the widest layer */
    float *(*forward_unpacked)(NeuralNetwork nn, const float *x, float *scratch, size_t scratch_stride);

    /* Full-batch gradient descent on the squared error for tiny networks, `iterations` times; see tiny_impl.h. */
    void (*train_tiny)(const NNTinyTraining *training, size_t iterations);
} NNKernels;

/* Gives every NaN in x, (n,), the bits of NAN. Results that a caller sees go through here. */
static inline void nn_canonicalize(const NNKernels *kernels, float *x, size_t n)
{
    if (!kernels->all_finite(x, n)) {
        for (size_t i = 0; i < n; i++) {
            x[i] = (float)nn_canonical((double)x[i]);
        }
    }
}

/* Returns the table of instruction set number isa, counted as in nn_isa_name; NULL past the last one. */
const NNKernels *nn_kernels_available(int isa);

#if defined(__x86_64__) && defined(__GNUC__)
#define NN_HAS_TINY_128 1 /* avx2_128.c has train_tiny with vectors of 4, which is faster for up to 4 samples */
void nn_train_tiny_avx2_128(const NNTinyTraining *training, size_t iterations);
#else
#define NN_HAS_TINY_128 0
#endif

#endif /* NN_KERNELS_H_ */
