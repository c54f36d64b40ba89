"""``nnpy mnist`` on small synthetic images, and on the real ones where they are; the network that comes with nnpy."""

import os
import re
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import nnpy
from nnpy._commands import augment, main, mnist
from nnpy._commands.augment import Distortion, distort
from nnpy.datasets import load_mnist

NO_DISTORTION = Distortion(shift=0, angle=0, scale=0, shear=0, elastic=0)


@pytest.fixture
def images():
    """Images of Gaussian blobs in random places, shape (300, 784)."""
    rng = np.random.default_rng(0)
    row, column = np.mgrid[:28, :28]
    y, x = rng.uniform(8, 20, (2, 300, 1, 1))
    return np.rint(255 * np.exp(-((row - y) ** 2 + (column - x) ** 2) / 20)).astype(np.uint8).reshape(300, 784)


def centres(images):
    """Centre of mass of each image: its row and its column."""
    images = images.reshape(-1, 28, 28).astype(np.float64)
    position = np.arange(28)
    mass = images.sum(axis=(1, 2))
    return (images.sum(axis=2) @ position) / mass, (images.sum(axis=1) @ position) / mass


# ---- Distortions


def test_no_distortion_copies_the_image(images):
    copies = distort(images, NO_DISTORTION, (0,))
    assert copies.dtype == np.float32
    np.testing.assert_allclose(copies, images / 255, atol=1e-6)


def test_same_seed_gives_same_copies_for_any_number_of_threads(images):
    first = distort(images, Distortion(), (1, 2))
    out = np.empty_like(first)
    with ThreadPoolExecutor(3) as executor:
        assert distort(images, Distortion(), (1, 2), out, executor=executor) is out
    np.testing.assert_array_equal(first, out)
    other = distort(images, Distortion(), (1, 3))
    assert np.abs(first - other).mean() > 0.01
    assert first.min() >= 0
    assert first.max() <= 1
    # The copies of a part do not depend on the other parts.
    np.testing.assert_array_equal(distort(images[:256], Distortion(), (1, 2)), first[:256])


def test_shift_is_uniform_within_its_limit(images):
    rows, columns = centres(images)
    new_rows, new_columns = centres(distort(images, NO_DISTORTION._replace(shift=2.0), (0,)))
    for moved in (new_rows - rows, new_columns - columns):
        assert np.abs(moved).max() == pytest.approx(2, abs=0.1)
        assert moved.std() == pytest.approx(2 / np.sqrt(3), rel=0.1)
        assert moved.mean() == pytest.approx(0, abs=0.2)


def test_rotation_is_about_the_centre(images):
    rows, columns = centres(images)
    new_rows, new_columns = centres(distort(images, NO_DISTORTION._replace(angle=30.0), (0,)))
    before, after = (x - 13.5 + 1j * (y - 13.5) for x, y in ((columns, rows), (new_columns, new_rows)))
    np.testing.assert_allclose(np.abs(after), np.abs(before), atol=0.15)
    far = np.abs(before) > 3
    angles = np.rad2deg(np.angle(after[far] / before[far]))
    assert np.abs(angles).max() == pytest.approx(30, abs=2)
    assert angles.std() == pytest.approx(30 / np.sqrt(3), rel=0.15)


def test_scale_and_shear(images):
    rows, columns = centres(images)
    new_rows, new_columns = centres(distort(images, NO_DISTORTION._replace(scale=0.2), (0,)))
    far = np.abs(columns - 13.5) > 2
    ratio = (columns[far] - 13.5) / (new_columns[far] - 13.5)
    assert 0.77 < ratio.min() < 0.85
    assert 1.15 < ratio.max() < 1.23
    new_rows, new_columns = centres(distort(images, NO_DISTORTION._replace(shear=0.3), (0,)))
    np.testing.assert_allclose(new_rows, rows, atol=0.1)
    far = np.abs(rows - 13.5) > 2
    shear = (columns[far] - new_columns[far]) / (rows[far] - 13.5)
    assert 0.25 < np.abs(shear).max() < 0.35


