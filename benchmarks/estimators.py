"""Times `nnpy.sklearn` beside scikit-learn's own multilayer perceptrons, with the same parameters, data and number of epochs.

    pip install '.[sklearn]'
    python benchmarks/estimators.py [--rounds 5] [--write docs/sklearn.md]

Each row is a call of fit or predict. Each library has its own process, which calls once before it is timed. The results of both
are compared: the last training loss, or the mean of the predictions. The rounds are interleaved; the table has the medians.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from processes import environment
from sklearn import datasets, neural_network
from sklearn.exceptions import ConvergenceWarning
from sklearn.preprocessing import StandardScaler
from tables import write_table

import nnpy.sklearn

MARKS = ("<!-- rows written by benchmarks/estimators.py -->", "<!-- end -->")


class Row(NamedTuple):
    """A row of the table."""

    data: str
    num_samples: int
    is_classifier: bool
    parameters: dict[str, Any]
    dtype: type = np.float64
    predicts: bool = False

    def load(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return standardised inputs, and the targets."""
        if self.data == "digits":
            x, y = datasets.load_digits(return_X_y=True)
        elif self.data == "iris":
            x, y = datasets.load_iris(return_X_y=True)
        elif self.data == "images":
            x, y = datasets.make_classification(self.num_samples, 784, n_informative=40, n_classes=10, random_state=0)
        elif self.is_classifier:
            x, y = datasets.make_classification(self.num_samples, 20, n_informative=10, n_classes=3, random_state=0)
        else:
            x, y = datasets.make_friedman1(self.num_samples, n_features=20, noise=1.0, random_state=0)
            y = (y - y.mean()) / y.std()
        return StandardScaler().fit_transform(x).astype(self.dtype), y


ROWS = [
    Row("iris", 150, True, {"max_iter": 200}),
    Row("digits", 1797, True, {"max_iter": 50}),
    Row("digits", 1797, True, {"max_iter": 50, "hidden_layer_sizes": (32,), "batch_size": 32}),
    Row("digits", 1797, True, {"max_iter": 50, "solver": "sgd", "learning_rate_init": 0.05}),
    Row("digits", 1797, True, {"max_iter": 100, "solver": "lbfgs"}),
    Row("digits", 1797, True, {"max_iter": 50, "early_stopping": True}),
    Row("digits", 1797, True, {"max_iter": 50}, np.float32),
    Row("classes", 20_000, True, {"max_iter": 10, "hidden_layer_sizes": (100, 50)}),
    Row("classes", 20_000, True, {"max_iter": 10, "hidden_layer_sizes": (16,), "batch_size": 16}),
    Row("friedman1", 20_000, False, {"max_iter": 10}),
    Row("friedman1", 20_000, False, {"max_iter": 10, "activation": "tanh", "hidden_layer_sizes": (64, 64)}),
    Row("friedman1", 2000, False, {"max_iter": 200, "solver": "lbfgs"}),
    Row("images", 20_000, True, {"max_iter": 5, "hidden_layer_sizes": (256,)}, np.float32),
    Row("images", 20_000, True, {"max_iter": 5, "hidden_layer_sizes": (256,)}),
    Row("images", 20_000, True, {"max_iter": 1, "hidden_layer_sizes": (256,)}, np.float32, predicts=True),
    Row("classes", 200_000, True, {"max_iter": 1}, predicts=True),
]


def work(number: int, library: str) -> None:
    """Make the call of a row twice; print the result, and the seconds of the second one, as JSON."""
    row, module = ROWS[number], neural_network if library == "scikit-learn" else nnpy.sklearn
    warnings.simplefilter("ignore", ConvergenceWarning)
    x, y = row.load()
    kind = module.MLPClassifier if row.is_classifier else module.MLPRegressor
    parameters = {"random_state": 0, "tol": 0.0, "n_iter_no_change": 1000, **row.parameters}
    estimator = kind(**parameters).fit(x, y)
    if row.predicts:
        estimator.predict(x)
    start = time.perf_counter()
    result = estimator.predict(x).mean() if row.predicts else kind(**parameters).fit(x, y).loss_
    print(json.dumps([float(result), time.perf_counter() - start]))


def measure(number: int, library: str) -> tuple[float, float]:
    """Run a process for a row; return the result and the seconds."""
    command = [sys.executable, __file__, "--work", str(number), library]
    result, seconds = json.loads(
        subprocess.run(command, env=environment(), check=True, capture_output=True, text=True).stdout
    )
    return result, seconds


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--write", type=Path, help="a Markdown file with the marks of this script, for the rows")
    parser.add_argument("--work", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.work:
        work(int(arguments.work[0]), arguments.work[1])
        return 0
    lines = []
    for number, row in enumerate(ROWS):
        rounds = [[measure(number, library) for library in ("scikit-learn", "nnpy")] for _ in range(arguments.rounds)]
        for (expected, _), (result, _) in rounds:
            np.testing.assert_allclose(result, expected, rtol=0.05, atol=1e-3)
        theirs, ours = (1000 * statistics.median(pair[i][1] for pair in rounds) for i in range(2))
        settings = ", ".join(f"{name}={value!r}" for name, value in row.parameters.items())
        cells = [
            f"{row.data}, {row.num_samples:,} rows, {row.dtype.__name__}",
            "predict" if row.predicts else f"fit, {settings}",
            f"{theirs:.1f}",
            f"{ours:.1f}",
            f"{theirs / ours:.1f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
        print(lines[-1], flush=True)
    if arguments.write:
        write_table(arguments.write, MARKS, "\n".join(["", *lines, ""]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
