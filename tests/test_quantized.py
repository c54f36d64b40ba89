"""Networks of 8-bit integers: calibration, prediction, files, export to C. The oracle computes with Python's integers."""

import copy
import io
import itertools
import os
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from exported_programs import compile_and_link
from hypothesis import given, settings
from hypothesis import strategies as st

import nnpy
from nnpy._activations import ACTIVATIONS
from nnpy._commands.main import main
from nnpy._quantized_model import layer_kind

METHODS = ["max", "percentile", "mse"]
HIDDEN = sorted(set(ACTIVATIONS) - {"softmax"})


def make(sizes, activations, seed=0, num=300, scaler=None):
    """Returns a network and inputs. Weights are large enough that activation functions bend."""
    net = nnpy.NeuralNetwork(sizes, activations, seed=seed)
    net.parameters *= 2
    rng = np.random.default_rng(seed)
    for b in net.biases:
        b[...] = rng.normal(size=b.shape) / 2
    x = rng.normal(size=(num, sizes[0])).astype(np.float32)
    if scaler == "x":
        net.fit_scaler(x)
    if scaler == "xy":
        net.fit_scaler(x, rng.normal(size=(9, sizes[-1])) * 100)
    return net, x


# ---- The oracle ----


def oracle(q, integers, *, logits=False):
    """Computes the outputs as the formulas of csrc/engine.h say, with Python's integers."""
    return np.array([oracle_row(q, row, logits=logits) for row in integers.tolist()])


def oracle_row(q, row, *, logits):
    a = row
    for number, layer in enumerate(q.parameters.layers):
        is_last = number == len(q.parameters.layers) - 1
        kind = layer_kind(q.activations[number], is_last=is_last)
        sums = [
            bias + sum(w * value for w, value in zip(weights, a, strict=True))
            for weights, bias in zip(layer.weights.tolist(), layer.biases.tolist(), strict=True)
        ]
        limit = 2 ** min(31, layer.shift) - 1
        sums = [min(max(s, -limit), limit) for s in sums]
        multipliers = layer.multipliers.tolist()
        a = [(s * m + 2 ** (layer.shift - 1)) >> layer.shift for s, m in zip(sums, multipliers, strict=True)]
        table = None if layer.table is None else layer.table.tolist()
        if kind == "clip":
            a = [min(max(value, 0), 255) for value in a]
        elif kind == "table":
            places = [divmod(min(max(value, 0), 32767), 256) for value in a]
            a = [table[i] * (256 - part) + table[i + 1] * part for i, part in places]
            a = [(value + 128) >> 8 if is_last else (value + 2**14) >> 15 for value in a]
        elif kind == "softmax" and not logits:
            a = softmax(table, a)
    return a


