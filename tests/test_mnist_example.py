"""examples/mnist.py on files of the test's own making, and on the real ones."""

import gzip
import importlib.util
import re
import struct
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture(scope="module")
def mnist():
    path = Path(__file__).parent.parent / "examples" / "mnist.py"
    spec = importlib.util.spec_from_file_location("mnist_example", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def idx(array):
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


@pytest.fixture
def folder(tmp_path):
    """Ten digits, each a row of pixels at its own height; the labels are plain, the images gzipped."""
    for name, copies in (("train", 50), ("t10k", 3)):
        labels = np.tile(np.arange(10, dtype=np.uint8), copies)
        images = np.zeros((len(labels), 28, 28), np.uint8)
        images[np.arange(len(labels)), 2 * labels] = 255
        (tmp_path / f"{name}-labels-idx1-ubyte").write_bytes(idx(labels))
        (tmp_path / f"{name}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(images)))
    return tmp_path


def test_reads_and_learns(mnist, folder, capsys):
    x, labels = mnist.load(folder, "train")
    assert x.shape == (500, 784)
    assert x.dtype == np.float32
    np.testing.assert_array_equal(x.reshape(-1, 28, 28)[7, 14], 1)
    np.testing.assert_array_equal(labels[:10], range(10))
    assert mnist.main([str(folder), "--epochs", "40"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 40
    assert lines[-1].startswith("epoch 40: 30 of 30 test images (100.00 %), ")


def shorten(path):
    path.write_bytes(path.read_bytes()[:-5])


def damage(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


LABELS, IMAGES = "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte.gz"


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        (LABELS, shorten, r"train-labels-idx1-ubyte should have 508 bytes for an array of shape \(500,\), it has 503"),
        (IMAGES, shorten, r"t10k-images-idx3-ubyte.gz is damaged: "),
        (IMAGES, damage, r"t10k-images-idx3-ubyte.gz is damaged: "),
        (
            IMAGES,
            lambda path: path.write_bytes(b"no gzip"),
            r"t10k-images-idx3-ubyte.gz is damaged: Not a gzipped file",
        ),
        (LABELS, lambda path: path.unlink(), r"has no file train-labels-idx1-ubyte or train-labels-idx1-ubyte.gz"),
        (
            LABELS,
            lambda path: path.write_bytes(b""),
            r"is no IDX file of bytes in 1 dimensions: it begins with nothing",
        ),
        (LABELS, lambda path: path.write_bytes(b"\0\0\x08\1\0"), r"is no IDX file of bytes .*begins with 00 00 08 01"),
        (
            LABELS,
            lambda path: path.write_bytes(b"\0\0\x0d\1\0\0\0\0"),
            r"is no IDX file of bytes .*begins with 00 00 0d 01",
        ),
        (LABELS, lambda path: path.write_bytes(idx(np.zeros(499, np.uint8))), r"has 500 train images and 499 labels"),
        (
            LABELS,
            lambda path: path.write_bytes(idx(np.full(500, 10, np.uint8))),
            r"has no digits of 28 x 28 in its train",
        ),
        (
            IMAGES,
            lambda path: path.write_bytes(gzip.compress(idx(np.zeros((30, 9, 28), np.uint8)))),
            r"no digits of 28 x 28",
        ),
    ],
)
def test_bad_files(mnist, folder, capsys, name, change, message):
    change(folder / name)
    assert mnist.main([str(folder)]) == 1
    assert re.search(rf"^mnist\.py: {re.escape(str(folder))}.*{message}", capsys.readouterr().err)


def test_bad_options(mnist, folder, capsys):
    with pytest.raises(SystemExit):
        mnist.main([str(folder), "--epochs", "-1"])
    assert "must not be negative" in capsys.readouterr().err


def test_one_epoch_of_the_real_files(mnist, mnist_folder, capsys):
    assert mnist.main([str(mnist_folder), "--epochs", "1"]) == 0
    right = int(capsys.readouterr().out.split()[2])
    assert right > 9000
