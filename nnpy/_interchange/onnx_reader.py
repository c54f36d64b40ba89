"""Reads an ONNX model as a network: any graph that computes one, whatever operations its writer took for that.

The operations are followed from the inputs on. What an operation yields is a constant, a `Signal`, a part of an activation
function that is written as several operations, or a `_Failure`: an operation that nnpy does not know spoils only what depends
on it, as writers add outputs, such as labels, that are no outputs of the network.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from nnpy._atomic_write import open_regular
from nnpy._interchange.metadata import set_names
from nnpy._interchange.signal import Signal
from nnpy._network import NeuralNetwork

__all__ = ["read"]

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class _Failure:
    """What cannot be read, and why: the first node in its way."""

    reason: str


@dataclass(frozen=True, eq=False)
class _Part:
    """A part of an activation function of `signal`: "is large", of softplus, or those of GELU, such as "1 + erf"."""

    kind: str
    signal: Signal

    @property
    def num_elements(self) -> int:
        return self.signal.num_elements


@dataclass(frozen=True, eq=False)
class _Multiple:
    """A signal times a number, which may be the argument of erf, or half of a GELU's argument."""

    signal: Signal
    factor: float
    value: Signal

    @property
    def num_elements(self) -> int:
        return self.signal.num_elements + self.value.num_elements


@dataclass(frozen=True, eq=False)
class _Complement:
    """1 - a, for the probability of the other one of two classes."""

    signal: Signal

    @property
    def num_elements(self) -> int:
        return self.signal.num_elements


@dataclass(frozen=True, eq=False)
class _Columns:
    """Some of the inputs, one after another, where a model has several: (name, width) of each of them, and of all."""

    inputs: tuple[tuple[str, int], ...]
    all_inputs: tuple[tuple[str, int], ...]

    @property
    def num_elements(self) -> int:
        return sum(width for _, width in self.inputs)


@dataclass(frozen=True, eq=False)
class _Both:
    """The probabilities of both of two classes: 1 - p, p. The network has the second one."""

    signal: Signal

    @property
    def num_elements(self) -> int:
        return self.signal.num_elements


Value = Any  # one of the above, a Signal, or an Array


def read(source: str | os.PathLike[str] | onnx.ModelProto, *, output: str | None = None) -> NeuralNetwork:
    """Return the network that a model computes. See `nnpy.from_onnx`."""
    if isinstance(source, onnx.ModelProto):
        model, where = source, "the model"
    elif isinstance(source, (str, os.PathLike)):
        model, where = _load(source), os.fspath(source)
    else:
        raise TypeError(f"source must be a path or an onnx.ModelProto, got {type(source).__name__}")
    try:
        return _network(model, output)
    except ValueError as error:
        raise ValueError(f"{where} cannot be read as a network: {error}") from error


def _load(path: str | os.PathLike[str]) -> onnx.ModelProto:
    open_regular(path).close()  # an OSError if there is no such file
    try:
        return onnx.load(os.fspath(path))
    except Exception as error:  # of protobuf, of the check of external data, ...
        raise ValueError(f"{os.fspath(path)} is not an ONNX model that can be read: {error}") from error


def _network(model: onnx.ModelProto, output: str | None) -> NeuralNetwork:
    graph = model.graph
    if len(graph.sparse_initializer):
        raise ValueError("it has sparse parameters")
    _check_texts(model)
    values: dict[str, Value] = {tensor.name: _tensor(tensor) for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in values]
    values |= _input_signals(inputs)
    budget = _Budget(model.ByteSize())
    for node in graph.node:
        _follow(node, values, budget)
    net = _output_signal(graph, values, output).network(scales_outputs=model.producer_name == "nnpy")
    if model.producer_name == "nnpy":  # another program may mean something else by this metadata
        set_names(net, {prop.key: prop.value for prop in model.metadata_props})
    elif len(inputs) > 1 and len(inputs) == net.layer_sizes[0]:
        net.feature_names = [value.name for value in inputs]
    return net


