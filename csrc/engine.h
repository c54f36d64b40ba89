/* engine.h: the fast implementation of what nn.h does: whole batches, SIMD vectors and threads on the same structs.
 *
 * Nothing here asserts, prints or exits. The caller checks shapes; what can fail returns a code. Inputs are checked for NaN and
 * infinity as they are read; a target that is NaN is missing, and its term is left out of the loss. Inputs are never written to.
 * Each call has a workspace of its own, so several threads may read one network at the same time.
 *
 * Results depend only on the numbers, the shapes and the order of the samples: not on the number of threads, the instruction set or
 * the machine. kernels/kernels.h gives the order of every sum. A NaN in a result has the bits of NAN. The caller's floating-point
 * environment (rounding, subnormal numbers, traps) has no effect; monitor->poll is called with the default one.
 *
 * Arguments that several functions share:
 *
 *     nn        the network; its loss is nn.loss. Its parameters lie one after another, as nn_alloc places them
 *     scaler    the scaling of inputs and outputs, or NULL for none
 *     samples   inputs and targets of n samples, with the scaling that they need
 *     backend   the instruction set and the number of threads
 *     monitor   lets the caller stop the call, and tells how far the call came
 *
 * A matrix of shape (n, inputs) has a row for each sample; inputs and outputs stand for nn.archi[0] and nn.archi[nn.num_layers].
 * The functions return NN_OK or one of the codes below. */
#ifndef NN_ENGINE_H_
#define NN_ENGINE_H_

#include "nn.h"

enum {
    /* NN_OK = 0, NN_NO_MEMORY = 1 */
    NN_STOPPED = 2,    /* the monitor asked to stop */
    NN_NOT_FINITE = 3, /* an input is NaN or infinite; the network and the optimiser are unchanged */
    NN_DIVERGED = 4,   /* the loss or a parameter became NaN or infinite; the network has its last finite parameters */
    NN_REFUSED = 5     /* by nn_predict_few and nn_train_few: nothing is changed; the caller calls nn_predict or nn_train */
};

/* The caller sets poll and context, and everything else to 0. */
typedef struct {
    int (*poll)(void *context, size_t done); /* called every few milliseconds; anything but 0 stops the call */
    void *context;                           /* passed to poll */
    size_t done;      /* written, and passed to poll: the epochs or iterations that are complete */
    size_t num_steps; /* written: the optimiser steps of nn_train, or the iterations of a full-batch method */
    size_t work;      /* for the engine: multiply-adds since the last poll */
} NNMonitor;

/* What to compute with. The results do not depend on it. */
typedef struct {
    int isa;         /* the number of an instruction set; see nn_isa_name */
    int num_threads; /* the most threads to use; -n uses n threads even where fewer would be faster (for tests) */
} NNBackend;

/* Standardisation. The network gets the inputs (x - x_mean) / x_scale, and its outputs a are scaled back to a * y_scale + y_mean;
 * both are computed in double precision. Scales are positive. */
typedef struct {
    const double *x_mean, *x_scale; /* (inputs,) each, or NULL where inputs are not scaled */
    const double *y_mean, *y_scale; /* (outputs,) each, or NULL where outputs are not scaled */
} NNScaler;

/* n samples: those in all rows of a table, or in some. They are scaled as they are read, so that nobody needs a copy: neither of a
 * part of a table nor of scaled numbers.
 *
 * The loss of a sample is multiplied by its weight; the sum over the samples is divided by n, so the weights should be 1 on
 * average. */
typedef struct {
    Matrix x;                    /* (rows of the table, inputs) */
    Matrix y;                    /* (rows of the table, outputs): the targets; data is NULL if there are labels */
    const int32_t *labels;       /* (rows of the table,): class indices from 0, for NN_CROSS_ENTROPY; or NULL */
    const float *sample_weights; /* (rows of the table,): not negative; or NULL for weights of 1 */
    const size_t *rows;          /* (num_rows,): sample i is in row rows[i] of the table, and n is num_rows; or NULL: sample i is
                                    in row i, and n is x.rows */
    size_t num_rows;
    NNScaler scaler;             /* scales inputs and targets; labels are not scaled */
} NNSamples;

