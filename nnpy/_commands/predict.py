"""``nnpy predict``: reads a saved network and a table, and writes a prediction for each row as CSV.

The table is read, and the predictions are written, a part at a time: it may be larger than memory.
"""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import numpy as np
from numpy.typing import NDArray

import nnpy
from nnpy._atomic_write import replacing
from nnpy._commands import files
from nnpy._commands.columns import Encoder, find_inputs
from nnpy._commands.table import Format, Part, Table, open_table

__all__ = ["run"]

Network = nnpy.NeuralNetwork | nnpy.QuantizedNetwork


def run(
    model: str,
    path: str,
    format_: Format,
    *,
    output: Path | None = None,
    keep: bool = False,
    drop: str | None = None,
    skip_missing: bool = False,
) -> None:
    """Write predictions as CSV.

    Parameters
    ----------
    model : str
        A saved network, of floats or of integers.
    path : str
        The table; "-" is the standard input.
    format_ : Format
    output : Path or None
        The file to write, which appears when it is complete; None for the standard output.
    keep : bool
        Write the columns of the table, too.
    drop : str or None
        Columns that are no inputs, where columns have no names.
    skip_missing : bool
        Write empty cells for rows with missing values; else they are an error.

    Raises
    ------
    OSError, ValueError, ImportError
        If a file cannot be read or written, or the table does not fit the network.
    """
    net = files.load(model)
    if output is not None:
        files.check_writable(output)
        for other in (model, path):
            if other != "-" and output.exists() and output.samefile(other):
                raise ValueError(f"{output} is read by this command: --output names another file")
    outputs = _Outputs.of(net, model)
    with open_table(path, format_) as table:
        inputs = find_inputs(table, net.feature_names, net.layer_sizes[0], table.find_all(drop or ""))
        encoder = Encoder(table, inputs)
        kept = list(range(table.width)) if keep else []
        kept_names = [table.names[i] if table.names is not None else str(i + 1) for i in kept]
        head = [[*kept_names, *_different(outputs.names, kept_names)]]
        with _open_output(output) as file:
            writer = csv.writer(file, lineterminator="\n")
            for part in table.parts():
                columns: list[Iterable[str]] = [part.cells(column) for column in kept]
                columns += _predict(net, outputs, table, part, encoder, skip_missing=skip_missing)
                writer.writerows(head)  # not before an error in the first rows
                writer.writerows(zip(*columns, strict=True))
                head = []
            writer.writerows(head)


def _different(names: Iterable[str], taken: Iterable[str]) -> list[str]:
    """Return names of columns that differ from each other and from those that are taken."""
    known, found = set(taken), []
    for name in names:
        new = name
        while new in known:
            new = f"predicted {new}"
        known.add(new)
        found.append(new)
    return found


@contextmanager
def _open_output(path: Path | None) -> Iterator[TextIO]:
    """Open the output: UTF-8, as the tables that nnpy reads."""
    if path is None:
        if sys.stdout is None:
            raise OSError("the standard output is closed: --output FILE.csv writes a file")
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(encoding="utf-8", errors="surrogateescape")
        yield sys.stdout
        return
    with replacing(path) as file:
        text = io.TextIOWrapper(file, "utf-8", newline="", write_through=True)
        yield text
        text.detach()


def _predict(
    net: Network, outputs: _Outputs, table: Table, part: Part, encoder: Encoder, *, skip_missing: bool
) -> list[Iterable[str]]:
    """Return the columns to write for the rows of a part."""
    x, is_missing, column = encoder.encode(part)
    if column is not None and not skip_missing:
        row = int(is_missing.argmax())
        raise ValueError(
            f"{table.place(part.places[row])}: {table.column_name(column)} has no value; --skip-missing writes no prediction "
            "for rows with missing values"
        )
    try:
        columns = outputs.columns(net, x[~is_missing])
    except ValueError as error:  # numbers that are too large once they are scaled
        raise ValueError(f"{table.place_of(part)}: {error}") from error
    if column is None:
        return columns
    rows = np.cumsum(~is_missing) - 1
    return [
        ["" if no else values[row] for no, row in zip(is_missing, rows, strict=True)] for values in map(list, columns)
    ]


class _Outputs(NamedTuple):
    """What the outputs of a network mean.

    Attributes
    ----------
    names : tuple of str
        Of the columns to write.
    classes : tuple of str or None
        None for a regression.
    """

    names: tuple[str, ...]
    classes: tuple[str, ...] | None

    @classmethod
    def of(cls, net: Network, model: str) -> _Outputs:
        """Find out what the outputs mean: classes if these have names, or the last layer is a softmax."""
        num_outputs, classes = net.layer_sizes[-1], net.class_names
        if classes is None and net.activations[-1] == "softmax":
            classes = tuple(map(str, range(num_outputs)))
        if classes is not None:
            target = net.target_names[0] if net.target_names is not None else "class"
            last = net.activations[-1]
            if num_outputs == 1 and last not in {"sigmoid", "tanh"}:
                raise ValueError(
                    f"{model}: the network has names of classes and a single {last} output, which has no threshold for them"
                )
            # The probability of the classes; a single tanh output is brought to the range 0 to 1.
            is_share = last in {"softmax", "sigmoid"} or num_outputs == 1
            return cls((target, *(f"P({name})" if is_share else f"output {name}" for name in classes)), classes)
        names = net.target_names
        if names is None or len(names) != num_outputs:
            prefix = "output" if names is None else names[0]
            names = (prefix,) if num_outputs == 1 else tuple(f"{prefix} {i + 1}" for i in range(num_outputs))
        return cls(names, None)

    def columns(self, net: Network, x: NDArray[np.float64]) -> list[Iterable[str]]:
        """Return the columns to write for some inputs."""
        out: NDArray[Any] = net.predict(x)
        if self.classes is None:
            return [_format(values, "%.9g") for values in out.T]
        classes = net.predict_classes(x)
        if out.shape[1] == 1:
            share = out[:, 0] if net.activations[-1] != "tanh" else (out[:, 0] + 1) / 2
            out = np.column_stack([1 - share, share])
        return [[self.classes[i] for i in classes.tolist()], *(_format(values, "%.6g") for values in out.T)]


def _format(values: NDArray[Any], template: str) -> Sequence[str]:
    return [template % value for value in values.tolist()]
