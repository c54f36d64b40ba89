"""Exported networks: the file compiles without warnings in C and C++, and computes the bits of `predict`."""

import itertools
import os
import re
import runpy
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from exported_programs import COMPILERS, compile_and_link, is_x86

import nnpy
from nnpy._activations import ACTIVATIONS
from nnpy._commands.main import main

SPECIAL = [0.0, -0.0, 1e-45, -1e-38, 1e30, -1e30, 87.5, -103.9, 0.625, -0.34, 3.4e38]

pytestmark = pytest.mark.skipif(os.name == "nt", reason="these tests call cc as it is on Unix")


def outputs_in_c(folder, nets, inputs, compiler="c99", options=()):
    """Returns the outputs of exported networks, computed by one program; inputs: an array for each network."""
    body = []
    for number, (net, x) in enumerate(zip(nets, inputs, strict=True)):
        net.export_c(folder / f"n{number}.h", name=f"n{number}")
        body.append(f"""
    for (i = 0; i < {len(x)}; i++) {{
        static float in[{x.shape[1]}];
        static {"double" if scales_targets(net) else "float"} out[{net.layer_sizes[-1]}];
        if (fread(in, sizeof in, 1, stdin) != 1) return 1;
        n{number}_predict(in, out);
        fwrite(out, sizeof out, 1, stdout);
    }}
    if (n{number}_selftest() != 0) return 2;""")
    includes = "".join(f'#define N{n}_IMPLEMENTATION\n#include "n{n}.h"\n' for n in range(len(nets)))
    source = folder / "main.c"
    source.write_text(
        f"#include <stdio.h>\n{includes}int main(void)\n{{\n    int i;{''.join(body)}\n    return 0;\n}}\n"
    )
    program = compile_and_link(folder, compiler, source, *options)
    data = b"".join(np.ascontiguousarray(x, np.float32).tobytes() for x in inputs)
    result = subprocess.run([program], input=data, capture_output=True, check=True).stdout
    outputs = []
    for net, x in zip(nets, inputs, strict=True):
        dtype = np.dtype(np.float64 if scales_targets(net) else np.float32)
        size = len(x) * net.layer_sizes[-1] * dtype.itemsize
        outputs.append(np.frombuffer(result[:size], dtype).reshape(len(x), -1))
        result = result[size:]
    assert not result
    return outputs


def scales_targets(net):
    return net.scaler is not None and net.scaler.y_mean is not None


def assert_same_bits(nets, inputs, outputs):
    for net, x, out in zip(nets, inputs, outputs, strict=True):
        expected = net.predict(x)
        assert out.dtype == expected.dtype
        both_nan = np.isnan(out) & np.isnan(expected)
        assert ((out == expected) & (np.signbit(out) == np.signbit(expected)) | both_nan).all(), net


def random_net(rng, activations=None, last=None):
    depth = int(rng.integers(1, 5))
    sizes = [int(size) for size in rng.integers(1, 20, size=depth + 1)]
    hidden = [name for name in ACTIVATIONS if name != "softmax"]
    names = [str(name) for name in rng.choice(hidden, size=depth - 1)] + [last or str(rng.choice(list(ACTIVATIONS)))]
    net = nnpy.NeuralNetwork(sizes, names, seed=int(rng.integers(1000)))
    net.parameters *= rng.choice([0.1, 1, 3])
    is_homogeneous = ACTIVATIONS[names[-1]].is_homogeneous
    if is_homogeneous or rng.random() < 0.5:
        x = rng.normal(1000, 1e-2, size=(20, sizes[0])) * rng.choice([1, 1e-3], size=sizes[0])
        is_scaled = is_homogeneous and rng.random() < 0.8
        net.fit_scaler(x, rng.normal(50, 7, size=(20, sizes[-1])) if is_scaled else None)
        return net, x.astype(np.float32)
    return net, rng.normal(0, rng.choice([1, 10]), size=(20, sizes[0])).astype(np.float32)


@pytest.mark.parametrize("compiler", COMPILERS)
def test_bits_of_random_networks(tmp_path, compiler):
    rng = np.random.default_rng(len(compiler))
    nets, inputs = zip(*[random_net(rng, last=name) for name in ACTIVATIONS for _ in range(3)], strict=True)
    assert any(map(scales_targets, nets))
    assert_same_bits(nets, inputs, outputs_in_c(tmp_path, nets, inputs, compiler))


