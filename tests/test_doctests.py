"""The examples in the docstrings are right: those of modules, and those of public classes, their methods and functions."""

import doctest
import importlib
import inspect
import pkgutil

import pytest

import nnpy

MODULES = ["nnpy"] + [
    module.name
    for module in pkgutil.walk_packages(nnpy.__path__, "nnpy.")
    if module.name not in {"nnpy.__main__", "nnpy._libnn"}
]
PUBLIC = [name for name in nnpy.__all__ if name != "__version__"]
FINDER = doctest.DocTestFinder(exclude_empty=True)


def examples_of(name):
    """Examples of a module that is named, or of a public class or function, wherever it is defined."""
    if name in PUBLIC:  # module=False: nnpy says of them that they are its own, and doctest would skip their methods
        return [test for test in FINDER.find(getattr(nnpy, name), name, module=False, globs={}) if test.examples]
    return [test for test in FINDER.find(importlib.import_module(name)) if test.examples]


LIBRARIES = ("keras", "onnx", "safetensors", "torch")  # nnpy._interchange has modules that import one of them


@pytest.mark.parametrize("name", [*MODULES, *PUBLIC])
def test_examples(name):
    if name.startswith("nnpy.sklearn"):
        pytest.importorskip("sklearn", minversion="1.7")
    for library in LIBRARIES:
        if name.startswith(f"nnpy._interchange.{library}_"):
            pytest.importorskip(library)
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    for test in examples_of(name):
        runner.run(test)
    assert runner.summarize(verbose=False).failed == 0


def test_the_examples_are_found():
    """Each section of examples in a public docstring has some, and so have the parts that are used most."""
    found = {test.name for name in PUBLIC for test in examples_of(name)}
    methods = {
        f"{name}.{method}": value
        for name in PUBLIC
        if inspect.isclass(getattr(nnpy, name))
        for method, value in vars(getattr(nnpy, name)).items()
    }
    documented = {**{name: getattr(nnpy, name) for name in PUBLIC}, **methods}
    assert found == {name for name, thing in documented.items() if "\nExamples\n" in (inspect.getdoc(thing) or "")}
    assert {
        "NeuralNetwork",
        "NeuralNetwork.fit",
        "NeuralNetwork.partial_fit",
        "NeuralNetwork.evaluate",
        "load",
    } <= found
    assert {"nnpy", "nnpy.reference"} <= {
        test.name for name in ("nnpy", "nnpy.reference") for test in examples_of(name)
    }
    assert "nnpy._model.Model.forward" in {test.name for test in examples_of("nnpy._model")}
