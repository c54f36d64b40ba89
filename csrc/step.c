/* step.c: see step.h. */
#include "step.h"

#include <float.h>
#include <math.h>
#include <string.h>

#define LINE_FLOATS 16    /* in a cache line */
#define ROWS_PER_FETCH 48 /* rows of the weights that are updated between two looks ahead */

static size_t sample_at(const Training *t, size_t i)
{
    return t->order == NULL ? i : t->order[i];
}

/* ---- The phases of a block: num samples, the first of them number `first` of the order ---- */

/* A thread's share of the tiles of a product, panel by panel: rows of one panel at a time. */
typedef struct {
    size_t padded_columns, num_rows;
    size_t position, end;                /* in tiles of all panels, one after another */
    size_t column, width, row, last_row; /* the panel, and what is to be done of it now */
} Tiles;

static Tiles share_tiles(size_t padded_columns, size_t num_rows, int number, int team_size)
{
    size_t per_panel = (num_rows + NN_TILE_ROWS - 1) / NN_TILE_ROWS;
    NNRange range = nn_share((padded_columns + NN_PANEL - 1) / NN_PANEL * per_panel, number, team_size);
    Tiles tiles = {padded_columns, num_rows, range.first, range.last, 0, 0, 0, 0};
    return tiles;
}

static int next_tiles(Tiles *tiles)
{
    size_t per_panel = (tiles->num_rows + NN_TILE_ROWS - 1) / NN_TILE_ROWS, first, last;
    if (tiles->position >= tiles->end) {
        return 0;
    }
    first = tiles->position % per_panel;
    last = first + (tiles->end - tiles->position);
    last = last < per_panel ? last : per_panel;
    tiles->column = tiles->position / per_panel * NN_PANEL;
    tiles->width = tiles->padded_columns - tiles->column;
    tiles->width = tiles->width < NN_PANEL ? tiles->width : NN_PANEL;
    tiles->row = first * NN_TILE_ROWS;
    tiles->last_row = last < per_panel ? last * NN_TILE_ROWS : tiles->num_rows;
    tiles->position += last - first;
    return 1;
}

/* Leaves activations out by chance, and makes the others larger, so that their expected value stays. A number of 16 bits decides
 * for each: it belongs to the seed, the layer, the place of the sample in the epoch and the neuron. `first` is the place of the
 * block's first sample. */
static void drop(const Training *t, size_t l, size_t first, const Tiles *tiles)
{
    NNLayer *layer = &t->plan.layers[l];
    uint32_t limit = (uint32_t)(t->dropout[l] * 65536 + 0.5);
    float scale = 65536.0f / (float)(65536 - limit);
    uint64_t seed = nn_random(t->dropout_seed, l);

    for (size_t i = tiles->row; i < tiles->last_row; i++) {
        float *a = layer->a + i * layer->stride + tiles->column, *mask = layer->mask + i * layer->stride + tiles->column;
        uint64_t place = ((uint64_t)(first + i) * layer->padded + tiles->column) / 4;
        for (size_t j = 0; j < tiles->width; j += 4) {
            uint64_t bits = nn_random(seed, place + j / 4);
            for (size_t q = 0; q < 4; q++) {
                mask[j + q] = (bits >> (16 * q) & 0xffff) < limit ? 0.0f : scale;
                a[j + q] *= mask[j + q];
            }
        }
    }
}

static void forward_phase(Training *t, size_t l, const float *const *a, size_t first, size_t num, int number, int team_size)
{
    NNLayer *layer = &t->plan.layers[l];
    Tiles tiles = share_tiles(layer->padded, num, number, team_size);
    while (next_tiles(&tiles)) {
        size_t at = tiles.row * layer->stride + tiles.column;
        t->plan.kernels->forward(layer->function, a + tiles.row, tiles.last_row - tiles.row, layer->rows,
                                 layer->w + tiles.column * layer->rows, tiles.width, layer->b + tiles.column, layer->a + at,
                                 layer->saved == NULL ? NULL : layer->saved + at, layer->stride);
        if (layer->mask != NULL) {
            drop(t, l, first, &tiles);
        }
    }
}

static void output_phase(Training *t, size_t first, size_t num, float scale, int number, int team_size)
{
    const NNWorkspace *plan = &t->plan;
    NNLayer *layer = &plan->layers[plan->num_layers - 1];
    NNRange range = nn_share(num, number, team_size);
    for (size_t i = range.first; i < range.last; i++) {
        size_t sample = sample_at(t, first + i);
        float *z = layer->a + i * layer->stride, *d = layer->d + i * layer->stride;
        const float *y = t->samples.y.data == NULL ? NULL : nn_row(t->samples.y, sample);
        size_t label = y == NULL ? (size_t)t->samples.labels[sample] : 0;
        float weight = t->samples.sample_weights == NULL ? 1.0f : t->samples.sample_weights[sample];
        plan->costs[i] = plan->kernels->output(plan->output_function, plan->nn.loss, z, y, label, scale * weight, d, layer->cols);
        plan->costs[i] = weight > 0 ? plan->costs[i] * weight : 0; /* whatever a sample that does not count costs */
        if (!(fabsf(plan->costs[i]) <= 3.402823466e38f)) {
            nn_set_flag(&t->diverged, 1); /* read after a barrier */
        }
    }
}

