"""The C library without Python: it compiles without warnings, its test programs pass, the post's program runs unchanged.

NNPY_TEST_CFLAGS adds flags to every compilation, such as -fsanitize=address,undefined. NNPY_TEST_PROBLEMS is the number of
random problems that the engine is checked with.
"""

import os
import platform
import re
import shutil
import subprocess
from pathlib import Path

import pytest

C = Path(__file__).parent / "c"
CSRC = Path(__file__).parent.parent / "csrc"
WARNINGS = ["-Wall", "-Wextra", "-Wconversion", "-Wsign-conversion", "-Wshadow", "-Wpedantic", "-Werror"]
LANGUAGES = {"c99": ["cc", "-std=c99"], "c11": ["cc", "-std=c11"], "c++": ["c++", "-x", "c++", "-std=c++20"]}

pytestmark = pytest.mark.skipif(os.name == "nt", reason="these tests call cc as it is on Unix")


def compile_c(folder, language, *arguments):
    """Runs the compiler in a folder."""
    command = LANGUAGES[language]
    if shutil.which(command[0]) is None:
        pytest.skip(f"there is no compiler {command[0]}")
    extra = os.environ.get("NNPY_TEST_CFLAGS", "").split()
    subprocess.run([*command, "-O2", "-ffp-contract=off", *extra, "-I", CSRC, *arguments], check=True, cwd=folder)


def build(folder, source, language, *flags):
    """Compiles one source file or a list of them and returns the program."""
    program = folder / "program"
    sources = source if isinstance(source, list) else [source]
    compile_c(folder, language, *flags, "-o", program, *sources, "-lm", "-pthread")
    return program


def run(program, *arguments, **environment):
    return subprocess.run(
        [program, *arguments], capture_output=True, text=True, check=False, env={**os.environ, **environment}
    )


def run_post(program):
    """Runs the post's program, which does not free its network."""
    return run(program, ASAN_OPTIONS="detect_leaks=0")


@pytest.mark.parametrize("flags", [[], ["-DNN_PORTABLE_RAND"], ["-DNDEBUG"]], ids=str)
@pytest.mark.parametrize("language", LANGUAGES)
def test_header_compiles_without_warnings(tmp_path, language, flags):
    source = tmp_path / "all.c"
    source.write_text('#define NN_IMPLEMENTATION\n#include "nn.h"\n#include "nn.h"\nint main(void) { return 0; }\n')
    assert run(build(tmp_path, source, language, *WARNINGS, *flags)).returncode == 0


HEADERS = [
    "kernels/int8.h",
    "kernels/kernels.h",
    *sorted(path.name for path in CSRC.glob("*.h") if path.name != "nn.h"),
]


@pytest.mark.parametrize("language", ["c99", "c++"])
def test_each_header_of_the_engine_compiles_alone(tmp_path, language):
    for number, header in enumerate(HEADERS):
        (tmp_path / f"{number}.c").write_text(f'#include "{header}"\n#include "{header}"\n')
    main = tmp_path / "main.c"
    main.write_text("int main(void) { return 0; }\n")
    sources = [main, *(tmp_path / f"{number}.c" for number in range(len(HEADERS)))]
    assert run(build(tmp_path, sources, language, *WARNINGS)).returncode == 0


def test_header_in_two_files_links(tmp_path):
    one, other = tmp_path / "one.c", tmp_path / "other.c"
    one.write_text('#define NN_IMPLEMENTATION\n#include "nn.h"\n')
    other.write_text('#include "nn.h"\nint main(void) { return !(sigf(0.0f) > 0.4f); }\n')
    assert run(build(tmp_path, one, "c99", other)).returncode == 0


def test_c_library(tmp_path):
    result = run(build(tmp_path, C / "test_nn.c", "c99", *WARNINGS))
    assert result.stderr == ""
    assert result.stdout.splitlines() == [
        "m = [",
        "    1.500000 -2.000000",
        "    0.000000 0.250000",
        "]",
        "nn = [",
        "    weights[0] = [",
        "        2.000000",
        "        2.000000",
        "    ]",
        "    biases[0] = [",
        "        2.000000",
        "    ]",
        "]",
    ]
    assert result.returncode == 0


def test_assertion_on_shapes_that_do_not_fit(tmp_path):
    source = tmp_path / "mistake.c"
    source.write_text(
        "#include <stdlib.h>\n#define NN_ASSERT(c) do { if (!(c)) exit(9); } while (0)\n"
        '#define NN_IMPLEMENTATION\n#include "nn.h"\n'
        "int main(void) { float d[6] = {0}; Matrix a = {2, 3, 3, d}; mat_cpy(a, mat_row(a, 0)); return 0; }\n"
    )
    assert run(build(tmp_path, source, "c99")).returncode == 9


