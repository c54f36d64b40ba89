"""Times nnpy and other libraries on the same workloads, and writes the results.

    pip install '.[bench]'
    python benchmarks/run.py [--rounds 3] [--only ROW[,ROW]] [--libraries LIBRARY[,LIBRARY]] [--write]

Each library runs in its own process, which verifies the result and then times it (see worker.py). Each round starts all
processes once, one after another; the table has the medians over all repetitions of all rounds. Libraries that are not
installed are left out.

Prints the table. A run with all rows and libraries also writes benchmarks/results.json, and with --write the table in
docs/performance.md, between its two benchmark comments.
"""

import argparse
import contextlib
import importlib.metadata
import importlib.util
import io
import json
import os
import platform
import re
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from processes import environment, measure, time_text
from tables import write_table

HERE = Path(__file__).resolve().parent
MARKS = ("<!-- benchmark: written by benchmarks/run.py -->", "<!-- end of benchmark -->")


class Row(NamedTuple):
    """A row of the table: a workload, the libraries that do it, and the target for nnpy."""

    label: str
    libraries: tuple[str, ...]
    target: float | None = None  # seconds, or a ratio to the time of `target_library`
    target_library: str | None = None
    samples: int | None = None  # if given, the row shows samples per second: this number divided by the time


TRAINING = ("nnpy", "jax", "torch", "sklearn", "numpy")
ADAM = ("nnpy", "jax", "torch", "sklearn")
PREDICTION = ("nnpy", "jax", "torch", "sklearn", "numpy", "onnxruntime")
ROWS = {
    "xor": Row(
        "XOR, 2-2-1, full batch, one iteration",
        ("nnpy", "jax", "torch", "numpy", "book", "pure_python"),
        0.65,
        "jax",
    ),
    "mnist-32": Row("784-128-10, 60,000 rows, batches of 32, one epoch", TRAINING, 0.5, "jax"),
    "mnist-128": Row("784-128-10, 60,000 rows, batches of 128, one epoch", TRAINING, 0.65, "jax"),
    "large-512": Row("1024-1024-1024-10, 16,384 rows, batches of 512, one epoch", TRAINING, 0.83),
    "adam-32": Row("20-64-64-1, Adam, 20,000 rows, batches of 32, one epoch", ADAM, 1 / 3, "jax"),
    "adam-256": Row("20-64-64-1, Adam, 20,000 rows, batches of 256, one epoch", ADAM, 1 / 3, "jax"),
    "mnist-98": Row("784-256-10, Adam, to 98 % accuracy on the MNIST test images", ("nnpy", "jax", "torch"), 1.3),
    "regression-levenberg": Row("5-10-1, Levenberg-Marquardt, to a loss of 0.002", ("nnpy",)),
    "regression-lbfgs": Row("5-10-1, L-BFGS, to a loss of 0.002", ("nnpy", "torch")),
    "regression-adam": Row("5-10-1, Adam, to a loss of 0.002", ("nnpy", "torch")),
    "many-at-once": Row("64 networks 8-16-1, Adam, 500 rows, 20 epochs, all in one call", ("nnpy",)),
    "many-one-by-one": Row("64 networks 8-16-1, Adam, 500 rows, 20 epochs, one after another", ("nnpy", "torch")),
    "adam-full": Row("4-32-16-4, tanh, Adam, full batch of 10,000 rows, one epoch", ADAM, 500e-6),
    "adam-deep": Row(
        "28-300-300-300-300-300-1, tanh, Adam, 10,000 rows, batches of 100", ADAM, 10_000 / 65_000, samples=10_000
    ),
    "step-adam": Row("one step of Adam on 32 rows, 4-16-2, tanh, in a call of its own", ADAM),
    "step-sgd": Row(
        "one step of gradient descent on 32 rows with labels, 4-16-2, tanh, in a call of its own",
        ("nnpy", "jax", "torch"),
    ),
    "predict-one": Row("predict 1 row, 4-16-2", PREDICTION, 1.0e-6),
    "predict-64": Row("predict 64 rows, 4-16-2", PREDICTION),
    "predict-many": Row("predict 10,000 rows, 784-128-10", PREDICTION, 0.010, samples=10_000),
    "predict-int8": Row(
        "predict 10,000 rows, 784-128-10, 8-bit integers",
        ("nnpy", "torch", "onnxruntime"),
        10_000 / 3e6,
        samples=10_000,
    ),
    "import": Row("import, after NumPy", ("nnpy", "torch", "sklearn", "jax", "onnxruntime"), 0.015),
}
NAMES = {
    "nnpy": "nnpy",
    "jax": "JAX",
    "torch": "PyTorch",
    "sklearn": "scikit-learn",
    "numpy": "NumPy",
    "onnxruntime": "ONNX Runtime",
    "book": "nn.h, -O3 -march=native",
    "pure_python": "pure Python",
}
DISTRIBUTIONS = {"sklearn": "scikit-learn"}  # where pip's name differs from the module's
IMPORTED_MODULES = {"sklearn": "sklearn.neural_network"}  # where users import another module
NO_PACKAGE = ("book", "pure_python")


