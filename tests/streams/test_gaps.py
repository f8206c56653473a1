"""Offsets without records, compacted and truncated logs, brokers that are unavailable or refuse writes."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import pytest_asyncio
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import RecordsToDelete

from gateway.postback import SENT, encode, key_of
from streams.merge import state_of
from streams.message import MESSAGES, encode_message
from streams.topics import RECORD_BYTES
from tests.support.kafka import (
    ApacheKafka,
    create_other_topics,
    free_ports,
    frozen,
    open_admin,
    own_kafka,
    set_topic_config,
    wipe,
)
from tests.support.postbacks import sent
from tests.support.streams import Streams
from tests.support.wait import eventually
from tests.support.workload import compact, diff_states, generate_postbacks


@pytest_asyncio.fixture
async def streams(apache_kafka: ApacheKafka, tmp_path: Path) -> Streams:
    await wipe(apache_kafka.address)
    made = Streams(apache_kafka.address, tmp_path, partitions=2)
    await made.create_topics()
    return made


async def in_transactions(streams: Streams, topic: str, records: list[tuple[bytes, bytes]]) -> None:
    """Write each record to every partition in a transaction of its own, which ends with a marker."""
    async with AIOKafkaProducer(bootstrap_servers=streams.kafka, transactional_id="by-hand") as producer:
        for key, value in records:
            async with producer.transaction():
                for partition in range(streams.partitions):
                    await producer.send(topic, value, key=key, partition=partition)


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
    async with open_admin(streams.kafka) as admin:
        await admin.delete_topics([MESSAGES])
    eager = {
        "cleanup.policy": "compact",
        "min.compaction.lag.ms": "0",
        "min.cleanable.dirty.ratio": "0.01",
        "segment.ms": "100",
        "max.message.bytes": str(RECORD_BYTES),
    }
    await create_other_topics(streams.kafka, MESSAGES, partitions=streams.partitions, config=eager)
    given = generate_postbacks(1000, seed=3)
    with streams.worker("a") as worker:
        for start in range(0, 2500, 250):
            await streams.produce(given[start : start + 250])
            await streams.wait_committed()
        written = worker.metric("postbacks_streams_states_written_total")
        await eventually(streams.messages, "compacted", lambda records: len(records) < written * 0.9)
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
    async with open_admin(streams.kafka) as admin:
        tps = [TopicPartition(SENT, partition) for partition in range(streams.partitions)]
        await admin.delete_records({tp: RecordsToDelete(before_offset=-1) for tp in tps})
    with streams.worker():
        await streams.produce(given[600:])
        await streams.wait_committed()
        known = compact(await streams.messages())
    assert known.keys() <= streams.expected.keys()
    late = {key_of(postback.account, postback.message_id) for postback in given[600:]}
    assert late <= known.keys()


async def test_worker_that_cannot_write_exits_with_the_error(
    streams: Streams, capfd: pytest.CaptureFixture[str]
) -> None:
    given = generate_postbacks(20, seed=5)
    with streams.worker(stall_after=3) as worker:
        await streams.produce(given[:10])
        await streams.wait_committed()
        tight = {"cleanup.policy": "compact", "max.message.bytes": "100"}
        await set_topic_config(streams.kafka, MESSAGES, tight)
        await streams.produce(given[10:])
        assert await worker.process.wait() == 1
    stderr = capfd.readouterr().err
    assert "no progress for" in stderr
    assert "MessageSizeTooLarge" in stderr


async def test_worker_survives_while_kafka_is_suspended(streams: Streams, apache_kafka: ApacheKafka) -> None:
    given = generate_postbacks(300, seed=6)
    await streams.produce(given[:500])
    with streams.worker(stall_after=8) as worker:
        await streams.wait_committed()
        async with frozen(apache_kafka.nodes[0]):
            await eventually(lambda: "kafka:" in worker.readyz(), "Kafka is reported")
            await asyncio.sleep(12)  # longer than stall_after; nothing should happen
            assert worker.process.running
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


@pytest.mark.engine
async def test_worker_waits_for_kafka_and_its_topics(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    streams = Streams(f"127.0.0.1:{port}", tmp_path)
    with streams.worker() as worker:
        await eventually(lambda: "kafka: Kafka at 127.0.0.1:" in worker.readyz(), "Kafka is missing")
        async with own_kafka(tmp_path / "kafka", port):
            missing = "kafka: postbacks.sent, postbacks.response, postbacks.receipt, submissions"
            await eventually(lambda: missing in worker.readyz(), "topics are missing")
            await streams.create_topics()
            await worker.wait_ready()
            await streams.produce(generate_postbacks(20, seed=7))
            await streams.wait_committed()
            assert diff_states(compact(await streams.messages()), streams.expected) == {}
