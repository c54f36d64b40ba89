"""What `fit` chooses where its arguments leave it open: last activation, scaler, optimiser, number of epochs, l2."""

import copy
import pickle
import signal
import sys
import threading

import numpy as np
import pytest

import nnpy
from nnpy._training import cross_validation, defaults
from nnpy._training.data import Given
from nnpy._training.options import FitOptions

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 6)).astype(np.float32)  # mean 0, deviation 1
LABELS = RNG.integers(0, 3, 60)
ONE_HOT = np.eye(3)[LABELS]
Y = RNG.random((60, 3))


def same(one, other):
    assert one.activations == other.activations
    np.testing.assert_array_equal(one.parameters, other.parameters)


def chosen(net, x, y, **options):
    """Return what is chosen, without much training."""
    return net.fit(x, y, **{"epochs": 1, "optimizer": "adam", "seed": 1, **options}).chosen


# ---- The last activation ----

MISSING = np.where(RNG.random((60, 3)) < 0.3, np.nan, LABELS[:, np.newaxis] > 0)


@pytest.mark.parametrize(
    ("outputs", "y", "options", "last"),
    [
        (3, LABELS, {}, "softmax"),
        (3, LABELS.astype(float), {}, "softmax"),
        (3, LABELS[:, np.newaxis], {}, "softmax"),
        (3, LABELS > 0, {}, "softmax"),
        (3, ONE_HOT, {}, "softmax"),
        (3, Y / Y.sum(axis=1, keepdims=True), {}, "softmax"),
        (3, ONE_HOT, {"loss": "mse"}, "softmax"),
        (3, (Y > 0.5).astype(int), {}, "sigmoid"),
        (3, MISSING, {"missing": "ignore"}, "sigmoid"),
        (3, Y, {}, "linear"),
        (3, -ONE_HOT, {}, "linear"),
        (1, LABELS > 0, {}, "sigmoid"),
        (1, LABELS, {}, "linear"),
        (1, Y[:, :1], {}, "linear"),
        (1, Y[:, :1], {"loss": "bce"}, "sigmoid"),
        (1, LABELS > 0, {"loss": nnpy.Huber()}, "sigmoid"),
        (1, (LABELS > 0).astype(int).tolist(), {}, "sigmoid"),
    ],
)
def test_the_last_activation_suits_the_targets(outputs, y, options, last):
    net = nnpy.NeuralNetwork([6, 5, outputs], seed=3)
    text = chosen(net, X, y, **options)
    assert net.activations == ("sigmoid", last)
    assert (f"last activation {last}" in text) == (last != "sigmoid")
    # It is the network that has been created with this activation.
    other = nnpy.NeuralNetwork([6, 5, outputs], ["sigmoid", last], seed=3)
    assert chosen(other, X, y, **options) == "; ".join(part for part in text.split("; ") if "activation" not in part)
    same(net, other)
    np.testing.assert_array_equal(net.predict(X), other.predict(X))


@pytest.mark.parametrize(
    ("y", "options", "message"),
    [
        (ONE_HOT, {"loss": "bce"}, '^the loss "binary_cross_entropy" needs "sigmoid" or "linear" as the last'),
        (np.full((60, 3), np.nan), {"missing": "ignore"}, "^all samples have a weight of 0 or no target$"),
    ],
)
def test_targets_for_which_no_activation_is_right(y, options, message):
    net = nnpy.NeuralNetwork([6, 5, 3], seed=3)
    with pytest.raises(ValueError, match=message):
        net.fit(X, y, **options)
    assert net.activations == ("sigmoid", "sigmoid")


def test_categories_are_classes():
    pandas = pytest.importorskip("pandas")
    net = nnpy.NeuralNetwork([6, 5, 3], seed=3)
    chosen(net, X, pandas.Series(["a", "b", "c"] * 20, dtype="category"))
    assert net.activations == ("sigmoid", "softmax")


