"""The optimisers, as small objects that `NeuralNetwork.fit` takes, and their state during training. C takes the steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from nnpy._ffi import ffi, lib
from nnpy._validation import fraction, integer, not_negative, positive, use_python_numbers

__all__ = [
    "LBFGS",
    "OPTIMIZERS",
    "SGD",
    "Adam",
    "AdamW",
    "LevenbergMarquardt",
    "Optimizer",
    "OptimizerState",
    "RMSprop",
    "Rprop",
    "check_optimizer",
]

if TYPE_CHECKING:  # most programs use no schedule, and its classes take as long to import as those of this file
    from nnpy._schedules import ReduceOnPlateau, Schedule

    LearningRate = float | Schedule | ReduceOnPlateau


def _check_learning_rate(learning_rate: LearningRate) -> None:
    if callable(learning_rate):
        return
    if not isinstance(learning_rate, (int, float)):
        from nnpy._schedules import ReduceOnPlateau

        if isinstance(learning_rate, ReduceOnPlateau):
            return
    positive(learning_rate, "learning_rate")


@dataclass(frozen=True)
class Optimizer:
    """Base class of the optimisers."""

    _is_full_batch: ClassVar[bool] = False  # whether each step needs all samples

    def __post_init__(self) -> None:
        use_python_numbers(self)

    def _fields(self) -> dict[str, Any]:
        """Return the fields of the C struct NNOptimizer, without the learning rate."""
        raise NotImplementedError


@dataclass(frozen=True)
class SGD(Optimizer):
    """Stochastic gradient descent: velocity = momentum * velocity + gradient, parameters -= learning_rate * velocity.

    Parameters
    ----------
    learning_rate : float or schedule
        Positive; or a schedule such as ``nnpy.CosineDecay(0.1)``, or a function of the time in epochs and the number of epochs.
    momentum : float
        The proportion of the velocity that is kept at each step, from 0 to less than 1.
    nesterov : bool
        Use Nesterov's momentum: step by gradient + momentum * velocity.
    weight_decay : float
        Decoupled weight decay: weights -= learning_rate * weight_decay * weights at each step; biases do not decay. (An L2
        penalty, which goes through the momentum, is `l2` of `NeuralNetwork.fit`.)

    Raises
    ------
    TypeError, ValueError
        If a parameter is not in its range.

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
        super().__post_init__()
        _check_learning_rate(self.learning_rate)
        fraction(self.momentum, "momentum")
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
    """Adam: the step is the running mean of the gradient over the root of the running mean of its square.

    Parameters
    ----------
    learning_rate : float or schedule
        Positive; or a schedule such as ``nnpy.LinearDecay(3e-3, warmup_epochs=0.3)``, or a function of the time in epochs and
        the number of epochs.
    betas : (float, float)
        Decay rates of the first moment (the mean) and the second moment (the mean square), from 0 to less than 1.
    eps : float
        Added to the root for numerical stability, positive.

    Raises
    ------
    TypeError, ValueError
        If a parameter is not in its range.

    Notes
    -----
    D. P. Kingma and J. Ba, "Adam: a method for stochastic optimization", ICLR 2015, algorithm 1.
    """

    learning_rate: LearningRate = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_learning_rate(self.learning_rate)
        positive(self.eps, "eps")
        if not isinstance(self.betas, Sequence) or isinstance(self.betas, str) or len(self.betas) != 2:
            raise TypeError(f"betas must be two numbers such as (0.9, 0.999), got {self.betas!r}")
        for number, beta in enumerate(self.betas):
            fraction(beta, f"betas[{number}]")
        object.__setattr__(self, "betas", tuple(map(float, self.betas)))

    def _fields(self) -> dict[str, Any]:
        return {
            "kind": lib.NN_ADAM,
            "beta1": float(self.betas[0]),
            "beta2": float(self.betas[1]),
            "epsilon": float(self.eps),
        }


