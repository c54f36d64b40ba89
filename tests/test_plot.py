"""Pictures, and what a notebook shows."""

import re
from xml.etree import ElementTree

import numpy as np
import pytest

import nnpy

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


@pytest.fixture(scope="module")
def history():
    net = nnpy.NeuralNetwork([4, 5, 3], ["relu", "softmax"], seed=0)
    return net.fit(X, LABELS, epochs=6, validation_split=0.2, early_stopping=9, seed=0)


def test_losses_of_one_and_of_several(history):
    ax = plot.losses(history)
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), history.loss)
    np.testing.assert_array_equal(ax.lines[1].get_ydata(), history.val_loss)
    assert ax.get_yscale() == "log"
    given = pyplot.subplots()[1]
    ax = plot.losses({"one": history, "other": nnpy.History()}, given)
    assert ax is given
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["one", "one, validation", "other"]
    np.testing.assert_array_equal(ax.lines[0].get_xdata(), np.arange(1, 7))


def test_confusion_matrix_counts():
    y, given = [0, 0, 0, 1, 2, 2], [0, 0, 1, 1, 2, 0]
    ax = plot.confusion_matrix(y, given, names=["a", "b", "c"])
    counts = {(t.get_position()[1], t.get_position()[0]): t.get_text() for t in ax.texts}
    assert counts == {(0, 0): "2", (0, 1): "1", (1, 1): "1", (2, 2): "1", (2, 0): "1"}
    np.testing.assert_allclose(ax.images[0].get_array(), [[2 / 3, 1 / 3, 0], [0, 1, 0], [0.5, 0, 0.5]])
    assert [t.get_text() for t in ax.get_xticklabels()] == ["a", "b", "c"]
    other = plot.confusion_matrix(y, np.eye(3)[given])
    np.testing.assert_array_equal(other.images[0].get_array(), ax.images[0].get_array())


@pytest.mark.parametrize(
    ("y", "given", "names", "error", "message"),
    [
        ([0, 1], [0], None, ValueError, "y and predicted must have the same number of rows, got 2 and 1"),
        ([0.5], [0], None, TypeError, "y must be integer labels of shape (n,), got float64 of shape (1,)"),
        ([0], [-1], None, ValueError, "predicted must be labels from 0, got -1"),
        ([0, 2], [0, 2], ["a"], ValueError, "names must be 3, one for each class, got 1"),
    ],
)
def test_refused_labels(y, given, names, error, message):
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        plot.confusion_matrix(y, given, names=names)


def test_first_layer_shows_the_weights_of_each_neuron():
    net = nnpy.NeuralNetwork([6, 5, 1], seed=0)
    canvas = np.asarray(plot.first_layer(net, (2, 3)).images[0].get_array().filled(np.nan))
    assert canvas.shape == (2 * 3 - 1, 3 * 4 - 1)
    image = net.weights[0][:, 4].reshape(2, 3)
    np.testing.assert_allclose(canvas[3:5, 4:7], image / np.abs(image).max(), rtol=1e-6)
    assert np.isnan(canvas[2]).all()
    assert plot.first_layer(net, (2, 3), max_neurons=1).images[0].get_array().shape == (2, 3)
    with pytest.raises(ValueError, match=r"^shape must have 6 pixels, one per input of the network, got \(2, 2\)$"):
        plot.first_layer(net, (2, 2))


def test_a_notebook_shows_curves_and_tables(history):
    page = ElementTree.fromstring(f"<div>{history._repr_html_()}</div>")
    lines = page.findall(".//polyline")
    assert len(lines) == 2
    points = [tuple(map(float, p.split(","))) for p in lines[0].get("points").split()]
    assert len(points) == 6
    assert [x for x, _ in points] == sorted({x for x, _ in points})
    heights = np.array([y for _, y in points])
    np.testing.assert_allclose(np.corrcoef(heights, np.log(history.loss))[0, 1], -1, atol=1e-3)
    assert [row[0].text for row in page.findall(".//tbody/tr")] == [
        "first (0)",
        "last (5)",
        f"best ({history.best_epoch})",
    ]
    assert len(nnpy.History()._repr_html_()) < 100
    flat = nnpy.History()
    flat._append({"loss": 0.0, "learning_rate": 1, "seconds": 1})
    assert "nan" not in flat._repr_html_()
    net = nnpy.NeuralNetwork([4, 5, 3], ["relu", "softmax"])
    net.fit_scaler(X)
    page = ElementTree.fromstring(f"<div>{net._repr_html_()}</div>")
    rows = [[cell.text for cell in row] for row in page.findall(".//tbody/tr")]
    assert rows[:2] == [["1", "4 x 5", "relu", "25"], ["2", "5 x 3", "softmax", "18"]]
    assert rows[2][-1] == "43"
    assert "inputs are scaled" in "".join(page.itertext())


def test_one_output_says_how_sure_it_is_of_class_1():
    ax = plot.confusion_matrix([0, 1, 1], [[0.1], [0.9], [0.2]])
    counts = {(t.get_position()[1], t.get_position()[0]): t.get_text() for t in ax.texts}
    assert counts == {(0, 0): "1", (1, 1): "1", (1, 0): "1"}


def test_a_notebook_leaves_out_what_is_not_finite():
    history = nnpy.History()
    for loss in (np.nan, 3.0, np.inf, 1.0):
        history._append({"loss": loss, "learning_rate": 1, "seconds": 1})
    assert (
        len(ElementTree.fromstring(f"<div>{history._repr_html_()}</div>").find(".//polyline").get("points").split())
        == 2
    )
