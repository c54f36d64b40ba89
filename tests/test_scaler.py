"""`fit_scaler`: inputs and targets are scaled in float64, and results are in the units of the targets."""

import copy
import faulthandler
import pickle
import re
import sys
import threading

import numpy as np
import pytest

import nnpy

RNG = np.random.default_rng(6)
X = (100 * RNG.random((40, 3))).astype(np.float32)
Y = (RNG.random((40, 2)) * 5 + 7).astype(np.float32)


def make(last="linear", seed=1):
    return nnpy.NeuralNetwork([3, 5, 4, 2], ["gelu", "tanh", last], seed=seed)


def scaled(a):
    """In float64, rounded to float32 once."""
    a = np.asarray(a, dtype=np.float64)
    return ((a - a.mean(axis=0)) / a.std(axis=0)).astype(np.float32)


def assert_near(actual, expected, tolerance):
    """Relative to the largest expected value."""
    scale = np.abs(expected).max()
    assert 0 < scale < np.inf
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance * scale)


# ---- A scaled network, and one that is trained on scaled data ----


def test_a_scaled_network_is_one_on_scaled_data():
    net, other = make(), make()
    net.fit_scaler(X, Y)
    np.testing.assert_allclose(net.scaler.x_mean, X.mean(axis=0, dtype=float), rtol=1e-12)
    np.testing.assert_allclose(net.scaler.x_scale, X.std(axis=0, dtype=float), rtol=1e-12)
    assert {a.dtype for a in net.scaler} == {np.dtype(np.float64)}
    xs, ys = scaled(X), scaled(Y)
    h1 = net.fit(X, Y, epochs=20, seed=0, validation_data=(X, Y))
    h2 = other.fit(xs, ys, epochs=20, seed=0, validation_data=(xs, ys))
    np.testing.assert_allclose(h1.val_loss, h2.val_loss, rtol=1e-5)
    np.testing.assert_allclose(h1.loss, h2.loss, rtol=1e-5)
    np.testing.assert_allclose(net.parameters, other.parameters, rtol=0, atol=1e-5)
    assert np.abs(net.parameters - make().parameters).max() > 1e-3
    other.parameters = net.parameters
    out = other.predict(xs) * Y.std(axis=0, dtype=float) + Y.mean(axis=0, dtype=float)
    np.testing.assert_allclose(net.predict(X), out, rtol=1e-6)
    np.testing.assert_allclose(net.layer_outputs(X)[-1], net.predict(X), rtol=1e-7)
    assert_near(net.backpropagation(X, Y).parameters, other.backpropagation(xs, ys).parameters, 1e-5)
    assert_near(net.finite_diff(X, Y).parameters, other.finite_diff(xs, ys).parameters, 1e-4)
    assert net.check_gradients(X, Y).ok


def test_the_scaler_travels(tmp_path):
    net = make()
    net.fit_scaler(X, Y)
    net.save(tmp_path / "net.npz")
    for other in (copy.copy(net), copy.deepcopy(net), pickle.loads(pickle.dumps(net)), nnpy.load(tmp_path / "net.npz")):
        for one, two in zip(other.scaler, net.scaler, strict=True):
            np.testing.assert_array_equal(one, two)
        np.testing.assert_array_equal(other.predict(X), net.predict(X))
        np.testing.assert_array_equal(other.predict(X[:1]), net.predict(X[:1]))
        assert other.predict(X).dtype == np.float64
    net.fit_scaler(X)
    assert net.predict(X).dtype == net.predict(X[:1]).dtype == np.float32
    net.save(tmp_path / "net.npz")
    assert nnpy.load(tmp_path / "net.npz").scaler.y_mean is None
    net.fit_scaler(None)
    assert net.scaler is None
    np.testing.assert_array_equal(net.predict(X), make().predict(X))


# ---- Float64 ----


def test_timestamps_a_minute_apart_stay_apart():
    """In float32 they are 128 seconds apart: half of them would be the same number."""
    x = (1.7e9 + 60.0 * np.arange(2000)).reshape(-1, 1)
    assert len(np.unique(x.astype(np.float32))) < 1000
    net = nnpy.NeuralNetwork([1, 8, 1], ["tanh", "linear"], seed=0)
    net.fit_scaler(x)
    assert len(np.unique(net.scaler.scale_x(x))) == 2000
    line = nnpy.NeuralNetwork([1, 1], "linear", seed=0)
    line.fit_scaler(x)
    line.parameters = [1, 0]
    np.testing.assert_array_equal(line.predict(x), scaled(x))
    assert (np.diff(line.predict(x)[:, 0]) > 0).all()
    y = np.sin(np.linspace(0, 6, 2000)).reshape(-1, 1)
    net.fit(x, y, epochs=200, optimizer=nnpy.LevenbergMarquardt(), seed=0)
    assert np.abs(net.predict(x) - y).max() < 0.02
    assert len(np.unique(net.predict(x))) > 1500  # a maximum is flat


