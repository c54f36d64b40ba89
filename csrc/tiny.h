/* tiny.h: training of networks so small that the engine's panels and tiles would be mostly padding. For train.c. */
#ifndef NN_TINY_H_
#define NN_TINY_H_

#include "engine.h"

/* It depends on the shapes, the functions and what is asked for. */
int nn_is_tiny(NeuralNetwork nn, NNSamples samples, const NNOptimizer *optimizer, const NNSchedule *schedule);

/* nn_train, for what nn_is_tiny says is tiny. */
int nn_train_tiny(NeuralNetwork nn, NNSamples samples, NNOptimizer *optimizer, NNSchedule schedule, NNMachine machine,
                  NNMonitor *monitor);

#endif /* NN_TINY_H_ */
