/* batch.h: the calls of nn.h for a caller that is not a C program.
 *
 * They compute what nn.h computes, by its own functions. What they add: activations of their own for each call, so that many
 * threads may read one network at once; error codes; and a monitor that is asked every few milliseconds whether to go on.
 * The caller has checked the shapes. An input matrix is never written to. */
#ifndef NN_BATCH_H_
#define NN_BATCH_H_

#include "nn.h"

enum { NN_STOPPED = 2 }; /* the monitor said so; beside NN_OK and NN_NO_MEMORY */

/* poll is called with the whole iterations done so far; anything but 0 stops the call. work is batch.c's own. */
typedef struct {
    int (*poll)(void *context, size_t done);
    void *context;
    size_t done;
    size_t work;
} NNMonitor;

/* The first element, counted row by row, that is infinite or NaN; rows * cols where there is none. */
size_t nn_first_nonfinite(Matrix m);

/* out: in.rows x outputs. */
int nn_batch_forward(NeuralNetwork nn, Matrix in, Matrix out, NNMonitor *monitor);

int nn_batch_mse(NeuralNetwork nn, Matrix in, Matrix out, float *mse, NNMonitor *monitor);

/* The two gradients. After anything but NN_OK grad holds no meaning. */
int nn_batch_backpropagation(NeuralNetwork nn, NeuralNetwork grad, Matrix in, Matrix out, NNMonitor *monitor);
int nn_batch_finite_diff(NeuralNetwork nn, NeuralNetwork grad, float eps, Matrix in, Matrix out, NNMonitor *monitor);

/* Gradient descent by backpropagation or, where eps is not 0, by finite differences. Whatever it returns, nn is in the state
 * after monitor->done whole iterations. */
int nn_batch_gradient_descent(NeuralNetwork nn, float rate, float eps, Matrix in, Matrix out, size_t iterations,
                              NNMonitor *monitor);

#endif /* NN_BATCH_H_ */
