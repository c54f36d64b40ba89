/* quantized.c: networks of 8-bit integers: nn_quantized_alloc and nn_quantized_predict of engine.h.
 *
 * As in predict.c, each thread takes blocks of samples through all layers by itself. Weights are packed once, when the network is made:
 * it does not change. */
#include <string.h>

#include "ieee754.h"
#include "kernels/int8.h"
#include "kernels/kernels.h"
#include "monitor.h"
#include "team.h"

#define BLOCK 24 /* samples that a thread takes at a time, a multiple of the rows of a tile; their activations stay in the cache */
#define TABLE_SIZE (NN_QUANTIZED_TABLE_SIZE + 2) /* the last pair that a kernel reads begins with the last item */
#define WORK_DIVISOR 4  /* a product of 8-bit integers takes about a quarter of the time of a product of floats */

typedef struct {
    size_t num_inputs, num_outputs, num_quads, num_groups;
    int kind, shift;
    int8_t *weights;              /* (num_groups, num_quads, 16, 4) */
    int32_t *bias, *shifted_bias; /* (16 num_groups,): that of kernels with shift_inputs is shifted_bias */
    int32_t *multipliers;         /* (16 num_groups,) */
    int16_t *table;               /* (TABLE_SIZE,) */
} Layer;

struct NNQuantized {
    size_t num_layers, num_inputs, num_outputs;
    size_t row_size;              /* bytes of a row of activations, for the widest layer */
    size_t sums_size;             /* sums of a row, for the widest layer */
    size_t work_per_sample;
    float *low, *inverse_step;    /* (num_inputs,) each */
    float output_scale;
    Layer *layers;                /* (num_layers,) */
};

/* ---- Allocation: all arrays in one block ---- */

typedef struct {
    char *memory; /* NULL: only their size is asked for */
    size_t size;
    int overflow;
} Block;

/* Returns room for num items, or NULL where only the size is asked for. */
static void *place(Block *block, size_t num, size_t item_size)
{
    size_t size, start = nn_round_up(block->size, NN_INT8_PAD);
    if (num > (SIZE_MAX / 2 - start) / item_size) {
        block->overflow = 1;
        return NULL;
    }
    size = num * item_size;
    block->size = start + size;
    return block->memory == NULL ? NULL : block->memory + start;
}

/* Places the arrays of the network. Called twice: for the size of the block, and with its memory, which is zero. */
static NNQuantized *place_all(Block *block, size_t num_layers, const NNQuantizedLayer *layers)
{
    NNQuantized *q = (NNQuantized *)place(block, 1, sizeof(NNQuantized));
    Layer *placed = (Layer *)place(block, num_layers, sizeof(Layer));
    float *low = (float *)place(block, layers[0].num_inputs, sizeof(float));
    float *inverse_step = (float *)place(block, layers[0].num_inputs, sizeof(float));
    size_t row_size = nn_round_up(layers[0].num_inputs, NN_INT8_PAD), sums_size = 0, work = 0;
    for (size_t l = 0; l < num_layers; l++) {
        Layer layer = {.num_inputs = layers[l].num_inputs, .num_outputs = layers[l].num_outputs};
        size_t num_padded;
        layer.num_quads = nn_divide_up(layer.num_inputs, 4);
        layer.num_groups = nn_divide_up(layer.num_outputs, NN_INT8_GROUP);
        layer.kind = layers[l].kind;
        layer.shift = layers[l].shift;
        num_padded = layer.num_groups * NN_INT8_GROUP;
        if (layer.num_inputs >= SIZE_MAX / 128 || num_padded >= SIZE_MAX / 128 / (4 * layer.num_quads)) {
            block->overflow = 1;
            return NULL;
        }
        layer.weights = (int8_t *)place(block, num_padded * layer.num_quads * 4, 1);
        layer.bias = (int32_t *)place(block, num_padded, sizeof(int32_t));
        layer.shifted_bias = (int32_t *)place(block, num_padded, sizeof(int32_t));
        layer.multipliers = (int32_t *)place(block, num_padded, sizeof(int32_t));
        layer.table = (int16_t *)place(block, TABLE_SIZE, sizeof(int16_t));
        row_size = nn_max(row_size, nn_round_up(layer.num_outputs, NN_INT8_PAD));
        sums_size = nn_max(sums_size, num_padded);
        work += layer.num_inputs * layer.num_outputs / WORK_DIVISOR + 10 * layer.num_outputs;
        if (placed != NULL) {
            placed[l] = layer;
        }
    }
    if (q != NULL) {
        q->num_layers = num_layers;
        q->num_inputs = layers[0].num_inputs;
        q->num_outputs = layers[num_layers - 1].num_outputs;
        q->row_size = row_size;
        q->sums_size = sums_size;
        q->work_per_sample = work;
        q->low = low;
        q->inverse_step = inverse_step;
        q->layers = placed;
    }
    return q;
}

