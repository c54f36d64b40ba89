/* lbfgs.c: nn_lbfgs of engine.h: L-BFGS with a line search for the strong Wolfe conditions. The gradient comes from gradient.c in
 * single precision, by all threads; everything else is double precision, by one thread, in the order of the parameters. Where the
 * literature leaves a choice, it is that of PyTorch's LBFGS, which the tests compare it with. */
#include <math.h>
#include <string.h>

#include "gradient.h"
#include "ieee754.h"
#include "l2_penalty.h"
#include "monitor.h"

#define SUFFICIENT_DECREASE 1e-4 /* c1 of the Wolfe conditions */
#define CURVATURE 0.9            /* c2 */
#define MIN_CHANGE 1e-9          /* of a parameter, below which the line search gives up */
#define MIN_CURVATURE 1e-10      /* of a pair (s, y): the least s^T y */
#define MAX_EVALUATIONS 25       /* in one line search */

/* The vectors in NNLbfgs.memory, each (num_parameters,): GRADIENT to START, then the pairs of the history, s_0, y_0, s_1, y_1, ...,
 * then the scratch vectors. They are followed by the factors of the two-loop recursion, (history_size,). */
enum { GRADIENT, DIRECTION, PREVIOUS_GRADIENT, START, FIRST_PAIR };
enum { SCRATCH_PREVIOUS, SCRATCH_POINT, SCRATCH_ZOOM, SCRATCH_S, SCRATCH_Y, NUM_SCRATCH };

typedef struct {
    NeuralNetwork nn, grad;
    NNLbfgs *state;
    NNMonitor *monitor;
    size_t num_parameters;
    NNGradient *gradient;
} Lbfgs;

size_t nn_lbfgs_size(size_t num_parameters, size_t history_size)
{
    size_t num_vectors = FIRST_PAIR + NUM_SCRATCH + 2 * history_size;
    size_t too_many = SIZE_MAX / sizeof(double) / (num_vectors + 1);
    return num_parameters > too_many ? 0 : num_vectors * num_parameters + history_size;
}

/* Returns a vector of NNLbfgs.memory, (num_parameters,): GRADIENT, DIRECTION, ... */
static double *vector(const Lbfgs *o, size_t index)
{
    return o->state->memory + index * o->num_parameters;
}

/* Returns a scratch vector, (num_parameters,): SCRATCH_PREVIOUS, ... */
static double *scratch_vector(const Lbfgs *o, size_t index)
{
    return vector(o, FIRST_PAIR + 2 * o->state->history_size + index);
}

/* Returns the vector s of pair number `pair`, counted from the first iteration. The vector y of the pair follows it. */
static double *pair_vectors(const Lbfgs *o, size_t pair)
{
    return vector(o, FIRST_PAIR + 2 * (pair % o->state->history_size));
}

static double dot(const double *a, const double *b, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += a[i] * b[i];
    }
    return sum;
}

/* a += factor b */
static void add_scaled(double *a, double factor, const double *b, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        a[i] += factor * b[i];
    }
}

/* Sets the parameters of the network to START + t DIRECTION; to START if t is 0, even if the direction is infinite. */
static void set_parameters(const Lbfgs *o, double t)
{
    const double *start = vector(o, START), *direction = vector(o, DIRECTION);
    for (size_t i = 0; i < o->num_parameters; i++) {
        o->nn.weights[0].data[i] = (float)(t == 0 ? start[i] : start[i] + t * direction[i]);
    }
}

/* Computes the loss with the l2 penalty, and its gradient g, (num_parameters,), at START + t DIRECTION. Where the gradient does not
 * fit into float32 the loss is infinite, so that no search goes there. Returns a code. */
static int evaluate(const Lbfgs *o, double t, double *loss, double *g)
{
    int code;
    set_parameters(o, t);
    nn_pack(&o->gradient->step.ws, NN_PACK_PARAMETERS, o->nn.weights[0].data);
    code = nn_gradient_compute(o->gradient, o->grad, loss);
    nn_add_l2_gradient(o->nn, o->grad, o->state->l2);
    *loss += nn_l2_penalty(o->nn, o->state->l2);
    for (size_t i = 0; i < o->num_parameters; i++) {
        g[i] = (double)o->grad.weights[0].data[i];
        *loss = isfinite(g[i]) ? *loss : (double)INFINITY;
    }
    return code;
}

