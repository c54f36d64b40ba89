"""Reads a module of PyTorch as a network: `torch.fx` records the operations of its forward method, which become layers."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
import torch.fx
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from nnpy._interchange.comparison import agrees, some_rows
from nnpy._interchange.signal import Signal
from nnpy._interchange.torch_modules import ScaleInputs, ScaleOutputs
from nnpy._network import NeuralNetwork

__all__ = ["read"]

Array = NDArray[np.float64]
Value = Any  # a Signal, an Array, a number or a text, _BATCH or _SHAPE


class _Unknown(Exception):
    """An operation, or its arguments, are none that become a layer."""


class _Marker:
    """What nnpy need not know the value of."""


_BATCH, _SHAPE = _Marker(), _Marker()  # the number of samples; the shape of a batch, whose first item is that number


class _Tracer(torch.fx.Tracer):  # type: ignore[misc]
    """Records the operations of a module, without looking into those of PyTorch and of nnpy."""

    def is_leaf_module(self, module: Any, name: str) -> bool:
        """Whether a module is one operation."""
        return isinstance(module, (ScaleInputs, ScaleOutputs)) or super().is_leaf_module(module, name)


def read(module: Any) -> NeuralNetwork:
    """Return the network that a module computes. See `nnpy.from_torch`."""
    if not isinstance(module, nn.Module):
        raise TypeError(f"module must be a torch.nn.Module, got {type(module).__name__}")
    with _evaluation_mode(module):
        net = _read(module)
        _compare(module, net)
    return net


@contextmanager
def _evaluation_mode(module: Any) -> Iterator[None]:
    """The forward method may depend on the mode, which is as before after the block."""
    in_training = [part for part in module.modules() if part.training]
    for part in in_training:
        part.training = False
    try:
        yield
    finally:
        for part in in_training:
            part.training = True


def _compare(module: Any, net: NeuralNetwork) -> None:
    """Raise a ValueError if the module computes something else: torch.fx does not see hooks, or operations in place."""
    x = some_rows(net)
    tensors = (*module.parameters(), *module.buffers())
    like = next((tensor for tensor in tensors if tensor.is_floating_point()), torch.empty(0))
    inputs = torch.from_numpy(x).to(like.device, like.dtype)
    try:
        with torch.no_grad():
            actual = module(inputs).detach().to("cpu", torch.float64).numpy()
    except Exception as error:  # of any kind: the forward method runs
        raise ValueError(
            f"{type(module).__name__} cannot be called with rows of {x.shape[1]} numbers: {error}"
        ) from error
    if not agrees(net, inputs.to("cpu", torch.float64).numpy(), actual, tolerance=8 * torch.finfo(like.dtype).eps):
        raise ValueError(
            f"{type(module).__name__} computes something else than its operations say: it has hooks, or changes a tensor in "
            "place that it uses again, or mixes samples; export it by torch.onnx.export and read that by nnpy.from_onnx"
        )


def _read(module: Any) -> NeuralNetwork:
    """Return the network that the operations of a module say."""
    root = nn.Sequential(module)  # a module of PyTorch is one operation then, too
    try:
        graph = _Tracer().trace(root)
    except Exception as error:  # of any kind: the forward method runs
        raise ValueError(
            f"PyTorch cannot trace {type(module).__name__}: {error}; export it by torch.onnx.export and read that by "
            "nnpy.from_onnx"
        ) from error
    modules, values = dict(root.named_modules()), dict[Any, Value]()
    num_inputs = _num_inputs(graph, root, modules)
    for node in graph.nodes:
        if node.op == "placeholder":
            values[node] = Signal(num_inputs)
            continue
        if node.op == "output":
            result = torch.fx.node.map_arg(node.args[0], values.get)
            if not isinstance(result, Signal):
                raise ValueError(f"{type(module).__name__} returns {type(result).__name__}, not one tensor of outputs")
            return result.network(scales_outputs=any(isinstance(m, ScaleOutputs) for m in modules.values()))
        try:
            values[node] = _follow(node, root, modules, values)
        except (_Unknown, ValueError) as error:
            raise ValueError(
                f"{type(module).__name__} is no network of nnpy: {_describe(node, modules)}: {error}"
            ) from None
    raise AssertionError("a graph of torch.fx ends with its output")


def _describe(node: Any, modules: dict[str, Any]) -> str:
    if node.op == "call_module":
        return f"module {node.target.removeprefix('0.')!r} ({type(modules[node.target]).__name__})"
    return f"operation {getattr(node.target, '__name__', node.target)!r}"


def _num_inputs(graph: Any, root: Any, modules: dict[str, Any]) -> int:
    """Return the number of inputs, which the first module or matrix that has to know it tells."""
    for node in graph.nodes:
        if node.op == "call_module":
            module = modules[node.target]
            if isinstance(module, (ScaleInputs, ScaleOutputs)):
                return len(module.mean)
            if type(module) is nn.LazyLinear:
                return 1  # `_follow` refuses it
            if isinstance(module, nn.Linear):
                return int(module.in_features)
            if isinstance(module, nn.BatchNorm1d):
                return int(module.num_features)
        name = node.target if node.op == "call_method" else _FUNCTION_NAMES.get(node.target, "")
        if name in {"linear", "matmul", "mm"} and len(node.args) > 1:
            matrix = _constant_matrix(node.args[1], root)
            if matrix is not None and matrix.ndim == 2:
                return int(matrix.shape[-1 if name == "linear" else 0])
    raise ValueError("the module has no layer that tells the number of inputs")


def _constant_matrix(node: Any, root: Any) -> Any:
    """Return the matrix that is an argument, perhaps transposed, or None if it depends on the inputs."""
    if not isinstance(node, torch.fx.Node):
        return None
    if node.op == "get_attr":
        return _parameter(root, node.target)
    is_transpose = node.target in {"t", torch.t} or (node.target is getattr and node.args[1] == "T")
    matrix = _constant_matrix(node.args[0], root) if is_transpose and node.args else None
    return None if matrix is None else matrix.T


def _follow(node: Any, root: Any, modules: dict[str, Any], values: dict[Any, Value]) -> Value:
    """Return what an operation yields."""
    args, kwargs = torch.fx.node.map_arg(node.args, values.get), torch.fx.node.map_arg(node.kwargs, values.get)
    if node.op == "get_attr":
        return _to_numpy(_parameter(root, node.target))
    if node.op == "call_module":
        module = modules[node.target]
        if type(module) not in _MODULES:
            raise _Unknown("it is no module of a fully connected network")
        return _MODULES[type(module)](module, _signal(next(iter((*args, *kwargs.values())), None)))
    target = node.target if isinstance(node.target, str) else _FUNCTION_NAMES.get(node.target, "")
    if target not in _FUNCTIONS:
        raise _Unknown("it is no operation of a fully connected network")
    try:
        return _FUNCTIONS[target](*args, **kwargs)
    except (TypeError, OverflowError) as error:  # an argument that the function does not have, or cannot use
        raise _Unknown(str(error)) from None


def _parameter(root: Any, name: str) -> Any:
    value = root
    for part in name.split("."):
        value = getattr(value, part)
    return value


def _to_numpy(tensor: Any) -> Array:
    if tensor.is_complex() or tensor.is_quantized or tensor.device.type == "meta":
        raise _Unknown(f"a parameter is {tensor.dtype} on {tensor.device}, not real numbers in memory")
    result: Array = tensor.detach().to("cpu", torch.float64).numpy()
    return result


def _signal(value: Value) -> Signal:
    if not isinstance(value, Signal):
        raise _Unknown("its input is no output of a layer")
    return value


# ---- Modules ----


def _linear(module: Any, signal: Signal) -> Signal:
    return _apply_linear(signal, _to_numpy(module.weight), None if module.bias is None else _to_numpy(module.bias))


def _lazy_linear(module: Any, signal: Signal) -> Signal:
    raise _Unknown("it does not know its sizes yet: call the module once")


def _apply_linear(x: Value, weight: Value, bias: Value = None) -> Signal:
    if not isinstance(weight, np.ndarray):
        raise _Unknown("its weights are not constant")
    result = _signal(x).matmul(weight.T)
    return result if bias is None else _add(result, bias)


def _batch_norm(module: Any, signal: Signal) -> Signal:
    if module.running_mean is None:
        raise _Unknown("it has no running statistics")
    learnt = (_to_numpy(module.weight), _to_numpy(module.bias)) if module.affine else ()
    return signal.normalize(_to_numpy(module.running_mean), _to_numpy(module.running_var), module.eps, *learnt)


def _require(name: str, actual: Any, expected: float) -> None:
    if not math.isclose(actual, expected):
        raise _Unknown(f"its {name} is {actual:g}, in nnpy it is {expected:g}")


def _leaky_relu(x: Value, negative_slope: float = 0.01, inplace: bool = False) -> Signal:
    _require("negative_slope", negative_slope, 0.01)
    return _signal(x).activate("leaky_relu")


def _elu(x: Value, alpha: float = 1.0, inplace: bool = False) -> Signal:
    _require("alpha", alpha, 1.0)
    return _signal(x).activate("elu")


def _softplus(x: Value, beta: float = 1.0, threshold: float = 20.0) -> Signal:
    _require("beta", beta, 1.0)
    if threshold < 15:
        raise _Unknown(f"its threshold is {threshold:g}: nnpy's softplus has none")
    return _signal(x).activate("softplus")


def _gelu(x: Value, approximate: str = "none") -> Signal:
    if approximate != "none":
        raise _Unknown("nnpy's GELU is not approximated by tanh")
    return _signal(x).activate("gelu")


def _softmax(x: Value, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> Signal:
    if dim not in {None, 1, -1}:
        raise _Unknown("it is over the samples")
    return _signal(x).activate("softmax")


def _log_softmax(*args: Any, **kwargs: Any) -> Signal:
    raise _Unknown(
        "nnpy has softmax, whose outputs are probabilities, and no log_softmax: leave it out, or use Softmax"
    )


def _plain(name: str) -> Callable[..., Signal]:
    """Return the function for an activation function without parameters."""
    return lambda x, inplace=False: _signal(x).activate(name)


def _flatten(x: Value, start_dim: int = 0, end_dim: int = -1) -> Signal:
    if end_dim != -1 or not (start_dim == 1 or (start_dim == 0 and _is_single_output(x))):
        raise _Unknown("it does not keep the samples apart: start_dim=1 does")
    return _signal(x)


def _scale_inputs(module: Any, signal: Signal) -> Signal:
    return signal.add(-_to_numpy(module.mean)).divide(_to_numpy(module.scale))


def _scale_outputs(module: Any, signal: Signal) -> Signal:
    return signal.multiply(_to_numpy(module.scale)).add(_to_numpy(module.mean))


_MODULES: dict[Any, Callable[[Any, Signal], Signal]] = {
    nn.Linear: _linear,
    nn.LazyLinear: _lazy_linear,
    nn.BatchNorm1d: _batch_norm,
    nn.Sigmoid: lambda module, signal: signal.activate("sigmoid"),
    nn.Tanh: lambda module, signal: signal.activate("tanh"),
    nn.ReLU: lambda module, signal: signal.activate("relu"),
    nn.SiLU: lambda module, signal: signal.activate("silu"),
    nn.LeakyReLU: lambda module, signal: _leaky_relu(signal, module.negative_slope),
    nn.ELU: lambda module, signal: _elu(signal, module.alpha),
    nn.Softplus: lambda module, signal: _softplus(signal, module.beta, module.threshold),
    nn.GELU: lambda module, signal: _gelu(signal, module.approximate),
    nn.Softmax: lambda module, signal: _softmax(signal, module.dim),
    nn.LogSoftmax: _log_softmax,
    nn.Flatten: lambda module, signal: _flatten(signal, module.start_dim, module.end_dim),
    nn.Identity: lambda module, signal: signal,
    nn.Dropout: lambda module, signal: signal,
    nn.Dropout1d: lambda module, signal: signal,
    nn.AlphaDropout: lambda module, signal: signal,
    ScaleInputs: _scale_inputs,
    ScaleOutputs: _scale_outputs,
}


# ---- Functions and methods ----


def _add(left: Value, right: Value) -> Value:
    if isinstance(left, Signal) and isinstance(right, Signal):
        raise _Unknown("it adds two outputs of layers, as in a residual network")
    if isinstance(right, Signal):
        left, right = right, left
    return left.add(np.asarray(right, dtype=np.float64)) if isinstance(left, Signal) else left + right


def _sub(left: Value, right: Value) -> Value:
    return _add(left, _negative(right))


def _mul(left: Value, right: Value) -> Value:
    if isinstance(left, Signal) and isinstance(right, Signal):
        for z, a in ((left, right), (right, left)):  # z sigmoid(z)
            if a.is_activation_of(z, "sigmoid"):
                return z.activate("silu")
        raise _Unknown("it multiplies two outputs of layers")
    if isinstance(right, Signal):
        left, right = right, left
    return left.multiply(np.asarray(right, dtype=np.float64)) if isinstance(left, Signal) else left * right


def _div(left: Value, right: Value) -> Value:
    if isinstance(right, Signal):
        raise _Unknown("it divides by an output of a layer")
    return left.divide(np.asarray(right, dtype=np.float64)) if isinstance(left, Signal) else left / right


def _negative(value: Value) -> Value:
    return value.multiply(np.array(-1.0)) if isinstance(value, Signal) else -value


def _matmul(left: Value, right: Value) -> Signal:
    if not isinstance(right, np.ndarray):
        raise _Unknown("its matrix is not constant")
    return _signal(left).matmul(right)


def _transpose(value: Value, *dims: int) -> Array:
    if not isinstance(value, np.ndarray) or value.ndim != 2:
        raise _Unknown("only matrices may be transposed")
    return value.T


def _attribute(value: Value, name: str) -> Value:
    if isinstance(value, Signal) and name == "shape":
        return _SHAPE
    if name == "T":
        return _transpose(value)
    raise _Unknown(f"nnpy does not know the attribute {name!r}")


def _size(value: Value, dim: int | None = None) -> Value:
    if isinstance(value, Signal) and dim in {0, None}:
        return _SHAPE if dim is None else _BATCH
    raise _Unknown("only the number of samples may be asked for")


def _item(value: Value, index: Any) -> Value:
    if value is _SHAPE and index == 0:
        return _BATCH
    raise _Unknown("it takes a part of a tensor")


def _is_single_output(value: Value) -> bool:
    return isinstance(value, Signal) and value.width == 1


def _reshape(value: Value, *shape: Value) -> Signal:
    sizes = list(shape[0] if len(shape) == 1 and isinstance(shape[0], (tuple, list)) else shape)
    signal = _signal(value)
    rows_kept = len(sizes) == 2 and (sizes[0] is _BATCH or sizes[0] == -1) and sizes[1] in {-1, signal.width}
    if not (rows_kept and sizes != [-1, -1]) and not (signal.width == 1 and sizes in ([-1], [_BATCH])):
        raise _Unknown("the new shape does not keep the samples apart, or has another width")
    return signal


def _squeeze(value: Value, dim: int | None = None) -> Signal:
    if not _is_single_output(value) or dim not in {1, -1, None}:
        raise _Unknown("only a single output may be squeezed, from (n, 1) to (n,)")
    return _signal(value)


def _unsqueeze(value: Value, dim: int) -> Signal:
    if not _is_single_output(value) or dim not in {1, -1}:
        raise _Unknown("only (n,) may become (n, 1)")
    return _signal(value)


def _same(value: Value, *args: Any, **kwargs: Any) -> Value:
    """Dropout, contiguous, float and others that change nothing here."""
    return value


# By the names of methods; functions have the same meaning.
_FUNCTIONS: dict[str, Callable[..., Value]] = {
    "relu": _plain("relu"),
    "sigmoid": _plain("sigmoid"),
    "tanh": _plain("tanh"),
    "silu": _plain("silu"),
    "leaky_relu": _leaky_relu,
    "elu": _elu,
    "softplus": _softplus,
    "gelu": _gelu,
    "softmax": _softmax,
    "log_softmax": _log_softmax,
    "linear": _apply_linear,
    "matmul": _matmul,
    "mm": _matmul,
    "add": _add,
    "sub": _sub,
    "mul": _mul,
    "div": _div,
    "neg": _negative,
    "getattr": _attribute,
    "getitem": _item,
    "size": _size,
    "t": _transpose,
    "flatten": _flatten,
    "view": _reshape,
    "reshape": _reshape,
    "squeeze": _squeeze,
    "unsqueeze": _unsqueeze,
    "dropout": _same,
    "contiguous": _same,
    "float": _same,
    "double": _same,
}

_FUNCTION_NAMES: dict[Any, str] = {
    torch.relu: "relu",
    functional.relu: "relu",
    torch.sigmoid: "sigmoid",
    functional.sigmoid: "sigmoid",
    torch.tanh: "tanh",
    functional.tanh: "tanh",
    functional.silu: "silu",
    functional.leaky_relu: "leaky_relu",
    functional.elu: "elu",
    functional.softplus: "softplus",
    functional.gelu: "gelu",
    functional.softmax: "softmax",
    torch.softmax: "softmax",
    functional.log_softmax: "log_softmax",
    torch.log_softmax: "log_softmax",
    functional.linear: "linear",
    torch.matmul: "matmul",
    torch.mm: "matmul",
    operator.matmul: "matmul",
    operator.add: "add",
    operator.iadd: "add",
    torch.add: "add",
    operator.sub: "sub",
    torch.sub: "sub",
    operator.mul: "mul",
    torch.mul: "mul",
    operator.truediv: "div",
    torch.div: "div",
    operator.neg: "neg",
    torch.neg: "neg",
    getattr: "getattr",
    operator.getitem: "getitem",
    torch.t: "t",
    torch.flatten: "flatten",
    torch.reshape: "reshape",
    torch.squeeze: "squeeze",
    torch.unsqueeze: "unsqueeze",
    functional.dropout: "dropout",
    torch.dropout: "dropout",
}
