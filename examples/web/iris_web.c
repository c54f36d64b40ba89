/* iris_web.c: an exported network for WebAssembly. JavaScript writes the inputs to the address that input() returns. */
#define IRIS_IMPLEMENTATION
#include "iris.h"

#include <emscripten.h>

static float in[IRIS_NUM_INPUTS], out[IRIS_NUM_OUTPUTS];

EMSCRIPTEN_KEEPALIVE float *input(void)
{
    return in;
}

/* The outputs for the inputs, until the next call. */
EMSCRIPTEN_KEEPALIVE const float *predict(void)
{
    iris_predict(in, out);
    return out;
}

EMSCRIPTEN_KEEPALIVE int classify(void)
{
    return iris_classify(in);
}

EMSCRIPTEN_KEEPALIVE const char *class_name(int number)
{
    return iris_class_name(number);
}

#if !defined(IRIS_NO_SELFTEST)
EMSCRIPTEN_KEEPALIVE int selftest(void)
{
    return iris_selftest();
}
#endif
