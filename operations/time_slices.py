"""Cuts a range of time into slices with so few rows that each fits into memory. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import NamedTuple

from msgspec import Struct


class Period(Struct, frozen=True):
    """How many rows are of the hour, or minute, that begins then."""

    start: datetime
    rows: int


class Slice(NamedTuple):
    """`[start, stop)`."""

    start: datetime
    stop: datetime
    rows: int


def slices(periods: Iterable[Period], length: timedelta, size: int) -> Iterator[Slice]:
    """Slices of about `size` rows at most, in order: several periods together, or parts of one.

    Args:
        periods: those with rows, in order, each of that length.
    """
    gathered: Slice | None = None
    for period in periods:
        stop = period.start + length
        if gathered and gathered.rows + period.rows <= size:
            gathered = Slice(gathered.start, stop, gathered.rows + period.rows)
            continue
        if gathered:
            yield from _parts(gathered, size)
        gathered = Slice(period.start, stop, period.rows)
    if gathered:
        yield from _parts(gathered, size)


def _parts(whole: Slice, size: int) -> Iterator[Slice]:
    count = -(-whole.rows // size)
    step = (whole.stop - whole.start) / count
    for number in range(count):
        start = _to_millisecond(whole.start + number * step)
        stop = _to_millisecond(whole.start + (number + 1) * step) if number < count - 1 else whole.stop
        yield Slice(start, stop, (number + 1) * whole.rows // count - number * whole.rows // count)


def _to_millisecond(at: datetime) -> datetime:
    return at.replace(microsecond=at.microsecond // 1000 * 1000)
