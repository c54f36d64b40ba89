#!/usr/bin/env python3
"""Run a static program for x86-64 Linux on a processor with AVX-512, which the emulator Bochs has.

    python3 tests/machines/bochs.py PROGRAM [ARGUMENT...]

Bochs boots Debian's kernel from a CD image, with the program in its initial RAM disk, in about a minute; it executes some 50
million instructions a second. Prints what the program prints, and exits with its exit code. run.py installs the Debian
packages that it needs.
"""

import contextlib
import os
import pty
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
KERNELS = "linux-image-cloud-amd64"  # small: it has the drivers for emulated hardware only
LIMIT = 3000  # seconds

# Bochs 2.7 reports a wrong size for the compact format of XSAVE, so that Linux would switch AVX off; 321 and 323 stand for that
# format.
GRUB = """\
set timeout=0
menuentry test {
    linux /boot/vmlinuz console=ttyS0 quiet loglevel=0 panic=-1 mitigations=off noapic nolapic nosmp clearcpuid=321,323 -- %s
    initrd /boot/initrd
}
"""
BOCHS = """\
display_library: term
cpu: model=corei7_skylake_x, ips=100000000
megs: 512
romimage: file=/usr/share/bochs/BIOS-bochs-latest
vgaromimage: file=/usr/share/bochs/VGABIOS-lgpl-latest
ata0-master: type=cdrom, path=cd.iso, status=inserted
boot: cdrom
com1: enabled=1, mode=file, dev=serial.txt
log: bochs.log
panic: action=fatal
error: action=ignore
info: action=ignore
"""


def call(*command: str, cwd: Path) -> None:
    subprocess.run(command, cwd=cwd, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def make_image(folder: Path, program: str, arguments: list[str]) -> None:
    """Write the image of a CD that boots and runs the program."""
    shown = subprocess.run(["apt-cache", "depends", KERNELS], check=True, capture_output=True, text=True).stdout
    kernel = re.search(r"Depends: (linux-image-\S+)", shown)
    assert kernel is not None, shown
    call("apt-get", "download", kernel[1], cwd=folder)
    call("dpkg", "-x", next(folder.glob("linux-image-*.deb")).name, "kernel", cwd=folder)
    root, boot = folder / "root", folder / "cd" / "boot"
    root.mkdir()
    (boot / "grub").mkdir(parents=True)
    shutil.copy(next(folder.glob("kernel/boot/vmlinuz-*")), boot / "vmlinuz")
    shutil.copy(program, root / "program")
    call("gcc", "-O2", "-static", "-o", str(root / "init"), str(HERE / "bochs_init.c"), cwd=folder)
    call("sh", "-c", "cd root && find . | cpio -o -H newc > ../cd/boot/initrd", cwd=folder)
    (boot / "grub" / "grub.cfg").write_text(GRUB % " ".join(arguments))
    call("grub-mkrescue", "-o", "cd.iso", "cd", cwd=folder)


def run_bochs(folder: Path) -> str:
    """Run Bochs, which wants a terminal, until the program has ended; return what it printed."""
    (folder / "bochsrc").write_text(BOCHS)
    (folder / "commands").write_text("continue\n")  # of Bochs' debugger
    terminal, own = pty.openpty()
    command = ["bochs", "-q", "-f", "bochsrc", "-rc", "commands"]
    environment = {**os.environ, "TERM": "xterm"}
    bochs = subprocess.Popen(command, cwd=folder, stdin=own, stdout=own, stderr=own, env=environment)
    os.close(own)
    try:
        with contextlib.suppress(OSError):  # the end of the terminal
            while os.read(terminal, 1 << 16):
                pass
        bochs.wait(LIMIT)
    finally:
        bochs.kill()
        bochs.wait()
        os.close(terminal)
    serial = folder / "serial.txt"
    return serial.read_text(errors="replace").replace("\r", "") if serial.exists() else ""


def main() -> int:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_image(folder, sys.argv[1], sys.argv[2:])
        printed = run_bochs(folder)
    match = re.search(r"^START\n(.*)^END (\d+)$", printed, re.DOTALL | re.MULTILINE)
    if match is None:
        sys.exit(f"the program did not end in Bochs: {printed[-2000:]}")
    sys.stdout.write(match[1])
    return int(match[2])


if __name__ == "__main__":
    sys.exit(main())
