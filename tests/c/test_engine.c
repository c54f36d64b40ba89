/* The engine against plain loops that say in which order its sums are taken: the same bits, for every instruction set that the
 * processor has, for 1, 2 and 3 threads, for all shapes up to 70 sampled densely, strides larger than the row, unaligned pointers;
 * no input written to, and nothing written beyond a result.
 *
 *     test_engine [NUMBER]   checks NUMBER random problems (2000 without it), prints their seed, returns 1 if one fails
 *     test_engine callers    eight threads predict with one network while another thread trains a copy of it
 *     test_engine memory     lets allocations fail (linked with -Wl,--wrap=malloc,--wrap=calloc)
 *     test_engine hash       prints a hash of the parameters after some trainings, to be compared between machines */
#define _POSIX_C_SOURCE 200809L

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine.h"
#include "kernels.h"

#define GUARD 1234.5f
#define MAX_LAYERS 4

static int stop_never(void *context, size_t done)
{
    (void)context;
    (void)done;
    return 0;
}

/* ---- The oracle: one number at a time, in the order that kernels.h gives ---- */

static float apply(int function, float z)
{
    float in[16] = {0}, out[16];
    const NNKernels *k = nn_kernels_available(0);
    in[0] = z;
    switch (function) {
    case NN_SIGMOID: k->math(NN_MATH_SIGMOID, in, out, 16); return out[0];
    case NN_TANH: k->math(NN_MATH_TANH, in, out, 16); return out[0];
    case NN_RELU: return z < 0 ? 0 : z;
    default: return z;
    }
}

static float slope(int function, float a)
{
    switch (function) {
    case NN_SIGMOID: return a * (1 - a);
    case NN_TANH: return fmaf(-a, a, 1);
    case NN_RELU: return a > 0 ? 1.0f : 0.0f;
    default: return 1;
    }
}

static void oracle_softmax(float *z, size_t n, float *max, float *sum)
{
    *max = z[0];
    *sum = 0;
    for (size_t j = 1; j < n; j++) {
        *max = z[j] > *max ? z[j] : *max;
    }
    for (size_t j = 0; j < n; j++) {
        float in[16] = {0}, out[16];
        in[0] = z[j] - *max;
        nn_kernels_available(0)->math(NN_MATH_EXP, in, out, 16);
        z[j] = out[0];
        *sum += z[j];
    }
    for (size_t j = 0; j < n; j++) {
        z[j] = z[j] / *sum;
    }
}

/* a[l] for one sample. */
static void oracle_forward(NeuralNetwork nn, const float *x, float **a)
{
    memcpy(a[0], x, nn.archi[0] * sizeof(float));
    for (size_t l = 0; l < nn.num_layers; l++) {
        for (size_t j = 0; j < nn.archi[l + 1]; j++) {
            float z = nn.biases[l].data[j];
            for (size_t k = 0; k < nn.archi[l]; k++) {
                z = fmaf(a[l][k], MAT_AT(nn.weights[l], k, j), z);
            }
            a[l + 1][j] = apply(nn.functions[l], z);
        }
    }
}

/* Adds a sample's products, scaled, to grad, which has to be 0 in the beginning. */
static void oracle_backward(NeuralNetwork nn, NeuralNetwork grad, float **a, float **d, const float *y, float scale)
{
    size_t last = nn.num_layers;
    float max, sum, total = 0;
    for (size_t j = 0; j < nn.archi[last]; j++) {
        total += y[j];
    }
    if (nn.functions[last - 1] == NN_SOFTMAX) {
        oracle_softmax(a[last], nn.archi[last], &max, &sum);
    }
    for (size_t j = 0; j < nn.archi[last]; j++) {
        int f = nn.functions[last - 1];
        d[last][j] = f == NN_SOFTMAX ? fmaf(total, a[last][j], -y[j]) * scale : (a[last][j] - y[j]) * scale;
        d[last][j] = f == NN_SOFTMAX || f == NN_LINEAR ? d[last][j] : d[last][j] * slope(f, a[last][j]);
    }
    for (size_t l = last; l-- > 0;) {
        for (size_t k = 0; k < nn.archi[l]; k++) {
            float e = 0;
            for (size_t j = 0; j < nn.archi[l + 1]; j++) {
                e = fmaf(d[l + 1][j], MAT_AT(nn.weights[l], k, j), e);
                MAT_AT(grad.weights[l], k, j) = fmaf(a[l][k], d[l + 1][j], MAT_AT(grad.weights[l], k, j));
            }
            d[l][k] = l > 0 ? e * slope(nn.functions[l - 1], a[l][k]) : 0;
        }
        for (size_t j = 0; j < nn.archi[l + 1]; j++) {
            grad.biases[l].data[j] += d[l + 1][j];
        }
    }
}

