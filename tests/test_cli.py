"""The command ``nnpy``: its options and errors, and the subcommands ``xor`` and ``bench``."""

import io
import os
import re
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest

import nnpy
from nnpy._commands import bench, main, mnist, xor

sends_signals = pytest.mark.skipif(sys.platform == "win32", reason="the test sends a signal")


def run_nnpy(*arguments, **options):
    return subprocess.run(
        [sys.executable, "-m", "nnpy", *arguments], capture_output=True, text=True, check=False, timeout=60, **options
    )


# ---- Options and errors


def test_output_that_the_encoding_of_the_console_does_not_have(monkeypatch):
    """On Windows, output into a file has the encoding cp1252."""
    monkeypatch.setattr(mnist, "run", lambda *_, **__: "saved to \u0151.npz")
    output = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(output, encoding="cp1252", newline="\n"))
    assert main.main(["mnist", "folder", "--quiet"]) == 0
    sys.stdout.flush()
    assert output.getvalue() == b"saved to \\u0151.npz\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["xor", "--iterations", "-1"],
            "nnpy xor: error: argument --iterations: expected a whole number from 0 to 9223372036854775807, got '-1'",
        ),
        (["xor", "--iterations", "ten"], "argument --iterations: expected a whole number from 0 to"),
        (["xor", "--iterations", "1.5"], ", got '1.5'"),
        (["xor", "--iterations", "1e19"], ", got '1e19'"),
        (["xor", "--iterations", "1e999999999"], ", got '1e999999999'"),
        (["xor", "--iterations", "1e-999999999"], ", got '1e-999999999'"),
        (["xor", "--iterations", "nan"], ", got 'nan'"),
        (["xor", "--iterations", "inf"], ", got 'inf'"),
        (["xor", "--iterations", ""], ", got ''"),
        (
            ["xor", "--seed", "4294967296"],
            "argument --seed: expected a whole number from 0 to 4294967295, got '4294967296'",
        ),
        (["xor", "--rate", "0"], "argument --rate: expected a positive number, got '0'"),
        (["xor", "--rate", "1e-60"], "argument --rate: expected a positive number, got '1e-60'"),
        (["xor", "--rate", "inf"], "argument --rate: expected a positive number, got 'inf'"),
        (["xor", "--rate", "nan"], "argument --rate: expected a positive number, got 'nan'"),
        (["xor", "--rate", "fast"], "argument --rate: expected a positive number, got 'fast'"),
        (
            ["bench", "--layers", "784"],
            "nnpy bench: error: argument --layers: expected numbers of neurons such as 784,128,10, got '784'",
        ),
        (["bench", "--layers", "784,0,10"], "expected numbers of neurons such as 784,128,10, got '784,0,10'"),
        (["bench", "--layers", "784-10"], "expected numbers of neurons such as 784,128,10, got '784-10'"),
        (["bench", "--layers", "4,,1"], "expected numbers of neurons such as 784,128,10, got '4,,1'"),
        (
            ["bench", "--layers", "4,1", "--batch-size", "0"],
            "argument --batch-size: expected a whole number from 1 to 2147483647, got '0'",
        ),
        (
            ["bench", "--batch-size", "32"],
            "nnpy bench: error: argument --batch-size: expected together with --layers, such as --layers 784,128,10",
        ),
        ([], "the following arguments are required: COMMAND"),
        (["dance"], "invalid choice: 'dance'"),
    ],
)
def test_wrong_options(capsys, arguments, message):
    with pytest.raises(SystemExit) as exit_:
        main.main(arguments)
    assert exit_.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err


@pytest.mark.parametrize(
    ("text", "value"),
    [("0", 0), ("1000000", 10**6), ("1e6", 10**6), ("1_000_000", 10**6), ("2.5E3", 2500), (str(2**63 - 1), 2**63 - 1)],
)
def test_whole_numbers(monkeypatch, text, value):
    given = []
    monkeypatch.setattr(xor, "table", lambda *arguments: given.append(arguments))
    assert main.main(["xor", "--iterations", text]) == 0
    assert given == [(value, 69, 10.0)]
    assert type(given[0][0]) is int


@pytest.mark.parametrize(
    "error", [OSError("the file"), ValueError("the value"), MemoryError("the memory"), ArithmeticError("the result")]
)
def test_errors_are_one_line_and_status_1(monkeypatch, capsys, error):
    def fail(*_):
        raise error

    monkeypatch.setattr(xor, "table", fail)
    assert main.main(["xor"]) == 1
    assert capsys.readouterr() == ("", f"nnpy xor: {error}\n")


def test_python_m_nnpy(tmp_path):
    result = run_nnpy("--version", cwd=tmp_path)
    assert (result.returncode, result.stdout, result.stderr) == (0, f"nnpy {nnpy.__version__}\n", "")
    help_ = run_nnpy("--help", cwd=tmp_path)
    assert help_.returncode == 0
    for command in ("xor", "bench", "mnist", "draw"):
        assert re.search(rf"^ +{command} ", help_.stdout, re.MULTILINE)


@sends_signals
def test_ctrl_c_in_xor(capsys):
    timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))  # during the loop in C
    timer.start()
    assert main.main(["xor", "--iterations", "1e12"]) == 130
    timer.join()
    assert capsys.readouterr() == ("", "nnpy: interrupted\n")


@sends_signals
def test_ctrl_c_inside_fit_ends_bench(monkeypatch, capsys):
    """fit returns after Ctrl-C instead of raising; bench must not take its result for a complete one."""
    fit = nnpy.NeuralNetwork.fit

    def interrupted_fit(net, *data, **options):
        return fit(net, *data, **options, callbacks=lambda *_: signal.raise_signal(signal.SIGINT))

    monkeypatch.setattr(nnpy.NeuralNetwork, "fit", interrupted_fit)
    assert main.main(["bench", "--layers", "4,3,2"]) == 130
    assert capsys.readouterr() == ("", "nnpy: interrupted\n")


