"""Records that the broker, the gateway or streams compressed are read by every part, with each codec."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlencode
from uuid import uuid4

import pytest
from msgspec import json

from gateway.postback import RECEIPT, RESPONSE, SENT
from gateway.rejected import REJECTED
from gateway.topics import gateway_topics
from runtime.kafka.topics import ensure_topics
from streams.message import MESSAGES
from streams.topics import streams_topics
from tests.support.gateway import RunningGateway, open_gateway, post, sent_form
from tests.support.kafka import PARTITIONS, ApacheKafka
from tests.support.pipeline import create_pipeline
from tests.support.record_batches import stored_codecs
from tests.support.sinks import rows, run_worker, stored_messages, wait_committed
from tests.support.stack import Output, start_command

CODECS = ("gzip", "snappy", "lz4", "zstd")
POSTED = (SENT, RESPONSE, RECEIPT, REJECTED)
#: Long enough to be smaller when compressed.
TEXT = "Thanks, got it. " * 20


def forms(message_id: str) -> list[bytes]:
    """A form for each topic of the gateway."""
    return [
        sent_form(message_id),
        urlencode(
            {"SMSResponse": 1, "MatchedMessageID": message_id, "MessageID": uuid4(), "Message": TEXT}
        ).encode(),
        receipt_form(message_id, "003"),
        urlencode({"Other": TEXT}).encode(),
    ]


def receipt_form(message_id: str, code: str) -> bytes:
    return urlencode(
        {"DeliveryReceipt": 1, "MessageID": message_id, "Code": code, "DeliveryReceiptMessage": TEXT}
    ).encode()


async def create_compressed_topics(kafka: str, codecs: Mapping[str, str]) -> None:
    """Create all topics of the pipeline, some of them with a `compression.type`."""
    specs = [
        replace(spec, config={**spec.config, "compression.type": codecs.get(spec.name, "producer")})
        for spec in (*gateway_topics(PARTITIONS, 1), *streams_topics(PARTITIONS, 1))
    ]
    await ensure_topics({"bootstrap_servers": [kafka]}, specs, timeout=60)


@pytest.mark.parametrize(
    ("of_topics", "of_gateways", "of_streams"),
    [
        pytest.param(
            dict(zip(POSTED, CODECS, strict=True)) | {MESSAGES: "zstd"}, ["none"], "none", id="by the broker"
        ),
        pytest.param({}, CODECS, "lz4", id="by the gateway and streams"),
    ],
)
async def test_records_with_any_codec_pass_the_pipeline(
    apache_kafka: ApacheKafka,
    fresh_kafka: str,
    prepared_database: str,
    tmp_path: Path,
    of_topics: Mapping[str, str],
    of_gateways: Sequence[str],
    of_streams: str,
) -> None:
    await create_compressed_topics(fresh_kafka, of_topics)
    pipeline = await create_pipeline(fresh_kafka, prepared_database, tmp_path)
    messages = [str(uuid4()) for _ in of_gateways]
    with ExitStack() as processes:

        def open_with(codec: str) -> RunningGateway:
            gateway = open_gateway(fresh_kafka, partitions=PARTITIONS, compression=codec)
            return processes.enter_context(gateway)

        first = processes.enter_context(pipeline.streams.worker(compression=of_streams))
        following = start_command("tail", settings={"kafka": fresh_kafka})
        tail = Output(processes.enter_context(following))
        gateways = await asyncio.gather(*(asyncio.to_thread(open_with, codec) for codec in of_gateways))
        await asyncio.to_thread(tail.wait_for_line, "Following messages")
        async with run_worker(fresh_kafka, prepared_database):
            for message, gateway in zip(messages, gateways, strict=True):
                for form in forms(message):
                    assert (await post(gateway.address, form)).status in (200, 400)
            await pipeline.streams.wait_committed()
            await asyncio.to_thread(first.process.stop)
            with pipeline.streams.worker("without a store", compression=of_streams) as second:
                await second.wait_ready()
                assert second.metric("postbacks_streams_states") == len(messages)
                for message in messages:
                    assert (await post(gateways[0].address, receipt_form(message, "000"))).status == 200
                await pipeline.streams.wait_committed()
            await wait_committed(fresh_kafka)
        for message in messages:
            await asyncio.to_thread(tail.wait_for_line, f"default/{message}", 2)
    stored = stored_messages(prepared_database)
    assert {m: (s.status, len(s.receipts), len(s.replies)) for m, s in stored.items()} == dict.fromkeys(
        messages, ("delivered", 2, 1)
    )
    assert rows(prepared_database, "SELECT count()::UInt32 AS n FROM rejected FINAL") == [
        {"n": len(messages)}
    ]
    done = await pipeline.command("reconcile", "--json")
    report = json.decode(done.stdout)
    assert (done.returncode, report["complete"], report["missing"]) == (0, True, 0)
    assert report["events"]["checked"] == 4 * len(messages)
    (node,) = apache_kafka.nodes
    for topic in POSTED:
        assert stored_codecs(node.data, topic) == ({of_topics[topic]} if of_topics else set(CODECS))
    assert stored_codecs(node.data, MESSAGES) == {of_topics.get(MESSAGES, of_streams)}