/* ---- A random problem ---- */

typedef struct {
    size_t archi[MAX_LAYERS + 1], num_layers, num_samples;
    int functions[MAX_LAYERS];
    NNSamples samples;
    float *table, *table_before; /* x and y are somewhere in it */
    size_t table_size;
    int32_t *labels;
} Problem;

static uint64_t state;

static size_t draw(size_t low, size_t high)
{
    return low + (size_t)(nn_random(state++, 0) % (high - low + 1));
}

static float draw_float(void)
{
    return (float)(nn_random(state++, 1) >> 40) / 8388608.0f - 1.0f;
}

static Problem make_problem(size_t widest, size_t most_samples)
{
    static const int functions[] = {NN_SIGMOID, NN_TANH, NN_RELU, NN_LINEAR, NN_SOFTMAX};
    Problem p = {.num_layers = draw(1, MAX_LAYERS), .num_samples = draw(1, most_samples)};
    size_t inputs, outputs, stride, first, num;
    int is_softmax;

    for (size_t l = 0; l <= p.num_layers; l++) {
        p.archi[l] = draw(1, draw(0, 1) ? widest : 8);
        if (l > 0) {
            p.functions[l - 1] = functions[draw(0, l == p.num_layers ? 4 : 3)];
        }
    }
    inputs = p.archi[0];
    outputs = p.archi[p.num_layers];
    is_softmax = p.functions[p.num_layers - 1] == NN_SOFTMAX;
    stride = inputs + outputs + draw(0, 5);
    first = draw(0, 15);
    num = p.num_samples;
    p.table_size = first + stride * num;
    p.table = (float *)malloc(p.table_size * sizeof(float));
    p.table_before = (float *)malloc(p.table_size * sizeof(float));
    p.labels = (int32_t *)malloc(num * sizeof(int32_t));
    for (size_t i = 0; i < p.table_size; i++) {
        p.table[i] = draw_float();
    }
    for (size_t i = 0; i < num; i++) {
        p.labels[i] = (int32_t)draw(0, outputs - 1);
        for (size_t j = 0; j < outputs && is_softmax; j++) {
            float *y = &p.table[first + i * stride + inputs + j];
            *y = *y < 0 ? 0 : *y;
        }
    }
    memcpy(p.table_before, p.table, p.table_size * sizeof(float));
    if (draw(0, 3) == 0) { /* the rows backwards */
        Matrix x = {num, inputs, (size_t)0 - stride, p.table + first + (num - 1) * stride};
        p.samples.x = x;
    } else {
        Matrix x = {num, inputs, stride, p.table + first};
        p.samples.x = x;
    }
    if (is_softmax && draw(0, 1)) {
        p.samples.labels = p.labels;
    } else {
        Matrix y = {num, outputs, p.samples.x.stride, p.samples.x.data + inputs};
        p.samples.y = y;
    }
    return p;
}

static void free_problem(Problem *p)
{
    free(p->table);
    free(p->table_before);
    free(p->labels);
}

