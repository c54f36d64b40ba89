"""Networks in safetensors files: the names and shapes of `state_dict`, and what else nnpy needs in the file's metadata."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import safetensors
from numpy.typing import NDArray
from safetensors import numpy as safetensors_numpy

from nnpy._atomic_write import open_regular, replacing
from nnpy._interchange.metadata import get_names
from nnpy._interchange.state_dict import get_state
from nnpy._model import Model

__all__ = ["load", "write"]


def write(net: Model, path: str | os.PathLike[str]) -> None:
    """Write the file; see `NeuralNetwork.to_safetensors`."""
    metadata = {"format": "pt", "producer": "nnpy", "activations": json.dumps(net.activations), **get_names(net)}
    content = safetensors_numpy.save(get_state(net), metadata)
    with replacing(path) as file:
        file.write(content)


def load(path: str | os.PathLike[str]) -> tuple[dict[str, NDArray[Any]], Mapping[str, str]]:
    """Return the arrays of a file in its order, and the metadata of nnpy, if it is from nnpy."""
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"path must be a str or a path-like object, got {type(path).__name__}")
    open_regular(path).close()  # an OSError if there is no such file
    try:
        with safetensors.safe_open(os.fspath(path), framework="numpy") as file:
            metadata = file.metadata() or {}
            if metadata.get("producer") != "nnpy":  # which may mean something else by the same words
                metadata = {}
            state = {name: np.asarray(file.get_tensor(name)) for name in file.keys()}  # noqa: SIM118
    except Exception as error:  # of the library, and of numpy for types that it does not have
        raise ValueError(f"{os.fspath(path)} is not a safetensors file that can be read: {error}") from error
    return state, metadata
