"""Waits until every partition of a group has a stable owner."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from contextlib import aclosing, suppress

from aiokafka import TopicPartition

from tests.chaos.observer import Group, ObservationFailed, Observer

POLL_INTERVAL = 0.2
#: Seconds until a started broker has the metadata of all topics.
METADATA_TIMEOUT = 60.0


class NotOwned(Exception):
    """A group did not own all its partitions in time. The text describes the group."""


async def wait_metadata(kafka: str, partitions: Mapping[str, int]) -> float:
    """Wait until a new client gets metadata with these numbers of partitions; return the monotonic time.

    Raises:
        TimeoutError: it did not within `METADATA_TIMEOUT`.
    """
    async with asyncio.timeout(METADATA_TIMEOUT):
        while True:
            async with aclosing(Observer(kafka)) as observer:
                with suppress(ObservationFailed):
                    if partitions.items() <= (await observer.partitions()).items():
                        return time.monotonic()
            await asyncio.sleep(POLL_INTERVAL)


async def wait_owned(
    kafka: str,
    group: str,
    partitions: AbstractSet[TopicPartition],
    members: int,
    stable_seconds: float,
    deadline: float,
) -> float:
    """Wait until so many members own all partitions; return since when (monotonic) they do.

    Owners must not change for `stable_seconds`, longer than a session: a killed member owns its partitions
    until its session expires.

    Raises:
        NotOwned: they did not own everything at `deadline` (monotonic), or not for long enough.
    """
    since, previous, description = time.monotonic(), None, "no response"
    async with aclosing(Observer(kafka)) as observer:
        while True:
            now = time.monotonic()
            try:
                snapshot = await observer.group(group)
                unowned = partitions - snapshot.owned
                if snapshot != previous or not snapshot.stable or unowned or len(snapshot.members) != members:
                    since = now
                previous, description = snapshot, _describe(snapshot, unowned)
                if now - since >= stable_seconds:
                    return since
            except ObservationFailed as error:
                description = str(error)
            if max(since, now - stable_seconds) > deadline:
                raise NotOwned(description)
            await asyncio.sleep(POLL_INTERVAL)


def _describe(group: Group, unowned: AbstractSet[TopicPartition]) -> str:
    names = ", ".join(f"{topic}-{number}" for topic, number in sorted(unowned))
    return f"{group.state}, {len(group.members)} members, without an owner: {names or 'none'}"
