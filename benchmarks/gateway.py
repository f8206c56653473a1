"""The gateway: HTTP becomes records that every in-sync replica has. How fast, how soon, for how much CPU?

All contenders take the same requests, make the same JSON of them under the same key, and answer 200 once the
brokers have it (acks=all) — but for the ceiling, which keeps nothing.
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

from benchmarks.baselines.naive_postback import ACCOUNTS
from benchmarks.harness import engines
from benchmarks.harness.backlog import make_topics
from benchmarks.harness.load import CONNECTIONS, Load
from benchmarks.harness.machine import machine, now
from benchmarks.harness.payloads import bodies, write_bodies
from benchmarks.harness.posting import post_all_kept
from benchmarks.harness.result import Result, Target, Trial, ratios, targets, values
from benchmarks.harness.trials import Candidate, Figures, Plan, alternate
from benchmarks.harness.usage import cpu_seconds
from tests.support.process import running

TITLE = "Gateway: HTTP becomes records in Kafka"
REQUESTS = 40_000
PARTITIONS = 8
#: Short turns, and many: what the machine does besides changes from second to second.
TURNS, WARM_SECONDS, SECONDS = 3, 4.0, 2.5

OURS, TWO, PLAIN = "ours", "ours, two processes", "ours without CloudEvents headers"
CEILING, FASTAPI, AIOHTTP = "ceiling (keeps nothing)", "FastAPI, send_and_wait", "aiohttp, send_and_wait"
OURS_HALF, CEILING_HALF = "ours, at half load", "ceiling, at half load"
RATE, CPU, BROKER, LOAD = (
    "requests/s",
    "CPU s per million",
    "Kafka's CPU s per million",
    "load's CPU s per million",
)
P50, P99, P999 = "p50 ms", "p99 ms", "p99.9 ms"


async def measure(plan: Plan) -> Result:
    """As many requests as each answers in some seconds; then ours and the ceiling at half of our rate."""
    size = plan.size or REQUESTS
    turns = replace(plan, rounds=plan.rounds * TURNS)
    with TemporaryDirectory() as folder, ExitStack() as processes:
        broker = processes.enter_context(engines.kafka(Path(folder)))
        about = machine()
        await make_topics(broker.address, PARTITIONS)
        file = Path(folder) / "bodies"
        print(f"  making {size:,} requests", flush=True)
        write_bodies(file, list(islice(bodies(1), size)))
        gateways = _Gateways(broker, Path(folder), file, processes)
        await gateways.warm()
        trials = await alternate(gateways.at_peak(), turns)
        half = await alternate(gateways.at_half_load(trials), replace(turns, only=frozenset()))
    return Result(
        name="gateway",
        title=TITLE,
        at=now(),
        machine=about,
        conditions=[
            f"{TURNS} turns a round of {SECONDS:g} s each, with the requests of the simulated provider",
            f"{CONNECTIONS} kept-alive connections, one process each unless said otherwise",
            f"{broker.name}, {PARTITIONS} partitions of each topic",
        ],
        trials=[*trials, *half],
        targets=[
            *targets(
                {
                    (f"{RATE} of the ceiling", 0.85): ratios(trials, RATE, OURS, CEILING),
                    (f"{RATE} of FastAPI", 3): ratios(trials, RATE, OURS, FASTAPI),
                    (f"{RATE} of ours without CloudEvents", 0.95): ratios(trials, RATE, OURS, PLAIN),
                    ("requests per CPU second of ours without CloudEvents", 0.95): ratios(
                        trials, CPU, PLAIN, OURS
                    ),
                }
            ),
            *_later_than_the_ceiling(half),
        ],
    )


def _later_than_the_ceiling(half: list[Trial]) -> list[Target]:
    ours, theirs = values(half, OURS_HALF, P99), values(half, CEILING_HALF, P99)
    later = [ours[number] - theirs[number] for number in sorted(ours.keys() & theirs.keys())]
    return [Target("p99 at half load, ms more than the ceiling", "at most", 5, later)] if later else []


class _Gateways:
    """All contenders, up at once: they take the load in short turns, so that a slow minute meets all."""

    def __init__(self, broker: engines.Engine, folder: Path, bodies: Path, processes: ExitStack) -> None:
        self._broker = broker
        self._bodies = bodies
        self._processes = processes
        self._environment = {
            "POSTBACKS_KAFKA": broker.address,
            "POSTBACKS_PARTITIONS": str(PARTITIONS),
            "POSTBACKS_TOKENS": ",".join(f"{account}={token}" for token, account in ACCOUNTS.items()),
            "POSTBACKS_LISTEN": "127.0.0.1:0",
            "POSTBACKS_OPS": "127.0.0.1:0",
            "POSTBACKS_LOG_LEVEL": "warning",
        }
        self._folder = folder
        self._started = {
            OURS: self._ours("one"),
            TWO: self._ours("two", POSTBACKS_PROCESSES="2"),
            PLAIN: self._ours("plain", POSTBACKS_CLOUDEVENTS="false"),
            CEILING: self._start("benchmarks.baselines.ceiling"),
            FASTAPI: self._start("benchmarks.baselines.fastapi_send", broker.address),
            AIOHTTP: self._start("benchmarks.baselines.aiohttp_send", broker.address),
        }

    async def warm(self) -> None:
        """Let each connect to Kafka, and Kafka compile what it does often."""
        for process in self._started.values():
            await post_all_kept(process.address, self._bodies, WARM_SECONDS, None)

    def at_peak(self) -> Iterator[Candidate]:
        for name in self._started:
            yield Candidate(name, partial(self._take, name, name, None))

    def at_half_load(self, trials: list[Trial]) -> Iterator[Candidate]:
        """Ours and the ceiling at half of our rate, so that they are under the same load."""
        if measured := values(trials, OURS, RATE).values():
            rate = median(measured) / 2
            yield Candidate(OURS_HALF, partial(self._take, OURS_HALF, OURS, rate))
            yield Candidate(CEILING_HALF, partial(self._take, CEILING_HALF, CEILING, rate))

    def _ours(self, folder: str, **settings: str) -> _Started:
        return self._start(
            "gateway", POSTBACKS_DATA=str(self._folder / folder), **self._environment, **settings
        )

    def _start(self, module: str, *arguments: str, **environment: str) -> _Started:
        process = self._processes.enter_context(running(module, *arguments, environment=environment))
        return _Started(process.line(), process.popen.pid)

    async def _take(self, name: str, contender: str, rate: float | None) -> Mapping[str, Figures]:
        process = self._started[contender]
        used, broker = cpu_seconds(process.pid), cpu_seconds(self._broker.pid)
        load = await post_all_kept(process.address, self._bodies, SECONDS, rate)
        used, broker = cpu_seconds(process.pid) - used, cpu_seconds(self._broker.pid) - broker
        return {name: _figures(load, used, broker)}


class _Started(NamedTuple):
    address: str
    pid: int


def _figures(load: Load, used: float, broker: float) -> Figures:
    millions = load.answers / 1e6
    return {
        RATE: load.rate,
        P50: load.p50,
        P99: load.p99,
        P999: load.p999,
        CPU: used / millions,
        BROKER: broker / millions,
        LOAD: load.cpu_seconds / millions,
    }
