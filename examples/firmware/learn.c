/* learn.c: an exported network learns a new style of digits on the device, by stochastic gradient descent on one sample at a time.
 * It prints how many test digits of the new and of the old style it classifies correctly, and at the end the hash of its parameters.
 * With REPLAY each new sample is followed by an old one, so that less of the old style is forgotten. */
#include "board.h"
#include "samples.h"

#define DIGITS_IMPLEMENTATION
#include "digits.h"

static void read_pixels(const uint8_t *pixels, float *x)
{
    for (int i = 0; i < DIGITS_NUM_INPUTS; i++) {
        x[i] = (float)pixels[i] / 16.0f;
    }
}

static unsigned count_right(const uint8_t (*pixels)[DIGITS_NUM_INPUTS])
{
    unsigned num_right = 0;
    for (int i = 0; i < NUM_TEST; i++) {
        float x[DIGITS_NUM_INPUTS];
        read_pixels(pixels[i], x);
        num_right += digits_classify(x) == test_labels[i];
    }
    return num_right;
}

static void learn(const uint8_t *pixels, int label)
{
    float x[DIGITS_NUM_INPUTS], target[DIGITS_NUM_OUTPUTS] = {0};
    read_pixels(pixels, x);
    target[label] = 1.0f;
    digits_train(x, target, RATE);
}

static void print_score(unsigned step)
{
    board_print("step ");
    board_print_number(step);
    board_print(": new style ");
    board_print_number(count_right(new_pixels));
    board_print(" of 600, old style ");
    board_print_number(count_right(old_pixels));
    board_print(" of 600\n");
}

/* FNV-1a, 32 bits, over the bytes of an array; value: the hash of what came before. */
static uint32_t hash(uint32_t value, const float *array, size_t num)
{
    const unsigned char *bytes = (const unsigned char *)array;
    for (size_t i = 0; i < num * sizeof *array; i++) {
        value = (value ^ bytes[i]) * 0x01000193u;
    }
    return value;
}

#define HASH(value, array) hash(value, array, sizeof(array) / sizeof(array)[0])

/* The parameters are static in digits.h, so this has to be in the file with the implementation. */
static uint32_t hash_of_parameters(void)
{
    uint32_t value = HASH(0x811c9dc5u, digits_weights_0);
    value = HASH(value, digits_biases_0);
    value = HASH(value, digits_weights_1);
    return HASH(value, digits_biases_1);
}

int main(void)
{
    unsigned step = 0;
    size_t stack;
#if !defined(DIGITS_FAST) /* which may change the last digits */
    if (digits_selftest() != 0) {
        board_print("the self-test fails\n");
        return 1;
    }
#endif
    print_score(step);
    for (int pass = 0; pass < NUM_PASSES; pass++) {
        for (int i = 0; i < NUM_LEARN; i++, step++) {
            learn(learn_pixels[i], learn_labels[i]);
#if defined(REPLAY)
            learn(replay_pixels[i], replay_labels[i]);
#endif
        }
        print_score(step);
    }
    board_print("parameters ");
    board_print_hex(hash_of_parameters());
    board_fill_stack();
    learn(learn_pixels[0], learn_labels[0]);
    stack = board_used_stack();
    board_print("\nstack of a step: ");
    board_print_number(stack);
    board_print(" bytes\n");
    return 0;
}
