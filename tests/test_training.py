"""What `fit` does around the steps: validation data, dropout, callbacks, batches, divergence, Ctrl-C; refused options."""

import copy
import faulthandler
import json
import pickle
import re
import signal
import sys
import threading
from contextlib import contextmanager

import numpy as np
import pytest

import nnpy
from nnpy._training.data import shuffled

RNG = np.random.default_rng(3)
X = RNG.random((60, 6), dtype=np.float32)
LABELS = RNG.integers(0, 3, 60)
Y = RNG.random((60, 3), dtype=np.float32)


def make(last="linear", seed=3, sizes=(6, 9, 3)):
    return nnpy.NeuralNetwork(sizes, ["tanh", last], seed=seed)


@contextmanager
def limit(seconds=120):
    """Kill the process if a block takes longer: what runs in it should be stopped, and would never end by itself."""
    faulthandler.dump_traceback_later(seconds, exit=True, file=sys.__stderr__)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()


def train(net, x=X, y=Y, **options):
    return net.fit(x, y, **{"epochs": 4, "batch_size": 16, "seed": 1, **options})


def same(one, other):
    np.testing.assert_array_equal(one.parameters, other.parameters)


# ---- Validation data ----


def test_validation_data_is_evaluated_after_each_epoch_and_changes_nothing():
    net, other = make("softmax"), make("softmax")
    seen = []
    history = train(
        net,
        y=LABELS,
        validation_data=(X[:20], LABELS[:20]),
        callbacks=lambda net, _: seen.append(
            (net.loss(X[:20], LABELS[:20]), np.mean(net.predict(X[:20]).argmax(axis=1) == LABELS[:20]))
        ),
    )
    train(other, y=LABELS)
    same(net, other)
    np.testing.assert_array_equal(history.val_loss, [loss for loss, _ in seen])
    np.testing.assert_array_equal(history.metrics["val_accuracy"], [accuracy for _, accuracy in seen])
    assert history.val_loss.shape == history.learning_rate.shape == history.seconds.shape == (4,)
    assert history.stopped == "epochs"


def test_validation_data_may_have_weights():
    w = RNG.random(60)
    net = make()
    history = train(net, validation_data=(X, Y, w))
    expected = np.average(((net.predict(X).astype(float) - Y) ** 2).sum(axis=1), weights=w)
    assert history.val_loss[-1] == pytest.approx(expected, rel=1e-5)


def test_validation_split_holds_samples_out_by_the_seed():
    """Sample i alone has input i: the weight of that input does not change if the sample is held out."""
    x, y = np.eye(40, dtype=np.float32), np.ones((40, 1), np.float32)

    def held_out(seed):
        net = nnpy.NeuralNetwork([40, 1], "linear", seed=0)
        before = net.weights[0].copy()
        history = net.fit(x, y, validation_split=0.25, epochs=2, seed=seed)
        assert len(history.val_loss) == 2
        return np.flatnonzero((net.weights[0] == before).ravel()).tolist()

    assert len(held_out(0)) == 10
    assert held_out(0) == held_out(0) != held_out(1)


def split_by_hand(num, share, seed):
    """The rows that validation_split keeps, and those that it holds out."""
    order = shuffled(num, seed).astype(int)
    return np.sort(order[round(share * num) :]), np.sort(order[: round(share * num)])


