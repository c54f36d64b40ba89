"""The one list of what Python sees of C, and how the extension ``nnpy._libnn`` is compiled (cffi, API mode).

``python build_ffi.py`` builds the extension in place, in the folder ``nnpy``. Environment variables that any build reads:

- ``CFLAGS``: extra options of the compiler. They win over the optimisation level that is set here.
- ``NNPY_DEBUG=1``: no optimisation that hides variables, full debugging symbols, the assertions of ``nn.h``.
- ``NNPY_SANITIZE=address,undefined`` or ``thread``: the sanitizers of GCC and Clang.
- ``CC``: the compiler. On Windows it has to take GCC's options, such as ``gcc`` of MinGW-w64 or ``python -m ziglang cc``;
  without it MSVC is taken, whose builds have the slow, portable kernels only.
"""

import os
import platform
import re
import shlex
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cffi import FFI

CDEF = """
typedef struct { size_t rows; size_t cols; size_t stride; float *data; } Matrix;
typedef struct { int kind; float parameter; } NNLoss;
typedef struct {
    size_t *archi; size_t num_layers; Matrix *weights; Matrix *biases; Matrix *activations; Matrix *sums;
    int *activation_functions;
    NNLoss loss;
} NeuralNetwork;

#define NN_OK ...
#define NN_NO_MEMORY ...
#define NN_STOPPED ...
#define NN_NOT_FINITE ...
#define NN_DIVERGED ...
#define NN_REFUSED ...
#define NN_SIGMOID ...
#define NN_TANH ...
#define NN_RELU ...
#define NN_LINEAR ...
#define NN_SOFTMAX ...
#define NN_LEAKY_RELU ...
#define NN_ELU ...
#define NN_SOFTPLUS ...
#define NN_SILU ...
#define NN_GELU ...
#define NN_MSE ...
#define NN_MAE ...
#define NN_HUBER ...
#define NN_PINBALL ...
#define NN_BINARY_CROSS_ENTROPY ...
#define NN_CROSS_ENTROPY ...
#define NN_SGD ...
#define NN_ADAM ...
#define NN_RMSPROP ...
#define NN_RPROP ...

NeuralNetwork nn_alloc(const size_t *archi, size_t num_layers);
size_t nn_num_parameters(NeuralNetwork nn);
void nn_rand_minstd(NeuralNetwork nn, float min, float max, uint32_t seed);
void nn_initialize(NeuralNetwork nn, uint64_t seed);

float nn_mse(NeuralNetwork nn, Matrix train_in, Matrix train_out);
void nn_backpropagation(NeuralNetwork nn, NeuralNetwork grad, Matrix train_in, Matrix train_out);
int nn_gradient_descent(NeuralNetwork nn, float rate, Matrix train_in, Matrix train_out, size_t iterations);

typedef struct {
    int (*poll)(void *context, size_t done); void *context; size_t done; size_t num_steps; size_t work;
} NNMonitor;
typedef struct { int isa; int num_threads; } NNBackend;
typedef struct { const double *x_mean, *x_scale; const double *y_mean, *y_scale; } NNScaler;
typedef struct {
    Matrix x; Matrix y; const int32_t *labels; const float *sample_weights; const size_t *rows; size_t num_rows;
    NNScaler scaler;
} NNSamples;
typedef struct {
    int kind; double learning_rate; double beta1, beta2; double epsilon; int epsilon_before_correction; int nesterov;
    double eta_minus, eta_plus; double min_step, max_step; double weight_decay; double l2; int l2_of_batch;
    double clip_norm; float *state; double beta1_power, beta2_power;
} NNOptimizer;
typedef struct {
    size_t batch_size; size_t num_epochs; int shuffle; uint64_t seed; size_t first_epoch; int inputs_checked; float *losses;
    const double *learning_rates; const double *dropout;
} NNTrainOptions;

const char *nn_isa_name(int isa);
int nn_threads_available(void);
const char *nn_compiler(void);
size_t nn_first_outside(Matrix m, float low, float high, int allow_nan);
void nn_column_moments(const double *x, size_t rows, size_t cols, const double *center, double *sums, double *squares,
                       double *counts);
void nn_shuffle(size_t *order, size_t num, uint64_t seed, uint64_t epoch);
int nn_predict(NeuralNetwork nn, const NNScaler *scaler, Matrix in, Matrix out, NNBackend backend, NNMonitor *monitor);
typedef struct { NeuralNetwork nn; const NNScaler *scaler; int isa; } NNPredictor;
int nn_predict_few(const NNPredictor *predictor, const void *x, size_t num_samples, void *out);
int nn_layer_outputs(NeuralNetwork nn, const NNScaler *scaler, Matrix in, const Matrix *layers, NNBackend backend,
                     NNMonitor *monitor);
int nn_evaluate(NeuralNetwork nn, NNSamples samples, Matrix out, double *loss, NNBackend backend, NNMonitor *monitor);
int nn_gradient(NeuralNetwork nn, NeuralNetwork grad, Matrix input_grad, NNSamples samples, double *loss, NNBackend backend,
                NNMonitor *monitor);
int nn_jacobian(NeuralNetwork nn, const NNScaler *scaler, const NNScaler *units, Matrix in, float *out, NNBackend backend,
                NNMonitor *monitor);
int nn_train(NeuralNetwork nn, NNSamples samples, NNOptimizer *optimizer, NNTrainOptions options, NNBackend backend,
             NNMonitor *monitor);
typedef struct {
    NeuralNetwork nn; NNScaler scaler; NNOptimizer *optimizer; NNTrainOptions options; int isa; float low, high;
    size_t label_size; size_t num_steps; void *kept;
} NNTrainer;
int nn_train_few(NNTrainer *trainer, const void *x, const void *y, size_t num_samples);
void nn_trainer_free(NNTrainer *trainer);
typedef struct {
    size_t history_size; double l2; double *memory; double loss; double step_length; size_t num_pairs, num_iterations;
} NNLbfgs;
size_t nn_lbfgs_size(size_t num_parameters, size_t history_size);
int nn_lbfgs(NeuralNetwork nn, NNSamples samples, NNLbfgs *state, size_t num_iterations, float *losses, NNBackend backend,
             NNMonitor *monitor);
typedef struct { double l2; double damping; double mu, nu; } NNLevenbergMarquardt;
int nn_levenberg_marquardt(NeuralNetwork nn, NNSamples samples, NNLevenbergMarquardt *state, size_t num_iterations,
                           float *losses, NNBackend backend, NNMonitor *monitor);
#define NN_QUANTIZED_CLIP ...
#define NN_QUANTIZED_TABLE ...
#define NN_QUANTIZED_LINEAR ...
#define NN_QUANTIZED_SOFTMAX ...
#define NN_QUANTIZED_TABLE_SIZE ...
typedef struct {
    size_t num_inputs, num_outputs; int kind; const int8_t *weights; const int32_t *biases; const int32_t *multipliers;
    int shift; const int16_t *table;
} NNQuantizedLayer;
typedef struct NNQuantized NNQuantized;
NNQuantized *nn_quantized_alloc(size_t num_layers, const NNQuantizedLayer *layers, const float *low, const float *inverse_step,
                                float output_scale);
void nn_quantized_free(NNQuantized *q);
void nn_quantize_inputs(const NNQuantized *q, Matrix in, uint8_t *out, NNBackend backend);
int nn_quantized_predict(const NNQuantized *q, Matrix in, const uint8_t *integers_in, Matrix out, int32_t *integers_out,
                         int stops_at_logits, NNBackend backend, NNMonitor *monitor);
int nn_finite_diff_gradient(NeuralNetwork nn, NeuralNetwork grad, float eps, Matrix in, Matrix out, NNMonitor *monitor);
int nn_finite_diff_descent(NeuralNetwork nn, float rate, float eps, Matrix in, Matrix out, size_t iterations,
                           NNMonitor *monitor);

extern "Python" int nnpy_poll(void *context, size_t done);
void nnpy_free_network(void *archi);
void nnpy_set_poll(NNMonitor *monitor, void *context);
int nnpy_finalize(void);
"""

