"""Times nnpy beside its peers, on the same work, and writes the results.

    pip install '.[bench]' && python benchmarks/run.py [--rounds 3] [--work NAME ...] [--readme]

Each library runs in a process of its own, checks its result and then takes the time (see work.py); the processes take turns,
some rounds, and the median over all repetitions of all rounds counts. Libraries that are not installed are left out. Writes
benchmarks/results.json, prints the table, and with --readme puts it into README.md, between its two benchmark comments.
"""

import argparse
import importlib.metadata
import importlib.util
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).parent
MARKS = ("<!-- benchmark: written by benchmarks/run.py -->", "<!-- end of benchmark -->")


class Row(NamedTuple):
    """A piece of work, who does it, and what nnpy is to reach: a ratio to the time of a peer, or seconds."""

    title: str
    libraries: tuple[str, ...]
    target: float | None
    target_of: str | None  # None: seconds
    rate_of: int | None = None  # shown as so many things a second


TRAINERS = ("nnpy", "jax", "torch", "sklearn", "numpy")
PREDICTORS = ("nnpy", "jax", "torch", "sklearn", "numpy", "onnxruntime")
ROWS = {
    "xor": Row(
        "XOR, 2-2-1, full batch, an iteration", ("nnpy", "jax", "torch", "numpy", "book", "python"), 0.65, "jax"
    ),
    "mnist-32": Row("784-128-10, 60,000 rows, batches of 32, an epoch", TRAINERS, 0.5, "jax"),
    "mnist-128": Row("the same, batches of 128", TRAINERS, 0.65, "jax"),
    "large-512": Row("1024-1024-1024-10, 16,384 rows, batches of 512, an epoch", TRAINERS, 0.83, None),
    "adam-32": Row("20-64-64-1, Adam, 20,000 rows, batches of 32, an epoch", TRAINERS, 1 / 3, "jax"),
    "adam-256": Row("the same, batches of 256", TRAINERS, 1 / 3, "jax"),
    "mnist-98": Row("784-256-10 to 98 % of the MNIST test images, Adam", ("nnpy", "jax", "torch"), 1.3, None),
    "regression-levenberg": Row("5-10-1 to a small loss, Levenberg-Marquardt", ("nnpy", "torch"), None, None),
    "regression-lbfgs": Row("the same, L-BFGS", ("nnpy", "torch"), None, None),
    "regression-adam": Row("the same, Adam", ("nnpy", "torch"), None, None),
    "many-at-once": Row("64 networks 8-16-1, 20 epochs of 500 rows, at once", ("nnpy", "torch"), None, None),
    "many-one-by-one": Row("the same, one by one", ("nnpy", "torch"), None, None),
    "predict-one": Row("predict one row, 4-16-2", PREDICTORS, 1.0e-6, None),
    "predict-many": Row("predict 10,000 rows, 784-128-10", PREDICTORS, 0.010, None, rate_of=10_000),
    "import": Row("import, after numpy", ("nnpy", "torch", "sklearn", "jax", "onnxruntime"), 0.015, None),
}
NAMES = {
    "nnpy": "nnpy",
    "jax": "JAX",
    "torch": "PyTorch",
    "sklearn": "scikit-learn",
    "numpy": "numpy",
    "onnxruntime": "ONNX Runtime",
    "book": "nn.h, -O3 -march=native",
    "python": "pure Python",
}
DISTRIBUTIONS = {"sklearn": "scikit-learn"}
IMPORTED = {"sklearn": "sklearn.neural_network"}


def installed(library: str) -> bool:
    """Whether the library can be had; the book is compiled, pure Python is a part of nnpy."""
    return library in ("book", "python") or importlib.util.find_spec(library) is not None


def environment() -> dict[str, str]:
    """The environment of the processes: each library chooses its kernels and threads itself."""
    chosen = ("OPENBLAS_", "OMP_", "MKL_", "NNPY_NUM", "NNPY_ISA")
    return {name: value for name, value in os.environ.items() if not name.startswith(chosen)}


def measure(name: str, library: str) -> list[float]:
    """Seconds, as one process of the library tells them. An error stops the benchmark: it must not pass for a slow library."""
    if name == "import":
        module = IMPORTED.get(library, library)
        program = f"import numpy, time; t = time.perf_counter(); import {module}; print([time.perf_counter() - t])"
        command = [sys.executable, "-c", program]
    else:
        command = [sys.executable, str(HERE / "work.py"), library, name]
    # From another folder: a checkout's nnpy/ would hide the package that is installed.
    with tempfile.TemporaryDirectory() as folder:
        result = subprocess.run(command, capture_output=True, text=True, env=environment(), cwd=folder, check=False)
    if result.returncode != 0:
        sys.exit(f"{library}, {name}: {result.stderr.strip()}")
    answer: Any = json.loads(result.stdout)
    return answer if name == "import" else answer["seconds"]


