"""A whole reconciliation: queries ClickHouse and Kafka in turn, cheap queries first."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from gateway.postback import POSTBACK_TOPICS, format_time
from gateway.rejected import REJECTED
from operations.progress import Progress
from operations.reconcile.events import StreamsProgress, event_slices, find_lost
from operations.reconcile.expected import ClusterPartition
from operations.reconcile.kafka import Snapshot, take_snapshot, wait_for_states
from operations.reconcile.messages import find_missing
from operations.reconcile.partitions import PartitionComparison
from operations.reconcile.report import (
    MAX_NAMED,
    EventsReport,
    KeysReport,
    ReconcileReport,
    RejectionCount,
)
from operations.rows import Query, read_rows, time
from runtime.kafka.clients import cluster_id
from runtime.kafka.offsets import open_logs
from runtime.kafka.reader import Records, open_records
from streams.message import MESSAGES


async def reconcile(
    query: Query, kafka: Mapping[str, Any], since: datetime, progress: Progress
) -> ReconcileReport:
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
        compared = {
            ClusterPartition(cluster, *tp): log for tp, log in snapshot.of(*POSTBACK_TOPICS, REJECTED).items()
        }
        partitions = await PartitionComparison(query, records, compared, progress).run(since)
        with progress.step("Waiting for the sinks to store messages"):
            lagging = await wait_for_states(logs, snapshot)
        return ReconcileReport(
            since=format_time(since),
            cluster=cluster,
            partitions=partitions,
            events=await _compare_events(query, cluster, snapshot, lagging, since, progress),
            keys=await _compare_keys(query, records, snapshot, since, progress),
            rejected=await asyncio.to_thread(_count_rejected, query, since),
        )


async def _compare_events(
    query: Query,
    cluster: str,
    snapshot: Snapshot,
    lagging: Collection[int],
    since: datetime,
    progress: Progress,
) -> EventsReport:
    committed = {tuple(tp): offset for tp, offset in snapshot.streams.items()}
    streams = StreamsProgress(cluster, committed, lagging)
    slices = await asyncio.to_thread(event_slices, query, since)
    rows = sum(slice.rows for slice in slices)
    with progress.step("Comparing events with messages", rows) as advance:
        lost = await asyncio.to_thread(find_lost, query, streams, slices, advance)
    return EventsReport(
        checked=rows,
        missing=lost.count,
        pending=snapshot.pending_postbacks,
        named=lost.named[:MAX_NAMED],
    )


async def _compare_keys(
    query: Query, records: Records, snapshot: Snapshot, since: datetime, progress: Progress
) -> KeysReport:
    stored = {
        tp.partition: range(log.since, min(log.committed, log.end))
        for tp, log in snapshot.of(MESSAGES).items()
    }
    total = sum(map(len, stored.values()))
    with progress.step("Comparing the topic `messages` with ClickHouse", total) as advance:
        found = await find_missing(query, records, stored, since, advance)
    return KeysReport(
        checked=found.records,
        missing=len(found.missing),
        pending=snapshot.pending_states,
        named=sorted(key.decode(errors="replace") for key in found.missing)[:MAX_NAMED],
    )


def _count_rejected(query: Query, since: datetime) -> list[RejectionCount]:
    """Rejections by stage and reason, most frequent first; ClickHouse's refusals by the name of the error."""
    return read_rows(
        query,
        RejectionCount,
        "SELECT stage, if(stage = 'sinks', extract(reason, '\\\\(([A-Z_]{3,})\\\\)'), reason) AS reason, "
        "uniqExact(rejection_id) AS count FROM rejected "
        f"WHERE received_at >= {time(since)} GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2 LIMIT 50",
    )
