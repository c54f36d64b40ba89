"""`TabularClassifier` and `TabularRegressor`: tables of numbers, categories and missing values, and their parts."""

import datetime
import faulthandler
import math
import os
import pickle
import signal
import sys
import threading
from contextlib import suppress
from decimal import Decimal

import numpy as np
import pytest

pytest.importorskip("sklearn", minversion="1.7")

from sklearn import datasets
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

import nnpy
from nnpy.sklearn import TabularClassifier, TabularRegressor
from nnpy.sklearn import _bagging as bagging
from nnpy.sklearn import _residuals as residuals
from nnpy.sklearn import _tabular as tabular
from nnpy.sklearn._bagging import Bag, LogTarget, Plan, Problem
from nnpy.sklearn._recipes import Recipe, draw_recipes
from nnpy.sklearn._table import NumberColumn, Table, TableEncoder

KINDS = [TabularClassifier, TabularRegressor]
RNG = np.random.default_rng(0)
X = RNG.normal(size=(120, 3))
Y = np.sin(X[:, 0]) + X[:, 1]
LABELS = np.array(["low", "mid", "high"])[np.digitize(Y, [-0.6, 0.6])]


def make(kind, **parameters):
    return kind(**{"effort": 0.01, "random_state": 0, **parameters})


def targets(kind):
    return LABELS if kind is TabularClassifier else Y


def outputs(estimator, x):
    return estimator.predict_proba(x) if isinstance(estimator, TabularClassifier) else estimator.predict(x)


@pytest.fixture
def quick(monkeypatch):
    """Train for a few epochs: enough to learn what is easy."""
    monkeypatch.setattr(bagging, "_MIN_EPOCHS", 12)
    monkeypatch.setattr(bagging, "_MAX_EPOCHS", 12)
    monkeypatch.setattr(bagging, "_MAX_RECIPES", 2)
    monkeypatch.setattr(residuals, "_EPOCHS", 4)


few_epochs = pytest.mark.usefixtures("quick")
both = pytest.mark.parametrize("kind", KINDS)


# ---- Quality ----


@pytest.mark.parametrize(
    ("load", "rows", "bound"),
    [(datasets.load_breast_cancer, 569, 0.93), (datasets.load_wine, 178, 0.93), (datasets.load_digits, 800, 0.92)],
)
def test_classes_of_well_known_tables(load, rows, bound):
    """The largest class has 63 %, 40 % and 10 % of the samples."""
    x, y = load(return_X_y=True)
    x, x_test, y, y_test = train_test_split(x[:rows], y[:rows], random_state=0, stratify=y[:rows])
    classifier = make(TabularClassifier).fit(x, y)
    assert classifier.score(x_test, y_test) > bound
    assert log_loss(y_test, classifier.predict_proba(x_test)) < 0.3


def test_diabetes():
    """Linear regression has an R2 of 0.36 on these rows; the mean has 0."""
    x, y = datasets.load_diabetes(return_X_y=True)
    x, x_test, y, y_test = train_test_split(x, y, random_state=0)
    assert make(TabularRegressor).fit(x, y).score(x_test, y_test) > 0.27


def nonlinear(n, seed):
    """Draw a table of which a linear model can learn nothing, and its targets."""
    random = np.random.default_rng(seed)
    x = random.uniform(-1, 1, size=(n, 4))
    return x, np.sin(4 * x[:, 0]) * np.sign(x[:, 1]) + x[:, 2] ** 2 + 0.1 * random.normal(size=n)


def test_what_is_not_linear():
    (x, y), (x_test, y_test) = nonlinear(600, 0), nonlinear(500, 1)
    assert make(TabularRegressor).fit(x, y).score(x_test, y_test) > Ridge().fit(x, y).score(x_test, y_test) + 0.7
    labels, labels_test = y > 0.3, y_test > 0.3
    score = make(TabularClassifier).fit(x, labels).score(x_test, labels_test)
    assert score > LogisticRegression().fit(x, labels).score(x_test, labels_test) + 0.15
    assert score > 0.85


def mixed_frame(n, seed):
    """Draw a frame with categories and missing values; both, and that a value is missing, matter for the targets."""
    pandas = pytest.importorskip("pandas")
    random = np.random.default_rng(seed)
    number, missing = random.normal(size=n), random.random(n) < 0.3
    city, size = random.choice(["Bern", "Rome", "Oslo"], n), random.choice(["s", "l"], n)
    effect = np.select([city == "Bern", city == "Rome"], [2.0, 0.0], -2.0) * np.where(size == "s", 1, -1)
    y = effect + np.where(missing, 3.0, number) + 0.1 * random.normal(size=n)
    frame = pandas.DataFrame({"number": np.where(missing, np.nan, number), "city": city, "size": size})
    frame["size"] = frame["size"].astype("category")
    frame.loc[random.random(n) < 0.05, "city"] = None
    return frame, y


def test_a_frame_with_categories_and_missing_values():
    (x, y), (x_test, y_test) = mixed_frame(500, 0), mixed_frame(300, 1)
    assert make(TabularRegressor).fit(x, y).score(x_test, y_test) > 0.8
    assert make(TabularClassifier).fit(x, y > 1).score(x_test, y_test > 1) > max((y > 1).mean(), (y <= 1).mean()) + 0.25


# ---- Probabilities, quantiles, standard deviations ----


def test_probabilities_are_nearly_the_best_possible():
    """The excess of the log loss over that of the true probabilities is the information that is lost."""
    random = np.random.default_rng(0)
    x = random.normal(size=(4000, 3))
    p = 1 / (1 + np.exp(-2 * np.sin(2 * x[:, 0]) - x[:, 1]))
    y = random.random(4000) < p
    classifier = make(TabularClassifier).fit(x[:2000], y[:2000])
    probabilities = classifier.predict_proba(x[2000:])
    best = log_loss(y[2000:], p[2000:])
    majority = log_loss(y[2000:], np.full(2000, y.mean()))
    excess = log_loss(y[2000:], probabilities[:, 1]) - best
    assert excess < 0.03 < 0.2 * (majority - best)
    sure = probabilities[:, 1] > 0.8  # of what is said to happen at 90 % on average, 90 % happens
    assert y[2000:][sure].mean() == pytest.approx(probabilities[sure, 1].mean(), abs=0.05)


