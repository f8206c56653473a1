"""What got 202 comes to Kafka in the end, whatever is killed in between; what cannot be kept is not taken."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from msgspec import json

from gateway.kafka.cloudevents import Headers
from gateway.kafka.sink import KafkaSink
from gateway.postback import SENT
from gateway.sink import Durability, TooLarge, Unavailable
from gateway.spool import file as spool
from gateway.spool import sink as spooling
from gateway.spool.sink import SpoolingSink, SpoolLimits
from gateway.topics import gateway_topics
from runtime.health import Health
from runtime.kafka.clients import client_options
from runtime.settings import load_settings
from tests.gateway.test_gateway import HEALTH, READY, sent
from tests.gateway.test_spool_file import disk_ends_at, records
from tests.support.gateway import RunningGateway, form, open_gateway, post, request, until
from tests.support.kafka import free_ports, own_kafka
from tests.support.small_disk import small_disk

LINGER = 0.001


async def accepted(gateway: RunningGateway, count: int) -> list[str]:
    """So many postbacks that got 202: the ids of their messages."""
    ids = [str(uuid4()) for _ in range(count)]
    answers = await asyncio.gather(*(post(gateway.address, sent(message)) for message in ids))
    assert {answer.status for answer in answers} == {202}
    return ids


def free_kafka_address() -> str:
    """Where no Kafka is yet."""
    (port,) = free_ports(1)
    return f"127.0.0.1:{port}"


@asynccontextmanager
async def kafka_on(address: str, home: Path) -> AsyncIterator[None]:
    """A Kafka there, with its data in that folder."""
    async with own_kafka(home, int(address.rpartition(":")[2])):
        yield


async def sent_messages(kafka: str, least: int, partitions: int = 8) -> list[str]:
    """The ids of messages in Kafka, in each partition's order, once there are so many; topics are there."""
    found: list[str] = []
    async with (
        AIOKafkaConsumer(bootstrap_servers=kafka, fetch_max_wait_ms=50) as consumer,
        asyncio.timeout(60),
    ):
        consumer.assign([TopicPartition(SENT, number) for number in range(partitions)])
        await consumer.seek_to_beginning()
        while len(set(found)) < least:
            for records in (await consumer.getmany(timeout_ms=100)).values():
                found += [json.decode(record.value)["message_id"] for record in records]
    return found


async def test_what_a_killed_gateway_spooled_is_published_by_the_next_one(tmp_path: Path) -> None:
    kafka = free_kafka_address()
    with open_gateway(kafka, data=str(tmp_path), ack_timeout="0.5") as gateway:
        messages = await accepted(gateway, 50)
        gateway.process.kill()
    async with kafka_on(kafka, tmp_path / "kafka"):
        with open_gateway(kafka, data=str(tmp_path)) as gateway:
            await until(200, gateway.ops, READY)
            assert set(await sent_messages(kafka, 50)) == set(messages)
            await gateway.reaches("spool_records", 0)
            assert gateway.process.stop() == 0
    assert list((tmp_path / "spool").iterdir()) == []


async def test_the_spool_of_a_gateway_that_is_gone_is_adopted_by_a_neighbour(tmp_path: Path) -> None:
    kafka = free_kafka_address()
    with open_gateway(kafka, data=str(tmp_path), ack_timeout="0.5") as staying:
        with open_gateway(kafka, data=str(tmp_path), ack_timeout="0.5") as leaving:
            messages = await accepted(leaving, 20)
            assert leaving.process.stop() == 0
        async with kafka_on(kafka, tmp_path / "kafka"):
            await until(200, staying.ops, READY)
            assert set(await sent_messages(kafka, 20)) == set(messages)
            assert staying.process.running


