/* engine.h: nn.h at the machine's speed, for a caller that is not a C program.
 *
 * Whole batches, vectors, threads, on the structs of nn.h. Nothing here asserts, prints or exits; the caller has checked the
 * shapes, and what can fail returns a code. Inputs are checked on the way, where they are in the cache anyway; targets are not. An input is never written to. Each call has a
 * workspace of its own, so that many threads may read one network at once.
 *
 * The result depends on the numbers, the shapes and the order of the samples alone: not on the number of threads, the instruction
 * set or the machine. kernels.h says what is summed in which order. */
#ifndef NN_ENGINE_H_
#define NN_ENGINE_H_

#include "nn.h"

/* Beside NN_OK and NN_NO_MEMORY: the monitor said so; an input is infinite or NaN, and nothing has been changed. */
enum { NN_STOPPED = 2, NN_NOT_FINITE = 3 };

/* poll is called every few milliseconds, with the whole iterations or epochs done so far; anything but 0 stops the call. */
typedef struct {
    int (*poll)(void *context, size_t done);
    void *context;
    size_t done;
    size_t work; /* the engine's own */
} NNMonitor;

/* How a call is to be computed: by which kernels (nn_isa_name), and by how many threads at the most. A negative number of threads
 * is for tests: so many even where they do not pay. */
typedef struct {
    int isa;
    int num_threads;
} NNMachine;

/* Samples: inputs, and targets of which there is one kind. labels (one number for each row) are for softmax alone. */
typedef struct {
    Matrix x;
    Matrix y;              /* data is NULL where there are labels */
    const int32_t *labels; /* or NULL */
} NNSamples;

enum { NN_GRADIENT_DESCENT, NN_ADAM };

/* What to do with the gradient. Adam: Kingma and Ba, "Adam: a method for stochastic optimization", 2015. */
typedef struct {
    int kind;
    double rate, beta1, beta2, epsilon;
    float *moments;        /* of Adam: two numbers for each parameter, those of the mean first; 0 in the beginning */
    double power1, power2; /* of Adam: beta1 and beta2 to the number of steps taken so far; 1 in the beginning */
} NNOptimizer;

typedef struct {
    size_t batch_size;    /* rows to a step; the last step of an epoch may have fewer */
    size_t num_epochs;
    int shuffle;          /* another order in each epoch, from the seed and the number of the epoch */
    uint64_t seed;
    size_t first_epoch;   /* 0 if the inputs have not been through a call before; in later ones they are not checked again */
    float *costs;         /* the mean cost of each epoch, as it was before each step; or NULL */
} NNSchedule;

/* The instruction sets that this build has and this processor can run, best first; NULL past the end. */
const char *nn_isa_name(int isa);
int nn_threads_available(void); /* whether this build has threads */
const char *nn_compiler(void);  /* that made this build */

/* The first element, counted row by row, that is infinite or NaN; rows * cols where there is none. */
size_t nn_first_nonfinite(Matrix m);

/* out: in.rows x outputs. */
int nn_predict(NeuralNetwork nn, Matrix in, Matrix out, NNMachine machine, NNMonitor *monitor);

/* One sample, its inputs next to each other, with as little ado as can be. isa is that of an NNMachine. After anything but NN_OK,
 * nn_predict tells what is wrong, or does it. */
int nn_predict_one(const NeuralNetwork *nn, const void *x, void *out, int isa);

/* The cost: the squared error or, if the last function is softmax, the cross-entropy. With as_mse always the squared error. */
int nn_evaluate(NeuralNetwork nn, NNSamples samples, int as_mse, float *cost, NNMachine machine, NNMonitor *monitor);

/* Its gradient. After anything but NN_OK grad holds no meaning. */
int nn_gradient(NeuralNetwork nn, NeuralNetwork grad, NNSamples samples, NNMachine machine, NNMonitor *monitor);

/* Trains. Whatever it returns, nn is in the state after some whole number of steps, and monitor->done whole epochs are done. */
int nn_train(NeuralNetwork nn, NNSamples samples, NNOptimizer *optimizer, NNSchedule schedule, NNMachine machine,
             NNMonitor *monitor);

/* By finite differences, with the functions of nn.h: the gradient, and gradient descent on the whole set. Nothing is checked. */
int nn_gradient_by_differences(NeuralNetwork nn, NeuralNetwork grad, float eps, Matrix in, Matrix out, NNMonitor *monitor);
int nn_descend_by_differences(NeuralNetwork nn, float rate, float eps, Matrix in, Matrix out, size_t iterations,
                              NNMonitor *monitor);

#endif /* NN_ENGINE_H_ */
