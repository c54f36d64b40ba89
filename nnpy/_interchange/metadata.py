"""The names of inputs, classes and targets as metadata of files: texts of JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping

from nnpy._model import Model

__all__ = ["get_names", "parse_texts", "set_names"]

_NAMES = ("feature_names", "class_names", "target_names")  # attributes of a network


def get_names(net: Model) -> dict[str, str]:
    """Return the metadata for the names that a network has."""
    return {key: json.dumps(names) for key in _NAMES if (names := getattr(net, key)) is not None}


def set_names(net: Model, metadata: Mapping[str, str]) -> None:
    """Give a network the names in metadata; a ValueError if they are damaged, or are too few or too many."""
    for key in _NAMES:
        if key in metadata:
            setattr(net, key, parse_texts(metadata[key], key.replace("_", " ")))


def parse_texts(text: str, what: str) -> list[str]:
    """Return the list of texts that a text of JSON is."""
    try:
        texts = json.loads(text)
    except (ValueError, RecursionError):
        texts = None
    if not isinstance(texts, list) or not all(isinstance(item, str) for item in texts):
        raise ValueError(f"its {what} are damaged")
    return texts
