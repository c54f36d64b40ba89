"""Checkpoints: a resumed training has the bits of one that was not interrupted; files that are refused change nothing."""

import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import nnpy

RNG = np.random.default_rng(4)
X = RNG.random((70, 5), dtype=np.float32)
Y = RNG.random((70, 2), dtype=np.float32)


def make(seed=1):
    return nnpy.NeuralNetwork([5, 8, 2], ["tanh", "linear"], seed=seed)


OPTIMIZERS = [
    nnpy.SGD(0.05, momentum=0.9),
    nnpy.Adam(nnpy.CosineDecay(0.05, warmup_epochs=1.5)),
    nnpy.AdamW(nnpy.ReduceOnPlateau(0.05, patience=1, min_delta=0.01)),
    nnpy.RMSprop(),
    nnpy.Rprop(),
    nnpy.LBFGS(5),
    nnpy.LevenbergMarquardt(),
]


@pytest.mark.parametrize("watched", [False, True])
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda o: type(o).__name__)
def test_a_resumed_training_has_the_bits_of_one_that_was_not_interrupted(tmp_path, optimizer, watched):
    """A callback raises after epoch 5 of 9; the seed is random, and the checkpoint has it."""
    whole, stopped, resumed = make(), make(), make(seed=2)
    searches = isinstance(optimizer, (nnpy.LBFGS, nnpy.LevenbergMarquardt))
    size = None if searches or isinstance(optimizer, nnpy.Rprop) else 16
    options = {"optimizer": optimizer, "epochs": 9, "batch_size": size, "dropout": None if searches else 0.2}
    if watched:
        options |= {"validation_data": (X[:20], Y[:20]), "early_stopping": 8}

    class StopError(Exception):
        pass

    def stop(net, history):
        if len(history) == 5:
            raise StopError

    path = tmp_path / "training.npz"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nnpy._training.loop._SECONDS_PER_CHECKPOINT", 0)
        with pytest.raises(StopError):
            stopped.fit(X, Y, checkpoint=path, callbacks=stop, **options)
    seed = int(np.load(path)["checkpoint/seed"])
    expected = whole.fit(X, Y, seed=seed, **options)
    history = resumed.fit(X, Y, resume=path, checkpoint=path, **options)
    np.testing.assert_array_equal(resumed.parameters, whole.parameters)
    assert len(history) == len(expected) == 9
    for name, values in history.to_dict().items():
        if name != "seconds":
            np.testing.assert_array_equal(values, expected.to_dict()[name])
    assert history.best_epoch == expected.best_epoch
    again = make().fit(X, Y, resume=path, **options)
    assert len(again) == 9
    assert np.abs(whole.parameters - make().parameters).max() > 1e-3


def test_a_training_is_resumed_for_more_epochs(tmp_path):
    path = tmp_path / "training.npz"
    one, other = make(), make()
    one.fit(X, Y, optimizer="adam", epochs=3, seed=5, checkpoint=path)
    other.fit(X, Y, optimizer="adam", epochs=7, seed=5)
    history = one.fit(X, Y, optimizer="adam", epochs=7, resume=path)
    np.testing.assert_array_equal(one.parameters, other.parameters)
    assert len(history) == 7


def test_a_checkpoint_is_a_network(tmp_path):
    path = tmp_path / "training.npz"
    net = make()
    net.fit_scaler(X, Y)
    net.fit(X, Y, optimizer="adam", epochs=3, checkpoint=path)
    loaded = nnpy.load(path)
    np.testing.assert_array_equal(loaded.predict(X), net.predict(X))
    loaded.fit(X, Y, optimizer="adam", epochs=4, resume=path)


def test_refused_checkpoints_change_nothing(tmp_path):
    path = tmp_path / "training.npz"
    make().fit(X, Y, optimizer="adam", epochs=3, seed=5, checkpoint=path)
    net = make(seed=3)
    before = net.parameters.copy()
    for options, message in (
        ({"batch_size": 8}, r" was written with batch_size=32, got batch_size=8$"),
        (
            {"optimizer": nnpy.Adam(0.1)},
            r" was written with optimizer=Adam\(learning_rate=0.001, .*got optimizer=Adam\(learning_rate=0.1",
        ),
        ({"seed": 6}, r" was written with seed=5, got seed=6$"),
        ({"dropout": 0.5}, r" was written with dropout=None, got dropout=\(0.5,\)$"),
    ):
        with pytest.raises(ValueError, match=f"^{re.escape(str(path))}{message}"):
            net.fit(X, Y, **{"optimizer": "adam", "epochs": 5, "resume": path, **options})
    other = nnpy.NeuralNetwork([5, 2], seed=0)
    with pytest.raises(
        ValueError,
        match=r" is of a network of \[5, 8, 2\], \['tanh', 'linear'\], and cannot be resumed by "
        r"NeuralNetwork\(\[5, 2\], \['linear'\]\)$",
    ):
        other.fit(X, Y, resume=path)
    net.save(tmp_path / "net.npz")
    with pytest.raises(ValueError, match=r"net.npz is no checkpoint: fit\(checkpoint=\.\.\.\) writes one$"):
        net.fit(X, Y, resume=tmp_path / "net.npz")
    with pytest.raises(FileNotFoundError):
        net.fit(X, Y, resume=tmp_path / "none.npz")
    np.testing.assert_array_equal(net.parameters, before)
    net.fit_scaler(X)
    with pytest.raises(ValueError, match=r" was written with another scaler; nnpy.load returns a network that has it$"):
        net.fit(X, Y, resume=path)


