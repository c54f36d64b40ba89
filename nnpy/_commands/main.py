"""The command ``nnpy``: it reads the options, runs a subcommand and reports errors.

The work itself is in the other modules of `nnpy._commands`.
"""

import argparse
import codecs
import dataclasses
import io
import os
import re
import sys
from collections.abc import Callable, Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import nnpy
from nnpy._activations import ACTIVATIONS
from nnpy._commands import bench, draw, files, info, mnist, predict, train, xor
from nnpy._commands.augment import Distortion
from nnpy._commands.table import Format

__all__ = ["main"]

_INT32_MAX, _UINT32_MAX, _INT64_MAX, _PORT_MAX = 2**31 - 1, 2**32 - 1, 2**63 - 1, 2**16 - 1
_RATE_MIN, _RATE_MAX = 1e-38, 3e38  # the range of float32
_INTERRUPTED = 130  # the exit status of a program that Ctrl-C ended
_BROKEN_PIPE = 141  # and of one whose output nobody reads any more

# Optimisers by name; the first ones have a learning rate.
_WITH_RATE, _WITHOUT_RATE = ("adam", "adamw", "sgd", "rmsprop"), ("rprop", "lbfgs", "lm")

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
        0 for success, 1 for an error, 130 for Ctrl-C, 141 if a pipe that the output goes to is closed.

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
        if sys.stdout is not None:  # it is None if it was closed before Python started
            sys.stdout.flush()
    except BrokenPipeError:  # such as nnpy predict ... | head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes it at exit
        return _BROKEN_PIPE
    except KeyboardInterrupt:
        print("nnpy: interrupted", file=sys.stderr)
        return _INTERRUPTED
    except (OSError, ValueError, MemoryError, ArithmeticError, ImportError) as error:
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
    for add_command in (
        _add_train,
        _add_predict,
        _add_info,
        _add_export_c,
        _add_xor,
        _add_bench,
        _add_mnist,
        _add_draw,
    ):
        add_command(subparsers)
    return parser


def _add_train(subparsers: _Subparsers) -> None:
    parser = subparsers.add_parser(
        "train",
        help="train a network on a table (CSV or Parquet)",
        description="Train a network on a table, validate it on rows that are held out, and save it for nnpy predict. The "
        "columns of numbers are the inputs. The target decides what the network learns: classes if it is text or a few whole "
        "numbers, else a quantity. What no option says is chosen to suit the data.",
        epilog="A column is given by its name, or by its number: 1 is the first one, -1 the last one. Several are separated by "
        "commas; an option that begins with a minus sign is written as --drop=-1,-2.",
    )
    _add_table(parser)
    parser.add_argument(
        "--target", required=True, metavar="NAME", help="the column to predict; several, with commas, for a regression"
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--features", metavar="NAME[,NAME...]", help="use these columns only (default: all but the target)"
    )
    which.add_argument("--drop", metavar="NAME[,NAME...]", help="use all columns but these")
    parser.add_argument(
        "--categories",
        metavar="NAME[,NAME...]",
        help="columns of text, for which each value becomes an input (one-hot)",
    )
    kinds = parser.add_mutually_exclusive_group()
    for kind, what in (("classification", "classes"), ("regression", "a quantity")):
        kinds.add_argument(
            f"--{kind}", action="store_const", const=kind, dest="kind", help=f"the values of the target are {what}"
        )
    parser.add_argument("--skip-missing", action="store_true", help="leave out rows in which a cell is empty")
    parser.add_argument(
        "--hidden",
        type=_layer_sizes(1, "32 or 32,16"),
        default=train.HIDDEN,
        metavar="N[,N...]",
        help=f"neurons in each hidden layer (default: {','.join(map(str, train.HIDDEN))})",
    )
    parser.add_argument(
        "--activation",
        choices=[name for name in ACTIVATIONS if name != "softmax"],
        metavar="NAME",
        help="activation function of the hidden layers, such as relu or tanh (default: sigmoid)",
    )
    parser.add_argument(
        "--epochs",
        type=_whole_number(1, _INT32_MAX),
        metavar="N",
        help="passes through the rows (default: as many as cross-validation or early stopping finds best)",
    )
    parser.add_argument(
        "--optimizer",
        choices=_WITH_RATE + _WITHOUT_RATE,
        metavar="NAME",
        help=f"one of {', '.join(_WITH_RATE + _WITHOUT_RATE)} (default: adam, with a learning rate that falls to 0); "
        "lm is for a regression",
    )
    parser.add_argument("--learning-rate", type=_rate, metavar="R", help="learning rate (default: chosen)")
    parser.add_argument(
        "--validation",
        type=_share,
        default=train.VALIDATION,
        metavar="P",
        help="proportion of the rows to hold out, which nothing is chosen by; 0 trains on all rows "
        f"(default: {train.VALIDATION:g})",
    )
    parser.add_argument(
        "--seed",
        type=_whole_number(0, _UINT32_MAX),
        default=0,
        metavar="N",
        help="seed of the initial weights, the shuffling and the rows to hold out (default: 0)",
    )
    saving = parser.add_mutually_exclusive_group()
    saving.add_argument(
        "--save",
        type=Path,
        metavar="FILE.npz",
        help="where to save the network (default: the name of the table with .npz, in the current folder)",
    )
    saving.add_argument("--no-save", action="store_true", help="do not save the network")
    output = parser.add_mutually_exclusive_group()
    output.add_argument("--quiet", action="store_true", help="print only the result")
    output.add_argument("--verbose", action="store_true", help="print a line for each epoch")
    _add_format(parser)

    def run(options: argparse.Namespace) -> None:
        if options.learning_rate is not None and options.optimizer in _WITHOUT_RATE:
            parser.error(f"argument --learning-rate: the optimizer {options.optimizer} has none")
        _run_train(options)

    parser.set_defaults(run=run)


