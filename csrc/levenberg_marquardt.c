/* levenberg_marquardt.c: nn_levenberg_marquardt of engine.h: the Levenberg-Marquardt method for least squares.
 *
 * r are the residuals a - y of all outputs of all samples (times the root of the sample's weight), J is their Jacobian with respect
 * to the parameters. A step d solves (J^T J + mu I) d = -J^T r with the damping mu. J^T J is summed over blocks of samples, in
 * single precision within a block (by the kernel of the weight gradient) and in double precision over blocks. J as a whole is never
 * stored. The method minimises 1/2 |r|^2 + n/2 l2/2 |w|^2, which is n/2 times the loss with the l2 penalty. */
#include <float.h>
#include <math.h>
#include <string.h>

#include "ieee754.h"
#include "l2_penalty.h"
#include "monitor.h"
#include "propagate.h"
#include "scaling.h"

#define JACOBIAN_ROWS 256      /* the number of rows of J in a block, about */
#define MAX_DAMPING 1e10       /* relative to the largest diagonal element of J^T J; with more, no step reduces the loss */
#define MIN_DAMPING 1e-20      /* relative to the same, after a failed step */

typedef struct {
    NeuralNetwork nn;
    NNWorkspace ws;
    NNSamples samples;
    NNBackend backend;
    NNMonitor *monitor;
    double l2;
    size_t num_parameters, padded_parameters;
    size_t block;                    /* samples in a block */
    float *jacobian;                 /* (block * outputs, padded_parameters): the rows of J of a block, 0 in the padding */
    const float **jacobian_rows;     /* (block * outputs,): pointers to its rows */
    float *product;                  /* (num_parameters, NN_PANEL): one panel of columns of J^T J */
    float *slopes;                   /* (block, padded outputs): f'(z) of the last layer */
    float *lowest_targets;           /* (outputs,): targets below every output */
    double *matrix, *factor;         /* (num_parameters, num_parameters): J^T J, lower triangle, and its Cholesky factor */
    double *gradient, *step;         /* (num_parameters,): J^T r with the l2 penalty; d */
    float *start;                    /* (num_parameters,): the parameters before the step */
    double max_diagonal;             /* the largest diagonal element of J^T J */
    double objective;                /* n/2 times the loss with the l2 penalty at the present parameters; NaN: not known yet */
    double loss;                     /* at the parameters of the last call of evaluate_objective, without l2 */
} Solver;

/* ---- J^T J and J^T r ---- */

/* Writes row (i, j) of J: the derivatives of output j of row i of the workspace, in the order of the parameters. The deltas of all
 * layers belong to that output: dz_j/dw_kj = a_k, so that the derivatives are a_k delta_j for weights and delta_j for biases.
 *
 * x     (inputs,): the inputs of the sample
 * row   (num_parameters,) */
static void write_jacobian_row(const Solver *s, const float *x, size_t i, float *row)
{
    for (size_t l = 0; l < s->ws.num_layers; l++) {
        const NNLayer *layer = &s->ws.layers[l];
        const float *a = l == 0 ? x : layer[-1].a_rows[i], *delta = layer->delta_rows[i];
        for (size_t k = 0; k < layer->num_inputs; k++) {
            for (size_t j = 0; j < layer->num_outputs; j++) {
                *row++ = a[k] * delta[j];
            }
        }
        memcpy(row, delta, layer->num_outputs * sizeof(float));
        row += layer->num_outputs;
    }
}

/* gradient += residual * row, (num_parameters,). */
static void add_to_gradient(Solver *s, const float *row, double residual)
{
    for (size_t p = 0; p < s->num_parameters; p++) {
        s->gradient[p] += (double)row[p] * residual;
    }
}

/* matrix += J^T J, on and below the diagonal, where J is the first num_rows rows of the jacobian. */
static void add_to_matrix(Solver *s, size_t num_rows)
{
    size_t n = s->num_parameters;
    for (size_t j = 0; j < n; j += NN_PANEL) {
        size_t width = nn_panel_width(s->padded_parameters, j), num_columns = nn_min(n - j, width);
        s->ws.kernels->accumulate_weight_gradient(s->jacobian_rows, num_rows, j, n, s->jacobian + j, s->padded_parameters, NULL,
                                                  NULL, s->product, width, num_columns);
        for (size_t p = j; p < n; p++) {
            for (size_t q = 0; q < num_columns; q++) {
                s->matrix[p * n + j + q] += (double)s->product[p * width + q];
            }
        }
    }
}

