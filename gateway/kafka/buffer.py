"""The records on their way to one partition of one topic.

At most one batch is under way; what comes meanwhile is the next. So a lane that is busy gathers more into
each batch. When a lane is asked for its batch, and by whom it is sent, is decided in `gateway.kafka.sender`.
"""

from __future__ import annotations

import asyncio
from typing import NamedTuple

import structlog
from aiokafka import TopicPartition
from aiokafka.errors import MessageSizeTooLargeError, RecordListTooLargeError
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from gateway.kafka.cloudevents import HeadersOf
from gateway.sink import TooLarge
from runtime.metrics import BATCH_RECORDS, PRODUCE_ERRORS

TOO_LARGE = (MessageSizeTooLargeError, RecordListTooLargeError)
BATCH_BYTES = 512 * 1024
#: More than a batch holds.
UNLIMITED = 1_000_000

log = structlog.get_logger(__name__)


class Record(NamedTuple):
    key: bytes
    value: bytes
    #: The loop's time until which it must have been answered.
    deadline: float
    #: None when the brokers have it, else why that is not known.
    answer: asyncio.Future[str | None]


class PartitionBuffer:
    """Gathers records for a partition. `down` says why it takes none; whoever heals it sets it to None."""

    def __init__(self, partition: TopicPartition, headers: HeadersOf) -> None:
        self.partition = partition
        self.down: str | None = None
        self._headers = headers
        self._waiting: list[Record] = []
        self._under_way: list[Record] = []
        #: Records of the next batch, at most: few after Kafka refused one for its size.
        self._most = UNLIMITED

    def put(self, record: Record) -> None:
        """It is answered when its batch ends; at once while the lane is down.

        A record that Kafka refuses for its size is answered with the exception TooLarge.
        """
        if self.down:
            record.answer.set_result(self.down)
        else:
            self._waiting.append(record)

    @property
    def waiting(self) -> bool:
        """Whether there is something to `pack`."""
        return bool(self._waiting)

    @property
    def under_way(self) -> bool:
        """Whether a batch was packed that has not come to its end."""
        return bool(self._under_way)

    @property
    def deadline(self) -> float:
        """The loop's time until which the oldest of those under way, or else of those who wait, has."""
        return (self._under_way or self._waiting)[0].deadline

    def pack(self) -> bytes:
        """As many of those who wait as a batch holds, as Kafka keeps them; under way until the `end`."""
        batch = DefaultRecordBatchBuilder(
            2,
            compression_type=0,
            is_transactional=0,
            producer_id=-1,  # no idempotence: a record that comes twice is the same fact
            producer_epoch=-1,
            base_sequence=-1,
            batch_size=BATCH_BYTES,
        )
        topic, count = self.partition.topic, 0
        for record in self._waiting[: self._most]:
            headers = self._headers(topic, record.value)
            if batch.append(count, None, record.key, record.value, headers) is None:
                break
            count += 1
        self._under_way, self._waiting = self._waiting[:count], self._waiting[count:]
        return bytes(batch.build())

    def wait_again(self) -> None:
        """The batch under way was not taken, and is to be packed anew, first of all."""
        self._waiting, self._under_way = self._under_way + self._waiting, []

    def end(self, error: BaseException | None) -> None:
        """Answer those under way; after an error also those who came meanwhile: they would wait in vain."""
        if isinstance(error, TOO_LARGE) and len(self._under_way) > 1:
            self._most = len(self._under_way) // 2  # try less of it, down to the one record that is at fault
            self.wait_again()
            return
        taken, self._under_way = self._under_way, []
        if isinstance(error, TOO_LARGE) and taken:
            if not taken[0].answer.done():
                taken[0].answer.set_exception(TooLarge(f"{self._name}: {error}"))
            return
        if taken:
            BATCH_RECORDS.observe(len(taken))
        if error:
            self.down = self._noted(error)
            taken, self._waiting = taken + self._waiting, []
        else:
            self._most = min(self._most * 2, UNLIMITED)
        for record in taken:
            if not record.answer.done():  # who waited may have been cancelled
                record.answer.set_result(self.down)

    @property
    def _name(self) -> str:
        return f"{self.partition.topic}/{self.partition.partition}"

    def _noted(self, error: BaseException) -> str:
        PRODUCE_ERRORS.labels(type(error).__name__).inc()
        log.warning("Batch not acknowledged", partition=self._name, error=repr(error))
        return f"{self._name}: {str(error) or type(error).__name__}"