def _check_texts(model: onnx.ModelProto) -> None:
    """Raise a ValueError if a name is no text: the library returns bytes where a damaged file has no UTF-8."""
    graph = model.graph
    texts = [item.name for items in (graph.initializer, graph.input, graph.output) for item in items]
    for node in graph.node:
        texts += [node.name, node.op_type, node.domain, *node.input, *node.output]
    for prop in model.metadata_props:
        texts += [prop.key, prop.value]
    if not all(isinstance(text, str) for text in texts):
        raise ValueError("a name in it is not text in UTF-8")


class _Budget:
    """Bounds what the nodes of a damaged or hostile file can compute: a multiple of the size of the file.

    A network uses each of its parameters in a few operations. A small file could use a large matrix in each of many nodes.
    """

    def __init__(self, num_bytes: int) -> None:
        self._left = 100_000 + 8 * num_bytes

    def take(self, values: Sequence[Value]) -> None:
        """Count the numbers that an operation on these values reads or creates; a ValueError if there have been too many."""
        self._left -= sum(map(_num_elements, values))
        if self._left < 0:
            raise ValueError("the model computes more numbers than a network of the size of its file")


def _num_elements(value: Value) -> int:
    return value.size if isinstance(value, np.ndarray) else getattr(value, "num_elements", 1)


# ---- Inputs and outputs ----

_FLOATS = {onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE, onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16}


def _input_signals(inputs: Sequence[onnx.ValueInfoProto]) -> dict[str, Value]:
    """Return a signal for each input. Several of them are columns of one table, in their order."""
    widths = {value.name: _width(value) for value in inputs}
    ranks = {value.name: len(value.type.tensor_type.shape.dim) for value in inputs}
    if len(inputs) == 1:
        is_integer = inputs[0].type.tensor_type.elem_type not in _FLOATS
        return {name: Signal(width, rank=ranks[name], is_integer=is_integer) for name, width in widths.items()}
    if any(rank != 2 for rank in ranks.values()):
        raise ValueError("several inputs must be tables of two dimensions")
    return {name: _Columns(((name, width),), tuple(widths.items())) for name, width in widths.items()}


def _width(value: onnx.ValueInfoProto) -> int:
    """Return how many numbers an input has for each sample: the product of its dimensions after the first."""
    tensor = value.type.tensor_type
    if not value.type.HasField("tensor_type") or not tensor.HasField("shape"):
        raise ValueError(f"the input {value.name!r} has no shape")
    sizes = [dim.dim_value for dim in tensor.shape.dim[1:]]
    if not sizes or min(sizes) < 1:
        raise ValueError(f"the input {value.name!r} must have a batch of samples, each with a known number of values")
    return math.prod(sizes)


def _output_signal(graph: onnx.GraphProto, values: dict[str, Value], output: str | None) -> Signal:
    """Return the signal of an output, or of the only one that is a signal."""
    names = [value.name for value in graph.output]
    if output is not None and output not in names:
        raise ValueError(f"it has no output {output!r}; its outputs are {names}")
    results = {name: _settle(values.get(name, _Failure("an output that no node yields"))) for name in names}
    signals = {name: value for name, value in results.items() if isinstance(value, Signal) and output in {None, name}}
    if len(signals) == 1:
        return next(iter(signals.values()))
    if signals:
        raise ValueError(f"several of its outputs are networks: pass output=, one of {list(signals)}")
    reasons = {
        name: getattr(value, "reason", "it is constant")[:500]
        for name, value in results.items()
        if output in {None, name}
    }
    raise ValueError("; ".join(f"output {name!r}: {reason}" for name, reason in list(reasons.items())[:8]))


def _settle(value: Value) -> Value:
    """Return the signal that a value is, if it is one; a _Failure if it is a part of something else."""
    if isinstance(value, _Multiple):
        return value.value
    if isinstance(value, _Both):
        return value.signal
    if isinstance(value, (_Part, _Complement)):
        return _Failure("it is a part of an activation function")
    if isinstance(value, _Columns):
        return _Failure("it is an input")
    return value


# ---- Constants ----


def _tensor(tensor: onnx.TensorProto) -> Value:
    try:
        return numpy_helper.to_array(tensor)
    except Exception as error:  # whatever the library makes of damaged data
        return _Failure(f"the constant {tensor.name!r} is damaged: {error}")


def _attributes(node: onnx.NodeProto) -> dict[str, Any]:
    return {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}


# ---- Nodes ----


class _Unknown(Exception):
    """A node, or its arguments, are none that become a layer."""


