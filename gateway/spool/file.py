"""One spool: an SQLite file of records that are to be published to Kafka.

A spool belongs to the process that holds the lock on the `.lock` file beside it; one whose process is gone is
orphaned, and any gateway with the same directory may claim it. `gateway.spool.directory` manages several,
`gateway.spool.sink` decides when to spool and when to publish. All functions here block: call them from a
thread, always the same one for one spool.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from shutil import disk_usage
from typing import NamedTuple
from uuid import uuid4

SUFFIX = ".spool"
#: Suffixes of the files that SQLite creates beside an open database.
SQLITE_SUFFIXES = ("-wal", "-shm")
#: Free bytes to leave on the disk: SQLite needs its journal even to delete records.
RESERVE = 16 * 2**20
SCHEMA = """
    CREATE TABLE IF NOT EXISTS record (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        spooled_at REAL NOT NULL,
        topic TEXT NOT NULL,
        key BLOB NOT NULL,
        value BLOB NOT NULL
    )
"""


class Spooled(NamedTuple):
    """A record for Kafka."""

    topic: str
    key: bytes
    value: bytes
    #: Seconds since 1970.
    spooled_at: float

    @property
    def size(self) -> int:
        return len(self.key) + len(self.value)


class SpoolFailed(Exception):
    """The disk is full or failing, and the call had no effect; a retry may succeed."""


class SpoolDamaged(Exception):
    """The file is not a valid spool: `salvage` its readable records, then `quarantine` it."""


class SpoolFile:
    """An open spool. Holds its lock until `close`. Ids ascend, so the lowest is the oldest record's."""

    def __init__(self, path: Path, lock: int) -> None:
        """
        Raises:
            SpoolDamaged, SpoolFailed: it cannot be opened; closing the lock is left to the caller.
        """
        self.path = path
        #: `peek` skips records up to and including this id; the publisher sets it.
        self.skip_through = 0
        #: Records that Kafka has acknowledged, but that are not removed from the disk yet.
        self.published: Sequence[tuple[int, Spooled]] = ()
        self._lock = lock
        with self._translate_errors():
            self._db = _open(path)
            self.count, self.size = self._db.execute(
                "SELECT count(*), coalesce(sum(length(key) + length(value)), 0) FROM record"
            ).fetchone()
            #: When the oldest record was spooled; None if the spool is empty.
            self.oldest_at = self._oldest_at()

    def append(self, records: Sequence[Spooled]) -> None:
        """Append the records, all or none, and return once they are synced to disk.

        Raises:
            SpoolFailed: the disk is full or failing.
            SpoolDamaged: the file is damaged.
        """
        size = sum(record.size for record in records)
        if free_bytes(self.path.parent) < 3 * size:  # journal, file and some margin
            raise SpoolFailed(f"{self.path}: the disk is full, except for {RESERVE >> 20} MiB in reserve")
        with self._translate_errors(), self._db:
            self._db.executemany(
                "INSERT INTO record (topic, key, value, spooled_at) VALUES (?, ?, ?, ?)", records
            )
        self.count += len(records)
        self.size += size
        if self.oldest_at is None and records:
            self.oldest_at = records[0].spooled_at

    def peek(self, limit: int) -> list[tuple[int, Spooled]]:
        """Read up to `limit` records after `skip_through`, oldest first, each with its id.

        Raises:
            SpoolFailed, SpoolDamaged: they cannot be read.
        """
        with self._translate_errors():
            rows = self._db.execute(
                "SELECT id, topic, key, value, spooled_at FROM record WHERE id > ? ORDER BY id LIMIT ?",
                (self.skip_through, limit),
            ).fetchall()
        return [(number, Spooled(*record)) for number, *record in rows]

    def remove(self, published: Sequence[tuple[int, Spooled]]) -> None:
        """Delete published records, as returned by `peek`.

        Raises:
            SpoolFailed, SpoolDamaged: none was deleted.
        """
        with self._translate_errors(), self._db:
            self._db.executemany("DELETE FROM record WHERE id = ?", [(id_,) for id_, _ in published])
            oldest_at = self._oldest_at()
        self.oldest_at = oldest_at
        self.count -= len(published)
        self.size -= sum(record.size for _, record in published)
        if not self.count:
            with suppress(sqlite3.Error):  # without it the space is reused, not freed
                self._db.execute("VACUUM")
                self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        """Close the file and release the lock; delete the files of an empty spool."""
        with suppress(sqlite3.Error):
            self._db.close()
        if not self.count:
            for file in (self.path, lock_of(self.path)):
                file.unlink(missing_ok=True)
        os.close(self._lock)

    @contextmanager
    def _translate_errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            failing = isinstance(error, sqlite3.OperationalError)
            raise (SpoolFailed if failing else SpoolDamaged)(f"{self.path}: {error}") from error

    def _oldest_at(self) -> float | None:
        row = self._db.execute("SELECT spooled_at FROM record ORDER BY id LIMIT 1").fetchone()
        return None if row is None else float(row[0])


