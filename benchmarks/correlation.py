"""Correlation: one worker drains topics that were filled before. How fast, and for how much CPU?

All contenders read the same records from the same broker, merge by the same rules and commit every second.
But for the plain loop, which keeps nothing, they commit only what their changelog has (acks=all).
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.baselines.kafka_streams_worker import kafka_streams, missing_tools
from benchmarks.harness.backlog import forget, make_backlog
from benchmarks.harness.drain import follow, steady
from benchmarks.harness.engines import Engine, kafka
from benchmarks.harness.machine import machine, now
from benchmarks.harness.result import Result, ratios, targets
from benchmarks.harness.trials import Candidate, Figures, Plan, alternate
from benchmarks.harness.usage import memory_bytes
from benchmarks.harness.worker import worker
from streams.message import MESSAGES
from tests.support.process import running

TITLE = "Correlation: postbacks become messages, one worker"
EVENTS = 600_000
PARTITIONS = 8
#: Stock Faust would take minutes for all; this is enough to know its rate.
FAUST_SECONDS = 12.0

OURS, MEMORY = "ours, RocksDB", "ours, memory"
LOOP = "plain aiokafka loop (keeps nothing)"
FAUST, FAUST_MEMORY = "stock Faust, RocksDB table", "stock Faust, memory table"
COLD, WARM = "Kafka Streams, cold JVM", "Kafka Streams, warm JVM"
COLD_TWO, WARM_TWO = "Kafka Streams, two threads, cold", "Kafka Streams, two threads, warm"
WARMING = "Kafka Streams, warming up"
RATE, CPU, RAM = "events/s", "CPU s per million", "MiB"


async def measure(plan: Plan) -> Result:
    """Fill the topics once, then let each contender drain them in every round."""
    size = plan.size or EVENTS
    with TemporaryDirectory() as folder, kafka(Path(folder)) as broker:
        about = machine()
        print(f"  filling {size:,} events into {broker.name}", flush=True)
        ends = await make_backlog(broker.address, PARTITIONS, size)
        drain = _Drain(broker, Path(folder), ends)
        trials = await alternate(drain.contenders(), plan)
    missing = missing_tools()
    return Result(
        name="correlation",
        title=TITLE,
        at=now(),
        machine=about,
        conditions=[
            f"{size:,} postbacks of the simulated provider in {PARTITIONS} partitions of each topic",
            broker.name,
        ],
        trials=trials,
        targets=targets(
            {
                (f"{RATE} of stock Faust", 20): ratios(trials, RATE, OURS, FAUST),
                (f"{RATE} of the plain loop", 0.6): ratios(trials, RATE, OURS, LOOP),
                (f"{RATE} of warm Kafka Streams", 1): ratios(trials, RATE, OURS, WARM),
                ("events per CPU second of warm Kafka Streams", 1.5): ratios(trials, CPU, WARM, OURS),
            }
        ),
        remarks=[f"Kafka Streams did not run: {missing}"] if missing else [],
    )


class _Drain:
    def __init__(self, broker: Engine, folder: Path, ends: Mapping[Any, int]) -> None:
        self._kafka = broker.address
        self._folder = folder
        self._ends = ends

    def contenders(self) -> Iterator[Candidate]:
        yield Candidate(OURS, lambda: self._ours(OURS, "rocksdb"))
        yield Candidate(MEMORY, lambda: self._ours(MEMORY, "memory"))
        yield Candidate(LOOP, self._loop)
        yield Candidate(FAUST, lambda: self._faust(FAUST, "rocksdb://"))
        yield Candidate(FAUST_MEMORY, lambda: self._faust(FAUST_MEMORY, "memory://"))
        if not missing_tools():
            yield Candidate("Kafka Streams", lambda: self._kafka_streams(1, COLD, WARM))
            yield Candidate("Kafka Streams, two threads", lambda: self._kafka_streams(2, COLD_TWO, WARM_TWO))

    async def _ours(self, name: str, store: str) -> Mapping[str, Figures]:
        with self._empty_folder() as folder, worker(self._kafka, PARTITIONS, folder, store) as streams:
            figures = await self._follow("streams", streams.pid)
        await forget(self._kafka, ["streams"], [MESSAGES])
        return {name: figures}

    async def _loop(self) -> Mapping[str, Figures]:
        with running("benchmarks.baselines.plain_loop", self._kafka, "loop") as process:
            figures = await self._follow("loop", process.popen.pid)
        await forget(self._kafka, ["loop"], [])
        return {LOOP: figures}

    async def _faust(self, name: str, store: str) -> Mapping[str, Figures]:
        with self._empty_folder() as folder:
            environment = {
                "KAFKA": self._kafka,
                "GROUP": "faust",
                "PARTITIONS": str(PARTITIONS),
                "STORE": store,
                "FOLDER": str(folder),
            }
            arguments = ("benchmarks.baselines.faust_table", "worker", "-l", "warn", "--without-web")
            with running(*arguments, environment=environment) as process:
                figures = await self._follow("faust", process.popen.pid, FAUST_SECONDS)
        await forget(self._kafka, ["faust"], ["faust-messages-changelog"])
        return {name: figures}

    async def _kafka_streams(self, threads: int, cold: str, warm: str) -> Mapping[str, Figures]:
        """Three passes; in the second the JVM still compiles much of the time, and nothing is told of it."""
        measured: dict[str, Figures] = {}
        names = {
            contender: f"kafka-streams-{threads}-{number}"
            for number, contender in enumerate((cold, WARMING, warm))
        }
        with self._empty_folder() as folder, kafka_streams(self._kafka, folder, threads) as process:
            for contender, name in names.items():
                process.begin(name)
                measured[contender] = await self._follow(name, process.pid)
        del measured[WARMING]
        await forget(self._kafka, names.values(), [f"{name}-messages-changelog" for name in names.values()])
        return measured

    async def _follow(self, group: str, pid: int, limit: float = float("inf")) -> Figures:
        done = steady(await follow(self._kafka, group, self._ends, [pid], limit))
        return {
            RATE: done.events / done.seconds,
            CPU: done.cpu[0] / done.events * 1e6,
            RAM: memory_bytes(pid) / 2**20,
        }

    @contextmanager
    def _empty_folder(self) -> Iterator[Path]:
        folder = self._folder / "states"
        folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder)
