"""Optimisers, losses and schedules against formulas that are written here; what they refuse. PyTorch has its own file."""

import json
import math
import re
import subprocess
import sys
from dataclasses import asdict
from itertools import pairwise
from types import FunctionType

import numpy as np
import pytest

import nnpy
from nnpy._arrays import as_matrix
from nnpy._ffi import lib

RNG = np.random.default_rng(11)
X = RNG.normal(size=(60, 4)).astype(np.float32)
Y = np.stack([X[:, 0] * X[:, 1] + 0.1 * RNG.normal(size=60), np.sin(2 * X[:, 2]) - X[:, 3]], axis=1).astype(np.float32)


def assert_near(actual, expected, tolerance):
    """Compare with a tolerance relative to the largest expected value."""
    scale = np.abs(expected).max()
    assert 0 < scale < np.inf
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance * scale)


# ---- Losses and activations against finite differences and against nn.h, the book ----

FUNCTIONS = ["sigmoid", "tanh", "relu", "leaky_relu", "elu", "softplus", "silu", "gelu", "linear"]
LOSSES = {
    "mse": nnpy.MeanSquaredError(),
    "mae": nnpy.MeanAbsoluteError(),
    "huber": nnpy.Huber(0.4),
    "pinball": nnpy.Pinball(0.8),
}
PAIRS = [
    *((function, function, loss) for function in FUNCTIONS for loss in LOSSES.values()),
    *((function, "softmax", loss) for function in FUNCTIONS for loss in (*LOSSES.values(), nnpy.CrossEntropy())),
    *((function, last, nnpy.BinaryCrossEntropy()) for function in FUNCTIONS for last in ("sigmoid", "linear")),
]
IDS = [f"{hidden}-{last}-{loss.name}" for hidden, last, loss in PAIRS]


@pytest.mark.parametrize(("hidden", "last", "loss"), PAIRS, ids=IDS)
def test_gradients_against_differences_and_against_the_book(hidden, last, loss):
    rng = np.random.default_rng(1)
    net = nnpy.NeuralNetwork([5, 18, 7, 3], [hidden, hidden, last], seed=1)
    for b in net.biases:
        b[...] = rng.uniform(-0.5, 0.5, b.shape)
    x, y = rng.normal(size=(20, 5)).astype(np.float32), rng.uniform(0, 1, (20, 3)).astype(np.float32)
    check = net.check_gradients(x, y, loss=loss)
    assert check.ok, f"\n{check}"
    assert [block.num_compared for block in check.blocks] == [90, 18, 100, 7, 21, 3]
    assert min(block.largest for block in check.blocks) > 1e-4
    book = nnpy.Gradient(net.layer_sizes)
    lib.nn_backpropagation(net._nn_with_loss(loss), book._nn, as_matrix(x), as_matrix(y))
    assert_near(net.backpropagation(x, y, loss=loss).parameters, book.parameters, 1e-5)


def test_a_wrong_gradient_is_found():
    net = nnpy.NeuralNetwork([4, 6, 2], ["tanh", "linear"], seed=0)
    right = net.check_gradients(X, Y).blocks[2]
    for difference, ok in ((0.5e-4, True), (2e-4, False)):
        assert right._replace(difference=difference * right.largest).ok is ok
    assert not right._replace(difference=math.nan).ok


# ---- Levenberg and Marquardt ----


def residuals(parameters, sizes, x, y):
    """Return a - y in float64 for a network with "tanh" in the hidden layers and "linear" as the last activation."""
    a, start = x.astype(np.float64), 0
    for layer, (rows, columns) in enumerate(pairwise(sizes)):
        middle, end = start + rows * columns, start + (rows + 1) * columns
        a = a @ parameters[start:middle].reshape(rows, columns) + parameters[middle:end]
        a, start = (a if layer == len(sizes) - 2 else np.tanh(a)), end
    return (a - y).ravel()


def weight_mask(sizes):
    """Return 1 for each weight and 0 for each bias."""
    return np.concatenate([np.r_[np.ones(rows * columns), np.zeros(columns)] for rows, columns in pairwise(sizes)])


