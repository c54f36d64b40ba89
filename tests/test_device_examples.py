"""The examples for devices and the commands of docs/targets: built, and run in emulators. They print what Python computes.

A test is skipped where a program for it is missing. With NNPY_TEST_DEVICES=1, as in .ci/run, that is a failure.
"""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import nnpy

ROOT = Path(__file__).parent.parent
FIRMWARE = ROOT / "examples" / "firmware"
PAGES = ROOT / "docs" / "targets"
DEVICES = ROOT / "tests" / "devices"
ARDUINO = Path("/usr/share/arduino/hardware/arduino/avr")  # of Debian's package arduino-core-avr
M4F = "-mthumb -mcpu=cortex-m4 -mfloat-abi=hard -mfpu=fpv4-sp-d16"
ARM = ("arm-none-eabi-gcc", "qemu-system-arm")

pytestmark = pytest.mark.skipif(os.name == "nt", reason="these tests call programs as they are on Unix")


def need(*programs):
    """Skip the test, or let it fail, if a program is missing."""
    missing = [program for program in programs if shutil.which(str(program)) is None and not Path(program).is_dir()]
    if missing and os.environ.get("NNPY_TEST_DEVICES"):
        pytest.fail(f"NNPY_TEST_DEVICES is set, but there is no {', '.join(map(str, missing))}")
    if missing:
        pytest.skip(f"there is no {', '.join(map(str, missing))}")


def call(command, *arguments, folder=None, env=None):
    """Run a command, words and further arguments, and return what it prints."""
    done = run(command, *arguments, folder=folder, env=env)
    assert done.returncode == 0, done.stdout
    return done.stdout


