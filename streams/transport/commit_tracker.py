"""Which offsets of each partition may be committed: those before the first batch that is not done. Pure.

Around a rebalance Faust may drop batches that it fetched and continue behind them. Then a later batch begins
after the committable offset (a gap), or a delivered batch never reaches the worker (lost), and the consumer
has to rewind. Partitions are independent of each other: batches of one may wait for as long as they must
while others are delivered and acknowledged. A batch that the worker has started on is never lost. Batches
that are delivered twice do no harm.

This file knows offsets and times; it neither seeks nor commits.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Generic, TypeVar

P = TypeVar("P", bound=Hashable)

#: Seconds after which a delivered batch that the worker has not started on counts as lost.
LOST_AFTER = 5.0


class _Partition:
    def __init__(self, offset: int) -> None:
        #: The next offset that is not done.
        self.offset = offset
        #: When each delivery that the worker has not started on was made, by number.
        self.waiting: dict[int, float] = {}
        #: The same of those that it processes.
        self.in_progress: dict[int, float] = {}
        #: Whether offsets before those that are done are missing.
        self.gap = False


class CommitTracker(Generic[P]):
    """Of all partitions `P` of one assignment."""

    def __init__(self, lost_after: float = LOST_AFTER) -> None:
        self._lost_after = lost_after
        self._partitions: dict[P, _Partition] = {}
        self._deliveries = 0

    @property
    def offsets(self) -> Mapping[P, int]:
        """Of each partition the next offset that is not done."""
        return {partition: state.offset for partition, state in self._partitions.items()}

    def committable(self, partition: P) -> int | None:
        """The partition's offset; None when the partition is not of this assignment."""
        state = self._partitions.get(partition)
        return state.offset if state else None

    def begin(self, offsets: Mapping[P, int]) -> None:
        """Start a new assignment, with everything before these offsets done."""
        self._partitions = {partition: _Partition(offset) for partition, offset in offsets.items()}

    def deliver(self, partition: P, now: float) -> int:
        """Note that a batch was handed over to the worker; returns the delivery's number."""
        self._deliveries += 1
        if state := self._partitions.get(partition):
            state.waiting[self._deliveries] = now
        return self._deliveries

    def drop(self, partition: P) -> None:
        """Note that a batch was fetched and is not going to be delivered."""
        if state := self._partitions.get(partition):
            state.gap = True

    def start(self, partition: P, number: int) -> None:
        """Note that the worker processes that delivery."""
        state = self._partitions.get(partition)
        if state and number in state.waiting:
            state.in_progress[number] = state.waiting.pop(number)

    def acknowledge(self, partition: P, start: int, end: int, number: int) -> None:
        """Note that the delivered batch, offsets `start` to before `end`, is done."""
        if state := self._finish(partition, number):
            if start <= state.offset:
                state.offset = max(state.offset, end)
            else:
                state.gap = True

    def refuse(self, partition: P, number: int) -> None:
        """Note that the delivered batch was handed back undone."""
        if state := self._finish(partition, number):
            state.gap = True

    def _finish(self, partition: P, number: int) -> _Partition | None:
        state = self._partitions.get(partition)
        if state:
            state.waiting.pop(number, None)
            state.in_progress.pop(number, None)
        return state

    def is_busy(self, partition: P) -> bool:
        """Whether a batch of the partition is delivered and not done."""
        state = self._partitions.get(partition)
        return state is not None and bool(state.waiting or state.in_progress)

    def in_flight(self, since: float) -> int:
        """How many batches that were delivered after `since` are not done."""
        return sum(
            at > since
            for state in self._partitions.values()
            for at in (*state.waiting.values(), *state.in_progress.values())
        )

    def missing(self, now: float) -> dict[P, int]:
        """Where to read again: partitions with a gap or a lost batch, and none in progress. Told once."""
        missing = {}
        for partition, state in self._partitions.items():
            lost = [number for number, at in state.waiting.items() if now - at > self._lost_after]
            for number in lost:
                del state.waiting[number]
            state.gap = state.gap or bool(lost)
            if state.gap and not state.in_progress:
                state.gap = False
                missing[partition] = state.offset
        return missing

    def truncate(self, partition: P, start: int) -> int:
        """Note that the log begins at `start`; returns how many offsets were deleted undone."""
        state = self._partitions.get(partition)
        if state is None or start <= state.offset:
            return 0
        deleted, state.offset = start - state.offset, start
        return deleted