/* ---- The line search: Nocedal and Wright, algorithms 3.5 (line_search) and 3.6 (zoom) ---- */

/* A point START + t DIRECTION, its loss, the gradient g, (num_parameters,), and the slope, the derivative of the loss with respect
 * to t. */
typedef struct {
    double t, loss, slope, *g;
} Point;

static int evaluate_point(const Lbfgs *o, double t, Point *p)
{
    int code = evaluate(o, t, &p->loss, p->g);
    p->t = t;
    p->slope = dot(p->g, vector(o, DIRECTION), o->num_parameters);
    return code;
}

/* Returns the t that minimises the cubic through two points with their slopes, limited to [low, high]; the middle of [low, high] if
 * the cubic has no minimum. */
static double interpolate(Point a, Point b, double low, double high)
{
    double d1 = a.slope + b.slope - 3 * (a.loss - b.loss) / (a.t - b.t), square = d1 * d1 - a.slope * b.slope, d2, t;
    if (!(square >= 0)) {
        return (low + high) / 2;
    }
    d2 = sqrt(square);
    if (a.t <= b.t) {
        t = b.t - (b.t - a.t) * ((b.slope + d2 - d1) / (b.slope - a.slope + 2 * d2));
    } else {
        t = a.t - (a.t - b.t) * ((a.slope + d2 - d1) / (a.slope - b.slope + 2 * d2));
    }
    return fmin(fmax(t, low), high);
}

static void swap(double **a, double **b)
{
    double *saved = *a;
    *a = *b;
    *b = saved;
}

/* Returns the next t to try between two points: the minimum of the cubic. If that is near an end twice in a row (*was_near_end), or
 * at an end, returns the point a tenth of the interval away from that end. */
static double next_trial(Point a, Point b, int *was_near_end)
{
    double low = fmin(a.t, b.t), high = fmax(a.t, b.t), t = interpolate(a, b, low, high), margin = 0.1 * (high - low);
    int is_near_end = fmin(high - t, t - low) < margin;
    if (is_near_end && (*was_near_end || t >= high || t <= low)) {
        t = fabs(t - high) < fabs(t - low) ? high - margin : low + margin;
        is_near_end = 0;
    }
    *was_near_end = is_near_end;
    return t;
}

/* The first Wolfe condition, sufficient decrease: the loss decreases in proportion to the step length. False for NaN. */
static int decreases_enough(Point origin, Point p)
{
    return p.loss <= origin.loss + SUFFICIENT_DECREASE * p.t * origin.slope;
}

/* The second condition of the strong Wolfe conditions: the slope is flat enough. */
static int is_flat_enough(Point origin, Point p)
{
    return fabs(p.slope) <= -CURVATURE * origin.slope;
}

/* Shrinks the interval between low and high, which contains a point that satisfies both Wolfe conditions, until *low is such a
 * point or the interval is tiny. *low is the end with the smaller loss.
 *
 * spare_gradient   (num_parameters,), scratch */
static int zoom(const Lbfgs *o, Point origin, Point *low, Point *high, int num_evaluations, double *spare_gradient)
{
    double max_direction = 0;
    int was_near_end = 0;
    for (size_t i = 0; i < o->num_parameters; i++) {
        max_direction = fmax(max_direction, fabs(vector(o, DIRECTION)[i]));
    }
    for (; num_evaluations < MAX_EVALUATIONS && fabs(high->t - low->t) * max_direction >= MIN_CHANGE; num_evaluations++) {
        Point p = {0, 0, 0, spare_gradient}, *replaced;
        int code = evaluate_point(o, next_trial(*low, *high, &was_near_end), &p);
        if (code != NN_OK) {
            return code;
        }
        if (!decreases_enough(origin, p) || p.loss >= low->loss) {
            replaced = high;
        } else if (is_flat_enough(origin, p)) {
            swap(&low->g, &p.g);
            p.g = low->g;
            *low = p;
            return NN_OK;
        } else {
            if (p.slope * (high->t - low->t) >= 0) { /* the minimum lies on the other side of p: low becomes the far end */
                Point old = *high;
                *high = *low;
                low->g = old.g;
            }
            replaced = low;
        }
        spare_gradient = replaced->g;
        *replaced = p;
    }
    return NN_OK;
}