def test_a_schedule_that_depends_on_the_number_of_epochs_is_not_resumed_for_more(tmp_path):
    path = tmp_path / "training.npz"
    optimizer = nnpy.Adam(nnpy.LinearDecay(0.01))
    make().fit(X, Y, epochs=3, checkpoint=path, optimizer=optimizer)
    with pytest.raises(
        ValueError, match=r" was written with epochs=3, got epochs=5, and the learning rate depends on it$"
    ):
        make().fit(X, Y, epochs=5, resume=path, optimizer=optimizer)


@pytest.mark.parametrize(
    "optimizer", [nnpy.Adam(np.float32(0.01)), nnpy.AdamW(0.01), nnpy.RMSprop(), nnpy.SGD(0.1, momentum=0.5)]
)
def test_partial_fit_continues_after_load(tmp_path, optimizer):
    one, path = make(), tmp_path / "net.npz"
    for _ in range(3):
        one.partial_fit(X, Y, optimizer=optimizer)
    one.save(path)
    other = nnpy.load(path)
    assert one.partial_fit(X, Y, seed=3) == other.partial_fit(X, Y, seed=3)
    np.testing.assert_array_equal(one.parameters, other.parameters)
    one.save(path, optimizer=False)
    assert not [name for name in np.load(path).files if name.startswith("optimizer/")]


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="SIGKILL is Unix's")
def test_a_kill_at_any_moment_leaves_a_whole_file(tmp_path):
    """Processes that write one checkpoint after another are killed at different moments."""
    path = tmp_path / "training.npz"
    program = f"""
import numpy as np, nnpy, nnpy._training.loop
nnpy._training.loop._SECONDS_PER_CHECKPOINT = 0
x, y = np.ones((4, 200), np.float32), np.ones((4, 100), np.float32)
print("ready", flush=True)
net = nnpy.NeuralNetwork([200, 100], seed=0)
net.fit(x, y, epochs=10**6, seed=0, checkpoint={str(path)!r}, callbacks=lambda *_: None)
"""
    for delay in (0.0, 0.05, 0.1, 0.13):
        process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, cwd=tmp_path)
        assert process.stdout.readline() == b"ready\n"
        while not path.exists():
            assert process.poll() is None
            time.sleep(0.01)
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        net = nnpy.load(path)
        assert net.parameters.size == 20100
        assert int(np.load(path)["checkpoint/history"].shape[1]) > 0
    if sys.platform == "linux":  # where a new file has no name until it is complete
        assert len(list(tmp_path.iterdir())) <= 2


def test_wrong_arguments_are_refused_before_a_checkpoint_is_restored(tmp_path):
    path = tmp_path / "training.npz"
    make().fit(X, Y, optimizer="adam", epochs=2, seed=0, checkpoint=path)
    bad, net = X.copy(), make(seed=4)
    bad[3, 1] = np.nan
    before, nan = net.parameters.copy(), r"^x must be finite in float32, got x\[3, 1\] = nan"
    for x, options, error, message in (
        (bad, {}, ValueError, nan),
        (bad, {"epochs": 2}, ValueError, nan),  # no epoch is left
        (X, {"validation_data": (bad, Y)}, ValueError, nan),
        (X, {"callbacks": 3}, TypeError, "^callbacks must be a function of the network and the history, or a sequence"),
        (X, {"callbacks": [3]}, TypeError, "^a callback must be a function of the network and the history, got 3$"),
        (X, {"metrics": [3]}, TypeError, "^a metric must be 'accuracy', 'r2' or a function "),
        (X, {"verbose": 7}, ValueError, "^verbose must be from 0 to 1, got 7$"),
        (X, {"early_stopping": 0}, ValueError, "^early_stopping must be from 1 to "),
        (
            X,
            {"early_stopping": nnpy.EarlyStopping(monitor="f1")},
            ValueError,
            "^monitor must be one of loss, got 'f1'$",
        ),
    ):
        with pytest.raises(error, match=message):
            net.fit(x, Y, resume=path, **{"optimizer": "adam", "epochs": 4, **options})
        np.testing.assert_array_equal(net.parameters, before)
    make().fit([(X, Y)], optimizer="adam", epochs=2, checkpoint=path)
    with pytest.raises(ValueError, match=nan):
        net.fit([(bad, Y)], optimizer="adam", epochs=4, resume=path)
    np.testing.assert_array_equal(net.parameters, before)


