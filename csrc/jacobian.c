/* jacobian.c: the derivatives of the outputs with respect to the inputs: nn_jacobian of engine.h.
 *
 * Each thread takes blocks of samples by itself: a forward pass, and then for each output a backward pass to the inputs. A network with
 * fewer inputs than outputs takes, for each input, a forward pass of the derivatives by that input instead:
 *
 *     backward, for output k    d_L = f'(z_L) e_k,   d_(l-1) = (d_l w_l^T) f'(z_(l-1)),   dy_k/dx = d_1 w_1^T
 *     forward, for input j      t_1 = (row j of w_1) f'(z_1),   t_l = (t_(l-1) w_l) f'(z_l),   dy/dx_j = t_L
 *
 * With softmax in the last layer, f' is the matrix dy_k/dz_i = y_k ((i == k) - y_i). */
#include <float.h>
#include <string.h>

#include "ieee754.h"
#include "monitor.h"
#include "propagate.h"
#include "scaling.h"
#include "team.h"

#define BLOCK 96 /* samples, a multiple of NN_TILE_ROWS */

typedef struct {
    NNWorkspace ws;        /* with BLOCK rows for each thread */
    NNSamples samples;
    NNScaler units;        /* the derivatives are in the units of this scaler */
    float *out;            /* (n, outputs, inputs): written */
    int goes_forward;      /* whether there is a pass for each input, and not for each output */
    float *slopes;         /* (rows of the workspace, padded outputs): f'(z) of the last layer; not of softmax */
    float *lowest_targets; /* (outputs,): for nn_output_slopes */
    float *ones;           /* (1,) */
    const float **one_rows; /* (BLOCK,): pointers to `ones` */
    NNMonitor *monitor;
    int stop_code;         /* NN_OK, or the code with which to stop; set by any thread, read by all after each pass */
} Jacobian;

static size_t num_blocks(size_t num_samples)
{
    return nn_divide_up(num_samples, BLOCK);
}

/* Whether the last layer's derivative is a matrix. */
static int is_softmax(const Jacobian *j)
{
    return j->ws.output_activation == NN_SOFTMAX;
}

/* Reads the inputs of the samples first to first + num - 1 into rows first_row, ... of the workspace, computes their outputs and f'(z) of
 * the last layer. Returns NN_OK or NN_NOT_FINITE. */
static int forward_block(const Jacobian *j, size_t first, size_t num, size_t first_row)
{
    const NNWorkspace *ws = &j->ws;
    const NNLayer *last = &ws->layers[ws->num_layers - 1];
    const float **x = ws->x_rows + first_row;
    if (!nn_read_inputs(ws, &j->samples, first, num, first_row, x)) {
        return NN_NOT_FINITE;
    }
    nn_forward_layers(ws, x, first_row, num);
    for (size_t i = first_row; i < first_row + num && ws->output_activation != NN_LINEAR; i++) {
        if (is_softmax(j)) {
            ws->kernels->activate_row(NN_SOFTMAX, last->a + i * last->stride, last->num_outputs);
        } else {
            nn_output_slopes(ws, i, j->lowest_targets, j->slopes);
        }
    }
    return NN_OK;
}

/* Returns f'(z) of the last layer for a row of the workspace, (outputs,); NULL for softmax. */
static const float *slopes_of(const Jacobian *j, size_t row)
{
    return is_softmax(j) ? NULL : j->slopes + row * j->ws.layers[j->ws.num_layers - 1].padded_outputs;
}

/* Whether derivatives have to be scaled. A scaler always has an x part. */
static int has_units(const Jacobian *j)
{
    return j->units.x_scale != NULL;
}

/* Returns the derivative of output k by input i in the units of the user. */
static float in_units(const Jacobian *j, float derivative, size_t k, size_t i)
{
    double value = (double)derivative;
    if (j->units.y_scale != NULL) {
        value *= j->units.y_scale[k];
    }
    return (float)(value / j->units.x_scale[i]);
}

/* ---- A pass for each output ---- */

/* Writes dy_k/dz of a sample, with the outputs y, to delta, (outputs,). */
static void start_backward(const Jacobian *j, const float *y, const float *slopes, size_t k, float *delta, size_t num_outputs)
{
    double others = 0; /* the sum of the other probabilities */
    if (!is_softmax(j)) {
        memset(delta, 0, num_outputs * sizeof(float));
        delta[k] = slopes[k];
        return;
    }
    for (size_t i = 0; i < num_outputs; i++) {
        others += i == k ? 0 : (double)y[i];
        delta[i] = -(y[k] * y[i]);
    }
    delta[k] = (float)((double)y[k] * others); /* 1 - y[k] would lose digits where y[k] is near 1 */
}

/* The backward pass from layer 0 to the inputs, for output k of the samples first, ...: writes the derivatives to out. Panels of whole
 * vectors go there directly, the rest of the columns through the workspace. */
