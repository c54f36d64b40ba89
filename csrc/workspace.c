/* workspace.c: see workspace.h. */
#include "workspace.h"

#include <string.h>

#include "team.h"

#define LINE 64 /* bytes of a cache line */

/* Between two polls: about as many multiply-adds as take 1 to 10 ms. */
#define WORK_BETWEEN_POLLS ((size_t)1 << 24)

/* Below these a second thread costs more than it brings. */
#define WORK_OF_A_STEP ((size_t)1 << 20)
#define WORK_OF_A_CALL ((size_t)1 << 23)

int nn_poll(NNMonitor *monitor, size_t work)
{
    monitor->work += work;
    if (monitor->work < WORK_BETWEEN_POLLS) {
        return 0;
    }
    monitor->work = 0;
    return monitor->poll(monitor->context, monitor->done);
}

size_t nn_work(NeuralNetwork nn)
{
    size_t work = 0;
    for (size_t l = 0; l < nn.num_layers; l++) {
        work += (nn.archi[l] + 10) * nn.archi[l + 1];
    }
    return work;
}

int nn_worthwhile_threads(NeuralNetwork nn, size_t samples_per_step, size_t samples, int limit)
{
    size_t work = nn_work(nn);
    if (limit < 0) {
        return -limit;
    }
    if (samples_per_step < WORK_OF_A_STEP / work || samples < WORK_OF_A_CALL / work) {
        return 1;
    }
    return limit;
}

NNRange nn_share(size_t total, int number, int size)
{
    NNRange range = {total * (size_t)number / (size_t)size, total * (size_t)(number + 1) / (size_t)size};
    return range;
}

int nn_is_plain(const NNOptimizer *o)
{
    return o->kind == NN_SGD && o->beta1 == 0 && o->l2 == 0 && o->weight_decay == 0 && o->clip_norm == 0;
}

double nn_l2_cost(NeuralNetwork nn, double l2)
{
    double sum = 0;
    for (size_t l = 0; l < nn.num_layers && l2 > 0; l++) {
        for (size_t i = 0; i < nn.archi[l] * nn.archi[l + 1]; i++) {
            sum += (double)nn.weights[l].data[i] * (double)nn.weights[l].data[i];
        }
    }
    return l2 / 2 * sum;
}

void nn_add_l2(NeuralNetwork nn, NeuralNetwork grad, double l2)
{
    for (size_t l = 0; l < nn.num_layers && l2 > 0; l++) {
        for (size_t i = 0; i < nn.archi[l] * nn.archi[l + 1]; i++) {
            grad.weights[l].data[i] += (float)(l2 * (double)nn.weights[l].data[i]);
        }
    }
}

void nn_forward_rows(const NNWorkspace *plan, const float *const *x, size_t own, size_t num)
{
    const float *const *a = x;
    for (size_t l = 0; l < plan->num_layers; l++) {
        const NNLayer *layer = &plan->layers[l];
        for (size_t j = 0; j < layer->padded; j += NN_PANEL) {
            size_t width = layer->padded - j < NN_PANEL ? layer->padded - j : NN_PANEL, at = own * layer->stride + j;
            plan->kernels->forward(layer->function, a, num, layer->rows, layer->w + j * layer->rows, width, layer->b + j,
                                   layer->a + at, layer->saved == NULL ? NULL : layer->saved + at, layer->stride);
        }
        a = layer->a_rows + own;
    }
}

/* ---- Memory: one block, laid out twice, the first time to see how large it has to be ---- */

typedef struct {
    char *base; /* NULL the first time */
    size_t used;
    int overflow;
} Arena;

static void *take(Arena *arena, size_t count, size_t size)
{
    void *at = arena->base == NULL ? NULL : arena->base + arena->used;
    if (size > 0 && count > (SIZE_MAX / 2 - arena->used) / size) {
        arena->overflow = 1;
        return NULL;
    }
    arena->used += (count * size + LINE - 1) / LINE * LINE;
    return at;
}

static float *take_floats(Arena *arena, size_t rows, size_t cols)
{
    if (cols > 0 && rows > SIZE_MAX / 2 / cols) {
        arena->overflow = 1;
        return NULL;
    }
    return (float *)take(arena, rows * cols, sizeof(float));
}

static size_t padded(size_t cols)
{
    return (cols + NN_PAD - 1) / NN_PAD * NN_PAD;
}

size_t nn_num_parts(size_t num)
{
    return (num + NN_PART_OF_SQUARES - 1) / NN_PART_OF_SQUARES;
}

/* An odd number of cache lines: the same columns of all samples do not fall into one set of a cache. */
static size_t stride_of(size_t padded_columns)
{
    return padded_columns + (padded_columns / NN_PAD % 2 == 0 ? NN_PAD : 0);
}

