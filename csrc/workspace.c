/* workspace.c: see workspace.h. */
#include "workspace.h"

#include <math.h>
#include <string.h>

#define CACHE_LINE 64      /* bytes */
#define COPIED_TOGETHER 32 /* floats: longer rows are copied by memcpy */

/* ---- Allocation: the layout runs twice, first to measure the block of memory, then to place the arrays in it ---- */

typedef struct {
    char *base; /* NULL while measuring */
    size_t used;
    int overflow; /* the size does not fit into a size_t */
} Arena;

/* Returns room for rows * cols items of `size` bytes, aligned to a cache line; NULL while measuring. */
static void *arena_place(Arena *arena, size_t rows, size_t cols, size_t size)
{
    void *place = arena->base == NULL ? NULL : arena->base + arena->used;
    size_t count, bytes;
    if (!nn_multiply(rows, cols, &count) || !nn_multiply(count, size, &bytes) || bytes > SIZE_MAX / 2 - arena->used) {
        arena->overflow = 1;
        return NULL;
    }
    arena->used += nn_round_up(bytes, CACHE_LINE);
    return place;
}

static float *arena_floats(Arena *arena, size_t rows, size_t cols)
{
    return (float *)arena_place(arena, rows, cols, sizeof(float));
}

static const float **arena_row_pointers(Arena *arena, size_t num_arrays, size_t num_rows)
{
    return (const float **)arena_place(arena, num_arrays, num_rows, sizeof(float *));
}

/* Returns a stride for rows of padded_columns floats: an odd number of cache lines, so that the same columns of all samples do not
 * compete for one set of the cache. */
static size_t odd_stride(size_t padded_columns)
{
    return padded_columns + (padded_columns / NN_PAD % 2 == 0 ? NN_PAD : 0);
}

static void lay_out_layer(Arena *arena, const NNWorkspace *ws, NNLayer *layer, size_t l, int contents)
{
    int is_last = l + 1 == ws->num_layers, has_dropout = !is_last && (contents & NN_WORKSPACE_DROPOUT);
    layer->num_inputs = ws->nn.archi[l];
    layer->num_outputs = ws->nn.archi[l + 1];
    layer->activation = is_last ? NN_LINEAR : ws->nn.activation_functions[l];
    layer->padded_outputs = nn_padded(layer->num_outputs);
    layer->stride = odd_stride(layer->padded_outputs);
    layer->num_weights = layer->num_inputs * layer->padded_outputs;
    layer->w = arena_floats(arena, layer->num_inputs, layer->padded_outputs);
    layer->b = arena_floats(arena, 1, layer->padded_outputs);
    if (contents & NN_WORKSPACE_GRADIENT) {
        layer->grad_w = arena_floats(arena, layer->num_inputs, layer->padded_outputs);
        layer->grad_b = arena_floats(arena, 1, layer->padded_outputs);
    }
    if (contents & NN_WORKSPACE_STATE) {
        layer->m = arena_floats(arena, layer->num_inputs + 1, layer->padded_outputs);
        layer->v = arena_floats(arena, layer->num_inputs + 1, layer->padded_outputs);
    }
    layer->a = arena_floats(arena, ws->block, layer->stride);
    layer->a_rows = arena_row_pointers(arena, 1, ws->block);
    if (contents & NN_WORKSPACE_DELTAS) {
        int needs_wt = l > 0 || (contents & NN_WORKSPACE_INPUT_DELTA);
        int needs_derivative_input = has_dropout || NN_DERIVATIVE_USES_Z(layer->activation); /* dropout changes a */
        layer->wt = needs_wt ? arena_floats(arena, layer->num_outputs, nn_padded(layer->num_inputs)) : NULL;
        layer->delta = arena_floats(arena, ws->block, layer->stride);
        layer->delta_rows = arena_row_pointers(arena, 1, ws->block);
        layer->derivative_input = needs_derivative_input ? arena_floats(arena, ws->block, layer->stride) : NULL;
        layer->dropout_mask = has_dropout ? arena_floats(arena, ws->block, layer->stride) : NULL;
    }
}

