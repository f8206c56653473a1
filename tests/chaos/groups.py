"""Samples a consumer group over time: the largest lag of some partitions, and each change of the group."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager, suppress

from tests.chaos.observer import Group, ObservationFailed, Observer
from tests.chaos.progress import TOPICS_OF

SAMPLE_INTERVAL = 0.5


class GroupSamples:
    """The samples of one group."""

    def __init__(self, group: str, partitions: Collection[int]) -> None:
        self.name = group
        self.largest_lag = 0
        #: Descriptions by the coordinator that differ from the one before, including the first one.
        self.snapshots: list[Group] = []
        #: Number of samples with and without a response from Kafka.
        self.succeeded = self.failed = 0
        self._partitions = partitions

    @property
    def unchanged(self) -> bool:
        """Whether the group was stable all the time, with the same members and assignment."""
        return len(self.snapshots) == 1 and self.snapshots[0].stable

    async def sample(self, observer: Observer) -> None:
        try:
            group = await observer.group(self.name)
            lag = (await observer.lag(self.name, TOPICS_OF[self.name])).by_partition
        except ObservationFailed:
            self.failed += 1
            return
        self.succeeded += 1
        if [group] != self.snapshots[-1:]:
            self.snapshots.append(group)
        total = sum(records for tp, records in lag.items() if tp.partition in self._partitions)
        self.largest_lag = max(self.largest_lag, total)


@asynccontextmanager
async def sample_group(kafka: str, group: str, partitions: Collection[int]) -> AsyncIterator[GroupSamples]:
    """Sample the group for the block; lag counts these partitions of all its topics."""
    samples, observer = GroupSamples(group, partitions), Observer(kafka)

    async def sample_all() -> None:
        while True:
            await samples.sample(observer)
            await asyncio.sleep(SAMPLE_INTERVAL)

    sampling = asyncio.create_task(sample_all())
    try:
        yield samples
    finally:
        sampling.cancel()
        with suppress(asyncio.CancelledError):
            await sampling
        await observer.aclose()