def _follow(node: onnx.NodeProto, values: dict[str, Value], budget: _Budget) -> None:
    """Compute what a node yields."""
    where = f"node {node.name or ''.join(node.output[:1])!r} ({node.op_type})"
    arguments = [
        values.get(name, _Failure(f"{where}: nothing yields its input {name!r}")) if name else None
        for name in node.input
    ]
    result: Value = next((argument for argument in arguments if isinstance(argument, _Failure)), None)
    if result is None:
        budget.take(arguments)
        try:
            if node.domain not in {"", "ai.onnx", "ai.onnx.ml"} or node.op_type not in _OPERATORS:
                raise _Unknown("it is no operation of a fully connected network")
            result = _OPERATORS[node.op_type](arguments, _attributes(node))
        except (_Unknown, ValueError) as error:
            result = _Failure(f"{where}: {error}")
        except Exception as error:  # of numpy or onnx, on damaged data
            result = _Failure(f"{where}: {type(error).__name__}: {error}")
    values.update(dict.fromkeys(node.output, result))


def _constant(value: Value, what: str) -> Array:
    if not isinstance(value, np.ndarray):
        raise _Unknown(f"{what} is not constant")
    return value


def _signal(value: Value) -> Signal:
    """Return what an operation takes as a signal."""
    if isinstance(value, _Multiple):
        return value.value
    if isinstance(value, _Columns) and value.inputs == value.all_inputs:
        return Signal(sum(width for _, width in value.inputs))
    if isinstance(value, _Columns):
        names = ", ".join(repr(name) for name, _ in value.all_inputs[:8])
        raise _Unknown(f"a network takes all inputs of the model ({names}) together, in their order")
    if not isinstance(value, Signal):
        raise _Unknown("its input is no output of a layer")
    return value


def _split(arguments: Sequence[Value]) -> tuple[Value, Array] | None:
    """Return the one of two arguments that is not constant, and the constant."""
    left, right = arguments
    if isinstance(right, np.ndarray):
        return left, right
    if isinstance(left, np.ndarray):
        return right, left
    return None


def _is_number(array: Array, number: float) -> bool:
    return array.size == 1 and math.isclose(float(array.item()), number, rel_tol=1e-6)


def _check_broadcast(left: Array, right: Array) -> None:
    """Raise unless the result of an operation on two constants is as large as one of them."""
    if math.prod(np.broadcast_shapes(left.shape, right.shape)) > max(left.size, right.size):
        raise _Unknown(f"constants of the shapes {left.shape} and {right.shape} do not fit")


def _fold(function: Callable[[Array, Array], Array], left: Array, right: Array) -> Array:
    """Apply an operation to two constants."""
    _check_broadcast(left, right)
    with np.errstate(all="ignore"):
        return function(left, right)


def _gemm(arguments: Sequence[Value], attributes: dict[str, Any]) -> Value:
    if attributes.get("transA", 0):
        raise _Unknown("it transposes the samples")
    matrix = _constant(arguments[1], "its matrix")
    matrix = matrix.T if attributes.get("transB", 0) else matrix
    result = _signal(arguments[0]).matmul(matrix if attributes.get("alpha", 1.0) == 1 else matrix * attributes["alpha"])
    if len(arguments) < 3 or arguments[2] is None:
        return result
    terms = _constant(arguments[2], "its third input")
    return result.add(terms if attributes.get("beta", 1.0) == 1 else terms * attributes["beta"])


def _matmul(arguments: Sequence[Value], attributes: dict[str, Any]) -> Value:
    return _signal(arguments[0]).matmul(_constant(arguments[1], "its matrix"))


def _add(arguments: Sequence[Value], attributes: dict[str, Any]) -> Value:
    parts = _split(arguments)
    if parts is None:
        raise _Unknown("it adds two outputs of layers, as in a residual network")
    value, terms = parts
    if isinstance(value, np.ndarray):
        return _fold(np.add, value, terms)
    if isinstance(value, _Part) and value.kind == "erf" and _is_number(terms, 1):
        return _Part("1 + erf", value.signal)
    return _signal(value).add(terms)


