"""Of which time the newest row is: what `postbacks_sinks_freshness_seconds` counts from."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from sinks.freshness import received_at
from tests.support.records import FakeRecord

RECEIVED = datetime(2026, 11, 23, 4, 39, 41, 123_000, UTC).timestamp()
KAFKA_MS = 1_795_435_200_000


@pytest.mark.parametrize("field", ["received_at", "last_seen_at"])
def test_a_row_is_as_old_as_what_it_tells_however_late_it_came_to_kafka(field: str) -> None:
    value = f'{{"type":"sent","{field}":"2026-11-23T04:39:41.123Z","body":"x"}}'.encode()
    assert received_at(FakeRecord(value=value, timestamp=KAFKA_MS)) == RECEIVED


@pytest.mark.parametrize("value", [None, b"", b"{}", b"\xff", b"[]", b'{"received_at":"yesterday"}'])
def test_a_record_that_does_not_say_counts_from_kafkas_time(value: bytes | None) -> None:
    assert received_at(FakeRecord(value=value, timestamp=KAFKA_MS)) == KAFKA_MS / 1000
