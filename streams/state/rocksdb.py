"""States on disk: one RocksDB per partition, in a directory for each cluster.

The changelog topic serves as write-ahead log, so RocksDB's own is disabled: a kill loses the newest writes
together with the offset written with them, and a restore reads them from the topic again. A corrupted store
is removed and restored from the topic.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import structlog
from rocksdict import Rdict, WriteBatch, WriteOptions

from runtime.errors import StartupError
from streams.state.rocksdb_options import SharedMemory
from streams.state.store import Values

log = structlog.get_logger(__name__)

#: Sorts before all keys of states, which begin with an account's name.
OFFSET_KEY, FIRST_KEY = b"\x00offset", b"\x01"
#: Seconds to wait for a lock: a worker that was just killed may hold it for a moment.
LOCK_TIMEOUT, LOCK_POLL_INTERVAL = 10.0, 0.2


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
    """A worker's state directory. Its stores share a block cache and a budget for write buffers."""

    def __init__(self, path: Path, partitions: int) -> None:
        """
        Args:
            partitions: of the table; more of them get smaller write buffers.
        """
        self._path = path
        self.memory = SharedMemory()
        self._options = self.memory.options(partitions)

    def open(self, partition: int) -> RocksStore:
        """Open or create the partition's store. Blocks for up to LOCK_TIMEOUT seconds.

        Raises:
            DataInUse: another process has it open.
        """
        path = str(self._path / str(partition))
        deadline = time.monotonic() + LOCK_TIMEOUT
        while True:
            try:
                return RocksStore(Rdict(path, self._options))
            except Exception as error:  # rocksdict's errors have no types
                if "Corruption" in str(error):
                    log.error(
                        "State store corrupted, restoring it from the topic", path=path, reason=str(error)
                    )
                    shutil.rmtree(path)
                elif "lock" not in str(error).lower():
                    raise
                elif time.monotonic() > deadline:
                    raise DataInUse(
                        f"The states in {path} are in use by another process; "
                        "give each worker a folder of its own (POSTBACKS_DATA)"
                    ) from error
                else:
                    time.sleep(LOCK_POLL_INTERVAL)


class RocksStore:
    """A `StateStore` on disk."""

    def __init__(self, db: Rdict) -> None:
        self._db = db
        self._without_wal = WriteOptions()
        self._without_wal.disable_wal = True  # type: ignore[method-assign,assignment]  # its stub is wrong

    @property
    def offset(self) -> int | None:
        value = self._db.get(OFFSET_KEY)
        return None if value is None else int(value)

    def load(self, keys: Sequence[bytes]) -> list[bytes | None]:
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
        self._db.write(batch, self._without_wal)

    def scan(self, size: int) -> Iterator[list[tuple[bytes, bytes]]]:
        start = FIRST_KEY
        while page := self._read_page(start, size):
            yield page
            start = page[-1][0] + b"\x00"

    def _read_page(self, start: bytes, size: int) -> list[tuple[bytes, bytes]]:
        cursor = self._db.iter()  # one per page: an open cursor would keep the files open after `close`
        cursor.seek(start)
        page: list[tuple[bytes, bytes]] = []
        while cursor.valid() and len(page) < size:
            page.append((cursor.key(), cursor.value()))
            cursor.next()
        return page

    def count(self) -> int:
        return self._db.property_int_value("rocksdb.estimate-num-keys") or 0

    def close(self) -> None:
        self._db.flush()
        self._db.close()
