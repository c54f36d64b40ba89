"""Writing files so that a crash leaves the old file or the new one, never a part of it."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

__all__ = ["replacing"]

_OPEN_FILES = Path("/proc/self/fd")  # on Linux, unless /proc is not mounted


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a file to write, which replaces the file at `path` at the end of the block, or vanishes if the block raises.

    A symbolic link is followed, and an old file's permissions are kept.

    Raises
    ------
    OSError
        If there is a folder, a device or anything else at `path` that is not a regular file, or the file cannot be written.
    ValueError
        If `path` is empty.
    """
    target, mode = _target(path)
    # The new file gets its name by a rename: at any moment there is the old file or the new one, even after a power cut.
    temporary = target.with_name(f".{target.name}.{os.urandom(8).hex()}")
    file, is_named = _open(target.parent, temporary)
    try:
        with file:
            if mode is not None:
                _set_mode(file, mode)
            yield file
            file.flush()
            os.fsync(file.fileno())
            if not is_named:
                _give_name(file, temporary)
        temporary.replace(target)
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    _sync_folder(target.parent)


def _target(path: str | os.PathLike[str]) -> tuple[Path, int | None]:
    """Return the file behind symbolic links, and the permissions that it has, or None if it does not exist."""
    if not os.fspath(path):
        raise ValueError("the path of a file must not be empty")
    target = Path(os.path.realpath(path))
    try:
        status = target.stat()
    except FileNotFoundError:
        return target, None
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "Not a regular file", os.fspath(path))
    return target, stat.S_IMODE(status.st_mode)


def _open(folder: Path, temporary: Path) -> tuple[BinaryIO, bool]:
    """Open a new file in a folder: where possible without a name, so that nothing is left of it if the process is killed."""
    if hasattr(os, "O_TMPFILE") and _OPEN_FILES.is_dir():
        with suppress(OSError):  # not on every file system
            descriptor = os.open(folder, os.O_TMPFILE | os.O_RDWR, 0o666)
            return os.fdopen(descriptor, "w+b"), False
    return temporary.open("xb"), True


def _give_name(file: BinaryIO, path: Path) -> None:
    """Link a file that was opened without a name."""
    folder = os.open(path.parent, os.O_RDONLY)
    try:  # with a folder, os.link calls linkat, which follows the link in /proc
        os.link(_OPEN_FILES / f"{file.fileno()}", path.name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=True)
    finally:
        os.close(folder)


def _set_mode(file: BinaryIO, mode: int) -> None:
    if hasattr(os, "fchmod"):
        os.fchmod(file.fileno(), mode)


def _sync_folder(folder: Path) -> None:
    """Write the rename itself to the disk, on systems where a folder can be opened."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