async def test_a_full_spool_takes_nothing_more_and_says_when_to_come_again(tmp_path: Path) -> None:
    kafka = free_kafka_address()
    body = sent(str(uuid4()), ReferenceID="x" * 60_000)
    with open_gateway(kafka, data=str(tmp_path), ack_timeout="0.5", spool_bytes=str(2**20)) as gateway:
        await until(503, gateway.address, form(body))
        answer = await request(gateway.address, form(body))
        assert (answer.status, answer.headers["retry-after"]) == (503, "5")
        assert (await request(gateway.address, HEALTH)).status == 503
        async with kafka_on(kafka, tmp_path / "kafka"):
            await until(200, gateway.address, form(body))
            await until(200, gateway.address, HEALTH)


async def test_a_damaged_spool_is_set_aside_and_the_gateway_goes_on(fresh_kafka: str, tmp_path: Path) -> None:
    (tmp_path / "spool").mkdir()
    (tmp_path / "spool" / "garbage.spool").write_bytes(b"no database at all" * 100)
    with open_gateway(fresh_kafka, data=str(tmp_path)) as gateway:
        assert await gateway.metric("spools_damaged_total") == 1
        assert (await post(gateway.address, sent(str(uuid4())))).status == 200
    assert (tmp_path / "spool" / "garbage.damaged").exists()


async def test_what_is_spooled_is_published_oldest_first(tmp_path: Path) -> None:
    kafka = free_kafka_address()
    with open_gateway(kafka, data=str(tmp_path), ack_timeout="0.5", partitions="1") as gateway:
        messages = [message for _ in range(10) for message in await accepted(gateway, 1)]
        async with kafka_on(kafka, tmp_path / "kafka"):
            await until(200, gateway.ops, READY)
            assert await sent_messages(kafka, 10, partitions=1) == messages


class Failing:
    """A way to Kafka that always fails, and how."""

    away: str | None = None
    error: Exception = Unavailable("not now")

    async def keep(self, topic: str, key: bytes, value: bytes) -> Durability:
        raise self.error


async def test_a_spool_that_is_no_longer_published_ends_the_gateway(tmp_path: Path) -> None:
    kafka = Failing()
    sink = SpoolingSink(kafka, tmp_path, SpoolLimits(size=2**20, age=60, sync=30), time.time)
    await sink.open()
    try:
        assert await sink.keep(SENT, b"default/1", b"{}") is Durability.SPOOLED
        kafka.error = ZeroDivisionError()  # nobody has thought of it
        with pytest.raises(ZeroDivisionError):
            await asyncio.wait_for(sink.failed(), 60)
    finally:
        await sink.close()


async def test_a_record_that_cannot_even_be_batched_is_answered_all_the_same(fresh_kafka: str) -> None:
    def broken(topic: str, value: bytes) -> Headers:
        raise RuntimeError("a fault of ours")

    settings = load_settings({"POSTBACKS_KAFKA": fresh_kafka})
    options, topics = client_options(settings), gateway_topics(settings)
    async with KafkaSink(options, topics, LINGER, 1.0, Health(), broken) as publisher:
        await publisher.opened()
        with pytest.raises(Unavailable, match="a fault of ours"):
            await asyncio.wait_for(publisher.keep(SENT, b"default/1", b"{}"), 10)


class Choosy:
    """A way to Kafka that takes each record once it fits."""

    away: str | None = None

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.closed: set[bytes] = set()
        self.took: asyncio.Queue[bytes] = asyncio.Queue()

    async def keep(self, topic: str, key: bytes, value: bytes) -> Durability:
        if key in self.closed:
            raise Unavailable("its partition has no leader")
        if len(value) > self.limit:
            raise TooLarge(f"more than {self.limit} bytes")
        self.took.put_nowait(value)
        return Durability.REPLICATED

    async def taken(self, count: int) -> list[bytes]:
        async with asyncio.timeout(30):
            return [await self.took.get() for _ in range(count)]


