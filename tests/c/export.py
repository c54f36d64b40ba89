"""Writes the exported networks of test_exported.c: `python tests/c/export.py`. Together they have every activation function."""

from pathlib import Path

import numpy as np

import nnpy

FOLDER = Path(__file__).parent / "exported"


def export_all(folder):
    """Writes one file for each network. The numbers have few digits, so that they are the same with every version of numpy."""
    inputs = np.float32([[0, 0, 0], [1, -2, 0.5], [-100, 30, 7], [0.25, 0.125, -3], [1e-42, -0.0, 1e4], [-8, 9, -50]])
    net = nnpy.NeuralNetwork([3, 4, 9, 5, 3], ["relu", "tanh", "sigmoid", "softmax"], seed=1)
    net.export_c(folder / "classes.h", name="classes", class_names=["one", "two", "three"], test_inputs=inputs)
    net = nnpy.NeuralNetwork([3, 5, 4, 6, 2], ["elu", "gelu", "leaky_relu", "linear"], seed=2)
    net.fit_scaler(np.float32([[0, 0, 0], [4, -8, 2], [2, 5, 4]]), np.float32([[1000, 1], [1004, 3], [1001, -8]]))
    net.export_c(folder / "scaled.h", name="scaled", test_inputs=inputs)
    net = nnpy.NeuralNetwork([3, 6, 3, 1], ["silu", "softplus", "sigmoid"], seed=3)
    net.export_c(folder / "small.h", name="small", test_inputs=inputs)
    net = nnpy.NeuralNetwork([3, 7, 6, 3], ["tanh", "relu", "softmax"], seed=4)
    net.quantize(inputs).export_c(folder / "int8_classes.h", name="int8_classes", test_inputs=inputs)
    net = nnpy.NeuralNetwork([5, 6, 4, 2], ["relu", "gelu", "linear"], seed=5)
    inputs = np.float32([[i * j % 7 - 3 for j in range(1, 6)] for i in range(12)])
    net.fit_scaler(inputs, np.float32([[1000, 1], [1004, 3], [1001, -8]]))
    net.quantize(inputs).export_c(folder / "int8_scaled.h", name="int8_scaled", test_inputs=inputs)
    net = nnpy.NeuralNetwork([5, 3, 1], ["sigmoid", "sigmoid"], seed=6)
    net.quantize(inputs).export_c(folder / "int8_small.h", name="int8_small", test_inputs=inputs)


if __name__ == "__main__":
    export_all(FOLDER)
