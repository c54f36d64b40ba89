/* samples.h: reads one sample of an NNSamples: its inputs, targets, label and weight, without scaling. samples.c has the functions of
 * engine.h that need no network: the check of ranges, the moments of columns, the shuffle. */
#ifndef NN_SAMPLES_H_
#define NN_SAMPLES_H_

#include <float.h>

#include "engine.h"

/* Returns row i of m, (cols,). The stride of m may be negative. */
static inline const float *nn_row(Matrix m, size_t i)
{
    return &MAT_AT(m, i, 0);
}

/* Whether no element of m is NaN or infinite. */
static inline int nn_all_finite(Matrix m)
{
    return nn_first_outside(m, -FLT_MAX, FLT_MAX, 0) == m.rows * m.cols;
}

static inline size_t nn_num_samples(const NNSamples *samples)
{
    return samples->rows == NULL ? samples->x.rows : samples->num_rows;
}

/* Returns the row of the table that a sample is in. */
static inline size_t nn_row_of_sample(const NNSamples *samples, size_t sample)
{
    return samples->rows == NULL ? sample : samples->rows[sample];
}

/* Returns the inputs of a sample, (inputs,). */
static inline const float *nn_inputs(const NNSamples *samples, size_t sample)
{
    return nn_row(samples->x, nn_row_of_sample(samples, sample));
}

/* Returns the targets of a sample, (outputs,); NULL if the samples have labels instead. */
static inline const float *nn_targets(const NNSamples *samples, size_t sample)
{
    return samples->y.data == NULL ? NULL : nn_row(samples->y, nn_row_of_sample(samples, sample));
}

/* Returns the class index of a sample; 0 if the samples have no labels, and then nothing uses it. */
static inline size_t nn_label(const NNSamples *samples, size_t sample)
{
    return samples->y.data == NULL ? (size_t)samples->labels[nn_row_of_sample(samples, sample)] : 0;
}

static inline float nn_sample_weight(const NNSamples *samples, size_t sample)
{
    return samples->sample_weights == NULL ? 1.0f : samples->sample_weights[nn_row_of_sample(samples, sample)];
}

/* Returns weight * loss; 0 for a weight of 0, even if the loss is infinite or NaN. */
static inline float nn_weighted_loss(float weight, float loss)
{
    return weight > 0 ? weight * loss : 0;
}

#endif /* NN_SAMPLES_H_ */