static void lay_out_scaling(Arena *arena, NNWorkspace *ws)
{
    size_t num_inputs = ws->nn.archi[0], num_outputs = ws->nn.archi[ws->num_layers];
    if (ws->scaler.x_mean != NULL) {
        ws->scaled_x_stride = odd_stride(nn_padded(num_inputs));
        ws->scaled_x = arena_floats(arena, ws->num_scaled, ws->scaled_x_stride);
        ws->x_reciprocals = (double *)arena_place(arena, 1, num_inputs, sizeof(double));
    }
    if (ws->scaler.y_mean != NULL) {
        ws->scaled_y_stride = num_outputs;
        ws->scaled_y = arena_floats(arena, ws->num_scaled, ws->scaled_y_stride);
        ws->y_reciprocals = (double *)arena_place(arena, 1, num_outputs, sizeof(double));
    }
}

static void lay_out(Arena *arena, NNWorkspace *ws, int contents)
{
    NNLayer measured, *layers = (NNLayer *)arena_place(arena, 1, ws->num_layers, sizeof(NNLayer));
    size_t num_norm_parts = 0;
    ws->layers = layers;
    for (size_t l = 0; l < ws->num_layers && !arena->overflow; l++) {
        NNLayer *layer = layers == NULL ? &measured : &layers[l];
        lay_out_layer(arena, ws, layer, l, contents);
        num_norm_parts += nn_num_norm_parts(layer->num_weights) + nn_num_norm_parts(layer->padded_outputs);
    }
    ws->losses = arena_floats(arena, 1, ws->block);
    ws->x_rows = arena_row_pointers(arena, (size_t)ws->num_threads, ws->block);
    lay_out_scaling(arena, ws);
    if (contents & NN_WORKSPACE_INPUT_DELTA) {
        ws->input_stride = odd_stride(nn_padded(ws->nn.archi[0]));
        ws->input_delta = arena_floats(arena, ws->block, ws->input_stride);
    }
    if (contents & NN_WORKSPACE_NORM) {
        ws->norm_parts = (double *)arena_place(arena, 1, num_norm_parts, sizeof(double));
    }
}

static void set_row_pointers(NNWorkspace *ws)
{
    for (size_t l = 0; l < ws->num_layers; l++) {
        NNLayer *layer = &ws->layers[l];
        for (size_t i = 0; i < ws->block; i++) {
            layer->a_rows[i] = layer->a + i * layer->stride;
            if (layer->delta_rows != NULL) {
                layer->delta_rows[i] = layer->delta + i * layer->stride;
            }
        }
    }
}

/* Computes the reciprocals of num scales; NaN where a reciprocal does not have the full precision of a double. */
static void compute_reciprocals(double *reciprocals, const double *scale, size_t num)
{
    for (size_t i = 0; reciprocals != NULL && i < num; i++) {
        double reciprocal = 1 / scale[i];
        reciprocals[i] = DBL_MIN <= reciprocal && reciprocal <= DBL_MAX ? reciprocal : (double)NAN;
    }
}

NNWorkspace nn_workspace_alloc(NeuralNetwork nn, const NNKernels *kernels, size_t block, int num_threads, int contents,
                               NNScaler scaler, size_t num_kept)
{
    NNWorkspace ws = {.nn = nn, .kernels = kernels, .num_layers = nn.num_layers, .block = block, .num_threads = num_threads,
                      .contents = contents, .scaler = scaler, .num_scaled = num_kept > 0 ? num_kept : block,
                      .keeps_scaled = num_kept > 0};
    Arena arena = {NULL, 0, 0};
    ws.output_activation = nn.activation_functions[nn.num_layers - 1];
    lay_out(&arena, &ws, contents);
    ws.size = arena.used + CACHE_LINE;
    ws.memory = arena.overflow ? NULL : malloc(ws.size);
    if (ws.memory == NULL) {
        return ws;
    }
    arena.base = (char *)ws.memory + CACHE_LINE - (uintptr_t)ws.memory % CACHE_LINE;
    memset(arena.base, 0, arena.used); /* the padding of weights and deltas has to be 0 */
    arena.used = 0;
    lay_out(&arena, &ws, contents);
    set_row_pointers(&ws);
    compute_reciprocals(ws.x_reciprocals, scaler.x_scale, nn.archi[0]);
    compute_reciprocals(ws.y_reciprocals, scaler.y_scale, nn.archi[nn.num_layers]);
    nn_pack(&ws, NN_PACK_PARAMETERS, nn.weights[0].data);
    return ws;
}

void nn_workspace_free(NNWorkspace *ws)
{
    free(ws->memory);
}

