/* samples.c: the functions of engine.h that need no network: the check of ranges, the moments of columns, the shuffle. */
#include "samples.h"

#include <math.h>

#include "ieee754.h"

#define GROUP 16 /* numbers that are compared together: compilers make vectors of them */

static int is_outside(float x, float low, float high, int allow_nan)
{
    return !(((low <= x) & (x <= high)) | (allow_nan & (x != x)));
}

/* Returns the index of the first element of x, (num,), that is outside; num if there is none. */
static size_t first_outside(const float *x, size_t num, float low, float high, int allow_nan)
{
    size_t i = 0;
    if (num >= GROUP) {
        int outside[GROUP] = {0}, any = 0;
        for (; i + GROUP <= num; i += GROUP) {
            for (size_t j = 0; j < GROUP; j++) {
                outside[j] |= is_outside(x[i + j], low, high, allow_nan);
            }
        }
        for (size_t j = 0; j < GROUP; j++) {
            any |= outside[j];
        }
        i = any ? 0 : i;
    }
    while (i < num && !is_outside(x[i], low, high, allow_nan)) {
        i++;
    }
    return i;
}

size_t nn_first_outside(Matrix m, float low, float high, int allow_nan)
{
    size_t num = m.rows * m.cols;
    if (m.stride == m.cols) {
        return first_outside(m.data, num, low, high, allow_nan);
    }
    for (size_t i = 0; i < m.rows; i++) {
        size_t place = first_outside(nn_row(m, i), m.cols, low, high, allow_nan);
        if (place < m.cols) {
            return i * m.cols + place;
        }
    }
    return num;
}

static NN_NOINLINE void column_moments(const double *x, size_t rows, size_t cols, const double *center, double *sums,
                                       double *squares, double *counts)
{
    for (size_t i = 0; i < rows; i++) {
        for (size_t j = 0; j < cols; j++) {
            double difference = x[i * cols + j] - center[j];
            int is_number = !isnan(difference);
            sums[j] += is_number ? difference : 0;
            squares[j] += is_number ? difference * difference : 0;
            counts[j] += is_number;
        }
    }
}

void nn_column_moments(const double *x, size_t rows, size_t cols, const double *center, double *sums, double *squares,
                       double *counts)
{
    NNFloatEnvironment caller = nn_enter_float_environment();
    column_moments(x, rows, cols, center, sums, squares, counts);
    nn_leave_float_environment(caller);
}

void nn_shuffle(size_t *order, size_t num, uint64_t seed, uint64_t epoch)
{
    uint64_t epoch_seed = nn_random(seed, epoch);
    for (size_t i = 0; i < num; i++) {
        order[i] = i;
    }
    for (size_t i = num; i > 1; i--) { /* swap the last of the first i with a random one of them */
        uint64_t high = nn_random(epoch_seed, i) >> 32;
        size_t j = i <= UINT32_MAX ? (size_t)(high * i >> 32) : (size_t)(nn_random(epoch_seed, i) % i);
        size_t last = order[i - 1];
        order[i - 1] = order[j];
        order[j] = last;
    }
}