def levenberg_marquardt(p, sizes, x, y, *, iterations, damping=1e-3, l2=0.0, weight=None):
    """Algorithm 3.16 of Madsen, Nielsen and Tingleff, without the missing residuals; yields parameters and loss.

    It minimises 1/2 sum_k r_k^2, which is nnpy's loss with its penalty, multiplied by n / 2.
    """
    n, mask = len(x), weight_mask(sizes)
    there = ~np.isnan(y)
    w = np.ones(n) if weight is None else np.asarray(weight, dtype=np.float64)
    w = w * there.any(axis=1)
    roots = np.repeat(np.sqrt(w / w.mean()), y.shape[1])[there.ravel()]
    share = l2 * n / 2

    def r_of(p):
        return roots * residuals(p, sizes, x, np.nan_to_num(y.astype(np.float64)))[there.ravel()]

    def value(p):
        return (r_of(p) ** 2).sum() / 2 + share / 2 * (mask * p**2).sum()

    mu = nu = None
    p = p.astype(np.float64)
    for _ in range(iterations):
        r = r_of(p)
        steps = 1e-6 * np.eye(len(p))
        jacobian = np.stack([(r_of(p + step) - r_of(p - step)) / 2e-6 for step in steps], axis=1)
        a = jacobian.T @ jacobian + share * np.diag(mask)
        g = jacobian.T @ r + share * mask * p
        if mu is None:
            mu, nu = damping * np.diag(a).max(), 2.0
        while True:
            d = np.linalg.solve(a + mu * np.eye(len(p)), -g)
            ratio = (value(p) - value(p + d)) / (d @ (mu * d - g) / 2)
            if ratio > 0:
                p, mu, nu = p + d, mu * max(1 / 3, 1 - (2 * ratio - 1) ** 3), 2.0
                break
            mu, nu = mu * nu, 2 * nu
        yield p, (r_of(p) ** 2).sum() / n


@pytest.mark.parametrize("sizes", [[4, 6, 2], pytest.param([4, 19, 2], marks=pytest.mark.slow), [4, 3, 5, 2]])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"damping": 1e-6},
        {"damping": 10.0},
        {"l2": 0.05},
        {"weight": RNG.uniform(0, 3, 60)},
        {"missing": True},
        {"missing": True, "weight": RNG.uniform(0, 3, 60), "l2": 0.05},
    ],
    ids=lambda options: "-".join(options) or "plain",
)
def test_levenberg_marquardt(sizes, options):
    options = dict(options)
    y = Y.copy()
    if options.pop("missing", False):
        y[np.random.default_rng(12).random(y.shape) < 0.2] = np.nan
        y[7] = np.nan
    weight = options.pop("weight", None)
    net = nnpy.NeuralNetwork(sizes, ["tanh"] * (len(sizes) - 2) + ["linear"], seed=2)
    start, path = net.parameters.copy(), []
    damping = options.get("damping", 1e-3)
    history = net.fit(
        X,
        y,
        optimizer=nnpy.LevenbergMarquardt(damping),
        epochs=6,
        sample_weight=weight,
        missing="ignore",
        l2=options.get("l2", 0.0),
        callbacks=lambda net, _: path.append(net.parameters.copy()),
    )
    expected = list(levenberg_marquardt(start, sizes, X, y, iterations=6, weight=weight, **options))
    assert len(path) == 6
    for now, loss, (then, loss_then) in zip(path, history.loss, expected, strict=True):
        np.testing.assert_allclose(now, then, rtol=0, atol=1e-3 * np.abs(then - start).max())
        assert loss == pytest.approx(loss_then, rel=1e-3)


