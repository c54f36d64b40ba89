"""Exports a network of 8-bit integers as a C file that computes the same integers. Its functions are in data/predict_int8.c."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

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
from nnpy._metrics import class_threshold
from nnpy._quantized_model import QuantizedModel, layer_kind
from nnpy._version import __version__

__all__ = ["export_int8"]


@dataclass(frozen=True)
class _Source(Source):
    """A network of integers."""

    model: QuantizedModel

    @property
    def output_type(self) -> str:
        """The type of an output in C that is no integer."""
        return "float" if self.model.parameters.y_mean is None else "double"

    @property
    def kinds(self) -> list[str]:
        """The kind of each layer."""
        last = len(self.sizes) - 2
        return [layer_kind(name, is_last=number == last) for number, name in enumerate(self.activations)]

    @property
    def one_range(self) -> bool:
        """Whether all inputs have the same range."""
        return len(self.model.parameters.low) == 1


def export_int8(
    model: QuantizedModel,
    path: str | os.PathLike[str],
    *,
    name: str,
    class_names: Sequence[str] | None,
    test_inputs: ArrayLike | None,
) -> None:
    """Write the file; see `QuantizedNetwork.export_c`."""
    source = _Source(
        model.layer_sizes,
        model.activations,
        check_name(name),
        check_class_names(model.activations[-1], model.layer_sizes[-1], class_names),
        _test_inputs(model, test_inputs),
        model,
    )
    text = "".join(_header(source)) + "".join(_implementation(source))
    with replacing(path) as file:
        file.write(text.encode("ascii"))


def _test_inputs(model: QuantizedModel, given: ArrayLike | None) -> NDArray[np.float32]:
    """Return inputs for the self-test: those that were given, or random ones in the range of the integers."""
    num_inputs = model.layer_sizes[0]
    if given is not None:
        return check_test_inputs(given, num_inputs, model.quantize_inputs)
    integers = np.random.default_rng(0).uniform(-10, 265, size=(num_test_inputs(num_inputs), num_inputs))
    p = model.parameters
    return np.asarray(p.low + integers / p.inverse_step, dtype=np.float32)


# ---- The text ----


def _header(source: _Source) -> Iterator[str]:
    name, macro, sizes, p = source.name, source.macro, source.sizes, source.model.parameters
    buffers = sum(max(sizes[first:-1:2], default=0) for first in (1, 2))  # of the hidden layers, in turns
    yield f"""/* {name}.h: a trained network of 8-bit integers, written by nnpy {__version__}:
 *
 *     net.quantize(calibration).export_c("{name}.h", name="{name}")
 *
 * Layers:          {"-".join(map(str, sizes))}, {", ".join(source.activations)}
 * Flash:           {source.model.num_bytes:,} bytes of constants, and the code
 * Stack:           {buffers + sizes[0] + 4 * sizes[-1]:,} bytes of buffers; no other RAM, no heap
 * Multiply-adds:   {sum(rows * columns for rows, columns in pairwise(sizes)):,} of 8-bit integers for a prediction
 *
 * In one source file of a program:
 *
 *     #define {macro}_IMPLEMENTATION
 *     #include "{name}.h"
 *
 * In the others without the first line. It is C99 and C++11 and needs no mathematical library. The outputs are the integers
 * that nnpy computes, on every processor. #define {macro}_NO_FLOAT leaves out the functions that take or return numbers with a
 * fractional part. */
#ifndef {macro}_H_
#define {macro}_H_

#include <stdint.h>

#define {macro}_NUM_INPUTS {sizes[0]}
#define {macro}_NUM_OUTPUTS {sizes[-1]}
#define {macro}_OUTPUT_SCALE {p.output_scale:.9g}f /* what 1 stands for in the integers of the outputs */
"""
    if source.has_classes:
        yield f"#define {macro}_NUM_CLASSES {max(2, sizes[-1])}\n"
    yield f"""
#ifdef __cplusplus
extern "C" {{
#endif

/* Computes the outputs from inputs that are integers, with integers only. */
void {name}_predict_int8(const uint8_t in[{macro}_NUM_INPUTS], int32_t out[{macro}_NUM_OUTPUTS]);
"""
    if source.has_classes:
        yield f"""
/* Returns the class: {source.class_rule}. */
int {name}_classify_int8(const uint8_t in[{macro}_NUM_INPUTS]);
"""
    yield f"""
#ifndef {macro}_NO_FLOAT
/* Turns inputs into integers, 0 to 255. They must be finite. */
void {name}_quantize(const float in[{macro}_NUM_INPUTS], uint8_t out[{macro}_NUM_INPUTS]);

/* Does the same as {name}_predict_int8, from inputs to outputs in their own units. */
void {name}_predict(const float in[{macro}_NUM_INPUTS], {source.output_type} out[{macro}_NUM_OUTPUTS]);
"""
    if source.has_classes:
        yield f"int {name}_classify(const float in[{macro}_NUM_INPUTS]);\n"
    yield "#endif\n"
    if source.class_names is not None:
        yield f"""
/* Returns the name of a class, from 0 to {macro}_NUM_CLASSES - 1. */
const char *{name}_class_name(int number);
"""
    yield f"""
#ifndef {macro}_NO_SELFTEST
/* Predicts for {len(source.test_inputs)} inputs, and returns how many results are other integers than in nnpy: 0. */
int {name}_selftest(void);
#endif

#ifdef __cplusplus
}}
#endif
#endif /* {macro}_H_ */

