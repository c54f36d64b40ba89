"""The compiled part of the build; everything else is in pyproject.toml."""

import os
import sysconfig

from setuptools import setup

# cffi compiles for the limited API, so that one wheel serves every CPython from 3.10 on. Free-threaded builds have none.
limited_api = not sysconfig.get_config_var("Py_GIL_DISABLED")

options = {"bdist_wheel": {"py_limited_api": "cp310"}} if limited_api else {}
if os.name == "nt" and os.environ.get("CC"):
    options["build_ext"] = {"compiler": "mingw32"}  # setuptools would take MSVC

setup(cffi_modules=["build_ffi.py:ffibuilder"], options=options)
