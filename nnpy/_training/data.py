"""The data of `fit`: samples in memory or an iterable of batches, and the validation data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sized
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nnpy._arrays import as_table, feature_names, row_numbers, take_rows
from nnpy._ffi import ffi, lib
from nnpy._model import Model
from nnpy._samples import Inputs, Samples, as_inputs, rows_of, to_targets
from nnpy._training.options import FitOptions, Settings
from nnpy._training.trainer import Trainer
from nnpy._validation import real

__all__ = ["ArrayData", "BatchData", "Given", "TrainingData", "prepare_data", "shuffled"]


class Given(NamedTuple):
    """The arguments x and y of `fit`, each converted to an array once, and the rows of them to use.

    Attributes
    ----------
    x : ndarray or Inputs, shape (num_rows, n_inputs)
        Or an iterable of batches; y is None then.
    y : ndarray or categories, with num_rows rows
    feature_names : tuple of str, or None
        The names of the columns, if x was a data frame.
    rows : ndarray, shape (n,), or None
        The rows of the samples to train on; None for all.
    held_out : ndarray or None
        The rows of the validation samples, if they are not the caller's own.
    """

    x: Any
    y: Any
    feature_names: tuple[str, ...] | None
    rows: NDArray[np.uintp] | None = None
    held_out: NDArray[np.uintp] | None = None

    @classmethod
    def read(cls, model: Model, x: Any, y: ArrayLike | None) -> Given:
        """Convert x and y; a TypeError or ValueError if they are no data for the model."""
        if y is None:
            if not isinstance(x, Iterable) or isinstance(x, np.ndarray) or hasattr(x, "__array__"):
                raise TypeError("y is missing; without it x must be an iterable of batches (x, y)")
            return cls(x, None, None)
        names = model._check_feature_names(x)
        return cls(as_table(x, "x", model.layer_sizes[0], what="input"), to_targets(y), names)

    @property
    def num_samples(self) -> int:
        """The number of samples to train on."""
        return len(self.x if self.rows is None else self.rows)

    def targets(self) -> Any:
        """Return the targets of the samples: y as it is, or an array of some of its rows."""
        return self.y if self.rows is None else take_rows(rows_of(self.y), self.rows)

    def converted(self, model: Model) -> Given:
        """Return the same with x as C reads it for the model, so that it is converted once, however often it is used."""
        return self if isinstance(self.x, Inputs) else self._replace(x=as_inputs(self.x, model.scaler))

    def split(self, is_held_out: NDArray[np.bool_]) -> Given:
        """Return the same with some of the samples held out. Nothing is copied but the numbers of the rows."""
        held_out, kept = row_numbers(is_held_out), row_numbers(~is_held_out)
        if self.rows is not None:
            held_out, kept = self.rows[held_out], self.rows[kept]
        return self._replace(rows=kept, held_out=held_out)


class ArrayData:
    """All samples in memory."""

    def __init__(self, samples: Samples) -> None:
        self.samples = samples
        self._inputs_checked = False

    def train(self, trainer: Trainer, epoch: int, num_epochs: int) -> list[float]:
        """Train for `num_epochs` epochs, when `epoch` epochs are done; return their mean losses."""
        trainer.advance(self.samples, epoch, num_epochs, inputs_checked=self._inputs_checked)
        self._inputs_checked = True
        return trainer.epochs.losses


class BatchData:
    """An iterable of batches, for data larger than memory. Each batch is checked when its turn comes."""

    def __init__(self, batches: Iterable[Any], model: Model, settings: Settings, options: FitOptions) -> None:
        if isinstance(batches, Iterator) and settings.epochs > 1:
            raise ValueError(
                f"an iterator can be consumed only once, and epochs is {settings.epochs}: pass a list, or an object whose "
                "__iter__ returns a new iterator"
            )
        self._batches, self._model, self._settings, self._options = batches, model, settings, options

    def train(self, trainer: Trainer, epoch: int, num_epochs: int) -> list[float]:
        """Train for one epoch, when `epoch` epochs are done; return its mean loss."""
        assert num_epochs == 1
        total, num, steps = 0.0, 0, 0
        num_batches = len(self._batches) if isinstance(self._batches, Sized) else None
        for number, batch in enumerate(self._batches):
            span = (number / num_batches, (number + 1) / num_batches) if num_batches else (0.5, 0.5)
            if not isinstance(batch, (tuple, list)) or len(batch) not in {2, 3}:
                raise TypeError(f"a batch must be (x, y) or (x, y, sample_weight), got {type(batch).__name__}")
            samples = self._model._training_samples(
                batch[0],
                batch[1],
                self._settings.loss,
                missing=self._settings.missing,
                sample_weight=batch[2] if len(batch) == 3 else None,
                class_weight=self._options.class_weight,
                normalize_weights=False,
            )
            trainer.advance(samples, epoch, 1, span=span, first_batch=steps)
            self._model._feature_names = feature_names(batch[0]) or self._model._feature_names
            steps += -(-len(samples) // trainer.batch_size(len(samples)))
            total += trainer.epochs.losses[0] * len(samples)
            num += len(samples)
        if num == 0:
            raise ValueError(f"there is no batch in epoch {epoch + 1}")
        return [total / num]


class TrainingData(NamedTuple):
    """Training and validation data, checked."""

    training: ArrayData | BatchData
    validation: Samples | None


def prepare_data(model: Model, settings: Settings, given: Given, options: FitOptions) -> TrainingData:
    """Check the training data and the validation data; with `validation_split`, hold the validation data out first."""
    validation_data, weight = options.validation_data, options.sample_weight
    if options.validation_split is not None:
        if validation_data is not None:
            raise ValueError("validation_data and validation_split exclude each other")
        if given.y is None:
            raise ValueError("validation_split needs x and y, not batches")
        given = _split(given, share=options.validation_split, seed=settings.seed)
    validation = None
    if given.held_out is not None:
        given = given.converted(model)
        validation = _validation_samples(model, settings, given.x, given.y, sample_weight=weight, rows=given.held_out)
    elif validation_data is not None:
        validation = _check_validation(model, settings, validation_data, names=given.feature_names)
    if given.y is None:
        if weight is not None or isinstance(options.class_weight, str):
            raise ValueError("with batches pass (x, y, sample_weight), and class_weight as a mapping")
        if options.metrics and validation is None:
            raise ValueError("with batches metrics need validation_data")
        if settings.optimizer._is_full_batch:
            raise ValueError(f"{type(settings.optimizer).__name__} needs all samples at once, not batches")
        return TrainingData(BatchData(given.x, model, settings, options), validation)
    samples = model._training_samples(
        given.x,
        given.y,
        settings.loss,
        missing=settings.missing,
        sample_weight=weight,
        class_weight=options.class_weight,
        rows=given.rows,
    )
    return TrainingData(ArrayData(samples), validation)


def _check_validation(model: Model, settings: Settings, data: Any, *, names: tuple[str, ...] | None) -> Samples:
    """Check validation data. names: the column names of the training data."""
    if not isinstance(data, (tuple, list)) or len(data) not in {2, 3}:
        raise TypeError("validation_data must be (x, y) or (x, y, sample_weight)")
    model._check_feature_names(data[0], known=names)
    return _validation_samples(
        model, settings, data[0], data[1], sample_weight=data[2] if len(data) == 3 else None, rows=None
    )


def _validation_samples(
    model: Model,
    settings: Settings,
    x: ArrayLike | Inputs,
    y: Any,
    *,
    sample_weight: ArrayLike | None,
    rows: NDArray[np.uintp] | None,
) -> Samples:
    samples = model._samples(
        x,
        y,
        settings.loss,
        scaler=model.scaler,
        missing=settings.missing,
        sample_weight=sample_weight,
        copy_if_in=model.parameters,
        rows=rows,
    )
    samples.check_inputs()
    return samples


def shuffled(num: int, seed: int) -> NDArray[np.uintp]:
    """Return the numbers from 0 to num - 1 in random order, another one than in any epoch."""
    order = np.empty(num, dtype=np.uintp)
    lib.nn_shuffle(ffi.from_buffer("size_t[]", order), num, seed, 2**64 - 1)
    return order


def _split(given: Given, *, share: float, seed: int) -> Given:
    """Hold a random part of the samples out for validation."""
    share, num = real(share, "validation_split"), given.num_samples
    if not 0 < share < 1:
        raise ValueError(f"validation_split must be between 0 and 1, got {share}")
    num_targets = len(rows_of(given.y))
    if num_targets != len(given.x):
        raise ValueError(f"x and y must have the same number of rows, got {len(given.x)} and {num_targets}")
    num_held_out = round(share * num)
    if not 0 < num_held_out < num:
        raise ValueError(f"validation_split={share} of {num} samples leaves an empty part")
    is_held_out = np.zeros(num, dtype=np.bool_)
    is_held_out[shuffled(num, seed)[:num_held_out]] = True
    return given.split(is_held_out)
