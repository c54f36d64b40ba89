"""When to stop a training early: the argument of `NeuralNetwork.fit`."""

from __future__ import annotations

from dataclasses import dataclass

from nnpy._validation import COUNT_MAX, integer, not_negative

__all__ = ["EarlyStopping"]


@dataclass(frozen=True)
class EarlyStopping:
    """Stop `NeuralNetwork.fit` when a value has not improved for some epochs. The network gets its best parameters back.

    Parameters
    ----------
    patience : int
        The number of epochs without an improvement after which training stops.
    min_delta : float
        The smallest change that counts as an improvement.
    monitor : str, optional
        The value to monitor: "loss", "val_loss" or the name of a metric. The default is "val_loss", or "loss" without
        validation data.
    mode : {"min", "max"}, optional
        Whether small or large values are good. The default is "max" for an accuracy and for R^2, else "min".
    """

    patience: int = 10
    min_delta: float = 0.0
    monitor: str | None = None
    mode: str | None = None

    def __post_init__(self) -> None:
        integer(self.patience, "patience", 1, COUNT_MAX)
        not_negative(self.min_delta, "min_delta")
        if self.mode not in {None, "min", "max"}:
            raise ValueError(f"mode must be 'min' or 'max', got {self.mode!r}")
