"""The outer part of training: epochs, validation, early stopping, callbacks, checkpoints. The steps are C's."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nnpy._arrays import Samples, as_array, refuse_mask, sample_weights, to_array
from nnpy._ffi import call, ffi, lib
from nnpy._validation import integer, not_negative, positive, random_seed, real
from nnpy._history import DivergenceError, History
from nnpy._losses import BinaryCrossEntropy, CrossEntropy, Loss, check_loss
from nnpy._backend import backend
from nnpy._optimizers import LBFGS, Adam, LevenbergMarquardt, Optimizer, OptimizerState
from nnpy._schedules import Plateau, ReduceOnPlateau

if TYPE_CHECKING:
    from nnpy._network import NeuralNetwork

__all__ = ["COUNT_MAX", "Callback", "EarlyStopping", "Metric", "fit", "partial_fit", "progress_bar"]

COUNT_MAX = 2**63 - 1
_SECONDS_PER_CALL = 0.2  # that C may go on before Python has a look
_SECONDS_PER_CHECKPOINT = 1.0
_MOST_PARAMETERS = 10_000  # of Levenberg and Marquardt's method: 1.6 GB

Callback = Callable[["NeuralNetwork", History], object]
Metric = Callable[[NDArray[Any], NDArray[np.float32]], float]


@dataclass(frozen=True)
class EarlyStopping:
    """When `NeuralNetwork.fit` ends before its epochs are done. In the end the network has its best parameters in any case.

    Parameters
    ----------
    patience : int
        After how many epochs without a new best value.
    min_delta : float
        By how much a value has to be better than the best one to count.
    monitor : str, optional
        What is watched: "loss", "val_loss" or the name of a metric. By default "val_loss", or "loss" without validation data.
    mode : {"min", "max"}, optional
        Whether a small or a large value is good. By default a large one of an accuracy, a small one of all else.
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


# ---- What a call of fit is told ----


@dataclass(frozen=True)
class Settings:
    """The checked arguments that say what is computed."""

    loss: Loss
    optimizer: Optimizer
    epochs: int
    batch_size: int | None  # None for all samples
    shuffle: bool
    seed: int
    dropout: tuple[float, ...] | None
    l2: float
    clip_norm: float
    missing: str

    def fingerprint(self) -> dict[str, str]:
        """What has to be the same for a training to go on as if it had not stopped."""
        text = {field.name: _describe(getattr(self, field.name)) for field in fields(self)}
        rate = getattr(self.optimizer, "learning_rate", 0.0)
        if not callable(rate):
            del text["epochs"]  # more of them do not change those that are done
        return text


def _describe(value: Any) -> str:
    if is_dataclass(value) and any(callable(getattr(value, field.name)) for field in fields(value)):
        parts = (f"{field.name}={_describe(getattr(value, field.name))}" for field in fields(value))
        return f"{type(value).__name__}({', '.join(parts)})"
    if callable(value) and not is_dataclass(value):
        return str(getattr(value, "__qualname__", type(value).__qualname__))
    return repr(value)


def check_settings(net: NeuralNetwork, options: Mapping[str, Any]) -> Settings:
    """Check the arguments of `NeuralNetwork.fit` that are not data."""
    optimizer = Adam() if options["optimizer"] is None else options["optimizer"]
    if not isinstance(optimizer, Optimizer):
        raise TypeError(
            f"optimizer must be an object such as nnpy.Adam() or nnpy.SGD(0.1), got {optimizer!r}"
        )
    if not isinstance(options["shuffle"], (bool, np.bool_)):
        raise TypeError(f"shuffle must be True or False, got {options['shuffle']!r}")
    batch_size = options["batch_size"]
    if batch_size is not None:
        batch_size = integer(batch_size, "batch_size", 1, COUNT_MAX)
    seed = options["seed"]
    settings = Settings(
        loss=check_loss(options["loss"], net.activations[-1]),
        optimizer=optimizer,
        epochs=integer(options["epochs"], "epochs", 0, COUNT_MAX),
        batch_size=batch_size,
        shuffle=bool(options["shuffle"]),
        seed=random_seed(64) if seed is None else integer(seed, "seed", 0, 2**64 - 1),
        dropout=_check_dropout(options["dropout"], len(net.activations) - 1),
        l2=not_negative(options["l2"], "l2"),
        clip_norm=0.0 if options["clip_norm"] is None else positive(options["clip_norm"], "clip_norm"),
        missing=options["missing"],
    )
    _check_together(net, settings)
    return settings


