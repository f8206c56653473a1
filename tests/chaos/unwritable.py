"""One partition of `messages` rejects writes for a while: owners of other partitions must not be affected.

Three nodes vote. Node 2 has only a replica of partition 0 of `messages`, which has one in-sync replica
without it and needs two. Everything else, including committed offsets, is on nodes 1 and 3.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from rich.table import Table

from streams.message import MESSAGES
from tests.chaos.groups import GroupSamples, sample_group
from tests.chaos.placement import PARTITIONS, create_placed_topics
from tests.chaos.progress import wait_committed
from tests.chaos.readback import read_records
from tests.chaos.report import key_values
from tests.chaos.scenario import Stage
from tests.chaos.traffic import Arrivals, Traffic, latencies, percentile
from tests.support.kafka import ApacheKafka

MEMBERS = 4
STALL_AFTER = 20
#: Postbacks per second to each partition.
RATE = 50.0
WARM_UP_SECONDS = 10.0
BLOCKED, OTHERS = (0,), tuple(range(1, PARTITIONS))
#: Limit of the lag, in seconds of traffic.
MAX_LAG_SECONDS = 5.0
MAX_P99_SECONDS = 1.0
COMMITTED_TIMEOUT = 120.0
#: Postbacks acknowledged in the last seconds are not measured, as their states may not have arrived.
SETTLE_SECONDS = 2.0


@dataclass(frozen=True)
class Measurement:
    """What happened during the time without writes, and after it."""

    seconds: float
    #: Postbacks acknowledged for the blocked partition.
    blocked: int
    #: Sorted seconds to the states of the other partitions.
    latencies: list[float]
    group: GroupSamples
    #: Workers that exited unexpectedly.
    exited: list[str]
    #: Lag that was left at the timeout, and seconds until there was none.
    lag: int
    caught_up: float


async def leave_unwritable(stage: Stage, seconds: float) -> None:
    """Kill node 2 for so many seconds, under steady traffic; then everything must catch up."""
    with stage.kafka(3) as cluster:
        await create_placed_topics(cluster.address, _replicas, (1, 3))
        workers = stage.workers(
            cluster.address, streams=MEMBERS, sinks=0, replication=2, stall_after=STALL_AFTER
        )
        async with workers:
            measured, acknowledged = await _measure(stage, cluster, seconds)
            states = {record.key async for record in read_records(cluster.address, [MESSAGES])}
    stage.console.print(_table(measured))
    _require(stage, measured, missing=len(acknowledged - states))


async def _measure(stage: Stage, cluster: ApacheKafka, seconds: float) -> tuple[Measurement, set[bytes]]:
    kafka, node = cluster.address, cluster.nodes[1]
    blocked, others = Traffic(kafka, BLOCKED, RATE), Traffic(kafka, OTHERS, RATE * len(OTHERS))
    arrivals = Arrivals(kafka, OTHERS)
    async with arrivals.reading(), blocked.sending(), others.sending():
        await asyncio.sleep(WARM_UP_SECONDS)
        async with sample_group(kafka, "streams", OTHERS) as group:
            began = time.monotonic()
            node.kill()
            stage.log("node 2 killed")
            await asyncio.sleep(seconds)
            until = time.monotonic() - SETTLE_SECONDS
            times = latencies(others, arrivals, began, until)
        exited = [name for name, service in stage.services.items() if service.unexpected_exits]
        node.start()
        await asyncio.to_thread(node.wait_ready)
        stage.log("node 2 ready again")
    restarted = time.monotonic()
    lag = await wait_committed(kafka, "streams", restarted + COMMITTED_TIMEOUT)
    waiting = sum(began <= at < until for at in blocked.acknowledged.values())
    caught_up = time.monotonic() - restarted
    measured = Measurement(until - began, waiting, times, group, exited, lag, caught_up)
    return measured, {*blocked.acknowledged, *others.acknowledged}


def _table(measured: Measurement) -> Table:
    times, group = measured.latencies, measured.group
    return key_values(
        {
            "without writes": f"{measured.seconds:.0f} s, {measured.blocked:,} postbacks blocked",
            "states of other partitions": f"{len(times):,}, {len(times) / measured.seconds:.1f}/s",
            "their p50, p99, maximum": ", ".join(
                f"{percentile(times, fraction):.3f} s" for fraction in (0.5, 0.99, 1.0)
            ),
            "their largest lag": f"{group.largest_lag:,}",
            "changes of members or assignment": str(len(group.snapshots) - 1),
            "unexpected exits": ", ".join(measured.exited) or "none",
            "caught up after": "never" if measured.lag else f"{measured.caught_up:.1f} s",
        }
    )


def _require(stage: Stage, measured: Measurement, missing: int) -> None:
    group, rate = measured.group, RATE * len(OTHERS)
    max_lag = MAX_LAG_SECONDS * rate
    stage.require(measured.blocked > 0, "postbacks arrive for the blocked partition")
    stage.require(
        len(measured.latencies) > 0.9 * rate * measured.seconds, "postbacks arrive at the full rate"
    )
    stage.require(not measured.exited, f"no worker exits, but {', '.join(measured.exited)} did")
    stage.require(group.succeeded > group.failed, "most samples of the group succeed")
    stage.require(group.unchanged, "members and assignment do not change")
    stage.require(
        all(len(snapshot.members) == MEMBERS for snapshot in group.snapshots), f"there are {MEMBERS} members"
    )
    stage.require(group.largest_lag <= max_lag, f"lag of the other partitions is at most {max_lag:g}")
    stage.require(
        percentile(measured.latencies, 0.99) <= MAX_P99_SECONDS, f"their p99 is at most {MAX_P99_SECONDS:g} s"
    )
    stage.require(not measured.lag, f"partition 0 catches up, but has a lag of {measured.lag} records")
    stage.require(not missing, f"every acknowledged postback is merged, but {missing} are not")


def _replicas(topic: str, partition: int) -> tuple[int, ...]:
    if topic == MESSAGES and partition in BLOCKED:
        return (1, 2)
    return (1, 3) if partition % 2 else (3, 1)