SOURCE = """
#include "nn.h"
#include "engine.h"

static int nnpy_poll(void *context, size_t done);

/* nn_free for the garbage collector. A destructor in Python would lose a Ctrl-C that arrives while it runs. */
static void nnpy_free_network(void *archi)
{
    NeuralNetwork nn = {(size_t *)archi, 0, NULL, NULL, NULL, NULL, NULL, {0, 0.0f}};
    nn_free(nn);
}

#ifdef __GNUC__
#define NNPY_ADD(counter, n) __atomic_add_fetch(&(counter), n, __ATOMIC_SEQ_CST)
#elif defined(_MSC_VER) /* a long has the size of an int */
#include <intrin.h>
#define NNPY_ADD(counter, n) (_InterlockedExchangeAdd((volatile long *)&(counter), n) + (n))
#else
#define NNPY_ADD(counter, n) ((counter) += (n))
#endif

/* No thread may enter Python when the interpreter is about to end: calls in C stop instead. */
static int nnpy_is_finalized, nnpy_num_in_python;

/* Returns the number of threads that are still in nnpy_poll. */
static int nnpy_finalize(void)
{
    NNPY_ADD(nnpy_is_finalized, 1);
    return NNPY_ADD(nnpy_num_in_python, 0);
}

static int nnpy_poll_if_alive(void *context, size_t done)
{
    int result = 1;
    NNPY_ADD(nnpy_num_in_python, 1);
    if (NNPY_ADD(nnpy_is_finalized, 0) == 0) {
        result = nnpy_poll(context, done);
    }
    NNPY_ADD(nnpy_num_in_python, -1);
    return result;
}

static void nnpy_set_poll(NNMonitor *monitor, void *context)
{
    monitor->poll = nnpy_poll_if_alive;
    monitor->context = context;
}
"""

