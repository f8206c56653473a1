"""Sinks as processes of their own, the topics that they read, and what they leave in ClickHouse."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.error import HTTPError
from urllib.request import urlopen

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from msgspec import convert
from pydantic import SecretStr

from gateway.postback import AnyPostback
from gateway.topics import gateway_topics
from runtime.clickhouse.client import Inserter, Unavailable, query_client
from runtime.errors import KafkaUnavailable
from runtime.health import Health
from runtime.kafka.clients import client_options
from runtime.kafka.topics import ensure_topics
from runtime.retry import Retrier
from runtime.settings import load_settings
from sinks.batch import BatchLimits
from sinks.cluster import ClusterGuard
from sinks.migrate import migrate
from sinks.tables import TABLE_OF
from sinks.worker import Worker
from sinks.writer import ClickHouseWriter
from streams.message import Message
from streams.topics import messages_topic
from tests.support.process import Process, running
from tests.support.workload import lag

SECONDS = 120.0
POLL_SECONDS = 0.1
PARTITIONS = 4
GROUP = "sinks"


async def make_topics(kafka: str) -> None:
    """All that sinks read, as the pipeline makes them."""
    settings = load_settings({"POSTBACKS_KAFKA": kafka, "POSTBACKS_PARTITIONS": str(PARTITIONS)})
    await ensure_topics(
        client_options(settings), [*gateway_topics(settings), messages_topic(settings)], patience=60
    )


class RunningSink(NamedTuple):
    ops: str
    process: Process

    def ready(self) -> str:
        """What /readyz says."""
        try:
            with urlopen(f"http://{self.ops}/readyz") as answer:
                return str(answer.read().decode())
        except HTTPError as error:
            return error.read().decode()

    def metric(self, name: str) -> float:
        """The sum of a metric's samples."""
        with urlopen(f"http://{self.ops}/metrics") as answer:
            lines = [line.rpartition(" ") for line in answer.read().decode().splitlines()]
        return sum(
            float(value)
            for sample, _, value in lines
            if sample.partition("{")[0] == f"postbacks_sinks_{name}"
        )


@contextmanager
def open_sink(kafka: str, clickhouse: str, **settings: Any) -> Iterator[RunningSink]:
    """A sink that has begun; settings by their names without the prefix, in lower case."""
    given = {
        "kafka": kafka,
        "clickhouse": clickhouse,
        "ops": "127.0.0.1:0",
        "session_timeout": 6,
        "batch_seconds": 0.2,
        "log_level": "warning",
    }
    environment = {f"POSTBACKS_{name.upper()}": str(value) for name, value in (given | settings).items()}
    with running("sinks", environment=environment) as process:
        yield RunningSink(process.line(), process)


@asynccontextmanager
async def worker_of(
    kafka: str, clickhouse: str, group: str = GROUP, batch_rows: int = 50_000
) -> AsyncIterator[tuple[Worker, asyncio.Task[None]]]:
    """A worker inside the test's own process, and the task that runs it."""
    health, setting = Health(), SecretStr(clickhouse)
    migrate(setting)
    cluster, inserter = ClusterGuard({"bootstrap_servers": kafka.split(",")}), Inserter(setting, timeout=30)
    topics = await cluster.open(TABLE_OF)
    worker = Worker(
        AIOKafkaConsumer(
            bootstrap_servers=kafka, group_id=group, enable_auto_commit=False, auto_offset_reset="earliest"
        ),
        ClickHouseWriter(
            inserter, cluster, Retrier(health, (Unavailable, KafkaUnavailable), longest_pause=1)
        ),
        BatchLimits(batch_rows, 2**25, 0.2),
        settle_seconds=3,
        topics=topics,
        health=health,
    )
    stop = asyncio.Event()
    running_it = asyncio.create_task(worker.run(stop))
    try:
        yield worker, running_it
    finally:
        stop.set()
        await asyncio.wait([running_it])
        await cluster.close()
        await inserter.close()


def open_clickhouse(data: Path, port: int = 0) -> AbstractContextManager[Process]:
    """An embedded ClickHouse of the test's own; the first line it prints is its URL."""
    return running("embedded", "clickhouse", "--port", str(port), "--data", data)


async def send(kafka: str, topic: str, *values: bytes | None, partition: int = 0, key: bytes = b"k") -> None:
    """Put values into one partition, in their order."""
    async with AIOKafkaProducer(bootstrap_servers=kafka, acks="all", max_request_size=4 << 20) as producer:
        sent = [await producer.send(topic, value, key=key, partition=partition) for value in values]
        await asyncio.gather(*sent)


async def until(holds: Callable[[], Awaitable[bool] | bool], what: str, seconds: float = SECONDS) -> None:
    """Poll until it holds: neither Kafka nor ClickHouse tells when."""
    try:
        async with asyncio.timeout(seconds):
            while True:
                answer = holds()
                if answer if isinstance(answer, bool) else await answer:
                    return
                await asyncio.sleep(POLL_SECONDS)
    except TimeoutError:
        raise AssertionError(f"After {seconds:.0f} s still not: {what}") from None


async def all_stored(kafka: str, group: str = GROUP) -> None:
    """Wait until the sinks have committed all that the topics hold."""

    async def no_lag() -> bool:
        return await lag(kafka, group, TABLE_OF) == 0

    await until(no_lag, "everything committed")


async def members(kafka: str, group: str = GROUP) -> set[str]:
    """The ids of the group's members: who left and came again has another one."""
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    try:
        (described,) = await admin.describe_consumer_groups([group], await admin.find_coordinator(group))
        ((_, _, _, _, _, found, *_),) = described.groups
        return {member for member, *_ in found}
    finally:
        await admin.close()


def rows(clickhouse: str, query: str) -> list[dict[str, Any]]:
    """The result of a query, as ClickHouse says it in JSON."""
    with query_client(SecretStr(clickhouse)) as client:
        text = client.raw_query(query, fmt="JSONEachRow", settings={"date_time_output_format": "iso"})
    return [json.loads(line) for line in text.splitlines()]


def execute(clickhouse: str, statement: str) -> None:
    with query_client(SecretStr(clickhouse)) as client:
        client.command(statement)


EXACT = """
SELECT uniqExact(event_id) AS events, uniqExact(cluster, topic, partition, offset) AS records, count() AS rows
FROM postbacks FINAL
"""


def as_messages(clickhouse: str) -> dict[str, Message]:
    """The view `messages` by message_id, read as what it claims to be."""
    stored = rows(clickhouse, "SELECT * FROM messages")
    return {row["message_id"]: convert(row, Message) for row in stored}


def exactly(load: list[AnyPostback]) -> dict[str, int]:
    """What `EXACT` must say: each event, and one row for each record."""
    return {"events": len({postback.event_id for postback in load}), "records": len(load), "rows": len(load)}
