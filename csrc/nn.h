/* nn.h: a strided Matrix, a fully connected NeuralNetwork, and backpropagation, in plain C99 that is C++ as well.
 *
 * An stb-style header. Include it wherever you like; in exactly one file of the program write
 *
 *     #define NN_IMPLEMENTATION
 *     #include "nn.h"
 *
 * and link with the mathematics library (-lm). It is the algorithm as one derives it on paper: plain loops, one sample at
 * a time. It is meant to be read, and to be the yardstick of anything faster; speed is left to others.
 *
 * What you may define before the include (in the file with NN_IMPLEMENTATION):
 *
 *     NN_MALLOC(size), NN_FREE(pointer)   where memory comes from: malloc and free
 *     NN_ASSERT(condition)                what becomes of a caller's mistake, such as shapes that do not fit: assert
 *     NN_RAND()                           a random float in [0, 1]: the C library's rand(), divided by RAND_MAX
 *
 * and, in every file or on the command line,
 *
 *     NN_PORTABLE_RAND                    srand() and NN_RAND() become a generator of our own, so that a seed gives the
 *                                         same network with every C library: rand() is another function in each of them
 *
 * Where memory runs out nothing is printed and nothing exits: the functions that allocate say in their result that they
 * could not.
 */
#ifndef NN_H_
#define NN_H_

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#ifdef __cplusplus
extern "C" {
#endif

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

/* ---- Matrix: rows x cols numbers in memory that somebody else may own ----
 *
 * Two numbers that are neighbours in a row are neighbours in memory; two rows begin `stride` numbers apart. A stride larger
 * than cols makes a Matrix of some columns of a wider table. A view whose rows run backwards has a negative stride, wrapped
 * round to a size_t: the product in MAT_AT wraps as well, and as a ptrdiff_t it is the right, negative, index again. */
typedef struct {
    size_t rows;
    size_t cols;
    size_t stride;
    float *data;
} Matrix;

#define MAT_AT(m, i, j) (m).data[(ptrdiff_t)((size_t)(i) * (m).stride + (size_t)(j))]

Matrix mat_alloc(size_t rows, size_t cols); /* contents undefined; data is NULL where memory ran out */
void mat_free(Matrix m);                    /* of what mat_alloc made, not of views */
void mat_fill(Matrix m, float val);
void mat_rand(Matrix m, float min, float max); /* uniform in [min, max] */
void mat_cpy(Matrix dst, Matrix src);
Matrix mat_row(Matrix m, size_t row);            /* a 1 x cols view */
void mat_dot(Matrix dst, Matrix a, Matrix b);    /* dst = a b; dst must overlap neither */
void mat_sum(Matrix dst, Matrix a);              /* dst += a */
void mat_sigf(Matrix m);                         /* the sigmoid of every element */
void mat_act(Matrix m, int function);            /* another function of every element, or the softmax of every row */
void mat_print(Matrix m, const char *name);

/* ---- NeuralNetwork: num_layers layers of weights between num_layers + 1 layers of neurons ----
 *
 *     archi            num_layers + 1 sizes, the inputs' first
 *     weights[l]       archi[l] x archi[l + 1]
 *     biases[l]        1 x archi[l + 1]
 *     activations[l]   1 x archi[l]; activations[0] is the input
 *     sums[l]          1 x archi[l + 1]: z = a w + b, from which layer l + 1 takes its activation
 *     activation_functions[l]    what turns z into the activation a; the sigmoid if nothing else is said
 *     loss             what of the outputs and the targets is made small; the squared error if nothing else is said
 *
 * nn_alloc makes all of it in one block, which archi points to. The parameters lie in it one after another, in the order
 * weights[0] (row by row), biases[0], weights[1], ...: nn_num_parameters(nn) floats from weights[0].data on. */
typedef struct {
    int kind;
    float parameter; /* delta of Huber's loss, the quantile of the pinball loss */
} NNLoss;

typedef struct {
    size_t *archi;
    size_t num_layers;
    Matrix *weights;
    Matrix *biases;
    Matrix *activations;
    Matrix *sums;
    int *activation_functions;
    NNLoss loss;
} NeuralNetwork;

/* a = f(z):
 *
 *     NN_SIGMOID      1 / (1 + exp(-z))
 *     NN_TANH         tanh(z)
 *     NN_RELU         z, or 0 where z < 0
 *     NN_LINEAR       z
 *     NN_SOFTMAX      exp(z_j) / sum over i of exp(z_i); for the last layer alone
 *     NN_LEAKY_RELU   z, or 0.01 z where z < 0
 *     NN_ELU          z, or exp(z) - 1 where z < 0
 *     NN_SOFTPLUS     log(1 + exp(z))
 *     NN_SILU         z / (1 + exp(-z)), also called swish
 *     NN_GELU         z P(Z < z) for a normal Z: z (1 + erf(z / sqrt(2))) / 2 */
enum {
    NN_SIGMOID = 0, NN_TANH, NN_RELU, NN_LINEAR, NN_SOFTMAX, NN_LEAKY_RELU, NN_ELU, NN_SOFTPLUS, NN_SILU, NN_GELU
};
#define NN_LEAK 0.01f

/* C_i, the loss of a sample with outputs a and targets y, is a sum over the outputs of
 *
 *     NN_MSE                    (a - y)^2
 *     NN_MAE                    |a - y|
 *     NN_HUBER                  (a - y)^2 / 2 where |a - y| <= delta, else delta (|a - y| - delta / 2)
 *     NN_PINBALL                q (y - a) where a < y, else (1 - q) (a - y): the q-quantile makes it smallest
 *     NN_BINARY_CROSS_ENTROPY   -y log(p) - (1 - y) log(1 - p), with p = sigmoid(z) and y in [0, 1]; the last function is the
 *                               sigmoid, or linear for outputs that are to be logits
 *     NN_CROSS_ENTROPY          -y log(a) with softmax; the targets are probabilities, such as a single 1
 *
 * The last two are computed from z, so that no logarithm is taken of 0. A target that is NaN is missing: its term is left out. */
enum { NN_MSE = 0, NN_MAE, NN_HUBER, NN_PINBALL, NN_BINARY_CROSS_ENTROPY, NN_CROSS_ENTROPY };

#define NN_INPUT(nn) (nn).activations[0]
#define NN_OUTPUT(nn) (nn).activations[(nn).num_layers]

/* What a function that can fail returns. */
enum { NN_OK = 0, NN_NO_MEMORY = 1 };

NeuralNetwork nn_alloc(const size_t *archi, size_t num_layers); /* all zero; archi is NULL where memory ran out */
void nn_free(NeuralNetwork nn);
size_t nn_num_parameters(NeuralNetwork nn);
void nn_rand(NeuralNetwork nn, float min, float max);
void nn_fill(NeuralNetwork nn, float val); /* every weight and bias */
void nn_print(NeuralNetwork nn, const char *name);

/* Sets NN_OUTPUT(nn) from NN_INPUT(nn). */
void nn_forward(NeuralNetwork nn);

/* The squared error, summed over the outputs, averaged over the samples (the rows). */
float nn_mse(NeuralNetwork nn, Matrix train_in, Matrix train_out);

/* C, the cost: the network's loss, averaged over the samples. */
float nn_cost(NeuralNetwork nn, Matrix train_in, Matrix train_out);

/* The gradient of C, approximately: (C(p + eps) - C(p)) / eps for every parameter p in turn. */
void nn_finite_diff(NeuralNetwork nn, NeuralNetwork grad, float eps, Matrix train_in, Matrix train_out);

/* The gradient of C. grad is a network of the same architecture; its activations are used as well. */
void nn_backpropagation(NeuralNetwork nn, NeuralNetwork grad, Matrix train_in, Matrix train_out);

/* p -= rate * dC/dp for every parameter p, `iterations` times. NN_OK, or NN_NO_MEMORY with the network as it was. */
int nn_gradient_descent(NeuralNetwork nn, float rate, Matrix train_in, Matrix train_out, size_t iterations);

/* The pieces of the above, for whoever writes a loop of their own. */
float nn_sample_cost(NeuralNetwork nn, Matrix sample_in, Matrix sample_out); /* C_i, after a forward pass */
void nn_sample_backpropagation(NeuralNetwork nn, NeuralNetwork grad, Matrix sample_in, Matrix sample_out); /* grad += */
void nn_average(NeuralNetwork grad, size_t num_samples);              /* grad /= num_samples */
void nn_descend(NeuralNetwork nn, NeuralNetwork grad, float rate);    /* nn -= rate * grad */

/* ---- Numbers by chance ---- */

float rand_float(void); /* in [0, 1], from NN_RAND */
float sigf(float x);    /* 1 / (1 + exp(-x)) */

/* The "minimal standard" generator of Park and Miller (CACM 31, 1988): state = 16807 state mod (2^31 - 1). It is the rand()
 * of the C library that the figures of the post which this header follows were made with. */
uint32_t nn_minstd_seed(uint32_t seed);   /* the state to begin with: the seed, but for those that would stick at 0 */
float nn_minstd_float(uint32_t *state);   /* draws once: in [0, 1] */
void nn_rand_minstd(NeuralNetwork nn, float min, float max, uint32_t seed); /* nn_rand, without any global state */

#ifdef NN_PORTABLE_RAND
void nn_srand(unsigned int seed);
#define srand nn_srand
#endif

/* A generator to be asked for its n-th number: SplitMix64 (Steele, Lea and Flood, OOPSLA 2014), with the seed mixed first. */
uint64_t nn_random(uint64_t seed, uint64_t n);

/* Initial values to train from: biases 0, weights uniform in [-r, r]. For the sigmoid and tanh r = sqrt(6 / (rows + cols)) (Glorot
 * and Bengio, "Understanding the difficulty of training deep feedforward neural networks", 2010, equation 16). For the others
 * r = 1 / sqrt(rows): the first sums stay within a small part of what the inputs are, and so do the first outputs, which small
 * tables need (the proportion is that of LeCun, Bottou, Orr and Mueller, "Efficient BackProp", 1998, section 4.6). */
void nn_initialize(NeuralNetwork nn, uint64_t seed);

#ifdef __cplusplus
}
#endif
#endif /* NN_H_ */

