"""Losses of a stored pipeline, and its repair: what is deleted, and what must be the same afterwards."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID

from aiokafka import TopicPartition
from aiokafka.admin.records_to_delete import RecordsToDelete
from msgspec import json
from pydantic import SecretStr

from cli.progress import ProgressBars
from cli.repair import publish_nothing
from gateway.parsing.postback import parse
from gateway.parsing.submission import parse_answers
from gateway.postback import POSTBACK_TOPICS, SENT, encode
from gateway.rejected import REJECTED, reject_request
from gateway.submission import SUBMISSIONS
from gateway.topics import gateway_topics
from operations.repair.insert import Insert
from operations.repair.report import RepairReport
from operations.repair.run import Repair
from operations.rows import connect
from streams.merge import Event
from streams.message import MESSAGES
from streams.topics import streams_topics
from tests.support.answers import answer, as_json, refusal
from tests.support.kafka import PARTITIONS, open_admin, set_topic_config
from tests.support.pipeline import Pipeline
from tests.support.postbacks import START, at
from tests.support.samples import raw_request
from tests.support.sinks import execute, produce_values, rows, run_worker
from tests.support.workload import read_all

TOPICS = (*POSTBACK_TOPICS, SUBMISSIONS, REJECTED, MESSAGES)
#: What must be the same after a repair: a table or view, and the order of its rows.
WHOLE = {
    "events": "SELECT * FROM events ORDER BY event_id",
    "submissions": "SELECT DISTINCT * EXCEPT (cluster, topic, partition, offset) FROM submissions "
    "ORDER BY ALL",
    "messages": "SELECT * FROM messages ORDER BY message_id",
    "rejected": "SELECT * REPLACE (arraySort(records) AS records) FROM rejected FINAL "
    "ORDER BY rejection_id, stage",
}
RECORDS = "SELECT * FROM {} FINAL ORDER BY topic, partition, offset"


def requests(count: int) -> list[Event]:
    """Events of so many messages, as the gateway parses them.

    Of each message a submission, with or without the request, two attempts and a receipt; of some a reply.
    """
    found: list[Event] = []
    for n in range(count):
        response = answer(MessageID=str(UUID(int=n + 1)), ReferenceID=f"r{n}")
        asked = {"PhoneNumber": f"1757555{n:04}", "Message": "Ihr Tisch ist frei \u20ac"}
        posted = as_json({"request": asked, "response": response} if n % 2 else response)
        found += parse_answers(raw_request(posted, "a=1", received_at=at(n))).submissions
        message = (
            f"MessageID={UUID(int=n + 1)}&ReferenceID=r{n}&FromPhoneNumber=74121&ToPhoneNumber=1757555{n:04}"
        )
        bodies = [f"SMSSent=1&{message}", f"SMSSent=1&{message}", f"DeliveryReceipt=1&{message}&Code=000"]
        if n % 3 == 0:
            bodies.append(f"SMSResponse=1&{message}&MatchedMessageID={UUID(int=n + 1)}&Message=Ja")
        for second, body in enumerate(bodies):
            found.append(parse(raw_request(body.encode(), received_at=at(n + second))))
    return found


async def fill(pipeline: Pipeline, messages: int = 12) -> dict[str, list[dict[str, Any]]]:
    """Store events, messages, and rejections of all three stages; return what is whole."""
    await load(pipeline, messages)
    await pipeline.run()
    return whole(pipeline)


async def load(pipeline: Pipeline, messages: int = 12) -> None:
    """Produce events of so many messages and of none, and what is rejected by each of the three stages."""
    about_none = parse_answers(raw_request(as_json([refusal(2), refusal(2)]), received_at=at(0))).submissions
    await pipeline.streams.produce([*requests(messages), *about_none])
    by_gateway = [
        encode(reject_request(raw_request(b"nothing=1", received_at=at(n)), "no_type", str(n)))
        for n in range(3)
    ]
    await produce_values(pipeline.kafka, REJECTED, *by_gateway)
    await produce_values(pipeline.kafka, SENT, b'{"no": "postback"}')  # rejected by streams and by the sinks


def whole(pipeline: Pipeline) -> dict[str, list[dict[str, Any]]]:
    return {name: rows(pipeline.clickhouse, query) for name, query in WHOLE.items()}


def stored_records(pipeline: Pipeline) -> list[dict[str, Any]]:
    tables = ("postbacks", "submissions")
    return [row for table in tables for row in rows(pipeline.clickhouse, RECORDS.format(table))]


async def record_count(pipeline: Pipeline) -> dict[str, int]:
    return {topic: len(await read_all(pipeline.kafka, topic)) for topic in TOPICS}


async def repair(pipeline: Pipeline, *options: str) -> tuple[int, Any]:
    """The exit status, and the JSON report."""
    done = await pipeline.command("reconcile", "--repair", "--json", *options)
    assert not done.stderr, done.stderr
    return done.returncode, json.decode(done.stdout)


def in_process(pipeline: Pipeline, insert: Insert, report: RepairReport) -> Repair:
    """A repair that publishes nothing."""
    query, kafka = connect(SecretStr(pipeline.clickhouse)), {"bootstrap_servers": [pipeline.kafka]}
    since = START - timedelta(days=360)
    return Repair(query, kafka, since, insert, publish_nothing, ProgressBars(), report)


async def reconcile(pipeline: Pipeline) -> tuple[int, Any]:
    done = await pipeline.command("reconcile", "--json")
    return done.returncode, json.decode(done.stdout)


def delete(pipeline: Pipeline, table: str, condition: str) -> None:
    """Delete rows, as a failure would."""
    execute(pipeline.clickhouse, f"ALTER TABLE {table} DELETE WHERE {condition} SETTINGS mutations_sync = 1")


async def delete_records(pipeline: Pipeline, topic: str) -> None:
    """Delete all records of a topic, as retention would; Kafka refuses that for a compacted one."""
    spec = {spec.name: spec for spec in (*gateway_topics(PARTITIONS, 1), *streams_topics(PARTITIONS, 1))}[
        topic
    ]
    await set_topic_config(pipeline.kafka, topic, {"cleanup.policy": "delete"})
    async with open_admin(pipeline.kafka) as admin:
        await admin.delete_records({TopicPartition(topic, n): RecordsToDelete(-1) for n in range(PARTITIONS)})
    await set_topic_config(pipeline.kafka, topic, spec.config)


@asynccontextmanager
async def running(pipeline: Pipeline) -> AsyncIterator[None]:
    """Run streams and a sink for the block."""
    with pipeline.streams.worker():
        async with run_worker(pipeline.kafka, pipeline.clickhouse):
            yield


async def lose_messages(pipeline: Pipeline) -> list[Event]:
    """Delete four messages from ClickHouse, and all from Kafka; return the events of the four."""
    delete(pipeline, "message_states", f"message_id <= '{UUID(int=4)}'")
    await delete_records(pipeline, MESSAGES)
    return [event for event in requests(12) if UUID(event.message_id or "").int <= 4]
