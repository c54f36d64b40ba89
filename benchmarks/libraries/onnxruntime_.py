"""ONNX Runtime: an inference session of a model with Gemm, Relu, Gemm and Softmax."""

from collections.abc import Callable
from typing import Any

import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from workloads import Prediction, initial_parameters


def prediction(workload: Prediction) -> Callable[[], Any]:
    w, b = initial_parameters(workload.sizes)
    named = {f"w{i}": p for i, p in enumerate(w)} | {f"b{i}": p for i, p in enumerate(b)}
    nodes = [
        helper.make_node("Gemm", ["x", "w0", "b0"], ["z0"]),
        helper.make_node("Relu", ["z0"], ["a0"]),
        helper.make_node("Gemm", ["a0", "w1", "b1"], ["z1"]),
        helper.make_node("Softmax", ["z1"], ["y"], axis=1),
    ]
    inputs, outputs = (
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, size])]
        for name, size in (("x", workload.sizes[0]), ("y", workload.sizes[-1]))
    )
    initializers = [numpy_helper.from_array(p, name) for name, p in named.items()]
    graph = helper.make_graph(nodes, "net", inputs, outputs, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    x = workload.inputs()
    return lambda: session.run(None, {"x": x})[0]
