"""The map: training of networks n-n-n-1 for many widths and sizes of mini-batches, nnpy beside JAX.

    pip install '.[bench,plot]'
    python benchmarks/map.py [--isa avx512] [--threads 2] [--rounds 3] [--write]

Each cell is an epoch of training on shuffled samples: tanh, squared error, SGD or Adam, one epoch a call; for JAX a jitted
`lax.scan` over the same mini-batches. Each library runs in its own process, which verifies each result against float64 before
it is timed (map_worker.py). Processes are started in turns; a cell has the quotient of the medians of all repetitions.

--isa avx2 restricts both: NNPY_ISA, and XLA's option --xla_cpu_max_isa, which may not bind all of its matrix products. With
--threads 1 both run on one processor. --write puts the results of this setting into benchmarks/map.json, and the tables and the
picture of all settings in that file into docs/map.md and docs/map.png.
"""

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from processes import environment
from run import machine
from tables import write_table

HERE = Path(__file__).resolve().parent
PAGE, PICTURE, FILE = HERE.parent / "docs" / "map.md", HERE.parent / "docs" / "map.png", HERE / "map.json"
MARKS = ("<!-- tables: written by benchmarks/map.py -->", "<!-- end of tables -->")
WIDTHS = (4, 8, 16, 32, 64, 128, 256, 512)
BATCHES = (1, 4, 16, 64, 256)
OPTIMIZERS = ("sgd", "adam")
LIBRARIES = ("nnpy", "jax")
MISSED = 0.9  # above this quotient a cell is listed

Seconds = dict[str, list[float]]


def measure(library: str, optimizer: str, options: argparse.Namespace) -> Seconds:
    """Measure one library in all cells of an optimiser, in a new process."""
    env = environment() | {"NNPY_NUM_THREADS": str(options.threads)}
    flags = []
    if options.isa == "avx2":
        env["NNPY_ISA"] = "avx2"
        flags.append("--xla_cpu_max_isa=AVX2")
    if options.threads == 1:
        flags.append("--xla_cpu_multi_thread_eigen=false")
    env["XLA_FLAGS"] = " ".join(flags)
    command = [sys.executable, str(HERE / "map_worker.py"), library, optimizer]
    command += [",".join(map(str, numbers)) for numbers in (options.widths, options.batches)]
    processors = sorted(os.sched_getaffinity(0))[: options.threads]
    with tempfile.TemporaryDirectory() as folder:  # not the checkout, whose nnpy/ would hide the installed package
        result = subprocess.run(
            command,
            capture_output=True,
            text=True,
            env=env,
            cwd=folder,
            check=False,
            preexec_fn=lambda: os.sched_setaffinity(0, processors),
        )
    if result.returncode != 0:
        sys.exit(f"{' '.join(command)}\nfailed:\n{result.stderr.strip()}")
    seconds: Seconds = json.loads(result.stdout)
    return seconds


def quotients(seconds: dict[str, dict[str, float]]) -> dict[str, float]:
    """Return the time of nnpy divided by that of JAX, for each cell."""
    return {cell: seconds["nnpy"][cell] / seconds["jax"][cell] for cell in seconds["nnpy"]}


def geometric_mean(numbers: list[float]) -> float:
    """Return the geometric mean."""
    return math.exp(statistics.fmean(map(math.log, numbers)))


def table(seconds: dict[str, dict[str, float]]) -> list[str]:
    """Format the cells of one setting and optimiser in Markdown."""
    found = quotients(seconds)
    widths = sorted({int(cell.split()[0]) for cell in found})
    batches = sorted({int(cell.split()[1]) for cell in found})
    lines = ["| batch | " + " | ".join(f"n = {width}" for width in widths) + " |", "| ---: |" + " ---: |" * len(widths)]
    for batch in batches:
        cells = [f"{found[f'{width} {batch}']:.2f}" for width in widths]
        lines.append(f"| {batch} | {' | '.join(cells)} |")
    return lines


def document(results: dict[str, Any]) -> str:
    """Format all settings in Markdown."""
    lines = []
    for setting in results.values():
        about = setting["machine"]
        lines += [f"## {setting['label']}", "", f"{about['cpu']}; {setting['versions']}. `{setting['command']}`", ""]
        for optimizer in OPTIMIZERS:
            found = list(quotients(setting["seconds"][optimizer]).values())
            missed = sum(number > MISSED for number in found)
            lines.append(
                f"{optimizer.upper() if optimizer == 'sgd' else 'Adam'}: geometric mean {geometric_mean(found):.2f}; "
                f"{missed} of {len(found)} cells above {MISSED}, the largest {max(found):.2f}."
            )
            lines += ["", *table(setting["seconds"][optimizer]), ""]
    return "\n".join(lines)