def _sub(arguments: Sequence[Value], attributes: dict[str, Any]) -> Value:
    left, right = arguments
    if isinstance(left, np.ndarray) and isinstance(right, np.ndarray):
        return _fold(np.subtract, left, right)
    if isinstance(left, np.ndarray):  # 1 - a
        signal = _signal(right)
        if _is_number(left, 1) and signal.before is not None and signal.is_activation_of(signal.before, "sigmoid"):
            return _Complement(signal)
        return signal.multiply(np.array(-1.0)).add(left)
    return _signal(left).add(-_constant(right, "its second input").astype(np.float64))


def _mul(arguments: Sequence[Value], attributes: dict[str, Any]) -> Value:
    parts = _split(arguments)
    if parts is None:
        return _product_of_signals(*arguments)
    value, factors = parts
    if isinstance(value, np.ndarray):
        return _fold(np.multiply, value, factors)
    if isinstance(value, _Part):
        if _is_number(factors, 0.5) and value.kind in {"1 + erf", "z (1 + erf)"}:
            return _Part("cdf", value.signal) if value.kind == "1 + erf" else value.signal.activate("gelu")
        raise _Unknown(f"it multiplies {value.kind!r}")
    signal = _signal(value)
    return _multiple(signal, factors, signal.multiply(factors))


def _div(arguments: Sequence[Value], attributes: dict[str, Any]) -> Value:
    divisors = _constant(arguments[1], "its second input")
    if divisors.dtype.kind != "f":
        raise _Unknown("it divides integers")
    if isinstance(arguments[0], np.ndarray):
        return _fold(np.divide, arguments[0], divisors)
    signal = _signal(arguments[0])
    quotient = signal.divide(divisors)
    return _multiple(signal, 1 / divisors.astype(np.float64), quotient)


def _multiple(signal: Signal, factors: Array, value: Signal) -> Value:
    """Return a signal times a number so that an erf after it is recognised."""
    return _Multiple(signal, float(factors.item()), value) if factors.size == 1 else value


def _product_of_signals(left: Value, right: Value) -> Value:
    """Return z sigmoid(z), or a part of z (1 + erf(z / sqrt(2))) / 2."""
    for z, other in ((left, right), (right, left)):
        if isinstance(other, Signal) and other.is_activation_of(_settle(z), "sigmoid"):
            return _signal(z).activate("silu")
        if not isinstance(other, _Part):
            continue
        if z is other.signal and other.kind == "cdf":
            return other.signal.activate("gelu")
        if z is other.signal and other.kind == "1 + erf":
            return _Part("z (1 + erf)", other.signal)
        if isinstance(z, _Multiple) and z.signal is other.signal and z.factor == 0.5 and other.kind == "1 + erf":
            return other.signal.activate("gelu")
    raise _Unknown("it multiplies two outputs of layers")


def _erf(arguments: Sequence[Value], attributes: dict[str, Any]) -> Value:
    z = arguments[0]
    if isinstance(z, _Multiple) and math.isclose(z.factor, math.sqrt(0.5), rel_tol=1e-6):
        return _Part("erf", z.signal)
    raise _Unknown("erf is known as a part of GELU only")


def _greater(arguments: Sequence[Value], attributes: dict[str, Any]) -> Value:
    if not isinstance(arguments[0], Signal) or not _constant(arguments[1], "its threshold").item() >= 15:
        raise _Unknown("it is known as a part of softplus only")
    return _Part("is large", arguments[0])


def _where(arguments: Sequence[Value], attributes: dict[str, Any]) -> Value:
    """PyTorch's softplus: z where z is large, which makes no difference in float32."""
    condition, z, other = arguments
    is_condition = isinstance(condition, _Part) and condition.kind == "is large" and condition.signal is z
    if not is_condition or not isinstance(other, Signal) or not other.is_activation_of(z, "softplus"):
        raise _Unknown("it is known as a part of softplus only")
    return other


def _activation(name: str, **required: float) -> Callable[[Sequence[Value], dict[str, Any]], Value]:
    """Return the function for an activation function whose attributes must have certain values."""

    def function(arguments: Sequence[Value], attributes: dict[str, Any]) -> Value:
        for key, number in required.items():
            if not math.isclose(attributes.get(key, number), number, rel_tol=1e-6):
                raise _Unknown(f'"{name}" has {key} = {number:g} in nnpy, here it is {attributes[key]:g}')
        return _signal(arguments[0]).activate(name)

    return function


