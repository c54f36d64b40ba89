"""`fit` takes the right steps: activations, losses, shuffling and Adam against numpy; what it refuses."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import nnpy

RNG = np.random.default_rng(8)
X = RNG.random((50, 6), dtype=np.float32)
LABELS = RNG.integers(0, 3, 50)
Y = RNG.random((50, 3), dtype=np.float32)
NAMES = "sigmoid, tanh, relu, linear, softmax, leaky_relu, elu, softplus, silu, gelu, swish, identity, logistic"
FUNCTIONS = ["sigmoid", "tanh", "relu", "linear"]


def softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def values(function, z):
    return {
        "sigmoid": lambda: 1 / (1 + np.exp(-z)),
        "tanh": lambda: np.tanh(z),
        "relu": lambda: np.maximum(z, 0),
        "linear": lambda: z,
        "softmax": lambda: (
            np.exp(z - z.max(axis=1, keepdims=True)) / np.exp(z - z.max(axis=1, keepdims=True)).sum(axis=1)[:, None]
        ),
    }[function]()


def slopes(function, a):
    return {
        "sigmoid": lambda: a * (1 - a),
        "tanh": lambda: 1 - a**2,
        "relu": lambda: (a > 0).astype(float),
        "linear": lambda: np.ones_like(a),
    }[function]()


def numpy_loss_and_gradient(net, x, y):
    """Compute the outputs, the default loss and its gradient in float64."""
    a = [x.astype(float)]
    for w, b, function in zip(net.weights, net.biases, net.activations, strict=True):
        a.append(values(function, a[-1] @ w.astype(float) + b))
    if net.activations[-1] == "softmax":
        loss = -(y * np.log(a[-1])).sum(axis=1).mean()
        d = (a[-1] * y.sum(axis=1, keepdims=True) - y) / len(x)
    else:
        loss = ((a[-1] - y) ** 2).sum(axis=1).mean()
        d = 2 / len(x) * (a[-1] - y) * slopes(net.activations[-1], a[-1])
    parts = []
    for layer in range(len(net.weights) - 1, -1, -1):
        parts[:0] = [(a[layer].T @ d).ravel(), d.sum(axis=0)]
        if layer:
            d = (d @ net.weights[layer].T.astype(float)) * slopes(net.activations[layer - 1], a[layer])
    return a[-1], loss, np.concatenate(parts)


@settings(max_examples=200)
@given(st.data())
def test_every_function_against_numpy(data):
    sizes = data.draw(st.lists(st.integers(1, 30), min_size=2, max_size=4))
    names = [data.draw(st.sampled_from(FUNCTIONS)) for _ in sizes[2:]] + [
        data.draw(st.sampled_from([*FUNCTIONS, "softmax"]))
    ]
    rows = data.draw(st.integers(1, 200))
    net = nnpy.NeuralNetwork(sizes, names, seed=data.draw(st.integers(0, 2**64 - 1)))
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (rows, sizes[0])).astype(np.float32)
    y = rng.random((rows, sizes[-1])).astype(np.float32)
    out, loss, gradient = numpy_loss_and_gradient(net, x, y)
    np.testing.assert_allclose(net.predict(x), out, rtol=0, atol=1e-5)
    assert net.loss(x, y) == pytest.approx(loss, rel=1e-4, abs=1e-5)
    assert net.mse(x, y) == pytest.approx(((out - y) ** 2).sum(axis=1).mean(), rel=1e-4, abs=1e-5)
    scale = max(np.abs(gradient).max(), 1e-2)
    np.testing.assert_allclose(net.backpropagation(x, y).parameters, gradient, rtol=0, atol=1e-4 * scale)


@pytest.mark.parametrize("activations", ["sigmoid", ["relu", "softmax"]])
def test_fit_without_shuffling_is_gradient_descent_on_the_batches(activations):
    one, other = (nnpy.NeuralNetwork([6, 9, 3], activations, seed=3) for _ in range(2))
    history = one.fit(X, Y, optimizer=nnpy.SGD(0.4), epochs=3, batch_size=16, shuffle=False)
    losses = []
    for _ in range(3):
        batches = [slice(i, i + 16) for i in range(0, 50, 16)]
        loss = 0.0
        for batch in batches:
            loss += other.loss(X[batch], Y[batch]) * len(X[batch]) / 50
            other.gradient_descent(X[batch], Y[batch], rate=0.4)
        losses.append(loss)
    np.testing.assert_array_equal(one.parameters, other.parameters)
    np.testing.assert_allclose(history.loss, losses, rtol=1e-5)
    assert history.loss.dtype == np.float64


def test_shuffling_visits_every_sample_once_per_epoch_in_an_order_that_depends_on_the_seed():
    """Sample i alone has input i; the learning rate is so small that a step adds 2 * rate to the weight of that input."""
    x, y = np.eye(20, dtype=np.float32), np.ones((20, 1), np.float32)
    net = nnpy.NeuralNetwork([20, 1], "linear")
    net.parameters = 0
    net.fit(x, y, optimizer=nnpy.SGD(1e-4), epochs=5, batch_size=1, seed=1)
    np.testing.assert_allclose(net.weights[0], 5 * 2e-4, rtol=2e-2)

    def parameters(**options):
        net = nnpy.NeuralNetwork([6, 9, 3], seed=3)
        net.fit(X, Y, epochs=3, batch_size=7, **options)
        return net.parameters.copy()

    np.testing.assert_array_equal(parameters(seed=5), parameters(seed=5))
    assert (parameters(seed=5) != parameters(seed=6)).any()
    assert (parameters() != parameters()).any()
    assert (parameters(seed=5) != parameters(shuffle=False)).any()


def test_epochs_have_orders_of_their_own():
    def order_of(epoch):
        """With one sample per step, the loss of an epoch depends on the order."""
        net = nnpy.NeuralNetwork([6, 4, 3], seed=0)
        return net.fit(X, Y, optimizer=nnpy.SGD(1.0), epochs=epoch + 1, batch_size=1, seed=9)

    assert len(set(order_of(3).loss.tolist())) == 4


def test_cross_entropy_of_large_sums_is_finite():
    net = nnpy.NeuralNetwork([1, 2], "softmax")
    net.weights[0] = [[1000.0, -1000.0]]
    net.biases[0] = 0
    assert net.loss([[1.0]], [0]) == 0
    assert net.loss([[1.0]], [1]) == 2000
    np.testing.assert_array_equal(net.predict([[1.0]]), [[1, 0]])


def test_adam_follows_the_formula():
    net = nnpy.NeuralNetwork([6, 5, 3], ["tanh", "linear"], seed=2)
    p = net.parameters.astype(float)
    m, v = np.zeros_like(p), np.zeros_like(p)
    probe = nnpy.NeuralNetwork([6, 5, 3], ["tanh", "linear"])
    for t in range(1, 31):
        probe.parameters = p
        g = numpy_loss_and_gradient(probe, X, Y)[2]
        m = 0.8 * m + 0.2 * g
        v = 0.99 * v + 0.01 * g**2
        p -= 0.02 * (m / (1 - 0.8**t)) / (np.sqrt(v / (1 - 0.99**t)) + 1e-6)
    start = net.parameters.copy()
    net.fit(X, Y, optimizer=nnpy.Adam(0.02, betas=(0.8, 0.99), eps=1e-6), epochs=30, batch_size=50, shuffle=False)
    np.testing.assert_allclose(net.parameters, p, rtol=0, atol=2e-3 * np.abs(p - start).max())


def test_history():
    net = nnpy.NeuralNetwork([6, 9, 3], ["relu", "softmax"], seed=3)
    history = net.fit(X, LABELS, optimizer=nnpy.Adam(0.02), epochs=60, seed=0)
    assert history.loss.shape == (60,)
    assert history.loss[-1] < 0.7 * history.loss[0]
    assert re.fullmatch(r"<History of 60 epochs, loss \S+ to \S+>", repr(history))
    assert repr(net.fit(X, LABELS, epochs=0)) == "<History of 0 epochs>"


def test_progress_bar_counts_the_epochs(capsys):
    pytest.importorskip("tqdm")
    nnpy.NeuralNetwork([6, 3], "softmax", seed=3).fit(X, LABELS, epochs=60, progress=True)
    assert "60/60" in capsys.readouterr().err


@pytest.mark.parametrize("row", [0, 33, 49])
def test_nan_in_x_changes_nothing_wherever_it_is(row):
    x = X.copy()
    x[row, 5] = np.inf
    net = nnpy.NeuralNetwork([6, 9, 3], seed=0)
    before = net.parameters.copy()
    for call in (lambda: net.fit(x, Y, batch_size=4), lambda: net.loss(x, Y), lambda: net.predict(x[row : row + 1])):
        with pytest.raises(ValueError, match=r"^x must be finite in float32, got x\[\d+, 5\] = inf"):
            call()
    np.testing.assert_array_equal(net.parameters, before)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: nnpy.NeuralNetwork([1, 1], "swoosh"),
            f"an activation must be one of {NAMES}, got 'swoosh'",
        ),
        (
            lambda: nnpy.NeuralNetwork([1, 1], [3]),
            f"an activation must be one of {NAMES}, got 3",
        ),
        (
            lambda: nnpy.NeuralNetwork([1, 1], ["relu", "relu"]),
            "activations must be one name, or 1, one for each layer after the inputs, got ['relu', 'relu']",
        ),
        (
            lambda: nnpy.NeuralNetwork([1, 2, 1], "softmax"),
            "softmax is for the last layer only, got ['softmax', 'softmax']",
        ),
    ],
)
def test_refused_activations(call, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        call()


def test_one_row_gives_the_bits_of_many():
    for functions in (["relu", "softmax"], ["tanh", "linear"]):
        net = nnpy.NeuralNetwork([6, 37, 3], functions, seed=1)
        all_rows = net.predict(X)
        for i in range(50):
            np.testing.assert_array_equal(net.predict(X[i : i + 1]), all_rows[i : i + 1])
            np.testing.assert_array_equal(net.predict(np.repeat(X, 2, axis=1)[i : i + 1, ::2]), all_rows[i : i + 1])


def test_nan_is_refused_even_if_there_are_no_epochs():
    for sizes in ([6, 3], [6, 300, 3]):
        net = nnpy.NeuralNetwork(sizes, seed=0)
        with pytest.raises(ValueError, match=r"^x must be finite in float32, got x\[0, 0\] = nan"):
            net.fit(X * np.nan, Y, epochs=0)
        with pytest.raises(ValueError, match=r"^x must be finite in float32, got x\[0, 0\] = nan"):
            net.gradient_descent(X * np.nan, Y, rate=1, iterations=0)


def test_activations_of_another_type():
    with pytest.raises(TypeError, match="^activations must be a name or a sequence of names, got 5$"):
        nnpy.NeuralNetwork([6, 3], 5)


def test_one_row_that_is_not_aligned():
    net = nnpy.NeuralNetwork([6, 3], seed=0)
    row = np.frombuffer(b"\0" + X[:1].tobytes(), np.uint8)[1:].view(np.float32).reshape(1, 6)
    np.testing.assert_array_equal(net.predict(row), net.predict(X[:1]))
