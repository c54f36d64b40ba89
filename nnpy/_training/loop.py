"""The training loop: epochs, one after another or many at once, until all are done or something stops them."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from numpy.typing import ArrayLike

from nnpy._arrays import feature_names
from nnpy._backend import backend
from nnpy._history import DivergenceError, History
from nnpy._metrics import Metric, check_metrics, is_classifier
from nnpy._model import Model
from nnpy._optimizers import OptimizerState, check_optimizer
from nnpy._schedules import ReduceOnPlateau
from nnpy._training import checkpoint
from nnpy._training.data import ArrayData, BatchData, Given, prepare_data
from nnpy._training.early_stopping import EarlyStopping
from nnpy._training.monitor import Monitor
from nnpy._training.options import FitOptions, Settings
from nnpy._training.prepared import PreparedStep
from nnpy._training.progress import progress_bar
from nnpy._training.trainer import Poll, Trainer
from nnpy._validation import COUNT_MAX, integer

__all__ = ["fit", "partial_fit"]

_SECONDS_PER_CALL = 0.2  # how long a call of C should take, if there is nothing to do between epochs
_SECONDS_PER_CHECKPOINT = 1.0


def fit(
    model: Model,
    given: Given,
    options: FitOptions,
    *,
    history: History,
    backend: Any = backend,
    poll: Poll = None,
) -> History:
    """Train as the options say; return the history. The caller holds the lock of the model.

    The options leave nothing open, except that None for `optimizer` and `l2` is Adam and 0. backend: what to compute with.
    """
    monitor: Monitor | None = None
    try:
        _check_path(options.checkpoint)
        settings, saved = _settings(model, given, options)
        data, validation = prepare_data(model, settings, given, options)
        training = data.samples if isinstance(data, ArrayData) else None
        if training is not None and (saved is not None or settings.epochs == 0):
            training.check_inputs()  # C does so as well, but after the checkpoint is restored, and only if there is an epoch
        monitor = Monitor(
            model,
            settings,
            validation=validation,
            training=training,
            metrics=_metrics(model, settings, options, is_validated=validation is not None),
            early_stopping=_early_stopping(options),
            callbacks=_callbacks(options),
            verbose=integer(options.verbose, "verbose", 0, 1),
        )
        trainer = Trainer(model, settings, backend=backend, poll=poll)
        with (
            progress_bar(settings.epochs, "epoch", options.progress) as bar,
            _unchanged_if_refused(model, trainer, monitor, history, is_resumed=saved is not None),
        ):
            if saved is not None:
                checkpoint.restore(saved, trainer, monitor, history)
            model._feature_names = given.feature_names or model._feature_names
            _run(data, trainer, monitor, history, bar=bar, checkpoint_path=options.checkpoint)
    except KeyboardInterrupt:
        history.stopped = "interrupt"
        if monitor is not None:
            monitor.restore_best(history)  # again: Ctrl-C may have come just before
    except DivergenceError as error:
        error.history = history
        raise
    return history


def _settings(model: Model, given: Given, options: FitOptions) -> tuple[Settings, checkpoint.Checkpoint | None]:
    """Return the checked settings, and the checkpoint to resume from."""
    settings = Settings.check(model, options, is_iterable=given.y is None)
    if options.resume is None:
        return settings, None
    saved = checkpoint.read(options.resume, model)
    if options.seed is None:
        settings = replace(settings, seed=saved.seed)
    checkpoint.check(saved, settings)
    return settings, saved


@contextmanager
def _unchanged_if_refused(
    model: Model, trainer: Trainer, monitor: Monitor, history: History, *, is_resumed: bool
) -> Iterator[None]:
    """Restore the best parameters after the block; or, if the block refuses the data before a step, the network as it was."""
    names, parameters = model._feature_names, model.parameters.copy() if is_resumed else None
    try:
        yield
    except KeyboardInterrupt:
        history.stopped = "interrupt"
        raise
    finally:
        monitor.restore_best(history)
        if trainer.has_trained or history.stopped:
            model._state = None  # of an earlier partial_fit
        else:
            model._feature_names = names
            if parameters is not None:
                model.parameters = parameters


def _run(
    data: ArrayData | BatchData,
    trainer: Trainer,
    monitor: Monitor,
    history: History,
    *,
    bar: Callable[..., object] | None,
    checkpoint_path: Any,
) -> None:
    """Train until the epochs are done or something stops the training; history says what."""
    settings, num_next, written = trainer.settings, 1, -math.inf
    # With nothing to do between epochs, C does many in a call.
    in_chunks = monitor.is_idle and isinstance(data, ArrayData) and trainer.plateau is None
    while not history.stopped and len(history) < settings.epochs:
        epoch, start = len(history), time.perf_counter()
        num_epochs = min(num_next, settings.epochs - epoch) if in_chunks else 1
        losses: list[float] = []
        before = trainer.epochs
        try:
            losses = data.train(trainer, epoch, num_epochs)
        finally:
            epochs = trainer.epochs
            if in_chunks and epochs is not before:  # an exception does not undo the epochs that were completed
                seconds = (time.perf_counter() - start) / max(1, len(epochs))
                columns = {
                    "loss": epochs.losses,
                    "learning_rate": epochs.learning_rates,
                    "seconds": [seconds] * len(epochs),
                }
                history.extend(columns, len(epochs))
        if in_chunks:
            num_next = max(1, math.floor(_SECONDS_PER_CALL / seconds)) if seconds > 0 else 1
        elif losses:
            row = {"loss": losses[0], **monitor.measure()}
            rate = trainer.epochs.learning_rates[0]
            history.append({**row, "learning_rate": rate, "seconds": time.perf_counter() - start})
            if trainer.plateau is not None:
                trainer.plateau.update(row.get("val_loss", row["loss"]))
            history.stopped = monitor.after_epoch(history)
        if len(losses) < num_epochs:
            history.stopped = "converged"
        if bar is not None and losses:
            bar(len(history), loss=losses[-1])
        is_last = history.stopped or len(history) == settings.epochs
        if checkpoint_path is not None and (is_last or time.perf_counter() - written > _SECONDS_PER_CHECKPOINT):
            checkpoint.save(checkpoint_path, trainer, monitor, history)
            written = time.perf_counter()
    if checkpoint_path is not None and settings.epochs == 0:
        checkpoint.save(checkpoint_path, trainer, monitor, history)
    if not history.stopped:
        history.stopped = "epochs"


def _check_path(path: Any) -> None:
    """Refuse what is no path before training, not when the first checkpoint is written."""
    if path is not None and not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"checkpoint must be a path, got {path!r}")


def _metrics(model: Model, settings: Settings, options: FitOptions, *, is_validated: bool) -> dict[str, Metric]:
    """Return the metrics by their names in the history; by default the accuracy of a classifier on validation data."""
    metrics, last = options.metrics, model.activations[-1]
    if metrics is None:
        metrics = ["accuracy"] if is_validated and is_classifier(settings.loss, last) else []
    return check_metrics(metrics, settings.loss, last, prefix="val_" if is_validated else "")


def _early_stopping(options: FitOptions) -> EarlyStopping | None:
    early_stopping = options.early_stopping
    if early_stopping is None or isinstance(early_stopping, EarlyStopping):
        return early_stopping
    return EarlyStopping(integer(early_stopping, "early_stopping", 1, COUNT_MAX))


def _callbacks(options: FitOptions) -> list[Any]:
    if not callable(options.callbacks) and not isinstance(options.callbacks, Iterable):
        raise TypeError(
            "callbacks must be a function of the network and the history, or a sequence of such functions, got "
            f"{options.callbacks!r}"
        )
    callbacks = [options.callbacks] if callable(options.callbacks) else list(options.callbacks)
    for callback in callbacks:
        if not callable(callback):
            raise TypeError(f"a callback must be a function of the network and the history, got {callback!r}")
    return callbacks


def partial_fit(model: Model, x: ArrayLike, y: ArrayLike, options: FitOptions) -> float:
    """Train on the samples once; see `NeuralNetwork.partial_fit`. The caller holds the lock of the model."""
    state = model._state
    default = None if state is None else state.optimizer
    learning_rate = getattr(check_optimizer(options.optimizer or default), "learning_rate", None)
    if learning_rate is None or callable(learning_rate) or isinstance(learning_rate, ReduceOnPlateau):
        raise ValueError("partial_fit needs an optimizer with a number as its learning_rate: a stream has no known end")
    settings = Settings.check(model, options, default_optimizer=default)
    samples = model._training_samples(
        x,
        y,
        settings.loss,
        missing=settings.missing,
        sample_weight=options.sample_weight,
        class_weight=options.class_weight,
        normalize_weights=False,
    )
    if state is None or state.optimizer != settings.optimizer:
        state = OptimizerState(settings.optimizer, model.parameters.size)
    trainer = Trainer(model, settings, backend=backend, state=state)
    model._prepared_step = None  # its options may be others than those that the state gets now
    try:
        trainer.advance(samples, 0, 1)
    finally:
        if trainer.has_trained:
            model._state = state
            model._feature_names = feature_names(x) or model._feature_names
    model._prepared_step = PreparedStep(model, settings, y, state, options)
    return trainer.epochs.losses[0]
