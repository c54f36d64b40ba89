"""Data to train on: the MNIST digits, and any file in their format, IDX.

>>> import nnpy
>>> from nnpy.datasets import load_mnist
>>> data = load_mnist()                                                                       # doctest: +SKIP
>>> net = nnpy.NeuralNetwork([784, 128, 10], ["relu", "softmax"])
>>> history = net.fit(data.x_train, data.y_train, epochs=5, batch_size=128)                   # doctest: +SKIP
"""

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

from nnpy._atomic_write import replacing

__all__ = ["MNIST", "download_mnist", "load_idx", "load_mnist"]

# The third byte of an IDX file, and the big-endian elements that it stands for.
_ELEMENTS = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_GZIP = b"\x1f\x8b"
_DEFLATE_MAX = 1032  # bytes that one byte of deflate can become
_PIECE = 1 << 20  # bytes read between two looks at Ctrl-C

_MIRRORS = ("https://ossci-datasets.s3.amazonaws.com/mnist/", "https://storage.googleapis.com/cvdf-datasets/mnist/")
_SECONDS = 30  # without a byte, after which a mirror is given up
_DOWNLOAD_MAX = 1 << 24  # bytes; the largest file has 9,912,422
# Size and SHA-256 of what is in each of the files: a mirror may have packed it in another way.
_CONTENTS = {
    "train-images-idx3-ubyte": (47_040_016, "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"),
    "train-labels-idx1-ubyte": (60_008, "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"),
    "t10k-images-idx3-ubyte": (7_840_016, "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"),
    "t10k-labels-idx1-ubyte": (10_008, "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"),
}