/* Sets x_rows to the inputs of the samples first to first + num - 1. Returns whether they are finite. */
static int read_inputs(const Solver *s, size_t first, size_t num)
{
    return nn_read_inputs(&s->ws, &s->samples, first, num, 0, s->ws.x_rows);
}

static int has_finite_inputs(const Solver *s)
{
    size_t num = nn_num_samples(&s->samples);
    int all_finite = 1;
    for (size_t first = 0; first < num && all_finite; first += s->block) {
        all_finite = read_inputs(s, first, nn_min(num - first, s->block));
    }
    return all_finite;
}

/* Computes the forward pass of the samples first to first + num - 1, and writes f'(z) of the last layer to slopes. */
static void forward_block(Solver *s, size_t first, size_t num)
{
    read_inputs(s, first, num);
    nn_forward_layers(&s->ws, s->ws.x_rows, 0, num);
    for (size_t i = 0; i < num; i++) {
        nn_output_slopes(&s->ws, i, s->lowest_targets, s->slopes);
    }
}

/* Adds the samples first to first + num - 1 to matrix and gradient: a backward pass of the block for each output j. */
static void add_block(Solver *s, size_t first, size_t num)
{
    const NNWorkspace *ws = &s->ws;
    const NNLayer *last = &ws->layers[ws->num_layers - 1];
    size_t num_rows = 0;

    forward_block(s, first, num);
    for (size_t i = 0; i < num && nn_scales_targets(ws); i++) {
        nn_scale_targets(ws, &s->samples, first + i, i);
    }
    for (size_t j = 0; j < last->num_outputs; j++) {
        for (size_t i = 0; i < num; i++) {
            float root_weight = sqrtf(nn_sample_weight(&s->samples, first + i));
            memset(last->delta + i * last->stride, 0, last->num_outputs * sizeof(float));
            last->delta[i * last->stride + j] = s->slopes[i * last->padded_outputs + j] * root_weight;
        }
        nn_backward_layers(ws, 0, num);
        for (size_t i = 0; i < num; i++) {
            float root_weight = sqrtf(nn_sample_weight(&s->samples, first + i));
            float y = nn_network_targets(ws, &s->samples, first + i, i)[j];
            if (!isnan(y)) { /* NaN is a missing target */
                float *row = s->jacobian + num_rows * s->padded_parameters;
                write_jacobian_row(s, ws->x_rows[i], i, row);
                add_to_gradient(s, row, (double)(last->a[i * last->stride + j] - y) * (double)root_weight);
                num_rows++;
            }
        }
    }
    if (num_rows > 0) {
        add_to_matrix(s, num_rows);
    }
}

/* The l2 penalty: adds its second derivative to the diagonal of matrix and its gradient to gradient, for the weights. */
static void add_l2_penalty(Solver *s)
{
    double scaled_l2 = s->l2 * (double)nn_num_samples(&s->samples) / 2; /* the objective is n/2 times the loss */
    for (size_t l = 0, p = 0; l < s->nn.num_layers; l++) {
        size_t end_of_weights = p + s->nn.archi[l] * s->nn.archi[l + 1];
        for (; p < end_of_weights; p++) {
            s->matrix[p * s->num_parameters + p] += scaled_l2;
            s->gradient[p] += scaled_l2 * (double)s->nn.weights[0].data[p];
        }
        p += s->nn.archi[l + 1]; /* the biases */
    }
}

/* Computes matrix, gradient and max_diagonal at the parameters of the network. Returns a code. */
static int linearize(Solver *s)
{
    size_t num = nn_num_samples(&s->samples), n = s->num_parameters, num_outputs = s->nn.archi[s->nn.num_layers];
    nn_pack(&s->ws, NN_PACK_PARAMETERS, s->nn.weights[0].data);
    nn_transpose_weights(&s->ws, 0, 1);
    memset(s->matrix, 0, n * n * sizeof(double));
    memset(s->gradient, 0, n * sizeof(double));
    for (size_t first = 0; first < num; first += s->block) {
        size_t block = nn_min(num - first, s->block);
        add_block(s, first, block);
        if (nn_poll(s->monitor, block * num_outputs * (n * n / 2 + n))) {
            return NN_STOPPED;
        }
    }
    add_l2_penalty(s);
    s->max_diagonal = 0;
    for (size_t p = 0; p < n; p++) {
        s->max_diagonal = fmax(s->max_diagonal, s->matrix[p * n + p]);
    }
    return NN_OK;
}

