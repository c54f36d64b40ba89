"""The network as a Python object: views, copies, arguments, threads, Ctrl-C, the progress bar."""

import builtins
import copy
import faulthandler
import gc
import os
import pickle
import re
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

import numpy as np
import pytest

import nnpy

XOR_X = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
XOR_Y = np.array([[0], [1], [1], [0]], np.float32)


@pytest.fixture
def net():
    return nnpy.NeuralNetwork([2, 3, 1], seed=5)


def big_problem():
    """Return a network and data for which an iteration takes about 10 ms."""
    rng = np.random.default_rng(0)
    return (
        nnpy.NeuralNetwork([200, 300, 10], seed=1),
        rng.random((5000, 200), np.float32),
        rng.random((5000, 10), np.float32),
    )


def test_views_are_of_one_block_in_the_documented_order(net):
    net.parameters = np.arange(13)
    np.testing.assert_array_equal(net.weights[0], [[0, 1, 2], [3, 4, 5]])
    np.testing.assert_array_equal(net.biases[0], [6, 7, 8])
    np.testing.assert_array_equal(net.weights[1], [[9], [10], [11]])
    np.testing.assert_array_equal(net.biases[1], [12])
    assert net.layer_sizes == (2, 3, 1)
    assert {a.dtype for a in (*net.weights, *net.biases, net.parameters)} == {np.dtype("float32")}


def test_writing_to_views_changes_the_network(net):
    net.parameters = 0
    assert net.forward([[1, 1]])[0, 0] == 0.5
    net.biases[1][0] = 100
    assert net.forward([[1, 1]])[0, 0] == 1
    net.biases[1] = -100
    assert net.forward([[1, 1]])[0, 0] == pytest.approx(0)
    net.weights[0] = [[1, 2, 3], [4, 5, 6]]
    net.weights[-1] += 1
    net.parameters *= 2
    assert net.parameters.tolist() == [2, 4, 6, 8, 10, 12, 0, 0, 0, 2, 2, 2, -200]


def test_a_value_of_another_shape_is_refused_and_changes_nothing(net):
    before = net.parameters.copy()
    for change in (lambda: net.weights.__setitem__(0, np.ones((3, 3))), lambda: setattr(net, "parameters", np.ones(4))):
        with pytest.raises(ValueError, match="broadcast"):
            change()
    np.testing.assert_array_equal(net.parameters, before)


def test_parameter_lists_are_sequences(net):
    assert len(net.weights) == 2
    assert [w.shape for w in net.weights] == [(2, 3), (3, 1)]
    assert [w.shape for w in net.weights[1:]] == [(3, 1)]
    assert repr(net.biases).startswith("[array([")
    with pytest.raises(IndexError):
        net.weights[2]
    with pytest.raises(AttributeError):
        net.weigths = []


def test_views_outlive_their_network():
    views = []
    for seed in range(50):
        net = nnpy.NeuralNetwork([100, 100], seed=seed)
        views.append((net.weights[0], net.weights[0].copy()))
        del net
    gc.collect()
    for view, expected in views:
        np.testing.assert_array_equal(view, expected)


def test_memory_is_given_back():
    def resident():
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    if not os.path.exists("/proc/self/statm"):
        pytest.skip("no /proc/self/statm")
    nnpy.NeuralNetwork([1000, 1000])
    before = resident()
    for _ in range(100):  # 400 MB in all
        nnpy.NeuralNetwork([1000, 1000])
    gc.collect()
    assert resident() - before < 40e6


@pytest.mark.parametrize(
    "duplicate",
    [copy.copy, copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))],
    ids=["copy", "deepcopy", "pickle"],
)
def test_copies_are_equal_and_independent(net, duplicate):
    other = duplicate(net)
    assert type(other) is nnpy.NeuralNetwork
    assert other.layer_sizes == net.layer_sizes
    np.testing.assert_array_equal(other.parameters, net.parameters)
    before = net.parameters.copy()
    other.gradient_descent(XOR_X, XOR_Y, rate=1)
    other.parameters[0] = 9
    np.testing.assert_array_equal(net.parameters, before)
    assert other.weights[0][0, 0] == 9
    grad = net.backpropagation(XOR_X, XOR_Y)
    np.testing.assert_array_equal(duplicate(grad).parameters, grad.parameters)


