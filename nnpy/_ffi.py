"""Calls into C: the one place that turns return codes into exceptions, and that handles Ctrl-C and progress callbacks."""

from __future__ import annotations

import atexit
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

try:
    from nnpy._libnn import ffi, lib
except ImportError as error:
    from pathlib import Path

    _folder = Path(__file__).parent
    if (_folder.parent / "build_ffi.py").exists() and not any(p.suffix in {".so", ".pyd"} for p in _folder.iterdir()):
        raise ImportError(
            f"nnpy was imported from the source folder {_folder}, in which its C extension is not built. Run Python from "
            "another folder to use the installed package, or build it here: pip install -e ."
        ) from error
    raise

__all__ = ["call", "ffi", "lib"]


@atexit.register
def _finalize() -> None:
    """Keep daemon threads that are in C from entering an interpreter that has ended; wait for those that are in `nnpy_poll`."""
    deadline = time.monotonic() + 5
    while lib.nnpy_finalize() and time.monotonic() < deadline:
        time.sleep(1e-3)


# The exception that was raised in nnpy_poll, for the thread that called C.
_raised = threading.local()


def _keep(_type: type[BaseException], exception: BaseException, _traceback: TracebackType | None) -> None:
    _raised.exception = exception


@ffi.def_extern(error=1, onerror=_keep)  # type: ignore[untyped-decorator]
def nnpy_poll(context: Any, done: int) -> int:
    """Run signal handlers, which the interpreter does on its own, and call the progress callback. C calls this function."""
    if context != ffi.NULL:
        ffi.from_handle(context)(done)
    return 0


def call(
    function: Callable[..., int],
    *args: Any,
    progress: Callable[[int], object] | None = None,
    on_not_finite: Callable[[], object] | None = None,
    on_diverged: Callable[[int], Exception] | None = None,
    monitor: Any = None,
) -> None:
    """Call a C function whose last argument is a monitor and that returns a code; raise the exception for the code.

    Parameters
    ----------
    function : C function
        Called as ``function(*args, monitor)`` without the GIL.
    progress : callable, optional
        Called with the number of completed iterations, every few milliseconds and at the end.
    on_not_finite : callable, optional
        Called if C found an input that is not finite; it raises the exception that names the input.
    on_diverged : callable, optional
        Called with the number of steps taken if training diverged; it returns the exception to raise.
    monitor : NNMonitor *, optional
        A new monitor, for a caller that reads the progress from it after the call, even after an exception.

    Raises
    ------
    MemoryError
        If C could not allocate what it needs.
    BaseException
        What a signal handler or `progress` raised during the call, such as KeyboardInterrupt.
    """
    handle = ffi.NULL if progress is None else ffi.new_handle(progress)
    monitor = ffi.new("NNMonitor *") if monitor is None else monitor
    lib.nnpy_set_poll(monitor, handle)
    _raised.exception = None  # of an earlier call, if a second signal came at its end
    code = function(*args, monitor)
    exception, _raised.exception = _raised.exception, None
    if exception is not None:
        raise exception
    if progress is not None:
        progress(monitor.done)
    if code == lib.NN_NOT_FINITE:
        if on_not_finite is not None:
            on_not_finite()
        raise ValueError("x must be finite in float32")
    if code == lib.NN_DIVERGED and on_diverged is not None:
        raise on_diverged(monitor.num_steps)
    if code == lib.NN_NO_MEMORY:
        raise MemoryError("not enough memory to compute with the network")
    if code != lib.NN_OK:
        raise RuntimeError(f"unknown code {code} from C")  # pragma: no cover
