"""Data sets: the MNIST digits, and any file in their format, IDX.

>>> import nnpy
>>> from nnpy.datasets import load_mnist
>>> data = load_mnist()                                                                       # doctest: +SKIP
>>> net = nnpy.NeuralNetwork([784, 128, 10], ["relu", "softmax"])
>>> history = net.fit(data.x_train, data.y_train, epochs=5, batch_size=128)                   # doctest: +SKIP
"""

from __future__ import annotations

import gzip
import hashlib
import io
import math
import os
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from nnpy._atomic_write import open_regular, replacing
from nnpy._interrupts import call_uninterrupted, stop_if_interrupted

__all__ = ["MNIST", "download_mnist", "load_idx", "load_mnist"]

# Element types of IDX files, by the third byte of the file. All are big-endian.
_ELEMENT_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_GZIP = b"\x1f\x8b"
_DEFLATE_MAX = 1032  # the largest compression ratio of deflate
_CHUNK = 1 << 20  # bytes of a read: Ctrl-C works between two reads

_MIRRORS = ("https://ossci-datasets.s3.amazonaws.com/mnist/", "https://storage.googleapis.com/cvdf-datasets/mnist/")
_TIMEOUT = 30  # seconds without a byte, after which the next mirror is tried
_DOWNLOAD_MAX = 1 << 24  # bytes; the largest file has 9,912,422
# Size and SHA-256 of the decompressed files: mirrors may compress them differently.
_CONTENTS = {
    "train-images-idx3-ubyte": (47_040_016, "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"),
    "train-labels-idx1-ubyte": (60_008, "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"),
    "t10k-images-idx3-ubyte": (7_840_016, "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"),
    "t10k-labels-idx1-ubyte": (10_008, "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"),
}


class MNIST(NamedTuple):
    """The MNIST digits, or data in the same format.

    Attributes
    ----------
    x_train, x_test : ndarray of float32 or uint8, shape (n, 784)
        Images of 28 x 28 pixels, row-major, one in each row. Pixels are from 0 to 1 in float32, from 0 to 255 in uint8.
    y_train, y_test : ndarray of int64, shape (n,)
        Labels: the digits, from 0 to 9.
    """

    x_train: NDArray[Any]
    y_train: NDArray[np.int64]
    x_test: NDArray[Any]
    y_test: NDArray[np.int64]


def load_idx(path: str | os.PathLike[str]) -> NDArray[Any]:
    """Read an IDX file, the format of the MNIST files.

    Parameters
    ----------
    path : str or path-like
        The file. Whether it is gzipped is detected from its content.

    Returns
    -------
    array : ndarray of uint8, int8, int16, int32, float32 or float64
        The array, in the byte order of this machine.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is not an IDX file, is damaged, or its length does not match the shape in its header. Memory is allocated only
        after a check that the file can be as large as its header says.

    Notes
    -----
    The format: two zero bytes, a byte for the type of the elements, a byte for the number of dimensions, the size of each
    dimension in 4 bytes, and the elements in row-major order. All numbers are big-endian.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from nnpy.datasets import load_idx
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "three")
    ...     _ = path.write_bytes(bytes([0, 0, 0x0B, 1, 0, 0, 0, 3, 0, 1, 1, 0, 255, 255]))
    ...     load_idx(path)
    array([  1, 256,  -1], dtype=int16)
    """
    return _load(Path(path), lambda shape, dtype: None)


def load_mnist(folder: str | os.PathLike[str] | None = None, *, dtype: DTypeLike = "float32") -> MNIST:
    """Load the MNIST digits; download them if necessary.

    Parameters
    ----------
    folder : str or path-like, optional
        The folder with the four files, train-images-idx3-ubyte and so on, gzipped (.gz) or not. By default the folder that the
        environment variable NNPY_MNIST names. If it is not set, the folder of `download_mnist`, after a download if the files
        are missing.
    dtype : {"float32", "uint8"}
        Type of the pixels.

    Returns
    -------
    data : MNIST
        ``x_train``, ``y_train``, ``x_test`` and ``y_test``, with 60,000 training and 10,000 test images. Other data sets in the
        same format, such as Fashion-MNIST, may have other numbers of images.

    Raises
    ------
    OSError
        If a file cannot be read or downloaded.
    TypeError, ValueError
        If a file is missing, damaged or not an MNIST file, or `dtype` is not one of the two.
    """
    pixel_type = np.dtype(dtype)
    if pixel_type not in (np.float32, np.uint8):
        raise ValueError(f"dtype must be float32 or uint8, got {pixel_type}")
    where = _find_folder() if folder is None else Path(folder)
    if not where.is_dir():
        raise ValueError(f"{where} is not a folder; expected a folder with the MNIST files")
    parts: list[NDArray[Any]] = []
    for name in ("train", "t10k"):
        images = _load(_find(where, f"{name}-images-idx3-ubyte"), _check_images)
        labels = _load(_find(where, f"{name}-labels-idx1-ubyte"), _check_labels)
        if len(images) != len(labels):
            raise ValueError(f"{where} has {len(images)} images but {len(labels)} labels in its {name} files")
        if labels.max() > 9:
            raise ValueError(f"{where} has the label {labels.max()} in its {name} files, expected labels from 0 to 9")
        images = images.reshape(len(images), -1)
        parts += [
            np.divide(images, 255, dtype=np.float32) if pixel_type == np.float32 else images,
            labels.astype(np.int64),
        ]
    return MNIST(*parts)


