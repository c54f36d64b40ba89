"""Early stopping: against a loop by hand, for every direction, after NaN and errors."""

import re

import numpy as np
import pytest

import nnpy

RNG = np.random.default_rng(3)
X = RNG.random((60, 6), dtype=np.float32)
LABELS = RNG.integers(0, 3, 60)
Y = RNG.random((60, 3), dtype=np.float32)


def make(last="linear", seed=3, sizes=(6, 9, 3)):
    return nnpy.NeuralNetwork(sizes, ["tanh", last], seed=seed)


def train(net, x=X, y=Y, **options):
    return net.fit(x, y, **{"epochs": 4, "batch_size": 16, "seed": 1, **options})


@pytest.mark.parametrize("mode", ["min", "max"])
def test_early_stopping_restores_the_best_parameters(mode):
    """Against a loop by hand. Validation targets differ from those of training, so that training soon makes the loss worse."""
    xv, yv = X[::2], 1 - Y[::2]
    net, other = make(), make()
    sign = 1 if mode == "min" else -1
    stopping = nnpy.EarlyStopping(patience=3, monitor="val_score", mode=mode)
    history = train(
        net,
        epochs=100,
        optimizer=nnpy.Adam(0.02),
        validation_data=(xv, yv),
        metrics={"score": lambda y, out: sign * float(((y - out) ** 2).sum())},
        early_stopping=stopping,
    )
    values, parameters = [], []
    train(
        other,
        epochs=len(history),
        optimizer=nnpy.Adam(0.02),
        callbacks=lambda net, _: (
            values.append(float(((yv - net.predict(xv)) ** 2).sum())),
            parameters.append(net.parameters.copy()),
        ),
    )
    best = int(np.argmin(values)) + 1
    assert history.best_epoch == best
    assert len(history) == best + 3 < 100
    assert history.stopped == "early"
    np.testing.assert_array_equal(net.parameters, parameters[best - 1])
    assert net.parameters.tolist() != parameters[-1].tolist()
    assert f"best epoch {best}, stopped: early" in repr(history)


def test_early_stopping_by_the_training_loss_and_by_a_number():
    net = make()
    history = train(net, epochs=50, optimizer=nnpy.SGD(1e-7), early_stopping=nnpy.EarlyStopping(2, 0.1))
    assert len(history) == 3
    assert history.best_epoch == 1
    assert len(train(make(), epochs=5, early_stopping=50)) == 5


def test_early_stopping_of_an_accuracy_looks_for_a_high_one():
    history = train(
        make("softmax"),
        y=LABELS,
        epochs=30,
        validation_split=0.3,
        early_stopping=nnpy.EarlyStopping(30, 0, "val_accuracy"),
    )
    assert history.best_epoch == int(np.argmax(history.metrics["val_accuracy"])) + 1


def test_early_stopping_continues_after_nan():
    values = iter([np.nan, 5.0, 4.0, 3.0, 9.0])
    options = {"metrics": {"m": lambda y, out: next(values)}, "early_stopping": nnpy.EarlyStopping(4, monitor="m")}
    assert train(make(), epochs=5, **options).best_epoch == 4


def test_early_stopping_restores_after_an_error_as_well():
    net, kept = make(), []

    def fail(net, history):
        kept.append(net.parameters.copy())
        if len(history) == 4:
            raise ZeroDivisionError

    values = iter([3.0, 1.0, 2.0, 2.0])
    with pytest.raises(ZeroDivisionError):
        train(
            net,
            callbacks=fail,
            metrics={"m": lambda y, out: next(values)},
            early_stopping=nnpy.EarlyStopping(9, monitor="m"),
        )
    np.testing.assert_array_equal(net.parameters, kept[1])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"patience": 0}, "patience must be from 1 to 9223372036854775807, got 0"),
        ({"min_delta": -1}, "min_delta must not be negative, got -1"),
        ({"mode": "auto"}, "mode must be 'min' or 'max', got 'auto'"),
    ],
)
def test_refused_early_stopping(arguments, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        nnpy.EarlyStopping(**arguments)