def test_two_hundred_random_networks(tmp_path):
    rng = np.random.default_rng(7)
    nets, inputs = zip(*[random_net(rng) for _ in range(200)], strict=True)
    assert_same_bits(nets, inputs, outputs_in_c(tmp_path, nets, inputs))


@pytest.mark.parametrize("compiler", ["c99", "gnu, fused wherever possible"])
def test_activation_functions_at_floats_of_all_sizes(tmp_path, compiler):
    """A network of one neuron is the activation function itself."""
    names = [name for name in ACTIVATIONS if name not in {"linear", "softmax"}]
    nets = [nnpy.NeuralNetwork([1, 1], name, seed=0) for name in names]
    for net in nets:
        net.parameters = [1, 0]
    bits = np.random.default_rng(0).integers(0, 2**32, size=200_000, dtype=np.uint32)
    x = np.concatenate([bits.view(np.float32), np.linspace(-110, 110, 100_001, dtype=np.float32), np.float32(SPECIAL)])
    x = x[np.isfinite(x)].reshape(-1, 1)
    inputs = [x] * len(nets)
    assert_same_bits(nets, inputs, outputs_in_c(tmp_path, nets, inputs, compiler))


def test_softmax_of_large_and_small_logits(tmp_path):
    net = nnpy.NeuralNetwork([6, 6], "softmax", seed=0)
    net.weights[0][...] = np.eye(6)
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(2000, 6)) * rng.choice([1, 20, 60], size=(2000, 1))).astype(np.float32)
    for compiler in ("c99", "gnu, fused wherever possible"):
        assert_same_bits([net], [x], outputs_in_c(tmp_path, [net], [x], compiler))


def test_a_trained_network_with_classes(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 4)).astype(np.float32) * [1, 10, 100, 0.1]
    names = ["low", 'a "quoted" \\ name?', "größer"]
    labels = (x[:, 0] > 0).astype(int) + (x[:, 1] > 0)
    net = nnpy.NeuralNetwork([4, 16, 3], seed=0)
    net.fit(x, labels, epochs=20, seed=0)
    net.export_c(tmp_path / "kinds.h", name="kinds", class_names=names, test_inputs=x[:3])
    (tmp_path / "main.c").write_text("""
#define KINDS_IMPLEMENTATION
#include "kinds.h"
#include <stdio.h>
#if KINDS_NUM_INPUTS != 4 || KINDS_NUM_OUTPUTS != 3 || KINDS_NUM_CLASSES != 3
#error "sizes"
#endif
int main(void)
{
    float in[KINDS_NUM_INPUTS];
    while (fread(in, sizeof in, 1, stdin) == 1) printf("%d %s\\n", kinds_classify(in), kinds_class_name(kinds_classify(in)));
    return kinds_selftest();
}
""")
    program = compile_and_link(tmp_path, "c99", "main.c")
    x32 = np.ascontiguousarray(x, np.float32)
    lines = subprocess.run([program], input=x32.tobytes(), capture_output=True, check=True).stdout.decode().splitlines()
    assert lines == [f"{label} {names[label]}" for label in net.predict_classes(x32)]
    assert len(set(lines)) == 3


def test_digits(tmp_path, mnist_folder):
    """No bit of 10,000 outputs differs; without the fused multiply-add, they differ by 2e-6 at most (docs/export.md)."""
    net = nnpy.load(Path(nnpy.__file__).parent / "data" / "digits.npz")
    net.export_c(tmp_path / "digits.h", name="digits", class_names=np.array(list("0123456789")))
    (tmp_path / "main.c").write_text("""
#define DIGITS_IMPLEMENTATION
#include "digits.h"
#include <stdio.h>
int main(void)
{
    static float in[784], out[10];
    while (fread(in, sizeof in, 1, stdin) == 1) {
        digits_predict(in, out);
        fwrite(out, sizeof out, 1, stdout);
    }
    return 0;
}
""")
    (tmp_path / "fast.c").write_text('#define DIGITS_FAST\n#include "main.c"\n')
    x = nnpy.datasets.load_mnist(mnist_folder).x_test
    exact, fast = (
        np.frombuffer(
            subprocess.run(
                [compile_and_link(tmp_path, "c99", source)], input=x.tobytes(), capture_output=True, check=True
            ).stdout,
            np.float32,
        ).reshape(10_000, 10)
        for source in ("main.c", "fast.c")
    )
    np.testing.assert_array_equal(exact, net.predict(x))
    assert 0 < abs(fast - exact).max() < 2e-6


