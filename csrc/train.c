/* train.c: gradients and training, by batches. See engine.h; the tiny networks of tiny.h are trained in tiny.c.
 *
 * A step goes through phases with a barrier after each: forward through every layer; the cost, the delta of the output and, beside
 * it, the transposed weights; then backward, for every layer the delta of the layer before it and the update of its parameters.
 * In a phase the threads share the tiles of what it computes, always the same ones for the same shape, so that weights stay in the
 * cache of the thread that last changed them. */
#include <math.h>
#include <string.h>

#include "plan.h"
#include "team.h"
#include "tiny.h"

#ifndef MAX_BLOCK /* the tests make do with a few */
#define MAX_BLOCK 1024
#define MIN_BLOCK 64
#endif
#define LINE_FLOATS 16    /* in a cache line */
#define ROWS_PER_FETCH 48 /* rows of the weights that are updated between two looks ahead */
#define WORK_OF_A_BLOCK ((size_t)3 << 29) /* multiply-adds of a forward pass: a poll comes often enough */

/* A call to nn_train or nn_gradient, as its threads see it. */
typedef struct {
    NNPlan plan;
    NNSamples samples;
    NNOptimizer *optimizer; /* NULL if only the gradient is wanted */
    NNSchedule schedule;
    NNMonitor *monitor;
    NNAdam adam;
    size_t *order;          /* of the samples, where they are shuffled */
    int stop;               /* a code, written by thread 0 between two barriers, read by all after */
    int unchecked;          /* whether inputs are still to be looked at: in the first epoch */
    int not_finite;         /* written by any thread that sees one */
} Training;

/* One step: `size` samples of the order from `first` on, in blocks. */
typedef struct {
    size_t first, size;
    float scale; /* of the delta: what dC_i/dz is multiplied with */
} Step;

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

static void forward_phase(Training *t, size_t l, const float *const *a, size_t num, int number, int team_size)
{
    NNLayer *layer = &t->plan.layers[l];
    Tiles tiles = share_tiles(layer->padded, num, number, team_size);
    while (next_tiles(&tiles)) {
        t->plan.kernels->forward(layer->function, a + tiles.row, tiles.last_row - tiles.row, layer->rows,
                                 layer->w + tiles.column * layer->rows, tiles.width, layer->b + tiles.column,
                                 layer->a + tiles.row * layer->stride + tiles.column, layer->stride);
    }
}

