"""Kafka's offsets, read in the order that makes them comparable with ClickHouse's rows.

Streams' committed offsets are read before the ends of the logs: what streams wrote for a committed offset is
then before the end of `messages`. The sinks' committed offsets are read before ClickHouse is queried: rows of
committed offsets are there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from aiokafka import TopicPartition

from gateway.rejected import REJECTED
from operations.reconcile.expected import LogOffsets
from runtime.kafka.offsets import Logs, Offsets
from streams.auto_response import AUTO_RESPONSES
from streams.message import INPUTS, MESSAGES

#: Seconds the sinks get to store what streams has just written, and seconds between two polls.
CATCH_UP_TIMEOUT, POLL_INTERVAL = 5.0, 0.2


@dataclass(frozen=True)
class Snapshot:
    """A cluster's offsets at one moment."""

    logs: Mapping[TopicPartition, LogOffsets]
    #: Committed by streams, of its inputs; at least the log's start.
    streams: Offsets

    def of(self, *topics: str) -> dict[TopicPartition, LogOffsets]:
        return {tp: log for tp, log in self.logs.items() if tp.topic in topics}

    @property
    def pending_events(self) -> int:
        """Records of its inputs that streams has not committed."""
        return sum(max(0, log.end - self.streams[tp]) for tp, log in self.of(*INPUTS).items())

    @property
    def pending_states(self) -> int:
        """Records of `messages` that the sinks have not committed."""
        return sum(max(0, log.end - max(log.start, log.committed)) for log in self.of(MESSAGES).values())


async def take_snapshot(logs: Logs, since: datetime) -> Snapshot:
    """Read all offsets.

    Raises:
        KafkaUnavailable: no answer.
    """
    partitions = list(await logs.ends((*INPUTS, REJECTED, AUTO_RESPONSES, MESSAGES)))
    by_streams = await logs.committed("streams", [tp for tp in partitions if tp.topic in INPUTS])
    ends = await logs.ends({tp.topic for tp in partitions})
    by_sinks = await logs.committed("sinks", partitions)
    starts = await logs.starts(partitions)
    sinces = await logs.offsets_at(int(since.timestamp() * 1000), {tp: ends[tp] for tp in partitions})
    return Snapshot(
        {
            tp: LogOffsets(starts[tp], max(sinces[tp], starts[tp]), by_sinks[tp], ends[tp])
            for tp in partitions
        },
        {tp: max(offset, starts[tp]) for tp, offset in by_streams.items()},
    )


async def wait_for_states(logs: Logs, snapshot: Snapshot) -> set[int]:
    """Wait briefly for the sinks to reach the snapshot's end of `messages`; the partitions that still lag."""
    ends = {tp: log.end for tp, log in snapshot.of(MESSAGES).items()}
    lagging = set(ends)
    with suppress(TimeoutError):
        async with asyncio.timeout(CATCH_UP_TIMEOUT):
            while lagging:
                committed = await logs.committed("sinks", lagging)
                lagging = {tp for tp in lagging if committed[tp] < ends[tp] > snapshot.logs[tp].start}
                if lagging:
                    await asyncio.sleep(POLL_INTERVAL)
    return {tp.partition for tp in lagging}
