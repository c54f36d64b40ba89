"""Checks of scalar arguments: numbers, sizes, seeds. Arrays are checked in `nnpy._arrays`."""

from __future__ import annotations

import math
import operator
import os
from collections.abc import Iterable, Sequence
from dataclasses import fields
from numbers import Number
from typing import Any

import numpy as np

__all__ = [
    "COUNT_MAX",
    "FLOAT_MAX",
    "check_class_names",
    "check_feature_names",
    "check_layer_sizes",
    "check_seed",
    "check_target_names",
    "fraction",
    "integer",
    "not_negative",
    "positive",
    "random_seed",
    "real",
    "short_list",
    "use_python_numbers",
]

COUNT_MAX = 2**63 - 1  # the largest number of epochs, iterations or samples
FLOAT_MAX = float(np.finfo(np.float32).max)


def check_layer_sizes(sizes: Sequence[int]) -> tuple[int, ...]:
    """Return layer sizes as a tuple of at least two positive integers, or raise a TypeError, ValueError or MemoryError."""
    try:
        if isinstance(sizes, (str, bytes)):
            raise TypeError
        given = tuple(sizes)
        if any(isinstance(size, (bool, np.bool_)) for size in given):
            raise TypeError
        sizes = tuple(map(operator.index, given))
    except TypeError:
        raise TypeError(f"layer_sizes must be a sequence of integers such as [2, 2, 1], got {sizes!r}") from None
    if len(sizes) < 2:
        raise ValueError(
            f"layer_sizes must have at least 2 entries, the inputs and the outputs, got {short_list(sizes)}"
        )
    if min(sizes) < 1:
        raise ValueError(f"layer_sizes must be positive, got {short_list(sizes)}")
    if max(sizes) >= 2**63 or math.prod(sizes[:2]) >= 2**63:
        raise MemoryError(f"not enough memory for a network with layers of {short_list(sizes)} neurons")
    return sizes


def short_list(values: Sequence[object]) -> str:
    """Return the values as a list, with the first ones only if there are many."""
    return (
        repr(list(values))
        if len(values) <= 30
        else f"[{', '.join(map(repr, values[:10]))}, ... {len(values):,} in all]"
    )


def check_feature_names(names: Any, num_inputs: int) -> tuple[str, ...] | None:
    """Return names of inputs, one for each, which need not be different; None stays None."""
    return _check_names(names, "feature_names", {num_inputs}, f"{num_inputs} names, one per input", are_different=False)


def check_class_names(names: Any, num_outputs: int) -> tuple[str, ...] | None:
    """Return names of classes: one for each output, two for a single output, all different; None stays None."""
    num_classes = 2 if num_outputs == 1 else num_outputs
    return _check_names(names, "class_names", {num_classes}, f"{num_classes} different names, one for each class")


def check_target_names(names: Any, num_outputs: int) -> tuple[str, ...] | None:
    """Return names of targets: one for each output, or a single one, of the classes; None stays None."""
    wanted = "1 name" if num_outputs == 1 else f"1 name, or {num_outputs} different names, one for each output"
    return _check_names(names, "target_names", {1, num_outputs}, wanted)


def _check_names(
    names: Any, what: str, lengths: set[int], wanted: str, *, are_different: bool = True
) -> tuple[str, ...] | None:
    if names is None:
        return None
    given = tuple(names) if isinstance(names, Iterable) and not isinstance(names, str) else ()
    if (
        len(given) not in lengths
        or not all(isinstance(name, str) and "\0" not in name for name in given)  # a file cannot hold a NUL at the end
        or (are_different and len(set(given)) < len(given))
    ):
        raise ValueError(f"{what} must be {wanted}, got {names!r:.200}")
    return given


def random_seed(bits: int) -> int:
    """Return a random integer from 0 to 2**bits - 1, taken from the operating system."""
    return int.from_bytes(os.urandom(bits // 8), "little")


def check_seed(seed: int | None, bits: int = 64) -> int:
    """Return the seed, from 0 to 2**bits - 1; a random one for None."""
    return random_seed(bits) if seed is None else integer(seed, "seed", 0, 2**bits - 1)


def integer(value: int, name: str, low: int, high: int) -> int:
    """Return an integer from low to high."""
    if isinstance(value, (bool, np.bool_)) or not hasattr(type(value), "__index__"):
        raise TypeError(f"{name} must be an integer, got {value!r}")
    try:
        value = operator.index(value)
    except TypeError:  # an array has __index__, too
        raise TypeError(f"{name} must be an integer, got {value!r}") from None
    if not low <= value <= high:
        raise ValueError(f"{name} must be from {low} to {high}, got {value}")
    return value


def real(value: float, name: str) -> float:
    """Return a number that is finite in float32."""
    if isinstance(value, (bool, np.bool_, str, bytes)) or (isinstance(value, np.ndarray) and value.ndim > 0):
        raise TypeError(f"{name} must be a real number, got {value!r}")
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be a real number, got {value!r}") from None
    except OverflowError:
        number = math.inf
    if not abs(number) <= FLOAT_MAX:
        raise ValueError(f"{name} must be finite in float32, got {value!r}")
    return number


def not_negative(value: float, name: str) -> float:
    """Return a number that is finite in float32 and not negative."""
    number = real(value, name)
    if number < 0:
        raise ValueError(f"{name} must not be negative, got {value!r}")
    return number


def positive(value: float, name: str) -> float:
    """Return a number that is finite and positive in float32."""
    number = real(value, name)
    if np.float32(number) <= 0:
        raise ValueError(f"{name} must be positive in float32, got {value!r}")
    return number


def fraction(value: float, name: str) -> float:
    """Return a number from 0 to less than 1."""
    number = real(value, name)
    if not 0 <= number < 1:
        raise ValueError(f"{name} must be from 0 to less than 1, got {value!r}")
    return number


def use_python_numbers(instance: Any) -> None:
    """Replace numbers of numpy, fractions and decimals in the fields of a frozen dataclass by Python's int and float.

    Those can be saved as JSON and multiplied with each other, and their repr does not depend on numpy. What is no number is
    left to the checks of the class.
    """
    for field in fields(instance):
        value = getattr(instance, field.name)
        if isinstance(value, np.generic) or (isinstance(value, np.ndarray) and value.ndim == 0):
            value = value.item()
        elif isinstance(value, Number) and not isinstance(value, (int, float, complex)):
            try:
                value = float(value)  # type: ignore[arg-type]
            except (TypeError, ValueError, OverflowError):
                continue
        object.__setattr__(instance, field.name, value)
