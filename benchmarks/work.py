"""The pieces of work, and how each library does them.

run.py starts a process for each library and piece:

    python benchmarks/work.py LIBRARY WORK

It prints a JSON object with the seconds of some repetitions, after a warm-up that is not counted; none if the library does not
do the work. Before the time is taken the result is checked against float64 numpy; a library that computes something else is an
error.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

# A function that does the work once (an epoch, some iterations, a prediction) and what it returns is checked elsewhere.
Run = Callable[[], Any]


class Training(NamedTuple):
    """An epoch of a network with relu layers. SGD: softmax and cross-entropy; Adam: a linear output and the squared error."""

    sizes: tuple[int, ...]
    rows: int
    batch: int
    adam: bool
    rate: float
    repetitions: int


class Prediction(NamedTuple):
    """Outputs of a network with one relu layer and softmax."""

    sizes: tuple[int, ...]
    rows: int
    calls: int  # timed together
    repetitions: int


TRAININGS = {
    "mnist-32": Training((784, 128, 10), 60_000, 32, adam=False, rate=0.1, repetitions=3),
    "mnist-128": Training((784, 128, 10), 60_000, 128, adam=False, rate=0.1, repetitions=3),
    "large-512": Training((1024, 1024, 1024, 10), 16_384, 512, adam=False, rate=0.1, repetitions=3),
    "adam-32": Training((20, 64, 64, 1), 20_000, 32, adam=True, rate=1e-3, repetitions=5),
    "adam-256": Training((20, 64, 64, 1), 20_000, 256, adam=True, rate=1e-3, repetitions=9),
}
PREDICTIONS = {
    "predict-one": Prediction((4, 16, 2), 1, calls=5000, repetitions=7),
    "predict-many": Prediction((784, 128, 10), 10_000, calls=1, repetitions=15),
}
# To 98 % of the test images: a recipe for every library.
DIGITS = {"hidden": 256, "epochs": 4, "batch": 128, "rate": 5e-3, "warmup": 0.3}
# A small regression, 5-10-1 tanh, 400 rows, to this mean squared error of targets with a variance of 1.
REGRESSION = {"sizes": (5, 10, 1), "rows": 400, "loss": 2e-3}
# Networks 8-16-1 tanh, 500 rows, Adam, batches of 32, 20 epochs.
MANY = {"networks": 64, "sizes": (8, 16, 1), "rows": 500, "batch": 32, "epochs": 20, "rate": 1e-2}
XOR_X = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
XOR_Y = np.array([[0], [1], [1], [0]], np.float32)


def start(sizes: tuple[int, ...]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Weights and biases to begin with: the same for every library."""
    rng = np.random.default_rng(1)
    pairs = list(pairwise(sizes))
    w = [(rng.standard_normal(pair) * (2 / pair[0]) ** 0.5).astype(np.float32) for pair in pairs]
    return w, [np.full(pair[1], 0.01, np.float32) for pair in pairs]


def samples(work: Training | Prediction) -> tuple[np.ndarray, np.ndarray]:
    """Inputs from 0 to 1, and targets that a network can learn a part of."""
    rng = np.random.default_rng(2)
    x = rng.random((work.rows, work.sizes[0]), dtype=np.float32)
    teacher = rng.standard_normal((work.sizes[0], work.sizes[-1])).astype(np.float32)
    score = (x - 0.5) @ teacher
    if isinstance(work, Training) and work.adam:
        return x, np.tanh(score)
    return x, score.argmax(axis=1)


# ---- What is right, in float64 ----


def expected_forward(w: list, b: list, x: np.ndarray) -> list[np.ndarray]:
    """The activations; of the last layer, what softmax is taken of."""
    a = [x.astype(float)]
    for layer, (wi, bi) in enumerate(zip(w, b, strict=True)):
        z = a[-1] @ wi + bi
        a.append(z if layer == len(w) - 1 else np.maximum(z, 0))
    return a


