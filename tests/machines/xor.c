/* xor.c: trains the post's network with nn.h alone, as firmware would, and prints the mean squared error and the bits of the
 * parameters before and after. run.py compares what a microcontroller prints with what this machine prints. */
#include <inttypes.h>
#include <string.h>

#define NN_IMPLEMENTATION
#include "nn.h"

static void print(NeuralNetwork nn, Matrix x, Matrix y)
{
    printf("%.9g", (double)nn_mse(nn, x, y));
    for (size_t i = 0; i < nn_num_parameters(nn); i++) {
        uint32_t bits;
        memcpy(&bits, nn.weights[0].data + i, sizeof bits);
        printf(" %08" PRIx32, bits);
    }
    printf("\n");
}

int main(void)
{
    static float samples[] = {0, 0, 0, 0, 1, 1, 1, 0, 1, 1, 1, 0};
    static const size_t archi[] = {2, 2, 1};
    Matrix x = {4, 2, 3, samples}, y = {4, 1, 3, samples + 2};
    NeuralNetwork nn = nn_alloc(archi, 2);
    nn_rand_minstd(nn, 0, 1, 69);
    print(nn, x, y);
    nn_gradient_descent(nn, 10, x, y, 2000);
    print(nn, x, y);
    nn_free(nn);
    return 0;
}
