"""Reads the last lines of the log files below a folder, for the report of a failed test or chaos run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

LINES, LINE_LENGTH = 20, 300
#: A chaos run writes about ten; more would hide the failure itself.
MAX_LOGS = 24
#: Enough for `LINES` long lines.
TAIL_BYTES = 64 * 1024


def log_tails(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield the relative path and the last lines of each `*.log`, the most recently written one last.

    Skips the segments of Kafka and RocksDB, whose names are numbers.
    """
    logs = []
    for path in folder.rglob("*.log"):
        if path.is_file() and not path.stem.isdigit() and path.stat().st_size:
            logs.append((path.stat().st_mtime_ns, path))
    for _, path in sorted(logs)[-MAX_LOGS:]:
        yield str(path.relative_to(folder)), "\n".join(_last_lines(path))


def _last_lines(path: Path) -> list[str]:
    with path.open("rb") as log:
        log.seek(max(0, log.seek(0, os.SEEK_END) - TAIL_BYTES))
        lines = log.read().decode(errors="replace").splitlines()[-LINES:]
    return [line if len(line) <= LINE_LENGTH else f"{line[:LINE_LENGTH]} …" for line in lines]
