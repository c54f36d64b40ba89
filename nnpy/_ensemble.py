"""Many networks at once: trained over the processors, and asked together."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nnpy import _fit
from nnpy._ffi import ffi
from nnpy._history import History
from nnpy._backend import backend
from nnpy._network import NeuralNetwork

if TYPE_CHECKING:
    from concurrent.futures import Future

__all__ = ["Ensemble", "fit_many"]

_REFUSED = {"progress", "verbose"}


class _CancelledError(BaseException):
    """Raised in the threads when the caller's is interrupted, or another one has failed."""


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
        Different ones, of any architecture.
    x, y : array_like
        The data of all, as in `NeuralNetwork.fit`.
    each : sequence of mappings, optional
        Arguments of `NeuralNetwork.fit` that are not the same for all networks, one mapping for each: a seed, an optimiser,
        "x" and "y" of a fold.
    progress : bool
        Show a progress bar over the networks (needs tqdm, the ``progress`` extra).
    **options
        Arguments of `NeuralNetwork.fit` for all: loss, epochs, validation_data and so on, but for `verbose`.

    Returns
    -------
    histories : list of History
        That of each network. On Ctrl-C they have the epochs so far; a network whose turn had not come has none.

    Raises
    ------
    TypeError, ValueError
        If an argument is not of that form, or a network is there twice.
    DivergenceError
        If a training diverges. The others are stopped; each network is in the state after some whole number of steps.

    Notes
    -----
    As many networks are in training at a time as there are threads (`set_num_threads`). A network has no thread to itself if
    another one needs it, and takes no second one: for networks of this size that is faster than sharing out each of them.

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
    networks = list(networks)
    for net in networks:
        if not isinstance(net, NeuralNetwork):
            raise TypeError(f"networks must be nnpy.NeuralNetwork, got {net!r}")
    if len({id(net) for net in networks}) < len(networks):
        raise ValueError("a network is there twice: train a copy, copy.copy(net)")
    each = [{}] * len(networks) if each is None else list(each)
    if len(each) != len(networks):
        raise ValueError(f"each must have a mapping for each of the {len(networks)} networks, got {len(each)}")
    for refused in sorted(_REFUSED & set(options).union(*each)):
        raise TypeError(f"fit_many takes no {refused} for its networks")
    for unknown in sorted(set(options).union(*each) - set(_DEFAULTS) - {"x", "y"}):
        raise TypeError(f"NeuralNetwork.fit has no argument {unknown!r}")
    if len(networks) > 1 and options.keys() & {"checkpoint", "resume"}:
        raise ValueError("checkpoint and resume have to be in each: one file cannot be of many networks")
    for name in ("callbacks", "metrics"):  # what can be gone through once is for all networks
        if isinstance(options.get(name), Iterator):
            options[name] = list(options[name])
    return _Pool(networks, [{"x": x, "y": y, **options, **own} for own in each]).run(progress=progress)


class _Pool:
    """Threads that train one network after another; each is in C, without the GIL, most of the time."""

    def __init__(self, networks: list[NeuralNetwork], arguments: list[dict[str, Any]]) -> None:
        self._networks, self._arguments = networks, arguments
        self._histories = [History() for _ in networks]
        self._cancelled = threading.Event()
        self._backend = ffi.new("NNBackend *", {"isa": backend.isa, "num_threads": 1})

    def run(self, *, progress: bool) -> list[History]:
        from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait

        num_threads = max(1, min(backend.num_threads, len(self._networks)))
        with (
            _fit.progress_bar(len(self._networks), "network", progress) as bar,
            ThreadPoolExecutor(num_threads, thread_name_prefix="nnpy.fit_many") as threads,
        ):
            futures = {threads.submit(self._train, i) for i in range(len(self._networks))}
            waiting = futures
            try:
                while waiting:  # a signal may have come to another thread: look again before long
                    done, waiting = wait(waiting, timeout=0.1, return_when=FIRST_EXCEPTION)
                    for future in done:
                        future.result()
                    if bar is not None:
                        bar(len(futures) - len(waiting))
            except KeyboardInterrupt:
                self._cancel(futures)
            except BaseException:
                self._cancel(futures)
                raise
        for history in self._histories:
            history.stopped = history.stopped or "interrupt"
        return self._histories

    def _cancel(self, futures: set[Future[None]]) -> None:
        self._cancelled.set()
        for future in futures:
            future.cancel()

    def _train(self, number: int) -> None:
        def poll(_done: int) -> None:
            if self._cancelled.is_set():
                raise _CancelledError

        arguments = dict(self._arguments[number])
        x, y = arguments.pop("x"), arguments.pop("y")
        net = self._networks[number]
        options = {**_DEFAULTS, **arguments, "backend": self._backend, "poll": poll, "history": self._histories[number]}
        with net._lock:
            try:
                _fit.fit(net, x, y, options)
            except _CancelledError:
                self._histories[number].stopped = "interrupt"


_DEFAULTS: dict[str, Any] = dict(NeuralNetwork.fit.__kwdefaults__ or {})


class Ensemble:
    """Networks that answer together: the mean of their outputs, and how far they are apart.

    Parameters
    ----------
    networks : sequence of NeuralNetwork
        At least one, with the same numbers of inputs and outputs.

    Raises
    ------
    TypeError, ValueError
        If they are not that.

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
    def predict(self, x: ArrayLike, *, return_std: Literal[False] = False) -> NDArray[np.float32]: ...
    @overload
    def predict(
        self, x: ArrayLike, *, return_std: Literal[True]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]: ...
    def predict(
        self, x: ArrayLike, *, return_std: bool = False
    ) -> NDArray[np.float32] | tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Compute the mean of the networks' outputs, and their standard deviation.

        Parameters
        ----------
        x : array_like of real numbers, shape (n, n_inputs)
            One sample a row.
        return_std : bool
            Whether to return the deviation as well: the root of the mean squared distance from the mean.

        Returns
        -------
        mean : ndarray of float32, shape (n, n_outputs)
        std : ndarray of float32, shape (n, n_outputs)
            If `return_std` is True.

        Raises
        ------
        TypeError, ValueError
            If `x` is not finite real numbers in that shape.
        """
        outputs = np.stack([net.predict(x) for net in self.networks]).astype(np.float64)
        mean = outputs.mean(axis=0).astype(np.float32)
        return (mean, outputs.std(axis=0).astype(np.float32)) if return_std else mean