/* Optimisers. kernels/kernels.h has the formulas of the parameter updates.
 *
 *     NN_SGD       stochastic gradient descent with momentum, or Nesterov's momentum
 *     NN_ADAM      Kingma and Ba, "Adam: a method for stochastic optimization", 2015; with weight_decay it is AdamW
 *     NN_RMSPROP   Tieleman and Hinton, lecture 6.5 of "Neural networks for machine learning", 2012
 *     NN_RPROP     Riedmiller and Braun, "A direct adaptive method for faster backpropagation learning", 1993, without weight
 *                  backtracking */
enum { NN_SGD, NN_ADAM, NN_RMSPROP, NN_RPROP };

typedef struct {
    int kind;
    double learning_rate;
    double beta1, beta2;         /* Adam: decay rates of the first and second moment; RMSprop: momentum and decay rate of the second
                                    moment; SGD: beta1 is the momentum */
    double epsilon;              /* Adam, RMSprop: added to the root of the second moment */
    int epsilon_before_correction; /* Adam: add it before the bias correction, as scikit-learn and Keras do: the "epsilon hat" of
                                    the paper, section 2 */
    int nesterov;                /* SGD: use Nesterov's momentum */
    double eta_minus, eta_plus;  /* Rprop: factors of the step size after a change of sign, and without one */
    double min_step, max_step;   /* Rprop: limits of the step size */
    double weight_decay;         /* decoupled: w -= learning_rate * weight_decay * w, weights only */
    double l2;                   /* adds l2 / 2 times the sum of squared weights to the loss */
    int l2_of_batch;             /* l2 is divided by the number of samples in the mini-batch, as by scikit-learn */
    double clip_norm;            /* the largest Euclidean norm of the gradient (without l2), or 0 for no clipping */
    float *state;                /* (2, parameters): the first moments (or momentum buffers), then the second moments; initially 0.
                                    Rprop: the previous gradient, initially 0, then the step sizes, initially learning_rate */
    double beta1_power, beta2_power; /* beta1^t and beta2^t after t steps, for Adam's bias correction; initially 1 */
} NNOptimizer;

typedef struct {
    size_t batch_size;      /* samples per mini-batch; the last mini-batch of an epoch may be smaller */
    size_t num_epochs;
    int shuffle;            /* a new order of the samples in each epoch, from seed and the number of the epoch */
    uint64_t seed;
    size_t first_epoch;     /* the number of the first epoch of this call */
    int inputs_checked;     /* not 0 if the inputs are known to be finite, so that they need no check */
    float *losses;          /* (num_epochs,), written: the mean loss of each epoch, with the loss of a sample computed before the
                               step that its mini-batch takes; or NULL */
    const double *learning_rates; /* (steps of the call,): used instead of the optimizer's learning rate; or NULL */
    const double *dropout;  /* (hidden layers,): drop probabilities for inverted dropout; or NULL */
} NNTrainOptions;

/* Returns the name of instruction set number isa: 0 is the best one that this build has and this processor can run, 1 the next one,
 * and so on; NULL past the last one. */
const char *nn_isa_name(int isa);
int nn_threads_available(void); /* whether this build has threads */
const char *nn_compiler(void);  /* the name and version of the compiler that made this build */

/* Returns the row-major index of the first element of m that is not in [low, high]; m.rows * m.cols if there is none. NaN is in no
 * range, but is skipped if allow_nan is 1; otherwise allow_nan is 0. */
size_t nn_first_outside(Matrix m, float low, float high, int allow_nan);

/* For each column j of x, adds the differences d = x_ij - center_j to sums[j], their squares to squares[j], and their number to
 * counts[j]. NaN is skipped. Rows are added in order, so that the sums have the same bits everywhere.
 *
 * x                       (rows, cols), row-major
 * center                  (cols,)
 * sums, squares, counts   (cols,) each; updated */
