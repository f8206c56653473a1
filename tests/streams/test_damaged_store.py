"""A damaged store is discarded by the call that finds the damage, and restored from the topic."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gateway.postback import format_time, key_of
from streams.message import decode_message, encode_message
from streams.state.rocksdb import RocksFolder, RocksStore
from streams.state.store import StoreCorrupted
from tests.support.damage import flip_bytes
from tests.support.postbacks import receipt, sent
from tests.support.streams import Streams
from tests.support.workload import compact, diff_states

KEYS = [b"acme/%05d" % n for n in range(5_000)]


def fill(folder: Path) -> None:
    """Write states of which each block of the file is needed, and close the store."""
    rng = random.Random(1)
    store = RocksFolder(folder, partitions=1).open(0)
    store.write({key: rng.randbytes(300) for key in KEYS}, 99)
    store.close()


@pytest.fixture
def damaged(tmp_path: Path) -> Iterator[RocksStore]:
    """A store that opens, and has a damaged block."""
    fill(tmp_path)
    flip_bytes(tmp_path / "0")
    store = RocksFolder(tmp_path, partitions=1).open(0)
    assert store.offset == 99
    yield store
    store.close()


def load(store: RocksStore) -> None:
    store.load(KEYS)


def scan(store: RocksStore) -> None:
    for _ in store.scan(1_000):
        pass


def compact_and_write(store: RocksStore) -> None:
    """Let RocksDB find the damage in the background."""
    store.write({b"acme/new": b"1"}, 100)
    store._db.compact_range(None, None)
    store.write({b"acme/new": b"2"}, 101)


CALLS = [load, scan, compact_and_write]


@pytest.mark.parametrize("call", CALLS)
def test_damage_raises_from_every_call(damaged: RocksStore, call: Callable[[RocksStore], None]) -> None:
    with pytest.raises(StoreCorrupted, match="checksum mismatch"):
        call(damaged)


@pytest.mark.parametrize("call", CALLS)
def test_damaged_store_is_discarded_at_once(
    damaged: RocksStore, tmp_path: Path, call: Callable[[RocksStore], None]
) -> None:
    with pytest.raises(StoreCorrupted):
        call(damaged)
    assert list(tmp_path.iterdir()) == []
    reopened = RocksFolder(tmp_path, partitions=1).open(0)
    assert (reopened.offset, reopened.load(KEYS[:1])) == (None, [None])
    reopened.close()


def test_discarded_store_answers_no_call(damaged: RocksStore) -> None:
    with pytest.raises(StoreCorrupted):
        load(damaged)
    for call in (
        lambda: damaged.offset,
        lambda: damaged.load(KEYS[:1]),
        lambda: damaged.write({}, 100),
        lambda: next(damaged.scan(1)),
        lambda: damaged.count(),
    ):
        with pytest.raises(StoreCorrupted):
            call()


def test_damage_found_while_closing_discards_the_store(damaged: RocksStore, tmp_path: Path) -> None:
    damaged.write({b"acme/new": b"1"}, 100)
    damaged._db.compact_range(None, None)
    damaged.close()
    assert list(tmp_path.iterdir()) == []


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-10])


def replace(path: Path) -> None:
    path.write_bytes(b"neither manifest nor states\n")


@pytest.mark.parametrize(
    ("pattern", "damage"),
    [
        ("*.sst", Path.unlink),
        ("*.sst", truncate),
        ("*.sst", replace),
        ("MANIFEST-*", Path.unlink),
        ("MANIFEST-*", replace),
        ("CURRENT", Path.unlink),
        ("CURRENT", truncate),
        ("CURRENT", replace),
    ],
)
def test_damage_found_at_open_leaves_empty_store(
    tmp_path: Path, pattern: str, damage: Callable[[Path], None]
) -> None:
    fill(tmp_path)
    (path,) = (tmp_path / "0").glob(pattern)
    damage(path)
    store = RocksFolder(tmp_path, partitions=1).open(0)
    assert (store.offset, store.load(KEYS[:1])) == (None, [None])
    store.close()


def test_damaged_offset_is_found_at_open(tmp_path: Path) -> None:
    store = RocksFolder(tmp_path, partitions=1).open(0)
    store.write({}, 99)
    store.close()
    (path,) = (tmp_path / "0").glob("*.sst")
    contents = path.read_bytes()
    assert b"\x00offset" in contents, "the first block is not compressed"
    path.write_bytes(contents.replace(b"\x00offset", b"\xffoffset"))
    reopened = RocksFolder(tmp_path, partitions=1).open(0)
    assert reopened.offset is None
    reopened.close()


async def test_worker_restores_damaged_store_from_topic(fresh_kafka: str, tmp_path: Path) -> None:
    streams = Streams(fresh_kafka, tmp_path, partitions=1)
    await streams.create_topics()
    now = datetime.now(UTC)
    at, before = format_time(now), format_time(now - timedelta(hours=1))
    ids = [f"00000000-0000-4000-8000-{n:012x}" for n in range(4_000)]
    old, recent = ids[::4], [id for n, id in enumerate(ids) if n % 4]
    await streams.produce(sent(message_id=id, received_at=before) for id in old)
    await streams.produce(sent(message_id=id, received_at=at, from_number="74121") for id in recent)
    with streams.worker() as worker:
        await streams.wait_committed()
        assert worker.process.stop() == 0
    (store,) = (tmp_path / "a" / "states").glob("*/*/0")
    flip_bytes(store)
    with streams.worker(overdue_after=2, forget_after=1800) as worker:
        assert await worker.process.wait() == 1, "its scan found the damage"
        assert not store.exists()
    with streams.worker(overdue_after=2, forget_after=1800) as worker:
        await streams.wait_for_messages("old ones expired", lambda last: len(last) == len(recent))
        await streams.wait_for_messages(
            "recent ones overdue", lambda last: all(map(is_overdue, last.values()))
        )
        in_time = [receipt(message_id=id, received_at=at, code="000") for id in recent[::100]]
        await streams.produce(in_time)
        await streams.wait_committed()
        states = compact(await streams.messages())
    kept = {key_of("acme", id) for id in recent}
    assert {key for key in kept if not is_overdue(states[key])} == {
        key_of(each.account, each.message_id) for each in in_time
    }
    expected = {key: value for key, value in streams.expected.items() if key in kept}
    assert diff_states(without_overdue(states), expected) == {}


def is_overdue(state: bytes) -> bool:
    return decode_message(state).overdue_at is not None


def without_overdue(states: dict[bytes, bytes]) -> dict[bytes, bytes]:
    messages = {key: decode_message(value) for key, value in states.items()}
    for message in messages.values():
        message.overdue_at = None
    return {key: encode_message(message) for key, message in messages.items()}
