/* l2_penalty.h: the l2 penalty of the full-batch methods, lbfgs.c and levenberg_marquardt.c. (In nn_train the l2 penalty is part of
 * the parameter update; see kernels/kernels.h.) */
#ifndef NN_L2_PENALTY_H_
#define NN_L2_PENALTY_H_

#include "engine.h"

/* Returns the penalty: l2 / 2 times the sum of the squared weights, without the biases. */
double nn_l2_penalty(NeuralNetwork nn, double l2);

/* Adds the gradient of the penalty, l2 w for every weight w of nn, to grad. */
void nn_add_l2_gradient(NeuralNetwork nn, NeuralNetwork grad, double l2);

#endif /* NN_L2_PENALTY_H_ */
