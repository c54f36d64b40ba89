/* test_quantized.c: every table of kernels for 8-bit integers against plain loops, and whole networks with every instruction set and
 * several threads. Integers have to be equal. Those of some networks have a hash that is the same on every machine.
 *
 *     test_quantized [problems [seed]] */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine.h"
#include "kernels/int8.h"

#define HASH 0x7b2ab5ba5619b6e6u
#define MAX_LAYERS 4
#define MAX_WIDTH 300

static int num_failed = 0;
static uint64_t random_state;

static size_t draw(size_t low, size_t high)
{
    return low + (size_t)(nn_random(1, random_state++) % (high - low + 1));
}

static float draw_float(void)
{
    return (float)(nn_random(2, random_state++) >> 40) / 8388608.0f - 1.0f;
}

static void expect(int condition, const char *what, const char *where)
{
    if (!condition) {
        printf("%s differs: %s\n", what, where);
        num_failed++;
    }
}

static int stop_never(void *context, size_t done)
{
    (void)context;
    (void)done;
    return 0;
}

static void *allocate(size_t size)
{
    void *memory = malloc(size + 1);
    if (memory == NULL) {
        abort();
    }
    return memory;
}

/* ---- The oracle ---- */

static int64_t rescaled(int64_t sum, int64_t multiplier, int shift)
{
    int64_t limit = shift >= 31 ? INT32_MAX : ((int64_t)1 << shift) - 1, divisor = (int64_t)1 << shift, product, quotient;
    sum = sum > limit ? limit : sum < -limit ? -limit : sum;
    product = sum * multiplier + divisor / 2;
    quotient = product / divisor;
    return quotient * divisor > product ? quotient - 1 : quotient; /* rounded down */
}

static int64_t floor_divide(int64_t a, int64_t b)
{
    return a >= 0 ? a / b : -((-a + b - 1) / b);
}

static int64_t limited(int64_t x, int64_t low, int64_t high)
{
    return x < low ? low : x > high ? high : x;
}

static int64_t interpolated(const int16_t *table, int64_t position, int64_t divisor)
{
    int64_t part = position % 256;
    return floor_divide(table[position / 256] * (256 - part) + table[position / 256 + 1] * part + divisor / 2, divisor);
}

/* The outputs of one sample. x: (inputs,), overwritten with the activations. */
static void oracle(size_t num_layers, const NNQuantizedLayer *layers, int64_t *x, int stops_at_logits)
{
    static int64_t next[MAX_WIDTH];
    for (size_t l = 0; l < num_layers; l++) {
        const NNQuantizedLayer *layer = &layers[l];
        int is_last = l + 1 == num_layers;
        int64_t max = INT64_MIN, total = 0;
        for (size_t j = 0; j < layer->num_outputs; j++) {
            int64_t sum = layer->biases[j], r;
            for (size_t k = 0; k < layer->num_inputs; k++) {
                sum += x[k] * layer->weights[j * layer->num_inputs + k];
            }
            r = rescaled(sum, layer->multipliers[j], layer->shift);
            if (layer->kind == NN_QUANTIZED_CLIP) {
                r = limited(r, 0, 255);
            } else if (layer->kind == NN_QUANTIZED_TABLE) {
                r = interpolated(layer->table, limited(r, 0, 32767), is_last ? 256 : 32768);
            }
            next[j] = r;
            max = r > max ? r : max;
        }
        if (layer->kind == NN_QUANTIZED_SOFTMAX && !stops_at_logits) {
            for (size_t j = 0; j < layer->num_outputs; j++) {
                int64_t below = max - next[j];
                next[j] = below >= 15 * 32768 ? 0 : interpolated(layer->table, below % 32768, 256) >> (below / 32768);
                total += next[j];
            }
            for (size_t j = 0; j < layer->num_outputs; j++) {
                next[j] = limited((next[j] * 32768 + total / 2) / total, 0, 32767);
            }
        }
        memcpy(x, next, layer->num_outputs * sizeof(int64_t));
    }
}

