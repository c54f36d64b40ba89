"""The documents: their links lead somewhere, the files that they name exist, the reference is complete, and C compiles.

pytest runs the examples in Python itself, and Sphinx (make docs) checks what the pages of the manual say to each other.
"""

import importlib
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from document_packages import imported_packages, missing_packages

import nnpy

ROOT = Path(__file__).parent.parent
DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").glob("**/*.md")),
    *sorted((ROOT / "examples").glob("**/*.md")),
]


def anchor(title):
    """The anchor that GitHub gives to a heading."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def broken_links(path):
    text = path.read_text(encoding="utf-8")
    broken = []
    for target in re.findall(r"\[[^\]]*\]\(([^)\s]+)\)", re.sub(r"```.*?```", "", text, flags=re.DOTALL)):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, fragment = target.partition("#")
        other = (path.parent / file) if file else path
        if not other.exists():
            broken.append(target)
        elif fragment and other.suffix == ".md":
            titles = re.findall(r"^#+ +(.*)$", other.read_text(encoding="utf-8"), flags=re.MULTILINE)
            if fragment not in map(anchor, titles):
                broken.append(target)
    return broken


def missing_files(path):
    """Return the files in backticks that look like paths of the project, and are none."""
    names = re.findall(
        r"`((?:csrc|nnpy|tests|docs|examples|benchmarks|\.ci)/[\w./*-]+)`", path.read_text(encoding="utf-8")
    )
    return [name for name in names if not (ROOT / name).exists() and not any(ROOT.glob(name))]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links(path):
    assert broken_links(path) == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_named_files(path):
    assert missing_files(path) == []


def test_broken_links_are_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "# One title: `x`\n[a](page.md) [b](none.md) [c](#one-title-x) [d](page.md#two) ![e](none.png) [f](https://x.org)\n"
        "```\n[g](code.md)\n```\n`csrc/none.c` `csrc/*.c` `csrc/nn.h`\n"
    )
    assert broken_links(page) == ["none.md", "page.md#two", "none.png"]
    assert missing_files(page) == ["csrc/none.c"]


# ---- The reference ----

REFERENCE = ROOT / "docs" / "reference"


def documented_names():
    """Return the full names of all objects that directives of autodoc on the pages of the reference describe."""
    names = set()
    for page in REFERENCE.glob("*.md"):
        module, text = None, page.read_text(encoding="utf-8")
        for directive, name in re.findall(r"^\.\. (\w+):: (\S+)$", text, flags=re.MULTILINE):
            if directive == "currentmodule":
                module = name
            elif directive in {"autoclass", "autoexception", "autofunction"}:
                names.add(f"{module}.{name}")
    return names


def test_every_public_name_is_in_the_reference():
    names = {f"nnpy.{name}" for name in nnpy.__all__ if name != "__version__"}
    for module in ("nnpy.datasets", "nnpy.plot", "nnpy.reference"):
        names |= {f"{module}.{name}" for name in importlib.import_module(module).__all__}
    # nnpy.sklearn cannot be imported without scikit-learn
    source = (ROOT / "nnpy/sklearn/__init__.py").read_text(encoding="utf-8")
    estimators = re.search(r"^__all__ = \[(.*)\]$", source, flags=re.MULTILINE).group(1)
    names |= {f"nnpy.sklearn.{name}" for name in re.findall(r'"(\w+)"', estimators)}
    assert {"nnpy.NeuralNetwork", "nnpy.sklearn.MLPClassifier"} <= names
    assert documented_names() == names
    assert "`nnpy.__version__`" in (REFERENCE / "networks.md").read_text()


def test_every_method_of_a_network_is_in_a_table_of_the_reference():
    """The tables at the top of the page; below, autodoc takes all methods."""
    page = (REFERENCE / "networks.md").read_text()
    shown = set(re.findall(r"^   NeuralNetwork\.(\w+)$", page, flags=re.MULTILINE))
    assert shown == {name for name in dir(nnpy.NeuralNetwork) if not name.startswith("_")}


@pytest.mark.parametrize("header", ["nn.h", "engine.h"])
def test_functions_of_c_in_the_reference_exist(header):
    """Those of the book are all there."""
    page = (REFERENCE / "c.md").read_text()
    text = page[page.index(f"\n## {header}\n") :].split("\n## ")[1]
    named = set(re.findall(r"`((?:nn|mat)_\w+)`", text))
    declared = set(re.findall(r"^\w[^(){}=/]*?\b\*?(\w+)\(", (ROOT / "csrc" / header).read_text(), flags=re.MULTILINE))
    assert len(named) > 10
    assert named <= declared


def test_example_in_c(tmp_path):
    if (compiler := shutil.which("cc")) is None:
        pytest.skip("no C compiler")
    (program,) = re.findall(r"```c\n(#include <stdio.h>\n.*?)```", (REFERENCE / "c.md").read_text(), flags=re.DOTALL)
    (tmp_path / "example.c").write_text(program)
    flags = ["-std=c99", "-Wall", "-Wextra", "-Werror", f"-I{ROOT / 'csrc'}"]
    subprocess.run([compiler, *flags, "example.c", "-o", "example", "-lm"], cwd=tmp_path, check=True)
    result = subprocess.run([tmp_path / "example"], capture_output=True, text=True, check=True)
    assert result.stdout == "0.356169\n0.000025\n"


# ---- Tables that are shown twice ----


def test_rows_of_the_benchmark_in_the_readme_are_those_of_the_manual():
    texts = [(ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "docs/performance.md", "docs/xor.md")]
    readme, *pages = (set(re.findall(r"^\| .* \|$", text, flags=re.MULTILINE)) for text in texts)
    times = {row for row in readme if re.search(r"\d (us|ms|s) \|", row)}
    assert len(times) > 5
    assert times <= set.union(*pages)


def test_a_document_is_skipped_without_a_package_that_it_imports(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "```python\n>>> import os, no_such_package_a.part as a\n>>> from no_such_package_b import c, d\n>>> def f():\n"
        "...     import no_such_package_c\n>>> from nnpy.sklearn import MLPClassifier\n```\n"
        "import text\n```python\nimport keras\n```\n"
    )
    names = {"os", "no_such_package_a", "no_such_package_b", "no_such_package_c"}
    assert imported_packages(page.read_text()) == names | {"sklearn"}
    assert set(missing_packages(page)) - {"sklearn"} == names - {"os"}
