#!/usr/bin/env python3
"""Compile the engine for many machines, run its test there, and compare the hashes of its bits with tests/c/hashes.txt.
Exported networks are compiled and run, too; their self-tests compare the bits with those of Python.

    python3 tests/machines/run.py --quick             the targets that .ci/run checks
    python3 tests/machines/run.py --all               all targets
    python3 tests/machines/run.py s390x "gcc -O3"     the targets whose names contain one of the words
    python3 tests/machines/run.py --all --write       and write their rows into the table of docs/machines.md

A target is compiled and run on this machine (x86-64, Debian or Ubuntu), where needed in an emulator. Debian packages that are
missing are installed; that needs root. Needs nothing but the standard library of Python.
"""

import argparse
import datetime
import os
import resource
import shlex
import struct
import subprocess
import sys
import tempfile
import venv
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
PAGE = ROOT / "docs" / "machines.md"
START, END = "<!-- rows written by tests/machines/run.py -->\n", "<!-- end -->\n"
OPTIONS = "-O2 -ffp-contract=off"
# test_engine lets allocations fail, for which it needs this option of the linker. Other linkers do without that test.
WRAP = "-Wl,--wrap=malloc,--wrap=calloc"
NO_WRAP = "-D__real_malloc=malloc -D__real_calloc=calloc"
# Without threads, the callers of test_engine run one after another.
ONE_THREAD = "'-Dpthread_create(t,a,f,x)=(*(t)=0,f(x),0)' '-Dpthread_join(t,r)=((void)(t))'"
STATIC = "-static -pthread"
CALLERS: dict[str, Any] = {
    "modes": ("callers",)
}  # linked statically, glibc itself would meet the allocations that fail
X87_ERROR = "compile for 32-bit x86 with -msse2 -mfpmath=sse"


class Target(NamedTuple):
    """A machine and a compiler for it."""

    name: str
    compiler: str  # "zig" is that of the package ziglang
    packages: str = ""  # of Debian, or ziglang of PyPI
    options: str = OPTIONS  # of the compiler
    link: str = "-pthread"  # options of the linker, and files to link
    run: str = "{program}{args}"  # how to run a program
    check: str = "engine"  # or: xor (nn.h alone), link (it cannot run here), refused (it must not compile)
    modes: tuple[str, ...] = ("callers", "memory")  # of test_engine
    problems: int = 20
    is_quick: bool = False


def linux(name: str, triple: str, debian: str, qemu: str, **more: Any) -> Target:
    """Return a target of Debian's cross compilers, whose programs run in QEMU."""
    packages = f"gcc-{triple} libc6-dev-{debian}-cross qemu-user"
    return Target(
        name, f"{triple}-gcc", packages, link=STATIC, run=f"{qemu} {{program}}{{args}}", **{**CALLERS, **more}
    )


def cortex(name: str, options: str, board: str, **more: Any) -> Target:
    """Return a target without an operating system."""
    return Target(
        name,
        f"arm-none-eabi-gcc -mthumb {options}",
        "gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-system-arm",
        options=f"{OPTIONS} {ONE_THREAD}",
        link=f"{HERE}/cortex_m.c -specs=rdimon.specs -T {HERE}/cortex_m.ld",
        run=f"qemu-system-arm -M {board} -nographic -semihosting-config enable=on,target=native,arg=program{{args}} "
        "-kernel {program}",
        **more,
    )


def mingw(name: str, options: str = OPTIONS, **more: Any) -> Target:
    """Return a target for 64-bit Windows, whose programs run in Wine."""
    run, packages = "/usr/lib/wine/wine64 {program}{args}", "gcc-mingw-w64-x86-64 wine64"
    return Target(name, "x86_64-w64-mingw32-gcc", packages, options, STATIC, run, **more)


def zig(name: str, target: str, **more: Any) -> Target:
    """Return a target that Zig can compile and link for, and whose programs cannot run here."""
    return Target(
        name, f"zig cc -target {target}", "ziglang", f"{OPTIONS} {NO_WRAP}", link="-pthread", check="link", **more
    )


