"""The code of each generator: C files with the functions `setup` and `predict` that board.py measures.

A generator is a function that takes a network, a folder and the tools, and returns the code; `GENERATORS` has them all. What
predict() reads and writes need not be float: `inputs` are what it reads, and `decode` turns what it writes into the outputs of
the network.
"""

import json
import subprocess
import venv
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from microcontrollers import tflite_micro as tflm
from microcontrollers.board import CORES, HERE, Code, call, measure
from microcontrollers.networks import Network

PACKAGES = ("emlearn", "onnx", "bakenn")  # of PyPI, for peers.py
NUM_CALIBRATION = 500  # inputs, about


def calibration(network: Network) -> NDArray[np.float32]:
    """Return the inputs with which networks are quantized."""
    return network.x_train[:: -(-len(network.x_train) // NUM_CALIBRATION)]


class Tools:
    """The other generators: an environment with their packages, made where it is first needed, and what the user has built."""

    def __init__(self, folder: Path, onnx2c: Path | None, tflite_micro: Path | None) -> None:
        self.folder = folder
        self.printed: dict[tuple[str, str], dict[str, Any]] = {}
        self.objects = folder / "objects"
        self.objects.mkdir(parents=True, exist_ok=True)
        self.onnx2c = onnx2c
        self.tflite_micro = tflite_micro

    @cached_property
    def python(self) -> str:
        """The Python of the environment."""
        python = self.folder / "venv" / "bin" / "python"
        if not python.exists():
            venv.create(self.folder / "venv", with_pip=True)
        tensorflow = ["tensorflow-cpu"] if self.tflite_micro else []
        call([str(python), "-m", "pip", "install", "-q", *PACKAGES, *tensorflow])
        return str(python)

    def folder_of(self, network: Network, name: str) -> Path:
        """Return the folder for one code of a network."""
        folder = self.folder / network.name / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def run(self, generator: str, network: Network) -> tuple[dict[str, Any], Path]:
        """Run a generator of peers.py, unless it was run before. Returns what it prints, and the folder with what it makes."""
        folder = self.folder / "made" / network.name
        key = (generator, network.name)
        if key not in self.printed:
            folder.mkdir(parents=True, exist_ok=True)
            layers = {f"w{number}": w for number, w in enumerate(network.net.weights)}
            layers |= {f"b{number}": b for number, b in enumerate(network.net.biases)}
            np.savez(folder / "network.npz", activations=network.activations, x=calibration(network), **layers)
            lines = call([self.python, str(HERE / "peers.py"), generator, str(folder)]).splitlines()
            self.printed[key] = json.loads(lines[-1])
        return self.printed[key], folder

    def versions(self) -> dict[str, str]:
        """Return the versions of the packages, and the commits of the others."""
        found: dict[str, str] = {}
        if "python" in vars(self):  # if it was needed
            names = [*PACKAGES, *(["tensorflow-cpu"] if self.tflite_micro else [])]
            code = (
                "import sys, json, importlib.metadata as m; print(json.dumps({n: m.version(n) for n in sys.argv[1:]}))"
            )
            found = json.loads(call([self.python, "-c", code, *names]))
        for name, path in (("onnx2c", self.onnx2c and self.onnx2c.parent), ("TFLite Micro", self.tflite_micro)):
            if path:
                done = subprocess.run(
                    ["git", "-C", str(path), "rev-parse", "--short=10", "HEAD"],
                    capture_output=True,
                    text=True,
                    check=False,
                )
                found[name] = done.stdout.strip() or "unknown"
        return found


class Generated(NamedTuple):
    """Code, how to read what it writes, and what the generator's own Python predicts (by default, what the network does)."""

    code: Code
    decode: Callable[[NDArray[Any]], NDArray[Any]] = lambda outputs: outputs
    predicted: NDArray[Any] | None = None


def source(folder: Path, text: str, name: str = "glue.c") -> Path:
    """Write a source file."""
    path = folder / name
    path.write_text(text)
    return path


def nnpy_exact(network: Network, folder: Path, _: Tools, *, fast: str = "") -> Generated:
    """Return nnpy's export."""
    name, macro = network.name, network.name.upper()
    network.net.export_c(folder / "net.h", name=name)
    text = f"""#define {macro}_IMPLEMENTATION
#define {macro}_NO_SELFTEST
{fast}
#include "net.h"
unsigned setup(void) {{ return 0; }}
void predict(const void *in, void *out) {{ {name}_predict(in, out); }}
"""
    return Generated(Code([source(folder, text)], network.x_test, network.net.layer_sizes[-1]))


def nnpy_fast(network: Network, folder: Path, tools: Tools) -> Generated:
    """Return nnpy's export with NAME_FAST, which rounds products."""
    return nnpy_exact(network, folder, tools, fast=f"#define {network.name.upper()}_FAST")


def nnpy_int8(network: Network, folder: Path, _: Tools) -> Generated:
    """Return nnpy's export of the quantized network. The inputs are integers, as for the other int8 codes."""
    name, macro = network.name, network.name.upper()
    q = network.net.quantize(calibration(network))
    q.export_c(folder / "net.h", name=name)
    text = f"""#define {macro}_IMPLEMENTATION
#define {macro}_NO_SELFTEST
#define {macro}_NO_FLOAT
#include "net.h"
unsigned setup(void) {{ return 0; }}
void predict(const void *in, void *out) {{ {name}_predict_int8(in, out); }}
"""
    num_outputs = network.net.layer_sizes[-1]
    code = Code([source(folder, text)], q.quantize_inputs(network.x_test), num_outputs, np.int32)
    scale = np.float32(q.output_scale)
    return Generated(code, lambda outputs: outputs.astype(np.float32) * scale, q.predict(network.x_test))


def emlearn(network: Network, folder: Path, tools: Tools) -> Generated:
    """Return emlearn's code, float."""
    about, made = tools.run("emlearn", network)
    num_inputs, num_outputs = network.net.layer_sizes[0], network.net.layer_sizes[-1]
    text = f"""#include "{made / "emlearn.h"}"
unsigned setup(void) {{ return 0; }}
void predict(const void *in, void *out) {{ net_regress(in, {num_inputs}, out, {num_outputs}); }}
"""
    code = Code([source(folder, text)], network.x_test, num_outputs, options=f"-I{about['include']}")
    return Generated(code)


def onnx2c(network: Network, folder: Path, tools: Tools, *, options: str = "") -> Generated:
    """Return onnx2c's code, float."""
    _, made = tools.run("onnx", network)
    source(folder, call([str(tools.onnx2c), str(made / "net.onnx")]), "onnx2c.c")
    num_inputs, num_outputs = network.net.layer_sizes[0], network.net.layer_sizes[-1]
    text = f"""#include "onnx2c.c"
unsigned setup(void) {{ return 0; }}
void predict(const void *in, void *out) {{ entry((const float (*)[{num_inputs}])in, (float (*)[{num_outputs}])out); }}
"""
    return Generated(Code([source(folder, text)], network.x_test, num_outputs, options=options))


def onnx2c_fast_math(network: Network, folder: Path, tools: Tools) -> Generated:
    """Return onnx2c's code, compiled with the option that its README recommends."""
    return onnx2c(network, folder, tools, options="-ffast-math")


def quantized(x: NDArray[Any], scale: float, zero_point: int) -> NDArray[np.int8]:
    """Return int8 numbers that stand for x."""
    return np.clip(np.rint(x / np.float32(scale)) + zero_point, -128, 127).astype(np.int8)


def int8(code: list[Path], network: Network, about: dict[str, Any], options: str) -> Generated:
    """Return code whose inputs and outputs are int8, with the scale and the zero point of both."""
    scale, zero_point = about["output"]
    made = Code(code, quantized(network.x_test, *about["input"]), network.net.layer_sizes[-1], np.int8, options)
    return Generated(made, lambda outputs: (outputs.astype(np.float32) - zero_point) * np.float32(scale))


def bakenn(network: Network, folder: Path, tools: Tools, *, kind: str = "bakenn") -> Generated:
    """Return BakeNN's code, int8."""
    about, made = tools.run(kind, network)
    text = f"""#include "{made / kind / "bknn_net.h"}"
static uint8_t arena[BKNN_NET_ARENA_SIZE + 1] __attribute__((aligned(BKNN_NET_ARENA_ALIGNMENT)));
unsigned setup(void) {{ return 0; }}
void predict(const void *in, void *out) {{ bknn_net_infer(BKNN_NET_ARENA_SIZE ? arena : 0, in, out); }}
"""
    sources = [source(folder, text), *(Path(path) for path in about["sources"])]
    return int8(sources, network, about, " ".join(about["options"]))


def bakenn_cmsis_nn(network: Network, folder: Path, tools: Tools) -> Generated:
    """Return BakeNN's code for a Cortex-M4, int8, with CMSIS-NN's kernels."""
    return bakenn(network, folder, tools, kind="bakenn-cmsis-nn")


def tflite_micro(network: Network, folder: Path, tools: Tools, *, kind: str = "float") -> Generated:
    """Return TFLite Micro's interpreter and a model, with the smallest arena."""
    checkout = tools.tflite_micro
    if checkout is None:
        raise ValueError("TFLite Micro needs its sources")
    about, made = tools.run("tflite", network)
    model = (made / f"{kind}.tflite").read_bytes()
    sources, small = tflm.sources(checkout)

    def generated(arena: int | None) -> Generated:
        files = [tflm.glue(folder, model, network.activations, kind, arena), *sources]
        if kind == "int8":
            found = int8(files, network, about, tflm.options(checkout))
        else:
            found = Generated(Code(files, network.x_test, network.net.layer_sizes[-1], options=tflm.options(checkout)))
        return found._replace(code=found.code._replace(small=small))

    probe = generated(None).code
    probe = probe._replace(inputs=probe.inputs[:1])
    return generated(measure(probe, CORES[0], folder, tools.objects).memory)


def tflite_micro_int8(network: Network, folder: Path, tools: Tools) -> Generated:
    """Return TFLite Micro's interpreter and an int8 model, with CMSIS-NN's kernels."""
    return tflite_micro(network, folder, tools, kind="int8")


class Generator(NamedTuple):
    """A row of the table."""

    label: str
    generate: Callable[[Network, Path, Tools], Generated]
    tool: str | None = None  # an option of the command line that must be given
    is_quantized: bool = False  # its results are only near those of the network
    cores: tuple[str, ...] = ("m4f", "m0plus")


GENERATORS = {
    "nnpy": Generator("nnpy", nnpy_exact),
    "nnpy-fast": Generator("nnpy, `NAME_FAST`", nnpy_fast),
    "nnpy-int8": Generator("nnpy, 8-bit integers", nnpy_int8, is_quantized=True),
    "emlearn": Generator("emlearn", emlearn),
    "onnx2c": Generator("onnx2c", onnx2c, "onnx2c"),
    "onnx2c-fast": Generator("onnx2c, `-ffast-math`", onnx2c_fast_math, "onnx2c"),
    "bakenn": Generator("BakeNN, int8", bakenn, is_quantized=True),
    "bakenn-cmsis-nn": Generator("BakeNN with CMSIS-NN, int8", bakenn_cmsis_nn, is_quantized=True, cores=("m4f",)),
    "tflm": Generator("TFLite Micro", tflite_micro, "tflite-micro"),
    "tflm-int8": Generator("TFLite Micro with CMSIS-NN, int8", tflite_micro_int8, "tflite-micro", is_quantized=True),
}
