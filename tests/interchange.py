"""Random networks, for the tests of formats and libraries that nnpy exchanges networks with."""

import numpy as np

import nnpy

HIDDEN = ["sigmoid", "tanh", "relu", "leaky_relu", "elu", "softplus", "silu", "gelu", "linear"]


def random_network(seed):
    """Return a network of any shape, with any activation functions and perhaps a scaler, and inputs for it."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 20, size=rng.integers(2, 5)).tolist()
    activations = rng.choice(HIDDEN, size=len(sizes) - 1).tolist()
    if rng.random() < 0.3 and sizes[-1] > 1:
        activations[-1] = "softmax"
    net = nnpy.NeuralNetwork(sizes, activations, seed=seed)
    for biases in net.biases:
        biases[...] = rng.normal(size=biases.shape)
    x = rng.normal(size=(20, sizes[0])).astype(np.float32)
    if rng.random() < 0.5:
        x = 3 * x + 5
        y = rng.normal(size=(20, sizes[-1])) * 7 + 3 if activations[-1] in {"linear", "leaky_relu"} else None
        net.fit_scaler(x, y)
    while not net.predict(x).any():  # of "relu"
        net.biases[-1] += 1
    if rng.random() < 0.3:
        net.feature_names = [f"column {number}" for number in range(sizes[0])]
        net.class_names = [f"class {number}" for number in range(max(2, sizes[-1]))]
        net.target_names = ["y"]
    return net, x


def assert_same_network(net, other, *, scaler=True):
    """Compare all that a network is, bit for bit."""
    assert (other.layer_sizes, other.activations) == (net.layer_sizes, net.activations)
    assert other.parameters.tobytes() == net.parameters.tobytes()
    if scaler:
        assert (other.scaler is None) == (net.scaler is None)
        for one, another in zip(net.scaler or (), other.scaler or (), strict=True):
            np.testing.assert_array_equal(one, another)


def largest_error(actual, expected):
    """Return the largest difference, relative to the largest number if that is above 1. What is all zeros is no result."""
    actual, expected = np.asarray(actual, np.float64), np.asarray(expected, np.float64)
    assert actual.shape == expected.shape
    assert expected.any()
    return np.max(np.abs(actual - expected)) / max(1, np.max(np.abs(expected)))
