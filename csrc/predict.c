/* predict.c: outputs and losses without a gradient: nn_predict, nn_predict_few, nn_layer_outputs, nn_evaluate of engine.h.
 *
 * Each thread takes blocks of samples through all layers by itself, without barriers; a block is so small that its activations stay
 * in the cache. A few samples are computed without packing the weights. */
#include <string.h>

#include "ieee754.h"
#include "monitor.h"
#include "propagate.h"
#include "scaling.h"
#include "team.h"

#define BLOCK 96           /* samples, a multiple of NN_TILE_ROWS. Losses are summed by blocks: another size would change the sum */
#define MAX_UNPACKED 8     /* for so many samples or fewer, packing the weights would take longer than it saves */
#define STACK_LAYER 512    /* floats; for wider layers predict_unpacked calls malloc */

typedef struct {
    NNWorkspace ws;         /* with BLOCK rows for each thread */
    NNSamples samples;
    Matrix out;             /* (n, outputs): written; data is NULL if the outputs are not wanted */
    double *scaled_out;     /* (n, outputs): written with the outputs, scaled back; else NULL */
    const Matrix *layers;   /* nn_layer_outputs: layers[l] is (n, archi[l + 1]), written; else NULL */
    double *block_losses;   /* nn_evaluate: (blocks,), the sum of the losses of each block; else NULL */
    NNMonitor *monitor;
    int stop_code;          /* NN_OK, or the code with which to stop; set by any thread, read by all after each block */
} Prediction;

static size_t num_blocks(size_t num_samples)
{
    return nn_divide_up(num_samples, BLOCK);
}

/* The output layer of one sample: turns z, (outputs,) padded, into the outputs, copies them to p->out, scales them back, and returns
 * the weighted loss of the sample if p computes losses, else 0.
 *
 * targets   (outputs,), scaled; NULL if the sample has a label, or if p computes no losses */
static double finish_sample(const Prediction *p, NeuralNetwork nn, const NNKernels *kernels, float *z, const float *targets,
                            size_t sample)
{
    int activation = nn.activation_functions[nn.num_layers - 1];
    size_t num_outputs = nn.archi[nn.num_layers];
    float weighted_loss = 0;
    if (p->block_losses != NULL) {
        float loss = kernels->output_layer_loss(activation, nn.loss, z, targets, nn_label(&p->samples, sample), 0, NULL,
                                                num_outputs);
        weighted_loss = nn_weighted_loss(nn_sample_weight(&p->samples, sample), loss);
    } else {
        kernels->activate_row(activation, z, num_outputs);
    }
    if (p->out.data != NULL) {
        memcpy(&MAT_AT(p->out, sample, 0), z, num_outputs * sizeof(float));
    }
    for (size_t j = 0; p->scaled_out != NULL && j < num_outputs; j++) {
        const NNScaler *scaler = &p->samples.scaler;
        p->scaled_out[sample * num_outputs + j] = nn_canonical((double)z[j] * scaler->y_scale[j] + scaler->y_mean[j]);
    }
    return (double)weighted_loss;
}

/* Gives every NaN in the outputs of some samples the bits of NAN. */
static void canonicalize_outputs(const Prediction *p, const NNKernels *kernels, size_t first, size_t num)
{
    if (p->out.data == NULL) {
        return;
    }
    if (p->out.stride == p->out.cols) {
        nn_canonicalize(kernels, &MAT_AT(p->out, first, 0), num * p->out.cols);
        return;
    }
    for (size_t i = first; i < first + num; i++) {
        nn_canonicalize(kernels, &MAT_AT(p->out, i, 0), p->out.cols);
    }
}

/* ---- Many samples, with packed weights ---- */

/* Copies the activations of every layer to p->layers, for `num` samples from first_sample on. Their rows in the workspace begin with
 * first_row. */
static void copy_layer_outputs(const Prediction *p, size_t first_sample, size_t first_row, size_t num)
{
    for (size_t l = 0; l < p->ws.num_layers; l++) {
        const NNLayer *layer = &p->ws.layers[l];
        for (size_t i = 0; i < num; i++) {
            float *row = &MAT_AT(p->layers[l], first_sample + i, 0);
            memcpy(row, layer->a_rows[first_row + i], layer->num_outputs * sizeof(float));
            nn_canonicalize(p->ws.kernels, row, layer->num_outputs);
        }
    }
}

