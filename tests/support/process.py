"""Processes under test: started as `python -m …`, read line by line, stopped or killed."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

ROOT = Path(__file__).parent.parent.parent
START_TIMEOUT = 120.0
INSTALLED = ("POSTBACKS_CACHE", "POSTBACKS_JAVA")


class Process:
    """A running process. Its standard output is a pipe, its standard error is inherited."""

    def __init__(self, popen: subprocess.Popen[bytes]) -> None:
        self.popen = popen

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


def inherited_environment() -> dict[str, str]:
    """Return the environment of the tests without settings, except those that locate Kafka and Java."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("POSTBACKS_") or name in INSTALLED
    }


def child_processes(pid: int) -> list[int]:
    """Return the ids of the running child processes."""
    files = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for children in files for child in children.read_text().split()]


@contextmanager
def running(*arguments: str | Path, environment: Mapping[str, str] | None = None) -> Iterator[Process]:
    """Run `python -m arguments…` for the block, with the settings in `environment` and no others."""
    popen = subprocess.Popen(
        [sys.executable, "-m", *map(str, arguments)],
        cwd=ROOT,
        env={**inherited_environment(), **(environment or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C goes to the tests only, which stop their processes in order
    )
    process = Process(popen)
    try:
        yield process
    finally:
        process.kill()
        process.output.close()
