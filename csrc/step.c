/* step.c: see step.h. The passes through the layers are in propagate.c. */
#include "step.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "monitor.h"
#include "propagate.h"
#include "scaling.h"

#ifndef MAX_BLOCK /* tests define smaller blocks */
#define MAX_BLOCK 1024
#define MIN_BLOCK 64
#endif
#define WORK_PER_BLOCK ((size_t)3 << 29)     /* the most multiply-adds in a block's forward pass, so that polls are frequent */
#define SLOW_FACTOR 64                       /* how many times slower kernels are with emulated fused multiply-adds */
#define FLOATS_PER_CACHE_LINE 16
#define ROWS_PER_PREFETCH 48 /* rows of weights that are updated between two prefetches */

/* The part of a mini-batch that goes through the phases together. */
typedef struct {
    size_t first;          /* its first sample is order[first]; row i of the workspace is sample order[first + i] */
    size_t num;
    int is_first, is_last; /* whether it is the first, the last block of the mini-batch */
} Block;

int nn_can_update_in_place(const NNOptimizer *o)
{
    return o->kind == NN_SGD && o->beta1 == 0 && o->l2 == 0 && o->weight_decay == 0 && o->clip_norm == 0;
}

float nn_delta_scale(const NNStepContext *c, size_t batch_size, double learning_rate)
{
    double factor = c->ws.nn.loss.kind == NN_MSE ? 2 : 1;
    return (float)(factor * (c->updates_in_place ? -learning_rate : 1) / (double)batch_size);
}

size_t nn_choose_block(NeuralNetwork nn, size_t batch_size, const NNKernels *kernels)
{
    size_t block = (kernels->is_slow ? WORK_PER_BLOCK / SLOW_FACTOR : WORK_PER_BLOCK) / nn_work_per_sample(nn);
    block = block < MIN_BLOCK ? MIN_BLOCK : nn_min(block, MAX_BLOCK);
    return nn_min(block, batch_size);
}

/* Returns the sample at a position of the epoch. */
static size_t sample_at(const NNStepContext *c, size_t position)
{
    return c->order == NULL ? position : c->order[position];
}

/* ---- Forward ---- */

/* Inverted dropout, on some tiles of the activations of layer l: an activation becomes 0 with the drop probability, and the others
 * are divided by 1 - drop probability, so that the expected value stays the same. 16 random bits decide about each activation. They
 * come from a counter-based generator: they depend on the seed of the epoch, the layer, the position of the sample in the epoch and
 * the neuron, not on threads or blocks. Writes the factors to dropout_mask. */
static void apply_dropout(const NNStepContext *c, size_t l, size_t first, NNTiles tiles)
{
    const NNLayer *layer = &c->ws.layers[l];
    uint32_t drop_below = (uint32_t)(c->dropout[l] * 65536 + 0.5);
    float kept_factor = 65536.0f / (float)(65536 - drop_below);
    uint64_t layer_seed = nn_random(c->dropout_seed, l);

    for (size_t i = tiles.first_row; i < tiles.last_row; i++) {
        float *a = layer->a + i * layer->stride + tiles.column, *mask = layer->dropout_mask + i * layer->stride + tiles.column;
        uint64_t counter = ((uint64_t)(first + i) * layer->padded_outputs + tiles.column) / 4;
        for (size_t j = 0; j < tiles.width; j += 4) {
            uint64_t bits = nn_random(layer_seed, counter + j / 4);
            for (size_t q = 0; q < 4; q++) {
                mask[j + q] = (bits >> (16 * q) & 0xffff) < drop_below ? 0.0f : kept_factor;
                a[j + q] *= mask[j + q];
            }
        }
    }
}

/* Phase: the forward pass of layer l.
 *
 * x    row pointers of (block.num, inputs of the layer) */
static void forward_phase(NNStepContext *c, size_t l, const float *const *x, Block block, int thread_index, int num_threads)
{
    const NNLayer *layer = &c->ws.layers[l];
    NNTileIterator it = nn_share_tiles(block.num, layer->padded_outputs, thread_index, num_threads);
    while (nn_next_tiles(&it)) {
        nn_forward_tiles(&c->ws, l, x + it.tiles.first_row, it.tiles);
        if (layer->dropout_mask != NULL) {
            apply_dropout(c, l, block.first, it.tiles);
        }
    }
}

