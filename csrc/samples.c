/* samples.c: what is computed of samples before they get to a network. See engine.h. */
#include "engine.h"

#include <math.h>

#include "workspace.h"

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

void nn_column_moments(const double *x, size_t rows, size_t cols, const double *center, double *sums, double *squares,
                       double *counts)
{
    for (size_t i = 0; i < rows; i++) {
        for (size_t j = 0; j < cols; j++) {
            double d = x[i * cols + j] - center[j];
            int is_number = !isnan(d);
            sums[j] += is_number ? d : 0;
            squares[j] += is_number ? d * d : 0;
            counts[j] += is_number;
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
