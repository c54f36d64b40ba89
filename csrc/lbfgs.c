/* lbfgs.c: L-BFGS with a strong Wolfe line search; see engine.h. In double precision but for the parameters and their gradient, and
 * with sums in the order of the parameters, by one thread: the gradient is what takes the time. Where a choice is open it is that
 * of PyTorch's LBFGS, which the tests compare it with. */
#include <math.h>
#include <string.h>

#include "workspace.h"

#define SUFFICIENT 1e-4    /* of the decrease that the slope promises */
#define CURVATURE 0.9      /* how much of the slope may be left */
#define SMALLEST_CHANGE 1e-9
#define MOST_EVALUATIONS 25

/* The memory: the gradient, the direction, the gradient before it, the parameters; then the pairs. */
enum { GRADIENT, DIRECTION, PREVIOUS, START, FIRST_PAIR };

size_t nn_lbfgs_size(size_t num_parameters, size_t history_size)
{
    size_t num_vectors = FIRST_PAIR + 6 + 2 * history_size; /* 4 gradients for the line search */
    return num_parameters > SIZE_MAX / sizeof(double) / (num_vectors + 2) ? 0 : num_vectors * num_parameters + 2 * history_size;
}

typedef struct {
    NeuralNetwork nn, grad;
    NNSamples samples;
    NNLbfgs *state;
    NNBackend backend;
    NNMonitor *monitor;
    size_t num; /* parameters */
} Search;

static double *vector(const Search *s, size_t number)
{
    return s->state->memory + number * s->num;
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
static void add(double *a, double factor, const double *b, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        a[i] += factor * b[i];
    }
}

/* The cost and, into g, the gradient at the parameters START + t DIRECTION. A code. */
static int evaluate(const Search *s, double t, double *cost, double *g)
{
    const double *start = vector(s, START), *direction = vector(s, DIRECTION);
    Matrix none = {0, 0, 0, NULL};
    NNMonitor monitor = *s->monitor;
    int code;
    for (size_t i = 0; i < s->num; i++) {
        s->nn.weights[0].data[i] = (float)(start[i] + t * direction[i]);
    }
    code = nn_gradient(s->nn, s->grad, none, s->samples, cost, s->backend, &monitor);
    s->monitor->work = monitor.work;
    nn_add_l2(s->nn, s->grad, s->state->l2);
    *cost += nn_l2_cost(s->nn, s->state->l2);
    for (size_t i = 0; i < s->num; i++) {
        g[i] = (double)s->grad.weights[0].data[i];
    }
    return code;
}

/* A point of the line: how far it is, the cost there, its slope, and the gradient. */
typedef struct {
    double t, cost, slope, *g;
} Point;

static int evaluate_point(const Search *s, double t, Point *p)
{
    int code = evaluate(s, t, &p->cost, p->g);
    p->t = t;
    p->slope = dot(p->g, vector(s, DIRECTION), s->num);
    return code;
}

