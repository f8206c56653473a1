"""Watches a worker: reports its health, lag and watermark, and ends the process if it stalls.

A worker stalls when it has work that Kafka could serve and none of its partitions progresses. A partition
that Kafka cannot read or write now is not work: it is reported, and costs no other partition anything.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime
from time import monotonic

import faust
from faust.tables.manager import TableManager
from faust.tables.recovery import Recovery

from runtime.errors import KafkaUnavailable
from runtime.health import Health
from runtime.kafka.consumer_group import TopicPartition
from runtime.kafka.group_reader import GroupReader
from runtime.metrics import RECOVERY_LEFT, STATES
from runtime.watchdog import StallDetector, Stalled
from streams.message import MESSAGES
from streams.state.table import MessagesTable
from streams.watermark import Watermark, lags

POLL_INTERVAL = 1.0
#: Seconds that a write is retried until /readyz says so.
REPORT_RETRIES_AFTER = 5.0
#: Seconds without progress after which Kafka is asked whether it could be made.
ASK_KAFKA_AFTER = 3.0

Offsets = Mapping[TopicPartition, int]


class Watchdog:
    """Of one worker."""

    def __init__(
        self,
        app: faust.App,
        table: MessagesTable,
        reader: GroupReader,
        health: Health,
        watermark: Watermark[TopicPartition],
        clock: Callable[[], datetime],
        stall_after: float,
    ) -> None:
        self._app = app
        self._table = table
        self._reader = reader
        self._health = health
        self._watermark = watermark
        self._clock = clock
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
            now = self._clock()
            done = self._done
            ends = await self._ends(done)
            self._watermark.observe(now, ends, done)
            self._report()
            await self._check_stall(self._pending(lags(ends, done)))

    @property
    def _done(self) -> Offsets:
        if not self._app.consumer:
            return {}
        return {TopicPartition(*tp): offset for tp, offset in self._table.consumer.tracker.offsets.items()}

    async def _ends(self, partitions: Offsets) -> Offsets:
        """Where the inputs end, of each partition whose leader answers."""
        try:
            ends = await self._reader.ends(partitions)
        except KafkaUnavailable as error:
            self._health.down("kafka", str(error))
            return {}
        self._health.up("kafka")
        return ends

    def _pending(self, lag: Mapping[TopicPartition, int]) -> dict[int | None, str]:
        """What is left to do, in words, by partition number; None: of the worker as a whole."""
        if reason := self._unready():
            return {None: reason}
        behind: dict[int | None, int] = {}
        for tp, records in lag.items():
            if records:
                behind[tp.partition] = behind.get(tp.partition, 0) + records
        return {number: f"{left} postbacks of partition {number} to merge" for number, left in behind.items()}

    def _unready(self) -> str:
        """Why the worker does not merge at all, in words; empty when it does."""
        if not self._app.rebalancing_count:  # generations are no sign: a broker may count them from 0
            return "not in the group yet"
        remaining = _recovery(self._app).active_remaining()
        left = sum(max(0, records) for records in remaining.values()) if self._app.in_recovery else 0
        RECOVERY_LEFT.set(left)
        if self._app.in_recovery:
            return f"{left} records of {MESSAGES} to restore before work begins"
        return "partitions are being assigned" if self._app.rebalancing else ""

    def _report(self) -> None:
        if reason := self._unready():
            self._health.down("partitions", reason)
        else:
            self._health.up("partitions")
        now = monotonic()
        retried = {
            f"{MESSAGES}-{partition}": f"not written for {now - since:.0f} s, retrying: {reason}"
            for partition, (since, reason) in self._table.retrying.items()
            if now - since > REPORT_RETRIES_AFTER
        }
        for part in self._reported - retried.keys():
            self._health.up(part)
        for part, reason in retried.items():
            self._health.down(part, reason)
        self._reported = set(retried)
        STATES.set(sum(self._table.kept(partition).store.count() for partition in self._table.ready))

    async def _check_stall(self, pending: dict[int | None, str]) -> None:
        marker = (
            sum(self._done.values()),
            sum(kept.end for kept in self._table.states.all()),
            self._app.rebalancing_count,
        )
        if pending and self._detector.seconds >= min(ASK_KAFKA_AFTER, self._stall_after / 4):
            pending = await self._served(pending)
        seconds = self._detector.observe(monotonic(), marker, bool(pending))
        if seconds >= self._stall_after:
            errors = ", ".join(sorted({reason for _, reason in self._table.retrying.values()}))
            work = "; ".join(pending.values())
            raise Stalled(f"{work}; no progress for {seconds:.0f} s ({errors or 'no error known'})")

    async def _served(self, pending: dict[int | None, str]) -> dict[int | None, str]:
        """The part of it that Kafka answers for and takes writes of."""
        try:
            writable = await self._reader.writable(MESSAGES)
        except KafkaUnavailable:
            return {}
        return {number: work for number, work in pending.items() if number is None or number in writable}


def _recovery(app: faust.App) -> Recovery:
    manager: TableManager = app.tables  # type: ignore[assignment]
    return manager.recovery
