"""`state_dict` and `load_state_dict`: PyTorch's names and shapes, without PyTorch."""

import sys

import numpy as np
import pytest
from interchange import assert_same_network, random_network

import nnpy
from nnpy._interchange.extras import needs


@pytest.mark.parametrize("seed", range(200))
def test_round_trip(seed):
    net, x = random_network(seed)
    other = nnpy.NeuralNetwork(net.layer_sizes, net.activations)
    other.load_state_dict(net.state_dict())
    assert_same_network(net, other)
    np.testing.assert_array_equal(other.predict(x), net.predict(x))


def test_names_and_shapes():
    net = nnpy.NeuralNetwork([3, 4, 5, 2], ["relu", "linear", "softmax"], seed=0)
    state = net.state_dict()
    assert list(state) == ["0.weight", "0.bias", "2.weight", "2.bias", "3.weight", "3.bias"]
    np.testing.assert_array_equal(state["2.weight"], net.weights[1].T)
    assert all(array.flags.c_contiguous and array.dtype == np.float32 for array in state.values())


def test_it_is_a_copy():
    net = nnpy.NeuralNetwork([2, 1], seed=0)
    before = net.parameters.copy()
    for array in net.state_dict().values():
        array[...] = 7
    np.testing.assert_array_equal(net.parameters, before)


def test_the_scaler_is_a_part_of_it():
    net, other = (nnpy.NeuralNetwork([2, 1], "linear", seed=seed) for seed in range(2))
    net.fit_scaler([[1, 2], [3, 5]], [7, 9])
    state = net.state_dict()
    assert list(state) == ["inputs.mean", "inputs.scale", "0.weight", "0.bias", "outputs.mean", "outputs.scale"]
    other.load_state_dict(state)
    assert_same_network(net, other)
    state["inputs.mean"][0] = 99
    assert other.scaler.x_mean[0] == 2
    other.load_state_dict({key: array for key, array in state.items() if key[0] == "0"})
    assert other.scaler is None


def test_training_goes_on_after_it():
    net = nnpy.NeuralNetwork([2, 3, 1], ["tanh", "linear"], seed=0)
    x = np.random.default_rng(0).normal(size=(50, 2)).astype(np.float32)
    net.partial_fit(x, x[:, :1], seed=0)
    net.load_state_dict(nnpy.NeuralNetwork([2, 3, 1], ["tanh", "linear"], seed=1).state_dict())
    loss = net.loss(x, x[:, :1])
    net.fit(x, x[:, :1], epochs=5, optimizer=nnpy.Adam(0.01), seed=0)
    assert net.activations == ("tanh", "linear")  # nothing is chosen any more: the parameters are not those of the seed
    assert net.loss(x, x[:, :1]) < loss


STATE = nnpy.NeuralNetwork([2, 1], "linear", seed=3).state_dict()


@pytest.mark.parametrize(
    ("state", "error", "message"),
    [
        ([1], TypeError, "state must be a mapping of names to arrays, got list"),
        ({}, ValueError, "the names in state are not those of the network: missing '0.weight', '0.bias'"),
        ({**STATE, "x": [1]}, ValueError, "the names in state are not those of the network: unexpected 'x'"),
        ({"fc.weight": 1, "0.weight": 1}, ValueError, "missing '0.bias'; unexpected 'fc.weight'"),
        ({**STATE, **{f"{n}.x": 1 for n in range(9)}}, ValueError, "'7.x', ..."),
        ({**STATE, "0.bias": [1, 2]}, ValueError, r"'0.bias' must have the shape \(1,\), got \(2,\)"),
        ({**STATE, "0.weight": [[1], [2]]}, ValueError, r"'0.weight' must have the shape \(1, 2\), got \(2, 1\)"),
        ({**STATE, "0.bias": ["a"]}, TypeError, "'0.bias' must hold real numbers, got <U1"),
        ({**STATE, "0.bias": [1j]}, TypeError, "'0.bias' must hold real numbers, got complex128"),
        ({**STATE, "0.bias": [np.nan]}, ValueError, "state has a number that is not finite in float32"),
        ({**STATE, "0.bias": [1e39]}, ValueError, "state has a number that is not finite in float32"),
        ({**STATE, "inputs.mean": [0, 0]}, ValueError, "of the scaler inputs.mean alone is there"),
        (
            {**STATE, "inputs.mean": [0, 0], "inputs.scale": [1, 0]},
            ValueError,
            "'inputs.scale' must be finite and positive",
        ),
        ({**STATE, "inputs.mean": [0, np.inf], "inputs.scale": [1, 1]}, ValueError, "'inputs.mean' must be finite$"),
        (
            {**STATE, "inputs.mean": [0], "inputs.scale": [1, 1]},
            ValueError,
            r"'inputs.mean' must have the shape \(2,\)",
        ),
    ],
)
def test_what_is_refused(state, error, message):
    net = nnpy.NeuralNetwork([2, 1], "linear", seed=0)
    net.fit_scaler([[1, 2], [3, 4]])
    before, scaler = net.parameters.copy(), net.scaler
    with pytest.raises(error, match=message):
        net.load_state_dict(state)
    np.testing.assert_array_equal(net.parameters, before)
    assert net.scaler is scaler


def test_a_missing_backend_of_keras_is_named():
    message = (
        "^Keras needs jax, its backend: install it, or set the environment variable KERAS_BACKEND to another one of"
    )
    with pytest.raises(ImportError, match=message), needs("keras", "from_keras"):
        raise ModuleNotFoundError("No module named 'jax'", name="jax")
    with pytest.raises(ImportError, match="^other$"), needs("keras", "from_keras"):
        raise ImportError("other", name="numpy")


@pytest.mark.parametrize("name", ["keras", "onnx", "safetensors", "torch"])
def test_a_missing_library_is_named(monkeypatch, name):
    """The library is hidden, and what nnpy has imported with it."""
    for module in [m for m in sys.modules if m.startswith("nnpy._interchange.")]:
        monkeypatch.delitem(sys.modules, module)
        monkeypatch.delattr(f"nnpy._interchange.{module.rpartition('.')[2]}", raising=False)
    monkeypatch.setitem(sys.modules, name, None)
    net = nnpy.NeuralNetwork([2, 1], seed=0)
    title = {"torch": "PyTorch", "keras": "Keras"}.get(name, name)
    arguments = ("file",) if name in {"onnx", "safetensors"} else ()
    with pytest.raises(ImportError, match=rf"^to_{name} needs {title}: pip install 'nnpy\[{name}\]'$"):
        getattr(net, f"to_{name}")(*arguments)
    with pytest.raises(ImportError, match=rf"^from_{name} needs {title}: pip install 'nnpy\[{name}\]'$"):
        getattr(nnpy, f"from_{name}")("file")
