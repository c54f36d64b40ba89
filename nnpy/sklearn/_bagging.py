"""Cross-validated ensembles of networks: what the tabular estimators train.

A recipe is a set of hyperparameters. A bag is the networks of one recipe, one for each fold: each is trained on the other
folds, and keeps the parameters of the epoch that was best on its own. So a bag has a prediction for each sample by a network
that has not seen it. From these, the weights of the bags in the ensemble are chosen.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nnpy._network import NeuralNetwork
from nnpy._optimizers import AdamW
from nnpy._training import loop
from nnpy._training.data import Given
from nnpy._training.early_stopping import EarlyStopping
from nnpy._training.options import FitOptions
from nnpy._training.pool import Pool, Task
from nnpy.sklearn._recipes import Recipe

__all__ = ["MANY_ROWS", "Bag", "LogTarget", "Plan", "Problem", "choose_weights", "fit_bags", "make_folds", "mean_loss"]

_WORK = 1e12  # multiply-adds of a training with effort=1
_MIN_EPOCHS, _MAX_EPOCHS = 24, 64
_FEWEST_EPOCHS = 4  # where _MIN_EPOCHS are too many: with little effort, or more than MANY_ROWS
MANY_ROWS = 50_000
_MIN_RECIPES, _MAX_RECIPES = 2, 8
_CYCLES = 4  # of the learning rate
_FULL_DECAY_ROWS = 4000
_SKEWED = 1.0  # the skewness of targets from which on their logarithms are worth a try
_LOG_FLOOR = 0.01  # targets below this quantile count as the quantile: the logarithm of almost 0 would be an outlier
_GREEDY_ROUNDS = 20
_ADAM_BETAS = (0.9, 0.95)


class LogTarget(NamedTuple):
    """The logarithms of targets that are positive and skewed.

    Attributes
    ----------
    y : ndarray of float32, shape (n, 1)
        The logarithms, standardised.
    mean, scale : float
        Of the logarithms, before they are standardised.
    low, high : float
        Their range.
    shift, unit : float
        Mean and scale of the targets themselves.
    """

    y: NDArray[np.float32]
    mean: float
    scale: float
    low: float
    high: float
    shift: float
    unit: float

    @classmethod
    def of(cls, y: NDArray[np.float64], shift: float, unit: float) -> LogTarget | None:
        """Return the logarithms of targets, shape (n,); None if some are not positive, or they are not skewed."""
        if y.min() <= 0 or np.mean(((y - y.mean()) / unit) ** 3) < _SKEWED:
            return None
        logarithms = np.log(np.maximum(y, np.quantile(y, _LOG_FLOOR)))
        mean, scale = float(logarithms.mean()), float(logarithms.std()) or 1.0
        standardised = ((logarithms - mean) / scale).astype(np.float32)[:, None]
        return cls(standardised, mean, scale, float(logarithms.min()), float(logarithms.max()), shift, unit)

    def positive(self, outputs: NDArray[Any]) -> NDArray[np.float64]:
        """Return the targets that outputs stand for."""
        return np.asarray(np.exp(np.clip(outputs * self.scale + self.mean, self.low, self.high)), dtype=np.float64)

    def factor(self, outputs: NDArray[Any]) -> float:
        """Return the factor of `positive` that makes the squared error smallest.

        A mean is above the exponential of the mean logarithm. outputs: shape (n, 1), NaN where they are unknown.
        """
        known = ~np.isnan(outputs)
        predicted = self.positive(outputs[known])
        targets = np.exp(self.y[known].astype(np.float64) * self.scale + self.mean)
        return float(predicted @ targets / (predicted @ predicted))

    def standardised(self, outputs: NDArray[Any], factor: float) -> NDArray[np.float64]:
        """Return the targets that outputs stand for, standardised."""
        return (factor * self.positive(outputs) - self.shift) / self.unit


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
    log_target : LogTarget or None
        The same targets as logarithms, if they are positive and skewed.
    """

    x: NDArray[np.float32]
    num_plain: int
    y: NDArray[Any]
    num_outputs: int
    sample_weight: NDArray[np.float64] | None
    folds: NDArray[np.intp]
    seed: int
    log_target: LogTarget | None = None

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
        num_parameters = Recipe().num_parameters(problem.x.shape[1], problem.num_outputs)
        work = 3.0 * num * (problem.num_folds - 1) * num_parameters  # of an epoch of the networks of a recipe
        epochs = effort * _WORK / work
        fewest = max(_FEWEST_EPOCHS, _MIN_EPOCHS * math.sqrt(min(1.0, effort)) * min(1.0, MANY_ROWS / num))
        num_epochs = int(np.clip(epochs / 4, fewest, _MAX_EPOCHS))
        num_recipes = int(np.clip(epochs / num_epochs, _MIN_RECIPES, _MAX_RECIPES))
        return cls(num_recipes, num_epochs, 64 if num < 20_000 else 128 if num < 100_000 else 256)


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
        self._log_target = problem.log_target if recipe.uses_log else None
        self._log_factor = 1.0
        self._outputs = self.held_out.copy()

    def predict(self, x: NDArray[np.float32], num_plain: int) -> NDArray[np.float64]:
        """Return the mean prediction of the networks, shape (n, outputs). x: an encoded table."""
        x = x if self.recipe.uses_bins else x[:, :num_plain]
        total = np.zeros((len(x), self.networks[0].layer_sizes[-1]))
        for net in self.networks:
            outputs = net.predict(x)
            total += outputs if self._log_target is None else self._log_target.standardised(outputs, self._log_factor)
        return total / len(self.networks)

    def add(self, net: NeuralNetwork, x: NDArray[np.float32], held_out: NDArray[np.bool_]) -> None:
        """Add a network. x: the inputs of all samples; held_out: those that it was not trained on, shape (n,)."""
        self.networks.append(net)
        self._outputs[held_out] = net.predict(x[held_out])
        if self._log_target is None:
            self.held_out = self._outputs
        else:
            self._log_factor = self._log_target.factor(self._outputs)
            self.held_out = self._log_target.standardised(self._outputs, self._log_factor)

    def forget_held_out(self) -> None:
        """Free the memory of the predictions for the samples of the training, which are needed no more."""
        self.held_out = self._outputs = self.held_out[:0].copy()
        if self._log_target is not None:
            self._log_target = self._log_target._replace(y=self._log_target.y[:0].copy())


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
        if recipe.uses_log and problem.log_target is not None:
            y = problem.log_target.y
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
        bag.add(net, problem.inputs(bag.recipe), problem.folds == fold)


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