static NeuralNetwork make_network(const Problem *p)
{
    NeuralNetwork nn = nn_alloc(p->archi, p->num_layers);
    memcpy(nn.functions, p->functions, p->num_layers * sizeof(int));
    nn_initialize(nn, 5);
    for (size_t l = 0; l < p->num_layers; l++) {
        for (size_t j = 0; j < p->archi[l + 1]; j++) {
            nn.biases[l].data[j] = (float)j * 0.01f - 0.1f;
        }
    }
    return nn;
}

static void target_row(const Problem *p, size_t i, float *y)
{
    size_t outputs = p->archi[p->num_layers];
    for (size_t j = 0; j < outputs; j++) {
        y[j] = p->samples.labels != NULL ? (float)(p->labels[i] == (int32_t)j) : MAT_AT(p->samples.y, i, j);
    }
}

/* ---- What the oracle says ---- */

typedef struct {
    float *a[MAX_LAYERS + 1], *d[MAX_LAYERS + 1], *y;
} Scratch;

static Scratch make_scratch(NeuralNetwork nn)
{
    Scratch s;
    for (size_t l = 0; l <= nn.num_layers; l++) {
        s.a[l] = (float *)malloc(nn.archi[l] * sizeof(float));
        s.d[l] = (float *)malloc(nn.archi[l] * sizeof(float));
    }
    s.y = (float *)malloc(nn.archi[nn.num_layers] * sizeof(float));
    return s;
}

static void free_scratch(NeuralNetwork nn, Scratch *s)
{
    for (size_t l = 0; l <= nn.num_layers; l++) {
        free(s->a[l]);
        free(s->d[l]);
    }
    free(s->y);
}

/* Gradient descent in the order of the samples. */
static void oracle_train(const Problem *p, NeuralNetwork nn, double rate, size_t batch_size, size_t epochs)
{
    NeuralNetwork step = nn_alloc(nn.archi, nn.num_layers);
    Scratch s = make_scratch(nn);
    double factor = nn.functions[nn.num_layers - 1] == NN_SOFTMAX ? 1 : 2;
    size_t num_parameters = nn_num_parameters(nn);
    for (size_t epoch = 0; epoch < epochs; epoch++) {
        for (size_t first = 0; first < p->num_samples; first += batch_size) {
            size_t left = p->num_samples - first, num = left < batch_size ? left : batch_size;
            nn_fill(step, 0);
            for (size_t i = first; i < first + num; i++) {
                target_row(p, i, s.y);
                oracle_forward(nn, &MAT_AT(p->samples.x, i, 0), s.a);
                oracle_backward(nn, step, s.a, s.d, s.y, (float)(factor * -rate / (double)num));
            }
            for (size_t q = 0; q < num_parameters; q++) {
                nn.weights[0].data[q] += step.weights[0].data[q];
            }
        }
    }
    free_scratch(nn, &s);
    nn_free(step);
}

static int num_failed = 0;
static long num_moving = 0; /* problems with a gradient to speak of */

static int same(const float *a, const float *b, size_t num, const char *what, const Problem *p, const char *isa, int threads)
{
    for (size_t i = 0; i < num; i++) {
        if (memcmp(&a[i], &b[i], sizeof(float)) != 0 && !(isnan(a[i]) && isnan(b[i]))) {
            printf("%s: number %lu is %.9g instead of %.9g (%s, %d threads; %lu samples;", what, (unsigned long)i, (double)a[i],
                   (double)b[i], isa, threads, (unsigned long)p->num_samples);
            for (size_t l = 0; l <= p->num_layers; l++) {
                printf(" %lu", (unsigned long)p->archi[l]);
            }
            printf(")\n");
            num_failed++;
            return 0;
        }
    }
    return 1;
}

/* ---- The checks ---- */

