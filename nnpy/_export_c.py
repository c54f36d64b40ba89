"""Exports a network as one file of C that computes the same bits. data/predict.c has the functions that it may need."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nnpy._atomic_write import replacing
from nnpy._c_source import (
    Source,
    array,
    check_class_names,
    check_name,
    check_test_inputs,
    class_name_function,
    classify_body,
    functions,
    num_test_inputs,
)
from nnpy._losses import Loss, check_loss
from nnpy._metrics import class_threshold
from nnpy._model import Model
from nnpy._version import __version__

__all__ = ["export_c"]


@dataclass(frozen=True)
class _Source(Source):
    """A network of floats."""

    model: Model
    loss: Loss | None  # of the training; None without

    @property
    def output_type(self) -> str:
        """The type of an output in C."""
        scaler = self.model.scaler
        return "float" if scaler is None or scaler.y_mean is None else "double"

    @property
    def scales_x(self) -> bool:
        """Whether the inputs are scaled."""
        return self.model.scaler is not None and self.model.scaler.changes_x


def export_c(
    model: Model,
    path: str | os.PathLike[str],
    *,
    name: str,
    class_names: Sequence[str] | None,
    test_inputs: ArrayLike | None,
    training: bool,
    loss: Loss | str | None,
) -> None:
    """Write the file; see `NeuralNetwork.export_c`."""
    source = _Source(
        model.layer_sizes,
        model.activations,
        check_name(name),
        check_class_names(model.activations[-1], model.layer_sizes[-1], class_names),
        _test_inputs(model, test_inputs),
        model,
        _check_training(model, loss, training=training),
    )
    if not np.isfinite(model.parameters).all():
        raise ValueError("the parameters of the network are not finite")
    predict, train = _predict(source), None if source.loss is None else _train(source, source.loss)
    text = "".join(_header(source, predict, train)) + "".join(_implementation(source, predict, train))
    with replacing(path) as file:
        file.write(text.encode("ascii"))


# ---- The arguments ----


def _test_inputs(model: Model, given: ArrayLike | None) -> NDArray[np.float32]:
    """Return inputs for the self-test: those that were given, or random ones around the mean of the scaler."""
    num_inputs = model.layer_sizes[0]
    if given is not None:
        return check_test_inputs(given, num_inputs, model.predict)
    x = np.random.default_rng(0).uniform(-2, 2, size=(num_test_inputs(num_inputs), num_inputs))
    if model.scaler is not None:
        x = x * model.scaler.x_scale + model.scaler.x_mean
    return x.astype(np.float32)


def _check_training(model: Model, loss: Loss | str | None, *, training: bool) -> Loss | None:
    if not isinstance(training, (bool, np.bool_)):
        raise TypeError(f"training must be True or False, got {training!r}")
    if not training:
        if loss is not None:
            raise ValueError("loss is for training=True")
        return None
    found = check_loss(loss, model.activations[-1])
    if found.name not in {"mse", "cross_entropy", "binary_cross_entropy"}:
        raise ValueError(
            f'training is exported for the losses "mse", "cross_entropy" and "binary_cross_entropy", not "{found.name}"'
        )
    if found.name == "mse" and model.activations[-1] == "softmax":
        raise ValueError('training of a "softmax" layer is exported for the loss "cross_entropy", not "mse"')
    return found


# ---- The text ----


def _header(source: _Source, predict: _Function, train: _Function | None) -> Iterator[str]:
    name, macro, sizes, scaler = source.name, source.macro, source.sizes, source.model.scaler
    num_parameters = source.model.parameters.size
    num_doubles = 0 if scaler is None else sum(len(a) for a in scaler if a is not None)
    if not source.scales_x and scaler is not None:
        num_doubles -= 2 * sizes[0]
    num_floats = num_parameters + 2 * num_doubles
    ram = "no other RAM, no heap"
    if train is not None:
        ram = f"{4 * (num_parameters + train.num_floats):,} bytes of other RAM for parameters and training, no heap"
    multiply_adds = sum(rows * columns for rows, columns in pairwise(sizes))
    layers = "-".join(map(str, sizes))
    yield f"""/* {name}.h: a trained network, written by nnpy {__version__}:
 *
 *     net.export_c("{name}.h", name="{name}"{"" if source.loss is None else ", training=True"})
 *
 * Layers:          {layers}, {", ".join(source.activations)}
 * Flash:           {4 * num_floats:,} bytes of constants, and the code
 * Stack:           {4 * predict.num_floats:,} bytes of buffers; {ram}
 * Multiply-adds:   {multiply_adds:,} for a prediction
 *
 * In one source file of a program:
 *
 *     #define {macro}_IMPLEMENTATION
 *     #include "{name}.h"
 *
 * In the others without the first line. It is C99 and C++11 and needs no mathematical library. The outputs have the same bits
 * as those of nnpy, on every processor with IEEE 754 arithmetic. Where there is no instruction for the fused multiply-add, it
 * is computed exactly, which takes longer; #define {macro}_FAST rounds twice instead, which may change the last digits.
 * Compile without -ffast-math. */
