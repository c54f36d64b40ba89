"""Networks and gradients: one C allocation each, seen through numpy views."""

import math
import operator
import secrets
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Any, SupportsIndex, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nnpy._arrays import as_array, as_matrix, as_training_set
from nnpy._c import call, ffi, lib

__all__ = ["Gradient", "NeuralNetwork"]

_FLOAT_MAX = float(np.finfo(np.float32).max)


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

    __slots__ = ("__weakref__", "_biases", "_layer_sizes", "_nn", "_parameters", "_weights")

    def _allocate(self, layer_sizes: tuple[int, ...]) -> None:
        """Allocate the block, all zero, and lay the views over it."""
        self._layer_sizes = layer_sizes
        nn = lib.nn_alloc(layer_sizes, len(layer_sizes) - 1)
        if nn.archi == ffi.NULL:
            raise MemoryError(f"not enough memory for a network with layers of {list(layer_sizes)} neurons")
        size = lib.nn_num_parameters(nn)
        owner = ffi.gc(nn.weights[0].data, lambda _: lib.nn_free(nn), 4 * size)
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
        return {"version": 1, "layer_sizes": self._layer_sizes, "parameters": self._parameters.astype("<f4")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        if state.get("version") != 1:
            raise ValueError(f"cannot read a pickled {type(self).__name__} of version {state.get('version')!r}")
        self._allocate(state["layer_sizes"])
        self._parameters[...] = state["parameters"]


class Gradient(Parameters):
    """The gradient of the cost of a network: a derivative for each of its parameters, in the same shapes.

    `NeuralNetwork.backpropagation` and `NeuralNetwork.finite_diff` return it; `weights`, `biases` and `parameters` are as
    those of the network.
    """

    __slots__ = ()

    def __init__(self, layer_sizes: Sequence[int]) -> None:
        self._allocate(_layer_sizes(layer_sizes))


class NeuralNetwork(Parameters):
    """A fully connected network of sigmoid layers, a = sigmoid(a_previous @ weights + biases).

    Parameters
    ----------
    layer_sizes : sequence of int
        Number of neurons in each layer, the inputs first: ``[2, 2, 1]`` has two inputs, two hidden neurons, one output.
    seed : int, optional
        Of the initial weights, 0 to 2**64 - 1; the same seed gives the same network on every platform. Without it they are
        different each time.

    Raises
    ------
    TypeError, ValueError
        If `layer_sizes` is not a sequence of at least two positive integers, or `seed` is out of range.
    MemoryError
        If the parameters do not fit into memory.

    Notes
    -----
    Weights begin uniform in [-r, r] with r = sqrt(6 / (fan_in + fan_out)), biases at zero [1]_.

    Many threads may call `forward`, `mse`, `backpropagation` and `finite_diff` of one network at once. Calls that change it
    take turns. What is computed while another thread changes the parameters uses some mixture of the old and the new.

    References
    ----------
    .. [1] X. Glorot and Y. Bengio, "Understanding the difficulty of training deep feedforward neural networks", AISTATS
       2010, equation 16.

    Examples
    --------
    >>> import nnpy
    >>> net = nnpy.NeuralNetwork([3, 2], seed=0)
    >>> net
    NeuralNetwork([3, 2])
    >>> net.weights[0].shape, net.biases[0].shape, net.parameters.shape
    ((3, 2), (2,), (8,))
    """

    __slots__ = ("_lock",)

    def __init__(self, layer_sizes: Sequence[int], *, seed: int | None = None) -> None:
        sizes = _layer_sizes(layer_sizes)
        seed = secrets.randbits(64) if seed is None else _integer(seed, "seed", 0, 2**64 - 1)
        self._allocate(sizes)
        lib.nn_glorot(self._nn, seed)

    def _allocate(self, layer_sizes: tuple[int, ...]) -> None:
        super()._allocate(layer_sizes)
        self._lock = threading.Lock()

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
        low, high = _real(low, "low"), _real(high, "high")
        if low > high:
            raise ValueError(f"low must not be above high, got {low} and {high}")
        if high - low > _FLOAT_MAX:
            raise ValueError(f"high - low must be finite in float32, got {low} and {high}")
        seed = secrets.randbits(32) if seed is None else _integer(seed, "seed", 0, 2**32 - 1)
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
        x = as_array(x, "x", self._layer_sizes[0], what="input")
        out = np.empty((len(x), self._layer_sizes[-1]), dtype=np.float32)
        call(lib.nn_batch_forward, self._nn, as_matrix(x), as_matrix(out))
        return out

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
        x, y = self._training_set(x, y)
        result = ffi.new("float *")
        call(lib.nn_batch_mse, self._nn, as_matrix(x), as_matrix(y), result)
        return float(result[0])

    def backpropagation(self, x: ArrayLike, y: ArrayLike) -> Gradient:
        """Compute the gradient of `mse` with respect to every weight and bias, exactly.

        Parameters
        ----------
        x : array_like of real numbers, shape (n, n_inputs)
            Inputs, one sample a row.
        y : array_like of real numbers, shape (n, n_outputs)
            Targets; shape (n,) will do for a network with one output.

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
        x, y = self._training_set(x, y)
        grad = Gradient(self._layer_sizes)
        call(lib.nn_batch_backpropagation, self._nn, grad._nn, as_matrix(x), as_matrix(y))
        return grad

    def finite_diff(self, x: ArrayLike, y: ArrayLike, *, eps: float = 1e-1) -> Gradient:
        """Estimate the gradient of `mse` by finite differences, (C(p + eps) - C(p)) / eps for every parameter p.

        Parameters
        ----------
        x : array_like of real numbers, shape (n, n_inputs)
            Inputs, one sample a row.
        y : array_like of real numbers, shape (n, n_outputs)
            Targets; shape (n,) will do for a network with one output.
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
        eps = _positive(eps, "eps")
        x, y = self._training_set(x, y)
        grad = Gradient(self._layer_sizes)
        call(lib.nn_batch_finite_diff, self._nn, grad._nn, eps, as_matrix(x), as_matrix(y))
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
            Targets; shape (n,) will do for a network with one output.
        rate : float
            The learning rate, positive.
        iterations : int
            How many steps to take; 0 takes none.
        eps : float, optional
            Take the gradient by finite differences with this step, instead of by backpropagation.
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
        rate = _positive(rate, "rate")
        iterations = _integer(iterations, "iterations", 0, 2**63 - 1)
        eps = 0.0 if eps is None else _positive(eps, "eps")
        x, y = (self._not_ours(array) for array in self._training_set(x, y))
        with _progress_bar(iterations, progress) as update, self._lock:
            call(
                lib.nn_batch_gradient_descent,
                self._nn,
                rate,
                eps,
                as_matrix(x),
                as_matrix(y),
                iterations,
                progress=update,
            )
        if lib.nn_first_nonfinite(as_matrix(self._parameters[np.newaxis, :])) < self._parameters.size:
            warnings.warn(
                f"the parameters are no longer finite: the rate {rate} is too large", RuntimeWarning, stacklevel=2
            )

    def _training_set(self, x: ArrayLike, y: ArrayLike) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        return as_training_set(x, y, self._layer_sizes[0], self._layer_sizes[-1])

    def _not_ours(self, array: NDArray[np.float32]) -> NDArray[np.float32]:
        """The array, or a copy if it is a view of the parameters, which training is going to change."""
        return array.copy() if np.may_share_memory(array, self._parameters) else array


@contextmanager
def _progress_bar(total: int, wanted: bool) -> Iterator[Callable[[int], object] | None]:
    if not wanted:
        yield None
        return
    try:
        from tqdm import tqdm
    except ImportError as error:
        raise ImportError("progress=True needs tqdm: pip install 'nnpy[progress]'") from error
    with tqdm(total=total, unit="iteration") as bar:
        yield lambda done: bar.update(done - bar.n)


def _layer_sizes(sizes: Sequence[int]) -> tuple[int, ...]:
    try:
        if isinstance(sizes, (str, bytes)):
            raise TypeError
        sizes = tuple(map(operator.index, sizes))
    except TypeError:
        raise TypeError(f"layer_sizes must be a sequence of integers such as [2, 2, 1], got {sizes!r}") from None
    if len(sizes) < 2:
        raise ValueError(f"layer_sizes must have at least 2 entries, the inputs and the outputs, got {list(sizes)}")
    if min(sizes) < 1:
        raise ValueError(f"layer_sizes must be positive, got {list(sizes)}")
    if max(sizes) >= 2**63 or math.prod(sizes[:2]) >= 2**63:
        raise MemoryError(f"not enough memory for a network with layers of {list(sizes)} neurons")
    return sizes


def _integer(value: int, name: str, low: int, high: int) -> int:
    if isinstance(value, (bool, np.bool_)) or not hasattr(type(value), "__index__"):
        raise TypeError(f"{name} must be an integer, got {value!r}")
    value = operator.index(value)
    if not low <= value <= high:
        raise ValueError(f"{name} must be from {low} to {high}, got {value}")
    return value


def _real(value: float, name: str) -> float:
    if isinstance(value, (bool, np.bool_, str, bytes)):
        raise TypeError(f"{name} must be a real number, got {value!r}")
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be a real number, got {value!r}") from None
    except OverflowError:
        number = math.inf
    if not abs(number) <= _FLOAT_MAX:
        raise ValueError(f"{name} must be finite in float32, got {value!r}")
    return number


def _positive(value: float, name: str) -> float:
    number = _real(value, name)
    if np.float32(number) <= 0:
        raise ValueError(f"{name} must be positive in float32, got {value!r}")
    return number
