"""Records as rows: coordinates, rejected records, and the time that a row's freshness is measured by."""

from __future__ import annotations

from base64 import b64decode
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import json

from gateway.postback import RECEIPT, SENT, encode, format_time
from gateway.rejected import MAX_KEY_BYTES, REJECTED, decode_rejected
from gateway.submission import SUBMISSIONS
from sinks.rows import newest_time, rejection_row, splice
from sinks.tables import POSTBACKS, REJECTIONS, TABLE_OF
from streams.auto_response import AUTO_RESPONSES
from streams.contact import CONTACTS
from streams.message import MESSAGES
from tests.support.hostile_records import keys, timestamps, values
from tests.support.postbacks import START, sent
from tests.support.records import FakeRecord, fake_records

RECEIVED = datetime(2026, 11, 23, 4, 39, 41, 123_000, UTC).timestamp()
NOW = RECEIVED + 10


def test_every_topic_has_a_table() -> None:
    assert {topic: table.name for topic, table in TABLE_OF.items()} == {
        SENT: "postbacks",
        "postbacks.response": "postbacks",
        RECEIPT: "postbacks",
        SUBMISSIONS: "submissions",
        REJECTED: "rejected",
        MESSAGES: "message_states",
        CONTACTS: "contact_states",
        AUTO_RESPONSES: "auto_responses",
    }


def test_coordinates_are_added_without_parsing() -> None:
    row = splice(POSTBACKS.suffix, 'a"-1', [FakeRecord(SENT, 3, 77, value=b'{"body":"-1}"}')])
    assert json.decode(row) == {"body": "-1}", "cluster": 'a"-1', "topic": SENT, "partition": 3, "offset": 77}
    assert row.endswith(b"}\n")


def test_rows_have_the_coordinates_of_their_partition() -> None:
    spliced = splice(
        POSTBACKS.suffix, "c", [*fake_records(1), *fake_records(5, partition=1), *fake_records(2)]
    )
    rows = [json.decode(row.replace(b"{,", b"{")) for row in spliced.splitlines()]
    assert [(row["partition"], row["offset"]) for row in rows] == [(0, 1), (1, 5), (0, 2)]


def test_rejection_keeps_the_coordinates_of_its_record() -> None:
    value = b'{"topic":"postbacks.sent","offset":4}'
    row = json.decode(splice(REJECTIONS.suffix, "c", [FakeRecord(REJECTED, 2, 8, value=value)]))
    assert row == {
        "topic": SENT,
        "offset": 4,
        "cluster": "c",
        "records": [{"partition": 2, "offset": 8}],
    }


@pytest.mark.parametrize(("value", "body", "base64"), [(b"nope", "nope", ""), (b"\xff", "", "/w==")])
def test_refused_record_is_stored_whole_under_its_coordinates(value: bytes, body: str, base64: str) -> None:
    record = FakeRecord(SENT, 3, 14, value=value)
    row = rejection_row("c", record, "Code: 27.", START)
    rejected = decode_rejected(row)
    assert json.decode(row)["cluster"] == "c"
    assert (rejected.reason, rejected.stage) == ("Code: 27.", "sinks")
    assert (rejected.body, rejected.body_base64) == (body, base64)
    assert (rejected.topic, rejected.partition, rejected.offset) == (SENT, 3, 14)
    assert rejected.key == (record.key or b"").decode()
    assert rejected.received_at == "2026-11-23T12:00:00.000Z"
    assert decode_rejected(rejection_row("c", record, "other", START)).rejection_id == rejected.rejection_id
    assert (
        decode_rejected(rejection_row("d", record, "Code: 27.", START)).rejection_id != rejected.rejection_id
    )


@pytest.mark.parametrize("timestamp", [-(2**63), -1, 0, 1_000_000_000_000, 4_102_444_800_000, 2**63 - 1])
def test_incredible_timestamp_is_replaced_by_now(timestamp: int) -> None:
    rejected = decode_rejected(rejection_row("c", FakeRecord(timestamp=timestamp), "x", START))
    assert rejected.received_at == format_time(START)


@pytest.mark.parametrize("field", ["received_at", "last_seen_at"])
def test_time_of_a_row_is_its_postbacks(field: str) -> None:
    value = f'{{"type":"sent","{field}":"2026-11-23T04:39:41.123Z","body":"x"}}'.encode()
    assert newest_time([FakeRecord(value=value)], NOW) == RECEIVED


def test_time_in_the_future_counts_as_now() -> None:
    value = b'{"received_at":"2099-11-23T04:39:41.123Z"}'
    assert newest_time([FakeRecord(value=value)], NOW) == NOW


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"{}",
        b"\xff",
        b"[]",
        b'{"received_at":"yesterday"}',
        b'{"received_at":"0001-01-01T00:00:00"}',
        b'{"received_at":"9999-12-31T23:59:59.999Z"}',
        b'{"x":' + b"[" * 100_000,
    ],
)
def test_row_without_a_time_does_not_count(value: bytes | None) -> None:
    good = FakeRecord(value=b'{"received_at":"2026-11-23T04:39:41.123Z"}')
    for timestamp in (-1, 2**62):
        bad = FakeRecord(value=value, timestamp=timestamp)
        assert newest_time([bad], NOW) is None
        assert newest_time([good, bad], NOW) == RECEIVED


@given(st.lists(st.tuples(st.none() | values(encode(sent())), keys, timestamps), max_size=5))
def test_bad_record_has_a_rejection_and_no_time(bad: list[tuple[bytes | None, bytes | None, int]]) -> None:
    records = [FakeRecord(value=value, key=key, timestamp=timestamp) for value, key, timestamp in bad]
    assert NOW >= (newest_time(records, NOW) or 0) >= 0
    for record in records:
        rejected = decode_rejected(rejection_row("c", record, "Code: 27.", START))
        assert (b64decode(rejected.body_base64) or rejected.body.encode()) == (record.value or b"")
        assert rejected.key == (record.key or b"")[:MAX_KEY_BYTES].decode(errors="replace")