@few_epochs
@pytest.mark.parametrize(
    ("y", "classes"),
    [
        (LABELS, ["high", "low", "mid"]),
        (LABELS.astype(object), ["high", "low", "mid"]),
        (np.digitize(Y, [-0.6, 0.6]) + 1, [1, 2, 3]),
        (Y > 0, [False, True]),
        (np.where(Y > 0, 2.0, -1.0), [-1.0, 2.0]),
    ],
    ids=["strings", "objects", "ints", "bools", "floats"],
)
def test_labels_of_any_kind(y, classes):
    classifier = make(TabularClassifier).fit(X, y)
    np.testing.assert_array_equal(classifier.classes_, classes)
    p = classifier.predict_proba(X)
    assert (p.shape, p.dtype) == ((120, len(classes)), np.float64)
    np.testing.assert_allclose(p.sum(axis=1), 1)
    assert (p >= 0).all()
    np.testing.assert_array_equal(classifier.predict(X), np.array(classes, dtype=object)[p.argmax(axis=1)])
    assert classifier.predict(X).dtype == classifier.classes_.dtype == np.asarray(y).dtype
    assert classifier.score(X, y) > max((y == label).mean() for label in classes) + 0.1


def uneven(n, seed):
    """Draw a sine with noise that grows from the middle outwards; return also the true standard deviations."""
    random = np.random.default_rng(seed)
    x = random.uniform(-2, 2, size=(n, 1))
    sd = 0.1 + np.abs(x[:, 0])
    return x, np.sin(3 * x[:, 0]) + sd * random.normal(size=n), sd


@pytest.fixture(scope="module")
def of_uneven():
    x, y, _ = uneven(3000, 0)
    return make(TabularRegressor).fit(x, y)


def test_quantiles(of_uneven):
    x, y, sd = uneven(3000, 1)
    levels = [0.05, 0.25, 0.5, 0.75, 0.95]
    quantiles = of_uneven.predict_quantiles(x, levels)
    assert quantiles.shape == (3000, 5)
    assert (np.diff(quantiles, axis=1) >= 0).all()
    assert (quantiles[:, 0] < quantiles[:, 4]).all()
    np.testing.assert_allclose((y[:, None] < quantiles).mean(axis=0), levels, atol=0.05)
    low, middle, high = of_uneven.predict_quantiles(x).T
    inside = (low < y) & (y < high)
    assert 0.85 < inside.mean() < 0.95
    for part in (sd < 0.7, sd > 1.4):
        assert 0.8 < inside[part].mean() < 0.98
    width = high - low
    assert width[sd > 1.6].mean() > 2 * width[sd < 0.6].mean()
    np.testing.assert_allclose(width[sd > 1.6].mean(), 2 * 1.645 * sd[sd > 1.6].mean(), rtol=0.2)
    assert np.abs(middle - np.sin(3 * x[:, 0])).mean() < 0.35
    np.testing.assert_array_equal(of_uneven.predict_quantiles(x, 0.25), quantiles[:, [1]])
    np.testing.assert_array_equal(of_uneven.predict_quantiles(x, [0.75, 0.05]), quantiles[:, [3, 0]])


def test_standard_deviations(of_uneven):
    x, _, sd = uneven(3000, 1)
    mean, std = of_uneven.predict(x, return_std=True)
    np.testing.assert_array_equal(mean, of_uneven.predict(x))
    assert std.shape == (3000,)
    assert (std > 0).all()
    assert np.corrcoef(std, sd)[0, 1] > 0.8
    assert std.mean() == pytest.approx(sd.mean(), rel=0.2)
    assert np.sqrt((std**2).mean()) == pytest.approx(np.sqrt((sd**2).mean()), rel=0.2)


def test_quantiles_of_skewed_noise():
    random = np.random.default_rng(0)
    x, y = random.normal(size=(1000, 1)), random.exponential(size=1000)
    quantiles = make(TabularRegressor).fit(x, y).predict_quantiles(x, [0.1, 0.5, 0.9]).mean(axis=0)
    np.testing.assert_allclose(quantiles, -np.log([0.9, 0.5, 0.1]), atol=0.25)
    assert quantiles[2] - quantiles[1] > 1.8 * (quantiles[1] - quantiles[0])


@pytest.mark.parametrize("levels", [0, 1, [0.5, -0.1], [1.5], [np.nan], [[0.5]]])
def test_levels_that_are_refused(of_uneven, levels):
    with pytest.raises(ValueError, match="^quantiles must be between 0 and 1, got "):
        of_uneven.predict_quantiles([[0.0]], levels)


# ---- Weights ----


@few_epochs
def test_sample_weights():
    """What is not to be told apart has the weighted share of its classes, and the weighted mean."""
    y = np.arange(200) % 2
    x = RNG.normal(size=(200, 1)) * 1e-9 + 1
    weight = np.where(y == 1, 9.0, 1.0)
    plain, weighted = (
        make(TabularClassifier).fit(x, y, sample_weight=w).predict_proba(x)[:, 1] for w in (None, weight)
    )
    assert plain.mean() == pytest.approx(0.5, abs=0.1)
    assert weighted.mean() == pytest.approx(0.9, abs=0.07)
    plain, weighted = (make(TabularRegressor).fit(x, y, sample_weight=w).predict(x) for w in (None, weight))
    assert plain.mean() == pytest.approx(0.5, abs=0.1)
    assert weighted.mean() == pytest.approx(0.9, abs=0.07)


@few_epochs
@both
def test_a_weight_of_zero_leaves_a_sample_out(kind):
    weight = np.where(np.arange(120) % 5 == 3, 0.0, 1 + np.arange(120) % 2)
    kept = weight > 0
    y = targets(kind)
    one = make(kind).fit(X, y, sample_weight=weight)
    other = make(kind).fit(X[kept], y[kept], sample_weight=weight[kept])
    np.testing.assert_array_equal(outputs(one, X), outputs(other, X))
    with pytest.raises(ValueError, match="^at least 4 samples are needed, got n_samples = 3$"):
        make(kind).fit(X, np.arange(120) % 2, sample_weight=np.arange(120) < 3)
    with pytest.raises(ValueError, match="^Sample weights must contain at least one non-zero number"):
        make(kind).fit(X, y, sample_weight=np.zeros(120))


@few_epochs
@both
def test_equal_weights_are_none(kind):
    one, other = (make(kind).fit(X, targets(kind), sample_weight=w) for w in (None, np.full(120, 3.0)))
    np.testing.assert_allclose(outputs(one, X), outputs(other, X), atol=1e-3)


@both
@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (np.where(np.arange(120) == 7, -1.0, 1.0), "Negative values in data passed to `sample_weight`"),
        (np.full(120, np.nan), "Input sample_weight contains NaN"),
        (np.ones(3), "sample_weight.shape == "),
        (np.ones((120, 2)), "Sample weights must be 1D array or scalar"),
    ],
)
def test_weights_that_are_refused(kind, weight, message):
    with pytest.raises(ValueError, match=message):
        make(kind).fit(X, targets(kind), sample_weight=weight)


# ---- The same numbers ----


