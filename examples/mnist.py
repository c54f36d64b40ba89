"""Handwritten digits: the experiment of Nielsen's "Neural Networks and Deep Learning", chapter 1, on the MNIST files.

    python examples/mnist.py FOLDER [--epochs 30] [--seed 0]

FOLDER holds the four files, train-images-idx3-ubyte and so on, gzipped (.gz) or not. A 784-30-10 network of sigmoid neurons
learns them by plain gradient descent on shuffled batches of 10. Nielsen's cost is half of ours, so that his rate of 3.0 is 1.5
here. He reports 95.42 % of the test images at the best of 30 epochs, from weights that begin with a standard deviation of 1;
ours begin smaller, as nnpy's do, which is better.
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np

import nnpy
from nnpy.datasets import load_mnist


def main(arguments: list[str] | None = None) -> int:
    """Train, and print the accuracy on the test images after each epoch."""
    parser = argparse.ArgumentParser(description="Train a 784-30-10 network on MNIST.")
    parser.add_argument("folder", type=Path, help="where the four MNIST files are")
    parser.add_argument("--epochs", type=int, default=30, help="passes through the training images (default: 30)")
    parser.add_argument("--seed", type=int, default=0, help="of the first weights and the order (default: 0)")
    options = parser.parse_args(arguments)
    if options.epochs < 0 or options.seed < 0:
        parser.error("--epochs and --seed must not be negative")
    try:
        x, labels, x_test, labels_test = load_mnist(options.folder)
    except (ValueError, OSError) as error:
        print(f"mnist.py: {error}", file=sys.stderr)
        return 1

    y = np.eye(10, dtype=np.float32)[labels]
    rng = np.random.default_rng(options.seed)
    net = nnpy.NeuralNetwork([784, 30, 10], seed=options.seed)
    start = time.perf_counter()
    for epoch in range(1, options.epochs + 1):
        order = rng.permutation(len(x))
        for i in range(0, len(x), 10):
            batch = order[i : i + 10]
            net.gradient_descent(x[batch], y[batch], rate=1.5)
        right = np.count_nonzero(net.forward(x_test).argmax(axis=1) == labels_test)
        seconds = time.perf_counter() - start
        print(
            f"epoch {epoch:2}: {right} of {len(x_test)} test images ({100 * right / len(x_test):.2f} %), {seconds:.1f} s"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