#ifndef {macro}_H_
#define {macro}_H_

#define {macro}_NUM_INPUTS {sizes[0]}
#define {macro}_NUM_OUTPUTS {sizes[-1]}
"""
    if source.has_classes:
        yield f"#define {macro}_NUM_CLASSES {max(2, sizes[-1])}\n"
    yield f"""
#ifdef __cplusplus
extern "C" {{
#endif

/* Computes the outputs. The inputs must be finite. */
void {name}_predict(const float in[{macro}_NUM_INPUTS], {source.output_type} out[{macro}_NUM_OUTPUTS]);
"""
    if source.has_classes:
        yield f"""
/* Returns the class: {source.class_rule}. */
int {name}_classify(const float in[{macro}_NUM_INPUTS]);
"""
    if source.loss is not None:
        target = (
            "probabilities of the classes"
            if source.loss.name == "cross_entropy"
            else "targets; NaN where one is missing"
        )
        yield f"""
/* Takes a step of stochastic gradient descent on one sample, and returns its loss before the step, "{source.loss.name}".
 * The same bits as partial_fit(x, y, optimizer=nnpy.SGD(rate), batch_size=1). Not for several threads at a time.
 *
 * target   {target} */
float {name}_train(const float in[{macro}_NUM_INPUTS], const float target[{macro}_NUM_OUTPUTS], float rate);
"""
    if source.class_names is not None:
        yield f"""
/* Returns the name of a class, from 0 to {macro}_NUM_CLASSES - 1. */
const char *{name}_class_name(int number);
"""
    yield f"""
#ifndef {macro}_NO_SELFTEST
/* Predicts for {len(source.test_inputs)} inputs, and returns how many results have other bits than in nnpy: 0. */
int {name}_selftest(void);
#endif

#ifdef __cplusplus
}}
#endif
#endif /* {macro}_H_ */

"""


def _implementation(source: _Source, predict: _Function, train: _Function | None) -> Iterator[str]:
    name, macro, model = source.name, source.macro, source.model
    yield f"""#ifdef {macro}_IMPLEMENTATION
#ifndef {macro}_IMPLEMENTED_
#define {macro}_IMPLEMENTED_

#include <float.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__FAST_MATH__) && !defined({macro}_FAST)
#error "-ffast-math changes the results: define {macro}_FAST if that is wanted"
#endif
#if defined(FLT_EVAL_METHOD) && FLT_EVAL_METHOD != 0 && FLT_EVAL_METHOD != 16 && !defined({macro}_FAST)
#error "arithmetic must round to float: compile for 32-bit x86 with -msse2 -mfpmath=sse"
#endif
"""
    if source.scales_x or source.output_type == "double":
        yield f"""#if defined(__SIZEOF_DOUBLE__) && __SIZEOF_DOUBLE__ < 8 && !defined({macro}_FAST)
#error "the scaler needs a double of 64 bits to be exact: define {macro}_FAST, which may change the last digits"
#endif
"""
    yield "\n"
    for number, (w, b) in enumerate(zip(model.weights, model.biases, strict=True)):
        shape = f"({w.shape[1]}, {w.shape[0]}): a row for each output"
        yield array(f"{name}_weights_{number}", "float", w.T.ravel(), shape, is_const=source.loss is None)
        yield array(f"{name}_biases_{number}", "float", b, f"({len(b)},)", is_const=source.loss is None)
    yield from _scaler_constants(source)
    yield functions("predict.c", _needed_functions(source), name)
    yield predict.text
    if source.has_classes:
        yield _classify(source)
    if source.class_names is not None:
        yield class_name_function(name, source.class_names)
    if train is not None:
        yield train.text
    yield _selftest(source)
    yield f"""