@few_epochs
@both
def test_the_random_state_decides_everything(kind):
    y = targets(kind)
    first = make(kind).fit(X, y)
    before = nnpy.get_num_threads()
    try:
        for threads in (1, 2, 3):
            nnpy.set_num_threads(threads)
            np.testing.assert_array_equal(outputs(make(kind).fit(X, y), X), outputs(first, X))
    finally:
        nnpy.set_num_threads(before)
    generator = np.random.RandomState(0)
    np.testing.assert_array_equal(outputs(make(kind, random_state=generator).fit(X, y), X), outputs(first, X))
    copied = pickle.loads(pickle.dumps(first))
    np.testing.assert_array_equal(outputs(copied, X), outputs(first, X))
    np.testing.assert_array_equal(outputs(clone(first).fit(X, y), X), outputs(first, X))
    other = make(kind, random_state=1).fit(X, y)
    assert np.abs(outputs(other, X) - outputs(first, X)).max() > 1e-3
    if kind is TabularRegressor:
        np.testing.assert_array_equal(copied.predict_quantiles(X), first.predict_quantiles(X))
        np.testing.assert_array_equal(copied.predict(X, return_std=True), first.predict(X, return_std=True))


@few_epochs
@both
def test_a_row_alone_has_the_prediction_that_it_has_among_others(kind):
    estimator = make(kind).fit(X, targets(kind))
    np.testing.assert_allclose(outputs(estimator, X[5:6]), outputs(estimator, X)[5:6], rtol=1e-6)


# ---- Data frames ----


def columns_of_every_type():
    pandas = pytest.importorskip("pandas")
    three = np.arange(120) % 3
    days = pandas.Series(pandas.date_range("2020-01-01", periods=120))
    categories = {
        "category": pandas.Series(np.array(["u", "v", None])[three]).astype("category"),
        "category of ints": pandas.Categorical(np.array([1, 2, None])[three]),
        "string": pandas.array(np.array(["u", "v", None])[three], dtype="string"),
        "object": pandas.Series(np.array(["u", np.nan, None], dtype=object)[three], dtype=object),
        "mixture": pandas.Series(np.array(["1", 1, None], dtype=object)[three], dtype=object),
    }
    numbers = {
        "bool": three > 0,
        "boolean": pandas.array(np.array([True, False, None])[three], dtype="boolean"),
        "Int64": pandas.array(np.array([1, None, 7])[three], dtype="Int64"),
        "Float64": pandas.array(np.array([1.5, None, 7])[three], dtype="Float64"),
        "float32": X[:, 0].astype(np.float32),
        "int8": three.astype(np.int8),
        "numbers as objects": pandas.Series(np.array([1, None, 2.5], dtype=object)[three], dtype=object),
        "bools as objects": pandas.Series(np.array([True, None, False], dtype=object)[three], dtype=object),
        "decimals": pandas.Series([Decimal("1.5"), Decimal(2), None] * 40, dtype=object),
        "datetime": days,
        "datetime with NaT": days.where(three > 0),
        "with a time zone": days.dt.tz_localize("Europe/Berlin").where(three > 0),
        "dates": pandas.Series(days.dt.date).where(three > 0),
        "timedelta": days - days[0],
    }
    return pandas.DataFrame({**categories, **numbers}), len(categories)


@few_epochs
@both
def test_pandas(kind):
    frame, num_categories = columns_of_every_type()
    estimator = make(kind).fit(frame, targets(kind))
    assert estimator._is_category == [column < num_categories for column in range(frame.shape[1])]
    np.testing.assert_array_equal(estimator.feature_names_in_, frame.columns)
    assert estimator.n_features_in_ == frame.shape[1]
    assert np.isfinite(outputs(estimator, frame)).all()
    with pytest.raises(ValueError, match="feature names should match"):
        estimator.predict(frame[frame.columns[::-1]])
    with pytest.raises(ValueError, match="feature names should match"):
        estimator.predict(frame[frame.columns[:-1]])
    frame["numbers as objects"] = frame["numbers as objects"].astype(float)  # the same numbers in another type
    frame["string"] = frame["string"].astype("category")
    again = clone(estimator).fit(frame, targets(kind))
    np.testing.assert_array_equal(outputs(again, frame), outputs(estimator, frame))


def test_what_is_read_from_pandas():
    frame, _ = columns_of_every_type()
    values = dict(zip(frame.columns, Table(frame).columns, strict=True))
    for name, expected in {
        "category": ["u", "v", None],
        "category of ints": ["1", "2", None],
        "object": ["u", None, None],
        "mixture": ["1", "1", None],
    }.items():
        assert values[name][:3].tolist() == expected
    first = 18262  # days from 1970 to 2020
    for name, expected in {
        "boolean": [1, 0, np.nan],
        "Int64": [1, np.nan, 7],
        "numbers as objects": [1, np.nan, 2.5],
        "decimals": [1.5, 2, np.nan],
        "datetime": [first, first + 1, first + 2],
        "datetime with NaT": [np.nan, first + 1, first + 2],
        "with a time zone": [np.nan, first + 1 - 1 / 24, first + 2 - 1 / 24],
        "dates": [np.nan, first + 1, first + 2],
        "timedelta": [0, 1, 2],
    }.items():
        assert values[name].dtype == np.float64
        np.testing.assert_allclose(values[name][:3], expected, rtol=1e-12, err_msg=name)


@few_epochs
@both
def test_polars(kind):
    polars = pytest.importorskip("polars")
    three = np.arange(120) % 3
    days = [datetime.date(2020, 1, 1) + datetime.timedelta(days=i) for i in range(120)]
    text = ["u", "v", None] * 40
    frame = polars.DataFrame(
        {
            "text": text,
            "category": polars.Series(text, dtype=polars.Categorical),
            "enum": polars.Series(text, dtype=polars.Enum(["u", "v"])),
            "number": X[:, 0],
            "whole": [1, None, 3] * 40,
            "single": polars.Series(X[:, 1], dtype=polars.Float32),
            "bool": [True, None, False] * 40,
            "date": days,
            "decimal": [Decimal("1.5"), None, Decimal(2)] * 40,
        }
    )
    estimator = make(kind).fit(frame, targets(kind))
    assert estimator._is_category == [True] * 3 + [False] * 6
    assert list(estimator.feature_names_in_) == frame.columns
    assert np.isfinite(outputs(estimator, frame)).all()
    columns = Table(frame).columns
    assert columns[0][:3].tolist() == columns[2][:3].tolist() == ["u", "v", None]
    np.testing.assert_array_equal(columns[4][:3], [1, np.nan, 3])
    np.testing.assert_array_equal(columns[6], np.array([1, np.nan, 0])[three])
    np.testing.assert_array_equal(columns[7], 18262 + np.arange(120))
    with pytest.raises(ValueError, match="feature names should match"):
        estimator.predict(frame[frame.columns[::-1]])
    same = make(kind).fit(frame, polars.Series(targets(kind)))
    np.testing.assert_array_equal(outputs(same, frame), outputs(estimator, frame))


