"""A network as memory and functions: parameters that C allocated, numpy views of them, outputs, losses and gradients.

`nnpy._training` trains a `Model`. What users have, `nnpy.NeuralNetwork`, is a Model that can train, save and describe itself.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, Literal, NamedTuple, SupportsIndex, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nnpy._activations import ACTIVATIONS, check_activations
from nnpy._arrays import NO_MATRIX, as_matrix, as_table, check_finite, feature_names, to_float32
from nnpy._backend import backend
from nnpy._ffi import call, ffi, lib
from nnpy._losses import LOSSES, Loss, check_loss
from nnpy._optimizers import OptimizerState
from nnpy._samples import Inputs, Samples, as_samples
from nnpy._scaler import Scaler
from nnpy._validation import (
    FLOAT_MAX,
    check_class_names,
    check_feature_names,
    check_layer_sizes,
    check_seed,
    check_target_names,
    positive,
    real,
)

__all__ = ["Gradient", "Model", "ParameterList"]

# Names for `forward` of a few samples: the whole call takes about as long as a few attribute look-ups.
_FLOAT32: np.dtype[np.float32] = np.dtype(np.float32)
_FLOAT64: np.dtype[np.float64] = np.dtype(np.float64)
_ndarray, _from_buffer, _predict_few = np.ndarray, ffi.from_buffer, lib.nn_predict_few
_empty: Callable[..., NDArray[Any]] = np.empty


class ParameterList(Sequence[NDArray[np.float32]]):
    """The weights or the biases of all layers, as views: assigning to an item writes into the network."""

    __slots__ = ("_arrays",)

    def __init__(self, arrays: Sequence[NDArray[np.float32]]) -> None:
        self._arrays = tuple(arrays)

    @overload
    def __getitem__(self, index: SupportsIndex) -> NDArray[np.float32]: ...
    @overload
    def __getitem__(self, index: slice) -> ParameterList: ...
    def __getitem__(self, index: SupportsIndex | slice) -> NDArray[np.float32] | ParameterList:
        if isinstance(index, slice):
            return ParameterList(self._arrays[index])
        return self._arrays[index]

    def __setitem__(self, index: SupportsIndex, value: ArrayLike) -> None:
        self._arrays[index][...] = value

    def __len__(self) -> int:
        return len(self._arrays)

    def __repr__(self) -> str:
        return f"[{', '.join(map(repr, self._arrays))}]"


class _Scaling(NamedTuple):
    """A scaler and the C structs made from it. It is replaced as a whole: another thread sees the old or the new scaling."""

    predictor: Any  # NNPredictor *
    dtype: Any  # of the outputs
    scaler: Scaler | None
    c: Any  # NNScaler * or NULL
    keep_alive: Any

    @classmethod
    def of(cls, nn: Any, scaler: Scaler | None) -> _Scaling:
        c, arrays = ffi.NULL, []
        if scaler is not None:
            arrays = scaler.pointers()
            c = ffi.new("NNScaler *", arrays)
        dtype = _FLOAT32 if scaler is None or scaler.y_mean is None else _FLOAT64
        return cls(ffi.new("NNPredictor *", (nn, c, backend.isa)), dtype, scaler, c, arrays)


class Parameters:
    """One number for each weight and bias of an architecture, in one block of memory that C allocated.

    The base class of `Model` and `Gradient`.
    """

    __slots__ = ("__weakref__", "_activations", "_biases", "_layer_sizes", "_nn", "_parameters", "_weights")

    def _allocate(self, layer_sizes: tuple[int, ...], activations: tuple[str, ...]) -> None:
        """Allocate the block, filled with zeros, and create the views of it."""
        self._layer_sizes = layer_sizes
        self._activations = activations
        nn = lib.nn_alloc(layer_sizes, len(layer_sizes) - 1)
        if nn.archi == ffi.NULL:
            raise MemoryError(f"not enough memory for a network with layers of {list(layer_sizes)} neurons")
        size = lib.nn_num_parameters(nn)
        data, end = (int(ffi.cast("uintptr_t", p)) for p in (nn.weights[0].data, nn.weights[0].data + size))
        start = int(ffi.cast("uintptr_t", nn.archi))
        owner = ffi.gc(ffi.cast("char *", nn.archi), lib.nnpy_free_network, end - start)
        for layer, name in enumerate(activations):
            nn.activation_functions[layer] = ACTIVATIONS[name].kind
        # The views keep the buffer alive, and the buffer keeps the owner: the block lives as long as any of them.
        self._nn = nn
        self._parameters = np.frombuffer(ffi.buffer(owner, end - start), dtype=np.float32, offset=data - start)
        weights, biases, first = [], [], 0
        for rows, columns in pairwise(layer_sizes):
            middle, last = first + rows * columns, first + (rows + 1) * columns
            weights.append(self._parameters[first:middle].reshape(rows, columns))
            biases.append(self._parameters[middle:last])
            first = last
        self._weights, self._biases = ParameterList(weights), ParameterList(biases)

    @property
    def layer_sizes(self) -> tuple[int, ...]:
        """Number of neurons in each layer, the inputs first."""
        return self._layer_sizes

    @property
    def weights(self) -> ParameterList:
        """Weights of each layer: ``weights[l]`` is a view, float32, of shape (layer_sizes[l], layer_sizes[l + 1])."""
        return self._weights

    @property
    def biases(self) -> ParameterList:
        """Biases of each layer: ``biases[l]`` is a view, float32, of shape (layer_sizes[l + 1],)."""
        return self._biases

    @property
    def parameters(self) -> NDArray[np.float32]:
        """All weights and biases as a flat float32 view: weights[0] row by row, biases[0], weights[1], and so on."""
        return self._parameters

    @parameters.setter
    def parameters(self, value: ArrayLike) -> None:
        self._parameters[...] = value

    def __repr__(self) -> str:
        return f"{type(self).__name__}({list(self._layer_sizes)})"

    def __getstate__(self) -> dict[str, Any]:
        return {
            "version": 1,
            "layer_sizes": self._layer_sizes,
            "activations": self._activations,
            "parameters": self._parameters.astype("<f4"),
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        if state.get("version") != 1:
            raise ValueError(f"cannot read a pickled {type(self).__name__} of version {state.get('version')!r}")
        sizes = check_layer_sizes(state["layer_sizes"])
        self._allocate(sizes, check_activations(state["activations"], len(sizes) - 1))
        if np.shape(state["parameters"]) != self._parameters.shape:
            raise ValueError(f"a pickled {type(self).__name__} has {np.shape(state['parameters'])} parameters")
        self._parameters[...] = state["parameters"]


class Gradient(Parameters):
    """The gradient of the loss: its derivatives with respect to the parameters of a network, in the same shapes.

    `NeuralNetwork.backpropagation` and `NeuralNetwork.finite_diff` return it. `weights`, `biases` and `parameters` have the
    shapes of the network's.
    """

    __slots__ = ()

    def __init__(self, layer_sizes: Sequence[int]) -> None:
        sizes = check_layer_sizes(layer_sizes)
        self._allocate(sizes, ("linear",) * (len(sizes) - 1))


_num_forks = 0  # of the processes from the first one to this one


def _count_fork() -> None:
    global _num_forks  # noqa: PLW0603
    _num_forks += 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_count_fork)


class Model(Parameters):
    """A fully connected network without training. See `nnpy.NeuralNetwork`."""

    __slots__ = (
        "_can_choose_activation",
        "_can_choose_scaler",
        "_class_names",
        "_feature_names",
        "_few_call",
        "_locks",
        "_prepared_descent",
        "_prepared_step",
        "_scaling",
        "_seed",
        "_state",
        "_target_names",
    )
    _seed: int | None
    _can_choose_activation: bool
    _can_choose_scaler: bool

    def __init__(
        self, layer_sizes: Sequence[int], activations: str | Sequence[str] | None = None, *, seed: int | None = None
    ) -> None:
        sizes = check_layer_sizes(layer_sizes)
        names = check_activations("sigmoid" if activations is None else activations, len(sizes) - 1)
        number = check_seed(seed)
        self._allocate(sizes, names)
        self._seed, self._can_choose_activation, self._can_choose_scaler = number, activations is None, True
        lib.nn_initialize(self._nn, number)

    def _allocate(self, layer_sizes: tuple[int, ...], activations: tuple[str, ...]) -> None:
        super()._allocate(layer_sizes, activations)
        self._locks: dict[int, threading.RLock] = {}
        self._feature_names: tuple[str, ...] | None = None
        self._class_names: tuple[str, ...] | None = None
        self._target_names: tuple[str, ...] | None = None
        self._state: OptimizerState | None = None  # of partial_fit
        # The last calls of gradient_descent and partial_fit, for the next ones.
        self._prepared_descent: Any = None
        self._prepared_step: Any = None
        # What `fit` may still choose, as long as the parameters are those of the seed.
        self._seed, self._can_choose_activation, self._can_choose_scaler = None, False, False
        self._set_scaler(None)

    @property
    def _lock(self) -> threading.RLock:
        """Held while the network is trained. A child process has another one: a thread that held this one is not there.

        It is reentrant: a signal handler may copy the network that its thread is training.
        """
        # setdefault is atomic: two threads get the same lock.
        return self._locks.get(_num_forks) or self._locks.setdefault(_num_forks, threading.RLock())

    @property
    def activations(self) -> tuple[str, ...]:
        """Name of the activation function of each layer after the inputs."""
        return self._activations

    def __repr__(self) -> str:
        activations = "" if set(self._activations) == {"sigmoid"} else f", {list(self._activations)}"
        return f"{type(self).__name__}({list(self._layer_sizes)}{activations})"

    def __getstate__(self) -> dict[str, Any]:
        with self._lock:
            state = {**super().__getstate__(), "scaler": self.scaler, "feature_names": self._feature_names}
            state |= {"class_names": self._class_names, "target_names": self._target_names}
            state["choices"] = (self._seed, self._can_choose_activation, self._can_choose_scaler)
            if self._state is not None:
                state["optimizer"] = self._state.optimizer
                state["optimizer_state"] = self._state.to_arrays()
            return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._set_scaler(state["scaler"])
        self._feature_names = state["feature_names"]
        self._class_names, self._target_names = state.get("class_names"), state.get("target_names")
        self._seed, self._can_choose_activation, self._can_choose_scaler = state.get("choices", (None, False, False))
        if "optimizer" in state:
            self._state = OptimizerState(state["optimizer"], self._parameters.size)
            self._state.set_from_arrays(state["optimizer_state"])

    # ---- Scaler and names of the inputs ----

    @property
    def scaler(self) -> Scaler | None:
        """Mean and scale of the inputs, and of the targets, from `fit_scaler`; None if there is no scaler."""
        return self._scaling.scaler

    def _set_scaler(self, scaler: Scaler | None) -> None:
        scaling = _Scaling.of(self._nn, scaler)
        self._scaling = scaling
        # What `forward` needs for a few samples, in a plain tuple, which is faster to unpack than a named one.
        one_input, one_output = (1, self._layer_sizes[0]), (1, self._layer_sizes[-1])
        self._few_call = (scaling.predictor, scaling.dtype, one_input, one_output, scaling)

    @property
    def feature_names(self) -> tuple[str, ...] | None:
        """Names of the inputs: the columns of the data frame that the network was trained with; None for other arrays.

        A data frame with other columns, or in another order, is refused. Setting them to None removes the check.
        """
        return self._feature_names

    @feature_names.setter
    def feature_names(self, names: Sequence[str] | None) -> None:
        self._feature_names = check_feature_names(names, self._layer_sizes[0])

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """Names of the classes: one for each output, two for a single output; None if they have no names.

        ``nnpy train`` sets them. `predict_classes` returns numbers; ``net.class_names[i]`` is the name of class i.
        """
        return self._class_names

    @class_names.setter
    def class_names(self, names: Sequence[str] | None) -> None:
        self._class_names = check_class_names(names, self._layer_sizes[-1])

    @property
    def target_names(self) -> tuple[str, ...] | None:
        """Names of the targets: one for each output of a regression, a single one for classes; None if they have no names."""
        return self._target_names

    @target_names.setter
    def target_names(self, names: Sequence[str] | None) -> None:
        self._target_names = check_target_names(names, self._layer_sizes[-1])

    def _check_feature_names(self, x: Any, *, known: tuple[str, ...] | None = None) -> tuple[str, ...] | None:
        """Return the names of the columns of x if x has some; a ValueError if the network, or `known`, has other ones."""
        names = feature_names(x)
        known = known or self._feature_names
        if names is None or known is None or names == known:
            return names
        if set(names) == set(known):
            raise ValueError(f"the columns of x are in another order than in training: pass x[{list(known)!r}]")
        missing, unknown = [n for n in known if n not in names], [n for n in names if n not in known]
        parts = [
            f"{label} {', '.join(map(repr, some))}" for label, some in (("missing", missing), ("new", unknown)) if some
        ]
        raise ValueError(f"the columns of x are not those of training: {'; '.join(parts)}")

    # ---- Initial values ----

    def randomize(self, low: float = 0.0, high: float = 1.0, *, seed: int | None = None) -> None:
        """Set every weight and bias to a random number from [low, high].

        Parameters
        ----------
        low, high : float
            The range, low <= high.
        seed : int, optional
            0 to 2**32 - 1; the same seed gives the same numbers on every platform. Without it they differ from call to call.

        Raises
        ------
        TypeError, ValueError
            If the range is empty or not finite in float32, or `seed` is out of range.

        Notes
        -----
        The generator is the minimal standard of Park and Miller, state = 16807 state mod (2**31 - 1) with the seed as the
        first state. Numbers are drawn layer by layer, weights row by row and then biases [1]_.

        References
        ----------
        .. [1] S. K. Park and K. W. Miller, "Random number generators: good ones are hard to find", CACM 31, 1988.

        Examples
        --------
        >>> import nnpy
        >>> net = nnpy.NeuralNetwork([2, 1])
        >>> net.randomize(-1.0, 1.0, seed=69)
        >>> net.parameters
        array([-0.99891996, -0.84778523, -0.7264655 ], dtype=float32)
        """
        low, high = real(low, "low"), real(high, "high")
        if low > high:
            raise ValueError(f"low must not be above high, got {low} and {high}")
        if high - low > FLOAT_MAX:
            raise ValueError(f"high - low must be finite in float32, got {low} and {high}")
        seed = check_seed(seed, 32)
        with self._lock:
            lib.nn_rand_minstd(self._nn, low, high, seed)
            self._state = None

    # ---- Outputs ----

    def forward(self, x: ArrayLike) -> NDArray[Any]:
        """Compute the outputs of the network.

        Parameters
        ----------
        x : array_like of real numbers, shape (n, n_inputs)
            One sample per row. float32 with unit column stride is used in place; anything else is converted once.

        Returns
        -------
        out : ndarray of float32, shape (n, n_outputs)
            A new array. If targets are scaled it is float64, in the units of the targets.

        Raises
        ------
        TypeError, ValueError
            If `x` is not finite real numbers in that shape.

        Examples
        --------
        >>> import nnpy
        >>> net = nnpy.NeuralNetwork([2, 1])
        >>> net.parameters = 0
        >>> net.forward([[1, 2], [3, 4]])
        array([[0.5],
               [0.5]], dtype=float32)
        """
        if type(x) is _ndarray and x.dtype is _FLOAT32:
            predictor, dtype, one_input, one_output, _keep_alive = self._few_call
            shape = x.shape
            if shape == one_input:
                num, out = 1, _empty(one_output, dtype)
            elif len(shape) == 2 and shape[1] == one_input[1]:
                num, out = shape[0], _empty((shape[0], one_output[1]), dtype)
            else:
                return self._forward_batch(x)
            try:
                if not _predict_few(predictor, _from_buffer(x), num, _from_buffer(out)):
                    return out
            except ValueError:  # x is not C-contiguous
                pass
        return self._forward_batch(x)

    predict = forward

    def _forward_batch(self, x: ArrayLike) -> NDArray[Any]:
        """Do what `forward` does, for any x. It is a function of its own because a closure would slow `forward` down."""
        self._check_feature_names(x)
        inputs, scaling = self._inputs(x)
        out32 = np.empty((len(inputs), self._layer_sizes[-1]), dtype=np.float32)
        call(
            lib.nn_predict,
            self._nn,
            scaling.c,
            as_matrix(inputs),
            as_matrix(out32),
            backend[0],
            on_not_finite=lambda: self._refuse_inputs(inputs, scaling),
        )
        return self._in_units(out32, scaling)

    def _inputs(self, x: ArrayLike) -> tuple[NDArray[np.float32], _Scaling]:
        """Check inputs, and return them as float32 with the scaling that goes with them.

        C scales float32 inputs as it reads them. Others are scaled here, in float64, and C has nothing left to scale.
        """
        table, scaling = as_table(x, "x", self._layer_sizes[0], what="input"), self._scaling
        if scaling.scaler is None or table.dtype == np.float32:
            return to_float32(table), scaling
        return scaling.scaler.scale_x(table), scaling._replace(c=ffi.NULL)

    @staticmethod
    def _refuse_inputs(inputs: NDArray[np.float32], scaling: _Scaling) -> None:
        """Raise a ValueError that names the first input that is not finite, before or after scaling."""
        scaler = None if scaling.c == ffi.NULL else scaling.scaler  # C scales as it reads
        check_finite(inputs, "x", convert=None if scaler is None else scaler.scale_x)

    @staticmethod
    def _in_units(out: NDArray[np.float32], scaling: _Scaling) -> NDArray[Any]:
        """Return outputs of the last layer in the units of the targets."""
        if scaling.scaler is None or scaling.scaler.y_mean is None:
            return out
        return scaling.scaler.unscale_y(out)

    def layer_outputs(self, x: ArrayLike) -> list[NDArray[Any]]:
        """Compute the outputs of every layer.

        Parameters
        ----------
        x : array_like of real numbers, shape (n, n_inputs)
            One sample per row.

        Returns
        -------
        outputs : list of ndarray of float32
            ``outputs[l]`` has the shape (n, layer_sizes[l + 1]); hidden layers come first, and the last one is what `predict`
            returns.

        Raises
        ------
        TypeError, ValueError
            If `x` is not finite real numbers in that shape.

        Examples
        --------
        >>> import nnpy
        >>> net = nnpy.NeuralNetwork([2, 3, 1], seed=0)
        >>> [out.shape for out in net.layer_outputs([[1, 2], [3, 4]])]
        [(2, 3), (2, 1)]
        """
        self._check_feature_names(x)
        inputs, scaling = self._inputs(x)
        outputs: list[NDArray[Any]] = [np.empty((len(inputs), n), np.float32) for n in self._layer_sizes[1:]]
        matrices = ffi.new("Matrix[]", [as_matrix(out) for out in outputs])
        call(
            lib.nn_layer_outputs,
            self._nn,
            scaling.c,
            as_matrix(inputs),
            matrices,
            backend[0],
            on_not_finite=lambda: self._refuse_inputs(inputs, scaling),
        )
        outputs[-1] = self._in_units(outputs[-1], scaling)
        return outputs

    # ---- Loss ----

    def loss(
        self,
        x: ArrayLike,
        y: ArrayLike,
        *,
        loss: Loss | str | None = None,
        sample_weight: ArrayLike | None = None,
        missing: Literal["raise", "ignore"] = "raise",
    ) -> float:
        """Compute the loss, summed over the outputs and averaged over the samples.

        Parameters
        ----------
        x : array_like of real numbers, shape (n, n_inputs)
            Inputs, one sample per row.
        y : array_like of real numbers, shape (n, n_outputs)
            Targets; of shape (n,) for a network with one output. With the cross-entropy, integer labels of shape (n,) or rows
            of probabilities.
        loss : Loss or str, optional
            The loss, such as "mae" or ``nnpy.Huber(0.5)``. The default is the cross-entropy if the last activation is
            "softmax", else the squared error.
        sample_weight : array_like of real numbers, shape (n,), optional
            Weights w of the samples: the average is sum_i w_i C_i / sum_i w_i.
        missing : {"raise", "ignore"}
            The meaning of NaN in y: an error, or a missing target, whose term is left out of the loss. A sample without any
            target is left out of the average.

        Returns
        -------
        loss : float
            In the units of `y`, also where targets are scaled.

        Raises
        ------
        TypeError, ValueError
            If an argument is not of that form, or `x` and `y` have no rows.

        Examples
        --------
        >>> import nnpy
        >>> net = nnpy.NeuralNetwork([1, 1], "linear")
        >>> net.parameters = [2, 0]
        >>> net.loss([[1], [2]], [2, 5]), net.loss([[1], [2]], [2, 5], loss="mae")
        (0.5, 0.5)
        """
        kind = check_loss(loss, self._activations[-1])
        model, scaler = self._in_units_of_targets()
        return model._evaluate(
            model._samples(x, y, kind, scaler=scaler, sample_weight=sample_weight, missing=missing), kind
        )

    def mse(self, x: ArrayLike, y: ArrayLike) -> float:
        """Compute the squared error, C = 1/n sum_i sum_j (a_ij - y_ij)**2: summed over the outputs, averaged over the samples.

        Parameters
        ----------
        x : array_like of real numbers, shape (n, n_inputs)
            Inputs, one sample per row.
        y : array_like of real numbers, shape (n, n_outputs)
            Targets; of shape (n,) for a network with one output.

        Returns
        -------
        mse : float
            In the units of `y`, also where targets are scaled.

        Raises
        ------
        TypeError, ValueError
            If `x` and `y` are not finite real numbers in those shapes, or have no rows.

        Examples
        --------
        >>> import nnpy
        >>> net = nnpy.NeuralNetwork([1, 1], "linear")
        >>> net.parameters = [2, 0]
        >>> net.mse([[1], [2]], [2, 5])
        0.5
        """
        return self.loss(x, y, loss=LOSSES["mse"])

    def _in_units_of_targets(self) -> tuple[Model, Scaler | None]:
        """Return a model whose last layer predicts y - y_mean, and a scaler for it that leaves the scale of y as it is.

        The last activation f has f(s z) = s f(z) if targets are scaled, so that the scale can move into weights and biases.
        """
        scaler = self.scaler
        if scaler is None or scaler.y_mean is None or scaler.y_scale is None:
            return self, scaler
        model = Model(self._layer_sizes, self._activations, seed=0)
        model.parameters = self._parameters
        scale = scaler.y_scale.astype(np.float32)
        with np.errstate(over="ignore", invalid="ignore"):  # the loss is infinite then
            model._weights[-1] *= scale
            model._biases[-1] *= scale
        model._feature_names = self._feature_names
        return model, scaler._replace(y_scale=np.ones_like(scaler.y_scale))

    # ---- Gradients ----

    def backpropagation(
        self,
        x: ArrayLike,
        y: ArrayLike,
        *,
        loss: Loss | str | None = None,
        sample_weight: ArrayLike | None = None,
        missing: Literal["raise", "ignore"] = "raise",
    ) -> Gradient:
        """Compute the gradient of the loss with respect to every weight and bias.

        Parameters
        ----------
        x, y, loss, sample_weight, missing
            As in `loss`.

        Returns
        -------
        grad : Gradient
            ``grad.weights``, ``grad.biases`` and ``grad.parameters`` in the shapes of the network's. It is what training
            uses: if targets are scaled, the gradient of the loss of the scaled targets.

        Raises
        ------
        TypeError, ValueError
            If an argument is not of that form, or `x` and `y` have no rows.

        Notes
        -----
        The formula is that of Rumelhart, Hinton and Williams, "Learning representations by back-propagating errors", Nature
        323, 1986: with d = dC_i/dz, d_j = dC_i/da_j f'(z_j) for the output layer, and d_k = sum_j d_j w_kj f'(z_k) for the
        layer before; then dC_i/dw_kj = d_j a_k and dC_i/db_j = d_j. For the squared error and the sigmoid,
        dC_i/da_j = 2 (a_j - y_j) and f'(z) = a (1 - a).

        Examples
        --------
        >>> import nnpy
        >>> net = nnpy.NeuralNetwork([1, 1], "linear")
        >>> net.parameters = [2, 0]
        >>> grad = net.backpropagation([[1], [2]], [2, 5])
        >>> grad.weights[0], grad.biases[0]
        (array([[-2.]], dtype=float32), array([-1.], dtype=float32))
        """
        kind = check_loss(loss, self._activations[-1])
        samples = self._samples(x, y, kind, scaler=self.scaler, sample_weight=sample_weight, missing=missing)
        return self._gradient(samples, kind)

    def input_gradient(
        self,
        x: ArrayLike,
        y: ArrayLike,
        *,
        loss: Loss | str | None = None,
        sample_weight: ArrayLike | None = None,
        missing: Literal["raise", "ignore"] = "raise",
    ) -> NDArray[np.float32]:
        """Compute the gradient of `loss` with respect to every input: how the loss depends on each of them.

        Parameters
        ----------
        x, y, loss, sample_weight, missing
            As in `loss`.

        Returns
        -------
        gradient : ndarray of float32, shape (n, n_inputs)
            The derivatives of the mean loss, in the units of `x` and `y`: those of the loss of each sample, divided by n.

        Raises
        ------
        TypeError, ValueError
            If an argument is not of that form, or `x` and `y` have no rows.

        Examples
        --------
        >>> import nnpy
        >>> net = nnpy.NeuralNetwork([1, 1], "linear")
        >>> net.parameters = [2, 0]
        >>> net.input_gradient([[1], [2]], [2, 5])
        array([[ 0.],
               [-2.]], dtype=float32)
        """
        kind = check_loss(loss, self._activations[-1])
        model, scaler = self._in_units_of_targets()
        samples = model._samples(x, y, kind, scaler=scaler, sample_weight=sample_weight, missing=missing)
        gradient = np.empty((len(samples), self._layer_sizes[0]), dtype=np.float32)
        model._gradient(samples, kind, input_gradient=gradient)
        if scaler is None:
            return gradient
        with np.errstate(over="ignore", invalid="ignore"):
            return np.asarray(gradient / scaler.x_scale, dtype=np.float32)

    def jacobian(self, x: ArrayLike) -> NDArray[np.float32]:
        """Compute the derivative of each output with respect to each input, for every sample.

        Parameters
        ----------
        x : array_like of real numbers, shape (n, n_inputs)
            One sample per row.

        Returns
        -------
        jacobian : ndarray of float32, shape (n, n_outputs, n_inputs)
            ``jacobian[i, k, j]`` is the derivative of output k with respect to input j for sample i, in the units of `x` and of
            what `predict` returns.

        Raises
        ------
        TypeError, ValueError
            If `x` is not finite real numbers in that shape.
        MemoryError
            If the result does not fit into memory.

        Notes
        -----
        With no more outputs than inputs, a backward pass is computed for each output; else a forward pass of the derivatives
        for each input. Where "relu" or "leaky_relu" has a kink, the derivative is that of its left side.

        Examples
        --------
        >>> import nnpy
        >>> net = nnpy.NeuralNetwork([2, 1], "linear")
        >>> net.parameters = [3, -1, 5]
        >>> net.jacobian([[0, 0], [1, 2]])
        array([[[ 3., -1.]],
        <BLANKLINE>
               [[ 3., -1.]]], dtype=float32)
        """
        self._check_feature_names(x)
        inputs, scaling = self._inputs(x)
        result = np.empty((len(inputs), self._layer_sizes[-1], self._layer_sizes[0]), dtype=np.float32)
        if len(inputs):
            call(
                lib.nn_jacobian,
                self._nn,
                scaling.c,
                scaling.predictor.scaler,  # also where the inputs are scaled already
                as_matrix(inputs),
                ffi.from_buffer("float[]", result),
                backend[0],
                on_not_finite=lambda: self._refuse_inputs(inputs, scaling),
            )
        return result

    def finite_diff(self, x: ArrayLike, y: ArrayLike, *, eps: float = 1e-1, loss: Loss | str | None = None) -> Gradient:
        """Estimate the gradient of the loss by finite differences, (C(p + eps) - C(p)) / eps for every parameter p.

        Parameters
        ----------
        x : array_like of real numbers, shape (n, n_inputs)
            Inputs, one sample per row.
        y : array_like of real numbers, shape (n, n_outputs)
            Targets; of shape (n,) for a network with one output. With "softmax", rows of probabilities.
        eps : float
            The difference, positive. The error of the formula grows with eps, that of float32 with 1e-7 / eps.
        loss : Loss or str, optional
            As in `loss`.

        Returns
        -------
        grad : Gradient
            As that of `backpropagation`.

        Raises
        ------
        TypeError, ValueError
            If `x` and `y` are not finite real numbers in those shapes, or have no rows, or `eps` is not positive.

        Examples
        --------
        >>> import nnpy
        >>> net = nnpy.NeuralNetwork([1, 1], "linear")
        >>> net.parameters = [2, 0]
        >>> net.finite_diff([[1], [2]], [2, 5], eps=0.5).parameters
        array([-0.75, -0.5 ], dtype=float32)
        """
        eps = positive(eps, "eps")
        kind = check_loss(loss, self._activations[-1])
        samples = self._unlabelled_samples(x, y, kind)
        grad = Gradient(self._layer_sizes)
        call(lib.nn_finite_diff_gradient, self._nn_with_loss(kind), grad._nn, eps, samples.c.x, samples.c.y)
        return grad

    # ---- For training and inspection ----

    def _is_untrained(self) -> bool:
        """Whether the parameters are those that the seed gave them."""
        if self._seed is None:
            return False
        initial = Model(self._layer_sizes, self._activations, seed=self._seed)
        return np.array_equal(self._parameters, initial._parameters)

    def _set_last_activation(self, name: str) -> None:
        """Change the activation function of the last layer, and set the initial parameters that go with it."""
        assert self._seed is not None
        self._activations = (*self._activations[:-1], name)
        self._prepared_descent = self._prepared_step = None  # they have the loss that went with the old one
        self._nn.activation_functions[len(self._activations) - 1] = ACTIVATIONS[name].kind
        lib.nn_initialize(self._nn, self._seed)

    def _nn_with_loss(self, loss: Loss) -> Any:
        """Return the C struct of the network with that loss."""
        nn = ffi.new("NeuralNetwork *", self._nn)
        nn.loss = loss._fields()
        return nn[0]

    def _samples(
        self, x: ArrayLike | Inputs, y: ArrayLike, loss: Loss, *, scaler: Scaler | None, **options: Any
    ) -> Samples:
        """Check inputs and targets; options are those of `as_samples`."""
        self._check_feature_names(x)
        return as_samples(x, y, self._layer_sizes, self._activations[-1], loss=loss, scaler=scaler, **options)

    def _training_samples(self, x: ArrayLike | Inputs, y: ArrayLike, loss: Loss, **options: Any) -> Samples:
        """Do the same as `_samples` for training: check the range of the targets, and copy views of the parameters."""
        return self._samples(x, y, loss, scaler=self.scaler, check_range=True, copy_if_in=self._parameters, **options)

    def _unlabelled_samples(self, x: ArrayLike, y: ArrayLike, loss: Loss, *, for_training: bool = False) -> Samples:
        """Return samples for the functions of nn.h, which take no labels, do not scale and do not check for NaN."""
        samples = self._training_samples(x, y, loss) if for_training else self._samples(x, y, loss, scaler=self.scaler)
        if samples.y.dtype != np.float32:
            raise ValueError("finite differences need y as rows of probabilities, got labels")
        samples.check_inputs()
        return samples.scaled()

    def _evaluate(self, samples: Samples, loss: Loss, *, out: NDArray[np.float32] | None = None) -> float:
        """Return the loss of samples, and write the outputs of the last layer to out, shape (n, n_outputs), if it is given."""
        result = ffi.new("double *")
        call(
            lib.nn_evaluate,
            self._nn_with_loss(loss),
            samples.c[0],
            NO_MATRIX if out is None else as_matrix(out),
            result,
            backend[0],
            on_not_finite=samples.check_inputs,
        )
        return float(result[0])

    def _gradient(self, samples: Samples, loss: Loss, *, input_gradient: NDArray[np.float32] | None = None) -> Gradient:
        """Return the gradient, and write the derivatives with respect to the inputs to input_gradient, shape (n, n_inputs)."""
        return self._loss_and_gradient(samples, loss, input_gradient=input_gradient)[1]

    def _loss_and_gradient(
        self, samples: Samples, loss: Loss, *, input_gradient: NDArray[np.float32] | None = None
    ) -> tuple[float, Gradient]:
        grad, value = Gradient(self._layer_sizes), ffi.new("double *")
        call(
            lib.nn_gradient,
            self._nn_with_loss(loss),
            grad._nn,
            NO_MATRIX if input_gradient is None else as_matrix(input_gradient),
            samples.c[0],
            value,
            backend[0],
            on_not_finite=samples.check_inputs,
        )
        return float(value[0]), grad
