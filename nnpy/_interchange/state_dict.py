"""The parameters of a network by PyTorch's names and in its shapes: the dictionary that `NeuralNetwork.to_torch` has, too.

A layer is a `torch.nn.Linear`, and its activation function a module after it; "linear" has none. Each has its number, so that
``torch.nn.Sequential(Linear, ReLU, Linear)`` has the names "0.weight", "0.bias", "2.weight" and "2.bias".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnpy._arrays import to_array
from nnpy._model import Model
from nnpy._scaler import Scaler

__all__ = ["SCALER_KEYS", "get_state", "layer_names", "scaler_of", "set_state"]

# The parameters of a scaler, in the order of its fields.
SCALER_KEYS = ("inputs.mean", "inputs.scale", "outputs.mean", "outputs.scale")


def layer_names(activations: tuple[str, ...]) -> list[str]:
    """Return the number of the Linear of each layer in a torch.nn.Sequential, as text."""
    names, position = [], 0
    for activation in activations:
        names.append(str(position))
        position += 1 if activation == "linear" else 2
    return names


def get_state(net: Model) -> dict[str, NDArray[Any]]:
    """Return copies of the parameters; see `NeuralNetwork.state_dict`."""
    state: dict[str, NDArray[Any]] = {}
    scaler = net.scaler
    if scaler is not None:
        state.update({key: a.copy() for key, a in zip(SCALER_KEYS[:2], scaler[:2], strict=True) if a is not None})
    for name, weights, biases in zip(layer_names(net.activations), net.weights, net.biases, strict=True):
        state[f"{name}.weight"], state[f"{name}.bias"] = weights.T.copy(), biases.copy()
    if scaler is not None:
        state.update({key: a.copy() for key, a in zip(SCALER_KEYS[2:], scaler[2:], strict=True) if a is not None})
    return state


def set_state(net: Model, state: Mapping[str, Any]) -> None:
    """Set the parameters and the scaler; see `NeuralNetwork.load_state_dict`. Everything is checked first."""
    if not isinstance(state, Mapping):
        raise TypeError(f"state must be a mapping of names to arrays, got {type(state).__name__}")
    names = layer_names(net.activations)
    shapes = {
        f"{name}.{kind}": shape
        for name, weights in zip(names, net.weights, strict=True)
        for kind, shape in (("weight", weights.T.shape), ("bias", weights.shape[1:]))
    }
    missing = [key for key in shapes if key not in state]
    unknown = [key for key in state if key not in shapes and key not in SCALER_KEYS]
    if missing or unknown:
        parts = [
            f"{what} {', '.join(map(repr, some[:8]))}{', ...' if len(some) > 8 else ''}"
            for what, some in (("missing", missing), ("unexpected", unknown))
            if some
        ]
        raise ValueError(f"the names in state are not those of the network: {'; '.join(parts)}")
    parameters = np.empty_like(net.parameters)
    first = 0
    for key, shape in shapes.items():
        array = _floats(state[key], key, shape)
        with np.errstate(over="ignore"):
            parameters[first : first + array.size] = array.T.ravel()
        first += array.size
    if not np.isfinite(parameters).all():
        raise ValueError("state has a number that is not finite in float32")
    scaler = scaler_of(state, net.layer_sizes[0], net.layer_sizes[-1])
    with net._lock:
        net.parameters[...] = parameters
        net._set_scaler(scaler)
        net._seed, net._can_choose_activation, net._can_choose_scaler = None, False, False


def scaler_of(state: Mapping[str, Any], num_inputs: int, num_outputs: int) -> Scaler | None:
    """Return the scaler in a state, or None if it has none."""
    if not any(key in state for key in SCALER_KEYS):
        return None
    lengths = (num_inputs, num_inputs, num_outputs, num_outputs)
    arrays = [
        _floats(state[key], key, (n,)) if key in state else None for key, n in zip(SCALER_KEYS, lengths, strict=True)
    ]
    mean, scale, y_mean, y_scale = (None if a is None else np.array(a, dtype=np.float64) for a in arrays)
    if mean is None or scale is None or (y_mean is None) != (y_scale is None):
        raise ValueError(f"of the scaler {', '.join(key for key in SCALER_KEYS if key in state)} alone is there")
    for key, array in zip(SCALER_KEYS, (mean, scale, y_mean, y_scale), strict=True):
        if array is not None and not (np.isfinite(array).all() and (key.endswith("mean") or (array > 0).all())):
            raise ValueError(f"{key!r} must be finite{'' if key.endswith('mean') else ' and positive'}")
    return Scaler(mean, scale, y_mean, y_scale)


def _floats(value: Any, name: str, shape: tuple[int, ...]) -> NDArray[Any]:
    """Return an array of real numbers in a certain shape, not converted."""
    array = to_array(value, name)
    if array.dtype.kind not in "fiu":
        raise TypeError(f"{name!r} must hold real numbers, got {array.dtype}")
    if array.shape != shape:
        raise ValueError(f"{name!r} must have the shape {shape}, got {array.shape}")
    return array