@few_epochs
@both
def test_what_training_had_not_seen(kind):
    """A level, a missing value, a value far away: none of them is an error, and each means what it should."""
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(
        {"a": X[:, 0], "b": X[:, 1], "c": ["u", "v"] * 60, "empty": np.nan, "constant": 5.0, "none": None}
    )
    estimator = make(kind).fit(frame, targets(kind))
    expected = outputs(estimator, frame)
    for name, values in (("empty", 1e6), ("constant", -3.0), ("constant", np.nan), ("empty", X[:, 2]), ("none", 3)):
        np.testing.assert_array_equal(outputs(estimator, frame.assign(**{name: values})), expected)
    median = outputs(estimator, frame.assign(a=np.median(X[:, 0])))
    np.testing.assert_array_equal(outputs(estimator, frame.assign(a=np.nan)), median)
    assert np.abs(median - expected).max() > 0.1
    for values in ("w", None, "a level of many letters"):
        unseen = outputs(estimator, frame.assign(c=values))
        assert np.isfinite(unseen).all()
        assert np.abs(unseen - expected).max() < 0.5
    far = outputs(estimator, frame.assign(a=1e300))
    assert np.isfinite(far).all()
    np.testing.assert_allclose(far, outputs(estimator, frame.assign(a=1e200)), rtol=1e-6)


@few_epochs
@pytest.mark.parametrize("scale", [1e300, 1e30, 1e-30, 1e-300], ids=str)
def test_the_scale_of_a_column_does_not_matter(scale):
    one = make(TabularRegressor).fit(X, Y)
    other = make(TabularRegressor).fit(X * [scale, 1, 1], Y)
    np.testing.assert_allclose(other.predict(X * [scale, 1, 1]), one.predict(X), atol=1e-3)
    assert one.score(X, Y) > 0.6


@both
def test_infinity_is_refused(kind):
    pandas = pytest.importorskip("pandas")
    infinite = np.where(np.arange(120) == 7, np.inf, X[:, 0])
    with pytest.raises(ValueError, match="^Input X contains infinity or a value too large"):
        make(kind).fit(infinite[:, None], targets(kind))
    for frame in (
        pandas.DataFrame({"a": X[:, 0], "b": infinite}),
        pandas.DataFrame({"a": 1, "b": infinite}, dtype=object),
    ):
        with pytest.raises(ValueError, match="^Input X contains infinity: column 1, row 7$"):
            make(kind).fit(frame, targets(kind))


@both
def test_tables_that_are_refused(kind):
    pandas = pytest.importorskip("pandas")
    y = targets(kind)
    for x, error, message in (
        (pandas.DataFrame({"a": []}), ValueError, r"^Found array with 0 sample\(s\) \(shape=\(0, 1\)\)"),
        (pandas.DataFrame(index=range(120)), ValueError, r"^Found array with 0 feature\(s\) \(shape=\(120, 0\)\)"),
        (pandas.DataFrame({"a": X[:, 0] + 1j}), ValueError, "^Complex data not supported"),
        (pandas.DataFrame({"a": X[:, 0] + 1j}, dtype=object), ValueError, "^Complex data not supported"),
        (pandas.DataFrame({"a": [{}] * 120}), TypeError, "must be a string or a number, got {} for a category$"),
        (pandas.DataFrame({"a": [np.ones(2)] * 120}), TypeError, "must be a string or a number, got array"),
        (pandas.DataFrame({"a": X[:, 0], 1: 0}), TypeError, "^Feature names are only supported if all"),
        (pandas.DataFrame({"a": X[:50, 0]}), ValueError, "inconsistent numbers of samples"),
    ):
        with pytest.raises(error, match=message):
            make(kind).fit(x, y)


@few_epochs
def test_a_category_where_training_had_numbers():
    pandas = pytest.importorskip("pandas")
    regressor = make(TabularRegressor).fit(pandas.DataFrame({"a": X[:, 0], "b": X[:, 1]}), Y)
    with pytest.raises(ValueError, match="^column 1 must hold numbers: could not convert string to float: 'u'"):
        regressor.predict(pandas.DataFrame({"a": [1.0], "b": ["u"]}))


@few_epochs
def test_the_parameter_categorical_features():
    pandas = pytest.importorskip("pandas")
    codes = np.tile(np.arange(6.0), 40)
    y = np.array([3.0, -1, 2, -3, 1, -2])[np.tile(np.arange(6), 40)]
    x = np.column_stack([RNG.normal(size=240), codes, RNG.normal(size=240)])
    frame = pandas.DataFrame(x, columns=list("abc"))
    expected = None
    for given, data in (
        ([False, True, False], x),
        (np.array([False, True, False]), frame),
        ([1], x),
        ([-2], x),
        (["b"], frame),
        (np.array(["b"], dtype=object), frame),
    ):
        regressor = make(TabularRegressor, categorical_features=given).fit(data, y)
        assert regressor._is_category == [False, True, False]
        expected = regressor.predict(data) if expected is None else expected
        np.testing.assert_array_equal(regressor.predict(data), expected)
    assert regressor.score(frame, y) > 0.8
    for given in (None, [], "from_dtype"):
        assert make(TabularRegressor, categorical_features=given).fit(frame, y)._is_category == [False] * 3
    text = frame.assign(b=frame["b"].astype(int).astype(str))
    assert make(TabularRegressor, categorical_features="from_dtype").fit(text, y)._is_category == [False, True, False]
    assert make(TabularRegressor, categorical_features=None).fit(text, y)._is_category == [False] * 3  # "3" is a number
    np.testing.assert_array_equal(regressor.predict(text), expected)
    assert make(TabularRegressor).fit(x.astype(str)[:, 1:2], y)._is_category == [True]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([True, False], "^categorical_features must have a bool for each of the 3 columns, got "),
        ([3], r"^categorical_features must be column numbers below 3, got \[3\]"),
        ([-4], r"^categorical_features must be column numbers below 3, got \[-4\]"),
        (["z"], "^categorical_features has 'z', which is no column of X"),
        ([[0]], r"^categorical_features must be one-dimensional, got the shape \(1, 1\)"),
        ("names", "^The 'categorical_features' parameter of .* must be"),
        (3, "^The 'categorical_features' parameter of .* must be"),
    ],
)
@both
def test_categorical_features_that_are_refused(kind, given, message):
    with pytest.raises(ValueError, match=message):
        make(kind, categorical_features=given).fit(X, targets(kind))


# ---- Unusual targets ----