static void output_phase(Training *t, size_t first, size_t num, float scale, int number, int team_size)
{
    NNLayer *layer = &t->plan.layers[t->plan.num_layers - 1];
    NNRange range = nn_share(num, number, team_size);
    for (size_t i = range.first; i < range.last; i++) {
        size_t sample = sample_at(t, first + i);
        float *a = layer->a + i * layer->stride, *d = layer->d + i * layer->stride;
        const float *y = t->samples.y.data == NULL ? NULL : nn_row(t->samples.y, sample);
        if (layer->function == NN_SOFTMAX) {
            size_t label = y == NULL ? (size_t)t->samples.labels[sample] : 0;
            t->plan.costs[i] = t->plan.kernels->output_cross_entropy(a, y, label, scale, d, layer->cols);
        } else {
            t->plan.costs[i] = t->plan.kernels->output_mse(layer->function, a, y, scale, d, layer->cols);
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

static void transpose_phase(Training *t, int number, int team_size)
{
    for (size_t l = 1; l < t->plan.num_layers; l++) {
        NNLayer *layer = &t->plan.layers[l];
        Tiles tiles = share_tiles(layer->padded, layer->rows, number, team_size);
        while (next_tiles(&tiles)) {
            transpose_tiles(t->plan.kernels, layer, &tiles);
        }
    }
}

static void delta_phase(Training *t, size_t l, size_t num, int number, int team_size)
{
    NNLayer *next = &t->plan.layers[l], *layer = next - 1;
    Tiles tiles = share_tiles(layer->padded, num, number, team_size);
    while (next_tiles(&tiles)) {
        size_t at = tiles.row * layer->stride + tiles.column;
        t->plan.kernels->delta(layer->function, next->d_rows + tiles.row, tiles.last_row - tiles.row, next->cols,
                               next->wt + tiles.column * next->cols, tiles.width, layer->a + at, layer->d + at, layer->stride);
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

/* What the block adds to the parameters of a layer. On the last block of a step of gradient descent it goes into them at once,
 * otherwise it is summed up in grad_w and grad_b; Adam follows on the last. */
static void update_tiles(Training *t, NNLayer *layer, const float *const *a, Block block, Tiles tiles)
{
    const NNKernels *kernels = t->plan.kernels;
    int kind = t->optimizer == NULL ? -1 : t->optimizer->kind;
    int at_once = block.is_last && kind == NN_GRADIENT_DESCENT;
    size_t panel = tiles.column * layer->rows, at = panel + tiles.row * tiles.width;
    float *w = at_once ? layer->w + panel : NULL, *sum = block.is_first ? NULL : layer->grad_w + panel;

    kernels->update(a, block.num, tiles.row, tiles.last_row, layer->d + tiles.column, layer->stride, w, sum,
                    at_once ? w : layer->grad_w + panel, tiles.width);
    if (block.is_last && kind == NN_ADAM) {
        kernels->adam(&t->adam, layer->grad_w + at, layer->m + at, layer->v + at, layer->w + at,
                      (tiles.last_row - tiles.row) * tiles.width);
    }
}

static void update_biases(Training *t, NNLayer *layer, Block block, int number, int team_size)
{
    int kind = t->optimizer == NULL ? -1 : t->optimizer->kind;
    int at_once = block.is_last && kind == NN_GRADIENT_DESCENT;
    NNRange range = nn_share(layer->padded / NN_PAD, number, team_size);
    size_t b = range.first * NN_PAD, num = (range.last - range.first) * NN_PAD, moment = layer->num_weights + b;

    t->plan.kernels->update_bias(layer->d + b, block.num, layer->stride, at_once ? layer->b + b : NULL,
                                 block.is_first ? NULL : layer->grad_b + b, (at_once ? layer->b : layer->grad_b) + b, num);
    if (block.is_last && kind == NN_ADAM) {
        t->plan.kernels->adam(&t->adam, layer->grad_b + b, layer->m + moment, layer->v + moment, layer->b + b, num);
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

/* Not 0 if the call is to stop; the parameters are as before the step then. *cost is added to, by thread 0. */
static int do_block(Training *t, Step step, size_t done, double *cost, NNTeam *team, int number)
{
    NNPlan *plan = &t->plan;
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
        forward_phase(t, l, a, num, number, team->size);
        nn_team_wait(team);
        a = plan->layers[l].a_rows;
    }
    output_phase(t, first, num, step.scale, number, team->size);
    transpose_phase(t, number, team->size);
    if (number == 0) {
        t->stop = nn_poll(t->monitor, 3 * num * nn_work(plan->nn)) ? NN_STOPPED : NN_OK;
        t->stop = t->not_finite ? NN_NOT_FINITE : t->stop;
    }
    nn_team_wait(team);
    if (t->stop) {
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
    return 0;
}

static int do_step(Training *t, Step step, double *cost, NNTeam *team, int number)
{
    for (size_t done = 0; done < step.size; done += t->plan.block) {
        if (do_block(t, step, done, cost, team, number)) {
            return 1;
        }
    }
    return 0;
}

/* ---- Training ---- */

/* The order of an epoch: Fisher and Yates' shuffle, with the numbers of nn_random. */
static void shuffle(size_t *order, size_t num, uint64_t seed, size_t epoch)
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

/* The constants of Adam's next step. The powers are products in double precision: pow is each library's own. */
static void prepare_adam(Training *t)
{
    NNOptimizer *o = t->optimizer;
    o->power1 *= o->beta1;
    o->power2 *= o->beta2;
    t->adam.rate = (float)(o->rate / (1 - o->power1));
    t->adam.root = (float)(1 / sqrt(1 - o->power2));
    t->adam.epsilon = (float)o->epsilon;
    t->adam.one_less_beta1 = (float)(1 - o->beta1);
    t->adam.beta2 = (float)o->beta2;
    t->adam.one_less_beta2 = (float)(1 - o->beta2);
}

static float scale_of(const Training *t, size_t num)
{
    double factor = t->plan.nn.functions[t->plan.num_layers - 1] == NN_SOFTMAX ? 1 : 2;
    double rate = t->optimizer != NULL && t->optimizer->kind == NN_GRADIENT_DESCENT ? -t->optimizer->rate : 1;
    return (float)(factor * rate / (double)num);
}

static void train(void *context, NNTeam *team, int number)
{
    Training *t = (Training *)context;
    size_t num_samples = t->samples.x.rows, size = t->schedule.batch_size;
    int is_adam = t->optimizer->kind == NN_ADAM;

    for (size_t epoch = 0; epoch < t->schedule.num_epochs; epoch++) {
        double cost = 0;
        if (number == 0 && t->order != NULL) {
            shuffle(t->order, num_samples, t->schedule.seed, t->schedule.first_epoch + epoch);
        }
        nn_team_wait(team);
        for (size_t first = 0; first < num_samples; first += size) {
            size_t left = num_samples - first;
            Step step = {first, left < size ? left : size, 0};
            step.scale = scale_of(t, step.size);
            if (number == 0 && is_adam) {
                prepare_adam(t); /* read after the barriers of the forward pass */
            }
            if (do_step(t, step, t->schedule.costs == NULL ? NULL : &cost, team, number)) {
                return;
            }
        }
        if (number == 0) {
            t->unchecked = 0;
            t->monitor->done++;
            if (t->schedule.costs != NULL) {
                t->schedule.costs[epoch] = (float)(cost / (double)num_samples);
            }
        }
    }
}

static void gradient(void *context, NNTeam *team, int number)
{
    Training *t = (Training *)context;
    size_t num = t->samples.x.rows;
    Step step = {0, num, scale_of(t, num)};
    do_step(t, step, NULL, team, number);
}

/* As many samples at a time as a step has, but not so many that a poll would come late. */
static size_t block_for(NeuralNetwork nn, size_t step_size, const NNKernels *kernels)
{
    size_t work = kernels->is_slow ? WORK_OF_A_BLOCK / 64 : WORK_OF_A_BLOCK;
    size_t block = work / nn_work(nn);
    block = block < MIN_BLOCK ? MIN_BLOCK : block > MAX_BLOCK ? MAX_BLOCK : block;
    return block < step_size ? block : step_size;
}

int nn_gradient(NeuralNetwork nn, NeuralNetwork grad, NNSamples samples, NNMachine machine, NNMonitor *monitor)
{
    Training t = {.samples = samples, .monitor = monitor, .unchecked = 1};
    size_t num = samples.x.rows;
    const NNKernels *kernels = nn_kernels_available(machine.isa);
    size_t block = block_for(nn, num, kernels);
    int num_threads = nn_worthwhile_threads(nn, block, num, machine.num_threads);

    t.plan = nn_plan(nn, kernels, block, num_threads, NN_PLAN_DELTAS | NN_PLAN_GRADIENT);
    if (t.plan.memory == NULL) {
        return NN_NO_MEMORY;
    }
    nn_team_run(num_threads, gradient, &t);
    if (!t.stop) {
        nn_unpack(&t.plan, NN_PACK_GRADIENT, grad.weights[0].data);
    }
    nn_plan_free(&t.plan);
    return t.stop;
}

int nn_train(NeuralNetwork nn, NNSamples samples, NNOptimizer *optimizer, NNSchedule schedule, NNMachine machine,
             NNMonitor *monitor)
{
    Training t = {.samples = samples, .optimizer = optimizer, .schedule = schedule, .monitor = monitor};
    size_t num = samples.x.rows, step_size = schedule.batch_size < num ? schedule.batch_size : num;
    size_t num_parameters = nn_num_parameters(nn);
    const NNKernels *kernels = nn_kernels_available(machine.isa);
    size_t block = block_for(nn, step_size, kernels);
    size_t num_epochs = schedule.num_epochs < 1000 ? schedule.num_epochs : 1000; /* that is enough to start threads for */
    int num_threads = nn_worthwhile_threads(nn, block, num * num_epochs, machine.num_threads);
    int is_adam = optimizer->kind == NN_ADAM;
    int what = is_adam ? NN_PLAN_GRADIENT | NN_PLAN_MOMENTS : block < step_size ? NN_PLAN_GRADIENT : 0;

    if (nn_is_tiny(nn, samples, optimizer, &schedule)) {
        return nn_train_tiny(nn, samples, optimizer, schedule, machine, monitor);
    }
    t.unchecked = schedule.first_epoch == 0;
    t.plan = nn_plan(nn, kernels, block, num_threads, NN_PLAN_DELTAS | what);
    if (schedule.shuffle) {
        t.order = (size_t *)malloc(num * sizeof(size_t));
    }
    if (t.plan.memory == NULL || (schedule.shuffle && t.order == NULL)) {
        nn_plan_free(&t.plan);
        free(t.order);
        return NN_NO_MEMORY;
    }
    if (is_adam) {
        nn_pack(&t.plan, NN_PACK_M, optimizer->moments);
        nn_pack(&t.plan, NN_PACK_V, optimizer->moments + num_parameters);
    }
    nn_team_run(num_threads, train, &t);
    if (t.stop != NN_NOT_FINITE) {
        nn_unpack(&t.plan, NN_PACK_PARAMETERS, nn.weights[0].data);
    }
    if (is_adam && t.stop != NN_NOT_FINITE) {
        nn_unpack(&t.plan, NN_PACK_M, optimizer->moments);
        nn_unpack(&t.plan, NN_PACK_V, optimizer->moments + num_parameters);
    }
    nn_plan_free(&t.plan);
    free(t.order);
    return t.stop;
}
