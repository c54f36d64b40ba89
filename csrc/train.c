/* train.c: nn_train of engine.h: the loop over epochs and mini-batches, and the search for the last finite parameters when training
 * diverges. A single step is in step.c; tiny networks are trained in tiny.c. */
#include <math.h>
#include <string.h>

#include "elastic_team.h"
#include "ieee754.h"
#include "monitor.h"
#include "scaling.h"
#include "step.h"
#include "tiny.h"

#define EPOCHS_WORTH_THREADS ((size_t)1000)  /* the most epochs that count in the choice of threads; avoids an overflow */
#define MAX_KEPT ((size_t)1 << 20)           /* bytes of a workspace: larger ones are allocated in a small part of the time of a call */
#define MAX_CHECKED_TOGETHER 64              /* inputs of a sample */
#define MAX_FLOATS_CHECKED_TOGETHER ((size_t)1 << 24) /* some milliseconds, in which nobody can stop the call */

/* ---- The training loop ---- */

typedef struct {
    NNStepContext step;
    NNOptimizer *optimizer;
    NNTrainOptions options;
    size_t max_steps;
    NNElasticTeam elastic;
} TrainingLoop;

/* Advances the powers of beta1 and beta2 and sets the constants of the next parameter update. Only thread 0 calls it; the others
 * read the constants after the barriers of the forward pass. (The powers are products in double precision, because pow differs
 * between C libraries.) */
static void prepare_update(NNStepContext *c, NNOptimizer *o, double learning_rate, size_t batch_size)
{
    double l2 = o->l2_of_batch ? o->l2 / (double)batch_size : o->l2;
    NNUpdateConstants update = {.kind = o->kind,
                                .nesterov = o->nesterov,
                                .gradient_scale = 1,
                                .l2 = (float)l2,
                                .weight_decay_factor = (float)(1 - learning_rate * o->weight_decay),
                                .learning_rate = (float)learning_rate,
                                .epsilon = (float)o->epsilon,
                                .beta1 = (float)o->beta1,
                                .one_minus_beta1 = (float)(1 - o->beta1),
                                .beta2 = (float)o->beta2,
                                .one_minus_beta2 = (float)(1 - o->beta2),
                                .eta_minus = (float)o->eta_minus,
                                .eta_plus = (float)o->eta_plus,
                                .min_step = (float)o->min_step,
                                .max_step = (float)o->max_step};
    if (o->kind == NN_ADAM) { /* the bias correction of both moments */
        o->beta1_power *= o->beta1;
        o->beta2_power *= o->beta2;
        update.learning_rate = (float)(learning_rate / (1 - o->beta1_power));
        update.bias_correction2 = (float)(1 / sqrt(1 - o->beta2_power));
        if (o->epsilon_before_correction) {
            update.epsilon = (float)(o->epsilon / sqrt(1 - o->beta2_power));
        }
    }
    c->weight_update = c->bias_update = update;
    c->bias_update.l2 = 0;
    c->bias_update.weight_decay_factor = 1;
}

/* Sets the order of the samples and the seed of dropout. Only thread 0 calls it. */
static void begin_epoch(TrainingLoop *loop, size_t epoch)
{
    const NNTrainOptions *options = &loop->options;
    if (loop->step.order != NULL) {
        nn_shuffle(loop->step.order, nn_num_samples(&loop->step.samples), options->seed, options->first_epoch + epoch);
    }
    loop->step.dropout_seed = nn_random(~options->seed, options->first_epoch + epoch);
}

/* Reports the mean loss, and counts the epoch. Only thread 0 calls it. */
static void end_epoch(TrainingLoop *loop, size_t epoch, double sum_losses)
{
    loop->step.checks_inputs = 0;
    loop->step.monitor->done++;
    if (loop->options.losses != NULL) {
        loop->options.losses[epoch] = (float)nn_canonical(sum_losses / (double)nn_num_samples(&loop->step.samples));
    }
}