def softmax(table, z):
    """Computes the probabilities, of which 1 is 32768."""
    powers = []
    for below in (max(z) - value for value in z):
        i, part = divmod(below % 32768, 256)
        powers.append(((table[i] * (256 - part) + table[i + 1] * part + 128) >> 8) >> (below // 32768))
    total = sum(powers)
    return [min(32767, (power * 32768 + total // 2) // total) for power in powers]


@pytest.mark.parametrize(("hidden", "last"), list(zip(HIDDEN, [*HIDDEN[1:], "softmax"], strict=True)))
def test_outputs_are_those_of_the_formulas(hidden, last):
    for seed, sizes in enumerate(([3, 4], [5, 17, 3], [9, 70, 20, 5])):
        net, x = make(sizes, [hidden] * (len(sizes) - 2) + [last], seed)
        q = net.quantize(x[:100], method=METHODS[seed])
        integers = q.quantize_inputs(x * 1.2)
        expected = oracle(q, integers)
        np.testing.assert_array_equal(q.predict_integers(integers), expected)
        np.testing.assert_array_equal(q.predict(x * 1.2), expected.astype(np.float32) * np.float32(q.output_scale))
        if sizes[-1] > 1:
            np.testing.assert_array_equal(q.predict_classes(x * 1.2), oracle(q, integers, logits=True).argmax(axis=1))


def test_inputs_are_rounded_to_the_nearest_of_256_numbers():
    net, x = make([4, 8, 2], ["relu", "linear"])
    q = net.quantize(x)
    low, inverse_step = q.parameters.low, q.parameters.inverse_step
    beyond = x * 3
    expected = np.clip(np.rint((beyond - low) * inverse_step), 0, 255)
    np.testing.assert_array_equal(q.quantize_inputs(beyond), expected)
    assert {0, 255} < set(expected.ravel())
    assert q.quantize_inputs(beyond).dtype == np.uint8


# ---- Calibration ----


@pytest.mark.parametrize("scaler", [None, "x", "xy"])
@pytest.mark.parametrize("hidden", HIDDEN)
def test_outputs_are_near_those_of_the_network(hidden, scaler):
    net, x = make([6, 40, 20, 3], [hidden, hidden, "linear"], num=600, scaler=scaler)
    expected = net.predict(x[300:])
    q = net.quantize(x[:300])
    assert q.predict(x[300:]).dtype == expected.dtype
    error = np.sqrt(np.mean((q.predict(x[300:]) - expected) ** 2)) / expected.std()
    assert error < 0.02
    # Without the mean of the rounding errors in the biases, and with one scale for all outputs, it would be larger.
    assert abs(np.mean(q.predict(x[300:]) - expected)) < 0.004 * expected.std()


@pytest.mark.parametrize(
    "last", ["sigmoid", "tanh", "softmax", "elu", "softplus", "silu", "gelu", "relu", "leaky_relu"]
)
def test_outputs_of_every_last_layer_are_near_those_of_the_network(last):
    net, x = make([6, 40, 3], ["relu", last], num=600)
    expected = net.predict(x[300:])
    error = np.sqrt(np.mean((net.quantize(x[:300]).predict(x[300:]) - expected) ** 2))
    assert error < 0.015 * max(1, expected.std())


def test_the_last_layer_has_room_for_twice_the_range_of_the_calibration():
    net = nnpy.NeuralNetwork([2, 1], "elu", seed=0)
    net.parameters = [1, 1, 0]
    q = net.quantize([[1, 0], [0, 1], [-1, 0], [0, -1]])
    x = [[1, 1], [-1, -1]]
    np.testing.assert_allclose(q.predict(x), net.predict(x), atol=0.03)


def test_auto_takes_what_loses_least():
    net, x = make([5, 30, 2], ["relu", "linear"], num=4000)
    x[::101] *= 20  # outliers: the extremes are a bad range
    expected = net.predict(x)

    def error(method):
        return float(np.mean((net.quantize(x, method=method).predict(x) - expected) ** 2))

    errors = {method: error(method) for method in METHODS}
    assert error("auto") <= min(errors.values()) * 1.1
    assert max(errors.values()) > 1.5 * min(errors.values())


def test_inputs_of_very_different_sizes_have_a_range_each():
    net, x = make([3, 20, 2], ["tanh", "linear"])
    x *= [1, 1000, 1e-3]
    net.weights[0] /= np.float32([[1], [1000], [1e-3]])
    q = net.quantize(x)
    assert "a range for each input" in q.summary()
    assert len(q.parameters.low) == 3
    assert np.abs(q.predict(x) - net.predict(x)).max() < 0.05 * np.abs(net.predict(x)).max()


@pytest.mark.skipif(os.name == "nt", reason="the instruction sets are those of the build")
def test_integers_do_not_depend_on_the_instruction_set(tmp_path):
    program = """
import sys, numpy as np, nnpy
net = nnpy.NeuralNetwork([7, 33, 18, 3], ["gelu", "relu", "softmax"], seed=1)
x = np.float32([[i * j % 19 / 7 - 1 for j in range(1, 8)] for i in range(500)])
q = net.quantize(x)
q.save(sys.argv[1])
np.save(sys.argv[2], q.predict(x * 1.1))
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(nnpy.__file__).parent.parent)}
    results = []
    with open(os.devnull, "w") as nowhere:
        isas = subprocess.run(
            [sys.executable, "-c", "import nnpy; nnpy.show_config()"],
            capture_output=True, text=True, check=True, cwd=tmp_path, env=environment,
        ).stdout.split("(of ")[1].split(")")[0].split(", ")  # fmt: skip
        for isa, threads in zip(isas, itertools.cycle("123")):
            files = [str(tmp_path / f"{isa}.npz"), str(tmp_path / f"{isa}.npy")]
            subprocess.run(
                [sys.executable, "-c", program, *files],
                check=True, cwd=tmp_path, stdout=nowhere, env={**environment, "NNPY_ISA": isa, "NNPY_NUM_THREADS": threads},
            )  # fmt: skip
            results.append((Path(files[0]).read_bytes(), np.load(files[1]).tobytes()))
    assert len(set(results)) == 1
    assert len(results) >= 1 + (isas != ["portable"])


@settings(max_examples=40)
@given(data=st.data())
def test_any_network_is_quantized_or_refused(data):
    sizes = data.draw(st.lists(st.integers(1, 9), min_size=2, max_size=4))
    activations = [data.draw(st.sampled_from(HIDDEN)) for _ in sizes[2:]] + [
        data.draw(st.sampled_from(sorted(ACTIVATIONS)))
    ]
    net = nnpy.NeuralNetwork(sizes, activations, seed=data.draw(st.integers(0, 99)))
    net.parameters *= data.draw(st.sampled_from([0, 1, 1, 1, 1e-20, 1e10, 1e30]))
    x = np.random.default_rng(0).normal(size=(data.draw(st.integers(1, 50)), sizes[0])).astype(np.float32)
    x *= np.float32(data.draw(st.sampled_from([0, 1, 1, 1e-30, 1e30])))
    try:
        q = net.quantize(x)
    except ValueError as error:
        known = ["are not finite", "too large for its activation", "the inputs of softmax may be"]
        assert any(text in str(error) for text in known), error  # noqa: PT017
        return
    assert np.isfinite(q.predict(x)).all()
    np.testing.assert_array_equal(q.predict_integers(q.quantize_inputs(x)), oracle(q, q.quantize_inputs(x)))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (
            {"calibration": np.zeros((3, 5))},
            ValueError,
            "calibration must have 4 columns, one per input of the network",
        ),
        ({"calibration": np.zeros((0, 4))}, ValueError, "calibration must have at least one row, got none"),
        (
            {"calibration": [[1, 2, np.nan, 4]]},
            ValueError,
            r"calibration must be finite in float32, got calibration\[0, 2\]",
        ),
        ({"calibration": [["a"] * 4]}, TypeError, "calibration must be real numbers"),
        (
            {"calibration": np.zeros((3, 4)), "method": "best"},
            ValueError,
            "method must be 'auto', 'max', 'percentile' or",
        ),
    ],
)
def test_wrong_arguments(arguments, error, message):
    net, _ = make([4, 3, 2], ["relu", "softmax"])
    with pytest.raises(error, match=message):
        net.quantize(**arguments)


def test_networks_that_cannot_be_quantized():
    net, x = make([4, 3, 2], ["relu", "softmax"])
    net.weights[0][1, 1] = np.nan
    with pytest.raises(ValueError, match="the parameters of the network are not finite"):
        net.quantize(x)
    net, x = make([4, 3, 2], ["relu", "softmax"])
    net.weights[1] *= 1e6
    with pytest.raises(
        ValueError, match=r"the inputs of softmax may be as large as .*; a network of 8-bit integers can have up"
    ):
        net.quantize(x)
    net.parameters = 3e38
    with pytest.raises(ValueError, match="the activations of the network are not finite, or beyond 1e"):
        net.quantize(np.ones((3, 4)))
    net, x = make([4, 1], "sigmoid")
    net.parameters *= 1e20
    with pytest.raises(ValueError, match="weights that are too large for its activation function"):
        net.quantize(x)
    net = nnpy.NeuralNetwork([70_000, 1], "linear", seed=0)
    net.weights[0] = 1
    with pytest.raises(ValueError, match="a layer of 70,000 inputs is too wide for a network of 8-bit integers"):
        net.quantize(np.eye(3, 70_000, dtype=np.float32))


def test_calibration_with_one_row_and_with_many():
    net, x = make([4, 3, 2], ["relu", "softmax"])
    assert net.quantize(x[:1]).predict(x).shape == (300, 2)
    assert net.quantize(np.tile(x, (100, 1))).predict(x).shape == (300, 2)


# ---- Prediction ----


def test_shapes_strides_and_types_of_inputs():
    net, x = make([4, 9, 2], ["relu", "softmax"], num=250)
    q = net.quantize(x)
    expected = q.predict(x)
    wide = np.zeros((250, 11), np.float32)
    wide[:, 3:7] = x
    np.testing.assert_array_equal(q.predict(wide[:, 3:7]), expected)
    np.testing.assert_array_equal(q.predict(x[::-1]), expected[::-1])
    np.testing.assert_array_equal(q.predict(np.asfortranarray(x)), expected)
    np.testing.assert_array_equal(q.predict(x.astype(np.float64)), expected)
    np.testing.assert_array_equal(q.predict(x.tolist()), expected)
    np.testing.assert_array_equal(q.predict(x[7:8]), expected[7:8])
    assert q.predict(x[:0]).shape == (0, 2)
    assert q.predict_integers(np.zeros((0, 4), int)).shape == (0, 2)
    before = x.copy()
    q.predict(x)
    np.testing.assert_array_equal(x, before)


def test_wrong_inputs():
    net, x = make([4, 9, 1], ["relu", "linear"])
    q = net.quantize(x)
    x[200, 2] = np.inf
    for function in (q.predict, q.quantize_inputs):
        with pytest.raises(ValueError, match=r"x must be finite in float32, got x\[200, 2\] = inf"):
            function(x)
        with pytest.raises(ValueError, match=r"x must have 4 columns"):
            function(x[:, :3])
    with pytest.raises(TypeError, match="integers must be integers from 0 to 255, got an array of dtype float32"):
        q.predict_integers(x)
    with pytest.raises(ValueError, match="integers must be from 0 to 255, got -1 to 256"):
        q.predict_integers([[-1, 0, 0, 256]])
    with pytest.raises(ValueError, match="integers must have 4 columns"):
        q.predict_integers(np.zeros((3, 3), np.uint8))
    with pytest.raises(ValueError, match='classes need several outputs, or one of "sigmoid" or "tanh"'):
        q.predict_classes(x[:3])


def test_names_of_columns():
    pandas = pytest.importorskip("pandas")
    net, x = make([2, 3, 1], ["relu", "linear"])
    frame = pandas.DataFrame(x, columns=["a", "b"])
    q = net.quantize(frame)
    assert q.feature_names == ("a", "b")
    np.testing.assert_array_equal(q.predict(frame), q.predict(x))
    with pytest.raises(ValueError, match=r"the columns of x .* expected \['a', 'b'\], got \['b', 'a'\]"):
        q.predict(frame[["b", "a"]])


@pytest.mark.parametrize(
    ("last", "outputs"), [("softmax", 3), ("sigmoid", 1), ("sigmoid", 3), ("linear", 2), ("tanh", 1)]
)
def test_classes_and_scores(last, outputs):
    net, x = make([4, 30, outputs], ["relu", last])
    q = net.quantize(x)
    classes = net.predict_classes(x)
    assert np.mean(q.predict_classes(x) == classes) > 0.97
    if last == "softmax":
        assert q.score(x, classes) == np.mean(q.predict_classes(x) == classes)
        assert q.score(x, classes, sample_weight=np.arange(300.0)) > 0.9
        with pytest.raises(ValueError, match="all samples have a weight of 0"):
            q.score(x, classes, sample_weight=np.zeros(300))
    elif last == "sigmoid":
        assert q.score(x, classes if outputs == 1 else np.eye(outputs)[classes]) > 0.97
    else:
        assert q.score(x, net.predict(x)) > 0.99


def test_score_of_scaled_targets():
    net, x = make([4, 30, 2], ["relu", "linear"], scaler="xy")
    assert net.quantize(x).score(x, net.predict(x)) > 0.99


# ---- Files and copies ----


def test_save_load_pickle_and_copy(tmp_path):
    for number, scaler in enumerate([None, "xy"]):
        net, x = make([4, 9, 3], ["tanh", "linear"], scaler=scaler)
        q = net.quantize(x)
        q.save(tmp_path / f"{number}.npz")
        for other in (
            nnpy.QuantizedNetwork.load(tmp_path / f"{number}.npz"),
            pickle.loads(pickle.dumps(q)),
            copy.copy(q),
            copy.deepcopy(q),
        ):
            np.testing.assert_array_equal(other.predict(x), q.predict(x))
            assert repr(other) == "<QuantizedNetwork [4, 9, 3], ['tanh', 'linear']>"
            assert other.summary() == q.summary()
            assert (other.feature_names, other.num_bytes, other.output_scale) == (None, q.num_bytes, q.output_scale)


def test_each_loader_names_the_other_one(tmp_path):
    net, x = make([4, 9, 3], ["tanh", "softmax"])
    net.save(tmp_path / "float.npz")
    net.quantize(x).save(tmp_path / "int8.npz")
    with pytest.raises(
        ValueError, match=r"it holds a network of 8-bit integers, which nnpy\.QuantizedNetwork\.load reads"
    ):
        nnpy.load(tmp_path / "int8.npz")
    with pytest.raises(ValueError, match=r"it holds a network of floats, which nnpy\.load reads"):
        nnpy.QuantizedNetwork.load(tmp_path / "float.npz")
    (tmp_path / "other").write_bytes(b"other")
    with pytest.raises(ValueError, match=r"it is no \.npz file"):
        nnpy.QuantizedNetwork.load(tmp_path / "other")
    with pytest.raises(FileNotFoundError):
        nnpy.QuantizedNetwork.load(tmp_path / "missing")


def change(content, name, array):
    """Returns the bytes of an .npz file in which one array is another."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(out, "w") as new:
        for member in old.namelist():
            if member != f"{name}.npy":
                new.writestr(member, old.read(member))
        if array is not None:
            file = io.BytesIO()
            np.lib.format.write_array(file, np.asarray(array), allow_pickle=False)
            new.writestr(f"{name}.npy", file.getvalue())
    return out.getvalue()


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("version", 7, "its format is 7, and this version of nnpy reads format 1"),
        ("layer_sizes", [4, 9], "its array activations is"),
        ("activations", ["relu", "swosh"], "an activation must be one of"),
        ("activations", ["relu", "softmax"], "layer 1 has no table, or one that it does not need"),
        ("low", np.float32([np.nan]), "its scales are not finite"),
        ("low", np.float32([1, 2]), "it has 2 ranges for 4 inputs"),
        ("inverse_step", np.float32([0]), "its scales are not positive"),
        ("output_scale", np.float32(-1), "its scales are not positive"),
        ("layers/0/weights", np.full((9, 4), -128, np.int8), "layer 1 has integers out of their range"),
        ("layers/0/shift", np.int32(63), "layer 1 has integers out of their range"),
        ("layers/0/shift", np.int32(0), "layer 1 has integers out of their range"),
        ("layers/1/multipliers", np.int32([1, 1, 1]), "layer 2 has integers out of their range"),
        ("layers/1/biases", np.int32([2**31 - 1] * 3), "the sums of layer 2 may leave the range of 32 bits"),
        ("layers/1/biases", np.int64([1, 1, 1]), "its array layers/1/biases is int64"),
        ("layers/0/table", np.full(129, -1, np.int16), "the table of layer 1 has integers out of their range"),
        ("layers/0/table", np.full(129, 32641, np.int16), "the table of layer 1 has integers out of their range"),
        ("layers/1/table", np.full(129, 0, np.int16), "the table of layer 2 has integers out of their range"),
        ("layers/0/table", None, "layer 1 has no table, or one that it does not need"),
        ("layers/1/weights", None, "it has no array layers/1/weights"),
        ("feature_names", ["a"], "its array feature_names is"),
    ],
)
def test_damaged_files_are_refused(tmp_path, name, array, message):
    net, x = make([4, 9, 3], ["tanh", "softmax"])
    path = tmp_path / "q.npz"
    net.quantize(x, method="max").save(path)
    path.write_bytes(change(path.read_bytes(), name, array))
    with pytest.raises(ValueError, match="is not a network that nnpy saved: .*" + message):
        nnpy.QuantizedNetwork.load(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: p._replace(layers=p.layers[:1]), "it has 1 layers of integers for 2 layers"),
        (
            lambda p: p._replace(low=np.zeros(3, np.float32)),
            r"an array of float32 has shape \(3,\), expected float32 of shape",
        ),
        (
            lambda p: p._replace(layers=(p.layers[1], p.layers[1])),
            r"an array of int8 has shape \(3, 9\), expected int8 of shape",
        ),
        (
            lambda p: p._replace(layers=(p.layers[0]._replace(biases=np.zeros(9)), p.layers[1])),
            r"an array of float64 has shape \(9,\), expected int32 of shape \(9,\)",
        ),
    ],
)
def test_parameters_that_do_not_fit_are_refused(change, message):
    net, x = make([4, 9, 3], ["tanh", "softmax"])
    q = net.quantize(x, method="max")
    with pytest.raises(ValueError, match=message):
        nnpy.QuantizedNetwork(change(q.parameters))


def test_summary_and_notebook():
    net, x = make([4, 9, 3], ["tanh", "linear"], scaler="xy")
    q = net.quantize(x, method="max")
    assert q.summary().splitlines()[:4] == [
        "layer  shape  activation  parameters",
        "    1  4 x 9  tanh                45",
        "    2  9 x 3  linear              30",
        "total                             75",
    ]
    assert "calibration: max, " in q.summary()
    assert "scaled: targets" in q.summary()
    assert "<td>tanh</td>" in q._repr_html_()


def test_size_is_a_quarter():
    net, x = make([784, 128, 10], ["relu", "softmax"], num=100)
    q = net.quantize(x, method="max")
    assert q.num_bytes < 0.255 * net.parameters.nbytes


# ---- C ----

COMPILERS = [
    "c99",
    *(pytest.param(c, marks=pytest.mark.slow) for c in ("gnu, fused wherever possible", "c++", "sanitizers")),
]


def outputs_in_c(folder, networks, inputs, compiler):
    """Returns outputs and classes of exported networks, computed by one program."""
    body = []
    for number, (q, x) in enumerate(zip(networks, inputs, strict=True)):
        q.export_c(folder / f"n{number}.h", name=f"n{number}", test_inputs=x[:2] if number % 2 else None)
        kind = "double" if q.parameters.y_mean is not None else "float"
        classify = f"class_ = n{number}_classify(in);" if has_classes(q) else ""
        body.append(f"""
    for (i = 0; i < {len(x)}; i++) {{
        static float in[{x.shape[1]}];
        static {kind} out[{q.layer_sizes[-1]}];
        int class_ = 0;
        if (fread(in, sizeof in, 1, stdin) != 1) return 1;
        n{number}_predict(in, out);
        {classify}
        fwrite(out, sizeof out, 1, stdout);
        fwrite(&class_, sizeof class_, 1, stdout);
    }}
    if (n{number}_selftest() != 0) return 2;""")
    includes = "".join(f'#define N{n}_IMPLEMENTATION\n#include "n{n}.h"\n' for n in range(len(networks)))
    source = folder / "main.c"
    source.write_text(
        f"#include <stdio.h>\n{includes}int main(void)\n{{\n    int i;{''.join(body)}\n    return 0;\n}}\n"
    )
    program = compile_and_link(folder, compiler, source)
    data = b"".join(np.ascontiguousarray(x, np.float32).tobytes() for x in inputs)
    result = io.BytesIO(subprocess.run([program], input=data, capture_output=True, check=True).stdout)
    found = []
    for q, x in zip(networks, inputs, strict=True):
        dtype = np.dtype(np.float64 if q.parameters.y_mean is not None else np.float32)
        record = np.dtype([("out", dtype, q.layer_sizes[-1]), ("class", np.int32)])
        records = np.frombuffer(result.read(record.itemsize * len(x)), record)
        found.append((records["out"].reshape(len(x), -1), records["class"]))
    assert not result.read()
    return found


def has_classes(q):
    return q.layer_sizes[-1] > 1 or q.activations[-1] in {"sigmoid", "tanh"}


def random_networks(num, seed):
    rng = np.random.default_rng(seed)
    networks, inputs = [], []
    for number in range(num):
        sizes = rng.integers(1, 30, rng.integers(2, 5)).tolist()
        activations = [str(rng.choice(HIDDEN)) for _ in sizes[1:]]
        if number % 3 == 0:
            activations[-1] = "softmax"
        can_scale = activations[-1] in {"linear", "leaky_relu"}
        net, x = make(sizes, activations, number, num=30, scaler=["x", "xy", None][number % 3] if can_scale else None)
        if number % 4 == 0 and activations[-1] != "softmax":
            x *= rng.lognormal(sigma=5, size=sizes[0]).astype(np.float32)  # a range for each input
        networks.append(net.quantize(x[:20], method=METHODS[number % 3] if number % 5 else "auto"))
        inputs.append(x * 1.5)
    return networks, inputs


def check_random_networks(folder, num, seed, compiler):
    networks, inputs = random_networks(num, seed)
    for q, x, (out, classes) in zip(networks, inputs, outputs_in_c(folder, networks, inputs, compiler), strict=True):
        np.testing.assert_array_equal(out, q.predict(x))
        if has_classes(q):
            np.testing.assert_array_equal(classes, q.predict_classes(x))


@pytest.mark.skipif(os.name == "nt", reason="these tests call cc as it is on Unix")
@pytest.mark.parametrize("compiler", COMPILERS)
def test_exported_networks_compute_the_same(tmp_path, compiler):
    check_random_networks(tmp_path, 10, 1, compiler)


@pytest.mark.skipif(os.name == "nt", reason="these tests call cc as it is on Unix")
def test_classes_whose_probabilities_round_to_the_same_number(tmp_path):
    net = nnpy.NeuralNetwork([1, 2], "softmax", seed=0)
    net.parameters = [0, 2.2e-5, 0, 0]
    x = np.linspace(0, 1, 11, dtype=np.float32).reshape(-1, 1)
    q = net.quantize(x)
    probabilities = q.predict(x[-1:])
    assert probabilities[0, 0] == probabilities[0, 1]
    assert q.predict_classes(x[-1:]) == [1]
    ((_, classes),) = outputs_in_c(tmp_path, [q], [x], "c99")
    np.testing.assert_array_equal(classes, q.predict_classes(x))


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="these tests call cc as it is on Unix")
def test_200_random_networks_in_c(tmp_path):
    for part in range(8):
        (tmp_path / str(part)).mkdir()
        check_random_networks(tmp_path / str(part), 25, part + 10, "c99")


