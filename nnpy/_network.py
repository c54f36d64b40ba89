"""Networks and gradients: one C allocation each, seen through numpy views."""

import os
import secrets
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Any, SupportsIndex, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nnpy._arrays import Samples, as_array, as_matrix, as_samples, check_finite
from nnpy._c import call, ffi, lib
from nnpy._checks import FLOAT_MAX, FUNCTIONS, check_functions, check_layer_sizes, integer, positive, real
from nnpy._machine import machine
from nnpy._training import Adam, History, Optimizer, epochs_per_call

__all__ = ["Gradient", "NeuralNetwork"]

_EPOCHS_MAX = 2**63 - 1

# Looked up once: `forward` of one sample takes about as long as a few look-ups.
_FLOAT32: "np.dtype[np.float32]" = np.dtype(np.float32)
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
    def __getitem__(self, index: slice) -> "ParameterList": ...
    def __getitem__(self, index: SupportsIndex | slice) -> "NDArray[np.float32] | ParameterList":
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
            nn.functions[layer] = FUNCTIONS[name]
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
        The function f of all layers, or of each layer but the inputs: "sigmoid", "tanh", "relu", "linear" or, for the last
        layer, "softmax".
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
    Weights begin uniform in [-r, r], with r = sqrt(6 / (fan_in + fan_out)) [1]_ or, in a layer of "relu",
    r = sqrt(6 / fan_in) [2]_; biases begin at zero.

    The loss is the squared error, summed over the outputs and averaged over the samples; with "softmax" it is the
    cross-entropy, -log of the probability of the right output, averaged over the samples.

    What is computed depends on the numbers alone: the bits are the same for any number of threads, on every processor.
    (Finite differences are an exception: they use the C library's exp.)

    Many threads may call `predict`, `loss`, `mse`, `backpropagation` and `finite_diff` of one network at once. Calls that
    change it take turns. What is computed while another thread changes the parameters uses some mixture of the old and the
    new.

    References
    ----------
    .. [1] X. Glorot and Y. Bengio, "Understanding the difficulty of training deep feedforward neural networks", AISTATS
       2010, equation 16.
    .. [2] K. He, X. Zhang, S. Ren and J. Sun, "Delving deep into rectifiers", ICCV 2015, equation 10.

    Examples
    --------
    >>> import nnpy
    >>> net = nnpy.NeuralNetwork([3, 4, 2], ["relu", "softmax"], seed=0)
    >>> net
    NeuralNetwork([3, 4, 2], ['relu', 'softmax'])
    >>> net.weights[0].shape, net.biases[0].shape, net.parameters.shape
    ((3, 4), (4,), (26,))
    """

    __slots__ = ("_address", "_isa", "_lock", "_one_result", "_one_row")

    def __init__(
        self, layer_sizes: Sequence[int], activations: str | Sequence[str] = "sigmoid", *, seed: int | None = None
    ) -> None:
        sizes = check_layer_sizes(layer_sizes)
        names = check_functions(activations, len(sizes) - 1)
        seed = secrets.randbits(64) if seed is None else integer(seed, "seed", 0, 2**64 - 1)
        self._allocate(sizes, names)
        lib.nn_initialize(self._nn, seed)

    def _allocate(self, layer_sizes: tuple[int, ...], activations: tuple[str, ...]) -> None:
        super()._allocate(layer_sizes, activations)
        self._lock = threading.RLock()  # a signal handler may copy the network that its thread is training
        self._address, self._isa = ffi.addressof(self._nn), machine.isa
        self._one_row, self._one_result = (1, layer_sizes[0]), (1, layer_sizes[-1])

    @property
    def activations(self) -> tuple[str, ...]:
        """Name of the function of each layer but the inputs."""
        return self._activations

    def __repr__(self) -> str:
        functions = "" if set(self._activations) == {"sigmoid"} else f", {list(self._activations)}"
        return f"{type(self).__name__}({list(self._layer_sizes)}{functions})"

    def __getstate__(self) -> dict[str, Any]:
        with self._lock:
            return super().__getstate__()

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
        seed = secrets.randbits(32) if seed is None else integer(seed, "seed", 0, 2**32 - 1)
        with self._lock:
            lib.nn_rand_minstd(self._nn, low, high, seed)

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
        if type(x) is _ndarray and x.shape == self._one_row and x.dtype is _FLOAT32:
            out = _empty(self._one_result, _FLOAT32)
            try:
                if not _predict_one(self._address, _from_buffer(x), _from_buffer(out), self._isa):
                    return out
            except ValueError:  # its numbers do not lie next to each other
                pass
        inputs = as_array(x, "x", self._layer_sizes[0], what="input")
        out = np.empty((len(inputs), self._layer_sizes[-1]), dtype=np.float32)
        call(
            lib.nn_predict,
            self._nn,
            as_matrix(inputs),
            as_matrix(out),
            machine[0],
            refuse=lambda: check_finite(inputs, "x"),
        )
        return out

    predict = forward

    def loss(self, x: ArrayLike, y: ArrayLike) -> float:
        """Compute the loss: `mse`, or the cross-entropy if the last layer is "softmax".

        Parameters
        ----------
        x : array_like of real numbers, shape (n, n_inputs)
            Inputs, one sample a row.
        y : array_like of real numbers, shape (n, n_outputs)
            Targets; shape (n,) will do for a network with one output. With "softmax", rows of probabilities or integer labels
            of shape (n,).

        Returns
        -------
        loss : float
            Averaged over the samples. The cross-entropy of a sample is -sum_j y_j log(a_j), with the natural logarithm.

        Raises
        ------
        TypeError, ValueError
            If `x` and `y` are not finite real numbers in those shapes, or have no rows.
        """
        return self._evaluate(self._samples(x, y), as_mse=False)

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
            Computed in float32.

        Raises
        ------
        TypeError, ValueError
            If `x` and `y` are not finite real numbers in those shapes, or have no rows.
        """
        return self._evaluate(as_samples(x, y, self._columns), as_mse=True)

    def backpropagation(self, x: ArrayLike, y: ArrayLike) -> Gradient:
        """Compute the gradient of `loss` with respect to every weight and bias, exactly.

        Parameters
        ----------
        x : array_like of real numbers, shape (n, n_inputs)
            Inputs, one sample a row.
        y : array_like of real numbers, shape (n, n_outputs)
            Targets; shape (n,) will do for a network with one output. With "softmax", rows of probabilities or integer labels
            of shape (n,).

        Returns
        -------
        grad : Gradient
            ``grad.weights``, ``grad.biases`` and ``grad.parameters`` in the shapes of the network's.

        Raises
        ------
        TypeError, ValueError
            If `x` and `y` are not finite real numbers in those shapes, or have no rows.

        Notes
        -----
        The formula is that of Rumelhart, Hinton and Williams, "Learning representations by back-propagating errors", Nature
        323, 1986: with d = dC_i/dz, for the output layer d_j = 2 (a_j - y_j) a_j (1 - a_j), and for a layer before it
        d_k = sum_j d_j w_kj a_k (1 - a_k); then dC_i/dw_kj = d_j a_k and dC_i/db_j = d_j.
        """
        samples = self._samples(x, y)
        grad = Gradient(self._layer_sizes)
        call(lib.nn_gradient, self._nn, grad._nn, samples.c[0], machine[0], refuse=samples.refuse)
        return grad

    def finite_diff(self, x: ArrayLike, y: ArrayLike, *, eps: float = 1e-1) -> Gradient:
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
        samples = as_samples(x, y, self._columns)
        check_finite(samples.x, "x")
        grad = Gradient(self._layer_sizes)
        call(lib.nn_gradient_by_differences, self._nn, grad._nn, eps, samples.c.x, samples.c.y)
        return grad

    def gradient_descent(
        self,
        x: ArrayLike,
        y: ArrayLike,
        *,
        rate: float,
        iterations: int = 1,
        eps: float | None = None,
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

        Warns
        -----
        RuntimeWarning
            If the parameters are no longer finite: the rate was too large for the data.

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
        iterations = integer(iterations, "iterations", 0, _EPOCHS_MAX)
        if eps is None:
            samples = self._samples(x, y, apart=True)
            if iterations == 0:
                samples.refuse()
            optimizer = ffi.new("NNOptimizer *", {"kind": lib.NN_GRADIENT_DESCENT, "rate": rate})
            schedule = ffi.new("NNSchedule *", {"batch_size": len(samples), "num_epochs": iterations})
            train, arguments = lib.nn_train, [samples.c[0], optimizer, schedule[0], machine[0]]
        else:
            eps = positive(eps, "eps")
            samples = as_samples(x, y, self._columns, apart_from=self._parameters)
            check_finite(samples.x, "x")
            train, arguments = lib.nn_descend_by_differences, [rate, eps, samples.c.x, samples.c.y, iterations]
        with _progress_bar(iterations, "iteration", progress) as update, self._lock:
            call(train, self._nn, *arguments, progress=update, refuse=samples.refuse)
        self._warn_if_not_finite(rate)

    def fit(
        self,
        x: ArrayLike,
        y: ArrayLike,
        *,
        optimizer: Optimizer | None = None,
        epochs: int = 10,
        batch_size: int = 32,
        shuffle: bool = True,
        seed: int | None = None,
        progress: bool = False,
    ) -> History:
        """Train by mini-batches.

        Parameters
        ----------
        x : array_like of real numbers, shape (n, n_inputs)
            Inputs, one sample a row.
        y : array_like of real numbers, shape (n, n_outputs)
            Targets; shape (n,) will do for a network with one output. With "softmax", rows of probabilities or integer labels
            of shape (n,).
        optimizer : GradientDescent or Adam, optional
            How the parameters follow the gradient. By default ``nnpy.Adam()``.
        epochs : int
            How many times to go through the samples.
        batch_size : int
            How many samples make a step; the last step of an epoch takes what is left.
        shuffle : bool
            Whether the samples come in another order in each epoch.
        seed : int, optional
            Of that order, 0 to 2**64 - 1. Without it the order is different each time.
        progress : bool
            Show a progress bar (needs tqdm, the ``progress`` extra).

        Returns
        -------
        history : History
            ``history.loss`` has the mean loss of each epoch.

        Raises
        ------
        TypeError, ValueError
            If an argument is not of that form. The network is unchanged then.
        ImportError
            If `progress` is asked for and tqdm is not installed. The network is unchanged then.
        KeyboardInterrupt
            On Ctrl-C, within a fraction of a second. The network is in the state after some whole number of steps.

        Warns
        -----
        RuntimeWarning
            If the parameters are no longer finite: the rate was too large for the data.

        Examples
        --------
        >>> import numpy as np
        >>> import nnpy
        >>> x = np.linspace(-1, 1, 200).reshape(-1, 1)
        >>> net = nnpy.NeuralNetwork([1, 16, 1], ["tanh", "linear"], seed=0)
        >>> history = net.fit(x, x**2, optimizer=nnpy.Adam(0.01), epochs=100, seed=0)
        >>> history
        <History of 100 epochs, loss 0.1496 to 0.001696>
        """
        optimizer = Adam() if optimizer is None else optimizer
        if not isinstance(shuffle, (bool, np.bool_)):
            raise TypeError(f"shuffle must be True or False, got {shuffle!r}")
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"optimizer must be nnpy.GradientDescent or nnpy.Adam, got {optimizer!r}")
        epochs = integer(epochs, "epochs", 0, _EPOCHS_MAX)
        batch_size = integer(batch_size, "batch_size", 1, _EPOCHS_MAX)
        seed = secrets.randbits(64) if seed is None else integer(seed, "seed", 0, 2**64 - 1)
        samples = self._samples(x, y, apart=True)
        if epochs == 0:
            samples.refuse()
        moments = np.zeros(2 * self._parameters.size if isinstance(optimizer, Adam) else 0, dtype=np.float32)
        state = ffi.new(
            "NNOptimizer *",
            {**optimizer._fields(), "moments": ffi.from_buffer("float[]", moments), "power1": 1, "power2": 1},
        )
        losses: list[NDArray[np.float32]] = []
        done, now = 0, 1
        with _progress_bar(epochs, "epoch", progress) as update, self._lock:
            while done < epochs:
                costs = np.empty(min(now, epochs - done), dtype=np.float32)
                schedule = ffi.new(
                    "NNSchedule *",
                    (batch_size, len(costs), shuffle, seed, done, ffi.from_buffer("float[]", costs)),
                )
                start = time.perf_counter()
                call(lib.nn_train, self._nn, samples.c[0], state, schedule[0], machine[0], refuse=samples.refuse)
                now = epochs_per_call((time.perf_counter() - start) / len(costs))
                losses.append(costs)
                done += len(costs)
                if update is not None:
                    update(done)
        self._warn_if_not_finite(optimizer.rate)
        return History(np.concatenate(losses) if losses else np.empty(0, dtype=np.float32))

    def save(self, path: "str | os.PathLike[str]") -> None:
        """Write the network to a file, for `nnpy.load`.

        Parameters
        ----------
        path : str or path-like
            The file, by custom with the ending .npz: numpy.load reads it, too. It is written under another name and then
            renamed, so that there is the old file or the new one at any moment.

        Raises
        ------
        OSError
            If it cannot be written. An old file is unchanged then.
        """
        from nnpy import _files

        _files.save(self, path)

    @property
    def _columns(self) -> tuple[int, int]:
        return self._layer_sizes[0], self._layer_sizes[-1]

    def _samples(self, x: ArrayLike, y: ArrayLike, *, apart: bool = False) -> Samples:
        """Check inputs and targets; `apart` from the parameters if those are going to change."""
        labels = self._activations[-1] == "softmax"
        return as_samples(x, y, self._columns, labels=labels, apart_from=self._parameters if apart else None)

    def _evaluate(self, samples: Samples, *, as_mse: bool) -> float:
        result = ffi.new("float *")
        call(lib.nn_evaluate, self._nn, samples.c[0], as_mse, result, machine[0], refuse=samples.refuse)
        return float(result[0])

    def _warn_if_not_finite(self, rate: float) -> None:
        if lib.nn_first_nonfinite(as_matrix(self._parameters[np.newaxis, :])) < self._parameters.size:
            warnings.warn(
                f"the parameters are no longer finite: the rate {rate} is too large", RuntimeWarning, stacklevel=3
            )


@contextmanager
def _progress_bar(total: int, unit: str, wanted: bool) -> Iterator[Callable[[int], object] | None]:
    if not wanted:
        yield None
        return
    try:
        from tqdm import tqdm
    except ImportError as error:
        raise ImportError("progress=True needs tqdm: pip install 'nnpy[progress]'") from error
    with tqdm(total=total, unit=unit) as bar:
        yield lambda done: bar.update(done - bar.n)
