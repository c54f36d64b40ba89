"""nnpy: the methods of `nnpy.NeuralNetwork`, and `nnpy.fit_many`."""

from collections.abc import Callable
from itertools import count

from workloads import (
    Array,
    Digits,
    ManyNetworks,
    Prediction,
    Regression,
    Sizes,
    Step,
    Training,
    Xor,
    initial_parameters,
)

import nnpy

XOR_ITERATIONS = 1_000_000


def network(sizes: Sizes, hidden: str, last: str) -> nnpy.NeuralNetwork:
    net = nnpy.NeuralNetwork(sizes, [hidden] * (len(sizes) - 2) + [last])
    w, b = initial_parameters(sizes)
    for parameters, values in zip((*net.weights, *net.biases), w + b, strict=True):
        parameters[...] = values
    return net


def training(workload: Training) -> tuple[Callable[[Array, Array], list[Array]], Callable[[], object]]:
    adam = workload.optimizer == "adam"
    optimizer = nnpy.Adam(workload.learning_rate) if adam else nnpy.SGD(workload.learning_rate)
    last = "softmax" if workload.classifies else "linear"

    def train_in_order(x: Array, y: Array) -> list[Array]:
        net = network(workload.sizes, workload.hidden, last)
        net.fit(x, y, optimizer=optimizer, epochs=1, batch_size=workload.batch_size, shuffle=False)
        return list(net.weights)

    net = network(workload.sizes, workload.hidden, last)
    x, y = workload.data()
    return train_in_order, lambda: net.fit(x, y, optimizer=optimizer, epochs=1, batch_size=workload.batch_size)


def step(workload: Step) -> tuple[Callable[[Array, Array], list[Array]], Callable[[], object]]:
    x, y = workload.data()
    if workload.optimizer == "adam":
        optimizer = nnpy.Adam(workload.learning_rate)

        def take(net: nnpy.NeuralNetwork, x: Array, y: Array) -> None:
            net.partial_fit(x, y, optimizer=optimizer)

    else:

        def take(net: nnpy.NeuralNetwork, x: Array, y: Array) -> None:
            net.gradient_descent(x, y, rate=workload.learning_rate)

    def new() -> nnpy.NeuralNetwork:
        return network(workload.sizes, workload.hidden, "softmax" if workload.classifies else "linear")

    def train_in_order(x: Array, y: Array) -> list[Array]:
        net = new()
        for i in range(0, len(x), workload.batch_size):
            take(net, x[i : i + workload.batch_size], y[i : i + workload.batch_size])
        return list(net.weights)

    net = new()
    return train_in_order, lambda: take(net, x, y)


def prediction(workload: Prediction) -> Callable[[], Array]:
    net = network(workload.sizes, "relu", "softmax")
    x = workload.inputs()
    return lambda: net.predict(x)


def quantized_prediction(workload: Prediction) -> Callable[[], Array]:
    x = workload.inputs()
    q = network(workload.sizes, "relu", "softmax").quantize(x[:1000])
    return lambda: q.predict(x)


def xor(workload: Xor, iterations: int) -> Callable[[], Array]:
    net = nnpy.NeuralNetwork([2, 2, 1])

    def train() -> Array:
        net.randomize(0.0, 1.0, seed=69)
        net.gradient_descent(workload.x, workload.y, rate=workload.learning_rate, iterations=iterations)
        return net.forward(workload.x)

    return train


def digits(workload: Digits) -> Callable[[], Array]:
    x, y, x_test, _ = workload.data()
    seeds = count()

    def train() -> Array:
        seed = next(seeds)
        net = nnpy.NeuralNetwork([784, workload.hidden_size, 10], ["relu", "softmax"], seed=seed)
        schedule = nnpy.LinearDecay(workload.learning_rate, warmup_epochs=workload.warmup_epochs)
        net.fit(x, y, optimizer=nnpy.Adam(schedule), epochs=workload.epochs, batch_size=workload.batch_size, seed=seed)
        return net.predict(x_test)

    return train


def regression(workload: Regression) -> Callable[[], tuple[float, Callable[[], Array]]]:
    optimizer: nnpy.Optimizer
    if workload.method == "levenberg-marquardt":
        optimizer, batch_size = nnpy.LevenbergMarquardt(), None
    elif workload.method == "lbfgs":
        optimizer, batch_size = nnpy.LBFGS(), None
    else:
        optimizer, batch_size = nnpy.Adam(workload.learning_rate), workload.batch_size
    x, y = workload.data()

    def target_reached(net: nnpy.NeuralNetwork, history: nnpy.History) -> bool:
        # history.loss copies the losses of all epochs into an array, which would take longer than the training.
        return history.last("loss") < workload.target_loss

    def train() -> tuple[float, Callable[[], Array]]:
        net = network(workload.sizes, "tanh", "linear")
        history = net.fit(
            x,
            y,
            optimizer=optimizer,
            batch_size=batch_size,
            epochs=workload.max_epochs,
            seed=0,
            callbacks=target_reached,
        )
        return float(history.loss[-1]), lambda: net.predict(x)

    return train


def many_networks(workload: ManyNetworks) -> Callable[[], Callable[[], list[Array]]]:
    x, y = workload.data()
    optimizer = nnpy.Adam(workload.learning_rate)
    batch_size, epochs = workload.batch_size, workload.epochs

    def train() -> Callable[[], list[Array]]:
        nets = [nnpy.NeuralNetwork(workload.sizes, ["tanh", "linear"], seed=i) for i in range(workload.num_networks)]
        if workload.together:
            seeds = [{"seed": i} for i in range(len(nets))]
            nnpy.fit_many(nets, x, y, each=seeds, optimizer=optimizer, batch_size=batch_size, epochs=epochs)
        else:
            for i, net in enumerate(nets):
                net.fit(x, y, seed=i, optimizer=optimizer, batch_size=batch_size, epochs=epochs)
        return lambda: [net.predict(x) for net in nets]

    return train
