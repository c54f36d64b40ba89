/* nn.h: a strided Matrix, a fully connected NeuralNetwork and backpropagation, in plain C99 that also compiles as C++.
 *
 * An stb-style single-header library. Include it wherever you need it. In exactly one file of the program write
 *
 *     #define NN_IMPLEMENTATION
 *     #include "nn.h"
 *
 * and link with the mathematics library (-lm). The code follows the derivation on paper: plain loops, one sample at a time. It is
 * meant to be read, and to be the reference that faster code is tested against. It is not optimised.
 *
 * You may define these before the include, in the file with NN_IMPLEMENTATION:
 *
 *     NN_MALLOC(size), NN_FREE(pointer)   the allocator; default: malloc and free
 *     NN_ASSERT(condition)                checks a caller's mistakes, such as shapes that do not match; default: assert
 *     NN_RAND()                           returns a random float in [0, 1]; default: rand() / RAND_MAX
 *
 * and this in every file, or on the command line:
 *
 *     NN_PORTABLE_RAND                    srand() and NN_RAND() use the generator nn_minstd_float instead of the C library's, so
 *                                         that a seed gives the same network everywhere (each C library has its own rand())
 *
 * A failed allocation prints nothing and does not exit: the functions that allocate report it in their result. */
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

/* ---- Matrix: a rows x cols view of float32 numbers in row-major order ----
 *
 * A Matrix does not own its data. Elements of a row are contiguous; row i + 1 begins `stride` floats after row i. A stride larger
 * than cols selects some columns of a wider table. A negative stride (rows in reverse order) is stored as the size_t it wraps to:
 * the product in MAT_AT wraps in the same way, and the cast to ptrdiff_t gives the negative index back. */
typedef struct {
    size_t rows;
    size_t cols;
    size_t stride;
    float *data;
} Matrix;

/* Element (i, j) of m, as an lvalue. */
#define MAT_AT(m, i, j) (m).data[(ptrdiff_t)((size_t)(i) * (m).stride + (size_t)(j))]

Matrix mat_alloc(size_t rows, size_t cols);            /* allocates, uninitialised; data is NULL if memory ran out */
void mat_free(Matrix m);                               /* frees a matrix from mat_alloc; not for views */
void mat_fill(Matrix m, float val);                    /* sets every element to val */
void mat_rand(Matrix m, float min, float max);         /* sets every element to a uniform random number in [min, max] */
void mat_cpy(Matrix dst, Matrix src);                  /* dst = src; same shape */
Matrix mat_row(Matrix m, size_t row);                  /* a (1, cols) view of a row */
void mat_dot(Matrix dst, Matrix a, Matrix b);          /* dst = a b: (n, m) = (n, k) (k, m); dst must not overlap a or b */
void mat_sum(Matrix dst, Matrix a);                    /* dst += a; same shape */
void mat_sigf(Matrix m);                               /* applies the sigmoid to every element */
void mat_act(Matrix m, int activation_function);       /* applies an activation function; softmax to every row */
void mat_print(Matrix m, const char *name);            /* prints to stdout */

/* The loss to minimise: one of NN_MSE, NN_MAE, ... below. */
typedef struct {
    int kind;
    float parameter; /* NN_HUBER: delta; NN_PINBALL: the quantile q; unused otherwise */
} NNLoss;

/* ---- NeuralNetwork: num_layers fully connected layers ----
 *
 * Layer l maps the activations of archi[l] neurons to those of archi[l + 1] neurons:
 *
 *     z = a w + b                     pre-activations (for a last layer with softmax: the logits)
 *     a' = f(z)                       activations, the input of the next layer
 *
 *     archi                           (num_layers + 1,): numbers of neurons, the inputs first
 *     weights[l]                      w, shape (archi[l], archi[l + 1])
 *     biases[l]                       b, shape (1, archi[l + 1])
 *     activations[l]                  a, shape (1, archi[l]); activations[0] is the input of the network
 *     sums[l]                         z, shape (1, archi[l + 1])
 *     activation_functions[l]         f; the sigmoid unless changed
 *     loss                            the loss to minimise; the squared error unless changed
 *
 * nn_alloc puts everything into one block of memory, which archi points to. The parameters are contiguous, in the order weights[0]
 * (row-major), biases[0], weights[1], ...: nn_num_parameters(nn) floats that begin at weights[0].data. */
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

