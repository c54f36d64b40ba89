"""The scaler of a network, which standardises inputs and targets."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nnpy._arrays import row_blocks, take_rows
from nnpy._ffi import ffi, lib

__all__ = ["Scaler", "mean_and_scale"]

_ELEMENTS_IN_CACHE = 1 << 15  # of intermediate results in float64: they stay in the cache


class Scaler(NamedTuple):
    """Mean and scale of each input and, for regression, of each target: `NeuralNetwork.fit_scaler` computes them.

    The first layer gets (x - x_mean) / x_scale; an output of the network is a * y_scale + y_mean, where a is the output of the
    last layer. Both are computed in float64, so that large numbers that differ by little stay apart.

    Attributes
    ----------
    x_mean, x_scale : ndarray of float64, shape (n_inputs,)
    y_mean, y_scale : ndarray of float64, shape (n_outputs,), or None
        None where targets are not scaled.
    """

    x_mean: NDArray[np.float64]
    x_scale: NDArray[np.float64]
    y_mean: NDArray[np.float64] | None = None
    y_scale: NDArray[np.float64] | None = None

    def scale_x(self, x: NDArray[Any]) -> NDArray[np.float32]:
        """Return scaled inputs for the first layer, in new memory. x: any real dtype, shape (n, n_inputs)."""
        return _scale(x, self.x_mean, self.x_scale)

    def scale_y(self, y: NDArray[Any]) -> NDArray[np.float32]:
        """Return scaled targets for the last layer, in new memory. y: any real dtype, shape (n, n_outputs)."""
        assert self.y_mean is not None
        assert self.y_scale is not None
        return _scale(y, self.y_mean, self.y_scale)

    def unscale_y(self, a: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return outputs of the last layer in the units of the targets. a: shape (n, n_outputs)."""
        assert self.y_mean is not None
        assert self.y_scale is not None
        return np.asarray(a * self.y_scale + self.y_mean)

    @classmethod
    def fit(cls, x: NDArray[Any], y: NDArray[Any] | None = None) -> Scaler:
        """Compute mean and standard deviation of each column; a column that never changes gets the scale 1."""
        return cls(*mean_and_scale(x), *((None, None) if y is None else mean_and_scale(y)))

    @property
    def changes_x(self) -> bool:
        """Whether scaled inputs are other numbers than the inputs."""
        return bool(self.x_mean.any() or (self.x_scale != 1).any())

    def pointers(self) -> list[Any]:
        """Return the fields of an NNScaler, which point into the arrays; they keep them alive."""
        arrays = [None if a is None else np.ascontiguousarray(a, dtype=np.float64) for a in self]
        return [ffi.NULL if a is None else ffi.from_buffer("double[]", a) for a in arrays]


def _scale(array: NDArray[Any], mean: NDArray[np.float64], scale: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return (array - mean) / scale, computed in float64 and rounded to float32 once. C does the same as it reads float32."""
    scaled = np.empty(array.shape, dtype=np.float32)
    with np.errstate(invalid="ignore", over="ignore"):  # the caller checks for infinity and NaN
        for rows in row_blocks(array, _ELEMENTS_IN_CACHE):
            difference = np.subtract(array[rows], mean, dtype=np.float64)
            difference /= scale
            scaled[rows] = difference
    return scaled


def mean_and_scale(
    array: NDArray[Any], rows: NDArray[np.uintp] | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the mean and standard deviation of each column, with the same bits on every machine; NaN is left out.

    A deviation of 0 is replaced by 1. rows: the numbers of the rows to look at; all by default.
    """

    def moments(center: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return, for each column, the sums of the differences to the center and of their squares, and their number."""
        result = np.zeros((3, array.shape[1]))
        pointers = [ffi.from_buffer("double[]", row) for row in (center, *result)]
        for block_rows in row_blocks(array, _ELEMENTS_IN_CACHE, rows=rows):
            block = np.ascontiguousarray(take_rows(array, rows, block_rows), dtype=np.float64)
            lib.nn_column_moments(ffi.from_buffer("double[]", block), *block.shape, *pointers)
        return result

    # The first number of each column is subtracted first, so that a constant column has a deviation of exactly 0.
    start = array[0 if rows is None else rows[0]].astype(np.float64)
    for block_rows in row_blocks(array, _ELEMENTS_IN_CACHE, rows=rows):
        if not np.isnan(start).any():
            break
        block = take_rows(array, rows, block_rows)
        first = np.argmax(~np.isnan(block), axis=0)
        start = np.where(np.isnan(start), block[first, np.arange(array.shape[1])], start)
    start = np.nan_to_num(start)
    sums, _, counts = moments(start)
    mean = start + sums / np.maximum(counts, 1)
    _, squares, counts = moments(mean)
    deviation = np.sqrt(squares / np.maximum(counts, 1))
    return mean, np.where(deviation > 0, deviation, 1.0)
