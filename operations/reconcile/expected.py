"""Which offsets of a partition must be in ClickHouse, and what the counts of its rows prove. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from msgspec import Struct


class ClusterPartition(NamedTuple):
    """A topic's partition on a cluster."""

    cluster: str
    topic: str
    partition: int


class StoredOffsets(Struct, frozen=True, kw_only=True):
    """What ClickHouse stores of a partition."""

    cluster: str
    topic: str
    partition: int
    #: Rows, including redelivered ones that ClickHouse has not merged yet.
    rows: int
    #: Number of distinct offsets, the lowest and the highest one.
    offsets: int
    lowest: int
    highest: int
    #: How many of these offsets are in `rejected` because ClickHouse refused their rows.
    refused: int

    @property
    def source(self) -> ClusterPartition:
        return ClusterPartition(self.cluster, self.topic, self.partition)


class LogOffsets(NamedTuple):
    """A partition's offsets according to Kafka."""

    #: The first one that retention has not deleted.
    start: int
    #: The first one at or after the time asked for; the end if there is none.
    since: int
    #: Committed by the sinks, or -1.
    committed: int
    #: The one after the last record.
    end: int


@dataclass(frozen=True)
class ExpectedRange:
    """Offsets from `start`: those before `bound` must be stored now, those before `end` eventually."""

    start: int
    bound: int
    end: int


def expected_range(stored: StoredOffsets | None, log: LogOffsets | None) -> ExpectedRange:
    """The offsets to expect; without a log (deleted, or on another cluster) those between the stored ones.

    Offsets that retention deleted before the sinks read them can never be stored: they are before `bound`.
    """
    if log is None:
        assert stored, "a partition that is neither in Kafka nor in ClickHouse"
        return ExpectedRange(stored.lowest, stored.highest + 1, stored.highest + 1)
    starts = [log.since]
    if stored:
        starts.append(stored.lowest)
    if 0 <= log.committed < log.start:
        starts.append(log.committed)
    start = min(starts)
    bound = max(start, log.committed, log.start)
    return ExpectedRange(start, bound, max(bound, log.end))


def unstored_tail(expected: ExpectedRange, stored: StoredOffsets | None) -> range | None:
    """The offsets after the last stored one; None unless the counts prove that none before it is missing."""
    if not stored:
        return range(expected.start, expected.end) if expected.start == expected.bound else None
    contiguous = stored.lowest == expected.start and stored.highest + 1 - stored.lowest == stored.offsets
    if not contiguous or stored.highest + 1 < expected.bound:
        return None
    return range(stored.highest + 1, max(expected.end, stored.highest + 1))


def intersect(ranges: Iterable[range], offsets: Iterable[int]) -> list[range]:
    """The parts of the ranges that consist of these offsets; both are in order."""
    found: list[range] = []
    remaining = iter(offsets)
    offset = next(remaining, None)
    for within in ranges:
        while offset is not None and offset < within.stop:
            if found and found[-1].stop == offset and found[-1].start >= within.start:
                found[-1] = range(found[-1].start, offset + 1)
            elif offset >= within.start:
                found.append(range(offset, offset + 1))
            offset = next(remaining, None)
    return found
