"""`nnpy.sklearn` beside scikit-learn's own multilayer perceptrons: the same program gives the same numbers."""

import copy
import inspect
import os
import pickle
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn", minversion="1.7")

from scipy import sparse
from sklearn import datasets, neural_network
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import compute_sample_weight
from sklearn.utils.estimator_checks import check_estimator

import nnpy
from nnpy.sklearn import MLPClassifier, MLPRegressor

RNG = np.random.default_rng(0)
X = RNG.normal(size=(150, 6))
LABELS = np.array(["a", "b", "c"])[np.argmax(X[:, :3] + 0.3 * RNG.normal(size=(150, 3)), axis=1)]
BINARY = X[:, 0] + 0.3 * RNG.normal(size=150) > 0
SEVERAL = X[:, :4] + 0.3 * RNG.normal(size=(150, 4)) > 0
Y = np.sin(X[:, 0]) + X[:, 1]
OUTPUTS = np.column_stack([Y, X[:, 2] ** 2])
WEIGHTS = RNG.random(150) + 0.1
OURS = {neural_network.MLPClassifier: MLPClassifier, neural_network.MLPRegressor: MLPRegressor}
PROBLEMS = {
    "classes": (neural_network.MLPClassifier, LABELS),
    "binary": (neural_network.MLPClassifier, BINARY),
    "multilabel": (neural_network.MLPClassifier, SEVERAL),
    "number": (neural_network.MLPRegressor, Y),
    "numbers": (neural_network.MLPRegressor, OUTPUTS),
}


def fit_both(problem, *, x=X, y=None, fit=None, **parameters):
    """Fit scikit-learn's estimator and ours; both must warn of the same things."""
    theirs, targets = PROBLEMS[problem]
    if problem == "classes" and "early_stopping" in parameters:  # scikit-learn 1.7 cannot do that with strings
        targets = np.unique(targets, return_inverse=True)[1]
    parameters = {"hidden_layer_sizes": (8, 5), "max_iter": 12, "random_state": 3, **parameters}
    fitted, messages = [], []
    for kind in (theirs, OURS[theirs]):
        estimator = kind(**parameters)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            (fit or kind.fit)(estimator, x, targets if y is None else y)
        messages.append([(str(warning.message), warning.category) for warning in caught])
        fitted.append(estimator)
    assert messages[0] == messages[1]
    return fitted


def assert_same(theirs, ours, *, tolerance=1e-4, x=X):
    """Everything that is public is the same, numbers within a tolerance."""
    names = {name for name in vars(theirs) if name.endswith("_") and not name.startswith("_")}
    extra = {"validation_loss_curve_"}
    assert names == {name for name in vars(ours) if name.endswith("_") and not name.startswith("_")} - extra
    for name in names:
        a, b = getattr(theirs, name), getattr(ours, name)
        if isinstance(a, list):
            assert len(a) == len(b), name
            for one, other in zip(a, b, strict=True):
                np.testing.assert_allclose(other, one, rtol=tolerance, atol=tolerance, err_msg=name)
        elif isinstance(a, (float, np.floating)):
            assert b == pytest.approx(a, rel=tolerance, abs=tolerance), name
        else:
            np.testing.assert_array_equal(a, b, err_msg=name)
    methods = ["predict_proba", "predict_log_proba"] if hasattr(theirs, "predict_proba") else ["predict"]
    for method in methods:
        one, other = getattr(theirs, method)(x), getattr(ours, method)(x)
        assert (one.dtype, one.shape) == (other.dtype, other.shape)
        np.testing.assert_allclose(other, one, rtol=10 * tolerance, atol=10 * tolerance)
    np.testing.assert_array_equal(np.shape(theirs.predict(x)), np.shape(ours.predict(x)))


# ---- The same numbers ----