@pytest.mark.parametrize("last", ["sigmoid", "tanh"])
def test_two_classes_of_one_output(tmp_path, last):
    net = nnpy.NeuralNetwork([2, 5, 1], ["tanh", last], seed=3)
    net.export_c(tmp_path / "two.h", name="two", class_names=["no", "yes"])
    (tmp_path / "main.c").write_text("""
#define TWO_IMPLEMENTATION
#include "two.h"
#include <stdio.h>
int main(void)
{
    float in[2];
    while (fread(in, sizeof in, 1, stdin) == 1) puts(two_class_name(two_classify(in)));
    return 0;
}
""")
    x = np.random.default_rng(0).normal(size=(100, 2)).astype(np.float32) * 3
    program = compile_and_link(tmp_path, "c99", "main.c")
    lines = subprocess.run([program], input=x.tobytes(), capture_output=True, check=True).stdout.decode().split()
    assert lines == [("no", "yes")[label] for label in net.predict_classes(x)]
    assert len(set(lines)) == 2


def test_the_self_test_finds_another_bit(tmp_path):
    net = nnpy.NeuralNetwork([3, 4, 2], "tanh", seed=0)
    net.export_c(tmp_path / "net.h")
    text = (tmp_path / "net.h").read_text()
    bias = re.search(r"net_biases_1\[2\] = \{[^\n]*\n    ([^,]*),", text)
    (tmp_path / "net.h").write_text(text[: bias.start(1)] + "1e-3f" + text[bias.end(1) :])
    (tmp_path / "main.c").write_text(
        '#define NET_IMPLEMENTATION\n#include "net.h"\nint main(void) { return net_selftest(); }\n'
    )
    assert subprocess.run([compile_and_link(tmp_path, "c99", "main.c")], check=False).returncode == 8


def test_several_files_may_include_it(tmp_path):
    nnpy.NeuralNetwork([3, 2], seed=0).export_c(tmp_path / "net.h")
    (tmp_path / "one.c").write_text('#define NET_IMPLEMENTATION\n#include "net.h"\n#include "net.h"\n')
    (tmp_path / "main.c").write_text('#include "net.h"\n#include "net.h"\nint main(void) { return net_selftest(); }\n')
    assert subprocess.run([compile_and_link(tmp_path, "c99", "main.c", "one.c")], check=False).returncode == 0
    if is_x86():
        subprocess.run(["cc", "-O2", "-c", "one.c"], check=True, cwd=tmp_path)
        symbols = subprocess.run(
            ["nm", "-u", "one.o"], capture_output=True, text=True, check=True, cwd=tmp_path
        ).stdout.split()
        assert set(symbols) - {"U", "__stack_chk_fail", "_GLOBAL_OFFSET_TABLE_"} <= {"memcpy", "memcmp", "memset"}


def test_without_the_self_test_and_fast(tmp_path):
    net = nnpy.NeuralNetwork([30, 20, 3], ["gelu", "softmax"], seed=0)
    net.export_c(tmp_path / "net.h")
    (tmp_path / "main.c").write_text("""
#define NET_FAST
#define NET_NO_SELFTEST
#define NET_IMPLEMENTATION
#include "net.h"
#include <stdio.h>
int main(void)
{
    float in[NET_NUM_INPUTS], out[NET_NUM_OUTPUTS];
    while (fread(in, sizeof in, 1, stdin) == 1) {
        net_predict(in, out);
        fwrite(out, sizeof out, 1, stdout);
    }
    return 0;
}
""")
    assert "net_test_inputs" in (tmp_path / "net.h").read_text()
    x = np.random.default_rng(0).normal(size=(50, 30)).astype(np.float32)
    program = compile_and_link(tmp_path, "c99", "main.c")
    out = np.frombuffer(
        subprocess.run([program], input=x.tobytes(), capture_output=True, check=True).stdout, np.float32
    )
    np.testing.assert_allclose(out.reshape(-1, 3), net.predict(x), rtol=1e-5)


