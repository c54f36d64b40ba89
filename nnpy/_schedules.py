"""Learning rate schedules: functions of the time in epochs, ``schedule(epoch, epochs)``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from nnpy._validation import integer, not_negative, positive, real, use_python_numbers

__all__ = [
    "CosineDecay",
    "ExponentialDecay",
    "LinearDecay",
    "Plateau",
    "ReduceOnPlateau",
    "Schedule",
    "StepDecay",
    "cosine",
]

# The learning rate at a time from 0 to the number of epochs; the number of epochs is the second argument.
Schedule = Callable[[float, int], float]


def cosine(x: float) -> float:
    """Return cos(pi x) for x from 0 to 1, to 1e-11, with the same bits on every machine, which math.cos does not promise.

    It is the Taylor series of sin(pi t) with t = 1/2 - x.
    """
    t = 3.141592653589793 * (0.5 - x)
    term = total = t
    for k in range(2, 18, 2):
        term = -term * t * t / (k * (k + 1))
        total += term
    return total


@dataclass(frozen=True)
class StepDecay:
    """Step decay: the learning rate is multiplied by `factor` after every `every_epochs` epochs.

    Parameters
    ----------
    learning_rate : float
        The initial learning rate, positive.
    every_epochs : int
        The number of epochs between two changes of the learning rate, at least 1.
    factor : float
        Positive.

    Raises
    ------
    TypeError, ValueError
        If a parameter is not in its range.

    Examples
    --------
    >>> import nnpy
    >>> schedule = nnpy.StepDecay(0.5, every_epochs=10, factor=0.5)
    >>> schedule(0, 30), schedule(10, 30), schedule(25, 30)
    (0.5, 0.25, 0.125)
    """

    learning_rate: float
    every_epochs: int
    factor: float = 0.1

    def __post_init__(self) -> None:
        use_python_numbers(self)
        positive(self.learning_rate, "learning_rate")
        integer(self.every_epochs, "every_epochs", 1, 2**63 - 1)
        positive(self.factor, "factor")

    def __call__(self, epoch: float, epochs: int) -> float:
        """Return the learning rate at a time in epochs."""
        return self.learning_rate * _power(self.factor, int(epoch) // self.every_epochs)


@dataclass(frozen=True)
class ExponentialDecay:
    """Exponential decay: the learning rate is multiplied by `factor` after every epoch.

    Parameters
    ----------
    learning_rate : float
        The initial learning rate, positive.
    factor : float
        Positive.

    Raises
    ------
    TypeError, ValueError
        If a parameter is not in its range.

    Examples
    --------
    >>> import nnpy
    >>> schedule = nnpy.ExponentialDecay(0.5, factor=0.5)
    >>> schedule(0, 30), schedule(1, 30), schedule(2, 30)
    (0.5, 0.25, 0.125)
    """

    learning_rate: float
    factor: float

    def __post_init__(self) -> None:
        use_python_numbers(self)
        positive(self.learning_rate, "learning_rate")
        positive(self.factor, "factor")

    def __call__(self, epoch: float, epochs: int) -> float:
        """Return the learning rate at a time in epochs."""
        return self.learning_rate * _power(self.factor, int(epoch))


@dataclass(frozen=True)
class _Decay:
    """Base class: a linear warm-up from 0, and then a decay."""

    learning_rate: float
    warmup_epochs: float = 0.0
    final_rate: float = 0.0

    def __post_init__(self) -> None:
        use_python_numbers(self)
        positive(self.learning_rate, "learning_rate")
        not_negative(self.warmup_epochs, "warmup_epochs")
        not_negative(self.final_rate, "final_rate")

    def _phases(self, epoch: float, epochs: int) -> tuple[float, float]:
        """Return the proportions of the warm-up and of the decay that are done."""
        warmup = min(self.warmup_epochs, epochs)
        if epoch < warmup:
            return epoch / warmup, 0.0
        return 1.0, (epoch - warmup) / (epochs - warmup) if epochs > warmup else 1.0


@dataclass(frozen=True)
class LinearDecay(_Decay):
    """Linear decay from `learning_rate` to `final_rate` at the end of training, after a linear warm-up from 0.

    Parameters
    ----------
    learning_rate : float
        The highest learning rate, positive.
    warmup_epochs : float
        The length of the warm-up in epochs, such as 0.5; 0 for none.
    final_rate : float
        The learning rate at the end, not negative.

    Raises
    ------
    TypeError, ValueError
        If a parameter is not in its range.

    Examples
    --------
    >>> import nnpy
    >>> schedule = nnpy.LinearDecay(0.5, warmup_epochs=2)
    >>> schedule(1, 10), schedule(2, 10), schedule(6, 10), schedule(10, 10)
    (0.25, 0.5, 0.25, 0.0)
    """

    def __call__(self, epoch: float, epochs: int) -> float:
        """Return the learning rate at a time in epochs."""
        warmed_up, decayed = self._phases(epoch, epochs)
        return (
            self.learning_rate * warmed_up
            if warmed_up < 1
            else self.learning_rate + (self.final_rate - self.learning_rate) * decayed
        )


@dataclass(frozen=True)
class CosineDecay(_Decay):
    """Cosine decay from `learning_rate` to `final_rate` at the end of training, after a linear warm-up from 0.

    Parameters
    ----------
    learning_rate : float
        The highest learning rate, positive.
    warmup_epochs : float
        The length of the warm-up in epochs, such as 0.5; 0 for none.
    final_rate : float
        The learning rate at the end, not negative.

    Raises
    ------
    TypeError, ValueError
        If a parameter is not in its range.

    Notes
    -----
    I. Loshchilov and F. Hutter, "SGDR: stochastic gradient descent with warm restarts", ICLR 2017, equation 5, without
    restarts.

    Examples
    --------
    >>> import nnpy
    >>> schedule = nnpy.CosineDecay(0.5)
    >>> [round(schedule(epoch, 10), 4) for epoch in (0, 5, 9)]
    [0.5, 0.25, 0.0122]
    """

    def __call__(self, epoch: float, epochs: int) -> float:
        """Return the learning rate at a time in epochs."""
        warmed_up, decayed = self._phases(epoch, epochs)
        return (
            self.learning_rate * warmed_up
            if warmed_up < 1
            else self.final_rate + (self.learning_rate - self.final_rate) * 0.5 * max(0.0, 1 + cosine(decayed))
        )


@dataclass(frozen=True)
class ReduceOnPlateau:
    """Multiply the learning rate by `factor` whenever the loss has not improved for some epochs.

    The loss is the validation loss or, without validation data, the training loss.

    Parameters
    ----------
    learning_rate : float
        The initial learning rate, positive.
    factor : float
        Between 0 and 1.
    patience : int
        The number of epochs without an improvement after which the learning rate is reduced, at least 1.
    min_delta : float
        The smallest decrease of the loss that counts as an improvement.
    min_rate : float
        The learning rate does not fall below it.

    Raises
    ------
    TypeError, ValueError
        If a parameter is not in its range.

    Examples
    --------
    >>> import nnpy
    >>> optimizer = nnpy.SGD(nnpy.ReduceOnPlateau(0.1, factor=0.5, patience=3))
    """

    learning_rate: float
    factor: float = 0.5
    patience: int = 5
    min_delta: float = 0.0
    min_rate: float = 0.0

    def __post_init__(self) -> None:
        use_python_numbers(self)
        positive(self.learning_rate, "learning_rate")
        if not 0 < real(self.factor, "factor") < 1:
            raise ValueError(f"factor must be between 0 and 1, got {self.factor!r}")
        integer(self.patience, "patience", 1, 2**63 - 1)
        not_negative(self.min_delta, "min_delta")
        if not_negative(self.min_rate, "min_rate") > self.learning_rate:
            raise ValueError(
                f"min_rate must not be above learning_rate, got {self.min_rate!r} and {self.learning_rate!r}"
            )


class Plateau:
    """The state of `ReduceOnPlateau` during training."""

    def __init__(self, schedule: ReduceOnPlateau) -> None:
        self.schedule = schedule
        self.learning_rate = schedule.learning_rate
        self._best = float("inf")
        self._waited = 0

    def update(self, loss: float) -> None:
        """Update the learning rate with the loss of one more epoch."""
        self._waited += 1
        if loss < self._best - self.schedule.min_delta:
            self._best, self._waited = loss, 0
        if self._waited >= self.schedule.patience:
            self.learning_rate = max(self.schedule.min_rate, self.learning_rate * self.schedule.factor)
            self._waited = 0


def _power(base: float, exponent: int) -> float:
    """Return base**exponent by multiplications, with the same bits on every machine."""
    result = 1.0
    while exponent:
        if exponent & 1:
            result *= base
        base *= base
        exponent >>= 1
    return result