/* Rows of a panel of w become columns of wt, of each panel that they fall into. */
static void transpose_tiles(const NNKernels *kernels, NNLayer *layer, const Tiles *tiles)
{
    size_t padded_rows = (layer->rows + NN_PAD - 1) / NN_PAD * NN_PAD;
    size_t cols = layer->cols - tiles->column < tiles->width ? layer->cols - tiles->column : tiles->width;
    for (size_t k = tiles->row, end; k < tiles->last_row; k = end) {
        size_t panel = k / NN_PANEL * NN_PANEL;
        size_t width = padded_rows - panel < NN_PANEL ? padded_rows - panel : NN_PANEL;
        const float *from = layer->w + tiles->column * layer->rows + k * tiles->width;
        float *to = layer->wt + panel * layer->cols + tiles->column * width + (k - panel);
        end = panel + NN_PANEL < tiles->last_row ? panel + NN_PANEL : tiles->last_row;
        kernels->transpose(from, tiles->width, end - k, cols, to, width);
    }
}

void nn_transpose_weights(const NNWorkspace *plan, int number, int team_size)
{
    for (size_t l = 0; l < plan->num_layers; l++) {
        NNLayer *layer = &plan->layers[l];
        Tiles tiles = share_tiles(layer->padded, layer->rows, number, team_size);
        while (layer->wt != NULL && next_tiles(&tiles)) {
            transpose_tiles(plan->kernels, layer, &tiles);
        }
    }
}

/* Back through the weights of layer l to the deltas of the one before it. */
static void delta_phase(Training *t, size_t l, size_t num, int number, int team_size)
{
    NNLayer *next = &t->plan.layers[l], *layer = next - 1;
    const float *act = layer->saved == NULL ? layer->a : layer->saved;
    Tiles tiles = share_tiles(layer->padded, num, number, team_size);
    while (next_tiles(&tiles)) {
        size_t at = tiles.row * layer->stride + tiles.column;
        t->plan.kernels->delta(layer->function, next->d_rows + tiles.row, tiles.last_row - tiles.row, next->cols,
                               next->wt + tiles.column * next->cols, tiles.width, act + at, layer->d + at, layer->stride);
        for (size_t i = tiles.row; layer->mask != NULL && i < tiles.last_row; i++) {
            float *d = layer->d + i * layer->stride + tiles.column, *mask = layer->mask + i * layer->stride + tiles.column;
            for (size_t j = 0; j < tiles.width; j++) {
                d[j] *= mask[j];
            }
        }
    }
}

/* And to the inputs. The samples are shared out, not the tiles, so that each thread can copy what it has computed. */
static void input_delta_phase(Training *t, size_t first, size_t num, int number, int team_size)
{
    const NNWorkspace *plan = &t->plan;
    NNLayer *next = &plan->layers[0];
    size_t padded_inputs = (next->rows + NN_PAD - 1) / NN_PAD * NN_PAD;
    NNRange range = nn_share(num, number, team_size);
    float *d = plan->input_d + range.first * plan->input_stride;
    for (size_t j = 0; j < padded_inputs; j += NN_PANEL) {
        size_t width = padded_inputs - j < NN_PANEL ? padded_inputs - j : NN_PANEL;
        plan->kernels->delta(NN_LINEAR, next->d_rows + range.first, range.last - range.first, next->cols,
                             next->wt + j * next->cols, width, NULL, d + j, plan->input_stride);
    }
    for (size_t i = range.first; i < range.last; i++) {
        memcpy(&MAT_AT(t->input_grad, first + i, 0), plan->input_d + i * plan->input_stride, next->rows * sizeof(float));
    }
}

/* Asks for the rows of samples that come next, number first to last of the order, to be brought into the cache. */
static void fetch(const Training *t, size_t first, size_t last)
{
#ifdef __GNUC__
    for (size_t i = first; i < last; i++) {
        const float *row = nn_row(t->samples.x, sample_at(t, i));
        for (size_t k = 0; k < t->samples.x.cols; k += LINE_FLOATS) {
            __builtin_prefetch(row + k, 0, 2);
        }
        __asm__ __volatile__(""); /* or GCC takes a function that only prefetches for one that does nothing */
    }
#else
    (void)t, (void)first, (void)last;
#endif
}

