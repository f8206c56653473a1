"""States on disk: a RocksDB for each partition.

`messages` is the write-ahead log, so RocksDB has no other: a kill loses the newest writes together with the
offset that was written with them, and recovery reads those from the topic again. A store that RocksDB calls
damaged is thrown away and filled from the topic.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import structlog
from rocksdict import (
    BlockBasedOptions,
    Cache,
    DBCompactionStyle,
    DBCompressionType,
    Options,
    Rdict,
    WriteBatch,
    WriteBufferManager,
    WriteOptions,
)

from runtime.errors import StartupError
from streams.state.store import Values

log = structlog.get_logger(__name__)

#: Sorts before all keys of messages, which begin with an account's name.
OFFSET_KEY, FIRST_KEY = b"\x00offset", b"\x01"
#: Little: what comes again comes soon, and is in `Lately` or a write buffer; filters are beside it.
BLOCK_CACHE_BYTES = 64 * 2**20
WRITE_BUFFER_BYTES = 32 * 2**20
#: Of all partitions' write buffers together, as far as RocksDB can help it.
WRITE_BUFFERS_BYTES = 128 * 2**20
#: Of the write buffer, for a filter of the keys in it.
MEMTABLE_BLOOM = 0.05
#: Sorted runs of a store until some are merged, by their size. By levels, as RocksDB does it by itself, each
#: new run is merged with all that is there, as keys are random: the more there is, the more a state costs.
RUNS = 8
#: A worker that was just killed may hold the files for a moment.
LOCK_SECONDS = 10.0


class DataInUse(StartupError):
    """Another process has the folder of states open."""


class RocksFolder:
    """The folder of a worker's states. Its stores share a cache of blocks and a budget for write buffers."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._options = _options()
        path.mkdir(parents=True, exist_ok=True)

    def open(self, partition: int) -> RocksStore:
        """Open the partition's store, or make it.

        Raises:
            DataInUse: another process has it open.
        """
        path = self.path / str(partition)
        give_up = time.monotonic() + LOCK_SECONDS
        while True:
            try:
                return RocksStore(Rdict(str(path), self._options))
            except Exception as error:  # rocksdict has no errors of its own
                if "Corruption" in str(error):
                    log.error(
                        "States on disk are damaged: made anew from the topic", path=str(path), why=str(error)
                    )
                    shutil.rmtree(path)
                elif "lock" not in str(error).lower():
                    raise
                elif time.monotonic() > give_up:
                    raise DataInUse(
                        f"The states in {path} are in use by another process; "
                        "give each worker a folder of its own (POSTBACKS_DATA)"
                    ) from error
                else:
                    time.sleep(0.2)


class RocksStore:
    """A `streams.store.StateStore` on disk."""

    def __init__(self, db: Rdict) -> None:
        self._db = db
        self._unlogged = WriteOptions()
        self._unlogged.disable_wal = True  # type: ignore[method-assign,assignment]  # its stub is wrong

    @property
    def offset(self) -> int | None:
        value = self._db.get(OFFSET_KEY)
        return None if value is None else int(value)

    def load(self, keys: Sequence[bytes]) -> list[bytes | None]:
        found: Any = self._db.get(list(keys))
        return list(found)

    def write(self, values: Values, offset: int | None) -> None:
        batch = WriteBatch(raw_mode=True)
        for key, value in values.items():
            if value is None:
                batch.delete(key)
            else:
                batch.put(key, value)
        if offset is not None:
            batch.put(OFFSET_KEY, b"%d" % offset)
        self._db.write(batch, self._unlogged)

    def scan(self, size: int) -> Iterator[list[tuple[bytes, bytes]]]:
        start = FIRST_KEY
        while portion := self._portion(start, size):
            yield portion
            start = portion[-1][0] + b"\x00"

    def _portion(self, start: bytes, size: int) -> list[tuple[bytes, bytes]]:
        cursor = self._db.iter()  # lives no longer than this: it would keep the files open after `close`
        cursor.seek(start)
        portion: list[tuple[bytes, bytes]] = []
        while cursor.valid() and len(portion) < size:
            portion.append((cursor.key(), cursor.value()))
            cursor.next()
        return portion

    def count(self) -> int:
        return self._db.property_int_value("rocksdb.estimate-num-keys") or 0

    def close(self) -> None:
        self._db.flush()
        self._db.close()


def _options() -> Options:
    blocks = BlockBasedOptions()
    blocks.set_bloom_filter(10, block_based=False)
    blocks.set_block_cache(Cache(BLOCK_CACHE_BYTES))
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    options.set_block_based_table_factory(blocks)
    options.set_compression_type(DBCompressionType.lz4())
    options.set_compaction_style(DBCompactionStyle.universal())
    options.set_level_zero_file_num_compaction_trigger(RUNS)
    options.set_write_buffer_size(WRITE_BUFFER_BYTES)
    options.set_write_buffer_manager(WriteBufferManager(WRITE_BUFFERS_BYTES, allow_stall=False))
    options.set_memtable_whole_key_filtering(True)  # most keys that are asked for are new
    options.set_memtable_prefix_bloom_ratio(MEMTABLE_BLOOM)
    options.set_keep_log_file_num(2)
    return options
