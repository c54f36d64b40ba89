"""Targets: labels, ranges, weights, missing ones; what is refused, and that a refusal changes nothing."""

import copy
import re

import numpy as np
import pytest

import nnpy
from nnpy._activations import ACTIVATIONS

RNG = np.random.default_rng(3)
X = RNG.random((60, 6), dtype=np.float32)
LABELS = RNG.integers(0, 3, 60)
Y = RNG.random((60, 3), dtype=np.float32)


def make(last="linear", seed=3, sizes=(6, 9, 3)):
    return nnpy.NeuralNetwork(sizes, ["tanh", last], seed=seed)


def train(net, x=X, y=Y, **options):
    return net.fit(x, y, **{"epochs": 4, "batch_size": 16, "seed": 1, **options})


def same(one, other):
    np.testing.assert_array_equal(one.parameters, other.parameters)


# ---- Targets that the last layer cannot give ----

LIMITS = {
    "sigmoid": (0, 1, "from 0 to 1"),
    "tanh": (-1, 1, "from -1 to 1"),
    "softmax": (0, 1, "from 0 to 1"),
    "relu": (0, np.inf, "at least 0"),
    "elu": (-1, np.inf, "at least -1"),
    "softplus": (0, np.inf, "at least 0"),
    "silu": (-0.2785, np.inf, "at least -0.2785"),
    "gelu": (-0.17, np.inf, "at least -0.17"),
    "linear": (-np.inf, np.inf, ""),
    "leaky_relu": (-np.inf, np.inf, ""),
}
TRAINING = {
    "fit": lambda net, x, y: net.fit(x, y, loss="mse", epochs=1),
    "batches": lambda net, x, y: net.fit([(x, y)], loss="mse", epochs=1),
    "partial_fit": lambda net, x, y: net.partial_fit(x, y, loss="mse"),
    "gradient_descent": lambda net, x, y: net.gradient_descent(x, y, rate=0.1, loss="mse"),
    "by differences": lambda net, x, y: net.gradient_descent(x, y, rate=0.1, eps=0.1, loss="mse"),
}


def test_limits_are_those_of_the_functions():
    """Against the outputs for a grid of inputs."""
    assert LIMITS.keys() == ACTIVATIONS.keys()
    z = np.linspace(-30, 30, 600_001).reshape(-1, 1)
    for name, (low, high, _) in LIMITS.items():
        net = nnpy.NeuralNetwork([1, 2], name)
        net.parameters = [1, 0, 0, 0]
        a = net.predict(z)[:, 0]
        assert a.min() >= low
        assert a.max() <= high
        assert (np.isinf(low) and a.min() < -0.29) or a.min() == pytest.approx(low, abs=1e-4)
        assert (np.isinf(high) and a.max() == 30) or a.max() == pytest.approx(high, abs=1e-4)


@pytest.mark.parametrize("call", TRAINING.values(), ids=TRAINING)
@pytest.mark.parametrize("last", LIMITS)
def test_targets_that_the_last_layer_cannot_give(last, call):
    low, high, limits = LIMITS[last]
    values = [v for v in (low - 1e-3, high + 1e-3) if np.isfinite(v)]
    for value in values:
        y = np.full((60, 3), 0.5)
        y[33, 1] = value
        net = make(last)
        net.partial_fit(X, Y, loss="mse", optimizer=nnpy.Adam(1e-30))
        before, state = net.parameters.copy(), net._state
        message = (
            f"y is from {min(0.5, np.float32(value)):g} to {max(0.5, np.float32(value)):g}, but the outputs of the last layer, "
            f'"{last}", are {limits}. Use "linear" as the last activation'
        )
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            call(net, X, y)
        np.testing.assert_array_equal(net.parameters, before)
        assert net._state is state
    assert len(values) == np.isfinite([low, high]).sum()
    # The limits themselves are allowed; without limits every target is.
    y = np.clip(np.array([[-20.0], [90.0]]) * np.ones(3), low, high)
    net = make(last)
    before = net.parameters.copy()
    call(net, X[:2], y)
    assert (net.parameters != before).any()