/* Packs the weights as kernels/int8.h describes. */
static void fill_layer(Layer *to, const NNQuantizedLayer *from)
{
    for (size_t j = 0; j < from->num_outputs; j++) {
        int8_t *group = to->weights + j / NN_INT8_GROUP * to->num_quads * NN_INT8_GROUP * 4 + j % NN_INT8_GROUP * 4;
        int64_t sum = 0;
        uint32_t shifted;
        for (size_t k = 0; k < from->num_inputs; k++) {
            int8_t weight = from->weights[j * from->num_inputs + k];
            group[k / 4 * NN_INT8_GROUP * 4 + k % 4] = weight;
            sum += weight;
        }
        to->bias[j] = from->biases[j];
        to->multipliers[j] = from->multipliers[j];
        shifted = (uint32_t)from->biases[j] + (uint32_t)(uint64_t)(128 * sum); /* modulo 2^32 */
        memcpy(&to->shifted_bias[j], &shifted, sizeof shifted);
    }
    for (size_t j = from->num_outputs; j < to->num_groups * NN_INT8_GROUP; j++) {
        to->multipliers[j] = 1;
    }
    if (from->table != NULL) {
        memcpy(to->table, from->table, NN_QUANTIZED_TABLE_SIZE * sizeof(int16_t));
    }
}

NNQuantized *nn_quantized_alloc(size_t num_layers, const NNQuantizedLayer *layers, const float *low, const float *inverse_step,
                                float output_scale)
{
    Block block = {NULL, 0, 0};
    NNQuantized *q;
    place_all(&block, num_layers, layers);
    if (block.overflow || (block.memory = (char *)calloc(1, block.size)) == NULL) {
        return NULL;
    }
    block.size = 0;
    q = place_all(&block, num_layers, layers);
    memcpy(q->low, low, q->num_inputs * sizeof(float));
    memcpy(q->inverse_step, inverse_step, q->num_inputs * sizeof(float));
    q->output_scale = output_scale;
    for (size_t l = 0; l < num_layers; l++) {
        fill_layer(&q->layers[l], &layers[l]);
    }
    return q;
}

void nn_quantized_free(NNQuantized *q)
{
    free(q);
}

/* ---- Prediction ---- */

typedef struct {
    const NNQuantized *q;
    const NNInt8Kernels *kernels;
    int (*all_finite)(const float *x, size_t n);
    Matrix in;
    const uint8_t *integers_in;
    Matrix out;
    int32_t *integers_out;
    int stops_at_logits;
    uint8_t *rows;  /* (threads, 2, BLOCK, q->row_size): the inputs and the outputs of a layer take turns */
    int32_t *sums;  /* (threads, BLOCK, q->sums_size) */
    NNMonitor *monitor;
    int stop_code;  /* as in predict.c */
} Prediction;

/* Integers from the table, between whose items it interpolates linearly; for the last layer. */
static void interpolate_outputs(const int16_t *table, int32_t *positions, size_t num)
{
    for (size_t j = 0; j < num; j++) {
        int32_t sum = nn_int8_interpolated(table, positions[j]); /* less than 2^23 in absolute value */
        positions[j] = (int32_t)(((uint32_t)(sum + 128) + ((uint32_t)1 << 31)) >> 8) - (1 << 23);
    }
}