@few_epochs
def test_constant_targets():
    for value in (0.0, 0.1, -1e6):
        regressor = make(TabularRegressor).fit(X, np.full(120, value))
        mean, std = regressor.predict(X, return_std=True)
        np.testing.assert_allclose(mean, value, rtol=1e-12)
        np.testing.assert_allclose(std, 0, atol=1e-6)
        np.testing.assert_allclose(regressor.predict_quantiles(X), value, rtol=1e-9, atol=1e-9)


@few_epochs
@pytest.mark.parametrize(("offset", "factor"), [(1e6, 1e-3), (-1e9, 1), (0, 1e30), (5, 1e-30)])
def test_the_offset_and_the_scale_of_targets_do_not_matter(offset, factor):
    """Where a target's own digits allow it."""
    one = make(TabularRegressor).fit(X, Y)
    y = offset + factor * Y
    other = make(TabularRegressor).fit(X, y)
    if y.std() == 0:  # 5 + 1e-30 is 5
        np.testing.assert_array_equal(other.predict(X), y)
        return
    for a, b in zip(other.predict(X, return_std=True), one.predict(X, return_std=True), strict=True):
        np.testing.assert_allclose(((a - offset) if abs(a.mean()) > abs(offset) / 2 else a) / factor, b, atol=1e-3)
    assert (y.min() <= other.predict(10 * X)).all()
    assert (other.predict(10 * X) <= y.max()).all()


@few_epochs
@pytest.mark.parametrize("num", [4, 5, 9])
def test_few_samples(num):
    regressor = make(TabularRegressor).fit(X[:num], Y[:num])
    mean, std = regressor.predict(X, return_std=True)
    assert np.isfinite(mean).all()
    assert (std > 0).all()
    assert (np.diff(regressor.predict_quantiles(X), axis=1) >= 0).all()
    p = make(TabularClassifier).fit(X[:num], np.arange(num) == 1).predict_proba(X)  # a class with a single sample
    np.testing.assert_allclose(p.sum(axis=1), 1)
    p = make(TabularClassifier).fit(X[:num], np.arange(num)).predict_proba(X)  # as many classes as samples
    np.testing.assert_allclose(p.sum(axis=1), 1)


@both
def test_too_few_samples(kind):
    with pytest.raises(ValueError, match="^at least 4 samples are needed, got n_samples = 3$"):
        make(kind).fit(X[:3], [0, 1, 0])


def test_targets_that_are_refused():
    with pytest.raises(ValueError, match="^y must have at least 2 classes, got 1 class: 'a'$"):
        make(TabularClassifier).fit(X, np.array(["a"] * 120, dtype=object))
    with pytest.raises(ValueError, match="^Unknown label type: continuous"):
        make(TabularClassifier).fit(X, Y)
    for kind in KINDS:
        with pytest.raises(ValueError, match="^Input y contains NaN"):
            make(kind).fit(X, np.where(Y > 0, np.nan, 1.0))
        with pytest.raises(ValueError, match=r"^y should be a 1d array, got an array of shape \(120, 2\) instead"):
            make(kind).fit(X, np.column_stack([Y, Y]) > 0)
    with pytest.raises(ValueError, match="could not convert string to float"):
        make(TabularRegressor).fit(X, LABELS)


# ---- The interface of scikit-learn ----

FAILS = {
    "check_sample_weight_equivalence_on_dense_data": "the folds of repeated samples are others; so are the batches",
}


@pytest.mark.slow
@few_epochs
@both
@pytest.mark.filterwarnings("ignore")
def test_scikit_learns_own_checks(kind):
    results = check_estimator(make(kind), expected_failed_checks=FAILS, on_skip=None)
    assert {result["check_name"] for result in results if result["status"] == "xfail"} == set(FAILS)
    skipped = {result["check_name"] for result in results if result["status"] == "skipped"}
    assert skipped <= {"check_array_api_input"}  # needs SCIPY_ARRAY_API=1 in the environment
    assert len(results) > 50


@both
@pytest.mark.parametrize(
    "parameters",
    [
        {"effort": 0},
        {"effort": -1.0},
        {"effort": "high"},
        {"n_folds": 1},
        {"n_folds": 2.5},
        {"random_state": "a"},
        {"verbose": -1},
    ],
    ids=str,
)
def test_parameters_that_are_refused(kind, parameters):
    with pytest.raises(ValueError, match=f"^The '{next(iter(parameters))}' parameter of {kind.__name__} must be "):
        make(kind, **parameters).fit(X, targets(kind))


@both
def test_before_and_after_a_fit_that_fails(kind, quick, monkeypatch):
    estimator = make(kind)
    methods = ["predict", "predict_proba" if kind is TabularClassifier else "predict_quantiles"]

    def refuses():
        for method in methods:
            with pytest.raises(NotFittedError, match="is not fitted yet"):
                getattr(estimator, method)(X)

    refuses()
    estimator.fit(X, targets(kind)).predict(X)

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(
        *((tabular, "_best_temperature") if kind is TabularClassifier else (residuals, "fit_bags")), interrupted
    )
    with pytest.raises(KeyboardInterrupt):
        estimator.fit(X, targets(kind))
    refuses()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="the test sends itself signals")
@both
def test_ctrl_c_leaves_an_estimator_that_is_not_fitted(kind, monkeypatch):
    monkeypatch.setattr(bagging, "_MIN_EPOCHS", 10**8)
    monkeypatch.setattr(bagging, "_MAX_EPOCHS", 10**8)
    estimator = make(kind)
    timer = threading.Timer(0.5, os.kill, [os.getpid(), signal.SIGINT])
    faulthandler.dump_traceback_later(60, exit=True, file=sys.__stderr__)
    try:
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            estimator.fit(X, targets(kind))
    finally:
        timer.cancel()
        with suppress(KeyboardInterrupt):
            timer.join()
        faulthandler.cancel_dump_traceback_later()
    with pytest.raises(NotFittedError):
        estimator.predict(X)


@few_epochs
@both
def test_verbose(kind, capsys):
    make(kind).fit(X, targets(kind))
    assert not capsys.readouterr().out
    make(kind, verbose=1).fit(X, targets(kind))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) >= 3
    assert all(line.startswith(f"[{kind.__name__}] ") for line in lines)
    assert lines[0] == f"[{kind.__name__}] 2 recipes, 5 of 5 folds, 12 epochs"
    assert any("loss of the ensemble on the folds that were left out: " in line for line in lines)


@few_epochs
@both
@pytest.mark.parametrize("n_folds", [2, 3])
def test_the_number_of_folds(kind, n_folds):
    estimator = make(kind, n_folds=n_folds).fit(X, targets(kind))
    assert all(len(bag.networks) == n_folds for bag in estimator._bags)
    assert sum(bag.weight for bag in estimator._bags) == pytest.approx(1)