def test_a_pickle_of_another_version_is_refused(net):
    with pytest.raises(ValueError, match="^cannot read a pickled NeuralNetwork of version 2$"):
        net.__setstate__({**net.__getstate__(), "version": 2})


def test_a_pickle_of_other_shapes_is_refused(net):
    state = net.__getstate__()
    with pytest.raises(ValueError, match=r"^a pickled NeuralNetwork has \(1,\) parameters$"):
        net.__setstate__({**state, "parameters": np.zeros(1)})
    with pytest.raises(ValueError, match="^layer_sizes must have at least 2 entries"):
        net.__setstate__({**state, "layer_sizes": (3,)})


def test_repr_can_be_evaluated(net):
    assert repr(net) == "NeuralNetwork([2, 3, 1])"
    assert repr(net.backpropagation(XOR_X, XOR_Y)) == "Gradient([2, 3, 1])"
    assert eval(f"nnpy.{net!r}").layer_sizes == net.layer_sizes


def test_seeds():
    def parameters(seed):
        return nnpy.NeuralNetwork([4, 4], seed=seed).parameters

    np.testing.assert_array_equal(parameters(3), parameters(3))
    assert (parameters(3)[:16] != parameters(4)[:16]).all()
    assert (parameters(None)[:16] != parameters(None)[:16]).all()
    one, other = nnpy.NeuralNetwork([4, 4]), nnpy.NeuralNetwork([4, 4])
    one.randomize()
    other.randomize()
    assert (one.parameters != other.parameters).all()
    assert ((one.parameters >= 0) & (one.parameters <= 1)).all()
    one.randomize(-3, -3)
    assert (one.parameters == -3).all()


def many(message):
    return f"not enough memory for a network with layers of {message} neurons"


CONSTRUCTION = [
    ("221", TypeError, "layer_sizes must be a sequence of integers such as [2, 2, 1], got '221'"),
    (3, TypeError, "layer_sizes must be a sequence of integers such as [2, 2, 1], got 3"),
    ([2, 1.0], TypeError, "layer_sizes must be a sequence of integers such as [2, 2, 1], got [2, 1.0]"),
    ([True, 1], TypeError, "layer_sizes must be a sequence of integers such as [2, 2, 1], got [True, 1]"),
    ([2], ValueError, "layer_sizes must have at least 2 entries, the inputs and the outputs, got [2]"),
    ([], ValueError, "layer_sizes must have at least 2 entries, the inputs and the outputs, got []"),
    ([2, 0, 1], ValueError, "layer_sizes must be positive, got [2, 0, 1]"),
    ([2, -1], ValueError, "layer_sizes must be positive, got [2, -1]"),
    ([2**62, 1], MemoryError, many([2**62, 1])),
    ([2**40, 2**40], MemoryError, many([2**40, 2**40])),
    ([1, 2**40, 2**40], MemoryError, many([1, 2**40, 2**40])),
    ([2**70, 1], MemoryError, many([2**70, 1])),
]


@pytest.mark.parametrize(("sizes", "error", "message"), CONSTRUCTION)
@pytest.mark.parametrize("kind", [nnpy.NeuralNetwork, nnpy.Gradient])
def test_refused_layer_sizes(kind, sizes, error, message):
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        kind(sizes)


def test_layer_sizes_of_other_kinds():
    assert nnpy.NeuralNetwork((np.int64(2), 3)).layer_sizes == (2, 3)
    assert nnpy.NeuralNetwork(np.array([2, 3])).layer_sizes == (2, 3)
    assert nnpy.NeuralNetwork(iter([2, 3])).layer_sizes == (2, 3)


def descent(**arguments):
    return lambda net: net.gradient_descent(XOR_X, XOR_Y, **{"rate": 1.0, **arguments})


