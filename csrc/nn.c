/* nn.c: compiles the definitions of nn.h, once for the whole library. */
#define NN_IMPLEMENTATION
#include "nn.h"
