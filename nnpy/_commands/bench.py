"""``nnpy bench``: pure Python, numpy, the plain C header and nnpy on the same work, checked and then timed."""

import platform
import statistics
import sys
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nnpy import reference
from nnpy._arrays import as_matrix
from nnpy._commands import xor as _xor
from nnpy._ffi import lib
from nnpy._network import NeuralNetwork
from nnpy._optimizers import SGD

__all__ = ["table"]

_RUNS = 5  # interleaved; the median counts
_SECONDS = 0.2  # about how long each takes

Array = NDArray[np.float32]
# Takes steps of gradient descent on batches, from a start; returns the parameters.
Trainer = Callable[["Work", int], Array]


class Work(NamedTuple):
    """Steps of gradient descent: step s takes batch s % len(batches), of x and y."""

    name: str
    sizes: tuple[int, ...]
    start: Array
    x: Array
    y: Array
    batches: list[tuple[Array, Array]]
    rate: float


def table() -> str:
    """Check that the four agree on each piece of work, time them, and describe the times per iteration and the ratios."""
    trainers: dict[str, Trainer] = {"pure Python": _python, "numpy": _numpy, "nn.h": _book, "nnpy": _nnpy}
    lines = [
        f"nnpy on {platform.machine()}, {platform.python_implementation()} {platform.python_version()}, "
        f"numpy {np.__version__}; medians of {_RUNS} interleaved runs",
        "",
        "| work, time per iteration | " + " | ".join(trainers) + " | nnpy is faster than pure Python, numpy, nn.h by |",
        "| --- |" + " ---: |" * (len(trainers) + 1),
    ]
    for work, checked_steps in ((_xor_work(), 20), (_batch_work(), 4)):
        _check_agreement(work, trainers, checked_steps)
        times = _time(work, trainers)
        ratios = " / ".join(f"{times[name] / times['nnpy']:.3g}" for name in trainers if name != "nnpy")
        lines.append(f"| {work.name} | " + " | ".join(_text(times[name]) for name in trainers) + f" | {ratios} |")
    return "\n".join(lines)


def _xor_work() -> Work:
    net = NeuralNetwork([2, 2, 1])
    net.randomize(0.0, 1.0, seed=69)
    x, y = _xor.DATA[:, :2], _xor.DATA[:, 2:]
    return Work("XOR, 2-2-1, full batch of 4", (2, 2, 1), net.parameters.copy(), x, y, [(x, y)], 10.0)


def _batch_work() -> Work:
    """Batches of 10 in the shape of handwritten digits, one-hot targets; the values do not matter to the time."""
    rng = np.random.default_rng(0)
    x = rng.random((2000, 784), dtype=np.float32)
    y = np.eye(10, dtype=np.float32)[rng.integers(0, 10, 2000)]
    batches = [(x[i : i + 10], y[i : i + 10]) for i in range(0, len(x), 10)]
    net = NeuralNetwork([784, 30, 10], seed=0)
    return Work("784-30-10, batches of 10", (784, 30, 10), net.parameters.copy(), x, y, batches, 1.5)


def _python(work: Work, steps: int) -> Array:
    net = reference.NeuralNetwork(work.sizes)
    start = iter(work.start.tolist())
    for row in net.rows():
        row[:] = [next(start) for _ in row]
    batches = [(x.tolist(), y.tolist()) for x, y in work.batches[:steps]]
    for step in range(steps):
        net.gradient_descent(*batches[step % len(batches)], rate=work.rate)
    return np.array(net.parameters, dtype=np.float32)


def _numpy(work: Work, steps: int) -> Array:
    net = NeuralNetwork(work.sizes)  # only for its views
    net.parameters = work.start
    weights, biases = list(net.weights), list(net.biases)
    for step in range(steps):
        x, y = work.batches[step % len(work.batches)]
        a = [x]
        for w, b in zip(weights, biases, strict=True):
            a.append(1 / (1 + np.exp(-(a[-1] @ w + b))))
        d = (2 / len(x)) * (a[-1] - y) * a[-1] * (1 - a[-1])
        for layer in range(len(weights) - 1, -1, -1):
            w_grad, b_grad = a[layer].T @ d, d.sum(axis=0)
            if layer > 0:
                d = (d @ weights[layer].T) * a[layer] * (1 - a[layer])
            weights[layer] -= np.float32(work.rate) * w_grad
            biases[layer] -= np.float32(work.rate) * b_grad
    return net.parameters


def _book(work: Work, steps: int) -> Array:
    """The functions of nn.h, called as they are."""
    net = NeuralNetwork(work.sizes)
    net.parameters = work.start
    matrices = [(as_matrix(x), as_matrix(y)) for x, y in work.batches]
    if len(matrices) == 1:
        lib.nn_gradient_descent(net._nn, work.rate, *matrices[0], steps)
        return net.parameters
    for step in range(steps):
        lib.nn_gradient_descent(net._nn, work.rate, *matrices[step % len(matrices)], 1)
    return net.parameters


def _nnpy(work: Work, steps: int) -> Array:
    net = NeuralNetwork(work.sizes)
    net.parameters = work.start
    if len(work.batches) == 1:
        net.gradient_descent(*work.batches[0], rate=work.rate, iterations=steps)
        return net.parameters
    for first in range(0, steps, len(work.batches)):  # epoch by epoch, the last one perhaps in part
        rows = min(steps - first, len(work.batches)) * len(work.batches[0][0])
        net.fit(
            work.x[:rows],
            work.y[:rows],
            optimizer=SGD(work.rate),
            epochs=1,
            batch_size=len(work.batches[0][0]),
            shuffle=False,
        )
    return net.parameters


def _check_agreement(work: Work, trainers: dict[str, Trainer], steps: int) -> None:
    results = {name: train(work, steps) for name, train in trainers.items()}
    expected = results["pure Python"]
    moved = np.abs(expected - work.start).max()
    for name, result in results.items():
        error = np.abs(result - expected).max()
        if not error <= 1e-3 * moved:
            sys.exit(
                f"nnpy bench: {name} disagrees with pure Python on {work.name}: by {error:.2g} after {steps} steps"
            )


def _time(work: Work, trainers: dict[str, Trainer]) -> dict[str, float]:
    """Seconds per step: the median over interleaved runs of some tenths of a second each."""
    steps = {name: _steps_for(work, train, _SECONDS) for name, train in trainers.items()}
    times: dict[str, list[float]] = {name: [] for name in trainers}
    for _ in range(_RUNS):
        for name, train in trainers.items():
            times[name].append(_seconds(work, train, steps[name]) / steps[name])
    return {name: statistics.median(values) for name, values in times.items()}


def _steps_for(work: Work, train: Trainer, seconds: float) -> int:
    steps = 1
    while (taken := _seconds(work, train, steps)) < seconds / 4:
        steps *= 4
    return max(1, round(steps * seconds / taken))


def _seconds(work: Work, train: Trainer, steps: int) -> float:
    start = time.perf_counter()
    train(work, steps)
    return time.perf_counter() - start


def _text(seconds: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e6:.3g} us"