/* Of a step. */
typedef struct {
    size_t num; /* samples */
    int is_first, is_last;
} Block;

/* What the block adds to the parameters of a layer. On the last block of a step of plain gradient descent it goes into them at
 * once, otherwise it is summed up in grad_w and grad_b; the optimiser follows on the last, if it need not know all of the
 * gradient first. */
static void update_tiles(Training *t, NNLayer *layer, const float *const *a, Block block, Tiles tiles)
{
    const NNKernels *kernels = t->plan.kernels;
    int at_once = block.is_last && t->is_direct;
    size_t panel = tiles.column * layer->rows, at = panel + tiles.row * tiles.width;
    float *w = at_once ? layer->w + panel : NULL, *sum = block.is_first ? NULL : layer->grad_w + panel;

    kernels->update(a, block.num, tiles.row, tiles.last_row, layer->d + tiles.column, layer->stride, w, sum,
                    at_once ? w : layer->grad_w + panel, tiles.width);
    if (block.is_last && t->takes_steps && !at_once && t->clip == 0) {
        kernels->step(&t->step, layer->grad_w + at, layer->m + at, layer->v + at, layer->w + at,
                      (tiles.last_row - tiles.row) * tiles.width);
    }
}

static void update_biases(Training *t, NNLayer *layer, Block block, int number, int team_size)
{
    int at_once = block.is_last && t->is_direct;
    NNRange range = nn_share(layer->padded / NN_PAD, number, team_size);
    size_t b = range.first * NN_PAD, num = (range.last - range.first) * NN_PAD, moment = layer->num_weights + b;

    t->plan.kernels->update_bias(layer->d + b, block.num, layer->stride, at_once ? layer->b + b : NULL,
                                 block.is_first ? NULL : layer->grad_b + b, (at_once ? layer->b : layer->grad_b) + b, num);
    if (block.is_last && t->takes_steps && !at_once && t->clip == 0) {
        t->plan.kernels->step(&t->bias_step, layer->grad_b + b, layer->m + moment, layer->v + moment, layer->b + b, num);
    }
}

/* On the way the thread fetches its share of the samples first to last, which the next block will begin with. */
static void update_phase(Training *t, size_t l, const float *const *a, Block block, NNRange next, int number, int team_size)
{
    NNLayer *layer = &t->plan.layers[l];
    Tiles tiles = share_tiles(layer->padded, layer->rows, number, team_size);
    size_t num_left = (tiles.end - tiles.position) * NN_TILE_ROWS / ROWS_PER_FETCH + 1;
    NNRange own = nn_share(next.last - next.first, number, team_size);
    own.first += next.first;
    own.last += next.first;

    while (next_tiles(&tiles)) {
        Tiles part = tiles;
        for (; part.row < tiles.last_row; part.row = part.last_row) {
            size_t now = (own.last - own.first) / num_left;
            part.last_row = part.row + ROWS_PER_FETCH < tiles.last_row ? part.row + ROWS_PER_FETCH : tiles.last_row;
            fetch(t, own.first, own.first + now);
            own.first += now;
            num_left -= num_left > 1;
            update_tiles(t, layer, a, block, part);
        }
    }
    fetch(t, own.first, own.last);
    update_biases(t, layer, block, number, team_size);
}

/* ---- Clipping: a step when all of the gradient is known ---- */

/* The parts of an array whose numbers are from `number` on, of which own are the thread's; returns the number after. */
static size_t square_parts(const Training *t, const float *x, size_t num, size_t number, NNRange own)
{
    for (size_t first = 0; first < num; first += NN_PART_OF_SQUARES, number++) {
        size_t size = num - first < NN_PART_OF_SQUARES ? num - first : NN_PART_OF_SQUARES;
        if (number >= own.first && number < own.last) {
            t->plan.squares[number] = t->plan.kernels->sum_squares(x + first, size);
        }
    }
    return number;
}

/* The same in double precision, all by one thread, for a gradient whose squares are too large for single precision. */
static double large_squares(const NNWorkspace *plan)
{
    double total = 0;
    for (size_t l = 0; l < plan->num_layers; l++) {
        const NNLayer *layer = &plan->layers[l];
        for (size_t i = 0; i < layer->num_weights; i++) {
            total += (double)layer->grad_w[i] * (double)layer->grad_w[i];
        }
        for (size_t j = 0; j < layer->padded; j++) {
            total += (double)layer->grad_b[j] * (double)layer->grad_b[j];
        }
    }
    return total;
}

