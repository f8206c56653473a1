"""A whole reconciliation: ClickHouse and Kafka are asked in turn, the cheap questions first."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from gateway.postback import POSTBACK_TOPICS, REJECTED, format_time
from operations.progress import Progress
from operations.reconcile.events import Settled, event_slices, find_lost
from operations.reconcile.expected import RecordCoordinates
from operations.reconcile.kafka import Snapshot, take_snapshot, wait_for_states
from operations.reconcile.messages import find_missing
from operations.reconcile.partitions import Partitions
from operations.reconcile.report import NAMED, EventsReport, KeysReport, Rejections, Report
from operations.rows import Query, read_rows, time
from runtime.kafka.clients import cluster_id
from runtime.kafka.offsets import open_logs
from runtime.kafka.reader import Records, open_records
from streams.message import MESSAGES


async def reconcile(ask: Query, kafka: Mapping[str, Any], since: datetime, progress: Progress) -> Report:
    """Compare what was received since then; `kafka` are the options of its clients.

    Raises:
        KafkaAway, QueryFailed: one of them does not answer.
    """
    cluster = await cluster_id(kafka)
    async with open_logs(kafka) as logs, open_records(kafka) as records:
        with progress.step("Asking where the logs end"):
            snapshot = await take_snapshot(logs, since)
        ours = {
            RecordCoordinates(cluster, *tp): log
            for tp, log in snapshot.of(*POSTBACK_TOPICS, REJECTED).items()
        }
        partitions = await Partitions(ask, records, ours, progress).compare(since)
        with progress.step("Waiting for the states of messages"):
            lagging = await wait_for_states(logs, snapshot)
        return Report(
            since=format_time(since),
            cluster=cluster,
            partitions=partitions,
            events=await _events(ask, cluster, snapshot, lagging, since, progress),
            keys=await _keys(ask, records, snapshot, since, progress),
            rejected=await asyncio.to_thread(count_rejected, ask, since),
        )


async def _events(
    ask: Query,
    cluster: str,
    snapshot: Snapshot,
    lagging: Collection[int],
    since: datetime,
    progress: Progress,
) -> EventsReport:
    settled = Settled(cluster, {tuple(tp): offset for tp, offset in snapshot.streams.items()}, lagging)
    slices = await asyncio.to_thread(event_slices, ask, since)
    with progress.step("Comparing events with messages", sum(slice.rows for slice in slices)) as done:
        lost = await asyncio.to_thread(find_lost, ask, settled, slices, done)
    return EventsReport(
        checked=sum(slice.rows for slice in slices),
        missing=lost.count,
        behind=snapshot.streams_behind,
        named=lost.named[:NAMED],
    )


async def _keys(
    ask: Query, records: Records, snapshot: Snapshot, since: datetime, progress: Progress
) -> KeysReport:
    stored = {
        tp.partition: range(log.since, min(log.committed, log.end))
        for tp, log in snapshot.of(MESSAGES).items()
    }
    with progress.step(
        "Comparing the topic `messages` with ClickHouse", sum(map(len, stored.values()))
    ) as done:
        found = await find_missing(ask, records, stored, since, done)
    named = sorted(key.decode(errors="replace") for key in found.missing)[:NAMED]
    return KeysReport(
        checked=found.records, missing=len(found.missing), behind=snapshot.states_behind, named=named
    )


def count_rejected(ask: Query, since: datetime) -> list[Rejections]:
    """Rejections by stage and reason, the most first; what ClickHouse refused by the name of its error."""
    return read_rows(
        ask,
        Rejections,
        "SELECT stage, if(stage = 'sinks', extract(reason, '\\\\(([A-Z_]{3,})\\\\)'), reason) AS reason, "
        "uniqExact(rejection_id) AS count FROM rejected "
        f"WHERE received_at >= {time(since)} GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2 LIMIT 50",
    )
