"""Publishes records as the gateway does; waits for Kafka at the start, and retries for a while."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from gateway.kafka.cloudevents import HeadersOf, headers_of
from gateway.kafka.sink import KafkaSink
from gateway.sink import Unavailable
from gateway.topics import gateway_topics
from operations.replay.publish import Publish
from operations.replay.stored_request import ReplayedRecord
from runtime.errors import KafkaUnavailable
from runtime.health import Health
from runtime.kafka.clients import client_options
from runtime.kafka.topics import TopicSpec
from runtime.process import first_completed
from runtime.retry import retrying
from runtime.settings import Settings

#: Seconds Kafka may take to become available at the start.
OPEN_TIMEOUT = 20.0
#: Seconds to retry for while Kafka does not acknowledge a record, and between attempts at most.
RETRY_TIMEOUT, MAX_BACKOFF = 60.0, 0.5


async def discard(record: ReplayedRecord) -> None:
    """Publish nothing, for a dry run."""


@asynccontextmanager
async def open_publisher(
    settings: Settings, headers: HeadersOf = headers_of, topics: Sequence[TopicSpec] = ()
) -> AsyncIterator[Publish]:
    """Connect to Kafka for the block. The function raises `gateway.sink.Unavailable` after RETRY_TIMEOUT.

    Args:
        topics: to publish to; by default the gateway's.

    Raises:
        KafkaUnavailable: no answer within OPEN_TIMEOUT.
        TopicMismatch: a topic is not as required.
    """
    topics = topics or gateway_topics(settings.partitions, settings.replication)
    options = client_options(settings)
    async with KafkaSink(
        options,
        topics,
        settings.linger,
        settings.ack_timeout,
        Health(),
        headers,
        compression=settings.compression,
    ) as sink:
        await _wait_ready(sink)

        async def publish(record: ReplayedRecord) -> None:
            async for attempt in retrying(Unavailable, MAX_BACKOFF, RETRY_TIMEOUT):
                with attempt:
                    await sink.put(*record)

        yield publish


async def _wait_ready(sink: KafkaSink) -> None:
    try:
        async with asyncio.timeout(OPEN_TIMEOUT):
            await first_completed(sink.wait_ready(), sink.wait_failed())
    except TimeoutError:
        raise KafkaUnavailable(f"Kafka does not answer: {sink.unavailable_reason}") from None
