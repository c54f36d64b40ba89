"""Writing files so that a crash leaves the old file or the new one, never a part of it; and reading regular files only."""

from __future__ import annotations

import errno
import io
import os
import re
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

__all__ = ["open_regular", "replacing"]

_NAME_MAX = 59  # characters: with up to 4 bytes each, the name of a temporary file stays below 255 bytes
_STALE_AFTER = 3600  # seconds, where there are no locks
_RENAMES_OPEN_FILES = os.name != "nt"


def open_regular(path: str | os.PathLike[str]) -> io.BufferedReader:
    """Open a file to read; an OSError for a pipe, which might block for ever, or a device, which might have no end."""
    file = open(path, "rb", opener=lambda name, flags: os.open(name, flags | getattr(os, "O_NONBLOCK", 0)))  # noqa: SIM115
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise _not_regular(path)
    return file


def _not_regular(path: str | os.PathLike[str]) -> OSError:
    return OSError(errno.EINVAL, "Not a regular file", os.fspath(path))


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a file to write, which replaces the file at `path` at the end of the block, or vanishes if the block raises.

    A symbolic link is followed, and an old file's permissions are kept. Temporary files that killed processes have left of the
    same file are removed.

    Raises
    ------
    OSError
        If there is a folder, a device or anything else at `path` that is not a regular file, or the file cannot be written.
    ValueError
        If `path` is empty.
    """
    target, mode = _target(path)
    _remove_stale(target)
    # The new file gets its name by a rename: at any moment there is the old file or the new one, even after a power cut.
    # It is locked until then, which tells other processes that it is not stale.
    file, temporary, is_named = _open(target)
    try:
        with file:
            if mode is not None:
                _set_mode(file, mode)
            yield file
            file.flush()
            os.fsync(file.fileno())
            if not is_named:
                _give_name(file, temporary)
            if _RENAMES_OPEN_FILES:
                temporary.replace(target)
        if not _RENAMES_OPEN_FILES:
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
        raise _not_regular(path)
    return target, stat.S_IMODE(status.st_mode)


def _prefix(target: Path) -> str:
    """Return how the names of temporary files for a target begin; 16 hexadecimal digits follow."""
    return f".{target.name[:_NAME_MAX]}."


def _open(target: Path) -> tuple[BinaryIO, Path, bool]:
    """Open and lock a temporary file; return it, its path, and whether it has that name already.

    Where possible it has none until it is complete, so that nothing is left of it if the process is killed.
    """
    if hasattr(os, "O_TMPFILE"):
        with suppress(OSError):  # not on every file system
            descriptor = os.open(target.parent, os.O_TMPFILE | os.O_RDWR, 0o666)
            file: BinaryIO = os.fdopen(descriptor, "w+b")
            if os.path.lexists(_proc_link(file)):
                _lock(file.fileno())
                return file, _temporary(target), False
            file.close()
    while True:
        path = _temporary(target)
        file = path.open("xb")
        # Another process may have found the file before it was locked, and have removed it.
        if _lock(file.fileno()) is not False and path.exists():
            return file, path, True
        file.close()
        path.unlink(missing_ok=True)


def _temporary(target: Path) -> Path:
    return target.with_name(f"{_prefix(target)}{os.urandom(8).hex()}")


def _lock(descriptor: int) -> bool | None:
    """Lock a file until it is closed, also by the end of the process; return whether it is locked, or None without locks."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:  # a file system without locks
        return None
    return True


def _remove_stale(target: Path) -> None:
    """Remove the temporary files for a target that no process has locked."""
    prefix = _prefix(target)
    with suppress(OSError), os.scandir(target.parent) as entries:
        for entry in entries:
            if entry.name.startswith(prefix) and re.fullmatch("[0-9a-f]{16}", entry.name[len(prefix) :]):
                with suppress(OSError):
                    _remove_if_stale(Path(entry.path))


def _remove_if_stale(path: Path) -> None:
    if not stat.S_ISREG(path.lstat().st_mode):
        return
    descriptor = os.open(path, os.O_RDWR)
    try:
        is_locked = _lock(descriptor)
        is_old = time.time() - os.fstat(descriptor).st_mtime > _STALE_AFTER
        # It is removed before the lock is released: who has just created it looks whether it is there after locking it.
        if fcntl is not None and (is_locked or (is_locked is None and is_old)):
            path.unlink()
    finally:
        os.close(descriptor)
    if fcntl is None and is_old:  # Windows does not remove files that are open
        path.unlink()


def _proc_link(file: BinaryIO) -> str:
    return f"/proc/self/fd/{file.fileno()}"


def _give_name(file: BinaryIO, path: Path) -> None:
    """Link a file that was opened without a name."""
    folder = os.open(path.parent, os.O_RDONLY)
    try:  # with a folder, os.link calls linkat, which follows the link in /proc
        os.link(_proc_link(file), path.name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=True)
    finally:
        os.close(folder)


def _set_mode(file: BinaryIO, mode: int) -> None:
    if hasattr(os, "fchmod") and os.name != "nt":  # Windows knows only read-only files, which cannot be replaced
        os.fchmod(file.fileno(), mode)


def _sync_folder(folder: Path) -> None:
    """Write the rename itself to the disk, on systems where a folder can be opened."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