@pytest.mark.parametrize("last", ["sigmoid", "tanh", "relu"])
def test_targets_that_the_last_layer_cannot_give_have_a_loss(last):
    net, y = make(last), Y * 9 - 5
    out = net.predict(X).astype(float)
    assert net.mse(X, y) == net.loss(X, y) == pytest.approx(((out - y) ** 2).sum(axis=1).mean(), rel=1e-5)
    assert net.backpropagation(X, y).parameters.any()
    assert net.input_gradient(X, y).any()
    assert net.finite_diff(X, y).parameters.any()
    assert net.evaluate(X, y, metrics="r2")["r2"] < 0
    assert net.check_gradients(X, y).ok
    history = train(net, y=Y, validation_data=(X, y))
    assert history.val_loss[-1] == pytest.approx(net.loss(X, y), rel=1e-6)


def test_missing_targets_are_not_out_of_range():
    y = Y.copy()
    y[::2, 1] = np.nan
    train(make("sigmoid"), y=y, missing="ignore")
    y[5, 0] = -0.5
    message = (
        re.escape("y is from -0.5 to ")
        + r"0\.\d+"
        + re.escape(', but the outputs of the last layer, "sigmoid", are from')
    )
    with pytest.raises(ValueError, match=f"^{message}"):
        train(make("sigmoid"), y=y, missing="ignore")


@pytest.mark.parametrize("last", ["sigmoid", "softmax"])
def test_classes_of_minus_one_and_one_are_told_about_zero_and_one(last):
    y = np.where(Y > 0.5, 1.0, -1.0)
    with pytest.raises(ValueError, match=r"^y is from -1 to 1, .* are from 0 to 1\. Use 0 and 1 for the classes$"):
        train(make(last), y=y, loss="mse")
    y[::3] = np.nan
    with pytest.raises(ValueError, match=r"Use 0 and 1 for the classes$"):
        train(make(last), y=y, loss="mse", missing="ignore")
    train(make("tanh"), y=np.where(Y > 0.5, 1, -1))


def test_scaled_targets_have_no_limits():
    """Only "linear" and "leaky_relu" take scaled targets, and their outputs have no limits."""
    for last in ("linear", "leaky_relu"):
        net = make(last)
        net.fit_scaler(X, Y * 1e6 - 7e6)
        assert np.isfinite(train(net, y=Y * 1e6 - 7e6).loss).all()
    # A scaler of the inputs alone changes no limit.
    net = make("sigmoid")
    net.fit_scaler(X)
    with pytest.raises(ValueError, match=r"^y is from \S+ to \S+, but the outputs of the last layer"):
        train(net, y=Y + 1)


def test_probabilities_are_not_scaled():
    y = np.where(Y > 0.5, 1.0, 0.0)
    net = make()
    net.fit_scaler(X, y)
    before = net.parameters.copy()
    for call in (net.fit, net.partial_fit, net.loss, net.backpropagation, net.input_gradient):
        with pytest.raises(
            ValueError, match='^the loss "binary_cross_entropy" needs targets that are not scaled: call '
        ):
            call(X, y, loss="bce")
    np.testing.assert_array_equal(net.parameters, before)
    net.fit_scaler(X)
    train(net, y=y, loss="bce")


def test_a_refusal_drops_neither_the_state_of_partial_fit_nor_the_names_of_the_columns():
    """C finds NaN in x when the training has begun, but before the first step."""
    pandas = pytest.importorskip("pandas")
    names = [f"c{i}" for i in range(6)]
    good, bad = pandas.DataFrame(X, columns=names), pandas.DataFrame(X, columns=names)
    bad.loc[40, "c2"] = np.nan
    net, other = make(), make()
    for one in (net, other):
        one.partial_fit(X, Y, seed=0)
    state = net._state
    for call in (
        net.fit,
        net.partial_fit,
        lambda x, y: net.fit([(x, y)]),
        lambda x, y: net.fit(x, y, validation_split=0.2),
    ):
        with pytest.raises(ValueError, match=r"^x must be finite in float32, got x\[\d+, 2\] = nan"):
            call(bad, Y)
        assert net._state is state
        assert net.feature_names is None
    assert net.partial_fit(good, Y, seed=0) == other.partial_fit(X, Y, seed=0)
    same(net, other)
    assert net.feature_names == tuple(names)


# ---- Labels ----


