"""Kafka records, and when those of a table are a batch: by number, by bytes, or by age. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol


class Record(Protocol):
    """A Kafka record; aiokafka's ConsumerRecord is one."""

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int:
        """Milliseconds since 1970, by the producer's clock or the broker's."""

    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...


@dataclass(frozen=True)
class BatchLimits:
    """Limits of one insert. `rows` stays below ClickHouse's max_insert_block_size: a batch is one block."""

    rows: int
    bytes: int
    seconds: float


class Batch:
    """Buffers the rows of one table."""

    def __init__(self, limits: BatchLimits) -> None:
        self.limits = limits
        #: Monotonic time at which to flush it though it is not full; infinity while it is empty.
        self.flush_at = float("inf")
        self._records: list[Record] = []
        self._bytes = 0

    def append(self, records: Iterable[Record], now: float) -> Iterator[list[Record]]:
        """Append records in their order; yields each batch that is full."""
        for record in records:
            size = len(record.value or b"")
            if self._records and self._bytes + size > self.limits.bytes:
                yield self.flush()
            if not self._records:
                self.flush_at = now + self.limits.seconds
            self._records.append(record)
            self._bytes += size
            if len(self._records) >= self.limits.rows:
                yield self.flush()

    def flush(self) -> list[Record]:
        """Return the buffered records, and start an empty batch."""
        records, self._records, self._bytes, self.flush_at = self._records, [], 0, float("inf")
        return records
