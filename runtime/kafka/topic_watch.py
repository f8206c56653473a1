"""Stops a process whose topic was deleted, so that it starts again with the new one.

A process keeps the id that it started with: what it stores and commits after the topic was replaced, and
before that is noticed, counts as of the earlier topic, and is joined or read again after the restart.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from time import monotonic
from uuid import UUID

import structlog

from runtime.errors import KafkaUnavailable
from runtime.kafka.group_reader import GroupReader

POLL_INTERVAL = 1.0
#: Seconds for which brokers must not know the topic: one that has just started may not know it yet.
MISSING_AFTER = 5.0

log = structlog.get_logger(__name__)


class TopicReplaced(Exception):
    """The topic was deleted while a process used it; the process has to start again."""


class TopicIdentity:
    """Decides whether a topic is still the same. Pure."""

    def __init__(self, topic: str, topic_id: UUID) -> None:
        self._topic = topic
        self._topic_id = topic_id
        self._missing_since: float | None = None

    def problem(self, now: float, found: Mapping[str, UUID]) -> TopicReplaced | None:
        """What is wrong, given the ids of the topics that exist at the monotonic time `now`."""
        topic_id = found.get(self._topic)
        if topic_id == self._topic_id:
            self._missing_since = None
            return None
        if topic_id is not None:
            return TopicReplaced(
                f"{self._topic} was deleted and created again: its id was {self._topic_id}, now {topic_id}"
            )
        if self._missing_since is None:
            self._missing_since = now
        missing = now - self._missing_since >= MISSING_AFTER
        return TopicReplaced(f"{self._topic} was deleted") if missing else None


class TopicWatch:
    """Asks Kafka for the topic's id from time to time."""

    def __init__(self, reader: GroupReader, topic: str, topic_id: UUID | None, stop: asyncio.Event) -> None:
        """
        Args:
            topic_id: None if it is unknown; then nothing is watched.
            stop: set when the topic is another one. A shutdown stores all states, unlike a crash.
        """
        self._reader = reader
        self._topic = topic
        self._topic_id = topic_id
        self._stop = stop
        #: Why `stop` was set.
        self.problem: TopicReplaced | None = None

    async def run(self) -> None:
        """Watch until cancelled."""
        if self._topic_id is not None:
            self.problem = await self._wait_until_replaced(TopicIdentity(self._topic, self._topic_id))
            log.error("Stopping to start again with the new topic", reason=str(self.problem))
            self._stop.set()
        await asyncio.Event().wait()

    async def _wait_until_replaced(self, identity: TopicIdentity) -> TopicReplaced:
        while True:
            await asyncio.sleep(POLL_INTERVAL)
            with suppress(KafkaUnavailable):
                found = await self._reader.topic_ids(self._topic)
                if found is not None and (problem := identity.problem(monotonic(), found)):
                    return problem
