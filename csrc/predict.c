/* predict.c: outputs and costs, without a gradient. See engine.h.
 *
 * The threads share out the samples and go their own ways; each takes some samples at a time through all layers, few enough for
 * their activations to stay in the cache. */
#include <string.h>

#include "workspace.h"
#include "team.h"

#define BLOCK 96      /* samples at a time, a multiple of the rows of a tile; what costs are summed by, too */
#define FEW_SAMPLES 8 /* up to so many go straight through the weights as they lie: packing would take longer */

#define SCRATCH 512   /* floats on the stack, for the activations of a layer of few samples */

typedef struct {
    NNWorkspace plan; /* with a block of samples for each thread */
    NNSamples samples;
    Matrix out;    /* n x outputs; its data is NULL where nobody wants them */
    const Matrix *layers; /* of nn_layer_outputs, or NULL */
    const NNScaler *scaler; /* of the inputs, or NULL */
    float *scaled; /* inputs after scaling, BLOCK rows for each thread; NULL without a scaler */
    double *costs; /* of nn_evaluate, of each block, or NULL */
    NNMonitor *monitor;
    int stop; /* a code, written by any thread, read by all when they look */
} Prediction;

/* The cost of a sample, or its outputs, from the sums of the last layer. */
static double finish(const Prediction *p, NeuralNetwork nn, const NNKernels *kernels, float *z, size_t sample)
{
    int function = nn.activation_functions[nn.num_layers - 1];
    size_t num_columns = nn.archi[nn.num_layers];
    if (p->costs != NULL) {
        const float *y = p->samples.y.data == NULL ? NULL : nn_row(p->samples.y, sample);
        size_t label = y == NULL ? (size_t)p->samples.labels[sample] : 0;
        float cost = kernels->output(function, nn.loss, z, y, label, 0, NULL, num_columns);
        float weight = p->samples.sample_weights == NULL ? 1.0f : p->samples.sample_weights[sample];
        if (p->out.data != NULL) {
            memcpy(&MAT_AT(p->out, sample, 0), z, num_columns * sizeof(float));
        }
        return weight > 0 ? (double)(weight * cost) : 0; /* whatever a sample that does not count costs */
    }
    kernels->activate(function, z, num_columns);
    if (p->out.data != NULL) {
        memcpy(&MAT_AT(p->out, sample, 0), z, num_columns * sizeof(float));
    }
    return 0;
}

/* The inputs of a sample as the first layer takes them: where they are or, with a scaler, scaled into row. */
static const float *scaled_row(const Prediction *p, size_t sample, float *row)
{
    const float *x = nn_row(p->samples.x, sample);
    if (p->scaler == NULL) {
        return x;
    }
    for (size_t k = 0; k < p->samples.x.cols; k++) {
        row[k] = (float)(((double)x[k] - p->scaler->x_mean[k]) / p->scaler->x_scale[k]);
    }
    return row;
}

/* A code. */
static int do_block(const Prediction *p, size_t first, size_t num, int number)
{
    const NNWorkspace *plan = &p->plan;
    const NNLayer *last = &plan->layers[plan->num_layers - 1];
    size_t own = (size_t)number * BLOCK; /* the thread's samples in the workspace */
    const float **x_rows = plan->x_rows + own;
    double cost = 0;

    for (size_t i = 0; i < num; i++) {
        x_rows[i] = scaled_row(p, first + i, p->scaled == NULL ? NULL : p->scaled + (own + i) * p->samples.x.cols);
        if (!plan->kernels->are_finite(x_rows[i], p->samples.x.cols)) {
            return NN_NOT_FINITE;
        }
    }
    nn_forward_rows(plan, x_rows, own, num);
    for (size_t i = 0; i < num; i++) {
        cost += finish(p, plan->nn, plan->kernels, last->a + (own + i) * last->stride, first + i);
    }
    for (size_t l = 0; p->layers != NULL && l < plan->num_layers; l++) {
        for (size_t i = 0; i < num; i++) {
            memcpy(&MAT_AT(p->layers[l], first + i, 0), plan->layers[l].a_rows[own + i], plan->layers[l].cols * sizeof(float));
        }
    }
    if (p->costs != NULL) {
        p->costs[first / BLOCK] = cost;
    }
    return NN_OK;
}

static void predict(void *context, NNTeam *team, int number)
{
    Prediction *p = (Prediction *)context;
    size_t num = p->samples.x.rows;
    NNRange range = nn_share((num + BLOCK - 1) / BLOCK, number, team->size);
    for (size_t i = range.first; i < range.last; i++) {
        size_t first = i * BLOCK, size = num - first < BLOCK ? num - first : BLOCK;
        int code = do_block(p, first, size, number);
        if (code == NN_OK && number == 0 && nn_poll(p->monitor, size * nn_work(p->plan.nn))) {
            code = NN_STOPPED;
        }
        if (code != NN_OK) {
            nn_set_flag(&p->stop, code);
        }
        if (nn_flag(&p->stop) != NN_OK) {
            return;
        }
    }
}

/* The few samples one by one, through the weights as they lie in the network. scaled_out: where nn_predict_one wants outputs in
 * double precision, else NULL. */