LEVELS = ["-O0", "-O1", "-O2", "-O3", "-O3 -march=native", "-Os"]
M4F = "-mcpu=cortex-m4 -mfloat-abi=hard -mfpu=fpv4-sp-d16"
TARGETS = [
    Target("x86-64 Linux, musl", "musl-gcc", "musl-tools", link=STATIC, is_quick=True),
    Target("x86-64 Linux, Clang", "clang", "clang", is_quick=True),
    Target("i686 Linux, SSE2", "i686-linux-gnu-gcc -msse2 -mfpmath=sse", "gcc-i686-linux-gnu libc6-dev-i386-cross",
           link=STATIC, is_quick=True, **CALLERS),
    Target("i686 Linux, x87", "i686-linux-gnu-gcc -mfpmath=387", "gcc-i686-linux-gnu libc6-dev-i386-cross",
           check="refused", is_quick=True),
    linux("AArch64 Linux", "aarch64-linux-gnu", "arm64", "qemu-aarch64", is_quick=True),
    linux("s390x Linux, big-endian", "s390x-linux-gnu", "s390x", "qemu-s390x", modes=(), problems=3, is_quick=True),
    mingw("x86-64 Windows", is_quick=True),
    cortex("Cortex-M4F: nn.h, no system", M4F, "mps2-an386", check="xor", is_quick=True),
    Target("x86-64 Linux with AVX-512", "gcc",
           "gcc bochs bochs-term bochsbios vgabios grub-pc-bin grub-common xorriso mtools cpio",
           link=STATIC, run=f"{sys.executable} {HERE}/bochs.py {{program}}{{args}}", modes=(), problems=1),
    cortex("Cortex-M3: nn.h, no system", "-mcpu=cortex-m3", "mps2-an385", check="xor"),
    cortex("Cortex-M0: nn.h, no system", "-mcpu=cortex-m0", "mps2-an385", check="xor"),
    cortex("Cortex-M4F, no system", M4F, "mps2-an386", modes=(), problems=1),
    Target("AArch64 Linux, Clang", "clang --target=aarch64-linux-gnu",
           "clang gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user", link=STATIC,
           run="qemu-aarch64 {program}{args}", **CALLERS),
    linux("RISC-V Linux, 64-bit", "riscv64-linux-gnu", "riscv64", "qemu-riscv64"),
    linux("ARM Linux, 32-bit", "arm-linux-gnueabihf", "armhf", "qemu-arm"),
    linux("POWER Linux, 64-bit", "powerpc64le-linux-gnu", "ppc64el", "qemu-ppc64le"),
    linux("POWER Linux, 64-bit, big-endian", "powerpc64-linux-gnu", "ppc64", "qemu-ppc64 -cpu power9", problems=5),
    linux("MIPS Linux, 32-bit, big-endian", "mips-linux-gnu", "mips", "qemu-mips", problems=3),
    Target("WebAssembly, Emscripten", "env NODE_PATH=/usr/share/nodejs emcc", "emscripten", f"{OPTIONS} {NO_WRAP}",
           link="-sALLOW_MEMORY_GROWTH", run="node --no-experimental-fetch {program}{args}", modes=(), problems=5),
    *(
        Target(f"x86-64 Linux, {compiler} {level}", compiler, "clang" if compiler == "clang" else "gcc",
               f"{level} -ffp-contract=off")
        for compiler in ("gcc", "clang")
        for level in LEVELS
    ),
    Target("x86-64 Linux, NN_NO_THREADS", "gcc", "gcc", f"{OPTIONS} -DNN_NO_THREADS"),
    mingw("x86-64 Windows, NN_INTERLOCKED", f"{OPTIONS} -DNN_INTERLOCKED"),
    mingw("x86-64 Windows, -O0", "-O0 -ffp-contract=off", problems=5),
    Target("i686 Windows", "i686-w64-mingw32-gcc -msse2 -mfpmath=sse", "gcc-mingw-w64-i686", link=STATIC,
           check="link"),
    zig("x86-64 macOS", "x86_64-macos"),
    zig("AArch64 macOS", "aarch64-macos"),
    zig("x86-64 FreeBSD", "x86_64-freebsd"),
]  # fmt: skip


class Failure(Exception):
    """A target does not do what it should."""


