"""nnpy.datasets with synthetic files, with the real ones where they are, and with a server on this machine."""

import gzip
import hashlib
import os
import re
import struct
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import nnpy
from nnpy import datasets
from nnpy.datasets import download_mnist, load_idx, load_mnist

TYPES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}


def header(code, *shape):
    return bytes([0, 0, code, len(shape)]) + struct.pack(f">{len(shape)}I", *shape)


def idx(array):
    kind = array.dtype.str[1:]
    return header(TYPES[kind], *array.shape) + array.astype(f">{kind}").tobytes()


# ---- load_idx


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzipped"])
@pytest.mark.parametrize("shape", [(), (0,), (7,), (2, 3, 4), (3, 0)])
@pytest.mark.parametrize("kind", TYPES)
def test_reads_every_type_and_shape(tmp_path, kind, shape, pack):
    values = np.random.default_rng(0).uniform(-100, 100, shape)
    expected = np.asarray(np.abs(values) if kind == "u1" else values).astype(kind)
    path = tmp_path / "file"
    path.write_bytes(pack(idx(expected)))
    array = load_idx(path)
    assert array.dtype == np.dtype(kind)
    assert array.dtype.isnative
    assert array.flags.writeable
    assert array.shape == shape
    np.testing.assert_array_equal(array, expected)


def test_gzip_is_detected_from_the_content(tmp_path):
    numbers = np.arange(5, dtype=np.uint8)
    (tmp_path / "plain.gz").write_bytes(idx(numbers))
    (tmp_path / "packed").write_bytes(gzip.compress(idx(numbers)[:6]) + gzip.compress(idx(numbers)[6:]))
    for name in ("plain.gz", "packed"):
        np.testing.assert_array_equal(load_idx(str(tmp_path / name)), numbers)


def damaged(content):
    content = bytearray(content)
    content[len(content) // 2] ^= 0xFF
    return bytes(content)


THREE = idx(np.array([1, 2, 3], np.int16))
NOISE = idx(np.random.default_rng(0).integers(0, 256, 5000, np.uint8))
BAD_FILES = [
    (b"", "is not an IDX file: it begins with nothing"),
    (b"\0\0\x08", "is not an IDX file: it begins with 00 00 08"),
    (b"\x89PNG", "is not an IDX file: it begins with 89 50 4e 47"),
    (b"\0\0\x0a\1\0\0\0\0", "is not an IDX file: it begins with 00 00 0a 01"),
    (THREE[:6], "ends before the sizes of its 1 dimensions"),
    (THREE[:-1], r"must have 14 bytes for an array of shape \(3,\), it has 13"),
    (THREE + b"\0", r"must have 14 bytes for an array of shape \(3,\), it has 15"),
    (gzip.compress(THREE[:-1]), r"must have 14 bytes for an array of shape \(3,\), it has 13"),
    (gzip.compress(THREE + b"\0"), r"must have 14 bytes for an array of shape \(3,\), it has more"),
    (gzip.compress(header(0x0E, *[2**32 - 1] * 3)), r"must have 6338.* bytes .*, it has at most \d{5}"),
    (header(0x08, *[2**32 - 1] * 3, 0), "has a shape that numpy does not support: "),
    (header(0x08, *[1] * 65) + b"1", "has a shape that numpy does not support: "),
    (gzip.compress(NOISE)[:-5], "is damaged: Compressed file ended"),
    (gzip.compress(NOISE)[:1000], "is damaged: Compressed file ended"),
    (damaged(gzip.compress(NOISE)), "is damaged: "),
    (gzip.compress(THREE)[:-8] + bytes(8), "is damaged: CRC check failed"),
    (gzip.compress(THREE) + b"more", "is damaged: Not a gzipped file"),
    (b"\x1f\x8bno gzip", "is damaged: "),
]


@pytest.mark.parametrize(("content", "message"), BAD_FILES)
def test_bad_idx_files(tmp_path, content, message):
    path = tmp_path / "bad"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"^{re.escape(str(path))} {message}"):
        load_idx(path)
    assert path.read_bytes() == content


def test_decompression_bomb_is_not_decompressed(tmp_path):
    """Its end is missing: decompressing all of it would give another error."""
    bomb = gzip.compress(header(0x08, 10) + bytes(50 << 20), 1)[:-9]
    (tmp_path / "bomb").write_bytes(bomb)
    with pytest.raises(ValueError, match=r"must have 18 bytes for an array of shape \(10,\), it has more"):
        load_idx(tmp_path / "bomb")


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        load_idx(tmp_path / "none")
    with pytest.raises(OSError):  # noqa: PT011  (the class depends on the platform)
        load_idx(tmp_path)


