"""What a training went through."""

from collections.abc import Callable, Mapping
from html import escape
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["DivergenceError", "History"]


class History:
    """What a training went through, epoch by epoch.

    `NeuralNetwork.fit` returns it, and hands it to the callbacks after each epoch. Arrays are float64, one number an epoch.

    Attributes
    ----------
    stopped : str
        Why the training ended: "epochs" (all are done), "early" (early stopping), "callback", "converged" (no step makes the
        loss smaller), "interrupt" (Ctrl-C), or "" while it goes on.
    best_epoch : int or None
        With early stopping, the epoch whose parameters the network has now, from 0.
    """

    def __init__(self) -> None:
        self._columns: dict[str, list[float]] = {"loss": [], "rate": [], "seconds": []}
        self.stopped = ""
        self.best_epoch: int | None = None

    def _append(self, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._columns.setdefault(name, []).append(float(value))

    def _column(self, name: str) -> NDArray[np.float64]:
        return np.array(self._columns[name], dtype=np.float64)

    @property
    def loss(self) -> NDArray[np.float64]:
        """Mean training loss of each epoch: that of each sample as it was before the step that the sample was part of."""
        return self._column("loss")

    @property
    def val_loss(self) -> NDArray[np.float64] | None:
        """Loss of the validation data after each epoch, or None without such data."""
        return self._column("val_loss") if "val_loss" in self._columns else None

    @property
    def rate(self) -> NDArray[np.float64]:
        """Learning rate at the end of each epoch; NaN for an optimiser without one."""
        return self._column("rate")

    @property
    def seconds(self) -> NDArray[np.float64]:
        """Time that each epoch took, in seconds, validation included."""
        return self._column("seconds")

    @property
    def metrics(self) -> Mapping[str, NDArray[np.float64]]:
        """The metrics after each epoch by name, such as "val_accuracy"."""
        names = [name for name in self._columns if name not in {"loss", "val_loss", "rate", "seconds"}]
        return MappingProxyType({name: self._column(name) for name in names})

    def __len__(self) -> int:
        """Return the number of epochs that are done."""
        return len(self._columns["loss"])

    def to_dict(self) -> dict[str, list[float]]:
        """Return lists of numbers by name, one an epoch: what json.dump and pandas.DataFrame take."""
        return {name: list(values) for name, values in self._columns.items()}

    def plot(self, ax: Any = None) -> Any:
        """Draw the losses over the epochs.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Where to; by default on a new figure.

        Returns
        -------
        ax : matplotlib.axes.Axes

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        from nnpy import plot

        return plot.losses(self, ax)

    def _draw(self, ax: Any) -> None:
        epochs = np.arange(1, len(self) + 1)
        ax.plot(epochs, self.loss, label="training")
        if self.val_loss is not None:
            ax.plot(epochs, self.val_loss, label="validation")
            ax.legend()
        if self.best_epoch is not None:
            ax.axvline(self.best_epoch + 1, color="gray", linestyle=":")
        ax.set_xlabel("epoch")
        ax.set_ylabel("loss")
        if len(self) and min(self.loss.min(), np.inf if self.val_loss is None else self.val_loss.min()) > 0:
            ax.set_yscale("log")

    def _repr_html_(self) -> str:
        """Draw the curves, for a notebook, with a table of the first, the best and the last epoch."""
        if not len(self):
            return f"<p>{escape(repr(self)[1:-1])}</p>"
        return f"<p>{escape(repr(self)[1:-1])}</p>{_curves(self)}{_table(self)}"

    def __repr__(self) -> str:
        if not len(self):
            return "<History of 0 epochs>"
        parts = [f"loss {self.loss[0]:.4g} to {self.loss[-1]:.4g}"]
        if self.val_loss is not None:
            parts.append(f"val_loss {self.val_loss[0]:.4g} to {self.val_loss[-1]:.4g}")
        if self.best_epoch is not None:
            parts.append(f"best epoch {self.best_epoch}")
        if self.stopped in {"early", "interrupt", "converged", "callback"}:
            parts.append(f"stopped: {self.stopped}")
        plural = "epoch" if len(self) == 1 else "epochs"
        return f"<History of {len(self)} {plural}, {', '.join(parts)}>"


def _curves(history: History) -> str:
    """The losses as an SVG, on a logarithmic scale where they are positive; at most some hundred points of each."""
    series = [("training", "#3045c9", history.loss)]
    if history.val_loss is not None:
        series.append(("validation", "#c2571a", history.val_loss))
    everything = np.concatenate([values for *_, values in series])
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
        y = 8 + height * (high - scale(values[places])) / (high - low if high > low else 1)
        points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
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


class DivergenceError(ArithmeticError):
    """The loss or a parameter is no longer finite. The network has the last parameters that were.

    Attributes
    ----------
    epoch, batch : int
        Where it happened, both from 0.
    history : History or None
        The epochs that were done before, where `NeuralNetwork.fit` raised it.
    """

    def __init__(self, message: str, *, epoch: int = 0, batch: int = 0, history: History | None = None) -> None:
        super().__init__(message)
        self.epoch, self.batch, self.history = epoch, batch, history
