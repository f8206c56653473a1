"""When a message becomes overdue or unsent, and when it expires: pure functions of its state and a time.

Overdue: sent from a short code (other numbers get no receipts) and no receipt within the limit. This is
derived and reversible: `overdue_at` is the deadline that was missed, and a receipt that was received by then
but merged later clears it (`streams/join.py`).

Unsent: queued, and neither an attempt nor a receipt within the limit of the later of submission and scheduled
time. `unsent_at` is derived and cleared likewise; a refusal, or a later scheduled time, clears it, too.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from msgspec.structs import replace

from gateway.postback import Time, format_time
from streams.message import Message
from streams.status import is_unsent

SHORT_CODE_DIGITS = (5, 6)


def receipt_due(message: Message, limit: timedelta) -> Time | None:
    """Return when a receipt is due; None if none is expected, or if the message is marked overdue already."""
    if message.sent_at is None or len(message.from_number) not in SHORT_CODE_DIGITS:
        return None
    due = format_time(datetime.fromisoformat(message.sent_at) + limit)
    if message.receipts and message.receipts[0].received_at <= due:
        return None
    return due if message.overdue_at is None or due < message.overdue_at else None


def mark_overdue(message: Message, limit: timedelta, now: Time) -> Message:
    """Return the message with `overdue_at` set if its receipt was due by now; else the same object."""
    due = receipt_due(message, limit)
    return message if due is None or due > now else replace(message, overdue_at=due)


def attempt_due(message: Message, limit: timedelta) -> Time | None:
    """Return when an attempt is due; None if none is expected, or if the message is marked unsent already."""
    if message.submitted_at is None or not any(fact.queued for fact in message.submissions):
        return None
    start = max(message.submitted_at, message.scheduled_for or "")
    due = format_time(datetime.fromisoformat(start) + limit)
    if not is_unsent(message, due):
        return None
    return due if message.unsent_at is None or due < message.unsent_at else None


def mark_unsent(message: Message, limit: timedelta, now: Time) -> Message:
    """Return the message with `unsent_at` set if its attempt was due by now; else the same object."""
    due = attempt_due(message, limit)
    return message if due is None or due > now else replace(message, unsent_at=due)


def is_expired(message: Message, expire_after: timedelta, now: Time) -> bool:
    """Whether the last event and the scheduled time are so old that streams drops the state.

    ClickHouse keeps it.
    """
    return max(message.last_seen_at, message.scheduled_for or "") <= format_time(
        datetime.fromisoformat(now) - expire_after
    )
