"""What reads bytes that may come from anywhere, as targets for a fuzzer; `run.py` runs them. See docs/fuzzing.md.

A target has seeds, which are valid inputs, and a function that reads an input. The function may raise what is documented and is
caught here; any other exception, a wrong result, too much time or too much memory is a finding.
"""

# ruff: noqa: PT017, PT018
from __future__ import annotations

import gzip
import importlib.util
import io
import json
import math
import random
import re
import struct
import tempfile
import time
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import nnpy
from nnpy import _npz, datasets
from nnpy._commands import columns, draw, table, train

MAX_SECONDS = 2.0  # of processor time for an input
MAX_MEMORY = 1 << 24  # bytes, for inputs of at most 64 KiB; measured for one input in MEMORY_EVERY
MEMORY_EVERY = 64

Mutate = Callable[[bytes], bytes]


class Target(NamedTuple):
    """One reader.

    Attributes
    ----------
    seeds : function that returns valid inputs
    read : function that reads an input, and returns whether it was accepted
    mutate : function of an input, a mutation of bytes and a generator, that returns a changed input, or None
        It keeps checksums right, which a mutation of bytes alone would rarely get past.
    max_size : int
        Bytes of the largest input.
    """

    seeds: Callable[[], list[bytes]]
    read: Callable[[bytes], bool]
    mutate: Callable[[bytes, Mutate, random.Random], bytes] | None
    max_size: int


