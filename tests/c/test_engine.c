/* test_engine.c: compares the engine (engine.h) with an oracle of plain loops, which add in the order that kernels.h gives. They
 * must agree bit for bit, for every instruction set that the processor has and for 1, 2 and 3 threads, on random networks, samples
 * and options: strides larger than the row, reversed rows, unaligned pointers. The engine must not write to its inputs or beyond a
 * result. Link it with all C files of csrc/ and with -Wl,--wrap=malloc,--wrap=calloc.
 *
 *     test_engine [NUMBER [SEED]]   checks NUMBER random problems (default 2000) and prints the seed; returns 1 if one fails
 *     test_engine callers           eight threads predict with one network while another thread trains a copy of it
 *     test_engine memory            lets allocations fail
 *     test_engine hash              trains some networks and prints hashes of their parameters, to compare machines (hashes.txt) */
#define _POSIX_C_SOURCE 200809L

#include <float.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine.h"
#include "kernels/fma.h"
#include "kernels/kernels.h"
#include "samples.h"
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

/* Returns a function of vector_math.h (NN_MATH_...) of one number. math_error.c checks these functions. */
static float evaluate(int function, float x)
{
    float in[16] = {0}, out[16];
    in[0] = x;
    nn_kernels_available(0)->evaluate_math(function, in, out, 16);
    return out[0];
}

/* The density of the standard normal. */
static float normal_density(float z)
{
    return 0.398942280f * evaluate(NN_MATH_EXP, -0.5f * z * z);
}

/* a = f(z), without softmax. */
static float activate(int activation, float z)
{
    switch (activation) {
    case NN_SIGMOID: return evaluate(NN_MATH_SIGMOID, z);
    case NN_TANH: return evaluate(NN_MATH_TANH, z);
    case NN_RELU: return z < 0 ? 0 : z;
    case NN_LEAKY_RELU: return z < 0 ? NN_LEAK * z : z;
    case NN_ELU: return z < 0 ? evaluate(NN_MATH_EXPM1, z) : z;
    case NN_SOFTPLUS: return evaluate(NN_MATH_SOFTPLUS, z);
    case NN_SILU: return z * evaluate(NN_MATH_SIGMOID, z);
    case NN_GELU: return z * evaluate(NN_MATH_NORMAL_CDF, z);
    default: return z;
    }
}

/* f'(z), without softmax. */
static float derivative(int activation, float z, float a)
{
    float s = evaluate(NN_MATH_SIGMOID, z);
    switch (activation) {
    case NN_SIGMOID: return a * (1 - a);
    case NN_TANH: return nn_fmaf(-a, a, 1);
    case NN_RELU: return a > 0 ? 1.0f : 0.0f;
    case NN_LEAKY_RELU: return a > 0 ? 1.0f : NN_LEAK;
    case NN_ELU: return a > 0 ? 1.0f : a + 1;
    case NN_SOFTPLUS: return s;
    case NN_SILU: return s * nn_fmaf(z, 1 - s, 1);
    case NN_GELU: return nn_fmaf(z, normal_density(z), evaluate(NN_MATH_NORMAL_CDF, z));
    default: return 1;
    }
}

/* Softmax of z, (n,), in place. */
static void oracle_softmax(float *z, size_t n)
{
    float max = z[0], sum = 0;
    for (size_t j = 1; j < n; j++) {
        max = z[j] > max ? z[j] : max;
    }
    for (size_t j = 0; j < n; j++) {
        z[j] = evaluate(NN_MATH_EXP, z[j] - max);
        sum += z[j];
    }
    for (size_t j = 0; j < n; j++) {
        z[j] = z[j] / sum;
    }
}

/* Returns dC_i/da of one output with diff = a - y; half of it for NN_MSE. */
static float loss_derivative(NNLoss loss, float diff)
{
    float sign = diff > 0 ? 1.0f : diff < 0 ? -1.0f : 0.0f;
    switch (loss.kind) {
    case NN_MAE: return sign;
    case NN_HUBER: return fabsf(diff) <= loss.parameter ? diff : loss.parameter * sign;
    case NN_PINBALL: return diff < 0 ? -loss.parameter : (1 - loss.parameter) * sign;
    default: return diff;
    }
}

/* Writes delta_scale dC_i/dz of the last layer (half of it for NN_MSE) to delta. z, a, y (the targets) and delta are (outputs,). */
static void oracle_output_delta(NeuralNetwork nn, const float *z, const float *a, const float *y, float delta_scale, float *delta)
{
    size_t n = nn.archi[nn.num_layers];
    int activation = nn.activation_functions[nn.num_layers - 1];
    float sum_y = 0, sum_delta_a = 0;
    for (size_t j = 0; j < n; j++) {
        sum_y += isnan(y[j]) ? 0 : y[j];
        delta[j] = isnan(y[j]) ? 0 : loss_derivative(nn.loss, a[j] - y[j]) * delta_scale;
        sum_delta_a = nn_fmaf(delta[j], a[j], sum_delta_a);
    }
    for (size_t j = 0; j < n; j++) {
        if (nn.loss.kind == NN_CROSS_ENTROPY) {
            delta[j] = nn_fmaf(sum_y, a[j], isnan(y[j]) ? -0.0f : -y[j]) * delta_scale;
        } else if (nn.loss.kind == NN_BINARY_CROSS_ENTROPY) {
            delta[j] = isnan(y[j]) ? 0 : (evaluate(NN_MATH_SIGMOID, z[j]) - y[j]) * delta_scale;
        } else if (activation == NN_SOFTMAX) {
            delta[j] = a[j] * (delta[j] - sum_delta_a);
        } else if (activation != NN_LINEAR) {
            delta[j] = delta[j] * derivative(activation, z[j], a[j]);
        }
    }
}

/* Returns the factor of inverted dropout for activation j of layer l, which has `columns` neurons, for the sample at `position` in
 * the epoch; see apply_dropout in step.c. */
static float dropout_factor(const double *dropout, uint64_t epoch_seed, size_t l, size_t position, size_t columns, size_t j)
{
    uint32_t drop_below = (uint32_t)(dropout[l] * 65536 + 0.5);
    uint64_t index = (uint64_t)position * ((columns + 15) / 16 * 16) + j;
    uint64_t bits = nn_random(nn_random(epoch_seed, l), index / 4) >> (16 * (index % 4)) & 0xffff;
    return bits < drop_below ? 0 : 65536.0f / (float)(65536 - drop_below);
}

/* ---- A random problem ---- */

typedef struct {
    size_t archi[MAX_LAYERS + 1], num_layers, num_samples;
    int activations[MAX_LAYERS];
    NNLoss loss;
    NNSamples samples;
    float *table, *table_before; /* the memory that x and y point into, and a copy of it */
    size_t table_size;
    int32_t *labels;
    float *weights;
} Problem;

static uint64_t random_state; /* the counter of draw and draw_float */

/* A random integer in [low, high]. */
static size_t draw(size_t low, size_t high)
{
    return low + (size_t)(nn_random(random_state++, 0) % (high - low + 1));
}

/* A random number in [-1, 1). */
static float draw_float(void)
{
    return (float)(nn_random(random_state++, 1) >> 40) / 8388608.0f - 1.0f;
}

/* Draws activation functions and a loss that fit together. */
static void draw_activations(Problem *p)
{
    static const int hidden[] = {NN_SIGMOID, NN_TANH,     NN_RELU, NN_LINEAR, NN_LEAKY_RELU,
                                 NN_ELU,     NN_SOFTPLUS, NN_SILU, NN_GELU,   NN_SOFTMAX};
    int *last = &p->activations[p->num_layers - 1];
    for (size_t l = 0; l < p->num_layers; l++) {
        p->activations[l] = hidden[draw(0, l + 1 == p->num_layers ? 9 : 8)];
    }
    p->loss.kind = (int)draw(NN_MSE, NN_CROSS_ENTROPY);
    p->loss.parameter = p->loss.kind == NN_HUBER ? 0.5f : 0.8f;
    if (p->loss.kind == NN_CROSS_ENTROPY) {
        *last = NN_SOFTMAX;
    } else if (p->loss.kind == NN_BINARY_CROSS_ENTROPY) {
        *last = draw(0, 1) ? NN_SIGMOID : NN_LINEAR;
    } else if (draw(0, 3) == 0) { /* more often than the others: it is the loss of tiny networks */
        p->loss.kind = NN_MSE;
    }
}

