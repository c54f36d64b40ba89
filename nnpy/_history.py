"""The record of training: losses, metrics and learning rates by epoch; and the error for training that diverges."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

__all__ = ["DivergenceError", "History", "divergence_in_batch", "divergence_in_iteration"]


class History:
    """The record of training: losses, metrics and learning rates, epoch by epoch.

    `NeuralNetwork.fit` returns it, and passes it to the callbacks after each epoch. Arrays are float64, one number per epoch.
    `nnpy.plot.losses` draws it.

    Attributes
    ----------
    stopped : str
        Why the training ended: "epochs" (all epochs are done), "early" (early stopping), "callback", "converged" (no step
        reduces the loss), "interrupt" (Ctrl-C), or "" while it goes on.
    chosen : str
        What `fit` chose to suit the data, where its arguments left it open, such as "inputs standardised; 40 epochs by 5-fold
        cross-validation".
    best_epoch : int or None
        With early stopping, the epoch whose parameters the network has now. Epochs are counted from 1: the loss of that epoch
        is ``history.loss[best_epoch - 1]``.
    """

    def __init__(self) -> None:
        # The lists may be longer than the number of epochs, if Ctrl-C came while an epoch was added.
        self._columns: dict[str, list[float]] = {"loss": [], "learning_rate": [], "seconds": []}
        self._num_epochs = 0
        self.stopped = ""
        self.chosen = ""
        self.best_epoch: int | None = None

    def append(self, values: Mapping[str, float]) -> None:
        """Add an epoch: a number for each column."""
        self.extend({name: [float(value)] for name, value in values.items()}, 1)

    def extend(self, columns: Mapping[str, list[float]], num_epochs: int) -> None:
        """Add some epochs: a list for each column."""
        for name, values in columns.items():
            self._columns.setdefault(name, [])[self._num_epochs :] = values
        self._num_epochs += num_epochs

    def last(self, name: str) -> float:
        """Return the value of a column in the last epoch."""
        return self._columns[name][self._num_epochs - 1]

    def _column(self, name: str) -> NDArray[np.float64]:
        return np.array(self._columns[name][: self._num_epochs], dtype=np.float64)

    @property
    def loss(self) -> NDArray[np.float64]:
        """Mean training loss of each epoch. The loss of each sample is taken before the step that the sample is part of.

        With `LBFGS` and `LevenbergMarquardt` it is the loss after the epoch, which is one iteration. If targets are scaled, it
        is the loss of the scaled targets, and so is `val_loss`.
        """
        return self._column("loss")

    @property
    def val_loss(self) -> NDArray[np.float64] | None:
        """Loss of the validation data after each epoch, or None without such data."""
        return self._column("val_loss") if "val_loss" in self._columns else None

    @property
    def learning_rate(self) -> NDArray[np.float64]:
        """Learning rate at the end of each epoch; NaN for an optimiser without one."""
        return self._column("learning_rate")

    @property
    def seconds(self) -> NDArray[np.float64]:
        """Duration of each epoch in seconds, validation included."""
        return self._column("seconds")

    @property
    def metrics(self) -> Mapping[str, NDArray[np.float64]]:
        """The metrics after each epoch by name, such as "val_accuracy"."""
        names = [name for name in self._columns if name not in {"loss", "val_loss", "learning_rate", "seconds"}]
        return MappingProxyType({name: self._column(name) for name in names})

    def __len__(self) -> int:
        """Return the number of epochs that are done."""
        return self._num_epochs

    def to_dict(self) -> dict[str, list[float]]:
        """Return all columns, for json.dump or pandas.DataFrame.

        Returns
        -------
        columns : dict of str to list of float
            "loss", "learning_rate", "seconds" and, where they were computed, "val_loss" and the metrics; a number for each
            epoch.
        """
        return {name: values[: self._num_epochs] for name, values in self._columns.items()}

    def _repr_html_(self) -> str:
        """Draw the curves in a notebook, with a table of the first, the last and the best epoch."""
        from nnpy import _html

        return _html.history(repr(self)[1:-1], self.chosen, self.to_dict(), self.best_epoch)

    def __repr__(self) -> str:
        if not len(self):
            return "<History of 0 epochs>"
        parts = [f"loss {self.loss[0]:.4g} to {self.loss[-1]:.4g}"]
        if self.val_loss is not None:
            parts.append(f"val_loss {self.val_loss[0]:.4g} to {self.val_loss[-1]:.4g}")
        if self.best_epoch is not None:
            parts.append(f"best epoch {self.best_epoch}")
        if self.stopped in {"early", "interrupt", "converged", "callback"}:
            parts.append(f"stopped: {self.stopped}")
        plural = "epoch" if len(self) == 1 else "epochs"
        return f"<History of {len(self)} {plural}, {', '.join(parts)}>"


class DivergenceError(ArithmeticError):
    """The loss or a parameter became NaN or infinite. The network has its last finite parameters.

    Attributes
    ----------
    epoch, batch : int
        Where it happened, both counted from 1; for `NeuralNetwork.gradient_descent` the epoch is the iteration.
    history : History or None
        The epochs that were completed before, if `NeuralNetwork.fit` raised it.
    """

    def __init__(self, message: str, *, epoch: int = 1, batch: int = 1, history: History | None = None) -> None:
        super().__init__(message)
        self.epoch, self.batch, self.history = epoch, batch, history


def divergence_in_batch(epoch: int, batch: int) -> DivergenceError:
    """Return the error of mini-batch training."""
    return DivergenceError(
        f"training diverged in epoch {epoch}, batch {batch}: the loss or a parameter became NaN or infinite. The network "
        "has its last finite parameters; a smaller learning rate, clip_norm or scaled inputs may help",
        epoch=epoch,
        batch=batch,
    )


def divergence_in_iteration(iteration: int) -> DivergenceError:
    """Return the error of `NeuralNetwork.gradient_descent`."""
    return DivergenceError(
        f"training diverged in iteration {iteration}: the loss or a parameter became NaN or infinite. The network "
        "has its last finite parameters; a smaller rate may help",
        epoch=iteration,
    )
