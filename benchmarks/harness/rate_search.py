"""Finds the highest rate that is sustained: upwards in short probes, then downwards at full length. Pure."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

#: Whether a rate per second is sustained for so many seconds.
IsSustained: TypeAlias = Callable[[int, float], Awaitable[bool]]


async def highest_rate(
    rates: Sequence[int], is_sustained: IsSustained, probe_seconds: float, full_seconds: float
) -> int | None:
    """Return the highest of the ascending rates that is sustained for `full_seconds`; None if none is.

    A passed probe proves little: lag that builds up slowly shows only at full length.
    """
    passed: list[int] = []
    for rate in rates:
        if not await is_sustained(rate, probe_seconds):
            break
        passed.append(rate)
    for rate in reversed(passed):
        if await is_sustained(rate, full_seconds):
            return rate
    return None