def installed(library: str) -> bool:
    """Whether the library can be run. nn.h is compiled by its own process, and pure Python is a part of nnpy."""
    return library in NO_PACKAGE or importlib.util.find_spec(library) is not None


def seconds_of(row: str, library: str) -> list[float]:
    """Measure one library on one row, in a new process."""
    if row == "import":
        command = [str(HERE / "import_time.py"), IMPORTED_MODULES.get(library, library)]
    else:
        command = [str(HERE / "worker.py"), library, row]
    with tempfile.TemporaryDirectory() as folder:  # not the checkout, whose nnpy/ would hide the installed package
        return measure([sys.executable, *command], env=environment(), cwd=Path(folder))


def machine() -> dict[str, Any]:
    """Describe the machine and the versions with which the times were measured."""
    import nnpy

    cpu = platform.processor() or platform.machine()
    if (info := Path("/proc/cpuinfo")).exists() and (found := re.search(r"model name\s*: (.*)", info.read_text())):
        cpu = found.group(1)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    versions = {"nnpy": nnpy.__version__}  # nnpy need not be installed: PYTHONPATH may name a checkout
    for library in NAMES:
        if library not in ("nnpy", *NO_PACKAGE) and installed(library):
            versions[library] = importlib.metadata.version(DISTRIBUTIONS.get(library, library))
    with contextlib.redirect_stdout(io.StringIO()) as config:
        nnpy.show_config()
    isa = re.search(r"instruction set:\s*(\S+)", config.getvalue())
    return {
        "cpu": cpu,
        "cores": cores,
        "isa": isa.group(1) if isa else "",
        "python": platform.python_version(),
        "versions": versions,
    }


def cell_text(seconds: float, row: Row) -> str:
    """Format a time, or the samples per second."""
    return f"{row.samples / seconds / 1e6:.3g} M rows/s" if row.samples else time_text(seconds)


def target_text(row: Row, times: dict[str, float]) -> str:
    """Describe the target of a row, and whether nnpy reaches it."""
    if row.target is None or "nnpy" not in times:
        return ""
    if row.target_library is None:
        return f"{cell_text(row.target, row)} ({'reached' if times['nnpy'] <= row.target else 'missed'})"
    target = f"{row.target:.2f} of {NAMES[row.target_library]}'s time"
    if row.target_library not in times:
        return target
    ratio = times["nnpy"] / times[row.target_library]
    return f"{target} ({'reached' if ratio <= row.target else 'missed'}: {ratio:.2f})"