def test_fast_math_is_refused(tmp_path):
    nnpy.NeuralNetwork([3, 2], seed=0).export_c(tmp_path / "net.h")
    (tmp_path / "one.c").write_text('#define NET_IMPLEMENTATION\n#include "net.h"\n')
    result = subprocess.run(
        ["cc", "-ffast-math", "-c", "one.c"], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert "-ffast-math changes the results: define NET_FAST if that is wanted" in result.stderr


def test_a_double_of_four_bytes_is_refused_for_a_scaler(tmp_path):
    """As of avr-gcc. Without a scaler no double is needed."""
    net = nnpy.NeuralNetwork([3, 2], "linear", seed=0)
    (tmp_path / "one.c").write_text('#define NET_IMPLEMENTATION\n#include "net.h"\n')
    command = ["cc", "-U__SIZEOF_DOUBLE__", "-D__SIZEOF_DOUBLE__=4", "-c", "one.c"]

    def compile_it(*options):
        net.export_c(tmp_path / "net.h")
        return subprocess.run([*command, *options], capture_output=True, text=True, check=False, cwd=tmp_path)

    assert compile_it().returncode == 0
    x, y = np.float32([[0, 0, 0], [1, 2, 3]]), np.float32([[0, 1], [2, 3]])
    for targets in (y, None):
        net.fit_scaler(x + 1, targets)
        result = compile_it()
        assert result.returncode != 0
        assert "the scaler needs a double of 64 bits to be exact: define NET_FAST" in result.stderr
        assert compile_it("-DNET_FAST").returncode == 0


# ---- The fused multiply-add with integers, for processors without doubles ----


@pytest.mark.parametrize("compiler", COMPILERS)
def test_multiply_add_with_integers(tmp_path, compiler):
    """Against the one in doubles and the instruction, if the compiler uses it."""
    folder = Path(__file__).parent / "c"
    options = ["-Wno-unused-function", f"-I{folder.parent.parent / 'csrc'}"]
    program = compile_and_link(tmp_path, compiler, folder / "test_export_fma.c", *options, "-lm")
    number = "1000000" if compiler == "sanitizers" else "10000000"
    result = subprocess.run([program, number], capture_output=True, text=True, check=False)
    assert (result.stdout, result.stderr, result.returncode) == ("0 wrong\n", "", 0)


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("high |= low != 0;", "high |= low >> 31;"),
        ("(high >> 7 & 1u)) >> 7", "0u) >> 7"),
        ("exponent <= 0", "exponent < 0"),
        ("sum <<= 31;", "sum <<= 30;"),
    ],
    ids=["sticky bit", "ties", "subnormal", "cancellation"],
)
def test_the_test_of_the_multiply_add_notices_a_defect(tmp_path, right, wrong):
    folder = Path(__file__).parent / "c"
    text = (Path(nnpy.__file__).parent / "data" / "predict.c").read_text()
    assert text.count(right) == 1
    (tmp_path / "predict.c").write_text(text.replace(right, wrong))
    test = (folder / "test_export_fma.c").read_text()
    (tmp_path / "test.c").write_text(test.replace("../../nnpy/data/predict.c", "predict.c"))
    options = ["-Wno-unused-function", f"-I{folder.parent.parent / 'csrc'}"]
    program = compile_and_link(tmp_path, "c99", "test.c", *options, "-lm")
    result = subprocess.run([program], capture_output=True, text=True, check=False)
    assert (result.returncode, " instead of " in result.stdout) == (1, True)


@pytest.mark.parametrize("compiler", ["c99", "sanitizers"])
def test_networks_with_the_multiply_add_with_integers(tmp_path, compiler):
    rng = np.random.default_rng(1)
    nets, inputs = zip(*[random_net(rng, last=name) for name in ACTIVATIONS], strict=True)
    options = [f"-DN{number}_INTEGER_FMA" for number in range(len(nets))]
    assert_same_bits(nets, inputs, outputs_in_c(tmp_path, nets, inputs, compiler, options))
    program = compile_and_link(tmp_path, compiler, Path(__file__).parent / "c" / "test_exported.c", "-DINTEGER_FMA")
    assert subprocess.run([program], capture_output=True, text=True, check=False).stdout == "0 wrong\n"