def _run_train(options: argparse.Namespace) -> None:
    save = None if options.no_save else options.save or train.default_save(options.table)
    names = [field.name for field in dataclasses.fields(train.Options)]
    given = train.Options(**{name: getattr(options, name) for name in names})
    tell = _ignore if options.quiet else _print_now
    print(train.run(options.table, _format(options), given, save=save, tell=tell))


def _add_predict(subparsers: _Subparsers) -> None:
    parser = subparsers.add_parser(
        "predict",
        help="predict the target for each row of a table, with a saved network",
        description="Predict the target for each row of a table, as CSV: the quantity, or the class and the probability of "
        "each class. The columns are found by the names that nnpy train has saved, in any order; other columns are ignored.",
    )
    parser.add_argument("model", metavar="MODEL.npz", help="a network, saved by nnpy; quantized or not")
    _add_table(parser)
    parser.add_argument("--output", type=Path, metavar="FILE.csv", help="where to write (default: the standard output)")
    parser.add_argument("--keep", action="store_true", help="write the columns of the table, too")
    parser.add_argument(
        "--drop", metavar="NAME[,NAME...]", help="columns that are no inputs, if the network knows no names of columns"
    )
    parser.add_argument(
        "--skip-missing", action="store_true", help="write empty cells for rows in which a cell is empty"
    )
    _add_format(parser)
    parser.set_defaults(run=_run_predict)


def _run_predict(options: argparse.Namespace) -> None:
    predict.run(
        options.model,
        options.table,
        _format(options),
        output=options.output,
        keep=options.keep,
        drop=options.drop,
        skip_missing=options.skip_missing,
    )


def _add_info(subparsers: _Subparsers) -> None:
    parser = subparsers.add_parser(
        "info",
        help="describe a saved network",
        description="Print the layers of a saved network, its numbers of parameters and bytes, the names and the scaling of "
        "its inputs, its classes, and the state of a training that the file holds.",
    )
    parser.add_argument("model", metavar="MODEL.npz", help="a network, saved by nnpy; quantized or not")
    parser.set_defaults(run=lambda options: print(info.describe(options.model)))


def _add_table(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "table",
        metavar="TABLE",
        help="a CSV file with a header; a Parquet file, if it ends in .parquet; - for the standard input",
    )


def _add_format(parser: argparse.ArgumentParser) -> None:
    """Add the options that say how a table is written."""
    group = parser.add_argument_group("how the CSV file is written")
    group.add_argument(
        "--delimiter",
        type=_delimiter,
        metavar="C",
        help="between cells (default: comma, semicolon or tab, whichever fits)",
    )
    group.add_argument(
        "--decimal",
        choices=[".", ","],
        default=".",
        metavar="C",
        help="decimal point, a point or a comma (default: a point)",
    )
    group.add_argument(
        "--no-header", action="store_true", help="the first line is data; columns have numbers, no names"
    )
    group.add_argument("--encoding", type=_encoding, metavar="NAME", help="such as cp1252 (default: utf-8)")


def _format(options: argparse.Namespace) -> Format:
    return Format(options.delimiter, options.decimal, not options.no_header, options.encoding)


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
    net = files.load(options.model)
    name = options.name or re.sub(r"\W|_", "", Path(options.model).stem).lower().lstrip("0123456789") or "net"
    path = options.output or Path(f"{name}.h")
    net.export_c(path, name=name)
    print(f"{path}: {name}_predict, {path.stat().st_size:,} bytes of text for {net}")


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


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"expected a number from 0 to less than 1, got {text!r}")
    return value


def _delimiter(text: str) -> str:
    character = {"tab": "\t", "\\t": "\t"}.get(text, text)
    if len(character) != 1 or character in '\r\n\0"':
        raise argparse.ArgumentTypeError(f"expected a character such as ; or the word tab, got {text!r}")
    return character


def _encoding(text: str) -> str:
    try:
        codecs.lookup(text)
        "".encode(text)  # a LookupError for codecs that are none of text
    except (LookupError, ValueError):
        raise argparse.ArgumentTypeError(f"expected an encoding such as utf-8 or cp1252, got {text!r}") from None
    return text
