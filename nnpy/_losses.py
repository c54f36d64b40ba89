"""What is made small: the losses, as small objects that `NeuralNetwork.fit` and others take, or by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from nnpy._ffi import lib
from nnpy._validation import positive, real

__all__ = [
    "LOSSES",
    "BinaryCrossEntropy",
    "CrossEntropy",
    "Huber",
    "Loss",
    "MeanAbsoluteError",
    "MeanSquaredError",
    "Pinball",
    "check_loss",
]


@dataclass(frozen=True)
class Loss:
    """The base of the losses. Each is summed over the outputs of a sample and averaged over the samples.

    With sample weights w, the average is sum_i w_i C_i / sum_i w_i, where C_i is the sum of sample i.
    """

    name: ClassVar[str]
    _kind: ClassVar[int]
    _last: ClassVar[tuple[str, ...]] = ()  # the activations that the last layer may have; any if there are none

    def _fields(self) -> dict[str, Any]:
        """What C is told."""
        return {"kind": self._kind, "parameter": 0.0}


@dataclass(frozen=True)
class MeanSquaredError(Loss):
    """The squared error, sum_j (a_j - y_j)**2, by name "mse". Summed over the outputs, averaged over the samples.

    That is the cost of the post, and `NeuralNetwork.mse`; many libraries divide by the number of outputs as well.
    """

    name = "mse"
    _kind = lib.NN_MSE


@dataclass(frozen=True)
class MeanAbsoluteError(Loss):
    """The absolute error, sum_j abs(a_j - y_j), by name "mean_absolute_error". The median makes it smallest.

    Summed over the outputs, averaged over the samples. Its derivative is taken as 0 where a = y.
    """

    name = "mean_absolute_error"
    _kind = lib.NN_MAE


@dataclass(frozen=True)
class Huber(Loss):
    """Huber's loss, by name "huber": squared for small errors, absolute for large ones, so that outliers count for less.

    (a - y)**2 / 2 where abs(a - y) <= delta, else delta (abs(a - y) - delta / 2). Summed over the outputs, averaged over the
    samples.

    Parameters
    ----------
    delta : float
        Where the one turns into the other, positive, in the units of y (after the scaler, if there is one).

    Notes
    -----
    P. J. Huber, "Robust estimation of a location parameter", Annals of Mathematical Statistics 35, 1964.
    """

    delta: float = 1.0
    name = "huber"
    _kind = lib.NN_HUBER

    def __post_init__(self) -> None:
        positive(self.delta, "delta")

    def _fields(self) -> dict[str, Any]:
        return {"kind": self._kind, "parameter": float(self.delta)}


@dataclass(frozen=True)
class Pinball(Loss):
    """The pinball loss, by name "pinball": its minimum is a quantile of the targets, the median by default.

    q (y - a) where a < y, else (1 - q) (a - y). Summed over the outputs, averaged over the samples.

    Parameters
    ----------
    quantile : float
        q, between 0 and 1: 0.9 for what nine of ten targets stay below.

    Notes
    -----
    R. Koenker and G. Bassett, "Regression quantiles", Econometrica 46, 1978.
    """

    quantile: float = 0.5
    name = "pinball"
    _kind = lib.NN_PINBALL

    def __post_init__(self) -> None:
        if not 0 < real(self.quantile, "quantile") < 1:
            raise ValueError(f"quantile must be between 0 and 1, got {self.quantile!r}")

    def _fields(self) -> dict[str, Any]:
        return {"kind": self._kind, "parameter": float(self.quantile)}


@dataclass(frozen=True)
class BinaryCrossEntropy(Loss):
    """The cross-entropy of outputs that are each a yes or a no, by name "binary_cross_entropy".

    -sum_j y_j log(p_j) + (1 - y_j) log(1 - p_j), with targets y from 0 to 1. The last layer is "sigmoid", and p its output; or
    it is "linear", and p = sigmoid(a), the output being a logit. It is computed from the logit, log(1 + exp(z)) - y z, which is
    finite for every z. Summed over the outputs, averaged over the samples.
    """

    name = "binary_cross_entropy"
    _kind = lib.NN_BINARY_CROSS_ENTROPY
    _last = ("sigmoid", "linear")


@dataclass(frozen=True)
class CrossEntropy(Loss):
    """The cross-entropy of classes, by name "cross_entropy": -sum_j y_j log(a_j), where the last layer is "softmax".

    Targets are integer labels of shape (n,), or rows of probabilities. It is computed from what softmax is taken of,
    log(sum_i exp(z_i)) - z_j, which is finite for every z. Summed over the outputs, averaged over the samples.
    """

    name = "cross_entropy"
    _kind = lib.NN_CROSS_ENTROPY
    _last = ("softmax",)


LOSSES: dict[str, Loss] = {
    loss.name: loss
    for loss in (MeanSquaredError(), MeanAbsoluteError(), Huber(), Pinball(), BinaryCrossEntropy(), CrossEntropy())
}


def check_loss(loss: Loss | str | None, last: str) -> Loss:
    """Return the loss, for a last layer of that activation: what suits it best if there is none."""
    if loss is None:
        return LOSSES["cross_entropy" if last == "softmax" else "mse"]
    if isinstance(loss, str):
        if loss not in LOSSES:
            raise ValueError(f"loss must be one of {', '.join(LOSSES)}, got {loss!r}")
        loss = LOSSES[loss]
    if not isinstance(loss, Loss):
        raise TypeError(f"loss must be a name such as 'mse' or an object such as nnpy.Huber(), got {loss!r}")
    if loss._last and last not in loss._last:
        wanted = " or ".join(f'"{name}"' for name in loss._last)
        raise ValueError(f'the loss "{loss.name}" needs {wanted} as the last activation, the network has "{last}"')
    return loss
