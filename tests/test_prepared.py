"""Short calls that the call before has prepared: the same bits, errors and side effects as calls that go the whole way."""

import copy
import pickle
import threading
import weakref

import numpy as np
import pytest

import nnpy
from nnpy._training import loop

RNG = np.random.default_rng(11)
X = RNG.normal(size=(40, 4)).astype(np.float32)
Y = RNG.random((40, 2), dtype=np.float32)

STEP_OPTIONS = {
    "defaults": {"seed": 1},
    "full batch": {"batch_size": None},
    "no shuffle": {"batch_size": 7, "shuffle": False},
    "shuffle": {"batch_size": 7, "seed": 3},
    "dropout": {"dropout": 0.25, "seed": 4},
    "dropout by layer": {"dropout": (0.25,), "seed": 4, "batch_size": None},
    "momentum": {"optimizer": nnpy.SGD(0.1, momentum=0.9), "seed": 5},
    "by name": {"optimizer": "rmsprop", "seed": 5},
    "rprop": {"optimizer": nnpy.Rprop(), "batch_size": None},
    "penalties": {"l2": 0.01, "clip_norm": 0.1, "seed": 6},
    "loss": {"loss": nnpy.Huber(0.3), "seed": 7},
}


def make(activations=("tanh", "sigmoid"), sizes=(4, 6, 2)):
    return nnpy.NeuralNetwork(sizes, list(activations), seed=2)


def same(one, other):
    np.testing.assert_array_equal(one.parameters, other.parameters)


def forget(net):
    """Make the next call go the whole way."""
    net._prepared_descent = net._prepared_step = None


@pytest.fixture
def whole_way(monkeypatch):
    """The number of calls of partial_fit that went the whole way, in a list."""
    calls, right = [], loop.partial_fit
    monkeypatch.setattr(loop, "partial_fit", lambda *arguments: (calls.append(1), right(*arguments))[1])
    return calls


def descent_is_prepared(net, *arguments, **options):
    return net._prepared_descent.train(net, *arguments, **{"iterations": 1, "loss": None, **options})


# ---- The same results ----


@pytest.mark.parametrize("options", STEP_OPTIONS.values(), ids=STEP_OPTIONS)
def test_partial_fit_has_the_same_bits(options, whole_way):
    one, other = make(), make()
    for first in (0, 10, 5, 0):
        x, y = X[first:], Y[first:]
        loss = one.partial_fit(x, y, **options)
        assert other.partial_fit(x, y, **options) == loss
        forget(other)
        same(one, other)
    assert len(whole_way) == 5
    assert one._state.num_passes == other._state.num_passes == 4
    for name, array in one._state.to_arrays().items():
        np.testing.assert_array_equal(array, other._state.to_arrays()[name])
    np.testing.assert_array_equal(
        copy.copy(one).partial_fit(X, Y, **options), pickle.loads(pickle.dumps(other)).partial_fit(X, Y, **options)
    )


@pytest.mark.parametrize("activations", [("tanh", "linear"), ("relu", "softmax"), ("sigmoid", "sigmoid")])
@pytest.mark.parametrize("scales", [None, "x", "x and y"])
def test_gradient_descent_has_the_same_bits(activations, scales):
    one, other, y = make(activations), make(activations), Y / Y.sum(axis=1, keepdims=True)
    if scales == "x and y" and activations[-1] == "linear":
        one.fit_scaler(X, y)
        other.fit_scaler(X, y)
    elif scales is not None:
        one.fit_scaler(X)
        other.fit_scaler(X)
    one.gradient_descent(X, y, rate=0.05)
    other.gradient_descent(X, y, rate=0.05)
    for rate, x in ((0.05, X), (0.025, X[:3]), (1, X[:1])):  # another rate needs no preparation
        assert descent_is_prepared(one, x, y[: len(x)], rate=rate)
        forget(other)
        other.gradient_descent(x, y[: len(x)], rate=rate)
        same(one, other)
    for iterations in (50, 50):
        one.gradient_descent(X, y, rate=0.05, iterations=iterations)
        forget(other)
        other.gradient_descent(X, y, rate=0.05, iterations=iterations)
        same(one, other)


