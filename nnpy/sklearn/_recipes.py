"""Recipes: sets of hyperparameters that are good on many tables. benchmarks/recipes.py compares them."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nnpy._network import NeuralNetwork
from nnpy._scaler import Scaler

__all__ = ["Recipe", "draw_recipes"]


class Recipe(NamedTuple):
    """The hyperparameters of a network.

    Attributes
    ----------
    width, depth : int
        Of the hidden layers.
    activation : str
        Of the hidden layers.
    learning_rate : float
        The highest learning rate, times the root of the width.
    input_scale : float
        Factor of the inputs. The first layer learns faster by it, and its initial outputs do not change.
    uses_bins : bool
        Whether the inputs include the piecewise linear encoding of numbers.
    uses_log : bool
        Whether the logarithms of the targets are learned, where they are positive.
    dropout, label_smoothing : float
    weight_decay : float
        For up to 4,000 samples; less for more of them, because there are more steps.
    """

    width: int = 128
    depth: int = 3
    activation: str = "silu"
    learning_rate: float = 0.04
    input_scale: float = 2.0
    uses_bins: bool = True
    uses_log: bool = False
    dropout: float = 0.0
    weight_decay: float = 0.0
    label_smoothing: float = 0.0

    def num_parameters(self, num_inputs: int, num_outputs: int) -> int:
        """Return the number of weights and biases."""
        sizes = [num_inputs, *[self.width] * self.depth, num_outputs]
        return sum((rows + 1) * columns for rows, columns in pairwise(sizes))

    def network(self, x: NDArray[np.float32], num_outputs: int, last: str, seed: int) -> NeuralNetwork:
        """Return a network that is not trained. x: the inputs of all samples; last: the last activation."""
        num_inputs = x.shape[1]
        sizes = [num_inputs, *[self.width] * self.depth, num_outputs]
        net = NeuralNetwork(sizes, [*[self.activation] * self.depth, last], seed=seed)
        factor = self.input_scale * math.sqrt(self.width / num_inputs)
        net.weights[0][...] /= factor
        net.weights[-1][...] *= 0.1
        net._set_scaler(Scaler(x.mean(axis=0, dtype=np.float64), np.full(num_inputs, 1 / factor)))
        return net


# The first recipes: different from each other, and each good on many tables.
_FOR_CLASSES = (
    Recipe(weight_decay=1.0),
    Recipe(uses_bins=False, weight_decay=0.5),
    Recipe(activation="relu", input_scale=4.0, dropout=0.15, weight_decay=1.0, label_smoothing=0.05),
    Recipe(uses_bins=False, activation="relu", input_scale=4.0),
)
_FOR_NUMBERS = (
    Recipe(),
    Recipe(activation="relu", input_scale=4.0, weight_decay=0.5),
    Recipe(uses_bins=False, learning_rate=0.08),
    Recipe(uses_bins=False, activation="relu", input_scale=8.0),
)
_FOR_SKEWED_NUMBERS = (Recipe(), Recipe(activation="relu", input_scale=4.0, uses_log=True), *_FOR_NUMBERS[1:])


def draw_recipes(number: int, seed: int, *, is_classifier: bool, is_skewed: bool) -> list[Recipe]:
    """Return that many recipes: at first those above, then others at random. is_skewed: whether the targets are."""
    random = np.random.default_rng(seed)
    recipes = list(_FOR_CLASSES if is_classifier else _FOR_SKEWED_NUMBERS if is_skewed else _FOR_NUMBERS)
    while len(recipes) < number:
        recipes.append(
            Recipe(
                width=int(random.choice([64, 128, 192])),
                depth=int(random.choice([2, 3])),
                activation=str(random.choice(["silu", "relu", "gelu"])),
                learning_rate=float(np.exp(random.uniform(np.log(0.02), np.log(0.08)))),
                input_scale=float(random.choice([1.0, 2.0, 4.0])),
                uses_bins=bool(random.random() < 0.5),
                dropout=float(random.choice([0.0, 0.15, 0.3])),
                weight_decay=float(random.choice([0.0, 1.0, 2.0])),
                label_smoothing=float(random.choice([0.0, 0.05])),
            )
        )
    return recipes[:number]
