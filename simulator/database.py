"""The SQLite database of a ledger: on disk, so that a run of any length needs little memory."""

from __future__ import annotations

import sqlite3
from pathlib import Path

#: KiB of the cache.
CACHE = 4_096


def open_database(schema: str, path: Path | None = None) -> sqlite3.Connection:
    """Open a database and create its tables; the caller closes it.

    Args:
        path: a new file, which other processes may read meanwhile; None: a temporary one, deleted when the
            database is closed or the process ends.

    Raises:
        OSError: the file exists, or cannot be created.
    """
    if path:
        path.touch(mode=0o600, exist_ok=False)
    # An empty name is a temporary database, which SQLite writes to disk once it exceeds the cache.
    database = sqlite3.connect(path or "", isolation_level=None)
    database.execute(f"PRAGMA cache_size = -{CACHE}")
    database.execute("PRAGMA synchronous = OFF")
    database.execute(f"PRAGMA journal_mode = {'WAL' if path else 'OFF'}")
    database.executescript(schema)
    if not path:
        database.execute("BEGIN")  # nothing is ever committed, which saves time
    return database
