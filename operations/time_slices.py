"""Splits a range of time into slices with few enough rows to fit into memory. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import NamedTuple

from msgspec import Struct


class Period(Struct, frozen=True):
    """The number of rows in the hour or minute that begins at `start`."""

    start: datetime
    rows: int


class Slice(NamedTuple):
    """The rows in the half-open interval `[start, stop)`."""

    start: datetime
    stop: datetime
    rows: int


def slices(periods: Iterable[Period], length: timedelta, max_rows: int) -> Iterator[Slice]:
    """Yield slices of about `max_rows` rows at most, in order: several periods merged, or one split.

    Args:
        periods: those that have rows, in order, each `length` long.
    """
    merged: Slice | None = None
    for period in periods:
        stop = period.start + length
        if merged and merged.rows + period.rows <= max_rows:
            merged = Slice(merged.start, stop, merged.rows + period.rows)
            continue
        if merged:
            yield from _split(merged, max_rows)
        merged = Slice(period.start, stop, period.rows)
    if merged:
        yield from _split(merged, max_rows)


def _split(whole: Slice, max_rows: int) -> Iterator[Slice]:
    """Split evenly by time; the parts' row counts are estimates that add up to the whole."""
    count = -(-whole.rows // max_rows)
    step = (whole.stop - whole.start) / count
    for number in range(count):
        start = _to_millisecond(whole.start + number * step)
        stop = _to_millisecond(whole.start + (number + 1) * step) if number < count - 1 else whole.stop
        yield Slice(start, stop, (number + 1) * whole.rows // count - number * whole.rows // count)


def _to_millisecond(at: datetime) -> datetime:
    return at.replace(microsecond=at.microsecond // 1000 * 1000)
