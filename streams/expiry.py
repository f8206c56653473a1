"""When a message becomes overdue, and when its state expires: pure functions of the state and a time.

Overdue: sent from a short code (other numbers get no receipts) and no receipt within the limit. This is
derived and reversible: `overdue_at` is the deadline that was missed, and a receipt that was received by then
but merged later clears it (`streams.message.join`).
"""

from __future__ import annotations

from copy import copy
from datetime import datetime, timedelta

from gateway.postback import Time, format_time
from streams.message import Message

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
    if due is None or due > now:
        return message
    marked = copy(message)
    marked.overdue_at = due
    return marked


def is_expired(message: Message, expire_after: timedelta, now: Time) -> bool:
    """Whether the last postback is so old that streams drops the state; ClickHouse keeps it."""
    return message.last_seen_at <= format_time(datetime.fromisoformat(now) - expire_after)
