"""An incomplete assignment is not sent, and unowned partitions are reassigned; against a running Kafka."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from random import Random
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from prometheus_client import CollectorRegistry, Gauge

from gateway.postback import POSTBACK_TOPICS, RECEIPT
from gateway.topics import gateway_topics
from runtime.health import Health
from runtime.kafka.consumer_group import STABLE, GroupSnapshot, TopicPartition
from runtime.kafka.group_monitor import GroupMonitor, RejoinPolicy
from runtime.kafka.group_reader import GroupReader
from runtime.kafka.membership import Membership
from runtime.kafka.topics import ensure_topics
from streams.message import MESSAGES
from streams.topics import streams_topics
from tests.support.gateway import free_address
from tests.support.kafka import ApacheKafka, create_other_topics, wipe
from tests.support.streams import Streams
from tests.support.wait import eventually

SESSION_MS = 2_000
Unique = Callable[[str], str]


@pytest.fixture
def kafka(apache_kafka: ApacheKafka) -> str:
    return apache_kafka.address


class Omitting(RoundRobinPartitionAssignor):  # type: ignore[misc]
    """Assigns no partition 0 while `omit` is set, as a leader of another version might."""

    def __init__(self) -> None:
        self.omit = True

    def assign(self, cluster: object, members: object) -> Any:
        assignments = super().assign(cluster, members)
        if self.omit:
            for assignment in assignments.values():
                assignment.assignment = [
                    (topic, [number for number in numbers if number])
                    for topic, numbers in assignment.assignment
                ]
        return assignments


@asynccontextmanager
async def member(
    kafka: str, group: str, topics: Mapping[str, int], **options: object
) -> AsyncIterator[tuple[AIOKafkaConsumer, Membership]]:
    """A consumer that is a member of the group."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=kafka,
        group_id=group,
        enable_auto_commit=False,
        session_timeout_ms=SESSION_MS,
        heartbeat_interval_ms=500,
        rebalance_timeout_ms=3_000,
        **options,
    )
    await consumer.start()
    membership = Membership(consumer, topics)
    consumer.subscribe(list(topics))
    try:
        yield consumer, membership
    finally:
        await consumer.stop()


def reader(kafka: str, group: str, topics: Mapping[str, int]) -> GroupReader:
    return GroupReader({"bootstrap_servers": [kafka]}, group, topics, list(topics))


async def test_assignment_without_a_subscribed_topic_is_not_sent(kafka: str, unique: Unique) -> None:
    group, there, missing = unique("group"), unique("there"), unique("missing")
    topics = {there: 2, missing: 2}
    await create_other_topics(kafka, there)
    async with (
        member(kafka, group, topics) as (consumer, membership),
        member(kafka, group, topics) as (other, others),
        reader(kafka, group, topics) as read,
    ):
        await eventually(lambda: bool(membership.problem or others.problem), "the leader refuses to assign")
        before = [membership.generation, others.generation]
        await eventually(lambda: [membership.generation, others.generation] != before, "it joins again")
        assert (await read.snapshot()).state != STABLE
        assert not consumer.assignment() | other.assignment()
        problem = str(membership.problem or others.problem)
        assert problem == f"Kafka's metadata is incomplete: {missing} has 0 partitions instead of 2"

        await create_other_topics(kafka, missing)
        await eventually(read.snapshot, "the group is stable", lambda group: group.state == STABLE)
        await eventually(lambda: not (membership.problem or others.problem), "no problem is left")
        assert len(consumer.assignment() | other.assignment()) == 4


async def test_assignment_with_other_partition_count_is_not_sent(kafka: str, unique: Unique) -> None:
    group, topic = unique("group"), unique("topic")
    await create_other_topics(kafka, topic)
    async with member(kafka, group, {topic: 4}) as (consumer, membership):
        await eventually(lambda: membership.problem is not None, "the leader refuses to assign")
        assert not consumer.assignment()
        assert "has 2 partitions instead of 4" in str(membership.problem)


async def test_streams_waits_for_metadata_with_all_topics(apache_kafka: ApacheKafka, tmp_path: Path) -> None:
    """Otherwise the group would be stable without the topic of receipts, which would never be read."""
    await wipe(apache_kafka.address)
    streams = Streams(apache_kafka.address, tmp_path, partitions=2)
    specs = [*gateway_topics(2, 1), *streams_topics(2, 1)]
    options = {"bootstrap_servers": [apache_kafka.address]}
    await ensure_topics(options, [spec for spec in specs if spec.name != RECEIPT], timeout=60)
    topics = {MESSAGES: 2, **dict.fromkeys(POSTBACK_TOPICS, 2)}
    with streams.worker(module="tests.support.bare_worker") as worker:
        await eventually(lambda: "receipt has 0 partitions instead of 2" in worker.readyz(), "it is refused")
        await streams.create_topics()
        await worker.wait_ready()
        async with GroupReader(options, "streams", topics, POSTBACK_TOPICS) as read:
            group = await read.snapshot()
            assert (group.state, group.unowned) == (STABLE, frozenset())


