"""`messages` deleted and created again, or shortened: its states come back from the stores and the inputs."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from random import randbytes
from uuid import uuid4

import pytest
import pytest_asyncio
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import RecordsToDelete
from aiokafka.structs import OffsetAndMetadata

from gateway.postback import POSTBACK_TOPICS
from streams.message import MESSAGES
from streams.state.earlier import PAGE_SIZE
from streams.state.rocksdb import RocksFolder
from streams.topics import RECORD_BYTES
from tests.support.kafka import ApacheKafka, delete_topics, open_admin, own_kafka, set_topic_config, wipe
from tests.support.postbacks import receipt, sent
from tests.support.streams import Streams
from tests.support.wait import eventually
from tests.support.workload import compact, diff_states, fold, generate_postbacks, join_states


@pytest_asyncio.fixture
async def streams(fresh_kafka: str, tmp_path: Path) -> Streams:
    made = Streams(fresh_kafka, tmp_path, partitions=2)
    await made.create_topics()
    return made


async def delete_inputs(streams: Streams) -> None:
    """Delete all records of postbacks, as retention does."""
    async with open_admin(streams.kafka) as admin:
        tps = [TopicPartition(topic, n) for topic in POSTBACK_TOPICS for n in range(streams.partitions)]
        await admin.delete_records({tp: RecordsToDelete(before_offset=-1) for tp in tps})


async def wait_for_all_states(streams: Streams) -> None:
    await eventually(
        streams.messages,
        "every state",
        lambda records: diff_states(join_states(records), streams.expected) == {},
    )
    await streams.wait_for_states(streams.expected)


async def test_states_older_than_inputs_come_back(streams: Streams) -> None:
    given = generate_postbacks(500, seed=1)
    await streams.produce(given[:1000])
    with streams.worker() as worker:
        await streams.wait_committed()
        worker.process.stop()
    await delete_inputs(streams)
    await streams.produce(given[1000:1200])
    await delete_topics(streams.kafka, MESSAGES)
    with streams.worker() as worker:
        await worker.wait_ready()
        await streams.produce(given[1200:])
        await wait_for_all_states(streams)
        worker.process.stop()
    with streams.worker() as worker:
        await worker.wait_ready()
        recovered = worker.metric("postbacks_streams_states_recovered_total")
        assert recovered <= streams.partitions, "the store belongs to the new topic"


async def test_worker_without_store_reads_all_inputs_again(streams: Streams) -> None:
    given = generate_postbacks(300, seed=2)
    await streams.produce(given[:500])
    with streams.worker("a") as worker:
        await streams.wait_committed()
        worker.process.stop()
    await delete_topics(streams.kafka, MESSAGES)
    with streams.worker("b") as worker:
        await wait_for_all_states(streams)
        await streams.produce(given[500:])
        await streams.wait_committed()
        merged = worker.metric("postbacks_streams_merged_total")
        assert merged == len(given)
        worker.process.stop()
    with streams.worker("c") as worker:
        await worker.wait_ready()
        await streams.produce(given[:1])
        await worker.wait_for_metric("postbacks_streams_merged_total", 1)
        await streams.wait_committed()
        assert worker.metric("postbacks_streams_merged_total") == 1, "inputs are read again only once"
    assert diff_states(compact(await streams.messages()), streams.expected) == {}


async def test_worker_ends_when_its_topic_is_deleted(
    streams: Streams, capfd: pytest.CaptureFixture[str]
) -> None:
    given = generate_postbacks(300, seed=3)
    await streams.produce(given[:500])
    with streams.worker() as worker:
        await streams.wait_committed()
        await delete_topics(streams.kafka, MESSAGES)
        assert await worker.process.wait() == 1
    assert "messages was deleted" in capfd.readouterr().err
    await delete_inputs(streams)  # now the store alone has these states
    with streams.worker() as worker:
        await streams.produce(given[500:])
        await wait_for_all_states(streams)


async def test_worker_ends_when_its_topic_is_replaced(
    streams: Streams, capfd: pytest.CaptureFixture[str]
) -> None:
    given = generate_postbacks(300, seed=4)
    await streams.produce(given[:500])
    with streams.worker() as worker:
        await streams.wait_committed()
        await delete_topics(streams.kafka, MESSAGES)
        await streams.create_topics()
        await streams.produce(given[500:])
        assert await worker.process.wait() == 1
    assert "messages was deleted and created again" in capfd.readouterr().err
    with streams.worker():
        await wait_for_all_states(streams)


async def test_states_join_although_another_worker_owns_them(streams: Streams) -> None:
    given = generate_postbacks(500, seed=5)
    await streams.produce(given[:1000])
    with streams.worker("a") as worker:
        await streams.wait_committed()
        worker.process.stop()
    await delete_inputs(streams)
    await delete_topics(streams.kafka, MESSAGES)
    with streams.worker("b") as owner:
        await owner.wait_ready()
        await streams.produce(given[1000:])
        await streams.wait_committed()
        with streams.worker("a"):
            await wait_for_all_states(streams)


@pytest.mark.engine
async def test_store_beyond_its_log_joins_it(tmp_path: Path) -> None:
    async with own_kafka(tmp_path / "kafka") as cluster:
        streams = Streams(cluster.address, tmp_path, partitions=1)
        await streams.create_topics()
        given = generate_postbacks(300, seed=6)
        await streams.produce(given[:300])
        with streams.worker() as worker:
            await streams.wait_committed()
            worker.process.stop()
        await delete_inputs(streams)
        await streams.produce(given[300:500])
        with streams.worker() as worker:
            await streams.wait_committed()
            worker.process.kill()  # its store lacks these states, which are committed
        (node,) = cluster.nodes
        await asyncio.to_thread(node.stop)
        for file in (tmp_path / "kafka" / "node1" / "data" / f"{MESSAGES}-0").iterdir():
            if file.name != "partition.metadata":
                file.unlink()
        await asyncio.to_thread(node.start)
        await asyncio.to_thread(node.wait_ready)
        assert await streams.messages() == []
        with streams.worker():
            await streams.produce(given[500:])
            await wait_for_all_states(streams)


async def test_join_continues_after_a_kill_half_way(apache_kafka: ApacheKafka, tmp_path: Path) -> None:
    await wipe(apache_kafka.address)
    streams = Streams(apache_kafka.address, tmp_path, partitions=1)
    await streams.create_topics()
    small = [sent(message_id=f"{n:08x}-0000-4000-8000-000000000000") for n in range(PAGE_SIZE + 10)]
    incompressible = randbytes(RECORD_BYTES // 2).hex()  # a state contains it twice
    large = receipt(message_id="ffffffff-0000-4000-8000-000000000000", backup_message_id=incompressible)
    states = fold([*small, large])
    (last,) = fold([large])
    earlier = tmp_path / "a" / "states" / apache_kafka.cluster / str(uuid4())
    store = RocksFolder(earlier, partitions=1).open(0)
    store.write(states, 5_000)
    store.close()
    with streams.worker("a") as worker:  # the last state is too large for Kafka, also compressed
        await streams.wait_for_messages("a page is written", lambda found: len(found) >= PAGE_SIZE)
        worker.process.kill()
    assert last not in compact(await streams.messages())
    assert earlier.exists()
    config = {"cleanup.policy": "compact", "max.message.bytes": str(4 * RECORD_BYTES)}
    await set_topic_config(streams.kafka, MESSAGES, config)
    with streams.worker("a"):
        await streams.wait_for_states(states)
        await eventually(earlier.exists, "the earlier store is removed", lambda exists: not exists)
    first_page = sorted(states)[:PAGE_SIZE]
    written = Counter(record.key for record in await streams.messages())
    assert {written[key] for key in first_page} == {1}, "what was written is not written again"


async def test_commits_without_an_id_take_it_on(streams: Streams) -> None:
    await streams.produce(generate_postbacks(300, seed=7))
    with streams.worker() as worker:
        await streams.wait_committed()
        worker.process.stop()

    async def labels() -> set[bool]:
        return {found.metadata.startswith("topic=") for found in (await committed(streams)).values()}

    assert await labels() == {True}
    unlabelled = {tp: OffsetAndMetadata(found.offset, "") for tp, found in (await committed(streams)).items()}
    async with AIOKafkaConsumer(
        bootstrap_servers=streams.kafka, group_id="streams", enable_auto_commit=False
    ) as consumer:
        consumer.assign(list(unlabelled))
        await consumer.commit(unlabelled)
    with streams.worker() as worker:
        await eventually(labels, "they have the id", lambda found: found == {True})
        assert worker.metric("postbacks_streams_merged_total") == 0, "they are accepted"
        worker.process.stop()
    await delete_topics(streams.kafka, MESSAGES)
    with streams.worker("b"):
        await wait_for_all_states(streams)


async def committed(streams: Streams) -> dict[TopicPartition, OffsetAndMetadata]:
    """The group's commits, of those partitions that have one."""
    tps = [TopicPartition(topic, n) for topic in POSTBACK_TOPICS for n in range(streams.partitions)]
    async with open_admin(streams.kafka) as admin:
        found = await admin.list_consumer_group_offsets("streams", partitions=tps)
    return {tp: commit for tp, commit in found.items() if commit.offset >= 0}
