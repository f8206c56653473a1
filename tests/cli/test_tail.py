"""`postbacks tail`: decoding and filtering of changes."""

from __future__ import annotations

from cli.tail import MessageChange, MessageFilter, line_of, read_change
from streams.merge import state_of
from streams.message import encode_message
from tests.support.postbacks import receipt, sent
from tests.support.submissions import submission

MESSAGE = state_of(sent(from_number="17575449510", to_number="17575449511"))


def test_change_has_state_and_previous_status() -> None:
    headers = [("status", b"sent"), ("previous", b"retrying")]
    assert read_change(encode_message(MESSAGE), headers) == MessageChange("retrying", MESSAGE)


def test_new_message_has_no_previous_status() -> None:
    assert read_change(encode_message(MESSAGE), [("status", b"sent")]) == MessageChange("", MESSAGE)


def test_line_of_refused_message_says_why() -> None:
    refused = MessageChange("", state_of(submission(error=1)))
    assert "STOPfromPhoneNumber: The recipient has sent STOP" in line_of(refused).plain
    assert "STOP" not in line_of(MessageChange("", MESSAGE)).plain


def test_tombstone_is_skipped() -> None:
    assert read_change(None, []) is None


def test_undecodable_record_is_skipped() -> None:
    assert read_change(b"{}", []) is None
    deep = encode_message(MESSAGE)[:-1] + b',"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    assert read_change(deep, []) is None


def test_empty_filter_matches_everything() -> None:
    assert MessageFilter().matches(state_of(receipt()))


def test_filter_matches_account_status_and_digits() -> None:
    statuses = frozenset({"sent", "failed"})
    assert MessageFilter(account="acme", statuses=statuses, number="449511").matches(MESSAGE)
    assert not MessageFilter(account="other").matches(MESSAGE)
    assert not MessageFilter(statuses=frozenset({"failed"})).matches(MESSAGE)
    assert not MessageFilter(number="123").matches(MESSAGE)
