/* random_call.h: a random call of the engine, made from bytes, for fuzz_engine.c and guard_pages.c. It is made with every instruction
 * set and with 1, 2 and 3 threads, and all results must have the same bits; inputs must not change; and where numbers are small, the
 * outputs and the gradient must be those of nn.h within rounding.
 *
 * The file that includes this one defines `new_array` and `free_array`: they decide where each array lies that the engine reads or
 * writes. The engine's own allocations may fail: see fails_at. */
#ifndef RANDOM_CALL_H_
#define RANDOM_CALL_H_

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine.h"
#include "samples.h"
#include "sizes.h"

/* Returns room for `size` bytes, a multiple of the alignment of its items; never NULL. */
static void *new_array(size_t size);
static void free_array(void *array);

#define MAX_ARRAYS 64
#define MAX_LAYERS 4

enum {
    CALL_PREDICT, CALL_PREDICT_FEW, CALL_LAYERS, CALL_EVALUATE, CALL_GRADIENT, CALL_TRAIN, CALL_TRAIN_FEW, CALL_LBFGS, CALL_LEVENBERG,
    CALL_FINITE_DIFF, CALL_FINITE_DIFF_DESCENT, CALL_SAMPLES, NUM_CALLS
};

/* Bytes from which all choices are made; after their end all choices are the first one. */
typedef struct {
    const unsigned char *bytes;
    size_t size, used;
} Source;

typedef struct {
    int call;
    size_t archi[MAX_LAYERS + 1], num_layers, num_samples, num_parameters;
    size_t num_rows;         /* the samples of calls with NNSamples: num_samples, or fewer that `rows` chooses */
    int activations[MAX_LAYERS];
    NNLoss loss;
    Matrix x, y;             /* they may overlap, and their strides may be negative or 0 */
    float *table, *parameters; /* what x and y point into; the initial parameters */
    size_t table_size;
    int32_t *labels;
    float *sample_weights;
    double *scaler_numbers;
    size_t *rows;
    NNScaler scaler;
    int has_scaler, has_rows, has_labels, has_weights, wants_more; /* wants_more: input gradients, outputs of nn_evaluate, losses */
    NNOptimizer optimizer;
    NNTrainOptions options;
    double *learning_rates, *dropout;
    size_t iterations, history_size;
    int stop_at;             /* the number of the poll that stops the call, or 0 */
    int is_tame;             /* whether numbers are small and no target is missing, so that results can be compared with nn.h */
} RandomCall;

static long num_wrong = 0, num_calls = 0, num_compared = 0;
static long num_codes[6]; /* how often the engine returned each code */

#define EXPECT(condition, ...)                     \
    do {                                           \
        if (!(condition)) {                        \
            printf("%s:%d: ", __FILE__, __LINE__); \
            printf(__VA_ARGS__);                   \
            printf("\n");                          \
            num_wrong++;                           \
        }                                          \
    } while (0)

/* An integer in [low, high]. */
static size_t choose(Source *s, size_t low, size_t high)
{
    size_t value = 0, range = high - low + 1;
    for (size_t covered = 1; covered < range; covered *= 256) {
        value = value * 256 + (s->used < s->size ? s->bytes[s->used++] : 0);
    }
    return low + value % range;
}

/* The width of a layer: often one at which a vector, a tile or a panel ends. */
static size_t choose_width(Source *s, size_t largest)
{
    static const size_t edges[] = {4, 8, 16, 32, 48, 64, 96, 128, 512};
    size_t edge = edges[choose(s, 0, sizeof edges / sizeof *edges - 1)] + choose(s, 0, 2) - 1;
    return choose(s, 0, 2) > 0 || edge > largest ? choose(s, 1, largest < 12 ? largest : 12) : edge;
}

/* ---- Arrays ---- */

static float *new_floats(size_t num)
{
    return (float *)new_array(num * sizeof(float));
}

static double *new_doubles(size_t num)
{
    return (double *)new_array(num * sizeof(double));
}

/* Fills num floats with a sequence that begins anywhere. */
static void fill(Source *s, float *a, size_t num, float scale)
{
    uint64_t seed = choose(s, 0, 255);
    for (size_t i = 0; i < num; i++) {
        a[i] = ((float)(nn_random(seed, i) >> 40) / 8388608.0f - 1.0f) * scale;
    }
}

