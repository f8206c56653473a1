"""Responses and submissions yield events of contacts; those are merged into contacts, or rejected."""

from __future__ import annotations

from functools import reduce
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from gateway.postback import RESPONSE, SENT, encode, key_of
from gateway.submission import SUBMISSIONS
from runtime.verdict import Policy
from streams.contact import CONTACT_VERSION, decode_contact, encode_contact, merge_contact
from streams.contact_event import (
    CONTACT_EVENTS,
    MAX_WORDS,
    ContactEvent,
    contact_key,
    decode_contact_event,
    encode_contact_event,
)
from streams.correlate import correlate
from streams.correlate_contacts import MAX_MARKS, correlate_contacts
from streams.merge import Event, state_of
from streams.message import encode_message
from streams.records import Appended, Correlated, group_by_key
from streams.state.changelog import restore
from streams.state.spec import Headers
from streams.tables import CONTACTS_TABLE
from streams.topics import RECORD_BYTES
from streams.verdict import verdict
from streams.versions import NewerVersion
from tests.support.contact_events import contact_event, contact_events
from tests.support.postbacks import START, at, reply, sent
from tests.support.submissions import submission

HANDSET, OURS = "17575550100", "74121"
KEY = b"acme/7575550100"


class Record(NamedTuple):
    value: bytes | None
    key: bytes | None = KEY
    offset: int = 0
    timestamp: int = 1_795_431_581_123
    headers: Headers = []  # noqa: RUF012


def appended(event: Event, topic: str, known: bytes | None = None, **options: Any) -> list[Appended]:
    """What correlating the event appends to other topics."""
    key = key_of(event.account, event.message_id or event.event_id)
    records = group_by_key([Record(encode(event), key)])
    return correlate("cluster", topic, 0, records, [known], START, **options).appended


def stop(text: str = "STOP", **others: Any) -> Any:
    return reply(text=text, from_number=HANDSET, to_number=OURS, **others)


def merged(records: list[Record], known: bytes | None = None) -> Correlated:
    grouped = group_by_key(records)
    return correlate_contacts("cluster", CONTACT_EVENTS, 3, grouped, [known] * len(grouped), START)


def record_of(event: ContactEvent, offset: int = 0) -> Record:
    return Record(encode_contact_event(event), contact_key(event.account, event.number), offset)


# -- correlating postbacks and submissions


def test_response_with_stop_is_an_opt_out() -> None:
    (found,) = appended(stop(occurred_at=at(0)), RESPONSE)
    assert (found.topic, found.key) == (CONTACT_EVENTS, KEY)
    event = decode_contact_event(found.value)
    assert (event.event_id, event.signal, event.words) == ("a1", "opted_out", "STOP")
    assert (event.number, event.own_number, event.occurred_at) == ("7575550100", OURS, at(0))


@pytest.mark.parametrize("text", ["Ack", "", "Thanks, got it"])
def test_ordinary_response_yields_no_event(text: str) -> None:
    assert appended(stop(text), RESPONSE) == []


def test_words_of_the_setting_opt_out() -> None:
    assert appended(stop("adios"), RESPONSE) == []
    (found,) = appended(stop("adios"), RESPONSE, opt_out_words=["ADIOS"])
    assert decode_contact_event(found.value).signal == "opted_out"


def test_merged_response_yields_its_event_again() -> None:
    event = stop()
    assert appended(event, RESPONSE, encode_message(state_of(event))) == appended(event, RESPONSE)


@pytest.mark.parametrize("message_id", [None, "9a35e913-ded0-7574-4642-5f60c550c706"])
def test_submission_refused_after_stop_is_an_opt_out(message_id: str | None) -> None:
    refused = submission(error=1, message_id=message_id, from_number=OURS, to_number=HANDSET)
    (found,) = appended(refused, SUBMISSIONS)
    event = decode_contact_event(found.value)
    assert (found.key, event.signal, event.source) == (KEY, "opted_out", "submission")


@pytest.mark.parametrize(
    ("event", "topic"),
    [(submission(error=3, to_number=HANDSET), SUBMISSIONS), (sent(to_number=HANDSET), SENT)],
)
def test_other_events_yield_none(event: Event, topic: str) -> None:
    assert appended(event, topic) == []


