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


