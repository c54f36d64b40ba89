"""Looking inside, and the scaler."""

import copy
import pickle
import re

import numpy as np
import pytest

import nnpy

RNG = np.random.default_rng(6)
X = (100 * RNG.random((40, 3))).astype(np.float32)
Y = (RNG.random((40, 2)) * 5 + 7).astype(np.float32)


def make(last="linear", seed=1):
    return nnpy.NeuralNetwork([3, 5, 4, 2], ["gelu", "tanh", last], seed=seed)


def test_layer_outputs_are_those_of_the_layers():
    net = make("softmax")
    outputs = net.layer_outputs(X / 100)
    assert [o.shape for o in outputs] == [(40, 5), (40, 4), (40, 2)]
    np.testing.assert_array_equal(outputs[-1], net.predict(X / 100))
    np.testing.assert_allclose(outputs[1], np.tanh(outputs[0] @ net.weights[1] + net.biases[1]), rtol=1e-5, atol=1e-6)
    assert [o.shape for o in net.layer_outputs(np.empty((0, 3)))] == [(0, 5), (0, 4), (0, 2)]
    for one in net.layer_outputs(X[:1] / 100):
        assert one.shape[0] == 1
    with pytest.raises(ValueError, match=r"^x must be finite in float32, got x\[0, 0\] = nan"):
        net.layer_outputs(X * np.nan)


def test_input_gradient_against_differences():
    net = make()
    x = X[:3].astype(float) / 100
    y = Y[:3]
    gradient = net.input_gradient(x, y)
    expected = np.zeros_like(x)
    for i in range(3):
        for k in range(3):
            steps = []
            for sign in (1, -1):
                moved = x.copy()
                moved[i, k] += sign * 1e-2
                steps.append(net.loss(moved, y))
            expected[i, k] = (steps[0] - steps[1]) / 2e-2
    np.testing.assert_allclose(gradient, expected, rtol=0, atol=2e-3 * np.abs(expected).max())


@pytest.mark.parametrize("last", ["linear", "softmax"])
def test_check_gradients_finds_them_right_and_wrong(last, monkeypatch):
    net = make(last)
    y = RNG.integers(0, 2, 40) if last == "softmax" else Y
    check = net.check_gradients(X / 100, y, max_parameters=7)
    assert check.ok
    assert [(b.name, b.num_compared) for b in check.blocks] == [
        ("weights[0]", 7),
        ("biases[0]", 5),
        ("weights[1]", 7),
        ("biases[1]", 4),
        ("weights[2]", 7),
        ("biases[2]", 2),
    ]
    assert all(b.largest > 0 for b in check.blocks)
    assert "differs" not in str(check)
    assert len(str(check).splitlines()) == 7
    real = nnpy.NeuralNetwork._gradient

    def wrong(self, samples, loss, grad, by_input):
        real(self, samples, loss, grad, by_input)
        grad.biases[1] *= 1.01

    monkeypatch.setattr(nnpy.NeuralNetwork, "_gradient", wrong)
    check = net.check_gradients(X / 100, y)
    assert [b.name for b in check.blocks if not b.ok] == ["biases[1]"]
    assert not check.ok
    assert re.search(r"^biases\[1\].* differs$", str(check), re.MULTILINE)


def test_summary_has_a_line_a_layer():
    net = make()
    net.fit_scaler(X)
    lines = net.summary().splitlines()
    assert [line.split() for line in lines[1:4]] == [
        ["1", "3", "x", "5", "gelu", "20"],
        ["2", "5", "x", "4", "tanh", "24"],
        ["3", "4", "x", "2", "linear", "10"],
    ]
    assert lines[4].split()[:2] == ["total", "54"]
    assert lines[5] == "inputs are scaled"
    net.fit_scaler(X, Y)
    assert net.summary().endswith("inputs and targets are scaled")


# ---- The scaler ----


def scaled(a):
    return ((a - a.mean(axis=0, dtype=float)) / a.std(axis=0, dtype=float)).astype(np.float32)


