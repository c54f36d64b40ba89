"""`fit_many`: many networks at once give the bits of one by one; Ctrl-C, errors. `Ensemble`: mean and deviation."""

import faulthandler
import itertools
import re
import signal
import sys
import threading
from contextlib import contextmanager

import numpy as np
import pytest

import nnpy

RNG = np.random.default_rng(5)
X = RNG.random((80, 4), dtype=np.float32)
Y = RNG.random((80, 2), dtype=np.float32)


@contextmanager
def limit(seconds=120):
    """Kill the process if a block takes longer: what runs in it should be stopped, and would never end by itself."""
    faulthandler.dump_traceback_later(seconds, exit=True, file=sys.__stderr__)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()


def make(count=6):
    return [nnpy.NeuralNetwork([4, 5 + i, 2], ["relu", "linear"], seed=i) for i in range(count)]


def each(count=6):
    """Arguments of each network: a seed, a fold, some a learning rate."""
    return [
        {"seed": i, "x": np.delete(X, slice(i, None, 6), 0), "y": np.delete(Y, slice(i, None, 6), 0)}
        | ({} if i % 2 else {"optimizer": nnpy.Adam(0.01 * (i + 1))})
        for i in range(count)
    ]


@pytest.mark.parametrize("threads", [1, 3])
def test_the_bits_are_those_of_training_one_by_one(threads):
    before = nnpy.get_num_threads()
    nnpy.set_num_threads(threads)
    try:
        together = make()
        histories = nnpy.fit_many(together, each=each(), epochs=7, validation_data=(X, Y), early_stopping=3)
    finally:
        nnpy.set_num_threads(before)
    for net, alone, own, history in zip(together, make(), each(), histories, strict=True):
        expected = alone.fit(**own, epochs=7, validation_data=(X, Y), early_stopping=3)
        np.testing.assert_array_equal(net.parameters, alone.parameters)
        np.testing.assert_array_equal(history.val_loss, expected.val_loss)
        assert history.best_epoch == expected.best_epoch


def test_they_train_at_the_same_time():
    nets, barrier = make(2), threading.Barrier(2)
    before = nnpy.get_num_threads()
    nnpy.set_num_threads(2)
    try:
        nnpy.fit_many(nets, X, Y, epochs=1, callbacks=lambda *_: barrier.wait(20) and None)
    finally:
        nnpy.set_num_threads(before)
    assert not barrier.broken


def test_data_may_be_the_same_for_all():
    histories = nnpy.fit_many(make(3), X, Y, epochs=2, seed=0)
    assert [len(h) for h in histories] == [2, 2, 2]
    assert nnpy.fit_many([], X, Y) == []


def test_progress_bar_counts_the_networks(capsys):
    pytest.importorskip("tqdm")
    nnpy.fit_many(make(3), X, Y, epochs=2, seed=0, progress=True)
    assert "3/3" in capsys.readouterr().err


def test_ctrl_c_returns_the_histories_so_far():
    nets = [nnpy.NeuralNetwork([4, 64, 2], seed=i) for i in range(300)]
    timer = threading.Timer(0.5, signal.raise_signal, [signal.SIGINT])
    timer.start()
    with limit():
        histories = nnpy.fit_many(nets, X, Y, epochs=10**12, seed=0)
    assert {h.stopped for h in histories} == {"interrupt"}
    assert len(histories[0]) > 0
    assert len(histories[-1]) == 0
    assert all(np.isfinite(net.parameters).all() for net in nets)


def test_an_error_of_one_stops_the_others():
    nets = make(4)
    each = [{}, {"optimizer": nnpy.SGD(1e30), "epochs": 100}, {}, {}]
    before = nnpy.get_num_threads()
    nnpy.set_num_threads(2)
    try:
        with limit(), pytest.raises(nnpy.DivergenceError):
            nnpy.fit_many(nets, X, Y, epochs=10**12, each=each)
    finally:
        nnpy.set_num_threads(before)