# ---- load_mnist


def test_digits_are_rows_of_pixels(digits_folder):
    data = load_mnist(digits_folder)
    assert data.x_train.shape == (500, 784)
    assert data.x_test.shape == (30, 784)
    assert data.x_train.dtype == np.float32
    np.testing.assert_array_equal(data.x_train[7].reshape(28, 28)[14], 1)
    assert data.x_train[7].sum() == 28
    np.testing.assert_array_equal(data.y_train[:10], range(10))
    assert data.y_train.dtype == data.y_test.dtype == np.int64
    raw = load_mnist(str(digits_folder), dtype=np.uint8)
    assert raw.x_train.dtype == np.uint8
    np.testing.assert_array_equal(raw.x_test, 255 * data.x_test)
    net = nnpy.NeuralNetwork([784, 10], "softmax", seed=0)
    net.fit(data.x_train, data.y_train, epochs=20, seed=0)
    np.testing.assert_array_equal(net.predict(data.x_test).argmax(axis=1), data.y_test)


def test_file_names_with_a_dot(digits_folder):
    for path in list(digits_folder.iterdir()):
        path.rename(path.with_name(path.name.replace("-idx", ".idx")))
    assert load_mnist(digits_folder).x_test.shape == (30, 784)


LABELS, IMAGES = "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte.gz"


def shorten(path):
    path.write_bytes(path.read_bytes()[:-5])


def write(content):
    return lambda path: path.write_bytes(content)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        (LABELS, shorten, r"/train-labels-idx1-ubyte must have 508 bytes for an array of shape \(500,\), it has 503"),
        (IMAGES, shorten, r"/t10k-images-idx3-ubyte.gz is damaged: "),
        (LABELS, lambda path: path.unlink(), r" has no file train-labels-idx1-ubyte or train-labels-idx1-ubyte.gz"),
        (
            LABELS,
            write(idx(np.zeros(499, np.uint8))),
            " has 500 images but 499 labels in its train files$",
        ),
        (
            LABELS,
            write(idx(np.full(500, 10, np.uint8))),
            " has the label 10 in its train files, expected labels from 0 to 9$",
        ),
        (
            LABELS,
            write(idx(np.zeros(500, np.int16))),
            r"-ubyte has an array of int16, shape \(500,\), expected labels of uint8, shape \(n,\)$",
        ),
        (
            LABELS,
            write(idx(np.zeros((500, 1), np.uint8))),
            r"-ubyte has an array of uint8, shape \(500, 1\), expected labels of uint8",
        ),
        (
            LABELS,
            write(idx(np.zeros(0, np.uint8))),
            r"-ubyte has an array of uint8, shape \(0,\), expected labels of uint8",
        ),
        (
            IMAGES,
            write(gzip.compress(idx(np.zeros((30, 9, 28), np.uint8)))),
            r"/t10k-images-idx3-ubyte.gz has an array of uint8, shape \(30, 9, 28\), expected images of uint8, shape \(n, 28",
        ),
        (
            IMAGES,
            write(idx(np.zeros((3, 28, 28), np.float64))),
            r".gz has an array of float64, shape \(3, 28, 28\), expected images of",
        ),
        (
            IMAGES,
            write(idx(np.zeros((0, 28, 28), np.uint8))),
            r".gz has an array of uint8, shape \(0, 28, 28\), expected images of",
        ),
        # 4 GB of zeros, which are not read.
        (
            IMAGES,
            write(gzip.compress(header(0x08, 2**16, 2**16))),
            r".gz has an array of uint8, shape \(65536, 65536\), expected images",
        ),
    ],
)
def test_bad_mnist_files(digits_folder, name, change, message):
    change(digits_folder / name)
    with pytest.raises(ValueError) as error:  # noqa: PT011
        load_mnist(digits_folder)
    assert re.search(rf"^{re.escape(str(digits_folder))}.*{message}", str(error.value).replace(os.sep, "/"))


def test_bad_arguments_of_load_mnist(digits_folder, tmp_path):
    with pytest.raises(ValueError, match="^dtype must be float32 or uint8, got float64$"):
        load_mnist(digits_folder, dtype="float64")
    with pytest.raises(TypeError, match="not understood"):
        load_mnist(digits_folder, dtype="pixels")
    with pytest.raises(ValueError, match="none is not a folder; expected a folder with the MNIST files$"):
        load_mnist(tmp_path / "none")


