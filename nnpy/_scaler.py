"""The scaling of inputs and targets that a network carries with it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nnpy._arrays import as_matrix
from nnpy._ffi import ffi, lib

__all__ = ["Scaler"]

Array = NDArray[np.float32]


class Scaler(NamedTuple):
    """Mean and scale of each input and, for regression, of each target: `NeuralNetwork.fit_scaler` makes it.

    What the layers see is (x - x_mean) / x_scale; what they give is a, and the output a * y_scale + y_mean. All are float32, of
    shape (n_inputs,) or (n_outputs,); those of y are None where targets are not scaled.
    """

    x_mean: Array
    x_scale: Array
    y_mean: Array | None = None
    y_scale: Array | None = None

    def scale_x(self, x: Array) -> Array:
        """Return the inputs as the layers see them, in new memory."""
        with np.errstate(invalid="ignore", over="ignore"):  # C tells of infinity and NaN
            scaled: Array = np.subtract(x, self.x_mean, order="C")
            scaled /= self.x_scale
        return scaled

    def scale_y(self, y: Array) -> Array:
        """Return targets as the layers should give them."""
        return y if self.y_mean is None or self.y_scale is None else (y - self.y_mean) / self.y_scale

    def unscale_y(self, a: Array) -> Array:
        """Turn what the layers give into outputs, in place."""
        if self.y_mean is not None and self.y_scale is not None:
            a *= self.y_scale
            a += self.y_mean
        return a

    @classmethod
    def of(cls, x: Array, y: Array | None) -> Scaler:
        """Take mean and standard deviation; a column that never changes has the scale 1."""
        return cls(*_mean_and_scale(x), *((None, None) if y is None else _mean_and_scale(y)))


def _mean_and_scale(a: Array) -> tuple[Array, Array]:
    """Mean and standard deviation of each column, with the same bits on every machine; NaN is left out."""
    x = np.ascontiguousarray(a, dtype=np.float64)

    def moments(center: NDArray[np.float64]) -> NDArray[np.float64]:
        result = np.zeros((3, x.shape[1]))
        arrays = [ffi.from_buffer("double[]", row) for row in (center, *result)]
        lib.nn_column_moments(ffi.from_buffer("double[]", x), *x.shape, *arrays)
        return result

    sums, _, counts = moments(np.zeros(x.shape[1]))
    mean = sums / np.maximum(counts, 1)
    _, squares, counts = moments(mean)
    scale = np.sqrt(squares / np.maximum(counts, 1)).astype(np.float32)
    return mean.astype(np.float32), np.where(scale > 0, scale, np.float32(1))
