"""The gateway and Kafka: 200 for what Kafka has, 202 for what waits on disk while it is away."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from embedded.kafka.node import Node
from gateway.postback import POSTBACK_TOPICS, RECEIPT, RESPONSE, SENT, key_of
from runtime.process import DONE, REFUSED
from tests.support.gateway import connection, form, free_address, kept, open_gateway, post, request, until
from tests.support.kafka import ApacheKafka, free_ports, own_kafka
from tests.support.kafka_reset import wipe
from tests.support.process import running
from tests.support.samples import head

ACK_SECONDS = 1.0
#: For a noisy machine, on top of what is promised.
SLACK_SECONDS = 3.0
SECONDS = 60.0


def sent(message_id: str, **fields: str) -> bytes:
    return "&".join(
        ["SMSSent=1", f"MessageID={message_id}", *(f"{name}={value}" for name, value in fields.items())]
    ).encode()


@asynccontextmanager
async def frozen(node: Node) -> AsyncIterator[None]:
    node.pause()
    try:
        yield
    finally:
        node.resume()


@pytest.fixture
def node(apache_kafka: ApacheKafka) -> Node:
    """The one of `fresh_kafka`."""
    return apache_kafka.nodes[0]


HEALTH = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
READY = b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n"


async def test_what_got_200_is_in_kafka_once_and_where_its_key_belongs(fresh_kafka: str) -> None:
    ids = [str(uuid4()) for _ in range(300)]
    with open_gateway(fresh_kafka) as gateway:
        bodies = [
            body
            for message in ids
            for body in (
                sent(message),
                f"SMSResponse=1&MatchedMessageID={message}&Message=Hi".encode(),
                f"DeliveryReceipt=1&MessageID={message}&Code=000".encode(),
            )
        ]
        answers = await asyncio.gather(*(post(gateway.address, body) for body in bodies))
        assert {answer.status for answer in answers} == {200}

    found: dict[str, list[tuple[int, bytes]]] = {topic: [] for topic in POSTBACK_TOPICS}
    consumer = AIOKafkaConsumer(bootstrap_servers=fresh_kafka, auto_offset_reset="earliest")
    async with consumer, asyncio.timeout(SECONDS):
        consumer.assign([TopicPartition(topic, number) for topic in POSTBACK_TOPICS for number in range(8)])
        await consumer.seek_to_beginning()
        while sum(map(len, found.values())) < len(bodies):
            record = await consumer.getone()
            found[record.topic].append((record.partition, record.key))
        assert not await consumer.getmany(timeout_ms=300)
    partitions = set(found[SENT])
    assert partitions == set(found[RESPONSE]) == set(found[RECEIPT])
    assert sorted(key for _, key in found[SENT]) == sorted(key_of("default", message) for message in ids)

    async with AIOKafkaProducer(bootstrap_servers=fresh_kafka) as others:
        sample = [await others.send_and_wait(SENT, b"{}", key) for _, key in found[SENT][:20]]
    assert [record.partition for record in sample] == [partition for partition, _ in found[SENT][:20]]


async def test_without_kafka_it_starts_and_keeps_on_disk_what_kafka_gets_later(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    kafka, listen, ops = f"127.0.0.1:{port}", free_address(), free_address()
    settings = {"KAFKA": kafka, "LISTEN": listen, "OPS": ops, "DATA": str(tmp_path)}
    with running(
        "gateway", environment={f"POSTBACKS_{name}": value for name, value in settings.items()}
    ) as process:
        assert await asyncio.to_thread(process.line) == listen
        missing = await request(ops, READY)
        assert (missing.status, f"Kafka at {kafka} does not answer" in missing.body.decode()) == (503, True)
        message = str(uuid4())
        assert (await post(listen, sent(message))).status == 202
        async with own_kafka(tmp_path / "kafka", port):
            await until(200, listen, form(sent(str(uuid4()))))
            await kept(kafka, message_id=message)
            assert (await request(ops, READY)).status == 200
            assert process.stop() == DONE


async def test_without_a_folder_to_write_to_the_port_stays_closed(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    environment = {"POSTBACKS_DATA": str(tmp_path / "file"), "POSTBACKS_OPS": "127.0.0.1:0"}
    with running("gateway", environment=environment) as process:
        assert await asyncio.to_thread(process.popen.wait, SECONDS) == REFUSED
    assert capfd.readouterr().err.splitlines()[-1].startswith(f"POSTBACKS_DATA={tmp_path / 'file'}: must be")


async def test_a_frozen_kafka_is_given_up_in_time_and_found_again(fresh_kafka: str, node: Node) -> None:
    with open_gateway(fresh_kafka, ack_timeout=str(ACK_SECONDS)) as gateway:
        message = str(uuid4())
        async with frozen(node):
            began = time.monotonic()
            assert (await post(gateway.address, sent(message))).status == 202
            assert time.monotonic() - began < ACK_SECONDS + SLACK_SECONDS

            began = time.monotonic()
            assert (await post(gateway.address, sent(message))).status == 202
            assert time.monotonic() - began < ACK_SECONDS, "it is known by now"
            assert (await post(gateway.address, b"no=postback")).status == 400, "the spool keeps that, too"
            assert (await request(gateway.address, HEALTH)).status == 200
        await until(200, gateway.address, form(sent(str(uuid4()))))
        await kept(fresh_kafka, message_id=message)
        await kept(fresh_kafka, reason="no_type", body="no=postback")


async def test_a_killed_kafka_comes_back_with_all_that_was_acknowledged(
    apache_kafka: ApacheKafka, capfd: pytest.CaptureFixture[str]
) -> None:
    (node,) = apache_kafka.nodes
    await wipe(node.address)
    before, after = str(uuid4()), str(uuid4())
    with open_gateway(node.address, ack_timeout=str(ACK_SECONDS + SLACK_SECONDS)) as gateway:
        assert (await post(gateway.address, sent(before))).status == 200
        node.kill()
        try:
            assert (await post(gateway.address, sent(after))).status == 202
        finally:
            node.start()
            await asyncio.to_thread(node.wait_ready)
        await until(200, gateway.address, form(sent(str(uuid4()))))
        await kept(node.address, message_id=before)
        await kept(node.address, message_id=after)
        assert gateway.process.stop() == DONE
    assert "Traceback" not in capfd.readouterr().err


async def test_sigterm_answers_what_is_in_hand(fresh_kafka: str, node: Node) -> None:
    with open_gateway(fresh_kafka, ack_timeout="30") as gateway:
        async with connection(gateway.address) as wire, connection(gateway.address) as idle:
            async with frozen(node):
                await wire.send(head(body := sent(str(uuid4()), ReferenceID="in flight")))
                await wire.head()
                await wire.send(body)
                await gateway.reaches("request_bytes_total", len(body))
                gateway.process.popen.terminate()
                assert await idle.closed()
            assert (await wire.answer()).status == 200
        assert await asyncio.to_thread(gateway.process.popen.wait, SECONDS) == DONE
    await kept(fresh_kafka, reference_id="in flight")


async def test_sigterm_ends_it_also_when_kafka_never_answers(fresh_kafka: str, node: Node) -> None:
    with open_gateway(fresh_kafka, ack_timeout=str(ACK_SECONDS)) as gateway:
        async with frozen(node), connection(gateway.address) as wire:
            body = sent(str(uuid4()))
            await wire.send(head(body) + body)
            await wire.head()
            await gateway.reaches("request_bytes_total", len(body))
            gateway.process.popen.terminate()
            assert (await wire.answer()).status == 202
            assert await asyncio.to_thread(gateway.process.popen.wait, 20) == DONE


async def test_sigterm_waits_for_the_request_of_a_client_who_left(
    fresh_kafka: str, node: Node, tmp_path: Path
) -> None:
    with open_gateway(fresh_kafka, ack_timeout=str(3 * ACK_SECONDS), data=str(tmp_path)) as gateway:
        body = sent(message := str(uuid4()))
        async with frozen(node):
            async with connection(gateway.address) as wire:
                await wire.send(form(body))
                await gateway.reaches("request_bytes_total", len(body))
            gateway.process.popen.terminate()
            assert await asyncio.to_thread(gateway.process.popen.wait, SECONDS) == DONE
    await wipe(fresh_kafka)  # it may have taken the record once it went on
    with open_gateway(fresh_kafka, data=str(tmp_path)):
        await kept(fresh_kafka, message_id=message)


async def test_topics_that_would_break_correlation_stop_it(
    fresh_kafka: str, capfd: pytest.CaptureFixture[str]
) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=fresh_kafka)
    await admin.start()
    await admin.create_topics([NewTopic(RECEIPT, 3, 1)])
    await admin.close()
    settings = {
        "POSTBACKS_KAFKA": fresh_kafka,
        "POSTBACKS_LISTEN": "127.0.0.1:0",
        "POSTBACKS_OPS": "127.0.0.1:0",
    }
    with running("gateway", environment=settings) as process:
        assert await asyncio.to_thread(process.popen.wait, SECONDS) == REFUSED
    assert "Topic postbacks.receipt has 3 partitions, not 8" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("setting", "value", "says"),
    [
        ("LISTEN", "0.0.0.0:8080", "must be a loopback address"),
        ("TOKENS", "/nowhere.toml", "No such file"),
    ],
)
def test_wrong_settings_stop_it_with_a_sentence(
    setting: str, value: str, says: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with running("gateway", environment={f"POSTBACKS_{setting}": value}) as process:
        assert process.popen.wait(SECONDS) == REFUSED
    said = capfd.readouterr().err
    assert said.startswith(f"POSTBACKS_{setting}={value}: ")
    assert says in said


async def test_records_of_concurrent_requests_share_batches(fresh_kafka: str, node: Node) -> None:
    with open_gateway(fresh_kafka, partitions="1", ack_timeout="30") as gateway:
        bodies = [sent(str(uuid4())) for _ in range(200)]
        async with frozen(node):
            posts = [asyncio.create_task(post(gateway.address, body)) for body in bodies]
            await gateway.reaches("request_bytes_total", sum(map(len, bodies)))
        assert {answer.status for answer in await asyncio.gather(*posts)} == {200}
        assert await gateway.metric("batch_records_sum") == 200
        assert await gateway.metric("batch_records_count") <= 3, "all others waited behind the first"
