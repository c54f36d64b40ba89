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
    """Samples for the network, in the rows of arrays.

    x has the shape (num_rows, inputs); y is labels, int32 of shape (num_rows,), or float32 of shape (num_rows, outputs). `rows`
    are those of the samples, in their order; None for all.
    """

    x: NDArray[np.float32]
    y: NDArray[np.float32] | NDArray[np.int32]
    weights: NDArray[np.float64] | None = None
    rows: NDArray[np.uintp] | None = None

    @property
    def num_samples(self) -> int:
        """The number of samples."""
        return len(self.x if self.rows is None else self.rows)

    def part(self, numbers: NDArray[np.intp]) -> Data:
        """Return the samples with these numbers, in this order, without a copy of x and y."""
        rows = numbers.astype(np.uintp) if self.rows is None else self.rows[numbers]
        return self._replace(rows=rows)

    def copied(self, numbers: slice = slice(None)) -> Data:
        """Return some samples in arrays of their own."""
        rows = numbers if self.rows is None else self.rows[numbers]
        return Data(self.x[rows], self.y[rows], None if self.weights is None else self.weights[rows])

    def samples(self, scale: float = 1.0) -> Samples:
        """Describe the samples to C. scale: a factor of their weights."""
        weights = None if self.weights is None else (self.weights * scale).astype(np.float32)
        return Samples.of(self.x, self.y, self.y, weights, rows=self.rows)


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
        self._trainer: Trainer | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_trainer": None}

    def begin(self, net: NeuralNetwork, options: FitOptions, *, batch_size: int, alpha: float) -> None:
        """Prepare for epochs with these options and this penalty: alpha / 2 times the sum of the squared weights.

        The penalty belongs to the sum of the losses of a mini-batch. `optimizer`, `l2`, `batch_size` and `shuffle` of the
        options are not used.
        """
        options = replace(options, optimizer=self._optimizer, l2=alpha, batch_size="auto", shuffle=False)
        settings = Settings.check(net, options)
        if settings.batch_size is not None:  # a full-batch method needs None
            settings = replace(settings, batch_size=batch_size)
        self._trainer = Trainer(net, settings, backend=backend, state=self._state)

    def train_epoch(self, data: Data, epoch: int, *, inputs_checked: bool) -> float:
        """Take the steps of an epoch, on mini-batches in the order of the data.

        Returns
        -------
        loss : float
            The mean loss of the samples, each taken before the step on its mini-batch, without the penalty. The loss of a
            mini-batch is a weighted mean, if the data have weights.
        """
        assert self._trainer is not None
        if data.weights is None:
            self._advance(data.samples(), epoch, penalty_samples=0, inputs_checked=inputs_checked)
            return self._trainer.epochs.losses[0]
        num, total = data.num_samples, 0.0
        size = self._trainer.batch_size(num)
        for start in range(0, num, size):
            part = data.copied(slice(start, start + size))
            weight_sum = float(part.weights.sum())  # type: ignore[union-attr]
            if weight_sum > 0:
                samples = part.samples(len(part.x) / weight_sum)
                span = (start / num, min(start + size, num) / num)
                self._advance(samples, epoch, span=span, penalty_samples=weight_sum, inputs_checked=inputs_checked)
                total += self._trainer.epochs.losses[0] * len(part.x)
        return total / num

    def _advance(
        self,
        samples: Samples,
        epoch: int,
        *,
        span: tuple[float, float] = (0.0, 1.0),
        penalty_samples: float,
        inputs_checked: bool,
    ) -> None:
        """Take the steps on some samples. penalty_samples divides the penalty; if it is 0, the size of the mini-batch does."""
        trainer = self._trainer
        assert trainer is not None
        alpha = trainer.settings.l2
        if self._state.function is None:
            self._state.c.l2_of_batch = penalty_samples == 0
        trainer.l2 = alpha / (penalty_samples or (len(samples) if self._state.function is not None else 1))
        trainer.advance(samples, epoch, 1, span=span, inputs_checked=inputs_checked)

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

    @property
    def learning_rate(self) -> Any:
        """The learning rate of the next step, as scikit-learn's optimisers have it."""
        return getattr(self._optimizer, "learning_rate", None)

    def _set_learning_rate(self, value: float) -> None:
        """Change the learning rate. scikit-learn's momentum is of steps, which do not change; that of nnpy is of gradients."""
        if value > 0:
            self._state.buffer *= self._optimizer.learning_rate / value  # type: ignore[attr-defined]
        self._optimizer = replace(self._optimizer, learning_rate=value)  # type: ignore[call-arg]
        if self._trainer is not None:
            self._trainer.set_learning_rate(value)
