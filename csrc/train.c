/* train.c: gradients and training, by batches. See engine.h; the steps are in step.c, the tiny networks of tiny.h are trained in
 * tiny.c. */
#include <math.h>
#include <string.h>

#include "step.h"
#include "tiny.h"

#ifndef MAX_BLOCK /* the tests make do with a few */
#define MAX_BLOCK 1024
#define MIN_BLOCK 64
#endif
#define WORK_OF_A_BLOCK ((size_t)3 << 29) /* multiply-adds of a forward pass: a poll comes often enough */

/* ---- What is the same for all threads ---- */

/* The constants of a step. The powers are products in double precision: pow is each library's own. */
static void prepare_step(Training *t, NNOptimizer *o, double rate)
{
    NNStep step = {.kind = o->kind, .nesterov = o->nesterov, .scale = 1, .l2 = (float)o->l2, .keep = (float)(1 - rate * o->weight_decay),
                   .rate = (float)rate, .epsilon = (float)o->epsilon, .beta1 = (float)o->beta1, .beta2 = (float)o->beta2,
                   .one_minus_beta1 = (float)(1 - o->beta1), .one_minus_beta2 = (float)(1 - o->beta2), .eta_minus = (float)o->eta_minus,
                   .eta_plus = (float)o->eta_plus, .min_step = (float)o->min_step, .max_step = (float)o->max_step};
    if (o->kind == NN_ADAM) {
        o->beta1_power *= o->beta1;
        o->beta2_power *= o->beta2;
        step.rate = (float)(rate / (1 - o->beta1_power));
        step.root = (float)(1 / sqrt(1 - o->beta2_power));
    }
    t->step = t->bias_step = step;
    t->bias_step.l2 = 0;
    t->bias_step.keep = 1;
}

/* What the derivative of a sample's cost is multiplied with. The kernel leaves out the 2 of the squared error. */
static float scale_of(const Training *t, size_t num, double rate)
{
    double factor = t->plan.nn.loss.kind == NN_MSE ? 2 : 1;
    return (float)(factor * (t->is_direct ? -rate : 1) / (double)num);
}

/* As many samples at a time as a step has, but not so many that a poll would come late. */
static size_t block_for(NeuralNetwork nn, size_t step_size, const NNKernels *kernels)
{
    size_t work = kernels->is_slow ? WORK_OF_A_BLOCK / 64 : WORK_OF_A_BLOCK;
    size_t block = work / nn_work(nn);
    block = block < MIN_BLOCK ? MIN_BLOCK : block > MAX_BLOCK ? MAX_BLOCK : block;
    return block < step_size ? block : step_size;
}

/* ---- The gradient ---- */

typedef struct {
    Training t;
    double cost; /* summed up */
} Gradient;

static void gradient(void *context, NNTeam *team, int number)
{
    Gradient *g = (Gradient *)context;
    size_t num = g->t.samples.x.rows;
    Step step = {0, num, scale_of(&g->t, num, 0)};
    nn_do_step(&g->t, step, &g->cost, team, number);
}

int nn_gradient(NeuralNetwork nn, NeuralNetwork grad, Matrix input_grad, NNSamples samples, double *cost, NNBackend backend,
                NNMonitor *monitor)
{
    Gradient g = {.t = {.samples = samples, .monitor = monitor, .unchecked = 1, .input_grad = input_grad}};
    size_t num = samples.x.rows;
    const NNKernels *kernels = nn_kernels_available(backend.isa);
    size_t block = block_for(nn, num, kernels);
    int num_threads = nn_worthwhile_threads(nn, block, num, backend.num_threads);
    int what = NN_WORKSPACE_DELTAS | NN_WORKSPACE_GRADIENT | (input_grad.data != NULL ? NN_WORKSPACE_INPUT_DELTA : 0);

    g.t.plan = nn_workspace_alloc(nn, kernels, block, num_threads, what);
    if (g.t.plan.memory == NULL) {
        return NN_NO_MEMORY;
    }
    nn_team_run(num_threads, gradient, &g);
    if (!g.t.stop) {
        nn_unpack(&g.t.plan, NN_PACK_GRADIENT, grad.weights[0].data);
        *cost = g.cost / (double)num;
    }
    nn_workspace_free(&g.t.plan);
    return g.t.stop;
}

