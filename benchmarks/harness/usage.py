"""CPU and memory of a process and of all that it started, as Linux counts them in /proc."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
PROC = Path("/proc")


def cpu_seconds(pid: int) -> float:
    """User and system time of all threads so far, and of its children, those that have ended included.

    Raises:
        ProcessLookupError: it has ended.
    """
    ticks = 0
    for each in _tree(pid):
        # The second field, the program's name, may hold blanks; the third is the first after its bracket.
        fields = (PROC / str(each) / "stat").read_text().rpartition(")")[2].split()
        if fields[0] == "Z" and each == pid:
            raise ProcessLookupError(f"Process {each} has ended")
        ticks += sum(map(int, fields[11:15]))
    return ticks / TICKS_PER_SECOND


def memory_bytes(pid: int) -> int:
    """What it and its children hold in memory now."""
    return sum(_status(each, "VmRSS") for each in _tree(pid)) * 1024


def _tree(pid: int) -> list[int]:
    found = [pid]
    for task in (PROC / str(pid) / "task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):  # a thread that ended just now
            for child in (task / "children").read_text().split():
                found += _tree(int(child))
    return found


def _status(pid: int, name: str) -> int:
    lines = (PROC / str(pid) / "status").read_text().splitlines()
    return next((int(line.split()[1]) for line in lines if line.startswith(name)), 0)
