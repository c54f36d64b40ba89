"""The same network in pure Python: no numpy, no C, the formulas of backpropagation as one writes them down.

It is what nnpy is checked against, and what it is compared with in the benchmark. Numbers are Python's floats, 64 bits wide;
a matrix is a list of rows, and the biases of a layer are a list of numbers.

>>> from nnpy import reference
>>> net = reference.NeuralNetwork([2, 2, 1])
>>> net.randomize(0.0, 1.0, seed=69)
>>> x, y = [[0, 0], [0, 1], [1, 0], [1, 1]], [[0], [1], [1], [0]]
>>> round(net.mse(x, y), 6)
0.356169
>>> net.gradient_descent(x, y, rate=10, iterations=1)
>>> round(net.mse(x, y), 6)
0.252265
"""

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

__all__ = ["Gradient", "NeuralNetwork", "minstd", "sigmoid"]

Row = Sequence[float]


def sigmoid(z: float) -> float:
    """Compute 1 / (1 + exp(-z)), without overflow for a large negative z."""
    if z >= 0:
        return 1.0 / (1.0 + math.exp(-z))
    return math.exp(z) / (1.0 + math.exp(z))


def minstd(seed: int) -> Iterator[float]:
    """Draw from [0, 1], endlessly, with the minimal standard generator of Park and Miller (CACM 31, 1988)."""
    state = seed % (2**31 - 1) or 123459876
    while True:
        state = 16807 * state % (2**31 - 1)
        yield state / (2**31 - 1)


class Gradient:
    """One number for each weight and bias: weights[l][k][j] from neuron k of layer l to neuron j of the next."""

    def __init__(self, layer_sizes: Sequence[int]) -> None:
        self.layer_sizes = tuple(layer_sizes)
        pairs = list(pairwise(self.layer_sizes))
        self.weights = [[[0.0] * columns for _ in range(rows)] for rows, columns in pairs]
        self.biases = [[0.0] * columns for _, columns in pairs]

    def rows(self) -> Iterator[list[float]]:
        """Yield the lists that hold the parameters, in order: each row of weights[0], biases[0], and so on."""
        for weights, biases in zip(self.weights, self.biases, strict=True):
            yield from weights
            yield biases

    @property
    def parameters(self) -> list[float]:
        """All weights and biases in one new list."""
        return [p for row in self.rows() for p in row]


class NeuralNetwork(Gradient):
    """A fully connected network of sigmoid layers, with the methods of `nnpy.NeuralNetwork` that the post has.

    Parameters begin at 0.
    """

    def randomize(self, low: float, high: float, *, seed: int) -> None:
        """Set every weight and bias to a random number from [low, high]."""
        draw = minstd(seed)
        for row in self.rows():
            row[:] = [next(draw) * (high - low) + low for _ in row]

    def activations(self, sample: Row) -> list[list[float]]:
        """Compute the activations of all layers, those of the inputs first."""
        a = [list(sample)]
        for weights, biases in zip(self.weights, self.biases, strict=True):
            previous = a[-1]
            a.append(
                [
                    sigmoid(sum(previous[k] * weights[k][j] for k in range(len(previous))) + b)
                    for j, b in enumerate(biases)
                ]
            )
        return a

    def forward(self, x: Sequence[Row]) -> list[list[float]]:
        """Compute the outputs for every row of x."""
        return [self.activations(sample)[-1] for sample in x]

    def mse(self, x: Sequence[Row], y: Sequence[Row]) -> float:
        """C = 1/n sum_i sum_j (a_ij - y_ij)^2."""
        return sum(
            (a - t) ** 2 for out, row in zip(self.forward(x), y, strict=True) for a, t in zip(out, row, strict=True)
        ) / len(x)

    def finite_diff(self, x: Sequence[Row], y: Sequence[Row], *, eps: float = 1e-1) -> Gradient:
        """(C(p + eps) - C(p)) / eps for every parameter p."""
        cost = self.mse(x, y)
        return self._differences(lambda: (self.mse(x, y) - cost) / eps, eps)

    def central_diff(self, x: Sequence[Row], y: Sequence[Row], *, eps: float = 1e-5) -> Gradient:
        """(C(p + eps) - C(p - eps)) / 2 eps for every parameter p: the gradient to ten digits or so."""
        up = self._differences(lambda: self.mse(x, y), eps)
        down = self._differences(lambda: self.mse(x, y), -eps)
        for high, low in zip(up.rows(), down.rows(), strict=True):
            high[:] = [(h - w) / (2 * eps) for h, w in zip(high, low, strict=True)]
        return up

    def backpropagation(self, x: Sequence[Row], y: Sequence[Row]) -> Gradient:
        """Compute the gradient of C, going backwards from dC_i/da = 2 (a - y) at the output.

        With z what the sigmoid is taken of, a = sigmoid(z) and da/dz = a (1 - a).
        """
        grad = Gradient(self.layer_sizes)
        for sample, target in zip(x, y, strict=True):
            a = self.activations(sample)
            dC_da = [2 * (a_j - y_j) for a_j, y_j in zip(a[-1], target, strict=True)]
            for l in range(len(self.weights) - 1, -1, -1):  # noqa: E741
                weights, previous = self.weights[l], a[l]
                dC_dz = [d * a_j * (1 - a_j) for d, a_j in zip(dC_da, a[l + 1], strict=True)]
                for j, d in enumerate(dC_dz):
                    grad.biases[l][j] += d
                for k, a_k in enumerate(previous):
                    row = grad.weights[l][k]
                    for j, d in enumerate(dC_dz):
                        row[j] += d * a_k
                if l > 0:
                    dC_da = [sum(d * w for d, w in zip(dC_dz, weights[k], strict=True)) for k in range(len(previous))]
        for row in grad.rows():
            row[:] = [g / len(x) for g in row]
        return grad

    def gradient_descent(self, x: Sequence[Row], y: Sequence[Row], *, rate: float, iterations: int = 1) -> None:
        """p -= rate * dC/dp for every parameter p, `iterations` times."""
        for _ in range(iterations):
            grad = self.backpropagation(x, y)
            for row, derivatives in zip(self.rows(), grad.rows(), strict=True):
                row[:] = [p - rate * g for p, g in zip(row, derivatives, strict=True)]

    def _differences(self, measure: Callable[[], float], step: float) -> Gradient:
        """Measure something with each parameter moved by `step` in its turn."""
        result = Gradient(self.layer_sizes)
        for row, measured in zip(self.rows(), result.rows(), strict=True):
            for i, saved in enumerate(row):
                row[i] = saved + step
                measured[i] = measure()
                row[i] = saved
        return result