def test_partial_fit_with_a_scaler_has_the_same_bits(whole_way):
    one, other = make(("tanh", "linear")), make(("tanh", "linear"))
    for net in (one, other):
        net.fit_scaler(X, Y * 100)
    for _ in range(3):
        forget(other)
        assert one.partial_fit(X, Y * 100, seed=0) == other.partial_fit(X, Y * 100, seed=0)
        same(one, other)
    assert len(whole_way) == 4


def test_targets_of_one_output_may_have_one_dimension(whole_way):
    net, other = make(sizes=(4, 3, 1)), make(sizes=(4, 3, 1))
    for y in (Y[:, :1].copy(), Y[:, 0].copy(), Y[:, :1].copy()):
        assert net.partial_fit(X, y, seed=0) == other.partial_fit(X, y.tolist(), seed=0)
        same(net, other)
    assert len(whole_way) == 1 + 3


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.int64])
def test_labels_have_the_same_bits(dtype, whole_way):
    one, other = make(("relu", "softmax"), (4, 6, 3)), make(("relu", "softmax"), (4, 6, 3))
    labels = RNG.integers(0, 3, 40).astype(dtype)
    one.gradient_descent(X, labels, rate=0.1)
    other.gradient_descent(X, labels, rate=0.1)
    for y in (labels, labels[::-1].copy(), np.eye(3, dtype=np.float32)[labels], labels, labels.reshape(40, 1), labels):
        assert one.partial_fit(X, y, seed=0) == other.partial_fit(X, y.tolist(), seed=0)
        one.gradient_descent(X, y, rate=0.1)
        other.gradient_descent(X, y.tolist(), rate=0.1)
        same(one, other)
    assert len(whole_way) == 6 + 5  # the probabilities and the column are no labels, nor do they prepare for them
    for label, message in ((3, "got 0 to 3"), (-1, "got -1 to 2")):
        wrong = labels.copy()
        if dtype != np.uint8 or label > 0:
            wrong[5] = label
            for call in (lambda y: one.partial_fit(X, y, seed=0), lambda y: one.gradient_descent(X, y, rate=0.1)):
                with pytest.raises(ValueError, match=f"^y must be labels from 0 to 2, {message}"):
                    call(wrong)
    same(one, other)


def test_labels_of_a_single_class_are_no_column_of_probabilities():
    net = make(("tanh", "softmax"), (4, 3, 1))
    net.partial_fit(X, np.ones((40, 1), np.float32), seed=0)
    with pytest.raises(ValueError, match=r"^y must be labels from 0 to 0, got 1"):
        net.partial_fit(X, np.ones(40, np.float32), seed=0)


def test_without_a_seed_each_call_takes_another_order():
    net = make()
    net.partial_fit(X, Y, batch_size=1, optimizer="sgd")
    losses = set()
    for _ in range(4):
        other = copy.copy(net)
        other.partial_fit(X, Y, batch_size=1, optimizer="sgd")
        before = other.parameters.copy()
        losses.add(other.partial_fit(X, Y, batch_size=1, optimizer="sgd"))
        assert (other.parameters != before).any()
    assert len(losses) == 4


@pytest.mark.parametrize(
    ("x", "y"),
    [
        (X.astype(np.float64), Y),
        (X, Y.astype(np.float64)),
        (X.tolist(), Y.tolist()),
        (np.asfortranarray(X), Y),
        (X[::2], Y[::2]),
        (X, np.repeat(Y, 2, axis=1)[:, ::2]),
        (np.frombuffer(b"\0" + X.tobytes(), np.uint8)[1:].view(np.float32).reshape(X.shape), Y),
    ],
    ids=["x of float64", "y of float64", "lists", "by columns", "every other row", "every other column", "not aligned"],
)
def test_other_arrays_go_the_whole_way(x, y, whole_way):
    one, other = make(), make()
    one.partial_fit(X, Y, seed=0)
    other.partial_fit(X, Y, seed=0)
    forget(other)
    assert one.partial_fit(x, y, seed=0) == other.partial_fit(np.array(x, np.float32), np.array(y, np.float32), seed=0)
    same(one, other)
    one.gradient_descent(X, Y, rate=0.1)
    assert not descent_is_prepared(one, x, y, rate=0.1)
    assert len(whole_way) == 4


