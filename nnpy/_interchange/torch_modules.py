"""Networks as modules of PyTorch: a `torch.nn.Sequential` of Linear and activation modules, and two modules for a scaler."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from nnpy._interchange.state_dict import get_state, layer_names
from nnpy._model import Model

__all__ = ["ScaleInputs", "ScaleOutputs", "make"]

_MODULES: dict[str, Callable[[], Any]] = {
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "leaky_relu": lambda: nn.LeakyReLU(0.01),
    "elu": nn.ELU,
    "softplus": nn.Softplus,
    "silu": nn.SiLU,
    "gelu": nn.GELU,
    "softmax": lambda: nn.Softmax(dim=1),
}


class _Scaling(nn.Module):  # type: ignore[misc]
    """Two buffers of float64: `mean` and `scale`."""

    def __init__(self, mean: NDArray[np.float64], scale: NDArray[np.float64]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float64))
        self.register_buffer("scale", torch.tensor(scale, dtype=torch.float64))

    def extra_repr(self) -> str:
        """Return the number of columns, for the text of a model."""
        return f"{len(self.mean)}"


class ScaleInputs(_Scaling):
    """Standardise inputs: (x - mean) / scale, computed in float64 and rounded to float32 once, as in nnpy."""

    def forward(self, x: Any) -> Any:
        """Return scaled inputs, float32. x: (n, n_inputs)."""
        return ((x.double() - self.mean) / self.scale).float()


class ScaleOutputs(_Scaling):
    """Give outputs the units of the targets: a * scale + mean, in float64, as in nnpy."""

    def forward(self, a: Any) -> Any:
        """Return outputs, float64. a: (n, n_outputs)."""
        return a.double() * self.scale + self.mean


def make(net: Model) -> Any:
    """Return the module; see `NeuralNetwork.to_torch`."""
    modules: OrderedDict[str, Any] = OrderedDict()
    scaler = net.scaler
    if scaler is not None:
        modules["inputs"] = ScaleInputs(scaler.x_mean, scaler.x_scale)
    for name, weights, activation in zip(layer_names(net.activations), net.weights, net.activations, strict=True):
        modules[name] = nn.utils.skip_init(nn.Linear, *weights.shape)
        if activation != "linear":
            modules[str(int(name) + 1)] = _MODULES[activation]()
    if scaler is not None and scaler.y_mean is not None and scaler.y_scale is not None:
        modules["outputs"] = ScaleOutputs(scaler.y_mean, scaler.y_scale)
    module = nn.Sequential(modules)
    module.load_state_dict({key: torch.from_numpy(array) for key, array in get_state(net).items()})
    return module