static void lay_out_layer(Arena *arena, const NNWorkspace *plan, NNLayer *layer, size_t l, int what)
{
    int is_last = l + 1 == plan->num_layers, drops = !is_last && (what & NN_WORKSPACE_DROPOUT);
    layer->rows = plan->nn.archi[l];
    layer->cols = plan->nn.archi[l + 1];
    layer->function = is_last ? NN_LINEAR : plan->nn.activation_functions[l];
    layer->padded = padded(layer->cols);
    layer->stride = stride_of(layer->padded);
    layer->num_weights = layer->rows * layer->padded;
    layer->w = take_floats(arena, layer->rows, layer->padded);
    layer->b = take_floats(arena, 1, layer->padded);
    if (what & NN_WORKSPACE_GRADIENT) {
        layer->grad_w = take_floats(arena, layer->rows, layer->padded);
        layer->grad_b = take_floats(arena, 1, layer->padded);
    }
    if (what & NN_WORKSPACE_MOMENTS) {
        layer->m = take_floats(arena, layer->rows + 1, layer->padded);
        layer->v = take_floats(arena, layer->rows + 1, layer->padded);
    }
    layer->a = take_floats(arena, plan->block, layer->stride);
    layer->a_rows = (const float **)take(arena, plan->block, sizeof(float *));
    if (what & NN_WORKSPACE_DELTAS) {
        int needs_wt = l > 0 || (what & NN_WORKSPACE_INPUT_DELTA), saves = drops || NN_DERIVED_FROM_Z(layer->function);
        layer->wt = needs_wt ? take_floats(arena, layer->cols, padded(layer->rows)) : NULL;
        layer->d = take_floats(arena, plan->block, layer->stride);
        layer->d_rows = (const float **)take(arena, plan->block, sizeof(float *));
        layer->saved = saves ? take_floats(arena, plan->block, layer->stride) : NULL;
        layer->mask = drops ? take_floats(arena, plan->block, layer->stride) : NULL;
    }
}

static void lay_out(Arena *arena, NNWorkspace *plan, int what)
{
    NNLayer unused, *layers = (NNLayer *)take(arena, plan->num_layers, sizeof(NNLayer));
    size_t num_parts = 0;
    plan->layers = layers;
    for (size_t l = 0; l < plan->num_layers && !arena->overflow; l++) {
        NNLayer *layer = layers == NULL ? &unused : &layers[l];
        lay_out_layer(arena, plan, layer, l, what);
        num_parts += nn_num_parts(layer->num_weights) + nn_num_parts(layer->padded);
    }
    plan->costs = take_floats(arena, 1, plan->block);
    plan->x_rows = (const float **)take(arena, plan->block * (size_t)plan->num_threads, sizeof(float *));
    if (what & NN_WORKSPACE_INPUT_DELTA) {
        plan->input_stride = stride_of(padded(plan->nn.archi[0]));
        plan->input_d = take_floats(arena, plan->block, plan->input_stride);
    }
    if (what & NN_WORKSPACE_SQUARES) {
        plan->squares = (double *)take(arena, num_parts, sizeof(double));
    }
}

NNWorkspace nn_workspace_alloc(NeuralNetwork nn, const NNKernels *kernels, size_t block, int num_threads, int what)
{
    NNWorkspace plan = {.nn = nn, .kernels = kernels, .num_layers = nn.num_layers, .block = block, .num_threads = num_threads};
    Arena arena = {NULL, 0, 0};
    plan.output_function = nn.activation_functions[nn.num_layers - 1];
    lay_out(&arena, &plan, what);
    plan.memory = arena.overflow ? NULL : malloc(arena.used + LINE);
    if (plan.memory == NULL) {
        return plan;
    }
    arena.base = (char *)plan.memory + LINE - (uintptr_t)plan.memory % LINE;
    memset(arena.base, 0, arena.used);
    arena.used = 0;
    lay_out(&arena, &plan, what);
    for (size_t l = 0; l < plan.num_layers; l++) {
        NNLayer *layer = &plan.layers[l];
        for (size_t i = 0; i < block; i++) {
            layer->a_rows[i] = layer->a + i * layer->stride;
            if (what & NN_WORKSPACE_DELTAS) {
                layer->d_rows[i] = layer->d + i * layer->stride;
            }
        }
    }
    nn_pack(&plan, NN_PACK_PARAMETERS, nn.weights[0].data);
    return plan;
}

void nn_workspace_free(NNWorkspace *plan)
{
    free(plan->memory);
}

/* ---- Packing ---- */

static void chosen(const NNLayer *layer, int which, float **w, float **b)
{
    switch (which) {
    case NN_PACK_PARAMETERS: *w = layer->w; *b = layer->b; break;
    case NN_PACK_GRADIENT: *w = layer->grad_w; *b = layer->grad_b; break;
    case NN_PACK_M: *w = layer->m; *b = layer->m + layer->num_weights; break;
    default: *w = layer->v; *b = layer->v + layer->num_weights; break;
    }
}

/* Copies each stretch of columns between flat and the panels, one way or the other. */
static void walk(const NNWorkspace *plan, int which, float *flat, int to_flat)
{
    for (size_t l = 0; l < plan->num_layers; l++) {
        const NNLayer *layer = &plan->layers[l];
        float *w, *b;
        chosen(layer, which, &w, &b);
        for (size_t j = 0; j < layer->padded; j += NN_PANEL) {
            size_t width = layer->padded - j < NN_PANEL ? layer->padded - j : NN_PANEL;
            size_t size = (layer->cols - j < width ? layer->cols - j : width) * sizeof(float);
            for (size_t k = 0; k < layer->rows; k++) {
                float *packed = w + j * layer->rows + k * width, *plain = flat + k * layer->cols + j;
                memcpy(to_flat ? plain : packed, to_flat ? packed : plain, size);
            }
        }
        flat += layer->rows * layer->cols;
        memcpy(to_flat ? flat : b, to_flat ? b : flat, layer->cols * sizeof(float));
        flat += layer->cols;
    }
}

void nn_pack(const NNWorkspace *plan, int which, float *flat)
{
    walk(plan, which, flat, 0);
}

void nn_unpack(const NNWorkspace *plan, int which, float *flat)
{
    walk(plan, which, flat, 1);
}
