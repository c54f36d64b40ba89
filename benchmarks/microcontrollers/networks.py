"""The networks, which nnpy trains on small data with fixed seeds, and the inputs that they are tested with."""

import os
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

import nnpy
from nnpy.datasets import load_mnist


class Network(NamedTuple):
    """A trained network."""

    name: str  # an identifier of C
    label: str
    net: nnpy.NeuralNetwork
    x_train: NDArray[np.float32]  # for calibrations, too
    x_test: NDArray[np.float32]

    @property
    def activations(self) -> list[str]:
        """The activation function of each layer."""
        return list(self.net.activations)


def xor() -> Network:
    """Return the network of the post, tested on a grid of 32 x 32 points."""
    x = np.float32([[0, 0], [0, 1], [1, 0], [1, 1]])
    net = nnpy.NeuralNetwork([2, 2, 1])
    net.randomize(0.0, 1.0, seed=69)
    net.gradient_descent(x, np.float32([[0], [1], [1], [0]]), rate=10, iterations=10_000)
    line = np.linspace(0, 1, 32, dtype=np.float32)
    grid = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)
    return Network("xor", "XOR, 2-2-1, sigmoid", net, grid, grid)


def sine() -> Network:
    """Return a network that computes sin(x) from 0 to 2 pi: the first example of TFLite Micro."""
    x = np.random.default_rng(0).uniform(0, 2 * np.pi, size=(1000, 1)).astype(np.float32)
    net = nnpy.NeuralNetwork([1, 16, 16, 1], ["relu", "relu", "linear"], seed=0)
    net.fit_scaler(None)  # the other generators know no scaler
    net.fit(x, np.sin(x), epochs=500, batch_size=32, seed=0)
    return Network("sine", "sine, 1-16-16-1, relu", net, x, np.linspace(0, 2 * np.pi, 1000, dtype=np.float32)[:, None])


def groups() -> Network:
    """Return a classifier of four classes, each of them two clouds of points in 33 dimensions."""
    rng = np.random.default_rng(0)
    centers = rng.normal(size=(8, 33))
    cloud = rng.integers(8, size=3000)
    x = (centers[cloud] + rng.normal(scale=1.5, size=(3000, 33))).astype(np.float32)
    net = nnpy.NeuralNetwork([33, 20, 10, 4], ["relu", "relu", "softmax"], seed=0)
    net.fit_scaler(None)  # the other generators know no scaler
    net.fit(x[:2000], cloud[:2000] % 4, epochs=20, batch_size=32, seed=0)
    return Network("groups", "33-20-10-4, relu, softmax", net, x[:2000], x[2000:])


def mnist() -> Network:
    """Return a classifier of the MNIST digits, tested on the first 100 test images."""
    data = load_mnist(os.environ["NNPY_MNIST"])
    net = nnpy.NeuralNetwork([784, 48, 48, 10], ["relu", "relu", "softmax"], seed=0)
    net.fit_scaler(None)  # the other generators know no scaler
    net.fit(data.x_train, data.y_train, epochs=10, batch_size=128, seed=0)
    return Network("mnist", "MNIST, 784-48-48-10, relu, softmax", net, data.x_train[:1000], data.x_test[:100])


NETWORKS: dict[str, Callable[[], Network]] = {"xor": xor, "sine": sine, "groups": groups, "mnist": mnist}
