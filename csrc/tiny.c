/* tiny.c: see tiny.h; the loops are in tiny_impl.h. */
#include "tiny.h"

#include <string.h>

#include "kernels/kernels.h"
#include "workspace.h"

#define MAX_WEIGHTS 256
#define MAX_SAMPLES 64
#define LONGEST_VECTOR 16

#if defined(__x86_64__) && defined(__GNUC__)
void nn_train_tiny_avx2_128(const NNTiny *tiny, size_t iterations);
#endif

/* The same rate in each step, on all samples as they are, and no word of the cost. */
static int is_simple(const NNTrainOptions *options)
{
    return options->learning_rates == NULL && options->dropout == NULL && options->losses == NULL && !options->shuffle;
}

int nn_is_tiny(const NNTraining *call)
{
    NeuralNetwork nn = call->nn;
    size_t num_weights = 0;
    if (nn.num_layers > NN_TINY_LAYERS || nn.loss.kind != NN_MSE || call->samples.sample_weights != NULL) {
        return 0;
    }
    for (size_t l = 0; l < nn.num_layers; l++) {
        if (nn.archi[l] > MAX_WEIGHTS || nn.archi[l + 1] > MAX_WEIGHTS) {
            return 0;
        }
        if (nn.activation_functions[l] > NN_LINEAR) { /* neither sigmoid, tanh, relu nor linear */
            return 0;
        }
        num_weights += nn.archi[l] * nn.archi[l + 1];
    }
    return num_weights <= MAX_WEIGHTS && call->samples.x.rows <= MAX_SAMPLES &&
           call->options.batch_size >= call->samples.x.rows && nn_is_plain(call->optimizer) && is_simple(&call->options) &&
           nn_first_nonfinite(call->samples.y) == call->samples.y.rows * call->samples.y.cols; /* no target is missing */
}

/* Units as rows, samples next to each other. */
static void turn(Matrix from, float *to, size_t stride)
{
    for (size_t i = 0; i < from.rows; i++) {
        for (size_t j = 0; j < from.cols; j++) {
            to[j * stride + i] = MAT_AT(from, i, j);
        }
    }
}

/* Where everything lies, in one block; NULL if there is no memory for it. */
static float *lay_out(NNTiny *tiny, const NNTraining *call, size_t lanes)
{
    NeuralNetwork nn = call->nn;
    size_t num_units = nn.archi[nn.num_layers];
    float *memory, *at;
    tiny->stride = (tiny->num_samples + lanes - 1) / lanes * lanes;
    for (size_t l = 0; l <= nn.num_layers; l++) {
        num_units += 2 * nn.archi[l];
    }
    at = memory = (float *)calloc(num_units * tiny->stride, sizeof(float));
    if (memory == NULL) {
        return NULL;
    }
    for (size_t l = 0; l <= nn.num_layers; l++) {
        tiny->activations[l] = at;
        tiny->deltas[l] = at + nn.archi[l] * tiny->stride;
        at += 2 * nn.archi[l] * tiny->stride;
    }
    turn(call->samples.x, tiny->activations[0], tiny->stride);
    turn(call->samples.y, at, tiny->stride);
    tiny->targets = at;
    return memory;
}

int nn_attempt_tiny(const NNTraining *call, size_t limit, int keep, int *finite, NNMonitor *monitor)
{
    const NNKernels *kernels = nn_kernels_available(call->backend.isa);
    void (*descend)(const NNTiny *tiny, size_t iterations) = kernels->descend_tiny;
    NeuralNetwork nn = call->nn;
    size_t num = call->samples.x.rows, lanes = LONGEST_VECTOR, work = nn_work(nn) * 3 * num;
    size_t num_epochs = call->options.num_epochs < limit ? call->options.num_epochs : limit;
    size_t iterations_per_poll = ((size_t)1 << 22) / (work + 64) + 1, num_parameters = nn_num_parameters(nn);
    NNTiny tiny = {.nn = nn, .num_samples = num, .scale = (float)(-2 * call->optimizer->learning_rate / (double)num)};
    float *parameters = nn.weights[0].data, *memory, before[(NN_TINY_LAYERS + 1) * MAX_WEIGHTS];
    int code = NN_OK;

    *finite = 1;
#if defined(__x86_64__) && defined(__GNUC__)
    if (num <= 4 && !kernels->is_slow) {
        descend = nn_train_tiny_avx2_128;
        lanes = 4;
    }
#endif
    if (nn_first_nonfinite(call->samples.x) < num * call->samples.x.cols) {
        return NN_NOT_FINITE;
    }
    memory = lay_out(&tiny, call, lanes);
    if (memory == NULL) {
        return NN_NO_MEMORY;
    }
    memcpy(before, parameters, num_parameters * sizeof(float));
    while (code == NN_OK && monitor->done < num_epochs) {
        size_t left = num_epochs - monitor->done, now = left < iterations_per_poll ? left : iterations_per_poll;
        descend(&tiny, now);
        monitor->done = monitor->num_steps = monitor->done + now;
        code = nn_poll(monitor, now * work) ? NN_STOPPED : NN_OK;
        if (!kernels->are_finite(parameters, num_parameters)) {
            break; /* it stays so */
        }
    }
    *finite = kernels->are_finite(parameters, num_parameters);
    if (!keep || !*finite) {
        memcpy(parameters, before, num_parameters * sizeof(float));
    }
    free(memory);
    return code;
}
