"""Produces events to the topics of the contract, and resets what a candidate left in Kafka."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice

from aiokafka import AIOKafkaConsumer, TopicPartition

from benchmarks.harness.events import Event, generate_events
from gateway.postback import POSTBACK_TOPICS
from tests.support.kafka import create_topics, delete_group, open_admin
from tests.support.workload import bulk_producer, produce_batched

#: Events produced between waits for acknowledgements.
CHUNK = 20_000
TIMEOUT = 60.0


async def produce_backlog(kafka: str, partitions: int, size: int) -> Mapping[TopicPartition, int]:
    """Create the topics and produce `size` events of the simulated provider; return the end offsets."""
    await create_topics(kafka, partitions)
    start = datetime.now(UTC) - timedelta(hours=1)
    await produce(kafka, partitions, islice(generate_events(1, start), size))
    return await end_offsets(kafka, POSTBACK_TOPICS)


async def produce(kafka: str, partitions: int, events: Iterable[Event]) -> None:
    """Produce the events (acks=all), each to the partition of its key."""
    source = iter(events)
    async with bulk_producer(kafka) as producer:
        while chunk := list(islice(source, CHUNK)):
            await produce_batched(producer, partitions, chunk)


async def reset(kafka: str, groups: Iterable[str], topics: Iterable[str]) -> None:
    """Delete these consumer groups, whose members were killed, and topics; return once they are gone."""
    async with open_admin(kafka) as admin, asyncio.timeout(TIMEOUT):
        while existing := set(groups) & {name for name, _ in await admin.list_consumer_groups()}:
            for group in existing:
                await delete_group(admin, group)
        while present := set(topics) & set(await admin.list_topics()):
            await admin.delete_topics([*present])


async def end_offsets(kafka: str, topics: Sequence[str]) -> Mapping[TopicPartition, int]:
    """Return the end offset of each partition of the topics."""
    async with AIOKafkaConsumer(*topics, bootstrap_servers=kafka) as consumer:
        ends: Mapping[TopicPartition, int] = await consumer.end_offsets([*consumer.assignment()])
        return ends
