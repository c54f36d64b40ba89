/* samples.h: how the engine reads one sample of an NNSamples. samples.c has what engine.h declares about samples: the check for NaN
 * and infinity, the moments of columns, the shuffle. */
#ifndef NN_SAMPLES_H_
#define NN_SAMPLES_H_

#include "engine.h"

/* Row i of m, (cols,). The stride of m may be negative. */
static inline const float *nn_row(Matrix m, size_t i)
{
    return &MAT_AT(m, i, 0);
}

/* The targets of a sample, (outputs,); NULL if the samples have class labels instead. */
static inline const float *nn_targets(const NNSamples *samples, size_t sample)
{
    return samples->y.data == NULL ? NULL : nn_row(samples->y, sample);
}

/* The class of a sample; 0, without a meaning, if the samples have no labels. */
static inline size_t nn_label(const NNSamples *samples, size_t sample)
{
    return samples->y.data == NULL ? (size_t)samples->labels[sample] : 0;
}

static inline float nn_sample_weight(const NNSamples *samples, size_t sample)
{
    return samples->sample_weights == NULL ? 1.0f : samples->sample_weights[sample];
}

/* weight * loss, but 0 for a weight of 0 even if the loss is infinite or NaN. */
static inline float nn_weighted_loss(float weight, float loss)
{
    return weight > 0 ? weight * loss : 0;
}

#endif /* NN_SAMPLES_H_ */
