"""The command ``nnpy``: options, and what is printed. `nnpy._commands.xor`, `_bench`, `_mnist` and `_draw` do the work."""

import argparse
import errno
import sys
import threading
import webbrowser
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import nnpy
from nnpy._commands import bench as _bench
from nnpy._commands import draw as _draw
from nnpy._commands import mnist as _mnist
from nnpy._commands import xor as _xor
from nnpy._commands.augment import Distortion

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
    _add_mnist(commands)
    _add_draw(commands)
    return parser


def _add_mnist(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    plain, best = _mnist.PLAIN, _mnist.BEST
    mnist = commands.add_parser(
        "mnist",
        help="train a network on handwritten digits",
        description="Train a network on the MNIST digits, and print its accuracy on the test images and what it takes for "
        "what. The test images are looked at after each epoch, and nothing is chosen by them.",
    )
    mnist.add_argument(
        "folder",
        type=Path,
        nargs="?",
        metavar="FOLDER",
        help="where the four files are (default: what NNPY_MNIST names, else a download into the user's cache)",
    )
    mnist.add_argument(
        "--best",
        action="store_true",
        help="go for accuracy, which takes minutes: "
        f"{best.networks} networks {_layers(best)}, merged into one, {best.epochs} epochs on distorted copies of the images",
    )
    mnist.add_argument("--augment", action="store_true", help="train on distorted copies, other ones in each epoch")
    mnist.add_argument(
        "--hidden",
        type=_hidden,
        metavar="N[,N...]",
        help=f"neurons in each hidden layer, such as 128,64 (default: {','.join(map(str, plain.hidden))})",
    )
    mnist.add_argument(
        "--epochs", type=_positive, metavar="N", help=f"passes through the images (default: {plain.epochs})"
    )
    mnist.add_argument(
        "--batch-size", type=_positive, metavar="N", help=f"images in a step (default: {plain.batch_size})"
    )
    mnist.add_argument("--seed", type=_seed, default=0, metavar="N", help="of everything random (default: 0)")
    saving = mnist.add_mutually_exclusive_group()
    saving.add_argument(
        "--save",
        type=Path,
        default=Path("mnist.npz"),
        metavar="FILE.npz",
        help="where to write the network, for nnpy.load and nnpy draw (default: mnist.npz)",
    )
    saving.add_argument("--no-save", action="store_const", const=None, dest="save", help="do not write it")
    mnist.add_argument("--quiet", action="store_true", help="print the result only, no line for each epoch")
    mnist.set_defaults(run=_run_mnist)


def _run_mnist(options: argparse.Namespace) -> str:
    recipe = _mnist.BEST if options.best else _mnist.PLAIN
    given = {name: getattr(options, name) for name in ("hidden", "epochs", "batch_size")}
    recipe = recipe._replace(**{name: value for name, value in given.items() if value is not None})
    if options.augment:
        recipe = recipe._replace(distortion=Distortion())
    report = (lambda line: None) if options.quiet else partial(print, flush=True)
    try:
        return _mnist.run(options.folder, recipe, seed=options.seed, save=options.save, report=report)
    except (OSError, ValueError, MemoryError) as error:
        raise SystemExit(f"nnpy mnist: {error}") from None


def _layers(recipe: _mnist.Recipe) -> str:
    return "-".join(map(str, (784, *recipe.hidden, 10)))


def _hidden(text: str) -> tuple[int, ...]:
    sizes = tuple(int(size) if size.isascii() and size.isdigit() else 0 for size in text.split(","))
    if not all(0 < size < 2**31 for size in sizes):
        raise argparse.ArgumentTypeError(f"positive numbers such as 256 or 128,64 are expected, got {text!r}")
    return sizes


def _add_draw(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    draw = commands.add_parser(
        "draw",
        help="write digits on a page in the browser and see what a network answers",
        description="Serve a page to this machine's browser on which one writes a digit with mouse, finger, pen or "
        "keyboard, and which shows what a network answers meanwhile. Ctrl-C ends it.",
    )
    draw.add_argument(
        "--port", type=_port, default=_draw.PORT, metavar="N", help=f"0: any free one (default: {_draw.PORT})"
    )
    draw.add_argument("--no-browser", action="store_true", help="print the address, open nothing")
    draw.add_argument("--model", metavar="FILE", help="a network with 784 inputs and 10 outputs, saved by nnpy")
    draw.set_defaults(run=_run_draw)


def _run_draw(options: argparse.Namespace) -> str:
    try:
        server = _draw.Server(_draw.read_network(options.model), options.port)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            reason = f"port {options.port} is taken by another program; --port 0 takes any free one"
        elif error.filename is None:
            reason = f"port {options.port} cannot be had: {error.strerror}; --port 0 takes any free one"
        else:
            reason = f"{error.filename} cannot be read: {error.strerror}"
        raise SystemExit(f"nnpy draw: {reason}") from None
    except ValueError as error:
        raise SystemExit(f"nnpy draw: {error}") from None
    with server:
        print(f"Write digits at {server.url} (Ctrl-C ends this)", flush=True)
        if not options.no_browser:
            # Beside the server: a browser in the terminal returns only when it is closed.
            threading.Thread(target=webbrowser.open, args=(server.url,), daemon=True).start()
        server.serve_forever()
    return ""


def _iterations(text: str) -> int:
    return _whole(text, 2**63 - 1)


def _seed(text: str) -> int:
    return _whole(text, 2**32 - 1)


def _positive(text: str) -> int:
    return _whole(text, 2**31 - 1, lowest=1)


def _port(text: str) -> int:
    return _whole(text, 2**16 - 1)


def _whole(text: str, highest: int, *, lowest: int = 0) -> int:
    value = int(text) if text.isascii() and text.isdigit() else -1
    if not lowest <= value <= highest:
        raise argparse.ArgumentTypeError(f"a whole number from {lowest} to {highest} is expected, got {text!r}")
    return value


def _rate(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 1e-38 < value < 3e38:  # as a float32
        raise argparse.ArgumentTypeError(f"a positive number is expected, got {text!r}")
    return value
