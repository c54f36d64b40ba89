"""Trainings in files: what `fit` writes to go on from, and how it goes on."""

import json
import os
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nnpy import _serialization
from nnpy._history import History
from nnpy._network import NeuralNetwork
from nnpy._scaler import Scaler

if TYPE_CHECKING:
    from nnpy._fit import Settings, Trainer, Watch

__all__ = ["Checkpoint", "check", "read", "restore", "save"]

_PREFIX = "checkpoint/"


class Checkpoint(NamedTuple):
    """A training as it was after an epoch, read from a file and found to be one of the network."""

    path: str
    parameters: NDArray[np.float32]
    seed: int
    settings: dict[str, str]  # what has to be the same for the training to go on
    watched: str  # and of what is looked at after each epoch
    columns: list[str]
    rows: list[list[float]]
    stopped: str
    best_parameters: NDArray[np.float32] | None
    state: dict[str, NDArray[Any]]


def save(path: "str | os.PathLike[str]", trainer: "Trainer", watch: "Watch", history: History) -> None:
    """Write the network and the state of its training."""
    names = list(history._columns)
    content: dict[str, NDArray[Any]] = {
        "settings": np.array(json.dumps(trainer.settings.fingerprint())),
        "watched": np.array(watch.fingerprint()),
        "seed": np.array(trainer.settings.seed, dtype=np.uint64),
        "columns": np.array(names),
        "history": np.array([history._columns[name] for name in names], dtype="<f8"),
        "stopped": np.array(history.stopped),
        **trainer.state.to_arrays(""),
    }
    if watch.best_parameters is not None:
        content["best_parameters"] = watch.best_parameters.astype("<f4")
    _serialization.save(trainer.net, path, {_PREFIX + name: array for name, array in content.items()})


def read(path: "str | os.PathLike[str]", net: NeuralNetwork) -> Checkpoint:
    """Read a checkpoint; a ValueError if it is none, or of another network."""
    other, extra = _serialization.read(path)
    path = os.fspath(path)
    saved = {name.removeprefix(_PREFIX): array for name, array in extra.items() if name.startswith(_PREFIX)}
    if other.layer_sizes != net.layer_sizes or other.activations != net.activations:
        raise ValueError(f"{path} is of {other!r}, and cannot go on with {net!r}")
    if not _same_scaler(other.scaler, net.scaler):
        raise ValueError(f"{path} was written with another scaler; nnpy.load gives a network that has it")
    if not saved:
        raise ValueError(f"{path} is no checkpoint: fit(checkpoint=...) writes one")
    try:
        checkpoint = Checkpoint(
            path=str(path),
            parameters=other.parameters,
            seed=int(saved["seed"]),
            settings=dict(json.loads(str(saved["settings"]))),
            watched=str(saved["watched"]),
            columns=saved["columns"].tolist(),
            rows=saved["history"].astype(np.float64).T.tolist(),
            stopped=str(saved["stopped"]),
            best_parameters=saved.get("best_parameters"),
            state={name: saved[name] for name in ("buffer", "numbers")},
        )
        best = checkpoint.best_parameters
        if best is not None and (best.dtype != np.float32 or best.shape != net.parameters.shape):
            raise ValueError(f"its best parameters are of {best.dtype}, {best.shape}")
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise ValueError(f"{path} is no checkpoint that can be gone on from: {error}") from error
    return checkpoint


def check(checkpoint: Checkpoint, settings: "Settings") -> None:
    """Raise a ValueError that names the first setting that is another one."""
    for name, now in settings.fingerprint().items():
        before = checkpoint.settings.get(name)
        if before != now:
            raise ValueError(f"{checkpoint.path} was written with {name}={before}, got {name}={now}")


def restore(checkpoint: Checkpoint, trainer: "Trainer", watch: "Watch", history: History) -> None:
    """Bring all to where it was when the checkpoint was written; the network last, when nothing can be refused any more."""
    if checkpoint.rows and checkpoint.watched != watch.fingerprint():
        raise ValueError(
            f"{checkpoint.path} was written with {checkpoint.watched}, got {watch.fingerprint()}: validation data, metrics and "
            "early stopping have to be the same"
        )
    trainer.state.from_arrays(checkpoint.state, "")
    for epoch, row in enumerate(checkpoint.rows):
        history._append(dict(zip(checkpoint.columns, row, strict=True)))
        if trainer.plateau is not None:
            trainer.plateau.see(history._columns.get("val_loss", history._columns["loss"])[-1])
        if watch.early is not None:
            watch.has_waited(history._columns[watch.monitor][-1], epoch, None)
    watch.best_parameters = checkpoint.best_parameters
    if checkpoint.stopped in {"early", "converged"}:
        history.stopped = checkpoint.stopped
    trainer.net.parameters = checkpoint.parameters


def _same_scaler(one: Scaler | None, other: Scaler | None) -> bool:
    if one is None or other is None:
        return one is other
    return all(
        a is b or (a is not None and b is not None and np.array_equal(a, b)) for a, b in zip(one, other, strict=True)
    )
