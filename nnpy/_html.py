"""HTML for notebooks: the representation of a training history and of a network, from plain data.

It imports nothing from nnpy. The classes that are shown call these functions in their ``_repr_html_``.
"""

from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

__all__ = ["history", "network"]

_WIDTH, _HEIGHT, _LEFT, _TOP = 420.0, 150.0, 64.0, 8.0  # of the plot and of its margins, in pixels
_MAX_POINTS = 300  # of a curve


def network(title: str, rows: Sequence[Sequence[str]], notes: Sequence[str]) -> str:
    """Return the layers of a network as a table.

    Parameters
    ----------
    title : str
        A line above the table.
    rows : sequence of sequences of str
        Cells of the header, of each layer and of the total, all of the same number.
    notes : sequence of str
        Phrases for the line below the table.
    """
    header, *layers, total = rows
    body = "".join(f"<tr>{_cells(row, 'td')}</tr>" for row in layers)
    return (
        f"<p>{escape(title)}</p><table><thead><tr>{_cells(header, 'th')}</tr></thead>"
        f"<tbody>{body}<tr>{_cells(total, 'th')}</tr></tbody></table><p>{escape('; '.join(notes))}</p>"
    )


def history(title: str, note: str, columns: Mapping[str, Sequence[float]], best_epoch: int | None) -> str:
    """Return the loss curves of a history, and a table of its first, last and best epoch.

    Parameters
    ----------
    title : str
        A line above the curves.
    note : str
        Another one, which may be empty.
    columns : mapping of str to sequence of float
        Values by name, one for each epoch: "loss", perhaps "val_loss", and others such as "learning_rate".
    best_epoch : int or None
        The best epoch, counted from 1.
    """
    heading = "".join(f"<p>{escape(line)}</p>" for line in (title, note) if line)
    if not len(columns["loss"]):
        return heading
    return heading + _curves(columns) + _epochs(columns, best_epoch)


def _curves(columns: Mapping[str, Sequence[float]]) -> str:
    """Return "loss" and "val_loss" as an SVG, on a logarithmic scale if they are positive; NaN and infinity are left out."""
    curves = [
        (label, color, np.asarray(columns[name], dtype=np.float64))
        for name, label, color in (("loss", "training", "#3045c9"), ("val_loss", "validation", "#c2571a"))
        if name in columns
    ]
    finite = np.concatenate([values[np.isfinite(values)] for _, _, values in curves])
    if not finite.size:
        return ""
    lowest, highest = finite.min(), finite.max()
    scale: Callable[[Any], Any] = np.log10 if lowest > 0 else np.asarray
    low, high = scale(lowest), scale(highest)
    bottom, right = _TOP + _HEIGHT, _LEFT + _WIDTH
    parts = [
        f'<svg width="{right + 8:.0f}" height="{bottom + 32:.0f}" role="img" aria-label="loss over the epochs" '
        'style="font: 12px sans-serif; max-width: 100%">',
        f'<path d="M{_LEFT} {_TOP}v{_HEIGHT}h{_WIDTH}" fill="none" stroke="currentColor" opacity="0.4"/>',
    ]
    for value, y in ((highest, _TOP), (lowest, bottom)):
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 4}" text-anchor="end" fill="currentColor">{value:.3g}</text>')
    for i, (label, color, values) in enumerate(curves):
        epochs = np.unique(np.linspace(0, len(values) - 1, _MAX_POINTS).round().astype(int))
        shown = values[epochs]
        is_finite = np.isfinite(shown)
        x = _LEFT + _WIDTH * epochs[is_finite] / max(1, len(values) - 1)
        y = _TOP + _HEIGHT * (high - scale(shown[is_finite])) / (high - low or 1)
        points = " ".join(f"{px:.1f},{py:.1f}" for px, py in zip(x, y, strict=True))
        parts.append(f'<polyline points="{points}" fill="none" stroke="{color}" stroke-width="1.5"/>')
        parts.append(f'<text x="{_LEFT + 90 * i}" y="{bottom + 18}" fill="{color}">{label}</text>')
    parts.append(
        f'<text x="{right}" y="{bottom + 18}" text-anchor="end" fill="currentColor">'
        f"{_count(len(columns['loss']))}</text></svg>"
    )
    return "".join(parts)


def _epochs(columns: Mapping[str, Sequence[float]], best_epoch: int | None) -> str:
    """Return a table of all values in the first, the last and the best epoch."""
    epochs = {"first": 1, "last": len(columns["loss"])}
    if best_epoch is not None:
        epochs["best"] = best_epoch
    body = "".join(
        f"<tr><th>{name} ({epoch})</th>{_cells([f'{values[epoch - 1]:.4g}' for values in columns.values()], 'td')}</tr>"
        for name, epoch in epochs.items()
    )
    return f"<table><thead><tr><th>epoch</th>{_cells(list(columns), 'th')}</tr></thead><tbody>{body}</tbody></table>"


def _count(num_epochs: int) -> str:
    return f"{num_epochs} epoch{'' if num_epochs == 1 else 's'}"


def _cells(texts: Sequence[str], tag: str) -> str:
    return "".join(f"<{tag}>{escape(text)}</{tag}>" for text in texts)
