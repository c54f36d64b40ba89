"""Arrays in: the one place that checks what a caller passes and describes it to C as a strided Matrix."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nnpy._ffi import ffi, lib
from nnpy._validation import FLOAT_MAX, real
from nnpy._losses import BinaryCrossEntropy, CrossEntropy, Loss

if TYPE_CHECKING:
    from nnpy._scaler import Scaler

__all__ = [
    "Samples",
    "as_array",
    "as_matrix",
    "as_samples",
    "check_finite",
    "refuse_mask",
    "sample_weights",
    "to_array",
]

_ELEMENTS_PER_CHECK = 1 << 22  # elements checked between two looks at Ctrl-C
_SIZE_MAX = 2 ** (8 * ffi.sizeof("size_t")) - 1


def as_matrix(array: NDArray[np.float32]) -> Any:
    """Describe a float32 array as a C Matrix, in place. The caller keeps `array` alive.

    The array is one that `as_array` returned, or a new one: 2-D, native float32, its columns next to each other.
    """
    return ffi.new("Matrix *", _fields(array))[0]


def _fields(array: NDArray[np.float32]) -> tuple[int, int, int, Any]:
    """rows, cols, stride and data. A negative stride goes through size_t wrapped round; MAT_AT brings it back."""
    rows, columns = array.shape
    stride = array.strides[0] // array.itemsize if rows > 1 else columns
    return rows, columns, stride & _SIZE_MAX, ffi.cast("float *", array.__array_interface__["data"][0])


def as_array(values: ArrayLike, name: str, columns: int, *, what: str) -> NDArray[np.float32]:
    """Check samples, and return them as an array that `as_matrix` takes: the very same memory where that is possible.

    Whether they are finite is left to `check_finite`, or to C where it reads them.

    Parameters
    ----------
    values : array_like of real numbers, shape (n, columns)
        Or of shape (n,) where `columns` is 1.
    name : str
        What the caller calls `values`.
    columns : int
        How many columns there have to be.
    what : str
        What a column is, for the message: "input" or "output".

    Returns
    -------
    array : ndarray of float32, shape (n, columns)
        A view of `values` if that is float32 with unit column stride and whole row strides, else a converted copy.

    Raises
    ------
    TypeError
        If `values` are not real numbers.
    ValueError
        If the shape is another.
    """
    array = to_array(values, name)
    refuse_mask(array, name)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"{name} must be real numbers, got an array of dtype {array.dtype}")
    if array.ndim == 1 and columns == 1:
        array = array[:, np.newaxis]
    if array.ndim != 2:
        hint = f"; one sample is {name}[np.newaxis, :]" if array.ndim == 1 else ""
        raise ValueError(f"{name} must have shape (samples, {columns}), got {array.shape}{hint}")
    if array.shape[1] != columns:
        plural = "column" if columns == 1 else "columns"
        raise ValueError(f"{name} must have {columns} {plural}, one per {what} of the network, got shape {array.shape}")
    if array.dtype != np.float32 or not _fits(array):
        with np.errstate(over="ignore"):  # told below, with the place
            array = np.array(array, dtype=np.float32, order="C")
    return array


class Samples(NamedTuple):
    """Inputs and targets as C knows them, checked but for whether x is finite. The arrays are what C reads."""

    c: Any
    x: NDArray[np.float32]
    y: NDArray[np.float32] | NDArray[np.int32]
    weights: NDArray[np.float32] | None

    def __len__(self) -> int:
        return len(self.x)

    def refuse(self) -> None:
        """Raise the error that says which input is not finite."""
        check_finite(self.x, "x")


def as_samples(
    x: ArrayLike,
    y: ArrayLike,
    columns: tuple[int, int],
    *,
    loss: Loss,
    missing: str = "raise",
    sample_weight: ArrayLike | None = None,
    class_weight: Mapping[int, float] | str | None = None,
    are_all: bool = True,
    scaler: Scaler | None = None,
    apart_from: NDArray[np.float32] | None = None,
) -> Samples:
    """Check inputs x and targets y, as `as_array` does, and that they go together.

    Parameters
    ----------
    x, y : array_like
        The inputs and the targets.
    columns : tuple of int
        How many of each there have to be.
    loss : Loss
        With `CrossEntropy` y may be integers of shape (n,), numbers of outputs, instead.
    missing : str
        "raise", or "ignore": NaN in y stands for a target that is not there.
    sample_weight : array_like, optional
        One number a sample.
    class_weight : mapping or "balanced", optional
        One number a class.
    are_all : bool
        Whether these are all samples, so that weights are divided by their mean; not if they are a part of more.
    scaler : Scaler, optional
        What x, and y, go through first.
    apart_from : ndarray, optional
        Memory that is going to be written to: x and y are copied if they are views of it.
    """
    if missing not in {"raise", "ignore"}:
        raise ValueError(f"missing must be 'raise' or 'ignore', got {missing!r}")
    inputs = as_array(x, "x", columns[0], what="input")
    classes = _as_labels(y, columns[1]) if isinstance(loss, CrossEntropy) else None
    targets = as_array(y, "y", columns[1], what="output") if classes is None else np.empty((0, columns[1]), np.float32)
    num_targets = len(targets) if classes is None else len(classes)
    if len(inputs) != num_targets:
        raise ValueError(f"x and y must have the same number of rows, got {len(inputs)} and {num_targets}")
    if len(inputs) == 0:
        raise ValueError("x and y must have at least one row, got none")
    _check_targets(targets, loss, missing)
    weights = _weights(targets, classes, missing, sample_weight, class_weight, are_all=are_all)
    if scaler is not None:
        inputs = scaler.scale_x(inputs)
        targets = scaler.scale_y(targets)
    if apart_from is not None:
        inputs, targets = (a.copy() if np.may_share_memory(a, apart_from) else a for a in (inputs, targets))
    fields = {"x": _fields(inputs)}
    if classes is None:
        fields["y"] = _fields(targets)
    else:
        fields["labels"] = ffi.cast("int32_t *", classes.__array_interface__["data"][0])
    if weights is not None:
        fields["sample_weights"] = ffi.cast("float *", weights.__array_interface__["data"][0])
    return Samples(ffi.new("NNSamples *", fields), inputs, targets if classes is None else classes, weights)


def _check_targets(targets: NDArray[np.float32], loss: Loss, missing: str) -> None:
    if missing == "raise":
        check_finite(targets, "y")
    elif np.isinf(targets).any():
        check_finite(np.where(np.isnan(targets), np.float32(0), targets), "y")
    if len(targets) and isinstance(loss, (CrossEntropy, BinaryCrossEntropy)):
        if (targets < 0).any():
            raise ValueError(f"y must be probabilities, got {np.nanmin(targets)}")
        if isinstance(loss, BinaryCrossEntropy) and (targets > 1).any():
            raise ValueError(f"y must be probabilities, got {np.nanmax(targets)}")


def _weights(
    targets: NDArray[np.float32],
    classes: NDArray[np.int32] | None,
    missing: str,
    sample_weight: ArrayLike | None,
    class_weight: Mapping[int, float] | str | None,
    *,
    are_all: bool,
) -> NDArray[np.float32] | None:
    """The weights of the samples, 1 on average if these are all; None if all are 1. A sample without any target has none."""
    num = len(targets) if classes is None else len(classes)
    parts: list[NDArray[np.float64]] = []
    if sample_weight is not None:
        parts.append(sample_weights(sample_weight, num))
    if class_weight is not None:
        parts.append(_class_weights(class_weight, targets, classes))
    if missing == "ignore" and classes is None:
        there = ~np.isnan(targets).all(axis=1)
        if not there.all():
            parts.append(np.asarray(there, dtype=np.float64))
    if not parts:
        return None
    weights: NDArray[np.float64] = np.prod(parts, axis=0)
    if are_all:
        if not weights.max() > 0:
            raise ValueError("no sample counts: each has a weight of 0 or no target")
        weights /= weights.max()  # or a sum of large ones is infinite
        weights /= weights.mean()
    return np.ascontiguousarray(np.minimum(weights, FLOAT_MAX), dtype=np.float32)


def sample_weights(values: ArrayLike, num: int) -> NDArray[np.float64]:
    """Return a weight for each of so many samples, as it came; a TypeError or ValueError if it is none."""
    array = to_array(values, "sample_weight")
    refuse_mask(array, "sample_weight")
    if array.dtype.kind not in "fiub":
        raise TypeError(f"sample_weight must be real numbers, got an array of dtype {array.dtype}")
    if array.shape != (num,):
        raise ValueError(f"sample_weight must have shape ({num},), one number a sample, got {array.shape}")
    if not (np.isfinite(array).all() and (array >= 0).all()):
        raise ValueError("sample_weight must be finite and not negative")
    return array.astype(np.float64)


def _class_weights(
    class_weight: Mapping[int, float] | str, targets: NDArray[np.float32], classes: NDArray[np.int32] | None
) -> NDArray[np.float64]:
    """The weight of each sample by its class: its label, or 0 or 1 for a network with one output."""
    if classes is None:
        if targets.shape[1] != 1 or not np.isin(targets, (0, 1)).all():
            raise ValueError("class_weight needs integer labels, or targets 0 and 1 for a network with one output")
        classes = targets[:, 0].astype(np.int32)
    if isinstance(class_weight, str):
        if class_weight != "balanced":
            raise ValueError(f"class_weight must be 'balanced' or a mapping of labels to numbers, got {class_weight!r}")
        counts = np.bincount(classes)
        balanced: NDArray[np.float64] = len(classes) / (np.count_nonzero(counts) * counts[classes].astype(np.float64))
        return balanced
    if not isinstance(class_weight, Mapping):
        raise TypeError(f"class_weight must be 'balanced' or a mapping of labels to numbers, got {class_weight!r}")
    absent = sorted(set(np.unique(classes).tolist()) - set(class_weight))
    if absent:
        raise ValueError(f"class_weight has no weight for the label {absent[0]}")
    table = np.zeros(int(classes.max()) + 1)
    for label in np.unique(classes).tolist():
        weight = real(class_weight[label], f"class_weight[{label}]")
        if weight < 0:
            raise ValueError(f"class_weight[{label}] must not be negative, got {weight}")
        table[label] = weight
    return table[classes]


def _as_labels(y: ArrayLike, num_classes: int) -> NDArray[np.int32] | None:
    """Return y as numbers of outputs if that is what it holds, None if it has two dimensions."""
    array = to_array(y, "y")
    if array.ndim != 1:
        return None
    if array.dtype.kind not in "iu":
        raise TypeError(
            f"y must be integer labels, or rows of {num_classes} probabilities, got {array.dtype} of shape {array.shape}"
        )
    refuse_mask(array, "y")
    array = np.array(array)  # C takes labels for places in memory: what is checked here must not change any more
    if len(array) and (array.min() < 0 or array.max() >= num_classes):
        raise ValueError(f"y must be labels from 0 to {num_classes - 1}, got {array.min()} to {array.max()}")
    return np.ascontiguousarray(array, dtype=np.int32)


def refuse_mask(array: NDArray[Any], name: str) -> None:
    """Raise a TypeError for a masked array: numpy would give C the values that are hidden."""
    if isinstance(array, np.ma.MaskedArray):
        raise TypeError(f"{name} is a masked array, which nnpy does not read: fill or drop the masked values first")


def to_array(values: ArrayLike, name: str) -> NDArray[Any]:
    """Return an array of any type; a ValueError that names it if it is ragged."""
    try:
        return values if isinstance(values, np.ndarray) else np.asarray(values)
    except ValueError as error:  # a ragged list
        raise ValueError(f"{name} must be a rectangular array of numbers: {error}") from error


def _fits(array: NDArray[Any]) -> bool:
    """Whether a Matrix can describe the array: columns next to each other, rows whole floats apart."""
    rows, columns = array.shape
    return (
        array.flags.aligned
        and (columns == 1 or array.strides[1] == array.itemsize)
        and (rows == 1 or array.strides[0] % array.itemsize == 0)
    )


def check_finite(array: NDArray[np.float32], name: str) -> None:
    """Raise a ValueError that names the first element that is NaN, infinite, or was too large for float32."""
    rows, columns = array.shape
    step = max(1, _ELEMENTS_PER_CHECK // columns)
    for start in range(0, rows, step):
        part = array[start : start + step]
        place = lib.nn_first_nonfinite(as_matrix(part))
        if place < part.size:
            row, column = divmod(place, columns)
            value = part[row, column]
            raise ValueError(
                f"{name} must be finite in float32, got {name}[{start + row}, {column}] = {value}; "
                "NaN and infinity are refused, and so is a number beyond 3.4e38"
            )