def _check_dropout(dropout: float | Sequence[float] | None, num_hidden: int) -> tuple[float, ...] | None:
    if dropout is None:
        return None
    try:
        values = (dropout,) * num_hidden if not isinstance(dropout, Sequence) else tuple(dropout)
        shares = tuple(real(value, "dropout") for value in values)
    except TypeError:
        raise TypeError(f"dropout must be a number or one for each hidden layer, got {dropout!r}") from None
    if len(shares) != num_hidden:
        raise ValueError(f"dropout must be one number, or {num_hidden}, one for each hidden layer, got {list(shares)}")
    if any(not 0 <= share <= 0.99 for share in shares):
        raise ValueError(f"dropout must be from 0 to 0.99, got {list(shares)}")
    return shares if any(shares) else None


def _check_together(net: NeuralNetwork, settings: Settings) -> None:
    """Refuse what does not go together."""
    name = type(settings.optimizer).__name__
    if settings.optimizer._is_full_batch and settings.batch_size is not None:
        raise ValueError(f"{name} has all samples in a step: batch_size must be None, got {settings.batch_size}")
    searches = isinstance(settings.optimizer, (LBFGS, LevenbergMarquardt))
    if searches and (settings.dropout is not None or settings.clip_norm):
        raise ValueError(f"{name} goes without dropout and clip_norm")
    if isinstance(settings.optimizer, LevenbergMarquardt):
        if settings.loss.name != "mse" or net.activations[-1] == "softmax":
            raise ValueError(f'{name} is for the loss "mse" without softmax, got "{settings.loss.name}"')
        if net.parameters.size > _MOST_PARAMETERS:
            raise ValueError(
                f"{name} is for {_MOST_PARAMETERS:,} parameters at the most, the network has {net.parameters.size:,}"
            )


# ---- Steps ----


