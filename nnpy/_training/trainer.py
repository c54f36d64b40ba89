"""The trainer: an optimiser with its state, and the calls of C that take the steps."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnpy._ffi import call, ffi, lib
from nnpy._history import DivergenceError, divergence_in_batch
from nnpy._model import Model
from nnpy._optimizers import OptimizerState
from nnpy._samples import Samples
from nnpy._schedules import Plateau, ReduceOnPlateau
from nnpy._training.options import Settings

__all__ = ["Epochs", "Poll", "Trainer"]

# A function that C calls every few milliseconds with the number of epochs that are done. It may raise an exception to stop.
Poll = Callable[[int], object] | None


class Epochs:
    """The epochs that a call of C has completed. It reads what C wrote, so it is right at any moment, also after Ctrl-C.

    Attributes
    ----------
    monitor : cdata of NNMonitor *
        Where C counts the epochs and the steps.
    """

    def __init__(self, losses: NDArray[np.float32], learning_rates: list[float]) -> None:
        """Begin with no epoch completed; losses: written by C; learning_rates: the last one of each epoch."""
        self.monitor = ffi.new("NNMonitor *")
        self._losses, self._learning_rates = losses, learning_rates

    def __len__(self) -> int:
        return int(self.monitor.done)

    @property
    def losses(self) -> list[float]:
        """The mean loss of each epoch."""
        losses: list[float] = self._losses[: len(self)].tolist()
        return losses

    @property
    def learning_rates(self) -> list[float]:
        """The last learning rate of each epoch."""
        return self._learning_rates[: len(self)]


class Trainer:
    """Takes the training steps of one call of `fit` or `partial_fit`.

    Attributes
    ----------
    model : Model
    settings : Settings
    state : OptimizerState
    l2 : float
        The L2 penalty of the next steps; at first that of the settings.
    plateau : Plateau or None
        The state of `ReduceOnPlateau`, if that is the learning rate.
    epochs : Epochs
        The epochs that the last call of `advance` completed, even if it raised.
    has_trained : bool
        Whether the network may have changed. False if the first samples were refused, or there was no memory for them.
    """

    def __init__(
        self,
        model: Model,
        settings: Settings,
        *,
        backend: Any,
        state: OptimizerState | None = None,
        poll: Poll = None,
    ) -> None:
        """Create a trainer for a network.

        Parameters
        ----------
        model, settings
            The network, and the checked options.
        backend : cdata of NNBackend *
            The instruction set and the number of threads.
        state : OptimizerState, optional
            The state to continue from. By default a new one.
        poll : callable, optional
            Called every few milliseconds with the number of completed epochs. An exception that it raises stops the training.
        """
        if not np.isfinite(model.parameters).all():
            raise ValueError("the parameters of the network are not finite")
        self.model, self.settings, self._backend, self._poll = model, settings, backend, poll
        self.l2 = settings.l2
        self._nn = model._nn_with_loss(settings.loss)
        self._dropout = None if settings.dropout is None else np.array(settings.dropout)
        self.epochs = Epochs(np.empty(0, dtype=np.float32), [])
        self.has_trained = False
        self.state = OptimizerState(settings.optimizer, model.parameters.size) if state is None else state
        learning_rate = getattr(settings.optimizer, "learning_rate", math.nan)
        self.plateau = Plateau(learning_rate) if isinstance(learning_rate, ReduceOnPlateau) else None
        self._schedule = learning_rate if callable(learning_rate) else None
        self._constant_rate = math.nan if self.plateau or self._schedule else float(learning_rate)

    def set_learning_rate(self, value: float) -> None:
        """Change the learning rate of the next steps, if it is no schedule."""
        self._constant_rate = value

    def batch_size(self, num_samples: int) -> int:
        """Return the number of samples per step."""
        return num_samples if self.settings.batch_size is None else min(self.settings.batch_size, num_samples)

    def advance(
        self,
        samples: Samples,
        epoch: int,
        num_epochs: int,
        *,
        span: tuple[float, float] = (0.0, 1.0),
        first_batch: int = 0,
        inputs_checked: bool = False,
    ) -> None:
        """Train on the samples for `num_epochs` epochs.

        Parameters
        ----------
        samples : Samples
        epoch : int
            The number of epochs that are done.
        num_epochs : int
            The number of epochs to train for.
        span : (float, float)
            The begin and the end of these samples within the epoch, for the learning rate schedule; (0, 1) for the whole epoch.
        first_batch : int
            The number of mini-batches of this epoch that are done, for the message of a DivergenceError.
        inputs_checked : bool
            Whether x is known to be finite.
        """
        steps_per_epoch = -(-len(samples) // self.batch_size(len(samples)))
        losses = np.empty(num_epochs, dtype=np.float32)
        rates = self._scheduled_rates(epoch, num_epochs, steps_per_epoch, span)
        self.state.configure(l2=self.l2, clip_norm=self.settings.clip_norm)
        function, options = self._function(len(samples), losses, rates, inputs_checked=inputs_checked)
        last_rates = (
            [self._constant_rate] * num_epochs
            if rates is None
            else rates[steps_per_epoch - 1 :: steps_per_epoch].tolist()
        )
        epochs = Epochs(losses, last_rates)
        had_trained, self.has_trained, self.epochs = self.has_trained, True, epochs

        def refuse_inputs() -> None:  # C has changed nothing, however many steps it had taken
            self.has_trained = had_trained
            samples.check_inputs()

        def divergence(num_steps: int) -> DivergenceError:
            num_done, batches = divmod(num_steps, steps_per_epoch)
            return divergence_in_batch(epoch + num_done + 1, first_batch + batches + 1)

        try:
            call(
                function,
                self._nn,
                samples.c[0],
                self.state.c,
                *options,
                self._backend[0],
                progress=self._poll,
                on_not_finite=refuse_inputs,
                on_diverged=divergence,
                monitor=epochs.monitor,
            )
        except MemoryError:
            self.has_trained = had_trained or epochs.monitor.num_steps > 0
            raise
        finally:
            self.state.num_passes += len(epochs)

    def _function(
        self,
        num_samples: int,
        losses: NDArray[np.float32],
        rates: NDArray[np.float64] | None,
        *,
        inputs_checked: bool,
    ) -> tuple[Any, list[Any]]:
        """Return the C function that trains, and its arguments between the optimiser and the backend.

        losses: shape (epochs,), written by C. rates: shape (steps,), the learning rates, or None for a constant one.
        """
        c_losses = ffi.from_buffer("float[]", losses)
        if self.state.function is not None:
            return self.state.function, [len(losses), c_losses]
        batch_size = self.batch_size(num_samples)
        options = {
            "batch_size": batch_size,
            "num_epochs": len(losses),
            "shuffle": self.settings.shuffle and batch_size < num_samples,
            "seed": self.settings.seed,
            "first_epoch": self.state.num_passes,
            "inputs_checked": inputs_checked,
            "losses": c_losses,
            "learning_rates": ffi.NULL if rates is None else ffi.from_buffer("double[]", rates),
            "dropout": ffi.NULL if self._dropout is None else ffi.from_buffer("double[]", self._dropout),
        }
        return lib.nn_train, [ffi.new("NNTrainOptions *", options)[0]]

    def _scheduled_rates(
        self, epoch: int, num_epochs: int, steps_per_epoch: int, span: tuple[float, float]
    ) -> NDArray[np.float64] | None:
        """Return the learning rate of each step by the schedule; without one, set the rate of all steps and return None."""
        if self._schedule is None:
            if self.plateau is not None:
                self._constant_rate = self.plateau.learning_rate
            if self.state.function is None:
                self.state.c.learning_rate = self._constant_rate
            return None
        start, length = span[0], span[1] - span[0]
        times = [
            e + start + length * s / steps_per_epoch
            for e in range(epoch, epoch + num_epochs)
            for s in range(steps_per_epoch)
        ]
        values = [self._schedule(t, self.settings.epochs) for t in times]
        try:
            rates = np.array(list(map(float, values)))
        except (TypeError, ValueError):
            raise TypeError(f"the schedule must return a number, it returned {values[0]!r} first") from None
        if not (np.isfinite(rates).all() and (rates >= 0).all()):
            raise ValueError(
                f"the schedule returned a negative or infinite learning rate, or NaN, in epoch {epoch + 1}"
            )
        return rates
