"""A record is acknowledged once its broker reports it, retried in time, and failed at its timeout."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from typing import Any

import pytest
import pytest_asyncio
from aiokafka import TopicPartition
from aiokafka.errors import NotLeaderForPartitionError, TopicAuthorizationFailedError
from aiokafka.protocol.produce import ProduceResponse_v7

from gateway.kafka.sender import MAX_CONSECUTIVE_FAILURES, MIN_REQUEST_TIMEOUT
from gateway.kafka.sink import METADATA_TIMEOUT, KafkaSink
from gateway.postback import RECEIPT, SENT
from gateway.sink import Durability, Unavailable
from gateway.topics import gateway_topics
from runtime.health import Health
from runtime.kafka.clients import client_options
from runtime.settings import load_settings

LINGER, ACK_TIMEOUT = 0.001, 1.0
KEY = b"default/1"

Send = Callable[..., Coroutine[Any, Any, Any]]


@pytest_asyncio.fixture
async def sink(fresh_kafka: str) -> AsyncIterator[KafkaSink]:
    options = client_options(load_settings({"POSTBACKS_KAFKA": fresh_kafka}))
    async with KafkaSink(options, gateway_topics(1, 1), LINGER, ACK_TIMEOUT, Health()) as sink:
        await sink.wait_ready()
        assert await sink.put(SENT, KEY, b"{}") is Durability.REPLICATED
        yield sink


def response(*codes: int) -> ProduceResponse_v7:
    """A produce response with these error codes, for partition 0 of `SENT` and of `RECEIPT`."""
    topics = [(topic, [(0, code, 0, -1, 0)]) for topic, code in zip((SENT, RECEIPT), codes, strict=False)]
    return ProduceResponse_v7(topics=topics, throttle_time_ms=0)


def send_after(responses: Sequence[ProduceResponse_v7], send: Send) -> Send:
    """A `send` that returns these responses first, and then sends."""
    left = [*responses]

    async def fake_send(*arguments: Any) -> Any:
        return left.pop(0) if left else await send(*arguments)

    return fake_send


async def hang(*_: object) -> bool:
    return await asyncio.Event().wait()


async def failures_until_acknowledged(sink: KafkaSink) -> int:
    """Put records until one is acknowledged; return how many failed."""
    failures = 0
    async with asyncio.timeout(60):
        while True:
            try:
                assert await sink.put(SENT, KEY, b"{}") is Durability.REPLICATED
                return failures
            except Unavailable:
                failures += 1
                await asyncio.sleep(0.1)


async def test_batch_is_retried_until_broker_knows_it_leads(
    sink: KafkaSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    not_leader = response(NotLeaderForPartitionError.errno)
    assert sink._client
    monkeypatch.setattr(sink._client, "send", send_after([not_leader] * 3, sink._client.send))
    assert await sink.put(SENT, KEY, b"{}") is Durability.REPLICATED


async def test_retries_end_at_the_record_timeout(sink: KafkaSink, monkeypatch: pytest.MonkeyPatch) -> None:
    not_leader = response(NotLeaderForPartitionError.errno)
    assert sink._client
    monkeypatch.setattr(sink._client, "send", send_after([not_leader] * 1000, sink._client.send))
    async with asyncio.timeout(ACK_TIMEOUT + 0.5):
        with pytest.raises(Unavailable, match="NotLeaderForPartition"):
            await sink.put(SENT, KEY, b"{}")


async def test_unreported_partition_is_not_acknowledged(
    sink: KafkaSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert sink._client
    monkeypatch.setattr(sink._client, "send", send_after([response()] * 1000, sink._client.send))
    with pytest.raises(Unavailable, match="did not report"):
        await sink.put(SENT, KEY, b"{}")


async def test_failed_batch_fails_records_behind_it_only(
    sink: KafkaSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert sink._client
    in_flight, respond, send = asyncio.Event(), asyncio.Event(), sink._client.send

    async def fake_send(*arguments: Any) -> Any:
        monkeypatch.setattr(sink._client, "send", send)
        in_flight.set()
        await respond.wait()
        return response(TopicAuthorizationFailedError.errno, 0)

    monkeypatch.setattr(sink._client, "send", fake_send)
    failed, acknowledged = (asyncio.create_task(sink.put(topic, KEY, b"{}")) for topic in (SENT, RECEIPT))
    await in_flight.wait()
    behind = [asyncio.create_task(sink.put(topic, KEY, b"{}")) for topic in (SENT, RECEIPT)]
    await asyncio.sleep(0)
    respond.set()
    outcomes = await asyncio.gather(failed, behind[0], return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [Unavailable, Unavailable]
    assert {*await asyncio.gather(acknowledged, behind[1])} == {Durability.REPLICATED}


async def test_retry_does_not_shorten_other_records_deadline(
    sink: KafkaSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert sink._client
    loop, send = asyncio.get_running_loop(), sink._client.send
    elected_at = loop.time() + 0.7 * ACK_TIMEOUT

    async def fake_send(*arguments: Any) -> Any:
        if loop.time() < elected_at:
            return response(NotLeaderForPartitionError.errno, NotLeaderForPartitionError.errno)
        await asyncio.sleep(0.4 * ACK_TIMEOUT)  # longer than the retried record has left
        return await send(*arguments)

    monkeypatch.setattr(sink._client, "send", fake_send)
    retried = asyncio.create_task(sink.put(SENT, KEY, b"{}"))
    await asyncio.sleep(0.6 * ACK_TIMEOUT)
    fresh = asyncio.create_task(sink.put(RECEIPT, KEY, b"{}"))
    assert {await retried, await fresh} == {Durability.REPLICATED}


async def test_record_behind_frozen_broker_fails_in_time(
    sink: KafkaSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sink._client, "send", hang)
    loop = asyncio.get_running_loop()

    async def seconds_until_failed(topic: str) -> float:
        started_at = loop.time()
        with pytest.raises(Unavailable, match="not acknowledged"):
            await sink.put(topic, KEY, b"{}")
        return loop.time() - started_at

    first = asyncio.create_task(seconds_until_failed(SENT))
    await asyncio.sleep(0.1 * ACK_TIMEOUT)
    behind = asyncio.create_task(seconds_until_failed(RECEIPT))
    assert max(await first, await behind) < ACK_TIMEOUT + MIN_REQUEST_TIMEOUT + 0.2


async def test_unreachable_broker_does_not_keep_others_partitions_closed(
    sink: KafkaSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, unreachable = sink._client, 99
    assert client
    leader_for_partition, ready = client.cluster.leader_for_partition, client.ready

    def fake_leader(partition: TopicPartition) -> int:
        return unreachable if partition.topic == RECEIPT else leader_for_partition(partition)

    async def fake_ready(node: int, **options: Any) -> bool:
        return await (hang() if node == unreachable else ready(node, **options))

    rejected = response(TopicAuthorizationFailedError.errno, TopicAuthorizationFailedError.errno)
    monkeypatch.setattr(client, "send", send_after([rejected], client.send))
    monkeypatch.setattr(client, "ready", fake_ready)
    puts = [asyncio.create_task(sink.put(topic, KEY, b"{}")) for topic in (RECEIPT, SENT)]
    await asyncio.wait(puts)
    monkeypatch.setattr(client.cluster, "leader_for_partition", fake_leader)
    assert [type(task.exception()) for task in puts] == [Unavailable, Unavailable]
    async with asyncio.timeout(METADATA_TIMEOUT / 3):
        await failures_until_acknowledged(sink)


async def test_stuck_client_is_recreated(sink: KafkaSink, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sink._client, "send", hang)
    assert await failures_until_acknowledged(sink) >= MAX_CONSECUTIVE_FAILURES


async def test_client_without_reachable_brokers_bootstraps_again(sink: KafkaSink) -> None:
    assert sink._client
    await sink._client.close()
    sink._client.cluster._brokers.clear()  # as if all brokers had moved
    await failures_until_acknowledged(sink)
