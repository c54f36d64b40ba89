"""The command, as a user calls it."""

import os
import re
import signal
import subprocess
import sys
import time

import pytest

from nnpy._commands import bench as _bench
from nnpy._commands import main as _cli


def nnpy(*arguments, **options):
    return subprocess.run(
        [sys.executable, "-m", "nnpy", *arguments], capture_output=True, text=True, check=False, **options
    )


def test_xor_prints_the_posts_table_beside_ours(capsys):
    assert _cli.main(["xor"]) == 0
    out = capsys.readouterr().out
    rows = {line[:12].strip(): line[12:].split() for line in out.splitlines() if line}
    assert "10,000 iterations of gradient descent, rate 10, seed 69" in out
    assert rows[""] == ["nnpy", "post", "nnpy", "post"]
    assert rows["MSE before"] == ["0.356169", "-", "0.356169", "0.356169"]
    assert rows["MSE after"][2:] == ["0.000025", "0.000025"]
    for name, value in {"0 xor 0": 0.004951, "0 xor 1": 0.995321, "1 xor 0": 0.994320, "1 xor 1": 0.004433}.items():
        assert rows[name][1] == "-"
        assert float(rows[name][2]) == pytest.approx(value, abs=2.1e-6)
        assert float(rows[name][3]) == value
    assert re.search(r"^time +\S+ s +- +\S+ s +-$", out, re.MULTILINE)


def test_xor_has_the_posts_times_for_a_million_iterations(capsys):
    assert _cli.main(["xor", "--iterations", "1000000"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"^time +\S+ s +8.08 s +\S+ s +1.67 s$", out, re.MULTILINE)
    assert out.count("0.000663") == 2
    assert "The post has figures" not in out


def test_xor_with_other_options_says_what_the_post_has(capsys):
    assert _cli.main(["xor", "--iterations", "10", "--seed", "1", "--rate", "0.5"]) == 0
    out = capsys.readouterr().out
    assert "10 iterations of gradient descent, rate 0.5, seed 1" in out
    assert "The post has figures for 10000 and 1000000 iterations, rate 10 and seed 69." in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["xor", "--iterations", "-1"],
            "argument --iterations: a whole number from 0 to 9223372036854775807 is expected",
        ),
        (["xor", "--iterations", "ten"], "is expected, got 'ten'"),
        (["xor", "--seed", "4294967296"], "argument --seed: a whole number from 0 to 4294967295 is expected"),
        (["xor", "--rate", "0"], "argument --rate: a positive number is expected, got '0'"),
        (["xor", "--rate", "1e-60"], "argument --rate: a positive number is expected, got '1e-60'"),
        (["xor", "--rate", "inf"], "argument --rate: a positive number is expected, got 'inf'"),
        (["xor", "--rate", "fast"], "argument --rate: a positive number is expected, got 'fast'"),
        ([], "the following arguments are required: COMMAND"),
        (["dance"], "invalid choice: 'dance'"),
    ],
)
def test_mistakes(capsys, arguments, message):
    with pytest.raises(SystemExit) as exit_:
        _cli.main(arguments)
    assert exit_.value.code == 2
    assert message in capsys.readouterr().err


def test_module_is_the_command(tmp_path):
    result = nnpy("--version", cwd=tmp_path)
    assert re.fullmatch(r"nnpy \d+\.\d+\.\d+\n", result.stdout)
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.skipif(sys.platform == "win32", reason="the test sends a signal")
def test_ctrl_c_ends_the_command_without_a_traceback(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-m", "nnpy", "xor", "--iterations", "1000000000000"],
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
    )
    time.sleep(2)
    os.kill(process.pid, signal.SIGINT)
    assert process.communicate(timeout=20)[1] == "nnpy: interrupted\n"
    assert process.returncode == 130


def test_bench_prints_times_and_ratios(capsys, monkeypatch):
    monkeypatch.setattr(_bench, "_RUNS", 1)
    monkeypatch.setattr(_bench, "_SECONDS", 0.01)
    assert _cli.main(["bench"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "| pure Python | numpy | nn.h | nnpy |" in lines[2]
    assert [line.split("|")[1].strip() for line in lines[4:]] == [
        "XOR, 2-2-1, full batch of 4",
        "784-30-10, batches of 10",
    ]
    for line in lines[4:]:
        assert len(re.findall(r"\d (?:s|ms|us) \|", line)) == 4


def test_bench_stops_where_results_differ(monkeypatch):
    honest = _bench._nnpy
    monkeypatch.setattr(_bench, "_nnpy", lambda work, steps: honest(work, steps) * 1.01)
    with pytest.raises(
        SystemExit, match=r"^nnpy bench: nnpy disagrees with pure Python on XOR, 2-2-1, full batch of 4: by "
    ):
        _bench.table()