@pytest.mark.skipif(os.name == "nt", reason="these tests call cc as it is on Unix")
def test_without_floats_in_two_files_with_class_names(tmp_path):
    net, x = make([3, 8, 2], ["relu", "softmax"])
    net.quantize(x).export_c(tmp_path / "two.h", name="two", class_names=["no", "yes"])
    (tmp_path / "one.c").write_text('#define TWO_NO_FLOAT\n#define TWO_IMPLEMENTATION\n#include "two.h"\n')
    (tmp_path / "main.c").write_text(
        '#define TWO_NO_FLOAT\n#include "two.h"\n#include <stdio.h>\nint main(void) {\n'
        "    uint8_t in[TWO_NUM_INPUTS] = {1, 128, 255};\n    int32_t out[TWO_NUM_OUTPUTS];\n    two_predict_int8(in, out);\n"
        '    printf("%ld %ld %s\\n", (long)out[0], (long)out[1], two_class_name(two_classify_int8(in)));\n'
        "    return two_selftest();\n}\n"
    )
    program = compile_and_link(tmp_path, "c99", "one.c", "main.c")
    result = subprocess.run([program], capture_output=True, text=True, check=True).stdout.split()
    expected = net.quantize(x).predict_integers([[1, 128, 255]])[0]
    assert result == [*map(str, expected), ["no", "yes"][expected.argmax()]]