/* ---- Training ---- */

/* A call of nn_train, as its threads see it; `limit` steps at the most. */
typedef struct {
    Training t;
    NNOptimizer *optimizer;
    NNTrainOptions options;
    size_t limit;
} Run;

static void begin_epoch(Run *r, size_t epoch)
{
    const NNTrainOptions *options = &r->options;
    if (r->t.order != NULL) {
        nn_shuffle(r->t.order, r->t.samples.x.rows, options->seed, options->first_epoch + epoch);
    }
    r->t.dropout_seed = nn_random(~options->seed, options->first_epoch + epoch);
}

static void end_epoch(Run *r, size_t epoch, double cost)
{
    r->t.unchecked = 0;
    r->t.monitor->done++;
    if (r->options.losses != NULL) {
        r->options.losses[epoch] = (float)(cost / (double)r->t.samples.x.rows);
    }
}

static void train(void *context, NNTeam *team, int number)
{
    Run *r = (Run *)context;
    size_t num_samples = r->t.samples.x.rows, size = r->options.batch_size, num_steps = 0;

    for (size_t epoch = 0; epoch < r->options.num_epochs; epoch++) {
        double cost = 0;
        if (number == 0) {
            begin_epoch(r, epoch);
        }
        nn_team_wait(team);
        for (size_t first = 0; first < num_samples; first += size) {
            size_t left = num_samples - first;
            double rate = r->options.learning_rates == NULL ? r->optimizer->learning_rate : r->options.learning_rates[num_steps];
            double beta1_power = number == 0 ? r->optimizer->beta1_power : 0, beta2_power = number == 0 ? r->optimizer->beta2_power : 0;
            Step step = {first, left < size ? left : size, 0};
            if (num_steps == r->limit) {
                return;
            }
            step.scale = scale_of(&r->t, step.size, rate);
            if (number == 0 && !r->t.is_direct) {
                prepare_step(&r->t, r->optimizer, rate); /* read after the barriers of the forward pass */
            }
            if (nn_do_step(&r->t, step, r->options.losses == NULL ? NULL : &cost, team, number)) {
                if (number == 0) { /* the step is not taken */
                    r->optimizer->beta1_power = beta1_power;
                    r->optimizer->beta2_power = beta2_power;
                }
                return;
            }
            num_steps++;
            if (number == 0) {
                r->t.monitor->num_steps = num_steps;
            }
        }
        if (number == 0) {
            end_epoch(r, epoch, cost);
        }
    }
}

static int are_finite(const NNWorkspace *plan)
{
    int finite = 1;
    for (size_t l = 0; l < plan->num_layers; l++) {
        const NNLayer *layer = &plan->layers[l];
        finite = finite && plan->kernels->are_finite(layer->w, layer->num_weights);
        finite = finite && plan->kernels->are_finite(layer->b, layer->padded);
    }
    return finite;
}

/* Makes a plan for the training; the order where there is one. NN_OK or NN_NO_MEMORY. */
static int make_plan(Run *r, NeuralNetwork nn, NNBackend backend)
{
    const NNOptimizer *o = r->optimizer;
    size_t num = r->t.samples.x.rows, step_size = r->options.batch_size < num ? r->options.batch_size : num;
    const NNKernels *kernels = nn_kernels_available(backend.isa);
    size_t block = block_for(nn, step_size, kernels);
    size_t num_epochs = r->options.num_epochs < 1000 ? r->options.num_epochs : 1000; /* that is enough to start threads for */
    int num_threads = nn_worthwhile_threads(nn, block, num * num_epochs, backend.num_threads);
    int what = NN_WORKSPACE_DELTAS;

    what |= !r->t.is_direct ? NN_WORKSPACE_GRADIENT | NN_WORKSPACE_MOMENTS : block < step_size ? NN_WORKSPACE_GRADIENT : 0;
    what |= r->t.dropout != NULL ? NN_WORKSPACE_DROPOUT : 0;
    what |= r->t.clip > 0 ? NN_WORKSPACE_SQUARES : 0;
    r->t.plan = nn_workspace_alloc(nn, kernels, block, num_threads, what);
    if (r->options.shuffle) {
        r->t.order = (size_t *)malloc(num * sizeof(size_t));
    }
    if (r->t.plan.memory == NULL || (r->options.shuffle && r->t.order == NULL)) {
        nn_workspace_free(&r->t.plan);
        free(r->t.order);
        return NN_NO_MEMORY;
    }
    if (!r->t.is_direct) {
        nn_pack(&r->t.plan, NN_PACK_M, o->state);
        nn_pack(&r->t.plan, NN_PACK_V, o->state + nn_num_parameters(nn));
    }
    return NN_OK;
}

