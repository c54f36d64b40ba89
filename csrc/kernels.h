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

#include "nn.h"

#define NN_PANEL 64
#define NN_PAD 16
#define NN_TILE_ROWS 6

/* A training of a tiny network: see kernel_tiny.h. The samples of a unit are neighbours, `stride` of them, a multiple of the vectors' length. */
#define NN_TINY_LAYERS 4
typedef struct {
    NeuralNetwork nn;
    size_t num_samples, stride;
    float *activations[NN_TINY_LAYERS + 1]; /* units x stride; those of the inputs first */
    float *deltas[NN_TINY_LAYERS + 1];
    const float *targets;
    float scale; /* -2 rate / num_samples */
} NNTiny;

enum { NN_MATH_EXP, NN_MATH_TANH, NN_MATH_LOG, NN_MATH_SIGMOID };

/* m += (1 - beta1) (g - m); v = beta2 v + (1 - beta2) g^2; w -= rate m / (sqrt(v) root + epsilon), where rate and root take
 * account of the moments' beginning at 0: rate / (1 - beta1^t) and 1 / sqrt(1 - beta2^t) at step t. */
typedef struct {
    float rate, root, epsilon, one_less_beta1, beta2, one_less_beta2;
} NNAdam;

typedef struct {
    const char *name;
    int is_slow; /* by a factor of a hundred, for want of instructions */

    /* out[i] = function(in[i]); n is a multiple of 16. */
    void (*math)(int function, const float *in, float *out, size_t n);

    /* Whether n floats, any number of them, are neither infinite nor NaN. */
    int (*are_finite)(const float *x, size_t n);

    /* c = f(bias + a w), for one panel: a is num_rows x depth, w is depth x width, c has rows c_stride apart. */
    void (*forward)(int function, const float *const *a, size_t num_rows, size_t depth, const float *w, size_t width,
                    const float *bias, float *c, size_t c_stride);

    /* d = (e wt) f'(act), for one panel wt, depth x width, of the transposed weights. d and act have the same stride. */
    void (*delta)(int function, const float *const *e, size_t num_rows, size_t depth, const float *wt, size_t width,
                  const float *act, float *d, size_t stride);

    /* out = w + (sum + transposed(x) d), for the rows first to last of one panel: x is num_samples x rows, d is
     * num_samples x width. sum, of samples before these, may be NULL for 0, and so may w. */
    void (*update)(const float *const *x, size_t num_samples, size_t first, size_t last, const float *d, size_t d_stride,
                   const float *w, const float *sum, float *out, size_t width);

    /* out[j] = b[j] + (sum[j] + sum over i of d[i][j]), for num_columns columns, a multiple of 16. */
    void (*update_bias)(const float *d, size_t num_samples, size_t d_stride, const float *b, const float *sum, float *out,
                        size_t num_columns);

    /* One step of Adam on n numbers, a multiple of 16: from their gradient g, with the moments m and v. */
    void (*adam)(const NNAdam *adam, const float *g, float *m, float *v, float *w, size_t n);

    /* to[j][k] = from[k][j], for k < num_rows and j < num_columns. */
    void (*transpose)(const float *from, size_t from_stride, size_t num_rows, size_t num_columns, float *to, size_t to_stride);

    /* The output layer, one sample of num_columns columns: the cost C is returned, and d = scale dC/dz. */
    float (*output_mse)(int function, const float *a, const float *y, float scale, float *d, size_t num_columns);
    /* z becomes the probabilities, softmax(z). */
    void (*softmax)(float *z, size_t num_columns);
    /* The same and the cost, with the targets in y or, where y is NULL, the one target 1 at label. d may be NULL. */
    float (*output_cross_entropy)(float *z, const float *y, size_t label, float scale, float *d, size_t num_columns);

    /* One sample straight through weights as they lie in a NeuralNetwork; returns the last layer, where softmax is still to come.
     * scratch holds two layers as wide as the widest and 16 more. */
    float *(*forward_direct)(NeuralNetwork nn, const float *x, float *scratch, size_t scratch_stride);

    /* Full-batch gradient descent on the squared error, `iterations` times, for tiny networks: see kernel_tiny.h. */
    void (*descend_tiny)(const NNTiny *tiny, size_t iterations);
} NNKernels;

/* The tables that this build and this processor have, best first; NULL past the end. */
const NNKernels *nn_kernels_available(int index);

#endif /* NN_KERNELS_H_ */