@pytest.mark.parametrize("problem", PROBLEMS)
@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"solver": "sgd", "learning_rate_init": 0.05},
        {"solver": "sgd", "momentum": 0.0, "nesterovs_momentum": True},
        {"solver": "sgd", "momentum": 0.7, "nesterovs_momentum": False, "learning_rate_init": 0.05},
        {"solver": "sgd", "learning_rate": "invscaling", "learning_rate_init": 0.5, "power_t": 0.3},
        {"solver": "sgd", "learning_rate": "adaptive", "learning_rate_init": 0.1, "tol": 0.5, "n_iter_no_change": 1},
        {"activation": "tanh", "alpha": 0.5},
        {"activation": "logistic", "batch_size": 37, "learning_rate_init": 0.01},
        {"activation": "identity", "shuffle": False},
        {"beta_1": 0.5, "beta_2": 0.9, "epsilon": 0.1},
        {"early_stopping": True, "n_iter_no_change": 2, "validation_fraction": 0.2},
        {"tol": 1.0, "n_iter_no_change": 3, "max_iter": 50},
        {"batch_size": 1000},
        {"hidden_layer_sizes": ()},
        {"hidden_layer_sizes": 7, "batch_size": 1, "max_iter": 2},
    ],
    ids=str,
)
def test_the_numbers_are_those_of_scikit_learn(problem, parameters):
    assert_same(*fit_both(problem, **parameters))


@pytest.mark.parametrize("problem", PROBLEMS)
@pytest.mark.parametrize("parameters", [{}, {"alpha": 1.0, "activation": "tanh"}, {"max_iter": 3}], ids=str)
def test_lbfgs(problem, parameters):
    """The first iterations are the same; later, rounding decides how the minimum is approached."""
    theirs, ours = fit_both(problem, solver="lbfgs", **{"max_iter": 8, **parameters})
    assert_same(theirs, ours, tolerance=2e-3)
    theirs, ours = fit_both(problem, solver="lbfgs", max_iter=3000, alpha=0.1, hidden_layer_sizes=())  # convex
    assert ours.loss_ == pytest.approx(theirs.loss_, rel=1e-5)
    np.testing.assert_allclose(ours.coefs_[0], theirs.coefs_[0], rtol=0.01, atol=0.01)


@pytest.mark.parametrize("problem", ["classes", "binary", "number", "numbers"])
@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
def test_sample_weights(problem, solver):
    parameters = {"solver": solver, "batch_size": 40, "max_iter": 6, "activation": "tanh"}
    theirs, ours = fit_both(problem, fit=lambda e, x, y: e.fit(x, y, sample_weight=WEIGHTS), **parameters)
    assert_same(theirs, ours, tolerance=2e-3)
    _, unweighted = fit_both(problem, **parameters)
    assert np.abs(unweighted.coefs_[0] - ours.coefs_[0]).max() > 1e-3
    if solver == "adam":
        theirs, ours = fit_both(
            problem, fit=lambda e, x, y: e.fit(x, y, sample_weight=WEIGHTS), early_stopping=True, **parameters
        )
        assert_same(theirs, ours, tolerance=1e-3)


@pytest.mark.parametrize("problem", PROBLEMS)
def test_partial_fit_and_warm_start(problem):
    def stream(estimator, x, y):
        for part in (slice(0, 70), slice(70, 150), slice(30, 90)):
            options = {"classes": np.unique(y)} if problem in {"classes", "binary"} else {}
            if problem == "multilabel":
                options = {"classes": np.arange(4)}
            estimator.partial_fit(x[part], y[part], **options)

    for solver in ("adam", "sgd"):
        assert_same(*fit_both(problem, fit=stream, solver=solver, learning_rate="adaptive"))

    def warm(estimator, x, y):
        estimator.fit(x, y).set_params(max_iter=4).fit(x, y)

    assert_same(*fit_both(problem, fit=warm, warm_start=True))


@pytest.mark.parametrize("problem", PROBLEMS)
@pytest.mark.parametrize("form", [np.float32, sparse.csr_matrix, sparse.csc_matrix, "list"])
def test_inputs(problem, form):
    x = X.tolist() if form == "list" else form(np.where(np.abs(X) > 0.5, X, 0))
    x = X.astype(np.float32) if form is np.float32 else x
    theirs, ours = fit_both(problem, x=x)
    assert_same(theirs, ours, x=x, tolerance=1e-4)