@pytest.mark.parametrize("optimizer", ["adam", "lbfgs", nnpy.SGD(0.1)], ids=str)
@pytest.mark.parametrize(
    ("last", "y", "options"),
    [
        ("softmax", LABELS, {"class_weight": "balanced"}),
        ("softmax", LABELS, {"sample_weight": np.arange(60.0)}),
        ("softmax", np.eye(3, dtype=np.float32)[LABELS], {}),
        ("linear", Y, {"sample_weight": np.arange(60.0) ** 2, "metrics": "r2"}),
        ("linear", np.where(Y > 0.7, np.nan, Y), {"missing": "ignore"}),
        ("linear", Y.astype(np.float32)[:, ::-1], {"loss": "mae"}),
    ],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_validation_split_has_the_bits_of_two_copies(optimizer, last, y, options, dtype):
    x = X.astype(dtype)
    kept, held_out = split_by_hand(60, 0.3, 5)
    parts = [[x[rows], y[rows]] for rows in (kept, held_out)]
    weight = options.get("sample_weight")
    if weight is not None:
        parts[1].append(weight[held_out])
    by_hand = options if weight is None else {**options, "sample_weight": weight[kept]}
    nets = [make(last) for _ in range(2)]
    for net in nets:
        net.fit_scaler(x * 1.5)
    how = {"epochs": 4, "seed": 5, "optimizer": optimizer}
    one = nets[0].fit(x, y, validation_split=0.3, **options, **how)
    two = nets[1].fit(*parts[0], validation_data=tuple(parts[1]), **by_hand, **how)
    for a, b in zip(one.to_dict().items(), two.to_dict().items(), strict=True):
        assert a == b or a[0] == "seconds"
    np.testing.assert_array_equal(nets[0].parameters, nets[1].parameters)
    assert not np.array_equal(nets[0].parameters, make(last).parameters)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("is_held_out", [False, True])
@pytest.mark.parametrize("scales", [False, True])
def test_an_error_names_the_row_of_the_whole_array(dtype, is_held_out, scales):
    row = split_by_hand(60, 0.3, 5)[is_held_out][7]
    x, y = X.astype(dtype), Y.astype(dtype)
    net = make("linear")
    if scales:
        net.fit_scaler(x, y)
    x[row, 2] = np.nan
    with pytest.raises(ValueError, match=rf"^x must be finite in float32, got x\[{row}, 2\] = nan; "):
        net.fit(x, y, epochs=3, validation_split=0.3, seed=5)
    x[row, 2], y[row, 1] = 0, np.inf
    with pytest.raises(ValueError, match=rf"^y must be finite in float32, got y\[{row}, 1\] = inf; "):
        net.fit(x, y, epochs=3, validation_split=0.3, seed=5)
    np.testing.assert_array_equal(net.parameters, make("linear").parameters)


# ---- Dropout, l2, clipping ----


def test_dropout_drops_its_proportion_and_keeps_the_mean():
    """After one step from zero weights, the outgoing weight of a unit is still 0 if the unit was dropped."""
    net = nnpy.NeuralNetwork([1, 4000, 1], "linear", seed=0)
    net.weights[0], net.biases[0], net.weights[1], net.biases[1] = 1, 0, 0, 0
    net.fit([[1.0]], [[1.0]], optimizer=nnpy.SGD(0.5), epochs=1, dropout=0.25, seed=0)
    steps = net.weights[1].ravel()
    assert np.count_nonzero(steps == 0) == pytest.approx(1000, abs=120)
    np.testing.assert_allclose(steps[steps != 0], 1 / 0.75, rtol=1e-4)
    assert steps.sum() == pytest.approx(4000, rel=0.05)  # as without dropout


def test_dropout_depends_on_the_seed_and_the_epoch():
    """Steps are so small that the gradients of two epochs differ only in the units that are dropped."""

    def steps(**options):
        net, path = make(), [make().parameters.copy()]
        train(
            net,
            dropout=[0.5],
            shuffle=False,
            batch_size=None,
            epochs=2,
            optimizer=nnpy.SGD(1e-3),
            callbacks=lambda net, _: path.append(net.parameters.copy()),
            **options,
        )
        return np.diff(path, axis=0)

    one, other = steps(seed=1)
    np.testing.assert_array_equal(steps(seed=1), [one, other])
    assert np.linalg.norm(one - other) > 0.1 * np.linalg.norm(one)
    assert np.linalg.norm(one - steps(seed=2)[0]) > 0.1 * np.linalg.norm(one)


def test_l2_adds_to_the_gradient_of_the_weights_and_not_to_the_loss():
    net, before = make(), make()
    for bias in (*net.biases, *before.biases):
        bias[...] = 0.5
    gradient = before.backpropagation(X, Y)
    history = train(net, l2=0.3, optimizer=nnpy.SGD(1.0), batch_size=None, epochs=1)
    for now, then, g in zip(net.weights, before.weights, gradient.weights, strict=True):
        np.testing.assert_allclose(now, then - (g + 0.3 * then), rtol=0, atol=1e-6)
        assert np.abs(0.3 * then).max() > 1e-2
    for now, then, g in zip(net.biases, before.biases, gradient.biases, strict=True):
        np.testing.assert_allclose(now, then - g, rtol=0, atol=1e-6)
    assert history.loss[0] == pytest.approx(before.loss(X, Y), rel=1e-6)


def test_clipping_bounds_a_step():
    net = make()
    before = net.parameters.copy()
    train(net, y=1000 * Y, optimizer=nnpy.SGD(1.0), batch_size=None, epochs=1, clip_norm=0.125)
    assert np.linalg.norm(net.parameters - before) == pytest.approx(0.125, rel=1e-5)


# ---- Callbacks, history, output ----


def test_a_callback_stops_the_training():
    lengths = []

    def stop(net, history):
        lengths.append(len(history))
        return len(history) == 3

    history = train(make(), epochs=10, callbacks=[stop])
    assert lengths == [1, 2, 3]
    assert history.stopped == "callback"
    history = train(make(), epochs=10, callbacks=lambda net, history: history.loss[-1] < 1e9)  # a numpy.bool
    assert len(history) == 1


def test_history_goes_into_json():
    history = train(make("softmax"), y=LABELS, validation_split=0.2, early_stopping=10)
    table = json.loads(json.dumps(history.to_dict()))
    assert set(table) == {"loss", "val_loss", "val_accuracy", "learning_rate", "seconds"}
    np.testing.assert_array_equal(table["loss"], history.loss)
    assert history.stopped == "epochs"
    assert repr(history).startswith("<History of 4 epochs, loss ")


def test_verbose_prints_a_line_for_each_epoch(capsys):
    train(make("softmax"), y=LABELS, optimizer="adam", verbose=1, validation_split=0.2)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert re.fullmatch(
        r"epoch 4/4  loss \S+  val_loss \S+  val_accuracy \S+  learning_rate 0\.001  \d+\.\d\d s", lines[-1]
    )


# ---- Batches and partial_fit ----


def test_batches_are_steps():
    one, other = make(), make()
    batches = [(X[i : i + 15], Y[i : i + 15]) for i in range(0, 60, 15)]
    h1 = one.fit(batches, epochs=3, optimizer=nnpy.Adam(0.01))
    h2 = other.fit(X, Y, epochs=3, optimizer=nnpy.Adam(0.01), batch_size=15, shuffle=False)
    same(one, other)
    np.testing.assert_allclose(h1.loss, h2.loss, rtol=1e-6)
    one.fit(iter(batches), epochs=1, batch_size=5)
    w = RNG.random(60)
    one, other = make(), make()
    one.fit([(X, Y, w / w.mean())], epochs=2)  # weights of batches are not divided by their mean
    other.fit(X, Y, sample_weight=w, epochs=2, batch_size=None)
    np.testing.assert_allclose(one.parameters, other.parameters, rtol=0, atol=1e-7)


def test_partial_fit_keeps_the_state_of_the_optimizer():
    """The moments of Adam are kept from call to call, and by copies and pickles; `test_checkpoint` has files."""
    one, other = make(), make()
    optimizer, losses = nnpy.Adam(0.01), []
    for duplicate in (lambda net: net, copy.copy, copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))):
        one = duplicate(one)
        losses.append(one.partial_fit(X, Y, optimizer=optimizer, batch_size=None))
    history = other.fit(X, Y, optimizer=optimizer, epochs=4, batch_size=None)
    same(one, other)
    np.testing.assert_array_equal(losses, history.loss)
    one.partial_fit(X, Y)  # without an optimizer it is the one of the last call
    assert one._state.optimizer == optimizer
    one.partial_fit(X, Y, optimizer=nnpy.RMSprop())
    assert one._state.num_passes == 1


