"""Calls into C: the one place that turns a code into an exception, and that lets Ctrl-C and a progress bar in."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any

try:
    from nnpy._libnn import ffi, lib
except ImportError as error:
    from pathlib import Path

    _folder = Path(__file__).parent
    if (_folder.parent / "build_ffi.py").exists() and {p.suffix for p in _folder.glob("_libnn.*")} <= {".pyi"}:
        raise ImportError(
            f"nnpy was imported from the source folder {_folder}, in which its C extension is not built. Run Python from "
            "another folder to use the installed package, or build it here: pip install -e ."
        ) from error
    raise

__all__ = ["call", "ffi", "lib"]

# What was raised while C was polling, in the thread that called C.
_raised = threading.local()


def _keep(_type: type[BaseException], exception: BaseException, _traceback: TracebackType | None) -> None:
    _raised.exception = exception


@ffi.def_extern(error=1, onerror=_keep)  # type: ignore[untyped-decorator]
def nnpy_poll(context: Any, done: int) -> int:
    """Runs what is due in Python: signal handlers, by the interpreter itself, and the progress callback."""
    if context != ffi.NULL:
        ffi.from_handle(context)(done)
    return 0


def call(
    function: Callable[..., int],
    *args: Any,
    progress: Callable[[int], object] | None = None,
    refuse: Callable[[], object] | None = None,
    diverged: Callable[[int], Exception] | None = None,
    monitor: Any = None,
) -> None:
    """Call a C function that ends in a monitor and returns a code.

    Parameters
    ----------
    function : C function
        Called as ``function(*args, monitor)`` without the GIL.
    progress : callable, optional
        Called with the number of whole iterations done, every few milliseconds and at the end.
    refuse : callable, optional
        Raises the error that says which of the inputs is not finite.
    diverged : callable, optional
        Makes the error for a training that diverged after so many steps.
    monitor : NNMonitor *, optional
        A new one, for a caller who wants to know, even after an exception, how much was done.

    Raises
    ------
    MemoryError
        If C could not allocate what it needs.
    BaseException
        Whatever a signal handler or `progress` raised meanwhile, such as KeyboardInterrupt.
    """
    handle = ffi.NULL if progress is None else ffi.new_handle(progress)
    monitor = ffi.new("NNMonitor *") if monitor is None else monitor
    monitor.poll, monitor.context = lib.nnpy_poll, handle
    code = function(*args, monitor)
    exception, _raised.exception = getattr(_raised, "exception", None), None
    if exception is not None:
        raise exception
    if progress is not None:
        progress(monitor.done)
    if code == lib.NN_NOT_FINITE:
        if refuse is not None:
            refuse()
        raise ValueError("x must be finite in float32")  # it was not, when C looked
    if code == lib.NN_DIVERGED and diverged is not None:
        raise diverged(monitor.num_steps)
    if code == lib.NN_NO_MEMORY:
        raise MemoryError("not enough memory to compute with the network")
    if code != lib.NN_OK:
        raise RuntimeError(f"unknown code {code} from C")  # pragma: no cover
