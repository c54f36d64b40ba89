/* monitor.c: see monitor.h. */
#include "monitor.h"

#define WORK_BETWEEN_POLLS ((size_t)1 << 24) /* multiply-adds: 1 to 10 ms */
#define WORK_OF_FEW ((size_t)1 << 21)        /* multiply-adds */
#define WORK_PER_ACTIVATION 10               /* an exponential costs about as much as 10 multiply-adds */

size_t nn_work_per_sample(NeuralNetwork nn)
{
    size_t work = 0;
    for (size_t l = 0; l < nn.num_layers; l++) {
        work += (nn.archi[l] + WORK_PER_ACTIVATION) * nn.archi[l + 1];
    }
    return work;
}

int nn_poll(NNMonitor *monitor, size_t work)
{
    monitor->work += work;
    if (monitor->work < WORK_BETWEEN_POLLS) {
        return 0;
    }
    monitor->work = 0;
    return monitor->poll(monitor->context, monitor->done);
}

static int go_on(void *context, size_t done)
{
    (void)context;
    (void)done;
    return 0;
}

NNMonitor nn_silent_monitor(void)
{
    NNMonitor monitor = {go_on, NULL, 0, 0, 0};
    return monitor;
}

int nn_are_few(NeuralNetwork nn, size_t num_samples)
{
    return num_samples <= WORK_OF_FEW / nn_work_per_sample(nn);
}
