"""The plots of nnpy.plot, and the HTML that notebooks show."""

import re
import subprocess
import sys
from types import SimpleNamespace
from xml.etree import ElementTree

import numpy as np
import pytest

import nnpy
from nnpy import _html

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")
from matplotlib import pyplot  # noqa: E402

from nnpy import plot  # noqa: E402

RNG = np.random.default_rng(2)
X, LABELS = RNG.random((60, 4), dtype=np.float32), RNG.integers(0, 3, 60)


@pytest.fixture(autouse=True)
def close_figures():
    yield
    pyplot.close("all")


def history_of(loss, val_loss=None, best_epoch=None):
    """Stand in for a History: plot may use only these public attributes and len()."""

    class History(SimpleNamespace):
        def __len__(self):
            return len(self.loss)

    val_loss = None if val_loss is None else np.array(val_loss)
    return History(loss=np.array(loss, dtype=float), val_loss=val_loss, best_epoch=best_epoch)


# ---- Losses


def test_losses_of_a_training():
    ax = plot.losses(history_of([3.0, 2.0, 1.0], [4.0, 2.0, 2.5], best_epoch=2))
    training, validation, best = ax.lines
    assert [line.get_label() for line in (training, validation)] == ["training", "validation"]
    np.testing.assert_array_equal(training.get_xydata(), [[1, 3], [2, 2], [3, 1]])
    np.testing.assert_array_equal(validation.get_xydata(), [[1, 4], [2, 2], [3, 2.5]])
    assert set(best.get_xdata()) == {2}
    assert best.get_linestyle() == ":"
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_yscale()) == ("epoch", "loss", "log")


def test_losses_of_fit():
    net = nnpy.NeuralNetwork([4, 5, 3], ["relu", "softmax"], seed=0)
    history = net.fit(X, LABELS, epochs=6, validation_split=0.2, seed=0)
    training, validation = plot.losses(history).lines
    np.testing.assert_array_equal(training.get_ydata(), history.loss)
    np.testing.assert_array_equal(validation.get_ydata(), history.val_loss)


def test_losses_of_several_trainings():
    given = pyplot.subplots()[1]
    histories = {"one": history_of([3.0, 2.0], [4.0, 5.0]), "other": history_of([1.0, 0.5, 0.25])}
    ax = plot.losses(histories, given)
    assert ax is given
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["one", "one, validation", "other"]
    np.testing.assert_array_equal(ax.lines[2].get_xydata(), [[1, 1], [2, 0.5], [3, 0.25]])
    assert [line.get_linestyle() for line in ax.lines] == ["-", "--", "-"]
    assert ax.lines[0].get_color() == ax.lines[1].get_color() != ax.lines[2].get_color()


@pytest.mark.parametrize("loss", [[1.0, 0.0], [1.0, -2.0], []])
def test_scale_is_linear_without_positive_losses(loss):
    assert plot.losses(history_of(loss)).get_yscale() == "linear"


def test_no_trainings():
    assert len(plot.losses({}).lines) == 0


# ---- Confusion matrix


def counts_in(ax):
    """The numbers in the plot by (row, column)."""
    return {(text.get_position()[1], text.get_position()[0]): text.get_text() for text in ax.texts}


def test_confusion_matrix():
    y_true, y_pred = [0, 0, 0, 1, 2, 2], [0, 0, 1, 1, 2, 0]
    ax = plot.confusion_matrix(y_true, y_pred, class_names=["a", "b", "c"])
    assert counts_in(ax) == {(0, 0): "2", (0, 1): "1", (1, 1): "1", (2, 2): "1", (2, 0): "1"}
    np.testing.assert_allclose(ax.images[0].get_array(), [[2 / 3, 1 / 3, 0], [0, 1, 0], [0.5, 0, 0.5]])
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("predicted", "true")
    for labels in (ax.get_xticklabels(), ax.get_yticklabels()):
        assert [label.get_text() for label in labels] == ["a", "b", "c"]


