"""Train a network on one period of a sine and write sine/sine.h, the header of the Arduino sketch.

python export_sine.py [--folder sine]
"""

import argparse
import sys
from pathlib import Path

import numpy as np

import nnpy


def train(net: nnpy.NeuralNetwork) -> float:
    """Train on 65 points of a period, and return the largest error."""
    x = (np.arange(65) / 64).astype(np.float32).reshape(-1, 1)  # the phase, from 0 to 1
    y = np.sin(2 * np.pi * x.astype(np.float64)).round(4).astype(np.float32)
    net.fit_scaler(None)
    net.fit(x, y, optimizer=nnpy.LevenbergMarquardt(), epochs=100)
    return float(abs(net.predict(x) - y).max())


def main(arguments: list[str] | None = None) -> int:
    """Train, print the largest error, and write the header."""
    parser = argparse.ArgumentParser(description="Write sine.h.")
    default = Path(__file__).parent / "sine"
    parser.add_argument("--folder", type=Path, default=default, help="where to write (default: sine)")
    options = parser.parse_args(arguments)
    net = nnpy.NeuralNetwork([1, 8, 1], ["tanh", "linear"], seed=0)
    print(f"largest error: {train(net):.4f}")
    net.export_c(options.folder / "sine.h", name="sine", test_inputs=[[0.0], [0.25], [0.5], [0.75], [1.0]])
    return 0


if __name__ == "__main__":
    sys.exit(main())
