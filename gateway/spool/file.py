"""The disk spool: what Kafka would not take now, kept on local disk until it does.

One spool is one SQLite file with one owner, who holds a lock on the file beside it; a spool whose owner is
gone can be adopted by anyone on the same folder. `append` returns once the records are synced to disk.
`gateway/spool/directory.py` keeps several, `gateway/spool/sink.py` decides when to spool and when to publish.
All functions here block: they belong on a thread of their own, always the same one for one spool.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path
from shutil import disk_usage
from typing import NamedTuple
from uuid import uuid4

SUFFIX = ".spool"
#: What SQLite keeps beside a file that is open.
SQLITE_SUFFIXES = ("-wal", "-shm")
#: Bytes of the disk that stay free: without room for SQLite's journal no record could be taken out any more.
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
    """A record for Kafka, and when it was spooled (seconds since the epoch)."""

    topic: str
    key: bytes
    value: bytes
    spooled_at: float

    @property
    def size(self) -> int:
        return len(self.key) + len(self.value)


class SpoolFailed(Exception):
    """The disk does not take or give a record now; nothing of the call was kept."""


class SpoolDamaged(Exception):
    """The file is no sound spool: `salvage` what can be read, and `set_aside` the rest."""


class SpoolFile:
    """An open spool, owned through its lock until `close`. Ids grow, so the least is the oldest.

    Raises:
        SpoolDamaged, SpoolFailed: it cannot be opened; the lock stays the caller's.
    """

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        #: Records up to this id are left where they are for now; whoever published others sets it.
        self.passed_over = 0
        #: Records that Kafka has, and that the disk has not let go of yet.
        self.published: Sequence[tuple[int, Spooled]] = ()
        self._lock = lock
        try:
            self._db = _open(path)
            self.count, self.size = self._db.execute(
                "SELECT count(*), coalesce(sum(length(key) + length(value)), 0) FROM record"
            ).fetchone()
            self.oldest_at = self._oldest_at()
        except sqlite3.Error as error:
            raise self._translated(error) from error

    def append(self, records: Sequence[Spooled]) -> None:
        """Keep the records, all or none; on return they are on disk.

        Raises:
            SpoolFailed: the disk is full or failing.
            SpoolDamaged: the file is damaged.
        """
        size = sum(record.size for record in records)
        if free_bytes(self.path.parent) < 3 * size:  # in the journal, in the file, and more
            raise SpoolFailed(f"{self.path}: its disk is full, but for {RESERVE >> 20} MiB of reserve")
        try:
            with self._db:
                self._db.executemany(
                    "INSERT INTO record (topic, key, value, spooled_at) VALUES (?, ?, ?, ?)", records
                )
        except sqlite3.Error as error:
            raise self._translated(error) from error
        self.count += len(records)
        self.size += size
        if self.oldest_at is None and records:
            self.oldest_at = records[0].spooled_at

    def oldest(self, most: int) -> list[tuple[int, Spooled]]:
        """Up to so many records that are not passed over, oldest first, each with its id.

        Raises:
            SpoolFailed, SpoolDamaged: it cannot be read.
        """
        try:
            rows = self._db.execute(
                "SELECT id, topic, key, value, spooled_at FROM record WHERE id > ? ORDER BY id LIMIT ?",
                (self.passed_over, most),
            ).fetchall()
        except sqlite3.Error as error:
            raise self._translated(error) from error
        return [(number, Spooled(*record)) for number, *record in rows]

    def remove(self, published: Sequence[tuple[int, Spooled]]) -> None:
        """Forget some of what `oldest` gave: Kafka has it.

        Raises:
            SpoolFailed, SpoolDamaged: the records are still there.
        """
        try:
            with self._db:
                self._db.executemany("DELETE FROM record WHERE id = ?", [(id_,) for id_, _ in published])
                oldest_at = self._oldest_at()
        except sqlite3.Error as error:
            raise self._translated(error) from error
        self.oldest_at = oldest_at
        self.count -= len(published)
        self.size -= sum(record.size for _, record in published)
        if not self.count:
            with suppress(sqlite3.Error):  # the space is used again in any case
                self._db.execute("VACUUM")
                self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        """Let go of the file; an empty spool leaves none behind."""
        with suppress(sqlite3.Error):
            self._db.close()
        if not self.count:
            for file in (self.path, lock_of(self.path)):
                file.unlink(missing_ok=True)
        os.close(self._lock)

    def _translated(self, error: sqlite3.Error) -> SpoolFailed | SpoolDamaged:
        failing = isinstance(error, sqlite3.OperationalError)
        return (SpoolFailed if failing else SpoolDamaged)(f"{self.path}: {error}")

    def _oldest_at(self) -> float | None:
        row = self._db.execute("SELECT spooled_at FROM record ORDER BY id LIMIT 1").fetchone()
        return None if row is None else float(row[0])


def _open(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=0, check_same_thread=False)
    try:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute(SCHEMA)
        if (verdict := db.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
            raise sqlite3.DatabaseError(verdict)
    except sqlite3.Error:
        db.close()
        raise
    return db


def free_bytes(folder: Path) -> int:
    """Bytes that the disk has above the reserve; below zero when that is touched.

    Raises:
        SpoolFailed: the folder is not there (any more).
    """
    try:
        return disk_usage(folder).free - RESERVE
    except OSError as error:
        raise SpoolFailed(f"{folder}: {error}") from error


def lock_of(path: Path) -> Path:
    return path.with_suffix(".lock")


def try_lock(path: Path) -> int | None:
    """Take the lock of a spool; None while another process has it."""
    lock = os.open(lock_of(path), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    if not lock_of(path).exists():  # its owner closed it, empty, between our two calls
        os.close(lock)
        return None
    return lock


def create(folder: Path) -> SpoolFile:
    """A new spool of our own.

    Raises:
        SpoolFailed: the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{uuid4().hex}{SUFFIX}"
        lock = try_lock(path)
    except OSError as error:
        raise SpoolFailed(f"{folder}: {error}") from error
    if lock is None:
        raise SpoolFailed(f"{path}: another process took it")
    try:
        return SpoolFile(path, lock)
    except (SpoolFailed, SpoolDamaged):
        for file in (path, *(Path(f"{path}{suffix}") for suffix in SQLITE_SUFFIXES), lock_of(path)):
            file.unlink(missing_ok=True)
        os.close(lock)
        raise


def claim_orphaned(folder: Path) -> Iterator[tuple[Path, int]]:
    """Spools that nobody owns (any more), now owned by us: their paths and locks."""
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        if (lock := try_lock(path)) is not None:
            if path.exists():
                yield path, lock
            else:
                os.close(lock)


def salvage(path: Path) -> list[Spooled]:
    """What can still be read of a damaged spool, oldest first.

    Reads from both ends as far as SQLite gets, so that damage in the middle costs only itself. What is no
    record any more is left where it is.
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
    """Rename a damaged spool, so that nobody opens it again, and give its new name."""
    damaged = path.with_suffix(".damaged")
    for suffix in ("", *SQLITE_SUFFIXES):
        with suppress(FileNotFoundError):
            Path(f"{path}{suffix}").rename(f"{damaged}{suffix}")
    return damaged