/* ---- The tables of kernels ---- */

static void check_kernels(const NNInt8Kernels *kernels)
{
    enum { ROWS = 15, QUADS = 530, GROUPS = 7, N = 16 * GROUPS };
    static uint8_t x[ROWS][4 * QUADS + 64], bytes[2][N + 64];
    static int8_t w[GROUPS * QUADS * 64];
    static int32_t bias[N], sums[2][ROWS * N], multipliers[N], positions[N];
    static float inputs[3][N + 16];
    static int16_t table[NN_QUANTIZED_TABLE_SIZE + 1];
    size_t rows = draw(1, ROWS), groups = draw(1, GROUPS), quads = draw(0, 3) == 0 ? draw(250, QUADS) : draw(1, 40), n = 16 * groups;
    int shift = (int)draw(1, 62), is_extreme = draw(0, 3) == 0;
    const NNInt8Kernels *portable = nn_int8_kernels(1000);
    NNPrefetch prefetch = {0, 64}; /* prefetching from any address does no harm */

    for (size_t i = 0; i < rows; i++) {
        for (size_t k = 0; k < 4 * quads; k++) {
            x[i][k] = is_extreme ? 255 : (uint8_t)draw(0, 255);
        }
    }
    for (size_t k = 0; k < groups * quads * 64; k++) {
        w[k] = is_extreme ? (k / 64 % 2 == 0 ? 127 : -127) : (int8_t)((int)draw(0, 254) - 127);
    }
    for (size_t j = 0; j < n; j++) {
        bias[j] = (int32_t)draw(0, 2000000000) - 1000000000;
        multipliers[j] = (int32_t)draw(1 << 18, INT32_MAX);
        positions[j] = (int32_t)draw(0, 32767);
    }
    portable->multiply(x[0], sizeof x[0], rows, quads, w, bias, groups, sums[0], &prefetch);
    for (size_t j = 0; kernels->shift_inputs && j < n; j++) {
        int32_t sum = 0;
        for (size_t q = 0; q < quads; q++) {
            for (size_t k = 0; k < 4; k++) {
                sum += w[((j / 16 * quads + q) * 16 + j % 16) * 4 + k];
            }
        }
        bias[j] = (int32_t)((uint32_t)bias[j] + 128u * (uint32_t)sum);
    }
    kernels->multiply(x[0], sizeof x[0], rows, quads, w, bias, groups, sums[1], &prefetch);
    expect(memcmp(sums[0], sums[1], rows * n * sizeof(int32_t)) == 0, "multiply", kernels->name);

    for (size_t j = 0; j < n; j++) { /* sums of every size */
        sums[0][j] = (int32_t)((int64_t)(nn_random(3, random_state++) >> 32) - ((int64_t)1 << 31)) >> draw(0, 31);
        sums[0][j] = sums[0][j] == INT32_MIN ? INT32_MAX : sums[0][j];
        if (draw(0, 9) == 0) { /* a tie */
            sums[0][j] = (int32_t)1 << draw(0, 30);
            multipliers[j] = (int32_t)1 << draw(18, 30);
        }
    }
    portable->requantize(sums[0], multipliers, shift, bytes[0], n);
    kernels->requantize(sums[0], multipliers, shift, bytes[1], n);
    expect(memcmp(bytes[0], bytes[1], n) == 0, "requantize", kernels->name);
    for (size_t j = 0; j < n; j++) {
        expect(bytes[0][j] == limited(rescaled(sums[0][j], multipliers[j], shift), 0, 255), "oracle of requantize", kernels->name);
    }
    kernels->rescale(sums[0], multipliers, shift, -INT32_MAX, INT32_MAX, sums[1], n);
    for (size_t j = 0; j < n; j++) {
        expect(sums[1][j] == rescaled(sums[0][j], multipliers[j], shift), "rescale", kernels->name);
    }
    kernels->rescale(sums[0], multipliers, shift, -3, 1000, sums[0], n);
    for (size_t j = 0; j < n; j++) {
        expect(sums[0][j] == limited(sums[1][j], -3, 1000), "limits of rescale", kernels->name);
    }

    for (size_t i = 0; i < NN_QUANTIZED_TABLE_SIZE; i++) {
        table[i] = (int16_t)draw(0, 32640);
    }
    kernels->interpolate(positions, table, bytes[1], n);
    for (size_t j = 0; j < n; j++) {
        expect(bytes[1][j] == interpolated(table, positions[j], 32768), "interpolate", kernels->name);
    }

    n = draw(1, n); /* any number of inputs */
    for (size_t k = 0; k < n; k++) {
        inputs[0][k] = is_extreme ? draw_float() * 3e38f : draw_float();
        inputs[1][k] = is_extreme ? draw_float() * 3e38f : draw_float();
        inputs[2][k] = (float)(draw(0, 1) == 0 ? 128u : draw(1, 1000));
        if (draw(0, 3) == 0) { /* a tie */
            inputs[0][k] = (float)draw(0, 255) + 0.5f;
            inputs[1][k] = 0.0f;
            inputs[2][k] = 1.0f;
        }
    }
    memset(bytes, 77, sizeof bytes);
    if (draw(0, 9) == 0) {
        inputs[0][draw(0, n - 1)] = draw(0, 1) == 0 ? INFINITY : NAN;
    }
    if (portable->quantize(inputs[0], inputs[1], inputs[2], bytes[0], n) == 0) {
        for (size_t k = 0; k < n; k++) { /* an integer is not defined where the input is NaN */
            bytes[0][k] = inputs[0][k] == inputs[0][k] ? bytes[0][k] : 99;
        }
        expect(kernels->quantize(inputs[0], inputs[1], inputs[2], bytes[1], n) == 0, "check of quantize", kernels->name);
        for (size_t k = 0; k < n; k++) {
            bytes[1][k] = inputs[0][k] == inputs[0][k] ? bytes[1][k] : 99;
        }
    } else {
        expect(kernels->quantize(inputs[0], inputs[1], inputs[2], bytes[1], n) == 1, "check of quantize", kernels->name);
    }
    expect(memcmp(bytes[0], bytes[1], sizeof bytes[0]) == 0, "quantize", kernels->name); /* nothing behind the end is written */
}

