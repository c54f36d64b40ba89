"""The header csrc/nn.h alone, in a C program (benchmarks/book.c) that is compiled for this machine and times itself."""

import atexit
import os
import subprocess
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

from workloads import Xor

XOR_ITERATIONS = 1_000_000
XOR_REPETITIONS = 5


@cache
def program() -> Path:
    """Compile the program, once in a process."""
    folder = tempfile.TemporaryDirectory()
    atexit.register(folder.cleanup)
    benchmarks = Path(__file__).parents[1]
    output = Path(folder.name) / "book"
    compiler = os.environ.get("CC", "cc")
    command = [compiler, "-O3", "-march=native", "-I", str(benchmarks.parent / "csrc")]
    subprocess.run([*command, "-o", str(output), str(benchmarks / "book.c"), "-lm"], check=True)
    return output


def run_program(iterations: int) -> tuple[float, list[float]]:
    """Return the seconds that the training takes, and the four outputs."""
    result = subprocess.run([program(), str(iterations)], capture_output=True, text=True, check=True)
    seconds, *outputs = map(float, result.stdout.split())
    return seconds, outputs


def xor(workload: Xor, iterations: int) -> Callable[[], list[float]]:
    return lambda: run_program(iterations)[1]


def xor_seconds() -> list[float]:
    """Return the seconds of some training runs of XOR_ITERATIONS iterations each, without the start of the process."""
    return [run_program(XOR_ITERATIONS)[0] for _ in range(XOR_REPETITIONS)]
