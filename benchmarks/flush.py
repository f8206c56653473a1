"""Flush: what it costs that the embedded Kafka acknowledges a record only once it is on the disk.

Two nodes, one with that setting and one without, and a gateway in front of each.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.baselines.naive_postback import ACCOUNTS
from benchmarks.harness import engines
from benchmarks.harness.backlog import make_topics
from benchmarks.harness.load import CONNECTIONS
from benchmarks.harness.machine import machine, now
from benchmarks.harness.payloads import bodies, write_bodies
from benchmarks.harness.posting import post_all_kept
from benchmarks.harness.result import Result, Target, values
from benchmarks.harness.trials import Candidate, Figures, Plan, alternate
from benchmarks.harness.usage import cpu_seconds
from embedded.kafka.server import FLUSH
from tests.support.process import running

TITLE = "Flush: records on the disk before they are acknowledged"
RATES = (200, 2_000)
SECONDS, WARM_SECONDS = 20, 5
PARTITIONS = 8

FLUSHED, CACHED = "flushed", "page cache only"
P50, P99, P999, BROKER = "p50 ms", "p99 ms", "p99.9 ms", "Kafka's CPU s per million"
#: What a POST may take at the lower rate for the setting to be the default.
WANTED_P99 = 50


async def measure(plan: Plan) -> Result:
    """Post at each rate to both in turns. The plan's size is for how many seconds."""
    seconds = plan.size or SECONDS
    with TemporaryDirectory() as folder, ExitStack() as processes:
        about = machine()
        file = Path(folder) / "bodies"
        write_bodies(file, list(islice(bodies(1), max(RATES) * max(seconds, WARM_SECONDS))))
        contenders = [
            contender
            for name, properties in ((FLUSHED, FLUSH), (CACHED, {}))
            for contender in await _start(name, properties, Path(folder) / name, file, seconds, processes)
        ]
        trials = await alternate(contenders, plan)
    p99 = list(values(trials, _at(FLUSHED, min(RATES)), P99).values())
    return Result(
        name="flush",
        title=TITLE,
        at=now(),
        machine=about,
        conditions=[
            f"{seconds:g} s a turn, requests of the simulated provider, {CONNECTIONS} connections, open loop",
            f"a gateway of one process in front of each node, {PARTITIONS} partitions of each topic",
        ],
        trials=trials,
        targets=[Target(f"p99 at {min(RATES)}/s, flushed, ms", "at most", WANTED_P99, p99)] if p99 else [],
    )


async def _start(
    name: str, properties: Mapping[str, str], folder: Path, file: Path, seconds: float, processes: ExitStack
) -> Iterator[Candidate]:
    """A node and a gateway, warm; a contender for each rate."""
    broker = processes.enter_context(engines.kafka(folder, properties))
    await make_topics(broker.address, PARTITIONS)
    environment = {
        "POSTBACKS_KAFKA": broker.address,
        "POSTBACKS_PARTITIONS": str(PARTITIONS),
        "POSTBACKS_TOKENS": ",".join(f"{account}={token}" for token, account in ACCOUNTS.items()),
        "POSTBACKS_LISTEN": "127.0.0.1:0",
        "POSTBACKS_OPS": "127.0.0.1:0",
        "POSTBACKS_DATA": str(folder / "gateway"),
        "POSTBACKS_LOG_LEVEL": "warning",
    }
    gateway = processes.enter_context(running("gateway", environment=environment)).line()
    await post_all_kept(gateway, file, WARM_SECONDS, max(RATES))

    async def post(contender: str, rate: int) -> Mapping[str, Figures]:
        used = cpu_seconds(broker.pid)
        load = await post_all_kept(gateway, file, seconds, rate)
        used = cpu_seconds(broker.pid) - used
        figures = {P50: load.p50, P99: load.p99, P999: load.p999, BROKER: used / load.answers * 1e6}
        return {contender: figures}

    return (Candidate(_at(name, rate), partial(post, _at(name, rate), rate)) for rate in RATES)


def _at(name: str, rate: int) -> str:
    return f"{name}, {rate:,}/s"
