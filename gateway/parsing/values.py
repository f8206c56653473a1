"""Times in the contract's form: the provider's spellings of a date, and the gateway's own clock."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from gateway.postback import Time, format_time

#: What ClickHouse's DateTime64 holds. Outside of it a date means unset (0001-01-01) or is garbage.
YEARS = range(1900, 2300)

_US = re.compile(
    r"([0-9]{1,2})/([0-9]{1,2})/([0-9]{4})\s+([0-9]{1,2}):([0-9]{2}):([0-9]{2})\s*([AP])M", re.IGNORECASE
)
_ISO = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?(Z|[+-][0-9]{2}:?[0-9]{2})?"
)
_JSON = re.compile(r"\\?/Date\((-?[0-9]{1,15})([+-][0-9]{4})?\)\\?/")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@lru_cache(maxsize=4096)  # the provider counts in seconds: many say the same
def read_time(text: str) -> Time | None:
    """SentTime or ResponseReceiveDate, in UTC where no zone is said; None when unset or not readable.

    Read are `5/8/2010 2:42:36 AM`, ISO 8601 with or without fraction and zone, and `/Date(…)/`.
    """
    try:
        at = _read(text.strip())
        return format_time(at) if at and at.astimezone(UTC).year in YEARS else None
    except (ValueError, OverflowError):  # the 31st of February, or a year that no calendar has
        return None


def _read(text: str) -> datetime | None:
    if match := _US.fullmatch(text):
        month, day, year, hour, minute, second = (int(part) for part in match.groups()[:6])
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + (12 if match[7] in "pP" else 0)
        return datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    if _ISO.fullmatch(text):
        at = datetime.fromisoformat(text)
        return at if at.tzinfo else at.replace(tzinfo=UTC)
    if match := _JSON.fullmatch(text):
        return _EPOCH + timedelta(milliseconds=int(match[1]))
    return None


def time_of(seconds: float) -> Time:
    """A clock's seconds since 1970, in the contract's form; quick when called often."""
    whole, milliseconds = divmod(int(seconds * 1000), 1000)
    return f"{_second(whole)}.{milliseconds:03d}Z"


@lru_cache(maxsize=4)
def _second(whole: int) -> str:
    return datetime.fromtimestamp(whole, UTC).strftime("%Y-%m-%dT%H:%M:%S")
