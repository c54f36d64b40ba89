"""The losses, as small objects that `NeuralNetwork.fit` and other methods take; each has a name as well."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from nnpy._ffi import lib
from nnpy._validation import positive, real, use_python_numbers

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
    "find_loss",
]


@dataclass(frozen=True)
class Loss:
    """Base class of the losses. Each is summed over the outputs of a sample and averaged over the samples.

    With sample weights w, the average is sum_i w_i C_i / sum_i w_i, where C_i is the loss of sample i.

    Attributes
    ----------
    name : str
        The name by which `NeuralNetwork.fit` takes the loss with its default parameters.
    """

    name: ClassVar[str]
    _kind: ClassVar[int]
    _last_activations: ClassVar[tuple[str, ...]] = ()  # those that the last layer may have; empty for any

    def _fields(self) -> dict[str, Any]:
        """Return the fields of the C struct NNLoss."""
        return {"kind": self._kind, "parameter": 0.0}


@dataclass(frozen=True)
class MeanSquaredError(Loss):
    """The squared error, sum_j (a_j - y_j)**2; by name "mse". Summed over the outputs, averaged over the samples.

    Many libraries divide by the number of outputs as well; for one output there is no difference.
    """

    name = "mse"
    _kind = lib.NN_MSE


@dataclass(frozen=True)
class MeanAbsoluteError(Loss):
    """The absolute error, sum_j abs(a_j - y_j); by name "mae". Its minimum is the median of the targets.

    Summed over the outputs, averaged over the samples. The derivative at a = y is 0.
    """

    name = "mae"
    _kind = lib.NN_MAE


@dataclass(frozen=True)
class Huber(Loss):
    """The Huber loss: squared for small errors, linear for large ones, so that outliers count for less; by name "huber".

    (a - y)**2 / 2 where abs(a - y) <= delta, else delta (abs(a - y) - delta / 2). Summed over the outputs, averaged over the
    samples.

    Parameters
    ----------
    delta : float
        The error at which the squared part ends, positive. If targets are scaled, training takes it in units of the scaled
        targets, and `NeuralNetwork.loss` in units of y.

    Raises
    ------
    TypeError, ValueError
        If `delta` is not a positive number.

    Notes
    -----
    P. J. Huber, "Robust estimation of a location parameter", Annals of Mathematical Statistics 35, 1964.
    """

    delta: float = 1.0
    name = "huber"
    _kind = lib.NN_HUBER

    def __post_init__(self) -> None:
        use_python_numbers(self)
        positive(self.delta, "delta")

    def _fields(self) -> dict[str, Any]:
        return {"kind": self._kind, "parameter": float(self.delta)}


@dataclass(frozen=True)
class Pinball(Loss):
    """The pinball (quantile) loss: its minimum is a quantile of the targets; by name "pinball", which is the median.

    q (y - a) where a < y, else (1 - q) (a - y). Summed over the outputs, averaged over the samples.

    Parameters
    ----------
    quantile : float
        q, between 0 and 1: 0.9 for the value below which nine of ten targets lie.

    Raises
    ------
    TypeError, ValueError
        If `quantile` is not a number between 0 and 1.

    Notes
    -----
    R. Koenker and G. Bassett, "Regression quantiles", Econometrica 46, 1978.
    """

    quantile: float = 0.5
    name = "pinball"
    _kind = lib.NN_PINBALL

    def __post_init__(self) -> None:
        use_python_numbers(self)
        if not 0 < real(self.quantile, "quantile") < 1:
            raise ValueError(f"quantile must be between 0 and 1, got {self.quantile!r}")

    def _fields(self) -> dict[str, Any]:
        return {"kind": self._kind, "parameter": float(self.quantile)}


@dataclass(frozen=True)
class BinaryCrossEntropy(Loss):
    """The cross-entropy for outputs that are independent probabilities; by name "binary_cross_entropy" or "bce".

    -sum_j y_j log(p_j) + (1 - y_j) log(1 - p_j), with targets y from 0 to 1. The last layer is "sigmoid", and p is its output;
    or it is "linear", and p = sigmoid(a), the output a being a logit. Computed from the logits z as log(1 + exp(z)) - y z,
    which is finite for every z. Summed over the outputs, averaged over the samples.
    """

    name = "binary_cross_entropy"
    _kind = lib.NN_BINARY_CROSS_ENTROPY
    _last_activations = ("sigmoid", "linear")


@dataclass(frozen=True)
class CrossEntropy(Loss):
    """The cross-entropy of classes, -sum_j y_j log(a_j), for a last layer of "softmax"; by name "cross_entropy".

    Targets are integer labels of shape (n,), or rows of probabilities. Computed from the logits z as log(sum_i exp(z_i)) - z_j,
    which is finite for every z. Summed over the outputs, averaged over the samples.
    """

    name = "cross_entropy"
    _kind = lib.NN_CROSS_ENTROPY
    _last_activations = ("softmax",)


LOSSES: dict[str, Loss] = {
    loss.name: loss
    for loss in (MeanSquaredError(), MeanAbsoluteError(), Huber(), Pinball(), BinaryCrossEntropy(), CrossEntropy())
}

# Long and short names, and those of Keras and scikit-learn.
_ALIASES = {
    "mean_squared_error": "mse",
    "squared_error": "mse",
    "mean_absolute_error": "mae",
    "absolute_error": "mae",
    "quantile": "pinball",
    "bce": "binary_cross_entropy",
    "binary_crossentropy": "binary_cross_entropy",
    "categorical_crossentropy": "cross_entropy",
    "sparse_categorical_crossentropy": "cross_entropy",
}


def find_loss(loss: Loss | str | None) -> Loss | None:
    """Return the loss of that name; a TypeError or ValueError if there is none. None remains None."""
    if isinstance(loss, str):
        name = _ALIASES.get(loss, loss)
        if name not in LOSSES:
            raise ValueError(f"loss must be one of {', '.join((*LOSSES, *_ALIASES))}, got {loss!r}")
        return LOSSES[name]
    if loss is not None and not isinstance(loss, Loss):
        raise TypeError(f"loss must be a name such as 'mse' or an object such as nnpy.Huber(), got {loss!r}")
    return loss


def check_loss(loss: Loss | str | None, last_activation: str) -> Loss:
    """Return the loss, and check that it fits the last layer. None is cross-entropy for softmax, else the squared error."""
    found = find_loss(loss)
    if found is None:
        return LOSSES["cross_entropy" if last_activation == "softmax" else "mse"]
    if found._last_activations and last_activation not in found._last_activations:
        wanted = " or ".join(f'"{name}"' for name in found._last_activations)
        raise ValueError(
            f'the loss "{found.name}" needs {wanted} as the last activation, the network has "{last_activation}"'
        )
    return found
