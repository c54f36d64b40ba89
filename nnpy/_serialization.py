"""Networks in files: one .npz with plain arrays, no pickle inside, written as a whole or not at all."""

import io
import json
import lzma
import os
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from nnpy._validation import check_functions, check_layer_sizes
from nnpy._optimizers import Adam, AdamW, SGD, OptimizerState, RMSprop, Rprop
from nnpy._scaler import Scaler

if TYPE_CHECKING:
    from nnpy._network import NeuralNetwork

__all__ = ["optimizer_arrays", "read", "replacing", "save"]

_OPTIMIZERS: dict[str, Any] = {c.__name__: c for c in (Adam, AdamW, SGD, RMSprop, Rprop)}

# What may be in a file beside a network; nothing else is read.
_EXTRA = [f"optimizer/{name}" for name in ("class", "arguments", "buffer", "numbers")] + [
    f"checkpoint/{name}"
    for name in (
        *("settings", "watched", "seed", "columns", "history", "stopped", "best_parameters", "buffer", "numbers"),
    )
]
# What numpy, zipfile and json raise where a file is damaged.
_DAMAGE = (
    *(KeyError, TypeError, ValueError, EOFError, OverflowError, RecursionError, RuntimeError),
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError),
)

_FORMAT = 2  # 1 had no scaler and no state of an optimiser


def save(net: "NeuralNetwork", path: "str | os.PathLike[str]", extra: Mapping[str, NDArray[Any]]) -> None:
    """Write a network, and what else there is to it; see `NeuralNetwork.save`."""
    state = net.__getstate__()  # under the network's lock
    scaler = {} if net.scaler is None else net.scaler._asdict()
    content = {
        "format": np.array("nnpy network"),
        "version": np.array(_FORMAT),
        "layer_sizes": np.array(state["layer_sizes"], dtype=np.int64),
        "activations": np.array(state["activations"]),
        "parameters": state["parameters"],
        **{f"scaler/{name}": a.astype("<f4") for name, a in scaler.items() if a is not None},
        **extra,
    }
    with replacing(Path(path)) as file:
        np.savez(file, **content)


@contextmanager
def replacing(target: Path) -> Iterator[BinaryIO]:
    """Open a file to write to, which becomes `target` at the end of the block, or vanishes where that raises."""
    # Another file first, then a rename: whoever looks finds the old file or the new one, even after a power cut.
    temporary = target.with_name(f".{target.name}.{os.urandom(8).hex()}")
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


def read(path: "str | os.PathLike[str]") -> "tuple[NeuralNetwork, dict[str, NDArray[Any]]]":
    """Read a network, and what else is in its file, by name; see `nnpy.load`."""
    from nnpy._network import NeuralNetwork

    path = Path(path)
    content = io.BytesIO(path.read_bytes())
    try:
        file = np.load(content, allow_pickle=False)
        if not isinstance(file, np.lib.npyio.NpzFile) or str(file["format"]) != "nnpy network":
            raise ValueError("it is another kind of file")
        if not 1 <= int(file["version"]) <= _FORMAT:
            raise ValueError(f"it has format {int(file['version'])}, and this version of nnpy knows {_FORMAT}")
        sizes = check_layer_sizes(file["layer_sizes"].tolist())
        names = check_functions(file["activations"].tolist(), len(sizes) - 1)
        parameters = _numbers(file, "parameters", sum((rows + 1) * columns for rows, columns in pairwise(sizes)))
        scaler = _read_scaler(file, sizes)
        extra = {name: file[name] for name in _EXTRA if name in file.files}
        net = NeuralNetwork(sizes, names, seed=0)
        net.parameters = parameters
        net._scaler = scaler
        if "optimizer/class" in extra:
            _read_optimizer(net, extra)
    except _DAMAGE as error:
        raise ValueError(f"{path} is no network that nnpy saved: {error}") from error
    return net, extra


def _numbers(file: Mapping[str, NDArray[Any]], name: str, expected: int) -> NDArray[np.float32]:
    array = file[name]
    if array.dtype != np.dtype("<f4") or array.shape != (expected,):
        raise ValueError(f"it has {name} of {array.dtype}, {array.shape}, for {expected} of float32")
    return array.astype(np.float32)


def _read_scaler(file: "np.lib.npyio.NpzFile", sizes: tuple[int, ...]) -> Scaler | None:
    if "scaler/x_mean" not in file.files:
        return None
    x = [_numbers(file, f"scaler/x_{name}", sizes[0]) for name in ("mean", "scale")]
    y = [_numbers(file, f"scaler/y_{name}", sizes[-1]) for name in ("mean", "scale") if "scaler/y_mean" in file.files]
    if not all(np.isfinite(a).all() for a in (*x, *y)) or any((a <= 0).any() for a in (x[1], *y[1:])):
        raise ValueError("its scaler has numbers that are not finite, or scales that are not positive")
    return Scaler(*x, *y)


def optimizer_arrays(net: "NeuralNetwork") -> dict[str, NDArray[Any]]:
    """The state that `NeuralNetwork.partial_fit` has left, for a file."""
    state = net._state
    if state is None:
        return {}
    return {
        "optimizer/class": np.array(type(state.optimizer).__name__),
        "optimizer/arguments": np.array(json.dumps(asdict(state.optimizer))),
        **state.to_arrays("optimizer/"),
    }


def _read_optimizer(net: "NeuralNetwork", extra: Mapping[str, NDArray[Any]]) -> None:
    name = str(extra["optimizer/class"])
    if name not in _OPTIMIZERS:
        raise ValueError(f"it has the state of an unknown optimizer, {name}")
    state = OptimizerState(_OPTIMIZERS[name](**json.loads(str(extra["optimizer/arguments"]))), net.parameters.size)
    state.from_arrays(extra, "optimizer/")
    net._state = state


def _sync_folder(folder: Path) -> None:
    """Make the rename last, where folders can be opened."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
