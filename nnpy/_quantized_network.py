"""`QuantizedNetwork`, the public class: a `QuantizedModel` with classes, scores, files and a summary."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nnpy._losses import check_loss
from nnpy._metrics import predicted_classes, score, threshold_for_classes
from nnpy._quantized_model import QuantizedModel
from nnpy._samples import as_samples, check_sample_weight

__all__ = ["QuantizedNetwork"]


class QuantizedNetwork(QuantizedModel):
    """A network of 8-bit integers, for prediction only: a quarter of the size, and faster.

    `NeuralNetwork.quantize` makes one. Inputs are rounded to one of 256 numbers; from there on, everything is computed with
    integers: weights of 8 bits with a scale for each output, sums of 32 bits that are multiplied and rounded once, tables for
    "sigmoid", "tanh" and other activation functions. So every processor computes the same, and so does the C file that
    `export_c` writes.

    Attributes
    ----------
    layer_sizes : tuple of int
    activations : tuple of str
    feature_names, class_names, target_names : tuple of str or None
        As those of the network that it was made from.
    parameters : QuantizedParameters
        All integers and scales: ``parameters.layers[l].weights``, int8, shape (outputs, inputs), ``biases``, ``multipliers``.
    num_bytes : int
        The memory that they take.
    output_scale : float
        What 1 stands for in the integers of the outputs.

    Notes
    -----
    A layer is computed as in B. Jacob et al., "Quantization and training of neural networks for efficient
    integer-arithmetic-only inference", CVPR 2018, but that zero points are part of the biases, and that products of 62 bits
    are rounded once.

    Examples
    --------
    >>> import numpy as np
    >>> import nnpy
    >>> x = np.linspace(-1, 1, 200).reshape(-1, 1)
    >>> net = nnpy.NeuralNetwork([1, 16, 1], ["tanh", "linear"], seed=0)
    >>> history = net.fit(x, x**2, optimizer=nnpy.Adam(0.01), epochs=100, seed=0)
    >>> q = net.quantize(x)
    >>> q
    <QuantizedNetwork [1, 16, 1], ['tanh', 'linear']>
    >>> bool(abs(q.predict(x) - net.predict(x)).max() < 0.02)
    True
    """

    __slots__ = ()

    def predict_classes(self, x: ArrayLike) -> NDArray[np.int64]:
        """Compute the class of each sample: the index of the largest output; for a single output, 1 if it is above a threshold.

        With "softmax", the index of its largest input, which is exact where probabilities round to the same number.

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
        """
        threshold = threshold_for_classes(self.activations[-1], self.layer_sizes[-1])
        return predicted_classes(self._logits(x), threshold / self.output_scale)

    def score(self, x: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """Compute the accuracy of a classifier or the R^2 of a regression, as `NeuralNetwork.score` does.

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
            The accuracy if the last activation is "softmax" or "sigmoid", else R^2.

        Raises
        ------
        TypeError, ValueError
            If an argument is not of that form, or `x` and `y` have no rows.
        """
        last = self.activations[-1]
        self._inputs(x)  # for the message about columns
        samples = as_samples(x, y, self.layer_sizes, last, loss=check_loss(None, last))
        weights = None if sample_weight is None else check_sample_weight(sample_weight, len(samples))
        out = self._logits(samples.x) if last in {"softmax", "sigmoid"} else self.predict(samples.x)
        scale = self.output_scale if last in {"softmax", "sigmoid"} else 1.0
        return score(last, samples.given_y, out * scale, weights)

    # ---- Files ----

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the network to a file for `QuantizedNetwork.load`.

        Parameters
        ----------
        path : str or path-like
            The file, usually with the ending .npz: numpy.load reads it as well. It is written under another name and then
            renamed, so that at any moment there is the old file or the new one.

        Raises
        ------
        OSError
            If it cannot be written. An old file is unchanged.
        """
        from nnpy import _serialization

        names = _serialization.Names(self._feature_names, self._class_names, self._target_names)
        _serialization.write_quantized(path, self._parameters, names)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> QuantizedNetwork:
        """Read a network that `save` wrote.

        Parameters
        ----------
        path : str or path-like
            The file. Nothing in it is executed: it may come from anywhere.

        Returns
        -------
        network : QuantizedNetwork
            With the integers that were saved.

        Raises
        ------
        OSError
            If the file cannot be read.
        ValueError
            If it is another file, is damaged, or has the format of another version of nnpy.
        """
        from nnpy import _serialization

        parameters, names = _serialization.read_quantized(path)
        return cls(parameters, *names)

    def export_c(
        self,
        path: str | os.PathLike[str],
        *,
        name: str = "net",
        class_names: Sequence[str] | None = None,
        test_inputs: ArrayLike | None = None,
    ) -> None:
        """Write the network as one file of C that computes the same integers, for programs and devices without Python.

        The file is a header with its implementation, C99 and C++11, without heap, files and mathematical library. One source
        file of a program defines ``NAME_IMPLEMENTATION`` before it includes it; see the comment at its beginning. It has the
        functions ``name_predict(in, out)`` and, where `predict_classes` works, ``name_classify(in)``, for inputs and outputs
        that are floats; ``name_quantize``, ``name_predict_int8`` and ``name_classify_int8`` for integers;
        ``name_class_name(number)``; and ``name_selftest()``, which returns the number of wrong results: 0.

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

        Raises
        ------
        TypeError, ValueError
            If an argument is not of that form.
        OSError
            If the file cannot be written. An old file is unchanged.
        """
        from nnpy._export_int8 import export_int8

        class_names = self._class_names if class_names is None else class_names
        export_int8(self, path, name=name, class_names=class_names, test_inputs=test_inputs)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._parameters, self._feature_names, self._class_names, self._target_names)

    def __copy__(self) -> QuantizedNetwork:
        return self  # it does not change

    def __deepcopy__(self, _memo: object) -> QuantizedNetwork:
        return self

    # ---- Inspection ----

    def summary(self) -> str:
        """Describe the network in a table: the shape, activation and number of parameters of each layer, and the memory.

        Returns
        -------
        table : str
            Lines to print.

        Examples
        --------
        >>> import numpy as np
        >>> import nnpy
        >>> net = nnpy.NeuralNetwork([784, 128, 10], ["relu", "softmax"], seed=0)
        >>> x = np.random.default_rng(0).random((100, 784))
        >>> print(net.quantize(x, method="max").summary())
        layer  shape      activation  parameters
            1  784 x 128  relu           100,480
            2  128 x 10   softmax          1,290
        total                            101,770
        memory: 101 KiB: weights of 8 bits, biases and multipliers of 32 bits
        calibration: max, one range for all inputs
        """
        from nnpy import _inspection

        return _inspection.summary(_inspection.table(self), _inspection.quantized_notes(self))

    def _repr_html_(self) -> str:
        """Show the layers in a table, in a notebook."""
        from nnpy import _html, _inspection

        return _html.network(repr(self), _inspection.table(self), _inspection.quantized_notes(self))
