"""A network of 8-bit integers as memory and functions: its layers, the C object made from them, and what it computes.

`nnpy._quantization` makes the integers. What users have, `nnpy.QuantizedNetwork`, is a QuantizedModel that can save itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nnpy._activations import check_activations
from nnpy._arrays import NO_MATRIX, as_matrix, as_table, check_finite, feature_names, to_float32
from nnpy._backend import backend
from nnpy._ffi import call, ffi, lib
from nnpy._validation import check_class_names, check_layer_sizes, check_target_names

__all__ = [
    "TABLE_SIZE",
    "QuantizedLayer",
    "QuantizedModel",
    "QuantizedParameters",
    "check_parameters",
    "largest_sums",
    "layer_kind",
]

TABLE_SIZE: int = lib.NN_QUANTIZED_TABLE_SIZE
_KINDS = {
    "clip": lib.NN_QUANTIZED_CLIP,
    "table": lib.NN_QUANTIZED_TABLE,
    "linear": lib.NN_QUANTIZED_LINEAR,
    "softmax": lib.NN_QUANTIZED_SOFTMAX,
}
_SUM_MAX = 2**31 - 1


class QuantizedLayer(NamedTuple):
    """The integers of a layer. csrc/engine.h says what is computed from them.

    Attributes
    ----------
    weights : ndarray of int8, shape (outputs, inputs)
        From -127 to 127.
    biases, multipliers : ndarray of int32, shape (outputs,)
    shift : int
    table : ndarray of int16, shape (TABLE_SIZE,), or None
        For the kinds "table" and "softmax".
    """

    weights: NDArray[np.int8]
    biases: NDArray[np.int32]
    multipliers: NDArray[np.int32]
    shift: int
    table: NDArray[np.int16] | None


class QuantizedParameters(NamedTuple):
    """All that a network of 8-bit integers consists of.

    Attributes
    ----------
    layer_sizes, activations
        Those of the network that it was made from.
    low, inverse_step : ndarray of float32, shape (n_inputs,) or (1,)
        An input x becomes the integer nearest to (x - low) * inverse_step, from 0 to 255. A single number is for all
        inputs.
    layers : tuple of QuantizedLayer
    output_scale : float
        What 1 stands for in the integers of the outputs; a number that float32 can hold.
    y_mean, y_scale : ndarray of float64, shape (n_outputs,), or None
        Where targets are scaled, an output a is a * y_scale + y_mean.
    method : str
        How the ranges of the activations were found.
    """

    layer_sizes: tuple[int, ...]
    activations: tuple[str, ...]
    low: NDArray[np.float32]
    inverse_step: NDArray[np.float32]
    layers: tuple[QuantizedLayer, ...]
    output_scale: float
    y_mean: NDArray[np.float64] | None
    y_scale: NDArray[np.float64] | None
    method: str


def layer_kind(activation: str, *, is_last: bool) -> str:
    """Return the kind of a layer with that activation function."""
    if activation == "softmax" or (activation == "linear" and is_last):
        return activation
    return "clip" if not is_last and activation in {"relu", "linear"} else "table"


def check_parameters(parameters: QuantizedParameters) -> None:
    """Raise a ValueError if numbers that may come from a file could lead C out of an array or out of a range."""
    sizes = check_layer_sizes(parameters.layer_sizes)
    activations = check_activations(parameters.activations, len(sizes) - 1)
    _check_shapes(parameters, sizes)
    arrays = [parameters.low, parameters.inverse_step, parameters.y_mean, parameters.y_scale]
    if not all(np.isfinite(a).all() for a in arrays if a is not None) or not np.isfinite(parameters.output_scale):
        raise ValueError("its scales are not finite")
    if not (parameters.inverse_step > 0).all() or not parameters.output_scale > 0:
        raise ValueError("its scales are not positive")
    for number, (activation, layer) in enumerate(zip(activations, parameters.layers, strict=True)):
        is_last = number == len(sizes) - 2
        if layer.weights.min() < -127 or not 1 <= layer.shift <= 62 or layer.multipliers.min() < 2**18:
            raise ValueError(f"layer {number + 1} has integers out of their range")
        if largest_sums(layer.weights, layer.biases).max() > _SUM_MAX:
            raise ValueError(f"the sums of layer {number + 1} may leave the range of 32 bits")
        kind = layer_kind(activation, is_last=is_last)
        if (layer.table is None) != (kind not in {"table", "softmax"}):
            raise ValueError(f"layer {number + 1} has no table, or one that it does not need")
        if layer.table is None:
            continue
        low, high = (-32768, 32767) if kind == "table" and is_last else (0, 32767 if is_last else 32640)
        if layer.table.min() < low or layer.table.max() > high or (kind == "softmax" and layer.table[0] < 1):
            raise ValueError(f"the table of layer {number + 1} has integers out of their range")


def _check_shapes(parameters: QuantizedParameters, sizes: tuple[int, ...]) -> None:
    """Raise a ValueError if an array has another shape or type than QuantizedParameters says."""
    ranges = (1,) if len(parameters.low) == 1 else (sizes[0],)
    arrays: list[tuple[NDArray[Any] | None, str, tuple[int, ...]]] = [
        (parameters.low, "float32", ranges),
        (parameters.inverse_step, "float32", ranges),
        (parameters.y_mean, "float64", (sizes[-1],)),
        (parameters.y_scale, "float64", (sizes[-1],)),
    ]
    if len(parameters.layers) != len(sizes) - 1:
        raise ValueError(f"it has {len(parameters.layers)} layers of integers for {len(sizes) - 1} layers")
    for layer, (inputs, outputs) in zip(parameters.layers, pairwise(sizes), strict=True):
        arrays += [
            (layer.weights, "int8", (outputs, inputs)),
            (layer.biases, "int32", (outputs,)),
            (layer.multipliers, "int32", (outputs,)),
            (layer.table, "int16", (TABLE_SIZE,)),
        ]
    for array, dtype, shape in arrays:
        if array is not None and (array.dtype != dtype or array.shape != shape):
            raise ValueError(f"an array of {array.dtype} has shape {array.shape}, expected {dtype} of shape {shape}")


def largest_sums(weights: NDArray[np.int8], biases: NDArray[np.int32]) -> NDArray[np.int64]:
    """Return the largest absolute value that the sum of each output can have."""
    sums = np.abs(weights.astype(np.int16)).sum(axis=1, dtype=np.int64) * 255 + np.abs(biases.astype(np.int64))
    return np.asarray(sums, dtype=np.int64)


class QuantizedModel:
    """A network of 8-bit integers. See `nnpy.QuantizedNetwork`."""

    __slots__ = ("__weakref__", "_c", "_class_names", "_feature_names", "_parameters", "_target_names")

    def __init__(
        self,
        parameters: QuantizedParameters,
        names: Sequence[str] | None = None,
        class_names: Sequence[str] | None = None,
        target_names: Sequence[str] | None = None,
    ) -> None:
        check_parameters(parameters)
        num_outputs = parameters.layer_sizes[-1]
        self._class_names = check_class_names(class_names, num_outputs)
        self._target_names = check_target_names(target_names, num_outputs)
        self._parameters = parameters
        self._feature_names = None if names is None else tuple(names)
        layers, keep_alive = [], []
        for number, layer in enumerate(parameters.layers):
            arrays = [
                ffi.NULL if array is None else ffi.from_buffer(f"{array.dtype}_t[]", np.ascontiguousarray(array))
                for array in (layer.weights, layer.biases, layer.multipliers, layer.table)
            ]
            keep_alive += arrays
            weights, biases, multipliers, table = arrays
            kind = layer_kind(parameters.activations[number], is_last=number == len(parameters.layers) - 1)
            num_outputs, num_inputs = layer.weights.shape
            layers.append((num_inputs, num_outputs, _KINDS[kind], weights, biases, multipliers, layer.shift, table))
        num_inputs = parameters.layer_sizes[0]
        low, inverse_step = (
            np.ascontiguousarray(np.broadcast_to(a, num_inputs)) for a in (parameters.low, parameters.inverse_step)
        )
        c = lib.nn_quantized_alloc(
            len(layers),
            ffi.new("NNQuantizedLayer[]", layers),
            ffi.from_buffer("float[]", low),
            ffi.from_buffer("float[]", inverse_step),
            parameters.output_scale,
        )
        if c == ffi.NULL:
            raise MemoryError(f"not enough memory for a network with layers of {list(self.layer_sizes)} neurons")
        self._c = ffi.gc(c, lib.nn_quantized_free, sum(array.weights.size for array in parameters.layers))

    @property
    def layer_sizes(self) -> tuple[int, ...]:
        """Number of neurons in each layer, the inputs first."""
        return self._parameters.layer_sizes

    @property
    def activations(self) -> tuple[str, ...]:
        """Name of the activation function of each layer after the inputs."""
        return self._parameters.activations

    @property
    def feature_names(self) -> tuple[str, ...] | None:
        """Names of the inputs, as those of the network that it was made from."""
        return self._feature_names

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """Names of the classes, as those of the network that it was made from."""
        return self._class_names

    @property
    def target_names(self) -> tuple[str, ...] | None:
        """Names of the targets, as those of the network that it was made from."""
        return self._target_names

    @property
    def parameters(self) -> QuantizedParameters:
        """All integers and scales."""
        return self._parameters

    @property
    def num_bytes(self) -> int:
        """The memory that the parameters take."""
        p = self._parameters
        arrays = [p.low, p.inverse_step, p.y_mean, p.y_scale]
        for layer in p.layers:
            arrays += [layer.weights, layer.biases, layer.multipliers, layer.table]  # type: ignore[list-item]
        return sum(array.nbytes for array in arrays if array is not None)

    def predict(self, x: ArrayLike) -> NDArray[Any]:
        """Compute the outputs.

        Parameters
        ----------
        x : array_like of real numbers, shape (n, n_inputs)
            One sample per row, in the units of the inputs of the network that it was made from.

        Returns
        -------
        out : ndarray of float32, shape (n, n_outputs)
            If targets are scaled it is float64, in the units of the targets.

        Raises
        ------
        TypeError, ValueError
            If `x` is not finite real numbers in that shape.
        """
        inputs = self._inputs(x)
        out = np.empty((len(inputs), self.layer_sizes[-1]), np.float32)
        self._compute(inputs, out=out)
        p = self._parameters
        return out if p.y_mean is None or p.y_scale is None else np.asarray(out * p.y_scale + p.y_mean)

    def quantize_inputs(self, x: ArrayLike) -> NDArray[np.uint8]:
        """Turn inputs into the integers from which everything else is computed.

        Parameters
        ----------
        x : array_like of real numbers, shape (n, n_inputs)
            One sample per row.

        Returns
        -------
        integers : ndarray of uint8, shape (n, n_inputs)
            (x - low) / step, limited to 0 and 255, and rounded to the nearest integer, ties to even.

        Raises
        ------
        TypeError, ValueError
            If `x` is not finite real numbers in that shape.
        """
        inputs = self._inputs(x)
        check_finite(inputs, "x")
        integers = np.empty(inputs.shape, np.uint8)
        lib.nn_quantize_inputs(self._c, as_matrix(inputs), ffi.from_buffer("uint8_t[]", integers), backend[0])
        return integers

    def predict_integers(self, integers: ArrayLike) -> NDArray[np.int32]:
        """Compute the outputs as integers, from inputs that are integers.

        Parameters
        ----------
        integers : array_like of uint8, shape (n, n_inputs)
            As `quantize_inputs` returns them.

        Returns
        -------
        out : ndarray of int32, shape (n, n_outputs)
            1 stands for `output_scale`.

        Raises
        ------
        TypeError, ValueError
            If `integers` are not integers from 0 to 255 in that shape.
        """
        table = as_table(integers, "integers", self.layer_sizes[0], what="input")
        if table.dtype != np.uint8:
            if table.dtype.kind not in "iu":
                raise TypeError(f"integers must be integers from 0 to 255, got an array of dtype {table.dtype}")
            if table.size and (table.min() < 0 or table.max() > 255):
                raise ValueError(f"integers must be from 0 to 255, got {table.min()} to {table.max()}")
        given = np.ascontiguousarray(table, dtype=np.uint8)
        out = np.empty((len(given), self.layer_sizes[-1]), np.int32)
        self._compute(given, integers_out=out)
        return out

    @property
    def output_scale(self) -> float:
        """What 1 stands for in the integers of the outputs (before a scaler of the targets)."""
        return self._parameters.output_scale

    # ---- For the public class, calibration and export ----

    def _logits(self, x: ArrayLike) -> NDArray[np.int32]:
        """Return the outputs as integers; of a softmax layer the logits, in whose order the probabilities are."""
        inputs = self._inputs(x)
        out = np.empty((len(inputs), self.layer_sizes[-1]), np.int32)
        self._compute(inputs, integers_out=out, logits=True)
        return out

    def _inputs(self, x: ArrayLike) -> NDArray[np.float32]:
        names = feature_names(x)
        if names is not None and self._feature_names is not None and names != self._feature_names:
            raise ValueError(
                f"the columns of x are not those of training, or are in another order: expected {list(self._feature_names)}, "
                f"got {list(names)}"
            )
        return to_float32(as_table(x, "x", self.layer_sizes[0], what="input"))

    def _compute(
        self,
        inputs: NDArray[Any],
        *,
        out: NDArray[np.float32] | None = None,
        integers_out: NDArray[np.int32] | None = None,
        logits: bool = False,
    ) -> None:
        """Compute outputs from inputs of float32, or of uint8, which are integers already."""
        is_float = inputs.dtype == np.float32
        call(
            lib.nn_quantized_predict,
            self._c,
            as_matrix(inputs) if is_float else ffi.new("Matrix *", (*inputs.shape, inputs.shape[1], ffi.NULL))[0],
            ffi.NULL if is_float else ffi.from_buffer("uint8_t[]", inputs),
            NO_MATRIX if out is None else as_matrix(out),
            ffi.NULL if integers_out is None else ffi.from_buffer("int32_t[]", integers_out),
            logits,
            backend[0],
            on_not_finite=lambda: check_finite(inputs, "x"),
        )

    def __repr__(self) -> str:
        activations = "" if set(self.activations) == {"sigmoid"} else f", {list(self.activations)}"
        return f"<{type(self).__name__} {list(self.layer_sizes)}{activations}>"
