/* sizes.h: arithmetic on sizes that every part of the engine uses. */
#ifndef NN_SIZES_H_
#define NN_SIZES_H_

#include <stddef.h>

static inline size_t nn_min(size_t a, size_t b)
{
    return a < b ? a : b;
}

static inline size_t nn_max(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* a / b, rounded up. */
static inline size_t nn_divide_up(size_t a, size_t b)
{
    return (a + b - 1) / b;
}

/* a, rounded up to a multiple of b. */
static inline size_t nn_round_up(size_t a, size_t b)
{
    return nn_divide_up(a, b) * b;
}

#endif /* NN_SIZES_H_ */
