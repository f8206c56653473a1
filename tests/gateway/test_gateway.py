"""The gateway on Kafka: 200 for replicated postbacks, 202 for spooled ones while Kafka is unavailable."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from embedded.kafka.node import Node
from gateway.postback import POSTBACK_TOPICS, RECEIPT, RESPONSE, SENT, key_of
from runtime.process import DONE, REFUSED
from tests.support.gateway import (
    HEALTH,
    connect,
    find_record,
    form_request,
    free_address,
    open_gateway,
    post,
    request,
    sent_form,
    wait_for_status,
)
from tests.support.kafka import ApacheKafka, create_other_topics, frozen, wipe
from tests.support.process import run_module
from tests.support.samples import head
from tests.support.spool import free_kafka_address, kafka_at

ACK_TIMEOUT = 1.0
#: Seconds on top of a timeout, for a noisy machine.
TOLERANCE = 3.0
TIMEOUT = 60.0


@pytest.fixture
def node(apache_kafka: ApacheKafka) -> Node:
    """The node of `fresh_kafka`."""
    return apache_kafka.nodes[0]


async def test_postbacks_with_200_are_in_kafka_exactly_once(fresh_kafka: str) -> None:
    ids = [str(uuid4()) for _ in range(300)]
    with open_gateway(fresh_kafka) as gateway:
        bodies = [
            body
            for message in ids
            for body in (
                sent_form(message),
                f"SMSResponse=1&MatchedMessageID={message}&Message=Hi".encode(),
                f"DeliveryReceipt=1&MessageID={message}&Code=000".encode(),
            )
        ]
        responses = await asyncio.gather(*(post(gateway.address, body) for body in bodies))
        assert {response.status for response in responses} == {200}

    found: dict[str, list[tuple[int, bytes]]] = {topic: [] for topic in POSTBACK_TOPICS}
    consumer = AIOKafkaConsumer(bootstrap_servers=fresh_kafka, auto_offset_reset="earliest")
    async with consumer, asyncio.timeout(TIMEOUT):
        consumer.assign([TopicPartition(topic, number) for topic in POSTBACK_TOPICS for number in range(8)])
        await consumer.seek_to_beginning()
        while sum(map(len, found.values())) < len(bodies):
            record = await consumer.getone()
            found[record.topic].append((record.partition, record.key))
        assert not await consumer.getmany(timeout_ms=300)
    partitions = set(found[SENT])
    assert partitions == set(found[RESPONSE]) == set(found[RECEIPT])
    assert sorted(key for _, key in found[SENT]) == sorted(key_of("default", message) for message in ids)

    async with AIOKafkaProducer(bootstrap_servers=fresh_kafka) as producer:
        sample = [await producer.send_and_wait(SENT, b"{}", key) for _, key in found[SENT][:20]]
    assert [record.partition for record in sample] == [partition for partition, _ in found[SENT][:20]]


@pytest.mark.engine
async def test_postbacks_are_spooled_until_kafka_starts(tmp_path: Path) -> None:
    kafka, listen = free_kafka_address(), free_address()
    with open_gateway(kafka, listen=listen, ack_timeout=ACK_TIMEOUT) as gateway:
        assert gateway.address == listen
        status, missing = gateway.page("readyz")
        assert (status, f"Kafka at {kafka} does not answer" in missing) == (503, True)
        message = str(uuid4())
        assert (await post(listen, sent_form(message))).status == 202
        async with kafka_at(kafka, tmp_path / "kafka"):
            await wait_for_status(200, listen, form_request(sent_form()))
            await find_record(kafka, message_id=message)
            assert gateway.page("readyz")[0] == 200
            assert gateway.process.stop() == DONE


def test_unwritable_data_folder_stops_the_gateway(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = run_module("gateway", data=tmp_path / "file", ops="127.0.0.1:0")
    assert done.returncode == REFUSED
    assert done.stderr.splitlines()[-1].startswith(f"POSTBACKS_DATA={tmp_path / 'file'}: must be")


async def test_unresponsive_kafka_times_out_and_recovers(fresh_kafka: str, node: Node) -> None:
    with open_gateway(fresh_kafka, ack_timeout=ACK_TIMEOUT) as gateway:
        message = str(uuid4())
        async with frozen(node):
            began = time.monotonic()
            assert (await post(gateway.address, sent_form(message))).status == 202
            assert time.monotonic() - began < ACK_TIMEOUT + TOLERANCE

            began = time.monotonic()
            assert (await post(gateway.address, sent_form(message))).status == 202
            assert time.monotonic() - began < ACK_TIMEOUT, "an unavailable Kafka fails fast"
            assert (await post(gateway.address, b"no=postback")).status == 400, "rejections are spooled, too"
            assert (await request(gateway.address, HEALTH)).status == 200
        await wait_for_status(200, gateway.address, form_request(sent_form()))
        await find_record(fresh_kafka, message_id=message)
        await find_record(fresh_kafka, reason="no_type", body="no=postback")


async def test_acknowledged_postbacks_survive_a_killed_kafka(
    apache_kafka: ApacheKafka, capfd: pytest.CaptureFixture[str]
) -> None:
    (node,) = apache_kafka.nodes
    await wipe(node.address)
    before, after = str(uuid4()), str(uuid4())
    with open_gateway(node.address, ack_timeout=ACK_TIMEOUT + TOLERANCE) as gateway:
        assert (await post(gateway.address, sent_form(before))).status == 200
        node.kill()
        try:
            assert (await post(gateway.address, sent_form(after))).status == 202
        finally:
            node.start()
            await asyncio.to_thread(node.wait_ready)
        await wait_for_status(200, gateway.address, form_request(sent_form()))
        await find_record(node.address, message_id=before)
        await find_record(node.address, message_id=after)
        assert gateway.process.stop() == DONE
    assert "Traceback" not in capfd.readouterr().err


async def test_sigterm_finishes_requests_in_flight(fresh_kafka: str, node: Node) -> None:
    with open_gateway(fresh_kafka, ack_timeout=30) as gateway:
        async with connect(gateway.address) as wire, connect(gateway.address) as idle:
            async with frozen(node):
                await wire.send(head(body := sent_form(ReferenceID="in flight")))
                await wire.head()
                await wire.send(body)
                await gateway.wait_for_metric("postbacks_gateway_request_bytes_total", len(body))
                gateway.process.popen.terminate()
                assert await idle.wait_closed()
            assert (await wire.response()).status == 200
        assert await gateway.process.wait(TIMEOUT) == DONE
    await find_record(fresh_kafka, reference_id="in flight")


async def test_sigterm_stops_the_gateway_while_kafka_is_unresponsive(fresh_kafka: str, node: Node) -> None:
    with open_gateway(fresh_kafka, ack_timeout=ACK_TIMEOUT) as gateway:
        async with frozen(node), connect(gateway.address) as wire:
            body = sent_form()
            await wire.send(head(body) + body)
            await wire.head()
            await gateway.wait_for_metric("postbacks_gateway_request_bytes_total", len(body))
            gateway.process.popen.terminate()
            assert (await wire.response()).status == 202
            assert await gateway.process.wait(20) == DONE


async def test_sigterm_finishes_requests_of_disconnected_clients(
    fresh_kafka: str, node: Node, tmp_path: Path
) -> None:
    with open_gateway(fresh_kafka, ack_timeout=3 * ACK_TIMEOUT, data=tmp_path) as gateway:
        body = sent_form(message := str(uuid4()))
        async with frozen(node):
            async with connect(gateway.address) as wire:
                await wire.send(form_request(body))
                await gateway.wait_for_metric("postbacks_gateway_request_bytes_total", len(body))
            gateway.process.popen.terminate()
            assert await gateway.process.wait(TIMEOUT) == DONE
    await wipe(fresh_kafka)  # it may have stored the record after it resumed
    with open_gateway(fresh_kafka, data=tmp_path):
        await find_record(fresh_kafka, message_id=message)


async def test_topics_with_other_partition_counts_stop_the_gateway(fresh_kafka: str) -> None:
    await create_other_topics(fresh_kafka, RECEIPT, partitions=3)
    done = run_module("gateway", kafka=fresh_kafka, listen="127.0.0.1:0", ops="127.0.0.1:0")
    assert done.returncode == REFUSED
    assert "Topic postbacks.receipt has 3 partitions, not 8" in done.stderr


@pytest.mark.parametrize(
    ("setting", "value", "expected"),
    [
        ("POSTBACKS_LISTEN", "0.0.0.0:8080", "must be a loopback address"),
        ("POSTBACKS_TOKENS", "/nowhere.toml", "No such file"),
    ],
)
def test_invalid_settings_stop_the_gateway_with_a_message(setting: str, value: str, expected: str) -> None:
    done = run_module("gateway", **{setting: value})
    assert done.returncode == REFUSED
    assert done.stderr.startswith(f"{setting}={value}: ")
    assert expected in done.stderr


async def test_records_of_concurrent_requests_share_batches(fresh_kafka: str, node: Node) -> None:
    with open_gateway(fresh_kafka, partitions=1, ack_timeout=30) as gateway:
        bodies = [sent_form() for _ in range(200)]
        async with frozen(node):
            posts = [asyncio.create_task(post(gateway.address, body)) for body in bodies]
            await gateway.wait_for_metric("postbacks_gateway_request_bytes_total", sum(map(len, bodies)))
        assert {response.status for response in await asyncio.gather(*posts)} == {200}
        assert gateway.metric("postbacks_gateway_batch_records_sum") == 200
        assert gateway.metric("postbacks_gateway_batch_records_count") <= 3, "the others were buffered"
