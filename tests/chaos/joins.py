"""Kills the broker and workers while their groups rebalance; then every partition must get an owner soon."""

from __future__ import annotations

import asyncio
import statistics
import time
from dataclasses import dataclass
from random import Random

from aiokafka import TopicPartition

from tests.chaos.cluster import Broker, Target, inject_faults
from tests.chaos.faults import Fault
from tests.chaos.ownership import NotOwned, wait_metadata, wait_owned
from tests.chaos.placement import PARTITIONS
from tests.chaos.progress import TOPICS_OF, wait_committed
from tests.chaos.scenario import SESSION_TIMEOUT, Stage
from tests.support.kafka import create_topics
from tests.support.workload import generate_postbacks, produce

#: Competing processes: the bug that this scenario was written for shows under load only.
JOIN_BURNERS = 2
#: Messages produced twice per round, about three records each.
MESSAGES_PER_ROUND = 100
#: Seconds from the first complete metadata until every partition has an owner, and all is committed.
OWNED_TIMEOUT, COMMITTED_TIMEOUT = 30.0, 60.0
#: Owners must be stable for this long: a killed member owns its partitions until its session expires.
STABLE_SECONDS = SESSION_TIMEOUT + 1
WORKERS = ("streams-1", "streams-2")


@dataclass(frozen=True)
class Recovery:
    """Seconds from the first complete metadata until recovered (None: timeout), and what was not met."""

    owned: dict[str, float | None]
    committed: float | None
    problems: list[str]


def plan_round(rng: Random) -> list[Fault]:
    """Kill one or both streams workers, then the broker; perhaps each again while the group rebalances."""
    faults = [
        Fault(_between(rng, 0, 2), worker, "kill", rng.choice((0.0, 0.5, 2.0)))
        for worker in rng.sample(WORKERS, rng.choice((1, 2)))
    ]
    restarted = max(fault.until for fault in faults)
    faults.append(Fault(restarted + _between(rng, 0, 8), "kafka", "kill", rng.choice((0.0, 0.5, 2.0))))
    if rng.random() < 0.5:
        at = restarted + _between(rng, 2, 10)
        faults.append(Fault(at, rng.choice(WORKERS), "kill", rng.choice((0.0, 0.5))))
    if rng.random() < 0.4:
        at = faults[-1].until + _between(rng, 2, 8)
        faults.append(Fault(at, "kafka", "kill", rng.choice((0.0, 0.5))))
    return sorted(faults)


async def kill_joins(stage: Stage, seed: int, rounds: int) -> None:
    """Run so many rounds on one broker, with two streams workers and two sinks."""
    rng, recoveries = Random(seed), list[Recovery]()
    with stage.kafka(1) as cluster:
        await create_topics(cluster.address, PARTITIONS)
        async with stage.workers(cluster.address):
            broker = Broker("kafka", cluster.nodes[0], asyncio.Lock())
            targets: dict[str, Target] = {**stage.services, broker.name: broker}
            for number in range(1, rounds + 1):
                await _produce(cluster.address, rng)
                faults = plan_round(rng)
                stage.log(f"round {number}")
                await inject_faults(faults, targets, stage.log)
                recoveries.append(await _wait_recovered(cluster.address, rng))
                stage.show(_round_line(number, faults, recoveries[-1]))
                for problem in recoveries[-1].problems:
                    stage.require(False, f"round {number}: {problem}")
    exits = sum(service.unexpected_exits for service in stage.services.values())
    stage.show(f"{rounds} rounds, seed {seed}; {exits} unexpected exits of workers")
    for group in TOPICS_OF:
        stage.show(f"{group}: {_summary([recovery.owned[group] for recovery in recoveries])}")


async def _produce(kafka: str, rng: Random) -> None:
    await produce(kafka, generate_postbacks(MESSAGES_PER_ROUND, rng.getrandbits(32)), PARTITIONS)


async def _wait_recovered(kafka: str, rng: Random) -> Recovery:
    """Wait until every partition has an owner and everything is committed, each within its timeout."""
    problems: list[str] = []
    began = await wait_metadata(kafka, dict.fromkeys(TOPICS_OF["sinks"], PARTITIONS))
    committing = asyncio.create_task(_wait_committed(kafka, rng, began, problems))
    owned = await asyncio.gather(*(_wait_owned(kafka, group, began, problems) for group in TOPICS_OF))
    return Recovery(dict(zip(TOPICS_OF, owned, strict=True)), await committing, problems)


async def _wait_committed(kafka: str, rng: Random, began: float, problems: list[str]) -> float | None:
    """Produce as much again as before the faults; return the seconds until all of it is committed."""
    await _produce(kafka, rng)
    for group in TOPICS_OF:
        if lag := await wait_committed(kafka, group, began + COMMITTED_TIMEOUT):
            problems.append(f"{group} has a lag of {lag} records after {COMMITTED_TIMEOUT:.0f} s")
            return None
    return time.monotonic() - began


async def _wait_owned(kafka: str, group: str, began: float, problems: list[str]) -> float | None:
    partitions = {TopicPartition(topic, number) for topic in TOPICS_OF[group] for number in range(PARTITIONS)}
    deadline = began + OWNED_TIMEOUT
    try:
        return await wait_owned(kafka, group, partitions, len(WORKERS), STABLE_SECONDS, deadline) - began
    except NotOwned as error:
        problems.append(f"{group} not completely owned within {OWNED_TIMEOUT:.0f} s: {error}")
        return None


def _round_line(number: int, faults: list[Fault], recovery: Recovery) -> str:
    kills = ", ".join(f"{fault.target} at {fault.at:.1f} s" for fault in faults)
    owned = ", ".join(f"{group} {_seconds(seconds)}" for group, seconds in recovery.owned.items())
    return f"round {number}: killed {kills}; owned: {owned}; committed: {_seconds(recovery.committed)}"


def _summary(times: list[float | None]) -> str:
    reached = [seconds for seconds in times if seconds is not None]
    if not reached:
        return "never completely owned"
    return (
        f"completely owned in {len(reached)} of {len(times)} rounds, after {statistics.median(reached):.1f} s"
        f" (median), at most {max(reached):.1f} s"
    )


def _seconds(seconds: float | None) -> str:
    return "never" if seconds is None else f"{seconds:.1f} s"


def _between(rng: Random, low: float, high: float) -> float:
    return round(rng.uniform(low, high), 2)
