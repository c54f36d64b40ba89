"""Data from other libraries: pandas, polars, PyTorch, DLPack, scipy; and the names of the columns of a data frame."""

import copy
import pickle
import re

import numpy as np
import pytest

import nnpy

RNG = np.random.default_rng(3)
X = RNG.random((40, 3), dtype=np.float32)
Y = RNG.random((40, 1), dtype=np.float32)
NAMES = ("height", "width", "depth")


def make(seed=1):
    return nnpy.NeuralNetwork([3, 5, 1], ["tanh", "linear"], seed=seed)


def trained(x, y):
    net = make()
    net.fit(x, y, epochs=2, seed=0, validation_data=(x, y))
    return net


@pytest.fixture(params=["pandas", "polars"])
def library(request):
    return pytest.importorskip(request.param)


def frame_of(library, array=X, names=NAMES):
    return library.DataFrame(dict(zip(names, np.asarray(array).T, strict=True)))


# ---- Frames as x and y ----


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.uint8, bool])
def test_a_frame_is_its_table_of_numbers(library, dtype):
    table = (X * 9).astype(dtype)
    frame = frame_of(library, table)
    expected = trained(table, Y)
    np.testing.assert_array_equal(trained(frame, Y).parameters, expected.parameters)
    np.testing.assert_array_equal(expected.predict(frame), expected.predict(table))
    np.testing.assert_array_equal(expected.predict(frame[:1]), expected.predict(table[:1]))
    assert expected.loss(frame, Y) == expected.loss(table, Y)


def test_targets_may_be_a_frame_or_a_series(library):
    expected = trained(X, Y).parameters
    y = frame_of(library, Y, ["y"])
    np.testing.assert_array_equal(trained(X, y).parameters, expected)
    np.testing.assert_array_equal(trained(X, y["y"]).parameters, expected)
    net = make()
    net.fit(X, y["y"], epochs=2, seed=0, validation_split=0.3, sample_weight=frame_of(library, X)["width"])
    other = make()
    other.fit(X, Y, epochs=2, seed=0, validation_split=0.3, sample_weight=X[:, 1])
    np.testing.assert_array_equal(net.parameters, other.parameters)


def test_columns_of_different_types(library):
    frame = library.DataFrame(
        {"yes": (X[:, 0] > 0.5).tolist(), "real": X[:, 1].tolist(), "whole": (9 * X[:, 2]).astype(int).tolist()}
    )
    table = np.stack([X[:, 0] > 0.5, X[:, 1], (9 * X[:, 2]).astype(int)], axis=1)
    np.testing.assert_array_equal(trained(frame, Y).parameters, trained(table, Y).parameters)


def test_two_columns_of_one_name():
    pandas = pytest.importorskip("pandas")
    parts = [pandas.Series(X[:, 0] > 0.5, name="a"), pandas.Series(X[:, 1], name="a"), pandas.Series(X[:, 2], name="b")]
    net = trained(pandas.concat(parts, axis=1), Y)
    np.testing.assert_array_equal(net.parameters, trained(np.c_[X[:, 0] > 0.5, X[:, 1:]], Y).parameters)
    assert net.feature_names == ("a", "a", "b")


def test_nullable_columns_with_all_values():
    pandas = pytest.importorskip("pandas")
    frame = frame_of(pandas).astype("Float32")
    frame["depth"] = pandas.array((9 * X[:, 2]).astype(int), dtype="Int64")
    frame["height"] = pandas.array(X[:, 0] > 0.5, dtype="boolean")
    table = np.stack([X[:, 0] > 0.5, X[:, 1], (9 * X[:, 2]).astype(int)], axis=1)
    np.testing.assert_array_equal(trained(frame, Y).parameters, trained(table, Y).parameters)


def test_missing_values_are_nan(library):
    """In x they are refused and named; in y they may be missing targets."""
    values = [1.0, None, 2.0, 3.0] * 10
    frame = library.DataFrame({"height": X[:, 0].tolist(), "width": values, "depth": X[:, 2].tolist()})
    frames, series = [frame], [library.DataFrame({"y": values})["y"]]
    if library.__name__ == "pandas":
        frames.append(frame.astype("Float64"))
        series.append(library.Series(values, dtype="Float64"))
        series.append(library.Series([1, None, 2, 3] * 10, dtype="Int64"))
    else:
        series.append(library.Series([1, None, 2, 3] * 10))
    for x in frames:
        with pytest.raises(ValueError, match=r"^x must be finite in float32, got x\[1, 1\] = nan"):
            make().fit(x, Y)
    array = np.array(values, dtype=float)
    for y in series:
        assert make().loss(X, y, missing="ignore") == make().loss(X, array, missing="ignore")
        with pytest.raises(ValueError, match=r"^y must be finite in float32, got y\[1, 0\] = nan"):
            make().fit(X, y)


