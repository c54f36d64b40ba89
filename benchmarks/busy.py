"""Training beside another process that computes: the time on one thread and on two, on a quiet machine and on a busy one.

    pip install .
    python benchmarks/busy.py [--rounds 5]

The other process keeps one processor busy. Training on two threads should then take at most 1.1 times as long as on one: nnpy
goes on with one thread where it finds that to be faster.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

import numpy as np

import nnpy

ROWS = 60_000
NETWORKS = {
    "784-128-10, batches of 32": ([784, 128, 10], 32, 4),
    "784-128-10, batches of 128": ([784, 128, 10], 128, 4),
    "256-256-256-1, batches of 32": ([256, 256, 256, 1], 32, 2),
}


def seconds(sizes: list[int], batch_size: int, epochs: int, num_threads: int) -> float:
    """Time one call of fit on random data."""
    rng = np.random.default_rng(0)
    x = rng.random((ROWS, sizes[0]), dtype=np.float32)
    y = rng.random((ROWS, sizes[-1]), dtype=np.float32)
    net = nnpy.NeuralNetwork(sizes, ["tanh"] * (len(sizes) - 2) + ["linear"], seed=0)
    nnpy.set_num_threads(num_threads)
    start = time.perf_counter()
    net.fit(x, y, optimizer=nnpy.SGD(0.01), epochs=epochs, batch_size=batch_size, seed=0)
    return time.perf_counter() - start


def measure(rounds: int) -> dict[str, list[float]]:
    """Return the medians for each network: on one thread, and on two."""
    times: dict[str, list[list[float]]] = {name: [[], []] for name in NETWORKS}
    for _ in range(rounds):
        for name, network in NETWORKS.items():
            for num_threads in (1, 2):
                times[name][num_threads - 1].append(seconds(*network, num_threads))
    return {name: [statistics.median(t) for t in both] for name, both in times.items()}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    print("| network | machine | one thread, s | two threads, s | two threads / the better one |")
    print("| --- | --- | ---: | ---: | ---: |")
    for machine in ("quiet", "busy"):
        other = subprocess.Popen([sys.executable, "-c", "while True: pass"]) if machine == "busy" else None
        try:
            for name, (one, two) in measure(rounds).items():
                print(f"| {name} | {machine} | {one:.2f} | {two:.2f} | {two / min(one, two):.2f} |")
        finally:
            if other is not None:
                other.kill()
                other.wait()


if __name__ == "__main__":
    main()
