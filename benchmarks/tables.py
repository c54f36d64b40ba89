"""Writes the table of a benchmark into a document."""

import sys
from pathlib import Path


def write_table(path: Path, marks: tuple[str, str], text: str) -> None:
    """Replace what stands between two marks in a document."""
    before, _, rest = path.read_text(encoding="utf-8").partition(marks[0])
    _, mark, after = rest.partition(marks[1])
    if not mark:
        sys.exit(f"{path} has no place for the table: {marks[0]} ... {marks[1]}")
    path.write_text(f"{before}{marks[0]}{text}{marks[1]}{after}", encoding="utf-8", newline="\n")
