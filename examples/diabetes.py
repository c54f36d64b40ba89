"""How diabetes goes on within a year, by ten measurements: a regression, and several whose answers are compared.

    python examples/diabetes.py [--seed 0]

The data comes with scikit-learn (pip install scikit-learn): 442 patients, and a score of the disease a year later. A third of
them is kept for the test. Levenberg and Marquardt's method trains a network of 49 parameters in milliseconds. Eight networks
with other weights and other patients, trained at once, answer with their mean and with how far they are apart.
"""

import argparse
import sys

import numpy as np
from numpy.typing import NDArray

import nnpy

NUM_NETWORKS = 8
L2 = 0.02  # without it so good a method learns the noise of so few patients, too


def r2(y: NDArray[np.float64], answers: NDArray[np.float32]) -> float:
    """Compute the share of the variance that the answers explain: 1 for the best, 0 for the mean of y."""
    return float(1 - np.square(y - answers).sum() / np.square(y - y.mean()).sum())


def network(x: NDArray[np.float64], y: NDArray[np.float64], seed: int) -> nnpy.NeuralNetwork:
    """Make a network that takes and gives numbers in their own units."""
    net = nnpy.NeuralNetwork([x.shape[1], 4, 1], ["tanh", "linear"], seed=seed)
    net.fit_scaler(x, y)
    return net


def main(arguments: list[str] | None = None) -> int:
    """Train one network, then several, and print how good they are on the test."""
    parser = argparse.ArgumentParser(description="Predict the progression of diabetes.")
    parser.add_argument("--seed", type=int, default=0, help="of all that is random (default: 0)")
    options = parser.parse_args(arguments)
    if options.seed < 0:
        parser.error("--seed must not be negative")
    try:
        from sklearn.datasets import load_diabetes
    except ImportError:
        print("diabetes.py: the data comes with scikit-learn: pip install scikit-learn", file=sys.stderr)
        return 1

    x, y = load_diabetes(return_X_y=True)
    rng = np.random.default_rng(options.seed)
    order = rng.permutation(len(x))
    test, rest = order[: len(x) // 3], order[len(x) // 3 :]
    optimizer = nnpy.LevenbergMarquardt()

    net = network(x[rest], y[rest], options.seed)
    history = net.fit(x[rest], y[rest], optimizer=optimizer, epochs=100, l2=L2)
    print(f"one network: R^2 {r2(y[test], net.predict(x[test])[:, 0]):.3f} on the test, {history}")

    # Each of the others gets patients drawn with replacement, as many as there are (the bootstrap).
    drawn = [rng.choice(rest, len(rest)) for _ in range(NUM_NETWORKS)]
    networks = [network(x[rows], y[rows], options.seed + 1 + i) for i, rows in enumerate(drawn)]
    each = [{"x": x[rows], "y": y[rows]} for rows in drawn]
    nnpy.fit_many(networks, each=each, optimizer=optimizer, epochs=100, l2=L2)
    mean, spread = (a[:, 0] for a in nnpy.Ensemble(networks).predict(x[test], return_std=True))
    print(f"the mean of {NUM_NETWORKS}: R^2 {r2(y[test], mean):.3f} on the test")
    print("the first patients of the test, as they were and as the networks say:")
    for i in range(5):
        print(f"  {y[test[i]]:5.0f}   {mean[i]:5.0f} +- {spread[i]:.0f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
