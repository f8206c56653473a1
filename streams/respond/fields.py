"""Reads the fields of a rule: each value by itself, with what is allowed if it is wrong. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import time, timedelta
from enum import StrEnum
from functools import partial
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from runtime.opt_words import letters_of
from runtime.phone_number import canonical
from streams.respond.pattern import Pattern, compile_pattern
from streams.respond.rules import Answers, Kind
from streams.respond.schedule import DAYS, read_hours, read_zone
from streams.respond.template import Template, read_template

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_PERIOD = re.compile(r"([0-9]{1,6})\s*([mhd])")
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}
#: The history of a handset is the topic's, whose records are retained for 30 days.
MIN_PERIOD, MAX_PERIOD = timedelta(minutes=1), timedelta(days=30)
MAX_CAP, MAX_SEGMENTS = 1_000_000, 10

E = TypeVar("E", bound=StrEnum)


def read_text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("must be a text in quotes")
    return value


def read_name(value: Any) -> str:
    if not isinstance(value, str) or not NAME.fullmatch(value):
        raise ValueError("must be 1 to 64 of a-z, 0-9, _ and -, and begin with a letter or digit")
    return value


def read_numbers(value: Any) -> frozenset[str]:
    """Numbers of ours, in canonical form."""
    numbers = [canonical(text) for text in _read_texts(value, 'phone numbers such as ["74121"]')]
    if not all(5 <= len(number) <= 15 for number in numbers):
        raise ValueError("must be phone numbers of 5 to 15 digits")
    return frozenset(numbers)


def _read_texts(value: Any, what: str) -> list[str]:
    if not isinstance(value, list) or not value or not all(isinstance(item, str) for item in value):
        raise ValueError(f"must be a list of {what}")
    return value


def _read_choice(choice: type[E], value: Any) -> E:
    try:
        return choice(value)
    except ValueError:
        raise ValueError(f"must be one of {', '.join(choice)}") from None


def _read_bool(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("must be true or false")
    return value


def _read_any_text(value: Any) -> bool:
    if value is not True:
        raise ValueError("must be true, or left out")
    return True


def _read_keywords(value: Any) -> Mapping[str, str]:
    words = _read_texts(value, 'words such as ["HOURS"]')
    for word in words:
        if not letters_of(word):
            raise ValueError(f"must be words with letters or digits, {word!r} has none")
    return {letters_of(word): word.strip() for word in words}


def _read_pattern(value: Any) -> Pattern:
    pattern = compile_pattern(read_text(value))
    if pattern.search(""):
        raise ValueError("must not match an empty text, as it would match any; use any_text")
    return pattern


def _read_hours(value: Any) -> tuple[time, time]:
    return read_hours(read_text(value))


def _read_days(value: Any) -> frozenset[int]:
    allowed = f"days: {', '.join(DAYS)}"
    days = [day.lower() for day in _read_texts(value, allowed)]
    if unknown := [day for day in days if day not in DAYS]:
        raise ValueError(f"must be a list of {allowed}; {unknown[0]!r} is none")
    return frozenset(map(DAYS.index, days))


def _read_zone(value: Any) -> ZoneInfo:
    return read_zone(read_text(value))


def _read_template(value: Any) -> Template:
    return read_template(read_text(value))


def _read_period(value: Any) -> timedelta:
    match = _PERIOD.fullmatch(value.strip()) if isinstance(value, str) else None
    period = timedelta(**{_UNITS[match[2]]: int(match[1])}) if match else timedelta()
    if not MIN_PERIOD <= period <= MAX_PERIOD:
        raise ValueError('must be 1 minute to 30 days, such as "30m", "24h" or "7d"')
    return period


def _read_count(limit: int, value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= limit:
        raise ValueError(f"must be a number from 1 to {limit:,}")
    return value


#: What reads the value of each key. It raises ValueError, which says what is allowed.
READERS: Mapping[str, Callable[[Any], Any]] = {
    "name": read_name,
    "kind": partial(_read_choice, Kind),
    "enabled": _read_bool,
    "account": read_name,
    "own_numbers": read_numbers,
    "keywords": _read_keywords,
    "pattern": _read_pattern,
    "any_text": _read_any_text,
    "answers": partial(_read_choice, Answers),
    "hours": _read_hours,
    "days": _read_days,
    "time_zone": _read_zone,
    "text": _read_template,
    "period": _read_period,
    "daily_cap": partial(_read_count, MAX_CAP),
    "max_segments": partial(_read_count, MAX_SEGMENTS),
}