def download_mnist(folder: str | os.PathLike[str] | None = None, *, progress: bool = True) -> Path:
    """Download the four MNIST files, 11.6 MB in total, unless they exist.

    Parameters
    ----------
    folder : str or path-like, optional
        Where to save them. By default ``nnpy/mnist`` in the user's cache folder: XDG_CACHE_HOME or ``~/.cache``, on Windows
        LOCALAPPDATA.
    progress : bool
        Whether to show a progress bar for each file, if the output is a terminal and tqdm is installed
        (``pip install 'nnpy[progress]'``).

    Returns
    -------
    folder : Path
        The folder with the four files. Existing files with a wrong checksum are replaced.

    Raises
    ------
    OSError
        If no mirror has a file with the right checksum (SHA-256), or the folder cannot be written to. No incomplete file is
        left behind.

    Notes
    -----
    Y. LeCun, C. Cortes and C. J. C. Burges, "The MNIST database of handwritten digits", 1998.
    """
    where = _cache_folder() if folder is None else Path(folder)
    where.mkdir(parents=True, exist_ok=True)
    for name in _CONTENTS:
        path = where / f"{name}.gz"
        if path.exists() and _has_checksum(path.read_bytes(), name):
            continue
        compressed = _download(name, where, progress)
        with replacing(path) as file:
            file.write(compressed)
    return where


def _load(path: Path, check: Callable[[tuple[int, ...], np.dtype[Any]], str | None]) -> NDArray[Any]:
    """Read an IDX file. `check` returns an error message for a wrong shape or type, before the elements are read."""
    with open_regular(path) as raw:
        size = os.fstat(raw.fileno()).st_size
        is_gzipped = raw.read(2) == _GZIP
        raw.seek(0)
        if not is_gzipped:
            return _parse(raw, path, check, size, size)
        try:
            return call_uninterrupted(lambda: _parse_gzipped(raw, path, check, _DEFLATE_MAX * size))
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise ValueError(f"{path} is damaged: {error}") from error


def _parse_gzipped(
    raw: io.BufferedReader, path: Path, check: Callable[[tuple[int, ...], np.dtype[Any]], str | None], max_size: int
) -> NDArray[Any]:
    with gzip.GzipFile(fileobj=raw) as file:
        return _parse(file, path, check, max_size, None)


def _parse(
    file: io.BufferedReader | gzip.GzipFile,
    path: Path,
    check: Callable[[tuple[int, ...], np.dtype[Any]], str | None],
    max_size: int,
    size: int | None,
) -> NDArray[Any]:
    """Read an array from an open file of at most `max_size` bytes, and of exactly `size` bytes if that is known."""
    start = file.read(4)
    if len(start) < 4 or start[:2] != b"\0\0" or start[2] not in _ELEMENT_TYPES:
        raise ValueError(f"{path} is not an IDX file: it begins with {start.hex(' ') or 'nothing'}")
    dtype, dimensions = np.dtype(_ELEMENT_TYPES[start[2]]), start[3]
    sizes = file.read(4 * dimensions)
    if len(sizes) < 4 * dimensions:
        raise ValueError(f"{path} ends before the sizes of its {dimensions} dimensions")
    shape = struct.unpack(f">{dimensions}I", sizes)
    problem = check(shape, dtype)
    if problem is not None:
        raise ValueError(f"{path} {problem}")
    expected = 4 + 4 * dimensions + math.prod(shape) * dtype.itemsize
    must_have = f"{path} must have {expected} bytes for an array of shape {shape}, it has"
    if size is not None and size != expected:
        raise ValueError(f"{must_have} {size}")
    if expected > max_size:  # before the memory is allocated
        raise ValueError(f"{must_have} at most {max_size}")
    try:
        array = np.empty(shape, dtype)
    except ValueError as error:
        raise ValueError(f"{path} has a shape that numpy does not support: {error}") from error
    elements = array.reshape(-1).view(np.uint8).data
    num_read = 0
    while num_read < len(elements):
        stop_if_interrupted()
        count = file.readinto(elements[num_read : num_read + _CHUNK])
        if not count:
            raise ValueError(f"{must_have} {expected - len(elements) + num_read}")
        num_read += count
    if file.read(1):  # at the end of the file gzip also verifies its checksum
        raise ValueError(f"{must_have} more")
    return array if dtype.isnative else array.byteswap(inplace=True).view(dtype.newbyteorder("="))