def test_confusion_matrix_is_that_of_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    y_pred = RNG.integers(0, 3, len(LABELS))
    ax = plot.confusion_matrix(LABELS, y_pred)
    expected = metrics.confusion_matrix(LABELS, y_pred)
    assert counts_in(ax) == {index: str(count) for index, count in np.ndenumerate(expected) if count}


def test_confusion_matrix_of_outputs():
    y_true, y_pred = [0, 1, 2, 2], [0, 1, 2, 0]
    assert counts_in(plot.confusion_matrix(y_true, 0.9 * np.eye(3)[y_pred])) == {
        (0, 0): "1",
        (1, 1): "1",
        (2, 2): "1",
        (2, 0): "1",
    }
    binary = plot.confusion_matrix([0, 1, 1], [[0.1], [0.9], [0.2]])
    assert counts_in(binary) == {(0, 0): "1", (1, 1): "1", (1, 0): "1"}


@pytest.mark.parametrize(
    ("y_true", "y_pred", "class_names", "error", "message"),
    [
        ([0, 1], [0], None, ValueError, "y_true and y_pred must have the same length, got 2 and 1"),
        ([0.5], [0], None, TypeError, "y_true must be integers of shape (n,), got float64 of shape (1,)"),
        ([0], [-1], None, ValueError, "y_pred must be classes from 0, got -1"),
        ([0, 2], [0, 2], ["a"], ValueError, "class_names must have a name for each of 3 classes, got 1"),
    ],
)
def test_errors_of_confusion_matrix(y_true, y_pred, class_names, error, message):
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        plot.confusion_matrix(y_true, y_pred, class_names=class_names)


# ---- Weights of the first layer


def test_first_layer():
    net = nnpy.NeuralNetwork([6, 5, 1], seed=0)
    canvas = np.asarray(plot.first_layer(net, (2, 3)).images[0].get_array().filled(np.nan))
    assert canvas.shape == (2 * 3 - 1, 3 * 4 - 1)  # 2 x 3 images with gaps
    image = net.weights[0][:, 4].reshape(2, 3)
    np.testing.assert_allclose(canvas[3:5, 4:7], image / np.abs(image).max(), rtol=1e-6)
    assert np.isnan(canvas[2]).all()
    assert plot.first_layer(net, (2, 3), max_neurons=1).images[0].get_array().shape == (2, 3)


@pytest.mark.parametrize(
    ("shape", "max_neurons", "error", "message"),
    [
        ((2, 2), 64, ValueError, "shape must have 6 pixels, one per input of the network, got (2, 2)"),
        ((-2, -3), 64, ValueError, "shape must have 6 pixels, one per input of the network, got (-2, -3)"),
        ((2, 3), 0, ValueError, "max_neurons must be at least 1, got 0"),
        ((2.0, 3), 64, TypeError, "shape must be two integers and max_neurons an integer, got (2.0, 3) and 64"),
        ((6,), 64, TypeError, "shape must be two integers and max_neurons an integer, got (6,) and 64"),
        ((2, 3), "all", TypeError, "shape must be two integers and max_neurons an integer, got (2, 3) and 'all'"),
    ],
)
def test_errors_of_first_layer(shape, max_neurons, error, message):
    net = nnpy.NeuralNetwork([6, 5, 1], seed=0)
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        plot.first_layer(net, shape, max_neurons=max_neurons)


# ---- matplotlib is an extra


def test_error_without_matplotlib(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"^nnpy\.plot needs matplotlib: pip install 'nnpy\[plot\]'$"):
        plot.losses(history_of([1.0]))


def test_extras_are_not_imported_with_nnpy(tmp_path):
    code = (
        "import sys, nnpy, nnpy.plot, nnpy.datasets, nnpy.reference\n"
        "print(sorted({'matplotlib', 'sklearn', 'tqdm', 'torch'} & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path, timeout=60
    )
    assert result.stdout == "[]\n"


# ---- Notebooks


def parse(html):
    return ElementTree.fromstring(f"<div>{html}</div>")


def points_of(polyline):
    return np.array([tuple(map(float, point.split(","))) for point in polyline.get("points").split()])