static void check_predict(const Problem *p, NeuralNetwork nn, NNMachine machine, NNMonitor *monitor)
{
    size_t outputs = p->archi[p->num_layers], stride = outputs + 3;
    float *out = (float *)malloc((p->num_samples * stride + 1) * sizeof(float)), guard = GUARD;
    Matrix m = {p->num_samples, outputs, stride, out};
    Scratch s = make_scratch(nn);
    const char *isa = nn_isa_name(machine.isa);
    for (size_t i = 0; i < p->num_samples * stride + 1; i++) {
        out[i] = GUARD;
    }
    nn_predict(nn, p->samples.x, m, machine, monitor);
    for (size_t i = 0; i < p->num_samples; i++) {
        float max, sum;
        oracle_forward(nn, &MAT_AT(p->samples.x, i, 0), s.a);
        if (nn.functions[nn.num_layers - 1] == NN_SOFTMAX) {
            oracle_softmax(s.a[nn.num_layers], outputs, &max, &sum);
        }
        if (!same(&MAT_AT(m, i, 0), s.a[nn.num_layers], outputs, "predict", p, isa, -machine.num_threads)) {
            break;
        }
        for (size_t j = outputs; j < stride; j++) {
            same(&MAT_AT(m, i, j), &guard, 1, "guard", p, isa, -machine.num_threads);
        }
    }
    same(out + p->num_samples * stride, &guard, 1, "guard", p, isa, -machine.num_threads);
    free_scratch(nn, &s);
    free(out);
}

static void check(const Problem *p, size_t batch_size)
{
    NeuralNetwork expected = make_network(p);
    size_t num = nn_num_parameters(expected);
    oracle_train(p, expected, 0.3, batch_size, 2);
    for (int isa = 0; nn_isa_name(isa) != NULL; isa++) {
        for (int threads = 1; threads <= 3; threads++) {
            NNMachine machine = {isa, -threads};
            NNMonitor monitor = {stop_never, NULL, 0, 0};
            NNOptimizer optimizer = {.kind = NN_GRADIENT_DESCENT, .rate = 0.3};
            NNSchedule schedule = {.batch_size = batch_size, .num_epochs = 2};
            NeuralNetwork nn = make_network(p);
            check_predict(p, nn, machine, &monitor);
            nn_train(nn, p->samples, &optimizer, schedule, machine, &monitor);
            same(nn.weights[0].data, expected.weights[0].data, num, "train", p, nn_isa_name(isa), threads);
            same(p->table, p->table_before, p->table_size, "input", p, nn_isa_name(isa), threads);
            nn_free(nn);
        }
    }
    nn_free(expected);
}

/* The gradient: exactly that of a step of rate 1 from zero, but for the sign; and Adam, whose first step is known. */
static void check_gradient(const Problem *p)
{
    NeuralNetwork nn = make_network(p), step = nn_alloc(nn.archi, nn.num_layers);
    Scratch s = make_scratch(nn);
    size_t num = nn_num_parameters(nn);
    double factor = nn.functions[nn.num_layers - 1] == NN_SOFTMAX ? 1 : 2;
    float *moments = (float *)calloc(2 * num, sizeof(float)), largest = 0;
    for (size_t i = 0; i < p->num_samples; i++) {
        target_row(p, i, s.y);
        oracle_forward(nn, &MAT_AT(p->samples.x, i, 0), s.a);
        oracle_backward(nn, step, s.a, s.d, s.y, (float)(factor / (double)p->num_samples));
    }
    for (size_t q = 0; q < num; q++) {
        largest = fmaxf(largest, fabsf(step.weights[0].data[q]));
    }
    num_moving += largest > 1e-3f;
    for (int isa = 0; nn_isa_name(isa) != NULL; isa++) {
        for (int threads = 1; threads <= 3; threads++) {
            NNMachine machine = {isa, -threads};
            NNMonitor monitor = {stop_never, NULL, 0, 0};
            NeuralNetwork grad = nn_alloc(nn.archi, nn.num_layers), adam = make_network(p);
            NNOptimizer optimizer = {NN_ADAM, 0.01, 0.9, 0.999, 1e-8, moments, 1, 1};
            NNSchedule schedule = {.batch_size = p->num_samples, .num_epochs = 1};
            memset(moments, 0, 2 * num * sizeof(float));
            nn_gradient(nn, grad, p->samples, machine, &monitor);
            same(grad.weights[0].data, step.weights[0].data, num, "gradient", p, nn_isa_name(isa), threads);
            nn_train(adam, p->samples, &optimizer, schedule, machine, &monitor);
            for (size_t q = 0; q < num && largest > 0; q++) { /* it goes by the rate against the sign of the gradient */
                double g = (double)step.weights[0].data[q], moved = (double)adam.weights[0].data[q] - (double)nn.weights[0].data[q];
                if (fabs(moved + 0.01 * g / (fabs(g) + 1e-8)) > 2e-6) {
                    printf("adam moves by %g where the gradient is %g\n", moved, g);
                    num_failed++;
                    break;
                }
            }
            nn_free(grad);
            nn_free(adam);
        }
    }
    free(moments);
    free_scratch(nn, &s);
    nn_free(step);
    nn_free(nn);
}

