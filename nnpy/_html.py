"""What a notebook shows of a history and of a network: HTML, and curves as SVG."""

from collections.abc import Callable
from html import escape
from typing import Any

import numpy as np

from nnpy._history import History
from nnpy._inspection import rows_of, scaled, size_of
from nnpy._network import NeuralNetwork

__all__ = ["history", "network"]


def network(net: NeuralNetwork) -> str:
    """Return the layers in a table."""
    head, *body, total = rows_of(net)
    cells = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in body)
    return (
        f"<p>{escape(repr(net))}</p><table><thead><tr>{''.join(f'<th>{cell}</th>' for cell in head)}</tr></thead>"
        f"<tbody>{cells}<tr><th>{total[0]}</th><td></td><td></td><td>{total[3]}</td></tr></tbody></table>"
        f"<p>{'; '.join([size_of(net), *scaled(net)])}</p>"
    )


def history(of: History) -> str:
    """Return the curves, and a table of the first, the last and the best epoch."""
    title = f"<p>{escape(repr(of)[1:-1])}</p>"
    return title + _curves(of) + _table(of) if len(of) else title


def _curves(history: History) -> str:
    """The losses as an SVG, on a logarithmic scale where they are positive; at most some hundred points of each."""
    series = [("training", "#3045c9", history.loss)]
    if history.val_loss is not None:
        series.append(("validation", "#c2571a", history.val_loss))
    everything = np.concatenate([values[np.isfinite(values)] for *_, values in series])
    if not everything.size:
        return ""
    scale: Callable[[Any], Any] = np.log10 if everything.min() > 0 else np.asarray
    low, high = scale(everything.min()), scale(everything.max())
    width, height, left = 420.0, 150.0, 64.0
    parts = [
        f'<svg width="{width + left + 8:.0f}" height="{height + 40:.0f}" role="img" aria-label="loss over the epochs" '
        'style="font: 12px sans-serif; max-width: 100%">',
        f'<path d="M{left} 8v{height}h{width}" fill="none" stroke="currentColor" opacity="0.4"/>',
    ]
    for value, y in ((everything.max(), 8.0), (everything.min(), height + 8)):
        parts.append(f'<text x="{left - 6}" y="{y + 4}" text-anchor="end" fill="currentColor">{value:.3g}</text>')
    for number, (name, colour, values) in enumerate(series):
        places = np.unique(np.linspace(0, len(values) - 1, 300).round().astype(int))
        x = left + width * (places / max(1, len(values) - 1))
        y = 8 + height * (high - scale(np.where(np.isfinite(values), values, np.nan)[places])) / (high - low or 1)
        points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True) if np.isfinite(b))
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        parts.append(f'<text x="{left + 90 * number}" y="{height + 26}" fill="{colour}">{name}</text>')
    parts.append(
        f'<text x="{left + width}" y="{height + 26}" text-anchor="end" fill="currentColor">{len(history)} epochs</text></svg>'
    )
    return "".join(parts)


def _table(history: History) -> str:
    rows = {"first": 0, "last": len(history) - 1}
    if history.best_epoch is not None:
        rows["best"] = history.best_epoch
    table = history.to_dict()
    head = "".join(f"<th>{escape(name)}</th>" for name in table)
    body = "".join(
        f"<tr><th>{name} ({epoch})</th>{''.join(f'<td>{values[epoch]:.4g}</td>' for values in table.values())}</tr>"
        for name, epoch in rows.items()
    )
    return f"<table><thead><tr><th>epoch</th>{head}</tr></thead><tbody>{body}</tbody></table>"
