"""The C library by itself: it compiles cleanly as C and C++, its test program passes, the post's program runs unchanged.

NNPY_TEST_CFLAGS adds flags to every compilation, such as -fsanitize=address,undefined.
"""

import os
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


def build(folder, source, language, *flags):
    command = LANGUAGES[language]
    if shutil.which(command[0]) is None:
        pytest.skip(f"there is no compiler {command[0]}")
    program = folder / "program"
    sources = source if isinstance(source, list) else [source]
    extra = os.environ.get("NNPY_TEST_CFLAGS", "").split()
    subprocess.run(
        [*command, "-O2", "-ffp-contract=off", *extra, *flags, "-I", CSRC, "-o", program, *sources, "-lm", "-pthread"],
        check=True,
    )
    return program


def run(program, *arguments, **environment):
    return subprocess.run(
        [program, *arguments], capture_output=True, text=True, check=False, env={**os.environ, **environment}
    )


def run_post(program):
    """The post's program does not free its network, which is no concern of the header's."""
    return run(program, ASAN_OPTIONS="detect_leaks=0")


@pytest.mark.parametrize("flags", [[], ["-DNN_PORTABLE_RAND"], ["-DNDEBUG"]], ids=str)
@pytest.mark.parametrize("language", LANGUAGES)
def test_header_compiles_without_warnings(tmp_path, language, flags):
    source = tmp_path / "all.c"
    source.write_text('#define NN_IMPLEMENTATION\n#include "nn.h"\n#include "nn.h"\nint main(void) { return 0; }\n')
    assert run(build(tmp_path, source, language, *WARNINGS, *flags)).returncode == 0


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


ENGINE = [*sorted(CSRC.glob("**/*.c")), C / "test_engine.c"]
FEW = ["-DMAX_BLOCK=13", "-DMIN_BLOCK=13", "-DDEPTH_BLOCK=17"]  # as if a step were large


@pytest.mark.parametrize("flags", [[], FEW], ids=["blocks as they are", "small blocks"])
def test_engine_gives_the_bits_of_plain_loops(tmp_path, flags):
    program = build(tmp_path, ENGINE, "c99", *WARNINGS, *flags, "-Wl,--wrap=malloc,--wrap=calloc")
    result = run(program, os.environ.get("NNPY_TEST_PROBLEMS", "200"))
    assert re.fullmatch(r"seed \d+\n", result.stdout), result.stdout + result.stderr
    assert result.returncode == 0
    assert (run(program, "memory").stdout, run(program, "memory").returncode) == ("", 0)
    assert (run(program, "callers").stdout, run(program, "callers").returncode) == ("", 0)
    hashes = run(program, "hash")
    assert hashes.returncode == 0
    # The bits that every machine gives. They change when a kernel's arithmetic does, and then everywhere.
    assert hashes.stdout.split() == (C / "hashes.txt").read_text().split()


def test_largest_errors_of_the_functions(tmp_path):
    """Of every 10,007th float; the program measures all of them in a minute."""
    program = build(tmp_path, [*sorted(CSRC.glob("**/*.c")), C / "math_error.c"], "c99", *WARNINGS)
    result = run(program, "10007")
    assert result.returncode == 0, result.stdout
    errors = {line.split()[0]: float(line.split()[1]) for line in result.stdout.splitlines()}
    assert errors.keys() == {"exp", "tanh", "log", "sigmoid", "expm1", "softplus", "normal"}
    assert all(0.5 < error < 3.5 for error in errors.values())


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