/* Searches from the origin along DIRECTION, first at step length t, for a point *best that satisfies both Wolfe conditions. If it
 * finds none, *best is the best point tried, perhaps the origin. Returns a code. */
static int line_search(const Lbfgs *o, Point origin, double t, Point *best)
{
    Point previous = {0, origin.loss, origin.slope, scratch_vector(o, SCRATCH_PREVIOUS)};
    Point p = {0, 0, 0, scratch_vector(o, SCRATCH_POINT)}, low, high;
    int code = evaluate_point(o, t, &p), num_evaluations = 0, is_found = 0;

    memcpy(previous.g, origin.g, o->num_parameters * sizeof(double));
    for (; code == NN_OK && num_evaluations < MAX_EVALUATIONS; num_evaluations++) {
        double next;
        if (!decreases_enough(origin, p) || (num_evaluations > 1 && p.loss >= previous.loss)) {
            break; /* the interval from previous to p contains a good point */
        }
        if (is_flat_enough(origin, p)) {
            is_found = 1;
            break;
        }
        if (p.slope >= 0) {
            break;
        }
        next = interpolate(previous, p, p.t + 0.01 * (p.t - previous.t), p.t * 10);
        swap(&previous.g, &p.g);
        previous.t = p.t;
        previous.loss = p.loss;
        previous.slope = p.slope;
        code = evaluate_point(o, next, &p);
    }
    if (code != NN_OK || is_found) {
        *best = p;
        return code;
    }
    low = previous.loss <= p.loss || isnan(p.loss) ? previous : p;
    high = previous.loss <= p.loss || isnan(p.loss) ? p : previous;
    code = zoom(o, origin, &low, &high, num_evaluations, scratch_vector(o, SCRATCH_ZOOM));
    *best = low;
    return code;
}

/* ---- The direction: Nocedal and Wright, algorithm 7.4 (the two-loop recursion) ---- */

/* Sets DIRECTION = -H GRADIENT. H approximates the inverse of the Hessian, by the pairs s (change of the parameters) and y (change
 * of the gradient). */
static void compute_direction(const Lbfgs *o)
{
    const NNLbfgs *state = o->state;
    double *d = vector(o, DIRECTION), *factors = scratch_vector(o, NUM_SCRATCH), initial_scale = 1;
    size_t n = o->num_parameters, history_size = state->history_size;
    size_t oldest = state->num_pairs > history_size ? state->num_pairs - history_size : 0;
    for (size_t i = 0; i < n; i++) {
        d[i] = -vector(o, GRADIENT)[i];
    }
    for (size_t p = state->num_pairs; p-- > oldest;) {
        const double *s = pair_vectors(o, p), *y = s + n;
        double s_y = dot(s, y, n);
        factors[p % history_size] = dot(s, d, n) / s_y;
        add_scaled(d, -factors[p % history_size], y, n);
        initial_scale = p + 1 == state->num_pairs ? s_y / dot(y, y, n) : initial_scale;
    }
    for (size_t i = 0; i < n; i++) {
        d[i] *= initial_scale;
    }
    for (size_t p = oldest; p < state->num_pairs; p++) {
        const double *s = pair_vectors(o, p), *y = s + n;
        add_scaled(d, factors[p % history_size] - dot(y, d, n) / dot(s, y, n), s, n);
    }
}

/* Stores the pair (s, y) of the last iteration in place of the oldest one, if its curvature s^T y is positive enough. */
static void store_pair(const Lbfgs *o)
{
    NNLbfgs *state = o->state;
    size_t n = o->num_parameters;
    double *new_s = scratch_vector(o, SCRATCH_S), *new_y = scratch_vector(o, SCRATCH_Y), s_y = 0;
    for (size_t i = 0; i < n; i++) {
        new_s[i] = state->step_length * vector(o, DIRECTION)[i];
        new_y[i] = vector(o, GRADIENT)[i] - vector(o, PREVIOUS_GRADIENT)[i];
        s_y += new_s[i] * new_y[i];
    }
    if (s_y > MIN_CURVATURE) {
        memcpy(pair_vectors(o, state->num_pairs), new_s, n * sizeof(double));
        memcpy(pair_vectors(o, state->num_pairs) + n, new_y, n * sizeof(double));
        state->num_pairs++;
    }
}