class MNIST(NamedTuple):
    """Images of digits and their labels.

    Attributes
    ----------
    x_train, x_test : ndarray of float32 or uint8, shape (n, 784)
        One image of 28 x 28 a row, its rows of pixels one after another: from 0 to 1 in float32, from 0 to 255 in uint8.
    y_train, y_test : ndarray of int64, shape (n,)
        The digit of each, 0 to 9.
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
        The file, gzipped or not, whatever its name.

    Returns
    -------
    array : ndarray of uint8, int8, int16, int32, float32 or float64
        In the byte order of this machine, and in the shape that the file states.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is no IDX file, is damaged, or is shorter or longer than it states. No more memory is used than for the shape
        that it states, and none for a shape that cannot be in a file of its size.

    Notes
    -----
    The format: two zero bytes, a byte for the type of the elements, a byte for the number of dimensions, each dimension in
    4 bytes, and the elements, the last dimension fastest. All numbers are big-endian.

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
    """Read the MNIST digits.

    Parameters
    ----------
    folder : str or path-like, optional
        Where the four files are, train-images-idx3-ubyte and so on, gzipped (.gz) or not. Without it, the folder that the
        environment variable NNPY_MNIST names; where that is not set, the one that `download_mnist` writes to, after a
        download if they are not there yet.
    dtype : {"float32", "uint8"}
        Of the pixels.

    Returns
    -------
    data : MNIST
        ``x_train``, ``y_train``, ``x_test`` and ``y_test``: 60,000 and 10,000 images. Other data in the same format, such
        as Fashion-MNIST, may have other numbers of them.

    Raises
    ------
    OSError
        If a file cannot be read or downloaded.
    TypeError, ValueError
        If a file is missing, damaged or something else, or `dtype` is another.
    """
    pixels = np.dtype(dtype)
    if pixels not in (np.float32, np.uint8):
        raise ValueError(f"dtype must be float32 or uint8, got {pixels}")
    where = _find_folder() if folder is None else Path(folder)
    if not where.is_dir():
        raise ValueError(f"{where} is no folder with the MNIST files")
    parts: list[NDArray[Any]] = []
    for name in ("train", "t10k"):
        images = _load(_find(where, f"{name}-images-idx3-ubyte"), _check_images)
        labels = _load(_find(where, f"{name}-labels-idx1-ubyte"), _check_labels)
        if len(images) != len(labels):
            raise ValueError(
                f"{where} has {len(images)} {name} images and {len(labels)} labels: they do not belong together"
            )
        if labels.max() > 9:
            raise ValueError(f"{where} has a label {labels.max()} in its {name} files, labels from 0 to 9 are expected")
        images = images.reshape(len(images), -1)
        parts += [np.divide(images, 255, dtype=np.float32) if pixels == np.float32 else images, labels.astype(np.int64)]
    return MNIST(*parts)


def download_mnist(folder: str | os.PathLike[str] | None = None, *, progress: bool = True) -> Path:
    """Download the four MNIST files, 11.6 MB, unless they are there.

    Parameters
    ----------
    folder : str or path-like, optional
        Where to. By default ``nnpy/mnist`` in the user's folder for caches: what XDG_CACHE_HOME names, else ``~/.cache``;
        on Windows what LOCALAPPDATA names.
    progress : bool
        Show a bar for each file on a terminal, where tqdm is installed (the ``progress`` extra).

    Returns
    -------
    folder : Path
        The folder, with the four files in it. A file with another content is replaced.

    Raises
    ------
    OSError
        If no mirror has a file with the right SHA-256, or the folder cannot be written to. Each file is there as a whole or
        not at all.

    Notes
    -----
    Y. LeCun, C. Cortes and C. J. C. Burges, "The MNIST database of handwritten digits", 1998.
    """
    where = _cache_folder() if folder is None else Path(folder)
    where.mkdir(parents=True, exist_ok=True)
    for name in _CONTENTS:
        path = where / f"{name}.gz"
        if path.exists() and _is_right(path.read_bytes(), name):
            continue
        packed = _download(name, where, progress)
        with replacing(path) as file:
            file.write(packed)
    return where


def _load(path: Path, check: Callable[[tuple[int, ...], np.dtype[Any]], str | None]) -> NDArray[Any]:
    """Read an IDX file; `check` takes its shape and type, before the elements are read, and says what is wrong with them."""
    with path.open("rb") as raw:
        size = os.fstat(raw.fileno()).st_size
        packed = raw.read(2) == _GZIP
        raw.seek(0)
        if not packed:
            return _parse(raw, path, check, size, size)
        try:
            with gzip.GzipFile(fileobj=raw) as file:
                return _parse(file, path, check, _DEFLATE_MAX * size, None)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise ValueError(f"{path} is damaged: {error}") from error


def _parse(
    file: io.BufferedReader | gzip.GzipFile,
    path: Path,
    check: Callable[[tuple[int, ...], np.dtype[Any]], str | None],
    largest: int,
    size: int | None,
) -> NDArray[Any]:
    """Read an array from an open file that holds `size` bytes if that is known, and at most `largest`."""
    start = file.read(4)
    if len(start) < 4 or start[:2] != b"\0\0" or start[2] not in _ELEMENTS:
        raise ValueError(f"{path} is no IDX file: it begins with {start.hex(' ') or 'nothing'}")
    dtype, dimensions = np.dtype(_ELEMENTS[start[2]]), start[3]
    sizes = file.read(4 * dimensions)
    if len(sizes) < 4 * dimensions:
        raise ValueError(f"{path} ends before the sizes of its {dimensions} dimensions")
    shape = struct.unpack(f">{dimensions}I", sizes)
    wrong = check(shape, dtype)
    if wrong is not None:
        raise ValueError(f"{path} {wrong}")
    expected = 4 + 4 * dimensions + math.prod(shape) * dtype.itemsize
    should = f"{path} should have {expected} bytes for an array of shape {shape}, it has"
    if size is not None and size != expected:
        raise ValueError(f"{should} {size}")
    if expected > largest:  # before memory is asked for
        raise ValueError(f"{should} at most {largest}")
    try:
        array = np.empty(shape, dtype)
    except ValueError as error:
        raise ValueError(f"{path} states a shape that numpy does not take: {error}") from error
    elements = array.reshape(-1).view(np.uint8).data
    read = 0
    while read < len(elements):
        got = file.readinto(elements[read : read + _PIECE])
        if not got:
            raise ValueError(f"{should} {expected - len(elements) + read}")
        read += got
    if file.read(1):  # which has gzip compare its checksum, too
        raise ValueError(f"{should} more")
    return array if dtype.isnative else array.byteswap(inplace=True).view(dtype.newbyteorder("="))


def _check_images(shape: tuple[int, ...], dtype: np.dtype[Any]) -> str | None:
    if dtype != np.uint8 or shape[1:] != (28, 28) or shape[0] == 0:
        return f"holds an array of {_describe(shape, dtype)}, images of uint8, (n, 28, 28), are expected"
    return None


def _check_labels(shape: tuple[int, ...], dtype: np.dtype[Any]) -> str | None:
    if dtype != np.uint8 or len(shape) != 1 or shape[0] == 0:
        return f"holds an array of {_describe(shape, dtype)}, labels of uint8, (n,), are expected"
    return None


def _describe(shape: tuple[int, ...], dtype: np.dtype[Any]) -> str:
    return f"{dtype.newbyteorder('=')}, {shape}"


def _find_folder() -> Path:
    """Where MNIST is on this machine, after a download if it is nowhere."""
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
    # The XDG specification wants a relative path to be ignored.
    return (base if base.is_absolute() else Path.home() / default) / "nnpy" / "mnist"


def _find(folder: Path, name: str) -> Path:
    """Find a file by its name in the archive; some unpack it as train-images.idx3-ubyte."""
    for variant in (name, name.replace("-idx", ".idx")):
        for path in (folder / variant, folder / f"{variant}.gz"):
            if path.exists():
                return path
    raise ValueError(f"{folder} has no file {name} or {name}.gz")


def _is_right(packed: bytes, name: str) -> bool:
    """Whether this is the gzipped file of that name. Not much more than its content is unpacked."""
    size, digest = _CONTENTS[name]
    unpacking = zlib.decompressobj(wbits=31)  # gzip
    try:
        content = unpacking.decompress(packed, size + 1)
    except zlib.error:
        return False
    return unpacking.eof and not unpacking.unused_data and hashlib.sha256(content).hexdigest() == digest


def _download(name: str, folder: Path, progress: bool) -> bytes:
    """Get a file from the first mirror that has it."""
    from http.client import HTTPException

    reasons = []
    for mirror in _MIRRORS:
        try:
            packed = _fetch(f"{mirror}{name}.gz", progress)
        except (OSError, HTTPException) as error:
            reasons.append(f"{mirror}: {error or type(error).__name__}")
            continue
        if _is_right(packed, name):
            return packed
        reasons.append(f"{mirror}: it has another content, by its SHA-256")
    raise OSError(
        f"{name}.gz could not be downloaded ({'; '.join(reasons)}). Put the four MNIST files into {folder}, or let the "
        "environment variable NNPY_MNIST name a folder that has them"
    )


def _fetch(url: str, progress: bool) -> bytes:
    """Read what is at an address, into memory."""
    from urllib.error import HTTPError
    from urllib.request import urlopen

    try:
        response = urlopen(url, timeout=_SECONDS)
    except HTTPError as error:
        error.close()
        raise OSError(str(error)) from None
    with response:
        length = response.headers.get("Content-Length")
        total = int(length) if length is not None and length.isdigit() else None
        packed = bytearray()
        with _bar(url, total, progress) as update:
            while piece := response.read(1 << 16):
                packed += piece
                update(len(piece))
                if len(packed) > _DOWNLOAD_MAX:
                    raise OSError(f"it is longer than {_DOWNLOAD_MAX} bytes")
    if total is not None and len(packed) != total:
        raise OSError(f"it ended after {len(packed)} of {total} bytes")
    return bytes(packed)


@contextmanager
def _bar(url: str, total: int | None, wanted: bool) -> Iterator[Callable[[int], object]]:
    """Show a bar, on a terminal, where tqdm is installed: a download works without."""
    try:
        if not wanted:
            raise ImportError
        from tqdm import tqdm
    except ImportError:
        yield lambda num_bytes: None
        return
    description = url.rpartition("/")[2]
    with tqdm(desc=description, total=total, unit="B", unit_scale=True, disable=None) as bar:
        yield bar.update
