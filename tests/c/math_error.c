/* The largest error of the vector functions of csrc/vector_math.h over all floats, in units in the last place of the correct
 * result, against the C library's in double precision; and whether they give the same bits with each instruction set. With all of
 * csrc's C files:
 *
 *     cc -O2 -ffp-contract=off -Icsrc -o math_error tests/c/math_error.c $(find csrc -name '*.c') -lm -pthread && ./math_error [STEP]
 *
 * With STEP only every STEP-th float is tried. Prints a line per function; returns 1 if an error is above its bound. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/kernels.h"

#define CHUNK 4096

static double exact_sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}

static double exact_expm1(double x)
{
    return expm1(x);
}

static double exact_softplus(double x)
{
    return fmax(x, 0) + log1p(exp(-fabs(x)));
}

static double exact_normal(double x)
{
    return erfc(-x / sqrt(2)) / 2;
}

static const struct {
    const char *name;
    int function;
    double (*exact)(double);
    double bound; /* ulp */
    float lowest;     /* below it the result is 0 by design */
    double smallest;  /* results below it are measured in its ulp */
    int is_for_negative;
} functions[] = {
    {"exp", NN_MATH_EXP, exp, 1.5, -INFINITY, 0, 0},
    {"tanh", NN_MATH_TANH, tanh, 2.0, -INFINITY, 0, 0},
    {"log", NN_MATH_LOG, log, 1.5, -INFINITY, 0, 0},
    {"sigmoid", NN_MATH_SIGMOID, exact_sigmoid, 3.3, -87.0f, 0, 0},
    {"expm1", NN_MATH_EXPM1, exact_expm1, 2.5, -INFINITY, 0, 1},
    {"softplus", NN_MATH_SOFTPLUS, exact_softplus, 3.5, -INFINITY, 0, 0},
    {"normal", NN_MATH_NORMAL_CDF, exact_normal, 1.5, -INFINITY, 0.5, 0},
};

/* The error of y in units of the last place of the float nearest to `exact`, or of `smallest` if that is more. */
static double error_in_ulp(float y, double exact, double smallest)
{
    float nearest = (float)exact;
    int exponent;
    if (isnan(exact) || isnan(y)) {
        return isnan(exact) && isnan(y) ? 0 : INFINITY;
    }
    if (isinf(nearest) || isinf(y) || nearest == 0) { /* a rounding more or less at the edge of the range */
        return y == nearest || fabs((double)y - exact) <= (nearest == 0 ? 1.5e-45 : 0) ? 0 : fabs(exact) < 3.4028237e38 ? 1 : INFINITY;
    }
    frexpf(fabs(exact) < smallest ? (float)smallest : nearest, &exponent);
    return fabs((double)y - exact) / ldexp(1, exponent - 24 < -149 ? -149 : exponent - 24);
}

int main(int argc, char **argv)
{
    unsigned long step = argc > 1 ? strtoul(argv[1], NULL, 10) : 1;
    int failed = 0;
    for (size_t f = 0; f < sizeof functions / sizeof *functions; f++) {
        double largest = 0;
        float where = 0;
        unsigned long tried = 0, different = 0;
        for (unsigned long first = 0; first < 1ul << 32; first += CHUNK * step) {
            float x[CHUNK], y[CHUNK], other[CHUNK];
            size_t n = 0;
            for (unsigned long i = first; i < 1ul << 32 && n < CHUNK; i += step) {
                unsigned int bits = (unsigned int)i;
                memcpy(&x[n], &bits, sizeof bits);
                x[n] = functions[f].is_for_negative ? -fabsf(x[n]) : x[n];
                n++;
            }
            while (n % 16 != 0) {
                x[n++] = functions[f].is_for_negative ? -1 : 1;
            }
            nn_kernels_available(0)->evaluate_math(functions[f].function, x, y, n);
            for (int k = 1; nn_kernels_available(k) != NULL && (step > 1 || first % (64 * CHUNK) == 0); k++) {
                nn_kernels_available(k)->evaluate_math(functions[f].function, x, other, n);
                for (size_t i = 0; i < n; i++) {
                    different += memcmp(&y[i], &other[i], sizeof(float)) != 0 && !(isnan(y[i]) && isnan(other[i]));
                }
            }
            for (size_t i = 0; i < n; i++) {
                double error = x[i] < functions[f].lowest ? (y[i] == 0 ? 0 : INFINITY)
                                                          : error_in_ulp(y[i], functions[f].exact((double)x[i]), functions[f].smallest);
                tried++;
                if (!(error <= largest)) {
                    largest = error;
                    where = x[i];
                }
            }
        }
        printf("%-8s %.3f ulp at %.9g of %lu floats; %lu differ between instruction sets\n", functions[f].name, largest,
               (double)where, tried, different);
        failed |= !(largest <= functions[f].bound) || different > 0;
    }
    return failed;
}
