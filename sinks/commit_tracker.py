"""Up to which offset of each partition everything is answered, with several inserts in flight. Pure.

When partitions are assigned anew, begin with new `Offsets`: late answers to the tickets of the old ones then
say nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping

from sinks.record import Partition, Record


class PendingInsert:
    """One insert: from which offset to which (the next one to read) it brings each of its partitions."""

    def __init__(self, runs: Mapping[Partition, range]) -> None:
        self.runs = runs
        self.answered = False


class CommitTracker:
    """Tickets are begun in the order in which their records were read, and answered in any."""

    def __init__(self) -> None:
        self._open: dict[Partition, deque[PendingInsert]] = {}
        self._due: dict[Partition, int] = {}

    def begin(self, records: Iterable[Record]) -> PendingInsert:
        """Note that these are being stored."""
        ticket = PendingInsert(runs(records))
        for partition in ticket.runs:
            self._open.setdefault(partition, deque()).append(ticket)
        return ticket

    def answer(self, ticket: PendingInsert) -> None:
        """Note that all of them are safe."""
        ticket.answered = True
        for partition in ticket.runs:
            waiting = self._open[partition]
            while waiting and waiting[0].answered:
                self._due[partition] = waiting.popleft().runs[partition].stop

    def take_due(self) -> dict[Partition, int]:
        """What can be committed, and was not taken yet."""
        due, self._due = self._due, {}
        return due

    def give_back(self, due: Mapping[Partition, int]) -> None:
        """The commit of these failed: they are due again, where no later one is."""
        self._due = {**due, **self._due}

    def stored(self, partition: Partition, read: int) -> int:
        """The first offset that is not safe yet: `read`, the next to read, when no insert is under way."""
        waiting = self._open.get(partition)
        return waiting[0].runs[partition].start if waiting else read


def runs(records: Iterable[Record]) -> dict[Partition, range]:
    """From which offset to which (the next one) the records reach; there may be gaps inside."""
    first: dict[tuple[str, int], int] = {}
    last: dict[tuple[str, int], int] = {}
    for record in records:
        place = record.topic, record.partition
        if place not in first:
            first[place] = record.offset
        last[place] = record.offset
    return {Partition(*place): range(first[place], last[place] + 1) for place in first}