/* Rescaled to the largest norm that is allowed, the gradient goes to the optimiser. */
static void clipped_step(Training *t, NNTeam *team, int number)
{
    const NNWorkspace *plan = &t->plan;
    NNStep step = t->step, bias_step = t->bias_step;
    size_t num_parts = 0, part = 0;
    NNRange own;
    double total = 0;

    for (size_t l = 0; l < plan->num_layers; l++) {
        num_parts += nn_num_parts(plan->layers[l].num_weights) + nn_num_parts(plan->layers[l].padded);
    }
    own = nn_share(num_parts, number, team->size);
    for (size_t l = 0; l < plan->num_layers; l++) {
        const NNLayer *layer = &plan->layers[l];
        part = square_parts(t, layer->grad_w, layer->num_weights, part, own);
        part = square_parts(t, layer->grad_b, layer->padded, part, own);
    }
    nn_team_wait(team);
    for (size_t p = 0; p < num_parts; p++) {
        total += plan->squares[p];
    }
    total = total <= DBL_MAX ? total : large_squares(plan);
    if (total > t->clip * t->clip) {
        step.scale = bias_step.scale = (float)(t->clip / sqrt(total));
    }
    for (size_t l = 0; l < plan->num_layers; l++) {
        const NNLayer *layer = &plan->layers[l];
        NNRange w = nn_share(layer->num_weights / NN_PAD, number, team->size), b = nn_share(layer->padded / NN_PAD, number, team->size);
        size_t at = w.first * NN_PAD, bias_at = b.first * NN_PAD, moment = layer->num_weights + bias_at;
        plan->kernels->step(&step, layer->grad_w + at, layer->m + at, layer->v + at, layer->w + at, (w.last - w.first) * NN_PAD);
        plan->kernels->step(&bias_step, layer->grad_b + bias_at, layer->m + moment, layer->v + moment, layer->b + bias_at,
                            (b.last - b.first) * NN_PAD);
    }
    nn_team_wait(team);
}

/* ---- A step ---- */

static void check_inputs(Training *t, const float *const *x, size_t num, int number, int team_size)
{
    NNRange range = nn_share(num, number, team_size);
    for (size_t i = range.first; i < range.last; i++) {
        if (!t->plan.kernels->are_finite(x[i], t->samples.x.cols)) {
            nn_set_flag(&t->not_finite, 1); /* read after a barrier */
        }
    }
}

/* As nn_do_step. */
static int do_block(Training *t, Step step, size_t done, double *cost, NNTeam *team, int number)
{
    NNWorkspace *plan = &t->plan;
    size_t first = step.first + done, left = step.size - done, num = left < plan->block ? left : plan->block;
    const float **x_rows = plan->x_rows + (size_t)number * plan->block; /* each thread has its own */
    const float *const *a = x_rows;
    Block block = {num, done == 0, done + num == step.size};
    NNRange next = {first + num, first + num + plan->block}, nothing = {0, 0};

    next.last = next.last < t->samples.x.rows ? next.last : t->samples.x.rows;
    for (size_t i = 0; i < num; i++) {
        x_rows[i] = nn_row(t->samples.x, sample_at(t, first + i));
    }
    if (t->unchecked) {
        check_inputs(t, a, num, number, team->size);
    }
    for (size_t l = 0; l < plan->num_layers; l++) {
        forward_phase(t, l, a, first, num, number, team->size);
        nn_team_wait(team);
        a = plan->layers[l].a_rows;
    }
    output_phase(t, first, num, step.scale, number, team->size);
    nn_transpose_weights(plan, number, team->size);
    if (number == 0) {
        t->stop = nn_poll(t->monitor, 3 * num * nn_work(plan->nn)) ? NN_STOPPED : NN_OK;
        t->stop = t->not_finite ? NN_NOT_FINITE : t->stop;
    }
    nn_team_wait(team);
    if (t->stop || (t->takes_steps && nn_flag(&t->diverged))) {
        return 1;
    }
    for (size_t i = 0; i < num && number == 0 && cost != NULL; i++) {
        *cost += (double)plan->costs[i];
    }
    for (size_t l = plan->num_layers; l-- > 0;) {
        if (l > 0) {
            delta_phase(t, l, num, number, team->size);
            update_phase(t, l, plan->layers[l - 1].a_rows, block, nothing, number, team->size);
        } else {
            update_phase(t, l, x_rows, block, next, number, team->size);
        }
        nn_team_wait(team);
    }
    if (t->input_grad.data != NULL) {
        input_delta_phase(t, first, num, number, team->size);
        nn_team_wait(team); /* before the deltas are overwritten */
    }
    return 0;
}

int nn_do_step(Training *t, Step step, double *cost, NNTeam *team, int number)
{
    for (size_t done = 0; done < step.size; done += t->plan.block) {
        if (do_block(t, step, done, cost, team, number)) {
            return 1;
        }
    }
    if (t->takes_steps && t->clip > 0) {
        clipped_step(t, team, number);
    }
    return 0;
}
