"""The one list of what Python sees of C, and how the extension ``nnpy._libnn`` is compiled (cffi, API mode)."""

import os

from cffi import FFI

CDEF = """
typedef struct { size_t rows; size_t cols; size_t stride; float *data; } Matrix;
typedef struct {
    size_t *archi; size_t num_layers; Matrix *weights; Matrix *biases; Matrix *activations;
} NeuralNetwork;
typedef struct { int (*poll)(void *context, size_t done); void *context; size_t done; ...; } NNMonitor;

#define NN_OK ...
#define NN_NO_MEMORY ...
#define NN_STOPPED ...

NeuralNetwork nn_alloc(const size_t *archi, size_t num_layers);
void nn_free(NeuralNetwork nn);
size_t nn_num_parameters(NeuralNetwork nn);
void nn_rand_minstd(NeuralNetwork nn, float min, float max, uint32_t seed);
void nn_glorot(NeuralNetwork nn, uint64_t seed);

float nn_mse(NeuralNetwork nn, Matrix train_in, Matrix train_out);
void nn_finite_diff(NeuralNetwork nn, NeuralNetwork grad, float eps, Matrix train_in, Matrix train_out);
void nn_backpropagation(NeuralNetwork nn, NeuralNetwork grad, Matrix train_in, Matrix train_out);
int nn_gradient_descent(NeuralNetwork nn, float rate, Matrix train_in, Matrix train_out, size_t iterations);

size_t nn_first_nonfinite(Matrix m);
int nn_batch_forward(NeuralNetwork nn, Matrix in, Matrix out, NNMonitor *monitor);
int nn_batch_mse(NeuralNetwork nn, Matrix in, Matrix out, float *mse, NNMonitor *monitor);
int nn_batch_backpropagation(NeuralNetwork nn, NeuralNetwork grad, Matrix in, Matrix out, NNMonitor *monitor);
int nn_batch_finite_diff(NeuralNetwork nn, NeuralNetwork grad, float eps, Matrix in, Matrix out, NNMonitor *monitor);
int nn_batch_gradient_descent(NeuralNetwork nn, float rate, float eps, Matrix in, Matrix out, size_t iterations,
                              NNMonitor *monitor);

extern "Python" int nnpy_poll(void *context, size_t done);
"""

if os.name == "nt":
    COMPILE_ARGS = ["/O2", "/fp:precise"]
    LIBRARIES = []
else:
    # A compiler may not fuse or reorder what the source does not; a pointer of the wrong type is no mere warning.
    COMPILE_ARGS = [
        "-O2",
        "-ffp-contract=off",
        "-Werror=incompatible-pointer-types",
        "-Werror=int-conversion",
    ]
    LIBRARIES = ["m"]

ffibuilder = FFI()
ffibuilder.cdef(CDEF)
ffibuilder.set_source(
    "nnpy._libnn",
    '#include "nn.h"\n#include "batch.h"\n',
    sources=["csrc/nn.c", "csrc/batch.c"],
    depends=["csrc/nn.h", "csrc/batch.h"],
    include_dirs=["csrc"],
    define_macros=[("NDEBUG", None)],  # the wrapper checks; nothing asserts in a user's process
    extra_compile_args=COMPILE_ARGS,
    libraries=LIBRARIES,
)

if __name__ == "__main__":
    ffibuilder.compile(verbose=True)