def run(command, *arguments, folder=None, env=None):
    return subprocess.run(
        [*command.split(), *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        check=False,
        cwd=folder,
        env=env,
        timeout=120,
    )


def qemu(program, *options, board="mps2-an386"):
    """Run firmware, and return its lines."""
    text = "-display none -monitor none -serial none -chardev stdio,id=text"
    semihosting = "-semihosting-config enable=on,target=native,chardev=text"
    return call(f"qemu-system-arm -M {board} {text} {semihosting}", *options, "-kernel", program).splitlines()


def arm_gcc(cpu, program, *sources, folders=()):
    """Compile firmware with the start-up code and the memory of the example."""
    options = "-std=gnu99 -O2 -Wall -Wextra -Wconversion -Werror -ffunction-sections -nostartfiles -specs=nano.specs"
    includes = [f"-I{folder}" for folder in (FIRMWARE, *folders)]
    board = [FIRMWARE / "board.c", "-T", FIRMWARE / "board.ld", "-Wl,--gc-sections"]
    call(f"arm-none-eabi-gcc {cpu} {options}", *includes, "-o", program, *sources, *board)


def script(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # for its NamedTuples
    spec.loader.exec_module(module)
    return module


def code_of(page, language):
    """Return the blocks of code in a page."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


@pytest.fixture
def environment(tmp_path):
    """An environment in which python3 is this Python."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "python3").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    (folder / "python3").chmod(0o755)
    return {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}", "NODE_PATH": "/usr/share/nodejs"}


@pytest.fixture
def copy(tmp_path):
    """A copy of the folders that the commands use."""
    for name in ("examples", "csrc"):
        shutil.copytree(ROOT / name, tmp_path / "copy" / name, ignore=shutil.ignore_patterns("build", "__pycache__"))
    return tmp_path / "copy"


# ---- Firmware that learns ----


@pytest.fixture(scope="module")
def firmware(tmp_path_factory):
    """The folder with the four programs."""
    pytest.importorskip("sklearn")
    need("make", *ARM)
    folder = tmp_path_factory.mktemp("firmware")
    assert script(FIRMWARE / "prepare_digits.py").main(["--folder", str(folder)]) == 0
    call("make PYTHON=false", f"BUILD={folder}", folder=FIRMWARE)
    return folder


def learned_in_python(*, replay):
    """Learn sample by sample. Returns the lines that the firmware is to print."""
    digits = script(FIRMWARE / "prepare_digits.py")
    data = digits.load(0)
    net = digits.train(data, 0)
    streams = [data.learn, data.replay] if replay else [data.learn]
    lines = []
    for step in range(501):
        if step % 50 == 0:
            new, old = (round(net.score(samples.x, samples.labels) * 600) for samples in (data.new, data.old))
            lines.append(f"step {step}: new style {new} of 600, old style {old} of 600")
        if step == 500:
            break
        for samples in streams:
            x, y = samples.x[step % 50][None], np.eye(10, dtype=np.float32)[samples.labels[step % 50]][None]
            net.partial_fit(x, y, optimizer=nnpy.SGD(float(np.float32(0.05))), batch_size=1)
    value = 0x811C9DC5
    for w, b in zip(net.weights, net.biases, strict=True):
        for byte in w.T.tobytes() + b.tobytes():
            value = (value ^ byte) * 0x01000193 % 2**32
    return [*lines, f"parameters {value:08x}"]


@pytest.mark.parametrize(("name", "replay"), [("learn", False), ("learn-replay", True)])
def test_firmware_learns_what_python_learns(firmware, name, replay):
    *lines, stack = qemu(firmware / f"{name}.elf")
    assert lines == learned_in_python(replay=replay)
    assert 300 < int(re.fullmatch(r"stack of a step: (\d+) bytes", stack)[1]) < 2000
    before, after = (list(map(int, re.findall(r"style (\d+) of 600", lines[i]))) for i in (0, -2))
    assert before[0] < 200
    assert after[0] > 450
    assert after[1] > (500 if replay else 400)
    page = (FIRMWARE / "README.md").read_text(encoding="utf-8")
    assert f"<!-- {name}.elf -->\n```\n" + "\n".join(lines) + "\n```\n" in page
    # nn.h rounds differently, which changes no class here.
    *with_nn, stack = qemu(firmware / f"{name.replace('learn', 'learn_nn')}.elf")
    assert with_nn == lines[:-1]
    assert stack.startswith("stack of a step: ")


def test_percentages_of_the_readme():
    pytest.importorskip("sklearn")
    lines = learned_in_python(replay=False)
    (new_0, old_0), (new_1, old_1) = (
        [round(int(number) / 6) for number in re.findall(r"style (\d+) of 600", lines[i])] for i in (0, -2)
    )
    page = (FIRMWARE / "README.md").read_text(encoding="utf-8")
    assert f"from {new_0} % to {new_1} % of 600 test digits" in page
    assert f"from {old_0} % to {old_1} %" in page


def test_firmware_without_a_floating_point_unit(firmware, tmp_path):
    """The same bits from a Cortex-M3, after one pass."""
    samples = (firmware / "samples.h").read_text().replace("NUM_PASSES 10", "NUM_PASSES 1")
    (tmp_path / "samples.h").write_text(samples)
    program = tmp_path / "learn.elf"

    def lines(board, cpu):
        arm_gcc(cpu, program, FIRMWARE / "learn.c", folders=(tmp_path, firmware))
        return qemu(program, board=board)

    m4f, m3 = lines("mps2-an386", M4F), lines("mps2-an385", "-mthumb -mcpu=cortex-m3")
    assert m3[:-1] == m4f[:-1]
    assert [line.split(":")[0] for line in m3[:2]] == ["step 0", "step 50"]
    assert re.fullmatch("parameters [0-9a-f]{8}", m3[2])


def test_cycles_of_a_prediction(firmware, tmp_path):
    """The function of docs/targets/bare-metal.md. In QEMU it counts instructions: 40 in a tick."""
    include, function = code_of(PAGES / "bare-metal.md", "c")
    (tmp_path / "main.c").write_text(f"""#include "board.h"
{include}
{function}
int main(void)
{{
    static const float in[DIGITS_NUM_INPUTS];
    float out[DIGITS_NUM_OUTPUTS];
    board_print_number(cycles(in, out));
    return 0;
}}
""")
    arm_gcc(M4F, tmp_path / "cycles.elf", tmp_path / "main.c", folders=(firmware,))
    (ticks,) = qemu(tmp_path / "cycles.elf", "-icount", "shift=0")
    multiply_adds = 64 * 32 + 32 * 10
    assert multiply_adds < 40 * int(ticks) < 10 * multiply_adds


def test_cost_of_the_exact_multiply_add_without_a_floating_point_unit(firmware, tmp_path):
    """Instructions of a prediction, against those with DIGITS_FAST: the ratio of docs/targets/bare-metal.md."""
    include, function = code_of(PAGES / "bare-metal.md", "c")
    (tmp_path / "main.c").write_text(f"""#include "board.h"
{include}
{function}
int main(void)
{{
    float in[DIGITS_NUM_INPUTS], out[DIGITS_NUM_OUTPUTS];
    int i;
    for (i = 0; i < DIGITS_NUM_INPUTS; i++) {{
        in[i] = (float)(i * 7 % 17) / 16.0f;
    }}
    board_print_number(cycles(in, out));
    return 0;
}}
""")
    page = (PAGES / "bare-metal.md").read_text(encoding="utf-8")
    limit = float(re.search(r"at most (\S+) times the\ninstructions", page)[1])
    for cpu in ("cortex-m0plus", "cortex-m3"):
        ticks = []
        for macro in ("DIGITS_FAST", "DIGITS_EXACT"):
            program = tmp_path / f"{macro}.elf"
            arm_gcc(f"-mthumb -mcpu={cpu} -D{macro}", program, tmp_path / "main.c", folders=(firmware,))
            ticks += map(int, qemu(program, "-icount", "shift=0", board="mps2-an385"))
        fast, exact = ticks
        assert 1 < exact / fast < limit, f"{cpu}: {40 * exact} instructions, {40 * fast} with DIGITS_FAST"


# ---- The exported files ----


@pytest.mark.parametrize(
    ("path", "header"), [("cmake/export_iris.py", "cmake/iris.h"), ("arduino/export_sine.py", "arduino/sine/sine.h")]
)
def test_headers_are_those_of_this_version(tmp_path, path, header):
    """If not, run the script."""
    if "iris" in path:
        pytest.importorskip("sklearn")
    module = script(ROOT / "examples" / path)
    assert module.main(["--folder", str(tmp_path)]) == 0
    assert (tmp_path / Path(header).name).read_text() == (ROOT / "examples" / header).read_text()


@pytest.mark.parametrize("path", ["cmake/export_iris.py", "firmware/prepare_digits.py"])
def test_without_data(tmp_path, monkeypatch, capsys, path):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    module = script(ROOT / "examples" / path)
    assert module.main(["--folder", str(tmp_path)]) == 1
    error = f"{Path(path).name}: the data comes with scikit-learn: pip install scikit-learn\n"
    assert capsys.readouterr().err == error
    assert list(tmp_path.iterdir()) == []


# ---- The pages ----


@pytest.mark.parametrize(
    ("page", "programs", "expected"),
    [
        (
            "cmake",
            ("cmake", "c++", "size"),
            [r"100% tests passed, 0 tests failed out of 3", "\nsetosa\n", "iris_predict\t"],
        ),
        ("webassembly", ("emcc", "node"), ["(?s)virginica 0.0000.*\nvirginica 0.0000"]),
        (
            "bare-metal",
            ("make", *ARM),
            ["step 500: new style", r"digits_weights_0\n", "\tstatic\n", "build/m3-fast/learn.elf"],
        ),
        ("arduino", ("avr-gcc", "avr-size"), ["sine_predict\t", "network.o"]),
    ],
)
def test_commands_of_a_page(copy, environment, page, programs, expected):
    need(*programs)
    if page == "bare-metal":
        pytest.importorskip("sklearn")
    commands = "".join(code_of(PAGES / f"{page}.md", "sh"))
    output = call("bash -euxc", commands, folder=copy, env=environment)
    assert "warning" not in output
    for pattern in expected:
        assert re.search(pattern, output), output


def test_ctest_notices_another_bit(copy):
    need("cmake", "c++")
    folder = copy / "examples" / "cmake"
    text = (folder / "iris.h").read_text()
    bias = re.search(r"iris_biases_1\[3\] = \{[^\n]*\n    ([^,]*),", text)
    (folder / "iris.h").write_text(f"{text[: bias.start(1)]}0.125f{text[bias.end(1) :]}")
    call("cmake -S . -B build", folder=folder)
    call("cmake --build build", folder=folder)
    done = run("ctest --test-dir build", folder=folder)
    assert done.returncode != 0
    assert re.search(r"selftest \.+\*+Failed", done.stdout), done.stdout


def test_webassembly_has_the_bits_of_python(copy, environment):
    need("emcc", "node")
    folder = copy / "examples" / "web"
    options = "-O2 -Wall -Wextra -Werror -I../cmake --no-entry -sSTANDALONE_WASM"
    call(f"emcc {options} -o iris.wasm iris_web.c", folder=folder, env=environment)
    inputs, outputs = vectors(ROOT / "examples" / "cmake" / "iris.h")
    for x, expected in zip(inputs.reshape(6, 4), outputs.reshape(6, 3), strict=True):
        name, *numbers = call("node classify.mjs iris.wasm", *x.tolist(), folder=folder).split()
        np.testing.assert_array_equal(np.float32(numbers), expected)
        assert name == ("setosa", "versicolor", "virginica")[expected.argmax()]


def test_every_activation_in_webassembly(tmp_path, environment):
    """The networks of tests/c/exported, of floats and of integers."""
    need("emcc", "node")
    source = ROOT / "tests" / "c" / "test_exported.c"
    call("emcc -O2 -Wall -Wextra -Werror -sENVIRONMENT=node -o exported.js", source, folder=tmp_path, env=environment)
    assert call("node --no-experimental-fetch exported.js", folder=tmp_path) == "0 wrong\n"


def vectors(header):
    """Return the inputs and outputs of the self-test of an exported network."""
    arrays = re.findall(r"_test_(?:in|out)puts\[\d+\] = \{[^\n]*\n(.*?)\n\};", header.read_text(), flags=re.DOTALL)
    return [np.float32(re.findall(r"([-+.e\d]+)f", text)) for text in arrays]


def test_parameters_from_outside(tmp_path):
    """The code of docs/targets/learning.md, on this machine."""
    need("cc")
    functions = next(block for block in code_of(PAGES / "learning.md", "c") if "set_parameters" in block)
    namespace = {"np": np}
    exec(next(block for block in code_of(PAGES / "learning.md", "python") if "def to_device" in block), namespace)
    old, new = (nnpy.NeuralNetwork([5, 7, 3], ["tanh", "softmax"], seed=seed) for seed in (0, 1))
    old.export_c(tmp_path / "digits.h", name="digits", training=True)
    (tmp_path / "main.c").write_text(f"""{functions}
#include <stdio.h>
static unsigned char bytes[4 * {old.parameters.size}];
void digits_set_parameters(const unsigned char *);
int main(void)
{{
    float in[5] = {{1, -2, 0.5f, 3, -0.25f}}, out[3], target[3] = {{0, 1, 0}};
    if (fread(bytes, sizeof bytes, 1, stdin) != 1) return 1;
    digits_set_parameters(bytes);
    digits_predict(in, out);
    fwrite(out, sizeof out, 1, stdout);
    digits_train(in, target, 0.5f);
    digits_get_parameters(bytes);
    fwrite(bytes, sizeof bytes, 1, stdout);
    return 0;
}}
""")
    call("cc -std=c99 -O2 -Wall -Wextra -Wconversion -Werror -o main main.c", folder=tmp_path)
    message = namespace["to_device"](new)
    result = subprocess.run([tmp_path / "main"], input=message, capture_output=True, check=True).stdout
    x, y = np.float32([[1, -2, 0.5, 3, -0.25]]), np.float32([[0, 1, 0]])
    np.testing.assert_array_equal(np.frombuffer(result[:12], np.float32), new.predict(x)[0])
    namespace["from_device"](old, result[12:])
    new.partial_fit(x, y, optimizer=nnpy.SGD(0.5), batch_size=1)
    np.testing.assert_array_equal(old.parameters, new.parameters)


# ---- Arduino ----


def sine():
    """What the sketch prints in one period."""
    net = nnpy.NeuralNetwork([1, 8, 1], ["tanh", "linear"], seed=0)
    module = script(ROOT / "examples" / "arduino" / "export_sine.py")
    module.train(net)
    return net.predict((np.arange(64) / 64).astype(np.float32).reshape(-1, 1)).ravel()


def test_sketch_on_a_board_of_32_bits(tmp_path):
    """A Cortex-M0+, whose floats are the library's: the same bits."""
    need(*ARM)
    options = "-mthumb -mcpu=cortex-m0plus -O2 -ffunction-sections -Wall -Wextra -Werror"
    call(f"arm-none-eabi-gcc {options} -c -o board.o", FIRMWARE / "board.c", folder=tmp_path)
    options += " -std=gnu++11 -fno-exceptions -fno-rtti -nostartfiles -specs=nano.specs -Wl,--gc-sections -o sketch.elf"
    includes = [f"-I{folder}" for folder in (FIRMWARE, DEVICES, ROOT / "examples" / "arduino" / "sine")]
    sources = [DEVICES / "sketch.cpp", "board.o", "-T", FIRMWARE / "board.ld"]
    call(f"arm-none-eabi-gcc {options}", *includes, *sources, folder=tmp_path)
    lines = qemu(tmp_path / "sketch.elf", board="mps2-an385")
    out = np.array([int(line, 16) for line in lines], np.uint32).view(np.float32)
    np.testing.assert_array_equal(out, sine())


def test_sketch_on_an_uno(tmp_path, start_process):
    """With Arduino's own library. It prints four digits after the point."""
    need("avr-gcc", "avr-size", "simavr", ARDUINO)
    core = ARDUINO / "cores" / "arduino"
    macros = "-DF_CPU=16000000L -DARDUINO=10807 -DARDUINO_AVR_UNO -DARDUINO_ARCH_AVR"
    gcc = f"avr-gcc -mmcu=atmega328p -Os -ffunction-sections -fdata-sections {macros}"
    includes = [f"-I{core}", f"-I{ARDUINO}/variants/standard"]
    cpp = "-std=gnu++11 -fno-exceptions -fno-threadsafe-statics"
    call(f"{gcc} -std=gnu11 -w -c", *includes, core / "wiring.c", core / "hooks.c", folder=tmp_path)
    names = ("main", "Print", "HardwareSerial", "HardwareSerial0", "abi", "new")
    call(f"{gcc} {cpp} -w -c", *includes, *(core / f"{name}.cpp" for name in names), folder=tmp_path)
    sketch = ROOT / "examples" / "arduino" / "sine" / "sine.ino"
    options = "-Wall -Wextra -Werror -include Arduino.h -x c++ -c -o sine.o"
    call(f"{gcc} {cpp} {options}", *includes, sketch, folder=tmp_path)
    call(f"{gcc} -o sine.elf -Wl,--gc-sections", *tmp_path.glob("*.o"), "-lm", folder=tmp_path)
    # The sketch never ends, and simavr writes what it prints to stderr.
    process = start_process(["sh", "-c", "exec simavr -m atmega328p -f 16000000 sine.elf 2>&1"], cwd=tmp_path)
    numbers = []
    while len(numbers) < 64:
        line = process.stdout.readline()
        assert line, "simavr ended"
        numbers += re.findall(r"-?\d\.\d{4}", line)
    np.testing.assert_allclose(np.float64(numbers), sine(), rtol=0, atol=1e-4)
    call(f"{gcc} {cpp} {options} -DSINE_FAST -DSINE_NO_SELFTEST", *includes, sketch, folder=tmp_path)
    call(f"{gcc} -o fast.elf -Wl,--gc-sections", *tmp_path.glob("*.o"), "-lm", folder=tmp_path)
    page = (PAGES / "arduino.md").read_text(encoding="utf-8")
    stated = re.findall(r"takes (\S+) KB of flash and\s(\S+) KB of RAM", page)
    for program, (flash, ram) in zip(("sine.elf", "fast.elf"), stated, strict=True):
        text, data, bss = map(int, call("avr-size", tmp_path / program).splitlines()[1].split()[:3])
        assert (text + data, data + bss) == pytest.approx((1000 * float(flash), 1000 * float(ram)), abs=100)


@pytest.mark.parametrize(
    ("name", "options", "limit"),
    [
        ("classes", "-DOUTPUT=float", 0),
        ("small", "-DOUTPUT=float", 0),
        ("classes", "-DOUTPUT=float -DCLASSES_FAST", 3e-8),
        ("small", "-DOUTPUT=float -DSMALL_FAST", 3e-8),
        ("scaled", "-DOUTPUT=double -DSCALED_FAST", 2e-7),
    ],
)
def test_exported_networks_on_an_avr(tmp_path, name, options, limit):
    """The bits of Python without a scaler; with NAME_FAST the errors are those of docs/targets/arduino.md."""
    need("avr-gcc", "simavr")
    macro = name.upper()
    macros = f'-DNAME={name} -DMACRO={macro} -DHEADER="{name}.h" -D{macro}_IMPLEMENTATION'
    command = f"avr-gcc -mmcu=atmega328p -std=gnu99 -Os -Wall -Wextra -Werror {macros}"
    arguments = ["-I", ROOT / "tests" / "c" / "exported", DEVICES / "exported_avr.c"]
    call(f"{command} {options} -o net.elf", *arguments, folder=tmp_path)
    text = call("simavr -m atmega328p -f 16000000 net.elf", folder=tmp_path)
    num, wrong, error = map(int, re.search(r"(\d+) vectors, (\d+) wrong, error (\d+)", text).groups())
    assert num == 6
    assert (wrong == 0) == (limit == 0)
    assert error <= 1e9 * limit


@pytest.mark.parametrize(("name", "options"), [("classes", ""), ("small", ""), ("scaled", "-DINT8_SCALED_NO_FLOAT")])
def test_networks_of_8_bit_integers_on_an_avr(tmp_path, name, options):
    need("avr-gcc", "simavr")
    macros = f'-DHEADER="int8_{name}.h" -DSELFTEST=int8_{name}_selftest -DINT8_{name.upper()}_IMPLEMENTATION {options}'
    command = f"avr-gcc -mmcu=atmega328p -std=gnu99 -Os -Wall -Wextra -Werror {macros} -o net.elf"
    call(command, "-I", ROOT / "tests" / "c" / "exported", DEVICES / "int8_avr.c", folder=tmp_path)
    assert "0 wrong" in call("simavr -m atmega328p -f 16000000 net.elf", folder=tmp_path)


def test_a_scaler_on_an_avr_is_refused_without_fast(tmp_path):
    need("avr-gcc")
    (tmp_path / "scaled.c").write_text('#define SCALED_IMPLEMENTATION\n#include "scaled.h"\n')
    refused = run("avr-gcc -mmcu=atmega328p -c scaled.c -I", ROOT / "tests" / "c" / "exported", folder=tmp_path)
    assert refused.returncode != 0
    assert "the scaler needs a double of 64 bits to be exact: define SCALED_FAST" in refused.stdout


def test_fused_multiply_add_on_an_avr(tmp_path):
    """The one with integers, where an int has 16 bits: the results of this machine."""
    need("avr-gcc", "simavr", "cc")
    source = DEVICES / "fma_avr.c"
    options = f"-std=gnu99 -Os -Wall -Wextra -Wconversion -Wno-unused-function -Werror -I {ROOT / 'nnpy' / 'data'}"
    call(f"cc {options} -o here", source, folder=tmp_path)
    call(f"avr-gcc -mmcu=atmega328p {options} -o there.elf", source, folder=tmp_path)
    expected = call("./here", folder=tmp_path).strip()
    assert re.fullmatch("[0-9a-f]{8}", expected)
    assert expected in call("simavr -m atmega328p -f 16000000 there.elf", folder=tmp_path)
