"""When messages become overdue and expire, by their state and a time alone."""

from __future__ import annotations

from datetime import timedelta

import pytest

from streams.expiry import attempt_due, is_expired, mark_overdue, mark_unsent, receipt_due
from streams.join import join
from streams.merge import Event, merge, state_of
from streams.message import Message
from tests.support.postbacks import at, receipt, reply, sent
from tests.support.submissions import submission

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


SUBMITTED = state_of(submission())


def test_attempt_is_due_after_later_of_submission_and_schedule() -> None:
    assert attempt_due(SUBMITTED, HOUR) == at(3600)
    assert attempt_due(state_of(submission(scheduled_for=at(100))), HOUR) == at(3700)
    assert attempt_due(state_of(submission(scheduled_for=at(-100))), HOUR) == at(3600)


def test_no_attempt_is_due_without_queued_submission() -> None:
    assert attempt_due(FROM_SHORT_CODE, HOUR) is None
    assert attempt_due(state_of(submission(error=3)), HOUR) is None
    assert attempt_due(state_of(submission(queued=False)), HOUR) is None
    assert attempt_due(state_of(submission(cancelled=True)), HOUR) is None


def test_message_becomes_unsent_at_deadline() -> None:
    assert mark_unsent(SUBMITTED, HOUR, at(3599)) is SUBMITTED
    marked = mark_unsent(SUBMITTED, HOUR, at(3600))
    assert (marked.unsent_at, marked.status) == (at(3600), "submitted")
    assert mark_unsent(marked, HOUR, at(9999)) is marked


@pytest.mark.parametrize(
    "event",
    [
        sent(second=3600),
        sent(second=3600, ok=False),
        receipt(second=3600, code="777"),
        submission("u2", 9999, error=3),
        submission("u3", 9999, cancelled=True),
        submission(second=9999, scheduled_for=at(3000)),
    ],
)
def test_what_contradicts_unsent_clears_mark(event: Event) -> None:
    marked = mark_unsent(SUBMITTED, HOUR, at(4000))
    assert merge(marked, event).unsent_at is None
    assert join(state_of(event), marked).unsent_at is None


def test_attempt_after_deadline_keeps_unsent_mark() -> None:
    marked = mark_unsent(SUBMITTED, HOUR, at(4000))
    assert merge(marked, sent(second=3601)).unsent_at == at(3600)
    assert merge(marked, reply(second=1)).unsent_at == at(3600), "a reply is no attempt"


def test_scheduled_message_expires_after_its_time() -> None:
    message = state_of(submission(scheduled_for=at(7200)))
    assert not is_expired(message, HOUR, at(7200 + 3599))
    assert is_expired(message, HOUR, at(7200 + 3600))
