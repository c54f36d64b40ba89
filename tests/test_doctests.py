"""The examples in the docstrings."""

import doctest
import importlib
import pkgutil

import pytest

import nnpy

MODULES = ["nnpy"] + [
    f"nnpy.{m.name}" for m in pkgutil.iter_modules(nnpy.__path__) if m.name not in ("__main__", "_libnn")
]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    result = doctest.testmod(importlib.import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE)
    assert result.failed == 0


def test_there_are_examples():
    finder = doctest.DocTestFinder(exclude_empty=True)
    found = {test.name for name in MODULES for test in finder.find(importlib.import_module(name)) if test.examples}
    assert {"nnpy", "nnpy.reference"} <= found
