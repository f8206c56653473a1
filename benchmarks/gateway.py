"""The gateway: HTTP becomes records that every in-sync replica has. How fast, how soon, for how much CPU?

All contenders take the same requests, make the same JSON of them under the same key, and answer 200 once the
brokers have it (acks=all) — but for the ceiling, which keeps nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks import engines
from benchmarks.bodies import bodies, write_bodies
from benchmarks.fill import make_topics
from benchmarks.load import CONNECTIONS, Load
from benchmarks.machine import machine, now
from benchmarks.posting import post_all_kept
from benchmarks.result import Reach, Result, Trial, ratios, reaches, values
from benchmarks.rivals.naive_postback import ACCOUNTS
from benchmarks.trials import Contender, Figures, Plan, alternate
from benchmarks.usage import cpu_seconds
from tests.processes import running

TITLE = "Gateway: HTTP becomes records in Kafka"
REQUESTS = 150_000
PARTITIONS = 8
WARM_SECONDS, SECONDS = 2.0, 8.0

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
    with TemporaryDirectory() as folder, engines.kafka(Path(folder)) as broker:
        about = machine()
        await make_topics(broker.address, PARTITIONS)
        file = Path(folder) / "bodies"
        print(f"  making {size:,} requests", flush=True)
        write_bodies(file, list(islice(bodies(1), size)))
        gateways = _Gateways(broker, Path(folder), file)
        await gateways.warm_kafka()
        trials = await alternate(gateways.contenders(), plan)
        half = await gateways.at_half_load(trials, plan)
    return Result(
        name="gateway",
        title=TITLE,
        at=now(),
        machine=about,
        conditions=[
            f"{size:,} requests of the simulated provider at most, {SECONDS:g} s at most",
            f"{CONNECTIONS} kept-alive connections, one process each unless said otherwise",
            f"{broker.name}, {PARTITIONS} partitions of each topic",
        ],
        trials=[*trials, *half],
        reaches=[
            *reaches(
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


def _later_than_the_ceiling(half: list[Trial]) -> list[Reach]:
    ours, theirs = values(half, OURS_HALF, P99), values(half, CEILING_HALF, P99)
    later = [ours[number] - theirs[number] for number in sorted(ours.keys() & theirs.keys())]
    return [Reach("p99 at half load, ms more than the ceiling", "at most", 5, later)] if later else []


class _Gateways:
    def __init__(self, broker: engines.Engine, folder: Path, bodies: Path) -> None:
        self._broker = broker
        self._folder = folder
        self._bodies = bodies

    async def warm_kafka(self) -> None:
        """Let Kafka compile what it does often, for which whoever comes first would pay."""
        await self._ours(OURS)

    def contenders(self) -> Iterator[Contender]:
        yield Contender(OURS, lambda: self._ours(OURS))
        yield Contender(TWO, lambda: self._ours(TWO, POSTBACKS_PROCESSES="2"))
        yield Contender(PLAIN, lambda: self._ours(PLAIN, POSTBACKS_CLOUDEVENTS="false"))
        yield Contender(CEILING, lambda: self._ceiling(CEILING))
        yield Contender(FASTAPI, lambda: self._rival(FASTAPI, "benchmarks.rivals.fastapi_send"))
        yield Contender(AIOHTTP, lambda: self._rival(AIOHTTP, "benchmarks.rivals.aiohttp_send"))

    async def at_half_load(self, trials: list[Trial], plan: Plan) -> list[Trial]:
        """Ours and the ceiling at half of our rate, so that they are under the same load."""
        measured = list(values(trials, OURS, RATE).values())
        if not measured:
            return []
        rate = median(measured) / 2
        contenders = [
            Contender(OURS_HALF, lambda: self._ours(OURS_HALF, rate)),
            Contender(CEILING_HALF, lambda: self._ceiling(CEILING_HALF, rate)),
        ]
        return await alternate(contenders, replace(plan, only=frozenset()))

    async def _ours(self, name: str, rate: float | None = None, **settings: str) -> Mapping[str, Figures]:
        environment = {
            "POSTBACKS_KAFKA": self._broker.address,
            "POSTBACKS_PARTITIONS": str(PARTITIONS),
            "POSTBACKS_TOKENS": ",".join(f"{account}={token}" for token, account in ACCOUNTS.items()),
            "POSTBACKS_LISTEN": "127.0.0.1:0",
            "POSTBACKS_OPS": "127.0.0.1:0",
            "POSTBACKS_DATA": str(self._folder / "gateway"),
            "POSTBACKS_LOG_LEVEL": "warning",
            **settings,
        }
        with running("gateway", environment=environment) as process:
            return {name: await self._figures(process.line(), process.popen.pid, rate)}

    async def _ceiling(self, name: str, rate: float | None = None) -> Mapping[str, Figures]:
        with running("benchmarks.rivals.ceiling") as process:
            return {name: await self._figures(process.line(), process.popen.pid, rate)}

    async def _rival(self, name: str, module: str) -> Mapping[str, Figures]:
        with running(module, self._broker.address) as process:
            return {name: await self._figures(process.line(), process.popen.pid, None)}

    async def _figures(self, address: str, pid: int, rate: float | None) -> Figures:
        await post_all_kept(address, self._bodies, WARM_SECONDS, rate)
        used, broker = cpu_seconds(pid), cpu_seconds(self._broker.pid)
        load = await post_all_kept(address, self._bodies, SECONDS, rate)
        used, broker = cpu_seconds(pid) - used, cpu_seconds(self._broker.pid) - broker
        return _figures(load, used, broker)


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
