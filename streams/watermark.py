"""The lag of the input, and its watermark: the time up to which it is completely processed. Pure.

`ends` are log end offsets, `processed` the next offsets to process. A broker may report too low an end; lag
is never negative.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TypeAlias

from runtime.kafka.consumer_group import TopicPartition

Offsets: TypeAlias = Mapping[TopicPartition, int]


def lags(ends: Offsets, processed: Offsets) -> dict[TopicPartition, int]:
    """Records left to process, of each partition whose end is known."""
    return {
        partition: max(0, ends[partition] - offset)
        for partition, offset in processed.items()
        if partition in ends
    }


class Watermark:
    """The time up to which all input of a partition number is processed; the clock for overdue messages.

    Under load the end is never reached. So the ends of one moment are stored as targets; once they are
    processed, so is everything that Kafka had at that moment, and that moment becomes the watermark.
    """

    def __init__(self) -> None:
        self._targets: dict[int, tuple[datetime, Offsets]] = {}
        self._watermarks: dict[int, datetime] = {}

    def observe(self, now: datetime, ends: Offsets, processed: Offsets) -> None:
        """Update from ends read at `now` or later; a partition without a known end holds its number back."""
        for number in {partition for _, partition in processed}:
            inputs = [partition for partition in processed if partition[1] == number]
            if any(partition not in ends for partition in inputs):
                continue
            current = {partition: ends[partition] for partition in inputs}
            at, targets = self._targets.setdefault(number, (now, current))
            if all(processed.get(partition, end) >= end for partition, end in targets.items()):
                self._watermarks[number] = at
                del self._targets[number]

    def of(self, number: int) -> datetime | None:
        """The partition number's watermark; None while it is unknown."""
        return self._watermarks.get(number)

    def reset(self) -> None:
        """Start a new assignment."""
        self._targets.clear()
        self._watermarks.clear()
