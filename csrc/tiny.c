/* tiny.c: see tiny.h. It has the limits of a tiny network, the transposed copies of the samples, and the loop that polls the
 * monitor. */
#include "tiny.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "kernels/kernels.h"
#include "monitor.h"
#include "scaling.h"
#include "step.h"

#define MAX_WEIGHTS 90                     /* of the network; also the most neurons of a layer */
#define MAX_SAMPLES 64
#define MAX_PRODUCTS 1100                  /* the most weights times samples. With more, the panels of the engine are faster */
#define WORK_PER_POLL ((size_t)1 << 22)    /* multiply-adds, as nn_work_per_sample counts them */
#define WORK_PER_ITERATION 64              /* the overhead of an iteration, in multiply-adds */

/* Whether all steps have the same learning rate, the samples stay in their order, and no losses are reported. */
static int has_plain_options(const NNTrainOptions *options)
{
    return options->learning_rates == NULL && options->dropout == NULL && options->losses == NULL && !options->shuffle;
}

static int has_tiny_layers(NeuralNetwork nn, size_t num_samples)
{
    size_t num_weights = 0;
    if (nn.num_layers > NN_TINY_MAX_LAYERS) {
        return 0;
    }
    for (size_t l = 0; l < nn.num_layers; l++) {
        if (nn.archi[l] > MAX_WEIGHTS || nn.archi[l + 1] > MAX_WEIGHTS) {
            return 0;
        }
        if (nn.activation_functions[l] > NN_LINEAR) { /* only sigmoid, tanh, relu and linear */
            return 0;
        }
        num_weights += nn.archi[l] * nn.archi[l + 1];
    }
    return num_weights <= MAX_WEIGHTS && num_weights * num_samples <= MAX_PRODUCTS;
}

/* Whether all targets are there, and finite in float32 after scaling. */
static int has_finite_targets(const NNSamples *samples)
{
    const NNScaler *scaler = &samples->scaler;
    int is_finite = 1;
    for (size_t i = 0; i < nn_num_samples(samples); i++) {
        const float *y = nn_targets(samples, i);
        for (size_t j = 0; j < samples->y.cols; j++) {
            float target = scaler->y_mean == NULL ? y[j] : nn_scaled(y[j], scaler->y_mean[j], scaler->y_scale[j]);
            is_finite &= fabsf(target) <= FLT_MAX;
        }
    }
    return is_finite;
}

int nn_is_tiny(const NNTrainCall *call)
{
    const NNSamples *samples = &call->samples;
    size_t num = nn_num_samples(samples);
    return num <= MAX_SAMPLES && has_tiny_layers(call->nn, num) && call->nn.loss.kind == NN_MSE &&
           samples->sample_weights == NULL && call->options.batch_size >= num && nn_can_update_in_place(call->optimizer) &&
           has_plain_options(&call->options) && has_finite_targets(samples);
}

/* Writes row i of a table, scaled if mean is not NULL, to column i of `to`.
 *
 * row           (neurons,)
 * mean, scale   (neurons,), or NULL
 * to            (neurons, samples), rows `stride` apart */
static void write_column(const float *row, size_t num, const double *mean, const double *scale, float *to, size_t i, size_t stride)
{
    for (size_t j = 0; j < num; j++) {
        to[j * stride + i] = mean == NULL ? row[j] : nn_scaled(row[j], mean[j], scale[j]);
    }
}

/* Allocates one block of memory for activations, deltas and targets, with rows padded to a multiple of vector_length, points
 * `training` into it and copies the samples, scaled. Returns the block, or NULL if memory ran out. */
static float *allocate(NNTinyTraining *training, const NNTrainCall *call, size_t vector_length)
{
    NeuralNetwork nn = call->nn;
    size_t num_rows = nn.archi[nn.num_layers]; /* targets */
    float *memory, *place;
    training->stride = nn_round_up(training->num_samples, vector_length);
    for (size_t l = 0; l <= nn.num_layers; l++) {
        num_rows += 2 * nn.archi[l]; /* activations and deltas */
    }
    place = memory = (float *)calloc(num_rows * training->stride, sizeof(float));
    if (memory == NULL) {
        return NULL;
    }
    for (size_t l = 0; l <= nn.num_layers; l++) {
        training->activations[l] = place;
        training->deltas[l] = place + nn.archi[l] * training->stride;
        place += 2 * nn.archi[l] * training->stride;
    }
    for (size_t i = 0; i < training->num_samples; i++) {
        const NNSamples *s = &call->samples;
        write_column(nn_inputs(s, i), s->x.cols, s->scaler.x_mean, s->scaler.x_scale, training->activations[0], i, training->stride);
        write_column(nn_targets(s, i), s->y.cols, s->scaler.y_mean, s->scaler.y_scale, place, i, training->stride);
    }
    training->targets = place;
    return memory;
}

/* Trains in portions, and polls the monitor after each. Ends early once a parameter is not finite, because it would stay so. */
static int run_iterations(const NNTinyTraining *training, void (*train)(const NNTinyTraining *training, size_t iterations),
                          const NNKernels *kernels, size_t num_epochs, NNMonitor *monitor)
{
    size_t work = nn_work_per_sample(training->nn) * 3 * training->num_samples, num_parameters = nn_num_parameters(training->nn);
    size_t iterations_per_poll = WORK_PER_POLL / (work + WORK_PER_ITERATION) + 1;
    int code = NN_OK, is_finite = 1;
    while (code == NN_OK && is_finite && monitor->done < num_epochs) {
        size_t iterations = nn_min(num_epochs - monitor->done, iterations_per_poll);
        train(training, iterations);
        monitor->done = monitor->num_steps = monitor->done + iterations;
        code = nn_poll(monitor, iterations * work) ? NN_STOPPED : NN_OK;
        is_finite = kernels->all_finite(training->nn.weights[0].data, num_parameters);
    }
    return code;
}

int nn_train_tiny(const NNTrainCall *call, NNAttempt *attempt, NNMonitor *monitor)
{
    const NNKernels *kernels = nn_kernels_available(call->backend.isa);
    void (*train)(const NNTinyTraining *training, size_t iterations) = kernels->train_tiny;
    NeuralNetwork nn = call->nn;
    size_t num_samples = nn_num_samples(&call->samples), num_parameters = nn_num_parameters(nn);
    size_t vector_length = kernels->vector_length;
    NNTinyTraining training = {.nn = nn, .num_samples = num_samples,
                               .delta_scale = (float)(-2 * call->optimizer->learning_rate / (double)num_samples)};
    float *parameters = nn.weights[0].data, *memory, before[(NN_TINY_MAX_LAYERS + 1) * MAX_WEIGHTS];
    int code;

    attempt->is_finite = 1;
#if NN_HAS_TINY_128
    if (num_samples <= 4 && !kernels->is_slow) {
        train = nn_train_tiny_avx2_128;
        vector_length = 4;
    }
#endif
    memory = allocate(&training, call, vector_length);
    if (memory == NULL) {
        return NN_NO_MEMORY;
    }
    if (!kernels->all_finite(training.activations[0], nn.archi[0] * training.stride)) {
        free(memory);
        return NN_NOT_FINITE;
    }
    memcpy(before, parameters, num_parameters * sizeof(float));
    code = run_iterations(&training, train, kernels, nn_min(call->options.num_epochs, attempt->max_steps), monitor);
    attempt->is_finite = kernels->all_finite(parameters, num_parameters);
    if (!attempt->keeps_result || !attempt->is_finite) {
        memcpy(parameters, before, num_parameters * sizeof(float));
    }
    free(memory);
    return code;
}
