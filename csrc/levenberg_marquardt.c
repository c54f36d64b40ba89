/* levenberg.c: Levenberg and Marquardt's method for least squares; see engine.h.
 *
 * With r the residuals a - y of all outputs of all samples and J their derivatives by the parameters, a step d solves
 * (J^T J + mu I) d = -J^T r. J^T J is summed up over blocks of samples, by the kernel that otherwise computes X^T D, in single
 * precision within a block and in double from block to block; J itself is never there as a whole. */
#include <float.h>
#include <math.h>
#include <string.h>

#include "step.h"

#define ROWS 256 /* of J at a time, about */

typedef struct {
    NeuralNetwork nn;
    NNWorkspace plan;
    NNSamples samples;
    NNMonitor *monitor;
    double l2;
    size_t num, padded;     /* parameters */
    size_t samples_a_block;
    float *jacobian;        /* the rows of a block, padded apart */
    const float **rows;
    float *product;         /* num x 64: a panel of J^T J */
    float *slopes, *lowest; /* of the outputs of each sample of a block: f'; targets below every output */
    double *matrix, *factor; /* num x num: J^T J, of which the lower triangle is used, and Cholesky's factor */
    double *gradient, *step; /* J^T r with the share of l2, and d */
    double diagonal;         /* the largest of J^T J */
    double cost;             /* of the last parameters that objective was asked about, without l2 */
} Squares;

/* ---- J^T J and J^T r ---- */

/* Back from the deltas of the last layer to those of all. */
static void backward(const Squares *s, size_t num)
{
    const NNWorkspace *plan = &s->plan;
    for (size_t l = plan->num_layers - 1; l > 0; l--) {
        const NNLayer *next = &plan->layers[l], *layer = next - 1;
        for (size_t j = 0; j < layer->padded; j += NN_PANEL) {
            size_t width = layer->padded - j < NN_PANEL ? layer->padded - j : NN_PANEL;
            plan->kernels->delta(layer->function, next->d_rows, num, next->cols, next->wt + j * next->cols, width,
                                 (layer->saved == NULL ? layer->a : layer->saved) + j, layer->d + j, layer->stride);
        }
    }
}

/* A row of J, in the order of the parameters: for each layer a_k d_j and d_j. */
static void write_row(const Squares *s, const float *x, size_t i, float *row)
{
    for (size_t l = 0; l < s->plan.num_layers; l++) {
        const NNLayer *layer = &s->plan.layers[l];
        const float *a = l == 0 ? x : layer[-1].a_rows[i], *d = layer->d_rows[i];
        for (size_t k = 0; k < layer->rows; k++) {
            for (size_t j = 0; j < layer->cols; j++) {
                *row++ = a[k] * d[j];
            }
        }
        memcpy(row, d, layer->cols * sizeof(float));
        row += layer->cols;
    }
}

/* Adds a row of J with its residual. */
static void add_gradient(Squares *s, const float *row, double residual)
{
    for (size_t p = 0; p < s->num; p++) {
        s->gradient[p] += (double)row[p] * residual;
    }
}

static void add_products(Squares *s, size_t num_rows)
{
    for (size_t j = 0; j < s->num; j += NN_PANEL) { /* from the diagonal down */
        size_t width = s->padded - j < NN_PANEL ? s->padded - j : NN_PANEL, real_width = s->num - j < width ? s->num - j : width;
        s->plan.kernels->update(s->rows, num_rows, j, s->num, s->jacobian + j, s->padded, NULL, NULL, s->product, width);
        for (size_t p = j; p < s->num; p++) {
            for (size_t q = 0; q < real_width; q++) {
                s->matrix[p * s->num + j + q] += (double)s->product[p * width + q];
            }
        }
    }
}

/* Samples first to first + num. */
static void add_block(Squares *s, size_t first, size_t num)
{
    const NNWorkspace *plan = &s->plan;
    const NNLayer *last = &plan->layers[plan->num_layers - 1];
    const NNLoss to_slope = {NN_MAE, 0}; /* above all targets its derivative is 1 */
    size_t num_rows = 0;

    for (size_t i = 0; i < num; i++) {
        plan->x_rows[i] = nn_row(s->samples.x, first + i);
    }
    nn_forward_rows(plan, plan->x_rows, 0, num);
    for (size_t i = 0; i < num; i++) {
        plan->kernels->output(plan->output_function, to_slope, last->a + i * last->stride, s->lowest, 0, 1,
                              s->slopes + i * last->padded, last->cols);
    }
    for (size_t j = 0; j < last->cols; j++) {
        for (size_t i = 0; i < num; i++) {
            float weight = s->samples.sample_weights == NULL ? 1.0f : s->samples.sample_weights[first + i];
            memset(last->d + i * last->stride, 0, last->cols * sizeof(float));
            last->d[i * last->stride + j] = s->slopes[i * last->padded + j] * sqrtf(weight);
        }
        backward(s, num);
        for (size_t i = 0; i < num; i++) {
            float weight = s->samples.sample_weights == NULL ? 1.0f : s->samples.sample_weights[first + i];
            float *row = s->jacobian + num_rows * s->padded, y = nn_row(s->samples.y, first + i)[j];
            if (!isnan(y)) { /* missing */
                write_row(s, plan->x_rows[i], i, row);
                add_gradient(s, row, (double)(last->a[i * last->stride + j] - y) * (double)sqrtf(weight));
                num_rows++;
            }
        }
    }
    if (num_rows > 0) {
        add_products(s, num_rows);
    }
}

