"""Repairs in rounds until a reconciliation finds nothing that another round could change.

A round inserts what Kafka has, then publishes what is only in ClickHouse. What it inserted may show losses in
what follows from it (events that are in no message), which the next round finds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from gateway.parsing.values import read_guid
from gateway.postback import key_of
from operations.progress import Progress
from operations.reconcile.report import ReconcileReport
from operations.reconcile.run import Comparison, reconcile
from operations.repair.insert import Insert
from operations.repair.missing import insert_missing, lose_partition
from operations.repair.report import RepairReport
from operations.repair.republish import Wanted, publish_again
from operations.repair.states import StatesFound, insert_states
from operations.replay.publish import Publish
from operations.rows import Query
from runtime.kafka.offsets import Logs, NotDrained, open_logs
from runtime.kafka.reader import open_records
from streams.message import INPUTS, MESSAGES


@dataclass
class Repair:
    """One repair; `report` is valid even if it fails. Each part of it can be repeated."""

    query: Query
    #: Options of aiokafka's clients (`runtime.kafka.clients.client_options`).
    kafka: Mapping[str, Any]
    since: datetime
    insert: Insert
    open_publisher: Callable[[], AbstractAsyncContextManager[Publish]]
    progress: Progress
    report: RepairReport
    #: Seconds without progress of streams, or of the sinks, after which it stops waiting for them.
    stall_timeout: float = 10.0
    _published: set[str] = field(default_factory=set)

    async def run(self) -> ReconcileReport:
        """Repair, and return the report of the last reconciliation; a dry run has only one.

        Raises:
            QueryFailed, KafkaUnavailable: no answer. Errors of `insert` and of `publish` are raised, too.
        """
        found = await self._reconcile()
        while not found.report.complete:
            changes, published = self.report.changes, len(self._published)
            await self._round(found)
            if self.report.dry_run or self.report.changes == changes:
                break
            drained = len(self._published) == published or await self._wait()
            before, found = found, await self._reconcile()
            if not drained or _losses(found) == _losses(before):
                break
        return found.report

    async def _reconcile(self) -> Comparison:
        return await reconcile(self.query, self.kafka, self.since, self.progress)

    async def _round(self, found: Comparison) -> None:
        self.report.forget_losses()
        await self._insert_missing(found)
        wanted_keys = found.keys | {key_of(event.account, event.message_id) for event in found.lost}
        if wanted_keys:
            states = await self._insert_states(found, wanted_keys)
            await self._publish(found, states)

    async def _insert_missing(self, found: Comparison) -> None:
        incomplete = [(partition, found.log_of(partition)) for partition in found.report.partitions]
        in_kafka = [(partition, log) for partition, log in incomplete if partition.missing and log]
        for partition, log in incomplete:
            if partition.missing and not log:
                lose_partition(partition, self.report)
        if in_kafka:
            missing = sum(partition.missing for partition, _ in in_kafka)
            with self.progress.step("Inserting missing rows", missing) as advance:
                async with open_records(self.kafka) as records:
                    for partition, log in in_kafka:
                        await insert_missing(
                            self.query, records, self.insert, partition, log, self.report, advance
                        )
        for partition in found.report.partitions:
            if partition.duplicates:
                what = f"{partition.topic}/{partition.partition}: {partition.duplicates:,} duplicate rows"
                self.report.lose(what, "nothing tells which of them are right", partition.duplicates)

    async def _insert_states(self, found: Comparison, keys: set[bytes]) -> StatesFound:
        ranges = {tp: range(log.since, log.end) for tp, log in found.snapshot.of(MESSAGES).items()}
        total = sum(map(len, ranges.values()))
        with self.progress.step("Reading the topic `messages`", total) as advance:
            async with open_records(self.kafka) as records:
                return await insert_states(records, self.insert, keys, ranges, self.report, advance)

    async def _publish(self, found: Comparison, states: StatesFound) -> None:
        events = {
            event.event_id: event.message_id
            for event in found.lost
            if event.event_id not in states.events and event.event_id not in self._published
        }
        without_state = {
            key: key.rpartition(b"/")[2].decode() for key in found.keys - states.keys if _has_id(key)
        }
        wanted = Wanted(events.keys(), without_state.keys(), {*events.values(), *without_state.values()})
        if not wanted.message_ids:
            return
        with self.progress.step("Publishing events again", len(wanted.message_ids)) as advance:
            async with self.open_publisher() as publish:
                self._published |= await publish_again(self.query, publish, wanted, self.report, advance)

    async def _wait(self) -> bool:
        """Whether streams and the sinks have processed what was published."""
        async with open_logs(self.kafka) as logs:
            for group, topics in (("streams", INPUTS), ("sinks", (*INPUTS, MESSAGES))):
                if not await self._drain(logs, group, topics):
                    return False
        return True

    async def _drain(self, logs: Logs, group: str, topics: tuple[str, ...]) -> bool:
        ends = await logs.ends(topics)
        lag = await logs.lag(group, ends)
        with self.progress.step(f"Waiting for {group}", lag) as advance:
            left = lag

            def on_lag(lag: int) -> None:
                nonlocal left
                advance(max(0, left - lag))
                left = min(left, lag)

            try:
                await logs.wait_drained(group, ends, self.stall_timeout, on_lag)
            except NotDrained as error:
                self.report.pending = f"{group}: {error}"
                return False
        return True


def _losses(found: Comparison) -> tuple[object, ...]:
    """What a reconciliation found missing, to compare it with another one."""
    ranges = [(*partition.missing_ranges, partition.missing) for partition in found.report.partitions]
    return ranges, found.lost, found.keys


def _has_id(key: bytes) -> bool:
    guid = key.rpartition(b"/")[2].decode(errors="replace")
    return read_guid(guid) == guid