def test_only_what_is_needed_is_written(tmp_path):
    sizes = {}
    for name, other in itertools.product(["relu", "gelu"], ["linear", "softmax"]):
        nnpy.NeuralNetwork([2, 2, 2], [name, other], seed=0).export_c(tmp_path / "net.h")
        text = (tmp_path / "net.h").read_text()
        assert text.isascii()
        assert ("net_gelu(" in text) == (name == "gelu")
        assert ("net_softmax(" in text) == (other == "softmax")
        assert ("net_exp(" in text) == (name == "gelu" or other == "softmax")
        assert "net_scaled" not in text
        sizes[name, other] = len(text)
    assert sizes["relu", "linear"] == min(sizes.values())
    assert " * Layers:          2-2-2, relu, linear\n * Flash:           48 bytes" not in text
    assert " * Layers:          2-2-2, gelu, softmax\n * Flash:           48 bytes of constants, and the code\n" in text
    assert " * Multiply-adds:   8 for a prediction\n" in text


def test_the_memory_that_the_file_states(tmp_path):
    """In bytes: the floats and doubles of the constants; the buffers; for training the parameters and its static buffers."""
    path = tmp_path / "net.h"

    def stated():
        return re.search(
            r"Flash: +([\d,]+) bytes.*\n.*Stack: +([\d,]+) bytes of buffers; (\S+)", path.read_text()
        ).groups()

    net = nnpy.NeuralNetwork([3, 2], "softmax", seed=0)
    net.export_c(path)
    assert stated() == ("32", "0", "no")
    net = nnpy.NeuralNetwork([3, 5, 4, 2], ["tanh", "tanh", "linear"], seed=0)
    net.export_c(path)
    assert stated() == (str(4 * (20 + 24 + 10)), str(4 * (5 + 4)), "no")
    net.fit_scaler(np.float32([[0, 0, 0], [1, 2, 3]]), np.float32([[0, 1], [2, 3]]))
    net.export_c(path, training=True)
    buffers = [
        int(size) for size in re.findall(r"^    static float \w+\[(\d+)\];", path.read_text(), flags=re.MULTILINE)
    ]
    assert sorted(buffers) == sorted([3, 2, 5, 4, 2, 5, 4, 5, 4])  # inputs, targets, activations, slopes, deltas
    assert stated() == (str(4 * 54 + 8 * 10), str(4 * (3 + 5 + 4)), str(4 * (54 + sum(buffers))))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"name": 3}, TypeError, "name must be a string, got 3"),
        ({"name": "Net"}, ValueError, "name must be a C identifier of lower-case letters"),
        ({"name": "a__b"}, ValueError, "got 'a__b'"),
        ({"name": "a_"}, ValueError, "got 'a_'"),
        ({"name": "1a"}, ValueError, "got '1a'"),
        ({"name": "a" * 32}, ValueError, "at most 31 characters"),
        ({"class_names": "abc"}, TypeError, "class_names must be a sequence of strings, got 'abc'"),
        ({"class_names": [1, 2, 3]}, TypeError, r"class_names must be a sequence of strings, got \[1, 2, 3\]"),
        ({"class_names": 3}, TypeError, "class_names must be a sequence of strings, got 3"),
        ({"test_inputs": np.zeros((0, 2))}, ValueError, "^test_inputs must have at least one row, got none$"),
        ({"class_names": ["a", "b"]}, ValueError, "class_names must have a name for each of the 3 classes, got 2"),
        ({"test_inputs": [[1, 2, 3]]}, ValueError, "2 columns"),
        ({"test_inputs": [[1, np.nan]]}, ValueError, "x must be finite"),
    ],
)
def test_refused_arguments(tmp_path, arguments, error, message):
    net = nnpy.NeuralNetwork([2, 3], "softmax", seed=0)
    path = tmp_path / "net.h"
    path.write_text("old")
    with pytest.raises(error, match=message):
        net.export_c(path, **arguments)
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["net.h"]


def test_refused_networks(tmp_path):
    net = nnpy.NeuralNetwork([2, 1], "linear", seed=0)
    with pytest.raises(
        ValueError, match='^class_names need classes; the network has a single output that is "linear"$'
    ):
        net.export_c(tmp_path / "net.h", class_names=["a", "b"])
    net.parameters = [1e30, 1e30, 0]
    with pytest.raises(ValueError, match="^the outputs for the self-test are not finite: other test_inputs may help$"):
        net.export_c(tmp_path / "net.h", test_inputs=[[1e20, 0]])
    net.parameters[0] = np.inf
    with pytest.raises(ValueError, match="^the parameters of the network are not finite$"):
        net.export_c(tmp_path / "net.h")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(OSError, match="No such file"):
        nnpy.NeuralNetwork([2, 1], seed=0).export_c(tmp_path / "none" / "net.h")


