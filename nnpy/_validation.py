"""Checks of the arguments that are not arrays."""

from __future__ import annotations

import math
import operator
import os
from collections.abc import Sequence

import numpy as np

from nnpy._ffi import lib

__all__ = [
    "FUNCTIONS",
    "check_functions",
    "check_layer_sizes",
    "integer",
    "not_negative",
    "positive",
    "random_seed",
    "real",
]

FLOAT_MAX = float(np.finfo(np.float32).max)

FUNCTIONS = {
    "sigmoid": lib.NN_SIGMOID,
    "tanh": lib.NN_TANH,
    "relu": lib.NN_RELU,
    "linear": lib.NN_LINEAR,
    "softmax": lib.NN_SOFTMAX,
    "leaky_relu": lib.NN_LEAKY_RELU,
    "elu": lib.NN_ELU,
    "softplus": lib.NN_SOFTPLUS,
    "silu": lib.NN_SILU,
    "gelu": lib.NN_GELU,
}


def check_layer_sizes(sizes: Sequence[int]) -> tuple[int, ...]:
    """Return the sizes as a tuple of at least two positive integers that C can multiply."""
    try:
        if isinstance(sizes, (str, bytes)):
            raise TypeError
        given = tuple(sizes)
        if any(isinstance(size, (bool, np.bool_)) for size in given):
            raise TypeError
        sizes = tuple(map(operator.index, given))
    except TypeError:
        raise TypeError(f"layer_sizes must be a sequence of integers such as [2, 2, 1], got {sizes!r}") from None
    if len(sizes) < 2:
        raise ValueError(f"layer_sizes must have at least 2 entries, the inputs and the outputs, got {list(sizes)}")
    if min(sizes) < 1:
        raise ValueError(f"layer_sizes must be positive, got {list(sizes)}")
    if max(sizes) >= 2**63 or math.prod(sizes[:2]) >= 2**63:
        raise MemoryError(f"not enough memory for a network with layers of {list(sizes)} neurons")
    return sizes


def check_functions(activations: str | Sequence[str], num_layers: int) -> tuple[str, ...]:
    """Return the name of the function of each layer but the inputs."""
    if not isinstance(activations, (str, Sequence)):
        raise TypeError(f"activations must be a name or a sequence of names, got {activations!r}")
    names = (activations,) * num_layers if isinstance(activations, str) else tuple(activations)
    for name in names:
        if not isinstance(name, str) or name not in FUNCTIONS:
            raise ValueError(f"an activation must be one of {', '.join(FUNCTIONS)}, got {name!r}")
    if len(names) != num_layers:
        raise ValueError(
            f"activations must be one name, or {num_layers}, one for each layer but the inputs, got {list(names)}"
        )
    if "softmax" in names[:-1]:
        raise ValueError(f"softmax is for the last layer alone, got {list(names)}")
    return names


def random_seed(bits: int) -> int:
    """Return a number from 0 to 2**bits - 1 that is another one each time."""
    return int.from_bytes(os.urandom(bits // 8), "little")


def integer(value: int, name: str, low: int, high: int) -> int:
    """Return an integer from low to high."""
    if isinstance(value, (bool, np.bool_)) or not hasattr(type(value), "__index__"):
        raise TypeError(f"{name} must be an integer, got {value!r}")
    value = operator.index(value)
    if not low <= value <= high:
        raise ValueError(f"{name} must be from {low} to {high}, got {value}")
    return value


def real(value: float, name: str) -> float:
    """Return a number that is finite in float32."""
    if isinstance(value, (bool, np.bool_, str, bytes)):
        raise TypeError(f"{name} must be a real number, got {value!r}")
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be a real number, got {value!r}") from None
    except OverflowError:
        number = math.inf
    if not abs(number) <= FLOAT_MAX:
        raise ValueError(f"{name} must be finite in float32, got {value!r}")
    return number


def not_negative(value: float, name: str) -> float:
    """Return a number that is finite in float32 and not negative."""
    number = real(value, name)
    if number < 0:
        raise ValueError(f"{name} must not be negative, got {value!r}")
    return number


def positive(value: float, name: str) -> float:
    """Return a number that is finite and positive in float32."""
    number = real(value, name)
    if np.float32(number) <= 0:
        raise ValueError(f"{name} must be positive in float32, got {value!r}")
    return number
