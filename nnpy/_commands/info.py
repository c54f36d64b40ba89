"""``nnpy info``: describes a saved network, of floats or of integers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import nnpy
from nnpy._commands import files, report

if TYPE_CHECKING:
    from nnpy._serialization import SavedNetwork

__all__ = ["describe"]

_MAX_ROWS = 40  # of the table of inputs
_MAX_CLASSES = 100


def describe(path: str) -> str:
    """Return a description of a file: its format, layers, inputs, classes, and what else it holds.

    Raises
    ------
    OSError, ValueError
        If it cannot be read or is no network.
    """
    from nnpy import _serialization  # other commands start without it

    net = files.load(path)
    is_quantized = isinstance(net, nnpy.QuantizedNetwork)
    kind = "a network of 8-bit integers" if is_quantized else "a network"
    number = _serialization.QUANTIZED_FORMAT if is_quantized else _serialization.FORMAT
    lines = [f"{report.shown(path)}: {kind}, {Path(path).stat().st_size:,} bytes, format {number}", net.summary()]
    lines += _describe_names(net)
    if isinstance(net, nnpy.NeuralNetwork):
        lines += _describe_training(_serialization.read(path))
    lines += _describe_inputs(net)
    return "\n".join(lines)


def _describe_names(net: nnpy.NeuralNetwork | nnpy.QuantizedNetwork) -> list[str]:
    lines = []
    if net.target_names is not None:
        lines.append(f"target: {_listed(net.target_names)}")
    if net.class_names is not None:
        lines.append(f"classes: {_listed(net.class_names)}")
    return lines


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _MAX_CLASSES
    return ", ".join(map(report.shown, names[:_MAX_CLASSES])) + (f" and {more:,} more" if more > 0 else "")


def _describe_training(saved: SavedNetwork) -> list[str]:
    """Describe the state of a training that the file holds."""
    lines = []
    if saved.optimizer is not None:
        lines.append(f"optimizer: {saved.optimizer}, with its state for partial_fit")
    if saved.checkpoint:
        num_epochs, stopped = saved.checkpoint["history"].shape[1], str(saved.checkpoint["stopped"])
        end = f", stopped: {report.shown(stopped)}" if stopped else ""
        lines.append(f"checkpoint: {num_epochs:,} {'epoch' if num_epochs == 1 else 'epochs'}{end}")
    return lines


def _describe_inputs(net: nnpy.NeuralNetwork | nnpy.QuantizedNetwork) -> list[str]:
    """Return a table of the inputs, with their scaling, if there is more to say of them than their number."""
    scaler = net.scaler if isinstance(net, nnpy.NeuralNetwork) else None
    names = net.feature_names
    lines = []
    if scaler is not None and scaler.y_mean is not None and scaler.y_scale is not None:
        targets = net.target_names if net.target_names and len(net.target_names) == len(scaler.y_mean) else None
        lines += _scaling("output", targets, scaler.y_mean.tolist(), scaler.y_scale.tolist())
    if scaler is not None and scaler.changes_x:
        return lines + _scaling("input", names, scaler.x_mean.tolist(), scaler.x_scale.tolist())
    if names is None:
        return [*lines, "inputs: without names"]
    shown = [f"{number:>5}  {report.shown(name)}" for number, name in enumerate(names[:_MAX_ROWS], 1)]
    return [*lines, "input  name", *shown, *_more(len(names))]


def _scaling(what: str, names: Sequence[str] | None, means: Sequence[float], scales: Sequence[float]) -> list[str]:
    titles = [str(i) for i in range(1, len(means) + 1)] if names is None else list(map(report.shown, names))
    rows = [(title, f"{m:.6g}", f"{s:.6g}") for title, m, s in zip(titles, means, scales, strict=True)][:_MAX_ROWS]
    rows.insert(0, (what, "mean", "scale"))
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    lines = [f"{a:<{widths[0]}}  {b:>{widths[1]}}  {c:>{widths[2]}}" for a, b, c in rows]
    return lines + _more(len(means))


def _more(num: int) -> list[str]:
    return [f"and {num - _MAX_ROWS:,} more"] if num > _MAX_ROWS else []
