"""`predict_classes`, `score`, `evaluate` and the metrics of `fit`, against scikit-learn and numpy."""

import re

import numpy as np
import pytest

import nnpy

RNG = np.random.default_rng(3)
X = RNG.random((60, 6), dtype=np.float32)
LABELS = RNG.integers(0, 3, 60)
Y = RNG.random((60, 3), dtype=np.float32)


def make(last="linear", seed=3, sizes=(6, 9, 3)):
    return nnpy.NeuralNetwork(sizes, ["tanh", last], seed=seed)


def train(net, x=X, y=Y, **options):
    return net.fit(x, y, **{"epochs": 4, "batch_size": 16, "seed": 1, **options})


# ---- Classes ----


def test_predict_classes():
    net = make("softmax")
    out, classes = net.predict(X), net.predict_classes(X)
    assert classes.dtype == np.int64
    np.testing.assert_array_equal(classes, out.argmax(axis=1))
    np.testing.assert_array_equal(net.predict_classes(X[:1]), classes[:1])
    assert len(set(make("linear").predict_classes(X).tolist())) > 1
    for last, threshold in (("sigmoid", 0.5), ("tanh", 0.0)):
        net = make(last, sizes=(6, 9, 1))
        net.biases[-1] -= np.median(net.layer_outputs(X)[0] @ net.weights[-1])
        classes = net.predict_classes(X)
        np.testing.assert_array_equal(classes, net.predict(X)[:, 0] > threshold)
        assert 20 < classes.sum() < 40
    assert make().predict_classes(np.empty((0, 6))).shape == (0,)


@pytest.mark.parametrize("last", ["linear", "relu", "softplus", "softmax"])
def test_a_single_output_that_is_no_class(last):
    net = nnpy.NeuralNetwork([6, 1], last)
    message = f'classes need several outputs, or one of "sigmoid" or "tanh"; the network has one of "{last}"'
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        net.predict_classes(X)


# ---- Scores ----

WEIGHTS = [None, np.random.default_rng(0).random(60), np.random.default_rng(1).integers(0, 3, 60)]


@pytest.mark.parametrize("weights", WEIGHTS, ids=["equal", "real", "whole"])
def test_score_is_the_accuracy_of_scikit_learn(weights):
    sklearn = pytest.importorskip("sklearn.metrics")
    net = make("softmax")
    train(net, y=LABELS, epochs=30)
    expected = sklearn.accuracy_score(LABELS, net.predict_classes(X), sample_weight=weights)
    assert 0.3 < expected < 1
    rows = np.eye(3)[LABELS]
    for y in (LABELS, LABELS[:, None], LABELS.astype(float), rows):
        assert net.score(X, y, weights) == pytest.approx(expected, rel=1e-12)
    several = make("sigmoid")
    several.parameters = net.parameters
    assert several.score(X, rows, sample_weight=weights) == pytest.approx(expected, rel=1e-12)
    one = make("sigmoid", sizes=(6, 9, 1))
    one.biases[-1] -= np.median(one.layer_outputs(X)[0] @ one.weights[-1])
    y = LABELS > 0
    expected = sklearn.accuracy_score(y, one.predict_classes(X), sample_weight=weights)
    assert 0 < expected < 1
    for given in (y, y.astype(int), y.astype(float)[:, None]):
        assert one.score(X, given, weights) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("weights", WEIGHTS, ids=["equal", "real", "whole"])
@pytest.mark.parametrize("is_scaled", [False, True])
@pytest.mark.parametrize("last", ["linear", "tanh"])
def test_score_is_the_r2_of_scikit_learn(weights, is_scaled, last):
    sklearn = pytest.importorskip("sklearn.metrics")
    y = np.clip(np.tanh(X[:, :3] - 0.5 * X[:, 3:]) + 0.1 * (Y - 0.5), -1, 1)
    net = make(last)
    if is_scaled:
        net.fit_scaler(X, y if last == "linear" else None)
    train(net, y=y, epochs=60)
    expected = sklearn.r2_score(y, net.predict(X), sample_weight=weights)
    assert 0.1 < expected < 1
    assert net.score(X, y, weights) == pytest.approx(expected, rel=1e-6)
    one = make(last, sizes=(6, 9, 1))
    assert one.score(X, y[:, 0], weights) == pytest.approx(
        sklearn.r2_score(y[:, 0], one.predict(X)[:, 0], sample_weight=weights), rel=1e-6
    )


