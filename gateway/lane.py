"""The records on their way to one partition of one topic.

At most one batch is under way; what comes meanwhile is the next. So a lane that is busy gathers more into
each batch, and one that is idle waits a moment for company.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NamedTuple

import structlog
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import MessageSizeTooLargeError, RecordListTooLargeError
from aiokafka.producer.message_accumulator import BatchBuilder

from gateway.cloudevents import HeadersOf
from gateway.sink import TooLarge
from runtime.metrics import BATCH_RECORDS, PRODUCE_ERRORS

LINGER_SECONDS = 0.001
#: More than a batch holds.
ANY_NUMBER = 1_000_000

log = structlog.get_logger(__name__)


class Record(NamedTuple):
    key: bytes
    value: bytes
    #: The loop's time until which it must have been answered.
    deadline: float
    #: None when the brokers have it, else why that is not known.
    answer: asyncio.Future[str | None]


class Lane:
    """Brings records to a partition. `down` says why it takes none now; whoever heals it sets it to None."""

    def __init__(
        self,
        partition: TopicPartition,
        producer: Callable[[], AIOKafkaProducer],
        ack_timeout: float,
        headers: HeadersOf,
        answered: Callable[[Lane], None],
    ) -> None:
        """`answered` is called after each batch: `down` tells how it went."""
        self.partition = partition
        self.down: str | None = None
        self._producer = producer
        self._ack_timeout = ack_timeout
        self._headers = headers
        self._answered = answered
        self._waiting: list[Record] = []
        self._sending: asyncio.Task[None] | None = None
        #: Records of the next batch, at most: few after Kafka refused one for its size.
        self._most = ANY_NUMBER

    def put(self, key: bytes, value: bytes) -> asyncio.Future[str | None]:
        """The answer comes within the time-out: None when the brokers have it, else why not.

        A record that Kafka refuses for its size is answered with the exception TooLarge.
        """
        loop = asyncio.get_running_loop()
        record = Record(key, value, loop.time() + self._ack_timeout, loop.create_future())
        if self.down:
            record.answer.set_result(self.down)
            return record.answer
        self._waiting.append(record)
        if not self._sending:
            self._sending = asyncio.create_task(self._send_all())
        return record.answer

    async def drained(self) -> None:
        """Return when nothing is waiting or under way."""
        if self._sending:
            await asyncio.wait([self._sending])

    async def _send_all(self) -> None:
        await asyncio.sleep(LINGER_SECONDS)
        while self._waiting:
            taken, self.down = await self._send_some()
            BATCH_RECORDS.observe(len(taken))
            if self.down:  # those who came meanwhile would wait in vain
                taken += self._waiting
                self._waiting = []
            for record in taken:
                if not record.answer.done():
                    record.answer.set_result(self.down)
            self._answered(self)
        self._sending = None

    async def _send_some(self) -> tuple[list[Record], str | None]:
        """Send as many of those who wait as a batch holds: who they are, and why they may not be safe."""
        topic, partition = self.partition
        taken = self._waiting
        try:
            batch = self._producer().create_batch()
            taken = self._fill(batch)
            async with asyncio.timeout_at(taken[0].deadline):
                acknowledged = await self._producer().send_batch(batch, topic, partition=partition)
                acknowledged.add_done_callback(_heard)
                await asyncio.shield(acknowledged)
            self._most = min(self._most * 2, ANY_NUMBER)
        except (MessageSizeTooLargeError, RecordListTooLargeError) as error:
            return self._smaller(taken, f"{topic}/{partition}: {error}"), None
        except Exception as error:  # the client's edge: assertions and type errors of its own included
            PRODUCE_ERRORS.labels(type(error).__name__).inc()
            log.warning("Batch not acknowledged", topic=topic, partition=partition, error=repr(error))
            return taken, f"{topic}/{partition}: {str(error) or type(error).__name__}"
        return taken, None

    def _smaller(self, taken: list[Record], why: str) -> list[Record]:
        """Kafka refused a batch for its size: try less of it, down to the one record that is at fault."""
        self._most = max(1, len(taken) // 2)
        if len(taken) > 1:
            self._waiting = taken + self._waiting
            return []
        if not taken[0].answer.done():
            taken[0].answer.set_exception(TooLarge(why))
        return taken

    def _fill(self, batch: BatchBuilder) -> list[Record]:
        for index, record in enumerate(self._waiting):
            headers = self._headers(self.partition.topic, record.value)
            if (
                index == self._most
                or batch.append(timestamp=None, key=record.key, value=record.value, headers=headers) is None
            ):
                taken, self._waiting = self._waiting[:index], self._waiting[index:]
                return taken
        taken, self._waiting = self._waiting, []
        return taken


def _heard(late: asyncio.Future[object]) -> None:
    """Take note of what became of a batch that was given up, so that asyncio does not complain."""
    if not late.cancelled():
        late.exception()
