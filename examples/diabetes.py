"""Regression: the progression of diabetes in one year from ten measurements, with one network and with an ensemble.

    python examples/diabetes.py [--seed 0]

The data comes with scikit-learn (pip install scikit-learn): 442 patients. A third of them is the test set. Levenberg-Marquardt
trains a network of 49 parameters in milliseconds. The ensemble has eight networks with different initial weights and different
bootstrap samples. It predicts the mean of their outputs, and their standard deviation says how sure it is.
"""

import argparse
import sys

import numpy as np
from numpy.typing import NDArray

import nnpy

NUM_NETWORKS = 8
L2 = 0.02  # without it, the network overfits: there are few patients


def r2(y: NDArray[np.float64], predictions: NDArray[np.float64]) -> float:
    """Compute the coefficient of determination: 1 is perfect, 0 is as good as the mean of y."""
    return float(1 - np.square(y - predictions).sum() / np.square(y - y.mean()).sum())


def network(x: NDArray[np.float64], y: NDArray[np.float64], seed: int) -> nnpy.NeuralNetwork:
    """Create a network that scales inputs and targets itself."""
    net = nnpy.NeuralNetwork([x.shape[1], 4, 1], ["tanh", "linear"], seed=seed)
    net.fit_scaler(x, y)
    return net


def main(arguments: list[str] | None = None) -> int:
    """Train one network, then an ensemble, and print their scores on the test set."""
    parser = argparse.ArgumentParser(description="Predict the progression of diabetes.")
    parser.add_argument("--seed", type=int, default=0, help="seed of the split and the weights (default: 0)")
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
    test, train = order[: len(x) // 3], order[len(x) // 3 :]
    optimizer = nnpy.LevenbergMarquardt()

    net = network(x[train], y[train], options.seed)
    history = net.fit(x[train], y[train], optimizer=optimizer, epochs=100, l2=L2)
    print(f"one network: R^2 {r2(y[test], net.predict(x[test])[:, 0]):.3f} on the test set, {history}")

    samples = [rng.choice(train, len(train)) for _ in range(NUM_NETWORKS)]  # bootstrap: drawn with replacement
    networks = [network(x[rows], y[rows], options.seed + 1 + i) for i, rows in enumerate(samples)]
    each = [{"x": x[rows], "y": y[rows]} for rows in samples]
    nnpy.fit_many(networks, each=each, optimizer=optimizer, epochs=100, l2=L2)
    mean, spread = (a[:, 0] for a in nnpy.Ensemble(networks).predict(x[test], return_std=True))
    print(f"ensemble of {NUM_NETWORKS}: R^2 {r2(y[test], mean):.3f} on the test set")
    print("the first patients of the test set: target, prediction +- standard deviation")
    for i in range(5):
        print(f"  {y[test[i]]:5.0f}   {mean[i]:5.0f} +- {spread[i]:.0f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
