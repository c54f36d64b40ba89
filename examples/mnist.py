"""Handwritten digits: the experiment of Nielsen's "Neural Networks and Deep Learning", chapter 1, on the MNIST files.

    python examples/mnist.py FOLDER [--epochs 30] [--seed 0]

FOLDER holds the four files, train-images-idx3-ubyte and so on, gzipped (.gz) or not. A 784-30-10 network of sigmoid neurons
learns them by plain gradient descent on shuffled batches of 10. Nielsen's cost is half of ours, so that his rate of 3.0 is 1.5
here. He reports 95.42 % of the test images at the best of 30 epochs, from weights that begin with a standard deviation of 1;
ours begin smaller, as nnpy's do, which is better.
"""

import argparse
import gzip
import math
import struct
import sys
import time
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import nnpy

UBYTE = 0x08  # the type of the elements, in the third byte of an IDX file


def read_idx(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """Read an IDX file of bytes: 0, 0, type, number of dimensions, then each size in 4 bytes, then the elements.

    Raises
    ------
    ValueError
        If the file is damaged, truncated, or something else.
    """
    content = path.read_bytes()
    if path.suffix == ".gz":
        try:
            content = gzip.decompress(content)
        except (EOFError, OSError, zlib.error) as error:
            raise ValueError(f"{path} is damaged: {error}") from error
    header = 4 + 4 * dimensions
    if content[:4] != bytes([0, 0, UBYTE, dimensions]) or len(content) < header:
        raise ValueError(
            f"{path} is no IDX file of bytes in {dimensions} dimensions: it begins with {content[:4].hex(' ') or 'nothing'}"
        )
    shape = struct.unpack(f">{dimensions}I", content[4:header])
    if len(content) != header + math.prod(shape):
        raise ValueError(
            f"{path} should have {header + math.prod(shape)} bytes for an array of shape {shape}, it has {len(content)}"
        )
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


def load(folder: Path, name: str) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Read the images, as rows of numbers from 0 to 1, and the labels of "train" or "t10k"."""
    images, labels = (
        read_idx(find(folder, f"{name}-{kind}-idx{dimensions}-ubyte"), dimensions)
        for kind, dimensions in (("images", 3), ("labels", 1))
    )
    if len(images) != len(labels):
        raise ValueError(
            f"{folder} has {len(images)} {name} images and {len(labels)} labels: they do not belong together"
        )
    if images.shape[1:] != (28, 28) or len(images) == 0 or labels.max() > 9:
        raise ValueError(f"{folder} has no digits of 28 x 28 in its {name} files")
    return np.divide(images.reshape(len(images), -1), 255, dtype=np.float32), labels


def find(folder: Path, name: str) -> Path:
    """Find the file, gzipped or not."""
    for path in (folder / name, folder / f"{name}.gz"):
        if path.exists():
            return path
    raise ValueError(f"{folder} has no file {name} or {name}.gz")


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
        x, labels = load(options.folder, "train")
        x_test, labels_test = load(options.folder, "t10k")
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
