"""Traces the fsync calls of a process with strace."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

needs_strace = pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")

#: A line of strace with paths of descriptors: `1764280000.123456 fsync(171</path>) = 0 <0.007>`.
FSYNC = re.compile(r"(?P<at>[\d.]+) f(?:data)?sync\(\d+<(?P<path>.*)>\) += 0 <(?P<took>[\d.]+)>")


class Fsync(NamedTuple):
    """A call that succeeded; times are in seconds since 1970."""

    path: Path
    began: float
    ended: float


@contextmanager
def traced_fsyncs(pid: int, folder: Path) -> Iterator[None]:
    """Trace the fsync calls of a process for the block, into one file per thread in the folder."""
    folder.mkdir()
    options = ["-ff", "-ttt", "-T", "-y", "-e", "trace=fsync,fdatasync", "-o", str(folder / "thread")]
    tracer = subprocess.Popen(["strace", *options, "-p", str(pid)], stderr=subprocess.PIPE, text=True)
    try:
        assert tracer.stderr
        if "attached" not in (line := tracer.stderr.readline()):
            pytest.skip(f"strace cannot attach: {line}")
        yield
    finally:
        tracer.send_signal(signal.SIGINT)
        tracer.communicate(timeout=60)


def fsyncs(folder: Path) -> list[Fsync]:
    """Return the traced calls, in no order."""
    return [
        Fsync(Path(call["path"]), float(call["at"]), float(call["at"]) + float(call["took"]))
        for file in folder.iterdir()
        for call in FSYNC.finditer(file.read_text())
    ]
