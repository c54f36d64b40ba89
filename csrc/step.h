/* step.h: one training step, or one computation of the gradient, by a team of threads. train.c and gradient.c call it.
 *
 * A step goes through phases with a barrier after each: the forward pass, layer by layer; the output layer with its loss, beside
 * the transposes of the weights; the backward pass, where each layer computes the delta of the layer before it, then its gradient
 * and the parameter update. Within a phase the threads divide the tiles of the results, never a sum. A mini-batch that is larger
 * than the workspace's block goes through the phases in blocks. */
#ifndef NN_STEP_H_
#define NN_STEP_H_

#include "team.h"
#include "workspace.h"

/* What the threads of a call of nn_train or nn_gradient share. */
typedef struct {
    NNWorkspace ws;
    NNSamples samples;
    NNMonitor *monitor;
    size_t *order;          /* (n,): the shuffled order of the samples; NULL without shuffling */
    int updates_parameters; /* 0 if only the gradient is wanted */
    int updates_in_place;   /* the gradient is added to the parameters directly; see nn_can_update_in_place */
    double clip_norm;       /* the largest norm of the gradient, or 0 for no clipping */
    NNUpdateConstants weight_update, bias_update; /* written by thread 0 before a step */
    const double *dropout;  /* (hidden layers,): drop probabilities, or NULL */
    uint64_t dropout_seed;  /* a new one for each epoch */
    Matrix input_grad;      /* (n, inputs): dC/dx, written if it has data */
    int checks_inputs;      /* whether to check the inputs for NaN and infinity: only in the first epoch */
    int stop_code;          /* NN_OK, or the code with which to stop; written by thread 0 between two barriers */
    int has_nonfinite_input; /* set by any thread */
    int has_diverged;       /* a loss is not finite; set by any thread */
} NNStepContext;

/* The samples order[first], ..., order[first + size - 1]. */
typedef struct {
    size_t first, size;
    float delta_scale; /* the factor of dC_i/dz (of half of dC_i/dz for NN_MSE); 1 / size, for example */
} NNMiniBatch;

/* Whether the update is plain gradient descent, w -= learning_rate g and nothing else. If so, the factor -learning_rate is part of
 * the deltas, and the gradient of the last block is added to the parameters directly. */
int nn_can_update_in_place(const NNOptimizer *optimizer);

/* The factor of dC_i/dz in a mini-batch of batch_size samples: 1 / batch_size, times -learning_rate for an update in place, and
 * times 2 for the squared error, because the kernel leaves that factor out of its derivative. */
float nn_delta_scale(const NNStepContext *context, size_t batch_size, double learning_rate);

/* Returns the number of samples to process together: batch_size, or fewer if polls would be too rare. */
size_t nn_choose_block(NeuralNetwork nn, size_t batch_size, const NNKernels *kernels);

/* Takes one step on a mini-batch, or computes its gradient if context->updates_parameters is 0. Every thread of the team calls it.
 * Thread 0 adds the losses of the samples to *sum_losses unless that is NULL. Returns 0; or 1 if the call has to stop
 * (context->stop_code, or a loss that is not finite), and then the parameters are those before the step. */
int nn_take_step(NNStepContext *context, NNMiniBatch batch, double *sum_losses, NNTeam *team, int thread_index);

#endif /* NN_STEP_H_ */
