"""Reads a model of Keras 3 as a network: a chain of layers, Sequential or functional, with Dense layers in it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from nnpy._interchange.comparison import agrees, some_rows
from nnpy._interchange.signal import Signal
from nnpy._network import NeuralNetwork

__all__ = ["read"]


def read(model: Any) -> NeuralNetwork:
    """Return the network that a model computes. See `nnpy.from_keras`."""
    if not isinstance(model, keras.Model):
        raise TypeError(f"model must be a keras.Model, got {type(model).__name__}")
    try:
        shape = model.input_shape
    except (AttributeError, ValueError):
        raise ValueError(
            f"{model.name!r} has no known inputs: give it an Input layer, or call it once; a model with a call method of its "
            "own is not read"
        ) from None
    if not isinstance(shape, tuple) or any(not isinstance(size, int) for size in shape[1:]):
        raise ValueError(f"{model.name!r} must have one input with a known number of values, got the shape {shape}")
    net = _follow(model, Signal(math.prod(shape[1:]))).network(scales_outputs=True)
    _compare(model, net, shape[1:])
    return net


def _compare(model: Any, net: NeuralNetwork, shape: tuple[int, ...]) -> None:
    """Raise a ValueError if the model computes something else: it may have a call method of its own, or mix samples."""
    x = some_rows(net).astype(np.float32)
    outputs = keras.tree.flatten(model(keras.ops.convert_to_tensor(x.reshape(len(x), *shape)), training=False))
    if not agrees(net, x, _numbers(outputs[0])):
        raise ValueError(f"{model.name!r} computes something else than its layers say")


def _follow(model: Any, start: Signal) -> Signal:
    """Return the output of a model whose input is `start`."""
    for layer in model.layers if isinstance(model, keras.Sequential) else _chain(model):
        start = _apply(layer, start)
    return start


def _chain(model: Any) -> list[Any]:
    """Return the layers of a functional model in the order in which they are applied. A layer may be there twice."""
    if not getattr(model, "inputs", None) or len(model.inputs) != 1 or len(model.outputs) != 1:
        raise ValueError(
            f"model {model.name!r} ({type(model).__name__}) is no chain of layers from one input to one output"
        )
    layers: list[Any] = []
    tensor = model.outputs[0]
    while tensor is not model.inputs[0]:
        layer, number, _ = tensor._keras_history  # the layer that made the tensor, in its call of that number
        before = layer._inbound_nodes[number].input_tensors
        if len(before) != 1:
            raise ValueError(f"layer {layer.name!r} ({type(layer).__name__}) joins the outputs of {len(before)} layers")
        layers.append(layer)
        tensor = before[0]
    return layers[::-1]


class _Unknown(Exception):
    """A layer, or one of its options, that nnpy does not have."""


def _apply(layer: Any, signal: Signal) -> Signal:
    """Return the output of a layer."""
    try:
        if isinstance(layer, keras.Model):
            return _follow(layer, signal)
        if type(layer) not in _LAYERS:
            raise _Unknown("it is no layer of a fully connected network")
        return _LAYERS[type(layer)](layer, signal)
    except _Unknown as error:
        raise ValueError(f"layer {layer.name!r} ({type(layer).__name__}): {error}") from None


def _numbers(variable: Any) -> NDArray[np.float64]:
    tensor = variable.value if isinstance(variable, keras.Variable) else variable
    if hasattr(tensor, "detach"):  # of PyTorch: convert_to_numpy would cause a warning of numpy 2
        tensor = tensor.detach().cpu().double().numpy()
    return np.asarray(keras.ops.convert_to_numpy(tensor), dtype=np.float64)


def _require(layer: Any, option: str, expected: Any) -> None:
    actual = getattr(layer, option)
    if actual is None or not math.isclose(actual, expected, rel_tol=1e-6):
        raise _Unknown(f"its {option} is {actual}, in nnpy it is {expected}")


# ---- Activation functions ----

_ACTIVATIONS: dict[Any, str] = {
    keras.activations.linear: "linear",
    keras.activations.sigmoid: "sigmoid",
    keras.activations.tanh: "tanh",
    keras.activations.relu: "relu",
    keras.activations.elu: "elu",
    keras.activations.softplus: "softplus",
    keras.activations.silu: "silu",
    keras.activations.gelu: "gelu",
    keras.activations.softmax: "softmax",
}


def _activate(layer: Any, signal: Signal) -> Signal:
    function = layer.activation
    if function is keras.activations.leaky_relu:
        raise _Unknown("Keras' leaky_relu has the slope 0.2, nnpy's 0.01; LeakyReLU(negative_slope=0.01) is the same")
    if function not in _ACTIVATIONS:
        raise _Unknown(f"nnpy does not have its activation function {getattr(function, '__name__', function)!r}")
    name = _ACTIVATIONS[function]
    return signal if name == "linear" else signal.activate(name)


def _relu(layer: Any, signal: Signal) -> Signal:
    _require(layer, "threshold", 0.0)
    if layer.max_value is not None:
        raise _Unknown(f"its max_value is {layer.max_value}: nnpy's relu has none")
    if math.isclose(layer.negative_slope, 0.01, rel_tol=1e-6):
        return signal.activate("leaky_relu")
    _require(layer, "negative_slope", 0.0)
    return signal.activate("relu")


def _leaky_relu(layer: Any, signal: Signal) -> Signal:
    _require(layer, "negative_slope", 0.01)
    return signal.activate("leaky_relu")


def _elu(layer: Any, signal: Signal) -> Signal:
    _require(layer, "alpha", 1.0)
    return signal.activate("elu")


def _softmax(layer: Any, signal: Signal) -> Signal:
    if layer.axis not in {-1, 1}:
        raise _Unknown("it is over the samples")
    return signal.activate("softmax")


# ---- Layers ----


def _dense(layer: Any, signal: Signal) -> Signal:
    if layer.quantization_mode is not None:
        raise _Unknown(f"its weights are quantized ({layer.quantization_mode})")
    result = signal.matmul(_numbers(layer.kernel))
    if layer.use_bias:
        result = result.add(_numbers(layer.bias))
    return _activate(layer, result)


def _batch_normalization(layer: Any, signal: Signal) -> Signal:
    scale, shift = _numbers(layer.gamma) if layer.scale else 1.0, _numbers(layer.beta) if layer.center else 0.0
    return signal.normalize(_numbers(layer.moving_mean), _numbers(layer.moving_variance), layer.epsilon, scale, shift)


def _normalization(layer: Any, signal: Signal) -> Signal:
    if layer.invert:
        raise _Unknown("it is inverted")
    mean, variance = _numbers(layer.mean).ravel(), _numbers(layer.variance).ravel()
    return signal.add(-mean).divide(np.maximum(np.sqrt(variance), keras.backend.epsilon()))


def _rescaling(layer: Any, signal: Signal) -> Signal:
    return signal.multiply(_numbers(layer.scale)).add(_numbers(layer.offset))


def _same(layer: Any, signal: Signal) -> Signal:
    return signal


_LAYERS: dict[Any, Callable[[Any, Signal], Signal]] = {
    keras.layers.Dense: _dense,
    keras.layers.Activation: _activate,
    keras.layers.ReLU: _relu,
    keras.layers.LeakyReLU: _leaky_relu,
    keras.layers.ELU: _elu,
    keras.layers.Softmax: _softmax,
    keras.layers.BatchNormalization: _batch_normalization,
    keras.layers.Normalization: _normalization,
    keras.layers.Rescaling: _rescaling,
    keras.layers.Flatten: _same,
    keras.layers.Identity: _same,
    keras.layers.Dropout: _same,
    keras.layers.AlphaDropout: _same,
    keras.layers.GaussianDropout: _same,
    keras.layers.GaussianNoise: _same,
    keras.layers.ActivityRegularization: _same,
}
