"""Gateway: requests per second, latency and CPU from an HTTP request to a replicated record.

All candidates take the same requests, produce the same JSON under the same key, and respond with 200 once
Kafka has acknowledged it (acks=all), except the ceiling, which stores nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import NamedTuple

from benchmarks.baselines.naive_postback import TOKENS
from benchmarks.harness.engines import EngineProcess, open_kafka
from benchmarks.harness.load import CONNECTIONS, Load
from benchmarks.harness.machine import describe_machine
from benchmarks.harness.payloads import generate_bodies, write_bodies
from benchmarks.harness.posting import post_all_acknowledged
from benchmarks.harness.result import Result, Target, Trial, figures_by_round, minimum_targets, ratios
from benchmarks.harness.trials import BenchmarkOptions, Candidate, Figures, alternate
from benchmarks.harness.usage import cpu_seconds
from tests.support.gateway import open_gateway
from tests.support.kafka import create_topics
from tests.support.process import running

TITLE = "Gateway: from HTTP requests to records in Kafka"
REQUESTS = 40_000
PARTITIONS = 8
#: Short rounds, this many per requested one, as the machine's speed changes from second to second.
ROUNDS_FACTOR, WARM_UP_SECONDS, SECONDS = 3, 4.0, 2.5

OURS, TWO, PLAIN = "ours", "ours, two processes", "ours without CloudEvents headers"
CEILING, FASTAPI, AIOHTTP = "ceiling (stores nothing)", "FastAPI, send_and_wait", "aiohttp, send_and_wait"
OURS_HALF, CEILING_HALF = "ours, at half load", "ceiling, at half load"
RATE, CPU, BROKER, LOAD = (
    "requests/s",
    "CPU s per million",
    "Kafka CPU s per million",
    "load generator CPU s per million",
)
P50, P99, P999 = "p50 ms", "p99 ms", "p99.9 ms"


async def measure(options: BenchmarkOptions) -> Result:
    """Measure all candidates in a closed loop, then ours and the ceiling at half of our rate.

    `options.size` is the maximum number of requests of a run.
    """
    size = options.size or REQUESTS
    short = replace(options, rounds=options.rounds * ROUNDS_FACTOR)
    with TemporaryDirectory() as folder, ExitStack() as processes:
        broker = processes.enter_context(open_kafka(Path(folder)))
        machine = describe_machine()
        await create_topics(broker.address, PARTITIONS)
        file = Path(folder) / "bodies"
        print(f"  generating {size:,} requests", flush=True)
        write_bodies(file, list(islice(generate_bodies(1), size)))
        gateways = _Gateways(broker, file, processes)
        await gateways.warm_up()
        trials = await alternate(gateways.at_full_load(), short)
        half = await alternate(gateways.at_half_load(trials), replace(short, only=frozenset()))
    return Result(
        name="gateway",
        machine=machine,
        conditions=[
            f"{short.rounds} rounds of {SECONDS:g} s, with requests of the simulated provider",
            f"{CONNECTIONS} keep-alive connections; one process per candidate unless stated otherwise",
            f"{broker.name}, {PARTITIONS} partitions per topic",
        ],
        trials=[*trials, *half],
        targets=[
            *minimum_targets(
                {
                    (f"{RATE}, ratio to the ceiling", 0.85): ratios(trials, RATE, OURS, CEILING),
                    (f"{RATE}, ratio to FastAPI", 3): ratios(trials, RATE, OURS, FASTAPI),
                    (f"{RATE}, ratio to ours without CloudEvents", 0.95): ratios(trials, RATE, OURS, PLAIN),
                    ("requests per CPU second, ratio to ours without CloudEvents", 0.95): ratios(
                        trials, CPU, PLAIN, OURS
                    ),
                }
            ),
            *_added_latency(half),
        ],
    )


def _added_latency(half: list[Trial]) -> list[Target]:
    ours, ceiling = figures_by_round(half, OURS_HALF, P99), figures_by_round(half, CEILING_HALF, P99)
    added = [ours[number] - ceiling[number] for number in sorted(ours.keys() & ceiling.keys())]
    return [Target("p99 at half load, ms above the ceiling", "at most", 5, added)] if added else []


class _Gateways:
    """All candidates, running at the same time, so that short runs can alternate between them."""

    def __init__(self, broker: EngineProcess, bodies: Path, processes: ExitStack) -> None:
        self._broker = broker
        self._bodies = bodies
        self._processes = processes
        self._started = {
            OURS: self._start_ours(),
            TWO: self._start_ours(processes=2),
            PLAIN: self._start_ours(cloudevents=False),
            CEILING: self._start("benchmarks.baselines.ceiling"),
            FASTAPI: self._start("benchmarks.baselines.fastapi_send", broker.address),
            AIOHTTP: self._start("benchmarks.baselines.aiohttp_send", broker.address),
        }

    async def warm_up(self) -> None:
        """Make each gateway connect to Kafka, and Kafka compile its hot code."""
        for process in self._started.values():
            await post_all_acknowledged(process.address, self._bodies, WARM_UP_SECONDS, None)

    def at_full_load(self) -> Iterator[Candidate]:
        """Return all candidates, in a closed loop."""
        for name in self._started:
            yield Candidate(name, partial(self._run, name, name, None))

    def at_half_load(self, trials: list[Trial]) -> Iterator[Candidate]:
        """Return ours and the ceiling, both at half of our rate."""
        if measured := figures_by_round(trials, OURS, RATE).values():
            rate = median(measured) / 2
            yield Candidate(OURS_HALF, partial(self._run, OURS_HALF, OURS, rate))
            yield Candidate(CEILING_HALF, partial(self._run, CEILING_HALF, CEILING, rate))

    def _start_ours(self, **settings: object) -> _Started:
        ours = open_gateway(self._broker.address, partitions=PARTITIONS, tokens=TOKENS, **settings)
        gateway = self._processes.enter_context(ours)
        return _Started(gateway.address, gateway.process.pid)

    def _start(self, module: str, *arguments: str) -> _Started:
        process = self._processes.enter_context(running(module, *arguments))
        return _Started(process.read_line(), process.pid)

    async def _run(self, name: str, gateway: str, rate: float | None) -> Mapping[str, Figures]:
        process = self._started[gateway]
        cpu, broker_cpu = cpu_seconds(process.pid), cpu_seconds(self._broker.pid)
        load = await post_all_acknowledged(process.address, self._bodies, SECONDS, rate)
        cpu, broker_cpu = cpu_seconds(process.pid) - cpu, cpu_seconds(self._broker.pid) - broker_cpu
        return {name: _figures(load, cpu, broker_cpu)}


class _Started(NamedTuple):
    address: str
    pid: int


def _figures(load: Load, cpu: float, broker_cpu: float) -> Figures:
    millions = load.responses / 1e6
    return {
        RATE: load.rate,
        P50: load.p50,
        P99: load.p99,
        P999: load.p999,
        CPU: cpu / millions,
        BROKER: broker_cpu / millions,
        LOAD: load.cpu_seconds / millions,
    }
