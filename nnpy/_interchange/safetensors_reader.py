"""Reads a safetensors file as a network: matrices and vectors by PyTorch's names, of nnpy or of anybody else."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnpy._activations import check_activations
from nnpy._interchange.metadata import parse_texts, set_names
from nnpy._interchange.safetensors_file import load
from nnpy._interchange.state_dict import SCALER_KEYS, scaler_of, set_state
from nnpy._interchange.state_dict import layer_names as numbered
from nnpy._network import NeuralNetwork

__all__ = ["read"]


def read(
    path: str | os.PathLike[str], activations: str | Sequence[str] | None, layer_names: Sequence[str] | None
) -> NeuralNetwork:
    """Return the network in a file. See `nnpy.from_safetensors`."""
    state, metadata = load(path)
    try:
        return _network(state, metadata, activations, layer_names)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{os.fspath(path)} cannot be read as a network: {error}") from error


def _network(
    state: dict[str, NDArray[Any]],
    metadata: Mapping[str, str],
    activations: str | Sequence[str] | None,
    layer_names: Sequence[str] | None,
) -> NeuralNetwork:
    if layer_names is not None and (isinstance(layer_names, str) or not list(layer_names)):
        raise ValueError(f"layer_names must be names of layers, got {layer_names!r}")
    names = _layer_names(state) if layer_names is None else list(layer_names)
    if len(set(names)) < len(names):
        raise ValueError(f"layer_names names a layer twice: {names}")
    if activations is None:
        if "activations" not in metadata:
            raise ValueError(f"it does not say which activation functions the layers {names} have: pass activations=")
        activations = parse_texts(metadata["activations"], "activations")
    known = check_activations(activations, len(names))
    layers = {name: _layer(state, name) for name in names}
    used = {f"{name}.{kind}" for name in names for kind in ("weight", "bias")}
    unknown = [key for key in state if key not in used and key not in SCALER_KEYS]
    if unknown:
        raise ValueError(f"it has arrays that are no weights and biases of these layers: {', '.join(unknown[:8])}")
    for (name, (weights, _)), (other, (others, _)) in pairwise(layers.items()):
        if len(weights) != others.shape[1]:
            raise ValueError(
                f"the layers do not fit: {name!r} has {len(weights)} outputs and {other!r} {others.shape[1]} inputs; "
                "pass layer_names= in the order of the network"
            )
    sizes = [layers[names[0]][0].shape[1], *(len(weights) for weights, _ in layers.values())]
    scaler_of(state, sizes[0], sizes[-1])  # checked before memory is allocated
    net = NeuralNetwork(sizes, known, seed=0)
    own = {key: state[key] for key in SCALER_KEYS if key in state}
    for number, (weights, biases) in zip(numbered(known), layers.values(), strict=True):
        own[f"{number}.weight"], own[f"{number}.bias"] = weights, biases
    set_state(net, own)
    set_names(net, metadata)
    return net


def _layer_names(state: Mapping[str, NDArray[Any]]) -> list[str]:
    """Return the names of the layers, sorted as people do: "fc2" before "fc10"."""
    names = [key.removesuffix(".weight") for key, array in state.items() if key.endswith(".weight") and array.ndim == 2]
    if not names:
        raise ValueError("it has no matrix NAME.weight")
    return sorted(names, key=_sort_key)


def _sort_key(name: str) -> list[str]:
    """Return what sorts names as people do: numbers by their value, text by the alphabet."""
    return [part.rjust(20, "0") if part.isdigit() else part for part in re.split(r"(\d+)", name)]


def _layer(state: Mapping[str, NDArray[Any]], name: str) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return weights, (outputs, inputs), and biases, (outputs,); a layer without biases gets zeros."""
    weights = state.get(f"{name}.weight")
    if weights is None or weights.ndim != 2 or not weights.size:
        raise ValueError(f"it has no matrix {name}.weight")
    return weights, state.get(f"{name}.bias", np.zeros(len(weights), np.float32))