def test_samples_that_lie_among_the_parameters_are_copied():
    """Otherwise training would change its own inputs."""

    def train(get_inputs):
        net = nnpy.NeuralNetwork([4, 4, 2], "linear", seed=3)
        options = {"optimizer": nnpy.SGD(0.01), "batch_size": 1, "shuffle": False}
        net.gradient_descent(X, Y, rate=0.01)
        net.partial_fit(X, Y, **options)
        net.partial_fit(get_inputs(net), Y[:4], **options)
        net.gradient_descent(get_inputs(net), Y[:4], rate=0.01)
        return net

    same(train(lambda net: net.weights[0]), train(lambda net: net.weights[0].copy()))


# ---- The same errors ----


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x, y: (np.where(x == x[3, 2], np.nan, x), y), r"^x must be finite in float32, got x\[3, 2\] = nan"),
        (lambda x, y: (x, np.where(y == y[3, 1], np.inf, y)), r"^y must be finite in float32, got y\[3, 1\] = inf"),
        (lambda x, y: (x, y + 1), r'^y is from .*, but the outputs of the last layer, "sigmoid", are'),
        (lambda x, y: (x[:, :3], y), r"^x must have 4 columns"),
        (lambda x, y: (x[0], y[0]), r"^x must have shape \(samples, 4\)"),
        (lambda x, y: (x[:-1], y), r"^x and y must have the same number of rows, got 39 and 40"),
        (lambda x, y: (x, y[:, :1]), r"^y must have 2 columns"),
        (lambda x, y: (x[:0], y[:0]), r"^x and y must have at least one row"),
        (lambda x, y: (x[0, 0], y[0, 0]), r"^x must have shape"),
    ],
)
def test_wrong_samples_are_refused_as_ever(change, message):
    net = make()
    net.partial_fit(X, Y, seed=0)
    net.gradient_descent(X, Y, rate=0.1)
    net.partial_fit(X, Y, seed=0)
    x, y = (np.array(a, dtype=np.float32) for a in change(X, Y))
    before, passes = net.parameters.copy(), net._state.num_passes
    for call in (lambda: net.partial_fit(x, y, seed=0), lambda: net.gradient_descent(x, y, rate=0.1)):
        with pytest.raises(ValueError, match=message):
            call()
    np.testing.assert_array_equal(net.parameters, before)
    assert net._state.num_passes == passes


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"batch_size": True}, TypeError, "^batch_size must be an integer, got True"),
        ({"batch_size": 1.0}, TypeError, r"^batch_size must be an integer, got 1\.0"),
        ({"shuffle": 1}, TypeError, "^shuffle must be True or False, got 1"),
        ({"l2": -1.0}, ValueError, "^l2 must not be negative"),
        ({"l2": False}, TypeError, "^l2 must be a real number, got False"),
        ({"seed": -1}, ValueError, "^seed must be from 0"),
        ({"seed": 1.0}, TypeError, "^seed must be an integer"),
        ({"seed": 2**64}, ValueError, "^seed must be from 0"),
        ({"optimizer": "newton"}, ValueError, "^optimizer must be one of"),
        ({"optimizer": nnpy.LBFGS()}, ValueError, "^partial_fit needs an optimizer with a number"),
        ({"loss": "none"}, ValueError, "^loss must be"),
        ({"missing": "drop"}, ValueError, "^missing must be"),
        ({"dropout": 2.0}, ValueError, "^dropout must be from 0"),
        ({"sample_weight": [1.0]}, ValueError, "^sample_weight must have shape"),
    ],
)
def test_wrong_options_of_partial_fit_are_refused_as_ever(options, error, message):
    net = make()
    for _ in range(2):
        net.partial_fit(X, Y, batch_size=1, shuffle=True, l2=0.0, seed=1)
    before = net.parameters.copy()
    with pytest.raises(error, match=message):
        net.partial_fit(X, Y, **{"batch_size": 1, "shuffle": True, "l2": 0.0, "seed": 1, **options})
    np.testing.assert_array_equal(net.parameters, before)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"rate": 0.0}, ValueError, "^rate must be positive"),
        ({"rate": True}, TypeError, "^rate must be a real number, got True"),
        ({"rate": np.inf}, ValueError, "^rate must be finite"),
        ({"rate": np.nan}, ValueError, "^rate must be finite"),
        ({"rate": "1"}, TypeError, "^rate must be a real number"),
        ({"iterations": True}, TypeError, "^iterations must be an integer, got True"),
        ({"iterations": 1.0}, TypeError, "^iterations must be an integer"),
        ({"iterations": -1}, ValueError, "^iterations must be from 0"),
        ({"loss": "none"}, ValueError, "^loss must be"),
        ({"eps": -1.0}, ValueError, "^eps must be positive"),
    ],
)
def test_wrong_options_of_gradient_descent_are_refused_as_ever(options, error, message):
    net = make()
    for _ in range(2):
        net.gradient_descent(X, Y, rate=1.0)
    before = net.parameters.copy()
    with pytest.raises(error, match=message):
        net.gradient_descent(X, Y, **{"rate": 1.0, "iterations": 1, **options})
    np.testing.assert_array_equal(net.parameters, before)