def test_partial_fit_takes_another_order_in_every_call():
    """With a seed, the calls are the epochs of a fit; without one they are random."""
    one, other = make(), make()
    for _ in range(2):
        one.partial_fit(X, Y, batch_size=7, optimizer=nnpy.SGD(0.05), seed=4)
    other.fit(X, Y, batch_size=7, optimizer=nnpy.SGD(0.05), epochs=2, seed=4)
    same(one, other)
    fixed = make()
    for _ in range(2):
        fixed.fit(X, Y, batch_size=7, optimizer=nnpy.SGD(0.05), epochs=1, seed=4)
    assert (one.parameters != fixed.parameters).any()
    losses = set()
    for _ in range(3):
        losses.add(make().partial_fit(X, Y, batch_size=1, optimizer=nnpy.SGD(0.05)))
    assert len(losses) == 3


# ---- Divergence ----


def test_divergence_names_the_place_and_leaves_the_last_finite_parameters():
    x, y = X.copy(), Y.copy()
    net, other = make(), make()
    options = {"optimizer": nnpy.SGD(1e4), "batch_size": 16, "shuffle": False, "epochs": 30}
    with pytest.raises(nnpy.DivergenceError, match=r"^training diverged in epoch \d+, batch \d+: ") as error:
        net.fit(x, y, **options)
    epoch, batch = error.value.epoch, error.value.batch
    assert len(error.value.history) == epoch - 1
    assert np.isfinite(net.parameters).all()
    # Take the steps before one by one; the next step diverges.
    steps = [slice(i, i + 16) for i in range(0, 60, 16)]
    for number in range((epoch - 1) * 4 + batch - 1):
        other.gradient_descent(x[steps[number % 4]], y[steps[number % 4]], rate=1e4)
    same(net, other)
    with pytest.raises(nnpy.DivergenceError):
        other.gradient_descent(x[steps[batch - 1]], y[steps[batch - 1]], rate=1e4)


