"""No hidden copy: training on a large file, its scaler and its predictions allocate next to nothing."""

import subprocess
import sys

import pytest

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
    "work",
    [
        "net.gradient_descent(x, y, rate=0.1, iterations=2)",
        "net.gradient_descent(x[::-2], y[::2], rate=0.1)",
        "net.forward(x); net.mse(x, y); net.parameters -= net.backpropagation(x, y).parameters",
        "net.fit_scaler(x); net.forward(x); net.layer_outputs(x); net.parameters += net.scaler.x_scale[0]",
    ],
)
def test_training_on_a_memory_map_copies_nothing(tmp_path, work):
    rows = 32 * 1024  # 128 MiB, sparse on disk
    with open(tmp_path / "x", "wb") as file:
        file.truncate(rows * 1024 * 4)
        file.seek(1000)
        file.write(b"\x00\x00\x80\x3f" * 50)
    program = PROGRAM.format(rows=rows, allowed=8 * 2**20, work=work)
    result = subprocess.run(
        [sys.executable, "-c", program, tmp_path / "x"], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert (result.stdout, result.stderr, result.returncode) == ("done\n", "", 0)