def test_divergence_is_the_same():
    results = []
    for is_prepared in (True, False):
        net = make(("linear", "linear"))
        net.partial_fit(X, Y, optimizer=nnpy.SGD(0.1), batch_size=5, seed=0)
        net.gradient_descent(X, Y, rate=1e-9, iterations=30)
        for call in (
            lambda net=net: net.gradient_descent(X, Y, rate=1e3, iterations=30),
            lambda net=net: net.partial_fit(X * 1e3, Y, optimizer=nnpy.SGD(0.1), batch_size=5, seed=0),
        ):
            if not is_prepared:
                forget(net)
            with pytest.raises(nnpy.DivergenceError) as error:
                call()
            assert np.isfinite(net.parameters).all()
            results.append((str(error.value), error.value.epoch, error.value.batch, net.parameters.tobytes()))
    assert results[:2] == results[2:]
    assert results[0][0].startswith("training diverged in iteration ")
    assert results[1][0].startswith("training diverged in epoch 1, batch ")


def test_parameters_that_are_not_finite_are_refused():
    net = make()
    net.partial_fit(X, Y, seed=0)
    net.gradient_descent(X, Y, rate=0.1)
    net.parameters[3] = np.nan
    for call in (lambda: net.partial_fit(X, Y, seed=0), lambda: net.gradient_descent(X, Y, rate=0.1)):
        with pytest.raises(ValueError, match="^the parameters of the network are not finite"):
            call()


# ---- What ends a preparation ----


def test_changes_of_the_network_are_seen(whole_way):
    """A new scaler, a fit and randomize; and an optimiser or an option of its own."""
    one, other = make(("tanh", "linear")), make(("tanh", "linear"))

    def step(**options):
        forget(other)
        before = len(whole_way)
        assert one.partial_fit(X, Y, seed=0, **options) == other.partial_fit(X, Y, seed=0, **options)
        same(one, other)
        return len(whole_way) - before == 1  # whether `one` was prepared

    assert [step(), step()] == [False, True]
    one.fit_scaler(X, Y)
    other.fit_scaler(X, Y)
    assert [step(), step()] == [False, True]
    one.fit(X, Y, epochs=1, seed=0)
    other.fit(X, Y, epochs=1, seed=0)
    assert [step(), step()] == [False, True]
    one.randomize(seed=1)
    other.randomize(seed=1)
    assert [step(), step()] == [False, True]
    assert [step(l2=0.5), step(l2=0.5), step()] == [False, True, False]
    assert [step(optimizer=nnpy.SGD(0.1)), step(optimizer=nnpy.SGD(0.1)), step()] == [False, True, True]
    assert not step(optimizer=nnpy.SGD(0.2))
    one.gradient_descent(X, Y, rate=0.1)
    assert descent_is_prepared(one, X, Y, rate=0.1)
    one.fit_scaler(X * 2)
    assert not descent_is_prepared(one, X, Y, rate=0.1)


def test_the_options_of_a_refused_call_do_not_last():
    one, other = make(), make()
    for net in (one, other):
        net.partial_fit(X, Y, seed=0)
    bad = np.full_like(X, np.nan)
    with pytest.raises(ValueError, match="^x must be finite"):
        one.partial_fit(bad, Y, seed=0, l2=1.0, clip_norm=0.001)
    assert one.partial_fit(X, Y, seed=0) == other.partial_fit(X, Y, seed=0)
    same(one, other)


