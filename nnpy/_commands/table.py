"""Tables for `nnpy train` and `nnpy predict`: CSV, and Parquet where pyarrow is installed, read in parts of some thousand rows.

Nothing here knows what a column is for. Errors are a ValueError of one line, which names the file and the line.
"""

from __future__ import annotations

import csv
import io
import re
import sys
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nnpy._validation import FLOAT_MAX

__all__ = [
    "Format",
    "Numbers",
    "Part",
    "Table",
    "clean",
    "counted",
    "has_decimal_comma",
    "is_not_finite",
    "open_table",
    "parse_numbers",
    "quoted",
    "split_names",
    "why_no_number",
]

_CELLS = 10_000  # of a part of a CSV file: Python is twice as fast on strings that stay in the cache
_ROWS_MIN = 100  # of such a part, as each column of it takes some microseconds
_ROWS = 10_000  # of a part of a Parquet file
_CELL_MAX = 2**24  # characters; with a quote that is missing, all that follows is a cell
_LINES_LOOKED_AT = 20  # to find the delimiter
_DELIMITERS = ("\t", ";", ",")
_MISSING = frozenset({"", "na", "n/a", "#n/a", "nan", "null", "none", "?"})  # in lower case, in a column of numbers
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+")
_OTHER_FILES = {  # by their first bytes, which are no beginning of a header
    b"PK\3\4": "is a spreadsheet or another zip file: save the table as CSV",
    b"\x1f\x8b": "is compressed: gzip -dc FILE | nnpy COMMAND ... reads it, with - as the name of the table",
    b"PAR1\x15": "is a Parquet file: its name must end in .parquet",
}


class Format(NamedTuple):
    """How a CSV file is written; what is None is found out.

    Attributes
    ----------
    delimiter : str or None
        Between cells.
    decimal : {".", ","}
        The decimal point of numbers.
    has_header : bool
        Whether the first line has the names of the columns.
    encoding : str or None
        UTF-8 if it is None, or UTF-16 if the file begins with its byte order mark.
    """

    delimiter: str | None = None
    decimal: str = "."
    has_header: bool = True
    encoding: str | None = None

    def arguments(self) -> list[str]:
        """Return the options of a command that say the same."""
        delimiter = "tab" if self.delimiter == "\t" else self.delimiter
        options = {"--delimiter": delimiter, "--encoding": self.encoding}
        options |= {"--decimal": self.decimal if self.decimal != "." else None}
        found = [part for name, value in options.items() if value is not None for part in (name, value)]
        return found if self.has_header else [*found, "--no-header"]


class Numbers(NamedTuple):
    """A column as numbers.

    Attributes
    ----------
    values : ndarray of float64, shape (n,)
        NaN where a cell is empty, or is no number.
    wrong : list of int
        The cells that are neither empty nor a number that float32 can hold.
    """

    values: NDArray[np.float64]
    wrong: list[int]


class Part(ABC):
    """Some consecutive rows of a table.

    Attributes
    ----------
    places : sequence of int
        Where each row is in the file, counted from 1: the line, or the row of a Parquet file.
    """

    places: Sequence[int]

    def __len__(self) -> int:
        return len(self.places)

    @abstractmethod
    def numbers(self, column: int) -> Numbers:
        """Return a column as numbers."""

    @abstractmethod
    def texts(self, column: int) -> Sequence[str]:
        """Return a column as text, without white space around it; missing cells are empty."""

    @abstractmethod
    def cells(self, column: int) -> Sequence[str]:
        """Return a column as it is in the file."""


