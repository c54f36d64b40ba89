"""The columns of a table as inputs of a network: numbers, and one input for each value of a column of categories.

The input for the value Oslo of the column city is named "city=Oslo". So a saved network knows by its `feature_names` how to
read a table, and no other description is saved.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nnpy._commands.table import Part, Table, clean, counted, quoted, why_no_number

__all__ = ["Encoder", "Input", "category_inputs", "find_inputs"]


class Input(NamedTuple):
    """An input of a network.

    Attributes
    ----------
    name : str
    column : int
        Where it is in the table.
    value : str or None
        The input is 1 where the column has this value, else 0. None for a column of numbers.
    """

    name: str
    column: int
    value: str | None = None


def category_inputs(name: str, column: int, values: Sequence[str]) -> list[Input]:
    """Return an input for each value of a column."""
    return [Input(f"{name}={value}", column, value) for value in values]


def find_inputs(
    table: Table, feature_names: Sequence[str] | None, num_inputs: int, dropped: Sequence[int]
) -> list[Input]:
    """Find the columns that are the inputs of a network: by their names if the network and the table have some, else by place.

    Parameters
    ----------
    table : Table
    feature_names : sequence of str or None
        Those of the network.
    num_inputs : int
    dropped : sequence of int
        Columns that are none.

    Raises
    ------
    ValueError
        If a column is missing, or there are not as many columns as the network has inputs.
    """
    names = None if feature_names is None else list(map(clean, feature_names))
    columns = sorted(set(range(table.width)) - set(dropped))
    if names is None:
        _check_number(table, len(columns), num_inputs, "the network knows no names of columns")
        return [Input(str(column + 1), column) for column in columns]
    if table.names is not None:
        known = {table.names[column]: column for column in columns if table.names[column]}
        readings = [{name, _column_name(name)} for name in names]
        lost: set[str] = set().union(*(reading for reading in readings if reading.isdisjoint(known)))
        for column in dropped:
            if table.names[column] in lost:
                raise ValueError(f"{table.column_name(column)} is an input of the network: it cannot be dropped")
        return _find_by_name(table, names, known)
    order: dict[str, int] = {}  # a header that is missing: the columns as the network has them, one after the other
    for name in names:
        order.setdefault(_column_name(name), len(order))
    _check_number(table, len(columns), len(order), "the table has no header")
    known = {name: columns[number] for name, number in order.items()}
    return _find_by_name(table, names, known)


def _check_number(table: Table, found: int, expected: int, reason: str) -> None:
    if found != expected:
        more = ": --drop leaves columns out, such as --drop -1 for the last one" if found > expected else ""
        raise ValueError(
            f"{table.name} has {counted(found, 'column')}, the network needs {expected} in its order, as {reason}{more}"
        )


def _column_name(feature: str) -> str:
    """Return the name of the column that an input belongs to if it is one for a value of a category."""
    return feature.partition("=")[0]


def _find_by_name(table: Table, names: Sequence[str], known: dict[str, int]) -> list[Input]:
    twice = next((name for name, count in Counter(names).items() if count > 1), None)
    if twice is not None:
        raise ValueError(
            f"the network has several inputs with the name {quoted(twice)}, and columns cannot be found by it"
        )
    inputs: list[Input] = []
    missing: dict[str, None] = {}
    for name in names:
        column, separator, value = name.partition("=")
        if name in known and separator and column in known and column not in names:
            raise ValueError(
                f"{table.name} has the columns {quoted(column)} and {quoted(name)}, and each could be the input {quoted(name)} "
                "of the network: leave one out with --drop"
            )
        if name in known:
            inputs.append(Input(name, known[name]))
        elif separator and column in known:
            inputs.append(Input(name, known[column], value))
        else:
            missing[column] = None
    if missing:
        first, num_others = next(iter(missing)), len(missing) - 1
        more = f" (and {num_others} more that the network needs)" if num_others else ""
        raise ValueError(f"{table.name} has no column {quoted(first)}{more}{table.suggestion(first)}")
    return inputs


class Encoder:
    """Reads the inputs of a network from a table.

    Attributes
    ----------
    num_inputs : int
    """

    def __init__(self, table: Table, inputs: Sequence[Input]) -> None:
        self._table, self.num_inputs = table, len(inputs)
        self._numbers = [(place, item.column) for place, item in enumerate(inputs) if item.value is None]
        self._categories: dict[int, dict[str, int]] = {}
        for place, item in enumerate(inputs):
            if item.value is not None:
                self._categories.setdefault(item.column, {})[item.value] = place

    def encode(self, part: Part) -> tuple[NDArray[np.float64], NDArray[np.bool_], int | None]:
        """Return the inputs for the rows of a part.

        Returns
        -------
        x : ndarray of float64, shape (n, num_inputs)
        is_missing : ndarray of bool, shape (n,)
            The rows where some column is empty.
        column : int or None
            An empty column of the first of them.

        Raises
        ------
        ValueError
            If a cell is no number, or, in a row without missing values, none of the values that the network knows. It names
            the first one.
        """
        x = np.zeros((len(part), self.num_inputs))
        is_missing, column = np.zeros(len(part), dtype=np.bool_), None
        wrong: list[tuple[int, str]] = []
        empty: list[tuple[int, int]] = []
        unknown: list[tuple[int, Sequence[str], NDArray[np.bool_]]] = []
        for place, source in self._numbers:
            values, bad = part.numbers(source)
            if bad:
                reason = why_no_number(part.cells(source)[bad[0]])
                wrong.append((bad[0], f"{self._table.column_name(source)} has {reason}"))
            x[:, place] = values
            self._note_missing(np.isnan(values), source, is_missing, empty)
        for source, places in self._categories.items():
            texts = part.texts(source)
            codes = np.array([places.get(text, -1 if text else -2) for text in texts], dtype=np.int64)
            unknown.append((source, texts, codes == -1))
            rows = np.flatnonzero(codes >= 0)
            x[rows, codes[rows]] = 1
            self._note_missing(codes == -2, source, is_missing, empty)
        for source, texts, is_unknown in unknown:
            # A row with missing values gets no prediction; training left it out, with values that only such rows have.
            rows = np.flatnonzero(is_unknown & ~is_missing)
            if len(rows):
                values_known = sorted(self._categories[source])
                shown = ", ".join(map(quoted, values_known[:10])) + (", ..." if len(values_known) > 10 else "")
                text = quoted(texts[rows[0]])
                wrong.append((int(rows[0]), f"{self._table.column_name(source)} has {text}, the network knows {shown}"))
        if wrong:
            row, message = min(wrong)
            raise ValueError(f"{self._table.place(part.places[row])}: {message}")
        if empty:
            column = min(empty)[1]
        return x, is_missing, column

    @staticmethod
    def _note_missing(
        is_empty: NDArray[np.bool_], source: int, is_missing: NDArray[np.bool_], empty: list[tuple[int, int]]
    ) -> None:
        if is_empty.any():
            is_missing |= is_empty
            empty.append((int(is_empty.argmax()), source))
