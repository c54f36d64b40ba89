"""Measures small networks on two microcontrollers: nnpy's export and the code of other generators, from the same parameters.

    pip install .
    apt install gcc-arm-none-eabi libnewlib-arm-none-eabi libstdc++-arm-none-eabi-newlib qemu-system-arm
    NNPY_MNIST=FOLDER python benchmarks/devices.py [--onnx2c PROGRAM] [--tflite-micro FOLDER] [--write]

Nothing but a compiler and an emulator is needed: QEMU runs the code and counts its instructions. nnpy trains the networks. The
script makes an environment with the other generators that PyPI has, and TensorFlow, if it is needed. Two must be there already:

--onnx2c PROGRAM
    Debian's protobuf-compiler, libprotobuf-dev and cmake, and

        git clone --recursive https://github.com/kraiskil/onnx2c && cd onnx2c && mkdir build && cd build
        cmake -DCMAKE_BUILD_TYPE=Release -DCMAKE_CXX_FLAGS=-Wno-error=restrict .. && make onnx2c

--tflite-micro FOLDER
    The sources, and what they need, which its Makefile downloads:

        git clone https://github.com/tensorflow/tflite-micro && cd tflite-micro
        make -f tensorflow/lite/micro/tools/make/Makefile OPTIMIZED_KERNEL_DIR=cmsis_nn third_party_downloads

Where one is not given, its rows are left out. Each code is verified first: its outputs for the test inputs must be those of
nnpy, up to rounding, or up to the quantization; other code is left out. docs/devices.md says what the columns mean. --write
writes the tables there, and benchmarks/devices.json.
"""

import argparse
import datetime
import json
import os
import platform
import shlex
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from microcontrollers.board import CORES, Core, measure, versions
from microcontrollers.codes import GENERATORS, Generated, Tools
from microcontrollers.networks import NETWORKS, Network
from numpy.typing import NDArray
from run import names_from
from tables import write_table

import nnpy

HERE = Path(__file__).resolve().parent
PAGE = HERE.parent / "docs" / "devices.md"
MARKS = ("<!-- tables written by benchmarks/devices.py -->", "<!-- end -->")
TOLERANCE = 1e-4  # of the outputs, relative to the largest
QUANTIZED_TOLERANCE = 0.05  # of the mean of the differences
README_MICROSECONDS, README_MHZ, README_TEXT = 20, 96, 8276  # of the sine, in onnx2c's README


class WrongOutputs(Exception):
    """The outputs are not those of the network."""


def verify(expected: NDArray[Any], outputs: NDArray[Any], *, is_quantized: bool) -> None:
    """Check that the outputs are those of the network."""
    differences = np.abs(outputs - expected) / np.abs(expected).max()
    error = differences.mean() if is_quantized else differences.max()
    limit = QUANTIZED_TOLERANCE if is_quantized else TOLERANCE
    if not (np.isfinite(outputs).all() and outputs.any() and error <= limit):
        which = "the mean difference" if is_quantized else "the largest difference"
        raise WrongOutputs(f"{which} to the outputs of the network is {error:.2g} of the largest output")


def row(network: Network, name: str, generated: Generated, core: Core, tools: Tools) -> dict[str, Any]:
    """Measure one code on one core."""
    expected = network.net.predict(network.x_test)
    measured = measure(generated.code, core, tools.folder_of(network, name), tools.objects)
    outputs = generated.decode(measured.outputs)
    verify(expected, outputs, is_quantized=GENERATORS[name].is_quantized)
    predicted = expected if generated.predicted is None else generated.predicted
    is_other = (outputs.astype(np.float32).view(np.uint32) != predicted.view(np.uint32)).any(axis=1)
    return {
        "network": network.name,
        "core": core.name,
        "code": name,
        "flash": measured.flash,
        "static_ram": measured.static_ram,
        "stack": measured.stack,
        "instructions": round(measured.instructions, 1),
        "inputs": len(expected),
        "other_bits": int(is_other.sum()),
        "difference": float(np.abs(outputs - expected).max()),
    }


def difference_text(number: float) -> str:
    """Format a difference."""
    return "0" if number == 0 else f"{number:.1g}"