def test_levenberg_marquardt_gets_further_than_adam():
    x = np.linspace(-1, 1, 40).reshape(-1, 1)
    y = np.sin(5 * x) + x**2

    def loss(optimizer, epochs):
        net = nnpy.NeuralNetwork([1, 10, 1], ["tanh", "linear"], seed=3)
        net.fit(x, y, optimizer=optimizer, epochs=epochs, batch_size=None)
        return net.mse(x, y)

    start = loss(None, 0)
    assert loss(nnpy.LevenbergMarquardt(), 100) < 1e-3 * loss(nnpy.Adam(0.01), 1000) < 1e-2 * start


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the limit on private memory alone is Linux's")
def test_levenberg_marquardt_does_not_store_the_whole_jacobian(tmp_path):
    program = """
import resource
import numpy as np
import nnpy

nnpy.set_num_threads(1)
net = nnpy.NeuralNetwork([1, 20, 1], ["tanh", "linear"], seed=0)
net.fit_scaler(None)
x = np.linspace(-1, 1, 200_000, dtype=np.float32).reshape(-1, 1)
y = np.sin(5 * x)
fit = lambda n: net.fit(x[:n], y[:n], optimizer=nnpy.LevenbergMarquardt(), epochs=2).loss[-1]
fit(1000)  # allocates what is allocated once
with open("/proc/self/status") as file:
    used = next(int(line.split()[1]) for line in file if line.startswith("VmData")) * 1024
resource.setrlimit(resource.RLIMIT_DATA, (used + 8 * 2**20, used + 8 * 2**20))  # the whole Jacobian has 46 MiB
assert 0 < fit(200_000) < 0.5
print("done")
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert (result.stdout, result.stderr, result.returncode) == ("done\n", "", 0)


# ---- L-BFGS, and both where the answer is known ----


def least_squares(x, y, *, l2=0.0, weight=None):
    """Return the minimum of sum_i w_i |a_i - y_i|^2 / sum_i w_i + l2 / 2 |W|^2: rows of weights, then the row of biases."""
    w = np.ones(len(x)) if weight is None else weight
    roots = np.sqrt(w / w.sum())[:, None]
    a = roots * np.c_[x, np.ones(len(x))].astype(np.float64)
    penalty = math.sqrt(l2 / 2) * np.eye(x.shape[1], x.shape[1] + 1)
    b = np.r_[roots * y, np.zeros((x.shape[1], y.shape[1]))]
    return np.linalg.lstsq(np.r_[a, penalty], b, rcond=None)[0]


@pytest.mark.parametrize("optimizer", [nnpy.LBFGS(), nnpy.LBFGS(1), nnpy.LevenbergMarquardt()], ids=repr)
@pytest.mark.parametrize("case", ["plain", "l2", "weight", "missing", "two layers", "scaled"])
def test_a_linear_network_finds_the_least_squares(optimizer, case):
    x = X * np.float32([1, 3, 0.3, 1]) + np.float32([0, 1, 0, -2])
    y, options, known = Y.copy(), {}, {}
    net = nnpy.NeuralNetwork([4, 2], "linear", seed=0)
    if case == "l2":
        options = known = {"l2": 0.3}
    elif case == "weight":
        known = {"weight": np.random.default_rng(13).uniform(0, 3, 60)}
        options = {"sample_weight": known["weight"]}
    elif case == "missing":
        y[:25, 0] = y[40:, 1] = np.nan
        options = {"missing": "ignore"}
    elif case == "two layers":
        net = nnpy.NeuralNetwork([4, 5, 2], "linear", seed=0)
    elif case == "scaled":
        net.fit_scaler(x, y)
    history = net.fit(x, y, optimizer=optimizer, epochs=100_000, **options)
    assert history.stopped == "converged"
    assert len(history) < 2000
    there = ~np.isnan(y)
    columns = [least_squares(x[there[:, j]], y[there[:, j], j : j + 1], **known) for j in range(2)]
    solution = np.concatenate(columns, axis=1)
    # With a scaler or a second layer, other parameters give the same outputs.
    assert_near(net.predict(x), x @ solution[:-1] + solution[-1], 1e-3)
    if case not in {"two layers", "scaled"}:
        assert_near(np.r_[net.weights[0], net.biases[0][None]], solution, 1e-3)


@pytest.mark.parametrize("loss", ["huber", "pinball", "cross_entropy", "binary_cross_entropy"])
def test_lbfgs_makes_other_losses_smaller_than_adam_does(loss):
    labels = (X[:, 0] * X[:, 1] > 0).astype(int)
    last = {"cross_entropy": "softmax", "binary_cross_entropy": "sigmoid"}.get(loss, "linear")
    y = labels if loss == "cross_entropy" else np.eye(2)[labels] if loss == "binary_cross_entropy" else Y

    def after(optimizer, epochs):
        net = nnpy.NeuralNetwork([4, 8, 2], ["tanh", last], seed=4)
        net.fit(X, y, loss=loss, optimizer=optimizer, epochs=epochs, batch_size=None)
        return net.loss(X, y, loss=loss)

    assert 0 <= after(nnpy.LBFGS(), 200) < 0.95 * after(nnpy.Adam(0.01), 200) < 0.8 * after(None, 0)


@pytest.mark.parametrize("optimizer", [nnpy.LBFGS(), nnpy.LevenbergMarquardt()], ids=repr)
def test_an_iteration_is_the_same_alone_and_among_others(optimizer):
    """With callbacks, C is called once per epoch; without them, once for many epochs."""
    one, other = (nnpy.NeuralNetwork([4, 6, 2], ["tanh", "linear"], seed=5) for _ in range(2))
    history = one.fit(X, Y, optimizer=optimizer, epochs=40)
    in_parts = other.fit(X, Y, optimizer=optimizer, epochs=40, callbacks=lambda net, history: None)
    np.testing.assert_array_equal(one.parameters, other.parameters)
    np.testing.assert_array_equal(history.loss, in_parts.loss)
    assert history.loss[-1] < 0.2 * history.loss[0]
    assert (np.diff(history.loss) <= 0).all()


@pytest.mark.parametrize("optimizer", [nnpy.LBFGS(), nnpy.LevenbergMarquardt()], ids=repr)
def test_converged(optimizer):
    net = nnpy.NeuralNetwork([4, 2], "linear", seed=0)
    history = net.fit(X, Y, optimizer=optimizer, epochs=100_000)
    assert history.stopped == "converged"
    assert 1 < len(history) < 1000
    assert repr(history).endswith("stopped: converged>")
    assert history.loss[-1] == pytest.approx(net.loss(X, Y), rel=1e-6)
    assert np.isnan(history.learning_rate).all()
    before = net.loss(X, Y)
    again = net.fit(X, Y, optimizer=optimizer, epochs=10, callbacks=lambda net, history: None)
    assert again.stopped == "converged"
    assert net.loss(X, Y) <= before
    perfect = nnpy.NeuralNetwork([4, 2], "linear")
    perfect.parameters = 0
    history = perfect.fit(X, 0 * Y, optimizer=optimizer, epochs=10)
    assert (len(history), history.stopped) == (0, "converged")
    assert not perfect.parameters.any()


NUMPY = [
    nnpy.SGD(np.float32(0.5), momentum=np.float16(0.5), nesterov=np.bool_(True), weight_decay=np.int64(0)),
    nnpy.Adam(np.float32(0.5), betas=[np.float32(0.5), np.float64(0.75)], eps=np.float32(0.25)),
    nnpy.AdamW(np.float32(0.5), weight_decay=np.float32(0.5)),
    nnpy.RMSprop(np.float32(0.5), alpha=np.float32(0.5), momentum=np.float32(0.5)),
    nnpy.Rprop(np.float32(0.5), eta_minus=np.float32(0.5), max_step=np.float32(0.5)),
    nnpy.LBFGS(np.int8(5)),
    nnpy.LevenbergMarquardt(np.float32(0.5)),
]


@pytest.mark.parametrize("optimizer", NUMPY, ids=lambda optimizer: type(optimizer).__name__)
def test_numbers_of_numpy_become_those_of_python(optimizer):
    """They are written to files, and compared as text when a training is resumed."""
    text = repr(optimizer)
    assert "np." not in text
    assert eval(f"nnpy.{text}") == optimizer
    json.dumps(asdict(optimizer))


# ---- What is refused ----

NOT_A_RATE = "learning_rate must be a real number, got StepDecay(learning_rate=1, every_epochs=1, factor=0.1)"
REFUSED = [
    *(
        (lambda kind=kind, rate=rate: kind(rate), error, message)
        for kind in (nnpy.SGD, nnpy.Adam, nnpy.AdamW, nnpy.RMSprop, nnpy.Rprop)
        for rate, error, message in (
            (0, ValueError, "learning_rate must be positive in float32, got 0"),
            (-0.5, ValueError, "learning_rate must be positive in float32, got -0.5"),
            (1e-50, ValueError, "learning_rate must be positive in float32, got 1e-50"),
            (math.nan, ValueError, "learning_rate must be finite in float32, got nan"),
            (math.inf, ValueError, "learning_rate must be finite in float32, got inf"),
            ("0.1", TypeError, "learning_rate must be a real number, got '0.1'"),
            (True, TypeError, "learning_rate must be a real number, got True"),
            (None, TypeError, "learning_rate must be a real number, got None"),
        )
    ),
    *(
        (lambda kind=kind, name=name, value=value: kind(**{name: value}), ValueError, f"{name} must be {must}")
        for kind, name in (
            (nnpy.SGD, "momentum"),
            (nnpy.RMSprop, "alpha"),
            (nnpy.RMSprop, "momentum"),
        )
        for value, must in (
            (1, "from 0 to less than 1, got 1"),
            (-0.1, "from 0 to less than 1, got -0.1"),
            (math.nan, "finite in float32, got nan"),
        )
    ),
    *(
        (lambda kind=kind, betas=betas: kind(betas=betas), error, message)
        for kind in (nnpy.Adam, nnpy.AdamW)
        for betas, error, message in (
            ((1, 0.9), ValueError, "betas[0] must be from 0 to less than 1, got 1"),
            ((0.9, -0.1), ValueError, "betas[1] must be from 0 to less than 1, got -0.1"),
            ((0.9, math.nan), ValueError, "betas[1] must be finite in float32, got nan"),
            (0.9, TypeError, "betas must be two numbers such as (0.9, 0.999), got 0.9"),
            ((0.9,), TypeError, "betas must be two numbers such as (0.9, 0.999), got (0.9,)"),
            ("ab", TypeError, "betas must be two numbers such as (0.9, 0.999), got 'ab'"),
        )
    ),
    (lambda: nnpy.SGD(momentum="a"), TypeError, "momentum must be a real number, got 'a'"),
    (lambda: nnpy.SGD(nesterov=True), ValueError, "nesterov needs a momentum above 0"),
    (lambda: nnpy.SGD(weight_decay=-1), ValueError, "weight_decay must not be negative, got -1"),
    (lambda: nnpy.AdamW(weight_decay=-1), ValueError, "weight_decay must not be negative, got -1"),
    (lambda: nnpy.AdamW(weight_decay="1"), TypeError, "weight_decay must be a real number, got '1'"),
    (lambda: nnpy.RMSprop(eps=0), ValueError, "eps must be positive in float32, got 0"),
    (lambda: nnpy.Rprop(nnpy.StepDecay(1, 1)), TypeError, NOT_A_RATE),
    (lambda: nnpy.Rprop(eta_minus=1), ValueError, "eta_minus must be below 1 and eta_plus above 1, got 1 and 1.2"),
    (lambda: nnpy.Rprop(eta_plus=1.0), ValueError, "eta_minus must be below 1 and eta_plus above 1, got 0.5 and 1.0"),
    (lambda: nnpy.Rprop(eta_minus=0), ValueError, "eta_minus must be positive in float32, got 0"),
    (lambda: nnpy.Rprop(eta_plus=math.inf), ValueError, "eta_plus must be finite in float32, got inf"),
    (lambda: nnpy.Rprop(min_step=0), ValueError, "min_step must be positive in float32, got 0"),
    (lambda: nnpy.Rprop(max_step=-1), ValueError, "max_step must be positive in float32, got -1"),
    (lambda: nnpy.Rprop(min_step=2, max_step=1), ValueError, "min_step must not be above max_step, got 2 and 1"),
    (lambda: nnpy.LBFGS(0), ValueError, "history_size must be from 1 to 10000, got 0"),
    (lambda: nnpy.LBFGS(10_001), ValueError, "history_size must be from 1 to 10000, got 10001"),
    (lambda: nnpy.LBFGS(2.0), TypeError, "history_size must be an integer, got 2.0"),
    (lambda: nnpy.LevenbergMarquardt(0), ValueError, "damping must be positive in float32, got 0"),
    (lambda: nnpy.LevenbergMarquardt("a"), TypeError, "damping must be a real number, got 'a'"),
    *(
        (lambda make=make: make(0), ValueError, "learning_rate must be positive in float32, got 0")
        for make in (
            lambda rate: nnpy.StepDecay(rate, 1),
            lambda rate: nnpy.ExponentialDecay(rate, 0.5),
            nnpy.LinearDecay,
            nnpy.CosineDecay,
            nnpy.ReduceOnPlateau,
        )
    ),
    (lambda: nnpy.StepDecay(1, 0), ValueError, "every_epochs must be from 1 to 9223372036854775807, got 0"),
    (lambda: nnpy.StepDecay(1, 1.5), TypeError, "every_epochs must be an integer, got 1.5"),
    (lambda: nnpy.StepDecay(1, 1, 0), ValueError, "factor must be positive in float32, got 0"),
    (lambda: nnpy.ExponentialDecay(1, -1), ValueError, "factor must be positive in float32, got -1"),
    *(
        (lambda kind=kind, name=name: kind(1, **{name: -1}), ValueError, f"{name} must not be negative, got -1")
        for kind, name in (
            (nnpy.LinearDecay, "warmup_epochs"),
            (nnpy.LinearDecay, "final_rate"),
            (nnpy.CosineDecay, "warmup_epochs"),
            (nnpy.CosineDecay, "final_rate"),
            (nnpy.ReduceOnPlateau, "min_delta"),
            (nnpy.ReduceOnPlateau, "min_rate"),
        )
    ),
    (
        lambda: nnpy.ReduceOnPlateau(0.1, min_rate=0.5),
        ValueError,
        "min_rate must not be above learning_rate, got 0.5 and 0.1",
    ),
    (lambda: nnpy.ReduceOnPlateau(1, factor=1), ValueError, "factor must be between 0 and 1, got 1"),
    (lambda: nnpy.ReduceOnPlateau(1, factor=0.0), ValueError, "factor must be between 0 and 1, got 0.0"),
    (lambda: nnpy.ReduceOnPlateau(1, patience=0), ValueError, "patience must be from 1 to 9223372036854775807, got 0"),
    (lambda: nnpy.Huber(0), ValueError, "delta must be positive in float32, got 0"),
    (lambda: nnpy.Huber("1"), TypeError, "delta must be a real number, got '1'"),
    (lambda: nnpy.Pinball(0), ValueError, "quantile must be between 0 and 1, got 0"),
    (lambda: nnpy.Pinball(1.0), ValueError, "quantile must be between 0 and 1, got 1.0"),
]


@pytest.mark.parametrize(("call", "error", "message"), REFUSED, ids=[message for _, _, message in REFUSED])
def test_refused(call, error, message):
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        call()


NOT_TOGETHER = [
    ({"optimizer": nnpy.LBFGS(), "dropout": 0.5}, "LBFGS does not support dropout and clip_norm"),
    ({"optimizer": nnpy.LBFGS(), "clip_norm": 1}, "LBFGS does not support dropout and clip_norm"),
    (
        {"optimizer": nnpy.LevenbergMarquardt(), "clip_norm": 1},
        "LevenbergMarquardt does not support dropout and clip_norm",
    ),
    (
        {"optimizer": nnpy.LevenbergMarquardt(), "loss": "huber"},
        'LevenbergMarquardt needs the loss "mse" and no softmax, got "huber"',
    ),
    (
        {"loss": "l1"},
        "loss must be one of mse, mae, huber, pinball, binary_cross_entropy, cross_entropy, mean_squared_error, squared_error, "
        "mean_absolute_error, absolute_error, quantile, bce, binary_crossentropy, categorical_crossentropy, "
        "sparse_categorical_crossentropy, got 'l1'",
    ),
]


@pytest.mark.parametrize(("options", "message"), NOT_TOGETHER)
def test_refused_by_fit(options, message):
    net = nnpy.NeuralNetwork([4, 3, 2], ["tanh", "linear"], seed=0)
    before = net.parameters.copy()
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        net.fit(X, Y, **options)
    np.testing.assert_array_equal(net.parameters, before)


def test_refused_by_fit_for_other_networks():
    softmax = nnpy.NeuralNetwork([4, 2], "softmax")
    message = 'LevenbergMarquardt needs the loss "mse" and no softmax, got "mse"'
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        softmax.fit(X, np.abs(Y), loss="mse", optimizer=nnpy.LevenbergMarquardt())
    large = nnpy.NeuralNetwork([4, 2000, 2], ["tanh", "linear"])
    message = "LevenbergMarquardt takes at most 10,000 parameters, the network has 14,002"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        large.fit(X, Y, optimizer=nnpy.LevenbergMarquardt())


@pytest.mark.parametrize("optimizer", [nnpy.Rprop(), nnpy.LBFGS(), nnpy.LevenbergMarquardt()], ids=repr)
def test_full_batch_methods_take_no_batches(optimizer):
    """Batches and a batch_size are refused; the default batch_size is all samples."""
    net = nnpy.NeuralNetwork([4, 3, 2], ["tanh", "linear"], seed=0)
    with pytest.raises(ValueError, match=rf"^{type(optimizer).__name__} needs all samples at once, not batches$"):
        net.fit([(X, Y)], optimizer=optimizer)
    with pytest.raises(ValueError, match=r" is a full-batch method: batch_size must be None, got 8$"):
        net.fit(X, Y, optimizer=optimizer, epochs=3, batch_size=8)
    other = nnpy.NeuralNetwork([4, 3, 2], ["tanh", "linear"], seed=0)
    net.fit(X, Y, optimizer=optimizer, epochs=3)
    other.fit(X, Y, optimizer=optimizer, epochs=3, batch_size=None)
    np.testing.assert_array_equal(net.parameters, other.parameters)


# ---- Schedules ----

TIMES = [0.0, 0.25, 0.5, 1.0, 1.75, 2.0, 3.0, 4.5, 5.0, 6.999, 7.0, 9.0, 9.75, 10.0]


def half_cosine(done, rate, final):
    return final + (rate - final) * (1 + math.cos(math.pi * done)) / 2


@pytest.mark.parametrize(
    ("schedule", "formula"),
    [
        (nnpy.StepDecay(0.3, 2), lambda t: 0.3 * 0.1 ** math.floor(t / 2)),
        (nnpy.StepDecay(0.3, 3, 0.7), lambda t: 0.3 * 0.7 ** math.floor(t / 3)),
        (nnpy.ExponentialDecay(0.3, 0.9), lambda t: 0.3 * 0.9 ** math.floor(t)),
        (nnpy.ExponentialDecay(0.3, 1.5), lambda t: 0.3 * 1.5 ** math.floor(t)),
        (nnpy.LinearDecay(0.3), lambda t: 0.3 * (1 - t / 10)),
        (nnpy.LinearDecay(0.3, final_rate=0.1), lambda t: 0.3 - 0.2 * t / 10),
        (nnpy.LinearDecay(0.3, 2, 0.1), lambda t: 0.3 * t / 2 if t < 2 else 0.3 - 0.2 * (t - 2) / 8),
        (nnpy.LinearDecay(0.3, warmup_epochs=0.5), lambda t: 0.3 * t / 0.5 if t < 0.5 else 0.3 * (10 - t) / 9.5),
        (nnpy.LinearDecay(0.3, warmup_epochs=99), lambda t: 0.3 * t / 10 if t < 10 else 0),
        (nnpy.CosineDecay(0.3), lambda t: half_cosine(t / 10, 0.3, 0)),
        (nnpy.CosineDecay(0.3, final_rate=0.1), lambda t: half_cosine(t / 10, 0.3, 0.1)),
        (nnpy.CosineDecay(0.3, 2, 0.1), lambda t: 0.3 * t / 2 if t < 2 else half_cosine((t - 2) / 8, 0.3, 0.1)),
    ],
    ids=lambda value: repr(value) if not isinstance(value, FunctionType) else "",
)
def test_schedules_follow_their_formulas(schedule, formula):
    for time in TIMES:
        assert schedule(time, 10) == pytest.approx(formula(time), rel=1e-10, abs=1e-11)


def test_cosine():
    for x in np.linspace(0, 1, 1001).tolist():
        assert nnpy.CosineDecay(1)(x, 1) == pytest.approx((1 + math.cos(math.pi * x)) / 2, rel=0, abs=1e-11)


def distances(optimizer, **options):
    """Return the length of each epoch's path: with the absolute error, and targets above every output, each gradient is -1."""
    net = nnpy.NeuralNetwork([1, 1], "linear")
    net.parameters = 0
    path = [0.0]
    history = net.fit(
        np.ones((8, 1)),
        np.full((8, 1), 1e3),
        loss="mae",
        optimizer=optimizer,
        callbacks=lambda net, _: path.append(float(net.biases[0][0])),
        **options,
    )
    return np.diff(path), history


