"""The names of the interface: what `nnpy` offers, options of a training, other libraries' names for the same things."""

import dataclasses
import inspect
import subprocess
import sys

import numpy as np
import pytest

import nnpy
from nnpy._activations import ACTIVATIONS
from nnpy._training.options import FitOptions

X = np.random.default_rng(3).random((30, 4), dtype=np.float32)
Y = np.random.default_rng(4).random((30, 2), dtype=np.float32)


def make(last="linear"):
    return nnpy.NeuralNetwork([4, 5, 2], ["tanh", last], seed=1)


# ---- The module ----


def test_dir_is_what_is_public():
    assert dir(nnpy) == sorted([*nnpy.__all__, "datasets", "plot", "reference"])
    assert len(set(nnpy.__all__)) == len(nnpy.__all__)
    for name in nnpy.__all__:
        assert hasattr(nnpy, name)
    with pytest.raises(AttributeError, match="^module 'nnpy' has no attribute 'GradientDescent'$"):
        nnpy.GradientDescent  # noqa: B018


def test_public_names_are_found_where_they_say():
    """As pickle, help() and error messages look for them."""
    named = [name for name in nnpy.__all__ if name != "__version__"]
    for name in named:
        thing = getattr(nnpy, name)
        assert thing.__module__ == "nnpy", name
        assert thing.__qualname__ == name
        assert inspect.getdoc(thing), name
    assert {nnpy.NeuralNetwork, nnpy.SGD, nnpy.fit_many} <= {getattr(nnpy, name) for name in named}


