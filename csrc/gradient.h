/* gradient.h: the gradient of the loss over all samples, once or at one point after another with the same memory. */
#ifndef NN_GRADIENT_H_
#define NN_GRADIENT_H_

#include "step.h"

typedef struct {
    NNStepContext step;
    double sum_losses;
    int num_threads;
} NNGradient;

/* Allocates the memory for gradients of nn over the samples. Returns NN_OK or NN_NO_MEMORY.
 *
 * input_grad    as in nn_gradient
 * is_repeated   whether there will be many gradients: then samples that have to be scaled and are few are scaled once */
int nn_gradient_alloc(NNGradient *g, NeuralNetwork nn, NNSamples samples, Matrix input_grad, int is_repeated, NNBackend backend,
                      NNMonitor *monitor);
void nn_gradient_free(NNGradient *g);

/* Computes the gradient at the parameters in g->step.ws: those of the network when the memory was allocated, or what nn_pack put
 * there. Arguments and codes are those of nn_gradient; inputs are checked for NaN and infinity in the first call. */
int nn_gradient_compute(NNGradient *g, NeuralNetwork grad, double *loss);

#endif /* NN_GRADIENT_H_ */