def softmax(z: np.ndarray) -> np.ndarray:
    """Rows of probabilities."""
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def expected_steps(work: Training, x: np.ndarray, y: np.ndarray, steps: int) -> list[np.ndarray]:
    """The weights after some steps on the first batches, in order."""
    w, b = ([p.astype(float) for p in part] for part in start(work.sizes))
    m = [np.zeros_like(p) for p in w + b]
    v = [np.zeros_like(p) for p in w + b]
    for step in range(steps):
        batch = slice(step * work.batch, (step + 1) * work.batch)
        a = expected_forward(w, b, x[batch])
        n = len(a[0])
        d = 2 * (a[-1] - y[batch]) / n if work.adam else (softmax(a[-1]) - np.eye(work.sizes[-1])[y[batch]]) / n
        grads_w, grads_b = [], []
        for layer in reversed(range(len(w))):
            grads_w.insert(0, a[layer].T @ d)
            grads_b.insert(0, d.sum(axis=0))
            d = d @ w[layer].T * (a[layer] > 0)
        for i, (p, g) in enumerate(zip(w + b, grads_w + grads_b, strict=True)):
            if work.adam:
                m[i] += 0.1 * (g - m[i])
                v[i] += 0.001 * (g * g - v[i])
                p -= work.rate * m[i] / (1 - 0.9 ** (step + 1)) / (np.sqrt(v[i] / (1 - 0.999 ** (step + 1))) + 1e-8)
            else:
                p -= work.rate * g
    return w


def check_steps(work: Training, train: Callable[[np.ndarray, np.ndarray], list]) -> None:
    """Train on three batches in order, and compare how the weights have moved."""
    x, y = samples(work)
    x, y = x[: 3 * work.batch], y[: 3 * work.batch]
    for before, after, right in zip(start(work.sizes)[0], train(x, y), expected_steps(work, x, y, 3), strict=True):
        moved, expected = np.asarray(after) - before, right - before
        if work.adam:  # it divides by the gradient's own size, and magnifies what rounding does to one of nearly 0
            likeness = (moved * expected).sum() / np.sqrt((moved**2).sum() * (expected**2).sum())
            wrong = not likeness > 0.99
        else:  # a rectifier on its edge may fall either way
            wrong = np.mean(np.abs(moved - expected) > 2e-3 * np.abs(expected).max()) > 1e-4
        if wrong:
            sys.exit("the weights are wrong")


def check_outputs(work: Prediction, outputs: np.ndarray) -> None:
    """Compare probabilities."""
    w, b = start(work.sizes)
    right = softmax(expected_forward(w, b, samples(work)[0])[-1])
    if not np.abs(np.asarray(outputs) - right).max() < 1e-5:
        sys.exit("the outputs are wrong")


def check_xor(outputs: np.ndarray) -> None:
    """The post's outputs after 10,000 iterations."""
    if not np.abs(np.ravel(outputs) - [0.004951, 0.995321, 0.994320, 0.004433]).max() < 1e-4:
        sys.exit(f"the outputs are wrong: {outputs}")


def xor_start() -> list[np.ndarray]:
    """w1, b1, w2, b2 of the post."""
    from nnpy import reference

    net = reference.NeuralNetwork([2, 2, 1])
    net.randomize(0, 1, seed=69)
    return [np.array(p, np.float32) for p in (net.weights[0], net.biases[0], net.weights[1], net.biases[1])]


# ---- nnpy ----


def nnpy_net(sizes: tuple[int, ...], last: str) -> Any:
    import nnpy

    net = nnpy.NeuralNetwork(sizes, ["relu"] * (len(sizes) - 2) + [last])
    w, b = start(sizes)
    for own, given in zip((*net.weights, *net.biases), w + b, strict=True):
        own[...] = given
    return net


def nnpy_train(work: Training) -> Run:
    import nnpy

    optimizer = nnpy.Adam(work.rate) if work.adam else nnpy.SGD(work.rate)

    def few(x: np.ndarray, y: np.ndarray) -> list:
        net = nnpy_net(work.sizes, "linear" if work.adam else "softmax")
        net.fit(x, y, optimizer=optimizer, epochs=1, batch_size=work.batch, shuffle=False)
        return list(net.weights)

    check_steps(work, few)
    net = nnpy_net(work.sizes, "linear" if work.adam else "softmax")
    x, y = samples(work)
    return lambda: net.fit(x, y, optimizer=optimizer, epochs=1, batch_size=work.batch)


def nnpy_predict(work: Prediction) -> Run:
    net = nnpy_net(work.sizes, "softmax")
    x = samples(work)[0]
    check_outputs(work, net.predict(x))
    return lambda: net.predict(x)


