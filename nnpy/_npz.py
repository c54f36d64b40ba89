"""Reading and writing .npz files: those that are read may come from anywhere, and Ctrl-C may come at any moment.

When a file is read, nothing is executed, and nothing is allocated beyond the size of the file. numpy.load parses headers
with Python's parser, decompresses, and allocates what a header asks for. Here a header has to be one that numpy writes for
plain numbers or text, and compressed arrays, which nnpy does not write, are refused.

numpy.savez and zipfile lose Ctrl-C: if it comes while a member is opened, closing the archive raises another exception. So
zipfile only reads the list of the members here.
"""

from __future__ import annotations

import io
import math
import re
import struct
import zipfile
import zlib
from collections.abc import Mapping
from typing import IO, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

__all__ = ["NpzReader", "write"]

_MAGIC = b"\x93NUMPY"
_MAX_HEADER = 10_000  # bytes; numpy's own limit
# Each byte can match in one way only: a pattern that can split digits differently takes for ever on some headers.
_LENGTH = rb"(?:0|[1-9]\d{0,18})"
_HEADER = re.compile(
    rb"\{'descr': '([<>|][biufcSU][1-9]\d{0,8})', 'fortran_order': False, 'shape': \((|%b,|%b(?:, %b){1,31})\), \} *\n?"
    % (_LENGTH, _LENGTH, _LENGTH)
)

_DATE = 0x21  # 1 January 1980, the first that there is in a zip file
_FIELD_MAX = 0xFFFFFFFF  # of a field of 32 bits in a zip file: it says that the number is in a field of 64 bits (zip64)
_SMALL_MAX = _FIELD_MAX  # bytes of the largest file without zip64


class _Archive(zipfile.ZipFile):
    # The destructor of ZipFile is Python code, in which the exception of a signal handler would vanish. It has nothing to do.
    __del__ = staticmethod(int)  # type: ignore[assignment]


class NpzReader:
    """The arrays in the bytes of an .npz file, read one at a time.

    Raises
    ------
    Exception
        Of many kinds if the file is damaged: the caller turns them into one.
    """

    def __init__(self, content: bytes) -> None:
        self._content = memoryview(content)
        self._archive = _Archive(io.BytesIO(content))
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
        member = self._member(name)
        file = io.BytesIO(member[: 12 + _MAX_HEADER])
        dtype, found = _read_header(file, name)
        fits = len(found) == len(shape) and all(n in (None, m) for n, m in zip(shape, found, strict=True))
        if not fits or (dtype.str != kinds if len(kinds) > 2 else dtype.kind not in kinds):
            raise ValueError(f"its array {name} is {dtype} of shape {found}, expected {_describe(kinds, shape)}")
        num = math.prod(found)
        if num * dtype.itemsize > len(self._content):
            raise ValueError(f"its array {name} is larger than the file")
        if num * dtype.itemsize != len(member) - file.tell():
            raise ValueError(f"its array {name} has another size than its header says")
        return np.frombuffer(member[file.tell() :], dtype, count=num).reshape(found).astype(dtype.newbyteorder("="))

    def _member(self, name: str) -> memoryview:
        """Return an uncompressed member, after a check of its CRC."""
        info = self._archive.getinfo(f"{name}.npy")
        if info.compress_type != zipfile.ZIP_STORED:
            raise ValueError(f"its array {name} is compressed, which nnpy does not write")
        signature, name_length, extra_length = struct.unpack_from("<4s22x2H", self._content, info.header_offset)
        start = info.header_offset + 30 + name_length + extra_length
        member = self._content[start : start + info.file_size]
        if signature != b"PK\3\4" or len(member) < info.file_size or zlib.crc32(member) != info.CRC:
            raise ValueError(f"its array {name} is damaged")
        return member


def write(file: BinaryIO, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write arrays of numbers or text as numpy.savez does: an uncompressed zip file of .npy files."""
    contents = {
        f"{name}.npy".encode(): (_header_of(array), np.ascontiguousarray(array)) for name, array in arrays.items()
    }
    is_large = sum(2 * len(name) + len(header) + a.nbytes + 200 for name, (header, a) in contents.items()) > _SMALL_MAX
    central = bytearray()
    offset = 0
    for name, (header, array) in contents.items():
        data = array.reshape(-1).view(np.uint8).data
        size = len(header) + array.nbytes
        sizes = [_FIELD_MAX, _FIELD_MAX] if is_large else [size, size]
        extra = struct.pack("<2H2Q", 1, 16, size, size) if is_large else b""
        version = 45 if is_large else 20
        crc = zlib.crc32(data, zlib.crc32(header))
        common = struct.pack("<5H3L", version, 0, zipfile.ZIP_STORED, 0, _DATE, crc, *sizes)
        file.write(b"PK\3\4" + common + struct.pack("<2H", len(name), len(extra)) + name + extra + header)
        file.write(data)
        central += b"PK\1\2" + struct.pack("<H", version) + common
        if is_large:
            extra = struct.pack("<2H3Q", 1, 24, size, size, offset)
        lengths = struct.pack("<5H2L", len(name), len(extra), 0, 0, 0, 0, _FIELD_MAX if is_large else offset)
        central += lengths + name + extra
        offset += 30 + len(name) + (20 if is_large else 0) + size
    end = [len(contents), len(contents), len(central), offset]
    file.write(central)
    if is_large:
        file.write(b"PK\6\6" + struct.pack("<Q2H2L4Q", 44, version, version, 0, 0, *end))
        file.write(b"PK\6\7" + struct.pack("<LQL", 0, offset + len(central), 1))
        end[2:] = [_FIELD_MAX, _FIELD_MAX]
    file.write(b"PK\5\6" + struct.pack("<4H2LH", 0, 0, *end, 0))


def _header_of(array: NDArray[Any]) -> bytes:
    """Return the header of a .npy file for an array in row-major order."""
    file = io.BytesIO()
    descr = np.lib.format.dtype_to_descr(array.dtype)
    np.lib.format.write_array_header_1_0(file, {"descr": descr, "fortran_order": False, "shape": array.shape})
    return file.getvalue()


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
