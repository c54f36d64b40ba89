"""Saved networks: one .npz file of plain arrays, without pickle, written completely or not at all.

`read` returns plain data, a `SavedNetwork`; `nnpy.load` creates a network from it.
"""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import asdict
from itertools import pairwise
from typing import Any, BinaryIO, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from nnpy._activations import check_activations
from nnpy._atomic_write import open_regular, replacing
from nnpy._interrupts import call_uninterrupted
from nnpy._npz import NpzReader
from nnpy._optimizers import OPTIMIZERS, Optimizer
from nnpy._quantized_model import TABLE_SIZE, QuantizedLayer, QuantizedParameters, check_parameters
from nnpy._scaler import Scaler
from nnpy._validation import check_class_names, check_layer_sizes, check_target_names

__all__ = ["FORMAT", "QUANTIZED_FORMAT", "Names", "SavedNetwork", "read", "read_quantized", "write", "write_quantized"]

_T = TypeVar("_T")

FORMAT = 3
_KIND = "nnpy network"
QUANTIZED_FORMAT = 1
_QUANTIZED_KIND = "nnpy quantized network"

_STATE = {"buffer": "f", "numbers": "<f8"}  # the arrays of an OptimizerState, and their types


class Names(NamedTuple):
    """The names that a file holds of inputs, classes and targets; each may be None."""

    features: tuple[str, ...] | None
    classes: tuple[str, ...] | None
    targets: tuple[str, ...] | None


