"""Pictures of trainings and networks, drawn with matplotlib (``pip install 'nnpy[plot]'``).

Each function draws on axes that it is given, or on new ones, and returns them: what else is to be changed of a picture is done
with matplotlib.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nnpy._history import History
from nnpy._network import NeuralNetwork
from nnpy._validation import integer

__all__ = ["confusion_matrix", "first_layer", "losses"]


def losses(history: History | Mapping[str, History], ax: Any = None) -> Any:
    """Draw the losses of one training, or of several, over the epochs.

    Parameters
    ----------
    history : History or mapping of names to History
        Losses of training are drawn through, those of validation dashed where there are several trainings.
    ax : matplotlib.axes.Axes, optional
        Where to; by default on a new figure.

    Returns
    -------
    ax : matplotlib.axes.Axes
        With a logarithmic scale if all losses are positive.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    """
    ax = _axes(ax)
    if isinstance(history, History):
        history._draw(ax)
        return ax
    smallest = np.inf
    for name, one in history.items():
        epochs = np.arange(1, len(one) + 1)
        (line,) = ax.plot(epochs, one.loss, label=name)
        smallest = min(smallest, one.loss.min(initial=np.inf))
        if one.val_loss is not None:
            ax.plot(epochs, one.val_loss, color=line.get_color(), linestyle="--", label=f"{name}, validation")
            smallest = min(smallest, one.val_loss.min(initial=np.inf))
    ax.set_xlabel("epoch")
    ax.set_ylabel("loss")
    ax.legend()
    if 0 < smallest < np.inf:
        ax.set_yscale("log")
    return ax


def confusion_matrix(y: ArrayLike, predicted: ArrayLike, *, names: Sequence[str] | None = None, ax: Any = None) -> Any:
    """Draw how often each class, a row, is taken for each, a column.

    Parameters
    ----------
    y : array_like of int, shape (n,)
        The right labels, from 0.
    predicted : array_like, shape (n,) of int or shape (n, classes)
        The labels that a network gives, or what its `predict` returns.
    names : sequence of str, optional
        Of the classes; by default their numbers.
    ax : matplotlib.axes.Axes, optional
        Where to; by default on a new figure.

    Returns
    -------
    ax : matplotlib.axes.Axes
        Colours are shares of a row, numbers are counts.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    TypeError, ValueError
        If the labels are not integers from 0, not as many, or more than the names.
    """
    right, given = _labels(y, "y"), np.asarray(predicted)
    if given.ndim == 2:  # outputs; one alone says how sure it is of class 1
        given = given.argmax(axis=1) if given.shape[1] > 1 else (given[:, 0] > 0.5).astype(np.int64)
    given = _labels(given, "predicted")
    if len(right) != len(given):
        raise ValueError(f"y and predicted must have the same number of rows, got {len(right)} and {len(given)}")
    num = int(max(right.max(initial=-1), given.max(initial=-1))) + 1
    if names is not None and len(names) < num:
        raise ValueError(f"names must be {num}, one for each class, got {len(names)}")
    num = num if names is None else len(names)
    table = np.zeros((num, num), dtype=np.int64)
    np.add.at(table, (right, given), 1)
    ax = _axes(ax)
    shares = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    ax.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(table):
        if count:
            colour = "white" if shares[row, column] > 0.5 else "black"
            ax.text(column, row, f"{count}", ha="center", va="center", color=colour, fontsize="small")
    ticks = [str(i) for i in range(num)] if names is None else list(names)
    ax.set_xticks(range(num), ticks)
    ax.set_yticks(range(num), ticks)
    ax.set_xlabel("taken for")
    ax.set_ylabel("is")
    return ax


def first_layer(net: NeuralNetwork, shape: tuple[int, int], *, max_neurons: int = 64, ax: Any = None) -> Any:
    """Draw the weights of the first hidden neurons as images: what each of them looks for.

    Parameters
    ----------
    net : NeuralNetwork
        Whose inputs are the pixels of an image, row by row.
    shape : (int, int)
        Height and width of the image, such as (28, 28).
    max_neurons : int
        How many neurons are drawn at the most.
    ax : matplotlib.axes.Axes, optional
        Where to; by default on a new figure.

    Returns
    -------
    ax : matplotlib.axes.Axes
        Blue is positive, red negative; each image has a scale of its own.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    TypeError, ValueError
        If the images do not have as many pixels as the network has inputs.
    """
    height, width = (integer(size, "shape", 1, 2**31) for size in shape)
    if height * width != net.layer_sizes[0]:
        raise ValueError(f"shape must have {net.layer_sizes[0]} pixels, one per input of the network, got {shape}")
    num = min(integer(max_neurons, "max_neurons", 1, 2**31), net.layer_sizes[1])
    columns = int(np.ceil(np.sqrt(num)))
    rows = -(-num // columns)
    canvas = np.full((rows * (height + 1) - 1, columns * (width + 1) - 1), np.nan)
    for number in range(num):
        image = net.weights[0][:, number].reshape(height, width)
        top, left = number // columns * (height + 1), number % columns * (width + 1)
        canvas[top : top + height, left : left + width] = image / max(np.abs(image).max(), np.finfo(np.float32).tiny)
    ax = _axes(ax)
    ax.imshow(canvas, cmap="RdBu", vmin=-1, vmax=1, interpolation="nearest")
    ax.set_axis_off()
    return ax


def _axes(ax: Any) -> Any:
    if ax is not None:
        return ax
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise ImportError("nnpy.plot needs matplotlib: pip install 'nnpy[plot]'") from error
    return pyplot.subplots()[1]


def _labels(values: ArrayLike, name: str) -> NDArray[np.int64]:
    array = np.asarray(values)
    if array.dtype.kind not in "iu" or array.ndim != 1:
        raise TypeError(f"{name} must be integer labels of shape (n,), got {array.dtype} of shape {array.shape}")
    if array.size and array.min() < 0:
        raise ValueError(f"{name} must be labels from 0, got {array.min()}")
    return array.astype(np.int64)