/* Takes step number num_steps, on up to batch_size samples from position `first` of the epoch on. Returns 0, or 1 if the training
 * has to stop; then the step has not been taken. */
static int train_step(TrainingLoop *loop, size_t first, size_t num_steps, double *sum_losses, NNTeam *team, int thread_index)
{
    NNOptimizer *o = loop->optimizer;
    double learning_rate = loop->options.learning_rates == NULL ? o->learning_rate : loop->options.learning_rates[num_steps];
    double beta1_power = thread_index == 0 ? o->beta1_power : 0, beta2_power = thread_index == 0 ? o->beta2_power : 0;
    NNMiniBatch batch = {first, nn_min(nn_num_samples(&loop->step.samples) - first, loop->options.batch_size), 0};

    batch.delta_scale = nn_delta_scale(&loop->step, batch.size, learning_rate);
    if (thread_index == 0 && !loop->step.updates_in_place) {
        prepare_update(&loop->step, o, learning_rate, batch.size);
    }
    if (nn_take_step(&loop->step, batch, sum_losses, team, thread_index)) {
        if (thread_index == 0) {
            o->beta1_power = beta1_power;
            o->beta2_power = beta2_power;
        }
        return 1;
    }
    if (thread_index == 0) {
        loop->step.monitor->num_steps = num_steps + 1;
    }
    return 0;
}

/* The function that each thread of nn_train runs: all run the same loop, but may rest for some steps. */
static void run_training_loop(void *context, NNTeam *team, int thread_index)
{
    TrainingLoop *loop = (TrainingLoop *)context;
    size_t num_samples = nn_num_samples(&loop->step.samples);
    NNPosition at = {0, 0, 0};
    double sum_losses = 0, *losses = loop->options.losses == NULL ? NULL : &sum_losses;
    int seen = 0, goes_on = loop->options.num_epochs > 0;

    while (goes_on) {
        if (at.first == 0) {
            sum_losses = 0;
            if (thread_index == 0) {
                begin_epoch(loop, at.epoch);
            }
            nn_team_barrier(team);
        }
        if (thread_index == 0) {
            nn_elastic_before_step(&loop->elastic, team, at.num_steps);
        }
        if (at.num_steps == loop->max_steps || train_step(loop, at.first, at.num_steps, losses, team, thread_index)) {
            break;
        }
        at.num_steps++;
        at.first += loop->options.batch_size;
        if (at.first >= num_samples) {
            if (thread_index == 0) {
                end_epoch(loop, at.epoch, sum_losses);
            }
            at.first = 0;
            at.epoch++;
        }
        goes_on = at.epoch < loop->options.num_epochs && nn_elastic_after_step(&loop->elastic, team, thread_index, &at, &seen);
    }
    if (thread_index == 0) {
        nn_elastic_end(&loop->elastic, team);
    }
}

/* ---- A run of the training loop, and the runs of a call that diverges (see NNAttempt) ---- */

/* Allocates the workspace, if none is kept, and, for shuffling, the order of the samples; packs the optimiser's state, and scales the
 * samples if they are few. Returns NN_OK or NN_NO_MEMORY. */
