"""Types of command line options, and how a command gets its settings."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

import click

from runtime.settings import Settings

#: Loads the settings; called when a command runs, so that --help needs none. Raises InvalidSetting.
SettingsLoader: TypeAlias = Callable[[], Settings]

PORT = click.IntRange(0, 65535)
RATE = click.FloatRange(min=0, min_open=True)

_AGO = re.compile(r"(\d+)\s*(s|m|h|d|w)")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
ALLOWED = "a time in UTC (2026-11-23, 2026-11-23T12:00), one with a zone, or how long ago: 30m, 6h, 7d"


def parse_time(text: str, now: datetime) -> datetime:
    """Parse a time, or how long before `now`; the result is in UTC.

    Raises:
        ValueError: `text` is neither; the message says what is allowed.
    """
    if ago := _AGO.fullmatch(text.strip().lower()):
        try:
            return now - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        except OverflowError:
            raise ValueError(f"{text!r} is too long ago") from None
    try:
        at = datetime.fromisoformat(text.strip())
    except ValueError:
        raise ValueError(f"{text!r} is not a time; allowed is {ALLOWED}") from None
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


class TimeType(click.ParamType):
    """An option that `parse_time` parses."""

    name = "time"

    def convert(
        self, value: str | datetime, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        if isinstance(value, datetime):
            return value
        try:
            return parse_time(value, datetime.now(UTC))
        except ValueError as error:
            self.fail(str(error), param, ctx)


TIME = TimeType()