def test_labels_of_any_kind_are_the_same():
    pandas, polars = pytest.importorskip("pandas"), pytest.importorskip("polars")
    expected = make("softmax")
    train(expected, y=LABELS)
    names = np.array(["ant", "bee", "cat"])[LABELS]
    kinds = {
        "list": LABELS.tolist(),
        "column": LABELS[:, None],
        "uint8": LABELS.astype(np.uint8),
        "whole floats": LABELS.astype(float),
        "column of floats": LABELS[:, None].astype(np.float32),
        "series": pandas.Series(LABELS, index=range(100, 160)),
        "nullable series": pandas.Series(LABELS, dtype="Int64"),
        "categorical series": pandas.Series(names, dtype="category"),
        "categorical": pandas.Categorical(names),
        "frame": pandas.DataFrame({"label": LABELS}),
        "polars": polars.Series(LABELS),
        "polars enum": polars.Series(names.tolist(), dtype=polars.Enum(["ant", "bee", "cat"])),
        "polars frame": polars.DataFrame({"label": LABELS}),
    }
    for name, y in kinds.items():
        for given in (copy.copy(y),):
            net = make("softmax")
            train(net, y=given)
            assert (net.parameters == expected.parameters).all(), name
            assert net.loss(X, given) == expected.loss(X, LABELS), name
            assert net.score(X, given) == expected.score(X, LABELS), name
    split = make("softmax")
    train(split, y=kinds["categorical series"], validation_split=0.2)
    other = make("softmax")
    train(other, y=LABELS, validation_split=0.2)
    same(split, other)


def test_labels_that_are_true_or_false():
    one, other = (make("softmax", sizes=(6, 9, 2)) for _ in range(2))
    train(one, y=LABELS > 0)
    train(other, y=(LABELS > 0).astype(int))
    same(one, other)
    one, other = (make("sigmoid", sizes=(6, 9, 1)) for _ in range(2))
    train(one, y=LABELS > 0, loss="bce")
    train(other, y=(LABELS > 0).astype(float)[:, None], loss="bce")
    same(one, other)


def test_missing_categories_are_refused():
    pandas, polars = pytest.importorskip("pandas"), pytest.importorskip("polars")
    names = ["ant", "bee", None] * 20
    for y in (pandas.Series(names, dtype="category"), polars.Series(names, dtype=polars.Enum(["ant", "bee"]))):
        net = make("softmax")
        with pytest.raises(ValueError, match="^y has missing categories$"):
            train(net, y=y)
        same(net, make("softmax"))


@pytest.mark.parametrize("shape", [(60,), (60, 1)])
def test_labels_where_the_loss_takes_none(shape):
    y = LABELS.reshape(shape)
    for last, loss, cure in (
        ("sigmoid", None, '"softmax" as the last activation'),
        ("sigmoid", "bce", '"softmax" as the last activation'),
        ("linear", "mse", '"softmax" as the last activation'),
        ("softmax", "mse", 'the loss "cross_entropy"'),
    ):
        net = make(last)
        message = (
            f'y has the shape {shape}, but the network has 3 outputs of "{last}". If y holds class labels, use {cure}, or '
            "one-hot targets: np.eye(3)[y]"
        )
        for call in (net.fit, net.partial_fit, net.loss, net.backpropagation):
            with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
                call(X, y, loss=loss)
        same(net, make(last))
    # The cures work.
    assert train(make("softmax"), y=y).loss[-1] > 0
    assert train(make("sigmoid"), y=np.eye(3)[LABELS]).loss[-1] > 0


def test_flat_targets_of_one_output_have_the_bits_of_a_column():
    one, other = (make(sizes=(6, 9, 1)) for _ in range(2))
    y = Y[:, 0]
    for call in (
        lambda net, y: train(net, y=y, validation_data=(X, y), metrics=["r2"]).to_dict() | {"seconds": 0},
        lambda net, y: net.partial_fit(X, y, seed=0),
        lambda net, y: net.gradient_descent(X, y, rate=0.1),
        lambda net, y: (net.loss(X, y), net.mse(X, y), net.score(X, y), net.evaluate(X, y)),
    ):
        assert call(one, y) == call(other, y[:, None])
    same(one, other)