static int allocate(TrainingLoop *loop, NeuralNetwork nn, NNBackend backend, NNWorkspace *kept)
{
    NNStepContext *c = &loop->step;
    const NNOptimizer *o = loop->optimizer;
    size_t num = nn_num_samples(&c->samples), batch_size = nn_min(loop->options.batch_size, num);
    const NNKernels *kernels = nn_kernels_available(backend.isa);
    size_t block = nn_choose_block(nn, batch_size, kernels);
    size_t num_epochs = nn_min(loop->options.num_epochs, EPOCHS_WORTH_THREADS);
    int num_threads = nn_worthwhile_threads(nn_work_per_sample(nn), block, num * num_epochs, backend.num_threads);
    int contents = NN_WORKSPACE_DELTAS, is_scaled = c->samples.scaler.x_mean != NULL || c->samples.scaler.y_mean != NULL;
    size_t num_kept = is_scaled && num_epochs > 1 ? nn_num_kept(nn, &c->samples) : 0;

    if (!c->updates_in_place) {
        contents |= NN_WORKSPACE_GRADIENT | NN_WORKSPACE_STATE;
    } else if (block < batch_size) {
        contents |= NN_WORKSPACE_GRADIENT;
    }
    contents |= c->dropout != NULL ? NN_WORKSPACE_DROPOUT : 0;
    contents |= c->clip_norm > 0 ? NN_WORKSPACE_NORM : 0;
    c->ws = nn_workspace_reuse(kept, nn, kernels, block, num_threads, contents, c->samples.scaler, num_kept);
    if (loop->options.shuffle) {
        c->order = (size_t *)malloc(num * sizeof(size_t));
    }
    if (c->ws.memory == NULL || (loop->options.shuffle && c->order == NULL)) {
        nn_workspace_free(&c->ws);
        free(c->order);
        return NN_NO_MEMORY;
    }
    nn_scale_kept(&c->ws, &c->samples);
    if (!c->updates_in_place) {
        nn_pack(&c->ws, NN_PACK_M, o->state);
        nn_pack(&c->ws, NN_PACK_V, o->state + nn_num_parameters(nn));
    }
    return NN_OK;
}

/* Copies the parameters and the optimiser's state from the workspace to the caller. */
static void store_result(const TrainingLoop *loop, NeuralNetwork nn)
{
    nn_unpack(&loop->step.ws, NN_PACK_PARAMETERS, nn.weights[0].data);
    if (!loop->step.updates_in_place) {
        nn_unpack(&loop->step.ws, NN_PACK_M, loop->optimizer->state);
        nn_unpack(&loop->step.ws, NN_PACK_V, loop->optimizer->state + nn_num_parameters(nn));
    }
}

/* Does the same as nn_train_tiny, for calls of every kind. */
static int train_in_batches(const NNTrainCall *call, NNAttempt *attempt, NNMonitor *monitor)
{
    NNOptimizer *o = call->optimizer;
    TrainingLoop loop = {.step = {.samples = call->samples, .monitor = monitor, .updates_parameters = 1,
                                  .updates_in_place = nn_can_update_in_place(o), .clip_norm = o->clip_norm,
                                  .dropout = call->options.dropout, .checks_inputs = !call->options.inputs_checked},
                         .optimizer = o, .options = call->options, .max_steps = attempt->max_steps,
                         .elastic = {.is_fixed = call->backend.num_threads < 0, .rests_from = -1}};
    double beta1_power = o->beta1_power, beta2_power = o->beta2_power;

    attempt->is_finite = 1;
    if (allocate(&loop, call->nn, call->backend, call->kept) != NN_OK) {
        return NN_NO_MEMORY;
    }
    nn_team_run(loop.step.ws.num_threads, run_training_loop, &loop);
    if (loop.step.stop_code == NN_NOT_FINITE) {
        monitor->done = monitor->num_steps = 0; /* the steps before are discarded */
    } else {
        attempt->is_finite = nn_parameters_finite(&loop.step.ws);
    }
    if (loop.step.stop_code != NN_NOT_FINITE && attempt->keeps_result && attempt->is_finite) {
        store_result(&loop, call->nn);
    } else {
        o->beta1_power = beta1_power;
        o->beta2_power = beta2_power;
    }
    if (call->kept != NULL && loop.step.ws.size <= MAX_KEPT && attempt->is_finite && loop.step.stop_code == NN_OK &&
        !loop.step.has_diverged) {
        *call->kept = loop.step.ws; /* its padding still is 0 */
    } else {
        nn_workspace_free(&loop.step.ws);
    }
    free(loop.step.order);
    return loop.step.stop_code != NN_OK ? loop.step.stop_code : loop.step.has_diverged ? NN_DIVERGED : NN_OK;
}

