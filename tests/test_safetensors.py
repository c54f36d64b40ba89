"""`to_safetensors` and `from_safetensors`, with the library safetensors."""

import json
import os

import numpy as np
import pytest
from interchange import assert_same_network, random_network

import nnpy

safetensors_numpy = pytest.importorskip("safetensors.numpy")


@pytest.mark.parametrize("seed", range(200))
def test_round_trip(seed, tmp_path):
    net, x = random_network(seed)
    path = tmp_path / "net.safetensors"
    net.to_safetensors(path)
    back = nnpy.from_safetensors(path)
    assert_same_network(net, back)
    for names in ("feature_names", "class_names", "target_names"):
        assert getattr(back, names) == getattr(net, names)
    np.testing.assert_array_equal(back.predict(x), net.predict(x))
    state = safetensors_numpy.load_file(path)
    expected = net.state_dict()
    assert set(state) == set(expected)
    for name, array in state.items():
        np.testing.assert_array_equal(array, expected[name])


def test_pytorch_reads_it(tmp_path):
    torch = pytest.importorskip("torch")
    safetensors_torch = pytest.importorskip("safetensors.torch")
    net, _ = random_network(3)
    net.to_safetensors(tmp_path / "net.safetensors")
    module = net.to_torch()
    for parameter in module.parameters():
        torch.nn.init.zeros_(parameter)
    module.load_state_dict(safetensors_torch.load_file(tmp_path / "net.safetensors"))
    assert_same_network(net, nnpy.from_torch(module))


def save(path, metadata=None, **arrays):
    safetensors_numpy.save_file(
        {name.replace("_dot_", "."): np.asarray(a) for name, a in arrays.items()}, path, metadata
    )
    return path


def layer(name, rows, columns, *, bias=True):
    rng = np.random.default_rng(rows + 10 * columns)
    arrays = {f"{name}_dot_weight": rng.normal(size=(rows, columns)).astype(np.float32)}
    return arrays | ({f"{name}_dot_bias": rng.normal(size=rows).astype(np.float32)} if bias else {})


def test_a_file_of_anybody(tmp_path):
    """Names of PyTorch's modules; fc2 comes before fc10; a layer without biases."""
    arrays = layer("fc10", 2, 4) | layer("fc2", 4, 3, bias=False) | layer("fc1", 3, 5)
    path = save(tmp_path / "net.safetensors", **arrays)
    net = nnpy.from_safetensors(path, ["relu", "tanh", "softmax"])
    assert (net.layer_sizes, net.activations) == ((5, 3, 4, 2), ("relu", "tanh", "softmax"))
    np.testing.assert_array_equal(net.weights[1], arrays["fc2_dot_weight"].T)
    assert not net.biases[1].any()
    np.testing.assert_array_equal(net.biases[2], arrays["fc10_dot_bias"])


def test_text_is_sorted_by_the_alphabet(tmp_path):
    arrays = layer("out", 3, 3) | layer("hidden", 3, 3)
    net = nnpy.from_safetensors(save(tmp_path / "net.safetensors", **arrays), "relu")
    np.testing.assert_array_equal(net.weights[0], arrays["hidden_dot_weight"].T)


def test_the_order_of_the_layers(tmp_path):
    path = save(tmp_path / "net.safetensors", **layer("start", 4, 3), **layer("hidden", 5, 4), **layer("out", 2, 5))
    with pytest.raises(
        ValueError, match=r"the layers do not fit: 'out' has 2 outputs and 'start' 3 inputs; pass layer_names="
    ):
        nnpy.from_safetensors(path, "relu")
    net = nnpy.from_safetensors(path, "relu", layer_names=["start", "hidden", "out"])
    assert net.layer_sizes == (3, 4, 5, 2)


@pytest.mark.parametrize("dtype", [np.float16, np.float64, np.int8])
def test_other_numbers_are_rounded(tmp_path, dtype):
    weights = np.array([[1, -2], [3, 4]], dtype)
    net = nnpy.from_safetensors(save(tmp_path / "net.safetensors", a_dot_weight=weights), "linear")
    np.testing.assert_array_equal(net.weights[0], weights.T)


PLAIN = layer("a", 2, 3)


