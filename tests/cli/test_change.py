"""Which changes `postbacks tail` shows."""

from __future__ import annotations

from cli.change import Change, Filter, read_change
from streams.message import encode_message, state_of
from tests.support.postbacks import receipt, sent

MESSAGE = state_of(sent(from_number="17575449510", to_number="17575449511"))


def test_a_record_tells_the_state_and_the_status_before() -> None:
    headers = [("status", b"sent"), ("previous", b"retrying")]
    assert read_change(encode_message(MESSAGE), headers) == Change("retrying", MESSAGE)


def test_a_message_that_was_not_known_has_no_status_before() -> None:
    assert read_change(encode_message(MESSAGE), [("status", b"sent")]) == Change("", MESSAGE)


def test_a_tombstone_is_no_change() -> None:
    assert read_change(None, []) is None


def test_a_record_that_is_no_message_is_passed_over() -> None:
    assert read_change(b"{}", []) is None


def test_without_a_filter_everything_is_shown() -> None:
    assert Filter().lets_through(Change("", state_of(receipt())))


def test_filters_take_account_status_and_the_digits_of_a_number() -> None:
    change = Change("", MESSAGE)
    assert Filter(account="acme", statuses=frozenset({"sent", "failed"}), number="449511").lets_through(
        change
    )
    assert not Filter(account="other").lets_through(change)
    assert not Filter(statuses=frozenset({"failed"})).lets_through(change)
    assert not Filter(number="123").lets_through(change)
