"""Networks and gradients: one C allocation each, seen through numpy views."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any, Literal, SupportsIndex, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nnpy import _fit, _inspection
from nnpy._arrays import Samples, as_array, as_matrix, as_samples, check_finite
from nnpy._ffi import call, ffi, lib
from nnpy._validation import FLOAT_MAX, FUNCTIONS, check_functions, check_layer_sizes, integer, positive, random_seed, real
from nnpy._history import DivergenceError, History
from nnpy._losses import LOSSES, Loss, check_loss
from nnpy._backend import backend
from nnpy._optimizers import Optimizer, OptimizerState
from nnpy._scaler import Scaler

__all__ = ["Gradient", "NeuralNetwork", "load"]

# Looked up once: `forward` of one sample takes about as long as a few look-ups.
_FLOAT32: np.dtype[np.float32] = np.dtype(np.float32)
_NULL = ffi.NULL
_ndarray, _from_buffer, _predict_one = np.ndarray, ffi.from_buffer, lib.nn_predict_one
_empty: Callable[..., NDArray[np.float32]] = np.empty


class ParameterList(Sequence[NDArray[np.float32]]):
    """The arrays of the layers, which are views: an assignment to an item writes into the network."""

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


class Parameters:
    """One number for each weight and bias of an architecture, in one block of memory that C allocated.

    The base of `NeuralNetwork` and `Gradient`.
    """

    __slots__ = ("__weakref__", "_activations", "_biases", "_layer_sizes", "_nn", "_parameters", "_weights")

    def _allocate(self, layer_sizes: tuple[int, ...], activations: tuple[str, ...]) -> None:
        """Allocate the block, all zero, and lay the views over it."""
        self._layer_sizes = layer_sizes
        self._activations = activations
        nn = lib.nn_alloc(layer_sizes, len(layer_sizes) - 1)
        if nn.archi == ffi.NULL:
            raise MemoryError(f"not enough memory for a network with layers of {list(layer_sizes)} neurons")
        size = lib.nn_num_parameters(nn)
        owner = ffi.gc(nn.weights[0].data, lambda _: lib.nn_free(nn), 4 * size)
        for layer, name in enumerate(activations):
            nn.activation_functions[layer] = FUNCTIONS[name]
        # The views keep the buffer, the buffer keeps the owner: the block lives as long as any of them.
        self._nn = nn
        self._parameters = np.frombuffer(ffi.buffer(owner, 4 * size), dtype=np.float32)
        weights, biases, start = [], [], 0
        for rows, columns in pairwise(layer_sizes):
            middle, end = start + rows * columns, start + (rows + 1) * columns
            weights.append(self._parameters[start:middle].reshape(rows, columns))
            biases.append(self._parameters[middle:end])
            start = end
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
        """All weights and biases, a flat float32 view: weights[0] row by row, biases[0], weights[1], and so on."""
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
        self._allocate(sizes, check_functions(state["activations"], len(sizes) - 1))
        if np.shape(state["parameters"]) != self._parameters.shape:
            raise ValueError(f"a pickled {type(self).__name__} has {np.shape(state['parameters'])} parameters")
        self._parameters[...] = state["parameters"]


class Gradient(Parameters):
    """The gradient of the cost of a network: a derivative for each of its parameters, in the same shapes.

    `NeuralNetwork.backpropagation` and `NeuralNetwork.finite_diff` return it; `weights`, `biases` and `parameters` are as
    those of the network.
    """

    __slots__ = ()

    def __init__(self, layer_sizes: Sequence[int]) -> None:
        sizes = check_layer_sizes(layer_sizes)
        self._allocate(sizes, ("linear",) * (len(sizes) - 1))


class NeuralNetwork(Parameters):
    """A fully connected network: in every layer, a = f(a_previous @ weights + biases).

    Parameters
    ----------
    layer_sizes : sequence of int
        Number of neurons in each layer, the inputs first: ``[2, 2, 1]`` has two inputs, two hidden neurons, one output.
    activations : str or sequence of str
        The function f of all layers, or of each layer but the inputs: "sigmoid", "tanh", "relu", "leaky_relu", "elu",
        "softplus", "silu", "gelu", "linear" or, for the last layer, "softmax".
    seed : int, optional
        Of the initial weights, 0 to 2**64 - 1; the same seed gives the same network on every platform. Without it they are
        different each time.

    Raises
    ------
    TypeError, ValueError
        If `layer_sizes` is not a sequence of at least two positive integers, an activation is unknown, or `seed` is out of
        range.
    MemoryError
        If the parameters do not fit into memory.

    Notes
    -----
    With z = a_previous @ weights + biases, the functions are

    ============ =====================================================
    "sigmoid"    1 / (1 + exp(-z))
    "tanh"       tanh(z)
    "relu"       max(z, 0)
    "leaky_relu" z, or 0.01 z where z < 0
    "elu"        z, or exp(z) - 1 where z < 0
    "softplus"   log(1 + exp(z))
    "silu"       z / (1 + exp(-z)), also called swish
    "gelu"       z (1 + erf(z / sqrt(2))) / 2, not its tanh estimate
    "linear"     z
    "softmax"    exp(z_j) / sum_i exp(z_i)
    ============ =====================================================

    Weights begin uniform in [-r, r], in a layer of "sigmoid" or "tanh" with r = sqrt(6 / (fan_in + fan_out)) [1]_, in others
    with r = 1 / sqrt(fan_in), the proportion of [2]_ and the size that PyTorch takes; biases begin at zero.

    The loss is the squared error or, with "softmax", the cross-entropy, where nothing else is said: `fit`, `loss` and others
    take one by name, or an object: "mse" (`MeanSquaredError`), "mean_absolute_error" (`MeanAbsoluteError`), "huber" (`Huber`),
    "pinball" (`Pinball`), "binary_cross_entropy" (`BinaryCrossEntropy`) or "cross_entropy" (`CrossEntropy`). Each is summed
    over the outputs and averaged over the samples.

    What is computed depends on the numbers alone: the bits are the same for any number of threads, on every processor.
    (Finite differences are an exception: they use the C library's exp.)

    Many threads may call `predict`, `loss`, `mse`, `backpropagation` and `finite_diff` of one network at once. Calls that
    change it take turns. What is computed while another thread changes the parameters uses some mixture of the old and the
    new.

    References
    ----------
    .. [1] X. Glorot and Y. Bengio, "Understanding the difficulty of training deep feedforward neural networks", AISTATS
       2010, equation 16.
    .. [2] Y. LeCun, L. Bottou, G. Orr and K.-R. Mueller, "Efficient BackProp", 1998, section 4.6.

    Examples
    --------
    >>> import nnpy
    >>> net = nnpy.NeuralNetwork([3, 4, 2], ["relu", "softmax"], seed=0)
    >>> net
    NeuralNetwork([3, 4, 2], ['relu', 'softmax'])
    >>> net.weights[0].shape, net.biases[0].shape, net.parameters.shape
    ((3, 4), (4,), (26,))
    """

    __slots__ = ("_address", "_isa", "_lock", "_one_result", "_one_row", "_scaler", "_state")

    def __init__(
        self, layer_sizes: Sequence[int], activations: str | Sequence[str] = "sigmoid", *, seed: int | None = None
    ) -> None:
        sizes = check_layer_sizes(layer_sizes)
        names = check_functions(activations, len(sizes) - 1)
        seed = random_seed(64) if seed is None else integer(seed, "seed", 0, 2**64 - 1)
        self._allocate(sizes, names)
        lib.nn_initialize(self._nn, seed)

    def _allocate(self, layer_sizes: tuple[int, ...], activations: tuple[str, ...]) -> None:
        super()._allocate(layer_sizes, activations)
        self._lock = threading.RLock()  # a signal handler may copy the network that its thread is training
        self._address, self._isa = ffi.addressof(self._nn), backend.isa
        self._one_row, self._one_result = (1, layer_sizes[0]), (1, layer_sizes[-1])
        self._scaler: Scaler | None = None
        self._state: OptimizerState | None = None  # of partial_fit

    @property
    def activations(self) -> tuple[str, ...]:
        """Name of the function of each layer but the inputs."""
        return self._activations

    def __repr__(self) -> str:
        functions = "" if set(self._activations) == {"sigmoid"} else f", {list(self._activations)}"
        return f"{type(self).__name__}({list(self._layer_sizes)}{functions})"

    def __getstate__(self) -> dict[str, Any]:
        with self._lock:
            state = {**super().__getstate__(), "scaler": self._scaler}
            if self._state is not None:
                state["optimizer"] = self._state.optimizer
                state.update(self._state.to_arrays("optimizer/"))
            return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._scaler = state.get("scaler")
        if "optimizer" in state:
            self._state = OptimizerState(state["optimizer"], self._parameters.size)
            self._state.from_arrays(state, "optimizer/")

    @property
    def scaler(self) -> Scaler | None:
        """Mean and scale of the inputs, and of the targets, that `fit_scaler` has taken; None without."""
        return self._scaler

    def fit_scaler(self, x: ArrayLike | None, y: ArrayLike | None = None) -> None:
        """Take mean and standard deviation of each input, and of each target, into the network.

        From now on everything that is passed as inputs is scaled first, (x - mean) / deviation, and with `y` what the last
        layer gives is scaled back, so that `predict` answers in the units of y. They travel with the network through copies,
        pickle and `save`. Networks learn best from numbers around 0 of size 1.

        Parameters
        ----------
        x : array_like of real numbers, shape (n, n_inputs), or None
            The inputs to take them from, before any scaling: those of training. None removes the scaler.
        y : array_like of real numbers, shape (n, n_outputs), optional
            Targets of a regression; NaN, a missing one, is left out. With it, losses are those of the scaled targets; `mse` is
            in the units of y.

        Raises
        ------
        TypeError, ValueError
            If they are not finite real numbers in those shapes, or have no rows, or if there are targets and the last layer is
            "softmax" or "sigmoid", which can only give numbers from 0 to 1.

        Notes
        -----
        A column that never changes has the deviation 1. Computed in float64, stored as float32.

        Examples
        --------
        >>> import nnpy
        >>> net = nnpy.NeuralNetwork([2, 1], "linear")
        >>> net.fit_scaler([[0, 100], [2, 300]], [5, 7])
        >>> net.scaler.x_mean, net.scaler.x_scale
        (array([  1., 200.], dtype=float32), array([  1., 100.], dtype=float32))
        """
        if x is None:
            if y is not None:
                raise ValueError("y needs x: fit_scaler(None) removes the scaler")
            self._scaler = None
            return
        inputs = as_array(x, "x", self._layer_sizes[0], what="input")
        targets = None if y is None else as_array(y, "y", self._layer_sizes[-1], what="output")
        if len(inputs) == 0 or (targets is not None and len(targets) == 0):
            raise ValueError("x and y must have at least one row, got none")
        if targets is not None and self._activations[-1] in {"softmax", "sigmoid"}:
            raise ValueError(f'targets cannot be scaled for a last layer of "{self._activations[-1]}"')
        check_finite(inputs, "x")
        if targets is not None:
            check_finite(np.where(np.isnan(targets), np.float32(0), targets), "y")
        scaler = Scaler.of(inputs, targets)
        with self._lock:
            self._scaler = scaler

    def summary(self) -> str:
        """Describe the network in a table: a line for each layer, with its shape, function and number of parameters.

        Examples
        --------
        >>> import nnpy
        >>> print(nnpy.NeuralNetwork([784, 128, 10], ["relu", "softmax"]).summary())
        layer  shape      activation  parameters
            1  784 x 128  relu           100,480
            2  128 x 10   softmax          1,290
        total                            101,770  (398 KiB of float32)
        """
        return _inspection.summary(self)

    def _repr_html_(self) -> str:
        """Show the layers in a table, for a notebook."""
        from nnpy import _html

        return _html.network(self)

    def randomize(self, low: float = 0.0, high: float = 1.0, *, seed: int | None = None) -> None:
        """Set every weight and bias to a random number from [low, high].

        Parameters
        ----------
        low, high : float
            The range, low <= high.
        seed : int, optional
            0 to 2**32 - 1; the same seed gives the same numbers on every platform. Without it they are different each time.

        Raises
        ------
        TypeError, ValueError
            If the range is empty or not finite in float32, or `seed` is out of range.

        Notes
        -----
        The generator is the minimal standard of Park and Miller, state = 16807 state mod (2**31 - 1) with the seed as the
        first state, drawn layer by layer, weights row by row and then biases [1]_.

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
        seed = random_seed(32) if seed is None else integer(seed, "seed", 0, 2**32 - 1)
        with self._lock:
            lib.nn_rand_minstd(self._nn, low, high, seed)
            self._state = None

    def forward(self, x: ArrayLike) -> NDArray[np.float32]:
        """Compute the outputs of the network.

        Parameters
        ----------
        x : array_like of real numbers, shape (n, n_inputs)
            One sample a row. float32 with unit column stride is used in place; anything else is converted once.

        Returns
        -------
        out : ndarray of float32, shape (n, n_outputs)
            A new array. It has no rows if `x` has none.

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
        out: NDArray[np.float32]
        if type(x) is _ndarray and x.shape == self._one_row and x.dtype is _FLOAT32 and self._scaler is None:
            out = _empty(self._one_result, _FLOAT32)
            try:
                if not _predict_one(self._address, _NULL, _from_buffer(x), _from_buffer(out), self._isa):
                    return out
            except ValueError:  # its numbers do not lie next to each other
                pass
        inputs = self._inputs(x)
        out = np.empty((len(inputs), self._layer_sizes[-1]), dtype=np.float32)
        call(
            lib.nn_predict,
            self._nn,
            ffi.NULL,
            as_matrix(inputs),
            as_matrix(out),
            backend[0],
            refuse=lambda: check_finite(inputs, "x"),
        )
        return out if self._scaler is None else self._scaler.unscale_y(out)

    predict = forward

    def layer_outputs(self, x: ArrayLike) -> list[NDArray[np.float32]]:
        """Compute what every layer gives, the hidden ones first.

        Parameters
        ----------
        x : array_like of real numbers, shape (n, n_inputs)
            One sample a row.

        Returns
        -------
        outputs : list of ndarray of float32
            ``outputs[l]`` has the shape (n, layer_sizes[l + 1]); the last one is what `predict` returns.

        Raises
        ------
        TypeError, ValueError
            If `x` is not finite real numbers in that shape.
        """
        inputs = self._inputs(x)
        outputs: list[NDArray[np.float32]] = [np.empty((len(inputs), n), np.float32) for n in self._layer_sizes[1:]]
        matrices = ffi.new("Matrix[]", [as_matrix(out) for out in outputs])
        refuse = lambda: check_finite(inputs, "x")  # noqa: E731
        call(lib.nn_layer_outputs, self._nn, ffi.NULL, as_matrix(inputs), matrices, backend[0], refuse=refuse)
        if self._scaler is not None:
            self._scaler.unscale_y(outputs[-1])
        return outputs

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
            Inputs, one sample a row.
        y : array_like of real numbers, shape (n, n_outputs)
            Targets; shape (n,) will do for a network with one output. With the cross-entropy, rows of probabilities or integer
            labels of shape (n,).
        loss : Loss or str, optional
            What is made small, such as "huber"; by default the squared error, or the cross-entropy with "softmax".
        sample_weight : array_like of real numbers, shape (n,), optional
            How much each sample counts: the average is sum_i w_i C_i / sum_i w_i.
        missing : {"raise", "ignore"}
            What NaN in y means: an error, or a target that is not there, whose output has no part in the loss. A sample without
            any target does not count in the average.

        Returns
        -------
        loss : float
            Of the scaled targets, if `fit_scaler` has had some.

        Raises
        ------
        TypeError, ValueError
            If `x` and `y` are not finite real numbers in those shapes, or have no rows, or another argument is of another form.
        """
        kind = check_loss(loss, self._activations[-1])
        samples = self._samples(x, y, kind, sample_weight=sample_weight, missing=missing)
        return self._evaluate(samples, kind)

    def mse(self, x: ArrayLike, y: ArrayLike) -> float:
        """Compute the cost, C = 1/n sum_i sum_j (a_ij - y_ij)**2: summed over the outputs, averaged over the samples.

        Parameters
        ----------
        x : array_like of real numbers, shape (n, n_inputs)
            Inputs, one sample a row.
        y : array_like of real numbers, shape (n, n_outputs)
            Targets; shape (n,) will do for a network with one output.

        Returns
        -------
        cost : float
            Of what `predict` returns, in the units of y.

        Raises
        ------
        TypeError, ValueError
            If `x` and `y` are not finite real numbers in those shapes, or have no rows.
        """
        if self._scaler is None or self._scaler.y_mean is None:
            return self._evaluate(self._samples(x, y, LOSSES["mse"]), LOSSES["mse"])
        targets = as_samples(x, y, self._columns, loss=LOSSES["mse"]).y
        return float(np.square(self.predict(x) - targets, dtype=np.float64).sum(axis=1).mean())

    def backpropagation(
        self,
        x: ArrayLike,
        y: ArrayLike,
        *,
        loss: Loss | str | None = None,
        sample_weight: ArrayLike | None = None,
        missing: Literal["raise", "ignore"] = "raise",
    ) -> Gradient:
        """Compute the gradient of `loss` with respect to every weight and bias, exactly.

        Parameters
        ----------
        x : array_like of real numbers, shape (n, n_inputs)
            Inputs, one sample a row.
        y : array_like of real numbers, shape (n, n_outputs)
            Targets; shape (n,) will do for a network with one output. With the cross-entropy, rows of probabilities or integer
            labels of shape (n,).
        loss : Loss or str, optional
            What is made small, such as "huber"; by default the squared error, or the cross-entropy with "softmax".
        sample_weight : array_like of real numbers, shape (n,), optional
            How much each sample counts: the average is sum_i w_i C_i / sum_i w_i.
        missing : {"raise", "ignore"}
            What NaN in y means: an error, or a target that is not there, whose output has no part in the loss. A sample without
            any target does not count in the average.

        Returns
        -------
        grad : Gradient
            ``grad.weights``, ``grad.biases`` and ``grad.parameters`` in the shapes of the network's.

        Raises
        ------
        TypeError, ValueError
            If `x` and `y` are not finite real numbers in those shapes, or have no rows, or another argument is of another form.

        Notes
        -----
        The formula is that of Rumelhart, Hinton and Williams, "Learning representations by back-propagating errors", Nature
        323, 1986: with d = dC_i/dz, for the output layer d_j = dC_i/da_j f'(z_j), and for a layer before it
        d_k = sum_j d_j w_kj f'(z_k); then dC_i/dw_kj = d_j a_k and dC_i/db_j = d_j. For the squared error and the sigmoid,
        dC_i/da_j = 2 (a_j - y_j) and f'(z) = a (1 - a).
        """
        kind = check_loss(loss, self._activations[-1])
        samples = self._samples(x, y, kind, sample_weight=sample_weight, missing=missing)
        grad = Gradient(self._layer_sizes)
        self._gradient(samples, kind, grad, ffi.new("Matrix *")[0])
        return grad

    def input_gradient(
        self,
        x: ArrayLike,
        y: ArrayLike,
        *,
        loss: Loss | str | None = None,
        sample_weight: ArrayLike | None = None,
        missing: Literal["raise", "ignore"] = "raise",
    ) -> NDArray[np.float32]:
        """Compute the gradient of `loss` with respect to every input: which of them the loss depends on, and how.

        Parameters
        ----------
        x : array_like of real numbers, shape (n, n_inputs)
            Inputs, one sample a row.
        y : array_like of real numbers, shape (n, n_outputs)
            Targets; shape (n,) will do for a network with one output. With the cross-entropy, rows of probabilities or integer
            labels of shape (n,).
        loss : Loss or str, optional
            What is made small, such as "huber"; by default the squared error, or the cross-entropy with "softmax".
        sample_weight : array_like of real numbers, shape (n,), optional
            How much each sample counts: the average is sum_i w_i C_i / sum_i w_i.
        missing : {"raise", "ignore"}
            What NaN in y means: an error, or a target that is not there, whose output has no part in the loss. A sample without
            any target does not count in the average.

        Returns
        -------
        gradient : ndarray of float32, shape (n, n_inputs)
            The derivative of the mean loss by x: that of the loss of each sample, divided by n.

        Raises
        ------
        TypeError, ValueError
            If `x` and `y` are not finite real numbers in those shapes, or have no rows, or another argument is of another form.
        """
        kind = check_loss(loss, self._activations[-1])
        samples = self._samples(x, y, kind, sample_weight=sample_weight, missing=missing)
        result = np.empty((len(samples), self._layer_sizes[0]), dtype=np.float32)
        self._gradient(samples, kind, Gradient(self._layer_sizes), as_matrix(result))
        return result if self._scaler is None else result / self._scaler.x_scale

    def check_gradients(
        self,
        x: ArrayLike,
        y: ArrayLike,
        *,
        loss: Loss | str | None = None,
        eps: float = 1e-5,
        max_parameters: int = 100,
        seed: int = 0,
    ) -> _inspection.GradientCheck:
        """Compare backpropagation with finite differences in double precision, for each block of parameters.

        Parameters
        ----------
        x : array_like of real numbers, shape (n, n_inputs)
            Inputs, one sample a row.
        y : array_like of real numbers, shape (n, n_outputs)
            Targets; shape (n,) will do for a network with one output. With the cross-entropy, rows of probabilities or integer
            labels of shape (n,).
        loss : Loss or str, optional
            What is made small, such as "huber"; by default the squared error, or the cross-entropy with "softmax".
        eps : float
            The step of the differences (C(p + eps) - C(p - eps)) / (2 eps), which are taken in float64 by other code.
        max_parameters : int
            How many parameters of each block are tried at the most; which of them, `seed` decides.
        seed : int
            0 to 2**64 - 1.

        Returns
        -------
        check : GradientCheck
            ``check.ok`` says whether all agree, printing it shows the largest difference in each block.

        Raises
        ------
        TypeError, ValueError
            If an argument is not of that form.

        Examples
        --------
        >>> import numpy as np
        >>> import nnpy
        >>> net = nnpy.NeuralNetwork([2, 3, 1], ["gelu", "linear"], seed=0)
        >>> net.check_gradients(np.eye(2), [1.0, 2.0]).ok
        True
        """
        kind = check_loss(loss, self._activations[-1])
        samples = self._samples(x, y, kind)
        samples.refuse()
        grad = Gradient(self._layer_sizes)
        self._gradient(samples, kind, grad, ffi.new("Matrix *")[0])
        return _inspection.check_gradients(
            self,
            samples,
            kind,
            grad,
            eps=positive(eps, "eps"),
            max_parameters=integer(max_parameters, "max_parameters", 1, _fit.COUNT_MAX),
            seed=integer(seed, "seed", 0, 2**64 - 1),
        )

    def finite_diff(self, x: ArrayLike, y: ArrayLike, *, eps: float = 1e-1, loss: Loss | str | None = None) -> Gradient:
        """Estimate the gradient of `loss`, (C(p + eps) - C(p)) / eps for every parameter p.

        Parameters
        ----------
        x : array_like of real numbers, shape (n, n_inputs)
            Inputs, one sample a row.
        y : array_like of real numbers, shape (n, n_outputs)
            Targets; shape (n,) will do for a network with one output. With "softmax", rows of probabilities.
        eps : float
            The step, positive. A small one loses the digits of float32: its error grows as 1e-7 / eps, that of the formula
            as eps.
        loss : Loss or str, optional
            What is made small, such as "huber"; by default the squared error, or the cross-entropy with "softmax".

        Returns
        -------
        grad : Gradient
            ``grad.weights``, ``grad.biases`` and ``grad.parameters`` in the shapes of the network's.

        Raises
        ------
        TypeError, ValueError
            If `x` and `y` are not finite real numbers in those shapes, or have no rows, or `eps` is not positive.
        """
        eps = positive(eps, "eps")
        kind = check_loss(loss, self._activations[-1])
        samples = self._rows(x, y, kind)
        grad = Gradient(self._layer_sizes)
        call(lib.nn_finite_diff_gradient, self._nn_with(kind), grad._nn, eps, samples.c.x, samples.c.y)
        return grad

    def gradient_descent(
        self,
        x: ArrayLike,
        y: ArrayLike,
        *,
        rate: float,
        iterations: int = 1,
        eps: float | None = None,
        loss: Loss | str | None = None,
        progress: bool = False,
    ) -> None:
        """Train on all samples at once: parameters -= rate * gradient, `iterations` times, in C.

        Parameters
        ----------
        x : array_like of real numbers, shape (n, n_inputs)
            Inputs, one sample a row.
        y : array_like of real numbers, shape (n, n_outputs)
            Targets; shape (n,) will do for a network with one output. With "softmax", rows of probabilities or integer labels
            of shape (n,).
        rate : float
            The learning rate, positive.
        iterations : int
            How many steps to take; 0 takes none.
        eps : float, optional
            Take the gradient by finite differences with this step, instead of by backpropagation; not with labels.
        loss : Loss or str, optional
            What is made small, such as "huber"; by default the squared error, or the cross-entropy with "softmax".
        progress : bool
            Show a progress bar (needs tqdm, the ``progress`` extra).

        Raises
        ------
        TypeError, ValueError
            If an argument is not of that form. The network is unchanged then.
        ImportError
            If `progress` is asked for and tqdm is not installed. The network is unchanged then.
        KeyboardInterrupt
            On Ctrl-C, within a fraction of a second. The network is in the state after some whole number of iterations.
        DivergenceError
            If a parameter is no longer finite: the rate was too large for the data. The network has the last parameters that
            were finite (with `eps`, those that it had before the call).

        Examples
        --------
        >>> import nnpy
        >>> net = nnpy.NeuralNetwork([2, 2, 1])
        >>> net.randomize(0.0, 1.0, seed=69)
        >>> x, y = [[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 0]
        >>> net.gradient_descent(x, y, rate=10, iterations=10_000)
        >>> print(net.forward(x).round(2).ravel())
        [0.   1.   0.99 0.  ]
        """
        rate = positive(rate, "rate")
        iterations = integer(iterations, "iterations", 0, _fit.COUNT_MAX)
        kind = check_loss(loss, self._activations[-1])
        eps = None if eps is None else positive(eps, "eps")

        def diverged(num_steps: int) -> Exception:
            if num_steps == 0 and not np.isfinite(self._parameters).all():
                return ValueError("the parameters of the network are not finite")
            return DivergenceError(
                f"the training diverged in iteration {num_steps}: the loss or a parameter is no longer finite. The network has "
                "the last finite parameters; a smaller rate may help",
                epoch=num_steps,
            )

        if eps is None:
            samples = self._samples(x, y, kind, apart=True)
            if iterations == 0:
                samples.refuse()
            optimizer = ffi.new("NNOptimizer *", {"kind": lib.NN_SGD, "learning_rate": rate})
            schedule = ffi.new("NNTrainOptions *", {"batch_size": len(samples), "num_epochs": iterations})
            train, arguments = lib.nn_train, [samples.c[0], optimizer, schedule[0], backend[0]]
        else:
            samples = self._rows(x, y, kind, apart=True)
            train, arguments = lib.nn_finite_diff_descent, [rate, eps, samples.c.x, samples.c.y, iterations]
        with _fit.progress_bar(iterations, "iteration", progress) as update, self._lock:
            before = None if eps is None else self._parameters.copy()
            call(train, self._nn_with(kind), *arguments, progress=update, refuse=samples.refuse, diverged=diverged)
            if before is not None and not np.isfinite(self._parameters).all():
                self.parameters = before
                raise diverged(0)

    def fit(
        self,
        x: ArrayLike | Iterable[Any],
        y: ArrayLike | None = None,
        *,
        loss: Loss | str | None = None,
        optimizer: Optimizer | None = None,
        epochs: int = 10,
        batch_size: int | Literal["auto"] | None = "auto",
        shuffle: bool = True,
        seed: int | None = None,
        validation_data: tuple[ArrayLike, ...] | None = None,
        validation_split: float | None = None,
        early_stopping: int | _fit.EarlyStopping | None = None,
        sample_weight: ArrayLike | None = None,
        class_weight: Mapping[int, float] | Literal["balanced"] | None = None,
        missing: Literal["raise", "ignore"] = "raise",
        dropout: float | Sequence[float] | None = None,
        l2: float = 0.0,
        clip_norm: float | None = None,
        metrics: Iterable[str | _fit.Metric] | Mapping[str, _fit.Metric] | None = None,
        callbacks: _fit.Callback | Iterable[_fit.Callback] = (),
        checkpoint: str | os.PathLike[str] | None = None,
        resume: str | os.PathLike[str] | None = None,
        progress: bool = False,
        verbose: int = 0,
    ) -> History:
        """Train by mini-batches.

        Parameters
        ----------
        x : array_like of real numbers, shape (n, n_inputs), or iterable of batches
            Inputs, one sample a row. Without `y`: batches (x, y) or (x, y, sample_weight), for data larger than memory; each
            makes a step, or several of `batch_size` samples. For more than one epoch it has to be possible to go through
            them anew; an iterator can be gone through once. Where their number is known, by len(x), a schedule changes the rate
            within an epoch, else from epoch to epoch.
        y : array_like of real numbers, shape (n, n_outputs)
            Targets; shape (n,) will do for a network with one output. With the cross-entropy, rows of probabilities or integer
            labels of shape (n,).
        loss : Loss or str, optional
            What is made small, such as "huber" or ``nnpy.Huber(0.5)``; by default the squared error, or the cross-entropy with
            "softmax".
        optimizer : Optimizer, optional
            How the parameters follow the gradient: `SGD`, `Adam`, `AdamW`, `RMSprop`; or, with all samples in a
            step, `Rprop`, `LBFGS`, `LevenbergMarquardt`. By default ``nnpy.Adam()``. Its rate may be a schedule.
        epochs : int
            How many times to go through the samples.
        batch_size : int or None
            How many samples make a step; the last step of an epoch takes what is left. None for all samples. By default 32, and
            None for an iterable of batches and for `Rprop`, `LBFGS` and `LevenbergMarquardt`, which can only have that.
        shuffle : bool
            Whether the samples come in another order in each epoch (those of a batch, if x is an iterable of batches).
        seed : int, optional
            Of that order, of dropout and of `validation_split`, 0 to 2**64 - 1. Without it they are different each time.
        validation_data : (x, y) or (x, y, sample_weight), optional
            Their loss is computed after each epoch.
        validation_split : float, optional
            Take this share of the samples out for that, at random, between 0 and 1. Both parts are copied.
        early_stopping : int or EarlyStopping, optional
            Stop after so many epochs without a better loss of the validation data (of the training, without them). In the end
            the network has the best parameters of all epochs.
        sample_weight : array_like of real numbers, shape (n,), optional
            How much each sample counts, not negative. They are divided by their mean, so that the size of a step stays; the
            loss is sum_i w_i C_i / sum_i w_i. (Those that come with batches are not, as the mean of all is not known.)
        class_weight : mapping or "balanced", optional
            How much each class counts, by label, or as many times as makes all count the same: n / (classes * n_class). For
            integer labels, or targets 0 and 1 of one output. Multiplied with `sample_weight`.
        missing : {"raise", "ignore"}
            What NaN in y means: an error, or a target that is not there, whose output has no part in the loss. A sample without
            any target does not count in the average.
        dropout : float or sequence of float, optional
            The share of activations that a step leaves out, from 0 to 0.99: of all hidden layers, or of each. The others are
            made larger by 1 / (1 - share), so that nothing has to be done in `predict` [1]_.
        l2 : float
            l2 / 2 times the sum of the squared weights, not biases, is made small as well. Losses are given without it.
        clip_norm : float, optional
            The gradient of a step is scaled down to this Euclidean norm if its own, without `l2`, is larger [2]_.
        metrics : sequence, or mapping of names, optional
            Computed after each epoch, of the validation data (the training's, without them): "accuracy", or functions of y and
            the outputs that return a number, such as scikit-learn's. By default "accuracy" for classes with validation data.
        callbacks : callable, or sequence of them
            Called with the network and the history after each epoch; if one returns True, the training stops.
        checkpoint : str or path-like, optional
            Write the network and the state of the training to this file after epochs, about every second, and at the end
            (with the last parameters, and beside them the best ones). Not on Ctrl-C, which may come within an epoch.
        resume : str or path-like, optional
            Go on from such a file with the same arguments and data: bit for bit the training that was not stopped.
        progress : bool
            Show a progress bar (needs tqdm, the ``progress`` extra).
        verbose : {0, 1}
            1 prints a line after each epoch.

        Returns
        -------
        history : History
            ``history.loss`` has the mean loss of each epoch. On Ctrl-C it has the epochs so far that are done with all that is
            looked at after them, ``history.stopped`` is "interrupt", and the network is in the state after some whole number
            of steps; with early stopping it has the best parameters.

        Raises
        ------
        TypeError, ValueError
            If an argument is not of that form. The network is unchanged then; of batches, those before have been used.
        ImportError
            If `progress` is asked for and tqdm is not installed. The network is unchanged then.
        DivergenceError
            If the loss or a parameter is no longer finite. It says in which epoch and batch; the network has the last
            parameters that were finite or, with early stopping, the best ones.
        OSError
            If a checkpoint cannot be written or read.

        References
        ----------
        .. [1] N. Srivastava, G. Hinton, A. Krizhevsky, I. Sutskever and R. Salakhutdinov, "Dropout: a simple way to prevent
           neural networks from overfitting", JMLR 15, 2014.
        .. [2] R. Pascanu, T. Mikolov and Y. Bengio, "On the difficulty of training recurrent neural networks", ICML 2013.

        Examples
        --------
        >>> import numpy as np
        >>> import nnpy
        >>> x = np.linspace(-1, 1, 200).reshape(-1, 1)
        >>> net = nnpy.NeuralNetwork([1, 16, 1], ["tanh", "linear"], seed=0)
        >>> history = net.fit(x, x**2, optimizer=nnpy.Adam(0.01), epochs=100, seed=0)
        >>> history
        <History of 100 epochs, loss 0.1706 to 0.004038>
        """
        options = {name: value for name, value in locals().items() if name not in {"self", "x", "y"}}
        with self._lock:
            return _fit.fit(self, x, y, options)

    def partial_fit(
        self,
        x: ArrayLike,
        y: ArrayLike,
        *,
        loss: Loss | str | None = None,
        optimizer: Optimizer | None = None,
        batch_size: int | None = 32,
        shuffle: bool = True,
        seed: int = 0,
        sample_weight: ArrayLike | None = None,
        class_weight: Mapping[int, float] | None = None,
        missing: Literal["raise", "ignore"] = "raise",
        dropout: float | Sequence[float] | None = None,
        l2: float = 0.0,
        clip_norm: float | None = None,
    ) -> float:
        """Go once through samples of a stream, with an optimiser that remembers the calls before.

        Parameters
        ----------
        x, y, loss, batch_size, shuffle, sample_weight, class_weight, missing, dropout, l2, clip_norm
            As in `fit`; but weights are not divided by their mean, as that of the whole stream is not known.
        optimizer : Optimizer, optional
            By default the one of the last call, or ``nnpy.Adam()`` in the first. Another one than in the last call begins
            anew. Its rate has to be a number.
        seed : int
            Of the order of the samples, which is another one in every call.

        Returns
        -------
        loss : float
            Mean loss of the samples, each as it was before the step that it was part of.

        Raises
        ------
        TypeError, ValueError
            If an argument is not of that form. The network is unchanged then.
        DivergenceError
            If the loss or a parameter is no longer finite; the network has the last parameters that were.
        KeyboardInterrupt
            On Ctrl-C, within a fraction of a second. The network is in the state after some whole number of steps.

        Examples
        --------
        >>> import numpy as np
        >>> import nnpy
        >>> net = nnpy.NeuralNetwork([2, 1], "linear", seed=0)
        >>> for part in np.random.default_rng(0).normal(size=(50, 100, 2)):
        ...     loss = net.partial_fit(part, part.sum(axis=1), optimizer=nnpy.Adam(0.1))
        >>> print(net.weights[0].round(2).ravel())
        [1. 1.]
        """
        options = {name: value for name, value in locals().items() if name not in {"self", "x", "y"}}
        with self._lock:
            return _fit.partial_fit(self, x, y, options)

    def save(self, path: str | os.PathLike[str], *, optimizer: bool = True) -> None:
        """Write the network to a file, for `nnpy.load`: layers, functions, parameters, scaler.

        Parameters
        ----------
        path : str or path-like
            The file, by custom with the ending .npz: numpy.load reads it, too. It is written under another name and then
            renamed, so that there is the old file or the new one at any moment.
        optimizer : bool
            Whether to write what the optimiser of `partial_fit` remembers, if there is one, so that it goes on after `load`.
            That is twice as much as the parameters.

        Raises
        ------
        OSError
            If it cannot be written. An old file is unchanged then.
        """
        from nnpy import _serialization

        with self._lock:
            _serialization.save(self, path, _serialization.optimizer_arrays(self) if optimizer else {})

    @property
    def _columns(self) -> tuple[int, int]:
        return self._layer_sizes[0], self._layer_sizes[-1]

    def _nn_with(self, loss: Loss) -> Any:
        """The network as C knows it, with a loss."""
        nn = ffi.new("NeuralNetwork *", self._nn)
        nn.loss = loss._fields()
        return nn[0]

    def _inputs(self, x: ArrayLike) -> NDArray[np.float32]:
        """Check inputs, and scale them."""
        inputs = as_array(x, "x", self._layer_sizes[0], what="input")
        return inputs if self._scaler is None else self._scaler.scale_x(inputs)

    def _samples(self, x: ArrayLike, y: ArrayLike, loss: Loss, *, apart: bool = False, **options: Any) -> Samples:
        """Check inputs and targets, and scale them; `apart` from the parameters if those are going to change."""
        apart_from = self._parameters if apart else None
        return as_samples(x, y, self._columns, loss=loss, scaler=self._scaler, apart_from=apart_from, **options)

    def _rows(self, x: ArrayLike, y: ArrayLike, loss: Loss, *, apart: bool = False) -> Samples:
        """The same for the functions of nn.h, which know no labels and check nothing."""
        samples = self._samples(x, y, loss, apart=apart)
        if samples.y.dtype != np.float32:
            raise ValueError("finite differences need y as rows of probabilities, got labels")
        samples.refuse()
        return samples

    def _evaluate(self, samples: Samples, loss: Loss) -> float:
        result = ffi.new("double *")
        call(lib.nn_evaluate, self._nn_with(loss), samples.c[0], ffi.new("Matrix *")[0], result, backend[0], refuse=samples.refuse)
        return float(result[0])

    def _gradient(self, samples: Samples, loss: Loss, grad: Gradient, by_input: Any) -> None:
        cost = ffi.new("double *")
        call(
            lib.nn_gradient,
            self._nn_with(loss),
            grad._nn,
            by_input,
            samples.c[0],
            cost,
            backend[0],
            refuse=samples.refuse,
        )


def load(path: str | os.PathLike[str]) -> NeuralNetwork:
    """Read a network that `NeuralNetwork.save` wrote.

    Parameters
    ----------
    path : str or path-like
        The file. Nothing in it is executed: it may come from anywhere.

    Returns
    -------
    net : NeuralNetwork
        Bit for bit the network that was saved.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is no such file, is damaged, or was written by a later version of nnpy.

    Examples
    --------
    >>> import tempfile, os
    >>> import nnpy
    >>> net = nnpy.NeuralNetwork([3, 4, 2], ["relu", "softmax"], seed=0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     net.save(os.path.join(folder, "net.npz"))
    ...     nnpy.load(os.path.join(folder, "net.npz"))
    NeuralNetwork([3, 4, 2], ['relu', 'softmax'])
    """
    from nnpy import _serialization

    return _serialization.read(path)[0]
