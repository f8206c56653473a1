"""Moments as people type them: a time, or how long ago. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

_AGO = re.compile(r"(\d+)\s*(s|m|h|d|w)")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
ALLOWED = "a time in UTC (2026-11-23, 2026-11-23T12:00), one with a zone, or how long ago: 30m, 6h, 7d"


def parse_time(text: str, now: datetime) -> datetime:
    """The moment that is meant, in UTC.

    Raises:
        ValueError: it is none; says what is allowed.
    """
    if ago := _AGO.fullmatch(text.strip().lower()):
        try:
            return now - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        except OverflowError:
            raise ValueError(f"{text!r} is too long ago") from None
    try:
        at = datetime.fromisoformat(text.strip())
    except ValueError:
        raise ValueError(f"{text!r} is no moment; allowed is {ALLOWED}") from None
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