def nnpy_xor(iterations: int) -> tuple[Run, int]:
    import nnpy

    net = nnpy.NeuralNetwork([2, 2, 1])

    def run() -> np.ndarray:
        net.randomize(0.0, 1.0, seed=69)
        net.gradient_descent(XOR_X, XOR_Y, rate=10, iterations=iterations)
        return net.forward(XOR_X)

    return run, iterations


def digits() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The MNIST images and labels, in the folder that NNPY_MNIST names."""
    from nnpy.datasets import load_mnist

    return load_mnist()


def check_digits(outputs: np.ndarray, labels: np.ndarray) -> None:
    """98.0 % for some seeds and a little less for others is what the recipe gives; anything below is another one."""
    right = np.mean(np.argmax(outputs, axis=1) == labels)
    print(f"{100 * right:.2f} % of the test images", file=sys.stderr)
    if right < 0.978:
        sys.exit("the network has not learnt")


def nnpy_digits() -> Run:
    import nnpy

    x, y, x_test, y_test = digits()
    seeds = iter(range(100))

    def run() -> None:
        seed = next(seeds)
        net = nnpy.NeuralNetwork([784, DIGITS["hidden"], 10], ["relu", "softmax"], seed=seed)
        optimizer = nnpy.Adam(nnpy.LinearDecay(DIGITS["rate"], warmup_epochs=DIGITS["warmup"]))
        net.fit(x, y, optimizer=optimizer, epochs=DIGITS["epochs"], batch_size=DIGITS["batch"], seed=seed)
        check_digits(net.predict(x_test), y_test)

    return run


def regression() -> tuple[np.ndarray, np.ndarray]:
    """Friedman's first function without noise, standardised (J. Friedman, Annals of Statistics 19, 1991)."""
    x = np.random.default_rng(5).random((REGRESSION["rows"], 5))
    y = 10 * np.sin(np.pi * x[:, 0] * x[:, 1]) + 20 * (x[:, 2] - 0.5) ** 2 + 10 * x[:, 3] + 5 * x[:, 4]
    x, y = (x - x.mean(axis=0)) / x.std(axis=0), (y - y.mean()) / y.std()
    return x.astype(np.float32), y.astype(np.float32)[:, np.newaxis]


def nnpy_regression(method: str) -> Run:
    import nnpy

    optimizer, batch = {
        "levenberg": (nnpy.LevenbergMarquardt(), None),
        "lbfgs": (nnpy.LBFGS(), None),
        "adam": (nnpy.Adam(1e-2), 32),
    }[method]
    x, y = regression()

    def run() -> None:
        net = nnpy.NeuralNetwork(REGRESSION["sizes"], ["tanh", "linear"], seed=0)
        w, b = start(REGRESSION["sizes"])
        for part, given in zip((*net.weights, *net.biases), w + b, strict=True):
            part[...] = given
        history = net.fit(
            x,
            y,
            optimizer=optimizer,
            batch_size=batch,
            epochs=20_000,
            seed=0,
            callbacks=lambda net, h: h._columns["loss"][-1] < REGRESSION["loss"],
        )
        if not history.loss[-1] < REGRESSION["loss"]:
            sys.exit(f"{method} reaches {history.loss[-1]} only")
        if method != "adam" and not net.mse(x, y) < 1.01 * REGRESSION["loss"]:
            sys.exit("the loss is wrong")

    return run


def many() -> tuple[np.ndarray, np.ndarray]:
    """A regression for many networks."""
    rng = np.random.default_rng(6)
    x = rng.random((MANY["rows"], 8), dtype=np.float32)
    return x, np.tanh(x @ rng.standard_normal((8, 1), dtype=np.float32))


def nnpy_many(one_by_one: bool) -> Run:
    import nnpy

    x, y = many()
    options = {"optimizer": nnpy.Adam(MANY["rate"]), "batch_size": MANY["batch"], "epochs": MANY["epochs"]}

    def run() -> None:
        nets = [nnpy.NeuralNetwork(MANY["sizes"], ["tanh", "linear"], seed=i) for i in range(MANY["networks"])]
        if one_by_one:
            histories = [net.fit(x, y, seed=i, **options) for i, net in enumerate(nets)]
        else:
            histories = nnpy.fit_many(nets, x, y, each=[{"seed": i} for i in range(len(nets))], **options)
        if not all(h.loss[-1] < 0.2 * h.loss[0] for h in histories):
            sys.exit("a network has not learnt")

    return run


