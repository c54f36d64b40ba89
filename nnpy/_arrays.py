"""Arrays in: the one place that checks what a caller passes and describes it to C as a strided Matrix."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nnpy._c import ffi, lib

__all__ = ["Samples", "as_array", "as_matrix", "as_samples", "check_finite"]

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
    array = values if isinstance(values, np.ndarray) else _to_array(values, name)
    if isinstance(array, np.ma.MaskedArray):
        raise TypeError(f"{name} is a masked array, which nnpy does not read: fill or drop the masked values first")
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
    labels: bool = False,
    apart_from: NDArray[np.float32] | None = None,
) -> Samples:
    """Check inputs x and targets y, as `as_array` does, and that they go together.

    Parameters
    ----------
    x, y : array_like
        The inputs and the targets.
    columns : tuple of int
        How many of each there have to be.
    labels : bool
        Whether y may be integers of shape (n,), numbers of outputs, instead.
    apart_from : ndarray, optional
        Memory that is going to be written to: x and y are copied if they are views of it.
    """
    inputs = as_array(x, "x", columns[0], what="input")
    classes = _as_labels(y, columns[1]) if labels else None
    targets = as_array(y, "y", columns[1], what="output") if classes is None else np.empty((0, columns[1]), np.float32)
    num_targets = len(targets) if classes is None else len(classes)
    if len(inputs) != num_targets:
        raise ValueError(f"x and y must have the same number of rows, got {len(inputs)} and {num_targets}")
    if len(inputs) == 0:
        raise ValueError("x and y must have at least one row, got none")
    check_finite(targets, "y")
    if labels and len(targets) and targets.min() < 0:
        raise ValueError(f"y must be probabilities, got {targets.min()}")
    if apart_from is not None:
        inputs, targets = (a.copy() if np.may_share_memory(a, apart_from) else a for a in (inputs, targets))
    if classes is None:
        return Samples(ffi.new("NNSamples *", (_fields(inputs), _fields(targets))), inputs, targets)
    pointer = ffi.cast("int32_t *", classes.__array_interface__["data"][0])
    return Samples(ffi.new("NNSamples *", {"x": _fields(inputs), "labels": pointer}), inputs, classes)


def _as_labels(y: ArrayLike, num_classes: int) -> NDArray[np.int32] | None:
    """Return y as numbers of outputs if that is what it holds, None if it has two dimensions."""
    array = y if isinstance(y, np.ndarray) else _to_array(y, "y")
    if array.ndim != 1:
        return None
    if array.dtype.kind not in "iu":
        raise TypeError(
            f"y must be integer labels, or rows of {num_classes} probabilities, got {array.dtype} of shape {array.shape}"
        )
    if isinstance(array, np.ma.MaskedArray):
        raise TypeError("y is a masked array, which nnpy does not read: fill or drop the masked values first")
    array = np.array(array)  # C takes labels for places in memory: what is checked here must not change any more
    if len(array) and (array.min() < 0 or array.max() >= num_classes):
        raise ValueError(f"y must be labels from 0 to {num_classes - 1}, got {array.min()} to {array.max()}")
    return np.ascontiguousarray(array, dtype=np.int32)


def _to_array(values: ArrayLike, name: str) -> NDArray[Any]:
    try:
        return np.asarray(values)
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
