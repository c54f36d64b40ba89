"""What is built: the cdef says what the headers say, and a source folder without the extension says so."""

import importlib.metadata
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import nnpy

ROOT = Path(__file__).parent.parent


def declarations(text):
    """The statements outside braces, in one spelling."""
    text = text.split("#ifdef NN_IMPLEMENTATION")[0]
    text = re.sub(r"/\*.*?\*/|//[^\n]*|#ifdef __cplusplus\n.*?#endif", " ", text, flags=re.DOTALL)
    text = re.sub(r"^[ \t]*#.*$", " ", text, flags=re.MULTILINE)
    return [re.sub(r"\s+", " ", part).strip() for part in re.split(r";(?![^{}]*\})", text)]


def cdef():
    source = (ROOT / "build_ffi.py").read_text()
    return re.search(r'^CDEF = """(.*?)"""', source, re.DOTALL | re.MULTILINE).group(1)


def test_cdef_says_what_the_headers_say():
    headers = [d for name in ("nn.h", "engine.h") for d in declarations((ROOT / "csrc" / name).read_text())]
    checked = 0
    for declaration in declarations(cdef()):
        if not declaration or declaration.startswith('extern "Python"'):
            continue
        assert declaration in headers
        checked += 1
    assert checked >= 25


def test_version_is_the_same_everywhere():
    assert importlib.metadata.version("nnpy") == nnpy.__version__
    assert f"## {nnpy.__version__}" in (ROOT / "CHANGELOG.md").read_text()


def test_run_time_requirements_are_numpy_and_cffi():
    required = [r for r in importlib.metadata.requires("nnpy") if "extra ==" not in r]
    assert sorted(re.match(r"\w+", r).group() for r in required) == ["cffi", "numpy"]


def test_source_folder_without_the_extension_says_so(tmp_path):
    shutil.copytree(
        ROOT / "nnpy", tmp_path / "nnpy", ignore=shutil.ignore_patterns("_libnn.*so", "_libnn.*pyd", "_libnn.c")
    )
    shutil.copy(ROOT / "build_ffi.py", tmp_path)
    program = "import sys; sys.meta_path[:] = [f for f in sys.meta_path if 'ditable' not in str(f)]; import nnpy"
    result = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert f"ImportError: nnpy was imported from the source folder {tmp_path / 'nnpy'}, in which its" in result.stderr
    assert result.stderr.rstrip().endswith("pip install -e .")


@pytest.mark.parametrize("name", ["_libnn"])
def test_extension_is_for_the_limited_api(name):
    if hasattr(sys, "_is_gil_enabled") and not sys._is_gil_enabled():
        pytest.skip("free-threaded builds have no limited API")
    files = [p.name for p in Path(nnpy.__file__).parent.glob(f"{name}.*") if p.suffix in (".so", ".pyd")]
    assert files in ([f"{name}.abi3.so"], [f"{name}.pyd"])
