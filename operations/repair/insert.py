"""Inserts records in batches like those of the sinks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TypeAlias

from operations.repair.report import RepairReport
from sinks.batch import Batch, BatchLimits, Record
from sinks.tables import Table

#: Of one insert.
LIMITS = BatchLimits(rows=20_000, bytes=32 * 2**20, seconds=float("inf"))

#: Returns once the records are in the table, or in `rejected`; see `sinks.writer.ClickHouseWriter.write`.
Insert: TypeAlias = Callable[[Table, Sequence[Record]], Awaitable[None]]


class BatchInserter:
    """Buffers the records of one table; the caller flushes it at the end."""

    def __init__(self, table: Table, insert: Insert, report: RepairReport) -> None:
        self._table = table
        self._insert = insert
        self._report = report
        self._batch = Batch(LIMITS)

    async def append(self, records: Iterable[Record]) -> None:
        """Insert each batch that is full. Raises what `insert` raises."""
        for full in self._batch.append(records, now=0.0):
            await self._write(full)

    async def flush(self) -> None:
        """Insert the records that are buffered."""
        await self._write(self._batch.flush())

    async def _write(self, records: Sequence[Record]) -> None:
        if records:
            await self._insert(self._table, records)
            self._report.on_inserted(self._table.name, len(records))