@pytest.mark.parametrize("sigma", [4.0, 2.5])
def test_elastic_displacement_is_that_of_the_paper(sigma):
    """It has the variance and the correlations of white noise smoothed by a Gaussian."""
    strength = NO_DISTORTION._replace(elastic=1.4, sigma=sigma)
    rng = np.random.default_rng(0)
    fields = np.stack(augment._source_coordinates(4000, strength, rng, augment._gaussian_bumps(sigma)))[..., 6:22, 6:22]
    middle = fields - fields.mean(axis=1, keepdims=True)
    assert middle.std() == pytest.approx(1.4, rel=0.02)
    for distance in (1, 3, 6):
        for one, other in (
            (middle[..., :-distance, :], middle[..., distance:, :]),
            (middle[..., :-distance], middle[..., distance:]),
        ):
            correlation = (one * other).mean() / middle.var()
            assert correlation == pytest.approx(np.exp(-(distance**2) / (4 * sigma**2)), abs=0.02)


def test_pixels_from_outside_are_zero():
    white = np.full((50, 784), 255, np.uint8)
    copies = distort(white, NO_DISTORTION._replace(shift=20.0), (0,)).reshape(-1, 28, 28)
    assert (copies[:, 14, 14] == 1).mean() > 0.3
    assert (copies == 0).mean() > 0.2
    assert copies[copies > 0].min() > 1e-3


# ---- Training


def test_merged_network_averages_the_logits():
    """Its output is the normalised geometric mean of the outputs."""
    x = np.random.default_rng(0).random((50, 6), dtype=np.float32)
    for hidden in ((), (5,), (5, 4), (5, 4, 3)):
        functions = ["relu"] * len(hidden) + ["softmax"]
        networks = [nnpy.NeuralNetwork([6, *hidden, 3], functions, seed=seed) for seed in range(3)]
        for net in networks:
            for biases in net.biases:
                biases[:] = np.random.default_rng(1).random(len(biases))
        net = mnist.merge(networks)
        assert net.layer_sizes == (6, *(3 * size for size in hidden), 3)
        product = np.prod([part.predict(x) for part in networks], axis=0) ** (1 / 3)
        np.testing.assert_allclose(net.predict(x), product / product.sum(axis=1, keepdims=True), atol=1e-5)
    assert mnist.merge(networks[:1]) is networks[0]


def test_each_epoch_has_new_copies_and_each_network_another_seed(digits_folder, monkeypatch):
    seen, seeds = [], []
    fit = nnpy.NeuralNetwork.fit
    distort = mnist.distort

    def watched_distort(images, distortion, seed, out, executor):
        seen.append(distort(images, distortion, seed, out, executor=executor).tobytes())
        return out

    def watched_fit(net, *data, **options):
        seeds.append(options["seed"])
        return fit(net, *data, **options)

    monkeypatch.setattr(mnist, "distort", watched_distort)
    monkeypatch.setattr(nnpy.NeuralNetwork, "fit", watched_fit)
    recipe = mnist.Recipe((8,), epochs=4, learning_rate=0.01, distortion=Distortion(), num_networks=2)
    net, _ = mnist.train(load_mnist(digits_folder, dtype="uint8"), recipe, seed=0, report=lambda line: None)
    assert net.layer_sizes == (784, 16, 10)
    assert seeds == [0, 1]
    assert len(set(seen)) == len(seen) == 8


# ---- The command