def test_what_was_said_is_not_chosen():
    for activations in ("sigmoid", ["tanh", "sigmoid"]):
        net = nnpy.NeuralNetwork([6, 5, 3], activations, seed=3)
        assert not chosen(net, X, ONE_HOT)
        assert net.activations[-1] == "sigmoid"
    for scale in (lambda net: net.fit_scaler(None), lambda net: net.fit_scaler(X)):
        net = nnpy.NeuralNetwork([6, 5, 3], "linear", seed=3)
        scale(net)
        before = net.scaler
        assert not chosen(net, 1000 * X, 1000 * Y)
        assert net.scaler is before


def test_a_trained_network_keeps_what_it_has():
    """Trained by a first fit, by other methods, or by hand."""
    changes = (
        lambda net: chosen(net, X, Y),
        lambda net: net.partial_fit(X, Y),
        lambda net: net.gradient_descent(X, Y, rate=0.1),
        lambda net: net.randomize(seed=1),
        lambda net: net.biases[0].__setitem__(0, 1.0),
    )
    for change in changes:
        net = nnpy.NeuralNetwork([6, 5, 3], seed=3)
        change(net)
        activations = net.activations
        assert not chosen(net, 100 * X, LABELS[:, np.newaxis] == [0, 1, 2])
        assert net.activations == activations
        assert net.scaler is None
    net = nnpy.NeuralNetwork([6, 5, 3], seed=3)
    net.gradient_descent(X, ONE_HOT, rate=0.1)
    assert net.activations == ("sigmoid", "sigmoid")  # as in the post


def test_copies_choose_as_well(tmp_path):
    def by_file(net):
        net.save(tmp_path / "net.npz")
        return nnpy.load(tmp_path / "net.npz")

    for duplicate in (copy.copy, copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net)), by_file):
        net = nnpy.NeuralNetwork([6, 5, 3], seed=3)
        twin = duplicate(net)
        assert chosen(twin, 100 * X, LABELS) == chosen(net, 100 * X, LABELS) != ""
        same(twin, net)
        assert not chosen(duplicate(net), X, ONE_HOT)  # it is trained
        content = dict(np.load(tmp_path / "net.npz")) if duplicate is by_file else None
    del content["choices"]  # a file of which nobody knows whether it is trained
    np.savez(tmp_path / "net.npz", **content)
    assert not chosen(nnpy.load(tmp_path / "net.npz"), 100 * X, LABELS)
    np.savez(tmp_path / "net.npz", **content, choices=np.array([3, 2, 1], np.uint64))
    with pytest.raises(
        ValueError, match=r"net.npz is not a network that nnpy saved: its choices are \[2, 1\], not 0 or 1$"
    ):
        nnpy.load(tmp_path / "net.npz")


# ---- The scaler ----


@pytest.mark.parametrize(
    ("x", "text"),
    [
        (X, ""),
        (RNG.random((60, 6)), ""),
        (X > 0, ""),
        (2 * X + 1, ""),
        (np.zeros((60, 6)), ""),
        (np.full((60, 6), 2.0), ""),
        (X + 5, "inputs standardised"),
        (X * [1, 1, 1, 1, 1, 20], "inputs standardised"),
        (X * 0.01, "inputs standardised"),
        (X.astype(np.float16) + 100, "inputs standardised"),
        (RNG.integers(0, 256, (60, 64), dtype=np.uint8), "inputs divided by 255"),
        (RNG.integers(0, 256, (60, 64)).astype(float), "inputs divided by 255"),
        (RNG.integers(0, 256, (60, 63)), "inputs standardised"),
        (RNG.integers(0, 17, (60, 64)), "inputs standardised"),
        (RNG.integers(-5, 256, (60, 64)), "inputs standardised"),
    ],
)
def test_inputs_are_scaled_where_they_need_it(x, text):
    net = nnpy.NeuralNetwork([x.shape[1], 5, 3], ["tanh", "softmax"], seed=3)
    assert chosen(net, x, LABELS) == text
    if not text:
        assert net.scaler is None
        return
    other = nnpy.NeuralNetwork([x.shape[1], 5, 3], ["tanh", "softmax"], seed=3)
    if text == "inputs standardised":
        other.fit_scaler(x)
        chosen(other, x, LABELS)
        np.testing.assert_array_equal(net.predict(x), other.predict(x))
    else:
        other.fit_scaler(None)
        chosen(other, np.float32(np.float64(x) / 255), LABELS)
        np.testing.assert_array_equal(net.predict(x), other.predict(np.float32(np.float64(x) / 255)))
    same(net, other)


