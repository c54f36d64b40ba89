"""Compares a network with the module or model of another library that it was read from, on a few rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnpy._network import NeuralNetwork

__all__ = ["agrees", "some_rows"]

_NUM_ROWS = 5
_TOLERANCE = 1e-3  # of the largest output; what is read wrongly differs by more


def some_rows(net: NeuralNetwork) -> NDArray[np.float64]:
    """Return random inputs of the sizes that the scaler of the network expects, shape (5, n_inputs)."""
    x = np.random.default_rng(0).normal(size=(_NUM_ROWS, net.layer_sizes[0]))
    return x if net.scaler is None else x * net.scaler.x_scale + net.scaler.x_mean


def agrees(net: NeuralNetwork, x: NDArray[Any], outputs: NDArray[np.float64], *, tolerance: float = 0.0) -> bool:
    """Whether the network has these outputs for x, up to rounding. tolerance: a larger one, for numbers with fewer digits."""
    expected = np.asarray(net.predict(x), dtype=np.float64)
    atol = max(_TOLERANCE, tolerance) * max(1.0, np.abs(expected).max())
    return outputs.size == expected.size and np.allclose(outputs.ravel(), expected.ravel(), rtol=0, atol=atol)