/* Activation functions, a = f(z):
 *
 *     NN_SIGMOID      1 / (1 + exp(-z))
 *     NN_TANH         tanh(z)
 *     NN_RELU         max(z, 0)
 *     NN_LINEAR       z
 *     NN_SOFTMAX      a_j = exp(z_j) / sum over i of exp(z_i); only for the last layer
 *     NN_LEAKY_RELU   z for z >= 0, 0.01 z for z < 0
 *     NN_ELU          z for z >= 0, exp(z) - 1 for z < 0
 *     NN_SOFTPLUS     log(1 + exp(z))
 *     NN_SILU         z sigmoid(z), also called swish
 *     NN_GELU         z Phi(z), with Phi(z) = (1 + erf(z / sqrt(2))) / 2, the cumulative distribution of the standard normal */
enum {
    NN_SIGMOID = 0, NN_TANH, NN_RELU, NN_LINEAR, NN_SOFTMAX, NN_LEAKY_RELU, NN_ELU, NN_SOFTPLUS, NN_SILU, NN_GELU
};
#define NN_LEAK 0.01f /* the negative slope of NN_LEAKY_RELU */

/* Loss functions. C_i, the loss of sample i with outputs a and targets y, is the sum over the outputs of
 *
 *     NN_MSE                    (a - y)^2
 *     NN_MAE                    |a - y|
 *     NN_HUBER                  (a - y)^2 / 2 if |a - y| <= delta, else delta (|a - y| - delta / 2)
 *     NN_PINBALL                q (y - a) if a < y, else (1 - q) (a - y): minimised by the q-quantile
 *     NN_BINARY_CROSS_ENTROPY   -y log(p) - (1 - y) log(1 - p), p = sigmoid(z), y in [0, 1]; the last layer is sigmoid, or linear
 *                               if the outputs are to be logits
 *     NN_CROSS_ENTROPY          -y log(a); the last layer is softmax and the targets are probabilities, such as one-hot
 *
 * Both cross-entropies are computed from the logits z, so that log(0) is never taken. A target that is NaN is missing: its term is
 * left out. */
enum { NN_MSE = 0, NN_MAE, NN_HUBER, NN_PINBALL, NN_BINARY_CROSS_ENTROPY, NN_CROSS_ENTROPY };

#define NN_INPUT(nn) (nn).activations[0]
#define NN_OUTPUT(nn) (nn).activations[(nn).num_layers]

/* Result codes of functions that can fail. */
enum { NN_OK = 0, NN_NO_MEMORY = 1 };

NeuralNetwork nn_alloc(const size_t *archi, size_t num_layers); /* all parameters 0; archi is NULL if memory ran out */
void nn_free(NeuralNetwork nn);
size_t nn_num_parameters(NeuralNetwork nn);
void nn_rand(NeuralNetwork nn, float min, float max); /* sets every weight and bias to a uniform random number in [min, max] */
void nn_fill(NeuralNetwork nn, float val);            /* sets every weight and bias to val */
void nn_print(NeuralNetwork nn, const char *name);    /* prints weights and biases to stdout */

/* ---- Training ----
 *
 * train_in is (n, archi[0]) and train_out, the targets, (n, archi[num_layers]). `grad` is a network of the same architecture; its
 * weights and biases receive the gradient: the derivatives of C with respect to the parameters of nn. */

/* The forward pass: computes NN_OUTPUT(nn) from NN_INPUT(nn). */
void nn_forward(NeuralNetwork nn);

/* The mean squared error: summed over the outputs, averaged over the samples. */
float nn_mse(NeuralNetwork nn, Matrix train_in, Matrix train_out);

/* The cost C: the loss C_i averaged over the samples. */
float nn_cost(NeuralNetwork nn, Matrix train_in, Matrix train_out);

/* The gradient of C by finite differences: (C(p + eps) - C(p)) / eps for every parameter p. */
void nn_finite_diff(NeuralNetwork nn, NeuralNetwork grad, float eps, Matrix train_in, Matrix train_out);

/* The gradient of C by backpropagation. The activations of grad are overwritten as well. */
void nn_backpropagation(NeuralNetwork nn, NeuralNetwork grad, Matrix train_in, Matrix train_out);

/* Full-batch gradient descent: p -= rate * dC/dp for every parameter p, `iterations` times; rate is the learning rate. Returns
 * NN_OK, or NN_NO_MEMORY with the network unchanged. */
int nn_gradient_descent(NeuralNetwork nn, float rate, Matrix train_in, Matrix train_out, size_t iterations);

/* The parts of nn_backpropagation and nn_gradient_descent, for training loops of your own. sample_in is (1, inputs) and
 * sample_out (1, outputs). */