def draw(results: dict[str, Any]) -> None:
    """Draw the heat maps."""
    import matplotlib

    matplotlib.use("Agg")
    import numpy as np
    from matplotlib import pyplot
    from matplotlib.colors import TwoSlopeNorm

    figure, axes = pyplot.subplots(
        len(results), len(OPTIMIZERS), figsize=(10, 2.9 * len(results)), squeeze=False, layout="constrained"
    )
    for row, setting in zip(axes, results.values(), strict=True):
        for axis, optimizer in zip(row, OPTIMIZERS, strict=True):
            found = quotients(setting["seconds"][optimizer])
            grid = np.array([[found[f"{width} {batch}"] for width in WIDTHS] for batch in BATCHES])
            axis.imshow(np.log2(grid), cmap="RdYlGn_r", norm=TwoSlopeNorm(0, -2, 1), aspect="auto")
            for (i, j), value in np.ndenumerate(grid):
                axis.text(j, i, f"{value:.2f}", ha="center", va="center", fontsize=8)
            axis.set_xticks(range(len(WIDTHS)), [str(width) for width in WIDTHS])
            axis.set_yticks(range(len(BATCHES)), [str(batch) for batch in BATCHES])
            axis.set_xlabel("n")
            axis.set_ylabel("batch")
            axis.set_title(f"{setting['label']}, {'SGD' if optimizer == 'sgd' else 'Adam'}", fontsize=9)
    figure.suptitle("time of nnpy / time of JAX, networks n-n-n-1")
    figure.savefig(PICTURE, dpi=110)


def integers(text: str) -> list[int]:
    """Read a comma-separated list of integers."""
    return [int(word) for word in text.split(",")]


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--isa", choices=["avx512", "avx2"], default="avx512", help="the largest instruction set")
    parser.add_argument("--threads", type=int, choices=[1, 2], default=2)
    parser.add_argument("--rounds", type=int, default=3, help="processes for each library and optimiser (default: 3)")
    parser.add_argument("--widths", type=integers, default=list(WIDTHS), metavar="N[,N]")
    parser.add_argument("--batches", type=integers, default=list(BATCHES), metavar="N[,N]")
    parser.add_argument("--write", action="store_true", help="write benchmarks/map.json, docs/map.md and docs/map.png")
    options = parser.parse_args()
    if options.write and (options.widths, options.batches) != (list(WIDTHS), list(BATCHES)):
        parser.error("--write needs all cells")
    return options


def main() -> int:
    """Run the benchmark."""
    options = parse_arguments()
    seconds: dict[str, dict[str, dict[str, list[float]]]] = {o: {name: {} for name in LIBRARIES} for o in OPTIMIZERS}
    for round_ in range(options.rounds):
        for optimizer in OPTIMIZERS:
            for library in LIBRARIES if round_ % 2 == 0 else reversed(LIBRARIES):
                for cell, times in measure(library, optimizer, options).items():
                    seconds[optimizer][library].setdefault(cell, []).extend(times)
                print(f"round {round_ + 1}, {optimizer}, {library}", file=sys.stderr, flush=True)
    medians = {
        optimizer: {
            library: {cell: statistics.median(times) for cell, times in cells.items()} for library, cells in by.items()
        }
        for optimizer, by in seconds.items()
    }
    about = machine()
    threads = "one thread" if options.threads == 1 else f"{options.threads} threads"
    setting = {
        "label": f"{'AVX-512' if options.isa == 'avx512' else 'AVX2'}, {threads}",
        "machine": about,
        "versions": f"nnpy {about['versions']['nnpy']}, JAX {about['versions'].get('jax', '')}",
        "command": f"python benchmarks/map.py --isa {options.isa} --threads {options.threads} --rounds {options.rounds}",
        "seconds": medians,
    }
    key = f"{options.isa} {options.threads}"
    print(document({key: setting}))
    if options.write:
        results = json.loads(FILE.read_text()) if FILE.exists() else {}
        results[key] = setting
        results = dict(
            sorted(results.items(), key=lambda item: (item[0].split()[0] != "avx512", -int(item[0].split()[1])))
        )
        FILE.write_text(json.dumps(results, indent=1) + "\n")
        write_table(PAGE, MARKS, f"\n\n{document(results)}\n")
        draw(results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
