"""Train a network on handwritten digits, and write what the firmware needs to learn another style of them.

    python prepare_digits.py [--folder build] [--seed 0]

It writes digits.h, the network with its training; parameters.h, its parameters for the program with nn.h; samples.h, digits for
the device to learn and to be tested with; and learn.txt and replay.txt, what the firmware is to print: the same learning by
`partial_fit` here.

The data comes with scikit-learn (pip install scikit-learn): 1,797 handwritten digits of 8 x 8 pixels. In the new style they are
turned by 30 degrees, as for a camera that hangs askew. The 50 digits to learn are images that were not in the training, and the
600 test digits are in neither.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

import nnpy

DEGREES = 30
NUM_TEST = 600
NUM_OF_EACH = 5  # of each digit, to learn
NUM_PASSES = 10
RATE = float(np.float32(0.05))  # the number that the device has


class Samples(NamedTuple):
    """Digits: pixels from 0 to 16, uint8 of shape (n, 64), and labels, (n,)."""

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]

    @property
    def x(self) -> NDArray[np.float32]:
        """The inputs, from 0 to 1: exact in float32."""
        return self.pixels.astype(np.float32) / np.float32(16)


class Data(NamedTuple):
    """All that is trained and tested with."""

    train: Samples  # for the network that is exported
    learn: Samples  # in the new style, for the device
    replay: Samples  # as many of `train`, for the device to repeat
    old: Samples  # the test digits
    new: Samples  # the same in the new style


def turned(pixels: NDArray[np.uint8], degrees: float) -> NDArray[np.uint8]:
    """Turn images of 8 x 8 pixels clockwise about their centre, by bilinear interpolation."""
    cos, sin = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    row, column = np.mgrid[:8, :8] - 3.5
    from_row, from_column = cos * row - sin * column + 3.5, sin * row + cos * column + 3.5
    i, j = np.floor(from_row).astype(int), np.floor(from_column).astype(int)
    p, q = from_row - i, from_column - j
    image = np.pad(pixels.reshape(-1, 8, 8), ((0, 0), (3, 3), (3, 3))).astype(float)
    i, j = i + 3, j + 3
    above = (1 - q) * image[:, i, j] + q * image[:, i, j + 1]
    below = (1 - q) * image[:, i + 1, j] + q * image[:, i + 1, j + 1]
    result: NDArray[np.uint8] = np.rint((1 - p) * above + p * below).astype(np.uint8)
    return result.reshape(-1, 64)


def load(seed: int) -> Data:
    """Load the digits and split them."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    pixels, labels = digits.data.astype(np.uint8), digits.target.astype(np.int64)
    order = np.random.default_rng(seed).permutation(len(pixels))
    test, rest = order[:NUM_TEST], order[NUM_TEST:]
    first = [np.flatnonzero(labels[rest] == digit)[:NUM_OF_EACH] for digit in range(10)]
    learn = np.sort(np.concatenate(first))  # the order of `rest`, which is random
    train = np.delete(rest, learn)
    replay = train[: len(learn)]
    learn = rest[learn]
    return Data(
        train=Samples(pixels[train], labels[train]),
        learn=Samples(turned(pixels[learn], DEGREES), labels[learn]),
        replay=Samples(pixels[replay], labels[replay]),
        old=Samples(pixels[test], labels[test]),
        new=Samples(turned(pixels[test], DEGREES), labels[test]),
    )


def train(data: Data, seed: int) -> nnpy.NeuralNetwork:
    """Train the network that is exported, on the old style only."""
    net = nnpy.NeuralNetwork([64, 32, 10], ["relu", "softmax"], seed=seed)
    net.fit(data.train.x, data.train.labels, optimizer=nnpy.Adam(3e-3), epochs=60, batch_size=32, seed=seed)
    return net


