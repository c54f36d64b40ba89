"""The options of `fit`: `FitOptions` as the caller passes them, `Settings` as they are after all checks."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from nnpy._history import History
from nnpy._losses import Loss, check_loss
from nnpy._metrics import Metric
from nnpy._model import Model
from nnpy._optimizers import LBFGS, LevenbergMarquardt, Optimizer, check_optimizer
from nnpy._training.early_stopping import EarlyStopping
from nnpy._validation import COUNT_MAX, check_seed, integer, not_negative, positive, real

__all__ = ["Callback", "FitOptions", "Settings"]

_MAX_PARAMETERS = 10_000  # for Levenberg-Marquardt, which then takes 1.6 GB of memory

Callback = Callable[[Any, History], object]  # called with the network and its history; True stops the training


@dataclass(frozen=True, kw_only=True)
class FitOptions:
    """The keyword arguments of `NeuralNetwork.fit`, which documents them, with their defaults. Nothing is checked yet.

    What is None or "auto" is chosen by `nnpy._training.defaults`; without it, it has the simplest meaning.
    """

    loss: Loss | str | None = None
    optimizer: Optimizer | str | None = None
    epochs: int | Literal["auto"] = "auto"
    batch_size: int | Literal["auto"] | None = "auto"
    shuffle: bool = True
    seed: int | None = None
    validation_data: tuple[ArrayLike, ...] | None = None
    validation_split: float | None = None
    early_stopping: int | EarlyStopping | None = None
    sample_weight: ArrayLike | None = None
    class_weight: Mapping[int, float] | Literal["balanced"] | None = None
    missing: Literal["raise", "ignore"] = "raise"
    dropout: float | Sequence[float] | None = None
    l2: float | None = None
    clip_norm: float | None = None
    metrics: str | Metric | Iterable[str | Metric] | Mapping[str, str | Metric] | None = None
    callbacks: Callback | Iterable[Callback] = ()
    checkpoint: str | os.PathLike[str] | None = None
    resume: str | os.PathLike[str] | None = None
    progress: bool = False
    verbose: int = 0


@dataclass(frozen=True)
class Settings:
    """The options that determine the result of training, checked, and with defaults filled in."""

    loss: Loss
    optimizer: Optimizer
    epochs: int
    batch_size: int | None  # None for all samples
    shuffle: bool
    seed: int
    dropout: tuple[float, ...] | None
    l2: float
    clip_norm: float  # 0 for no clipping
    missing: Literal["raise", "ignore"]

    @classmethod
    def check(
        cls, model: Model, options: FitOptions, *, is_iterable: bool = False, default_optimizer: Optimizer | None = None
    ) -> Settings:
        """Check the options for a model. is_iterable: the data is an iterable of batches."""
        optimizer = check_optimizer(default_optimizer if options.optimizer is None else options.optimizer)
        if not isinstance(options.shuffle, (bool, np.bool_)):
            raise TypeError(f"shuffle must be True or False, got {options.shuffle!r}")
        batch_size = options.batch_size
        if isinstance(batch_size, str) and batch_size == "auto":
            batch_size = None if is_iterable or optimizer._is_full_batch else 32
        elif batch_size is not None:
            batch_size = integer(batch_size, "batch_size", 1, COUNT_MAX)
        epochs: Any = options.epochs
        settings = cls(
            loss=check_loss(options.loss, model.activations[-1]),
            optimizer=optimizer,
            epochs=integer(epochs, "epochs", 0, COUNT_MAX),
            batch_size=batch_size,
            shuffle=bool(options.shuffle),
            seed=check_seed(options.seed),
            dropout=_check_dropout(options.dropout, len(model.activations) - 1),
            l2=0.0 if options.l2 is None else not_negative(options.l2, "l2"),
            clip_norm=0.0 if options.clip_norm is None else positive(options.clip_norm, "clip_norm"),
            missing=options.missing,
        )
        _check_combination(model, settings)
        return settings

    def fingerprint(self) -> dict[str, str]:
        """Return what must be the same when training is resumed, so that the result has the same bits."""
        text = {field.name: _describe(getattr(self, field.name)) for field in fields(self)}
        if not callable(getattr(self.optimizer, "learning_rate", 0.0)):
            del text["epochs"]  # without a schedule, more epochs do not change the first ones
        return text


def _describe(value: Any) -> str:
    """Return a repr without addresses of functions, which differ from process to process."""
    if is_dataclass(value) and any(callable(getattr(value, field.name)) for field in fields(value)):
        parts = (f"{field.name}={_describe(getattr(value, field.name))}" for field in fields(value))
        return f"{type(value).__name__}({', '.join(parts)})"
    if callable(value) and not is_dataclass(value):
        return str(getattr(value, "__qualname__", type(value).__qualname__))
    return repr(value)


def _check_dropout(dropout: float | Sequence[float] | None, num_hidden: int) -> tuple[float, ...] | None:
    """Return the drop probability of each hidden layer, or None without dropout."""
    if dropout is None:
        return None
    try:
        values = tuple(dropout) if isinstance(dropout, Sequence) else (dropout,) * num_hidden
        probabilities = tuple(real(value, "dropout") for value in values)
    except TypeError:
        raise TypeError(f"dropout must be a number or one for each hidden layer, got {dropout!r}") from None
    if len(probabilities) != num_hidden:
        raise ValueError(
            f"dropout must be one number, or {num_hidden}, one for each hidden layer, got {list(probabilities)}"
        )
    if any(not 0 <= probability <= 0.99 for probability in probabilities):
        raise ValueError(f"dropout must be from 0 to 0.99, got {list(probabilities)}")
    return probabilities if any(probabilities) else None


def _check_combination(model: Model, settings: Settings) -> None:
    """Refuse options that do not go together."""
    name = type(settings.optimizer).__name__
    if settings.optimizer._is_full_batch and settings.batch_size is not None:
        raise ValueError(f"{name} is a full-batch method: batch_size must be None, got {settings.batch_size}")
    if isinstance(settings.optimizer, (LBFGS, LevenbergMarquardt)) and (settings.dropout or settings.clip_norm):
        raise ValueError(f"{name} does not support dropout and clip_norm")
    if isinstance(settings.optimizer, LevenbergMarquardt):
        if settings.loss.name != "mse" or model.activations[-1] == "softmax":
            raise ValueError(f'{name} needs the loss "mse" and no softmax, got "{settings.loss.name}"')
        if model.parameters.size > _MAX_PARAMETERS:
            raise ValueError(
                f"{name} takes at most {_MAX_PARAMETERS:,} parameters, the network has {model.parameters.size:,}"
            )
