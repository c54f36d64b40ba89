/* tiny.h: training of networks so small that the engine's panels and tiles would be mostly padding. For train.c. */
#ifndef NN_TINY_H_
#define NN_TINY_H_

#include "engine.h"

/* The arguments of nn_train. */
typedef struct {
    NeuralNetwork nn;
    NNSamples samples;
    NNOptimizer *optimizer;
    NNTrainOptions options;
    NNBackend backend;
} NNTraining;

/* It depends on the shapes, the functions and what is asked for. */
int nn_is_tiny(const NNTraining *call);

/* Takes `limit` steps at the most, for what nn_is_tiny says is tiny. The network is changed if `keep` says so and the parameters
 * are finite, as *finite then says. */
int nn_attempt_tiny(const NNTraining *call, size_t limit, int keep, int *finite, NNMonitor *monitor);

#endif /* NN_TINY_H_ */
