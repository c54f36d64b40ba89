"""Inspection of a network: the table of its layers, and the check of its gradient by finite differences in float64."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nnpy._ffi import ffi, lib
from nnpy._losses import Loss, check_loss
from nnpy._model import Gradient, Model
from nnpy._quantized_model import QuantizedModel
from nnpy._samples import Samples

__all__ = ["BlockCheck", "GradientCheck", "check_gradients", "notes", "quantized_notes", "summary", "table"]

Array = NDArray[np.float64]

_TOLERANCE = 1e-4  # relative to the largest derivative of a block, for the rounding of float32 in several layers


def summary(rows: Sequence[tuple[str, str, str, str]], notes: Iterable[str]) -> str:
    """Return the cells of a table as text, and notes below."""
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    lines = [
        f"{row[0]:>{widths[0]}}  {row[1]:<{widths[1]}}  {row[2]:<{widths[2]}}  {row[3]:>{widths[3]}}" for row in rows
    ]
    return "\n".join([*lines, *notes])


def table(model: Model | QuantizedModel) -> list[tuple[str, str, str, str]]:
    """Return the cells of the table: the header, the layers, the total."""
    rows, total = [("layer", "shape", "activation", "parameters")], 0
    layers = zip(pairwise(model.layer_sizes), model.activations, strict=True)
    for number, ((inputs, outputs), name) in enumerate(layers, 1):
        rows.append((str(number), f"{inputs} x {outputs}", name, f"{(inputs + 1) * outputs:,}"))
        total += (inputs + 1) * outputs
    return [*rows, ("total", "", "", f"{total:,}")]


def notes(model: Model) -> list[str]:
    """Return the lines below the table: memory, default loss, scaler."""
    lines = [f"memory: {_memory(model.parameters.nbytes)} of float32"]
    loss, num_outputs = check_loss(None, model.activations[-1]).name, model.layer_sizes[-1]
    outputs = f"summed over the {num_outputs} outputs, " if num_outputs > 1 else ""
    lines.append(f'loss: "{loss}" by default, {outputs}averaged over the samples')
    if model.scaler is not None:
        lines.append(f"scaled: {'inputs' if model.scaler.y_mean is None else 'inputs and targets'}")
    return lines


def quantized_notes(model: QuantizedModel) -> list[str]:
    """Return the lines below the table of a network of integers: memory, calibration, scaler."""
    p = model.parameters
    lines = [f"memory: {_memory(model.num_bytes)}: weights of 8 bits, biases and multipliers of 32 bits"]
    lines.append(f"calibration: {p.method}")
    if p.y_mean is not None:
        lines.append("scaled: targets")
    return lines


def _memory(num_bytes: int) -> str:
    return f"{num_bytes / 1024:,.0f} KiB" if num_bytes >= 10 * 1024 else f"{num_bytes:,} bytes"


# ---- The network in float64, with numpy: a second implementation to compare with ----

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
        "mae": lambda: np.abs(diff),
        "huber": lambda: np.where(np.abs(diff) <= parameter, diff**2 / 2, parameter * (np.abs(diff) - parameter / 2)),
        "pinball": lambda: np.maximum(-parameter * diff, (1 - parameter) * diff),
        "binary_cross_entropy": lambda: np.logaddexp(z, 0) - y * z,
        "cross_entropy": lambda: y * (_log_sum_exp(z) - z),
    }
    return float(terms[loss.name]().sum(axis=1).mean())


class _Float64Loss:
    """The loss of samples as a function of all parameters, in float64."""

    def __init__(self, model: Model, samples: Samples, loss: Loss) -> None:
        self._sizes, self._names, self._loss = model.layer_sizes, model.activations, loss
        samples = samples.scaled()
        self._x = samples.x.astype(np.float64)
        y: NDArray[Any] = samples.y
        self._y = np.eye(model.layer_sizes[-1])[y] if y.ndim == 1 else y.astype(np.float64)

    def __call__(self, parameters: Array) -> float:
        a, z, start = self._x, self._x, 0
        for (rows, columns), name in zip(pairwise(self._sizes), self._names, strict=True):
            middle, end = start + rows * columns, start + (rows + 1) * columns
            z = a @ parameters[start:middle].reshape(rows, columns) + parameters[middle:end]
            a, start = _activate(name, z), end
        return _loss_of(self._loss, z, a, self._y)


# ---- The check ----


class BlockCheck(NamedTuple):
    """The comparison for the weights or the biases of a layer.

    Attributes
    ----------
    name : str
        Such as "weights[0]".
    num_compared : int
        The number of derivatives that were compared.
    largest : float
        The largest absolute derivative.
    difference : float
        The largest absolute difference.
    """

    name: str
    num_compared: int
    largest: float
    difference: float

    @property
    def ok(self) -> bool:
        """Whether the difference is rounding only: at most 1e-4 of the largest derivative, or 1e-6."""
        return self.difference <= max(_TOLERANCE * self.largest, 1e-6)


@dataclass(frozen=True)
class GradientCheck:
    """The comparison of backpropagation with finite differences that `NeuralNetwork.check_gradients` returns."""

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
    model: Model,
    samples: Samples,
    loss: Loss,
    grad: Gradient,
    *,
    eps: float,
    max_parameters: int,
    seed: int,
) -> GradientCheck:
    """Compare grad, from backpropagation, with finite differences; see `NeuralNetwork.check_gradients`."""
    function, parameters = _Float64Loss(model, samples, loss), model.parameters.astype(np.float64)
    blocks, start = [], 0
    for layer in range(len(model.weights)):
        for name, part in ((f"weights[{layer}]", grad.weights[layer]), (f"biases[{layer}]", grad.biases[layer])):
            order = np.empty(part.size, dtype=np.uintp)
            lib.nn_shuffle(ffi.from_buffer("size_t[]", order), part.size, seed, layer)
            chosen, derivatives = order[:max_parameters], []
            for p in (chosen + np.uintp(start)).tolist():
                saved = parameters[p]
                parameters[p] = saved + eps
                with np.errstate(over="ignore", invalid="ignore"):  # where the loss is not finite, `ok` is False
                    above = function(parameters)
                    parameters[p] = saved - eps
                    derivatives.append((above - function(parameters)) / (2 * eps))
                parameters[p] = saved
            difference = np.abs(part.ravel()[chosen] - np.array(derivatives))
            blocks.append(BlockCheck(name, len(chosen), float(np.abs(derivatives).max()), float(difference.max())))
            start += part.size
    return GradientCheck(tuple(blocks))