/* Softmax. A logit of 32768 stands for a factor of 2; the table has the powers of 1/2 between two of them. */
static void softmax(const int16_t *table, int32_t *z, size_t num)
{
    int32_t max = z[0];
    uint32_t sum = 0;
    for (size_t j = 1; j < num; j++) {
        max = z[j] > max ? z[j] : max;
    }
    for (size_t j = 0; j < num; j++) {
        uint32_t below = (uint32_t)max - (uint32_t)z[j], halvings = below >> 15;
        int32_t power = (nn_int8_interpolated(table, (int32_t)(below & 32767u)) + 128) >> 8;
        z[j] = halvings < 15 ? power >> halvings : 0;
        sum += (uint32_t)z[j];
    }
    for (size_t j = 0; j < num; j++) {
        int32_t probability = (int32_t)((((uint32_t)z[j] << 15) + sum / 2) / sum);
        z[j] = probability < 32767 ? probability : 32767;
    }
}

/* The outputs of the network for one sample, from the sums of the last layer, which are overwritten. */
static void finish_sample(const Prediction *p, const Layer *layer, int32_t *sums, size_t sample)
{
    size_t num = layer->num_outputs, num_padded = layer->num_groups * NN_INT8_GROUP;
    int is_table = layer->kind == NN_QUANTIZED_TABLE;
    p->kernels->rescale(sums, layer->multipliers, layer->shift, is_table ? 0 : -INT32_MAX, is_table ? 32767 : INT32_MAX, sums,
                        num_padded);
    if (is_table) {
        interpolate_outputs(layer->table, sums, num);
    } else if (layer->kind == NN_QUANTIZED_SOFTMAX && !p->stops_at_logits) {
        softmax(layer->table, sums, num);
    }
    if (p->integers_out != NULL) {
        memcpy(p->integers_out + sample * num, sums, num * sizeof(int32_t));
    }
    for (size_t j = 0; p->out.data != NULL && j < num; j++) {
        MAT_AT(p->out, sample, j) = (float)sums[j] * p->q->output_scale;
    }
}

/* Reads the inputs of the samples first to first + num - 1 as integers into x. Returns NN_OK or NN_NOT_FINITE. */
static int read_inputs(const Prediction *p, size_t first, size_t num, uint8_t *x)
{
    const NNQuantized *q = p->q;
    for (size_t i = first; i < first + num; i++, x += q->row_size) {
        const float *inputs;
        if (p->integers_in != NULL) {
            memcpy(x, p->integers_in + i * q->num_inputs, q->num_inputs);
            continue;
        }
        inputs = &MAT_AT(p->in, i, 0);
        if (!p->kernels->quantize(inputs, q->low, q->inverse_step, x, q->num_inputs) && !p->all_finite(inputs, q->num_inputs)) {
            return NN_NOT_FINITE;
        }
    }
    return NN_OK;
}

/* The inputs from sample `first` on, to be prefetched. */
static NNPrefetch prefetch_inputs(const Prediction *p, size_t first)
{
    NNPrefetch prefetch = {(uintptr_t)p->in.data + first * p->in.stride * sizeof(float), 64};
    if (p->integers_in != NULL) {
        prefetch.address = (uintptr_t)p->integers_in + first * p->q->num_inputs;
    }
    return prefetch;
}

/* Takes one block through the network, the samples first to first + num - 1. Returns NN_OK or NN_NOT_FINITE. */
static int predict_block(const Prediction *p, size_t first, size_t num, int thread_index)
{
    const NNQuantized *q = p->q;
    uint8_t *x = p->rows + (size_t)thread_index * 2 * BLOCK * q->row_size, *a = x + BLOCK * q->row_size;
    int32_t *sums = p->sums + (size_t)thread_index * BLOCK * q->sums_size;
    const NNPrefetch none = {(uintptr_t)x, 0};
    NNPrefetch prefetch = prefetch_inputs(p, first + BLOCK); /* during the first layer */
    int code = read_inputs(p, first, num, x);
    if (code != NN_OK) {
        return code;
    }
    for (size_t l = 0; l < q->num_layers; l++) {
        const Layer *layer = &q->layers[l];
        const int32_t *bias = p->kernels->shift_inputs ? layer->shifted_bias : layer->bias;
        size_t num_padded = layer->num_groups * NN_INT8_GROUP;
        uint8_t *next = a;
        p->kernels->multiply(x, q->row_size, num, layer->num_quads, layer->weights, bias, layer->num_groups, sums, &prefetch);
        prefetch = none;
        for (size_t i = 0; i < num; i++) {
            int32_t *row_sums = sums + i * num_padded;
            uint8_t *row = a + i * q->row_size;
            if (l + 1 == q->num_layers) {
                finish_sample(p, layer, row_sums, first + i);
            } else if (layer->kind == NN_QUANTIZED_TABLE) {
                p->kernels->rescale(row_sums, layer->multipliers, layer->shift, 0, 32767, row_sums, num_padded);
                p->kernels->interpolate(row_sums, layer->table, row, num_padded);
            } else {
                p->kernels->requantize(row_sums, layer->multipliers, layer->shift, row, num_padded);
            }
        }
        a = x;
        x = next;
    }
    return NN_OK;
}