@pytest.mark.parametrize(
    ("arrays", "metadata", "options", "message"),
    [
        (PLAIN, None, {}, r"it does not say which activation functions the layers \['a'\] have: pass activations="),
        (PLAIN, None, {"activations": ["relu", "relu"]}, "activations must be one name, or 1"),
        (PLAIN, None, {"activations": "cubic"}, "an activation must be one of "),
        (PLAIN, {"activations": "relu"}, {}, "its activations are damaged"),
        (PLAIN, {"activations": '["relu", "relu"]'}, {}, "activations must be one name, or 1"),
        (PLAIN, {"activations": "[1]"}, {}, "its activations are damaged"),
        (PLAIN, {"activations": "[" * 100_000}, {}, "its activations are damaged"),
        (PLAIN, {"activations": '["cubic"]'}, {}, "an activation must be one of "),
        (PLAIN, {"feature_names": '["x"]'}, {"activations": "relu"}, "feature_names must be 3 names, one per input"),
        (PLAIN, {"class_names": "x"}, {"activations": "relu"}, "its class names are damaged"),
        (PLAIN, None, {"activations": "relu", "layer_names": ["b"]}, "it has no matrix b.weight"),
        (PLAIN, None, {"activations": "relu", "layer_names": []}, "layer_names must be names of layers, got"),
        (PLAIN, None, {"activations": "relu", "layer_names": ["a", "a"]}, "layer_names names a layer twice"),
        (PLAIN, None, {"activations": "relu", "layer_names": "a"}, "layer_names must be names of layers, got 'a'"),
        ({"x": [1.0]}, None, {"activations": "relu"}, "it has no matrix NAME.weight"),
        (
            PLAIN | {"a_dot_running_mean": [1.0]},
            None,
            {"activations": "relu"},
            "arrays that are no weights .*: a.running_mean",
        ),
        (
            PLAIN | {"a_dot_bias": [1.0]},
            None,
            {"activations": "relu"},
            r"'0.bias' must have the shape \(2,\), got \(1,\)",
        ),
        (
            PLAIN | {"inputs_dot_mean": [1.0]},
            None,
            {"activations": "relu"},
            r"'inputs.mean' must have the shape \(3,\)",
        ),
        (
            PLAIN | {"inputs_dot_mean": [1.0, 2, 3]},
            None,
            {"activations": "relu"},
            "of the scaler inputs.mean alone is there",
        ),
        (
            {"a_dot_weight": [[np.nan]]},
            None,
            {"activations": "relu"},
            "state has a number that is not finite in float32",
        ),
        ({"a_dot_weight": np.zeros((0, 3))}, None, {"activations": "relu"}, "it has no matrix a.weight"),
        ({"a_dot_weight": [[True]]}, None, {"activations": "relu"}, "'0.weight' must hold real numbers, got bool"),
    ],
)
def test_what_is_refused(tmp_path, arrays, metadata, options, message):
    path = save(tmp_path / "net.safetensors", metadata and {"producer": "nnpy", **metadata}, **arrays)
    with pytest.raises(ValueError, match=f"^{path} cannot be read as a network: .*{message}"):
        nnpy.from_safetensors(path, **options)


def test_metadata_of_others_are_ignored(tmp_path):
    path = save(tmp_path / "net.safetensors", {"activations": "many", "feature_names": "none"}, **PLAIN)
    with pytest.raises(ValueError, match="it does not say which activation functions the layers"):
        nnpy.from_safetensors(path)
    assert nnpy.from_safetensors(path, "relu").feature_names is None


def test_no_such_file(tmp_path):
    path = tmp_path / "net.safetensors"
    with pytest.raises(FileNotFoundError):
        nnpy.from_safetensors(path)
    nnpy.NeuralNetwork([20, 10], seed=0).to_safetensors(path)
    whole = path.read_bytes()
    for content in (b"", b"no such file", whole[:-1], whole[:100], b"\xff" * 8 + whole[8:]):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=f"^{path} is not a safetensors file that can be read: "):
            nnpy.from_safetensors(path)


@pytest.mark.parametrize("path", [3, None, b"net.safetensors"])
def test_no_path(path):
    with pytest.raises(TypeError, match="path must be a str or a path-like object, got "):
        nnpy.from_safetensors(path)


def test_a_type_that_numpy_does_not_have(tmp_path):
    header = json.dumps({"a.weight": {"dtype": "F8_E5M2", "shape": [1, 1], "data_offsets": [0, 1]}}).encode()
    path = tmp_path / "net.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + b"\0")
    with pytest.raises(ValueError, match=f"^{path} (is not a safetensors file|cannot be read as a network)"):
        nnpy.from_safetensors(path, "relu")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes")
def test_a_pipe_does_not_block(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="Not a regular file"):
        nnpy.from_safetensors(tmp_path / "pipe")


def test_an_old_file_survives(tmp_path):
    net, path = nnpy.NeuralNetwork([2, 1], seed=0), tmp_path / "net.safetensors"
    net.to_safetensors(path)
    before = path.read_bytes()
    net.feature_names = ["\udc80", "b"]  # text that cannot be written as UTF-8
    net.to_safetensors(path)  # JSON escapes it
    assert nnpy.from_safetensors(path).feature_names == ("\udc80", "b")
    path.write_bytes(before)
    with pytest.raises(IsADirectoryError):
        net.to_safetensors(tmp_path)
    assert path.read_bytes() == before