@pytest.mark.parametrize("form", [sparse.csc_matrix, np.asfortranarray])
@pytest.mark.parametrize("parameters", [{"solver": "lbfgs"}, {"shuffle": False}], ids=str)
def test_inputs_in_the_order_of_columns(form, parameters):
    x = form(np.where(np.abs(X) > 0.5, X, 0))
    theirs, ours = fit_both("classes", x=x, **parameters)
    assert_same(theirs, ours, x=x, tolerance=1e-2 if "solver" in parameters else 1e-4)


def test_data_frames():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=list("abcdef"))
    theirs, ours = fit_both("classes", x=frame)
    np.testing.assert_array_equal(theirs.feature_names_in_, ours.feature_names_in_)
    assert_same(theirs, ours, x=frame)
    with pytest.raises(ValueError, match="feature names should match"):
        ours.predict(frame[list("fedcba")])


def test_poisson():
    counts = RNG.poisson(np.exp(X[:, 0]))
    theirs, ours = fit_both("number", y=counts, loss="poisson")
    assert_same(theirs, ours, tolerance=1e-9)
    for options in ({"dropout": 0.5}, {"clip_norm": 1.0}, {"activation": "silu"}, {"solver": nnpy.Adam()}):
        with pytest.raises(
            ValueError, match="^the Poisson loss is computed by scikit-learn, without dropout, clip_norm, "
        ):
            few(MLPRegressor, loss="poisson", **options).fit(X, counts)


def test_sparse_matrices_that_are_too_large_to_be_dense(monkeypatch):
    monkeypatch.setattr("nnpy.sklearn._mlp._DENSE_MAX", 100)
    for solver in ("adam", "lbfgs"):
        theirs, ours = fit_both("classes", x=sparse.csr_matrix(X), solver=solver)
        assert_same(theirs, ours)
    with pytest.raises(ValueError, match="^so large a sparse matrix is computed by scikit-learn, without dropout, "):
        few(MLPClassifier, dropout=0.5).fit(sparse.csr_matrix(X), LABELS)
    monkeypatch.setattr("nnpy.sklearn._mlp._DENSE_BLOCK", 12)
    np.testing.assert_allclose(ours.predict_proba(sparse.csr_matrix(X)), ours.predict_proba(X), rtol=1e-6)


# ---- The same interface ----


@pytest.mark.parametrize("theirs", OURS)
def test_the_parameters_are_those_of_scikit_learn(theirs):
    ours = OURS[theirs]
    expected = inspect.signature(theirs.__init__).parameters
    parameters = inspect.signature(ours.__init__).parameters
    assert list(parameters)[: len(expected)] == list(expected)
    for name, parameter in expected.items():
        assert (parameters[name].default, parameters[name].kind) == (parameter.default, parameter.kind)
    assert set(theirs().get_params()) <= set(ours().get_params())
    assert issubclass(ours, theirs)
    assert ours.__module__ == "nnpy.sklearn"
    for name in dir(theirs):
        assert hasattr(ours, name)
    for name in parameters:
        assert name == "self" or name in inspect.getdoc(ours), f"{name} is not documented"


FAILS = {  # scikit-learn demands 1e-7, which is the precision of float32 before any arithmetic
    "check_sample_weight_equivalence_on_dense_data": "float32",
    "check_sample_weight_equivalence_on_sparse_data": "float32",
}


@pytest.mark.parametrize("kind", OURS.values())
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.filterwarnings("ignore")
def test_scikit_learns_own_checks(kind, solver):
    results = check_estimator(kind(max_iter=100, solver=solver), expected_failed_checks=FAILS, on_skip=None)
    failed = {result["check_name"] for result in results if result["status"] == "xfail"}
    assert failed <= set(FAILS)
    assert len(results) > 50


