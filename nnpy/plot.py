"""Plots of losses, predictions and weights, with matplotlib (``pip install 'nnpy[plot]'``).

Each function draws on the given axes, or on a new figure, and returns the axes. Titles, sizes and files are left to matplotlib.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    from nnpy._history import History
    from nnpy._network import NeuralNetwork

__all__ = ["confusion_matrix", "first_layer", "losses"]


def losses(history: History | Mapping[str, History], ax: Any = None) -> Any:
    """Plot the losses of one or several histories over the epochs.

    Parameters
    ----------
    history : History or mapping of str to History
        The result of `nnpy.NeuralNetwork.fit`, or several of them by name. If there are several, validation losses are dashed.
    ax : matplotlib.axes.Axes, optional
        Where to draw. By default on a new figure.

    Returns
    -------
    ax : matplotlib.axes.Axes
        The scale is logarithmic if all losses are positive. A dotted line marks the best epoch of early stopping.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    """
    ax = _axes(ax)
    several = isinstance(history, Mapping)
    smallest = np.inf
    for name, one in (history if isinstance(history, Mapping) else {"": history}).items():
        epochs = np.arange(1, len(one) + 1)
        (line,) = ax.plot(epochs, one.loss, label=name if several else "training")
        smallest = min(smallest, one.loss.min(initial=np.inf))
        if one.val_loss is not None:
            style = {"color": line.get_color(), "linestyle": "--"} if several else {}
            ax.plot(epochs, one.val_loss, label=f"{name}, validation" if several else "validation", **style)
            smallest = min(smallest, one.val_loss.min(initial=np.inf))
        if one.best_epoch is not None:
            ax.axvline(one.best_epoch, color=line.get_color() if several else "gray", linestyle=":")
    ax.set_xlabel("epoch")
    ax.set_ylabel("loss")
    if ax.get_legend_handles_labels()[0]:
        ax.legend()
    if 0 < smallest < np.inf:
        ax.set_yscale("log")
    return ax


def confusion_matrix(
    y_true: ArrayLike, y_pred: ArrayLike, *, class_names: Sequence[str] | None = None, ax: Any = None
) -> Any:
    """Plot how often each true class (row) is predicted as each class (column).

    Parameters
    ----------
    y_true : array_like of int, shape (n,)
        True classes, from 0.
    y_pred : array_like, shape (n,) of int or shape (n, outputs) of float
        Predicted classes, or the outputs of a network. The class is the largest output; with a single output it is 1 above 0.5,
        else 0.
    class_names : sequence of str, optional
        Names of the classes. By default their numbers.
    ax : matplotlib.axes.Axes, optional
        Where to draw. By default on a new figure.

    Returns
    -------
    ax : matplotlib.axes.Axes
        Numbers are counts; colours are fractions of the true class.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    TypeError
        If the classes are not integers.
    ValueError
        If a class is negative, `y_true` and `y_pred` have different lengths, or there are fewer names than classes.
    """
    predicted = np.asarray(y_pred)
    if predicted.ndim == 2:
        predicted = predicted.argmax(axis=1) if predicted.shape[1] > 1 else (predicted[:, 0] > 0.5).astype(np.int64)
    true, predicted = _check_classes(y_true, "y_true"), _check_classes(predicted, "y_pred")
    if len(true) != len(predicted):
        raise ValueError(f"y_true and y_pred must have the same length, got {len(true)} and {len(predicted)}")
    num_classes = int(max(true.max(initial=-1), predicted.max(initial=-1))) + 1
    if class_names is None:
        class_names = [str(i) for i in range(num_classes)]
    elif len(class_names) < num_classes:
        raise ValueError(f"class_names must have a name for each of {num_classes} classes, got {len(class_names)}")
    num_classes = len(class_names)
    counts = np.zeros((num_classes, num_classes), dtype=np.int64)
    np.add.at(counts, (true, predicted), 1)
    ax = _axes(ax)
    fractions = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    ax.imshow(fractions, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(counts):
        if count:
            color = "white" if fractions[row, column] > 0.5 else "black"
            ax.text(column, row, f"{count}", ha="center", va="center", color=color, fontsize="small")
    ax.set_xticks(range(num_classes), class_names)
    ax.set_yticks(range(num_classes), class_names)
    ax.set_xlabel("predicted")
    ax.set_ylabel("true")
    return ax


def first_layer(net: NeuralNetwork, shape: tuple[int, int], *, max_neurons: int = 64, ax: Any = None) -> Any:
    """Plot the weights of the neurons in the first hidden layer, each as an image.

    Parameters
    ----------
    net : NeuralNetwork
        A network whose inputs are the pixels of an image, row-major.
    shape : (int, int)
        Height and width of the image, such as (28, 28).
    max_neurons : int
        Plot at most this many neurons, from the first one on.
    ax : matplotlib.axes.Axes, optional
        Where to draw. By default on a new figure.

    Returns
    -------
    ax : matplotlib.axes.Axes
        Positive weights are blue, negative ones red. Each neuron has its own colour scale, up to its largest absolute weight.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    TypeError
        If `shape` or `max_neurons` are not integers.
    ValueError
        If `shape` does not have one pixel per input of the network, or `max_neurons` is less than 1.
    """
    inputs, neurons = net.layer_sizes[:2]
    try:
        height, width = map(operator.index, shape)
        num_neurons = min(operator.index(max_neurons), neurons)
    except (TypeError, ValueError):
        raise TypeError(
            f"shape must be two integers and max_neurons an integer, got {shape!r} and {max_neurons!r}"
        ) from None
    if height < 1 or width < 1 or height * width != inputs:
        raise ValueError(f"shape must have {inputs} pixels, one per input of the network, got {shape}")
    if num_neurons < 1:
        raise ValueError(f"max_neurons must be at least 1, got {max_neurons}")
    columns = int(np.ceil(np.sqrt(num_neurons)))
    rows = -(-num_neurons // columns)
    canvas = np.full((rows * (height + 1) - 1, columns * (width + 1) - 1), np.nan)  # NaN is a gap between images
    for neuron in range(num_neurons):
        image = net.weights[0][:, neuron].reshape(height, width)
        top, left = neuron // columns * (height + 1), neuron % columns * (width + 1)
        canvas[top : top + height, left : left + width] = image / max(np.abs(image).max(), np.finfo(np.float32).tiny)
    ax = _axes(ax)
    ax.imshow(canvas, cmap="RdBu", vmin=-1, vmax=1, interpolation="nearest")
    ax.set_axis_off()
    return ax


def _axes(ax: Any) -> Any:
    """Return the given axes, or those of a new figure."""
    if ax is not None:
        return ax
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise ImportError("nnpy.plot needs matplotlib: pip install 'nnpy[plot]'") from error
    return pyplot.subplots()[1]


def _check_classes(values: ArrayLike, name: str) -> NDArray[np.int64]:
    array = np.asarray(values)
    if array.dtype.kind not in "iu" or array.ndim != 1:
        raise TypeError(f"{name} must be integers of shape (n,), got {array.dtype} of shape {array.shape}")
    if array.size and array.min() < 0:
        raise ValueError(f"{name} must be classes from 0, got {array.min()}")
    return array.astype(np.int64)
