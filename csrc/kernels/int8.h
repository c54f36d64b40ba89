/* int8.h: the table of kernels for networks of 8-bit integers (../quantized.c), one for each set of instructions, and the memory
 * layout that they share. Integers are exact: every table computes the same numbers, in whatever order it adds them.
 *
 * Memory layout:
 *
 *     Activations: samples are rows of uint8_t. A row is padded to a multiple of NN_INT8_PAD, with any numbers.
 *
 *     Weights: int8_t, packed in groups of NN_INT8_GROUP = 16 outputs. A group is an array (quads, 16, 4): four weights of consecutive
 *     inputs of output 0, then those of output 1, and so on; then the next four inputs. The padding of inputs and outputs is 0. The
 *     instructions for this multiply four pairs of integers and add the products to a sum of 32 bits.
 *
 * The caller makes sure that no sum leaves the range of int32_t, whatever the inputs are. */
#ifndef NN_INT8_H_
#define NN_INT8_H_

#include <stddef.h>
#include <stdint.h>

#include "../engine.h"
#include "../sizes.h"

/* Which tables a build has. GCC knows AVX-VNNI since version 11. __builtin_cpu_supports of Clang 14 does not know it, and the instruction
 * that asks the processor takes tens of microseconds in a virtual machine. */
#if defined(__x86_64__) && !defined(__clang__) && defined(__GNUC__) && __GNUC__ >= 11
#define NN_INT8_HAS_AVXVNNI 1
#else
#define NN_INT8_HAS_AVXVNNI 0
#endif
#if defined(__aarch64__) && defined(__ARM_NEON) && defined(__GNUC__) && !defined(__AARCH64EB__)
#define NN_INT8_HAS_NEON 1
#else
#define NN_INT8_HAS_NEON 0
#endif
/* Before version 16 Clang declares the intrinsics for dot products only where the whole file is compiled for them. */
#if NN_INT8_HAS_NEON && (defined(__ARM_FEATURE_DOTPROD) || !defined(__clang__) || __clang_major__ >= 16)
#define NN_INT8_HAS_NEON_DOT 1
#else
#define NN_INT8_HAS_NEON_DOT 0
#endif

#define NN_INT8_GROUP 16
#define NN_INT8_PAD 64

/* Memory that will be read soon, which a kernel may ask for while it computes: the processor's own prefetching pauses meanwhile. */
typedef struct {
    uintptr_t address; /* of the next cache line; no pointer, as it may leave the array */
    size_t step;       /* from one line to the next: 64, or 0 for no prefetching */
} NNPrefetch;

typedef struct {
    const char *name;
    const char *isa; /* the table of float kernels (kernels.h) that it goes with */

    /* out[k] = (x[k] - low[k]) inverse_step[k], limited to 0 and 255, rounded to the nearest integer, ties to even.
     *
     * x, low, inverse_step   (n,) each; low and inverse_step are finite; any n
     * out                    (n,); written
     *
     * Returns 1 if all products are finite. If it returns 0, some x[k] may be infinite or NaN, or it is huge. */
    int (*quantize)(const float *x, const float *low, const float *inverse_step, uint8_t *out, size_t n);

    /* sums[i][j] = bias[j] + x_i0 w_0j + x_i1 w_1j + ...
     *
     * x                      (num_rows, 4 num_quads), rows x_stride apart
     * w                      (num_groups, num_quads, 16, 4)
     * bias                   (16 num_groups,)
     * sums                   (num_rows, 16 num_groups); written
     * prefetch               updated */
    void (*multiply)(const uint8_t *x, size_t x_stride, size_t num_rows, size_t num_quads, const int8_t *w, const int32_t *bias,
                     size_t num_groups, int32_t *sums, NNPrefetch *prefetch);

    /* out[j] = (sums[j] multiplier[j] + 2^(shift - 1)) >> shift, limited to 0 and 255: one rounding, of ties towards larger numbers.
     * sums[j] is limited to less than 2^shift before.
     *
     * sums, multiplier       (n,) each; multipliers are from 2^18; n is a multiple of 16
     * shift                  1 to 62
     * out                    (n,); written */
    void (*requantize)(const int32_t *sums, const int32_t *multiplier, int shift, uint8_t *out, size_t n);

    /* The same, but limited to low and high.
     *
     * out                    (n,); written; may be sums */
    void (*rescale)(const int32_t *sums, const int32_t *multiplier, int shift, int32_t low, int32_t high, int32_t *out, size_t n);

    /* out[j] = table[p / 256] + (table[p / 256 + 1] - table[p / 256]) (p % 256) / 256 for p = position[j], divided by 128 and rounded,
     * ties towards larger numbers.
     *
     * position               (n,): 0 to 32767; n is a multiple of 16
     * table                  (129,): 0 to 32640, and 2 bytes more that may be read
     * out                    (n,); written */
    void (*interpolate)(const int32_t *position, const int16_t *table, uint8_t *out, size_t n);

    /* Whether `multiply` subtracts 128 from the inputs, because its instructions take signed integers only. Its bias then has to be
     * bias[j] + 128 (w_0j + w_1j + ...), modulo 2^32. */
    int shift_inputs;
} NNInt8Kernels;

/* Returns table number i that this build has and this processor can run, best first; NULL past the last one. */
const NNInt8Kernels *nn_int8_kernels_available(int i);

/* Returns the best table for the instruction set of a backend, counted as in nn_isa_name. */
const NNInt8Kernels *nn_int8_kernels(int isa);

/* 256 times the value at a position from 0 to 32767 in a table of 128 segments, between whose ends it is interpolated linearly. */
static inline int32_t nn_int8_interpolated(const int16_t *table, int32_t position)
{
    int32_t part = position & 255;
    return table[position >> 8] * (256 - part) + table[(position >> 8) + 1] * part;
}

/* `interpolate` in plain C, for the tables that have no vectors for it. */
void nn_int8_interpolate(const int32_t *position, const int16_t *table, uint8_t *out, size_t n);

/* The largest absolute value of a sum that requantize and rescale go on with. */
static inline int32_t nn_int8_limit(int shift)
{
    return shift >= 31 ? INT32_MAX : (int32_t)(((uint32_t)1 << shift) - 1);
}

#endif /* NN_INT8_H_ */
