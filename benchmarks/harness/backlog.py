"""Produces events to the topics of the contract, and resets what a candidate left in Kafka."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.protocol.admin import DeleteGroupsRequest

from benchmarks.harness.events import Event, generate_events
from gateway.kafka.partitioner import partition_of
from gateway.postback import POSTBACK_TOPICS
from gateway.topics import gateway_topics
from runtime.kafka.group_reader import remove_members
from runtime.kafka.topics import ensure_topics
from runtime.settings import load_settings
from streams.topics import messages_topic

#: Events produced between waits for acknowledgements.
CHUNK = 20_000
BATCH_BYTES = 500_000
TIMEOUT = 60.0


async def create_topics(kafka: str, partitions: int) -> None:
    """Create the topics of the contract as the gateway and streams do."""
    settings = load_settings({"POSTBACKS_PARTITIONS": str(partitions)})
    counts = settings.partitions, settings.replication
    await ensure_topics(
        {"bootstrap_servers": kafka}, [*gateway_topics(*counts), messages_topic(*counts)], TIMEOUT
    )


async def produce_backlog(kafka: str, partitions: int, size: int) -> Mapping[TopicPartition, int]:
    """Create the topics and produce `size` events of the simulated provider; return the end offsets."""
    await create_topics(kafka, partitions)
    start = datetime.now(UTC) - timedelta(hours=1)
    await produce(kafka, partitions, islice(generate_events(1, start), size))
    return await end_offsets(kafka, POSTBACK_TOPICS)


async def produce(kafka: str, partitions: int, events: Iterable[Event]) -> None:
    """Produce the events (acks=all), each to the partition of its key."""
    source = iter(events)
    async with AIOKafkaProducer(
        bootstrap_servers=kafka, acks="all", max_batch_size=BATCH_BYTES, max_request_size=8 * 2**20
    ) as producer:
        while chunk := list(islice(source, CHUNK)):
            acknowledged: list[asyncio.Future[Any]] = []
            batches: dict[tuple[str, int], Any] = {}
            for topic, key, value in chunk:
                target = topic, partition_of(key, partitions)
                batch = batches.get(target)
                if batch is None or batch.append(timestamp=None, key=key, value=value) is None:
                    if batch is not None:
                        acknowledged.append(await producer.send_batch(batch, topic, partition=target[1]))
                    batch = batches[target] = producer.create_batch()
                    batch.append(timestamp=None, key=key, value=value)
            for (topic, partition), batch in batches.items():
                acknowledged.append(await producer.send_batch(batch, topic, partition=partition))
            await asyncio.gather(*acknowledged)


async def reset(kafka: str, groups: Iterable[str], topics: Iterable[str]) -> None:
    """Delete these consumer groups, whose members were killed, and topics; return once they are gone."""
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    try:
        async with asyncio.timeout(TIMEOUT):
            for group in groups:
                await _delete_group(admin, group)
            while existing := set(topics) & set(await admin.list_topics()):
                await admin.delete_topics([*existing])
    finally:
        await admin.close()


async def _delete_group(admin: AIOKafkaAdminClient, group: str) -> None:
    while group in {name for name, _ in await admin.list_consumer_groups()}:
        await remove_members(admin, group)  # else the group has members until their sessions time out
        await admin._send_request(DeleteGroupsRequest([group]), await admin.find_coordinator(group))


async def end_offsets(kafka: str, topics: Sequence[str]) -> Mapping[TopicPartition, int]:
    """Return the end offset of each partition of the topics."""
    async with AIOKafkaConsumer(*topics, bootstrap_servers=kafka) as consumer:
        ends: Mapping[TopicPartition, int] = await consumer.end_offsets([*consumer.assignment()])
        return ends
