"""`NeuralNetwork.jacobian`: against float64 differences, for all activation functions, shapes and scalers."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from interchange import HIDDEN

import nnpy


def functions():
    """The activation functions in float64, of numpy."""
    erf = np.vectorize(__import__("math").erf)
    return {
        "sigmoid": lambda z: 1 / (1 + np.exp(-z)),
        "tanh": np.tanh,
        "relu": lambda z: np.maximum(z, 0),
        "leaky_relu": lambda z: np.where(z > 0, z, 0.01 * z),
        "elu": lambda z: np.where(z > 0, z, np.expm1(np.minimum(z, 0))),
        "softplus": lambda z: np.logaddexp(0, z),
        "silu": lambda z: z / (1 + np.exp(-z)),
        "gelu": lambda z: z * (1 + erf(z / np.sqrt(2))) / 2,
        "linear": lambda z: z,
        "softmax": lambda z: (
            np.exp(z - z.max(axis=1, keepdims=True)) / np.exp(z - z.max(axis=1, keepdims=True)).sum(1)[:, None]
        ),
    }


FUNCTIONS = functions()


def predict64(net, x):
    """The outputs in float64, in the units of the targets."""
    a, scaler = x.astype(np.float64), net.scaler
    if scaler is not None:
        a = (a - scaler.x_mean) / scaler.x_scale
    for weights, biases, activation in zip(net.weights, net.biases, net.activations, strict=True):
        a = FUNCTIONS[activation](a @ weights.astype(np.float64) + biases)
    return a if scaler is None or scaler.y_mean is None else a * scaler.y_scale + scaler.y_mean


def differences(net, x):
    """Central differences, shape (n, n_outputs, n_inputs)."""
    steps = np.eye(x.shape[1]) * 1e-6 * (1 if net.scaler is None else net.scaler.x_scale)
    x = x.astype(np.float64)
    return np.stack([(predict64(net, x + s) - predict64(net, x - s)) / (2 * s.sum()) for s in steps], axis=2)


def make(sizes, activations, seed, scales):
    rng = np.random.default_rng(seed)
    net = nnpy.NeuralNetwork(sizes, activations, seed=seed)
    for biases in net.biases:
        biases[...] = rng.normal(size=biases.shape)
    x = rng.normal(size=(rng.integers(1, 250), sizes[0])).astype(np.float32)
    if scales:
        x = 3 * x + 5
        net.fit_scaler(x, rng.normal(size=(len(x), sizes[-1])) * 7 if activations[-1] == "linear" else None)
    return net, x


@given(
    sizes=st.lists(st.integers(1, 40), min_size=2, max_size=4),
    names=st.lists(
        st.sampled_from([name for name in HIDDEN if name not in {"relu", "leaky_relu"}]), min_size=3, max_size=3
    ),
    last=st.sampled_from([None, "softmax", "linear"]),
    seed=st.integers(0, 1000),
    scales=st.booleans(),
)
def test_against_differences(sizes, names, last, seed, scales):
    activations = names[: len(sizes) - 1]
    if last is not None:
        activations[-1] = last
    net, x = make(sizes, activations, seed, scales)
    expected = differences(net, x)
    actual = net.jacobian(x)
    assert actual.shape == (len(x), sizes[-1], sizes[0])
    assert actual.dtype == np.float32
    np.testing.assert_allclose(actual, expected, rtol=1e-3, atol=2e-5 * max(1, np.abs(expected).max()))


@pytest.mark.parametrize("activation", ["relu", "leaky_relu"])
@pytest.mark.parametrize("sizes", [[3, 50, 2], [2, 50, 5]])
def test_functions_with_a_kink(activation, sizes):
    """Where no kink is near."""
    net, x = make(sizes, [activation, "tanh"], 0, False)
    distance = np.abs(x.astype(np.float64) @ net.weights[0] + net.biases[0]).min(axis=1)
    x = x[distance > 1e-3]
    assert len(x) > 20
    expected = differences(net, x)
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(net.jacobian(x), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("sizes", "last"), [([5, 40, 3], "softmax"), ([3, 40, 5], "linear"), ([2, 60, 60, 2], "sigmoid")]
)
def test_threads_and_rows_do_not_change_bits(sizes, last):
    net, _ = make(sizes, ["tanh"] * (len(sizes) - 2) + [last], 1, True)
    table = np.random.default_rng(0).normal(size=(6000, sizes[0] + 2)).astype(np.float32)
    x = table[::-2, 1:-1]  # a view
    before = nnpy.get_num_threads()
    try:
        nnpy.set_num_threads(1)
        one = net.jacobian(x)
        nnpy.set_num_threads(3)
        three = net.jacobian(x)
    finally:
        nnpy.set_num_threads(before)
    assert one.tobytes() == three.tobytes() == net.jacobian(x.copy()).tobytes()
    np.testing.assert_array_equal(one[[0, 777, 2999]], [net.jacobian(x[[i]])[0] for i in (0, 777, 2999)])


def test_the_sum_over_outputs_agrees_with_input_gradient():
    """dC/dx of the squared error is 2 (a - y) dy/dx."""
    net, x = make([4, 20, 3], ["silu", "linear"], 2, True)
    y = np.zeros((len(x), 3))
    expected = np.einsum("nk,nkj->nj", 2 * (net.predict(x) - y), net.jacobian(x)) / len(x)
    np.testing.assert_allclose(net.input_gradient(x, y), expected, rtol=1e-3, atol=1e-5 * np.abs(expected).max())


def test_inputs_in_float64():
    """Python scales them, and C does not."""
    net, x = make([3, 20, 2], ["tanh", "linear"], 4, True)
    shifted, big = nnpy.NeuralNetwork([3, 20, 2], ["tanh", "linear"]), x.astype(np.float64) + 1e5
    shifted.parameters = net.parameters
    shifted.fit_scaler(big, net.predict(x))
    expected = differences(shifted, big)
    np.testing.assert_allclose(shifted.jacobian(big), expected, atol=1e-3 * np.abs(expected).max())
    np.testing.assert_allclose(net.jacobian(x.astype(np.float64)), net.jacobian(x), rtol=1e-4, atol=1e-6)


def test_probabilities_sum_to_one_so_their_derivatives_sum_to_zero():
    net, x = make([6, 20, 4], ["tanh", "softmax"], 3, False)
    jacobian = net.jacobian(x)
    assert np.abs(jacobian).max() > 0.05
    np.testing.assert_allclose(jacobian.sum(axis=1), 0, atol=1e-6)


def test_nothing_is_copied():
    net = nnpy.NeuralNetwork([50, 8, 1], seed=0)
    x = np.zeros((40_000, 100), np.float32)[:, :50]
    tracemalloc.start()
    jacobian = net.jacobian(x)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < jacobian.nbytes + 100_000


def test_no_rows():
    assert nnpy.NeuralNetwork([3, 2], seed=0).jacobian(np.zeros((0, 3))).shape == (0, 2, 3)


def test_names_of_columns_are_checked():
    pandas = pytest.importorskip("pandas")
    net = nnpy.NeuralNetwork([2, 1], "linear", seed=0)
    net.feature_names = ["a", "b"]
    frame = pandas.DataFrame({"a": [1.0], "b": [2.0]})
    assert net.jacobian(frame).shape == (1, 1, 2)
    with pytest.raises(ValueError, match="the columns of x are in another order than in training"):
        net.jacobian(frame[["b", "a"]])


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        ([[1, 2, 3]], ValueError, "x must have 2 columns"),
        ([[1, np.nan]], ValueError, "x must be finite"),
        ([["a", "b"]], TypeError, "x must"),
        (None, TypeError, "x must"),
    ],
)
def test_what_is_refused(x, error, message):
    with pytest.raises(error, match=message):
        nnpy.NeuralNetwork([2, 1], seed=0).jacobian(x)


def test_against_pytorch():
    torch = pytest.importorskip("torch")
    net, x = make([7, 30, 20, 4], ["gelu", "softplus", "softmax"], 5, False)
    module = net.to_torch().double()
    expected = torch.func.vmap(torch.func.jacrev(lambda row: module(row[None])[0]))(torch.from_numpy(x).double())
    np.testing.assert_allclose(net.jacobian(x), expected.detach().numpy(), atol=1e-6)