ARGUMENTS = [
    (descent(rate=0), ValueError, "rate must be positive in float32, got 0"),
    (descent(rate=-1), ValueError, "rate must be positive in float32, got -1"),
    (descent(rate=1e-60), ValueError, "rate must be positive in float32, got 1e-60"),
    (descent(rate=float("nan")), ValueError, "rate must be finite in float32, got nan"),
    (descent(rate=1e39), ValueError, "rate must be finite in float32, got 1e+39"),
    (descent(rate=10**400), ValueError, "rate must be finite in float32, got 1000"),
    (descent(rate="1"), TypeError, "rate must be a real number, got '1'"),
    (descent(rate=True), TypeError, "rate must be a real number, got True"),
    (descent(rate=1j), TypeError, "rate must be a real number, got 1j"),
    (descent(iterations=-1), ValueError, "iterations must be from 0 to 9223372036854775807, got -1"),
    (descent(iterations=1.5), TypeError, "iterations must be an integer, got 1.5"),
    (descent(iterations=True), TypeError, "iterations must be an integer, got True"),
    (descent(eps=0), ValueError, "eps must be positive in float32, got 0"),
    (lambda net: net.finite_diff(XOR_X, XOR_Y, eps=-0.1), ValueError, "eps must be positive in float32, got -0.1"),
    (lambda net: net.randomize(1, 0), ValueError, "low must not be above high, got 1.0 and 0.0"),
    (lambda net: net.randomize(-3e38, 3e38), ValueError, "high - low must be finite in float32, got -3e+38 and 3e+38"),
    (lambda net: net.randomize(0, float("inf")), ValueError, "high must be finite in float32, got inf"),
    (lambda net: net.randomize("a"), TypeError, "low must be a real number, got 'a'"),
    (lambda net: net.randomize(seed=-1), ValueError, "seed must be from 0 to 4294967295, got -1"),
    (lambda net: net.randomize(seed=1.0), TypeError, "seed must be an integer, got 1.0"),
    (
        lambda net: nnpy.NeuralNetwork([1, 1], seed=2**64),
        ValueError,
        "seed must be from 0 to 18446744073709551615, got",
    ),
    (lambda net: nnpy.NeuralNetwork([1, 1], seed="0"), TypeError, "seed must be an integer, got '0'"),
]


@pytest.mark.parametrize(("call", "error", "message"), ARGUMENTS)
def test_refused_arguments_change_nothing(net, call, error, message):
    before = net.parameters.copy()
    with pytest.raises(error, match=f"^{re.escape(message)}"):
        call(net)
    np.testing.assert_array_equal(net.parameters, before)


def test_numbers_of_other_kinds(net):
    net.gradient_descent(XOR_X, XOR_Y, rate=np.float64(0.5), iterations=np.int16(2))
    net.gradient_descent(XOR_X, XOR_Y, rate=1, iterations=0)
    net.randomize(np.float32(0), 1, seed=np.uint8(3))


def test_only_the_data_is_positional(net):
    with pytest.raises(TypeError, match="positional"):
        net.gradient_descent(XOR_X, XOR_Y, 1.0)
    with pytest.raises(TypeError, match="positional"):
        net.finite_diff(XOR_X, XOR_Y, 0.1)


@pytest.mark.parametrize("sizes", [[1, 1], [1, 300, 1]])
@pytest.mark.parametrize("eps", [None, 1e-3])
def test_a_training_that_diverges_leaves_finite_parameters(sizes, eps):
    """A training that ends one iteration before the one that the message names has the same parameters."""
    net, other = (nnpy.NeuralNetwork(sizes, "linear", seed=0) for _ in range(2))
    with pytest.raises(nnpy.DivergenceError, match=r"^training diverged in iteration \d+: the loss or ") as error:
        net.gradient_descent([[1.0]], [[1.0]], rate=1e4 if eps is None else 1e30, iterations=50, eps=eps)
    if eps is None:
        assert 1 < error.value.epoch < 50
        other.gradient_descent([[1.0]], [[1.0]], rate=1e4, iterations=error.value.epoch - 1)
    assert np.isfinite(net.parameters).all()
    np.testing.assert_array_equal(net.parameters, other.parameters)


def test_training_on_views_of_the_parameters_uses_what_they_were():
    net, other = (nnpy.NeuralNetwork([2, 2], "tanh", seed=3) for _ in range(2))
    x = y = net.weights[0]
    net.gradient_descent(x, y, rate=5, iterations=3)
    start = other.weights[0].copy()
    other.gradient_descent(start, start, rate=5, iterations=3)
    np.testing.assert_array_equal(net.parameters, other.parameters)


# ---- Threads ----


