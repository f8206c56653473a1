"""What a group did over a time, sampled: largest lag of some partitions, and every set of members it had."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager, suppress

from tests.chaos.observer import Group, Observer, Unavailable
from tests.chaos.progress import TOPICS_OF

SAMPLE_SECONDS = 0.5


class Sampled:
    """The samples of one group."""

    def __init__(self, group: str, partitions: Collection[int]) -> None:
        self.name = group
        self.largest_lag = 0
        #: Answers of the coordinator that differ from the one before, the first one included.
        self.groups: list[Group] = []
        #: Samples that Kafka answered, and those that it did not.
        self.answered = self.unanswered = 0
        self._partitions = partitions

    @property
    def unchanged(self) -> bool:
        """Whether it was stable all the time, with the same members and the same assignment."""
        return len(self.groups) == 1 and self.groups[0].stable

    async def sample(self, observer: Observer) -> None:
        try:
            group = await observer.group(self.name)
            lag = (await observer.lag(self.name, TOPICS_OF[self.name])).by_partition
        except Unavailable:
            self.unanswered += 1
            return
        self.answered += 1
        if [group] != self.groups[-1:]:
            self.groups.append(group)
        left = sum(records for tp, records in lag.items() if tp.partition in self._partitions)
        self.largest_lag = max(self.largest_lag, left)


@asynccontextmanager
async def sampled(kafka: str, group: str, partitions: Collection[int]) -> AsyncIterator[Sampled]:
    """Sample the group while the block runs; lag is that of those partitions, of all of its topics."""
    samples, observer = Sampled(group, partitions), Observer(kafka)

    async def sample_all() -> None:
        while True:
            await samples.sample(observer)
            await asyncio.sleep(SAMPLE_SECONDS)

    sampling = asyncio.create_task(sample_all())
    try:
        yield samples
    finally:
        sampling.cancel()
        with suppress(asyncio.CancelledError):
            await sampling
        await observer.close()