# ---- PyTorch ----


def torch_net(sizes: tuple[int, ...]) -> Any:
    import torch

    layers: list[Any] = []
    for rows, columns, w, b in zip(sizes[:-1], sizes[1:], *start(sizes), strict=True):
        linear = torch.nn.Linear(rows, columns)
        linear.weight.data = torch.from_numpy(w.T.copy())
        linear.bias.data = torch.from_numpy(b.copy())
        layers += [linear, torch.nn.ReLU()]
    return torch.nn.Sequential(*layers[:-1])


def torch_train(work: Training) -> Run:
    import torch

    def epoch(net: Any, optimizer: Any, x: Any, y: Any, order: Any) -> None:
        for i in range(0, len(x), work.batch):
            rows = order[i : i + work.batch]
            out = net(x[rows])
            loss = (
                torch.nn.functional.mse_loss(out, y[rows])
                if work.adam
                else torch.nn.functional.cross_entropy(out, y[rows])
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    def new() -> tuple[Any, Any]:
        net = torch_net(work.sizes)
        kind = torch.optim.Adam if work.adam else torch.optim.SGD
        return net, kind(net.parameters(), lr=work.rate)

    def few(x: np.ndarray, y: np.ndarray) -> list:
        net, optimizer = new()
        epoch(net, optimizer, torch.from_numpy(x), torch.from_numpy(y), torch.arange(len(x)))
        return [p.detach().numpy().T for p in net.parameters() if p.ndim == 2]

    check_steps(work, few)
    net, optimizer = new()
    x, y = map(torch.from_numpy, samples(work))
    return lambda: epoch(net, optimizer, x, y, torch.randperm(len(x)))


def torch_predict(work: Prediction) -> Run:
    import torch

    net = torch_net(work.sizes)
    x = torch.from_numpy(samples(work)[0])

    def run() -> Any:
        with torch.inference_mode():
            return torch.softmax(net(x), dim=1)

    check_outputs(work, run().numpy())
    return run


def torch_xor(iterations: int) -> tuple[Run, int]:
    import torch

    x, y = torch.from_numpy(XOR_X), torch.from_numpy(XOR_Y)
    iterations = min(iterations, 10_000)

    def run() -> Any:
        net = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Sigmoid(), torch.nn.Linear(2, 1), torch.nn.Sigmoid())
        for p, given in zip(net.parameters(), xor_start(), strict=True):
            p.data = torch.from_numpy(given.T.copy())
        optimizer = torch.optim.SGD(net.parameters(), lr=10)
        for _ in range(iterations):
            optimizer.zero_grad()
            torch.nn.functional.mse_loss(net(x), y).backward()
            optimizer.step()
        return net(x).detach().numpy()

    return run, iterations


def torch_digits() -> Run:
    import torch

    x, y, x_test, y_test = (torch.from_numpy(np.asarray(a)) for a in digits())
    steps = -(-len(x) // DIGITS["batch"])
    up, total = DIGITS["warmup"] * steps, DIGITS["epochs"] * steps

    def run() -> None:
        net = torch.nn.Sequential(
            torch.nn.Linear(784, DIGITS["hidden"]), torch.nn.ReLU(), torch.nn.Linear(DIGITS["hidden"], 10)
        )
        optimizer = torch.optim.Adam(net.parameters(), lr=DIGITS["rate"])
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda t: t / up if t < up else max(0.0, 1 - (t - up) / (total - up))
        )
        for _ in range(DIGITS["epochs"]):
            order = torch.randperm(len(x))
            for i in range(0, len(x), DIGITS["batch"]):
                rows = order[i : i + DIGITS["batch"]]
                optimizer.zero_grad()
                torch.nn.functional.cross_entropy(net(x[rows]), y[rows]).backward()
                optimizer.step()
                schedule.step()
        with torch.inference_mode():
            check_digits(net(x_test).numpy(), y_test.numpy())

    return run


