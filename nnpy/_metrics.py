"""Metrics for `fit`, `evaluate` and `score`: the accuracy and R^2. Their arguments are those of scikit-learn's metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnpy._losses import BinaryCrossEntropy, CrossEntropy, Loss

__all__ = [
    "Metric",
    "accuracy_for",
    "check_metrics",
    "class_threshold",
    "is_classifier",
    "measure",
    "predicted_classes",
    "r2_score",
    "score",
    "threshold_for_classes",
]

Metric = Callable[[NDArray[Any], NDArray[Any]], float]  # called with targets and outputs


def is_classifier(loss: Loss, last_activation: str) -> bool:
    """Whether a network with that loss and last activation gives probabilities of classes."""
    return isinstance(loss, CrossEntropy) or (isinstance(loss, BinaryCrossEntropy) and last_activation == "sigmoid")


def class_threshold(last_activation: str) -> float | None:
    """Return the number above which a single output stands for class 1; None if such an output is no class."""
    return {"sigmoid": 0.5, "tanh": 0.0}.get(last_activation)


def threshold_for_classes(last_activation: str, num_outputs: int) -> float:
    """Return the number above which a single output stands for class 1. Raise a ValueError if such an output is no class."""
    threshold = class_threshold(last_activation)
    if num_outputs == 1 and threshold is None:
        raise ValueError(
            f'classes need several outputs, or one of "sigmoid" or "tanh"; the network has one of "{last_activation}"'
        )
    return 0.5 if threshold is None else threshold


def score(
    last_activation: str, y: NDArray[Any], out: NDArray[Any], weights: NDArray[np.float64] | None = None
) -> float:
    """Return the accuracy if the last activation is "softmax" or "sigmoid", else R^2.

    y : labels, shape (n,), or targets, shape (n,) or (n, n_outputs). out : shape (n, n_outputs). weights : shape (n,).
    """
    if weights is not None and not weights.sum() > 0:
        raise ValueError("all samples have a weight of 0")
    targets = y.reshape(len(y), -1)
    if last_activation not in {"softmax", "sigmoid"}:
        return r2_score(targets, out, weights)
    classes = out.argmax(axis=1) if last_activation == "softmax" else predicted_classes(out, 0.5)
    right = predicted_classes(targets, 0.5) if targets.shape[1] > 1 or last_activation == "sigmoid" else targets[:, 0]
    return float(np.average(classes == right, weights=weights))


def predicted_classes(out: NDArray[Any], threshold: float) -> NDArray[np.int64]:
    """Return the class of each row of out, shape (n, n_outputs): the largest output; of a single one, 1 above threshold."""
    classes = out[:, 0] > threshold if out.shape[1] == 1 else out.argmax(axis=1)
    return classes.astype(np.int64)


def accuracy_for(loss: Loss, last_activation: str) -> Metric:
    """Return the accuracy as a function of y and the outputs.

    It is the proportion of samples whose class has the largest output. With the binary cross-entropy, or a single output, it is
    the proportion of outputs on the right side of the threshold: 0.5, or 0 for logits and "tanh". Missing targets are left out.
    """
    is_binary = isinstance(loss, BinaryCrossEntropy)
    threshold = 0.0 if (last_activation == "linear" and is_binary) or last_activation == "tanh" else 0.5

    def accuracy(y: NDArray[Any], out: NDArray[Any]) -> float:
        out = out.reshape(len(out), -1)
        if is_binary or (out.shape[1] == 1 and not isinstance(loss, CrossEntropy)):
            y = y.reshape(out.shape)
            valid = ~np.isnan(y)
            return _proportion(
                (out > threshold)[valid] == (y > threshold if last_activation == "tanh" else y > 0.5)[valid]
            )
        if y.ndim == 2 and y.shape[1] > 1:
            valid = ~np.isnan(y).any(axis=1)
            y, out = y[valid].argmax(axis=1), out[valid]
        return _proportion(out.argmax(axis=1) == y.reshape(-1))

    return accuracy


def _proportion(right: NDArray[np.bool_]) -> float:
    """Return the proportion of True; NaN if all targets are missing."""
    return float(np.mean(right)) if right.size else float("nan")


def r2_score(y: NDArray[Any], out: NDArray[Any], weights: NDArray[np.float64] | None = None) -> float:
    """Return the coefficient of determination R^2, averaged over the outputs; missing targets are left out.

    y and out have the shape (n, n_outputs), weights has (n,).

    1 - sum (y - out)^2 / sum (y - mean(y))^2 for each output; where y does not vary, 1 if the outputs are exact, else 0.
    """
    y, out = y.reshape(len(y), -1).astype(np.float64), out.reshape(len(out), -1).astype(np.float64)
    weights = np.ones(len(y)) if weights is None else weights
    scores = []
    for target, output in zip(y.T, out.T, strict=True):
        valid = ~np.isnan(target)
        w, t, o = weights[valid], target[valid], output[valid]
        if not w.sum() > 0:
            continue
        with np.errstate(invalid="ignore"):  # 0 times infinity
            residual = float(np.sum(np.where(w > 0, w * (t - o) ** 2, 0)))
        total = float(np.sum(w * (t - np.average(t, weights=w)) ** 2))
        scores.append(1 - residual / total if total > 0 else float(residual == 0))
    return float(np.mean(scores)) if scores else float("nan")


_RESERVED = {"loss", "val_loss", "learning_rate", "seconds"}


def check_metrics(
    metrics: str | Metric | Iterable[str | Metric] | Mapping[str, str | Metric],
    loss: Loss,
    last_activation: str,
    *,
    prefix: str = "",
) -> dict[str, Metric]:
    """Check metrics: "accuracy", "r2", or functions of y and the outputs. Return them by their names in a history."""
    if isinstance(metrics, str) or not isinstance(metrics, Iterable):
        metrics = [metrics]
    named = {"accuracy": accuracy_for(loss, last_activation), "r2": r2_score}
    items = metrics.items() if isinstance(metrics, Mapping) else (("", metric) for metric in metrics)
    found: dict[str, Metric] = {}
    for given_name, metric in items:
        name, function = given_name, metric
        if isinstance(metric, str) and metric in named:
            name, function = given_name or metric, named[metric]
        if function is r2_score and isinstance(loss, CrossEntropy):
            raise ValueError(
                'the metric "r2" is for a regression, and the cross-entropy is for classes: use "accuracy"'
            )
        if not callable(function):
            raise TypeError(
                f"a metric must be 'accuracy', 'r2' or a function of y and the outputs that returns a number, got {metric!r}"
            )
        name = prefix + (name or str(getattr(function, "__name__", type(function).__name__)))
        if name in _RESERVED:
            raise ValueError(
                f"a metric must not be named {name!r}, which is a column of the history: pass another name in a mapping"
            )
        if name in found:
            raise ValueError(
                f"each metric needs a name of its own, got {name!r} twice: pass a mapping of names to metrics"
            )
        found[name] = function
    return found


def measure(metrics: Mapping[str, Metric], y: NDArray[Any], out: NDArray[Any]) -> dict[str, float]:
    """Compute metrics of targets, as the caller passed them, and of outputs, shape (n, n_outputs), in the same units."""
    out = out[:, 0] if y.ndim == 1 and out.shape[1] == 1 else out  # the same shape, so that y - out works
    values = {}
    for name, metric in metrics.items():
        value = metric(y, out)
        try:
            values[name] = float(value)
        except (TypeError, ValueError):
            raise TypeError(f"a metric must return a number, {name!r} returned {value!r}") from None
    return values
