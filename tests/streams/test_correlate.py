"""Batches of records become changes of states; records that are not postbacks are rejected."""

from __future__ import annotations

from base64 import b64decode
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.postback import RECEIPT, REPUBLISHED, SENT, TOPIC_OF, AnyPostback, encode, key_of
from gateway.submission import SUBMISSIONS, Submission, submission_key
from streams.correlate import correlate
from streams.merge import Event, merge, state_of
from streams.message import VERSION, decode_message, encode_message
from streams.record_reader import MAX_REJECTED_BYTES
from streams.records import Correlated, group_by_key
from streams.state.spec import Headers
from streams.versions import NewerVersion
from tests.support.postbacks import MESSAGE_ID, START, receipt, sent
from tests.support.submissions import events, submission

KEY = key_of("acme", MESSAGE_ID)
CLUSTER = "cluster"


class Record(NamedTuple):
    value: bytes | None
    key: bytes | None = KEY
    offset: int = 0
    timestamp: int = 1_795_431_581_123
    headers: Headers = []  # noqa: RUF012


def record_of(postback: AnyPostback | Submission, offset: int = 0) -> Record:
    if isinstance(postback, Submission):
        return Record(encode(postback), submission_key(postback), offset)
    return Record(encode(postback), key_of(postback.account, postback.message_id), offset)


def correlated(records: list[Record], topic: str = SENT, known: bytes | None = None) -> Correlated:
    """Correlate the records; `known` is the state of each of their keys."""
    grouped = group_by_key(records)
    return correlate(CLUSTER, topic, 0, grouped, [known] * len(grouped), START)


def test_change_has_previous_and_new_status() -> None:
    first = correlated([record_of(sent())]).changes[KEY]
    assert first.headers == [("status", b"sent"), ("previous", b"")]
    second = correlated([record_of(receipt(code="000"))], RECEIPT, first.value).changes[KEY]
    assert second.headers == [("status", b"delivered"), ("previous", b"sent")]


def test_postbacks_of_one_message_make_one_change() -> None:
    records = [record_of(sent(f"s{n}", second=n, ok=n == 3), n) for n in range(4)]
    (change,) = correlated(records).changes.values()
    assert change.value
    assert len(decode_message(change.value).attempts) == 4


def test_merged_postback_yields_no_change() -> None:
    known = encode_message(state_of(sent()))
    assert correlated([record_of(sent()), record_of(sent())], known=known).changes == {}


def test_republished_postback_rewrites_an_unchanged_state() -> None:
    known = encode_message(state_of(sent()))
    again = [record_of(sent()), record_of(sent())._replace(headers=[("ce_type", b"x"), REPUBLISHED])]
    (change,) = correlated(again, known=known).changes.values()
    assert (change.value, change.headers) == (known, [("status", b"sent"), ("previous", b"sent")])


@given(st.lists(events, min_size=1, max_size=8), st.integers(0, 8))
def test_any_split_into_batches_yields_the_fold(story: list[Event], cut: int) -> None:
    value: bytes | None = None
    for batch in (story[:cut], story[cut:]):
        kinds: list[tuple[type[Event], str]] = [*TOPIC_OF.items(), (Submission, SUBMISSIONS)]
        for kind, topic in kinds:
            records = [record_of(postback) for postback in batch if type(postback) is kind]
            changes = correlated(records, topic, value).changes
            value = changes[KEY].value if changes else value
    state = None
    for postback in story:
        state = merge(state, postback)
    assert state
    assert value == encode_message(state)


def test_state_of_newer_version_is_rejected() -> None:
    state = state_of(sent())
    state.version = VERSION + 1
    with pytest.raises(NewerVersion, match=f"format {VERSION + 1}"):
        correlated([record_of(sent())], known=encode_message(state))


