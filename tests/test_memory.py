"""No hidden copy: training on a large file, its scaler, samples that are held out and predictions allocate next to nothing."""

import subprocess
import sys
import tracemalloc

import numpy as np
import pytest

import nnpy

PROGRAM = """
import resource, sys
import numpy as np
import nnpy

x = np.memmap(sys.argv[1], np.float32, mode="r", shape=({rows}, 1024))
y = np.zeros(({rows}, 1), np.float32)
net = nnpy.NeuralNetwork([1024, 2, 1], seed=0)
net.gradient_descent(x[:8], y[:8], rate=0.1)  # allocates what is allocated once

# The file is mapped read-only, so it does not count. From here on far less than its size may be allocated.
with open("/proc/self/status") as file:
    used = next(int(line.split()[1]) for line in file if line.startswith("VmData")) * 1024
resource.setrlimit(resource.RLIMIT_DATA, (used + {allowed}, used + {allowed}))
try:
    x[:].copy()
except MemoryError:
    pass
else:
    sys.exit("the limit does not hold")
before = net.parameters.copy()
{work}
assert (net.parameters != before).any()
print("done")
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the limit on private memory alone is Linux's")
@pytest.mark.parametrize(
    ("work", "allowed"),
    [
        ("net.gradient_descent(x, y, rate=0.1, iterations=2)", 8),
        ("net.gradient_descent(x[::-2], y[::2], rate=0.1)", 8),
        ("net.forward(x); net.mse(x, y); net.parameters -= net.backpropagation(x, y).parameters", 8),
        ("net.fit_scaler(x); net.forward(x); net.layer_outputs(x); net.parameters += net.scaler.x_scale[0]", 8),
        ("net.fit_scaler(x); net.fit(x, y, epochs=2, batch_size=256)", 16),
        ("net.fit_scaler(x); net.fit(x, y, epochs=2, validation_split=0.5, batch_size=256)", 16),
        ("net.fit(x, y, epochs=2, sample_weight=np.arange(len(x)), validation_split=0.5, optimizer='rprop')", 16),
        (
            "nnpy.NeuralNetwork([1024, 2, 1024], ['tanh', 'linear']).fit(x, x, epochs=1, validation_split=0.1); "
            "net.parameters = 3",
            24,
        ),
        # Cross-validation, with stacks of 8 MiB for its threads.
        ("net = nnpy.NeuralNetwork([1024, 2, 1], seed=0); net.fit(x, y, batch_size=4096, optimizer=nnpy.SGD(0.1))", 64),
    ],
)
def test_training_on_a_memory_map_copies_nothing(tmp_path, work, allowed):
    rows = 32 * 1024  # 128 MiB, sparse on disk
    with open(tmp_path / "x", "wb") as file:
        file.truncate(rows * 1024 * 4)
        file.seek(1000)
        file.write(b"\x00\x00\x80\x3f" * 50)
    program = PROGRAM.format(rows=rows, allowed=allowed * 2**20, work=work)
    result = subprocess.run(
        [sys.executable, "-c", program, tmp_path / "x"], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert (result.stdout, result.stderr, result.returncode) == ("done\n", "", 0)


@pytest.mark.parametrize(
    ("options", "allowed"),
    [
        ({"epochs": 2}, 4e6),
        ({"epochs": 2, "validation_split": 0.5, "metrics": "r2"}, 4e6),
        ({"epochs": 2, "optimizer": "rprop", "sample_weight": np.arange(20_000) % 3}, 4e6),
        ({"validation_split": 0.1, "sample_weight": np.arange(20_000) % 3}, 4e6),
        # Cross-validation, in two threads at a time.
        pytest.param({"batch_size": 2000, "optimizer": nnpy.SGD(1e-3)}, 6e6, marks=pytest.mark.slow),
    ],
    ids=str,
)
@pytest.mark.parametrize("scales", [False, True])
def test_python_copies_nothing_of_large_inputs(options, allowed, scales):
    """The inputs have 20 MB. tracemalloc counts what numpy allocates."""
    x = np.random.default_rng(0).normal(size=(20_000, 250)).astype(np.float32)
    y = x[:, :1] + x[:, 1:2]
    net = nnpy.NeuralNetwork([250, 1, 1], ["tanh", "linear"], seed=0)
    tracemalloc.start()
    try:
        if scales:
            net.fit_scaler(x)
        net.fit(x, y, callbacks=lambda *_: True, **options)
        net.predict(x)
        net.mse(x, y)
        assert tracemalloc.get_traced_memory()[1] < allowed
    finally:
        tracemalloc.stop()
