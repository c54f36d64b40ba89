"""Regression by Levenberg-Marquardt, and an ensemble: the progression of diabetes within a year, from ten measurements.

    python examples/diabetes.py [--seed 0]

The data comes with scikit-learn (pip install scikit-learn): 442 patients, and a score of the disease after a year. A third of
the patients is the test set. Levenberg-Marquardt trains a network with 49 parameters in milliseconds. An ensemble of eight
networks, with different initial weights and bootstrap samples, predicts a mean and a standard deviation.
"""

import argparse
import sys

import numpy as np
from numpy.typing import NDArray

import nnpy

NUM_NETWORKS = 8
L2 = 0.02  # the L2 penalty; without it the network also learns the noise, because there are few patients


def r2(y: NDArray[np.float64], predictions: NDArray[np.float64]) -> float:
    """Compute the coefficient of determination: 1 for exact predictions, 0 for the mean of y. Both arrays have shape (n,)."""
    return float(1 - np.square(y - predictions).sum() / np.square(y - y.mean()).sum())


def network(x: NDArray[np.float64], y: NDArray[np.float64], seed: int) -> nnpy.NeuralNetwork:
    """Create a network that standardises x, shape (n, 10), and y, shape (n,), itself."""
    net = nnpy.NeuralNetwork([x.shape[1], 4, 1], ["tanh", "linear"], seed=seed)
    net.fit_scaler(x, y)
    return net


def main(arguments: list[str] | None = None) -> int:
    """Train one network, then an ensemble, and print their R^2 on the test set."""
    parser = argparse.ArgumentParser(description="Predict the progression of diabetes.")
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of the split, the weights and the bootstrap (default: 0)"
    )
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
    print(f"one network: R^2 {r2(y[test], net.predict(x[test])[:, 0]):.3f} on the test set, {history}")

    # The bootstrap: each network of the ensemble gets as many patients as there are, drawn with replacement.
    drawn = [rng.choice(rest, len(rest)) for _ in range(NUM_NETWORKS)]
    networks = [network(x[rows], y[rows], options.seed + 1 + i) for i, rows in enumerate(drawn)]
    each = [{"x": x[rows], "y": y[rows]} for rows in drawn]
    nnpy.fit_many(networks, each=each, optimizer=optimizer, epochs=100, l2=L2)
    mean, std = (a[:, 0] for a in nnpy.Ensemble(networks).predict(x[test], return_std=True))
    print(f"the mean of {NUM_NETWORKS}: R^2 {r2(y[test], mean):.3f} on the test set")
    print("the first patients of the test set: the score, the mean and the standard deviation of the predictions:")
    for i in range(5):
        print(f"  {y[test[i]]:5.0f}   {mean[i]:5.0f} +- {std[i]:.0f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
