"""The highest rate that holds: up in short probes, then down until one holds for the full time. Pure."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

#: Whether so many a second hold for so many seconds.
Holds: TypeAlias = Callable[[int, float], Awaitable[bool]]


async def highest(rungs: Sequence[int], holds: Holds, probe: float, full: float) -> int | None:
    """The highest rung that holds for `full` seconds; null when even the lowest does not.

    A probe may flatter: what falls behind slowly is found out only in the full time.
    """
    passed: list[int] = []
    for rung in rungs:
        if not await holds(rung, probe):
            break
        passed.append(rung)
    for rung in reversed(passed):
        if await holds(rung, full):
            return rung
    return None
