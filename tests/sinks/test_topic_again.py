"""`messages` was deleted and created again: a sink stores the new topic from its beginning."""

from __future__ import annotations

from uuid import uuid4

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.structs import OffsetAndMetadata

from runtime.kafka.commit_metadata import commit_metadata
from streams.message import MESSAGES
from tests.support.kafka import create_topics, delete_topics
from tests.support.postbacks import sent
from tests.support.sinks import GROUP, open_sink, produce_values, stored_messages, wait_committed
from tests.support.workload import fold


def states(first: int, count: int) -> list[bytes]:
    """Encoded states of numbered messages."""
    ids = (f"00000000-0000-4000-8000-{number:012x}" for number in range(first, first + count))
    return list(fold(sent(message_id=message_id) for message_id in ids).values())


async def test_offset_of_an_earlier_topic_is_ignored(prepared_kafka: str, database: str) -> None:
    """Kafka removes a deleted topic's offsets, but not what a running sink commits before it notices."""
    await produce_values(prepared_kafka, MESSAGES, *states(0, 10))
    async with AIOKafkaConsumer(bootstrap_servers=prepared_kafka, group_id=GROUP) as consumer:
        earlier = OffsetAndMetadata(5, commit_metadata(uuid4()))
        consumer.assign([TopicPartition(MESSAGES, 0)])
        await consumer.commit({TopicPartition(MESSAGES, 0): earlier})
    with open_sink(prepared_kafka, database):
        await wait_committed(prepared_kafka)
    assert len(stored_messages(database)) == 10


async def test_running_sink_exits_when_the_topic_is_replaced(prepared_kafka: str, database: str) -> None:
    with open_sink(prepared_kafka, database) as sink:
        await sink.wait_ready()
        await delete_topics(prepared_kafka, MESSAGES)
        await create_topics(prepared_kafka)
        assert await sink.process.wait() == 1
    await produce_values(prepared_kafka, MESSAGES, *states(0, 5))
    with open_sink(prepared_kafka, database):
        await wait_committed(prepared_kafka)
    assert len(stored_messages(database)) == 5
