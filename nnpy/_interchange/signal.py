"""Collects the layers of a network from products, sums and activation functions, as other libraries and formats have them.

They write a layer as one operation or as several: a product, a sum, a batch normalisation, an activation function. A `Signal`
is what flows from one to the next; each operation returns a new one. What cannot become a layer raises a ValueError.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnpy._activations import ACTIVATIONS
from nnpy._network import NeuralNetwork
from nnpy._scaler import Scaler

__all__ = ["Signal"]

Floats = NDArray[np.float64]

_MAX_DIAGONAL = 500  # the widest layer made of a factor and a term for each number: most of its matrix is zeros


@dataclass(frozen=True, eq=False)
class Layer:
    """A layer of the network: f(a @ weights + biases)."""

    weights: Floats  # (inputs, outputs)
    biases: Floats  # (outputs,)
    activation: str


@dataclass(frozen=True, eq=False)
class Signal:
    """Numbers for each sample: ((a * scale + shift) @ weights + biases) * post_scale + post_shift.

    Here a are the outputs of the last of the `layers`, or the inputs of the network if there is none yet.

    Attributes
    ----------
    width : int
        How many numbers there are.
    layers : tuple of Layer
    scaler : (mean, scale) or None
        The first layer gets (inputs - mean) / scale.
    standard : (mean, scale) or None
        The same as `scale` and `shift` if these came from a difference and a quotient, without their rounding errors.
    scale, shift : ndarray, shape (width of a,), or None
        None stands for ones and zeros.
    weights : ndarray, shape (width of a, width), or None
        None if there has been no product yet; then there are no biases and nothing after them.
    biases, post_scale, post_shift : ndarray, shape (width,), or None
    before : Signal or None
        What the activation function of the last layer was applied to.
    rank : int
        How many dimensions the array has: 2, (samples, width), but 1 where a single output was squeezed, and more for an input
        that has not been flattened.
    is_integer : bool
        Whether it is an input of integers, with which nothing may be computed: quotients and overflows are others than those of
        floats.
    """

    width: int
    layers: tuple[Layer, ...] = ()
    scaler: tuple[Floats, Floats] | None = None
    standard: tuple[Floats, Floats] | None = None
    scale: Floats | None = None
    shift: Floats | None = None
    weights: Floats | None = None
    biases: Floats | None = None
    post_scale: Floats | None = None
    post_shift: Floats | None = None
    before: Signal | None = None
    rank: int = 2
    is_integer: bool = False

    @property
    def num_elements(self) -> int:
        """About how many numbers an operation on this signal reads or creates."""
        return self.width + (0 if self.weights is None else self.weights.size) + len(self.layers)

    # ---- Operations ----

    def matmul(self, matrix: NDArray[Any]) -> Signal:
        """Multiply by a matrix, shape (width, new width)."""
        if matrix.ndim != 2 or matrix.shape[0] != self.width:
            raise ValueError(f"a matrix of shape {matrix.shape} does not fit {self.width} numbers for each sample")
        self._check_floats()
        if self.rank != 2:
            raise ValueError(f"it multiplies an array of {self.rank} dimensions by a matrix")
        if not matrix.shape[1]:
            raise ValueError(f"a matrix of shape {matrix.shape} has no columns")
        before = self._with_scaler() if self.weights is None else self.activate("linear")
        return replace(before, width=matrix.shape[1], weights=_real(matrix))

    def multiply(self, factors: NDArray[Any]) -> Signal:
        """Multiply by a number, or by one for each column."""
        values = self._columns(factors)
        if self.weights is None:
            shift = None if self.shift is None else self.shift * values
            return replace(self, standard=None, scale=_product(self.scale, values), shift=shift)
        shift = None if self.post_shift is None else self.post_shift * values
        return replace(self, post_scale=_product(self.post_scale, values), post_shift=shift)

    def divide(self, divisors: NDArray[Any]) -> Signal:
        """Divide by a number, or by one for each column."""
        values = self._columns(divisors)
        if not (values != 0).all():
            raise ValueError("it divides by zero")
        result = self.multiply(1 / values)
        if self.weights is not None or self.scale is not None:
            return result
        return replace(result, standard=(np.zeros(self.width) if self.shift is None else -self.shift, values))

    def add(self, terms: NDArray[Any]) -> Signal:
        """Add a number, or one for each column."""
        values = self._columns(terms)
        if self.weights is None:
            return replace(self, standard=None, shift=_sum(self.shift, values))
        if self.post_scale is None:
            return replace(self, biases=_sum(self.biases, values))
        return replace(self, post_shift=_sum(self.post_shift, values))

    def normalize(
        self, mean: Floats, variance: Floats, epsilon: float, scale: Floats | float = 1.0, shift: Floats | float = 0.0
    ) -> Signal:
        """Apply a batch normalisation with known statistics: (x - mean) / sqrt(variance + epsilon) * scale + shift."""
        with np.errstate(all="ignore"):  # `network` refuses what is not finite
            factors = scale / np.sqrt(variance + epsilon)
            return self.multiply(factors).add(shift - mean * factors)

    def activate(self, activation: str) -> Signal:
        """Apply an activation function, by nnpy's name."""
        if self.weights is None:
            raise ValueError(f'the activation function "{activation}" follows no layer')
        if activation == "softmax" and self.rank != 2:
            raise ValueError(f'"softmax" is over the outputs of a sample, not over an array of {self.rank} dimensions')
        return Signal(self.width, (*self.layers, self._layer(activation)), self.scaler, before=self, rank=self.rank)

    def is_activation_of(self, other: Any, activation: str) -> bool:
        """Whether this is nothing but that activation function of another signal."""
        before = self.before
        if before is None or before is not other or before.rank != self.rank:
            return False
        is_closed = self.weights is None and self.scale is None and self.shift is None
        return is_closed and self.layers[-1].activation == activation

    # ---- The network ----

    def network(self, *, scales_outputs: bool = False) -> NeuralNetwork:
        """Return the network whose outputs are this signal.

        Parameters
        ----------
        scales_outputs : bool
            Whether a scale and shift after a last layer without activation function become the scaler of the network, whose
            outputs are float64 then. Otherwise they become part of the weights.

        Raises
        ------
        ValueError
            If there is no layer, or a parameter is not finite in float32.
        """
        signal: Signal = self
        y_part: tuple[Floats | None, Floats | None] = (None, None)
        if scales_outputs and self.weights is not None and self.post_scale is not None and (self.post_scale > 0).all():
            y_part = (np.zeros(self.width) if self.post_shift is None else self.post_shift, self.post_scale)
            signal = replace(self, post_scale=None, post_shift=None)
        elif scales_outputs and self.weights is None and self.layers and self._scales_homogeneous_outputs():
            y_part = (np.zeros(self.width) if self.shift is None else self.shift, self.scale)
            signal = replace(self, scale=None, shift=None)
        elif self.weights is None and (self.scale is not None or self.shift is not None):
            if self.width > _MAX_DIAGONAL:
                raise ValueError(f"its {self.width} outputs are scaled after the last activation function")
            signal = self.matmul(np.eye(self.width))
        if signal.weights is not None:
            signal = signal.activate("linear")
        if not signal.layers:
            raise ValueError("it has no layer")
        sizes = [len(signal.layers[0].weights), *(layer.weights.shape[1] for layer in signal.layers)]
        net = NeuralNetwork(sizes, [layer.activation for layer in signal.layers], seed=0)
        with np.errstate(over="ignore"):
            for number, layer in enumerate(signal.layers):
                net.weights[number], net.biases[number] = layer.weights, layer.biases
        if not np.isfinite(net.parameters).all():
            raise ValueError("it has a parameter that is not finite in float32")
        if not all(np.isfinite(part).all() for part in y_part if part is not None):
            raise ValueError("the scaling of its outputs is not finite")
        if signal.scaler is not None or y_part[1] is not None:
            x_part = (np.zeros(sizes[0]), np.ones(sizes[0])) if signal.scaler is None else signal.scaler
            net._set_scaler(Scaler(x_part[0], x_part[1], y_part[0], y_part[1]))
        net._seed, net._can_choose_activation, net._can_choose_scaler = None, False, False
        return net

    # ---- Parts ----

    def _scales_homogeneous_outputs(self) -> bool:
        """Whether the last activation function has f(s z) = s f(z), and its outputs are scaled by positive factors."""
        is_homogeneous = ACTIVATIONS[self.layers[-1].activation].is_homogeneous
        return is_homogeneous and self.scale is not None and bool((self.scale > 0).all())

    def _check_floats(self) -> None:
        if self.is_integer:
            raise ValueError("it computes with integers before they become floats")

    def _columns(self, values: NDArray[Any]) -> Floats:
        """Return a number for each column."""
        self._check_floats()
        numbers = _real(values)
        if numbers.ndim > self.rank or (self.rank != 2 and numbers.size != 1):
            raise ValueError(f"an array of shape {numbers.shape} does not fit one of {self.rank} dimensions")
        if numbers.size == 1:
            return np.full(self.width, numbers.item(), dtype=np.float64)
        if numbers.size != self.width or numbers.shape[-1] != self.width:
            raise ValueError(f"an array of shape {numbers.shape} does not fit {self.width} numbers for each sample")
        return numbers.reshape(self.width)

    def _with_scaler(self) -> Signal:
        """Return the same with a scaler for a positive scale and a shift of the inputs."""
        if self.layers or (self.scale is None and self.shift is None):
            return self
        scale = np.ones(self.width) if self.scale is None else self.scale
        shift = np.zeros(self.width) if self.shift is None else self.shift
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            mean, deviation = (-shift / scale, 1 / scale) if self.standard is None else self.standard
        if not ((deviation > 0) & np.isfinite(deviation) & np.isfinite(mean)).all():
            return self
        return replace(self, scaler=(mean, deviation), standard=None, scale=None, shift=None)

    def _layer(self, activation: str) -> Layer:
        """Return the layer that ends here, with all scales and shifts in its weights and biases."""
        assert self.weights is not None
        weights, biases = self.weights, np.zeros(self.width) if self.biases is None else self.biases
        with np.errstate(over="ignore", invalid="ignore"):  # `network` refuses infinite parameters
            if self.shift is not None:
                biases = biases + self.shift @ weights
            if self.scale is not None:
                weights = self.scale[:, np.newaxis] * weights
            if self.post_scale is not None:
                weights, biases = weights * self.post_scale, biases * self.post_scale
            if self.post_shift is not None:
                biases = biases + self.post_shift
        return Layer(weights, biases, activation)


def _real(values: NDArray[Any]) -> Floats:
    if values.dtype.kind not in "fiu":
        raise ValueError(f"it computes with {values.dtype}, not with real numbers")
    return values.astype(np.float64)


def _product(values: Floats | None, factors: Floats) -> Floats:
    return factors if values is None else values * factors


def _sum(values: Floats | None, terms: Floats) -> Floats:
    return terms if values is None else values + terms