@asynccontextmanager
async def spooled(
    kafka: Choosy, folder: Path, records: Sequence[tuple[bytes, bytes]]
) -> AsyncIterator[SpoolingSink]:
    """These keys and values came while Kafka was away; it is back now."""
    sink = SpoolingSink(kafka, folder, SpoolLimits(size=2**20, age=60, sync=30), time.time)
    kafka.away = "for a moment"
    await sink.open()
    try:
        for key, value in records:
            assert await sink.keep(SENT, key, value) is Durability.SPOOLED
        kafka.away = None
        yield sink
    finally:
        await sink.close()


async def test_a_record_that_kafka_refuses_for_its_size_holds_up_no_other_and_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spooling, "ADOPTION_PAUSE", 0.5)
    monkeypatch.setattr(spooling, "DRAIN_RECORDS", 3)
    kafka, large = Choosy(limit=10), b"x" * 11
    small = [b"%d" % number for number in range(8)]
    values = [large, *small[:2], *[large] * 4, *small[2:]]
    async with spooled(kafka, tmp_path, [(b"key", value) for value in values]):
        assert await kafka.taken(8) == small
        kafka.limit = 11
        assert await kafka.taken(5) == [large] * 5
    assert kafka.took.empty()


async def test_what_kafka_took_is_not_published_again_with_what_it_did_not_take(tmp_path: Path) -> None:
    kafka = Choosy(limit=10)
    kafka.closed = {b"b"}
    async with spooled(kafka, tmp_path, [(b"a", b"1"), (b"b", b"2"), (b"a", b"3")]):
        assert await kafka.taken(2) == [b"1", b"3"]
        kafka.closed = set()
        assert await kafka.taken(1) == [b"2"]
    assert kafka.took.empty()


async def test_what_a_full_disk_cannot_let_go_of_is_published_once_all_the_same(tmp_path: Path) -> None:
    kafka = Choosy(limit=10)
    async with spooled(kafka, tmp_path, [(b"key", b"%d" % number) for number in range(5)]) as sink:
        with disk_ends_at(10_000):  # its journal is longer already
            assert len(await kafka.taken(5)) == 5
            await asyncio.sleep(3 * spooling.PAUSE)  # that it does nothing is no event
        async with asyncio.timeout(30):
            while sink._spools.size:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
    assert kafka.took.empty()


async def test_a_gateway_starts_on_a_full_disk_and_spools_when_it_has_room(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 24 * 2**20) as mounted:
        if not mounted:
            pytest.skip("this user may not mount a disk")
        folder, ballast = tmp_path / "disk" / "spool", tmp_path / "disk" / "ballast"
        with suppress(OSError), ballast.open("wb", buffering=0) as full:
            while full.write(bytes(65_536)):
                pass
        kafka = Choosy(limit=10)
        sink = SpoolingSink(kafka, folder, SpoolLimits(size=2**20, age=60, sync=30), time.time)
        await sink.open()
        try:
            assert await sink.keep(SENT, b"key", b"1") is Durability.REPLICATED
            kafka.away = "for a moment"
            with pytest.raises(Unavailable):
                await sink.keep(SENT, b"key", b"2")
            assert list(folder.iterdir()) == []
            ballast.unlink()
            assert await sink.keep(SENT, b"key", b"3") is Durability.SPOOLED
            kafka.away = None
            assert await kafka.taken(2) == [b"1", b"3"]
        finally:
            await sink.close()


async def test_a_damaged_spool_that_there_is_no_room_to_save_is_saved_when_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spooling, "ADOPTION_PAUSE", 0.1)
    file = spool.create(tmp_path)
    file.append(records(2000))
    file.close()
    with file.path.open("r+b") as raw:
        raw.seek(file.path.stat().st_size // 2)
        raw.write(os.urandom(4096))
    kafka = Choosy(limit=1000)
    sink = SpoolingSink(kafka, tmp_path, SpoolLimits(size=2**20, age=60, sync=30), time.time)
    with disk_ends_at(300_000):
        await sink.open()
        assert await sink.keep(SENT, b"key", b"new") is Durability.REPLICATED
    try:
        assert len(set(await kafka.taken(1501))) > 1500
    finally:
        await sink.close()
    assert file.path.with_suffix(".damaged").exists()
