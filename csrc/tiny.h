/* tiny.h: training of networks that are so small that the panels and tiles of the engine would be mostly padding, such as XOR's
 * 2-2-1. train.c calls it; the inner loops are in kernels/tiny_impl.h. */
#ifndef NN_TINY_H_
#define NN_TINY_H_

#include "workspace.h"

/* The arguments of a call of nn_train. */
typedef struct {
    NeuralNetwork nn;
    NNSamples samples;
    NNOptimizer *optimizer;
    NNTrainOptions options;
    NNBackend backend;
    NNWorkspace *kept; /* a workspace of an earlier call for the same network, or an empty one; NULL if none is kept */
} NNTrainCall;

/* One run of the training loop. A call that diverges takes several: train.c repeats it with fewer steps until it has found the last
 * finite parameters. */
typedef struct {
    size_t max_steps; /* the run ends after so many steps */
    int keeps_result; /* whether the network and the optimiser receive the result, if it is finite */
    int is_finite;    /* written: whether all parameters are finite after the run */
} NNAttempt;

/* Whether nn_train_tiny can handle this call: plain full-batch gradient descent on the squared error of a small network. */
int nn_is_tiny(const NNTrainCall *call);

/* Trains from the parameters of the network, for up to attempt->max_steps steps. The call must be tiny. Returns a code of
 * engine.h. */
int nn_train_tiny(const NNTrainCall *call, NNAttempt *attempt, NNMonitor *monitor);

#endif /* NN_TINY_H_ */