static int predict_few(const Prediction *p, NeuralNetwork nn, const NNKernels *kernels, double *scaled_out)
{
    size_t num_inputs = p->samples.x.cols, num_outputs = nn.archi[nn.num_layers], widest = p->scaler == NULL ? 0 : num_inputs;
    float on_stack[3 * SCRATCH], *scratch = on_stack, *scaled;
    double loss = 0;
    int code = NN_OK;

    for (size_t l = 1; l <= nn.num_layers; l++) {
        widest = nn.archi[l] > widest ? nn.archi[l] : widest;
    }
    widest += NN_PAD;
    if (widest > SCRATCH && (scratch = (float *)malloc(3 * widest * sizeof(float))) == NULL) {
        return NN_NO_MEMORY;
    }
    scaled = scratch + 2 * widest;
    for (size_t i = 0; i < p->samples.x.rows && code == NN_OK; i++) {
        const float *x = scaled_row(p, i, scaled);
        float *z;
        if (!kernels->are_finite(x, num_inputs)) {
            code = NN_NOT_FINITE;
            break;
        }
        z = kernels->forward_direct(nn, x, scratch, widest);
        loss += finish(p, nn, kernels, z, i);
        for (size_t j = 0; scaled_out != NULL && j < num_outputs; j++) {
            scaled_out[j] = (double)z[j] * p->scaler->y_scale[j] + p->scaler->y_mean[j];
        }
    }
    if (p->costs != NULL) {
        p->costs[0] = loss;
    }
    if (scratch != on_stack) {
        free(scratch);
    }
    return code;
}

int nn_predict_one(const NeuralNetwork *nn, const NNScaler *scaler, const void *x, void *out, int isa)
{
    size_t inputs = nn->archi[0], outputs = nn->archi[nn->num_layers];
    int is_scaled = scaler != NULL && scaler->y_scale != NULL;
    Matrix in = {1, inputs, inputs, (float *)(uintptr_t)x}; /* only read */
    Matrix result = {1, outputs, outputs, is_scaled ? NULL : (float *)out};
    Prediction p = {.samples = {.x = in}, .out = result, .scaler = scaler};
    if ((uintptr_t)x % sizeof(float) != 0) {
        return NN_NOT_FINITE; /* C must not read unaligned floats */
    }
    return predict_few(&p, *nn, nn_kernels_available(isa), is_scaled ? (double *)out : NULL);
}

static int run(Prediction *p, NeuralNetwork nn, NNBackend backend)
{
    const NNKernels *kernels = nn_kernels_available(backend.isa);
    size_t num = p->samples.x.rows, num_rows;
    size_t num_blocks = (num + BLOCK - 1) / BLOCK;
    int num_threads = nn_worthwhile_threads(nn, BLOCK, num, backend.num_threads);

    if (num <= FEW_SAMPLES && p->layers == NULL) {
        return predict_few(p, nn, kernels, NULL);
    }
    num_threads = (size_t)num_threads < num_blocks ? num_threads : (int)num_blocks;
    num_rows = BLOCK * (size_t)num_threads;
    if (p->scaler != NULL) {
        p->scaled = nn.archi[0] > SIZE_MAX / sizeof(float) / num_rows ? NULL : (float *)malloc(num_rows * nn.archi[0] * sizeof(float));
        if (p->scaled == NULL) {
            return NN_NO_MEMORY;
        }
    }
    p->plan = nn_workspace_alloc(nn, kernels, num_rows, 1, 0); /* the threads' rows lie in one block */
    if (p->plan.memory == NULL) {
        p->stop = NN_NO_MEMORY;
    } else {
        nn_team_run(num_threads, predict, p);
    }
    nn_workspace_free(&p->plan);
    free(p->scaled);
    return p->stop;
}

int nn_predict(NeuralNetwork nn, const NNScaler *scaler, Matrix in, Matrix out, NNBackend backend, NNMonitor *monitor)
{
    Prediction p = {.samples = {.x = in}, .out = out, .scaler = scaler, .monitor = monitor};
    return run(&p, nn, backend);
}

int nn_layer_outputs(NeuralNetwork nn, const NNScaler *scaler, Matrix in, const Matrix *layers, NNBackend backend,
                     NNMonitor *monitor)
{
    Prediction p = {.samples = {.x = in}, .layers = layers, .scaler = scaler, .monitor = monitor};
    return run(&p, nn, backend);
}

int nn_evaluate(NeuralNetwork nn, NNSamples samples, Matrix out, double *loss, NNBackend backend, NNMonitor *monitor)
{
    Prediction p = {.samples = samples, .out = out, .monitor = monitor};
    size_t num = samples.x.rows, num_blocks = (num + BLOCK - 1) / BLOCK;
    double sum = 0;
    int code;

    p.costs = (double *)malloc(num_blocks * sizeof(double));
    if (p.costs == NULL) {
        return NN_NO_MEMORY;
    }
    code = run(&p, nn, backend);
    for (size_t i = 0; i < num_blocks && code == NN_OK; i++) {
        sum += p.costs[i];
    }
    *loss = sum / (double)num;
    free(p.costs);
    return code;
}
