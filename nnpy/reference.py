"""A reference implementation in pure Python, without numpy and C: the formulas of backpropagation as plain loops.

The tests compare nnpy with it, and so does the benchmark. Numbers are Python floats (float64); a matrix is a list of rows, and
the biases of a layer are a list.

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
    """Yield random numbers from [0, 1] without end, by the minimal standard generator of Park and Miller (CACM 31, 1988)."""
    state = seed % (2**31 - 1) or 123459876
    while True:
        state = 16807 * state % (2**31 - 1)
        yield state / (2**31 - 1)


class Gradient:
    """The derivatives dC/dp of the cost with respect to all parameters.

    weights[l][k][j] belongs to the weight from neuron k of layer l to neuron j of layer l + 1, biases[l][j] to the bias of
    that neuron.
    """

    def __init__(self, layer_sizes: Sequence[int]) -> None:
        self.layer_sizes = tuple(layer_sizes)
        pairs = list(pairwise(self.layer_sizes))
        self.weights = [[[0.0] * columns for _ in range(rows)] for rows, columns in pairs]
        self.biases = [[0.0] * columns for _, columns in pairs]

    def rows(self) -> Iterator[list[float]]:
        """Yield the lists of parameters in order: each row of weights[0], biases[0], each row of weights[1], and so on."""
        for weights, biases in zip(self.weights, self.biases, strict=True):
            yield from weights
            yield biases

    @property
    def parameters(self) -> list[float]:
        """All parameters in one new list, in the order of `rows`."""
        return [p for row in self.rows() for p in row]


class NeuralNetwork(Gradient):
    """A fully connected network of sigmoid layers, with those methods of `nnpy.NeuralNetwork` that the post describes.

    All weights and biases are initially 0.
    """

    def randomize(self, low: float, high: float, *, seed: int) -> None:
        """Set all weights and biases to random numbers from [low, high]."""
        random = minstd(seed)
        for row in self.rows():
            row[:] = [next(random) * (high - low) + low for _ in row]

    def activations(self, sample: Row) -> list[list[float]]:
        """Compute the activations of all layers for one sample; the first layer is the inputs."""
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
        """Compute the outputs for each row of x, shape (n, inputs); return shape (n, outputs)."""
        return [self.activations(sample)[-1] for sample in x]

    def mse(self, x: Sequence[Row], y: Sequence[Row]) -> float:
        """Compute the cost C = 1/n sum_i sum_j (a_ij - y_ij)^2."""
        return sum(
            (a - t) ** 2 for out, row in zip(self.forward(x), y, strict=True) for a, t in zip(out, row, strict=True)
        ) / len(x)

    def finite_diff(self, x: Sequence[Row], y: Sequence[Row], *, eps: float = 1e-1) -> Gradient:
        """Approximate the gradient by forward differences, (C(p + eps) - C(p)) / eps for each parameter p."""
        cost = self.mse(x, y)
        return self._differences(lambda: (self.mse(x, y) - cost) / eps, eps)

    def central_diff(self, x: Sequence[Row], y: Sequence[Row], *, eps: float = 1e-5) -> Gradient:
        """Approximate the gradient by central differences, (C(p + eps) - C(p - eps)) / 2 eps, to about ten digits."""
        up = self._differences(lambda: self.mse(x, y), eps)
        down = self._differences(lambda: self.mse(x, y), -eps)
        for high, low in zip(up.rows(), down.rows(), strict=True):
            high[:] = [(h - w) / (2 * eps) for h, w in zip(high, low, strict=True)]
        return up

    def backpropagation(self, x: Sequence[Row], y: Sequence[Row]) -> Gradient:
        """Compute the gradient of C by backpropagation, the mean over the samples.

        For one sample, dC/da = 2 (a - y) at the output. In each layer a = sigmoid(z), so da/dz = a (1 - a).
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
        """Update all parameters `iterations` times: p -= rate * dC/dp."""
        for _ in range(iterations):
            grad = self.backpropagation(x, y)
            for row, derivatives in zip(self.rows(), grad.rows(), strict=True):
                row[:] = [p - rate * g for p, g in zip(row, derivatives, strict=True)]

    def _differences(self, measure: Callable[[], float], step: float) -> Gradient:
        """Return the value of `measure` with each parameter in turn increased by `step`."""
        result = Gradient(self.layer_sizes)
        for row, values in zip(self.rows(), result.rows(), strict=True):
            for i, saved in enumerate(row):
                row[i] = saved + step
                values[i] = measure()
                row[i] = saved
        return result
