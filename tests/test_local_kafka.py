"""The embedded broker as a process, and that both brokers of the tests are what the fixtures promise."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from local.kafka import embedded_kafka
from tests.processes import ROOT, running

#: A consumer that joins a group, commits, and stays.
MEMBER = """
import asyncio, sys
from aiokafka import AIOKafkaConsumer

async def main():
    consumer = AIOKafkaConsumer("postbacks.sent", bootstrap_servers=sys.argv[1], group_id="streams")
    async with consumer:
        while not consumer.assignment():
            await asyncio.sleep(0.01)
        await consumer.commit({partition: 0 for partition in consumer.assignment()})
        print("joined", flush=True)
        await asyncio.sleep(3600)

asyncio.run(main())
"""


async def cluster_of(address: str) -> str:
    admin = AIOKafkaAdminClient(bootstrap_servers=address)
    await admin.start()
    try:
        described = await admin.describe_cluster()
        return str(described["cluster_id"])
    finally:
        await admin.close()


async def create(address: str, *topics: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=address)
    await admin.start()
    try:
        created = await admin.create_topics([NewTopic(topic, 2, 1) for topic in topics])
        assert [error for _, error, _ in created.topic_errors] == [0] * len(topics)
    finally:
        await admin.close()


async def topics_and_groups(address: str) -> tuple[list[str], list[str]]:
    admin = AIOKafkaAdminClient(bootstrap_servers=address)
    await admin.start()
    try:
        topics = [topic for topic in await admin.list_topics() if not topic.startswith("__")]
        return topics, [group for group, _ in await admin.list_consumer_groups()]
    finally:
        await admin.close()


async def test_what_is_produced_is_consumed(kafka: str, unique: Callable[[str], str]) -> None:
    topic = unique("topic")
    await create(kafka, topic)
    async with AIOKafkaProducer(bootstrap_servers=kafka, acks="all") as producer:
        await producer.send_and_wait(topic, b"value", b"key")
    consumer = AIOKafkaConsumer(
        topic, bootstrap_servers=kafka, group_id=unique("group"), auto_offset_reset="earliest"
    )
    async with consumer:
        record = await consumer.getone()
        await consumer.commit()
    assert (record.key, record.value) == (b"key", b"value")


async def test_each_start_of_the_embedded_broker_is_a_cluster_of_its_own() -> None:
    clusters = set()
    for _ in range(2):
        async with embedded_kafka() as broker:
            assert await cluster_of(broker.address) == broker.cluster
            clusters.add(broker.cluster)
    assert len(clusters) == 2


async def test_a_fresh_kafka_knows_no_topics_and_no_groups(fresh_kafka: str) -> None:
    assert await topics_and_groups(fresh_kafka) == ([], [])
    await create(fresh_kafka, "postbacks.sent")


async def test_a_fresh_kafka_forgets_what_a_killed_consumer_left(fresh_kafka: str) -> None:
    # The second of two tests that use the same names: what the first left, and a member that never said
    # goodbye, are gone.
    assert await topics_and_groups(fresh_kafka) == ([], [])
    await create(fresh_kafka, "postbacks.sent")
    member = await asyncio.create_subprocess_exec(
        sys.executable, "-c", MEMBER, fresh_kafka, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert member.stdout
        assert await asyncio.wait_for(member.stdout.readline(), 60) == b"joined\n"
    finally:
        member.kill()
        await member.wait()
    assert (await topics_and_groups(fresh_kafka))[1] == ["streams"]


async def test_and_the_test_after_it_starts_from_nothing(fresh_kafka: str) -> None:
    assert await topics_and_groups(fresh_kafka) == ([], [])


def test_sigterm_ends_it_at_once_even_with_a_client_connected() -> None:
    with running("local", "kafka", "--port", "0") as process:
        host, port = process.line().split(":")
        with socket.create_connection((host, int(port))):
            began = time.monotonic()
            assert process.stop() == 0
            assert time.monotonic() - began < 3


def test_its_broker_dies_with_it_even_when_it_is_killed() -> None:
    with running("local", "kafka", "--port", "0") as process:
        host, port = process.line().split(":")
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            process.kill()
            with suppress(ConnectionResetError):
                assert connection.recv(1) == b""


def test_a_port_in_use_is_refused_with_a_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        command = [sys.executable, "-m", "local", "kafka", "--port", str(port)]
        refused = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert refused.returncode == 2
    assert refused.stderr.strip() == (
        f"127.0.0.1:{port} cannot be used: Address already in use; choose another --port"
    )
