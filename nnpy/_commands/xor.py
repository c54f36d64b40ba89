"""``nnpy xor``: trains the network of the post by both of its methods and prints the results beside the published ones."""

import time
from typing import NamedTuple

import numpy as np

import nnpy

__all__ = ["DATA", "EPS", "PUBLISHED", "Run", "table", "train"]

# The training set, shape (4, 3): two inputs and the target in each row. As in the post, x and y are views of it.
DATA = np.array([[0, 0, 0], [0, 1, 1], [1, 0, 1], [1, 1, 0]], dtype=np.float32)

EPS = 0.1  # the difference eps of the finite differences

_FINITE_DIFFERENCES, _BACKPROPAGATION = "finite differences", "backpropagation"


class Run(NamedTuple):
    """The result of training: the MSE before and after it, the outputs for the four inputs, the time in seconds."""

    mse_before: float
    mse_after: float
    outputs: tuple[float, float, float, float]
    seconds: float | None


# The results in the post by method and iterations, for seed 69 and rate 10. Its program was compiled without optimisation.
PUBLISHED = {
    (_BACKPROPAGATION, 10_000): Run(0.356169, 0.000025, (0.004951, 0.995321, 0.994320, 0.004433), None),
    (_FINITE_DIFFERENCES, 1_000_000): Run(0.356169, 0.000000, (0.000663, 0.999338, 0.999338, 0.000672), 8.08),
    (_BACKPROPAGATION, 1_000_000): Run(0.356169, 0.000000, (0.000482, 0.999550, 0.999432, 0.000438), 1.67),
}


def train(iterations: int, *, seed: int = 69, rate: float = 10.0, eps: float | None = None) -> Run:
    """Train a 2-2-1 network on XOR, by backpropagation or, with `eps`, by finite differences."""
    x, y = DATA[:, :2], DATA[:, 2:]
    net = nnpy.NeuralNetwork([2, 2, 1])
    net.randomize(0.0, 1.0, seed=seed)
    mse_before = net.mse(x, y)
    start = time.perf_counter()
    net.gradient_descent(x, y, rate=rate, iterations=iterations, eps=eps)
    seconds = time.perf_counter() - start
    a, b, c, d = net.forward(x).ravel().tolist()
    return Run(mse_before, net.mse(x, y), (a, b, c, d), seconds)


def table(iterations: int, seed: int, rate: float) -> str:
    """Train by both methods; return a table of the results, beside the published ones where they exist."""
    has_published_settings = seed == 69 and rate == 10
    columns: list[tuple[str, str, list[str]]] = []  # method, source, cells
    for method, eps in ((_FINITE_DIFFERENCES, EPS), (_BACKPROPAGATION, None)):
        published = PUBLISHED.get((method, iterations)) if has_published_settings else None
        columns.append((method, "nnpy", _cells(train(iterations, seed=seed, rate=rate, eps=eps))))
        columns.append(("", "post", _cells(published)))

    names = ["MSE before", "MSE after", "0 xor 0", "0 xor 1", "1 xor 0", "1 xor 1", "time"]
    lines = [
        f"XOR, 2-2-1 sigmoid network, {iterations:,} iterations of gradient descent, rate {rate:g}, seed {seed}",
        "",
        " " * 12 + "".join(f"{method:<24}" for method, _, _ in columns[::2]).rstrip(),
        " " * 12 + "".join(f"{source:<12}" for _, source, _ in columns).rstrip(),
    ]
    for i, name in enumerate(names):
        lines.append(f"{name:<12}" + "".join(f"{cells[i]:<12}" for _, _, cells in columns).rstrip())
    if all(cells == _cells(None) for _, source, cells in columns if source == "post"):
        lines += ["", "The post has results for 10,000 and 1,000,000 iterations, rate 10 and seed 69."]
    return "\n".join(lines)


def _cells(run: Run | None) -> list[str]:
    if run is None:
        return ["-"] * 7
    seconds = "-" if run.seconds is None else f"{run.seconds:.3g} s"
    return [f"{number:.6f}" for number in (run.mse_before, run.mse_after, *run.outputs)] + [seconds]