def torch_regression(method: str) -> Run | None:
    import torch

    if method == "levenberg":
        return None
    x, y = map(torch.from_numpy, regression())

    def new() -> Any:
        net = torch_net(REGRESSION["sizes"])
        net[1] = torch.nn.Tanh()
        return net

    def run_lbfgs() -> None:
        net = new()
        optimizer = torch.optim.LBFGS(net.parameters(), history_size=10, line_search_fn="strong_wolfe")

        def closure() -> Any:
            optimizer.zero_grad()
            loss = torch.nn.functional.mse_loss(net(x), y)
            loss.backward()
            return loss

        for _ in range(1000):  # of 20 iterations each
            if optimizer.step(closure) < REGRESSION["loss"]:
                return
        sys.exit("L-BFGS does not reach the loss")

    def run_adam() -> None:
        net = new()
        optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
        for _ in range(20_000):
            order, total = torch.randperm(len(x)), 0.0
            for i in range(0, len(x), 32):
                rows = order[i : i + 32]
                optimizer.zero_grad()
                loss = torch.nn.functional.mse_loss(net(x[rows]), y[rows])
                loss.backward()
                optimizer.step()
                total += loss.item() * len(rows)
            if total / len(x) < REGRESSION["loss"]:
                return
        sys.exit("Adam does not reach the loss")

    return run_lbfgs if method == "lbfgs" else run_adam


def torch_many(one_by_one: bool) -> Run | None:
    import torch

    if not one_by_one:
        return None
    x, y = map(torch.from_numpy, many())

    def run() -> None:
        for _ in range(MANY["networks"]):
            sizes = MANY["sizes"]
            net = torch.nn.Sequential(
                torch.nn.Linear(sizes[0], sizes[1]), torch.nn.Tanh(), torch.nn.Linear(sizes[1], sizes[2])
            )
            optimizer = torch.optim.Adam(net.parameters(), lr=MANY["rate"])
            for _ in range(MANY["epochs"]):
                order = torch.randperm(len(x))
                for i in range(0, len(x), MANY["batch"]):
                    rows = order[i : i + MANY["batch"]]
                    optimizer.zero_grad()
                    torch.nn.functional.mse_loss(net(x[rows]), y[rows]).backward()
                    optimizer.step()

    return run


# ---- JAX ----


def jax_forward(parameters: Any, x: Any) -> Any:
    import jax

    *hidden, (w, b) = parameters
    for wi, bi in hidden:
        x = jax.nn.relu(x @ wi + bi)
    return x @ w + b


def jax_train(work: Training) -> Run:
    import jax
    import jax.numpy as jnp

    def loss(parameters: Any, x: Any, y: Any) -> Any:
        out = jax_forward(parameters, x)
        if work.adam:
            return jnp.mean(jnp.sum((out - y) ** 2, axis=1))
        return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(out), y[:, None], axis=1))

    def step(state: Any, rows: Any, x: Any, y: Any) -> Any:
        parameters, m, v, t = state
        grads = jax.grad(loss)(parameters, x[rows], y[rows])
        if not work.adam:
            return jax.tree.map(lambda p, g: p - work.rate * g, parameters, grads), m, v, t
        m = jax.tree.map(lambda a, g: 0.9 * a + 0.1 * g, m, grads)
        v = jax.tree.map(lambda a, g: 0.999 * a + 0.001 * g * g, v, grads)
        t = t + 1
        one, two = 1 - 0.9**t, 1 - 0.999**t
        new = jax.tree.map(lambda p, a, b: p - work.rate * (a / one) / (jnp.sqrt(b / two) + 1e-8), parameters, m, v)
        return new, m, v, t

    def epoch(state: Any, order: Any, x: Any, y: Any) -> Any:
        steps = len(order) // work.batch
        full = order[: steps * work.batch].reshape(steps, work.batch)
        state, _ = jax.lax.scan(lambda s, rows: (step(s, rows, x, y), None), state, full)
        rest = order[steps * work.batch :]
        return step(state, rest, x, y) if len(rest) else state

    compiled = jax.jit(epoch, donate_argnums=0)

    def new() -> Any:
        parameters = [(jnp.array(w), jnp.array(b)) for w, b in zip(*start(work.sizes), strict=True)]
        return (
            parameters,
            jax.tree.map(jnp.zeros_like, parameters),
            jax.tree.map(jnp.zeros_like, parameters),
            jnp.zeros(()),
        )

    def few(x: np.ndarray, y: np.ndarray) -> list:
        return [w for w, _ in compiled(new(), jnp.arange(len(x)), jnp.array(x), jnp.array(y))[0]]

    check_steps(work, few)
    x, y = map(jnp.array, samples(work))
    state = [new()]
    rng = np.random.default_rng(3)

    def run() -> None:
        state[0] = jax.block_until_ready(compiled(state[0], jnp.array(rng.permutation(len(x))), x, y))

    return run


