"""Saved networks: one .npz file of plain arrays, without pickle, written completely or not at all.

`read` returns plain data, a `SavedNetwork`; `nnpy.load` creates a network from it.
"""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Mapping
from dataclasses import asdict
from itertools import pairwise
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nnpy._activations import check_activations
from nnpy._atomic_write import open_regular, replacing
from nnpy._interrupts import call_uninterrupted
from nnpy._npz import NpzReader
from nnpy._optimizers import OPTIMIZERS, Optimizer
from nnpy._scaler import Scaler
from nnpy._validation import check_layer_sizes

__all__ = ["SavedNetwork", "read", "write"]

_FORMAT = 3
_KIND = "nnpy network"

_STATE = {"buffer": "f", "numbers": "<f8"}  # the arrays of an OptimizerState, and their types


class SavedNetwork(NamedTuple):
    """The content of a file, checked.

    Attributes
    ----------
    layer_sizes, activations, parameters, feature_names
        Those of the network.
    scaler : Scaler or None
    choices : (int or None, bool, bool)
        The seed, and whether `fit` may choose the last activation and the scaler.
    optimizer : Optimizer or None
        That of `partial_fit`, with its state in `optimizer_state`.
    optimizer_state : dict of ndarray
    checkpoint : dict of ndarray
        The arrays that `nnpy._training.checkpoint` writes; empty if the file is no checkpoint.
    """

    layer_sizes: tuple[int, ...]
    activations: tuple[str, ...]
    parameters: NDArray[np.float32]
    scaler: Scaler | None
    choices: tuple[int | None, bool, bool]
    feature_names: tuple[str, ...] | None
    optimizer: Optimizer | None
    optimizer_state: dict[str, NDArray[Any]]
    checkpoint: dict[str, NDArray[Any]]


def write(
    path: str | os.PathLike[str],
    state: Mapping[str, Any],
    *,
    with_optimizer: bool = False,
    checkpoint: Mapping[str, NDArray[Any]] | None = None,
) -> None:
    """Write a network.

    Parameters
    ----------
    path : str or path-like
    state : mapping
        What `Model.__getstate__` returns.
    with_optimizer : bool
        Whether to write the state of the optimiser of `partial_fit`, if there is one.
    checkpoint : mapping of ndarray, optional
        The state of training; see `nnpy._training.checkpoint`.
    """
    content: dict[str, Any] = {
        "format": np.array(_KIND),
        "version": np.array(_FORMAT),
        "layer_sizes": np.array(state["layer_sizes"], dtype=np.int64),
        "activations": np.array(state["activations"]),
        "parameters": state["parameters"],
    }
    if state["choices"][0] is not None:
        content["choices"] = np.array(state["choices"], dtype="<u8")
    if state["scaler"] is not None:
        arrays = state["scaler"]._asdict()
        content.update({f"scaler/{name}": a.astype("<f8") for name, a in arrays.items() if a is not None})
    if state["feature_names"] is not None:
        content["feature_names"] = np.array(state["feature_names"])
    if with_optimizer and "optimizer" in state:
        content["optimizer/class"] = np.array(type(state["optimizer"]).__name__)
        content["optimizer/arguments"] = np.array(json.dumps(asdict(state["optimizer"])))
        content.update({f"optimizer/{name}": a for name, a in state["optimizer_state"].items()})
    content.update({f"checkpoint/{name}": a for name, a in (checkpoint or {}).items()})
    with replacing(path) as file:
        call_uninterrupted(lambda: _write(file, content))


def _write(file: BinaryIO, content: Mapping[str, NDArray[Any]]) -> None:
    """Write arrays as numpy.savez does, which before numpy 2 leaves the archive open if the disk is full."""
    with zipfile.ZipFile(file, "w") as archive:
        for name, array in content.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)


def read(path: str | os.PathLike[str]) -> SavedNetwork:
    """Read a network; see `nnpy.load`."""
    with open_regular(path) as file:
        content = file.read()
    try:
        return call_uninterrupted(lambda: _read(content))
    except Exception as error:  # a damaged file may raise almost anything
        raise ValueError(f"{os.fspath(path)} is not a network that nnpy saved: {error}") from error