@sends_signals
def test_ctrl_c_inside_mnist(digits_folder, monkeypatch, capsys):
    monkeypatch.setattr(mnist, "_predict_labels", lambda *_: signal.raise_signal(signal.SIGINT))
    assert main.main(["mnist", str(digits_folder), "--no-save"]) == 130
    assert capsys.readouterr() == ("", "nnpy: interrupted\n")


# ---- nnpy xor


def rows_of(table):
    return {line[:12].strip(): line[12:].split() for line in table.splitlines() if line}


def test_xor_compares_with_the_post(capsys):
    assert main.main(["xor"]) == 0
    out = capsys.readouterr().out
    rows = rows_of(out)
    assert "10,000 iterations of gradient descent, rate 10, seed 69" in out
    assert rows[""] == ["nnpy", "post", "nnpy", "post"]
    assert rows["MSE before"] == ["0.356169", "-", "0.356169", "0.356169"]
    assert rows["MSE after"][2:] == ["0.000025", "0.000025"]
    for name, value in {"0 xor 0": 0.004951, "0 xor 1": 0.995321, "1 xor 0": 0.994320, "1 xor 1": 0.004433}.items():
        assert rows[name][1] == "-"
        assert float(rows[name][2]) == pytest.approx(value, abs=2.1e-6)
        assert float(rows[name][3]) == value
    assert re.search(r"^time +\S+ s +- +\S+ s +-$", out, re.MULTILINE)


@pytest.mark.slow
def test_xor_prints_the_times_of_the_post(capsys):
    assert main.main(["xor", "--iterations", "1e6"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"^time +\S+ s +8.08 s +\S+ s +1.67 s$", out, re.MULTILINE)
    assert rows_of(out)["0 xor 0"][:2] == ["0.000663", "0.000663"]
    assert "The post has results" not in out


@pytest.mark.parametrize("option", [["--iterations", "10"], ["--seed", "1"], ["--rate", "0.5"]])
def test_xor_says_what_the_post_has(capsys, option):
    assert main.main(["xor", *option]) == 0
    out = capsys.readouterr().out
    assert set(rows_of(out)["MSE after"][1::2]) == {"-"}
    assert out.endswith("The post has results for 10,000 and 1,000,000 iterations, rate 10 and seed 69.\n")


# ---- nnpy bench


@pytest.fixture
def short_runs(monkeypatch):
    monkeypatch.setattr(bench, "_NUM_RUNS", 1)
    monkeypatch.setattr(bench, "_RUN_SECONDS", 0.01)


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ([], ["XOR, 2-2-1, full batch of 4", "784-30-10, mini-batches of 10"]),
        (["--layers", "20,8,2"], ["20-8-2, mini-batches of 32"]),
        (["--layers", "4,1", "--batch-size", "5e3"], ["4-1, mini-batches of 5000"]),
    ],
)
def test_bench_prints_times_and_speedups(short_runs, capsys, options, names):
    assert main.main(["bench", *options]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[2] == (
        "| time of an iteration | pure Python | numpy | nn.h | nnpy | speedup over pure Python / numpy / nn.h |"
    )
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[4:]]
    assert [row[0] for row in rows] == names
    units = {"s": 1, "ms": 1e-3, "us": 1e-6}
    for row in rows:
        *times, nnpy_time = (float(number) * units[unit] for number, unit in map(str.split, row[1:5]))
        speedups = [float(speedup) for speedup in row[5].split(" / ")]
        assert speedups == pytest.approx([time / nnpy_time for time in times], rel=0.02)  # rounded to 3 digits


@pytest.mark.parametrize("column", ["numpy", "nn.h", "nnpy"])
def test_bench_checks_the_results(short_runs, monkeypatch, capsys, column):
    name = {"numpy": "_train_numpy", "nn.h": "_train_nn_h", "nnpy": "_train_nnpy"}[column]
    train = getattr(bench, name)
    monkeypatch.setattr(bench, name, lambda task, iterations: train(task, iterations) * 1.01)
    assert main.main(["bench", "--layers", "4,3,2"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(
        rf"nnpy bench: {column} and pure Python disagree on 4-3-2, mini-batches of 32: "
        r"their parameters differ by \S+ after 4 iterations\n",
        err,
    )


def test_bench_refuses_results_without_training(short_runs, monkeypatch, capsys):
    for name in ("_train_python", "_train_numpy", "_train_nn_h", "_train_nnpy"):
        monkeypatch.setattr(bench, name, lambda task, iterations: task.initial_parameters)
    assert main.main(["bench", "--layers", "4,3,2"]) == 1
    assert "disagree" in capsys.readouterr().err


def test_bench_trains_each_batch_in_turn():
    """More iterations than batches: the second epoch is a part of one."""
    task = bench._random_task((5, 4, 2), 800)._replace(num_checked=5)
    assert len(task.batches()) == 2
    results = [
        train(task, 5) for train in (bench._train_python, bench._train_numpy, bench._train_nn_h, bench._train_nnpy)
    ]
    assert np.abs(results[0] - task.initial_parameters).max() > 0.01
    for result in results[1:]:
        np.testing.assert_allclose(result, results[0], atol=1e-5)


def test_bench_without_enough_memory(capsys):
    assert main.main(["bench", "--layers", "2e9,2e9,1"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(r"nnpy bench: .*memory.*\n", err)
