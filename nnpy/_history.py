"""What a training went through."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["DivergenceError", "History"]


class History:
    """What a training went through, epoch by epoch.

    `NeuralNetwork.fit` returns it, and hands it to the callbacks after each epoch. Arrays are float64, one number an epoch.

    Attributes
    ----------
    stopped : str
        Why the training ended: "epochs" (all are done), "early" (early stopping), "callback", "converged" (no step makes the
        loss smaller), "interrupt" (Ctrl-C), or "" while it goes on.
    best_epoch : int or None
        With early stopping, the epoch whose parameters the network has now, from 0.
    """

    def __init__(self) -> None:
        self._columns: dict[str, list[float]] = {"loss": [], "learning_rate": [], "seconds": []}
        self.stopped = ""
        self.best_epoch: int | None = None

    def _append(self, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._columns.setdefault(name, []).append(float(value))

    def _column(self, name: str) -> NDArray[np.float64]:
        return np.array(self._columns[name], dtype=np.float64)

    @property
    def loss(self) -> NDArray[np.float64]:
        """Mean training loss of each epoch: that of each sample as it was before the step that the sample was part of.

        With `LBFGS` and `LevenbergMarquardt` it is the loss after the epoch, which is an iteration.
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
        """Time that each epoch took, in seconds, validation included."""
        return self._column("seconds")

    @property
    def metrics(self) -> Mapping[str, NDArray[np.float64]]:
        """The metrics after each epoch by name, such as "val_accuracy"."""
        names = [name for name in self._columns if name not in {"loss", "val_loss", "learning_rate", "seconds"}]
        return MappingProxyType({name: self._column(name) for name in names})

    def __len__(self) -> int:
        """Return the number of epochs that are done."""
        return len(self._columns["loss"])

    def to_dict(self) -> dict[str, list[float]]:
        """Return lists of numbers by name, one an epoch: what json.dump and pandas.DataFrame take."""
        return {name: list(values) for name, values in self._columns.items()}

    def plot(self, ax: Any = None) -> Any:
        """Draw the losses over the epochs.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Where to; by default on a new figure.

        Returns
        -------
        ax : matplotlib.axes.Axes

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        from nnpy import plot

        return plot.losses(self, ax)

    def _draw(self, ax: Any) -> None:
        epochs = np.arange(1, len(self) + 1)
        ax.plot(epochs, self.loss, label="training")
        if self.val_loss is not None:
            ax.plot(epochs, self.val_loss, label="validation")
            ax.legend()
        if self.best_epoch is not None:
            ax.axvline(self.best_epoch + 1, color="gray", linestyle=":")
        ax.set_xlabel("epoch")
        ax.set_ylabel("loss")
        if len(self) and min(self.loss.min(), np.inf if self.val_loss is None else self.val_loss.min()) > 0:
            ax.set_yscale("log")

    def _repr_html_(self) -> str:
        """Draw the curves, for a notebook, with a table of the first, the last and the best epoch."""
        from nnpy import _html

        return _html.history(self)

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
    """The loss or a parameter is no longer finite. The network has the last parameters that were.

    Attributes
    ----------
    epoch, batch : int
        Where it happened, both from 0.
    history : History or None
        The epochs that were done before, where `NeuralNetwork.fit` raised it.
    """

    def __init__(self, message: str, *, epoch: int = 0, batch: int = 0, history: History | None = None) -> None:
        super().__init__(message)
        self.epoch, self.batch, self.history = epoch, batch, history