def test_html_of_a_history():
    columns = {"loss": [8.0, 2.0, 1.0], "val_loss": [4.0, 3.0, 5.0], "learning_rate": [0.1, 0.1, 0.05]}
    page = parse(_html.history("3 epochs <best 2>", "30 epochs, l2<1", columns, 2))
    assert [line.text for line in page.findall("p")] == ["3 epochs <best 2>", "30 epochs, l2<1"]
    training, validation = map(points_of, page.findall(".//polyline"))
    np.testing.assert_allclose(np.diff(training[:, 0]), np.ptp(training[:, 0]) / 2, atol=0.1)
    # On a logarithmic scale, with the axis y pointing down: 8, 2 and 1 are log2 = 3, 1 and 0.
    np.testing.assert_allclose((training[:, 1] - training[0, 1]) / np.ptp(training[:, 1]), [0, 2 / 3, 1], atol=0.01)
    np.testing.assert_array_equal(np.argsort(validation[:, 1]), [2, 0, 1])
    assert [cell.text for cell in page.findall(".//thead/tr/th")] == ["epoch", "loss", "val_loss", "learning_rate"]
    assert [[cell.text for cell in row] for row in page.findall(".//tbody/tr")] == [
        ["first (1)", "8", "4", "0.1"],
        ["last (3)", "1", "5", "0.05"],
        ["best (2)", "2", "3", "0.1"],
    ]
    assert "3 epochs" in [text.text for text in page.findall(".//text")]


def test_html_of_losses_that_are_not_finite():
    page = parse(_html.history("", "", {"loss": [np.nan, 3.0, np.inf, 1.0]}, None))
    assert len(points_of(page.find(".//polyline"))) == 2
    assert parse(_html.history("", "", {"loss": [np.nan]}, None)).find(".//svg") is None


def test_html_of_constant_and_of_zero_losses():
    for loss in ([0.0], [2.0, 2.0], [-1.0, 0.0, 1.0]):
        points = points_of(parse(_html.history("", "", {"loss": loss}, None)).find(".//polyline"))
        assert len(points) == len(loss)
        assert np.isfinite(points).all()


def test_html_of_a_long_history_has_few_points():
    page = parse(_html.history("", "", {"loss": np.linspace(5, 1, 100_000)}, None))
    points = points_of(page.find(".//polyline"))
    assert len(points) == 300
    assert points[0, 1] < points[-1, 1]


def test_html_without_epochs():
    assert _html.history("no epochs", "", {"loss": []}, None) == "<p>no epochs</p>"


def test_html_of_a_network():
    rows = [
        ("layer", "shape", "parameters"),
        ("1", "4 x 5", "25"),
        ("2", "5 x 3", "18"),
        ("total", "", "43"),
    ]
    page = parse(_html.network("<4-5-3>", rows, ["172 bytes", "inputs & outputs are scaled"]))
    assert [p.text for p in page.findall("p")] == ["<4-5-3>", "172 bytes; inputs & outputs are scaled"]
    assert [cell.text for cell in page.findall(".//thead/tr/th")] == list(rows[0])
    table = [[cell.text or "" for cell in row] for row in page.findall(".//tbody/tr")]
    assert table == [list(row) for row in rows[1:]]


def test_notebooks_show_a_history_and_a_network():
    net = nnpy.NeuralNetwork([4, 5, 3], ["relu", "softmax"], seed=0)
    history = net.fit(X, LABELS, epochs=6, validation_split=0.2, early_stopping=9, seed=0)
    page = parse(history._repr_html_())
    assert len(page.findall(".//polyline")) == 2
    first, last, best = (row[0].text for row in page.findall(".//tbody/tr"))
    assert (first, last, best) == ("first (1)", "last (6)", f"best ({history.best_epoch})")
    rows = [[cell.text for cell in row] for row in parse(net._repr_html_()).findall(".//tbody/tr")]
    assert rows[0] == ["1", "4 x 5", "relu", "25"]
    assert rows[-1][-1] == "43"
