"""Faust's producer, that also writes many records of one partition at once, and only for so long."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, NamedTuple

import structlog
from aiokafka.errors import KafkaConnectionError
from aiokafka.producer.message_accumulator import BatchBuilder
from faust.transport.drivers import aiokafka as driver

from streams.change import Change, headers

log = structlog.get_logger(__name__)


RETRY_INTERVAL = 1.0


async def connect(start: Callable[[], Awaitable[None]], restart: Callable[[], Awaitable[None]]) -> None:
    """Start a client of Kafka; call `restart` for as long as no broker answers."""
    attempt = start
    while True:
        try:
            return await attempt()
        except KafkaConnectionError as error:
            log.warning("Kafka unavailable, retrying", reason=str(error))
        attempt = restart
        await asyncio.sleep(RETRY_INTERVAL)


class Written(NamedTuple):
    """Where a batch of records stands in the log: offsets `start` to before `end`, others may be between."""

    start: int
    end: int


class BatchProducer(driver.Producer):
    """Writes are acknowledged by all in-sync replicas (`producer_acks`)."""

    logger = logging.getLogger("faust.transport")

    async def on_start(self) -> None:
        await connect(super().on_start, lambda: self._ensure_producer().start())

    async def write(
        self, topic: str, partition: int, changes: Mapping[bytes, Change], within: float
    ) -> Written:
        """Append a record of each change, in order; return once all are acknowledged.

        Args:
            within: seconds in which they may be sent again after an error. One that was sent just before may
                still arrive later; then it stands in the log although this raised.

        Raises:
            KafkaError: not all were acknowledged; some may have been.
        """
        producer = self._ensure_producer()
        producer._message_accumulator._batch_ttl = within
        batches = _filled(producer, changes)
        sent = []
        for batch in batches:
            sent.append(await producer.send_batch(batch, topic, partition=partition))
        done = await _all(sent)
        return Written(done[0].offset, done[-1].offset + batches[-1].record_count())

    async def append(self, topic: str, records: Iterable[tuple[bytes, bytes]]) -> None:
        """Append records to whatever partition their key means; return once all are acknowledged.

        Raises:
            KafkaError: not all were acknowledged; some may have been.
        """
        producer = self._ensure_producer()
        await _all([await producer.send(topic, value, key) for key, value in records])


async def _all(sent: list[asyncio.Future[Any]]) -> list[Any]:
    """Wait for all of them to end, also when one fails: nothing may be under way when its lease is over."""
    await asyncio.wait(sent)
    return [future.result() for future in sent]


def _filled(producer: Any, changes: Mapping[bytes, Change]) -> list[BatchBuilder]:
    batches = [producer.create_batch()]
    for key, change in changes.items():
        about = headers(change.status, change.previous)
        if batches[-1].append(timestamp=None, key=key, value=change.value, headers=about) is None:
            batches.append(producer.create_batch())  # it takes at least one record, however large
            batches[-1].append(timestamp=None, key=key, value=change.value, headers=about)
    return batches