static int attempt_training(const NNTrainCall *call, NNAttempt *attempt, NNMonitor *monitor)
{
    monitor->done = monitor->num_steps = 0;
    return nn_is_tiny(call) ? nn_train_tiny(call, attempt, monitor) : train_in_batches(call, attempt, monitor);
}

/* Called when the parameters are not finite after num_steps steps. Finds the last step after which they are finite, and trains up
 * to there. A run can be repeated with the same bits, and parameters that are not finite stay so: the search goes back from the end
 * in growing strides and then bisects. */
static int return_to_last_finite_step(const NNTrainCall *call, size_t num_steps, NNMonitor *monitor)
{
    size_t finite_steps = 0, nonfinite_steps = num_steps, stride = 1;
    NNAttempt last = {0, 1, 1};
    int code;
    while (nonfinite_steps - finite_steps > 1) {
        size_t half = nn_divide_up(nonfinite_steps - finite_steps, 2);
        NNAttempt probe = {nonfinite_steps - nn_min(stride, half), 0, 1};
        code = attempt_training(call, &probe, monitor);
        if (code == NN_STOPPED || code == NN_NO_MEMORY) {
            monitor->done = monitor->num_steps = 0;
            return code;
        }
        *(probe.is_finite ? &finite_steps : &nonfinite_steps) = probe.max_steps;
        stride *= 2;
    }
    last.max_steps = finite_steps;
    code = attempt_training(call, &last, monitor);
    return code == NN_STOPPED || code == NN_NO_MEMORY ? code : NN_DIVERGED;
}

/* Whether the inputs are so short that a check for each sample would take long, and lie together, so that one check of all is quick. */
static int are_checked_together(const NNSamples *samples)
{
    Matrix x = samples->x;
    return samples->rows == NULL && samples->scaler.x_mean == NULL && x.stride == x.cols && x.cols <= MAX_CHECKED_TOGETHER &&
           x.rows <= MAX_FLOATS_CHECKED_TOGETHER / x.cols;
}

static NN_NOINLINE int train(NeuralNetwork nn, NNSamples samples, NNOptimizer *optimizer, NNTrainOptions options, NNBackend backend,
                             NNWorkspace *kept, NNMonitor *monitor)
{
    NNTrainCall call = {nn, samples, optimizer, options, backend, kept};
    NNAttempt whole = {SIZE_MAX, 1, 1};
    int code;
    if (!options.inputs_checked && are_checked_together(&samples)) {
        if (!nn_kernels_available(backend.isa)->all_finite(samples.x.data, samples.x.rows * samples.x.cols)) {
            monitor->done = monitor->num_steps = 0;
            return NN_NOT_FINITE;
        }
        call.options.inputs_checked = 1;
    }
    code = attempt_training(&call, &whole, monitor);
    return whole.is_finite ? code : return_to_last_finite_step(&call, monitor->num_steps, monitor);
}

/* Whether a table of num floats shares memory with the parameters. */
static int is_among_parameters(NeuralNetwork nn, const void *table, size_t num)
{
    uintptr_t parameters = (uintptr_t)nn.weights[0].data, first = (uintptr_t)table;
    return first < parameters + nn_num_parameters(nn) * sizeof(float) && parameters < first + num * sizeof(float);
}

/* Returns a copy of num labels of that size, which the caller frees; NULL if one is not below num_classes, or if memory ran out. */
static int32_t *copy_labels(const void *labels, size_t label_size, size_t num, size_t num_classes)
{
    int32_t *copy = (int32_t *)malloc(num * sizeof(int32_t));
    int all_inside = 1;
    for (size_t i = 0; copy != NULL && i < num; i++) {
        int64_t label = label_size == 1   ? ((const uint8_t *)labels)[i]
                        : label_size == 4 ? ((const int32_t *)labels)[i]
                                          : ((const int64_t *)labels)[i];
        all_inside = all_inside && 0 <= label && (uint64_t)label < num_classes;
        copy[i] = (int32_t)label;
    }
    if (!all_inside) {
        free(copy);
        return NULL;
    }
    return copy;
}