/* ---- Threads of the caller ---- */

#define NUM_CALLERS 8

typedef struct {
    NeuralNetwork nn;
    Matrix x, out;
} Caller;

static void *call_predict(void *argument)
{
    Caller *caller = (Caller *)argument;
    for (int i = 0; i < 20; i++) {
        NNMachine machine = {0, -2};
        NNMonitor monitor = {stop_never, NULL, 0, 0};
        nn_predict(caller->nn, caller->x, caller->out, machine, &monitor);
    }
    return NULL;
}

static void check_callers(void)
{
    Problem p = {.archi = {20, 70, 30}, .num_layers = 2, .num_samples = 300, .functions = {NN_RELU, NN_TANH}};
    float *table = (float *)malloc(300 * 50 * sizeof(float)), *out = (float *)malloc((NUM_CALLERS + 1) * 300 * 30 * sizeof(float));
    NeuralNetwork nn = make_network(&p), trained = make_network(&p), alone = make_network(&p);
    NNSamples samples = {{300, 20, 50, table}, {300, 30, 50, table + 20}, NULL};
    Caller callers[NUM_CALLERS + 1];
    pthread_t threads[NUM_CALLERS];
    for (size_t i = 0; i < 300 * 50; i++) {
        table[i] = draw_float();
    }
    for (size_t i = 0; i <= NUM_CALLERS; i++) {
        Caller caller = {nn, samples.x, {300, 30, 30, out + i * 300 * 30}};
        callers[i] = caller;
    }
    for (size_t i = 0; i < NUM_CALLERS; i++) {
        pthread_create(&threads[i], NULL, call_predict, &callers[i]);
    }
    for (int i = 0; i < 2; i++) { /* while they predict, and by itself */
        NNMachine machine = {0, -2};
        NNMonitor monitor = {stop_never, NULL, 0, 0};
        NNOptimizer optimizer = {.kind = NN_GRADIENT_DESCENT, .rate = 0.1};
        NNSchedule schedule = {.batch_size = 50, .num_epochs = 20, .shuffle = 1};
        nn_train(i == 0 ? trained : alone, samples, &optimizer, schedule, machine, &monitor);
        for (size_t c = 0; c < NUM_CALLERS && i == 0; c++) {
            pthread_join(threads[c], NULL);
        }
    }
    call_predict(&callers[NUM_CALLERS]);
    same(trained.weights[0].data, alone.weights[0].data, nn_num_parameters(nn), "train beside callers", &p, "", 2);
    for (size_t i = 0; i < NUM_CALLERS; i++) {
        same(callers[i].out.data, callers[NUM_CALLERS].out.data, 300 * 30, "predict in a caller's thread", &p, "", 2);
    }
    nn_free(nn);
    nn_free(trained);
    nn_free(alone);
    free(table);
    free(out);
}

/* ---- Out of memory ---- */

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);

static size_t num_allowed = (size_t)-1; /* that is, any number: it is not counted down then */

