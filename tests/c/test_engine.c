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
#include "kernels/kernels.h"
#include "workspace.h"

#define GUARD 1234.5f
#define MAX_LAYERS 4

static const Matrix no_matrix = {0, 0, 0, NULL};

static int stop_never(void *context, size_t done)
{
    (void)context;
    (void)done;
    return 0;
}

/* ---- The oracle: one number at a time, in the order that kernels.h gives ---- */

static float math(int function, float x)
{
    float in[16] = {0}, out[16];
    in[0] = x;
    nn_kernels_available(0)->evaluate_math(function, in, out, 16);
    return out[0];
}

static float density(float z)
{
    return 0.398942280f * math(NN_MATH_EXP, -0.5f * z * z);
}

static float apply(int function, float z)
{
    switch (function) {
    case NN_SIGMOID: return math(NN_MATH_SIGMOID, z);
    case NN_TANH: return math(NN_MATH_TANH, z);
    case NN_RELU: return z < 0 ? 0 : z;
    case NN_LEAKY_RELU: return z < 0 ? NN_LEAK * z : z;
    case NN_ELU: return z < 0 ? math(NN_MATH_EXPM1, z) : z;
    case NN_SOFTPLUS: return math(NN_MATH_SOFTPLUS, z);
    case NN_SILU: return z * math(NN_MATH_SIGMOID, z);
    case NN_GELU: return z * math(NN_MATH_NORMAL_CDF, z);
    default: return z;
    }
}

static float slope(int function, float z, float a)
{
    float s = math(NN_MATH_SIGMOID, z);
    switch (function) {
    case NN_SIGMOID: return a * (1 - a);
    case NN_TANH: return fmaf(-a, a, 1);
    case NN_RELU: return a > 0 ? 1.0f : 0.0f;
    case NN_LEAKY_RELU: return a > 0 ? 1.0f : NN_LEAK;
    case NN_ELU: return a > 0 ? 1.0f : a + 1;
    case NN_SOFTPLUS: return s;
    case NN_SILU: return s * fmaf(z, 1 - s, 1);
    case NN_GELU: return fmaf(z, density(z), math(NN_MATH_NORMAL_CDF, z));
    default: return 1;
    }
}

static void oracle_softmax(float *z, size_t n)
{
    float max = z[0], sum = 0;
    for (size_t j = 1; j < n; j++) {
        max = z[j] > max ? z[j] : max;
    }
    for (size_t j = 0; j < n; j++) {
        z[j] = math(NN_MATH_EXP, z[j] - max);
        sum += z[j];
    }
    for (size_t j = 0; j < n; j++) {
        z[j] = z[j] / sum;
    }
}

/* dC_i/da for one output; half of it for the squared error. */
static float derivative_of_loss(NNLoss loss, float diff)
{
    float sign = diff > 0 ? 1.0f : diff < 0 ? -1.0f : 0.0f;
    switch (loss.kind) {
    case NN_MAE: return sign;
    case NN_HUBER: return fabsf(diff) <= loss.parameter ? diff : loss.parameter * sign;
    case NN_PINBALL: return diff < 0 ? -loss.parameter : (1 - loss.parameter) * sign;
    default: return diff;
    }
}

static void oracle_output(NeuralNetwork nn, const float *z, const float *a, const float *y, float scale, float *d)
{
    size_t n = nn.archi[nn.num_layers];
    int f = nn.activation_functions[nn.num_layers - 1];
    float total = 0, mixed = 0;
    for (size_t j = 0; j < n; j++) {
        total += isnan(y[j]) ? 0 : y[j];
        d[j] = isnan(y[j]) ? 0 : derivative_of_loss(nn.loss, a[j] - y[j]) * scale;
        mixed = fmaf(d[j], a[j], mixed);
    }
    for (size_t j = 0; j < n; j++) {
        if (nn.loss.kind == NN_CROSS_ENTROPY) {
            d[j] = fmaf(total, a[j], isnan(y[j]) ? -0.0f : -y[j]) * scale;
        } else if (nn.loss.kind == NN_BINARY_CROSS_ENTROPY) {
            d[j] = isnan(y[j]) ? 0 : (math(NN_MATH_SIGMOID, z[j]) - y[j]) * scale;
        } else if (f == NN_SOFTMAX) {
            d[j] = a[j] * (d[j] - mixed);
        } else if (f != NN_LINEAR) {
            d[j] = d[j] * slope(f, z[j], a[j]);
        }
    }
}

/* What an activation is multiplied with: see drop in step.c. */
static float mask_of(const double *dropout, uint64_t epoch_seed, size_t l, size_t place, size_t columns, size_t j)
{
    uint32_t limit = (uint32_t)(dropout[l] * 65536 + 0.5);
    uint64_t number = (uint64_t)place * ((columns + 15) / 16 * 16) + j;
    uint64_t bits = nn_random(nn_random(epoch_seed, l), number / 4) >> (16 * (number % 4)) & 0xffff;
    return bits < limit ? 0 : 65536.0f / (float)(65536 - limit);
}