def table(rows: list[dict[str, Any]], network: str) -> list[str]:
    """Format the rows of a network in Markdown."""
    lines = [
        "| core | code | flash | static RAM | stack | instructions | other bits | largest difference |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    labels = {core.name: core.label for core in CORES}
    for r in (r for core in CORES for r in rows if r["network"] == network and r["core"] == core.name):
        numbers = (f"{r[name]:,.0f}" for name in ("flash", "static_ram", "stack", "instructions"))
        exact = f"{r['other_bits']:,} of {r['inputs']:,} | {difference_text(r['difference'])}"
        lines.append(f"| {labels[r['core']]} | {GENERATORS[r['code']].label} | {' | '.join(numbers)} | {exact} |")
    return lines


def sine_text(rows: list[dict[str, Any]]) -> list[str]:
    """Compare with the time and the size that onnx2c's README gives for the sine."""
    on_m4f = {r["code"]: r for r in rows if (r["network"], r["core"]) == ("sine", "m4f")}
    parts = [
        f"{GENERATORS[code].label} {on_m4f[code]['instructions'] / README_MHZ:.0f} µs and {on_m4f[code]['flash']:,} bytes"
        for code in ("nnpy", "onnx2c")
        if code in on_m4f
    ]
    if not parts:
        return []
    return [
        "",
        f"onnx2c's README gives {README_MICROSECONDS} µs and {README_TEXT:,} bytes of text for this network, on an STM32F411, "
        f"which is a Cortex-M4F, at {README_MHZ} MHz. The text is that of the whole program, with ST's library. At "
        f"{README_MHZ} MHz and one instruction a cycle, which a processor does not quite reach, the rows above mean: "
        f"{'; '.join(parts)}.",
    ]


def document(results: dict[str, Any]) -> str:
    """Format all results in Markdown."""
    about = results["about"]
    named = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    lines = [
        f"{about['date']}, on {about['machine']}: {named}; {about['tools']}. `{about['command']}`",
        *(f"\n{text}" for text in results["left_out"]),
    ]
    for name, label in results["networks"].items():
        lines += ["", f"### {label}", "", *table(results["rows"], name)]
        if name == "sine":
            lines += sine_text(results["rows"])
    return "\n".join(lines)


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=f"networks: {', '.join(NETWORKS)}; codes: {', '.join(GENERATORS)}",
    )
    parser.add_argument("--onnx2c", type=Path, metavar="PROGRAM", help="the program onnx2c")
    parser.add_argument("--tflite-micro", type=Path, metavar="FOLDER", help="the sources of TFLite Micro")
    parser.add_argument(
        "--networks", type=names_from(NETWORKS), default=list(NETWORKS), metavar="NETWORK[,NETWORK]", help="only these"
    )
    parser.add_argument(
        "--codes", type=names_from(GENERATORS), default=list(GENERATORS), metavar="CODE[,CODE]", help="only these"
    )
    parser.add_argument("--folder", type=Path, help="keep what is made here, for the next run")
    parser.add_argument("--write", action="store_true", help="write docs/devices.md and benchmarks/devices.json")
    options = parser.parse_args()
    if options.write and (options.networks != list(NETWORKS) or options.codes != list(GENERATORS)):
        parser.error("--write needs all networks and codes")
    for path in (options.onnx2c, options.tflite_micro):
        if path is not None and not path.exists():
            parser.error(f"{path} does not exist")
    return options


def command(options: argparse.Namespace) -> str:
    """Return the command with the options that decide what is measured, and without paths."""
    words = ["python", "benchmarks/devices.py"]
    words += ["--onnx2c", options.onnx2c.name] if options.onnx2c else []
    words += ["--tflite-micro", options.tflite_micro.name] if options.tflite_micro else []
    return shlex.join(words)


def main() -> int:
    """Run the benchmark."""
    options = parse_arguments()
    given = {"onnx2c": options.onnx2c, "tflite-micro": options.tflite_micro}
    missing = {
        name: GENERATORS[name].tool for name in options.codes if given.get(GENERATORS[name].tool or "", True) is None
    }
    left_out = [f"{GENERATORS[name].label} is left out: --{tool} is not given." for name, tool in missing.items()]
    if "mnist" in options.networks and not os.environ.get("NNPY_MNIST"):
        left_out.append("MNIST is left out: NNPY_MNIST does not name the folder with the MNIST files.")
        options.networks.remove("mnist")
    for text in left_out:
        print(text, file=sys.stderr)
    rows: list[dict[str, Any]] = []
    networks: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as temporary:
        tools = Tools((options.folder or Path(temporary)).resolve(), options.onnx2c, options.tflite_micro)
        for network in (NETWORKS[name]() for name in options.networks):
            networks[network.name] = network.label
            for name in (name for name in options.codes if name not in missing):
                generated = GENERATORS[name].generate(network, tools.folder_of(network, name), tools)
                for core in (core for core in CORES if core.name in GENERATORS[name].cores):
                    try:
                        rows.append(row(network, name, generated, core, tools))
                        print(rows[-1], file=sys.stderr, flush=True)
                    except WrongOutputs as error:
                        what = f"{GENERATORS[name].label}, {network.label}, {core.label}"
                        left_out.append(f"{what}: left out, for {error}.")
                        print(left_out[-1], file=sys.stderr, flush=True)
                        if name.startswith("nnpy"):
                            return 1
        about = {
            "date": str(datetime.datetime.now(datetime.timezone.utc).date()),
            "machine": f"{platform.system()} {platform.machine()}",
            "versions": {"nnpy": nnpy.__version__, **tools.versions()},
            "tools": versions(),
            "command": command(options),
        }
    results = {"about": about, "left_out": left_out, "networks": networks, "rows": rows}
    text = document(results)
    print(text)
    if options.write:
        (HERE / "devices.json").write_text(json.dumps(results, indent=1) + "\n")
        write_table(PAGE, MARKS, f"\n\n{text}\n\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