#endif /* {macro}_IMPLEMENTED_ */
#endif /* {macro}_IMPLEMENTATION */
"""


def _scaler_constants(source: _Source) -> Iterator[str]:
    scaler, name = source.model.scaler, source.name
    if scaler is None:
        return
    if source.scales_x:
        yield array(f"{name}_x_mean", "double", scaler.x_mean, f"({len(scaler.x_mean)},)")
        yield array(f"{name}_x_scale", "double", scaler.x_scale, f"({len(scaler.x_scale)},)")
    if scaler.y_mean is not None and scaler.y_scale is not None:
        yield array(f"{name}_y_mean", "double", scaler.y_mean, f"({len(scaler.y_mean)},)")
        yield array(f"{name}_y_scale", "double", scaler.y_scale, f"({len(scaler.y_scale)},)")


def _needed_functions(source: _Source) -> Iterator[str]:
    """Yield the functions that the network calls."""
    yield "layer"
    for activation in source.activations:
        if activation != "linear":
            yield activation
    if source.loss is not None:
        yield source.loss.name
        yield "update"
        for number, activation in enumerate(source.activations):
            if number < len(source.sizes) - 2:
                yield "backward"
            if activation not in {"linear", "softmax"} and _needs_slope(source, number):
                yield f"{activation}_slope"


class _Function(NamedTuple):
    """A function of C, and the number of floats in its buffers."""

    text: str
    num_floats: int


def _function(
    head: str, kind: str, buffers: Mapping[str, int], lines: Sequence[str], *, loss: bool = False
) -> _Function:
    """Return a function. kind: the type of the buffers; buffers: the size of each; loss: whether it returns one."""
    declared = [f"    {kind} {name}[{size}];" for name, size in buffers.items()]
    declared += ["    float loss;"] * loss
    declared += ["    size_t i;"] * any("for (i" in line for line in lines)
    body = "\n".join([*declared, *lines, *["    return loss;"] * loss])
    return _Function(f"\n{head}\n{{\n{body}\n}}\n", sum(buffers.values()))


def _for_each(num: int, *statements: str) -> list[str]:
    """Return a loop over i."""
    return [f"    for (i = 0; i < {num}; i++) {{", *(f"        {statement}" for statement in statements), "    }"]


def _scale(source: _Source, what: str, given: str, num: int, out: str) -> list[str]:
    """Return the lines that scale numbers. what: x or y."""
    name = f"{source.name}_{what}"
    return _for_each(num, f"{out}[i] = (float)(((double){given}[i] - {name}_mean[i]) / {name}_scale[i]);")


def _layer(source: _Source, number: int, x: str, out: str) -> str:
    """Return the line that computes the sums of a layer."""
    name, sizes = source.name, source.sizes
    arrays = f"{name}_weights_{number}, {name}_biases_{number}"
    return f"    {name}_layer({x}, {sizes[number]}, {arrays}, {out}, {sizes[number + 1]});"


def _predict(source: _Source) -> _Function:
    """Return the function that predicts. Two buffers take turns as the inputs and the outputs of a layer."""
    name, macro, sizes = source.name, source.macro, source.sizes
    last, x = len(sizes) - 2, "in"
    buffers: dict[str, int] = {}
    lines: list[str] = []
    if source.scales_x:
        x, buffers["scaled"] = "scaled", sizes[0]
        lines += _scale(source, "x", "in", sizes[0], "scaled")
    for number, activation in enumerate(source.activations):
        num = sizes[number + 1]
        out = "out" if number == last and source.output_type == "float" else f"buffer_{number % 2}"
        if out != "out":
            buffers[out] = max(buffers.get(out, 0), num)
        lines.append(_layer(source, number, x, out))
        if activation == "softmax":
            lines.append(f"    {name}_softmax({out}, {num});")
        elif activation != "linear":
            lines += _for_each(num, f"{out}[i] = {name}_{activation}({out}[i]);")
        x = out
    if source.output_type == "double":
        lines += _for_each(
            sizes[-1],
            "/* volatile, so that no compiler fuses the product with the sum */",
            f"volatile double product = (double){x}[i] * {name}_y_scale[i];",
            f"out[i] = product + {name}_y_mean[i];",
        )
    head = f"void {name}_predict(const float in[{macro}_NUM_INPUTS], {source.output_type} out[{macro}_NUM_OUTPUTS])"
    return _function(head, "float", buffers, lines)


def _needs_slope(source: _Source, number: int) -> bool:
    """Whether training needs the derivative of the activation function of a layer: not where the loss has it."""
    is_hidden, has_mse = number < len(source.sizes) - 2, source.loss is not None and source.loss.name == "mse"
    return is_hidden or (has_mse and source.activations[number] != "linear")


def _train(source: _Source, loss: Loss) -> _Function:
    """Return the function that trains. Activations and slopes of all layers are kept."""
    name, macro, sizes = source.name, source.macro, source.sizes
    last, x, target = len(sizes) - 2, "in", "target"
    buffers: dict[str, int] = {}
    lines: list[str] = []
    if source.scales_x:
        x, buffers["x"] = "x", sizes[0]
        lines += _scale(source, "x", "in", sizes[0], "x")
    inputs = [x, *(f"a{number}" for number in range(last))]
    for number, activation in enumerate(source.activations):
        num, out, slope = sizes[number + 1], f"a{number}", f"slope{number}"
        buffers[out] = num
        lines.append(_layer(source, number, inputs[number], out))
        if not _needs_slope(source, number):
            continue
        buffers[slope] = num
        if activation == "linear":
            lines += _for_each(num, f"{slope}[i] = 1.0f;")
            continue
        statements = [
            f"{out}[i] = {name}_{activation}({out}[i]);",
            f"{slope}[i] = {name}_{activation}_slope({out}[i]);",
        ]
        is_of_z = activation in {"softplus", "silu", "gelu"}  # the slope is a function of z, not of a = f(z)
        lines += _for_each(num, *(reversed(statements) if is_of_z else statements))
    if source.output_type == "double":
        target, buffers["y"] = "y", sizes[-1]
        lines += _scale(source, "y", "target", sizes[-1], "y")
    rate = "-2.0f * rate" if loss.name == "mse" else "-rate"
    lines.append(f"    loss = {name}_{loss.name}(a{last}, {target}, {sizes[-1]}, {rate}, delta{last % 2});")
    if _needs_slope(source, last):
        lines += _for_each(sizes[-1], f"delta{last % 2}[i] *= slope{last}[i];")
    for number in range(last, -1, -1):
        num, num_outputs, delta = sizes[number], sizes[number + 1], f"delta{number % 2}"
        buffers[delta] = max(buffers.get(delta, 0), num_outputs)
        weights = f"{name}_weights_{number}"
        if number:
            before = f"slope{number - 1}, delta{(number - 1) % 2}"
            lines.append(f"    {name}_backward({delta}, {num_outputs}, {weights}, {before}, {num});")
        lines.append(
            f"    {name}_update({inputs[number]}, {num}, {delta}, {weights}, {name}_biases_{number}, {num_outputs});"
        )
    inputs_and_targets = f"const float in[{macro}_NUM_INPUTS], const float target[{macro}_NUM_OUTPUTS]"
    head = f"float {name}_train({inputs_and_targets}, float rate)"
    return _function(head, "static float", buffers, lines, loss=True)


def _classify(source: _Source) -> str:
    name, macro, output_type = source.name, source.macro, source.output_type
    suffix = "" if output_type == "double" else "f"
    threshold = f"{class_threshold(source.activations[-1])}{suffix}"
    return f"""