/* Takes `limit` steps at the most. The network and the optimizer are changed if `keep` says so and the parameters are finite. */
static int attempt(const NNTraining *call, size_t limit, int keep, int *finite, NNMonitor *monitor)
{
    NNOptimizer *o = call->optimizer;
    Run r = {.t = {.samples = call->samples, .monitor = monitor, .takes_steps = 1, .clip = o->clip_norm,
                   .dropout = call->options.dropout, .unchecked = !call->options.inputs_checked},
             .optimizer = o, .options = call->options, .limit = limit};
    double beta1_power = o->beta1_power, beta2_power = o->beta2_power;

    r.t.is_direct = nn_is_plain(o);
    *finite = 1;
    if (make_plan(&r, call->nn, call->backend) != NN_OK) {
        return NN_NO_MEMORY;
    }
    nn_team_run(r.t.plan.num_threads, train, &r);
    if (r.t.stop != NN_NOT_FINITE) {
        *finite = are_finite(&r.t.plan);
    }
    if (r.t.stop != NN_NOT_FINITE && keep && *finite) {
        nn_unpack(&r.t.plan, NN_PACK_PARAMETERS, call->nn.weights[0].data);
        if (!r.t.is_direct) {
            nn_unpack(&r.t.plan, NN_PACK_M, o->state);
            nn_unpack(&r.t.plan, NN_PACK_V, o->state + nn_num_parameters(call->nn));
        }
    } else {
        o->beta1_power = beta1_power;
        o->beta2_power = beta2_power;
    }
    nn_workspace_free(&r.t.plan);
    free(r.t.order);
    return r.t.stop != NN_OK ? r.t.stop : r.t.diverged ? NN_DIVERGED : NN_OK;
}

static int any_attempt(const NNTraining *call, size_t limit, int keep, int *finite, NNMonitor *monitor)
{
    int is_tiny = nn_is_tiny(call);
    monitor->done = monitor->num_steps = 0;
    return (is_tiny ? nn_attempt_tiny : attempt)(call, limit, keep, finite, monitor);
}

/* After so many steps the parameters are no longer finite. A training can be repeated: look for the last step after which they
 * were, by going back in growing strides and then halving. What is not finite once stays so. */
static int go_back(const NNTraining *call, size_t num_steps, NNMonitor *monitor)
{
    size_t low = 0, high = num_steps, stride = 1; /* finite after low steps, not after high */
    int finite, code;
    while (high - low > 1) {
        size_t half = (high - low + 1) / 2, probe = high - (stride < half ? stride : half);
        code = any_attempt(call, probe, 0, &finite, monitor);
        if (code == NN_STOPPED || code == NN_NO_MEMORY) {
            monitor->done = monitor->num_steps = 0;
            return code;
        }
        low = finite ? probe : low;
        high = finite ? high : probe;
        stride *= 2;
    }
    code = any_attempt(call, low, 1, &finite, monitor);
    return code == NN_STOPPED || code == NN_NO_MEMORY ? code : NN_DIVERGED;
}

int nn_train(NeuralNetwork nn, NNSamples samples, NNOptimizer *optimizer, NNTrainOptions options, NNBackend backend,
             NNMonitor *monitor)
{
    NNTraining call = {nn, samples, optimizer, options, backend};
    int finite, code = any_attempt(&call, SIZE_MAX, 1, &finite, monitor);
    return finite ? code : go_back(&call, monitor->num_steps, monitor);
}
