"""Measures one library in all cells of the map: verifies the result of each, then times an epoch. map.py starts it.

    python benchmarks/map_worker.py LIBRARY OPTIMIZER WIDTH[,WIDTH] BATCH[,BATCH]

Prints a JSON object, {"WIDTH BATCH": [seconds of an epoch for each sample, ...]}.
"""

import importlib
import json
import sys
import time
from collections.abc import Callable, Iterator
from itertools import pairwise

from workloads import Training

WORK = 3e8  # multiply-adds of an epoch, about
MAX_SAMPLES, MIN_STEPS = 1 << 16, 32
SECONDS, MIN_REPETITIONS = 0.25, 3  # of a cell, after a first epoch that is not counted


class Cell(Training):
    """A network n-n-n-1 with the squared error, whatever the optimiser."""

    classifies = False


def cell(width: int, batch_size: int, optimizer: str) -> Cell:
    """Return a cell, whose epoch has whole mini-batches and a learning rate with which no network diverges."""
    sizes = (width, width, width, 1)
    work_per_step = 3 * batch_size * sum(n * m for n, m in pairwise(sizes))
    steps = max(MIN_STEPS, min(int(WORK / work_per_step), MAX_SAMPLES // batch_size))
    learning_rate = 1e-3 if optimizer == "adam" else 0.01 * min(1.0, 16 / width)
    num_samples = steps * batch_size
    return Cell(sizes, num_samples, batch_size, optimizer, learning_rate, MIN_REPETITIONS, hidden="tanh")


def times(train: Callable[[], object]) -> Iterator[float]:
    """Time epochs."""
    train()
    end = time.perf_counter() + SECONDS
    number = 0
    while number < MIN_REPETITIONS or time.perf_counter() < end:
        before = time.perf_counter()
        train()
        yield time.perf_counter() - before
        number += 1


def main() -> int:
    """Run the program."""
    name, optimizer, widths, batches = sys.argv[1:]
    library = importlib.import_module(f"libraries.{name}_")
    seconds = {}
    for width in map(int, widths.split(",")):
        for batch in map(int, batches.split(",")):
            workload = cell(width, batch, optimizer)
            train_in_order, train = library.training(workload)
            workload.verify(train_in_order)
            seconds[f"{width} {batch}"] = [s / workload.num_samples for s in times(train)]
    print(json.dumps(seconds))
    return 0


if __name__ == "__main__":
    sys.exit(main())
