"""ONNX Runtime: an inference session of a model with Gemm, Relu, Gemm and Softmax."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic
from workloads import Prediction, initial_parameters


def prediction(workload: Prediction) -> Callable[[], Any]:
    return predict_with(make_model(workload), workload)


def quantized_prediction(workload: Prediction) -> Callable[[], Any]:
    """The fastest way that ONNX Runtime has for this network: weights are quantised before, inputs in each call."""
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder, "float.onnx"), Path(folder, "int8.onnx")]
        onnx.save(make_model(workload), files[0])
        quantize_dynamic(files[0], files[1], per_channel=True, weight_type=QuantType.QInt8)
        model = onnx.load(files[1])
    return predict_with(model, workload)


def make_model(workload: Prediction) -> onnx.ModelProto:
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
    return model


def predict_with(model: onnx.ModelProto, workload: Prediction) -> Callable[[], Any]:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    x = workload.inputs()
    return lambda: session.run(None, {"x": x})[0]