def test_the_networks_that_run_on_other_machines_are_those_of_this_version(tmp_path):
    """If not, run tests/c/export.py."""
    path = Path(__file__).parent / "c" / "export.py"
    namespace = runpy.run_path(str(path))
    namespace["export_all"](tmp_path)
    folder = path.parent / "exported"
    assert {p.name: p.read_text() for p in folder.iterdir()} == {p.name: p.read_text() for p in tmp_path.iterdir()}
    names = " ".join(p.read_text() for p in folder.iterdir())
    assert all(f"_{name}(" in names for name in ACTIVATIONS if name != "linear")
    shutil.copytree(folder, tmp_path / "exported")
    shutil.copy(path.parent / "test_exported.c", tmp_path)
    assert subprocess.run([compile_and_link(tmp_path, "c99", "test_exported.c")], check=False).returncode == 0


@pytest.mark.parametrize(
    ("options", "file", "prefix"),
    [
        ([], "mynetv2.h", "mynetv2"),
        (["--name", "digits"], "digits.h", "digits"),
        (["--name", "digits", "--output", "other.h"], "other.h", "digits"),
    ],
)
def test_command(tmp_path, monkeypatch, capsys, options, file, prefix):
    monkeypatch.chdir(tmp_path)
    net = nnpy.NeuralNetwork([2, 3], "softmax", seed=0)
    net.save("2_My net-v2.npz")
    assert main(["export-c", "2_My net-v2.npz", *options]) == 0
    size = (tmp_path / file).stat().st_size
    assert capsys.readouterr().out == f"{file}: {prefix}_predict, {size:,} bytes of text for {net}\n"
    net.export_c("direct.h", name=prefix)
    assert (tmp_path / file).read_text() == (tmp_path / "direct.h").read_text()


def test_command_with_wrong_options(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["export-c", "none.npz"]) == 1
    assert "No such file" in capsys.readouterr().err
    nnpy.NeuralNetwork([2, 3], seed=0).save("net.npz")
    assert main(["export-c", "net.npz", "--name", "A"]) == 1
    assert capsys.readouterr().err.startswith("nnpy export-c: name must be a C identifier of lower-case letters")
    assert [path.name for path in tmp_path.iterdir()] == ["net.npz"]


# ---- Training ----


def training_problem(number, rng):
    """Returns a network with its loss and 20 samples; all losses and activations take turns."""
    hidden = [name for name in ACTIVATIONS if name != "softmax"]
    loss = ("mse", "cross_entropy", "binary_cross_entropy")[number % 3]
    last = {
        "mse": hidden[number % len(hidden)],
        "cross_entropy": "softmax",
        "binary_cross_entropy": ("sigmoid", "linear")[number % 2],
    }
    sizes = [int(size) for size in rng.integers(1, 9, size=rng.integers(2, 5))]
    names = [str(name) for name in rng.choice(hidden, size=len(sizes) - 2)]
    net = nnpy.NeuralNetwork(sizes, [*names, last[loss]], seed=number)
    x = rng.normal(size=(20, sizes[0])).astype(np.float32)
    y = rng.random((20, sizes[-1])).astype(np.float32)
    if loss == "cross_entropy":
        y = np.eye(sizes[-1], dtype=np.float32)[rng.integers(0, sizes[-1], 20)]
    if number % 4 >= 2:
        is_scaled = loss == "mse" and ACTIVATIONS[last[loss]].is_homogeneous
        net.fit_scaler(5 * x + 2, 7 * y + 3 if is_scaled else None)
    return net, loss, x, y


