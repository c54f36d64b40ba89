"""What the engine computes with: the instruction set, the number of threads."""

from __future__ import annotations

import os
import platform
import sys
from typing import Any

import numpy as np

from nnpy._ffi import ffi, lib
from nnpy._validation import integer

__all__ = ["get_num_threads", "backend", "set_num_threads", "show_config"]


def _available() -> dict[str, int]:
    """The instruction sets that can be used, best first, with the number by which C knows them."""
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
    """NNPY_NUM_THREADS, else what other libraries are told by OMP_NUM_THREADS, else every processor."""
    value = os.environ.get("NNPY_NUM_THREADS", "")
    if value:
        if not (value.isascii() and value.isdigit() and int(value) > 0):
            raise ImportError(f"NNPY_NUM_THREADS must be a positive integer, got {value!r}")
        return int(value)
    value = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()  # a list has one for each level of nesting
    if value.isascii() and value.isdigit() and int(value) > 0:
        return int(value)
    return _processors()


backend: Any = ffi.new("NNBackend *", (_choose_isa(), min(_choose_num_threads(), 256)))


def set_num_threads(n: int) -> None:
    """Set how many threads a call may use at the most. The result does not depend on it.

    A call uses fewer where more would not make it faster: small networks run on one thread.

    Parameters
    ----------
    n : int
        From 1 to 256. In the beginning it is the environment variable NNPY_NUM_THREADS, else OMP_NUM_THREADS, else the number
        of processors that the process may use.

    Raises
    ------
    TypeError, ValueError
        If `n` is not such a number.
    """
    backend.num_threads = integer(n, "n", 1, 256)


def get_num_threads() -> int:
    """Return how many threads a call may use at the most."""
    return int(backend.num_threads)


def show_config() -> None:
    """Print what is in use: versions, instruction set, threads.

    The environment variable NNPY_ISA, read when nnpy is imported, forces an instruction set; they all give the same bits.
    """
    import nnpy

    names = list(_available())
    threads = "POSIX threads" if lib.nn_threads_available() else "none: this build has one thread"
    rows = {
        "nnpy": nnpy.__version__,
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "numpy": np.__version__,
        "platform": f"{sys.platform}, {platform.machine()}",
        "compiler": ffi.string(lib.nn_compiler()).decode(),
        "instruction set": f"{names[backend.isa]} (of {', '.join(names)})",
        "threads": f"{backend.num_threads} at the most, on {_processors()} processors ({threads})",
    }
    for name, value in rows.items():
        print(f"{name + ':':<17}{value}")
