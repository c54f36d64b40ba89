"""NumPy: the formulas of backpropagation, written out with arrays."""

from collections.abc import Callable

import numpy as np
from workloads import Array, Prediction, Training, Xor, initial_parameters

XOR_ITERATIONS = 10_000


def training(workload: Training) -> tuple[Callable[[Array, Array], list[Array]], Callable[[], object]]:
    if workload.optimizer != "sgd":
        raise NotImplementedError("only SGD is written out for NumPy")

    def epoch(w: list[Array], b: list[Array], x: Array, y: Array, order: Array) -> None:
        for i in range(0, len(x), workload.batch_size):
            rows = order[i : i + workload.batch_size]
            a = [x[rows]]
            for wi, bi in zip(w[:-1], b[:-1], strict=True):
                a.append(np.maximum(a[-1] @ wi + bi, 0))
            z = a[-1] @ w[-1] + b[-1]
            d = np.exp(z - z.max(axis=1, keepdims=True))
            d /= d.sum(axis=1, keepdims=True)
            d[np.arange(len(rows)), y[rows]] -= 1
            d *= np.float32(workload.learning_rate / len(rows))
            for layer in reversed(range(len(w))):
                step = a[layer].T @ d
                b[layer] -= d.sum(axis=0)
                if layer:
                    d = (d @ w[layer].T) * (a[layer] > 0)
                w[layer] -= step

    def train_in_order(x: Array, y: Array) -> list[Array]:
        w, b = initial_parameters(workload.sizes)
        epoch(w, b, x, y, np.arange(len(x)))
        return w

    x, y = workload.data()
    w, b = initial_parameters(workload.sizes)
    rng = np.random.default_rng(3)
    return train_in_order, lambda: epoch(w, b, x, y, rng.permutation(len(x)))


def prediction(workload: Prediction) -> Callable[[], Array]:
    w, b = initial_parameters(workload.sizes)
    x = workload.inputs()

    def predict() -> Array:
        z = np.maximum(x @ w[0] + b[0], 0) @ w[1] + b[1]
        e = np.exp(z - z.max(axis=1, keepdims=True))
        probabilities: Array = e / e.sum(axis=1, keepdims=True)
        return probabilities

    return predict


def xor(workload: Xor, iterations: int) -> Callable[[], Array]:
    x, y, learning_rate = workload.x, workload.y, workload.learning_rate

    def train() -> Array:
        w1, b1, w2, b2 = workload.initial_parameters()
        for _ in range(iterations):
            a1 = 1 / (1 + np.exp(-(x @ w1 + b1)))
            a2 = 1 / (1 + np.exp(-(a1 @ w2 + b2)))
            d2 = np.float32(0.5) * (a2 - y) * a2 * (1 - a2)
            d1 = (d2 @ w2.T) * a1 * (1 - a1)
            w2 -= learning_rate * (a1.T @ d2)
            b2 -= learning_rate * d2.sum(axis=0)
            w1 -= learning_rate * (x.T @ d1)
            b1 -= learning_rate * d1.sum(axis=0)
        outputs: Array = 1 / (1 + np.exp(-((1 / (1 + np.exp(-(x @ w1 + b1)))) @ w2 + b2)))
        return outputs

    return train
