"""A whole pipeline on one machine: ours, and the naive stack that one would build from the same parts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import NamedTuple

from pydantic import SecretStr

from benchmarks.baselines.naive_postback import TOKENS
from benchmarks.baselines.naive_sink import MESSAGE_TABLE
from benchmarks.harness.engines import EngineProcess, open_clickhouse, open_kafka
from benchmarks.harness.worker import start_faust
from gateway.postback import POSTBACK_TOPICS
from sinks.migrate import migrate
from streams.message import MESSAGES
from tests.support.kafka import create_topics, open_admin
from tests.support.process import Process, running
from tests.support.wait import eventually
from tests.support.workload import lag

PARTITIONS = 8
CHANGELOG = "faust-messages-changelog"


class PipelineStage(NamedTuple):
    """A consumer group, and those of its topics that get about one record per postback."""

    name: str
    group: str
    topics: tuple[str, ...]


class RunningStack(NamedTuple):
    """A running pipeline."""

    kafka: str
    #: URL of its ClickHouse, with the database.
    url: str
    #: Address of its gateway.
    address: str
    stages: tuple[PipelineStage, ...]
    #: The table that has a row of a message as soon as queries can see the message.
    messages: str
    #: Its processes by name.
    pids: Mapping[str, int]

    async def lags(self) -> dict[str, int]:
        """Return the number of uncommitted records by stage."""
        return {stage.name: await lag(self.kafka, stage.group, stage.topics) for stage in self.stages}


@contextmanager
def _engines(folder: Path) -> Iterator[tuple[EngineProcess, EngineProcess, str]]:
    with open_kafka(folder) as broker, open_clickhouse(folder) as clickhouse:
        url = f"{clickhouse.address}/benchmark"
        migrate(SecretStr(url))
        yield broker, clickhouse, url


@asynccontextmanager
async def open_ours(folder: Path, tuning: Mapping[str, str]) -> AsyncIterator[RunningStack]:
    """Run this project's processes, with default settings except those in `tuning`."""
    with _engines(folder) as (broker, clickhouse, url), ExitStack() as processes:
        await create_topics(broker.address, PARTITIONS)

        def start(name: str, **settings: object) -> Process:
            shared = {
                "kafka": broker.address,
                "clickhouse": url,
                "partitions": PARTITIONS,
                "ops": "127.0.0.1:0",
                "data": folder / name,
                "log_level": "warning",
            }
            return processes.enter_context(running(name, **shared, **tuning, **settings))

        streams, sinks = start("streams"), start("sinks")
        gateway = start("gateway", tokens=TOKENS, listen="127.0.0.1:0")
        yield RunningStack(
            broker.address,
            url,
            gateway.read_line(),
            (
                PipelineStage("streams", "streams", POSTBACK_TOPICS),
                PipelineStage("sinks, postbacks", "sinks", POSTBACK_TOPICS),
                PipelineStage("sinks, messages", "sinks", (MESSAGES,)),
            ),
            "message_states",
            _pids(broker, clickhouse, gateway, streams, sinks),
        )


@asynccontextmanager
async def open_naive(folder: Path) -> AsyncIterator[RunningStack]:
    """Run FastAPI, a table of stock Faust, and a sink of decoded rows, each written as documented."""
    with _engines(folder) as (broker, clickhouse, url), ExitStack() as processes:
        await create_topics(broker.address, PARTITIONS)
        faust = processes.enter_context(start_faust(broker.address, PARTITIONS, folder / "faust"))
        async with open_admin(broker.address) as admin:
            await eventually(admin.list_topics, f"{CHANGELOG} exists", lambda topics: CHANGELOG in topics)
        sink = processes.enter_context(
            running("benchmarks.baselines.naive_sink", broker.address, "naive", url, CHANGELOG)
        )
        gateway = processes.enter_context(running("benchmarks.baselines.fastapi_send", broker.address))
        yield RunningStack(
            broker.address,
            url,
            gateway.read_line(),
            (
                PipelineStage("Faust", "faust", POSTBACK_TOPICS),
                PipelineStage("sink, postbacks", "naive", POSTBACK_TOPICS),
                PipelineStage("sink, messages", "naive", (CHANGELOG,)),
            ),
            MESSAGE_TABLE,
            _pids(broker, clickhouse, gateway, faust, sink),
        )


def _pids(
    broker: EngineProcess, clickhouse: EngineProcess, gateway: Process, streams: Process, sinks: Process
) -> Mapping[str, int]:
    return {
        "gateway": gateway.pid,
        "streams": streams.pid,
        "sinks": sinks.pid,
        "Kafka": broker.pid,
        "ClickHouse": clickhouse.pid,
    }