/* A network whose parameters lie in an array of its own. */
static NeuralNetwork new_network(const RandomCall *c)
{
    NeuralNetwork nn = nn_alloc(c->archi, c->num_layers);
    float *p = new_floats(c->num_parameters);
    if (nn.archi == NULL) {
        abort();
    }
    memcpy(p, c->parameters, c->num_parameters * sizeof(float));
    for (size_t l = 0; l < c->num_layers; l++) {
        nn.weights[l].data = p;
        p += c->archi[l] * c->archi[l + 1];
        nn.biases[l].data = p;
        p += c->archi[l + 1];
        nn.activation_functions[l] = c->activations[l];
    }
    nn.loss = c->loss;
    return nn;
}

static void free_network(NeuralNetwork nn)
{
    free_array(nn.weights[0].data);
    nn_free(nn);
}

/* ---- A random call ---- */

static void choose_network(Source *s, RandomCall *c)
{
    static const int hidden[] = {NN_SIGMOID, NN_TANH, NN_RELU, NN_LINEAR, NN_LEAKY_RELU, NN_ELU, NN_SOFTPLUS, NN_SILU, NN_GELU};
    int is_large = choose(s, 0, 3) == 0 && c->call < CALL_LBFGS, *last;
    c->num_layers = choose(s, 1, is_large ? 2 : MAX_LAYERS);
    c->num_parameters = 0;
    for (size_t l = 0; l <= c->num_layers; l++) {
        c->archi[l] = choose_width(s, is_large ? 600 : c->call >= CALL_LBFGS ? 9 : 70);
        c->num_parameters += l == 0 ? 0 : (c->archi[l - 1] + 1) * c->archi[l];
    }
    for (size_t l = 0; l < c->num_layers; l++) {
        c->activations[l] = hidden[choose(s, 0, 8)];
    }
    last = &c->activations[c->num_layers - 1];
    c->loss.kind = (int)choose(s, NN_MSE, NN_CROSS_ENTROPY);
    c->loss.parameter = c->loss.kind == NN_HUBER ? 0.5f : 0.8f;
    if (c->call == CALL_LEVENBERG) {
        c->loss.kind = NN_MSE;
    } else if (c->loss.kind == NN_CROSS_ENTROPY || choose(s, 0, 7) == 0) {
        *last = NN_SOFTMAX;
    }
    if (c->loss.kind == NN_BINARY_CROSS_ENTROPY) {
        *last = choose(s, 0, 1) ? NN_SIGMOID : NN_LINEAR;
    }
    c->parameters = new_floats(c->num_parameters);
    fill(s, c->parameters, c->num_parameters, c->archi[0] > 100 ? 0.1f : 0.7f);
}

/* A matrix in c->table from float number `first` on, with `rows` rows. */
static Matrix place(const RandomCall *c, size_t rows, size_t cols, size_t first, size_t stride, int is_reversed)
{
    Matrix forward = {rows, cols, stride, c->table + first};
    Matrix backward = {rows, cols, (size_t)0 - stride, c->table + first + (rows - 1) * stride};
    return is_reversed ? backward : forward;
}