class SavedNetwork(NamedTuple):
    """The content of a file, checked.

    Attributes
    ----------
    layer_sizes, activations, parameters
        Those of the network.
    scaler : Scaler or None
    choices : (int or None, bool, bool)
        The seed, and whether `fit` may choose the last activation and the scaler.
    names : Names
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
    names: Names
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
        "version": np.array(FORMAT),
        "layer_sizes": np.array(state["layer_sizes"], dtype=np.int64),
        "activations": np.array(state["activations"]),
        "parameters": state["parameters"],
    }
    if state["choices"][0] is not None:
        content["choices"] = np.array(state["choices"], dtype="<u8")
    if state["scaler"] is not None:
        arrays = state["scaler"]._asdict()
        content.update({f"scaler/{name}": a.astype("<f8") for name, a in arrays.items() if a is not None})
    content |= _name_arrays(Names(state["feature_names"], state["class_names"], state["target_names"]))
    if with_optimizer and "optimizer" in state:
        content["optimizer/class"] = np.array(type(state["optimizer"]).__name__)
        content["optimizer/arguments"] = np.array(json.dumps(asdict(state["optimizer"])))
        content.update({f"optimizer/{name}": a for name, a in state["optimizer_state"].items()})
    content.update({f"checkpoint/{name}": a for name, a in (checkpoint or {}).items()})
    _write_file(path, content)


def write_quantized(path: str | os.PathLike[str], parameters: QuantizedParameters, names: Names) -> None:
    """Write a network of integers."""
    content: dict[str, Any] = {
        "format": np.array(_QUANTIZED_KIND),
        "version": np.array(QUANTIZED_FORMAT),
        "layer_sizes": np.array(parameters.layer_sizes, dtype=np.int64),
        "activations": np.array(parameters.activations),
        "low": parameters.low.astype("<f4"),
        "inverse_step": parameters.inverse_step.astype("<f4"),
        "output_scale": np.array(parameters.output_scale, dtype="<f4"),
        "method": np.array(parameters.method),
    }
    if parameters.y_mean is not None and parameters.y_scale is not None:
        content["y_mean"], content["y_scale"] = parameters.y_mean.astype("<f8"), parameters.y_scale.astype("<f8")
    content |= _name_arrays(names)
    for number, layer in enumerate(parameters.layers):
        content[f"layers/{number}/weights"] = layer.weights
        content[f"layers/{number}/biases"] = layer.biases.astype("<i4")
        content[f"layers/{number}/multipliers"] = layer.multipliers.astype("<i4")
        content[f"layers/{number}/shift"] = np.array(layer.shift, dtype="<i4")
        if layer.table is not None:
            content[f"layers/{number}/table"] = layer.table.astype("<i2")
    _write_file(path, content)


def _name_arrays(names: Names) -> dict[str, NDArray[Any]]:
    """Return the optional arrays of names. Versions of nnpy that do not know one ignore it."""
    arrays = {"feature_names": names.features, "class_names": names.classes, "target_names": names.targets}
    return {name: np.array(array) for name, array in arrays.items() if array is not None}


def _write_file(path: str | os.PathLike[str], content: Mapping[str, NDArray[Any]]) -> None:
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
    return _read_file(path, _read)


def read_quantized(path: str | os.PathLike[str]) -> tuple[QuantizedParameters, Names]:
    """Read a network of integers, and its names; see `nnpy.QuantizedNetwork.load`."""
    return _read_file(path, _read_quantized)


def _read_file(path: str | os.PathLike[str], parse: Callable[[bytes], _T]) -> _T:
    with open_regular(path) as file:
        content = file.read()
    try:
        return call_uninterrupted(lambda: parse(content))
    except Exception as error:  # a damaged file may raise almost anything
        raise ValueError(f"{os.fspath(path)} is not a network that nnpy saved: {error}") from error


def _open(content: bytes, kind: str, expected_version: int) -> NpzReader:
    """Return the arrays of a file, if it holds a network of that kind in that version of its format."""
    if not zipfile.is_zipfile(io.BytesIO(content)):
        raise ValueError("it is no .npz file")
    file = NpzReader(content)
    found = file.text("format") if "format" in file else ""
    if found != kind:
        cure = {
            _KIND: "it holds a network of floats, which nnpy.load reads",
            _QUANTIZED_KIND: "it holds a network of 8-bit integers, which nnpy.QuantizedNetwork.load reads",
        }
        raise ValueError(cure.get(found, "it holds other arrays"))
    version = int(file.array("version", "iu", ()))
    if version != expected_version:
        raise ValueError(f"its format is {version}, and this version of nnpy reads format {expected_version}")
    return file


def _read_names(file: NpzReader, sizes: tuple[int, ...]) -> Names:
    features = file.array("feature_names", "U", (sizes[0],)).tolist() if "feature_names" in file else None
    classes, targets = (
        file.array(name, "U", (None,)).tolist() if name in file else None for name in ("class_names", "target_names")
    )
    return Names(
        None if features is None else tuple(features),
        check_class_names(classes, sizes[-1]),
        check_target_names(targets, sizes[-1]),
    )


def _read_quantized(content: bytes) -> tuple[QuantizedParameters, Names]:
    file = _open(content, _QUANTIZED_KIND, QUANTIZED_FORMAT)
    sizes = check_layer_sizes(file.array("layer_sizes", "iu", (None,)).tolist())
    layers = []
    for number, (inputs, outputs) in enumerate(pairwise(sizes)):
        prefix = f"layers/{number}"
        table = file.array(f"{prefix}/table", "<i2", (TABLE_SIZE,)) if f"{prefix}/table" in file else None
        layers.append(
            QuantizedLayer(
                file.array(f"{prefix}/weights", "|i1", (outputs, inputs)),
                file.array(f"{prefix}/biases", "<i4", (outputs,)),
                file.array(f"{prefix}/multipliers", "<i4", (outputs,)),
                int(file.array(f"{prefix}/shift", "<i4", ())),
                table,
            )
        )
    num_ranges = len(file.array("low", "<f4", (None,)))
    if num_ranges not in (1, sizes[0]):
        raise ValueError(f"it has {num_ranges} ranges for {sizes[0]} inputs")
    parameters = QuantizedParameters(
        layer_sizes=sizes,
        activations=check_activations(file.array("activations", "U", (len(sizes) - 1,)).tolist(), len(sizes) - 1),
        low=file.array("low", "<f4", (num_ranges,)),
        inverse_step=file.array("inverse_step", "<f4", (num_ranges,)),
        layers=tuple(layers),
        output_scale=float(file.array("output_scale", "<f4", ())),
        y_mean=file.array("y_mean", "<f8", (sizes[-1],)) if "y_mean" in file else None,
        y_scale=file.array("y_scale", "<f8", (sizes[-1],)) if "y_mean" in file else None,
        method=file.text("method"),
    )
    check_parameters(parameters)
    return parameters, _read_names(file, sizes)


def _read(content: bytes) -> SavedNetwork:
    file = _open(content, _KIND, FORMAT)
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
        names=_read_names(file, sizes),
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