# -- correlating events of contacts


@given(st.lists(contact_events(), min_size=1, max_size=8), st.integers(0, 8))
def test_any_split_into_batches_yields_the_fold(story: list[ContactEvent], cut: int) -> None:
    value: bytes | None = None
    for batch in (story[:cut], story[cut:]):
        changes = merged([record_of(event) for event in batch], value).changes
        value = changes[KEY].value if changes else value
    first, *others = story
    assert value == encode_contact(reduce(merge_contact, others, merge_contact(None, first)))


def test_merged_event_yields_no_change() -> None:
    known = encode_contact(merge_contact(None, contact_event()))
    assert merged([record_of(contact_event())] * 2, known) == Correlated({}, [], [])


def test_invalid_event_is_rejected_and_others_are_merged() -> None:
    foreign = replace(contact_event(), number="7575550199")
    records = [
        record_of(contact_event(), 7),
        Record(b"nope", offset=8),
        Record(None, offset=9),
        Record(encode_contact_event(foreign), offset=10),
        Record(encode_contact_event(contact_event(received_at="soon")), offset=11),
    ]
    found = merged(records)
    assert found.changes[KEY].value == encode_contact(merge_contact(None, contact_event()))
    assert [(one.topic, one.partition, one.offset, one.reason) for one in found.rejected] == [
        (CONTACT_EVENTS, 3, 8, "undecodable_record"),
        (CONTACT_EVENTS, 3, 9, "empty_record"),
        (CONTACT_EVENTS, 3, 10, "foreign_key"),
        (CONTACT_EVENTS, 3, 11, "undecodable_record"),
    ]


@pytest.mark.parametrize("timed", [True, False])
def test_contact_fits_into_a_record(timed: bool) -> None:
    """Whatever its sender writes, and however many numbers of ours the events name; no opt-out is lost."""
    words = "STOP" + "\x01" * (MAX_WORDS - 4)
    events = [
        contact_event(
            f"{n:032x}", n, own_number=f"{n:032}", words=words, occurred_at=at(n) if timed else None
        )
        for n in range(MAX_MARKS + 50)
    ]
    value = merged([record_of(event) for event in events]).changes[KEY].value
    assert value is not None
    assert len(value) < RECORD_BYTES * 0.75
    state = decode_contact(value)
    assert {verdict(state, event.own_number, Policy("number")).verdict for event in events} == {"opted_out"}
    assert merged([record_of(event) for event in events[-60:]], value) == Correlated({}, [], [])
    start = contact_event("start", 9999, "opted_in", own_number="4045550199", words="START")
    value = merged([record_of(start)], value).changes[KEY].value or b""
    assert verdict(decode_contact(value), "4045550199", Policy("number")).verdict == "opted_out"


def test_contact_of_newer_version_is_refused() -> None:
    newer = replace(merge_contact(None, contact_event()), version=CONTACT_VERSION + 1)
    with pytest.raises(NewerVersion, match=f"format {CONTACT_VERSION + 1}"):
        merged([record_of(contact_event())], encode_contact(newer))


# -- restoring contacts


def test_records_of_a_contact_are_joined() -> None:
    first, second = (merge_contact(None, contact_event(f"e{n}", n)) for n in range(2))
    both = encode_contact(merge_contact(first, contact_event("e1", 1)))
    values = [encode_contact(first), encode_contact(second)]
    restored = restore(CONTACTS_TABLE.join, [(KEY, value) for value in values], {})
    assert (restored.values, restored.stale) == ({KEY: both}, {KEY})
    assert CONTACTS_TABLE.rewrite(both).value == both


@pytest.mark.parametrize("field", ["received_at", "occurred_at"])
def test_contact_with_invalid_times_is_skipped(field: str) -> None:
    times: dict[str, Any] = {field: "2026-11-31T00:00:00.000Z"}
    invalid = encode_contact(merge_contact(None, contact_event(**times)))
    assert decode_contact(invalid)
    assert restore(CONTACTS_TABLE.join, [(KEY, invalid)], {}).values == {KEY: None}