/* Draws a problem with layers of up to max_width neurons and with up to max_samples samples. */
static Problem make_problem(size_t max_width, size_t max_samples)
{
    Problem p = {.num_layers = draw(1, MAX_LAYERS), .num_samples = draw(1, max_samples)};
    size_t inputs, outputs, stride, first, num;
    int is_cross_entropy, has_missing = draw(0, 3) == 0;

    for (size_t l = 0; l <= p.num_layers; l++) {
        p.archi[l] = draw(1, draw(0, 1) ? max_width : 8);
    }
    draw_activations(&p);
    inputs = p.archi[0];
    outputs = p.archi[p.num_layers];
    is_cross_entropy = p.loss.kind == NN_CROSS_ENTROPY || p.loss.kind == NN_BINARY_CROSS_ENTROPY;
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
            *y = is_cross_entropy && *y < 0 ? 0 : *y;
            *y = has_missing && draw(0, 3) == 0 ? NAN : *y;
        }
    }
    memcpy(p.table_before, p.table, p.table_size * sizeof(float));
    if (draw(0, 3) == 0) { /* rows in reverse order: a negative stride */
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

/* Returns a network for a problem, with the same initial parameters in every call. */
static NeuralNetwork make_network(const Problem *p)
{
    NeuralNetwork nn = nn_alloc(p->archi, p->num_layers);
    memcpy(nn.activation_functions, p->activations, p->num_layers * sizeof(int));
    nn.loss = p->loss;
    nn_initialize(nn, 5);
    for (size_t l = 0; l < p->num_layers; l++) {
        for (size_t j = 0; j < p->archi[l + 1]; j++) {
            nn.biases[l].data[j] = (float)j * 0.01f - 0.1f;
        }
    }
    return nn;
}

/* ---- The oracle: forward pass, backward pass, parameter update ---- */

/* The numbers of one sample. z[l], a[l], mask[l] and delta[l] are (archi[l],): pre-activations, activations before dropout, dropout
 * factors and deltas; y are the targets, (outputs,). */
typedef struct {
    float *z[MAX_LAYERS + 1], *a[MAX_LAYERS + 1], *mask[MAX_LAYERS + 1], *delta[MAX_LAYERS + 1], *y;
} Scratch;

static Scratch make_scratch(NeuralNetwork nn)
{
    Scratch s;
    for (size_t l = 0; l <= nn.num_layers; l++) {
        s.z[l] = (float *)malloc(nn.archi[l] * sizeof(float));
        s.a[l] = (float *)malloc(nn.archi[l] * sizeof(float));
        s.mask[l] = (float *)malloc(nn.archi[l] * sizeof(float));
        s.delta[l] = (float *)malloc(nn.archi[l] * sizeof(float));
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
        free(s->delta[l]);
    }
    free(s->y);
}

/* The forward pass of one sample, x: (inputs,), at `position` in an epoch with dropout seed `seed`. The next layer sees a times
 * mask. */
static void oracle_forward(NeuralNetwork nn, const float *x, const Scratch *s, const double *dropout, uint64_t seed,
                           size_t position)
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
                z = nn_fmaf(s->a[l][k] * s->mask[l][k], MAT_AT(nn.weights[l], k, j), z);
            }
            s->z[l + 1][j] = z;
            s->a[l + 1][j] = activate(nn.activation_functions[l], z);
            s->mask[l + 1][j] =
                dropout == NULL || l + 1 == last ? 1 : dropout_factor(dropout, seed, l, position, nn.archi[l + 1], j);
        }
    }
    if (nn.activation_functions[last - 1] == NN_SOFTMAX) {
        oracle_softmax(s->a[last], nn.archi[last]);
    }
}

/* The backward pass of one sample: grad += delta_scale dC_i/dp. delta[0] becomes dC_i/dx, with respect to the inputs. */
static void oracle_backward(NeuralNetwork nn, NeuralNetwork grad, const Scratch *s, float delta_scale)
{
    size_t last = nn.num_layers;
    oracle_output_delta(nn, s->z[last], s->a[last], s->y, delta_scale, s->delta[last]);
    for (size_t l = last; l-- > 0;) {
        for (size_t k = 0; k < nn.archi[l]; k++) {
            float e = 0, a = s->a[l][k] * s->mask[l][k];
            for (size_t j = 0; j < nn.archi[l + 1]; j++) {
                e = nn_fmaf(s->delta[l + 1][j], MAT_AT(nn.weights[l], k, j), e);
                MAT_AT(grad.weights[l], k, j) = nn_fmaf(a, s->delta[l + 1][j], MAT_AT(grad.weights[l], k, j));
            }
            s->delta[l][k] = l > 0 ? e * derivative(nn.activation_functions[l - 1], s->z[l][k], s->a[l][k]) * s->mask[l][k] : e;
        }
        for (size_t j = 0; j < nn.archi[l + 1]; j++) {
            grad.biases[l].data[j] += s->delta[l + 1][j];
        }
    }
}

static float sign_of(float x)
{
    return x > 0 ? 1.0f : x < 0 ? -1.0f : 0.0f;
}

/* The update of one parameter w with gradient g and optimiser state m, v; see NNUpdateConstants. */
static void oracle_update(const NNOptimizer *o, double learning_rate, double l2, int is_bias, float gradient_scale, float g, float *m,
                          float *v, float *w)
{
    float weight_decay_factor = is_bias ? 1 : (float)(1 - learning_rate * o->weight_decay);
    float beta1 = (float)o->beta1, beta2 = (float)o->beta2, update, sign_product, factor, root;
    double epsilon;
    g = nn_fmaf(is_bias ? 0 : (float)l2, *w, gradient_scale * g);
    switch (o->kind) {
    case NN_ADAM:
        *m = nn_fmaf((float)(1 - o->beta1), g - *m, *m);
        *v = nn_fmaf(beta2, *v, (float)(1 - o->beta2) * g * g);
        epsilon = o->epsilon_before_correction ? o->epsilon / sqrt(1 - o->beta2_power) : o->epsilon;
        root = nn_fmaf(sqrtf(*v), (float)(1 / sqrt(1 - o->beta2_power)), (float)epsilon);
        update = (float)(learning_rate / (1 - o->beta1_power)) * *m / root;
        break;
    case NN_RMSPROP:
        *v = nn_fmaf(beta2, *v, (float)(1 - o->beta2) * g * g);
        *m = nn_fmaf(beta1, *m, g / (sqrtf(*v) + (float)o->epsilon));
        update = (float)learning_rate * *m;
        break;
    case NN_RPROP:
        sign_product = sign_of(g) * sign_of(*m);
        factor = sign_product > 0 ? (float)o->eta_plus : sign_product < 0 ? (float)o->eta_minus : 1;
        *v = fmaxf((float)o->min_step, fminf((float)o->max_step, *v * factor));
        *m = sign_product < 0 ? 0 : g;
        update = *v * sign_of(*m);
        break;
    default:
        *m = nn_fmaf(beta1, *m, g);
        update = (float)learning_rate * (o->nesterov ? nn_fmaf(beta1, *m, g) : *m);
        break;
    }
    *w = weight_decay_factor * *w - update;
}