def test_divergence_leaves_the_state_of_the_optimizer_as_well():
    """The third of four calls overflows: the fourth continues as if the third had not been made."""
    bad = np.full((1, 6), 3e38, np.float32)
    one, other = make(), make()
    for net in (one, other):
        for _ in range(2):
            net.partial_fit(X, Y, batch_size=None, optimizer=nnpy.Adam(0.01))
    with pytest.raises(nnpy.DivergenceError):
        one.partial_fit(bad, np.full((1, 3), 3e38), batch_size=None)
    one._state.num_passes = other._state.num_passes
    one.partial_fit(X, Y, batch_size=None)
    other.partial_fit(X, Y, batch_size=None)
    same(one, other)


# ---- Ctrl-C ----


@pytest.mark.parametrize("validated", [False, True])
def test_ctrl_c_returns_the_history_so_far(validated):
    rng = np.random.default_rng(0)
    x, y = rng.random((200, 50), np.float32), rng.random((200, 1), np.float32)
    net = nnpy.NeuralNetwork([50, 64, 1], "tanh", seed=0)
    timer = threading.Timer(0.5, signal.raise_signal, [signal.SIGINT])
    timer.start()
    with limit():
        history = net.fit(x, y, epochs=10**12, validation_data=(x[:10], y[:10]) if validated else None, seed=0)
    assert history.stopped == "interrupt"
    assert 0 < len(history) < 10**12
    assert len(set(map(len, history.to_dict().values()))) == 1
    assert np.isfinite(net.parameters).all()
    assert "stopped: interrupt" in repr(history)


# ---- Refusals ----

