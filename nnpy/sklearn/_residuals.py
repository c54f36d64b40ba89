"""The distribution of what a regression leaves unexplained, for quantiles and standard deviations.

The residuals of the samples that were left out of the training are sorted into bins. Networks learn the probability of each
bin from the inputs. So a distribution may be skewed, and wide in one place and narrow in another. It is then calibrated with
the folds that were left out: the level of a quantile is replaced by the one that has the right share of the residuals below it
(V. Kuleshov, N. Fenner and S. Ermon, "Accurate uncertainties for deep learning using calibrated regression", ICML 2018).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nnpy.sklearn._bagging import MANY_ROWS, Bag, Plan, Problem, fit_bags
from nnpy.sklearn._recipes import Recipe

__all__ = ["Residuals"]

_NUM_BINS = 32
_SAMPLES_PER_BIN = 20
_EPOCHS = 16  # for up to MANY_ROWS
_RECIPE = Recipe(width=64, depth=2, dropout=0.1, input_scale=1.0, uses_bins=False)


class Residuals(NamedTuple):
    """The distribution of residuals, given the inputs.

    Attributes
    ----------
    bag : Bag
        Networks for the probabilities of the bins.
    num_plain : int
        The columns of an encoded table before the piecewise linear encoding.
    edges : ndarray, shape (bins + 1,)
        Of the bins.
    means, squares : ndarray, shape (bins,)
        The mean of the residuals in a bin, and of their squares.
    levels : ndarray, shape (n,)
        Sorted: the level of each residual of the training samples in its distribution.
    factor : float
        Of the standard deviations, by which they are right on average.
    """

    bag: Bag
    num_plain: int
    edges: NDArray[np.float64]
    means: NDArray[np.float64]
    squares: NDArray[np.float64]
    levels: NDArray[np.float64]
    factor: float

    @classmethod
    def fit(cls, problem: Problem, residuals: NDArray[np.float64]) -> Residuals:
        """Learn the distribution. residuals: shape (n,), of predictions by networks that had not seen the sample."""
        num = len(residuals)
        num_bins = int(np.clip(num // _SAMPLES_PER_BIN, 1, _NUM_BINS))
        edges = np.unique(np.quantile(residuals, np.linspace(0, 1, num_bins + 1)))
        if len(edges) < 2:
            edges = np.array([edges[0], np.nextafter(edges[0], np.inf)])
        labels = np.clip(np.searchsorted(edges, residuals, side="right") - 1, 0, len(edges) - 2)
        counts = np.bincount(labels, minlength=len(edges) - 1)
        means = np.bincount(labels, residuals, len(counts)) / np.maximum(counts, 1)
        squares = np.bincount(labels, residuals**2, len(counts)) / np.maximum(counts, 1)
        own = problem._replace(y=labels.astype(np.int32), num_outputs=len(counts))
        bag = Bag(own, _RECIPE)
        num_epochs = int(np.clip(_EPOCHS * MANY_ROWS / num, 4, _EPOCHS))
        fit_bags(own, [bag], range(problem.num_folds), Plan(1, num_epochs, Plan.make(own, 1.0).batch_size))
        probabilities = bag.held_out
        bag.forget_held_out()
        before = np.cumsum(probabilities, axis=1) - probabilities
        rows = np.arange(num)
        share = (residuals - edges[labels]) / np.diff(edges)[labels]
        levels = np.sort(before[rows, labels] + share * probabilities[rows, labels])
        result = cls(bag, problem.num_plain, edges, means, squares, levels, 1.0)
        expected = (result._std(probabilities) ** 2).mean()
        return result._replace(factor=float(np.sqrt((residuals**2).mean() / expected)) if expected > 0 else 1.0)

    def std(self, x: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the standard deviation for an encoded table, shape (n,)."""
        return self.factor * self._std(self.bag.predict(x, self.num_plain))

    def _std(self, probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(np.sqrt(np.maximum(probabilities @ self.squares - (probabilities @ self.means) ** 2, 0.0)))

    def quantiles(self, x: NDArray[np.float32], quantiles: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return quantiles of the residuals for an encoded table, shape (n, quantiles)."""
        probabilities = self.bag.predict(x, self.num_plain)
        above = np.cumsum(probabilities, axis=1)
        above[:, -1] = np.inf
        num = len(self.levels)
        result = np.empty((len(x), len(quantiles)))
        rows = np.arange(len(x))
        for column, quantile in enumerate(quantiles):
            place = np.clip(quantile * (num + 1) - 1, 0, num - 1)
            level = np.interp(place, np.arange(num), self.levels)
            bins = (above > level).argmax(axis=1)
            p = probabilities[rows, bins]
            before = np.where(bins > 0, above[rows, bins - 1], 0.0)
            share = np.clip((level - before) / np.maximum(p, 1e-300), 0.0, 1.0)
            result[:, column] = self.edges[bins] + share * (self.edges[bins + 1] - self.edges[bins])
        return result
