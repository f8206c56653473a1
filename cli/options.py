"""Types of command line options, and how a command gets its settings."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from math import isfinite
from typing import TypeAlias

import click

from gateway.postback import ACCOUNT_NAME
from runtime.phone_number import read_written
from runtime.settings import Settings

#: Loads the settings; called when a command runs, so that --help needs none. Raises InvalidSetting.
SettingsLoader: TypeAlias = Callable[[], Settings]

PORT = click.IntRange(0, 65535)


class FiniteRange(click.FloatRange):
    """A number in a range that is neither infinite nor `nan`, which every range would contain."""

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number = float(super().convert(value, param, ctx))
        if not isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number


RATE = FiniteRange(min=0, min_open=True)
SHARE = FiniteRange(0, 1)
ZERO_OR_MORE = FiniteRange(min=0)

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


class ListenType(click.ParamType):
    """An address to listen on, as (host, port)."""

    name = "host:port"

    def convert(
        self, value: str | tuple[str, int], param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, int]:
        if isinstance(value, tuple):
            return value
        host, _, port = value.rpartition(":")
        if not (host and port.isdecimal() and int(port) < 65536):
            self.fail(f"{value!r}: must be host:port, such as 127.0.0.1:8090", param, ctx)
        return host.strip("[]"), int(port)


LISTEN = ListenType()


class NumberType(click.ParamType):
    """A phone number, in canonical form; empty stays so."""

    name = "number"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        number = read_written(value)
        if value and number is None:
            self.fail(
                f"{value!r} is not a phone number of 5 to 15 digits, such as 17575449510, without 00 or 011",
                param,
                ctx,
            )
        return number or ""


NUMBER = NumberType()


class AccountType(click.ParamType):
    """The name of an account; empty stays so."""

    name = "account"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if value and not ACCOUNT_NAME.fullmatch(value):
            self.fail(f"{value!r}: must be up to 64 of a-z, 0-9, _ and -", param, ctx)
        return value


ACCOUNT = AccountType()
