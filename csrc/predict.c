/* predict.c: outputs and costs, without a gradient. See engine.h.
 *
 * The threads share out the samples and go their own ways; each takes some samples at a time through all layers, few enough for
 * their activations to stay in the cache. */
#include <string.h>

#include "plan.h"
#include "team.h"

#define BLOCK 96      /* samples at a time, a multiple of the rows of a tile; what costs are summed by, too */
#define FEW_SAMPLES 8 /* up to so many go straight through the weights as they lie: packing would take longer */

#define SCRATCH 512   /* floats on the stack, for the activations of a layer of few samples */

typedef struct {
    NNPlan plan; /* with a block of samples for each thread */
    NNSamples samples;
    Matrix out;    /* of nn_predict; its data is NULL in other calls */
    const Matrix *layers; /* of nn_layer_outputs, or NULL */
    double *costs; /* of nn_evaluate, of each block, or NULL */
    NNMonitor *monitor;
    int stop; /* a code, written by any thread, read by all when they look */
} Prediction;

/* The cost of a sample, or its outputs, from the sums of the last layer. */
static double finish(const Prediction *p, NeuralNetwork nn, const NNKernels *kernels, float *z, size_t sample)
{
    int function = nn.functions[nn.num_layers - 1];
    size_t num_columns = nn.archi[nn.num_layers];
    if (p->costs != NULL) {
        const float *y = p->samples.y.data == NULL ? NULL : nn_row(p->samples.y, sample);
        size_t label = y == NULL ? (size_t)p->samples.labels[sample] : 0;
        float cost = kernels->output(function, nn.loss, z, y, label, 0, NULL, num_columns);
        float weight = p->samples.weights == NULL ? 1.0f : p->samples.weights[sample];
        return weight > 0 ? (double)(weight * cost) : 0; /* whatever a sample that does not count costs */
    }
    kernels->activate(function, z, num_columns);
    if (p->out.data != NULL) {
        memcpy(&MAT_AT(p->out, sample, 0), z, num_columns * sizeof(float));
    }
    return 0;
}

/* A code. */
static int do_block(const Prediction *p, size_t first, size_t num, int number)
{
    const NNPlan *plan = &p->plan;
    const NNLayer *last = &plan->layers[plan->num_layers - 1];
    size_t own = (size_t)number * BLOCK; /* the thread's samples in the workspace */
    const float **x_rows = plan->x_rows + own;
    double cost = 0;

    for (size_t i = 0; i < num; i++) {
        x_rows[i] = nn_row(p->samples.x, first + i);
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

/* The few samples one by one; there is no plan. */
static int predict_few(Prediction *p, NeuralNetwork nn, const NNKernels *kernels)
{
    size_t widest = 0;
    float on_stack[2 * SCRATCH], *scratch = on_stack;
    double sum = 0;

    for (size_t i = 0; i < p->samples.x.rows; i++) {
        if (!kernels->are_finite(nn_row(p->samples.x, i), p->samples.x.cols)) {
            return NN_NOT_FINITE;
        }
    }
    for (size_t l = 1; l <= nn.num_layers; l++) {
        widest = nn.archi[l] > widest ? nn.archi[l] : widest;
    }
    widest += NN_PAD;
    if (widest > SCRATCH && (scratch = (float *)malloc(2 * widest * sizeof(float))) == NULL) {
        return NN_NO_MEMORY;
    }
    for (size_t i = 0; i < p->samples.x.rows; i++) {
        float *row = kernels->forward_direct(nn, nn_row(p->samples.x, i), scratch, widest);
        sum += finish(p, nn, kernels, row, i);
    }
    if (p->costs != NULL) {
        p->costs[0] = sum;
    }
    if (scratch != on_stack) {
        free(scratch);
    }
    return NN_OK;
}

int nn_predict_one(const NeuralNetwork *nn, const void *x, void *out, int isa)
{
    size_t inputs = nn->archi[0], outputs = nn->archi[nn->num_layers];
    Matrix in = {1, inputs, inputs, (float *)(uintptr_t)x}, result = {1, outputs, outputs, (float *)out}; /* in is only read */
    Prediction p = {.samples = {.x = in}, .out = result};
    if ((uintptr_t)x % sizeof(float) != 0) {
        return NN_NOT_FINITE; /* it is not for C to read */
    }
    return predict_few(&p, *nn, nn_kernels_available(isa));
}

static int run(Prediction *p, NeuralNetwork nn, NNMachine machine)
{
    const NNKernels *kernels = nn_kernels_available(machine.isa);
    size_t num = p->samples.x.rows;
    size_t num_blocks = (num + BLOCK - 1) / BLOCK;
    int num_threads = nn_worthwhile_threads(nn, BLOCK, num, machine.num_threads);

    if (num <= FEW_SAMPLES && p->layers == NULL) {
        return predict_few(p, nn, kernels);
    }
    num_threads = (size_t)num_threads < num_blocks ? num_threads : (int)num_blocks;
    p->plan = nn_plan(nn, kernels, BLOCK * (size_t)num_threads, 1, 0); /* the threads' rows lie in one block */
    if (p->plan.memory == NULL) {
        return NN_NO_MEMORY;
    }
    nn_team_run(num_threads, predict, p);
    nn_plan_free(&p->plan);
    return p->stop;
}

int nn_predict(NeuralNetwork nn, Matrix in, Matrix out, NNMachine machine, NNMonitor *monitor)
{
    Prediction p = {.samples = {.x = in}, .out = out, .monitor = monitor};
    return run(&p, nn, machine);
}

int nn_layer_outputs(NeuralNetwork nn, Matrix in, const Matrix *layers, NNMachine machine, NNMonitor *monitor)
{
    Prediction p = {.samples = {.x = in}, .layers = layers, .monitor = monitor};
    return run(&p, nn, machine);
}

int nn_evaluate(NeuralNetwork nn, NNSamples samples, double *cost, NNMachine machine, NNMonitor *monitor)
{
    Prediction p = {.samples = samples, .monitor = monitor};
    size_t num = samples.x.rows, num_blocks = (num + BLOCK - 1) / BLOCK;
    double sum = 0;
    int code;

    p.costs = (double *)malloc(num_blocks * sizeof(double));
    if (p.costs == NULL) {
        return NN_NO_MEMORY;
    }
    code = run(&p, nn, machine);
    for (size_t i = 0; i < num_blocks && code == NN_OK; i++) {
        sum += p.costs[i];
    }
    *cost = sum / (double)num;
    free(p.costs);
    return code;
}