LIBRARY = sorted(CSRC.glob("**/*.c"))
WRAP = "-Wl,--wrap=malloc,--wrap=calloc"  # test_engine lets allocations fail
# A step of a few samples goes through several blocks.
SMALL_BLOCKS = ["-DMAX_BLOCK=13", "-DMIN_BLOCK=13", "-DDEPTH_BLOCK=17"]


@pytest.fixture(scope="module")
def library_objects(tmp_path_factory):
    folder = tmp_path_factory.mktemp("library")
    compile_c(folder, "c99", *WARNINGS, "-c", *LIBRARY)
    return sorted(folder.glob("*.o"))


@pytest.fixture(scope="module", params=["normal blocks", "small blocks"])
def engine_program(request, library_objects, tmp_path_factory):
    folder = tmp_path_factory.mktemp("engine")
    small = request.param == "small blocks"
    library, flags = (LIBRARY, SMALL_BLOCKS) if small else (library_objects, [])
    return build(folder, [C / "test_engine.c", *library], "c99", *WARNINGS, *flags, WRAP)


def test_engine_has_the_bits_of_plain_loops(engine_program):
    result = run(engine_program, os.environ.get("NNPY_TEST_PROBLEMS", "200"))
    assert re.fullmatch(r"seed \d+\n", result.stdout), result.stdout + result.stderr
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize("mode", ["memory", "callers"])
def test_engine_when_memory_runs_out_and_when_several_threads_call_it(engine_program, mode):
    result = run(engine_program, mode)
    assert (result.stdout, result.stderr, result.returncode) == ("", "", 0)


def test_engine_has_the_bits_of_other_machines(engine_program):
    result = run(engine_program, "hash")
    assert result.returncode == 0, result.stdout
    assert result.stdout.split() == (C / "hashes.txt").read_text().split()


def test_networks_of_8_bit_integers(tmp_path, library_objects):
    result = run(build(tmp_path, [C / "test_quantized.c", *library_objects], "c99", *WARNINGS), "200")
    assert re.fullmatch(r"seed \d+\n", result.stdout), result.stdout + result.stderr
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize(
    ("source", "right", "wrong", "message"),
    [
        ("kernels/int8_portable.c", "((uint64_t)1 << (shift - 1))", "(uint64_t)0", "requantize"),
        ("kernels/int8_portable.c", "value > 255 ? 255", "value > 254 ? 254", "requantize"),
        ("quantized.c", "halvings < 15", "halvings < 9", "network"),
    ],
    ids=["rounding", "limit", "softmax"],
)
def test_the_test_of_8_bit_integers_notices_a_defect(tmp_path, library_objects, source, right, wrong, message):
    text = (CSRC / source).read_text()
    assert text.count(right) == 1
    copied = tmp_path / Path(source).name
    copied.write_text(text.replace(right, wrong))
    others = [path for path in library_objects if path.name != f"{copied.stem}.o"]
    result = run(build(tmp_path, [copied, C / "test_quantized.c", *others], "c99", f"-I{CSRC / 'kernels'}"), "40", "1")
    assert (result.returncode, message in result.stdout) == (1, True)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="only x86 has the x87 unit")
@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            ["-mfpmath=387"],
            "nnpy needs arithmetic that rounds to float at each operation: compile for 32-bit x86 with -msse2",
        ),
        (["-Ofast"], "nnpy does not work with -ffast-math or -Ofast"),
    ],
)
def test_engine_refuses_to_compile_with_arithmetic_that_changes_the_bits(flags, message):
    command = ["cc", "-std=gnu11", *flags, "-fsyntax-only", f"-I{CSRC}", str(CSRC / "predict.c")]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode != 0
    assert message in result.stderr


def test_fused_multiply_add_nan_and_environment(tmp_path, library_objects):
    result = run(build(tmp_path, [C / "test_ieee754.c", *library_objects], "c99", *WARNINGS))
    assert (result.stdout, result.stderr, result.returncode) == ("", "", 0)


