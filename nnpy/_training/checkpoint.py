"""Checkpoints: files that `fit` writes during training, and from which it can resume."""

from __future__ import annotations

import json
import os
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nnpy import _serialization
from nnpy._history import History
from nnpy._model import Model
from nnpy._scaler import Scaler
from nnpy._training.monitor import Monitor
from nnpy._training.options import Settings
from nnpy._training.trainer import Trainer

__all__ = ["Checkpoint", "check", "read", "restore", "save"]


class Checkpoint(NamedTuple):
    """The state of training after an epoch, read from a file that fits the network."""

    path: str
    parameters: NDArray[np.float32]
    seed: int
    settings: dict[str, str]  # fingerprints of the settings
    monitored: str  # fingerprint of the monitor
    columns: list[str]  # names of the columns of the history
    rows: list[list[float]]  # one for each epoch
    stopped: str
    best_parameters: NDArray[np.float32] | None
    optimizer_state: dict[str, NDArray[Any]]


def save(path: str | os.PathLike[str], trainer: Trainer, monitor: Monitor, history: History) -> None:
    """Write the network and the state of its training."""
    columns = history.to_dict()
    content: dict[str, NDArray[Any]] = {
        "settings": np.array(json.dumps(trainer.settings.fingerprint())),
        "monitored": np.array(monitor.fingerprint()),
        "seed": np.array(trainer.settings.seed, dtype=np.uint64),
        "columns": np.array(list(columns)),
        "history": np.array(list(columns.values()), dtype="<f8"),
        "stopped": np.array(history.stopped),
        **trainer.state.to_arrays(),
    }
    if monitor.best_parameters is not None:
        content["best_parameters"] = monitor.best_parameters.astype("<f4")
    _serialization.write(path, trainer.model.__getstate__(), checkpoint=content)


def read(path: str | os.PathLike[str], model: Model) -> Checkpoint:
    """Read a checkpoint; raise a ValueError if the file is no checkpoint or does not fit the network."""
    saved = _serialization.read(path)
    path = os.fspath(path)
    if (saved.layer_sizes, saved.activations) != (model.layer_sizes, model.activations):
        other = f"a network of {list(saved.layer_sizes)}, {list(saved.activations)}"
        raise ValueError(f"{path} is of {other}, and cannot be resumed by {model!r}")
    if not _is_same_scaler(saved.scaler, model.scaler):
        raise ValueError(f"{path} was written with another scaler; nnpy.load returns a network that has it")
    content = saved.checkpoint
    if not content:
        raise ValueError(f"{path} is no checkpoint: fit(checkpoint=...) writes one")
    try:
        checkpoint = Checkpoint(
            path=str(path),
            parameters=saved.parameters,
            seed=int(content["seed"]),
            settings=dict(json.loads(str(content["settings"]))),
            monitored=str(content["monitored"]),
            columns=content["columns"].tolist(),
            rows=content["history"].astype(np.float64).T.tolist(),
            stopped=str(content["stopped"]),
            best_parameters=content.get("best_parameters"),
            optimizer_state={name: content[name] for name in ("buffer", "numbers")},
        )
        _check_finite(checkpoint)
    except Exception as error:  # a damaged file may raise almost anything
        raise ValueError(f"{path} is damaged, training cannot be resumed from it: {error}") from error
    return checkpoint


def _check_finite(checkpoint: Checkpoint) -> None:
    """Refuse what training never writes: parameters and losses that are NaN or infinite."""
    if not set(History().to_dict()) <= set(checkpoint.columns):
        raise ValueError("its history has no losses")
    loss = checkpoint.columns.index("loss")
    best = checkpoint.best_parameters
    if not np.isfinite(checkpoint.parameters).all() or (best is not None and not np.isfinite(best).all()):
        raise ValueError("its parameters are not finite")
    if not np.isfinite([row[loss] for row in checkpoint.rows]).all():
        raise ValueError("its losses are not finite")


def check(checkpoint: Checkpoint, settings: Settings) -> None:
    """Raise a ValueError that names the first setting that differs from those of the checkpoint."""
    for name, now in settings.fingerprint().items():
        before = checkpoint.settings.get(name)
        if before != now:
            reason = ", and the learning rate depends on it" if name == "epochs" else ""
            raise ValueError(f"{checkpoint.path} was written with {name}={before}, got {name}={now}{reason}")


def restore(checkpoint: Checkpoint, trainer: Trainer, monitor: Monitor, history: History) -> None:
    """Restore the state of training. The network is changed last, after all checks."""
    if checkpoint.rows and checkpoint.monitored != monitor.fingerprint():
        raise ValueError(
            f"{checkpoint.path} was written with {checkpoint.monitored}, got {monitor.fingerprint()}: validation data, metrics "
            "and early stopping must be the same"
        )
    if checkpoint.rows and not set(monitor.columns) <= set(checkpoint.columns):
        raise ValueError(
            f"{checkpoint.path} is damaged, training cannot be resumed from it: its history has other columns"
        )
    trainer.state.set_from_arrays(checkpoint.optimizer_state)
    for epoch, row in enumerate(checkpoint.rows, 1):
        values = dict(zip(checkpoint.columns, row, strict=True))
        history.append(values)
        if trainer.plateau is not None:
            trainer.plateau.update(values.get("val_loss", values["loss"]))
        monitor.replay(history, epoch)
    monitor.best_parameters = checkpoint.best_parameters
    if checkpoint.stopped in {"early", "converged"}:
        history.stopped = checkpoint.stopped
    trainer.model.parameters = checkpoint.parameters


def _is_same_scaler(one: Scaler | None, other: Scaler | None) -> bool:
    if one is None or other is None:
        return one is other
    return all(
        a is b or (a is not None and b is not None and np.array_equal(a, b)) for a, b in zip(one, other, strict=True)
    )
