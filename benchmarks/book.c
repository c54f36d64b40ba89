/* book.c: trains the XOR network of the post by csrc/nn.h alone. `book ITERATIONS` prints the seconds and the outputs. */
#define _POSIX_C_SOURCE 199309L
#define NN_IMPLEMENTATION
#include "nn.h"

#include <time.h>

int main(int argc, char **argv)
{
    size_t archi[] = {2, 2, 1}, iterations = argc > 1 ? (size_t)strtoul(argv[1], NULL, 10) : 10000;
    float data[] = {0, 0, 0, 0, 1, 1, 1, 0, 1, 1, 1, 0};
    Matrix in = {4, 2, 3, data}, out = {4, 1, 3, data + 2};
    NeuralNetwork nn = nn_alloc(archi, 2);
    struct timespec start, end;

    nn_rand_minstd(nn, 0, 1, 69);
    clock_gettime(CLOCK_MONOTONIC, &start);
    nn_gradient_descent(nn, 10, in, out, iterations);
    clock_gettime(CLOCK_MONOTONIC, &end);
    printf("%.9f", (double)(end.tv_sec - start.tv_sec) + 1e-9 * (double)(end.tv_nsec - start.tv_nsec));
    for (size_t i = 0; i < 4; i++) {
        mat_cpy(NN_INPUT(nn), mat_row(in, i));
        nn_forward(nn);
        printf(" %.6f", (double)MAT_AT(NN_OUTPUT(nn), 0, 0));
    }
    printf("\n");
    nn_free(nn);
    return 0;
}
