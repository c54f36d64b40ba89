"""Three kinds of wine by 13 measurements: a classification with validation, early stopping and weights per class.

    python examples/wine.py [--seed 0]

The data comes with scikit-learn (pip install scikit-learn): 178 wines of three growers in one region of Italy. A third of them
is kept for the test, and a fifth of the rest tells when to stop.
"""

import argparse
import sys

import numpy as np
from numpy.typing import NDArray

import nnpy


def confusion(labels: NDArray[np.int64], answers: NDArray[np.int64], num_classes: int) -> NDArray[np.int64]:
    """Count the samples of each class, a row, by the class that they were taken for."""
    table = np.zeros((num_classes, num_classes), dtype=np.int64)
    np.add.at(table, (labels, answers), 1)
    return table


def main(arguments: list[str] | None = None) -> int:
    """Train, and print which wines of the test were taken for which."""
    parser = argparse.ArgumentParser(description="Tell three kinds of wine apart.")
    parser.add_argument("--seed", type=int, default=0, help="of all that is random (default: 0)")
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
        early_stopping=20,  # epochs without a better loss of the validation; then the best parameters come back
        class_weight="balanced",  # there are 71 wines of one kind, and 48 of another
        seed=options.seed,
    )
    print(f"{len(history)} epochs, the best is {history.best_epoch}: {history}")

    answers = net.predict(x[test]).argmax(axis=1)
    table = confusion(labels[test], answers, len(names))
    print(f"{np.trace(table)} of {len(test)} test wines right")
    print(" ".join(["      is \\ taken for", *(f"{name:>8}" for name in names)]))
    for name, row in zip(names, table, strict=True):
        print(" ".join([f"{name:>20}", *(f"{count:>8}" for count in row)]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