def test_importing_nnpy_imports_no_extra(tmp_path):
    """Nor the parts that a network needs only when it is trained, saved or drawn."""
    program = (
        "import sys, nnpy; net = nnpy.NeuralNetwork([2, 1]); net.predict([[1, 2]]); "
        "print(sorted(m for m in sys.modules if m.split('.')[0] in {'pandas', 'torch', 'sklearn', 'matplotlib', 'tqdm'}))"
        "; print(sorted(m for m in sys.modules if m.startswith('nnpy.') and m.split('.')[1] in "
        "{'datasets', 'plot', 'reference', '_html', '_commands', '_serialization', '_inspection'}))"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert (result.stdout, result.stderr) == ("[]\n[]\n", "")


# ---- The options of a training ----


def test_options_of_a_training_are_the_arguments_of_fit_with_their_defaults():
    arguments = inspect.signature(nnpy.NeuralNetwork.fit).parameters
    keywords = {name: p.default for name, p in arguments.items() if p.kind is inspect.Parameter.KEYWORD_ONLY}
    fields = {field.name: field.default for field in dataclasses.fields(FitOptions)}
    assert fields == keywords
    assert list(arguments)[:3] == ["self", "x", "y"]
    for name in keywords:
        assert f"\n{name} : " in inspect.getdoc(nnpy.NeuralNetwork.fit), f"{name} is not documented"


def test_partial_fit_has_the_defaults_of_fit():
    """Except that there is nothing to choose from the data."""
    fields = {field.name: field.default for field in dataclasses.fields(FitOptions)}
    for name, p in inspect.signature(nnpy.NeuralNetwork.partial_fit).parameters.items():
        if p.kind is inspect.Parameter.KEYWORD_ONLY and name != "batch_size":  # it needs no "auto"
            assert p.default == (0.0 if name == "l2" else fields[name]), name


def test_every_argument_of_fit_is_passed_on(monkeypatch):
    """Each gets a value of its own, and arrives under its name."""
    from nnpy._training import defaults

    seen = []
    monkeypatch.setattr(defaults, "fit", lambda model, x, y, options: seen.append((x, y, options)))
    given = {field.name: object() for field in dataclasses.fields(FitOptions)}
    make().fit("x", "y", **given)
    ((x, y, options),) = seen
    assert (x, y) == ("x", "y")
    assert {name: getattr(options, name) for name in given} == given


def test_options_are_frozen():
    options = FitOptions()
    with pytest.raises(dataclasses.FrozenInstanceError):
        options.epochs = 3
    with pytest.raises(TypeError, match="positional"):
        FitOptions("mse")


@pytest.mark.parametrize("name", ["rate", "lr", "self", "history"])
def test_fit_many_knows_the_arguments_of_fit_only(name):
    nets = [make()]
    before = nets[0].parameters.copy()
    for options in ({name: 1}, {"each": [{name: 1}]}):
        with pytest.raises(TypeError, match=f"^NeuralNetwork.fit has no argument '{name}'$"):
            nnpy.fit_many(nets, X, Y, **options)
    np.testing.assert_array_equal(nets[0].parameters, before)


# ---- Names of other libraries ----

LOSSES = {
    nnpy.MeanSquaredError(): ("linear", ["mse", "mean_squared_error", "squared_error"]),
    nnpy.MeanAbsoluteError(): ("linear", ["mae", "mean_absolute_error", "absolute_error"]),
    nnpy.Huber(): ("linear", ["huber"]),
    nnpy.Pinball(): ("linear", ["pinball", "quantile"]),
    nnpy.BinaryCrossEntropy(): ("sigmoid", ["binary_cross_entropy", "bce", "binary_crossentropy"]),
    nnpy.CrossEntropy(): (
        "softmax",
        ["cross_entropy", "categorical_crossentropy", "sparse_categorical_crossentropy"],
    ),
}
OPTIMIZERS = {
    nnpy.SGD(): ["sgd"],
    nnpy.Adam(): ["adam"],
    nnpy.AdamW(): ["adamw"],
    nnpy.RMSprop(): ["rmsprop"],
    nnpy.Rprop(): ["rprop"],
    nnpy.LBFGS(): ["lbfgs"],
    nnpy.LevenbergMarquardt(): ["levenberg_marquardt", "lm"],
}


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.name)
def test_losses_by_name(loss):
    last, names = LOSSES[loss]
    assert loss.name == names[0]
    values = {make(last).loss(X, Y, loss=one) for one in LOSSES if LOSSES[one][0] == last}
    assert len(values) == sum(LOSSES[one][0] == last for one in LOSSES)  # the losses differ
    for name in names:
        one, other = make(last), make(last)
        assert one.loss(X, Y, loss=name) == other.loss(X, Y, loss=loss)
        one.fit(X, Y, loss=name, epochs=1, seed=0)
        other.fit(X, Y, loss=loss, epochs=1, seed=0)
        np.testing.assert_array_equal(one.parameters, other.parameters)
    with pytest.raises(ValueError, match=f"^loss must be one of .*{names[-1]}.*, got '{names[0]} '$"):
        make(last).loss(X, Y, loss=names[0] + " ")


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda optimizer: type(optimizer).__name__)
def test_optimizers_by_name(optimizer):
    def after(given):
        net = make()
        net.fit(X, Y, optimizer=given, epochs=3, seed=0)
        return net.parameters.tobytes()

    for name in OPTIMIZERS[optimizer]:
        assert after(name) == after(optimizer)
    assert len({after(one) for one in OPTIMIZERS}) == len(OPTIMIZERS)
    assert after(None) != after(optimizer)  # the default has a schedule; see test_defaults.py
    one, other = make(), make()
    if not optimizer._is_full_batch:
        name = OPTIMIZERS[optimizer][0]
        assert one.partial_fit(X, Y, optimizer=name, seed=0) == other.partial_fit(X, Y, optimizer=optimizer, seed=0)
    message = "^optimizer must be one of sgd, adam, adamw, rmsprop, rprop, lbfgs, levenberg_marquardt, lm, got 'Adam'$"
    with pytest.raises(ValueError, match=message):
        make().fit(X, Y, optimizer="Adam")


@pytest.mark.parametrize(("alias", "name"), [("swish", "silu"), ("identity", "linear"), ("logistic", "sigmoid")])
def test_activations_by_other_names(alias, name):
    one, other = (nnpy.NeuralNetwork([4, 5, 2], [given, given], seed=1) for given in (alias, name))
    assert one.activations == (name, name)
    assert repr(one) == repr(other)
    np.testing.assert_array_equal(one.predict(X), other.predict(X))
    np.testing.assert_array_equal(one.parameters, other.parameters)
    assert nnpy.NeuralNetwork([4, 2], alias).activations == (name,)
    assert alias not in ACTIVATIONS
    different = {
        nnpy.NeuralNetwork([4, 5, 2], one, seed=1).predict(X).tobytes() for one in set(ACTIVATIONS) - {"softmax"}
    }
    assert len(different) == len(ACTIVATIONS) - 1
