"""Saved networks: one .npz file of plain arrays, without pickle, written completely or not at all.

`read` returns plain data, a `SavedNetwork`; `nnpy.load` creates a network from it.
"""

from __future__ import annotations

import io
import json
import lzma
import os
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nnpy._activations import check_activations
from nnpy._atomic_write import replacing
from nnpy._optimizers import OPTIMIZERS, Optimizer
from nnpy._scaler import Scaler
from nnpy._validation import check_layer_sizes

__all__ = ["SavedNetwork", "read", "write"]

_FORMAT = 3
_KIND = "nnpy network"

# What numpy, zipfile and json raise if a file is damaged.
_DAMAGE = (
    *(KeyError, TypeError, ValueError, EOFError, OverflowError, RecursionError, RuntimeError),
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError),
)
_STATE = ("buffer", "numbers")  # the arrays of an OptimizerState
_CHECKPOINT = ("settings", "monitored", "seed", "columns", "history", "stopped", "best_parameters", *_STATE)


class SavedNetwork(NamedTuple):
    """The content of a file, checked.

    Attributes
    ----------
    layer_sizes, activations, parameters, feature_names
        Those of the network.
    scaler : Scaler or None
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
        np.savez(file, **content)


def read(path: str | os.PathLike[str]) -> SavedNetwork:
    """Read a network; see `nnpy.load`."""
    path = Path(path)
    content = io.BytesIO(path.read_bytes())
    if not zipfile.is_zipfile(content):
        raise ValueError(f"{path} is not a network that nnpy saved: it is no .npz file")
    content.seek(0)
    try:
        file = np.load(content, allow_pickle=False)
        if "format" not in file.files or str(file["format"]) != _KIND:
            raise ValueError("it holds other arrays")
        if int(file["version"]) != _FORMAT:
            raise ValueError(f"its format is {int(file['version'])}, and this version of nnpy reads format {_FORMAT}")
        sizes = check_layer_sizes(file["layer_sizes"].tolist())
        num_parameters = sum((rows + 1) * columns for rows, columns in pairwise(sizes))
        optimizer = _read_optimizer(file) if "optimizer/class" in file.files else None
        return SavedNetwork(
            layer_sizes=sizes,
            activations=check_activations(file["activations"].tolist(), len(sizes) - 1),
            parameters=_numbers(file, "parameters", num_parameters, "<f4").astype(np.float32),
            scaler=_read_scaler(file, sizes),
            feature_names=_read_feature_names(file, sizes[0]),
            optimizer=optimizer,
            optimizer_state={} if optimizer is None else {name: file[f"optimizer/{name}"] for name in _STATE},
            checkpoint={name: file[f"checkpoint/{name}"] for name in _CHECKPOINT if f"checkpoint/{name}" in file.files},
        )
    except _DAMAGE as error:
        raise ValueError(f"{path} is not a network that nnpy saved: {error}") from error


def _numbers(file: Mapping[str, NDArray[Any]], name: str, size: int, dtype: str) -> NDArray[Any]:
    array = file[name]
    if array.dtype != np.dtype(dtype) or array.shape != (size,):
        raise ValueError(
            f"its {name} are {array.dtype} of shape {array.shape}, not {np.dtype(dtype)} of shape ({size},)"
        )
    return array


def _read_scaler(file: np.lib.npyio.NpzFile, sizes: tuple[int, ...]) -> Scaler | None:
    if "scaler/x_mean" not in file.files:
        return None

    def pair(prefix: str, size: int) -> list[NDArray[np.float64]]:
        names = (f"scaler/{prefix}_mean", f"scaler/{prefix}_scale")
        return [_numbers(file, name, size, "<f8").astype(np.float64) for name in names]

    x, y = pair("x", sizes[0]), pair("y", sizes[-1]) if "scaler/y_mean" in file.files else []
    if not all(np.isfinite(a).all() for a in (*x, *y)) or any((a <= 0).any() for a in (x[1], *y[1:])):
        raise ValueError("its scaler has numbers that are not finite, or scales that are not positive")
    return Scaler(*x, *y)


def _read_feature_names(file: np.lib.npyio.NpzFile, num_inputs: int) -> tuple[str, ...] | None:
    if "feature_names" not in file.files:
        return None
    names = file["feature_names"]
    if names.dtype.kind != "U" or names.shape != (num_inputs,):
        raise ValueError(f"its feature names are {names.dtype} of shape {names.shape}")
    return tuple(names.tolist())


def _read_optimizer(file: np.lib.npyio.NpzFile) -> Optimizer:
    name = str(file["optimizer/class"])
    if name not in OPTIMIZERS:
        raise ValueError(f"it has the state of an unknown optimizer, {name}")
    return OPTIMIZERS[name](**json.loads(str(file["optimizer/arguments"])))
