"""Faust's producer, extended to write batches of records to one partition within a time limit."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, NamedTuple

import structlog
from aiokafka.errors import KafkaConnectionError
from aiokafka.partitioner import murmur2
from aiokafka.producer.message_accumulator import BatchBuilder
from faust.transport.drivers import aiokafka as driver

from streams.state.spec import Change, Headers

log = structlog.get_logger(__name__)

RETRY_INTERVAL = 1.0


async def connect(start: Callable[[], Awaitable[None]], restart: Callable[[], Awaitable[None]]) -> None:
    """Start a client of Kafka; while no broker answers, retry with `restart`."""
    attempt = start
    while True:
        try:
            return await attempt()
        except KafkaConnectionError as error:
            log.warning("Kafka unavailable, retrying", reason=str(error))
        attempt = restart
        await asyncio.sleep(RETRY_INTERVAL)


class WrittenOffsets(NamedTuple):
    """Offsets `start` to before `end` of a batch in the log; other writers' records may be in between."""

    start: int
    end: int


class BatchProducer(driver.Producer):
    """Writes are acknowledged by all in-sync replicas (`producer_acks`)."""

    logger = logging.getLogger("faust.transport")

    async def on_start(self) -> None:
        await connect(super().on_start, lambda: self._ensure_producer().start())

    async def write_to_partition(
        self, topic: str, partition: int, changes: Mapping[bytes, Change], timeout: float
    ) -> WrittenOffsets:
        """Write a record for each change, in order; return once all are acknowledged.

        Args:
            timeout: seconds in which they may be retried. A request sent just before it expires may still
                arrive later; then its records are in the log although this raised.

        Raises:
            KafkaError: not all were acknowledged; some may have been.
        """
        producer = self._ensure_producer()
        producer._message_accumulator._batch_ttl = timeout
        records = ((key, change.value, change.headers) for key, change in changes.items())
        batches = _pack(producer, records)
        sent = []
        for batch in batches:
            sent.append(await producer.send_batch(batch, topic, partition=partition))
        acknowledged = await _gather(sent)
        return WrittenOffsets(acknowledged[0].offset, acknowledged[-1].offset + batches[-1].record_count())

    async def write_by_key(self, topic: str, records: Iterable[tuple[bytes, bytes]]) -> None:
        """Write records of (key, value) to the partitions of their keys; return once all are acknowledged.

        Raises:
            KafkaError: not all were acknowledged; some may have been.
        """
        producer = self._ensure_producer()
        configured: Mapping[str, int] = self.transport.partitions  # type: ignore[attr-defined]
        partitions = configured.get(topic) or len(await producer.partitions_for(topic))
        by_partition: defaultdict[int, list[tuple[bytes, bytes, Headers]]] = defaultdict(list)
        for key, value in records:
            by_partition[partition_of(key, partitions)].append((key, value, []))
        await _gather(
            [
                await producer.send_batch(batch, topic, partition=partition)
                for partition, own in by_partition.items()
                for batch in _pack(producer, own)
            ]
        )


async def _gather(sent: list[asyncio.Future[Any]]) -> list[Any]:
    """Wait for all, even if one fails: no write may be in flight after its lease has expired."""
    await asyncio.wait(sent)
    return [future.result() for future in sent]


def partition_of(key: bytes, partitions: int) -> int:
    """The partition of a key, as Kafka's default partitioner computes it."""
    hashed: int = murmur2(key)
    return (hashed & 0x7FFFFFFF) % partitions


def _pack(producer: Any, records: Iterable[tuple[bytes, bytes | None, Headers]]) -> list[BatchBuilder]:
    batches = [producer.create_batch()]
    for key, value, headers in records:
        record = {"timestamp": None, "key": key, "value": value, "headers": headers}
        if batches[-1].append(**record) is None:
            batches.append(producer.create_batch())  # an empty batch takes any record, however large
            batches[-1].append(**record)
    return batches
