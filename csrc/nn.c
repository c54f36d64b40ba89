/* The definitions of nn.h, once, for the extension. */
#define NN_IMPLEMENTATION
#include "nn.h"