@both
def test_more_effort_tries_more_recipes_and_trains_only_the_best_on_all_folds(kind, monkeypatch, capsys):
    for name, value in (("_MIN_EPOCHS", 3), ("_MAX_EPOCHS", 3), ("_MAX_RECIPES", 6)):
        monkeypatch.setattr(bagging, name, value)
    estimator = make(kind, verbose=1).fit(X, targets(kind))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("6 recipes, 2 of 5 folds, 3 epochs")
    assert lines[1].endswith("the 3 best recipes, the other 3 folds")
    assert 1 <= len(estimator._bags) <= 3
    assert all(len(bag.networks) == 5 for bag in estimator._bags)


@few_epochs
def test_other_parts_of_scikit_learn():
    frame, y = mixed_frame(150, 0)
    assert cross_val_score(make(TabularRegressor), frame, y, cv=2).mean() > 0.3
    regressor = make(TabularRegressor).fit(frame, y)
    importance = permutation_importance(regressor, frame, y, n_repeats=3, random_state=0).importances_mean
    assert (importance > 0.1).all()
    search = GridSearchCV(make(TabularClassifier), {"effort": [0.01, 0.02]}, cv=2).fit(frame, y > 0)
    assert search.best_score_ > 0.65
    assert search.best_params_["effort"] in {0.01, 0.02}
    pipeline = make_pipeline(StandardScaler(), make(TabularClassifier)).fit(X, LABELS)
    assert pipeline.score(X, LABELS) > 0.55
    np.testing.assert_array_equal(pipeline.classes_, np.unique(LABELS))


# ---- The encoding ----


def clipped(x):
    return x / np.sqrt(1 + (np.asarray(x) / 3) ** 2)


def test_robust_scaling_with_smooth_clipping():
    """Of 0, 1, 2, 3, 4 the median is 2, and the quartiles are 1 and 3."""
    column = NumberColumn.fit(np.array([4.0, 0, 2, np.nan, 1, 3]), 2)
    assert (column.center, column.scale, column.has_missing) == (2, 2, True)
    scaled, missing = column.plain(np.array([0, 3, np.nan, 8, 1e300, -1.7e308]))
    np.testing.assert_allclose(scaled, [clipped(-1.0), clipped(0.5), 0, clipped(3.0), 3, -3], rtol=1e-12)
    assert scaled[3] == pytest.approx(3 / math.sqrt(2))
    np.testing.assert_array_equal(missing, [0, 0, 1, 0, 0, 0])


def test_scales_without_an_interquartile_range():
    column = NumberColumn.fit(np.array([0.0] * 9 + [10]), 2)
    (scaled,) = column.plain(np.array([0, 10, np.nan]))
    np.testing.assert_allclose(scaled, [0, clipped(2.0), 0])
    for values in (np.full(5, 7.0), np.full(5, np.nan)):  # these say nothing, and nothing is learned of them
        column = NumberColumn.fit(values, 2)
        np.testing.assert_array_equal(column.plain(np.array([7.0, 0, -1e300, np.nan])), np.zeros((1, 4)))
        assert (column.num_bins, column.has_missing) == (0, False)
    (scaled, missing) = NumberColumn.fit(np.array([7.0, np.nan]), 2).plain(np.array([7.0, np.nan]))
    np.testing.assert_array_equal([scaled, missing], [[0, 0], [0, 1]])


def test_piecewise_linear_encoding():
    column = NumberColumn.fit(np.array([0.0, 1, 2, 3, 4, np.nan]), 24)  # few samples: 2 bins, with edges at 0, 2 and 4
    np.testing.assert_allclose(column.edges, [0, 2, 4])
    expected = [[0, -0.5], [0.5, 0], [0.25, -0.5], [-0.5, -0.5], [0.5, 0.5], [0, 0]]
    np.testing.assert_allclose(column.binned(np.array([1, 3, 1.5, -1e300, 1e300, np.nan])), expected)
    values = np.arange(101.0) ** 2
    column = NumberColumn.fit(values, 4)
    np.testing.assert_allclose(column.edges, np.array([0, 25, 50, 75, 100]) ** 2)
    np.testing.assert_allclose(column.binned(np.array([625 + 0.6 * 1875]))[0], [0.5, 0.1, -0.5, -0.5])
    assert NumberColumn.fit(values, 24).num_bins == 10  # 10 samples each
    assert NumberColumn.fit(np.array([0.0] * 99 + [1]), 9).num_bins == 0  # the only edges are 0 and 1
    tiny = NumberColumn.fit(np.array([0, 1e-310, 2e-310]), 2)
    np.testing.assert_array_equal(tiny.binned(np.array([1e300])), [[0.5, 0.5]])
    without = NumberColumn.fit(np.array([0.0, 1, 2, 3, 4]), 2)  # training had no missing value: then it is the median
    np.testing.assert_array_equal(without.binned(np.array([np.nan])), without.binned(np.array([2.0])))


def test_the_columns_of_an_encoded_table():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"c": ["b", "a", "a", None, "b", "c"], "n": [0, 1, 2, 3, 4, np.nan], "k": 1.0})
    encoder = TableEncoder.fit(Table(frame))
    assert encoder.columns[0] == ["a", "b", None, "c"]  # the most frequent first
    assert (encoder.num_plain, encoder.num_columns) == (4 + 2 + 1, 4 + 2 + 1 + 2)
    encoded = encoder.encode(Table(frame.assign(c=["b", "a", "never", None, "b", "c"])))
    assert encoded.dtype == np.float32
    one_hot = [[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0], [0, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 1]]
    np.testing.assert_array_equal(encoded[:, :4], one_hot)
    np.testing.assert_allclose(encoded[:, 4], [*clipped(np.array([-1, -0.5, 0, 0.5, 1])), 0], rtol=1e-6)
    np.testing.assert_array_equal(encoded[:, 5], [0, 0, 0, 0, 0, 1])
    np.testing.assert_array_equal(encoded[:, 6], 0)
    np.testing.assert_allclose(encoded[:, 7:], [[-0.5, -0.5], [0, -0.5], [0.5, -0.5], [0.5, 0], [0.5, 0.5], [0, 0]])


def test_a_category_with_many_levels():
    levels = np.repeat(np.arange(150), np.arange(150) + 1)[:, None].astype(object)
    table = Table(levels, [True])
    encoder = TableEncoder.fit(table)
    assert encoder.num_plain == encoder.num_columns == 100
    assert encoder.columns == [[str(level) for level in range(149, 49, -1)]]
    encoded = encoder.encode(table)
    np.testing.assert_array_equal(encoded.sum(axis=1), levels[:, 0] >= 50)


def test_levels_of_numbers():
    table = Table(np.array([[1.0], [2.5], [np.nan]]), [True])
    assert table.columns[0].tolist() == ["1", "2.5", None]
    table = Table(np.array([[1], ["1"], [True], [None]], dtype=object))
    assert (table.is_category, table.columns[0].tolist()) == ([True], ["1", "1", "True", None])