static void choose_samples(Source *s, RandomCall *c)
{
    static const float odd[] = {NAN, INFINITY, -INFINITY, FLT_MAX, -FLT_MAX, 1e-42f, -0.0f, 1e20f};
    size_t inputs = c->archi[0], outputs = c->archi[c->num_layers], n, gap, stride;
    int is_probability = c->loss.kind >= NN_BINARY_CROSS_ENTROPY, layout = (int)choose(s, 0, 3), x_is_first = (int)choose(s, 0, 1);
    c->num_samples = n = choose_width(s, c->num_parameters > 5000 || c->call >= CALL_LBFGS ? 13 : 200);
    gap = choose(s, 0, 3);
    stride = layout == 3 ? 0 : inputs + outputs + gap; /* 3: all samples are the same one */
    c->table_size = (n - 1) * stride + inputs + outputs;
    c->table = new_floats(c->table_size);
    fill(s, c->table, c->table_size, 1);
    c->x = place(c, n, inputs, x_is_first ? 0 : outputs, stride, layout == 2);
    c->y = place(c, n, outputs, x_is_first ? inputs : 0, stride, layout == 2);
    c->labels = (int32_t *)new_array(n * sizeof(int32_t));
    c->sample_weights = new_floats(n);
    fill(s, c->sample_weights, n, 1);
    for (size_t i = 0; i < n; i++) {
        c->labels[i] = (int32_t)(nn_random(n, i) % outputs);
        c->sample_weights[i] = fabsf(c->sample_weights[i]);
        for (size_t j = 0; j < outputs && is_probability; j++) {
            MAT_AT(c->y, i, j) = fabsf(MAT_AT(c->y, i, j));
        }
    }
    c->is_tame = 1;
    for (size_t left = choose(s, 0, 3) == 0 ? choose(s, 1, 4) : 0; left > 0; left--) { /* odd numbers in inputs and targets */
        c->table[choose(s, 0, c->table_size - 1)] = odd[choose(s, 0, sizeof odd / sizeof *odd - 1)];
        c->is_tame = 0;
    }
    if (choose(s, 0, 15) == 0) {
        c->parameters[choose(s, 0, c->num_parameters - 1)] = odd[choose(s, 3, sizeof odd / sizeof *odd - 1)];
        c->is_tame = 0;
    }
    c->has_labels = c->loss.kind == NN_CROSS_ENTROPY && choose(s, 0, 1);
    c->has_weights = choose(s, 0, 2) == 0;
    c->has_scaler = choose(s, 0, 2) == 0;
    c->scaler_numbers = new_doubles(2 * (inputs + outputs));
    for (size_t i = 0; i < 2 * (inputs + outputs); i++) {
        c->scaler_numbers[i] = 0.25 + (double)(i % 5);
    }
    c->scaler.x_mean = c->scaler_numbers;
    c->scaler.x_scale = c->scaler_numbers + inputs;
    c->scaler.y_mean = choose(s, 0, 1) ? c->scaler_numbers + 2 * inputs : NULL;
    c->scaler.y_scale = c->scaler.y_mean == NULL ? NULL : c->scaler_numbers + 2 * inputs + outputs;
    c->has_rows = choose(s, 0, 2) == 0;
    c->num_rows = c->has_rows ? choose(s, 1, n) : n;
    c->rows = (size_t *)new_array(c->num_rows * sizeof(size_t));
    for (size_t i = 0; i < c->num_rows; i++) {
        c->rows[i] = nn_random(n, i) % n;
    }
}

static void choose_options(Source *s, RandomCall *c)
{
    static const double rates[] = {0.01, 0.5, 1e-30, 1e10, 1e38};
    NNOptimizer o = {(int)choose(s, NN_SGD, NN_RPROP), rates[choose(s, 0, 4)], 0, 0.99, 1e-8, 0, 0, 0.5, 1.2, 1e-6, 50, 0, 0, 0, 0, NULL,
                     1, 1};
    size_t num_steps;
    o.beta1 = choose(s, 0, 1) ? 0.9 : 0;
    o.nesterov = o.beta1 > 0 && choose(s, 0, 1);
    o.epsilon_before_correction = (int)choose(s, 0, 1);
    o.weight_decay = choose(s, 0, 3) == 0 ? 0.1 : 0;
    o.l2 = choose(s, 0, 3) == 0 ? 0.01 : 0;
    o.l2_of_batch = (int)choose(s, 0, 1);
    o.clip_norm = choose(s, 0, 3) == 0 ? 0.1 : 0;
    c->optimizer = o;
    c->options.batch_size = choose(s, 0, 3) == 0 ? SIZE_MAX : choose(s, 1, c->num_samples);
    c->options.num_epochs = choose(s, 0, 3);
    c->options.shuffle = (int)choose(s, 0, 1);
    c->options.seed = choose(s, 0, 255);
    c->options.first_epoch = choose(s, 0, 1) ? 0 : SIZE_MAX - 1;
    num_steps = c->options.num_epochs * c->num_samples;
    c->learning_rates = new_doubles(num_steps + 1); /* + 1: malloc(0) may be NULL */
    for (size_t i = 0; i <= num_steps; i++) {
        c->learning_rates[i] = 0.01 * (double)(i % 7);
    }
    c->dropout = new_doubles(MAX_LAYERS);
    for (size_t l = 0; l < MAX_LAYERS; l++) {
        c->dropout[l] = (double)choose(s, 0, 3) * 0.33;
    }
    c->options.learning_rates = choose(s, 0, 2) == 0 ? c->learning_rates : NULL;
    c->options.dropout = choose(s, 0, 2) == 0 ? c->dropout + MAX_LAYERS - (c->num_layers - 1) : NULL; /* it ends with the array */
    c->wants_more = (int)choose(s, 0, 1);
    c->iterations = choose(s, 0, 4);
    c->history_size = choose(s, 1, 5);
    c->stop_at = choose(s, 0, 9) == 0 ? (int)choose(s, 1, 2) : 0;
}