_folder = tempfile.TemporaryDirectory(prefix="nnpy-fuzz-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None)
_path = Path(_folder.name, "input")


def _write(data: bytes) -> Path:
    _path.write_bytes(data)
    return _path


def _saved(save: Callable[[Path], object]) -> bytes:
    save(_path)
    return _path.read_bytes()


# ---- Networks ----

_X = np.linspace(0, 1, 12, dtype=np.float32).reshape(6, 2)
_Y = _X[:, :1]


def _networks() -> list[bytes]:
    plain = nnpy.NeuralNetwork([2, 1], seed=0)
    scaled = nnpy.NeuralNetwork([2, 3, 1], ["relu", "linear"], seed=0)
    scaled.fit_scaler(_X, _Y)
    scaled.feature_names, scaled.target_names = ["a", "b"], ["y"]
    learning = nnpy.NeuralNetwork([2, 1], "tanh", seed=0)
    learning.class_names = ["no", "yes"]
    learning.partial_fit(_X, _Y, optimizer=nnpy.SGD(0.1, momentum=0.5), seed=0)
    return [*(_saved(net.save) for net in (plain, scaled, learning)), _checkpoints()[0]]


def _load(data: bytes) -> bool:
    try:
        net = nnpy.load(_write(data))
    except ValueError as error:
        assert str(error).startswith(f"{_path} is not a network that nnpy saved: "), error
        return False
    sizes = net.layer_sizes
    assert net.parameters.dtype == np.float32
    assert net.parameters.shape == (sum((n + 1) * m for n, m in pairwise(sizes)),)
    assert len(net.activations) == len(sizes) - 1
    assert net.class_names is None or len(set(net.class_names)) == max(2, sizes[-1])
    assert net.target_names is None or len(set(net.target_names)) in {1, sizes[-1]}
    x = np.zeros((3, sizes[0]), np.float32)
    try:
        assert net.predict(x).shape == (3, sizes[-1])
    except ValueError as error:  # a scaler may have numbers with which 0 is not finite
        assert str(error).startswith("x must be finite in float32") and net.scaler is not None, error
    if net._state is not None and net.scaler is None:
        try:
            net.partial_fit(x, net.predict(x), loss="mse", seed=0)
            assert np.isfinite(net.parameters).all()
        except (ValueError, nnpy.DivergenceError):
            pass
    if zlib.crc32(data) % 8 == 0:  # it takes longer than all else
        first = _saved(net.save)
        assert _saved(nnpy.load(_path).save) == first
    return True


# ---- Networks of 8-bit integers ----


def _quantized() -> list[bytes]:
    classes = nnpy.NeuralNetwork([2, 3, 2], ["tanh", "softmax"], seed=0)
    classes.class_names = ["no", "yes"]
    scaled = nnpy.NeuralNetwork([2, 3, 1], ["relu", "linear"], seed=0)
    scaled.fit_scaler(_X, _Y)
    scaled.feature_names, scaled.target_names = ["a", "b"], ["y"]
    single = nnpy.NeuralNetwork([2, 1], seed=0)
    return [_saved(net.quantize(_X).save) for net in (classes, scaled, single)]


def _load_int8(data: bytes) -> bool:
    try:
        q = nnpy.QuantizedNetwork.load(_write(data))
    except ValueError as error:
        assert str(error).startswith(f"{_path} is not a network that nnpy saved: "), error
        return False
    num_inputs, num_outputs = q.layer_sizes[0], q.layer_sizes[-1]
    integers = np.array([[0] * num_inputs, [255] * num_inputs, [77] * num_inputs], np.uint8)
    assert q.predict_integers(integers).shape == (3, num_outputs)
    assert q.predict(np.zeros((3, num_inputs))).shape == (3, num_outputs)
    if zlib.crc32(data) % 8 == 0:
        first = _saved(q.save)
        assert _saved(nnpy.QuantizedNetwork.load(_path).save) == first
    return True


# ---- Checkpoints ----

_TRAININGS: dict[str, dict[str, Any]] = {
    "Adam": {"batch_size": 4, "optimizer": nnpy.Adam(), "validation_data": (_X, _Y), "early_stopping": 5},
    "RMSprop": {"batch_size": 4, "optimizer": nnpy.RMSprop(nnpy.ReduceOnPlateau(0.01, patience=1))},
    "Rprop": {"optimizer": nnpy.Rprop()},
    "LBFGS": {"optimizer": nnpy.LBFGS(3)},
    "LevenbergMarquardt": {"optimizer": nnpy.LevenbergMarquardt()},
}


def _checkpoints() -> list[bytes]:
    return [
        _saved(lambda path, options=options: _network().fit(_X, _Y, epochs=2, seed=0, checkpoint=path, **options))
        for options in _TRAININGS.values()
    ]


def _network() -> nnpy.NeuralNetwork:
    return nnpy.NeuralNetwork([2, 2, 1], ["tanh", "linear"], seed=0)


def _resume(data: bytes) -> bool:
    name = next((name for name in _TRAININGS if name.encode("utf-32-le") in data), "Adam")
    net = _network()
    before = net.parameters.copy()
    try:
        history = net.fit(_X, _Y, epochs=4, resume=_write(data), **_TRAININGS[name])
    except ValueError as error:
        assert str(_path) in str(error) or "the state of" in str(error), error
        np.testing.assert_array_equal(net.parameters, before)
        return False
    except nnpy.DivergenceError:
        assert np.isfinite(net.parameters).all()
        return True
    assert np.isfinite(net.parameters).all()
    assert history.stopped in {"epochs", "early", "converged"}
    return True


# ---- The zip files of both ----


def _members(data: bytes) -> list[tuple[str, bytes]]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return [(info.filename, archive.read(info)) for info in archive.infolist()]


def _zip(members: list[tuple[str, bytes]]) -> bytes:
    """Write a zip file with right CRCs; as zipfile does, in a tenth of the time."""
    local, central = bytearray(), bytearray()
    for name, content in members:
        encoded, offset = name.encode(), len(local)
        common = struct.pack("<5H3L2H", 20, 0, 0, 0, 33, zlib.crc32(content), *[len(content)] * 2, len(encoded), 0)
        local += b"PK\3\4" + common + encoded + content
        central += b"PK\1\2" + struct.pack("<H", 20) + common + struct.pack("<3H2L", 0, 0, 0, 0, offset) + encoded
    end = struct.pack("<4H2LH", 0, 0, len(members), len(members), len(central), len(local), 0)
    return bytes(local + central + b"PK\5\6" + end)


def _npy(array: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, np.asarray(array), allow_pickle=False)
    return file.getvalue()


_STRANGE = [math.nan, math.inf, -math.inf, 0, -1, 1e300, 2.0**63, 2.0**64, 1e-320, 0.5]


def _mutate_array(content: bytes, mutate: Mutate, rng: random.Random) -> bytes:
    """Change an array as an array: its numbers, its text, its length, its type."""
    array = np.load(io.BytesIO(content), allow_pickle=False)
    what = rng.randrange(4)
    if array.dtype.kind == "U" and what < 3:
        text = mutate(str(array.flat[rng.randrange(array.size)]).encode("utf-8", "surrogatepass"))[:500].decode(
            errors="replace"
        )
        if array.ndim == 0:
            return _npy(text)
        changed = array.tolist()
        changed[rng.randrange(len(changed))] = text
        return _npy(changed)
    if what == 0 and array.dtype.kind == "f":
        flat = array.astype(np.float64).ravel()
        flat[rng.randrange(flat.size)] = rng.choice(_STRANGE)
        with np.errstate(all="ignore"):
            return _npy(flat.reshape(array.shape).astype(array.dtype))
    if what == 1 and array.dtype.kind in "iu":
        flat = array.ravel()
        flat[rng.randrange(flat.size)] = rng.choice([0, 1, 2, 3, 4, 100, 2**31, 2**62])
        return _npy(flat.reshape(array.shape))
    if what == 2 and array.ndim:
        return _npy(np.repeat(array, rng.randrange(3), axis=rng.randrange(array.ndim)))
    return _npy(array.astype(rng.choice(["<f2", "<f4", ">f4", "<f8", "<i4", "<u8", "<U8", "<c8", "?"])))


def _mutate_npz(data: bytes, mutate: Mutate, rng: random.Random) -> bytes:
    """Change some member and rebuild the file."""
    if rng.random() < 0.05:
        return mutate(data)
    try:
        members = _members(data)
        index = rng.randrange(len(members))
        name, content = members[index]
        what = rng.random()
        if what < 0.03:
            del members[index]
        elif what < 0.06:
            members[index] = (name, rng.choice(members)[1])
        elif what < 0.09:
            members.append((rng.choice(members)[0], content))
        elif what < 0.5:
            members[index] = (name, _mutate_array(content, mutate, rng))
        elif what < 0.7:  # the header
            members[index] = (name, mutate(content[:128]) + content[128:])
        elif what < 0.95:  # the numbers
            members[index] = (name, content[:128] + mutate(content[128:]))
        else:
            members[index] = (mutate(name.encode()).decode("latin-1"), content)
        return _zip(members)
    except Exception:  # it is a damaged file already
        return mutate(data)


# ---- Headers ----


def _headers() -> list[bytes]:
    arrays = [np.zeros(shape, dtype) for shape in ((), (3,), (2, 4), (0, 1)) for dtype in ("<f4", "<i8", "<U5", "?")]
    return [_npy(array)[:128] for array in arrays]


def _header(data: bytes) -> bool:
    try:
        dtype, shape = _npz._read_header(io.BytesIO(data), "x")
    except (ValueError, TypeError):  # NpzReader's caller turns all exceptions into one
        return False
    assert dtype.kind in "biufcSU"
    assert len(shape) <= 32
    if b"'U" not in data:  # numpy's own parser agrees
        file = io.BytesIO(data)
        read = np.lib.format.read_array_header_1_0 if np.lib.format.read_magic(file) == (1, 0) else None
        assert read is None or read(file) == (shape, False, dtype)
    return True


# ---- IDX files ----


def _idx(array: Any) -> bytes:
    kinds = {dtype: kind for kind, dtype in datasets._ELEMENT_TYPES.items()}
    dtype = array.dtype.newbyteorder(">")
    kind = kinds[f">{dtype.kind}{dtype.itemsize}"]
    return (
        bytes([0, 0, kind, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.astype(dtype).tobytes()
    )


def _idx_files() -> list[bytes]:
    shapes = [(), (0,), (5,), (2, 3), (2, 2, 2), (0, 28, 28)]
    return [_idx(np.ones(shape, dtype)) for shape in shapes for dtype in ("u1", "i1", "i2", "i4", "f4", "f8")]


def _load_idx(data: bytes) -> bool:
    try:
        array = datasets.load_idx(_write(data))
    except ValueError as error:
        assert str(error).startswith(f"{_path} "), error
        return False
    content = gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
    assert _idx(array) == content
    return True


def _parse_idx(data: bytes) -> bool:
    """Read a file in memory, which is ten times as fast."""
    try:
        array = datasets._parse(io.BytesIO(data), _path, lambda shape, dtype: None, len(data), len(data))  # type: ignore[arg-type]
    except ValueError:
        return False
    assert _idx(array) == data
    return True


def _mutate_gzip(data: bytes, mutate: Mutate, rng: random.Random) -> bytes:
    if rng.random() < 0.3:
        return mutate(data)
    try:
        content = zlib.decompressobj(31).decompress(data, 1 << 16)
    except zlib.error:
        return mutate(data)
    return gzip.compress(mutate(content), rng.choice([0, 1, 9]), mtime=0)


# ---- Tables ----

_TABLES = [
    "x,y,city\n1,2.5,Oslo\n-3e2,4,Bern\n5,0,Oslo\n6,1,Bern\n",
    '\ufeffname;a b;price\r\n"Smith; ""J""";1,5;3\r\n"two\nlines";2,5;4\r\n\r\nx;;5\r\n',
    "a\tb\n1\t0\n2\t1\n3\t0\n4\t1\n5\t0\n6\t1\n7\t0\n8\t1\n9\t0\n0\t1\n",
    "sep=;\na;b\nNA;inf\n1;1_000\n",
    ",y\n0,a\n1,b\n2,a\n3,b\n",
    "1\n2\n3\n",
]


def _tables() -> list[bytes]:
    return [*(text.encode() for text in _TABLES), _TABLES[0].encode("utf-16")]


def _read_table(data: bytes) -> bool:
    """Read a file as the commands do, up to the training."""
    number = zlib.crc32(data)
    format_ = table.Format(
        decimal=".,"[number % 2], has_header=number % 3 > 0, encoding=["latin-1", None][number % 5 > 0]
    )
    path, num_rows, cells = str(_write(data)), 0, []
    try:
        with table.open_table(path, format_) as opened:
            for part in opened.parts():
                for column in range(min(opened.width, 20)):
                    values, wrong = part.numbers(column)
                    assert values.shape == (len(part),) and not np.isinf(values).any()
                    assert np.isnan(values[wrong]).all()
                    assert len(part.texts(column)) == len(part.cells(column)) == len(part)
                assert all(a < b for a, b in pairwise([*part.places, math.inf]))
                num_rows += len(part)
                cells += part.cells(0)
        if b'"' not in data and format_.encoding is None and data[:2] not in {b"\xff\xfe", b"\xfe\xff"}:
            delimiter = opened._reader.dialect.delimiter  # type: ignore[attr-defined]
            lines = re.split("\r\n|\r|\n", data.decode("utf-8-sig"))
            known = [line.split(delimiter)[0] for line in lines if line.strip(delimiter)]
            assert known[len(known) - num_rows :] == cells, (known, cells)
    except ValueError as error:
        assert "\n" not in str(error) and len(str(error)) < 1000, error
        return False
    categories = "1" if number % 7 < 2 else None
    try:
        prepared = train.prepare(
            path, format_, train.Options("-1", categories=categories, skip_missing=True, validation=0.5)
        )
    except ValueError as error:  # a table, but none to learn from
        assert "\n" not in str(error) and len(str(error)) < 1000, error
        return True
    if prepared.num_missing == 0:  # prediction reads the same inputs
        names = [item.name for item in prepared.data.inputs]
        with table.open_table(path, format_) as opened:
            known, dropped = (names, []) if format_.has_header else (None, [opened.width - 1])
            encoder = columns.Encoder(opened, columns.find_inputs(opened, known, len(names), dropped))
            x = np.concatenate([encoder.encode(part)[0] for part in opened.parts()])
        np.testing.assert_array_equal(x, prepared.data.x)
    return True


# ---- Requests to nnpy draw ----


class _Connection(io.BytesIO):
    """A socket of a client that has sent its bytes and closed its side."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.sent = bytearray()
        self.sendall = self.sent.extend

    def makefile(self, mode: str, size: int = -1) -> io.BytesIO:
        return self

    def recv(self, size: int) -> bytes:
        return self.read(size)

    def settimeout(self, seconds: float) -> None: ...
    def setsockopt(self, *option: int) -> None: ...
    def shutdown(self, how: int) -> None: ...
    def close(self) -> None: ...


class _Server:
    """What a handler needs of the server."""

    net = nnpy.NeuralNetwork([draw.NUM_PIXELS, 2, draw.NUM_DIGITS], ["relu", "softmax"], seed=0)
    server_port = draw.PORT
    url = f"http://127.0.0.1:{draw.PORT}/"
    hosts = frozenset({f"127.0.0.1:{draw.PORT}", f"localhost:{draw.PORT}"})


_HOST = f"Host: 127.0.0.1:{draw.PORT}\r\n"
_RESPONSE = re.compile(rb"HTTP/1\.1 (\d{3}) [^\r\n]+\r\n((?:[!-9;-~]+: [^\r\n]*\r\n)*)\r\n")
_BODY = {"pixels": [0, 255, 0.5, 1e-3] * 196}


def _post(content: object) -> str:
    body = json.dumps(content)
    return (
        f"POST /predict HTTP/1.1\r\n{_HOST}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    )


def _requests() -> list[bytes]:
    texts = [f"GET {path} HTTP/1.1\r\n{_HOST}\r\n" for path in ("/", "/network", "/page.css", "/other")]
    texts += [
        _post(_BODY),
        _post({"pixels": [0]}),
        _post([[[0]]]),
        _post(_BODY) + texts[1] + _post(_BODY),
        f"HEAD /icon.svg HTTP/1.0\r\nhost: localhost:{draw.PORT}\r\nOrigin: http://localhost:{draw.PORT}\r\n\r\n",
        "GET /\r\n\r\n",
        f"POST /predict HTTP/1.1\r\n{_HOST}Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n0\r\n\r\n",
    ]
    return [text.encode() for text in texts]


def _serve(data: bytes) -> bool:
    connection = _Connection(data)
    draw._Handler(connection, ("127.0.0.1", 1), _Server)  # type: ignore[arg-type]
    answer, place, accepted = bytes(connection.sent), 0, False
    while place < len(answer):
        match = _RESPONSE.match(answer, place)
        if match is None and b"HTTP/0.9" in data:  # which knows no status
            return False
        assert match, answer[place : place + 200]
        status, place = int(match[1]), match.end()
        assert status in {100, 200, 400, 403, 404, 405, 408, 411, 413, 414, 415, 417, 431, 501, 505}, status
        accepted = accepted or status == 200
        length = re.search(rb"Content-Length: (\d+)", match[2])
        if length and not (place < len(answer) and answer.startswith(b"HTTP/1.1 ", place)):  # not of HEAD
            place += int(length[1])
            assert place <= len(answer) or data.count(b"HEAD")
    return accepted


def _mutate_request(data: bytes, mutate: Mutate, rng: random.Random) -> bytes:
    head, separator, body = data.partition(b"\r\n\r\n")
    if rng.random() < 0.5:
        body = mutate(body)
    else:
        head = mutate(head)
    if rng.random() < 0.8:
        head = re.sub(rb"(?i)(content-length: *)\d+", rb"\g<1>%d" % len(body), head, count=1)
    return head + separator + body


# ---- ONNX models ----


def _onnx_models() -> list[bytes]:
    """Return models of nnpy, and graphs as other libraries write them."""
    from onnx import TensorProto, helper, numpy_helper

    scaled = nnpy.NeuralNetwork([2, 3, 1], ["silu", "linear"], seed=0)
    scaled.fit_scaler(_X, _Y)
    scaled.feature_names = ["a", "b"]
    nets = (scaled, nnpy.NeuralNetwork([2, 3, 2], ["gelu", "softmax"], seed=0))

    def node(operator: str, inputs: str, output: str, **attributes: Any) -> Any:
        return helper.make_node(operator, inputs.split(), [output], **attributes)

    nodes = [
        *(node("Concat", "x u", "c", axis=1), node("Sub", "c mean", "s"), node("Cast", "s", "f", to=TensorProto.FLOAT)),
        *(node("Transpose", "w", "t"), node("MatMul", "f t", "m"), node("Add", "m b", "z"), node("Div", "z two", "d")),
        *(node("Erf", "d", "e"), node("Add", "e one", "p"), node("Mul", "z p", "q"), node("Reshape", "q shape", "r")),
        *(
            node("BatchNormalization", "r b b b b", "n"),
            node("Gemm", "n g h", "v", transB=1),
            node("Sigmoid", "v", "g2"),
        ),
        *(node("Sub", "one g2", "i"), node("Concat", "i g2", "y", axis=1), node("ArgMax", "y", "label", axis=1)),
    ]
    arrays: dict[str, Any] = {
        "w": [[1, 2], [3, 4], [5, 6]],
        "b": [1, 2, 3],
        "mean": [1, 2],
        "one": 1,
        "two": math.sqrt(2),
    }
    arrays |= {"g": [[1, 2, 3]], "h": [1]}
    constants = [numpy_helper.from_array(np.array(array, np.float32), name) for name, array in arrays.items()]
    constants.append(numpy_helper.from_array(np.array([-1, 3]), "shape"))
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 1]) for name in ("x", "u")]
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("label", "y")]
    graph = helper.make_graph(nodes, "g", inputs, outputs, constants)
    other = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    return [*(_saved(net.to_onnx) for net in nets), other.SerializeToString()]


def _from_onnx(data: bytes) -> bool:
    try:
        net = nnpy.from_onnx(_write(data))
    except ValueError as error:
        assert str(error).startswith((f"{_path} cannot be read as", f"{_path} is not an ONNX model that can be")), error
        return False
    return _is_usable(net)


def _is_usable(net: nnpy.NeuralNetwork) -> bool:
    assert np.isfinite(net.parameters).all()
    try:
        assert net.predict(np.zeros((3, net.layer_sizes[0]), np.float32)).shape == (3, net.layer_sizes[-1])
    except ValueError as error:  # a scaler may have numbers with which 0 is not finite
        assert str(error).startswith("x must be finite in float32") and net.scaler is not None, error
    return True


def _mutate_onnx(data: bytes, mutate: Mutate, rng: random.Random) -> bytes:
    """Change a graph as a graph: operations, names, shapes, numbers, attributes."""
    import onnx
    from google.protobuf.message import DecodeError

    if rng.random() < 0.1:
        return mutate(data)
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
        _mutate_graph(model.graph, mutate, rng)
    except (DecodeError, UnicodeDecodeError):  # it is damaged already
        return mutate(data)
    return model.SerializeToString()


def _mutate_graph(graph: Any, mutate: Mutate, rng: random.Random) -> None:
    names = [*(t.name for t in graph.initializer), *(n for node in graph.node for n in node.output)] or ["x"]
    what = rng.randrange(8)
    node = rng.choice(graph.node) if graph.node else graph.node.add()
    tensor = rng.choice(graph.initializer) if graph.initializer else graph.initializer.add()
    if what == 0:
        node.op_type = rng.choice([other.op_type for other in graph.node] + ["Mul", "Div", "Relu", "Squeeze", "Where"])
    elif what == 1 and node.input:
        node.input[rng.randrange(len(node.input))] = rng.choice(names)
    elif what == 2 and node.output:
        node.output[0] = rng.choice(names)
    elif what == 3:
        graph.node.insert(rng.randrange(len(graph.node) + 1), node)
    elif what == 4:
        tensor.raw_data = mutate(tensor.raw_data)
    elif what == 5:
        tensor.dims[:] = [rng.choice([0, 1, 2, 3, 2**31, -1]) for _ in range(rng.randrange(4))]
    elif what == 6 and node.attribute:
        node.attribute[0].i = rng.choice([-1, 0, 1, 2, 2**40])
        node.attribute[0].f = rng.choice(_STRANGE[:6])
    elif graph.input and graph.input[0].type.tensor_type.shape.dim:
        rng.choice(graph.input[0].type.tensor_type.shape.dim).dim_value = rng.choice([0, 1, 2, 3, 2**40, -5])


# ---- safetensors files ----


def _safetensors_files() -> list[bytes]:
    scaled = nnpy.NeuralNetwork([2, 3, 1], ["relu", "linear"], seed=0)
    scaled.fit_scaler(_X, _Y)
    scaled.feature_names = ["a", "b"]
    return [_saved(net.to_safetensors) for net in (scaled, nnpy.NeuralNetwork([2, 1], seed=0))]


def _from_safetensors(data: bytes) -> bool:
    try:
        net = nnpy.from_safetensors(_write(data))
    except ValueError as error:
        assert str(error).startswith((f"{_path} cannot be read as", f"{_path} is not a safetensors file")), error
        return False
    return _is_usable(net)


def _mutate_safetensors(data: bytes, mutate: Mutate, rng: random.Random) -> bytes:
    """Change the header as text or as JSON, or the numbers, and keep the length of the header right."""
    if rng.random() < 0.1:
        return mutate(data)
    length = int.from_bytes(data[:8], "little")
    header, numbers = data[8 : 8 + length], data[8 + length :]
    if rng.random() < 0.3:
        numbers = mutate(numbers)
    elif rng.random() < 0.5:
        header = mutate(header)
    else:
        try:
            content = json.loads(header)
            entry = content[rng.choice(list(content))]
            if "shape" in entry:
                entry["shape"] = [rng.choice([0, 1, 2, 3, 2**40]) for _ in range(rng.randrange(4))]
                entry["dtype"] = rng.choice([entry["dtype"], "F16", "BF16", "F64", "I8", "BOOL", "F8_E4M3"])
            else:
                entry[rng.choice(list(entry))] = mutate(b'["relu", "linear"]').decode(errors="replace")
            header = json.dumps(content).encode("utf-8", "replace")
        except (ValueError, KeyError, TypeError, AttributeError, IndexError):  # it is damaged already
            header = mutate(header)
    return len(header).to_bytes(8, "little") + header + numbers


TARGETS = {
    "load": Target(_networks, _load, _mutate_npz, 1 << 14),
    "load_int8": Target(_quantized, _load_int8, _mutate_npz, 1 << 14),
    "resume": Target(_checkpoints, _resume, _mutate_npz, 1 << 14),
    "header": Target(_headers, _header, None, 512),
    "idx": Target(_idx_files, _load_idx, None, 256),
    "idx_memory": Target(_idx_files, _parse_idx, None, 256),
    "idx_gzip": Target(lambda: [gzip.compress(data, mtime=0) for data in _idx_files()], _load_idx, _mutate_gzip, 512),
    "table": Target(_tables, _read_table, None, 512),
    "draw": Target(_requests, _serve, _mutate_request, 1 << 14),
}
# These libraries are extras.
if importlib.util.find_spec("onnx"):
    TARGETS["from_onnx"] = Target(_onnx_models, _from_onnx, _mutate_onnx, 1 << 14)
if importlib.util.find_spec("safetensors"):
    TARGETS["from_safetensors"] = Target(_safetensors_files, _from_safetensors, _mutate_safetensors, 1 << 14)

_num_inputs = 0


def check(target: Target, data: bytes) -> bool:
    """Let a target read an input, with limits on time and memory; return whether it was accepted."""
    global _num_inputs  # noqa: PLW0603
    _num_inputs += 1
    measures_memory = _num_inputs % MEMORY_EVERY == 0
    if measures_memory:
        tracemalloc.start()
    start = time.process_time()
    try:
        accepted = target.read(data)
        seconds = time.process_time() - start
        assert seconds < MAX_SECONDS, f"took {seconds:.1f} s"
        if measures_memory:
            peak = tracemalloc.get_traced_memory()[1]
            assert peak < MAX_MEMORY, f"allocated {peak} bytes"
    finally:
        if measures_memory:
            tracemalloc.stop()
    return accepted


def corpus(name: str) -> list[bytes]:
    """Return the inputs that were findings once."""
    folder = Path(__file__).parent / "corpus" / name
    return [path.read_bytes() for path in sorted(folder.glob("*"))]
