"""When a message is overdue, and when it is let go: pure functions of its state and a time.

Overdue means: sent from a short code (others get no receipts), and no receipt came within the limit. It is
derived, never counted: `overdue_at` is the time that passed in vain, and a receipt that was received before
it, but got here later, takes it back (`streams.message.join`).
"""

from __future__ import annotations

from copy import copy
from datetime import datetime, timedelta

from gateway.postback import Time, format_time
from streams.message import Message

SHORT_CODE_DIGITS = (5, 6)


def receipt_due(message: Message, limit: timedelta) -> Time | None:
    """Until when a receipt should have come; null when none is awaited, or its lack is marked already."""
    if message.sent_at is None or len(message.from_number) not in SHORT_CODE_DIGITS:
        return None
    due = format_time(datetime.fromisoformat(message.sent_at) + limit)
    if message.receipts and message.receipts[0].received_at <= due:
        return None
    return due if message.overdue_at is None or due < message.overdue_at else None


def mark_overdue(message: Message, limit: timedelta, now: Time) -> Message:
    """The message with `overdue_at` set if a receipt was due by now; else the very same object."""
    due = receipt_due(message, limit)
    if due is None or due > now:
        return message
    marked = copy(message)
    marked.overdue_at = due
    return marked


def is_expired(message: Message, keep: timedelta, now: Time) -> bool:
    """Whether nothing was heard of it for so long that streams forgets it (ClickHouse does not)."""
    return message.last_seen_at <= format_time(datetime.fromisoformat(now) - keep)
