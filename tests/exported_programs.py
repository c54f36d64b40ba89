"""Compiles programs with exported networks, for test_export_c.py and test_quantized.py."""

import platform
import shutil
import subprocess

import pytest

WARNINGS = ["-Wall", "-Wextra", "-Wconversion", "-Wsign-conversion", "-Wpedantic", "-Wshadow", "-Werror"]
COMPILERS = {
    "c99": ["cc", "-std=c99", "-O2"],
    "c99, unoptimised, with fma": ["cc", "-std=c99", "-O0", "-mfma"],
    "gnu, fused wherever possible": ["cc", "-std=gnu11", "-O3", "-march=native", "-ffp-contract=fast"],
    "small": ["cc", "-std=c99", "-Os"],
    "c++": ["c++", "-x", "c++", "-std=c++11", "-O2"],
    "sanitizers": ["cc", "-std=c99", "-O1", "-fsanitize=undefined,address", "-fno-sanitize-recover=all"],
}


def compile_and_link(folder, compiler, *sources):
    """Returns the program, built without warnings in a folder."""
    command = COMPILERS[compiler]
    if shutil.which(command[0]) is None:
        pytest.skip(f"there is no compiler {command[0]}")
    if not is_x86() and "-mfma" in command:
        pytest.skip("-mfma is for x86")
    program = folder / "program"
    subprocess.run([*command, *WARNINGS, "-o", program, *sources], check=True, cwd=folder)  # without -lm
    return program


def is_x86():
    return platform.machine().lower() in {"x86_64", "amd64"}