/* ---- A random problem ---- */

typedef struct {
    size_t archi[MAX_LAYERS + 1], num_layers, num_samples;
    int functions[MAX_LAYERS];
    NNLoss loss;
    NNSamples samples;
    float *table, *table_before; /* x and y are somewhere in it */
    size_t table_size;
    int32_t *labels;
    float *weights;
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

static void draw_functions(Problem *p)
{
    static const int hidden[] = {NN_SIGMOID, NN_TANH,     NN_RELU, NN_LINEAR, NN_LEAKY_RELU,
                                 NN_ELU,     NN_SOFTPLUS, NN_SILU, NN_GELU,   NN_SOFTMAX};
    int *last = &p->functions[p->num_layers - 1];
    for (size_t l = 0; l < p->num_layers; l++) {
        p->functions[l] = hidden[draw(0, l + 1 == p->num_layers ? 9 : 8)];
    }
    p->loss.kind = (int)draw(NN_MSE, NN_CROSS_ENTROPY);
    p->loss.parameter = p->loss.kind == NN_HUBER ? 0.5f : 0.8f;
    if (p->loss.kind == NN_CROSS_ENTROPY) {
        *last = NN_SOFTMAX;
    } else if (p->loss.kind == NN_BINARY_CROSS_ENTROPY) {
        *last = draw(0, 1) ? NN_SIGMOID : NN_LINEAR;
    } else if (draw(0, 3) == 0) { /* the most usual, and the one for tiny networks */
        p->loss.kind = NN_MSE;
    }
}

static Problem make_problem(size_t widest, size_t most_samples)
{
    Problem p = {.num_layers = draw(1, MAX_LAYERS), .num_samples = draw(1, most_samples)};
    size_t inputs, outputs, stride, first, num;
    int is_entropy, is_missing = draw(0, 3) == 0;

    for (size_t l = 0; l <= p.num_layers; l++) {
        p.archi[l] = draw(1, draw(0, 1) ? widest : 8);
    }
    draw_functions(&p);
    inputs = p.archi[0];
    outputs = p.archi[p.num_layers];
    is_entropy = p.loss.kind == NN_CROSS_ENTROPY || p.loss.kind == NN_BINARY_CROSS_ENTROPY;
    stride = inputs + outputs + draw(0, 5);
    first = draw(0, 15);
    num = p.num_samples;
    p.table_size = first + stride * num;
    p.table = (float *)malloc(p.table_size * sizeof(float));
    p.table_before = (float *)malloc(p.table_size * sizeof(float));
    p.labels = (int32_t *)malloc(num * sizeof(int32_t));
    p.weights = (float *)malloc(num * sizeof(float));
    for (size_t i = 0; i < p.table_size; i++) {
        p.table[i] = draw_float();
    }
    for (size_t i = 0; i < num; i++) {
        p.labels[i] = (int32_t)draw(0, outputs - 1);
        p.weights[i] = fabsf(draw_float()) * 2;
        for (size_t j = 0; j < outputs; j++) {
            float *y = &p.table[first + i * stride + inputs + j];
            *y = is_entropy && *y < 0 ? 0 : *y;
            *y = is_missing && draw(0, 3) == 0 ? NAN : *y;
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
    if (p.loss.kind == NN_CROSS_ENTROPY && draw(0, 1)) {
        p.samples.labels = p.labels;
    } else {
        Matrix y = {num, outputs, p.samples.x.stride, p.samples.x.data + inputs};
        p.samples.y = y;
    }
    p.samples.sample_weights = draw(0, 2) == 0 ? p.weights : NULL;
    return p;
}

static void free_problem(Problem *p)
{
    free(p->table);
    free(p->table_before);
    free(p->labels);
    free(p->weights);
}

static NeuralNetwork make_network(const Problem *p)
{
    NeuralNetwork nn = nn_alloc(p->archi, p->num_layers);
    memcpy(nn.activation_functions, p->functions, p->num_layers * sizeof(int));
    nn.loss = p->loss;
    nn_initialize(nn, 5);
    for (size_t l = 0; l < p->num_layers; l++) {
        for (size_t j = 0; j < p->archi[l + 1]; j++) {
            nn.biases[l].data[j] = (float)j * 0.01f - 0.1f;
        }
    }
    return nn;
}

/* ---- What the oracle says ---- */

typedef struct {
    float *z[MAX_LAYERS + 1], *a[MAX_LAYERS + 1], *mask[MAX_LAYERS + 1], *d[MAX_LAYERS + 1], *y;
} Scratch;

static Scratch make_scratch(NeuralNetwork nn)
{
    Scratch s;
    for (size_t l = 0; l <= nn.num_layers; l++) {
        s.z[l] = (float *)malloc(nn.archi[l] * sizeof(float));
        s.a[l] = (float *)malloc(nn.archi[l] * sizeof(float));
        s.mask[l] = (float *)malloc(nn.archi[l] * sizeof(float));
        s.d[l] = (float *)malloc(nn.archi[l] * sizeof(float));
    }
    s.y = (float *)malloc(nn.archi[nn.num_layers] * sizeof(float));
    return s;
}

static void free_scratch(NeuralNetwork nn, Scratch *s)
{
    for (size_t l = 0; l <= nn.num_layers; l++) {
        free(s->z[l]);
        free(s->a[l]);
        free(s->mask[l]);
        free(s->d[l]);
    }
    free(s->y);
}

/* z and a of one sample, a without dropout; what is passed on is a times the mask. */
static void oracle_forward(NeuralNetwork nn, const float *x, const Scratch *s, const double *dropout, uint64_t seed, size_t place)
{
    size_t last = nn.num_layers;
    for (size_t j = 0; j < nn.archi[0]; j++) {
        s->a[0][j] = x[j];
        s->mask[0][j] = 1;
    }
    for (size_t l = 0; l < last; l++) {
        for (size_t j = 0; j < nn.archi[l + 1]; j++) {
            float z = nn.biases[l].data[j];
            for (size_t k = 0; k < nn.archi[l]; k++) {
                z = fmaf(s->a[l][k] * s->mask[l][k], MAT_AT(nn.weights[l], k, j), z);
            }
            s->z[l + 1][j] = z;
            s->a[l + 1][j] = apply(nn.activation_functions[l], z);
            s->mask[l + 1][j] = dropout == NULL || l + 1 == last ? 1 : mask_of(dropout, seed, l, place, nn.archi[l + 1], j);
        }
    }
    if (nn.activation_functions[last - 1] == NN_SOFTMAX) {
        oracle_softmax(s->a[last], nn.archi[last]);
    }
}

/* Adds a sample's products, scaled, to grad, which has to be 0 in the beginning. d[0] is the delta of the inputs. */
static void oracle_backward(NeuralNetwork nn, NeuralNetwork grad, const Scratch *s, float scale)
{
    size_t last = nn.num_layers;
    oracle_output(nn, s->z[last], s->a[last], s->y, scale, s->d[last]);
    for (size_t l = last; l-- > 0;) {
        for (size_t k = 0; k < nn.archi[l]; k++) {
            float e = 0, a = s->a[l][k] * s->mask[l][k];
            for (size_t j = 0; j < nn.archi[l + 1]; j++) {
                e = fmaf(s->d[l + 1][j], MAT_AT(nn.weights[l], k, j), e);
                MAT_AT(grad.weights[l], k, j) = fmaf(a, s->d[l + 1][j], MAT_AT(grad.weights[l], k, j));
            }
            s->d[l][k] = l > 0 ? e * slope(nn.activation_functions[l - 1], s->z[l][k], s->a[l][k]) * s->mask[l][k] : e;
        }
        for (size_t j = 0; j < nn.archi[l + 1]; j++) {
            grad.biases[l].data[j] += s->d[l + 1][j];
        }
    }
}

static float sign_of(float x)
{
    return x > 0 ? 1.0f : x < 0 ? -1.0f : 0.0f;
}

/* One parameter: see NNStep. */
static void oracle_step(const NNOptimizer *o, double rate, int is_bias, float scale, float g, float *m, float *v, float *w)
{
    float keep = is_bias ? 1 : (float)(1 - rate * o->weight_decay), beta1 = (float)o->beta1, beta2 = (float)o->beta2, less, same, factor;
    g = fmaf(is_bias ? 0 : (float)o->l2, *w, scale * g);
    switch (o->kind) {
    case NN_ADAM:
        *m = fmaf((float)(1 - o->beta1), g - *m, *m);
        *v = fmaf(beta2, *v, (float)(1 - o->beta2) * g * g);
        less = (float)(rate / (1 - o->beta1_power)) * *m / fmaf(sqrtf(*v), (float)(1 / sqrt(1 - o->beta2_power)), (float)o->epsilon);
        break;
    case NN_RMSPROP:
        *v = fmaf(beta2, *v, (float)(1 - o->beta2) * g * g);
        *m = fmaf(beta1, *m, g / (sqrtf(*v) + (float)o->epsilon));
        less = (float)rate * *m;
        break;
    case NN_RPROP:
        same = sign_of(g) * sign_of(*m);
        factor = same > 0 ? (float)o->eta_plus : same < 0 ? (float)o->eta_minus : 1;
        *v = fmaxf((float)o->min_step, fminf((float)o->max_step, *v * factor));
        *m = same < 0 ? 0 : g;
        less = *v * sign_of(*m);
        break;
    default:
        *m = fmaf(beta1, *m, g);
        less = (float)rate * (o->nesterov ? fmaf(beta1, *m, g) : *m);
        break;
    }
    *w = keep * *w - less;
}

/* The squares of a matrix, rows x cols of them in panels as kernels.h says, in parts of 4096 with 16 sums each. */
static double oracle_squares(Matrix m)
{
    double total = 0;
    float sums[16] = {0};
    size_t padded = (m.cols + 15) / 16 * 16, number = 0;
    for (size_t panel = 0; panel < padded; panel += 64) {
        size_t width = padded - panel < 64 ? padded - panel : 64;
        for (size_t q = 0; q < m.rows * width; q++, number++) {
            size_t j = panel + q % width;
            float x = j < m.cols ? MAT_AT(m, q / width, j) : 0;
            sums[number % 16] = fmaf(x, x, sums[number % 16]);
            if (number % NN_NORM_PART_SIZE == NN_NORM_PART_SIZE - 1 || number + 1 == m.rows * padded) {
                double part = 0;
                for (size_t l = 0; l < 16; l++) {
                    part += (double)sums[l];
                    sums[l] = 0;
                }
                total += part;
            }
        }
    }
    return total;
}

/* A step with the gradient of its loss, doubled for the squared error. */
static void oracle_descend(NeuralNetwork nn, NeuralNetwork grad, NNOptimizer *o, double rate)
{
    size_t num = nn_num_parameters(nn), q = 0;
    double squares = 0;
    float scale = 1;
    o->beta1_power *= o->beta1;
    o->beta2_power *= o->beta2;
    for (size_t l = 0; l < nn.num_layers; l++) {
        squares += oracle_squares(grad.weights[l]);
        squares += oracle_squares(grad.biases[l]);
    }
    if (o->clip_norm > 0 && squares > o->clip_norm * o->clip_norm) {
        scale = (float)(o->clip_norm / sqrt(squares));
    }
    for (size_t l = 0; l < nn.num_layers; l++) {
        size_t num_weights = nn.archi[l] * nn.archi[l + 1];
        for (size_t i = 0; i < num_weights + nn.archi[l + 1]; i++, q++) {
            oracle_step(o, rate, i >= num_weights, scale, grad.weights[0].data[q], &o->state[q], &o->state[num + q],
                        &nn.weights[0].data[q]);
        }
    }
}

static int is_plain(const NNOptimizer *o)
{
    return o->kind == NN_SGD && o->beta1 == 0 && o->l2 == 0 && o->weight_decay == 0 && o->clip_norm == 0;
}

static void target_row(const Problem *p, size_t i, float *y)
{
    size_t outputs = p->archi[p->num_layers];
    for (size_t j = 0; j < outputs; j++) {
        y[j] = p->samples.labels != NULL ? (float)(p->labels[i] == (int32_t)j) : MAT_AT(p->samples.y, i, j);
    }
}

/* In the order of the samples, `limit` steps at the most. */
static void oracle_train(const Problem *p, NeuralNetwork nn, NNOptimizer *o, const NNTrainOptions *options, size_t limit)
{
    NeuralNetwork step = nn_alloc(nn.archi, nn.num_layers);
    Scratch s = make_scratch(nn);
    double factor = nn.loss.kind == NN_MSE ? 2 : 1;
    size_t num_steps = 0;
    for (size_t epoch = 0; epoch < options->num_epochs; epoch++) {
        uint64_t seed = nn_random(~options->seed, epoch);
        for (size_t first = 0; first < p->num_samples && num_steps < limit; first += options->batch_size) {
            size_t left = p->num_samples - first, size = left < options->batch_size ? left : options->batch_size;
            double rate = options->learning_rates != NULL ? options->learning_rates[num_steps] : o->learning_rate;
            nn_fill(step, 0);
            for (size_t i = first; i < first + size; i++) {
                float scale = (float)(factor * (is_plain(o) ? -rate : 1) / (double)size);
                target_row(p, i, s.y);
                oracle_forward(nn, &MAT_AT(p->samples.x, i, 0), &s, options->dropout, seed, i);
                oracle_backward(nn, step, &s, scale * (p->samples.sample_weights != NULL ? p->samples.sample_weights[i] : 1));
            }
            if (is_plain(o)) {
                for (size_t q = 0; q < nn_num_parameters(nn); q++) {
                    nn.weights[0].data[q] += step.weights[0].data[q];
                }
            } else {
                oracle_descend(nn, step, o, rate);
            }
            num_steps++;
        }
    }
    free_scratch(nn, &s);
    nn_free(step);
}

static int num_failed = 0;
static long num_moving = 0, num_diverged = 0; /* problems with a gradient to speak of; trainings that diverge */

static int same(const float *a, const float *b, size_t num, const char *what, const Problem *p, const char *isa, int threads)
{
    for (size_t i = 0; i < num; i++) {
        int equal_zeros = a[i] >= 0 && a[i] <= 0 && b[i] >= 0 && b[i] <= 0; /* a product with 0 may have either sign */
        if (memcmp(&a[i], &b[i], sizeof(float)) != 0 && !(isnan(a[i]) && isnan(b[i])) && !equal_zeros) {
            printf("%s: number %lu is %.9g instead of %.9g (%s, %d threads; loss %d; %lu samples;", what, (unsigned long)i,
                   (double)a[i], (double)b[i], isa, threads, p->loss.kind, (unsigned long)p->num_samples);
            for (size_t l = 0; l <= p->num_layers; l++) {
                printf(" %lu%s%d", (unsigned long)p->archi[l], l < p->num_layers ? " f" : "", l < p->num_layers ? p->functions[l] : 0);
            }
            printf(")\n");
            num_failed++;
            return 0;
        }
    }
    return 1;
}

/* ---- The checks ---- */

static void check_predict(const Problem *p, NeuralNetwork nn, NNBackend backend, NNMonitor *monitor)
{
    size_t outputs = p->archi[p->num_layers], stride = outputs + 3;
    float *out = (float *)malloc((p->num_samples * stride + 1) * sizeof(float)), guard = GUARD;
    Matrix m = {p->num_samples, outputs, stride, out}, layers[MAX_LAYERS];
    Scratch s = make_scratch(nn);
    const char *isa = nn_isa_name(backend.isa);
    for (size_t i = 0; i < p->num_samples * stride + 1; i++) {
        out[i] = GUARD;
    }
    for (size_t l = 0; l < p->num_layers; l++) {
        layers[l] = mat_alloc(p->num_samples, p->archi[l + 1]);
    }
    nn_predict(nn, NULL, p->samples.x, m, backend, monitor);
    nn_layer_outputs(nn, NULL, p->samples.x, layers, backend, monitor);
    for (size_t i = 0; i < p->num_samples; i++) {
        oracle_forward(nn, &MAT_AT(p->samples.x, i, 0), &s, NULL, 0, 0);
        if (!same(&MAT_AT(m, i, 0), s.a[nn.num_layers], outputs, "predict", p, isa, -backend.num_threads)) {
            break;
        }
        for (size_t l = 0; l < p->num_layers; l++) {
            same(&MAT_AT(layers[l], i, 0), s.a[l + 1], p->archi[l + 1], "layer", p, isa, -backend.num_threads);
        }
        for (size_t j = outputs; j < stride; j++) {
            same(&MAT_AT(m, i, j), &guard, 1, "guard", p, isa, -backend.num_threads);
        }
    }
    same(out + p->num_samples * stride, &guard, 1, "guard", p, isa, -backend.num_threads);
    for (size_t l = 0; l < p->num_layers; l++) {
        mat_free(layers[l]);
    }
    free_scratch(nn, &s);
    free(out);
}

static NNOptimizer fresh(NNOptimizer o, size_t num)
{
    for (size_t q = 0; q < 2 * num; q++) {
        o.state[q] = o.kind == NN_RPROP && q >= num ? (float)o.learning_rate : 0;
    }
    return o;
}

static int is_finite(NeuralNetwork nn)
{
    Matrix all = {1, nn_num_parameters(nn), nn_num_parameters(nn), nn.weights[0].data};
    return nn_first_nonfinite(all) == all.cols;
}

/* After so many steps the engine said that the training diverges: after one more the parameters or the loss are not finite. */
static void check_divergence(const Problem *p, NNOptimizer o, const NNTrainOptions *options, size_t num_steps)
{
    NeuralNetwork nn = make_network(p);
    NNMonitor monitor = {.poll = stop_never};
    NNBackend backend = {0, 1};
    double cost = 0;
    o = fresh(o, nn_num_parameters(nn));
    oracle_train(p, nn, &o, options, num_steps);
    nn_evaluate(nn, p->samples, no_matrix, &cost, backend, &monitor);
    num_diverged++;
    if (!is_finite(nn)) {
        printf("not finite after the last finite step\n");
        num_failed++;
    }
    o = fresh(o, nn_num_parameters(nn));
    nn_free(nn);
    nn = make_network(p);
    oracle_train(p, nn, &o, options, num_steps + 1);
    if (is_finite(nn) && isfinite(cost)) {
        printf("nothing diverges in step %lu\n", (unsigned long)num_steps);
        num_failed++;
    }
    nn_free(nn);
}

static void check_training(const Problem *p, NNOptimizer o, NNTrainOptions options)
{
    NeuralNetwork expected = make_network(p);
    size_t num = nn_num_parameters(expected), num_steps = 0;
    for (int isa = 0; nn_isa_name(isa) != NULL; isa++) {
        for (int threads = 1; threads <= 3; threads++) {
            NNBackend backend = {isa, -threads};
            NNMonitor monitor = {.poll = stop_never};
            NeuralNetwork nn = make_network(p);
            NNOptimizer optimizer = fresh(o, num);
            int code = nn_train(nn, p->samples, &optimizer, options, backend, &monitor);
            if (isa == 0 && threads == 1) {
                NNOptimizer own = fresh(o, num);
                num_steps = monitor.num_steps;
                if (code == NN_DIVERGED) {
                    check_divergence(p, own, &options, num_steps);
                    own = fresh(o, num);
                }
                oracle_train(p, expected, &own, &options, num_steps);
            }
            num_failed += monitor.num_steps != num_steps;
            same(nn.weights[0].data, expected.weights[0].data, num, "train", p, nn_isa_name(isa), threads);
            same(p->table, p->table_before, p->table_size, "input", p, nn_isa_name(isa), threads);
            nn_free(nn);
        }
    }
    nn_free(expected);
}

static void check(const Problem *p)
{
    static const int kinds[] = {NN_SGD, NN_ADAM, NN_RMSPROP, NN_RPROP};
    double rates[2 * 70], dropout[MAX_LAYERS];
    NeuralNetwork nn = make_network(p);
    float *moments = (float *)malloc(2 * nn_num_parameters(nn) * sizeof(float));
    NNOptimizer plain = {.kind = NN_SGD, .learning_rate = draw(0, 7) == 0 ? 1e30 : 0.05, .state = moments};
    NNOptimizer any = {kinds[draw(0, 3)], 0.01, 0.9, 0.99, 1e-8, (int)draw(0, 1), 0.5, 1.2, 1e-6, 0.05, draw(0, 1) ? 0.1 : 0,
                       draw(0, 1) ? 0.01 : 0, draw(0, 1) ? 0.2 : 0, moments, 1, 1};
    NNTrainOptions options = {.batch_size = draw(1, p->num_samples), .num_epochs = 2}, whole = {.batch_size = 70, .num_epochs = 2};
    NNMonitor monitor = {.poll = stop_never};
    for (size_t i = 0; i < sizeof rates / sizeof *rates; i++) {
        rates[i] = 0.01 + 0.1 * (double)fabsf(draw_float());
    }
    for (size_t l = 0; l < MAX_LAYERS; l++) {
        dropout[l] = draw(0, 2) == 0 ? 0 : 0.1 * (double)draw(1, 9);
    }
    for (int isa = 0; nn_isa_name(isa) != NULL; isa++) {
        for (int threads = 1; threads <= 3; threads++) {
            NNBackend backend = {isa, -threads};
            check_predict(p, nn, backend, &monitor);
        }
    }
    check_training(p, plain, whole);
    options.learning_rates = draw(0, 1) ? rates : NULL;
    options.dropout = draw(0, 1) ? dropout : NULL;
    check_training(p, plain, options);
    check_training(p, any, options);
    free(moments);
    nn_free(nn);
}

static void check_gradient(const Problem *p)
{
    NeuralNetwork nn = make_network(p), expected = nn_alloc(nn.archi, nn.num_layers);
    Scratch s = make_scratch(nn);
    size_t num = nn_num_parameters(nn), inputs = p->archi[0];
    double factor = nn.loss.kind == NN_MSE ? 2 : 1, cost, other_cost;
    Matrix by_input = mat_alloc(p->num_samples, inputs), input_grad = mat_alloc(p->num_samples, inputs);
    float largest = 0;
    for (size_t i = 0; i < p->num_samples; i++) {
        float weight = p->samples.sample_weights != NULL ? p->samples.sample_weights[i] : 1;
        target_row(p, i, s.y);
        oracle_forward(nn, &MAT_AT(p->samples.x, i, 0), &s, NULL, 0, 0);
        oracle_backward(nn, expected, &s, (float)(factor / (double)p->num_samples) * weight);
        memcpy(&MAT_AT(by_input, i, 0), s.d[0], inputs * sizeof(float));
    }
    for (size_t q = 0; q < num; q++) {
        largest = fmaxf(largest, fabsf(expected.weights[0].data[q]));
    }
    num_moving += largest > 1e-3f;
    for (int isa = 0; nn_isa_name(isa) != NULL; isa++) {
        for (int threads = 1; threads <= 3; threads++) {
            NNBackend backend = {isa, -threads};
            NNMonitor monitor = {.poll = stop_never};
            NeuralNetwork grad = nn_alloc(nn.archi, nn.num_layers);
            nn_gradient(nn, grad, input_grad, p->samples, &cost, backend, &monitor);
            same(grad.weights[0].data, expected.weights[0].data, num, "gradient", p, nn_isa_name(isa), threads);
            same(input_grad.data, by_input.data, p->num_samples * inputs, "input gradient", p, nn_isa_name(isa), threads);
            nn_evaluate(nn, p->samples, no_matrix, &other_cost, backend, &monitor);
            if (!(fabs(cost - other_cost) <= 1e-12 * fabs(cost))) {
                printf("the gradient's cost is %.17g, nn_evaluate's is %.17g\n", cost, other_cost);
                num_failed++;
            }
            nn_free(grad);
        }
    }
    mat_free(by_input);
    mat_free(input_grad);
    free_scratch(nn, &s);
    nn_free(expected);
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
        NNBackend backend = {0, -2};
        NNMonitor monitor = {.poll = stop_never};
        nn_predict(caller->nn, NULL, caller->x, caller->out, backend, &monitor);
    }
    return NULL;
}

static void check_callers(void)
{
    Problem p = {.archi = {20, 70, 30}, .num_layers = 2, .num_samples = 300, .functions = {NN_RELU, NN_TANH}};
    float *table = (float *)malloc(300 * 50 * sizeof(float)), *out = (float *)malloc((NUM_CALLERS + 1) * 300 * 30 * sizeof(float));
    NeuralNetwork nn = make_network(&p), trained = make_network(&p), alone = make_network(&p);
    NNSamples samples = {.x = {300, 20, 50, table}, .y = {300, 30, 50, table + 20}};
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
        NNBackend backend = {0, -2};
        NNMonitor monitor = {.poll = stop_never};
        NNOptimizer optimizer = {.kind = NN_SGD, .learning_rate = 0.1};
        NNTrainOptions options = {.batch_size = 50, .num_epochs = 20, .shuffle = 1};
        nn_train(i == 0 ? trained : alone, samples, &optimizer, options, backend, &monitor);
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
    float out[2 * 40];
    double cost;
    for (size_t s = 0; s < 2; s++) {
        Problem p = {.archi = {3, s == 0 ? 4 : 300, 2}, .num_layers = 2, .num_samples = samples[s]};
        float table[5 * 40];
        Matrix x = {samples[s], 3, 5, table}, y = {samples[s], 2, 5, table + 3}, results = {samples[s], 2, 2, out};
        NNSamples both = {.x = x, .y = y};
        NeuralNetwork nn = make_network(&p), before = make_network(&p), grad = make_network(&p);
        size_t num = nn_num_parameters(nn);
        float *moments = (float *)calloc(2 * num, sizeof(float));
        double *memory = (double *)calloc(nn_lbfgs_size(num, 3), sizeof(double)), dropout[] = {0.5};
        Matrix layers[] = {mat_alloc(samples[s], p.archi[1]), mat_alloc(samples[s], p.archi[2])};
        for (size_t i = 0; i < 5 * 40; i++) {
            table[i] = draw_float();
        }
        for (int call = 0; call < 11; call++) {
            int code = NN_NO_MEMORY;
            for (size_t allowed = 0; code != NN_OK && allowed < 30; allowed++) {
                NNBackend backend = {0, -2};
                NNMonitor monitor = {.poll = stop_never};
                NNOptimizer plain = {.kind = NN_SGD, .learning_rate = 0.1, .state = moments};
                NNOptimizer adam = {.kind = NN_ADAM, .learning_rate = 0.1, .beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-8,
                                    .state = moments, .beta1_power = 1, .beta2_power = 1};
                NNOptimizer optimizer = call == 1 ? adam : plain;
                NNTrainOptions options = {.batch_size = 64, .num_epochs = 2, .shuffle = call == 2};
                NNLbfgs lbfgs = {.history_size = 3, .memory = memory};
                NNLevenbergMarquardt levenberg = {.damping = 1e-3};
                memset(memory, 0, nn_lbfgs_size(num, 3) * sizeof(double));
                options.dropout = call == 7 ? dropout : NULL;
                optimizer.clip_norm = call == 7 ? 0.1 : 0;
                num_allowed = allowed;
                switch (call) {
                case 0: case 1: case 2: code = nn_train(nn, both, &optimizer, options, backend, &monitor); break;
                case 3: code = nn_gradient(nn, grad, no_matrix, both, &cost, backend, &monitor); break;
                case 4: code = nn_predict(nn, NULL, x, results, backend, &monitor); break;
                case 5: code = nn_evaluate(nn, both, no_matrix, &cost, backend, &monitor); break;
                case 6: code = nn_finite_diff_descent(nn, 0.1f, 0.1f, x, y, 1, &monitor); break;
                case 7: code = nn_train(nn, both, &optimizer, options, backend, &monitor); break;
                case 8: code = nn_layer_outputs(nn, NULL, x, layers, backend, &monitor); break;
                case 9: code = nn_lbfgs(nn, both, &lbfgs, 1, NULL, backend, &monitor); break;
                default: code = nn_levenberg_marquardt(nn, both, &levenberg, 1, NULL, backend, &monitor); break;
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
        free(memory);
        mat_free(layers[0]);
        mat_free(layers[1]);
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

enum { LBFGS = 100, LEVENBERG }; /* beside the kinds of NNOptimizer */

/* Trains in the way that a run of print_hashes asks for. */
static void train_somehow(NeuralNetwork nn, NNSamples samples, int kind, int with_everything, NNTrainOptions options, NNBackend backend)
{
    size_t num = nn_num_parameters(nn);
    double dropout[MAX_LAYERS] = {0.25, 0.5, 0.1, 0};
    float *moments = (float *)calloc(2 * num, sizeof(float));
    NNMonitor monitor = {.poll = stop_never};
    if (kind == LBFGS) {
        NNLbfgs lbfgs = {.history_size = 5, .memory = (double *)calloc(nn_lbfgs_size(num, 5), sizeof(double))};
        nn_lbfgs(nn, samples, &lbfgs, options.num_epochs, NULL, backend, &monitor);
        free(lbfgs.memory);
    } else if (kind == LEVENBERG) {
        NNLevenbergMarquardt levenberg = {.damping = 1e-3, .l2 = 1e-5};
        nn_levenberg_marquardt(nn, samples, &levenberg, options.num_epochs, NULL, backend, &monitor);
    } else {
        NNOptimizer adam = {.kind = NN_ADAM, .learning_rate = 0.01, .beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-8,
                            .state = moments, .beta1_power = 1, .beta2_power = 1};
        NNOptimizer plain = {.kind = NN_SGD, .learning_rate = 0.5, .state = moments};
        NNOptimizer optimizer = kind == NN_ADAM ? adam : plain;
        if (with_everything) {
            optimizer.clip_norm = 0.05;
            optimizer.l2 = 0.01;
            optimizer.weight_decay = 0.1;
            options.dropout = dropout;
        }
        nn_train(nn, samples, &optimizer, options, backend, &monitor);
    }
    free(moments);
}

static void print_hashes(void)
{
    static const struct {
        size_t archi[4], num_layers, num_samples, batch_size, epochs;
        int functions[3], kind, with_everything, loss;
    } runs[] = {
        {{2, 2, 1, 0}, 2, 4, 4, 10000, {NN_SIGMOID, NN_SIGMOID, 0}, NN_SGD, 0, NN_MSE},
        {{784, 128, 10, 0}, 2, 256, 32, 2, {NN_RELU, NN_SOFTMAX, 0}, NN_SGD, 0, NN_CROSS_ENTROPY},
        {{37, 53, 11, 0}, 2, 290, 29, 5, {NN_TANH, NN_SIGMOID, 0}, NN_SGD, 0, NN_MSE},
        {{20, 64, 64, 1}, 3, 300, 32, 5, {NN_RELU, NN_TANH, NN_LINEAR}, NN_ADAM, 0, NN_MSE},
        {{5, 300, 7, 0}, 2, 1100, 1100, 2, {NN_SIGMOID, NN_SOFTMAX, 0}, NN_SGD, 0, NN_CROSS_ENTROPY},
        {{30, 70, 90, 5}, 3, 300, 32, 5, {NN_GELU, NN_SILU, NN_LINEAR}, NN_ADAM, 1, NN_BINARY_CROSS_ENTROPY},
        {{30, 70, 90, 5}, 3, 300, 50, 5, {NN_ELU, NN_SOFTPLUS, NN_LEAKY_RELU}, NN_SGD, 1, NN_HUBER},
        {{6, 9, 2, 0}, 2, 150, 150, 12, {NN_TANH, NN_LINEAR, 0}, LBFGS, 0, NN_MSE},
        {{6, 9, 2, 0}, 2, 150, 150, 12, {NN_TANH, NN_LINEAR, 0}, LEVENBERG, 0, NN_MSE},
    };
    for (size_t r = 0; r < sizeof runs / sizeof *runs; r++) {
        Problem p = {.num_layers = runs[r].num_layers, .num_samples = runs[r].num_samples, .loss = {runs[r].loss, 0.3f}};
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
                NNSamples samples = {.x = x, .y = y};
                NNBackend backend = {isa, -threads};
                NNTrainOptions options = {.batch_size = runs[r].batch_size, .num_epochs = runs[r].epochs, .shuffle = r > 0, .seed = 3};
                NeuralNetwork nn = make_network(&p);
                train_somehow(nn, samples, runs[r].kind, runs[r].with_everything, options, backend);
                if (isa == 0 && threads == 1) {
                    first = hash_of(nn);
                    printf("%016llx", (unsigned long long)first);
                } else if (hash_of(nn) != first) {
                    printf(" [%s, %d threads: %016llx]", nn_isa_name(isa), threads, (unsigned long long)hash_of(nn));
                    num_failed++;
                }
                nn_free(nn);
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
        check(&p);
        check_gradient(&p);
        free_problem(&p);
    }
    if (num_failed == 0 && (num_moving < number * 3 / 4 || (number >= 60 && num_diverged == 0))) {
        printf("of %ld problems only %ld have a gradient, %ld diverge\n", number, num_moving, num_diverged);
        return 1;
    }
    return num_failed > 0;
}
