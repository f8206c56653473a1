"""Which offsets of a partition must be in ClickHouse, and what its counts say of that. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from msgspec import Struct


class RecordCoordinates(NamedTuple):
    """A partition of a cluster."""

    cluster: str
    topic: str
    partition: int


class Stored(Struct, frozen=True, kw_only=True):
    """What ClickHouse has of a partition."""

    cluster: str
    topic: str
    partition: int
    #: Rows, those included that are there twice until ClickHouse merges them.
    rows: int
    #: Distinct offsets, and the least and the greatest of them.
    offsets: int
    least: int
    greatest: int
    #: Of these, offsets whose record is in `rejected`, as ClickHouse refused its row.
    refused: int

    @property
    def place(self) -> RecordCoordinates:
        return RecordCoordinates(self.cluster, self.topic, self.partition)


class Log(NamedTuple):
    """What Kafka says of a partition, as offsets."""

    #: The first one that retention has left.
    first: int
    #: The first one at or after the time that is asked about; `first` where there is none such.
    since: int
    #: What the sinks have committed, or -1.
    committed: int
    #: After the last record.
    end: int


@dataclass(frozen=True)
class Span:
    """Offsets from `start` on: those before `bound` must be stored, those up to `end` will be."""

    start: int
    bound: int
    end: int


def span_of(stored: Stored | None, log: Log | None) -> Span:
    """What must be stored of a partition; without its log (gone, or another cluster's) what is between rows.

    What retention deleted before the sinks read it can never be stored: it is before `bound`, too.
    """
    if log is None:
        assert stored, "a partition that neither side knows"
        return Span(stored.least, stored.greatest + 1, stored.greatest + 1)
    starts = [log.since]
    if stored:
        starts.append(stored.least)
    if 0 <= log.committed < log.first:
        starts.append(log.committed)
    start = min(starts)
    bound = max(start, log.committed, log.first)
    return Span(start, bound, max(bound, log.end))


def tail_of(span: Span, stored: Stored | None) -> range | None:
    """The offsets after the last one stored, if nothing before it is missing; None when something may be."""
    if not stored:
        return range(span.start, span.end) if span.start == span.bound else None
    unbroken = stored.least == span.start and stored.greatest + 1 - stored.least == stored.offsets
    if not unbroken or stored.greatest + 1 < span.bound:
        return None
    return range(stored.greatest + 1, max(span.end, stored.greatest + 1))


def narrowed(holes: Iterable[range], offsets: Iterable[int]) -> list[range]:
    """The parts of the holes that consist of these offsets; both are in order."""
    found: list[range] = []
    left = iter(offsets)
    offset = next(left, None)
    for hole in holes:
        while offset is not None and offset < hole.stop:
            if found and found[-1].stop == offset and found[-1].start >= hole.start:
                found[-1] = range(found[-1].start, offset + 1)
            elif offset >= hole.start:
                found.append(range(offset, offset + 1))
            offset = next(left, None)
    return found
