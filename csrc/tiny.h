/* tiny.h: training of networks that are so small that the panels and tiles of the engine would be mostly padding, such as XOR's
 * 2-2-1. For train.c; the inner loops are in kernels/tiny_impl.h. */
#ifndef NN_TINY_H_
#define NN_TINY_H_

#include "engine.h"

/* The arguments of a call of nn_train. */
typedef struct {
    NeuralNetwork nn;
    NNSamples samples;
    NNOptimizer *optimizer;
    NNTrainOptions options;
    NNBackend backend;
} NNTrainCall;

/* What an attempt at a training may do, and how it went. */
typedef struct {
    size_t max_steps;
    int keeps_result; /* whether the network and the optimiser receive the result, if it is finite */
    int is_finite;    /* written: whether all parameters are finite afterwards */
} NNAttempt;

/* Whether nn_train_tiny can do this training: plain full-batch gradient descent on the squared error of a small network. */
int nn_is_tiny(const NNTrainCall *call);

/* Takes up to attempt->max_steps steps, for calls that are tiny. Returns a code of engine.h. */
int nn_train_tiny(const NNTrainCall *call, NNAttempt *attempt, NNMonitor *monitor);

#endif /* NN_TINY_H_ */
