"""What arrays are taken, in place or converted, and what is refused."""

import array
import datetime
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nnpy
from nnpy import _arrays
from nnpy._arrays import as_matrix, as_table, check_finite, to_float32
from nnpy._ffi import lib

RNG = np.random.default_rng(3)
TABLE = RNG.random((12, 12), dtype=np.float32)
TABLE.flags.writeable = False

IN_PLACE = {
    "contiguous": TABLE[:, :3].copy,
    "columns of a table": lambda: TABLE[:, 2:5],
    "every second row": lambda: TABLE[::2, 2:5],
    "backwards": lambda: TABLE[::-1, 4:7],
    "every third row backwards": lambda: TABLE[::-3, 4:7],
    "sliding window": lambda: np.lib.stride_tricks.sliding_window_view(TABLE.ravel()[:20], 3),
    "sliding window backwards": lambda: np.lib.stride_tricks.sliding_window_view(TABLE.ravel()[:20], 3)[::-1],
    "one row again and again": lambda: np.broadcast_to(TABLE[3, :3], (8, 3)),
    "one row": lambda: TABLE[5:6, 1:4],
    "one row of a transposed column": lambda: np.asfortranarray(TABLE[:, :3])[2:3].copy(order="F"),
}
CONVERTED = {
    "float64": lambda: TABLE[:, :3].astype(np.float64),
    "float16": lambda: TABLE[:, :3].astype(np.float16),
    "longdouble": lambda: TABLE[:, :3].astype(np.longdouble),
    "int8": lambda: (TABLE[:, :3] * 9).astype(np.int8),
    "uint64": lambda: (TABLE[:, :3] * 9).astype(np.uint64),
    "bool": lambda: TABLE[:, :3] > 0.5,
    "Fortran order": lambda: np.asfortranarray(TABLE[:, :3]),
    "Fortran order float64": lambda: np.asfortranarray(TABLE[:, :3].astype(np.float64)),
    "big-endian": lambda: TABLE[:, :3].astype(">f4"),
    "column stride": lambda: TABLE[:, ::4],
    "columns backwards": lambda: TABLE[:, 2::-1],
    "rows 13 bytes apart": lambda: np.zeros(5, np.dtype([("f", "<f4", 3), ("tag", "u1")]))["f"],
    "unaligned": lambda: np.frombuffer(bytes(1 + 4 * 12), np.uint8)[1:].view("<f4").reshape(4, 3),
    "list": TABLE[:, :3].tolist,
    "list of tuples": lambda: [(1, 2.5, True), (0, 0, 0)],
    "memoryview": lambda: memoryview(TABLE[:, :3].copy()),
    "rows in array.array": lambda: [array.array("d", [1, 2, 3])],
    "np.matrix": lambda: np.asmatrix(TABLE[:, :3].astype(int)),
}


@pytest.fixture
def net():
    return nnpy.NeuralNetwork([3, 5, 2], seed=1)


@pytest.mark.parametrize("make", IN_PLACE.values(), ids=IN_PLACE)
def test_float32_views_are_used_in_place(make):
    view = make()
    result = to_float32(as_table(view, "x", 3, what="input"))
    assert result.__array_interface__["data"] == view.__array_interface__["data"]
    assert np.shares_memory(result, view)
    assert as_matrix(result).data == as_matrix(view).data


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")  # np.matrix
@pytest.mark.parametrize("make", [*IN_PLACE.values(), *CONVERTED.values()], ids=[*IN_PLACE, *CONVERTED])
def test_results_are_those_of_the_contiguous_copy_bit_for_bit(net, make):
    x = make()
    copy = np.array(x, dtype=np.float32, order="C")
    before = np.array(x)
    y = RNG.random((len(copy), 2), dtype=np.float32)
    np.testing.assert_array_equal(net.forward(x), net.forward(copy))
    assert net.mse(x, y) == net.mse(copy, y)
    np.testing.assert_array_equal(net.backpropagation(x, y).parameters, net.backpropagation(copy, y).parameters)
    np.testing.assert_array_equal(net.finite_diff(x, y).parameters, net.finite_diff(copy, y).parameters)
    other = nnpy.NeuralNetwork([3, 5, 2], seed=1)
    net.gradient_descent(x, y, rate=0.3, iterations=4)
    other.gradient_descent(copy, y, rate=0.3, iterations=4)
    np.testing.assert_array_equal(net.parameters, other.parameters)
    np.testing.assert_array_equal(np.array(x), before)


