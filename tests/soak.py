"""A long run: python tests/soak.py MINUTES does everything over and over, and fails if memory, open files or threads grow.

It prints a table in Markdown: one line for each twelfth of the time. The exit status is 1 if anything grew. Linux only.
"""

import contextlib
import copy
import gc
import itertools
import os
import pickle
import signal
import statistics
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path
from typing import NamedTuple

import numpy as np

import nnpy
from nnpy._commands.draw import Server, load_network

OPTIMIZERS = ["sgd", "adam", "adamw", "rmsprop", "rprop", "lbfgs", "lm"]
GROWTH = 4  # MiB from the second to the last quarter: the allocator never stands quite still
LINES = 12


class Sample(NamedTuple):
    """What the process uses between two rounds."""

    seconds: float
    memory: float  # MiB that are resident
    files: int
    threads: int


def sample(seconds):
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    memory = pages * os.sysconf("SC_PAGE_SIZE") / 2**20
    return Sample(seconds, memory, len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task")))


def find_growth(samples):
    """Compare the last quarter of the samples with the second one; the first one is for warming up."""
    quarter = len(samples) // 4
    before, after = samples[quarter : 2 * quarter], samples[-quarter:]
    grown = []
    for name, allowed in (("memory", GROWTH), ("files", 0), ("threads", 0)):
        then, now = (statistics.median(getattr(s, name) for s in some) for some in (before, after))
        if now > then + allowed:
            grown.append(f"{name} grew from {then:.1f} to {now:.1f}")
    return grown


# ---- The work of a round; each function gets a generator of random numbers and a folder for files ----


def problem(rng, outputs=2):
    n, inputs = int(rng.integers(50, 400)), int(rng.integers(2, 40))
    x = rng.standard_normal((n, inputs), dtype=np.float32)
    return x, np.tanh(x @ rng.standard_normal((inputs, outputs), dtype=np.float32))


def network(x, y, rng):
    return nnpy.NeuralNetwork([x.shape[1], int(rng.integers(2, 50)), y.shape[1]], ["tanh", "linear"], seed=1)


def train(rng, folder):
    x, y = problem(rng)
    for optimizer in OPTIMIZERS:
        net = network(x, y, rng)
        net.fit_scaler(x, y)
        history = net.fit(x, y, optimizer=optimizer, epochs=4, validation_split=0.2, early_stopping=3, metrics=["r2"])
        assert np.isfinite(history.loss).all()
    net.partial_fit(x, y)
    net.gradient_descent(x, y, rate=1e-3, iterations=10)
    net.layer_outputs(x), net.input_gradient(x, y), net.evaluate(x.astype(float), y), net.predict(x.tolist())


def many(rng, folder):
    x, y = problem(rng)
    nets = [network(x, y, rng) for _ in range(4)]
    nnpy.fit_many(nets, x, y, epochs=3, each=[{"seed": i} for i in range(4)])
    nnpy.Ensemble(nets).predict(x, return_std=True)


def files(rng, folder):
    x, y = problem(rng)
    net = network(x, y, rng)
    net.fit(x, y, optimizer="adam", epochs=2, seed=1, checkpoint=folder / "checkpoint.npz")
    net.fit(x, y, optimizer="adam", epochs=4, seed=1, resume=folder / "checkpoint.npz")
    net.partial_fit(x, y)
    net.save(folder / "net.npz")
    for other in (nnpy.load(folder / "net.npz"), pickle.loads(pickle.dumps(net)), copy.deepcopy(net)):
        assert (other.predict(x) == net.predict(x)).all()


def refusals(rng, folder):
    x, y = problem(rng)
    net = network(x, y, rng)
    (folder / "damaged.npz").write_bytes(rng.bytes(500))
    for call in (
        lambda: net.fit(x, y[1:]),
        lambda: net.predict(np.full_like(x, np.nan)),
        lambda: net.fit(x, y, optimizer=nnpy.SGD(1e30), epochs=5),
        lambda: nnpy.load(folder / "damaged.npz"),
        lambda: nnpy.NeuralNetwork([2**40, 2**40]),
    ):
        try:
            call()
        except (ValueError, nnpy.DivergenceError, MemoryError):
            pass
        else:
            raise AssertionError("a refusal is missing")


def threads(rng, folder):
    x, y = problem(rng)
    shared = network(x, y, rng)

    def work(seed):
        own = copy.copy(shared)
        own.fit(x, y, epochs=3, seed=seed)
        own.predict(x)
        shared.predict(x)
        if seed == 0:
            shared.fit(x, y, epochs=3)

    workers = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


def interrupts(rng, folder):
    x, y = problem(rng)
    for call in (
        lambda net: net.fit(x, y, epochs=10**9),
        lambda net: net.gradient_descent(x, y, rate=1e-9, iterations=10**12),
        lambda net: nnpy.fit_many([net, copy.copy(net)], x, y, epochs=10**9),
    ):
        net = network(x, y, rng)
        with contextlib.suppress(KeyboardInterrupt):  # fit returns
            signal.setitimer(signal.ITIMER_REAL, 0.02)
            call(net)
        assert np.isfinite(net.parameters).all()


def serve(rng, folder):
    with Server(load_network(None), 0) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        for path in ("", "network", "page.js"):
            with urllib.request.urlopen(server.url + path) as answer:
                assert answer.read()
        server.shutdown()
        thread.join()


def main(minutes):
    def interrupt(*_):
        raise KeyboardInterrupt

    signal.signal(signal.SIGALRM, interrupt)  # as Ctrl-C does
    nnpy.set_num_threads(2)
    print(f"nnpy {nnpy.__version__}, Python {sys.version.split()[0]}, numpy {np.__version__}, {minutes:g} minutes\n")
    print("| minute | rounds | memory, MiB | open files | threads |\n| ---: | ---: | ---: | ---: | ---: |")
    start, samples, lines = time.monotonic(), [], 1
    with tempfile.TemporaryDirectory() as folder:
        for round_ in itertools.count():
            rng = np.random.default_rng(round_)
            for work in (train, many, files, refusals, threads, interrupts, serve):
                work(rng, Path(folder))
            samples.append(sample(time.monotonic() - start))
            now = samples[-1]
            if now.seconds >= lines * minutes * 60 / LINES:
                print(
                    f"| {now.seconds / 60:.0f} | {round_ + 1} | {now.memory:.1f} | {now.files} | {now.threads} |",
                    flush=True,
                )
                lines += 1
            if now.seconds >= minutes * 60 and len(samples) >= 8:
                break
    grown = find_growth(samples)
    print("\n" + ("; ".join(grown) or "Nothing grew."))
    return 1 if grown else 0


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1])))
