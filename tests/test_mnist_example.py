"""examples/mnist.py on small synthetic images, and on the real ones where they are."""

import importlib.util
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def mnist():
    path = Path(__file__).parent.parent / "examples" / "mnist.py"
    spec = importlib.util.spec_from_file_location("mnist_example", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_reads_and_learns(mnist, digits_folder, capsys):
    assert mnist.main([str(digits_folder), "--epochs", "40"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 40
    assert lines[-1].startswith("epoch 40: 30 of 30 test images (100.00 %), ")


def test_bad_files(mnist, digits_folder, capsys):
    path = digits_folder / "train-labels-idx1-ubyte"
    path.write_bytes(path.read_bytes()[:-5])
    assert mnist.main([str(digits_folder)]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err == f"mnist.py: {path} must have 508 bytes for an array of shape (500,), it has 503\n"
    assert mnist.main([str(digits_folder / "none")]) == 1
    assert (
        capsys.readouterr().err
        == f"mnist.py: {digits_folder / 'none'} is not a folder; expected a folder with the MNIST files\n"
    )


def test_bad_options(mnist, digits_folder, capsys):
    with pytest.raises(SystemExit):
        mnist.main([str(digits_folder), "--epochs", "-1"])
    assert "must not be negative" in capsys.readouterr().err


@pytest.mark.slow
def test_one_epoch_of_the_real_files(mnist, mnist_folder, capsys):
    assert mnist.main([str(mnist_folder), "--epochs", "1"]) == 0
    right = int(capsys.readouterr().out.split()[2])
    assert right > 9000
