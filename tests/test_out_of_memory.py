"""What Python sees when the C engine gets no memory or no threads: for each function, its n-th allocation fails, for every n.

tests/c/failing_calls.c is loaded before the C library and fails calls of the extension only.
"""

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent / "c" / "failing_calls.c"

pytestmark = [
    pytest.mark.skipif(
        platform.libc_ver()[0] != "glibc" or shutil.which("cc") is None, reason="needs glibc and a compiler"
    ),
    pytest.mark.skipif("LD_PRELOAD" in os.environ, reason="a sanitizer is loaded first"),
]

BEGIN = """
import copy, ctypes, gc, pickle
import numpy as np
import nnpy
from nnpy._backend import backend

library = ctypes.CDLL(None)
rng = np.random.default_rng(0)
gc.freeze()  # collections are fast
backend.num_threads = -2  # two threads, however small the network

def new_net(width, last="linear"):
    net = nnpy.NeuralNetwork([3, width, 2], ["tanh", last], seed=1)
    net.partial_fit(np.ones((1, 3)), np.zeros((1, 2)), optimizer=nnpy.SGD(0.1, momentum=0.9), seed=0)
    return net

def state(net):
    state = net.__getstate__()
    arrays = [state["parameters"], *state["optimizer_state"].values()] if "optimizer" in state else [state["parameters"]]
    return [array.tobytes() for array in arrays], state.get("optimizer"), net.feature_names

def plain(value):
    if isinstance(value, nnpy.NeuralNetwork):
        return state(value)
    if isinstance(value, nnpy.History):
        return value.loss.tobytes()
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    value = getattr(value, "parameters", value)
    return value.tobytes() if isinstance(value, np.ndarray) else repr(value)

x, y = rng.random((40, 3), dtype=np.float32), rng.random((40, 2), dtype=np.float32)
nnpy.NeuralNetwork([3, 2, 2], seed=1).save("net")
optimizers = ["sgd", "adam", "rmsprop", "rprop", "lbfgs", "lm", nnpy.SGD(0.1, momentum=0.5)]
calls = {
    "construct": lambda net: nnpy.NeuralNetwork([3, 5, 2], seed=1),
    "Gradient": lambda net: nnpy.Gradient([3, 5, 2]),
    "copy": copy.copy, "pickle": lambda net: pickle.loads(pickle.dumps(net)),
    "load": lambda net: nnpy.load("net"),
    "forward": lambda net: net.forward(x), "forward of one": lambda net: net.forward(x[:1]),
    "forward of five": lambda net: net.forward(x[:5]),
    "forward, scaled": lambda net: (net.fit_scaler(x, y), net.forward(x), net.loss(x, y), net.input_gradient(x, y)),
    "layer_outputs": lambda net: net.layer_outputs(x), "jacobian": lambda net: net.jacobian(x),
    "predict_classes": lambda net: net.predict_classes(x),
    "loss": lambda net: net.loss(x, y), "evaluate": lambda net: net.evaluate(x, y), "score": lambda net: net.score(x, y),
    "backpropagation": lambda net: net.backpropagation(x, y), "input_gradient": lambda net: net.input_gradient(x, y),
    "finite_diff": lambda net: net.finite_diff(x[:2], y[:2]),
    "check_gradients": lambda net: net.check_gradients(x, y, max_parameters=1),
    "gradient_descent": lambda net: net.gradient_descent(x, y, rate=0.1),
    "gradient_descent by differences": lambda net: net.gradient_descent(x[:2], y[:2], rate=0.1, eps=0.1),
    "partial_fit": lambda net: net.partial_fit(x, y, seed=0),
    "partial_fit with another optimizer": lambda net: net.partial_fit(x, y, optimizer="adam", seed=0),
    "fit with options": lambda net: net.fit(x, y, epochs=1, seed=0, dropout=0.2, clip_norm=0.1, l2=0.1),
    "ensemble": lambda net: nnpy.Ensemble([net, net]).predict(x),
    **{f"fit, {optimizer}": lambda net, o=optimizer: net.fit(x, y, epochs=1, optimizer=o, seed=0) for optimizer in optimizers},
}
"""

MEMORY = (
    BEGIN
    + """
num_errors = 0
for width in (4, 700):
    for name, call in calls.items():
        if width == 700 and ("lm" in name or "differences" in name or "finite" in name or "check" in name):
            continue  # slow
        expected = plain(call(new_net(width)))
        trained = new_net(width)
        call(trained)
        trained = state(trained)
        library.failing_calls_begin(0, 0, 0)
        for once in (0, 1):
            for n in range(1, 40):
                net = new_net(width)
                before, error = state(net), None
                gc.collect()
                in_use = library.failing_calls_in_use()
                library.failing_calls_begin(n, once, 0)
                try:
                    result = call(net)
                except MemoryError as raised:
                    error = raised
                num_failed = library.failing_calls_end()
                where = f"{name}, width {width}, allocation {n}, once {once}"
                assert once or (error is not None) == (num_failed > 0), where
                if error is None:
                    assert plain(result) == expected, where
                    assert state(net) == trained, where
                    result = None
                else:
                    num_errors += 1
                    assert "memory" in str(error), where
                    assert state(net) == before or name == "forward, scaled", where
                    error.__traceback__ = None
                    del error
                net._prepared_descent = net._prepared_step = None  # what calls keep for the next ones
                gc.collect()
                net.fit_scaler(None)
                assert library.failing_calls_in_use() == in_use, where + ": memory is not given back"
                if num_failed == 0:
                    break
            else:
                raise AssertionError(where)
        print(name)
assert num_errors > 100, num_errors
"""
)

THREADS = (
    BEGIN
    + """
num_failures = 0
for name, call in calls.items():
    expected = plain(call(new_net(4)))
    backend.num_threads = -5
    for n in range(1, 6):
        library.failing_calls_begin(n, 0, 1)
        result = call(new_net(4))
        num_failures += library.failing_calls_end()
        assert plain(result) == expected, (name, n)
    backend.num_threads = -2
assert num_failures > 100, num_failures
"""
)

MANY = (
    BEGIN
    + """
for n in range(1, 60):
    nets = [new_net(4) for _ in range(3)]
    library.failing_calls_begin(n, 1, 0)
    try:
        nnpy.fit_many(nets, x, y, epochs=1, seed=0)
    except MemoryError:
        assert library.failing_calls_end() == 1
    else:
        assert library.failing_calls_end() == 0 and n > 3
        break
    assert all(np.isfinite(net.parameters).all() for net in nets)
    nnpy.fit_many(nets, x, y, epochs=1, seed=0)
else:
    raise AssertionError("it always fails")
"""
)


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    path = tmp_path_factory.mktemp("failing") / "failing_calls.so"
    flags = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-O1", "-fPIC", "-shared"]
    subprocess.run(["cc", *flags, "-o", path, SOURCE, "-ldl", "-pthread"], check=True)
    return path


@pytest.mark.parametrize("program", [MEMORY, THREADS, MANY], ids=["memory", "threads", "fit_many"])
def test_every_allocation_and_thread_may_fail(library, tmp_path, program):
    result = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "LD_PRELOAD": str(library)},
    )
    assert (result.stderr, result.returncode) == ("", 0), result.stdout
