"""When a rule applies: hours and days in a time zone. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, time
from zoneinfo import ZoneInfo

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_HOURS = re.compile(r"([01]?[0-9]|2[0-3]):([0-5][0-9])\s*-\s*([01]?[0-9]|2[0-3]):([0-5][0-9])")
UTC_ZONE = ZoneInfo("UTC")


@dataclass(frozen=True)
class Schedule:
    """From `opens` to before `closes`, over midnight if that is earlier, on the days of the week (0: Monday).

    The day is that of the moment: Saturday 1:00 is on a Saturday, though the hours began on Friday.
    """

    opens: time = time.min
    #: The same as `opens`: all day.
    closes: time = time.min
    days: frozenset[int] = frozenset(range(7))
    zone: ZoneInfo = UTC_ZONE

    def includes(self, now: datetime) -> bool:
        """Whether an aware time is within the schedule."""
        local = now.astimezone(self.zone)
        at = local.time()
        if self.opens < self.closes:
            is_open = self.opens <= at < self.closes
        else:
            is_open = at >= self.opens or at < self.closes
        return is_open and local.weekday() in self.days

    def day_of(self, now: datetime) -> str:
        """The date in the time zone, such as 2026-11-28: the day of a daily cap."""
        return now.astimezone(self.zone).date().isoformat()

    def __str__(self) -> str:
        hours = "all day" if self.opens == self.closes else f"{self.opens:%H:%M}-{self.closes:%H:%M}"
        days = " ".join(DAYS[day] for day in sorted(self.days))
        return f"{hours}{'' if len(self.days) == 7 else f' {days}'} {self.zone.key}"


ALWAYS = Schedule()


def read_hours(text: str) -> tuple[time, time]:
    """Read `08:00-17:30`.

    Raises:
        ValueError: it is no such text; says what is allowed.
    """
    match = _HOURS.fullmatch(text.strip())
    if not match:
        raise ValueError('must be two times such as "08:00-17:30"; "17:30-08:00" is over midnight')
    opens, closes = time(int(match[1]), int(match[2])), time(int(match[3]), int(match[4]))
    if opens == closes:
        raise ValueError("must begin and end at different times; leave it out for all day")
    return opens, closes


def read_zone(name: str) -> ZoneInfo:
    """Read the name of a time zone.

    Raises:
        ValueError: there is no such time zone.
    """
    try:
        return ZoneInfo(name)
    except (KeyError, OSError, ValueError):  # not found, a folder, or no relative path
        raise ValueError('must be the name of a time zone, such as "America/New_York" or "UTC"') from None