@pytest.mark.parametrize(
    ("y", "options", "text"),
    [
        (Y, {}, ""),
        (Y * 2, {"missing": "ignore"}, ""),
        (Y + 10, {}, "targets standardised"),
        (Y * [1, 1, 50], {}, "targets standardised"),
        (Y * 0.01, {}, "targets standardised"),
        (Y * 100, {"loss": "mae"}, "targets standardised"),
        (Y * 100, {"loss": nnpy.Huber(3)}, ""),
        (np.where(Y > 0.7, np.nan, Y * 100), {"missing": "ignore"}, "targets standardised"),
    ],
)
def test_targets_are_scaled_where_they_need_it(y, options, text):
    net, other = (nnpy.NeuralNetwork([6, 5, 3], ["tanh", "linear"], seed=3) for _ in range(2))
    assert chosen(net, X, y, **options) == text
    other.fit_scaler(*((X, y) if text else (None,)))
    if text:
        np.testing.assert_array_equal(net.scaler.y_mean, other.scaler.y_mean)
        np.testing.assert_array_equal(net.scaler.y_scale, other.scaler.y_scale)
        np.testing.assert_array_equal(net.scaler.x_mean, np.zeros(6))
        np.testing.assert_array_equal(net.scaler.x_scale, np.ones(6))
        assert net.predict(X).dtype == np.float64
    else:
        chosen(other, X, y, **options)
        same(net, other)


def test_limited_outputs_are_not_scaled():
    net = nnpy.NeuralNetwork([6, 5, 3], ["tanh", "relu"], seed=3)
    assert not chosen(net, X, Y * 100)


def test_samples_without_weight_do_not_count_for_the_scaler():
    x, y, w = np.concatenate([X, 1e6 * X]), np.concatenate([Y, 1e6 * Y]), np.repeat([1, 0], 60)
    net = nnpy.NeuralNetwork([6, 5, 3], ["tanh", "linear"], seed=3)
    assert not chosen(net, x, y, sample_weight=w)
    net = nnpy.NeuralNetwork([6, 5, 3], ["tanh", "linear"], seed=3)
    assert chosen(net, x, y, sample_weight=1 - w) == "inputs standardised; targets standardised"


def test_inputs_that_need_no_scaling_are_used_in_place(monkeypatch):
    seen = []
    train = defaults.loop.fit
    monkeypatch.setattr(
        defaults.loop,
        "fit",
        lambda model, given, *args, **how: (seen.append(given), train(model, given, *args, **how))[1],
    )
    for x in (X, X[::-2], RNG.random((60, 12), dtype=np.float32)[:, 3:9]):
        seen.clear()
        nnpy.NeuralNetwork([6, 5, 3], seed=3).fit(x, LABELS[: len(x)], epochs=1)
        assert seen[0].x is x


# ---- The optimiser ----


@pytest.mark.parametrize(
    ("activations", "width", "rate"),
    [(None, 9, 0.02), ("tanh", 9, 0.005), (["relu", "linear"], 512, 0.0025), (["sigmoid", "linear"], 512, 0.01)],
)
def test_the_default_optimizer(activations, width, rate):
    one, other = (nnpy.NeuralNetwork([6, width, 3], activations, seed=3) for _ in range(2))
    history = one.fit(X, np.tanh(Y), epochs=4, seed=1)
    assert history.chosen.endswith(f"Adam with a learning rate from {rate:g} to 0")
    other.fit(X, np.tanh(Y), optimizer=nnpy.Adam(nnpy.CosineDecay(rate)), epochs=4, seed=1)
    same(one, other)