def test_labels_are_rows_with_a_single_one():
    one, other = (nnpy.NeuralNetwork([6, 9, 3], ["tanh", "softmax"], seed=3) for _ in range(2))
    rows = np.eye(3, dtype=np.float32)[LABELS]
    assert one.loss(X, LABELS) == pytest.approx(one.loss(X, rows), rel=1e-6)
    one.fit(X, LABELS.astype(np.uint8), epochs=2, batch_size=8, seed=0)
    other.fit(X, rows, epochs=2, batch_size=8, seed=0)
    np.testing.assert_array_equal(one.parameters, other.parameters)
    np.testing.assert_array_equal(one.backpropagation(X, LABELS).parameters, one.backpropagation(X, rows).parameters)
    one.gradient_descent(X, LABELS.tolist(), rate=0.1)
    np.testing.assert_allclose(one.predict(X).sum(axis=1), 1, rtol=1e-6)


REFUSED_LABELS = [
    (np.full(60, 0.5), TypeError, "y must be integer labels, or rows of 3 probabilities, got float64 of shape (60,)"),
    (
        np.full(60, np.nan),
        TypeError,
        "y must be integer labels, or rows of 3 probabilities, got float64 of shape (60,)",
    ),
    (np.full(60, 3), ValueError, "y must be labels from 0 to 2, got 3 to 3"),
    (np.full(60, -1), ValueError, "y must be labels from 0 to 2, got -1 to -1"),
    (np.zeros(49, int), ValueError, "x and y must have the same number of rows, got 60 and 49"),
    (
        np.ma.masked_array(LABELS),
        TypeError,
        "y is a masked array, which nnpy does not read: ",
    ),
    ([[1, 2], [1]], ValueError, "y must be a rectangular array of numbers: "),
]


@pytest.mark.parametrize(("y", "error", "message"), REFUSED_LABELS)
def test_refused_labels_change_nothing(y, error, message):
    net = nnpy.NeuralNetwork([6, 3], "softmax", seed=0)
    before = net.parameters.copy()
    for call in (net.fit, net.loss, net.backpropagation, lambda x, y: net.gradient_descent(x, y, rate=1)):
        with pytest.raises(error, match=f"^{re.escape(message)}"):
            call(X, y)
    np.testing.assert_array_equal(net.parameters, before)


def test_labels_may_change_or_be_views_of_the_parameters():
    """C uses labels as indices into memory, so that it must read a copy, which nobody changes after the check."""
    net = nnpy.NeuralNetwork([2, 400], "softmax", seed=0)
    labels = net.biases[0].view(np.int32)
    net.fit(RNG.random((400, 2), dtype=np.float32), labels, epochs=3, shuffle=False)
    assert np.isfinite(net.parameters).all()


# ---- Probabilities ----


def test_probabilities_above_one_are_refused():
    net = make("sigmoid")
    with pytest.raises(ValueError, match=r"^y must be probabilities, got 2\.0$"):
        net.loss(X, Y * 0 + 2, loss="binary_cross_entropy")


def test_negative_probabilities_are_refused():
    net = nnpy.NeuralNetwork([6, 3], "softmax", seed=0)
    y = np.full((60, 3), 0.5)
    y[3, 1] = -0.5
    for call in (net.fit, net.loss, net.backpropagation):
        with pytest.raises(ValueError, match=r"^y must be probabilities, got -0\.5$"):
            call(X, y)


def test_probabilities_are_checked_beside_a_missing_one():
    y = np.full((60, 3), 5.0)
    y[0, 0] = np.nan
    with pytest.raises(ValueError, match=r"^y must be probabilities, got 5\.0$"):
        train(make("sigmoid"), y=y, loss="binary_cross_entropy", missing="ignore")


# ---- Weights ----


