"""What a network says about itself: the outputs of its layers, gradients by the inputs and their check, the summary."""

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

    def wrong(self, samples, loss):
        grad = real(self, samples, loss)
        grad.biases[1] *= 1.01
        return grad

    monkeypatch.setattr(nnpy.NeuralNetwork, "_gradient", wrong)
    check = net.check_gradients(X / 100, y)
    assert [b.name for b in check.blocks if not b.ok] == ["biases[1]"]
    assert not check.ok
    assert re.search(r"^biases\[1\].* differs$", str(check), re.MULTILINE)


def test_summary_has_a_line_for_each_layer():
    net = make()
    expected = """\
layer  shape  activation  parameters
    1  3 x 5  gelu                20
    2  5 x 4  tanh                24
    3  4 x 2  linear              10
total                             54
memory: 216 bytes of float32
loss: "mse" by default, summed over the 2 outputs, averaged over the samples"""
    assert net.summary() == expected
    net.fit_scaler(X)
    assert net.summary() == f"{expected}\nscaled: inputs"
    net.fit_scaler(X, Y)
    assert net.summary() == f"{expected}\nscaled: inputs and targets"


@pytest.mark.parametrize(
    ("sizes", "last", "lines"),
    [
        ([2, 1], "sigmoid", ["memory: 12 bytes of float32", 'loss: "mse" by default, averaged over the samples']),
        (
            [784, 10],
            "softmax",
            [
                "memory: 31 KiB of float32",
                'loss: "cross_entropy" by default, summed over the 10 outputs, averaged over the samples',
            ],
        ),
        (
            [784, 1000, 2],
            "linear",
            [
                "memory: 3,074 KiB of float32",
                'loss: "mse" by default, summed over the 2 outputs, averaged over the samples',
            ],
        ),
    ],
)
def test_summary_says_how_large_the_network_is_and_which_loss_it_minimises(sizes, last, lines):
    net = nnpy.NeuralNetwork(sizes, ["relu"] * (len(sizes) - 2) + [last])
    assert net.summary().splitlines()[-2:] == lines
    y = np.full((3, sizes[-1]), 0.25)
    x = np.ones((3, sizes[0]))
    assert net.loss(x, y) == net.loss(x, y, loss=re.search(r'"(.*)"', lines[1]).group(1))