static RandomCall choose_call(Source *s)
{
    RandomCall c = {.call = (int)choose(s, 0, NUM_CALLS - 1)};
    choose_network(s, &c);
    choose_samples(s, &c);
    choose_options(s, &c);
    return c;
}

static void free_call(RandomCall *c)
{
    void *arrays[] = {c->parameters, c->table, c->labels, c->sample_weights, c->scaler_numbers, c->rows, c->learning_rates,
                      c->dropout};
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) {
        free_array(arrays[i]);
    }
}

/* ---- Making the call ---- */

/* What a call has as its result: a code, and a hash of everything that it wrote. */
typedef struct {
    int code;
    uint64_t hash;
} Result;

static void add_bytes(Result *r, const void *data, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        r->hash = (r->hash ^ ((const unsigned char *)data)[i]) * 1099511628211u; /* FNV-1a */
    }
}

/* All NaNs count as the same. */
static void add_floats(Result *r, const float *a, size_t num)
{
    for (size_t i = 0; i < num; i++) {
        float value = isnan(a[i]) ? 0.12345f : a[i];
        add_bytes(r, &value, sizeof value);
    }
}

static void add_double(Result *r, double x)
{
    double value = isnan(x) ? 0.12345 : x;
    add_bytes(r, &value, sizeof value);
}

static void add_matrix(Result *r, Matrix m)
{
    for (size_t i = 0; i < m.rows; i++) {
        add_floats(r, &MAT_AT(m, i, 0), m.cols);
    }
}

/* A matrix for results: its last row ends with the array. */
static Matrix new_matrix(size_t rows, size_t cols, size_t gap)
{
    Matrix m = {rows, cols, cols + gap, new_floats((rows - 1) * (cols + gap) + cols)};
    return m;
}

/* Copies the rows of m to an array that they fill. */
static float *copy_together(Matrix m)
{
    float *copy = new_floats(m.rows * m.cols);
    for (size_t i = 0; i < m.rows; i++) {
        memcpy(copy + i * m.cols, &MAT_AT(m, i, 0), m.cols * sizeof(float));
    }
    return copy;
}

static int poll(void *context, size_t done)
{
    int *left = (int *)context;
    (void)done;
    return *left > 0 && --*left == 0;
}

/* Adds what nn_predict_few writes. */
static void predict_few(const RandomCall *c, const NNPredictor *predictor, Result *r)
{
    size_t num = c->num_samples * c->archi[c->num_layers];
    int has_doubles = predictor->scaler != NULL && predictor->scaler->y_mean != NULL;
    float *x = copy_together(c->x), *out = new_floats(num);
    double *scaled_out = new_doubles(num);
    r->code = nn_predict_few(predictor, x, c->num_samples, has_doubles ? (void *)scaled_out : (void *)out);
    for (size_t i = 0; i < num && r->code == NN_OK; i++) {
        add_double(r, has_doubles ? scaled_out[i] : (double)out[i]);
    }
    free_array(x);
    free_array(out);
    free_array(scaled_out);
}

static Result predict(const RandomCall *c, NeuralNetwork nn, NNSamples samples, NNBackend backend, NNMonitor *monitor)
{
    Result r = {0, 1};
    const NNScaler *scaler = c->has_scaler ? &c->scaler : NULL;
    size_t outputs = c->archi[c->num_layers];
    size_t num_out = c->call == CALL_EVALUATE ? c->num_rows : c->num_samples;
    Matrix none = {0, 0, 0, NULL}, out = new_matrix(num_out, outputs, c->iterations), layers[MAX_LAYERS];
    Matrix *placed = (Matrix *)new_array(c->num_layers * sizeof(Matrix));
    NNPredictor predictor = {nn, scaler, backend.isa};
    double loss = 0;
    switch (c->call) {
    case CALL_PREDICT:
        r.code = nn_predict(nn, scaler, c->x, out, backend, monitor);
        break;
    case CALL_PREDICT_FEW: predict_few(c, &predictor, &r); break;
    case CALL_LAYERS:
        for (size_t l = 0; l < c->num_layers; l++) {
            placed[l] = layers[l] = new_matrix(c->num_samples, c->archi[l + 1], c->iterations);
        }
        r.code = nn_layer_outputs(nn, scaler, c->x, placed, backend, monitor);
        for (size_t l = 0; l < c->num_layers; l++) {
            if (r.code == NN_OK) {
                add_matrix(&r, layers[l]);
            }
            free_array(layers[l].data);
        }
        break;
    default:
        r.code = nn_evaluate(nn, samples, c->wants_more ? out : none, &loss, backend, monitor);
        add_double(&r, r.code == NN_OK ? loss : 0);
    }
    if (r.code == NN_OK && (c->call == CALL_PREDICT || (c->call == CALL_EVALUATE && c->wants_more))) {
        add_matrix(&r, out);
    }
    free_array(out.data);
    free_array(placed);
    return r;
}

