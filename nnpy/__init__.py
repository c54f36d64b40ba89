"""nnpy trains small fully connected neural networks at C speed.

>>> import nnpy
>>> net = nnpy.NeuralNetwork([2, 2, 1])
>>> net.randomize(0.0, 1.0, seed=69)
>>> x, y = [[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 0]
>>> net.gradient_descent(x, y, rate=10, iterations=10_000)
>>> round(net.mse(x, y), 6)
2.5e-05
"""

import importlib
from typing import TYPE_CHECKING, Any

from nnpy._backend import get_num_threads, set_num_threads, show_config
from nnpy._ensemble import Ensemble, fit_many
from nnpy._history import DivergenceError, History
from nnpy._losses import (
    BinaryCrossEntropy,
    CrossEntropy,
    Huber,
    Loss,
    MeanAbsoluteError,
    MeanSquaredError,
    Pinball,
)
from nnpy._model import Gradient
from nnpy._network import NeuralNetwork, load
from nnpy._optimizers import (
    LBFGS,
    SGD,
    Adam,
    AdamW,
    LevenbergMarquardt,
    Optimizer,
    RMSprop,
    Rprop,
)
from nnpy._quantized_network import QuantizedNetwork
from nnpy._scaler import Scaler
from nnpy._version import __version__

if TYPE_CHECKING:
    from nnpy._interchange.readers import from_keras, from_onnx, from_safetensors, from_torch
    from nnpy._schedules import CosineDecay, ExponentialDecay, LinearDecay, ReduceOnPlateau, StepDecay
    from nnpy._training.early_stopping import EarlyStopping

__all__ = [
    "LBFGS",
    "SGD",
    "Adam",
    "AdamW",
    "BinaryCrossEntropy",
    "CosineDecay",
    "CrossEntropy",
    "DivergenceError",
    "EarlyStopping",
    "Ensemble",
    "ExponentialDecay",
    "Gradient",
    "History",
    "Huber",
    "LevenbergMarquardt",
    "LinearDecay",
    "Loss",
    "MeanAbsoluteError",
    "MeanSquaredError",
    "NeuralNetwork",
    "Optimizer",
    "Pinball",
    "QuantizedNetwork",
    "RMSprop",
    "ReduceOnPlateau",
    "Rprop",
    "Scaler",
    "StepDecay",
    "__version__",
    "fit_many",
    "from_keras",
    "from_onnx",
    "from_safetensors",
    "from_torch",
    "get_num_threads",
    "load",
    "set_num_threads",
    "show_config",
]

# What is imported when it is first used: submodules, and other names by their modules.
_SUBMODULES = ("datasets", "plot", "reference")
_LAZY = {
    **dict.fromkeys(
        ("CosineDecay", "ExponentialDecay", "LinearDecay", "ReduceOnPlateau", "StepDecay"), "nnpy._schedules"
    ),
    "EarlyStopping": "nnpy._training.early_stopping",
    **dict.fromkeys(("from_keras", "from_onnx", "from_safetensors", "from_torch"), "nnpy._interchange.readers"),
}


def _publish(name: str, thing: Any) -> Any:
    """Give a thing the module in which users find it, not the one that defines it."""
    if hasattr(thing, "__module__"):
        thing.__module__ = "nnpy"
    globals()[name] = thing
    return thing


for _name in __all__:
    if _name not in _LAZY:
        _publish(_name, globals()[_name])
del _name


def __getattr__(name: str) -> Any:
    if name in _SUBMODULES:
        return importlib.import_module(f"nnpy.{name}")
    if name in _LAZY:
        return _publish(name, getattr(importlib.import_module(_LAZY[name]), name))
    raise AttributeError(f"module 'nnpy' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, *_SUBMODULES])
