"""The whole Python interface, called at random: tests/fuzz/interface.py says what must hold after each call.

hypothesis chooses the calls and finds the shortest ones that fail; then a plain generator, which is faster, makes more of them.
"""

import copy
import decimal
import importlib.util
import pickle
import re
import tempfile
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

import nnpy

pytestmark = pytest.mark.filterwarnings("ignore", "error::RuntimeWarning")


def _load(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


interface = _load(Path(__file__).parent / "fuzz" / "interface.py")


class HypothesisSource:
    """Has hypothesis choose integers."""

    def __init__(self, data):
        self._data = data

    def integer(self, low, high):
        return self._data.draw(st.integers(low, high))


class Machine(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.worlds = interface.Worlds(self.folder.name)

    def teardown(self):
        self.folder.cleanup()


def _rule_of(name):
    @rule(data=st.data())
    def step(self, data):
        self.worlds.step(name, HypothesisSource(data))

    return step


Interface = type("Interface", (Machine,), {name: _rule_of(name) for name in interface.CALLS})
TestInterface = Interface.TestCase
TestInterface.settings = settings(
    max_examples=settings.default.max_examples // 2,
    stateful_step_count=30,
    derandomize=settings.default.max_examples <= 100,  # always the same calls, except in long runs
    suppress_health_check=list(HealthCheck),
)


def test_random_calls():
    outcomes = interface.collections.Counter()
    for session in range(12):
        outcomes += interface.run_session(1, session)
    for name in interface.CALLS:  # every function is called, with success and in most cases without
        assert outcomes[name, "ok"] > 0, name
    assert sum(n for (_, outcome), n in outcomes.items() if outcome != "ok") > 300


# ---- The checks notice defects ----


def _wrong_last_bit(forward):
    def wrong(net, x):
        out = forward(net, x)
        return np.nextafter(out, np.float32(9)) if interface.backend.num_threads < -1 else out

    return wrong


def _wrong_outputs(forward):
    return lambda net, x: forward(net, x) * np.float32(1.001) + np.float32(1e-3)


def _writes_to_inputs(forward):
    def wrong(net, x):
        out = forward(net, x)
        if type(x) is np.ndarray and x.dtype == np.float32 and x.flags.writeable:
            x[:1] = 7
        return out

    return wrong


def _changed_by_a_refusal(fit):
    def wrong(net, x, y, **options):
        net.biases[0][:1] += 1
        return fit(net, x, y, **options)

    return wrong


def _other_exception(score):
    def wrong(net, *arguments, **options):
        try:
            return score(net, *arguments, **options)
        except ValueError as error:
            raise KeyError("x") from error

    return wrong


def _exception_of_numpy(score):
    return lambda net, x, y, **options: score(net, np.asarray(x) + np.ones(3), y, **options)


def _infinite_parameters(partial_fit):
    def wrong(net, *arguments, **options):
        loss = partial_fit(net, *arguments, **options)
        net.parameters[0] = np.inf
        return loss

    return wrong


@pytest.mark.parametrize(
    ("name", "defect"),
    [
        ("forward", _wrong_last_bit),
        ("forward", _wrong_outputs),
        ("forward", _writes_to_inputs),
        ("partial_fit", _changed_by_a_refusal),
        ("score", _other_exception),
        ("score", _exception_of_numpy),
        ("partial_fit", _infinite_parameters),
    ],
)
def test_a_defect_is_found(monkeypatch, name, defect):
    wrong = defect(getattr(nnpy.NeuralNetwork, name))
    monkeypatch.setattr(nnpy.NeuralNetwork, name, wrong)
    if name == "forward":
        monkeypatch.setattr(nnpy.NeuralNetwork, "predict", wrong)
    with pytest.raises((AssertionError, KeyError)):
        interface.run_session(2, 0, 1000)


# ---- What it has found ----


def test_levenberg_marquardt_stops_where_the_jacobian_is_too_large():
    """J^T J is infinite; its damping was increased for ever."""
    net = nnpy.NeuralNetwork([1, 1], "linear", seed=0)
    net.parameters = [1e-4, 0]
    history = net.fit([[1e20]], [0.0], optimizer="lm", epochs=3)
    assert (history.stopped, len(history)) == ("converged", 0)
    np.testing.assert_array_equal(net.parameters, np.float32([1e-4, 0]))


@pytest.mark.parametrize("value", [np.array([1, 2]), np.array([1.0])])
@pytest.mark.parametrize("name", ["epochs", "batch_size", "seed", "verbose"])
def test_an_array_is_no_integer(name, value):
    net = nnpy.NeuralNetwork([1, 1], seed=0)
    with pytest.raises(TypeError, match=f"^{name} must be an integer, got {re.escape(repr(value))}$"):
        net.fit([[1]], [1], **{name: value})


def test_an_array_of_several_numbers_is_no_number():
    for value in (np.array([0.5]), np.array([1.0, 2.0])):
        with pytest.raises(TypeError, match=f"^learning_rate must be a real number, got {re.escape(repr(value))}$"):
            nnpy.SGD(value)


def test_feature_names_must_be_a_sequence():
    net = nnpy.NeuralNetwork([1, 1], seed=0)
    for names in (3, "a", [1]):
        with pytest.raises(
            ValueError, match=f"^feature_names must be 1 names, one per input, got {re.escape(repr(names))}$"
        ):
            net.feature_names = names
    net.feature_names = iter(["a"])
    assert net.feature_names == ("a",)


@pytest.mark.parametrize("one", [np.array(1), np.float32(1), decimal.Decimal(1), Fraction(1)])
def test_numbers_of_any_type_become_pythons(tmp_path, one):
    """They could not be saved, or were multiplied with other types by the schedule."""
    for made in (
        nnpy.Adam(one),
        nnpy.SGD(0.1, weight_decay=one),
        nnpy.StepDecay(one, 1),
        nnpy.Huber(one),
        nnpy.CosineDecay(one),
    ):
        assert all(type(value) in {int, float, bool, tuple} for value in vars(made).values()), made
    assert nnpy.CosineDecay(one, final_rate=one)(0.5, 2) == 1
    assert nnpy.EarlyStopping(np.int64(3), one) == nnpy.EarlyStopping(3, 1)
    net = nnpy.NeuralNetwork([1, 1], seed=0)
    net.partial_fit([[1]], [1], optimizer=nnpy.SGD(one))
    net.save(tmp_path / "net")
    assert nnpy.load(tmp_path / "net")._state.optimizer == nnpy.SGD(1)
    assert pickle.loads(pickle.dumps(copy.copy(net)))._state.optimizer == nnpy.SGD(1)


def test_what_is_no_number_is_refused():
    for value in (decimal.Decimal("sNaN"), 1j):
        with pytest.raises(TypeError, match=r"^learning_rate must be a real number, got "):
            nnpy.SGD(value)


@pytest.mark.parametrize("path", [3.5, b"x", ["x"]])
def test_a_checkpoint_that_is_no_path_is_refused_before_training(path):
    net = nnpy.NeuralNetwork([1, 1], seed=0)
    before = net.parameters.copy()
    with pytest.raises(TypeError, match=f"^checkpoint must be a path, got {re.escape(repr(path))}$"):
        net.fit([[1]], [1], checkpoint=path)
    np.testing.assert_array_equal(net.parameters, before)


def test_a_schedule_must_return_numbers():
    net = nnpy.NeuralNetwork([1, 1], seed=0)
    with pytest.raises(TypeError, match=r"^the schedule must return a number, it returned 'x' first$"):
        net.fit([[1]], [1], optimizer=nnpy.SGD(lambda epoch, epochs: "x"))


@pytest.mark.filterwarnings("error")
def test_accuracy_without_a_complete_row_of_targets():
    net = nnpy.NeuralNetwork([1, 2], seed=0)
    values = net.evaluate([[1.0], [2.0]], [[0, np.nan], [np.nan, 1]], metrics="accuracy", missing="ignore")
    assert np.isnan(values["accuracy"])
    assert values["loss"] > 0


@pytest.mark.filterwarnings("error")
def test_infinite_results_give_no_warning():
    net = nnpy.NeuralNetwork([1, 1, 1], ["linear", "linear"], seed=0)
    net.parameters = 3e38
    mean, deviation = nnpy.Ensemble([net, net]).predict([[1.0]], return_std=True)
    assert mean[0, 0] == np.inf
    assert np.isnan(deviation[0, 0])
    net.parameters = np.inf
    assert not net.check_gradients([[1.0]], [1.0]).ok


@pytest.mark.filterwarnings("error")
def test_a_sample_of_weight_0_may_have_an_infinite_output():
    net = nnpy.NeuralNetwork([1, 1], "linear", seed=0)
    net.parameters = [3e38, 0]
    assert net.score([[0.0], [1e-38], [3.0]], [0.0, 3.0, 9.0], [1, 1, 0]) == pytest.approx(1)


@pytest.mark.filterwarnings("error")
def test_scales_that_overflow_give_no_warning():
    net = nnpy.NeuralNetwork([1, 1], "linear", seed=0)
    net.parameters = [10, 10]
    net.fit_scaler([[-1e-38], [1e-38]], [-3e38, 3e38])
    assert net.loss([[1e-38]], [0]) == np.inf
    assert np.isinf(net.input_gradient([[1e-38]], [0])).all()