def test_another_last_activation_has_another_loss():
    """`fit` chooses the softmax, as nothing has changed the initial parameters."""
    x, labels = RNG.normal(size=(60, 4)).astype(np.float32), np.arange(60) % 2
    one, other = (nnpy.NeuralNetwork([4, 6, 2], seed=2) for _ in range(2))
    initial = one.parameters.copy()
    one.gradient_descent(x, np.eye(2, dtype=np.float32)[labels], rate=0.1)
    one.parameters = initial
    for net in (one, other):
        net.fit(x, labels, epochs=1, seed=0)
        net.gradient_descent(x, np.eye(2, dtype=np.float32)[labels], rate=0.1)
    assert one.activations == ("sigmoid", "softmax")
    same(one, other)


def test_a_list_of_options_may_change():
    dropout = [0.5]
    one, other = make(), make()
    for probability in (0.5, 0.25):
        dropout[0] = probability
        loss = one.partial_fit(X, Y, dropout=dropout, seed=0)
        assert loss == other.partial_fit(X, Y, dropout=probability, seed=0)
    same(one, other)


def test_many_samples_go_the_whole_way(whole_way):
    """A call of more than some tenths of a millisecond can be interrupted, and may use threads."""
    net = make()
    x, y = np.repeat(X, 1000, axis=0), np.repeat(Y, 1000, axis=0)
    for _ in range(2):
        net.partial_fit(x, y, seed=0)
    assert len(whole_way) == 2
    net.gradient_descent(X, Y, rate=0.01, iterations=1000)
    assert not descent_is_prepared(net, X, Y, rate=0.01, iterations=1000)


def test_the_names_of_the_columns_are_kept():
    pandas = pytest.importorskip("pandas")
    net = make()
    net.partial_fit(pandas.DataFrame(X, columns=list("abcd")), Y, seed=0)
    for _ in range(2):
        net.partial_fit(X, Y, seed=0)
    assert net.feature_names == tuple("abcd")
    with pytest.raises(ValueError, match="^the columns of x are in another order"):
        net.partial_fit(pandas.DataFrame(X, columns=list("dcba")), Y, seed=0)


def test_threads_take_turns():
    net, other = make(), make()
    num = 200

    def train():
        for _ in range(num):
            net.partial_fit(X, Y, batch_size=None)
            net.gradient_descent(X, Y, rate=0.0625)

    other.partial_fit(X, Y, batch_size=None)
    threads = [threading.Thread(target=train) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert net._state.num_passes == 4 * num
    assert np.isfinite(net.parameters).all()


def test_a_network_is_freed_without_the_garbage_collector():
    """What is prepared refers to the network's memory, not to the network."""
    net = make()
    net.partial_fit(X, Y)
    net.gradient_descent(X, Y, rate=0.1)
    reference = weakref.ref(net)
    del net
    assert reference() is None


# ---- Predictions ----


@pytest.mark.parametrize("num", [0, 1, 2, 8, 9, 40, 97, 5000])
@pytest.mark.parametrize("scales", ["nothing", "x", "x and y"])
def test_predictions_of_few_and_many_rows_are_the_same(num, scales):
    net = make(("tanh", "linear"))
    if scales != "nothing":
        net.fit_scaler(X, Y if scales == "x and y" else None)
    x = RNG.normal(size=(num, 4)).astype(np.float32)
    out = net.predict(x)
    assert out.dtype == (np.float64 if scales == "x and y" else np.float32)
    assert out.flags.c_contiguous
    np.testing.assert_array_equal(out, net._forward_batch(x))
    np.testing.assert_array_equal(out, np.concatenate([net.predict(row[np.newaxis]) for row in x]) if num else out)
    np.testing.assert_array_equal(out, net.predict(np.asfortranarray(x)))


def test_predictions_of_nan_and_infinite_outputs():
    net = make(("linear", "linear"))
    net.parameters = 3e38
    out = net.predict(np.array([[1, 1, 1, 1], [-1, 1, -1, 1], [9, 9, -9, -9]], dtype=np.float32))
    np.testing.assert_array_equal(
        out, net._forward_batch(np.repeat([[1, 1, 1, 1], [-1, 1, -1, 1], [9, 9, -9, -9]], 40, axis=0))[::40]
    )
    with pytest.raises(ValueError, match=r"^x must be finite in float32, got x\[1, 0\] = inf"):
        net.predict(np.array([[1, 1, 1, 1], [np.inf, 1, 1, 1]], dtype=np.float32))