/* The minimum of the cubic through two points with their slopes, or the middle; within bounds. */
static double interpolate(Point a, Point b, double low, double high)
{
    double d1 = a.slope + b.slope - 3 * (a.cost - b.cost) / (a.t - b.t), square = d1 * d1 - a.slope * b.slope, d2, t;
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

/* The next point to try between two, not too near to either. */
static double between(Point a, Point b, int *was_near)
{
    double low = fmin(a.t, b.t), high = fmax(a.t, b.t), t = interpolate(a, b, low, high), margin = 0.1 * (high - low);
    int is_near = fmin(high - t, t - low) < margin;
    if (is_near && (*was_near || t >= high || t <= low)) {
        t = fabs(t - high) < fabs(t - low) ? high - margin : low + margin;
        is_near = 0;
    }
    *was_near = is_near;
    return t;
}

static int is_too_high(Point origin, Point p)
{
    return !(p.cost <= origin.cost + SUFFICIENT * p.t * origin.slope); /* or NaN */
}

static int is_flat(Point origin, Point p)
{
    return fabs(p.slope) <= -CURVATURE * origin.slope;
}

/* Halves an interval that has a good point until it is found, or is small. *low is the better end. */
static int zoom(const Search *s, Point origin, Point *low, Point *high, int num_evaluations, double *spare)
{
    double largest = 0;
    int was_near = 0;
    for (size_t i = 0; i < s->num; i++) {
        largest = fmax(largest, fabs(vector(s, DIRECTION)[i]));
    }
    for (; num_evaluations < MOST_EVALUATIONS && fabs(high->t - low->t) * largest >= SMALLEST_CHANGE; num_evaluations++) {
        Point p = {0, 0, 0, spare}, *replaced;
        int code = evaluate_point(s, between(*low, *high, &was_near), &p);
        if (code != NN_OK) {
            return code;
        }
        if (is_too_high(origin, p) || p.cost >= low->cost) {
            replaced = high;
        } else if (is_flat(origin, p)) {
            swap(&low->g, &p.g);
            p.g = low->g;
            *low = p;
            return NN_OK;
        } else {
            if (p.slope * (high->t - low->t) >= 0) {
                Point old = *high;
                *high = *low;
                low->g = old.g;
            }
            replaced = low;
        }
        spare = replaced->g;
        *replaced = p;
    }
    return NN_OK;
}

/* From the origin along DIRECTION, first by t; the point found goes to *best. */
static int search(const Search *s, Point origin, double t, Point *best)
{
    size_t first = FIRST_PAIR + 2 * s->state->history_size;
    double *spare = vector(s, first + 3);
    Point previous = {0, origin.cost, origin.slope, vector(s, first)}, p = {0, 0, 0, vector(s, first + 1)}, low, high;
    int code = evaluate_point(s, t, &p), num = 0, found = 0;

    memcpy(previous.g, origin.g, s->num * sizeof(double));
    for (; code == NN_OK && num < MOST_EVALUATIONS; num++) {
        double next;
        if (is_too_high(origin, p) || (num > 1 && p.cost >= previous.cost)) {
            break;
        }
        if (is_flat(origin, p)) { /* also where it goes up again a little */
            found = 1;
            break;
        }
        if (p.slope >= 0) {
            break;
        }
        next = interpolate(previous, p, p.t + 0.01 * (p.t - previous.t), p.t * 10);
        swap(&previous.g, &p.g);
        previous.t = p.t;
        previous.cost = p.cost;
        previous.slope = p.slope;
        code = evaluate_point(s, next, &p);
    }
    if (code != NN_OK || found) {
        *best = p;
        return code;
    }
    low = previous.cost <= p.cost || isnan(p.cost) ? previous : p;
    high = previous.cost <= p.cost || isnan(p.cost) ? p : previous;
    code = zoom(s, origin, &low, &high, num, spare);
    *best = low;
    return code;
}

/* DIRECTION = -H g, with H from the pairs: the two loops. */
static void choose_direction(const Search *s)
{
    const NNLbfgs *state = s->state;
    double *d = vector(s, DIRECTION), *factors = vector(s, FIRST_PAIR + 6 + 2 * state->history_size), scale = 1;
    size_t num = s->num, first = state->num_pairs > state->history_size ? state->num_pairs - state->history_size : 0;
    for (size_t i = 0; i < num; i++) {
        d[i] = -vector(s, GRADIENT)[i];
    }
    for (size_t p = state->num_pairs; p-- > first;) {
        const double *step = vector(s, FIRST_PAIR + 2 * (p % state->history_size)), *change = step + num;
        double product = dot(step, change, num);
        factors[p % state->history_size] = dot(step, d, num) / product;
        add(d, -factors[p % state->history_size], change, num);
        scale = p + 1 == state->num_pairs ? product / dot(change, change, num) : scale;
    }
    for (size_t i = 0; i < num; i++) {
        d[i] *= scale;
    }
    for (size_t p = first; p < state->num_pairs; p++) {
        const double *step = vector(s, FIRST_PAIR + 2 * (p % state->history_size)), *change = step + num;
        add(d, factors[p % state->history_size] - dot(change, d, num) / dot(step, change, num), step, num);
    }
}

/* What the last step was, and what it changed in the gradient. */
static void remember(const Search *s)
{
    NNLbfgs *state = s->state;
    double *step = vector(s, FIRST_PAIR + 2 * (state->num_pairs % state->history_size)), *change = step + s->num;
    double *spare = vector(s, FIRST_PAIR + 2 * state->history_size + 4); /* the oldest pair stays if this one is of no use */
    double product = 0;
    for (size_t i = 0; i < s->num; i++) {
        spare[i] = state->step_length * vector(s, DIRECTION)[i];
        spare[s->num + i] = vector(s, GRADIENT)[i] - vector(s, PREVIOUS)[i];
        product += spare[i] * spare[s->num + i];
    }
    if (product > 1e-10) {
        memcpy(step, spare, s->num * sizeof(double));
        memcpy(change, spare + s->num, s->num * sizeof(double));
        state->num_pairs++;
    }
}

/* One iteration; *moved is 0 if there is nowhere to go. */
static int iterate(const Search *s, int *moved)
{
    NNLbfgs *state = s->state;
    double *g = vector(s, GRADIENT), size = 0, t = 1;
    Point origin = {0, state->loss, 0, g}, best;
    int code;

    *moved = 0;
    if (state->num_iterations > 0) {
        remember(s);
    }
    choose_direction(s);
    for (size_t i = 0; i < s->num; i++) {
        vector(s, START)[i] = (double)s->nn.weights[0].data[i];
        size += fabs(g[i]);
    }
    if (state->num_iterations == 0) {
        t = fmin(1, 1 / size);
    }
    origin.slope = dot(g, vector(s, DIRECTION), s->num);
    if (!(origin.slope < -SMALLEST_CHANGE * 1e-6)) {
        return NN_OK; /* the gradient is 0, or what float32 leaves of it */
    }
    code = search(s, origin, t, &best);
    if (code != NN_OK || !(best.cost < origin.cost)) {
        best.t = 0; /* back to where it was */
    }
    for (size_t i = 0; i < s->num; i++) {
        s->nn.weights[0].data[i] = (float)(vector(s, START)[i] + best.t * vector(s, DIRECTION)[i]);
    }
    if (best.t > 0) {
        memcpy(vector(s, PREVIOUS), g, s->num * sizeof(double));
        memcpy(g, best.g, s->num * sizeof(double));
        state->loss = best.cost;
        state->step_length = best.t;
        state->num_iterations++;
        *moved = 1;
    }
    return code;
}

int nn_lbfgs(NeuralNetwork nn, NNSamples samples, NNLbfgs *state, size_t num_iterations, float *costs, NNBackend backend,
             NNMonitor *monitor)
{
    Search s = {nn, nn_alloc(nn.archi, nn.num_layers), samples, state, backend, monitor, nn_num_parameters(nn)};
    int code = s.grad.archi == NULL ? NN_NO_MEMORY : NN_OK, moved = 1;

    if (code == NN_OK && state->num_iterations == 0) {
        for (size_t i = 0; i < s.num; i++) {
            vector(&s, START)[i] = (double)nn.weights[0].data[i];
            vector(&s, DIRECTION)[i] = 0;
        }
        code = evaluate(&s, 0, &state->loss, vector(&s, GRADIENT));
        code = code == NN_OK && !isfinite(state->loss) ? NN_DIVERGED : code;
    }
    while (code == NN_OK && moved && monitor->done < num_iterations) {
        code = iterate(&s, &moved);
        if (code == NN_OK && moved) {
            if (costs != NULL) {
                costs[monitor->done] = (float)(state->loss - nn_l2_cost(nn, state->l2));
            }
            monitor->num_steps = ++monitor->done;
            code = nn_poll(monitor, 8 * s.num * (state->history_size + 4)) ? NN_STOPPED : NN_OK;
        }
    }
    nn_free(s.grad);
    return code;
}
