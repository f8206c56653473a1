"""A whole reconciliation: queries ClickHouse and Kafka in turn, cheap queries first."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from aiokafka import TopicPartition

from gateway.postback import format_time
from gateway.rejected import REJECTED
from operations.progress import Progress
from operations.reconcile.events import LostEvent, StreamsProgress, event_slices, find_lost
from operations.reconcile.expected import ClusterPartition, LogOffsets
from operations.reconcile.kafka import Snapshot, take_snapshot, wait_for_states
from operations.reconcile.messages import find_missing
from operations.reconcile.partitions import PartitionComparison
from operations.reconcile.report import (
    MAX_NAMED,
    EventsReport,
    KeysReport,
    PartitionReport,
    ReconcileReport,
    RejectionCount,
)
from operations.rows import Query, read_rows, time
from runtime.kafka.clients import cluster_id
from runtime.kafka.offsets import open_logs
from runtime.kafka.reader import Records, open_records
from streams.auto_response import AUTO_RESPONSES
from streams.message import INPUTS, MESSAGES


class Comparison(NamedTuple):
    """A reconciliation's report, and all that was found instead of the first few of it."""

    report: ReconcileReport
    snapshot: Snapshot
    #: The lost events that were checked one by one.
    lost: list[LostEvent]
    #: Keys of the topic `messages` that ClickHouse lacks.
    keys: set[bytes]

    def log_of(self, partition: PartitionReport) -> LogOffsets | None:
        """The partition's offsets in Kafka; None if it is of another cluster, or does not exist any more."""
        if partition.cluster != self.report.cluster:
            return None
        return self.snapshot.logs.get(TopicPartition(partition.topic, partition.partition))


async def reconcile(
    query: Query, kafka: Mapping[str, Any], since: datetime, progress: Progress
) -> Comparison:
    """Compare everything received since then.

    Args:
        kafka: options of aiokafka's clients (`runtime.kafka.clients.client_options`).

    Raises:
        QueryFailed, KafkaUnavailable: no answer.
    """
    cluster = await cluster_id(kafka)
    async with open_logs(kafka) as logs, open_records(kafka) as records:
        with progress.step("Reading Kafka's offsets"):
            snapshot = await take_snapshot(logs, since)
        with_rows = snapshot.of(*INPUTS, REJECTED, AUTO_RESPONSES)
        compared = {ClusterPartition(cluster, *tp): log for tp, log in with_rows.items()}
        partitions = await PartitionComparison(query, records, compared, progress).run(since)
        with progress.step("Waiting for the sinks to store messages"):
            lagging = await wait_for_states(logs, snapshot)
        events, lost = await _compare_events(query, cluster, snapshot, lagging, since, progress)
        keys, missing = await _compare_keys(query, records, snapshot, since, progress)
        report = ReconcileReport(
            since=format_time(since),
            cluster=cluster,
            partitions=partitions,
            events=events,
            keys=keys,
            rejected=await asyncio.to_thread(_count_rejected, query, since),
        )
        return Comparison(report, snapshot, lost, missing)


async def _compare_events(
    query: Query,
    cluster: str,
    snapshot: Snapshot,
    lagging: Collection[int],
    since: datetime,
    progress: Progress,
) -> tuple[EventsReport, list[LostEvent]]:
    committed = {tuple(tp): offset for tp, offset in snapshot.streams.items()}
    streams = StreamsProgress(cluster, committed, lagging)
    slices = await asyncio.to_thread(event_slices, query, since)
    rows = sum(slice.rows for slice in slices)
    with progress.step("Comparing events with messages", rows) as advance:
        lost = await asyncio.to_thread(find_lost, query, streams, slices, advance)
    report = EventsReport(
        checked=rows,
        missing=lost.count,
        pending=snapshot.pending_events,
        named=lost.named[:MAX_NAMED],
    )
    return report, lost.named


async def _compare_keys(
    query: Query, records: Records, snapshot: Snapshot, since: datetime, progress: Progress
) -> tuple[KeysReport, set[bytes]]:
    stored = {
        tp.partition: range(log.since, min(log.committed, log.end))
        for tp, log in snapshot.of(MESSAGES).items()
    }
    total = sum(map(len, stored.values()))
    with progress.step("Comparing `messages` with ClickHouse", total) as advance:
        found = await find_missing(query, records, stored, since, advance)
    report = KeysReport(
        checked=found.records,
        missing=len(found.missing),
        pending=snapshot.pending_states,
        named=sorted(key.decode(errors="replace") for key in found.missing)[:MAX_NAMED],
    )
    return report, found.missing


def _count_rejected(query: Query, since: datetime) -> list[RejectionCount]:
    """Rejections by stage and reason, most frequent first; ClickHouse's refusals by the name of the error."""
    return read_rows(
        query,
        RejectionCount,
        "SELECT stage, if(stage = 'sinks', extract(reason, '\\\\(([A-Z_]{3,})\\\\)'), reason) AS reason, "
        "uniqExact(rejection_id) AS count FROM rejected "
        f"WHERE received_at >= {time(since)} GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2 LIMIT 50",
    )