/* ---- The linear system ---- */

/* Returns a^T b, from four partial sums that the processor computes at the same time. */
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

/* Computes the Cholesky factor of matrix + mu I: factor factor^T = matrix + mu I. Returns a code; NN_NOT_FINITE means that the
 * matrix is not positive definite in double precision. */
static int factorize(Solver *s, double mu)
{
    size_t n = s->num_parameters;
    for (size_t i = 0; i < n; i++) {
        double *row = s->factor + i * n, pivot;
        for (size_t j = 0; j < i; j++) {
            const double *row_j = s->factor + j * n;
            row[j] = (s->matrix[i * n + j] - dot(row, row_j, j)) / row_j[j];
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

/* step = -(matrix + mu I)^-1 gradient, by forward and back substitution. */
static void solve(Solver *s)
{
    size_t n = s->num_parameters;
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

/* ---- The iterations ---- */

static int is_fatal(int code)
{
    return code == NN_STOPPED || code == NN_NO_MEMORY;
}

/* Computes the objective at the parameters of the network: n/2 times the loss with the l2 penalty. Returns a code. */
static int evaluate_objective(Solver *s, double *value)
{
    Matrix none = {0, 0, 0, NULL};
    NNMonitor monitor = *s->monitor; /* nn_evaluate polls, but only iterations count as done */
    int code = nn_evaluate(s->nn, s->samples, none, &s->loss, s->backend, &monitor);
    s->monitor->work = monitor.work;
    *value = (double)nn_num_samples(&s->samples) / 2 * (s->loss + nn_l2_penalty(s->nn, s->l2));
    return code;
}

/* Tries the step with damping mu. If it reduces the objective, keeps it, sets *gain_ratio (the reduction divided by
 * the reduction of the linear model) and *accepted; otherwise restores the parameters. Returns a code; NN_NOT_FINITE means that the
 * damping is too small. */
static int try_step(Solver *s, double mu, double *gain_ratio, int *accepted)
{
    float *parameters = s->nn.weights[0].data;
    double predicted = 0, value;
    int code = factorize(s, mu);
    *accepted = 0;
    if (code != NN_OK) {
        return code;
    }
    solve(s);
    for (size_t p = 0; p < s->num_parameters; p++) {
        parameters[p] = s->start[p] + (float)s->step[p];
        predicted += s->step[p] * (mu * s->step[p] - s->gradient[p]) / 2;
    }
    code = evaluate_objective(s, &value);
    *gain_ratio = (s->objective - value) / predicted;
    *accepted = code == NN_OK && value < s->objective;
    if (*accepted) {
        s->objective = value;
    } else {
        memcpy(parameters, s->start, s->num_parameters * sizeof(float));
    }
    return code;
}

/* One iteration: increases the damping until a step reduces the objective. *moved is 0 if none does. Returns a code. */
static int iterate(Solver *s, NNLevenbergMarquardt *state, int *moved)
{
    double gain_ratio = 0;
    int code = linearize(s);

    *moved = 0;
    if (code != NN_OK) {
        return code;
    }
    if (isnan(s->objective)) { /* the first iteration */
        code = evaluate_objective(s, &s->objective);
    }
    if (code != NN_OK || !isfinite(s->objective)) {
        return code != NN_OK ? code : NN_DIVERGED;
    }
    if (!isfinite(s->max_diagonal)) {
        return NN_OK; /* J^T J has overflowed: no damping is large enough */
    }
    state->mu = state->nu == 0 ? state->damping * s->max_diagonal : state->mu; /* nu is 0 in the first iteration */
    state->nu = 2;
    memcpy(s->start, s->nn.weights[0].data, s->num_parameters * sizeof(float));
    while (!is_fatal(code) && !*moved && state->mu <= MAX_DAMPING * s->max_diagonal && s->max_diagonal > 0) {
        code = try_step(s, state->mu, &gain_ratio, moved);
        if (*moved) {
            double t = 2 * gain_ratio - 1;
            state->mu *= fmax(1.0 / 3, 1 - t * t * t);
        } else {
            state->mu = fmax(state->mu * state->nu, MIN_DAMPING * s->max_diagonal);
            state->nu *= 2;
        }
    }
    return is_fatal(code) ? code : NN_OK;
}

/* ---- Memory ---- */

static int allocate(Solver *s)
{
    size_t num_outputs = s->nn.archi[s->nn.num_layers], num_rows, num_elements, matrix_size;
    s->num_parameters = nn_num_parameters(s->nn);
    s->padded_parameters = nn_padded(s->num_parameters);
    s->block = JACOBIAN_ROWS / num_outputs + 1;
    num_rows = s->block * num_outputs;
    if (!nn_multiply(s->num_parameters, s->num_parameters, &num_elements) ||
        !nn_multiply(num_elements, 2 * sizeof(double), &matrix_size)) {
        return NN_NO_MEMORY;
    }
    s->ws = nn_workspace_alloc(s->nn, nn_kernels_available(s->backend.isa), s->block, 1, NN_WORKSPACE_DELTAS, s->samples.scaler, 0);
    s->jacobian = (float *)calloc(num_rows, s->padded_parameters * sizeof(float));
    s->jacobian_rows = (const float **)malloc(num_rows * sizeof(float *));
    s->product = (float *)malloc(s->num_parameters * NN_PANEL * sizeof(float));
    s->slopes = (float *)malloc(s->block * nn_padded(num_outputs) * sizeof(float));
    s->lowest_targets = (float *)malloc(num_outputs * sizeof(float));
    s->matrix = (double *)malloc(matrix_size);
    s->gradient = (double *)malloc(2 * s->num_parameters * sizeof(double));
    s->start = (float *)malloc(s->num_parameters * sizeof(float));
    if (s->ws.memory == NULL || s->jacobian == NULL || s->jacobian_rows == NULL || s->product == NULL || s->slopes == NULL ||
        s->lowest_targets == NULL || s->matrix == NULL || s->gradient == NULL || s->start == NULL) {
        return NN_NO_MEMORY;
    }
    s->factor = s->matrix + num_elements;
    s->step = s->gradient + s->num_parameters;
    for (size_t i = 0; i < num_rows; i++) {
        s->jacobian_rows[i] = s->jacobian + i * s->padded_parameters;
    }
    for (size_t j = 0; j < num_outputs; j++) {
        s->lowest_targets[j] = -FLT_MAX;
    }
    return NN_OK;
}

static void release(Solver *s)
{
    nn_workspace_free(&s->ws);
    free(s->jacobian);
    free(s->jacobian_rows);
    free(s->product);
    free(s->slopes);
    free(s->lowest_targets);
    free(s->matrix);
    free(s->gradient);
    free(s->start);
}

static NN_NOINLINE int minimize(NeuralNetwork nn, NNSamples samples, NNLevenbergMarquardt *state, size_t num_iterations,
                                float *losses, NNBackend backend, NNMonitor *monitor)
{
    Solver s = {.nn = nn, .samples = samples, .backend = backend, .monitor = monitor, .l2 = state->l2,
                .objective = (double)NAN};
    int code = allocate(&s), moved = 1;

    if (code == NN_OK && !has_finite_inputs(&s)) {
        code = NN_NOT_FINITE;
    }
    while (code == NN_OK && moved && monitor->done < num_iterations) {
        code = iterate(&s, state, &moved);
        if (code == NN_OK && moved) {
            if (losses != NULL) {
                losses[monitor->done] = (float)s.loss;
            }
            monitor->num_steps = ++monitor->done;
        }
    }
    release(&s);
    return code;
}

int nn_levenberg_marquardt(NeuralNetwork nn, NNSamples samples, NNLevenbergMarquardt *state, size_t num_iterations, float *losses,
                           NNBackend backend, NNMonitor *monitor)
{
    NNFloatEnvironment caller = nn_enter_float_environment();
    int code = minimize(nn, samples, state, num_iterations, losses, backend, monitor);
    nn_leave_float_environment(caller);
    return code;
}
