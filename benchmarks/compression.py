"""Compression: what each codec costs the gateway and Kafka, and saves on Kafka's disk.

A gateway for each codec, in front of the same node.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.baselines.naive_postback import TOKENS
from benchmarks.harness.engines import EngineProcess, open_kafka
from benchmarks.harness.load import CONNECTIONS
from benchmarks.harness.machine import describe_machine
from benchmarks.harness.payloads import generate_bodies, write_bodies
from benchmarks.harness.posting import post_all_acknowledged
from benchmarks.harness.result import Result, Target, Trial, ratios
from benchmarks.harness.trials import BenchmarkOptions, Candidate, Figures, alternate
from benchmarks.harness.usage import cpu_seconds
from gateway.postback import POSTBACK_TOPICS
from runtime.kafka.compression import CODECS
from tests.support.gateway import RunningGateway, open_gateway
from tests.support.kafka import create_topics
from tests.support.record_batches import segments

TITLE = "Compression: the gateway's batches with each codec"
REQUESTS = 40_000
PARTITIONS = 8
#: Per second; None: in a closed loop.
RATES = (None, 500)
#: Short rounds, this many per requested one, as the machine's speed changes from second to second.
ROUNDS_FACTOR, WARM_UP_SECONDS, SECONDS = 3, 4.0, 2.5

NONE = "none"
RATE, P50, P99 = "requests/s", "p50 ms", "p99 ms"
CPU, BROKER, BYTES = "CPU s per million", "Kafka CPU s per million", "bytes on disk per postback"
#: For a codec to be the default.
MAXIMUM_CPU, MAXIMUM_BYTES = 1.05, 0.75


async def measure(options: BenchmarkOptions) -> Result:
    """Measure all codecs in a closed loop and at a low rate, with at most `options.size` requests per run."""
    size = options.size or REQUESTS
    short = replace(options, rounds=options.rounds * ROUNDS_FACTOR)
    with TemporaryDirectory() as folder, ExitStack() as processes:
        broker = processes.enter_context(open_kafka(Path(folder)))
        machine = describe_machine()
        await create_topics(broker.address, PARTITIONS)
        file = Path(folder) / "bodies"
        write_bodies(file, list(islice(generate_bodies(1), size)))
        candidates: list[Candidate] = []
        for codec in CODECS:
            settings = {"partitions": PARTITIONS, "tokens": TOKENS, "compression": codec}
            gateway = processes.enter_context(open_gateway(broker.address, **settings))
            await post_all_acknowledged(gateway.address, file, WARM_UP_SECONDS)
            candidates += _candidates(codec, gateway, broker, file, Path(folder))
        trials = await alternate(candidates, short)
    return Result(
        name="compression",
        machine=machine,
        conditions=[
            f"{short.rounds} rounds of {SECONDS:g} s, with requests of the simulated provider",
            f"{CONNECTIONS} keep-alive connections; one gateway process per codec",
            f"{broker.name}, {PARTITIONS} partitions per topic",
        ],
        trials=trials,
        targets=[*_targets(trials)],
    )


def _candidates(
    codec: str, gateway: RunningGateway, broker: EngineProcess, bodies: Path, folder: Path
) -> Iterator[Candidate]:
    async def post(name: str, rate: float | None) -> Mapping[str, Figures]:
        cpu, broker_cpu, stored = cpu_seconds(gateway.process.pid), cpu_seconds(broker.pid), _bytes(folder)
        load = await post_all_acknowledged(gateway.address, bodies, SECONDS, rate)
        millions = load.responses / 1e6
        return {
            name: {
                RATE: load.rate,
                P50: load.p50,
                P99: load.p99,
                CPU: (cpu_seconds(gateway.process.pid) - cpu) / millions,
                BROKER: (cpu_seconds(broker.pid) - broker_cpu) / millions,
                BYTES: (_bytes(folder) - stored) / load.responses,
            }
        }

    for rate in RATES:
        yield Candidate(_at(codec, rate), partial(post, _at(codec, rate), rate))


def _bytes(folder: Path) -> int:
    """Bytes of all postbacks on the node's disk."""
    return sum(
        file.stat().st_size
        for topic in POSTBACK_TOPICS
        for file in segments(folder / "kafka" / "node1" / "data", topic)
    )


def _targets(trials: list[Trial]) -> Iterator[Target]:
    """What each codec costs and saves in a closed loop, against the bounds for a default."""
    for codec in CODECS:
        for figure, bound in ((CPU, MAXIMUM_CPU), (BYTES, MAXIMUM_BYTES)):
            measured = ratios(trials, figure, _at(codec, None), _at(NONE, None))
            if codec != NONE and measured:
                yield Target(f"{codec}: {figure}, ratio to {NONE}", "at most", bound, measured)


def _at(codec: str, rate: float | None) -> str:
    return f"{codec}, {rate:,}/s" if rate else codec
