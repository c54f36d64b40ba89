"""Reading .npz files that may come from anywhere: nothing is executed, and nothing is allocated beyond the size of the file.

numpy.load parses headers with Python's parser, decompresses, and allocates what a header asks for. Here a header has to be one
that numpy writes for plain numbers or text, and compressed arrays, which nnpy does not write, are refused.
"""

from __future__ import annotations

import io
import math
import re
import zipfile
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["NpzReader"]

_MAGIC = b"\x93NUMPY"
_MAX_HEADER = 10_000  # bytes; numpy's own limit
# Each byte can match in one way only: a pattern that can split digits differently takes for ever on some headers.
_LENGTH = rb"(?:0|[1-9]\d{0,18})"
_HEADER = re.compile(
    rb"\{'descr': '([<>|][biufcSU][1-9]\d{0,8})', 'fortran_order': False, 'shape': \((|%b,|%b(?:, %b){1,31})\), \} *\n?"
    % (_LENGTH, _LENGTH, _LENGTH)
)


class NpzReader:
    """The arrays in the bytes of an .npz file, read one at a time.

    Raises
    ------
    Exception
        Of many kinds if the file is damaged: the caller turns them into one.
    """

    def __init__(self, content: bytes) -> None:
        self._size = len(content)
        self._archive = zipfile.ZipFile(io.BytesIO(content))
        self._names = set(self._archive.namelist())

    def __contains__(self, name: str) -> bool:
        return f"{name}.npy" in self._names

    def text(self, name: str) -> str:
        """Return a single text."""
        return str(self.array(name, "U", ()).item())

    def array(self, name: str, kinds: str, shape: tuple[int | None, ...]) -> NDArray[Any]:
        """Return an array in native byte order.

        Parameters
        ----------
        name : str
        kinds : str
            The kinds of dtype that are allowed, such as "iu", or one dtype, such as "<f4".
        shape : tuple of int or None
            The required shape; None stands for any length.
        """
        if name not in self:
            raise ValueError(f"it has no array {name}")
        info = self._archive.getinfo(f"{name}.npy")
        if info.compress_type != zipfile.ZIP_STORED:
            raise ValueError(f"its array {name} is compressed, which nnpy does not write")
        with self._archive.open(info) as file:
            dtype, found = _read_header(file, name)
            fits = len(found) == len(shape) and all(n in (None, m) for n, m in zip(shape, found, strict=True))
            if not fits or (dtype.str != kinds if len(kinds) > 2 else dtype.kind not in kinds):
                raise ValueError(f"its array {name} is {dtype} of shape {found}, expected {_describe(kinds, shape)}")
            num = math.prod(found)
            if num * dtype.itemsize > self._size:
                raise ValueError(f"its array {name} is larger than the file")
            data = file.read(num * dtype.itemsize + 1)  # reading to the end checks the CRC
        if len(data) != num * dtype.itemsize:
            raise ValueError(f"its array {name} has another size than its header says")
        return np.frombuffer(data, dtype, count=num).reshape(found).astype(dtype.newbyteorder("="))


def _describe(kinds: str, shape: tuple[int | None, ...]) -> str:
    names = {"U": "text", "iu": "integers", "f": "real numbers"}
    lengths = ", ".join("n" if n is None else str(n) for n in shape)
    return f"{names.get(kinds) or np.dtype(kinds)} of shape ({lengths}{',' if len(shape) == 1 else ''})"


def _read_header(file: IO[bytes], name: str) -> tuple[np.dtype[Any], tuple[int, ...]]:
    """Read the header of a .npy file; return dtype and shape."""
    start = file.read(8)
    length_size = {1: 2, 2: 4, 3: 4}.get(start[6] if len(start) == 8 else 0, 0)
    length = int.from_bytes(file.read(length_size), "little")
    if start[:6] != _MAGIC or length_size == 0 or length > _MAX_HEADER:
        raise ValueError(f"its member {name} is no array")
    header = file.read(length)
    match = _HEADER.fullmatch(header)
    if match is None or len(header) < length:
        raise ValueError(f"its array {name} is not one of plain numbers or text")
    return np.dtype(match[1].decode()), tuple(int(n) for n in match[2].split(b",") if n)
