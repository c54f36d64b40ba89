"""How good are the defaults? Compares `NeuralNetwork([n, 32, k]).fit(x, y)` with the best of a grid of settings.

    pip install . scikit-learn
    python benchmarks/defaults.py [--sets iris,wine] [--no-grid] [--write docs/defaults.md]

The data are the sets that scikit-learn ships, and some that it generates. Each score (accuracy or R^2) is the mean over 5-fold
cross-validation, repeated with 3 seeds (1 for sets of more than 2,000 rows). The best settings of a grid are chosen on the same
folds, so that their score is a little too good. The grid standardises inputs and targets; it has tanh, relu and sigmoid,
learning rates of 0.001, 0.005 and 0.02 that decrease to 0; 30, 100 and 300 epochs; and l2 of 0, 0.001 and 0.01.
"""

import argparse
import itertools
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from numpy.typing import NDArray
from sklearn import datasets
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.preprocessing import StandardScaler
from tables import write_table

import nnpy

MARKS = ("<!-- rows written by benchmarks/defaults.py -->", "<!-- end -->")
HIDDEN = 32


class Data(NamedTuple):
    """A data set. y are labels from 0, or numbers, or rows of numbers."""

    x: NDArray[Any]
    y: NDArray[Any]
    num_classes: int  # 0 for a regression

    @property
    def num_outputs(self) -> int:
        """The number of outputs of the network."""
        return self.num_classes if self.num_classes > 2 else 1 if self.y.ndim == 1 else self.y.shape[1]


def classes(loader: Callable[..., Any]) -> Data:
    x, y = loader(return_X_y=True)
    return Data(x, y, int(y.max()) + 1)


def numbers(loader: Callable[..., Any]) -> Data:
    return Data(*loader(return_X_y=True), 0)


def generated(function: Callable[..., Any], num_classes: int, **options: Any) -> Data:
    return Data(*function(random_state=0, **options), num_classes)


SETS = {
    "iris": lambda: classes(datasets.load_iris),
    "wine": lambda: classes(datasets.load_wine),
    "breast cancer": lambda: classes(datasets.load_breast_cancer),
    "digits": lambda: classes(datasets.load_digits),
    "diabetes": lambda: numbers(datasets.load_diabetes),
    "linnerud": lambda: numbers(datasets.load_linnerud),
    "friedman1": lambda: generated(datasets.make_friedman1, 0, n_samples=1000, noise=1.0),
    "friedman2": lambda: generated(datasets.make_friedman2, 0, n_samples=1000, noise=50.0),
    "regression": lambda: generated(datasets.make_regression, 0, n_samples=500, n_features=30, noise=20.0),
    "moons": lambda: generated(datasets.make_moons, 2, n_samples=500, noise=0.25),
    "classification": lambda: generated(
        datasets.make_classification, 4, n_samples=5000, n_features=20, n_informative=8, n_classes=4
    ),
    "swiss roll": lambda: generated(datasets.make_swiss_roll, 0, n_samples=3000, noise=0.3),
}


class Settings(NamedTuple):
    """Settings of the grid."""

    activation: str
    rate: float
    epochs: int
    l2: float


GRID = [
    Settings(*values)
    for values in itertools.product(
        ("tanh", "relu", "sigmoid"), (0.001, 0.005, 0.02), (30, 100, 300), (0.0, 0.001, 0.01)
    )
]


def train(data: Data, x: NDArray[Any], y: NDArray[Any], *, seed: int, settings: Settings | None) -> nnpy.NeuralNetwork:
    """Train with settings of the grid, or with nothing said but the seed."""
    sizes = [data.x.shape[1], HIDDEN, data.num_outputs]
    if settings is None:
        net = nnpy.NeuralNetwork(sizes, seed=seed)
        net.fit(x, y, seed=seed)
        return net
    last = "softmax" if data.num_classes > 2 else "sigmoid" if data.num_classes else "linear"
    net = nnpy.NeuralNetwork(sizes, [settings.activation, last], seed=seed)
    net.fit_scaler(x, None if data.num_classes else y)
    optimizer = nnpy.Adam(nnpy.CosineDecay(settings.rate))
    net.fit(x, y, optimizer=optimizer, epochs=settings.epochs, l2=settings.l2, seed=seed)
    return net


def cross_validate(data: Data, settings: Settings | None = None) -> tuple[float, float]:
    """Return the mean score and the mean seconds of a training."""
    scores, seconds = [], []
    for seed in range(3 if len(data.x) <= 2000 else 1):
        folds = (StratifiedKFold if data.num_classes else KFold)(5, shuffle=True, random_state=seed)
        for kept, held_out in folds.split(data.x, data.y if data.num_classes else None):
            start = time.perf_counter()
            net = train(data, data.x[kept], data.y[kept], seed=seed, settings=settings)
            seconds.append(time.perf_counter() - start)
            scores.append(net.score(data.x[held_out], data.y[held_out]))
    return statistics.mean(scores), statistics.mean(seconds)


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sets", help="names of data sets, divided by commas; by default all")
    parser.add_argument("--no-grid", action="store_true", help="do not search the grid")
    parser.add_argument(
        "--write", type=Path, help="a Markdown file with the marks of this script, to write the rows to"
    )
    arguments = parser.parse_args()
    lines = []
    for name in arguments.sets.split(",") if arguments.sets else SETS:
        data = SETS[name]()
        score, seconds = cross_validate(data)
        standardised, _ = cross_validate(data._replace(x=StandardScaler().fit_transform(data.x)))
        kind = "accuracy" if data.num_classes else "R^2"
        cells = [name, f"{data.x.shape[0]} x {data.x.shape[1]}", kind, f"{score:.3f}", f"{standardised:.3f}"]
        if not arguments.no_grid:
            best, settings = max((cross_validate(data, settings)[0], settings) for settings in GRID)
            cells += [f"{best:.3f}", f"{score - best:+.3f}", ", ".join(map(str, settings))]
        lines.append(f"| {' | '.join(cells)} | {seconds:.2f} |")
        print(lines[-1], flush=True)
    if arguments.write:
        write_table(arguments.write, MARKS, "\n".join(["", *lines, ""]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
