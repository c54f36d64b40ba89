"""Compares two versions of nnpy: prints a table of row, before, after and the ratio of the medians.

    python benchmarks/compare.py --before COMMAND --after COMMAND [--rounds 5] [--only ROW[,ROW]] [--limit 1.03]

COMMAND measures one row in one process: {row} is replaced by the row's name, and the command prints {"seconds": [...]}, as
worker.py does. Each version is measured by the worker of its own checkout, so the two may differ in their API. The processes
are interleaved, and the order changes from round to round. The exit status is 1 if a row is slower than --limit allows.

An example, where each checkout's nnpy is installed with `pip install --target SITE CHECKOUT`:

    python benchmarks/compare.py --rounds 5 --only xor,mnist-32 \
        --before 'env PYTHONPATH=OLD_SITE python OLD_CHECKOUT/benchmarks/worker.py nnpy {row}' \
        --after 'env PYTHONPATH=NEW_SITE python NEW_CHECKOUT/benchmarks/worker.py nnpy {row}'

A command without {row} measures something else, under the name that --only gives it:

    python benchmarks/compare.py --only import \
        --before 'env PYTHONPATH=OLD_SITE python benchmarks/import_time.py nnpy' \
        --after 'env PYTHONPATH=NEW_SITE python benchmarks/import_time.py nnpy'
"""

import argparse
import os
import shlex
import statistics
import sys

from processes import environment, measure, time_text
from workloads import WORKLOADS


def seconds_of(command: str, row: str) -> list[float]:
    """Run the command for one row."""
    return measure([part.replace("{row}", row) for part in shlex.split(command)], env=environment())


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description="Compare two versions of nnpy. Each is measured by the worker of its own checkout.",
        epilog=f"rows: {', '.join(WORKLOADS)}",
    )
    for name in ("before", "after"):
        parser.add_argument(
            f"--{name}",
            required=True,
            metavar="COMMAND",
            help=f"the command that measures the version {name} the change; {{row}} stands for the row's name",
        )
    parser.add_argument(
        "--rounds", type=int, default=5, metavar="N", help="how many processes to start for each row (default: 5)"
    )
    parser.add_argument(
        "--only",
        type=lambda text: text.split(","),
        default=list(WORKLOADS),
        metavar="ROW[,ROW]",
        help="measure these rows (default: all; mnist-98 only if NNPY_MNIST names the folder with the MNIST files)",
    )
    parser.add_argument(
        "--limit", type=float, default=1.03, help="the largest ratio that is not called slower (default: 1.03)"
    )
    options = parser.parse_args()
    if options.rounds < 1:
        parser.error("--rounds must be at least 1")
    if options.only == list(WORKLOADS) and not os.environ.get("NNPY_MNIST"):
        options.only.remove("mnist-98")
    if len(options.only) > 1 and not ("{row}" in options.before and "{row}" in options.after):
        parser.error("a command for several rows must contain {row}")
    return options


def main() -> int:
    """Run the comparison."""
    options = parse_arguments()
    commands = {"before": options.before, "after": options.after}
    seconds: dict[str, dict[str, list[float]]] = {row: {name: [] for name in commands} for row in options.only}
    for round_ in range(options.rounds):
        order = list(commands) if round_ % 2 == 0 else list(reversed(commands))
        for row in options.only:
            for name in order:
                seconds[row][name] += seconds_of(commands[name], row)
        print(f"round {round_ + 1} of {options.rounds} is done", file=sys.stderr)
    print("| row | before | after | after / before | |\n| --- | ---: | ---: | ---: | --- |")
    slower = False
    for row, measured in seconds.items():
        before, after = (statistics.median(measured[name]) for name in commands)
        too_slow = after / before > options.limit
        slower = slower or too_slow
        verdict = "slower" if too_slow else ""
        print(f"| {row} | {time_text(before)} | {time_text(after)} | {after / before:.3f} | {verdict} |")
    return int(slower)


if __name__ == "__main__":
    sys.exit(main())
