"""A message's timeline, as text."""

from __future__ import annotations

from functools import reduce
from typing import Any

import pytest
from msgspec import convert

from operations.auto_responses import LinkedResponse
from operations.message_chain import LinkedMessage, chain_position
from operations.timeline import STATUS_COLOURS, STATUS_MEANINGS, entries, printable, render
from streams.auto_response import Outcome
from streams.merge import Event, merge
from streams.message import STATUSES, Message
from tests.support.auto_responses import NEW_ID
from tests.support.message_chains import guid, retried
from tests.support.postbacks import MESSAGE_ID, at, receipt, reply, sent
from tests.support.submissions import submission


def message(*events: Event) -> Message:
    state = reduce(merge, events, None)
    assert state is not None
    return state


def page(state: Message) -> str:
    return "\n".join(line.plain for line in render(state))


def test_submission_comes_first_with_its_text_and_time() -> None:
    state = message(
        sent(second=5),
        submission(text="Hello\x1b", scheduled_for=at(3)),
        submission("u2", 1, error=3),
        submission("u3", 2, cancelled=True),
    )
    labels = [entry.label for entry in entries(state)]
    assert labels == ["submitted", "refused", "withdrawn", "sent"]
    text = page(state)
    assert "by the provider: PhoneNumberInvalid: " in text
    assert "Correct the number" in text
    assert "text        Hello\\x1b" in text
    assert "scheduled   for 2026-11-23 12:00:03.000" in text


def test_failed_message_says_why_and_what_to_do() -> None:
    text = page(message(sent(), receipt(code="024"), receipt("r2", 1, code="003")))
    assert "reason      024 Undeliverable: The carrier cannot deliver it to this phone" in text
    assert "Check that the number is a mobile phone" in text


def test_entries_are_in_order_of_arrival() -> None:
    state = message(
        receipt("r2", 9, code="000"),
        reply(second=60, text="Ak"),
        sent(second=0),
        receipt("r1", 5, code="003"),
    )
    assert [entry.label for entry in entries(state)] == ["sent", "receipt 003", "receipt 000", "reply"]
    assert [entry.at for entry in entries(state)] == [at(0), at(5), at(9), at(60)]


def test_receipt_shows_name_and_meaning_of_its_code() -> None:
    text = page(message(sent(), receipt(code="091", second=1), receipt("r2", 2, code="777")))
    assert "receipt 091 InvalidRouting (failed)" in " ".join(text.split())
    assert "receipt 777 code not in the provider's list" in " ".join(text.split())


def test_receipt_shows_the_labelled_parts_of_its_text() -> None:
    text = (
        "sm: msg: id:18579674100201040 sub:001 dlvrd:001 submit date:1209281334 done date:1209281334 "
        "stat:DELIVERED TO CARRIER err:003 text:"
    )
    (entry,) = entries(message(receipt(text=text)))
    assert entry.detail == (
        "DeliveredToCarrier (in transit); stat DELIVERED TO CARRIER; err 003; "
        "submit date 1209281334; done date 1209281334"
    )


def test_refusals_are_numbered_up_to_three() -> None:
    state = message(*(sent(f"s{n}", n, ok=False) for n in range(3)))
    assert [entry.label for entry in entries(state)] == ["refused"] * 3
    assert "attempt 3 of 3" in entries(state)[-1].detail
    assert "cancelled" in render(state)[0].plain


def test_attempt_shows_the_providers_time() -> None:
    (entry,) = entries(message(sent(occurred_at="2010-05-08T02:42:36.000Z")))
    assert entry.detail == "handed to the aggregator; provider's clock 2010-05-08 02:42:36.000"


def test_backup_message_is_in_header_and_receipt() -> None:
    backup = "f880e00b-3a14-484c-80e7-ca6aa29a2f7a"
    state = message(sent(), receipt(code="091", second=1, backup_message_id=backup))
    assert f"sent again as {backup}" in entries(state)[1].detail
    assert f"backup      {backup}" in page(state)