class Trainer:
    """What takes the steps of one training: the optimiser with its state, and calls into C."""

    def __init__(
        self,
        net: NeuralNetwork,
        settings: Settings,
        *,
        backend_: Any,
        state: OptimizerState | None = None,
        poll: Callable[[int], object] | None = None,
    ) -> None:
        if not np.isfinite(net.parameters).all():
            raise ValueError("the parameters of the network are not finite")
        self.net, self.settings, self._backend, self._poll = net, settings, backend_, poll
        self._nn = net._nn_with(settings.loss)
        self.losses: list[float] = []  # of the epochs that the last call of `advance` has done, even if it raised
        self.rates: list[float] = []  # at their ends
        optimizer = settings.optimizer
        self.state = OptimizerState(optimizer, net.parameters.size) if state is None else state
        self.state.configure(l2=settings.l2, clip=settings.clip_norm)
        rate = getattr(optimizer, "learning_rate", math.nan)
        self.plateau = Plateau(rate) if isinstance(rate, ReduceOnPlateau) else None
        self._schedule = rate if callable(rate) else None
        self._rate = math.nan if self.plateau or self._schedule else float(rate)

    def batch_size(self, num: int) -> int:
        """How many samples make a step."""
        return num if self.settings.batch_size is None else min(self.settings.batch_size, num)

    def advance(
        self,
        samples: Samples,
        epoch: int,
        count: int,
        *,
        span: tuple[float, float] = (0.0, 1.0),
        first_batch: int = 0,
        checked: bool = False,
    ) -> None:
        """Go through the samples `count` times, from that epoch on; `losses` has the result.

        Parameters
        ----------
        span : (float, float)
            From where to where in the epoch they go, for a schedule of the rate.
        first_batch : int
            How many batches of the epoch have been before.
        checked : bool
            Whether a call has been through x before.
        """
        self.losses, self.rates = [], []
        size = self.batch_size(len(samples))
        steps = -(-len(samples) // size)
        costs = np.empty(count, dtype=np.float32)
        rates = self._rates(epoch, count, steps, span)
        dropout = None if self.settings.dropout is None else np.array(self.settings.dropout)
        monitor = ffi.new("NNMonitor *")

        def diverged(num_steps: int) -> DivergenceError:
            where = epoch + num_steps // steps, first_batch + num_steps % steps
            return DivergenceError(
                f"the training diverged in epoch {where[0]}, batch {where[1]}: the loss or a parameter is no longer finite. "
                "The network has the last finite parameters; a smaller rate, clip_norm or scaled inputs may help",
                epoch=where[0],
                batch=where[1],
            )

        try:
            if self.state.function is not None:
                arguments = [self.state.c, count, ffi.from_buffer("float[]", costs), self._backend[0]]
                function = self.state.function
            else:
                schedule = ffi.new(
                    "NNTrainOptions *",
                    {
                        "batch_size": size,
                        "num_epochs": count,
                        "shuffle": self.settings.shuffle and size < len(samples),
                        "seed": self.settings.seed,
                        "first_epoch": self.state.num_passes,
                        "inputs_checked": checked,
                        "losses": ffi.from_buffer("float[]", costs),
                        "learning_rates": ffi.NULL if rates is None else ffi.from_buffer("double[]", rates),
                        "dropout": ffi.NULL if dropout is None else ffi.from_buffer("double[]", dropout),
                    },
                )
                function, arguments = lib.nn_train, [self.state.c, schedule[0], self._backend[0]]
            call(
                function,
                self._nn,
                samples.c[0],
                *arguments,
                progress=self._poll,
                refuse=samples.refuse,
                diverged=diverged,
                monitor=monitor,
            )
        finally:
            self.losses = costs[: monitor.done].tolist()
            ends = np.full(count, self._rate) if rates is None else rates[steps - 1 :: steps]
            self.rates = ends[: monitor.done].tolist()
            self.state.num_passes += monitor.done

    def _rates(self, epoch: int, count: int, steps: int, span: tuple[float, float]) -> NDArray[np.float64] | None:
        """The rate of each step, if they are not all the same; else it is left in the state."""
        if self._schedule is None:
            self._rate = self.plateau.learning_rate if self.plateau else self._rate
            if self.state.function is None:
                self.state.c.learning_rate = self._rate
            return None
        epochs = self.settings.epochs
        start, length = span[0], span[1] - span[0]
        times = [e + start + length * s / steps for e in range(epoch, epoch + count) for s in range(steps)]
        rates = np.array([self._schedule(t, epochs) for t in times], dtype=np.float64)
        if not (np.isfinite(rates).all() and (rates >= 0).all()):
            raise ValueError(f"the schedule gave a rate that is not finite, or negative, in epoch {epoch}")
        return rates


# ---- Data ----


class ArrayData:
    """All samples in memory."""

    def __init__(self, samples: Samples) -> None:
        self.samples = samples
        self._checked = False

    def advance(self, trainer: Trainer, epoch: int, count: int) -> list[float]:
        """Train for some epochs; return their losses."""
        trainer.advance(self.samples, epoch, count, checked=self._checked)
        self._checked = True
        return trainer.losses


class BatchData:
    """Samples that come in batches, such as from a file larger than memory: each of them is checked as it comes."""

    def __init__(self, batches: Iterable[Any], epochs: int, as_samples: Callable[..., Samples]) -> None:
        if isinstance(batches, Iterator) and epochs > 1:
            raise ValueError(
                f"an iterator can be gone through once, epochs={epochs} need something that can be begun anew: a list, or an "
                "object whose __iter__ returns a new iterator"
            )
        self._batches, self._as_samples = batches, as_samples

    def advance(self, trainer: Trainer, epoch: int, count: int) -> list[float]:
        """Train for one epoch; return its loss."""
        total, num, steps = 0.0, 0, 0
        known = len(self._batches) if isinstance(self._batches, Sized) else None
        for number, batch in enumerate(self._batches):
            span = (number / known, (number + 1) / known) if known else (0.5, 0.5)
            if not isinstance(batch, (tuple, list)) or len(batch) not in {2, 3}:
                raise TypeError(f"a batch must be (x, y) or (x, y, sample_weight), got {type(batch).__name__}")
            samples = self._as_samples(*batch, are_all=False)
            trainer.advance(samples, epoch, 1, span=span, first_batch=steps)
            steps += -(-len(samples) // trainer.batch_size(len(samples)))
            total += trainer.losses[0] * len(samples)
            num += len(samples)
        if num == 0:
            raise ValueError(f"there is no batch in epoch {epoch}")
        return [total / num]


# ---- What is looked at after each epoch ----


class Watch:
    """Validation, metrics, early stopping, callbacks, and the line of each epoch."""

    def __init__(
        self,
        net: NeuralNetwork,
        settings: Settings,
        *,
        validation: tuple[Samples, ArrayLike, ArrayLike] | None,
        training: tuple[ArrayLike, ArrayLike] | None,
        metrics: Mapping[str, Metric],
        early_stopping: EarlyStopping | None,
        callbacks: Sequence[Callback],
        verbose: int,
    ) -> None:
        self.net, self.settings = net, settings
        self._validation, self._training, self._metrics = validation, training, metrics
        self._callbacks, self._verbose = callbacks, verbose
        self.early = early_stopping
        self.best_value, self.best_epoch, self._waited = math.inf, -1, 0
        self.best_parameters: NDArray[np.float32] | None = None
        if early_stopping is not None:
            names = ["loss"] + (["val_loss"] if validation else []) + list(metrics)
            self.monitor = early_stopping.monitor or ("val_loss" if validation else "loss")
            if self.monitor not in names:
                raise ValueError(f"monitor must be one of {', '.join(names)}, got {self.monitor!r}")
            self.goes_up = (early_stopping.mode or ("max" if "accuracy" in self.monitor else "min")) == "max"

    def fingerprint(self) -> str:
        """Say what has to be the same for a training to go on as if it had not stopped."""
        parts = ["val_loss"] * (self._validation is not None) + sorted(self._metrics)
        if self.early is not None:
            way = "high" if self.goes_up else "low"
            parts.append(f"early stopping for a {way} {self.monitor} by {self.early.min_delta}")
        return ", ".join(parts) or "nothing to look at"

    @property
    def is_idle(self) -> bool:
        """Whether there is nothing to look at."""
        return not (self._validation or self._metrics or self.early or self._callbacks or self._verbose)

    def measure(self) -> dict[str, float]:
        """Compute the validation loss and the metrics."""
        row: dict[str, float] = {}
        data = self._training
        if self._validation is not None:
            samples, *data_ = self._validation
            row["val_loss"] = self.net._evaluate(samples, self.settings.loss)
            data = (data_[0], data_[1])
        if self._metrics and data is not None:
            y, out = np.asarray(data[1]), self.net.predict(data[0])
            y = y if y.dtype.kind in "fiu" else y.astype(np.float32)
            out = out[:, 0] if y.ndim == 1 and out.shape[1] == 1 else out  # or y - out would be a table
            for name, metric in self._metrics.items():
                row[name] = float(metric(y, out))
        return row

    def see(self, history: History) -> str:
        """Take the last epoch into account; return why the training is to stop, or nothing."""
        stopped = ""
        if self.early is not None:
            value = history._columns[self.monitor][-1]
            stopped = "early" if self.has_waited(value, len(history) - 1, self.net.parameters) else ""
        if self._verbose:
            print(_line(history, self.settings.epochs), flush=True)  # noqa: T201
        for callback in self._callbacks:
            answer = callback(self.net, history)
            if isinstance(answer, (bool, np.bool_)) and answer:
                stopped = stopped or "callback"
        return stopped

    def has_waited(self, value: float, epoch: int, parameters: NDArray[np.float32] | None) -> bool:
        """Take the value of an epoch into account; parameters are copied if it is the best. Whether to stop."""
        assert self.early is not None
        value = -value if self.goes_up else value
        self._waited += 1
        if value < self.best_value - self.early.min_delta or self.best_epoch < 0:
            self.best_value, self.best_epoch, self._waited = math.inf if math.isnan(value) else value, epoch, 0
            self.best_parameters = None if parameters is None else parameters.copy()
        return self._waited >= self.early.patience

    def restore(self, history: History) -> None:
        """Give the network its best parameters back."""
        if self.best_parameters is not None:
            self.net.parameters = self.best_parameters
            history.best_epoch = self.best_epoch


def _line(history: History, epochs: int) -> str:
    row = {name: values[-1] for name, values in history._columns.items()}
    rate, seconds = row.pop("learning_rate"), row.pop("seconds")
    width = len(str(epochs))
    cells = [f"epoch {len(history):{width}}/{epochs}", *(f"{name} {value:.4g}" for name, value in row.items())]
    if not math.isnan(rate):
        cells.append(f"rate {rate:.3g}")
    return "  ".join([*cells, f"{seconds:.2f} s"])


def _accuracy(settings: Settings, last: str) -> Metric:
    """The share of answers that are right: of samples by their most probable class, or of outputs that are each a yes or no.

    Targets that are missing do not count, nor does a row of probabilities with one.
    """
    threshold = 0.0 if last == "linear" and isinstance(settings.loss, BinaryCrossEntropy) else 0.5

    def accuracy(y: NDArray[Any], out: NDArray[np.float32]) -> float:
        out = out.reshape(len(out), -1)
        if isinstance(settings.loss, BinaryCrossEntropy) or (out.shape[1] == 1 and y.dtype.kind == "f"):
            y = y.reshape(out.shape)
            there = ~np.isnan(y)
            return float(np.mean((out > threshold)[there] == (y > 0.5)[there]))
        if y.ndim == 2:
            there = ~np.isnan(y).any(axis=1)
            y, out = y[there].argmax(axis=1), out[there]
        return float(np.mean(out.argmax(axis=1) == y))

    return accuracy


def _check_metrics(
    metrics: Iterable[str | Metric] | Mapping[str, Metric] | None, settings: Settings, last: str, *, validated: bool
) -> dict[str, Metric]:
    """The metrics by the name that they have in the history."""
    found: dict[str, Metric] = {}
    if metrics is None:
        is_classifier = isinstance(settings.loss, CrossEntropy) or (
            isinstance(settings.loss, BinaryCrossEntropy) and last == "sigmoid"
        )
        metrics = ["accuracy"] if is_classifier and validated else []
    if isinstance(metrics, str):
        metrics = [metrics]
    items = metrics.items() if isinstance(metrics, Mapping) else (("", metric) for metric in metrics)
    for name, metric in items:
        if metric == "accuracy":
            name, metric = name or "accuracy", _accuracy(settings, last)  # noqa: PLW2901
        if not callable(metric):
            raise TypeError(f"a metric must be 'accuracy' or a function of y and the outputs, got {metric!r}")
        name = name or str(getattr(metric, "__name__", type(metric).__name__))  # noqa: PLW2901
        name = f"val_{name}" if validated else name  # noqa: PLW2901
        if name in found or name in {"loss", "val_loss", "learning_rate", "seconds"}:
            raise ValueError(f"a metric needs a name of its own, got {name!r} again: pass a mapping of names")
        found[name] = metric
    return found


# ---- fit ----


def fit(net: NeuralNetwork, x: Any, y: ArrayLike | None, options: dict[str, Any]) -> History:
    """Train; see `NeuralNetwork.fit`, whose arguments are the options. The network's lock is held."""
    is_batches = y is None
    if is_batches and not (isinstance(x, Iterable) and not isinstance(x, np.ndarray)):
        raise TypeError("y is missing; without it x must be an iterable of batches (x, y)")
    if options["batch_size"] == "auto":
        takes_all = is_batches or getattr(options["optimizer"], "_is_full_batch", False)
        options["batch_size"] = None if takes_all else 32
    settings = check_settings(net, options)
    saved = None
    if options["resume"] is not None:
        from nnpy._training import checkpoint as _checkpoint

        saved = _checkpoint.read(options["resume"], net)
        if options["seed"] is None:
            settings = replace(settings, seed=saved.seed)
        _checkpoint.check(saved, settings)
    early = options["early_stopping"]
    if early is not None and not isinstance(early, EarlyStopping):
        early = EarlyStopping(integer(early, "early_stopping", 1, COUNT_MAX))
    callbacks = options["callbacks"]
    callbacks = [callbacks] if callable(callbacks) else list(callbacks)
    for callback in callbacks:
        if not callable(callback):
            raise TypeError(f"a callback must be a function of the network and the history, got {callback!r}")
    data, training, validation = _prepare_data(net, settings, x, y, options)
    watch = Watch(
        net,
        settings,
        validation=validation,
        training=training,
        metrics=_check_metrics(options["metrics"], settings, net.activations[-1], validated=validation is not None),
        early_stopping=early,
        callbacks=callbacks,
        verbose=integer(options["verbose"], "verbose", 0, 1),
    )
    trainer = Trainer(net, settings, backend_=options.get("backend") or backend, poll=options.get("poll"))
    history = History() if options.get("history") is None else options["history"]
    with progress_bar(settings.epochs, "epoch", options["progress"]) as bar:
        if saved is not None:
            _checkpoint.restore(saved, trainer, watch, history)
        try:
            _run(data, trainer, watch, history, bar=bar, checkpoint=options["checkpoint"])
        except KeyboardInterrupt:
            history.stopped = "interrupt"
        except DivergenceError as error:
            error.history = history
            raise
        finally:
            watch.restore(history)
            net._state = None  # of partial_fit, from before
    return history


def _run(
    data: ArrayData | BatchData,
    trainer: Trainer,
    watch: Watch,
    history: History,
    *,
    bar: Callable[..., object] | None,
    checkpoint: str | os.PathLike[str] | None,
) -> None:
    settings, next_count, written = trainer.settings, 1, -math.inf
    in_chunks = watch.is_idle and isinstance(data, ArrayData) and trainer.plateau is None
    while not history.stopped and len(history) < settings.epochs:
        epoch, start = len(history), time.perf_counter()
        count = min(next_count, settings.epochs - epoch) if in_chunks else 1
        losses: list[float] = []
        try:
            losses = data.advance(trainer, epoch, count)
        finally:
            if in_chunks:  # what was done before an exception counts as well
                seconds = (time.perf_counter() - start) / max(1, len(trainer.losses))
                for loss, rate in zip(trainer.losses, trainer.rates, strict=True):
                    history._append({"loss": loss, "learning_rate": rate, "seconds": seconds})
        if in_chunks:
            next_count = max(1, math.floor(_SECONDS_PER_CALL / seconds)) if seconds > 0 else 1
        elif losses:
            row = {"loss": losses[0], **watch.measure()}
            history._append({**row, "learning_rate": trainer.rates[0], "seconds": time.perf_counter() - start})
            if trainer.plateau is not None:
                trainer.plateau.see(row.get("val_loss", row["loss"]))
            history.stopped = watch.see(history)
        if len(losses) < count:  # of its own accord
            history.stopped = "converged"
        if bar is not None and losses:
            bar(len(history), loss=losses[-1])
        is_last = history.stopped or len(history) == settings.epochs
        if checkpoint is not None and (is_last or time.perf_counter() - written > _SECONDS_PER_CHECKPOINT):
            _write(checkpoint, trainer, watch, history)
            written = time.perf_counter()
    if checkpoint is not None and settings.epochs == 0:
        _write(checkpoint, trainer, watch, history)
    if not history.stopped:
        history.stopped = "epochs"


def _write(path: str | os.PathLike[str], trainer: Trainer, watch: Watch, history: History) -> None:
    from nnpy._training import checkpoint as _checkpoint

    _checkpoint.save(path, trainer, watch, history)


def _prepare_data(
    net: NeuralNetwork, settings: Settings, x: Any, y: ArrayLike | None, options: Mapping[str, Any]
) -> tuple[ArrayData | BatchData, tuple[Any, Any] | None, tuple[Samples, Any, Any] | None]:
    """The training data as C takes them and as they came, and the validation data."""

    def as_samples(
        x: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        class_weight: Any = options["class_weight"],
        are_all: bool = True,
    ) -> Samples:
        return net._samples(
            x,
            y,
            settings.loss,
            apart=True,
            missing=settings.missing,
            sample_weight=sample_weight,
            class_weight=class_weight,
            are_all=are_all,
        )

    validation, weight = options["validation_data"], options["sample_weight"]
    split = options["validation_split"]
    if split is not None:
        if validation is not None:
            raise ValueError("validation_data and validation_split do not go together")
        if y is None:
            raise ValueError("validation_split needs x and y, not batches")
        x, y, weight, validation = _split(net, x, y, weight, share=split, seed=settings.seed)
    checked = None
    if validation is not None:
        if not isinstance(validation, (tuple, list)) or len(validation) not in {2, 3}:
            raise TypeError("validation_data must be (x, y) or (x, y, sample_weight)")
        samples = as_samples(
            validation[0], validation[1], validation[2] if len(validation) == 3 else None, class_weight=None
        )
        samples.refuse()
        checked = (samples, validation[0], validation[1])
    if y is None:
        if weight is not None or isinstance(options["class_weight"], str):
            raise ValueError("with batches pass (x, y, sample_weight), and class_weight as a mapping")
        if options["metrics"] and validation is None:
            raise ValueError("with batches metrics need validation_data")
        if settings.optimizer._is_full_batch:
            raise ValueError(f"{type(settings.optimizer).__name__} needs all samples at once, not batches")
        return BatchData(x, settings.epochs, as_samples), None, checked
    samples = as_samples(x, y, weight)
    if settings.epochs == 0:
        samples.refuse()
    return ArrayData(samples), (x, y), checked


def _split(
    net: NeuralNetwork, x: ArrayLike, y: ArrayLike, weight: ArrayLike | None, *, share: float, seed: int
) -> tuple[Any, Any, Any, tuple[Any, ...]]:
    """Take some samples out at random, for validation; both parts are copies, in the order that they had."""
    share = real(share, "validation_split")
    inputs, targets = as_array(x, "x", net.layer_sizes[0], what="input"), to_array(y, "y")
    refuse_mask(targets, "y")
    if not 0 < share < 1:
        raise ValueError(f"validation_split must be between 0 and 1, got {share}")
    if targets.ndim == 0 or len(targets) != len(inputs):
        rows = 1 if targets.ndim == 0 else len(targets)
        raise ValueError(f"x and y must have the same number of rows, got {len(inputs)} and {rows}")
    num = round(share * len(inputs))
    if not 0 < num < len(inputs):
        raise ValueError(f"validation_split={share} of {len(inputs)} samples leaves nothing on one side")
    order = np.empty(len(inputs), dtype=np.uintp)
    lib.nn_shuffle(ffi.from_buffer("size_t[]", order), len(inputs), seed, 2**64 - 1)
    out, kept = np.sort(order[:num]), np.sort(order[num:])
    if weight is None:
        return inputs[kept], targets[kept], None, (inputs[out], targets[out])
    weights = sample_weights(weight, len(inputs))
    return inputs[kept], targets[kept], weights[kept], (inputs[out], targets[out], weights[out])


# ---- partial_fit ----


def partial_fit(net: NeuralNetwork, x: ArrayLike, y: ArrayLike, options: dict[str, Any]) -> float:
    """Go through the samples once; see `NeuralNetwork.partial_fit`. The network's lock is held."""
    state = net._state
    if options["optimizer"] is None and state is not None:
        options["optimizer"] = state.optimizer
    settings = check_settings(net, {**options, "epochs": 1})
    rate = getattr(settings.optimizer, "learning_rate", None)
    if rate is None or callable(rate) or isinstance(rate, ReduceOnPlateau):
        raise ValueError("partial_fit knows no end of the training: it takes an optimizer with a number as its rate")
    samples = net._samples(
        x,
        y,
        settings.loss,
        apart=True,
        missing=settings.missing,
        sample_weight=options["sample_weight"],
        class_weight=options["class_weight"],
        are_all=False,
    )
    if state is None or state.optimizer != settings.optimizer:
        state = OptimizerState(settings.optimizer, net.parameters.size)
    trainer = Trainer(net, settings, backend_=backend, state=state)
    net._state = state
    trainer.advance(samples, 0, 1)
    return trainer.losses[0]


@contextmanager
def progress_bar(total: int, unit: str, wanted: bool) -> Iterator[Callable[..., object] | None]:
    """Show a bar; yield what to call with the number that is done, and what to show beside it."""
    if not wanted:
        yield None
        return
    try:
        from tqdm import tqdm
    except ImportError as error:
        raise ImportError("progress=True needs tqdm: pip install 'nnpy[progress]'") from error
    with tqdm(total=total, unit=unit) as bar:

        def update(done: int, **shown: float) -> None:
            if shown:
                bar.set_postfix({name: f"{value:.4g}" for name, value in shown.items()}, refresh=False)
            bar.update(done - bar.n)

        yield update