def test_whole_weights_are_repetitions():
    w = RNG.integers(0, 4, 60)
    net, other = make(), make()
    repeated = np.repeat(np.arange(60), w)
    assert net.loss(X, Y, sample_weight=w) == pytest.approx(net.loss(X[repeated], Y[repeated]), rel=1e-5)
    np.testing.assert_allclose(
        net.backpropagation(X, Y, sample_weight=w).parameters,
        net.backpropagation(X[repeated], Y[repeated]).parameters,
        rtol=0,
        atol=1e-6,
    )
    np.testing.assert_allclose(
        net.input_gradient(X, Y, sample_weight=w)[w == 0], np.zeros((np.count_nonzero(w == 0), 6))
    )
    train(net, batch_size=None, sample_weight=w)
    train(other, X[repeated], Y[repeated], batch_size=None)
    np.testing.assert_allclose(net.parameters, other.parameters, rtol=0, atol=1e-5)
    assert np.abs(net.parameters - make().parameters).max() > 1e-3


def test_weights_count_in_proportion():
    one, other = make(), make()
    w = RNG.random(60)
    h1 = train(one, sample_weight=w)
    h2 = train(other, sample_weight=8 * w)
    same(one, other)
    np.testing.assert_array_equal(h1.loss, h2.loss)


@pytest.mark.parametrize("of", ["labels", "zero or one"])
def test_class_weights_are_sample_weights(of):
    y = LABELS if of == "labels" else (LABELS > 0).astype(float)
    table = {0: 2.0, 1: 0.5, 2: 1.0}
    counts = np.bincount(y.astype(int))
    last, loss, size = ("softmax", None, 3) if of == "labels" else ("sigmoid", "binary_cross_entropy", 1)
    for class_weight, weights in (
        (table, np.array([table[int(k)] for k in y])),
        ("balanced", 60 / (len(counts) * counts[y.astype(int)])),
    ):
        one, other = (make(last, sizes=(6, 9, size)) for _ in range(2))
        train(one, y=y, loss=loss, class_weight=class_weight)
        train(other, y=y, loss=loss, sample_weight=weights)
        same(one, other)
    assert np.abs(one.parameters - make(last, sizes=(6, 9, size)).parameters).max() > 1e-3


def test_samples_of_no_weight_do_not_matter_whatever_they_cost():
    y, w = Y.copy(), np.ones(60)
    y[0], w[0] = 1e25, 0
    net, other = make(), make()
    assert net.loss(X, y, sample_weight=w) == pytest.approx(net.loss(X[1:], Y[1:]), rel=1e-5)
    history = train(net, y=y, sample_weight=w, batch_size=None)
    train(other, X[1:], Y[1:], batch_size=None)
    assert np.isfinite(history.loss).all()
    np.testing.assert_allclose(net.parameters, other.parameters, rtol=0, atol=1e-4)


def test_very_large_weights():
    assert make().loss(X, Y, sample_weight=np.full(60, 1e308)) == pytest.approx(make().loss(X, Y), rel=1e-6)


def test_weights_in_a_stream_are_taken_as_they_are():
    steps = []
    for w in (1.0, 1e-3):
        net = make()
        net.partial_fit(X[:1], Y[:1], sample_weight=[w], optimizer=nnpy.SGD(0.1))
        steps.append(np.abs(net.parameters - make().parameters).max())
    assert steps[1] == pytest.approx(1e-3 * steps[0], rel=1e-2)


REFUSED_FOR_LABELS = [
    ({"class_weight": {0: 1, 1: 1}}, ValueError, "class_weight has no weight for the label 2"),
    ({"class_weight": {0: 1, 1: -1, 2: 1}}, ValueError, "class_weight[1] must not be negative, got -1"),
    (
        {"class_weight": "even"},
        ValueError,
        "class_weight must be 'balanced' or a mapping of labels to numbers, got 'even'",
    ),
    (
        {"class_weight": [1, 2, 3]},
        TypeError,
        "class_weight must be 'balanced' or a mapping of labels to numbers, got [1",
    ),
]


@pytest.mark.parametrize(("options", "error", "message"), REFUSED_FOR_LABELS)
def test_refused_options_for_labels(options, error, message):
    net = make("softmax")
    with pytest.raises(error, match=f"^{re.escape(message)}"):
        train(net, y=LABELS, **options)


def test_a_mask_is_refused_in_weights_and_before_a_split():
    for options in ({"validation_split": 0.2}, {}):
        with pytest.raises(TypeError, match="^y is a masked array, which nnpy does not read: "):
            train(make(), y=np.ma.masked_array(Y), **options)
        with pytest.raises(TypeError, match="^sample_weight is a masked array, which nnpy does not read: "):
            train(make(), sample_weight=np.ma.masked_array(np.ones(60)), **options)


