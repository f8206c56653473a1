"""Inserts the rows that ClickHouse lacks from the records that Kafka still has."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from aiokafka import TopicPartition

from operations.progress import Advance
from operations.reconcile.expected import ClusterPartition, LogOffsets
from operations.reconcile.offsets import MAX_RANGES, list_missing_ranges
from operations.reconcile.report import PartitionReport
from operations.repair.insert import BatchInserter, Insert
from operations.repair.report import RepairReport
from operations.repair.spans import spans
from operations.rows import Query
from runtime.kafka.reader import Records
from sinks.tables import TABLE_OF


async def insert_missing(
    query: Query,
    records: Records,
    insert: Insert,
    partition: PartitionReport,
    log: LogOffsets,
    report: RepairReport,
    advance: Advance,
) -> None:
    """Insert what a partition of this cluster lacks; reports what Kafka has deleted.

    Args:
        log: the partition's offsets at the time of the comparison.
        advance: called with the number of offsets done.

    Raises:
        QueryFailed, KafkaUnavailable: no answer. Errors of `insert` are raised, too.
    """
    tp = TopicPartition(partition.topic, partition.partition)
    inserter = BatchInserter(TABLE_OF[tp.topic], insert, report)
    async for missing in _missing(query, partition):
        wanted = []
        for offsets in missing:
            if deleted := range(offsets.start, min(offsets.stop, log.start)):
                report.lose(_describe(partition, deleted), "Kafka has deleted it", len(deleted))
            if in_log := range(max(offsets.start, log.start), offsets.stop):
                wanted.append(in_log)
        for span in spans(wanted):
            async for _, batch, _ in records.read({tp: span.offsets}):
                await inserter.append(record for record in batch if record.offset in span)
        advance(sum(map(len, missing)))
    await inserter.flush()


def lose_partition(partition: PartitionReport, report: RepairReport) -> None:
    """Report that nothing of this partition can be read, as it is of another cluster or was deleted."""
    why = f"Kafka has no such partition, or is not its cluster, {partition.cluster}"
    listed = 0
    for first, last in partition.missing_ranges:
        report.lose(_describe(partition, range(first, last + 1)), why, last + 1 - first)
        listed += last + 1 - first
    if rest := max(0, partition.missing - listed):
        report.lose(f"{partition.topic}/{partition.partition}: {rest:,} more offsets", why, rest)


def _describe(partition: PartitionReport, offsets: range) -> str:
    first, last = offsets.start, offsets.stop - 1
    numbers = f"offset {first}" if first == last else f"offsets {first} to {last}"
    return f"{partition.topic}/{partition.partition} {numbers}"


async def _missing(query: Query, partition: PartitionReport) -> AsyncIterator[list[range]]:
    """All missing ranges in order, as many at a time as ClickHouse lists."""
    source = ClusterPartition(partition.cluster, partition.topic, partition.partition)
    start = partition.start
    while True:
        found = await asyncio.to_thread(list_missing_ranges, query, source, start, partition.bound)
        if found:
            yield found
        if len(found) < MAX_RANGES:
            return
        start = found[-1].stop
