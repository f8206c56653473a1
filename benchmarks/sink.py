"""The sink: Kafka's records become rows of ClickHouse. How fast, for how much CPU on both sides, how soon?"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager
from datetime import UTC, datetime, timedelta
from itertools import count, islice
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory

from aiohttp import ClientSession
from aiokafka import TopicPartition
from clickhouse_connect import get_client
from clickhouse_connect.driver.exceptions import DatabaseError
from pydantic import SecretStr

from benchmarks.baselines import kafka_engine
from benchmarks.harness import engines
from benchmarks.harness.backlog import end_offsets, fill, forget, make_topics
from benchmarks.harness.drain import follow, steady
from benchmarks.harness.events import Event, events
from benchmarks.harness.insert_latency import seconds_to_be_visible
from benchmarks.harness.machine import machine, now
from benchmarks.harness.result import Result, Target, Trial, ratios, targets, values
from benchmarks.harness.trials import Candidate, Figures, Plan, alternate
from gateway.postback import POSTBACK_TOPICS
from sinks.migrate import migrate
from tests.support.process import Process, running

TITLE = "Sink: Kafka's records become rows of ClickHouse"
ROWS = 1_000_000
PARTITIONS = 8
LATENCY_SECONDS, READY_SECONDS = 15.0, 60.0

OURS, DECODED, ENGINE = "ours", "clickhouse-connect insert of decoded rows", "ClickHouse's Kafka engine"
RATE, CLIENT, SERVER = "rows/s", "sink's CPU s per million", "ClickHouse's CPU s per million"


async def measure(plan: Plan) -> Result:
    """Fill the topics once, and let each contender store all of it; then ours again at half of its rate."""
    size = plan.size or ROWS
    with (
        TemporaryDirectory() as folder,
        engines.kafka(Path(folder)) as broker,
        engines.clickhouse(Path(folder)) as clickhouse,
    ):
        about = machine()
        await make_topics(broker.address, PARTITIONS)
        print(f"  filling {size:,} events into {broker.name}", flush=True)
        await fill(broker.address, PARTITIONS, islice(events(1, _began()), size))
        sinks = _Sinks(broker, clickhouse, await end_offsets(broker.address, POSTBACK_TOPICS))
        missing = sinks.engine_missing()
        trials = await alternate(sinks.contenders(with_engine=not missing), plan)
        soon = await sinks.visible(trials, plan)
    return Result(
        name="sink",
        title=TITLE,
        at=now(),
        machine=about,
        conditions=[
            f"{size:,} postbacks of the simulated provider in {PARTITIONS} partitions of each topic",
            f"{broker.name}; {clickhouse.name}",
        ],
        trials=[*trials, *soon],
        targets=[
            *targets(
                {
                    (f"{RATE} of the decoded insert", 1.5): ratios(trials, RATE, OURS, DECODED),
                    (f"{RATE} of the Kafka engine", 4): ratios(trials, RATE, OURS, ENGINE),
                }
            ),
            Target(
                "p99 from append to visible at half load, s",
                "at most",
                1.5,
                [trial.figures["p99 s"] for trial in soon],
            ),
        ],
        remarks=[f"ClickHouse's Kafka engine did not run: {missing}"] if missing else [],
    )


def _began() -> datetime:
    return datetime.now(UTC) - timedelta(hours=1)


async def _ready(ops: str) -> None:
    """Return when the process whose operator's port that is says that nothing is missing."""
    async with asyncio.timeout(READY_SECONDS), ClientSession() as session:
        while True:
            async with session.get(f"http://{ops}/readyz") as answer:
                if answer.status == 200:
                    return
            await asyncio.sleep(0.1)


