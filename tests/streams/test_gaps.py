"""Offsets without records, compacted and truncated logs, brokers that are unavailable or refuse writes."""

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
from tests.support.kafka import ApacheKafka, free_ports, own_kafka, wipe
from tests.support.postbacks import sent
from tests.support.process import ROOT
from tests.support.streams import POLL_INTERVAL, TIMEOUT, Streams
from tests.support.workload import compact, diff_states, generate_postbacks


@pytest_asyncio.fixture
async def streams(apache_kafka: ApacheKafka, tmp_path: Path) -> Streams:
    await wipe(apache_kafka.address)
    made = Streams(apache_kafka.address, tmp_path, partitions=2)
    await made.create_topics()
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
    """Write each record to every partition in a transaction of its own, which ends with a marker."""
    producer = AIOKafkaProducer(bootstrap_servers=streams.kafka, transactional_id="by-hand")
    await producer.start()
    try:
        for key, value in records:
            async with producer.transaction():
                for partition in range(streams.partitions):
                    await producer.send(topic, value, key=key, partition=partition)
    finally:
        await producer.stop()


async def test_transaction_markers_in_the_input_are_skipped(streams: Streams) -> None:
    given = generate_postbacks(200, seed=1)
    await streams.produce(given[:300])
    foreign = sent()
    with streams.worker():
        # Both partitions get the record and merge it, though its key belongs to one; so it is left out of the
        # comparison. What matters is that the lag becomes 0 although the log ends with markers.
        await in_transactions(streams, SENT, [(key_of("acme", foreign.message_id), encode(foreign))] * 3)
        await streams.produce(given[300:])
        await streams.wait_committed()
        await in_transactions(streams, SENT, [(key_of("acme", foreign.message_id), encode(foreign))])
        await streams.wait_committed()
    got = compact(await streams.messages())
    got.pop(key_of("acme", foreign.message_id))
    assert diff_states(got, streams.expected) == {}


async def test_transaction_markers_in_the_changelog_are_skipped(streams: Streams) -> None:
    given = generate_postbacks(200, seed=2)
    await streams.produce(given[:300])
    with streams.worker("a") as worker:
        await streams.wait_committed()
        foreign = state_of(sent())
        record = key_of("acme", foreign.message_id), encode_message(foreign)
        await in_transactions(streams, MESSAGES, [record] * 3)
        await streams.produce(given[300:500])
        await streams.wait_committed()
        await in_transactions(streams, MESSAGES, [record])
        worker.process.kill()
    await streams.produce(given[500:])
    with streams.worker("b") as worker:
        await worker.wait_ready()
        await streams.wait_committed()
    got = compact(await streams.messages())
    assert got.pop(record[0]) == record[1]
    assert diff_states(got, streams.expected) == {}


async def test_states_are_restored_from_a_compacted_log(streams: Streams) -> None:
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
    given = generate_postbacks(1000, seed=3)
    with streams.worker("a") as worker:
        for start in range(0, 2500, 250):
            await streams.produce(given[start : start + 250])
            await streams.wait_committed()
        written = await worker.metric("states_written_total")
        async with asyncio.timeout(TIMEOUT):
            while True:
                if len(await streams.messages()) < written * 0.9:
                    break
                await asyncio.sleep(1)
        worker.process.kill()
    await streams.produce(given[2500:])
    with streams.worker("b"):
        await streams.wait_committed()
    assert diff_states(compact(await streams.messages()), streams.expected) == {}


async def test_worker_continues_after_records_deleted_unread(streams: Streams) -> None:
    given = generate_postbacks(300, seed=4)
    await streams.produce(given[:300])
    with streams.worker() as worker:
        await streams.wait_committed()
        worker.process.stop()
    await streams.produce(given[300:600])
    async with admin(streams.kafka) as client:
        tps = [TopicPartition(SENT, partition) for partition in range(streams.partitions)]
        await client.delete_records({tp: RecordsToDelete(before_offset=-1) for tp in tps})
    with streams.worker():
        await streams.produce(given[600:])
        await streams.wait_committed()
        known = compact(await streams.messages())
    assert known.keys() <= streams.expected.keys()
    late = {key_of(postback.account, postback.message_id) for postback in given[600:]}
    assert late <= known.keys()


async def test_worker_that_cannot_write_exits_with_the_error(streams: Streams) -> None:
    given = generate_postbacks(20, seed=5)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "streams"),
        cwd=ROOT,
        env=streams.settings(ops="127.0.0.1:0", stall_after=3),
        stderr=asyncio.subprocess.PIPE,
    )
    await streams.produce(given[:10])
    await streams.wait_committed()
    async with admin(streams.kafka) as client:
        tight = {"cleanup.policy": "compact", "max.message.bytes": "100"}
        await client.alter_configs([ConfigResource(ConfigResourceType.TOPIC, MESSAGES, configs=tight)])
    await streams.produce(given[10:])
    _, stderr = await asyncio.wait_for(process.communicate(), TIMEOUT)
    assert process.returncode == 1
    assert b"no progress for" in stderr
    assert b"MessageSizeTooLarge" in stderr


async def test_worker_survives_while_kafka_is_suspended(streams: Streams, apache_kafka: ApacheKafka) -> None:
    given = generate_postbacks(300, seed=6)
    await streams.produce(given[:500])
    with streams.worker(stall_after=8) as worker:
        await streams.wait_committed()
        apache_kafka.nodes[0].pause()
        try:
            async with asyncio.timeout(TIMEOUT):
                while True:
                    if "kafka:" in await worker.get("readyz"):
                        break
                    await asyncio.sleep(POLL_INTERVAL)
            await asyncio.sleep(12)  # longer than stall_after; nothing should happen
            assert worker.process.running
        finally:
            apache_kafka.nodes[0].resume()
        await streams.produce(given[500:])
        await streams.wait_committed()
        await worker.wait_ready()
    assert diff_states(compact(await streams.messages()), streams.expected) == {}


async def test_states_of_another_cluster_are_removed_unread(
    apache_kafka: ApacheKafka, streams: Streams, tmp_path: Path
) -> None:
    given = generate_postbacks(50, seed=8)

    async def merge_on(cluster: ApacheKafka, streams: Streams, offset: int) -> None:
        await streams.produce(given[offset:])
        with streams.worker():
            await streams.wait_committed()
            assert diff_states(compact(await streams.messages()), streams.expected) == {}
        assert [folder.name for folder in (tmp_path / "a" / "states").iterdir()] == [cluster.cluster]

    await merge_on(apache_kafka, streams, 0)
    async with own_kafka(tmp_path / "kafka") as other:
        on_other = Streams(other.address, tmp_path, partitions=2)
        await on_other.create_topics()
        await merge_on(other, on_other, 3)  # fewer postbacks: old states would add to the result


async def test_worker_waits_for_kafka_and_its_topics(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    streams = Streams(f"127.0.0.1:{port}", tmp_path)

    async def wait_until_missing(worker: Any, reason: str) -> None:
        async with asyncio.timeout(TIMEOUT):
            while True:
                if reason in await worker.get("readyz"):
                    return
                await asyncio.sleep(POLL_INTERVAL)

    with streams.worker() as worker:
        await wait_until_missing(worker, "kafka: Kafka at 127.0.0.1:")
        async with own_kafka(tmp_path / "kafka", port):
            await wait_until_missing(worker, "kafka: postbacks.sent, postbacks.response, postbacks.receipt")
            await streams.create_topics()
            await worker.wait_ready()
            await streams.produce(generate_postbacks(20, seed=7))
            await streams.wait_committed()
            assert diff_states(compact(await streams.messages()), streams.expected) == {}
