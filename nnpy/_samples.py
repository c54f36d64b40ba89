"""Samples: inputs and targets that go together, checked, and described to C as NNSamples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nnpy._activations import ACTIVATIONS
from nnpy._arrays import as_table, check_finite, is_within, matrix_fields, to_array, to_float32
from nnpy._ffi import ffi
from nnpy._losses import BinaryCrossEntropy, CrossEntropy, Loss
from nnpy._scaler import Scaler
from nnpy._validation import FLOAT_MAX, not_negative

__all__ = ["Samples", "as_samples", "category_codes", "check_sample_weight", "is_categorical", "rows_of", "to_targets"]


class Samples(NamedTuple):
    """Checked inputs and targets. x may still contain NaN or infinity: C finds them when it reads x.

    Attributes
    ----------
    c : cdata of NNSamples *
        It points into the arrays below.
    x : ndarray of float32, shape (n, n_inputs)
        The inputs of the first layer, scaled if the network has a scaler.
    y : ndarray of float32, shape (n, n_outputs), or of int32, shape (n,)
        The targets for the last layer, scaled if the network has a scaler for them; or labels.
    given_y : ndarray
        Targets as the caller passed them, for metrics.
    weights : ndarray of float32, shape (n,), or None
        Sample weights.
    """

    c: Any
    x: NDArray[np.float32]
    y: NDArray[np.float32] | NDArray[np.int32]
    given_y: NDArray[Any]
    weights: NDArray[np.float32] | None

    @classmethod
    def of(
        cls,
        x: NDArray[np.float32],
        y: NDArray[np.float32] | NDArray[np.int32],
        given_y: NDArray[Any],
        weights: NDArray[np.float32] | None,
    ) -> Samples:
        """Describe arrays that are checked. One-dimensional targets are labels, int32."""
        fields: dict[str, Any] = {"x": matrix_fields(x)}
        if y.ndim == 1:
            fields["labels"] = ffi.cast("int32_t *", y.__array_interface__["data"][0])
        else:
            fields["y"] = matrix_fields(np.asarray(y, dtype=np.float32))
        if weights is not None:
            fields["sample_weights"] = ffi.cast("float *", weights.__array_interface__["data"][0])
        return cls(ffi.new("NNSamples *", fields), x, y, given_y, weights)

    def __len__(self) -> int:
        return len(self.x)

    def check_inputs(self) -> None:
        """Raise a ValueError that names the first input that is not finite, if there is one."""
        check_finite(self.x, "x")


def as_samples(
    x: ArrayLike,
    y: ArrayLike,
    layer_sizes: tuple[int, ...],
    last_activation: str,
    *,
    loss: Loss,
    missing: str = "raise",
    sample_weight: ArrayLike | None = None,
    class_weight: Mapping[int, float] | str | None = None,
    normalize_weights: bool = True,
    scaler: Scaler | None = None,
    check_range: bool = False,
    copy_if_in: NDArray[np.float32] | None = None,
) -> Samples:
    """Check that inputs x and targets y fit each other and the network; convert and scale them.

    Parameters
    ----------
    x : array_like, shape (n, layer_sizes[0])
    y : array_like, shape (n, layer_sizes[-1])
        With `CrossEntropy`, integer labels of shape (n,) or (n, 1) as well.
    layer_sizes, last_activation
        Those of the network.
    loss : Loss
    missing : {"raise", "ignore"}
        With "ignore", NaN in y is a missing target.
    sample_weight : array_like, shape (n,), optional
    class_weight : mapping or "balanced", optional
    normalize_weights : bool
        Divide the weights by their mean. False for a batch, because its mean is not the mean of all weights.
    scaler : Scaler, optional
        Scales x and, if it has a part for y, y.
    check_range : bool
        Refuse targets that are not possible outputs of the last layer. True for training.
    copy_if_in : ndarray, optional
        Memory that training will write to: x and y are copied if they are views of it.

    Raises
    ------
    TypeError, ValueError
        If an argument has another type, shape or range.
    """
    if missing not in {"raise", "ignore"}:
        raise ValueError(f"missing must be 'raise' or 'ignore', got {missing!r}")
    inputs = as_table(x, "x", layer_sizes[0], what="input")
    given = to_targets(y)
    labels = _as_labels(given, layer_sizes[-1]) if isinstance(loss, CrossEntropy) else None
    if labels is None:
        given = to_array(given, "y")
        given = given.astype(np.float32) if given.dtype.kind == "b" else given
        _refuse_labels(given, layer_sizes[-1], last_activation)
        table = as_table(given, "y", layer_sizes[-1], what="output")
        targets = to_float32(table)
    else:
        given, targets = labels, np.empty((0, layer_sizes[-1]), np.float32)
    num_targets = len(targets) if labels is None else len(labels)
    if len(inputs) != num_targets:
        raise ValueError(f"x and y must have the same number of rows, got {len(inputs)} and {num_targets}")
    if len(inputs) == 0:
        raise ValueError("x and y must have at least one row, got none")
    is_scaled = scaler is not None and scaler.y_mean is not None and labels is None
    if labels is None:
        _check_targets(targets, loss, last_activation, missing, check_range=check_range and not is_scaled)
    weights = _weights(
        targets, labels, missing, sample_weight=sample_weight, class_weight=class_weight, normalize=normalize_weights
    )
    if is_scaled and isinstance(loss, BinaryCrossEntropy):
        raise ValueError(f'the loss "{loss.name}" needs targets that are not scaled: call fit_scaler(x) without y')
    inputs = to_float32(inputs) if scaler is None else scaler.scale_x(inputs)
    if is_scaled and scaler is not None:
        targets = scaler.scale_y(table)
    if copy_if_in is not None:
        inputs, targets = (a.copy() if np.may_share_memory(a, copy_if_in) else a for a in (inputs, targets))
    return Samples.of(inputs, targets if labels is None else labels, given, weights)


# ---- Targets ----


def _check_targets(
    targets: NDArray[np.float32], loss: Loss, last_activation: str, missing: str, *, check_range: bool
) -> None:
    """Refuse targets that are not finite, are no probabilities where the loss needs them, or are out of range.

    check_range: the targets must be possible outputs of the last layer, or training would never reach them.
    """
    allow_nan = missing == "ignore"
    needs_probabilities = isinstance(loss, (CrossEntropy, BinaryCrossEntropy))
    low, high = -FLOAT_MAX, FLOAT_MAX
    if needs_probabilities:
        low, high = 0.0, 1.0 if isinstance(loss, BinaryCrossEntropy) else FLOAT_MAX
    elif check_range:
        activation = ACTIVATIONS[last_activation]
        low, high = max(low, activation.low), min(high, activation.high)
    if is_within(targets, low, high, allow_nan=allow_nan):
        return
    check_finite(targets, "y", allow_nan=allow_nan)
    smallest, largest = np.nanmin(targets), np.nanmax(targets)
    if needs_probabilities:
        raise ValueError(f"y must be probabilities, got {smallest if smallest < 0 else largest}")
    if last_activation in {"sigmoid", "softmax"} and set(np.unique(targets[~np.isnan(targets)]).tolist()) == {
        -1.0,
        1.0,
    }:
        cure = "Use 0 and 1 for the classes"
    else:
        cure = 'Use "linear" as the last activation'
    raise ValueError(
        f'y is from {smallest:g} to {largest:g}, but the outputs of the last layer, "{last_activation}", are '
        f"{ACTIVATIONS[last_activation].describe_range()}. {cure}"
    )


# ---- Labels ----


def to_targets(y: Any) -> Any:
    """Return y as an ndarray, or as it is if it has categories."""
    return y if is_categorical(y) else to_array(y, "y")


def rows_of(y: Any) -> NDArray[Any]:
    """Return y as an array with rows, of any type; categories as their numbers."""
    targets = category_codes(y) if is_categorical(y) else to_array(y, "y")
    return targets[np.newaxis] if targets.ndim == 0 else targets


def is_categorical(y: Any) -> bool:
    """Whether y has categories: a series of pandas or polars, or a pandas.Categorical."""
    return type(getattr(y, "dtype", None)).__name__ in {"CategoricalDtype", "Categorical", "Enum"}


def category_codes(y: Any) -> NDArray[Any]:
    """Return the numbers of the categories of a categorical; -1 for a missing one."""
    if hasattr(y, "to_physical"):  # polars
        return np.asarray(y.to_physical().cast(int).fill_null(-1).to_numpy())
    return np.asarray(y.cat.codes if hasattr(y, "cat") else y.codes)


def _as_labels(y: Any, num_classes: int) -> NDArray[np.int32] | None:
    """Return y as class indices, or None if it is a table of probabilities.

    Labels are integers, booleans, whole floats or categories, of shape (n,) or (n, 1).
    """
    array: NDArray[Any] = category_codes(y) if is_categorical(y) else to_array(y, "y")
    if array.ndim == 2 and array.shape[1] == 1 and num_classes > 1:
        array = array[:, 0]
    if array.ndim != 1:
        return None
    if array.dtype.kind == "f" and np.isfinite(array).all() and (array == np.floor(array)).all():
        array = array.astype(np.int64) if np.abs(array).max(initial=0) < 2**62 else array
    if array.dtype.kind not in "iub":
        got = f"{array.dtype} of shape {array.shape}"
        if array.dtype.kind in "OUST":
            got += f", such as {array.tolist()[0]!r}; number the classes first" if len(array) else ""
        raise TypeError(f"y must be integer labels, or rows of {num_classes} probabilities, got {got}")
    if len(array) and (array.min() < 0 or array.max() >= num_classes):
        if is_categorical(y) and array.min() < 0:
            raise ValueError("y has missing categories")
        raise ValueError(f"y must be labels from 0 to {num_classes - 1}, got {array.min()} to {array.max()}")
    return np.array(
        array, dtype=np.int32
    )  # always a copy: C uses labels as indices, so nobody may change them any more


def _refuse_labels(y: NDArray[Any], num_outputs: int, last_activation: str) -> None:
    """Explain what to do with labels where the loss takes none."""
    is_column = y.ndim == 1 or (y.ndim == 2 and y.shape[1] == 1)
    if num_outputs > 1 and is_column and y.dtype.kind in "iu":
        cure = f'the loss "{CrossEntropy.name}"' if last_activation == "softmax" else '"softmax" as the last activation'
        raise ValueError(
            f'y has the shape {y.shape}, but the network has {num_outputs} outputs of "{last_activation}". If y holds class '
            f"labels, use {cure}, or one-hot targets: np.eye({num_outputs})[y]"
        )


# ---- Weights ----


def _weights(
    targets: NDArray[np.float32],
    labels: NDArray[np.int32] | None,
    missing: str,
    *,
    sample_weight: ArrayLike | None,
    class_weight: Mapping[int, float] | str | None,
    normalize: bool,
) -> NDArray[np.float32] | None:
    """Return the product of all weights of each sample, or None if all are 1. A sample without any target has the weight 0."""
    num = len(targets) if labels is None else len(labels)
    factors: list[NDArray[np.float64]] = []
    if sample_weight is not None:
        factors.append(check_sample_weight(sample_weight, num))
    if class_weight is not None:
        factors.append(_class_weights(class_weight, targets, labels))
    if missing == "ignore" and labels is None:
        has_target = ~np.isnan(targets).all(axis=1)
        if not has_target.all():
            factors.append(np.asarray(has_target, dtype=np.float64))
    if not factors:
        return None
    if normalize:  # divided by their largest number first, large factors do not overflow in the product or the sum
        factors = [factor / factor.max() if factor.max() > 0 else factor for factor in factors]
    with np.errstate(over="ignore"):
        weights: NDArray[np.float64] = np.prod(factors, axis=0)
    if normalize:
        if not weights.max() > 0:
            raise ValueError("all samples have a weight of 0 or no target")
        weights /= weights.max()
        weights /= weights.mean()
    elif not (weights <= FLOAT_MAX).all():
        raise ValueError(
            f"the weight of a sample, sample_weight times class_weight, must be finite in float32, got {weights.max()}"
        )
    return np.ascontiguousarray(weights, dtype=np.float32)


def check_sample_weight(values: ArrayLike, num: int) -> NDArray[np.float64]:
    """Return weights of `num` samples in float64, or raise a TypeError or ValueError."""
    array = to_array(values, "sample_weight")
    if array.dtype.kind not in "fiub":
        raise TypeError(f"sample_weight must be real numbers, got an array of dtype {array.dtype}")
    if array.shape != (num,):
        raise ValueError(f"sample_weight must have shape ({num},), one number per sample, got {array.shape}")
    with np.errstate(over="ignore"):  # of a longdouble; checked next
        weights = array.astype(np.float64)
    if not (np.isfinite(weights).all() and (weights >= 0).all()):
        raise ValueError("sample_weight must be finite and not negative")
    return weights


def _class_weights(
    class_weight: Mapping[int, float] | str, targets: NDArray[np.float32], labels: NDArray[np.int32] | None
) -> NDArray[np.float64]:
    """Return the weight of the class of each sample: its label, or its target 0 or 1 if there is a single output."""
    if labels is None:
        if targets.shape[1] != 1 or not np.isin(targets, (0, 1)).all():
            raise ValueError("class_weight needs integer labels, or targets 0 and 1 for a network with one output")
        labels = targets[:, 0].astype(np.int32)
    if isinstance(class_weight, str):
        if class_weight != "balanced":
            raise ValueError(f"class_weight must be 'balanced' or a mapping of labels to numbers, got {class_weight!r}")
        counts = np.bincount(labels)
        balanced: NDArray[np.float64] = len(labels) / (np.count_nonzero(counts) * counts[labels].astype(np.float64))
        return balanced
    if not isinstance(class_weight, Mapping):
        raise TypeError(f"class_weight must be 'balanced' or a mapping of labels to numbers, got {class_weight!r}")
    present = np.unique(labels).tolist()
    absent = [label for label in present if label not in class_weight]
    if absent:
        raise ValueError(f"class_weight has no weight for the label {absent[0]}")
    table = np.zeros(int(labels.max()) + 1)
    for label in present:
        table[label] = not_negative(class_weight[label], f"class_weight[{label}]")
    return table[labels]