@given(
    st.integers(1, 5),
    st.integers(1, 5),
    st.integers(-6, 6).filter(bool),
    st.integers(0, 9),
    st.integers(0, 9),
)
def test_any_slice_gives_the_bits_of_its_copy(inputs, outputs, step, first_x, first_y):
    """x and y are slices of one table, and may overlap."""
    table = np.random.default_rng(0).random((20, 15)).astype(np.float32)
    before = table.copy()
    x, y = table[::step, first_x : first_x + inputs], table[::step, first_y : first_y + outputs]
    one, other = (nnpy.NeuralNetwork([inputs, 3, outputs], seed=2) for _ in range(2))
    np.testing.assert_array_equal(
        one.backpropagation(x, y).parameters, one.backpropagation(x.copy(), y.copy()).parameters
    )
    one.gradient_descent(x, y, rate=1.0, iterations=3)
    other.gradient_descent(x.copy(), y.copy(), rate=1.0, iterations=3)
    np.testing.assert_array_equal(one.parameters, other.parameters)
    np.testing.assert_array_equal(table, before)


def test_read_only_memory_map_is_read_in_place(tmp_path, net):
    RNG.random((6, 3), dtype=np.float32).tofile(tmp_path / "x")
    x = np.memmap(tmp_path / "x", np.float32, mode="r", shape=(6, 3))
    result = to_float32(as_table(x, "x", 3, what="input"))
    assert np.shares_memory(result, x)
    net.gradient_descent(x, np.zeros((6, 2), np.float32), rate=0.1)


def test_flat_targets_do_for_one_output():
    net = nnpy.NeuralNetwork([3, 1], seed=0)
    x, y = TABLE[:, :3], TABLE[:, 4]
    assert net.mse(x, y) == net.mse(x, y[:, np.newaxis])
    assert nnpy.NeuralNetwork([1, 1], seed=0).forward(TABLE[:, 0]).shape == (12, 1)


def test_no_rows_have_no_outputs(net):
    assert net.forward(np.empty((0, 3))).shape == (0, 2)
    assert net.forward(np.empty((0, 3))).dtype == np.float32


NAN = np.where(np.arange(36).reshape(12, 3) == 16, np.nan, 1).astype(np.float32)
REFUSED = {
    "complex": (np.ones((2, 3), complex), TypeError, "x must be real numbers, got an array of dtype complex128"),
    "strings": ([["a", "b", "c"]], TypeError, "x must be real numbers, got an array of dtype <U1"),
    "objects": (np.ones((2, 3), object), TypeError, "x must be real numbers, got an array of dtype object"),
    "None": (None, TypeError, "x must be real numbers, got an array of dtype object"),
    "dates": ([[datetime.datetime(2020, 1, 1)] * 3], TypeError, "x must be real numbers, got an array of dtype object"),
    "huge integers": ([[10**30, 1, 1]], TypeError, "x must be real numbers, got an array of dtype object"),
    "masked": (np.ma.masked_array(np.ones((2, 3))), TypeError, "x is a masked array"),
    "ragged": ([[1, 2, 3], [1, 2]], ValueError, "x must be a rectangular array of numbers: "),
    "two columns": (
        np.ones((4, 2)),
        ValueError,
        "x must have 3 columns, one per input of the network, got shape (4, 2)",
    ),
    "one dimension": (
        np.ones(3),
        ValueError,
        "x must have shape (samples, 3), got (3,); a single sample is x[np.newaxis, :]",
    ),
    "three dimensions": (np.ones((4, 3, 1)), ValueError, "x must have shape (samples, 3), got (4, 3, 1)"),
    "a number": (1.0, ValueError, "x must have shape (samples, 3), got ()"),
    "NaN": (NAN, ValueError, "x must be finite in float32, got x[5, 1] = nan; "),
    "infinity": ([[1, 2, 3], [4, 5, -np.inf]], ValueError, "x must be finite in float32, got x[1, 2] = -inf; "),
    "too large": ([[1e39, 2, 3]], ValueError, "x must be finite in float32, got x[0, 0] = inf; "),
}


