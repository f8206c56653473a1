"""Stores of partitions that a worker has not owned for a day are removed; those in use never."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from streams.state.rocksdb import RocksFolder
from streams.state.unused_stores import UnusedStores, unused
from tests.support.process import ROOT

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def after(**time: float) -> datetime:
    return datetime.now(UTC) + timedelta(**time)


def make_stores(path: Path, *partitions: int) -> RocksFolder:
    folder = RocksFolder(path, partitions=8)
    for partition in partitions:
        store = folder.open(partition)
        store.write({b"acme/a": b"1"}, 4)
        store.close()
    return folder


def stores(path: Path) -> set[str]:
    return {each.name for each in path.iterdir()}


async def check(folder: RocksFolder, owned: set[int], now: datetime) -> None:
    await UnusedStores(folder, lambda: owned, lambda: now).check()


def test_store_is_unused_after_a_day_without_owner() -> None:
    last_owned = {0: NOW - DAY, 1: NOW - DAY - timedelta(seconds=1), 2: NOW - 9 * DAY, 3: NOW}
    assert unused(last_owned, [], NOW) == [1, 2]


def test_store_of_owned_partition_is_never_unused() -> None:
    assert unused({0: NOW - 9 * DAY, 1: NOW - 9 * DAY}, [1], NOW) == [0]


async def test_unused_stores_are_removed_from_disk(tmp_path: Path) -> None:
    folder = make_stores(tmp_path, 0, 1)
    await check(folder, {1}, after(hours=23))
    assert stores(tmp_path) == {"0", "1"}
    await check(folder, {1}, after(hours=25))
    assert stores(tmp_path) == {"1"}


async def test_day_begins_when_partition_was_last_owned(tmp_path: Path) -> None:
    folder = make_stores(tmp_path, 0)
    await check(folder, {0}, after(hours=20))
    await check(folder, set(), after(hours=40))
    assert stores(tmp_path) == {"0"}
    await check(folder, set(), after(hours=45))
    assert stores(tmp_path) == set()


async def test_returned_partition_starts_with_empty_store(tmp_path: Path) -> None:
    folder = make_stores(tmp_path, 0)
    await check(folder, set(), after(hours=25))
    store = folder.open(0)
    assert (store.offset, store.load([b"acme/a"])) == (None, [None])
    store.close()


async def test_open_store_is_not_removed(tmp_path: Path) -> None:
    folder = make_stores(tmp_path, 0)
    store = folder.open(0)
    await check(folder, set(), after(hours=25))
    assert (store.offset, store.load([b"acme/a"])) == (4, [b"1"])
    store.close()


def test_store_of_another_process_is_not_removed(tmp_path: Path) -> None:
    folder = make_stores(tmp_path, 0, 1)
    hold = (
        "import sys; from pathlib import Path; from streams.state.rocksdb import RocksFolder\n"
        "store = RocksFolder(Path(sys.argv[1]), 8).open(0); print('held', flush=True); sys.stdin.read()\n"
        "print(store.load([b'acme/a']))\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", hold, str(tmp_path)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout
        assert other.stdout.readline() == b"held\n"
        asyncio.run(check(folder, set(), after(hours=25)))
        assert stores(tmp_path) == {"0"}
        assert other.communicate()[0] == b"[b'1']\n"


async def test_only_stores_are_removed(tmp_path: Path) -> None:
    folder = make_stores(tmp_path, 0)
    for name in ("v1", "cluster"):
        (tmp_path / name).mkdir()
    await check(folder, set(), after(hours=25))
    assert stores(tmp_path) == {"v1", "cluster"}


async def test_removal_that_a_kill_interrupted_is_completed(tmp_path: Path) -> None:
    make_stores(tmp_path, 0)
    (tmp_path / "0").rename(tmp_path / "0.discarded")
    RocksFolder(tmp_path, partitions=8)
    assert stores(tmp_path) == set()