#ifdef NN_IMPLEMENTATION
#ifndef NN_IMPLEMENTED_
#define NN_IMPLEMENTED_

#include <math.h>

#ifndef NN_MALLOC
#define NN_MALLOC malloc
#endif
#ifndef NN_FREE
#define NN_FREE free
#endif
#ifndef NN_ASSERT
#include <assert.h>
#define NN_ASSERT assert
#endif
#ifndef NN_RAND
#ifdef NN_PORTABLE_RAND
#define NN_RAND() nn_minstd_float(&nn_rand_state)
#else
#define NN_RAND() ((float)rand() / (float)RAND_MAX)
#endif
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Numbers by chance ---- */

#define NN_MINSTD_MODULUS 2147483647u /* 2^31 - 1, a prime */

uint32_t nn_minstd_seed(uint32_t seed)
{
    uint32_t state = seed % NN_MINSTD_MODULUS;
    return state == 0 ? 123459876u : state; /* the C library of the post does so, too */
}

float nn_minstd_float(uint32_t *state)
{
    *state = (uint32_t)((uint64_t)*state * 16807u % NN_MINSTD_MODULUS);
    return (float)*state / (float)NN_MINSTD_MODULUS;
}

#ifdef NN_PORTABLE_RAND
static uint32_t nn_rand_state = 1;

