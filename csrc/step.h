/* step.h: one step of training, or the gradient, by a team of threads. For train.c and the files that need a gradient.
 *
 * A step goes through phases with a barrier after each: forward through every layer; the cost, the delta of the output and, beside
 * it, the transposed weights; then backward, for every layer the delta of the layer before it and the update of its parameters.
 * In a phase the threads share the tiles of what it computes, always the same ones for the same shape, so that weights stay in the
 * cache of the thread that last changed them. */
#ifndef NN_PHASES_H_
#define NN_PHASES_H_

#include "workspace.h"
#include "team.h"

/* A call to nn_train or nn_gradient, as its threads see it. */
typedef struct {
    NNWorkspace plan;
    NNSamples samples;
    NNMonitor *monitor;
    size_t *order;          /* of the samples, where they are shuffled; else NULL */
    int takes_steps;        /* not if only the gradient is wanted */
    int is_direct;          /* a step of plain gradient descent: the products go into the parameters at once */
    double clip;            /* the largest norm of the gradient, or 0 */
    NNStep step, bias_step; /* written by thread 0 before a step */
    const double *dropout;  /* of each hidden layer, or NULL */
    uint64_t dropout_seed;  /* of the epoch */
    Matrix input_grad;      /* the gradient by the inputs, where it has data */
    int stop;               /* a code, written by thread 0 between two barriers, read by all after */
    int unchecked;          /* whether inputs are still to be looked at: in the first epoch */
    int not_finite;         /* an input, written by any thread that sees one */
    int diverged;           /* the cost of a sample is not finite, written by any thread that sees one */
} Training;

/* One step: `size` samples of the order from `first` on, in blocks. */
typedef struct {
    size_t first, size;
    float scale; /* of the delta: what dC_i/dz is multiplied with, or half of that for the squared error */
} Step;

/* By all threads of the team. Not 0 if the call is to stop, for t->stop or because the cost is not finite; the parameters are as
 * before the step then. *cost, if it is not NULL, is added to by thread 0. */
int nn_do_step(Training *t, Step step, double *cost, NNTeam *team, int number);

/* A thread's share of the weights' transposes, of all layers that have room for one. */
void nn_transpose_weights(const NNWorkspace *plan, int number, int team_size);

#endif /* NN_PHASES_H_ */
