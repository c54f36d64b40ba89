"""The command ``nnpy``: it reads the options, runs a subcommand and reports errors.

The work itself is in `nnpy._commands.xor`, `bench`, `mnist` and `draw`.
"""

import argparse
import io
import re
import sys
from collections.abc import Callable, Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import nnpy
from nnpy._commands import bench, draw, mnist, xor
from nnpy._commands.augment import Distortion

__all__ = ["main"]

_INT32_MAX, _UINT32_MAX, _INT64_MAX, _PORT_MAX = 2**31 - 1, 2**32 - 1, 2**63 - 1, 2**16 - 1
_RATE_MIN, _RATE_MAX = 1e-38, 3e38  # the range of float32
_INTERRUPTED = 130  # the exit status of a program that Ctrl-C ended

_Subparsers = Any  # argparse has no public name for what add_subparsers returns


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Parameters
    ----------
    arguments : sequence of str, optional
        By default the arguments of the process.

    Returns
    -------
    status : int
        0 for success, 1 for an error, 130 for Ctrl-C.

    Raises
    ------
    SystemExit
        With status 2 if an option is wrong, and with 0 after ``--help`` and ``--version``.
    """
    options = _parser().parse_args(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # not every encoding has the characters of a file's name
    try:
        options.run(options)
    except KeyboardInterrupt:
        print("nnpy: interrupted", file=sys.stderr)
        return _INTERRUPTED
    except (OSError, ValueError, MemoryError, ArithmeticError) as error:
        print(f"nnpy {options.command}: {error or type(error).__name__}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="nnpy",
        description="Train small fully connected neural networks at C speed.",
        epilog="Whole numbers may be written as 1000000, 1_000_000 or 1e6.",
    )
    parser.add_argument("--version", action="version", version=f"nnpy {nnpy.__version__}")
    subparsers = parser.add_subparsers(title="commands", dest="command", required=True, metavar="COMMAND")
    for add_command in (_add_xor, _add_bench, _add_mnist, _add_draw, _add_export_c):
        add_command(subparsers)
    return parser


def _add_xor(subparsers: _Subparsers) -> None:
    parser = subparsers.add_parser(
        "xor",
        help="train a 2-2-1 network on XOR and compare it with the published results",
        description="Train a 2-2-1 sigmoid network on XOR, by finite differences and by backpropagation, and print the "
        "results beside the published ones.",
    )
    parser.add_argument(
        "--iterations",
        type=_whole_number(0, _INT64_MAX),
        default=10_000,
        metavar="N",
        help="steps of gradient descent, such as 1e6 (default: 10000)",
    )
    parser.add_argument(
        "--seed",
        type=_whole_number(0, _UINT32_MAX),
        default=69,
        metavar="N",
        help="seed of the initial parameters (default: 69)",
    )
    parser.add_argument("--rate", type=_rate, default=10.0, metavar="R", help="learning rate (default: 10)")
    parser.set_defaults(run=lambda options: print(xor.table(options.iterations, options.seed, options.rate)))


def _add_bench(subparsers: _Subparsers) -> None:
    parser = subparsers.add_parser(
        "bench",
        help="time pure Python, numpy, nn.h and nnpy on the same training",
        description="Train the same network with pure Python, numpy, nn.h (the plain C header) and nnpy. Check that the "
        "results agree, then print the time of an iteration (one parameter update) for each. The default is two rows: "
        "XOR, and a 784-30-10 network with mini-batches of 10.",
    )
    parser.add_argument(
        "--layers",
        type=_layer_sizes(2, "784,128,10"),
        metavar="N,N[,N...]",
        help="time a network of these layers instead, inputs first, such as 784,128,10",
    )
    parser.add_argument(
        "--batch-size",
        type=_whole_number(1, _INT32_MAX),
        metavar="N",
        help=f"samples in a mini-batch, with --layers (default: {bench.BATCH_SIZE})",
    )

    def run(options: argparse.Namespace) -> None:
        if options.layers is None and options.batch_size is not None:
            parser.error("argument --batch-size: expected together with --layers, such as --layers 784,128,10")
        print(bench.table(options.layers, options.batch_size or bench.BATCH_SIZE))

    parser.set_defaults(run=run)


def _add_mnist(subparsers: _Subparsers) -> None:
    default, best = mnist.DEFAULT, mnist.BEST
    best_layers = "-".join(map(str, mnist.layer_sizes(best)))
    parser = subparsers.add_parser(
        "mnist",
        help="train a network on handwritten digits",
        description="Train a network on the MNIST digits, print its accuracy and its confusion matrix on the test images, "
        "and save it. The test images are only for the report: nothing is selected by them.",
    )
    parser.add_argument(
        "folder",
        type=Path,
        nargs="?",
        metavar="FOLDER",
        help="folder with the four MNIST files (default: the one that the environment variable NNPY_MNIST names, "
        "otherwise they are downloaded into the user's cache folder)",
    )
    parser.add_argument(
        "--best",
        action="store_true",
        help=f"train for accuracy, which takes minutes: {best.num_networks} networks {best_layers}, merged into one, "
        f"{best.epochs} epochs on distorted copies of the images",
    )
    parser.add_argument(
        "--augment", action="store_true", help="train on distorted copies of the images, new ones in each epoch"
    )
    parser.add_argument(
        "--hidden",
        type=_layer_sizes(1, "256 or 128,64"),
        metavar="N[,N...]",
        help="neurons in each hidden layer, such as 128,64 "
        f"(default: {','.join(map(str, default.hidden_layer_sizes))})",
    )
    parser.add_argument(
        "--epochs",
        type=_whole_number(1, _INT32_MAX),
        metavar="N",
        help=f"passes through the training images (default: {default.epochs})",
    )
    parser.add_argument(
        "--batch-size",
        type=_whole_number(1, _INT32_MAX),
        metavar="N",
        help=f"images in a mini-batch (default: {default.batch_size})",
    )
    parser.add_argument(
        "--seed",
        type=_whole_number(0, _UINT32_MAX),
        default=0,
        metavar="N",
        help="seed of the initial parameters, the shuffling and the distortions (default: 0)",
    )
    saving = parser.add_mutually_exclusive_group()
    saving.add_argument(
        "--save",
        type=Path,
        default=Path("mnist.npz"),
        metavar="FILE.npz",
        help="where to save the network, for nnpy.load and nnpy draw (default: mnist.npz)",
    )
    saving.add_argument("--no-save", action="store_const", const=None, dest="save", help="do not save the network")
    parser.add_argument("--quiet", action="store_true", help="print only the result, not a line for each epoch")
    parser.set_defaults(run=_run_mnist)


def _run_mnist(options: argparse.Namespace) -> None:
    recipe = mnist.BEST if options.best else mnist.DEFAULT
    given = {
        "hidden_layer_sizes": options.hidden,
        "epochs": options.epochs,
        "batch_size": options.batch_size,
        "distortion": Distortion() if options.augment else None,
    }
    recipe = recipe._replace(**{name: value for name, value in given.items() if value is not None})
    report = _ignore if options.quiet else _print_now
    print(mnist.run(options.folder, recipe, seed=options.seed, save=options.save, report=report))


def _add_draw(subparsers: _Subparsers) -> None:
    parser = subparsers.add_parser(
        "draw",
        help="draw a digit in the browser and watch a network classify it",
        description="Serve a web page to this machine only. You draw a digit on it with mouse, finger, pen or keyboard, and it "
        "shows the prediction of a network as you draw. Ctrl-C stops the server.",
    )
    parser.add_argument(
        "--port",
        type=_whole_number(0, _PORT_MAX),
        default=draw.PORT,
        metavar="N",
        help=f"port of the server; 0 takes any free one (default: {draw.PORT})",
    )
    parser.add_argument("--no-browser", action="store_true", help="print the address, but do not open a browser")
    parser.add_argument("--model", metavar="FILE", help="a network with 784 inputs and 10 outputs, saved by nnpy")
    parser.set_defaults(run=_run_draw)


def _run_draw(options: argparse.Namespace) -> None:
    draw.run(options.model, options.port, open_browser=not options.no_browser, report=_print_now)


def _add_export_c(subparsers: _Subparsers) -> None:
    parser = subparsers.add_parser(
        "export-c",
        help="write a saved network as one file of C",
        description="Write a network that nnpy has saved as one file of C99, for programs and devices without Python. It "
        "computes the same bits as nnpy (the same integers, for a quantized network) and needs no library; the comment at its "
        "beginning says how to use it.",
    )
    parser.add_argument("model", metavar="MODEL.npz", help="a network, saved by nnpy; quantized or not")
    parser.add_argument("--name", help="prefix of the names in C (default: from the name of the model's file)")
    parser.add_argument(
        "--output", type=Path, metavar="FILE.h", help="the file to write (default: NAME.h in the current folder)"
    )
    parser.set_defaults(run=_run_export_c)


def _run_export_c(options: argparse.Namespace) -> None:
    net = _load(options.model)
    name = options.name or re.sub(r"\W|_", "", Path(options.model).stem).lower().lstrip("0123456789") or "net"
    path = options.output or Path(f"{name}.h")
    net.export_c(path, name=name)
    print(f"{path}: {name}_predict, {path.stat().st_size:,} bytes of text for {net}")


def _load(path: str) -> nnpy.NeuralNetwork | nnpy.QuantizedNetwork:
    """Read a network of floats or of integers."""
    try:
        return nnpy.load(path)
    except ValueError as error:
        try:
            return nnpy.QuantizedNetwork.load(path)
        except ValueError:
            raise error from None


def _print_now(line: str) -> None:
    print(line, flush=True)


def _ignore(line: str) -> None:
    pass


def _whole_number(low: int, high: int) -> Callable[[str], int]:
    """Return a function that reads an option: a whole number from `low` to `high`, also written as 1e6 or 1_000_000."""

    def read(text: str) -> int:
        try:
            number = Decimal(text)
            # The range comes first: int() of 1e999999999 would not end.
            if low <= number <= high and number == number.to_integral_value():
                return int(number)
        except InvalidOperation:
            pass
        raise argparse.ArgumentTypeError(f"expected a whole number from {low} to {high}, got {text!r}")

    return read


def _layer_sizes(min_layers: int, example: str) -> Callable[[str], tuple[int, ...]]:
    """Return a function that reads an option: the sizes of at least `min_layers` layers, separated by commas."""
    read_size = _whole_number(1, _INT32_MAX)

    def read(text: str) -> tuple[int, ...]:
        try:
            sizes = tuple(map(read_size, text.split(",")))
        except argparse.ArgumentTypeError:
            sizes = ()
        if len(sizes) < min_layers:
            raise argparse.ArgumentTypeError(f"expected numbers of neurons such as {example}, got {text!r}")
        return sizes

    return read


def _rate(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not _RATE_MIN < value < _RATE_MAX:
        raise argparse.ArgumentTypeError(f"expected a positive number, got {text!r}")
    return value