@pytest.mark.parametrize(
    ("networks", "options", "error", "message"),
    [
        ([3], {}, TypeError, "networks must be nnpy.NeuralNetwork, got 3"),
        (make(1) * 2, {}, ValueError, "a network appears twice: train a copy, copy.copy(net)"),
        (make(2), {"each": [{}]}, ValueError, "each must have a mapping for each of the 2 networks, got 1"),
        (make(2), {"verbose": 1}, TypeError, "fit_many does not support verbose for single networks"),
        (make(2), {"rate": 1}, TypeError, "NeuralNetwork.fit has no argument 'rate'"),
        (make(2), {"epochs": -1}, ValueError, "epochs must be from 0 to 9223372036854775807, got -1"),
    ],
)
def test_refusals(networks, options, error, message):
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        nnpy.fit_many(networks, X, Y, **options)


def test_an_ensemble_returns_mean_and_standard_deviation():
    nets = [nnpy.NeuralNetwork([4, 3, 2], ["tanh", "linear"], seed=i) for i in range(5)]
    nets[0].fit_scaler(X, Y)
    ensemble = nnpy.Ensemble(nets)
    assert len(ensemble) == 5
    assert repr(ensemble) == "<Ensemble of 5 networks>"
    mean, std = ensemble.predict(X, return_std=True)
    outputs = [net.predict(X) for net in nets]
    np.testing.assert_allclose(mean, np.mean(outputs, axis=0), rtol=1e-5)
    np.testing.assert_allclose(std, np.std(outputs, axis=0), rtol=1e-4)
    np.testing.assert_array_equal(ensemble.predict(X), mean)
    assert mean.dtype == std.dtype == np.float64  # one of them has scaled targets


def test_refused_ensembles():
    with pytest.raises(ValueError, match="^an ensemble needs at least one network, and all with the same numbers of "):
        nnpy.Ensemble([])
    with pytest.raises(ValueError, match=r"; got \[\(4, 2\), \(4, 3\)\]$"):
        nnpy.Ensemble([nnpy.NeuralNetwork([4, 2]), nnpy.NeuralNetwork([4, 3])])
    with pytest.raises(TypeError, match="^networks must be nnpy.NeuralNetwork, got 'a'$"):
        nnpy.Ensemble("a")


def test_ctrl_c_restores_the_best_parameters_of_each():
    nets = make(2)
    kept = {}

    def rising():
        values = itertools.count()
        return lambda y, out: next(values)

    def keep(net, history):
        kept.setdefault(id(net), net.parameters.copy())

    timer = threading.Timer(0.5, signal.raise_signal, [signal.SIGINT])
    timer.start()
    stopping = nnpy.EarlyStopping(10**6, monitor="m")
    each = [{"metrics": {"m": rising()}} for net in nets]
    before = nnpy.get_num_threads()
    nnpy.set_num_threads(2)
    try:
        with limit():
            histories = nnpy.fit_many(nets, X, Y, epochs=10**12, callbacks=keep, early_stopping=stopping, each=each)
    finally:
        nnpy.set_num_threads(before)
    for net, history in zip(nets, histories, strict=True):
        assert history.best_epoch == 1
        np.testing.assert_array_equal(net.parameters, kept[id(net)])


def test_an_iterator_of_callbacks_is_for_all_networks(tmp_path):
    calls = []
    nnpy.fit_many(make(3), X, Y, epochs=1, callbacks=iter([lambda net, history: calls.append(net) and None]))
    assert len(calls) == 3
    with pytest.raises(ValueError, match="^checkpoint and resume must be in each: networks cannot share a file$"):
        nnpy.fit_many(make(3), X, Y, epochs=1, checkpoint=tmp_path / "one.npz")
    nets = make(2)
    with pytest.raises(TypeError, match="^NeuralNetwork.fit has no argument 'rate'$"):
        nnpy.fit_many(nets, X, Y, each=[{}, {"rate": 1}])
    np.testing.assert_array_equal(nets[0].parameters, make(1)[0].parameters)