def test_what_is_monitored_must_be_the_same(tmp_path):
    path, net = tmp_path / "training.npz", make(seed=4)
    validated = {"validation_data": (X, Y)}
    make().fit(X, Y, optimizer="adam", epochs=2, checkpoint=path, **validated)
    before = net.parameters.copy()
    for options in (
        {},
        {**validated, "early_stopping": 5},
        {**validated, "metrics": {"m": lambda y, out: 0}},
    ):
        with pytest.raises(
            ValueError, match=r" was written with val_loss, got .*: validation data, metrics and early stopp"
        ):
            net.fit(X, Y, optimizer="adam", epochs=4, resume=path, **options)
    np.testing.assert_array_equal(net.parameters, before)
    assert len(net.fit(X, Y, optimizer="adam", epochs=4, resume=path, **validated)) == 4


def test_a_training_that_converges_leaves_its_last_state(tmp_path):
    path, net = tmp_path / "training.npz", make()
    history = net.fit(X, Y, epochs=5000, optimizer=nnpy.LevenbergMarquardt(), checkpoint=path, validation_data=(X, Y))
    assert history.stopped == "converged"
    np.testing.assert_array_equal(nnpy.load(path).parameters, net.parameters)
    again = make().fit(X, Y, epochs=5000, optimizer=nnpy.LevenbergMarquardt(), resume=path, validation_data=(X, Y))
    assert len(again) == len(history)
    net.fit(X, Y, optimizer="adam", epochs=0, checkpoint=tmp_path / "none.npz")
    assert len(make().fit(X, Y, optimizer="adam", epochs=2, resume=tmp_path / "none.npz")) == 2


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("history", None),
        ("buffer", None),
        ("seed", np.array("a")),
        ("settings", np.array("{")),
        ("best_parameters", np.zeros(1, np.float32)),
        ("numbers", np.array([-1.0, 1.0, 1.0])),
        ("numbers", np.array([np.inf, 1.0, 1.0])),
        ("numbers", np.array([2.0**64, 1.0, 1.0])),
        ("numbers", np.ones(3, np.float16)),
        ("buffer", np.zeros(3, np.float32)),
        ("buffer", np.zeros(132)),
        ("buffer", np.zeros(132, np.complex64)),
        ("columns", np.array(["a", "b", "c"])),
        ("history", np.full((3, 2), np.nan)),
    ],
)
def test_damaged_checkpoints_change_nothing(tmp_path, name, array):
    path, net = tmp_path / "training.npz", make(seed=4)
    make().fit(X, Y, optimizer="adam", epochs=2, checkpoint=path)
    content = {k: v for k, v in np.load(path).items() if k != f"checkpoint/{name}"}
    np.savez(path, **content, **({} if array is None else {f"checkpoint/{name}": array}))
    before = net.parameters.copy()
    pattern = (
        " is not a network that nnpy saved: | is damaged, training cannot be resumed from it: |^the state of Adam "
    )
    with pytest.raises(ValueError, match=pattern):
        net.fit(X, Y, optimizer="adam", epochs=4, resume=path)
    np.testing.assert_array_equal(net.parameters, before)


def test_parameters_that_are_not_finite_are_not_resumed_from(tmp_path):
    path, net = tmp_path / "training.npz", make(seed=4)
    make().fit(X, Y, optimizer="adam", epochs=2, checkpoint=path, validation_data=(X, Y), early_stopping=5)
    before = net.parameters.copy()
    for name in ("parameters", "checkpoint/best_parameters"):
        content = dict(np.load(path))
        content[name][3] = np.nan
        np.savez(tmp_path / "bad.npz", **content)
        with pytest.raises(ValueError, match="its parameters are not finite$"):
            net.fit(
                X, Y, optimizer="adam", epochs=4, resume=tmp_path / "bad.npz", validation_data=(X, Y), early_stopping=5
            )
    np.testing.assert_array_equal(net.parameters, before)


def test_a_history_without_what_is_monitored_is_refused(tmp_path):
    path, net = tmp_path / "training.npz", make(seed=4)
    make().fit(X, Y, optimizer="adam", epochs=2, checkpoint=path, validation_data=(X, Y), early_stopping=5)
    content = dict(np.load(path))
    content["checkpoint/columns"] = np.array([name.replace("val_", "old_") for name in content["checkpoint/columns"]])
    np.savez(path, **content)
    before = net.parameters.copy()
    with pytest.raises(ValueError, match="its history has other columns$"):
        net.fit(X, Y, optimizer="adam", epochs=4, resume=path, validation_data=(X, Y), early_stopping=5)
    np.testing.assert_array_equal(net.parameters, before)
