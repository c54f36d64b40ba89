"""Which part may import which: no circles, and no module knows of a higher layer. The same for the #includes of csrc."""

import ast
import re
from pathlib import Path

import pytest

import nnpy

ROOT = Path(__file__).parent.parent
CSRC = ROOT / "csrc"

# Lowest first. A module may import from its own layer and from those below. "name.*" is everything in that folder.
LAYERS = [
    ["_atomic_write", "_html", "_interrupts", "_libnn", "_npz", "_version"],
    ["_ffi"],
    ["_validation"],
    ["_arrays"],
    ["_activations", "_backend", "_history", "_losses", "_metrics", "_optimizers", "_samples", "_scaler", "_schedules"],
    ["_c_source", "_model", "_quantized_model"],
    [
        *("_training.*", "_inspection", "_export_c", "_export_int8", "_quantization", "_serialization"),
        *("_interchange.extras", "_interchange.metadata", "_interchange.state_dict"),
        *(f"_interchange.{name}" for name in ("keras_models", "onnx_writer", "safetensors_file", "torch_modules")),
    ],
    ["_quantized_network"],
    ["_network"],
    ["_ensemble", "_interchange.*"],
    ["datasets", "plot", "reference", "sklearn.*"],
    ["__init__"],  # what users import; the commands are users, too
    ["_commands.*", "__main__"],
]

# What the kernels may include from outside their folder.
BELOW_KERNELS = {"nn.h", "engine.h", "ieee754.h", "sizes.h", "team.h"}


# ---- Graphs: {name: the names that it imports} ----


def find_circle(graph):
    """Return a circle as [a, b, ..., a], or None."""
    finished = set()

    def visit(name, path):
        if name in path:
            return [*path[path.index(name) :], name]
        if name in finished:
            return None
        for other in sorted(graph.get(name, ())):
            circle = visit(other, [*path, name])
            if circle:
                return circle
        finished.add(name)
        return None

    return next(filter(None, (visit(name, []) for name in sorted(graph))), None)


def layer_of(name, layers):
    """Return the index of the layer that lists a module."""
    for index, layer in enumerate(layers):
        if any(
            name in (entry, entry.removesuffix(".*")) or (entry[-1] == "*" and name.startswith(entry[:-1]))
            for entry in layer
        ):
            return index
    raise LookupError(f"{name}: add this module to the table LAYERS in {Path(__file__).name}")


def imports_upwards(graph, layers):
    """Return the imports from a higher layer, as "a imports b"."""
    return [
        f"{name} imports {other}"
        for name in sorted(graph)
        for other in sorted(graph[name])
        if layer_of(other, layers) > layer_of(name, layers)
    ]


