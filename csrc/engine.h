/* engine.h: nn.h at the machine's speed, for a caller that is not a C program.
 *
 * Whole batches, vectors, threads, on the structs of nn.h. Nothing here asserts, prints or exits; the caller has checked the
 * shapes, and what can fail returns a code. Inputs are checked on the way, where they are in the cache anyway; targets are not: one
 * that is NaN is missing. An input is never written to. Each call has a workspace of its own, so that many threads may read one
 * network at once.
 *
 * The result depends on the numbers, the shapes and the order of the samples alone: not on the number of threads, the instruction
 * set or the machine. kernels.h says what is summed in which order. */
#ifndef NN_ENGINE_H_
#define NN_ENGINE_H_

#include "nn.h"

/* Beside NN_OK and NN_NO_MEMORY: the monitor said so; an input is infinite or NaN, and nothing has been changed; the loss or a
 * parameter became so, and the network has the last parameters that were finite. */
enum { NN_STOPPED = 2, NN_NOT_FINITE = 3, NN_DIVERGED = 4 };

/* poll is called every few milliseconds, with the whole iterations or epochs done so far; anything but 0 stops the call. */
typedef struct {
    int (*poll)(void *context, size_t done);
    void *context;
    size_t done;
    size_t num_steps; /* of nn_train: the steps taken in this call */
    size_t work;      /* the engine's own */
} NNMonitor;

/* How a call is to be computed: by which kernels (nn_isa_name), and by how many threads at the most. A negative number of threads
 * is for tests: so many even where they do not pay. */
typedef struct {
    int isa;
    int num_threads;
} NNMachine;

/* Samples: inputs, and targets of which there is one kind. labels (one number for each row) are for the cross-entropy alone. The
 * loss of a sample is multiplied with its weight, which should be 1 on average: the sum is divided by the number of samples. */
typedef struct {
    Matrix x;
    Matrix y;              /* data is NULL where there are labels */
    const int32_t *labels; /* or NULL */
    const float *weights;  /* or NULL, for 1 */
} NNSamples;

/* kernels.h has the formulas. Adam: Kingma and Ba, "Adam: a method for stochastic optimization", 2015. RMSprop: Tieleman and Hinton,
 * lecture 6.5 of "Neural networks for machine learning", 2012. Rprop: Riedmiller and Braun, "A direct adaptive method for faster
 * backpropagation learning", 1993, without weight backtracking. */
enum { NN_GRADIENT_DESCENT, NN_ADAM, NN_RMSPROP, NN_RPROP };

/* What to do with the gradient. */
typedef struct {
    int kind;
    double rate;
    double beta1, beta2;           /* what is kept of the moments at a step; beta1 is the momentum of other kinds than Adam */
    double epsilon;
    int nesterov;                  /* of gradient descent */
    double shrink, grow, smallest, largest; /* of Rprop: how the sizes of steps change, and their limits */
    double decay;                  /* of weights, not biases: w -= rate decay w beside the step */
    double l2;                     /* l2 / 2 times the sum of the squared weights is added to what is made small */
    double clip;                   /* the largest norm of the gradient, or 0 for any; of the loss, without l2 */
    float *moments;        /* two numbers for each parameter, m first; 0 in the beginning, but v = rate with Rprop */
    double power1, power2; /* beta1 and beta2 to the number of steps taken so far; 1 in the beginning */
} NNOptimizer;

typedef struct {
    size_t batch_size;    /* rows to a step; the last step of an epoch may have fewer */
    size_t num_epochs;
    int shuffle;          /* another order in each epoch, from the seed and the number of the epoch */
    uint64_t seed;
    size_t first_epoch;   /* the number of the first of them */
    int checked;          /* the inputs have been through a call before, and are not looked at again */
    float *costs;         /* the mean cost of each epoch, as it was before each step; or NULL */
    const double *rates;  /* the rate of every step of the call, in place of the optimizer's; or NULL */
    const double *dropout; /* for each hidden layer, the share of activations that are left out of a step; or NULL */
} NNSchedule;

/* The instruction sets that this build has and this processor can run, best first; NULL past the end. */
const char *nn_isa_name(int isa);
int nn_threads_available(void); /* whether this build has threads */
const char *nn_compiler(void);  /* that made this build */

/* The first element, counted row by row, that is infinite or NaN; rows * cols where there is none. */
size_t nn_first_nonfinite(Matrix m);