/* Phase: activations, losses and deltas of the output layer. */
static void output_phase(NNStepContext *c, Block block, float delta_scale, int thread_index, int num_threads)
{
    const NNWorkspace *ws = &c->ws;
    const NNLayer *layer = &ws->layers[ws->num_layers - 1];
    NNRange share = nn_share(block.num, thread_index, num_threads);
    for (size_t i = share.first; i < share.last; i++) {
        size_t sample = sample_at(c, block.first + i);
        float weight = nn_sample_weight(&c->samples, sample), loss;
        if (nn_scales_targets(ws)) {
            nn_scale_targets(ws, &c->samples, sample, i);
        }
        loss = ws->kernels->output_layer_loss(ws->output_activation, ws->nn.loss, layer->a + i * layer->stride,
                                              nn_network_targets(ws, &c->samples, sample, i), nn_label(&c->samples, sample),
                                              delta_scale * weight, layer->delta + i * layer->stride, layer->num_outputs);
        ws->losses[i] = nn_weighted_loss(weight, loss);
        if (!(fabsf(ws->losses[i]) <= FLT_MAX)) {
            nn_flag_set(&c->has_diverged, 1); /* read after a barrier */
        }
    }
}

/* ---- Backward ---- */

/* The backward pass through dropout, on some tiles: delta *= dropout_mask. */
static void apply_dropout_mask(const NNLayer *layer, NNTiles tiles)
{
    for (size_t i = tiles.first_row; i < tiles.last_row; i++) {
        size_t at = i * layer->stride + tiles.column;
        float *delta = layer->delta + at, *mask = layer->dropout_mask + at;
        for (size_t j = 0; j < tiles.width; j++) {
            delta[j] *= mask[j];
        }
    }
}

/* Whether the backward pass reads the weights themselves: for one sample that takes less time than to transpose them. With several
 * threads each would read weights that another one is changing. */
static int needs_no_transposes(const NNStepContext *c, Block block, int num_threads)
{
    return block.num == 1 && num_threads == 1 && c->input_grad.data == NULL;
}

/* Whether such a backward pass updates the weights as well, while they are in the cache. */
static int updates_while_reading(const NNStepContext *c, Block block, int num_threads)
{
    return needs_no_transposes(c, block, num_threads) && c->updates_in_place && block.is_first && block.is_last;
}

/* Part of a phase: the backward pass from layer l to the delta of layer l - 1. */
static void backward_phase(NNStepContext *c, size_t l, Block block, int thread_index, int num_threads)
{
    const NNLayer *layer = &c->ws.layers[l - 1];
    NNTileIterator it = nn_share_tiles(block.num, layer->padded_outputs, thread_index, num_threads);
    int needs_tiles = !needs_no_transposes(c, block, num_threads);
    if (!needs_tiles) {
        nn_backward_one(&c->ws, l, updates_while_reading(c, block, num_threads));
    }
    while (nn_next_tiles(&it)) {
        if (needs_tiles) {
            nn_backward_tiles(&c->ws, l, it.tiles);
        }
        if (layer->dropout_mask != NULL) {
            apply_dropout_mask(layer, it.tiles);
        }
    }
}

/* Phase: the backward pass to the inputs. The threads divide the samples, so that each copies what it has computed. */
static void input_gradient_phase(NNStepContext *c, Block block, int thread_index, int num_threads)
{
    const NNWorkspace *ws = &c->ws;
    NNRange share = nn_share(block.num, thread_index, num_threads);
    NNTiles rows = {share.first, share.last, 0, 0};
    nn_backward_to_inputs(ws, rows);
    for (size_t i = share.first; i < share.last; i++) {
        memcpy(&MAT_AT(c->input_grad, block.first + i, 0), ws->input_delta + i * ws->input_stride,
               ws->nn.archi[0] * sizeof(float));
    }
}

