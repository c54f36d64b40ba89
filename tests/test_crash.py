"""Files that are written when a process is killed or interrupted, a disk is full, or others write the same file."""

import errno
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import nnpy
from nnpy import _atomic_write, _ffi
from nnpy.datasets import load_idx

needs_unix = pytest.mark.skipif(os.name == "nt", reason="signals, links and pipes are Unix's")


@pytest.fixture(scope="module")
def scripts():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parent / "fuzz")
        import interrupt
        import kill

        yield kill, interrupt


@pytest.fixture
def net():
    return nnpy.NeuralNetwork([3, 4, 2], ["relu", "softmax"], seed=0)


@pytest.fixture(params=["nameless", "named"])
def kind_of_file(request, monkeypatch):
    """Temporary files of Linux, which have no name, and those of other systems."""
    if request.param == "named":
        monkeypatch.setattr(os, "O_TMPFILE", 0, raising=False)  # opening a folder to write fails, as it does there
    return request.param


# ---- kill -9 and Ctrl-C; tests/fuzz has scripts that do it for longer ----


@needs_unix
@pytest.mark.parametrize("is_nameless", [True, False])
@pytest.mark.parametrize("kind", ["save", "checkpoint"])
def test_a_killed_process_leaves_a_whole_file(scripts, kind, is_nameless):
    found = scripts[0].kill(kind, 24, is_nameless=is_nameless)
    assert found["killed"] >= 12
    assert found["old"] > 0
    if not is_nameless:
        assert found["temporary file left"] > 0


@needs_unix
@pytest.mark.parametrize(
    "name",
    [
        "ensemble_predict",
        "fit",
        "fit_full_batch",
        "fit_lbfgs",
        "fit_levenberg_marquardt",
        "fit_many",
        "fit_watched",
        "gradient_descent",
        "load",
        "load_idx",
        "load_mnist",
        "partial_fit",
        "predict",
        "save",
    ],
)
def test_ctrl_c_at_any_moment(scripts, name):
    assert len(scripts[1].CASES) == 14
    ends = scripts[1].interrupt(name, 30)
    assert ends["KeyboardInterrupt"] + ends["history"] >= 10


def test_a_signal_at_the_end_of_a_call_does_not_end_the_next_one(net):
    _ffi._raised.exception = KeyboardInterrupt()
    assert net.predict(np.zeros((2, 3))).shape == (2, 2)


def test_ctrl_c_while_an_epoch_is_recorded_leaves_columns_of_one_length():
    def interrupted():
        yield 0.1
        raise KeyboardInterrupt

    history = nnpy.History()
    history.append({"loss": 3.0, "learning_rate": 0.1, "seconds": 1.0})
    with pytest.raises(KeyboardInterrupt):
        history.extend({"loss": [2.0], "learning_rate": interrupted(), "seconds": [1.0]}, 1)
    assert history.to_dict() == {"loss": [3.0], "learning_rate": [0.1], "seconds": [1.0]}
    assert (len(history), history.last("loss"), history.loss.tolist()) == (1, 3.0, [3.0])
    history.append({"loss": 1.0, "learning_rate": 0.1, "seconds": 1.0})
    assert history.loss.tolist() == [3.0, 1.0]


# ---- Temporary files ----


def stale(path):
    """A file as a killed process leaves it."""
    file = path.with_name(f".{path.name[:59]}.0123456789abcdef")
    file.write_bytes(b"half a network")
    return file


@needs_unix
def test_a_save_removes_what_was_left_of_the_same_file(tmp_path, net, kind_of_file):
    path = tmp_path / "net.npz"
    others = [stale(tmp_path / "other.npz"), tmp_path / ".net.npz.swp", tmp_path / ".net.npz.0123456789ABCDEF"]
    (tmp_path / ".net.npz.00000000000000ff").mkdir()
    (tmp_path / ".net.npz.00000000000000fe").symlink_to(others[1])
    for other in others:
        other.touch()
    stale(path)
    net.save(path)
    expected = [path, *others, tmp_path / ".net.npz.00000000000000ff", tmp_path / ".net.npz.00000000000000fe"]
    assert sorted(tmp_path.iterdir()) == sorted(expected)


@needs_unix
def test_a_save_does_not_remove_what_another_one_writes(tmp_path, net, kind_of_file, monkeypatch):
    """The first save has its temporary file, and waits before the rename until the second one is done."""
    path, replace, seen = tmp_path / "net.npz", Path.replace, []

    def other_save_first(self, target):
        monkeypatch.setattr(Path, "replace", replace)
        seen.extend(p.name for p in tmp_path.iterdir())
        process = f"import nnpy; nnpy.NeuralNetwork([5, 1], seed=0).save({str(path)!r})"
        subprocess.run([sys.executable, "-c", process], check=True, cwd=tmp_path.parent)
        nnpy.NeuralNetwork([6, 1], seed=0).save(path)
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", other_save_first)
    net.save(path)
    assert len(seen) == 1
    assert nnpy.load(path).layer_sizes == net.layer_sizes
    assert [p.name for p in tmp_path.iterdir()] == ["net.npz"]