static Result gradient(const RandomCall *c, NeuralNetwork nn, NNSamples samples, NNBackend backend, NNMonitor *monitor)
{
    Result r = {0, 2};
    NeuralNetwork grad = new_network(c);
    Matrix none = {0, 0, 0, NULL}, input_grad = new_matrix(c->num_rows, c->archi[0], c->iterations);
    double loss;
    if (c->call == CALL_FINITE_DIFF) {
        r.code = nn_finite_diff_gradient(nn, grad, 0.1f, c->x, c->y, monitor);
    } else {
        r.code = nn_gradient(nn, grad, c->wants_more ? input_grad : none, samples, &loss, backend, monitor);
        add_double(&r, r.code == NN_OK ? loss : 0);
    }
    if (r.code == NN_OK) {
        add_floats(&r, grad.weights[0].data, c->num_parameters);
    }
    if (r.code == NN_OK && c->call == CALL_GRADIENT && c->wants_more) {
        add_matrix(&r, input_grad);
    }
    free_array(input_grad.data);
    free_network(grad);
    return r;
}

static int is_finite(const float *a, size_t num)
{
    Matrix all = {1, num, num, (float *)(uintptr_t)a}; /* the cast removes const; it is only read */
    return nn_all_finite(all);
}

/* Calls nn_train_few; *monitor becomes what nn_train would have made of it. */
static int train_few(const RandomCall *c, NeuralNetwork nn, NNScaler scaler, NNOptimizer *o, NNTrainOptions options, int isa,
                     NNMonitor *monitor)
{
    NNTrainer trainer = {nn, scaler, o, options, isa, -FLT_MAX, FLT_MAX, c->has_labels ? sizeof(int32_t) : 0, 0, NULL};
    float *x = copy_together(c->x), *y = copy_together(c->y);
    int code = nn_train_few(&trainer, x, c->has_labels ? (const void *)c->labels : (const void *)y, c->num_samples);
    monitor->num_steps = trainer.num_steps;
    nn_trainer_free(&trainer);
    monitor->done = trainer.num_steps / nn_divide_up(c->num_samples, nn_min(options.batch_size, c->num_samples));
    free_array(x);
    free_array(y);
    return code;
}