void nn_srand(unsigned int seed)
{
    nn_rand_state = nn_minstd_seed((uint32_t)seed);
}
#endif

float rand_float(void)
{
    return NN_RAND();
}

static uint64_t nn_mix(uint64_t z)
{
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

uint64_t nn_random(uint64_t seed, uint64_t n)
{
    return nn_mix(nn_mix(seed) + (n + 1) * 0x9e3779b97f4a7c15u);
}

/* ---- Matrix ---- */

/* a * b into *product, or 0 where that is more than a size_t holds. */
static int nn_multiply(size_t a, size_t b, size_t *product)
{
    *product = a * b;
    return a == 0 || *product / a == b;
}

Matrix mat_alloc(size_t rows, size_t cols)
{
    Matrix m = {rows, cols, cols, NULL};
    size_t num, size;
    if (nn_multiply(rows, cols, &num) && nn_multiply(num, sizeof(float), &size)) {
        m.data = (float *)NN_MALLOC(size > 0 ? size : 1);
    }
    return m;
}

void mat_free(Matrix m)
{
    NN_FREE(m.data);
}

void mat_fill(Matrix m, float val)
{
    for (size_t i = 0; i < m.rows; i++) {
        for (size_t j = 0; j < m.cols; j++) {
            MAT_AT(m, i, j) = val;
        }
    }
}

void mat_rand(Matrix m, float min, float max)
{
    for (size_t i = 0; i < m.rows; i++) {
        for (size_t j = 0; j < m.cols; j++) {
            MAT_AT(m, i, j) = rand_float() * (max - min) + min;
        }
    }
}

void mat_cpy(Matrix dst, Matrix src)
{
    NN_ASSERT(dst.rows == src.rows && dst.cols == src.cols);
    for (size_t i = 0; i < dst.rows; i++) {
        for (size_t j = 0; j < dst.cols; j++) {
            MAT_AT(dst, i, j) = MAT_AT(src, i, j);
        }
    }
}

Matrix mat_row(Matrix m, size_t row)
{
    Matrix view = {1, m.cols, m.stride, &MAT_AT(m, row, 0)};
    NN_ASSERT(row < m.rows);
    return view;
}

void mat_dot(Matrix dst, Matrix a, Matrix b)
{
    NN_ASSERT(a.cols == b.rows);
    NN_ASSERT(dst.rows == a.rows && dst.cols == b.cols);
    for (size_t i = 0; i < dst.rows; i++) {
        for (size_t j = 0; j < dst.cols; j++) {
            float sum = 0.0f;
            for (size_t k = 0; k < a.cols; k++) {
                sum += MAT_AT(a, i, k) * MAT_AT(b, k, j);
            }
            MAT_AT(dst, i, j) = sum;
        }
    }
}

void mat_sum(Matrix dst, Matrix a)
{
    NN_ASSERT(dst.rows == a.rows && dst.cols == a.cols);
    for (size_t i = 0; i < dst.rows; i++) {
        for (size_t j = 0; j < dst.cols; j++) {
            MAT_AT(dst, i, j) += MAT_AT(a, i, j);
        }
    }
}

float sigf(float x)
{
    return 1.0f / (1.0f + expf(-x));
}

void mat_sigf(Matrix m)
{
    for (size_t i = 0; i < m.rows; i++) {
        for (size_t j = 0; j < m.cols; j++) {
            MAT_AT(m, i, j) = sigf(MAT_AT(m, i, j));
        }
    }
}

static float nn_softplus(float z)
{
    return fmaxf(z, 0.0f) + log1pf(expf(-fabsf(z))); /* exp cannot overflow */
}

static float nn_normal_cdf(float z)
{
    return 0.5f * erfcf(-0.70710678f * z);
}

static float nn_normal_density(float z)
{
    return 0.39894228f * expf(-0.5f * z * z);
}

static float nn_function(int function, float z)
{
    switch (function) {
    case NN_SIGMOID: return sigf(z);
    case NN_TANH: return tanhf(z);
    case NN_RELU: return z < 0.0f ? 0.0f : z;
    case NN_LEAKY_RELU: return z < 0.0f ? NN_LEAK * z : z;
    case NN_ELU: return z < 0.0f ? expm1f(z) : z;
    case NN_SOFTPLUS: return nn_softplus(z);
    case NN_SILU: return z * sigf(z);
    case NN_GELU: return z * nn_normal_cdf(z);
    default: return z;
    }
}

/* da/dz, from whichever of z and a it is simpler in. */
static float nn_derivative(int function, float z, float a)
{
    switch (function) {
    case NN_SIGMOID: return a * (1 - a);
    case NN_TANH: return 1 - a * a;
    case NN_RELU: return a > 0.0f ? 1.0f : 0.0f;
    case NN_LEAKY_RELU: return a > 0.0f ? 1.0f : NN_LEAK;
    case NN_ELU: return a > 0.0f ? 1.0f : a + 1;
    case NN_SOFTPLUS: return sigf(z);
    case NN_SILU: return sigf(z) * (1 + z * (1 - sigf(z)));
    case NN_GELU: return nn_normal_cdf(z) + z * nn_normal_density(z);
    default: return 1.0f;
    }
}

/* Of a row; the largest is taken off first, so that exp cannot overflow. */
static void mat_softmax_row(Matrix row)
{
    float max = MAT_AT(row, 0, 0), sum = 0.0f;
    for (size_t j = 1; j < row.cols; j++) {
        max = MAT_AT(row, 0, j) > max ? MAT_AT(row, 0, j) : max;
    }
    for (size_t j = 0; j < row.cols; j++) {
        MAT_AT(row, 0, j) = expf(MAT_AT(row, 0, j) - max);
        sum += MAT_AT(row, 0, j);
    }
    for (size_t j = 0; j < row.cols; j++) {
        MAT_AT(row, 0, j) /= sum;
    }
}

void mat_act(Matrix m, int function)
{
    for (size_t i = 0; i < m.rows; i++) {
        if (function == NN_SOFTMAX) {
            mat_softmax_row(mat_row(m, i));
            continue;
        }
        for (size_t j = 0; j < m.cols; j++) {
            MAT_AT(m, i, j) = nn_function(function, MAT_AT(m, i, j));
        }
    }
}

static void nn_print_matrix(Matrix m, const char *name, size_t number, int indent)
{
    if (number == SIZE_MAX) {
        printf("%*s%s = [\n", indent, "", name);
    } else {
        printf("%*s%s[%lu] = [\n", indent, "", name, (unsigned long)number);
    }
    for (size_t i = 0; i < m.rows; i++) {
        printf("%*s   ", indent, "");
        for (size_t j = 0; j < m.cols; j++) {
            printf(" %f", (double)MAT_AT(m, i, j));
        }
        printf("\n");
    }
    printf("%*s]\n", indent, "");
}

void mat_print(Matrix m, const char *name)
{
    nn_print_matrix(m, name, SIZE_MAX, 0);
}

/* ---- NeuralNetwork ---- */

/* The size of the block of a network, or 0 where that is more than a size_t holds. */
static size_t nn_block_size(const size_t *archi, size_t num_layers)
{
    size_t num_floats = archi[0], num, size, total;
    if (num_layers > SIZE_MAX / 8 / sizeof(Matrix)) {
        return 0;
    }
    for (size_t l = 0; l < num_layers; l++) { /* weights[l], biases[l], sums[l] and activations[l + 1] */
        if (archi[l] > SIZE_MAX - 3 || !nn_multiply(archi[l] + 3, archi[l + 1], &num) || num_floats > SIZE_MAX - num) {
            return 0;
        }
        num_floats += num;
    }
    total = (num_layers + 1) * sizeof(size_t) + (4 * num_layers + 1) * sizeof(Matrix) + num_layers * sizeof(int);
    if (!nn_multiply(num_floats, sizeof(float), &size) || size > SIZE_MAX - total) {
        return 0;
    }
    return total + size;
}

/* A rows x cols matrix at *data, which moves on behind it. */
static Matrix nn_take(float **data, size_t rows, size_t cols)
{
    Matrix m = {rows, cols, cols, *data};
    *data += rows * cols;
    return m;
}

NeuralNetwork nn_alloc(const size_t *archi, size_t num_layers)
{
    NeuralNetwork nn = {NULL, 0, NULL, NULL, NULL, NULL, NULL, {NN_MSE, 0.0f}};
    float *data;
    size_t size;

    NN_ASSERT(num_layers > 0);
    size = nn_block_size(archi, num_layers);
    nn.archi = size > 0 ? (size_t *)NN_MALLOC(size) : NULL;
    if (nn.archi == NULL) {
        return nn;
    }
    nn.num_layers = num_layers;
    nn.weights = (Matrix *)(void *)(nn.archi + num_layers + 1);
    nn.biases = nn.weights + num_layers;
    nn.activations = nn.biases + num_layers;
    nn.sums = nn.activations + num_layers + 1;
    nn.activation_functions = (int *)(void *)(nn.sums + num_layers);
    data = (float *)(void *)(nn.activation_functions + num_layers);

    for (size_t l = 0; l <= num_layers; l++) {
        nn.archi[l] = archi[l];
    }
    for (size_t l = 0; l < num_layers; l++) {
        nn.activation_functions[l] = NN_SIGMOID;
        nn.weights[l] = nn_take(&data, archi[l], archi[l + 1]);
        nn.biases[l] = nn_take(&data, 1, archi[l + 1]);
    }
    for (size_t l = 0; l <= num_layers; l++) {
        nn.activations[l] = nn_take(&data, 1, archi[l]);
        mat_fill(nn.activations[l], 0.0f);
    }
    for (size_t l = 0; l < num_layers; l++) {
        nn.sums[l] = nn_take(&data, 1, archi[l + 1]);
        mat_fill(nn.sums[l], 0.0f);
    }
    nn_fill(nn, 0.0f);
    return nn;
}

void nn_free(NeuralNetwork nn)
{
    NN_FREE(nn.archi);
}

size_t nn_num_parameters(NeuralNetwork nn)
{
    size_t num = 0;
    for (size_t l = 0; l < nn.num_layers; l++) {
        num += (nn.archi[l] + 1) * nn.archi[l + 1];
    }
    return num;
}

void nn_rand(NeuralNetwork nn, float min, float max)
{
    for (size_t l = 0; l < nn.num_layers; l++) {
        mat_rand(nn.weights[l], min, max);
        mat_rand(nn.biases[l], min, max);
    }
}

void nn_rand_minstd(NeuralNetwork nn, float min, float max, uint32_t seed)
{
    uint32_t state = nn_minstd_seed(seed);
    for (size_t l = 0; l < nn.num_layers; l++) {
        Matrix both[2] = {nn.weights[l], nn.biases[l]};
        for (size_t m = 0; m < 2; m++) {
            for (size_t i = 0; i < both[m].rows; i++) {
                for (size_t j = 0; j < both[m].cols; j++) {
                    MAT_AT(both[m], i, j) = nn_minstd_float(&state) * (max - min) + min;
                }
            }
        }
    }
}

void nn_initialize(NeuralNetwork nn, uint64_t seed)
{
    uint64_t n = 0;
    for (size_t l = 0; l < nn.num_layers; l++) {
        float rows = (float)nn.weights[l].rows, cols = (float)nn.weights[l].cols;
        int saturates = nn.activation_functions[l] == NN_SIGMOID || nn.activation_functions[l] == NN_TANH;
        float range = saturates ? sqrtf(6.0f / (rows + cols)) : 1.0f / sqrtf(rows);
        for (size_t i = 0; i < nn.weights[l].rows; i++) {
            for (size_t j = 0; j < nn.weights[l].cols; j++) {
                float uniform = (float)(nn_random(seed, n++) >> 40) / 16777216.0f; /* 24 bits: in [0, 1) */
                MAT_AT(nn.weights[l], i, j) = (2.0f * uniform - 1.0f) * range;
            }
        }
        mat_fill(nn.biases[l], 0.0f);
    }
}

void nn_fill(NeuralNetwork nn, float val)
{
    for (size_t l = 0; l < nn.num_layers; l++) {
        mat_fill(nn.weights[l], val);
        mat_fill(nn.biases[l], val);
    }
}

void nn_print(NeuralNetwork nn, const char *name)
{
    printf("%s = [\n", name);
    for (size_t l = 0; l < nn.num_layers; l++) {
        nn_print_matrix(nn.weights[l], "weights", l, 4);
        nn_print_matrix(nn.biases[l], "biases", l, 4);
    }
    printf("]\n");
}

void nn_forward(NeuralNetwork nn)
{
    for (size_t l = 0; l < nn.num_layers; l++) {
        mat_dot(nn.sums[l], nn.activations[l], nn.weights[l]);
        mat_sum(nn.sums[l], nn.biases[l]);
        mat_cpy(nn.activations[l + 1], nn.sums[l]);
        mat_act(nn.activations[l + 1], nn.activation_functions[l]);
    }
}

/* ---- The cost and its gradient ---- */

/* log(sum over j of exp(z_j)): with softmax, log(a_j) = z_j - that. */
static float nn_log_sum_exp(Matrix z)
{
    float max = MAT_AT(z, 0, 0), sum = 0.0f;
    for (size_t j = 1; j < z.cols; j++) {
        max = fmaxf(max, MAT_AT(z, 0, j));
    }
    for (size_t j = 0; j < z.cols; j++) {
        sum += expf(MAT_AT(z, 0, j) - max);
    }
    return max + logf(sum);
}

/* The term of one output in C_i. */
static float nn_loss(NNLoss loss, float z, float a, float y)
{
    float diff = a - y, size = fabsf(diff);
    switch (loss.kind) {
    case NN_MAE: return size;
    case NN_HUBER: return size <= loss.parameter ? diff * diff / 2 : loss.parameter * (size - loss.parameter / 2);
    case NN_PINBALL: return diff < 0.0f ? -loss.parameter * diff : (1 - loss.parameter) * diff;
    case NN_BINARY_CROSS_ENTROPY: return nn_softplus(z) - y * z;
    default: return diff * diff;
    }
}

/* And dC_i/da of it, for the losses that are taken of a. */
static float nn_loss_derivative(NNLoss loss, float a, float y)
{
    float diff = a - y, sign = (float)(diff > 0.0f) - (float)(diff < 0.0f);
    switch (loss.kind) {
    case NN_MAE: return sign;
    case NN_HUBER: return fabsf(diff) <= loss.parameter ? diff : loss.parameter * sign;
    case NN_PINBALL: return diff < 0.0f ? -loss.parameter : (1 - loss.parameter) * sign;
    default: return 2 * diff;
    }
}

/* C_i = sum over j of the terms of the targets that are there */
float nn_sample_cost(NeuralNetwork nn, Matrix sample_in, Matrix sample_out)
{
    Matrix z = nn.sums[nn.num_layers - 1];
    float cost = 0.0f, log_sum_exp = 0.0f;
    mat_cpy(NN_INPUT(nn), sample_in);
    nn_forward(nn);
    if (nn.loss.kind == NN_CROSS_ENTROPY) {
        log_sum_exp = nn_log_sum_exp(z);
    }
    for (size_t j = 0; j < sample_out.cols; j++) {
        float y = MAT_AT(sample_out, 0, j);
        if (isnan(y)) {
            continue;
        }
        if (nn.loss.kind == NN_CROSS_ENTROPY) {
            cost += y * (log_sum_exp - MAT_AT(z, 0, j));
        } else {
            cost += nn_loss(nn.loss, MAT_AT(z, 0, j), MAT_AT(NN_OUTPUT(nn), 0, j), y);
        }
    }
    return cost;
}

/* C = 1/n sum over i of C_i */
float nn_cost(NeuralNetwork nn, Matrix train_in, Matrix train_out)
{
    float cost = 0.0f;
    NN_ASSERT(train_in.rows == train_out.rows && train_in.rows > 0);
    NN_ASSERT(train_out.cols == NN_OUTPUT(nn).cols);
    for (size_t i = 0; i < train_in.rows; i++) {
        cost += nn_sample_cost(nn, mat_row(train_in, i), mat_row(train_out, i));
    }
    return cost / (float)train_in.rows;
}

float nn_mse(NeuralNetwork nn, Matrix train_in, Matrix train_out)
{
    float cost = 0.0f;
    NN_ASSERT(train_in.rows == train_out.rows && train_in.rows > 0);
    NN_ASSERT(train_out.cols == NN_OUTPUT(nn).cols);
    for (size_t i = 0; i < train_in.rows; i++) {
        mat_cpy(NN_INPUT(nn), mat_row(train_in, i));
        nn_forward(nn);
        for (size_t j = 0; j < train_out.cols; j++) {
            float diff = MAT_AT(NN_OUTPUT(nn), 0, j) - MAT_AT(train_out, i, j);
            cost += diff * diff;
        }
    }
    return cost / (float)train_in.rows;
}

/* dC/dp for every number p of m, one of the matrices of nn, into the same place of dm. */
static void nn_finite_diff_matrix(NeuralNetwork nn, Matrix m, Matrix dm, float eps, Matrix ti, Matrix to, float cost)
{
    for (size_t i = 0; i < m.rows; i++) {
        for (size_t j = 0; j < m.cols; j++) {
            float saved = MAT_AT(m, i, j);
            MAT_AT(m, i, j) += eps;
            MAT_AT(dm, i, j) = (nn_cost(nn, ti, to) - cost) / eps;
            MAT_AT(m, i, j) = saved;
        }
    }
}

void nn_finite_diff(NeuralNetwork nn, NeuralNetwork grad, float eps, Matrix train_in, Matrix train_out)
{
    float cost = nn_cost(nn, train_in, train_out);
    for (size_t l = 0; l < nn.num_layers; l++) {
        nn_finite_diff_matrix(nn, nn.weights[l], grad.weights[l], eps, train_in, train_out, cost);
        nn_finite_diff_matrix(nn, nn.biases[l], grad.biases[l], eps, train_in, train_out, cost);
    }
}

/* dC_i/dz of the outputs, into d. Through a it is dC_i/da da/dz; softmax mixes the outputs: da_i/dz_j = a_i ((i == j) - a_j). The
 * cross-entropies have it simpler: softmax with its own a - y, where the y sum up to 1, and the sigmoid with its own a - y. */
static void nn_output_derivative(NeuralNetwork nn, Matrix d, Matrix sample_out)
{
    Matrix z = nn.sums[nn.num_layers - 1], a = NN_OUTPUT(nn);
    int function = nn.activation_functions[nn.num_layers - 1];
    float total = 0.0f, mixed = 0.0f; /* of the y; of a dC_i/da */
    for (size_t j = 0; j < a.cols; j++) {
        float y = MAT_AT(sample_out, 0, j);
        MAT_AT(d, 0, j) = isnan(y) ? 0.0f : nn_loss_derivative(nn.loss, MAT_AT(a, 0, j), y);
        mixed += MAT_AT(d, 0, j) * MAT_AT(a, 0, j);
        total += isnan(y) ? 0.0f : y;
    }
    for (size_t j = 0; j < a.cols; j++) {
        float aj = MAT_AT(a, 0, j), zj = MAT_AT(z, 0, j), y = MAT_AT(sample_out, 0, j);
        if (nn.loss.kind == NN_CROSS_ENTROPY) {
            MAT_AT(d, 0, j) = total * aj - (isnan(y) ? 0.0f : y);
        } else if (nn.loss.kind == NN_BINARY_CROSS_ENTROPY) {
            MAT_AT(d, 0, j) = isnan(y) ? 0.0f : sigf(zj) - y;
        } else if (function == NN_SOFTMAX) {
            MAT_AT(d, 0, j) = aj * (MAT_AT(d, 0, j) - mixed);
        } else {
            MAT_AT(d, 0, j) *= nn_derivative(function, zj, aj);
        }
    }
}

/* One sample's share. grad.activations[l] holds dC_i/dz of layer l, where z is what the function is taken of: a = f(z), and for
 * the sigmoid da/dz = a (1 - a). From the output, where dC_i/da = 2 (a - y) for the squared error, it goes backwards through the
 * weights. */
void nn_sample_backpropagation(NeuralNetwork nn, NeuralNetwork grad, Matrix sample_in, Matrix sample_out)
{
    /* Forward */
    mat_cpy(NN_INPUT(nn), sample_in);
    nn_forward(nn);

    for (size_t l = 0; l < grad.num_layers; l++) {
        mat_fill(grad.activations[l], 0.0f);
    }
    nn_output_derivative(nn, NN_OUTPUT(grad), sample_out);

    /* Backward: l over the layers, j over the neurons of layer l, k over those of the previous one */
    for (size_t l = nn.num_layers; l > 0; l--) {
        for (size_t j = 0; j < nn.activations[l].cols; j++) {
            float dC_dz = MAT_AT(grad.activations[l], 0, j);
            MAT_AT(grad.biases[l - 1], 0, j) += dC_dz;
            for (size_t k = 0; k < nn.activations[l - 1].cols; k++) {
                float a = MAT_AT(nn.activations[l - 1], 0, k);
                MAT_AT(grad.weights[l - 1], k, j) += dC_dz * a;
                if (l > 1) { /* the input has nothing to learn */
                    float da_dz = nn_derivative(nn.activation_functions[l - 2], MAT_AT(nn.sums[l - 2], 0, k), a);
                    MAT_AT(grad.activations[l - 1], 0, k) += dC_dz * MAT_AT(nn.weights[l - 1], k, j) * da_dz;
                }
            }
        }
    }
}

void nn_backpropagation(NeuralNetwork nn, NeuralNetwork grad, Matrix train_in, Matrix train_out)
{
    NN_ASSERT(train_in.rows == train_out.rows && train_in.rows > 0);
    NN_ASSERT(train_out.cols == NN_OUTPUT(nn).cols);
    nn_fill(grad, 0.0f);
    for (size_t i = 0; i < train_in.rows; i++) {
        nn_sample_backpropagation(nn, grad, mat_row(train_in, i), mat_row(train_out, i));
    }
    nn_average(grad, train_in.rows);
}

void nn_average(NeuralNetwork grad, size_t num_samples)
{
    for (size_t l = 0; l < grad.num_layers; l++) {
        for (size_t i = 0; i < grad.weights[l].rows; i++) {
            for (size_t j = 0; j < grad.weights[l].cols; j++) {
                MAT_AT(grad.weights[l], i, j) /= (float)num_samples;
            }
        }
        for (size_t j = 0; j < grad.biases[l].cols; j++) {
            MAT_AT(grad.biases[l], 0, j) /= (float)num_samples;
        }
    }
}

/* ---- Gradient descent ---- */

void nn_descend(NeuralNetwork nn, NeuralNetwork grad, float rate)
{
    for (size_t l = 0; l < nn.num_layers; l++) {
        for (size_t i = 0; i < nn.weights[l].rows; i++) {
            for (size_t j = 0; j < nn.weights[l].cols; j++) {
                MAT_AT(nn.weights[l], i, j) -= rate * MAT_AT(grad.weights[l], i, j);
            }
        }
        for (size_t j = 0; j < nn.biases[l].cols; j++) {
            MAT_AT(nn.biases[l], 0, j) -= rate * MAT_AT(grad.biases[l], 0, j);
        }
    }
}

int nn_gradient_descent(NeuralNetwork nn, float rate, Matrix train_in, Matrix train_out, size_t iterations)
{
    NeuralNetwork grad = nn_alloc(nn.archi, nn.num_layers);
    if (grad.archi == NULL) {
        return NN_NO_MEMORY;
    }
    for (size_t it = 0; it < iterations; it++) {
        nn_backpropagation(nn, grad, train_in, train_out);
        nn_descend(nn, grad, rate);
    }
    nn_free(grad);
    return NN_OK;
}

#ifdef __cplusplus
}
#endif
#endif /* NN_IMPLEMENTED_ */
#endif /* NN_IMPLEMENTATION */