/* Prefetches the inputs of the samples order[first], ..., order[last - 1] into the second-level cache. */
static void prefetch_inputs(const NNStepContext *c, size_t first, size_t last)
{
#ifdef __GNUC__
    for (size_t i = first; i < last; i++) {
        const float *row = nn_inputs(&c->samples, sample_at(c, i));
        for (size_t k = 0; k < c->samples.x.cols; k += FLOATS_PER_CACHE_LINE) {
            __builtin_prefetch(row + k, 0, 2);
        }
        __asm__ __volatile__(""); /* otherwise GCC sees no side effect and removes the calls of this function */
    }
#else
    (void)c, (void)first, (void)last;
#endif
}

/* The gradient of some tiles of the weights of a layer from one block. On the last block of an in-place update it is added to the
 * weights; otherwise it is summed in grad_w, and after the last block the optimiser step follows, unless clipping has to know the
 * whole gradient first.
 *
 * x    row pointers of (block.num, inputs of the layer) */
static void update_weights(NNStepContext *c, const NNLayer *layer, const float *const *x, Block block, NNTiles tiles)
{
    const NNKernels *kernels = c->ws.kernels;
    int in_place = block.is_last && c->updates_in_place;
    size_t panel = tiles.column * layer->num_inputs, at = panel + tiles.first_row * tiles.width;
    float *w = in_place ? layer->w + panel : NULL, *sum = block.is_first ? NULL : layer->grad_w + panel;

    kernels->accumulate_weight_gradient(x, block.num, tiles.first_row, tiles.last_row, layer->delta + tiles.column, layer->stride,
                                        w, sum, in_place ? w : layer->grad_w + panel, tiles.width,
                                        nn_columns_in_use(layer, tiles));
    if (block.is_last && c->updates_parameters && !in_place && c->clip_norm == 0) {
        kernels->optimizer_step(&c->weight_update, layer->grad_w + at, layer->m + at, layer->v + at, layer->w + at,
                                (tiles.last_row - tiles.first_row) * tiles.width);
    }
}

/* The same for a thread's share of the biases of a layer. */
static void update_biases(NNStepContext *c, const NNLayer *layer, Block block, int thread_index, int num_threads)
{
    const NNKernels *kernels = c->ws.kernels;
    int in_place = block.is_last && c->updates_in_place;
    NNRange share = nn_share(layer->padded_outputs / NN_PAD, thread_index, num_threads);
    size_t b = share.first * NN_PAD, num = (share.last - share.first) * NN_PAD, state = layer->num_weights + b;

    kernels->accumulate_bias_gradient(layer->delta + b, block.num, layer->stride, in_place ? layer->b + b : NULL,
                                      block.is_first ? NULL : layer->grad_b + b, (in_place ? layer->b : layer->grad_b) + b, num);
    if (block.is_last && c->updates_parameters && !in_place && c->clip_norm == 0) {
        kernels->optimizer_step(&c->bias_update, layer->grad_b + b, layer->m + state, layer->v + state, layer->b + b, num);
    }
}

/* Part of a phase: the gradient and the parameter update of layer l. Between groups of rows the thread prefetches its share of the
 * samples in `next`, the block that follows.
 *
 * x    row pointers of (block.num, inputs of the layer) */
static void update_phase(NNStepContext *c, size_t l, const float *const *x, Block block, NNRange next, int thread_index,
                         int num_threads)
{
    const NNLayer *layer = &c->ws.layers[l];
    NNTileIterator it = nn_share_tiles(layer->num_inputs, layer->padded_outputs, thread_index, num_threads);
    size_t prefetches_left = (it.end - it.next) * NN_TILE_ROWS / ROWS_PER_PREFETCH + 1;
    NNRange to_prefetch = nn_share(next.last - next.first, thread_index, num_threads);
    to_prefetch.first += next.first;
    to_prefetch.last += next.first;

    while (nn_next_tiles(&it)) {
        NNTiles part = it.tiles;
        for (; part.first_row < it.tiles.last_row; part.first_row = part.last_row) {
            size_t num = (to_prefetch.last - to_prefetch.first) / prefetches_left;
            part.last_row = nn_min(part.first_row + ROWS_PER_PREFETCH, it.tiles.last_row);
            prefetch_inputs(c, to_prefetch.first, to_prefetch.first + num);
            to_prefetch.first += num;
            prefetches_left -= prefetches_left > 1;
            update_weights(c, layer, x, block, part);
        }
    }
    prefetch_inputs(c, to_prefetch.first, to_prefetch.last);
    update_biases(c, layer, block, thread_index, num_threads);
}

