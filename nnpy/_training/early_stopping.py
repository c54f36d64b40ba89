"""Early stopping: the argument of `NeuralNetwork.fit`."""

from __future__ import annotations

from dataclasses import dataclass

from nnpy._validation import COUNT_MAX, integer, not_negative, use_python_numbers

__all__ = ["EarlyStopping"]


@dataclass(frozen=True)
class EarlyStopping:
    """Stop `NeuralNetwork.fit` when a value has not improved for some epochs. The network gets its best parameters back.

    Parameters
    ----------
    patience : int
        The number of epochs without an improvement after which training stops, at least 1.
    min_delta : float
        The smallest change that counts as an improvement, not negative.
    monitor : str, optional
        The value to monitor: "loss", "val_loss" or the name of a metric. The default is "val_loss", or "loss" without
        validation data.
    mode : {"min", "max"}, optional
        Whether small or large values are good. The default is "max" for an accuracy and for R^2, else "min".

    Raises
    ------
    TypeError, ValueError
        If a parameter is not in its range. `NeuralNetwork.fit` raises a ValueError if it does not compute `monitor`.

    Examples
    --------
    >>> import nnpy
    >>> x = [[0], [1], [2], [3]]
    >>> net = nnpy.NeuralNetwork([1, 1], "linear", seed=0)
    >>> stopping = nnpy.EarlyStopping(patience=2, min_delta=1e9)
    >>> net.fit(x, x, epochs=100, early_stopping=stopping, seed=0).stopped
    'early'
    """

    patience: int = 10
    min_delta: float = 0.0
    monitor: str | None = None
    mode: str | None = None

    def __post_init__(self) -> None:
        use_python_numbers(self)
        integer(self.patience, "patience", 1, COUNT_MAX)
        not_negative(self.min_delta, "min_delta")
        if self.mode not in {None, "min", "max"}:
            raise ValueError(f"mode must be 'min' or 'max', got {self.mode!r}")
