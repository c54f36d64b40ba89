/* classify.c: prints the kind of an iris: classify 5.1 3.5 1.4 0.2, the length and width of sepal and petal in cm. */
#include <stdio.h>
#include <stdlib.h>

#include "iris.h"

int main(int argc, char **argv)
{
    float in[IRIS_NUM_INPUTS];
    int i;
    if (argc != 1 + IRIS_NUM_INPUTS) {
        fprintf(stderr, "expected %d numbers, got %d\n", IRIS_NUM_INPUTS, argc - 1);
        return 1;
    }
    for (i = 0; i < IRIS_NUM_INPUTS; i++) {
        in[i] = strtof(argv[1 + i], NULL);
    }
    puts(iris_class_name(iris_classify(in)));
    return 0;
}
