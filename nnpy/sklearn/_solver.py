"""Trains a network epoch by epoch, with the mini-batches, penalty and learning rates of scikit-learn's MLPs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nnpy._backend import backend
from nnpy._network import NeuralNetwork
from nnpy._optimizers import SGD, Adam, Optimizer, OptimizerState
from nnpy._samples import Samples
from nnpy._training.options import FitOptions, Settings
from nnpy._training.trainer import Trainer

__all__ = ["Data", "EpsilonAdam", "MomentumSGD", "Solver"]


class Data(NamedTuple):
    """Samples for the network: x of shape (n, inputs); y is labels, int32 of shape (n,), or float32 of shape (n, outputs)."""

    x: NDArray[np.float32]
    y: NDArray[np.float32] | NDArray[np.int32]
    weights: NDArray[np.float64] | None = None

    def part(self, rows: Any) -> Data:
        """Return the samples in these rows."""
        return Data(self.x[rows], self.y[rows], None if self.weights is None else self.weights[rows])

    def samples(self, weights: NDArray[np.float64] | None = None) -> Samples:
        """Describe the samples to C, with weights that need not be those of the data."""
        return Samples.of(
            self.x, self.y, self.y, None if weights is None else np.ascontiguousarray(weights, dtype=np.float32)
        )


@dataclass(frozen=True)
class MomentumSGD(SGD):
    """SGD with a momentum from 0 to 1, and Nesterov's without momentum as well: scikit-learn allows both."""

    def __post_init__(self) -> None:
        pass  # scikit-learn has checked the parameters


@dataclass(frozen=True)
class EpsilonAdam(Adam):
    """Adam with epsilon added before the bias correction."""

    def __post_init__(self) -> None:
        pass  # scikit-learn has checked the parameters

    def _fields(self) -> dict[str, Any]:
        return {**super()._fields(), "epsilon_before_correction": 1}


class Solver:
    """An optimiser with its state and the learning rate of the moment.

    Parameters
    ----------
    optimizer : Optimizer
    num_parameters : int
    schedule : {"constant", "invscaling", "adaptive"}
        The `learning_rate` of scikit-learn's MLPs.
    power_t : float
        The exponent of "invscaling".
    """

    def __init__(
        self, optimizer: Optimizer, num_parameters: int, *, schedule: str = "constant", power_t: float = 0.5
    ) -> None:
        self._optimizer, self._schedule, self._power_t = optimizer, schedule, power_t
        self._first_rate = getattr(optimizer, "learning_rate", None)
        self._state = OptimizerState(optimizer, num_parameters)

    def train_epoch(
        self,
        net: NeuralNetwork,
        data: Data,
        options: FitOptions,
        *,
        epoch: int,
        batch_size: int,
        alpha: float,
        is_checked: bool,
    ) -> float:
        """Take the steps of an epoch, on mini-batches in the order of the data.

        The loss of a mini-batch is the mean over its samples, weighted by data.weights, plus the penalty: alpha / 2 times the
        sum of the squared weights of the network, divided by the number of samples in the mini-batch, or by the sum of their
        weights.

        Returns
        -------
        loss : float
            The mean loss of the samples, each taken before the step on its mini-batch, without the penalty.
        """
        num, total = len(data.x), 0.0
        settings = Settings.check(net, replace(options, optimizer=self._optimizer, batch_size="auto", shuffle=False))
        if self._state.function is not None or self._optimizer._is_full_batch:
            batch_size = num
        else:
            settings = replace(settings, batch_size=batch_size)
        for start, stop, weight_sum in self._spans(data, batch_size):
            part = data.part(slice(start, stop))
            weights = None if part.weights is None else part.weights * (len(part.x) / weight_sum)
            size = weight_sum if part.weights is not None else min(batch_size, stop - start)
            trainer = Trainer(net, replace(settings, l2=alpha / size), backend=backend, state=self._state)
            span = (start / num, stop / num)
            trainer.advance(part.samples(weights), epoch, 1, span=span, inputs_checked=is_checked)
            total += trainer.losses[0] * len(part.x)
        return total / num

    @staticmethod
    def _spans(data: Data, batch_size: int) -> list[tuple[int, int, float]]:
        """Return the begin and end of parts whose mini-batches have the same penalty, and the sum of the weights of a part."""
        num = len(data.x)
        if data.weights is None:
            middle = num - num % batch_size
            return [(start, stop, 0.0) for start, stop in ((0, middle), (middle, num)) if start < stop]
        starts = range(0, num, batch_size)
        spans = [(start, min(start + batch_size, num)) for start in starts]
        sums = [(start, stop, float(data.weights[start:stop].sum())) for start, stop in spans]
        return [span for span in sums if span[2] > 0]  # a mini-batch without weight has no loss

    # ---- The learning rate ----

    def end_epoch(self, num_samples: int) -> None:
        """Change the learning rate after an epoch, when that number of samples has been seen since the beginning."""
        if self._schedule == "invscaling":
            self._set_learning_rate(self._first_rate / (num_samples + 1) ** self._power_t)

    def stop(self, message: str, *, verbose: bool) -> bool:
        """Return whether to stop when the loss does not improve. "adaptive" divides the rate by 5 first, until 1e-6."""
        if self._schedule != "adaptive":
            answer = "Stopping."
        elif self._optimizer.learning_rate <= 1e-6:  # type: ignore[attr-defined]
            answer = "Learning rate too small. Stopping."
        else:
            self._set_learning_rate(self._optimizer.learning_rate / 5)  # type: ignore[attr-defined]
            answer = f"Setting learning rate to {self._optimizer.learning_rate:f}"  # type: ignore[attr-defined]
        if verbose:
            print(message, answer)  # noqa: T201
        return answer.endswith("Stopping.")

    def _set_learning_rate(self, value: float) -> None:
        """Change the learning rate. scikit-learn's momentum is of steps, which do not change; that of nnpy is of gradients."""
        if value > 0:
            self._state.buffer *= self._optimizer.learning_rate / value  # type: ignore[attr-defined]
        self._optimizer = replace(self._optimizer, learning_rate=value)  # type: ignore[call-arg]
