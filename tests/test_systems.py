"""What systems other than Linux do not have: functions of `os`, modules of Unix."""

import os
import subprocess
import sys
from pathlib import Path

import nnpy

PROGRAM = """
import os, sys
for name in ("O_TMPFILE", "fchmod", "fork", "getuid", "register_at_fork", "sched_getaffinity"):
    if hasattr(os, name):
        delattr(os, name)
for name in ("fcntl", "grp", "pwd", "resource", "termios"):
    sys.modules[name] = None  # to import it is an error
import nnpy
from nnpy._commands import main
x, y = [[0, 0], [0, 1], [1, 0], [1, 1]], [[0], [1], [1], [0]]
net = nnpy.NeuralNetwork([2, 3, 1], seed=1)
net.fit(x, y, optimizer="adam", epochs=4, checkpoint="checkpoint.npz")
net.save("network.npz")
net.save("network.npz")  # replaces the file
assert (nnpy.load("network.npz").parameters == net.parameters).all()
other = nnpy.NeuralNetwork([2, 3, 1], seed=1)
other.fit(x, y, optimizer="adam", epochs=5, resume="checkpoint.npz")
nets = [nnpy.NeuralNetwork([2, 1], seed=i) for i in range(3)]
nnpy.fit_many(nets, x, y, epochs=2)
assert nnpy.get_num_threads() >= 1
print(sorted(os.listdir()))
nnpy.show_config()
sys.exit(main.main(["xor", "--iterations", "10"]))
"""


def test_without_what_only_unix_has(tmp_path):
    root = str(Path(nnpy.__file__).parent.parent)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])}
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith("['checkpoint.npz', 'network.npz']\n")
