"""Two of five brokers are down for a while: partitions on the other three must not be affected.

Nodes 1 to 3 vote, and have partitions 0 and 1 of every topic and all committed offsets. Nodes 4 and 5 have
partition 2 of every topic, and partition 3 of `messages`: its input can be read, but its states not written.
Partitions are assigned round-robin, so each of two workers owns a surviving and a lost one.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack

from rich.table import Table

from streams.message import MESSAGES
from tests.chaos.groups import GroupSamples, sample_group
from tests.chaos.placement import create_placed_topics
from tests.chaos.progress import TOPICS_OF, wait_committed
from tests.chaos.readback import read_records
from tests.chaos.report import key_values
from tests.chaos.scenario import Stage
from tests.chaos.traffic import Arrivals, Traffic, latencies, percentile
from tests.support.kafka import ApacheKafka

VOTERS, LOST = (1, 2, 3), (4, 5)
SURVIVING_PARTITIONS, LOST_PARTITIONS = (0, 1), (2, 3)
READABLE_PARTITION = 3
#: Postbacks per second to the surviving partitions, and to the lost ones.
RATE = 50.0
WARM_UP_SECONDS, BEFORE_SECONDS, AFTER_SECONDS = 10.0, 30.0, 10.0
#: Limit of p99 during the outage: so many seconds, or so many times the p99 before it.
MAX_P99_SECONDS, MAX_P99_RATIO = 1.0, 3.0
#: Limit of the lag, in seconds of traffic: sinks batch for one second, and read two topics per postback.
MAX_LAG_SECONDS = 10.0
COMMITTED_TIMEOUT = 120.0
#: Postbacks acknowledged in the last seconds are not measured, as their states may not have arrived.
SETTLE_SECONDS = 2.0


async def lose_brokers(stage: Stage, seconds: float) -> None:
    """Measure before, during and after an outage of so many seconds."""
    with stage.kafka(5, voters=len(VOTERS)) as cluster:
        kafka = ",".join(node.address for node in cluster.nodes[: len(VOTERS)])
        await create_placed_topics(kafka, _replicas, VOTERS)
        async with stage.workers(cluster.address, replication=2), AsyncExitStack() as stack:
            surviving = Traffic(kafka, SURVIVING_PARTITIONS, RATE)
            lost = Traffic(kafka, LOST_PARTITIONS, RATE)
            arrivals = Arrivals(kafka, SURVIVING_PARTITIONS)
            await stack.enter_async_context(arrivals.reading())
            async with surviving.sending(), lost.sending():
                await _measure(stage, cluster, kafka, (surviving, arrivals), seconds)
                await asyncio.sleep(AFTER_SECONDS)
            await _require_all_merged(stage, kafka, {*surviving.acknowledged, *lost.acknowledged})
            stage.show(
                f"acknowledged: {len(surviving.acknowledged):,}, {len(lost.acknowledged):,} on lost brokers"
            )


def _replicas(topic: str, partition: int) -> tuple[int, ...]:
    """Two replicas each, as Kafka requires the same number for all partitions of a topic."""
    if partition == READABLE_PARTITION and topic != MESSAGES:
        return (2, 3)
    return ((1, 2), (3, 1), (4, 5), (5, 4))[partition]


async def _measure(
    stage: Stage, cluster: ApacheKafka, kafka: str, measured: tuple[Traffic, Arrivals], seconds: float
) -> None:
    lost = cluster.nodes[len(VOTERS) :]
    await asyncio.sleep(WARM_UP_SECONDS)
    before = await _latencies(measured, BEFORE_SECONDS)
    async with (
        sample_group(kafka, "streams", SURVIVING_PARTITIONS) as streams,
        sample_group(kafka, "sinks", SURVIVING_PARTITIONS) as sinks,
    ):
        for node in lost:
            node.kill()
        stage.log("both non-voters killed")
        during = await _latencies(measured, seconds)
    exited = [name for name, service in stage.services.items() if service.unexpected_exits]
    for node in lost:
        node.start()
    for node in lost:
        await asyncio.to_thread(node.wait_ready)
    stage.log("both non-voters ready again")
    for number, snapshot in enumerate(streams.snapshots, 1):
        owned = [sorted({tp.partition for tp in tps}) for tps in snapshot.members.values()]
        stage.log(f"snapshot {number} of streams: {snapshot.state} {owned}")
    stage.console.print(_table(before, during, (streams, sinks), exited))
    limit = max(MAX_P99_SECONDS, MAX_P99_RATIO * percentile(before, 0.99))
    stage.require(len(before) > 0, "states arrived before the outage")
    stage.require(len(during) > 0, "postbacks were acknowledged during the outage")
    stage.require(percentile(during, 0.99) <= limit, f"p99 during the outage is at most {limit:.1f} s")
    stage.require(not exited, f"no process exited unexpectedly, but {', '.join(exited)} did")
    for group, topics in ((streams, 1), (sinks, 2)):
        max_lag = MAX_LAG_SECONDS * RATE * topics
        stage.require(group.succeeded > group.failed, f"most samples of {group.name} succeeded")
        stage.require(
            group.largest_lag <= max_lag,
            f"lag of {group.name} on surviving partitions is at most {max_lag:g}",
        )


async def _latencies(measured: tuple[Traffic, Arrivals], seconds: float) -> list[float]:
    """Measure what is acknowledged in the next `seconds`, except the last `SETTLE_SECONDS`."""
    began = time.monotonic()
    await asyncio.sleep(seconds)
    return latencies(*measured, began, time.monotonic() - SETTLE_SECONDS)


def _table(
    before: list[float], during: list[float], groups: tuple[GroupSamples, ...], exited: list[str]
) -> Table:
    values = {
        f"p{100 * fraction:g} {moment}": f"{percentile(times, fraction):.3f} s of {len(times):,}"
        for fraction in (0.5, 0.99, 1.0)
        for moment, times in (("before", before), ("during the outage", during))
    }
    for group in groups:
        values[f"largest lag of {group.name} on surviving partitions"] = f"{group.largest_lag:,}"
        values[f"changes of {group.name} members"] = str(len(group.snapshots) - 1)
    return key_values(values | {"unexpected exits": ", ".join(exited) or "none"})


async def _require_all_merged(stage: Stage, kafka: str, acknowledged: set[bytes]) -> None:
    deadline = time.monotonic() + COMMITTED_TIMEOUT
    for group in TOPICS_OF:
        lag = await wait_committed(kafka, group, deadline)
        stage.require(
            not lag, f"{group} has no lag {COMMITTED_TIMEOUT:.0f} s after the outage, but {lag} records"
        )
    states = {record.key async for record in read_records(kafka, [MESSAGES])}
    missing = len(acknowledged - states)
    stage.require(not missing, f"every acknowledged postback is merged, but {missing} are not")
