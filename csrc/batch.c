/* batch.c: see batch.h. */
#include "batch.h"

#include <math.h>
#include <string.h>

/* Between two polls: about as many multiply-adds as take 5 to 20 ms. */
#define WORK_BETWEEN_POLLS ((size_t)1 << 24)

size_t nn_first_nonfinite(Matrix m)
{
    for (size_t i = 0; i < m.rows; i++) {
        const float *row = &MAT_AT(m, i, 0);
        int finite = 1;
        for (size_t j = 0; j < m.cols; j++) { /* without a branch, so that it vectorises */
            finite &= fabsf(row[j]) < INFINITY;
        }
        for (size_t j = 0; !finite; j++) {
            if (!(fabsf(row[j]) < INFINITY)) {
                return i * m.cols + j;
            }
        }
    }
    return m.rows * m.cols;
}

/* A network with nn's parameters, not a copy of them, and activations of its own. */
static NeuralNetwork share(NeuralNetwork nn)
{
    NeuralNetwork own = nn_alloc(nn.archi, nn.num_layers);
    if (own.archi != NULL) {
        memcpy(own.weights, nn.weights, nn.num_layers * sizeof(Matrix));
        memcpy(own.biases, nn.biases, nn.num_layers * sizeof(Matrix));
    }
    return own;
}

/* A network with parameters of its own, the same as nn's. */
static NeuralNetwork copy(NeuralNetwork nn)
{
    NeuralNetwork own = nn_alloc(nn.archi, nn.num_layers);
    if (own.archi != NULL) {
        memcpy(own.weights[0].data, nn.weights[0].data, nn_num_parameters(nn) * sizeof(float));
    }
    return own;
}

/* Counts a sample's work; not 0 if the monitor wants to stop. The work is in multiply-adds: three per weight, for the forward
 * and the backward pass, and a sigmoid is worth some thirty. */
static int stopped(NNMonitor *monitor, NeuralNetwork nn)
{
    for (size_t l = 0; l < nn.num_layers; l++) {
        monitor->work += (3 * nn.archi[l] + 30) * nn.archi[l + 1];
    }
    if (monitor->work < WORK_BETWEEN_POLLS) {
        return 0;
    }
    monitor->work = 0;
    return monitor->poll(monitor->context, monitor->done);
}

int nn_batch_forward(NeuralNetwork nn, Matrix in, Matrix out, NNMonitor *monitor)
{
    NeuralNetwork own = share(nn);
    int code = own.archi == NULL ? NN_NO_MEMORY : NN_OK;
    for (size_t i = 0; i < in.rows && code == NN_OK; i++) {
        mat_cpy(NN_INPUT(own), mat_row(in, i));
        nn_forward(own);
        mat_cpy(mat_row(out, i), NN_OUTPUT(own));
        code = stopped(monitor, own) ? NN_STOPPED : NN_OK;
    }
    nn_free(own);
    return code;
}

/* nn_mse, nn_backpropagation and nn_finite_diff of nn.h with a monitor. `own` is written to. */

static int mse(NeuralNetwork own, Matrix in, Matrix out, float *result, NNMonitor *monitor)
{
    float cost = 0.0f;
    for (size_t i = 0; i < in.rows; i++) {
        cost += nn_sample_cost(own, mat_row(in, i), mat_row(out, i));
        if (stopped(monitor, own)) {
            return NN_STOPPED;
        }
    }
    *result = cost / (float)in.rows;
    return NN_OK;
}

static int backpropagation(NeuralNetwork own, NeuralNetwork grad, Matrix in, Matrix out, NNMonitor *monitor)
{
    nn_fill(grad, 0.0f);
    for (size_t i = 0; i < in.rows; i++) {
        nn_sample_backpropagation(own, grad, mat_row(in, i), mat_row(out, i));
        if (stopped(monitor, own)) {
            return NN_STOPPED;
        }
    }
    nn_average(grad, in.rows);
    return NN_OK;
}

/* own's parameters are changed one at a time, and lie one after another as do grad's. */
static int finite_diff(NeuralNetwork own, NeuralNetwork grad, float eps, Matrix in, Matrix out, NNMonitor *monitor)
{
    float *parameters = own.weights[0].data, *derivatives = grad.weights[0].data;
    size_t num_parameters = nn_num_parameters(own);
    float cost, changed_cost;
    int code = mse(own, in, out, &cost, monitor);
    for (size_t p = 0; p < num_parameters && code == NN_OK; p++) {
        float saved = parameters[p];
        parameters[p] += eps;
        code = mse(own, in, out, &changed_cost, monitor);
        parameters[p] = saved;
        if (code == NN_OK) {
            derivatives[p] = (changed_cost - cost) / eps;
        }
    }
    return code;
}

int nn_batch_mse(NeuralNetwork nn, Matrix in, Matrix out, float *result, NNMonitor *monitor)
{
    NeuralNetwork own = share(nn);
    int code = own.archi == NULL ? NN_NO_MEMORY : mse(own, in, out, result, monitor);
    nn_free(own);
    return code;
}

int nn_batch_backpropagation(NeuralNetwork nn, NeuralNetwork grad, Matrix in, Matrix out, NNMonitor *monitor)
{
    NeuralNetwork own = share(nn);
    int code = own.archi == NULL ? NN_NO_MEMORY : backpropagation(own, grad, in, out, monitor);
    nn_free(own);
    return code;
}

int nn_batch_finite_diff(NeuralNetwork nn, NeuralNetwork grad, float eps, Matrix in, Matrix out, NNMonitor *monitor)
{
    NeuralNetwork own = copy(nn); /* others may be reading nn */
    int code = own.archi == NULL ? NN_NO_MEMORY : finite_diff(own, grad, eps, in, out, monitor);
    nn_free(own);
    return code;
}

int nn_batch_gradient_descent(NeuralNetwork nn, float rate, float eps, Matrix in, Matrix out, size_t iterations,
                              NNMonitor *monitor)
{
    NeuralNetwork own = eps != 0.0f ? copy(nn) : share(nn);
    NeuralNetwork grad = nn_alloc(nn.archi, nn.num_layers);
    int code = own.archi == NULL || grad.archi == NULL ? NN_NO_MEMORY : NN_OK;
    while (code == NN_OK && monitor->done < iterations) {
        code = eps != 0.0f ? finite_diff(own, grad, eps, in, out, monitor)
                           : backpropagation(own, grad, in, out, monitor);
        if (code == NN_OK) {
            nn_descend(nn, grad, rate);
            if (eps != 0.0f) {
                nn_descend(own, grad, rate);
            }
            monitor->done++;
        }
    }
    nn_free(grad);
    nn_free(own);
    return code;
}
