"""Flush: the cost of the embedded Kafka's fsync before it acknowledges a record.

Two nodes, one with that setting and one without, and a gateway in front of each.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.baselines.naive_postback import TOKENS
from benchmarks.harness.engines import open_kafka
from benchmarks.harness.load import CONNECTIONS
from benchmarks.harness.machine import describe_machine
from benchmarks.harness.payloads import generate_bodies, write_bodies
from benchmarks.harness.posting import post_all_acknowledged
from benchmarks.harness.result import Result, Target, figures_by_round
from benchmarks.harness.trials import BenchmarkOptions, Candidate, Figures, alternate
from benchmarks.harness.usage import cpu_seconds
from embedded.kafka.server import FLUSH
from tests.support.gateway import open_gateway
from tests.support.kafka import create_topics

TITLE = "Flush: fsync before each acknowledgement"
RATES = (200, 2_000)
SECONDS, WARM_UP_SECONDS = 20, 5
PARTITIONS = 8

FLUSHED, CACHED = "flushed", "page cache only"
P50, P99, P999, BROKER = "p50 ms", "p99 ms", "p99.9 ms", "Kafka CPU s per million"
#: Maximum p99 in milliseconds of a POST at the lower rate, for the setting to be the default.
TARGET_P99 = 50


async def measure(options: BenchmarkOptions) -> Result:
    """Post to both nodes at each rate, for `options.size` seconds per run."""
    seconds = options.size or SECONDS
    with TemporaryDirectory() as folder, ExitStack() as processes:
        machine = describe_machine()
        file = Path(folder) / "bodies"
        bodies = islice(generate_bodies(1), max(RATES) * max(seconds, WARM_UP_SECONDS))
        write_bodies(file, list(bodies))
        candidates = [
            candidate
            for name, properties in ((FLUSHED, FLUSH), (CACHED, {}))
            for candidate in await _start(name, properties, Path(folder) / name, file, seconds, processes)
        ]
        trials = await alternate(candidates, options)
    p99 = list(figures_by_round(trials, _at(FLUSHED, min(RATES)), P99).values())
    return Result(
        name="flush",
        machine=machine,
        conditions=[
            f"runs of {seconds:g} s, requests of the simulated provider at a fixed rate",
            f"{CONNECTIONS} keep-alive connections",
            f"a gateway of one process in front of each node, {PARTITIONS} partitions per topic",
        ],
        trials=trials,
        targets=[Target(f"p99 at {min(RATES)}/s, flushed, ms", "at most", TARGET_P99, p99)] if p99 else [],
    )


async def _start(
    name: str, properties: Mapping[str, str], folder: Path, file: Path, seconds: float, processes: ExitStack
) -> Iterator[Candidate]:
    """Start a node and a gateway, and warm them up; return a candidate per rate."""
    broker = processes.enter_context(open_kafka(folder, properties))
    await create_topics(broker.address, PARTITIONS)
    settings = {"partitions": PARTITIONS, "tokens": TOKENS}
    gateway = processes.enter_context(open_gateway(broker.address, **settings)).address
    await post_all_acknowledged(gateway, file, WARM_UP_SECONDS, max(RATES))

    async def post(candidate: str, rate: int) -> Mapping[str, Figures]:
        before = cpu_seconds(broker.pid)
        load = await post_all_acknowledged(gateway, file, seconds, rate)
        cpu = cpu_seconds(broker.pid) - before
        figures = {P50: load.p50, P99: load.p99, P999: load.p999, BROKER: cpu / load.responses * 1e6}
        return {candidate: figures}

    return (Candidate(_at(name, rate), partial(post, _at(name, rate), rate)) for rate in RATES)


def _at(name: str, rate: int) -> str:
    return f"{name}, {rate:,}/s"