# ---- Recipes, folds, ensembles ----


def problem(y, num_outputs=1, *, x=None, folds=None, sample_weight=None):
    x = np.zeros((len(y), 2), np.float32) if x is None else x
    folds = np.arange(len(y)) % 2 if folds is None else folds
    return Problem(x, 1, y, num_outputs, sample_weight, folds, 0)


def bags_of(a_problem, *predictions):
    bags = [Bag(a_problem, Recipe()) for _ in predictions]
    for bag, prediction in zip(bags, predictions, strict=True):
        bag.held_out[...] = prediction
    return bags


def test_the_weights_of_the_bags():
    y = np.arange(6, dtype=np.float32)[:, None]
    one = problem(y)
    sign = np.array([1, -1, 1, -1, 1, -1])[:, None]
    for predictions, expected in (
        ([y + 1, y], [0, 1]),
        ([y + 1, y - 1], [0.5, 0.5]),
        ([y + 3, y + 7, y - 1], [0.25, 0, 0.75]),
        ([y + sign, y + 9, y - sign], [0.5, 0, 0.5]),
        ([y + 2], [1]),
    ):
        bags = bags_of(one, *predictions)
        bagging.choose_weights(one, bags)
        np.testing.assert_allclose([bag.weight for bag in bags], expected, atol=1e-12)


def test_the_ensemble_is_at_least_as_good_as_its_best_bag():
    random = np.random.default_rng(0)
    labels = random.integers(0, 3, 50).astype(np.int32)
    one = problem(labels, 3, sample_weight=random.random(50))
    bags = bags_of(one, *(random.dirichlet([1, 1, 1], 50) for _ in range(5)))
    bagging.choose_weights(one, bags)
    mixed = sum(bag.weight * bag.held_out for bag in bags)
    losses = [bagging.mean_loss(bag.held_out, labels, one.sample_weight) for bag in bags]
    assert sum(bag.weight for bag in bags) == pytest.approx(1)
    assert bagging.mean_loss(mixed, labels, one.sample_weight) < min(losses)
    for bag in bags:  # the loss is convex: a step from a bag towards the ensemble helps
        half = bagging.mean_loss((mixed + bag.held_out) / 2, labels, one.sample_weight)
        assert half < bagging.mean_loss(bag.held_out, labels, one.sample_weight)


def test_the_mean_loss():
    p = np.array([[0.5, 0.5], [0.1, 0.9], [np.nan, np.nan], [1, 0]])
    labels, weights = np.array([0, 1, 0, 0]), np.array([1.0, 2, 5, 1])
    assert bagging.mean_loss(p, labels, None) == pytest.approx((math.log(2) - math.log(0.9)) / 3)
    assert bagging.mean_loss(p, labels, weights) == pytest.approx((math.log(2) - 2 * math.log(0.9)) / 4)
    assert bagging.mean_loss(p, np.array([0, 1, 0, 1]), None) > 5  # finite, although the label had a probability of 0
    numbers = np.array([[1.0], [np.nan], [4.0]])
    assert bagging.mean_loss(numbers, np.array([[0.0], [9], [2]]), None) == pytest.approx(2.5)
    assert bagging.mean_loss(numbers, np.array([[0.0], [9], [2]]), np.array([3.0, 1, 1])) == pytest.approx(7 / 4)


@pytest.mark.parametrize("num_folds", [2, 5, 7])
def test_folds_have_their_share_of_each_class(num_folds):
    y = np.repeat([0, 1, 2], [100, 37, 9])[RNG.permutation(146)]
    folds = bagging.make_folds(y, num_folds, np.random.default_rng(0))
    sizes = np.bincount(folds, minlength=num_folds)
    assert len(sizes) == num_folds
    assert sizes.max() - sizes.min() <= 1
    for label in range(3):
        counts = np.bincount(folds[y == label], minlength=num_folds)
        assert counts.max() - counts.min() <= 2
    np.testing.assert_array_equal(folds, bagging.make_folds(y, num_folds, np.random.default_rng(0)))
    assert (folds != bagging.make_folds(y, num_folds, np.random.default_rng(1))).any()


def test_folds_have_their_share_of_each_range_of_targets():
    y = RNG.normal(size=100)
    folds = bagging.make_folds(y, 5, np.random.default_rng(0))
    in_order = np.sort(folds[np.argsort(y)].reshape(20, 5), axis=1)
    np.testing.assert_array_equal(in_order, np.tile(np.arange(5), (20, 1)))


def test_the_learning_rate_is_in_cycles():
    """Of 1, 2, 4 and 8 fifteenths of the time; at the end of each it is 0."""
    for time in (0, 4, 12, 28, 60):
        assert bagging._rate(time, 60, peak=0.3) == pytest.approx(0, abs=1e-9)
    for cycle in range(4):
        middle = (2 ** (cycle + 0.5) - 1) / 15
        assert bagging._rate(middle, 1, peak=0.3) == pytest.approx(0.3)
    rates = np.array([bagging._rate(time, 1, peak=0.3) for time in np.linspace(0, 1, 3001)])
    assert (rates >= 0).all()
    assert ((rates[1:-1] > rates[:-2]) & (rates[1:-1] > rates[2:])).sum() == 4


def test_label_smoothing():
    y = np.array([2, 0], dtype=np.int32)
    smoothed = bagging._smoothed(y, 4, 0.1)
    np.testing.assert_allclose(smoothed, [[0.025, 0.025, 0.925, 0.025], [0.925, 0.025, 0.025, 0.025]], rtol=1e-6)
    assert bagging._smoothed(y, 4, 0.0) is y
    numbers = np.ones((2, 1))
    assert bagging._smoothed(numbers, 1, 0.1) is numbers


def test_the_plan():
    """An epoch of n samples, P parameters and k folds costs 3 n P (k - 1) multiply-adds; effort=1 is 1e12."""
    y = np.zeros((1000, 1), np.float32)
    one = problem(y, x=np.zeros((1000, 10), np.float32), folds=np.arange(1000) % 5)
    cost = 3 * 1000 * (11 * 128 + 2 * 129 * 128 + 129) * 4
    assert Recipe().num_parameters(10, 1) == 11 * 128 + 2 * 129 * 128 + 129
    assert Plan.make(one, 1e9) == (8, 64, 64)
    assert Plan.make(one, 1e-9) == (2, 4, 64)
    assert Plan.make(one, 160 * cost / 1e12 * 1.0001) == (4, 40, 64)
    assert Plan.make(one, 70 * cost / 1e12 * 1.0001) == (4, 17, 64)
    assert Plan.make(one, 400 * cost / 1e12 * 1.0001) == (6, 64, 64)
    for num, epochs in ((50_000, 24), (400_000, 4)):
        large = problem(np.zeros((num, 1), np.float32), x=np.zeros((num, 10), np.float32), folds=np.arange(num) % 5)
        assert Plan.make(large, 1.0)[:2] == (2, epochs)
    sizes = [Plan.make(problem(np.zeros((num, 1), np.float32)), 1).batch_size for num in (1000, 10_000, 100_000)]
    assert 64 == sizes[0] <= sizes[1] <= sizes[2] > 64