static Result train(const RandomCall *c, NeuralNetwork nn, NNSamples samples, NNBackend backend, NNMonitor *monitor)
{
    Result r = {0, 3};
    size_t num_state = c->call == CALL_LBFGS ? nn_lbfgs_size(c->num_parameters, c->history_size) : 0, num = c->num_parameters;
    float *state = new_floats(2 * num), *losses = new_floats(c->iterations + c->options.num_epochs + 1);
    double *memory = new_doubles(num_state + 1);
    NNOptimizer o = c->optimizer;
    NNTrainOptions options = c->options;
    NNLbfgs lbfgs = {.history_size = c->history_size, .l2 = o.l2, .memory = memory + 1};
    NNLevenbergMarquardt levenberg = {.damping = 1e-3, .l2 = o.l2};
    int is_nn_train = c->call == CALL_TRAIN || c->call == CALL_TRAIN_FEW;
    size_t num_losses = is_nn_train ? options.num_epochs : c->iterations;
    float *end = losses + c->iterations + c->options.num_epochs + 1 - num_losses; /* the last losses of the array */
    memset(memory, 0, (num_state + 1) * sizeof(double));
    memset(losses, 0, (c->iterations + c->options.num_epochs + 1) * sizeof(float));
    for (size_t i = 0; i < 2 * num; i++) {
        state[i] = o.kind == NN_RPROP && i >= num ? (float)fmin(o.learning_rate, 50) : 0;
    }
    o.state = state;
    options.losses = c->wants_more ? end : NULL;
    switch (c->call) {
    case CALL_TRAIN: r.code = nn_train(nn, samples, &o, options, backend, monitor); break;
    case CALL_TRAIN_FEW: r.code = train_few(c, nn, samples.scaler, &o, options, backend.isa, monitor); break;
    case CALL_LBFGS: r.code = nn_lbfgs(nn, samples, &lbfgs, c->iterations, options.losses, backend, monitor); break;
    case CALL_LEVENBERG:
        r.code = nn_levenberg_marquardt(nn, samples, &levenberg, c->iterations, options.losses, backend, monitor);
        break;
    default: r.code = nn_finite_diff_descent(nn, 0.5f, 0.1f, c->x, c->y, c->iterations, monitor); break;
    }
    if (r.code != NN_STOPPED) { /* when a poll happens depends on the threads */
        add_floats(&r, nn.weights[0].data, num);
        add_bytes(&r, &monitor->done, sizeof monitor->done);
        add_bytes(&r, &monitor->num_steps, sizeof monitor->num_steps);
        if (c->wants_more) {
            add_floats(&r, end, monitor->done);
        }
        if (is_nn_train) {
            add_floats(&r, state, 2 * num);
            add_double(&r, o.beta1_power);
        }
    }
    if (is_nn_train && r.code != NN_OK) { /* even after a stop */
        EXPECT(is_finite(nn.weights[0].data, num) || !is_finite(c->parameters, num), "parameters are not finite after code %d", r.code);
    }
    if ((r.code == NN_NOT_FINITE && c->call == CALL_TRAIN) || r.code == NN_REFUSED) {
        EXPECT(memcmp(nn.weights[0].data, c->parameters, num * sizeof(float)) == 0, "refused inputs changed the parameters");
        EXPECT(monitor->done == 0 && monitor->num_steps == 0, "refused inputs count as steps");
    }
    free_array(state);
    free_array(losses);
    free_array(memory);
    return r;
}

/* The functions that need no network. */
static Result check_samples(const RandomCall *c)
{
    Result r = {0, 4};
    size_t n = c->num_samples, cols = c->archi[0], outside = nn_first_outside(c->x, -0.9f, 0.9f, c->wants_more);
    size_t *order = (size_t *)new_array(n * sizeof(size_t));
    double *x = new_doubles(n * cols), *sums = new_doubles(cols), *squares = new_doubles(cols), *counts = new_doubles(cols);
    for (size_t i = 0; i < n * cols; i++) {
        x[i] = (double)MAT_AT(c->x, i / cols, i % cols);
    }
    for (size_t j = 0; j < cols; j++) {
        sums[j] = squares[j] = counts[j] = 0;
    }
    add_bytes(&r, &outside, sizeof outside);
    nn_column_moments(x, n, cols, c->scaler_numbers, sums, squares, counts);
    nn_shuffle(order, n, c->options.seed, c->options.first_epoch);
    for (size_t i = 0; i < n; i++) {
        EXPECT(order[i] < n, "the shuffle has the index %lu of %lu", (unsigned long)order[i], (unsigned long)n);
    }
    for (size_t j = 0; j < cols; j++) {
        add_double(&r, sums[j] + squares[j]);
        EXPECT(counts[j] <= (double)n, "a column has more numbers than rows");
    }
    free_array(order);
    free_array(x);
    free_array(sums);
    free_array(squares);
    free_array(counts);
    return r;
}

/* Makes the call with one backend; *nn_out, if it is not NULL, becomes the network after the call. */
static Result make_call(const RandomCall *c, NNBackend backend)
{
    NeuralNetwork nn = new_network(c);
    int left = c->stop_at;
    NNMonitor monitor = {.poll = poll, .context = &left};
    NNSamples samples = {.x = c->x, .y = c->y, .sample_weights = c->has_weights ? c->sample_weights : NULL};
    Result r;
    if (c->has_labels) {
        samples.y.data = NULL;
        samples.labels = c->labels;
    }
    if (c->has_rows) {
        samples.rows = c->rows;
        samples.num_rows = c->num_rows;
    }
    if (c->has_scaler) {
        samples.scaler = c->scaler;
    }
    if (c->call <= CALL_EVALUATE) {
        r = predict(c, nn, samples, backend, &monitor);
    } else if (c->call == CALL_GRADIENT || c->call == CALL_FINITE_DIFF) {
        r = gradient(c, nn, samples, backend, &monitor);
    } else if (c->call == CALL_SAMPLES) {
        r = check_samples(c);
    } else {
        r = train(c, nn, samples, backend, &monitor);
    }
    if (c->call <= CALL_GRADIENT || c->call == CALL_FINITE_DIFF) {
        EXPECT(memcmp(nn.weights[0].data, c->parameters, c->num_parameters * sizeof(float)) == 0, "call %d changes the network", c->call);
    }
    EXPECT(r.code >= NN_OK && r.code <= NN_REFUSED, "call %d returns %d", c->call, r.code);
    num_codes[r.code]++;
    num_calls++;
    free_network(nn);
    return r;
}

