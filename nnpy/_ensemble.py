"""Many networks: trained at once, one per processor, and used together as an ensemble."""

from __future__ import annotations

import _thread
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nnpy._backend import backend
from nnpy._ffi import ffi
from nnpy._history import History
from nnpy._network import NeuralNetwork

if TYPE_CHECKING:
    from nnpy._training.options import FitOptions

__all__ = ["Ensemble", "fit_many"]

_NOT_FOR_MANY = {"progress", "verbose"}


class _CancelledError(BaseException):
    """Raised in a worker thread when the caller's thread is interrupted, or training of another network failed."""


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
        tasks.append(_Task(net, own_x, own_y, FitOptions(**arguments)))
    return _Pool(tasks).run(progress=progress)


class _Task:
    """What `fit_many` does with one network: its data and options, and its history."""

    def __init__(self, net: NeuralNetwork, x: Any, y: Any, options: FitOptions) -> None:
        self.net, self.x, self.y, self.options = net, x, y, options
        self.history = History()


class _Pool:
    """Threads that train one network after another. They spend most of the time in C, without the GIL.

    Ctrl-C may come at any moment in the thread of the caller, and no thread may train a network after `run` has returned. So
    that thread takes no lock that Python code manages, as concurrent.futures does: an exception could leave it locked.
    """

    def __init__(self, tasks: list[_Task]) -> None:
        self._tasks = tasks
        self._waiting = deque(tasks)
        self._running: set[_Task] = set()
        self._done: list[_Task] = []
        self._errors: list[BaseException] = []
        self._is_cancelled = False
        self._news = threading.Lock()  # released by a worker when a task is done
        self._backend = ffi.new("NNBackend *", {"isa": backend.isa, "num_threads": 1})

    def run(self, *, progress: bool) -> list[History]:
        """Run all tasks; return their histories. Ctrl-C and errors stop the tasks that are not done."""
        from nnpy._training.progress import progress_bar

        num_threads = min(abs(backend.num_threads), len(self._tasks))  # negative for tests; see NNBackend in engine.h
        is_interrupted = False
        try:
            with progress_bar(len(self._tasks), "network", progress) as bar:
                _thread.start_new_thread(self._start, (num_threads,))  # Thread.start() is Python code with a lock, too
                self._wait(bar)
        except KeyboardInterrupt:
            is_interrupted = True
        finally:
            while True:
                try:
                    self._is_cancelled = True  # for what is still running after an exception
                    while self._running:
                        self._news.acquire(timeout=0.1)
                    break
                except KeyboardInterrupt:  # a second one, perhaps; the threads stop within milliseconds
                    is_interrupted = True
        for task in self._tasks:
            task.history.stopped = task.history.stopped or "interrupt"
        histories = [task.history for task in self._tasks]
        if is_interrupted and all(history.stopped != "interrupt" for history in histories):
            raise KeyboardInterrupt  # all networks are trained, but the caller may have more to do
        return histories

    def _wait(self, bar: Callable[..., object] | None) -> None:
        """Wait until all tasks are done, or raise the exception of the first one that failed."""
        num_done = 0
        while num_done < len(self._tasks):  # wake up now and then: a signal may have been delivered to another thread
            self._news.acquire(timeout=0.1)
            num_done = len(self._done)
            if self._errors:
                raise self._errors[0]
            if bar is not None:
                bar(num_done)

    def _start(self, num_threads: int) -> None:
        """Start the threads, in a thread that Ctrl-C does not interrupt."""
        try:
            for number in range(num_threads):
                threading.Thread(target=self._work, name=f"nnpy.fit_many_{number}", daemon=True).start()
        except BaseException as error:
            self._errors.append(error)

    def _work(self) -> None:
        """Train networks, in a thread, until none is waiting."""
        while self._waiting:
            with suppress(IndexError):  # another thread was faster
                self._train(self._waiting.popleft())

    def _train(self, task: _Task) -> None:
        from nnpy._training import loop

        def poll(_done: int) -> None:
            if self._is_cancelled:
                raise _CancelledError

        self._running.add(task)  # before the question whether to stop: `run` asks in the opposite order
        try:
            if not self._is_cancelled:
                with task.net._lock:
                    loop.fit(
                        task.net, task.x, task.y, task.options, history=task.history, backend=self._backend, poll=poll
                    )
        except _CancelledError:
            task.history.stopped = "interrupt"
        except BaseException as error:
            self._errors.append(error)
        finally:
            self._running.discard(task)
            self._done.append(task)
            with suppress(RuntimeError):  # it is not locked: there is older news
                self._news.release()


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
            float32; float64 if a network has scaled targets.
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