/* ---- Gradient clipping: the optimiser step after the whole gradient is known ---- */

/* Computes the norm_parts of x, (num,), whose numbers are in `share`. The first part of x has the number first_part; returns the
 * number after the last one. */
static size_t sum_norm_parts(const NNWorkspace *ws, const float *x, size_t num, size_t first_part, NNRange share)
{
    size_t part = first_part;
    for (size_t first = 0; first < num; first += NN_NORM_PART_SIZE, part++) {
        if (part >= share.first && part < share.last) {
            ws->norm_parts[part] = ws->kernels->sum_squares(x + first, nn_min(num - first, NN_NORM_PART_SIZE));
        }
    }
    return part;
}

/* The squared norm of the gradient, by one thread in double precision, where single precision overflows. */
static double large_squared_norm(const NNWorkspace *ws)
{
    double total = 0;
    for (size_t l = 0; l < ws->num_layers; l++) {
        const NNLayer *layer = &ws->layers[l];
        for (size_t i = 0; i < layer->num_weights; i++) {
            total += (double)layer->grad_w[i] * (double)layer->grad_w[i];
        }
        for (size_t j = 0; j < layer->padded_outputs; j++) {
            total += (double)layer->grad_b[j] * (double)layer->grad_b[j];
        }
    }
    return total;
}

/* The squared norm of the gradient; every thread of the team calls it and gets the same bits. */
static double squared_norm(const NNWorkspace *ws, NNTeam *team, int thread_index)
{
    size_t num_parts = 0, part = 0;
    NNRange share;
    double total = 0;
    for (size_t l = 0; l < ws->num_layers; l++) {
        num_parts += nn_num_norm_parts(ws->layers[l].num_weights) + nn_num_norm_parts(ws->layers[l].padded_outputs);
    }
    share = nn_share(num_parts, thread_index, team->size);
    for (size_t l = 0; l < ws->num_layers; l++) {
        const NNLayer *layer = &ws->layers[l];
        part = sum_norm_parts(ws, layer->grad_w, layer->num_weights, part, share);
        part = sum_norm_parts(ws, layer->grad_b, layer->padded_outputs, part, share);
    }
    nn_team_barrier(team);
    for (part = 0; part < num_parts; part++) {
        total += ws->norm_parts[part];
    }
    return total <= DBL_MAX ? total : large_squared_norm(ws);
}

/* Phase: the optimiser step with the gradient scaled down to clip_norm, if its norm is larger. */
static void clipped_update_phase(NNStepContext *c, NNTeam *team, int thread_index)
{
    const NNWorkspace *ws = &c->ws;
    NNUpdateConstants weight_update = c->weight_update, bias_update = c->bias_update;
    double norm2 = squared_norm(ws, team, thread_index);
    if (norm2 > c->clip_norm * c->clip_norm) {
        weight_update.gradient_scale = bias_update.gradient_scale = (float)(c->clip_norm / sqrt(norm2));
    }
    for (size_t l = 0; l < ws->num_layers; l++) {
        const NNLayer *layer = &ws->layers[l];
        NNRange weights = nn_share(layer->num_weights / NN_PAD, thread_index, team->size);
        NNRange biases = nn_share(layer->padded_outputs / NN_PAD, thread_index, team->size);
        size_t w = weights.first * NN_PAD, b = biases.first * NN_PAD, state = layer->num_weights + b;
        ws->kernels->optimizer_step(&weight_update, layer->grad_w + w, layer->m + w, layer->v + w, layer->w + w,
                                    (weights.last - weights.first) * NN_PAD);
        ws->kernels->optimizer_step(&bias_update, layer->grad_b + b, layer->m + state, layer->v + state, layer->b + b,
                                    (biases.last - biases.first) * NN_PAD);
    }
}

/* ---- The step ---- */

/* Sets x to row pointers of the inputs of a block, (block.num, inputs). The threads divide the scaling and the check for NaN and
 * infinity; has_nonfinite_input says whether that found any. */
