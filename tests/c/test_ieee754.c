/* test_ieee754.c: what makes results the same on every machine and for every caller, beside the order of operations that
 * test_engine.c checks: the fused multiply-add in double precision (kernels/fma.h), the bits of a NaN, and the floating-point
 * environment (ieee754.h). Link it with all C files of csrc/.
 *
 *     test_ieee754 [NUMBER]   compares NUMBER random multiply-adds with those of the C library (default 1000000); returns 1 if a
 *                             check fails */
#include <fenv.h>
#include <float.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine.h"
#include "kernels/fma.h"

#if defined(__SSE__) || defined(_M_X64)
#include <xmmintrin.h>
#endif

static int num_failed = 0;

static uint32_t bits_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static float float_of(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* ---- The fused multiply-add ---- */

static void expect_fma(float x, float y, float z, float expected)
{
    float result = nn_fmaf_in_double(x, y, z);
    if (bits_of(result) != bits_of(expected) && !(isnan(result) && isnan(expected))) {
        printf("%a * %a + %a is %a instead of %a\n", (double)x, (double)y, (double)z, (double)result, (double)expected);
        num_failed++;
    }
}

static void check_known_multiply_adds(void)
{
    static const float cases[][4] = { /* x, y, z and x y + z */
        /* 1 + 2^-23 + 2^-24 - 2^-70, just below the middle of two floats: rounding to double first would lose the last term */
        {0x1.000002p-12f, 0x1.fffffcp-13f, 0x1.000002p0f, 0x1.000002p0f},
        {-0x1.000002p-12f, 0x1.fffffcp-13f, -0x1.000002p0f, -0x1.000002p0f},
        {0x1p-38f, 0x1p-38f, 0x1.000002p0f, 0x1.000002p0f},
        {0x1.000002p-12f, 0x1.000002p-12f, 1, 0x1.000002p0f},
        {0x1.fffffep-12f, 0x1.000002p-13f, -1, -0x1.fffffep-1f},
        {0x1.8p-100f, 0x1.8p-49f, 0x1p-149f, 0x1.8p-148f}, /* subnormal: 3.25 units round to 3 */
        {0x1p-100f, 0x1p-50f, 0, 0},                     /* half a unit rounds to even */
        {0x1.000002p-100f, 0x1p-50f, 0, 0x1p-149f},
        {-0x1p-100f, 0x1p-51f, 0, -0.0f},
        {0x1.fffffep63f, 0x1p64f, 0x1p103f, INFINITY},   /* the middle of the largest float and the next power of 2 */
        {0x1.fffffep63f, 0x1p64f, 0x1.fffffep102f, 0x1.fffffep127f},
        {0x1p100f, 0x1p100f, -INFINITY, -INFINITY},
        {INFINITY, 0, 1, NAN},
        {INFINITY, 1, -INFINITY, NAN},
        {NAN, 1, 1, NAN},
        {1, 1, -1, 0},
        {-0.0f, 1, -0.0f, -0.0f},
        {-0.0f, 1, 0, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        expect_fma(cases[i][0], cases[i][1], cases[i][2], cases[i][3]);
    }
}

/* Compares with fmaf of the C library for numbers of every kind: all floats alike; z of the size of x y; subnormal results; sums just
 * beside the middle of two floats, where x y is half of the last place of z, times 1 - 2^-46 k^2. */
static void check_random_multiply_adds(long number)
{
#if defined(__MINGW32__) || defined(__EMSCRIPTEN__)
    (void)number; /* their fmaf rounds twice */
#else
    for (long i = 0; i < number && num_failed < 10; i++) {
        uint64_t first = nn_random(1, (uint64_t)i), second = nn_random(2, (uint64_t)i);
        uint32_t x = (uint32_t)first, y = (uint32_t)(first >> 32), z = (uint32_t)second, random = (uint32_t)(second >> 32);
        if (i % 4 == 1) {
            uint32_t exponent = (x >> 23 & 255) + (y >> 23 & 255) - 127 + random % 64 - 32;
            z = (z & 0x807fffffu) | (exponent & 255) << 23;
        } else if (i % 4 == 2) {
            x = (x & 0x80fff000u) | (random & 7) << 23;
            y = (y & 0x807fffffu) | (120 + (random >> 3 & 15)) << 23;
            z &= 0x80ffffffu;
        } else if (i % 4 == 3) {
            uint32_t k = 1 + random % 64;
            x = (x & 0x80000000u) | (115u << 23 | k);                  /* 2^-12 (1 + 2^-23 k) */
            y = (y & 0x80000000u) | ((115u << 23) - 2 * k);            /* 2^-12 (1 - 2^-23 k) */
            z = (z & 0x807fffffu) | 127u << 23;                        /* from 1 to 2: its last place is 2^-23 */
        }
        expect_fma(float_of(x), float_of(y), float_of(z), fmaf(float_of(x), float_of(y), float_of(z)));
    }
#endif
}

/* ---- The calls of the engine ---- */

enum {
    PREDICT_FEW, PREDICT_MANY, PREDICT_SCALED, LAYER_OUTPUTS, EVALUATE, GRADIENT, TRAIN_SGD, TRAIN_ADAM, TRAIN_TINY, TRAIN_FEW, LBFGS,
    LEVENBERG, FINITE_DIFF, FINITE_DIFF_DESCENT, MOMENTS, NUM_CALLS
};

#define NUM_SAMPLES 200
#define WIDTH 7

/* What a call has written. */
typedef struct {
    int code;
    double loss, scaled[NUM_SAMPLES * 2], moments[3][3];
    float losses[3], outputs[NUM_SAMPLES * 2], hidden[NUM_SAMPLES * WIDTH], input_gradient[NUM_SAMPLES * 3];
    float parameters[3 * WIDTH + WIDTH + WIDTH * 2 + 2], gradient[3 * WIDTH + WIDTH + WIDTH * 2 + 2];
} Results;

static int stop_never(void *context, size_t done)
{
    (void)context;
    (void)done;
    return 0;
}

/* Returns a network 3-7-2 with weights in [-scale, scale). */
static NeuralNetwork make_network(float scale, int hidden_activation)
{
    static const size_t archi[] = {3, WIDTH, 2};
    NeuralNetwork nn = nn_alloc(archi, 2);
    nn.activation_functions[0] = hidden_activation;
    nn.activation_functions[1] = NN_LINEAR;
    for (size_t p = 0; p < nn_num_parameters(nn); p++) {
        nn.weights[0].data[p] = scale * ((float)(nn_random(3, p) >> 40) / 8388608.0f - 1.0f);
    }
    return nn;
}

/* Makes one call for the samples and returns everything that it writes. */
static Results call_engine(int call, NeuralNetwork original, NNSamples all, NNBackend backend)
{
    static const double means[] = {0, 0.1, 0.2}, scales[] = {1, 2, 3}, y_means[] = {0, 0}, y_scales[] = {2, 1};
    static float state[2 * (3 * WIDTH + WIDTH + WIDTH * 2 + 2)];
    static double lbfgs_memory[10000], table[NUM_SAMPLES * 3];
    NeuralNetwork nn = nn_alloc(original.archi, 2), grad = nn_alloc(original.archi, 2);
    size_t num = nn_num_parameters(nn);
    NNMonitor monitor = {.poll = stop_never};
    NNScaler scaler = {means, scales, y_means, y_scales};
    NNPredictor predictor = {nn, &scaler, backend.isa};
    NNOptimizer sgd = {.kind = NN_SGD, .learning_rate = 0.1, .state = state};
    NNOptimizer adam = {.kind = NN_ADAM, .learning_rate = 1e-3, .beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-30, .state = state,
                        .beta1_power = 1, .beta2_power = 1};
    NNOptimizer *optimizer = call == TRAIN_ADAM ? &adam : &sgd;
    NNLbfgs lbfgs = {.history_size = 3, .memory = lbfgs_memory};
    NNLevenbergMarquardt levenberg = {.damping = 1e-3};
    NNSamples samples = all;
    Results r;

    memset(&r, 0, sizeof r);
    memset(state, 0, sizeof state);
    memset(lbfgs_memory, 0, sizeof lbfgs_memory);
    memcpy(nn.weights[0].data, original.weights[0].data, num * sizeof(float));
    memcpy(nn.activation_functions, original.activation_functions, 2 * sizeof(int));
    samples.x.rows = samples.y.rows = call == PREDICT_FEW || call == TRAIN_TINY ? 4 : NUM_SAMPLES;
    {
        NNTrainOptions options = {.batch_size = call == TRAIN_TINY ? 4 : 32, .num_epochs = 3,
                                  .losses = call == TRAIN_TINY ? NULL : r.losses};
        NNTrainer trainer = {nn, scaler, &adam, options, backend.isa, -FLT_MAX, FLT_MAX, 0, 0, NULL};
        Matrix out = {samples.x.rows, 2, 2, r.outputs}, input_grad = {NUM_SAMPLES, 3, 3, r.input_gradient};
        Matrix layers[] = {{NUM_SAMPLES, WIDTH, WIDTH, r.hidden}, {NUM_SAMPLES, 2, 2, r.outputs}};
        switch (call) {
        case PREDICT_FEW:
        case PREDICT_MANY: r.code = nn_predict(nn, NULL, samples.x, out, backend, &monitor); break;
        case PREDICT_SCALED: r.code = nn_predict_few(&predictor, samples.x.data, samples.x.rows, r.scaled); break;
        case TRAIN_FEW:
            r.code = nn_train_few(&trainer, samples.x.data, samples.y.data, samples.x.rows);
            nn_trainer_free(&trainer);
            break;
        case LAYER_OUTPUTS: r.code = nn_layer_outputs(nn, NULL, samples.x, layers, backend, &monitor); break;
        case EVALUATE: r.code = nn_evaluate(nn, samples, out, &r.loss, backend, &monitor); break;
        case GRADIENT: r.code = nn_gradient(nn, grad, input_grad, samples, &r.loss, backend, &monitor); break;
        case LBFGS: r.code = nn_lbfgs(nn, samples, &lbfgs, 3, r.losses, backend, &monitor); break;
        case LEVENBERG: r.code = nn_levenberg_marquardt(nn, samples, &levenberg, 3, r.losses, backend, &monitor); break;
        case FINITE_DIFF: r.code = nn_finite_diff_gradient(nn, grad, 1e-2f, samples.x, samples.y, &monitor); break;
        case FINITE_DIFF_DESCENT:
            r.code = nn_finite_diff_descent(nn, 0.1f, 1e-2f, samples.x, samples.y, 2, &monitor);
            break;
        case MOMENTS:
            for (size_t i = 0; i < NUM_SAMPLES * 3; i++) {
                table[i] = (double)samples.x.data[i] * 0.5;
            }
            nn_column_moments(table, NUM_SAMPLES, 3, means, r.moments[0], r.moments[1], r.moments[2]);
            break;
        default: r.code = nn_train(nn, samples, optimizer, options, backend, &monitor); break;
        }
    }
    memcpy(r.parameters, nn.weights[0].data, num * sizeof(float));
    memcpy(r.gradient, grad.weights[0].data, num * sizeof(float));
    nn_free(nn);
    nn_free(grad);
    return r;
}

static NNSamples make_samples(float scale)
{
    static float x[NUM_SAMPLES * 3], y[NUM_SAMPLES * 2];
    NNSamples samples = {.x = {NUM_SAMPLES, 3, 3, x}, .y = {NUM_SAMPLES, 2, 2, y}};
    for (size_t i = 0; i < NUM_SAMPLES * 3; i++) {
        x[i] = scale * ((float)(nn_random(4, i) >> 40) / 8388608.0f - 1.0f);
    }
    for (size_t i = 0; i < NUM_SAMPLES * 2; i++) {
        y[i] = (float)(nn_random(5, i) >> 40) / 8388608.0f - 1.0f;
    }
    return samples;
}

/* ---- NaN ---- */

/* Returns the number of NaN in x, (n,). All must have the bits of NAN. */
static int count_nans(const float *x, size_t n, int call, int isa)
{
    int count = 0;
    for (size_t i = 0; i < n; i++) {
        if (isnan(x[i])) {
            count++;
            if (bits_of(x[i]) != bits_of(NAN)) {
                printf("call %d, %s: a NaN has the bits %08x\n", call, nn_isa_name(isa), (unsigned int)bits_of(x[i]));
                num_failed++;
                return count;
            }
        }
    }
    return count;
}

/* Networks whose sums overflow give infinity - infinity: NaN of either sign, as the processor likes. */
static void check_nans(void)
{
    static const int hidden[] = {NN_LINEAR, NN_TANH, NN_GELU, NN_RELU};
    static const int calls[] = {PREDICT_FEW, PREDICT_MANY, PREDICT_SCALED, LAYER_OUTPUTS, EVALUATE, GRADIENT};
    NNSamples samples = make_samples(3e38f);
    for (size_t c = 0; c < sizeof calls / sizeof *calls; c++) {
        int count = 0;
        for (int isa = 0; nn_isa_name(isa) != NULL; isa++) {
            for (size_t h = 0; h < sizeof hidden / sizeof *hidden; h++) {
                NNBackend backend = {isa, -1};
                NeuralNetwork nn = make_network(3e38f, hidden[h]);
                Results r = call_engine(calls[c], nn, samples, backend);
                float numbers[] = {(float)r.loss, (float)r.scaled[0], (float)r.scaled[1]};
                count += count_nans(numbers, 3, calls[c], isa);
                count += count_nans(r.outputs, sizeof r.outputs / sizeof(float), calls[c], isa);
                count += count_nans(r.hidden, sizeof r.hidden / sizeof(float), calls[c], isa);
                count += count_nans(r.gradient, sizeof r.gradient / sizeof(float), calls[c], isa);
                count += count_nans(r.input_gradient, sizeof r.input_gradient / sizeof(float), calls[c], isa);
                nn_free(nn);
            }
        }
        if (count == 0) {
            printf("call %d gives no NaN to check\n", calls[c]);
            num_failed++;
        }
    }
}

/* ---- The floating-point environment ---- */

/* Rounds upwards, and takes subnormal numbers for 0 where the processor can. */
static void set_hostile_environment(void)
{
#ifdef FE_UPWARD /* WebAssembly has none */
    fesetround(FE_UPWARD);
#endif
#if defined(__SSE__) || defined(_M_X64)
    _mm_setcsr(_mm_getcsr() | 0x8040u);
#elif defined(__aarch64__)
    unsigned long fpcr;
    __asm__ __volatile__("mrs %0, fpcr" : "=r"(fpcr));
    __asm__ __volatile__("msr fpcr, %0" : : "r"(fpcr | 1ul << 24));
#endif
}

static void set_default_environment(void)
{
    fesetenv(FE_DFL_ENV);
#if defined(__SSE__) || defined(_M_X64)
    _mm_setcsr(0x1f80u); /* the fesetenv of mingw-w64 leaves it as it is */
#endif
}

/* Two numbers that tell whether the environment is hostile. */
static void probe(volatile float *sum, volatile float *product)
{
    volatile float one = 1, tiny = 1e-20f;
    *sum = one + tiny;
    *product = tiny * tiny;
}

static void check_environment(void)
{
    static const float scales[] = {1, 1e-19f}; /* the products of small numbers are subnormal */
    for (size_t s = 0; s < sizeof scales / sizeof *scales; s++) {
        NNSamples samples = make_samples(scales[s]);
        NeuralNetwork nn = make_network(scales[s], NN_TANH);
        for (int isa = 0; nn_isa_name(isa) != NULL; isa++) {
            for (int threads = 1; threads <= 2; threads++) {
                for (int call = 0; call < NUM_CALLS; call++) {
                    NNBackend backend = {isa, -threads};
                    Results expected = call_engine(call, nn, samples, backend), r;
                    float sum, product, sum_after, product_after;
                    set_hostile_environment();
                    probe(&sum, &product);
                    r = call_engine(call, nn, samples, backend);
                    probe(&sum_after, &product_after);
                    set_default_environment();
                    if (memcmp(&r, &expected, sizeof r) != 0) {
                        printf("call %d, %s, %d threads: other results in the environment of the caller\n", call, nn_isa_name(isa),
                               threads);
                        num_failed++;
                    }
                    if (sum != sum_after || product != product_after) {
                        printf("call %d, %s: the environment of the caller is changed\n", call, nn_isa_name(isa));
                        num_failed++;
                    }
                    if (expected.code != NN_OK) {
                        printf("call %d: code %d\n", call, expected.code);
                        num_failed++;
                    }
                }
            }
        }
        nn_free(nn);
    }
}

int main(int argc, char **argv)
{
    check_known_multiply_adds();
    check_random_multiply_adds(argc > 1 ? strtol(argv[1], NULL, 10) : 1000000);
    check_nans();
    check_environment();
    return num_failed > 0;
}