/* A code. */
static int linearize(Squares *s)
{
    size_t num = s->samples.x.rows;
    double share = s->l2 * (double)num / 2; /* what is made small is multiplied with n / 2 */
    nn_pack(&s->plan, NN_PACK_PARAMETERS, s->nn.weights[0].data);
    nn_transpose_weights(&s->plan, 0, 1);
    memset(s->matrix, 0, s->num * s->num * sizeof(double));
    memset(s->gradient, 0, s->num * sizeof(double));
    s->diagonal = 0;
    for (size_t first = 0; first < num; first += s->samples_a_block) {
        size_t now = num - first < s->samples_a_block ? num - first : s->samples_a_block;
        add_block(s, first, now);
        if (nn_poll(s->monitor, now * s->plan.layers[s->plan.num_layers - 1].cols * (s->num * s->num / 2 + s->num))) {
            return NN_STOPPED;
        }
    }
    for (size_t l = 0, p = 0; l < s->nn.num_layers; l++) {
        size_t end = p + s->nn.archi[l] * s->nn.archi[l + 1];
        for (; p < end; p++) {
            s->matrix[p * s->num + p] += share;
            s->gradient[p] += share * (double)s->nn.weights[0].data[p];
        }
        p += s->nn.archi[l + 1];
    }
    for (size_t p = 0; p < s->num; p++) {
        s->diagonal = fmax(s->diagonal, s->matrix[p * s->num + p]);
    }
    return NN_OK;
}

/* ---- The step ---- */

