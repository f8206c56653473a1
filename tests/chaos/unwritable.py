"""One partition of `messages` takes no writes for a while: the members that own others must not feel it.

Three nodes vote. Node 2 has nothing but a replica of partition 0 of `messages`, which without it has one
replica in sync and needs two. Everything else, committed offsets included, is on nodes 1 and 3.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from rich.table import Table

from streams.message import MESSAGES
from tests.chaos.groups import Sampled, sampled
from tests.chaos.placement import PARTITIONS, create_placed_topics
from tests.chaos.progress import wait_merged
from tests.chaos.readback import read
from tests.chaos.report import key_values
from tests.chaos.scenario import Stage
from tests.chaos.traffic import Arrivals, Traffic, latencies, percentile
from tests.support.kafka import ApacheKafka

MEMBERS = 4
STALL_AFTER = 20
#: Postbacks a second to each partition.
RATE = 50.0
WARM_UP_SECONDS = 10.0
BLOCKED, OTHERS = (0,), tuple(range(1, PARTITIONS))
#: Traffic of so many seconds may be uncommitted at full rate.
LAG_SECONDS = 5.0
SLOWEST_SECONDS = 1.0
MERGED_SECONDS = 120.0
#: A record of the last moment has not had its time yet when latencies are read.
SETTLE_SECONDS = 2.0


@dataclass(frozen=True)
class Measured:
    """What happened during the time without writes, and after it."""

    seconds: float
    #: Postbacks that were acknowledged for the blocked partition.
    waiting: int
    #: Sorted seconds to the states of the other partitions.
    times: list[float]
    group: Sampled
    ended: list[str]
    #: Records that were not merged in time afterwards, and seconds until all were.
    left: int
    caught_up: float


async def leave_unwritable(stage: Stage, seconds: float) -> None:
    """Kill node 2 for so many seconds, under steady traffic to all partitions; then all must catch up."""
    with stage.kafka(3) as cluster:
        await create_placed_topics(cluster.address, _replicas, (1, 3))
        workers = stage.workers(
            cluster.address, streams=MEMBERS, sinks=0, replication=2, stall_after=STALL_AFTER
        )
        async with workers:
            measured, acknowledged = await _measure(stage, cluster, seconds)
            states = {record.key async for record in read(cluster.address, [MESSAGES])}
    stage.console.print(_table(measured))
    _require(stage, measured, missing=len(acknowledged - states))


async def _measure(stage: Stage, cluster: ApacheKafka, seconds: float) -> tuple[Measured, set[bytes]]:
    kafka, node = cluster.address, cluster.nodes[1]
    blocked, others = Traffic(kafka, BLOCKED, RATE), Traffic(kafka, OTHERS, RATE * len(OTHERS))
    arrivals = Arrivals(kafka, OTHERS)
    async with arrivals.read(), blocked.flowing(), others.flowing():
        await asyncio.sleep(WARM_UP_SECONDS)
        async with sampled(kafka, "streams", OTHERS) as group:
            began = time.monotonic()
            node.kill()
            stage.say("node 2 is killed")
            await asyncio.sleep(seconds)
            until = time.monotonic() - SETTLE_SECONDS
            times = latencies(others, arrivals, began, until)
        ended = [name for name, service in stage.services.items() if service.ended_itself]
        node.start()
        await asyncio.to_thread(node.wait_ready)
        stage.say("node 2 is back")
    back = time.monotonic()
    left = await wait_merged(kafka, "streams", back + MERGED_SECONDS)
    waiting = sum(began <= at < until for at in blocked.acknowledged.values())
    caught_up = time.monotonic() - back
    measured = Measured(until - began, waiting, times, group, ended, left, caught_up)
    return measured, {*blocked.acknowledged, *others.acknowledged}


def _table(measured: Measured) -> Table:
    times, group = measured.times, measured.group
    return key_values(
        {
            "without writes": f"{measured.seconds:.0f} s, {measured.waiting:,} postbacks waited",
            "states of other partitions": f"{len(times):,}, {len(times) / measured.seconds:.1f}/s",
            "their p50, p99, longest": ", ".join(
                f"{percentile(times, share):.3f} s" for share in (0.5, 0.99, 1.0)
            ),
            "their largest lag": f"{group.largest_lag:,}",
            "changes of members or assignment": str(len(group.groups) - 1),
            "ended by themselves": ", ".join(measured.ended) or "none",
            "caught up after": "never" if measured.left else f"{measured.caught_up:.1f} s",
        }
    )


def _require(stage: Stage, measured: Measured, missing: int) -> None:
    group, rate = measured.group, RATE * len(OTHERS)
    bound = LAG_SECONDS * rate
    stage.require(measured.waiting > 0, "postbacks come for the blocked partition")
    stage.require(len(measured.times) > 0.9 * rate * measured.seconds, "postbacks come at the full rate")
    stage.require(not measured.ended, f"no worker ends by itself, but {', '.join(measured.ended)} did")
    stage.require(group.answered > group.unanswered, "Kafka mostly answers about the group")
    stage.require(group.unchanged, "members and assignment stay as they are")
    stage.require(
        all(len(found.members) == MEMBERS for found in group.groups), f"there are {MEMBERS} members"
    )
    stage.require(group.largest_lag <= bound, f"lag of the other partitions is at most {bound:g}")
    stage.require(
        percentile(measured.times, 0.99) <= SLOWEST_SECONDS, f"their p99 is at most {SLOWEST_SECONDS:g} s"
    )
    stage.require(not measured.left, f"partition 0 catches up, but {measured.left} records are left")
    stage.require(not missing, f"every acknowledged postback is merged, but {missing} are not")


def _replicas(topic: str, partition: int) -> tuple[int, ...]:
    if topic == MESSAGES and partition in BLOCKED:
        return (1, 2)
    return (1, 3) if partition % 2 else (3, 1)