@dataclass(frozen=True)
class AdamW(Adam):
    """Adam with decoupled weight decay.

    Parameters
    ----------
    learning_rate, betas, eps
        As those of `Adam`.
    weight_decay : float
        weights -= learning_rate * weight_decay * weights at each step; biases do not decay. Not negative.

    Raises
    ------
    TypeError, ValueError
        If a parameter is not in its range.

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
    """RMSprop: the step is the gradient over the root of the running mean of its square.

    Parameters
    ----------
    learning_rate : float or schedule
        Positive; or a schedule, or a function of the time in epochs and the number of epochs.
    alpha : float
        Decay rate of the mean square, from 0 to less than 1.
    momentum : float
        The proportion of the last step that is added to the next one, from 0 to less than 1.
    eps : float
        Added to the root for numerical stability, positive.

    Raises
    ------
    TypeError, ValueError
        If a parameter is not in its range.

    Notes
    -----
    T. Tieleman and G. Hinton, "Neural networks for machine learning", lecture 6.5, 2012, in the form of PyTorch's RMSprop.
    """

    learning_rate: LearningRate = 1e-3
    alpha: float = 0.99
    momentum: float = 0.0
    eps: float = 1e-8

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_learning_rate(self.learning_rate)
        fraction(self.alpha, "alpha")
        fraction(self.momentum, "momentum")
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
    """Rprop: each parameter has its own step size, which grows while its gradient keeps its sign and shrinks when that changes.

    A full-batch method: each step takes all samples.

    Parameters
    ----------
    learning_rate : float
        The initial step size, positive.
    eta_minus, eta_plus : float
        Factors of the step size after a change of sign, and without one: 0 < eta_minus < 1 < eta_plus.
    min_step, max_step : float
        Limits of the step size, positive.

    Raises
    ------
    TypeError, ValueError
        If a parameter is not in its range.

    Notes
    -----
    M. Riedmiller and H. Braun, "A direct adaptive method for faster backpropagation learning: the RPROP algorithm", ICNN 1993,
    without weight backtracking, as in PyTorch: after a change of sign the parameter pauses for one step.
    """

    learning_rate: float = 1e-2
    eta_minus: float = 0.5
    eta_plus: float = 1.2
    min_step: float = 1e-6
    max_step: float = 50.0

    _is_full_batch: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("learning_rate", "eta_minus", "eta_plus", "min_step", "max_step"):
            positive(getattr(self, name), name)
        if not self.eta_minus < 1 < self.eta_plus:
            raise ValueError(
                f"eta_minus must be below 1 and eta_plus above 1, got {self.eta_minus!r} and {self.eta_plus!r}"
            )
        if self.min_step > self.max_step:
            raise ValueError(f"min_step must not be above max_step, got {self.min_step!r} and {self.max_step!r}")

    def _fields(self) -> dict[str, Any]:
        return {
            "kind": lib.NN_RPROP,
            "eta_minus": float(self.eta_minus),
            "eta_plus": float(self.eta_plus),
            "min_step": float(self.min_step),
            "max_step": float(self.max_step),
        }


@dataclass(frozen=True)
class LBFGS(Optimizer):
    """L-BFGS: a quasi-Newton method with a line search. For any loss, and for small problems.

    A full-batch method. An epoch of `NeuralNetwork.fit` is one iteration, with as many evaluations of the loss as the line
    search needs. Training ends early when the loss cannot be reduced any more in float32.

    Parameters
    ----------
    history_size : int
        The number of past steps from which the curvature is estimated.

    Raises
    ------
    TypeError, ValueError
        If a parameter is not in its range.

    Notes
    -----
    D. C. Liu and J. Nocedal, "On the limited memory BFGS method for large scale optimization", Mathematical Programming 45,
    1989; J. Nocedal and S. J. Wright, "Numerical optimization", 2006, algorithms 7.5, 3.5 and 3.6, for the strong Wolfe
    conditions.
    """

    history_size: int = 10

    _is_full_batch: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        integer(self.history_size, "history_size", 1, 10_000)


@dataclass(frozen=True)
class LevenbergMarquardt(Optimizer):
    """Levenberg-Marquardt: damped Gauss-Newton steps, for small regressions with the squared error.

    A full-batch method. Each step solves a linearised least-squares problem, with as much damping as is needed to reduce the
    loss. With up to some hundred parameters it is the fastest method and the most accurate. An epoch of `NeuralNetwork.fit` is
    one step; training ends early when no step reduces the loss.

    Parameters
    ----------
    damping : float
        The initial damping, relative to the largest diagonal element of J^T J; positive.

    Raises
    ------
    TypeError, ValueError
        If a parameter is not in its range.

    Notes
    -----
    K. Madsen, H. B. Nielsen and O. Tingleff, "Methods for non-linear least squares problems", 2004, algorithm 3.16.

    It takes 16 bytes of memory for each pair of parameters, and time in proportion to their third power. The Jacobian J is
    never stored as a whole. More than 10,000 parameters are refused.
    """

    damping: float = 1e-3

    _is_full_batch: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        positive(self.damping, "damping")


OPTIMIZERS: dict[str, type[Optimizer]] = {
    kind.__name__: kind for kind in (SGD, Adam, AdamW, RMSprop, Rprop, LBFGS, LevenbergMarquardt)
}
_NAMES: dict[str, type[Optimizer]] = {
    "sgd": SGD,
    "adam": Adam,
    "adamw": AdamW,
    "rmsprop": RMSprop,
    "rprop": Rprop,
    "lbfgs": LBFGS,
    "levenberg_marquardt": LevenbergMarquardt,
    "lm": LevenbergMarquardt,
}


def check_optimizer(optimizer: Optimizer | str | None) -> Optimizer:
    """Return the optimiser: one by name has its default parameters, and None is Adam."""
    if optimizer is None:
        return Adam()
    if isinstance(optimizer, str):
        if optimizer not in _NAMES:
            raise ValueError(f"optimizer must be one of {', '.join(_NAMES)}, got {optimizer!r}")
        return _NAMES[optimizer]()
    if not isinstance(optimizer, Optimizer):
        raise TypeError(
            f"optimizer must be a name such as 'adam' or an object such as nnpy.SGD(0.1), got {optimizer!r}"
        )
    return optimizer


class OptimizerState:
    """What an optimiser keeps from step to step for one network: arrays in a buffer, and a few numbers in a C struct.

    Attributes
    ----------
    c : cdata
        The struct, which points into the buffer: NNOptimizer *, NNLbfgs * or NNLevenbergMarquardt *.
    function : C function or None
        The C function of L-BFGS or Levenberg-Marquardt; None for the optimisers of nn_train.
    num_passes : int
        The number of passes over data so far. It is the number of the next epoch in nn_train, which determines the order of the
        samples and the dropout.
    """

    def __init__(self, optimizer: Optimizer, num_parameters: int) -> None:
        self.optimizer, self._num_parameters = optimizer, num_parameters
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

    def __getstate__(self) -> tuple[Optimizer, int, dict[str, NDArray[Any]]]:
        return self.optimizer, self._num_parameters, self.to_arrays()

    def __setstate__(self, state: tuple[Optimizer, int, dict[str, NDArray[Any]]]) -> None:
        optimizer, num_parameters, arrays = state
        self.__init__(optimizer, num_parameters)  # type: ignore[misc]
        self.set_from_arrays(arrays)

    def configure(self, *, l2: float, clip_norm: float) -> None:
        """Set the options that belong to a call of `fit`, not to the optimiser."""
        self.c.l2 = l2
        if self.function is None:
            self.c.clip_norm = clip_norm

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return the state as arrays for a file."""
        numbers = [float(getattr(self.c, name)) for name in self._numbers]
        return {
            "buffer": self.buffer.astype(self.buffer.dtype.newbyteorder("<")),
            "numbers": np.array([self.num_passes, *numbers], dtype="<f8"),
        }

    def set_from_arrays(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take over a state that `to_arrays` returned; a ValueError if it does not fit, and then nothing is changed."""
        buffer, numbers = arrays["buffer"], arrays["numbers"]
        name = type(self.optimizer).__name__
        if buffer.shape != self.buffer.shape or numbers.shape != (len(self._numbers) + 1,):
            raise ValueError(f"the state of {name} has another size")
        if buffer.dtype != self.buffer.dtype or numbers.dtype != np.float64 or not np.isfinite(numbers).all():
            raise ValueError(f"the state of {name} is no array of real numbers")
        values = dict(zip(("num_passes", *self._numbers), numbers.tolist(), strict=True))
        counts = {field: int(value) for field, value in values.items() if field.startswith("num_")}
        if min(values.values()) < 0 or max(counts.values()) >= 2**63:
            raise ValueError(f"the state of {name} has numbers out of range")
        self.buffer[...] = buffer
        self.num_passes = counts.pop("num_passes")
        for field in self._numbers:
            setattr(self.c, field, counts.get(field, values[field]))