def jax_predict(work: Prediction) -> Run:
    import jax
    import jax.numpy as jnp

    parameters = [(jnp.array(w), jnp.array(b)) for w, b in zip(*start(work.sizes), strict=True)]
    compiled = jax.jit(lambda x: jax.nn.softmax(jax_forward(parameters, x)))
    x = samples(work)[0]

    def run() -> np.ndarray:
        return np.asarray(compiled(x))

    check_outputs(work, run())
    return run


def jax_xor(iterations: int) -> tuple[Run, int]:
    import jax
    import jax.numpy as jnp

    def loss(p: Any) -> Any:
        w1, b1, w2, b2 = p
        out = jax.nn.sigmoid(jax.nn.sigmoid(XOR_X @ w1 + b1) @ w2 + b2)
        return jnp.mean(jnp.sum((out - XOR_Y) ** 2, axis=1))

    def train(p: Any) -> Any:
        return jax.lax.fori_loop(
            0, iterations, lambda _, q: jax.tree.map(lambda a, g: a - 10 * g, q, jax.grad(loss)(q)), p
        )

    compiled = jax.jit(train)

    def run() -> np.ndarray:
        w1, b1, w2, b2 = map(np.asarray, compiled([jnp.array(p) for p in xor_start()]))
        return 1 / (1 + np.exp(-((1 / (1 + np.exp(-(XOR_X @ w1 + b1)))) @ w2 + b2)))

    return run, iterations


def jax_digits() -> Run:
    import jax
    import jax.numpy as jnp

    x, y, x_test, y_test = (jnp.array(a) for a in digits())
    batch, epochs, hidden = DIGITS["batch"], DIGITS["epochs"], DIGITS["hidden"]
    steps = len(x) // batch  # a rest of 96 images, others in each epoch, is left out
    up, total = DIGITS["warmup"] * steps, epochs * steps

    def loss(parameters: Any, rows: Any, x: Any, y: Any) -> Any:
        out = jax_forward(parameters, x[rows])
        return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(out), y[rows][:, None], axis=1))

    def step(state: Any, rows: Any, x: Any, y: Any) -> Any:
        parameters, m, v, t = state
        grads = jax.grad(loss)(parameters, rows, x, y)
        m = jax.tree.map(lambda a, g: 0.9 * a + 0.1 * g, m, grads)
        v = jax.tree.map(lambda a, g: 0.999 * a + 0.001 * g * g, v, grads)
        rate = DIGITS["rate"] * jnp.where(t < up, t / up, 1 - (t - up) / (total - up))
        t = t + 1
        one, two = 1 - 0.9**t, 1 - 0.999**t
        new = jax.tree.map(lambda p, a, b: p - rate * (a / one) / (jnp.sqrt(b / two) + 1e-8), parameters, m, v)
        return new, m, v, t

    @jax.jit
    def epoch(state: Any, order: Any, x: Any, y: Any) -> Any:
        rows = order[: steps * batch].reshape(steps, batch)
        return jax.lax.scan(lambda s, r: (step(s, r, x, y), None), state, rows)[0]

    rng = np.random.default_rng(7)

    def run() -> None:
        pairs = ((784, hidden), (hidden, 10))
        parameters = [
            (jnp.array(rng.normal(0, (2 / r) ** 0.5, (r, c)), jnp.float32), jnp.zeros(c, jnp.float32)) for r, c in pairs
        ]
        zeros = jax.tree.map(jnp.zeros_like, parameters)
        state = (parameters, zeros, zeros, jnp.zeros(()))
        for _ in range(epochs):
            state = epoch(state, jnp.array(rng.permutation(len(x))), x, y)
        check_digits(np.asarray(jax_forward(state[0], x_test)), np.asarray(y_test))

    return run


# ---- scikit-learn ----


