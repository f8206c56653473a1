"""A record that is no postback, or no state, changes nothing but itself."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from msgspec import DecodeError, json

from gateway.postback import POSTBACK_TOPICS, RECEIPT, RESPONSE, SENT, TOPIC_OF, AnyPostback, encode
from gateway.rejected import MAX_KEY_BYTES
from gateway.topics import MAX_RECORD_BYTES
from streams.correlate import correlate
from streams.join import join
from streams.merge import merge, state_of
from streams.message import decode_message, encode_message
from streams.record_reader import MAX_REJECTED_BYTES
from streams.records import Correlated, group_by_key
from streams.state.changelog import Restored, keyed, restore
from streams.tables import MESSAGES_TABLE
from streams.versions import NewerVersion
from tests.support.hostile_records import KEY, keys, timestamps, values
from tests.support.postbacks import START, postbacks, receipt, reply, sent
from tests.support.records import FakeRecord

VALID = {SENT: encode(sent()), RESPONSE: encode(reply()), RECEIPT: encode(receipt())}
STATE = encode_message(merge(state_of(sent()), receipt()))

#: A postback with one field that is not as the contract says.
INVALID: dict[str, AnyPostback] = {
    "a day by its week": sent(received_at="2026-W48-1T04:39:41.123Z"),
    "a time without T": sent(received_at="2026-11-23 04:39:41.123Z"),
    "a time that ClickHouse refuses": sent(received_at="1999-12-31T23:59:59.999Z"),
    "a time beyond ClickHouse's": sent(received_at="2100-01-01T00:00:00.000Z"),
    "an invalid time of the provider": sent(occurred_at="soon"),
    "a time before the provider's": sent(occurred_at="1899-12-31T23:59:59.999Z"),
    "an invalid reply_id": reply(reply_id="x"),
    "a reply_id with a line break": reply(reply_id="9a35e913-ded0-7574-4642-5f60c550c706\n"),
    "an invalid backup_message_id": receipt(backup_message_id="x"),
    "an invalid message_id": sent(message_id="9A35E913"),
    "a long event_id": sent(event_id="e" * 33),
    "a long account": sent(account="a" * 65),
}


def correlated(topic: str, records: Sequence[FakeRecord]) -> Correlated:
    """Correlate the records with a store that has a value of its own for keys of no message."""
    grouped = group_by_key(records)
    return correlate("c", topic, 0, grouped, [None if key == KEY else b"17" for key in grouped], START)


@given(st.data(), st.sampled_from(POSTBACK_TOPICS), st.lists(postbacks, max_size=6), st.integers(0, 6))
def test_bad_record_is_rejected_and_others_unaffected(
    data: st.DataObject, topic: str, story: list[AnyPostback], place: int
) -> None:
    good = [
        FakeRecord(topic, offset=n, key=KEY, value=encode(postback))
        for n, postback in enumerate(story)
        if TOPIC_OF[type(postback)] == topic
    ]
    value = data.draw(st.none() | values(VALID[topic]))
    bad = FakeRecord(topic, offset=99, timestamp=data.draw(timestamps), key=data.draw(keys), value=value)
    found = correlated(topic, [*good[:place], bad, *good[place:]])
    assume(found.rejected)  # a few mutations are postbacks, too
    (rejected,) = found.rejected
    assert found.changes == correlated(topic, good).changes
    assert (rejected.offset, rejected.key) == (99, (bad.key or b"")[:MAX_KEY_BYTES].decode(errors="replace"))
    assert (b64decode(rejected.body_base64) or rejected.body.encode()) == (value or b"")


@pytest.mark.parametrize("name", INVALID)
def test_postback_that_would_spoil_a_state_is_rejected(name: str) -> None:
    postback = INVALID[name]
    key = f"{postback.account}/{postback.message_id}".encode()
    record = FakeRecord(TOPIC_OF[type(postback)], key=key, value=encode(postback))
    found = correlate("c", record.topic, 0, {key: [record]}, [None], START)
    assert [rejected.reason for rejected in found.rejected] == ["undecodable_record"]
    assert found.changes == {}


def test_deeply_nested_record_is_rejected() -> None:
    deep = VALID[SENT][:-1] + b',"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    found = correlated(SENT, [FakeRecord(key=KEY, value=deep)])
    assert [rejected.reason for rejected in found.rejected] == ["undecodable_record"]


def test_rejection_of_the_largest_record_fits_into_one() -> None:
    key, value = b"\x01" * MAX_RECORD_BYTES, b"\x01" * MAX_RECORD_BYTES  # each byte takes six in JSON
    (rejected,) = correlated(SENT, [FakeRecord(key=key, value=value)]).rejected
    assert MAX_REJECTED_BYTES <= len(encode(rejected)) < MAX_RECORD_BYTES


@given(st.lists(postbacks, min_size=1, max_size=5), keys, values(STATE), st.integers(0, 5))
def test_undecodable_state_is_skipped_in_restore(
    story: list[AnyPostback], key: bytes | None, value: bytes, place: int
) -> None:
    assume(key != KEY or not _is_state(value))
    good = [FakeRecord(key=KEY, value=encode_message(state_of(postback))) for postback in story]
    with_bad = _restored([*good[:place], FakeRecord(key=key, value=value), *good[place:]])
    assert with_bad.values[KEY] == _restored(good).values[KEY]
    for restored in with_bad.values.values():
        assert restored is None or encode_message(decode_message(restored))


def _is_state(value: bytes) -> bool:
    try:
        MESSAGES_TABLE.join(None, value)
    except (DecodeError, NewerVersion):
        return False
    return True


def _restored(records: Sequence[FakeRecord]) -> Restored:
    try:
        return restore(MESSAGES_TABLE.join, keyed(records), {})
    except NewerVersion:
        assume(False)
        raise


@pytest.mark.parametrize("key", [None, b"", b"\x00offset"])
def test_record_without_a_states_key_is_skipped(key: bytes | None) -> None:
    records = [
        FakeRecord(key=key, value=STATE),
        FakeRecord(key=key, value=None),
        FakeRecord(key=KEY, value=STATE),
    ]
    assert keyed(records) == [(KEY, STATE)]


@pytest.mark.parametrize("known", [None, STATE])
def test_restored_state_can_be_decoded_from_any_stack(known: bytes | None) -> None:
    for depth in range(600, 1000, 20):
        value = STATE[:-1] + b',"x":' + b"[" * depth + b"]" * depth + b"}"
        state = restore(MESSAGES_TABLE.join, [(KEY, value)], {KEY: known}).values[KEY]
        assert state is None or _at_depth(100, state) == decode_message(STATE)


def _at_depth(frames: int, value: bytes) -> Any:
    return _at_depth(frames - 1, value) if frames else decode_message(value)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "version": st.integers(-(2**70), 1),
            "reference_rank": st.integers(-(2**70), 2**70),
            **dict.fromkeys(["reference_id", "first_seen_at", "overdue_at", "replied_at"], st.text()),
        },
    ),
    st.lists(postbacks, max_size=3),
)
def test_whatever_decodes_can_be_joined_and_encoded(fields: dict[str, Any], story: list[AnyPostback]) -> None:
    state = decode_message(MESSAGES_TABLE.join(STATE, json.encode(json.decode(STATE) | fields)))
    for postback in story:
        state = join(merge(state, postback), state)
    assert decode_message(encode_message(state)) == state