class Table(ABC):
    """A table that is open for reading, once.

    Attributes
    ----------
    name : str
        Of the file, for messages.
    names : tuple of str or None
        Of the columns, all different; a column without a name has an empty one. None without a header.
    width : int
        The number of columns.
    decimal : str
        The decimal point.
    """

    unit = "line"  # of the places of rows

    def __init__(self, name: str, names: Sequence[str] | None, width: int, decimal: str = ".") -> None:
        self.name, self.width, self.decimal = name, width, decimal
        self.names = None if names is None else tuple(map(clean, names))
        if self.names is not None:
            self._check_header(self.names)

    def _check_header(self, names: tuple[str, ...]) -> None:
        if not any(names):
            raise ValueError(f"{self.name}: the header has no names")
        places: dict[str, int] = {}
        # Lines of numbers often have some twice: what they are is said first.
        are_numbers = sum(
            re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", n, re.IGNORECASE) is not None for n in names
        )
        if 2 * are_numbers > len(names) and any(re.fullmatch(r"[+-]?\d*\.\d+", name) for name in names):
            raise ValueError(
                f"{self.name}: the header has numbers for names, such as {quoted(names[0])}: with --no-header the first "
                "line is data"
            )
        for number, name in enumerate(names, 1):
            if name and name in places:
                raise ValueError(
                    f"{self.name}: columns {places[name]} and {number} have the same name, {quoted(name)}: give them different "
                    "ones; if the first line is data, --no-header"
                )
            places[name] = number

    @abstractmethod
    def parts(self) -> Iterator[Part]:
        """Yield the rows in order."""

    def column_name(self, column: int) -> str:
        """Return what to call a column in a message."""
        name = self.names[column] if self.names is not None else ""
        return f"column {quoted(name)}" if name else f"column {column + 1}"

    def place(self, row: int) -> str:
        """Return the file and the line of a row for a message."""
        return f"{self.name}, {self.unit} {row}"

    def place_of(self, part: Part) -> str:
        """Return the file and the lines of some rows for a message."""
        first, last = part.places[0], part.places[-1]
        return self.place(first) if first == last else f"{self.name}, {self.unit}s {first} to {last}"

    def find(self, wanted: str) -> int:
        """Return the index of a column that is given by its name or its number: 1 is the first one, -1 the last one.

        Raises
        ------
        ValueError
            If there is none. It names similar ones.
        """
        names = self.names or ()
        if clean(wanted) in names and clean(wanted):
            return names.index(clean(wanted))
        if re.fullmatch(r"[+-]?\d{1,9}", wanted.strip()):
            number = int(wanted)
            if 1 <= number <= self.width or -self.width <= number <= -1:
                return number - 1 if number > 0 else self.width + number
            raise ValueError(
                f"{self.name} has no column {number}: they are numbered from 1 to {self.width}, or from the last one, -1"
            )
        raise ValueError(f"{self.name} has no column {quoted(wanted)}{self.suggestion(wanted)}")

    def suggestion(self, wanted: str) -> str:
        """Return the end of a message about a column that is not there."""
        if self.names is None:
            return f": without a header they are numbered from 1 to {self.width}"
        import difflib  # other commands start without it

        lower = {name.lower(): name for name in self.names if name}
        close = [lower[name] for name in difflib.get_close_matches(clean(wanted).lower(), lower, n=3)]
        if close:
            return f": did you mean {' or '.join(map(quoted, close))}?"
        shown = [quoted(name) for name in self.names if name]
        return f"; it has {', '.join(shown[:10])}{f' and {len(shown) - 10} more' if len(shown) > 10 else ''}"

    def find_all(self, text: str) -> list[int]:
        """Return the indices of columns whose names or numbers are separated by commas."""
        if self.names is not None and clean(text) and clean(text) in self.names:
            return [self.find(text)]
        found = [self.find(name) for name in split_names(text)]
        for column, count in Counter(found).items():
            if count > 1:
                raise ValueError(f"{self.column_name(column)} of {self.name} is given twice")
        return found


def clean(name: str) -> str:
    """Return a name in one line, without white space around it, nor the NUL that Parquet may have and a saved name may not."""
    return " ".join(name.replace("\0", " ").split())


def counted(num: int, noun: str) -> str:
    """Return a number of things."""
    return f"{num:,} {noun}" if num == 1 else f"{num:,} {noun}s"


def quoted(text: str) -> str:
    """Return a text for a message: in quotes, in one line, not too long."""
    return repr(text if len(text) <= 60 else f"{text[:57]}...")


def split_names(text: str) -> list[str]:
    """Split names at commas, but not within double quotes, as in a line of CSV."""
    names = next(csv.reader([clean(text)], skipinitialspace=True), [])
    return [name.strip() for name in names if name.strip()]


# ---- Numbers ----


def parse_numbers(cells: Sequence[str], decimal: str = ".") -> Numbers:
    """Read cells as numbers."""
    if decimal == ".":
        try:
            values = np.fromiter(map(float, cells), np.float64, len(cells))
        except ValueError:
            pass
        else:
            # float reads "inf", "nan" and "1_000"
            if (np.abs(values) <= FLOAT_MAX).all() and "_" not in "".join(cells):
                return Numbers(values, [])
    values, wrong = np.empty(len(cells)), []
    for number, cell in enumerate(cells):
        value = _parse(cell, decimal)
        if value is None:
            wrong.append(number)
        values[number] = np.nan if value is None else value
    return Numbers(values, wrong)


def _parse(cell: str, decimal: str) -> float | None:
    text = cell.strip()
    if text.lower() in _MISSING:
        return np.nan
    if decimal == ",":
        text = "no number" if "." in text else text.replace(",", ".")
    try:
        value = float(text)
    except ValueError:
        return None
    return value if abs(value) <= FLOAT_MAX and "_" not in text else None


