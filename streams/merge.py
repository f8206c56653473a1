"""Merges an event, a postback or a submission, into the state of its message.

Merging is joining with the state that follows from the event alone, without making that state.
"""

from __future__ import annotations

from typing import TypeAlias

from msgspec.structs import replace

from gateway.postback import AnyPostback, Receipt, Response, Sent
from gateway.sms_errors import NO_ERROR
from gateway.submission import Submission
from streams.facts import Attempt, ReceiptFact, Reply, SubmissionFact, with_fact
from streams.join import earliest, join_identity, widen_seen
from streams.message import Message
from streams.receipt_codes import CODES
from streams.status import derive

#: What a state is merged with.
Event: TypeAlias = AnyPostback | Submission
#: Characters of a text, and of a number or a code. These caps keep a message below Kafka's record limit;
#: they affect no status and no time.
MAX_TEXT, MAX_NUMBER = 1000, 32


def merge(state: Message | None, event: Event) -> Message:
    """Return the state including the event; the same object if the event adds nothing."""
    if state is None:
        return state_of(event)
    after = _apply(replace(state), event)  # copies faster than `copy`
    return state if after == state else after


def state_of(event: Event) -> Message:
    """Return the state that follows from this event alone.

    Raises:
        ValueError: it is a submission without a message_id, which is about no message.
    """
    if event.message_id is None:
        raise ValueError("a submission without a message_id is about no message")
    initial = Message(
        version=1,
        message_id=event.message_id,
        account=event.account,
        direction="inbound",
        first_seen_at=event.received_at,
        last_seen_at=event.received_at,
    )
    return _apply(initial, event)


def _apply(state: Message, event: Event) -> Message:
    """Do `join(state, state_of(event))` without a second state: modify `state`, but not its lists."""
    at = event.received_at
    from_number, to_number = event.from_number[:MAX_NUMBER], event.to_number[:MAX_NUMBER]
    if isinstance(event, Sent):
        rank = 0
        state.direction = "outbound"
        attempt = Attempt(
            received_at=at,
            event_id=event.event_id,
            sent=event.sent,
            occurred_at=event.occurred_at,
        )
        state.attempts = with_fact(state.attempts, attempt)
        if event.sent:
            state.sent_at = earliest(state.sent_at, at)
    elif isinstance(event, Receipt):
        rank = 1
        state.direction = "outbound"
        receipt = ReceiptFact(
            received_at=at,
            event_id=event.event_id,
            code=event.code[:MAX_NUMBER],
            text=event.text[:MAX_TEXT],
            backup_message_id=event.backup_message_id,
        )
        state.receipts = with_fact(state.receipts, receipt)
        if known := CODES.get(event.code):
            if known.meaning == "delivered":
                state.delivered_at = earliest(state.delivered_at, at)
            elif known.meaning == "failed":
                state.failed_at = earliest(state.failed_at, at)
            else:
                state.carrier_at = earliest(state.carrier_at, at)
    elif isinstance(event, Response):
        rank = 2
        reply = Reply(
            received_at=at,
            event_id=event.event_id,
            text=event.text[:MAX_TEXT],
            reply_id=event.reply_id,
            occurred_at=event.occurred_at,
        )
        state.replies = with_fact(state.replies, reply)
        if event.matched:  # a reply travels in the opposite direction to the message it answers
            state.direction = "outbound"
            from_number, to_number = to_number, from_number
            state.replied_at = earliest(state.replied_at, at)
    else:
        rank = 3
        _apply_submission(state, event)
    join_identity(state, (rank, event.reference_id[:MAX_TEXT]), (rank, from_number), (rank, to_number))
    widen_seen(state, at, at)
    return derive(state)


def _apply_submission(state: Message, submission: Submission) -> None:
    at = submission.received_at
    error = ""
    if submission.error != NO_ERROR:
        error = (submission.error_name or str(submission.error))[:MAX_NUMBER]
    fact = SubmissionFact(
        received_at=at,
        event_id=submission.event_id,
        queued=submission.queued,
        error=error,
        cancelled=submission.cancelled,
    )
    state.version = max(state.version, 2)
    state.direction = "outbound"
    state.submissions = with_fact(state.submissions, fact)
    state.submitted_at = earliest(state.submitted_at, at)
    if submission.cancelled:
        state.withdrawn_at = earliest(state.withdrawn_at, at)
    state.submission_error = max(state.submission_error, error)
    if submission.scheduled_for is not None and submission.scheduled_for > (state.scheduled_for or ""):
        state.scheduled_for, state.unsent_at = submission.scheduled_for, None
    state.text = max(state.text, submission.text[:MAX_TEXT])
