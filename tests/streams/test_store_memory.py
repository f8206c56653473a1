"""The memory of a worker's caches does not grow with the number of its partitions."""

from __future__ import annotations

import os
import tracemalloc
from pathlib import Path

import pytest

from streams.state.rocksdb import RocksFolder
from streams.state.rocksdb_options import WRITE_BUFFERS_BYTES, SharedMemory
from streams.state.store import MemoryStore
from streams.state.write_cache import CacheBudget, WriteCache
from tests.support.wait import eventually

PARTITIONS = 128
STATE_BYTES = 650
MIB = 2**20


def states(partition: int, offset: int, count: int) -> dict[bytes, bytes | None]:
    return {b"acme/%032d" % (partition << 20 | offset + n): os.urandom(STATE_BYTES) for n in range(count)}


def test_caches_of_all_partitions_keep_one_budget(tmp_path: Path) -> None:
    folder, budget, count = RocksFolder(tmp_path, PARTITIONS), CacheBudget(4 * MIB), 25
    tracemalloc.start()
    try:
        stores = [WriteCache(folder.open(partition), budget) for partition in range(PARTITIONS)]
        before, _ = tracemalloc.get_traced_memory()
        for offset in range(0, 8 * count, count):
            for partition, store in enumerate(stores):
                store.write(states(partition, offset, count), offset + count - 1)
        held = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    written = PARTITIONS * 8 * count * STATE_BYTES
    assert written > 15 * MIB, "several times the budget"
    assert 3 * MIB < held < 4.5 * MIB, "the budget, and a batch that is being written"
    for partition in (0, PARTITIONS - 1):
        assert stores[partition].offset == 8 * count - 1
    for store in stores:
        store.close()


def test_largest_cache_is_flushed_first() -> None:
    backing = MemoryStore(), MemoryStore(), MemoryStore()
    budget = CacheBudget(50_000)
    stores = [WriteCache(store, budget) for store in backing]
    stores[0].write(states(0, 0, 10), 9)
    stores[1].write(states(1, 0, 40), 39)
    assert [store.offset for store in backing] == [None, None, None]
    stores[2].write(states(2, 0, 20), 19)
    assert [store.offset for store in backing] == [None, 39, None]


@pytest.mark.parametrize("shares", [(1.0,), (0.875, 0.125)], ids=["one table", "two tables"])
async def test_write_buffers_of_all_partitions_keep_their_budget(
    tmp_path: Path, shares: tuple[float, ...]
) -> None:
    memory = SharedMemory()
    folders = [
        RocksFolder(tmp_path / str(number), PARTITIONS, memory, share) for number, share in enumerate(shares)
    ]
    stores = [folder.open(partition) for folder in folders for partition in range(PARTITIONS)]
    value = bytes(MIB // 4 // len(folders))
    for offset in range(6):
        for store in stores:
            store.write({b"acme/%d" % offset: value}, offset)
    assert len(stores) * 6 * len(value) > 1.4 * WRITE_BUFFERS_BYTES
    await eventually(  # they are written to files in the background
        lambda: memory.write_buffers_bytes, "in budget", lambda held: held < WRITE_BUFFERS_BYTES, 30
    )
    for store in stores:
        store.close()