def test_a_column_that_is_not_numeric_is_named(library):
    frame = library.DataFrame({"height": X[:, 0].tolist(), "colour": ["red"] * 40, "depth": X[:, 2].tolist()})
    message = r"^x must be real numbers, its column 'colour' is of type \w+: drop it or encode it as numbers$"
    for call in (make().predict, make().fit_scaler, lambda x: make().fit(x, Y), lambda x: make().partial_fit(x, Y)):
        with pytest.raises(TypeError, match=message):
            call(frame)


# ---- Names of the columns ----

REMEMBERING = {
    "fit": lambda net, x: net.fit(x, Y, epochs=1),
    "partial_fit": lambda net, x: net.partial_fit(x, Y),
    "fit_scaler": lambda net, x: net.fit_scaler(x),
    "batches": lambda net, x: net.fit([(x[:20], Y[:20]), (x[20:], Y[20:])], epochs=2),
    "validation_split": lambda net, x: net.fit(x, Y, epochs=1, validation_split=0.2),
}


@pytest.mark.parametrize("remember", REMEMBERING.values(), ids=REMEMBERING)
def test_names_are_remembered(library, remember, tmp_path):
    net, frame = make(), frame_of(library)
    net.predict(frame)
    assert net.feature_names is None
    remember(net, frame)
    assert net.feature_names == NAMES
    net.save(tmp_path / "net.npz")
    copies = [copy.copy(net), copy.deepcopy(net), pickle.loads(pickle.dumps(net)), nnpy.load(tmp_path / "net.npz")]
    order = frame[["width", "height", "depth"]]
    for other in (net, *copies):
        assert other.feature_names == NAMES
        np.testing.assert_array_equal(other.predict(frame), net.predict(X))
        with pytest.raises(ValueError, match="^the columns of x are in another order than in training: pass x"):
            other.predict(order)


def test_other_columns_are_refused_everywhere(library):
    net = make()
    net.fit_scaler(frame_of(library), Y)  # scaled targets: loss works with a second model
    net.fit(frame_of(library), Y, epochs=1)
    before = net.parameters.copy()
    order = frame_of(library)[["depth", "height", "width"]]
    cases = {
        "the columns of x are in another order than in training: pass x[['height', 'width', 'depth']]": order,
        "the columns of x are not those of training: missing 'width'; new 'length'": frame_of(
            library, names=("height", "length", "depth")
        ),
        "the columns of x are not those of training: missing 'height', 'depth'; new 'a', 'b'": frame_of(
            library, names=("a", "width", "b")
        ),
        "the columns of x are not those of training: new 'more'": frame_of(
            library, np.c_[X, X[:, :1]], names=(*NAMES, "more")
        ),
        "the columns of x are not those of training: missing 'depth'": frame_of(library, X[:, :2], names=NAMES[:2]),
    }
    calls = [
        net.predict,
        net.layer_outputs,
        net.fit_scaler,
        lambda x: net.loss(x, Y),
        lambda x: net.mse(x, Y),
        lambda x: net.evaluate(x, Y),
        lambda x: net.score(x, Y),
        lambda x: net.backpropagation(x, Y),
        lambda x: net.input_gradient(x, Y),
        lambda x: net.finite_diff(x, Y),
        lambda x: net.check_gradients(x, Y),
        lambda x: net.gradient_descent(x, Y, rate=0.1),
        lambda x: net.fit(x, Y),
        lambda x: net.fit(x, Y, validation_split=0.2),
        lambda x: net.fit(X, Y, validation_data=(x, Y)),
        lambda x: net.fit([(x, Y)]),
        lambda x: net.partial_fit(x, Y),
    ]
    for message, x in cases.items():
        for call in calls:
            with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
                call(x)
    np.testing.assert_array_equal(net.parameters, before)
    assert net.feature_names == NAMES
    np.testing.assert_array_equal(net.predict(order[list(NAMES)]), net.predict(X))  # the cure, and a plain array


def test_validation_data_has_the_columns_of_the_training_data(library):
    """In the first training as well, when the network does not know any names yet."""
    frame, net = frame_of(library), make()
    with pytest.raises(ValueError, match="^the columns of x are in another order than in training: pass x"):
        net.fit(frame, Y, validation_data=(frame[["width", "height", "depth"]], Y))
    np.testing.assert_array_equal(net.parameters, make().parameters)
    assert net.feature_names is None
    net.fit(frame, Y, validation_data=(X, Y), epochs=1)
    assert net.feature_names == NAMES


def test_batches_have_the_columns_of_the_first_one(library):
    frame, net = frame_of(library), make()
    with pytest.raises(ValueError, match="^the columns of x are in another order than in training: pass x"):
        net.fit([(frame, Y), (frame[["width", "height", "depth"]], Y)], epochs=1)
    assert net.feature_names == NAMES  # of the batch that was used