/* ---- The iterations ---- */

/* One iteration. *moved is 0 if no point with a smaller loss was found. Returns a code. */
static int iterate(const Lbfgs *o, int *moved)
{
    NNLbfgs *state = o->state;
    double *g = vector(o, GRADIENT), sum_abs = 0, t = 1;
    Point origin = {0, state->loss, 0, g}, best;
    int code;

    *moved = 0;
    if (state->num_iterations > 0) {
        store_pair(o);
    }
    compute_direction(o);
    for (size_t i = 0; i < o->num_parameters; i++) {
        vector(o, START)[i] = (double)o->nn.weights[0].data[i];
        sum_abs += fabs(g[i]);
    }
    if (state->num_iterations == 0) {
        t = fmin(1, 1 / sum_abs); /* without a history, the length of the gradient says nothing about the distance */
    }
    origin.slope = dot(g, vector(o, DIRECTION), o->num_parameters);
    if (!(origin.slope < -MIN_CHANGE * 1e-6)) {
        return NN_OK; /* the gradient is 0, as far as float32 can tell */
    }
    code = line_search(o, origin, t, &best);
    if (code != NN_OK || !(best.loss < origin.loss)) {
        best.t = 0; /* return to the start */
    }
    set_parameters(o, best.t);
    if (best.t > 0) {
        memcpy(vector(o, PREVIOUS_GRADIENT), g, o->num_parameters * sizeof(double));
        memcpy(g, best.g, o->num_parameters * sizeof(double));
        state->loss = best.loss;
        state->step_length = best.t;
        state->num_iterations++;
        *moved = 1;
    }
    return code;
}

/* Computes the loss and the gradient before the first iteration. Returns a code. */
static int start(const Lbfgs *o)
{
    int code;
    for (size_t i = 0; i < o->num_parameters; i++) {
        vector(o, START)[i] = (double)o->nn.weights[0].data[i];
        vector(o, DIRECTION)[i] = 0;
    }
    code = evaluate(o, 0, &o->state->loss, vector(o, GRADIENT));
    return code == NN_OK && !isfinite(o->state->loss) ? NN_DIVERGED : code;
}

static NN_NOINLINE int minimize(NeuralNetwork nn, NNSamples samples, NNLbfgs *state, size_t num_iterations, float *losses,
                                NNBackend backend, NNMonitor *monitor)
{
    Matrix none = {0, 0, 0, NULL};
    NNGradient gradient;
    Lbfgs o = {nn, nn_alloc(nn.archi, nn.num_layers), state, monitor, nn_num_parameters(nn), &gradient};
    int code = nn_gradient_alloc(&gradient, nn, samples, none, 1, backend, monitor), moved = 1;
    code = o.grad.archi == NULL ? NN_NO_MEMORY : code;

    if (code == NN_OK && state->num_iterations == 0) {
        code = start(&o);
    }
    while (code == NN_OK && moved && monitor->done < num_iterations) {
        code = iterate(&o, &moved);
        if (code == NN_OK && moved) {
            if (losses != NULL) {
                losses[monitor->done] = (float)(state->loss - nn_l2_penalty(nn, state->l2));
            }
            monitor->num_steps = ++monitor->done;
            code = nn_poll(monitor, 8 * o.num_parameters * (state->history_size + 4)) ? NN_STOPPED : NN_OK;
        }
    }
    nn_gradient_free(&gradient);
    nn_free(o.grad);
    return code;
}

int nn_lbfgs(NeuralNetwork nn, NNSamples samples, NNLbfgs *state, size_t num_iterations, float *losses, NNBackend backend,
             NNMonitor *monitor)
{
    NNFloatEnvironment caller = nn_enter_float_environment();
    int code = minimize(nn, samples, state, num_iterations, losses, backend, monitor);
    nn_leave_float_environment(caller);
    return code;
}
