"""CPU time and memory of a process and all of its descendants, from Linux's /proc."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
PROC = Path("/proc")


def cpu_seconds(pid: int) -> float:
    """Return the user and system time so far of the process and its descendants, exited ones included.

    Raises:
        ProcessLookupError: the process has exited.
    """
    ticks = 0
    for member in _tree(pid):
        # The second field, the program's name, may contain blanks; the third follows its closing bracket.
        fields = (PROC / str(member) / "stat").read_text().rpartition(")")[2].split()
        if fields[0] == "Z" and member == pid:
            raise ProcessLookupError(f"Process {member} has exited")
        ticks += sum(map(int, fields[11:15]))
    return ticks / TICKS_PER_SECOND


def memory_bytes(pid: int) -> int:
    """Return the resident memory of the process and its descendants."""
    return sum(_status(member, "VmRSS") for member in _tree(pid)) * 1024


def _tree(pid: int) -> list[int]:
    found = [pid]
    for task in (PROC / str(pid) / "task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):  # the thread has just ended
            for child in (task / "children").read_text().split():
                found += _tree(int(child))
    return found


def _status(pid: int, name: str) -> int:
    lines = (PROC / str(pid) / "status").read_text().splitlines()
    return next((int(line.split()[1]) for line in lines if line.startswith(name)), 0)
