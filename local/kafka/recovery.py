"""What to read again after a node was not stopped in good order.

A killed process loses nothing, as the page cache survives it. A power cut may have left the offsets that
streams committed, and not the records of `messages` that were written before them.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from local.kafka.node import CLEAN_SHUTDOWN

#: Read again is what came so long before the last write: longer than a disk takes to write what it was given.
MARGIN = timedelta(hours=1)


def reread_since(data: Path) -> datetime | None:
    """From when on the inputs should be read again; None after a shutdown in good order, or without data."""
    if not (data / "meta.properties").is_file() or (data / CLEAN_SHUTDOWN).exists():
        return None
    written = max(file.stat().st_mtime for file in data.rglob("*.log"))
    return datetime.fromtimestamp(written, UTC) - MARGIN
