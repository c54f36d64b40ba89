/* test_nn.c: compares nn.h with the formulas in double precision, and checks that a failed allocation leaks nothing and changes
 * nothing. Prints each failed check and returns 1; otherwise prints an example of mat_print and nn_print and returns 0. */
#include <math.h>
#include <stdlib.h>

#define NO_LIMIT ((size_t)-1)
static size_t num_allocated = 0;       /* blocks that have not been freed */
static size_t num_allowed = NO_LIMIT;  /* the number of allocations that still succeed */

static void *counted_malloc(size_t size)
{
    if (num_allowed == 0) {
        return NULL;
    }
    num_allowed -= num_allowed != NO_LIMIT;
    num_allocated++;
    return malloc(size);
}

static void counted_free(void *pointer)
{
    num_allocated -= pointer != NULL;
    free(pointer);
}

#define NN_MALLOC counted_malloc
#define NN_FREE counted_free
#define NN_IMPLEMENTATION
#include "nn.h"

#include <string.h>

static int num_failed = 0;

#define CHECK(condition)                                                          \
    do {                                                                          \
        if (!(condition)) {                                                       \
            printf("%s:%d: %s is false\n", __FILE__, __LINE__, #condition);  \
            num_failed++;                                                         \
        }                                                                         \
    } while (0)

static int close_to(double a, double b, double tolerance)
{
    return fabs(a - b) <= tolerance; /* false for NaN */
}

static void test_matrix(void)
{
    float table[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
    Matrix left = {3, 2, 4, table};             /* columns 0 and 1 of the 3 x 4 table */
    Matrix right = {2, 3, 4, table + 1};        /* columns 1 to 3 of the first two rows */
    Matrix backwards = {3, 2, (size_t)-4, table + 8};
    Matrix product = mat_alloc(3, 3), copy = mat_alloc(3, 2);

    CHECK(MAT_AT(left, 2, 1) == 10 && MAT_AT(right, 1, 2) == 8);
    CHECK(MAT_AT(backwards, 0, 0) == 9 && MAT_AT(backwards, 2, 1) == 2);
    CHECK(MAT_AT(mat_row(backwards, 1), 0, 1) == 6);

    mat_dot(product, left, right);
    for (size_t i = 0; i < 3; i++) {
        for (size_t j = 0; j < 3; j++) {
            double sum = 0;
            for (size_t k = 0; k < 2; k++) {
                sum += (double)table[4 * i + k] * (double)table[4 * k + 1 + j];
            }
            CHECK(close_to((double)MAT_AT(product, i, j), sum, 0));
        }
    }
    mat_cpy(copy, backwards);
    mat_sum(copy, left);
    CHECK(MAT_AT(copy, 0, 0) == 10 && MAT_AT(copy, 1, 1) == 12 && MAT_AT(copy, 2, 0) == 10);
    mat_fill(copy, 0.5f);
    mat_sigf(copy);
    CHECK(close_to((double)MAT_AT(copy, 2, 1), 1 / (1 + exp(-0.5)), 1e-7));
    CHECK(sigf(-1000.0f) == 0.0f && sigf(1000.0f) == 1.0f && close_to((double)sigf(0.0f), 0.5, 0));
    mat_rand(copy, -2.0f, 3.0f);
    for (size_t i = 0; i < 3; i++) {
        CHECK(MAT_AT(copy, i, 0) >= -2.0f && MAT_AT(copy, i, 0) <= 3.0f);
    }
    mat_free(product);
    mat_free(copy);
}

static void test_generators(void)
{
    uint32_t state = 1;
    for (int i = 0; i < 10000; i++) {
        nn_minstd_float(&state);
    }
    CHECK(state == 1043618065u); /* the test value in the paper of Park and Miller */
    CHECK(nn_minstd_seed(0) != 0 && nn_minstd_seed(2147483647u) != 0 && nn_minstd_seed(69) == 69);
    CHECK(nn_random(1, 0) != nn_random(1, 1) && nn_random(1, 0) != nn_random(2, 0));
}

/* The network and the samples of the tests below. */
static const size_t archi[] = {3, 4, 2};
#define NUM_SAMPLES 5

static NeuralNetwork make_network(void)
{
    NeuralNetwork nn = nn_alloc(archi, ARRAY_LEN(archi) - 1);
    nn_rand_minstd(nn, -1.0f, 1.0f, 7);
    return nn;
}

static void make_data(float *data, Matrix *in, Matrix *out)
{
    Matrix all = {NUM_SAMPLES, 5, 5, data};
    uint32_t state = 11;
    for (size_t i = 0; i < NUM_SAMPLES; i++) {
        for (size_t j = 0; j < 5; j++) {
            MAT_AT(all, i, j) = nn_minstd_float(&state);
        }
    }
    *in = all;
    in->cols = 3;
    *out = all;
    out->cols = 2;
    out->data += 3;
}

/* Returns a_j = f(z_j) in double precision. z is (cols,): softmax needs all of it. */
static double activate(int activation, const double *z, size_t j, size_t cols)
{
    double sum = 0;
    switch (activation) {
    case NN_SIGMOID: return 1 / (1 + exp(-z[j]));
    case NN_TANH: return tanh(z[j]);
    case NN_RELU: return z[j] > 0 ? z[j] : 0;
    case NN_LINEAR: return z[j];
    case NN_LEAKY_RELU: return z[j] > 0 ? z[j] : (double)NN_LEAK * z[j];
    case NN_ELU: return z[j] > 0 ? z[j] : exp(z[j]) - 1;
    case NN_SOFTPLUS: return log(1 + exp(z[j]));
    case NN_SILU: return z[j] / (1 + exp(-z[j]));
    case NN_GELU: return z[j] * (1 + erf(z[j] / sqrt(2))) / 2;
    default: break;
    }
    for (size_t i = 0; i < cols; i++) {
        sum += exp(z[i]);
    }
    return exp(z[j]) / sum;
}

/* Returns the loss of one output in double precision; last_activation is the activation function of the last layer. */
static double loss_term(NNLoss loss, int last_activation, double a, double y)
{
    double diff = a - y, delta = (double)loss.parameter, p = a;
    switch (loss.kind) {
    case NN_MAE: return fabs(diff);
    case NN_HUBER: return fabs(diff) < delta ? diff * diff / 2 : delta * fabs(diff) - delta * delta / 2;
    case NN_PINBALL: return fmax(-delta * diff, (1 - delta) * diff);
    case NN_BINARY_CROSS_ENTROPY:
        p = last_activation == NN_LINEAR ? 1 / (1 + exp(-a)) : a;
        return -y * log(p) - (1 - y) * log(1 - p);
    case NN_CROSS_ENTROPY: return -y * log(a);
    default: return diff * diff;
    }
}

/* Returns the cost C in double precision, with delta added to parameter p. */
static double cost(NeuralNetwork nn, Matrix in, Matrix out, size_t p, double delta)
{
    double sum = 0;
    for (size_t i = 0; i < in.rows; i++) {
        double a[4], z[4];
        size_t first = 0; /* the index of the first parameter of the layer */
        for (size_t k = 0; k < in.cols; k++) {
            a[k] = (double)MAT_AT(in, i, k);
        }
        for (size_t l = 0; l < nn.num_layers; l++) {
            size_t rows = nn.archi[l], cols = nn.archi[l + 1];
            for (size_t j = 0; j < cols; j++) {
                z[j] = 0;
                for (size_t k = 0; k <= rows; k++) { /* the row after the weights is the biases */
                    size_t index = first + k * cols + j;
                    double value = (double)nn.weights[0].data[index] + (index == p ? delta : 0);
                    z[j] += value * (k < rows ? a[k] : 1);
                }
            }
            for (size_t j = 0; j < cols; j++) {
                a[j] = activate(nn.activation_functions[l], z, j, cols);
            }
            first += (rows + 1) * cols;
        }
        for (size_t j = 0; j < out.cols; j++) {
            double y = (double)MAT_AT(out, i, j);
            sum += isnan(y) ? 0 : loss_term(nn.loss, nn.activation_functions[nn.num_layers - 1], a[j], y);
        }
    }
    return sum / (double)in.rows;
}

/* Checks nn_cost, nn_backpropagation and nn_finite_diff for a network whose layers have the activation functions `hidden` and
 * `last`. */
static void test_gradients(int hidden, int last, NNLoss loss)
{
    float data[5 * NUM_SAMPLES];
    Matrix in, out;
    NeuralNetwork nn = make_network(), grad = make_network(), approximate = make_network();
    double largest = 0;

    nn.activation_functions[0] = hidden;
    nn.activation_functions[1] = last;
    nn.loss = loss;
    make_data(data, &in, &out);
    for (size_t i = 0; i < NUM_SAMPLES; i++) { /* targets that sum to 1, for the cross-entropy */
        MAT_AT(out, i, 1) = 1.0f - MAT_AT(out, i, 0);
    }
    MAT_AT(out, 1, 0) = NAN; /* a missing target */
    CHECK(close_to((double)nn_cost(nn, in, out), cost(nn, in, out, 0, 0), 1e-6));
    nn_backpropagation(nn, grad, in, out);
    nn_finite_diff(nn, approximate, 1e-2f, in, out);
    for (size_t p = 0; p < nn_num_parameters(nn); p++) {
        double derivative = (cost(nn, in, out, p, 1e-5) - cost(nn, in, out, p, -1e-5)) / 2e-5;
        double difference = (cost(nn, in, out, p, 1e-2) - cost(nn, in, out, p, 0)) / 1e-2;
        CHECK(close_to((double)grad.weights[0].data[p], derivative, 2e-6));
        CHECK(close_to((double)approximate.weights[0].data[p], difference, 2e-4));
        largest = fmax(largest, fabs(derivative));
    }
    CHECK(largest > 0.01);
    nn_free(nn);
    nn_free(grad);
    nn_free(approximate);
}

static void test_network(void)
{
    NeuralNetwork nn = make_network();
    float *end = nn.weights[0].data + nn_num_parameters(nn);
    CHECK(nn_num_parameters(nn) == 3 * 4 + 4 + 4 * 2 + 2);
    CHECK(nn.biases[0].data == nn.weights[0].data + 12 && nn.weights[1].data == nn.biases[0].data + 4);
    CHECK(nn.biases[1].data + 2 == end);
    nn_fill(nn, 0.25f);
    for (const float *p = nn.weights[0].data; p < end; p++) {
        CHECK(close_to((double)*p, 0.25, 0));
    }
    nn_rand(nn, -1.0f, 1.0f);
    for (const float *p = nn.weights[0].data; p < end; p++) {
        CHECK(*p >= -1.0f && *p <= 1.0f && (double)*p != 0.25);
    }
    nn_initialize(nn, 3);
    for (size_t i = 0; i < 12; i++) {
        CHECK(fabsf(nn.weights[0].data[i]) <= sqrtf(6.0f / 7.0f) && nn.weights[0].data[i] != 0.0f);
    }
    CHECK(nn.biases[1].data[0] == 0.0f);
    nn_free(nn);
}

/* Calls nn_gradient_descent with 0, 1, 2, ... allocations allowed. It has to fail until there are enough. */
static void test_out_of_memory(void)
{
    float data[5 * NUM_SAMPLES];
    Matrix in, out;
    NeuralNetwork nn = make_network(), before = make_network();
    size_t size = nn_num_parameters(nn) * sizeof(float), allocated_before = num_allocated;
    int code = NN_NO_MEMORY;

    make_data(data, &in, &out);
    for (size_t allowed = 0; code != NN_OK; allowed++) {
        num_allowed = allowed;
        code = nn_gradient_descent(nn, 1.0f, in, out, 3);
        num_allowed = NO_LIMIT;
        CHECK(num_allocated == allocated_before);
        CHECK((code == NN_OK) == (allowed > 0));
        CHECK((code == NN_OK) == (memcmp(nn.weights[0].data, before.weights[0].data, size) != 0));
    }
    num_allowed = 0;
    CHECK(mat_alloc(2, 2).data == NULL && nn_alloc(archi, 2).archi == NULL);
    num_allowed = NO_LIMIT;
    nn_free(nn);
    nn_free(before);
}

/* Checks sizes whose products do not fit into a size_t. */
static void test_overflow(void)
{
    size_t half = SIZE_MAX / 2, product;
    size_t wide[] = {half, 3}, many[] = {1, half, 1}, byte[] = {1, SIZE_MAX / 8}, most[] = {SIZE_MAX, SIZE_MAX};
    num_allowed = 0; /* nothing may be allocated */
    CHECK(nn_multiply(half, 2, &product) && product == SIZE_MAX - 1 && nn_multiply(0, half, &product) && product == 0);
    CHECK(!nn_multiply(half, 3, &product) && !nn_multiply(SIZE_MAX, SIZE_MAX, &product));
    CHECK(mat_alloc(half, 3).data == NULL && mat_alloc(half, 1).data == NULL);
    CHECK(nn_alloc(wide, 1).archi == NULL && nn_alloc(many, 2).archi == NULL);
    CHECK(nn_alloc(byte, 1).archi == NULL && nn_alloc(most, 1).archi == NULL);
    num_allowed = NO_LIMIT;
}

int main(void)
{
    size_t sample_archi[] = {2, 1};
    float sample[] = {1.5f, -2.0f, 0.0f, 0.25f};
    Matrix m = {2, 2, 2, sample};
    NeuralNetwork nn;

    test_matrix();
    test_generators();
    test_network();
    for (int hidden = NN_SIGMOID; hidden <= NN_GELU; hidden++) {
        for (int last = NN_SIGMOID; last <= NN_GELU && hidden != NN_SOFTMAX; last++) {
            for (int kind = NN_MSE; kind <= NN_PINBALL; kind++) {
                NNLoss loss = {kind, kind == NN_HUBER ? 0.4f : 0.8f};
                test_gradients(hidden, last, loss);
            }
        }
        if (hidden != NN_SOFTMAX) {
            NNLoss binary = {NN_BINARY_CROSS_ENTROPY, 0.0f}, categorical = {NN_CROSS_ENTROPY, 0.0f};
            test_gradients(hidden, NN_SIGMOID, binary);
            test_gradients(hidden, NN_LINEAR, binary);
            test_gradients(hidden, NN_SOFTMAX, categorical);
        }
    }
    test_out_of_memory();
    test_overflow();
    CHECK(num_allocated == 0);

    mat_print(m, "m");
    nn = nn_alloc(sample_archi, 1);
    nn_fill(nn, 2.0f);
    nn_print(nn, "nn");
    nn_free(nn);
    return num_failed > 0;
}
