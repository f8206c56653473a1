"""The member of the consumer group `respond`: polls responses, hands them out, and commits.

A batch is handled before the next one is polled, several handsets at once. Its offsets are committed when the
records of all its decisions and outcomes are in Kafka. Once the lease is lost, what is left of a batch is not
decided about, but polled again by the owner of its partition. What was received before the group's first
start, and is too old for an answer, is skipped.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from typing import TypeAlias

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import KafkaError

from gateway.postback import RESPONSE, Response
from runtime.health import Health
from runtime.kafka import consumer_group
from runtime.kafka.membership import Membership
from runtime.process import first_completed
from streams.respond.decide import MAX_AGE
from streams.responder.batch import Fetched, ResponseBatch
from streams.responder.ownership import Ownership
from streams.responder.responder import PartitionLease

GROUP = "respond"
#: Responses of a batch, and handsets at once.
MAX_RECORDS, CONCURRENCY = 200, 32
#: Seconds for the batch in flight at shutdown, for leaving the group, and for a fetch.
DRAIN_TIMEOUT, CLOSE_TIMEOUT, POLL_TIMEOUT = 10.0, 5.0, 1.0
REVOKING_INTERVAL = 0.05
#: Seconds before the rest of a batch is polled again.
REWIND_INTERVAL = 0.5

Respond: TypeAlias = Callable[[Response, PartitionLease], Awaitable[None]]

log = structlog.get_logger(__name__)


class ResponseWorker(ConsumerRebalanceListener):  # type: ignore[misc]
    """Starts and stops the consumer that it is given."""

    def __init__(
        self,
        consumer: AIOKafkaConsumer,
        partitions: int,
        session_timeout: float,
        respond: Respond,
        wait_for_streams: Callable[[], Awaitable[None]],
        now_ms: Callable[[], int],
        health: Health,
    ) -> None:
        """
        Args:
            consumer: of the group, which commits nothing by itself.
            partitions: of the topic of responses.
            wait_for_streams: awaited before each batch.
            now_ms: milliseconds since 1970.
        """
        self._consumer = consumer
        #: None before the consumer has started.
        self.membership: Membership | None = None
        self._partitions = partitions
        self._session_timeout = session_timeout
        self._respond = respond
        self._wait_for_streams = wait_for_streams
        self._now_ms = now_ms
        self._health = health
        self._ownership = Ownership(consumer, session_timeout)
        self._batch: asyncio.Task[None] | None = None
        self._revoking = False
        #: Completes with an error that ends this worker.
        self._failed: asyncio.Future[None]

    @property
    def assigned(self) -> frozenset[consumer_group.TopicPartition]:
        """The partitions that this worker owns."""
        return frozenset(consumer_group.TopicPartition(*tp) for tp in self._consumer.assignment())

    async def run(self, stop: asyncio.Event) -> None:
        """Run until `stop` is set, then finish the batch in flight within DRAIN_TIMEOUT, and leave the group.

        Raises:
            aiokafka.errors.KafkaError: Kafka does not accept this member.
        """
        self._failed = asyncio.get_running_loop().create_future()
        await self._consumer.start()
        try:
            self.membership = Membership(self._consumer, {RESPONSE: self._partitions})
            self._consumer.subscribe([RESPONSE], listener=self)
            await first_completed(stop.wait(), self._poll(), self._failed)
            await self._finish_batch(DRAIN_TIMEOUT)
        finally:
            await self._cancel_batch()
            with suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_TIMEOUT):
                    await self._consumer.stop()

    # -- rebalances

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        self._health.down("partitions", "being assigned")
        self._revoking = True
        await self._finish_batch(self._session_timeout / 2)
        self._ownership.revoke()

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        partitions = list(assigned)
        self._ownership.revoke()
        self._consumer.pause(*partitions)  # before an await: nothing is polled from positions that may change
        try:
            await self._skip_old(partitions)
        except (KafkaError, OSError) as error:  # aiokafka would only log it
            if not self._failed.done():
                self._failed.set_exception(error)
            return
        self._consumer.resume(*partitions)
        self._revoking = False
        self._health.up("partitions")
        log.info("Partitions assigned", partitions=len(partitions))

    async def _skip_old(self, partitions: list[TopicPartition]) -> None:
        """Skip what is too old, in partitions of which nothing is committed."""
        committed = await self._consumer._coordinator.fetch_committed_offsets(partitions)
        if new := [partition for partition in partitions if partition not in committed]:
            ends = await self._consumer.end_offsets(new)
            oldest = self._now_ms() - int(MAX_AGE.total_seconds() * 1000)
            found = await self._consumer.offsets_for_times(dict.fromkeys(new, oldest))
            for partition in new:
                first = found.get(partition)
                self._consumer.seek(partition, first.offset if first else ends[partition])

    # -- batches

    async def _poll(self) -> None:
        while True:
            fetched: Fetched = await self._consumer.getmany(
                timeout_ms=int(POLL_TIMEOUT * 1000), max_records=MAX_RECORDS
            )
            if self._revoking:  # the next assignment polls them again
                await asyncio.sleep(REVOKING_INTERVAL)
            elif fetched:
                batch = ResponseBatch(self._ownership, self._ownership.assignment, fetched)
                self._batch = asyncio.create_task(self._handle(batch))
                await asyncio.shield(self._batch)
                if not batch.is_complete:
                    await asyncio.sleep(REWIND_INTERVAL)
                    batch.rewind(self._consumer)

    async def _handle(self, batch: ResponseBatch) -> None:
        await self._wait_for_streams()
        slots = asyncio.Semaphore(CONCURRENCY)
        async with asyncio.TaskGroup() as group:
            for responses in batch.responses_by_handset():
                group.create_task(self._handle_in_order(responses, batch, slots))
        if batch.is_complete:
            await batch.commit()

    async def _handle_in_order(
        self, responses: list[Response], batch: ResponseBatch, slots: asyncio.Semaphore
    ) -> None:
        async with slots:
            for response in responses:
                if not await batch.may_decide():
                    return
                await self._respond(response, batch)

    async def _finish_batch(self, timeout: float) -> None:
        if self._batch:
            await asyncio.wait([self._batch], timeout=timeout)

    async def _cancel_batch(self) -> None:
        if self._batch:
            self._batch.cancel()
            await asyncio.wait([self._batch])
