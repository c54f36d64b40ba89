"""Sizes and counts at their limits: what is refused, with which error, and what works. tests/limits.py has the longer ones."""

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest

import nnpy

RNG = np.random.default_rng(3)
X, Y = RNG.random((5, 3), dtype=np.float32), RNG.random((5, 2), dtype=np.float32)


@pytest.mark.parametrize(
    "sizes",
    [
        [2**32, 2**32],
        [2**40, 2**40],
        [2**63 - 1, 1],
        [1, 2**63, 1],
        [1, 2**62, 1],
        [2**31, 2**31, 2**31],
        [1, *[2**61] * 8, 1],
        [1, *[2**28] * 8, 1],
        [10**30, 1],
    ],
)
def test_a_network_that_no_memory_can_hold(sizes):
    with pytest.raises(MemoryError, match=r"^not enough memory for a network with layers of \["):
        nnpy.NeuralNetwork(sizes)


@pytest.mark.parametrize("name", ["epochs", "batch_size"])
def test_counts_have_a_limit(name):
    net = nnpy.NeuralNetwork([3, 2], seed=0)
    with pytest.raises(ValueError, match=f"^{name} must be from [01] to {2**63 - 1}, got {2**63}$"):
        net.fit(X, Y, **{name: 2**63})
    with pytest.raises(ValueError, match=f"^iterations must be from 0 to {2**63 - 1}, got {2**63}$"):
        net.gradient_descent(X, Y, rate=1, iterations=2**63)


def test_a_batch_larger_than_the_data_is_all_data():
    one, other = (nnpy.NeuralNetwork([3, 4, 2], seed=0) for _ in range(2))
    before = one.parameters.copy()
    one.fit(X, Y, batch_size=2**63 - 1, epochs=3, seed=0)
    other.fit(X, Y, batch_size=5, epochs=3, seed=0)
    np.testing.assert_array_equal(one.parameters, other.parameters)
    assert (one.parameters != before).any()


def test_no_epochs_and_no_iterations_change_nothing():
    net = nnpy.NeuralNetwork([3, 4, 2], seed=0)
    before = net.parameters.copy()
    assert len(net.fit(X, Y, epochs=0)) == 0
    net.gradient_descent(X, Y, rate=1, iterations=0)
    np.testing.assert_array_equal(net.parameters, before)


def test_a_single_sample_is_learnt():
    net = nnpy.NeuralNetwork([3, 4, 2], ["tanh", "linear"], seed=0)
    net.fit(X[:1], Y[:1], epochs=500, optimizer=nnpy.Adam(0.01))
    np.testing.assert_allclose(net.predict(X[:1]), Y[:1], atol=1e-2)


def test_a_thousand_layers():
    net = nnpy.NeuralNetwork([3, *[2] * 999, 2], "tanh", seed=0)
    net.parameters *= 1.3
    out = X.astype(float)
    for weights, biases in zip(net.weights, net.biases, strict=True):
        out = np.tanh(out @ weights + biases)
    np.testing.assert_allclose(net.predict(X), out, atol=1e-4)
    assert np.abs(out).max() > 0.1
    before = net.parameters.copy()
    net.fit(X, Y, epochs=2, optimizer="adam")
    assert (net.biases[-1] != before[-2:]).any()
    assert np.isfinite(net.parameters).all()


@pytest.mark.parametrize("sizes", [[10**6, 2, 1], [1, 2, 10**6]], ids=["inputs", "outputs"])
def test_a_million(sizes):
    net = nnpy.NeuralNetwork(sizes, "tanh", seed=0)
    x, y = RNG.standard_normal((3, sizes[0]), dtype=np.float32), np.full((3, sizes[-1]), 0.5, np.float32)
    hidden = np.tanh(x.astype(float) @ net.weights[0] + net.biases[0])
    out = np.tanh(hidden @ net.weights[1] + net.biases[1])
    np.testing.assert_allclose(net.predict(x), out, atol=1e-4)
    assert net.mse(x, y) == pytest.approx(((out - y) ** 2).sum(1).mean(), rel=1e-4)
    before = net.mse(x, y)
    net.gradient_descent(x, y, rate=1e-7, iterations=2)
    assert net.mse(x, y) < before


