"""The records on their way to one partition of one topic.

At most one batch is under way; what comes meanwhile is the next. So a lane that is busy gathers more into
each batch. When a lane may send is decided in `gateway.lanes`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import structlog
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import MessageSizeTooLargeError, RecordListTooLargeError
from aiokafka.producer.message_accumulator import BatchBuilder

from gateway.cloudevents import HeadersOf
from gateway.sink import TooLarge
from runtime.metrics import BATCH_RECORDS, PRODUCE_ERRORS

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
        due: Callable[[Lane], None],
        answered: Callable[[Lane], None],
    ) -> None:
        """
        Args:
            producer: gives the client to send with.
            due: is called when there is something to `send`.
            answered: is called after each batch; `down` tells how it went.
        """
        self.partition = partition
        self.down: str | None = None
        self._loop = asyncio.get_running_loop()
        self._producer = producer
        self._ack_timeout = ack_timeout
        self._headers = headers
        self._due = due
        self._answered = answered
        self._waiting: list[Record] = []
        self._under_way: list[Record] = []
        self._timer: asyncio.TimerHandle | None = None
        self._sent: asyncio.Future[Any] | None = None
        #: Records of the next batch, at most: few after Kafka refused one for its size.
        self._most = ANY_NUMBER

    def put(self, key: bytes, value: bytes) -> asyncio.Future[str | None]:
        """The answer comes within the time-out: None when the brokers have it, else why not.

        A record that Kafka refuses for its size is answered with the exception TooLarge.
        """
        record = Record(key, value, self._loop.time() + self._ack_timeout, self._loop.create_future())
        if self.down:
            record.answer.set_result(self.down)
            return record.answer
        self._waiting.append(record)
        if self._timer is None:
            self._take_turn()
        return record.answer

    @property
    def _name(self) -> str:
        return f"{self.partition.topic}/{self.partition.partition}"

    @property
    def idle(self) -> bool:
        """Whether nothing is waiting or under way."""
        return self._timer is None

    @property
    def settled(self) -> bool:
        """Whether the client is through with what it was given last, be it given up here or not."""
        return self._sent is None or self._sent.done()

    def forget(self) -> None:
        """The client that was given something is gone."""
        self._sent = None

    async def send(self) -> None:
        """Give the client as many of those who wait as a batch holds. Does not wait for Kafka."""
        if self._under_way or not self._waiting:  # they waited too long for their turn, and were answered
            return
        taken = self._under_way
        topic, partition = self.partition
        try:
            batch = self._producer().create_batch()
            taken = self._under_way = self._fill(batch)
            self._sent = await self._producer().send_batch(batch, topic, partition=partition)
        except Exception as error:  # the client's edge: assertions and type errors of its own included
            self._end(taken, error)
        else:
            self._sent.add_done_callback(partial(self._heard, taken))

    def _take_turn(self) -> None:
        self._timer = self._loop.call_at(self._waiting[0].deadline, self._late)
        self._due(self)

    def _late(self) -> None:
        self._end(self._under_way, TimeoutError(f"no answer within {self._ack_timeout:g} s"))

    def _heard(self, taken: list[Record], sent: asyncio.Future[Any]) -> None:
        error = asyncio.CancelledError() if sent.cancelled() else sent.exception()
        if taken is not self._under_way:  # it was given up before, and its records answered
            return
        if isinstance(error, (MessageSizeTooLargeError, RecordListTooLargeError)):
            self._try_less(taken, error)
            return
        if not error:
            self._most = min(self._most * 2, ANY_NUMBER)
        self._end(taken, error)

    def _try_less(self, taken: list[Record], error: BaseException) -> None:
        """Kafka refused a batch for its size: try less of it, down to the one record that is at fault."""
        self._most = max(1, len(taken) // 2)
        if len(taken) == 1:
            if not taken[0].answer.done():
                taken[0].answer.set_exception(TooLarge(f"{self._name}: {error}"))
            self._end(taken, None)
        else:
            self._under_way, self._waiting = [], taken + self._waiting
            self._due(self)

    def _end(self, taken: list[Record], error: BaseException | None) -> None:
        """Answer those under way; after an error also those who came meanwhile: they would wait in vain."""
        if taken is not self._under_way:  # given up before, while the client did not even take it
            return
        if self._timer:
            self._timer.cancel()
        self._timer = None
        self._under_way = []
        self.down = self._noted(error) if error else None
        BATCH_RECORDS.observe(len(taken))
        if self.down:
            taken, self._waiting = taken + self._waiting, []
        for record in taken:
            if not record.answer.done():
                record.answer.set_result(self.down)
        if self._waiting:
            self._take_turn()
        self._answered(self)

    def _noted(self, error: BaseException) -> str:
        PRODUCE_ERRORS.labels(type(error).__name__).inc()
        log.warning("Batch not acknowledged", partition=self._name, error=repr(error))
        return f"{self._name}: {str(error) or type(error).__name__}"

    def _fill(self, batch: BatchBuilder) -> list[Record]:
        topic = self.partition.topic
        for index, record in enumerate(self._waiting):
            headers = self._headers(topic, record.value)
            if (
                index == self._most
                or batch.append(timestamp=None, key=record.key, value=record.value, headers=headers) is None
            ):
                taken, self._waiting = self._waiting[:index], self._waiting[index:]
                return taken
        taken, self._waiting = self._waiting, []
        return taken
