"""The offset up to which each partition can be committed while several inserts are in flight. Pure.

Create a new tracker after each rebalance: acks for the previous one then have no effect.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping

from aiokafka import TopicPartition

from sinks.batch import Record


class PendingInsert:
    """An insert in flight, and its offsets in each partition."""

    def __init__(self, ranges: Mapping[TopicPartition, range]) -> None:
        self.ranges = ranges
        self.acked = False


class CommitTracker:
    """Inserts are tracked in the order in which their records were polled, and acked in any order."""

    def __init__(self) -> None:
        self._pending: dict[TopicPartition, deque[PendingInsert]] = {}
        self._committable: dict[TopicPartition, int] = {}

    def track(self, records: Iterable[Record]) -> PendingInsert:
        """Add an insert of these records."""
        insert = PendingInsert(offset_ranges(records))
        for partition in insert.ranges:
            self._pending.setdefault(partition, deque()).append(insert)
        return insert

    def ack(self, insert: PendingInsert) -> None:
        """All records of the insert are stored."""
        insert.acked = True
        for partition in insert.ranges:
            pending = self._pending[partition]
            while pending and pending[0].acked:
                self._committable[partition] = pending.popleft().ranges[partition].stop

    def take_committable(self) -> dict[TopicPartition, int]:
        """Return the offsets to commit that were not returned yet; `restore` them if the commit fails."""
        committable, self._committable = self._committable, {}
        return committable

    def restore(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Make offsets committable again; later ones win."""
        self._committable = {**offsets, **self._committable}


def offset_ranges(records: Iterable[Record]) -> dict[TopicPartition, range]:
    """The offsets from the first to the last record of each partition; there may be gaps."""
    first: dict[tuple[str, int], int] = {}
    last: dict[tuple[str, int], int] = {}
    for record in records:
        partition = record.topic, record.partition
        if partition not in first:
            first[partition] = record.offset
        last[partition] = record.offset
    return {TopicPartition(*partition): range(first[partition], last[partition] + 1) for partition in first}