/* ---- nn.h as the oracle ---- */

static int is_smooth(const RandomCall *c)
{
    for (size_t l = 0; l < c->num_layers; l++) {
        if (c->activations[l] == NN_RELU || c->activations[l] == NN_LEAKY_RELU) {
            return 0;
        }
    }
    return c->loss.kind != NN_MAE && c->loss.kind != NN_PINBALL;
}

/* Compares num floats with those of nn.h. The tolerance is relative to the largest of them. */
static void compare(const float *engine, const float *book, size_t num, const char *what)
{
    float largest = 1, difference = 0;
    for (size_t i = 0; i < num; i++) {
        largest = fmaxf(largest, fabsf(book[i]));
        difference = fmaxf(difference, fabsf(engine[i] - book[i]));
    }
    num_compared++;
    EXPECT(difference <= 1e-4f * largest, "%s: the largest difference to nn.h is %g of %g", what, (double)difference, (double)largest);
}

/* Compares outputs and gradient with nn.h, for inputs without a scaler and targets without weights. */
static void check_against_book(const RandomCall *c)
{
    size_t outputs = c->archi[c->num_layers];
    NeuralNetwork nn = new_network(c), grad = new_network(c), book = new_network(c);
    NNBackend backend = {0, 1};
    NNMonitor monitor = {.poll = poll, .context = &monitor.done};
    Matrix none = {0, 0, 0, NULL}, out = new_matrix(c->num_samples, outputs, 0);
    NNSamples samples = {.x = c->x, .y = c->y};
    int never = 0;
    double loss;
    monitor.context = &never;
    if (nn_predict(nn, NULL, c->x, out, backend, &monitor) == NN_OK) {
        for (size_t i = 0; i < c->num_samples; i++) {
            mat_cpy(nn.activations[0], mat_row(c->x, i));
            nn_forward(nn);
            compare(&MAT_AT(out, i, 0), nn.activations[nn.num_layers].data, outputs, "outputs");
        }
    }
    if (is_smooth(c) && nn_gradient(nn, grad, none, samples, &loss, backend, &monitor) == NN_OK) {
        nn_backpropagation(nn, book, c->x, c->y);
        compare(grad.weights[0].data, book.weights[0].data, c->num_parameters, "gradient");
    }
    free_array(out.data);
    free_network(nn);
    free_network(grad);
    free_network(book);
}

/* Makes a random call with every backend; returns whether all is as it must be. */
static int check_random_call(Source *s)
{
    RandomCall c = choose_call(s);
    long num_before = num_wrong;
    float *table = (float *)malloc(c.table_size * sizeof(float));
    Result first = {0, 0};
    memcpy(table, c.table, c.table_size * sizeof(float));
    for (int isa = 0; nn_isa_name(isa) != NULL; isa++) {
        for (int threads = 1; threads <= 3; threads++) {
            NNBackend backend = {isa, -threads};
            Result r = make_call(&c, backend);
            first = isa == 0 && threads == 1 ? r : first;
            EXPECT(r.code == first.code || c.stop_at > 0, "call %d: code %d instead of %d (%s, %d threads)", c.call, r.code, first.code,
                   nn_isa_name(isa), threads);
            EXPECT(r.hash == first.hash || r.code != first.code, "call %d, code %d: other bits (%s, %d threads)", c.call, r.code,
                   nn_isa_name(isa), threads);
        }
    }
    EXPECT(memcmp(table, c.table, c.table_size * sizeof(float)) == 0, "call %d writes to its inputs", c.call);
    if (c.is_tame) {
        check_against_book(&c);
    }
    free(table);
    free_call(&c);
    return num_wrong == num_before;
}

#endif /* RANDOM_CALL_H_ */
