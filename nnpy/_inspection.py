"""Looking inside a network: the table of its layers, and the check of its gradient by other code."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nnpy._ffi import ffi, lib
from nnpy._losses import Loss

if TYPE_CHECKING:
    from nnpy._arrays import Samples
    from nnpy._network import Gradient, NeuralNetwork

__all__ = ["BlockCheck", "GradientCheck", "check_gradients", "rows_of", "scaled", "size_of", "summary"]

Array = NDArray[np.float64]

_TOLERANCE = 1e-4  # of the largest derivative of a block: what float32 leaves, in a network of some layers


def summary(net: NeuralNetwork) -> str:
    """Return a table of the layers."""
    rows = rows_of(net)
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    lines = [
        f"{row[0]:>{widths[0]}}  {row[1]:<{widths[1]}}  {row[2]:<{widths[2]}}  {row[3]:>{widths[3]}}" for row in rows
    ]
    lines[-1] += f"  ({size_of(net)})"
    return "\n".join([*lines, *scaled(net)])


def rows_of(net: NeuralNetwork) -> list[tuple[str, str, str, str]]:
    """Return the cells of the table: a head, the layers, the total."""
    rows = [("layer", "shape", "activation", "parameters")]
    for number, ((inputs, outputs), name) in enumerate(zip(pairwise(net.layer_sizes), net.activations, strict=True), 1):
        rows.append((str(number), f"{inputs} x {outputs}", name, f"{(inputs + 1) * outputs:,}"))
    return [*rows, ("total", "", "", f"{net.parameters.size:,}")]


def size_of(net: NeuralNetwork) -> str:
    """Return how much memory the parameters take."""
    return f"{net.parameters.size * 4 / 1024:,.0f} KiB of float32"


def scaled(net: NeuralNetwork) -> list[str]:
    """Return what is to be said of the scaler, if there is one."""
    if net.scaler is None:
        return []
    return ["inputs are scaled" if net.scaler.y_mean is None else "inputs and targets are scaled"]


# ---- The network once more, in float64 and numpy ----

_erf = np.frompyfunc(math.erf, 1, 1)


def _log_sum_exp(z: Array) -> Array:
    return np.asarray(np.logaddexp.reduce(z, axis=1, keepdims=True), dtype=np.float64)


def _activate(name: str, z: Array) -> Array:
    functions: dict[str, Callable[[], Array]] = {
        "sigmoid": lambda: 0.5 * (1 + np.tanh(z / 2)),
        "tanh": lambda: np.tanh(z),
        "relu": lambda: np.maximum(z, 0),
        "leaky_relu": lambda: np.where(z > 0, z, 0.01 * z),
        "elu": lambda: np.where(z > 0, z, np.expm1(np.minimum(z, 0))),
        "softplus": lambda: np.logaddexp(z, 0),
        "silu": lambda: z * 0.5 * (1 + np.tanh(z / 2)),
        "gelu": lambda: z * 0.5 * (1 + np.asarray(_erf(z / math.sqrt(2)), dtype=np.float64)),
        "linear": lambda: z,
        "softmax": lambda: np.exp(z - _log_sum_exp(z)),
    }
    return functions[name]()


def _loss_of(loss: Loss, z: Array, a: Array, y: Array) -> float:
    diff = a - y
    parameter = loss._fields()["parameter"]
    terms: dict[str, Callable[[], Array]] = {
        "mse": lambda: diff**2,
        "mean_absolute_error": lambda: np.abs(diff),
        "huber": lambda: np.where(np.abs(diff) <= parameter, diff**2 / 2, parameter * (np.abs(diff) - parameter / 2)),
        "pinball": lambda: np.maximum(-parameter * diff, (1 - parameter) * diff),
        "binary_cross_entropy": lambda: np.logaddexp(z, 0) - y * z,
        "cross_entropy": lambda: y * (_log_sum_exp(z) - z),
    }
    return float(terms[loss.name]().sum(axis=1).mean())


class _Double:
    """The loss as a function of all parameters."""

    def __init__(self, net: NeuralNetwork, samples: Samples, loss: Loss) -> None:
        self._sizes, self._names, self._loss = net.layer_sizes, net.activations, loss
        self._x = samples.x.astype(np.float64)
        y: NDArray[Any] = samples.y
        self._y = np.eye(net.layer_sizes[-1])[y] if y.ndim == 1 else y.astype(np.float64)

    def __call__(self, parameters: Array) -> float:
        a, z, start = self._x, self._x, 0
        for (rows, columns), name in zip(pairwise(self._sizes), self._names, strict=True):
            middle, end = start + rows * columns, start + (rows + 1) * columns
            z = a @ parameters[start:middle].reshape(rows, columns) + parameters[middle:end]
            a, start = _activate(name, z), end
        return _loss_of(self._loss, z, a, self._y)


# ---- The check ----


class BlockCheck(NamedTuple):
    """The weights or the biases of a layer: how many derivatives were compared, the largest one, the largest difference."""

    name: str
    num_compared: int
    largest: float
    difference: float

    @property
    def ok(self) -> bool:
        """Whether the difference is no more than rounding: 1e-4 of the largest derivative, or 1e-6."""
        return self.difference <= max(_TOLERANCE * self.largest, 1e-6)


@dataclass(frozen=True)
class GradientCheck:
    """Backpropagation beside finite differences: `NeuralNetwork.check_gradients` returns it."""

    blocks: tuple[BlockCheck, ...]

    @property
    def ok(self) -> bool:
        """Whether they agree in every block."""
        return all(block.ok for block in self.blocks)

    def __str__(self) -> str:
        lines = [f"{'block':<12} {'compared':>8} {'largest':>10} {'difference':>10}"]
        for block in self.blocks:
            numbers = f"{block.num_compared:>8} {block.largest:>10.3g} {block.difference:>10.3g}"
            lines.append(f"{block.name:<12} {numbers}{'' if block.ok else '  differs'}")
        return "\n".join(lines)


def check_gradients(
    net: NeuralNetwork,
    samples: Samples,
    loss: Loss,
    grad: Gradient,
    *,
    eps: float,
    max_parameters: int,
    seed: int,
) -> GradientCheck:
    """Compare; see `NeuralNetwork.check_gradients`."""
    function, parameters = _Double(net, samples, loss), net.parameters.astype(np.float64)
    blocks, start = [], 0
    for layer in range(len(net.weights)):
        for name, part in ((f"weights[{layer}]", grad.weights[layer]), (f"biases[{layer}]", grad.biases[layer])):
            order = np.empty(part.size, dtype=np.uintp)
            lib.nn_shuffle(ffi.from_buffer("size_t[]", order), part.size, seed, layer)
            chosen, derivatives = order[:max_parameters], []
            for p in (chosen + np.uintp(start)).tolist():
                saved = parameters[p]
                parameters[p] = saved + eps
                above = function(parameters)
                parameters[p] = saved - eps
                derivatives.append((above - function(parameters)) / (2 * eps))
                parameters[p] = saved
            difference = np.abs(part.ravel()[chosen] - np.array(derivatives))
            blocks.append(BlockCheck(name, len(chosen), float(np.abs(derivatives).max()), float(difference.max())))
            start += part.size
    return GradientCheck(tuple(blocks))
