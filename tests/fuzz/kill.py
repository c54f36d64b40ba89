"""Kills processes that write files, at many moments: there must be the old file or the new one, and nothing else after a save.

    python tests/fuzz/kill.py 1000

kills 1,000 processes in `save` and 1,000 that write checkpoints in `fit`, both with nameless temporary files (O_TMPFILE) and
without them. Half of them die at the first line of Python, the second and so on, spread over the whole call; half at a random
time, which may be within a call of C or of the system. For systems with fork.
"""

# ruff: noqa: T201
from __future__ import annotations

import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np

import nnpy
from nnpy import _serialization
from nnpy._training import loop

X = np.random.default_rng(0).random((20, 3), dtype=np.float32)
Y = X[:, :1]


def _save(path: Path) -> None:
    nnpy.NeuralNetwork([3, 4, 1], seed=1).save(path)


def _is_whole_network(path: Path) -> bool:
    """Return whether the file is the new one; it must be that or the one that `_save_old` writes."""
    seeds = [
        s for s in (1, 2) if (nnpy.load(path).parameters == nnpy.NeuralNetwork([3, 4, 1], seed=s).parameters).all()
    ]
    assert len(seeds) == 1, "neither the old nor the new network"
    return seeds == [1]


def _save_old(path: Path) -> None:
    nnpy.NeuralNetwork([3, 4, 1], seed=2).save(path)


def _train(path: Path, resume: Path | None = None, epochs: int = 4) -> np.ndarray:
    net = nnpy.NeuralNetwork([3, 4, 1], seed=3)
    monitored = {"validation_data": (X, Y), "early_stopping": 9}
    net.fit(X, Y, optimizer="adam", epochs=epochs, seed=5, checkpoint=path, resume=resume, **monitored)
    return net.parameters


def _is_whole_checkpoint(path: Path) -> bool:
    """Return whether the checkpoint is the last one; training that resumes from it must have the bits of a whole training."""
    num_epochs = np.load(path)["checkpoint/history"].shape[1]
    with tempfile.TemporaryDirectory() as folder:
        other = Path(folder, "other.npz")
        np.testing.assert_array_equal(_train(other, resume=path), _train(other))
    return num_epochs == 4


KINDS: dict[str, tuple[Callable[[Path], object], Callable[[Path], object], Callable[[Path], bool]]] = {
    "save": (_save_old, _save, _is_whole_network),
    "checkpoint": (lambda path: _train(path, epochs=1), _train, _is_whole_checkpoint),
}


def _in_child(function: Callable[[], object]) -> int:
    """Call a function in a child process; return its number."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            function()
            code = 0
        finally:
            os._exit(code)
    return child


def _count_lines(function: Callable[[], object], stop_at: int = -1) -> int:
    """Count the lines of Python that a function runs; kill this process before line `stop_at`."""
    num = 0

    def trace(frame: object, event: str, arg: object) -> object:
        nonlocal num
        if event == "line":
            if num == stop_at:
                os.kill(os.getpid(), signal.SIGKILL)
            num += 1
        return trace

    sys.settrace(trace)
    try:
        function()
    finally:
        sys.settrace(None)
    return num


def kill(kind: str, number: int, *, is_nameless: bool, seed: int = 0) -> Counter[str]:
    """Kill processes; return how often the file was absent, old and new. An AssertionError or ValueError is a finding."""
    write_old, write_new, is_new = KINDS[kind]
    old_settings = loop._SECONDS_PER_CHECKPOINT, getattr(os, "O_TMPFILE", 0), _serialization.call_uninterrupted
    loop._SECONDS_PER_CHECKPOINT = 0
    _serialization.call_uninterrupted = lambda function: function()  # in this thread, whose lines are counted
    if not is_nameless:
        os.O_TMPFILE = 0  # type: ignore[misc, unused-ignore]
    try:
        with tempfile.TemporaryDirectory() as folder:
            return _kill(Path(folder, "file.npz"), number, write_old, write_new, is_new, random.Random(seed))
    finally:
        loop._SECONDS_PER_CHECKPOINT = old_settings[0]
        os.O_TMPFILE = old_settings[1]  # type: ignore[misc, unused-ignore]
        _serialization.call_uninterrupted = old_settings[2]


def _kill(
    path: Path,
    number: int,
    write_old: Callable[[Path], object],
    write_new: Callable[[Path], object],
    is_new: Callable[[Path], bool],
    rng: random.Random,
) -> Counter[str]:
    write_new(path)  # imports what it needs
    num_lines = _count_lines(lambda: write_new(path))
    start = time.perf_counter()
    os.waitpid(_in_child(lambda: write_new(path)), 0)
    seconds = time.perf_counter() - start
    found: Counter[str] = Counter()
    for trial in range(number):
        is_absent = rng.random() < 0.3
        path.unlink() if is_absent else write_old(path)
        if trial % 2 == 0:
            line = trial * num_lines // number
            child = _in_child(lambda line=line: _count_lines(lambda: write_new(path), line))
        else:
            child = _in_child(lambda: write_new(path))
            time.sleep(rng.uniform(0, 1.2 * seconds))
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status) or (trial % 2 == 1 and os.WEXITSTATUS(status) == 0), status
        left = [p.name for p in path.parent.iterdir() if p != path]
        found["killed"] += os.WIFSIGNALED(status)
        found["temporary file left"] += bool(left)
        assert len(left) <= 1, left
        assert is_absent or path.exists(), "the old file is gone"
        found["absent" if not path.exists() else "new" if is_new(path) else "old"] += 1
        write_old(path)
        assert [p.name for p in path.parent.iterdir()] == [path.name], "a save left a temporary file"
    return found


def main() -> None:
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    for kind in KINDS:
        for is_nameless in (True, False):
            start = time.perf_counter()
            found = kill(kind, number, is_nameless=is_nameless, seed=random.randrange(2**32))
            seconds = time.perf_counter() - start
            print(
                f"{kind}, {'with' if is_nameless else 'without'} O_TMPFILE: {dict(found)}, {seconds:.0f} s", flush=True
            )


if __name__ == "__main__":
    main()