@pytest.mark.parametrize("theirs", OURS)
@pytest.mark.parametrize(
    ("parameters", "data"),
    [
        ({"hidden_layer_sizes": (-1,)}, {}),
        ({"activation": "cube"}, {}),
        ({"solver": "newton"}, {}),
        ({"alpha": -1}, {}),
        ({"momentum": 2}, {}),
        ({"early_stopping": True, "validation_fraction": 0.001}, {}),
        ({}, {"X": np.full((150, 6), np.nan)}),
        ({}, {"X": X[:, 0]}),
        ({}, {"y": Y[:20]}),
        ({}, {"sample_weight": np.ones(3)}),
        ({}, {"X": sparse.coo_matrix((0, 6))}),
    ],
    ids=str,
)
def test_errors_are_those_of_scikit_learn(theirs, parameters, data):
    y = LABELS if theirs is neural_network.MLPClassifier else Y
    messages = []
    for kind in (theirs, OURS[theirs]):
        with pytest.raises((ValueError, TypeError)) as error:
            kind(**parameters).fit(**{"X": X, "y": y, **data})
        known = "" if "activation" in parameters or "solver" in parameters else str(error.value)  # we know more names
        messages.append((type(error.value), known.replace("StrOptions", "")))
    assert messages[0] == messages[1]


def test_methods_that_are_not_there():
    with pytest.raises(AttributeError, match="^This 'MLPClassifier' has no attribute 'partial_fit'$"):
        _ = MLPClassifier(solver="lbfgs").partial_fit
    with pytest.raises(ValueError, match="^partial_fit does not support early_stopping=True$"):
        MLPClassifier(early_stopping=True).partial_fit(X, LABELS, classes=np.unique(LABELS))
    with pytest.raises(NotFittedError):
        MLPClassifier().predict(X)


def test_verbose_prints_what_scikit_learn_prints(capsys):
    printed = []
    for kind in (neural_network.MLPClassifier, MLPClassifier):
        estimator = kind(
            (4,),
            verbose=True,
            random_state=0,
            solver="sgd",
            learning_rate="adaptive",
            tol=0.5,
            n_iter_no_change=1,
            max_iter=40,
            learning_rate_init=0.001,
        )
        estimator.fit(X, LABELS)
        printed.append(capsys.readouterr().out.splitlines())
    assert len(printed[0]) == len(printed[1]) > 10
    for one, other in zip(*printed, strict=True):
        assert one.split("=")[0] == other.split("=")[0]
        if "Iteration" in one:
            assert float(one.split("=")[1]) == pytest.approx(float(other.split("=")[1]), rel=1e-5)
        else:
            assert one == other


@pytest.mark.parametrize("kind", OURS.values())
def test_divergence_is_scikit_learns_error(kind):
    y = LABELS if kind is MLPClassifier else Y
    with pytest.raises(ValueError, match="^Solver produced non-finite parameter weights"):
        kind(solver="sgd", learning_rate_init=1e30, random_state=0).fit(X * 1e3, y)


def test_ctrl_c_keeps_what_was_trained(monkeypatch):
    from nnpy.sklearn._solver import Solver

    train, calls = Solver.train_epoch, []

    def interrupted(*args, **options):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return train(*args, **options)

    monkeypatch.setattr(Solver, "train_epoch", interrupted)
    with pytest.warns(UserWarning, match=r"^Training interrupted by user\.$"):
        classifier = MLPClassifier(max_iter=100, random_state=0).fit(X, LABELS)
    assert classifier.n_iter_ == len(classifier.loss_curve_) == 3
    monkeypatch.undo()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        other = MLPClassifier(max_iter=3, random_state=0).fit(X, LABELS)
    np.testing.assert_array_equal(classifier.coefs_[0], other.coefs_[0])


# ---- Copies, files, other parts of scikit-learn ----


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda e: pickle.loads(pickle.dumps(e))])
def test_copies_predict_and_go_on_with_the_same_bits(duplicate):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        estimator = MLPClassifier((8,), max_iter=5, random_state=0).fit(X, LABELS)
    other = duplicate(estimator)
    np.testing.assert_array_equal(other.predict_proba(X), estimator.predict_proba(X))
    if duplicate is copy.copy:  # it shares the weights, as with scikit-learn
        return
    for one in (estimator, other):
        one.random_state = 5
        one.partial_fit(X, LABELS)
    for one, two in zip(estimator.coefs_, other.coefs_, strict=True):
        np.testing.assert_array_equal(one, two)
        assert not np.shares_memory(one, two)
    assert not hasattr(clone(estimator), "coefs_")


