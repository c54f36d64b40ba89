"""Compiles code for a Cortex-M, takes its size, and runs it on a board that QEMU emulates, which counts the instructions.

Flash and static RAM are differences between two linked programs, size.c with and without the prediction. The rest is measured
by measure.c while it runs.
"""

import hashlib
import re
import shlex
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

HERE = Path(__file__).resolve().parent
MACHINES = HERE.parents[1] / "tests" / "machines"  # which has the linker script and the vector table
OPTIONS = "-O2 -mthumb -ffunction-sections -fdata-sections"
CXX_OPTIONS = "-std=c++17 -fno-rtti -fno-exceptions -fno-threadsafe-statics"
LINK = f"-Wl,--gc-sections -T {shlex.quote(str(MACHINES / 'cortex_m.ld'))} --specs=nano.specs"
FLASH = (".text", ".ARM.exidx", ".init_array", ".data")  # cortex_m.ld has .rodata in .text; .data is copied from flash
STATIC_RAM = (".data", ".bss")
PER_TICK = 40  # instructions in a tick of the timer
LOOP = 2_000_000 // PER_TICK  # ticks of measure.c's loop


class Core(NamedTuple):
    """A processor core: the options to compile for it, and the board of QEMU that runs the code."""

    name: str
    label: str
    options: str
    board: str


# QEMU's boards with a Cortex-M0 have too little memory. A Cortex-M3 has all instructions of the M0+.
CORES = [
    Core("m4f", "Cortex-M4F", "-mcpu=cortex-m4 -mfpu=fpv4-sp-d16 -mfloat-abi=hard", "mps2-an386"),
    Core("m0plus", "Cortex-M0+", "-mcpu=cortex-m0plus -DTRAP_UNALIGNED", "mps2-an385"),
]


class Code(NamedTuple):
    """Code in C or C++ that has ``unsigned setup(void)`` and ``void predict(const void *in, void *out)``."""

    sources: list[Path]
    inputs: NDArray[np.generic]  # a row for each prediction, in the type that predict() expects
    num_outputs: int
    output_type: DTypeLike = np.float32
    options: str = ""  # of the compiler, after those of the board
    small: frozenset[Path] = frozenset()  # sources to compile with -Os


class Measured(NamedTuple):
    """What a prediction needs on a core."""

    flash: int  # bytes
    static_ram: int  # bytes
    stack: int  # bytes
    instructions: float  # of a prediction, the mean of all test inputs
    memory: int  # what setup() returned
    outputs: NDArray[np.generic]


