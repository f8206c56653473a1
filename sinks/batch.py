"""When rows are a batch: by number, by bytes, or because the first of them has waited long enough. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from sinks.record import Record


@dataclass(frozen=True)
class BatchLimits:
    """Of one insert. It stays below ClickHouse's max_insert_block_size, so that it is one block."""

    rows: int
    bytes: int
    seconds: float


class Batch:
    """The rows of one table that wait for others."""

    def __init__(self, limits: BatchLimits) -> None:
        self.limits = limits
        #: When to take it though it is not full; infinity while it is empty.
        self.due = float("inf")
        self._records: list[Record] = []
        self._bytes = 0

    def add(self, records: Iterable[Record], now: float) -> Iterator[list[Record]]:
        """Take records in, in their order; yields each batch that became full on the way."""
        for record in records:
            size = len(record.value or b"")
            if self._records and self._bytes + size > self.limits.bytes:
                yield self.take()
            if not self._records:
                self.due = now + self.limits.seconds
            self._records.append(record)
            self._bytes += size
            if len(self._records) >= self.limits.rows:
                yield self.take()

    def take(self) -> list[Record]:
        """What waits here; nothing does then."""
        records, self._records, self._bytes, self.due = self._records, [], 0, float("inf")
        return records
