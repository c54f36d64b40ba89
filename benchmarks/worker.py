"""Runs one library on one workload: verifies the result, then times it.

    python benchmarks/worker.py LIBRARY WORKLOAD

Prints a JSON object, {"seconds": [...]}: the time of an epoch, an iteration, a prediction or a whole training run, for some
repetitions after a warm-up that is not counted. A wrong result is an error. run.py and compare.py start this program, in a
process for each measurement.
"""

import argparse
import importlib
import json
import sys
import time
from collections.abc import Callable
from typing import Any, TypeVar

from workloads import (
    WORKLOADS,
    Digits,
    ManyNetworks,
    Prediction,
    QuantizedPrediction,
    Regression,
    Step,
    Training,
    VerificationError,
    Xor,
)

LIBRARIES = ("nnpy", "jax", "torch", "sklearn", "numpy", "onnxruntime", "book", "pure_python")
OURS = ("book", "pure_python")  # no package has these names, so that their modules need no underscore
WARMUP_SECONDS = 0.5  # threads that NumPy's BLAS left spinning fall asleep meanwhile

T = TypeVar("T")


def time_runs(
    run: Callable[[], T], repetitions: int, verify: Callable[[T], object] = lambda result: None
) -> list[float]:
    """Warm up, then time `run`; verify what each run returns, which is not timed."""
    begin = time.perf_counter()
    verify(run())
    while time.perf_counter() - begin < WARMUP_SECONDS:
        verify(run())
    seconds = []
    for _ in range(repetitions):
        before = time.perf_counter()
        result = run()
        seconds.append(time.perf_counter() - before)
        verify(result)
    return seconds


def time_calls(call: Callable[[], object], number: int, repetitions: int) -> list[float]:
    """Return the seconds of a call, of which `number` are timed together."""
    calls = range(number)

    def call_all() -> None:
        for _ in calls:
            call()

    return [seconds / number for seconds in time_runs(call_all, repetitions)]


def measure_training(library: Any, workload: Training) -> list[float]:
    """Return the seconds of an epoch, or of a step."""
    train_in_order, train = (library.step if isinstance(workload, Step) else library.training)(workload)
    workload.verify(train_in_order)
    if isinstance(workload, Step):
        return time_calls(train, workload.calls, workload.repetitions)
    return time_runs(train, workload.repetitions)


def measure_prediction(library: Any, workload: Prediction) -> list[float]:
    """Return the seconds of a prediction."""
    is_quantized = isinstance(workload, QuantizedPrediction)
    predict = (library.quantized_prediction if is_quantized else library.prediction)(workload)
    workload.verify(predict())
    return time_calls(predict, workload.calls, workload.repetitions)


def measure_xor(library: Any, workload: Xor) -> list[float]:
    """Return the seconds of an iteration."""
    workload.verify(library.xor(workload, workload.verified_iterations)())
    iterations = library.XOR_ITERATIONS
    if hasattr(library, "xor_seconds"):  # it times itself
        seconds = library.xor_seconds()
    else:
        seconds = time_runs(library.xor(workload, iterations), workload.repetitions)
    return [s / iterations for s in seconds]


def measure_digits(library: Any, workload: Digits) -> list[float]:
    """Return the seconds of a training run, evaluation included."""
    labels = workload.data()[3]
    return time_runs(library.digits(workload), workload.repetitions, lambda outputs: workload.verify(outputs, labels))


def measure_regression(library: Any, workload: Regression, repetitions: int) -> list[float]:
    """Return the seconds until the target loss is reached."""

    def verify(result: tuple[float, Callable[[], Any]]) -> None:
        loss, outputs = result
        workload.verify(loss, outputs())

    return time_runs(library.regression(workload), repetitions, verify)


def measure_many_networks(library: Any, workload: ManyNetworks, repetitions: int) -> list[float]:
    """Return the seconds in which all networks are trained."""
    return time_runs(library.many_networks(workload), repetitions, lambda outputs: workload.verify(outputs()))


def measure(library_name: str, workload_name: str) -> list[float]:
    """Verify and time one library on one workload."""
    library = importlib.import_module(f"libraries.{library_name}{'' if library_name in OURS else '_'}")
    workload = WORKLOADS[workload_name]
    slow_repetitions = 3 if library_name == "nnpy" else 1  # the others need up to 10 s for one
    if isinstance(workload, Training):
        return measure_training(library, workload)
    if isinstance(workload, Prediction):
        return measure_prediction(library, workload)
    if isinstance(workload, Xor):
        return measure_xor(library, workload)
    if isinstance(workload, Digits):
        return measure_digits(library, workload)
    if isinstance(workload, Regression):
        return measure_regression(library, workload, slow_repetitions)
    return measure_many_networks(library, workload, slow_repetitions)


def main() -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(description="Verify and time one library on one workload.")
    parser.add_argument("library", choices=LIBRARIES)
    parser.add_argument("workload", choices=WORKLOADS)
    options = parser.parse_args()
    try:
        seconds = measure(options.library, options.workload)
    except VerificationError as error:
        sys.exit(f"{options.library}, {options.workload}: {error}")
    print(json.dumps({"seconds": seconds}))


if __name__ == "__main__":
    main()
