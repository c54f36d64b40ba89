"""Threads that train networks one after another, for `fit_many` and for cross-validation."""

from __future__ import annotations

import _thread
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress

from nnpy._backend import backend
from nnpy._ffi import ffi
from nnpy._history import History
from nnpy._training.progress import progress_bar

__all__ = ["Pool", "Task"]


class _CancelledError(BaseException):
    """Raised in a worker thread when the caller's thread is interrupted, or training of another network failed."""


class Task:
    """The training of one network.

    Parameters
    ----------
    train : callable
        Called once with the keyword arguments history, backend and poll, which are for `nnpy._training.loop.fit`.
    """

    def __init__(self, train: Callable[..., object]) -> None:
        self.train = train
        self.history = History()


class Pool:
    """Threads that train one network after another, each on one processor. They spend most of the time in C, without the GIL.

    Ctrl-C may come at any moment in the thread of the caller, and no thread may train a network after `run` has returned. So
    that thread takes no lock that Python code manages, as concurrent.futures does: an exception could leave it locked.
    """

    def __init__(self, tasks: Sequence[Task]) -> None:
        self._tasks = tasks
        self._waiting = deque(tasks)
        self._running: set[Task] = set()
        self._done: list[Task] = []
        self._errors: list[BaseException] = []
        self._is_cancelled = False
        self._news = threading.Lock()  # released by a worker when a task is done
        self._backend = ffi.new("NNBackend *", {"isa": backend.isa, "num_threads": 1})

    def run(self, *, progress: bool) -> list[History]:
        """Run all tasks; return their histories. Ctrl-C and errors stop the tasks that are not done."""
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
                threading.Thread(target=self._work, name=f"nnpy.pool_{number}", daemon=True).start()
        except BaseException as error:
            self._errors.append(error)

    def _work(self) -> None:
        """Train networks, in a thread, until none is waiting."""
        while self._waiting:
            with suppress(IndexError):  # another thread was faster
                self._train(self._waiting.popleft())

    def _train(self, task: Task) -> None:
        def poll(_done: int) -> None:
            if self._is_cancelled:
                raise _CancelledError

        self._running.add(task)  # before the question whether to stop: `run` asks in the opposite order
        try:
            if not self._is_cancelled:
                task.train(history=task.history, backend=self._backend, poll=poll)
        except _CancelledError:
            task.history.stopped = "interrupt"
        except BaseException as error:
            self._errors.append(error)
        finally:
            self._running.discard(task)
            self._done.append(task)
            with suppress(RuntimeError):  # it is not locked: there is older news
                self._news.release()