/* Computes one block, the samples first to first + num - 1. Returns NN_OK or NN_NOT_FINITE. */
static int predict_block(const Prediction *p, size_t first, size_t num, int thread_index)
{
    const NNWorkspace *ws = &p->ws;
    const NNLayer *last = &ws->layers[ws->num_layers - 1];
    size_t first_row = (size_t)thread_index * BLOCK; /* of this thread's rows in the workspace */
    const float **x = ws->x_rows + first_row;
    double sum_losses = 0;

    if (!nn_read_inputs(ws, &p->samples, first, num, first_row, x)) {
        return NN_NOT_FINITE;
    }
    nn_forward_layers(ws, x, first_row, num);
    for (size_t i = 0; i < num; i++) {
        if (nn_scales_targets(ws)) {
            nn_scale_targets(ws, &p->samples, first + i, first_row + i);
        }
        sum_losses += finish_sample(p, ws->nn, ws->kernels, last->a + (first_row + i) * last->stride,
                                    nn_network_targets(ws, &p->samples, first + i, first_row + i), first + i);
    }
    canonicalize_outputs(p, ws->kernels, first, num);
    if (p->layers != NULL) {
        copy_layer_outputs(p, first, first_row, num);
    }
    if (p->block_losses != NULL) {
        p->block_losses[first / BLOCK] = sum_losses;
    }
    return NN_OK;
}

