"""Ctrl-C while a library reads or writes a file.

Python raises KeyboardInterrupt between any two instructions of the main thread, also within zipfile, gzip and numpy.savez. If
it comes while they open or close something, they raise another exception instead, or none. In other threads Python handles no
signals: so these libraries are called in a thread, and the exception is raised in the main thread when they have returned.
"""

from __future__ import annotations

import _thread
import threading
from collections.abc import Callable
from typing import Any, TypeVar

__all__ = ["call_uninterrupted", "stop_if_interrupted"]

T = TypeVar("T")

_current = threading.local()  # .call: the _Call of a thread that was started here


class _CancelledError(BaseException):
    """Ends a call whose result nobody will see."""


class _Call:
    """A call in a thread. It takes no lock that Python code manages: an exception could leave it locked."""

    def __init__(self, function: Callable[[], Any]) -> None:
        self.function = function
        self.has_begun = self.is_cancelled = self.is_done = False
        self.result: Any = None
        self.error: BaseException | None = None
        self._done = _thread.allocate_lock()
        self._done.acquire()

    def run(self) -> None:
        """Call the function, in the thread."""
        _current.call = self
        self.has_begun = True  # before the question whether to stop: `cancel` asks in the opposite order
        try:
            if not self.is_cancelled:
                self.result = self.function()
        except BaseException as error:
            self.error = error
        self.is_done = True
        self._done.release()

    def wait(self) -> None:
        """Wait for the end of the thread; wake up now and then, as a signal may have been delivered to another thread."""
        while not self.is_done:
            self._done.acquire(timeout=0.1)

    def cancel(self) -> None:
        """Keep the thread from beginning, or wait for its end."""
        self.is_cancelled = True
        if self.has_begun:
            self.wait()


def call_uninterrupted(function: Callable[[], T]) -> T:
    """Call a function in a thread, and return its result or raise its exception.

    What a signal handler raises meanwhile, such as KeyboardInterrupt, is raised after the function has returned.
    """
    if threading.current_thread() is not threading.main_thread():
        return function()
    call = _Call(function)
    try:
        try:
            _thread.start_new_thread(call.run, ())
        except RuntimeError:  # there cannot be another thread
            return function()
        call.wait()
    except BaseException:
        while True:
            try:
                call.cancel()
                break
            except BaseException:  # a second signal
                continue
        raise
    if call.error is not None:
        raise call.error
    return call.result  # type: ignore[no-any-return]


def stop_if_interrupted() -> None:
    """In a long function that `call_uninterrupted` has called: end it if a signal handler has raised an exception."""
    call = getattr(_current, "call", None)
    if call is not None and call.is_cancelled:
        raise _CancelledError
