"""``nnpy mnist``: trains a network on handwritten digits, tests it, and saves it.

The networks are plain ones, relu in the hidden layers and softmax at the end. What makes one good is the recipe: `PLAIN` is the
quick one, `BEST` goes for accuracy, by distorted copies of the images and several networks that decide together.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nnpy._backend import get_num_threads
from nnpy._commands.augment import Distortion, distort
from nnpy._history import History
from nnpy._network import NeuralNetwork
from nnpy._optimizers import Adam
from nnpy._schedules import LinearDecay
from nnpy.datasets import MNIST, load_mnist

__all__ = ["BEST", "PLAIN", "Recipe", "merge", "run", "train"]

_CLASSES = 10

_PUBLISHED = (
    "Published by Simard, Steinkraus and Platt (2003) for 800 hidden units: 98.4 % with the cross-entropy, 99.3 % with "
    "elastic distortions."
)


class Recipe(NamedTuple):
    """How to train.

    Attributes
    ----------
    hidden : tuple of int
        Neurons in each hidden layer.
    epochs : int
        How many times to go through the training images.
    batch_size : int
        How many images make a step.
    rate : float
        Adam's highest learning rate; it falls linearly to 0.
    warmup : float
        How many epochs it takes to rise to that first.
    distortion : Distortion or None
        Train on copies of the images, distorted anew in each epoch.
    networks : int
        How many networks to train, from different initial weights, and to merge.
    """

    hidden: tuple[int, ...] = (256,)
    epochs: int = 4
    batch_size: int = 128
    rate: float = 5e-3
    warmup: float = 0.3
    distortion: Distortion | None = None
    networks: int = 1


PLAIN = Recipe()
BEST = Recipe(hidden=(1024, 512), epochs=45, batch_size=256, rate=2e-3, distortion=Distortion(), networks=2)


def run(
    folder: Path | None, recipe: Recipe, *, seed: int = 0, save: Path | None = None, report: Callable[[str], object]
) -> str:
    """Train, test and save; return what to print at the end.

    Parameters
    ----------
    folder : Path or None
        Where the files are; see `nnpy.datasets.load_mnist`.
    recipe : Recipe
        How to train.
    seed : int
        Of everything random, from 0 to 2**32 - 1.
    save : Path or None
        Where to write the network.
    report : callable
        Takes a line for each epoch.

    Raises
    ------
    OSError, ValueError, MemoryError
        If the images cannot be read, the network cannot be written or does not fit into memory. Whether there is a folder to
        write to is looked at first.
    """
    if save is not None:
        _check_target(save)
    data = load_mnist(folder, dtype=np.uint8)
    net, seconds = train(data, recipe, seed=seed, report=report)
    table = _confusion(_predict(net, _floats(data.x_test)), data.y_test)
    num_images, num_right = len(data.y_test), int(table.trace())
    lines = [
        f"{100 * num_right / num_images:.2f} % of {num_images:,} test images, {num_images - num_right:,} wrong; "
        f"trained in {seconds:.1f} s",
        _PUBLISHED,
        "",
        *_describe(table),
    ]
    if save is not None:
        net.save(save)
        lines += ["", f"saved to {save}, {save.stat().st_size / 1000:,.0f} KB"]
    return "\n".join(lines)


def train(data: MNIST, recipe: Recipe, *, seed: int, report: Callable[[str], object]) -> tuple[NeuralNetwork, float]:
    """Train by a recipe on pixels of uint8; return the network and the seconds that it took, without the tests between.

    The test images are for the reports alone: nothing is chosen by them.

    Raises
    ------
    KeyboardInterrupt
        On Ctrl-C.
    """
    x_test = _floats(data.x_test)
    x = _floats(data.x_train)
    layers = [x.shape[1], *recipe.hidden, _CLASSES]
    networks: list[NeuralNetwork] = []
    done = 0.0
    for member in range(recipe.networks):
        which = f"network {member + 1} of {recipe.networks}, " if recipe.networks > 1 else ""

        def tell(net: NeuralNetwork, history: History, which: str = which, done: float = done) -> None:
            right = np.mean(_predict(net, x_test) == data.y_test)
            report(
                f"{which}epoch {len(history)} of {recipe.epochs}: loss {history.loss[-1]:.4f}, "
                f"{100 * right:.2f} % of the test images, {done + history.seconds.sum():.1f} s"
            )

        net = NeuralNetwork(layers, ["relu"] * len(recipe.hidden) + ["softmax"], seed=seed + member)
        options: dict[str, Any] = {
            "optimizer": Adam(LinearDecay(recipe.rate, warmup_epochs=recipe.warmup)),
            "epochs": recipe.epochs,
            "batch_size": recipe.batch_size,
            "seed": seed + member,
            "callbacks": tell,
        }
        if recipe.distortion is None:
            history = net.fit(x, data.y_train, **options)
        else:
            with ThreadPoolExecutor(get_num_threads()) as threads:
                history = net.fit(_Distorted(data, recipe.distortion, (seed, member), x, threads), **options)
        if history.stopped == "interrupt":
            raise KeyboardInterrupt
        networks.append(net)
        done += float(history.seconds.sum())
    return merge(networks), done


class _Distorted:
    """The training images as one batch, distorted anew each time that one goes through it, in memory that is there."""

    def __init__(
        self,
        data: MNIST,
        distortion: Distortion,
        seed: tuple[int, ...],
        out: NDArray[np.float32],
        threads: Executor,
    ) -> None:
        self._data, self._distortion, self._seed, self._out, self._threads = data, distortion, seed, out, threads
        self._epoch = 0

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator[tuple[NDArray[np.float32], NDArray[np.int64]]]:
        distort(self._data.x_train, self._distortion, (*self._seed, self._epoch), self._out, threads=self._threads)
        self._epoch += 1
        yield self._out, self._data.y_train


def merge(networks: Sequence[NeuralNetwork]) -> NeuralNetwork:
    """Put networks that end in softmax side by side, into one that averages what goes into the softmax.

    They have to have the same layers. The result has the hidden neurons of all of them; the weights between neurons of
    different networks are zero, those into the outputs are divided by the number of networks. Its output is the geometric mean
    of theirs, normalised.
    """
    first, num_networks = networks[0], len(networks)
    if num_networks == 1:
        return first
    inputs, *hidden, outputs = first.layer_sizes
    net = NeuralNetwork([inputs, *(num_networks * size for size in hidden), outputs], first.activations, seed=0)
    net.parameters = 0
    last = len(net.weights) - 1
    for member, part in enumerate(networks):
        for layer, (weights, biases) in enumerate(zip(part.weights, part.biases, strict=True)):
            rows, columns = (slice(member * size, (member + 1) * size) for size in weights.shape)
            rows = slice(None) if layer == 0 else rows
            if layer == last:
                net.weights[layer][rows] += weights / num_networks
                net.biases[layer] += biases / num_networks
            else:
                net.weights[layer][rows, columns] = weights
                net.biases[layer][columns] = biases
    return net


def _floats(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.divide(images, 255, dtype=np.float32)


def _predict(net: NeuralNetwork, x: NDArray[np.float32]) -> NDArray[np.intp]:
    digits: NDArray[np.intp] = net.predict(x).argmax(axis=1)
    return digits


def _confusion(predicted: NDArray[np.intp], labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Count how often each digit, a row, is taken for each, a column."""
    table = np.zeros((_CLASSES, _CLASSES), np.int64)
    np.add.at(table, (labels, predicted), 1)
    return table


def _describe(table: NDArray[np.int64]) -> list[str]:
    lines = ["digit   taken for", " " * 5 + "".join(f"{digit:6}" for digit in range(_CLASSES))]
    return lines + [f"{digit:5}" + "".join(f"{count:6}" for count in row) for digit, row in enumerate(table.tolist())]


def _check_target(path: Path) -> None:
    """Say before the training, not after it, that a file cannot be written."""
    folder = path.absolute().parent
    if not folder.is_dir():
        raise ValueError(f"{path} cannot be written: there is no folder {folder}")
    if path.is_dir():
        raise ValueError(f"{path} cannot be written: it is a folder")
    if not os.access(folder, os.W_OK):
        raise ValueError(f"{path} cannot be written: the folder {folder} is read-only")
