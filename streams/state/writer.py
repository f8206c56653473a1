"""The write protocol of states: lease, produce, store.

A write needs this worker's lease, and is retried until every in-sync replica has it. Only then is it applied
to the store, and only then may its cause be acknowledged. Writes to one partition are serialised by its lock.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from time import monotonic
from typing import NamedTuple, TypeVar

import structlog
from aiokafka.errors import KafkaError

from runtime.metrics import LEASE_LOST, STATES_WRITTEN, TOMBSTONES
from streams.state.spec import Change
from streams.state.table import Fenced, StateTable
from streams.transport.app import consumer_of, producer_of

log = structlog.get_logger(__name__)

RETRY_INTERVAL = 0.5

T = TypeVar("T")


class Retry(NamedTuple):
    """A write that is being retried."""

    #: What is written to: the changelog, or what `append` is called with.
    topic: str
    #: Monotonic time of the first attempt.
    since: float
    #: The last error.
    reason: str


class StateWriter:
    """Writes to a table's changelog, then to its stores. Its methods need the partition's lock."""

    def __init__(self, table: StateTable) -> None:
        self._table = table
        self._app = table.app
        #: By partition.
        self.retrying: dict[int, Retry] = {}

    async def write(self, partition: int, changes: Mapping[bytes, Change]) -> None:
        """Write the changes; returns once they are durable, without a timeout.

        Raises:
            Fenced: the partition was revoked; the changes may or may not be in the topic.
        """
        if not changes:
            return
        topic, state = self._table.spec.topic, self._table.partition_state(partition)
        written = await self._retry_until_acked(
            partition,
            topic,
            lambda timeout: producer_of(self._app).write_to_partition(topic, partition, changes, timeout),
        )
        if state is not self._table.partition_state(partition):
            raise Fenced
        state.on_written({key: change.value for key, change in changes.items()}, written.start, written.end)
        STATES_WRITTEN.labels(topic).inc(len(changes))
        TOMBSTONES.inc(sum(change.value is None for change in changes.values()))

    async def rewrite(self, partition: int, keys: Sequence[bytes]) -> None:
        """Write the current states of the keys again.

        Raises:
            Fenced: the partition was revoked.
        """
        values = self._table.partition_state(partition).load(keys)
        await self.write(partition, {key: self._table.spec.rewrite(value) for key, value in values.items()})

    async def append(self, partition: int, topic: str, records: Sequence[tuple[bytes, bytes]]) -> None:
        """Append records that result from the partition's input to another topic; without a timeout.

        Raises:
            Fenced: the partition was revoked; the records may or may not be in the topic.
        """
        await self._retry_until_acked(
            partition, topic, lambda _: producer_of(self._app).write_by_key(topic, records)
        )

    async def has_lease(self) -> bool:
        """Whether this worker may write now; renews the lease if it is about to end."""
        return await consumer_of(self._app).ensure_lease() > 0

    async def _retry_until_acked(
        self, partition: int, topic: str, send: Callable[[float], Awaitable[T]]
    ) -> T:
        """Send until Kafka acknowledges.

        Args:
            send: is called with the seconds within which the write must reach Kafka.

        Raises:
            Fenced: the lease is lost, a rebalance has started, or the worker shuts down.
        """
        generation = self._app.consumer_generation_id
        since = monotonic()
        try:
            while True:
                timeout = await consumer_of(self._app).ensure_lease()
                if generation != self._app.consumer_generation_id or self._app.should_stop:
                    raise Fenced
                if not timeout:
                    LEASE_LOST.inc()
                    raise Fenced
                try:
                    return await send(timeout)
                except KafkaError as error:
                    reason = str(error) or type(error).__name__
                    log.warning(
                        "Write not acknowledged, retrying", topic=topic, partition=partition, reason=reason
                    )
                    self.retrying[partition] = Retry(topic, since, reason)
                if self._app.rebalancing or self._app.should_stop:
                    raise Fenced
                await asyncio.sleep(RETRY_INTERVAL)
        finally:
            self.retrying.pop(partition, None)