def _open(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=0, check_same_thread=False)
    try:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute(SCHEMA)
        if (result := db.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
            raise sqlite3.DatabaseError(result)
    except sqlite3.Error:
        db.close()
        raise
    return db


def free_bytes(folder: Path) -> int:
    """Free bytes of the disk above the reserve; negative once the reserve is in use.

    Raises:
        SpoolFailed: the directory does not exist.
    """
    try:
        return disk_usage(folder).free - RESERVE
    except OSError as error:
        raise SpoolFailed(f"{folder}: {error}") from error


def lock_of(path: Path) -> Path:
    """The lock file of a spool."""
    return path.with_suffix(".lock")


def try_lock(path: Path) -> int | None:
    """Lock a spool and return the lock's file descriptor; None while another process holds it."""
    lock = os.open(lock_of(path), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    with suppress(BlockingIOError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if lock_of(path).exists():  # else its owner closed and deleted it between open and flock
            return lock
    os.close(lock)
    return None


def create(folder: Path) -> SpoolFile:
    """Create a spool with a unique name.

    Raises:
        SpoolFailed: the directory is not writable.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{uuid4().hex}{SUFFIX}"
        lock = try_lock(path)
    except OSError as error:
        raise SpoolFailed(f"{folder}: {error}") from error
    if lock is None:
        raise SpoolFailed(f"{path}: another process locked it")
    try:
        return SpoolFile(path, lock)
    except (SpoolFailed, SpoolDamaged):
        for file in (path, *(Path(f"{path}{suffix}") for suffix in SQLITE_SUFFIXES), lock_of(path)):
            file.unlink(missing_ok=True)
        os.close(lock)
        raise


def claim_orphaned(folder: Path) -> Iterator[tuple[Path, int]]:
    """Lock orphaned spools, and yield the path and lock of each."""
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        if (lock := try_lock(path)) is not None:
            if path.exists():
                yield path, lock
            else:
                os.close(lock)


def salvage(path: Path) -> list[Spooled]:
    """The readable records of a damaged spool, oldest first.

    Scans from both ends until SQLite fails, so that damage in the middle hides no other record. Skips rows
    whose columns do not have the types of a record.
    """
    found: dict[int, Spooled] = {}
    with suppress(sqlite3.Error), closing(sqlite3.connect(path)) as db:
        db.text_factory = lambda raw: raw.decode("utf-8", "replace")
        for order in ("ASC", "DESC"):
            with suppress(sqlite3.Error):
                for number, *record in db.execute(
                    "SELECT id, topic, key, value, spooled_at FROM record WHERE typeof(topic) = 'text' "
                    "AND typeof(key) = 'blob' AND typeof(value) = 'blob' AND typeof(spooled_at) = 'real' "
                    f"ORDER BY id {order}"
                ):
                    if number in found:
                        break
                    found[number] = Spooled(*record)
    return [found[number] for number in sorted(found)]


def quarantine(path: Path) -> Path:
    """Rename a damaged spool, so that it is not opened again, and return its new path."""
    damaged = path.with_suffix(".damaged")
    for suffix in ("", *SQLITE_SUFFIXES):
        with suppress(FileNotFoundError):
            Path(f"{path}{suffix}").rename(f"{damaged}{suffix}")
    return damaged
