"""Sink: rows per second, latency, and CPU on both sides, from records in Kafka to rows in ClickHouse."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from itertools import count, islice
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory

from aiokafka import TopicPartition
from clickhouse_connect import get_client
from clickhouse_connect.driver.exceptions import DatabaseError
from pydantic import SecretStr

from benchmarks.baselines import kafka_engine
from benchmarks.harness.backlog import produce_backlog, reset
from benchmarks.harness.drain import measure_drain
from benchmarks.harness.engines import EngineProcess, open_clickhouse, open_kafka
from benchmarks.harness.events import Event, generate_events
from benchmarks.harness.insert_latency import insert_latencies
from benchmarks.harness.machine import describe_machine
from benchmarks.harness.result import Result, Target, Trial, figures_by_round, minimum_targets, ratios
from benchmarks.harness.trials import BenchmarkOptions, Candidate, Figures, alternate
from gateway.postback import POSTBACK_TOPICS
from sinks.migrate import migrate
from sinks.tables import TABLES
from tests.support.kafka import create_topics
from tests.support.process import Process, running
from tests.support.stage import RunningStage

TITLE = "Sink: from records in Kafka to rows in ClickHouse"
ROWS = 1_000_000
PARTITIONS = 8
LATENCY_SECONDS = 15.0

OURS, UNSYNCED = "ours", "ours without fsync"
DECODED, ENGINE = "clickhouse-connect insert of decoded rows", "ClickHouse's Kafka engine"
#: What the schema sets, so that a row is on the disk before its insert is acknowledged.
FSYNC = ("fsync_after_insert", "fsync_part_directory", "min_rows_to_fsync_after_merge")
RATE, CLIENT, SERVER = "rows/s", "sink CPU s per million", "ClickHouse CPU s per million"


async def measure(options: BenchmarkOptions) -> Result:
    """Fill the topics once with `options.size` events; every candidate stores all of them in every round.

    Then measure the latency of ours at half of its rate.
    """
    size = options.size or ROWS
    with (
        TemporaryDirectory() as folder,
        open_kafka(Path(folder)) as broker,
        open_clickhouse(Path(folder)) as clickhouse,
    ):
        machine = describe_machine()
        print(f"  producing {size:,} events to {broker.name}", flush=True)
        sinks = _Sinks(broker, clickhouse, await produce_backlog(broker.address, PARTITIONS, size))
        missing = sinks.engine_unavailable_reason()
        trials = await alternate(sinks.candidates(with_engine=not missing), options)
        half = await sinks.at_half_load(trials, options)
    return Result(
        name="sink",
        machine=machine,
        conditions=[
            f"{size:,} postbacks of the simulated provider, {PARTITIONS} partitions per topic",
            f"{broker.name}; {clickhouse.name}",
        ],
        trials=[*trials, *half],
        targets=[
            *minimum_targets(
                {
                    (f"{RATE}, ratio to the decoded insert", 1.5): ratios(trials, RATE, OURS, DECODED),
                    (f"{RATE}, ratio to ours without fsync", 0.8): ratios(trials, RATE, OURS, UNSYNCED),
                    (f"{RATE}, ratio to the Kafka engine", 4): ratios(trials, RATE, OURS, ENGINE),
                }
            ),
            Target(
                "p99 from append to visible at half load, s",
                "at most",
                1.5,
                [trial.figures["p99 s"] for trial in half],
            ),
        ],
        remarks=[f"ClickHouse's Kafka engine did not run: {missing}"] if missing else [],
    )


class _Sinks:
    """Runs each candidate on the same topics, into a database of its own."""

    def __init__(
        self, broker: EngineProcess, clickhouse: EngineProcess, ends: Mapping[TopicPartition, int]
    ) -> None:
        self._kafka = broker.address
        self._clickhouse = clickhouse
        self._ends = ends
        self._databases = (f"benchmark_{number}" for number in count())

    def candidates(self, *, with_engine: bool) -> Iterator[Candidate]:
        yield Candidate(OURS, self._ours)
        yield Candidate(UNSYNCED, self._unsynced)
        yield Candidate(DECODED, self._decoded)
        if with_engine:
            yield Candidate(ENGINE, self._engine)

    def engine_unavailable_reason(self) -> str:
        """Return why ClickHouse cannot read from Kafka itself; empty if it can."""
        with self._database() as url, closing(get_client(dsn=url)) as client:
            try:
                kafka_engine.create(client, self._kafka, "probe")
            except DatabaseError as error:
                return str(error).partition("server response: ")[2].partition(" (for url")[0]
        return ""

    async def _ours(self) -> Mapping[str, Figures]:
        with self._database() as url, self._sink(url) as sink:
            figures = await self._measure("sinks", sink.pid)
        await reset(self._kafka, ["sinks"], [])
        return {OURS: figures}

    async def _unsynced(self) -> Mapping[str, Figures]:
        with self._database() as url:
            with closing(get_client(dsn=url)) as client:
                for table in TABLES:
                    off = ", ".join(f"{name} = 0" for name in FSYNC)
                    client.command(f"ALTER TABLE {table.name} MODIFY SETTING {off}")
            with self._sink(url) as sink:
                figures = await self._measure("sinks", sink.pid)
        await reset(self._kafka, ["sinks"], [])
        return {UNSYNCED: figures}

    async def _decoded(self) -> Mapping[str, Figures]:
        with (
            self._database() as url,
            running("benchmarks.baselines.decoded_insert", self._kafka, "decoded", url) as process,
        ):
            figures = await self._measure("decoded", process.pid)
        await reset(self._kafka, ["decoded"], [])
        return {DECODED: figures}

    async def _engine(self) -> Mapping[str, Figures]:
        with self._database() as url:
            with closing(get_client(dsn=url)) as client:
                kafka_engine.create(client, self._kafka, "engine")
            figures = await self._measure("engine")
        await reset(self._kafka, ["engine"], [])
        return {ENGINE: figures}

    async def at_half_load(self, trials: list[Trial], options: BenchmarkOptions) -> list[Trial]:
        """Measure the latency of ours at half of its rate, once per round."""
        measured = list(figures_by_round(trials, OURS, RATE).values())
        if not measured:
            return []
        rate = median(measured) / 2
        source = generate_events(2, datetime.now(UTC) - timedelta(hours=1))
        events = list(islice(source, int(rate * LATENCY_SECONDS)))
        return [await self._latency(number, events, rate) for number in range(1, options.rounds + 1)]

    async def _latency(self, number: int, events: list[Event], rate: float) -> Trial:
        await reset(self._kafka, [], POSTBACK_TOPICS)
        await create_topics(self._kafka, PARTITIONS)
        with self._database() as url, self._sink(url) as sink:
            await RunningStage(sink, sink.read_line()).wait_ready()
            latencies = await insert_latencies(self._kafka, url, PARTITIONS, events, rate)
        await reset(self._kafka, ["sinks"], [])
        cuts = quantiles(latencies, n=100)
        figures = {"at rows/s": rate, "p50 s": cuts[49], "p99 s": cuts[98]}
        print(f"  round {number}: from append to visible: {figures}", flush=True)
        return Trial("ours, at half load", number, figures)

    async def _measure(self, group: str, *pids: int) -> Figures:
        drained = await measure_drain(self._kafka, group, self._ends, [self._clickhouse.pid, *pids])
        server, *clients = drained.cpu_per_million
        return {RATE: drained.rate, CLIENT: sum(clients), SERVER: server}

    def _sink(self, url: str) -> Process:
        settings = {"ops": "127.0.0.1:0", "log_level": "warning"}
        return running("sinks", kafka=self._kafka, clickhouse=url, **settings)

    @contextmanager
    def _database(self) -> Iterator[str]:
        """Create a database with our schema for the block, and return its URL."""
        name = next(self._databases)
        url = f"{self._clickhouse.address}/{name}"
        migrate(SecretStr(url))
        try:
            yield url
        finally:
            with closing(get_client(dsn=self._clickhouse.address)) as client:
                client.command(f"DROP DATABASE {name} SYNC")
