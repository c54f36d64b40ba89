"""scikit-learn: `MLPClassifier` and `MLPRegressor`."""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier, MLPRegressor
from workloads import Array, Prediction, Step, Training, initial_parameters


def options_of(workload: Training) -> dict[str, Any]:
    return {
        "hidden_layer_sizes": workload.sizes[1:-1],
        "activation": workload.hidden,
        "solver": workload.optimizer,
        "alpha": 0.0,
        "momentum": 0.0,
        "learning_rate_init": workload.learning_rate,
        "batch_size": workload.batch_size,
        "max_iter": 1,
    }


def training(workload: Training) -> tuple[Callable[[Array, Array], list[Array]], Callable[[], object]]:
    warnings.simplefilter("ignore", ConvergenceWarning)
    adam = workload.optimizer == "adam"
    estimator = MLPRegressor if adam else MLPClassifier
    options = options_of(workload)

    # MLPRegressor minimises half of the squared error; Adam's steps do not depend on that factor. MLPClassifier finds the
    # classes in y: all of them occur in the samples that are used.
    def train_in_order(x: Array, y: Array) -> list[Array]:
        net = estimator(shuffle=False, **options)
        initialize = net._initialize

        def initialize_with_given_parameters(y: Any, layer_units: Any, dtype: Any) -> None:
            initialize(y, layer_units, dtype)
            net.coefs_, net.intercepts_ = initial_parameters(workload.sizes)

        net._initialize = initialize_with_given_parameters
        net.fit(x, y.ravel() if adam and workload.sizes[-1] == 1 else y)
        weights: list[Array] = net.coefs_
        return weights

    x, y = workload.data()
    y = y.ravel() if adam and workload.sizes[-1] == 1 else y
    return train_in_order, lambda: estimator(**options).fit(x, y)


def step(workload: Step) -> tuple[Callable[[Array, Array], list[Array]], Callable[[], object]]:
    if workload.classifies:
        raise NotImplementedError("MLPClassifier has a single output for two classes")
    x, y = workload.data()
    net = MLPRegressor(**options_of(workload))
    return training(workload)[0], lambda: net.partial_fit(x, y)


def prediction(workload: Prediction) -> Callable[[], Array]:
    x = workload.inputs()
    net = MLPClassifier(workload.sizes[1:-1], max_iter=1)
    net.partial_fit(x[:1], [0], classes=np.arange(max(workload.sizes[-1], 3)))  # two classes would have one output
    net.coefs_, net.intercepts_ = initial_parameters(workload.sizes)
    net.out_activation_ = "softmax"
    net.n_outputs_ = workload.sizes[-1]
    return lambda: net.predict_proba(x)
