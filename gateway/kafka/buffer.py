"""The records buffered for one partition. Data only: `gateway.kafka.sender` decides when to send and retry.

At most one batch is in flight. Records that arrive meanwhile go into the next one, so batches of a busy
partition grow.
"""

from __future__ import annotations

import asyncio
from copy import copy
from typing import NamedTuple

from aiokafka import TopicPartition
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from gateway.kafka.cloudevents import HeadersOf
from gateway.sink import Unavailable
from runtime.kafka.compression import CODECS, Compression

BATCH_BYTES = 512 * 1024
#: More records than a batch holds.
UNLIMITED = 1_000_000


class PendingRecord(NamedTuple):
    """A record that brokers have not acknowledged yet."""

    key: bytes
    value: bytes
    #: Loop time by which it must be acknowledged.
    deadline: float
    #: Set to None once every in-sync replica has the record, else to an Unavailable.
    acknowledged: asyncio.Future[None]


class PartitionBuffer:
    """Accumulates the records of a partition and builds their batches."""

    def __init__(self, partition: TopicPartition, headers: HeadersOf, compression: Compression) -> None:
        self.partition = partition
        self._headers = headers
        self._codec = CODECS[compression]
        self._buffered: list[PendingRecord] = []
        self._in_flight: list[PendingRecord] = []
        #: Limit of the next batch; lowered after Kafka rejected one for its size.
        self._max_records = UNLIMITED

    def append(self, record: PendingRecord) -> None:
        """Buffer a record for the next batch."""
        self._buffered.append(record)

    @property
    def buffered(self) -> int:
        """Number of records not in a batch yet."""
        return len(self._buffered)

    @property
    def in_flight(self) -> int:
        """Number of records in the batch in flight; 0 if there is none."""
        return len(self._in_flight)

    @property
    def deadline(self) -> float:
        """Loop time by which the oldest in-flight record, or else the oldest buffered one, is due."""
        return (self._in_flight or self._buffered)[0].deadline

    def build_batch(self) -> bytes:
        """Encode and compress as many buffered records as fit, and mark them as in flight.

        `BATCH_BYTES` limits the uncompressed size. A batch that compression would enlarge stays uncompressed.
        """
        batch = DefaultRecordBatchBuilder(
            2,
            compression_type=self._codec,
            is_transactional=0,
            producer_id=-1,  # not idempotent: a duplicate has the same event_id and counts once
            producer_epoch=-1,
            base_sequence=-1,
            batch_size=BATCH_BYTES,
        )
        topic, count = self.partition.topic, 0
        for record in self._buffered[: self._max_records]:
            headers = self._headers(topic, record.value)
            if batch.append(count, None, record.key, record.value, headers) is None:
                break
            count += 1
        self._in_flight, self._buffered = self._buffered[:count], self._buffered[count:]
        return bytes(batch.build())

    def requeue(self) -> None:
        """Put the batch in flight back in front of the buffered records."""
        self._buffered, self._in_flight = self._in_flight + self._buffered, []

    def split(self) -> None:
        """Requeue the batch in flight and limit the next one to half as many records."""
        self._max_records = len(self._in_flight) // 2
        self.requeue()

    def complete(self, error: Unavailable | None = None) -> None:
        """Acknowledge the batch in flight, or fail its records with `error`."""
        records, self._in_flight = self._in_flight, []
        if error is None:
            self._max_records = min(self._max_records * 2, UNLIMITED)
        for record in records:
            if record.acknowledged.done():  # the caller was cancelled
                continue
            if error is None:
                record.acknowledged.set_result(None)
            else:
                record.acknowledged.set_exception(copy(error))  # each caller adds its own traceback

    def abort(self, error: Unavailable) -> None:
        """Fail the batch in flight and all records buffered behind it."""
        self._in_flight, self._buffered = self._in_flight + self._buffered, []
        self.complete(error)
