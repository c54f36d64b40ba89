/* scaling.c: see scaling.h. The arithmetic is that of the kernel `scale`. */
#include "scaling.h"

#define MAX_KEPT ((size_t)1 << 18) /* floats: 1 MiB, so that they stay in the second-level cache */

void nn_scale_inputs(const NNWorkspace *ws, const NNSamples *samples, size_t sample, size_t row)
{
    ws->kernels->scale(nn_inputs(samples, sample), ws->scaler.x_mean, ws->scaler.x_scale, ws->x_reciprocals,
                       ws->scaled_x + nn_scaled_row(ws, sample, row) * ws->scaled_x_stride, samples->x.cols);
}

void nn_scale_targets(const NNWorkspace *ws, const NNSamples *samples, size_t sample, size_t row)
{
    if (samples->y.data != NULL) {
        ws->kernels->scale(nn_targets(samples, sample), ws->scaler.y_mean, ws->scaler.y_scale, ws->y_reciprocals,
                           ws->scaled_y + nn_scaled_row(ws, sample, row) * ws->scaled_y_stride, samples->y.cols);
    }
}

size_t nn_num_kept(NeuralNetwork nn, const NNSamples *samples)
{
    size_t width = nn_padded(nn.archi[0]) + nn.archi[nn.num_layers], num = nn_num_samples(samples);
    return num <= MAX_KEPT / width ? num : 0;
}

void nn_scale_kept(const NNWorkspace *ws, const NNSamples *samples)
{
    for (size_t i = 0; ws->keeps_scaled && i < nn_num_samples(samples); i++) {
        if (ws->scaled_x != NULL) {
            nn_scale_inputs(ws, samples, i, i);
        }
        if (ws->scaled_y != NULL) {
            nn_scale_targets(ws, samples, i, i);
        }
    }
}

int nn_read_inputs(const NNWorkspace *ws, const NNSamples *samples, size_t first, size_t num, size_t first_row, const float **x)
{
    Matrix table = samples->x;
    for (size_t i = 0; i < num; i++) {
        if (nn_scales_inputs(ws)) {
            nn_scale_inputs(ws, samples, first + i, first_row + i);
        }
        x[i] = nn_network_inputs(ws, samples, first + i, first_row + i);
    }
    if (samples->rows == NULL && !nn_scales_inputs(ws) && table.stride == table.cols) { /* all of them lie together */
        return ws->kernels->all_finite(x[0], num * table.cols);
    }
    for (size_t i = 0; i < num; i++) {
        if (!ws->kernels->all_finite(x[i], table.cols)) {
            return 0;
        }
    }
    return 1;
}
