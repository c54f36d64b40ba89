/* scaling.h: inputs and targets as the network gets them: the rows of the table themselves or, with a scaler, their scaled numbers
 * in the workspace. Those of a block are scaled when the block is read; those of a small table once, if nn_workspace_alloc was told
 * to keep them.
 *
 * The workspace's row of a sample is `row`, its position in the block. */
#ifndef NN_SCALING_H_
#define NN_SCALING_H_

#include "samples.h"
#include "workspace.h"

/* Returns (x - mean) / scale. The difference and the quotient are doubles, so that large numbers that differ by little stay apart. */
static inline float nn_scaled(float x, double mean, double scale)
{
    return (float)(((double)x - mean) / scale);
}

/* Writes the scaled numbers of x, (num,), to scaled, (num,), without the help of reciprocals: for a few samples. */
static inline void nn_scale_few(const float *x, const double *mean, const double *scale, float *scaled, size_t num)
{
    for (size_t i = 0; i < num; i++) {
        scaled[i] = nn_scaled(x[i], mean[i], scale[i]);
    }
}

/* The row of scaled_x and scaled_y that belongs to a sample. */
static inline size_t nn_scaled_row(const NNWorkspace *ws, size_t sample, size_t row)
{
    return ws->keeps_scaled ? sample : row;
}

/* Returns where the network's inputs of a sample are, (inputs,). */
static inline const float *nn_network_inputs(const NNWorkspace *ws, const NNSamples *samples, size_t sample, size_t row)
{
    if (ws->scaled_x == NULL) {
        return nn_inputs(samples, sample);
    }
    return ws->scaled_x + nn_scaled_row(ws, sample, row) * ws->scaled_x_stride;
}

/* Returns where the network's targets of a sample are, (outputs,); NULL if the samples have labels instead. */
static inline const float *nn_network_targets(const NNWorkspace *ws, const NNSamples *samples, size_t sample, size_t row)
{
    if (ws->scaled_y == NULL || samples->y.data == NULL) {
        return nn_targets(samples, sample);
    }
    return ws->scaled_y + nn_scaled_row(ws, sample, row) * ws->scaled_y_stride;
}

/* Whether the inputs, or the targets, have to be scaled for each block. */
static inline int nn_scales_inputs(const NNWorkspace *ws)
{
    return ws->scaled_x != NULL && !ws->keeps_scaled;
}

static inline int nn_scales_targets(const NNWorkspace *ws)
{
    return ws->scaled_y != NULL && !ws->keeps_scaled;
}

/* Scales the inputs, or the targets if there are any, of a sample to where nn_network_inputs, or nn_network_targets, finds them.
 * Callers ask the functions above first. */
void nn_scale_inputs(const NNWorkspace *ws, const NNSamples *samples, size_t sample, size_t row);
void nn_scale_targets(const NNWorkspace *ws, const NNSamples *samples, size_t sample, size_t row);

/* Points x, (num,), to the network's inputs of the samples first, first + 1, ..., whose rows of the workspace are first_row, ...; scales
 * them where that has to be done for each block. Returns whether all of them are finite. */
int nn_read_inputs(const NNWorkspace *ws, const NNSamples *samples, size_t first, size_t num, size_t first_row, const float **x);

/* Returns the number of samples to keep scaled in a call that reads all samples several times: all of them if they are few, else 0. */
size_t nn_num_kept(NeuralNetwork nn, const NNSamples *samples);

/* Scales all samples, if the workspace keeps them. */
void nn_scale_kept(const NNWorkspace *ws, const NNSamples *samples);

#endif /* NN_SCALING_H_ */
