"""Runs the fuzz targets: with atheris, which is guided by coverage, or without it with a simple mutation of bytes.

    python tests/fuzz/run.py --seconds 12               # all targets, 12 seconds each
    python tests/fuzz/run.py header idx --runs 1000000  # two targets, a million inputs each

A finding is written to build/fuzz/ and ends the run with an error. See docs/fuzzing.md.
"""

# ruff: noqa: T201
from __future__ import annotations

import argparse
import faulthandler
import importlib.util
import os
import random
import re
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path

HERE = Path(__file__).resolve().parent
FOUND = HERE.parent.parent / "build" / "fuzz"
HANG = 30  # seconds of an input, after which it is a finding
INSTRUMENTED = ["nnpy", "zipfile", "http"]  # packages; more of them take seconds at each start
BATCH = 256


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", help="names of targets (default: all)")
    parser.add_argument("--seconds", type=int, default=12, help="time for each target (default: %(default)s)")
    parser.add_argument("--runs", type=int, help="number of inputs for each target, instead of a time")
    parser.add_argument("--engine", choices=["atheris", "simple"], help="default: atheris if it is installed")
    parser.add_argument("--seed", type=int, default=0, help="0, the default, is a random one")
    parser.add_argument(
        "--corpus", type=Path, help="folder to keep the inputs that atheris collects, one folder for each target"
    )
    parser.add_argument("--child", help=argparse.SUPPRESS)
    args = parser.parse_args()
    args.engine = args.engine or ("atheris" if importlib.util.find_spec("atheris") else "simple")
    args.seed = args.seed or random.randrange(1, 2**31)
    if args.child:
        {"atheris": _atheris, "simple": _simple}[args.engine](args.child, args)
        return 0
    names = args.targets or sorted(_import_targets().TARGETS)
    print(f"engine {args.engine}, seed {args.seed}", flush=True)
    return max([_run(name, args) for name in names])


def _import_targets():
    sys.path.insert(0, str(HERE))
    import targets

    return targets


def _run(name: str, args: argparse.Namespace) -> int:
    """Run a target in a process of its own, which an input may kill; print a line; return the exit code."""
    command = [
        sys.executable,
        __file__,
        "--child",
        name,
        *sys.argv[1:],
        "--engine",
        args.engine,
        "--seed",
        str(args.seed),
    ]
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.run(
            command,
            check=False,
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
    seconds = time.monotonic() - start
    match = re.search(r"number_of_executed_units: *(\d+)", process.stdout)
    count = int(match[1]) if match else 0
    if process.returncode or not match:
        print(process.stdout[-4000:])
    verdict = "FOUND SOMETHING, see above" if process.returncode else "ok"
    print(f"{name:10} {count:12,} inputs in {seconds:6.0f} s, {count / seconds:8,.0f} a second: {verdict}", flush=True)
    return int(process.returncode != 0 or not match)


def _atheris(name: str, args: argparse.Namespace) -> None:
    import atheris

    with atheris.instrument_imports(include=INSTRUMENTED):
        targets = _import_targets()
    target = targets.TARGETS[name]
    warnings.simplefilter("error")

    def mutate(data: bytes, max_size: int, seed: int) -> bytes:
        def of_bytes(part: bytes) -> bytes:
            return atheris.Mutate(part, max(max_size, len(part) + 1))

        return target.mutate(bytes(data), of_bytes, random.Random(seed))[:max_size]

    found, seeds = FOUND / name, Path("seeds")
    found.mkdir(parents=True, exist_ok=True)
    seeds.mkdir()
    for number, data in enumerate([*target.seeds(), *targets.corpus(name)]):
        (seeds / str(number)).write_bytes(data)
    kept = Path("collected") if args.corpus is None else args.corpus / name
    kept.mkdir(parents=True, exist_ok=True)
    limit = f"-max_total_time={args.seconds}" if args.runs is None else f"-runs={args.runs}"
    options = [limit, f"-seed={args.seed}", f"-max_len={target.max_size}", f"-timeout={HANG}", "-print_final_stats=1"]
    options += [f"-artifact_prefix={found}/", "-rss_limit_mb=2048", "-verbosity=0"]
    custom = {} if target.mutate is None else {"custom_mutator": mutate}
    atheris.Setup(
        [sys.argv[0], *options, str(kept), str(seeds)], lambda data: targets.check(target, bytes(data)), **custom
    )
    atheris.Fuzz()


def _simple(name: str, args: argparse.Namespace) -> None:
    targets = _import_targets()
    target = targets.TARGETS[name]
    warnings.simplefilter("error")
    inputs = [*target.seeds(), *targets.corpus(name)]
    number, end = 0, time.monotonic() + args.seconds
    while number < args.runs if args.runs is not None else time.monotonic() < end:
        faulthandler.dump_traceback_later(HANG * 10, exit=True)
        for _ in range(BATCH):
            rng = random.Random(f"{args.seed} {number}")
            data = changed(rng.choice(inputs), target, rng)
            number += 1
            try:
                targets.check(target, data)
            except BaseException:
                traceback.print_exc()
                path = FOUND / name / f"{args.seed}-{number}"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
                print(f"the input is {path}")
                os._exit(1)
    faulthandler.cancel_dump_traceback_later()
    print(f"number_of_executed_units: {number}")


def changed(data: bytes, target, rng: random.Random) -> bytes:
    """Change an input in one to four places, without a fuzzer."""
    for _ in range(rng.choice([1, 1, 1, 2, 4])):
        data = (
            mutate_bytes(data, rng)
            if target.mutate is None
            else target.mutate(data, lambda d: mutate_bytes(d, rng), rng)
        )
    return data[: target.max_size]


def mutate_bytes(data: bytes, rng: random.Random) -> bytes:
    """Flip a bit, or set, insert, remove or copy some bytes."""
    changed = bytearray(data)
    place = rng.randrange(len(data) + 1)
    length = min(rng.choice([1, 1, 2, 4, 8, 64]), len(data))
    end, other = place + length, rng.randrange(len(data) - length + 1)
    what = rng.randrange(7)
    if what == 0 and place < len(data):
        changed[place] ^= 1 << rng.randrange(8)
    elif what == 1:
        changed[place : place + 1] = rng.randbytes(1)
    elif what == 2:
        changed[place:end] = rng.choice([b"\0", b"\xff", b"\x7f", b"\x80", b"9", b"(", b"-"]) * length
    elif what == 3:
        changed[place:place] = rng.choice([b"\0", b"1", b"9" * 30, b"[" * 50, b", ", b"\r\n", b"'"])
    elif what == 4:
        del changed[place:end]
    elif what == 5:
        changed[place:end] = data[other : other + length]
    else:
        changed[place:place] = data[other : other + length]
    return bytes(changed)


if __name__ == "__main__":
    sys.exit(main())
