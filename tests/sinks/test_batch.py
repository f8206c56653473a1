"""When a batch is full, and when it is flushed though it is not."""

from __future__ import annotations

from sinks.batch import Batch, BatchLimits
from tests.support.records import fake_records

LIMITS = BatchLimits(rows=3, bytes=100, seconds=2)


def test_batch_is_full_by_rows() -> None:
    batch = Batch(LIMITS)
    assert list(batch.append(fake_records(1, 2), 0)) == []
    assert list(batch.append(fake_records(3, 4), 1)) == [fake_records(1, 2, 3)]
    assert batch.flush() == fake_records(4)


def test_batch_is_full_before_it_exceeds_its_bytes() -> None:
    batch = Batch(LIMITS)
    full = list(batch.append(fake_records(1, 2, 3, value=b"x" * 60), 0))
    assert [[record.offset for record in records] for records in full] == [[1], [2]]


def test_oversized_value_is_a_batch_of_its_own() -> None:
    batch = Batch(LIMITS)
    list(batch.append(fake_records(1, value=b"x" * 500), 0))
    assert batch.flush() == fake_records(1, value=b"x" * 500)


def test_flush_is_due_seconds_after_the_first_row() -> None:
    batch = Batch(LIMITS)
    assert batch.flush_at == float("inf")
    list(batch.append(fake_records(1), 10))
    list(batch.append(fake_records(2), 11))
    assert batch.flush_at == 12
    batch.flush()
    assert batch.flush_at == float("inf")