@pytest.mark.parametrize("compiler", ["c99", "gnu, fused wherever possible", "c++", "sanitizers"])
def test_training_has_the_bits_of_partial_fit(tmp_path, compiler):
    rng, rate = np.random.default_rng(0), float(np.float32(0.1))
    problems = [training_problem(number, rng) for number in range(54)]
    assert any(scales_targets(net) for net, *_ in problems)
    includes, body, data = "", "", b""
    for number, (net, loss, x, y) in enumerate(problems):
        name = f"n{number}"
        net.export_c(tmp_path / f"{name}.h", name=name, training=True, loss=loss)
        includes += f'#define N{number}_IMPLEMENTATION\n#include "{name}.h"\n'
        write = "".join(
            f"fwrite({name}_{kind}_{layer}, sizeof {name}_{kind}_{layer}, 1, stdout);"
            for layer in range(len(net.weights))
            for kind in ("weights", "biases")
        )
        body += f"""
    if ({name}_selftest() != 0) return 2;
    for (i = 0; i < 20; i++) {{
        static float in[{x.shape[1]}], target[{y.shape[1]}];
        float loss;
        if (fread(in, sizeof in, 1, stdin) != 1 || fread(target, sizeof target, 1, stdin) != 1) return 1;
        loss = {name}_train(in, target, 0.1f);
        fwrite(&loss, sizeof loss, 1, stdout);
    }}
    {write}"""
        data += b"".join(a.tobytes() + b.tobytes() for a, b in zip(x, y, strict=True))
    (tmp_path / "main.c").write_text(
        f"#include <stdio.h>\n{includes}int main(void)\n{{\n    int i;{body}\n    return 0;\n}}\n"
    )
    program = compile_and_link(tmp_path, compiler, "main.c")
    result = np.frombuffer(subprocess.run([program], input=data, capture_output=True, check=True).stdout, np.float32)
    for net, loss, x, y in problems:
        before = net.parameters.copy()
        losses = [
            net.partial_fit(a[None], b[None], loss=loss, optimizer=nnpy.SGD(rate), batch_size=1)
            for a, b in zip(x, y, strict=True)
        ]
        expected = [losses, *(part for w, b in zip(net.weights, net.biases, strict=True) for part in (w.T.ravel(), b))]
        expected = np.concatenate(expected).astype(np.float32)
        np.testing.assert_array_equal(result[: len(expected)], expected, err_msg=str((net, loss)))
        assert (net.parameters != before).any() or (loss == "cross_entropy" and net.layer_sizes[-1] == 1)
        result = result[len(expected) :]
    assert not result.size


def test_missing_targets_in_training(tmp_path):
    net = nnpy.NeuralNetwork([2, 4, 3], ["tanh", "linear"], seed=0)
    net.export_c(tmp_path / "net.h", training=True)
    (tmp_path / "main.c").write_text("""
#define NET_IMPLEMENTATION
#include "net.h"
#include <stdio.h>
int main(void)
{
    float in[2], target[3], out[3];
    if (fread(in, sizeof in, 1, stdin) != 1 || fread(target, sizeof target, 1, stdin) != 1) return 1;
    net_train(in, target, 0.5f);
    net_predict(in, out);
    fwrite(out, sizeof out, 1, stdout);
    return net_selftest() > 0 ? 0 : 2;
}
""")
    x, y = np.float32([[1, -2]]), np.float32([[3, np.nan, -1]])
    program = compile_and_link(tmp_path, "c99", "main.c")
    out = subprocess.run([program], input=x.tobytes() + y.tobytes(), capture_output=True, check=True).stdout
    net.partial_fit(x, y, optimizer=nnpy.SGD(0.5), batch_size=1, missing="ignore")
    np.testing.assert_array_equal(np.frombuffer(out, np.float32), net.predict(x)[0])


@pytest.mark.parametrize(
    ("last", "options", "error", "message"),
    [
        ("tanh", {"training": 1}, TypeError, "^training must be True or False, got 1$"),
        ("tanh", {"loss": "mse"}, ValueError, "^loss is for training=True$"),
        ("tanh", {"training": True, "loss": "mae"}, ValueError, 'exported for the losses "mse", .*, not "mae"$'),
        ("tanh", {"training": True, "loss": "bce"}, ValueError, 'needs "sigmoid" or "linear" as the last activation'),
        ("softmax", {"training": True, "loss": "mse"}, ValueError, 'exported for the loss "cross_entropy", not "mse"$'),
    ],
)
def test_refused_training(tmp_path, last, options, error, message):
    with pytest.raises(error, match=message):
        nnpy.NeuralNetwork([2, 2], last, seed=0).export_c(tmp_path / "net.h", **options)
    assert list(tmp_path.iterdir()) == []
