"""Cross-validation: the number of epochs and the L2 penalty that are best on samples that were left out of the training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nnpy._history import DivergenceError, History
from nnpy._model import Model
from nnpy._samples import rows_of
from nnpy._training import loop
from nnpy._training.data import Given, shuffled
from nnpy._training.options import FitOptions
from nnpy._training.pool import Pool, Task
from nnpy._training.trainer import Poll
from nnpy._validation import check_seed

__all__ = ["Best", "cross_validate"]

_FOLDS = 5
_ROWS_FOR_ALL_FOLDS = 2000  # with more samples, one fold is enough to tell
_PENALTIES = (0.0, 1.0, 3.0, 10.0)  # l2 times the number of samples
# The best epoch of the folds, times this, is the number of epochs to train for: their learning rate decreases to 0.
_MARGIN = 1.3


class Best(NamedTuple):
    """What cross-validation has found."""

    num_epochs: int
    l2: float
    num_folds: int

    def describe(self, *, chose_l2: bool) -> str:
        """Return a phrase."""
        penalty = f" and l2={self.l2:.3g}" if chose_l2 else ""
        how = f"{_FOLDS}-fold cross-validation" if self.num_folds > 1 else f"the loss of a {_FOLDS}th of the samples"
        return f"{self.num_epochs} epochs{penalty} by {how}"


def cross_validate(model: Model, given: Given, options: FitOptions, *, backend: Any, poll: Poll) -> Best | None:
    """Find the number of epochs, at most options.epochs, and l2 unless the options have it. The model is not changed.

    Returns None if a training diverges. Raises a TypeError or ValueError if `nnpy._training.loop.fit` would refuse an argument,
    and a KeyboardInterrupt after Ctrl-C. options.early_stopping is used in the folds. backend, poll: those of fit.
    """
    nothing = replace(options, epochs=0, early_stopping=None, progress=False)
    loop.fit(_untrained_copy(model, 0), given, nothing, history=History())  # which refuses what is wrong

    given, num, seed = given.converted(model), given.num_samples, check_seed(options.seed)
    folds = _folds(rows_of(given.targets()), seed, is_classifier=model.activations[-1] in {"softmax", "sigmoid"})
    options = replace(options, seed=seed, metrics=(), callbacks=(), progress=False, verbose=0)
    penalties = [factor / num for factor in _PENALTIES] if options.l2 is None else [options.l2]
    num_folds = _FOLDS if num <= _ROWS_FOR_ALL_FOLDS else 1
    tasks = []
    for l2 in penalties:
        for fold in range(num_folds):
            net, part = _untrained_copy(model, 1 + fold), given.split(folds == fold)
            tasks.append(Task(partial(loop.fit, net, part._replace(feature_names=None), replace(options, l2=l2))))
    try:
        _run(tasks, backend, poll)
    except (DivergenceError, ValueError):  # a ValueError: class weights or missing targets leave a fold without samples
        return None
    curves = [_padded(task.history, options.epochs) for task in tasks]
    means = np.reshape(curves, (len(penalties), num_folds, -1)).mean(axis=1)
    best, epoch = divmod(int(np.argmin(means)), means.shape[1])
    return Best(math.ceil(_MARGIN * (epoch + 1)), penalties[best], num_folds)


def _untrained_copy(model: Model, number: int) -> Model:
    """Return a network like the model, with other initial parameters for each number."""
    assert model._seed is not None
    copy = Model(model.layer_sizes, model.activations, seed=(model._seed + number) % 2**64)
    copy._set_scaler(model.scaler)
    return copy


def _folds(targets: NDArray[Any], seed: int, *, is_classifier: bool) -> NDArray[np.intp]:
    """Return the number of the fold of each sample, at random; each fold has its share of each class."""
    order = shuffled(len(targets), seed)
    if is_classifier:
        order = order[np.lexsort(targets[order].reshape(len(targets), -1).T)]
    folds = np.empty(len(targets), dtype=np.intp)
    folds[order] = np.arange(len(targets)) % _FOLDS
    return folds


def _run(tasks: Sequence[Task], backend: Any, poll: Poll) -> None:
    """Run the tasks; raise a KeyboardInterrupt after Ctrl-C."""
    if poll is None:
        Pool(tasks).run(progress=False)
    else:  # this is a thread of a Pool
        for task in tasks:
            task.train(history=task.history, backend=backend, poll=poll)
    if any(task.history.stopped == "interrupt" for task in tasks):
        raise KeyboardInterrupt


def _padded(history: History, num_epochs: Any) -> NDArray[np.float64]:
    """Return the validation loss of each epoch; after the training was stopped, that of its last one."""
    losses = history.val_loss
    assert losses is not None
    return np.pad(losses, (0, num_epochs - len(losses)), mode="edge")
