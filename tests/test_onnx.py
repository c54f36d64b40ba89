"""`to_onnx` against ONNX Runtime; `from_onnx` on what PyTorch, scikit-learn, tf2onnx and Keras write; hostile files."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from interchange import assert_same_network, largest_error, random_network

import nnpy

pytestmark = pytest.mark.slow

onnx = pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")
helper, numpy_helper = onnx.helper, onnx.numpy_helper

FILES = Path(__file__).parent / "onnx_files"


def run(model, x):
    """Return the first output of a model, from ONNX Runtime."""
    session = runtime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x})[0]


# ---- to_onnx ----


@pytest.mark.parametrize("seed", range(200))
def test_round_trip(seed, tmp_path):
    net, x = random_network(seed)
    path = tmp_path / "net.onnx"
    net.to_onnx(path)
    expected = net.predict(x)
    actual = run(path, x)
    assert actual.dtype == expected.dtype
    assert largest_error(actual, expected) < 1e-6
    back = nnpy.from_onnx(path)
    assert_same_network(net, back)
    for names in ("feature_names", "class_names", "target_names"):
        assert getattr(back, names) == getattr(net, names)
    np.testing.assert_array_equal(back.predict(x), expected)


@pytest.mark.parametrize("opset", [20, 22, None])
def test_opsets(opset, tmp_path):
    net = nnpy.NeuralNetwork([3, 4, 2], ["gelu", "softmax"], seed=0)
    net.to_onnx(tmp_path / "net.onnx", opset=opset)
    model = onnx.load(tmp_path / "net.onnx")
    assert model.opset_import[0].version == (opset or min(28, onnx.defs.onnx_opset_version()))
    x = np.ones((1, 3), np.float32)
    assert largest_error(run(tmp_path / "net.onnx", x), net.predict(x)) < 1e-6


def test_the_same_network_gives_the_same_bytes(tmp_path):
    net, _ = random_network(1)
    net.to_onnx(tmp_path / "a.onnx")
    net.to_onnx(tmp_path / "b.onnx")
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()


def test_what_to_onnx_refuses(tmp_path):
    net, path = nnpy.NeuralNetwork([2, 1], seed=0), tmp_path / "net.onnx"
    path.write_text("old")
    with pytest.raises(ValueError, match="opset must be from 20 to "):
        net.to_onnx(path, opset=19)
    with pytest.raises(TypeError, match="opset must be an integer, got '20'"):
        net.to_onnx(path, opset="20")
    net.weights[0][0] = np.nan
    with pytest.raises(ValueError, match="the parameters of the network are not finite"):
        net.to_onnx(path)
    assert path.read_text() == "old"
    with pytest.raises(IsADirectoryError):
        nnpy.NeuralNetwork([2, 1], seed=0).to_onnx(tmp_path)


# ---- Files that others wrote, with the outputs that they computed ----


@pytest.mark.parametrize("path", sorted(FILES.glob("*.onnx")), ids=lambda path: path.stem)
def test_files_of_tf2onnx_and_keras(path):
    expected = np.load(path.with_suffix(".npz"))
    net = nnpy.from_onnx(path)
    assert largest_error(net.predict(expected["x"].reshape(len(expected["x"]), -1)), expected["y"]) < 1e-5


def test_there_are_such_files():
    assert len(list(FILES.glob("tf2onnx*.onnx"))) >= 6
    assert len(list(FILES.glob("keras*.onnx"))) >= 6


# ---- PyTorch ----


def torch_modules():
    torch = pytest.importorskip("torch")
    nn = torch.nn
    torch.manual_seed(0)

    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(5, 4), nn.Linear(4, 1)
            self.register_buffer("mean", 10 * torch.randn(5))
            self.register_buffer("scale", torch.rand(5) + 0.5)

        def forward(self, x):
            return self.second(torch.tanh(self.first((x - self.mean) / self.scale))).squeeze(1) * 3 + 2

    class Matrices(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Parameter(torch.randn(5, 4)), nn.Parameter(torch.randn(4, 2))

        def forward(self, x):
            z = x @ self.first + 1
            return (z * torch.sigmoid(z)) @ self.second

    batch_norm = nn.Sequential(
        *(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ELU(), nn.BatchNorm1d(8), nn.Linear(8, 2, bias=False), nn.Softplus())
    )
    for module in batch_norm:
        if isinstance(module, nn.BatchNorm1d):
            module.running_mean, module.running_var = torch.randn(8), torch.rand(8) + 0.5
            module.weight.data, module.bias.data = torch.randn(8), torch.randn(8)
    return {
        "relu": (nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3)), (5,)),
        "silu": (nn.Sequential(nn.Linear(5, 8), nn.SiLU(), nn.Linear(8, 3), nn.Softmax(1)), (5,)),
        "gelu": (nn.Sequential(nn.Linear(5, 8), nn.GELU(), nn.Dropout(0.5), nn.Linear(8, 1), nn.Sigmoid()), (5,)),
        "batch_norm": (batch_norm, (5,)),
        "flatten": (nn.Sequential(nn.Flatten(), nn.Linear(12, 8), nn.LeakyReLU(), nn.Linear(8, 2), nn.Tanh()), (3, 4)),
        "scaled": (Scaled(), (5,)),
        "matrices": (Matrices(), (5,)),
    }


def export(module, shape, path, dynamo):
    import torch

    x = torch.randn(7, *shape)
    if dynamo:
        dynamic = ({0: torch.export.Dim("n")},)
        torch.onnx.export(module, (x,), path, dynamo=True, dynamic_shapes=dynamic, verbose=False)
    else:
        torch.onnx.export(module, (x,), path, dynamo=False, input_names=["x"], dynamic_axes={"x": {0: "n"}})
    with torch.no_grad():
        return x.numpy().reshape(7, -1), module(x).numpy().reshape(7, -1)


@pytest.mark.filterwarnings("ignore")  # of the exporters
@pytest.mark.parametrize("dynamo", [False, True], ids=["legacy", "dynamo"])
@pytest.mark.parametrize("name", ["relu", "silu", "gelu", "batch_norm", "flatten", "scaled", "matrices"])
def test_files_of_pytorch(name, dynamo, tmp_path):
    pytest.importorskip("onnxscript")
    module, shape = torch_modules()[name]
    x, expected = export(module.eval(), shape, tmp_path / "net.onnx", dynamo)
    net = nnpy.from_onnx(tmp_path / "net.onnx")
    assert largest_error(net.predict(x), expected) < 1e-5
    assert (net.scaler is not None) == (name == "scaled")


@pytest.mark.filterwarnings("ignore")
def test_external_data(tmp_path):
    torch = pytest.importorskip("torch")
    pytest.importorskip("onnxscript")
    module = torch.nn.Sequential(torch.nn.Linear(200, 100), torch.nn.Tanh(), torch.nn.Linear(100, 2))
    x, expected = export(module, (200,), tmp_path / "net.onnx", True)
    data = tmp_path / "net.onnx.data"
    assert data.stat().st_size > 80_000
    assert largest_error(nnpy.from_onnx(tmp_path / "net.onnx").predict(x), expected) < 1e-5
    data.write_bytes(data.read_bytes()[:1000])
    with pytest.raises(ValueError, match=r"net.onnx is not an ONNX model that can be read: "):
        nnpy.from_onnx(tmp_path / "net.onnx")
    data.unlink()
    with pytest.raises(ValueError, match=r"net.onnx is not an ONNX model that can be read: "):
        nnpy.from_onnx(tmp_path / "net.onnx")


# ---- scikit-learn ----


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("scaler", [None, "StandardScaler", "MinMaxScaler"])
@pytest.mark.parametrize("activation", ["relu", "tanh", "logistic", "identity"])
@pytest.mark.parametrize("kind", ["regression", "two classes", "three classes"])
def test_files_of_scikit_learn(kind, activation, scaler):
    pytest.importorskip("skl2onnx")
    from skl2onnx import to_onnx
    from sklearn import neural_network, pipeline, preprocessing

    x = (np.random.default_rng(0).normal(size=(200, 4)) * 3 + 2).astype(np.float32)
    total = x[:, 0] * 2 + x[:, 1]
    y = {
        "regression": total,
        "two classes": np.where(total > 5, "high", "low"),
        "three classes": np.digitize(total, [0, 8]),
    }[kind]
    estimator = neural_network.MLPClassifier if "classes" in kind else neural_network.MLPRegressor
    steps = [] if scaler is None else [getattr(preprocessing, scaler)()]
    model = pipeline.make_pipeline(
        *steps, estimator(hidden_layer_sizes=(6, 5), activation=activation, max_iter=30, random_state=0)
    ).fit(x, y)
    net = nnpy.from_onnx(to_onnx(model, x[:1]))
    expected = model.predict_proba(x) if "classes" in kind else model.predict(x)
    expected = expected[:, 1:] if kind == "two classes" else expected.reshape(len(x), -1)
    assert largest_error(net.predict(x), expected) < 1e-5
    assert net.activations[-1] == {"two classes": "sigmoid", "three classes": "softmax"}.get(kind, "linear")


@pytest.mark.filterwarnings("ignore")
def test_a_table_of_named_columns():
    pytest.importorskip("skl2onnx")
    import pandas as pd
    from skl2onnx import to_onnx
    from sklearn import neural_network, pipeline, preprocessing

    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32), columns=["a", "b", "c"])
    perceptron = neural_network.MLPRegressor(hidden_layer_sizes=(4,), max_iter=20, random_state=0)
    estimator = pipeline.make_pipeline(preprocessing.StandardScaler(), perceptron).fit(frame, frame["a"])
    net = nnpy.from_onnx(to_onnx(estimator, frame[:1]))
    assert net.feature_names == ("a", "b", "c")
    assert largest_error(net.predict(frame).ravel(), estimator.predict(frame)) < 1e-5


# ---- Graphs by hand ----


def model(nodes, constants, *, inputs=(("x", 2),), outputs=("y",), opset=18, producer="somebody", metadata=None):
    """Return a model; an input is (name, number of columns)."""
    made = helper.make_model(
        helper.make_graph(
            nodes,
            "graph",
            [
                helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n", *(w if isinstance(w, list) else [w])])
                for name, w in inputs
            ],
            [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in outputs],
            [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
        ),
        opset_imports=[helper.make_opsetid("", opset), helper.make_opsetid("ai.onnx.ml", 3)],
        ir_version=8,
        producer_name=producer,
    )
    helper.set_model_props(made, metadata or {})
    return made


def f(*values):
    return np.array(values, np.float32)


W, B = f([1, 2, 3], [4, 5, 6]), f(1, 2, 3)
X = f([1, -1], [2, 0.5], [-3, 1])
GEMM = helper.make_node("Gemm", ["x", "w", "b"], ["z"], name="layer")
ERF = [
    helper.make_node("Div", ["z", "root"], ["e"]),
    helper.make_node("Erf", ["e"], ["erf"]),
    helper.make_node("Add", ["erf", "one"], ["one_erf"]),
]
NUMBERS = {"w": W, "b": B, "root": f(np.sqrt(2)), "one": f(1), "half": f(0.5), "other": f(3), "zero": f(0)}


def node(operator, *inputs, output="y", **attributes):
    return helper.make_node(operator, list(inputs), [output], name="last" if output == "y" else output, **attributes)


@pytest.mark.parametrize(
    "nodes",
    [
        [node("Gemm", "x", "w", "b", alpha=0.5, beta=2.0)],
        [node("Gemm", "x", "w")],
        [helper.make_node("Transpose", ["w"], ["t"]), node("Gemm", "x", "t", "b", transB=1)],
        [helper.make_node("MatMul", ["x", "w"], ["z"]), node("Add", "b", "z")],
        [GEMM, node("Sub", "z", "b")],
        [GEMM, node("Sub", "b", "z")],
        [GEMM, node("Neg", "z")],
        [GEMM, node("Div", "z", "b")],
        [GEMM, node("Elu", "z")],
        [GEMM, node("Sigmoid", "z", output="s"), node("Mul", "s", "z")],
        [GEMM, *ERF, node("Mul", "one_erf", "half", output="cdf"), node("Mul", "z", "cdf")],
        [GEMM, *ERF, node("Mul", "one_erf", "z", output="p"), node("Mul", "p", "half")],
        [GEMM, *ERF, node("Mul", "z", "half", output="p"), node("Mul", "p", "one_erf")],
        [GEMM, node("Relu", "z", output="a"), node("Mul", "a", "b", output="m"), node("Add", "m", "one")],
        [GEMM, node("Relu", "z", output="a"), node("Mul", "a", "half")],
        [GEMM, node("Tanh", "z", output="a"), node("Add", "a", "one", output="c"), node("MatMul", "c", "square")],
        [node("Sub", "x", "mean", output="c"), node("Div", "c", "scale", output="s"), node("Gemm", "s", "w", "b")],
        [node("Mul", "x", "scale", output="s"), node("Gemm", "s", "w", "b")],
        [node("Mul", "x", "negative", output="s"), node("Gemm", "s", "w", "b")],
        [node("Scaler", "x", output="s", domain="ai.onnx.ml", offset=[1.0, 2], scale=[2.0, 3]), node("Gemm", "s", "w")],
        [GEMM, node("Reshape", "z", "shape")],
        [GEMM, node("Identity", "z", output="i"), node("Cast", "i", to=onnx.TensorProto.FLOAT)],
        [node("Reciprocal", "b", output="r"), node("Sqrt", "r", output="q"), GEMM, node("Mul", "z", "q")],
        [node("Add", "b", "b", output="c"), node("Div", "c", "one", output="d"), node("Gemm", "x", "w", "d")],
        [
            node("Unsqueeze", "b", "axis", output="c"),
            node("Squeeze", "c", "axis", output="d"),
            node("Gemm", "x", "w", "d"),
        ],
        [GEMM, node("LeakyRelu", "z", alpha=0.01)],
        [GEMM, node("Softmax", "z")],
        [GEMM, node("Gelu", "z")],
    ],
)
def test_graphs(nodes):
    square = np.arange(9, dtype=np.float32).reshape(3, 3)
    constants = {"square": square, "mean": f(1, 2), "scale": f(2, 3), "negative": f(-1, 2)}
    constants |= {"shape": np.array([-1, 3]), "axis": np.array([0])}
    made = model(nodes, NUMBERS | constants, opset=20)
    net = nnpy.from_onnx(made)
    assert largest_error(net.predict(X), run(made.SerializeToString(), X)) < 2e-6


def test_scaling_of_the_inputs_becomes_a_scaler():
    nodes = [node("Sub", "x", "mean", output="c"), node("Div", "c", "scale", output="s"), node("Gemm", "s", "w")]
    net = nnpy.from_onnx(model(nodes, {"mean": f(1e6, 2), "scale": f(3, 4), "w": W}))
    np.testing.assert_array_equal(net.scaler.x_mean, [1e6, 2])
    np.testing.assert_array_equal(net.scaler.x_scale, [3, 4])
    np.testing.assert_array_equal(net.weights[0], W)


def test_infinite_scaling_is_refused():
    with pytest.raises(ValueError, match="the scaling of its outputs is not finite"):
        nnpy.from_onnx(model([GEMM, node("Mul", "z", "inf")], NUMBERS | {"inf": f(np.inf)}, producer="nnpy"))
    with pytest.raises(ValueError, match="it has a parameter that is not finite in float32"):
        nnpy.from_onnx(model([GEMM, node("Mul", "z", "inf")], NUMBERS | {"inf": f(np.inf)}))


def test_which_output():
    nodes = [GEMM, node("Relu", "z")]
    made = model(nodes, NUMBERS, outputs=("z", "y"))
    with pytest.raises(ValueError, match=r"the model cannot be read .* several of its outputs are .* \['z', 'y'\]"):
        nnpy.from_onnx(made)
    assert nnpy.from_onnx(made, output="z").activations == ("linear",)
    assert nnpy.from_onnx(made, output="y").activations == ("relu",)
    with pytest.raises(ValueError, match=r"it has no output 'x'; its outputs are \['z', 'y'\]"):
        nnpy.from_onnx(made, output="x")


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ([node("Conv", "x", "w")], r"node 'last' \(Conv\): it is no operation of a fully connected network"),
        ([node("Gemm", "x", "w", domain="other")], "it is no operation of a fully connected network"),
        ([node("Gemm", "x", "x")], r"node 'last' \(Gemm\): its matrix is not constant"),
        ([node("Gemm", "x", "w", "x")], "its third input is not constant"),
        ([node("Gemm", "x", "w", transA=1)], "it transposes the samples"),
        ([node("Gemm", "x", "nothing")], "nothing yields its input 'nothing'"),
        ([node("Gemm", "x", "b")], r"a matrix of shape \(3,\) does not fit 2 numbers for each sample"),
        ([node("Gemm", "x", "empty")], r"a matrix of shape \(2, 0\) has no columns"),
        ([node("Gemm", "x", "texts")], "it computes with object|it computes with <U"),
        ([node("Gemm", "x", "big")], "it has a parameter that is not finite in float32"),
        ([GEMM, node("Add", "z", "z")], "it adds two outputs of layers, as in a residual network"),
        ([GEMM, node("Add", "z", "w")], r"an array of shape \(2, 3\) does not fit 3 numbers for each sample"),
        ([GEMM, node("Mul", "z", "z")], "it multiplies two outputs of layers"),
        ([GEMM, node("Div", "z", "z")], "its second input is not constant"),
        ([GEMM, node("Div", "z", "zero")], "it divides by zero"),
        ([GEMM, node("LeakyRelu", "z", alpha=0.2)], '"leaky_relu" has alpha = 0.01 in nnpy, here it is 0.2'),
        ([GEMM, node("Elu", "z", alpha=2.0)], '"elu" has alpha = 1 in nnpy, here it is 2'),
        ([GEMM, node("Gelu", "z", approximate="tanh")], "nnpy's GELU is not approximated by tanh"),
        ([GEMM, node("Softmax", "z", axis=0)], "it is over the samples"),
        ([GEMM, node("Softmax", "z", output="s"), node("Gemm", "s", "square")], "softmax is for the last layer only"),
        ([GEMM, node("Flatten", "z", axis=0)], "it does not keep the samples apart"),
        ([GEMM, node("Reshape", "z", "shape")], r"the shape \[3, -1\] does not keep 3 numbers for each sample"),
        ([GEMM, node("Cast", "z", to=onnx.TensorProto.INT64)], "it makes int64 of the numbers"),
        ([GEMM, node("Erf", "z")], "erf is known as a part of GELU only"),
        ([GEMM, *ERF, node("Mul", "one_erf", "other")], "it multiplies '1 \\+ erf'"),
        ([GEMM, *ERF, node("Identity", "one_erf")], "it is a part of an activation function"),
        ([GEMM, node("Greater", "z", "other")], "it is known as a part of softplus only"),
        (
            [GEMM, node("Greater", "z", "large", output="c"), node("Where", "c", "z", "z")],
            "it is known as a part of softplus",
        ),
        ([GEMM, node("Squeeze", "z")], r"only a single output may be squeezed, from \(n, 1\) to \(n,\)"),
        ([GEMM, node("Unsqueeze", "z", "axis")], r"only \(n,\) may become \(n, 1\)"),
        ([GEMM, node("Unsqueeze", "z")], "one axis is expected"),
        ([GEMM, node("Transpose", "z")], "its input is not constant"),
        ([GEMM, node("ArgMax", "z")], "labels are no outputs of a network"),
        ([GEMM, node("Concat", "z", "z", axis=0)], "it is along the samples"),
        ([GEMM, node("Concat", "z", "z", axis=1)], "it joins outputs of layers"),
        ([GEMM, node("Dropout", "z", "", "true")], "it is in training mode"),
        ([node("BatchNormalization", "x", "b", "b", "b", "b", training_mode=1)], "it is in training mode"),
        ([GEMM, node("BatchNormalization", "z", "b", "b")], r"node 'last' \(BatchNormalization\): "),
        (
            [node("Add", "column", "b", output="c"), node("Gemm", "x", "w", "c")],
            r"constants of the shapes \(9, 1\) and \(3,\)",
        ),
        ([node("Relu", "x")], 'the activation function "relu" follows no layer'),
        ([node("Identity", "x")], "it has no layer"),
        ([node("Identity", "w")], "output 'y': it is constant"),
        ([node("Constant")], "it has no numbers"),
        ([], "output 'y': an output that no node yields"),
    ],
)
def test_what_from_onnx_refuses(nodes, message):
    constants = {"texts": np.array([["a"], ["b"]], dtype=object), "empty": np.zeros((2, 0), np.float32)}
    constants |= {"big": np.array([[1e300], [1]]), "square": np.eye(3, dtype=np.float32), "shape": np.array([3, -1])}
    constants |= {"large": f(20), "axis": np.array([1]), "true": np.array(True), "column": np.ones((9, 1), np.float32)}
    with pytest.raises(ValueError, match=f"(?s)^the model cannot be read as a network: .*{message}"):
        nnpy.from_onnx(model(nodes, NUMBERS | constants, opset=20))


@pytest.mark.parametrize(
    ("inputs", "nodes", "message"),
    [
        ([("x", [])], [GEMM], "the input 'x' must have a batch of samples, each with a known number of values"),
        ([("x", "width")], [GEMM], "the input 'x' must have a batch of samples"),
        (
            [("x", 2), ("u", 3)],
            [GEMM],
            r"a network takes all inputs of the model \('x', 'u'\) together, in their order",
        ),
        (
            [("x", 1), ("u", 1)],
            [node("Concat", "u", "x", output="c", axis=1), node("Gemm", "c", "w")],
            "in their order",
        ),
        ([("x", 2)], [node("Concat", "x", "x", axis=1)], "it joins outputs of layers"),
    ],
)
def test_inputs(inputs, nodes, message):
    with pytest.raises(ValueError, match=message):
        nnpy.from_onnx(model(nodes, NUMBERS, inputs=inputs, outputs=nodes[-1].output))


PROBABILITY = [
    node("Gemm", "x", "column", output="z1"),
    node("Sigmoid", "z1", output="p"),
    node("Sub", "one", "p", output="q"),
]


@pytest.mark.parametrize(
    ("nodes", "shape", "message"),
    [
        (
            [node("Gemm", "x", "column", output="c"), node("Squeeze", "c", "axis", output="s"), node("Softmax", "s")],
            [2],
            "softmax",
        ),
        (
            [node("Gemm", "x", "column", output="c"), node("Reshape", "c", "flat", output="s"), node("Softmax", "s")],
            [2],
            "softmax",
        ),
        ([node("MatMul", "x", "w")], [1, 2], "it multiplies an array of 3 dimensions by a matrix"),
        (
            [node("Add", "x", "pair", output="s"), node("Flatten", "s", output="f"), node("Gemm", "f", "w")],
            [2, 1],
            "does not fit",
        ),
        (
            [GEMM, node("Add", "z", "cube", output="s"), node("Softmax", "s", axis=1)],
            [2],
            "does not fit one of 2 dimensions",
        ),
        (
            [*PROBABILITY, node("Concat", "q", "p", axis=1, output="both"), node("Mul", "both", "half")],
            [2],
            "is no output of a layer",
        ),
        (
            [
                GEMM,
                node("Sigmoid", "z", output="p"),
                node("Sub", "one", "p", output="q"),
                node("Concat", "q", "p", axis=1),
            ],
            [2],
            "joins",
        ),
        (
            [
                node("Div", "b_int", "two_int", output="h"),
                node("Cast", "h", to=1, output="c"),
                node("Gemm", "x", "w", "c"),
            ],
            [2],
            "integ",
        ),
    ],
)
def test_shapes_that_would_be_misread(nodes, shape, message):
    constants = {
        "column": f([1], [2]),
        "axis": np.array([1]),
        "flat": np.array([-1]),
        "pair": f(1, 2),
        "cube": f([[1, 2, 3]]),
    }
    constants |= {"b_int": np.array([7, 8, 9]), "two_int": np.array(2)}
    with pytest.raises(ValueError, match=message):
        nnpy.from_onnx(model(nodes, NUMBERS | constants, inputs=[("x", shape)]))


def test_both_probabilities_are_an_output():
    made = model([*PROBABILITY, node("Concat", "q", "p", axis=1)], NUMBERS | {"column": f([1], [2])})
    assert largest_error(nnpy.from_onnx(made).predict(X)[:, 0], run(made.SerializeToString(), X)[:, 1]) < 1e-6


def test_inputs_of_integers_have_to_become_floats_first():
    def made(*nodes):
        result = model(list(nodes), NUMBERS | {"hundred": np.array(100, np.uint8), "scale": f(255)})
        result.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.UINT8
        return result

    cast, gemm = node("Cast", "x", to=1, output="f"), node("Gemm", "s", "w")
    assert nnpy.from_onnx(made(cast, node("Div", "f", "scale", output="s"), gemm)).scaler.x_scale[0] == 255
    with pytest.raises(ValueError, match="it computes with integers before they become floats"):
        nnpy.from_onnx(made(node("Add", "x", "hundred", output="a"), node("Cast", "a", to=1, output="s"), gemm))


def test_several_inputs_must_be_tables():
    nodes = [node("Concat", "u", "v", output="c", axis=-1), node("Flatten", "c", output="d"), node("Gemm", "d", "w")]
    with pytest.raises(ValueError, match="several inputs must be tables of two dimensions"):
        nnpy.from_onnx(model(nodes, NUMBERS, inputs=[("u", [2, 1]), ("v", [2, 1])]))


def test_several_inputs_are_columns():
    nodes = [node("Concat", "a", "b", output="c", axis=1), node("Gemm", "c", "w", "b1")]
    made = model(nodes, {"w": W, "b1": B}, inputs=[("a", 1), ("b", 1)])
    net = nnpy.from_onnx(made)
    assert net.feature_names == ("a", "b")
    np.testing.assert_array_equal(net.weights[0], W)


@pytest.mark.parametrize("names", ["[1, 2]", "{", "[" * 100_000, '"ab"'])
def test_damaged_names(names):
    made = model([node("Gemm", "x", "w")], {"w": W}, producer="nnpy", metadata={"feature_names": names})
    with pytest.raises(ValueError, match="its feature names are damaged"):
        nnpy.from_onnx(made)
    made = model([node("Gemm", "x", "w")], {"w": W}, metadata={"feature_names": names})
    assert nnpy.from_onnx(made).feature_names is None  # another program may mean something else by it


def test_names_come_back():
    metadata = {"feature_names": json.dumps(["é", "b"])}
    made = model([node("Gemm", "x", "w")], {"w": W}, producer="nnpy", metadata=metadata)
    assert nnpy.from_onnx(made).feature_names == ("é", "b")


# ---- Files that are no models, and hostile ones ----


def test_no_model(tmp_path):
    path = tmp_path / "file.onnx"
    with pytest.raises(FileNotFoundError):
        nnpy.from_onnx(path)
    path.write_bytes(b"no model")
    with pytest.raises(ValueError, match=f"^{path} is not an ONNX model that can be read: "):
        nnpy.from_onnx(path)
    path.write_bytes(b"")
    with pytest.raises(ValueError, match=f"^{path} cannot be read as a network: "):
        nnpy.from_onnx(path)
    with pytest.raises(IsADirectoryError):
        nnpy.from_onnx(tmp_path)
    for wrong in (3, None, b"bytes"):
        with pytest.raises(TypeError, match=r"source must be a path or an onnx.ModelProto, got "):
            nnpy.from_onnx(wrong)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes")
def test_a_pipe_does_not_block(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="Not a regular file"):
        nnpy.from_onnx(tmp_path / "pipe")


def test_sparse_parameters_are_refused():
    made = model([node("Gemm", "x", "w")], {"w": W})
    made.graph.sparse_initializer.add()
    with pytest.raises(ValueError, match="it has sparse parameters"):
        nnpy.from_onnx(made)


@pytest.mark.parametrize(
    "kind",
    ["wide input", "wide inputs", "one matrix in many layers", "many scales", "outer product", "deep", "long names"],
)
def test_a_small_file_cannot_ask_for_much_memory(kind):
    import tracemalloc

    square = np.eye(300, dtype=np.float32)
    if kind == "wide input":
        made = model([node("Mul", "x", "half", output="s"), node("Relu", "s")], NUMBERS, inputs=[("x", 2**40)])
    elif kind == "wide inputs":
        nodes = [node("Concat", "u", "v", output="c", axis=1), node("Add", "c", "one", output="d"), node("Relu", "d")]
        made = model(nodes, NUMBERS, inputs=[("u", 20_000_000), ("v", 20_000_000)])
    elif kind == "long names":
        names = [f"y{i}" for i in range(3000)]
        made = model([helper.make_node("Split", ["x"], names, name="n" * 100_000)], {}, outputs=names)
    elif kind == "one matrix in many layers":
        nodes = [helper.make_node("MatMul", [f"a{i}" if i else "x", "w"], [f"a{i + 1}"]) for i in range(2000)]
        made = model(nodes, {"w": square}, inputs=[("x", 300)], outputs=("a2000",))
    elif kind == "many scales":
        nodes = [helper.make_node("MatMul", ["x", "w"], ["z"])]
        nodes += [helper.make_node("Mul", ["z", "half"], [f"a{i}"]) for i in range(20_000)]
        made = model(
            nodes, {"w": np.ones((1, 50_000), np.int8), "half": f(0.5)}, inputs=[("x", 1)], outputs=("a1", "a2")
        )
    elif kind == "outer product":
        long = np.ones(100_000, np.int8)
        made = model([node("Add", "row", "column")], {"row": long[np.newaxis], "column": long[:, np.newaxis]})
    else:
        nodes = []
        for i in range(20_000):
            nodes += [
                node("Mul", f"a{i}" if i else "x", "one", output=f"z{i}"),
                node("MatMul", f"z{i}", "one", output=f"a{i + 1}"),
            ]
        made = model(nodes, {"one": f([1])}, inputs=[("x", 1)], outputs=("a20000",))
    size = made.ByteSize()
    tracemalloc.start()
    with pytest.raises(
        ValueError,
        match=r"more numbers than a network of the size of its file|several of|constants of the shapes|nnnnn",
    ):
        nnpy.from_onnx(made)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10_000_000 + 100 * size
