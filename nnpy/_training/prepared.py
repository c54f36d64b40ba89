"""Prepared training: what stays the same from one short call of `partial_fit` or `gradient_descent` to the next.

On few samples, C trains in a few microseconds; to check the options and to describe network, optimiser and samples to C takes
ten times as long. So a call prepares the next one, which only compares: if it has the same options, and its samples are
C-contiguous float32 arrays, C checks the samples and trains. Otherwise it goes the whole way, as the first call did.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nnpy._ffi import ffi, lib
from nnpy._history import divergence_in_batch, divergence_in_iteration
from nnpy._losses import CrossEntropy, Loss
from nnpy._model import Model
from nnpy._optimizers import OptimizerState
from nnpy._samples import scaler_fields, target_range
from nnpy._validation import COUNT_MAX, random_seed

if TYPE_CHECKING:  # `import nnpy` does not need the module, and its dataclasses take a millisecond or two
    from nnpy._training.options import FitOptions, Settings

__all__ = ["PreparedDescent", "PreparedStep"]

_ndarray, _FLOAT32, _from_buffer, _train_few = np.ndarray, np.dtype(np.float32), ffi.from_buffer, lib.nn_train_few
_OK, _REFUSED, _DIVERGED = lib.NN_OK, lib.NN_REFUSED, lib.NN_DIVERGED
_MIN_RATE, _MAX_RATE = 1e-37, 1e37  # learning rates that need no other check
_LABEL_TYPES = tuple(map(np.dtype, (np.uint8, np.int32, np.int64)))
_IMMUTABLE = (type(None), bool, int, float, str, tuple, Loss)  # types of options


class _Prepared:
    """A struct NNTrainer for a model. It holds no reference to the model, which holds it."""

    __slots__ = (
        "_keep_alive",
        "_num_inputs",
        "_scaling",
        "_takes_column",
        "_trainer",
        "_x_shape",
        "_y_columns",
        "_y_dtype",
        "_y_shape",
    )

    def __init__(self, model: Model, loss: Loss, y: Any, optimizer: Any, options: dict[str, Any]) -> None:
        """Describe a training to C.

        y: the targets or labels of the last call. optimizer: NNOptimizer *, options: the fields of NNTrainOptions.
        """
        # Labels of another type prepare for targets, which have two dimensions, so that the next labels are refused.
        has_labels = isinstance(loss, CrossEntropy) and type(y) is _ndarray and y.ndim == 1 and y.dtype in _LABEL_TYPES
        self._y_dtype: np.dtype[Any] = y.dtype if has_labels else _FLOAT32
        self._scaling = model._scaling
        scaler = model.scaler
        x_scaler = scaler if scaler is not None and scaler.changes_x else None
        y_scaler = scaler if scaler is not None and scaler.y_mean is not None and not has_labels else None
        fields = scaler_fields(x_scaler, y_scaler)
        low, high = target_range(loss, model.activations[-1], check_range=y_scaler is None)
        self._keep_alive = (fields, optimizer, options)
        trainer = ffi.new(
            "NNTrainer *",
            {
                "nn": model._nn_with_loss(loss),
                "scaler": fields,
                "optimizer": optimizer,
                "options": options,
                "isa": model._scaling.predictor.isa,
                "low": low,
                "high": high,
                "label_size": y.dtype.itemsize if has_labels else 0,
            },
        )
        self._trainer = ffi.gc(trainer, lib.nn_trainer_free)
        self._x_shape: tuple[int, ...] = (-1,)  # of the last call
        self._y_shape: tuple[int, ...] = (-1,)
        self._num_inputs = model.layer_sizes[0]
        self._y_columns = () if has_labels else model.layer_sizes[-1:]
        # A column of targets may be given as (n,), but with the cross-entropy these are labels.
        self._takes_column = self._y_columns == (1,) and not isinstance(loss, CrossEntropy)

    def _run(self, x: Any, y: Any) -> Any:
        """Train; return the code of C. NN_REFUSED: nothing is changed, and another function has to check x and y."""
        if (
            type(x) is not _ndarray
            or type(y) is not _ndarray
            or x.dtype is not _FLOAT32
            or y.dtype is not self._y_dtype
        ):
            return _REFUSED
        if (x.shape != self._x_shape or y.shape != self._y_shape) and not self._fit_together(x.shape, y.shape):
            return _REFUSED
        try:
            return _train_few(self._trainer, _from_buffer(x), _from_buffer(y), self._x_shape[0])
        except ValueError:  # x or y is not C-contiguous
            return _REFUSED

    def _fit_together(self, x_shape: tuple[int, ...], y_shape: tuple[int, ...]) -> bool:
        """Whether inputs and targets have such shapes; if so, those of the next call are compared with them."""
        if len(x_shape) != 2 or x_shape[1] != self._num_inputs:
            return False
        if y_shape != (x_shape[0], *self._y_columns) and not (self._takes_column and y_shape == x_shape[:1]):
            return False
        self._x_shape, self._y_shape = x_shape, y_shape
        return True


class PreparedDescent(_Prepared):
    """The next call of `NeuralNetwork.gradient_descent`."""

    __slots__ = ("_iterations", "_loss", "_optimizer", "_rate")

    def __init__(self, model: Model, kind: Loss, y: Any, *, rate: float, iterations: int, loss: Any) -> None:
        """Prepare a call with these arguments; kind is the loss that `loss` stands for."""
        self._rate, self._iterations, self._loss = rate, iterations, loss
        self._optimizer = ffi.new("NNOptimizer *", {"kind": lib.NN_SGD, "learning_rate": rate})
        super().__init__(model, kind, y, self._optimizer, {"batch_size": COUNT_MAX, "num_epochs": iterations})

    def train(self, model: Model, x: Any, y: Any, *, rate: Any, iterations: Any, loss: Any) -> bool:
        """Do what `gradient_descent` does; return False, with nothing changed, if it has to do that itself."""
        if type(iterations) is not int or iterations != self._iterations or loss is not self._loss:
            return False
        if (type(rate) is not float and type(rate) is not int) or not _MIN_RATE < rate < _MAX_RATE:
            return False
        with model._lock:
            if model._scaling is not self._scaling:
                return False
            if rate != self._rate:
                self._optimizer.learning_rate = self._rate = rate
            code = self._run(x, y)
            if code == _DIVERGED:
                raise divergence_in_iteration(self._trainer.num_steps + 1)
            return bool(code == _OK)


class PreparedStep(_Prepared):
    """The next call of `NeuralNetwork.partial_fit`."""

    __slots__ = (
        "_batch_size",
        "_has_dropout",
        "_losses",
        "_optimizer",
        "_options",
        "_shuffles",
        "_state",
        "_train_options",
    )

    def __init__(self, model: Model, settings: Settings, y: Any, state: OptimizerState, options: FitOptions) -> None:
        """Prepare a call with such targets or labels and these options, of which `settings` are the checked ones."""
        self._state, self._optimizer = state, options.optimizer
        self._options: tuple[Any, ...] | None = (
            options.loss,
            options.batch_size,
            options.shuffle,
            options.missing,
            options.dropout,
            options.l2,
            options.clip_norm,
        )
        if not all(isinstance(option, _IMMUTABLE) for option in self._options):
            self._options = None
        self._batch_size = COUNT_MAX if settings.batch_size is None else settings.batch_size
        self._shuffles, self._has_dropout = settings.shuffle, settings.dropout is not None
        self._losses = ffi.new("float[1]")
        fields = {
            "batch_size": self._batch_size,
            "num_epochs": 1,
            "shuffle": settings.shuffle,
            "losses": self._losses,
            "dropout": ffi.NULL if settings.dropout is None else ffi.new("double[]", settings.dropout),
        }
        super().__init__(model, settings.loss, y, state.c, fields)
        self._train_options = self._trainer.options

    def train(  # noqa: PLR0911
        self, model: Model, x: Any, y: Any, options: tuple[Any, ...], *, optimizer: Any, seed: Any
    ) -> float | None:
        """Do what `partial_fit` does; return None, with nothing changed, if it has to do that itself.

        options: its arguments loss, batch_size, shuffle, missing, dropout, l2 and clip_norm.
        """
        if self._options is None:
            return None
        (a0, a1, a2, a3, a4, a5, a6), (b0, b1, b2, b3, b4, b5, b6) = options, self._options  # quicker than a loop
        if not (a0 is b0 and a1 is b1 and a2 is b2 and a3 is b3 and a4 is b4 and a5 is b5 and a6 is b6):
            return None
        state = self._state
        is_same = optimizer is None or optimizer is self._optimizer
        if not is_same and (type(optimizer) is not type(state.optimizer) or optimizer != state.optimizer):
            return None
        if seed is not None and (type(seed) is not int or not 0 <= seed < 2**64):
            return None
        with model._lock:
            if model._state is not state or model._scaling is not self._scaling:
                return None
            if self._has_dropout or (self._shuffles and type(x) is _ndarray and x.ndim and len(x) > self._batch_size):
                self._train_options.seed = random_seed(64) if seed is None else seed
                self._train_options.first_epoch = state.num_passes
            code = self._run(x, y)
            if code == _OK:
                state.num_passes += 1
                loss: float = self._losses[0]
                return loss
            if code == _DIVERGED:
                raise divergence_in_batch(1, self._trainer.num_steps + 1)
        return None
