"""The command ``nnpy``: options, and what is printed. `nnpy._xor` and `nnpy._bench` do the work."""

import argparse
import sys
from collections.abc import Sequence

import nnpy
from nnpy import _bench, _xor

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with these arguments (by default the process's own); return the exit status."""
    options = _parser().parse_args(arguments)
    try:
        print(options.run(options))
    except KeyboardInterrupt:
        print("nnpy: interrupted", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="nnpy", description="Small fully connected neural networks, trained at C speed."
    )
    parser.add_argument("--version", action="version", version=f"nnpy {nnpy.__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    xor = commands.add_parser(
        "xor",
        help="train a 2-2-1 network on XOR, beside the published figures",
        description="Train a 2-2-1 sigmoid network on XOR from the published start, by finite differences and by "
        "backpropagation, and print the result of each beside the published figures.",
    )
    xor.add_argument("--iterations", type=_iterations, default=10_000, metavar="N", help="steps (default: 10000)")
    xor.add_argument("--seed", type=_seed, default=69, metavar="N", help="of the first weights (default: 69)")
    xor.add_argument("--rate", type=_rate, default=10.0, metavar="R", help="learning rate (default: 10)")
    xor.set_defaults(run=lambda options: _xor.table(options.iterations, options.seed, options.rate))

    bench = commands.add_parser(
        "bench",
        help="time pure Python, numpy, the C header and nnpy on the same work",
        description="Time pure Python, numpy, the plain C header and nnpy on the same work, after a check that all of them "
        "compute the same, and print a table of times and ratios.",
    )
    bench.set_defaults(run=lambda _: _bench.table())
    return parser


def _iterations(text: str) -> int:
    return _whole(text, 2**63 - 1)


def _seed(text: str) -> int:
    return _whole(text, 2**32 - 1)


def _whole(text: str, highest: int) -> int:
    value = int(text) if text.isascii() and text.isdigit() else -1
    if not 0 <= value <= highest:
        raise argparse.ArgumentTypeError(f"a whole number from 0 to {highest} is expected, got {text!r}")
    return value


def _rate(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 1e-38 < value < 3e38:  # as a float32
        raise argparse.ArgumentTypeError(f"a positive number is expected, got {text!r}")
    return value
