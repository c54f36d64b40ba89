# ruff: noqa: T201
"""Random calls of nnpy's whole Python interface, good and bad, and what must hold after each of them.

    python tests/fuzz/interface.py --calls 100000          as many calls, with a random seed
    python tests/fuzz/interface.py --minutes 30 --seed 7   for some time, with this seed

tests/test_state_machine.py has hypothesis choose the calls. Here a plain random generator does, which is faster.

Each call is made in two worlds, which hold the same networks. The second one has another instruction set and another number of
threads, and its networks are replaced by copies now and then. After each call:

- both worlds have the same result, or the same exception with the same message, and networks with the same bits;
- an exception is one that the documentation names, and ValueError and TypeError were raised by a `raise` of nnpy;
- a refused call has changed no network, and no call has changed its inputs;
- training leaves finite parameters;
- outputs and gradients are those of float64, of nn.h and of nnpy.reference, within rounding.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import copy
import decimal
import fractions
import functools
import io
import itertools
import linecache
import os
import pickle
import random
import re
import resource
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np

import nnpy
from nnpy import _inspection, reference
from nnpy._arrays import as_matrix
from nnpy._backend import _available, backend
from nnpy._ffi import lib
from nnpy._losses import check_loss

_TEMPORARY = re.compile(r"\.[0-9a-f]{16}\b")  # the end of the name of a file that is written before it is renamed
PACKAGE = str(Path(nnpy.__file__).parent)
ISAS = len(_available())
HIDDEN = ("sigmoid", "tanh", "relu", "linear", "leaky_relu", "elu", "softplus", "silu", "gelu")
LAST = (*HIDDEN, "softmax", "softmax", "sigmoid", "linear")
SMOOTH = {"sigmoid", "tanh", "linear", "elu", "softplus", "silu", "gelu", "softmax"}
TARGETS = {"sigmoid": (0, 1), "softmax": (0, 1), "tanh": (-1, 1), "relu": (0, 2), "softplus": (0, 2), "elu": (-1, 2)}


UNIFORM = np.random.default_rng(0).uniform(0, 1, 20_000)


class CallbackError(Exception):
    """Raised by functions that are passed to nnpy: it has to come out of nnpy as it is."""


class Odd:
    """An object that is no number, with the same repr in both worlds."""

    def __repr__(self):
        return "Odd()"


class RaisingArray:
    def __array__(self, dtype=None, copy=None):
        raise ValueError("no array")


class HasArray:
    def __init__(self, array):
        self.array = array

    def __array__(self, dtype=None, copy=None):
        return np.array(self.array, dtype=dtype)


class Frame:
    """What nnpy needs of a data frame."""

    def __init__(self, array, columns):
        self.array, self.columns = array, columns

    def __len__(self):
        return len(self.array)

    def to_numpy(self):
        return self.array


ODD_NUMBERS = (
    None, "a", b"x", float("nan"), float("inf"), -float("inf"), -1, 0, 1e300, -1e-300, 1e-46, True, 2**70, -(2**63), 1j, (),
    [1.0], {}, Odd(), np.float64("nan"), np.float32(0.5), np.int8(3), np.array(2), np.array([1, 2]), np.bool_(True),
    fractions.Fraction(1, 3), decimal.Decimal("0.1"), decimal.Decimal("sNaN"), 0.99, 1.0, 10**400,
)  # fmt: skip


# ---- Where choices come from ----


class RandomSource:
    """Chooses integers at random."""

    def __init__(self, seed):
        self._random = random.Random(seed)

    def integer(self, low, high):
        return low + int(self._random.random() * (high - low + 1))


class Recorder:
    """Takes integers from a source and keeps them."""

    def __init__(self, source):
        self._source, self.choices = source, []

    def integer(self, low, high):
        self.choices.append(self._source.integer(low, high))
        return self.choices[-1]


class Replay:
    """Returns recorded integers."""

    def __init__(self, choices):
        self._choices = iter(choices)

    def integer(self, low, high):
        value = next(self._choices)
        assert low <= value <= high, "the two worlds differ"
        return value


# ---- What is compared: values as plain data, NaN in one form ----


def _bits_of_array(array):
    if array.dtype.kind == "f":
        array = np.where(np.isnan(array), np.nan, array).astype(array.dtype)
    return array.dtype.str, array.shape, array.tobytes()


def _bits_of_history(history):
    columns = {name: bits(np.array(values)) for name, values in history.to_dict().items() if name != "seconds"}
    return columns, history.stopped, history.best_epoch


def snapshot(net):
    """Return everything that a network holds. Most networks hold parameters only, and this is called often."""
    parameters = net.parameters
    data = parameters.tobytes() if np.isfinite(parameters).all() else bits(parameters)
    parts = data, net.layer_sizes, net.activations, net.feature_names
    return (
        parts
        if net.scaler is None and net._state is None
        else (*parts, bits(net.__getstate__() | {"parameters": None}))
    )


_FORMS = (
    ((str, int, type(None)), lambda value: value),
    ((float, np.floating), lambda value: float(value).hex()),
    (np.ndarray, _bits_of_array),
    (nnpy.NeuralNetwork, snapshot),
    (nnpy.Gradient, lambda grad: bits(grad.parameters)),
    (nnpy.History, _bits_of_history),
    (dict, lambda value: {name: bits(item) for name, item in value.items()}),
    ((list, tuple), lambda value: [bits(item) for item in value]),
    (object, lambda value: re.sub(" at 0x[0-9a-f]+", "", repr(value))),
)


def bits(value):
    """Return a value of nnpy as plain data that compares equal if all bits are the same."""
    return _form_of(type(value))(value)


@functools.cache
def _form_of(kind):
    return next(form for types, form in _FORMS if issubclass(kind, types))


# ---- A world ----


def _column_slice(array):
    rows, columns = array.shape
    wide = np.full((rows, columns + 3), np.nan, np.float32)
    wide[:, 1 : columns + 1] = array
    return wide[:, 1 : columns + 1]


def _unaligned(array):
    buffer = np.zeros(array.nbytes + 1, np.uint8)
    buffer[1:] = np.frombuffer(array.tobytes(), np.uint8)
    return buffer[1:].view(np.float32).reshape(array.shape)


def _read_only(array):
    array.flags.writeable = False
    return array


# float32 arrays in other places in memory
LAYOUTS = (
    np.array,
    np.array,
    np.asfortranarray,
    lambda array: np.repeat(array, 2, axis=0)[::2],
    lambda array: array[::-1],
    lambda array: array[:, ::-1],
    lambda array: np.broadcast_to(array[:1], array.shape),
    _column_slice,
    _unaligned,
    _read_only,
)


class World:
    """Networks, a folder, and the choices of the current call."""

    def __init__(self, folder):
        self.folder, self.nets = folder, [nnpy.NeuralNetwork([2, 3, 1], seed=1)]
        self.source = None

    def begin(self, source):
        self.source, self.inputs, self.check = source, [], None
        self.is_odd = source.integer(0, 1) == 1  # whether arguments may be odd; otherwise nearly all of them are right
        self.may_change = False  # whether an exception may leave a changed network
        self.may_be_numpys = False  # whether a TypeError or ValueError may come from numpy or Python
        self.allowed = (ValueError, TypeError)
        self.has_one_message = True  # whether an exception is the same in each world
        self.tame = True  # whether numbers are small enough to compare with float64

    # ---- Choices ----

    def integer(self, low, high):
        return self.source.integer(low, high)

    def choose(self, values):
        return values[self.integer(0, len(values) - 1)]

    def one_in(self, n):
        return self.integer(1, n) == n

    def odd(self, n):
        """Whether to choose something odd: in one of n cases, in a call that may have odd arguments."""
        return self.is_odd and self.one_in(n)

    def choose_from(self, good, odd):
        return self.choose(odd if self.odd(4) else good)

    def net(self):
        return self.choose(self.nets)

    def number(self, *good):
        """Choose a good number or, now and then, an odd one."""
        return self.choose(ODD_NUMBERS) if self.odd(15) else self.choose(good)

    def seed(self, *good):
        seed = self.number(*good)
        return 4 if seed is None else seed  # None is another seed in each world

    def options(self, **strategies):
        """Choose keyword arguments; each is left out more often than not."""
        return {name: strategy() for name, strategy in strategies.items() if self.one_in(4)}

    # ---- Arrays ----

    def numbers(self, rows, columns, low=-2.0, high=2.0):
        """Choose a float64 array."""
        start = self.integer(0, 9999)
        array = low + (high - low) * UNIFORM[start : start + rows * columns].reshape(rows, columns)
        if not self.one_in(4):
            return array
        if not self.is_odd:
            return np.round(array) if self.one_in(2) else np.zeros_like(array)
        kind = self.choose(("zeros", "whole", "limits", "huge", "largest", "nan", "inf", "tiny", "too large"))
        place = (self.integer(0, rows - 1), self.integer(0, columns - 1)) if rows and columns else (slice(0), slice(0))
        if kind == "zeros":
            array[...] = 0
        elif kind == "whole":
            array = np.round(array)
        elif kind == "limits":
            array = np.where(array < (low + high) / 2, low, high)
        elif kind == "tiny":
            array *= 1e-42
        else:
            self.tame = False
            if kind == "huge":
                array *= 1e20
            else:
                array[place] = {"largest": 3.4e38, "nan": np.nan, "inf": np.inf, "too large": 1e39}[kind]
        return array

    def keep(self, array):
        """Remember an array that nnpy must not write to."""
        base = array
        while isinstance(base.base, np.ndarray):
            base = base.base
        self.inputs.append((base, base.tobytes()))
        return array

    def container(self, array, net):
        """Choose what holds the numbers of a 2-D float64 array: an array of any dtype and layout, a list, a data frame."""
        if self.odd(10):
            return self.odd_container(array)
        if self.odd(10):
            return self.alias(net, *array.shape)
        kind = self.integer(0, 9)
        if kind == 0:
            names = [f"c{i}" for i in range(array.shape[1])]
            return Frame(array, names if not self.odd(4) else names[::-1])
        if kind == 1:
            dtype = self.choose((">f4", ">f8", np.float16, np.longdouble, np.int8, np.int64, np.uint64, bool))
            self.tame = False  # with the digits that are lost, it would be another problem
            with np.errstate(all="ignore"):
                return self.keep(array.astype(dtype))
        if kind <= 3:
            return self.choose((HasArray, np.ndarray.tolist, lambda a: tuple(map(tuple, a.tolist())), np.matrix))(array)
        with np.errstate(over="ignore"):
            return self.keep(array if kind <= 5 else self.choose(LAYOUTS)(array.astype(np.float32)))

    def alias(self, net, rows, columns):
        """Return a view of the parameters of a network itself, if they are enough."""
        parameters, step = net.parameters, self.integer(1, 3)
        rows = min(rows, (len(parameters) - columns) // step + 1)
        if rows < 1:
            return parameters
        self.tame = False
        return np.lib.stride_tricks.as_strided(parameters, (rows, columns), (4 * step, 4))

    def odd_container(self, array):
        """Choose what nnpy has to refuse, at least for most networks."""
        rows = len(array)
        kinds = (
            lambda: array.astype(object), lambda: array.astype(str), lambda: array.astype(complex), lambda: None, lambda: 1.0,
            lambda: np.zeros((rows, 1), "datetime64[s]"), lambda: np.zeros((rows, 1), "timedelta64[s]"),
            lambda: np.zeros(rows, [("a", "f4")]), lambda: np.ma.masked_array(array), lambda: np.array(3.0),
            lambda: array[:, :, None], lambda: array[:, 1:], lambda: np.hstack([array, array]), array.ravel,
            lambda: [[1.0], [1.0, 2.0]], lambda: {"a": 1}, lambda: {1.0, 2.0}, lambda: (i for i in range(3)), lambda: b"abc",
            lambda: "abc", RaisingArray, Odd, lambda: array[:0], lambda: [], lambda: [[]],
            lambda: [[10**30] * array.shape[1]] * rows, lambda: memoryview(b"abcd"), lambda: array[:-1], lambda: [None] * rows,
            lambda: np.zeros((rows, array.shape[1]), "S3"), lambda: np.empty((0, 0)), lambda: array.T,
        )  # fmt: skip
        return self.choose(kinds)()

    def rows(self):
        return self.choose((1, 1, 2, 3, 4, 5, 7, 8, 9, 12, 17, 33, 97)) if not self.odd(12) else 0

    def x(self, net, rows):
        return self.container(self.numbers(rows, net.layer_sizes[0]), net)

    def y(self, net, rows):
        """Choose targets: labels if the last layer is softmax, else numbers that it can reach; sometimes others."""
        outputs, last = net.layer_sizes[-1], net.activations[-1]
        if (last == "softmax" and not self.one_in(3)) or self.odd(25):
            low, high = (0, outputs - 1) if not self.odd(10) else (-1, outputs)
            start = self.integer(0, 9999)
            labels = np.floor(low + (high + 1 - low) * UNIFORM[start : start + rows]).astype(np.int64)
            dtype = self.choose_from((np.int64, np.int8, np.uint8, np.float64, np.float32, ">i2"), (bool, object, "U2"))
            labels = labels.astype(dtype) if low == 0 else labels
            self.tame = False
            return labels[:, np.newaxis] if self.one_in(6) else labels.tolist() if self.one_in(6) else labels
        low, high = TARGETS.get(last, (-0.1, 2)) if not self.odd(12) else (-3, 3)
        array = self.numbers(rows, outputs, low, high)
        return array.ravel() if outputs == 1 and self.one_in(3) else self.container(array, net)

    def data(self, net, *, with_weight=False):
        rows = self.rows()
        x, y = self.x(net, rows), self.y(net, rows if not self.odd(30) else rows + 1)
        return (x, y, self.weight(rows)) if with_weight else (x, y)

    def weight(self, rows):
        if self.odd(8):
            return self.choose(
                (None, 1.0, "a", [], np.zeros(rows), -np.ones(rows), np.full(rows, np.nan), np.ones((rows, 1)))
            )
        weights = np.abs(self.numbers(rows, 1)[:, 0])
        with np.errstate(all="ignore"):
            return self.choose((weights, weights.tolist(), weights.astype(np.float32), np.round(weights).astype(int)))

    # ---- Objects ----

    def sizes(self):
        if self.odd(5):
            return self.choose(
                (
                    [],
                    [3],
                    [0, 1],
                    [2, -1],
                    "22",
                    5,
                    None,
                    [1.5, 2],
                    [True, 2],
                    [2**62, 2],
                    [2**45, 1],
                    [1, 2**70],
                    [2, None],
                )
            )
        widest = 70 if self.one_in(15) else 8
        return [self.integer(1, widest) for _ in range(self.integer(2, 4))]

    def activations(self, sizes):
        if self.odd(8):
            return self.choose(("nothing", [], ["softmax"] * 3, 3, ["relu", 5], "softmax", {"a": 1}, Odd()))
        if self.one_in(4):
            return None  # fit chooses the last one
        count = len(sizes) - 1 if isinstance(sizes, list) else 1
        return [*(self.choose(HIDDEN) for _ in range(count - 1)), self.choose(LAST)]

    def loss(self, net):
        last = net.activations[-1]
        if self.odd(8):
            return self.choose(("nothing", 3, Odd(), nnpy.Huber, "cross_entropy", "bce"))
        if last == "softmax":
            return self.choose((None, "cross_entropy", nnpy.CrossEntropy(), None, "mse"))
        losses = (None, None, "mse", "mae", "huber", "pinball", nnpy.Huber(0.3), nnpy.Pinball(0.9))
        return self.choose((*losses, "bce", "bce") if last in {"sigmoid", "linear"} else losses)

    def learning_rate(self):
        rate = self.number(0.01, 0.1, 1e-3, np.float32(0.05), 0.5, 1e20, 1e-30)
        if not self.one_in(3):
            return rate
        kinds = (
            lambda: nnpy.StepDecay(rate, self.number(1, 2)), lambda: nnpy.ExponentialDecay(rate, self.number(0.5, 1.5)),
            lambda: nnpy.LinearDecay(rate, self.number(0.0, 0.5, 5)),
            lambda: nnpy.CosineDecay(rate, final_rate=self.number(0.0, 1)),
            lambda: nnpy.ReduceOnPlateau(rate, factor=self.number(0.5, 0.1), patience=self.number(1, 2)),
            lambda: lambda epoch, epochs: rate, lambda: lambda epoch, epochs: 0.1 / (1 + epoch),
        )  # fmt: skip
        if self.odd(4):
            kinds = (
                lambda: _raise,
                lambda: lambda epoch, epochs: "x",
                lambda: lambda epoch, epochs: float(epoch < 1) - 0.5,
            )
        self.may_change = True  # what a schedule returns is seen in its epoch
        self.allowed += (CallbackError,)
        return self.choose(kinds)()

    def optimizer(self):
        if self.odd(10):
            return self.choose(("nothing", 3, Odd(), nnpy.Adam))
        rate, number = self.learning_rate, self.number
        kinds = (
            lambda: self.choose((None, "sgd", "adam", "adamw", "rmsprop", "rprop", "lbfgs", "lm")),
            lambda: nnpy.SGD(rate()), lambda: nnpy.SGD(rate(), momentum=number(0.9, 0.5)),
            lambda: nnpy.SGD(rate(), number(0.9), nesterov=True, weight_decay=number(0.01)), lambda: nnpy.Adam(rate()),
            lambda: nnpy.Adam(
                rate(), betas=self.choose_from(((0.9, 0.99), (0, 0)), ((0.5,), "ab", (1, 1), None, [0.5, Odd()]))
            ),
            lambda: nnpy.AdamW(rate(), weight_decay=number(0.1, 10.0)), lambda: nnpy.RMSprop(rate(), number(0.9), number(0.5)),
            lambda: nnpy.Rprop(number(0.01), number(0.5), number(1.2), number(1e-6), number(50.0)),
            lambda: nnpy.LBFGS(history_size=number(1, 3, 10)), lambda: nnpy.LevenbergMarquardt(number(1e-3, 1.0)),
        )  # fmt: skip
        return self.choose(kinds)()

    def path(self):
        path = os.path.join(self.folder, self.choose_from(("one.npz", "two.npz", "three"), ("missing/x.npz", "", ".")))
        self.allowed += (OSError,)
        if self.odd(10):
            self.may_be_numpys = True  # os.fspath refuses what is no path
            return self.choose((3.5, None, Odd(), b"\xff"))
        self.may_change = True  # a checkpoint is written after an epoch
        return self.choose((path, Path(path)))

    def callback(self):
        """Choose a function for `callbacks`; some of them use or change the network that is trained."""

        def interrupt(net, history):
            raise KeyboardInterrupt

        def change(value):
            def set_parameters(net, history):
                net.parameters = value

            return set_parameters

        def data(net):
            return np.ones((2, net.layer_sizes[0]), np.float32), np.zeros((2, net.layer_sizes[-1]))

        functions = (
            lambda net, history: None, lambda net, history: len(history) >= 2, interrupt,
            lambda net, history: net.predict(data(net)[0]), lambda net, history: pickle.dumps(net),
            lambda net, history: net.save(os.path.join(self.folder, "callback.npz")),
            change(0.1), change(np.nan), change(np.inf),
            change(3e38), lambda net, history: net.randomize(-1, 1, seed=3), lambda net, history: repr(history),
            lambda net, history: copy.copy(net), lambda net, history: setattr(net, "feature_names", None),
            lambda net, history: net.fit_scaler(None),
            lambda net, history: net.fit(*data(net), epochs=1, seed=0),
            lambda net, history: net.partial_fit(*data(net), seed=0),
        )  # fmt: skip
        self.may_change = True
        self.allowed += (CallbackError, nnpy.DivergenceError)
        return _raise if self.odd(8) else self.choose(functions)

    def metrics(self):
        good = (
            "accuracy", ["accuracy"], [], _mean_error, [_mean_error, "accuracy"], {"n": lambda y, out: len(y)},
            lambda y, out: np.nan, lambda y, out: np.array(1), iter(["accuracy"]), None,
        )  # fmt: skip
        odd = (
            "r2", {"mine": "r2"}, {"loss": "r2"}, "nothing", 5, ["accuracy", "accuracy"], _raise, lambda y, out: "x",
            lambda y, out: np.array([1.0, 2.0]), Odd(), {"val_loss": _raise}, ["accuracy", None],
        )  # fmt: skip
        self.may_change = True  # what a metric returns is seen after the first epoch
        self.allowed += (CallbackError,)
        return self.choose_from(good, odd)


def _raise(*arguments):
    raise CallbackError


def _mean_error(y, out):
    with np.errstate(over="ignore", invalid="ignore"):  # outputs may be infinite
        return float(np.mean(np.abs(y - out))) if np.shape(y) == np.shape(out) else 0.0


# ---- The calls ----


def construct(w):
    w.allowed += (MemoryError,)
    sizes = w.sizes()
    net = nnpy.NeuralNetwork(sizes, w.activations(sizes), seed=w.seed(0, 1, 2**64 - 1))
    place = w.integer(0, 2)
    w.nets[place : place + 1] = [net]
    return net


def randomize(w):
    return w.net().randomize(w.number(-1.0, 0, -3), w.number(0.5, 1, 3), seed=w.seed(0, 5, 2**32 - 1))


def set_parameters(w):
    net, w.may_be_numpys = w.net(), True
    with np.errstate(all="ignore"):
        if w.one_in(3):
            layer = w.integer(0, len(net.weights) - 1)
            part = w.choose((net.weights, net.biases))
            part[layer] = w.choose_from(
                (0.5, w.numbers(*np.atleast_2d(part[layer]).shape)), ("x", np.nan, [[1, 2]], None)
            )
        elif w.one_in(3):
            net.parameters *= np.float32(0.5)
        else:
            values = w.numbers(1, len(net.parameters))[0]
            net.parameters = w.choose_from((0, 1.5, values, values), (np.nan, -np.inf, "a", [1, 2, 3], None))
    if not np.isfinite(net.parameters).all() and not w.one_in(3):  # not for long
        net.randomize(-1, 1, seed=1)
    return net.weights[:1], len(net.biases), net.weights[-1]


def forward(w):
    net = w.net()
    x = w.x(net, w.rows())
    out = w.choose((net.forward, net.predict))(x)
    w.check = lambda: check_outputs(net, x, out)
    return out


def layers_and_classes(w):
    net = w.net()
    x = w.x(net, w.rows())
    if w.one_in(2):
        return net.predict_classes(x)
    outputs = net.layer_outputs(x)
    assert net.jacobian(x).shape == (len(outputs[-1]), net.layer_sizes[-1], net.layer_sizes[0])
    assert bits(outputs[-1]) == bits(net.predict(x))
    return outputs


def losses(w):
    net = w.net()
    x, y = w.data(net)
    kind = w.integer(0, 3)
    if kind == 0:
        return net.mse(x, y)
    options = w.options(sample_weight=lambda: w.weight(_len(x)))
    if kind == 1:
        return net.score(x, y, **options)
    options |= w.options(loss=lambda: w.loss(net), missing=lambda: w.choose_from(("raise", "ignore"), (3, "x", None)))
    if kind == 2:
        return net.loss(x, y, **options)
    return net.evaluate(x, y, **options, **w.options(metrics=w.metrics))


def gradients(w):
    net = w.net()
    x, y = w.data(net)
    kind = w.integer(0, 5)
    loss = w.loss(net)
    if kind == 0 and len(net.parameters) <= 1000:
        return net.finite_diff(x, y, eps=w.number(0.1, 1e-3), loss=loss)
    if kind == 1:
        check = net.check_gradients(x, y, loss=loss, max_parameters=w.number(1, 2), seed=w.seed(0))
        return [(block.name, block.num_compared) for block in check.blocks], len(str(check)) > 0, type(check.ok)
    options = w.options(
        sample_weight=lambda: w.weight(_len(x)), missing=lambda: w.choose_from(("raise", "ignore"), (3, "x", None))
    )
    if kind == 2:
        return net.input_gradient(x, y, loss=loss, **options)
    grad = net.backpropagation(x, y, loss=loss, **options)
    if not options:
        w.check = lambda: check_gradient(net, x, y, check_loss(loss, net.activations[-1]), grad)
    return grad


def gradient_descent(w):
    net = w.net()
    x, y = w.data(net)
    w.allowed += (nnpy.DivergenceError,)
    options = w.options(eps=lambda: w.number(0.1, 1e-2), loss=lambda: w.loss(net))
    if len(net.parameters) > 500:  # differences would take long
        options.pop("eps", None)
    return net.gradient_descent(x, y, rate=w.number(0.1, 1.0, 1e10), iterations=w.number(0, 1, 2, 5), **options)


def fit_options(w, net, rows):
    """Choose keyword arguments of `fit`."""
    options = {
        "epochs": w.number(1, 2, 3),
        "seed": w.seed(0, 1, 2**64 - 1),
        **w.options(
            optimizer=w.optimizer,
            loss=lambda: w.loss(net),
            batch_size=lambda: w.number(1, 2, 5, None, "auto", 2**63 - 1),
            shuffle=lambda: w.choose_from((True, False, np.False_), (1, "no")),
            validation_data=lambda: w.choose(((), 3, None, (1, 2, 3))) if w.odd(4) else w.data(net, with_weight=w.one_in(3)),
            validation_split=lambda: w.number(0.3, 0.5),
            early_stopping=lambda: w.choose_from(
                (1, 2, nnpy.EarlyStopping(1, 1e9), nnpy.EarlyStopping(2)), (0, "x", nnpy.EarlyStopping(2, monitor="r2"))
            ),
            sample_weight=lambda: w.weight(rows),
            class_weight=lambda: w.choose_from(
                ("balanced", dict.fromkeys(range(70), 2.0)), ({0: 1}, {0: -1, 1: 0}, 3, "x", {0: 1, 1: "a"}, {0: 0, 1: 0})
            ),
            missing=lambda: w.choose_from(("raise", "ignore"), ("x", None)),
            dropout=lambda: w.choose_from(
                (0.5, 0.1, [0.3] * (len(net.layer_sizes) - 2), 0), ([0.5], 1.0, "a", [None], np.nan, np.array([0.5]))
            ),
            l2=lambda: w.number(0.1, 0.0, 1e-3),
            clip_norm=lambda: w.number(0.1, None),
            metrics=w.metrics,
            callbacks=lambda: w.choose((3, [3], None)) if w.odd(4) else [w.callback() for _ in range(w.integer(0, 2))],
            checkpoint=w.path,
            verbose=lambda: w.choose_from((0, 1), (2, True)),
        ),
    }  # fmt: skip
    optimizer = options.get("optimizer")
    is_levenberg_marquardt = isinstance(optimizer, nnpy.LevenbergMarquardt) or (
        isinstance(optimizer, str) and optimizer == "lm"
    )
    if is_levenberg_marquardt and net.parameters.size > 1000:  # it would take minutes, and hundreds of megabytes
        del options["optimizer"]
    return options


def fit(w):
    net = w.net()
    x, y = w.data(net)
    w.allowed += (nnpy.DivergenceError,)
    options = fit_options(w, net, _len(x))
    _shorten(options)
    if w.one_in(10) and _len(x) < 10:  # more samples would take seconds
        options["epochs"] = "auto"
    if w.one_in(15):
        options["resume"] = w.path()
    history = net.fit(x, y, **options)
    assert repr(history).startswith("<History of")
    assert "<" in history._repr_html_()
    assert len(history.loss) == len(history.seconds) == len(history.learning_rate) == len(history)
    if not w.may_change:
        assert np.isfinite(net.parameters).all() or not len(history)
        assert np.isfinite(history.loss).all()
    return history


def fit_batches(w):
    net, w.may_change = w.net(), True
    w.allowed += (nnpy.DivergenceError,)
    batches = [w.data(net) for _ in range(w.integer(1, 3))]
    batches = [(*batch, w.weight(_len(batch[0]))) if w.one_in(5) else batch for batch in batches]
    once = w.choose((iter(batches), (batch for batch in batches)))
    data = w.choose_from((batches, tuple(batches), once), ([3], [], 3, "ab", [(1,)], {1: 2}, [batches[0], None]))
    options = fit_options(w, net, 3)
    _shorten(options)
    if not w.is_odd:  # these are for arrays
        for name in ("sample_weight", "validation_split", "class_weight", "metrics"):
            options.pop(name, None)
        options["epochs"] = 1 if data is once else options["epochs"]
    return net.fit(data, None, **options)


def resume(w):
    """Training with an interruption has the bits of training without one."""
    net = w.net()
    x, y = w.data(net)
    w.allowed += (nnpy.DivergenceError,)
    path = os.path.join(w.folder, "resume.npz")
    options = fit_options(w, net, _len(x)) | {"seed": w.integer(0, 5), "epochs": 2}
    for name in ("callbacks", "checkpoint", "verbose"):
        options.pop(name, None)
    metrics = options.get("metrics")
    if hasattr(metrics, "__next__"):  # it can be consumed once
        del options["metrics"]
    one, other = copy.deepcopy(net), copy.deepcopy(net)
    whole = one.fit(x, y, **options | {"epochs": 4})
    optimizer = options.get("optimizer")
    schedule = optimizer is None or callable(getattr(optimizer, "learning_rate", 0.0))
    if schedule:  # it depends on the number of epochs
        return None
    first = other.fit(x, y, **options, checkpoint=path)
    second = other.fit(x, y, **options | {"epochs": 4}, resume=path)
    assert len(first) <= len(second)
    assert bits(second)[0] == bits(whole)[0]
    assert bits(other) == bits(one)
    return whole


def partial_fit(w):
    net = w.net()
    x, y = w.data(net)
    w.allowed += (nnpy.DivergenceError,)
    options = fit_options(w, net, _len(x))
    names = (
        "optimizer",
        "loss",
        "batch_size",
        "shuffle",
        "sample_weight",
        "class_weight",
        "missing",
        "dropout",
        "l2",
        "clip_norm",
    )
    options = {name: options[name] for name in names if name in options}
    loss = net.partial_fit(x, y, seed=w.seed(0, 7), **options)
    assert np.isfinite(net.parameters).all()
    return loss


def fit_many(w):
    """On copies: after an exception, the others may have been trained for any number of steps."""
    nets = [copy.deepcopy(net) for net in w.nets]
    if w.odd(5):
        nets.append(w.choose((nets[0], 3)))
    rows = w.rows()
    each = [{"x": w.x(net, rows), "y": w.y(net, rows)} for net in w.nets]
    w.allowed += (nnpy.DivergenceError,)
    options = fit_options(w, w.nets[0], rows)
    _shorten(options)
    for name in ("callbacks", "checkpoint", "metrics", "validation_data", "sample_weight"):
        options.pop(name, None)
    w.has_one_message = False  # which network is refused first depends on the threads
    return nnpy.fit_many(nets, each=each, **options), nets


def ensemble(w):
    if w.odd(5):
        return repr(nnpy.Ensemble(w.choose(([], [3], w.nets))))
    net = w.net()
    networks = nnpy.Ensemble([net, copy.copy(net), *(other for other in w.nets if w.one_in(4))])
    return len(networks), networks.predict(w.x(net, w.rows()), return_std=w.choose((True, False)))


def fit_scaler(w):
    net = w.net()
    x, y = w.data(net)
    return net.fit_scaler(*w.choose(((x,), (x, y), (None,), (None, y))))


def save_and_load(w):
    net, path = w.net(), w.path()
    if w.one_in(3):
        return nnpy.load(path)
    net.save(path, **w.options(optimizer=lambda: w.choose((True, False))))
    loaded = nnpy.load(path)
    assert loaded.parameters.tobytes() == net.parameters.tobytes()
    return loaded


def feature_names(w):
    net = w.net()
    names = tuple(f"c{i}" for i in range(net.layer_sizes[0]))
    net.feature_names = w.choose_from((None, names, list(names)), ("abc", names[1:], (1,) * len(names), 3))
    return net.feature_names


def describe(w):
    net = w.net()
    text = [repr(net), net.summary(), net._repr_html_(), repr(net.weights), repr(net.scaler)]
    with contextlib.suppress(IndexError):
        text.append(repr(net.weights[w.integer(-4, 4)]))
    return text


def objects(w):
    """Objects that hold options, with any parameters."""
    number = w.number
    kinds = (
        w.optimizer, w.learning_rate, lambda: nnpy.Huber(number(1.0)), lambda: nnpy.Pinball(number(0.5)),
        lambda: nnpy.EarlyStopping(number(1), number(0.1), w.choose((None, "loss")), w.choose((None, "min", "x", 3))),
        lambda: nnpy.Gradient(w.sizes()).parameters.shape,
        lambda: nnpy.CosineDecay(number(0.1), number(1.0), number(0.0))(0.5, 3),
        lambda: nnpy.ReduceOnPlateau(number(0.1), number(0.5), number(1), number(0.0), number(0.0)),
    )  # fmt: skip
    w.allowed += (MemoryError,)
    made = w.choose(kinds)()
    return None if callable(made) else made


def set_threads(w):
    before = nnpy.get_num_threads() if backend.num_threads > 0 else backend.num_threads
    try:
        nnpy.set_num_threads(w.number(1, 2, 256))
    finally:
        backend.num_threads = before


CALLS = {
    f.__name__: f
    for f in (
        construct, randomize, set_parameters, forward, layers_and_classes, losses, gradients, gradient_descent, fit,
        fit_batches, resume, partial_fit, fit_many, ensemble, fit_scaler, save_and_load, feature_names, describe,
        objects, set_threads,
    )
}  # fmt: skip
WEIGHTS = {
    "forward": 3,
    "losses": 3,
    "gradients": 3,
    "fit": 6,
    "partial_fit": 3,
    "gradient_descent": 2,
    "set_threads": 0.2,
}


def _len(x):
    try:
        return len(x)
    except TypeError:
        return 1


def _shorten(options):
    """Keep training short: a huge number of epochs is for an optimiser that another argument refuses."""
    epochs = options["epochs"]
    if isinstance(epochs, (int, np.integer)) and not isinstance(epochs, bool) and epochs > 10:
        options["epochs"] = 2


# ---- Oracles ----


def _float64(values, columns):
    values = values.array if isinstance(values, Frame) else values
    array = np.array(values, dtype=np.float64, order="C")
    return array.reshape(-1 if array.size else len(array), columns)


def _is_tame(net):
    p = net.parameters
    return net.scaler is None and np.isfinite(p).all() and np.abs(p).max() <= 4 and max(net.layer_sizes) <= 12


def check_outputs(net, x, out):
    """Compare outputs with float64, with a bound of the rounding error; sigmoid networks with pure Python as well."""
    if not _is_tame(net):
        return
    x = _float64(x, net.layer_sizes[0])
    a = x.astype(np.float32).astype(np.float64)
    error = np.zeros_like(a)
    for weights, biases, name in zip(net.weights, net.biases, net.activations, strict=True):
        size = np.abs(a) @ np.abs(weights) + np.abs(biases)
        error = 1.2 * (error @ np.abs(weights) + 6e-8 * (len(weights) + 3) * size)
        a = _inspection._activate(name, a @ weights.astype(np.float64) + biases)
        if name == "softmax":
            error = np.minimum(1, 2 * error.max(axis=1, keepdims=True, initial=0)) + np.zeros_like(a)
        error += 1e-6 * (np.abs(a) + 1e-2)
    assert (np.abs(out - a) <= error).all(), (np.abs(out - a) / error).max()
    if set(net.activations) == {"sigmoid"} and len(out) <= 4:
        pure = np.array(_in_python(net).forward(x.tolist())).reshape(a.shape)
        assert (np.abs(pure - out) <= error).all()


def _in_python(net):
    other = reference.NeuralNetwork(net.layer_sizes)
    parameters = iter(net.parameters.tolist())
    for row in other.rows():
        row[:] = [next(parameters) for _ in row]
    return other


def check_gradient(net, x, y, loss, grad):
    """Compare a gradient with that of nn.h, and of pure Python for the squared error of sigmoid networks."""
    if not _is_tame(net) or not SMOOTH.issuperset(net.activations) or loss.name in {"mae", "pinball"}:
        return
    x, y = (
        _float64(array, columns).astype(np.float32)
        for array, columns in ((x, net.layer_sizes[0]), (y, net.layer_sizes[-1]))
    )
    book = nnpy.Gradient(net.layer_sizes)
    lib.nn_backpropagation(net._nn_with_loss(loss), book._nn, as_matrix(x), as_matrix(y))
    scale = 1 + np.abs(book.parameters).max()
    assert np.abs(book.parameters - grad.parameters).max() <= 1e-4 * scale
    if loss.name == "mse" and set(net.activations) == {"sigmoid"} and len(x) <= 4:
        pure = np.array(_in_python(net).backpropagation(x.tolist(), y.tolist()).parameters)
        assert np.abs(pure - grad.parameters).max() <= 1e-4 * scale


# ---- Making a call in both worlds ----


def is_deliberate(error):
    """Whether nnpy raised an exception by a `raise` of its own."""
    traceback = error.__traceback__
    while traceback.tb_next is not None:
        traceback = traceback.tb_next
    name = traceback.tb_frame.f_code.co_filename
    return name.startswith(PACKAGE) and linecache.getline(name, traceback.tb_lineno).strip().startswith("raise")


class Worlds:
    """Two worlds in lockstep."""

    def __init__(self, folder):
        folders = [os.path.join(folder, name) for name in "ab"]
        for path in folders:
            os.mkdir(path)
        self.worlds = [World(path) for path in folders]
        self.backend = (backend.isa, backend.num_threads)
        self.outcomes = collections.Counter()

    def step(self, name, source):
        """Make a call in both worlds; raise an AssertionError if something does not hold."""
        recorder = Recorder(source)
        one, other = self.worlds
        if source.integer(0, 9) == 0:
            self.replace_by_copies(source.integer(0, 2))
        isa, threads = source.integer(0, ISAS - 1), max(1, source.integer(-12, 3))
        before = [snapshot(net) for net in one.nets]
        try:
            outcome = self.perform(one, name, recorder)
            self.check(one, outcome, before)
            backend.isa, backend.num_threads = isa, -threads
            again = self.perform(other, name, Replay(recorder.choices))
            assert outcome == again, f"the worlds have different results:\n{outcome}\n{again}"
            for net, twin in itertools.zip_longest(one.nets, other.nets):
                assert snapshot(net) == snapshot(twin), f"{net!r} differs between the worlds"
        except BaseException as error:
            error.add_note(f"{name} {recorder.choices} with {one.nets}") if hasattr(error, "add_note") else None
            raise
        finally:
            backend.isa, backend.num_threads = self.backend
        self.outcomes[name, outcome[0]] += 1

    def perform(self, world, name, source):
        """Return ("ok", result), or the name of the exception and its message."""
        world.begin(source)
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                result = CALLS[name](world)
        except AssertionError:
            raise
        except Exception as error:
            if not isinstance(error, world.allowed):
                raise
            if isinstance(error, (TypeError, ValueError)) and not (world.may_be_numpys or is_deliberate(error)):
                raise AssertionError(f"not raised by nnpy on purpose: {error!r}") from error
            if not world.has_one_message:
                return "refused", ""
            return type(error).__name__, _TEMPORARY.sub("", str(error).replace(world.folder, ""))
        return "ok", bits(result)

    @staticmethod
    def check(world, outcome, before):
        """Check what must hold in the first world after a call."""
        if outcome[0] not in {"ok", "DivergenceError"} and not world.may_change:
            assert [snapshot(net) for net in world.nets] == before, f"{outcome} changed a network"
        for array, content in world.inputs:
            assert array.tobytes() == content, "an input was written to"
        if outcome[0] == "ok" and world.check is not None and world.tame:
            world.check()

    def replace_by_copies(self, kind):
        """Replace the networks of the second world by copies of themselves."""
        other = self.worlds[1]
        copies = (copy.copy, copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net)))
        other.nets = [copies[kind](net) for net in other.nets]


# ---- The command ----


def run_session(seed, session, num_steps=200):
    """Make a number of random calls in two new worlds; return how often each call had which outcome."""
    source, choose = RandomSource(f"{seed} {session}"), random.Random(f"{seed} {session} names")
    weights = [WEIGHTS.get(name, 1) for name in CALLS]
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as folder:
        worlds = Worlds(folder)
        for name in choose.choices(list(CALLS), weights, k=num_steps):
            worlds.step(name, source)
    return worlds.outcomes


def main():
    parser = argparse.ArgumentParser(description="Random calls of nnpy's Python interface.")
    parser.add_argument("--calls", type=int, help="stop after this number of calls")
    parser.add_argument("--minutes", type=float, default=1.0, help="without --calls: stop after this time")
    parser.add_argument("--seed", type=int, help="by default it is random, and printed")
    parser.add_argument("--session", type=int, default=0, help="begin with this session of the seed")
    arguments = parser.parse_args()
    seed = random.randrange(2**32) if arguments.seed is None else arguments.seed
    print("seed", seed, flush=True)
    warnings.simplefilter("ignore")
    warnings.simplefilter("error", RuntimeWarning)
    outcomes, start, stop = collections.Counter(), time.monotonic(), time.monotonic() + 60 * arguments.minutes
    for session in itertools.count(arguments.session):
        try:
            outcomes += run_session(seed, session)
        except BaseException:
            print(f"--seed {seed} --session {session} repeats this:", flush=True)
            raise
        if 2 * outcomes.total() >= arguments.calls if arguments.calls is not None else time.monotonic() > stop:
            break
    print(f"{2 * outcomes.total()} calls, {time.monotonic() - start:.0f} s, {ISAS} instruction sets, 1 to 3 threads")
    for name in CALLS:
        counts = {outcome: 2 * n for (called, outcome), n in sorted(outcomes.items()) if called == name}
        print(f"{name:<20}", ", ".join(f"{outcome} {n}" for outcome, n in counts.items()))
    print("peak memory", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024, "MiB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