def test_undecodable_record_is_rejected_and_others_are_merged() -> None:
    records = [record_of(sent("s1"), 7), Record(b'{"type":"sent"}', offset=8), record_of(sent("s2"), 9)]
    found = correlate(CLUSTER, SENT, 3, group_by_key(records), [None], START)
    assert found.changes[KEY].value == encode_message(merge(state_of(sent("s1")), sent("s2")))
    (rejected,) = found.rejected
    assert (rejected.reason, rejected.stage) == ("undecodable_record", "streams")
    assert (rejected.topic, rejected.partition, rejected.offset) == (SENT, 3, 8)
    assert (rejected.key, rejected.body) == (KEY.decode(), '{"type":"sent"}')
    assert rejected.received_at == "2026-11-23T10:59:41.123Z"


@pytest.mark.parametrize(
    "value", [b"", b"null", b"\xff\xfe", b"[]", b'{"type":"receipt"}', b"{" * 5000, b'{"a":"\xff"}']
)
def test_malformed_value_is_rejected(value: bytes) -> None:
    (rejected,) = correlated([Record(value)]).rejected
    assert rejected.reason == "undecodable_record"
    assert (rejected.body.encode() or b64decode(rejected.body_base64)) == value


def test_postback_with_invalid_time_is_rejected() -> None:
    timeless = sent()
    timeless.received_at = "soon"
    assert [one.reason for one in correlated([record_of(timeless)]).rejected] == ["undecodable_record"]


def test_record_without_value_is_rejected() -> None:
    (rejected,) = correlated([Record(None)]).rejected
    assert rejected.reason == "empty_record"


@pytest.mark.parametrize("key", [None, b"", b"other/" + MESSAGE_ID.encode(), b"\xff"])
def test_record_with_foreign_key_is_rejected(key: bytes | None) -> None:
    found = correlated([Record(encode(sent()), key)])
    assert found.changes == {}
    assert [rejected.reason for rejected in found.rejected] == ["foreign_key"]


def test_submission_without_message_id_is_skipped() -> None:
    ours = submission(message_id=None, error=3)
    assert correlated([record_of(ours)], SUBMISSIONS) == Correlated({}, [], [])


@pytest.mark.parametrize(
    "invalid",
    [
        {"received_at": "1999-12-31T23:59:59.999Z"},
        {"scheduled_for": "tomorrow"},
        {"scheduled_for": "2026-02-30T00:00:00.000Z"},
        {"occurred_at": "9999-01-01T00:00:00.000Z"},
        {"message_id": "x" * 36},
        {"message_id": f"{MESSAGE_ID}\n"},
        {"event_id": "e" * 33},
        {"account": "a" * 65},
    ],
)
def test_submission_that_would_spoil_a_state_is_rejected(invalid: dict[str, Any]) -> None:
    (rejected,) = correlated([record_of(submission(**invalid))], SUBMISSIONS).rejected
    assert rejected.reason == "undecodable_record"


def test_submission_with_foreign_key_is_rejected() -> None:
    (rejected,) = correlated([record_of(submission())._replace(key=b"acme/other")], SUBMISSIONS).rejected
    assert rejected.reason == "foreign_key"


def test_rejection_is_idempotent() -> None:
    records = [Record(b"?", offset=8)]
    assert correlated(records).rejected == correlated(records).rejected


def test_rejection_id_depends_on_coordinates() -> None:
    ids = {
        correlate(cluster, topic, partition, {KEY: [Record(b"?", offset=offset)]}, [None], START)
        .rejected[0]
        .rejection_id
        for cluster in ("a", "b")
        for topic in TOPIC_OF.values()
        for partition in (0, 1)
        for offset in (0, 1)
    }
    assert len(ids) == 2 * 3 * 2 * 2


def test_huge_record_is_truncated_in_rejection() -> None:
    (rejected,) = correlated([Record(b"x" * (MAX_REJECTED_BYTES + 1))]).rejected
    assert len(rejected.body) == MAX_REJECTED_BYTES