def test_many_threads_may_predict_while_another_trains_a_copy():
    net, x, y = big_problem()
    x, y = x[:200], y[:200]
    expected, grad, trained = net.forward(x), net.backpropagation(x, y), copy.copy(net)
    serial = copy.copy(net)
    serial.gradient_descent(x, y, rate=0.1, iterations=20)
    with ThreadPoolExecutor(9) as pool:
        training = pool.submit(trained.gradient_descent, x, y, rate=0.1, iterations=20)
        outputs = [pool.submit(net.forward, x) for _ in range(40)]
        gradients = [pool.submit(net.backpropagation, x, y) for _ in range(8)]
        training.result()
    for output in outputs:
        np.testing.assert_array_equal(output.result(), expected)
    for gradient in gradients:
        np.testing.assert_array_equal(gradient.result().parameters, grad.parameters)
    np.testing.assert_array_equal(trained.parameters, serial.parameters)


def test_two_trainings_of_one_network_take_turns(net):
    other = copy.copy(net)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: net.gradient_descent(XOR_X, XOR_Y, rate=1, iterations=500), range(8)))
    other.gradient_descent(XOR_X, XOR_Y, rate=1, iterations=4000)
    np.testing.assert_array_equal(net.parameters, other.parameters)


@pytest.mark.slow
def test_python_goes_on_while_c_computes():
    net, x, y = big_problem()
    thread = threading.Thread(target=net.gradient_descent, args=(x, y), kwargs={"rate": 0.1, "iterations": 12})
    thread.start()
    turns = 0
    while thread.is_alive():
        time.sleep(0.001)
        turns += 1
    assert turns > 20


# ---- Ctrl-C ----

needs_signals = pytest.mark.skipif(sys.platform == "win32", reason="the test sends itself signals")


def interrupt(seconds, call):
    """Press Ctrl-C some seconds into a call that takes a quarter of an hour or more; kill the process after two minutes."""
    timer = threading.Timer(seconds, os.kill, [os.getpid(), signal.SIGINT])
    faulthandler.dump_traceback_later(120, exit=True, file=sys.__stderr__)
    try:
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            call()
    finally:
        timer.cancel()
        with suppress(KeyboardInterrupt):  # of a timer that was faster: it would end the whole run of pytest
            timer.join()
        faulthandler.cancel_dump_traceback_later()


@contextmanager
def alarm(handler):
    """Call a function from a signal handler, 20 ms into the block."""
    old = signal.signal(signal.SIGALRM, lambda *_: handler())
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.02)
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)


@pytest.mark.slow
@needs_signals
def test_ctrl_c_leaves_whole_iterations():
    net, x, y = big_problem()
    same = copy.copy(net)
    interrupt(0.4, lambda: net.gradient_descent(x, y, rate=0.1, iterations=10**9))
    for _ in range(1000):
        if (same.parameters == net.parameters).all():
            break
        same.gradient_descent(x, y, rate=0.1)
    np.testing.assert_array_equal(same.parameters, net.parameters)


@needs_signals
@pytest.mark.parametrize(
    "call", ["forward", "mse", "backpropagation", "finite_diff", "gradient_descent", "tiny", "check"]
)
def test_ctrl_c_within_a_long_step(call):
    net = nnpy.NeuralNetwork([200, 2000, 1], seed=1)  # a pass over so many rows takes a quarter of an hour
    x, y = (np.broadcast_to(np.full(columns, 0.5, np.float32), (10**8, columns)) for columns in (200, 1))
    before = net.parameters.copy()
    calls = {
        "forward": lambda: net.forward(x),
        "mse": lambda: net.mse(x, y),
        "backpropagation": lambda: net.backpropagation(x, y),
        "finite_diff": lambda: net.finite_diff(x, y),
        "gradient_descent": lambda: net.gradient_descent(x, y, rate=1),
        "tiny": lambda: nnpy.NeuralNetwork([2, 2, 1]).gradient_descent(XOR_X, XOR_Y, rate=1, iterations=10**12),
        "check": lambda: net.loss(*(np.broadcast_to(a[0], (10**12, a.shape[1])) for a in (x, y))),
    }
    interrupt(0.6, calls[call])
    np.testing.assert_array_equal(net.parameters, before)
    assert net.forward(x[:1]).shape == (1, 1)


@needs_signals
def test_a_signal_handler_may_copy_the_network_that_is_trained(net):
    copies = []
    with alarm(lambda: copies.append(pickle.dumps(net))):
        net.gradient_descent(XOR_X, XOR_Y, rate=1, iterations=800_000)
    assert pickle.loads(copies[0]).parameters.shape == net.parameters.shape


