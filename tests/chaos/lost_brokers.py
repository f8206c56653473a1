"""Two of five brokers are lost for a while: partitions that live on the other three must not feel it.

Nodes 1 to 3 vote and hold partitions 0 and 1 of every topic and all committed offsets; nodes 4 and 5 hold
partition 2 of every topic, and partition 3 of `messages`: its input can be read, but its states not written.
Assigned in turn, each of two workers has one of the partitions that live on, and one of the lost ones.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack

from rich.table import Table

from streams.message import MESSAGES
from tests.chaos.groups import Sampled, sampled
from tests.chaos.placement import create_placed_topics
from tests.chaos.progress import TOPICS_OF, wait_merged
from tests.chaos.readback import read
from tests.chaos.report import key_values
from tests.chaos.scenario import Stage
from tests.chaos.traffic import Arrivals, Traffic, latencies, percentile
from tests.support.kafka import ApacheKafka

VOTERS, LOST = (1, 2, 3), (4, 5)
KEPT_PARTITIONS, LOST_PARTITIONS = (0, 1), (2, 3)
READABLE_PARTITION = 3
#: Postbacks a second to each two partitions.
RATE = 50.0
WARM_UP_SECONDS, BEFORE_SECONDS, AFTER_SECONDS = 10.0, 30.0, 10.0
#: What p99 may be during the outage: so many seconds, or so many times of before.
SLOWEST_SECONDS, SLOWER = 1.0, 3.0
#: Traffic of so many seconds may be uncommitted: sinks gather for one, and two groups read it.
LAG_SECONDS = 10.0
MERGED_SECONDS = 120.0
#: A record of the last moment has not had its time yet when latencies are read.
SETTLE_SECONDS = 2.0


async def lose_brokers(stage: Stage, seconds: float) -> None:
    """Measure before, during and after an outage of so many seconds."""
    with stage.kafka(5, voters=len(VOTERS)) as cluster:
        kafka = ",".join(node.address for node in cluster.nodes[: len(VOTERS)])
        await create_placed_topics(kafka, _replicas, VOTERS)
        async with stage.workers(cluster.address, replication=2), AsyncExitStack() as stack:
            kept, lost = Traffic(kafka, KEPT_PARTITIONS, RATE), Traffic(kafka, LOST_PARTITIONS, RATE)
            arrivals = Arrivals(kafka, KEPT_PARTITIONS)
            await stack.enter_async_context(arrivals.read())
            async with kept.flowing(), lost.flowing():
                await _measure(stage, cluster, kafka, (kept, arrivals), seconds)
                await asyncio.sleep(AFTER_SECONDS)
            await _require_all_merged(stage, kafka, {*kept.acknowledged, *lost.acknowledged})
            stage.show(
                f"acknowledged: {len(kept.acknowledged):,}, {len(lost.acknowledged):,} on lost brokers"
            )


def _replicas(topic: str, partition: int) -> tuple[int, ...]:
    """Two of each, as Kafka wants equally many for all partitions of a topic."""
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
        sampled(kafka, "streams", KEPT_PARTITIONS) as streams,
        sampled(kafka, "sinks", KEPT_PARTITIONS) as sinks,
    ):
        for node in lost:
            node.kill()
        stage.say("both non-voters are killed")
        during = await _latencies(measured, seconds)
    ended = [name for name, service in stage.services.items() if service.ended_itself]
    for node in lost:
        node.start()
    for node in lost:
        await asyncio.to_thread(node.wait_ready)
    stage.say("both are back")
    for number, found in enumerate(streams.groups, 1):
        owned = [sorted({tp.partition for tp in tps}) for tps in found.members.values()]
        stage.say(f"members of streams, {number}.: {found.state} {owned}")
    stage.console.print(_table(before, during, (streams, sinks), ended))
    slowest = max(SLOWEST_SECONDS, SLOWER * percentile(before, 0.99))
    stage.require(len(before) > 0, "states arrived before the outage")
    stage.require(len(during) > 0, "postbacks were acknowledged during the outage")
    stage.require(percentile(during, 0.99) <= slowest, f"p99 during the outage is at most {slowest:.1f} s")
    stage.require(not ended, f"no process ended by itself, but {', '.join(ended)} did")
    for group, readings in ((streams, 1), (sinks, 2)):
        bound = LAG_SECONDS * RATE * readings
        stage.require(group.answered > group.unanswered, f"Kafka mostly answered about {group.name}")
        stage.require(
            group.largest_lag <= bound, f"lag of {group.name} on kept partitions is at most {bound:g}"
        )


async def _latencies(measured: tuple[Traffic, Arrivals], seconds: float) -> list[float]:
    """Of what is acknowledged in the next `seconds`, but for the last moment."""
    began = time.monotonic()
    await asyncio.sleep(seconds)
    return latencies(*measured, began, time.monotonic() - SETTLE_SECONDS)


def _table(before: list[float], during: list[float], groups: tuple[Sampled, ...], ended: list[str]) -> Table:
    values = {
        f"p{100 * share:g} {when}": f"{percentile(times, share):.3f} s of {len(times):,}"
        for share in (0.5, 0.99, 1.0)
        for when, times in (("before", before), ("during the outage", during))
    }
    for group in groups:
        values[f"largest lag of {group.name} on kept partitions"] = f"{group.largest_lag:,}"
        values[f"changes of {group.name}' members"] = str(len(group.groups) - 1)
    return key_values(values | {"ended by themselves": ", ".join(ended) or "none"})


async def _require_all_merged(stage: Stage, kafka: str, acknowledged: set[bytes]) -> None:
    until = time.monotonic() + MERGED_SECONDS
    for group in TOPICS_OF:
        left = await wait_merged(kafka, group, until)
        stage.require(
            not left, f"{group} has nothing left {MERGED_SECONDS:.0f} s after the outage, but {left}"
        )
    states = {record.key async for record in read(kafka, [MESSAGES])}
    missing = len(acknowledged - states)
    stage.require(not missing, f"every acknowledged postback is merged, but {missing} are not")
