"""When messages become overdue and expire, by their state and a time alone."""

from __future__ import annotations

from datetime import timedelta

from streams.expiry import is_expired, mark_overdue, receipt_due
from streams.message import Message, join, state_of
from tests.support.postbacks import at, receipt, reply, sent

HOUR = timedelta(hours=1)
FROM_SHORT_CODE = state_of(sent(from_number="74121"))


def test_receipt_is_due_after_limit_for_short_code() -> None:
    assert receipt_due(FROM_SHORT_CODE, HOUR) == at(3600)


def test_no_receipt_is_due_for_long_number() -> None:
    assert receipt_due(state_of(sent(from_number="17575449510")), HOUR) is None


def test_no_receipt_is_due_for_refused_message() -> None:
    assert receipt_due(state_of(sent(ok=False, from_number="74121")), HOUR) is None


def test_message_becomes_overdue_at_deadline() -> None:
    assert mark_overdue(FROM_SHORT_CODE, HOUR, at(3599)) is FROM_SHORT_CODE
    marked = mark_overdue(FROM_SHORT_CODE, HOUR, at(3600))
    assert marked.overdue_at == at(3600)
    assert mark_overdue(marked, HOUR, at(9999)) is marked


def test_any_receipt_by_deadline_prevents_overdue() -> None:
    in_time = join(FROM_SHORT_CODE, state_of(receipt(second=3600, code="777")))
    assert mark_overdue(in_time, HOUR, at(9999)) is in_time


def test_timely_receipt_merged_late_clears_mark() -> None:
    marked = mark_overdue(FROM_SHORT_CODE, HOUR, at(4000))
    assert join(marked, state_of(receipt(second=3000))).overdue_at is None


def test_late_receipt_keeps_mark() -> None:
    marked = mark_overdue(FROM_SHORT_CODE, HOUR, at(4000))
    assert join(marked, state_of(receipt(second=3601))).overdue_at == at(3600)


def test_earlier_attempt_merged_late_advances_mark() -> None:
    marked = mark_overdue(FROM_SHORT_CODE, HOUR, at(4000))
    earlier = join(marked, state_of(sent("s0", -100, from_number="74121")))
    assert mark_overdue(earlier, HOUR, at(4000)).overdue_at == at(3500)


def test_message_expires_after_its_last_postback() -> None:
    message: Message = join(FROM_SHORT_CODE, state_of(reply(second=100)))
    assert not is_expired(message, HOUR, at(3699))
    assert is_expired(message, HOUR, at(3700))
