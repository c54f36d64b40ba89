"""The compiled part of the build, and what makes its files the same to the byte; everything else is in pyproject.toml.

With ``SOURCE_DATE_EPOCH`` set, the same sources and tools give the same source distribution and the same wheel, in every
folder, at every time, with every umask and locale. setuptools takes care of the times in a wheel only.
"""

import gzip
import os
import sysconfig
import tarfile
import time
from pathlib import Path

from setuptools import setup
from setuptools.command.sdist import sdist

os.umask(0o022)  # permissions in the wheel are those of the files that are built

# cffi compiles for the limited API, so that one wheel serves every CPython from 3.10 on. Free-threaded builds have none.
limited_api = not sysconfig.get_config_var("Py_GIL_DISABLED")

options = {"bdist_wheel": {"py_limited_api": "cp310"}} if limited_api else {}
if os.name == "nt" and os.environ.get("CC"):
    options["build_ext"] = {"compiler": "mingw32"}  # setuptools would take MSVC


class ReproducibleSdist(sdist):
    """The source distribution, without times, permissions and owners of the files on this machine."""

    def make_archive(self, base_name: str, *_: object, base_dir: str, **__: object) -> str:
        """Write ``base_name.tar.gz``; setuptools calls this method."""
        epoch = int(os.environ.get("SOURCE_DATE_EPOCH", time.time()))

        def normalize(info: tarfile.TarInfo) -> tarfile.TarInfo:
            info.mtime, info.mode = epoch, 0o755 if info.mode & 0o100 else 0o644
            info.uid, info.gid, info.uname, info.gname = 0, 0, "", ""
            return info

        path = Path(f"{base_name}.tar.gz")
        path.parent.mkdir(exist_ok=True)
        with (
            path.open("wb") as file,
            gzip.GzipFile("", "wb", fileobj=file, mtime=epoch) as compressed,
            tarfile.open(fileobj=compressed, mode="w", format=tarfile.PAX_FORMAT) as tar,
        ):
            tar.add(base_dir, filter=normalize)
        return str(path)


setup(cffi_modules=["build_ffi.py:ffibuilder"], cmdclass={"sdist": ReproducibleSdist}, options=options)