/* The sum of squares of a matrix in the order of its packed panels (see kernels.h), in parts of 4096 numbers with 16 sums each. */
static double oracle_sum_squares(Matrix m)
{
    double total = 0;
    float sums[16] = {0};
    size_t padded = (m.cols + 15) / 16 * 16, index = 0;
    for (size_t panel = 0; panel < padded; panel += 64) {
        size_t width = padded - panel < 64 ? padded - panel : 64;
        for (size_t q = 0; q < m.rows * width; q++, index++) {
            size_t j = panel + q % width;
            float x = j < m.cols ? MAT_AT(m, q / width, j) : 0;
            sums[index % 16] = nn_fmaf(x, x, sums[index % 16]);
            if (index % NN_NORM_PART_SIZE == NN_NORM_PART_SIZE - 1 || index + 1 == m.rows * padded) {
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

/* The parameter update of a whole network. */
static void oracle_optimizer_step(NeuralNetwork nn, NeuralNetwork grad, NNOptimizer *o, double learning_rate, size_t batch_size)
{
    size_t num = nn_num_parameters(nn), q = 0;
    double norm2 = 0, l2 = o->l2_of_batch ? o->l2 / (double)batch_size : o->l2;
    float gradient_scale = 1;
    o->beta1_power *= o->beta1;
    o->beta2_power *= o->beta2;
    for (size_t l = 0; l < nn.num_layers; l++) {
        norm2 += oracle_sum_squares(grad.weights[l]);
        norm2 += oracle_sum_squares(grad.biases[l]);
    }
    if (o->clip_norm > 0 && norm2 > o->clip_norm * o->clip_norm) {
        gradient_scale = (float)(o->clip_norm / sqrt(norm2));
    }
    for (size_t l = 0; l < nn.num_layers; l++) {
        size_t num_weights = nn.archi[l] * nn.archi[l + 1];
        for (size_t i = 0; i < num_weights + nn.archi[l + 1]; i++, q++) {
            oracle_update(o, learning_rate, l2, i >= num_weights, gradient_scale, grad.weights[0].data[q], &o->state[q],
                          &o->state[num + q], &nn.weights[0].data[q]);
        }
    }
}

/* Whether the engine adds products to the parameters directly: gradient descent and nothing else. */
static int updates_in_place(const NNOptimizer *o)
{
    return o->kind == NN_SGD && o->beta1 == 0 && o->l2 == 0 && o->weight_decay == 0 && o->clip_norm == 0;
}

/* Writes the targets of sample i, one-hot for labels, to y, (outputs,). */
static void target_row(const Problem *p, size_t i, float *y)
{
    size_t outputs = p->archi[p->num_layers];
    for (size_t j = 0; j < outputs; j++) {
        y[j] = p->samples.labels != NULL ? (float)(p->labels[i] == (int32_t)j) : MAT_AT(p->samples.y, i, j);
    }
}

/* Does the same as nn_train without shuffling, for up to max_steps steps. */
static void oracle_train(const Problem *p, NeuralNetwork nn, NNOptimizer *o, const NNTrainOptions *options, size_t max_steps)
{
    NeuralNetwork grad = nn_alloc(nn.archi, nn.num_layers);
    Scratch s = make_scratch(nn);
    double factor = nn.loss.kind == NN_MSE ? 2 : 1;
    size_t num_steps = 0;
    for (size_t epoch = 0; epoch < options->num_epochs; epoch++) {
        uint64_t seed = nn_random(~options->seed, epoch);
        for (size_t first = 0; first < p->num_samples && num_steps < max_steps; first += options->batch_size) {
            size_t left = p->num_samples - first, size = left < options->batch_size ? left : options->batch_size;
            double learning_rate = options->learning_rates != NULL ? options->learning_rates[num_steps] : o->learning_rate;
            nn_fill(grad, 0);
            for (size_t i = first; i < first + size; i++) {
                float delta_scale = (float)(factor * (updates_in_place(o) ? -learning_rate : 1) / (double)size);
                target_row(p, i, s.y);
                oracle_forward(nn, &MAT_AT(p->samples.x, i, 0), &s, options->dropout, seed, i);
                oracle_backward(nn, grad, &s, delta_scale * (p->samples.sample_weights != NULL ? p->samples.sample_weights[i] : 1));
            }
            if (updates_in_place(o)) {
                for (size_t q = 0; q < nn_num_parameters(nn); q++) {
                    nn.weights[0].data[q] += grad.weights[0].data[q];
                }
            } else {
                oracle_optimizer_step(nn, grad, o, learning_rate, size);
            }
            num_steps++;
        }
    }
    free_scratch(nn, &s);
    nn_free(grad);
}

static int num_failed = 0;
/* Derivatives of outputs that are not tiny; problems whose gradient is not; calls of nn_train that diverge; calls of nn_train_few, and those with labels. */
static long num_with_jacobian = 0, num_with_gradient = 0, num_diverged = 0, num_few = 0, num_labelled = 0;

/* Compares num floats bit for bit; zeros of either sign are equal, and so are NaNs. Reports the first difference. */
static int expect_same(const float *a, const float *b, size_t num, const char *what, const Problem *p, const char *isa, int threads)
{
    for (size_t i = 0; i < num; i++) {
        int equal_zeros = a[i] >= 0 && a[i] <= 0 && b[i] >= 0 && b[i] <= 0; /* a product with 0 may have either sign */
        if (memcmp(&a[i], &b[i], sizeof(float)) != 0 && !(isnan(a[i]) && isnan(b[i])) && !equal_zeros) {
            printf("%s: element %lu is %.9g instead of %.9g (%s, %d threads; loss %d; %lu samples;", what, (unsigned long)i,
                   (double)a[i], (double)b[i], isa, threads, p->loss.kind, (unsigned long)p->num_samples);
            for (size_t l = 0; l <= p->num_layers; l++) {
                printf(" %lu", (unsigned long)p->archi[l]);
            }
            printf("; activation functions");
            for (size_t l = 0; l < p->num_layers; l++) {
                printf(" %d", p->activations[l]);
            }
            printf(")\n");
            num_failed++;
            return 0;
        }
    }
    return 1;
}

/* ---- The checks ---- */

/* Writes the inputs of sample i, scaled in double precision, to x, (inputs,). */
static void scale_inputs(const Problem *p, const NNScaler *scaler, size_t i, float *x)
{
    for (size_t k = 0; k < p->archi[0]; k++) {
        float raw = MAT_AT(p->samples.x, i, k);
        x[k] = scaler == NULL ? raw : (float)(((double)raw - scaler->x_mean[k]) / scaler->x_scale[k]);
    }
}

/* Copies the inputs, or the targets, of all samples to an array in which they lie together. */
static float *copy_together(const Problem *p, const float *(*row)(const NNSamples *samples, size_t sample), size_t cols)
{
    float *copy = (float *)malloc(p->num_samples * cols * sizeof(float));
    for (size_t i = 0; i < p->num_samples; i++) {
        memcpy(copy + i * cols, row(&p->samples, i), cols * sizeof(float));
    }
    return copy;
}

/* Checks nn_predict_few on `num` samples. x are their inputs, and a, (num, outputs), the expected outputs before they are scaled. */
static void check_predict_few(const Problem *p, NeuralNetwork nn, const NNScaler *scaler, const float *x, size_t num, Matrix a, int isa)
{
    size_t outputs = p->archi[p->num_layers];
    int scales_outputs = scaler != NULL && scaler->y_scale != NULL;
    float *out = (float *)malloc(num * outputs * sizeof(float));
    double *scaled_out = (double *)malloc(num * outputs * sizeof(double));
    NNPredictor predictor = {nn, scaler, isa};
    num_failed += nn_predict_few(&predictor, x, num, scales_outputs ? (void *)scaled_out : (void *)out) != NN_OK;
    for (size_t i = 0; i < num; i++) {
        for (size_t j = 0; scales_outputs && j < outputs; j++) {
            double expected = (double)MAT_AT(a, i, j) * scaler->y_scale[j] + scaler->y_mean[j], got = scaled_out[i * outputs + j];
            if (memcmp(&got, &expected, sizeof expected) != 0) {
                printf("nn_predict_few with scaled outputs: %.17g instead of %.17g (%s)\n", got, expected, nn_isa_name(isa));
                num_failed++;
            }
        }
        if (!scales_outputs) {
            expect_same(out + i * outputs, &MAT_AT(a, i, 0), outputs, "nn_predict_few", p, nn_isa_name(isa), 1);
        }
    }
    free(out);
    free(scaled_out);
}

/* Checks nn_predict, nn_evaluate with out and nn_layer_outputs, with strides larger than the row, and nn_predict_few. The x part of
 * the scaler applies to all of them, its y part to nn_predict_few alone, whose outputs then are doubles. */
static void check_predict(const Problem *p, NeuralNetwork nn, const NNScaler *scaler, NNBackend backend, NNMonitor *monitor)
{
    size_t outputs = p->archi[p->num_layers], stride = outputs + 3, size = p->num_samples * stride + 1;
    float *out = (float *)malloc(size * sizeof(float)), *evaluated = (float *)malloc(size * sizeof(float)), guard = GUARD;
    float *x = (float *)malloc(p->archi[0] * sizeof(float)), *together = copy_together(p, nn_inputs, p->archi[0]);
    double loss;
    Matrix m = {p->num_samples, outputs, stride, out}, e = {p->num_samples, outputs, stride, evaluated}, layers[MAX_LAYERS];
    Scratch s = make_scratch(nn);
    const char *isa = nn_isa_name(backend.isa);
    int threads = -backend.num_threads;
    for (size_t i = 0; i < size; i++) {
        out[i] = evaluated[i] = GUARD;
    }
    for (size_t l = 0; l < p->num_layers; l++) {
        layers[l] = mat_alloc(p->num_samples, p->archi[l + 1]);
    }
    nn_predict(nn, scaler, p->samples.x, m, backend, monitor);
    nn_layer_outputs(nn, scaler, p->samples.x, layers, backend, monitor);
    if (scaler == NULL) {
        nn_evaluate(nn, p->samples, e, &loss, backend, monitor);
        expect_same(evaluated, out, size, "outputs of nn_evaluate", p, isa, threads);
    }
    for (size_t i = 0; i < p->num_samples; i++) {
        scale_inputs(p, scaler, i, x);
        oracle_forward(nn, x, &s, NULL, 0, 0);
        if (!expect_same(&MAT_AT(m, i, 0), s.a[nn.num_layers], outputs, "predict", p, isa, threads)) {
            break;
        }
        for (size_t l = 0; l < p->num_layers; l++) {
            expect_same(&MAT_AT(layers[l], i, 0), s.a[l + 1], p->archi[l + 1], "layer", p, isa, threads);
        }
        for (size_t j = outputs; j < stride; j++) {
            expect_same(&MAT_AT(m, i, j), &guard, 1, "guard", p, isa, threads);
        }
        check_predict_few(p, nn, scaler, together + i * p->archi[0], 1, mat_row(m, i), backend.isa);
    }
    check_predict_few(p, nn, scaler, together, p->num_samples, m, backend.isa);
    expect_same(out + p->num_samples * stride, &guard, 1, "guard", p, isa, threads);
    for (size_t l = 0; l < p->num_layers; l++) {
        mat_free(layers[l]);
    }
    free_scratch(nn, &s);
    free(out);
    free(evaluated);
    free(x);
    free(together);
}

/* Checks the outputs without a scaler, with one for the inputs, and with one for inputs and outputs, for every backend. */
static void check_predictions(const Problem *p)
{
    size_t inputs = p->archi[0], outputs = p->archi[p->num_layers];
    NeuralNetwork nn = make_network(p);
    double *numbers = (double *)malloc(2 * (inputs + outputs) * sizeof(double));
    NNScaler both = {numbers, numbers + inputs, numbers + 2 * inputs, numbers + 2 * inputs + outputs}, x_only = both;
    NNMonitor monitor = {.poll = stop_never};
    x_only.y_mean = x_only.y_scale = NULL;
    for (size_t i = 0; i < 2 * (inputs + outputs); i++) {
        numbers[i] = 0.2 + fabs((double)draw_float()) / 3; /* means and scales */
    }
    for (int isa = 0; nn_isa_name(isa) != NULL; isa++) {
        for (int threads = 1; threads <= 3; threads++) {
            NNBackend backend = {isa, -threads};
            check_predict(p, nn, NULL, backend, &monitor);
            check_predict(p, nn, &x_only, backend, &monitor);
            check_predict(p, nn, &both, backend, &monitor);
        }
    }
    free(numbers);
    nn_free(nn);
}

/* Compares nn_column_moments, bit for bit, with a loop over the rows for each column. It must add to what the arrays hold. */
static void check_column_moments(void)
{
    size_t rows = draw(1, 70), cols = draw(1, 20);
    double *x = (double *)malloc(rows * cols * sizeof(double)), center[20], sums[20], squares[20], counts[20];
    double initial_sum[20];
    for (size_t i = 0; i < rows * cols; i++) {
        x[i] = draw(0, 5) == 0 ? NAN : (double)draw_float() * 1e3 + (double)draw_float();
    }
    for (size_t j = 0; j < cols; j++) {
        center[j] = (double)draw_float();
        initial_sum[j] = sums[j] = squares[j] = counts[j] = (double)draw(0, 9);
    }
    nn_column_moments(x, rows, cols, center, sums, squares, counts);
    for (size_t j = 0; j < cols; j++) {
        double sum = initial_sum[j], square = initial_sum[j], count = initial_sum[j];
        for (size_t i = 0; i < rows; i++) {
            double difference = x[i * cols + j] - center[j];
            if (!isnan(difference)) {
                sum += difference;
                square += difference * difference;
                count += 1;
            }
        }
        if (memcmp(&sum, &sums[j], sizeof sum) != 0 || memcmp(&square, &squares[j], sizeof square) != 0 ||
            memcmp(&count, &counts[j], sizeof count) != 0) {
            printf("column %lu: sum %.17g, squares %.17g, count %.17g instead of %.17g, %.17g, %.17g\n", (unsigned long)j, sums[j],
                   squares[j], counts[j], sum, square, count);
            num_failed++;
        }
    }
    free(x);
}

/* Compares the finite differences of the engine with those of nn.h, which they repeat with a monitor. */
static void check_finite_differences(void)
{
    Problem p = make_problem(6, 6);
    NeuralNetwork nn = make_network(&p), grad = make_network(&p), expected = make_network(&p);
    NNMonitor monitor = {.poll = stop_never};
    if (p.samples.labels == NULL) {
        nn_finite_diff(nn, expected, 0.1f, p.samples.x, p.samples.y);
        nn_finite_diff_gradient(nn, grad, 0.1f, p.samples.x, p.samples.y, &monitor);
        expect_same(grad.weights[0].data, expected.weights[0].data, nn_num_parameters(nn), "finite differences", &p, "", 1);
    }
    nn_free(nn);
    nn_free(grad);
    nn_free(expected);
    free_problem(&p);
}

/* Checks that nn_predict_few refuses NaN, floats that are not aligned and too many samples. */
static void check_refused_predictions(void)
{
    Problem p = {.archi = {3, 2}, .num_layers = 1, .num_samples = 1};
    NeuralNetwork nn = make_network(&p);
    float x[4] = {1, 2, 3, 4}, out[2] = {GUARD, GUARD};
    NNPredictor predictor = {nn, NULL, 0};
    int code_ok = nn_predict_few(&predictor, x, 1, out), code_unaligned, code_many, code_nan;
    out[0] = out[1] = GUARD;
    code_unaligned = nn_predict_few(&predictor, (const char *)x + 1, 1, out);
    code_many = nn_predict_few(&predictor, x, 1000000, out);
    x[1] = NAN;
    code_nan = nn_predict_few(&predictor, x, 1, out);
    if (code_ok != NN_OK || code_unaligned != NN_REFUSED || code_many != NN_REFUSED || code_nan != NN_REFUSED ||
        !(out[0] >= GUARD && out[1] >= GUARD)) {
        printf("nn_predict_few: codes %d, %d, %d, %d, or it wrote outputs\n", code_ok, code_unaligned, code_many, code_nan);
        num_failed++;
    }
    nn_free(nn);
}

/* Checks that nn_train_few refuses what it cannot train with, and changes nothing then. */
static void check_refused_trainings(void)
{
    enum { FINE, NO_SAMPLES, MANY_SAMPLES, MANY_EPOCHS, ALL_EPOCHS, NAN_IN_X, NAN_IN_Y, BELOW, ABOVE, NAN_IN_PARAMETERS, UNALIGNED_X,
           UNALIGNED_Y, X_IN_PARAMETERS, Y_IN_PARAMETERS, LABELS, NEGATIVE_LABEL, LARGE_LABEL, NUM_CASES };
    for (int i = 0; i < NUM_CASES; i++) {
        Problem p = {.archi = {3, 2}, .num_layers = 1, .num_samples = 2};
        NeuralNetwork nn = make_network(&p);
        float x[7] = {1, 2, 3, 4, 5, 6, 7}, y[5] = {0, 1, 0.5f, 0.25f, 2}, *parameters = nn.weights[0].data, before[8];
        NNOptimizer sgd = {.kind = NN_SGD, .learning_rate = 0.1};
        NNTrainer trainer = {.nn = nn, .optimizer = &sgd, .options = {.batch_size = 1, .num_epochs = 2}, .low = 0, .high = 1};
        int32_t labels[2] = {1, 0};
        const void *x_place = x, *y_place = i >= LABELS ? (const void *)labels : (const void *)y;
        size_t num = 2;
        int code;
        switch (i) {
        case NO_SAMPLES: num = 0; break;
        case MANY_SAMPLES: num = 1000000; break;
        case MANY_EPOCHS: trainer.options.num_epochs = 1000000; break;
        case ALL_EPOCHS: trainer.options.num_epochs = SIZE_MAX; break;
        case NAN_IN_X: x[5] = NAN; break;
        case NAN_IN_Y: y[3] = NAN; break;
        case BELOW: y[0] = -0.01f; break;
        case ABOVE: y[3] = 1.01f; break;
        case NAN_IN_PARAMETERS: parameters[7] = NAN; break;
        case UNALIGNED_X: x_place = (const char *)x + 1; break;
        case UNALIGNED_Y: y_place = (const char *)y + 1; break;
        case X_IN_PARAMETERS: x_place = parameters + 2; break;
        case Y_IN_PARAMETERS: y_place = parameters + 7; break;
        case NEGATIVE_LABEL: labels[1] = -1; break;
        case LARGE_LABEL: labels[0] = 2; break;
        default: break;
        }
        if (i >= LABELS) {
            nn.activation_functions[0] = NN_SOFTMAX;
            trainer.nn.loss.kind = NN_CROSS_ENTROPY;
            trainer.label_size = sizeof labels[0];
        }
        memcpy(before, parameters, sizeof before);
        code = nn_train_few(&trainer, x_place, y_place, num);
        nn_trainer_free(&trainer);
        if ((code != NN_REFUSED || memcmp(before, parameters, sizeof before) != 0) != (i == FINE || i == LABELS)) {
            printf("nn_train_few, case %d: code %d, or another network\n", i, code);
            num_failed++;
        }
        nn_free(nn);
    }
}

/* Compares nn_first_outside with its definition, for numbers on and beside the limits. */
static void check_first_outside(void)
{
    const float numbers[] = {-1, -0.5f, 0, 1, 1.0000001f, 2, INFINITY, -INFINITY, NAN, FLT_MAX, -FLT_MAX};
    const size_t num = sizeof numbers / sizeof *numbers;
    for (int trial = 0; trial < 500; trial++) {
        size_t rows = draw(1, 4), cols = draw(1, 40), expected = rows * cols, stride = cols + draw(0, 1);
        float data[4 * 41], low = trial % 2 == 0 ? -FLT_MAX : -0.5f, high = trial % 2 == 0 ? FLT_MAX : 1;
        Matrix m = {rows, cols, stride, data};
        int allow_nan = (int)draw(0, 1);
        for (size_t q = 0; q < rows * stride; q++) {
            data[q] = draw(0, 39) == 0 ? numbers[draw(0, num - 1)] : 0.25f;
        }
        for (size_t q = rows * cols; q-- > 0;) {
            float x = MAT_AT(m, q / cols, q % cols);
            int is_inside = isnan(x) ? allow_nan : low <= x && x <= high;
            expected = is_inside ? expected : q;
        }
        if (nn_first_outside(m, low, high, allow_nan) != expected) {
            printf("nn_first_outside: %lu instead of %lu\n", (unsigned long)nn_first_outside(m, low, high, allow_nan),
                   (unsigned long)expected);
            num_failed++;
        }
    }
}

/* Returns the optimiser with its initial state; num is the number of parameters. */
static NNOptimizer initial(NNOptimizer o, size_t num)
{
    for (size_t q = 0; q < 2 * num; q++) {
        o.state[q] = o.kind == NN_RPROP && q >= num ? (float)o.learning_rate : 0;
    }
    return o;
}

static int has_finite_parameters(NeuralNetwork nn)
{
    Matrix all = {1, nn_num_parameters(nn), nn_num_parameters(nn), nn.weights[0].data};
    return nn_all_finite(all);
}

/* Called when nn_train returns NN_DIVERGED after num_steps steps. Checks by the oracle that the parameters are finite then, and
 * that the loss, or a parameter after one more step, is not. */
static void check_divergence(const Problem *p, NNOptimizer o, const NNTrainOptions *options, size_t num_steps)
{
    NeuralNetwork nn = make_network(p);
    NNMonitor monitor = {.poll = stop_never};
    NNBackend backend = {0, 1};
    double loss = 0;
    o = initial(o, nn_num_parameters(nn));
    oracle_train(p, nn, &o, options, num_steps);
    nn_evaluate(nn, p->samples, no_matrix, &loss, backend, &monitor);
    num_diverged++;
    if (!has_finite_parameters(nn)) {
        printf("not finite after the last finite step\n");
        num_failed++;
    }
    o = initial(o, nn_num_parameters(nn));
    nn_free(nn);
    nn = make_network(p);
    oracle_train(p, nn, &o, options, num_steps + 1);
    if (has_finite_parameters(nn) && isfinite(loss)) {
        printf("nothing diverges in step %lu\n", (unsigned long)num_steps);
        num_failed++;
    }
    nn_free(nn);
}

/* Copies the labels of all samples to an array of integers of that size. */
static void *copy_labels(const Problem *p, size_t size)
{
    void *copy = malloc(p->num_samples * size);
    for (size_t i = 0; i < p->num_samples; i++) {
        size_t label = nn_label(&p->samples, i);
        switch (size) {
        case 1: ((uint8_t *)copy)[i] = (uint8_t)label; break;
        case 4: ((int32_t *)copy)[i] = (int32_t)label; break;
        default: ((int64_t *)copy)[i] = (int64_t)label; break;
        }
    }
    return copy;
}

/* Trains with nn_train_few, with copies of the inputs and the targets; the network must have the expected parameters after the same
 * steps. It does so three times with what the calls keep, and with fewer samples in between. */
static void check_train_few(const Problem *p, NNOptimizer o, NNTrainOptions options, NeuralNetwork expected, size_t num_steps, int code,
                            int isa)
{
    NeuralNetwork nn = make_network(p), initial_nn = make_network(p);
    size_t num = nn_num_parameters(nn);
    NNOptimizer optimizer;
    NNTrainer trainer = {nn, p->samples.scaler, &optimizer, options, isa, -FLT_MAX, FLT_MAX, 0, 0, NULL};
    float *x = copy_together(p, nn_inputs, p->archi[0]);
    void *y;
    if (p->samples.labels != NULL) {
        y = copy_labels(p, trainer.label_size = (size_t[]){1, 4, 8}[isa % 3]);
        num_labelled++;
    } else {
        y = copy_together(p, nn_targets, p->archi[p->num_layers]);
    }
    for (int call = 0; call < 5; call++) {
        size_t num_samples = call % 2 == 0 ? p->num_samples : (p->num_samples + 1) / 2;
        int result;
        memcpy(nn.weights[0].data, initial_nn.weights[0].data, num * sizeof(float));
        optimizer = initial(o, num);
        result = nn_train_few(&trainer, x, y, num_samples);
        if (call % 2 == 0) {
            num_failed += result != code || trainer.num_steps != num_steps;
            expect_same(nn.weights[0].data, expected.weights[0].data, num, "nn_train_few", p, nn_isa_name(isa), 1);
        }
    }
    nn_trainer_free(&trainer);
    num_few++;
    free(x);
    free(y);
    nn_free(nn);
    nn_free(initial_nn);
}

/* Whether nn_train_few takes such samples: no weights, and no target is missing. */
static int suits_train_few(const NNSamples *samples)
{
    int is_complete = 1;
    for (size_t i = 0; samples->y.data != NULL && i < nn_num_samples(samples); i++) {
        for (size_t j = 0; j < samples->y.cols; j++) {
            is_complete = is_complete && isfinite(nn_targets(samples, i)[j]);
        }
    }
    return samples->sample_weights == NULL && is_complete;
}

/* Trains with every backend; all must have the oracle's parameters after the same number of steps. */
static void check_training(const Problem *p, NNOptimizer o, NNTrainOptions options)
{
    NeuralNetwork expected = make_network(p);
    size_t num = nn_num_parameters(expected), num_steps = 0;
    for (int isa = 0; nn_isa_name(isa) != NULL; isa++) {
        for (int threads = 1; threads <= 3; threads++) {
            NNBackend backend = {isa, -threads};
            NNMonitor monitor = {.poll = stop_never};
            NeuralNetwork nn = make_network(p);
            NNOptimizer optimizer = initial(o, num);
            int code = nn_train(nn, p->samples, &optimizer, options, backend, &monitor);
            if (isa == 0 && threads == 1) {
                NNOptimizer oracle_optimizer = initial(o, num);
                num_steps = monitor.num_steps;
                if (code == NN_DIVERGED) {
                    check_divergence(p, oracle_optimizer, &options, num_steps);
                    oracle_optimizer = initial(o, num);
                }
                oracle_train(p, expected, &oracle_optimizer, &options, num_steps);
            }
            num_failed += monitor.num_steps != num_steps;
            expect_same(nn.weights[0].data, expected.weights[0].data, num, "train", p, nn_isa_name(isa), threads);
            expect_same(p->table, p->table_before, p->table_size, "input", p, nn_isa_name(isa), threads);
            nn_free(nn);
            if (threads == 1 && suits_train_few(&p->samples)) {
                check_train_few(p, o, options, expected, num_steps, code, isa);
            }
        }
    }
    nn_free(expected);
}

/* Checks nn_train: plain gradient descent on the full batch and on mini-batches, and another optimiser. */
static void check_trainings(const Problem *p)
{
    static const int kinds[] = {NN_SGD, NN_ADAM, NN_RMSPROP, NN_RPROP};
    double rates[2 * 70], dropout[MAX_LAYERS];
    NeuralNetwork nn = make_network(p);
    float *moments = (float *)malloc(2 * nn_num_parameters(nn) * sizeof(float));
    NNOptimizer plain = {.kind = NN_SGD, .learning_rate = draw(0, 7) == 0 ? 1e30 : 0.05, .state = moments};
    NNOptimizer other = {kinds[draw(0, 3)], 0.01, 0.9, 0.99, draw(0, 1) ? 1e-8 : 0.1, (int)draw(0, 1), (int)draw(0, 1), 0.5, 1.2,
                       1e-6, 0.05, draw(0, 1) ? 0.1 : 0, draw(0, 1) ? 0.01 : 0, (int)draw(0, 1), draw(0, 1) ? 0.2 : 0, moments,
                       1, 1};
    size_t most = draw(0, 1) ? 5 : p->num_samples; /* small batches have kernels of their own */
    size_t batch_size = draw(1, most < p->num_samples ? most : p->num_samples);
    NNTrainOptions options = {.batch_size = batch_size, .num_epochs = 2}, whole = {.batch_size = 70, .num_epochs = 2};
    for (size_t i = 0; i < sizeof rates / sizeof *rates; i++) {
        rates[i] = 0.01 + 0.1 * (double)fabsf(draw_float());
    }
    for (size_t l = 0; l < MAX_LAYERS; l++) {
        dropout[l] = draw(0, 2) == 0 ? 0 : 0.1 * (double)draw(1, 9);
    }
    check_training(p, plain, whole);
    options.learning_rates = draw(0, 1) ? rates : NULL;
    options.dropout = draw(0, 1) ? dropout : NULL;
    check_training(p, plain, options);
    check_training(p, other, options);
    free(moments);
    nn_free(nn);
}

/* Checks nn_gradient with input_grad, and that its loss is that of nn_evaluate. */
static void check_gradient(const Problem *p)
{
    NeuralNetwork nn = make_network(p), expected = nn_alloc(nn.archi, nn.num_layers);
    Scratch s = make_scratch(nn);
    size_t num = nn_num_parameters(nn), inputs = p->archi[0];
    double factor = nn.loss.kind == NN_MSE ? 2 : 1, loss, other_loss;
    Matrix expected_input_grad = mat_alloc(p->num_samples, inputs), input_grad = mat_alloc(p->num_samples, inputs);
    float largest = 0;
    for (size_t i = 0; i < p->num_samples; i++) {
        float weight = p->samples.sample_weights != NULL ? p->samples.sample_weights[i] : 1;
        target_row(p, i, s.y);
        oracle_forward(nn, &MAT_AT(p->samples.x, i, 0), &s, NULL, 0, 0);
        oracle_backward(nn, expected, &s, (float)(factor / (double)p->num_samples) * weight);
        memcpy(&MAT_AT(expected_input_grad, i, 0), s.delta[0], inputs * sizeof(float));
    }
    for (size_t q = 0; q < num; q++) {
        largest = fmaxf(largest, fabsf(expected.weights[0].data[q]));
    }
    num_with_gradient += largest > 1e-3f;
    for (int isa = 0; nn_isa_name(isa) != NULL; isa++) {
        for (int threads = 1; threads <= 3; threads++) {
            NNBackend backend = {isa, -threads};
            NNMonitor monitor = {.poll = stop_never};
            NeuralNetwork grad = nn_alloc(nn.archi, nn.num_layers);
            nn_gradient(nn, grad, input_grad, p->samples, &loss, backend, &monitor);
            expect_same(grad.weights[0].data, expected.weights[0].data, num, "gradient", p, nn_isa_name(isa), threads);
            expect_same(input_grad.data, expected_input_grad.data, p->num_samples * inputs, "input gradient", p, nn_isa_name(isa),
                        threads);
            nn_evaluate(nn, p->samples, no_matrix, &other_loss, backend, &monitor);
            if (!(fabs(loss - other_loss) <= 1e-12 * fabs(loss))) {
                printf("nn_gradient's loss is %.17g, nn_evaluate's is %.17g\n", loss, other_loss);
                num_failed++;
            }
            nn_free(grad);
        }
    }
    mat_free(expected_input_grad);
    mat_free(input_grad);
    free_scratch(nn, &s);
    nn_free(expected);
    nn_free(nn);
}

/* dy_k/dx_i in the units of a scaler. */
static float in_units(const NNScaler *scaler, float derivative, size_t k, size_t i)
{
    double value = (double)derivative * (scaler != NULL && scaler->y_scale != NULL ? scaler->y_scale[k] : 1);
    return (float)(value / (scaler != NULL ? scaler->x_scale[i] : 1));
}

/* The Jacobian matrix of one sample after oracle_forward, to out, (outputs, inputs): a pass from each output back to the inputs. */
static void oracle_backward_jacobian(NeuralNetwork nn, const NNScaler *scaler, const Scratch *s, float *out)
{
    size_t last = nn.num_layers, inputs = nn.archi[0], outputs = nn.archi[last];
    int activation = nn.activation_functions[last - 1];
    const float *y = s->a[last];
    for (size_t k = 0; k < outputs; k++) {
        double others = 0;
        for (size_t i = 0; i < outputs; i++) {
            others += i == k ? 0 : (double)y[i];
            s->delta[last][i] = activation == NN_SOFTMAX ? -(y[k] * y[i]) : 0;
        }
        s->delta[last][k] =
            activation == NN_SOFTMAX ? (float)((double)y[k] * others) : derivative(activation, s->z[last][k], y[k]);
        for (size_t l = last; l-- > 0;) {
            for (size_t i = 0; i < nn.archi[l]; i++) {
                float e = 0;
                for (size_t j = 0; j < nn.archi[l + 1]; j++) {
                    e = nn_fmaf(s->delta[l + 1][j], MAT_AT(nn.weights[l], i, j), e);
                }
                s->delta[l][i] = l > 0 ? e * derivative(nn.activation_functions[l - 1], s->z[l][i], s->a[l][i]) : e;
            }
        }
        for (size_t i = 0; i < inputs; i++) {
            out[k * inputs + i] = in_units(scaler, s->delta[0][i], k, i);
        }
    }
}

/* The same with a pass from each input to the outputs. delta[l] are the derivatives of a[l], those of z[l] for the last layer. */
static void oracle_forward_jacobian(NeuralNetwork nn, const NNScaler *scaler, const Scratch *s, float *out)
{
    size_t last = nn.num_layers, inputs = nn.archi[0], outputs = nn.archi[last];
    int activation = nn.activation_functions[last - 1];
    const float *y = s->a[last], *t = s->delta[last];
    for (size_t i = 0; i < inputs; i++) {
        double sum = 0, mean = 0;
        for (size_t l = 0; l < last; l++) {
            for (size_t j = 0; j < nn.archi[l + 1]; j++) {
                float e = l == 0 ? MAT_AT(nn.weights[0], i, j) : 0;
                for (size_t k = 0; l > 0 && k < nn.archi[l]; k++) {
                    e = nn_fmaf(s->delta[l][k], MAT_AT(nn.weights[l], k, j), e);
                }
                s->delta[l + 1][j] =
                    l + 1 < last ? e * derivative(nn.activation_functions[l], s->z[l + 1][j], s->a[l + 1][j]) : e;
            }
        }
        for (size_t k = 0; k < outputs; k++) {
            sum += (double)y[k];
            mean += (double)y[k] * (double)t[k];
        }
        mean = mean / sum;
        for (size_t k = 0; k < outputs; k++) {
            float d = activation == NN_SOFTMAX ? (float)((double)y[k] * ((double)t[k] - mean))
                                               : t[k] * derivative(activation, s->z[last][k], y[k]);
            out[k * inputs + i] = in_units(scaler, d, k, i);
        }
    }
}

/* Checks nn_jacobian on three times as many samples, so that there are several blocks, for every backend. */
static void check_jacobian(const Problem *p, const NNScaler *scaler)
{
    NeuralNetwork nn = make_network(p);
    Scratch s = make_scratch(nn);
    size_t inputs = p->archi[0], outputs = p->archi[p->num_layers], size = inputs * outputs, num = 3 * p->num_samples;
    float *expected = (float *)malloc(num * size * sizeof(float)), *out = (float *)malloc((num * size + 1) * sizeof(float));
    float *x = (float *)malloc(inputs * sizeof(float)), guard = GUARD;
    Matrix in = mat_alloc(num, inputs);
    for (size_t i = 0; i < num; i++) {
        memcpy(&MAT_AT(in, i, 0), &MAT_AT(p->samples.x, i % p->num_samples, 0), inputs * sizeof(float));
        scale_inputs(p, scaler, i % p->num_samples, x);
        oracle_forward(nn, x, &s, NULL, 0, 0);
        (inputs < outputs ? oracle_forward_jacobian : oracle_backward_jacobian)(nn, scaler, &s, expected + i * size);
    }
    for (size_t i = 0; i < num * size; i++) {
        num_with_jacobian += fabsf(expected[i]) > 1e-3f;
    }
    for (int isa = 0; nn_isa_name(isa) != NULL; isa++) {
        for (int threads = 1; threads <= 3; threads++) {
            NNBackend backend = {isa, -threads};
            NNMonitor monitor = {.poll = stop_never};
            out[num * size] = GUARD;
            num_failed += nn_jacobian(nn, scaler, scaler, in, out, backend, &monitor) != NN_OK;
            expect_same(out, expected, num * size, "jacobian", p, nn_isa_name(isa), threads);
            expect_same(out + num * size, &guard, 1, "guard", p, nn_isa_name(isa), threads);
        }
    }
    mat_free(in);
    free(x);
    free(out);
    free(expected);
    free_scratch(nn, &s);
    nn_free(nn);
}

/* ---- Rows and scalers: the same bits as on a copy of the rows that is scaled beforehand ---- */

/* Doubles for a scaler of p's inputs and outputs: means, then positive scales, of the inputs and of the outputs. */
static NNScaler make_scaler(const Problem *p, double *numbers)
{
    size_t inputs = p->archi[0], outputs = p->archi[p->num_layers];
    NNScaler scaler = {numbers, numbers + inputs, numbers + 2 * inputs, numbers + 2 * inputs + outputs};
    for (size_t i = 0; i < 2 * (inputs + outputs); i++) {
        numbers[i] = 0.2 + fabs((double)draw_float()) / 3;
    }
    return scaler;
}

/* Checks nn_jacobian without a scaler, with one for the inputs, and with one for inputs and outputs. */
static void check_jacobians(const Problem *p)
{
    double *numbers = (double *)malloc(2 * (p->archi[0] + p->archi[p->num_layers]) * sizeof(double));
    NNScaler both = make_scaler(p, numbers), x_only = {both.x_mean, both.x_scale, NULL, NULL};
    check_jacobian(p, NULL);
    check_jacobian(p, draw(0, 1) ? &both : &x_only);
    free(numbers);
}

/* Copies `num` rows of p's samples, those in `rows`, and scales them. */
static NNSamples copy_rows(const Problem *p, const size_t *rows, size_t num, NNScaler scaler)
{
    size_t inputs = p->archi[0], outputs = p->archi[p->num_layers];
    NNSamples copy = {.x = mat_alloc(num, inputs), .y = mat_alloc(num, outputs)};
    int32_t *labels = (int32_t *)malloc(num * sizeof(int32_t));
    float *weights = (float *)malloc(num * sizeof(float));
    for (size_t i = 0; i < num; i++) {
        for (size_t k = 0; k < inputs; k++) {
            float x = MAT_AT(p->samples.x, rows[i], k);
            MAT_AT(copy.x, i, k) = scaler.x_mean == NULL ? x : (float)(((double)x - scaler.x_mean[k]) / scaler.x_scale[k]);
        }
        for (size_t j = 0; j < outputs && p->samples.labels == NULL; j++) {
            float y = MAT_AT(p->samples.y, rows[i], j);
            MAT_AT(copy.y, i, j) = scaler.y_mean == NULL ? y : (float)(((double)y - scaler.y_mean[j]) / scaler.y_scale[j]);
        }
        labels[i] = p->labels[rows[i]];
        weights[i] = p->weights[rows[i]];
    }
    copy.labels = labels;
    copy.sample_weights = weights;
    return copy;
}

/* What the functions that take samples compute: one array for each. */
typedef struct {
    NeuralNetwork trained, descended, grad, lbfgs, levenberg;
    Matrix input_grad, out;
    float *losses;  /* (3,) */
    double values[2];
} Results;

static Results results_of(const Problem *p, NNSamples samples, size_t num, NNTrainOptions options, NNBackend backend)
{
    Results r = {make_network(p), make_network(p), make_network(p), make_network(p), make_network(p),
                 mat_alloc(num, p->archi[0]), mat_alloc(num, p->archi[p->num_layers]), (float *)calloc(3, sizeof(float)), {0, 0}};
    size_t num_parameters = nn_num_parameters(r.trained);
    float *state = (float *)calloc(2 * num_parameters, sizeof(float));
    NNOptimizer adam = {.kind = NN_ADAM, .learning_rate = 0.01, .beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-8, .state = state,
                        .beta1_power = 1, .beta2_power = 1}, descent = {.kind = NN_SGD, .learning_rate = 0.05, .state = state};
    NNTrainOptions full_batch = {.batch_size = num, .num_epochs = 2};
    NNLbfgs lbfgs = {.history_size = 2, .memory = (double *)calloc(nn_lbfgs_size(num_parameters, 2), sizeof(double))};
    NNLevenbergMarquardt levenberg = {.damping = 1e-3};
    NNMonitor monitors[6] = {{.poll = stop_never}, {.poll = stop_never}, {.poll = stop_never}, {.poll = stop_never},
                             {.poll = stop_never}, {.poll = stop_never}};
    options.losses = r.losses;
    nn_train(r.trained, samples, &adam, options, backend, &monitors[0]);
    nn_train(r.descended, samples, &descent, full_batch, backend, &monitors[1]);
    nn_gradient(r.descended, r.grad, r.input_grad, samples, &r.values[0], backend, &monitors[2]);
    nn_evaluate(r.descended, samples, r.out, &r.values[1], backend, &monitors[3]);
    nn_lbfgs(r.lbfgs, samples, &lbfgs, 2, NULL, backend, &monitors[4]);
    if (p->loss.kind == NN_MSE && p->activations[p->num_layers - 1] != NN_SOFTMAX && num_parameters < 500) {
        nn_levenberg_marquardt(r.levenberg, samples, &levenberg, 2, NULL, backend, &monitors[5]);
    }
    free(state);
    free(lbfgs.memory);
    return r;
}

static void free_results(Results *r)
{
    nn_free(r->trained);
    nn_free(r->descended);
    nn_free(r->grad);
    nn_free(r->lbfgs);
    nn_free(r->levenberg);
    mat_free(r->input_grad);
    mat_free(r->out);
    free(r->losses);
}

static void expect_same_results(const Results *a, const Results *b, size_t num, const Problem *p, const char *isa, int threads)
{
    size_t num_parameters = nn_num_parameters(a->trained);
    expect_same(a->trained.weights[0].data, b->trained.weights[0].data, num_parameters, "rows: train", p, isa, threads);
    expect_same(a->losses, b->losses, 3, "rows: losses", p, isa, threads);
    expect_same(a->descended.weights[0].data, b->descended.weights[0].data, num_parameters, "rows: descent", p, isa, threads);
    expect_same(a->grad.weights[0].data, b->grad.weights[0].data, num_parameters, "rows: gradient", p, isa, threads);
    expect_same(a->input_grad.data, b->input_grad.data, num * p->archi[0], "rows: input gradient", p, isa, threads);
    expect_same(a->out.data, b->out.data, num * p->archi[p->num_layers], "rows: evaluate", p, isa, threads);
    expect_same(a->lbfgs.weights[0].data, b->lbfgs.weights[0].data, num_parameters, "rows: lbfgs", p, isa, threads);
    expect_same(a->levenberg.weights[0].data, b->levenberg.weights[0].data, num_parameters, "rows: levenberg", p, isa, threads);
    for (int i = 0; i < 2; i++) {
        if (memcmp(&a->values[i], &b->values[i], sizeof(double)) != 0) {
            printf("rows: loss %.17g instead of %.17g\n", a->values[i], b->values[i]);
            num_failed++;
        }
    }
}

/* Draws rows, some of them several times, and a scaler for inputs, targets or both, or none of these. With one epoch the samples are
 * scaled in each block, with more they are kept. */
static void check_rows(const Problem *p)
{
    size_t num = draw(0, 3) == 0 ? p->num_samples : draw(1, 120), rows[120];
    int has_rows = num != p->num_samples || draw(0, 1), is_regression = p->loss.kind < NN_BINARY_CROSS_ENTROPY;
    double *numbers = (double *)malloc(2 * (p->archi[0] + p->archi[p->num_layers]) * sizeof(double)), dropout[MAX_LAYERS];
    NNScaler scaler = make_scaler(p, numbers);
    NNSamples samples = p->samples, copy;
    NNTrainOptions options = {.batch_size = draw(1, num), .num_epochs = draw(1, 3), .shuffle = (int)draw(0, 1), .seed = draw(0, 99)};
    for (size_t i = 0; i < num; i++) {
        rows[i] = has_rows ? draw(0, p->num_samples - 1) : i;
    }
    for (size_t l = 0; l < MAX_LAYERS; l++) {
        dropout[l] = 0.3;
    }
    options.dropout = draw(0, 1) ? dropout : NULL;
    if (draw(0, 2) == 0) {
        scaler.x_mean = scaler.x_scale = NULL;
    }
    if (draw(0, 2) == 0 || !is_regression) {
        scaler.y_mean = scaler.y_scale = NULL;
    }
    copy = copy_rows(p, rows, num, scaler);
    samples.scaler = scaler;
    if (has_rows) {
        samples.rows = rows;
        samples.num_rows = num;
    }
    for (int isa = 0; nn_isa_name(isa) != NULL; isa++) {
        for (int threads = 1; threads <= 3; threads++) {
            NNBackend backend = {isa, -threads};
            NNSamples expected = copy;
            Results a, b;
            expected.labels = samples.labels == NULL ? NULL : copy.labels;
            expected.y.data = samples.labels == NULL ? copy.y.data : NULL;
            expected.sample_weights = samples.sample_weights == NULL ? NULL : copy.sample_weights;
            a = results_of(p, samples, num, options, backend);
            b = results_of(p, expected, num, options, backend);
            expect_same_results(&a, &b, num, p, nn_isa_name(isa), threads);
            free_results(&a);
            free_results(&b);
        }
    }
    expect_same(p->table, p->table_before, p->table_size, "input", p, "", 0);
    mat_free(copy.x);
    mat_free(copy.y);
    free((void *)(uintptr_t)copy.labels); /* the casts remove const */
    free((void *)(uintptr_t)copy.sample_weights);
    free(numbers);
}

/* Draws a number to scale: often one whose quotient lies within a few units in the last place of a double beside the middle of two
 * floats, where the slightest error of the quotient gives another float. */
static void draw_to_scale(float *x, double *mean, double *scale)
{
    static const double odd[] = {0, -0.0, 1e300, -1e300, 1e-300, 5e-324, 2e-308, 1, 0.5, 255};
    static const float odd_x[] = {0, -0.0f, NAN, INFINITY, -INFINITY, 1e-45f, 3e38f, 16777215, 1};
    double middle = (double)draw_float() + (double)draw_float();
    *x = draw_float() * 100;
    *mean = (double)draw_float() * 100;
    *scale = 0.01 + fabs((double)draw_float());
    if (draw(0, 1)) { /* mean = x - middle scale */
        float low = (float)middle;
        middle = ((double)low + (double)nextafterf(low, 9)) / 2;
        *mean = (double)*x - middle * *scale;
    }
    if (draw(0, 9) == 0) {
        *x = odd_x[draw(0, sizeof odd_x / sizeof *odd_x - 1)];
    }
    if (draw(0, 9) == 0) {
        *mean = odd[draw(0, sizeof odd / sizeof *odd - 1)];
    }
    if (draw(0, 9) == 0) {
        double drawn = fabs(odd[draw(0, sizeof odd / sizeof *odd - 1)]);
        *scale = drawn > 0 ? drawn : 1;
    }
}

/* Checks the kernel `scale`, which avoids divisions, against divisions: bit for bit, with the sign of zeros. */
static void check_scaling(void)
{
    for (int isa = 0; nn_isa_name(isa) != NULL; isa++) {
        size_t num = draw(1, 70);
        float x[70], out[70];
        double mean[70], scale[70], reciprocals[70];
        for (size_t i = 0; i < num; i++) {
            draw_to_scale(&x[i], &mean[i], &scale[i]);
            reciprocals[i] = 1 / scale[i];
            reciprocals[i] = DBL_MIN <= reciprocals[i] && reciprocals[i] <= DBL_MAX ? reciprocals[i] : (double)NAN;
        }
        nn_kernels_available(isa)->scale(x, mean, scale, reciprocals, out, num);
        for (size_t i = 0; i < num; i++) {
            float expected = (float)(((double)x[i] - mean[i]) / scale[i]);
            if (memcmp(&out[i], &expected, sizeof expected) != 0 && !(isnan(out[i]) && isnan(expected))) {
                printf("(%.9g - %.17g) / %.17g is %.9g instead of %.9g (%s)\n", (double)x[i], mean[i], scale[i], (double)out[i],
                       (double)expected, nn_isa_name(isa));
                num_failed++;
            }
        }
    }
}

/* ---- Several threads call the engine ---- */

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
    Problem p = {.archi = {20, 70, 30}, .num_layers = 2, .num_samples = 300, .activations = {NN_RELU, NN_TANH}};
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
    for (int i = 0; i < 2; i++) { /* first while they predict, then alone */
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
    expect_same(trained.weights[0].data, alone.weights[0].data, nn_num_parameters(nn), "train beside callers", &p, "", 2);
    for (size_t i = 0; i < NUM_CALLERS; i++) {
        expect_same(callers[i].out.data, callers[NUM_CALLERS].out.data, 300 * 30, "predict in a caller's thread", &p, "", 2);
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

#define NO_LIMIT SIZE_MAX
static size_t num_allowed = NO_LIMIT; /* the number of allocations that still succeed; the next one fails */
static int fails_once = 0;            /* after a failure, whether all allocations succeed again; otherwise all fail */
static size_t num_refused = 0;

static int is_allowed(void)
{
    if (num_allowed == 0) {
        num_allowed = fails_once ? NO_LIMIT : 0;
        num_refused++;
        return 0;
    }
    if (num_allowed != NO_LIMIT) { /* several threads may allocate at the same time, but not while there is a limit */
        num_allowed--;
    }
    return 1;
}

void *__wrap_malloc(size_t size)
{
    return is_allowed() ? __real_malloc(size) : NULL;
}

void *__wrap_calloc(size_t count, size_t size)
{
    return is_allowed() ? __real_calloc(count, size) : NULL;
}

enum {
    TRAIN_SGD, TRAIN_ADAM, TRAIN_SHUFFLED, TRAIN_SCALED, TRAIN_CLIPPED_WITH_DROPOUT, TRAIN_FEW, GRADIENT, PREDICT, PREDICT_SCALED,
    PREDICT_FEW, LAYER_OUTPUTS, LAYER_OUTPUTS_SCALED, JACOBIAN, EVALUATE, FINITE_DIFF, LBFGS_STEP, LEVENBERG_STEP, NUM_CALLS
};

/* A network with 3 inputs, 2 outputs and a hidden layer of `width` neurons. Other widths allocate memory in other places. */
typedef struct {
    size_t width, num_samples;
    NeuralNetwork nn, before, grad;
    NNSamples samples;
    NNScaler scaler;
    Matrix out, layers[2];
    float *derivatives, *state;
    double *lbfgs_memory;
} MemoryTest;

static int train_once(const MemoryTest *t, int call, NNBackend backend, NNMonitor *monitor)
{
    const double dropout[] = {0.5};
    NNOptimizer sgd = {.kind = NN_SGD, .learning_rate = 0.1, .state = t->state};
    NNOptimizer adam = {.kind = NN_ADAM, .learning_rate = 0.1, .beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-8, .state = t->state,
                        .beta1_power = 1, .beta2_power = 1};
    NNOptimizer optimizer = call == TRAIN_ADAM || call == TRAIN_SCALED ? adam : sgd;
    NNSamples samples = t->samples;
    NNTrainOptions options = {.batch_size = 64, .num_epochs = 2, .shuffle = call == TRAIN_SHUFFLED};
    if (call == TRAIN_CLIPPED_WITH_DROPOUT) {
        options.dropout = dropout;
        optimizer.clip_norm = 0.1;
    }
    if (call == TRAIN_SCALED) {
        samples.scaler = t->scaler;
    }
    return nn_train(t->nn, samples, &optimizer, options, backend, monitor);
}

/* The functions for few samples refuse them if memory runs out. */
static int memory_code(int code)
{
    return code == NN_REFUSED ? NN_NO_MEMORY : code;
}

static int call_engine(const MemoryTest *t, int call)
{
    NNBackend backend = {0, -2};
    NNMonitor monitor = {.poll = stop_never};
    NNLbfgs lbfgs = {.history_size = 3, .memory = t->lbfgs_memory};
    NNLevenbergMarquardt levenberg = {.damping = 1e-3};
    NNPredictor predictor = {t->nn, &t->scaler, backend.isa};
    NNOptimizer sgd = {.kind = NN_SGD, .learning_rate = 0.1};
    NNTrainer trainer = {.nn = t->nn, .optimizer = &sgd, .options = {.batch_size = 64, .num_epochs = 2}, .low = -10, .high = 10};
    Matrix x = t->samples.x, y = t->samples.y;
    double loss;
    int code;
    switch (call) {
    case GRADIENT: return nn_gradient(t->nn, t->grad, no_matrix, t->samples, &loss, backend, &monitor);
    case PREDICT: return nn_predict(t->nn, NULL, x, t->out, backend, &monitor);
    case PREDICT_SCALED: return nn_predict(t->nn, &t->scaler, x, t->out, backend, &monitor);
    case PREDICT_FEW: return memory_code(nn_predict_few(&predictor, x.data, 1, t->out.data));
    case TRAIN_FEW:
        code = memory_code(nn_train_few(&trainer, x.data, x.data, t->num_samples));
        nn_trainer_free(&trainer);
        return code;
    case LAYER_OUTPUTS: return nn_layer_outputs(t->nn, NULL, x, t->layers, backend, &monitor);
    case LAYER_OUTPUTS_SCALED: return nn_layer_outputs(t->nn, &t->scaler, x, t->layers, backend, &monitor);
    case JACOBIAN: return nn_jacobian(t->nn, &t->scaler, &t->scaler, x, t->derivatives, backend, &monitor);
    case EVALUATE: return nn_evaluate(t->nn, t->samples, no_matrix, &loss, backend, &monitor);
    case FINITE_DIFF: return nn_finite_diff_descent(t->nn, 0.1f, 0.1f, x, y, 1, &monitor);
    case LBFGS_STEP: return nn_lbfgs(t->nn, t->samples, &lbfgs, 1, NULL, backend, &monitor);
    case LEVENBERG_STEP: return nn_levenberg_marquardt(t->nn, t->samples, &levenberg, 1, NULL, backend, &monitor);
    default: return train_once(t, call, backend, &monitor);
    }
}

/* Whether the call allocates memory. A few samples of a network that is not wide are predicted without it. */
static int needs_memory(const MemoryTest *t, int call)
{
    int is_narrow = t->width < 400;
    int is_few_samples = call == PREDICT_FEW || ((call == PREDICT || call == PREDICT_SCALED) && t->num_samples <= 8);
    return !(is_few_samples && is_narrow);
}

/* Makes the call with 0, 1, 2, ... allocations allowed. If one fails, the call has to fail and to leave the network unchanged. */
static void check_memory_of_call(const MemoryTest *t, int call)
{
    size_t size = nn_num_parameters(t->nn) * sizeof(float), num_failures = 0;
    int code = NN_NO_MEMORY;
    for (size_t allowed = 0; code != NN_OK && allowed < 30; allowed++) {
        memset(t->lbfgs_memory, 0, nn_lbfgs_size(nn_num_parameters(t->nn), 3) * sizeof(double));
        num_refused = 0;
        num_allowed = allowed;
        code = call_engine(t, call);
        num_allowed = NO_LIMIT;
        num_failures += code == NN_NO_MEMORY;
        if (code != (num_refused > 0 ? NN_NO_MEMORY : NN_OK)) {
            printf("call %d with %lu allocations: code %d\n", call, (unsigned long)allowed, code);
            num_failed++;
        }
        if (code != NN_OK && memcmp(t->nn.weights[0].data, t->before.weights[0].data, size) != 0) {
            printf("call %d with %lu allocations changes the network\n", call, (unsigned long)allowed);
            num_failed++;
        }
    }
    if (code != NN_OK || (num_failures > 0) != needs_memory(t, call)) {
        printf("call %d of width %lu: code %d after %lu failures\n", call, (unsigned long)t->width, code,
               (unsigned long)num_failures);
        num_failed++;
    }
    memcpy(t->nn.weights[0].data, t->before.weights[0].data, size);
}

static void check_memory(void)
{
    static const size_t widths[] = {4, 300, 600, 600}, nums[] = {4, 40, 4, 40};
    static const double means[] = {0.1, 0.2, 0.3}, scales[] = {0.5, 1, 2};
    for (size_t i = 0; i < sizeof widths / sizeof *widths; i++) {
        Problem p = {.archi = {3, widths[i], 2}, .num_layers = 2, .num_samples = nums[i]};
        float table[5 * 40], out[2 * 40], derivatives[2 * 3 * 40];
        Matrix x = {nums[i], 3, 5, table}, y = {nums[i], 2, 5, table + 3};
        MemoryTest t = {.width = widths[i], .num_samples = nums[i], .nn = make_network(&p), .before = make_network(&p),
                        .grad = make_network(&p), .samples = {.x = x, .y = y}, .scaler = {means, scales, NULL, NULL},
                        .out = {nums[i], 2, 2, out}, .derivatives = derivatives};
        t.state = (float *)calloc(2 * nn_num_parameters(t.nn), sizeof(float));
        t.lbfgs_memory = (double *)calloc(nn_lbfgs_size(nn_num_parameters(t.nn), 3), sizeof(double));
        t.layers[0] = mat_alloc(nums[i], widths[i]);
        t.layers[1] = mat_alloc(nums[i], 2);
        for (size_t k = 0; k < 5 * 40; k++) {
            table[k] = draw_float();
        }
        for (int call = 0; call < NUM_CALLS; call++) {
            for (fails_once = 0; fails_once <= 1; fails_once++) {
                if (call != LEVENBERG_STEP || widths[i] < 600) { /* it would take too long */
                    check_memory_of_call(&t, call);
                }
            }
        }
        nn_free(t.nn);
        nn_free(t.before);
        nn_free(t.grad);
        free(t.state);
        free(t.lbfgs_memory);
        mat_free(t.layers[0]);
        mat_free(t.layers[1]);
    }
}

/* ---- The hash ---- */

static uint64_t hash_of(NeuralNetwork nn)
{
    uint64_t hash = 14695981039346656037u; /* FNV-1a, over the bytes of each parameter from the lowest to the highest */
    for (size_t i = 0; i < nn_num_parameters(nn); i++) {
        uint32_t bits;
        memcpy(&bits, &nn.weights[0].data[i], sizeof bits);
        for (int shift = 0; shift < 32; shift += 8) {
            hash = (hash ^ (bits >> shift & 255)) * 1099511628211u;
        }
    }
    return hash;
}

enum { LBFGS = 100, LEVENBERG }; /* in addition to the kinds of NNOptimizer */

/* Trains with the optimiser `kind`; has_extras adds clipping, l2, weight decay and dropout. */
static void train_for_hash(NeuralNetwork nn, NNSamples samples, int kind, int has_extras, NNTrainOptions options,
                           NNBackend backend)
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
        if (has_extras) {
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
        int activations[3], kind, has_extras, loss;
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
        {{21, 70, 33, 4}, 3, 60, 1, 2, {NN_TANH, NN_TANH, NN_LINEAR}, NN_SGD, 0, NN_MSE},
    };
    for (size_t r = 0; r < sizeof runs / sizeof *runs; r++) {
        Problem p = {.num_layers = runs[r].num_layers, .num_samples = runs[r].num_samples, .loss = {runs[r].loss, 0.3f}};
        size_t inputs = runs[r].archi[0], outputs = runs[r].archi[p.num_layers], stride = inputs + outputs;
        uint64_t first = 0;
        random_state = r;
        memcpy(p.archi, runs[r].archi, sizeof runs[r].archi);
        memcpy(p.activations, runs[r].activations, sizeof runs[r].activations);
        p.table = (float *)malloc(p.num_samples * stride * sizeof(float));
        for (size_t i = 0; i < p.num_samples * stride; i++) {
            p.table[i] = (draw_float() + 1) / 2;
        }
        for (int isa = 0; nn_isa_name(isa) != NULL; isa++) {
            for (int threads = 1; threads <= 3; threads++) {
                Matrix x = {p.num_samples, inputs, stride, p.table}, y = {p.num_samples, outputs, stride, p.table + inputs};
                NNSamples samples = {.x = x, .y = y};
                NNBackend backend = {isa, -threads};
                NNTrainOptions options = {.batch_size = runs[r].batch_size, .num_epochs = runs[r].epochs, .shuffle = r > 0,
                                          .seed = 3};
                NeuralNetwork nn = make_network(&p);
                train_for_hash(nn, samples, runs[r].kind, runs[r].has_extras, options, backend);
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
    random_state = argc > 2 ? strtoull(argv[2], NULL, 10) : (uint64_t)time(NULL) * 1000003u;
    printf("seed %llu\n", (unsigned long long)random_state);
    for (long i = 0; i < number && num_failed < 10; i++) {
        Problem p = make_problem(70, 70);
        check_predictions(&p);
        check_trainings(&p);
        check_gradient(&p);
        check_jacobians(&p);
        check_rows(&p);
        for (int k = 0; k < 30; k++) {
            check_scaling();
        }
        check_column_moments();
        check_finite_differences();
        free_problem(&p);
    }
    check_refused_predictions();
    check_refused_trainings();
    check_first_outside();
    if (num_failed == 0 && (num_with_gradient < number * 3 / 4 || num_with_jacobian < number || (number >= 60 && (num_diverged == 0 || num_few == 0)) ||
                            (number >= 600 && num_labelled == 0))) {
        printf("of %ld problems only %ld have a gradient, %ld diverge, %ld suit nn_train_few, %ld with labels; %ld derivatives\n", number,
               num_with_gradient, num_diverged, num_few, num_labelled, num_with_jacobian);
        return 1;
    }
    return num_failed > 0;
}