def table(results: dict[str, Any]) -> str:
    """Format the results in Markdown."""
    about = results["machine"]
    shown = [library for library in NAMES if any(library in times for times in results["seconds"].values())]
    versions = ", ".join(f"{NAMES[library]} {version}" for library, version in about["versions"].items())
    lines = [
        f"{about['cpu']}, {about['cores']} cores, {about['isa']}; Python {about['python']}, {versions}. "
        f"`python benchmarks/run.py --rounds {results['rounds']}`: medians of interleaved runs, float32; "
        "each library may use all cores.",
        "",
        "| workload | " + " | ".join(NAMES[library] for library in shown) + " | nnpy / fastest other | target |",
        "| --- |" + " ---: |" * (len(shown) + 1) + " --- |",
    ]
    for name, times in results["seconds"].items():
        row = ROWS[name]
        others = [seconds for library, seconds in times.items() if library != "nnpy"]
        ratio = f"{times['nnpy'] / min(others):.2f}" if others and "nnpy" in times else ""
        cells = [cell_text(times[library], row) if library in times else "" for library in shown]
        lines.append(f"| {row.label} | " + " | ".join(cells) + f" | {ratio} | {target_text(row, times)} |")
    return "\n".join(lines)


def write_document(text: str) -> None:
    """Replace the table in docs/performance.md."""
    write_table(HERE.parent / "docs" / "performance.md", MARKS, f"\n\n{text}\n\n")


def names_from(known: Iterable[str]) -> Callable[[str], list[str]]:
    """Return a parser of a comma-separated list of known names, for argparse."""
    known = list(known)

    def parse(text: str) -> list[str]:
        names = text.split(",")
        if unknown := [name for name in names if name not in known]:
            raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}; known are {', '.join(known)}")
        return [name for name in known if name in names]

    return parse


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description="Time nnpy and other libraries on the same workloads.",
        epilog=f"rows: {', '.join(ROWS)}; libraries: {', '.join(NAMES)}",
    )
    parser.add_argument(
        "--rounds",
        type=int,
        default=3,
        metavar="N",
        help="how many processes to start for each library and row (default: 3)",
    )
    parser.add_argument(
        "--only",
        type=names_from(ROWS),
        default=list(ROWS),
        metavar="ROW[,ROW]",
        help="measure these rows only and write no file (default: all rows)",
    )
    parser.add_argument(
        "--libraries",
        type=names_from(NAMES),
        default=list(NAMES),
        metavar="LIBRARY[,LIBRARY]",
        help="measure these libraries only and write no file (default: all that are installed)",
    )
    parser.add_argument("--write", action="store_true", help="write the table to docs/performance.md as well")
    options = parser.parse_args()
    options.partial = options.only != list(ROWS) or options.libraries != list(NAMES)
    if options.rounds < 1:
        parser.error("--rounds must be at least 1")
    if options.write and options.partial:
        parser.error("--write needs all rows and libraries")
    if "mnist-98" in options.only and not os.environ.get("NNPY_MNIST"):
        print("mnist-98 is left out: NNPY_MNIST does not name the folder with the MNIST files", file=sys.stderr)
        options.only.remove("mnist-98")
    return options


def main() -> int:
    """Run the benchmark."""
    options = parse_arguments()
    libraries = [library for library in options.libraries if installed(library)]
    seconds: dict[str, dict[str, list[float]]] = {row: {} for row in options.only}
    for round_ in range(options.rounds):
        for row in options.only:
            for library in (library for library in ROWS[row].libraries if library in libraries):
                times = seconds_of(row, library)
                seconds[row].setdefault(library, []).extend(times)
                print(f"round {round_ + 1}, {row}, {library}: {', '.join(map(time_text, times))}", file=sys.stderr)
    medians = {
        row: {library: statistics.median(times) for library, times in measured.items()}
        for row, measured in seconds.items()
    }
    results = {"machine": machine(), "rounds": options.rounds, "seconds": medians, "all": seconds}
    text = table(results)
    print(text)
    if not options.partial:
        (HERE / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    if options.write:
        write_document(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
