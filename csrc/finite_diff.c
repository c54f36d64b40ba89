/* differences.c: the finite differences of nn.h, by its own functions, for a caller that wants a say in whether to go on. See
 * engine.h. They are there to check gradients with, and for the sake of the post: there is no fast way to do so slow a thing. */
#include <string.h>

#include "workspace.h"

/* A network with parameters of its own, the same as nn's. */
static NeuralNetwork copy(NeuralNetwork nn)
{
    NeuralNetwork own = nn_alloc(nn.archi, nn.num_layers);
    if (own.archi != NULL) {
        memcpy(own.weights[0].data, nn.weights[0].data, nn_num_parameters(nn) * sizeof(float));
        memcpy(own.activation_functions, nn.activation_functions, nn.num_layers * sizeof(int));
        own.loss = nn.loss;
    }
    return own;
}

/* nn_cost of nn.h with a monitor. */
static int cost_of(NeuralNetwork own, Matrix in, Matrix out, float *result, NNMonitor *monitor)
{
    float cost = 0.0f;
    size_t work = 4 * nn_work(own); /* one number at a time takes longer than the engine's vectors */
    for (size_t i = 0; i < in.rows; i++) {
        cost += nn_sample_cost(own, mat_row(in, i), mat_row(out, i));
        if (nn_poll(monitor, work)) {
            return NN_STOPPED;
        }
    }
    *result = cost / (float)in.rows;
    return NN_OK;
}

/* own's parameters are changed one at a time, and lie one after another as do grad's. */
static int differences(NeuralNetwork own, NeuralNetwork grad, float eps, Matrix in, Matrix out, NNMonitor *monitor)
{
    float *parameters = own.weights[0].data, *derivatives = grad.weights[0].data;
    size_t num_parameters = nn_num_parameters(own);
    float cost, changed_cost;
    int code = cost_of(own, in, out, &cost, monitor);
    for (size_t p = 0; p < num_parameters && code == NN_OK; p++) {
        float saved = parameters[p];
        parameters[p] += eps;
        code = cost_of(own, in, out, &changed_cost, monitor);
        parameters[p] = saved;
        if (code == NN_OK) {
            derivatives[p] = (changed_cost - cost) / eps;
        }
    }
    return code;
}

int nn_finite_diff_gradient(NeuralNetwork nn, NeuralNetwork grad, float eps, Matrix in, Matrix out, NNMonitor *monitor)
{
    NeuralNetwork own = copy(nn); /* others may be reading nn */
    int code = own.archi == NULL ? NN_NO_MEMORY : differences(own, grad, eps, in, out, monitor);
    nn_free(own);
    return code;
}

int nn_finite_diff_descent(NeuralNetwork nn, float rate, float eps, Matrix in, Matrix out, size_t iterations,
                              NNMonitor *monitor)
{
    NeuralNetwork own = copy(nn);
    NeuralNetwork grad = nn_alloc(nn.archi, nn.num_layers);
    int code = own.archi == NULL || grad.archi == NULL ? NN_NO_MEMORY : NN_OK;
    while (code == NN_OK && monitor->done < iterations) {
        code = differences(own, grad, eps, in, out, monitor);
        if (code == NN_OK) {
            nn_descend(nn, grad, rate);
            nn_descend(own, grad, rate);
            monitor->done++;
        }
    }
    nn_free(grad);
    nn_free(own);
    return code;
}
