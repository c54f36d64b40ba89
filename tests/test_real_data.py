"""The data sets that scikit-learn brings along: nnpy learns them as well as scikit-learn's own networks do.

Both get the same splits, sizes, activations, optimiser, batches and epochs, and data scaled by the training part. What is left
is chance: means over seeds are compared, and ours may be half a point below.
"""

import functools
import warnings

import numpy as np
import pytest

import nnpy

pytestmark = pytest.mark.slow

datasets = pytest.importorskip("sklearn.datasets")
from sklearn.metrics import accuracy_score, r2_score  # noqa: E402
from sklearn.model_selection import train_test_split  # noqa: E402
from sklearn.neural_network import MLPClassifier, MLPRegressor  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402

# Data, hidden neurons, epochs, seeds (the fewer samples there are, the more chance), the least that both should reach.
PROBLEMS = {
    "digits": (datasets.load_digits, 64, 40, 5, 0.96),
    "wine": (datasets.load_wine, 16, 200, 40, 0.96),
    "breast cancer": (datasets.load_breast_cancer, 16, 80, 10, 0.96),
    "diabetes": (datasets.load_diabetes, 100, 30, 10, 0.43),
}


@functools.cache
def parts(name, seed):
    x, y = PROBLEMS[name][0](return_X_y=True)
    return train_test_split(x, y, test_size=0.4, random_state=seed, stratify=None if name == "diabetes" else y)


@functools.cache
def theirs(name):
    """Mean score of scikit-learn's networks. They warn that they have not converged, as they are told to do all epochs."""
    _, hidden, epochs, num_seeds, _ = PROBLEMS[name]
    scores = []
    for seed in range(num_seeds):
        x, x_test, y, y_test = parts(name, seed)
        scaler, target_scaler = StandardScaler().fit(x), StandardScaler().fit(y[:, None])
        net = (MLPRegressor if name == "diabetes" else MLPClassifier)(
            hidden_layer_sizes=(hidden,),
            activation="relu",
            solver="adam",
            learning_rate_init=1e-3,
            alpha=0.0,
            batch_size=32,
            max_iter=epochs,
            tol=0.0,
            n_iter_no_change=epochs,
            random_state=seed,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            net.fit(scaler.transform(x), target_scaler.transform(y[:, None])[:, 0] if name == "diabetes" else y)
        answer = net.predict(scaler.transform(x_test))
        if name == "diabetes":
            scores.append(r2_score(y_test, target_scaler.inverse_transform(answer[:, None])))
        else:
            scores.append(accuracy_score(y_test, answer))
    return np.mean(scores)


def ours(name, initialize):
    _, hidden, epochs, num_seeds, _ = PROBLEMS[name]
    scores = []
    for seed in range(num_seeds):
        x, x_test, y, y_test = parts(name, seed)
        if name == "diabetes":
            net = nnpy.NeuralNetwork([x.shape[1], hidden, 1], ["relu", "linear"], seed=seed)
            net.fit_scaler(x, y)
        else:
            net = nnpy.NeuralNetwork([x.shape[1], hidden, y.max() + 1], ["relu", "softmax"], seed=seed)
            net.fit_scaler(x)
        initialize(net, seed)
        net.fit(x, y, optimizer=nnpy.Adam(1e-3), epochs=epochs, batch_size=32, seed=seed)
        answer = net.predict(x_test)
        scores.append(r2_score(y_test, answer) if name == "diabetes" else accuracy_score(y_test, answer.argmax(axis=1)))
    return np.mean(scores)


def as_scikit_learn_begins(net, seed):
    """The very numbers, by Glorot and Bengio's formula also for "relu" and for biases; but two classes are one output."""
    rng = np.random.RandomState(seed)
    for w, b in zip(net.weights, net.biases, strict=True):
        r = (6 / sum(w.shape)) ** 0.5
        w[...], b[...] = rng.uniform(-r, r, w.shape), rng.uniform(-r, r, b.shape)


def assert_as_good(name, initialize):
    score, least = ours(name, initialize), PROBLEMS[name][-1]
    assert theirs(name) > least
    assert score > least
    assert score >= theirs(name) - 0.005, f"nnpy {score:.4f}, scikit-learn {theirs(name):.4f}"


@pytest.mark.parametrize("name", PROBLEMS)
def test_training_is_as_good(name):
    """From the same weights: the order of the samples is another one."""
    assert_as_good(name, as_scikit_learn_begins)


@pytest.mark.parametrize("name", PROBLEMS)
def test_a_network_as_it_comes_is_as_good(name):
    """From nnpy's own initial weights."""
    assert_as_good(name, lambda net, seed: None)