def test_retried_message_shows_its_chain_and_result() -> None:
    story = [retried(1, 2), retried(2, code="000", second=60)]
    linked = [convert(each, LinkedMessage, from_attributes=True) for each in story]
    first, retry = (
        "\n".join(line.plain for line in render(each, (), chain_position(linked, each.message_id)))
        for each in story
    )
    assert f"backup      {guid(2)}" in first
    assert "retry of" not in first
    assert "chain       message 1 of 2; end result delivered: delivered to the phone" in first
    assert f"retry of    {guid(1)}" in retry
    assert "chain       message 2 of 2; end result delivered: delivered to the phone" in retry


def test_overdue_receipt_is_an_entry() -> None:
    state = message(sent(from_number="74121"))
    state.overdue_at = at(72 * 3600)
    assert [entry.label for entry in entries(state)] == ["sent", "overdue"]
    assert "+3.0 days" in page(state)


def test_numbers_and_reference_are_shown_in_full() -> None:
    text = page(message(sent(from_number="17575449510", to_number="17575449511", reference_id="12345")))
    for value in ("17575449510", "17575449511", "12345", MESSAGE_ID, "acme"):
        assert value in text


def test_inbound_message_shows_sender_and_text() -> None:
    state = message(reply(matched=False, from_number="17575449511", text="Hello"))
    (entry,) = entries(state)
    assert (entry.label, entry.detail) == ("received", "“Hello” from 17575449511")


def test_reply_comes_from_the_recipient() -> None:
    state = message(sent(to_number="17575449511"), reply(second=1, text="Ak", from_number="17575449511"))
    assert entries(state)[1].detail == "“Ak” from 17575449511"


def linked(outcome: Outcome, **others: Any) -> LinkedResponse:
    fields: dict[str, Any] = {
        "account": "acme",
        "decided_at": at(2),
        "at": at(3),
        "rule": "hours",
        "reason": "",
        "error": "",
        "answered_message_id": MESSAGE_ID,
        "message_id": None,
    } | others
    return LinkedResponse(outcome=outcome, **fields)


@pytest.mark.parametrize(
    ("response", "detail"),
    [
        (linked("accepted", message_id=NEW_ID), f"rule hours → message {NEW_ID}"),
        (linked("refused", error="3"), "rule hours, refused by the provider: PhoneNumberInvalid"),
        (linked("unknown"), "rule hours; it may have been sent or not"),
        (linked("not_sent", reason="contact_opted_out"), "rule hours, not sent: the sender has opted out"),
        (linked("intent"), "rule hours, being sent"),
    ],
)
def test_answered_message_shows_the_automatic_response(response: LinkedResponse, detail: str) -> None:
    others = linked("accepted", account="other")
    *_, entry = entries(message(sent(), reply(second=1)), [others, response])
    assert (entry.at, entry.label) == (at(2), "answered")
    assert entry.detail.startswith(f"automatic response: {detail}")


@pytest.mark.parametrize(
    ("rule", "reason", "detail"),
    [
        ("", "no_rule", "none: no rule matches"),
        ("hours", "dry_run", "rule hours, none: it was a dry run"),
        ("", "reason_of_a_newer_version", "none: reason of a newer version"),
    ],
)
def test_unanswered_message_shows_why(rule: str, reason: str, detail: str) -> None:
    declined = linked("declined", rule=rule, reason=reason)
    *_, entry = entries(message(reply(matched=False, second=1)), [declined])
    assert (entry.label, entry.detail) == ("no answer", f"automatic response: {detail}")


def test_automatic_response_shows_what_it_answers() -> None:
    (entry, _) = entries(message(sent(second=4, message_id=NEW_ID)), [linked("accepted", message_id=NEW_ID)])
    assert entry.detail == f"automatic response: rule hours, to message {MESSAGE_ID}"


def test_control_characters_are_escaped() -> None:
    text = page(message(reply(text="\x1b[2J\x07\rnice\n\u202etry", reference_id="a\x1b[31m")))
    assert not {"\x1b", "\x07", "\r", "\u202e"} & set(text)
    assert "\\x1b[2J" in text


def test_printable_text_is_unchanged() -> None:
    assert printable("Grüße, 你好 👍") == "Grüße, 你好 👍"


def test_every_status_has_meaning_and_colour() -> None:
    assert set(STATUS_MEANINGS) == set(STATUS_COLOURS) == set(STATUSES)
