"""Reads log offsets and the committed offsets of consumer groups, without joining a group."""

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
    NotCoordinatorForGroupError,
)

from runtime.kafka.errors import translate_errors
from runtime.kafka.group_reader import committed_offsets

#: Seconds between polls, and for a method's requests.
POLL_INTERVAL, TIMEOUT = 0.2, 20.0

#: Errors of a coordinator that is about to be available.
NOT_LOADED = (GroupCoordinatorNotAvailableError, GroupLoadInProgressError, NotCoordinatorForGroupError)

Offsets = Mapping[TopicPartition, int]


class NotDrained(Exception):
    """A group made no progress for too long, with a lag of `lag` records."""

    def __init__(self, lag: int) -> None:
        super().__init__(f"{lag:,} records left, and no progress")
        self.lag = lag


class Logs:
    """Offsets of a cluster's logs and groups, see `open_logs`. Every method raises KafkaUnavailable."""

    def __init__(self, consumer: AIOKafkaConsumer, admin: AIOKafkaAdminClient) -> None:
        self._consumer = consumer
        self._admin = admin

    async def ends(self, topics: Collection[str]) -> Offsets:
        """Log end offsets (one past the last record), of all partitions of those topics that exist."""
        async with _requests():
            partitions = [
                TopicPartition(topic["topic"], partition["partition"])
                for topic in await self._admin.describe_topics()  # naming a topic may create it
                if topic["topic"] in topics
                for partition in topic["partitions"]
            ]
            found: Offsets = await self._consumer.end_offsets(partitions) if partitions else {}
            return found

    async def lag(self, group: str, ends: Offsets) -> int:
        """Number of offsets before `ends` that the group has not committed."""
        starts, committed = await self.starts(ends), await self.committed(group, ends)
        return sum(max(0, end - max(starts[tp], committed[tp])) for tp, end in ends.items())

    async def committed(self, group: str, partitions: Collection[TopicPartition]) -> Offsets:
        """The group's committed offset of each partition; -1 if there is none."""
        if not partitions:
            return {}
        async with _requests():
            while True:
                try:
                    found = await committed_offsets(self._admin, group, partitions)
                    return {tp: found.get(tp, -1) for tp in partitions}
                except NOT_LOADED:  # a cluster's first group request creates the topic of offsets
                    await asyncio.sleep(POLL_INTERVAL)

    async def starts(self, partitions: Collection[TopicPartition]) -> Offsets:
        """Log start offsets: the first offset of each partition that retention has not deleted."""
        async with _requests():
            found: Offsets = await self._consumer.beginning_offsets(list(partitions)) if partitions else {}
            return found

    async def offsets_at(self, time_ms: int, ends: Offsets) -> Offsets:
        """The first offset at or after a time (ms since 1970) of each partition; its end if there is none."""
        async with _requests():
            found = await self._consumer.offsets_for_times(dict.fromkeys(ends, time_ms)) if ends else {}
            return {tp: found[tp].offset if found.get(tp) else end for tp, end in ends.items()}

    async def wait_drained(
        self, group: str, ends: Offsets, timeout: float, on_lag: Callable[[int], None]
    ) -> None:
        """Wait until the group has committed everything before `ends`; `on_lag` gets each lag until then.

        Raises:
            NotDrained: the lag did not shrink for `timeout` seconds.
        """
        clock = asyncio.get_running_loop().time
        lag, progress_at = await self.lag(group, ends), clock()
        while lag:
            on_lag(lag)
            await asyncio.sleep(POLL_INTERVAL)
            previous, lag = lag, await self.lag(group, ends)
            if lag < previous:
                progress_at = clock()
            elif clock() > progress_at + timeout:
                raise NotDrained(lag)


@asynccontextmanager
async def open_logs(options: Mapping[str, Any]) -> AsyncIterator[Logs]:
    """Connect with the options of `client_options`, and disconnect after the block.

    Raises:
        KafkaUnavailable: no broker answers.
    """
    # Without a group there is no position to fall back to: each read sets its own.
    consumer = AIOKafkaConsumer(**options, enable_auto_commit=False, auto_offset_reset="none")
    admin = AIOKafkaAdminClient(**options)
    try:
        async with _requests():
            await consumer.start()
            await admin.start()
        yield Logs(consumer, admin)
    finally:
        await consumer.stop()
        await admin.close()


@asynccontextmanager
async def _requests() -> AsyncIterator[None]:
    """Limit the block to `TIMEOUT` seconds, with errors translated."""
    with translate_errors():
        async with asyncio.timeout(TIMEOUT):
            yield
