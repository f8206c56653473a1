"""Overdue and let go: what follows from a state and a time alone."""

from __future__ import annotations

from datetime import timedelta

from streams.expiry import is_expired, mark_overdue, receipt_due
from streams.message import Message, join, state_of
from tests.support.postbacks import at, receipt, reply, sent

HOUR = timedelta(hours=1)
FROM_SHORT_CODE = state_of(sent(from_number="74121"))


def test_a_receipt_is_due_a_while_after_a_short_code_sent() -> None:
    assert receipt_due(FROM_SHORT_CODE, HOUR) == at(3600)


def test_long_numbers_get_no_receipts_so_none_is_missed() -> None:
    assert receipt_due(state_of(sent(from_number="17575449510")), HOUR) is None


def test_a_refused_message_waits_for_no_receipt() -> None:
    assert receipt_due(state_of(sent(ok=False, from_number="74121")), HOUR) is None


def test_a_message_is_overdue_once_the_time_has_passed_and_not_before() -> None:
    assert mark_overdue(FROM_SHORT_CODE, HOUR, at(3599)) is FROM_SHORT_CODE
    marked = mark_overdue(FROM_SHORT_CODE, HOUR, at(3600))
    assert marked.overdue_at == at(3600)
    assert mark_overdue(marked, HOUR, at(9999)) is marked


def test_any_receipt_in_time_is_enough() -> None:
    in_time = join(FROM_SHORT_CODE, state_of(receipt(second=3600, code="777")))
    assert mark_overdue(in_time, HOUR, at(9999)) is in_time


def test_a_receipt_that_lagged_takes_the_mark_back() -> None:
    marked = mark_overdue(FROM_SHORT_CODE, HOUR, at(4000))
    assert join(marked, state_of(receipt(second=3000))).overdue_at is None


def test_a_receipt_that_really_came_late_does_not() -> None:
    marked = mark_overdue(FROM_SHORT_CODE, HOUR, at(4000))
    assert join(marked, state_of(receipt(second=3601))).overdue_at == at(3600)


def test_an_earlier_attempt_that_is_learned_late_moves_the_mark_forward() -> None:
    marked = mark_overdue(FROM_SHORT_CODE, HOUR, at(4000))
    earlier = join(marked, state_of(sent("s0", -100, from_number="74121")))
    assert mark_overdue(earlier, HOUR, at(4000)).overdue_at == at(3500)


def test_a_message_is_let_go_a_while_after_the_last_that_was_heard_of_it() -> None:
    message: Message = join(FROM_SHORT_CODE, state_of(reply(second=100)))
    assert not is_expired(message, HOUR, at(3699))
    assert is_expired(message, HOUR, at(3700))
