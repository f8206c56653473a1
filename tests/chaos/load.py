"""Competing load: processes that use a whole core each, beside what is tested."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

#: Looks every few milliseconds whether its parent is still the one that started it.
BURN = """
import os, sys
while os.getppid() == int(sys.argv[1]):
    for _ in range(100_000):
        pass
"""


@contextmanager
def burning(count: int) -> Iterator[list[int]]:
    """Run so many of them while the block runs; yields their process ids.

    They are killed at the end of the block, and end by themselves when this process does.
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
