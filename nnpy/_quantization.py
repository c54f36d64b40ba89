"""Calibration: chooses the integers of a network of 8-bit integers from a network of floats and some inputs.

A layer of floats computes z = w a + b, one of integers sums = v q + bias. Its inputs q are integers from 0 to 255, which
stand for a = low + step q. Each output j has a scale s_j of its own, so that s_j sums_j stands for z_j:

    v_jk = w_jk step_k / s_j, rounded, with the largest |v_jk| at 127
    bias_j = (b_j + sum_k w_jk m_k) / s_j - sum_k v_jk (m_k - low_k) / step_k, rounded

m_k is the mean of a_k in the calibration data: there, the mean of z is that of the network of floats [1]_. This folds `low`,
the zero point, into the bias. Multipliers turn sums into the integers of the next layer: multiplier_j / 2^shift = s_j / step.

Everything is computed in double precision, in an order that is the same on every machine, and so are the integers.

References
----------
.. [1] M. Nagel, M. van Baalen, T. Blankevoort and M. Welling, "Data-free quantization through weight equalization and bias
   correction", ICCV 2019, section 4.2.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nnpy._model import Model
from nnpy._quantized_model import (
    TABLE_SIZE,
    QuantizedLayer,
    QuantizedModel,
    QuantizedParameters,
    largest_sums,
    layer_kind,
)
from nnpy._scaler import mean_and_scale

__all__ = ["METHODS", "calibrate"]

METHODS = ("max", "percentile", "mse")
_MAX_ROWS = 1 << 14  # of the calibration data
_MAX_COMPARED = 10_000  # rows with which methods are compared
_MIN_ROWS_TO_DIVIDE = 20
_MAX_VALUES = 1 << 17  # activations from which "mse" finds a range
_TAIL = 1e-4  # the proportion of activations that "percentile" leaves out at each end
_POSITIONS = 32768  # in the table of an activation function
_LARGEST = 1e30  # activation: the ends of ranges stay finite in float32
_SPREAD = 2**12  # the largest quotient of two multipliers of a layer
_OUTPUT_ONE = 32768  # the integer of 1 in the outputs of a sigmoid, tanh or softmax layer

Array = NDArray[np.float64]
Range = tuple[float, float]


class _Inputs(NamedTuple):
    """The inputs of a layer: a = low + step q; and their means in the calibration data."""

    low: Array
    step: Array
    mean: Array


class _FloatLayer(NamedTuple):
    """A layer of the network of floats: z = inputs weights + biases; and z in the calibration data."""

    activation: str
    weights: Array  # (inputs, outputs)
    biases: Array  # (outputs,)
    inputs: _Inputs
    z: NDArray[np.float32]


class _Rounded(NamedTuple):
    """A layer whose sums are integers: z = unit sums."""

    weights: NDArray[np.int8]
    biases: NDArray[np.int32]
    unit: Array  # (outputs,)


def calibrate(model: Model, x: NDArray[np.float32], method: str) -> QuantizedParameters:
    """Return the network of integers that is closest to `model`, among those that `method` allows.

    method: one of METHODS, or "auto" for all. Each is tried with one range for all inputs, and with one for each. The one with
    the least squared error of the outputs is taken: ranges are found with one half of the rows of x, errors with the other.
    """
    x = np.ascontiguousarray(x[:: -(-len(x) // _MAX_ROWS)])
    methods = METHODS if method == "auto" else (method,)
    choices = [(name, per_input) for name in methods for per_input in (False, True)[: model.layer_sizes[0]]]
    data = _CalibrationData(model, x)
    if len(choices) > 1:
        half = data if len(x) < _MIN_ROWS_TO_DIVIDE else _CalibrationData(model, np.ascontiguousarray(x[::2]))
        others = x if half is data else x[1::2]
        others = np.ascontiguousarray(others[:: -(-len(others) // _MAX_COMPARED)])
        expected = np.asarray(model.predict(others), dtype=np.float64)
        errors = []
        for name, per_input in choices:
            out = QuantizedModel(_quantize(half, name, per_input=per_input)).predict(others)
            errors.append(math.fsum(((out - expected) ** 2).ravel().tolist()))
        choices = [choices[int(np.argmin(errors))]]
    name, per_input = choices[0]
    return _quantize(data, name, per_input=per_input)


class _CalibrationData:
    """What the layers of a network get and compute for some inputs."""

    def __init__(self, model: Model, x: NDArray[np.float32]) -> None:
        self.model, self.x = model, x
        self.scaled = x if model.scaler is None else model.scaler.scale_x(x)
        self.sums: list[NDArray[np.float32]] = []  # z of each layer
        self.means = [mean_and_scale(self.scaled)[0]]
        for number in range(len(model.activations)):
            z = _part(model, number + 1, "linear").predict(self.scaled)
            if not (np.abs(z) < _LARGEST).all():
                raise ValueError(
                    f"the activations of the network are not finite, or beyond {_LARGEST:g}, for these inputs"
                )
            self.sums.append(z)
            if number < len(model.activations) - 1:
                a = _part(model, number + 1, model.activations[number]).predict(self.scaled)
                self.means.append(mean_and_scale(a)[0])


def _part(model: Model, num_layers: int, last_activation: str) -> Model:
    """Return the first layers of a model, without a scaler, with another last activation."""
    part = Model(model.layer_sizes[: num_layers + 1], [*model.activations[: num_layers - 1], last_activation], seed=0)
    part.parameters = model.parameters[: part.parameters.size]
    return part


def _quantize(data: _CalibrationData, method: str, *, per_input: bool) -> QuantizedParameters:
    model = data.model
    low, inverse_step, inputs = _quantize_inputs(data, method, per_input=per_input)
    layers: list[QuantizedLayer] = []
    output_scale = 1.0
    for number, activation in enumerate(model.activations):
        weights, biases = (a[number].astype(np.float64) for a in (model.weights, model.biases))
        layer = _FloatLayer(activation, weights, biases, inputs, data.sums[number])
        if number == len(model.activations) - 1:
            quantized, output_scale = _last_layer(layer)
        else:
            quantized, low_out, step_out = _hidden_layer(layer, method)
            num = len(biases)
            inputs = _Inputs(np.full(num, low_out), np.full(num, step_out), data.means[number + 1])
        layers.append(quantized)
    scaler = model.scaler
    return QuantizedParameters(
        model.layer_sizes,
        model.activations,
        low,
        inverse_step,
        tuple(layers),
        output_scale,
        None if scaler is None else scaler.y_mean,
        None if scaler is None else scaler.y_scale,
        f"{method}, {'a range for each input' if per_input else 'one range for all inputs'}",
    )


def _quantize_inputs(
    data: _CalibrationData, method: str, *, per_input: bool
) -> tuple[NDArray[np.float32], NDArray[np.float32], _Inputs]:
    """Return low and 1 / step in the units of the caller, in float32, and the inputs as the first layer gets them."""
    num, scaler = data.scaled.shape[1], data.model.scaler
    columns: Iterable[NDArray[np.float32]] = data.scaled.T if per_input else [data.scaled]
    ranges = np.array([_value_range(column, method) for column in columns])
    first, last = np.broadcast_to(ranges, (num, 2)).T  # in the units of the first layer
    mean, scale = (np.zeros(num), np.ones(num)) if scaler is None else (scaler.x_mean, scaler.x_scale)
    low = (first * scale + mean).astype(np.float32)
    step = np.maximum((last - first) * scale / 255, 2.0**-100)
    inverse_step = (1 / step).astype(np.float32)
    inputs = _Inputs(
        (low.astype(np.float64) - mean) / scale, 1 / (inverse_step.astype(np.float64) * scale), data.means[0]
    )
    if (low == low[0]).all() and (inverse_step == inverse_step[0]).all():
        low, inverse_step = low[:1], inverse_step[:1]
    return low, inverse_step, inputs


# ---- Layers ----


def _hidden_layer(layer: _FloatLayer, method: str) -> tuple[QuantizedLayer, float, float]:
    """Return the layer, and low and step of its outputs."""
    activation, z = layer.activation, layer.z
    if layer_kind(activation, is_last=False) == "clip":
        low, high = _value_range(np.maximum(z, 0) if activation == "relu" else z, method)
        low = 0.0 if activation == "relu" else low
        step = (high - low) / 255
        rounded = _round(layer, low=low)
        return QuantizedLayer(rounded.weights, rounded.biases, *_multipliers(rounded.unit / step), None), low, step
    low, high = _trimmed(activation, _value_range(z, method), 1 / 1024)
    values = _activate(activation, np.linspace(low, high, TABLE_SIZE))
    a_low, a_high = float(values.min()), float(values.max())
    step = _positive(a_high - a_low) / 255
    table = np.rint((values - a_low) / step * 128).astype(np.int16)
    return _table_layer(layer, (low, high), table), a_low, step


def _last_layer(layer: _FloatLayer) -> tuple[QuantizedLayer, float]:
    """Return the layer, and what 1 stands for in its outputs."""
    activation = layer.activation
    if activation == "softmax":
        return _softmax_layer(layer), 1 / _OUTPUT_ONE
    if activation == "linear":
        rounded = _round(layer)
        largest = largest_sums(rounded.weights, rounded.biases) * rounded.unit
        # The smallest scale with which no output leaves 32 bits and no multiplier is above 1.
        scale = _float32(max(float(largest.max()) / (2**31 - 2**16), float(rounded.unit.max()) * (1 + 2.0**-20)))
        return QuantizedLayer(rounded.weights, rounded.biases, *_multipliers(rounded.unit / scale), None), scale
    if activation in {"sigmoid", "tanh"}:
        low, high = _trimmed(activation, (-16.0, 16.0), 2.0**-16)
        scale = 1 / _OUTPUT_ONE
    else:  # twice the range in the calibration data
        low, high = _value_range(layer.z, "max")
        low, high = low - (high - low) / 2, high + (high - low) / 2
        low, high = _trimmed(activation, (low, high), 2.0**-16)
        scale = _float32(_positive(np.abs(_activate(activation, np.linspace(low, high, TABLE_SIZE))).max()) / 32767)
    values = _activate(activation, np.linspace(low, high, TABLE_SIZE))
    table = np.clip(np.rint(values / scale), -32768, 32767).astype(np.int16)
    return _table_layer(layer, (low, high), table), scale


def _table_layer(layer: _FloatLayer, ends: Range, table: NDArray[np.int16]) -> QuantizedLayer:
    low, high = ends
    rounded = _round(layer, low=low)
    quotients = rounded.unit / ((high - low) / _POSITIONS)
    return QuantizedLayer(rounded.weights, rounded.biases, *_multipliers(quotients), table)


def _softmax_layer(layer: _FloatLayer) -> QuantizedLayer:
    """Return a layer whose results are logits in units of log(2) / 2^15."""
    unit = math.log(2) / 2**15
    rounded = _round(layer)
    if (rounded.unit >= unit).any():  # sums that are limited before they are multiplied have to be comparable
        rounded = _round(layer, least_unit=float(rounded.unit.max()))
    largest = float((largest_sums(rounded.weights, rounded.biases) * rounded.unit).max())
    if largest >= 2**30 * unit:
        raise ValueError(
            f"the inputs of softmax may be as large as {largest:.3g}; a network of 8-bit integers can have up to "
            f"{2**30 * unit:,.0f}"
        )
    table = np.array([round(32767 * 2.0 ** (-i / (TABLE_SIZE - 1))) for i in range(TABLE_SIZE)], dtype=np.int16)
    return QuantizedLayer(rounded.weights, rounded.biases, *_multipliers(rounded.unit / unit), table)


def _round(layer: _FloatLayer, *, low: float = 0.0, least_unit: float = 0.0) -> _Rounded:
    """Round the weights and the biases of a layer.

    low: z that the sum 0 stands for. least_unit: the smallest unit of the sums.
    """
    inputs, biases = layer.inputs, layer.biases - low
    scaled = (layer.weights * inputs.step[:, np.newaxis]).T
    means = biases + _sums(layer.weights.T * inputs.mean)  # of z
    at_zero = biases + _sums(layer.weights.T * inputs.low)  # z where all q are 0
    # A bias has to fit into 31 bits, and multipliers into 32: much smaller weights lose digits that do not matter.
    unit = np.maximum.reduce(
        [np.abs(scaled).max(axis=1) / 127, np.abs(at_zero) / 2**29, np.full(len(means), least_unit)]
    )
    unit = np.maximum(unit, _positive(unit.max()) / _SPREAD)
    integers = np.rint(scaled / unit[:, np.newaxis])
    rounded_biases = np.rint(means / unit - _sums(integers * ((inputs.mean - inputs.low) / inputs.step)))
    int8, int32 = np.ascontiguousarray(integers, np.int8), np.clip(rounded_biases, -(2**30), 2**30).astype(np.int32)
    if largest_sums(int8, int32).max() >= 2**31:
        raise ValueError(
            f"a layer of {len(layer.weights):,} inputs is too wide for a network of 8-bit integers, whose sums have 32 bits: "
            "33,000 are possible"
        )
    return _Rounded(int8, int32, unit)


def _sums(terms: Array) -> Array:
    """Return the sum of each row, rounded once, so that it is the same on every machine."""
    return np.array([math.fsum(row) for row in terms.tolist()])


def _multipliers(quotients: Array) -> tuple[NDArray[np.int32], int]:
    """Return integers and a shift with multiplier / 2^shift = quotient, about; the largest has 31 bits."""
    shift = min(62, 31 - math.frexp(float(quotients.max()))[1])
    if shift < 1:
        raise ValueError("a layer has weights that are too large for its activation function to be quantized")
    multipliers = np.rint(np.ldexp(quotients, shift))
    return np.clip(multipliers, 2**18, 2**31 - 1).astype(np.int32), shift


def _float32(number: float) -> float:
    """Return the nearest number that a float can be."""
    return float(np.float32(number))


def _positive(width: float) -> float:
    """Return the width of a range, or 1 for a range that is a single number."""
    return float(width) if width > 2.0**-100 else 1.0


# ---- Ranges ----


def _value_range(values: NDArray[np.float32], method: str) -> Range:
    """Return the range of numbers that the integers 0 to 255 stand for; what is outside becomes 0 or 255."""
    low, high = float(values.min()), float(values.max())
    if method == "percentile":
        low, high = (float(q) for q in _quantiles(values.ravel(), (_TAIL, 1 - _TAIL)))
    elif method == "mse":
        low, high = _best_range(values.ravel(), low, high)
    if not high - low > max(2.0**-100, max(abs(low), abs(high)) * 2.0**-23):  # a single number, in float32
        high = low + max(1.0, abs(low))
    return low, high


def _quantiles(values: NDArray[np.float32], proportions: tuple[float, float]) -> list[np.float32]:
    """Return the order statistics next to the quantiles, outwards."""
    last = len(values) - 1
    places = [math.floor(proportions[0] * last), math.ceil(proportions[1] * last)]
    parted = np.partition(values, places)
    return [parted[place] for place in places]


def _best_range(values: NDArray[np.float32], low: float, high: float) -> Range:
    """Return the part of [low, high], shrunk at both ends by the same factor, in which rounding costs the least squared error.

    Zero, which may be the end of the range, stays where it is.
    """
    some = values[:: max(1, len(values) // _MAX_VALUES)].astype(np.float64)
    unit = _positive(high - low) / 2**17
    best, found = None, (low, high)
    for percent in range(100, 29, -2):
        ends = (
            [end * percent / 100 for end in (low, high)]
            if low <= 0 <= high
            else [low, low + (high - low) * percent / 100]
        )
        step = _positive(ends[1] - ends[0]) / 255
        rounded = np.clip(np.rint((some - ends[0]) / step), 0, 255) * step + ends[0]
        errors = np.rint((some - rounded) / unit).astype(np.int64)
        error = int((errors * errors).sum())  # of integers, so that it is the same on every machine
        if best is None or error < best:
            best, found = error, (ends[0], ends[1])
    return found


def _trimmed(activation: str, ends: Range, tolerance: float) -> Range:
    """Cut off the ends of a range where the activation function does not change, and put 0 at the end of a segment.

    tolerance: the change that does not count, relative to the range of the outputs.
    """
    z = np.linspace(*ends, 4097)
    values = _activate(activation, z)
    allowed = float(values.max() - values.min()) * tolerance
    changes = (
        np.flatnonzero(np.abs(values - values[0]) > allowed),
        np.flatnonzero(np.abs(values - values[-1]) > allowed),
    )
    low, high = ends
    if changes[0].size:  # it is not constant
        low, high = float(z[max(0, changes[0][0] - 1)]), float(z[min(4096, changes[1][-1] + 1)])
    num = TABLE_SIZE - 1
    if low < 0 < high:  # leaky_relu has a bend at 0
        segment = (high - low) / (num - 1)
        num_below = math.ceil(-low / segment)
        low, high = -num_below * segment, (num - num_below) * segment
    return low, high


def _activate(activation: str, z: Array) -> Array:
    """Return f(z), in float32, which has the same bits on every machine."""
    one = Model([1, 1], [activation], seed=0)
    one.parameters = [1, 0]
    return np.asarray(one.predict(z.reshape(-1, 1)), dtype=np.float64).ravel()