void nn_column_moments(const double *x, size_t rows, size_t cols, const double *center, double *sums, double *squares,
                       double *counts);

/* Writes the order in which nn_train visits num samples in an epoch to order, (num,): a Fisher-Yates shuffle with nn_random. */
void nn_shuffle(size_t *order, size_t num, uint64_t seed, uint64_t epoch);

/* Computes the outputs of the network.
 *
 * scaler   scales the inputs; its y part is ignored
 * in       (n, inputs)
 * out      (n, outputs), written */
int nn_predict(NeuralNetwork nn, const NNScaler *scaler, Matrix in, Matrix out, NNBackend backend, NNMonitor *monitor);

/* A network prepared for nn_predict_few: what stays the same from call to call. */
typedef struct {
    NeuralNetwork nn;
    const NNScaler *scaler; /* scales the inputs, and the outputs if it has a y part; or NULL */
    int isa;                /* as in NNBackend */
} NNPredictor;

/* Does what nn_predict does for a few samples, with as little overhead as possible.
 *
 * x     (num_samples, inputs) floats
 * out   (num_samples, outputs) floats, or doubles if the scaler has a y part; written
 *
 * Returns NN_OK; or NN_REFUSED if the samples are too many, if an input is not finite, if x is not aligned to floats, or if memory
 * ran out. nn_predict then computes the outputs, of a copy of x, or tells what is wrong. */
int nn_predict_few(const NNPredictor *predictor, const void *x, size_t num_samples, void *out);

/* Computes the outputs of every layer.
 *
 * scaler   scales the inputs; its y part is ignored
 * in       (n, inputs)
 * layers   (num_layers,): layers[l] is (n, archi[l + 1]), written */
int nn_layer_outputs(NeuralNetwork nn, const NNScaler *scaler, Matrix in, const Matrix *layers, NNBackend backend,
                     NNMonitor *monitor);

/* Computes the loss, averaged over the samples.
 *
 * out      (n, outputs): the outputs of the last layer, not scaled back; written; data is NULL if they are not wanted
 * loss     written */
int nn_evaluate(NeuralNetwork nn, NNSamples samples, Matrix out, double *loss, NNBackend backend, NNMonitor *monitor);

/* Computes the gradient of the loss.
 *
 * grad         a network of the same architecture; its weights and biases are written with the gradient
 * input_grad   (n, inputs): the derivatives of the loss with respect to the scaled inputs, written; data is NULL if they are not
 *              wanted
 * loss         written: the loss, averaged over the samples
 *
 * After a code other than NN_OK the results are undefined. */
int nn_gradient(NeuralNetwork nn, NeuralNetwork grad, Matrix input_grad, NNSamples samples, double *loss, NNBackend backend,
                NNMonitor *monitor);

/* Computes the derivatives of the outputs with respect to the inputs (the Jacobian matrix of each sample).
 *
 * scaler   scales the inputs; its y part is ignored. Or NULL, if they are scaled already
 * units    the derivatives are those by inputs before this scaler, of outputs after its y part if it has one. Or NULL
 * in       (n, inputs)
 * out      (n, outputs, inputs): out[i][k][j] is the derivative of output k by input j for sample i; written */
int nn_jacobian(NeuralNetwork nn, const NNScaler *scaler, const NNScaler *units, Matrix in, float *out, NNBackend backend,
                NNMonitor *monitor);

/* Trains with mini-batches.
 *
 * optimizer   the parameter update; its state is updated
 * options     epochs, batches, learning rates
 *
 * After NN_NOT_FINITE, nn and optimizer are unchanged. After every other code they are in the state after monitor->num_steps whole
 * steps, and monitor->done epochs are complete. */
int nn_train(NeuralNetwork nn, NNSamples samples, NNOptimizer *optimizer, NNTrainOptions options, NNBackend backend,
             NNMonitor *monitor);

/* A network prepared for nn_train_few: what stays the same from call to call. Several threads must not use one at the same time. The
 * caller sets kept to NULL, and calls nn_trainer_free at the end. */
