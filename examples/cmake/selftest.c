/* selftest.c: whether this compiler and this processor give the bits of nnpy. */
#include <stdio.h>

#include "iris.h"

int main(void)
{
    int num_wrong = iris_selftest();
    printf("%d wrong\n", num_wrong);
    return num_wrong != 0;
}
