"""The activation functions by name: their numbers in C and the range of their outputs. The formulas are in csrc/nn.h."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from nnpy._ffi import lib
from nnpy._validation import short_list

__all__ = ["ACTIVATIONS", "Activation", "check_activations"]


class Activation(NamedTuple):
    """An activation function.

    Attributes
    ----------
    kind : int
        The constant of nn.h, such as NN_RELU.
    low, high : float
        The smallest and the largest output (or their limits).
    is_homogeneous : bool
        Whether f(s z) = s f(z) for every s > 0 and f takes all values, so that scaled targets make sense.
    """

    kind: int
    low: float
    high: float
    is_homogeneous: bool = False

    def describe_range(self) -> str:
        """Say which outputs are possible, for an error message."""
        if self.high == math.inf:
            return f"at least {self.low:g}"
        return f"from {self.low:g} to {self.high:g}"


ACTIVATIONS = {
    "sigmoid": Activation(lib.NN_SIGMOID, 0.0, 1.0),
    "tanh": Activation(lib.NN_TANH, -1.0, 1.0),
    "relu": Activation(lib.NN_RELU, 0.0, math.inf),
    "linear": Activation(lib.NN_LINEAR, -math.inf, math.inf, is_homogeneous=True),
    "softmax": Activation(lib.NN_SOFTMAX, 0.0, 1.0),
    "leaky_relu": Activation(lib.NN_LEAKY_RELU, -math.inf, math.inf, is_homogeneous=True),
    "elu": Activation(lib.NN_ELU, -1.0, math.inf),
    "softplus": Activation(lib.NN_SOFTPLUS, 0.0, math.inf),
    "silu": Activation(lib.NN_SILU, -0.2785, math.inf),  # the minimum is at z = -1.2785
    "gelu": Activation(lib.NN_GELU, -0.17, math.inf),  # the minimum is at z = -0.7518
}

# The names in Keras and PyTorch ("swish"), and in scikit-learn.
_ALIASES = {"swish": "silu", "identity": "linear", "logistic": "sigmoid"}


def check_activations(activations: str | Sequence[str], num_layers: int) -> tuple[str, ...]:
    """Return the name of the activation of each layer after the inputs."""
    if not isinstance(activations, (str, Sequence)):
        raise TypeError(f"activations must be a name or a sequence of names, got {activations!r}")
    given = (activations,) * num_layers if isinstance(activations, str) else tuple(activations)
    for name in given:
        if not isinstance(name, str) or (name not in ACTIVATIONS and name not in _ALIASES):
            raise ValueError(f"an activation must be one of {', '.join((*ACTIVATIONS, *_ALIASES))}, got {name!r}")
    names = tuple(_ALIASES.get(name, name) for name in given)
    if len(names) != num_layers:
        raise ValueError(
            f"activations must be one name, or {num_layers}, one for each layer after the inputs, got {short_list(names)}"
        )
    if "softmax" in names[:-1]:
        raise ValueError(f"softmax is for the last layer only, got {short_list(names)}")
    return names
