"""Records become changes of messages; what is no postback is rejected, and the rest of its batch goes on."""

from __future__ import annotations

from base64 import b64decode
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.postback import RECEIPT, SENT, TOPIC_OF, AnyPostback, encode, key_of
from streams.change import headers
from streams.correlate import Correlated, by_key, correlate
from streams.message import VERSION, NewerVersion, decode_message, encode_message, merge, state_of
from streams.rejection import KEPT_BYTES
from tests.support.postbacks import MESSAGE, postbacks, receipt, sent

KEY = key_of("acme", MESSAGE)
CLUSTER = "cluster"


class Record(NamedTuple):
    value: bytes | None
    key: bytes | None = KEY
    offset: int = 0
    timestamp: int = 1_795_431_581_123


def record_of(postback: AnyPostback, offset: int = 0) -> Record:
    return Record(encode(postback), key_of(postback.account, postback.message_id), offset)


def correlated(records: list[Record], topic: str = SENT, known: bytes | None = None) -> Correlated:
    """What they come to; `known` of each of their messages."""
    grouped = by_key(records)
    return correlate(CLUSTER, topic, 0, grouped, [known] * len(grouped))


def test_a_change_tells_the_status_before_and_after() -> None:
    first = correlated([record_of(sent())]).changes[KEY]
    assert (first.status, first.previous) == ("sent", "")
    second = correlated([record_of(receipt(code="000"))], RECEIPT, first.value).changes[KEY]
    assert (second.status, second.previous) == ("delivered", "sent")
    assert headers(second.status, second.previous) == [("status", b"delivered"), ("previous", b"sent")]


def test_all_postbacks_of_a_message_in_a_batch_make_one_change() -> None:
    records = [record_of(sent(f"s{n}", second=n, ok=n == 3), n) for n in range(4)]
    (change,) = correlated(records).changes.values()
    assert change.value
    assert len(decode_message(change.value).attempts) == 4


def test_what_was_merged_before_changes_nothing() -> None:
    known = encode_message(state_of(sent()))
    assert correlated([record_of(sent()), record_of(sent())], known=known).changes == {}


@given(st.lists(postbacks, min_size=1, max_size=8), st.integers(0, 8))
def test_however_postbacks_are_cut_into_batches_the_state_is_their_fold(
    story: list[AnyPostback], cut: int
) -> None:
    value: bytes | None = None
    for batch in (story[:cut], story[cut:]):
        for kind, topic in TOPIC_OF.items():
            records = [record_of(postback) for postback in batch if type(postback) is kind]
            changes = correlated(records, topic, value).changes
            value = changes[KEY].value if changes else value
    state = None
    for postback in story:
        state = merge(state, postback)
    assert state
    assert value == encode_message(state)


def test_a_state_of_a_newer_version_is_refused() -> None:
    state = state_of(sent())
    state.version = VERSION + 1
    with pytest.raises(NewerVersion, match=f"format {VERSION + 1}"):
        correlated([record_of(sent())], known=encode_message(state))


def test_an_undecodable_record_is_rejected_and_the_rest_goes_on() -> None:
    records = [record_of(sent("s1"), 7), Record(b'{"type":"sent"}', offset=8), record_of(sent("s2"), 9)]
    found = correlate(CLUSTER, SENT, 3, by_key(records), [None])
    assert found.changes[KEY].value == encode_message(merge(state_of(sent("s1")), sent("s2")))
    (rejected,) = found.rejected
    assert (rejected.reason, rejected.stage) == ("undecodable_record", "streams")
    assert (rejected.topic, rejected.partition, rejected.offset) == (SENT, 3, 8)
    assert (rejected.key, rejected.body) == (KEY.decode(), '{"type":"sent"}')
    assert rejected.received_at == "2026-11-23T10:59:41.123Z"


@pytest.mark.parametrize(
    "value", [b"", b"null", b"\xff\xfe", b"[]", b'{"type":"receipt"}', b"{" * 5000, b'{"a":"\xff"}']
)
def test_no_value_whatever_ends_the_worker(value: bytes) -> None:
    (rejected,) = correlated([Record(value)]).rejected
    assert rejected.reason == "undecodable_record"
    assert (rejected.body.encode() or b64decode(rejected.body_base64)) == value


def test_a_postback_whose_time_is_none_is_rejected() -> None:
    when = sent()
    when.received_at = "soon"
    assert [one.reason for one in correlated([record_of(when)]).rejected] == ["undecodable_record"]


def test_a_record_without_a_value_is_rejected() -> None:
    (rejected,) = correlated([Record(None)]).rejected
    assert rejected.reason == "empty_record"


@pytest.mark.parametrize("key", [None, b"", b"other/" + MESSAGE.encode(), b"\xff"])
def test_a_record_under_the_key_of_another_message_is_rejected(key: bytes | None) -> None:
    found = correlated([Record(encode(sent()), key)])
    assert found.changes == {}
    assert [rejected.reason for rejected in found.rejected] == ["foreign_key"]


def test_rejecting_a_record_again_gives_the_same_rejection() -> None:
    records = [Record(b"?", offset=8)]
    assert correlated(records).rejected == correlated(records).rejected


def test_records_at_other_places_are_other_rejections() -> None:
    ids = {
        correlate(cluster, topic, partition, {KEY: [Record(b"?", offset=offset)]}, [None])
        .rejected[0]
        .rejection_id
        for cluster in ("a", "b")
        for topic in TOPIC_OF.values()
        for partition in (0, 1)
        for offset in (0, 1)
    }
    assert len(ids) == 2 * 3 * 2 * 2


def test_of_a_huge_record_the_beginning_is_kept() -> None:
    (rejected,) = correlated([Record(b"x" * (KEPT_BYTES + 1))]).rejected
    assert len(rejected.body) == KEPT_BYTES
