"""Networks in files: one .npz with plain arrays, no pickle inside, written as a whole or not at all."""

import os
import secrets
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

import numpy as np

from nnpy._checks import check_functions, check_layer_sizes
from nnpy._network import NeuralNetwork

__all__ = ["load", "replacing", "save"]

_FORMAT = 1


def save(net: NeuralNetwork, path: str | os.PathLike[str]) -> None:
    """Write a network; see `NeuralNetwork.save`."""
    state = net.__getstate__()  # under the network's lock
    with replacing(Path(path)) as file:
        np.savez(
            file,
            format=np.array("nnpy network"),
            version=np.array(_FORMAT),
            layer_sizes=np.array(state["layer_sizes"], dtype=np.int64),
            activations=np.array(state["activations"]),
            parameters=state["parameters"],
        )


@contextmanager
def replacing(target: Path) -> Iterator[BinaryIO]:
    """Open a file to write to, which becomes `target` at the end of the block, or vanishes where that raises."""
    # Another file first, then a rename: whoever looks finds the old file or the new one, even after a power cut.
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(8)}")
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    _sync_folder(target.parent)


def load(path: str | os.PathLike[str]) -> NeuralNetwork:
    """Read a network that `NeuralNetwork.save` wrote.

    Parameters
    ----------
    path : str or path-like
        The file. Nothing in it is executed: it may come from anywhere.

    Returns
    -------
    net : NeuralNetwork
        Bit for bit the network that was saved.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is no such file, is damaged, or was written by a later version of nnpy.

    Examples
    --------
    >>> import tempfile, os
    >>> import nnpy
    >>> net = nnpy.NeuralNetwork([3, 4, 2], ["relu", "softmax"], seed=0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     net.save(os.path.join(folder, "net.npz"))
    ...     nnpy.load(os.path.join(folder, "net.npz"))
    NeuralNetwork([3, 4, 2], ['relu', 'softmax'])
    """
    path = Path(path)
    try:
        with path.open("rb") as handle:
            file = np.load(handle, allow_pickle=False)
            if not isinstance(file, np.lib.npyio.NpzFile) or str(file["format"]) != "nnpy network":
                raise ValueError("it is another kind of file")
            if int(file["version"]) != _FORMAT:
                raise ValueError(f"it has format {int(file['version'])}, and this version of nnpy knows {_FORMAT}")
            sizes = check_layer_sizes(file["layer_sizes"].tolist())
            names = check_functions(file["activations"].tolist(), len(sizes) - 1)
            parameters = file["parameters"]
            expected = sum((rows + 1) * columns for rows, columns in pairwise(sizes))
            if parameters.dtype != np.dtype("<f4") or parameters.shape != (expected,):
                raise ValueError(
                    f"it has parameters of {parameters.dtype}, {parameters.shape}, for {expected} of float32"
                )
    except (KeyError, TypeError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{path} is no network that nnpy saved: {error}") from error
    net = NeuralNetwork(sizes, names, seed=0)
    net.parameters = parameters
    return net


def _sync_folder(folder: Path) -> None:
    """Make the rename last, where folders can be opened."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