def test_engine_test_program_notices_a_wrong_bit(tmp_path, library_objects):
    """The scaled inputs of a copy of predict.c are wrong in the last digits."""
    text = (CSRC / "predict.c").read_text()
    right, wrong = "            x = scaled;\n", "            x = scaled;\n            scaled[0] *= 1 + 2e-7f;\n"
    assert text.count(right) == 1
    source = tmp_path / "wrong_predict.c"
    source.write_text(text.replace(right, wrong))
    others = [path for path in library_objects if path.name != "predict.o"]
    result = run(build(tmp_path, [source, C / "test_engine.c", *others], "c99", WRAP), "20", "1")
    assert result.returncode == 1
    assert re.search(r"^(nn_predict_few|predict): element", result.stdout, re.MULTILINE)


def test_random_calls_between_guard_pages(tmp_path, library_objects):
    program = build(tmp_path, [C / "guard_pages.c", *library_objects], "c99", *WARNINGS)
    result = run(program, "300")
    assert result.returncode == 0, result.stdout
    assert re.fullmatch(r"\d+ calls in 2 passes: \d+ ok, .*; \d{4,} comparisons with nn.h\n", result.stdout)


def test_random_calls_of_the_engine(tmp_path, library_objects):
    program = build(tmp_path, [C / "fuzz_engine.c", *library_objects], "c99", *WARNINGS)
    result = run(program, "300", "1")
    assert result.returncode == 0, result.stdout
    assert re.fullmatch(r"seed 1\n\d+ calls: \d+ ok, .*; \d{4,} comparisons with nn.h\n", result.stdout)


@pytest.mark.parametrize(
    ("program", "source", "right", "wrong", "code", "message"),
    [
        ("guard_pages", "samples.c", "i < num && !is_outside", "i <= num && !is_outside", 2, "an access outside"),
        ("guard_pages", "samples.c", "counts[j] += is_number;", "counts[j + 1] += is_number;", 2, "an access outside"),
        (
            "fuzz_engine",
            "predict.c",
            "z, num_outputs);",
            "z, num_outputs - (num_outputs > 1));",
            1,
            "outputs: the largest",
        ),
        (
            "fuzz_engine",
            "predict.c",
            "/ (double)num);",
            "/ (double)num - (backend.num_threads < -1));",
            1,
            "other bits",
        ),
    ],
    ids=["a read", "a write", "outputs", "threads"],
)
def test_random_calls_notice_a_defect(tmp_path, library_objects, program, source, right, wrong, code, message):
    """In a copy of a file of the engine: reads and writes beside an array, wrong outputs, a loss that depends on threads."""
    text = (CSRC / source).read_text()
    assert text.count(right) == 1
    copied = tmp_path / source
    copied.write_text(text.replace(right, wrong))
    others = [path for path in library_objects if path.name != f"{copied.stem}.o"]
    result = run(build(tmp_path, [copied, C / f"{program}.c", *others], "c99"), "300", "1")
    assert result.returncode == code, result.stdout
    assert message in result.stdout


def test_largest_errors_of_the_vector_functions(tmp_path, library_objects):
    """For every 10,007th float; the program takes a minute for all of them. It compares the errors with their bounds."""
    result = run(build(tmp_path, [C / "math_error.c", *library_objects], "c99", *WARNINGS), "10007")
    assert result.returncode == 0, result.stdout
    errors = {line.split()[0]: float(line.split()[1]) for line in result.stdout.splitlines()}
    assert errors.keys() == {"exp", "tanh", "log", "sigmoid", "expm1", "softplus", "normal"}
    assert all(0.5 < error < 3.5 for error in errors.values())  # no function can round every result correctly


@pytest.mark.parametrize("language", ["c99", "c++"])
def test_post_program_runs_unchanged_and_prints_its_figures(tmp_path, language):
    result = run_post(build(tmp_path, C / "post.c", language, "-DNN_PORTABLE_RAND"))
    assert result.returncode == 0
    published = """\
MSE BEFORE: 0.356169
MSE AFTER: 0.000025
0.000000 - 0.000000: 0.004951
0.000000 - 1.000000: 0.995321
1.000000 - 0.000000: 0.994320
1.000000 - 1.000000: 0.004433
"""
    number = re.compile(r"\d\.\d{6}")
    assert number.sub("", result.stdout) == number.sub("", published)
    ours, theirs = ([float(n) for n in number.findall(text)] for text in (result.stdout, published))
    assert ours == pytest.approx(theirs, rel=0, abs=2.1e-6)


def test_post_program_with_the_c_librarys_own_rand(tmp_path):
    result = run_post(build(tmp_path, C / "post.c", "c99"))
    after, *outputs = [float(line.split()[-1]) for line in result.stdout.splitlines()[1:]]
    assert after < 1e-3
    assert outputs == pytest.approx([0, 1, 1, 0], abs=0.05)
