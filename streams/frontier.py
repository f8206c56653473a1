"""How far each partition is done: the offset up to which an unbroken run of batches was acknowledged.

Only what the frontier says is committed. Around a rebalance Faust may lose what it has fetched and go on
behind it; then a batch begins after the frontier (a hole), or one that was handed over is never
acknowledged (lost), and the consumer has to go back to the frontier. Batches that come twice do no harm.
This file knows offsets and times; it neither seeks nor commits.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Generic, NamedTuple, TypeVar

P = TypeVar("P", bound=Hashable)

#: Seconds without any acknowledgement after which what was handed over last counts as lost.
PATIENCE = 15.0


class _Delivery(NamedTuple):
    number: int
    end: int
    at: float


class Frontier(Generic[P]):
    """Of all partitions `P` of one assignment. Batches are handed over, and so acknowledged, in one order."""

    def __init__(self, patience: float = PATIENCE) -> None:
        self._patience = patience
        self._offsets: dict[P, int] = {}
        self._last: dict[P, _Delivery] = {}
        self._holes: set[P] = set()
        self._deliveries = 0
        self._acked, self._acked_at = 0, float("-inf")

    @property
    def offsets(self) -> Mapping[P, int]:
        """Of each partition the next offset that is not done."""
        return self._offsets

    def begin(self, offsets: Mapping[P, int]) -> None:
        """These partitions are ours now, and done up to there; all else is forgotten."""
        self._offsets = dict(offsets)
        self._last.clear()
        self._holes.clear()

    def delivered(self, partition: P, end: int, now: float) -> int:
        """A batch that ends before offset `end` was handed over; returns its number."""
        self._deliveries += 1
        if partition in self._offsets:
            self._last[partition] = _Delivery(self._deliveries, end, now)
        return self._deliveries

    def acknowledged(self, partition: P, start: int, end: int, number: int, now: float) -> None:
        """The batch of that number, offsets `start` to before `end`, is done."""
        self._acked, self._acked_at = max(self._acked, number), now
        frontier = self._offsets.get(partition)
        if frontier is None:
            return
        if start <= frontier:
            self._offsets[partition] = max(frontier, end)
        else:
            self._holes.add(partition)

    def refused(self, partition: P) -> None:
        """A batch was handed back undone."""
        if partition in self._offsets:
            self._holes.add(partition)

    def missing(self, now: float) -> dict[P, int]:
        """Where to read again: behind a hole, and where the last delivery was lost. Told once."""
        lost = {partition for partition, last in self._last.items() if self._is_lost(partition, last, now)}
        missing = {partition: self._offsets[partition] for partition in self._holes | lost}
        self._holes.clear()
        for partition in missing:
            self._last.pop(partition, None)
        return missing

    def _is_lost(self, partition: P, last: _Delivery, now: float) -> bool:
        if last.end <= self._offsets[partition]:
            return False
        overtaken = last.number < self._acked
        return overtaken or now - max(last.at, self._acked_at) > self._patience

    def truncated(self, partition: P, start: int) -> int:
        """The log begins only at `start` now; returns how many offsets are gone that were never done."""
        frontier = self._offsets.get(partition)
        if frontier is None or start <= frontier:
            return 0
        self._offsets[partition] = start
        return start - frontier