REFUSED = [
    (
        {"loss": "hinge"},
        ValueError,
        "loss must be one of mse, mae, huber, pinball, binary_cross_entropy, ",
    ),
    ({"loss": 3}, TypeError, "loss must be a name such as 'mse' or an object such as nnpy.Huber(), got 3"),
    (
        {"loss": "cross_entropy"},
        ValueError,
        'the loss "cross_entropy" needs "softmax" as the last activation, the network has "linear"',
    ),
    (
        {"optimizer": 3},
        TypeError,
        "optimizer must be a name such as 'adam' or an object such as nnpy.SGD(0.1), got 3",
    ),
    ({"epochs": -1}, ValueError, "epochs must be from 0 to 9223372036854775807, got -1"),
    ({"epochs": 1.0}, TypeError, "epochs must be an integer, got 1.0"),
    ({"seed": -1}, ValueError, "seed must be from 0 to 18446744073709551615, got -1"),
    ({"shuffle": "no"}, TypeError, "shuffle must be True or False, got 'no'"),
    ({"batch_size": 0}, ValueError, "batch_size must be from 1 to 9223372036854775807, got 0"),
    ({"batch_size": 1.5}, TypeError, "batch_size must be an integer, got 1.5"),
    ({"l2": -1}, ValueError, "l2 must not be negative, got -1"),
    ({"clip_norm": 0}, ValueError, "clip_norm must be positive in float32, got 0"),
    ({"dropout": 1.0}, ValueError, "dropout must be from 0 to 0.99, got [1.0]"),
    ({"dropout": -0.1}, ValueError, "dropout must be from 0 to 0.99, got [-0.1]"),
    (
        {"dropout": [0.1, 0.2]},
        ValueError,
        "dropout must be one number, or 1, one for each hidden layer, got [0.1, 0.2]",
    ),
    ({"dropout": "half"}, TypeError, "dropout must be a number or one for each hidden layer, got 'half'"),
    ({"verbose": 2}, ValueError, "verbose must be from 0 to 1, got 2"),
    ({"callbacks": [3]}, TypeError, "a callback must be a function of the network and the history, got 3"),
    (
        {"metrics": ["f1"]},
        TypeError,
        "a metric must be 'accuracy', 'r2' or a function of y and the outputs that returns a number, got 'f1'",
    ),
    ({"early_stopping": 0}, ValueError, "early_stopping must be from 1 to 9223372036854775807, got 0"),
    ({"early_stopping": nnpy.EarlyStopping(monitor="f1")}, ValueError, "monitor must be one of loss, got 'f1'"),
    ({"validation_data": X}, TypeError, "validation_data must be (x, y) or (x, y, sample_weight)"),
    ({"validation_data": (X, Y[:3])}, ValueError, "x and y must have the same number of rows, got 60 and 3"),
    ({"validation_data": (X * np.nan, Y)}, ValueError, "x must be finite in float32, got x[0, 0] = nan"),
    ({"validation_split": 1.0}, ValueError, "validation_split must be between 0 and 1, got 1.0"),
    ({"validation_split": 0.001}, ValueError, "validation_split=0.001 of 60 samples leaves an empty part"),
    (
        {"validation_split": 0.5, "validation_data": (X, Y)},
        ValueError,
        "validation_data and validation_split exclude each other",
    ),
    (
        {"sample_weight": np.ones(59)},
        ValueError,
        "sample_weight must have shape (60,), one number per sample, got (59,)",
    ),
    (
        {"sample_weight": np.ones(59), "validation_split": 0.5},
        ValueError,
        "sample_weight must have shape (60,), one number per sample, got (59,)",
    ),
    ({"sample_weight": -np.ones(60)}, ValueError, "sample_weight must be finite and not negative"),
    ({"sample_weight": np.ones(60) * np.nan}, ValueError, "sample_weight must be finite and not negative"),
    ({"sample_weight": np.zeros(60)}, ValueError, "all samples have a weight of 0 or no target"),
    ({"sample_weight": ["1"] * 60}, TypeError, "sample_weight must be real numbers, got an array of dtype <U1"),
    (
        {"class_weight": "balanced"},
        ValueError,
        "class_weight needs integer labels, or targets 0 and 1 for a network with one output",
    ),
    ({"missing": "drop"}, ValueError, "missing must be 'raise' or 'ignore', got 'drop'"),
]


@pytest.mark.parametrize(("options", "error", "message"), REFUSED)
def test_refused_options_change_nothing(options, error, message):
    net = make()
    before = net.parameters.copy()
    with pytest.raises(error, match=f"^{re.escape(message)}"):
        train(net, **options)
    np.testing.assert_array_equal(net.parameters, before)


def test_refused_batches():
    net = make()
    with pytest.raises(TypeError, match="^y is missing; without it x must be an iterable of batches "):
        net.fit(X)
    with pytest.raises(
        ValueError,
        match="^an iterator can be consumed only once, and epochs is 2: pass a list, or an object whose __iter__ ",
    ):
        net.fit(iter([(X, Y)]), epochs=2)
    with pytest.raises(TypeError, match=r"^a batch must be \(x, y\) or \(x, y, sample_weight\), got ndarray$"):
        net.fit([X])
    with pytest.raises(ValueError, match="^there is no batch in epoch 1$"):
        net.fit([])
    with pytest.raises(ValueError, match=r"^with batches pass \(x, y, sample_weight\), and class_weight as a mapping$"):
        net.fit([(X, Y)], sample_weight=np.ones(60))
    with pytest.raises(ValueError, match="^validation_split needs x and y, not batches$"):
        net.fit([(X, Y)], validation_split=0.5)
    same(net, make())


