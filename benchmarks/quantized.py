"""Accuracy, size and speed of networks of 8-bit integers beside the networks of floats that they were made from, on MNIST.

    NNPY_MNIST=folder python benchmarks/quantized.py [--write]

Trains each network, quantizes it with the first 2,000 training images, compares its outputs for the 10,000 test images with
those of the exported C file (compiled by `cc`), and times both networks in turns. --write puts the table into
docs/quantization.md.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from run import machine
from tables import write_table

import nnpy

PAGE = Path(__file__).resolve().parents[1] / "docs" / "quantization.md"
MARKS = ("<!-- table: written by benchmarks/quantized.py -->", "<!-- end of table -->")
NETWORKS = (
    ([784, 128, 10], ["relu", "softmax"]),
    ([784, 128, 10], ["tanh", "softmax"]),
    ([784, 128, 10], ["gelu", "softmax"]),
    ([784, 48, 48, 10], ["relu", "relu", "softmax"]),
    ([784, 10], ["softmax"]),
)
ROUNDS = 30

PROGRAM = """\
#define NET_IMPLEMENTATION
#include "net.h"
#include <stdio.h>
int main(void)
{
    static float in[NET_NUM_INPUTS], out[NET_NUM_OUTPUTS];
    while (fread(in, sizeof in, 1, stdin) == 1) {
        net_predict(in, out);
        fwrite(out, sizeof out, 1, stdout);
    }
    return net_selftest();
}
"""


def outputs_in_c(network: nnpy.QuantizedNetwork, x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Compile the exported network and return its outputs."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        network.export_c(folder / "net.h")
        (folder / "main.c").write_text(PROGRAM)
        subprocess.run(["cc", "-O2", "-o", "main", "main.c"], cwd=folder, check=True)
        result = subprocess.run([folder / "main"], input=x.tobytes(), capture_output=True, check=True).stdout
    return np.frombuffer(result, np.float32).reshape(len(x), -1)


def medians(networks: list[Any], x: NDArray[np.float32]) -> list[float]:
    """Return the seconds in which each network predicts all rows, measured in turns."""
    seconds: list[list[float]] = [[] for _ in networks]
    for _ in range(ROUNDS):
        for network, times in zip(networks, seconds, strict=True):
            begin = time.perf_counter()
            network.predict(x)
            times.append(time.perf_counter() - begin)
    return [statistics.median(times) for times in seconds]


def row(sizes: list[int], activations: list[str], data: nnpy.datasets.MNIST) -> str:
    """Measure a network and return its row of the table."""
    net = nnpy.NeuralNetwork(sizes, activations, seed=0)
    net.fit(data.x_train, data.y_train, epochs=5, batch_size=128, seed=0)
    q = net.quantize(data.x_train[:2000])
    times = medians(
        [net, q], data.x_test
    )  # before another process is started, which leaves this one slower for a while
    predicted = q.predict(data.x_test)
    num_different = np.sum((outputs_in_c(q, data.x_test) != predicted).any(axis=1))
    cells = [
        f"{'-'.join(map(str, sizes))}, {activations[0]}",
        *(f"{100 * network.score(data.x_test, data.y_test):.2f} %" for network in (net, q)),
        f"{net.parameters.nbytes:,}",
        f"{q.num_bytes:,} ({q.num_bytes / net.parameters.nbytes:.3f})",
        f"{num_different} of {len(data.x_test):,}",
        *(f"{len(data.x_test) / seconds / 1e6:.2f}" for seconds in times),
        f"{times[0] / times[1]:.1f}",
    ]
    return f"| {' | '.join(cells)} |"


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description="Networks of 8-bit integers beside networks of floats, on MNIST.")
    parser.add_argument("--write", action="store_true", help="write the table to docs/quantization.md")
    options = parser.parse_args()
    if not os.environ.get("NNPY_MNIST"):
        print("NNPY_MNIST does not name the folder with the MNIST files", file=sys.stderr)
        return 1
    data = nnpy.datasets.load_mnist()
    about = machine()
    lines = [
        f"{about['cpu']}, {about['cores']} cores; nnpy {about['versions']['nnpy']}, {about['isa']}, "
        f"{nnpy.get_num_threads()} threads. `python benchmarks/quantized.py`:",
        "",
        "| network | accuracy, floats | 8-bit integers | bytes, floats | 8-bit integers | rows that differ in C "
        "| million rows/s, floats | 8-bit integers | ratio |",
        "| --- |" + " ---: |" * 8,
    ]
    for sizes, activations in NETWORKS:
        lines.append(row(sizes, activations, data))
        print(lines[-1], file=sys.stderr)
    text = "\n".join(lines)
    print(text)
    if options.write:
        write_table(PAGE, MARKS, f"\n{text}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
