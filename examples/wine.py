"""Classification with validation data, early stopping and class weights: three kinds of wine, from 13 measurements.

    python examples/wine.py [--seed 0]

The data comes with scikit-learn (pip install scikit-learn): 178 wines of three growers in one region of Italy. A third of them
is the test set; a fifth of the rest is the validation data for early stopping.
"""

import argparse
import sys

import numpy as np
from numpy.typing import NDArray

import nnpy


def confusion(y_true: NDArray[np.int64], y_pred: NDArray[np.int64], num_classes: int) -> NDArray[np.int64]:
    """Return the confusion matrix: how often each true class (row) is predicted as each class (column)."""
    table = np.zeros((num_classes, num_classes), dtype=np.int64)
    np.add.at(table, (y_true, y_pred), 1)
    return table


def main(arguments: list[str] | None = None) -> int:
    """Train, and print the confusion matrix of the test set."""
    parser = argparse.ArgumentParser(description="Classify wines of three kinds.")
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of the split, the weights and the shuffling (default: 0)"
    )
    options = parser.parse_args(arguments)
    if options.seed < 0:
        parser.error("--seed must not be negative")
    try:
        from sklearn.datasets import load_wine
    except ImportError:
        print("wine.py: the data comes with scikit-learn: pip install scikit-learn", file=sys.stderr)
        return 1

    wine = load_wine()
    x, labels, names = wine.data, wine.target, wine.target_names
    order = np.random.default_rng(options.seed).permutation(len(x))
    test, rest = order[: len(x) // 3], order[len(x) // 3 :]

    net = nnpy.NeuralNetwork([x.shape[1], 16, len(names)], ["relu", "softmax"], seed=options.seed)
    net.fit_scaler(x[rest])  # alcohol is about 13, proline about 750: the network sees both around 0
    history = net.fit(
        x[rest],
        labels[rest],
        optimizer=nnpy.Adam(3e-3),
        epochs=500,
        batch_size=16,
        validation_split=0.2,
        early_stopping=20,  # after 20 epochs without a smaller validation loss; the best parameters are restored
        class_weight="balanced",  # the kinds have 59, 71 and 48 wines
        seed=options.seed,
    )
    print(f"{len(history)} epochs, the best is {history.best_epoch}: {history}")

    table = confusion(labels[test], net.predict_classes(x[test]), len(names))
    print(f"{np.trace(table)} of {len(test)} test wines right")
    print(" ".join(["    true \\ predicted", *(f"{name:>8}" for name in names)]))
    for name, row in zip(names, table, strict=True):
        print(" ".join([f"{name:>20}", *(f"{count:>8}" for count in row)]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
