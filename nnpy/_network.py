"""`NeuralNetwork`, the public class: a `Model` with training, evaluation, inspection and saving; and `load`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nnpy._activations import ACTIVATIONS
from nnpy._arrays import as_table, check_finite, to_array, to_float32
from nnpy._backend import backend
from nnpy._ffi import call, ffi, lib
from nnpy._history import History, divergence_in_iteration
from nnpy._interchange.extras import needs
from nnpy._losses import Loss, check_loss
from nnpy._metrics import Metric, check_metrics, measure, predicted_classes, score, threshold_for_classes
from nnpy._model import Model
from nnpy._optimizers import Optimizer, OptimizerState
from nnpy._quantized_network import QuantizedNetwork
from nnpy._samples import check_sample_weight
from nnpy._scaler import Scaler
from nnpy._training.prepared import PreparedDescent
from nnpy._training.progress import progress_bar
from nnpy._validation import COUNT_MAX, integer, positive

if TYPE_CHECKING:
    import keras
    import torch

    from nnpy._inspection import GradientCheck
    from nnpy._training.early_stopping import EarlyStopping
    from nnpy._training.options import Callback

__all__ = ["NeuralNetwork", "load"]


class NeuralNetwork(Model):
    """A fully connected network (multilayer perceptron): in every layer, a = f(a_previous @ weights + biases).

    Parameters
    ----------
    layer_sizes : sequence of int
        Number of neurons in each layer, the inputs first: ``[2, 2, 1]`` has two inputs, two hidden neurons, one output.
    activations : str or sequence of str, optional
        The activation function f of all layers, or of each layer after the inputs: "sigmoid", "tanh", "relu", "leaky_relu",
        "elu", "softplus", "silu" (or "swish"), "gelu", "linear" (or "identity") or, for the last layer, "softmax". The default
        is "sigmoid"; then the first `fit` chooses that of the last layer to suit the targets.
    seed : int, optional
        Seed of the initial weights, 0 to 2**64 - 1; the same seed gives the same network on every platform. Without it they
        are random.

    Raises
    ------
    TypeError, ValueError
        If `layer_sizes` is not a sequence of at least two positive integers, an activation is unknown, or `seed` is out of
        range.
    MemoryError
        If the parameters do not fit into memory.

    Notes
    -----
    With z = a_previous @ weights + biases, the activation functions are

    ============ =====================================================
    "sigmoid"    1 / (1 + exp(-z))
    "tanh"       tanh(z)
    "relu"       max(z, 0)
    "leaky_relu" z, or 0.01 z where z < 0
    "elu"        z, or exp(z) - 1 where z < 0
    "softplus"   log(1 + exp(z))
    "silu"       z / (1 + exp(-z))
    "gelu"       z (1 + erf(z / sqrt(2))) / 2
    "linear"     z
    "softmax"    exp(z_j) / sum_i exp(z_i)
    ============ =====================================================

    Initial weights are uniform in [-r, r]: r = sqrt(6 / (fan_in + fan_out)) [1]_ for "sigmoid" and "tanh", r = 1 / sqrt(fan_in)
    [2]_, as in PyTorch, for the others. Initial biases are 0.

    The default loss is the squared error, or the cross-entropy with "softmax". `fit`, `loss` and other methods take another one
    by name or as an object: "mse" (`MeanSquaredError`), "mae" (`MeanAbsoluteError`), "huber" (`Huber`), "pinball" (`Pinball`),
    "binary_cross_entropy" (`BinaryCrossEntropy`) or "cross_entropy" (`CrossEntropy`). Each is summed over the outputs and
    averaged over the samples.

    Results have the same bits for any number of threads and on every processor. (Except for finite differences, which use the
    exp of the C library.)

    Inputs may be lists, numpy arrays, data frames of pandas or polars, tensors of PyTorch, and everything that has
    ``__array__`` or ``__dlpack__``. float32 arrays with unit column stride are used in place. A network that was trained with a
    data frame remembers the names of its columns (`feature_names`) and refuses other ones.

    Many threads may call `predict`, `loss`, `backpropagation` and `finite_diff` of one network at the same time. Calls that
    change it take turns. A result that is computed while another thread trains the network uses old and new parameters.

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

    __slots__ = ()

    # ---- Classes and scores ----

    def predict_classes(self, x: ArrayLike) -> NDArray[np.int64]:
        """Compute the class of each sample: the index of the largest output; for a single output, 1 if it is above a threshold.

        Parameters
        ----------
        x : array_like of real numbers, shape (n, n_inputs)
            One sample per row.

        Returns
        -------
        classes : ndarray of int64, shape (n,)
            Labels from 0. With a single output, 1 where a "sigmoid" is above 0.5 or a "tanh" is above 0.

        Raises
        ------
        TypeError, ValueError
            If `x` is not finite real numbers in that shape, or the network has a single output that is neither "sigmoid" nor
            "tanh".

        Examples
        --------
        >>> import nnpy
        >>> net = nnpy.NeuralNetwork([2, 3], "softmax", seed=0)
        >>> net.biases[0] = [0, 9, 0]
        >>> net.predict_classes([[1, 2], [3, 4]])
        array([1, 1])
        """
        threshold = threshold_for_classes(self._activations[-1], self._layer_sizes[-1])
        return predicted_classes(self.predict(x), threshold)

    def evaluate(
        self,
        x: ArrayLike,
        y: ArrayLike,
        *,
        loss: Loss | str | None = None,
        metrics: str | Metric | Iterable[str | Metric] | Mapping[str, str | Metric] | None = None,
        sample_weight: ArrayLike | None = None,
        missing: Literal["raise", "ignore"] = "raise",
    ) -> dict[str, float]:
        """Compute the loss and metrics.

        Parameters
        ----------
        x, y, loss, sample_weight, missing
            As in `loss`.
        metrics : str, callable, sequence, or mapping of names, optional
            "accuracy", "r2", or functions of y and the outputs that return a number, such as scikit-learn's. The default is the
            accuracy if the last activation is "softmax" or "sigmoid", else R^2. They do not use `sample_weight`.

        Returns
        -------
        values : dict of float
            "loss" and the metrics by name.

        Raises
        ------
        TypeError, ValueError
            If an argument is not of that form, or `x` and `y` have no rows.

        Examples
        --------
        >>> import nnpy
        >>> net = nnpy.NeuralNetwork([1, 1], "linear")
        >>> net.parameters = [2, 0]
        >>> net.evaluate([[1], [2]], [2, 5])
        {'loss': 0.5, 'r2': 0.7777777777777778}
        """
        kind, last = check_loss(loss, self._activations[-1]), self._activations[-1]
        if metrics is None:
            metrics = "accuracy" if last in {"softmax", "sigmoid"} else "r2"
        functions = check_metrics(metrics, kind, last)
        model, scaler = self._in_units_of_targets()
        samples = model._samples(x, y, kind, scaler=scaler, sample_weight=sample_weight, missing=missing)
        out32 = np.empty((len(samples), self._layer_sizes[-1]), np.float32)
        values = {"loss": model._evaluate(samples, kind, out=out32)}
        out = out32 if scaler is None or scaler.y_mean is None else scaler.unscale_y(out32)
        return values | measure(functions, samples.given_y, out)

    def score(self, x: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """Compute the accuracy of a classifier or the R^2 of a regression, as scikit-learn's estimators do.

        Parameters
        ----------
        x : array_like of real numbers, shape (n, n_inputs)
            Inputs, one sample per row.
        y : array_like, shape (n,) or (n, n_outputs)
            Labels or targets.
        sample_weight : array_like of real numbers, shape (n,), optional
            Weights of the samples.

        Returns
        -------
        score : float
            If the last activation is "softmax" or "sigmoid", the proportion of samples whose class is right; else the
            coefficient of determination, averaged over the outputs.

        Raises
        ------
        TypeError, ValueError
            If an argument is not of that form, or `x` and `y` have no rows.

        Examples
        --------
        >>> import nnpy
        >>> net = nnpy.NeuralNetwork([1, 1])
        >>> net.parameters = [1, 0]
        >>> net.score([[-2], [-1], [1], [2]], [0, 0, 1, 0])
        0.75
        """
        last = self._activations[-1]
        kind, scaling = check_loss(None, last), self._scaling
        samples = self._samples(x, y, kind, scaler=scaling.scaler)
        weights = None if sample_weight is None else check_sample_weight(sample_weight, len(samples))
        out32 = np.empty((len(samples), self._layer_sizes[-1]), np.float32)
        self._evaluate(samples, kind, out=out32)
        return score(last, samples.given_y, self._in_units(out32, scaling), weights)

    # ---- Scaling ----

    def fit_scaler(self, x: ArrayLike | None, y: ArrayLike | None = None) -> None:
        """Standardise inputs, and targets, inside the network, by their means and standard deviations in this data.

        From now on the first layer gets (x - mean) / deviation for all inputs x. With `y` the network is trained on scaled
        targets, and `predict` returns outputs in the units of y. Copies, pickle and `save` keep the scaler. Networks learn best
        from inputs and targets with mean 0 and deviation 1.

        Parameters
        ----------
        x : array_like of real numbers, shape (n, n_inputs), or None
            The training inputs, not scaled. None removes the scaler.
        y : array_like of real numbers, shape (n, n_outputs), optional
            The targets of a regression; NaN (a missing target) is left out.

        Raises
        ------
        TypeError, ValueError
            If they are not finite real numbers in those shapes, or have no rows; or if there are targets and the last
            activation is neither "linear" nor "leaky_relu", as the outputs of others are limited.

        Notes
        -----
        A column that never changes has the deviation 1. All is computed and stored in float64, and rounded to float32 only
        after scaling: large numbers that differ by little, such as timestamps, stay apart. Nothing is copied: float32 arrays
        are scaled as they are read, in training a mini-batch at a time.

        The loss in training (`History.loss`, `History.val_loss`, `backpropagation`) is that of the scaled targets. `loss`,
        `mse`, `evaluate`, `score` and `input_gradient` are in the units of y, and the outputs are float64.

        Examples
        --------
        >>> import nnpy
        >>> net = nnpy.NeuralNetwork([2, 1], "linear")
        >>> net.fit_scaler([[0, 100], [2, 300]], [5, 7])
        >>> net.scaler.x_mean, net.scaler.x_scale
        (array([  1., 200.]), array([  1., 100.]))
        """
        if x is None:
            if y is not None:
                raise ValueError("y needs x: fit_scaler(None) removes the scaler")
            self._set_scaler(None)
            self._can_choose_scaler = False
            return
        names = self._check_feature_names(x)
        inputs = as_table(x, "x", self._layer_sizes[0], what="input")
        targets = None if y is None else as_table(to_array(y, "y"), "y", self._layer_sizes[-1], what="output")
        if len(inputs) == 0 or (targets is not None and len(targets) == 0):
            raise ValueError("x and y must have at least one row, got none")
        last = self._activations[-1]
        if targets is not None and not ACTIVATIONS[last].is_homogeneous:
            limits = ACTIVATIONS[last].describe_range()
            raise ValueError(
                f'targets cannot be scaled for a last layer of "{last}", whose outputs are {limits}; use "linear"'
            )
        check_finite(to_float32(inputs), "x")
        if targets is not None:
            check_finite(to_float32(targets), "y", allow_nan=True)
        scaler = Scaler.fit(inputs, targets)
        with self._lock:
            self._set_scaler(scaler)
            self._can_choose_scaler = False
            self._feature_names = names or self._feature_names

    # ---- Inspection ----

    def summary(self) -> str:
        """Describe the network in a table: the shape, activation and number of parameters of each layer, and the default loss.

        Returns
        -------
        table : str
            Lines to print.

        Examples
        --------
        >>> import nnpy
        >>> print(nnpy.NeuralNetwork([784, 128, 10], ["relu", "softmax"]).summary())
        layer  shape      activation  parameters
            1  784 x 128  relu           100,480
            2  128 x 10   softmax          1,290
        total                            101,770
        memory: 398 KiB of float32
        loss: "cross_entropy" by default, summed over the 10 outputs, averaged over the samples
        """
        from nnpy import _inspection

        return _inspection.summary(_inspection.table(self), _inspection.notes(self))

    def _repr_html_(self) -> str:
        """Show the layers in a table, in a notebook."""
        from nnpy import _html, _inspection

        return _html.network(repr(self), _inspection.table(self), _inspection.notes(self))

    def check_gradients(
        self,
        x: ArrayLike,
        y: ArrayLike,
        *,
        loss: Loss | str | None = None,
        eps: float = 1e-5,
        max_parameters: int = 100,
        seed: int = 0,
    ) -> GradientCheck:
        """Compare backpropagation with finite differences in float64, for the weights and the biases of each layer.

        Parameters
        ----------
        x, y, loss
            As in `loss`.
        eps : float
            The difference h of (C(p + h) - C(p - h)) / (2 h), which is computed in float64 by an independent implementation.
        max_parameters : int
            The most parameters to compare of each array; `seed` determines which.
        seed : int
            0 to 2**64 - 1.

        Returns
        -------
        check : GradientCheck
            ``check.ok`` says whether all agree; printing it shows the largest difference for each array.

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
        from nnpy import _inspection

        kind = check_loss(loss, self._activations[-1])
        eps = positive(eps, "eps")
        max_parameters = integer(max_parameters, "max_parameters", 1, COUNT_MAX)
        seed = integer(seed, "seed", 0, 2**64 - 1)
        samples = self._samples(x, y, kind, scaler=self.scaler)
        samples.check_inputs()
        grad = self._gradient(samples, kind)
        return _inspection.check_gradients(self, samples, kind, grad, eps=eps, max_parameters=max_parameters, seed=seed)

    # ---- Training ----

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
        """Train by full-batch gradient descent: parameters -= rate * gradient, `iterations` times, in C.

        Parameters
        ----------
        x : array_like of real numbers, shape (n, n_inputs)
            Inputs, one sample per row.
        y : array_like of real numbers, shape (n, n_outputs)
            Targets; of shape (n,) for a network with one output. With "softmax", integer labels of shape (n,) or rows of
            probabilities. They must be possible outputs of the last layer.
        rate : float
            The learning rate, positive.
        iterations : int
            The number of steps.
        eps : float, optional
            Compute the gradient by finite differences with this difference instead of by backpropagation; not with labels.
        loss : Loss or str, optional
            As in `loss`.
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
            If the loss or a parameter becomes NaN or infinite, as the rate is too large for the data. The network has its last
            finite parameters (with `eps`, those before the call).

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
        prepared = self._prepared_descent
        if (
            prepared is not None
            and eps is None
            and progress is False
            and prepared.train(self, x, y, rate=rate, iterations=iterations, loss=loss)
        ):
            return
        rate = positive(rate, "rate")
        iterations = integer(iterations, "iterations", 0, COUNT_MAX)
        kind = check_loss(loss, self._activations[-1])
        eps = None if eps is None else positive(eps, "eps")

        def divergence(num_steps: int) -> Exception:
            if num_steps == 0 and not np.isfinite(self._parameters).all():
                return ValueError("the parameters of the network are not finite")
            return divergence_in_iteration(num_steps + 1)

        if eps is None:
            samples = self._training_samples(x, y, kind)
            if iterations == 0:
                samples.check_inputs()
            optimizer = ffi.new("NNOptimizer *", {"kind": lib.NN_SGD, "learning_rate": rate})
            options = ffi.new("NNTrainOptions *", {"batch_size": len(samples), "num_epochs": iterations})
            train, arguments = lib.nn_train, [samples.c[0], optimizer, options[0], backend[0]]
        else:
            samples = self._unlabelled_samples(x, y, kind, for_training=True)
            train, arguments = lib.nn_finite_diff_descent, [rate, eps, samples.c.x, samples.c.y, iterations]
        with progress_bar(iterations, "iteration", progress) as update, self._lock:
            before = None if eps is None else self._parameters.copy()
            call(
                train,
                self._nn_with_loss(kind),
                *arguments,
                progress=update,
                on_not_finite=samples.check_inputs,
                on_diverged=divergence,
            )
            if before is not None and not np.isfinite(self._parameters).all():
                self.parameters = before
                raise divergence(0)
            if eps is None and iterations > 0:
                self._prepared_descent = PreparedDescent(self, kind, y, rate=rate, iterations=iterations, loss=loss)

    def fit(
        self,
        x: ArrayLike | Iterable[Any],
        y: ArrayLike | None = None,
        *,
        loss: Loss | str | None = None,
        optimizer: Optimizer | str | None = None,
        epochs: int | Literal["auto"] = "auto",
        batch_size: int | Literal["auto"] | None = "auto",
        shuffle: bool = True,
        seed: int | None = None,
        validation_data: tuple[ArrayLike, ...] | None = None,
        validation_split: float | None = None,
        early_stopping: int | EarlyStopping | None = None,
        sample_weight: ArrayLike | None = None,
        class_weight: Mapping[int, float] | Literal["balanced"] | None = None,
        missing: Literal["raise", "ignore"] = "raise",
        dropout: float | Sequence[float] | None = None,
        l2: float | None = None,
        clip_norm: float | None = None,
        metrics: str | Metric | Iterable[str | Metric] | Mapping[str, str | Metric] | None = None,
        callbacks: Callback | Iterable[Callback] = (),
        checkpoint: str | os.PathLike[str] | None = None,
        resume: str | os.PathLike[str] | None = None,
        progress: bool = False,
        verbose: int = 0,
    ) -> History:
        """Train by mini-batches. What the arguments leave open is chosen to suit the data; ``history.chosen`` says what.

        Parameters
        ----------
        x : array_like of real numbers, shape (n, n_inputs), or iterable of batches
            Inputs, one sample per row. Without `y`, an iterable of batches (x, y) or (x, y, sample_weight), for data larger
            than memory; each batch is one step, or several of `batch_size` samples. More than one epoch needs an iterable that
            can be iterated again, not an iterator. If it has a length, a schedule changes the learning rate within an epoch,
            else only from epoch to epoch.
        y : array_like of real numbers, shape (n, n_outputs)
            Targets; of shape (n,) for a network with one output. With the cross-entropy, integer labels of shape (n,) or rows
            of probabilities. They must be possible outputs of the last layer: from 0 to 1 for "sigmoid".
        loss : Loss or str, optional
            The loss to minimise, such as "mae" or ``nnpy.Huber(0.5)``. The default is the cross-entropy if the last activation
            is "softmax", else the squared error.
        optimizer : Optimizer or str, optional
            `SGD`, `Adam`, `AdamW`, `RMSprop`, or a full-batch method: `Rprop`, `LBFGS`, `LevenbergMarquardt`; an object, or a
            name such as "sgd" for default parameters. Its learning rate may be a schedule. The default is `Adam` with a
            `CosineDecay` of the learning rate to 0: from 0.02 if the hidden layers are "sigmoid", else from 0.005; times
            sqrt(128 / width) if a hidden layer is wider than 128.
        epochs : int or "auto"
            The number of passes over the samples. "auto" is as many as are best for samples that are not trained on; see Notes.
        batch_size : int or None
            The number of samples per step; the last step of an epoch takes the rest. None is all samples. The default is 32,
            and None for an iterable of batches and for full-batch methods, which need that.
        shuffle : bool
            Whether to change the order of the samples in each epoch (of the samples of a batch, if x is an iterable).
        seed : int, optional
            Seed of the shuffling, of dropout and of `validation_split`, 0 to 2**64 - 1. Without it they are random.
        validation_data : (x, y) or (x, y, sample_weight), optional
            Data whose loss is computed after each epoch.
        validation_split : float, optional
            The proportion of the samples to set aside as validation data, chosen at random; between 0 and 1.
        early_stopping : int or EarlyStopping, optional
            Stop after this number of epochs without an improvement of the validation loss (without validation data, of the
            training loss). The network gets the parameters of the best epoch.
        sample_weight : array_like of real numbers, shape (n,), optional
            Weights w of the samples, not negative: the loss is sum_i w_i C_i / sum_i w_i. (Weights that come with batches are
            not divided by their mean, as the mean over all batches is not known.)
        class_weight : mapping or "balanced", optional
            Weights of the classes by label; "balanced" is n / (classes * n_class), which gives all classes the same total. For
            integer labels, or targets 0 and 1 of a single output. Multiplied with `sample_weight`.
        missing : {"raise", "ignore"}
            The meaning of NaN in y: an error, or a missing target, whose term is left out of the loss. A sample without any
            target is left out of the average.
        dropout : float or sequence of float, optional
            Inverted dropout [1]_: the probability that an activation of a hidden layer is dropped in a step, from 0 to 0.99;
            one for all hidden layers, or one for each. The others are multiplied by 1 / (1 - probability), so that `predict`
            needs no change.
        l2 : float, optional
            L2 penalty: l2 / 2 times the sum of the squared weights, not biases, is added to the loss to minimise. Reported
            losses are without it. The default is 0, or what cross-validation finds; see Notes. (Decoupled weight decay is
            `weight_decay` of `SGD` and `AdamW`.)
        clip_norm : float, optional
            The largest Euclidean norm of the gradient of a step, without `l2`; a larger gradient is scaled down to it [2]_.
        metrics : str, callable, sequence, or mapping of names, optional
            Computed after each epoch on the validation data (without validation data, on the training data): "accuracy", "r2",
            or functions of y and the outputs that return a number, such as scikit-learn's. The default is the accuracy for a
            classifier with validation data.
        callbacks : callable, or sequence of callables
            Called with the network and the history after each epoch; training stops if one returns True.
        checkpoint : str or path-like, optional
            A file to which the network and the state of the training are written after an epoch, about once a second, and at
            the end. It has the last parameters and, with early stopping, the best ones. It is not written on Ctrl-C, which may
            come within an epoch.
        resume : str or path-like, optional
            A checkpoint from which to resume, with the same arguments and data. The result is bit-identical to that of training
            without an interruption.
        progress : bool
            Show a progress bar (needs tqdm, the ``progress`` extra).
        verbose : {0, 1}
            1 prints a line after each epoch.

        Returns
        -------
        history : History
            ``history.loss`` is the mean loss of each epoch. After Ctrl-C it has the epochs that were completed, with
            ``history.stopped`` "interrupt"; the network is in the state after some whole number of steps or, with early
            stopping, has the parameters of the best epoch.

        Raises
        ------
        TypeError, ValueError
            If an argument is not of that form. The network is unchanged, except by earlier batches if x is an iterable, and by
            the epochs before a metric or a schedule that returns no number.
        ImportError
            If `progress` is set and tqdm is not installed. The network is unchanged.
        DivergenceError
            If the loss or a parameter becomes NaN or infinite. It names epoch and batch; the network has its last finite
            parameters or, with early stopping, the best ones.
        OSError
            If a checkpoint cannot be written or read.

        Notes
        -----
        The following is chosen from the data. Each choice is made only where an argument leaves it open:

        - The last activation, if the network was created without `activations` and is not trained: "softmax" for labels or
          probabilities of several classes, "sigmoid" for targets that are all 0 or 1, else "linear". A loss that needs one of
          them decides. The network is then the one that has this activation and the same seed.
        - The scaler, if `fit_scaler` was not called and the network is not trained. Inputs are standardised if the mean or the
          deviation of one is beyond 3, or all deviations are below 0.1; pixels from 0 to 255 are divided by 255. Targets of a
          "linear" or "leaky_relu" layer are standardised if a mean or deviation is beyond 2, or a deviation below 0.2 (not with
          the Huber loss, whose delta is in their units, or the cross-entropy). ``fit_scaler(None)`` before `fit` prevents it.
        - The number of epochs, if `epochs` is "auto". It is limited so that a million samples are seen, but to at least 5 and
          at most 300 epochs, or to 2,000 steps if that is more; to 300 for full-batch methods. If that number times samples
          times parameters is at most 5e9, and the network is not trained, the best number is found by 5-fold cross-validation
          (with more than 2,000 samples, by one of the five folds), together with an `l2` of 0, 1 / n, 3 / n or 10 / n if that
          is None. All samples are then trained on for 1.3 times that number. Else a tenth of the samples, at most 10,000, is
          held out, and training stops early by their loss. With validation data, training stops early by its loss; with
          `early_stopping`, as that says; with fewer than 10 samples, after all epochs. Batches of an iterable are gone through
          10 times. There is no cross-validation with `checkpoint`, `resume`, `ReduceOnPlateau` or a full-batch method.

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
        from nnpy._training import defaults
        from nnpy._training.options import FitOptions

        options = FitOptions(
            loss=loss,
            optimizer=optimizer,
            epochs=epochs,
            batch_size=batch_size,
            shuffle=shuffle,
            seed=seed,
            validation_data=validation_data,
            validation_split=validation_split,
            early_stopping=early_stopping,
            sample_weight=sample_weight,
            class_weight=class_weight,
            missing=missing,
            dropout=dropout,
            l2=l2,
            clip_norm=clip_norm,
            metrics=metrics,
            callbacks=callbacks,
            checkpoint=checkpoint,
            resume=resume,
            progress=progress,
            verbose=verbose,
        )
        with self._lock:
            return defaults.fit(self, x, y, options)

    def partial_fit(
        self,
        x: ArrayLike,
        y: ArrayLike,
        *,
        loss: Loss | str | None = None,
        optimizer: Optimizer | str | None = None,
        batch_size: int | None = 32,
        shuffle: bool = True,
        seed: int | None = None,
        sample_weight: ArrayLike | None = None,
        class_weight: Mapping[int, float] | None = None,
        missing: Literal["raise", "ignore"] = "raise",
        dropout: float | Sequence[float] | None = None,
        l2: float = 0.0,
        clip_norm: float | None = None,
    ) -> float:
        """Train on some samples of a stream for one epoch; the optimiser keeps its state from call to call.

        Parameters
        ----------
        x, y, loss, batch_size, shuffle, seed, sample_weight, class_weight, missing, dropout, l2, clip_norm
            As in `fit`; but weights are not divided by their mean, as the mean over the stream is not known. With a seed, the
            order of the samples still changes from call to call.
        optimizer : Optimizer or str, optional
            The default is that of the last call, or ``nnpy.Adam()`` in the first one. A different one starts with a new state.
            Its learning rate must be a number.

        Returns
        -------
        loss : float
            Mean loss of the samples. The loss of each sample is taken before the step that the sample is part of.

        Raises
        ------
        TypeError, ValueError
            If an argument is not of that form. The network is unchanged.
        DivergenceError
            If the loss or a parameter becomes NaN or infinite; the network has its last finite parameters.
        KeyboardInterrupt
            On Ctrl-C, within a fraction of a second. The network is in the state after some whole number of steps.

        Examples
        --------
        >>> import numpy as np
        >>> import nnpy
        >>> net = nnpy.NeuralNetwork([2, 1], "linear", seed=0)
        >>> for batch in np.random.default_rng(0).normal(size=(50, 100, 2)):
        ...     loss = net.partial_fit(batch, batch.sum(axis=1), optimizer=nnpy.Adam(0.1), seed=0)
        >>> print(net.weights[0].round(2).ravel())
        [1. 1.]
        """
        prepared = self._prepared_step
        if prepared is not None and sample_weight is None and class_weight is None:
            others = (loss, batch_size, shuffle, missing, dropout, l2, clip_norm)
            value: float | None = prepared.train(self, x, y, others, optimizer=optimizer, seed=seed)
            if value is not None:
                return value

        from nnpy._training import loop
        from nnpy._training.options import FitOptions

        options = FitOptions(
            loss=loss,
            optimizer=optimizer,
            epochs=1,
            batch_size=batch_size,
            shuffle=shuffle,
            seed=seed,
            sample_weight=sample_weight,
            class_weight=class_weight,
            missing=missing,
            dropout=dropout,
            l2=l2,
            clip_norm=clip_norm,
        )
        with self._lock:
            return loop.partial_fit(self, x, y, options)

    # ---- Files ----

    def save(self, path: str | os.PathLike[str], *, optimizer: bool = True) -> None:
        """Write the network to a file for `nnpy.load`: layers, activations, parameters, scaler, names.

        Parameters
        ----------
        path : str or path-like
            The file, usually with the ending .npz: numpy.load reads it as well. It is written under another name and then
            renamed, so that at any moment there is the old file or the new one.
        optimizer : bool
            Whether to write the state of the optimiser of `partial_fit`, if there is one, so that training continues after
            `load`. It takes twice the size of the parameters.

        Raises
        ------
        OSError
            If it cannot be written. An old file is unchanged.
        """
        from nnpy import _serialization

        _serialization.write(path, self.__getstate__(), with_optimizer=optimizer)

    def quantize(self, calibration: ArrayLike, *, method: str = "auto") -> QuantizedNetwork:
        """Return a network of 8-bit integers with nearly the same outputs: a quarter of the size, and faster.

        Parameters
        ----------
        calibration : array_like of real numbers, shape (n, n_inputs)
            Inputs like those to come, such as some hundred of the training inputs. The ranges of all activations are found
            with them.
        method : {"auto", "max", "percentile", "mse"}
            The range of an activation is that from the smallest to the largest, for "max"; that without a proportion of 1e-4
            at each end, for "percentile"; the one with the least squared error of rounding, for "mse". "auto" takes whichever
            gives outputs with the least squared error, and does it with one range for all inputs or with one for each.

        Returns
        -------
        network : QuantizedNetwork
            A new network; this one is not changed.

        Raises
        ------
        TypeError, ValueError
            If an argument is not of that form or has no rows, or the parameters of the network are not finite or too large or
            too small to be quantized.

        Notes
        -----
        Ranges are found with one half of the rows, and methods are compared with the other half; then all rows are used. Of
        more than 16,384 rows, evenly spaced ones are taken. The integers are the same on every machine.

        Examples
        --------
        >>> import numpy as np
        >>> import nnpy
        >>> x = np.random.default_rng(0).normal(size=(200, 4))
        >>> net = nnpy.NeuralNetwork([4, 8, 3], ["relu", "softmax"], seed=0)
        >>> q = net.quantize(x)
        >>> q.predict(x).shape, q.parameters.layers[0].weights.dtype
        ((200, 3), dtype('int8'))
        """
        from nnpy import _quantization

        if method not in ("auto", *_quantization.METHODS):
            raise ValueError(f"method must be 'auto', 'max', 'percentile' or 'mse', got {method!r}")
        names = self._check_feature_names(calibration)
        x = to_float32(as_table(calibration, "calibration", self._layer_sizes[0], what="input"))
        if len(x) == 0:
            raise ValueError("calibration must have at least one row, got none")
        check_finite(x, "calibration")
        with self._lock:
            if not np.isfinite(self._parameters).all():
                raise ValueError("the parameters of the network are not finite")
            parameters = _quantization.calibrate(self, x, method)
        return QuantizedNetwork(parameters, self._feature_names or names, self._class_names, self._target_names)

    def to_onnx(self, path: str | os.PathLike[str], *, opset: int | None = None) -> None:
        """Write the network as an ONNX model (needs onnx: ``pip install 'nnpy[onnx]'``).

        The model has one input "x", float32 of shape (n, n_inputs), and one output "y" of shape (n, n_outputs): what `predict`
        returns, float32, or float64 if targets are scaled. ONNX checks it before it is written.

        Parameters
        ----------
        path : str or path-like
            The file, usually with the ending .onnx. It is written under another name and then renamed.
        opset : int, optional
            The version of ONNX's operators, at least 20. The default is the newest one of the installed onnx, up to 28, which
            ONNX Runtime 1.32 has. Older runtimes need an older one.

        Raises
        ------
        ImportError
            If onnx is not installed.
        TypeError, ValueError
            If `opset` is out of range, or the parameters of the network are not finite.
        OSError
            If the file cannot be written. An old file is unchanged.

        Notes
        -----
        A scaler becomes part of the model, in float64. `from_onnx` reads the file back with the same bits. Results of ONNX
        Runtime differ by rounding.

        Examples
        --------
        >>> import nnpy
        >>> nnpy.NeuralNetwork([2, 2, 1], seed=0).to_onnx("xor.onnx")  # doctest: +SKIP
        >>> import onnxruntime  # doctest: +SKIP
        >>> session = onnxruntime.InferenceSession("xor.onnx")  # doctest: +SKIP
        >>> session.run(["y"], {"x": np.zeros((1, 2), np.float32)})  # doctest: +SKIP
        """
        with needs("onnx", "to_onnx"):
            from nnpy._interchange import onnx_writer
        with self._lock:
            onnx_writer.write(self, path, opset=opset)

    def to_torch(self) -> torch.nn.Sequential:
        """Return a PyTorch module with copies of the parameters (needs PyTorch: ``pip install 'nnpy[torch]'``).

        Returns
        -------
        module : torch.nn.Sequential
            A Linear for each layer and a module for its activation function; "linear" has none. A scaler is a module
            "inputs" before them and, if targets are scaled, one "outputs" after them, which returns float64.

        Raises
        ------
        ImportError
            If PyTorch is not installed.

        Notes
        -----
        `from_torch` gives the same bits back. Results of PyTorch differ by rounding. `state_dict` has the names and values of
        the module's.

        Examples
        --------
        >>> import nnpy
        >>> nnpy.NeuralNetwork([3, 4, 2], ["relu", "softmax"], seed=0).to_torch()  # doctest: +SKIP
        Sequential(
          (0): Linear(in_features=3, out_features=4, bias=True)
          (1): ReLU()
          (2): Linear(in_features=4, out_features=2, bias=True)
          (3): Softmax(dim=1)
        )
        """
        with needs("torch", "to_torch"):
            from nnpy._interchange import torch_modules
        with self._lock:
            return torch_modules.make(self)

    def to_keras(self) -> keras.Sequential:
        """Return a Keras 3 model with copies of the parameters (needs Keras: ``pip install 'nnpy[keras]'``, and a backend).

        Returns
        -------
        model : keras.Sequential
            A Dense for each layer, with its activation function. A scaler is a Normalization before them and, if targets are
            scaled, a Rescaling after them, in float32.

        Raises
        ------
        ImportError
            If Keras is not installed.

        Notes
        -----
        `from_keras` gives the same weights and biases back, bit for bit, and the scaler up to rounding to float32.

        Examples
        --------
        >>> import nnpy
        >>> nnpy.NeuralNetwork([3, 4, 2], ["relu", "softmax"], seed=0).to_keras()  # doctest: +SKIP
        <Sequential name=sequential, built=True>
        """
        with needs("keras", "to_keras"):
            from nnpy._interchange import keras_models
        with self._lock:
            return keras_models.make(self)

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """Return copies of the parameters by PyTorch's names and in its shapes.

        Returns
        -------
        state : dict of ndarray
            For each layer "N.weight", float32 of shape (n_outputs, n_inputs), and "N.bias", of shape (n_outputs,). N is the
            position of the layer in a `torch.nn.Sequential` of Linear modules and activation functions, as `to_torch` returns
            it: 0, 2, 4, ... A scaler is "inputs.mean" and "inputs.scale", and "outputs.mean" and "outputs.scale" if targets
            are scaled, float64.

        See Also
        --------
        load_state_dict : The opposite.
        to_safetensors : The same in a file.

        Examples
        --------
        >>> import nnpy
        >>> net = nnpy.NeuralNetwork([3, 4, 2], ["relu", "softmax"], seed=0)
        >>> {name: array.shape for name, array in net.state_dict().items()}
        {'0.weight': (4, 3), '0.bias': (4,), '2.weight': (2, 4), '2.bias': (2,)}

        The same for a module of PyTorch:

        >>> state = {name: torch.from_numpy(array) for name, array in net.state_dict().items()}  # doctest: +SKIP
        >>> module.load_state_dict(state)  # doctest: +SKIP
        """
        from nnpy._interchange import state_dict

        with self._lock:
            return state_dict.get_state(self)

    def load_state_dict(self, state: Mapping[str, ArrayLike]) -> None:
        """Set the parameters from arrays or tensors by PyTorch's names and in its shapes.

        Parameters
        ----------
        state : mapping of str to array_like
            As `state_dict` returns it, or the state_dict of a `torch.nn.Sequential` of the same layers: all of its names, and
            no others. The scaler becomes that of the state, or none if the state has none.

        Raises
        ------
        TypeError, ValueError
            If a name is missing or unknown, an array has another shape, or a number is not finite in float32. The network is
            unchanged then.

        Examples
        --------
        >>> import nnpy
        >>> net, other = nnpy.NeuralNetwork([3, 4, 2], seed=0), nnpy.NeuralNetwork([3, 4, 2], seed=1)
        >>> other.load_state_dict(net.state_dict())
        >>> bool((other.parameters == net.parameters).all())
        True
        """
        from nnpy._interchange import state_dict

        state_dict.set_state(self, state)

    def to_safetensors(self, path: str | os.PathLike[str]) -> None:
        """Write the parameters to a safetensors file (needs safetensors: ``pip install 'nnpy[safetensors]'``).

        The file has the arrays of `state_dict`, and the activation functions and all names in its metadata.
        `from_safetensors` gives the same bits back.

        Parameters
        ----------
        path : str or path-like
            The file, usually with the ending .safetensors. It is written under another name and then renamed.

        Raises
        ------
        ImportError
            If safetensors is not installed.
        OSError
            If the file cannot be written. An old file is unchanged.

        Examples
        --------
        >>> import nnpy
        >>> nnpy.NeuralNetwork([2, 2, 1], seed=0).to_safetensors("xor.safetensors")  # doctest: +SKIP
        """
        with needs("safetensors", "to_safetensors"):
            from nnpy._interchange import safetensors_file
        with self._lock:
            safetensors_file.write(self, path)

    def export_c(
        self,
        path: str | os.PathLike[str],
        *,
        name: str = "net",
        class_names: Sequence[str] | None = None,
        test_inputs: ArrayLike | None = None,
        training: bool = False,
        loss: Loss | str | None = None,
    ) -> None:
        """Write the network as one file of C that computes the same bits, for programs and devices without Python.

        The file is a header with its implementation, C99 and C++11, without heap, files and mathematical library. One source
        file of a program defines ``NAME_IMPLEMENTATION`` before it includes it; see the comment at its beginning. It has the
        functions ``name_predict(in, out)``; ``name_classify(in)`` where `predict_classes` works; ``name_class_name(number)``;
        and ``name_selftest()``, which returns the number of wrong results: 0.

        Parameters
        ----------
        path : str or path-like
            The file, usually with the ending .h. It is written under another name and then renamed.
        name : str
            The prefix of the names in C: a C identifier of lower-case letters, digits and single underscores.
        class_names : sequence of str, optional
            A name for each class; two for a single output. The default is `class_names` of the network.
        test_inputs : array_like of real numbers, shape (n, n_inputs), optional
            Inputs for the self-test, which become part of the file. By default there are up to 8 random ones.
        training : bool
            Whether learning can go on in C: ``name_train(in, target, rate)`` takes a step of stochastic gradient descent on one
            sample, with the bits of ``partial_fit(x, y, optimizer=SGD(rate), batch_size=1)``. The parameters are in RAM then.
        loss : Loss or str, optional
            The loss of the training: "mse", "cross_entropy" or "binary_cross_entropy". The default is as in `fit`.

        Raises
        ------
        TypeError, ValueError
            If an argument is not of that form, or the parameters of the network are not finite.
        OSError
            If the file cannot be written. An old file is unchanged.

        Notes
        -----
        Inputs are float32, and must be finite. Outputs are float, or double if targets are scaled. The bits are those of
        `predict` for every activation function, with a scaler too, on every processor with IEEE 754 arithmetic that rounds to
        nearest. For a scaler a compiler whose double has four bytes, such as avr-gcc, needs ``NAME_FAST``.

        Examples
        --------
        >>> import nnpy
        >>> nnpy.NeuralNetwork([2, 2, 1], seed=0).export_c("xor.h", name="xor_net")  # doctest: +SKIP
        """
        from nnpy._export_c import export_c

        with self._lock:
            class_names = self._class_names if class_names is None else class_names
            export_c(
                self, path, name=name, class_names=class_names, test_inputs=test_inputs, training=training, loss=loss
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
        If it is another file, is damaged, or has the format of another version of nnpy.

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

    saved = _serialization.read(path)
    net = NeuralNetwork(saved.layer_sizes, saved.activations, seed=0)
    net.parameters = saved.parameters
    net._set_scaler(saved.scaler)
    net._seed, net._can_choose_activation, net._can_choose_scaler = saved.choices
    net._feature_names, net._class_names, net._target_names = saved.names
    if saved.optimizer is not None:
        try:  # a damaged file may ask for a state that no memory can hold
            state = OptimizerState(saved.optimizer, net.parameters.size)
            state.set_from_arrays(saved.optimizer_state)
        except (ValueError, MemoryError) as error:
            raise ValueError(f"{path} is not a network that nnpy saved: {error}") from error
        net._state = state
    return net