typedef struct {
    NeuralNetwork nn;
    NNScaler scaler;
    NNOptimizer *optimizer;
    NNTrainOptions options;  /* there is no shuffle if batch_size is not less than the number of samples */
    int isa;                 /* as in NNBackend */
    float low, high;         /* the range of the targets */
    size_t label_size;       /* 0 if y are targets. 1, 4, 8: y are labels, uint8_t, int32_t or int64_t, for NN_CROSS_ENTROPY */
    size_t num_steps;        /* written: the optimiser steps of the call */
    void *kept;              /* for the engine: memory for the next call */
} NNTrainer;

/* Does what nn_train does for a few samples, with as little overhead as possible.
 *
 * x   (num_samples, inputs) floats
 * y   (num_samples, outputs) floats, or (num_samples,) labels
 *
 * Returns NN_OK or NN_DIVERGED as nn_train does; or NN_REFUSED if the samples or the epochs are too many, if an input, a target or a
 * parameter is not finite, if a target or label is out of its range, if x or y is not aligned or lies among the parameters, or if
 * memory ran out. nn_train then trains with checked copies of x and y, or tells what is wrong. */
int nn_train_few(NNTrainer *trainer, const void *x, const void *y, size_t num_samples);
void nn_trainer_free(NNTrainer *trainer); /* frees what nn_train_few has kept */

/* ---- Full-batch methods for small problems ----
 *
 * They minimise the loss plus l2 / 2 times the sum of squared weights, over all samples in every iteration.
 *
 * state            the state of the method between calls; updated
 * num_iterations   the most iterations of this call
 * losses           (num_iterations,): the loss after each iteration, without the l2 term; or NULL
 *
 * monitor->done counts iterations. After NN_OK it is less than num_iterations if no further step makes the loss smaller. After
 * every code, nn is in the state after a whole number of iterations. NN_DIVERGED means that the loss is not finite at the start. */

/* L-BFGS: Nocedal and Wright, "Numerical optimization", 2006, algorithm 7.5, with a line search for the strong Wolfe conditions
 * (algorithms 3.5 and 3.6 with cubic interpolation). */
typedef struct {
    size_t history_size; /* the number of past steps that approximate the Hessian; at least 1 */
    double l2;
    double *memory;      /* (nn_lbfgs_size(...),); initially 0, like all fields below */
    double loss;         /* the loss at the current parameters, with the l2 term */
    double step_length;  /* the step length of the last line search: the parameters moved by step_length times the direction */
    size_t num_pairs, num_iterations; /* the pairs (s, y) stored so far, the iterations so far */
} NNLbfgs;

/* Returns the number of doubles in NNLbfgs.memory; 0 if that does not fit into a size_t. */
size_t nn_lbfgs_size(size_t num_parameters, size_t history_size);
int nn_lbfgs(NeuralNetwork nn, NNSamples samples, NNLbfgs *state, size_t num_iterations, float *losses, NNBackend backend,
             NNMonitor *monitor);

/* Levenberg-Marquardt, for the squared error without softmax: Madsen, Nielsen and Tingleff, "Methods for non-linear least squares
 * problems", 2004, algorithm 3.16. Needs 16 bytes for each pair of parameters, whatever the number of samples. */
typedef struct {
    double l2;
    double damping; /* the initial damping, relative to the largest diagonal element of J^T J */
    double mu, nu;  /* the current damping, and the factor by which it grows after a failed step; initially 0 */
} NNLevenbergMarquardt;
int nn_levenberg_marquardt(NeuralNetwork nn, NNSamples samples, NNLevenbergMarquardt *state, size_t num_iterations, float *losses,
                           NNBackend backend, NNMonitor *monitor);