/* Does what nn_train_few does, for samples that are known to be few and checked. */
static int train_checked(NNTrainer *trainer, NNSamples samples)
{
    NNBackend backend = {trainer->isa, 1};
    NNTrainOptions options = trainer->options;
    NNMonitor monitor = nn_silent_monitor();
    int code;
    options.shuffle = options.shuffle && options.batch_size < samples.x.rows;
    if (trainer->kept == NULL && (trainer->kept = calloc(1, sizeof(NNWorkspace))) == NULL) {
        return NN_REFUSED;
    }
    code = train(trainer->nn, samples, trainer->optimizer, options, backend, (NNWorkspace *)trainer->kept, &monitor);
    trainer->num_steps = monitor.num_steps;
    return code == NN_OK || code == NN_DIVERGED ? code : NN_REFUSED;
}

static NN_NOINLINE int train_few(NNTrainer *trainer, NNSamples samples, const void *y)
{
    NeuralNetwork nn = trainer->nn;
    size_t num_outputs = nn.archi[nn.num_layers];
    int32_t *labels = NULL;
    int code = NN_REFUSED;
    if (!nn_kernels_available(trainer->isa)->all_finite(nn.weights[0].data, nn_num_parameters(nn))) {
        return NN_REFUSED;
    }
    if (trainer->label_size > 0) {
        samples.labels = labels = copy_labels(y, trainer->label_size, samples.x.rows, num_outputs);
        samples.y.data = NULL;
    }
    if (labels != NULL || (trainer->label_size == 0 && nn_first_outside(samples.y, trainer->low, trainer->high, 0) ==
                                                           samples.y.rows * samples.y.cols)) {
        code = train_checked(trainer, samples);
    }
    free(labels);
    return code;
}

int nn_train_few(NNTrainer *trainer, const void *x, const void *y, size_t num_samples)
{
    NeuralNetwork nn = trainer->nn;
    size_t num_inputs = nn.archi[0], num_outputs = nn.archi[nn.num_layers];
    size_t y_size = trainer->label_size > 0 ? trainer->label_size : sizeof(float);
    Matrix inputs = {num_samples, num_inputs, num_inputs, (float *)(uintptr_t)x}; /* the casts remove const; both are only read */
    Matrix targets = {num_samples, num_outputs, num_outputs, (float *)(uintptr_t)y};
    NNSamples samples = {.x = inputs, .y = targets, .scaler = trainer->scaler};
    NNFloatEnvironment caller;
    int code;
    if (num_samples == 0 || trainer->options.num_epochs > SIZE_MAX / num_samples ||
        !nn_are_few(nn, trainer->options.num_epochs * num_samples) || (uintptr_t)x % sizeof(float) != 0 ||
        (uintptr_t)y % y_size != 0 || is_among_parameters(nn, x, num_samples * num_inputs) ||
        (trainer->label_size == 0 && is_among_parameters(nn, y, num_samples * num_outputs))) {
        return NN_REFUSED;
    }
    caller = nn_enter_float_environment();
    code = train_few(trainer, samples, y);
    nn_leave_float_environment(caller);
    return code;
}

void nn_trainer_free(NNTrainer *trainer)
{
    if (trainer->kept != NULL) {
        nn_workspace_free((NNWorkspace *)trainer->kept);
    }
    free(trainer->kept);
    trainer->kept = NULL;
}

int nn_train(NeuralNetwork nn, NNSamples samples, NNOptimizer *optimizer, NNTrainOptions options, NNBackend backend,
             NNMonitor *monitor)
{
    NNFloatEnvironment caller = nn_enter_float_environment();
    int code = train(nn, samples, optimizer, options, backend, NULL, monitor);
    nn_leave_float_environment(caller);
    return code;
}
