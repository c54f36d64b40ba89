"""What `fit` chooses where its arguments leave it open: last activation, scaler, optimiser, number of epochs, L2 penalty.

Then `nnpy._training.loop` trains, with options that leave nothing open. The numbers below were found on the data sets of
benchmarks/defaults.py.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nnpy._activations import ACTIVATIONS
from nnpy._arrays import check_finite, row_blocks, row_numbers, take_rows
from nnpy._backend import backend
from nnpy._history import History
from nnpy._losses import BinaryCrossEntropy, CrossEntropy, Huber, Loss, find_loss
from nnpy._model import Model
from nnpy._optimizers import Adam, check_optimizer
from nnpy._samples import check_sample_weight, is_categorical, rows_of
from nnpy._scaler import Scaler, mean_and_scale
from nnpy._schedules import CosineDecay, ReduceOnPlateau
from nnpy._training import loop
from nnpy._training.cross_validation import cross_validate
from nnpy._training.data import Given
from nnpy._training.early_stopping import EarlyStopping
from nnpy._training.options import FitOptions, Settings
from nnpy._training.trainer import Poll

__all__ = ["fit"]

# The learning rate; the sigmoid's derivative is the smallest of all. Layers wider than _WIDTH need smaller rates.
_RATE, _RATE_SIGMOID = 0.005, 0.02
_WIDTH = 128

# The number of epochs: that many samples are seen, within these limits, and in at least that many steps.
_SAMPLES, _EPOCHS_MIN, _EPOCHS_MAX, _STEPS_MIN = 1e6, 5, 300, 2000
_EPOCHS_FULL_BATCH = 300
_EPOCHS_BATCHES = 10  # of an iterable of batches

# Cross-validation, where it takes a few seconds at most: epochs times samples times parameters.
_CV_WORK = 5e9

# Holding samples out for early stopping.
_HELD_OUT, _HELD_OUT_MAX = 0.1, 10_000
_ROWS_MIN = 10  # with fewer, none is held out

_ROWS_LOOKED_AT = 10_000  # to decide on scaling
_ELEMENTS_LOOKED_AT = 1 << 16  # at a time


def fit(
    model: Model,
    x: Any,
    y: ArrayLike | None,
    options: FitOptions,
    *,
    history: History | None = None,
    backend: Any = backend,
    poll: Poll = None,
) -> History:
    """Choose what the options leave open, and train; see `NeuralNetwork.fit`. The caller holds the lock of the model.

    history, backend and poll are for `fit_many`; see `nnpy._training.loop.fit`.
    """
    history = History() if history is None else history
    try:
        given = Given.read(model, x, y)
        if _is_auto(options):
            given = _without_weightless_samples(given, options)
        with _undone_unless_trained(model, history):
            options = _choose(model, given, options, history, backend=backend, poll=poll)
            loop.fit(model, given, options, history=history, backend=backend, poll=poll)
    except KeyboardInterrupt:
        history.stopped = "interrupt"
    return history


@contextmanager
def _undone_unless_trained(model: Model, history: History) -> Iterator[None]:
    """Give the model its activations, scaler and parameters back if no step is taken: after an error or Ctrl-C."""
    could_choose = model._can_choose_activation, model._can_choose_scaler
    activations, scaler = model.activations, model.scaler
    try:
        yield
    finally:
        if len(history):
            model._can_choose_activation = model._can_choose_scaler = False
        elif any(could_choose) and model._is_untrained():
            if could_choose[0]:
                model._set_last_activation(activations[-1])
            model._set_scaler(scaler)


def _is_auto(options: FitOptions) -> bool:
    """Whether the number of epochs is left open."""
    return isinstance(options.epochs, str) and options.epochs == "auto"


def _without_weightless_samples(given: Given, options: FitOptions) -> Given:
    """Leave out samples with a weight of 0, so that folds and held-out samples have weights."""
    if options.sample_weight is None or given.y is None:
        return given
    weights, y = check_sample_weight(options.sample_weight, len(given.x)), rows_of(given.y)
    has_weight = weights > 0
    if has_weight.all() or not has_weight.any() or len(y) != len(weights):
        return given
    return given._replace(rows=row_numbers(has_weight))


def _choose(
    model: Model, given: Given, options: FitOptions, history: History, *, backend: Any, poll: Poll
) -> FitOptions:
    """Set activation and scaler of the model; return options that leave nothing open. history.chosen describes all of that."""
    chosen: list[str] = []
    is_auto = _is_auto(options)
    is_untrained = (is_auto or model._can_choose_activation or model._can_choose_scaler) and model._is_untrained()
    if is_untrained and model._can_choose_activation:
        chosen += _choose_activation(model, given, options)
    Settings.check(model, replace(options, epochs=1) if is_auto else options, is_iterable=given.y is None)
    if is_untrained and model._can_choose_scaler and given.y is not None:
        chosen += _choose_scaler(model, given, options)
    if options.optimizer is None:
        options = replace(options, optimizer=Adam(CosineDecay(_learning_rate(model))))
        chosen.append(f"Adam with a learning rate from {_learning_rate(model):.3g} to 0")
    if is_auto:
        plan = _plan_epochs(model, given, options, is_untrained=is_untrained, backend=backend, poll=poll)
        options = replace(options, **plan.options)
        chosen.append(plan.text)
    history.chosen = "; ".join(chosen)
    if chosen and isinstance(options.verbose, int) and options.verbose == 1:
        print(history.chosen, flush=True)  # noqa: T201
    return options


# ---- The last activation ----


def _choose_activation(model: Model, given: Given, options: FitOptions) -> list[str]:
    """Set the activation of the last layer by the loss or the targets."""
    name = _last_activation(find_loss(options.loss), given.targets(), model.layer_sizes[-1])
    if name is None or name == model.activations[-1]:
        return []
    model._set_last_activation(name)
    return [f"last activation {name}"]


def _last_activation(loss: Loss | None, y: Any, num_outputs: int) -> str | None:
    """Return the activation of the last layer; None if nothing tells it."""
    if isinstance(loss, CrossEntropy) or (y is not None and num_outputs > 1 and _are_classes(y)):
        return "softmax"
    if isinstance(loss, BinaryCrossEntropy):
        return "sigmoid"
    targets = None if y is None else rows_of(y)
    if targets is None or targets.dtype.kind not in "fiub":
        return None
    is_missing = np.isnan(targets) if targets.dtype.kind == "f" else np.zeros(targets.shape, dtype=bool)
    are_binary = ((targets == 0) | (targets == 1) | is_missing).all() and not is_missing.all()
    return "sigmoid" if are_binary else "linear"


def _are_classes(y: Any) -> bool:
    """Whether y for several outputs is labels, or rows of probabilities."""
    if is_categorical(y) or y.dtype.kind in "OUST":
        return True
    if y.ndim == 1 or (y.ndim == 2 and y.shape[1] == 1):
        return y.dtype.kind in "iub" or (y.dtype.kind == "f" and bool((np.isfinite(y) & (y == np.floor(y))).all()))
    if y.ndim != 2 or y.dtype.kind not in "fiub" or not len(y):
        return False
    return bool((y >= 0).all() and (np.abs(y.sum(axis=1, dtype=np.float64) - 1) < 1e-3).all())


# ---- The scaler ----


def _choose_scaler(model: Model, given: Given, options: FitOptions) -> list[str]:
    """Set a scaler where inputs, or the targets of a regression, are far from mean 0 and deviation 1."""
    data = _for_scaler(model, given, options)
    if data is None:
        return []
    x, y, rows = data
    divides_bytes = _are_bytes(_Sample.of(x, rows))
    scales_x = divides_bytes or _are_far_from_standard(_Sample.of(x, rows))
    scales_y = y is not None and _are_targets_far_from_standard(_Sample.of(y, rows))
    if not scales_x and not scales_y:
        return []
    check_finite(x, "x", rows=rows)
    if y is not None:
        check_finite(y, "y", allow_nan=True, rows=rows)
    if scales_x and not divides_bytes:
        of_x = mean_and_scale(x, rows)
    else:
        of_x = np.zeros(x.shape[1]), np.full(x.shape[1], 255.0 if divides_bytes else 1.0)
    of_y = mean_and_scale(y, rows) if y is not None and scales_y else (None, None)
    model._set_scaler(Scaler(*of_x, *of_y))
    text = ["inputs divided by 255" if divides_bytes else "inputs standardised"] if scales_x else []
    return text + ["targets standardised"] * scales_y


class _ForScaler(NamedTuple):
    """The inputs, the targets if they may be scaled, and the rows of the samples that have a weight, None for all."""

    x: NDArray[Any]
    y: NDArray[Any] | None
    rows: NDArray[np.uintp] | None


def _for_scaler(model: Model, given: Given, options: FitOptions) -> _ForScaler | None:
    """Return what decides on the scaler; None if it is no data."""
    x, y = given.x, rows_of(given.y)
    if len(x) != len(y) or not len(x):
        return None
    rows = None
    if options.sample_weight is not None:
        has_weight = check_sample_weight(options.sample_weight, len(x)) > 0
        if not has_weight.any():
            return None
        rows = None if has_weight.all() else row_numbers(has_weight)
    can_scale = ACTIVATIONS[model.activations[-1]].is_homogeneous
    if not can_scale or isinstance(find_loss(options.loss), (BinaryCrossEntropy, Huber)):
        return _ForScaler(x, None, rows)
    y = y[:, np.newaxis] if y.ndim == 1 else y
    if y.ndim != 2 or y.shape[1] != model.layer_sizes[-1] or y.dtype.kind not in "fiub":
        return None
    return _ForScaler(x, y, rows)


class _Sample(NamedTuple):
    """The rows of an array that are looked at: all of them, or those in `rows`."""

    array: NDArray[Any]
    rows: NDArray[np.uintp] | None

    @classmethod
    def of(cls, array: NDArray[Any], rows: NDArray[np.uintp] | None) -> _Sample:
        """Choose from the given rows: evenly spaced ones, if there are very many."""
        step = max(1, len(array if rows is None else rows) // _ROWS_LOOKED_AT)
        return cls(array[::step], None) if rows is None else cls(array, rows[::step])

    def parts(self) -> Iterator[NDArray[Any]]:
        """Yield the rows, a few at a time: what is computed from them is as small."""
        for block in row_blocks(self.array, _ELEMENTS_LOOKED_AT, rows=self.rows):
            yield take_rows(self.array, self.rows, block)


def _are_bytes(x: _Sample) -> bool:
    """Whether the inputs look like the pixels of an image, whole numbers from 0 to 255."""
    if x.array.shape[1] < 64:
        return False
    largest = 0
    for part in x.parts():
        if not (part.min() >= 0 and part.max() <= 255 and (part.dtype.kind in "iu" or (part == np.floor(part)).all())):
            return False
        largest = max(largest, part.max())
    return largest > 127


def _are_far_from_standard(x: _Sample) -> bool:
    """Whether inputs should be standardised. Images from 0 to 1 and data that is standardised need not be."""
    mean, deviation = mean_and_scale(*x)
    first = next(x.parts())[0]
    is_constant = np.logical_and.reduce([(part == first).all(axis=0) for part in x.parts()])
    deviation = np.where(is_constant, 0.0, deviation)
    return bool((np.abs(mean) > 3).any() or (deviation > 3).any() or (deviation.any() and (deviation < 0.1).all()))


def _are_targets_far_from_standard(y: _Sample) -> bool:
    """Whether targets should be standardised. Those from 0 to 1 need not be."""
    mean, deviation = mean_and_scale(*y)
    return bool((np.abs(mean) > 2).any() or (deviation > 2).any() or (deviation < 0.2).any())


# ---- The learning rate ----


def _learning_rate(model: Model) -> float:
    hidden = model.activations[:-1]
    rate = _RATE_SIGMOID if set(hidden) <= {"sigmoid"} else _RATE
    return rate * min(1.0, math.sqrt(_WIDTH / max((_WIDTH, *model.layer_sizes[1:-1]))))


# ---- The number of epochs ----


@dataclass(frozen=True)
class _Plan:
    """Options that say when training ends, and a phrase that describes them."""

    options: dict[str, Any]
    text: str


def _plan_epochs(
    model: Model, given: Given, options: FitOptions, *, is_untrained: bool, backend: Any, poll: Poll
) -> _Plan:
    if given.y is None:
        return _Plan({"epochs": _EPOCHS_BATCHES}, f"{_EPOCHS_BATCHES} epochs")
    num = max(1, given.num_samples)  # without any sample, training will be refused
    optimizer = check_optimizer(options.optimizer)
    num_epochs = _EPOCHS_FULL_BATCH if optimizer._is_full_batch else _max_epochs(num, options.batch_size)
    if options.early_stopping is not None:
        return _Plan({"epochs": num_epochs}, f"up to {num_epochs} epochs")
    if num < _ROWS_MIN:
        return _Plan({"epochs": num_epochs}, f"{num_epochs} epochs")
    stopping = EarlyStopping(patience=max(5, num_epochs // 3))
    plan: dict[str, Any] = {"epochs": num_epochs, "early_stopping": stopping}
    if options.validation_data is not None or options.validation_split is not None:
        return _Plan(plan, f"up to {num_epochs} epochs with early stopping by the validation loss")
    if (
        is_untrained
        and num_epochs * num * model.parameters.size <= _CV_WORK
        and not optimizer._is_full_batch
        and not isinstance(getattr(optimizer, "learning_rate", None), ReduceOnPlateau)
        and options.checkpoint is None
        and options.resume is None
    ):
        best = cross_validate(model, given, replace(options, **plan), backend=backend, poll=poll)
        if best is not None:
            return _Plan({"epochs": best.num_epochs, "l2": best.l2}, best.describe(chose_l2=options.l2 is None))
    share = min(_HELD_OUT, _HELD_OUT_MAX / num)
    return _Plan(
        {**plan, "validation_split": share},
        f"up to {num_epochs} epochs with early stopping by the loss of {round(share * num):,} samples that are held out",
    )


def _max_epochs(num_samples: int, batch_size: Any) -> int:
    size = num_samples if batch_size is None else min(num_samples, 32 if batch_size == "auto" else batch_size)
    num_steps = -(-num_samples // size)
    num_epochs = min(max(round(_SAMPLES / num_samples), _EPOCHS_MIN), _EPOCHS_MAX)
    return max(num_epochs, -(-_STEPS_MIN // num_steps))
