"""Classification: three kinds of wine from 13 measurements, with validation, early stopping and class weights.

    python examples/wine.py [--seed 0]

The data comes with scikit-learn (pip install scikit-learn): 178 wines of three growers. A third of them is the test set, and a
fifth of the rest is the validation set.
"""

import argparse
import sys

import numpy as np
from numpy.typing import NDArray

import nnpy


def confusion(labels: NDArray[np.int64], predictions: NDArray[np.int64], num_classes: int) -> NDArray[np.int64]:
    """Count the samples by their true class (row) and their predicted class (column)."""
    table = np.zeros((num_classes, num_classes), dtype=np.int64)
    np.add.at(table, (labels, predictions), 1)
    return table


def main(arguments: list[str] | None = None) -> int:
    """Train, and print the confusion matrix of the test set."""
    parser = argparse.ArgumentParser(description="Classify wines.")
    parser.add_argument("--seed", type=int, default=0, help="seed of the split and the weights (default: 0)")
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
    test, train = order[: len(x) // 3], order[len(x) // 3 :]

    net = nnpy.NeuralNetwork([x.shape[1], 16, len(names)], ["relu", "softmax"], seed=options.seed)
    net.fit_scaler(x[train])  # alcohol is about 13, proline about 750: the network scales both to mean 0, deviation 1
    history = net.fit(
        x[train],
        labels[train],
        optimizer=nnpy.Adam(learning_rate=3e-3),
        epochs=500,
        batch_size=16,
        validation_split=0.2,
        early_stopping=20,  # the patience in epochs; the best parameters are restored
        class_weight="balanced",  # the classes have 59, 71 and 48 wines
        seed=options.seed,
    )
    print(f"{len(history)} epochs: {history}")

    table = confusion(labels[test], net.predict(x[test]).argmax(axis=1), len(names))
    print(f"{np.trace(table)} of {len(test)} test wines are classified correctly")
    print(" ".join(["    true \\ predicted", *(f"{name:>8}" for name in names)]))
    for name, row in zip(names, table, strict=True):
        print(" ".join([f"{name:>20}", *(f"{count:>8}" for count in row)]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