/* ---- Whole networks ---- */

typedef struct {
    size_t num_layers, num_samples;
    NNQuantizedLayer layers[MAX_LAYERS];
    float *low, *inverse_step, *x;
    NNQuantized *q;
} Problem;

static Problem make_problem(void)
{
    Problem p = {.num_layers = draw(1, MAX_LAYERS), .num_samples = draw(0, 4) == 0 ? draw(97, 400) : draw(0, 30)};
    size_t num_inputs = draw(1, draw(0, 2) == 0 ? MAX_WIDTH : 20), width = num_inputs;
    p.low = (float *)allocate(num_inputs * sizeof(float));
    p.inverse_step = (float *)allocate(num_inputs * sizeof(float));
    p.x = (float *)allocate(p.num_samples * num_inputs * sizeof(float));
    for (size_t k = 0; k < num_inputs; k++) {
        p.low[k] = draw_float() - 1.0f;
        p.inverse_step[k] = 100.0f + 50.0f * draw_float();
    }
    for (size_t k = 0; k < p.num_samples * num_inputs; k++) {
        p.x[k] = 2.0f * draw_float();
    }
    for (size_t l = 0; l < p.num_layers; l++) {
        NNQuantizedLayer *layer = &p.layers[l];
        int is_last = l + 1 == p.num_layers;
        int8_t *weights;
        int32_t *biases, *multipliers;
        int16_t *table;
        layer->num_inputs = width;
        layer->num_outputs = width = draw(1, draw(0, 2) == 0 ? MAX_WIDTH : 20);
        layer->kind = is_last ? (int)draw(NN_QUANTIZED_TABLE, NN_QUANTIZED_SOFTMAX) : (int)draw(NN_QUANTIZED_CLIP, NN_QUANTIZED_TABLE);
        layer->shift = is_last ? (int)draw(31, 33) : (int)draw(36, 44);
        weights = (int8_t *)allocate(layer->num_inputs * width);
        biases = (int32_t *)allocate(width * sizeof(int32_t));
        multipliers = (int32_t *)allocate(width * sizeof(int32_t));
        table = (int16_t *)allocate(NN_QUANTIZED_TABLE_SIZE * sizeof(int16_t));
        for (size_t k = 0; k < layer->num_inputs * width; k++) {
            weights[k] = (int8_t)((int)draw(0, 254) - 127);
        }
        for (size_t j = 0; j < width; j++) {
            biases[j] = ((int32_t)draw(0, 40000) - 20000) * (layer->kind == NN_QUANTIZED_SOFTMAX ? 25 : 1);
            multipliers[j] = (int32_t)draw(1 << 20, INT32_MAX);
        }
        for (size_t i = 0; i < NN_QUANTIZED_TABLE_SIZE; i++) {
            table[i] = layer->kind == NN_QUANTIZED_SOFTMAX ? (int16_t)(32767 - 128 * i)
                       : is_last                           ? (int16_t)((int)draw(0, 65534) - 32767)
                                                           : (int16_t)draw(0, 32640);
        }
        layer->weights = weights;
        layer->biases = biases;
        layer->multipliers = multipliers;
        layer->table = layer->kind == NN_QUANTIZED_TABLE || layer->kind == NN_QUANTIZED_SOFTMAX ? table : NULL;
        if (layer->table == NULL) {
            free(table);
        }
    }
    p.q = nn_quantized_alloc(p.num_layers, p.layers, p.low, p.inverse_step, 0.3f);
    if (p.q == NULL) {
        abort();
    }
    return p;
}