static void backward_to_out(const Jacobian *j, size_t first, size_t num, size_t first_row, size_t k)
{
    const NNWorkspace *ws = &j->ws;
    const NNLayer *layer = &ws->layers[0];
    size_t num_inputs = layer->num_inputs, padded_inputs = nn_padded(num_inputs), stride = ws->nn.archi[ws->num_layers] * num_inputs;
    float *out = j->out + first * stride + k * num_inputs, *buffer = ws->input_delta + first_row * ws->input_stride;
    for (size_t column = 0; column < padded_inputs; column += NN_PANEL) {
        size_t width = nn_panel_width(padded_inputs, column), num_columns = nn_min(width, num_inputs - column);
        int is_direct = num_columns == width && !has_units(j);
        ws->kernels->backward(NN_LINEAR, layer->delta_rows + first_row, num, layer->num_outputs,
                              layer->wt + column * layer->num_outputs, width, num_columns, NULL,
                              is_direct ? out + column : buffer + column, is_direct ? stride : ws->input_stride);
        for (size_t s = 0; s < num && !is_direct; s++) {
            const float *from = buffer + s * ws->input_stride;
            float *to = out + s * stride;
            for (size_t i = column; i < column + num_columns; i++) {
                to[i] = has_units(j) ? in_units(j, from[i], k, i) : from[i];
            }
        }
    }
}

static void backward_pass(const Jacobian *j, size_t first, size_t num, size_t first_row, size_t k)
{
    const NNWorkspace *ws = &j->ws;
    const NNLayer *last = &ws->layers[ws->num_layers - 1];
    for (size_t i = first_row; i < first_row + num; i++) {
        start_backward(j, last->a + i * last->stride, slopes_of(j, i), k, last->delta + i * last->stride, last->num_outputs);
    }
    nn_backward_layers(ws, first_row, num);
    backward_to_out(j, first, num, first_row, k);
}

/* ---- A pass for each input ---- */

/* Computes t_l, the derivatives of layer l by input `input`, in the layer's array delta, for `num` samples from first_row on. */
static void forward_derivatives(const Jacobian *j, size_t l, size_t num, size_t first_row, size_t input)
{
    const NNWorkspace *ws = &j->ws;
    const NNLayer *layer = &ws->layers[l];
    const float *derivative_input = layer->derivative_input == NULL ? layer->a : layer->derivative_input;
    for (size_t column = 0; column < layer->padded_outputs; column += NN_PANEL) {
        size_t width = nn_panel_width(layer->padded_outputs, column), at = first_row * layer->stride + column;
        const float *panel = layer->w + column * layer->num_inputs;
        const float *const *before = l == 0 ? j->one_rows : ws->layers[l - 1].delta_rows + first_row;
        ws->kernels->backward(layer->activation, before, num, l == 0 ? 1 : layer->num_inputs, l == 0 ? panel + input * width : panel,
                              width, nn_min(width, layer->num_outputs - column), derivative_input + at, layer->delta + at,
                              layer->stride);
    }
}

/* Writes the derivatives of the outputs y of a sample by input i. t, (outputs,): those of z of the last layer. */
static void finish_forward(const Jacobian *j, const float *y, const float *slopes, const float *t, size_t i, float *to)
{
    size_t num_inputs = j->ws.nn.archi[0], num_outputs = j->ws.nn.archi[j->ws.num_layers];
    double sum = 0, mean = 0; /* of the probabilities y; of t, weighted by them */
    for (size_t k = 0; is_softmax(j) && k < num_outputs; k++) {
        sum += (double)y[k];
        mean += (double)y[k] * (double)t[k];
    }
    if (is_softmax(j)) {
        mean /= sum; /* the sum is 1 up to rounding */
    }
    for (size_t k = 0; k < num_outputs; k++) {
        float derivative = is_softmax(j) ? (float)((double)y[k] * ((double)t[k] - mean)) : t[k] * slopes[k];
        to[k * num_inputs + i] = has_units(j) ? in_units(j, derivative, k, i) : derivative;
    }
}

static void forward_pass(const Jacobian *j, size_t first, size_t num, size_t first_row, size_t input)
{
    const NNWorkspace *ws = &j->ws;
    const NNLayer *last = &ws->layers[ws->num_layers - 1];
    size_t size = ws->nn.archi[0] * last->num_outputs;
    for (size_t l = 0; l < ws->num_layers; l++) {
        forward_derivatives(j, l, num, first_row, input);
    }
    for (size_t s = 0; s < num; s++) {
        size_t row = first_row + s;
        finish_forward(j, last->a + row * last->stride, slopes_of(j, row), last->delta + row * last->stride, input,
                       j->out + (first + s) * size);
    }
}

/* ---- Blocks and threads ---- */

