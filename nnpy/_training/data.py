"""The data of `fit`: samples in memory or an iterable of batches, and the validation data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sized
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nnpy._arrays import as_table, feature_names
from nnpy._ffi import ffi, lib
from nnpy._model import Model
from nnpy._samples import Samples, check_sample_weight, rows_of, to_targets
from nnpy._training.options import FitOptions, Settings
from nnpy._training.trainer import Trainer
from nnpy._validation import real

__all__ = ["ArrayData", "BatchData", "Given", "TrainingData", "prepare_data", "shuffled"]


class Given(NamedTuple):
    """The arguments x and y of `fit`, each converted to an array once.

    Attributes
    ----------
    x : ndarray, shape (n, n_inputs)
        Or an iterable of batches; y is None then.
    y : ndarray or categories, with n rows
    feature_names : tuple of str, or None
        The names of the columns, if x was a data frame.
    """

    x: Any
    y: Any
    feature_names: tuple[str, ...] | None

    @classmethod
    def read(cls, model: Model, x: Any, y: ArrayLike | None) -> Given:
        """Convert x and y; a TypeError or ValueError if they are no data for the model."""
        if y is None:
            if not isinstance(x, Iterable) or isinstance(x, np.ndarray) or hasattr(x, "__array__"):
                raise TypeError("y is missing; without it x must be an iterable of batches (x, y)")
            return cls(x, None, None)
        names = model._check_feature_names(x)
        return cls(as_table(x, "x", model.layer_sizes[0], what="input"), to_targets(y), names)


class ArrayData:
    """All samples in memory."""

    def __init__(self, samples: Samples) -> None:
        self.samples = samples
        self._inputs_checked = False

    def train(self, trainer: Trainer, epoch: int, num_epochs: int) -> list[float]:
        """Train for `num_epochs` epochs, when `epoch` epochs are done; return their mean losses."""
        trainer.advance(self.samples, epoch, num_epochs, inputs_checked=self._inputs_checked)
        self._inputs_checked = True
        return trainer.losses


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
            total += trainer.losses[0] * len(samples)
            num += len(samples)
        if num == 0:
            raise ValueError(f"there is no batch in epoch {epoch + 1}")
        return [total / num]


class TrainingData(NamedTuple):
    """Training and validation data, checked."""

    training: ArrayData | BatchData
    validation: Samples | None


def prepare_data(model: Model, settings: Settings, given: Given, options: FitOptions) -> TrainingData:
    """Check the training data and the validation data; with `validation_split`, split the validation data off first."""
    x, y, names = given
    validation_data, weight = options.validation_data, options.sample_weight
    if options.validation_split is not None:
        if validation_data is not None:
            raise ValueError("validation_data and validation_split exclude each other")
        if y is None:
            raise ValueError("validation_split needs x and y, not batches")
        x, y, weight, validation_data = _split(x, y, weight, share=options.validation_split, seed=settings.seed)
    validation = None
    if validation_data is not None:
        validation = _check_validation(model, settings, validation_data, names=names)
    if y is None:
        if weight is not None or isinstance(options.class_weight, str):
            raise ValueError("with batches pass (x, y, sample_weight), and class_weight as a mapping")
        if options.metrics and validation is None:
            raise ValueError("with batches metrics need validation_data")
        if settings.optimizer._is_full_batch:
            raise ValueError(f"{type(settings.optimizer).__name__} needs all samples at once, not batches")
        return TrainingData(BatchData(x, model, settings, options), validation)
    samples = model._training_samples(
        x, y, settings.loss, missing=settings.missing, sample_weight=weight, class_weight=options.class_weight
    )
    return TrainingData(ArrayData(samples), validation)


def _check_validation(model: Model, settings: Settings, data: Any, *, names: tuple[str, ...] | None) -> Samples:
    """Check validation data. names: the column names of the training data."""
    if not isinstance(data, (tuple, list)) or len(data) not in {2, 3}:
        raise TypeError("validation_data must be (x, y) or (x, y, sample_weight)")
    model._check_feature_names(data[0], known=names)
    samples = model._samples(
        data[0],
        data[1],
        settings.loss,
        scaler=model.scaler,
        missing=settings.missing,
        sample_weight=data[2] if len(data) == 3 else None,
        copy_if_in=model.parameters,
    )
    samples.check_inputs()
    return samples


def shuffled(num: int, seed: int) -> NDArray[np.uintp]:
    """Return the numbers from 0 to num - 1 in random order, another one than in any epoch."""
    order = np.empty(num, dtype=np.uintp)
    lib.nn_shuffle(ffi.from_buffer("size_t[]", order), num, seed, 2**64 - 1)
    return order


def _split(
    x: NDArray[Any], y: Any, weight: ArrayLike | None, *, share: float, seed: int
) -> tuple[Any, Any, Any, tuple[Any, ...]]:
    """Split a random part off for validation; return x, y, weight, (x, y[, weight]). Both parts are copies in the old order."""
    share = real(share, "validation_split")
    targets = rows_of(y)
    if not 0 < share < 1:
        raise ValueError(f"validation_split must be between 0 and 1, got {share}")
    if len(targets) != len(x):
        raise ValueError(f"x and y must have the same number of rows, got {len(x)} and {len(targets)}")
    num = round(share * len(x))
    if not 0 < num < len(x):
        raise ValueError(f"validation_split={share} of {len(x)} samples leaves an empty part")
    order = shuffled(len(x), seed)
    held_out, kept = np.sort(order[:num]), np.sort(order[num:])
    if weight is None:
        return x[kept], targets[kept], None, (x[held_out], targets[held_out])
    weights = check_sample_weight(weight, len(x))
    return (
        x[kept],
        targets[kept],
        weights[kept],
        (x[held_out], targets[held_out], weights[held_out]),
    )
