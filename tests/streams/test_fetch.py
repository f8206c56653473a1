"""Fetched bytes are unpacked into the same records and positions as by aiokafka."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest
from aiokafka.consumer.fetcher import READ_UNCOMMITTED, PartitionRecords
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.structs import TopicPartition

from streams.transport.fetch import UnpackedRecords

HERE = TopicPartition("postbacks.sent", 0)
ATTRIBUTES, CONTROL = 21, 0x20
LAST_BYTE = -1


def batch(base: int, *values: bytes, transactional: bool = False) -> bytearray:
    """A record batch in Kafka's log format, from offset `base`."""
    builder = DefaultRecordBatchBuilder(2, 0, int(transactional), -1, -1, -1, 100_000)
    for index, value in enumerate(values):
        assert builder.append(index, 1_795_431_581_123, b"key", value, [("status", b"sent")])
    raw: bytearray = builder.build()
    raw[0:8] = base.to_bytes(8, "big")
    return raw


def fetched(raw: bytes, position: int, check: bool = True) -> PartitionRecords:
    return PartitionRecords(HERE, MemoryRecords(raw), [], position, None, None, check, READ_UNCOMMITTED)


def fields(record: Any) -> tuple[Any, ...]:
    return record.offset, record.timestamp, record.key, record.value


@pytest.mark.parametrize("position", [10, 11, 12, 13, 14])
def test_records_equal_those_of_aiokafka_from_any_position(position: int) -> None:
    raw = bytes(batch(10, b"a", b"b", b"c") + batch(13, b"d"))
    theirs, ours = fetched(raw, position), UnpackedRecords(fetched(raw, position))
    assert [fields(record) for record in ours] == [fields(record) for record in theirs]
    assert ours.next_fetch_offset == theirs.next_fetch_offset == 14


def test_transaction_marker_takes_an_offset_without_a_record() -> None:
    end = batch(11, b"end", transactional=True)
    end[ATTRIBUTES + 1] |= CONTROL
    raw = bytes(batch(10, b"a") + end)
    theirs, ours = fetched(raw, 10, check=False), UnpackedRecords(fetched(raw, 10, check=False))
    assert [fields(record) for record in ours] == [fields(record) for record in theirs]
    assert ours.next_fetch_offset == theirs.next_fetch_offset == 12


def test_position_does_not_pass_a_corrupt_batch() -> None:
    corrupt = batch(11, b"b")
    corrupt[LAST_BYTE] ^= 1
    ours = UnpackedRecords(fetched(bytes(batch(10, b"a") + corrupt), 10))
    with pytest.raises(CorruptRecordException):
        list(ours)
    assert list(ours) == []
    assert ours.next_fetch_offset == 10


def test_fetch_is_freed_without_garbage_collection() -> None:
    records = fetched(bytes(batch(10, b"a")), 10)
    alive, ours = weakref.ref(records), UnpackedRecords(records)
    gc.disable()
    try:
        assert len([*ours]) == 1
        del records, ours
        assert alive() is None
    finally:
        gc.enable()
