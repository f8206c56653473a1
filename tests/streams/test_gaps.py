"""Offsets without a record, logs that were compacted or cut, and brokers that come, go and refuse."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest_asyncio
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from gateway.postback import SENT, encode, key_of
from streams.message import MESSAGES, encode_message, state_of
from streams.topics import RECORD_BYTES
from tests.support.kafka import ApacheKafka, free_ports, own_kafka
from tests.support.kafka_reset import wipe
from tests.support.postbacks import sent
from tests.support.process import ROOT
from tests.support.streams import POLL_SECONDS, SECONDS, Streams
from tests.support.workload import differences, last, postbacks


@pytest_asyncio.fixture
async def streams(apache_kafka: ApacheKafka, tmp_path: Path) -> Streams:
    await wipe(apache_kafka.address)
    made = Streams(apache_kafka.address, tmp_path, partitions=2)
    await made.make_topics()
    return made


@asynccontextmanager
async def admin(kafka: str) -> AsyncIterator[AIOKafkaAdminClient]:
    client = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await client.start()
    try:
        yield client
    finally:
        await client.close()


async def in_transactions(streams: Streams, topic: str, records: list[tuple[bytes, bytes]]) -> None:
    """Each record in a transaction of its own, on every partition, ending in one without a record."""
    producer = AIOKafkaProducer(bootstrap_servers=streams.kafka, transactional_id="by-hand")
    await producer.start()
    try:
        for key, value in records:
            async with producer.transaction():
                for partition in range(streams.partitions):
                    await producer.send(topic, value, key=key, partition=partition)
    finally:
        await producer.stop()


async def test_ends_of_transactions_in_the_input_are_passed(streams: Streams) -> None:
    given = postbacks(200, seed=1)
    await streams.give(given[:300])
    foreign = sent()
    with streams.worker():
        # Both partitions get the record; where its key does not belong it is merged all the same, so it is
        # one that both may have: what counts is that the lag comes to nothing although markers end the log.
        await in_transactions(streams, SENT, [(key_of("acme", foreign.message_id), encode(foreign))] * 3)
        await streams.give(given[300:])
        await streams.merged()
        await in_transactions(streams, SENT, [(key_of("acme", foreign.message_id), encode(foreign))])
        await streams.merged()
    got = last(await streams.messages())
    got.pop(key_of("acme", foreign.message_id))
    assert differences(got, streams.folded) == {}


async def test_ends_of_transactions_in_the_log_of_messages_are_passed(streams: Streams) -> None:
    given = postbacks(200, seed=2)
    await streams.give(given[:300])
    with streams.worker("a") as worker:
        await streams.merged()
        foreign = state_of(sent())
        record = key_of("acme", foreign.message_id), encode_message(foreign)
        await in_transactions(streams, MESSAGES, [record] * 3)
        await streams.give(given[300:500])
        await streams.merged()
        await in_transactions(streams, MESSAGES, [record])
        worker.process.kill()
    await streams.give(given[500:])
    with streams.worker("b") as worker:
        await worker.ready()
        await streams.merged()
    got = last(await streams.messages())
    assert got.pop(record[0]) == record[1]
    assert differences(got, streams.folded) == {}


async def test_states_are_filled_from_a_log_that_was_compacted(streams: Streams) -> None:
    async with admin(streams.kafka) as client:
        await client.delete_topics([MESSAGES])
        eager = {
            "cleanup.policy": "compact",
            "min.compaction.lag.ms": "0",
            "min.cleanable.dirty.ratio": "0.01",
            "segment.ms": "100",
            "max.message.bytes": str(RECORD_BYTES),
        }
        made = await client.create_topics([NewTopic(MESSAGES, streams.partitions, 1, topic_configs=eager)])
        assert [code for _, code, *_ in made.topic_errors] == [0]
    given = postbacks(1000, seed=3)
    with streams.worker("a") as worker:
        for start in range(0, 2500, 250):
            await streams.give(given[start : start + 250])
            await streams.merged()
        written = await worker.metric("states_written_total")
        async with asyncio.timeout(SECONDS):
            while True:
                if len(await streams.messages()) < written * 0.9:
                    break
                await asyncio.sleep(1)
        worker.process.kill()
    await streams.give(given[2500:])
    with streams.worker("b"):
        await streams.merged()
    assert differences(last(await streams.messages()), streams.folded) == {}


async def test_when_kafka_deleted_what_was_not_read_the_worker_goes_on_behind_it(streams: Streams) -> None:
    given = postbacks(300, seed=4)
    await streams.give(given[:300])
    with streams.worker() as worker:
        await streams.merged()
        worker.process.stop()
    await streams.give(given[300:600])
    async with admin(streams.kafka) as client:
        parts = [TopicPartition(SENT, partition) for partition in range(streams.partitions)]
        await client.delete_records({part: RecordsToDelete(before_offset=-1) for part in parts})
    with streams.worker():
        await streams.give(given[600:])
        await streams.merged()
        known = last(await streams.messages())
    assert known.keys() <= streams.folded.keys()
    late = {key_of(postback.account, postback.message_id) for postback in given[600:]}
    assert late <= known.keys()


async def test_a_worker_that_cannot_write_ends_itself_and_says_why(streams: Streams) -> None:
    given = postbacks(20, seed=5)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "streams"),
        cwd=ROOT,
        env=streams.settings(ops="127.0.0.1:0", stall_after=3),
        stderr=asyncio.subprocess.PIPE,
    )
    await streams.give(given[:10])
    await streams.merged()
    async with admin(streams.kafka) as client:
        tight = {"cleanup.policy": "compact", "max.message.bytes": "100"}
        await client.alter_configs([ConfigResource(ConfigResourceType.TOPIC, MESSAGES, configs=tight)])
    await streams.give(given[10:])
    _, said = await asyncio.wait_for(process.communicate(), SECONDS)
    assert process.returncode == 1
    assert b"no progress for" in said
    assert b"MessageSizeTooLarge" in said


async def test_a_worker_does_not_end_itself_while_kafka_does_not_answer(
    streams: Streams, apache_kafka: ApacheKafka
) -> None:
    given = postbacks(300, seed=6)
    await streams.give(given[:500])
    with streams.worker(stall_after=8) as worker:
        await streams.merged()
        apache_kafka.nodes[0].pause()
        try:
            async with asyncio.timeout(SECONDS):
                while True:
                    if "kafka:" in await worker.ask("readyz"):
                        break
                    await asyncio.sleep(POLL_SECONDS)
            await asyncio.sleep(12)  # nothing is to happen
            assert worker.process.running
        finally:
            apache_kafka.nodes[0].resume()
        await streams.give(given[500:])
        await streams.merged()
        await worker.ready()
    assert differences(last(await streams.messages()), streams.folded) == {}


async def test_states_of_another_cluster_are_not_touched_and_then_removed(
    apache_kafka: ApacheKafka, streams: Streams, tmp_path: Path
) -> None:
    given = postbacks(50, seed=8)

    async def merge_on(cluster: ApacheKafka, streams: Streams, offset: int) -> None:
        await streams.give(given[offset:])
        with streams.worker():
            await streams.merged()
            assert differences(last(await streams.messages()), streams.folded) == {}
        assert [folder.name for folder in (tmp_path / "a" / "states").iterdir()] == [cluster.cluster]

    await merge_on(apache_kafka, streams, 0)
    async with own_kafka(tmp_path / "kafka") as other:
        there = Streams(other.address, tmp_path, partitions=2)
        await there.make_topics()
        await merge_on(other, there, 3)  # it has less, which the states of the first must not hide


async def test_a_worker_that_is_there_before_kafka_and_the_topics_waits_for_them(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    streams = Streams(f"127.0.0.1:{port}", tmp_path)

    async def says(worker: Any, words: str) -> None:
        async with asyncio.timeout(SECONDS):
            while True:
                if words in await worker.ask("readyz"):
                    return
                await asyncio.sleep(POLL_SECONDS)

    with streams.worker() as worker:
        await says(worker, "kafka: Kafka at 127.0.0.1:")
        async with own_kafka(tmp_path / "kafka", port):
            await says(worker, "kafka: postbacks.sent, postbacks.response, postbacks.receipt")
            await streams.make_topics()
            await worker.ready()
            await streams.give(postbacks(20, seed=7))
            await streams.merged()
            assert differences(last(await streams.messages()), streams.folded) == {}
