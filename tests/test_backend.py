"""The same bits with every instruction set and number of threads; the environment variables; fork."""

import contextlib
import hashlib
import multiprocessing
import os
import re
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import nnpy
from nnpy import _backend

PROGRAM = """
import hashlib, sys
import numpy as np
import nnpy

rng = np.random.default_rng(0)
digest = hashlib.sha256()

def train(sizes, functions, rows, batch, optimizer, epochs):
    x = rng.random((rows, sizes[0]), dtype=np.float32)
    y = rng.random((rows, sizes[-1]), dtype=np.float32)
    net = nnpy.NeuralNetwork(sizes, functions, seed=1)
    history = net.fit(x, y, optimizer=optimizer, epochs=epochs, batch_size=batch, seed=2)
    for array in (net.parameters, history.loss, net.predict(x), net.backpropagation(x, y).parameters):
        digest.update(array.tobytes())
    digest.update(repr((net.loss(x, y), net.mse(x, y))).encode())

net = nnpy.NeuralNetwork([2, 2, 1])
net.randomize(0.0, 1.0, seed=69)
net.gradient_descent([[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 0], rate=10, iterations=10_000)
digest.update(net.parameters.tobytes())
train([784, 128, 10], ["relu", "softmax"], 320, 32, nnpy.SGD(0.1), 2)
train([37, 53, 11], ["tanh", "sigmoid"], 290, 29, nnpy.SGD(0.5), 3)
train([20, 64, 64, 1], ["relu", "relu", "linear"], 300, 32, nnpy.Adam(), 3)
train([300, 1, 300], ["sigmoid", "softmax"], 1500, 1500, nnpy.Adam(), 1)
for n in range(1, 300, 23):
    train([n, 301 - n, n], ["relu", "tanh"], 64, 17, nnpy.SGD(0.01), 1)
print(digest.hexdigest())
"""


def run(program, tmp_path, **environment):
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("NNPY_", "OMP_"))}
    return subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
        env={**clean, **environment},
    )


@pytest.mark.slow
def test_bits_do_not_depend_on_threads_or_instruction_set(tmp_path):
    outputs = {}
    for isa in _backend._available():
        for threads in (1, 2, 3) if isa != "portable" else (3,):
            result = run(PROGRAM, tmp_path, NNPY_ISA=isa, NNPY_NUM_THREADS=str(threads))
            assert result.stderr == ""
            outputs[isa, threads] = result.stdout
    assert len(outputs) >= 1
    assert len(set(outputs.values())) == 1, outputs


def test_large_batches_on_many_threads_give_the_bits_of_one():
    """The steps are large enough for threads, and there are more threads than processors."""
    x = np.random.default_rng(0).random((600, 300), dtype=np.float32)
    digests = set()
    before = nnpy.get_num_threads()
    try:
        for n in (1, 2, 3, 5):
            nnpy.set_num_threads(n)
            net = nnpy.NeuralNetwork([300, 200, 300], ["tanh", "linear"], seed=1)
            net.fit(x, x, epochs=2, batch_size=200, seed=0)
            digests.add(hashlib.sha256(net.parameters.tobytes() + net.predict(x).tobytes()).hexdigest())
    finally:
        nnpy.set_num_threads(before)
    assert len(digests) == 1


def test_num_threads():
    before = nnpy.get_num_threads()
    try:
        nnpy.set_num_threads(np.int64(3))
        assert nnpy.get_num_threads() == 3
        for value, error, message in [
            (0, ValueError, "n must be from 1 to 256, got 0"),
            (257, ValueError, "n must be from 1 to 256, got 257"),
            (1.0, TypeError, "n must be an integer, got 1.0"),
            (True, TypeError, "n must be an integer, got True"),
        ]:
            with pytest.raises(error, match=f"^{re.escape(message)}$"):
                nnpy.set_num_threads(value)
        assert nnpy.get_num_threads() == 3
    finally:
        nnpy.set_num_threads(before)


ASK = "import nnpy; print(nnpy.get_num_threads())"


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"NNPY_NUM_THREADS": "7"}, "7"),
        ({"NNPY_NUM_THREADS": "7", "OMP_NUM_THREADS": "3"}, "7"),
        ({"OMP_NUM_THREADS": "3"}, "3"),
        ({"OMP_NUM_THREADS": "5,2"}, "5"),
        ({"NNPY_NUM_THREADS": "1000"}, "256"),
        ({}, str(_backend._processors())),
        ({"OMP_NUM_THREADS": "many"}, str(_backend._processors())),
    ],
)
def test_environment_sets_the_number_of_threads(tmp_path, environment, expected):
    assert run(ASK, tmp_path, **environment).stdout.strip() == expected


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"NNPY_NUM_THREADS": "0"}, "ImportError: NNPY_NUM_THREADS must be a positive integer, got '0'"),
        ({"NNPY_NUM_THREADS": "two"}, "ImportError: NNPY_NUM_THREADS must be a positive integer, got 'two'"),
        ({"NNPY_ISA": "mmx"}, "ImportError: NNPY_ISA must be one of "),
    ],
)
def test_wrong_environment_is_an_error(tmp_path, environment, message):
    result = run(ASK, tmp_path, **environment)
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1].startswith(message)


def test_show_config(capsys, tmp_path):
    nnpy.show_config()
    out = capsys.readouterr().out
    for name in ("nnpy", "python", "numpy", "platform", "compiler", "instruction set", "threads"):
        assert re.search(rf"^{name}: +\S", out, re.MULTILINE)
    program = "import nnpy; nnpy.show_config()"
    assert re.search(
        r"^instruction set: portable \(of ", run(program, tmp_path, NNPY_ISA="portable").stdout, re.MULTILINE
    )


def train_in_child(queue):
    queue.put(trained())


def trained():
    x = np.random.default_rng(0).random((600, 300), dtype=np.float32)
    net = nnpy.NeuralNetwork([300, 200, 300], ["tanh", "linear"], seed=1)
    net.fit(x, x, epochs=2, batch_size=200, seed=0)
    return net.parameters.tobytes()


@pytest.mark.skipif(
    sys.platform != "linux" or len(os.sched_getaffinity(0)) < 2, reason="needs Linux and two processors"
)
def test_threads_may_run_on_all_processors():
    allowed = os.sched_getaffinity(0)
    net = nnpy.NeuralNetwork([300, 200, 300], ["tanh", "linear"], seed=1)
    x = np.random.default_rng(0).random((3000, 300), dtype=np.float32)
    others = set(os.listdir("/proc/self/task"))
    before = nnpy.get_num_threads()
    nnpy.set_num_threads(2)
    training = threading.Thread(target=net.gradient_descent, args=(x, x), kwargs={"rate": 1e-3, "iterations": 40})
    seen = {}
    try:
        training.start()
        while training.is_alive():
            for task in set(os.listdir("/proc/self/task")) - others:
                with contextlib.suppress(OSError):  # it has just ended
                    seen.setdefault(task, []).append(os.sched_getaffinity(int(task)))
            time.sleep(0.01)
    finally:
        training.join()
        nnpy.set_num_threads(before)
    assert len(seen) >= 2  # Python's thread and the one that nnpy started
    assert all(masks[-1] == allowed for masks in seen.values() if len(masks) > 3)
    assert os.sched_getaffinity(0) == allowed


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="there is no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_threads_work_after_fork():
    expected = trained()
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=train_in_child, args=(queue,))
    child.start()
    assert queue.get(timeout=60) == expected
    child.join(timeout=60)
    assert child.exitcode == 0
