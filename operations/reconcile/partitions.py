"""Compares each partition of the topics whose records have a row each with its rows in ClickHouse."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from datetime import datetime

from aiokafka import TopicPartition

from operations.progress import Progress
from operations.reconcile.expected import (
    ClusterPartition,
    ExpectedRange,
    LogOffsets,
    StoredOffsets,
    expected_range,
    unstored_tail,
)
from operations.reconcile.gaps import exclude_gaps
from operations.reconcile.offsets import (
    StoredCounts,
    count_duplicates,
    count_in_ranges,
    count_stored,
    list_missing_ranges,
)
from operations.reconcile.report import MAX_NAMED, PartitionReport
from operations.rows import Query
from runtime.kafka.reader import Records

#: Up to so many pending offsets are looked up in the log: a few may be transaction markers.
MAX_TAIL = 100


class PartitionComparison:
    """Compares the partitions of all clusters with their rows; of other clusters only the rows are known."""

    def __init__(
        self, query: Query, records: Records, logs: Mapping[ClusterPartition, LogOffsets], progress: Progress
    ) -> None:
        """
        Args:
            logs: the offsets of the cluster that `records` reads.
        """
        self._query = query
        self._records = records
        self._logs = logs
        self._progress = progress

    async def run(self, since: datetime) -> list[PartitionReport]:
        """Compare what was received since then.

        Raises:
            QueryFailed, KafkaUnavailable: no answer.
        """
        with self._progress.step("Counting rows by partition"):
            counted = await asyncio.to_thread(count_stored, self._query, since)
        stored = {row.source: row for row in counted}
        ranges = {
            partition: expected_range(stored.get(partition), self._logs.get(partition))
            for partition in sorted({*stored, *self._logs})
        }
        incomplete = {
            partition: expected
            for partition, expected in ranges.items()
            if unstored_tail(expected, stored.get(partition)) is None
        }
        counts = await self._count_in_ranges(incomplete)
        duplicates = await self._count_duplicates([row.source for row in counted if row.rows > row.offsets])
        reports = []
        with self._progress.step("Comparing partitions", len(ranges)) as advance:
            for partition, expected in ranges.items():
                report = await self._report(partition, expected, stored.get(partition), counts.get(partition))
                report.duplicates = duplicates.get(partition, 0)
                reports.append(report)
                advance(1)
        return reports

    async def _count_in_ranges(
        self, ranges: Mapping[ClusterPartition, ExpectedRange]
    ) -> dict[ClusterPartition, StoredCounts]:
        if not ranges:
            return {}
        with self._progress.step("Counting rows of incomplete partitions"):
            return await asyncio.to_thread(count_in_ranges, self._query, ranges)

    async def _count_duplicates(
        self, partitions: Collection[ClusterPartition]
    ) -> dict[ClusterPartition, int]:
        if not partitions:
            return {}
        duplicates = {}
        with self._progress.step("Checking repeated rows", len(partitions)) as advance:
            for partition in partitions:
                duplicates[partition] = await asyncio.to_thread(count_duplicates, self._query, partition)
                advance(1)
        return duplicates

    async def _report(
        self,
        partition: ClusterPartition,
        expected: ExpectedRange,
        stored: StoredOffsets | None,
        counts: StoredCounts | None,
    ) -> PartitionReport:
        report = PartitionReport(
            **partition._asdict(),
            start=expected.start,
            bound=expected.bound,
            end=expected.end,
            stored=stored.offsets if stored else 0,
            refused=stored.refused if stored else 0,
            repeated=stored.rows - stored.offsets if stored else 0,
            duplicates=0,
            missing=0,
            pending=0,
            missing_ranges=[],
        )
        tail = unstored_tail(expected, stored)
        if tail is None:
            before, after = (counts.before_bound, counts.after_bound) if counts else (0, 0)
            report.stored = before + after
            report.missing = expected.bound - expected.start - before
            report.pending = expected.end - expected.bound - after
        else:
            report.pending = len(tail)
        if report.missing:
            found = await self._list_missing(partition, expected.start, expected.bound)
            missing = await self._exclude_gaps(partition, found)
            report.missing -= _length(found) - _length(missing)
            report.missing_ranges = [(offsets.start, offsets.stop - 1) for offsets in missing[:MAX_NAMED]]
        if 0 < report.pending <= MAX_TAIL:
            found = [tail] if tail else await self._list_missing(partition, expected.bound, expected.end)
            report.pending = _length(await self._exclude_gaps(partition, found))
        return report

    async def _list_missing(self, partition: ClusterPartition, start: int, stop: int) -> list[range]:
        return await asyncio.to_thread(list_missing_ranges, self._query, partition, start, stop)

    async def _exclude_gaps(self, partition: ClusterPartition, missing: list[range]) -> list[range]:
        """The ranges at which the log has, or may have had, records."""
        log = self._logs.get(partition)
        if log is None:
            return missing
        step = f"Looking up {partition.topic}/{partition.partition}"
        with self._progress.step(step, _length(missing)) as advance:
            tp = TopicPartition(partition.topic, partition.partition)
            return await exclude_gaps(self._records, tp, missing, log.start, advance)


def _length(ranges: Collection[range]) -> int:
    return sum(map(len, ranges))