/* The function that each thread runs: computes its share of the blocks. */
static void predict_blocks(void *context, NNTeam *team, int thread_index)
{
    Prediction *p = (Prediction *)context;
    size_t num_samples = nn_num_samples(&p->samples);
    NNRange share = nn_share(num_blocks(num_samples), thread_index, team->size);
    for (size_t i = share.first; i < share.last; i++) {
        size_t first = i * BLOCK, num = nn_min(num_samples - first, BLOCK);
        int code = predict_block(p, first, num, thread_index);
        if (code == NN_OK && thread_index == 0 && nn_poll(p->monitor, num * nn_work_per_sample(p->ws.nn))) {
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

/* Allocates the memory, packs the weights and runs the threads. Returns a code. */
static int predict_packed(Prediction *p, NeuralNetwork nn, NNBackend backend)
{
    const NNKernels *kernels = nn_kernels_available(backend.isa);
    size_t num = nn_num_samples(&p->samples), num_rows;
    int num_threads = nn_worthwhile_threads(nn_work_per_sample(nn), BLOCK, num, backend.num_threads);

    num_threads = (int)nn_min((size_t)num_threads, num_blocks(num));
    num_rows = nn_min(BLOCK * (size_t)num_threads, num);
    p->ws = nn_workspace_alloc(nn, kernels, num_rows, 1, 0, p->samples.scaler, 0); /* one array of rows for all threads */
    if (p->ws.memory == NULL) {
        p->stop_code = NN_NO_MEMORY;
    } else {
        nn_team_run(num_threads, predict_blocks, p);
    }
    nn_workspace_free(&p->ws);
    return p->stop_code;
}

/* ---- A few samples, one by one, without packing the weights ---- */

/* Returns the number of floats that a layer of scratch memory needs. */
static size_t scratch_stride(const Prediction *p, NeuralNetwork nn)
{
    size_t widest = p->samples.scaler.x_mean == NULL ? 0 : nn.archi[0];
    for (size_t l = 1; l <= nn.num_layers; l++) {
        widest = nn.archi[l] > widest ? nn.archi[l] : widest;
    }
    return widest + NN_PAD;
}

/* Computes all samples of p. Returns a code. */
static int predict_unpacked(const Prediction *p, NeuralNetwork nn, const NNKernels *kernels)
{
    const NNScaler *scaler = &p->samples.scaler;
    size_t num_inputs = p->samples.x.cols, num_outputs = nn.archi[nn.num_layers], stride = scratch_stride(p, nn);
    float stack[3 * STACK_LAYER], *scratch = stack; /* (3, stride): two layers; the scaled inputs, then the scaled targets */
    float *scaled;
    double sum_losses = 0;
    int code = NN_OK;

    if (stride > STACK_LAYER && (scratch = (float *)malloc(3 * stride * sizeof(float))) == NULL) {
        return NN_NO_MEMORY;
    }
    scaled = scratch + 2 * stride;
    for (size_t i = 0; i < nn_num_samples(&p->samples); i++) {
        const float *x = nn_inputs(&p->samples, i), *targets = nn_targets(&p->samples, i);
        float *z;
        if (scaler->x_mean != NULL) {
            nn_scale_few(x, scaler->x_mean, scaler->x_scale, scaled, num_inputs);
            x = scaled;
        }
        if (!kernels->all_finite(x, num_inputs)) {
            code = NN_NOT_FINITE;
            break;
        }
        z = kernels->forward_unpacked(nn, x, scratch, stride);
        if (targets != NULL && scaler->y_mean != NULL) {
            nn_scale_few(targets, scaler->y_mean, scaler->y_scale, scaled, num_outputs);
            targets = scaled;
        }
        sum_losses += finish_sample(p, nn, kernels, z, targets, i);
    }
    canonicalize_outputs(p, kernels, 0, code == NN_OK ? nn_num_samples(&p->samples) : 0);
    if (p->block_losses != NULL) {
        p->block_losses[0] = sum_losses;
    }
    if (scratch != stack) {
        free(scratch);
    }
    return code;
}

/* ---- The functions of engine.h ---- */

static NN_NOINLINE int predict(Prediction *p, NeuralNetwork nn, NNBackend backend)
{
    if (nn_num_samples(&p->samples) <= MAX_UNPACKED && p->layers == NULL) {
        return predict_unpacked(p, nn, nn_kernels_available(backend.isa));
    }
    return predict_packed(p, nn, backend);
}

static int predict_in_environment(Prediction *p, NeuralNetwork nn, NNBackend backend)
{
    NNFloatEnvironment caller = nn_enter_float_environment();
    int code = predict(p, nn, backend);
    nn_leave_float_environment(caller);
    return code;
}

/* Returns the x part of a scaler, which may be NULL. */
static NNScaler inputs_only(const NNScaler *scaler)
{
    NNScaler x_part = {NULL, NULL, NULL, NULL};
    if (scaler != NULL) {
        x_part.x_mean = scaler->x_mean;
        x_part.x_scale = scaler->x_scale;
    }
    return x_part;
}

int nn_predict(NeuralNetwork nn, const NNScaler *scaler, Matrix in, Matrix out, NNBackend backend, NNMonitor *monitor)
{
    Prediction p = {.samples = {.x = in, .scaler = inputs_only(scaler)}, .out = out, .monitor = monitor};
    return predict_in_environment(&p, nn, backend);
}

int nn_predict_few(const NNPredictor *predictor, const void *x, size_t num_samples, void *out)
{
    NeuralNetwork nn = predictor->nn;
    size_t num_inputs = nn.archi[0], num_outputs = nn.archi[nn.num_layers];
    NNBackend backend = {predictor->isa, 1};
    NNMonitor monitor = nn_silent_monitor();
    Matrix in = {num_samples, num_inputs, num_inputs, (float *)(uintptr_t)x}; /* the cast removes const; x is only read */
    Prediction p = {.samples = {.x = in}, .monitor = &monitor};
    if ((uintptr_t)x % sizeof(float) != 0 || !nn_are_few(nn, num_samples)) { /* C does not allow to read unaligned floats */
        return NN_REFUSED;
    }
    if (predictor->scaler != NULL) {
        p.samples.scaler = *predictor->scaler;
    }
    if (p.samples.scaler.y_scale != NULL) {
        p.scaled_out = (double *)out;
    } else {
        Matrix float_out = {num_samples, num_outputs, num_outputs, (float *)out};
        p.out = float_out;
    }
    return predict_in_environment(&p, nn, backend) == NN_OK ? NN_OK : NN_REFUSED;
}

int nn_layer_outputs(NeuralNetwork nn, const NNScaler *scaler, Matrix in, const Matrix *layers, NNBackend backend,
                     NNMonitor *monitor)
{
    Prediction p = {.samples = {.x = in, .scaler = inputs_only(scaler)}, .layers = layers, .monitor = monitor};
    return predict_in_environment(&p, nn, backend);
}

static NN_NOINLINE int evaluate(NeuralNetwork nn, NNSamples samples, Matrix out, double *loss, NNBackend backend,
                                NNMonitor *monitor)
{
    Prediction p = {.samples = samples, .out = out, .monitor = monitor};
    size_t num = nn_num_samples(&samples);
    double sum = 0;
    int code;

    p.block_losses = (double *)malloc(num_blocks(num) * sizeof(double));
    if (p.block_losses == NULL) {
        return NN_NO_MEMORY;
    }
    code = predict(&p, nn, backend);
    for (size_t i = 0; i < num_blocks(num) && code == NN_OK; i++) {
        sum += p.block_losses[i];
    }
    *loss = nn_canonical(sum / (double)num);
    free(p.block_losses);
    return code;
}

int nn_evaluate(NeuralNetwork nn, NNSamples samples, Matrix out, double *loss, NNBackend backend, NNMonitor *monitor)
{
    NNFloatEnvironment caller = nn_enter_float_environment();
    int code = evaluate(nn, samples, out, loss, backend, monitor);
    nn_leave_float_environment(caller);
    return code;
}