class _Sinks:
    def __init__(
        self, broker: engines.Engine, clickhouse: engines.Engine, ends: Mapping[TopicPartition, int]
    ) -> None:
        self._kafka = broker.address
        self._clickhouse = clickhouse
        self._ends = ends
        self._databases = (f"benchmark_{number}" for number in count())

    def contenders(self, *, with_engine: bool) -> Iterator[Candidate]:
        yield Candidate(OURS, self._ours)
        yield Candidate(DECODED, self._decoded)
        if with_engine:
            yield Candidate(ENGINE, self._engine)

    def engine_missing(self) -> str:
        """Why ClickHouse cannot read from Kafka by itself here, or an empty string when it can."""
        with self._database() as url, closing(get_client(dsn=url)) as client:
            try:
                kafka_engine.create(client, self._kafka, "asked")
            except DatabaseError as error:
                return str(error).partition("server response: ")[2].partition(" (for url")[0]
        return ""

    async def _ours(self) -> Mapping[str, Figures]:
        with self._database() as url, self._sink(url) as sink:
            figures = await self._follow("sinks", sink.popen.pid)
        await forget(self._kafka, ["sinks"], [])
        return {OURS: figures}

    async def _decoded(self) -> Mapping[str, Figures]:
        with (
            self._database() as url,
            running("benchmarks.baselines.decoded_insert", self._kafka, "decoded", url) as process,
        ):
            figures = await self._follow("decoded", process.popen.pid)
        await forget(self._kafka, ["decoded"], [])
        return {DECODED: figures}

    async def _engine(self) -> Mapping[str, Figures]:
        with self._database() as url:
            with closing(get_client(dsn=url)) as client:
                kafka_engine.create(client, self._kafka, "engine")
            figures = await self._follow("engine")
        await forget(self._kafka, ["engine"], [])
        return {ENGINE: figures}

    async def visible(self, trials: list[Trial], plan: Plan) -> list[Trial]:
        """How soon rows are there at half of our rate, once a round."""
        measured = list(values(trials, OURS, RATE).values())
        if not measured:
            return []
        rate = median(measured) / 2
        due = list(islice(events(2, _began()), int(rate * LATENCY_SECONDS)))
        return [await self._visible(number, due, rate) for number in range(1, plan.rounds + 1)]

    async def _visible(self, number: int, due: list[Event], rate: float) -> Trial:
        await forget(self._kafka, [], POSTBACK_TOPICS)
        await make_topics(self._kafka, PARTITIONS)
        with self._database() as url, self._sink(url) as sink:
            await _ready(sink.line())
            waits = await seconds_to_be_visible(self._kafka, url, PARTITIONS, due, rate)
        await forget(self._kafka, ["sinks"], [])
        cuts = quantiles(waits, n=100)
        figures = {"at rows/s": rate, "p50 s": cuts[49], "p99 s": cuts[98]}
        print(f"  round {number}: from append to visible: {figures}", flush=True)
        return Trial("ours, at half load", number, figures)

    async def _follow(self, group: str, *pids: int) -> Figures:
        done = steady(await follow(self._kafka, group, self._ends, [self._clickhouse.pid, *pids]))
        server, *clients = (seconds / done.events * 1e6 for seconds in done.cpu)
        return {RATE: done.events / done.seconds, CLIENT: sum(clients), SERVER: server}

    def _sink(self, url: str) -> AbstractContextManager[Process]:
        environment = {
            "POSTBACKS_KAFKA": self._kafka,
            "POSTBACKS_CLICKHOUSE": url,
            "POSTBACKS_OPS": "127.0.0.1:0",
            "POSTBACKS_LOG_LEVEL": "warning",
        }
        return running("sinks", environment=environment)

    @contextmanager
    def _database(self) -> Iterator[str]:
        """A database with our schema, and its URL; it goes with the block."""
        name = next(self._databases)
        url = f"{self._clickhouse.address}/{name}"
        migrate(SecretStr(url))
        try:
            yield url
        finally:
            with closing(get_client(dsn=self._clickhouse.address)) as client:
                client.command(f"DROP DATABASE {name} SYNC")
