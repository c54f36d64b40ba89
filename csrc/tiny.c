/* tiny.c: see tiny.h; the loops are in kernel_tiny.h. */
#include "tiny.h"

#include <string.h>

#include "kernels.h"
#include "plan.h"

#define MAX_WEIGHTS 256
#define MAX_SAMPLES 64
#define LONGEST_VECTOR 16

#if defined(__x86_64__) && defined(__GNUC__)
void nn_descend_tiny_fma4(const NNTiny *tiny, size_t iterations);
#endif

int nn_is_tiny(NeuralNetwork nn, NNSamples samples, const NNOptimizer *optimizer, const NNSchedule *schedule)
{
    size_t num_weights = 0;
    if (nn.num_layers > NN_TINY_LAYERS || nn.functions[nn.num_layers - 1] == NN_SOFTMAX || samples.y.data == NULL) {
        return 0;
    }
    for (size_t l = 0; l < nn.num_layers; l++) {
        if (nn.archi[l] > MAX_WEIGHTS || nn.archi[l + 1] > MAX_WEIGHTS) {
            return 0;
        }
        num_weights += nn.archi[l] * nn.archi[l + 1];
    }
    return num_weights <= MAX_WEIGHTS && samples.x.rows <= MAX_SAMPLES && optimizer->kind == NN_GRADIENT_DESCENT &&
           schedule->batch_size >= samples.x.rows && !schedule->shuffle && schedule->costs == NULL;
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

int nn_train_tiny(NeuralNetwork nn, NNSamples samples, NNOptimizer *optimizer, NNSchedule schedule, NNMachine machine,
                  NNMonitor *monitor)
{
    const NNKernels *kernels = nn_kernels_available(machine.isa);
    void (*descend)(const NNTiny *tiny, size_t iterations) = kernels->descend_tiny;
    NNTiny tiny = {.nn = nn, .num_samples = samples.x.rows, .scale = (float)(-2 * optimizer->rate / (double)samples.x.rows)};
    size_t num_units = nn.archi[nn.num_layers], lanes = LONGEST_VECTOR, work = nn_work(nn) * 3 * samples.x.rows;
    size_t iterations_per_poll = ((size_t)1 << 22) / (work + 64) + 1;
    float *memory, *at;
    int code = NN_OK;

#if defined(__x86_64__) && defined(__GNUC__)
    if (samples.x.rows <= 4 && !kernels->is_slow) {
        descend = nn_descend_tiny_fma4;
        lanes = 4;
    }
#endif
    if (nn_first_nonfinite(samples.x) < samples.x.rows * samples.x.cols) {
        return NN_NOT_FINITE;
    }
    tiny.stride = (samples.x.rows + lanes - 1) / lanes * lanes;
    for (size_t l = 0; l <= nn.num_layers; l++) {
        num_units += 2 * nn.archi[l];
    }
    memory = (float *)calloc(num_units * tiny.stride, sizeof(float));
    if (memory == NULL) {
        return NN_NO_MEMORY;
    }
    at = memory;
    for (size_t l = 0; l <= nn.num_layers; l++) {
        tiny.activations[l] = at;
        tiny.deltas[l] = at + nn.archi[l] * tiny.stride;
        at += 2 * nn.archi[l] * tiny.stride;
    }
    turn(samples.x, tiny.activations[0], tiny.stride);
    turn(samples.y, at, tiny.stride);
    tiny.targets = at;
    while (code == NN_OK && monitor->done < schedule.num_epochs) {
        size_t left = schedule.num_epochs - monitor->done, now = left < iterations_per_poll ? left : iterations_per_poll;
        descend(&tiny, now);
        monitor->done += now;
        code = nn_poll(monitor, now * work) ? NN_STOPPED : NN_OK;
    }
    free(memory);
    return code;
}
