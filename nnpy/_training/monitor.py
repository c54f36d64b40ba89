"""What is monitored after each epoch: validation loss, metrics, early stopping, callbacks, and the line that is printed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from nnpy._history import History
from nnpy._metrics import Metric, measure
from nnpy._model import Model
from nnpy._samples import Samples
from nnpy._training.early_stopping import EarlyStopping
from nnpy._training.options import Callback, Settings

__all__ = ["Monitor"]


class Monitor:
    """Measures the network after each epoch, and decides whether training goes on.

    Attributes
    ----------
    early_stopping : EarlyStopping or None
    best_parameters : ndarray or None
        With early stopping, the parameters of the best epoch so far.
    """

    def __init__(
        self,
        model: Model,
        settings: Settings,
        *,
        validation: Samples | None,
        training: Samples | None,
        metrics: Mapping[str, Metric],
        early_stopping: EarlyStopping | None,
        callbacks: Sequence[Callback],
        verbose: int,
    ) -> None:
        """Create a monitor. Metrics are computed on `validation`, or on `training` if there is no validation data."""
        self._model, self._settings = model, settings
        self._validation, self._training, self._metrics = validation, training, metrics
        self._callbacks, self._verbose = callbacks, verbose
        self.early_stopping = early_stopping
        self.best_parameters: NDArray[np.float32] | None = None
        self._best_value, self._best_epoch, self._epochs_without_improvement = math.inf, 0, 0
        if early_stopping is not None:
            names = ["loss"] + (["val_loss"] if validation else []) + list(metrics)
            self._column = early_stopping.monitor or ("val_loss" if validation else "loss")
            if self._column not in names:
                raise ValueError(f"monitor must be one of {', '.join(names)}, got {self._column!r}")
            is_score = "accuracy" in self._column or self._column.endswith("r2")
            self._maximize = (early_stopping.mode or ("max" if is_score else "min")) == "max"

    @property
    def columns(self) -> list[str]:
        """The columns of the history that the monitor measures."""
        return ["val_loss"] * (self._validation is not None) + list(self._metrics)

    def fingerprint(self) -> str:
        """Return what must be the same when training is resumed, so that the result has the same bits."""
        parts = sorted(self.columns, key=lambda name: (name != "val_loss", name))
        if self.early_stopping is not None:
            direction = "high" if self._maximize else "low"
            parts.append(f"early stopping for a {direction} {self._column} by {self.early_stopping.min_delta}")
        return ", ".join(parts) or "nothing monitored"

    @property
    def is_idle(self) -> bool:
        """Whether there is nothing to do after an epoch, so that one call of C can train for many epochs."""
        return not (self._validation or self._metrics or self.early_stopping or self._callbacks or self._verbose)

    def measure(self) -> dict[str, float]:
        """Compute the validation loss and the metrics, in one forward pass."""
        values: dict[str, float] = {}
        samples = self._training if self._validation is None else self._validation
        if samples is None or not (self._validation or self._metrics):
            return values
        out32 = np.empty((len(samples), self._model.layer_sizes[-1]), np.float32) if self._metrics else None
        loss = self._model._evaluate(samples, self._settings.loss, out=out32)
        if self._validation is not None:
            values["val_loss"] = loss
        if out32 is not None:
            out = self._model._in_units(out32, self._model._scaling)
            values |= measure(self._metrics, samples.given_y, out)
        return values

    def after_epoch(self, history: History) -> str:
        """Update early stopping, print the line and call the callbacks; return the reason to stop, or an empty string."""
        stopped = ""
        if self.early_stopping is not None:
            should_stop = self.update_best(history.last(self._column), len(history), self._model.parameters)
            stopped = "early" if should_stop else ""
        if self._verbose:
            print(_line(history, self._settings.epochs), flush=True)  # noqa: T201
        for callback in self._callbacks:
            answer = callback(self._model, history)
            if isinstance(answer, (bool, np.bool_)) and answer:
                stopped = stopped or "callback"
        return stopped

    def update_best(self, value: float, epoch: int, parameters: NDArray[np.float32] | None) -> bool:
        """Update early stopping with the value of an epoch; copy the parameters if it is the best; return whether to stop."""
        assert self.early_stopping is not None
        value = -value if self._maximize else value
        self._epochs_without_improvement += 1
        if value < self._best_value - self.early_stopping.min_delta or self._best_epoch == 0:
            self._epochs_without_improvement = 0
            copy = None if parameters is None else parameters.copy()
            value = math.inf if math.isnan(value) else value
            # Together: Ctrl-C may come at any moment.
            self._best_value, self._best_epoch, self.best_parameters = value, epoch, copy
        return self._epochs_without_improvement >= self.early_stopping.patience

    def replay(self, history: History, epoch: int) -> None:
        """Update early stopping with an epoch of a history that was read from a file."""
        if self.early_stopping is not None:
            self.update_best(history.last(self._column), epoch, None)

    def restore_best(self, history: History) -> None:
        """Give the network its best parameters back, if there was early stopping."""
        if self.best_parameters is not None:
            self._model.parameters = self.best_parameters
            history.best_epoch = self._best_epoch


def _line(history: History, epochs: int) -> str:
    """Return the last epoch as a line of text."""
    row = {name: values[-1] for name, values in history.to_dict().items()}
    learning_rate, seconds = row.pop("learning_rate"), row.pop("seconds")
    width = len(str(epochs))
    cells = [f"epoch {len(history):{width}}/{epochs}", *(f"{name} {value:.4g}" for name, value in row.items())]
    if not math.isnan(learning_rate):
        cells.append(f"learning_rate {learning_rate:.3g}")
    return "  ".join([*cells, f"{seconds:.2f} s"])