/* ---- Networks of 8-bit integers ----
 *
 * A layer has weights of 8 bits and adds products in 32 bits:
 *
 *     sum_j = bias_j + q_0 w_j0 + q_1 w_j1 + ...               q_k: inputs, 0 to 255
 *     r_j = (sum_j multiplier_j + 2^(shift - 1)) >> shift      the only rounding; in 64 bits
 *
 * What an integer stands for, and that inputs may stand for numbers whose smallest is not 0, is in the biases and multipliers; see
 * nnpy/_quantization.py. Then, by the kind of the layer:
 *
 *     NN_QUANTIZED_CLIP      q_j = r_j, limited to 0 and 255
 *     NN_QUANTIZED_TABLE     the position r_j, limited to 0 and 32767, in a table of 128 segments, between whose ends numbers are
 *                            interpolated linearly. In a hidden layer the result is divided by 128 and rounded: 0 to 255
 *     NN_QUANTIZED_LINEAR    the last layer: r_j
 *     NN_QUANTIZED_SOFTMAX   the last layer: r_j are the logits, in units of log(2) / 2^15. 32768 stands for a probability of 1. The
 *                            table has the numbers 32767 / 2^(i / 128)
 *
 * Every processor computes the same integers. */
enum { NN_QUANTIZED_CLIP, NN_QUANTIZED_TABLE, NN_QUANTIZED_LINEAR, NN_QUANTIZED_SOFTMAX };

#define NN_QUANTIZED_TABLE_SIZE 129

typedef struct {
    size_t num_inputs, num_outputs;
    int kind;
    const int8_t *weights;      /* (num_outputs, num_inputs): a row for each output */
    const int32_t *biases;      /* (num_outputs,) */
    const int32_t *multipliers; /* (num_outputs,): from 2^18 */
    int shift;                  /* 1 to 62 */
    const int16_t *table;       /* (NN_QUANTIZED_TABLE_SIZE,), or NULL for a kind without one; of a hidden layer: 0 to 32640 */
} NNQuantizedLayer;

typedef struct NNQuantized NNQuantized; /* a network, its weights packed for the kernels */

/* Makes a network of copies of all arrays. No sum of a layer may leave the range of int32_t, whatever its inputs are: |bias_j| plus 255
 * times the sum of |w_jk| is at most 2^31 - 1.
 *
 * low, inverse_step   (inputs,) each: an input x becomes the integer nearest to (x - low) inverse_step, limited to 0 and 255
 * output_scale        an output is the integer, rounded to float, times output_scale
 *
 * Returns NULL if there is not enough memory. */
NNQuantized *nn_quantized_alloc(size_t num_layers, const NNQuantizedLayer *layers, const float *low, const float *inverse_step,
                                float output_scale);
void nn_quantized_free(NNQuantized *q);

/* Turns inputs into integers.
 *
 * in    (n, inputs), finite
 * out   (n, inputs), written */
void nn_quantize_inputs(const NNQuantized *q, Matrix in, uint8_t *out, NNBackend backend);

/* Computes the outputs of a network of 8-bit integers.
 *
 * in                (n, inputs); its data is not read where there are integers_in
 * integers_in       (n, inputs): inputs that are integers already; or NULL
 * out               (n, outputs), written; data is NULL if they are not wanted
 * integers_out      (n, outputs), written: the outputs as integers; or NULL
 * stops_at_logits   not 0: the outputs of a softmax layer are the logits, whose order is that of the probabilities */
int nn_quantized_predict(const NNQuantized *q, Matrix in, const uint8_t *integers_in, Matrix out, int32_t *integers_out,
                         int stops_at_logits, NNBackend backend, NNMonitor *monitor);

/* ---- Finite differences, with the functions of nn.h ----
 *
 * They are slow. They serve to check gradients and to follow the post. Inputs are not checked for NaN and infinity.
 *
 * grad         as in nn_gradient: (C(p + eps) - C(p)) / eps for every parameter p
 * eps          the difference
 * rate         the learning rate
 * in, out      (n, inputs) and (n, outputs): inputs and targets
 * iterations   the number of steps of gradient descent */
int nn_finite_diff_gradient(NeuralNetwork nn, NeuralNetwork grad, float eps, Matrix in, Matrix out, NNMonitor *monitor);
int nn_finite_diff_descent(NeuralNetwork nn, float rate, float eps, Matrix in, Matrix out, size_t iterations, NNMonitor *monitor);

#endif /* NN_ENGINE_H_ */