def test_a_schedule_runs_within_an_epoch_of_batches_whose_number_is_known():
    class Unknown:
        def __iter__(self):
            yield from batches

    batches = [(X[i : i + 15], Y[i : i + 15]) for i in range(0, 60, 15)]
    optimizer = nnpy.SGD(nnpy.LinearDecay(0.5, warmup_epochs=1))
    one, other, constant = make(), make(), make()
    one.fit(batches, epochs=3, optimizer=optimizer)
    other.fit(X, Y, epochs=3, optimizer=optimizer, batch_size=15, shuffle=False)
    same(one, other)
    history = constant.fit(Unknown(), epochs=3, optimizer=optimizer)
    np.testing.assert_allclose(history.learning_rate, [0.25, 0.375, 0.125])


def test_divergence_in_batches_names_the_place_in_the_epoch():
    bad = np.full((15, 6), 3e38, np.float32), np.full((15, 3), 3e38, np.float32)
    batches = [(X[:30], Y[:30]), (X[30:], Y[30:]), bad]
    net = make()
    with pytest.raises(nnpy.DivergenceError, match=r"^training diverged in epoch 1, batch 5: ") as error:
        net.fit(batches, epochs=3, batch_size=15)
    assert (error.value.epoch, error.value.batch) == (1, 5)
    assert np.isfinite(net.parameters).all()


# ---- Exceptions and extreme values ----


def test_an_exception_in_a_schedule_counts_no_epoch_twice():
    def schedule(epoch, epochs):
        if epoch >= 3:
            raise KeyboardInterrupt
        return 0.01

    history = train(make(), epochs=10, optimizer=nnpy.Adam(schedule))
    assert len(set(history.loss)) == len(history) < 4
    assert history.stopped == "interrupt"


def test_an_exception_of_the_progress_bar_is_raised_once(monkeypatch):
    """The progress bar raises while C computes: the next call does not raise that exception again."""
    tqdm = pytest.importorskip("tqdm")

    class Failing(tqdm.tqdm):
        def update(self, n=1):
            raise OSError("closed")

    monkeypatch.setattr(tqdm, "tqdm", Failing)
    net = make()
    with pytest.raises(OSError, match="closed"):
        net.gradient_descent(np.repeat(X, 50, 0), np.repeat(Y, 50, 0), rate=0.1, iterations=5000, progress=True)
    net.loss(X, Y)


def test_a_gradient_too_large_for_its_square_is_clipped():
    net = nnpy.NeuralNetwork([6, 3], "linear", seed=0)
    before = net.parameters.copy()
    options = {"loss": "mae", "optimizer": nnpy.SGD(1.0), "batch_size": None, "epochs": 1}
    net.fit(X * np.float32(1e25), Y, clip_norm=0.5, **options)
    assert np.linalg.norm(net.parameters - before) == pytest.approx(0.5, rel=1e-5)


def test_parameters_that_are_not_finite_are_refused():
    net = make()
    net.biases[0] = np.nan
    for call in (lambda: train(net), lambda: net.partial_fit(X, Y), lambda: net.gradient_descent(X, Y, rate=1)):
        with pytest.raises(ValueError, match="^the parameters of the network are not finite$"):
            call()


def test_fit_and_randomize_forget_what_partial_fit_remembered():
    net = make()
    for change in (lambda: train(net), lambda: net.randomize(seed=1)):
        net.partial_fit(X, Y)
        assert net._state is not None
        change()
        assert net._state is None


def test_a_tiny_network_that_diverges_stops_soon():
    net = nnpy.NeuralNetwork([2, 2, 1], ["tanh", "linear"], seed=0)
    with limit(), pytest.raises(nnpy.DivergenceError):
        net.gradient_descent([[0, 1], [1, 1]], [1, 2], rate=100, iterations=10**12)
