"""Processes of ours that tests start: what they print first is waited for, and they are ended by their id."""

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
READY_SECONDS = 120.0
INSTALLED = ("POSTBACKS_CACHE", "POSTBACKS_JAVA")


class Process:
    """A running process. Its standard output is read here, its errors go to the test's own."""

    def __init__(self, popen: subprocess.Popen[bytes]) -> None:
        self.popen = popen

    @property
    def running(self) -> bool:
        return self.popen.poll() is None

    @property
    def output(self) -> IO[bytes]:
        assert self.popen.stdout
        return self.popen.stdout

    def line(self, seconds: float = READY_SECONDS) -> str:
        """The next line that it prints; fails when it ends first or takes longer."""
        deadline = time.monotonic() + seconds
        said = b""
        while not said.endswith(b"\n"):
            ready, _, _ = select.select([self.output], [], [], max(0, deadline - time.monotonic()))
            chunk = os.read(self.output.fileno(), 1) if ready else b""
            if not chunk:
                raise AssertionError(
                    f"{self.popen.args!r} said no line, but {said!r} (status {self.popen.poll()})"
                )
            said += chunk
        return said.decode().strip()

    def kill(self) -> None:
        """SIGKILL, and wait for its end."""
        self.popen.kill()
        self.popen.wait()

    def stop(self, seconds: float = 30.0) -> int:
        """SIGTERM; its exit status. One that does not end in time is killed, and the test fails."""
        self.popen.send_signal(signal.SIGTERM)
        try:
            return self.popen.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self.popen.args!r} did not end within {seconds} s of SIGTERM") from None


def inherited_environment() -> dict[str, str]:
    """That of the tests, with no settings but those that say where Kafka's program is."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("POSTBACKS_") or name in INSTALLED
    }


def child_processes(pid: int) -> list[int]:
    """Ids of the processes that it has started and that still run."""
    found = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for children in found for child in children.read_text().split()]


@contextmanager
def running(*arguments: str | Path, environment: Mapping[str, str] | None = None) -> Iterator[Process]:
    """`python -m arguments…` while the block runs, with the settings of `environment` and no others."""
    popen = subprocess.Popen(
        [sys.executable, "-m", *map(str, arguments)],
        cwd=ROOT,
        env={**inherited_environment(), **(environment or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C is for the tests; they end it in their order
    )
    process = Process(popen)
    try:
        yield process
    finally:
        process.kill()
        process.output.close()