def test_the_smallest_of_many_layers_and_none_set_the_rate():
    assert nnpy.NeuralNetwork([6, 3], seed=0).fit(X, LABELS, epochs=1).learning_rate[0] < 0.02
    history = nnpy.NeuralNetwork([6, 512, 8, 3], ["sigmoid", "tanh", "softmax"], seed=0).fit(X, LABELS, epochs=1)
    assert history.chosen == "Adam with a learning rate from 0.0025 to 0"


# ---- The number of epochs ----


def make(seed=3):
    return nnpy.NeuralNetwork([6, 5, 3], ["tanh", "softmax"], seed=seed)


def epochs_text(x=X, y=LABELS, net=None, **options):
    """Return what is chosen instead of the number of epochs."""
    net = make() if net is None else net
    return net.fit(x, y, **{"optimizer": "adam", "seed": 1, **options})


def test_cross_validation_chooses_epochs_and_l2():
    """It finds what a search by hand finds, and the network is that of a fit with these arguments."""
    rng = np.random.default_rng(5)
    x = rng.normal(size=(60, 20))
    y = (x[:, 0] + 2 * rng.normal(size=60) > 0).astype(int)  # mostly noise: long training without a penalty is bad

    def net():
        return nnpy.NeuralNetwork([20, 16, 1], ["tanh", "sigmoid"], seed=2)

    whole = net()
    history = whole.fit(x, y, seed=1)
    words = history.chosen.split("; ")[-1]
    num, l2 = int(words.split()[0]), 3 / 60
    assert words == f"{num} epochs and l2=0.05 by 5-fold cross-validation"
    assert len(history) == num < 300
    assert history.val_loss is None
    by_hand = net()
    by_hand.fit(x, y, epochs=num, l2=l2, seed=1)
    same(whole, by_hand)
    assert net().fit(x, y, seed=1).chosen == history.chosen
    # A given l2 is kept.
    history = net().fit(x, y, l2=0.5, seed=1)
    assert history.chosen.split("; ")[-1].endswith(" epochs by 5-fold cross-validation")


def test_cross_validation_has_the_same_result_on_any_number_of_threads():
    found = set()
    for num in (1, 2, 3):
        nnpy.set_num_threads(num)
        net = make()
        history = epochs_text(net=net)
        found.add((history.chosen, net.parameters.tobytes()))
    networks = [make() for _ in range(3)]
    histories = nnpy.fit_many(networks, X, LABELS, optimizer="adam", seed=1)
    for history, net in zip(histories, networks, strict=True):
        found.add((history.chosen, net.parameters.tobytes()))
    assert len(found) == 1


def test_folds_have_their_share_of_each_class():
    y = np.repeat([0, 1, 2], [30, 10, 5])
    folds = cross_validation._folds(y, 7, is_classifier=True)
    assert np.array_equal(np.bincount(folds), [9] * 5)
    for label, share in ((0, 6), (1, 2), (2, 1)):
        assert np.array_equal(np.bincount(folds[y == label]), [share] * 5)
    assert not np.array_equal(folds, cross_validation._folds(y, 8, is_classifier=True))
    assert np.array_equal(np.bincount(cross_validation._folds(Y, 7, is_classifier=False)), [12] * 5)


