"""The libraries that this package needs: each is an extra of nnpy."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["needs"]

_KERAS_BACKENDS = ("tensorflow", "jax", "torch")
_NAMES = {"keras": "Keras", "onnx": "onnx", "safetensors": "safetensors", "torch": "PyTorch"}


@contextmanager
def needs(package: str, function: str) -> Iterator[None]:
    """Import a module of nnpy in this block; if the package that it needs is not there, the error names the extra."""
    try:
        yield
    except ImportError as error:
        missing = (error.name or "").partition(".")[0]
        if package == "keras" and missing in _KERAS_BACKENDS:
            raise ImportError(
                f"Keras needs {missing}, its backend: install it, or set the environment variable KERAS_BACKEND to another one "
                f"of {', '.join(_KERAS_BACKENDS)}",
                name=missing,
            ) from error
        if missing != package:
            raise
        raise ImportError(f"{function} needs {_NAMES[package]}: pip install 'nnpy[{package}]'", name=package) from error
