"""Interrupts every long call with Ctrl-C, at many moments: the call ends at once, and what it leaves can be used.

    python tests/fuzz/interrupt.py 1000           # each call, 1,000 times
    python tests/fuzz/interrupt.py 1000 fit save  # two of them

Half of the signals come at the first line of Python that the call runs, the second and so on, spread over the whole call; half
come at a random time, which may be within a call of C. A finding is a signal that is lost, a network that is locked, parameters
that no whole number of steps leads to, a file that is not whole, or a thread that goes on.
"""

# ruff: noqa: T201
from __future__ import annotations

import copy
import faulthandler
import gzip
import random
import signal
import struct
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import numpy as np

import nnpy
from nnpy.datasets import load_idx, load_mnist

_RNG = np.random.default_rng(0)
X = _RNG.random((64, 3), dtype=np.float32)
Y = X[:, :1] * X[:, 1:2]


class Case(NamedTuple):
    """A call to interrupt.

    Attributes
    ----------
    call : function without arguments
    networks : list of NeuralNetwork
        Those that the call trains.
    states : set of bytes, or None
        The parameters that a network may have afterwards; None if the call must not change them.
    path : Path or None
        A file that the call writes; it must be whole, if it is there.
    best : list of bytes, or None
        With early stopping, the parameters after each epoch, those before the first one first.
    """

    call: Callable[[], object]
    networks: list[nnpy.NeuralNetwork]
    states: set[bytes] | None = None
    path: Path | None = None
    best: list[bytes] | None = None


def _net(seed: int = 1) -> nnpy.NeuralNetwork:
    return nnpy.NeuralNetwork([3, 5, 1], ["tanh", "linear"], seed=seed)


def _steps(num: int, step: Callable[[nnpy.NeuralNetwork, int], object], seed: int = 1) -> set[bytes]:
    """Return the parameters before and after each of some steps."""
    net = _net(seed)
    states = {net.parameters.tobytes()}
    for n in range(num):
        step(net, n)
        states.add(net.parameters.tobytes())
    return states


def _fit_case(num_epochs: int, **options: Any) -> Case:
    """`fit` of a full-batch method, or with one batch for each epoch: the states are those after the epochs."""
    net = _net()
    states = [net.parameters.tobytes()]
    callbacks = options.get("callbacks", [])
    arguments = {"x": X, "y": Y, "epochs": num_epochs, "seed": 3, "batch_size": None, **options}

    def keep(net: nnpy.NeuralNetwork, history: nnpy.History) -> None:
        states.append(net.parameters.tobytes())

    _net().fit(**{**arguments, "checkpoint": None, "callbacks": [*callbacks, keep]})
    best = states if "early_stopping" in options else None
    return Case(lambda: net.fit(**arguments), [net], set(states), options.get("checkpoint"), best)


def _fit_batches() -> Case:
    """`fit` with several steps for each epoch: the same steps one by one are the states."""
    net, states = _net(), set()
    size = 16

    def batches(first: int) -> Any:
        for start in range(0, len(X), size):
            states.add(other.parameters.tobytes())
            yield X[start : start + size], Y[start : start + size]

    class Batches:
        def __iter__(self) -> Any:
            return batches(0)

    other = _net()
    options = {"optimizer": "adam", "epochs": 60, "shuffle": False, "seed": 3}
    other.fit(Batches(), **options)
    states.add(other.parameters.tobytes())
    whole = _net()
    whole.fit(X, Y, batch_size=size, **options)
    assert (whole.parameters == other.parameters).all()
    return Case(lambda: net.fit(X, Y, batch_size=size, **options), [net], states)


def _partial_fit() -> Case:
    net = _net()

    def run() -> None:
        net._state = None
        for n in range(30):
            net.partial_fit(X, Y, batch_size=None, seed=n)

    return Case(run, [net], _steps(30, lambda net, n: net.partial_fit(X, Y, batch_size=None, seed=n)))


def _gradient_descent() -> Case:
    net = _net()
    states = _steps(400, lambda net, n: net.gradient_descent(X, Y, rate=0.1))
    return Case(lambda: net.gradient_descent(X, Y, rate=0.1, iterations=400), [net], states)


def _fit_many() -> Case:
    networks = [_net(seed) for seed in range(3)]
    states: set[bytes] = set()

    def keep(net: nnpy.NeuralNetwork, history: nnpy.History) -> None:
        states.add(net.parameters.tobytes())

    for seed in range(3):
        states.add(_net(seed).parameters.tobytes())
        _net(seed).fit(X, Y, epochs=200, batch_size=None, seed=3, callbacks=keep)
    return Case(lambda: nnpy.fit_many(networks, X, Y, epochs=200, batch_size=None, seed=3), networks, states)