def sklearn_train(work: Training) -> Run:
    import warnings

    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier, MLPRegressor

    warnings.simplefilter("ignore", ConvergenceWarning)
    kind = MLPRegressor if work.adam else MLPClassifier
    options = {"alpha": 0.0, "momentum": 0.0, "learning_rate_init": work.rate, "batch_size": work.batch, "max_iter": 1}
    solver = "adam" if work.adam else "sgd"

    def few(x: np.ndarray, y: np.ndarray) -> list:
        net = kind(hidden_layer_sizes=work.sizes[1:-1], solver=solver, shuffle=False, **options)
        given = start(work.sizes)

        initialize = net._initialize

        def initialize_with_given(y: Any, layer_units: Any, dtype: Any) -> None:
            initialize(y, layer_units, dtype)
            net.coefs_, net.intercepts_ = given

        net._initialize = initialize_with_given
        net.fit(x, y.ravel() if work.adam else y)
        return net.coefs_

    # Its squared error is half of ours, which Adam does not see, and its classes are those that occur: all of them do.
    check_steps(work, few)
    x, y = samples(work)
    y = y.ravel() if work.adam else y
    return lambda: kind(hidden_layer_sizes=work.sizes[1:-1], solver=solver, **options).fit(x, y)


def sklearn_predict(work: Prediction) -> Run:
    from sklearn.neural_network import MLPClassifier

    x = samples(work)[0]
    net = MLPClassifier(work.sizes[1:-1], max_iter=1)
    net.partial_fit(x[:1], [0], classes=np.arange(max(work.sizes[-1], 3)))
    net.coefs_, net.intercepts_ = start(work.sizes)
    net.out_activation_ = "softmax"
    net.n_outputs_ = work.sizes[-1]
    check_outputs(work, net.predict_proba(x))
    return lambda: net.predict_proba(x)


# ---- numpy, ONNX Runtime, pure Python, the book ----


def numpy_predict(work: Prediction) -> Run:
    w, b = start(work.sizes)
    x = samples(work)[0]

    def run() -> np.ndarray:
        z = np.maximum(x @ w[0] + b[0], 0) @ w[1] + b[1]
        e = np.exp(z - z.max(axis=1, keepdims=True))
        return e / e.sum(axis=1, keepdims=True)

    check_outputs(work, run())
    return run


def numpy_train(work: Training) -> Run | None:
    if work.adam:
        return None
    x, y = samples(work)

    def epoch(w: list, b: list, x: np.ndarray, y: np.ndarray, order: np.ndarray) -> None:
        for i in range(0, len(x), work.batch):
            rows = order[i : i + work.batch]
            a = [x[rows]]
            for wi, bi in zip(w[:-1], b[:-1], strict=True):
                a.append(np.maximum(a[-1] @ wi + bi, 0))
            z = a[-1] @ w[-1] + b[-1]
            d = np.exp(z - z.max(axis=1, keepdims=True))
            d /= d.sum(axis=1, keepdims=True)
            d[np.arange(len(rows)), y[rows]] -= 1
            d *= np.float32(work.rate / len(rows))
            for layer in reversed(range(len(w))):
                step = a[layer].T @ d
                b[layer] -= d.sum(axis=0)
                if layer:
                    d = (d @ w[layer].T) * (a[layer] > 0)
                w[layer] -= step

    def few(x: np.ndarray, y: np.ndarray) -> list:
        w, b = start(work.sizes)
        epoch(w, b, x, y, np.arange(len(x)))
        return w

    check_steps(work, few)
    w, b = start(work.sizes)
    rng = np.random.default_rng(3)
    return lambda: epoch(w, b, x, y, rng.permutation(len(x)))


def numpy_xor(iterations: int) -> tuple[Run, int]:
    iterations = min(iterations, 10_000)

    def run() -> np.ndarray:
        w1, b1, w2, b2 = xor_start()
        for _ in range(iterations):
            a1 = 1 / (1 + np.exp(-(XOR_X @ w1 + b1)))
            a2 = 1 / (1 + np.exp(-(a1 @ w2 + b2)))
            d2 = np.float32(0.5) * (a2 - XOR_Y) * a2 * (1 - a2)
            d1 = (d2 @ w2.T) * a1 * (1 - a1)
            w2 -= 10 * (a1.T @ d2)
            b2 -= 10 * d2.sum(axis=0)
            w1 -= 10 * (XOR_X.T @ d1)
            b1 -= 10 * d1.sum(axis=0)
        return 1 / (1 + np.exp(-((1 / (1 + np.exp(-(XOR_X @ w1 + b1)))) @ w2 + b2)))

    return run, iterations


