"""The one list of what Python sees of C, and how the extension ``nnpy._libnn`` is compiled (cffi, API mode)."""

import os
from pathlib import Path

from cffi import FFI

CDEF = """
typedef struct { size_t rows; size_t cols; size_t stride; float *data; } Matrix;
typedef struct {
    size_t *archi; size_t num_layers; Matrix *weights; Matrix *biases; Matrix *activations; int *functions;
} NeuralNetwork;

#define NN_OK ...
#define NN_NO_MEMORY ...
#define NN_STOPPED ...
#define NN_NOT_FINITE ...
#define NN_SIGMOID ...
#define NN_TANH ...
#define NN_RELU ...
#define NN_LINEAR ...
#define NN_SOFTMAX ...
#define NN_GRADIENT_DESCENT ...
#define NN_ADAM ...

NeuralNetwork nn_alloc(const size_t *archi, size_t num_layers);
void nn_free(NeuralNetwork nn);
size_t nn_num_parameters(NeuralNetwork nn);
void nn_rand_minstd(NeuralNetwork nn, float min, float max, uint32_t seed);
void nn_initialize(NeuralNetwork nn, uint64_t seed);

float nn_mse(NeuralNetwork nn, Matrix train_in, Matrix train_out);
void nn_finite_diff(NeuralNetwork nn, NeuralNetwork grad, float eps, Matrix train_in, Matrix train_out);
void nn_backpropagation(NeuralNetwork nn, NeuralNetwork grad, Matrix train_in, Matrix train_out);
int nn_gradient_descent(NeuralNetwork nn, float rate, Matrix train_in, Matrix train_out, size_t iterations);

typedef struct { int (*poll)(void *context, size_t done); void *context; size_t done; size_t work; } NNMonitor;
typedef struct { int isa; int num_threads; } NNMachine;
typedef struct { Matrix x; Matrix y; const int32_t *labels; } NNSamples;
typedef struct { int kind; double rate, beta1, beta2, epsilon; float *moments; double power1, power2; } NNOptimizer;
typedef struct {
    size_t batch_size; size_t num_epochs; int shuffle; uint64_t seed; size_t first_epoch; float *costs;
} NNSchedule;

const char *nn_isa_name(int isa);
int nn_threads_available(void);
const char *nn_compiler(void);
size_t nn_first_nonfinite(Matrix m);
int nn_predict(NeuralNetwork nn, Matrix in, Matrix out, NNMachine machine, NNMonitor *monitor);
int nn_predict_one(const NeuralNetwork *nn, const void *x, void *out, int isa);
int nn_evaluate(NeuralNetwork nn, NNSamples samples, int as_mse, float *cost, NNMachine machine, NNMonitor *monitor);
int nn_gradient(NeuralNetwork nn, NeuralNetwork grad, NNSamples samples, NNMachine machine, NNMonitor *monitor);
int nn_train(NeuralNetwork nn, NNSamples samples, NNOptimizer *optimizer, NNSchedule schedule, NNMachine machine,
             NNMonitor *monitor);
int nn_gradient_by_differences(NeuralNetwork nn, NeuralNetwork grad, float eps, Matrix in, Matrix out, NNMonitor *monitor);
int nn_descend_by_differences(NeuralNetwork nn, float rate, float eps, Matrix in, Matrix out, size_t iterations,
                              NNMonitor *monitor);

extern "Python" int nnpy_poll(void *context, size_t done);
"""

if os.name == "nt":
    COMPILE_ARGS = ["/O2", "/fp:precise"]
    LINK_ARGS = []
    LIBRARIES = []
else:
    # A compiler may not fuse or reorder what the source does not; a pointer of the wrong type is no mere warning.
    COMPILE_ARGS = [
        "-O2",
        "-g0",
        "-ffp-contract=off",
        "-pthread",
        "-fvisibility=hidden",
        "-Werror=incompatible-pointer-types",
        "-Werror=int-conversion",
    ]
    LINK_ARGS = ["-pthread"]
    LIBRARIES = ["m"]

ffibuilder = FFI()
ffibuilder.cdef(CDEF)
ffibuilder.set_source(
    "nnpy._libnn",
    '#include "nn.h"\n#include "engine.h"\n',
    sources=sorted(map(str, Path("csrc").glob("*.c"))),
    depends=sorted(map(str, Path("csrc").glob("*.h"))),
    include_dirs=["csrc"],
    define_macros=[("NDEBUG", None)],  # the wrapper checks; nothing asserts in a user's process
    extra_compile_args=COMPILE_ARGS,
    extra_link_args=LINK_ARGS,
    libraries=LIBRARIES,
)

if __name__ == "__main__":
    ffibuilder.compile(verbose=True)
