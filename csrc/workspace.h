/* workspace.h: the memory of one call of the engine, in one allocation: the parameters of the network, the gradient and the
 * optimiser state, packed in panels (see kernels/kernels.h), and the scaled inputs and targets, the activations and the deltas of a
 * block of samples. propagate.c, scaling.c, step.c and the methods compute with it. */
#ifndef NN_WORKSPACE_H_
#define NN_WORKSPACE_H_

#include "engine.h"
#include "kernels/kernels.h"

/* One layer. Its matrices of samples have shape (block, padded_outputs), rows `stride` apart. */
typedef struct {
    size_t num_inputs, num_outputs;
    size_t padded_outputs;   /* num_outputs, rounded up to NN_PAD */
    size_t stride;           /* from one sample's row to the next */
    size_t num_weights;      /* num_inputs * padded_outputs */
    int activation;          /* NN_LINEAR for the last layer: output_layer_loss and activate_row apply its activation function */
    float *w;                /* the weights, (num_inputs, padded_outputs) in panels */
    float *b;                /* the biases, (padded_outputs,) */
    float *grad_w, *grad_b;  /* the gradient, laid out like w and b */
    float *m, *v;            /* the optimiser's state: num_weights numbers laid out like w, then padded_outputs like b */
    float *wt;               /* the transposed weights, (num_outputs, padded num_inputs) in panels */
    float *a;                /* activations */
    float *delta;            /* dC/dz */
    float *derivative_input; /* z, or a before dropout, where f' is computed from it; NULL where f' is computed from a */
    float *dropout_mask;     /* the factors of dropout: 0 or 1 / (1 - drop probability); NULL without dropout */
    const float **a_rows, **delta_rows; /* (block,): pointers to the rows of a and delta */
} NNLayer;

typedef struct {
    NeuralNetwork nn;
    const NNKernels *kernels;
    size_t num_layers;
    NNLayer *layers;
    size_t block;            /* the most samples that are processed together */
    int num_threads;
    int output_activation;   /* the activation function of the last layer */
    float *losses;           /* (block,): the loss of each sample */
    const float **x_rows;    /* (num_threads, block): pointers to the inputs of the samples, a row for each thread */
    NNScaler scaler;         /* of the samples; see scaling.h */
    size_t num_scaled;       /* the samples for which there is room in scaled_x and scaled_y */
    float *scaled_x;         /* (num_scaled, padded inputs), rows scaled_x_stride apart; NULL if inputs are not scaled */
    float *scaled_y;         /* (num_scaled, outputs), rows scaled_y_stride apart; NULL if targets are not scaled */
    size_t scaled_x_stride, scaled_y_stride;
    double *x_reciprocals, *y_reciprocals; /* (inputs,), (outputs,): those of the scales, for the kernel */
    int keeps_scaled;        /* whether scaled_x and scaled_y have a row for each sample, and not for each row of a block */
    float *input_delta;      /* (block, padded inputs), rows input_stride apart: dC/dx */
    size_t input_stride;
    double *norm_parts;      /* sums of squares of the gradient, one for each NN_NORM_PART_SIZE numbers */
    int contents;            /* as in nn_workspace_alloc */
    void *memory;            /* the block of memory; NULL if memory ran out */
    size_t size;             /* of the block, in bytes */
} NNWorkspace;

/* Flags for nn_workspace_alloc: the arrays to allocate in addition to the parameters and the activations. */
enum {
    NN_WORKSPACE_DELTAS = 1,      /* the backward pass: delta, wt, derivative_input */
    NN_WORKSPACE_GRADIENT = 2,    /* grad_w, grad_b */
    NN_WORKSPACE_STATE = 4,       /* m, v */
    NN_WORKSPACE_DROPOUT = 8,     /* dropout_mask */
    NN_WORKSPACE_INPUT_DELTA = 16, /* input_delta; with NN_WORKSPACE_DELTAS */
    NN_WORKSPACE_NORM = 32        /* norm_parts; with NN_WORKSPACE_GRADIENT */
};

/* Allocates a workspace and packs the parameters of nn into it. ws.memory is NULL if memory ran out.
 *
 * contents   a sum of NN_WORKSPACE_... flags
 * scaler     the scaler of the samples
 * num_kept   the number of samples if all of them are to be kept scaled, or 0 */
NNWorkspace nn_workspace_alloc(NeuralNetwork nn, const NNKernels *kernels, size_t block, int num_threads, int contents,
                               NNScaler scaler, size_t num_kept);
void nn_workspace_free(NNWorkspace *ws);

/* Does the same with the memory of *kept, a workspace of an earlier call for the same network and scaler, if it is large enough; if
 * not, frees that. *kept becomes empty. kept may be NULL. */
NNWorkspace nn_workspace_reuse(NNWorkspace *kept, NeuralNetwork nn, const NNKernels *kernels, size_t block, int num_threads,
                               int contents, NNScaler scaler, size_t num_kept);

/* The squared norm of the gradient is summed in parts, so that threads can share them without changing the order of the sum. Each
 * layer has parts for its weights and parts for its biases; this is the number of parts of `num` numbers. */
#define NN_NORM_PART_SIZE 4096
static inline size_t nn_num_norm_parts(size_t num)
{
    return nn_divide_up(num, NN_NORM_PART_SIZE);
}

/* nn_pack copies `flat` into the packed arrays that `what` names, nn_unpack copies them to `flat`. flat is
 * (nn_num_parameters(nn),), in the order of a NeuralNetwork. */
enum { NN_PACK_PARAMETERS, NN_PACK_GRADIENT, NN_PACK_M, NN_PACK_V };
void nn_pack(const NNWorkspace *ws, int what, const float *flat);
void nn_unpack(const NNWorkspace *ws, int what, float *flat);

/* Whether all parameters of the workspace are finite. */
int nn_parameters_finite(const NNWorkspace *ws);

#endif /* NN_WORKSPACE_H_ */
