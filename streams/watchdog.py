"""Reports a worker's health, lag and watermark, and ends the process if the worker stalls.

A worker stalls when it has work that Kafka could serve, and none of its partitions progresses. A partition
that Kafka cannot read or write at present is reported, but is not work, so that it costs the others nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic

from runtime.errors import KafkaUnavailable
from runtime.health import Health
from runtime.kafka.group_reader import GroupReader
from runtime.metrics import RECOVERY_LEFT, STATES
from runtime.watchdog import StallDetector, Stalled
from streams.message import MESSAGES
from streams.state.writer import Retry
from streams.watermark import Offsets, Watermark, lags

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
    #: Changelog records left to restore; None while no restore is running.
    to_restore: int | None
    #: Writes that are being retried, by partition.
    retrying: Mapping[int, Retry]
    #: Sum of the stores' positions in the changelog.
    changelog_position: int
    #: States in the stores, an estimate.
    states: int

    @property
    def unready_reason(self) -> str:
        """Why the worker processes nothing; empty if it does."""
        if not self.assignments:
            return "not in the group yet"
        if self.to_restore is not None:
            return f"restoring, {self.to_restore} records of {MESSAGES} left"
        return "partitions are being assigned" if self.is_rebalancing else ""


class Watchdog:
    """Watches one worker."""

    def __init__(
        self,
        status: Callable[[], WorkerStatus],
        reader: GroupReader,
        health: Health,
        watermark: Watermark,
        stall_after: float,
    ) -> None:
        """
        Args:
            watermark: to be updated.
            stall_after: seconds without progress after which the worker has stalled.
        """
        self._status = status
        self._reader = reader
        self._health = health
        self._watermark = watermark
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
            self._watermark.observe(now, ends, processed)
            status = self._status()
            self._report(status)
            await self._check_stall(status, _pending(status, lags(ends, processed)))

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
            f"{MESSAGES}-{partition}": f"not written for {now - since:.0f} s, retrying: {reason}"
            for partition, (since, reason) in status.retrying.items()
            if now - since > REPORT_RETRIES_AFTER
        }
        for part in self._reported - retried.keys():
            self._health.up(part)
        for part, reason in retried.items():
            self._health.down(part, reason)
        self._reported = set(retried)
        RECOVERY_LEFT.set(status.to_restore or 0)
        STATES.set(status.states)

    async def _check_stall(self, status: WorkerStatus, pending: dict[int | None, str]) -> None:
        if pending and self._detector.seconds >= min(ASK_KAFKA_AFTER, self._stall_after / 4):
            pending = await self._servable(pending)
        marker = sum(status.processed.values()), status.changelog_position, status.assignments
        seconds = self._detector.observe(monotonic(), marker, bool(pending))
        if seconds >= self._stall_after:
            errors = ", ".join(sorted({retry.reason for retry in status.retrying.values()}))
            work = "; ".join(pending.values())
            raise Stalled(f"{work}; no progress for {seconds:.0f} s ({errors or 'no error known'})")

    async def _servable(self, pending: dict[int | None, str]) -> dict[int | None, str]:
        """The part of the work for which Kafka answers and accepts writes."""
        try:
            writable = await self._reader.writable(MESSAGES)
        except KafkaUnavailable:
            return {}
        return {number: work for number, work in pending.items() if number is None or number in writable}


def _pending(status: WorkerStatus, lag: Offsets) -> dict[int | None, str]:
    """Describe the work left, by partition number; None: of the worker as a whole."""
    if reason := status.unready_reason:
        return {None: reason}
    by_number: dict[int | None, int] = {}
    for tp, records in lag.items():
        if records:
            by_number[tp.partition] = by_number.get(tp.partition, 0) + records
    return {number: f"{left} postbacks of partition {number} to merge" for number, left in by_number.items()}
