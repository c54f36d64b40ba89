"""Cross-validated ensembles of networks: what the tabular estimators train.

A recipe is a set of hyperparameters. A bag is the networks of one recipe, one for each fold: each is trained on the other
folds, and keeps the parameters of the epoch that was best on its own. So a bag has a prediction for each sample by a network
that has not seen it. From these, the weights of the bags in the ensemble are chosen.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nnpy._network import NeuralNetwork
from nnpy._optimizers import AdamW
from nnpy._scaler import Scaler
from nnpy._training import loop
from nnpy._training.data import Given
from nnpy._training.early_stopping import EarlyStopping
from nnpy._training.options import FitOptions
from nnpy._training.pool import Pool, Task

__all__ = ["Bag", "Plan", "Problem", "Recipe", "choose_weights", "draw_recipes", "fit_bags", "make_folds", "mean_loss"]

_WORK = 1e12  # multiply-adds of a training with effort=1
_MIN_EPOCHS, _MAX_EPOCHS = 24, 64
_MIN_RECIPES, _MAX_RECIPES = 2, 8
_CYCLES = 4  # of the learning rate
_FULL_DECAY_ROWS = 4000
_GREEDY_ROUNDS = 20
_ADAM_BETAS = (0.9, 0.95)


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


# The first recipes: different from each other, and each good on many tables. benchmarks/recipes.py compares them.
_FOR_CLASSES = (
    Recipe(weight_decay=1.0),
    Recipe(uses_bins=False, weight_decay=0.5),
    Recipe(activation="relu", input_scale=4.0, dropout=0.15, weight_decay=1.0, label_smoothing=0.05),
    Recipe(uses_bins=False, activation="relu", input_scale=4.0),
)
_FOR_NUMBERS = (
    Recipe(),
    Recipe(uses_bins=False, learning_rate=0.08),
    Recipe(activation="relu", input_scale=4.0, weight_decay=0.5),
    Recipe(uses_bins=False, activation="relu", input_scale=8.0),
)


def draw_recipes(number: int, seed: int, *, is_classifier: bool) -> list[Recipe]:
    """Return that many recipes: at first those above, then others at random."""
    random = np.random.default_rng(seed)
    recipes = list(_FOR_CLASSES if is_classifier else _FOR_NUMBERS)
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


class Problem(NamedTuple):
    """What is learned.

    Attributes
    ----------
    x : ndarray of float32, shape (n, columns)
        An encoded table.
    num_plain : int
        The columns before the piecewise linear encoding.
    y : ndarray, shape (n,) or (n, 1)
        Labels (int32), or scaled targets (float32).
    num_outputs : int
    sample_weight : ndarray of float64, shape (n,), or None
    folds : ndarray of int, shape (n,)
        The fold of each sample.
    seed : int
    """

    x: NDArray[np.float32]
    num_plain: int
    y: NDArray[Any]
    num_outputs: int
    sample_weight: NDArray[np.float64] | None
    folds: NDArray[np.intp]
    seed: int

    @property
    def is_classifier(self) -> bool:
        """Whether y are labels."""
        return self.y.ndim == 1

    @property
    def num_folds(self) -> int:
        """The number of folds."""
        return int(self.folds.max()) + 1

    def inputs(self, recipe: Recipe) -> NDArray[np.float32]:
        """Return the inputs that a recipe uses."""
        return self.x if recipe.uses_bins else self.x[:, : self.num_plain]


class Plan(NamedTuple):
    """How much is trained."""

    num_recipes: int
    num_epochs: int
    batch_size: int

    @classmethod
    def make(cls, problem: Problem, effort: float) -> Plan:
        """Choose for a problem: more epochs and recipes where they cost less."""
        num = len(problem.x)
        cost = (
            3.0 * num * Recipe().num_parameters(problem.x.shape[1], problem.num_outputs)
        )  # of an epoch of all folds but one
        cost *= problem.num_folds - 1
        epochs = effort * _WORK / cost
        num_epochs = int(np.clip(epochs / 4, _MIN_EPOCHS, _MAX_EPOCHS))
        num_recipes = int(np.clip(epochs / num_epochs, _MIN_RECIPES, _MAX_RECIPES))
        return cls(num_recipes, num_epochs, 64 if num < 20_000 else 128)


class Bag:
    """The networks of one recipe.

    Attributes
    ----------
    recipe : Recipe
    networks : list of NeuralNetwork
        One for each fold that was trained.
    held_out : ndarray of float64, shape (n, outputs)
        The prediction for each sample by the network that was not trained on it; NaN where there is none.
    weight : float
        In the ensemble.
    """

    def __init__(self, problem: Problem, recipe: Recipe) -> None:
        self.recipe = recipe
        self.networks: list[NeuralNetwork] = []
        self.held_out = np.full((len(problem.x), problem.num_outputs), np.nan)
        self.weight = 0.0

    def predict(self, x: NDArray[np.float32], num_plain: int) -> NDArray[np.float64]:
        """Return the mean prediction of the networks, shape (n, outputs). x: an encoded table."""
        x = x if self.recipe.uses_bins else x[:, :num_plain]
        total = np.zeros((len(x), self.networks[0].layer_sizes[-1]))
        for net in self.networks:
            total += net.predict(x)
        return total / len(self.networks)

    def forget_held_out(self) -> None:
        """Free the memory of the predictions for the samples of the training, which are needed no more."""
        self.held_out = self.held_out[:0].copy()


def make_folds(y: NDArray[Any], num_folds: int, random: np.random.Generator) -> NDArray[np.intp]:
    """Return the fold of each sample, at random; each fold has its share of each class, or of each range of targets."""
    order = random.permutation(len(y))
    order = order[np.argsort(y[order], kind="stable")]
    folds = np.empty(len(y), dtype=np.intp)
    for start in range(0, len(y), num_folds):
        part = order[start : start + num_folds]
        folds[part] = random.permutation(num_folds)[: len(part)]
    return folds


def fit_bags(problem: Problem, bags: Sequence[Bag], folds: Sequence[int], plan: Plan) -> None:
    """Train a network of each bag for each of the folds, all at once. Raises KeyboardInterrupt after Ctrl-C."""
    last = "softmax" if problem.is_classifier else "linear"
    trained: list[tuple[Bag, int, NeuralNetwork]] = []
    tasks: list[Task] = []
    for bag in bags:
        recipe, x = bag.recipe, problem.inputs(bag.recipe)
        y = _smoothed(problem.y, problem.num_outputs, recipe.label_smoothing)
        decay = recipe.weight_decay * min(1.0, _FULL_DECAY_ROWS / len(x))
        rate = partial(_rate, peak=recipe.learning_rate / math.sqrt(recipe.width))
        for fold in folds:
            seed = (problem.seed + len(tasks)) % 2**32
            net = recipe.network(x, problem.num_outputs, last, seed)
            options = FitOptions(
                loss="cross_entropy" if problem.is_classifier else "mse",
                optimizer=AdamW(rate, _ADAM_BETAS, weight_decay=decay),
                epochs=plan.num_epochs,
                batch_size=plan.batch_size,
                seed=seed,
                early_stopping=EarlyStopping(max(4, plan.num_epochs // 2)),
                sample_weight=problem.sample_weight,
                dropout=recipe.dropout or None,
                metrics=(),
            )
            given = Given(x, y, None).split(problem.folds == fold)
            tasks.append(Task(partial(loop.fit, net, given, options)))
            trained.append((bag, fold, net))
    histories = Pool(tasks).run(progress=False)
    if any(history.stopped == "interrupt" for history in histories):
        raise KeyboardInterrupt
    for bag, fold, net in trained:
        held_out = problem.folds == fold
        bag.networks.append(net)
        bag.held_out[held_out] = net.predict(problem.inputs(bag.recipe)[held_out])


def _smoothed(y: NDArray[Any], num_classes: int, smoothing: float) -> NDArray[Any]:
    """Return labels as probabilities of which a part is shared out among all classes (label smoothing)."""
    if not smoothing or y.ndim > 1:
        return y
    targets = np.full((len(y), num_classes), smoothing / num_classes, dtype=np.float32)
    targets[np.arange(len(y)), y] += 1 - smoothing
    return targets


def _rate(time: float, num_epochs: int, *, peak: float) -> float:
    """Return the learning rate: cycles of a cosine, each twice as long as the one before (section 3.3 of RealMLP)."""
    return peak * 0.5 * (1 - math.cos(2 * math.pi * math.log2(1 + (2**_CYCLES - 1) * time / num_epochs)))


def mean_loss(prediction: NDArray[np.float64], y: NDArray[Any], sample_weight: NDArray[np.float64] | None) -> float:
    """Return the mean cross-entropy for labels, else the mean squared error. Rows that are NaN are left out."""
    known = ~np.isnan(prediction[:, 0])
    if y.ndim == 1:
        chosen = prediction[np.arange(len(y)), y]
        losses = -np.log(np.maximum(chosen, 1e-15))
    else:
        losses = ((prediction - y) ** 2).sum(axis=1)
    return float(np.average(losses[known], weights=None if sample_weight is None else sample_weight[known]))


def choose_weights(problem: Problem, bags: Sequence[Bag]) -> None:
    """Set the weights of the bags: add the one that makes the loss smallest, again and again; the best sum of all counts.

    R. Caruana, A. Niculescu-Mizil, G. Crew and A. Ksikes, "Ensemble selection from libraries of models", ICML 2004.
    """
    total, counts = np.zeros_like(bags[0].held_out), np.zeros(len(bags))
    best, best_counts = math.inf, counts
    for num in range(_GREEDY_ROUNDS):
        losses = [mean_loss((total + bag.held_out) / (num + 1), problem.y, problem.sample_weight) for bag in bags]
        number = int(np.argmin(losses))
        total += bags[number].held_out
        counts = counts + (np.arange(len(bags)) == number)
        if losses[number] < best:
            best, best_counts = losses[number], counts
    for bag, weight in zip(bags, best_counts / best_counts.sum(), strict=True):
        bag.weight = float(weight)
