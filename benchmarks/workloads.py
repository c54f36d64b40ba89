"""The workloads: network sizes, data, initial parameters, and how a result is verified. No library is named here.

A workload is one of seven kinds, each a class. Every library gets the same data and, where it allows that, the same initial
parameters. Results are compared with float64 NumPy, or with the loss or the accuracy that the training must reach.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[Any]
Sizes = tuple[int, ...]
Parameters = tuple[list[Array], list[Array]]  # weights, shape (n_in, n_out) for each layer; biases, shape (n_out,)


class VerificationError(Exception):
    """The result of a library is wrong."""


@dataclass(frozen=True)
class Training:
    """One epoch of training a network, in mini-batches of shuffled samples.

    SGD minimises the cross-entropy of a softmax output layer, Adam (betas 0.9 and 0.999, eps 1e-8) the squared error of a
    linear one. A subclass may have it otherwise.
    """

    sizes: Sizes
    num_samples: int
    batch_size: int
    optimizer: Literal["sgd", "adam"]
    learning_rate: float
    repetitions: int
    hidden: Literal["relu", "tanh"] = "relu"

    @property
    def classifies(self) -> bool:
        """Whether the loss is the cross-entropy, not the squared error."""
        return self.optimizer == "sgd"

    def data(self) -> tuple[Array, Array]:
        """Return x, shape (n, n_in), and y: class labels, shape (n,), or targets, shape (n, n_out)."""
        x, scores = random_samples(self.num_samples, self.sizes[0], self.sizes[-1])
        return (x, scores.argmax(axis=1)) if self.classifies else (x, np.tanh(scores))

    def verify(self, train_in_order: Callable[[Array, Array], Sequence[Array]]) -> None:
        """Train on three mini-batches without shuffling, and compare how the weights change.

        Parameters
        ----------
        train_in_order : callable
            Takes x and y, trains a new network on them for one epoch, and returns the weights of the layers.
        """
        x, y = self.data()
        x, y = x[: 3 * self.batch_size], y[: 3 * self.batch_size]
        initial = initial_parameters(self.sizes)[0]
        for before, after, right in zip(initial, train_in_order(x, y), self._expected_weights(x, y), strict=True):
            change, expected = np.asarray(after) - before, right - before
            if self.optimizer == "adam":  # Adam divides by the size of the gradient, which magnifies rounding errors
                cosine = (change * expected).sum() / np.sqrt((change**2).sum() * (expected**2).sum())
                wrong = not cosine > 0.99
            else:  # a pre-activation of nearly 0 may have either sign, so a few weights may differ
                wrong = not np.mean(~(np.abs(change - expected) <= 2e-3 * np.abs(expected).max())) <= 1e-4
            if wrong:
                raise VerificationError("the weights after three mini-batches are wrong")

    def _expected_weights(self, x: Array, y: Array) -> list[Array]:
        """Compute the weights after one epoch on x and y in order, in float64."""
        w, b = ([p.astype(float) for p in part] for part in initial_parameters(self.sizes))
        parameters = w + b
        m = [np.zeros_like(p) for p in parameters]
        v = [np.zeros_like(p) for p in parameters]
        for step, begin in enumerate(range(0, len(x), self.batch_size), start=1):
            targets = y[begin : begin + self.batch_size]
            a = layer_outputs(w, b, x[begin : begin + self.batch_size], self.hidden)
            n = len(targets)
            difference = softmax(a[-1]) - np.eye(self.sizes[-1])[targets] if self.classifies else 2 * (a[-1] - targets)
            delta = difference / n
            w_grads: list[Array] = []
            b_grads: list[Array] = []
            for layer in reversed(range(len(w))):
                w_grads.insert(0, a[layer].T @ delta)
                b_grads.insert(0, delta.sum(axis=0))
                delta = delta @ w[layer].T * (a[layer] > 0 if self.hidden == "relu" else 1 - a[layer] ** 2)
            for i, (p, grad) in enumerate(zip(parameters, w_grads + b_grads, strict=True)):
                if self.optimizer == "adam":
                    m[i] += 0.1 * (grad - m[i])
                    v[i] += 0.001 * (grad * grad - v[i])
                    m_hat, v_hat = m[i] / (1 - 0.9**step), v[i] / (1 - 0.999**step)
                    p -= self.learning_rate * m_hat / (np.sqrt(v_hat) + 1e-8)
                else:
                    p -= self.learning_rate * grad
        return w


@dataclass(frozen=True)
class Step(Training):
    """One step on one batch, in a call of its own, as for streaming data."""

    calls: int = 2000  # timed together


@dataclass(frozen=True)
class Prediction:
    """The outputs of a network with one ReLU hidden layer and a softmax output layer."""

    sizes: Sizes
    num_samples: int
    calls: int  # timed together
    repetitions: int
    tolerance: float = 1e-5

    def inputs(self) -> Array:
        """Return x, shape (n, n_in)."""
        return random_samples(self.num_samples, self.sizes[0], self.sizes[-1])[0]

    def verify(self, outputs: ArrayLike) -> None:
        """Compare the outputs, shape (n, n_out), with probabilities computed in float64."""
        expected = softmax(layer_outputs(*initial_parameters(self.sizes), self.inputs())[-1])
        if not np.abs(np.asarray(outputs) - expected).max() < self.tolerance:
            raise VerificationError("the outputs are wrong")


@dataclass(frozen=True)
class QuantizedPrediction(Prediction):
    """The outputs of the same network with weights and inputs of 8 bits."""

    tolerance: float = 0.02


class Xor:
    """Full-batch gradient descent on XOR: the blog post's 2-2-1 sigmoid network, data and learning rate."""

    x = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
    y = np.array([[0], [1], [1], [0]], np.float32)
    learning_rate = 10
    repetitions = 3
    verified_iterations = 10_000

    def initial_parameters(self) -> list[Array]:
        """Return the post's initial w1, b1, w2 and b2: its generator with the seed 69, uniform from 0 to 1."""
        values = (
            [[0.000540019478648901, 0.07610738277435303], [0.13676723837852478, 0.6468591094017029]],
            [0.760939359664917, 0.108183853328228],
            [[0.2460785210132599], [0.8416654467582703]],
            [0.8714519739151001],
        )
        return [np.array(value, np.float32) for value in values]

    def verify(self, outputs: ArrayLike) -> None:
        """Compare the outputs after `verified_iterations` iterations with those in the post."""
        if not np.abs(np.ravel(outputs) - [0.004951, 0.995321, 0.994320, 0.004433]).max() < 1e-4:
            raise VerificationError(f"the outputs are wrong: {np.ravel(outputs)}")


