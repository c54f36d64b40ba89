"""docs/command_line.md: its commands print what the page shows, but for times."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parent.parent / "docs" / "command_line.md"
SHELL = 'nnpy() { "$PYTHON" -m nnpy "$@"; }; python() { "$PYTHON" "$@"; }; '


def blocks(text):
    """Return the fenced blocks of commands: (language, content)."""
    return re.findall(r"^```(sh|console)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def commands(content):
    """Return the commands of a console and what is printed after each."""
    parts = re.split(r"^\$ (.*)\n", content, flags=re.MULTILINE)[1:]
    return list(zip(parts[::2], parts[1::2], strict=True))


def without_times(text):
    return re.sub(r"\bin [\d.]+ s$", "in ... s", text, flags=re.MULTILINE)


def run(command, folder):
    """Run a command; return what it prints, on either output."""
    environment = {**os.environ, "PYTHON": sys.executable}
    result = subprocess.run(
        ["sh", "-c", SHELL + command],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        check=False,
        timeout=120,
    )
    return result.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="the commands are for a Unix shell")
def test_the_commands_of_the_page(tmp_path):
    pytest.importorskip("pandas")
    pytest.importorskip("sklearn")
    found = blocks(PAGE.read_text(encoding="utf-8"))
    assert [language for language, _ in found] == ["sh", *["console"] * 6]
    for language, content in found:
        if language == "sh":
            assert run(content, tmp_path) == ""
            continue
        for command, printed in commands(content):
            assert printed
            assert without_times(run(command, tmp_path)) == without_times(printed), command