def test_coefficients_are_views_and_may_be_replaced():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        regressor = MLPRegressor(hidden_layer_sizes=(4,), max_iter=3, random_state=0).fit(X, Y)
    before = regressor.predict(X)
    regressor.intercepts_[-1] += 1
    np.testing.assert_allclose(regressor.predict(X), before + 1, rtol=1e-5)
    regressor.coefs_ = [2 * coef.astype(np.float64) for coef in regressor.coefs_]
    regressor.intercepts_ = [0 * bias for bias in regressor.intercepts_]
    expected = np.maximum(X @ regressor.coefs_[0], 0) @ regressor.coefs_[1]
    np.testing.assert_allclose(regressor.predict(X), expected[:, 0], rtol=1e-4, atol=1e-5)
    regressor.activation = "tanh"
    expected = np.tanh(X @ regressor.coefs_[0]) @ regressor.coefs_[1]
    np.testing.assert_allclose(regressor.predict(X), expected[:, 0], rtol=1e-4, atol=1e-5)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_pipelines_searches_and_calibration():
    pipeline = make_pipeline(StandardScaler(), MLPClassifier((8,), max_iter=600, random_state=0))
    assert cross_val_score(pipeline, X, LABELS, n_jobs=2).mean() > 0.6
    search = GridSearchCV(pipeline, {"mlpclassifier__alpha": [1e-4, 1.0]}, cv=3, n_jobs=2).fit(X, LABELS)
    assert search.best_score_ > 0.6
    calibrated = CalibratedClassifierCV(pipeline, cv=2).fit(X, LABELS)
    np.testing.assert_allclose(calibrated.predict_proba(X).sum(axis=1), 1)
    assert make_pipeline(StandardScaler(), MLPRegressor(solver="lbfgs", random_state=0)).fit(X, Y).score(X, Y) > 0.95


# ---- Beyond scikit-learn ----


def few(kind, **parameters):
    return kind(**{"hidden_layer_sizes": (8, 5), "max_iter": 30, "random_state": 3, **parameters})


pytestmark = pytest.mark.filterwarnings("ignore:Stochastic Optimizer")


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_class_weights_are_sample_weights(solver):
    table = {"a": 3.0, "b": 0.5, "c": 1.0}
    for class_weight in ("balanced", table):
        one = few(MLPClassifier, class_weight=class_weight, solver=solver).fit(X, LABELS, sample_weight=WEIGHTS)
        weights = WEIGHTS * compute_sample_weight(class_weight, LABELS)
        other = few(MLPClassifier, solver=solver).fit(X, LABELS, sample_weight=weights)
        np.testing.assert_array_equal(one.coefs_[0], other.coefs_[0])
    one = few(MLPClassifier, class_weight={False: 1, True: 9}, solver=solver).fit(X, BINARY)
    assert one.predict(X).mean() > few(MLPClassifier, solver=solver).fit(X, BINARY).predict(X).mean()
    with pytest.raises(ValueError, match="^class_weight is not supported for multilabel targets$"):
        few(MLPClassifier, class_weight="balanced").fit(X, SEVERAL)
    with pytest.raises(ValueError, match="^class_weight and sample_weight give all samples a weight of 0$"):
        few(MLPClassifier, class_weight=dict.fromkeys("abc", 0), solver=solver).fit(X, LABELS)
    with pytest.raises(ValueError, match="'class_weight' parameter of MLPClassifier must be"):
        few(MLPClassifier, class_weight="heavy").fit(X, LABELS)


def test_an_activation_for_each_layer():
    mixed = few(MLPRegressor, activation=["silu", "tanh"], max_iter=300).fit(X, Y)
    net = nnpy.NeuralNetwork([6, 8, 5, 1], ["silu", "tanh", "linear"])
    net.parameters = np.concatenate(
        [a.ravel() for pair in zip(mixed.coefs_, mixed.intercepts_, strict=True) for a in pair]
    )
    np.testing.assert_array_equal(mixed.predict(X), net.predict(X)[:, 0].astype(np.float64))
    assert few(MLPRegressor, activation="gelu", max_iter=300).fit(X, Y).score(X, Y) > 0.3
    with pytest.raises(
        ValueError, match=r"^activation must be a name, or 2, one for each hidden layer, got \['tanh'\]$"
    ):
        few(MLPRegressor, activation=["tanh"]).fit(X, Y)
    with pytest.raises(ValueError, match="^an activation must be one of .*, got 'cube'$"):
        few(MLPRegressor, activation=["tanh", "cube"]).fit(X, Y)


