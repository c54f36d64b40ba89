/* kernels.h: the inner loops of the engine, one table of them for each instruction set. For the files of the engine; not for users.
 *
 * How things lie in memory:
 *
 *     Samples are rows. A matrix of activations or deltas has its columns padded with at least what makes them a multiple of
 *     16; what stands in the padding is finite and has no effect. Rows are reached through pointers, so that those of a
 *     shuffled batch need no copying.
 *
 *     Weights lie in panels of 64 columns, the last one narrower (16, 32, 48 or 64; zeros in the padding): a panel is
 *     rows x width numbers, and begins where the one before it ends.
 *
 * Every element is one chain of fused multiply-adds, from left to right, whatever the tiles, panels and vectors:
 *
 *     forward    z_ij = b_j + x_i0 w_0j + x_i1 w_1j + ...       a_ij = f(z_ij)
 *     delta      d_ik = (0 + e_i0 w_k0 + e_i1 w_k1 + ...) f'(a_ik)
 *     update     w_kj = w_kj + (0 + x_0k d_0j + x_1k d_1j + ...)     b_j = b_j + (0 + d_0j + d_1j + ...) */
#ifndef NN_KERNELS_H_
#define NN_KERNELS_H_

#include <stddef.h>
#include <stdint.h>

#include "../engine.h"

#define NN_PANEL 64
#define NN_PAD 16
#define NN_TILE_ROWS 6

/* A training of a tiny network: see tiny_impl.h. The samples of a unit are neighbours, `stride` of them, a multiple of the vectors' length. */
#define NN_TINY_LAYERS 4
typedef struct {
    NeuralNetwork nn;
    size_t num_samples, stride;
    float *activations[NN_TINY_LAYERS + 1]; /* units x stride; those of the inputs first */
    float *deltas[NN_TINY_LAYERS + 1];
    const float *targets;
    float scale; /* -2 rate / num_samples */
} NNTiny;

enum { NN_MATH_EXP, NN_MATH_TANH, NN_MATH_LOG, NN_MATH_SIGMOID, NN_MATH_EXPM1, NN_MATH_SOFTPLUS, NN_MATH_NORMAL_CDF };

/* f' is taken from z, not from a = f(z). */
#define NN_DERIVED_FROM_Z(function) ((function) == NN_SOFTPLUS || (function) == NN_SILU || (function) == NN_GELU)

/* What a step does with a parameter w whose gradient is g; m and v are what it remembers. First g = scale g + l2 w and
 * w = keep w; then by kind
 *
 *     NN_SGD   m = beta1 m + g; w -= rate m or, with Nesterov's momentum, w -= rate (g + beta1 m)
 *     NN_ADAM               m += (1 - beta1) (g - m); v = beta2 v + (1 - beta2) g^2; w -= rate m / (sqrt(v) root + epsilon), where
 *                           rate and root take account of the moments' beginning at 0: rate / (1 - beta1^t) and
 *                           1 / sqrt(1 - beta2^t) at step t
 *     NN_RMSPROP            v = beta2 v + (1 - beta2) g^2; m = beta1 m + g / (sqrt(v) + epsilon); w -= rate m
 *     NN_RPROP              v, the size of the step, grows or shrinks, within limits, as g has the sign of m or the other one; in
 *                           the latter case g = 0; w -= v sign(g); m = g */
typedef struct {
    int kind, nesterov;
    float scale, l2, keep, rate, root, epsilon, beta1, one_minus_beta1, beta2, one_minus_beta2, eta_minus, eta_plus, min_step, max_step;
} NNStep;

typedef struct {
    const char *name;
    int is_slow; /* by a factor of a hundred, for want of instructions */

    /* out[i] = function(in[i]); n is a multiple of 16. */
    void (*math)(int function, const float *in, float *out, size_t n);

    /* Whether n floats, any number of them, are neither infinite nor NaN. */
    int (*are_finite)(const float *x, size_t n);

    /* c = f(bias + a w), for one panel: a is num_rows x depth, w is depth x width, c has rows c_stride apart. What f' is to be
     * taken from is stored in saved, with the stride of c, if that is not NULL. */
    void (*forward)(int function, const float *const *a, size_t num_rows, size_t depth, const float *w, size_t width,
                    const float *bias, float *c, float *saved, size_t c_stride);

    /* d = (e wt) f'(act), for one panel wt, depth x width, of the transposed weights; act is what f' is taken from. d and act have
     * the same stride. */
    void (*delta)(int function, const float *const *e, size_t num_rows, size_t depth, const float *wt, size_t width,
                  const float *act, float *d, size_t stride);

    /* out = w + (sum + transposed(x) d), for the rows first to last of one panel: x is num_samples x rows, d is
     * num_samples x width. sum, of samples before these, may be NULL for 0, and so may w. */
    void (*update)(const float *const *x, size_t num_samples, size_t first, size_t last, const float *d, size_t d_stride,
                   const float *w, const float *sum, float *out, size_t width);

    /* out[j] = b[j] + (sum[j] + sum over i of d[i][j]), for num_columns columns, a multiple of 16. */
    void (*update_bias)(const float *d, size_t num_samples, size_t d_stride, const float *b, const float *sum, float *out,
                        size_t num_columns);

    /* One step on n numbers, a multiple of 16. */
    void (*step)(const NNStep *step, const float *g, float *m, float *v, float *w, size_t n);

    /* The sum of x^2 over n numbers, a multiple of 16: a chain for every 16th of them, and then these 16 in order. */
    double (*sum_squares)(const float *x, size_t n);

    /* to[j][k] = from[k][j], for k < num_rows and j < num_columns. */
    void (*transpose)(const float *from, size_t from_stride, size_t num_rows, size_t num_columns, float *to, size_t to_stride);

    /* a = f(z) in place, for one row; softmax as well. */
    void (*activate)(int function, float *z, size_t num_columns);

    /* The output layer, one sample: z becomes a; the cost C is returned, and d = scale dC/dz or, for the squared error, half of it.
     * The targets are y or, where that is NULL, the one target 1 at label. d may be NULL. */
    float (*output)(int function, NNLoss loss, float *z, const float *y, size_t label, float scale, float *d, size_t num_columns);

    /* One sample straight through weights as they lie in a NeuralNetwork; returns the sums z of the last layer.
     * scratch holds two layers as wide as the widest and 16 more. */
    float *(*forward_direct)(NeuralNetwork nn, const float *x, float *scratch, size_t scratch_stride);

    /* Full-batch gradient descent on the squared error, `iterations` times, for tiny networks: see tiny_impl.h. */
    void (*descend_tiny)(const NNTiny *tiny, size_t iterations);
} NNKernels;

/* The tables that this build and this processor have, best first; NULL past the end. */
const NNKernels *nn_kernels_available(int index);

#endif /* NN_KERNELS_H_ */
