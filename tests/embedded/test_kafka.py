"""The embedded Kafka process, and the Kafka fixtures of the tests."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from embedded.kafka.installation import Kafka
from embedded.kafka.node import KafkaFailed, Node
from embedded.kafka.recovery import rewind_groups, rewind_time
from runtime.kafka.clients import cluster_id
from tests.support.fsyncs import fsyncs, needs_strace, traced_fsyncs
from tests.support.kafka import create_other_topics, open_admin
from tests.support.process import Process, child_processes, run_module, running

#: A consumer that joins a group, commits, and stays.
MEMBER = """
import asyncio, sys
from aiokafka import AIOKafkaConsumer

async def main():
    consumer = AIOKafkaConsumer("postbacks.sent", bootstrap_servers=sys.argv[1], group_id="streams")
    async with consumer:
        while not consumer.assignment():
            await asyncio.sleep(0.01)
        await consumer.commit({partition: (2, "kept") for partition in consumer.assignment()})
        print("joined", flush=True)
        await asyncio.sleep(3600)

asyncio.run(main())
"""


def leave_dead_member(kafka: str) -> None:
    """Run `MEMBER` until it has joined, and kill it."""
    popen = subprocess.Popen([sys.executable, "-c", MEMBER, kafka], stdout=subprocess.PIPE)
    with Process(popen) as member:
        assert member.read_line() == "joined"


async def topics_and_groups(address: str) -> tuple[list[str], list[str]]:
    async with open_admin(address) as admin:
        topics = [topic for topic in await admin.list_topics() if not topic.startswith("__")]
        return topics, [group for group, _ in await admin.list_consumer_groups()]


async def test_produced_record_is_consumed(kafka: str, unique: Callable[[str], str]) -> None:
    topic = unique("topic")
    await create_other_topics(kafka, topic)
    async with AIOKafkaProducer(bootstrap_servers=kafka, acks="all") as producer:
        await producer.send_and_wait(topic, b"value", b"key")
    consumer = AIOKafkaConsumer(
        topic, bootstrap_servers=kafka, group_id=unique("group"), auto_offset_reset="earliest"
    )
    async with consumer:
        record = await consumer.getone()
        await consumer.commit()
    assert (record.key, record.value) == (b"key", b"value")


async def test_fresh_kafka_has_no_topics_and_groups(fresh_kafka: str) -> None:
    assert await topics_and_groups(fresh_kafka) == ([], [])
    await create_other_topics(fresh_kafka, "postbacks.sent")


async def test_fresh_kafka_has_nothing_of_the_test_before(fresh_kafka: str) -> None:
    # The second of three tests that use the same names. It leaves a group with a killed member behind.
    assert await topics_and_groups(fresh_kafka) == ([], [])
    await create_other_topics(fresh_kafka, "postbacks.sent")
    leave_dead_member(fresh_kafka)
    assert (await topics_and_groups(fresh_kafka))[1] == ["streams"]


async def test_fresh_kafka_has_no_killed_members(fresh_kafka: str) -> None:
    assert await topics_and_groups(fresh_kafka) == ([], [])


async def members_and_offsets(address: str, group: str, topic: str) -> tuple[int, list[int]]:
    async with open_admin(address) as admin:
        (response,) = await admin.describe_consumer_groups([group])
        committed = await admin.list_consumer_group_offsets(group)
    members = response.groups[0][5]
    return len(members), [committed[TopicPartition(topic, number)].offset for number in (0, 1)]


async def test_groups_are_rewound_without_their_dead_members(fresh_kafka: str) -> None:
    topic, crash = "postbacks.sent", datetime.now(UTC)
    await create_other_topics(fresh_kafka, topic)
    async with AIOKafkaProducer(bootstrap_servers=fresh_kafka, acks="all") as producer:
        for age in (3, 1):  # in partition 0 alone
            time_ms = round((crash - timedelta(hours=age)).timestamp() * 1000)
            await producer.send_and_wait(topic, b"value", partition=0, timestamp_ms=time_ms)
    leave_dead_member(fresh_kafka)
    assert await members_and_offsets(fresh_kafka, "streams", topic) == (1, [2, 2])
    await rewind_groups(fresh_kafka, crash - timedelta(hours=2))
    assert await members_and_offsets(fresh_kafka, "streams", topic) == (0, [1, 2])
    async with open_admin(fresh_kafka) as admin:
        found = await admin.list_consumer_group_offsets("streams")
    assert {commit.metadata for commit in found.values()} == {"kept"}


async def first_record(address: str, topic: str) -> bytes:
    async with AIOKafkaConsumer(bootstrap_servers=address) as consumer, asyncio.timeout(60):
        partition = TopicPartition(topic, 0)
        consumer.assign([partition])
        await consumer.seek_to_beginning(partition)
        value: bytes = (await consumer.getone()).value
        return value


def test_formatted_folder_without_logs_needs_no_rewind(tmp_path: Path) -> None:
    (tmp_path / "meta.properties").touch()
    assert rewind_time(tmp_path) is None


@pytest.mark.engine
async def test_records_and_cluster_id_survive_restarts(tmp_path: Path) -> None:
    log = tmp_path / "kafka" / "data"
    with running("embedded", "kafka", "--port", "0", "--data", tmp_path) as process:
        address = await asyncio.to_thread(process.read_line)
        cluster = await cluster_id({"bootstrap_servers": [address]})
        await create_other_topics(address, "topic")
        async with AIOKafkaProducer(bootstrap_servers=address, acks="all") as producer:
            await producer.send_and_wait("topic", b"value", partition=0)
            assert await asyncio.to_thread(process.stop) == 0  # with a client connected
    assert rewind_time(log) is None
    with running("embedded", "kafka", "--port", "0", "--data", tmp_path) as process:
        address = await asyncio.to_thread(process.read_line)
        assert await cluster_id({"bootstrap_servers": [address]}) == cluster
        assert await first_record(address, "topic") == b"value"
        process.kill()
    since = rewind_time(log)
    assert since
    assert timedelta(minutes=59) < datetime.now(UTC) - since < timedelta(minutes=70)


@pytest.mark.engine
@needs_strace
async def test_record_is_acknowledged_after_its_fsync(tmp_path: Path) -> None:
    with running("embedded", "kafka", "--port", "0", "--data", tmp_path, log_flush=True) as process:
        address = await asyncio.to_thread(process.read_line)
        (node,) = child_processes(process.popen.pid)
        await create_other_topics(address, "topic")
        produced = []
        async with AIOKafkaProducer(bootstrap_servers=address, acks="all") as producer:
            with traced_fsyncs(node, tmp_path / "trace"):
                for _ in range(5):
                    began = time.time()
                    await producer.send_and_wait("topic", b"value", partition=0)
                    produced.append((began, time.time()))
    segment = tmp_path / "kafka" / "data" / "topic-0" / f"{0:020}.log"
    synced = [call for call in fsyncs(tmp_path / "trace") if call.path == segment]
    for began, acknowledged in produced:
        assert sum(began < call.began and call.ended < acknowledged for call in synced) == 1


@pytest.mark.engine
def test_folder_in_use_is_refused(tmp_path: Path) -> None:
    command = ("embedded", "kafka", "--port", "0", "--data", tmp_path)
    with running(*command) as process:
        process.read_line()
        refused = run_module(*command)
        assert process.running
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.strip() == f"Another Kafka uses {tmp_path / 'kafka'}; choose another --data"


@pytest.mark.engine
def test_node_exits_when_its_parent_is_killed(tmp_path: Path) -> None:
    with running("embedded", "kafka", "--port", "0", "--data", tmp_path) as process:
        host, port = process.read_line().split(":")
        with socket.create_connection((host, int(port)), timeout=30) as connection:
            process.kill()
            with suppress(ConnectionResetError):
                assert connection.recv(1) == b""


@pytest.mark.engine
def test_parent_exits_when_its_node_is_killed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with running("embedded", "kafka", "--port", "0", "--data", tmp_path) as process:
        process.read_line()
        (node,) = child_processes(process.popen.pid)
        os.kill(node, signal.SIGKILL)
        assert process.popen.wait(60) == 2
    assert "Kafka exited unexpectedly, with status -9" in capfd.readouterr().err


def test_output_of_kafka_goes_to_standard_error(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    java = tmp_path / "java"
    java.write_text("#!/bin/sh\necho a warning\n")
    java.chmod(0o755)
    node = Node(Kafka(java, []), tmp_path, 1, {"node.id": "1", "log.dirs": str(tmp_path)})
    node.start()
    with pytest.raises(KafkaFailed):
        node.wait_ready()
    assert capfd.readouterr() == ("", "a warning\n")


@pytest.mark.parametrize("java", ["/nowhere/java", "/"])
def test_java_that_is_not_executable_is_refused(java: str, tmp_path: Path) -> None:
    refused = run_module("embedded", "kafka", "--port", "0", "--data", tmp_path, java=java)
    assert refused.returncode == 2
    assert refused.stderr.strip() == (
        f"POSTBACKS_JAVA={java}: must be the program java, of version 17 or later"
    )


def test_port_in_use_is_refused(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        refused = run_module("embedded", "kafka", "--port", str(port), "--data", tmp_path)
    assert refused.returncode == 2
    assert refused.stderr.strip() == (
        f"127.0.0.1:{port} cannot be used: Address already in use; choose another --port"
    )