static void free_problem(Problem *p)
{
    for (size_t l = 0; l < p->num_layers; l++) {
        free((void *)(uintptr_t)p->layers[l].weights);
        free((void *)(uintptr_t)p->layers[l].biases);
        free((void *)(uintptr_t)p->layers[l].multipliers);
        free((void *)(uintptr_t)p->layers[l].table);
    }
    free(p->low);
    free(p->inverse_step);
    free(p->x);
    nn_quantized_free(p->q);
}

static void check_network(const Problem *p)
{
    size_t num_inputs = p->layers[0].num_inputs, num_outputs = p->layers[p->num_layers - 1].num_outputs, n = p->num_samples;
    int stops_at_logits = (int)draw(0, 1);
    Matrix in = {n, num_inputs, num_inputs, p->x}, none = {0, 0, 0, NULL};
    uint8_t *integers = (uint8_t *)allocate(n * num_inputs);
    int32_t *expected = (int32_t *)allocate(n * num_outputs * sizeof(int32_t));
    int32_t *found = (int32_t *)allocate(n * num_outputs * sizeof(int32_t));
    float *floats = (float *)allocate(n * num_outputs * sizeof(float));
    NNMonitor monitor = {.poll = stop_never};
    for (size_t i = 0; i < n; i++) {
        int64_t x[MAX_WIDTH];
        nn_int8_kernels(1000)->quantize(p->x + i * num_inputs, p->low, p->inverse_step, integers + i * num_inputs, num_inputs);
        for (size_t k = 0; k < num_inputs; k++) {
            x[k] = integers[i * num_inputs + k];
        }
        oracle(p->num_layers, p->layers, x, stops_at_logits);
        for (size_t j = 0; j < num_outputs; j++) {
            expected[i * num_outputs + j] = (int32_t)x[j];
        }
    }
    for (int isa = 0; nn_isa_name(isa) != NULL; isa++) {
        for (int threads = 1; threads <= 3; threads++) {
            NNBackend backend = {isa, -threads};
            Matrix out = {n, num_outputs, num_outputs, floats};
            memset(found, 0, n * num_outputs * sizeof(int32_t));
            memset(floats, 0, n * num_outputs * sizeof(float));
            expect(nn_quantized_predict(p->q, in, NULL, out, found, stops_at_logits, backend, &monitor) == NN_OK, "code", "floats");
            expect(memcmp(found, expected, n * num_outputs * sizeof(int32_t)) == 0, "network", nn_isa_name(isa));
            for (size_t j = 0; j < n * num_outputs; j++) {
                expect(floats[j] == (float)expected[j] * 0.3f, "output", nn_isa_name(isa));
            }
            memset(found, 0, n * num_outputs * sizeof(int32_t));
            expect(nn_quantized_predict(p->q, in, integers, none, found, stops_at_logits, backend, &monitor) == NN_OK, "code", "integers");
            expect(memcmp(found, expected, n * num_outputs * sizeof(int32_t)) == 0, "network of integers", nn_isa_name(isa));
            if (n > 0) {
                float before = p->x[n * num_inputs - 1];
                p->x[n * num_inputs - 1] = threads == 1 ? INFINITY : NAN;
                expect(nn_quantized_predict(p->q, in, NULL, out, NULL, 0, backend, &monitor) == NN_NOT_FINITE, "code", "not finite");
                p->x[n * num_inputs - 1] = before;
            }
        }
    }
    free(integers);
    free(expected);
    free(found);
    free(floats);
}