/* In four sums, so that they need not wait for each other. */
static double dot(const double *a, const double *b, size_t n)
{
    double sum[4] = {0, 0, 0, 0};
    size_t i = 0;
    for (; i + 4 <= n; i += 4) {
        for (size_t l = 0; l < 4; l++) {
            sum[l] += a[i + l] * b[i + l];
        }
    }
    for (; i < n; i++) {
        sum[0] += a[i] * b[i];
    }
    return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

/* Cholesky's factor of matrix + mu I. NN_NOT_FINITE if that is not positive definite, as far as can be seen. */
static int factorize(Squares *s, double mu)
{
    size_t n = s->num;
    for (size_t i = 0; i < n; i++) {
        double *row = s->factor + i * n, pivot;
        for (size_t j = 0; j < i; j++) {
            const double *other = s->factor + j * n;
            row[j] = (s->matrix[i * n + j] - dot(row, other, j)) / other[j];
        }
        pivot = s->matrix[i * n + i] + mu - dot(row, row, i);
        if (!(pivot > 0)) {
            return NN_NOT_FINITE;
        }
        row[i] = sqrt(pivot);
        if (nn_poll(s->monitor, i * i / 2)) {
            return NN_STOPPED;
        }
    }
    return NN_OK;
}

/* step = -(matrix + mu I)^-1 gradient. */
static void solve(Squares *s)
{
    size_t n = s->num;
    for (size_t i = 0; i < n; i++) {
        s->step[i] = (-s->gradient[i] - dot(s->factor + i * n, s->step, i)) / s->factor[i * n + i];
    }
    for (size_t i = n; i-- > 0;) {
        s->step[i] /= s->factor[i * n + i];
        for (size_t j = 0; j < i; j++) {
            s->step[j] -= s->factor[i * n + j] * s->step[i];
        }
    }
}

/* What is made small, times n / 2, at the parameters as they are. */
static int objective(Squares *s, NNBackend backend, double *value)
{
    double share = (double)s->samples.x.rows / 2;
    Matrix none = {0, 0, 0, NULL};
    NNMonitor monitor = *s->monitor;
    int code = nn_evaluate(s->nn, s->samples, none, &s->cost, backend, &monitor);
    s->monitor->work = monitor.work;
    *value = share * (s->cost + nn_l2_cost(s->nn, s->l2));
    return code;
}

/* One step that makes the loss smaller, with as much damping as that takes; *moved is 0 if none does. before: the parameters. */
static int iterate(Squares *s, NNLevenbergMarquardt *state, NNBackend backend, float *before, int *moved)
{
    float *parameters = s->nn.weights[0].data;
    double old, value;
    int code = linearize(s);

    *moved = 0;
    if (code != NN_OK) {
        return code;
    }
    code = objective(s, backend, &old); /* as the new one is computed: rounding alone must not look like a step down */
    if (code != NN_OK || !isfinite(old)) {
        return code != NN_OK ? code : NN_DIVERGED;
    }
    state->mu = state->nu == 0 ? state->damping * s->diagonal : state->mu; /* the first time */
    state->nu = 2;
    memcpy(before, parameters, s->num * sizeof(float));
    while (code != NN_STOPPED && code != NN_NO_MEMORY && state->mu <= 1e10 * s->diagonal && s->diagonal > 0) {
        double predicted = 0, ratio;
        code = factorize(s, state->mu);
        if (code == NN_OK) {
            solve(s);
            for (size_t p = 0; p < s->num; p++) {
                parameters[p] = before[p] + (float)s->step[p];
                predicted += s->step[p] * (state->mu * s->step[p] - s->gradient[p]) / 2;
            }
            code = objective(s, backend, &value);
            ratio = (old - value) / predicted;
            if (code == NN_OK && value < old) {
                double bent = 2 * ratio - 1;
                state->mu *= fmax(1.0 / 3, 1 - bent * bent * bent);
                *moved = 1;
                return NN_OK;
            }
            memcpy(parameters, before, s->num * sizeof(float));
        }
        state->mu = fmax(state->mu * state->nu, 1e-20 * s->diagonal);
        state->nu *= 2;
    }
    return code == NN_STOPPED || code == NN_NO_MEMORY ? code : NN_OK;
}

/* ---- Memory ---- */

static int multiply(size_t a, size_t b, size_t *product)
{
    *product = a * b;
    return a == 0 || *product / a == b;
}

static int allocate(Squares *s, NNBackend backend)
{
    size_t outputs = s->nn.archi[s->nn.num_layers], padded_outputs = (outputs + NN_PAD - 1) / NN_PAD * NN_PAD, num_rows, square, size;
    s->num = nn_num_parameters(s->nn);
    s->padded = (s->num + NN_PAD - 1) / NN_PAD * NN_PAD;
    s->samples_a_block = ROWS / outputs + 1;
    num_rows = s->samples_a_block * outputs;
    if (!multiply(s->num, s->num, &square) || !multiply(square, 2 * sizeof(double), &size)) {
        return NN_NO_MEMORY;
    }
    s->plan = nn_workspace_alloc(s->nn, nn_kernels_available(backend.isa), s->samples_a_block, 1, NN_WORKSPACE_DELTAS);
    s->jacobian = (float *)calloc(num_rows, s->padded * sizeof(float)); /* 0 in the padding */
    s->rows = (const float **)malloc(num_rows * sizeof(float *));
    s->product = (float *)malloc(s->num * NN_PANEL * sizeof(float));
    s->slopes = (float *)malloc(s->samples_a_block * padded_outputs * sizeof(float));
    s->lowest = (float *)malloc(outputs * sizeof(float));
    s->matrix = (double *)malloc(size);
    s->gradient = (double *)malloc(2 * s->num * sizeof(double));
    if (s->plan.memory == NULL || s->jacobian == NULL || s->rows == NULL || s->product == NULL || s->slopes == NULL ||
        s->lowest == NULL || s->matrix == NULL || s->gradient == NULL) {
        return NN_NO_MEMORY;
    }
    s->factor = s->matrix + square;
    s->step = s->gradient + s->num;
    for (size_t i = 0; i < num_rows; i++) {
        s->rows[i] = s->jacobian + i * s->padded;
    }
    for (size_t j = 0; j < outputs; j++) {
        s->lowest[j] = -FLT_MAX;
    }
    return NN_OK;
}

static void release(Squares *s)
{
    nn_workspace_free(&s->plan);
    free(s->jacobian);
    free(s->rows);
    free(s->product);
    free(s->slopes);
    free(s->lowest);
    free(s->matrix);
    free(s->gradient);
}

int nn_levenberg_marquardt(NeuralNetwork nn, NNSamples samples, NNLevenbergMarquardt *state, size_t num_iterations, float *costs, NNBackend backend,
                 NNMonitor *monitor)
{
    Squares s = {.nn = nn, .samples = samples, .monitor = monitor, .l2 = state->l2};
    int code = allocate(&s, backend), moved = 1;
    float *before = (float *)malloc(nn_num_parameters(nn) * sizeof(float));

    code = before == NULL ? NN_NO_MEMORY : code;
    if (code == NN_OK && nn_first_nonfinite(samples.x) < samples.x.rows * samples.x.cols) {
        code = NN_NOT_FINITE;
    }
    while (code == NN_OK && moved && monitor->done < num_iterations) {
        code = iterate(&s, state, backend, before, &moved);
        if (code == NN_OK && moved) {
            if (costs != NULL) {
                costs[monitor->done] = (float)s.cost;
            }
            monitor->num_steps = ++monitor->done;
        }
    }
    free(before);
    release(&s);
    return code;
}
