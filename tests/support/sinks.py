"""Sink processes, the topics that they read, and the rows that they store in ClickHouse."""

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
from runtime.clickhouse.client import Inserter, open_client
from runtime.clickhouse.errors import ClickHouseUnavailable
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

TIMEOUT = 120.0
POLL_INTERVAL = 0.1
PARTITIONS = 4
GROUP = "sinks"


async def create_topics(kafka: str) -> None:
    """Create all topics that sinks read, as the pipeline does."""
    settings = load_settings({"POSTBACKS_KAFKA": kafka, "POSTBACKS_PARTITIONS": str(PARTITIONS)})
    await ensure_topics(
        client_options(settings), [*gateway_topics(PARTITIONS, 1), messages_topic(PARTITIONS, 1)], timeout=60
    )


class RunningSink(NamedTuple):
    ops: str
    process: Process

    def readyz(self) -> str:
        """Return the body of /readyz."""
        try:
            with urlopen(f"http://{self.ops}/readyz") as response:
                return str(response.read().decode())
        except HTTPError as error:
            return error.read().decode()

    def metric(self, name: str) -> float:
        """Return the sum of a metric's samples."""
        with urlopen(f"http://{self.ops}/metrics") as response:
            lines = [line.rpartition(" ") for line in response.read().decode().splitlines()]
        return sum(
            float(value)
            for sample, _, value in lines
            if sample.partition("{")[0] == f"postbacks_sinks_{name}"
        )


@contextmanager
def open_sink(kafka: str, clickhouse: str, **settings: Any) -> Iterator[RunningSink]:
    """Run a sink for the block; settings by name, without the prefix and in lower case."""
    defaults = {
        "kafka": kafka,
        "clickhouse": clickhouse,
        "ops": "127.0.0.1:0",
        "session_timeout": 6,
        "batch_seconds": 0.2,
        "log_level": "warning",
    }
    environment = {f"POSTBACKS_{name.upper()}": str(value) for name, value in (defaults | settings).items()}
    with running("sinks", environment=environment) as process:
        yield RunningSink(process.read_line(), process)


@asynccontextmanager
async def run_worker(
    kafka: str, clickhouse: str, group: str = GROUP, batch_rows: int = 50_000
) -> AsyncIterator[tuple[Worker, asyncio.Task[None]]]:
    """Run a worker in the test's own process for the block; yield it and the task that runs it."""
    health, setting = Health(), SecretStr(clickhouse)
    migrate(setting)
    cluster, inserter = ClusterGuard({"bootstrap_servers": kafka.split(",")}), Inserter(setting, timeout=30)
    topics = await cluster.open(TABLE_OF)
    worker = Worker(
        AIOKafkaConsumer(
            bootstrap_servers=kafka, group_id=group, enable_auto_commit=False, auto_offset_reset="earliest"
        ),
        ClickHouseWriter(
            inserter, cluster, Retrier(health, (ClickHouseUnavailable, KafkaUnavailable), max_backoff=1)
        ),
        BatchLimits(batch_rows, 2**25, 0.2),
        flush_timeout=3,
        topics=topics,
        health=health,
    )
    stop = asyncio.Event()
    task = asyncio.create_task(worker.run(stop))
    try:
        yield worker, task
    finally:
        stop.set()
        await asyncio.wait([task])
        await cluster.close()
        await inserter.close()


def open_clickhouse(data: Path, port: int = 0) -> AbstractContextManager[Process]:
    """Run an embedded ClickHouse for the block; the first line of its output is its URL."""
    return running("embedded", "clickhouse", "--port", str(port), "--data", data)


async def produce_values(
    kafka: str, topic: str, *values: bytes | None, partition: int = 0, key: bytes = b"k"
) -> None:
    """Produce values to one partition, in order."""
    async with AIOKafkaProducer(bootstrap_servers=kafka, acks="all", max_request_size=4 << 20) as producer:
        sent = [await producer.send(topic, value, key=key, partition=partition) for value in values]
        await asyncio.gather(*sent)


async def eventually(
    condition: Callable[[], Awaitable[bool] | bool], description: str, timeout: float = TIMEOUT
) -> None:
    """Poll until the condition holds; fail with the description after `timeout` seconds."""
    try:
        async with asyncio.timeout(timeout):
            while True:
                result = condition()
                if result if isinstance(result, bool) else await result:
                    return
                await asyncio.sleep(POLL_INTERVAL)
    except TimeoutError:
        raise AssertionError(f"After {timeout:.0f} s still not: {description}") from None


async def wait_committed(kafka: str, group: str = GROUP) -> None:
    """Wait until the group has committed all records of the topics."""

    async def no_lag() -> bool:
        return await lag(kafka, group, TABLE_OF) == 0

    await eventually(no_lag, "everything committed")


async def members(kafka: str, group: str = GROUP) -> set[str]:
    """Return the member ids of the group; a member that rejoins gets a new id."""
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    try:
        (described,) = await admin.describe_consumer_groups([group], await admin.find_coordinator(group))
        ((_, _, _, _, _, listed, *_),) = described.groups
        return {member for member, *_ in listed}
    finally:
        await admin.close()


def rows(clickhouse: str, query: str) -> list[dict[str, Any]]:
    """Run a query; return its rows as ClickHouse's JSON has them."""
    with open_client(SecretStr(clickhouse)) as client:
        text = client.raw_query(query, fmt="JSONEachRow", settings={"date_time_output_format": "iso"})
    return [json.loads(line) for line in text.splitlines()]


def execute(clickhouse: str, statement: str) -> None:
    with open_client(SecretStr(clickhouse)) as client:
        client.command(statement)


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
