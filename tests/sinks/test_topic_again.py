"""A topic of states was deleted and created again: a sink stores the new topic from its beginning."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.structs import OffsetAndMetadata

from runtime.kafka.commit_metadata import commit_metadata
from streams.contact import CONTACTS
from streams.message import MESSAGES
from tests.support.kafka import PARTITIONS, create_topics, delete_topics
from tests.support.postbacks import sent
from tests.support.sinks import (
    COUNTS,
    GROUP,
    expected_counts,
    open_sink,
    produce_values,
    rows,
    run_worker,
    stored_messages,
    wait_committed,
)
from tests.support.workload import fold, generate_postbacks, produce


def states(first: int, count: int) -> list[bytes]:
    """Encoded states of numbered messages."""
    ids = (f"00000000-0000-4000-8000-{number:012x}" for number in range(first, first + count))
    return list(fold(sent(message_id=message_id) for message_id in ids).values())


async def commit_to_earlier_topic(kafka: str, offset: int) -> None:
    """Commit as a sink that has not noticed that the topic was created again."""
    async with AIOKafkaConsumer(
        bootstrap_servers=kafka, group_id=GROUP, enable_auto_commit=False
    ) as consumer:
        consumer.assign([TopicPartition(MESSAGES, 0)])
        earlier = OffsetAndMetadata(offset, commit_metadata(uuid4()))
        await consumer.commit({TopicPartition(MESSAGES, 0): earlier})


async def test_offset_of_an_earlier_topic_is_ignored(prepared_kafka: str, prepared_database: str) -> None:
    """Kafka removes a deleted topic's offsets, but not what a running sink commits before it notices."""
    await produce_values(prepared_kafka, MESSAGES, *states(0, 10))
    await commit_to_earlier_topic(prepared_kafka, 5)
    with open_sink(prepared_kafka, prepared_database):
        await wait_committed(prepared_kafka)
    assert len(stored_messages(prepared_database)) == 10


async def test_other_topics_lose_nothing_to_the_rewind(
    prepared_kafka: str, prepared_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = generate_postbacks(100, seed=9)
    await produce(prepared_kafka, load, PARTITIONS)
    await produce_values(prepared_kafka, MESSAGES, *states(0, 10))
    await commit_to_earlier_topic(prepared_kafka, 5)
    fetch = GroupCoordinator.fetch_committed_offsets
    pauses = iter([1])  # of the assignment; nothing should be polled meanwhile, so there is no condition

    async def slow(*arguments: Any) -> Any:
        fetched = await fetch(*arguments)
        await asyncio.sleep(next(pauses, 0))
        return fetched

    monkeypatch.setattr(GroupCoordinator, "fetch_committed_offsets", slow)
    async with run_worker(prepared_kafka, prepared_database, topic_ids={MESSAGES: uuid4()}):
        await wait_committed(prepared_kafka)
    assert len(stored_messages(prepared_database)) == 10
    assert rows(prepared_database, COUNTS) == [expected_counts(load)]


@pytest.mark.parametrize("topic", [MESSAGES, CONTACTS])
async def test_running_sink_exits_when_the_topic_is_replaced(
    prepared_kafka: str, prepared_database: str, topic: str
) -> None:
    with open_sink(prepared_kafka, prepared_database) as sink:
        await sink.wait_ready()
        await delete_topics(prepared_kafka, topic)
        await create_topics(prepared_kafka)
        assert await sink.process.wait() == 1
    await produce_values(prepared_kafka, MESSAGES, *states(0, 5))
    with open_sink(prepared_kafka, prepared_database):
        await wait_committed(prepared_kafka)
    assert len(stored_messages(prepared_database)) == 5