@pytest.mark.parametrize(("x", "error", "message"), REFUSED.values(), ids=REFUSED)
def test_refusal(net, x, error, message):
    before = net.parameters.copy()
    y = np.ones((np.shape(x)[0] if np.ndim(x) else 1, 2)) if not isinstance(x, list) else np.ones((len(x), 2))
    calls = [
        lambda: net.forward(x),
        lambda: net.mse(x, y),
        lambda: net.backpropagation(x, y),
        lambda: net.finite_diff(x, y),
        lambda: net.gradient_descent(x, y, rate=1),
    ]
    for call in calls:
        with pytest.raises(error, match=f"^{re.escape(message)}"):
            call()
    np.testing.assert_array_equal(net.parameters, before)


PAIRS = {
    "columns of y": ((4, 3), (4, 3), "y must have 2 columns, one per output of the network, got shape (4, 3)"),
    "flat y": ((4, 3), (4,), "y must have shape (samples, 2), got (4,)"),
    "rows": ((4, 3), (5, 2), "x and y must have the same number of rows, got 4 and 5"),
    "no rows": ((0, 3), (0, 2), "x and y must have at least one row, got none"),
}


@pytest.mark.parametrize(("x", "y", "message"), PAIRS.values(), ids=PAIRS)
def test_refusal_of_a_pair(net, x, y, message):
    before = net.parameters.copy()
    for call in (net.mse, net.backpropagation, net.finite_diff, lambda x, y: net.gradient_descent(x, y, rate=1)):
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            call(np.ones(x), np.ones(y))
    np.testing.assert_array_equal(net.parameters, before)


def test_refusal_names_one_column():
    with pytest.raises(ValueError, match=r"^x must have 1 column, one per input of the network, got shape \(4, 2\)$"):
        nnpy.NeuralNetwork([1, 1]).forward(np.ones((4, 2)))


def test_nan_in_y_is_refused(net):
    y = np.ones((12, 2))
    y[7, 0] = np.nan
    with pytest.raises(ValueError, match=r"^y must be finite in float32, got y\[7, 0\] = nan"):
        net.gradient_descent(TABLE[:, :3], y, rate=1)


def test_nan_between_the_columns_of_a_view_is_not_looked_at(net):
    table = np.full((4, 9), np.nan, np.float32)
    table[:, 2:5] = 1
    assert np.isfinite(net.forward(table[:, 2:5])).all()


@pytest.mark.parametrize("step", [1, -1, 3])
def test_nan_is_found_in_any_part_of_a_long_array(monkeypatch, step):
    monkeypatch.setattr(_arrays, "_ELEMENTS_PER_BLOCK", 30)
    for row in (0, 9, 10, 32):
        x = np.zeros((100, 3), np.float32)[::step]
        x[row, 2] = np.nan
        with pytest.raises(ValueError, match=rf"got x\[{row}, 2\] = nan"):
            check_finite(x, "x")


def test_matrix_describes_the_array():
    m = as_matrix(TABLE[::2, 3:5])
    assert (m.rows, m.cols, m.stride) == (6, 2, 24)
    m = as_matrix(TABLE[::-1, 3:5])
    assert (m.rows, m.cols, m.stride) == (12, 2, 2**64 - 12)
    assert lib.nn_first_outside(m, 0, 1, 0) == 24
