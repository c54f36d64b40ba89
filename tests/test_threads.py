"""Threads of Python that share networks or have their own, with the GIL and without it."""

import copy
import pickle
import sys
import sysconfig
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import nnpy

RNG = np.random.default_rng(8)
X, Y = RNG.standard_normal((60, 5), dtype=np.float32), RNG.random((60, 2), dtype=np.float32)
NUM_THREADS = 8


def make(seed=0):
    return nnpy.NeuralNetwork([5, 9, 2], ["tanh", "linear"], seed=seed)


def at_once(*functions):
    """Call the functions in threads that begin together; return their results."""
    barrier = threading.Barrier(len(functions))

    def begin(function):
        barrier.wait()
        return function()

    with ThreadPoolExecutor(len(functions)) as pool:
        return [future.result() for future in [pool.submit(begin, function) for function in functions]]


@pytest.mark.skipif(not sysconfig.get_config_var("Py_GIL_DISABLED"), reason="this Python has the GIL")
def test_nnpy_leaves_the_gil_disabled():
    assert not sys._is_gil_enabled()


def test_separate_networks_give_the_bits_of_one_after_another():
    def work(seed):
        states = []
        for round_ in range(20):
            net = make(seed + 100 * round_)
            net.fit_scaler(X, Y)
            net.fit(X, Y, epochs=3, seed=seed, optimizer=["sgd", "adam", "rprop", "lbfgs"][round_ % 4])
            net.gradient_descent(X, Y, rate=0.01, iterations=3)
            states.append(
                (net.parameters.copy(), net.predict(X), net.predict(X[:1]), net.backpropagation(X, Y).parameters)
            )
        return states

    together = at_once(*(lambda s=s: work(s) for s in range(NUM_THREADS)))
    for seed, states in enumerate(together):
        for state, alone in zip(states, work(seed), strict=True):
            for one, other in zip(state, alone, strict=True):
                np.testing.assert_array_equal(one, other)


def test_threads_that_train_one_network_take_turns():
    """Each call adds whole steps to those of the others: as many as one after another, in any order."""
    net, alone = make(), make()
    at_once(*[lambda: [net.partial_fit(X, Y, shuffle=False) for _ in range(10)]] * NUM_THREADS)
    for _ in range(10 * NUM_THREADS):
        alone.partial_fit(X, Y, shuffle=False)
    np.testing.assert_array_equal(net.parameters, alone.parameters)


def test_a_copy_of_a_network_in_training_is_the_state_between_two_calls(tmp_path):
    net, alone = make(), make()
    states = {alone.parameters.tobytes()}
    for _ in range(60):
        alone.partial_fit(X, Y, shuffle=False)
        states.add(alone.parameters.tobytes())

    def copies(number):
        for _ in range(30):
            yield copy.copy(net)
            yield pickle.loads(pickle.dumps(net))
            net.save(tmp_path / f"{number}.npz")
            yield nnpy.load(tmp_path / f"{number}.npz")

    def read(number):
        return [other.parameters.tobytes() in states for other in copies(number)]

    def train():
        return [net.partial_fit(X, Y, shuffle=False) for _ in range(60)]

    _, *found = at_once(train, *(lambda n=n: read(n) for n in range(NUM_THREADS - 1)))
    assert all(map(all, found))
    np.testing.assert_array_equal(net.parameters, alone.parameters)


def test_predictions_have_the_old_or_the_new_scaler():
    nets = {scale: make() for scale in (1, 10)}
    for scale, net in nets.items():
        net.fit_scaler(X * scale, Y)
    allowed = {(rows, n.predict(X[:rows]).tobytes()) for n in nets.values() for rows in (1, 60)}
    net, done = make(), threading.Event()
    net.fit_scaler(X, Y)

    def change():
        for number in range(200):
            net.fit_scaler(X * (10 if number % 2 else 1), Y)
        done.set()

    def read():
        results = set()
        while not done.is_set():
            results |= {(rows, net.predict(X[:rows]).tobytes()) for rows in (1, 60)}
        return results

    _, *results = at_once(change, *[read] * 3)
    assert set().union(*results) <= allowed
    assert len(allowed) == 4


def test_reading_a_network_in_training_gives_finite_numbers():
    net, done = make(), threading.Event()

    def train():
        try:
            net.fit(X, Y, epochs=300, optimizer="adam", seed=0)
        finally:
            done.set()

    def read():
        values = [net.loss(X, Y)]
        while not done.is_set():
            net.layer_outputs(X), net.summary(), repr(net)
            values += [net.loss(X, Y), net.predict(X).sum(), net.predict(X[:1]).sum(), net.input_gradient(X, Y).sum()]
        return values

    _, *values = at_once(train, *[read] * 3)
    assert np.isfinite(np.concatenate(values)).all()
    alone = make()
    alone.fit(X, Y, epochs=300, optimizer="adam", seed=0)
    np.testing.assert_array_equal(net.parameters, alone.parameters)


def test_networks_come_and_go():
    def work():
        for seed in range(200):
            net = make(seed)
            grad = net.backpropagation(X, Y)
            view = net.weights[0]
            del net
            assert np.isfinite(view).all()
            assert grad.parameters.any()
        return True

    assert at_once(*[work] * NUM_THREADS) == [True] * NUM_THREADS