def test_dropout_and_clipping():
    plain = few(MLPRegressor).fit(X, Y)
    dropped = few(MLPRegressor, dropout=0.5).fit(X, Y)
    np.testing.assert_array_equal(dropped.coefs_[0], few(MLPRegressor, dropout=[0.5, 0.5]).fit(X, Y).coefs_[0])
    assert dropped.loss_ > plain.loss_
    clipped = few(MLPRegressor, clip_norm=1e-3, solver="sgd").fit(X, Y)
    start = few(MLPRegressor, max_iter=1, learning_rate_init=1e-30, solver="sgd").fit(X, Y)
    assert 0 < np.linalg.norm(clipped.coefs_[0] - start.coefs_[0]) < 1e-3
    for options in ({"dropout": 0.5}, {"clip_norm": 1.0}):
        with pytest.raises(ValueError, match='^dropout and clip_norm are not for solver="lbfgs"$'):
            few(MLPRegressor, solver="lbfgs", **options).fit(X, Y)
    with pytest.raises(ValueError, match="^dropout must be one number, or 2"):
        few(MLPRegressor, dropout=[0.5]).fit(X, Y)


def test_losses():
    for loss, summary in (("absolute_error", np.median), ("squared_error", np.mean), ("huber", None)):
        regressor = few(
            MLPRegressor, loss=loss, hidden_layer_sizes=(), alpha=0, max_iter=3000, tol=0, n_iter_no_change=3000
        )
        y = np.exp(Y)
        value = regressor.set_params(learning_rate_init=0.01).fit(0 * X, y).predict(X[:1] * 0)[0]
        if summary is not None:
            assert value == pytest.approx(summary(y), abs=0.03)
        else:
            assert np.median(y) < value < np.mean(y)
    y = RNG.normal(size=150)
    quantile = few(MLPRegressor, loss="quantile", quantile=0.8, hidden_layer_sizes=(), alpha=0, max_iter=2000, tol=0)
    quantile.set_params(n_iter_no_change=2000, learning_rate_init=0.01).fit(0 * X, y)
    assert np.mean(y < quantile.predict(0 * X)) == pytest.approx(0.8, abs=0.02)
    one = few(MLPRegressor, loss="huber").fit(X, Y)
    other = few(MLPRegressor, loss=nnpy.Huber(1.0)).fit(X, Y)
    np.testing.assert_array_equal(one.coefs_[0], other.coefs_[0])
    with pytest.raises(ValueError, match="'loss' parameter of MLPRegressor must be"):
        few(MLPRegressor, loss="mse").fit(X, Y)


def test_optimizers_of_nnpy():
    for optimizer in (nnpy.AdamW(0.01), nnpy.RMSprop(nnpy.CosineDecay(0.01)), nnpy.Rprop(), nnpy.LevenbergMarquardt()):
        regressor = few(MLPRegressor, solver=optimizer, max_iter=100, alpha=0, loss=nnpy.MeanSquaredError()).fit(X, Y)
        assert regressor.score(X, Y) > 0.5
        assert regressor.get_params()["solver"] is optimizer
        assert pickle.loads(pickle.dumps(regressor)).score(X, Y) == regressor.score(X, Y)
    one = few(MLPRegressor, solver=nnpy.Adam(0.01, eps=1e-30), alpha=0).fit(X, Y)
    other = few(MLPRegressor, solver="adam", learning_rate_init=0.01, epsilon=1e-30, alpha=0).fit(X, Y)
    np.testing.assert_allclose(one.coefs_[0], other.coefs_[0], rtol=1e-3, atol=1e-4)
    classifier = few(MLPClassifier, solver=nnpy.Adam(0.01))
    for _ in range(30):
        classifier.partial_fit(X, LABELS, classes=np.unique(LABELS))
    assert classifier.score(X, LABELS) > 0.6