"""


def _implementation(source: _Source) -> Iterator[str]:
    name, macro, p = source.name, source.macro, source.model.parameters
    yield f"""#ifdef {macro}_IMPLEMENTATION
#ifndef {macro}_IMPLEMENTED_
#define {macro}_IMPLEMENTED_

#include <float.h>
#include <stddef.h>
#include <string.h>

"""
    for number, layer in enumerate(p.layers):
        num = len(layer.biases)
        shape = f"({num}, {layer.weights.shape[1]}): a row for each output"
        yield array(f"{name}_weights_{number}", "int8_t", layer.weights.ravel(), shape)
        yield array(f"{name}_biases_{number}", "int32_t", layer.biases, f"({num},)")
        yield array(f"{name}_multipliers_{number}", "int32_t", layer.multipliers, f"({num},)")
        if layer.table is not None:
            yield array(f"{name}_table_{number}", "int16_t", layer.table, f"({len(layer.table)},)")
    yield functions("predict_int8.c", _needed_functions(source), name)
    yield _predict_int8(source)
    if source.has_classes:
        yield _classify_int8(source)
    yield from _float_functions(source)
    if source.class_names is not None:
        yield class_name_function(name, source.class_names)
    yield _selftest(source)
    yield f"""
#endif /* {macro}_IMPLEMENTED_ */
#endif /* {macro}_IMPLEMENTATION */
"""


def _needed_functions(source: _Source) -> Iterator[str]:
    for kind in source.kinds[:-1]:
        yield f"{kind}_layer"
    yield "output_layer"
    if source.kinds[-1] != "linear":
        yield {"table": "output_table", "softmax": "softmax"}[source.kinds[-1]]


def _predict_int8(source: _Source) -> str:
    """Return the functions that predict. Two buffers take turns as the inputs and the outputs of a layer."""
    name, macro, sizes = source.name, source.macro, source.sizes
    last, x = len(sizes) - 2, "in"
    buffers: dict[str, int] = {}
    lines: list[str] = []
    for number, kind in enumerate(source.kinds):
        num, shift = sizes[number + 1], source.model.parameters.layers[number].shift
        arrays = f"{name}_weights_{number}, {name}_biases_{number}, {name}_multipliers_{number}, {shift}"
        if number == last:
            lines.append(f"    {name}_output_layer({x}, {sizes[number]}, {arrays}, out, {num});")
            break
        out = f"buffer_{number % 2}"
        buffers[out] = max(buffers.get(out, 0), num)
        table = f", {name}_table_{number}" if kind == "table" else ""
        lines.append(f"    {name}_{kind}_layer({x}, {sizes[number]}, {arrays}{table}, {out}, {num});")
        x = out
    declared = [f"    uint8_t {buffer}[{size}];" for buffer, size in buffers.items()]
    arguments = f"const uint8_t in[{macro}_NUM_INPUTS], int32_t out[{macro}_NUM_OUTPUTS]"
    finish = {
        "linear": "",
        "table": f"    {name}_output_table({name}_table_{last}, out, {sizes[-1]});\n",
        "softmax": f"    {name}_softmax({name}_table_{last}, out, {sizes[-1]});\n",
    }[source.kinds[-1]]
    body = "\n".join([*declared, *lines])
    return f"""
static void {name}_compute({arguments})
{{
{body}
}}

void {name}_predict_int8({arguments})
{{
    {name}_compute(in, out);
{finish}}}
"""


def _classify_int8(source: _Source) -> str:
    name, macro = source.name, source.macro
    threshold = class_threshold(source.activations[-1])
    limit = "" if threshold is None else str(round(threshold / source.model.output_scale))
    # The inputs of softmax are in the order of its outputs; they tell classes apart whose probabilities round to the same.
    compute = "compute" if source.kinds[-1] == "softmax" else "predict_int8"
    return f"""
int {name}_classify_int8(const uint8_t in[{macro}_NUM_INPUTS])
{{
    int32_t out[{macro}_NUM_OUTPUTS];
{classify_body(source, f"{name}_{compute}(in, out)", limit)}
}}
"""


def _float_functions(source: _Source) -> Iterator[str]:
    name, macro, p = source.name, source.macro, source.model.parameters
    yield f"""