int {name}_classify(const float in[{macro}_NUM_INPUTS])
{{
    {output_type} out[{macro}_NUM_OUTPUTS];
{classify_body(source, f"{name}_predict(in, out)", threshold)}
}}
"""


def _selftest(source: _Source) -> str:
    name, macro, output_type = source.name, source.macro, source.output_type
    outputs = np.asarray(source.model.predict(source.test_inputs))
    if not np.isfinite(outputs).all():
        raise ValueError("the outputs for the self-test are not finite: other test_inputs may help")
    num = len(outputs)
    return f"""
#ifndef {macro}_NO_SELFTEST
{array(f"{name}_test_inputs", "float", source.test_inputs.ravel(), f"({num}, {source.sizes[0]})")}
{array(f"{name}_test_outputs", output_type, outputs.ravel(), f"({num}, {source.sizes[-1]})")}
int {name}_selftest(void)
{{
    {output_type} out[{macro}_NUM_OUTPUTS];
    int i, num_wrong = 0;
    for (i = 0; i < {num}; i++) {{
        {name}_predict({name}_test_inputs + i * {macro}_NUM_INPUTS, out);
        num_wrong += memcmp(out, {name}_test_outputs + i * {macro}_NUM_OUTPUTS, sizeof out) != 0;
    }}
    return num_wrong;
}}
#endif
"""