@pytest.mark.parametrize("is_classifier", [True, False])
def test_recipes(is_classifier):
    recipes = draw_recipes(12, 0, is_classifier=is_classifier, is_skewed=False)
    assert len(set(recipes)) == len(recipes) == 12
    assert recipes == draw_recipes(12, 0, is_classifier=is_classifier, is_skewed=False)
    assert recipes[:3] == draw_recipes(3, 1, is_classifier=is_classifier, is_skewed=False)
    other = draw_recipes(12, 1, is_classifier=is_classifier, is_skewed=False)
    assert recipes[:4] == other[:4]
    assert set(recipes[4:]).isdisjoint(other[4:])
    x = RNG.normal(size=(50, 6)).astype(np.float32) + 3
    for recipe in recipes:
        net = recipe.network(x, 4, "softmax", 0)
        assert net.parameters.size == recipe.num_parameters(6, 4)
        np.testing.assert_allclose(
            net.predict(x), recipe._replace(input_scale=7.0).network(x, 4, "softmax", 0).predict(x), rtol=1e-4
        )


def test_skewed_targets_have_a_recipe_that_learns_logarithms():
    assert any(recipe.uses_log for recipe in draw_recipes(2, 0, is_classifier=False, is_skewed=True))
    assert not any(recipe.uses_log for recipe in draw_recipes(12, 0, is_classifier=False, is_skewed=False))


def test_log_target():
    y = np.exp(np.random.default_rng(0).normal(2, 1, size=1000))
    target = LogTarget.of(y, y.mean(), y.std())
    np.testing.assert_allclose(target.y.mean(), 0, atol=1e-6)
    np.testing.assert_allclose(target.y.std(), 1, rtol=1e-5)
    large = y > np.quantile(y, 0.01)  # smaller ones count as that quantile
    np.testing.assert_allclose(
        target.standardised(target.y, 1.0)[large, 0], ((y - y.mean()) / y.std())[large], rtol=1e-4, atol=1e-5
    )
    # The same output for all: the factor makes it the mean.
    outputs = np.zeros((1000, 1))
    outputs[::2] = np.nan
    factor = target.factor(outputs)
    floored = np.maximum(y, np.quantile(y, 0.01))
    np.testing.assert_allclose(
        target.standardised(np.zeros((1, 1)), factor) * y.std() + y.mean(), floored[1::2].mean(), rtol=1e-5
    )
    assert target.positive(np.array([[1e9]])) == pytest.approx(y.max())


def test_targets_without_logarithms():
    skewed = np.exp(np.random.default_rng(0).normal(size=1000))
    assert LogTarget.of(skewed - skewed.min(), skewed.mean(), skewed.std()) is None
    even = np.linspace(1, 2, 1000)
    assert LogTarget.of(even, even.mean(), even.std()) is None
    assert LogTarget.of(np.ones(10), 1.0, 1.0) is None


def test_logarithms_help_where_effects_multiply():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(600, 3))
    y = np.exp(x.sum(axis=1) + 0.1 * rng.normal(size=600))
    regressor = TabularRegressor(effort=0.05, random_state=0).fit(x[:400], y[:400])
    assert any(bag.recipe.uses_log for bag in regressor._bags)
    assert regressor.score(x[400:], y[400:]) > 0.8
    assert (regressor.predict(x) > 0).all()


def test_networks_do_not_see_the_fold_that_they_predict():
    """A number of its own for each sample is learned by heart, and says nothing of others: the labels are noise."""
    random = np.random.default_rng(0)
    x = random.normal(size=(60, 40)).astype(np.float32)
    labels = random.integers(0, 2, 60).astype(np.int32)
    folds = bagging.make_folds(labels, 3, random)
    one = problem(labels, 2, x=x, folds=folds)._replace(num_plain=40)
    bag = Bag(one, Recipe())
    bagging.fit_bags(one, [bag], [0, 1], Plan(1, 24, 16))
    np.testing.assert_array_equal(np.isnan(bag.held_out[:, 0]), folds == 2)
    bagging.fit_bags(one, [bag], [2], Plan(1, 24, 16))
    assert len(bag.networks) == 3
    for fold, net in enumerate(bag.networks):
        np.testing.assert_array_equal(bag.held_out[folds == fold], net.predict(x[folds == fold]))
    assert bagging.mean_loss(bag.held_out, labels, None) > 0.6
    np.testing.assert_allclose(bag.predict(x, 40), np.mean([net.predict(x) for net in bag.networks], axis=0), rtol=1e-6)


def test_a_recipe_without_bins_sees_the_plain_columns_only():
    random = np.random.default_rng(0)
    x = random.normal(size=(40, 5)).astype(np.float32)
    one = problem(x[:, :1], x=x)._replace(num_plain=2)
    for recipe, columns in ((Recipe(), 5), (Recipe(uses_bins=False), 2)):
        bag = Bag(one, recipe)
        bagging.fit_bags(one, [bag], [0, 1], Plan(1, 2, 16))
        assert bag.networks[0].weights[0].shape[0] == columns
        changed = x.copy()
        changed[:, 2:] = 0
        assert (bag.predict(changed, 2) == bag.predict(x, 2)).all() == (columns == 2)


def test_the_temperature():
    """Probabilities that are the true ones to the power of 2, and normalised, have the temperature 2."""
    random = np.random.default_rng(0)
    p = random.dirichlet([1, 1, 1], 20_000)
    labels = (random.random((20_000, 1)) > p.cumsum(axis=1)).sum(axis=1)
    for power in (0.5, 1, 2):
        given = p**power / (p**power).sum(axis=1, keepdims=True)
        assert tabular._best_temperature(given, labels, None) == pytest.approx(power, rel=0.03)
        np.testing.assert_allclose(tabular._tempered(given, power), p, atol=1e-6)
    weight = np.where(p.argmax(axis=1) == labels, 1.0, 0.0)  # of those that are right only: the surer, the better
    assert tabular._best_temperature(p, labels, weight) < 0.21
    few = np.tile([0.8, 0.2], (20, 1))  # all are right: the smallest loss would be at the lowest temperature
    assert 0.5 < tabular._best_temperature(few, np.zeros(20, dtype=int), None) < 0.9