def _gelu(arguments: Sequence[Value], attributes: dict[str, Any]) -> Value:
    if attributes.get("approximate", b"none") not in {b"none", "none"}:
        raise _Unknown("nnpy's GELU is not approximated by tanh")
    return _signal(arguments[0]).activate("gelu")


def _softmax(arguments: Sequence[Value], attributes: dict[str, Any]) -> Value:
    if attributes.get("axis", -1) not in {1, -1}:
        raise _Unknown("it is over the samples")
    return _signal(arguments[0]).activate("softmax")


def _batch_normalization(arguments: Sequence[Value], attributes: dict[str, Any]) -> Value:
    if attributes.get("training_mode", 0):
        raise _Unknown("it is in training mode")
    scale, bias, mean, variance = (_constant(value, "a parameter").astype(np.float64) for value in arguments[1:5])
    return _signal(arguments[0]).normalize(mean, variance, attributes.get("epsilon", 1e-5), scale, bias)


def _same(arguments: Sequence[Value], attributes: dict[str, Any]) -> Value:
    """Operations that change nothing: Identity, and ZipMap, which names the columns."""
    return arguments[0]


def _negative(arguments: Sequence[Value], attributes: dict[str, Any]) -> Value:
    if isinstance(arguments[0], np.ndarray):
        return -arguments[0]
    return _signal(arguments[0]).multiply(np.array(-1.0))


def _constant_function(function: Callable[[Array], Array]) -> Callable[[Sequence[Value], dict[str, Any]], Value]:
    """Return the operation for a function that is known for constants only."""

    def operation(arguments: Sequence[Value], attributes: dict[str, Any]) -> Value:
        with np.errstate(all="ignore"):
            return function(_constant(arguments[0], "its input"))

    return operation


def _axes(arguments: Sequence[Value], attributes: dict[str, Any]) -> tuple[int, ...] | None:
    """Return the axes of Squeeze or Unsqueeze: an input since opset 13, before that an attribute."""
    if len(arguments) > 1 and arguments[1] is not None:
        return tuple(_constant(arguments[1], "the number of an axis").ravel().tolist())
    return tuple(attributes["axes"]) if "axes" in attributes else None


def _squeeze(arguments: Sequence[Value], attributes: dict[str, Any]) -> Value:
    axes = _axes(arguments, attributes)
    if isinstance(arguments[0], np.ndarray):
        return np.squeeze(arguments[0], axes)
    signal = _signal(arguments[0])
    if signal.width != 1 or signal.rank != 2 or axes not in {(1,), (-1,)}:
        raise _Unknown("only a single output may be squeezed, from (n, 1) to (n,)")
    return replace(signal, rank=1)


def _unsqueeze(arguments: Sequence[Value], attributes: dict[str, Any]) -> Value:
    axes = _axes(arguments, attributes)
    if axes is None or len(axes) != 1:
        raise _Unknown("one axis is expected")
    if isinstance(arguments[0], np.ndarray):
        return np.expand_dims(arguments[0], axes[0])
    signal = _signal(arguments[0])
    if signal.rank != 1 or axes not in {(1,), (-1,)}:
        raise _Unknown("only (n,) may become (n, 1)")
    return replace(signal, rank=2)


def _scaler(arguments: Sequence[Value], attributes: dict[str, Any]) -> Value:
    """The operation of ai.onnx.ml: (x - offset) scale."""
    offset, scale = (np.array(attributes[key], dtype=np.float64) for key in ("offset", "scale"))
    return _signal(arguments[0]).add(-offset).multiply(scale)


def _dropout(arguments: Sequence[Value], attributes: dict[str, Any]) -> Value:
    if len(arguments) > 2 and arguments[2] is not None and bool(_constant(arguments[2], "training_mode")):
        raise _Unknown("it is in training mode")
    return arguments[0]


def _cast(arguments: Sequence[Value], attributes: dict[str, Any]) -> Value:
    kind = onnx.helper.tensor_dtype_to_np_dtype(attributes["to"])
    if isinstance(arguments[0], np.ndarray):
        return arguments[0].astype(kind)
    if kind not in {np.dtype(np.float32), np.dtype(np.float64)}:
        raise _Unknown(f"it makes {kind} of the numbers")
    if isinstance(arguments[0], Signal) and arguments[0].is_integer:
        return replace(arguments[0], is_integer=False)
    return arguments[0]