def test_folds_train_with_the_weights_of_their_samples(monkeypatch):
    seen = []
    train = cross_validation.loop.fit

    def spy(model, given, options, **how):
        seen.append((given, options))
        return train(model, given, options, **how)

    monkeypatch.setattr(cross_validation.loop, "fit", spy)
    weights = np.arange(60) + 1.0
    epochs_text(sample_weight=weights, metrics="accuracy", callbacks=lambda *_: None, verbose=0)
    first, *folds, last = seen
    assert first[1].epochs == 0
    assert last[1].callbacks
    assert len(folds) == 20
    for given, options in folds:
        assert sorted([*given.rows, *given.held_out]) == list(range(60))
        assert given.num_samples == 48
        assert given.x is folds[0][0].x  # converted once
        assert given.y is LABELS
        assert options.sample_weight is weights
        assert (options.metrics, options.callbacks) == ((), ())
    assert sorted(options.l2 for _, options in folds) == [0.0] * 5 + [1 / 60] * 5 + [0.05] * 5 + [1 / 6] * 5


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"validation_split": 0.2}, "up to 1000 epochs with early stopping by the validation loss"),
        ({"validation_data": (X, LABELS)}, "up to 1000 epochs with early stopping by the validation loss"),
        ({"early_stopping": 3}, "up to 1000 epochs"),
        ({"early_stopping": 3, "validation_split": 0.2}, "up to 1000 epochs"),
        ({"early_stopping": 3, "batch_size": 5}, "up to 300 epochs"),
        ({"early_stopping": 3, "batch_size": None}, "up to 2000 epochs"),
        (
            {"checkpoint": "file.npz"},
            "up to 1000 epochs with early stopping by the loss of 6 samples that are held out",
        ),
        ({"optimizer": "rprop"}, "up to 300 epochs with early stopping by the loss of 6 samples that are held out"),
        (
            {"optimizer": nnpy.SGD(nnpy.ReduceOnPlateau(0.1))},
            "up to 1000 epochs with early stopping by the loss of 6 samples that are held out",
        ),
        ({"epochs": 7}, ""),
    ],
)
def test_arguments_that_end_the_training_are_kept(options, text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    history = epochs_text(**options)
    assert history.chosen == text
    assert (history.val_loss is not None) == (
        "validation" in text or "held out" in text or "validation_split" in options
    )
    assert history.stopped in {"early", "epochs", "converged"}


def test_held_out_samples():
    """A trained network, or many samples: a tenth is held out, and the best parameters are kept."""
    net = make()
    net.partial_fit(X, LABELS)
    twin = copy.copy(net)
    history = net.fit(X, LABELS, optimizer="adam", seed=1)
    assert history.chosen == "up to 1000 epochs with early stopping by the loss of 6 samples that are held out"
    assert 0 < history.best_epoch < 1000
    stopping = nnpy.EarlyStopping(333)
    other = twin.fit(X, LABELS, optimizer="adam", seed=1, epochs=1000, early_stopping=stopping, validation_split=0.1)
    same(net, twin)
    assert other.best_epoch == history.best_epoch


@pytest.mark.parametrize(
    ("num", "epochs", "held_out"), [(2001, 300, 200), (20_000, 50, 2000), (200_000, 5, 10_000), (1_000_000, 5, 10_000)]
)
def test_the_work_is_limited(num, epochs, held_out):
    plan = defaults._plan_epochs(
        make(),
        Given(np.empty((num, 6)), np.empty(num), None),
        FitOptions(optimizer="adam"),
        is_untrained=False,
        backend=None,
        poll=None,
    )
    assert plan.options["epochs"] == epochs
    assert round(plan.options["validation_split"] * num) == held_out
    assert plan.text.endswith(f"the loss of {held_out:,} samples that are held out")


def test_one_fold_of_many_samples():
    x = np.concatenate([X] * 34)
    y = np.tile(LABELS, 34)
    net, other = make(), make()
    history = net.fit(x, y, batch_size=512, seed=1)
    words = history.chosen.split("; ")[-1]
    num, l2 = int(words.split()[0]), float(words.split("l2=")[1].split()[0])
    assert words.endswith(" by the loss of a 5th of the samples")
    assert l2 == 0  # the samples are repeated: what is learnt by heart is right
    other.fit(x, y, batch_size=512, seed=1, epochs=num)
    same(net, other)


@pytest.mark.parametrize(("num", "width", "is_small"), [(1000, 1000, True), (1000, 2000, False), (400_000, 100, True)])
def test_cross_validation_is_for_what_takes_seconds(num, width, is_small, monkeypatch):
    calls = []
    monkeypatch.setattr(defaults, "cross_validate", lambda *args, **how: calls.append(args))
    net = nnpy.NeuralNetwork([6, width, 3], seed=0)
    given, options = Given(np.empty((num, 6)), np.empty(num), None), FitOptions(optimizer="adam")
    plan = defaults._plan_epochs(net, given, options, is_untrained=True, backend=None, poll=None)
    assert len(calls) == is_small
    assert plan.options["epochs"] * num * net.parameters.size <= 5e9 or not is_small
    assert plan.text.endswith("samples that are held out")  # also if cross-validation finds nothing


def test_few_samples():
    x, y = [[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 0]
    net = nnpy.NeuralNetwork([2, 4, 1], seed=1)
    history = net.fit(x, y, seed=0)
    assert history.chosen == "Adam with a learning rate from 0.02 to 0; 2000 epochs"
    np.testing.assert_array_equal(net.predict_classes(x), y)


def test_batches_are_gone_through_ten_times():
    history = make().fit([(X, LABELS)])
    assert history.chosen == "Adam with a learning rate from 0.005 to 0; 10 epochs"
    assert len(history) == 10
    net = nnpy.NeuralNetwork([6, 5, 3], seed=3)
    net.fit([(X, LABELS)], loss="cross_entropy", epochs=1)
    assert net.activations[-1] == "softmax"
    net = nnpy.NeuralNetwork([6, 5, 3], seed=3)
    net.fit([(X * 100, ONE_HOT)], epochs=1)
    assert net.activations[-1] == "sigmoid"
    assert net.scaler is None


def test_divergence_in_cross_validation_is_that_of_the_training():
    net = nnpy.NeuralNetwork([6, 5, 3], ["relu", "linear"], seed=3)
    with pytest.raises(nnpy.DivergenceError):
        net.fit(X, Y, optimizer=nnpy.SGD(1e15), seed=1)
    assert np.isfinite(net.parameters).all()


@pytest.mark.parametrize(("num", "text"), [(4, "2000 epochs"), (12, " epochs and l2=0.25 by 5-fold cross-validation")])
def test_samples_without_weight_are_left_out(num, text):
    """A fold of them would have no loss."""
    rows = np.arange(0, 60, 60 // num)
    weights = np.zeros(60)
    weights[rows] = 1 + np.arange(num)
    one, other = (nnpy.NeuralNetwork([6, 5, 3], ["tanh", "linear"], seed=3) for _ in range(2))
    history = one.fit(X, Y, optimizer="adam", seed=3, sample_weight=weights)
    assert history.chosen.endswith(text)
    other.fit(X[rows], Y[rows], optimizer="adam", seed=3, sample_weight=weights[rows])
    same(one, other)


def test_a_fold_that_is_refused_has_samples_held_out_instead(monkeypatch):
    def refuse(*_):
        raise ValueError("all samples have a weight of 0 or no target")

    monkeypatch.setattr(cross_validation, "_run", refuse)
    assert epochs_text().chosen.endswith("the loss of 6 samples that are held out")


# ---- What is refused, and Ctrl-C ----


@pytest.mark.parametrize(
    ("x", "y", "options", "message"),
    [
        (X * 100, Y * 100, {"epochs": 2.5}, "^epochs must be an integer"),
        (X * 100, Y * 100, {"epochs": "many"}, "^epochs must be an integer"),
        (X * 100, Y * 100, {"metrics": "f1"}, "^a metric must be "),
        (X * 100, Y * 100, {"verbose": 2}, "^verbose must be from 0 to 1, got 2$"),
        (X * 100, Y * 100, {"loss": "l3"}, "^loss must be one of "),
        (X * 100, Y * 100, {"batch_size": 0}, "^batch_size must be "),
        (X * 100, Y * 100, {"sample_weight": np.zeros(60)}, "^all samples have a weight of 0"),
        (X * 100, Y * 100, {"sample_weight": np.ones(3)}, "^sample_weight must have shape "),
        (X * 100, np.where(Y > 0.9, np.nan, Y) * 100, {}, "^y must be finite in float32, got y"),
        (np.where(X > 2, np.nan, X) * 100, Y * 100, {}, "^x must be finite in float32, got x"),
        (np.where(X > 2, np.inf, X), Y, {}, "^x must be finite in float32, got x"),
        (X.astype(float) * 1e300, Y, {}, "^x must be finite in float32, got x"),
        (X * 100, Y[:50] * 100, {}, "^x and y must have the same number of rows, got 60 and 50$"),
        (X * 100, LABELS + 1, {}, "^y must be labels from 0 to 2, got 1 to 3$"),
        (X * 100, LABELS.astype(str), {}, "^y must be integer labels"),
        (X[:0], Y[:0], {}, "^x and y must have at least one row, got none$"),
        (X * 100, Y[:, :2], {}, "^y must have 3 columns"),
    ],
)
def test_refused_arguments_change_nothing(x, y, options, message):
    net = nnpy.NeuralNetwork([6, 5, 3], seed=3)
    before = net.parameters.copy()
    with pytest.raises((TypeError, ValueError), match=message):
        net.fit(x, y, **options)
    np.testing.assert_array_equal(net.parameters, before)
    assert net.activations == ("sigmoid", "sigmoid")
    assert net.scaler is None
    assert net.feature_names is None
    same_as_new = nnpy.NeuralNetwork([6, 5, 3], seed=3)
    for one in (net, same_as_new):
        chosen(one, X * 100, LABELS)
    same(net, same_as_new)


def test_no_epochs_choose_nothing():
    net = nnpy.NeuralNetwork([6, 5, 3], seed=3)
    net.fit(X * 100, LABELS, epochs=0)
    assert net.activations == ("sigmoid", "sigmoid")
    assert net.scaler is None


@pytest.mark.skipif(sys.platform == "win32", reason="the test uses a timer of Unix")
def test_ctrl_c_in_cross_validation_changes_nothing():
    net = nnpy.NeuralNetwork([6, 64, 3], seed=3)
    before = net.parameters.copy()

    def interrupt(*_):
        raise KeyboardInterrupt

    old = signal.signal(signal.SIGALRM, interrupt)
    try:
        x = np.concatenate([X * 100] * 30)
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        history = net.fit(x, np.tile(LABELS, 30))
    finally:
        signal.signal(signal.SIGALRM, old)
    assert (history.stopped, len(history)) == ("interrupt", 0)
    np.testing.assert_array_equal(net.parameters, before)
    assert net.activations == ("sigmoid", "sigmoid")
    assert net.scaler is None
    for thread in threading.enumerate():
        if thread.name.startswith("nnpy"):  # it may have just ended its work
            thread.join(10)
            assert not thread.is_alive()


# ---- What it is for ----


@pytest.mark.parametrize(
    ("name", "least"), [("iris", 0.94), ("wine", 0.95), ("breast_cancer", 0.955), ("diabetes", 0.4)]
)
def test_three_lines_are_enough(name, least):
    """Two folds; benchmarks/defaults.py compares with the best settings."""
    datasets = pytest.importorskip("sklearn.datasets")
    x, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    outputs = 3 if name in {"iris", "wine"} else 1
    order = np.random.default_rng(0).permutation(len(x))
    scores = []
    for kept, held_out in ((order[::2], order[1::2]), (order[1::2], order[::2])):
        net = nnpy.NeuralNetwork([x.shape[1], 32, outputs], seed=0)
        net.fit(x[kept], y[kept], seed=0)
        scores.append(net.score(x[held_out], y[held_out]))
    assert np.mean(scores) > least