/* Mean and standard deviation of each column, over the numbers that are not NaN, in double precision in the order of the rows; the
 * deviation is 1 where a column does not change. */
void nn_mean_and_scale(Matrix m, float *mean, float *scale);

/* The order in which nn_train takes so many samples in an epoch: Fisher and Yates' shuffle, with the numbers of nn_random. */
void nn_shuffle(size_t *order, size_t num, uint64_t seed, uint64_t epoch);

/* out: in.rows x outputs. */
int nn_predict(NeuralNetwork nn, Matrix in, Matrix out, NNMachine machine, NNMonitor *monitor);

/* One sample, its inputs next to each other, with as little ado as can be. isa is that of an NNMachine. After anything but NN_OK,
 * nn_predict tells what is wrong, or does it. */
int nn_predict_one(const NeuralNetwork *nn, const void *x, void *out, int isa);

/* The outputs of every layer, the hidden ones first: layers[l] is in.rows x archi[l + 1]. */
int nn_layer_outputs(NeuralNetwork nn, Matrix in, const Matrix *layers, NNMachine machine, NNMonitor *monitor);

/* The cost: the loss of the network, averaged over the samples. */
int nn_evaluate(NeuralNetwork nn, NNSamples samples, double *cost, NNMachine machine, NNMonitor *monitor);

/* Its gradient by the parameters and, where input_grad has data, by the inputs; and the cost. After anything but NN_OK they hold
 * no meaning. */
int nn_gradient(NeuralNetwork nn, NeuralNetwork grad, Matrix input_grad, NNSamples samples, double *cost, NNMachine machine,
                NNMonitor *monitor);

/* Trains. Whatever it returns, nn and the optimizer are in the state after some whole number of steps, monitor->num_steps, and
 * monitor->done whole epochs are done. */
int nn_train(NeuralNetwork nn, NNSamples samples, NNOptimizer *optimizer, NNSchedule schedule, NNMachine machine,
             NNMonitor *monitor);

/* Full-batch methods for small problems, which look for a minimum by themselves. monitor->done counts iterations, and is less than
 * asked for where no further step makes the loss smaller. costs has the loss after each iteration, or is NULL. What is made small
 * is the loss and l2 / 2 times the sum of the squared weights; costs are without the latter. Whatever they return, nn is in the
 * state after some whole number of iterations; NN_DIVERGED says that the loss is not finite to begin with. */

/* L-BFGS: Nocedal and Wright, "Numerical optimization", 2006, algorithm 7.5, with a line search for the strong Wolfe conditions
 * (algorithms 3.5 and 3.6 by cubic interpolation). */
typedef struct {
    size_t history;       /* pairs to remember */
    double l2;
    double *memory;       /* nn_lbfgs_size numbers; those and the following are 0 in the beginning */
    double cost;          /* at the parameters, with the l2 term */
    double step;          /* of the last line search */
    size_t num_pairs, num_iterations;
} NNLbfgs;
size_t nn_lbfgs_size(size_t num_parameters, size_t history);
int nn_lbfgs(NeuralNetwork nn, NNSamples samples, NNLbfgs *state, size_t num_iterations, float *costs, NNMachine machine,
             NNMonitor *monitor);

/* Levenberg and Marquardt's, for the squared error without softmax: Madsen, Nielsen and Tingleff, "Methods for non-linear least
 * squares problems", 2004, algorithm 3.16. Memory is for the square of the number of parameters, whatever the number of samples. */
typedef struct {
    double l2;
    double damping; /* in the beginning, in terms of the largest diagonal element of J^T J */
    double mu, nu;  /* 0 in the beginning */
} NNLevenberg;
int nn_levenberg(NeuralNetwork nn, NNSamples samples, NNLevenberg *state, size_t num_iterations, float *costs, NNMachine machine,
                 NNMonitor *monitor);

/* By finite differences, with the functions of nn.h: the gradient, and gradient descent on the whole set. Nothing is checked. */
int nn_gradient_by_differences(NeuralNetwork nn, NeuralNetwork grad, float eps, Matrix in, Matrix out, NNMonitor *monitor);
int nn_descend_by_differences(NeuralNetwork nn, float rate, float eps, Matrix in, Matrix out, size_t iterations,
                              NNMonitor *monitor);

#endif /* NN_ENGINE_H_ */
