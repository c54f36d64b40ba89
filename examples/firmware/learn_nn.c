/* learn_nn.c: the same as learn.c with nn.h alone: its backpropagation, with batches of one sample. The network is the one that was
 * trained in Python. nn.h rounds products and sums separately and takes expf from the C library, so the last digits of the
 * parameters are others, and no hash of them is printed. */
#include "board.h"
#include "parameters.h"
#include "samples.h"

/* A pool instead of a heap, for the network and its gradient. Nothing is freed. */
static void *take(size_t size);
static void fail(const char *what);
#define NN_MALLOC take
#define NN_FREE(pointer) ((void)(pointer))
#define NN_ASSERT(condition) ((condition) ? (void)0 : fail(#condition))
#define NN_IMPLEMENTATION
#include "nn.h"

#define NUM_INPUTS 64
#define NUM_OUTPUTS 10

static void fail(const char *what)
{
    board_print(what);
    board_print(": failed\n");
    board_exit(1);
}

static void *take(size_t size)
{
    static union {
        unsigned char bytes[24 * 1024];
        double alignment;
    } pool;
    static size_t used;
    size_t begin = used;
    if (size > sizeof pool.bytes - begin) {
        return NULL;
    }
    used += (size + 7) / 8 * 8;
    return pool.bytes + begin;
}

/* pixels: (64,), x: (1, 64) */
static void read_pixels(const uint8_t *pixels, Matrix x)
{
    for (size_t j = 0; j < x.cols; j++) {
        MAT_AT(x, 0, j) = (float)pixels[j] / 16.0f;
    }
}

static unsigned count_right(NeuralNetwork nn, const uint8_t (*pixels)[NUM_INPUTS])
{
    unsigned num_right = 0;
    for (size_t i = 0; i < NUM_TEST; i++) {
        size_t best = 0;
        read_pixels(pixels[i], NN_INPUT(nn));
        nn_forward(nn);
        for (size_t j = 1; j < NUM_OUTPUTS; j++) {
            if (MAT_AT(NN_OUTPUT(nn), 0, j) > MAT_AT(NN_OUTPUT(nn), 0, best)) {
                best = j;
            }
        }
        num_right += best == test_labels[i];
    }
    return num_right;
}

static void learn(NeuralNetwork nn, NeuralNetwork grad, const uint8_t *pixels, size_t label)
{
    float input[NUM_INPUTS], target[NUM_OUTPUTS] = {0};
    Matrix x = {1, NUM_INPUTS, NUM_INPUTS, input}, y = {1, NUM_OUTPUTS, NUM_OUTPUTS, target};
    read_pixels(pixels, x);
    target[label] = 1.0f;
    nn_backpropagation(nn, grad, x, y);
    nn_descend(nn, grad, RATE);
}

static void print_score(NeuralNetwork nn, unsigned step)
{
    board_print("step ");
    board_print_number(step);
    board_print(": new style ");
    board_print_number(count_right(nn, new_pixels));
    board_print(" of 600, old style ");
    board_print_number(count_right(nn, old_pixels));
    board_print(" of 600\n");
}

int main(void)
{
    static const size_t archi[] = {NUM_INPUTS, 32, NUM_OUTPUTS};
    NeuralNetwork nn = nn_alloc(archi, 2), grad = nn_alloc(archi, 2);
    unsigned step = 0;
    size_t stack;
    if (nn.archi == NULL || grad.archi == NULL) {
        fail("memory");
    }
    nn.activation_functions[0] = NN_RELU;
    nn.activation_functions[1] = NN_SOFTMAX;
    nn.loss.kind = NN_CROSS_ENTROPY;
    NN_ASSERT(nn_num_parameters(nn) == ARRAY_LEN(parameters));
    for (size_t i = 0; i < ARRAY_LEN(parameters); i++) {
        nn.weights[0].data[i] = parameters[i];
    }

    print_score(nn, step);
    for (int pass = 0; pass < NUM_PASSES; pass++) {
        for (size_t i = 0; i < NUM_LEARN; i++, step++) {
            learn(nn, grad, learn_pixels[i], learn_labels[i]);
#if defined(REPLAY)
            learn(nn, grad, replay_pixels[i], replay_labels[i]);
#endif
        }
        print_score(nn, step);
    }
    board_fill_stack();
    learn(nn, grad, learn_pixels[0], learn_labels[0]);
    stack = board_used_stack();
    board_print("stack of a step: ");
    board_print_number(stack);
    board_print(" bytes\n");
    return 0;
}