def test_the_real_files(mnist_folder):
    data = load_mnist(mnist_folder)
    assert [len(part) for part in data] == [60000, 60000, 10000, 10000]
    np.testing.assert_array_equal(np.bincount(data.y_test), [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009])
    # The mean and the standard deviation that are commonly used to normalise MNIST.
    assert data.x_train.mean(dtype=np.float64) == pytest.approx(0.1307, abs=5e-5)
    assert data.x_train.std(dtype=np.float64) == pytest.approx(0.3081, abs=5e-5)


def test_the_checksums_are_those_of_the_real_files(mnist_folder):
    for name in datasets._CONTENTS:
        path = datasets._find(mnist_folder, name)
        content = path.read_bytes()
        assert datasets._has_checksum(content if path.suffix == ".gz" else gzip.compress(content, 1), name)


# ---- Folders


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty home folder, without environment variables and without mirrors."""
    for name in ("NNPY_MNIST", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    monkeypatch.setattr(datasets, "_MIRRORS", ())
    return tmp_path / "home"


def test_cache_folder(home, tmp_path, monkeypatch):
    assert datasets._cache_folder(windows=False) == home / ".cache/nnpy/mnist"
    assert datasets._cache_folder(windows=True) == home / "AppData/Local/nnpy/mnist"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert datasets._cache_folder(windows=False) == home / ".cache/nnpy/mnist"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "local"))
    assert datasets._cache_folder(windows=False) == tmp_path / "xdg/nnpy/mnist"
    assert datasets._cache_folder(windows=True) == tmp_path / "local/nnpy/mnist"


def test_order_of_folders(home, digits_folder, monkeypatch):
    with pytest.raises(OSError, match="could not download"):
        load_mnist()
    cache = datasets._cache_folder()
    for path in digits_folder.iterdir():
        content = path.read_bytes()
        (cache / path.name.removesuffix(".gz")).with_suffix(".gz").write_bytes(content)
    assert len(load_mnist().x_train) == 500
    monkeypatch.setenv("NNPY_MNIST", str(home))
    with pytest.raises(ValueError, match="home has no file train-images-idx3-ubyte or "):
        load_mnist()
    monkeypatch.setenv("NNPY_MNIST", str(digits_folder))
    (cache / "train-images-idx3-ubyte.gz").write_bytes(b"")
    assert len(load_mnist().x_train) == 500


# ---- download_mnist


@pytest.fixture
def server():
    """A server of `files` by path: a body, a status, a pair of body and Content-Length, or a function that returns one."""
    files = {}
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            answer = files.get(self.path, 404)
            if callable(answer):
                answer = answer()
            if isinstance(answer, int):
                self.send_error(answer)
                return
            body, length = answer if isinstance(answer, tuple) else (answer, len(answer))
            self.send_response(200)
            if length is not None:
                self.send_header("Content-Length", str(length))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = False  # no thread outlives its test

        def handle_error(self, *_):
            """Print nothing when a client closes the connection early, as it should."""

    with Server(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield SimpleNamespace(files=files, asked=asked, url=f"http://127.0.0.1:{http.server_port}")
        http.shutdown()
        thread.join()


@pytest.fixture
def mirrors(server, home, digits_folder, monkeypatch):
    """Two mirrors of the synthetic digits, with their checksums; returns the compressed files by name."""
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(datasets, "_MIRRORS", (f"{server.url}/first/", f"{server.url}/second/"))
    contents, packed = {}, {}
    for path in sorted(digits_folder.iterdir()):
        content = path.read_bytes()
        content = gzip.decompress(content) if path.suffix == ".gz" else content
        name = path.name.removesuffix(".gz")
        contents[name] = (len(content), hashlib.sha256(content).hexdigest())
        packed[name] = gzip.compress(content)
        for mirror in ("first", "second"):
            server.files[f"/{mirror}/{name}.gz"] = packed[name]
    monkeypatch.setattr(datasets, "_CONTENTS", contents)
    return packed


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_download_into_the_cache(server, mirrors, home):
    assert len(load_mnist().x_train) == 500
    assert names(datasets._cache_folder()) == [f"{name}.gz" for name in mirrors]
    assert server.asked == [f"/first/{name}.gz" for name in mirrors]
    assert len(load_mnist().x_train) == 500
    assert download_mnist() == datasets._cache_folder()
    assert len(server.asked) == 4


def test_download_replaces_damaged_files(server, mirrors, tmp_path):
    folder = tmp_path / "a" / "b"
    assert download_mnist(str(folder), progress=False) == folder
    path = folder / f"{LABELS}.gz"
    for content in (b"", b"else", mirrors[LABELS][:-1], mirrors[LABELS] + b"\0", gzip.compress(b"else")):
        path.write_bytes(content)
        download_mnist(folder)
        assert path.read_bytes() == mirrors[LABELS]
    assert len(server.asked) == 9


def slowly():
    time.sleep(0.5)  # longer than the timeout of the test
    return 404


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (404, "HTTP Error 404: Not Found"),
        (500, "HTTP Error 500: Internal Server Error"),
        (gzip.compress(b"else"), "wrong checksum (SHA-256)"),
        (b"<html>Please log in</html>", "wrong checksum (SHA-256)"),
        (b"", "wrong checksum (SHA-256)"),
        ((b"short", 4000), "ended after 5 of 4000 bytes"),
        ((b"short", None), "wrong checksum (SHA-256)"),
        ((bytes(6000), None), "longer than 5000 bytes"),
        (bytes(6000), "longer than 5000 bytes"),
        (gzip.compress(bytes(100_000)), "wrong checksum (SHA-256)"),
        (slowly, "timed out"),
    ],
    ids=[
        "404",
        "500",
        "other",
        "page",
        "empty",
        "short",
        "short, no length",
        "long, no length",
        "long",
        "bomb",
        "slow",
    ],
)
def test_second_mirror_if_the_first_fails(server, mirrors, tmp_path, monkeypatch, answer, reason):
    monkeypatch.setattr(datasets, "_DOWNLOAD_MAX", 5000)
    monkeypatch.setattr(datasets, "_TIMEOUT", 0.2 if answer is slowly else 10)
    server.files[f"/first/{LABELS}.gz"] = answer
    download_mnist(tmp_path / "new")
    assert (tmp_path / "new" / f"{LABELS}.gz").read_bytes() == mirrors[LABELS]
    assert server.asked.count(f"/second/{LABELS}.gz") == 1
    assert len(server.asked) == 5

    server.files[f"/second/{LABELS}.gz"] = 503
    (tmp_path / "new" / f"{LABELS}.gz").write_bytes(b"old")
    with pytest.raises(OSError, match="could not download") as error:
        download_mnist(tmp_path / "new")
    message = str(error.value)
    assert message.startswith(f"could not download {LABELS}.gz ({server.url}/first/: ")
    assert reason in message
    assert f"; {server.url}/second/: HTTP Error 503: Service Unavailable). Put the four MNIST files into " in message
    assert message.endswith(
        f" into {tmp_path / 'new'}, or set the environment variable NNPY_MNIST to a folder that has them"
    )
    assert (tmp_path / "new" / f"{LABELS}.gz").read_bytes() == b"old"
    assert names(tmp_path / "new") == [f"{name}.gz" for name in mirrors]


def test_no_network(server, mirrors, monkeypatch):
    monkeypatch.setattr(datasets, "_MIRRORS", ("http://127.0.0.1:9/",))  # no server listens on this port
    with pytest.raises(OSError, match=r"could not download .*\.gz \(http://127.0.0.1:9/: .*NNPY_MNIST"):
        load_mnist()
    assert names(datasets._cache_folder()) == []


def test_folder_that_cannot_be_created(mirrors, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OSError, match="file"):
        download_mnist(tmp_path / "file" / "folder")


def test_interrupted_download_leaves_no_file(server, mirrors, tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        download_mnist(tmp_path / "new")
    assert names(tmp_path / "new") == []


def test_progress_bar_needs_tqdm(mirrors, tmp_path, monkeypatch):
    bars = []

    class Bar:
        def __init__(self, **options):
            self.options, self.done = options, 0
            bars.append(self)

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def update(self, num_bytes):
            self.done += num_bytes

    monkeypatch.setitem(sys.modules, "tqdm", SimpleNamespace(tqdm=Bar))
    download_mnist(tmp_path / "none", progress=False)
    assert bars == []
    download_mnist(tmp_path / "shown")
    assert [bar.options["desc"] for bar in bars] == [f"{name}.gz" for name in mirrors]
    assert [bar.done for bar in bars] == [bar.options["total"] for bar in bars] == [len(p) for p in mirrors.values()]
    monkeypatch.setitem(sys.modules, "tqdm", None)
    download_mnist(tmp_path / "without")
    assert len(bars) == 4
    assert len(names(tmp_path / "without")) == 4


def test_no_progress_bar_without_a_terminal(mirrors, tmp_path, capsys):
    download_mnist(tmp_path / "new")
    assert capsys.readouterr() == ("", "")
