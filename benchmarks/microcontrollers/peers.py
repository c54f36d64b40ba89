"""Runs the other generators, with the Python of an environment that has their packages.

    python peers.py GENERATOR FOLDER

The folder has network.npz: the activation functions, the parameters, and inputs for calibration. What a generator makes goes
there, too. What the caller has to know about it is printed in JSON.
"""

import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np


class Parameters(NamedTuple):
    """A network: weights of shape (n_in, n_out), biases and activation functions, by layer; inputs for calibration."""

    weights: list[Any]
    biases: list[Any]
    activations: list[str]
    x: Any


def emlearn(net: Parameters, folder: Path) -> dict[str, Any]:
    """Write emlearn's code of a multilayer perceptron of scikit-learn: the "loadable" one, since "inline" raises an error."""
    import emlearn

    names = {"sigmoid": "logistic", "linear": "identity"}
    activations = [names.get(name, name) for name in net.activations]
    estimator = SimpleNamespace(
        n_layers_=len(activations) + 1,
        coefs_=net.weights,
        intercepts_=net.biases,
        activation=activations[0],
        out_activation_=activations[-1],
    )
    os.chdir(folder)  # where emlearn makes a folder "tmp"
    model = emlearn.convert(estimator, kind="MLPClassifier", method="loadable")
    model.save(file=str(folder / "emlearn.h"), name="net")
    return {"include": str(Path(emlearn.__file__).parent)}


