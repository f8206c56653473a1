"""Processes under test: started as `python -m …`, read line by line, stopped or killed."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

from tests.support import forked
from tests.support.engines import check_mark

ROOT = forked.ROOT
START_TIMEOUT = 120.0
#: Settings that locate Kafka and Java on this machine.
INSTALLED = ("POSTBACKS_CACHE", "POSTBACKS_JAVA")


class Process:
    """A running process, killed at the end of a `with` block. Its standard output is a pipe."""

    def __init__(self, popen: subprocess.Popen[bytes] | forked.Forked) -> None:
        self.popen = popen
        self.pid = popen.pid

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        if (status := self.popen.poll()) is not None:  # in the report of a failure that may be the reason
            print(f"{self.popen.args!r} had exited with status {status}", file=sys.stderr)
        self.kill()
        self.output.close()

    @property
    def running(self) -> bool:
        return self.popen.poll() is None

    @property
    def output(self) -> IO[bytes]:
        assert self.popen.stdout
        return self.popen.stdout

    def read_line(self, timeout: float = START_TIMEOUT) -> str:
        """Read the next line of its output; fail if it exits first or takes longer than `timeout` seconds."""
        deadline = time.monotonic() + timeout
        line = b""
        while not line.endswith(b"\n"):
            ready, _, _ = select.select([self.output], [], [], max(0, deadline - time.monotonic()))
            chunk = os.read(self.output.fileno(), 1) if ready else b""
            if not chunk:
                raise AssertionError(
                    f"{self.popen.args!r} printed {line!r} without a line end (status {self.popen.poll()})"
                )
            line += chunk
        return line.decode().strip()

    async def wait(self, timeout: float = START_TIMEOUT) -> int:
        """Wait until it exits by itself; return the status."""
        return await asyncio.to_thread(self.popen.wait, timeout)

    def kill(self) -> None:
        """Send SIGKILL and wait until it has exited."""
        self.popen.kill()
        self.popen.wait()

    def stop(self, timeout: float = 30.0) -> int:
        """Send SIGTERM and return the exit status; fail if it does not exit within `timeout` seconds."""
        self.popen.send_signal(signal.SIGTERM)
        try:
            return self.popen.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self.popen.args!r} did not exit within {timeout} s of SIGTERM") from None


def environment(**settings: object) -> dict[str, str]:
    """Return the environment of the tests with these settings, and no others but `INSTALLED`.

    Args:
        settings: variables; names in lower case are settings without their prefix.
    """
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("POSTBACKS_") or name in INSTALLED
    }
    return inherited | {
        name if name.isupper() else f"POSTBACKS_{name.upper()}": str(value)
        for name, value in settings.items()
    }


def child_processes(pid: int) -> list[int]:
    """Return the ids of the running child processes."""
    files = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for children in files for child in children.read_text().split()]


def running(*arguments: str | Path, **settings: object) -> Process:
    """Start `python -m arguments…` with these settings (see `environment`) and no others.

    Its standard error is inherited.
    """
    if arguments[0] == "embedded":
        assert "--data" in arguments, "it would use ./data, with what an earlier run left there"
        check_mark()
    reading, writing = os.pipe()
    try:
        popen = forked.fork([*map(str, arguments)], environment(**settings), writing)
    finally:
        os.close(writing)
    popen.stdout = os.fdopen(reading, "rb")
    return Process(popen)


@contextmanager
def stderr_in(file: Path) -> Iterator[None]:
    """Let processes that the block starts write their standard error to the file.

    It can be read while they write: reading by `capfd` truncates, and may lose what is written meanwhile.
    """
    before = os.dup(2)
    try:
        with file.open("ab") as log:
            os.dup2(log.fileno(), 2)
        yield
    finally:
        os.dup2(before, 2)
        os.close(before)


def run_module(*arguments: str | Path, **settings: object) -> subprocess.CompletedProcess[str]:
    """Run `python -m arguments…` with these settings (see `environment`) to its end."""
    with TemporaryFile("w+") as output, TemporaryFile("w+") as errors:
        process = forked.fork(
            [*map(str, arguments)], environment(**settings), output.fileno(), errors.fileno()
        )
        try:
            status = process.wait(START_TIMEOUT)
        finally:
            process.kill()
        for file in (output, errors):
            file.seek(0)
        return subprocess.CompletedProcess(process.args, status, output.read(), errors.read())