static void read_inputs(NNStepContext *c, const float **x, Block block, NNTeam *team, int thread_index)
{
    const NNWorkspace *ws = &c->ws;
    const NNSamples samples = c->samples; /* nothing changes it while x is written */
    NNRange share = nn_share(block.num, thread_index, team->size);
    for (size_t i = 0; i < block.num; i++) {
        x[i] = nn_network_inputs(ws, &samples, sample_at(c, block.first + i), i);
    }
    for (size_t i = share.first; i < share.last && nn_scales_inputs(ws); i++) {
        nn_scale_inputs(ws, &samples, sample_at(c, block.first + i), i);
    }
    for (size_t i = share.first; i < share.last && c->checks_inputs; i++) {
        if (!ws->kernels->all_finite(x[i], samples.x.cols)) {
            nn_flag_set(&c->has_nonfinite_input, 1); /* read after a barrier */
        }
    }
    if (nn_scales_inputs(ws)) {
        nn_team_barrier(team);
    }
}

/* The phases of the forward pass, up to the deltas of the output layer. Returns 0, or 1 as nn_take_step does.
 *
 * x    row pointers of (block.num, inputs) */
static int forward_block(NNStepContext *c, const float *const *x, Block block, float delta_scale, NNTeam *team, int thread_index)
{
    NNWorkspace *ws = &c->ws;
    for (size_t l = 0; l < ws->num_layers; l++) {
        forward_phase(c, l, x, block, thread_index, team->size);
        nn_team_barrier(team);
        x = ws->layers[l].a_rows;
    }
    output_phase(c, block, delta_scale, thread_index, team->size);
    if (!needs_no_transposes(c, block, team->size)) {
        nn_transpose_weights(ws, thread_index, team->size);
    }
    if (thread_index == 0) {
        size_t work = 3 * block.num * nn_work_per_sample(ws->nn); /* forward, backward and gradient */
        c->stop_code = nn_poll(c->monitor, work) ? NN_STOPPED : NN_OK;
        c->stop_code = c->has_nonfinite_input ? NN_NOT_FINITE : c->stop_code;
    }
    nn_team_barrier(team);
    return c->stop_code != NN_OK || (c->updates_parameters && nn_flag_get(&c->has_diverged));
}

/* The phases of the backward pass, with gradients and parameter updates.
 *
 * x      row pointers of (block.num, inputs)
 * next   the samples to prefetch, order[next.first] to order[next.last - 1] */
static void backward_block(NNStepContext *c, const float *const *x, Block block, NNRange next, NNTeam *team, int thread_index)
{
    NNWorkspace *ws = &c->ws;
    NNRange nothing = {0, 0};
    for (size_t l = ws->num_layers - 1; l > 0; l--) {
        backward_phase(c, l, block, thread_index, team->size);
        if (updates_while_reading(c, block, team->size)) {
            update_biases(c, &ws->layers[l], block, thread_index, team->size);
            continue;
        }
        update_phase(c, l, ws->layers[l - 1].a_rows, block, nothing, thread_index, team->size);
        nn_team_barrier(team);
    }
    update_phase(c, 0, x, block, next, thread_index, team->size);
    nn_team_barrier(team);
    if (c->input_grad.data != NULL) {
        input_gradient_phase(c, block, thread_index, team->size);
        nn_team_barrier(team); /* the next block overwrites the deltas */
    }
}

int nn_take_step(NNStepContext *c, NNMiniBatch batch, double *sum_losses, NNTeam *team, int thread_index)
{
    NNWorkspace *ws = &c->ws;
    const float **x = ws->x_rows + (size_t)thread_index * ws->block;
    for (size_t done = 0, num; done < batch.size; done += num) {
        size_t first = batch.first + done, end;
        num = nn_min(batch.size - done, ws->block);
        end = first + num;
        Block block = {first, num, done == 0, done + num == batch.size};
        NNRange next = {end, nn_min(end + ws->block, nn_num_samples(&c->samples))};
        read_inputs(c, x, block, team, thread_index);
        if (forward_block(c, x, block, batch.delta_scale, team, thread_index)) {
            return 1;
        }
        for (size_t i = 0; i < num && thread_index == 0 && sum_losses != NULL; i++) {
            *sum_losses += (double)ws->losses[i];
        }
        backward_block(c, x, block, next, team, thread_index);
    }
    if (c->updates_parameters && c->clip_norm > 0) {
        clipped_update_phase(c, team, thread_index);
        nn_team_barrier(team);
    }
    return 0;
}
