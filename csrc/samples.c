/* samples.c: what is computed of samples before they get to a network. See engine.h. */
#include "engine.h"

#include <math.h>

#include "plan.h"

size_t nn_first_nonfinite(Matrix m)
{
    for (size_t i = 0; i < m.rows; i++) {
        const float *row = nn_row(m, i);
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

#define COLUMNS 16 /* at a time, so that a row is read along */

void nn_mean_and_scale(Matrix m, float *mean, float *scale)
{
    for (size_t first = 0; first < m.cols; first += COLUMNS) {
        size_t num = m.cols - first < COLUMNS ? m.cols - first : COLUMNS;
        double count[COLUMNS] = {0}, middle[COLUMNS] = {0}, squares[COLUMNS] = {0};
        for (size_t i = 0; i < m.rows; i++) {
            for (size_t j = 0; j < num; j++) {
                double x = (double)MAT_AT(m, i, first + j);
                middle[j] += isnan(x) ? 0 : x;
                count[j] += isnan(x) ? 0 : 1;
            }
        }
        for (size_t j = 0; j < num; j++) {
            middle[j] = count[j] > 0 ? middle[j] / count[j] : 0;
        }
        for (size_t i = 0; i < m.rows; i++) {
            for (size_t j = 0; j < num; j++) {
                double x = (double)MAT_AT(m, i, first + j);
                squares[j] += isnan(x) ? 0 : (x - middle[j]) * (x - middle[j]);
            }
        }
        for (size_t j = 0; j < num; j++) {
            float deviation = squares[j] > 0 ? (float)sqrt(squares[j] / count[j]) : 0;
            mean[first + j] = (float)middle[j];
            scale[first + j] = deviation > 0 ? deviation : 1;
        }
    }
}

void nn_shuffle(size_t *order, size_t num, uint64_t seed, uint64_t epoch)
{
    uint64_t seed_of_epoch = nn_random(seed, epoch);
    for (size_t i = 0; i < num; i++) {
        order[i] = i;
    }
    for (size_t i = num; i > 1; i--) {
        uint64_t high = nn_random(seed_of_epoch, i) >> 32;
        size_t j = i <= UINT32_MAX ? (size_t)(high * i >> 32) : (size_t)(nn_random(seed_of_epoch, i) % i);
        size_t swapped = order[i - 1];
        order[i - 1] = order[j];
        order[j] = swapped;
    }
}