/* Computes one block. Returns a code. */
static int compute_block(const Jacobian *j, size_t first, size_t num, int thread_index)
{
    const NNWorkspace *ws = &j->ws;
    size_t first_row = (size_t)thread_index * BLOCK, num_passes = ws->nn.archi[j->goes_forward ? 0 : ws->num_layers];
    size_t size = ws->nn.archi[0] * ws->nn.archi[ws->num_layers];
    int code = forward_block(j, first, num, first_row);
    for (size_t pass = 0; pass < num_passes && code == NN_OK; pass++) {
        (j->goes_forward ? forward_pass : backward_pass)(j, first, num, first_row, pass);
        if (thread_index == 0 && nn_poll(j->monitor, num * nn_work_per_sample(ws->nn))) {
            code = NN_STOPPED;
        }
        if (nn_flag_get(&j->stop_code) != NN_OK) {
            return NN_OK; /* another thread tells the code */
        }
    }
    if (code == NN_OK) {
        nn_canonicalize(ws->kernels, j->out + first * size, num * size);
    }
    return code;
}

/* The function that each thread runs: computes its share of the blocks. */
static void compute_blocks(void *context, NNTeam *team, int thread_index)
{
    Jacobian *j = (Jacobian *)context;
    size_t num_samples = nn_num_samples(&j->samples);
    NNRange share = nn_share(num_blocks(num_samples), thread_index, team->size);
    nn_transpose_weights(&j->ws, thread_index, team->size);
    nn_team_barrier(team);
    for (size_t i = share.first; i < share.last && nn_flag_get(&j->stop_code) == NN_OK; i++) {
        size_t first = i * BLOCK;
        int code = compute_block(j, first, nn_min(num_samples - first, BLOCK), thread_index);
        if (code != NN_OK) {
            nn_flag_set(&j->stop_code, code);
        }
    }
}

/* Allocates the arrays beside the workspace, in one block of memory; NULL if memory ran out. */
static void *alloc_arrays(Jacobian *j, size_t num_rows)
{
    const NNLayer *last = &j->ws.layers[j->ws.num_layers - 1];
    size_t num_slopes = is_softmax(j) ? 0 : num_rows * last->padded_outputs; /* no more than the workspace has */
    float *memory = (float *)malloc(BLOCK * sizeof(float *) + (num_slopes + last->padded_outputs + 1) * sizeof(float));
    if (memory == NULL) {
        return NULL;
    }
    j->one_rows = (const float **)(void *)memory;
    j->slopes = (float *)(void *)(j->one_rows + BLOCK);
    j->lowest_targets = j->slopes + num_slopes;
    j->ones = j->lowest_targets + last->padded_outputs;
    j->ones[0] = 1;
    for (size_t i = 0; i < BLOCK; i++) {
        j->one_rows[i] = j->ones;
    }
    for (size_t k = 0; k < last->padded_outputs; k++) {
        j->lowest_targets[k] = -FLT_MAX;
    }
    for (size_t i = 0; i < num_slopes; i++) {
        j->slopes[i] = 1; /* of a linear layer */
    }
    return memory;
}

static NN_NOINLINE int jacobian(NeuralNetwork nn, const NNScaler *scaler, const NNScaler *units, Matrix in, float *out,
                                NNBackend backend, NNMonitor *monitor)
{
    const NNKernels *kernels = nn_kernels_available(backend.isa);
    Jacobian j = {.samples = {.x = in}, .out = out, .goes_forward = nn.archi[0] < nn.archi[nn.num_layers], .monitor = monitor};
    size_t num_passes = 1 + nn.archi[j.goes_forward ? 0 : nn.num_layers], num_rows;
    int num_threads = nn_worthwhile_threads(nn_work_per_sample(nn) * num_passes, BLOCK, in.rows, backend.num_threads);
    void *arrays;

    if (units != NULL) {
        j.units = *units;
    }
    if (scaler != NULL) {
        j.samples.scaler.x_mean = scaler->x_mean;
        j.samples.scaler.x_scale = scaler->x_scale;
    }
    num_threads = (int)nn_min((size_t)num_threads, num_blocks(in.rows));
    num_rows = nn_min(BLOCK * (size_t)num_threads, in.rows);
    j.ws = nn_workspace_alloc(nn, kernels, num_rows, 1, NN_WORKSPACE_DELTAS | NN_WORKSPACE_INPUT_DELTA, j.samples.scaler, 0);
    if (j.ws.memory == NULL) {
        return NN_NO_MEMORY;
    }
    arrays = alloc_arrays(&j, num_rows);
    if (arrays == NULL) {
        j.stop_code = NN_NO_MEMORY;
    } else {
        nn_team_run(num_threads, compute_blocks, &j);
    }
    free(arrays);
    nn_workspace_free(&j.ws);
    return j.stop_code;
}

int nn_jacobian(NeuralNetwork nn, const NNScaler *scaler, const NNScaler *units, Matrix in, float *out, NNBackend backend,
                NNMonitor *monitor)
{
    NNFloatEnvironment caller = nn_enter_float_environment();
    int code = jacobian(nn, scaler, units, in, out, backend, monitor);
    nn_leave_float_environment(caller);
    return code;
}