def has_decimal_comma(cell: str) -> bool:
    """Whether a cell looks like a number with a decimal comma."""
    return _DECIMAL_COMMA.fullmatch(cell.strip()) is not None


def why_no_number(cell: str) -> str:
    """Return the end of a message about a cell that is no number."""
    if has_decimal_comma(cell):
        return f"{quoted(cell)}, which is no number; --decimal , reads decimal commas"
    return f"{quoted(cell)}, which is {'not finite in float32' if is_not_finite(cell) else 'no number'}"


def is_not_finite(cell: str) -> bool:
    """Whether a cell is infinite, NaN, or a number that float32 cannot hold."""
    try:
        return "_" not in cell and not abs(float(cell)) <= FLOAT_MAX
    except ValueError:
        return False


# ---- Opening ----


@contextmanager
def open_table(path: str, format_: Format) -> Iterator[Table]:
    """Open a table; "-" is the standard input.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is no table.
    ImportError
        If it is a Parquet file and pyarrow is not installed.
    """
    if path == "-":
        if sys.stdin is None:
            raise OSError("the standard input is closed")
        yield _CsvTable("standard input", sys.stdin.buffer, format_)
        return
    with open(path, "rb") as file:  # noqa: PTH123
        if Path(path).suffix.lower() in {".parquet", ".pq"}:
            yield _ParquetTable(path, file)
        else:
            yield _CsvTable(path, file, format_)


# ---- CSV ----


class _CsvPart(Part):
    def __init__(self, places: list[int], rows: list[list[str]], decimal: str) -> None:
        self.places, self._decimal = places, decimal
        self._columns = list(zip(*rows, strict=True))

    def numbers(self, column: int) -> Numbers:
        return parse_numbers(self._columns[column], self._decimal)

    def texts(self, column: int) -> Sequence[str]:
        return list(map(clean, self._columns[column]))

    def cells(self, column: int) -> Sequence[str]:
        return self._columns[column]


