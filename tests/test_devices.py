"""The benchmark on emulated microcontrollers: its sizes and counts are right, and wrong outputs are noticed."""

import importlib
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
SIZE = """program.elf  :
section              size        addr
.text                4660           0
.ARM.exidx              8        4660
.data                 120   553648128
.bss                   16   553648248
.comment               38           0
Total                4842
"""


@pytest.fixture
def scripts(monkeypatch):
    """The modules devices and microcontrollers.board."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    names = ("devices", "microcontrollers.board")
    yield [importlib.import_module(name) for name in names]
    for name in list(sys.modules):
        if name.partition(".")[0] in {"devices", "microcontrollers", "run", "tables", "processes"}:
            del sys.modules[name]


@pytest.fixture
def board(scripts):
    return scripts[1]


def test_sizes(board):
    sizes = board.section_sizes(SIZE)
    assert sizes == {".text": 4660, ".ARM.exidx": 8, ".data": 120, ".bss": 16, ".comment": 38}
    empty = {".text": 60, ".bss": 16}
    assert board.added(sizes, empty, board.FLASH) == 4600 + 8 + 120
    assert board.added(sizes, empty, board.STATIC_RAM) == 120


def test_what_the_program_prints(board):
    numbers, outputs = board.parsed("loop 50000\nmemory 0\nstack 28\nticks 7\n0000803f\n00000040\n", 2, np.float32)
    assert numbers["stack"] == 28
    assert outputs.tolist() == [[1.0], [2.0]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("loop 49000\nmemory 0\nstack 28\nticks 7\n0000803f\n00000040\n", "does not count instructions"),
        ("loop 50000\nmemory 0\nstack 28\nticks 7\n0000803f\n", "printed something else"),
    ],
)
def test_a_wrong_clock_or_a_program_that_stops_is_an_error(board, text, message):
    with pytest.raises(SystemExit, match=message):
        board.parsed(text, 2, np.float32)


def test_rows_begin_at_multiples_of_eight(board):
    data = board.padded_rows(np.float32([[1, 2, 3], [4, 5, 6]]))
    assert np.frombuffer(data, np.float32).tolist() == [1, 2, 3, 0, 4, 5, 6, 0]
    assert board.padded_rows(np.int8([[1], [2]])) == b"\1" + 7 * b"\0" + b"\2" + 7 * b"\0"


@pytest.mark.parametrize("wrong", [[[0.0], [0.0]], [[1.0], [2.1]], [[1.0], [np.nan]]])
def test_wrong_outputs_are_noticed(scripts, wrong):
    devices, _ = scripts
    expected = np.float32([[1], [2]])
    devices.verify(expected, expected + np.float32(1e-5), is_quantized=False)
    devices.verify(expected, expected + np.float32(0.05), is_quantized=True)
    with pytest.raises(devices.WrongOutputs):
        devices.verify(expected, np.float32(wrong), is_quantized=False)


def test_table(scripts):
    devices, _ = scripts
    row = {"network": "xor", "code": "nnpy", "flash": 1476, "static_ram": 0, "stack": 28, "instructions": 212.4}
    exact = {"inputs": 1024, "other_bits": 0, "difference": 0.0}
    lines = devices.table([{**row, **exact, "core": core} for core in ("m0plus", "m4f")], "xor")
    assert lines[2:] == [
        "| Cortex-M4F | nnpy | 1,476 | 0 | 28 | 212 | 0 of 1,024 | 0 |",
        "| Cortex-M0+ | nnpy | 1,476 | 0 | 28 | 212 | 0 of 1,024 | 0 |",
    ]


@pytest.mark.skipif(
    not (shutil.which("arm-none-eabi-gcc") and shutil.which("qemu-system-arm")), reason="needs a compiler and QEMU"
)
def test_a_prediction_whose_costs_are_known(board, tmp_path):
    """10 instructions and 50 times 2, 64 bytes of stack, 40 of constants."""
    source = tmp_path / "known.c"
    source.write_text(
        """unsigned setup(void) { return 5; }
const unsigned char constants[40] = {1};
__attribute__((naked)) void predict(const void *in, void *out)
{
    __asm__(".syntax unified\\n sub sp, sp, #64\\n str r0, [sp]\\n ldr r2, =constants\\n ldrb r3, [r2]\\n ldrb r2, [r0]\\n"
            " adds r2, r2, r3\\n strb r2, [r1]\\n movs r2, #50\\n1: subs r2, r2, #1\\n bne 1b\\n add sp, sp, #64\\n"
            " bx lr\\n .ltorg");
}
"""
    )
    x = np.arange(200, dtype=np.uint8).reshape(100, 2)
    for core in board.CORES:
        measured = board.measure(board.Code([source], x, 1, np.uint8), core, tmp_path, tmp_path)
        assert measured.outputs.tolist() == (x[:, :1] + 1).tolist()
        assert measured.instructions == pytest.approx(10 + 2 * 50, abs=0.5)
        assert (measured.stack, measured.memory, measured.static_ram) == (64, 5, 0)
        assert 0 <= measured.flash - (4 + 10 * 2 + 4 + 40) <= 24