static int is_allowed(void)
{
    int allowed = num_allowed > 0;
    if (allowed && num_allowed != (size_t)-1) {
        num_allowed--;
    }
    return allowed;
}

void *__wrap_malloc(size_t size)
{
    return is_allowed() ? __real_malloc(size) : NULL;
}

void *__wrap_calloc(size_t count, size_t size)
{
    return is_allowed() ? __real_calloc(count, size) : NULL;
}

/* Every call with 0, 1, 2, ... allocations allowed fails, and changes nothing, until there are enough. Sizes that no memory holds
 * are refused. */
static void check_memory(void)
{
    static const size_t samples[] = {4, 40};
    float out[2 * 40], cost;
    for (size_t s = 0; s < 2; s++) {
        Problem p = {.archi = {3, s == 0 ? 4 : 300, 2}, .num_layers = 2, .num_samples = samples[s]};
        float table[5 * 40];
        Matrix x = {samples[s], 3, 5, table}, y = {samples[s], 2, 5, table + 3}, results = {samples[s], 2, 2, out};
        NNSamples both = {x, y, NULL};
        NeuralNetwork nn = make_network(&p), before = make_network(&p), grad = make_network(&p);
        size_t num = nn_num_parameters(nn);
        float *moments = (float *)calloc(2 * num, sizeof(float));
        for (size_t i = 0; i < 5 * 40; i++) {
            table[i] = draw_float();
        }
        for (int call = 0; call < 7; call++) {
            int code = NN_NO_MEMORY;
            for (size_t allowed = 0; code != NN_OK && allowed < 10; allowed++) {
                NNMachine machine = {0, -2};
                NNMonitor monitor = {stop_never, NULL, 0, 0};
                NNOptimizer optimizer = {call == 1 ? NN_ADAM : NN_GRADIENT_DESCENT, 0.1, 0.9, 0.999, 1e-8, moments, 1, 1};
                NNSchedule schedule = {.batch_size = 64, .num_epochs = 2, .shuffle = call == 2};
                num_allowed = allowed;
                switch (call) {
                case 0: case 1: case 2: code = nn_train(nn, both, &optimizer, schedule, machine, &monitor); break;
                case 3: code = nn_gradient(nn, grad, both, machine, &monitor); break;
                case 4: code = nn_predict(nn, x, results, machine, &monitor); break;
                case 5: code = nn_evaluate(nn, both, 0, &cost, machine, &monitor); break;
                default: code = nn_descend_by_differences(nn, 0.1f, 0.1f, x, y, 1, &monitor); break;
                }
                num_allowed = (size_t)-1;
                if (code != NN_OK && (code != NN_NO_MEMORY || memcmp(nn.weights[0].data, before.weights[0].data, num * 4) != 0)) {
                    printf("call %d with %lu allocations: code %d, or the network has changed\n", call, (unsigned long)allowed, code);
                    num_failed++;
                }
            }
            num_failed += code != NN_OK;
            memcpy(nn.weights[0].data, before.weights[0].data, num * sizeof(float));
        }
        nn_free(nn);
        nn_free(before);
        nn_free(grad);
        free(moments);
    }
}

/* ---- The hash ---- */

static uint64_t hash_of(NeuralNetwork nn)
{
    uint64_t hash = 14695981039346656037u; /* FNV-1a */
    const unsigned char *bytes = (const unsigned char *)nn.weights[0].data;
    for (size_t i = 0; i < nn_num_parameters(nn) * sizeof(float); i++) {
        hash = (hash ^ bytes[i]) * 1099511628211u;
    }
    return hash;
}