NNWorkspace nn_workspace_reuse(NNWorkspace *kept, NeuralNetwork nn, const NNKernels *kernels, size_t block, int num_threads,
                               int contents, NNScaler scaler, size_t num_kept)
{
    if (kept != NULL && kept->memory != NULL) {
        NNWorkspace ws = *kept;
        kept->memory = NULL;
        if (ws.block >= block && ws.num_threads == num_threads && ws.contents == contents && !ws.keeps_scaled && num_kept == 0) {
            ws.nn = nn;
            nn_pack(&ws, NN_PACK_PARAMETERS, nn.weights[0].data);
            return ws;
        }
        nn_workspace_free(&ws);
    }
    return nn_workspace_alloc(nn, kernels, block, num_threads, contents, scaler, num_kept);
}

/* ---- Packing ---- */

/* Sets *w and *b to the packed weights and biases of a layer, or to their gradient or optimiser state, as `what` says. */
static void packed_arrays(const NNLayer *layer, int what, float **w, float **b)
{
    switch (what) {
    case NN_PACK_PARAMETERS: *w = layer->w; *b = layer->b; break;
    case NN_PACK_GRADIENT: *w = layer->grad_w; *b = layer->grad_b; break;
    case NN_PACK_M: *w = layer->m; *b = layer->m + layer->num_weights; break;
    default: *w = layer->v; *b = layer->v + layer->num_weights; break;
    }
}

/* Copies rows of num floats. The rows of `to` and `from` are to_stride and from_stride apart. */
static void copy_rows(float *to, size_t to_stride, const float *from, size_t from_stride, size_t num_rows, size_t num)
{
    if (to_stride == num && from_stride == num) {
        memcpy(to, from, num_rows * num * sizeof(float));
        return;
    }
    for (size_t k = 0; k < num_rows; k++, to += to_stride, from += from_stride) {
        size_t j = 0;
        if (num >= COPIED_TOGETHER) {
            memcpy(to, from, num * sizeof(float));
            continue;
        }
        for (; j + 4 <= num; j += 4) { /* of a constant length: for short rows, that is quicker than a call of memcpy */
            memcpy(to + j, from + j, 4 * sizeof(float));
        }
        for (; j < num; j++) {
            memcpy(to + j, from + j, sizeof(float));
        }
    }
}

/* Copies from `flat` to the packed arrays or, if to_flat is not NULL, from the packed arrays to to_flat: panel by panel. */
static void copy_packed(const NNWorkspace *ws, int what, const float *flat, float *to_flat)
{
    size_t first = 0; /* of the layer, in the flat order */
    for (size_t l = 0; l < ws->num_layers; l++) {
        const NNLayer *layer = &ws->layers[l];
        size_t num_inputs = layer->num_inputs, num_outputs = layer->num_outputs;
        float *w, *b;
        packed_arrays(layer, what, &w, &b);
        for (size_t j = 0; j < layer->padded_outputs; j += NN_PANEL) {
            size_t width = nn_panel_width(layer->padded_outputs, j), num = nn_min(num_outputs - j, width);
            float *panel = w + j * num_inputs;
            if (to_flat != NULL) {
                copy_rows(to_flat + first + j, num_outputs, panel, width, num_inputs, num);
            } else {
                copy_rows(panel, width, flat + first + j, num_outputs, num_inputs, num);
            }
        }
        first += num_inputs * num_outputs;
        if (to_flat != NULL) {
            memcpy(to_flat + first, b, num_outputs * sizeof(float));
        } else {
            memcpy(b, flat + first, num_outputs * sizeof(float));
        }
        first += num_outputs;
    }
}

void nn_pack(const NNWorkspace *ws, int what, const float *flat)
{
    copy_packed(ws, what, flat, NULL);
}

void nn_unpack(const NNWorkspace *ws, int what, float *flat)
{
    copy_packed(ws, what, flat, flat);
}

int nn_parameters_finite(const NNWorkspace *ws)
{
    int all_finite = 1;
    for (size_t l = 0; l < ws->num_layers; l++) {
        const NNLayer *layer = &ws->layers[l];
        all_finite = all_finite && ws->kernels->all_finite(layer->w, layer->num_weights);
        all_finite = all_finite && ws->kernels->all_finite(layer->b, layer->padded_outputs);
    }
    return all_finite;
}