class _CsvTable(Table):
    def __init__(self, name: str, file: BinaryIO, format_: Format) -> None:
        csv.field_size_limit(_CELL_MAX)  # for all readers, as csv has no other way; its default is 131,072
        self.name, self._lines_before = name, 0
        lines = self._lines(file, format_.encoding)
        head = list(islice(lines, _LINES_LOOKED_AT + 1))
        delimiter = format_.delimiter
        marker = re.fullmatch(r"sep=(.)\r?\n?", head[0]) if head else None
        if marker:  # Excel's way to say it
            delimiter, self._lines_before = delimiter or marker[1], 1
            del head[0]
        delimiter = delimiter or _find_delimiter(head)
        self._reader = csv.reader(chain(head, lines), delimiter=delimiter, strict=True)
        self._rows = self._read_rows()
        first = next(self._rows, None)
        if first is None:
            raise ValueError(f"{name} is empty")
        super().__init__(name, first[1] if format_.has_header else None, len(first[1]), format_.decimal)
        if not format_.has_header:
            self._rows = chain([first], self._rows)

    def _lines(self, file: BinaryIO, encoding: str | None) -> Iterator[str]:
        """Yield decoded lines; a ValueError that names the first one that cannot be decoded."""
        start = file.peek(5) if isinstance(file, io.BufferedReader) else b""
        for magic, what in _OTHER_FILES.items():
            if start.startswith(magic):
                raise ValueError(f"{self.name} {what}")
        mark = "" if encoding is None else "\ufeff"  # a byte order mark, which "utf-8" and "utf-16-le" keep
        if encoding is None:
            encoding = "utf-16" if start.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
        label = encoding.removesuffix("-sig").upper()
        number, text = 0, io.TextIOWrapper(file, encoding, newline="")
        try:
            for line in text:
                number += 1
                if "\0" in line:
                    raise ValueError(
                        f"{self.name}, line {number}: there is a NUL character, so that this is no text in {label}"
                    )
                yield line.removeprefix(mark) if number == 1 else line
        except UnicodeError as error:
            bad = ""
            if isinstance(error, UnicodeDecodeError):  # its object is what follows the lines so far
                number += error.object[: error.start].count(b"\n")
                bad = f" (byte 0x{error.object[error.start]:02x})" if error.start < len(error.object) else ""
            raise ValueError(
                f"{self.name}, line {number + 1}: this is no text in {label}{bad}: --encoding says another one, such as cp1252"
            ) from None
        finally:
            if not file.closed:
                text.detach()  # the caller closes the file

    def _read_rows(self) -> Iterator[tuple[int, list[str]]]:
        """Yield each row and its line."""
        reader, before, width = self._reader, self._lines_before, 0
        line = before + 1  # where the next row begins; a row may have many lines
        try:
            for row in reader:
                if any(row):  # neither an empty line, nor one of delimiters only
                    if len(row) != width:
                        if width:
                            raise ValueError(
                                f"{self.name}, line {line}: expected {counted(width, 'cell')}, as in the first line, "
                                f"got {len(row)}"
                            )
                        width = len(row)
                    yield line, row
                line = before + reader.line_num + 1
        except csv.Error as error:
            message = str(error)
            if "unexpected end" in message:
                message = "a quoted cell begins here and has no end"
            elif "field larger" in message:
                message = f"a cell of more than {_CELL_MAX:,} characters begins here: is the quote at its end missing?"
            elif "expected after" in message:
                message = 'a quote within a quoted cell must be doubled, as in "3"" pipe"'
            raise ValueError(f"{self.name}, line {line}: {message}") from None

    def parts(self) -> Iterator[Part]:
        while rows := list(islice(self._rows, max(_ROWS_MIN, _CELLS // self.width))):
            yield _CsvPart([line for line, _ in rows], [row for _, row in rows], self.decimal)


def _find_delimiter(lines: Iterable[str]) -> str:
    """Return the delimiter that splits all lines into the same number of cells; else the most frequent one in the first line.

    The last row may go on in the next line.
    """
    lines = list(lines)
    first = next((line for line in lines if line.strip()), "")
    for delimiter in _DELIMITERS:
        try:
            rows = [row for row in csv.reader(lines, delimiter=delimiter) if any(row)]
        except csv.Error:  # a cell that is too long
            continue
        widths = {len(row) for row in (rows[:-1] if len(rows) > 2 else rows)}
        if len(widths) == 1 and widths != {1}:
            return delimiter
    return max(reversed(_DELIMITERS), key=first.count)


# ---- Parquet ----


class _ParquetPart(Part):
    def __init__(self, table: _ParquetTable, batch: Any, start: int) -> None:
        self._table, self._batch = table, batch
        self.places = range(start, start + batch.num_rows)

    def numbers(self, column: int) -> Numbers:
        from pyarrow import types

        array = self._batch.column(column)
        is_number = (types.is_integer, types.is_floating, types.is_boolean, types.is_decimal, types.is_null)
        if not any(check(array.type) for check in is_number):
            return parse_numbers(self.cells(column))
        if types.is_decimal(array.type) or types.is_null(array.type):
            values = np.array([np.nan if v is None else float(v) for v in self._list(column)], np.float64)
        else:
            values = np.asarray(array.to_numpy(zero_copy_only=False), dtype=np.float64)
        return Numbers(values, np.flatnonzero(np.abs(values) > FLOAT_MAX).tolist())

    def texts(self, column: int) -> Sequence[str]:
        return list(map(clean, self.cells(column)))

    def cells(self, column: int) -> Sequence[str]:
        return ["" if v is None or v != v else str(v) for v in self._list(column)]  # noqa: PLR0124

    def _list(self, column: int) -> list[Any]:
        """Return a column as objects of Python; None where there is none."""
        from pyarrow import types

        array = self._batch.column(column)
        try:  # without pandas, pyarrow has no objects for nanoseconds
            values: list[Any] = (array.cast("string") if types.is_temporal(array.type) else array).to_pylist()
        except (self._table.error, ValueError) as error:
            where = f"{self._table.name}: {self._table.column_name(column)}"
            raise ValueError(f"{where} cannot be read: {clean(str(error))}") from error
        return values


class _ParquetTable(Table):
    unit = "row"

    def __init__(self, name: str, file: BinaryIO) -> None:
        try:
            import pyarrow as pa
            from pyarrow import parquet
        except ImportError as error:
            raise ImportError(f"{name}: Parquet files need pyarrow: pip install 'nnpy[parquet]'") from error
        self.error = pa.ArrowException
        try:
            self._file = parquet.ParquetFile(file)
        except (pa.ArrowException, OSError) as error:
            raise ValueError(f"{name} is no Parquet file: {clean(str(error))}") from error
        names = self._file.schema_arrow.names
        if not names:
            raise ValueError(f"{name} has no columns")
        super().__init__(name, names, len(names))

    def parts(self) -> Iterator[Part]:
        start = 1
        try:
            for batch in self._file.iter_batches(batch_size=_ROWS):
                yield _ParquetPart(self, batch, start)
                start += batch.num_rows
        except (self.error, OSError) as error:
            raise ValueError(f"{self.name} is damaged: {clean(str(error))}") from error
