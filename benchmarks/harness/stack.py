"""All stages of a pipeline on one machine: ours, and what people would put together from the same parts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import NamedTuple

from aiokafka.admin import AIOKafkaAdminClient
from pydantic import SecretStr

from benchmarks.baselines.naive_postback import ACCOUNTS
from benchmarks.baselines.naive_sink import MESSAGE_TABLE
from benchmarks.harness import engines
from benchmarks.harness.backlog import make_topics
from gateway.postback import POSTBACK_TOPICS
from sinks.migrate import migrate
from streams.message import MESSAGES
from tests.support.process import Process, running
from tests.support.workload import lag

PARTITIONS = 8
CHANGELOG = "faust-messages-changelog"
PATIENCE_SECONDS, LOOK_SECONDS = 60.0, 0.2


class Stage(NamedTuple):
    """A consumer group and the topics that it has to keep up with, which bring a record a postback."""

    name: str
    group: str
    topics: tuple[str, ...]


class Stack(NamedTuple):
    """One that runs."""

    kafka: str
    #: Of its ClickHouse, with the database.
    url: str
    #: Of its gateway.
    address: str
    stages: tuple[Stage, ...]
    #: The table that has a row of a message as soon as SQL can see it.
    messages: str
    #: Its processes by what they are.
    pids: Mapping[str, int]

    async def behind(self) -> dict[str, int]:
        """By stage: how many records it has yet to take."""
        return {stage.name: await lag(self.kafka, stage.group, stage.topics) for stage in self.stages}


@contextmanager
def _engines(folder: Path) -> Iterator[tuple[engines.Engine, engines.Engine, str]]:
    with engines.kafka(folder) as broker, engines.clickhouse(folder) as clickhouse:
        url = f"{clickhouse.address}/benchmark"
        migrate(SecretStr(url))
        yield broker, clickhouse, url


@asynccontextmanager
async def ours(folder: Path, tuned: Mapping[str, str]) -> AsyncIterator[Stack]:
    """The project's own, as its settings are by default but for those that are `tuned`."""
    with _engines(folder) as (broker, clickhouse, url), ExitStack() as processes:
        await make_topics(broker.address, PARTITIONS)

        def start(name: str, **settings: str) -> Process:
            environment = {
                "POSTBACKS_KAFKA": broker.address,
                "POSTBACKS_CLICKHOUSE": url,
                "POSTBACKS_PARTITIONS": str(PARTITIONS),
                "POSTBACKS_OPS": "127.0.0.1:0",
                "POSTBACKS_DATA": str(folder / name),
                "POSTBACKS_LOG_LEVEL": "warning",
                **tuned,
                **settings,
            }
            return processes.enter_context(running(name, environment=environment))

        tokens = ",".join(f"{account}={token}" for token, account in ACCOUNTS.items())
        streams, sinks = start("streams"), start("sinks")
        gateway = start("gateway", POSTBACKS_TOKENS=tokens, POSTBACKS_LISTEN="127.0.0.1:0")
        yield Stack(
            broker.address,
            url,
            gateway.line(),
            (
                Stage("streams", "streams", POSTBACK_TOPICS),
                Stage("sinks, postbacks", "sinks", POSTBACK_TOPICS),
                Stage("sinks, messages", "sinks", (MESSAGES,)),
            ),
            "message_states",
            _pids(broker, clickhouse, gateway, streams, sinks),
        )


@asynccontextmanager
async def naive(folder: Path) -> AsyncIterator[Stack]:
    """FastAPI, a table of stock Faust, and a sink of decoded rows, each as its documentation has it."""
    with _engines(folder) as (broker, clickhouse, url), ExitStack() as processes:
        await make_topics(broker.address, PARTITIONS)
        environment = {
            "KAFKA": broker.address,
            "GROUP": "faust",
            "PARTITIONS": str(PARTITIONS),
            "STORE": "rocksdb://",
            "FOLDER": str(folder / "faust"),
        }
        faust = processes.enter_context(
            running(
                *("benchmarks.baselines.faust_table", "worker", "-l", "warn", "--without-web"),
                environment=environment,
            )
        )
        await _topic_there(broker.address, CHANGELOG)
        sink = processes.enter_context(
            running("benchmarks.baselines.naive_sink", broker.address, "naive", url, CHANGELOG)
        )
        gateway = processes.enter_context(running("benchmarks.baselines.fastapi_send", broker.address))
        yield Stack(
            broker.address,
            url,
            gateway.line(),
            (
                Stage("Faust", "faust", POSTBACK_TOPICS),
                Stage("sink, postbacks", "naive", POSTBACK_TOPICS),
                Stage("sink, messages", "naive", (CHANGELOG,)),
            ),
            MESSAGE_TABLE,
            _pids(broker, clickhouse, gateway, faust, sink),
        )


def _pids(
    broker: engines.Engine, clickhouse: engines.Engine, gateway: Process, streams: Process, sinks: Process
) -> Mapping[str, int]:
    return {
        "gateway": gateway.popen.pid,
        "streams": streams.popen.pid,
        "sinks": sinks.popen.pid,
        "Kafka": broker.pid,
        "ClickHouse": clickhouse.pid,
    }


async def _topic_there(kafka: str, topic: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                if topic in await admin.list_topics():
                    return
                await asyncio.sleep(LOOK_SECONDS)
    finally:
        await admin.close()
