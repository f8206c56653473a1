"""Log offsets, and how far a consumer group has committed."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from runtime.errors import KafkaUnavailable
from runtime.kafka.offsets import NotDrained, open_logs
from tests.support.kafka import create_other_topics

Unique = Callable[[str], str]


async def create(address: str, topic: str) -> list[TopicPartition]:
    await create_other_topics(address, topic, partitions=3)
    return [TopicPartition(topic, partition) for partition in range(3)]


async def produce(address: str, partition: TopicPartition, batches: list[int]) -> None:
    """Write record batches with these numbers of records."""
    async with AIOKafkaProducer(bootstrap_servers=address, acks="all") as producer:
        for size in batches:
            batch = producer.create_batch()
            for number in range(size):
                assert batch.append(key=b"key", value=b"%d" % number, timestamp=None)
            batch.close()
            await (await producer.send_batch(batch, partition.topic, partition=partition.partition))


async def commit(address: str, group: str, partition: TopicPartition, offset: int) -> None:
    consumer = AIOKafkaConsumer(bootstrap_servers=address, group_id=group, enable_auto_commit=False)
    async with consumer:
        consumer.assign([partition])
        await consumer.commit({partition: offset})


async def test_log_end_follows_the_last_record(kafka: str, unique: Unique) -> None:
    full, short, empty = await create(kafka, unique("ends"))
    await produce(kafka, full, [100, 70])
    await produce(kafka, short, [30])
    async with open_logs({"bootstrap_servers": kafka}) as logs:
        assert await logs.ends([full.topic]) == {full: 170, short: 30, empty: 0}
        await produce(kafka, short, [5])
        assert await logs.ends([full.topic]) == {full: 170, short: 35, empty: 0}


async def test_reading_a_missing_topic_does_not_create_it(kafka: str, unique: Unique) -> None:
    name = unique("nowhere")
    async with open_logs({"bootstrap_servers": kafka}) as logs:
        assert await logs.ends([name]) == {}
        assert await logs.ends([name]) == {}


async def test_lag_counts_uncommitted_records(kafka: str, unique: Unique) -> None:
    one, two, _ = await create(kafka, unique("lag"))
    group = unique("group")
    await produce(kafka, one, [100])
    await produce(kafka, two, [10])
    async with open_logs({"bootstrap_servers": kafka}) as logs:
        ends = await logs.ends([one.topic])
        assert await logs.lag(group, ends) == 110
        await commit(kafka, group, one, 60)
        assert await logs.lag(group, ends) == 50
        await commit(kafka, group, one, 100)
        await commit(kafka, group, two, 10)
        assert await logs.lag(group, ends) == 0


async def test_group_without_progress_raises_not_drained(kafka: str, unique: Unique) -> None:
    one, _, _ = await create(kafka, unique("stuck"))
    await produce(kafka, one, [7])
    lags: list[int] = []
    async with open_logs({"bootstrap_servers": kafka}) as logs:
        with pytest.raises(NotDrained) as stuck:
            await logs.wait_drained(unique("idle"), await logs.ends([one.topic]), 0.5, lags.append)
    assert stuck.value.lag == 7
    assert set(lags) == {7}


async def test_unreachable_broker_raises_kafka_unavailable() -> None:
    with pytest.raises(KafkaUnavailable):
        async with open_logs({"bootstrap_servers": "127.0.0.1:1"}):
            pass