@pytest.mark.parametrize("optimizer", ["levenberg_marquardt", "lbfgs"])
def test_targets_that_are_large_and_differ_by_little_are_learned(optimizer):
    """In float32, 1e6 + 0.1 sin has four values, 1/16 apart."""
    x = np.linspace(0, 6, 500).reshape(-1, 1)
    y = 1e6 + 0.1 * np.sin(x)
    assert len(np.unique(y.astype(np.float32))) < 6
    net = nnpy.NeuralNetwork([1, 10, 1], ["tanh", "linear"], seed=0)
    net.fit_scaler(x, y)
    net.fit(x, y, optimizer=optimizer, epochs=300)
    out = net.predict(x)
    assert out.dtype == np.float64
    assert np.abs(out - y).max() < 1e-2
    assert len(np.unique(out)) > 100
    assert net.mse(x, y) == pytest.approx(((out - y) ** 2).mean(), rel=1e-3)
    assert net.score(x, y) > 0.99


def test_large_integers_are_scaled_as_they_are():
    x = 2**40 + np.arange(60, dtype=np.int64).reshape(20, 3)
    net = make()
    net.fit_scaler(x)
    np.testing.assert_array_equal(net.scaler.x_mean, x.mean(axis=0))
    np.testing.assert_array_equal(net.predict(x), net.predict(x.astype(np.float64)))
    unscaled = make()
    np.testing.assert_array_equal(net.predict(x), unscaled.predict(scaled(x)))
    assert len(np.unique(net.predict(x)[:, 0])) == 20


def test_c_scales_float32_with_the_bits_of_numpy():
    """A single row (with its own fast path), some, many, strided: C scales what is float32, numpy what is float64."""
    x = (1e4 + RNG.normal(size=(2000, 9)) * 30).astype(np.float32)
    for targets in (False, True):
        net = nnpy.NeuralNetwork([9, 7, 2], ["tanh", "linear"], seed=2)
        net.fit_scaler(x, RNG.normal(size=(2000, 2)) * [3, 1e-3] + [1e6, 0] if targets else None)
        net.fit(x[:100], [[1e6, 0]] * 100, epochs=1, seed=0)
        for some in (x[:1], x[:5], x[:1000], x[::-3], x[:1, ::1], x[7:8]):
            out = net.predict(some.astype(np.float64))
            np.testing.assert_array_equal(net.predict(some), out)
            assert np.abs(out).max() > 0
        np.testing.assert_array_equal(net.predict(x[::2, ::-1]), net.predict(x[::2, ::-1].astype(np.float64)))
        hidden = net.layer_outputs(x[:50])[0]
        np.testing.assert_array_equal(hidden, net.layer_outputs(x[:50].astype(np.float64))[0])
        np.testing.assert_allclose(hidden, np.tanh(scaled(x)[:50] @ net.weights[0] + net.biases[0]), rtol=0, atol=1e-5)


@pytest.mark.parametrize("targets", [False, True])
def test_one_row_has_the_bits_that_it_has_in_a_batch(targets):
    net = make()
    net.fit_scaler(X, Y if targets else None)
    net.fit(X, Y, epochs=3, seed=0)
    out = net.predict(X)
    assert out.dtype == (np.float64 if targets else np.float32)
    assert len(np.unique(out)) == 80
    for i in range(len(X)):
        for row in (
            X[i : i + 1],
            X[i : i + 1].astype(np.float64),
            X[i : i + 1].tolist(),
            np.repeat(X, 2, 1)[i : i + 1, ::2],
        ):
            one = net.predict(row)
            np.testing.assert_array_equal(one, out[i : i + 1])
            assert one.dtype == out.dtype