static void check_hash(void)
{
    uint64_t hash = 0xcbf29ce484222325u; /* FNV-1a */
    NNMonitor monitor = {.poll = stop_never};
    NNBackend backend = {0, 1};
    random_state = 12345;
    for (int i = 0; i < 40; i++) {
        Problem p = make_problem();
        size_t num_outputs = p.layers[p.num_layers - 1].num_outputs, size = p.num_samples * num_outputs;
        Matrix in = {p.num_samples, p.layers[0].num_inputs, p.layers[0].num_inputs, p.x}, none = {0, 0, 0, NULL};
        int32_t *out = (int32_t *)allocate(size * sizeof(int32_t));
        num_failed += nn_quantized_predict(p.q, in, NULL, none, out, 0, backend, &monitor) != NN_OK;
        for (size_t j = 0; j < size; j++) {
            hash = (hash ^ (uint32_t)out[j]) * 0x100000001b3u;
        }
        free(out);
        free_problem(&p);
    }
    expect(hash == HASH, "hash", "a change of the integers of existing networks, or another machine");
}

static void check_sizes(void)
{
    float scale = 1.0f;
    NNQuantizedLayer layers[2] = {{.num_inputs = SIZE_MAX / 2, .num_outputs = SIZE_MAX / 2}, {.num_inputs = 4, .num_outputs = 4}};
    expect(nn_quantized_alloc(2, layers, &scale, &scale, 1.0f) == NULL, "code", "too large");
    layers[0].num_inputs = 1;
    expect(nn_quantized_alloc(2, layers, &scale, &scale, 1.0f) == NULL, "code", "too many outputs");
    layers[0].num_inputs = (size_t)1 << (sizeof(size_t) * 4);
    layers[0].num_outputs = (size_t)1 << (sizeof(size_t) * 4 - 1);
    expect(nn_quantized_alloc(2, layers, &scale, &scale, 1.0f) == NULL, "code", "a product that is too large");
}

int main(int argc, char **argv)
{
    long number = argc > 1 ? strtol(argv[1], NULL, 10) : 300;
    const NNInt8Kernels *kernels;
    check_hash();
    check_sizes();
    random_state = argc > 2 ? strtoull(argv[2], NULL, 10) : (uint64_t)time(NULL) * 1000003u;
    printf("seed %llu\n", (unsigned long long)random_state);
    for (long i = 0; i < number && num_failed < 10; i++) {
        Problem p = make_problem();
        check_network(&p);
        free_problem(&p);
        for (int t = 0; (kernels = nn_int8_kernels_available(t)) != NULL; t++) {
            check_kernels(kernels);
        }
    }
    return num_failed > 0;
}
