"""Files of the commands: saved networks of both kinds, and places to write to."""

from __future__ import annotations

import os
from pathlib import Path

import nnpy

__all__ = ["check_writable", "load"]


def load(path: str | os.PathLike[str]) -> nnpy.NeuralNetwork | nnpy.QuantizedNetwork:
    """Read a network of floats or of integers."""
    try:
        return nnpy.load(path)
    except ValueError as error:
        try:
            return nnpy.QuantizedNetwork.load(path)
        except ValueError as other:
            raise (other if "8-bit integers" in str(error) else error) from None


def check_writable(path: Path) -> None:
    """Raise ValueError if no file can be written at `path`: before the work, not after it."""
    folder = path.absolute().parent
    if not folder.is_dir():
        raise ValueError(f"cannot write {path}: there is no folder {folder}")
    if path.is_dir():
        raise ValueError(f"cannot write {path}: it is a folder")
    if not os.access(folder, os.W_OK):
        raise ValueError(f"cannot write {path}: the folder {folder} is read-only")