# ---- More than 2**31 elements, of which next to none are in memory: numbers that were never written are zeros ----

only_linux = pytest.mark.skipif(sys.platform != "linux", reason="needs sparse memory of 26 GB, or /proc")


@only_linux
def test_rows_that_are_more_than_two_to_the_31_elements_apart(tmp_path):
    x = np.memmap(tmp_path / "x", np.float32, mode="w+", shape=(3, 2**31 + 5))[:, 7:10]  # a sparse file
    x[:] = X[:3]
    net, other = (nnpy.NeuralNetwork([3, 4, 2], seed=0) for _ in range(2))
    np.testing.assert_array_equal(net.predict(x), other.predict(X[:3]))
    np.testing.assert_array_equal(net.predict(x[::-2]), other.predict(X[2::-2]))
    net.fit(x, Y[:3], epochs=2, seed=0, batch_size=2)
    other.fit(X[:3], Y[:3], epochs=2, seed=0, batch_size=2)
    np.testing.assert_array_equal(net.parameters, other.parameters)


@only_linux
def test_inputs_of_more_than_two_to_the_31_elements():
    x, y = np.zeros((2**19 + 5, 4096), np.float32), np.zeros((2**19 + 5, 1), np.float32)
    x[-1], y[-1] = RNG.standard_normal(4096, dtype=np.float32), 1
    net = nnpy.NeuralNetwork([4096, 1], "linear", seed=0)
    net.biases[0] = 0.25
    out = net.predict(x)
    assert (out[:-1] == 0.25).all()
    np.testing.assert_array_equal(out[-1:], net.predict(x[-1:]))
    error = float(out[-1, 0]) - 1
    assert net.mse(x, y) == pytest.approx((len(x) - 1) / len(x) / 16 + error**2 / len(x), rel=1e-5)
    grad = net.backpropagation(x, y)
    np.testing.assert_allclose(grad.weights[0][:, 0], 2 * error / len(x) * x[-1], rtol=1e-3, atol=1e-9)
    x[-1, -1] = np.nan
    with pytest.raises(ValueError, match=rf"^x must be finite in float32, got x\[{len(x) - 1}, 4095\] = nan"):
        net.predict(x)


# ---- Files ----


def test_a_file_cannot_ask_for_more_memory_than_it_has(tmp_path):
    net = nnpy.NeuralNetwork([1000, 1000], seed=0)
    net.partial_fit(np.zeros((1, 1000)), np.zeros((1, 1000)), optimizer="sgd")
    net.save(tmp_path / "net.npz")
    with np.load(tmp_path / "net.npz") as file:
        content = dict(file)
    arguments = {"history_size": 10_000}  # 160 GB for these parameters
    content |= {"optimizer/class": np.array("LBFGS"), "optimizer/arguments": np.array(json.dumps(arguments))}
    np.savez(tmp_path / "other.npz", **content)
    with pytest.raises(ValueError, match=r"other\.npz is not a network that nnpy saved: "):
        nnpy.load(tmp_path / "other.npz")


# ---- The long run ----


@pytest.fixture(scope="module")
def soak():
    spec = importlib.util.spec_from_file_location("soak", Path(__file__).with_name("soak.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("memory", "files", "threads", "found"),
    [
        (0.0, 0, 0, []),
        (0.05, 0, 0, []),
        (0.09, 0, 0, ["memory grew from 53.3 to 57.8"]),
        (0.0, 1, 0, ["files grew from 42.0 to 92.0"]),
        (0.0, 0, 1, ["threads grew from 38.0 to 88.0"]),
    ],
)
def test_the_long_run_finds_what_grows(soak, memory, files, threads, found):
    samples = [soak.Sample(i, 50 + memory * i, 5 + files * i, 1 + threads * i) for i in range(100)]
    assert soak.find_growth(samples) == found


@only_linux
def test_each_part_of_the_long_run_works(soak, tmp_path):
    for work in (soak.train, soak.many, soak.files, soak.refusals, soak.threads, soak.serve):
        work(np.random.default_rng(0), tmp_path)
    assert soak.sample(1.0).memory > 10
