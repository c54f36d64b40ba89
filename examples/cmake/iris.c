/* iris.c: the implementation of the exported network, in one file of the project. */
#define IRIS_IMPLEMENTATION
#include "iris.h"
