/* math_error.c: compares the functions of csrc/kernels/vector_math.h with the C library in double precision, and finds the largest
 * error over all floats, in units in the last place (ulp) of the correct result. Also checks that every instruction set gives the
 * same bits.
 *
 *     cc -O2 -ffp-contract=off -Icsrc -o math_error tests/c/math_error.c $(find csrc -name "*.c") -lm -pthread
 *     math_error [STEP]
 *
 * With STEP only every STEP-th float is tried. Prints a line per function; returns 1 if an error is above its bound. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/kernels.h"

#define CHUNK 4096 /* floats in a call */

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

static double exact_normal_cdf(double x)
{
    return erfc(-x / sqrt(2)) / 2;
}

typedef struct {
    const char *name;
    int function; /* NN_MATH_... */
    double (*exact)(double);
    double bound;      /* the largest error that is allowed, in ulp */
    float zero_below;  /* for smaller arguments the result is 0 by design */
    double min_scale;  /* the error of results below it is measured in ulp of this number */
    int only_negative; /* the function is only defined for arguments <= 0 */
} MathFunction;

static const MathFunction functions[] = {
    {"exp", NN_MATH_EXP, exp, 1.5, -INFINITY, 0, 0},
    {"tanh", NN_MATH_TANH, tanh, 2.0, -INFINITY, 0, 0},
    {"log", NN_MATH_LOG, log, 1.5, -INFINITY, 0, 0},
    {"sigmoid", NN_MATH_SIGMOID, exact_sigmoid, 3.3, -87.0f, 0, 0},
    {"expm1", NN_MATH_EXPM1, exact_expm1, 2.5, -INFINITY, 0, 1},
    {"softplus", NN_MATH_SOFTPLUS, exact_softplus, 3.5, -INFINITY, 0, 0},
    {"normal", NN_MATH_NORMAL_CDF, exact_normal_cdf, 1.5, -INFINITY, 0.5, 0},
};

/* Returns the error of y in ulp of the float nearest to `exact`, or of min_scale if that is larger. */
static double error_in_ulp(float y, double exact, double min_scale)
{
    float nearest = (float)exact;
    int exponent;
    if (isnan(exact) || isnan(y)) {
        return isnan(exact) && isnan(y) ? 0 : INFINITY;
    }
    if (nearest == 0) { /* the smallest subnormal is one rounding away from 0 */
        return fabs((double)y - exact) <= 1.5e-45 ? 0 : 1;
    }
    if (isinf(nearest) || isinf(y)) { /* at the largest float one rounding decides whether the result is infinite */
        return y == nearest ? 0 : fabs(exact) < 3.4028237e38 ? 1 : INFINITY;
    }
    frexpf(fabs(exact) < min_scale ? (float)min_scale : nearest, &exponent);
    return fabs((double)y - exact) / ldexp(1, exponent - 24 < -149 ? -149 : exponent - 24);
}

/* Writes up to CHUNK floats to x, with the bit patterns first, first + step, ..., and then 1 (or -1) until their number is a
 * multiple of 16. Returns that number. */
static size_t fill_arguments(const MathFunction *f, unsigned long first, unsigned long step, float *x)
{
    size_t n = 0;
    for (unsigned long i = first; i < 1ul << 32 && n < CHUNK; i += step) {
        unsigned int bits = (unsigned int)i;
        memcpy(&x[n], &bits, sizeof bits);
        x[n] = f->only_negative ? -fabsf(x[n]) : x[n];
        n++;
    }
    while (n % 16 != 0) {
        x[n++] = f->only_negative ? -1 : 1;
    }
    return n;
}

/* Returns how many of the results y = f(x), (n,), are different with another instruction set. */
static unsigned long count_differences(const MathFunction *f, const float *x, const float *y, size_t n)
{
    float other[CHUNK];
    unsigned long num = 0;
    for (int isa = 1; nn_kernels_available(isa) != NULL; isa++) {
        nn_kernels_available(isa)->evaluate_math(f->function, x, other, n);
        for (size_t i = 0; i < n; i++) {
            num += memcmp(&y[i], &other[i], sizeof(float)) != 0 && !(isnan(y[i]) && isnan(other[i]));
        }
    }
    return num;
}

/* Measures one function and prints a line. Returns 1 if the error is above its bound or the instruction sets differ, else 0. */
static int measure(const MathFunction *f, unsigned long step)
{
    double largest = 0;
    float where = 0;
    unsigned long num_tried = 0, num_different = 0;
    for (unsigned long first = 0; first < 1ul << 32; first += CHUNK * step) {
        float x[CHUNK], y[CHUNK];
        size_t n = fill_arguments(f, first, step, x);
        nn_kernels_available(0)->evaluate_math(f->function, x, y, n);
        if (step > 1 || first % (64 * CHUNK) == 0) { /* the portable kernels are slow */
            num_different += count_differences(f, x, y, n);
        }
        for (size_t i = 0; i < n; i++) {
            double error = error_in_ulp(y[i], f->exact((double)x[i]), f->min_scale);
            if (x[i] < f->zero_below) {
                error = y[i] == 0 ? 0 : INFINITY;
            }
            num_tried++;
            if (!(error <= largest)) {
                largest = error;
                where = x[i];
            }
        }
    }
    printf("%-8s %.3f ulp at %.9g of %lu floats; %lu differ between instruction sets\n", f->name, largest, (double)where, num_tried,
           num_different);
    return !(largest <= f->bound) || num_different > 0;
}

int main(int argc, char **argv)
{
    unsigned long step = argc > 1 ? strtoul(argv[1], NULL, 10) : 1;
    int failed = 0;
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
        failed |= measure(&functions[i], step);
    }
    return failed;
}