def test_r2_of_targets_that_do_not_vary():
    sklearn = pytest.importorskip("sklearn.metrics")
    net = nnpy.NeuralNetwork([6, 1], "linear")
    net.parameters = 0
    for y in (np.zeros(60), np.ones(60)):
        assert net.score(X, y) == sklearn.r2_score(y, net.predict(X)[:, 0])


def test_a_softmax_of_one_class_is_always_right():
    net = nnpy.NeuralNetwork([6, 1], "softmax", seed=0)
    assert net.score(X, np.zeros(60, int)) == net.evaluate(X, np.zeros(60, int))["accuracy"] == 1


def test_refused_scores():
    with pytest.raises(ValueError, match="^all samples have a weight of 0$"):
        make().score(X, Y, np.zeros(60))
    with pytest.raises(ValueError, match=r"^sample_weight must have shape \(60,\), one number per sample, got \(3,\)$"):
        make().score(X, Y, np.ones(3))
    with pytest.raises(ValueError, match=r"^y must be labels from 0 to 2, got 0 to 3$"):
        make("softmax").score(X, np.arange(60) % 4)


# ---- evaluate ----


def test_evaluate_names_the_loss_and_the_metrics():
    sklearn = pytest.importorskip("sklearn.metrics")
    net = make("softmax")
    values = net.evaluate(X, LABELS)
    assert values == {"loss": net.loss(X, LABELS), "accuracy": net.score(X, LABELS)}
    assert all(type(value) is float for value in values.values())
    net = make()
    out = net.predict(X)
    assert net.evaluate(X, Y) == {"loss": net.loss(X, Y), "r2": pytest.approx(sklearn.r2_score(Y, out), rel=1e-6)}
    values = net.evaluate(X, Y, loss="mae", metrics=["r2", sklearn.mean_squared_error])
    assert list(values) == ["loss", "r2", "mean_squared_error"]
    assert values["mean_squared_error"] == pytest.approx(((out.astype(float) - Y) ** 2).mean(), rel=1e-5)
    assert values["loss"] == net.loss(X, Y, loss="mae")
    mapping = {"error": sklearn.mean_absolute_error, "fit": "r2"}
    values = net.evaluate(X, Y, metrics=mapping)
    assert list(values) == ["loss", "error", "fit"]
    assert values["error"] == pytest.approx(np.abs(out.astype(float) - Y).mean(), rel=1e-5)
    assert net.evaluate(X, Y, metrics=[]) == {"loss": net.loss(X, Y)}
    w = RNG.random(60)
    assert net.evaluate(X, Y, metrics=[], sample_weight=w) == {"loss": net.loss(X, Y, sample_weight=w)}
    assert net.evaluate(X, Y, metrics=lambda y, out: 7)["<lambda>"] == 7
    binary = make("sigmoid", sizes=(6, 9, 1))
    values = binary.evaluate(X, LABELS > 0, loss="bce")
    assert values["accuracy"] == binary.score(X, LABELS > 0)


def test_evaluate_leaves_out_missing_targets():
    y, net = Y.copy(), make()
    y[::3, 1] = np.nan
    y[7] = np.nan
    values = net.evaluate(X, y, missing="ignore")
    assert values["loss"] == net.loss(X, y, missing="ignore")
    there, scores = ~np.isnan(y), []
    for j in range(3):
        t, o = y[there[:, j], j].astype(float), net.predict(X)[there[:, j], j]
        scores.append(1 - ((t - o) ** 2).sum() / ((t - t.mean()) ** 2).sum())
    assert values["r2"] == pytest.approx(np.mean(scores), rel=1e-5)