@pytest.mark.skipif(os.name == "nt", reason="these tests call cc as it is on Unix")
def test_the_self_test_finds_a_wrong_weight(tmp_path):
    net, x = make([3, 8, 2], ["relu", "softmax"])
    net.quantize(x).export_c(tmp_path / "one.h", name="one")
    text = (tmp_path / "one.h").read_text()
    start = text.index("{ /* (8, 3)") + len("{ /* (8, 3): a row for each output */\n    ")
    end = text.index(",", start)
    (tmp_path / "one.h").write_text(text[:start] + str(-int(text[start:end]) or 99) + text[end:])
    (tmp_path / "main.c").write_text(
        '#define ONE_IMPLEMENTATION\n#include "one.h"\nint main(void) { return one_selftest(); }\n'
    )
    assert 0 < subprocess.run([compile_and_link(tmp_path, "c99", "main.c")], check=False).returncode <= 8


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"name": "Net"}, ValueError, "name must be a C identifier of lower-case letters"),
        ({"class_names": ["a"]}, ValueError, "class_names must have a name for each of the 2 classes, got 1"),
        ({"test_inputs": np.zeros((0, 3))}, ValueError, "test_inputs must have at least one row, got none"),
        ({"test_inputs": np.zeros((1, 2))}, ValueError, "x must have 3 columns"),
    ],
)
def test_wrong_arguments_of_the_export(tmp_path, arguments, error, message):
    net, x = make([3, 8, 2], ["relu", "softmax"])
    with pytest.raises(error, match=message):
        net.quantize(x).export_c(tmp_path / "net.h", **arguments)
    assert not list(tmp_path.iterdir())