def onnxruntime_predict(work: Prediction) -> Run:
    import onnx
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    w, b = start(work.sizes)
    named = {f"w{i}": p for i, p in enumerate(w)} | {f"b{i}": p for i, p in enumerate(b)}
    nodes = [
        helper.make_node("Gemm", ["x", "w0", "b0"], ["z0"]),
        helper.make_node("Relu", ["z0"], ["a0"]),
        helper.make_node("Gemm", ["a0", "w1", "b1"], ["z1"]),
        helper.make_node("Softmax", ["z1"], ["y"], axis=1),
    ]
    values = [
        helper.make_tensor_value_info(n, TensorProto.FLOAT, [None, s])
        for n, s in (("x", work.sizes[0]), ("y", work.sizes[-1]))
    ]
    graph = helper.make_graph(
        nodes, "net", values[:1], values[1:], [numpy_helper.from_array(p, n) for n, p in named.items()]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    x = samples(work)[0]
    check_outputs(work, session.run(None, {"x": x})[0])
    return lambda: session.run(None, {"x": x})


def python_xor(iterations: int) -> tuple[Run, int]:
    from nnpy import reference

    iterations = min(iterations, 10_000)

    def run() -> np.ndarray:
        net = reference.NeuralNetwork([2, 2, 1])
        net.randomize(0, 1, seed=69)
        net.gradient_descent(XOR_X.tolist(), XOR_Y.tolist(), rate=10, iterations=iterations)
        return np.array(net.forward(XOR_X.tolist()))

    return run, iterations


def book_xor_seconds(iterations: int, repetitions: int) -> list[float]:
    """nn.h, compiled for this machine; the program takes the time itself."""
    here = Path(__file__).parent
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "book"
        command = [os.environ.get("CC", "cc"), "-O3", "-march=native", "-I", here.parent / "csrc"]
        subprocess.run([*command, "-o", program, here / "book.c", "-lm"], check=True)
        run = [
            subprocess.run([program, str(n)], capture_output=True, text=True, check=True).stdout.split()
            for n in [10_000]
        ]
        check_xor(np.array(run[0][1:], float))
        outputs = [
            subprocess.run([program, str(iterations)], capture_output=True, text=True, check=True).stdout.split()
            for _ in range(repetitions)
        ]
    return [float(out[0]) / iterations for out in outputs]


# ---- The worker ----


def seconds_of(run: Run, repetitions: int) -> list[float]:
    """Warm up for half a second, so that threads which numpy's BLAS left spinning have gone to sleep; then time."""
    begin = time.perf_counter()
    run()
    while time.perf_counter() - begin < 0.5:
        run()
    seconds = []
    for _ in range(repetitions):
        before = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - before)
    return seconds


def measure(library: str, name: str) -> list[float]:
    """Check, then time; seconds of an epoch, an iteration, or a prediction."""
    here = globals()
    if name in TRAININGS:
        run = here[f"{library}_train"](TRAININGS[name])
        return [] if run is None else seconds_of(run, TRAININGS[name].repetitions)
    if name in PREDICTIONS:
        work = PREDICTIONS[name]
        run = here[f"{library}_predict"](work)
        calls = range(work.calls)

        def run_all() -> None:
            for _ in calls:
                run()

        return [s / work.calls for s in seconds_of(run_all, work.repetitions)]
    if name == "mnist-98":
        run = here[f"{library}_digits"]()
        return seconds_of(run, 3)
    if name.startswith(("regression-", "many-")):
        work, _, kind = name.partition("-")
        run = here[f"{library}_{work}"](kind if work == "regression" else kind == "one-by-one")
        return [] if run is None else seconds_of(run, 3 if library == "nnpy" else 1)
    if library == "book":
        return book_xor_seconds(1_000_000, 5)
    run, _ = here[f"{library}_xor"](10_000)
    check_xor(run())
    run, iterations = here[f"{library}_xor"](1_000_000)
    return [s / iterations for s in seconds_of(run, 3)]


if __name__ == "__main__":
    times = measure(sys.argv[1], sys.argv[2])
    print(json.dumps({"seconds": times}))
