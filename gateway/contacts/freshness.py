"""Polls Kafka for `as_of`: what it acknowledged before that time is in ClickHouse."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from typing import Any

import structlog
from aiokafka import TopicPartition

from gateway.contacts.barriers import Barriers, Observation, Offsets, Stage
from gateway.postback import RESPONSE
from gateway.submission import SUBMISSIONS
from runtime.errors import KafkaUnavailable
from runtime.kafka.offsets import Logs, open_logs
from runtime.metrics import CONTACTS_AS_OF
from runtime.process import wait_up_to

#: How a postback becomes part of a contact: the names are those of streams and sinks, which a test compares.
STAGES = (
    Stage("streams", (RESPONSE, SUBMISSIONS)),
    Stage("streams", ("contact_events",)),
    Stage("sinks", ("contacts",)),
)
TOPICS = frozenset(topic for stage in STAGES for topic in stage.topics)
GROUPS = frozenset(stage.group for stage in STAGES)
#: Seconds between polls; the same while nothing was looked up for `IDLE_AFTER`; and after an error.
POLL_INTERVAL, IDLE_INTERVAL, IDLE_AFTER, RETRY_INTERVAL = 1.0, 10.0, 60.0, 1.0

log = structlog.get_logger(__name__)


class Freshness:
    """The time up to which lookups are complete. Run `run` to update it."""

    def __init__(
        self, options: Mapping[str, Any], has_spooled: Callable[[], bool], clock: Callable[[], float]
    ) -> None:
        """
        Args:
            options: of aiokafka's clients (`client_options`).
            has_spooled: whether records that were acknowledged are on disk, and not in Kafka yet.
            clock: seconds since 1970.
        """
        self._options = options
        self._has_spooled = has_spooled
        self._clock = clock
        self._barriers = Barriers(STAGES)
        self._wanted_at = clock()
        self._wanted = asyncio.Event()

    @property
    def as_of(self) -> float | None:
        """Seconds since 1970; None while unknown. A query sent after reading it sees everything before."""
        return self._barriers.as_of

    def want(self) -> None:
        """Poll often for a while: `as_of` is being used."""
        self._wanted_at = self._clock()
        self._wanted.set()

    async def wait_wanted(self) -> None:
        """Return once `want` has been called."""
        await self._wanted.wait()

    async def run(self) -> None:
        """Poll until cancelled. While Kafka is unavailable, `as_of` stays as it is."""
        while True:
            try:
                async with open_logs(self._options) as logs:
                    ends = await logs.ends(TOPICS)
                    while True:
                        ends = await self._poll(logs, ends)
                        await self._pause()
            except KafkaUnavailable as error:
                log.warning("Freshness of contacts not read, retrying", reason=str(error))
            except Exception:  # a bug: postbacks must be accepted nevertheless
                log.exception("Freshness of contacts not read, retrying")
            await asyncio.sleep(RETRY_INTERVAL)

    async def _poll(self, logs: Logs, partitions: Collection[TopicPartition]) -> Offsets:
        """Read what `Observation` describes, in its order; return the ends."""
        now = self._clock()
        time = None if self._has_spooled() else now
        committed = {group: await _committed(logs, group, partitions) for group in GROUPS}
        ends = await logs.ends(TOPICS)
        self._barriers.advance(Observation(time, committed, ends))
        CONTACTS_AS_OF.set(self.as_of or 0)
        return ends

    async def _pause(self) -> None:
        is_idle = self._clock() - self._wanted_at > IDLE_AFTER
        if is_idle:
            self._wanted.clear()
            await wait_up_to(IDLE_INTERVAL, self._wanted)
        else:
            await asyncio.sleep(POLL_INTERVAL)


async def _committed(logs: Logs, group: str, partitions: Collection[TopicPartition]) -> Offsets:
    """The group's offsets in the topics that it has a stage for; without one, the start of the log."""
    topics = {topic for stage in STAGES if stage.group == group for topic in stage.topics}
    found = await logs.committed(group, [tp for tp in partitions if tp.topic in topics])
    missing = [tp for tp, offset in found.items() if offset < 0]
    return {**found, **await logs.starts(missing)}
