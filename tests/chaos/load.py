"""Competing load: processes that use a whole core each."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

#: Checks every few milliseconds that its parent is still alive.
BURN = """
import os, sys
while os.getppid() == int(sys.argv[1]):
    for _ in range(100_000):
        pass
"""


@contextmanager
def burn_cpu(count: int) -> Iterator[list[int]]:
    """Run `count` burners for the block; yield their process ids.

    They are killed at the end of the block, and exit when this process does.
    """
    processes: list[subprocess.Popen[bytes]] = []
    try:
        for _ in range(count):
            command = [sys.executable, "-c", BURN, str(os.getpid())]
            processes.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True))
        yield [process.pid for process in processes]
    finally:
        for process in processes:
            process.kill()
        for process in processes:
            process.wait()