@dataclass(frozen=True)
class Digits:
    """Training on MNIST to 98 % accuracy on the test images: one recipe for every library, evaluation included.

    The network has one ReLU hidden layer and a softmax output layer. Adam's learning rate rises linearly from 0 during the
    warm-up, then falls linearly to 0.
    """

    hidden_size: int = 256
    epochs: int = 4
    batch_size: int = 128
    learning_rate: float = 5e-3
    warmup_epochs: float = 0.3
    repetitions: int = 3

    def data(self) -> tuple[Array, Array, Array, Array]:
        """Return x_train, y_train, x_test and y_test, read from the folder that NNPY_MNIST names."""
        from nnpy.datasets import load_mnist

        return load_mnist()

    def verify(self, outputs: ArrayLike, labels: Array) -> None:
        """Check the accuracy: the recipe reaches 98.0 % for some seeds and a little less for others."""
        accuracy = np.mean(np.asarray(outputs).argmax(axis=1) == labels)
        print(f"{100 * accuracy:.2f} % of the test images are classified correctly", file=sys.stderr)
        if not accuracy >= 0.978:
            raise VerificationError(f"the accuracy is {accuracy}")


@dataclass(frozen=True)
class Regression:
    """Training a 5-10-1 network with a tanh hidden layer until the mean squared error falls below a target.

    Levenberg-Marquardt and L-BFGS use the full batch, Adam mini-batches of shuffled samples.
    """

    method: Literal["levenberg-marquardt", "lbfgs", "adam"]
    sizes: Sizes = (5, 10, 1)
    num_samples: int = 400
    target_loss: float = 2e-3  # the targets have variance 1
    max_epochs: int = 20_000
    learning_rate: float = 1e-2  # Adam's
    batch_size: int = 32  # Adam's

    def data(self) -> tuple[Array, Array]:
        """Return Friedman's first function without noise, standardised (J. Friedman, Annals of Statistics 19, 1991)."""
        x = np.random.default_rng(5).random((self.num_samples, 5))
        y = 10 * np.sin(np.pi * x[:, 0] * x[:, 1]) + 20 * (x[:, 2] - 0.5) ** 2 + 10 * x[:, 3] + 5 * x[:, 4]
        x, y = (x - x.mean(axis=0)) / x.std(axis=0), (y - y.mean()) / y.std()
        return x.astype(np.float32), y.astype(np.float32)[:, np.newaxis]

    def verify(self, loss: float, outputs: ArrayLike) -> None:
        """Check the loss that ended the training, and for the full batch that the outputs, shape (n, 1), have that loss."""
        if not loss < self.target_loss:
            raise VerificationError(f"{self.method} reaches a loss of {loss} only")
        if self.method != "adam":  # Adam's loss is the mean over an epoch, during which the parameters change
            mse = mean_squared_error(outputs, self.data()[1])
            if not mse < 1.01 * self.target_loss:
                raise VerificationError(f"the loss is {mse}, not {loss}")


