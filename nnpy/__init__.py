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
from typing import Any

from nnpy._fit import EarlyStopping
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
from nnpy._backend import get_num_threads, set_num_threads, show_config
from nnpy._ensemble import Ensemble, fit_many
from nnpy._network import Gradient, NeuralNetwork, load
from nnpy._optimizers import (
    LBFGS,
    Adam,
    AdamW,
    SGD,
    LevenbergMarquardt,
    Optimizer,
    RMSprop,
    Rprop,
)
from nnpy._schedules import CosineDecay, ExponentialDecay, LinearDecay, ReduceOnPlateau, StepDecay

__all__ = [
    "LBFGS",
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
    "SGD",
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
    "RMSprop",
    "ReduceOnPlateau",
    "Rprop",
    "StepDecay",
    "__version__",
    "fit_many",
    "get_num_threads",
    "load",
    "set_num_threads",
    "show_config",
]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Import the parts that not everybody needs where they are asked for."""
    if name in {"datasets", "plot", "reference"}:
        return importlib.import_module(f"nnpy.{name}")
    raise AttributeError(f"module 'nnpy' has no attribute {name!r}")
