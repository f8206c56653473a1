"""Puts events into the topics of the contract, and makes a contender's own things as if it had never run."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.protocol.admin import DeleteGroupsRequest

from benchmarks.harness.events import Event, events
from gateway.kafka.partitioner import partition_of
from gateway.postback import POSTBACK_TOPICS
from gateway.topics import gateway_topics
from runtime.kafka.group_reader import remove_members
from runtime.kafka.topics import ensure_topics
from runtime.settings import load_settings
from streams.topics import messages_topic

CHUNK = 20_000
BATCH_BYTES = 500_000
PATIENCE_SECONDS = 60.0


async def make_topics(kafka: str, partitions: int) -> None:
    """Those of the contract, as the gateway and streams make them."""
    settings = load_settings({"POSTBACKS_PARTITIONS": str(partitions)})
    specs = [*gateway_topics(settings), messages_topic(settings)]
    await ensure_topics({"bootstrap_servers": kafka}, specs, PATIENCE_SECONDS)


async def make_backlog(kafka: str, partitions: int, size: int) -> Mapping[TopicPartition, int]:
    """Make the topics, and append so many events of the simulated provider; returns where they end."""
    await make_topics(kafka, partitions)
    began = datetime.now(UTC) - timedelta(hours=1)
    await fill(kafka, partitions, islice(events(1, began), size))
    return await end_offsets(kafka, POSTBACK_TOPICS)


async def fill(kafka: str, partitions: int, events: Iterable[Event]) -> int:
    """Append the events (acks=all), each to the partition that its key means; returns how many."""
    source, filled = iter(events), 0
    async with AIOKafkaProducer(
        bootstrap_servers=kafka, acks="all", max_batch_size=BATCH_BYTES, max_request_size=8 * 2**20
    ) as producer:
        while chunk := list(islice(source, CHUNK)):
            acknowledged: list[asyncio.Future[Any]] = []
            batches: dict[tuple[str, int], Any] = {}
            for topic, key, value in chunk:
                where = topic, partition_of(key, partitions)
                batch = batches.get(where)
                if batch is None or batch.append(timestamp=None, key=key, value=value) is None:
                    if batch is not None:
                        acknowledged.append(await producer.send_batch(batch, topic, partition=where[1]))
                    batch = batches[where] = producer.create_batch()
                    batch.append(timestamp=None, key=key, value=value)
            for (topic, partition), batch in batches.items():
                acknowledged.append(await producer.send_batch(batch, topic, partition=partition))
            await asyncio.gather(*acknowledged)
            filled += len(chunk)
    return filled


async def forget(kafka: str, groups: Iterable[str], topics: Iterable[str]) -> None:
    """Delete groups whose members were killed, and topics, where they exist; returns when they are gone."""
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            for group in groups:
                await _delete_group(admin, group)
            while there := set(topics) & set(await admin.list_topics()):
                await admin.delete_topics([*there])
    finally:
        await admin.close()


async def _delete_group(admin: AIOKafkaAdminClient, group: str) -> None:
    while group in {name for name, _ in await admin.list_consumer_groups()}:
        await remove_members(admin, group)  # they were killed, and would be missed only after a while
        await admin._send_request(DeleteGroupsRequest([group]), await admin.find_coordinator(group))


async def end_offsets(kafka: str, topics: Sequence[str]) -> Mapping[TopicPartition, int]:
    """Where each partition of the topics ends."""
    async with AIOKafkaConsumer(*topics, bootstrap_servers=kafka) as consumer:
        ends: Mapping[TopicPartition, int] = await consumer.end_offsets([*consumer.assignment()])
        return ends