def test_names_may_be_set_and_removed():
    pandas = pytest.importorskip("pandas")
    net = make()
    net.feature_names = list(NAMES)
    assert net.feature_names == NAMES
    order = frame_of(pandas)[["width", "height", "depth"]]
    with pytest.raises(ValueError, match="^the columns of x are in another order"):
        net.predict(order)
    net.feature_names = None
    np.testing.assert_array_equal(net.predict(order), net.predict(X[:, [1, 0, 2]]))
    for names in (NAMES[:2], "abc", (), [1, 2, 3], ["a", "b", None], ["a", "b", "c\0"]):
        with pytest.raises(
            ValueError, match=rf"^feature_names must be 3 names, one per input, got {re.escape(repr(names))}$"
        ):
            net.feature_names = names
    assert net.feature_names is None


def test_numbers_as_names_are_not_remembered():
    pandas = pytest.importorskip("pandas")
    net = trained(pandas.DataFrame(X), Y)
    assert net.feature_names is None
    np.testing.assert_array_equal(net.predict(pandas.DataFrame(X[:, ::-1])), net.predict(X[:, ::-1]))


def test_training_on_an_array_keeps_the_names():
    pandas = pytest.importorskip("pandas")
    net = trained(frame_of(pandas), Y)
    net.fit(X, Y, epochs=1)
    net.partial_fit(X, Y)
    net.fit_scaler(X)
    assert net.feature_names == NAMES


# ---- Tensors and others ----


@pytest.mark.slow
def test_tensors():
    torch = pytest.importorskip("torch")
    expected = trained(X, Y)
    for x, y in (
        (torch.tensor(X), torch.tensor(Y)),
        (torch.tensor(X, requires_grad=True), torch.tensor(Y, requires_grad=True)),
        (torch.tensor(X.astype(np.float64)), torch.tensor(Y[:, 0])),
        (torch.tensor(np.asfortranarray(X)), torch.nn.Parameter(torch.tensor(Y))),
    ):
        np.testing.assert_array_equal(trained(x, y).parameters, expected.parameters)
        np.testing.assert_array_equal(expected.predict(x), expected.predict(X))
        np.testing.assert_array_equal(expected.predict(x[:1]), expected.predict(X[:1]))
        assert not hasattr(x, "grad") or x.grad is None
    labels = torch.tensor([0, 1] * 20)
    net = nnpy.NeuralNetwork([3, 2], "softmax", seed=0)
    assert net.loss(X, labels) == net.loss(X, labels.numpy())
    for tensor in (torch.ones(2, 3, dtype=torch.bfloat16), torch.ones(2, 3, device="meta")):
        with pytest.raises(TypeError, match="^x cannot be read as an array: "):
            expected.predict(tensor)
    with pytest.raises(TypeError, match="^x must be real numbers, got an array of dtype complex64$"):
        expected.predict(torch.ones(2, 3, dtype=torch.complex64))


class WithArray:
    def __init__(self, array):
        self._array = array

    def __array__(self, dtype=None, copy=None):
        return np.array(self._array, dtype=dtype)


class WithDlpack:
    def __init__(self, array):
        self._array = array

    def __dlpack__(self, **options):
        return self._array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self._array.__dlpack_device__()


@pytest.mark.parametrize("kind", [WithArray, WithDlpack])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32])
def test_objects_with_an_array_interface(kind, dtype):
    table = (9 * X).astype(dtype)
    expected = trained(table, Y)
    np.testing.assert_array_equal(trained(kind(table), kind(Y.copy())).parameters, expected.parameters)
    np.testing.assert_array_equal(expected.predict(kind(table)), expected.predict(table))
    with pytest.raises(ValueError, match=r"^x must have 3 columns, one per input of the network, got shape \(40, 2\)$"):
        expected.predict(kind(table[:, :2].copy()))


@pytest.mark.parametrize("form", ["csr_matrix", "coo_array", "csc_array"])
def test_a_sparse_matrix_is_told_what_to_do(form):
    sparse = getattr(pytest.importorskip("scipy.sparse"), form)(X)
    net = make()
    for call, name in (
        (net.predict, "x"),
        (lambda x: net.fit(x, Y), "x"),
        (lambda y: net.fit(X, y), "y"),
        (lambda w: net.fit(X, Y, sample_weight=w), "sample_weight"),
    ):
        message = f"{name} is a sparse matrix, and nnpy reads dense arrays only: pass {name}.toarray()"
        with pytest.raises(TypeError, match=f"^{re.escape(message)}$"):
            call(sparse)
    np.testing.assert_array_equal(net.predict(sparse.toarray()), net.predict(X))


def test_a_masked_array_is_refused_whatever_its_mask():
    for mask in (False, X > 0.5):
        message = "^x is a masked array, which nnpy does not read: fill or drop the masked values first$"
        with pytest.raises(TypeError, match=message):
            make().predict(np.ma.masked_array(X, mask))