#ifndef {macro}_NO_FLOAT
#if defined(FLT_EVAL_METHOD) && FLT_EVAL_METHOD != 0 && FLT_EVAL_METHOD != 16
#error "arithmetic must round to float: compile for 32-bit x86 with -msse2 -mfpmath=sse, or define {macro}_NO_FLOAT"
#endif
"""
    if source.output_type == "double":
        yield f"""#if defined(__SIZEOF_DOUBLE__) && __SIZEOF_DOUBLE__ < 8
#error "double is shorter than 64 bits: define {macro}_NO_FLOAT"
#endif
"""
    index = ""
    if not source.one_range:
        index = "[i]"
        yield array(f"{name}_low", "float", p.low, f"({len(p.low)},)")
        yield array(f"{name}_inverse_step", "float", p.inverse_step, f"({len(p.low)},)")
    else:
        yield f"static const float {name}_low = {float(p.low[0]):.9e}f;\n"
        yield f"static const float {name}_inverse_step = {float(p.inverse_step[0]):.9e}f;\n"
    if p.y_mean is not None and p.y_scale is not None:
        yield array(f"{name}_y_mean", "double", p.y_mean, f"({len(p.y_mean)},)")
        yield array(f"{name}_y_scale", "double", p.y_scale, f"({len(p.y_scale)},)")
    yield functions("predict_int8.c", ["quantize"], name)
    value = f"(float)integers[i] * {macro}_OUTPUT_SCALE"
    lines = [f"out[i] = {value};"]
    if source.output_type == "double":
        lines = [
            "/* volatile, so that no compiler fuses the product with the sum */",
            f"volatile double product = (double)({value}) * {name}_y_scale[i];",
            f"out[i] = product + {name}_y_mean[i];",
        ]
    body = "\n        ".join(lines)
    yield f"""
void {name}_quantize(const float in[{macro}_NUM_INPUTS], uint8_t out[{macro}_NUM_INPUTS])
{{
    size_t i;
    for (i = 0; i < {macro}_NUM_INPUTS; i++) {{
        out[i] = {name}_quantize_one(in[i], {name}_low{index}, {name}_inverse_step{index});
    }}
}}

void {name}_predict(const float in[{macro}_NUM_INPUTS], {source.output_type} out[{macro}_NUM_OUTPUTS])
{{
    uint8_t x[{macro}_NUM_INPUTS];
    int32_t integers[{macro}_NUM_OUTPUTS];
    size_t i;
    {name}_quantize(in, x);
    {name}_predict_int8(x, integers);
    for (i = 0; i < {macro}_NUM_OUTPUTS; i++) {{
        {body}
    }}
}}
"""
    if source.has_classes:
        yield f"""
int {name}_classify(const float in[{macro}_NUM_INPUTS])
{{
    uint8_t x[{macro}_NUM_INPUTS];
    {name}_quantize(in, x);
    return {name}_classify_int8(x);
}}
"""
    yield "#endif\n"


def _selftest(source: _Source) -> str:
    name, macro, num_inputs, num_outputs = source.name, source.macro, source.sizes[0], source.sizes[-1]
    integers = source.model.quantize_inputs(source.test_inputs)
    outputs, num = source.model.predict_integers(integers), len(integers)
    return f"""
#ifndef {macro}_NO_SELFTEST
{array(f"{name}_test_integers", "uint8_t", integers.ravel(), f"({num}, {num_inputs})")}
{array(f"{name}_test_outputs", "int32_t", outputs.ravel(), f"({num}, {num_outputs})")}
#ifndef {macro}_NO_FLOAT
{array(f"{name}_test_inputs", "float", source.test_inputs.ravel(), f"({num}, {num_inputs})")}
#endif
int {name}_selftest(void)
{{
    int32_t out[{macro}_NUM_OUTPUTS];
    int i, num_wrong = 0;
    for (i = 0; i < {num}; i++) {{
        int is_wrong;
        {name}_predict_int8({name}_test_integers + (size_t)i * {macro}_NUM_INPUTS, out);
        is_wrong = memcmp(out, {name}_test_outputs + (size_t)i * {macro}_NUM_OUTPUTS, sizeof out) != 0;
#ifndef {macro}_NO_FLOAT
        {{
            uint8_t x[{macro}_NUM_INPUTS];
            {name}_quantize({name}_test_inputs + (size_t)i * {macro}_NUM_INPUTS, x);
            is_wrong |= memcmp(x, {name}_test_integers + (size_t)i * {macro}_NUM_INPUTS, sizeof x) != 0;
        }}
#endif
        num_wrong += is_wrong;
    }}
    return num_wrong;
}}
#endif
"""