float nn_sample_cost(NeuralNetwork nn, Matrix sample_in, Matrix sample_out); /* runs the forward pass and returns C_i */
void nn_sample_backpropagation(NeuralNetwork nn, NeuralNetwork grad, Matrix sample_in, Matrix sample_out); /* grad += dC_i/dp */
void nn_average(NeuralNetwork grad, size_t num_samples);              /* grad /= num_samples */
void nn_descend(NeuralNetwork nn, NeuralNetwork grad, float rate);    /* the parameter update: nn -= rate * grad */

float sigf(float x); /* the sigmoid, 1 / (1 + exp(-x)) */

/* ---- Random numbers ---- */

float rand_float(void); /* in [0, 1], from NN_RAND */

/* The "minimal standard" generator of Park and Miller (CACM 31, 1988): state = 16807 state mod (2^31 - 1). The blog post that this
 * header follows made its figures with a C library whose rand() is this generator. */
uint32_t nn_minstd_seed(uint32_t seed);   /* the initial state: the seed, except for seeds that would stay at 0 forever */
float nn_minstd_float(uint32_t *state);   /* advances the state; returns a number in [0, 1] */
void nn_rand_minstd(NeuralNetwork nn, float min, float max, uint32_t seed); /* like nn_rand, without global state */

#ifdef NN_PORTABLE_RAND
void nn_srand(unsigned int seed);
#define srand nn_srand
#endif

/* A counter-based generator: the n-th number of the sequence that belongs to seed, without computing those before it. SplitMix64
 * (Steele, Lea and Flood, OOPSLA 2014), with the seed mixed first. */
uint64_t nn_random(uint64_t seed, uint64_t n);

/* Initialises the parameters for training: biases 0, weights uniform in [-r, r]. For sigmoid and tanh r = sqrt(6 / (rows + cols))
 * (Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural networks", 2010, equation 16). For the
 * other activation functions r = 1 / sqrt(rows): the first pre-activations, and so the first outputs, stay small against the
 * inputs, which small data sets need (the proportion is that of LeCun, Bottou, Orr and Mueller, "Efficient BackProp", 1998,
 * section 4.6). */
void nn_initialize(NeuralNetwork nn, uint64_t seed);

/* ---- Sizes ---- */

/* *product = a * b. Returns 1, or 0 if the product does not fit into a size_t. */
int nn_multiply(size_t a, size_t b, size_t *product);

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

/* ---- Random numbers ---- */

#define NN_MINSTD_MODULUS 2147483647u /* 2^31 - 1, a prime */

