"""Responses and submissions become events of a contact, and others' records are checked."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from msgspec import DecodeError, json
from msgspec.structs import replace

from streams.contact_event import (
    ContactEvent,
    contact_event_of_response,
    contact_event_of_submission,
    contact_key,
    decode_contact_event,
    encode_contact_event,
)
from tests.support.contact_events import contact_event, contact_events
from tests.support.postbacks import MESSAGE_ID, at, reply
from tests.support.submissions import submission


@given(contact_events())
def test_event_of_a_contact_survives_encoding(event: ContactEvent) -> None:
    assert decode_contact_event(encode_contact_event(event)) == event


@pytest.mark.parametrize("value", [b"", b"\xff", b"[]", b"{}", b'{"words":"\xff"}', b"[" * 100_000])
def test_record_that_is_no_event_is_refused(value: bytes) -> None:
    with pytest.raises(DecodeError):
        decode_contact_event(value)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("received_at", "2026-11-23"),
        ("received_at", "1999-11-23T12:00:00.000Z"),
        ("event_id", "e" * 33),
        ("account", "a" * 65),
        ("number", ""),
        ("number", "17575550100"),
        ("number", "+7575550100"),
        ("number", "7" * 33),
        ("own_number", "17575550100"),
        ("words", "w" * 161),
        ("source_name", "s" * 65),
        ("occurred_at", "yesterday"),
        ("occurred_at", "2300-01-01T00:00:00.000Z"),
        ("message_id", "42"),
        ("signal", "maybe"),
        ("source", "rumour"),
    ],
)
def test_event_with_invalid_field_is_refused(field: str, value: str) -> None:
    record = json.decode(encode_contact_event(contact_event())) | {field: value}
    with pytest.raises(DecodeError, match=field):
        decode_contact_event(json.encode(record))


# -- of a response


def test_handset_is_the_sender_of_a_response() -> None:
    response = reply("a1", 5, from_number="17575550100", to_number="74121", occurred_at=at(4), reply_id="r")
    assert contact_event_of_response(response, "opted_out", "Stop!") == ContactEvent(
        event_id="a1",
        account="acme",
        number="7575550100",
        own_number="74121",
        signal="opted_out",
        words="Stop!",
        source="response",
        occurred_at=at(4),
        received_at=at(5),
        message_id="r",
    )


def test_response_without_reply_id_names_its_message() -> None:
    event = contact_event_of_response(reply(from_number="7575550100"), "opted_in", "START")
    assert event is not None
    assert event.message_id == MESSAGE_ID


def test_words_of_event_are_capped() -> None:
    event = contact_event_of_response(reply(from_number="7575550100"), "suspected", "stop " * 100)
    assert event is not None
    assert len(event.words) == 160
    assert decode_contact_event(encode_contact_event(event)) == event


@pytest.mark.parametrize("number", ["", "anonymous"])
def test_response_without_sender_is_no_event(number: str) -> None:
    assert contact_event_of_response(reply(from_number=number), "opted_out", "STOP") is None


# -- of a submission


BLOCKED: dict[str, Any] = {"error": 1, "from_number": "17575449510", "to_number": "17575550100"}


def test_blocked_submission_is_an_untimed_opt_out() -> None:
    blocked = submission("u1", 5, occurred_at=at(4), **BLOCKED)
    assert contact_event_of_submission(blocked) == ContactEvent(
        event_id="u1",
        account="acme",
        number="7575550100",
        own_number="7575449510",
        signal="opted_out",
        words="STOPfromPhoneNumber",
        source="submission",
        received_at=at(5),
        message_id=MESSAGE_ID,
    )


@pytest.mark.parametrize("others", [{"error": 0}, {"error": 3}, {"error": None}, {"to_number": ""}])
def test_other_submissions_are_no_opt_out(others: dict[str, Any]) -> None:
    assert contact_event_of_submission(submission(**(BLOCKED | others))) is None


def test_refusals_without_message_id_are_events_by_time() -> None:
    refusal = submission("u1", 5, message_id=None, **BLOCKED)
    later = replace(refusal, received_at=at(6))
    ids = [event.event_id for s in (refusal, refusal, later) if (event := contact_event_of_submission(s))]
    assert ids[0] == ids[1] != ids[2]
    assert len(ids[0]) == len(ids[2]) == 32


def test_key_of_contact_keeps_accounts_apart() -> None:
    assert contact_key("acme", "7575550100") == b"acme/7575550100"
