"""Sizes that take minutes and up to 20 GB of memory: python tests/limits.py tries them and prints a table in Markdown.

Zeros that were never written take no memory, so that data may be larger than the memory.
"""

import resource
import sys
import time

import numpy as np

import nnpy

RNG = np.random.default_rng(0)


def network(sizes, last="linear"):
    return nnpy.NeuralNetwork(sizes, ["tanh"] * (len(sizes) - 2) + [last], seed=0)


def rows_beyond_32_bits():
    """The loss of 2**31 + 6 samples of which all but the last are zeros."""
    n = 2**31 + 6
    x, y = np.zeros((n, 1), np.float32), np.zeros((n, 1), np.float32)
    x[-1] = y[-1] = 1
    net = network([1, 1])
    net.parameters = [3, 0.5]
    np.testing.assert_allclose(net.mse(x, y), 0.25 + (2.5**2 - 0.25) / n, rtol=1e-6)
    return f"loss, x of {n:,} x 1"


def predictions_beyond_32_bits():
    n = 2**31 + 6
    x = np.zeros((n, 1), np.float32)
    x[-1] = 1
    net = network([1, 1])
    net.parameters = [3, 0.5]
    out = net.predict(x)
    assert out.shape == (n, 1)
    assert out[-1] == 3.5
    assert all((out[i : i + 2**24] == 0.5).all() for i in range(0, n - 2**24, 2**24))
    return f"predict, x of {n:,} x 1"


def training_beyond_32_bits():
    n = 2**21 + 3
    x, y = np.zeros((n, 1024), np.float32), np.full((n, 1), 0.5, np.float32)
    x[-1] = RNG.standard_normal(1024, dtype=np.float32)
    net = network([1024, 2, 1])
    before = net.mse(x, y)
    net.fit(x, y, optimizer=nnpy.SGD(0.1), epochs=1, batch_size=4096, seed=0)
    assert net.mse(x, y) < before / 100
    return f"fit, 1 epoch, x of {n:,} x 1024"


def iterations_beyond_32_bits():
    """The number of steps so far, which C counts and Python shows, passes 2**32."""
    net = network([1, 1])
    net.gradient_descent([[1]], [2], rate=0.1, iterations=2**32 + 3)
    np.testing.assert_allclose(net.predict([[1]]), [[2]], atol=1e-5)
    return f"gradient_descent, {2**32 + 3:,} iterations of 1-1"


def weights_beyond_32_bits():
    rows, columns = 65_536, 32_769
    net = network([rows, columns])
    assert net.parameters.size == (rows + 1) * columns > 2**31
    x = np.zeros((2, rows), np.float32)
    x[0, -1] = x[1, :3] = 1
    out = net.predict(x)
    np.testing.assert_allclose(out, [net.weights[0][-1], net.weights[0][:3].sum(0)], rtol=0, atol=1e-6)
    assert (net.weights[0][-1] != 0).all()
    assert len(np.unique(net.weights[0][-1])) > columns // 2
    return f"create and predict, {rows:,}-{columns:,}, {net.parameters.size:,} parameters"


def main():
    print(f"nnpy {nnpy.__version__}, Python {sys.version.split()[0]}, numpy {np.__version__}\n")
    print("| what | seconds | memory at most so far, GB |\n| --- | ---: | ---: |")
    for work in (
        rows_beyond_32_bits,
        training_beyond_32_bits,
        predictions_beyond_32_bits,
        weights_beyond_32_bits,
        iterations_beyond_32_bits,
    ):
        start = time.monotonic()
        what = work()
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        print(f"| {what} | {time.monotonic() - start:.0f} | {memory:.1f} |", flush=True)


if __name__ == "__main__":
    main()
