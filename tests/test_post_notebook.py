"""The chapter docs/post.ipynb: its C is that of csrc/nn.h, its code runs, and nothing of a run is left in the file."""

import json
import re
import textwrap
from pathlib import Path

import pytest

from nnpy._commands import xor

ROOT = Path(__file__).parent.parent
NOTEBOOK = json.loads((ROOT / "docs" / "post.ipynb").read_text(encoding="utf-8"))
CELLS = {cell["id"]: "".join(cell["source"]) for cell in NOTEBOOK["cells"]}
CODE = [cell["id"] for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]
PROSE = "\n\n".join(text for name, text in CELLS.items() if name not in CODE)

FRAGMENTS = re.findall(r"^```c\n(.*?)^```$", PROSE, flags=re.DOTALL | re.MULTILINE)
POST_PROGRAM = FRAGMENTS[[fragment.startswith("#define NN_IMPLEMENTATION") for fragment in FRAGMENTS].index(True)]


def occurs(fragment, source):
    """Whether the lines of a fragment are lines of the source that follow each other, but for a common indentation."""
    lines, wanted = source.splitlines(), textwrap.dedent(fragment).splitlines()
    return any(
        textwrap.dedent("\n".join(lines[i : i + len(wanted)])).splitlines() == wanted
        for i in range(len(lines) - len(wanted) + 1)
    )


@pytest.fixture
def namespace(monkeypatch):
    """What Jupyter has at the start: an empty namespace, and the folder of the notebook as the current one."""
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    from matplotlib import pyplot

    monkeypatch.chdir(ROOT / "docs")
    yield {"__name__": "__main__"}
    pyplot.close("all")


def run(names, namespace):
    for name in names:
        exec(compile(CELLS[name], f"post.ipynb, {name}", "exec"), namespace)


# ---- The C


@pytest.mark.parametrize("fragment", [fragment for fragment in FRAGMENTS if fragment is not POST_PROGRAM])
def test_c_is_quoted_from_the_header(fragment):
    assert occurs(fragment, (ROOT / "csrc" / "nn.h").read_text(encoding="utf-8"))


def test_there_is_c_beside_each_step():
    quoted = "".join(FRAGMENTS)
    for name in (
        "MAT_AT(m, i, j)",
        "nn_forward(NeuralNetwork nn)\n{",
        "diff * diff",
        "/ eps",
        "2 * diff",
        "a * (1 - a)",
    ):
        assert name in quoted
    for name in ("grad.biases[l - 1], 0, j) +=", "grad.weights[l - 1], k, j) +=", "grad.activations[l - 1], 0, k) +="):
        assert quoted.count(name) == 2  # alone, and in the whole function
    assert "-= rate *" in quoted


def test_stale_fragments_are_found():
    source = "int f(void)\n{\n    int a = 1;\n\n    return a;\n}\n"
    assert occurs("    int a = 1;\n\n    return a;\n", source)
    assert occurs("return a;\n", source)
    assert not occurs("    int a = 1;\n    return a;\n", source)
    assert not occurs("return b;\n", source)


def test_the_program_of_the_post_is_complete():
    def lines(text):
        return [line.strip() for line in text.splitlines() if line.strip()]

    assert lines(POST_PROGRAM) == lines((ROOT / "tests" / "c" / "post.c").read_text(encoding="utf-8"))


# ---- The code


def test_code_cells_run(namespace, capsys):
    """They assert what the text says."""
    run(CODE, namespace)
    out = capsys.readouterr().out
    assert out.count("0.356169") >= 5
    assert "weights[0] should be an array of shape (3, 3), got Ellipsis\n" in out  # the exercise is unsolved
    assert namespace["backpropagation"] is namespace["solution"]


def solved(exercise, solution):
    """Fill the gaps of the exercise with the lines of the solution."""
    pairs = list(zip(exercise.splitlines(), solution.splitlines(), strict=True))
    gaps = [line for line, _ in pairs if "= ..." in line]
    assert [re.search(r"# (\d)", line).group(1) for line in gaps] == list("12345")
    assert all(line == other for line, other in pairs[1:] if line not in gaps)
    return "\n".join(other if line in gaps else line for line, other in pairs)


def test_the_exercise_can_be_solved(namespace, capsys):
    """The reader's function is used from then on."""
    last = CODE.index("check-code")
    run([name for name in CODE[: last + 1] if not name.endswith("-check")], namespace)
    exec(solved(CELLS["exercise"], CELLS["solution"]), namespace)
    assert namespace["check"](namespace["my_backpropagation"])
    assert "wrong" not in capsys.readouterr().out
    namespace["is_right"] = True
    run(["solution", "solution-check"], namespace)
    assert namespace["backpropagation"] is namespace["my_backpropagation"]


def test_the_check_names_a_wrong_shape(namespace, capsys):
    run([name for name in CODE[: CODE.index("solution") + 1] if not name.endswith("-check")], namespace)
    text = CELLS["solution"].replace("delta.sum(axis=0) / n", "delta / n")
    exec(text, namespace)
    capsys.readouterr()
    assert not namespace["check"](namespace["solution"])
    assert capsys.readouterr().out == "biases[0] should be an array of shape (3,), got (5, 3)\n"


def test_without_a_compiler(namespace, capsys, monkeypatch):
    run(["imports"], namespace)
    monkeypatch.setattr("shutil.which", lambda name: None)
    run(["c-program-run"], namespace)
    assert capsys.readouterr().out == "There is no C compiler here.\n"


def test_outside_of_the_source_tree(namespace, capsys, monkeypatch, tmp_path):
    run(["imports"], namespace)
    monkeypatch.chdir(tmp_path)
    run(["c-program-run"], namespace)
    assert capsys.readouterr().out == "This notebook is not in nnpy's source tree, so there is nothing to compile.\n"


# ---- The file


def test_format():
    assert (NOTEBOOK["nbformat"], NOTEBOOK["nbformat_minor"]) == (4, 5)
    assert NOTEBOOK["metadata"]["kernelspec"]["name"] == "python3"
    assert len(CELLS) == len(NOTEBOOK["cells"])  # no two cells have the same id
    assert all(re.fullmatch(r"[a-z][a-z0-9-]{1,40}", name) for name in CELLS)


def test_nothing_of_a_run_is_left():
    for cell in NOTEBOOK["cells"]:
        assert set(cell["metadata"]) <= {"tags", "mystnb"}, cell["id"]
        if cell["cell_type"] == "code":
            assert (cell["outputs"], cell["execution_count"]) == ([], None), cell["id"]
    assert set(NOTEBOOK["metadata"]) == {"kernelspec", "language_info"}
    assert not re.search(r"(?<![\w.])/(home|root|tmp|usr|opt|work|Users|mnt)\b|\b[A-Z]:\\\w", "\n".join(CELLS.values()))


def test_published_figures_appear():
    published = xor.PUBLISHED["backpropagation", 10_000]
    figures = [f"{number:.6f}" for number in (published.mse_before, published.mse_after, *published.outputs)]
    assert f"posts = [{', '.join(figures)}]" in CELLS["descent"]
    assert f"post  {figures[0]}" in CELLS["cost-code"]


def test_links_and_named_files():
    links = re.findall(r"\]\(([^)\s]+)\)", PROSE)
    assert len(links) >= 8
    assert [link for link in links if not (ROOT / "docs" / link).is_file()] == []
    names = re.findall(r"`((?:csrc|docs|examples|nnpy|tests)/[\w./-]+)`", PROSE)
    assert len(names) >= 3
    assert [name for name in names if not (ROOT / name).is_file()] == []
