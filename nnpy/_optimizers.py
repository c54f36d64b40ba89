"""How the parameters follow the gradient: the optimisers, as small objects that `NeuralNetwork.fit` takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from nnpy._ffi import ffi, lib
from nnpy._validation import integer, not_negative, positive, real
from nnpy._schedules import ReduceOnPlateau, Schedule

__all__ = [
    "LBFGS",
    "Adam",
    "AdamW",
    "SGD",
    "LevenbergMarquardt",
    "Optimizer",
    "OptimizerState",
    "RMSprop",
    "Rprop",
]

LearningRate = float | Schedule | ReduceOnPlateau


def _check_rate(rate: LearningRate) -> None:
    if not callable(rate) and not isinstance(rate, ReduceOnPlateau):
        positive(rate, "learning_rate")


def _share(value: float, name: str) -> None:
    if not 0 <= real(value, name) < 1:
        raise ValueError(f"{name} must be from 0 to less than 1, got {value!r}")


@dataclass(frozen=True)
class Optimizer:
    """The base of the optimisers."""

    _is_full_batch: ClassVar[bool] = False  # it has to have all samples in a step

    def _fields(self) -> dict[str, Any]:
        """What C is told, apart from the rate."""
        raise NotImplementedError


@dataclass(frozen=True)
class SGD(Optimizer):
    """Gradient descent: velocity = momentum * velocity + gradient, parameters -= rate * velocity.

    Parameters
    ----------
    learning_rate : float or schedule
        The learning rate, positive; or how it changes, such as ``nnpy.CosineDecay(0.1)``, or a function of the time and the
        number of epochs.
    momentum : float
        How much of the velocity is kept at a step, from 0 to less than 1.
    nesterov : bool
        Step by gradient + momentum * velocity instead, Nesterov's momentum.
    weight_decay : float
        Weights, not biases, lose rate * weight_decay of themselves at each step, beside what the gradient does.

    Notes
    -----
    I. Sutskever, J. Martens, G. Dahl and G. Hinton, "On the importance of initialization and momentum in deep learning", ICML
    2013, in the form of PyTorch's SGD.
    """

    learning_rate: LearningRate = 0.1
    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        _check_rate(self.learning_rate)
        _share(self.momentum, "momentum")
        not_negative(self.weight_decay, "weight_decay")
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov needs a momentum above 0")

    def _fields(self) -> dict[str, Any]:
        return {
            "kind": lib.NN_SGD,
            "beta1": float(self.momentum),
            "nesterov": bool(self.nesterov),
            "weight_decay": float(self.weight_decay),
        }


@dataclass(frozen=True)
class Adam(Optimizer):
    """Adam: steps in proportion to the mean of the gradient over the root of its mean square, both of the recent past.

    Parameters
    ----------
    learning_rate : float or schedule
        The learning rate, positive; or how it changes, such as ``nnpy.LinearDecay(3e-3, warmup=0.3)``, or a function of the
        time and the number of epochs.
    betas : (float, float)
        How much of the past means is kept at a step, from 0 to less than 1.
    eps : float
        Added to the root, positive.

    Notes
    -----
    D. P. Kingma and J. Ba, "Adam: a method for stochastic optimization", ICLR 2015, algorithm 1.
    """

    learning_rate: LearningRate = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8

    def __post_init__(self) -> None:
        _check_rate(self.learning_rate)
        positive(self.eps, "eps")
        if not isinstance(self.betas, Sequence) or isinstance(self.betas, str) or len(self.betas) != 2:
            raise TypeError(f"betas must be two numbers such as (0.9, 0.999), got {self.betas!r}")
        for beta in self.betas:
            _share(beta, "betas")
        object.__setattr__(self, "betas", tuple(self.betas))

    def _fields(self) -> dict[str, Any]:
        return {
            "kind": lib.NN_ADAM,
            "beta1": float(self.betas[0]),
            "beta2": float(self.betas[1]),
            "epsilon": float(self.eps),
        }


@dataclass(frozen=True)
class AdamW(Adam):
    """Adam with decoupled weight decay: weights, not biases, also lose rate * weight_decay of themselves at each step.

    Parameters
    ----------
    learning_rate, betas, eps
        As those of `Adam`.
    weight_decay : float
        Not negative.

    Notes
    -----
    I. Loshchilov and F. Hutter, "Decoupled weight decay regularization", ICLR 2019, algorithm 2.
    """

    weight_decay: float = 1e-2

    def __post_init__(self) -> None:
        super().__post_init__()
        not_negative(self.weight_decay, "weight_decay")

    def _fields(self) -> dict[str, Any]:
        return {**super()._fields(), "weight_decay": float(self.weight_decay)}


@dataclass(frozen=True)
class RMSprop(Optimizer):
    """RMSprop: steps in proportion to the gradient over the root of its mean square of the recent past.

    Parameters
    ----------
    learning_rate : float or schedule
        The learning rate, positive; or how it changes, or a function of the time and the number of epochs.
    alpha : float
        How much of the past mean square is kept at a step, from 0 to less than 1.
    momentum : float
        How much of the last step is taken again, from 0 to less than 1.
    eps : float
        Added to the root, positive.

    Notes
    -----
    T. Tieleman and G. Hinton, "Neural networks for backend learning", lecture 6.5, 2012, in the form of PyTorch's RMSprop.
    """

    learning_rate: LearningRate = 1e-3
    alpha: float = 0.99
    momentum: float = 0.0
    eps: float = 1e-8

    def __post_init__(self) -> None:
        _check_rate(self.learning_rate)
        _share(self.alpha, "alpha")
        _share(self.momentum, "momentum")
        positive(self.eps, "eps")

    def _fields(self) -> dict[str, Any]:
        return {
            "kind": lib.NN_RMSPROP,
            "beta1": float(self.momentum),
            "beta2": float(self.alpha),
            "epsilon": float(self.eps),
        }


@dataclass(frozen=True)
class Rprop(Optimizer):
    """Rprop: each parameter has a step of its own, which grows while the gradient keeps its sign and shrinks when that changes.

    For full batches: `NeuralNetwork.fit` has all samples in a step then.

    Parameters
    ----------
    learning_rate : float
        The size of the first step, positive.
    eta_minus, eta_plus : float
        What the size is multiplied with, eta_minus < 1 < eta_plus.
    min_step, max_step : float
        Limits of the size, positive.

    Notes
    -----
    M. Riedmiller and H. Braun, "A direct adaptive method for faster backpropagation learning: the RPROP algorithm", ICNN 1993,
    without weight backtracking, as in PyTorch: after a change of sign the parameter rests for a step.
    """

    learning_rate: float = 1e-2
    eta_minus: float = 0.5
    eta_plus: float = 1.2
    min_step: float = 1e-6
    max_step: float = 50.0

    _is_full_batch: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for name in ("learning_rate", "eta_minus", "eta_plus", "min_step", "max_step"):
            positive(getattr(self, name), name)
        if not self.eta_minus < 1 < self.eta_plus:
            raise ValueError(f"eta_minus must be below 1 and grow above, got {self.eta_minus!r} and {self.eta_plus!r}")
        if self.min_step > self.max_step:
            raise ValueError(f"min_step must not be above largest, got {self.min_step!r} and {self.max_step!r}")

    def _fields(self) -> dict[str, Any]:
        return {
            "kind": lib.NN_RPROP,
            "shrink": float(self.eta_minus),
            "grow": float(self.eta_plus),
            "smallest": float(self.min_step),
            "largest": float(self.max_step),
        }


@dataclass(frozen=True)
class LBFGS(Optimizer):
    """L-BFGS: Newton's method with an estimate of the curvature from the last steps, and a line search. For full batches.

    An epoch of `NeuralNetwork.fit` is an iteration, with as many evaluations of all samples as its line search needs. It ends
    before the number of epochs where the loss gets no smaller in float32. For any loss; for small problems.

    Parameters
    ----------
    history_size : int
        How many of the last steps are remembered.

    Notes
    -----
    D. C. Liu and J. Nocedal, "On the limited memory BFGS method for large scale optimization", Mathematical Programming 45,
    1989; J. Nocedal and S. J. Wright, "Numerical optimization", 2006, algorithms 7.5, 3.5 and 3.6, for the strong Wolfe
    conditions.
    """

    history_size: int = 10

    _is_full_batch: ClassVar[bool] = True

    def __post_init__(self) -> None:
        integer(self.history_size, "history_size", 1, 10_000)


@dataclass(frozen=True)
class LevenbergMarquardt(Optimizer):
    """Levenberg and Marquardt's method, for small regressions with the squared error. For full batches.

    It takes the network for linear, solves the least-squares problem, and damps the step as much as is needed to make the loss
    smaller. On problems of some hundred parameters nothing is as fast, or gets as far. An epoch of `NeuralNetwork.fit` is one
    such step; it ends before the number of epochs where none makes the loss smaller.

    Parameters
    ----------
    damping : float
        In the beginning, in terms of the largest diagonal element of J^T J; positive.

    Notes
    -----
    K. Madsen, H. B. Nielsen and O. Tingleff, "Methods for non-linear least squares problems", 2004, algorithm 3.16.

    Memory is 16 bytes for each pair of parameters, and time for their third power, whatever the number of samples: J^T J is
    summed up, J is never stored. More than 10,000 parameters are refused.
    """

    damping: float = 1e-3

    _is_full_batch: ClassVar[bool] = True

    def __post_init__(self) -> None:
        positive(self.damping, "damping")


class OptimizerState:
    """What an optimiser remembers of a network from step to step: numbers in one buffer, a few beside it in a C struct.

    Attributes
    ----------
    c : cdata
        The struct: NNOptimizer, NNLbfgs or NNLevenbergMarquardt.
    function : C function or None
        What does an iteration; None for nn_train.
    num_passes : int
        How often it has been through data; each pass has an order of its own.
    """

    def __init__(self, optimizer: Optimizer, num_parameters: int) -> None:
        self.optimizer = optimizer
        self.num_passes = 0
        self.function: Any = None
        self.buffer: NDArray[Any]
        if isinstance(optimizer, LBFGS):
            self.function = lib.nn_lbfgs
            size = lib.nn_lbfgs_size(num_parameters, optimizer.history_size)
            if size == 0:
                raise MemoryError(f"not enough memory for a history_size of {optimizer.history_size}")
            self.buffer = np.zeros(size, dtype=np.float64)
            self.c = ffi.new("NNLbfgs *", {"history_size": optimizer.history_size})
            self.c.memory = ffi.from_buffer("double[]", self.buffer)
            self._numbers: tuple[str, ...] = ("loss", "step_length", "num_pairs", "num_iterations")
        elif isinstance(optimizer, LevenbergMarquardt):
            self.function = lib.nn_levenberg_marquardt
            self.buffer = np.zeros(0, dtype=np.float64)
            self.c = ffi.new("NNLevenbergMarquardt *", {"damping": optimizer.damping})
            self._numbers = ("mu", "nu")
        else:
            self.buffer = np.zeros(2 * num_parameters, dtype=np.float32)
            if isinstance(optimizer, Rprop):
                self.buffer[num_parameters:] = optimizer.learning_rate
            self.c = ffi.new("NNOptimizer *", {**optimizer._fields(), "beta1_power": 1, "beta2_power": 1})
            self.c.state = ffi.from_buffer("float[]", self.buffer)
            self._numbers = ("beta1_power", "beta2_power")

    def configure(self, *, l2: float, clip: float) -> None:
        """Set what belongs to a call, not to the optimiser."""
        self.c.l2 = l2
        if self.function is None:
            self.c.clip_norm = clip

    def to_arrays(self, prefix: str) -> dict[str, NDArray[Any]]:
        """Return what a file has to hold, by name."""
        numbers = [float(getattr(self.c, name)) for name in self._numbers]
        return {
            f"{prefix}buffer": self.buffer.astype(self.buffer.dtype.newbyteorder("<")),
            f"{prefix}numbers": np.array([self.num_passes, *numbers], dtype="<f8"),
        }

    def from_arrays(self, arrays: Mapping[str, Any], prefix: str) -> None:
        """Take it back; a ValueError if it does not fit."""
        buffer, numbers = arrays[f"{prefix}buffer"], arrays[f"{prefix}numbers"]
        name = type(self.optimizer).__name__
        if buffer.shape != self.buffer.shape or numbers.shape != (len(self._numbers) + 1,):
            raise ValueError(f"the state of {name} has another size")
        if buffer.dtype.kind != "f" or numbers.dtype.kind != "f" or not np.isfinite(numbers).all():
            raise ValueError(f"the state of {name} is no table of real numbers")
        if not 0 <= numbers[0] < 2**63 or (numbers[1:] < 0).any():
            raise ValueError(f"the state of {name} has numbers out of range")
        self.buffer[...] = buffer
        self.num_passes = int(numbers[0])
        for name, value in zip(self._numbers, numbers[1:].tolist(), strict=True):
            setattr(self.c, name, int(value) if name.startswith("num_") else value)