@needs_signals
def test_a_signal_handler_that_raises_nothing_stops_nothing(net):
    handled = []
    with alarm(lambda: handled.append(1)):
        net.gradient_descent(XOR_X, XOR_Y, rate=1, iterations=800_000)
    other = nnpy.NeuralNetwork([2, 3, 1], seed=5)
    other.gradient_descent(XOR_X, XOR_Y, rate=1, iterations=800_000)
    assert handled == [1]
    np.testing.assert_array_equal(net.parameters, other.parameters)


# ---- Progress ----


def test_progress_bar_counts_the_iterations(net, capsys):
    pytest.importorskip("tqdm")
    net.gradient_descent(XOR_X, XOR_Y, rate=1, iterations=200_000, progress=True)
    err = capsys.readouterr().err
    assert "200000/200000" in err
    assert "100%" in err


def test_progress_without_tqdm_names_the_extra_and_changes_nothing(net, monkeypatch):
    real_import = builtins.__import__

    def without_tqdm(name, *args, **kwargs):
        if name == "tqdm":
            raise ImportError(name)
        return real_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_tqdm)
    before = net.parameters.copy()
    with pytest.raises(ImportError, match=r"^progress=True needs tqdm: pip install 'nnpy\[progress\]'$"):
        net.gradient_descent(XOR_X, XOR_Y, rate=1, progress=True)
    np.testing.assert_array_equal(net.parameters, before)


@needs_signals
def test_progress_bar_is_closed_by_ctrl_c(net, capsys):
    pytest.importorskip("tqdm")
    interrupt(0.1, lambda: net.gradient_descent(XOR_X, XOR_Y, rate=1, iterations=10**12, progress=True))
    assert "/1000000000000" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="the test uses a timer of Unix")
@pytest.mark.parametrize("call", ["net.backpropagation(x, y)", "nnpy.NeuralNetwork([2, 3, 1], seed=0)"])
def test_no_ctrl_c_is_lost_while_memory_is_freed(tmp_path, call):
    """An exception of a signal handler that runs in a destructor written in Python would vanish.

    In a process of its own: callbacks of the garbage collector, which tools for tests register, lose exceptions as well.
    """
    program = """
import signal
import numpy as np, nnpy
net, x, y = nnpy.NeuralNetwork([2, 3, 1], seed=0), np.ones((4, 2), np.float32), np.zeros((4, 1), np.float32)
net.backpropagation(x, y)
expected, raised, caught = False, 0, 0
def handler(*_):
    global expected, raised
    if expected:
        expected, raised = False, raised + 1
        raise KeyboardInterrupt
signal.signal(signal.SIGALRM, handler)
signal.setitimer(signal.ITIMER_REAL, 1e-3, 1e-3)
while raised < 400:
    try:
        expected = True
        CALL
        expected = False
    except KeyboardInterrupt:
        caught += 1
signal.setitimer(signal.ITIMER_REAL, 0)
print(raised - caught)
"""
    command = [sys.executable, "-c", program.replace("CALL", call)]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (result.stdout, result.stderr) == ("0\n", "")


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_network_that_is_being_trained_can_be_used_after_a_fork(tmp_path):
    program = """
import os, threading, time
import numpy as np, nnpy
net, x, y = nnpy.NeuralNetwork([20, 30, 1], seed=0), np.ones((500, 20), np.float32), np.ones((500, 1), np.float32)
thread = threading.Thread(target=net.gradient_descent, args=(x, y), kwargs={"rate": 1e-9, "iterations": 10**9}, daemon=True)
thread.start()
time.sleep(0.2)
child = os.fork()
if child == 0:
    net.gradient_descent(x, y, rate=0.1)
    os._exit(7)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    command = [sys.executable, "-W", "ignore", "-c", program]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
    assert result.stdout == "7\n"


@pytest.mark.slow
def test_the_interpreter_may_end_while_threads_are_in_c(tmp_path):
    """A thread in C called into Python after its end: 15 of 100 processes crashed."""
    program = """
import threading, time
import numpy as np, nnpy
rng = np.random.default_rng(0)
x, y = rng.random((2000, 50)).astype("f4"), rng.random((2000, 1)).astype("f4")
for i in range(4):
    net = nnpy.NeuralNetwork([50, 40, 1], "tanh", seed=i)
    options = {"rate": 1e-6, "iterations": 10**9}
    threading.Thread(target=net.gradient_descent, args=(x, y), kwargs=options, daemon=True).start()
time.sleep(0.07)
"""
    for _ in range(20):
        assert subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=False, timeout=60).returncode == 0
