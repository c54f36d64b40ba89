"""What the commands for tables print: scores, confusion matrices, lists of names. All of it is plain text in lines."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnpy._metrics import r2_score

__all__ = ["classification", "option_value", "regression", "shown", "some"]

_MAX_LISTED = 8
_MAX_MATRIX = 12  # classes of a confusion matrix; of more, the most frequent confusions are listed
_MAX_CONFUSIONS = 10
_MAX_NAME = 16  # characters of the name of a class in a table


def shown(name: str) -> str:
    """Return a name as a terminal may show it: without control characters."""
    return name if name.isprintable() else repr(name)


def some(names: Sequence[str]) -> str:
    """Return names with commas, the first ones only if there are many."""
    more = len(names) - _MAX_LISTED
    return ", ".join(names) if more <= 1 else f"{', '.join(names[:_MAX_LISTED])} and {more} more"


def option_value(names: Sequence[str]) -> str:
    """Return names as an option takes them: with commas, and in quotes for the shell where that is necessary."""
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(names)
    text = line.getvalue()
    return text if all(c.isalnum() or c in "_-,." for c in text) else f"'{text}'"


def _short(name: str) -> str:
    name = shown(name)
    return name if len(name) <= _MAX_NAME else f"{name[: _MAX_NAME - 3]}..."


def _table(header: Sequence[str], rows: Sequence[tuple[str, Sequence[str]]]) -> list[str]:
    """Return rows of cells that are aligned to the right, each with a title."""
    first = max([len(title) for title, _ in rows])
    widths = [max(len(header[i]), *(len(cells[i]) for _, cells in rows)) for i in range(len(header))]
    lines = [("", header), *rows]
    return [
        f"{title:<{first}}" + "".join(f"  {cell:>{width}}" for cell, width in zip(cells, widths, strict=True))
        for title, cells in lines
    ]


def classification(
    classes: Sequence[str], y: NDArray[np.int64], predicted: NDArray[np.int64], parts: Mapping[str, NDArray[np.bool_]]
) -> list[str]:
    """Return the accuracy on each part of the rows, beside that of the most frequent class, and the confusion matrix.

    Parameters
    ----------
    classes : sequence of str
    y, predicted : ndarray of int64, shape (n,)
        True and predicted classes.
    parts : mapping of ndarray of bool, shape (n,)
        The rows of "training" and, if there are some, of "validation".
    """
    last = list(parts)[-1]
    rows = parts[last]
    frequent = int(np.bincount(y[parts["training"]]).argmax())
    scores = [float(np.mean(y[part] == predicted[part])) for part in parts.values()]
    scores.append(float(np.mean(y[rows] == frequent)))
    header = [*parts, f"always {_short(classes[frequent])}"]
    lines = [*_table(header, [("accuracy", [f"{score:.4f}" for score in scores])]), ""]
    matrix = np.zeros((len(classes), len(classes)), np.int64)
    np.add.at(matrix, (y[rows], predicted[rows]), 1)
    if len(classes) <= _MAX_MATRIX:
        lines.append(f"confusion matrix of the {last} rows (rows: true class, columns: predicted class)")
        recall = [
            f"{n / total:.2f}" if total else "-" for n, total in zip(matrix.diagonal(), matrix.sum(axis=1), strict=True)
        ]
        cells = [
            (_short(name), [*(f"{count:,}" for count in counts), share])
            for name, counts, share in zip(classes, matrix.tolist(), recall, strict=True)
        ]
        return [*lines, *_table([*map(_short, classes), "recall"], cells), ""]
    wrong = [(int(matrix[i, j]), i, j) for i, j in zip(*np.nonzero(matrix), strict=True) if i != j]
    wrong.sort(key=lambda item: -item[0])
    lines.append(f"most frequent confusions of the {last} rows{'' if wrong else ': none'}")
    for count, true, other in wrong[:_MAX_CONFUSIONS]:
        lines.append(f"{count:>6,}  {_short(classes[true])} predicted as {_short(classes[other])}")
    return [*lines, ""]


def regression(
    names: Sequence[str], y: NDArray[np.float64], out: NDArray[Any], parts: Mapping[str, NDArray[np.bool_]]
) -> list[str]:
    """Return R^2, MAE and RMSE on each part of the rows, beside those of the mean of the training rows.

    Parameters
    ----------
    names : sequence of str
        Of the targets.
    y, out : ndarray, shape (n, n_targets)
    parts : mapping of ndarray of bool, shape (n,)
        As in `classification`.
    """
    last, lines = list(parts)[-1], []
    for target, name in enumerate(names):
        mean = np.full(len(y), y[parts["training"], target].mean())
        columns = [(y[rows, target], out[rows, target]) for rows in parts.values()]
        columns.append((y[parts[last], target], mean[parts[last]]))
        rows = [
            ("R^2", [f"{r2_score(t, o):.4f}" for t, o in columns]),
            ("MAE", [f"{np.abs(t - o).mean():#.4g}" for t, o in columns]),
            ("RMSE", [f"{np.sqrt(np.square(t - o).mean()):#.4g}" for t, o in columns]),
        ]
        if len(names) > 1:
            lines.append(shown(name))
        lines += [*_table([*parts, f"always {mean[0]:.4g}"], rows), ""]
    return lines
