"""Train a network on one period of a sine and write sine/sine.h, the header of the Arduino sketch.

    python export_sine.py [--folder sine]
"""

import argparse
import sys
from pathlib import Path

import numpy as np

import nnpy


def main(arguments: list[str] | None = None) -> int:
    """Train, print the largest error, and write the header."""
    parser = argparse.ArgumentParser(description="Write sine.h.")
    default = Path(__file__).parent / "sine"
    parser.add_argument("--folder", type=Path, default=default, help="where to write (default: sine)")
    options = parser.parse_args(arguments)
    x = (np.arange(65) / 64).astype(np.float32).reshape(-1, 1)  # the phase, from 0 to 1
    y = np.sin(2 * np.pi * x.astype(np.float64)).round(4).astype(np.float32)
    net = nnpy.NeuralNetwork([1, 8, 1], ["tanh", "linear"], seed=0)
    net.fit_scaler(None)
    net.fit(x, y, optimizer=nnpy.LevenbergMarquardt(), epochs=100)
    print(f"largest error: {abs(net.predict(x) - y).max():.4f}")
    net.export_c(options.folder / "sine.h", name="sine", test_inputs=x[::16])
    return 0


if __name__ == "__main__":
    sys.exit(main())
