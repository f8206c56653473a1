"""Waits until every partition of a group has an owner that stays."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from collections.abc import Set as AbstractSet

from aiokafka import TopicPartition

from tests.chaos.observer import Group, Observer, Unavailable

POLL_SECONDS = 0.2
#: Until a broker that has started knows all of its topics.
METADATA_SECONDS = 60.0


class NotOwned(Exception):
    """A group did not own all of its partitions in time; says what it owned."""


async def complete_metadata(kafka: str, partitions: Mapping[str, int]) -> float:
    """When (monotonic) a fresh client first got an answer with those topics and numbers of partitions.

    Raises:
        TimeoutError: no such answer came.
    """
    async with asyncio.timeout(METADATA_SECONDS):
        while True:
            fresh = Observer(kafka)
            try:
                if partitions.items() <= (await fresh.partitions()).items():
                    return time.monotonic()
            except Unavailable:
                pass
            finally:
                await fresh.close()
            await asyncio.sleep(POLL_SECONDS)


async def wait_owned(
    kafka: str, group: str, partitions: AbstractSet[TopicPartition], members: int, hold: float, until: float
) -> float:
    """When (monotonic) the group got its lasting owners: all partitions, so many members, stable.

    They must stay for `hold` seconds, longer than a session: a killed member owns its partitions until then.

    Raises:
        NotOwned: they did not own everything at `until`, or not for long enough.
    """
    observer = Observer(kafka)
    since, before, description = time.monotonic(), None, "no answer"
    try:
        while True:
            now = time.monotonic()
            try:
                found = await observer.group(group)
                missing = partitions - found.owned
                if found != before or not found.stable or missing or len(found.members) != members:
                    since = now
                before, description = found, _describe(found, missing)
                if now - since >= hold:
                    return since
            except Unavailable as error:
                description = str(error)
            if max(since, now - hold) > until:
                raise NotOwned(description)
            await asyncio.sleep(POLL_SECONDS)
    finally:
        await observer.close()


def _describe(found: Group, missing: AbstractSet[TopicPartition]) -> str:
    unowned = ", ".join(f"{topic}-{number}" for topic, number in sorted(missing))
    return f"{found.state}, {len(found.members)} members, without an owner: {unowned or 'none'}"
