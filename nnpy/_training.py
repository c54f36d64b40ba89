"""What `fit` takes and gives: optimisers and the history."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnpy._c import lib
from nnpy._checks import positive, real

__all__ = ["Adam", "GradientDescent", "History", "Optimizer"]


@dataclass(frozen=True)
class GradientDescent:
    """Plain gradient descent: parameters -= rate * gradient.

    Parameters
    ----------
    rate : float
        The learning rate, positive.
    """

    rate: float = 0.1

    def __post_init__(self) -> None:
        positive(self.rate, "rate")

    def _fields(self) -> dict[str, Any]:
        """What C is told."""
        return {"kind": lib.NN_GRADIENT_DESCENT, "rate": float(self.rate)}


@dataclass(frozen=True)
class Adam:
    """Adam: steps in proportion to the mean of the gradient over the root of its mean square, both of the recent past.

    Parameters
    ----------
    rate : float
        The learning rate, positive.
    beta1, beta2 : float
        How much of the past means is kept at a step, from 0 to less than 1.
    epsilon : float
        Added to the root, positive.

    Notes
    -----
    D. P. Kingma and J. Ba, "Adam: a method for stochastic optimization", ICLR 2015, algorithm 1.
    """

    rate: float = 1e-3
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8

    def __post_init__(self) -> None:
        positive(self.rate, "rate")
        positive(self.epsilon, "epsilon")
        for name in ("beta1", "beta2"):
            value = real(getattr(self, name), name)
            if not 0 <= value < 1:
                raise ValueError(f"{name} must be from 0 to less than 1, got {value!r}")

    def _fields(self) -> dict[str, Any]:
        return {
            "kind": lib.NN_ADAM,
            "rate": float(self.rate),
            "beta1": float(self.beta1),
            "beta2": float(self.beta2),
            "epsilon": float(self.epsilon),
        }


Optimizer = GradientDescent | Adam


class History:
    """What a training went through.

    Attributes
    ----------
    loss : ndarray of float32, shape (epochs,)
        Mean loss of each epoch: that of each sample as it was before the step that the sample was part of.
    """

    def __init__(self, loss: NDArray[np.float32]) -> None:
        self.loss = loss

    def __repr__(self) -> str:
        last = f", loss {self.loss[0]:.4g} to {self.loss[-1]:.4g}" if len(self.loss) else ""
        return f"<History of {len(self.loss)} epochs{last}>"


def epochs_per_call(seconds_per_epoch: float) -> int:
    """How many epochs C may do before Python has a look: some tenths of a second of them."""
    if seconds_per_epoch <= 0:
        return 1
    return max(1, math.floor(0.2 / seconds_per_epoch))