@dataclass(frozen=True)
class ManyNetworks:
    """Training many small networks, each from its own initial parameters, on the same data with Adam."""

    together: bool  # whether all are trained in one call, not one network after another
    num_networks: int = 64
    sizes: Sizes = (8, 16, 1)  # a tanh hidden layer
    num_samples: int = 500
    batch_size: int = 32
    epochs: int = 20
    learning_rate: float = 1e-2

    def data(self) -> tuple[Array, Array]:
        """Return x, shape (n, 8), and y, shape (n, 1)."""
        rng = np.random.default_rng(6)
        x = rng.random((self.num_samples, 8), dtype=np.float32)
        return x, np.tanh(x @ rng.standard_normal((8, 1), dtype=np.float32))

    def verify(self, outputs: Sequence[ArrayLike]) -> None:
        """Check that each network, with outputs of shape (n, 1), is better than the best constant."""
        y = self.data()[1]
        if len(outputs) != self.num_networks or not all(mean_squared_error(o, y) < y.var() for o in outputs):
            raise VerificationError("a network has not learnt")


Workload = Training | Prediction | Xor | Digits | Regression | ManyNetworks

WORKLOADS: dict[str, Workload] = {
    "xor": Xor(),
    "mnist-32": Training((784, 128, 10), 60_000, 32, "sgd", learning_rate=0.1, repetitions=3),
    "mnist-128": Training((784, 128, 10), 60_000, 128, "sgd", learning_rate=0.1, repetitions=3),
    "large-512": Training((1024, 1024, 1024, 10), 16_384, 512, "sgd", learning_rate=0.1, repetitions=3),
    "adam-32": Training((20, 64, 64, 1), 20_000, 32, "adam", learning_rate=1e-3, repetitions=5),
    "adam-256": Training((20, 64, 64, 1), 20_000, 256, "adam", learning_rate=1e-3, repetitions=9),
    "mnist-98": Digits(),
    "regression-levenberg": Regression("levenberg-marquardt"),
    "regression-lbfgs": Regression("lbfgs"),
    "regression-adam": Regression("adam"),
    "many-at-once": ManyNetworks(together=True),
    "many-one-by-one": ManyNetworks(together=False),
    "adam-full": Training((4, 32, 16, 4), 10_000, 10_000, "adam", learning_rate=1e-3, repetitions=100, hidden="tanh"),
    "adam-deep": Training(
        (28, 300, 300, 300, 300, 300, 1), 10_000, 100, "adam", learning_rate=1e-3, repetitions=3, hidden="tanh"
    ),
    "step-adam": Step((4, 16, 2), 32, 32, "adam", learning_rate=1e-3, repetitions=7, hidden="tanh"),
    "step-sgd": Step((4, 16, 2), 32, 32, "sgd", learning_rate=0.1, repetitions=7, hidden="tanh"),
    "predict-one": Prediction((4, 16, 2), 1, calls=5000, repetitions=7),
    "predict-64": Prediction((4, 16, 2), 64, calls=2000, repetitions=7),
    "predict-many": Prediction((784, 128, 10), 10_000, calls=1, repetitions=15),
    "predict-int8": QuantizedPrediction((784, 128, 10), 10_000, calls=1, repetitions=15),
}


def initial_parameters(sizes: Sizes) -> Parameters:
    """Return He-initialised weights, shape (n_in, n_out) for each layer, and constant biases, shape (n_out,)."""
    rng = np.random.default_rng(1)
    pairs = list(pairwise(sizes))
    weights: list[Array] = [(rng.standard_normal(pair) * (2 / pair[0]) ** 0.5).astype(np.float32) for pair in pairs]
    return weights, [np.full(num_out, 0.01, np.float32) for _, num_out in pairs]


def random_samples(num_samples: int, num_in: int, num_out: int) -> tuple[Array, Array]:
    """Return inputs uniform from 0 to 1, shape (n, num_in), and scores that a network can learn, shape (n, num_out)."""
    rng = np.random.default_rng(2)
    x = rng.random((num_samples, num_in), dtype=np.float32)
    teacher = rng.standard_normal((num_in, num_out)).astype(np.float32)
    return x, (x - 0.5) @ teacher


def layer_outputs(w: list[Array], b: list[Array], x: Array, hidden: str = "relu") -> list[Array]:
    """Compute x and the outputs of each layer in float64: "relu" or "tanh" in the hidden layers, none in the last."""
    a = [x.astype(float)]
    for layer, (weights, biases) in enumerate(zip(w, b, strict=True)):
        z = a[-1] @ weights + biases
        a.append(z if layer == len(w) - 1 else np.maximum(z, 0) if hidden == "relu" else np.tanh(z))
    return a


def softmax(z: Array) -> Array:
    """Return the softmax of each row of z."""
    e = np.exp(z - z.max(axis=1, keepdims=True))
    probabilities: Array = e / e.sum(axis=1, keepdims=True)
    return probabilities


def mean_squared_error(outputs: ArrayLike, y: Array) -> float:
    """Compute the mean squared error in float64. Both have the shape (n, 1)."""
    outputs = np.asarray(outputs, float)
    if outputs.shape != y.shape:
        raise VerificationError(f"outputs of shape {y.shape} are expected, got {outputs.shape}")
    return float(np.mean((outputs - y) ** 2))