def call(command: list[str]) -> str:
    """Run a command and return what it prints. A command that fails ends the program."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        sys.exit(f"{shlex.join(command)}\nreturned {done.returncode}:\n{(done.stdout + done.stderr)[-3000:]}")
    return done.stdout


def compiled(source: Path, options: list[str], folder: Path) -> Path:
    """Compile a file, unless the same has been compiled with the same options."""
    is_cxx = source.suffix in {".cc", ".cpp"}
    command = ["arm-none-eabi-g++" if is_cxx else "arm-none-eabi-gcc", *shlex.split(CXX_OPTIONS * is_cxx), *options]
    key = hashlib.sha256("\n".join([*command, str(source), str(source.stat().st_mtime_ns)]).encode()).hexdigest()[:16]
    out = folder / f"{source.stem}-{key}.o"
    if not out.exists():
        call([*command, "-c", str(source), "-o", str(out)])
    return out


def section_sizes(text: str) -> dict[str, int]:
    """Return the size of each section from what `size -A` prints."""
    return {name: int(size) for name, size in re.findall(r"^(\.[\w.]+)\s+(\d+)\s+\d+\s*$", text, flags=re.MULTILINE)}


def added(full: dict[str, int], empty: dict[str, int], sections: tuple[str, ...]) -> int:
    """Return how many bytes of some sections the one program has more than the other."""
    return sum(full.get(section, 0) - empty.get(section, 0) for section in sections)


def parsed(text: str, num: int, output_type: DTypeLike) -> tuple[dict[str, int], NDArray[np.generic]]:
    """Return the numbers and the outputs that measure.c prints, and check its clock."""
    numbers = {name: int(number) for name, number in re.findall(r"^([a-z]+) (\d+)$", text, flags=re.MULTILINE)}
    rows = re.findall(r"^([0-9a-f]+)$", text, flags=re.MULTILINE)
    if set(numbers) != {"loop", "memory", "stack", "ticks"} or len(rows) != num:
        sys.exit(f"the program printed something else:\n{text[:2000]}")
    if abs(numbers["loop"] - LOOP) > 1:
        sys.exit(f"the board does not count instructions: {numbers['loop']} ticks of a loop that takes {LOOP}")
    return numbers, np.frombuffer(bytes.fromhex("".join(rows)), output_type).reshape(num, -1)


def padded_rows(inputs: NDArray[np.generic]) -> bytes:
    """Return the bytes of the inputs, each row from an address that is a multiple of 8."""
    rows = np.ascontiguousarray(inputs).view(np.uint8).reshape(len(inputs), -1)
    return np.pad(rows, ((0, 0), (0, -rows.shape[1] % 8))).tobytes()


def measure(code: Code, core: Core, folder: Path, objects_folder: Path) -> Measured:
    """Compile code for a core, link it, take its size and run it. The compiled files are kept in a folder of their own."""
    num, in_bytes = len(code.inputs), code.inputs[0].nbytes
    out_bytes = code.num_outputs * np.dtype(code.output_type).itemsize
    defines = [f"-DNUM={num}", f"-DIN_BYTES={in_bytes}u", f"-DOUT_BYTES={out_bytes}u"]
    board_options = [*shlex.split(OPTIONS), *shlex.split(core.options)]
    options = [*board_options, *shlex.split(code.options)]
    (folder / "inputs.bin").write_bytes(padded_rows(code.inputs))
    (folder / "inputs.s").write_text(
        f'.section .rodata\n.global inputs\n.balign 8\ninputs: .incbin "{folder / "inputs.bin"}"\n'
    )
    with ThreadPoolExecutor(2) as threads:
        sources = [(source, [*options, *["-Os"] * (source in code.small)]) for source in code.sources]
        objects = list(map(str, threads.map(lambda given: compiled(*given, objects_folder), sources)))
    vectors, *programs, inputs = (
        str(compiled(source, [*board_options, *more], objects_folder))
        for source, more in (
            (MACHINES / "cortex_m.c", []),
            (HERE / "size.c", defines),
            (HERE / "size.c", [*defines, "-DEMPTY"]),
            (HERE / "measure.c", defines),
            (folder / "inputs.s", []),
        )
    )
    linker = "arm-none-eabi-g++" if any(source.suffix == ".cc" for source in code.sources) else "arm-none-eabi-gcc"

    def link(name: str, specs: str, *files: str) -> Path:
        program = folder / f"{name}.elf"
        call([linker, *board_options, *shlex.split(LINK), *specs.split(), *files, "-lm", "-o", str(program)])
        return program

    full, empty = (
        section_sizes(call(["arm-none-eabi-size", "-A", str(link(f"size{number}", "--specs=nosys.specs -nostartfiles",
                                                                 vectors, program, *objects))]))
        for number, program in enumerate(programs[:2])
    )  # fmt: skip
    program = link("measure", "--specs=rdimon.specs", vectors, programs[2], inputs, *objects)
    semihosting = ["-semihosting-config", "enable=on,target=native"]
    text = call(
        ["qemu-system-arm", "-M", core.board, "-icount", "shift=0", "-nographic", *semihosting, "-kernel", str(program)]
    )
    numbers, outputs = parsed(text, num, code.output_type)
    return Measured(
        flash=added(full, empty, FLASH),
        static_ram=added(full, empty, STATIC_RAM),
        stack=numbers["stack"],
        instructions=numbers["ticks"] * PER_TICK / num + 1,  # the empty function in its place has one
        memory=numbers["memory"],
        outputs=outputs,
    )


def versions() -> str:
    """Name the compiler and the emulator."""
    gcc = call(["arm-none-eabi-gcc", "-dumpfullversion"]).strip()
    found = re.search(r"version (\S+)", call(["qemu-system-arm", "--version"]))
    return f"arm-none-eabi-gcc {gcc} with newlib-nano, QEMU {found.group(1) if found else ''}"
