"""Many networks: trained at once, one per processor, and used together as an ensemble."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nnpy._history import History
from nnpy._network import NeuralNetwork

if TYPE_CHECKING:
    from nnpy._training.options import FitOptions

__all__ = ["Ensemble", "fit_many"]

_NOT_FOR_MANY = {"progress", "verbose"}


def fit_many(
    networks: Sequence[NeuralNetwork],
    x: Any = None,
    y: ArrayLike | None = None,
    *,
    each: Sequence[Mapping[str, Any]] | None = None,
    progress: bool = False,
    **options: Any,
) -> list[History]:
    """Train many networks at once, each on one processor: the same bits as one by one, in less time.

    Parameters
    ----------
    networks : sequence of NeuralNetwork
        Different objects, of any architectures.
    x, y : array_like
        The data for all networks, as in `NeuralNetwork.fit`.
    each : sequence of mappings, optional
        Arguments of `NeuralNetwork.fit` that differ from network to network, one mapping for each: a seed, an optimiser, "x"
        and "y" of a fold.
    progress : bool
        Show a progress bar over the networks (needs tqdm, the ``progress`` extra).
    **options
        Arguments of `NeuralNetwork.fit` for all networks: loss, epochs, validation_data and so on, except `verbose`.

    Returns
    -------
    histories : list of History
        One for each network. After Ctrl-C they have the epochs so far; that of a network whose turn had not come is empty.

    Raises
    ------
    TypeError, ValueError
        If an argument is not of that form, or a network appears twice.
    DivergenceError
        If training of a network diverges. The others are stopped; each network is in the state after some whole number of
        steps.

    Notes
    -----
    As many networks are trained at a time as there are threads (`set_num_threads`), each on a single thread: for small networks
    that is faster than sharing out the work of each.

    Examples
    --------
    >>> import numpy as np
    >>> import nnpy
    >>> x = np.linspace(-1, 1, 50).reshape(-1, 1)
    >>> networks = [nnpy.NeuralNetwork([1, 8, 1], ["tanh", "linear"], seed=i) for i in range(4)]
    >>> histories = nnpy.fit_many(networks, x, x**2, each=[{"seed": i} for i in range(4)], epochs=5)
    >>> [len(history) for history in histories]
    [5, 5, 5, 5]
    """
    from nnpy._training.options import FitOptions
    from nnpy._training.pool import Pool, Task

    networks = list(networks)
    for net in networks:
        if not isinstance(net, NeuralNetwork):
            raise TypeError(f"networks must be nnpy.NeuralNetwork, got {net!r}")
    if len({id(net) for net in networks}) < len(networks):
        raise ValueError("a network appears twice: train a copy, copy.copy(net)")
    each = [{}] * len(networks) if each is None else list(each)
    if len(each) != len(networks):
        raise ValueError(f"each must have a mapping for each of the {len(networks)} networks, got {len(each)}")
    names = set(options).union(*each)
    for name in sorted(_NOT_FOR_MANY & names):
        raise TypeError(f"fit_many does not support {name} for single networks")
    for name in sorted(names - {field.name for field in fields(FitOptions)} - {"x", "y"}):
        raise TypeError(f"NeuralNetwork.fit has no argument {name!r}")
    if len(networks) > 1 and options.keys() & {"checkpoint", "resume"}:
        raise ValueError("checkpoint and resume must be in each: networks cannot share a file")
    for name in ("callbacks", "metrics"):
        if isinstance(options.get(name), Iterator):  # it can be consumed once, and is for all networks
            options[name] = list(options[name])
    tasks = []
    for net, own in zip(networks, each, strict=True):
        arguments = {"x": x, "y": y, **options, **own}
        own_x, own_y = arguments.pop("x"), arguments.pop("y")
        tasks.append(Task(partial(_fit, net, own_x, own_y, FitOptions(**arguments))))
    return Pool(tasks).run(progress=progress)


def _fit(net: NeuralNetwork, x: Any, y: Any, options: FitOptions, **how: Any) -> None:
    """Do what `NeuralNetwork.fit` does, in a thread of a Pool, which passes the other arguments."""
    from nnpy._training import defaults

    with net._lock:
        defaults.fit(net, x, y, options, **how)


class Ensemble:
    """An ensemble of networks: the mean of their outputs, and their standard deviation.

    Parameters
    ----------
    networks : sequence of NeuralNetwork
        At least one, with the same numbers of inputs and outputs.

    Raises
    ------
    TypeError, ValueError
        If they are something else.

    Notes
    -----
    B. Lakshminarayanan, A. Pritzel and C. Blundell, "Simple and scalable predictive uncertainty estimation using deep
    ensembles", NeurIPS 2017.

    Examples
    --------
    >>> import nnpy
    >>> ensemble = nnpy.Ensemble([nnpy.NeuralNetwork([2, 1], seed=i) for i in range(3)])
    >>> mean, deviation = ensemble.predict([[0, 0]], return_std=True)
    >>> mean, deviation
    (array([[0.5]], dtype=float32), array([[0.]], dtype=float32))
    """

    def __init__(self, networks: Sequence[NeuralNetwork]) -> None:
        self.networks = tuple(networks)
        for net in self.networks:
            if not isinstance(net, NeuralNetwork):
                raise TypeError(f"networks must be nnpy.NeuralNetwork, got {net!r}")
        shapes = {(net.layer_sizes[0], net.layer_sizes[-1]) for net in self.networks}
        if len(shapes) != 1:
            raise ValueError(
                "an ensemble needs at least one network, and all with the same numbers of inputs and outputs; "
                f"got {sorted(shapes)}"
            )

    def __len__(self) -> int:
        return len(self.networks)

    def __repr__(self) -> str:
        return f"<Ensemble of {len(self)} networks>"

    @overload
    def predict(self, x: ArrayLike, *, return_std: Literal[False] = False) -> NDArray[Any]: ...
    @overload
    def predict(self, x: ArrayLike, *, return_std: Literal[True]) -> tuple[NDArray[Any], NDArray[Any]]: ...
    def predict(self, x: ArrayLike, *, return_std: bool = False) -> NDArray[Any] | tuple[NDArray[Any], NDArray[Any]]:
        """Compute the mean of the outputs of the networks, and their standard deviation.

        Parameters
        ----------
        x : array_like of real numbers, shape (n, n_inputs)
            One sample per row.
        return_std : bool
            Whether to return the standard deviation over the networks as well.

        Returns
        -------
        mean : ndarray, shape (n, n_outputs)
            In float32; in float64 if a network has scaled targets.
        std : ndarray, shape (n, n_outputs)
            If `return_std` is True.

        Raises
        ------
        TypeError, ValueError
            If `x` is not finite real numbers in that shape.
        """
        outputs = np.stack([net.predict(x) for net in self.networks])
        dtype, outputs = outputs.dtype, outputs.astype(np.float64)
        with np.errstate(over="ignore", invalid="ignore"):  # outputs may be infinite
            mean = outputs.mean(axis=0).astype(dtype)
            return (mean, outputs.std(axis=0).astype(dtype)) if return_std else mean