def _predict() -> Case:
    net, x = nnpy.NeuralNetwork([3, 50, 50, 1], seed=0), np.broadcast_to(X[:1], (20_000, 3))
    return Case(lambda: net.predict(x), [net])


def _ensemble() -> Case:
    ensemble, x = nnpy.Ensemble([_net(seed) for seed in range(4)]), np.broadcast_to(X[:1], (5_000, 3))
    return Case(lambda: ensemble.predict(x, return_std=True), list(ensemble.networks))


def _save(folder: Path) -> Case:
    net = _net()
    net.partial_fit(X, Y, seed=0)
    return Case(lambda: net.save(folder / "net.npz"), [net], None, folder / "net.npz")


def _load(folder: Path) -> Case:
    _net().save(folder / "saved.npz")
    return Case(lambda: nnpy.load(folder / "saved.npz"), [])


def _mnist(folder: Path) -> Case:
    for name, num in (("train", 2000), ("t10k", 100)):
        for kind, shape in (("images-idx3", (num, 28, 28)), ("labels-idx1", (num,))):
            content = bytes([0, 0, 8, len(shape)]) + struct.pack(f">{len(shape)}I", *shape) + bytes(np.prod(shape))
            (folder / f"{name}-{kind}-ubyte.gz").write_bytes(gzip.compress(content, 1))
    return Case(lambda: load_mnist(folder), [])


def _idx(folder: Path) -> Case:
    content = bytes([0, 0, 8, 1]) + struct.pack(">I", 3_000_000) + bytes(3_000_000)
    (folder / "plain").write_bytes(content)
    return Case(lambda: load_idx(folder / "plain"), [])


CASES: dict[str, Callable[[Path], Case]] = {
    "fit": lambda folder: _fit_batches(),
    "fit_full_batch": lambda folder: _fit_case(300),
    "fit_watched": lambda folder: _fit_case(
        40, validation_data=(X, Y), early_stopping=100, callbacks=[lambda *_: None], checkpoint=folder / "training.npz"
    ),
    "fit_lbfgs": lambda folder: _fit_case(60, optimizer="lbfgs"),
    "fit_levenberg_marquardt": lambda folder: _fit_case(60, optimizer="lm"),
    "fit_many": lambda folder: _fit_many(),
    "partial_fit": lambda folder: _partial_fit(),
    "gradient_descent": lambda folder: _gradient_descent(),
    "predict": lambda folder: _predict(),
    "ensemble_predict": lambda folder: _ensemble(),
    "save": _save,
    "load": _load,
    "load_mnist": _mnist,
    "load_idx": _idx,
}


class _Signals:
    """Interrupts once, shortly after a line of Python or after a time, and knows whether the handler ran.

    The signal is SIGALRM of a timer, with a handler like that of SIGINT.
    """

    def __init__(self) -> None:
        self.num_lines = 0
        self.num_handled = 0

    def __enter__(self) -> _Signals:
        self._old = signal.signal(signal.SIGALRM, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGALRM, self._old)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if frame is not None and frame.f_code in (
            self._trace.__code__,
            self._handle.__code__,
        ):  # not of the code under test
            self._delay *= 2  # where signals come quickly, the next one would find this function again and again
            signal.setitimer(signal.ITIMER_REAL, self._delay)
            return
        self.num_handled += 1
        self.where = traceback.format_stack(frame)[-4:]
        raise KeyboardInterrupt

    def run(self, call: Callable[[], object], *, line: int = -1, seconds: float = 0.0) -> tuple[str, object]:
        """Call a function; return how it ended and what it returned."""
        self.num_lines = self.num_handled = 0
        self._delay = 1.5e-6
        result = None
        try:
            if seconds:
                signal.setitimer(signal.ITIMER_REAL, seconds)
            else:
                self._last_line = line
                sys.settrace(self._trace)
            result = call()
            sys.settrace(None)
            signal.setitimer(signal.ITIMER_REAL, 0)
        except KeyboardInterrupt:
            return "KeyboardInterrupt", None
        finally:
            sys.settrace(None)
            signal.setitimer(signal.ITIMER_REAL, 0)
        return "returned", result

    def _trace(self, frame: Any, event: str, arg: object) -> Any:
        if event == "line":
            self.num_lines += 1
            if self.num_lines - 1 == self._last_line:
                signal.setitimer(signal.ITIMER_REAL, 1e-6)
                sys.settrace(None)
                return None
        return self._trace


