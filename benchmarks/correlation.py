"""Correlation: events per second and CPU of one worker that drains topics filled before.

All candidates read the same records from the same broker, merge by the same rules and commit every second.
Except for the plain loop, which stores nothing, they commit only what their changelog has (acks=all).
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from aiokafka import TopicPartition

from benchmarks.baselines.kafka_streams_worker import missing_tools, open_kafka_streams
from benchmarks.harness.backlog import produce_backlog, reset
from benchmarks.harness.drain import measure_drain
from benchmarks.harness.engines import EngineProcess, open_kafka
from benchmarks.harness.machine import describe_machine
from benchmarks.harness.result import Result, minimum_targets, ratios
from benchmarks.harness.trials import BenchmarkOptions, Candidate, Figures, alternate
from benchmarks.harness.usage import memory_bytes
from benchmarks.harness.worker import open_worker, start_faust
from streams.message import MESSAGES
from tests.support.process import running

TITLE = "Correlation: from postbacks to messages, one worker"
EVENTS = 600_000
PARTITIONS = 8
#: Enough to know the rate of stock Faust, which would need minutes for all events.
FAUST_SECONDS = 12.0

OURS, MEMORY = "ours, RocksDB", "ours, memory"
LOOP = "plain aiokafka loop (stores nothing)"
FAUST, FAUST_MEMORY = "stock Faust, RocksDB table", "stock Faust, memory table"
COLD, WARM = "Kafka Streams, cold JVM", "Kafka Streams, warm JVM"
COLD_TWO, WARM_TWO = "Kafka Streams, two threads, cold", "Kafka Streams, two threads, warm"
WARM_UP = "Kafka Streams, warm-up"
RATE, CPU, RAM = "events/s", "CPU s per million", "MiB"


async def measure(options: BenchmarkOptions) -> Result:
    """Fill the topics once with `options.size` events; every candidate drains them in every round."""
    size = options.size or EVENTS
    with TemporaryDirectory() as folder, open_kafka(Path(folder)) as broker:
        machine = describe_machine()
        print(f"  producing {size:,} events to {broker.name}", flush=True)
        ends = await produce_backlog(broker.address, PARTITIONS, size)
        drain = _Drain(broker, Path(folder), ends)
        trials = await alternate(drain.candidates(), options)
    missing = missing_tools()
    return Result(
        name="correlation",
        machine=machine,
        conditions=[
            f"{size:,} postbacks of the simulated provider, {PARTITIONS} partitions per topic",
            broker.name,
        ],
        trials=trials,
        targets=minimum_targets(
            {
                (f"{RATE}, ratio to stock Faust", 20): ratios(trials, RATE, OURS, FAUST),
                (f"{RATE}, ratio to the plain loop", 0.6): ratios(trials, RATE, OURS, LOOP),
                (f"{RATE}, ratio to warm Kafka Streams", 1): ratios(trials, RATE, OURS, WARM),
                ("events per CPU second, ratio to warm Kafka Streams", 1.5): ratios(trials, CPU, WARM, OURS),
            }
        ),
        remarks=[f"Kafka Streams did not run: {missing}"] if missing else [],
    )


async def measure_process(
    kafka: str, group: str, ends: Mapping[TopicPartition, int], pid: int, limit: float = float("inf")
) -> Figures:
    """Return the figures of the process while it drains the topics up to `ends`; see `measure_drain`."""
    drained = await measure_drain(kafka, group, ends, [pid], limit)
    (cpu,) = drained.cpu_per_million
    return {RATE: drained.rate, CPU: cpu, RAM: memory_bytes(pid) / 2**20}


class _Drain:
    """Runs each candidate on the same topics, and resets what it leaves in Kafka."""

    def __init__(self, broker: EngineProcess, folder: Path, ends: Mapping[TopicPartition, int]) -> None:
        self._kafka = broker.address
        self._folder = folder
        self._ends = ends

    def candidates(self) -> Iterator[Candidate]:
        yield Candidate(OURS, lambda: self._ours(OURS, "rocksdb"))
        yield Candidate(MEMORY, lambda: self._ours(MEMORY, "memory"))
        yield Candidate(LOOP, self._loop)
        yield Candidate(FAUST, lambda: self._faust(FAUST, "rocksdb://"))
        yield Candidate(FAUST_MEMORY, lambda: self._faust(FAUST_MEMORY, "memory://"))
        if not missing_tools():
            yield Candidate("Kafka Streams", lambda: self._kafka_streams(1, COLD, WARM))
            yield Candidate("Kafka Streams, two threads", lambda: self._kafka_streams(2, COLD_TWO, WARM_TWO))

    async def _ours(self, name: str, store: str) -> Mapping[str, Figures]:
        with self._empty_folder() as folder, open_worker(self._kafka, PARTITIONS, folder, store) as worker:
            figures = await self._measure("streams", worker.process.pid)
        await reset(self._kafka, ["streams"], [MESSAGES])
        return {name: figures}

    async def _loop(self) -> Mapping[str, Figures]:
        with running("benchmarks.baselines.plain_loop", self._kafka, "loop") as process:
            figures = await self._measure("loop", process.pid)
        await reset(self._kafka, ["loop"], [])
        return {LOOP: figures}

    async def _faust(self, name: str, store: str) -> Mapping[str, Figures]:
        with (
            self._empty_folder() as folder,
            start_faust(self._kafka, PARTITIONS, folder, store) as process,
        ):
            figures = await self._measure("faust", process.pid, FAUST_SECONDS)
        await reset(self._kafka, ["faust"], ["faust-messages-changelog"])
        return {name: figures}

    async def _kafka_streams(self, threads: int, cold: str, warm: str) -> Mapping[str, Figures]:
        """Measure three passes; the second is not reported, as the JVM still compiles for much of it."""
        measured: dict[str, Figures] = {}
        names = {
            candidate: f"kafka-streams-{threads}-{number}"
            for number, candidate in enumerate((cold, WARM_UP, warm))
        }
        with self._empty_folder() as folder, open_kafka_streams(self._kafka, folder, threads) as process:
            for candidate, name in names.items():
                process.start(name)
                measured[candidate] = await self._measure(name, process.pid)
        del measured[WARM_UP]
        await reset(self._kafka, names.values(), [f"{name}-messages-changelog" for name in names.values()])
        return measured

    async def _measure(self, group: str, pid: int, limit: float = float("inf")) -> Figures:
        return await measure_process(self._kafka, group, self._ends, pid, limit)

    @contextmanager
    def _empty_folder(self) -> Iterator[Path]:
        folder = self._folder / "states"
        folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder)