class Gate:
    """A TCP proxy to Kafka that refuses connections after the first, until it is opened."""

    def __init__(self, kafka: str) -> None:
        self._host, _, self._port = kafka.partition(":")
        self.address = free_address()
        self.refused = asyncio.Event()
        self._open, self._used = False, False

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[None]:
        host, _, port = self.address.partition(":")
        async with await asyncio.start_server(self._pass, host, int(port)):
            yield

    def open(self) -> None:
        self._open = True

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._used and not self._open:
            self.refused.set()
            writer.close()
            return
        self._used = True
        there, back = await asyncio.open_connection(self._host, int(self._port))
        await asyncio.gather(_copy(reader, back), _copy(there, writer))


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    writer.close()


async def test_worker_survives_kafka_vanishing_while_it_starts(
    apache_kafka: ApacheKafka, tmp_path: Path
) -> None:
    await wipe(apache_kafka.address)
    gate = Gate(apache_kafka.address)
    streams = Streams(apache_kafka.address, tmp_path, partitions=2)
    await streams.create_topics()
    async with gate.serve():
        with streams.worker(module="tests.support.bare_worker", kafka=gate.address) as worker:
            await asyncio.wait_for(gate.refused.wait(), 60)
            gate.open()
            await worker.wait_ready()


async def test_rejoin_makes_a_new_generation(kafka: str, unique: Unique) -> None:
    group, topic = unique("group"), unique("topic")
    await create_other_topics(kafka, topic, partitions=4)
    async with AsyncExitStack() as stack:
        members = [await stack.enter_async_context(member(kafka, group, {topic: 4})) for _ in range(3)]
        await eventually(lambda: sum(len(consumer.assignment()) for consumer, _ in members) == 4, "assigned")
        before = max(membership.generation for _, membership in members)
        members[1][1].rejoin()
        await eventually(lambda: all(one.generation > before for _, one in members), "all joined again")
        await eventually(lambda: sum(len(consumer.assignment()) for consumer, _ in members) == 4, "assigned")


async def test_unowned_partitions_are_reported_and_reassigned(kafka: str, unique: Unique) -> None:
    group, topic = unique("group"), unique("topic")
    await create_other_topics(kafka, topic)
    assignor = Omitting()
    registry = CollectorRegistry()
    lag = Gauge("lag", "", ["topic", "partition"], registry=registry)
    unowned = Gauge("unowned", "", registry=registry)
    health = Health()
    options = {"partition_assignment_strategy": [assignor]}
    async with (
        member(kafka, group, {topic: 2}, **options) as (consumer, membership),
        reader(kafka, group, {topic: 2}) as read,
    ):
        policy = RejoinPolicy(Random(0), timeout=1, jitter=0)
        monitor = GroupMonitor(read, lambda: membership, health, lag, unowned, policy)
        polling = asyncio.create_task(monitor.run())
        await eventually(lambda: unowned._value.get() == 1, "counted")
        assert health.missing == {"group": f"no member owns {topic}-0"}
        assert registry.get_sample_value("lag", {"topic": topic, "partition": "0"}) == 0
        assignor.omit = False
        await eventually(lambda: not health.missing, "it has an owner")
        assert len(consumer.assignment()) == 2
        polling.cancel()


def policy() -> RejoinPolicy:
    return RejoinPolicy(Random(0), timeout=30, jitter=5)


def rejoins(of: RejoinPolicy, seconds: range, rank: int = 0, generation: int = 1) -> list[int]:
    return [second for second in seconds if of.observe(second, generation, rank, unowned=True)]


def test_first_member_rejoins_once_a_generation() -> None:
    one = policy()
    (first,) = rejoins(one, range(500))
    assert 30 <= first <= 35
    (second,) = rejoins(one, range(500, 1000), generation=2)
    assert 530 <= second <= 535


def test_next_member_rejoins_after_the_first() -> None:
    assert 60 <= rejoins(policy(), range(500), rank=1)[0] <= 65


def test_briefly_unowned_partition_is_ignored() -> None:
    one = policy()
    for second in range(0, 1000, 20):
        assert not one.observe(second, 1, 0, unowned=True)
        assert not one.observe(second + 10, 1, 0, unowned=False)


def test_owners_are_unknown_while_the_group_rebalances() -> None:
    p, q = TopicPartition("postbacks.sent", 0), TopicPartition("postbacks.sent", 1)

    def group(state: str, **members: frozenset[TopicPartition] | None) -> GroupSnapshot:
        return GroupSnapshot(state, members, frozenset({p, q}), {})

    assert group(STABLE, a=frozenset({p}), b=frozenset({q})).unowned == frozenset()
    assert group(STABLE, a=frozenset({p}), b=frozenset()).unowned == {q}
    assert group(STABLE, a=frozenset({p}), b=None).unowned == frozenset()
    assert group("CompletingRebalance", a=frozenset({p})).unowned == frozenset()
