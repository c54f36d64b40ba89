"""The files and options of TFLite Micro: as its Makefile has them with BUILD_TYPE=release and CMSIS-NN's kernels."""

import re
from pathlib import Path

from microcontrollers.board import HERE

KERNELS = """
    lite/micro/kernels/cmsis_nn/fully_connected.cc lite/micro/kernels/cmsis_nn/softmax.cc lite/micro/kernels/logistic.cc
    lite/micro/kernels/fully_connected_common.cc lite/micro/kernels/softmax_common.cc lite/micro/kernels/logistic_common.cc
    lite/micro/kernels/kernel_util.cc
"""
CORE = """
    compiler/mlir/lite/core/api/*.cc compiler/mlir/lite/schema/*.cc lite/core/*/*.cc lite/kernels/*.cc
    lite/kernels/internal/*.cc lite/micro/*.cc lite/micro/arena_allocator/*.cc lite/micro/memory_planner/*.cc
    lite/micro/tflite_bridge/*.cc
"""
NOT_THESE = re.compile(r"_test\.|test_helper|mock_|fake_|recording_|debug_log|hexdump|_f16\.|_f32\.|_flt\.|_f16_|_f32_")
CMSIS_NN = """
    FullyConnectedFunctions/*.c SoftmaxFunctions/*.c NNSupportFunctions/*.c ConvolutionFunctions/arm_convolve_1x1_s8_fast*.c
    ConvolutionFunctions/arm_convolve_get_buffer_sizes_s8.c
"""
OPTIONS = (
    "-fno-unwind-tables -fno-asynchronous-unwind-tables -DTF_LITE_STATIC_MEMORY -DNDEBUG -DTF_LITE_STRIP_ERROR_STRINGS "
    "-DCMSIS_NN -DARM_NN_ENABLE_F16=0 -DARM_NN_ENABLE_F32=0"
)
ARENA_MAX = 65536  # bytes
OPERATORS = {
    "float": {
        "fully connected": "AddFullyConnected()",
        "sigmoid": "AddLogistic()",
        "softmax": "AddSoftmax()",
    },
    "int8": {  # without the code for other types, where that can be asked for
        "fully connected": "AddFullyConnected(tflite::Register_FULLY_CONNECTED_INT8())",
        "sigmoid": "AddLogistic()",
        "softmax": "AddSoftmax(tflite::Register_SOFTMAX_INT8())",
    },
}


def downloads(checkout: Path) -> Path:
    """Return the folder into which the Makefile puts what TFLite Micro needs."""
    return checkout / "tensorflow" / "lite" / "micro" / "tools" / "make" / "downloads"


def sources(checkout: Path) -> tuple[list[Path], frozenset[Path]]:
    """Return the source files, and those among them that are compiled with -Os: all but the kernels."""

    def found(folder: Path, patterns: str) -> list[Path]:
        paths = (path for pattern in patterns.split() for path in sorted(folder.glob(pattern)))
        return [path for path in paths if not NOT_THESE.search(path.name)]

    core = found(checkout / "tensorflow", CORE)
    kernels = found(checkout / "tensorflow", KERNELS) + found(downloads(checkout) / "cmsis_nn" / "Source", CMSIS_NN)
    return core + kernels, frozenset(core)


def options(checkout: Path) -> str:
    """Return the options of the compiler."""
    names = ("", "flatbuffers/include", "gemmlowp", "ruy", "kissfft", "cmsis_nn", "cmsis_nn/Include")
    includes = " ".join(f"-I{downloads(checkout) / name}" for name in names)
    return f"{OPTIONS} -I{checkout} {includes}"


def glue(folder: Path, model: bytes, activations: list[str], kind: str, arena: int | None) -> Path:
    """Write what runs a model: a copy of tflite_micro.cc, and the header with the model, its operators and the arena.

    arena: its size in bytes; None to look for the smallest, which setup() returns.
    """
    operators = OPERATORS[kind]
    added = [operators["fully connected"], *sorted({operators[name] for name in activations if name in operators})]
    (folder / "model.h").write_text(
        f"#define ARENA {ARENA_MAX if arena is None else arena}\n{'#define FIND_ARENA' * (arena is None)}\n"
        f"#define NUM_OPERATORS {len(added)}\n"
        f"#define ADD_OPERATORS {' '.join(f'resolver->{operator};' for operator in added)}\n"
        f"alignas(16) static const unsigned char model[] = {{{','.join(map(str, model))}}};\n"
    )
    path = folder / "tflite_micro.cc"
    path.write_text((HERE / "tflite_micro.cc").read_text())
    return path
