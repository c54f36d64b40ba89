/* int8_tiles.h: `multiply` of int8.h out of tiles. The file that includes it defines TILE_ROWS, TILE_GROUPS and the function
 *
 *     tile(x, x_stride, rows, num_quads, w, bias, groups, sums, sums_stride, prefetch)
 *
 * for up to TILE_ROWS rows (2 to 6) and TILE_GROUPS groups (1, 2 or 4), which are constants after inlining. */

/* All rows of the groups that a tile has. */
NN_INLINE void multiply_groups(const uint8_t *x, size_t x_stride, size_t num_rows, size_t num_quads, const int8_t *w,
                               const int32_t *bias, int groups, int32_t *sums, size_t sums_stride, NNPrefetch *prefetch)
{
    size_t i = 0;
    for (; i + TILE_ROWS <= num_rows; i += TILE_ROWS) {
        tile(x + i * x_stride, x_stride, TILE_ROWS, num_quads, w, bias, groups, sums + i * sums_stride, sums_stride,
             prefetch);
    }
    for (; i + 2 <= num_rows; i += 2) {
        tile(x + i * x_stride, x_stride, 2, num_quads, w, bias, groups, sums + i * sums_stride, sums_stride,
             prefetch);
    }
    if (i < num_rows) {
        tile(x + i * x_stride, x_stride, 1, num_quads, w, bias, groups, sums + i * sums_stride, sums_stride,
             prefetch);
    }
}

static void multiply(const uint8_t *x, size_t x_stride, size_t num_rows, size_t num_quads, const int8_t *w, const int32_t *bias,
                     size_t num_groups, int32_t *sums, NNPrefetch *prefetch)
{
    size_t group_size = num_quads * NN_INT8_GROUP * 4, sums_stride = num_groups * NN_INT8_GROUP, g = 0;
    for (; g + TILE_GROUPS <= num_groups; g += TILE_GROUPS) {
        multiply_groups(x, x_stride, num_rows, num_quads, w + g * group_size, bias + g * NN_INT8_GROUP, TILE_GROUPS,
                        sums + g * NN_INT8_GROUP, sums_stride, prefetch);
    }
#if TILE_GROUPS > 2
    for (; g + 2 <= num_groups; g += 2) {
        multiply_groups(x, x_stride, num_rows, num_quads, w + g * group_size, bias + g * NN_INT8_GROUP, 2,
                        sums + g * NN_INT8_GROUP, sums_stride, prefetch);
    }
#endif
    for (; g < num_groups; g++) {
        multiply_groups(x, x_stride, num_rows, num_quads, w + g * group_size, bias + g * NN_INT8_GROUP, 1,
                        sums + g * NN_INT8_GROUP, sums_stride, prefetch);
    }
}
