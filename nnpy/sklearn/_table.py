"""Tables: turns numbers, categories and missing values of any scale into the inputs of a network.

The encoding is that of RealMLP (D. Holzmueller, L. Grinsztajn and I. Steinwart, "Better by default: strong pre-tuned MLPs and
boosted trees on tabular data", NeurIPS 2024) and, in addition, the piecewise linear encoding of numbers of Y. Gorishniy, I.
Rubachev and A. Babenko, "On embeddings for numerical features in tabular deep learning", NeurIPS 2022.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["NumberColumn", "Table", "TableEncoder"]

_CLIP = 3.0  # the bound of smooth clipping
_MAX_LEVELS = 100  # of a category; the rarer ones are one level
_MAX_BIN_COLUMNS = 400  # of the piecewise linear encoding, over all numbers
_MAX_BIN_ELEMENTS = 100_000_000  # of all rows of these columns: 400 MB
_MAX_BINS = 24  # of one number
_SAMPLES_PER_BIN = 10


class Table:
    """The columns of a data frame or of an array.

    Attributes
    ----------
    columns : list of ndarray
        float64 for numbers, with NaN for missing values; objects for categories, with None for missing values.
    is_category : list of bool
    num_rows : int
    """

    def __init__(self, x: Any, categories: Sequence[bool] | None = None) -> None:
        """Read the columns of a data frame (pandas, polars) or of a 2-D array.

        categories: for each column, whether it is a category; None to see it from the dtypes.
        """
        self.num_rows = len(x)
        given = [x[name] for name in x.columns] if hasattr(x, "columns") else list(x.T)
        self.columns: list[NDArray[Any]] = []
        self.is_category: list[bool] = []
        for number, column in enumerate(given):
            values = _values(column)
            is_category = _is_category(column, values) if categories is None else categories[number]
            self.columns.append(_levels(values) if is_category else _numbers(values, number))
            self.is_category.append(is_category)

    def take(self, rows: NDArray[np.intp]) -> Table:
        """Return a table of some of the rows."""
        table = copy(self)
        table.num_rows, table.columns = len(rows), [column[rows] for column in self.columns]
        return table


def _values(column: Any) -> NDArray[Any]:
    """Return the values of a column. Times with a time zone are those of UTC."""
    if str(column.dtype).startswith("datetime64"):  # pandas gives objects if there is a time zone
        return np.asarray(column, dtype="datetime64[us]")
    values = np.asarray(column.to_numpy() if hasattr(column, "to_numpy") else column)
    if values.dtype.kind == "O" and {type(value) for value in values if not _is_missing(value)} == {date}:
        values = np.array([None if _is_missing(value) else value for value in values], dtype="datetime64[us]")
    return values


def _is_category(column: Any, values: NDArray[Any]) -> bool:
    """Whether a column holds categories: by its dtype, or by its values where the dtype is object."""
    name = str(column.dtype).lower()
    if name.startswith(("category", "categorical", "enum", "str", "<u", "utf8")):
        return True
    if values.dtype.kind in "US":
        return True
    return values.dtype.kind == "O" and not all(
        _is_missing(v) or isinstance(v, (int, float, complex, np.number, Decimal)) for v in values
    )


def _is_missing(value: Any) -> bool:
    """Whether a value is None, NaN, NaT or pandas.NA."""
    if value is None:
        return True
    try:
        return bool(value != value)  # noqa: PLR0124
    except TypeError:  # pandas.NA has no truth value
        return True
    except ValueError:  # an array
        return False


def _numbers(values: NDArray[Any], number: int) -> NDArray[np.float64]:
    """Return float64, NaN where a value is missing. Times become days."""
    if values.dtype.kind in "mM":
        missing = np.isnat(values)
        values = (
            values.astype("datetime64[us]" if values.dtype.kind == "M" else "timedelta64[us]").astype(np.int64) / 86.4e9
        )
        return np.where(missing, np.nan, values)
    if values.dtype.kind == "O":
        values = np.array([np.nan if _is_missing(value) else value for value in values], dtype=object)
        if any(isinstance(value, (complex, np.complexfloating)) for value in values):
            raise ValueError("Complex data not supported")
    if values.dtype.kind == "c":
        raise ValueError("Complex data not supported")
    try:
        numbers = values.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"column {number} must hold numbers: {error}") from None
    if np.isinf(numbers).any():
        raise ValueError(f"Input X contains infinity: column {number}, row {int(np.argmax(np.isinf(numbers)))}")
    return numbers


def _levels(values: NDArray[Any]) -> NDArray[Any]:
    """Return the levels as text, and None where a value is missing. A number that is whole has no decimals."""
    levels = np.empty(len(values), dtype=object)
    for row, value in enumerate(values):
        if type(value).__hash__ is None:
            raise TypeError(f"the argument must be a string or a number, got {value!r} for a category")
        if isinstance(value, (float, np.floating)) and float(value).is_integer():
            value = int(value)  # noqa: PLW2901
        levels[row] = None if _is_missing(value) else str(value)
    return levels


@dataclass
class NumberColumn:
    """How a number is encoded."""

    center: float
    scale: float
    has_missing: bool
    edges: NDArray[np.float64]  # of the bins of the piecewise linear encoding; fewer than 3 for none

    @classmethod
    def fit(cls, values: NDArray[np.float64], num_bins: int) -> NumberColumn:
        """Look at the values of the training samples."""
        known = values[~np.isnan(values)]
        if not known.size:
            return cls(0.0, np.inf, has_missing=False, edges=np.empty(0))
        low, first, center, third, high = np.quantile(known, [0, 0.25, 0.5, 0.75, 1])
        scale = third - first or (high - low) / 2 or np.inf  # a constant says nothing: 0, also for other values later
        num_bins = min(num_bins, max(2, known.size // _SAMPLES_PER_BIN)) if num_bins >= 2 else 0
        edges = np.unique(np.quantile(known, np.linspace(0, 1, num_bins + 1)))
        return cls(float(center), float(scale), has_missing=known.size < values.size, edges=edges)

    def plain(self, values: NDArray[np.float64]) -> list[NDArray[np.float64]]:
        """Return the robustly scaled values, smoothly clipped to -3..3; and, if there may be, which ones are missing."""
        missing = np.isnan(values)
        with np.errstate(over="ignore", invalid="ignore"):
            scaled = (np.where(missing, self.center, values) - self.center) / self.scale
            clipped = scaled / np.hypot(1.0, scaled / _CLIP)
        clipped = np.where(np.isnan(clipped), np.sign(scaled) * _CLIP, clipped)  # of infinity
        return [clipped, missing.astype(np.float64)] if self.has_missing else [clipped]

    @property
    def num_bins(self) -> int:
        """The number of columns of the piecewise linear encoding."""
        return len(self.edges) - 1 if len(self.edges) > 2 else 0

    def binned(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the piecewise linear encoding less 1/2, shape (n, num_bins).

        A missing value is 0 if training had some, else the median.
        """
        if not self.has_missing:
            values = np.where(np.isnan(values), self.center, values)
        widths = np.diff(self.edges)
        with np.errstate(over="ignore"):
            share = np.clip((values[:, None] - self.edges[:-1]) / widths, 0.0, 1.0) - 0.5
        return np.nan_to_num(share, nan=0.0)