def learn(net: nnpy.NeuralNetwork, data: Data, *, replay: bool) -> Iterator[str]:
    """Learn as the device does, and yield the lines that it prints."""

    def score(step: int) -> str:
        new, old = (int((net.predict_classes(s.x) == s.labels).sum()) for s in (data.new, data.old))
        return f"step {step}: new style {new} of {NUM_TEST}, old style {old} of {NUM_TEST}"

    num, step = len(data.learn.labels), 0
    x = np.stack([data.learn.x, data.replay.x], axis=1)
    y = np.eye(10, dtype=np.float32)[np.stack([data.learn.labels, data.replay.labels], axis=1)]
    if not replay:
        x, y = x[:, :1], y[:, :1]
    yield score(step)
    for _ in range(NUM_PASSES):
        net.partial_fit(x.reshape(-1, 64), y.reshape(-1, 10), optimizer=nnpy.SGD(RATE), batch_size=1, shuffle=False)
        step += num
        yield score(step)
    yield f"parameters {fingerprint(net):08x}"


def fingerprint(net: nnpy.NeuralNetwork) -> int:
    """Return the 32-bit FNV-1a hash of the bits of the parameters, in the order of the exported file."""
    value = 0x811C9DC5
    for w, b in zip(net.weights, net.biases, strict=True):
        for byte in np.concatenate([w.T.ravel(), b]).astype("<f4").tobytes():
            value = (value ^ byte) * 0x01000193 & 0xFFFFFFFF
    return value


def array(kind: str, name: str, values: NDArray[np.uint8] | NDArray[np.int64] | NDArray[np.float32]) -> str:
    """Return the definition of an array in C."""
    if values.dtype == np.float32:
        texts = [text if "." in text or "e" in text else text + ".0" for text in (f"{v:.9g}" for v in values.tolist())]
        items = [text + "f" for text in texts]
    else:
        items = [str(v) for v in values.ravel().tolist()]
    lines = [", ".join(items[i : i + 32]) for i in range(0, len(items), 32)]
    shape = "".join(f"[{size}]" for size in values.shape)
    if values.ndim == 2:
        rows = np.array(items).reshape(values.shape)
        lines = ["{" + ", ".join(row) + "}" for row in rows]
    return f"static const {kind} {name}{shape} = {{\n    " + ",\n    ".join(lines) + "\n};\n"


def samples_header(data: Data) -> str:
    """Return samples.h."""
    parts = [
        "/* samples.h: digits of 8 x 8 pixels from 0 to 16, written by prepare_digits.py. */\n#include <stdint.h>\n\n"
        f"#define NUM_TEST {NUM_TEST}\n#define NUM_LEARN {len(data.learn.labels)}\n#define NUM_PASSES {NUM_PASSES}\n"
        f"#define RATE {RATE:.9g}f\n"
    ]
    for name in ("learn", "replay", "old", "new"):
        samples: Samples = getattr(data, name)
        parts.append(array("uint8_t", f"{name}_pixels", samples.pixels))
        if name != "new":
            parts.append(array("uint8_t", f"{'test' if name == 'old' else name}_labels", samples.labels))
    return "\n".join(parts)


def main(arguments: list[str] | None = None) -> int:
    """Train, and write the files."""
    parser = argparse.ArgumentParser(description="Write what the firmware needs.")
    parser.add_argument("--folder", type=Path, default=Path("build"), help="where to write (default: build)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the split and the weights (default: 0)")
    options = parser.parse_args(arguments)
    try:
        data = load(options.seed)
    except ImportError:
        print("prepare_digits.py: the data comes with scikit-learn: pip install scikit-learn", file=sys.stderr)
        return 1
    net = train(data, options.seed)
    parameters = net.parameters.copy()
    options.folder.mkdir(parents=True, exist_ok=True)
    net.export_c(options.folder / "digits.h", name="digits", training=True, test_inputs=data.old.x[:3])
    files = {
        "samples.h": samples_header(data),
        "parameters.h": "/* parameters.h: weights and biases in the order of nn.h, written by prepare_digits.py. */\n"
        + array("float", "parameters", parameters),
    }
    for name in ("learn", "replay"):
        net.parameters = parameters
        files[f"{name}.txt"] = "\n".join(learn(net, data, replay=name == "replay")) + "\n"
        print(f"{name}:\n{files[f'{name}.txt']}", end="")
    for name, text in files.items():
        (options.folder / name).write_text(text, encoding="ascii")
    return 0


if __name__ == "__main__":
    sys.exit(main())