@needs_unix
def test_a_file_that_is_removed_before_it_is_locked_is_written_again(tmp_path, net, monkeypatch):
    """Between the creation of a file and its lock another process may think that it is stale."""
    monkeypatch.setattr(os, "O_TMPFILE", 0, raising=False)
    lock, removed = _atomic_write._lock, []

    def remove_first(descriptor):
        if len(removed) < 3:
            (file,) = tmp_path.iterdir()
            removed.append(file.name)
            _atomic_write._remove_stale(tmp_path / "net.npz")
            assert not file.exists()
        return lock(descriptor)

    # The lock of the other process is the same function: it is replaced for the writer alone.
    remove = _atomic_write._remove_if_stale
    monkeypatch.setattr(_atomic_write, "_lock", remove_first)
    monkeypatch.setattr(_atomic_write, "_remove_if_stale", lambda path: path.unlink())
    net.save(tmp_path / "net.npz")
    monkeypatch.setattr(_atomic_write, "_remove_if_stale", remove)
    assert len(set(removed)) == 3
    assert [p.name for p in tmp_path.iterdir()] == ["net.npz"]


@pytest.mark.parametrize("locks", ["none", "refused"])
def test_without_locks_only_old_files_are_removed(tmp_path, net, monkeypatch, locks):
    path = tmp_path / "net.npz"
    if locks == "none":
        monkeypatch.setattr(_atomic_write, "fcntl", None)
        monkeypatch.setattr(_atomic_write, "_RENAMES_OPEN_FILES", False)
    else:
        fcntl = pytest.importorskip("fcntl")

        def refuse(*_):
            raise OSError(errno.ENOLCK, "no locks available")

        monkeypatch.setattr(fcntl, "flock", refuse)
    file = stale(path)
    net.save(path)
    assert file.exists()
    os.utime(file, (time.time() - 4000,) * 2)
    net.save(path)
    assert [p.name for p in tmp_path.iterdir()] == ["net.npz"]


@needs_unix
def test_without_proc_a_file_has_a_name_at_once(tmp_path, net, monkeypatch):
    monkeypatch.setattr(_atomic_write, "_proc_link", lambda file: str(tmp_path / "none"))
    net.save(tmp_path / "net.npz")
    assert nnpy.load(tmp_path / "net.npz").layer_sizes == net.layer_sizes


def test_many_save_the_same_file(tmp_path, kind_of_file):
    """Two processes and two threads: at any moment there is a whole network of one of them."""
    path, program = (
        tmp_path / "net.npz",
        "import os, sys, nnpy; os.O_TMPFILE = {}; net = nnpy.NeuralNetwork([3, 9, 1], seed={})\n"
        "for _ in range(60): net.save({!r})",
    )
    nnpy.NeuralNetwork([3, 9, 1], seed=0).save(path)
    flag = getattr(os, "O_TMPFILE", 0)
    nets = [nnpy.NeuralNetwork([3, 9, 1], seed=seed) for seed in range(4)]
    processes = [
        subprocess.Popen([sys.executable, "-c", program.format(flag, n, str(path))], cwd=tmp_path.parent)
        for n in (0, 1)
    ]
    threads = [threading.Thread(target=lambda n=n: [nets[n].save(path) for _ in range(60)]) for n in (2, 3)]
    for thread in threads:
        thread.start()
    written = {net.parameters.tobytes() for net in nets}
    while any(process.poll() is None for process in processes) or any(thread.is_alive() for thread in threads):
        assert nnpy.load(path).parameters.tobytes() in written
    assert [process.wait() for process in processes] == [0, 0]
    assert [p.name for p in tmp_path.iterdir()] == ["net.npz"]


# ---- Strange paths and full disks ----


@needs_unix
@pytest.mark.parametrize(
    "name", ["x" * 255, "ä" * 127, "\N{CHESTNUT}" * 63, os.fsdecode(b"\xff\xfe.npz"), "a b\n'.npz"]
)
def test_names(tmp_path, net, name, kind_of_file):
    if sys.platform == "darwin" and "\udcff" in name:
        pytest.skip("the file system of macOS refuses names that are not UTF-8")
    net.save(tmp_path / name)
    stale(tmp_path / name)
    net.save(tmp_path / name)
    assert nnpy.load(tmp_path / name).layer_sizes == net.layer_sizes
    assert [p.name for p in tmp_path.iterdir()] == [name]


@needs_unix
def test_only_regular_files_are_read(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "one").symlink_to("other")
    (tmp_path / "other").symlink_to("one")
    for read in (nnpy.load, load_idx):
        for path in (tmp_path / "fifo", "/dev/zero"):
            with pytest.raises(OSError, match="Not a regular file"):
                read(path)
        with pytest.raises(IsADirectoryError):
            read(tmp_path)
        with pytest.raises(OSError, match="symbolic links"):
            read(tmp_path / "one")
    with pytest.raises(OSError, match="symbolic links"):
        nnpy.NeuralNetwork([1, 1]).save(tmp_path / "one")


@needs_unix
def test_a_full_disk(tmp_path, net, kind_of_file):
    """A limit on the size of files fails in the same places."""
    resource = pytest.importorskip("resource")
    path, large = tmp_path / "net.npz", nnpy.NeuralNetwork([500, 500], seed=0)
    net.save(path)
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        for limit in (100, 10_000, 500_000):
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, old[1]))
            with pytest.raises(OSError, match="File too large"):
                large.save(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
    assert nnpy.load(path).layer_sizes == net.layer_sizes
    assert [p.name for p in tmp_path.iterdir()] == ["net.npz"]
