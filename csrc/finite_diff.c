/* finite_diff.c: the finite differences of nn.h with a monitor, which can stop them: nn_finite_diff_gradient and
 * nn_finite_diff_descent of engine.h. They use the functions of nn.h and are slow; they serve to check gradients and to follow the
 * blog post. */
#include <string.h>

#include "ieee754.h"
#include "monitor.h"

#define SCALAR_WORK 4 /* how many times longer a multiply-add of nn.h takes than one of the vectorised kernels */

/* Returns a copy of nn with its own parameters; its archi is NULL if memory ran out. */
static NeuralNetwork copy_network(NeuralNetwork nn)
{
    NeuralNetwork copy = nn_alloc(nn.archi, nn.num_layers);
    if (copy.archi != NULL) {
        memcpy(copy.weights[0].data, nn.weights[0].data, nn_num_parameters(nn) * sizeof(float));
        memcpy(copy.activation_functions, nn.activation_functions, nn.num_layers * sizeof(int));
        copy.loss = nn.loss;
    }
    return copy;
}

/* nn_cost of nn.h with a monitor: *loss is the loss averaged over the samples. Returns a code.
 *
 * in, out   (n, inputs) and (n, outputs): inputs and targets */
static int mean_loss(NeuralNetwork nn, Matrix in, Matrix out, float *loss, NNMonitor *monitor)
{
    float sum = 0.0f;
    size_t work = SCALAR_WORK * nn_work_per_sample(nn);
    for (size_t i = 0; i < in.rows; i++) {
        sum += nn_sample_cost(nn, mat_row(in, i), mat_row(out, i));
        if (nn_poll(monitor, work)) {
            return NN_STOPPED;
        }
    }
    *loss = sum / (float)in.rows;
    return NN_OK;
}

/* nn_finite_diff of nn.h with a monitor. Changes one parameter of nn at a time and restores it. Returns a code.
 *
 * in, out   (n, inputs) and (n, outputs): inputs and targets */
static int finite_differences(NeuralNetwork nn, NeuralNetwork grad, float eps, Matrix in, Matrix out, NNMonitor *monitor)
{
    float *parameters = nn.weights[0].data, *derivatives = grad.weights[0].data;
    size_t num_parameters = nn_num_parameters(nn);
    float loss, changed_loss;
    int code = mean_loss(nn, in, out, &loss, monitor);
    for (size_t p = 0; p < num_parameters && code == NN_OK; p++) {
        float saved = parameters[p];
        parameters[p] += eps;
        code = mean_loss(nn, in, out, &changed_loss, monitor);
        parameters[p] = saved;
        if (code == NN_OK) {
            derivatives[p] = (changed_loss - loss) / eps;
        }
    }
    return code;
}

static NN_NOINLINE int gradient(NeuralNetwork nn, NeuralNetwork grad, float eps, Matrix in, Matrix out, NNMonitor *monitor)
{
    NeuralNetwork copy = copy_network(nn); /* other threads may be reading nn */
    int code = copy.archi == NULL ? NN_NO_MEMORY : finite_differences(copy, grad, eps, in, out, monitor);
    nn_free(copy);
    return code;
}

int nn_finite_diff_gradient(NeuralNetwork nn, NeuralNetwork grad, float eps, Matrix in, Matrix out, NNMonitor *monitor)
{
    NNFloatEnvironment caller = nn_enter_float_environment();
    int code = gradient(nn, grad, eps, in, out, monitor);
    nn_leave_float_environment(caller);
    return code;
}

static NN_NOINLINE int descend(NeuralNetwork nn, float rate, float eps, Matrix in, Matrix out, size_t iterations,
                               NNMonitor *monitor)
{
    NeuralNetwork copy = copy_network(nn); /* a stopped call must leave nn after a whole number of steps */
    NeuralNetwork grad = nn_alloc(nn.archi, nn.num_layers);
    int code = copy.archi == NULL || grad.archi == NULL ? NN_NO_MEMORY : NN_OK;
    while (code == NN_OK && monitor->done < iterations) {
        code = finite_differences(copy, grad, eps, in, out, monitor);
        if (code == NN_OK) {
            nn_descend(nn, grad, rate);
            nn_descend(copy, grad, rate);
            monitor->done++;
        }
    }
    nn_free(grad);
    nn_free(copy);
    return code;
}

int nn_finite_diff_descent(NeuralNetwork nn, float rate, float eps, Matrix in, Matrix out, size_t iterations, NNMonitor *monitor)
{
    NNFloatEnvironment caller = nn_enter_float_environment();
    int code = descend(nn, rate, eps, in, out, iterations, monitor);
    nn_leave_float_environment(caller);
    return code;
}