def machine() -> dict[str, Any]:
    """What the figures were measured on and with."""
    cpu = platform.processor() or platform.machine()
    if (info := Path("/proc/cpuinfo")).exists() and (found := re.search(r"model name\s*: (.*)", info.read_text())):
        cpu = found.group(1)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    versions = {
        n: importlib.metadata.version(DISTRIBUTIONS.get(n, n))
        for n in NAMES
        if n not in ("book", "python") and installed(n)
    }
    import nnpy._backend as m

    isa = list(m._available())[m.backend.isa]
    return {"cpu": cpu, "cores": cores, "isa": isa, "python": platform.python_version(), "versions": versions}


def text(seconds: float, row: Row) -> str:
    """A time, or a rate."""
    if row.rate_of:
        return f"{row.rate_of / seconds / 1e6:.3g} M rows/s"
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e6:.3g} us"


def target_text(row: Row, times: dict[str, float]) -> str:
    """What was aimed at, and what was reached."""
    if row.target is None or "nnpy" not in times:
        return ""
    if row.target_of is None:
        return f"{text(row.target, row)} ({'reached' if times['nnpy'] <= row.target else 'missed'})"
    if row.target_of not in times:
        return f"{row.target:.2f} of {NAMES[row.target_of]}"
    ratio = times["nnpy"] / times[row.target_of]
    verdict = "reached" if ratio <= row.target else "missed"
    return f"{row.target:.2f} of {NAMES[row.target_of]} ({verdict}: {ratio:.2f})"


def table(results: dict[str, Any]) -> str:
    """Describe the results as Markdown."""
    about = results["backend"]
    shown = [n for n in NAMES if any(n in times for times in results["seconds"].values())]
    versions = ", ".join(f"{NAMES[n]} {v}" for n, v in about["versions"].items())
    lines = [
        f"{about['cpu']}, {about['cores']} cores, {about['isa']}; Python {about['python']}, {versions}. "
        f"`python benchmarks/run.py --rounds {results['rounds']}`: medians of interleaved runs, float32, "
        "all of the cores for each library.",
        "",
        "| work | " + " | ".join(NAMES[n] for n in shown) + " | nnpy's time / best peer's | target |",
        "| --- |" + " ---: |" * (len(shown) + 1) + " --- |",
    ]
    for name, times in results["seconds"].items():
        row = ROWS[name]
        peers = [s for n, s in times.items() if n != "nnpy"]
        ratio = f"{times['nnpy'] / min(peers):.2f}" if peers and "nnpy" in times else ""
        cells = [text(times[n], row) if n in times else "" for n in shown]
        lines.append(f"| {row.title} | " + " | ".join(cells) + f" | {ratio} | {target_text(row, times)} |")
    return "\n".join(lines)


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description="Time nnpy beside its peers.")
    parser.add_argument("--rounds", type=int, default=3, help="how often each process is started (default: 3)")
    parser.add_argument(
        "--work", nargs="+", choices=ROWS, default=list(ROWS), help="which pieces of work (default: all)"
    )
    parser.add_argument("--readme", action="store_true", help="put the table into README.md")
    options = parser.parse_args()
    if options.rounds < 1:
        parser.error("--rounds must be at least 1")
    if "mnist-98" in options.work and not os.environ.get("NNPY_MNIST"):
        print("NNPY_MNIST does not name the folder with the MNIST files: mnist-98 is left out", file=sys.stderr)
        options.work.remove("mnist-98")

    seconds: dict[str, dict[str, list[float]]] = {name: {} for name in options.work}
    for round_ in range(options.rounds):
        for name in options.work:
            for library in filter(installed, ROWS[name].libraries):
                times = measure(name, library)
                seconds[name].setdefault(library, []).extend(times)
                print(f"round {round_ + 1}, {name}, {library}: {[float(f'{t:.3g}') for t in times]}", file=sys.stderr)
    medians = {name: {n: statistics.median(t) for n, t in times.items() if t} for name, times in seconds.items()}
    results = {"backend": machine(), "rounds": options.rounds, "seconds": medians, "all": seconds}
    (HERE / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    print(table(results))
    if options.readme:
        readme = HERE.parent / "README.md"
        before, _, rest = readme.read_text().partition(MARKS[0])
        _, mark, after = rest.partition(MARKS[1])
        if not mark:
            sys.exit("README.md has no place for the benchmark")
        readme.write_text(f"{before}{MARKS[0]}\n\n{table(results)}\n\n{MARKS[1]}{after}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
