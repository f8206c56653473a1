"""Decodes single values: text, ids, phone numbers, times. Lenient: nothing here raises."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from gateway.postback import FIRST_PROVIDER_YEAR, GUID, LAST_PROVIDER_YEAR, Time, format_time

#: Latin-1 differs from Windows-1252 in these bytes only. The five that Windows-1252 leaves undefined stay the
#: control characters that Latin-1 has there.
_WINDOWS_1252 = {
    byte: bytes([byte]).decode("cp1252")
    for byte in range(0x80, 0xA0)
    if byte not in (0x81, 0x8D, 0x8F, 0x90, 0x9D)
}

_ANY_GUID = re.compile(r"([0-9a-f]{8})-?([0-9a-f]{4})-?([0-9a-f]{4})-?([0-9a-f]{4})-?([0-9a-f]{12})")
_ZERO_GUID = "00000000-0000-0000-0000-000000000000"
_NON_DIGITS = re.compile(r"[^0-9]+")

#: The range of ClickHouse's DateTime64. A date outside of it is unset (0001-01-01) or garbage.
YEARS = range(int(FIRST_PROVIDER_YEAR), int(LAST_PROVIDER_YEAR))

_US_TIME = re.compile(
    r"([0-9]{1,2})/([0-9]{1,2})/([0-9]{4})\s+([0-9]{1,2}):([0-9]{2}):([0-9]{2})\s*([AP])M", re.IGNORECASE
)
_ISO_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?(Z|[+-][0-9]{2}:?[0-9]{2})?"
)
_JSON_TIME = re.compile(r"\\?/Date\((-?[0-9]{1,15})([+-][0-9]{4})?\)\\?/")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def decode_text(raw: bytes) -> str:
    """Decode UTF-8, or else Windows-1252 as browsers do: the provider does not declare its encoding."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1").translate(_WINDOWS_1252)


def read_guid(text: str) -> str | None:
    """A GUID in lower case with dashes; None for anything else, and for the zero GUID.

    Accepts either case, with or without dashes, in braces or parentheses, or after `urn:uuid:`.
    """
    guid = text.strip().lower()
    if not GUID.fullmatch(guid):
        match = _ANY_GUID.fullmatch(guid.removeprefix("urn:uuid:").strip("{}() "))
        if not match:
            return None
        guid = "-".join(match.groups())
    return None if guid == _ZERO_GUID else guid


def read_number(text: str) -> str:
    """The digits of a phone number or short code."""
    return text if text.isascii() and text.isdigit() else _NON_DIGITS.sub("", text)


@lru_cache(maxsize=4096)  # the provider's times have whole seconds, so they repeat
def read_time(text: str) -> Time | None:
    """SentTime or ResponseReceiveDate, in UTC unless it has a zone; None if unset or unreadable.

    Accepts `5/8/2010 2:42:36 AM`, ISO 8601 with or without fraction and zone, and `/Date(…)/`.
    """
    try:
        at = _parse_time(text.strip())
        return format_time(at) if at and at.astimezone(UTC).year in YEARS else None
    except (ValueError, OverflowError):  # 31 February, or a year beyond the calendar
        return None


def _parse_time(text: str) -> datetime | None:
    if match := _US_TIME.fullmatch(text):
        month, day, year, hour, minute, second = (int(part) for part in match.groups()[:6])
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + (12 if match[7] in "pP" else 0)
        return datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    if _ISO_TIME.fullmatch(text):
        at = datetime.fromisoformat(text)
        return at if at.tzinfo else at.replace(tzinfo=UTC)
    if match := _JSON_TIME.fullmatch(text):
        return _EPOCH + timedelta(milliseconds=int(match[1]))
    return None


def time_of(seconds: float) -> Time:
    """Format seconds since 1970; fast for times that are close together."""
    whole, milliseconds = divmod(int(seconds * 1000), 1000)
    return f"{_format_second(whole)}.{milliseconds:03d}Z"


@lru_cache(maxsize=4)
def _format_second(whole: int) -> str:
    return datetime.fromtimestamp(whole, UTC).strftime("%Y-%m-%dT%H:%M:%S")