def _check_images(shape: tuple[int, ...], dtype: np.dtype[Any]) -> str | None:
    if dtype != np.uint8 or shape[1:] != (28, 28) or shape[0] == 0:
        return f"has an array of {_describe(shape, dtype)}, expected images of uint8, shape (n, 28, 28)"
    return None


def _check_labels(shape: tuple[int, ...], dtype: np.dtype[Any]) -> str | None:
    if dtype != np.uint8 or len(shape) != 1 or shape[0] == 0:
        return f"has an array of {_describe(shape, dtype)}, expected labels of uint8, shape (n,)"
    return None


def _describe(shape: tuple[int, ...], dtype: np.dtype[Any]) -> str:
    return f"{dtype.newbyteorder('=')}, shape {shape}"


def _find_folder() -> Path:
    """Return the folder of the MNIST files, after a download if they are not on this machine."""
    named = os.environ.get("NNPY_MNIST")
    if named:
        return Path(named)
    cache = _cache_folder()
    if all((cache / f"{name}.gz").exists() for name in _CONTENTS):
        return cache
    return download_mnist()


def _cache_folder(windows: bool = os.name == "nt") -> Path:
    variable, default = ("LOCALAPPDATA", "AppData/Local") if windows else ("XDG_CACHE_HOME", ".cache")
    base = Path(os.environ.get(variable, ""))
    # The XDG specification says to ignore relative paths.
    return (base if base.is_absolute() else Path.home() / default) / "nnpy" / "mnist"


def _find(folder: Path, name: str) -> Path:
    """Find a file by its official name; some programs extract it as train-images.idx3-ubyte."""
    for variant in (name, name.replace("-idx", ".idx")):
        for path in (folder / variant, folder / f"{variant}.gz"):
            if path.exists():
                return path
    raise ValueError(f"{folder} has no file {name} or {name}.gz")


def _has_checksum(compressed: bytes, name: str) -> bool:
    """Return whether these bytes are the gzipped file of that name. At most one byte too many is decompressed."""
    size, digest = _CONTENTS[name]
    decompressor = zlib.decompressobj(wbits=31)  # gzip
    try:
        content = decompressor.decompress(compressed, size + 1)
    except zlib.error:
        return False
    return decompressor.eof and not decompressor.unused_data and hashlib.sha256(content).hexdigest() == digest


def _download(name: str, folder: Path, progress: bool) -> bytes:
    """Download a file from the first mirror that has it with the right checksum."""
    from http.client import HTTPException

    reasons = []
    for mirror in _MIRRORS:
        try:
            compressed = _fetch(f"{mirror}{name}.gz", progress)
        except (OSError, HTTPException) as error:
            reasons.append(f"{mirror}: {error or type(error).__name__}")
            continue
        if _has_checksum(compressed, name):
            return compressed
        reasons.append(f"{mirror}: wrong checksum (SHA-256)")
    raise OSError(
        f"could not download {name}.gz ({'; '.join(reasons)}). Put the four MNIST files into {folder}, or set the "
        "environment variable NNPY_MNIST to a folder that has them"
    )


def _fetch(url: str, progress: bool) -> bytes:
    """Download a file into memory."""
    from urllib.error import HTTPError
    from urllib.request import urlopen

    try:
        response = urlopen(url, timeout=_TIMEOUT)
    except HTTPError as error:
        error.close()
        raise OSError(str(error)) from None
    with response:
        length = response.headers.get("Content-Length")
        total = int(length) if length is not None and length.isdigit() else None
        content = bytearray()
        with _progress_bar(url, total, progress) as update:
            while chunk := response.read(1 << 16):
                content += chunk
                update(len(chunk))
                if len(content) > _DOWNLOAD_MAX:
                    raise OSError(f"longer than {_DOWNLOAD_MAX} bytes")
    if total is not None and len(content) != total:
        raise OSError(f"ended after {len(content)} of {total} bytes")
    return bytes(content)


@contextmanager
def _progress_bar(url: str, total: int | None, show: bool) -> Iterator[Callable[[int], object]]:
    """Show a progress bar if the output is a terminal and tqdm is installed; yield the function that advances it."""
    try:
        if not show:
            raise ImportError
        from tqdm import tqdm
    except ImportError:
        yield lambda num_bytes: None
        return
    description = url.rpartition("/")[2]
    with tqdm(desc=description, total=total, unit="B", unit_scale=True, disable=None) as bar:
        yield bar.update
