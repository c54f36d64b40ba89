"""Train a network on Fisher's irises and write iris.h, the header of this CMake project.

    python export_iris.py [--folder .]

The data comes with scikit-learn (pip install scikit-learn): 150 flowers, 4 measurements in cm, 3 kinds.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

import nnpy


def main(arguments: list[str] | None = None) -> int:
    """Train on two thirds of the flowers, print the accuracy on the rest, and write the header."""
    parser = argparse.ArgumentParser(description="Write iris.h.")
    parser.add_argument("--folder", type=Path, default=Path(__file__).parent, help="where to write (default: here)")
    options = parser.parse_args(arguments)
    try:
        from sklearn.datasets import load_iris
    except ImportError:
        print("export_iris.py: the data comes with scikit-learn: pip install scikit-learn", file=sys.stderr)
        return 1
    iris = load_iris()
    x, labels = iris.data.astype(np.float32), iris.target
    is_test = np.arange(len(x)) % 3 == 2
    net = nnpy.NeuralNetwork([4, 8, 3], ["tanh", "softmax"], seed=0)
    net.fit_scaler(None)  # all measurements are of the same size
    net.fit(x[~is_test], labels[~is_test], optimizer=nnpy.Adam(0.01), epochs=100, batch_size=10, seed=0)
    num_right = int((net.predict_classes(x[is_test]) == labels[is_test]).sum())
    print(f"{num_right} of {is_test.sum()} test flowers are classified correctly")
    net.export_c(options.folder / "iris.h", name="iris", class_names=list(iris.target_names), test_inputs=x[::25])
    return 0


if __name__ == "__main__":
    sys.exit(main())