@pytest.mark.parametrize("problem", PROBLEMS)
def test_validation_data_of_ones_own(problem):
    theirs, y = PROBLEMS[problem]
    kind = OURS[theirs]
    estimator = few(kind, early_stopping=True, n_iter_no_change=5, max_iter=200, learning_rate_init=0.01)
    estimator.fit(X[:100], y[:100], X_val=X[100:], y_val=y[100:])
    assert len(estimator.validation_loss_curve_) == len(estimator.validation_scores_) == estimator.n_iter_
    score = estimator.score(X[100:], y[100:])
    assert score == pytest.approx(estimator.best_validation_score_) == pytest.approx(max(estimator.validation_scores_))
    plain, watched = few(kind), few(kind)
    plain.fit(X, y)
    watched.fit(X, y, X_val=sparse.csr_matrix(X), y_val=y)
    np.testing.assert_array_equal(plain.coefs_[0], watched.coefs_[0])
    assert watched.validation_scores_ is None
    if problem.startswith("number"):
        expected = np.mean((watched.predict(X) - y) ** 2) / 2
    elif problem == "multilabel":
        p = watched.predict_proba(X)
        expected = -np.mean(np.where(y, np.log(p), np.log(1 - p)).sum(axis=1))
    else:
        p = watched.predict_proba(X)
        expected = -np.mean(np.log(p[np.arange(150), np.searchsorted(watched.classes_, y)]))
    assert watched.validation_loss_curve_[-1] == pytest.approx(expected, rel=1e-4)


def test_validation_data_that_is_refused():
    classifier, regressor = few(MLPClassifier), few(MLPRegressor)
    with pytest.raises(ValueError, match="^X_val and y_val must be given together$"):
        classifier.fit(X, LABELS, X_val=X)
    with pytest.raises(ValueError, match="^y_val has classes that y does not have: \\['z'\\]$"):
        classifier.fit(X, LABELS, X_val=X[:3], y_val=["a", "z", "b"])
    with pytest.raises(ValueError, match="^y_val must have 2 outputs as y has, got 1$"):
        regressor.fit(X, OUTPUTS, X_val=X, y_val=Y)
    with pytest.raises(ValueError, match="features"):
        regressor.fit(X, Y, X_val=X[:, :3], y_val=Y)
    with pytest.raises(
        ValueError, match='^X_val and y_val are for training in epochs: solver="lbfgs" does not use them$'
    ):
        few(MLPRegressor, solver="lbfgs").fit(X, Y, X_val=X, y_val=Y)


def test_without_scikit_learn(tmp_path):
    root = str(Path(nnpy.__file__).parent.parent)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])}
    for version, message in (
        ("None", "nnpy.sklearn needs scikit-learn: pip install 'nnpy[sklearn]'"),
        ("type(sys)('sklearn')", "nnpy.sklearn needs scikit-learn 1.7 or later, this is 1.6.2"),
    ):
        program = (
            f"import sys; m = sys.modules['sklearn'] = {version}\nif m: m.__version__ = '1.6.2'\nimport nnpy.sklearn"
        )
        result = subprocess.run(
            [sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert result.stderr.splitlines()[-1] == f"ImportError: {message}"


def test_data_of_scikit_learn():
    x, y = datasets.load_digits(return_X_y=True)
    scores = [
        kind(max_iter=60, random_state=0).fit(x[::2] / 16, y[::2]).score(x[1::2] / 16, y[1::2])
        for kind in (neural_network.MLPClassifier, MLPClassifier)
    ]
    assert scores[1] == pytest.approx(scores[0], abs=0.005)
    assert scores[1] > 0.93


def test_the_learning_rate_of_the_moment():
    x, y = datasets.load_iris(return_X_y=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        classifier = MLPClassifier(
            solver="sgd", learning_rate="invscaling", power_t=0.25, max_iter=2, random_state=0
        ).fit(x, y)
    assert classifier._optimizer.learning_rate == 0.001 / (300 + 1) ** 0.25