# ---- Missing targets ----


def test_missing_targets_against_numpy():
    y = Y.copy()
    y[RNG.random(y.shape) < 0.3] = np.nan
    y[7] = np.nan
    net = make()
    there = ~np.isnan(y)
    counted = there.any(axis=1)
    difference = np.where(there, net.predict(X).astype(float) - np.nan_to_num(y), 0)
    expected = (difference**2).sum() / counted.sum()
    assert net.loss(X, y, missing="ignore") == pytest.approx(expected, rel=1e-5)
    # For a linear last layer, the gradient of its biases is the mean of twice the differences.
    gradient = net.backpropagation(X, y, missing="ignore").biases[-1]
    np.testing.assert_allclose(gradient, 2 * difference.sum(axis=0) / counted.sum(), rtol=1e-4)
    with pytest.raises(ValueError, match=r"^y must be finite in float32, got y\["):
        net.loss(X, y)


def test_samples_without_any_target_are_left_out():
    y = Y[:, :1].copy()
    y[::3] = np.nan
    kept = ~np.isnan(y[:, 0])
    one, other = (make(sizes=(6, 9, 1)) for _ in range(2))
    h1 = train(one, y=y, batch_size=None, missing="ignore")
    h2 = train(other, X[kept], y[kept], batch_size=None)
    np.testing.assert_allclose(one.parameters, other.parameters, rtol=0, atol=1e-5)
    np.testing.assert_allclose(h1.loss, h2.loss, rtol=1e-5)
    with pytest.raises(ValueError, match="^all samples have a weight of 0 or no target$"):
        train(one, y=y * np.nan, missing="ignore")
    with pytest.raises(ValueError, match=r"^y must be finite in float32, got y\[3, 0\] = inf"):
        train(one, y=np.where(np.arange(60)[:, None] == 3, np.inf, y), missing="ignore")


def test_missing_targets_of_the_other_losses():
    """A missing target has the derivative 0, as a target that is equal to the output."""
    for last, loss in (("linear", "huber"), ("sigmoid", "binary_cross_entropy"), ("linear", "mae")):
        net = make(last)
        y = net.predict(X).copy()
        y[:, 1:] = RNG.random((60, 2))
        missing = y.copy()
        missing[:, 0] = np.nan
        np.testing.assert_allclose(
            net.backpropagation(X, missing, loss=loss, missing="ignore").parameters,
            net.backpropagation(X, y, loss=loss).parameters,
            rtol=0,
            atol=1e-6,
        )


@pytest.mark.parametrize("dtype", [np.float64, np.longdouble])
def test_huge_weights_count_as_what_they_are_in_proportion(dtype):
    x, y = np.arange(4.0).reshape(-1, 1), np.array([0, 1, 0, 1])
    expected, huge = (nnpy.NeuralNetwork([1, 2], "softmax", seed=0) for _ in range(2))
    expected.fit(x, y, sample_weight=[1, 2, 3, 4], class_weight={0: 1, 1: 2}, epochs=3, seed=0)
    weight = np.array([1, 2, 3, 4], dtype) * dtype(1e300)
    huge.fit(x, y, sample_weight=weight, class_weight={0: 1e38, 1: 2e38}, epochs=3, seed=0)
    np.testing.assert_allclose(huge.parameters, expected.parameters, rtol=1e-6)


def test_weights_that_float64_or_a_stream_cannot_hold_are_refused():
    net, x, y = nnpy.NeuralNetwork([1, 2], "softmax", seed=0), np.arange(4.0).reshape(-1, 1), [0, 1, 0, 1]
    before = net.parameters.copy()
    if np.finfo(np.longdouble).max > np.finfo(np.float64).max:
        with pytest.raises(ValueError, match="^sample_weight must be finite and not negative$"):
            net.fit(x, y, sample_weight=np.full(4, np.longdouble("1e4000")))
    with pytest.raises(ValueError, match="^the weight of a sample, .*, must be finite in float32"):
        net.partial_fit(x, y, sample_weight=[1e30] * 4, class_weight={0: 1e30, 1: 1})
    np.testing.assert_array_equal(net.parameters, before)
