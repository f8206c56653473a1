"""Which texts are times of the contract: whoever reckons with a time must know that it is one."""

from __future__ import annotations

from datetime import datetime

LENGTH = len("2026-11-23T04:39:41.123Z")
#: Adding a limit to a later time could leave the calendar.
FIRST, LAST = "1970", "9000"


def is_time(text: str) -> bool:
    """Whether it is RFC 3339 in UTC with milliseconds, of a year that one can reckon with."""
    if len(text) != LENGTH or not text.endswith("Z") or not FIRST <= text < LAST:
        return False
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True
