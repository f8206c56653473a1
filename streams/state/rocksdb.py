"""States on disk: one RocksDB per partition, in a directory for each cluster.

The changelog topic serves as write-ahead log, so RocksDB's own is disabled: a kill loses the newest writes
together with the offset written with them, and a restore reads them from the topic again. A damaged store
is discarded by the call that finds the damage, and restored from the topic.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import structlog
from rocksdict import Options, Rdict, WriteBatch, WriteOptions

from runtime.errors import StartupError
from streams.state.rocksdb_options import SharedMemory
from streams.state.store import FIRST_KEY, StoreCorrupted, Values

log = structlog.get_logger(__name__)

#: Sorts before all keys of states.
OFFSET_KEY = b"\x00offset"
#: Seconds to wait for a lock: a worker that was just killed may hold it for a moment.
LOCK_TIMEOUT, LOCK_POLL_INTERVAL = 10.0, 0.2
#: What RocksDB's errors of damage contain: a wrong checksum, a missing file, an unreadable sector.
DAMAGE = "Corruption:", "No such file or directory", "Input/output error"
#: Ends the name of a store's folder that is being removed.
DISCARDED = ".discarded"


class DataInUse(StartupError):
    """Another process has the state directory open."""


def state_directory(root: Path, cluster: str) -> Path:
    """Create the cluster's directory below `root`.

    Removes those of other clusters: their offsets mean nothing here, and their states are in their topics.
    """
    directory = root / quote(cluster, safe="")
    directory.mkdir(parents=True, exist_ok=True)
    for other in root.iterdir():
        if other != directory and other.is_dir():
            log.warning("Removing states of another cluster", directory=str(other))
            shutil.rmtree(other, ignore_errors=True)
    return directory


class RocksFolder:
    """The folder of a table's stores, which share a block cache and a budget for write buffers."""

    def __init__(
        self, path: Path, partitions: int, memory: SharedMemory | None = None, share: float = 1.0
    ) -> None:
        """Complete what a kill interrupted.

        Args:
            partitions: of the table; more of them get smaller write buffers.
            memory: shared with other tables, of which this one may use `share`; None: of this table alone.
        """
        self.path = path
        self.memory = memory or SharedMemory()
        self._options = self.memory.options(partitions, share)
        for folder in path.glob(f"*{DISCARDED}"):
            shutil.rmtree(folder, ignore_errors=True)

    def open(self, partition: int) -> RocksStore:
        """Open or create the partition's store; one that is damaged is replaced by an empty one.

        Blocks for up to LOCK_TIMEOUT seconds.

        Raises:
            DataInUse: another process has it open.
        """
        path = self.path / str(partition)
        deadline = time.monotonic() + LOCK_TIMEOUT
        while True:
            try:
                return self._open(path)
            except DataInUse:
                if time.monotonic() > deadline:
                    raise
                time.sleep(LOCK_POLL_INTERVAL)

    def remove(self, partition: int) -> None:
        """Remove the partition's store. Blocks while its files are removed.

        Raises:
            DataInUse: this or another process has it open.
        """
        with suppress(StoreCorrupted):  # and so it is removed
            RocksStore(self.path / str(partition), self._options).discard()

    def _open(self, path: Path) -> RocksStore:
        with suppress(StoreCorrupted):
            store = RocksStore(path, self._options)
            store.offset  # noqa: B018  # damaged, too?
            return store
        return RocksStore(path, self._options)


class RocksStore:
    """A `StateStore` on disk."""

    def __init__(self, path: Path, options: Options) -> None:
        """Open or create it.

        Raises:
            DataInUse: another process has it open.
            StoreCorrupted: it was damaged, and is discarded.
        """
        self._path = path
        self._damage = ""
        self._without_wal = WriteOptions()
        self._without_wal.disable_wal = True  # type: ignore[method-assign,assignment]  # its stub is wrong
        try:
            self._db = Rdict(str(path), options)
        except Exception as error:  # rocksdict's errors have no types
            if _is_damage(error):
                _log_damage(path, error)
                shutil.rmtree(_set_aside(path), ignore_errors=True)
                raise StoreCorrupted(f"{path}: {error}") from error
            if str(path / "LOCK") in str(error):
                raise DataInUse(
                    f"The states in {path} are in use by another process; "
                    "give each worker a folder of its own (POSTBACKS_DATA)"
                ) from error
            raise

    @property
    def offset(self) -> int | None:
        with self._discarding_damage():
            value = self._db.get(OFFSET_KEY)
        return None if value is None else int(value)

    def load(self, keys: Sequence[bytes]) -> list[bytes | None]:
        with self._discarding_damage():
            loaded: Any = self._db.get(list(keys))
            return list(loaded)

    def write(self, values: Values, offset: int | None) -> None:
        batch = WriteBatch(raw_mode=True)
        for key, value in values.items():
            if value is None:
                batch.delete(key)
            else:
                batch.put(key, value)
        if offset is not None:
            batch.put(OFFSET_KEY, b"%d" % offset)
        with self._discarding_damage():
            self._db.write(batch, self._without_wal)

    def scan(self, size: int) -> Iterator[list[tuple[bytes, bytes]]]:
        start = FIRST_KEY
        while page := self._read_page(start, size):
            yield page
            start = page[-1][0] + b"\x00"

    def _read_page(self, start: bytes, size: int) -> list[tuple[bytes, bytes]]:
        page: list[tuple[bytes, bytes]] = []
        with self._discarding_damage():
            cursor = self._db.iter()  # one per page: an open cursor would keep the files open after `close`
            cursor.seek(start)
            while cursor.valid() and len(page) < size:
                page.append((cursor.key(), cursor.value()))
                cursor.next()
            cursor.status()  # damage ends the keys, too
        return page

    def count(self) -> int:
        with self._discarding_damage():
            return self._db.property_int_value("rocksdb.estimate-num-keys") or 0

    def close(self) -> None:
        with suppress(StoreCorrupted), self._discarding_damage():
            self._db.flush()
            self._db.close()

    def discard(self) -> None:
        """Close the store, and remove it: its states are in the topic."""
        aside = _set_aside(self._path)
        with suppress(Exception):  # reports damage again, and closes nevertheless
            self._db.close()
        shutil.rmtree(aside, ignore_errors=True)

    @contextmanager
    def _discarding_damage(self) -> Iterator[None]:
        """Discard the store if a call of RocksDB reports damage.

        Raises:
            StoreCorrupted: now, and from then on.
        """
        if self._damage:
            raise StoreCorrupted(self._damage)
        try:
            yield
        except Exception as error:
            if not _is_damage(error):
                raise
            self._damage = f"{self._path}: {error}"
            _log_damage(self._path, error)
            self.discard()
            raise StoreCorrupted(self._damage) from error


def _is_damage(error: Exception) -> bool:
    return any(part in str(error) for part in DAMAGE)


def _log_damage(path: Path, error: Exception) -> None:
    log.error("State store corrupted, restoring it from the topic", path=str(path), reason=str(error))


def _set_aside(path: Path) -> Path:
    """Rename a store's folder, so that no kill leaves a part of it under its name."""
    aside = path.with_name(path.name + DISCARDED)
    shutil.rmtree(aside, ignore_errors=True)
    with suppress(FileNotFoundError):
        path.rename(aside)
    return aside
