/* l2_penalty.c: see l2_penalty.h. */
#include "l2_penalty.h"

double nn_l2_penalty(NeuralNetwork nn, double l2)
{
    double sum_squares = 0;
    for (size_t l = 0; l < nn.num_layers && l2 > 0; l++) {
        for (size_t i = 0; i < nn.archi[l] * nn.archi[l + 1]; i++) {
            sum_squares += (double)nn.weights[l].data[i] * (double)nn.weights[l].data[i];
        }
    }
    return l2 / 2 * sum_squares;
}

void nn_add_l2_gradient(NeuralNetwork nn, NeuralNetwork grad, double l2)
{
    for (size_t l = 0; l < nn.num_layers && l2 > 0; l++) {
        for (size_t i = 0; i < nn.archi[l] * nn.archi[l + 1]; i++) {
            grad.weights[l].data[i] += (float)(l2 * (double)nn.weights[l].data[i]);
        }
    }
}