def test_columns_that_do_not_change_and_missing_targets():
    net = make()
    x, y = X.copy(), Y.copy()
    x[:, 1] = 0.1
    y[:10, 0] = np.nan
    net.fit_scaler(x, y)
    assert net.scaler.x_mean[1] == np.float32(0.1)
    assert net.scaler.x_scale[1] == 1
    np.testing.assert_array_equal(net.scaler.scale_x(x)[:, 1], 0)
    np.testing.assert_allclose(net.scaler.y_mean, np.nanmean(y.astype(float), axis=0), rtol=1e-12)
    np.testing.assert_allclose(net.scaler.y_scale, np.nanstd(y.astype(float), axis=0), rtol=1e-12)
    there = ~np.isnan(y)
    expected = (np.where(there, net.predict(x) - np.nan_to_num(y), 0) ** 2).sum(axis=1).mean()
    assert net.loss(x, y, missing="ignore") == pytest.approx(expected, rel=1e-5)
    # A target that is never there has the mean 0 and the scale 1; large numbers keep their small deviation.
    y[:, 0] = np.nan
    y[:, 1] = np.where(np.arange(40) % 2, 1e7, 1e7 + 1)
    net.fit_scaler(x, y)
    np.testing.assert_array_equal(net.scaler.y_mean, [0, 1e7 + 0.5])
    np.testing.assert_array_equal(net.scaler.y_scale, [1, 0.5])


# ---- Nothing is copied: the same bits as with a copy ----


def wide_problem(num, dtype=np.float32):
    """Inputs of 21 columns and targets, in rows of one table; with many rows, they are not kept scaled between epochs."""
    rng = np.random.default_rng(2)
    table = (rng.normal(size=(num, 40)) * rng.uniform(0.1, 9, 40) + rng.uniform(-5, 5, 40)).astype(dtype)
    return table[:, 3:24], table[:, 24:26]


@pytest.mark.parametrize("last", ["linear", "leaky_relu"])
@pytest.mark.parametrize("num", [50, 13_000])
@pytest.mark.parametrize(
    ("options", "scales_y"),
    [
        ({"optimizer": "adam", "batch_size": 100}, False),
        ({"optimizer": "sgd", "batch_size": 64, "dropout": 0.3}, True),
        ({"optimizer": nnpy.SGD(0.01), "batch_size": None, "shuffle": False}, True),
        ({"optimizer": "rprop", "loss": "mae"}, True),
        ({"optimizer": "lbfgs"}, True),
        ({"optimizer": "levenberg_marquardt", "loss": "mse"}, True),
    ],
    ids=str,
)
def test_training_has_the_bits_of_training_on_a_scaled_copy(options, scales_y, num, last):
    x, y = wide_problem(num)
    net, other = (nnpy.NeuralNetwork([21, 3, 2], ["tanh", last], seed=3) for _ in range(2))
    net.fit_scaler(x, y if scales_y else None)
    copied, targets = net.scaler.scale_x(x), net.scaler.scale_y(y) if scales_y else y.copy()
    assert np.abs(copied - x).max() > 1
    other.fit_scaler(None)
    histories = [
        n.fit(a, b, epochs=3, seed=1, validation_data=(a[:30], b[:30]), **{"loss": "huber", **options})
        for n, a, b in ((net, x, y), (other, copied, targets))
    ]
    np.testing.assert_array_equal(histories[0].loss, histories[1].loss)
    np.testing.assert_array_equal(histories[0].val_loss, histories[1].val_loss)
    np.testing.assert_array_equal(net.parameters, other.parameters)
    assert np.abs(net.parameters - nnpy.NeuralNetwork([21, 3, 2], ["tanh", last], seed=3).parameters).max() > 1e-5
    np.testing.assert_array_equal(
        net.backpropagation(x, y).parameters, other.backpropagation(copied, targets).parameters
    )


def test_a_tiny_network_partial_fit_and_batches_have_the_bits_of_a_scaled_copy():
    x, y = X[:9], Y[:9]
    nets = [nnpy.NeuralNetwork([3, 4, 2], ["tanh", "linear"], seed=1) for _ in range(2)]
    nets[0].fit_scaler(X, Y)
    scaler = nets[0].scaler
    nets[1].fit_scaler(None)
    for net, a, b in ((nets[0], x, y), (nets[1], scaler.scale_x(x), scaler.scale_y(y))):
        net.gradient_descent(a, b, rate=0.01, iterations=100)
        net.gradient_descent(a, b, rate=0.01, iterations=2, eps=0.01)
        net.partial_fit(a, b, optimizer=nnpy.Adam(0.01))
        net.fit([(a, b), (a[:4], b[:4])], epochs=2, seed=0, optimizer="adam")
    np.testing.assert_array_equal(nets[0].parameters, nets[1].parameters)
    assert nets[0].mse(x, y) < 30


