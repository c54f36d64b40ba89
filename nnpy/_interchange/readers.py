"""The public functions that read networks of other libraries and formats. What they need is imported when they are called."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from nnpy._interchange.extras import needs
from nnpy._network import NeuralNetwork

if TYPE_CHECKING:
    import keras
    import onnx
    import torch

__all__ = ["from_keras", "from_onnx", "from_safetensors", "from_torch"]


def from_onnx(source: str | os.PathLike[str] | onnx.ModelProto, *, output: str | None = None) -> NeuralNetwork:
    """Read an ONNX model of a fully connected network (needs onnx: ``pip install 'nnpy[onnx]'``).

    Parameters
    ----------
    source : str, path-like or onnx.ModelProto
        The file, with its external data beside it if it has some, or a model in memory. Nothing in it is executed: it may come
        from anywhere.
    output : str, optional
        Which output of the model to read, if several are outputs of networks. Others, such as labels, are ignored.

    Returns
    -------
    net : NeuralNetwork
        Its outputs are those of the model, up to rounding. What `NeuralNetwork.to_onnx` wrote comes back with the same bits,
        its scaler and its names.

    Raises
    ------
    ImportError
        If onnx is not installed.
    OSError
        If the file cannot be read.
    TypeError
        If `source` is neither a path nor a model.
    ValueError
        If the file is damaged, or the model is no fully connected network of nnpy's activation functions. The error names
        the node.

    Notes
    -----
    The graphs of torch.onnx (with and without dynamo), skl2onnx, tf2onnx and Keras are read: products, sums and activation
    functions in any of their forms. Batch normalisation, and scaling between layers, become part of the weights; scaling of
    the inputs becomes the `scaler` of the network; dropout is left out. The second and later dimensions of an input become
    one: pass rows of all their numbers. A classifier of scikit-learn for two classes becomes a network with one output, the
    probability of the second class. If a model has several inputs with one number each, their names become the
    `feature_names`.

    Examples
    --------
    >>> import nnpy
    >>> net = nnpy.NeuralNetwork([3, 4, 2], ["relu", "softmax"], seed=0)
    >>> net.to_onnx("net.onnx")  # doctest: +SKIP
    >>> nnpy.from_onnx("net.onnx")  # doctest: +SKIP
    NeuralNetwork([3, 4, 2], ['relu', 'softmax'])
    """
    with needs("onnx", "from_onnx"):
        from nnpy._interchange import onnx_reader
    return onnx_reader.read(source, output=output)


def from_torch(module: torch.nn.Module) -> NeuralNetwork:
    """Make a network of a PyTorch module (needs PyTorch: ``pip install 'nnpy[torch]'``).

    Parameters
    ----------
    module : torch.nn.Module
        A `torch.nn.Sequential`, or a module of your own whose forward method does no more than a network does: Linear layers
        or products with matrices, activation functions, batch normalisation, scaling, dropout, flattening. It is read as in
        evaluation mode, and called once to compare; it is not changed.

    Returns
    -------
    net : NeuralNetwork
        A copy. Where the module is made of Linear layers and activation functions, all weights and biases have the same bits.

    Raises
    ------
    ImportError
        If PyTorch is not installed.
    TypeError
        If `module` is no module of PyTorch.
    ValueError
        If it does something that a network of nnpy does not do. The error names the module or the operation.

    Notes
    -----
    `torch.fx` traces the module. BatchNorm1d becomes part of the weights, scaling of the inputs becomes the `scaler` of the
    network. nnpy has no log_softmax, and a last Softmax is what the loss `torch.nn.CrossEntropyLoss` does not need: give the
    network the activation "softmax" to train it on.

    Examples
    --------
    >>> import nnpy, torch  # doctest: +SKIP
    >>> nnpy.from_torch(torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2)))  # doctest: +SKIP
    NeuralNetwork([3, 4, 2], ['relu', 'linear'])
    """
    with needs("torch", "from_torch"):
        from nnpy._interchange import torch_reader
    return torch_reader.read(module)


def from_keras(model: keras.Model) -> NeuralNetwork:
    """Make a network of a Keras 3 model (needs Keras: ``pip install 'nnpy[keras]'``, and one of its backends).

    Parameters
    ----------
    model : keras.Model
        A `keras.Sequential` or a functional model, perhaps one in the other, that is a chain of Dense and Activation layers,
        layers for one activation function (ReLU, LeakyReLU, ELU, Softmax), BatchNormalization, Normalization, Rescaling,
        Dropout, noise, Flatten.

    Returns
    -------
    net : NeuralNetwork
        A copy. Where the model is made of Dense layers, all weights and biases have the same bits.

    Raises
    ------
    ImportError
        If Keras is not installed.
    TypeError
        If `model` is no model of Keras 3.
    ValueError
        If it has no weights yet, or has a layer that nnpy does not have. The error names the layer.

    Notes
    -----
    BatchNormalization becomes part of the weights. Normalization and Rescaling of the inputs become the `scaler` of the
    network, Rescaling of the outputs of a regression, too. Keras' "leaky_relu" has another slope (0.2) than nnpy's (0.01).

    Examples
    --------
    >>> import keras, nnpy  # doctest: +SKIP
    >>> model = keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(2, "softmax")])  # doctest: +SKIP
    >>> nnpy.from_keras(model)  # doctest: +SKIP
    NeuralNetwork([3, 2], ['softmax'])
    """
    with needs("keras", "from_keras"):
        from nnpy._interchange import keras_reader
    return keras_reader.read(model)


def from_safetensors(
    path: str | os.PathLike[str],
    activations: str | Sequence[str] | None = None,
    *,
    layer_names: Sequence[str] | None = None,
) -> NeuralNetwork:
    """Read a safetensors file of linear layers (needs safetensors: ``pip install 'nnpy[safetensors]'``).

    Parameters
    ----------
    path : str or path-like
        The file. Each layer is a matrix NAME.weight, of shape (outputs, inputs), and a vector NAME.bias, of shape (outputs,),
        or no vector: the names and shapes of PyTorch. Nothing in it is executed: it may come from anywhere.
    activations : str or sequence of str, optional
        As in `NeuralNetwork`. A file of `NeuralNetwork.to_safetensors` says them itself.
    layer_names : sequence of str, optional
        The names of the layers, such as ``["hidden", "out"]``, the first one first. The default is all of them, sorted as
        people do: "fc2" before "fc10".

    Returns
    -------
    net : NeuralNetwork
        What `NeuralNetwork.to_safetensors` wrote comes back with the same bits, its scaler and its names. Numbers of
        other types than float32 are rounded.

    Raises
    ------
    ImportError
        If safetensors is not installed.
    OSError
        If the file cannot be read.
    ValueError
        If it is damaged, has other arrays, the layers do not fit each other, or the activations are not known.

    Examples
    --------
    >>> import nnpy
    >>> net = nnpy.NeuralNetwork([3, 4, 2], ["relu", "softmax"], seed=0)
    >>> net.to_safetensors("net.safetensors")  # doctest: +SKIP
    >>> nnpy.from_safetensors("net.safetensors")  # doctest: +SKIP
    NeuralNetwork([3, 4, 2], ['relu', 'softmax'])
    """
    with needs("safetensors", "from_safetensors"):
        from nnpy._interchange import safetensors_reader
    return safetensors_reader.read(path, activations, layer_names)
