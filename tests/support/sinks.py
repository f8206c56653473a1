"""Sink processes, the topics that they read, and the rows that they store in ClickHouse."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from msgspec import convert
from pydantic import SecretStr

from gateway.postback import AnyPostback
from runtime.clickhouse.client import INSERT_SETTINGS, Inserter, open_client
from runtime.clickhouse.errors import ClickHouseUnavailable
from runtime.errors import KafkaUnavailable
from runtime.health import Health
from runtime.retry import Retrier
from sinks.batch import BatchLimits
from sinks.cluster import ClusterGuard
from sinks.migrate import migrate
from sinks.rows import splice
from sinks.tables import TABLE_OF
from sinks.worker import Worker
from sinks.writer import ClickHouseWriter
from streams.message import Message
from tests.support.kafka import open_admin
from tests.support.process import Process, running
from tests.support.records import FakeRecord
from tests.support.stage import RunningStage
from tests.support.wait import eventually
from tests.support.workload import lag

GROUP = "sinks"


@contextmanager
def open_sink(kafka: str, clickhouse: str, **settings: object) -> Iterator[RunningStage]:
    """Run a sink for the block."""
    defaults = {
        "kafka": kafka,
        "clickhouse": clickhouse,
        "ops": "127.0.0.1:0",
        "session_timeout": 6,
        "batch_seconds": 0.2,
        "log_level": "warning",
    }
    with running("sinks", **(defaults | settings)) as process:
        yield RunningStage(process, process.read_line())


@asynccontextmanager
async def open_writer(kafka: str, clickhouse: str) -> AsyncIterator[tuple[ClickHouseWriter, dict[str, int]]]:
    """Connect a sink's writer for the block; yield it and the topics' numbers of partitions."""
    setting = SecretStr(clickhouse)
    cluster, inserter = ClusterGuard({"bootstrap_servers": kafka.split(",")}), Inserter(setting, timeout=30)
    retrier = Retrier(Health(), (ClickHouseUnavailable, KafkaUnavailable), max_backoff=1)
    try:
        yield ClickHouseWriter(inserter, cluster, retrier), await cluster.open(TABLE_OF)
    finally:
        await cluster.close()
        await inserter.close()


@asynccontextmanager
async def run_worker(
    kafka: str,
    clickhouse: str,
    group: str = GROUP,
    batch_rows: int = 50_000,
    topic_ids: Mapping[str, UUID] | None = None,
) -> AsyncIterator[tuple[Worker, asyncio.Task[None]]]:
    """Run a worker in the test's own process for the block; yield it and the task that runs it."""
    migrate(SecretStr(clickhouse))
    async with open_writer(kafka, clickhouse) as (writer, topics):
        worker = Worker(
            AIOKafkaConsumer(
                bootstrap_servers=kafka,
                group_id=group,
                enable_auto_commit=False,
                auto_offset_reset="earliest",
            ),
            writer,
            BatchLimits(batch_rows, 2**25, 0.2),
            flush_timeout=3,
            topics=topics,
            topic_ids=topic_ids or {},
            health=Health(),
        )
        stop = asyncio.Event()
        task = asyncio.create_task(worker.run(stop))
        try:
            yield worker, task
        finally:
            stop.set()
            await asyncio.wait([task])


def open_clickhouse(data: Path, port: int = 0) -> Process:
    """Start an embedded ClickHouse; the first line of its output is its URL."""
    return running("embedded", "clickhouse", "--port", str(port), "--data", data)


async def produce_values(
    kafka: str, topic: str, *values: bytes | None, partition: int = 0, key: bytes = b"k"
) -> None:
    """Produce values to one partition, in order."""
    async with AIOKafkaProducer(bootstrap_servers=kafka, acks="all", max_request_size=4 << 20) as producer:
        sent = [await producer.send(topic, value, key=key, partition=partition) for value in values]
        await asyncio.gather(*sent)


async def wait_committed(kafka: str, group: str = GROUP) -> None:
    """Wait until the group has committed all records of the topics."""
    await eventually(lambda: lag(kafka, group, TABLE_OF), "everything committed", lambda lag: lag == 0)


async def members(kafka: str, group: str = GROUP) -> set[str]:
    """Return the member ids of the group; a member that rejoins gets a new id."""
    async with open_admin(kafka) as admin:
        (described,) = await admin.describe_consumer_groups([group], await admin.find_coordinator(group))
    ((_, _, _, _, _, listed, *_),) = described.groups
    return {member for member, *_ in listed}


def rows(clickhouse: str, query: str) -> list[dict[str, Any]]:
    """Run a query; return its rows as ClickHouse's JSON has them."""
    with open_client(SecretStr(clickhouse)) as client:
        text = client.raw_query(query, fmt="JSONEachRow", settings={"date_time_output_format": "iso"})
    return [json.loads(line) for line in text.splitlines()]


def execute(clickhouse: str, statement: str) -> None:
    with open_client(SecretStr(clickhouse)) as client:
        client.command(statement)


def insert_values(client: Any, topic: str, values: Iterable[bytes]) -> None:
    """Insert the values of a topic's records as the sink does, in one insert."""
    table = TABLE_OF[topic]
    records = [FakeRecord(topic, offset=offset, value=value) for offset, value in enumerate(values)]
    if records:
        client.raw_insert(
            table.name,
            column_names=table.fields or None,
            insert_block=splice(table.suffix, "cluster", records),
            settings=INSERT_SETTINGS,
            fmt="JSONEachRow",
        )


COUNTS = """
SELECT uniqExact(event_id) AS events, uniqExact(cluster, topic, partition, offset) AS records, count() AS rows
FROM postbacks FINAL
"""


def stored_messages(clickhouse: str) -> dict[str, Message]:
    """Read the view `messages`, decoded as the contract's `Message`, by message_id."""
    messages = rows(clickhouse, "SELECT * FROM messages")
    return {row["message_id"]: convert(row, Message) for row in messages}


def expected_counts(load: list[AnyPostback]) -> dict[str, int]:
    """What `EXACT` must say: each event, and one row for each record."""
    return {"events": len({postback.event_id for postback in load}), "records": len(load), "rows": len(load)}
