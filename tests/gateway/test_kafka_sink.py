"""A record is kept when its broker says so, is tried again while it may be taken, and is given up in time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from typing import Any

import pytest
import pytest_asyncio
from aiokafka import TopicPartition
from aiokafka.errors import NotLeaderForPartitionError, TopicAuthorizationFailedError
from aiokafka.protocol.produce import ProduceResponse_v7

from gateway.kafka.sender import MIN_REQUEST_TIMEOUT
from gateway.kafka.sink import MAX_CONSECUTIVE_FAILURES, METADATA_TIMEOUT, KafkaSink
from gateway.postback import RECEIPT, SENT
from gateway.sink import Durability, Unavailable
from gateway.topics import gateway_topics
from runtime.health import Health
from runtime.kafka.clients import client_options
from runtime.settings import load_settings

LINGER, ACK_SECONDS = 0.001, 1.0
KEY = b"default/1"

Send = Callable[..., Coroutine[Any, Any, Any]]


@pytest_asyncio.fixture
async def publisher(fresh_kafka: str) -> AsyncIterator[KafkaSink]:
    settings = load_settings({"POSTBACKS_KAFKA": fresh_kafka, "POSTBACKS_PARTITIONS": "1"})
    options, topics = client_options(settings), gateway_topics(settings)
    async with KafkaSink(options, topics, LINGER, ACK_SECONDS, Health()) as publisher:
        await publisher.opened()
        assert await publisher.keep(SENT, KEY, b"{}") is Durability.REPLICATED
        yield publisher


def answers(*codes: int) -> ProduceResponse_v7:
    """What a broker says of partition 0 of the topics."""
    told = [(topic, [(0, code, 0, -1, 0)]) for topic, code in zip((SENT, RECEIPT), codes, strict=False)]
    return ProduceResponse_v7(topics=told, throttle_time_ms=0)


def in_turn(first: Sequence[ProduceResponse_v7], then: Send) -> Send:
    """Brokers that say what is given first, and then what is true."""
    left = [*first]

    async def send(*arguments: Any) -> Any:
        return left.pop(0) if left else await then(*arguments)

    return send


async def forever(*_: object) -> bool:
    return await asyncio.Event().wait()


async def refusals_until_kept(publisher: KafkaSink) -> int:
    """How often a record was not kept before Kafka had one."""
    refusals = 0
    async with asyncio.timeout(60):
        while True:
            try:
                assert await publisher.keep(SENT, KEY, b"{}") is Durability.REPLICATED
                return refusals
            except Unavailable:
                refusals += 1
                await asyncio.sleep(0.1)


async def test_a_batch_is_tried_again_while_a_broker_does_not_know_that_it_leads(
    publisher: KafkaSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    not_mine = answers(NotLeaderForPartitionError.errno)
    assert publisher._client
    monkeypatch.setattr(publisher._client, "send", in_turn([not_mine] * 3, publisher._client.send))
    assert await publisher.keep(SENT, KEY, b"{}") is Durability.REPLICATED


async def test_what_no_broker_takes_is_given_up_in_time(
    publisher: KafkaSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    not_mine = answers(NotLeaderForPartitionError.errno)
    assert publisher._client
    monkeypatch.setattr(publisher._client, "send", in_turn([not_mine] * 1000, publisher._client.send))
    async with asyncio.timeout(ACK_SECONDS + 0.5):
        with pytest.raises(Unavailable, match="NotLeaderForPartition"):
            await publisher.keep(SENT, KEY, b"{}")


async def test_a_record_is_not_kept_before_the_broker_says_so_of_its_partition(
    publisher: KafkaSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert publisher._client
    monkeypatch.setattr(publisher._client, "send", in_turn([answers()] * 1000, publisher._client.send))
    with pytest.raises(Unavailable, match="did not say"):
        await publisher.keep(SENT, KEY, b"{}")


async def test_who_came_meanwhile_is_told_with_who_was_refused_and_others_are_not(
    publisher: KafkaSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert publisher._client
    under_way, refuse, sends = asyncio.Event(), asyncio.Event(), publisher._client.send

    async def send(*arguments: Any) -> Any:
        monkeypatch.setattr(publisher._client, "send", sends)
        under_way.set()
        await refuse.wait()
        return answers(TopicAuthorizationFailedError.errno, 0)

    monkeypatch.setattr(publisher._client, "send", send)
    refused, other = (asyncio.create_task(publisher.keep(topic, KEY, b"{}")) for topic in (SENT, RECEIPT))
    await under_way.wait()
    meanwhile = [asyncio.create_task(publisher.keep(topic, KEY, b"{}")) for topic in (SENT, RECEIPT)]
    await asyncio.sleep(0)
    refuse.set()
    outcomes = await asyncio.gather(refused, meanwhile[0], return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [Unavailable, Unavailable]
    assert {*await asyncio.gather(other, meanwhile[1])} == {Durability.REPLICATED}


async def test_who_is_tried_again_takes_no_time_from_those_that_go_with_him(
    publisher: KafkaSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert publisher._client
    loop, sends = asyncio.get_running_loop(), publisher._client.send
    elected = loop.time() + 0.7 * ACK_SECONDS

    async def send(*arguments: Any) -> Any:
        if loop.time() < elected:
            return answers(NotLeaderForPartitionError.errno, NotLeaderForPartitionError.errno)
        await asyncio.sleep(0.4 * ACK_SECONDS)  # more than is left for the first
        return await sends(*arguments)

    monkeypatch.setattr(publisher._client, "send", send)
    tried_again = asyncio.create_task(publisher.keep(SENT, KEY, b"{}"))
    await asyncio.sleep(0.6 * ACK_SECONDS)
    fresh = asyncio.create_task(publisher.keep(RECEIPT, KEY, b"{}"))
    assert {await tried_again, await fresh} == {Durability.REPLICATED}


async def test_who_waits_behind_a_broker_that_is_frozen_is_told_in_time(
    publisher: KafkaSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publisher._client, "send", forever)
    loop = asyncio.get_running_loop()

    async def seconds_until_told(topic: str) -> float:
        asked = loop.time()
        with pytest.raises(Unavailable, match="no answer"):
            await publisher.keep(topic, KEY, b"{}")
        return loop.time() - asked

    first = asyncio.create_task(seconds_until_told(SENT))
    await asyncio.sleep(0.1 * ACK_SECONDS)
    behind = asyncio.create_task(seconds_until_told(RECEIPT))
    assert max(await first, await behind) < ACK_SECONDS + MIN_REQUEST_TIMEOUT + 0.2


async def test_a_broker_that_cannot_be_reached_keeps_no_partition_of_others_closed(
    publisher: KafkaSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, unreachable = publisher._client, 99
    assert client
    leads, ready = client.cluster.leader_for_partition, client.ready

    def leader(partition: TopicPartition) -> int:
        return unreachable if partition.topic == RECEIPT else leads(partition)

    async def ready_unless_unreachable(node: int, **options: Any) -> bool:
        return await (forever() if node == unreachable else ready(node, **options))

    refused = answers(TopicAuthorizationFailedError.errno, TopicAuthorizationFailedError.errno)
    monkeypatch.setattr(client, "send", in_turn([refused], client.send))
    monkeypatch.setattr(client, "ready", ready_unless_unreachable)
    keeping = [asyncio.create_task(publisher.keep(topic, KEY, b"{}")) for topic in (RECEIPT, SENT)]
    await asyncio.wait(keeping)
    monkeypatch.setattr(client.cluster, "leader_for_partition", leader)
    assert [type(task.exception()) for task in keeping] == [Unavailable, Unavailable]
    async with asyncio.timeout(METADATA_TIMEOUT / 3):
        await refusals_until_kept(publisher)


async def test_a_client_of_kafka_that_is_stuck_is_made_anew(
    publisher: KafkaSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publisher._client, "send", forever)
    assert await refusals_until_kept(publisher) >= MAX_CONSECUTIVE_FAILURES


async def test_a_client_whose_brokers_are_no_more_asks_those_of_the_settings(publisher: KafkaSink) -> None:
    assert publisher._client
    await publisher._client.close()
    publisher._client.cluster._brokers.clear()  # as when all of them moved elsewhere
    await refusals_until_kept(publisher)