def interrupt(name: str, number: int, *, seed: int = 0) -> Counter[str]:
    """Interrupt a call; return how often it ended in which way. An AssertionError is a finding."""
    rng, ends, lost = random.Random(seed), Counter[str](), []
    old_hook, sys.unraisablehook = sys.unraisablehook, lost.append
    faulthandler.dump_traceback_later(600, exit=True, file=sys.__stderr__)
    try:
        with tempfile.TemporaryDirectory() as folder, _Signals() as signals:
            case = CASES[name](Path(folder))
            _interrupt(case, number, rng, signals, ends, lost)
    finally:
        faulthandler.cancel_dump_traceback_later()
        sys.unraisablehook = old_hook
    return ends


def _interrupt(
    case: Case, number: int, rng: random.Random, signals: _Signals, ends: Counter[str], lost: list[Any]
) -> None:
    before = [copy.copy(net).parameters for net in case.networks]
    case.call()
    _reset(case, before)
    signals.run(case.call)
    num_lines = signals.num_lines
    _reset(case, before)
    start = time.perf_counter()
    case.call()
    duration = time.perf_counter() - start
    for trial in range(number):
        _reset(case, before)
        if trial % 2 == 0:
            end, result = signals.run(case.call, line=trial * num_lines // number)
        else:
            end, result = signals.run(case.call, seconds=max(1e-6, rng.uniform(0, 1.1) * duration))
        histories = [h for h in (result if isinstance(result, list) else [result]) if isinstance(h, nnpy.History)]
        if end == "returned" and any(history.stopped == "interrupt" for history in histories):
            end = "history"
        # A file that is not closed at once, because the signal came after open() and before `with`, may cause a warning.
        ignored = [(str(x.exc_value), x.object) for x in lost if not issubclass(x.exc_type, ResourceWarning)]
        assert not ignored, ignored
        assert (end == "returned") == (signals.num_handled == 0), f"a signal was lost: {''.join(signals.where)}"
        ends[end] += 1
        _check(case, before, histories)
    _reset(case, before)
    case.call()
    if case.path is not None:
        assert [p for p in case.path.parent.iterdir() if p.name.startswith(".")] == []


def _check(case: Case, before: list[np.ndarray], histories: list[nnpy.History]) -> None:
    """Check what an interrupted call has left: networks, histories, threads and files."""
    for net, history in zip(case.networks, histories, strict=False):
        assert np.isfinite(history.loss).all(), f"epochs that C has not completed: {history.to_dict()}"
        assert len({len(column) for column in history.to_dict().values()}) == 1, f"{history.to_dict()}"
        if case.best is not None and len(history) > 1:  # early stopping may not have seen the last epoch
            bests = {1 + np.argmin(losses) for losses in (history.val_loss, history.val_loss[:-1])}
            assert history.best_epoch in bests, f"{history.best_epoch} is not the best epoch of {history.val_loss}"
            assert net.parameters.tobytes() == case.best[history.best_epoch], "not the best epoch"
    left = [net.parameters.tobytes() for net in case.networks]
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and thread._started.is_set():
            thread.join(10)
            assert not thread.is_alive(), "a thread goes on"
    assert left == [net.parameters.tobytes() for net in case.networks], "a thread trained after the call"
    for net, parameters in zip(case.networks, before, strict=True):
        assert not net._lock._is_owned(), "the network is locked"
        if case.states is None:
            assert (net.parameters == parameters).all()
        else:
            assert net.parameters.tobytes() in case.states, "no whole step"
    if case.path is not None and case.path.exists():
        assert nnpy.load(case.path).layer_sizes == case.networks[0].layer_sizes


def _reset(case: Case, before: list[np.ndarray]) -> None:
    for net, parameters in zip(case.networks, before, strict=True):
        net.parameters = parameters


def main() -> None:
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    for name in sys.argv[2:] or CASES:
        start, seed = time.perf_counter(), random.randrange(2**32)
        try:
            ends = dict(interrupt(name, number, seed=seed))
        except AssertionError as error:
            ends = f"FOUND: {error}"
        print(f"{name:24} {ends} (seed {seed}, {time.perf_counter() - start:.0f} s)", flush=True)


if __name__ == "__main__":
    main()