@dataclass
class TableEncoder:
    """Encodes a table as float32.

    Attributes
    ----------
    columns : list of NumberColumn or list of str
        For each column of the table, how its numbers are encoded, or the levels that have a column of their own.
    num_plain : int
        The number of columns without the piecewise linear encoding, which comes last.
    num_columns : int
    """

    columns: list[NumberColumn | list[str | None]] = field(default_factory=list)
    num_plain: int = 0
    num_columns: int = 0

    @classmethod
    def fit(cls, table: Table) -> TableEncoder:
        """Choose the encoding from the training samples."""
        num_numbers = max(1, table.is_category.count(False))
        num_columns = min(_MAX_BIN_COLUMNS, _MAX_BIN_ELEMENTS // max(1, table.num_rows))
        num_bins = min(num_columns // num_numbers, _MAX_BINS)
        encoder = cls()
        for values, is_category in zip(table.columns, table.is_category, strict=True):
            if is_category:
                levels = _frequent_levels(values)
                encoder.columns.append(levels)
                encoder.num_plain += len(levels)
            else:
                column = NumberColumn.fit(values, num_bins)
                encoder.columns.append(column)
                encoder.num_plain += 1 + column.has_missing
        bins = sum(column.num_bins for column in encoder.columns if isinstance(column, NumberColumn))
        encoder.num_columns = encoder.num_plain + bins
        return encoder

    def encode(self, table: Table) -> NDArray[np.float32]:
        """Return the inputs of the networks, shape (n, num_columns)."""
        out = np.zeros((table.num_rows, self.num_columns), dtype=np.float32)
        plain, binned = 0, self.num_plain
        for values, column in zip(table.columns, self.columns, strict=True):
            if isinstance(column, NumberColumn):
                for numbers in column.plain(values):
                    out[:, plain] = numbers
                    plain += 1
                if column.num_bins:
                    out[:, binned : binned + column.num_bins] = column.binned(values)
                    binned += column.num_bins
            else:
                places = {level: plain + place for place, level in enumerate(column)}
                where = np.fromiter((places.get(level, -1) for level in values), dtype=np.intp, count=len(values))
                known = np.flatnonzero(where >= 0)
                out[known, where[known]] = 1.0
                plain += len(column)
        return out


def _frequent_levels(values: NDArray[Any]) -> list[str | None]:
    """Return the levels of a category that have a column of their own, the most frequent first."""
    counts: Counter[str | None] = Counter(values.tolist())
    return sorted(counts, key=lambda level: (-counts[level], str(level)))[:_MAX_LEVELS]
