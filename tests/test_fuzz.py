"""What reads bytes from outside: on seeds, on what a fuzzer found, and on some mutations. `fuzz/run.py` runs for longer."""

import random
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent / "fuzz"


@pytest.fixture(scope="module")
def fuzz():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(FOLDER)
        import run
        import targets

        yield run, targets


NAMES = ["draw", "header", "idx", "idx_gzip", "idx_memory", "load", "load_int8", "resume", "table"]
LIBRARIES = {"from_onnx": "onnx", "from_safetensors": "safetensors"}  # what other targets need


@pytest.mark.parametrize("name", [*NAMES, *LIBRARIES])
def test_inputs(fuzz, name):
    run, targets = fuzz
    if name in LIBRARIES:
        pytest.importorskip(LIBRARIES[name])
    assert set(NAMES) <= set(targets.TARGETS) <= {*NAMES, *LIBRARIES}
    target = targets.TARGETS[name]
    seeds, rng = target.seeds(), random.Random(0)
    assert sum(targets.check(target, data) for data in seeds) > len(seeds) / 3
    for data in targets.corpus(name):
        assert not targets.check(target, data) or name == "draw"  # where another request of the input is accepted
    accepted = sum(targets.check(target, run.changed(rng.choice(seeds), target, rng)) for _ in range(150))
    assert 0 < accepted < 150


def test_the_corpus_is_read(fuzz):
    _, targets = fuzz
    assert {path.parent.name for path in FOLDER.glob("corpus/*/*")} <= {*targets.TARGETS, *LIBRARIES}
    assert len(targets.corpus("header")) >= 3


def test_a_finding_is_reported(fuzz, monkeypatch):
    _, targets = fuzz

    def slow(data):
        sum(range(10**6))
        return True

    target = targets.TARGETS["header"]._replace(read=slow)
    monkeypatch.setattr(targets, "MAX_SECONDS", 1e-3)
    with pytest.raises(AssertionError, match="^took "):
        targets.check(target, b"")
    monkeypatch.setattr(targets, "MEMORY_EVERY", 1)
    with pytest.raises(AssertionError, match="^allocated "):
        targets.check(target._replace(read=lambda data: bool(bytes(10**8))), b"")


def test_the_command(tmp_path):
    command = [sys.executable, FOLDER / "run.py", "header", "--runs", "300", "--engine", "simple"]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "inputs in" in result.stdout
    assert result.stdout.rstrip().endswith(": ok")
