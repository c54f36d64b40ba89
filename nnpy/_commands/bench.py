"""``nnpy bench``: times pure Python, numpy, nn.h and nnpy on the same training, after a check that their results agree.

It needs only numpy. The comparison with other libraries is `benchmarks/run.py` in the repository.
"""

import platform
import statistics
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

import nnpy
from nnpy import reference
from nnpy._arrays import as_matrix
from nnpy._commands import xor
from nnpy._ffi import lib

__all__ = ["BATCH_SIZE", "table"]

BATCH_SIZE = 32  # the default for --layers

_NUM_RUNS = 5  # interleaved; the median is printed
_RUN_SECONDS = 0.2  # about how long a run takes

Array = NDArray[np.float32]


class Task(NamedTuple):
    """Gradient descent on a sigmoid network.

    Attributes
    ----------
    name : str
        What the table calls it.
    layer_sizes : tuple of int
        Neurons of each layer, inputs first.
    initial_parameters : ndarray of float32, shape (parameters,)
        Weights and biases before the first iteration.
    x, y : ndarray of float32, shapes (n, inputs) and (n, outputs)
        Samples and targets.
    batch_size : int
        Samples in a mini-batch; it divides n. Iteration i uses mini-batch i modulo n / batch_size.
    learning_rate : float
        Learning rate of gradient descent.
    num_checked : int
        Iterations after which the results are compared.
    """

    name: str
    layer_sizes: tuple[int, ...]
    initial_parameters: Array
    x: Array
    y: Array
    batch_size: int
    learning_rate: float
    num_checked: int

    def batches(self) -> list[tuple[Array, Array]]:
        """Return the mini-batches, views of x and y."""
        starts = range(0, len(self.x), self.batch_size)
        return [(self.x[i : i + self.batch_size], self.y[i : i + self.batch_size]) for i in starts]

    def network(self) -> nnpy.NeuralNetwork:
        """Return a new network with the initial parameters."""
        net = nnpy.NeuralNetwork(self.layer_sizes)
        net.parameters = self.initial_parameters
        return net


# Trains a new network for a number of iterations; returns its parameters in the order of `NeuralNetwork.parameters`.
Trainer = Callable[[Task, int], Array]


def table(layers: Sequence[int] | None = None, batch_size: int = BATCH_SIZE) -> str:
    """Check that the four implementations agree, time them, and return a table in Markdown.

    Parameters
    ----------
    layers : sequence of int, optional
        Neurons of each layer, inputs first. By default there are two rows: XOR and a 784-30-10 network.
    batch_size : int
        Samples in a mini-batch, with `layers`.

    Raises
    ------
    ArithmeticError
        If the results differ.
    KeyboardInterrupt
        On Ctrl-C.
    """
    trainers: dict[str, Trainer] = {
        "pure Python": _train_python,
        "numpy": _train_numpy,
        "nn.h": _train_nn_h,
        "nnpy": _train_nnpy,
    }
    tasks = [_xor_task(), _random_task((784, 30, 10), 10)] if layers is None else [_random_task(layers, batch_size)]
    lines = [
        f"nnpy {nnpy.__version__} with up to {nnpy.get_num_threads()} threads, {platform.machine()}, "
        f"{platform.python_implementation()} {platform.python_version()}, numpy {np.__version__}; "
        f"medians of {_NUM_RUNS} interleaved runs",
        "",
        "| time of an iteration | " + " | ".join(trainers) + " | speedup over pure Python / numpy / nn.h |",
        "| --- |" + " ---: |" * (len(trainers) + 1),
    ]
    for task in tasks:
        _check_agreement(task, trainers)
        seconds = _time(task, trainers)
        speedups = " / ".join(f"{seconds[name] / seconds['nnpy']:.3g}" for name in trainers if name != "nnpy")
        times = " | ".join(_format_time(seconds[name]) for name in trainers)
        lines.append(f"| {task.name} | {times} | {speedups} |")
    return "\n".join(lines)


def _xor_task() -> Task:
    net = nnpy.NeuralNetwork([2, 2, 1])
    net.randomize(0.0, 1.0, seed=69)
    return Task(
        name="XOR, 2-2-1, full batch of 4",
        layer_sizes=net.layer_sizes,
        initial_parameters=net.parameters.copy(),
        x=xor.DATA[:, :2],
        y=xor.DATA[:, 2:],
        batch_size=4,
        learning_rate=10.0,
        num_checked=20,
    )


