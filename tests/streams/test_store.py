"""All stores return what was written, with its changelog offset; those on disk survive a restart."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from streams.state import rocksdb
from streams.state.rocksdb import DataInUse, RocksFolder
from streams.state.store import MemoryStore, StateStore
from streams.state.write_cache import CacheBudget, WriteCache
from tests.support.process import ROOT

A, B, C = b"acme/a", b"acme/b", b"acme/c"
PARTITIONS = 8


@pytest.fixture(params=["memory", "rocksdb", "large write cache", "tiny write cache"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StateStore]:
    created: StateStore
    match request.param:
        case "memory":
            created = MemoryStore()
        case "rocksdb":
            created = RocksFolder(tmp_path, PARTITIONS).open(0)
        case "large write cache":
            created = WriteCache(RocksFolder(tmp_path, PARTITIONS).open(0), CacheBudget())
        case _:
            created = WriteCache(RocksFolder(tmp_path, PARTITIONS).open(0), CacheBudget(max_bytes=20))
    yield created
    created.close()


def scanned(store: StateStore, size: int) -> dict[bytes, bytes]:
    pages = list(store.scan(size))
    assert all(0 < len(page) <= size for page in pages)
    return dict(pair for page in pages for pair in page)


def test_new_store_is_empty(store: StateStore) -> None:
    assert store.offset is None
    assert store.load([A, B]) == [None, None]
    assert scanned(store, 10) == {}


def test_states_are_stored_replaced_and_deleted(store: StateStore) -> None:
    store.write({A: b"1", B: b"1"}, 4)
    store.write({A: b"2", B: None, C: None}, 6)
    assert store.load([C, B, A]) == [None, None, b"2"]
    assert store.offset == 6


def test_write_without_offset_leaves_it_unchanged(store: StateStore) -> None:
    store.write({A: b"1"}, 4)
    store.write({A: b"2"}, None)
    assert (store.offset, store.load([A])) == (4, [b"2"])


def test_offset_advances_without_states(store: StateStore) -> None:
    store.write({}, 9)
    assert store.offset == 9


def test_loading_no_keys_returns_nothing(store: StateStore) -> None:
    assert store.load([]) == []


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_scan_returns_every_state_once(store: StateStore, size: int) -> None:
    states = {b"acme/%03d" % n: b"%d" % n for n in range(100)}
    store.write(states, 99)
    assert scanned(store, size) == states


def test_scan_tolerates_concurrent_writes(store: StateStore) -> None:
    store.write({b"acme/%03d" % n: b"1" for n in range(0, 100, 2)}, 99)
    seen: dict[bytes, bytes] = {}
    for page in store.scan(10):
        seen.update(page)
        last = int(page[-1][0][5:])
        store.write({b"acme/%03d" % (last + 1): b"new", b"acme/%03d" % (last - 2): None}, 100)
    assert {key for key, value in seen.items() if value == b"1"} == {
        b"acme/%03d" % n for n in range(0, 100, 2)
    }


def test_states_on_disk_survive_reopening(tmp_path: Path) -> None:
    store = RocksFolder(tmp_path, PARTITIONS).open(3)
    store.write({A: b"1"}, 4)
    store.close()
    reopened = RocksFolder(tmp_path, PARTITIONS).open(3)
    assert (reopened.offset, reopened.load([A])) == (4, [b"1"])
    reopened.close()


def test_close_flushes_write_cache(tmp_path: Path) -> None:
    store = WriteCache(RocksFolder(tmp_path, PARTITIONS).open(0), CacheBudget())
    store.write({A: b"1", B: b"1"}, 4)
    store.write({A: b"2", B: None}, None)
    store.close()
    backing = RocksFolder(tmp_path, PARTITIONS).open(0)
    assert (backing.offset, backing.load([A, B])) == (4, [b"2", None])
    backing.close()


def test_write_cache_flushes_states_with_their_offset() -> None:
    backing = MemoryStore()
    store = WriteCache(backing, CacheBudget(max_bytes=400))
    store.write({A: b"1"}, 4)
    assert (backing.offset, backing.load([A])) == (None, [None])
    store.write({A: b"2", B: b"1"}, 6)
    assert (backing.offset, backing.load([A, B])) == (6, [b"2", b"1"])


def test_store_can_be_reopened_during_scan(tmp_path: Path) -> None:
    folder = RocksFolder(tmp_path, PARTITIONS)
    store = folder.open(0)
    store.write({A: b"1", B: b"2"}, 4)
    pages = store.scan(1)
    assert next(pages) == [(A, b"1")]
    store.close()
    folder.open(0).close()


def test_kill_loses_newest_states_only_with_their_offset(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from streams.state.rocksdb import RocksFolder\n"
        "store = RocksFolder(Path(sys.argv[1]), 8).open(0)\n"
        "for n in range(200_000): store.write({b'acme/%d' % n: b'%1000d' % n}, n)\n"
        "print('written', flush=True); time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == b"written\n"
        os.kill(process.pid, signal.SIGKILL)
    store = RocksFolder(tmp_path, PARTITIONS).open(0)
    assert store.offset, "some of 200 MB had been written to files"
    keys = [b"acme/%d" % n for n in range(store.offset + 1)]
    assert store.load(keys) == [b"%1000d" % n for n in range(store.offset + 1)]
    store.close()


def test_folder_in_use_by_another_process_is_rejected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rocksdb, "LOCK_TIMEOUT", 0.1)
    hold = (
        "import sys; from pathlib import Path; from streams.state.rocksdb import RocksFolder\n"
        "store = RocksFolder(Path(sys.argv[1]), 8).open(0); print('held', flush=True); sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", hold, str(tmp_path)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(DataInUse, match="POSTBACKS_DATA"):
            RocksFolder(tmp_path, PARTITIONS).open(0)
        other.kill()
