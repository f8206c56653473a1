"""Tracks which offset of each partition may be committed: that of the first batch that is not done. Pure.

Around a rebalance Faust may drop batches that it has fetched and continue behind them. Then a later batch
starts after the committable offset (a gap), or a delivered batch never reaches the worker (lost), and the
consumer has to rewind. Partitions are independent: a batch of one may take as long as it needs while those of
others are delivered and acknowledged. A batch that the worker has started is never lost. Delivering a batch
twice is harmless.

Knows offsets and times only; the consumer seeks and commits.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Generic, TypeVar

P = TypeVar("P", bound=Hashable)

#: Seconds after which a delivered batch that the worker has not started counts as lost.
LOST_AFTER = 5.0


class _Partition:
    def __init__(self, offset: int) -> None:
        #: The next offset that is not done.
        self.offset = offset
        #: Delivery times of batches that the worker has not started, by delivery number.
        self.queued: dict[int, float] = {}
        #: The same of those that count as lost; one may be started nevertheless, late.
        self.lost: dict[int, float] = {}
        #: Delivery times of batches that the worker is processing, by delivery number.
        self.in_progress: dict[int, float] = {}
        #: Whether offsets were skipped, so that the consumer has to rewind.
        self.gap = False


class CommitTracker(Generic[P]):
    """The offsets of all partitions `P` of one assignment."""

    def __init__(self) -> None:
        self._partitions: dict[P, _Partition] = {}
        self._deliveries = 0

    @property
    def offsets(self) -> Mapping[P, int]:
        """The next offset that is not done, of each partition."""
        return {partition: state.offset for partition, state in self._partitions.items()}

    def assign(self, offsets: Mapping[P, int]) -> None:
        """Start a new assignment, in which everything before these offsets is done."""
        self._partitions = {partition: _Partition(offset) for partition, offset in offsets.items()}

    def deliver(self, partition: P, now: float) -> int:
        """Record that a batch was handed to Faust; returns the delivery's number."""
        self._deliveries += 1
        if state := self._partitions.get(partition):
            state.queued[self._deliveries] = now
        return self._deliveries

    def drop(self, partition: P) -> None:
        """Record that a batch was fetched but will not be delivered."""
        if state := self._partitions.get(partition):
            state.gap = True

    def start(self, partition: P, delivery: int) -> None:
        """Record that the worker has started to process the delivered batch."""
        state = self._partitions.get(partition)
        if state is None:
            return
        for waiting in (state.queued, state.lost):
            if delivery in waiting:
                state.in_progress[delivery] = waiting.pop(delivery)

    def ack(self, partition: P, start: int, end: int, delivery: int) -> None:
        """Record that the delivered batch, offsets `start` to before `end`, is done."""
        if state := self._finish(partition, delivery):
            if start <= state.offset:
                state.offset = max(state.offset, end)
            else:
                state.gap = True

    def nack(self, partition: P, delivery: int) -> None:
        """Record that the delivered batch was returned without being done."""
        if state := self._finish(partition, delivery):
            state.gap = True

    def _finish(self, partition: P, delivery: int) -> _Partition | None:
        state = self._partitions.get(partition)
        if state:
            state.queued.pop(delivery, None)
            state.in_progress.pop(delivery, None)
        return state

    def is_busy(self, partition: P) -> bool:
        """Whether a batch of the partition is delivered and not done."""
        state = self._partitions.get(partition)
        return state is not None and bool(state.queued or state.in_progress)

    def in_flight(self, since: float) -> int:
        """Number of batches delivered after `since` that are not done."""
        return sum(
            at > since
            for state in self._partitions.values()
            for at in (*state.queued.values(), *state.in_progress.values())
        )

    def take_rewinds(self, now: float) -> dict[P, int]:
        """Offsets to rewind to: of partitions with a gap or a lost batch, and none in progress.

        Returns each gap once.
        """
        rewinds = {}
        for partition, state in self._partitions.items():
            lost = [delivery for delivery, at in state.queued.items() if now - at > LOST_AFTER]
            for delivery in lost:
                state.lost[delivery] = state.queued.pop(delivery)
            state.gap = state.gap or bool(lost)
            if state.gap and not state.in_progress:
                state.gap = False
                rewinds[partition] = state.offset
        return rewinds

    def truncate(self, partition: P, start: int) -> int:
        """Record that the log now starts at `start`; returns the number of offsets deleted undone."""
        state = self._partitions.get(partition)
        if state is None or start <= state.offset:
            return 0
        deleted, state.offset = start - state.offset, start
        return deleted