@pytest.mark.parametrize("call", ["fit", "evaluate"])
def test_refused_metrics(call):
    for metrics, error, message in (
        (
            ["f1"],
            TypeError,
            "a metric must be 'accuracy', 'r2' or a function of y and the outputs that returns a number, got 'f1'",
        ),
        (
            [3],
            TypeError,
            "a metric must be 'accuracy', 'r2' or a function of y and the outputs that returns a number, got 3",
        ),
        (
            3,
            TypeError,
            "a metric must be 'accuracy', 'r2' or a function of y and the outputs that returns a number, got 3",
        ),
        (
            [len, len],
            ValueError,
            "each metric needs a name of its own, got 'len' twice: pass a mapping of names to metrics",
        ),
    ):
        with pytest.raises(error, match=f"^{re.escape(message)}$"):
            getattr(make(), call)(X, Y, metrics=metrics)


@pytest.mark.parametrize("call", ["fit", "evaluate"])
def test_r2_is_refused_for_classes(call):
    net = make("softmax")
    message = '^the metric "r2" is for a regression, and the cross-entropy is for classes: use "accuracy"$'
    with pytest.raises(ValueError, match=message):
        getattr(net, call)(X, LABELS, metrics="r2")
    np.testing.assert_array_equal(net.parameters, make("softmax").parameters)


@pytest.mark.parametrize("call", ["fit", "evaluate"])
@pytest.mark.parametrize("value", [None, "high", np.ones(3)])
def test_a_metric_that_returns_no_number(call, value):
    message = f"a metric must return a number, 'm' returned {value!r}"
    with pytest.raises(TypeError, match=f"^{re.escape(message)}$"):
        getattr(make(), call)(X, Y, metrics={"m": lambda y, out: value})


def test_accuracy_of_a_tanh_is_on_its_own_side_of_zero():
    net = make("tanh", sizes=(6, 9, 1))
    net.biases[-1] -= np.median(net.layer_outputs(X)[0] @ net.weights[-1])
    y = np.where(LABELS > 0, 1, -1)
    expected = np.mean(np.sign(net.predict(X)[:, 0]) == y)
    assert 0.2 < expected < 0.8
    assert net.evaluate(X, y, metrics="accuracy")["accuracy"] == expected
    assert np.mean(net.predict_classes(X) == (y > 0)) == expected


# ---- In training ----


def test_validation_data_is_converted_once_and_passed_through_the_network_once_per_epoch(monkeypatch):
    class Counting:
        """An array that is not numpy's, and that counts how often it is read."""

        def __init__(self, array):
            self.array, self.reads = array, 0

        def __array__(self, dtype=None, copy=None):
            self.reads += 1
            return np.array(self.array, dtype=dtype)

    passes = []
    evaluate = nnpy.NeuralNetwork._evaluate
    monkeypatch.setattr(nnpy.NeuralNetwork, "_evaluate", lambda *a, **k: (passes.append(1), evaluate(*a, **k))[1])
    data = [Counting(a.astype(np.float64)) for a in (X, Y, X[:20], Y[:20], np.ones(20))]
    net = make()
    history = train(net, data[0], data[1], validation_data=data[2:], metrics=["r2", "accuracy"], epochs=7)
    assert [d.reads for d in data] == [1] * 5
    assert len(passes) == 7
    assert history.val_loss[-1] == net.loss(X[:20], Y[:20])
    passes.clear()
    train(net, metrics="r2", epochs=5)  # of the training data
    assert len(passes) == 5
    passes.clear()
    train(net, epochs=5)
    assert not passes
    # Other methods read what they are given once as well.
    for call in (
        lambda net: net.predict(data[0]),
        lambda net: net.predict_classes(data[0]),
        lambda net: net.layer_outputs(data[0]),
        lambda net: net.loss(*data[:2]),
        lambda net: net.score(*data[:2]),
        lambda net: net.evaluate(*data[:2]),
        lambda net: net.backpropagation(*data[:2]),
        lambda net: net.input_gradient(*data[:2]),
        lambda net: net.finite_diff(*data[:2]),
        lambda net: net.check_gradients(*data[:2]),
        lambda net: net.fit_scaler(*data[:2]),
        lambda net: net.partial_fit(*data[:2]),
        lambda net: net.gradient_descent(*data[:2], rate=0.1),
        lambda net: net.fit(*data[:2], validation_split=0.5, epochs=3),
    ):
        for one in data:
            one.reads = 0
        call(net)
        assert data[0].reads == 1
        assert data[1].reads <= 1


