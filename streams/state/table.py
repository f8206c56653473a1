"""The table of messages: its changelog is the public topic `messages`, one record per changed key and batch.

A write is done when all in-sync replicas of the topic have it; only then the store takes it, and only then
its cause may be acknowledged. Nothing is written without the lease, and nothing of a partition at once with
something else of it: `lock`.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from time import monotonic
from typing import Any, TypeVar

import faust
import structlog
from aiokafka.errors import KafkaError
from faust.types import TP, AppT

from runtime.metrics import LEASE_LOST, STATES_WRITTEN, TOMBSTONES
from streams.change import Change
from streams.message import MESSAGES, decode_message
from streams.state.partition import PartitionState, States
from streams.state.store import StateStore
from streams.transport.consumer import BatchConsumer
from streams.transport.producer import BatchProducer, Written

log = structlog.get_logger(__name__)

RETRY_SECONDS = 0.5

T = TypeVar("T")


class Fenced(Exception):
    """The partitions are assigned anew, or not surely ours: whoever owns them now does the work again."""


class MessagesTable(faust.Table[bytes, bytes]):
    """States by key `account/message_id`, as encoded in `messages`."""

    logger = logging.getLogger("faust.table")

    def __init__(self, app: AppT, partitions: int, open_store: Callable[[int], StateStore]) -> None:
        changelog = app.topic(
            MESSAGES,
            key_type=bytes,
            value_type=bytes,
            key_serializer="raw",
            value_serializer="raw",
            partitions=partitions,
            acks=False,
            allow_empty=True,
        )
        super().__init__(
            app,
            name=MESSAGES,
            partitions=partitions,
            changelog_topic=changelog,
            key_type=bytes,
            value_type=bytes,
            recovery_buffer_size=2,  # counts batches; Faust goes on reading after recovery when it is 1
        )
        self._open_store = open_store
        self._locks: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)
        #: Partitions of ours whose states are complete.
        self.ready: set[int] = set()
        #: Told of each of them.
        self.on_ready: Callable[[int], None] = lambda partition: None
        #: Partitions whose writes are retried now: since when (monotonic time), and the last error.
        self.retrying: dict[int, tuple[float, str]] = {}

    def _new_store_by_url(self, url: Any) -> States:
        return States(
            url,
            self.app,
            self,
            table_name=MESSAGES,
            key_type=bytes,
            value_type=bytes,
            loop=self.loop,
            open_store=self._open_store,
        )

    async def on_start(self) -> None:
        await self.add_runtime_dependency(self.states)  # the topic is made and checked before Faust starts

    async def on_stop(self) -> None:
        self.ready = set()  # who is at work on a batch gets no states any more, before they are closed
        await self.settle()

    @property
    def states(self) -> States:
        states: States = self.data  # type: ignore[assignment]
        return states

    @property
    def consumer(self) -> BatchConsumer:
        consumer: BatchConsumer = self.app.consumer  # type: ignore[assignment]
        return consumer

    @property
    def producer(self) -> BatchProducer:
        producer: BatchProducer = self.app.producer  # type: ignore[assignment]
        return producer

    def lock(self, partition: int) -> asyncio.Lock:
        """Held by whoever reads states of a partition in order to change them."""
        return self._locks[partition]

    def kept(self, partition: int) -> PartitionState:
        """The partition's states.

        Raises:
            Superseded: it is not ours now.
        """
        if partition not in self.ready:
            raise Fenced
        return self.states.of(partition)

    def load(self, partition: int, keys: Sequence[bytes]) -> list[bytes | None]:
        """The states of these keys.

        Raises:
            Superseded: the partition is not ours now.
        """
        return self.kept(partition).store.load(keys)

    async def write(self, partition: int, changes: Mapping[bytes, Change]) -> None:
        """Make the changes durable, however long it takes. Called with the partition's lock held.

        Raises:
            Superseded: the partition was taken away meanwhile; the changes may or may not be in the topic.
        """
        if not changes:
            return
        kept = self.kept(partition)
        written: Written = await self.insist(
            partition, lambda within: self.producer.write(MESSAGES, partition, changes, within)
        )
        if partition not in self.ready or self.kept(partition) is not kept:
            raise Fenced
        kept.wrote({key: change.value for key, change in changes.items()}, written.start, written.end)
        STATES_WRITTEN.inc(len(changes))
        TOMBSTONES.inc(sum(change.value is None for change in changes.values()))

    async def insist(self, partition: int, send: Callable[[float], Awaitable[T]]) -> T:
        """Send until Kafka acknowledges it, with the partition's lock held; other partitions do not wait.

        Args:
            send: is given the seconds in which the write must have reached Kafka.

        Raises:
            Superseded: the lease is lost, or the partitions are being reassigned.
        """
        generation = self.app.consumer_generation_id
        since = monotonic()
        try:
            while True:
                within = await self.consumer.may_write()
                if generation != self.app.consumer_generation_id or self.app.should_stop:
                    raise Fenced
                if not within:
                    LEASE_LOST.inc()
                    raise Fenced
                try:
                    return await send(within)
                except KafkaError as error:
                    reason = str(error) or type(error).__name__
                    log.warning("Write not acknowledged, retrying", partition=partition, reason=reason)
                    self.retrying[partition] = since, reason
                if self.app.rebalancing or self.app.should_stop:
                    raise Fenced
                await asyncio.sleep(RETRY_SECONDS)
        finally:
            self.retrying.pop(partition, None)

    async def say_again(self, partition: int, keys: Sequence[bytes]) -> None:
        """Write what is known of the keys, as it is. Called with the partition's lock held.

        Raises:
            Superseded: the partition was taken away meanwhile.
        """
        values = zip(keys, self.load(partition, keys), strict=True)
        await self.write(partition, {key: _said_again(value) for key, value in values})

    async def settle(self) -> None:
        """Wait for the writes that have begun."""
        for lock in list(self._locks.values()):
            async with lock:
                pass

    async def on_rebalance(
        self, assigned: set[TP], revoked: set[TP], newly_assigned: set[TP], generation_id: int = 0
    ) -> None:
        self.ready = set()
        await super().on_rebalance(assigned, revoked, newly_assigned, generation_id)

    async def on_recovery_completed(self, active_tps: set[TP], standby_tps: set[TP]) -> None:
        await super().on_recovery_completed(active_tps, standby_tps)
        self.ready = {tp.partition for tp in active_tps}
        for partition in self.ready:
            self.on_ready(partition)


def _said_again(value: bytes | None) -> Change:
    if value is None:
        return Change(None, "", "")
    status = decode_message(value).status
    return Change(value, status, status)
