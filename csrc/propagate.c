/* propagate.c: see propagate.h. */
#include "propagate.h"

#include "team.h"

/* ---- Sharing tiles among threads ---- */

NNTileIterator nn_share_tiles(size_t num_rows, size_t padded_columns, int thread_index, int num_threads)
{
    size_t per_panel = nn_divide_up(num_rows, NN_TILE_ROWS);
    NNRange share = nn_share(nn_divide_up(padded_columns, NN_PANEL) * per_panel, thread_index, num_threads);
    NNTileIterator iterator = {num_rows, padded_columns, share.first, share.last, {0, 0, 0, 0}};
    return iterator;
}

int nn_next_tiles(NNTileIterator *it)
{
    size_t per_panel = nn_divide_up(it->num_rows, NN_TILE_ROWS), first, last;
    if (it->next >= it->end) {
        return 0;
    }
    first = it->next % per_panel;
    last = nn_min(first + (it->end - it->next), per_panel);
    it->tiles.column = it->next / per_panel * NN_PANEL;
    it->tiles.width = nn_panel_width(it->padded_columns, it->tiles.column);
    it->tiles.first_row = first * NN_TILE_ROWS;
    it->tiles.last_row = last < per_panel ? last * NN_TILE_ROWS : it->num_rows;
    it->next += last - first;
    return 1;
}

/* ---- The passes ---- */

void nn_forward_tiles(const NNWorkspace *ws, size_t l, const float *const *x, NNTiles tiles)
{
    const NNLayer *layer = &ws->layers[l];
    size_t at = tiles.first_row * layer->stride + tiles.column;
    ws->kernels->forward(layer->activation, x, tiles.last_row - tiles.first_row, layer->num_inputs,
                         layer->w + tiles.column * layer->num_inputs, tiles.width, nn_columns_in_use(layer, tiles),
                         layer->b + tiles.column, layer->a + at,
                         layer->derivative_input == NULL ? NULL : layer->derivative_input + at, layer->stride);
}

void nn_backward_tiles(const NNWorkspace *ws, size_t l, NNTiles tiles)
{
    const NNLayer *next = &ws->layers[l], *layer = next - 1;
    const float *derivative_input = layer->derivative_input == NULL ? layer->a : layer->derivative_input;
    size_t at = tiles.first_row * layer->stride + tiles.column;
    ws->kernels->backward(layer->activation, next->delta_rows + tiles.first_row, tiles.last_row - tiles.first_row,
                          next->num_outputs, next->wt + tiles.column * next->num_outputs, tiles.width,
                          nn_columns_in_use(layer, tiles), derivative_input + at, layer->delta + at, layer->stride);
}

void nn_backward_one(const NNWorkspace *ws, size_t l, int updates_weights)
{
    const NNLayer *next = &ws->layers[l], *layer = next - 1;
    const float *derivative_input = layer->derivative_input == NULL ? layer->a : layer->derivative_input;
    ws->kernels->backward_of_one(layer->activation, next->delta, next->num_outputs, next->w, next->num_inputs, derivative_input,
                                 layer->delta, updates_weights ? layer->a : NULL);
}

void nn_backward_to_inputs(const NNWorkspace *ws, NNTiles tiles)
{
    const NNLayer *next = &ws->layers[0];
    size_t padded_inputs = nn_padded(next->num_inputs);
    float *delta = ws->input_delta + tiles.first_row * ws->input_stride;
    for (size_t j = 0; j < padded_inputs; j += NN_PANEL) {
        ws->kernels->backward(NN_LINEAR, next->delta_rows + tiles.first_row, tiles.last_row - tiles.first_row, next->num_outputs,
                              next->wt + j * next->num_outputs, nn_panel_width(padded_inputs, j),
                              nn_min(NN_PANEL, next->num_inputs - j), NULL, delta + j, ws->input_stride);
    }
}

void nn_forward_layers(const NNWorkspace *ws, const float *const *x, size_t first, size_t num)
{
    for (size_t l = 0; l < ws->num_layers; l++) {
        const NNLayer *layer = &ws->layers[l];
        for (size_t j = 0; j < layer->padded_outputs; j += NN_PANEL) {
            NNTiles tiles = {first, first + num, j, nn_panel_width(layer->padded_outputs, j)};
            nn_forward_tiles(ws, l, x, tiles);
        }
        x = layer->a_rows + first;
    }
}

void nn_output_slopes(const NNWorkspace *ws, size_t row, const float *lowest_targets, float *slopes)
{
    const NNLayer *last = &ws->layers[ws->num_layers - 1];
    const NNLoss absolute_error = {NN_MAE, 0}; /* d|a - y|/da is 1 for a > y, so that dC/dz is f'(z) */
    ws->kernels->output_layer_loss(ws->output_activation, absolute_error, last->a + row * last->stride, lowest_targets, 0, 1,
                                   slopes + row * last->padded_outputs, last->num_outputs);
}

void nn_backward_layers(const NNWorkspace *ws, size_t first, size_t num)
{
    for (size_t l = ws->num_layers - 1; l > 0; l--) {
        size_t padded_columns = ws->layers[l - 1].padded_outputs;
        for (size_t j = 0; j < padded_columns; j += NN_PANEL) {
            NNTiles tiles = {first, first + num, j, nn_panel_width(padded_columns, j)};
            nn_backward_tiles(ws, l, tiles);
        }
    }
}

/* ---- Transposes ---- */

/* Transposes some tiles of w into wt. Rows of w are columns of wt, and may belong to several panels of it. */
static void transpose_tiles(const NNKernels *kernels, const NNLayer *layer, NNTiles tiles)
{
    size_t padded_inputs = nn_padded(layer->num_inputs);
    size_t num_columns = nn_min(layer->num_outputs - tiles.column, tiles.width);
    for (size_t k = tiles.first_row, end; k < tiles.last_row; k = end) {
        size_t panel = k / NN_PANEL * NN_PANEL, width = nn_panel_width(padded_inputs, panel);
        const float *from = layer->w + tiles.column * layer->num_inputs + k * tiles.width;
        float *to = layer->wt + panel * layer->num_outputs + tiles.column * width + (k - panel);
        end = nn_min(panel + NN_PANEL, tiles.last_row);
        kernels->transpose(from, tiles.width, end - k, num_columns, to, width);
    }
}

void nn_transpose_weights(const NNWorkspace *ws, int thread_index, int num_threads)
{
    for (size_t l = 0; l < ws->num_layers; l++) {
        const NNLayer *layer = &ws->layers[l];
        NNTileIterator it = nn_share_tiles(layer->num_inputs, layer->padded_outputs, thread_index, num_threads);
        while (layer->wt != NULL && nn_next_tiles(&it)) {
            transpose_tiles(ws->kernels, layer, it.tiles);
        }
    }
}