def test_a_function_as_rate_is_called_for_each_step():
    seen = []

    def rate(time, epochs):
        seen.append((time, epochs))
        return 1 + time

    moved, history = distances(nnpy.SGD(rate), epochs=3, batch_size=2)
    times = [0, 0.25, 0.5, 0.75, 1, 1.25, 1.5, 1.75, 2, 2.25, 2.5, 2.75]
    assert sorted(set(seen)) == [(time, 3) for time in times]
    np.testing.assert_allclose(moved, [sum(1 + t for t in times[i : i + 4]) for i in (0, 4, 8)], rtol=1e-5)
    np.testing.assert_allclose(history.learning_rate, [1.75, 2.75, 3.75], rtol=1e-12)


@pytest.mark.parametrize(
    "schedule", [nnpy.CosineDecay(0.5, 1.5, 0.1), nnpy.LinearDecay(0.5, 1), nnpy.StepDecay(0.5, 2)], ids=repr
)
def test_the_rates_of_a_schedule_are_those_of_the_steps(schedule):
    moved, history = distances(nnpy.SGD(schedule), epochs=6, batch_size=2)
    rates = [[schedule(epoch + step / 4, 6) for step in range(4)] for epoch in range(6)]
    np.testing.assert_allclose(moved, np.sum(rates, axis=1), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(history.learning_rate, [row[-1] for row in rates], rtol=1e-12)


@pytest.mark.parametrize("kind", [nnpy.SGD, nnpy.Adam, nnpy.AdamW, nnpy.RMSprop])
def test_every_optimizer_takes_a_schedule(kind):
    def after(rate):
        net = nnpy.NeuralNetwork([4, 6, 2], ["tanh", "linear"], seed=0)
        net.fit(X, Y, optimizer=kind(rate), epochs=4, seed=0)
        return net.parameters.copy()

    np.testing.assert_array_equal(after(0.01), after(lambda time, epochs: 0.01))
    np.testing.assert_array_equal(after(nnpy.StepDecay(0.01, 2)), after(lambda t, _: 0.01 if t < 2 else 0.01 * 0.1))
    assert (after(0.01) != after(nnpy.StepDecay(0.01, 2))).any()


@pytest.mark.parametrize("bad", [math.nan, math.inf, -0.1])
@pytest.mark.parametrize("first", [0, 3])
def test_a_schedule_that_returns_no_learning_rate(bad, first):
    """In the first epoch the network is unchanged; later the epochs before were completed."""

    def train(epochs, rate):
        net = nnpy.NeuralNetwork([4, 2], "linear", seed=0)
        net.fit(X, Y, optimizer=nnpy.SGD(rate), epochs=epochs, seed=0, callbacks=lambda *_: seen.append(1))
        return net

    seen = []
    message = f"the schedule returned a negative or infinite learning rate, or NaN, in epoch {first + 1}"
    with pytest.raises(ValueError, match=f"^{message}$"):
        train(5, lambda time, epochs: 0.1 if time < first else bad)
    assert len(seen) == first
    net = nnpy.NeuralNetwork([4, 2], "linear", seed=0)
    before = net.parameters.copy()
    with pytest.raises(
        ValueError, match=r"^the schedule returned a negative or infinite learning rate, or NaN, in epoch 1$"
    ):
        net.fit(X, Y, optimizer=nnpy.Adam(lambda time, epochs: bad if time > 0.4 else 0.1))
    np.testing.assert_array_equal(net.parameters, before)


@pytest.mark.parametrize(
    "optimizer",
    [nnpy.SGD(nnpy.ReduceOnPlateau(0.5)), nnpy.Adam(nnpy.CosineDecay(0.1)), nnpy.Adam(lambda *_: 0.1), nnpy.LBFGS()],
    ids=lambda optimizer: type(optimizer).__name__,
)
def test_partial_fit_takes_no_schedule(optimizer):
    message = "partial_fit needs an optimizer with a number as its learning_rate: a stream has no known end"
    with pytest.raises(ValueError, match=f"^{message}$"):
        nnpy.NeuralNetwork([4, 2], "linear").partial_fit(X, Y, optimizer=optimizer)


def test_reduce_on_plateau():
    """The training loss falls by 4 per epoch, less than min_delta in the first case; the validation loss does not fall."""
    schedule = nnpy.ReduceOnPlateau(1.0, factor=0.5, patience=2, min_delta=100.0, min_rate=0.2)
    moved, history = distances(nnpy.SGD(schedule), epochs=9, batch_size=2)
    expected = [1, 1, 1, 0.5, 0.5, 0.25, 0.25, 0.2, 0.2]
    np.testing.assert_allclose(history.learning_rate, expected, rtol=1e-12)
    np.testing.assert_allclose(moved, 4 * np.array(expected), rtol=1e-5)
    schedule = nnpy.ReduceOnPlateau(1.0, factor=0.5, patience=3)
    _, history = distances(nnpy.SGD(schedule), epochs=6, batch_size=2)
    np.testing.assert_array_equal(history.learning_rate, 1)
    _, history = distances(nnpy.SGD(schedule), epochs=9, batch_size=2, validation_data=(np.zeros((1, 1)), [[-5.0]]))
    np.testing.assert_array_equal(history.learning_rate, [1, 1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25])


def test_lbfgs_diverges_where_the_gradient_does_not_fit_into_float32():
    """It used to report success, with parameters of 0 * infinity."""
    net = nnpy.NeuralNetwork([2, 1], "linear")
    net.parameters = 2
    with pytest.raises(nnpy.DivergenceError):
        net.fit(np.eye(2), np.ones(2), optimizer=nnpy.LBFGS(), l2=2e38, epochs=2)
    np.testing.assert_array_equal(net.parameters, 2)


def test_cosine_decay_never_goes_below_its_final_rate():
    """Rounding of the cosine gave learning rates of -1e-15 in the last of many millions of steps, which fit refuses."""
    for steps in (1, 10, 10**7, 10**8, 10**12):
        assert 0 <= nnpy.CosineDecay(0.1)(1 - 0.5 / steps, 1) <= 0.1
        assert nnpy.CosineDecay(0.1, final_rate=0.05)(1 - 0.5 / steps, 1) >= 0.05
