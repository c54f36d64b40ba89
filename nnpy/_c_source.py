"""What exported C files have in common: checks of arguments, arrays of numbers, the choice of functions that a file needs."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nnpy._metrics import class_threshold

__all__ = [
    "Source",
    "array",
    "check_class_names",
    "check_name",
    "check_test_inputs",
    "class_name_function",
    "classify_body",
    "functions",
    "num_test_inputs",
]

_LINE = 118  # characters of a line of numbers
_SELFTEST_NUMBERS = 2048  # of the inputs of the self-test, about
_SELFTEST_MAX = 8


@dataclass(frozen=True)
class Source:
    """What is written: the network, its name and what else was asked for. Each kind of network has a subclass."""

    sizes: tuple[int, ...]  # of the layers
    activations: tuple[str, ...]
    name: str
    class_names: tuple[str, ...] | None
    test_inputs: NDArray[np.float32]

    @property
    def macro(self) -> str:
        """The prefix of the macros."""
        return self.name.upper()

    @property
    def has_classes(self) -> bool:
        """Whether the outputs stand for classes."""
        return _has_classes(self.activations[-1], self.sizes[-1])

    @property
    def class_rule(self) -> str:
        """How the class follows from the outputs, for a comment."""
        if self.sizes[-1] > 1:
            return "the index of the largest output"
        return f"1 if the output is above {class_threshold(self.activations[-1])}, else 0"


def check_name(name: str) -> str:
    """Return the prefix of the names in C."""
    if not isinstance(name, str):
        raise TypeError(f"name must be a string, got {name!r}")
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,30}", name) or "__" in name or name.endswith("_"):
        raise ValueError(
            "name must be a C identifier of lower-case letters, digits and single underscores, which begins with a letter and "
            f"has at most 31 characters, got {name!r}"
        )
    return name


def _has_classes(last_activation: str, num_outputs: int) -> bool:
    return num_outputs > 1 or class_threshold(last_activation) is not None


def check_class_names(last: str, num_outputs: int, names: Sequence[str] | None) -> tuple[str, ...] | None:
    """Return the names of the classes of a network with that last activation."""
    if names is None:
        return None
    given: tuple[Any, ...] = (None,) if isinstance(names, str) or not isinstance(names, Iterable) else tuple(names)
    if not all(isinstance(name, str) for name in given):
        raise TypeError(f"class_names must be a sequence of strings, got {names!r}")
    num_classes = 2 if num_outputs == 1 else num_outputs
    if not _has_classes(last, num_outputs):
        raise ValueError(f'class_names need classes; the network has a single output that is "{last}"')
    if len(given) != num_classes:
        raise ValueError(f"class_names must have a name for each of the {num_classes} classes, got {len(given)}")
    return given


def num_test_inputs(num_inputs: int) -> int:
    """Return how many inputs the self-test has by default."""
    return max(1, min(_SELFTEST_NUMBERS // num_inputs, _SELFTEST_MAX))


def check_test_inputs(
    given: ArrayLike, num_inputs: int, check: Callable[[NDArray[Any]], object]
) -> NDArray[np.float32]:
    """Return the inputs of the self-test that were given. check: refuses what is wrong with them."""
    x = np.asarray(given)
    check(x)
    if not len(x):
        raise ValueError("test_inputs must have at least one row, got none")
    return np.ascontiguousarray(x.reshape(len(x), num_inputs), dtype=np.float32)


def classify_body(source: Source, call: str, threshold: str) -> str:
    """Return the lines that call a function, which writes to out, and return the class. threshold: of a single output."""
    if source.sizes[-1] == 1:
        return f"    {call};\n    return out[0] > {threshold};"
    return f"""    int j, best = 0;
    {call};
    for (j = 1; j < {source.macro}_NUM_OUTPUTS; j++) {{
        if (out[j] > out[best]) {{
            best = j;
        }}
    }}
    return best;"""


def class_name_function(name: str, names: Sequence[str]) -> str:
    """Return the definition of the function that returns the name of a class."""
    quoted = ", ".join(_quoted(class_name) for class_name in names)
    return f"""
const char *{name}_class_name(int number)
{{
    static const char *const names[{name.upper()}_NUM_CLASSES] = {{{quoted}}};
    return names[number];
}}
"""


def functions(file: str, roots: Iterable[str], name: str) -> str:
    """Return the functions `roots` of a file in nnpy/data, and those that they call, in the order of the file.

    Their names begin with net_ and NET_ there, which is replaced.
    """
    text = files("nnpy").joinpath("data", file).read_text(encoding="ascii")
    blocks = {block.partition(":")[0]: block.partition("\n") for block in text.split("//@ ")[1:]}
    needs = {function: head.partition(":")[2].split() for function, (head, _, _) in blocks.items()}
    used: set[str] = set()

    def use(function: str) -> None:
        if function not in used:
            used.add(function)
            for other in needs[function]:
                use(other)

    for root in roots:
        use(root)
    code = "".join(body for function, (_, _, body) in blocks.items() if function in used)
    return re.sub(r"\bnet_", f"{name}_", re.sub(r"\bNET_", f"{name.upper()}_", code))


def array(name: str, kind: str, values: NDArray[Any], shape: str, *, is_const: bool = True) -> str:
    """Return the definition of an array, its numbers with as many digits as give back their bits."""
    if values.dtype.kind != "f":
        texts = [str(value) for value in values.tolist()]
    else:
        digits, suffix = (9, "f") if kind == "float" else (17, "")
        texts = [f"{value:.{digits}g}" for value in values.tolist()]
        texts = [(text if re.search(r"[.e]", text) else text + ".0") + suffix for text in texts]
    lines, line = [], "   "
    for text in texts:
        number = text + ","
        if len(line) + len(number) + 1 > _LINE:
            lines.append(line)
            line = "   "
        line += " " + number
    lines.append(line)
    body = "\n".join(lines)
    return f"static {'const ' * is_const}{kind} {name}[{values.size}] = {{ /* {shape} */\n{body}\n}};\n"


def _quoted(text: str) -> str:
    """Return a string literal. What is not ASCII is written as the bytes of UTF-8, in octal."""
    characters = []
    for byte in text.encode("utf-8"):
        character = chr(byte)
        is_plain = 32 <= byte < 127 and character not in '"\\?'
        characters.append(character if is_plain else f"\\{byte:03o}")
    return f'"{"".join(characters)}"'
