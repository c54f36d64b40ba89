"""How the extension is built: what Python sees of C, the options of the compiler, the requirements, the extension's name."""

import importlib.metadata
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tarfile
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
    nn, engine = (declarations((ROOT / "csrc" / name).read_text()) for name in ("nn.h", "engine.h"))
    ours = [d for d in declarations(cdef()) if d and "nnpy_" not in d]  # those are between Python and C only
    assert [d for d in ours if d not in nn + engine] == []
    assert len(ours) > 25
    assert [d for d in engine if d and d not in ours and not d.startswith("enum")] == [], "these are in engine.h only"


def test_cdef_has_the_constants_of_the_engine():
    named = re.findall(r"#define (NN_\w+) \.\.\.", cdef())
    enums = re.findall(r"\benum \{([^}]*)\}", " ".join(declarations((ROOT / "csrc" / "engine.h").read_text())))
    constants = re.findall(r"\bNN_\w+", " ".join(enums))
    assert len(constants) > 5
    assert set(constants) <= set(named)


# ---- The options of the compiler ----


@pytest.fixture(scope="module")
def build_ffi():
    spec = importlib.util.spec_from_file_location("build_ffi", ROOT / "build_ffi.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_flags_of_a_normal_build(build_ffi):
    flags = build_ffi.choose_flags({"NNPY_DEBUG": "0", "NNPY_SANITIZE": ""}, windows=False)
    assert flags == build_ffi.choose_flags({}, windows=False)
    assert flags["extra_compile_args"][:2] == ["-O2", "-g0"]
    assert "-ffp-contract=off" in flags["extra_compile_args"]
    assert flags["define_macros"] == [("NN_WITHOUT_EVALUATE_MATH", None), ("NDEBUG", None)]
    assert not any("sanitize" in flag for flag in flags["extra_compile_args"] + flags["extra_link_args"])
    assert build_ffi.choose_flags({}, windows=True)["extra_compile_args"] == ["/O2", "/fp:precise"]


def test_flags_of_the_user_win_over_the_level_and_not_over_what_the_code_needs(build_ffi):
    flags = build_ffi.choose_flags({"CFLAGS": "-O3 -g -ffp-contract=fast '-DNAME=a b'"}, windows=False)
    flags = flags["extra_compile_args"]
    assert "-DNAME=a b" in flags
    assert flags.index("-O2") < flags.index("-O3")
    assert flags.index("-g0") < flags.index("-g")
    assert flags.index("-ffp-contract=fast") < flags.index("-ffp-contract=off")
    flags = build_ffi.choose_flags({"CFLAGS": "-Ofast"}, windows=False)["extra_compile_args"]
    assert flags.index("-Ofast") < flags.index("-fno-fast-math")


@pytest.mark.parametrize(
    ("machine", "maxsize", "expected"), [("i686", 2**31, 1), ("x86_64", 2**31, 1), ("x86_64", 2**63, 0)]
)
def test_32_bit_x86_computes_with_sse(build_ffi, monkeypatch, machine, maxsize, expected):
    monkeypatch.setattr("platform.machine", lambda: machine)
    monkeypatch.setattr("sys.maxsize", maxsize)
    flags = build_ffi.choose_flags({}, windows=False)["extra_compile_args"]
    assert [flags.count(flag) for flag in ("-msse2", "-mfpmath=sse")] == [expected] * 2


@pytest.mark.parametrize(("compiler", "is_gcc"), [("gcc", 1), ("clang", 0), ("python -m ziglang cc", 0)])
def test_flags_of_a_compiler_with_the_options_of_gcc_on_windows(build_ffi, compiler, is_gcc):
    flags = build_ffi.choose_flags({"CC": compiler}, windows=True)
    assert "-ffp-contract=off" in flags["extra_compile_args"]
    assert flags["extra_compile_args"].count("-Wa,-muse-unaligned-vector-move") == is_gcc
    assert not any(flag.startswith("/") for flag in flags["extra_compile_args"] + flags["extra_link_args"])
    assert "-pthread" not in flags["extra_compile_args"] + flags["extra_link_args"]  # it would need another DLL
    assert flags["libraries"] == ["m", "python3"]


def test_flags_of_msys2s_python(build_ffi, monkeypatch):
    monkeypatch.setattr("sysconfig.get_platform", lambda: "mingw_x86_64_ucrt_gnu")
    flags = build_ffi.choose_flags({}, windows=True)
    assert "-ffp-contract=off" in flags["extra_compile_args"]


def test_debug_build_has_symbols_and_assertions(build_ffi):
    flags = build_ffi.choose_flags({"NNPY_DEBUG": "1"}, windows=False)
    assert flags["extra_compile_args"][:2] == ["-Og", "-g3"]
    assert flags["define_macros"] == [("NN_WITHOUT_EVALUATE_MATH", None)]
    assert flags["undef_macros"] == ["NDEBUG"]
    assert build_ffi.choose_flags({"NNPY_DEBUG": "1"}, windows=True)["extra_compile_args"][:2] == ["/Od", "/Z7"]


@pytest.mark.parametrize("names", ["address,undefined", "thread", "undefined"])
def test_sanitizers_are_compiled_and_linked_in(build_ffi, names):
    flags = build_ffi.choose_flags({"NNPY_SANITIZE": names}, windows=False)
    for options in (flags["extra_compile_args"], flags["extra_link_args"]):
        assert {f"-fsanitize={names}", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer"} <= set(options)
    assert "-g3" in flags["extra_compile_args"]
    assert "-g0" not in flags["extra_compile_args"]


@pytest.mark.parametrize(
    ("environ", "windows", "message"),
    [
        ({"NNPY_DEBUG": "yes"}, False, "NNPY_DEBUG must be 0 or 1, not 'yes'"),
        (
            {"NNPY_SANITIZE": "undefined,adress"},
            False,
            "NNPY_SANITIZE must be a list, with commas, of address, undefined, thread; 'adress' is none of them",
        ),
        ({"NNPY_SANITIZE": "address,thread"}, False, "NNPY_SANITIZE cannot combine address and thread"),
        ({"NNPY_SANITIZE": "address"}, True, "NNPY_SANITIZE needs GCC or Clang"),
    ],
)
def test_unknown_builds_are_refused(build_ffi, environ, windows, message):
    with pytest.raises(SystemExit) as caught:
        build_ffi.choose_flags(environ, windows=windows)
    assert str(caught.value) == message


def test_changed_flags_build_the_extension_again(build_ffi, tmp_path, monkeypatch):
    """The file that the extension depends on is written only when the options change."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CC", raising=False)
    path = Path(build_ffi.note_flags({"a": 1}))
    text, time = path.read_text(), path.stat().st_mtime_ns
    build_ffi.note_flags({"a": 1})
    assert (path.read_text(), path.stat().st_mtime_ns) == (text, time)
    build_ffi.note_flags({"a": 2})
    assert path.stat().st_mtime_ns > time
    text = path.read_text()
    monkeypatch.setenv("CC", "other")
    build_ffi.note_flags({"a": 2})
    assert path.read_text() != text


# ---- The package ----


def test_source_distribution_does_not_depend_on_times_permissions_and_folders(tmp_path):
    archives = []
    for name, umask in (("one", 0o022), ("another folder", 0o077)):
        folder = tmp_path / name
        for part in ("csrc", "nnpy"):
            shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("_libnn.*", "__pycache__"))
        for file in ("setup.py", "build_ffi.py", "pyproject.toml", "README.md", "LICENSE"):
            shutil.copyfile(ROOT / file, folder / file)  # with new times
        for path in folder.rglob("*"):
            path.chmod((0o777 if path.is_dir() else 0o666) & ~umask)
        subprocess.run(
            [sys.executable, "setup.py", "-q", "sdist"],
            cwd=folder,
            env={**os.environ, "SOURCE_DATE_EPOCH": "1700000000"},
            capture_output=True,
            check=True,
        )
        archives += (folder / "dist").glob("*.tar.gz")
    assert archives[0].read_bytes() == archives[1].read_bytes()
    with tarfile.open(archives[0]) as tar:
        members = {member.name.partition("/")[2]: member for member in tar}
    assert {member.mtime for member in members.values()} == {1700000000}
    assert (members["csrc"].mode, members["csrc/nn.h"].mode) == (0o755, 0o644)


def test_actions_are_pinned_to_commits():
    uses = re.findall(r"uses: (\S+)", (ROOT / ".github" / "workflows" / "wheels.yml").read_text())
    assert len(uses) > 5
    assert [action for action in uses if not re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", action)] == []


def test_version_is_the_same_everywhere():
    assert importlib.metadata.version("nnpy") == nnpy.__version__
    assert f"## {nnpy.__version__}" in (ROOT / "CHANGELOG.md").read_text()


def test_run_time_requirements_are_numpy_and_cffi():
    required = [r for r in importlib.metadata.requires("nnpy") if "extra ==" not in r]
    assert sorted(re.match(r"\w+", r).group() for r in required) == ["cffi", "numpy"]


def test_ruff_is_the_same_before_a_commit_and_in_the_tests():
    pinned = re.findall(r"ruff==[\d.]+", (ROOT / "pyproject.toml").read_text())
    assert len(pinned) == 1
    assert set(re.findall(r"ruff==[\d.]+", (ROOT / ".pre-commit-config.yaml").read_text())) == set(pinned)


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


def test_extension_is_for_the_limited_api():
    if hasattr(sys, "_is_gil_enabled") and not sys._is_gil_enabled():
        pytest.skip("free-threaded builds have no limited API")
    files = [p.name for p in Path(nnpy.__file__).parent.glob("_libnn.*") if p.suffix in (".so", ".pyd")]
    assert files in (["_libnn.abi3.so"], ["_libnn.pyd"])
