"""`TabularClassifier` and `TabularRegressor`: for tables of numbers and categories, good without any settings."""

from __future__ import annotations

from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize_scalar
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, _fit_context
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (
    _check_sample_weight,
    assert_all_finite,
    check_consistent_length,
    check_is_fitted,
    column_or_1d,
    validate_data,
)

from nnpy.sklearn._bagging import Bag, LogTarget, Plan, Problem, choose_weights, fit_bags, make_folds, mean_loss
from nnpy.sklearn._recipes import draw_recipes
from nnpy.sklearn._residuals import Residuals
from nnpy.sklearn._table import Table, TableEncoder

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["TabularClassifier", "TabularRegressor"]

_SCREENING_FOLDS = 2
_TEMPERATURES = (0.2, 5.0)
_TEMPERATURE_PRIOR = 4.0  # a few samples that are all right are no reason for a temperature far from 1


class _Tabular(BaseEstimator):  # type: ignore[misc]
    """What the classifier and the regressor share."""

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "effort": [Interval(Real, 0, None, closed="neither")],
        "n_folds": [Interval(Integral, 2, None, closed="left")],
        "categorical_features": [StrOptions({"from_dtype"}), "array-like", None],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        *,
        effort: float = 1.0,
        n_folds: int = 5,
        categorical_features: Any = "from_dtype",
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        self.effort = effort
        self.n_folds = n_folds
        self.categorical_features = categorical_features
        self.random_state = random_state
        self.verbose = verbose

    # ---- Tables ----

    def _table(self, X: Any, *, reset: bool) -> Table:
        """Check X, and read its columns."""
        if hasattr(X, "columns"):
            validate_data(self, X, skip_check_array=True, reset=reset)
            if 0 in X.shape:
                what = "sample(s)" if not len(X) else "feature(s)"
                raise ValueError(f"Found array with 0 {what} (shape={X.shape}) while a minimum of 1 is required.")
        else:
            X = validate_data(self, X, dtype=None, ensure_all_finite="allow-nan", reset=reset)
        if reset:
            self._trained = False  # until the end of fit, if that comes
            self._is_category = self._given_categories()
        table = Table(X, self._is_category)
        if reset:
            self._is_category = table.is_category
        return table

    def _given_categories(self) -> list[bool] | None:
        """Return which columns are categories by the parameter; None if that is seen from the dtypes."""
        given, num = self.categorical_features, self.n_features_in_
        if given is None:
            return [False] * num
        if isinstance(given, str):
            return None
        given = np.asarray(given)
        if given.ndim != 1:
            raise ValueError(f"categorical_features must be one-dimensional, got the shape {given.shape}")
        if given.dtype == bool:
            if given.shape != (num,):
                raise ValueError(
                    f"categorical_features must have a bool for each of the {num} columns, got {given.shape}"
                )
            return list(given)
        if given.dtype.kind in "iu":
            numbers = given.tolist()
            if any(not -num <= number < num for number in numbers):
                raise ValueError(f"categorical_features must be column numbers below {num}, got {numbers}")
        else:
            names = list(getattr(self, "feature_names_in_", ()))
            unknown = [name for name in given.tolist() if name not in names]
            if unknown:
                raise ValueError(f"categorical_features has {unknown[0]!r}, which is no column of X")
            numbers = [names.index(name) for name in given.tolist()]
        return [column in {number % num for number in numbers} for column in range(num)]

    def _encode(self, X: Any) -> NDArray[np.float32]:
        check_is_fitted(self)
        return self._encoder.encode(self._table(X, reset=False))

    # ---- Training ----

    def _train(
        self,
        table: Table,
        y: NDArray[Any],
        num_outputs: int,
        sample_weight: NDArray[np.float64] | None,
        log_target: LogTarget | None = None,
    ) -> tuple[Problem, NDArray[np.float64]]:
        """Train the ensemble; return what it was trained on, and the outputs for the samples while they were left out.

        y: labels, or scaled targets of shape (n, 1).
        """
        random = check_random_state(self.random_state)
        seed = int(random.randint(2**31 - 1))
        num = len(y)
        if num < 4:
            raise ValueError(f"at least 4 samples are needed, got n_samples = {num}")
        folds = make_folds(np.ravel(y), min(self.n_folds, num // 2), np.random.default_rng(seed))
        self._encoder = TableEncoder.fit(table)
        problem = Problem(
            self._encoder.encode(table),
            self._encoder.num_plain,
            y,
            num_outputs,
            sample_weight,
            folds,
            seed,
            log_target,
        )
        plan = Plan.make(problem, self.effort)
        recipes = draw_recipes(
            plan.num_recipes, seed, is_classifier=problem.is_classifier, is_skewed=log_target is not None
        )
        bags = [Bag(problem, recipe) for recipe in recipes]
        first = list(range(min(_SCREENING_FOLDS, problem.num_folds) if len(bags) > 2 else problem.num_folds))
        self._say(f"{len(bags)} recipes, {len(first)} of {problem.num_folds} folds, {plan.num_epochs} epochs")
        fit_bags(problem, bags, first, plan)
        rest = list(range(len(first), problem.num_folds))
        if rest:
            bags.sort(key=lambda bag: mean_loss(bag.held_out, y, sample_weight))
            bags = bags[: max(2, len(bags) // 2)]
            self._say(f"the {len(bags)} best recipes, the other {len(rest)} folds")
            fit_bags(problem, bags, rest, plan)
        choose_weights(problem, bags)
        self._bags = [bag for bag in bags if bag.weight]
        held_out = np.sum([bag.weight * bag.held_out for bag in self._bags], axis=0)
        for bag in self._bags:
            self._say(f"weight {bag.weight:.2f}, loss {mean_loss(bag.held_out, y, sample_weight):.4g}: {bag.recipe}")
            bag.forget_held_out()
        self._say(f"loss of the ensemble on the folds that were left out: {mean_loss(held_out, y, sample_weight):.4g}")
        return problem, held_out

    def _outputs(self, x: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the outputs of the ensemble for an encoded table."""
        outputs = [bag.weight * bag.predict(x, self._encoder.num_plain) for bag in self._bags]
        return np.asarray(np.sum(outputs, axis=0))

    def _with_weight(
        self, table: Table, y: NDArray[Any], sample_weight: Any
    ) -> tuple[Table, NDArray[Any], NDArray[np.float64] | None]:
        """Return the samples whose weight is not 0, and their weights."""
        if sample_weight is None:
            return table, y, None
        weights = _check_sample_weight(sample_weight, np.empty((len(y), 1)), dtype=np.float64, ensure_non_negative=True)
        chosen = np.flatnonzero(weights)
        return table.take(chosen), y[chosen], weights[chosen]

    def _say(self, line: str) -> None:
        if self.verbose:
            print(f"[{type(self).__name__}] {line}", flush=True)  # noqa: T201

    def __sklearn_is_fitted__(self) -> bool:
        return getattr(self, "_trained", False)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.categorical = True
        tags.input_tags.string = True
        return tags


class TabularClassifier(ClassifierMixin, _Tabular):  # type: ignore[misc]
    """Classifier for tables: numbers of any scale, categories, missing values, without preparation or settings.

    It trains an ensemble of networks. They are chosen, weighted and calibrated by cross-validation, in seconds for thousands of
    rows and in about half a minute for 50,000.

    Parameters
    ----------
    effort : float
        Factor of the work that the training may take, positive: 0.1 for a quick look, 10 for more recipes and epochs. There are
        at least 2 recipes.
    n_folds : int
        The number of folds of the cross-validation, at least 2. Each recipe has as many networks.
    categorical_features : "from_dtype", array_like or None
        Which columns are categories: those of the dtypes category, string and object, which is "from_dtype"; a bool for each
        column; their numbers; or their names in a data frame. None for no column. As in scikit-learn's
        `sklearn.ensemble.HistGradientBoostingClassifier`.
    random_state : int, RandomState instance or None
        Determines folds, recipes, initial parameters and the order of the samples. The same int gives the same predictions, for
        any number of threads.
    verbose : int
        1 to print what is trained, and the loss.

    Attributes
    ----------
    classes_ : ndarray
        The labels, sorted: the order of the columns of `predict_proba`.
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        The names of the columns, if X was a data frame with names that are strings.

    Raises
    ------
    ValueError
        If X holds infinity, has fewer than 4 rows, or y fewer than 2 classes.

    See Also
    --------
    TabularRegressor : For numbers, with quantiles.
    MLPClassifier : A single network with settings of one's own.

    Notes
    -----
    A number is centred at its median, divided by its interquartile range and smoothly clipped to -3..3 [1]_; for half of the
    recipes it has a piecewise linear encoding as well, with bins at quantiles [2]_. A category is one-hot: its 100 most
    frequent levels at most; a level that training had not seen is all zeros. A missing number is the median, with an indicator;
    a missing category is a level of its own. Dates and durations become days.

    A recipe is a set of hyperparameters. Each recipe has `n_folds` networks, each of which is trained on all folds but one, by
    Adam with a cyclic learning rate, and keeps its parameters of the epoch that was best on that fold. If there are more than
    two recipes, only the better half goes beyond the second fold. The number of recipes and of epochs follows from the size of
    the table and `effort`. Weights of the recipes are chosen by greedy selection [3]_ for the cross-entropy of the predictions
    for the folds that were left out. Then a temperature [4]_ calibrates the probabilities.

    The folds ignore groups and time. Where rows belong together, test with data of other groups.

    References
    ----------
    .. [1] D. Holzmueller, L. Grinsztajn and I. Steinwart, "Better by default: strong pre-tuned MLPs and boosted trees on
       tabular data", NeurIPS 2024.
    .. [2] Y. Gorishniy, I. Rubachev and A. Babenko, "On embeddings for numerical features in tabular deep learning", NeurIPS
       2022.
    .. [3] R. Caruana, A. Niculescu-Mizil, G. Crew and A. Ksikes, "Ensemble selection from libraries of models", ICML 2004.
    .. [4] C. Guo, G. Pleiss, Y. Sun and K. Weinberger, "On calibration of modern neural networks", ICML 2017.

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from sklearn.model_selection import train_test_split
    >>> from nnpy.sklearn import TabularClassifier
    >>> x, x_test, y, y_test = train_test_split(*load_wine(return_X_y=True), random_state=0)
    >>> classifier = TabularClassifier(effort=0.1, random_state=0).fit(x, y)
    >>> classifier.score(x_test, y_test) > 0.95
    True
    """

    @_fit_context(prefer_skip_nested_validation=True)  # type: ignore[untyped-decorator]
    def fit(self, X: Any, y: Any, sample_weight: ArrayLike | None = None) -> Self:
        """Train on X and y.

        Parameters
        ----------
        X : data frame or array_like, shape (n, n_features)
            One sample per row: pandas, polars or numpy. Missing values are NaN, None or NA.
        y : array_like, shape (n,)
            Labels of any kind.
        sample_weight : array_like, shape (n,), optional
            Weights of the samples, not negative.

        Returns
        -------
        self : object
            The estimator.

        Raises
        ------
        TypeError, ValueError
            If an argument or a parameter is not of that form.
        """
        table = self._table(X, reset=True)
        y = column_or_1d(y, warn=True)
        check_consistent_length(X, y)
        assert_all_finite(y, input_name="y")
        check_classification_targets(y)
        table, y, weights = self._with_weight(table, y, sample_weight)
        self.classes_, labels = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(f"y must have at least 2 classes, got 1 class: {self.classes_[0]!r}")
        problem, held_out = self._train(table, labels.astype(np.int32), len(self.classes_), weights)
        self._temperature = _best_temperature(held_out, problem.y, weights)
        self._say(f"temperature of the probabilities: {self._temperature:.3f}")
        self._trained = True
        return self

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Compute the probability of each class, calibrated.

        Parameters
        ----------
        X : data frame or array_like, shape (n, n_features)
            As in `fit`, with the same columns.

        Returns
        -------
        probabilities : ndarray of float64, shape (n, n_classes)
            A column for each of `classes_`; the sum of a row is 1.
        """
        return _tempered(self._outputs(self._encode(X)), self._temperature)

    def predict(self, X: Any) -> NDArray[Any]:
        """Predict the most probable class of each row.

        Parameters
        ----------
        X : data frame or array_like, shape (n, n_features)
            As in `fit`, with the same columns.

        Returns
        -------
        classes : ndarray, shape (n,)
            Labels as they were given to `fit`.
        """
        places = self.predict_proba(X).argmax(axis=1)
        return np.asarray(self.classes_[places])


def _tempered(p: NDArray[np.float64], temperature: float) -> NDArray[np.float64]:
    """Return softmax(log(p) / temperature)."""
    logits = np.log(np.maximum(p, 1e-12)) / temperature
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def _best_temperature(p: NDArray[np.float64], labels: NDArray[Any], sample_weight: NDArray[np.float64] | None) -> float:
    """Return the temperature with the smallest cross-entropy, if there are enough samples to tell: 1 has a prior."""

    def loss(log_temperature: float) -> float:
        prior = _TEMPERATURE_PRIOR * log_temperature**2 / len(p)
        return mean_loss(_tempered(p, float(np.exp(log_temperature))), labels, sample_weight) + prior

    return float(np.exp(minimize_scalar(loss, bounds=np.log(_TEMPERATURES), method="bounded").x))


class TabularRegressor(RegressorMixin, _Tabular):  # type: ignore[misc]
    """Regressor for tables: numbers of any scale, categories, missing values, without preparation or settings.

    It trains an ensemble of networks, as `TabularClassifier` does, and predicts quantiles and standard deviations as well.

    Parameters
    ----------
    effort, n_folds, categorical_features, random_state, verbose
        As in `TabularClassifier`.

    Attributes
    ----------
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        The names of the columns, if X was a data frame with names that are strings.

    Raises
    ------
    ValueError
        If X holds infinity or has fewer than 4 rows, or y is not finite.

    See Also
    --------
    TabularClassifier : Says how it works.
    MLPRegressor : A single network with settings of one's own.

    Notes
    -----
    The networks minimise the squared error of the standardised targets. If the targets are positive and their skewness is above
    1, one recipe learns their logarithms. A prediction is never outside the range of the targets of the training.

    For quantiles and standard deviations, further networks learn how the residuals are distributed, given the inputs: which of
    up to 32 bins a residual falls into. The residuals are those of the cross-validation, so they include what the networks do
    not know. The distribution is calibrated on the folds that were left out [1]_, so that the share of the targets below a
    quantile is right on average over the table, though not in each part of it.

    References
    ----------
    .. [1] V. Kuleshov, N. Fenner and S. Ermon, "Accurate uncertainties for deep learning using calibrated regression", ICML
       2018.

    Examples
    --------
    >>> import numpy as np
    >>> from nnpy.sklearn import TabularRegressor
    >>> x = np.random.default_rng(0).uniform(-2, 2, size=(500, 1))
    >>> y = np.sin(x[:, 0]) + 0.1 * np.random.default_rng(1).normal(size=500)
    >>> regressor = TabularRegressor(effort=0.01, random_state=0).fit(x, y)
    >>> regressor.score(x, y) > 0.95
    True
    >>> low, high = regressor.predict_quantiles([[1.0]], [0.05, 0.95])[0]
    >>> bool(low < np.sin(1.0) < high)
    True
    """

    @_fit_context(prefer_skip_nested_validation=True)  # type: ignore[untyped-decorator]
    def fit(self, X: Any, y: Any, sample_weight: ArrayLike | None = None) -> Self:
        """Train on X and y.

        Parameters
        ----------
        X : data frame or array_like, shape (n, n_features)
            One sample per row: pandas, polars or numpy. Missing values are NaN, None or NA.
        y : array_like of real numbers, shape (n,)
            Targets in any unit.
        sample_weight : array_like, shape (n,), optional
            Weights of the samples, not negative.

        Returns
        -------
        self : object
            The estimator.

        Raises
        ------
        TypeError, ValueError
            If an argument or a parameter is not of that form.
        """
        table = self._table(X, reset=True)
        y = column_or_1d(y, warn=True)
        check_consistent_length(X, y)
        y = np.asarray(y, dtype=np.float64)
        assert_all_finite(y, input_name="y")
        table, y, weights = self._with_weight(table, y, sample_weight)
        self._mean, self._scale = float(np.average(y, weights=weights)), float(y.std()) or 1.0
        self._range = float(y.min()), float(y.max())
        log_target = LogTarget.of(y, self._mean, self._scale)
        scaled = ((y - self._mean) / self._scale).astype(np.float32)[:, None]
        problem, held_out = self._train(table, scaled, 1, weights, log_target)
        self._residuals = Residuals.fit(problem, y - self._in_units(held_out))
        self._trained = True
        return self

    def _in_units(self, outputs: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.clip(outputs[:, 0] * self._scale + self._mean, *self._range)

    def predict(self, X: Any, return_std: bool = False) -> Any:
        """Predict the mean of the target, and its standard deviation.

        Parameters
        ----------
        X : data frame or array_like, shape (n, n_features)
            As in `fit`, with the same columns.
        return_std : bool
            Whether to return the standard deviation as well.

        Returns
        -------
        mean : ndarray of float64, shape (n,)
            The mean of the target in each row.
        std : ndarray of float64, shape (n,)
            The standard deviation of the target around the prediction, noise included; if `return_std` is True.
        """
        x = self._encode(X)
        mean = self._in_units(self._outputs(x))
        return (mean, self._residuals.std(x)) if return_std else mean

    def predict_quantiles(self, X: Any, quantiles: ArrayLike = (0.05, 0.5, 0.95)) -> NDArray[np.float64]:
        """Predict quantiles of the target.

        Parameters
        ----------
        X : data frame or array_like, shape (n, n_features)
            As in `fit`, with the same columns.
        quantiles : float or array_like, shape (k,)
            Between 0 and 1: 0.05 for the value below which one target of 20 lies.

        Returns
        -------
        values : ndarray of float64, shape (n, k)
            A column for each quantile.

        Raises
        ------
        ValueError
            If a quantile is not between 0 and 1.
        """
        levels = np.atleast_1d(np.asarray(quantiles, dtype=np.float64))
        if levels.ndim != 1 or not ((levels > 0) & (levels < 1)).all():
            raise ValueError(f"quantiles must be between 0 and 1, got {quantiles!r}")
        x = self._encode(X)
        return self._in_units(self._outputs(x))[:, None] + self._residuals.quantiles(x, levels)
