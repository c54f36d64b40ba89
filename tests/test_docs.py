"""The documents: their relative links lead somewhere, and the files that they name exist. pytest runs their examples itself."""

import re
from pathlib import Path

import pytest
from document_packages import imported_packages, missing_packages

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