def import_graph(package):
    """Read the imports that a package's modules make of each other, wherever in a file they are.

    Names are relative to the package, which itself is "__init__". Importing ``package.a.b`` also runs the ``__init__.py`` of
    ``package`` and of ``package.a``. That is no import by the module, and not counted.
    """
    modules = {}
    for path in sorted([*package.rglob("*.py"), *package.rglob("*.pyi")]):
        name = ".".join(path.relative_to(package).with_suffix("").parts)
        modules[name.removesuffix(".__init__")] = path
    graph = {}
    for name, path in modules.items():
        is_package = path.stem == "__init__"
        here = [] if name == "__init__" else name.split(".")
        found = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                targets = [alias.name.split(".") for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                base = node.module.split(".") if node.module else []
                if node.level:
                    base = [package.name, *here[: len(here) + is_package * (name != "__init__") - node.level], *base]
                # `from package import a` imports the module package.a if there is one, else a name of the package.
                targets = [
                    [*base, alias.name] if ".".join([*base, alias.name][1:]) in modules else base
                    for alias in node.names
                ]
            else:
                continue
            found.update(".".join(target[1:]) or "__init__" for target in targets if target[0] == package.name)
        graph[name] = found - {name}
    return graph


def include_graph(folder):
    """Read the #include "..." of C files, which are relative to the file or to the folder."""
    graph = {}
    for path in sorted([*folder.rglob("*.c"), *folder.rglob("*.h")]):
        found = set()
        for name in re.findall(r'^[ \t]*#[ \t]*include[ \t]+"(.+)"', path.read_text(encoding="utf-8"), re.MULTILINE):
            beside = (path.parent / name).resolve()
            found.add((beside if beside.exists() else folder / name).resolve().relative_to(folder.resolve()).as_posix())
        graph[path.relative_to(folder).as_posix()] = found
    return graph


# ---- The project ----


def test_no_module_imports_one_that_imports_it():
    circle = find_circle(import_graph(ROOT / "nnpy"))
    assert circle is None, f"a circle of imports: {' -> '.join(circle)}"


def test_no_module_imports_from_a_higher_layer():
    graph = import_graph(ROOT / "nnpy")
    assert len(graph) > 20
    assert imports_upwards(graph, LAYERS) == []


def test_headers_include_each_other_in_no_circle():
    graph = include_graph(CSRC)
    assert graph["nn.h"] == set()
    assert graph["engine.h"] == {"nn.h"}
    circle = find_circle(graph)
    assert circle is None, f"a circle of #includes: {' -> '.join(circle)}"


def test_kernels_know_nothing_of_the_engine_above_them():
    graph = {name: includes for name, includes in include_graph(CSRC).items() if name.startswith("kernels/")}
    assert any("engine.h" in includes for includes in graph.values())
    wrong = [
        f"{name} includes {other}"
        for name, includes in graph.items()
        for other in sorted(includes - BELOW_KERNELS)
        if not other.startswith("kernels/")
    ]
    assert wrong == []


@pytest.mark.parametrize("name", sorted(set(nnpy.__all__) - {"__version__"}))
def test_public_names_say_that_they_are_of_nnpy(name):
    """In messages, pickles and documentation."""
    assert getattr(nnpy, name).__module__ == "nnpy"


def test_dir_shows_the_public_names_only():
    names = {name for name in dir(nnpy) if not (name.startswith("__") and name.endswith("__"))}
    assert set(nnpy.__all__) <= set(dir(nnpy))
    assert names <= {*nnpy.__all__, "datasets", "plot", "reference"}


# ---- The functions above, on packages made for it ----


def write(folder, files):
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


PACKAGE = {
    "__init__.py": "from pkg.high import f\n",
    "low.py": "import os\nimport pkgother\nfrom os import path\n",
    "middle.py": "from pkg import low\n",
    "high.py": "from pkg.middle import x\nfrom pkg.sub.inner import y\nimport pkg.low as low\n",
    "sub/__init__.py": "from . import inner\n",
    "sub/inner.py": "from ..low import z\n",
}


def test_import_graph(tmp_path):
    graph = import_graph(write(tmp_path / "pkg", PACKAGE))
    assert graph == {
        "__init__": {"high"},
        "low": set(),
        "middle": {"low"},
        "high": {"middle", "sub.inner", "low"},
        "sub": {"sub.inner"},
        "sub.inner": {"low"},
    }
    assert find_circle(graph) is None


@pytest.mark.parametrize(
    "text",
    [
        "import pkg.middle\n",
        "from pkg.middle import x\n",
        "from .middle import x\n",
        "from . import middle\n",
        "def f():\n    from pkg import middle\n",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from pkg.middle import X\n",
    ],
)
def test_circle_is_found_and_named(tmp_path, text):
    graph = import_graph(write(tmp_path / "pkg", {**PACKAGE, "low.py": text}))
    assert find_circle(graph) == ["low", "middle", "low"]


def test_circle_through_the_package_itself(tmp_path):
    graph = import_graph(write(tmp_path / "pkg", {**PACKAGE, "low.py": "from pkg import f\n"}))
    assert find_circle(graph) == ["__init__", "high", "low", "__init__"]


def test_layers(tmp_path):
    graph = import_graph(write(tmp_path / "pkg", PACKAGE))
    layers = [["low"], ["sub.*"], ["middle"], ["high"], ["__init__"]]
    assert imports_upwards(graph, layers) == []
    assert imports_upwards(graph, [["sub.*"], ["low"], ["middle", "high"], ["__init__"]]) == ["sub.inner imports low"]
    with pytest.raises(LookupError, match=r"^middle: add this module to the table"):
        imports_upwards(graph, [["low"], ["sub.*"], ["high"], ["__init__"]])


def test_include_graph(tmp_path):
    files = {
        "a.h": '#include <math.h>\n/* #include "c.h" */\n * #include "c.h"\n',
        "k/b.h": '#include "../a.h"\n#  include "c.h"\n',
        "k/c.h": '#include "a.h"\n',
    }
    graph = include_graph(write(tmp_path, files))
    assert graph == {"a.h": set(), "k/b.h": {"a.h", "k/c.h"}, "k/c.h": {"a.h"}}
    assert find_circle(graph) is None
    assert find_circle(include_graph(write(tmp_path, {"a.h": '#include "k/b.h"\n'}))) == ["a.h", "k/b.h", "a.h"]
