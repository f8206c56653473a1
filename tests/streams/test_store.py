"""All stores keep the states of a partition with the offset they are at; those on disk survive."""

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
from streams.state.write_cache import WriteCache
from tests.support.process import ROOT

A, B, C = b"acme/a", b"acme/b", b"acme/c"


@pytest.fixture(params=["memory", "rocksdb", "lately, all of it", "lately, next to nothing"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StateStore]:
    made: StateStore
    match request.param:
        case "memory":
            made = MemoryStore()
        case "rocksdb":
            made = RocksFolder(tmp_path).open(0)
        case "lately, all of it":
            made = WriteCache(RocksFolder(tmp_path).open(0))
        case _:
            made = WriteCache(RocksFolder(tmp_path).open(0), gathered_bytes=20)
    yield made
    made.close()


def scanned(store: StateStore, size: int) -> dict[bytes, bytes]:
    portions = list(store.scan(size))
    assert all(0 < len(portion) <= size for portion in portions)
    return dict(pair for portion in portions for pair in portion)


def test_a_new_store_knows_nothing(store: StateStore) -> None:
    assert store.offset is None
    assert store.load([A, B]) == [None, None]
    assert scanned(store, 10) == {}


def test_states_are_kept_replaced_and_forgotten(store: StateStore) -> None:
    store.write({A: b"1", B: b"1"}, 4)
    store.write({A: b"2", B: None, C: None}, 6)
    assert store.load([C, B, A]) == [None, None, b"2"]
    assert store.offset == 6


def test_the_offset_may_stay_where_it_is(store: StateStore) -> None:
    store.write({A: b"1"}, 4)
    store.write({A: b"2"}, None)
    assert (store.offset, store.load([A])) == (4, [b"2"])


def test_an_offset_can_move_without_any_state(store: StateStore) -> None:
    store.write({}, 9)
    assert store.offset == 9


def test_nothing_is_asked_for_and_nothing_comes(store: StateStore) -> None:
    assert store.load([]) == []


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_a_scan_brings_every_state_once(store: StateStore, size: int) -> None:
    states = {b"acme/%03d" % n: b"%d" % n for n in range(100)}
    store.write(states, 99)
    assert scanned(store, size) == states


def test_a_scan_goes_on_while_states_come_and_go(store: StateStore) -> None:
    store.write({b"acme/%03d" % n: b"1" for n in range(0, 100, 2)}, 99)
    seen: dict[bytes, bytes] = {}
    for portion in store.scan(10):
        seen.update(portion)
        last = int(portion[-1][0][5:])
        store.write({b"acme/%03d" % (last + 1): b"new", b"acme/%03d" % (last - 2): None}, 100)
    assert {key for key, value in seen.items() if value == b"1"} == {
        b"acme/%03d" % n for n in range(0, 100, 2)
    }


def test_on_disk_they_are_there_again_after_a_restart(tmp_path: Path) -> None:
    store = RocksFolder(tmp_path).open(3)
    store.write({A: b"1"}, 4)
    store.close()
    again = RocksFolder(tmp_path).open(3)
    assert (again.offset, again.load([A])) == (4, [b"1"])
    again.close()


def test_what_was_gathered_is_on_disk_after_a_close(tmp_path: Path) -> None:
    store = WriteCache(RocksFolder(tmp_path).open(0))
    store.write({A: b"1", B: b"1"}, 4)
    store.write({A: b"2", B: None}, None)
    store.close()
    below = RocksFolder(tmp_path).open(0)
    assert (below.offset, below.load([A, B])) == (4, [b"2", None])
    below.close()


def test_what_is_gathered_goes_down_together_with_its_offset() -> None:
    below = MemoryStore()
    store = WriteCache(below, gathered_bytes=20)
    store.write({A: b"1"}, 4)
    assert (below.offset, below.load([A])) == (None, [None])
    store.write({A: b"2", B: b"1"}, 6)
    assert (below.offset, below.load([A, B])) == (6, [b"2", b"1"])


def test_a_store_can_be_closed_and_opened_again_in_the_middle_of_a_scan(tmp_path: Path) -> None:
    folder = RocksFolder(tmp_path)
    store = folder.open(0)
    store.write({A: b"1", B: b"2"}, 4)
    portions = store.scan(1)
    assert next(portions) == [(A, b"1")]
    store.close()
    folder.open(0).close()


def test_a_kill_loses_the_newest_states_only_together_with_their_offset(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from streams.rocksdb import RocksFolder\n"
        "store = RocksFolder(Path(sys.argv[1])).open(0)\n"
        "for n in range(200_000): store.write({b'acme/%d' % n: b'%1000d' % n}, n)\n"
        "print('written', flush=True); time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == b"written\n"
        os.kill(process.pid, signal.SIGKILL)
    store = RocksFolder(tmp_path).open(0)
    assert store.offset, "some of 200 MB had been written to files"
    keys = [b"acme/%d" % n for n in range(store.offset + 1)]
    assert store.load(keys) == [b"%1000d" % n for n in range(store.offset + 1)]
    store.close()


def test_a_damaged_store_is_made_anew(tmp_path: Path) -> None:
    store = RocksFolder(tmp_path).open(0)
    store.write({A: b"1"}, 4)
    store.close()
    (tmp_path / "0" / "CURRENT").write_text("no manifest\n")
    again = RocksFolder(tmp_path).open(0)
    assert (again.offset, again.load([A])) == (None, [None])
    again.close()


def test_two_workers_on_one_folder_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rocksdb, "LOCK_SECONDS", 0.1)
    hold = (
        "import sys; from pathlib import Path; from streams.rocksdb import RocksFolder\n"
        "store = RocksFolder(Path(sys.argv[1])).open(0); print('held', flush=True); sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", hold, str(tmp_path)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(DataInUse, match="POSTBACKS_DATA"):
            RocksFolder(tmp_path).open(0)
        other.kill()