def _random_task(layer_sizes: Sequence[int], batch_size: int) -> Task:
    """Return a task with random samples and targets: the time does not depend on their values."""
    num_samples = max(2000 // batch_size, 1) * batch_size
    rng = np.random.default_rng(0)
    net = nnpy.NeuralNetwork(layer_sizes, seed=0)
    return Task(
        name=f"{'-'.join(map(str, layer_sizes))}, mini-batches of {batch_size}",
        layer_sizes=net.layer_sizes,
        initial_parameters=net.parameters.copy(),
        x=rng.random((num_samples, layer_sizes[0]), dtype=np.float32),
        y=rng.random((num_samples, layer_sizes[-1]), dtype=np.float32),
        batch_size=batch_size,
        learning_rate=1.5,
        num_checked=4,
    )


# ---- The four implementations ----


def _train_python(task: Task, iterations: int) -> Array:
    net = reference.NeuralNetwork(task.layer_sizes)
    parameters = iter(task.initial_parameters.tolist())
    for row in net.rows():
        row[:] = [next(parameters) for _ in row]
    batches = [(x.tolist(), y.tolist()) for x, y in task.batches()[:iterations]]
    for i in range(iterations):
        net.gradient_descent(*batches[i % len(batches)], rate=task.learning_rate)
    return np.array(net.parameters, dtype=np.float32)


def _train_numpy(task: Task, iterations: int) -> Array:
    net = task.network()  # only its views of the parameters are used
    weights, biases = list(net.weights), list(net.biases)
    batches = task.batches()
    for i in range(iterations):
        x, y = batches[i % len(batches)]
        a = [x]
        for w, b in zip(weights, biases, strict=True):
            a.append(1 / (1 + np.exp(-(a[-1] @ w + b))))
        dz = (2 / len(x)) * (a[-1] - y) * a[-1] * (1 - a[-1])  # dC/dz of the last layer, shape (batch, outputs)
        for layer in range(len(weights) - 1, -1, -1):
            dw, db = a[layer].T @ dz, dz.sum(axis=0)
            if layer > 0:
                dz = (dz @ weights[layer].T) * a[layer] * (1 - a[layer])
            weights[layer] -= np.float32(task.learning_rate) * dw
            biases[layer] -= np.float32(task.learning_rate) * db
    return net.parameters


def _train_nn_h(task: Task, iterations: int) -> Array:
    """Call the functions of nn.h directly, without the engine."""
    net = task.network()
    batches = [(as_matrix(x), as_matrix(y)) for x, y in task.batches()]
    if len(batches) == 1:
        lib.nn_gradient_descent(net._nn, task.learning_rate, *batches[0], iterations)
        return net.parameters
    for i in range(iterations):
        lib.nn_gradient_descent(net._nn, task.learning_rate, *batches[i % len(batches)], 1)
    return net.parameters


def _train_nnpy(task: Task, iterations: int) -> Array:
    net = task.network()
    num_batches = len(task.x) // task.batch_size
    if num_batches == 1:
        net.gradient_descent(task.x, task.y, rate=task.learning_rate, iterations=iterations)
        return net.parameters
    for done in range(0, iterations, num_batches):
        num_samples = min(iterations - done, num_batches) * task.batch_size  # the last epoch may be a part of one
        history = net.fit(
            task.x[:num_samples],
            task.y[:num_samples],
            optimizer=nnpy.SGD(task.learning_rate),
            epochs=1,
            batch_size=task.batch_size,
            shuffle=False,
        )
        if history.stopped == "interrupt":
            raise KeyboardInterrupt
    return net.parameters


# ---- The check and the times ----


def _check_agreement(task: Task, trainers: dict[str, Trainer]) -> None:
    """Compare the parameters after some iterations: they may differ by 1/1000 of the largest change from the start."""
    expected = trainers["pure Python"](task, task.num_checked)
    largest_change = np.abs(expected - task.initial_parameters).max()
    for name, train in trainers.items():
        difference = np.abs(train(task, task.num_checked) - expected).max()
        if not difference < 1e-3 * largest_change:  # also true for NaN and if nothing was trained
            raise ArithmeticError(
                f"{name} and pure Python disagree on {task.name}: their parameters differ by {difference:.2g} after "
                f"{task.num_checked} iterations"
            )


def _time(task: Task, trainers: dict[str, Trainer]) -> dict[str, float]:
    """Return the seconds of an iteration for each trainer: the median of interleaved runs."""
    iterations = {name: _iterations_per_run(task, train) for name, train in trainers.items()}
    seconds: dict[str, list[float]] = {name: [] for name in trainers}
    for _ in range(_NUM_RUNS):
        for name, train in trainers.items():
            seconds[name].append(_time_run(task, train, iterations[name]) / iterations[name])
    return {name: statistics.median(values) for name, values in seconds.items()}


def _iterations_per_run(task: Task, train: Trainer) -> int:
    iterations = 1
    while (seconds := _time_run(task, train, iterations)) < _RUN_SECONDS / 4:
        iterations *= 4
    return max(1, round(iterations * _RUN_SECONDS / seconds))


def _time_run(task: Task, train: Trainer, iterations: int) -> float:
    start = time.perf_counter()
    train(task, iterations)
    return time.perf_counter() - start


def _format_time(seconds: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e6:.3g} us"
