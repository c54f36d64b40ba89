/* workspace.h: a network as the engine computes with it. For the files of the engine.
 *
 * A plan holds the parameters packed in panels (see kernels.h) and the workspace of a call, all in one block of memory. */
#ifndef NN_WORKSPACE_H_
#define NN_WORKSPACE_H_

#include "engine.h"
#include "kernels/kernels.h"

typedef struct {
    size_t rows, cols;   /* of the weights */
    size_t padded;       /* cols, rounded up to 16 */
    size_t stride;       /* from one sample's activations to the next's */
    size_t num_weights;  /* rows * padded */
    int function;        /* of a hidden layer; linear for the last one, whose sums go to the output kernel */
    float *w, *b;        /* the weights in panels, the biases: padded */
    float *grad_w, *grad_b; /* what an update adds, where it cannot be added at once */
    float *m, *v;        /* what the optimiser remembers, of the weights and then of the biases */
    float *wt;           /* the weights transposed, in panels */
    float *a, *d;        /* num_samples x stride: activations and deltas */
    float *saved;        /* the same: what the derivative is taken from, where that is not a; else NULL */
    float *mask;         /* the same: with dropout what a is multiplied with; else NULL */
    const float **a_rows, **d_rows;
} NNLayer;

typedef struct {
    NeuralNetwork nn;
    const NNKernels *kernels;
    size_t num_layers;
    NNLayer *layers;
    size_t block;       /* samples at a time */
    int num_threads;
    int output_function;
    float *costs;       /* of each sample of a block */
    const float **x_rows; /* num_threads x block */
    float *input_d;     /* block x input_stride: the delta of the inputs */
    size_t input_stride;
    double *squares;    /* of the gradient, summed up in parts */
    void *memory;
} NNWorkspace;

/* What a plan is for: how much it has to hold. */
enum {
    NN_WORKSPACE_DELTAS = 1,
    NN_WORKSPACE_GRADIENT = 2,
    NN_WORKSPACE_MOMENTS = 4,
    NN_WORKSPACE_DROPOUT = 8,
    NN_WORKSPACE_INPUT_DELTA = 16, /* with the deltas */
    NN_WORKSPACE_SQUARES = 32      /* with the gradient */
};

/* The numbers that one of plan->squares is of, at the most; each layer has parts of its own, of the weights and of the biases. */
#define NN_PART_OF_SQUARES 4096
size_t nn_num_parts(size_t num);

/* plan->memory is NULL where there was not enough. The parameters are packed. */
NNWorkspace nn_workspace_alloc(NeuralNetwork nn, const NNKernels *kernels, size_t block, int num_threads, int what);
void nn_workspace_free(NNWorkspace *plan);

/* Between parameters in the order of a NeuralNetwork and the panels of a plan: layer by layer, from `flat` or into it. */
enum { NN_PACK_PARAMETERS, NN_PACK_GRADIENT, NN_PACK_M, NN_PACK_V };
void nn_pack(const NNWorkspace *plan, int which, float *flat); /* flat is read */
void nn_unpack(const NNWorkspace *plan, int which, float *flat);

/* The part number `number` of `size` of total things: first to last. */
typedef struct {
    size_t first, last;
} NNRange;
NNRange nn_share(size_t total, int number, int size);

/* Multiply-adds of a forward pass of one sample; a sigmoid counts for some. */
size_t nn_work(NeuralNetwork nn);

/* The threads that are worth having, for steps of so many samples and a call of so many. */
int nn_worthwhile_threads(NeuralNetwork nn, size_t samples_per_step, size_t samples, int limit);

/* Counts work; not 0 if the monitor wants to stop. */
int nn_poll(NNMonitor *monitor, size_t work);

/* Gradient descent and nothing else: the products may go into the parameters at once. */
int nn_is_plain(const NNOptimizer *optimizer);

/* l2 / 2 times the sum of the squared weights of a network; and the same added to the gradient. */
double nn_l2_cost(NeuralNetwork nn, double l2);
void nn_add_l2(NeuralNetwork nn, NeuralNetwork grad, double l2);

/* Forward through all layers, by one thread: num samples from number `own` of the workspace on, their inputs in x. */
void nn_forward_rows(const NNWorkspace *plan, const float *const *x, size_t own, size_t num);

/* Row i of a matrix whose stride may be negative. */
static inline const float *nn_row(Matrix m, size_t i)
{
    return &MAT_AT(m, i, 0);
}

#endif /* NN_WORKSPACE_H_ */
