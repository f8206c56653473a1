"""How far the input is merged: what is left, up to which time all is in, and whether it still moves. Pure.

Partitions of a topic are pairs (topic, partition); `ends` says where each ends, `done` up to where it is
merged. An engine may call an end too low; what is left is never less than 0.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from datetime import datetime
from typing import Generic, TypeVar

P = TypeVar("P", bound=tuple[str, int])


def lags(ends: Mapping[P, int], done: Mapping[P, int]) -> dict[P, int]:
    """Of each partition that is ours the records that are left."""
    return {
        partition: max(0, ends[partition] - offset) for partition, offset in done.items() if partition in ends
    }


class Horizon(Generic[P]):
    """Of each partition number the time up to which all of its input is merged.

    Under load the end is never reached. So the ends of a moment are kept until the work has passed them: then
    all that Kafka had at that moment is in, and time itself counts as having come that far. Whoever judges by
    time (no receipt until …) uses this as his clock.
    """

    def __init__(self) -> None:
        self._asked: dict[int, tuple[datetime, dict[P, int]]] = {}
        self._reached: dict[int, datetime] = {}

    def observe(self, now: datetime, ends: Mapping[P, int], done: Mapping[P, int]) -> None:
        """Take in the ends as they were at `now` or later."""
        for number in {partition for _, partition in done}:
            inputs = {
                partition: ends[partition]
                for partition in done
                if partition[1] == number and partition in ends
            }
            at, asked = self._asked.setdefault(number, (now, inputs))
            if all(done.get(partition, end) >= end for partition, end in asked.items()):
                self._reached[number] = at
                del self._asked[number]

    def of(self, number: int) -> datetime | None:
        """The time of that partition number; null when it is not known yet."""
        return self._reached.get(number)

    def forget(self) -> None:
        """The partitions are assigned anew."""
        self._asked.clear()
        self._reached.clear()


class Standstill:
    """For how long there was work and nothing moved, in seconds that this process really ran."""

    #: A longer time between two looks is one in which the process was frozen, or its machine.
    LONGEST_STEP = 5.0

    def __init__(self) -> None:
        self._mark: Hashable = None
        self._looked_at: float | None = None
        self.seconds = 0.0

    def observe(self, now: float, mark: Hashable, *, work_left: bool) -> float:
        """Take in a mark that differs whenever something moved; returns the seconds."""
        step = 0.0 if self._looked_at is None else min(now - self._looked_at, self.LONGEST_STEP)
        self._looked_at = now
        moved = mark != self._mark
        self._mark = mark
        self.seconds = 0.0 if moved or not work_left else self.seconds + step
        return self.seconds