def test_metrics_get_the_outputs_in_the_units_of_y():
    """Of validation data and of training data, flat and in columns."""
    y = 1e6 + Y.astype(np.float64)
    for targets, sizes in ((y, (6, 9, 3)), (y[:, 0], (6, 9, 1))):
        for validated in (False, True):
            seen, net = [], make(sizes=sizes)
            net.fit_scaler(X, targets)
            train(
                net,
                y=targets,
                metrics=lambda y, out, seen=seen: seen.append((y, out)) or 0.0,
                validation_data=(X, targets) if validated else None,
                callbacks=lambda net, _, seen=seen: seen.append(net.predict(X)),
            )
            assert len(seen) == 8
            for (given, out), predicted in zip(seen[::2], seen[1::2], strict=True):
                np.testing.assert_array_equal(given, targets)
                np.testing.assert_array_equal(out.reshape(predicted.shape), predicted)
                assert out.shape == targets.shape
                assert out.dtype == np.float64


def test_metrics_by_name_and_by_function():
    def worst(y, out):
        assert y.shape == out.shape  # or a difference would be a table
        return np.abs(y - out).max()

    net = make(sizes=(6, 9, 1))
    history = train(net, y=Y[:, 0], metrics=[worst], validation_split=0.2)
    assert set(history.metrics) == {"val_worst"}
    history = train(net, y=Y[:, 0], metrics={"furthest": worst})
    assert history.metrics["furthest"][-1] == np.abs(Y[:, 0] - net.predict(X)[:, 0]).max()
    history = train(make("softmax"), y=LABELS, metrics="accuracy")
    assert 0 < history.metrics["accuracy"][-1] <= 1
    one = nnpy.NeuralNetwork([6, 1], seed=0)
    history = train(one, y=(X[:, 0] > 0.5), loss="binary_cross_entropy", validation_data=(X, X[:, 0] > 0.5))
    assert history.metrics["val_accuracy"][-1] == np.mean((one.predict(X)[:, 0] > 0.5) == (X[:, 0] > 0.5))


@pytest.mark.parametrize("last", ["linear", "sigmoid"])
def test_accuracy_of_outputs_that_are_each_a_yes_or_no(last):
    """Of each of them, at 1/2 or, for a logit, 0; without those that are missing."""
    net = nnpy.NeuralNetwork([6, 3], last, seed=0)
    y = (X[:, :3] > 0.5).astype(float)
    y[::3, 1] = np.nan
    history = train(net, y=y, loss="binary_cross_entropy", missing="ignore", metrics="accuracy")
    there = ~np.isnan(y)
    right = (net.predict(X) > (0 if last == "linear" else 0.5)) == (y > 0.5)
    assert history.metrics["accuracy"][-1] == right[there].mean()


def test_accuracy_leaves_out_rows_with_a_missing_probability():
    net = make("softmax")
    y = np.eye(3)[LABELS]
    y[:20, 0] = np.nan
    history = train(net, y=y, missing="ignore", metrics="accuracy")
    assert history.metrics["accuracy"][-1] == np.mean(net.predict(X[20:]).argmax(axis=1) == LABELS[20:])


def test_metrics_need_names_of_their_own_and_data():
    for name in ("loss", "learning_rate", "seconds"):
        with pytest.raises(
            ValueError,
            match=f"^a metric must not be named '{name}', which is a column of the history: pass another name in a ",
        ):
            train(make(), metrics={name: lambda y, out: 0})
    with pytest.raises(ValueError, match="^with batches metrics need validation_data$"):
        make().fit([(X, Y)], metrics={"m": lambda y, out: 0})
