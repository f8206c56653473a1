"""Reports a worker's health, lag and watermark, and ends the process if the worker stalls.

A worker stalls when it has work that Kafka could serve, and none of its partitions progresses. A partition
that Kafka cannot read or write at present is reported, but is not work, so that it costs the others nothing.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic
from typing import TypeAlias

from runtime.errors import KafkaUnavailable
from runtime.health import Health
from runtime.kafka.consumer_group import TopicPartition
from runtime.kafka.group_reader import GroupReader
from runtime.metrics import RECOVERY_LEFT, STATES
from runtime.watchdog import StallDetector, Stalled
from streams.state.spec import TableSpec
from streams.state.writer import Retry
from streams.watermark import Offsets, Watermark, lags

#: Descriptions of the work left, by partition of the changelog that it changes; None: of the whole worker.
Pending: TypeAlias = Mapping[TopicPartition | None, str]

POLL_INTERVAL = 1.0
#: Seconds of retrying a write after which /readyz reports it.
REPORT_RETRIES_AFTER = 5.0
#: Seconds without progress after which Kafka is asked whether progress is possible.
ASK_KAFKA_AFTER = 3.0


@dataclass(frozen=True)
class WorkerStatus:
    """What a worker has done so far, and what it is waiting for."""

    #: The next offset to process, of each assigned input partition.
    processed: Offsets
    #: Assignments since the start. Not the group's generation: a broker may count that from 0.
    assignments: int
    is_rebalancing: bool
    #: Records left to restore, by changelog; None while no restore is running.
    to_restore: Mapping[str, int] | None
    #: Writes that are being retried, by partition of a changelog.
    retrying: Mapping[TopicPartition, Retry]
    #: Sum of the stores' positions in their changelogs.
    changelog_position: int
    #: States in the stores, an estimate, by changelog.
    states: Mapping[str, int]

    @property
    def unready_reason(self) -> str:
        """Why the worker processes nothing; empty if it does."""
        if not self.assignments:
            return "not in the group yet"
        if self.to_restore is not None:
            left = [f"{records} records of {topic}" for topic, records in self.to_restore.items()]
            return f"restoring, {' and '.join(left)} left"
        return "partitions are being assigned" if self.is_rebalancing else ""


class Watchdog:
    """Watches one worker."""

    def __init__(
        self,
        status: Callable[[], WorkerStatus],
        reader: GroupReader,
        health: Health,
        watermarks: Mapping[TableSpec, Watermark],
        stall_after: float,
    ) -> None:
        """
        Args:
            watermarks: of each table's inputs, to be updated.
            stall_after: seconds without progress after which the worker has stalled.
        """
        self._status = status
        self._reader = reader
        self._health = health
        self._watermarks = watermarks
        self._stall_after = stall_after
        self._detector = StallDetector()
        self._reported: set[str] = set()

    async def run(self) -> None:
        """Watch until cancelled.

        Raises:
            Stalled: there is work, Kafka answers, and nothing progresses.
        """
        while True:
            await asyncio.sleep(POLL_INTERVAL)
            now = datetime.now(UTC)
            processed = self._status().processed
            ends = await self._end_offsets(processed)
            for spec, watermark in self._watermarks.items():
                inputs = {tp: offset for tp, offset in processed.items() if tp.topic in spec.inputs}
                watermark.observe(now, ends, inputs)
            status = self._status()
            self._report(status)
            pending = _pending(self._watermarks, status, lags(ends, processed))
            await self._check_stall(status, pending)

    async def _end_offsets(self, partitions: Offsets) -> Offsets:
        """Log end offsets, of each partition whose leader answers."""
        try:
            ends = await self._reader.ends(partitions)
        except KafkaUnavailable as error:
            self._health.down("kafka", str(error))
            return {}
        self._health.up("kafka")
        return ends

    def _report(self, status: WorkerStatus) -> None:
        if reason := status.unready_reason:
            self._health.down("partitions", reason)
        else:
            self._health.up("partitions")
        now = monotonic()
        retried = {
            str(partition): f"{topic} not written for {now - since:.0f} s, retrying: {reason}"
            for partition, (topic, since, reason) in status.retrying.items()
            if now - since > REPORT_RETRIES_AFTER
        }
        for part in self._reported - retried.keys():
            self._health.up(part)
        for part, reason in retried.items():
            self._health.down(part, reason)
        self._reported = set(retried)
        for topic, states in status.states.items():
            RECOVERY_LEFT.labels(topic).set((status.to_restore or {}).get(topic, 0))
            STATES.labels(topic).set(states)

    async def _check_stall(self, status: WorkerStatus, pending: Pending) -> None:
        if pending and self._detector.seconds >= min(ASK_KAFKA_AFTER, self._stall_after / 4):
            pending = await self._servable(pending, status.retrying)
        marker = sum(status.processed.values()), status.changelog_position, status.assignments
        seconds = self._detector.observe(monotonic(), marker, bool(pending))
        if seconds >= self._stall_after:
            errors = ", ".join(sorted({retry.reason for retry in status.retrying.values()}))
            work = "; ".join(pending.values())
            raise Stalled(f"{work}; no progress for {seconds:.0f} s ({errors or 'no error known'})")

    async def _servable(self, pending: Pending, retrying: Mapping[TopicPartition, Retry]) -> Pending:
        """The part of the work for which Kafka answers and accepts writes."""
        changelogs = {tp.topic for tp in pending if tp}
        appended_to = {retry.topic for retry in retrying.values()} - changelogs
        try:
            writable = {topic: await self._reader.writable(topic) for topic in changelogs}
            blocked = {topic for topic in appended_to if not await self._reader.is_writable(topic)}
        except KafkaUnavailable:
            return {}
        return servable(pending, retrying, writable, blocked)


def servable(
    pending: Pending,
    retrying: Mapping[TopicPartition, Retry],
    writable: Mapping[str, Collection[int]],
    blocked: Collection[str],
) -> Pending:
    """The part of the work that Kafka can serve.

    Args:
        writable: of each changelog, the partitions that accept writes.
        blocked: other topics that are appended to, of which some partition does not accept writes.
    """
    waiting = {tp for tp, retry in retrying.items() if retry.topic in blocked}
    return {
        tp: work
        for tp, work in pending.items()
        if tp is None or (tp.partition in writable[tp.topic] and tp not in waiting)
    }


def _pending(tables: Iterable[TableSpec], status: WorkerStatus, lag: Offsets) -> Pending:
    if reason := status.unready_reason:
        return {None: reason}
    changelogs = {topic: spec.topic for spec in tables for topic in spec.inputs}
    left: Counter[TopicPartition] = Counter()
    for tp, records in lag.items():
        left[TopicPartition(changelogs[tp.topic], tp.partition)] += records
    return {tp: f"{records} records to merge into {tp}" for tp, records in left.items() if records}