uint32_t nn_minstd_seed(uint32_t seed)
{
    uint32_t state = seed % NN_MINSTD_MODULUS;
    return state == 0 ? 123459876u : state; /* the C library of the post has the same exception */
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

/* A bijection of 64-bit numbers in which every input bit affects every output bit. */
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

int nn_multiply(size_t a, size_t b, size_t *product)
{
    const size_t root = (size_t)1 << (4 * sizeof(size_t)); /* of SIZE_MAX + 1 */
    *product = a * b;
    return (a < root && b < root) || a == 0 || *product / a == b; /* most calls need no division, which is slow */
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
    NN_ASSERT(row < m.rows);
    Matrix view = {1, m.cols, m.stride, &MAT_AT(m, row, 0)};
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

/* log(1 + exp(z)), written so that exp does not overflow. */
static float nn_softplus(float z)
{
    return fmaxf(z, 0.0f) + log1pf(expf(-fabsf(z)));
}

/* Phi(z), the cumulative distribution of the standard normal. */
static float nn_normal_cdf(float z)
{
    return 0.5f * erfcf(-0.70710678f * z);
}

/* Phi'(z) = exp(-z^2 / 2) / sqrt(2 pi). */
static float nn_normal_density(float z)
{
    return 0.39894228f * expf(-0.5f * z * z);
}

/* a = f(z), for every activation function but softmax. */
static float nn_activate(int activation_function, float z)
{
    switch (activation_function) {
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

/* da/dz, for every activation function but softmax; written in z or in a, whichever is simpler. */
static float nn_activation_derivative(int activation_function, float z, float a)
{
    switch (activation_function) {
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

/* Softmax of a (1, n) row. The maximum is subtracted first, so that exp does not overflow. */
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

void mat_act(Matrix m, int activation_function)
{
    for (size_t i = 0; i < m.rows; i++) {
        if (activation_function == NN_SOFTMAX) {
            mat_softmax_row(mat_row(m, i));
            continue;
        }
        for (size_t j = 0; j < m.cols; j++) {
            MAT_AT(m, i, j) = nn_activate(activation_function, MAT_AT(m, i, j));
        }
    }
}

#define NN_NO_INDEX SIZE_MAX

/* Prints m as name, or as name[index] unless index is NN_NO_INDEX. */
static void nn_print_matrix(Matrix m, const char *name, size_t index, int indent)
{
    if (index == NN_NO_INDEX) {
        printf("%*s%s = [\n", indent, "", name);
    } else {
        printf("%*s%s[%lu] = [\n", indent, "", name, (unsigned long)index);
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
    nn_print_matrix(m, name, NN_NO_INDEX, 0);
}

/* ---- NeuralNetwork ---- */

/* The number of bytes that nn_alloc needs for a network, or 0 if it does not fit into a size_t. */
static size_t nn_alloc_size(const size_t *archi, size_t num_layers)
{
    size_t num_floats = archi[0], num, float_bytes, other_bytes;
    if (num_layers > SIZE_MAX / 8 / sizeof(Matrix)) {
        return 0;
    }
    for (size_t l = 0; l < num_layers; l++) { /* weights[l], biases[l], sums[l] and activations[l + 1] */
        if (archi[l] > SIZE_MAX - 3 || !nn_multiply(archi[l] + 3, archi[l + 1], &num) || num_floats > SIZE_MAX - num) {
            return 0;
        }
        num_floats += num;
    }
    other_bytes = (num_layers + 1) * sizeof(size_t) + (4 * num_layers + 1) * sizeof(Matrix) + num_layers * sizeof(int);
    if (!nn_multiply(num_floats, sizeof(float), &float_bytes) || float_bytes > SIZE_MAX - other_bytes) {
        return 0;
    }
    return other_bytes + float_bytes;
}

/* A (rows, cols) matrix at *data; advances *data past it. */
static Matrix nn_place_matrix(float **data, size_t rows, size_t cols)
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
    size = nn_alloc_size(archi, num_layers);
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
        nn.weights[l] = nn_place_matrix(&data, archi[l], archi[l + 1]);
        nn.biases[l] = nn_place_matrix(&data, 1, archi[l + 1]);
    }
    for (size_t l = 0; l <= num_layers; l++) {
        nn.activations[l] = nn_place_matrix(&data, 1, archi[l]);
        mat_fill(nn.activations[l], 0.0f);
    }
    for (size_t l = 0; l < num_layers; l++) {
        nn.sums[l] = nn_place_matrix(&data, 1, archi[l + 1]);
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
                float uniform = (float)(nn_random(seed, n++) >> 40) / 16777216.0f; /* in [0, 1), from 24 bits */
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

/* ---- The forward pass ---- */

void nn_forward(NeuralNetwork nn)
{
    for (size_t l = 0; l < nn.num_layers; l++) {
        mat_dot(nn.sums[l], nn.activations[l], nn.weights[l]); /* z = a w + b */
        mat_sum(nn.sums[l], nn.biases[l]);
        mat_cpy(nn.activations[l + 1], nn.sums[l]); /* a' = f(z) */
        mat_act(nn.activations[l + 1], nn.activation_functions[l]);
    }
}

/* ---- The cost ---- */

/* Returns log(sum over j of exp(z_j)) for a (1, n) row of logits. With softmax, log(a_j) = z_j - log_sum_exp(z). */
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

/* Returns the term of one output in C_i, from its logit z, output a and target y. Not for NN_CROSS_ENTROPY. */
static float nn_loss_term(NNLoss loss, float z, float a, float y)
{
    float diff = a - y, distance = fabsf(diff);
    switch (loss.kind) {
    case NN_MAE: return distance;
    case NN_HUBER: return distance <= loss.parameter ? diff * diff / 2 : loss.parameter * (distance - loss.parameter / 2);
    case NN_PINBALL: return diff < 0.0f ? -loss.parameter * diff : (1 - loss.parameter) * diff;
    case NN_BINARY_CROSS_ENTROPY: return nn_softplus(z) - y * z;
    default: return diff * diff;
    }
}

/* C_i = sum over j of loss(a_j, y_j), without the targets that are missing. */
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
            cost += nn_loss_term(nn.loss, MAT_AT(z, 0, j), MAT_AT(NN_OUTPUT(nn), 0, j), y);
        }
    }
    return cost;
}

/* C = 1/n sum over i of C_i. */
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

/* 1/n sum over i, sum over j of (a_j - y_j)^2, whatever nn.loss is. */
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

/* ---- The gradient by finite differences ---- */

/* For every element p of m, one of the matrices of nn: writes (C(p + eps) - C(p)) / eps to the same element of dm. `cost` is
 * C(p). */
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

/* ---- The gradient by backpropagation ----
 *
 * With superscripts left out, for a layer with inputs a_k, weights w_kj and outputs a'_j:
 *
 *     C_i  = sum over j of loss(a'_j, y_j)      (last layer)
 *     a'_j = f(z_j)
 *     z_j  = sum over k of a_k w_kj + b_j
 *
 * The chain rule gives
 *
 *     dC_i/dz_j  = dC_i/da'_j da'_j/dz_j
 *     dC_i/dw_kj = dC_i/dz_j a_k                because dz_j/dw_kj = a_k
 *     dC_i/db_j  = dC_i/dz_j                    because dz_j/db_j = 1
 *     dC_i/da_k  = sum over j of dC_i/dz_j w_kj because dz_j/da_k = w_kj; it is dC_i/da' of the previous layer
 *
 * and C = 1/n sum over i of C_i makes every derivative of C the average over the samples. */

/* Returns dC_i/da of one output a with target y. Not for the cross-entropies, which are computed from z. */
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

/* Writes dC_i/dz of the last layer to d, shape (1, outputs); sample_out is the (1, outputs) row of targets.
 *
 * In general dC_i/dz_j = dC_i/da_j da_j/dz_j. Softmax mixes the outputs: da_k/dz_j = a_k ((k == j) - a_j), so that
 * dC_i/dz_j = a_j (dC_i/da_j - sum over k of dC_i/da_k a_k). With the cross-entropies the factors cancel: softmax gives
 * a_j - y_j if the targets sum to 1 (sum(y) a_j - y_j in general), and the sigmoid gives sigmoid(z_j) - y_j. */
static void nn_output_delta(NeuralNetwork nn, Matrix d, Matrix sample_out)
{
    Matrix z = nn.sums[nn.num_layers - 1], a = NN_OUTPUT(nn);
    int activation_function = nn.activation_functions[nn.num_layers - 1];
    float sum_y = 0.0f, sum_da_a = 0.0f; /* sum over j of y_j, and of dC_i/da_j a_j */
    for (size_t j = 0; j < a.cols; j++) {
        float y = MAT_AT(sample_out, 0, j);
        MAT_AT(d, 0, j) = isnan(y) ? 0.0f : nn_loss_derivative(nn.loss, MAT_AT(a, 0, j), y);
        sum_da_a += MAT_AT(d, 0, j) * MAT_AT(a, 0, j);
        sum_y += isnan(y) ? 0.0f : y;
    }
    for (size_t j = 0; j < a.cols; j++) {
        float aj = MAT_AT(a, 0, j), zj = MAT_AT(z, 0, j), y = MAT_AT(sample_out, 0, j);
        if (nn.loss.kind == NN_CROSS_ENTROPY) {
            MAT_AT(d, 0, j) = sum_y * aj - (isnan(y) ? 0.0f : y);
        } else if (nn.loss.kind == NN_BINARY_CROSS_ENTROPY) {
            MAT_AT(d, 0, j) = isnan(y) ? 0.0f : sigf(zj) - y;
        } else if (activation_function == NN_SOFTMAX) {
            MAT_AT(d, 0, j) = aj * (MAT_AT(d, 0, j) - sum_da_a);
        } else {
            MAT_AT(d, 0, j) *= nn_activation_derivative(activation_function, zj, aj);
        }
    }
}

/* grad.activations[l + 1] holds dC_i/dz of layer l. (The post stores the same product, dC/da da/dz, in this place.) */
void nn_sample_backpropagation(NeuralNetwork nn, NeuralNetwork grad, Matrix sample_in, Matrix sample_out)
{
    /* Forward pass */
    mat_cpy(NN_INPUT(nn), sample_in);
    nn_forward(nn);

    for (size_t l = 0; l < grad.num_layers; l++) {
        mat_fill(grad.activations[l], 0.0f);
    }
    nn_output_delta(nn, NN_OUTPUT(grad), sample_out);

    /* Backward pass: l over the layers, j over the neurons of a layer, k over the neurons of the previous layer */
    for (size_t l = nn.num_layers; l > 0; l--) {
        for (size_t j = 0; j < nn.activations[l].cols; j++) {
            float dC_dz = MAT_AT(grad.activations[l], 0, j);
            MAT_AT(grad.biases[l - 1], 0, j) += dC_dz;
            for (size_t k = 0; k < nn.activations[l - 1].cols; k++) {
                float a = MAT_AT(nn.activations[l - 1], 0, k);
                MAT_AT(grad.weights[l - 1], k, j) += dC_dz * a;
                if (l > 1) { /* the network's input has no dC/dz */
                    float da_dz = nn_activation_derivative(nn.activation_functions[l - 2], MAT_AT(nn.sums[l - 2], 0, k), a);
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