def test_float64_is_scaled_as_it_is_converted():
    x, y = wide_problem(500, np.float64)
    nets = [nnpy.NeuralNetwork([21, 3, 2], ["tanh", "linear"], seed=3) for _ in range(2)]
    nets[0].fit_scaler(x, y)
    scaler = nets[0].scaler
    nets[0].fit(x, y.astype(np.float32), epochs=2, seed=1, validation_split=0.2, optimizer="adam")
    nets[1].fit_scaler(None)
    nets[1].fit(
        scaler.scale_x(x),
        scaler.scale_y(y.astype(np.float32)),
        epochs=2,
        seed=1,
        validation_split=0.2,
        optimizer="adam",
    )
    np.testing.assert_array_equal(nets[0].parameters, nets[1].parameters)


# ---- The units of the targets ----

UNITS = [(("linear"), None), ("leaky_relu", None), ("linear", "mae"), ("linear", nnpy.Huber(0.7))]


def scaled_problem(last):
    """Inputs and outputs of very different scales; some outputs of leaky_relu are below 0, some above."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(30, 3)) * [1e-2, 1, 1e3] + [0, 5, 1e4]
    y = rng.normal(size=(30, 2)) * [50, 0.02] + [1e4, -3]
    net = nnpy.NeuralNetwork([3, 6, 2], ["tanh", last], seed=3)
    net.fit_scaler(x, y)
    return net, x, y


def loss_in_numpy(loss, difference):
    if loss is None:
        return difference**2
    if loss == "mae":
        return np.abs(difference)
    d = loss.delta
    return np.where(np.abs(difference) <= d, difference**2 / 2, d * (np.abs(difference) - d / 2))


@pytest.mark.parametrize(("last", "loss"), UNITS)
def test_loss_mse_evaluate_and_score_are_in_the_units_of_y(last, loss):
    net, x, y = scaled_problem(last)
    out, w = net.predict(x), RNG.random(30)
    costs = loss_in_numpy(loss, out - y).sum(axis=1)
    assert net.loss(x, y, loss=loss) == pytest.approx(costs.mean(), rel=1e-5)
    assert net.loss(x, y, loss=loss, sample_weight=w) == pytest.approx(np.average(costs, weights=w), rel=1e-5)
    assert net.mse(x, y) == pytest.approx(((out - y) ** 2).sum(axis=1).mean(), rel=1e-5)
    r2 = (1 - ((out - y) ** 2).sum(axis=0) / ((y - y.mean(axis=0)) ** 2).sum(axis=0)).mean()
    assert net.score(x, y) == pytest.approx(r2, rel=1e-9)

    def furthest(targets, outputs):
        np.testing.assert_array_equal(targets, y)
        return np.abs(targets - outputs).max()

    values = net.evaluate(x, y, loss=loss, metrics=["r2", furthest])
    assert values["loss"] == pytest.approx(costs.mean(), rel=1e-5)
    assert values["r2"] == pytest.approx(r2, rel=1e-5)
    assert values["furthest"] == pytest.approx(np.abs(out - y).max(), rel=1e-6)
    # The history and backpropagation are of the scaled targets.
    history = net.fit(x, y, epochs=1, validation_data=(x, y), loss="mse", metrics=furthest)
    assert history.val_loss[-1] == pytest.approx(
        (((net.predict(x) - y) / y.std(axis=0)) ** 2).sum(axis=1).mean(), rel=1e-5
    )
    assert history.metrics["val_furthest"][-1] == np.abs(y - net.predict(x)).max()


@pytest.mark.parametrize("last", ["linear", "leaky_relu"])
def test_input_gradient_is_in_the_units_of_x_and_y(last):
    """Against differences of the loss in float64, with the network written again in numpy."""
    net, x, y = scaled_problem(last)
    x_mean, x_scale, y_mean, y_scale = net.scaler

    def mse(x):
        a = np.tanh(((x - x_mean) / x_scale) @ net.weights[0].astype(float) + net.biases[0])
        z = a @ net.weights[1].astype(float) + net.biases[1]
        out = np.where(z > 0, z, 0.01 * z) if last == "leaky_relu" else z
        return ((out * y_scale + y_mean - y) ** 2).sum(axis=1).mean()

    assert mse(x) == pytest.approx(net.mse(x, y), rel=1e-5)
    expected = np.zeros_like(x)
    for i, k in np.ndindex(x.shape):
        step = np.zeros_like(x)
        step[i, k] = 1e-5 * x_scale[k]
        expected[i, k] = (mse(x + step) - mse(x - step)) / (2 * step[i, k])
    gradient = net.input_gradient(x, y)
    for column in range(3):  # each has its own size
        assert_near(gradient[:, column], expected[:, column], 1e-4)


# ---- Threads, refusals ----


def test_threads_may_predict_while_another_one_scales_anew():
    """A result is that of one scaler or of the other, with its own dtype, never of a mixture."""
    net, other = make(), make()
    one, two = X[:1], X[:20]
    expected = {}
    for number, arguments in enumerate(((X, Y), (X + 50,), (None,))):
        other.fit_scaler(*arguments)
        expected[number] = other.predict(one), other.predict(two)
    done, wrong = threading.Event(), []

    def predict():
        while not done.is_set():
            for place, x in enumerate((one, two)):
                out = net.predict(x)
                if not any(out.dtype == e[place].dtype and (out == e[place]).all() for e in expected.values()):
                    wrong.append(out)

    threads = [threading.Thread(target=predict) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(150):
        for arguments in ((X, Y), (X + 50,), (None,)):
            net.fit_scaler(*arguments)
    done.set()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize("scale_y", [False, True])
def test_a_network_can_be_evaluated_while_another_thread_trains_it(scale_y):
    """The training goes on until all results are there."""
    net, started, done = make(), threading.Event(), threading.Event()
    net.fit_scaler(X, Y if scale_y else None)

    def callback(net, history):
        started.set()
        return done.is_set()

    thread = threading.Thread(target=lambda: net.fit(X, Y, epochs=10**12, callbacks=callback), daemon=True)
    thread.start()
    faulthandler.dump_traceback_later(120, exit=True, file=sys.__stderr__)
    try:
        started.wait()
        results = [net.loss(X, Y), net.mse(X, Y), net.score(X, Y), *net.evaluate(X, Y).values()]
        results += [net.predict(X), net.input_gradient(X, Y), net.backpropagation(X, Y).parameters]
        assert thread.is_alive()
        done.set()
        thread.join()
    finally:
        faulthandler.cancel_dump_traceback_later()
    assert all(np.isfinite(result).all() for result in results)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("row", [0, 7])
def test_inputs_that_are_too_large_after_scaling_are_named(dtype, row):
    net = make()
    net.fit_scaler(X * 1e-30)
    x = np.zeros((9, 3), dtype)
    x[row, 1] = 1e38
    for call in (net.predict, net.layer_outputs, lambda x: net.predict(x[: row + 1]), lambda x: net.loss(x, Y[:9])):
        with pytest.raises(ValueError, match=rf"^x must be finite in float32, got x\[{row}, 1\] = inf; "):
            call(x)


@pytest.mark.parametrize(
    ("x", "y", "last", "message"),
    [
        *(
            (
                X,
                Y,
                last,
                f'targets cannot be scaled for a last layer of "{last}", whose outputs are {limits}; use "linear"',
            )
            for last, limits in (
                ("softmax", "from 0 to 1"),
                ("sigmoid", "from 0 to 1"),
                ("tanh", "from -1 to 1"),
                ("relu", "at least 0"),
                ("softplus", "at least 0"),
                ("elu", "at least -1"),
                ("silu", "at least -0.2785"),
                ("gelu", "at least -0.17"),
            )
        ),
        (X[:0], None, "linear", "x and y must have at least one row, got none"),
        (X, Y[:0], "linear", "x and y must have at least one row, got none"),
        (X * np.inf, None, "linear", "x must be finite in float32, got x[0, 0] = inf"),
        (X * np.nan, None, "linear", "x must be finite in float32, got x[0, 0] = nan"),
        (X, Y * np.inf, "linear", "y must be finite in float32, got y[0, 0] = inf"),
        (X[:, :2], None, "linear", "x must have 3 columns"),
        (X, Y[:, :1], "linear", "y must have 2 columns"),
        (None, Y, "linear", "y needs x: fit_scaler(None) removes the scaler"),
    ],
)
def test_refused_scalers_change_nothing(x, y, last, message):
    net = make(last)
    net.fit_scaler(X)
    before = net.scaler
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        net.fit_scaler(x, y)
    assert net.scaler is before
