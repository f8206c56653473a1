"""Starts `python -m …` by a fork of the fork server, which costs a tenth of an interpreter with its imports.

What `postbacks up` and chaos start are processes as in production. Linux only: elsewhere, `fork` starts
an interpreter, too.
"""

from __future__ import annotations

import atexit
import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from threading import Lock
from typing import IO

ROOT = Path(__file__).parents[2]

_starting = Lock()


class Forked:
    """A forked process, with the methods of `subprocess.Popen`."""

    def __init__(self, args: Sequence[str], status: socket.socket) -> None:
        self.args = args
        self.stdout: IO[bytes] | None = None
        self.returncode: int | None = None
        self._reading = Lock()
        with status:
            self._status = status.makefile("rb", buffering=0)
        self.pid = int(self._status.readline())

    def poll(self) -> int | None:
        """Return the exit status; None: it is running."""
        with suppress(subprocess.TimeoutExpired):
            return self.wait(0)
        return None

    def wait(self, timeout: float | None = None) -> int:
        """Wait until it exits; return the status, below 0 if a signal ended it.

        Raises:
            TimeoutExpired: it is still running after so many seconds.
        """
        if self.returncode is None:
            if not select.select([self._status], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
            with self._reading:
                if self.returncode is None:
                    self.returncode = int(self._status.readline())
                    self._status.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with suppress(ProcessLookupError):  # it exited meanwhile
                os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def fork(
    arguments: Sequence[str], environment: Mapping[str, str], stdout: int, stderr: int = 2
) -> Forked | subprocess.Popen[bytes]:
    """Start `python -m arguments…` with no other environment, and nothing as its standard input."""
    if sys.platform != "linux":
        command = [sys.executable, "-m", *arguments]
        options = {"stdin": subprocess.DEVNULL, "stdout": stdout, "stderr": stderr, "start_new_session": True}
        return subprocess.Popen(command, cwd=ROOT, env=environment, **options)
    module, *others = arguments
    message = json.dumps([module, others, dict(environment)]).encode()
    status, status_of_child = socket.socketpair()
    with Path(os.devnull).open("rb") as nothing, status_of_child:
        files = [nothing.fileno(), stdout, stderr, status_of_child.fileno()]
        with _starting:
            socket.send_fds(_fork_server(), [message], files)
    return Forked(arguments, status)


@cache
def _fork_server() -> socket.socket:
    """Start the server of this process of pytest, which exits with it."""
    requests, requests_of_server = socket.socketpair(type=socket.SOCK_SEQPACKET)
    number = requests_of_server.fileno()
    with requests_of_server:
        server = subprocess.Popen(
            [sys.executable, "-m", "tests.support.fork_server", str(number)],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=[number],
            start_new_session=True,
        )
    atexit.register(_stop, server, requests)
    return requests


def _stop(server: subprocess.Popen[bytes], requests: socket.socket) -> None:
    requests.close()
    server.wait()