def call(command: str | list[str], *, seconds: float = 3600) -> str:
    """Run a command and return what it prints."""
    arguments = shlex.split(command) if isinstance(command, str) else command
    environment = {**os.environ, "WINEDEBUG": "-all", "WINEDLLOVERRIDES": "mscoree,mshtml="}
    try:
        done = subprocess.run(
            arguments,
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds,
            env=environment,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Failure(str(error)) from error
    if done.returncode != 0:
        raise Failure(f"{shlex.join(arguments)} returned {done.returncode}:\n{(done.stdout + done.stderr)[-3000:]}")
    return done.stdout.replace("\r", "")


def install(targets: list[Target], folder: Path) -> None:
    """Install the Debian packages that are missing; those of PyPI into a folder."""
    wanted = {package for target in targets for package in target.packages.split()}
    if "ziglang" in wanted:
        wanted.remove("ziglang")
        venv.create(folder / "venv", with_pip=True)
        call([str(folder / "venv" / "bin" / "pip"), "install", "-q", "ziglang"])
    known = subprocess.run(
        ["dpkg-query", "-W", "-f", "${Package} ${Status}\n", *wanted], capture_output=True, text=True, check=False
    )
    present = {line.split()[0] for line in known.stdout.splitlines() if line.endswith(" installed")}
    missing = sorted(wanted - present)
    if missing:
        call("apt-get update -q")
        call(["apt-get", "install", "-qy", "--no-install-recommends", *missing])


def build(target: Target, folder: Path, name: str, sources: list[Path], link: str = "") -> Path:
    """Compile sources side by side and link them. Returns the program."""
    compiler = shlex.split(target.compiler)
    if compiler[0] == "zig":
        compiler[:1] = [str(folder.parent / "venv" / "bin" / "python"), "-m", "ziglang"]
    options = [*compiler, *shlex.split(target.options), "-I", str(ROOT / "csrc")]
    objects = [folder / f"{source.stem}.o" for source in sources]
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        list(
            threads.map(
                lambda source, compiled: compiled.exists() or call([*options, "-c", "-o", str(compiled), str(source)]),
                sources,
                objects,
            )
        )
    program = folder / (f"{name}.js" if "emcc" in compiler else f"{name}.exe")
    call([*options, "-o", str(program), *map(str, objects), *shlex.split(f"{target.link} {link}"), "-lm"])
    return program


def run(target: Target, program: Path, *arguments: str) -> str:
    """Run a program of a target and return what it prints."""
    separator = ",arg=" if "semihosting" in target.run else " "
    return call(target.run.format(program=program, args="".join(separator + a for a in arguments)))


def numbers(text: str) -> list[float]:
    """Return the mean squared errors that xor.c prints, before and after the training, and the parameters after it."""
    before, after = (line.split() for line in text.splitlines())
    trained = [struct.unpack(">f", bytes.fromhex(bits))[0] for bits in after[1:]]
    return [float(before[0]), float(after[0]), *trained]


def check_xor(target: Target, folder: Path) -> str:
    """Train the post's network with nn.h. The initial parameters have the same bits; expf is the C library's."""
    check_exported(target, folder)
    here = Target("", "cc", link="")
    expected, got = (
        run(t, build(t, place, "xor", [HERE / "xor.c"])) for t, place in ((here, folder / "host"), (target, folder))
    )
    if expected.splitlines()[0] != got.splitlines()[0]:
        raise Failure(f"the initial parameters differ:\n{expected}{got}")
    differences = [abs(a - b) / abs(a) for a, b in zip(numbers(expected), numbers(got), strict=True)]
    if not max(differences) < 3e-3:
        raise Failure(f"the results differ:\n{expected}{got}")
    return f"initial bits equal, results within {max(differences):.0e}; exported networks equal"


def check_exported(target: Target, folder: Path) -> None:
    """Run the self-tests of exported networks, and compare their fused multiply-add with integers with the engine's."""
    program = build(target, folder, "exported", [ROOT / "tests" / "c" / "test_exported.c"])
    multiply_adds = build(target, folder, "export_fma", [ROOT / "tests" / "c" / "test_export_fma.c"])
    if target.check == "link":
        return
    if run(target, program) != "0 wrong\n":
        raise Failure("an exported network has other bits")
    run(target, multiply_adds, "20000")


def check_refused(target: Target, folder: Path) -> str:
    """Check that the engine does not compile, and that the error says why."""
    try:
        build(target, folder, "refused", [ROOT / "csrc" / "predict.c"])
    except Failure as failure:
        if X87_ERROR in str(failure):
            return "does not compile, as it should"
        raise
    raise Failure("it compiles")


def check_engine(target: Target, folder: Path) -> str:
    """Run the tests of the engine and of nn.h."""
    library = sorted((ROOT / "csrc").glob("**/*.c"))
    wrap = "" if NO_WRAP in target.options else WRAP
    engine = build(target, folder, "engine", [*library, ROOT / "tests" / "c" / "test_engine.c"], wrap)
    names = build(target, folder, "names", [*library, HERE / "instruction_sets.c"])
    quantized = build(target, folder, "quantized", [*library, ROOT / "tests" / "c" / "test_quantized.c"])
    ieee754 = build(target, folder, "ieee754", [*library, ROOT / "tests" / "c" / "test_ieee754.c"])
    nn = build(target, folder, "nn", [ROOT / "tests" / "c" / "test_nn.c"])
    check_exported(target, folder)
    if target.check == "link":
        return "compiles and links; not run"
    isas, threads = run(target, names).splitlines()
    expected = (ROOT / "tests" / "c" / "hashes.txt").read_text()
    hashes = run(target, engine, "hash")
    if hashes != expected:
        raise Failure(f"the hashes differ:\n{hashes}")
    for mode in target.modes:
        run(target, engine, mode)
    run(target, engine, str(target.problems))
    run(target, quantized, str(target.problems))
    run(target, ieee754, "20000")
    run(target, nn)
    return f"equal ({', '.join(isas.split())}; {threads}; {target.problems} problems)"


def check(target: Target, folder: Path) -> tuple[bool, str]:
    """Check a target. Returns whether all is well, and the row of the table."""
    start = processor_time()
    (folder / "host").mkdir(parents=True)
    try:
        checks = {"xor": check_xor, "refused": check_refused}
        is_well, result = True, checks.get(target.check, check_engine)(target, folder)
    except Failure as failure:
        is_well, result = False, "**fails**"
        print(f"{target.name}: {failure}", file=sys.stderr, flush=True)
    seconds = processor_time() - start
    emulator = next((w for w in ("qemu-system-arm", "qemu", "wine", "node", "bochs") if w in target.run), "")
    if target.check in {"refused", "link"}:
        emulator = "not run"
    date = datetime.datetime.now(datetime.timezone.utc).date()
    row = f"| {target.name} | {version(target)} | {emulator or 'directly'} | {result} | {seconds:.0f} | {date} |"
    print(row, flush=True)
    return is_well, row


def processor_time() -> float:
    """Return the processor time in seconds that this process and the commands that it ran have taken."""
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def version(target: Target) -> str:
    """Return the command of the compiler and its version."""
    words = [word for word in shlex.split(target.compiler) if word != "env" and "=/" not in word]
    if words[0] == "zig":
        return f"`{shlex.join(words)}`"
    text = call([words[0], "-dumpversion"]).strip()
    return f"`{shlex.join(words)}` {text}"


def main() -> int:
    """Check the targets that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="a part of the name of a target")
    parser.add_argument("--quick", action="store_true", help="the targets that .ci/run checks")
    parser.add_argument("--all", action="store_true", help="all targets")
    parser.add_argument("--write", action="store_true", help="write the rows into docs/machines.md")
    options = parser.parse_args()
    chosen = [
        t
        for t in TARGETS
        if options.all or (options.quick and t.is_quick) or any(name in t.name for name in options.names)
    ]
    if not chosen:
        parser.error("no target has such a name: " + "; ".join(target.name for target in TARGETS))
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        os.environ["WINEPREFIX"] = str(folder / "wine")
        install(chosen, folder)
        num_failed = 0
        for number, target in enumerate(chosen):
            is_well, row = check(target, folder / str(number))
            num_failed += not is_well
            if options.write:
                write(row)
    print(f"{len(chosen) - num_failed} passed, {num_failed} failed")
    return int(num_failed > 0)


def write(row: str) -> None:
    """Write a row of the table into the page, in the place of the old row of that target or at the end."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(START)
    table, _, after = rest.partition(END)
    rows = {line.split(" | ")[0]: line for line in table.splitlines()}
    rows[row.split(" | ", maxsplit=1)[0]] = row
    PAGE.write_text("\n".join([before + START + "\n".join(rows.values()), END + after]), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
