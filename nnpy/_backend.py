"""The backend of the engine: the instruction set and the number of threads."""

from __future__ import annotations

import os
import platform
import sys
from typing import Any

import numpy as np

from nnpy._ffi import ffi, lib
from nnpy._validation import integer
from nnpy._version import __version__

__all__ = ["backend", "get_num_threads", "set_num_threads", "show_config"]


def _available() -> dict[str, int]:
    """Return the numbers in C of the instruction sets that this machine can use, by name, best first."""
    names: dict[str, int] = {}
    while (name := lib.nn_isa_name(len(names))) != ffi.NULL:
        names[ffi.string(name).decode()] = len(names)
    return names


def _choose_isa() -> int:
    names = _available()
    name = os.environ.get("NNPY_ISA", "")
    if name and name not in names:
        raise ImportError(f"NNPY_ISA must be one of {', '.join(names)} on this machine, got {name!r}")
    return names[name] if name else 0


def _processors() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _choose_num_threads() -> int:
    """Return NNPY_NUM_THREADS; else OMP_NUM_THREADS, which other libraries obey; else the number of processors."""
    value = os.environ.get("NNPY_NUM_THREADS", "")
    if value:
        if not (value.isascii() and value.isdigit() and int(value) > 0):
            raise ImportError(f"NNPY_NUM_THREADS must be a positive integer, got {value!r}")
        return int(value)
    value = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()  # a list gives a number for each nesting level
    if value.isascii() and value.isdigit() and int(value) > 0:
        return int(value)
    return _processors()


backend: Any = ffi.new("NNBackend *", (_choose_isa(), min(_choose_num_threads(), 256)))


def set_num_threads(n: int) -> None:
    """Set the maximum number of threads of a call. Results do not depend on it.

    A call uses fewer threads where more would not make it faster: small networks run on one, and
    training goes on with one while other programs slow the threads down.

    Parameters
    ----------
    n : int
        From 1 to 256. The default is the environment variable NNPY_NUM_THREADS, else OMP_NUM_THREADS, else the number of
        processors that the process may use.

    Raises
    ------
    TypeError, ValueError
        If `n` is not an integer in that range.
    """
    backend.num_threads = integer(n, "n", 1, 256)


def get_num_threads() -> int:
    """Return the maximum number of threads of a call.

    Returns
    -------
    num : int
        What `set_num_threads` or the environment variable NNPY_NUM_THREADS or OMP_NUM_THREADS has set; else the number of
        processors that this process may use.
    """
    return int(backend.num_threads)


def show_config() -> None:
    """Print versions, instruction set and threads, for bug reports.

    The environment variable NNPY_ISA, read when nnpy is imported, selects an instruction set. All give the same bits.
    """
    names = list(_available())
    system = "Windows threads" if sys.platform == "win32" else "POSIX threads"
    threads = system if lib.nn_threads_available() else "none: this build has one thread"
    rows = {
        "nnpy": __version__,
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "numpy": np.__version__,
        "platform": f"{sys.platform}, {platform.machine()}",
        "compiler": ffi.string(lib.nn_compiler()).decode(),
        "instruction set": f"{names[backend.isa]} (of {', '.join(names)})",
        "threads": f"{backend.num_threads} at most, on {_processors()} processors ({threads})",
    }
    for name, value in rows.items():
        print(f"{name + ':':<17}{value}")
