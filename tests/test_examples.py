"""The short examples run and reach a good score. (The MNIST example is tested in test_mnist_example.py.)"""

import importlib.util
import re
import sys
from pathlib import Path

import numpy as np
import pytest


def example(name):
    path = Path(__file__).parent.parent / "examples" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"{name}_example", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("seed", ["0", "1"])
def test_wine(seed, capsys):
    pytest.importorskip("sklearn")
    assert example("wine").main(["--seed", seed]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "stopped: early" in lines[0]
    right, num = map(int, re.fullmatch(r"(\d+) of (\d+) test wines are classified correctly", lines[1]).groups())
    table = np.array([line.split()[1:] for line in lines[3:]], dtype=int)
    assert table.shape == (3, 3)
    assert (table.sum(), np.trace(table)) == (num, right)
    assert num == 59
    assert right >= 55


def test_confusion():
    table = example("wine").confusion(np.array([0, 0, 1, 2, 2]), np.array([0, 1, 1, 0, 0]), 3)
    np.testing.assert_array_equal(table, [[1, 1, 0], [0, 1, 0], [2, 0, 0]])


@pytest.mark.parametrize("seed", ["0", "1"])
def test_diabetes(seed, capsys):
    """Linear regression has an R^2 of about 0.5 here."""
    pytest.importorskip("sklearn")
    assert example("diabetes").main(["--seed", seed]) == 0
    out = capsys.readouterr().out
    one, mean = map(float, re.findall(r"R\^2 (\S+) on the test", out))
    assert 0.4 < one < 0.7
    assert 0.45 < mean < 0.7
    rows = re.findall(r"^ +(\d+) +(\d+) \+- (\d+)$", out, flags=re.MULTILINE)
    assert len(rows) == 5
    assert all(20 < int(answer) < 350 and 0 < int(spread) < 150 for _, answer, spread in rows)


@pytest.mark.parametrize("name", ["wine", "diabetes"])
def test_bad_options_and_no_data(name, capsys, monkeypatch):
    with pytest.raises(SystemExit):
        example(name).main(["--seed", "-1"])
    assert "--seed must not be negative" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    assert example(name).main([]) == 1
    assert capsys.readouterr().err == f"{name}.py: the data comes with scikit-learn: pip install scikit-learn\n"