def onnx(net: Parameters, folder: Path) -> dict[str, Any]:
    """Write an ONNX file as PyTorch does: for each layer a Gemm, with weights (n_out, n_in), and its activation function."""
    from onnx import TensorProto, checker, helper, numpy_helper, save

    operators = {"relu": "Relu", "sigmoid": "Sigmoid", "softmax": "Softmax"}
    nodes, initializers, value = [], [], "x"
    for number, (w, b, activation) in enumerate(zip(net.weights, net.biases, net.activations, strict=True)):
        initializers += [
            numpy_helper.from_array(np.ascontiguousarray(w.T), f"w{number}"),
            numpy_helper.from_array(b, f"b{number}"),
        ]
        nodes.append(helper.make_node("Gemm", [value, f"w{number}", f"b{number}"], [f"z{number}"], transB=1))
        value = f"z{number}"
        if activation in operators:
            nodes.append(helper.make_node(operators[activation], [value], [f"a{number}"]))
            value = f"a{number}"
    inputs, outputs = (
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, size])]
        for name, size in (("x", len(net.weights[0])), (value, len(net.biases[-1])))
    )
    graph = helper.make_graph(nodes, "net", inputs, outputs, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    checker.check_model(model)
    save(model, str(folder / "net.onnx"))
    return {}


def tflite(net: Parameters, folder: Path) -> dict[str, Any]:
    """Write two .tflite files by TensorFlow's converter: float, and int8 with int8 inputs and outputs."""
    import tensorflow as tf

    layers = [
        tf.keras.layers.Dense(len(b), activation=activation)
        for b, activation in zip(net.biases, net.activations, strict=True)
    ]
    model = tf.keras.Sequential([tf.keras.Input((len(net.weights[0]),), batch_size=1), *layers])
    model.set_weights([p for pair in zip(net.weights, net.biases, strict=True) for p in pair])
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    (folder / "float.tflite").write_bytes(converter.convert())
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([row[None]] for row in net.x)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    (folder / "int8.tflite").write_bytes(converter.convert())
    interpreter = tf.lite.Interpreter(str(folder / "int8.tflite"))
    details = (interpreter.get_input_details()[0], interpreter.get_output_details()[0])
    return {name: list(d["quantization"]) for name, d in zip(("input", "output"), details, strict=True)}


def bakenn(net: Parameters, folder: Path, *, with_cmsis_nn: bool = False) -> dict[str, Any]:
    """Write BakeNN's code: int8, quantized after training. Its graph is what its PyTorch frontend would make.

    with_cmsis_nn: for a Cortex-M4, with the kernels of CMSIS-NN; else in portable C, its default.
    """
    import bakenn
    from bakenn.frontends import torch_export as graphs

    kinds = {"relu": graphs.FloatReLUOp, "sigmoid": graphs.FloatSigmoidOp, "softmax": graphs.FloatSoftmaxOp}
    values: dict[str, Any] = {}

    def add(name: str, shape: tuple[int, ...], layout: str, kind: str) -> str:
        dtype = graphs.FloatDType.FLOAT32
        values[name] = graphs.FloatValue(name, shape, dtype, graphs.FloatLayout[layout], graphs.FloatValueKind[kind])
        return name

    value = add("x", (1, len(net.weights[0])), "NC", "INPUT")
    constants, ops = {}, []
    for number, (w, b, activation) in enumerate(zip(net.weights, net.biases, net.activations, strict=True)):
        weight = add(f"w{number}", w.T.shape, "OI", "PARAMETER")
        bias = add(f"b{number}", b.shape, "C", "PARAMETER")
        constants |= {weight: w.T, bias: b}
        z = add(f"z{number}", (1, len(b)), "NC", "ACTIVATION")
        ops.append(graphs.FloatLinearOp(f"linear{number}", value, weight, bias, z))
        value = z
        if activation in kinds:
            value = add(f"a{number}", (1, len(b)), "NC", "ACTIVATION")
            ops.append(kinds[activation](f"{activation}{number}", z, value))
    graph = graphs.FloatGraph("net", values, constants, tuple(ops), ("x",), (value,))
    options, weights = bakenn.CBackendOptions(), bakenn.LinearWeightGranularity.PER_CHANNEL
    if with_cmsis_nn:
        policy = bakenn.KernelPolicy.STATIC_PRIORITY
        options = bakenn.CBackendOptions(target=bakenn.CORTEX_M4, enable_cmsis_nn=True, kernel_policy=policy)
        weights = bakenn.LinearWeightGranularity.PER_TENSOR  # the kernel that it brings has one scale for all weights
    quantization = bakenn.PTQOptions(linear_weight_granularity=weights)
    samples = [row[None] for row in net.x]
    quantized = bakenn.quantize_float_graph(graph, samples, name="net", options=quantization)
    out = folder / ("bakenn-cmsis-nn" if with_cmsis_nn else "bakenn")
    files = bakenn.compile(quantized, out, model_name="net", backend_options=options).artifacts
    ends = {"input": quantized.values[quantized.inputs[0]], "output": quantized.values[quantized.outputs[0]]}
    return {
        **{name: [end.qparams.scale, end.qparams.zero_point] for name, end in ends.items()},
        "sources": [
            str(f) for f in (files.model_source, files.weights_source, files.kernels_source, *files.support_sources)
        ],
        "options": ["-DBAKENN_CMSIS_NN_BUILTIN_MEMORY", *(f"-I{path}" for path in (out, *files.support_include_dirs))],
    }


def bakenn_cmsis_nn(net: Parameters, folder: Path) -> dict[str, Any]:
    """Write BakeNN's code with the kernels of CMSIS-NN."""
    return bakenn(net, folder, with_cmsis_nn=True)


def main() -> None:
    """Run a generator."""
    name, folder = sys.argv[1], Path(sys.argv[2])
    with np.load(folder / "network.npz") as file:
        activations = [str(activation) for activation in file["activations"]]
        layers = range(len(activations))
        net = Parameters([file[f"w{i}"] for i in layers], [file[f"b{i}"] for i in layers], activations, file["x"])
    generators = {
        "emlearn": emlearn,
        "onnx": onnx,
        "tflite": tflite,
        "bakenn": bakenn,
        "bakenn-cmsis-nn": bakenn_cmsis_nn,
    }
    print(json.dumps(generators[name](net, folder)))


if __name__ == "__main__":
    main()
