"""Writes a network as an ONNX model: a Gemm and an activation function for each layer, and the scaler in double precision."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from nnpy._atomic_write import replacing
from nnpy._interchange.metadata import get_names
from nnpy._model import Model
from nnpy._validation import integer
from nnpy._version import __version__

__all__ = ["make", "write"]

_OLDEST_OPSET = 20  # the first with Gelu
_NEWEST_OPSET = 28  # the newest of ONNX 1.23, which ONNX Runtime 1.32 has
_OPERATORS: dict[str, tuple[str, dict[str, Any]]] = {
    "sigmoid": ("Sigmoid", {}),
    "tanh": ("Tanh", {}),
    "relu": ("Relu", {}),
    "leaky_relu": ("LeakyRelu", {"alpha": 0.01}),
    "elu": ("Elu", {"alpha": 1.0}),
    "softplus": ("Softplus", {}),
    "gelu": ("Gelu", {}),
    "softmax": ("Softmax", {"axis": 1}),
}


class _Graph:
    """The nodes and constants of a graph in which each node works on the result of the one before."""

    def __init__(self, start: str) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.last = start

    def add(
        self, operator: str, name: str, *, constants: dict[str, NDArray[Any]] | None = None, **attributes: Any
    ) -> None:
        """Add a node with the last result and some constants as its inputs."""
        constants = {} if constants is None else constants
        self.constants += [numpy_helper.from_array(array, key) for key, array in constants.items()]
        self.nodes.append(helper.make_node(operator, [self.last, *constants], [name], name=name, **attributes))
        self.last = name

    def multiply_by_last(self, other: str, name: str) -> None:
        """Add the product of the last result and an earlier one."""
        self.nodes.append(helper.make_node("Mul", [other, self.last], [name], name=name))
        self.last = name


def check_opset(opset: Any) -> int:
    """Return the version of the operators to use; None stands for the newest."""
    newest = min(_NEWEST_OPSET, onnx.defs.onnx_opset_version())
    return newest if opset is None else integer(opset, "opset", _OLDEST_OPSET, newest)


def make(net: Model, *, opset: int) -> onnx.ModelProto:
    """Return the model. Its input is "x", float32, (n, n_inputs); its output is "y", as `NeuralNetwork.predict` returns it."""
    graph, scaler = _Graph("x"), net.scaler
    if scaler is not None and scaler.changes_x:
        graph.add("Cast", "x_double", to=TensorProto.DOUBLE)
        graph.add("Sub", "x_centered", constants={"x_mean": scaler.x_mean})
        graph.add("Div", "x_scaled", constants={"x_scale": scaler.x_scale})
        graph.add("Cast", "a0", to=TensorProto.FLOAT)
    for number, activation in enumerate(net.activations):
        weights, biases = np.ascontiguousarray(net.weights[number]), net.biases[number]
        constants = {f"weights{number}": weights, f"biases{number}": np.ascontiguousarray(biases)}
        graph.add("Gemm", f"z{number + 1}", constants=constants)
        if activation == "silu":
            z = graph.last
            graph.add("Sigmoid", f"s{number + 1}")
            graph.multiply_by_last(z, f"a{number + 1}")
        elif activation != "linear":
            operator, attributes = _OPERATORS[activation]
            graph.add(operator, f"a{number + 1}", **attributes)
    output_type = TensorProto.FLOAT
    if scaler is not None and scaler.y_mean is not None and scaler.y_scale is not None:
        graph.add("Cast", "y_double", to=TensorProto.DOUBLE)
        graph.add("Mul", "y_scaled", constants={"y_scale": scaler.y_scale})
        graph.add("Add", "y_in_units", constants={"y_mean": scaler.y_mean})
        output_type = TensorProto.DOUBLE
    graph.nodes[-1].output[0] = "y"
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "network",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", net.layer_sizes[0]])],
            [helper.make_tensor_value_info("y", output_type, ["n", net.layer_sizes[-1]])],
            graph.constants,
        ),
        opset_imports=(opsets := [helper.make_opsetid("", opset)]),
        ir_version=helper.find_min_ir_version_for(opsets),
        producer_name="nnpy",
        producer_version=__version__,
    )
    helper.set_model_props(model, get_names(net))
    return model


def write(net: Model, path: str | os.PathLike[str], *, opset: int | None) -> None:
    """Write the model to a file, after ONNX has checked it. See `NeuralNetwork.to_onnx`."""
    number = check_opset(opset)
    if not np.isfinite(net.parameters).all():
        raise ValueError("the parameters of the network are not finite")
    model = make(net, opset=number)
    onnx.checker.check_model(model, full_check=True)
    content = model.SerializeToString(deterministic=True)
    with replacing(path) as file:
        file.write(content)
