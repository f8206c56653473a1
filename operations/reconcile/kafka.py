"""What Kafka says of its logs, asked in the order that makes the answers comparable with ClickHouse's.

First how far streams has committed, then where the logs end: what streams did for an offset it committed is
before the end of `messages`. How far the sinks have committed is asked before ClickHouse is: what they
committed is there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from aiokafka import TopicPartition

from gateway.postback import POSTBACK_TOPICS, REJECTED
from operations.reconcile.expected import Log
from runtime.kafka.offsets import Logs, Offsets
from streams.message import MESSAGES

#: Seconds in which the sinks usually catch up with what streams had just written.
CATCH_UP, LOOK = 5.0, 0.2


@dataclass(frozen=True)
class Snapshot:
    """A cluster's logs at a moment."""

    logs: Mapping[TopicPartition, Log]
    #: Of the topics of postbacks, the offset before which streams has done its work.
    streams: Offsets

    def of(self, *topics: str) -> dict[TopicPartition, Log]:
        return {tp: log for tp, log in self.logs.items() if tp.topic in topics}

    @property
    def streams_behind(self) -> int:
        """Records that streams has not committed."""
        return sum(max(0, log.end - self.streams[tp]) for tp, log in self.of(*POSTBACK_TOPICS).items())

    @property
    def states_behind(self) -> int:
        """Records of `messages` that the sinks have not committed."""
        return sum(max(0, log.end - max(log.first, log.committed)) for log in self.of(MESSAGES).values())


async def take_snapshot(logs: Logs, since: datetime) -> Snapshot:
    """
    Raises:
        KafkaAway: no answer.
    """
    there = list(await logs.ends((*POSTBACK_TOPICS, REJECTED, MESSAGES)))
    committed = await logs.committed("streams", [tp for tp in there if tp.topic in POSTBACK_TOPICS])
    ends = await logs.ends({tp.topic for tp in there})
    stored = await logs.committed("sinks", there)
    firsts = await logs.firsts(there)
    sinces = await logs.since(int(since.timestamp() * 1000), {tp: ends[tp] for tp in there})
    return Snapshot(
        {tp: Log(firsts[tp], max(sinces[tp], firsts[tp]), stored[tp], ends[tp]) for tp in there},
        {tp: max(offset, firsts[tp]) for tp, offset in committed.items()},
    )


async def wait_for_states(logs: Logs, snapshot: Snapshot) -> set[int]:
    """The partitions of `messages` whose end as it was the sinks have not reached, after a moment's wait."""
    ends = {tp: log.end for tp, log in snapshot.of(MESSAGES).items()}
    lagging = set(ends)
    with suppress(TimeoutError):
        async with asyncio.timeout(CATCH_UP):
            while lagging:
                reached = await logs.committed("sinks", lagging)
                lagging = {tp for tp in lagging if reached[tp] < ends[tp] > snapshot.logs[tp].first}
                if lagging:
                    await asyncio.sleep(LOOK)
    return {tp.partition for tp in lagging}
