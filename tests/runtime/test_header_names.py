"""A record is readable whatever its headers are called: other clients write any bytes."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
from aiokafka.consumer import fetcher
from aiokafka.errors import CorruptRecordException
from aiokafka.record.memory_records import MemoryRecords
from hypothesis import given
from hypothesis import strategies as st

from runtime.kafka.header_names import ReadableRecords
from tests.support.raw_records import GZIP, RawRecord, record_batch

NAMES = st.binary(max_size=20)
RECORDS = st.lists(
    st.builds(
        RawRecord,
        value=st.none() | st.binary(max_size=50),
        key=st.none() | st.binary(max_size=50),
        timestamp=st.integers(0, 2**48),
        headers=st.lists(st.tuples(NAMES, st.none() | st.binary(max_size=20)), max_size=3),
    ),
    min_size=1,
    max_size=5,
)


def read(raw: bytes) -> list[Any]:
    records, found = ReadableRecords(raw), []
    while records.has_next():
        batch = records.next_batch()
        assert batch.validate_crc()
        found += list(batch)
    return found


@given(st.lists(RECORDS, min_size=1, max_size=3), st.sampled_from([0, GZIP]))
def test_records_are_read_whatever_their_header_names(batches: list[list[RawRecord]], codec: int) -> None:
    read_back = read(b"".join(record_batch(records, codec) for records in batches))
    assert [(record.key, record.value, record.timestamp) for record in read_back] == [
        (record.key, record.value, record.timestamp) for records in batches for record in records
    ]
    assert [record.headers for record in read_back] == [
        [(name.decode(errors="replace"), value) for name, value in record.headers]
        for records in batches
        for record in records
    ]


def test_readable_records_are_parsed_as_by_aiokafka() -> None:
    raw = record_batch([RawRecord(b"v", headers=[(b"status", b"sent")]), RawRecord(None, b"k")])
    theirs = MemoryRecords(raw).next_batch()
    assert [type(record) for record in read(raw)] == [type(record) for record in theirs]


def test_corrupt_batch_is_an_error() -> None:
    raw = bytearray(record_batch([RawRecord(b"v")]))
    raw[61] = 0x7F  # the record's length
    with pytest.raises(CorruptRecordException):
        list(ReadableRecords(bytes(raw)).next_batch())


def test_aiokafka_reads_batches_through_the_replaced_class() -> None:
    assert fetcher.MemoryRecords is ReadableRecords
    assert "records = MemoryRecords(part_data[-1])" in inspect.getsource(fetcher.Fetcher)
