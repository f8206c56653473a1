"""`python -m tests.support.fork_server FD`: forks processes that have imported all modules already.

A message on the socket FD starts one: `[module, arguments, environment]` as JSON, with the files for its
standard input, output and error, and a socket that gets its pid and later its exit status, a line each.
"""

from __future__ import annotations

import json
import os
import runpy
import select
import signal
import socket
import sys
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

#: Their imports are most of what it costs to start them.
MODULES = ("cli", "gateway", "sinks", "streams", "streams.responder")
COMMANDS = ("contact", "contacts", "message", "reconcile", "replay", "respond", "send", "simulate", "sql")
#: Bytes of a message at most, and its files.
MAX_MESSAGE, FILES = 1 << 18, 4


class Child(NamedTuple):
    pid: int
    #: Gets the exit status.
    status: socket.socket


def serve(requests: socket.socket) -> str | None:
    """Fork a process for each message; return in each of them the module to run.

    At the end of the messages it kills those that still run, and returns None.
    """
    children: dict[int, Child] = {}
    while True:
        for ready in select.select([requests.fileno(), *children], [], [])[0]:
            if ready in children:
                _report_exit(children.pop(ready))
                os.close(ready)
                continue
            message, files, _, _ = socket.recv_fds(requests, MAX_MESSAGE, FILES)
            if not message:  # the process of pytest has ended
                for child in children.values():
                    os.kill(child.pid, signal.SIGKILL)
                return None
            *streams, status = files
            if pid := os.fork():
                for file in streams:
                    os.close(file)
                child = Child(pid, socket.socket(fileno=status))
                child.status.sendall(f"{pid}\n".encode())
                children[os.pidfd_open(pid)] = child
            else:
                for file in (status, requests.detach(), *children):
                    os.close(file)
                for each in children.values():
                    each.status.close()
                return _become(message, streams)


def _report_exit(child: Child) -> None:
    _, status = os.waitpid(child.pid, 0)
    with child.status, suppress(BrokenPipeError):  # its test has closed it
        child.status.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())


def _become(message: bytes, streams: list[int]) -> str:
    """Become the process of the message; return its module."""
    module, arguments, environment = json.loads(message)
    os.setsid()  # Ctrl-C goes to the tests only, which stop their processes in order
    for number, file in enumerate(streams):
        os.dup2(file, number)
        os.close(file)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv[1:] = arguments
    return str(module)


def import_modules() -> None:
    """Import what the processes need.

    Raises:
        RuntimeError: an import starts a thread, which a fork would not have.
    """
    for module in MODULES:
        import_module(f"{module}.__main__")
        del sys.modules[f"{module}.__main__"]  # it runs as __main__
    for command in COMMANDS:
        import_module(f"cli.{command}")
    if len([*Path("/proc/self/task").iterdir()]) > 1:
        raise RuntimeError("An import starts a thread: processes cannot be forked")


if __name__ == "__main__":
    import_modules()
    if module := serve(socket.socket(fileno=int(sys.argv[1]))):
        runpy.run_module(module, run_name="__main__", alter_sys=True)