def test_report_of_each_epoch_and_of_the_result(digits_folder, tmp_path, capsys):
    path = tmp_path / "net.npz"
    arguments = ["mnist", str(digits_folder), "--epochs", "15", "--hidden", "32,16", "--batch-size", "10"]
    assert main.main([*arguments, "--save", str(path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    for epoch, line in enumerate(lines[:15], 1):
        assert re.fullmatch(
            rf"epoch {epoch} of 15: training loss \d\.\d{{4}}, test accuracy \d+\.\d\d %, \d+\.\d s", line
        )
    assert re.fullmatch(r"test accuracy 100\.00 %, 0 of 30 images wrong; trained in \d+\.\d s", lines[15])
    assert "98.4 % with cross-entropy, 99.3 % with elastic distortions" in lines[16]
    assert lines[18] == "confusion matrix (rows: true digit, columns: predicted digit)"
    assert lines[19].split() == [str(i) for i in range(10)]
    for digit, line in enumerate(lines[20:30]):
        assert line.split() == [str(digit)] + ["3" if i == digit else "0" for i in range(10)]
    assert lines[31:] == [f"saved to {path}, {path.stat().st_size / 1000:.0f} KB"]
    net = nnpy.load(path)
    assert net.layer_sizes == (784, 32, 16, 10)
    assert net.activations == ("relu", "relu", "softmax")

    assert main.main([*arguments, "--quiet", "--no-save"]) == 0
    assert capsys.readouterr().out.startswith("test accuracy 100.00 %, 0 of 30 images wrong; ")


def test_same_seed_gives_same_network(digits_folder, tmp_path, capsys):
    networks = []
    for number, seed in enumerate(("3", "3", "4")):
        path = tmp_path / f"{number}.npz"
        arguments = ["--augment", "--epochs", "2", "--hidden", "8", "--seed", seed, "--save", str(path)]
        assert main.main(["mnist", str(digits_folder), *arguments]) == 0
        networks.append(nnpy.load(path).parameters.tobytes())
    assert networks[0] == networks[1] != networks[2]


def test_best_merges_networks(digits_folder, tmp_path, capsys):
    path = tmp_path / "net.npz"
    arguments = ["--best", "--epochs", "1", "--hidden", "16,8", "--save", str(path)]
    assert main.main(["mnist", str(digits_folder), *arguments]) == 0
    num_networks = mnist.BEST.num_networks
    lines = capsys.readouterr().out.splitlines()
    assert lines[num_networks - 1].startswith(f"network {num_networks} of {num_networks}, epoch 1 of 1: training loss ")
    assert nnpy.load(path).layer_sizes == (784, 16 * num_networks, 8 * num_networks, 10)


def test_folder_of_the_environment_variable(digits_folder, monkeypatch, capsys):
    monkeypatch.setenv("NNPY_MNIST", str(digits_folder))
    assert main.main(["mnist", "--epochs", "1", "--no-save"]) == 0
    assert "of 30 images wrong" in capsys.readouterr().out


def test_confusion_matrix_has_a_row_for_each_true_digit():
    matrix = mnist._confusion_matrix(np.array([0, 1, 1, 9]), np.array([0, 7, 7, 9]))
    assert matrix.sum() == 4
    assert (matrix[0, 0], matrix[1, 7], matrix[9, 9]) == (1, 2, 1)
    assert mnist._format_matrix(matrix)[3].split() == ["1", *"0000000200"]


def error_of(capsys, *arguments):
    assert main.main(["mnist", *map(str, arguments)]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    return err


def test_errors(digits_folder, tmp_path, monkeypatch, capsys):
    missing = tmp_path / "missing"
    path = missing / "a.npz"
    assert (
        error_of(capsys, missing) == f"nnpy mnist: {missing} is not a folder; expected a folder with the MNIST files\n"
    )
    assert (
        error_of(capsys, digits_folder, "--save", path)
        == f"nnpy mnist: cannot write {path}: there is no folder {missing}\n"
    )
    assert (
        error_of(capsys, digits_folder, "--save", tmp_path) == f"nnpy mnist: cannot write {tmp_path}: it is a folder\n"
    )
    assert re.fullmatch(
        r"nnpy mnist: .*memory.*\n", error_of(capsys, digits_folder, "--hidden", "2e9,2e9", "--no-save")
    )
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write to every folder
    path = tmp_path / "a.npz"
    assert (
        error_of(capsys, digits_folder, "--save", path)
        == f"nnpy mnist: cannot write {path}: the folder {tmp_path} is read-only\n"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--epochs", "0"], "argument --epochs: expected a whole number from 1 to 2147483647, got '0'"),
        (["--batch-size", "0"], "argument --batch-size: expected a whole number from 1 to 2147483647, got '0'"),
        (["--hidden", "64,"], "argument --hidden: expected numbers of neurons such as 256 or 128,64, got '64,'"),
        (["--hidden", "0"], "argument --hidden: expected numbers of neurons such as 256 or 128,64, got '0'"),
        (["--seed", "-1"], "argument --seed: expected a whole number from 0 to 4294967295, got '-1'"),
    ],
)
def test_wrong_options(capsys, arguments, message):
    with pytest.raises(SystemExit) as exit_:
        main.main(["mnist", *arguments])
    assert exit_.value.code == 2
    assert message in capsys.readouterr().err


@pytest.fixture
def command(start_process, digits_folder):
    """Start ``nnpy mnist`` on the small data set."""
    environment = {**os.environ, "NNPY_MNIST": str(digits_folder), "PYTHONUNBUFFERED": "1"}

    def start(*arguments):
        # In a checkout the installed package would not be imported, so the process runs in another folder.
        return start_process([sys.executable, "-m", "nnpy", "mnist", *arguments], env=environment, cwd=digits_folder)

    return start


@pytest.mark.slow
def test_an_error_of_the_process_is_one_line_and_status_1(command, digits_folder):
    path = digits_folder / "t10k-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-20])
    process = command()
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (1, "")
    assert re.fullmatch(rf"nnpy mnist: {re.escape(str(path))} is damaged: [^\n]*\n", err)


@pytest.mark.skipif(sys.platform == "win32", reason="the test sends a signal")
@pytest.mark.slow
def test_ctrl_c_saves_nothing(command, tmp_path):
    process = command("--augment", "--epochs", "1000000", "--save", str(tmp_path / "net.npz"))
    assert process.stdout.readline().startswith("epoch 1 of 1000000: training loss ")
    os.kill(process.pid, signal.SIGINT)
    assert process.communicate(timeout=20)[1] == "nnpy: interrupted\n"
    assert process.returncode == 130
    assert not (tmp_path / "net.npz").exists()


# ---- The network that comes with nnpy, made by: nnpy mnist --hidden 48,48 --augment --epochs 100 --save nnpy/data/digits.npz


def shipped():
    return Path(nnpy.__file__).parent / "data" / "digits.npz"


def test_shipped_network_is_small():
    assert shipped().stat().st_size < 200_000
    net = nnpy.load(shipped())
    assert net.layer_sizes == (784, 48, 48, 10)
    assert net.activations == ("relu", "relu", "softmax")


@pytest.mark.slow
def test_shipped_network_classifies_digits(mnist_folder):
    net = nnpy.load(shipped())
    data = load_mnist(mnist_folder)
    assert (net.predict(data.x_test).argmax(axis=1) == data.y_test).mean() > 0.98
    # Distorted digits as well, of which a network trained without distortions gets 79 %.
    images = np.rint(255 * data.x_test).astype(np.uint8)
    distorted = distort(images, Distortion(), (0,))
    assert (net.predict(distorted).argmax(axis=1) == data.y_test).mean() > 0.96


@pytest.mark.slow
def test_two_epochs_of_the_real_files(mnist_folder, capsys):
    assert main.main(["mnist", str(mnist_folder), "--epochs", "2", "--hidden", "64", "--no-save"]) == 0
    accuracy = float(
        re.search(r"^test accuracy (\S+) %, \S+ of 10,000 images wrong", capsys.readouterr().out, re.MULTILINE)[1]
    )
    assert accuracy > 95.5


def test_network_is_saved_by_default_and_not_with_no_save(digits_folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for arguments, files in ((["--no-save"], []), ([], ["mnist.npz"])):
        assert main.main(["mnist", str(digits_folder), "--epochs", "1", "--hidden", "8", *arguments]) == 0
        assert sorted(path.name for path in tmp_path.glob("*.npz")) == files
    assert "saved to mnist.npz, " in capsys.readouterr().out
    assert nnpy.load("mnist.npz").layer_sizes == (784, 8, 10)
