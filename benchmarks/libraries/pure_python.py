"""Pure Python: `nnpy.reference`, which has no arrays."""

from collections.abc import Callable

from workloads import Xor

from nnpy import reference

XOR_ITERATIONS = 10_000


def xor(workload: Xor, iterations: int) -> Callable[[], list[list[float]]]:
    x, y = workload.x.tolist(), workload.y.tolist()

    def train() -> list[list[float]]:
        net = reference.NeuralNetwork([2, 2, 1])
        net.randomize(0, 1, seed=69)
        net.gradient_descent(x, y, rate=workload.learning_rate, iterations=iterations)
        return net.forward(x)

    return train