def _read(content: bytes) -> SavedNetwork:
    if not zipfile.is_zipfile(io.BytesIO(content)):
        raise ValueError("it is no .npz file")
    file = NpzReader(content)
    if "format" not in file or file.text("format") != _KIND:
        raise ValueError("it holds other arrays")
    version = int(file.array("version", "iu", ()))
    if version != _FORMAT:
        raise ValueError(f"its format is {version}, and this version of nnpy reads format {_FORMAT}")
    sizes = check_layer_sizes(file.array("layer_sizes", "iu", (None,)).tolist())
    num_parameters = sum((rows + 1) * columns for rows, columns in pairwise(sizes))
    optimizer = _read_optimizer(file) if "optimizer/class" in file else None
    state = {name: file.array(f"optimizer/{name}", kinds, (None,)) for name, kinds in _STATE.items() if optimizer}
    return SavedNetwork(
        layer_sizes=sizes,
        activations=check_activations(file.array("activations", "U", (len(sizes) - 1,)).tolist(), len(sizes) - 1),
        parameters=file.array("parameters", "<f4", (num_parameters,)),
        scaler=_read_scaler(file, sizes),
        choices=_read_choices(file),
        feature_names=tuple(file.array("feature_names", "U", (sizes[0],)).tolist())
        if "feature_names" in file
        else None,
        optimizer=optimizer,
        optimizer_state=state,
        checkpoint=_read_checkpoint(file, num_parameters) if "checkpoint/settings" in file else {},
    )


def _read_choices(file: NpzReader) -> tuple[int | None, bool, bool]:
    if "choices" not in file:
        return None, False, False
    seed, *flags = file.array("choices", "<u8", (3,)).tolist()
    if max(flags) > 1:
        raise ValueError(f"its choices are {flags}, not 0 or 1")
    return seed, bool(flags[0]), bool(flags[1])


def _read_scaler(file: NpzReader, sizes: tuple[int, ...]) -> Scaler | None:
    if "scaler/x_mean" not in file:
        return None
    x = [file.array(f"scaler/x_{name}", "<f8", (sizes[0],)) for name in ("mean", "scale")]
    y = [file.array(f"scaler/y_{name}", "<f8", (sizes[-1],)) for name in ("mean", "scale") if "scaler/y_mean" in file]
    if not all(np.isfinite(a).all() for a in (*x, *y)) or any((a <= 0).any() for a in (x[1], *y[1:])):
        raise ValueError("its scaler has numbers that are not finite, or scales that are not positive")
    return Scaler(*x, *y)


def _read_optimizer(file: NpzReader) -> Optimizer:
    name = file.text("optimizer/class")
    if name not in OPTIMIZERS:
        raise ValueError(f"it has the state of an unknown optimizer, {name!r:.100}")
    optimizer = OPTIMIZERS[name](**json.loads(file.text("optimizer/arguments")))
    if not isinstance(getattr(optimizer, "learning_rate", None), (int, float)):
        raise ValueError(f"it has the state of {optimizer}, which partial_fit cannot use")
    return optimizer


def _read_checkpoint(file: NpzReader, num_parameters: int) -> dict[str, NDArray[Any]]:
    """Read the arrays of a checkpoint, with the types and shapes that they must have."""
    columns = file.array("checkpoint/columns", "U", (None,))
    expected: dict[str, tuple[str, tuple[int | None, ...]]] = {
        "settings": ("U", ()),
        "monitored": ("U", ()),
        "seed": ("<u8", ()),
        "columns": ("U", (None,)),
        "history": ("<f8", (len(columns), None)),
        "stopped": ("U", ()),
        **{name: (kinds, (None,)) for name, kinds in _STATE.items()},
    }
    if "checkpoint/best_parameters" in file:
        expected["best_parameters"] = ("<f4", (num_parameters,))
    return {name: file.array(f"checkpoint/{name}", kinds, shape) for name, (kinds, shape) in expected.items()}
