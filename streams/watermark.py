"""How far the input is merged: the records that are left, and the time up to which it is complete. Pure.

Partitions are pairs (topic, partition number); `ends` are the offsets at which they end, `done` those up to
which they are merged. A broker may report an end too low; lag is never negative.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Generic, TypeVar

P = TypeVar("P", bound=tuple[str, int])


def lags(ends: Mapping[P, int], done: Mapping[P, int]) -> dict[P, int]:
    """Records left to merge, of each partition whose end is known."""
    return {
        partition: max(0, ends[partition] - offset) for partition, offset in done.items() if partition in ends
    }


class Watermark(Generic[P]):
    """The time up to which all input of a partition number is merged; the clock of everything overdue.

    Under load the end is never reached. So the ends of one moment are remembered until the work has passed
    them: then everything that Kafka had at that moment is merged.
    """

    def __init__(self) -> None:
        self._asked: dict[int, tuple[datetime, dict[P, int]]] = {}
        self._reached: dict[int, datetime] = {}

    def observe(self, now: datetime, ends: Mapping[P, int], done: Mapping[P, int]) -> None:
        """Note the ends as of `now` or later; a partition whose end is unknown holds its number back."""
        for number in {partition for _, partition in done}:
            mine = [partition for partition in done if partition[1] == number]
            if any(partition not in ends for partition in mine):
                continue
            inputs = {partition: ends[partition] for partition in mine}
            at, asked = self._asked.setdefault(number, (now, inputs))
            if all(done.get(partition, end) >= end for partition, end in asked.items()):
                self._reached[number] = at
                del self._asked[number]

    def of(self, number: int) -> datetime | None:
        """The partition number's watermark; None while it is unknown."""
        return self._reached.get(number)

    def reset(self) -> None:
        """Start a new assignment."""
        self._asked.clear()
        self._reached.clear()
