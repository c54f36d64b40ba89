"""Arrays: checks what a caller passes, converts it where necessary, and describes it to C as a strided Matrix.

Every array of a caller comes through `to_array`. What inputs and targets mean is left to `nnpy._samples`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nnpy._ffi import ffi, lib
from nnpy._validation import FLOAT_MAX

__all__ = [
    "NO_MATRIX",
    "as_matrix",
    "as_table",
    "check_finite",
    "feature_names",
    "is_within",
    "matrix_fields",
    "row_blocks",
    "row_numbers",
    "take_rows",
    "to_array",
    "to_float32",
]

_ELEMENTS_PER_BLOCK = 1 << 22  # elements that are processed between two points at which Ctrl-C can interrupt
_ELEMENTS_PER_COPY = 1 << 16  # the same where each block is copied: the copy stays in the cache
_FLOATS = ffi.typeof("float[]")
_SIZE_MAX = 2 ** (8 * ffi.sizeof("size_t")) - 1

NO_MATRIX = ffi.new("Matrix *")[0]  # its data is NULL: for results that are not wanted


# ---- From numpy to C ----


def as_matrix(array: NDArray[np.float32]) -> Any:
    """Describe a float32 array as a C Matrix, without a copy. The caller keeps `array` alive.

    Parameters
    ----------
    array : ndarray of float32, shape (rows, columns)
        As `to_float32` returns it: 2-D, native byte order, unit column stride.
    """
    return ffi.new("Matrix *", matrix_fields(array))[0]


def matrix_fields(array: NDArray[np.float32]) -> tuple[int, int, int, Any]:
    """Return rows, cols, stride and data of a Matrix. A negative stride is passed as size_t modulo 2**64, as MAT_AT expects."""
    rows, columns = array.shape
    if array.flags.c_contiguous:
        return rows, columns, columns, ffi.from_buffer(_FLOATS, array)
    stride = array.strides[0] // array.itemsize if rows > 1 else columns
    return rows, columns, stride & _SIZE_MAX, ffi.cast("float *", array.__array_interface__["data"][0])


def to_float32(array: NDArray[Any]) -> NDArray[np.float32]:
    """Return a 2-D array as C can read it: the same memory where possible, else one converted copy."""
    if array.dtype != np.float32 or not _has_matrix_layout(array):
        with np.errstate(over="ignore"):  # `check_finite` reports the place
            array = np.array(array, dtype=np.float32, order="C")
    return array


def _has_matrix_layout(array: NDArray[Any]) -> bool:
    """Whether a Matrix can describe the array: unit column stride, and a row stride of whole floats."""
    rows, columns = array.shape
    return (
        array.flags.aligned
        and (columns == 1 or array.strides[1] == array.itemsize)
        and (rows == 1 or array.strides[0] % array.itemsize == 0)
    )


def row_blocks(
    array: NDArray[Any], elements: int = _ELEMENTS_PER_BLOCK, *, rows: NDArray[np.uintp] | None = None
) -> Iterator[slice]:
    """Yield slices of consecutive rows, each with about that number of elements, so that Ctrl-C can interrupt between them.

    With `rows`, the numbers of some rows, they are slices of `rows`.
    """
    step = max(1, elements // max(1, array.shape[1]))
    for start in range(0, len(array if rows is None else rows), step):
        yield slice(start, start + step)


def row_numbers(mask: NDArray[np.bool_]) -> NDArray[np.uintp]:
    """Return the numbers of the rows where the mask is True, as C reads them."""
    return np.flatnonzero(mask).astype(np.uintp)


def take_rows(array: NDArray[Any], rows: NDArray[np.uintp] | None, block: slice | None = None) -> NDArray[Any]:
    """Return some rows of an array, as a copy; all of them, without a copy, if rows is None. block: a slice of these rows."""
    block = slice(None) if block is None else block
    return array[block] if rows is None else array[rows[block]]


def is_within(
    array: NDArray[np.float32],
    low: float,
    high: float,
    *,
    allow_nan: bool = False,
    rows: NDArray[np.uintp] | None = None,
) -> bool:
    """Whether all elements, or those in some rows, are from low to high. With `allow_nan`, NaN counts as inside."""
    if rows is None and array.size <= _ELEMENTS_PER_BLOCK:
        return _first_outside(array, low, high, allow_nan) == array.size
    elements = _ELEMENTS_PER_BLOCK if rows is None else _ELEMENTS_PER_COPY
    parts = (take_rows(array, rows, block) for block in row_blocks(array, elements, rows=rows))
    return all(_first_outside(part, low, high, allow_nan) == part.size for part in parts)


def _first_outside(array: NDArray[np.float32], low: float, high: float, allow_nan: bool) -> int:
    return int(lib.nn_first_outside(as_matrix(array), low, high, allow_nan))


def check_finite(
    array: NDArray[Any],
    name: str,
    *,
    allow_nan: bool = False,
    rows: NDArray[np.uintp] | None = None,
    convert: Callable[[NDArray[Any]], NDArray[np.float32]] | None = None,
) -> None:
    """Raise a ValueError that names the first element that is NaN, infinite, or too large for float32.

    Parameters
    ----------
    array : ndarray, shape (n, columns)
        Of any real dtype.
    name : str
        Of the argument, for the message.
    allow_nan : bool
    rows : ndarray, optional
        The numbers of the rows to look at; all by default.
    convert : callable, optional
        The conversion of some rows to float32. The default is `to_float32`.
    """
    convert = to_float32 if convert is None else convert
    is_copied = rows is not None or convert is not to_float32 or array.dtype != np.float32
    for block in row_blocks(array, _ELEMENTS_PER_COPY if is_copied else _ELEMENTS_PER_BLOCK, rows=rows):
        part = convert(take_rows(array, rows, block))
        place = _first_outside(part, -FLOAT_MAX, FLOAT_MAX, allow_nan)
        if place < part.size:
            row, column = divmod(place, array.shape[1])
            number = block.start + row if rows is None else rows[block.start + row]
            raise ValueError(
                f"{name} must be finite in float32, got {name}[{number}, {column}] = {part[row, column]}; NaN, "
                "infinity and numbers beyond 3.4e38 are refused"
            )


# ---- From the caller to numpy ----


def as_table(values: ArrayLike, name: str, columns: int, *, what: str) -> NDArray[Any]:
    """Check real numbers in rows and columns; return them as an array of their own dtype, without a copy where possible.

    Whether they are finite is left to `check_finite`, or to C as it reads them.

    Parameters
    ----------
    values : array_like of real numbers, shape (n, columns)
        Or of shape (n,) where `columns` is 1.
    name : str
        The name of the argument, for messages.
    columns : int
        The number of columns required.
    what : str
        The meaning of a column, for messages: "input" or "output".

    Returns
    -------
    array : ndarray, shape (n, columns)
        Of any real dtype.

    Raises
    ------
    TypeError
        If `values` are not real numbers.
    ValueError
        If the shape is not (n, columns).
    """
    array = values if type(values) is np.ndarray else to_array(values, name)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"{name} must be real numbers, got an array of dtype {array.dtype}")
    if array.ndim == 1 and columns == 1:
        array = array[:, np.newaxis]
    if array.ndim != 2:
        hint = f"; a single sample is {name}[np.newaxis, :]" if array.ndim == 1 and len(array) == columns else ""
        raise ValueError(f"{name} must have shape (samples, {columns}), got {array.shape}{hint}")
    if array.shape[1] != columns:
        plural = "column" if columns == 1 else "columns"
        raise ValueError(f"{name} must have {columns} {plural}, one per {what} of the network, got shape {array.shape}")
    return array


def to_array(values: Any, name: str) -> NDArray[Any]:
    """Return anything that holds an array as an ndarray: lists, data frames, tensors, objects with __array__ or __dlpack__.

    Raises
    ------
    TypeError
        For a sparse matrix, a masked array, or a data frame with a column that is not numeric, which is named.
    ValueError
        For a ragged list.
    """
    if type(values) is np.ndarray:
        return values
    if isinstance(values, np.ma.MaskedArray):
        raise TypeError(f"{name} is a masked array, which nnpy does not read: fill or drop the masked values first")
    if isinstance(values, np.ndarray):
        return np.asarray(values)
    if hasattr(values, "toarray") and hasattr(values, "nnz"):
        raise TypeError(f"{name} is a sparse matrix, and nnpy reads dense arrays only: pass {name}.toarray()")
    if _is_frame(values):
        return _frame_to_array(values, name)
    if hasattr(values, "to_numpy") and hasattr(values, "dtype"):
        return _series_to_array(values)
    if hasattr(values, "detach"):  # a tensor of PyTorch, perhaps with requires_grad
        values = values.detach()
    try:
        if hasattr(values, "__dlpack__") and not hasattr(values, "__array__"):
            return np.from_dlpack(values)
        return np.asarray(values)
    except ValueError as error:
        raise ValueError(f"{name} must be a rectangular array of numbers: {error}") from error
    except (TypeError, RuntimeError, BufferError) as error:  # such as a tensor on a GPU
        raise TypeError(f"{name} cannot be read as an array: {error}") from error


def _is_frame(values: Any) -> bool:
    """Whether this is a data frame, of pandas or polars or alike."""
    return hasattr(values, "columns") and hasattr(values, "to_numpy")


def feature_names(values: Any) -> tuple[str, ...] | None:
    """Return the names of the columns of a data frame; None for other arrays, and for names that are not strings."""
    if not _is_frame(values):
        return None
    names = tuple(values.columns)
    return names if all(isinstance(name, str) for name in names) else None


def _frame_to_array(frame: Any, name: str) -> NDArray[Any]:
    """Convert a data frame of numeric columns; missing values become NaN."""
    array = np.asarray(frame.to_numpy())
    if array.dtype.kind in "fiub":
        return array
    arrays = []
    for number, label in enumerate(frame.columns):
        series = frame.iloc[:, number] if hasattr(frame, "iloc") else frame[label]
        column = _series_to_array(series)
        if column.dtype.kind not in "fiub":
            raise TypeError(
                f"{name} must be real numbers, its column {label!r} is of type {series.dtype}: drop it or encode it as numbers"
            )
        arrays.append(column)
    return np.column_stack(arrays) if arrays else np.empty((len(frame), 0))


def _series_to_array(series: Any) -> NDArray[Any]:
    """Convert a series of pandas or polars, or a column of a data frame; missing numbers become NaN."""
    array = np.asarray(series.to_numpy())
    if array.dtype.kind == "O" and getattr(series.dtype, "kind", "O") in "fiub":  # a nullable type of pandas
        array = series.to_numpy(dtype=np.float64, na_value=np.nan)
    return array
