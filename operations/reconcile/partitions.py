"""Compares each partition of the gateway's topics with the rows that ClickHouse has of it."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from datetime import datetime

from aiokafka import TopicPartition

from operations.progress import Progress
from operations.reconcile.expected import Log, RecordCoordinates, Span, Stored, span_of, tail_of
from operations.reconcile.gaps import without_gaps
from operations.reconcile.offsets import Sides, count_doubled, count_sides, count_stored, list_holes
from operations.reconcile.report import NAMED, PartitionReport
from operations.rows import Query
from runtime.kafka.reader import Records

#: Offsets after the last one stored that are looked up in the log: a few may be markers of transactions.
TAIL = 100


class Partitions:
    """`logs` are those of the cluster that `records` reads; of other clusters only rows are known."""

    def __init__(
        self, ask: Query, records: Records, logs: Mapping[RecordCoordinates, Log], progress: Progress
    ) -> None:
        self._ask = ask
        self._records = records
        self._logs = logs
        self._progress = progress

    async def compare(self, since: datetime) -> list[PartitionReport]:
        """What is there and what is not of all that was received since then.

        Raises:
            KafkaAway, QueryFailed: no answer.
        """
        with self._progress.step("Counting rows by partition"):
            counted = await asyncio.to_thread(count_stored, self._ask, since)
        stored = {row.place: row for row in counted}
        spans = {
            place: span_of(stored.get(place), self._logs.get(place))
            for place in sorted({*stored, *self._logs})
        }
        sides = await self._sides(
            {place: span for place, span in spans.items() if tail_of(span, stored.get(place)) is None}
        )
        doubled = await self._doubled([row.place for row in counted if row.rows > row.offsets])
        reports = []
        with self._progress.step("Comparing partitions", len(spans)) as done:
            for place, span in spans.items():
                report = await self._report(place, span, stored.get(place), sides.get(place))
                report.doubled = doubled.get(place, 0)
                reports.append(report)
                done(1)
        return reports

    async def _sides(self, spans: Mapping[RecordCoordinates, Span]) -> dict[RecordCoordinates, Sides]:
        if not spans:
            return {}
        with self._progress.step("Counting again where something lacks"):
            return await asyncio.to_thread(count_sides, self._ask, spans)

    async def _doubled(self, places: Collection[RecordCoordinates]) -> dict[RecordCoordinates, int]:
        if not places:
            return {}
        doubled = {}
        with self._progress.step("Looking at rows that are there again", len(places)) as done:
            for place in places:
                doubled[place] = await asyncio.to_thread(count_doubled, self._ask, place)
                done(1)
        return doubled

    async def _report(
        self, place: RecordCoordinates, span: Span, stored: Stored | None, sides: Sides | None
    ) -> PartitionReport:
        report = PartitionReport(
            **place._asdict(),
            start=span.start,
            bound=span.bound,
            end=span.end,
            stored=stored.offsets if stored else 0,
            refused=stored.refused if stored else 0,
            repeated=stored.rows - stored.offsets if stored else 0,
            doubled=0,
            missing=0,
            behind=0,
            holes=[],
        )
        tail = tail_of(span, stored)
        if tail is None:
            before, after = (sides.before, sides.after) if sides else (0, 0)
            report.stored = before + after
            report.missing = span.bound - span.start - before
            report.behind = span.end - span.bound - after
        else:
            report.behind = len(tail)
        if report.missing:
            found = await asyncio.to_thread(list_holes, self._ask, place, span.start, span.bound)
            holes = await self._proven(place, found)
            report.missing -= _length(found) - _length(holes)
            report.holes = [(hole.start, hole.stop - 1) for hole in holes[:NAMED]]
        if 0 < report.behind <= TAIL:
            found = [tail] if tail else await self._late(place, span)
            report.behind = _length(await self._proven(place, found))
        return report

    async def _late(self, place: RecordCoordinates, span: Span) -> list[range]:
        return await asyncio.to_thread(list_holes, self._ask, place, span.bound, span.end)

    async def _proven(self, place: RecordCoordinates, holes: list[range]) -> list[range]:
        """The holes at which the log has, or may have had, records."""
        log = self._logs.get(place)
        if log is None:
            return holes
        with self._progress.step(f"Looking into {place.topic}/{place.partition}", _length(holes)) as done:
            tp = TopicPartition(place.topic, place.partition)
            return await without_gaps(self._records, tp, holes, log.first, done)


def _length(holes: Collection[range]) -> int:
    return sum(map(len, holes))