def _flatten(arguments: Sequence[Value], attributes: dict[str, Any]) -> Value:
    if attributes.get("axis", 1) != 1:
        raise _Unknown("it does not keep the samples apart")
    return _with_rank(_signal(arguments[0]), 2)


def _with_rank(signal: Signal, rank: int) -> Signal:
    """Return the same object where the rank is the same: activation functions of several operations compare objects."""
    return signal if signal.rank == rank else replace(signal, rank=rank)


def _reshape(arguments: Sequence[Value], attributes: dict[str, Any]) -> Value:
    shape = _constant(arguments[1], "its shape")
    if isinstance(arguments[0], np.ndarray):
        return arguments[0].reshape(shape.tolist())
    signal, sizes = _signal(arguments[0]), shape.tolist()
    keeps = sizes in ([-1, signal.width], [0, signal.width], [0, -1]) or (signal.width == 1 and sizes == [-1])
    if not keeps:
        raise _Unknown(f"the shape {sizes} does not keep {signal.width} numbers for each sample")
    return _with_rank(signal, len(sizes))


def _transpose(arguments: Sequence[Value], attributes: dict[str, Any]) -> Value:
    return np.transpose(_constant(arguments[0], "its input"), attributes.get("perm"))


def _concat(arguments: Sequence[Value], attributes: dict[str, Any]) -> Value:
    if attributes.get("axis") not in {1, -1}:
        raise _Unknown("it is along the samples")
    return _join(arguments, attributes)


def _join(arguments: Sequence[Value], attributes: dict[str, Any]) -> Value:
    """Return several inputs as one, or the network for both probabilities; FeatureVectorizer of ai.onnx.ml does the first."""
    if all(isinstance(value, _Columns) for value in arguments):
        inputs = tuple(part for value in arguments for part in value.inputs)
        return _Columns(inputs, arguments[0].all_inputs)
    if len(arguments) == 2 and isinstance(arguments[0], _Complement) and arguments[1] is arguments[0].signal:
        signal = arguments[0].signal
        if signal.width == 1 and signal.rank == 2:
            return _Both(signal)
        raise _Unknown("it joins probabilities of several columns")
    raise _Unknown("it joins outputs of layers")


def _label(arguments: Sequence[Value], attributes: dict[str, Any]) -> Value:
    raise _Unknown("labels are no outputs of a network")


_OPERATORS: dict[str, Callable[[Sequence[Value], dict[str, Any]], Value]] = {
    "Add": _add,
    "ArgMax": _label,
    "BatchNormalization": _batch_normalization,
    "Binarizer": _label,
    "Cast": _cast,
    "Concat": _concat,
    "Constant": lambda arguments, attributes: _constant_node(attributes),
    "Div": _div,
    "Dropout": _dropout,
    "Elu": _activation("elu", alpha=1.0),
    "Erf": _erf,
    "FeatureVectorizer": _join,
    "Flatten": _flatten,
    "Greater": _greater,
    "Gelu": _gelu,
    "Gemm": _gemm,
    "Identity": _same,
    "LeakyRelu": _activation("leaky_relu", alpha=0.01),
    "MatMul": _matmul,
    "Mul": _mul,
    "Neg": _negative,
    "Reciprocal": _constant_function(lambda array: 1 / array),
    "Relu": _activation("relu"),
    "Reshape": _reshape,
    "Scaler": _scaler,
    "Sigmoid": _activation("sigmoid"),
    "Softmax": _softmax,
    "Softplus": _activation("softplus"),
    "Sqrt": _constant_function(np.sqrt),
    "Squeeze": _squeeze,
    "Sub": _sub,
    "Tanh": _activation("tanh"),
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
    "Where": _where,
    "ZipMap": _same,
}


def _constant_node(attributes: dict[str, Any]) -> Value:
    if "value" in attributes:
        return _tensor(attributes["value"])
    for key in ("value_float", "value_floats", "value_int", "value_ints"):
        if key in attributes:
            return np.array(attributes[key])
    raise _Unknown("it has no numbers")
