"""Where the logs end, and how far a consumer group has come; asked of Kafka, without joining any group."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import (
    GroupCoordinatorNotAvailableError,
    GroupLoadInProgressError,
    KafkaError,
    NotCoordinatorForGroupError,
)

from runtime.errors import KafkaUnavailable
from runtime.kafka.group_reader import committed_offsets

#: Seconds between two questions, and how long a broker may take to answer one.
POLL_INTERVAL, TIMEOUT = 0.2, 20.0

#: A coordinator that will answer soon.
NOT_LOADED = (GroupCoordinatorNotAvailableError, GroupLoadInProgressError, NotCoordinatorForGroupError)

Offsets = Mapping[TopicPartition, int]


class NotDrained(Exception):
    """A group made no progress for too long; `left` records are still before it."""

    def __init__(self, left: int) -> None:
        super().__init__(f"{left:,} records left, and no progress")
        self.left = left


class Logs:
    """A cluster's logs; made by `open_logs`. Every method raises KafkaAway."""

    def __init__(self, consumer: AIOKafkaConsumer, admin: AIOKafkaAdminClient) -> None:
        self._consumer = consumer
        self._admin = admin

    async def ends(self, topics: Collection[str]) -> Offsets:
        """The offset after the last record, of each partition of those topics that exist."""
        async with _asking():
            partitions = [
                TopicPartition(topic["topic"], partition["partition"])
                for topic in await self._admin.describe_topics()  # asked by name, Kafka may create them
                if topic["topic"] in topics
                for partition in topic["partitions"]
            ]
            found: Offsets = await self._consumer.end_offsets(partitions) if partitions else {}
            return found

    async def left(self, group: str, ends: Offsets) -> int:
        """How many offsets before `ends` the group has not committed."""
        async with _asking():
            partitions = list(ends)
            if not partitions:
                return 0
            first = await self._consumer.beginning_offsets(partitions)
            reached = await self._committed(group, partitions)
            return sum(max(0, ends[tp] - max(first[tp], reached[tp])) for tp in partitions)

    async def _committed(self, group: str, partitions: list[TopicPartition]) -> Offsets:
        """Of each partition the group's offset, -1 where it has none."""
        while True:
            try:
                found = await committed_offsets(self._admin, group, partitions)
                return {tp: found.get(tp, -1) for tp in partitions}
            except NOT_LOADED:  # a cluster's first question about groups creates their topic
                await asyncio.sleep(POLL_INTERVAL)

    async def committed(self, group: str, partitions: Collection[TopicPartition]) -> Offsets:
        """Of each partition the group's offset, -1 where it has none."""
        async with _asking():
            return await self._committed(group, list(partitions)) if partitions else {}

    async def firsts(self, partitions: Collection[TopicPartition]) -> Offsets:
        """The first offset of each partition that retention has left."""
        async with _asking():
            found: Offsets = await self._consumer.beginning_offsets(list(partitions)) if partitions else {}
            return found

    async def since(self, at_ms: int, ends: Offsets) -> Offsets:
        """Of each partition where records of that time (ms since 1970) or later begin, else its end."""
        async with _asking():
            found = await self._consumer.offsets_for_times(dict.fromkeys(ends, at_ms)) if ends else {}
            return {tp: found[tp].offset if found.get(tp) else end for tp, end in ends.items()}

    async def drained(self, group: str, ends: Offsets, patience: float, tell: Callable[[int], None]) -> None:
        """Wait until the group has committed everything before `ends`; `tell` hears how much is left.

        Raises:
            NotDrained: nothing moved for `patience` seconds.
        """
        clock = asyncio.get_running_loop().time
        left, moved = await self.left(group, ends), clock()
        while left:
            tell(left)
            await asyncio.sleep(POLL_INTERVAL)
            before, left = left, await self.left(group, ends)
            if left < before:
                moved = clock()
            elif clock() > moved + patience:
                raise NotDrained(left)


@asynccontextmanager
async def open_logs(options: Mapping[str, Any]) -> AsyncIterator[Logs]:
    """Connect with the options of `runtime.kafka.client_options`.

    Raises:
        KafkaAway: nobody answers there.
    """
    # No committed position of a reader that belongs to no group: where to read is always said.
    consumer = AIOKafkaConsumer(**options, enable_auto_commit=False, auto_offset_reset="none")
    admin = AIOKafkaAdminClient(**options)
    try:
        async with _asking():
            await consumer.start()
            await admin.start()
        yield Logs(consumer, admin)
    finally:
        await consumer.stop()
        await admin.close()


@asynccontextmanager
async def _asking() -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(TIMEOUT):
            yield
    except (KafkaError, TimeoutError) as error:
        raise KafkaUnavailable(f"Kafka does not answer: {error or type(error).__name__}") from None
