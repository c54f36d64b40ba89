"""``nnpy mnist``: trains a network on handwritten digits, tests it and saves it.

The networks have relu in the hidden layers and softmax in the last one. A `Recipe` says how they are trained: `DEFAULT` is
quick, `BEST` is for accuracy, with distorted copies of the images (`nnpy._commands.augment`) and two networks merged into one.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import nnpy
from nnpy._commands.augment import Distortion, distort
from nnpy._commands.files import check_writable
from nnpy.datasets import MNIST, load_mnist

__all__ = ["BEST", "DEFAULT", "Recipe", "layer_sizes", "merge", "run", "train"]

_NUM_PIXELS, _NUM_CLASSES = 784, 10

_PUBLISHED = (
    "Published by Simard, Steinkraus and Platt (2003) for 800 hidden units: 98.4 % with cross-entropy, 99.3 % with elastic "
    "distortions as well."
)


class Recipe(NamedTuple):
    """How to train.

    Attributes
    ----------
    hidden_layer_sizes : tuple of int
        Neurons in each hidden layer.
    epochs : int
        Passes through the training images.
    batch_size : int
        Images in a mini-batch.
    learning_rate : float
        Highest learning rate of Adam. It rises linearly during the warm-up, then falls linearly to 0.
    warmup_epochs : float
        Length of the warm-up in epochs.
    distortion : Distortion or None
        If given, each epoch trains on newly distorted copies of the images.
    num_networks : int
        How many networks to train, from different initial weights, and to merge.
    """

    hidden_layer_sizes: tuple[int, ...] = (256,)
    epochs: int = 4
    batch_size: int = 128
    learning_rate: float = 5e-3
    warmup_epochs: float = 0.3
    distortion: Distortion | None = None
    num_networks: int = 1


DEFAULT = Recipe()
BEST = Recipe(
    hidden_layer_sizes=(1024, 512),
    epochs=45,
    batch_size=256,
    learning_rate=2e-3,
    distortion=Distortion(),
    num_networks=2,
)


def layer_sizes(recipe: Recipe) -> tuple[int, ...]:
    """Return the neurons of each layer of one network, inputs first."""
    return (_NUM_PIXELS, *recipe.hidden_layer_sizes, _NUM_CLASSES)


def run(
    folder: Path | None, recipe: Recipe, *, seed: int = 0, save: Path | None = None, report: Callable[[str], object]
) -> str:
    """Train, test and save a network; return the report.

    Parameters
    ----------
    folder : Path or None
        Folder of the MNIST files; see `nnpy.datasets.load_mnist`.
    recipe : Recipe
        How to train.
    seed : int
        Seed of the initial weights, the shuffling and the distortions, from 0 to 2**32 - 1.
    save : Path or None
        Where to save the network.
    report : callable
        Called with a line of text after each epoch.

    Raises
    ------
    OSError, ValueError
        If the images cannot be read or the network cannot be saved. Whether `save` is in a writable folder is checked before
        the training.
    MemoryError
        If the network does not fit into memory.
    KeyboardInterrupt
        On Ctrl-C; nothing is saved.
    """
    if save is not None:
        check_writable(save)
    data = load_mnist(folder, dtype=np.uint8)
    net, seconds = train(data, recipe, seed=seed, report=report)
    matrix = _confusion_matrix(data.y_test, _predict_labels(net, _to_float(data.x_test)))
    num_images, num_correct = len(data.y_test), int(matrix.trace())
    lines = [
        f"test accuracy {100 * num_correct / num_images:.2f} %, {num_images - num_correct:,} of {num_images:,} images wrong; "
        f"trained in {seconds:.1f} s",
        _PUBLISHED,
        "",
        *_format_matrix(matrix),
    ]
    if save is not None:
        net.save(save)
        lines += ["", f"saved to {save}, {save.stat().st_size / 1000:,.0f} KB"]
    return "\n".join(lines)


def train(
    data: MNIST, recipe: Recipe, *, seed: int, report: Callable[[str], object]
) -> tuple[nnpy.NeuralNetwork, float]:
    """Train by a recipe; see `run` for the parameters.

    Returns
    -------
    net : NeuralNetwork
        The merged network.
    seconds : float
        Time of the training, without the tests after each epoch.

    Raises
    ------
    KeyboardInterrupt
        On Ctrl-C.
    """
    x_train, x_test = _to_float(data.x_train), _to_float(data.x_test)
    networks: list[nnpy.NeuralNetwork] = []
    seconds = 0.0

    def report_epoch(prefix: str, seconds: float, net: nnpy.NeuralNetwork, history: nnpy.History) -> None:
        accuracy = np.mean(_predict_labels(net, x_test) == data.y_test)
        report(
            f"{prefix}epoch {len(history)} of {recipe.epochs}: training loss {history.loss[-1]:.4f}, "
            f"test accuracy {100 * accuracy:.2f} %, {seconds + history.seconds.sum():.1f} s"
        )

    for number in range(recipe.num_networks):
        prefix = f"network {number + 1} of {recipe.num_networks}, " if recipe.num_networks > 1 else ""
        activations = ["relu"] * len(recipe.hidden_layer_sizes) + ["softmax"]
        net = nnpy.NeuralNetwork(layer_sizes(recipe), activations, seed=seed + number)
        options: dict[str, Any] = {
            "optimizer": nnpy.Adam(nnpy.LinearDecay(recipe.learning_rate, warmup_epochs=recipe.warmup_epochs)),
            "epochs": recipe.epochs,
            "batch_size": recipe.batch_size,
            "seed": seed + number,
            "callbacks": partial(report_epoch, prefix, seconds),
        }
        if recipe.distortion is None:
            history = net.fit(x_train, data.y_train, **options)
        else:
            with ThreadPoolExecutor(nnpy.get_num_threads()) as executor:
                batches = _DistortedImages(data, recipe.distortion, (seed, number), x_train, executor)
                history = net.fit(batches, **options)
        if history.stopped == "interrupt":
            raise KeyboardInterrupt
        networks.append(net)
        seconds += float(history.seconds.sum())
    return merge(networks), seconds


class _DistortedImages:
    """The training images as an iterable of one batch, newly distorted in each epoch.

    The copies are written to `out`, shape (n, 784), which exists already: an epoch allocates no memory for them.
    """

    def __init__(
        self,
        data: MNIST,
        distortion: Distortion,
        seed: tuple[int, ...],
        out: NDArray[np.float32],
        executor: Executor,
    ) -> None:
        self._data, self._distortion, self._seed = data, distortion, seed
        self._out, self._executor = out, executor
        self._epoch = 0

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator[tuple[NDArray[np.float32], NDArray[np.int64]]]:
        seed = (*self._seed, self._epoch)
        distort(self._data.x_train, self._distortion, seed, self._out, executor=self._executor)
        self._epoch += 1
        yield self._out, self._data.y_train


def merge(networks: Sequence[nnpy.NeuralNetwork]) -> nnpy.NeuralNetwork:
    """Merge networks that end in softmax into one that averages their logits, the inputs of the softmax.

    Parameters
    ----------
    networks : sequence of NeuralNetwork
        Networks with the same layers.

    Returns
    -------
    net : NeuralNetwork
        Its hidden layers have the neurons of all networks side by side. Weights between neurons of different networks are zero;
        weights and biases of the output layer are divided by the number of networks. So the output is the normalised
        geometric mean of theirs.
    """
    first, num_networks = networks[0], len(networks)
    if num_networks == 1:
        return first
    inputs, *hidden, outputs = first.layer_sizes
    net = nnpy.NeuralNetwork([inputs, *(num_networks * size for size in hidden), outputs], first.activations, seed=0)
    net.parameters = 0
    last = len(net.weights) - 1
    for number, part in enumerate(networks):
        for layer, (weights, biases) in enumerate(zip(part.weights, part.biases, strict=True)):
            rows, columns = (slice(number * size, (number + 1) * size) for size in weights.shape)
            if layer == 0:
                rows = slice(None)  # all networks read the same inputs
            if layer == last:
                net.weights[layer][rows] += weights / num_networks
                net.biases[layer] += biases / num_networks
            else:
                net.weights[layer][rows, columns] = weights
                net.biases[layer][columns] = biases
    return net


def _to_float(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.divide(images, 255, dtype=np.float32)


def _predict_labels(net: nnpy.NeuralNetwork, x: NDArray[np.float32]) -> NDArray[np.intp]:
    labels: NDArray[np.intp] = net.predict(x).argmax(axis=1)
    return labels


def _confusion_matrix(y_true: NDArray[np.int64], y_pred: NDArray[np.intp]) -> NDArray[np.int64]:
    """Count the images of each true digit (row) by predicted digit (column)."""
    matrix = np.zeros((_NUM_CLASSES, _NUM_CLASSES), np.int64)
    np.add.at(matrix, (y_true, y_pred), 1)
    return matrix


def _format_matrix(matrix: NDArray[np.int64]) -> list[str]:
    return [
        "confusion matrix (rows: true digit, columns: predicted digit)",
        " " * 5 + "".join(f"{digit:6}" for digit in range(_NUM_CLASSES)),
        *(f"{digit:5}" + "".join(f"{count:6}" for count in row) for digit, row in enumerate(matrix.tolist())),
    ]
