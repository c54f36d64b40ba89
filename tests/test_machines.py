"""The script that compares bits on other machines: it notices a difference, and its table keeps the rows of other targets."""

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
HASHES = (ROOT / "tests" / "c" / "hashes.txt").read_text()


@pytest.fixture
def script():
    spec = importlib.util.spec_from_file_location("machines_run", ROOT / "tests" / "machines" / "run.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def outputs(hashes, exported="0 wrong\n"):
    """A stand-in for running programs: what they print."""
    texts = {("engine", "hash"): hashes, ("names",): "avx2 portable\nthreads\n", ("exported",): exported}
    return lambda target, program, *arguments: texts.get((program, *arguments), "")


@pytest.mark.parametrize(
    ("hashes", "expected"),
    [(HASHES, "equal (avx2, portable; threads; 20 problems)"), (HASHES[:-2] + "x\n", "**fails**")],
)
def test_other_hashes_are_a_failure(script, tmp_path, monkeypatch, capsys, hashes, expected):
    monkeypatch.setattr(script, "build", lambda target, folder, name, *_: name)
    monkeypatch.setattr(script, "run", outputs(hashes))
    monkeypatch.setattr(script, "version", lambda _: "`cc` 1")
    is_well, row = script.check(script.Target("this machine", "cc"), tmp_path / "work")
    assert is_well == (hashes == HASHES)
    assert row.split(" | ")[3] == expected
    assert ("the hashes differ" in capsys.readouterr().err) == (not is_well)


def test_other_bits_of_an_exported_network_are_a_failure(script, tmp_path, monkeypatch):
    monkeypatch.setattr(script, "build", lambda target, folder, name, *_: name)
    monkeypatch.setattr(script, "run", outputs(HASHES, "1 wrong\n"))
    for check in (script.check_engine, script.check_xor):
        with pytest.raises(script.Failure, match="an exported network has other bits"):
            check(script.Target("this machine", "cc"), tmp_path)


def test_program_that_fails_is_a_failure(script):
    with pytest.raises(script.Failure, match="false returned 1"):
        script.call("false")


@pytest.mark.parametrize(("compiler", "result"), [("true", "it compiles"), ("false", "false")])
def test_refused_target_must_not_compile_for_the_right_reason(script, tmp_path, compiler, result):
    with pytest.raises(script.Failure, match=result):
        script.check_refused(script.Target("x87", compiler, check="refused"), tmp_path)


def test_row_takes_the_place_of_its_old_one(script, tmp_path, monkeypatch):
    page = tmp_path / "page.md"
    page.write_text(f"before\n{script.START}| a | old |\n| b | old |\n{script.END}after\n")
    monkeypatch.setattr(script, "PAGE", page)
    script.write("| a | new |")
    script.write("| c | new |")
    assert page.read_text() == f"before\n{script.START}| a | new |\n| b | old |\n| c | new |\n{script.END}after\n"


def test_targets_of_the_page_are_those_of_the_script(script):
    table = script.PAGE.read_text(encoding="utf-8").partition(script.START)[2].partition(script.END)[0]
    names = [row.split(" | ")[0].removeprefix("| ") for row in table.splitlines()]
    assert len(set(names)) == len(names)
    assert set(names) <= {target.name for target in script.TARGETS}
    assert {target.name for target in script.TARGETS if target.is_quick} <= set(names)
    assert "**fails**" not in table
