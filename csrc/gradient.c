/* gradient.c: see gradient.h; and nn_gradient of engine.h. */
#include "gradient.h"

#include "ieee754.h"
#include "monitor.h"
#include "scaling.h"

int nn_gradient_alloc(NNGradient *g, NeuralNetwork nn, NNSamples samples, Matrix input_grad, int is_repeated, NNBackend backend,
                      NNMonitor *monitor)
{
    const NNKernels *kernels = nn_kernels_available(backend.isa);
    size_t num = nn_num_samples(&samples), block = nn_choose_block(nn, num, kernels);
    int contents = NN_WORKSPACE_DELTAS | NN_WORKSPACE_GRADIENT | (input_grad.data != NULL ? NN_WORKSPACE_INPUT_DELTA : 0);
    int is_scaled = samples.scaler.x_mean != NULL || samples.scaler.y_mean != NULL;
    size_t num_kept = is_repeated && is_scaled ? nn_num_kept(nn, &samples) : 0;
    NNGradient new_one = {.step = {.samples = samples, .monitor = monitor, .checks_inputs = 1, .input_grad = input_grad}};

    *g = new_one;
    g->num_threads = nn_worthwhile_threads(nn_work_per_sample(nn), block, num, backend.num_threads);
    g->step.ws = nn_workspace_alloc(nn, kernels, block, g->num_threads, contents, samples.scaler, num_kept);
    if (g->step.ws.memory == NULL) {
        return NN_NO_MEMORY;
    }
    nn_scale_kept(&g->step.ws, &samples);
    return NN_OK;
}

void nn_gradient_free(NNGradient *g)
{
    nn_workspace_free(&g->step.ws);
}

/* The function that each thread runs. */
static void compute_gradient(void *context, NNTeam *team, int thread_index)
{
    NNGradient *g = (NNGradient *)context;
    size_t num = nn_num_samples(&g->step.samples);
    NNMiniBatch all = {0, num, nn_delta_scale(&g->step, num, 0)};
    nn_take_step(&g->step, all, &g->sum_losses, team, thread_index);
}

int nn_gradient_compute(NNGradient *g, NeuralNetwork grad, double *loss)
{
    NNStepContext *c = &g->step;
    size_t num = nn_num_samples(&c->samples);

    g->sum_losses = 0;
    c->has_diverged = 0;
    nn_team_run(g->num_threads, compute_gradient, g);
    if (c->stop_code != NN_OK) {
        return c->stop_code;
    }
    nn_unpack(&c->ws, NN_PACK_GRADIENT, grad.weights[0].data);
    nn_canonicalize(c->ws.kernels, grad.weights[0].data, nn_num_parameters(grad));
    for (size_t i = 0; c->input_grad.data != NULL && i < num; i++) {
        nn_canonicalize(c->ws.kernels, &MAT_AT(c->input_grad, i, 0), c->input_grad.cols);
    }
    *loss = nn_canonical(g->sum_losses / (double)num);
    c->checks_inputs = 0;
    return NN_OK;
}

static NN_NOINLINE int gradient(NeuralNetwork nn, NeuralNetwork grad, Matrix input_grad, NNSamples samples, double *loss,
                                NNBackend backend, NNMonitor *monitor)
{
    NNGradient g;
    int code = nn_gradient_alloc(&g, nn, samples, input_grad, 0, backend, monitor);
    if (code == NN_OK) {
        code = nn_gradient_compute(&g, grad, loss);
        nn_gradient_free(&g);
    }
    return code;
}

int nn_gradient(NeuralNetwork nn, NeuralNetwork grad, Matrix input_grad, NNSamples samples, double *loss, NNBackend backend,
                NNMonitor *monitor)
{
    NNFloatEnvironment caller = nn_enter_float_environment();
    int code = gradient(nn, grad, input_grad, samples, loss, backend, monitor);
    nn_leave_float_environment(caller);
    return code;
}
