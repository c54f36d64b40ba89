"""Starts a process that measures something, and reads what it prints."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

# Each library chooses its kernels and its number of threads itself.
UNSET = ("OPENBLAS_", "OMP_", "MKL_", "NNPY_NUM", "NNPY_ISA")


def environment() -> dict[str, str]:
    """Return the environment variables without those that set threads or kernels."""
    return {name: value for name, value in os.environ.items() if not name.startswith(UNSET)}


def measure(command: Sequence[str], *, env: Mapping[str, str] | None = None, cwd: Path | None = None) -> list[float]:
    """Run a command that prints {"seconds": [...]}, and return these seconds.

    A command that fails ends the program: an error must not be taken for a slow library.
    """
    result = subprocess.run(command, capture_output=True, text=True, env=env, cwd=cwd, check=False)
    if result.returncode != 0:
        sys.exit(f"{' '.join(command)}\nfailed:\n{result.stderr.strip()}")
    seconds: list[float] = json.loads(result.stdout)["seconds"]
    return seconds


def time_text(seconds: float) -> str:
    """Format a time with three digits and a unit."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e6:.3g} us"