static void predict_blocks(void *context, NNTeam *team, int thread_index)
{
    Prediction *p = (Prediction *)context;
    size_t num_samples = p->in.rows;
    NNRange share = nn_share(nn_divide_up(num_samples, BLOCK), thread_index, team->size);
    for (size_t i = share.first; i < share.last; i++) {
        size_t first = i * BLOCK, num = nn_min(num_samples - first, BLOCK);
        int code = predict_block(p, first, num, thread_index);
        if (code == NN_OK && thread_index == 0 && nn_poll(p->monitor, num * p->q->work_per_sample)) {
            code = NN_STOPPED;
        }
        if (code != NN_OK) {
            nn_flag_set(&p->stop_code, code);
        }
        if (nn_flag_get(&p->stop_code) != NN_OK) {
            return;
        }
    }
}

static NN_NOINLINE int predict(Prediction *p, NNBackend backend)
{
    const NNQuantized *q = p->q;
    size_t num = p->in.rows, rows_size, sums_size;
    int num_threads = nn_worthwhile_threads(q->work_per_sample, num, num, backend.num_threads);
    char *memory;

    if (num == 0) {
        return NN_OK;
    }
    num_threads = (int)nn_min((size_t)num_threads, nn_divide_up(num, BLOCK));
    rows_size = (size_t)num_threads * 2 * BLOCK;
    sums_size = (size_t)num_threads * BLOCK * sizeof(int32_t);
    if (q->row_size > SIZE_MAX / 4 / rows_size || q->sums_size > SIZE_MAX / 4 / sums_size) {
        return NN_NO_MEMORY;
    }
    rows_size *= q->row_size;
    sums_size *= q->sums_size;
    memory = (char *)malloc(rows_size + sums_size);
    if (memory == NULL) {
        return NN_NO_MEMORY;
    }
    p->rows = (uint8_t *)memory;
    p->sums = (int32_t *)(void *)(memory + rows_size); /* rows_size is a multiple of NN_INT8_PAD */
    nn_team_run(num_threads, predict_blocks, p);
    free(memory);
    return p->stop_code;
}

static NN_NOINLINE void quantize_inputs(const NNQuantized *q, Matrix in, uint8_t *out, NNBackend backend)
{
    const NNInt8Kernels *kernels = nn_int8_kernels(backend.isa);
    for (size_t i = 0; i < in.rows; i++) {
        kernels->quantize(&MAT_AT(in, i, 0), q->low, q->inverse_step, out + i * q->num_inputs, q->num_inputs);
    }
}

void nn_quantize_inputs(const NNQuantized *q, Matrix in, uint8_t *out, NNBackend backend)
{
    NNFloatEnvironment caller = nn_enter_float_environment();
    quantize_inputs(q, in, out, backend);
    nn_leave_float_environment(caller);
}

int nn_quantized_predict(const NNQuantized *q, Matrix in, const uint8_t *integers_in, Matrix out, int32_t *integers_out,
                         int stops_at_logits, NNBackend backend, NNMonitor *monitor)
{
    NNFloatEnvironment caller = nn_enter_float_environment();
    Prediction p = {.q = q, .in = in, .integers_in = integers_in, .out = out, .integers_out = integers_out, .monitor = monitor};
    int code;
    p.stops_at_logits = stops_at_logits;
    p.kernels = nn_int8_kernels(backend.isa);
    p.all_finite = nn_kernels_available(backend.isa)->all_finite;
    code = predict(&p, backend);
    nn_leave_float_environment(caller);
    return code;
}
