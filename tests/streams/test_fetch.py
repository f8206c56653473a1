"""Fetched bytes become the records that aiokafka would make of them, from one offset to another."""

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
    """A batch as it stands in the log."""
    builder = DefaultRecordBatchBuilder(2, 0, int(transactional), -1, -1, -1, 100_000)
    for place, value in enumerate(values):
        assert builder.append(place, 1_795_431_581_123, b"key", value, [("status", b"sent")])
    raw: bytearray = builder.build()
    raw[0:8] = base.to_bytes(8, "big")
    return raw


def fetched(raw: bytes, position: int, check: bool = True) -> PartitionRecords:
    return PartitionRecords(HERE, MemoryRecords(raw), [], position, None, None, check, READ_UNCOMMITTED)


def told(record: Any) -> tuple[Any, ...]:
    return record.offset, record.timestamp, record.key, record.value


@pytest.mark.parametrize("position", [10, 11, 12, 13, 14])
def test_records_are_those_that_aiokafka_gives_from_a_position_on(position: int) -> None:
    raw = bytes(batch(10, b"a", b"b", b"c") + batch(13, b"d"))
    theirs, ours = fetched(raw, position), UnpackedRecords(fetched(raw, position))
    assert [told(record) for record in ours] == [told(record) for record in theirs]
    assert ours.next_fetch_offset == theirs.next_fetch_offset == 14


def test_the_end_of_a_transaction_is_no_record_but_takes_an_offset() -> None:
    end = batch(11, b"end", transactional=True)
    end[ATTRIBUTES + 1] |= CONTROL
    raw = bytes(batch(10, b"a") + end)
    theirs, ours = fetched(raw, 10, check=False), UnpackedRecords(fetched(raw, 10, check=False))
    assert [told(record) for record in ours] == [told(record) for record in theirs]
    assert ours.next_fetch_offset == theirs.next_fetch_offset == 12


def test_after_a_damaged_batch_the_position_is_before_all_that_was_not_handed_over() -> None:
    damaged = batch(11, b"b")
    damaged[LAST_BYTE] ^= 1
    ours = UnpackedRecords(fetched(bytes(batch(10, b"a") + damaged), 10))
    with pytest.raises(CorruptRecordException):
        list(ours)
    assert list(ours) == []
    assert ours.next_fetch_offset == 10


def test_what_was_fetched_is_gone_with_its_records_and_waits_for_no_garbage_collection() -> None:
    records = fetched(bytes(batch(10, b"a")), 10)
    alive, ours = weakref.ref(records), UnpackedRecords(records)
    gc.disable()
    try:
        assert len([*ours]) == 1
        del records, ours
        assert alive() is None
    finally:
        gc.enable()
