"""Samples: inputs and targets that go together, checked, and described to C as NNSamples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nnpy._activations import ACTIVATIONS
from nnpy._arrays import as_table, check_finite, is_within, matrix_fields, take_rows, to_array, to_float32
from nnpy._ffi import ffi
from nnpy._losses import BinaryCrossEntropy, CrossEntropy, Loss
from nnpy._scaler import Scaler
from nnpy._validation import FLOAT_MAX, not_negative

__all__ = [
    "Inputs",
    "Samples",
    "as_inputs",
    "as_samples",
    "category_codes",
    "check_sample_weight",
    "is_categorical",
    "rows_of",
    "scaler_fields",
    "target_range",
    "to_targets",
]


@dataclass(frozen=True)
class Inputs:
    """Inputs as C reads them.

    Attributes
    ----------
    x : ndarray of float32, shape (n, n_inputs)
        The array of the caller, if C can read it.
    scaler : Scaler or None
        Scales x as C reads it.
    """

    x: NDArray[np.float32]
    scaler: Scaler | None

    def __len__(self) -> int:
        return len(self.x)


def as_inputs(table: NDArray[Any], scaler: Scaler | None) -> Inputs:
    """Return a table of real numbers as C reads it."""
    return Inputs(*_converted(table, scaler))


def _converted(table: NDArray[Any], scaler: Scaler | None) -> tuple[NDArray[np.float32], Scaler | None]:
    """Return float32 in place, with the scaler that C needs; others converted, and scaled in float64."""
    if scaler is None or not scaler.changes_x:
        return to_float32(table), None
    if table.dtype == np.float32:
        return to_float32(table), scaler
    return scaler.scale_x(table), None


def scaler_fields(x_scaler: Scaler | None, y_scaler: Scaler | None) -> tuple[Any, ...]:
    """Return the fields of an NNScaler that scales x by one scaler and y by another; they keep alive what they point into."""
    nothing = (ffi.NULL, ffi.NULL)
    of_x = nothing if x_scaler is None else x_scaler.pointers()[:2]
    of_y = nothing if y_scaler is None else y_scaler.pointers()[2:]
    return (*of_x, *of_y)


class Samples(NamedTuple):
    """Checked inputs and targets. x may still contain NaN or infinity: C finds them when it reads x.

    Attributes
    ----------
    c : cdata of NNSamples *
        It points into the arrays below.
    x : ndarray of float32, shape (num_rows, n_inputs)
        The inputs, in the memory of the caller if C can read it.
    y : ndarray of float32, shape (num_rows, n_outputs), or of int32, shape (num_rows,)
        The targets, or labels.
    given : ndarray
        Targets as the caller passed them; see `given_y`.
    weights : ndarray of float32, shape (num_rows,), or None
        Sample weights.
    rows : ndarray, shape (n,), or None
        The rows of the arrays that the samples are in; None if that is all rows.
    x_scaler, y_scaler : Scaler or None
        Scales x, and y, as C reads them.
    keep_alive : object
        What c points into as well.
    """

    c: Any
    x: NDArray[np.float32]
    y: NDArray[np.float32] | NDArray[np.int32]
    given: NDArray[Any]
    weights: NDArray[np.float32] | None
    rows: NDArray[np.uintp] | None
    x_scaler: Scaler | None
    y_scaler: Scaler | None
    keep_alive: Any

    @classmethod
    def of(
        cls,
        x: NDArray[np.float32],
        y: NDArray[np.float32] | NDArray[np.int32],
        given: NDArray[Any],
        weights: NDArray[np.float32] | None,
        *,
        rows: NDArray[np.uintp] | None = None,
        x_scaler: Scaler | None = None,
        y_scaler: Scaler | None = None,
    ) -> Samples:
        """Describe arrays that are checked. One-dimensional targets are labels, int32."""
        fields: dict[str, Any] = {"x": matrix_fields(x)}
        if y.ndim == 1:
            fields["labels"] = ffi.cast("int32_t *", y.__array_interface__["data"][0])
        else:
            fields["y"] = matrix_fields(np.asarray(y, dtype=np.float32))
        if weights is not None:
            fields["sample_weights"] = ffi.cast("float *", weights.__array_interface__["data"][0])
        if rows is not None:
            fields |= {"rows": ffi.from_buffer("size_t[]", rows), "num_rows": len(rows)}
        if x_scaler is not None or y_scaler is not None:
            fields["scaler"] = scaler_fields(x_scaler, y_scaler)
        return cls(ffi.new("NNSamples *", fields), x, y, given, weights, rows, x_scaler, y_scaler, fields)

    def __len__(self) -> int:
        return len(self.x if self.rows is None else self.rows)

    @property
    def given_y(self) -> NDArray[Any]:
        """Targets of the samples as the caller passed them, for metrics."""
        return take_rows(self.given, self.rows)

    def check_inputs(self) -> None:
        """Raise a ValueError that names the first input that is not finite after scaling, if there is one."""
        convert = None if self.x_scaler is None else self.x_scaler.scale_x
        check_finite(self.x, "x", rows=self.rows, convert=convert)

    def scaled(self) -> Samples:
        """Return the samples as the network gets them: copied, if there is anything to scale or to leave out."""
        if self.rows is None and self.x_scaler is None and self.y_scaler is None:
            return self
        x, y = take_rows(self.x, self.rows), take_rows(self.y, self.rows)
        weights = None if self.weights is None else take_rows(self.weights, self.rows)
        x = x if self.x_scaler is None else self.x_scaler.scale_x(x)
        y = y if self.y_scaler is None else self.y_scaler.scale_y(y)
        return Samples.of(x, y, self.given_y, weights)


def as_samples(
    x: ArrayLike | Inputs,
    y: ArrayLike,
    layer_sizes: tuple[int, ...],
    last_activation: str,
    *,
    loss: Loss,
    missing: str = "raise",
    sample_weight: ArrayLike | None = None,
    class_weight: Mapping[int, float] | str | None = None,
    normalize_weights: bool = True,
    scaler: Scaler | None = None,
    check_range: bool = False,
    copy_if_in: NDArray[np.float32] | None = None,
    rows: NDArray[np.uintp] | None = None,
) -> Samples:
    """Check that inputs x and targets y fit each other and the network, and convert what C cannot read.

    Parameters
    ----------
    x : array_like, shape (n, layer_sizes[0]), or Inputs
        With `Inputs`, `scaler` is the one for which they were made.
    y : array_like, shape (n, layer_sizes[-1])
        With `CrossEntropy`, integer labels of shape (n,) or (n, 1) as well.
    layer_sizes, last_activation
        Those of the network.
    loss : Loss
    missing : {"raise", "ignore"}
        With "ignore", NaN in y is a missing target.
    sample_weight : array_like, shape (n,), optional
    class_weight : mapping or "balanced", optional
    normalize_weights : bool
        Divide the weights by their mean. False for a batch, because its mean is not the mean of all weights.
    scaler : Scaler, optional
        Scales x and, if it has a part for y, y. C does that with float32 as it reads it; anything else is scaled here, in
        float64, as it is converted.
    check_range : bool
        Refuse targets that are not possible outputs of the last layer. True for training.
    copy_if_in : ndarray, optional
        Memory that training will write to: x and y are copied if they are views of it.
    rows : ndarray of uintp, optional
        The rows of x, y and sample_weight that are the samples; only they are checked. By default all.

    Raises
    ------
    TypeError, ValueError
        If an argument has another type, shape or range.
    """
    if missing not in {"raise", "ignore"}:
        raise ValueError(f"missing must be 'raise' or 'ignore', got {missing!r}")
    inputs = x if isinstance(x, Inputs) else as_table(x, "x", layer_sizes[0], what="input")
    given = to_targets(y)
    labels = _as_labels(given, layer_sizes[-1], rows) if isinstance(loss, CrossEntropy) else None
    if labels is None:
        given = to_array(given, "y")
        given = given.astype(np.float32) if given.dtype.kind == "b" else given
        _refuse_labels(given, layer_sizes[-1], last_activation)
        table = as_table(given, "y", layer_sizes[-1], what="output")
        targets = to_float32(table)
    else:
        given, targets = labels, np.empty((0, layer_sizes[-1]), np.float32)
    num_targets = len(targets) if labels is None else len(labels)
    if len(inputs) != num_targets:
        raise ValueError(f"x and y must have the same number of rows, got {len(inputs)} and {num_targets}")
    if len(inputs) == 0:
        raise ValueError("x and y must have at least one row, got none")
    is_scaled = scaler is not None and scaler.y_mean is not None and labels is None
    if labels is None:
        _check_targets(targets, rows, loss, last_activation, missing, check_range=check_range and not is_scaled)
    weights = _weights(
        targets,
        labels,
        rows,
        missing,
        sample_weight=sample_weight,
        class_weight=class_weight,
        normalize=normalize_weights,
    )
    if is_scaled and isinstance(loss, BinaryCrossEntropy):
        raise ValueError(f'the loss "{loss.name}" needs targets that are not scaled: call fit_scaler(x) without y')
    inputs32, x_scaler = (inputs.x, inputs.scaler) if isinstance(inputs, Inputs) else _converted(inputs, scaler)
    y_scaler = None
    if is_scaled and scaler is not None:
        y_scaler = scaler if table.dtype == np.float32 else None
        targets = targets if y_scaler is not None else scaler.scale_y(table)
    if copy_if_in is not None:
        inputs32, targets = (a.copy() if np.may_share_memory(a, copy_if_in) else a for a in (inputs32, targets))
    return Samples.of(
        inputs32,
        targets if labels is None else labels,
        given,
        weights,
        rows=rows,
        x_scaler=x_scaler,
        y_scaler=y_scaler,
    )


# ---- Targets ----


def target_range(loss: Loss, last_activation: str, *, check_range: bool) -> tuple[float, float]:
    """Return the least and the greatest number that targets may be.

    check_range: they must be possible outputs of the last layer, or training would never reach them.
    """
    if isinstance(loss, BinaryCrossEntropy):
        return 0.0, 1.0
    if isinstance(loss, CrossEntropy):
        return 0.0, FLOAT_MAX
    if not check_range:
        return -FLOAT_MAX, FLOAT_MAX
    activation = ACTIVATIONS[last_activation]
    return max(-FLOAT_MAX, activation.low), min(FLOAT_MAX, activation.high)


def _check_targets(
    targets: NDArray[np.float32],
    rows: NDArray[np.uintp] | None,
    loss: Loss,
    last_activation: str,
    missing: str,
    *,
    check_range: bool,
) -> None:
    """Refuse targets that are not finite, are no probabilities where the loss needs them, or are out of range.

    rows: those to look at, or None for all. check_range: as in `target_range`.
    """
    allow_nan = missing == "ignore"
    low, high = target_range(loss, last_activation, check_range=check_range)
    if is_within(targets, low, high, allow_nan=allow_nan, rows=rows):
        return
    check_finite(targets, "y", allow_nan=allow_nan, rows=rows)
    targets = take_rows(targets, rows)
    smallest, largest = np.nanmin(targets), np.nanmax(targets)
    if isinstance(loss, (CrossEntropy, BinaryCrossEntropy)):
        raise ValueError(f"y must be probabilities, got {smallest if smallest < 0 else largest}")
    if last_activation in {"sigmoid", "softmax"} and set(np.unique(targets[~np.isnan(targets)]).tolist()) == {
        -1.0,
        1.0,
    }:
        cure = "Use 0 and 1 for the classes"
    else:
        cure = 'Use "linear" as the last activation'
    raise ValueError(
        f'y is from {smallest:g} to {largest:g}, but the outputs of the last layer, "{last_activation}", are '
        f"{ACTIVATIONS[last_activation].describe_range()}. {cure}"
    )


# ---- Labels ----


def to_targets(y: Any) -> Any:
    """Return y as an ndarray, or as it is if it has categories."""
    return y if is_categorical(y) else to_array(y, "y")


def rows_of(y: Any) -> NDArray[Any]:
    """Return y as an array with rows, of any type; categories as their numbers."""
    targets = category_codes(y) if is_categorical(y) else to_array(y, "y")
    return targets[np.newaxis] if targets.ndim == 0 else targets


def is_categorical(y: Any) -> bool:
    """Whether y has categories: a series of pandas or polars, or a pandas.Categorical."""
    return type(getattr(y, "dtype", None)).__name__ in {"CategoricalDtype", "Categorical", "Enum"}


def category_codes(y: Any) -> NDArray[Any]:
    """Return the numbers of the categories of a categorical; -1 for a missing one."""
    if hasattr(y, "to_physical"):  # polars
        return np.asarray(y.to_physical().cast(int).fill_null(-1).to_numpy())
    return np.asarray(y.cat.codes if hasattr(y, "cat") else y.codes)


def _as_labels(y: Any, num_classes: int, rows: NDArray[np.uintp] | None) -> NDArray[np.int32] | None:
    """Return y as class indices, or None if it is a table of probabilities.

    Labels are integers, booleans, whole floats or categories, of shape (n,) or (n, 1). With `rows`, only those in these rows
    are labels, and the others become 0.
    """
    array: NDArray[Any] = category_codes(y) if is_categorical(y) else to_array(y, "y")
    if array.ndim == 2 and array.shape[1] == 1 and num_classes > 1:
        array = array[:, 0]
    if array.ndim != 1:
        return None
    num, array = len(array), take_rows(array, rows)
    if array.dtype.kind == "f" and np.isfinite(array).all() and (array == np.floor(array)).all():
        array = array.astype(np.int64) if np.abs(array).max(initial=0) < 2**62 else array
    if array.dtype.kind not in "iub":
        got = f"{array.dtype} of shape {array.shape}"
        if array.dtype.kind in "OUST":
            got += f", such as {array.tolist()[0]!r}; number the classes first" if len(array) else ""
        raise TypeError(f"y must be integer labels, or rows of {num_classes} probabilities, got {got}")
    if len(array) and (array.min() < 0 or array.max() >= num_classes):
        if is_categorical(y) and array.min() < 0:
            raise ValueError("y has missing categories")
        raise ValueError(f"y must be labels from 0 to {num_classes - 1}, got {array.min()} to {array.max()}")
    labels = np.zeros(
        num, dtype=np.int32
    )  # always a copy: C uses labels as indices, so nobody may change them any more
    labels[slice(None) if rows is None else rows] = array
    return labels


def _refuse_labels(y: NDArray[Any], num_outputs: int, last_activation: str) -> None:
    """Explain what to do with labels where the loss takes none."""
    is_column = y.ndim == 1 or (y.ndim == 2 and y.shape[1] == 1)
    if num_outputs > 1 and is_column and y.dtype.kind in "iu":
        cure = f'the loss "{CrossEntropy.name}"' if last_activation == "softmax" else '"softmax" as the last activation'
        raise ValueError(
            f'y has the shape {y.shape}, but the network has {num_outputs} outputs of "{last_activation}". If y holds class '
            f"labels, use {cure}, or one-hot targets: np.eye({num_outputs})[y]"
        )


# ---- Weights ----


def _weights(
    targets: NDArray[np.float32],
    labels: NDArray[np.int32] | None,
    rows: NDArray[np.uintp] | None,
    missing: str,
    *,
    sample_weight: ArrayLike | None,
    class_weight: Mapping[int, float] | str | None,
    normalize: bool,
) -> NDArray[np.float32] | None:
    """Return the product of all weights of each sample, or None if all are 1. A sample without any target has the weight 0.

    Rows without a sample have the weight 0, too; they do not count for the mean.
    """
    num = len(targets) if labels is None else len(labels)
    factors: list[NDArray[np.float64]] = []
    if sample_weight is not None:
        factors.append(take_rows(check_sample_weight(sample_weight, num), rows))
    if class_weight is not None:
        some_labels = None if labels is None else take_rows(labels, rows)
        factors.append(_class_weights(class_weight, take_rows(targets, rows if labels is None else None), some_labels))
    if missing == "ignore" and labels is None:
        has_target = take_rows(np.asarray(~np.isnan(targets).all(axis=1)), rows)
        if not has_target.all():
            factors.append(np.asarray(has_target, dtype=np.float64))
    if not factors:
        return None
    if normalize:  # divided by their largest number first, large factors do not overflow in the product or the sum
        factors = [factor / factor.max() if factor.max() > 0 else factor for factor in factors]
    with np.errstate(over="ignore"):
        weights: NDArray[np.float64] = np.prod(factors, axis=0)
    if normalize:
        if not weights.max() > 0:
            raise ValueError("all samples have a weight of 0 or no target")
        weights /= weights.max()
        weights /= weights.mean()
    elif not (weights <= FLOAT_MAX).all():
        raise ValueError(
            f"the weight of a sample, sample_weight times class_weight, must be finite in float32, got {weights.max()}"
        )
    result = np.zeros(num, dtype=np.float32)
    result[slice(None) if rows is None else rows] = weights
    return result


def check_sample_weight(values: ArrayLike, num: int) -> NDArray[np.float64]:
    """Return weights of `num` samples in float64, or raise a TypeError or ValueError."""
    array = to_array(values, "sample_weight")
    if array.dtype.kind not in "fiub":
        raise TypeError(f"sample_weight must be real numbers, got an array of dtype {array.dtype}")
    if array.shape != (num,):
        raise ValueError(f"sample_weight must have shape ({num},), one number per sample, got {array.shape}")
    with np.errstate(over="ignore"):  # of a longdouble; checked next
        weights = array.astype(np.float64)
    if not (np.isfinite(weights).all() and (weights >= 0).all()):
        raise ValueError("sample_weight must be finite and not negative")
    return weights


def _class_weights(
    class_weight: Mapping[int, float] | str, targets: NDArray[np.float32], labels: NDArray[np.int32] | None
) -> NDArray[np.float64]:
    """Return the weight of the class of each sample: its label, or its target 0 or 1 if there is a single output."""
    if labels is None:
        if targets.shape[1] != 1 or not np.isin(targets, (0, 1)).all():
            raise ValueError("class_weight needs integer labels, or targets 0 and 1 for a network with one output")
        labels = targets[:, 0].astype(np.int32)
    if isinstance(class_weight, str):
        if class_weight != "balanced":
            raise ValueError(f"class_weight must be 'balanced' or a mapping of labels to numbers, got {class_weight!r}")
        counts = np.bincount(labels)
        balanced: NDArray[np.float64] = len(labels) / (np.count_nonzero(counts) * counts[labels].astype(np.float64))
        return balanced
    if not isinstance(class_weight, Mapping):
        raise TypeError(f"class_weight must be 'balanced' or a mapping of labels to numbers, got {class_weight!r}")
    present = np.unique(labels).tolist()
    absent = [label for label in present if label not in class_weight]
    if absent:
        raise ValueError(f"class_weight has no weight for the label {absent[0]}")
    table = np.zeros(int(labels.max()) + 1)
    for label in present:
        table[label] = not_negative(class_weight[label], f"class_weight[{label}]")
    return table[labels]
