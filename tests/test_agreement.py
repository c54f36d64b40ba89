"""nn.h (the book), the engine, pure Python and numpy compute the same; gradients agree with differences in float64."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import nnpy
from nnpy import reference
from nnpy._arrays import as_matrix
from nnpy._ffi import ffi, lib

FEWER = settings(max_examples=settings.default.max_examples // 4)


@st.composite
def problems(draw, max_layers=4, max_neurons=40, max_samples=50):
    sizes = draw(st.lists(st.integers(1, max_neurons), min_size=2, max_size=max_layers + 1))
    samples = draw(st.integers(1, max_samples))
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    net = nnpy.NeuralNetwork(sizes)
    net.randomize(-1, 1, seed=seed)
    for w in net.weights:  # no sigmoid saturates: 1 - a would have few digits in float32
        w[...] /= np.sqrt(len(w))
    x = rng.uniform(-2, 2, (samples, sizes[0])).astype(np.float32)
    y = rng.uniform(0, 1, (samples, sizes[-1])).astype(np.float32)
    return net, x, y


def in_python(net):
    other = reference.NeuralNetwork(net.layer_sizes)
    parameters = iter(net.parameters.tolist())
    for row in other.rows():
        row[:] = [next(parameters) for _ in row]
    return other


def numpy_forward(net, x):
    a = [x.astype(float)]
    for w, b in zip(net.weights, net.biases, strict=True):
        a.append(1 / (1 + np.exp(-(a[-1] @ w.astype(float) + b))))
    return a


def numpy_gradient(net, x, y):
    a = numpy_forward(net, x)
    d = 2 / len(x) * (a[-1] - y) * a[-1] * (1 - a[-1])
    parts = []
    for layer in range(len(net.weights) - 1, -1, -1):
        parts[:0] = [(a[layer].T @ d).ravel(), d.sum(axis=0)]
        d = (d @ net.weights[layer].T.astype(float)) * a[layer] * (1 - a[layer])
    return np.concatenate(parts)


def assert_close(actual, expected, rtol=2e-5, atol=0.0):
    """Relative to the largest expected value; an answer of zeros is always wrong."""
    scale = np.abs(expected).max()
    tolerance = rtol * scale + atol
    assert tolerance < scale
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance)


def rounding(net, x):
    """Return the rounding error of a gradient of nearly 0: 5e-6 of the gradient of an error of 1 in each output."""
    return 5e-6 * np.abs(numpy_gradient(net, x, numpy_forward(net, x)[-1] - 1)).max()


@given(problems())
def test_forward_and_cost(problem):
    net, x, y = problem
    expected = numpy_forward(net, x)[-1]
    assert_close(net.forward(x), expected)
    cost = ((expected - y) ** 2).sum(axis=1).mean()
    tolerance = 1e-5 * cost + 2e-5 * np.sqrt(
        cost
    )  # an output has an error of about 1e-6, its squared error 2 (a - y) times that
    assert net.mse(x, y) == pytest.approx(cost, rel=0, abs=tolerance)
    assert lib.nn_mse(net._nn, as_matrix(x), as_matrix(y)) == pytest.approx(cost, rel=0, abs=tolerance)


@given(problems())
def test_gradient_of_wrapper_book_and_numpy(problem):
    net, x, y = problem
    expected = numpy_gradient(net, x, y)
    grad = net.backpropagation(x, y)
    assert_close(grad.parameters, expected, atol=rounding(net, x))
    book = nnpy.Gradient(net.layer_sizes)
    lib.nn_backpropagation(net._nn, book._nn, as_matrix(x), as_matrix(y))
    assert_close(book.parameters, expected, atol=rounding(net, x))
    for part, whole in zip((*grad.weights, *grad.biases), (*net.weights, *net.biases), strict=True):
        assert part.shape == whole.shape


@FEWER
@given(problems(max_samples=8))
def test_gradient_of_pure_python(problem):
    net, x, y = problem
    other = in_python(net)
    assert_close(other.forward(x.tolist()), numpy_forward(net, x)[-1], rtol=1e-12)
    grad = other.backpropagation(x.tolist(), y.tolist())
    assert_close(grad.parameters, numpy_gradient(net, x, y), rtol=1e-12, atol=1e-8 * rounding(net, x))
    assert_close(net.backpropagation(x, y).parameters, grad.parameters, atol=rounding(net, x))


@FEWER
@given(problems(max_neurons=5, max_samples=4))
def test_gradients_against_central_differences(problem):
    net, x, y = problem
    expected = in_python(net).central_diff(x.tolist(), y.tolist(), eps=1e-4).parameters
    assert_close(net.backpropagation(x, y).parameters, expected, rtol=1e-4, atol=rounding(net, x))
    scale = max(1, np.abs(expected).max())
    np.testing.assert_allclose(net.finite_diff(x, y, eps=1e-2).parameters, expected, rtol=0, atol=0.1 * scale)


@FEWER
@given(problems(max_neurons=6, max_samples=5), st.sampled_from([0.01, 0.1]))
def test_finite_differences(problem, eps):
    """The wrapper and pure Python agree up to the rounding of the loss in float32."""
    net, x, y = problem
    before = net.parameters.copy()
    grad = net.finite_diff(x, y, eps=eps)
    expected = in_python(net).finite_diff(x.tolist(), y.tolist(), eps=eps).parameters
    cost = net.mse(x, y)
    np.testing.assert_allclose(grad.parameters, expected, rtol=1e-3, atol=2e-6 * max(cost, 0.1) / eps)
    np.testing.assert_array_equal(net.parameters, before)


@FEWER
@given(problems(max_neurons=8, max_samples=8), st.integers(0, 5))
def test_gradient_descent(problem, iterations):
    net, x, y = problem
    book, other = nnpy.NeuralNetwork(net.layer_sizes), in_python(net)
    book.parameters = net.parameters
    net.gradient_descent(x, y, rate=0.5, iterations=iterations)
    other.gradient_descent(x.tolist(), y.tolist(), rate=0.5, iterations=iterations)
    assert lib.nn_gradient_descent(book._nn, 0.5, as_matrix(x), as_matrix(y), iterations) == lib.NN_OK
    assert_close(net.parameters, other.parameters, rtol=1e-5)
    assert_close(book.parameters, other.parameters, rtol=1e-5)


def test_gradient_descent_is_the_steps_it_is_made_of():
    net = nnpy.NeuralNetwork([3, 4, 2], seed=1)
    rng = np.random.default_rng(0)
    x, y = rng.random((7, 3)), rng.random((7, 2))
    for eps in (None, 0.05):
        one = nnpy.NeuralNetwork([3, 4, 2], seed=1)
        for _ in range(3):
            grad = one.backpropagation(x, y) if eps is None else one.finite_diff(x, y, eps=eps)
            one.parameters -= np.float32(0.7) * grad.parameters
        net = nnpy.NeuralNetwork([3, 4, 2], seed=1)
        net.gradient_descent(x, y, rate=0.7, iterations=3, eps=eps)
        np.testing.assert_allclose(net.parameters, one.parameters, rtol=1e-6, atol=1e-7)


def test_randomize_agrees_with_pure_python():
    for seed in (0, 1, 69, 2**31 - 1, 2**32 - 1):
        net, other = nnpy.NeuralNetwork([4, 3, 2]), reference.NeuralNetwork([4, 3, 2])
        net.randomize(-2.0, 3.0, seed=seed)
        other.randomize(-2.0, 3.0, seed=seed)
        np.testing.assert_allclose(net.parameters, other.parameters, rtol=0, atol=1e-6)


@pytest.mark.parametrize("functions", [["sigmoid", "tanh"], ["relu", "linear"], ["gelu", "softmax"]])
def test_initial_weights_follow_the_formula(functions):
    """Against SplitMix64 in Python's integers."""
    mask = 2**64 - 1

    def mix(z):
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & mask
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB & mask
        return z ^ (z >> 31)

    net = nnpy.NeuralNetwork([5, 7, 2], functions, seed=12345)
    n = 0
    for (rows, columns), w in zip(((5, 7), (7, 2)), net.weights, strict=True):
        for value in w.ravel():
            n += 1
            uniform = (mix(mix(12345) + n * 0x9E3779B97F4A7C15 & mask) >> 40) / 2**24
            size = (6 / (rows + columns)) ** 0.5 if "tanh" in functions else rows**-0.5
            assert value == pytest.approx((2 * uniform - 1) * size, rel=1e-5, abs=1e-7)
    assert not any(b.any() for b in net.biases)
    assert ffi.sizeof("float") == 4