static void print_hashes(void)
{
    static const struct {
        size_t archi[4], num_layers, num_samples, batch_size, epochs;
        int functions[3], kind;
    } runs[] = {
        {{2, 2, 1, 0}, 2, 4, 4, 10000, {NN_SIGMOID, NN_SIGMOID, 0}, NN_GRADIENT_DESCENT},
        {{784, 128, 10, 0}, 2, 256, 32, 2, {NN_RELU, NN_SOFTMAX, 0}, NN_GRADIENT_DESCENT},
        {{37, 53, 11, 0}, 2, 290, 29, 5, {NN_TANH, NN_SIGMOID, 0}, NN_GRADIENT_DESCENT},
        {{20, 64, 64, 1}, 3, 300, 32, 5, {NN_RELU, NN_TANH, NN_LINEAR}, NN_ADAM},
        {{5, 300, 7, 0}, 2, 1100, 1100, 2, {NN_SIGMOID, NN_SOFTMAX, 0}, NN_GRADIENT_DESCENT},
    };
    for (size_t r = 0; r < sizeof runs / sizeof *runs; r++) {
        Problem p = {.num_layers = runs[r].num_layers, .num_samples = runs[r].num_samples};
        size_t inputs = runs[r].archi[0], outputs = runs[r].archi[p.num_layers], stride = inputs + outputs;
        uint64_t first = 0;
        state = r;
        memcpy(p.archi, runs[r].archi, sizeof runs[r].archi);
        memcpy(p.functions, runs[r].functions, sizeof runs[r].functions);
        p.table = (float *)malloc(p.num_samples * stride * sizeof(float));
        for (size_t i = 0; i < p.num_samples * stride; i++) {
            p.table[i] = (draw_float() + 1) / 2;
        }
        for (int isa = 0; nn_isa_name(isa) != NULL; isa++) {
            for (int threads = 1; threads <= 3; threads++) {
                Matrix x = {p.num_samples, inputs, stride, p.table}, y = {p.num_samples, outputs, stride, p.table + inputs};
                NNSamples samples = {x, y, NULL};
                NNMachine machine = {isa, -threads};
                NNMonitor monitor = {stop_never, NULL, 0, 0};
                NeuralNetwork nn = make_network(&p);
                float *moments = (float *)calloc(2 * nn_num_parameters(nn), sizeof(float));
                NNOptimizer optimizer = {runs[r].kind, runs[r].kind == NN_ADAM ? 0.01 : 0.5, 0.9, 0.999, 1e-8, moments, 1, 1};
                NNSchedule schedule = {.batch_size = runs[r].batch_size, .num_epochs = runs[r].epochs, .shuffle = r > 0, .seed = 3};
                nn_train(nn, samples, &optimizer, schedule, machine, &monitor);
                if (isa == 0 && threads == 1) {
                    first = hash_of(nn);
                    printf("%016llx", (unsigned long long)first);
                } else if (hash_of(nn) != first) {
                    printf(" [%s, %d threads: %016llx]", nn_isa_name(isa), threads, (unsigned long long)hash_of(nn));
                    num_failed++;
                }
                nn_free(nn);
                free(moments);
            }
        }
        printf("\n");
        free(p.table);
    }
}

int main(int argc, char **argv)
{
    long number = argc > 1 ? strtol(argv[1], NULL, 10) : 2000;
    if (argc > 1 && strcmp(argv[1], "callers") == 0) {
        check_callers();
        return num_failed > 0;
    }
    if (argc > 1 && strcmp(argv[1], "memory") == 0) {
        check_memory();
        return num_failed > 0;
    }
    if (argc > 1 && strcmp(argv[1], "hash") == 0) {
        print_hashes();
        return num_failed > 0;
    }
    state = argc > 2 ? strtoull(argv[2], NULL, 10) : (uint64_t)time(NULL) * 1000003u;
    printf("seed %llu\n", (unsigned long long)state);
    for (long i = 0; i < number && num_failed < 10; i++) {
        Problem p = make_problem(70, 70);
        check(&p, draw(1, p.num_samples));
        check(&p, p.num_samples);
        check_gradient(&p);
        free_problem(&p);
    }
    if (num_failed == 0 && num_moving < number * 3 / 4) {
        printf("only %ld of %ld problems have a gradient\n", num_moving, number);
        return 1;
    }
    return num_failed > 0;
}
