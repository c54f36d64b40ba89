"""Measures one library in all cells of the map: verifies the result of each, then times an epoch. map.py starts it.

    python benchmarks/map_worker.py LIBRARY OPTIMIZER WIDTH[,WIDTH] BATCH[,BATCH]

Prints a JSON object, {"WIDTH BATCH": [seconds of an epoch, ...]}.
"""

import json
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from workloads import Array, VerificationError, initial_parameters, random_samples

WORK = 3e8  # multiply-adds of an epoch, about
MAX_SAMPLES, MIN_STEPS = 1 << 16, 32
SECONDS, MIN_REPETITIONS = 0.25, 3  # of a cell, after a first epoch that is not counted


class Cell(NamedTuple):
    """A network n-n-n-1 with tanh and the squared error, trained in mini-batches of shuffled samples."""

    width: int
    batch_size: int
    optimizer: str  # "sgd" or "adam"

    @property
    def sizes(self) -> tuple[int, ...]:
        """The layer sizes."""
        return self.width, self.width, self.width, 1

    @property
    def num_samples(self) -> int:
        """The number of samples of an epoch: whole mini-batches."""
        w = initial_parameters(self.sizes)[0]
        work_per_step = 3 * self.batch_size * sum(p.size for p in w)
        steps = max(MIN_STEPS, min(int(WORK / work_per_step), MAX_SAMPLES // self.batch_size))
        return steps * self.batch_size

    @property
    def learning_rate(self) -> float:
        """The learning rate, with which no network diverges."""
        return 1e-3 if self.optimizer == "adam" else 0.01 * min(1.0, 16 / self.width)

    def data(self) -> tuple[Array, Array]:
        """Return x, shape (n, width), and y, shape (n, 1)."""
        x, scores = random_samples(self.num_samples, self.width, 1)
        return x, np.tanh(scores)


def expected_weights(cell: Cell, x: Array, y: Array) -> list[Array]:
    """Compute the weights after an epoch on x and y in order, in float64."""
    w, b = ([p.astype(float) for p in part] for part in initial_parameters(cell.sizes))
    parameters = w + b
    m, v = ([np.zeros_like(p) for p in parameters] for _ in range(2))
    for step, begin in enumerate(range(0, len(x), cell.batch_size), start=1):
        targets = y[begin : begin + cell.batch_size]
        a = [x[begin : begin + cell.batch_size].astype(float)]
        for layer, (weights, biases) in enumerate(zip(w, b, strict=True)):
            z = a[-1] @ weights + biases
            a.append(z if layer == len(w) - 1 else np.tanh(z))
        delta = 2 * (a[-1] - targets) / len(targets)
        w_grads: list[Array] = []
        b_grads: list[Array] = []
        for layer in reversed(range(len(w))):
            w_grads.insert(0, a[layer].T @ delta)
            b_grads.insert(0, delta.sum(axis=0))
            delta = delta @ w[layer].T * (1 - a[layer] ** 2)
        for i, (p, grad) in enumerate(zip(parameters, w_grads + b_grads, strict=True)):
            if cell.optimizer == "adam":
                m[i] += 0.1 * (grad - m[i])
                v[i] += 0.001 * (grad * grad - v[i])
                grad = m[i] / (1 - 0.9**step) / (np.sqrt(v[i] / (1 - 0.999**step)) + 1e-8)
            p -= cell.learning_rate * grad
    return w


def verify(cell: Cell, train_in_order: Callable[[Array, Array], list[Any]]) -> None:
    """Compare how the weights change in three mini-batches without shuffling."""
    x, y = (a[: 3 * cell.batch_size] for a in cell.data())
    initial = initial_parameters(cell.sizes)[0]
    for before, after, right in zip(initial, train_in_order(x, y), expected_weights(cell, x, y), strict=True):
        change, expected = np.asarray(after) - before, right - before
        cosine = (change * expected).sum() / np.sqrt((change**2).sum() * (expected**2).sum())
        length = np.linalg.norm(change) / np.linalg.norm(expected)
        if not (cosine > 0.999 and abs(length - 1) < 0.01):  # rounding is magnified where a gradient is small
            raise VerificationError(f"{cell}: the weights after three mini-batches are wrong")


# ---- The libraries: two functions each, as in libraries/__init__.py ----

Training = tuple[Callable[[Array, Array], list[Any]], Callable[[], object]]


def nnpy_training(cell: Cell) -> Training:
    """Train with `NeuralNetwork.fit`, one epoch a call."""
    import nnpy

    adam = cell.optimizer == "adam"
    optimizer = nnpy.Adam(cell.learning_rate) if adam else nnpy.SGD(cell.learning_rate)

    def network() -> nnpy.NeuralNetwork:
        net = nnpy.NeuralNetwork(cell.sizes, ["tanh", "tanh", "linear"])
        net.fit_scaler(None)  # nothing is chosen from the data
        w, b = initial_parameters(cell.sizes)
        for parameters, values in zip((*net.weights, *net.biases), w + b, strict=True):
            parameters[...] = values
        return net

    def train_in_order(x: Array, y: Array) -> list[Array]:
        net = network()
        net.fit(x, y, optimizer=optimizer, epochs=1, batch_size=cell.batch_size, shuffle=False)
        return list(net.weights)

    net, (x, y) = network(), cell.data()
    return train_in_order, lambda: net.fit(x, y, optimizer=optimizer, epochs=1, batch_size=cell.batch_size)


def jax_training(cell: Cell) -> Training:
    """Train with a jitted `lax.scan` over the mini-batches."""
    import jax
    import jax.numpy as jnp
    from libraries import jax_

    def loss(parameters: Any, x: Any, y: Any) -> Any:
        *hidden, (w, b) = parameters
        for wi, bi in hidden:
            x = jnp.tanh(x @ wi + bi)
        return jnp.mean(jnp.sum((x @ w + b - y) ** 2, axis=1))

    def step(state: Any, rows: Any, x: Any, y: Any) -> Any:
        grads = jax.grad(loss)(state[0], x[rows], y[rows])
        if cell.optimizer == "adam":
            return jax_.adam_update(state, grads, cell.learning_rate)
        return (jax.tree.map(lambda p, g: p - cell.learning_rate * g, state[0], grads), *state[1:])

    def epoch(state: Any, order: Any, x: Any, y: Any) -> Any:
        batches = order.reshape(-1, cell.batch_size)
        return jax.lax.scan(lambda s, rows: (step(s, rows, x, y), None), state, batches)[0]

    def initial() -> Any:
        return jax_.initial_state(
            [(jnp.array(w), jnp.array(b)) for w, b in zip(*initial_parameters(cell.sizes), strict=True)]
        )

    compiled = jax.jit(epoch, donate_argnums=0)

    def train_in_order(x: Array, y: Array) -> list[Any]:
        return [w for w, _ in compiled(initial(), jnp.arange(len(x)), jnp.array(x), jnp.array(y))[0]]

    x, y = map(jnp.array, cell.data())
    state, rng = initial(), np.random.default_rng(3)

    def train() -> None:
        nonlocal state
        state = jax.block_until_ready(compiled(state, jnp.array(rng.permutation(len(x))), x, y))

    return train_in_order, train


LIBRARIES = {"nnpy": nnpy_training, "jax": jax_training}


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
    library, optimizer, widths, batches = sys.argv[1:]
    seconds = {}
    for width in map(int, widths.split(",")):
        for batch in map(int, batches.split(",")):
            cell = Cell(width, batch, optimizer)
            train_in_order, train = LIBRARIES[library](cell)
            verify(cell, train_in_order)
            seconds[f"{width} {batch}"] = [s / cell.num_samples for s in times(train)]
    print(json.dumps(seconds))
    return 0


if __name__ == "__main__":
    sys.exit(main())
