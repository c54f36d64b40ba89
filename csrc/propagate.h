/* propagate.h: the forward pass and the backward pass through the layers of a workspace, tile by tile, and the transposes of the
 * weights that the backward pass needs. step.c divides the tiles among threads; predict.c and levenberg_marquardt.c take whole
 * layers. These callers compute the loss, dropout and the gradients themselves. */
#ifndef NN_PROPAGATE_H_
#define NN_PROPAGATE_H_

#include "workspace.h"

/* Rows first_row to last_row - 1 of one panel of a matrix: `width` columns that begin at `column`. */
typedef struct {
    size_t first_row, last_row, column, width;
} NNTiles;

/* How many columns of these tiles are in use, in a matrix with a column for each output of the layer; the others are padding. */
static inline size_t nn_columns_in_use(const NNLayer *layer, NNTiles tiles)
{
    return nn_min(tiles.width, layer->num_outputs - tiles.column);
}

/* Goes through one thread's share of the tiles of a matrix. The share depends only on the shape, the thread and the number of
 * threads, so that weights stay in the cache of the thread that last updated them. */
typedef struct {
    size_t num_rows, padded_columns;
    size_t next, end; /* tiles, counted down the first panel, then down the second, ... */
    NNTiles tiles;    /* the result of nn_next_tiles: tiles of one panel, one below the other */
} NNTileIterator;

/* Begins the share of thread `thread_index` in the tiles of a (num_rows, padded_columns) matrix. */
NNTileIterator nn_share_tiles(size_t num_rows, size_t padded_columns, int thread_index, int num_threads);

/* Moves on to the next tiles; returns 0 if there are none. */
int nn_next_tiles(NNTileIterator *iterator);

/* The forward pass of layer l: computes these tiles of its activations, (samples, outputs).
 *
 * x       row pointers of (samples, inputs of the layer), the activations of the previous layer; x[0] belongs to tiles.first_row */
void nn_forward_tiles(const NNWorkspace *ws, size_t l, const float *const *x, NNTiles tiles);

/* The backward pass from layer l to layer l - 1: computes these tiles of the delta of layer l - 1, without dropout. */
void nn_backward_tiles(const NNWorkspace *ws, size_t l, NNTiles tiles);

/* The backward pass from layer l to layer l - 1 for row 0 of the workspace, without dropout and without transposed weights. With
 * updates_weights the weight gradient is added to the weights of layer l. */
void nn_backward_one(const NNWorkspace *ws, size_t l, int updates_weights);

/* The backward pass from layer 0 to the inputs of the network: computes ws->input_delta for the samples of `tiles`, whose column
 * and width are ignored. */
void nn_backward_to_inputs(const NNWorkspace *ws, NNTiles tiles);

/* The forward pass through all layers, by one thread. The last layer's activations are its pre-activations z.
 *
 * x       row pointers of (num, inputs)
 * first   the row of the workspace that belongs to x[0] */
void nn_forward_layers(const NNWorkspace *ws, const float *const *x, size_t first, size_t num);

/* Turns z of the last layer into its outputs a for one row of the workspace, and computes f'(z). Not for softmax.
 *
 * lowest_targets   (outputs,): -FLT_MAX
 * slopes           (rows of the workspace, padded outputs): this row is written with f'(z) */
void nn_output_slopes(const NNWorkspace *ws, size_t row, const float *lowest_targets, float *slopes);

/* The backward pass through all layers, by one thread, for rows first to first + num - 1 of the workspace: from the delta of the last
 * layer to the deltas of all layers. */
void nn_backward_layers(const NNWorkspace *ws, size_t first, size_t num);

/* Transposes one thread's share of the weights w of all layers into wt, where a layer has a wt. */
void nn_transpose_weights(const NNWorkspace *ws, int thread_index, int num_threads);

#endif /* NN_PROPAGATE_H_ */