SANITIZERS = ("address", "undefined", "thread")


def has_gcc_options(environ: Mapping[str, str]) -> bool:
    """Return whether, on Windows, the compiler is not MSVC: the user names one, or Python comes from MinGW-w64 (MSYS2)."""
    return bool(environ.get("CC")) or sysconfig.get_platform().startswith("mingw")


def choose_flags(environ: Mapping[str, str], *, windows: bool) -> dict[str, list[Any]]:
    """Choose the options of the compiler and the linker, as arguments of a setuptools ``Extension``.

    setuptools puts the options of the compiler behind ``CFLAGS``, and the last option wins. So ``CFLAGS`` is repeated here,
    between the optimisation level, which it may change, and the options that the code relies on.

    Raises
    ------
    SystemExit
        If ``NNPY_DEBUG`` or ``NNPY_SANITIZE`` has an unknown value.
    """
    debug, sanitize = environ.get("NNPY_DEBUG", ""), environ.get("NNPY_SANITIZE", "")
    if debug not in ("", "0", "1"):
        raise SystemExit(f"NNPY_DEBUG must be 0 or 1, not {debug!r}")
    is_debug = debug == "1"
    sanitizers = sanitize.split(",") if sanitize else []
    unknown = [name for name in sanitizers if name not in SANITIZERS]
    if unknown:
        raise SystemExit(
            f"NNPY_SANITIZE must be a list, with commas, of {', '.join(SANITIZERS)}; {unknown[0]!r} is none of them"
        )
    if "thread" in sanitizers and "address" in sanitizers:
        raise SystemExit("NNPY_SANITIZE cannot combine address and thread")
    mingw = windows and has_gcc_options(environ)
    if sanitizers and windows:
        raise SystemExit("NNPY_SANITIZE needs GCC or Clang")
    # The wrapper checks what users pass, so nothing asserts in a user's process. Only tests in C call evaluate_math.
    macros: dict[str, list[Any]] = {"define_macros": [("NN_WITHOUT_EVALUATE_MATH", None)]}
    if is_debug:
        macros["undef_macros"] = ["NDEBUG"]
    else:
        macros["define_macros"].append(("NDEBUG", None))

    if windows and not mingw:
        level = ["/Od", "/Z7"] if is_debug else ["/O2"]
        return {
            "extra_compile_args": [*level, "/fp:precise"],
            "extra_link_args": ["/DEBUG"] if is_debug else [],
            **macros,
        }

    level = ["-Og", "-g3"] if is_debug or sanitizers else ["-O2", "-g0"]
    required = [
        "-ffp-contract=off",  # a compiler may not fuse what the source does not
        "-fno-fast-math",
        *([] if mingw else ["-pthread"]),
        "-fvisibility=hidden",
        "-Werror=incompatible-pointer-types",
        "-Werror=int-conversion",
    ]
    if platform.machine() in ("i386", "i486", "i586", "i686", "x86") or (
        platform.machine() in ("x86_64", "AMD64") and sys.maxsize < 2**32
    ):
        required += ["-msse2", "-mfpmath=sse"]  # the x87 unit would keep more digits than a float has
    compiler = environ.get("CC") or sysconfig.get_config_var("CC") or ""
    if mingw and not re.search("clang|zig", compiler):
        # GCC takes the stack of 64-bit Windows to be aligned for AVX, which it is not: https://gcc.gnu.org/PR54412
        required.append("-Wa,-muse-unaligned-vector-move")
    libraries = ["m"]
    if mingw and not sysconfig.get_config_var("Py_GIL_DISABLED"):
        libraries.append("python3")  # for all versions; setuptools adds python312, say, which is then not needed
    link = ["-static-libgcc"] if mingw else ["-pthread"]
    if sys.platform == "linux" and "-g0" in level:
        level += ["-ffunction-sections", "-fdata-sections"]
        link += ["-Wl,--gc-sections", "-s"]  # neither functions that nobody calls nor a table of symbols
    if sanitizers:
        checks = [f"-fsanitize={','.join(sanitizers)}", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer"]
        required += checks
        link += checks
    return {
        "extra_compile_args": [*level, *shlex.split(environ.get("CFLAGS", "")), *required],
        "extra_link_args": link,
        "libraries": libraries,
        **macros,
    }


def note_flags(flags: Mapping[str, object]) -> str:
    """Write the options to a file that the extension depends on: only if they have changed, so that it is built again."""
    path = Path("build", "flags.txt")
    text = f"{flags}\nCC={os.environ.get('CC')}\nLDFLAGS={os.environ.get('LDFLAGS')}\n"
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return str(path)


FLAGS = choose_flags(os.environ, windows=os.name == "nt")
DEPENDS = ["build_ffi.py", *sorted(map(str, Path("csrc").glob("**/*.h")))]
if __name__ == "__cffi__":  # the name under which setuptools runs this file to build
    DEPENDS.append(note_flags(FLAGS))

ffibuilder = FFI()
ffibuilder.cdef(CDEF)
ffibuilder.set_source(
    "nnpy._libnn",
    SOURCE,
    sources=sorted(map(str, Path("csrc").glob("**/*.c"))),
    depends=DEPENDS,
    include_dirs=["csrc"],
    **FLAGS,
)

if __name__ == "__main__":
    folder = Path(__file__).parent
    for old in (folder / "nnpy").glob("_libnn.cpython-*"):
        old.unlink()  # Python would import it instead of the one for the limited API
    subprocess.run([sys.executable, "setup.py", "build_ext", "--inplace"], cwd=folder, check=True)