def test_a_scaled_network_is_one_on_scaled_data():
    net, other = make(), make()
    net.fit_scaler(X, Y)
    np.testing.assert_allclose(net.scaler.x_mean, X.mean(axis=0, dtype=float), rtol=1e-6)
    np.testing.assert_allclose(net.scaler.x_scale, X.std(axis=0, dtype=float), rtol=1e-6)
    xs, ys = scaled(X), scaled(Y)
    h1 = net.fit(X, Y, epochs=20, seed=0, validation_data=(X, Y))
    h2 = other.fit(xs, ys, epochs=20, seed=0, validation_data=(xs, ys))
    np.testing.assert_allclose(h1.val_loss, h2.val_loss, rtol=1e-4)
    np.testing.assert_allclose(net.parameters, other.parameters, rtol=0, atol=1e-4)
    other.parameters = net.parameters
    out = other.predict(xs) * Y.std(axis=0) + Y.mean(axis=0)
    np.testing.assert_allclose(net.predict(X), out, rtol=1e-5)
    np.testing.assert_allclose(net.predict(X[:1]), out[:1], rtol=1e-5)
    np.testing.assert_allclose(net.layer_outputs(X)[-1], net.predict(X))
    assert net.loss(X, Y) == pytest.approx(other.loss(xs, ys), rel=1e-4)
    assert net.mse(X, Y) == pytest.approx(((net.predict(X) - Y) ** 2).sum(axis=1).mean(), rel=1e-5)
    np.testing.assert_allclose(
        net.backpropagation(X, Y).parameters, other.backpropagation(xs, ys).parameters, rtol=0, atol=1e-5
    )
    np.testing.assert_allclose(
        net.input_gradient(X, Y), other.input_gradient(xs, ys) / X.std(axis=0), rtol=0, atol=1e-7
    )
    assert net.check_gradients(X, Y).ok


def test_the_scaler_travels(tmp_path):
    net = make()
    net.fit_scaler(X, Y)
    net.save(tmp_path / "net.npz")
    for other in (copy.copy(net), copy.deepcopy(net), pickle.loads(pickle.dumps(net)), nnpy.load(tmp_path / "net.npz")):
        np.testing.assert_array_equal(other.predict(X), net.predict(X))
    net.fit_scaler(X)
    net.save(tmp_path / "net.npz")
    assert nnpy.load(tmp_path / "net.npz").scaler.y_mean is None
    net.fit_scaler(None)
    assert net.scaler is None


def test_columns_that_do_not_change_and_missing_targets():
    net = make()
    x, y = X.copy(), Y.copy()
    x[:, 1] = 3
    y[:10, 0] = np.nan
    net.fit_scaler(x, y)
    assert net.scaler.x_scale[1] == 1
    np.testing.assert_allclose(net.scaler.y_mean, np.nanmean(y, axis=0), rtol=1e-5)
    np.testing.assert_allclose(net.scaler.y_scale, np.nanstd(y, axis=0), rtol=1e-4)
    assert np.isfinite(net.loss(x, y, missing="ignore"))


@pytest.mark.parametrize(
    ("x", "y", "last", "message"),
    [
        (X, Y, "softmax", 'targets cannot be scaled for a last layer of "softmax"'),
        (X, Y, "sigmoid", 'targets cannot be scaled for a last layer of "sigmoid"'),
        (X[:0], None, "linear", "x and y must have at least one row, got none"),
        (X * np.inf, None, "linear", "x must be finite in float32, got x[0, 0] = inf"),
        (X, Y * np.inf, "linear", "y must be finite in float32, got y[0, 0] = inf"),
        (X[:, :2], None, "linear", "x must have 3 columns"),
        (None, Y, "linear", "y needs x: fit_scaler(None) removes the scaler"),
    ],
)
def test_refused_scalers_change_nothing(x, y, last, message):
    net = make(last)
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        net.fit_scaler(x, y)
    assert net.scaler is None
