"""Durations on the command line: 90s, 30m, 2h."""

from __future__ import annotations

import re

import click

UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600}


class Duration(click.ParamType):
    """A number with a unit, converted to seconds."""

    name = "duration"

    def convert(self, value: str | float, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, int | float):
            return float(value)
        if not (match := re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", value)) or not float(match[1]):
            self.fail(f"{value!r} is not a duration such as 90s, 30m or 2h", param, ctx)
        return float(match[1]) * UNIT_SECONDS[match[2]]