def test_the_command(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    net, x = make([3, 8, 2], ["relu", "softmax"])
    q = net.quantize(x)
    q.save("digits.npz")
    assert main(["export-c", "digits.npz"]) == 0
    assert "digits.h" in capsys.readouterr().out
    q.export_c("same.h", name="digits")
    assert Path("digits.h").read_bytes() == Path("same.h").read_bytes()


# ---- MNIST ----


@pytest.mark.slow
@pytest.mark.skipif(not os.environ.get("NNPY_MNIST"), reason="NNPY_MNIST does not name a folder with the MNIST files")
@pytest.mark.parametrize("hidden", ["relu", "tanh"])
def test_mnist(tmp_path, hidden):
    x, y, x_test, y_test = nnpy.datasets.load_mnist(os.environ["NNPY_MNIST"])
    net = nnpy.NeuralNetwork([784, 128, 10], [hidden, "softmax"], seed=0)
    net.fit(x, y, epochs=5, batch_size=128, seed=0)
    q = net.quantize(x[:2000])
    assert q.score(x_test, y_test) >= net.score(x_test, y_test) - 0.001
    (out, classes), = outputs_in_c(tmp_path, [q], [x_test], "c99")  # fmt: skip
    assert np.sum(out != q.predict(x_test)) == 0
    assert np.sum(classes != q.predict_classes(x_test)) == 0
