"""`MLPClassifier` and `MLPRegressor`: those of scikit-learn, with nnpy for all that takes time.

They inherit the parameters, attributes, checks, warnings and errors, and override the private methods that train and predict.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse, special
from sklearn import neural_network
from sklearn.base import is_classifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import accuracy_score
from sklearn.model_selection import train_test_split
from sklearn.neural_network._multilayer_perceptron import BaseMultilayerPerceptron
from sklearn.utils import compute_class_weight
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.multiclass import unique_labels
from sklearn.utils.validation import validate_data

from nnpy._activations import ACTIVATIONS, check_activations
from nnpy._arrays import to_float32
from nnpy._history import DivergenceError
from nnpy._losses import LOSSES, BinaryCrossEntropy, CrossEntropy, Huber, Loss, Pinball
from nnpy._network import NeuralNetwork
from nnpy._optimizers import Optimizer
from nnpy._samples import Samples
from nnpy._training.options import FitOptions
from nnpy._validation import FLOAT_MAX
from nnpy.sklearn._solver import Data, EpsilonAdam, MomentumSGD, Solver

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["MLPClassifier", "MLPRegressor"]

_DENSE_MAX = 2**28  # elements of a sparse matrix that is made dense for training: 1 GiB of float32
_DENSE_BLOCK = 2**22  # the same for prediction, which goes from block to block
_HALF_SQUARED_ERROR = Huber(FLOAT_MAX)  # scikit-learn's loss is half the squared error
_LOSSES: dict[str, Loss] = {
    "squared_error": _HALF_SQUARED_ERROR,
    "absolute_error": LOSSES["mae"],
    "huber": LOSSES["huber"],
    "quantile": Pinball(),
}
_NOT_FINITE = (
    "Solver produced non-finite parameter weights. The input data may contain large values and need to be preprocessed."
)
_OF_SCIKIT_LEARN = ("identity", "logistic", "tanh", "relu")
_ACTIVATIONS = StrOptions({*_OF_SCIKIT_LEARN, *ACTIVATIONS} - {"softmax"})


class _Objective(NamedTuple):
    """The function that L-BFGS minimises."""

    net: NeuralNetwork
    samples: Samples
    loss: Loss
    penalty: float  # half of it times the sum of the squared weights is added
    divisor: float  # of the reported loss

    def __call__(self, packed: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        """Return the loss and its gradient. packed: all weights, then all biases; the gradient has the same order."""
        net, first = self.net, 0
        for view in (*net.weights, *net.biases):
            view[...] = packed[first : first + view.size].reshape(view.shape)
            first += view.size
        loss, gradient = net._loss_and_gradient(self.samples, self.loss)
        weights = packed[: sum(w.size for w in net.weights)]
        result = np.concatenate([a.ravel() for a in (*gradient.weights, *gradient.biases)], dtype=np.float64)
        result[: weights.size] += self.penalty * weights
        return loss / self.divisor + self.penalty / 2 * float(weights @ weights), result


class _Computed(BaseMultilayerPerceptron):  # type: ignore[misc]
    """Overrides what scikit-learn's base class computes."""

    coefs_: list[NDArray[Any]]
    intercepts_: list[NDArray[Any]]
    solver: str | Optimizer
    _views: list[NDArray[np.float32]]  # weights and biases of _net, the network
    _no_improvement_count: int

    # ---- The network ----

    def _network(self) -> NeuralNetwork:
        """Return the network. `coefs_` and `intercepts_` become views of it; if they were other arrays, they are copied."""
        hidden = self._hidden_activations(len(self.coefs_) - 1)
        names = check_activations([*hidden, self.out_activation_], len(self.coefs_))
        net, arrays = self.__dict__.get("_net"), [*self.coefs_, *self.intercepts_]
        if (
            net is None
            or net.activations != names
            or any(a is not b for a, b in zip(arrays, self._views, strict=False))
        ):
            sizes = [len(self.coefs_[0]), *(len(bias) for bias in self.intercepts_)]
            net = NeuralNetwork(sizes, names, seed=0)
            self._views = [*net.weights, *net.biases]
            with np.errstate(over="ignore"):
                for view, array in zip(self._views, arrays, strict=True):
                    view[...] = array
            self._net, self.coefs_, self.intercepts_ = net, list(net.weights), list(net.biases)
        return net

    def _hidden_activations(self, num_hidden: int) -> list[str]:
        if isinstance(self.activation, str):
            return [self.activation] * num_hidden
        names = list(self.activation)
        if len(names) != num_hidden:
            raise ValueError(f"activation must be a name, or {num_hidden}, one for each hidden layer, got {names}")
        return names

    def __getstate__(self) -> Any:
        state = super().__getstate__()
        return {name: value for name, value in state.items() if name not in {"_net", "_views"}}

    # ---- Training ----

    def fit(
        self, X: Any, y: Any, sample_weight: ArrayLike | None = None, *, X_val: Any = None, y_val: Any = None
    ) -> Self:
        """Train on X and y.

        Parameters
        ----------
        X : array_like or sparse matrix, shape (n, n_features)
            Inputs, one sample per row.
        y : array_like, shape (n,) or (n, n_outputs)
            Class labels, or the targets of a regression.
        sample_weight : array_like, shape (n,), optional
            Weights of the samples.
        X_val, y_val : array_like, optional
            Validation data of one's own; not with "lbfgs". Its loss after each epoch is in `validation_loss_curve_`, and
            `early_stopping` uses it instead of a part of the training data.

        Returns
        -------
        self : object
            The estimator.

        Raises
        ------
        TypeError, ValueError
            If an argument or a parameter is not of that form.
        """
        if (X_val is None) != (y_val is None):
            raise ValueError("X_val and y_val must be given together")
        if X_val is not None and self.solver == "lbfgs":
            raise ValueError('X_val and y_val are for training in epochs: solver="lbfgs" does not use them')
        self._given_validation = None if X_val is None else (X_val, y_val)
        try:
            super().fit(X, y, sample_weight)
        finally:
            del self._given_validation
        return self

    def _fit(self, X: Any, y: Any, sample_weight: Any = None, incremental: bool = False) -> Any:
        solver = self.solver
        if not isinstance(solver, Optimizer):
            return super()._fit(X, y, sample_weight=sample_weight, incremental=incremental)
        self._custom_solver, self.solver = solver, "adam"  # scikit-learn knows names only
        try:
            return super()._fit(X, y, sample_weight=sample_weight, incremental=incremental)
        finally:
            self.solver = solver
            del self._custom_solver

    def _check_solver(self) -> bool:
        return True if isinstance(self.solver, Optimizer) else bool(super()._check_solver())

    def _is_for_scikit_learn(self, X: Any) -> bool:
        """Whether scikit-learn has to compute: the Poisson loss, and sparse matrices that are too large to be made dense."""
        if self.out_activation_ != "exp" and not (sparse.issparse(X) and X.shape[0] * X.shape[1] > _DENSE_MAX):
            return False
        custom = self.__dict__.get("_custom_solver")
        if self.dropout is not None or self.clip_norm is not None or custom or self.activation not in _OF_SCIKIT_LEARN:
            what = "the Poisson loss" if self.out_activation_ == "exp" else "so large a sparse matrix"
            raise ValueError(
                f"{what} is computed by scikit-learn, without dropout, clip_norm, other activations and other solvers"
            )
        return True

    def _data(self, X: Any, y: NDArray[Any], sample_weight: NDArray[Any] | None) -> Data:
        """Convert what scikit-learn has checked, once."""
        x = X.astype(np.float32).toarray(order="C") if sparse.issparse(X) else to_float32(X)
        if self.out_activation_ == "softmax":
            targets = y.argmax(axis=1).astype(np.int32)
        else:
            with np.errstate(over="ignore"):
                targets = to_float32(y)
        return Data(x, targets, None if sample_weight is None else np.asarray(sample_weight, dtype=np.float64))

    def _loss_object(self) -> Loss:
        if is_classifier(self):
            return CrossEntropy() if self.out_activation_ == "softmax" else BinaryCrossEntropy()
        if self.loss == "quantile":
            return Pinball(self.quantile)
        return self.loss if isinstance(self.loss, Loss) else _LOSSES[self.loss]

    def _divisor(self) -> int:
        """scikit-learn reports the squared error averaged over the outputs, though its gradient is that of the sum."""
        return self.n_outputs_ if not is_classifier(self) and self.loss == "squared_error" else 1

    def _weights(self, y: NDArray[Any], sample_weight: NDArray[Any] | None) -> NDArray[Any] | None:
        """Return sample_weight times the weight of the class of each sample."""
        if getattr(self, "class_weight", None) is None:
            return sample_weight
        if self._label_binarizer.y_type_.startswith("multilabel"):
            raise ValueError("class_weight is not supported for multilabel targets")
        index = y.argmax(axis=1) if y.shape[1] > 1 else y[:, 0].astype(int)
        table = compute_class_weight(self.class_weight, classes=self.classes_, y=self.classes_[index])
        weights: NDArray[Any] = table[index] if sample_weight is None else table[index] * sample_weight
        if not weights.any():
            raise ValueError("class_weight and sample_weight give all samples a weight of 0")
        return weights

    def _fit_lbfgs(self, X: Any, y: NDArray[Any], sample_weight: Any, *rest: Any) -> None:
        if self.dropout is not None or self.clip_norm is not None:
            raise ValueError('dropout and clip_norm are not for solver="lbfgs"')
        sample_weight = self._weights(y, sample_weight)
        if self._is_for_scikit_learn(X):
            super()._fit_lbfgs(X, y, sample_weight, *rest)
            return
        net, data = self._network(), self._data(X, y, sample_weight)
        total = len(data.x) if data.weights is None else float(data.weights.sum())
        samples = data.samples(len(data.x) / total)
        samples.check_inputs()
        objective = _Objective(net, samples, self._loss_object(), self.alpha / total, self._divisor())
        super()._fit_lbfgs(objective, y, None, *rest)
        self._network()

    def _loss_grad_lbfgs(self, packed: NDArray[np.float64], X: Any, *rest: Any) -> tuple[float, NDArray[np.float64]]:
        if isinstance(X, _Objective):
            return X(packed)
        loss, gradient = super()._loss_grad_lbfgs(packed, X, *rest)
        return loss, gradient

    def _fit_stochastic(self, X: Any, y: NDArray[Any], sample_weight: Any, *rest: Any) -> None:
        incremental = rest[-1]
        sample_weight = self._weights(y, sample_weight)
        if self._is_for_scikit_learn(X):
            super()._fit_stochastic(X, y, sample_weight, *rest)
            return
        net = self._network()
        if not incremental or not isinstance(getattr(self, "_optimizer", None), Solver):
            self._optimizer = self._new_solver(net.parameters.size)
        if self.early_stopping and incremental:
            raise ValueError("partial_fit does not support early_stopping=True")
        training, validation = self._split(X, y, sample_weight)
        try:
            self._run(net, training, validation, incremental=incremental)
        except KeyboardInterrupt:
            warnings.warn("Training interrupted by user.", stacklevel=4)
        except DivergenceError as error:
            raise ValueError(_NOT_FINITE) from error
        if self.early_stopping:
            for view, best in zip(self._views, [*self._best_coefs, *self._best_intercepts], strict=True):
                view[...] = best

    def _new_solver(self, num_parameters: int) -> Solver:
        custom = self.__dict__.get("_custom_solver")
        if custom is not None:
            return Solver(custom, num_parameters)
        if self.solver == "adam":
            adam = EpsilonAdam(self.learning_rate_init, (self.beta_1, self.beta_2), self.epsilon)
            return Solver(adam, num_parameters)
        sgd = MomentumSGD(self.learning_rate_init, self.momentum, self.nesterovs_momentum)
        return Solver(sgd, num_parameters, schedule=self.learning_rate, power_t=self.power_t)

    def _split(self, X: Any, y: NDArray[Any], sample_weight: Any) -> tuple[Data, tuple[Data, Any] | None]:
        """Return the training data; and the validation data with its targets as users know them, if there is any."""
        data, given = self._data(X, y, sample_weight), self.__dict__.get("_given_validation")
        if given is not None:
            return data, self._validation(*given)
        if not self.early_stopping:
            return data, None
        stratify = y if is_classifier(self) and self.n_outputs_ == 1 else None  # not for several labels
        kept, held_out = train_test_split(
            np.arange(len(y)), random_state=self._random_state, test_size=self.validation_fraction, stratify=stratify
        )
        if len(held_out) < 2:
            raise ValueError(
                "The validation set is too small. Increase 'validation_fraction' or the size of your dataset."
            )
        targets = self._label_binarizer.inverse_transform(y[held_out]) if is_classifier(self) else y[held_out]
        return data.part(kept), (data.part(held_out).copied(), targets)

    def _validation(self, X: Any, y: Any) -> tuple[Data, Any]:
        """Check validation data that the caller passed."""
        is_labels = is_classifier(self)
        X, y = validate_data(
            self, X, y, accept_sparse=["csr", "csc"], multi_output=True, y_numeric=not is_labels, reset=False
        )
        if is_labels:
            unknown = np.setdiff1d(unique_labels(y), self.classes_)
            if len(unknown):
                raise ValueError(f"y_val has classes that y does not have: {unknown}")
            targets = self._label_binarizer.transform(y)
        else:
            targets = y.reshape(len(y), -1)
            if targets.shape[1] != self.n_outputs_:
                raise ValueError(f"y_val must have {self.n_outputs_} outputs as y has, got {targets.shape[1]}")
        return self._data(X, np.asarray(targets), None), y

    def _run(self, net: NeuralNetwork, data: Data, validation: tuple[Data, Any] | None, *, incremental: bool) -> None:
        """Train until the loss, or the score of the validation data, does not improve any more."""
        num, order = data.num_samples, np.arange(data.num_samples)
        batch_size, loss_function = self._batch_size(num), self._loss_object()
        held_out, targets = (None, None) if validation is None else validation
        x, weights = (None, None) if held_out is None else (held_out.x, held_out.weights)
        if held_out is not None:
            self.validation_loss_curve_: list[float] = []
            samples = held_out.samples()
            samples.check_inputs()
        self._optimizer.begin(net, self._options(), batch_size=batch_size, alpha=self.alpha)
        self.n_iter_ = 0
        for epoch in range(self.max_iter):
            if self.shuffle:
                permutation = np.arange(num)  # the same as sklearn.utils.shuffle
                self._random_state.shuffle(permutation)
                order = order[permutation]
            before = self._penalty(net)
            part = data.part(order) if self.shuffle else data
            loss = self._optimizer.train_epoch(part, epoch, inputs_checked=epoch > 0)
            penalty = (before + self._penalty(net)) / 2 * -(-num // batch_size) / num  # its mean over the mini-batches
            self.n_iter_ += 1
            self.loss_ = loss / self._divisor() + penalty
            self.t_ += num
            self.loss_curve_.append(self.loss_)
            if self.verbose:
                print(f"Iteration {self.n_iter_}, loss = {self.loss_:.8f}")  # noqa: T201
            if held_out is not None:
                self.validation_loss_curve_.append(net._evaluate(samples, loss_function) / self._divisor())
            self._update_no_improvement_count(self.early_stopping, x, targets, weights)
            self._optimizer.end_epoch(self.t_)
            if self._no_improvement_count > self.n_iter_no_change:
                if self._optimizer.stop(self._no_improvement_message(), verbose=self.verbose):
                    break
                self._no_improvement_count = 0
            if incremental:
                break
            if self.n_iter_ == self.max_iter:
                warnings.warn(
                    f"Stochastic Optimizer: Maximum iterations ({self.max_iter}) reached and the optimization hasn't "
                    "converged yet.",
                    ConvergenceWarning,
                    stacklevel=5,
                )

    def _options(self) -> FitOptions:
        """Return the options of nnpy's training that do not change."""
        dropout = self.dropout
        return FitOptions(
            loss=self._loss_object(),
            epochs=self.max_iter,
            dropout=dropout,
            clip_norm=self.clip_norm,
            seed=0 if dropout is None else int(self._random_state.randint(2**31)),
        )

    def _batch_size(self, num: int) -> int:
        if self.batch_size == "auto":
            return min(200, num)
        if self.batch_size > num:
            warnings.warn(
                "Got `batch_size` less than 1 or larger than sample size. It is going to be clipped", stacklevel=6
            )
        return int(np.clip(self.batch_size, 1, num))

    def _penalty(self, net: NeuralNetwork) -> float:
        return self.alpha / 2 * sum(float(np.vdot(w, w)) for w in net.weights) if self.alpha else 0.0

    def _no_improvement_message(self) -> str:
        what = "Validation score" if self.early_stopping else "Training loss"
        return f"{what} did not improve more than tol={self.tol:f} for {self.n_iter_no_change} consecutive epochs."

    # ---- Prediction ----

    def _forward_pass_fast(self, X: Any, check_input: bool = True) -> NDArray[Any]:
        if self.out_activation_ == "exp":
            result: NDArray[Any] = super()._forward_pass_fast(X, check_input=check_input)
            return result
        if check_input:
            X = validate_data(self, X, accept_sparse=["csr", "csc"], reset=False)
        net = self._network()
        if not sparse.issparse(X):
            return self._outputs(net, X)
        X, rows = X.tocsr(), max(1, _DENSE_BLOCK // X.shape[1])
        return np.concatenate([self._outputs(net, X[i : i + rows].toarray()) for i in range(0, X.shape[0], rows)])

    def _outputs(self, net: NeuralNetwork, X: NDArray[Any]) -> NDArray[Any]:
        """Return the outputs, float32 for float32 inputs, else float64. Probabilities in float64 come from the logits."""
        if X.dtype == np.float32 or self.out_activation_ == "identity":
            return net.predict(X).astype(X.dtype if X.dtype.kind == "f" else np.float64, copy=False)
        hidden = net.layer_outputs(X)[-2] if len(net.weights) > 1 else X
        logits = hidden.astype(np.float64) @ net.weights[-1].astype(np.float64) + net.biases[-1]
        probabilities: NDArray[Any] = (
            special.softmax(logits, axis=1) if self.out_activation_ == "softmax" else special.expit(logits)
        )
        return probabilities


_CONSTRAINTS: dict[str, Any] = {
    "activation": [_ACTIVATIONS, "array-like"],
    "solver": [StrOptions({"lbfgs", "sgd", "adam"}), Optimizer],
    "dropout": [Interval(Real, 0, 0.99, closed="both"), "array-like", None],
    "clip_norm": [Interval(Real, 0, None, closed="neither"), None],
}


class MLPClassifier(_Computed, neural_network.MLPClassifier):  # type: ignore[misc]
    """scikit-learn's multilayer perceptron for classification, trained by nnpy.

    All parameters, attributes, methods, warnings and errors are those of `sklearn.neural_network.MLPClassifier`, which
    documents them; the same `random_state` gives the same initial weights and mini-batches. See Notes for what differs.

    Parameters
    ----------
    hidden_layer_sizes, alpha, batch_size, learning_rate, learning_rate_init, power_t, max_iter, shuffle, random_state, tol, \
verbose, warm_start, momentum, nesterovs_momentum, early_stopping, validation_fraction, beta_1, beta_2, epsilon, \
n_iter_no_change, max_fun
        As in scikit-learn.
    activation : str or sequence of str
        The activation function of the hidden layers, or of each of them: "identity", "logistic", "tanh", "relu" and those that
        scikit-learn does not have: "leaky_relu", "elu", "softplus", "silu", "gelu".
    solver : {"lbfgs", "sgd", "adam"} or nnpy.Optimizer
        Or an optimiser of nnpy, such as ``nnpy.AdamW(1e-3)`` or ``nnpy.RMSprop(nnpy.CosineDecay(1e-2))``, which has its own
        learning rate.
    class_weight : dict or "balanced", optional
        Weights of the classes, as in `sklearn.linear_model.LogisticRegression`; multiplied with `sample_weight`. Not for
        multilabel targets. `partial_fit` takes "balanced" by the samples of the call.
    dropout : float or sequence of float, optional
        Inverted dropout: the probability that an activation of a hidden layer is dropped in a step, from 0 to 0.99; one for
        all hidden layers, or one for each. Not with "lbfgs".
    clip_norm : float, optional
        The largest Euclidean norm of the gradient of a step, without the penalty; a larger gradient is scaled down to it. Not
        with "lbfgs".

    Raises
    ------
    ValueError
        If an input is not finite in float32, for example 1e39; in addition to scikit-learn's errors.

    Notes
    -----
    What differs from scikit-learn:

    - The network computes in float32. `coefs_` and `intercepts_` are float32 views of it. Results differ from those in float64
      by rounding, which grows in the course of a training. Probabilities have the type of the inputs.
    - In `loss_curve_` and `loss_`, the penalty of an epoch is computed from the weights before and after it.
    - A mini-batch whose samples all have the weight 0 is left out.
    - A training whose loss or parameters become infinite stops at once, with scikit-learn's error.
    - A sparse matrix is made dense in float32 for training, if that takes at most 1 GiB; else scikit-learn computes.

    Beyond scikit-learn, `fit` takes a validation set, and the attribute `validation_loss_curve_` has its loss after each epoch.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from nnpy.sklearn import MLPClassifier
    >>> x, y = load_iris(return_X_y=True)
    >>> classifier = make_pipeline(StandardScaler(), MLPClassifier(max_iter=1000, random_state=0))
    >>> round(classifier.fit(x, y).score(x, y), 2)
    0.98
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **neural_network.MLPClassifier._parameter_constraints,
        **_CONSTRAINTS,
        "class_weight": [dict, StrOptions({"balanced"}), None],
    }

    def __init__(
        self,
        hidden_layer_sizes: Sequence[int] | int = (100,),
        activation: str | Sequence[str] = "relu",
        *,
        solver: str | Optimizer = "adam",
        alpha: float = 0.0001,
        batch_size: int | str = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: bool | int = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        class_weight: Mapping[Any, float] | Literal["balanced"] | None = None,
        dropout: float | Sequence[float] | None = None,
        clip_norm: float | None = None,
    ) -> None:
        super().__init__(
            hidden_layer_sizes=hidden_layer_sizes,
            activation=activation,
            solver=solver,
            alpha=alpha,
            batch_size=batch_size,
            learning_rate=learning_rate,
            learning_rate_init=learning_rate_init,
            power_t=power_t,
            max_iter=max_iter,
            shuffle=shuffle,
            random_state=random_state,
            tol=tol,
            verbose=verbose,
            warm_start=warm_start,
            momentum=momentum,
            nesterovs_momentum=nesterovs_momentum,
            early_stopping=early_stopping,
            validation_fraction=validation_fraction,
            beta_1=beta_1,
            beta_2=beta_2,
            epsilon=epsilon,
            n_iter_no_change=n_iter_no_change,
            max_fun=max_fun,
        )
        self.class_weight = class_weight
        self.dropout = dropout
        self.clip_norm = clip_norm

    def _score(self, X: NDArray[Any], y: NDArray[Any], sample_weight: NDArray[Any] | None = None) -> float:
        """Return the accuracy on validation data. scikit-learn 1.7 looks for NaN, also in labels that are strings."""
        return float(accuracy_score(y, self._predict(X, check_input=False), sample_weight=sample_weight))


class MLPRegressor(_Computed, neural_network.MLPRegressor):  # type: ignore[misc]
    """scikit-learn's multilayer perceptron for regression, trained by nnpy.

    All parameters, attributes, methods, warnings and errors are those of `sklearn.neural_network.MLPRegressor`, which documents
    them; the same `random_state` gives the same initial weights and mini-batches. See Notes for what differs.

    Parameters
    ----------
    hidden_layer_sizes, alpha, batch_size, learning_rate, learning_rate_init, power_t, max_iter, shuffle, random_state, tol, \
verbose, warm_start, momentum, nesterovs_momentum, early_stopping, validation_fraction, beta_1, beta_2, epsilon, \
n_iter_no_change, max_fun
        As in scikit-learn.
    loss : {"squared_error", "poisson", "absolute_error", "huber", "quantile"} or nnpy.Loss
        "squared_error" and "poisson" are scikit-learn's, halves included. "absolute_error", "huber" (with a delta of 1) and
        "quantile" are summed over the outputs, and so is a loss of nnpy, such as ``nnpy.Huber(0.1)``.
    quantile : float
        The quantile that the loss "quantile" estimates, between 0 and 1.
    activation, solver, dropout, clip_norm
        As in `MLPClassifier`.

    Raises
    ------
    ValueError
        If an input is not finite in float32, for example 1e39; in addition to scikit-learn's errors.

    Notes
    -----
    What differs from scikit-learn is listed at `MLPClassifier`. With the loss "poisson", scikit-learn computes.

    Examples
    --------
    >>> from sklearn.datasets import make_friedman1
    >>> from nnpy.sklearn import MLPRegressor
    >>> x, y = make_friedman1(n_samples=400, random_state=0)
    >>> regressor = MLPRegressor(solver="lbfgs", alpha=0.01, tol=0.01, max_iter=3000, random_state=0)
    >>> regressor.fit(x, y).score(x, y) > 0.99
    True
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **neural_network.MLPRegressor._parameter_constraints,
        **_CONSTRAINTS,
        "loss": [StrOptions({*_LOSSES, "poisson"}), Loss],
        "quantile": [Interval(Real, 0, 1, closed="neither")],
    }

    def __init__(
        self,
        loss: str | Loss = "squared_error",
        hidden_layer_sizes: Sequence[int] | int = (100,),
        activation: str | Sequence[str] = "relu",
        *,
        solver: str | Optimizer = "adam",
        alpha: float = 0.0001,
        batch_size: int | str = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: bool | int = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        quantile: float = 0.5,
        dropout: float | Sequence[float] | None = None,
        clip_norm: float | None = None,
    ) -> None:
        super().__init__(
            loss=loss,
            hidden_layer_sizes=hidden_layer_sizes,
            activation=activation,
            solver=solver,
            alpha=alpha,
            batch_size=batch_size,
            learning_rate=learning_rate,
            learning_rate_init=learning_rate_init,
            power_t=power_t,
            max_iter=max_iter,
            shuffle=shuffle,
            random_state=random_state,
            tol=tol,
            verbose=verbose,
            warm_start=warm_start,
            momentum=momentum,
            nesterovs_momentum=nesterovs_momentum,
            early_stopping=early_stopping,
            validation_fraction=validation_fraction,
            beta_1=beta_1,
            beta_2=beta_2,
            epsilon=epsilon,
            n_iter_no_change=n_iter_no_change,
            max_fun=max_fun,
        )
        self.quantile = quantile
        self.dropout = dropout
        self.clip_norm = clip_norm
