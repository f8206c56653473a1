"""Kills broker and workers while their groups join; then every partition must get an owner, soon."""

from __future__ import annotations

import asyncio
import statistics
import time
from dataclasses import dataclass
from random import Random

from aiokafka import TopicPartition

from gateway.topics import gateway_topics
from runtime.kafka.clients import client_options
from runtime.kafka.topics import ensure_topics
from runtime.settings import load_settings
from streams.topics import messages_topic
from tests.chaos.cluster import Broker, Target, inflict
from tests.chaos.faults import Fault
from tests.chaos.ownership import NotOwned, complete_metadata, wait_owned
from tests.chaos.placement import PARTITIONS
from tests.chaos.progress import TOPICS_OF, wait_merged
from tests.chaos.scenario import SESSION_SECONDS, Stage
from tests.support.workload import postbacks, produce

#: Processes that use a core each, beside it: the bug that it was made for needs load to show.
JOIN_BURNERS = 2
#: Messages that each round puts in, about three records each.
MESSAGES_A_ROUND = 100
#: From the first complete metadata answer until every partition has an owner, and until all is merged.
OWNED_SECONDS, MERGED_SECONDS = 30.0, 60.0
#: Owners must stay for this long: a killed member owns its partitions until its session ends.
HELD_SECONDS = SESSION_SECONDS + 1
WORKERS = ("streams-1", "streams-2")


@dataclass(frozen=True)
class Joined:
    """Seconds from the first complete metadata answer, None where it took too long."""

    owned: dict[str, float | None]
    merged: float | None
    problems: list[str]


def plan_round(chance: Random) -> list[Fault]:
    """Kill one or both workers of streams, then the broker, and perhaps both kinds again, while they join."""
    faults = [
        Fault(_between(chance, 0, 2), worker, "kill", chance.choice((0.0, 0.5, 2.0)))
        for worker in chance.sample(WORKERS, chance.choice((1, 2)))
    ]
    restarted = max(fault.until for fault in faults)
    faults.append(Fault(restarted + _between(chance, 0, 8), "kafka", "kill", chance.choice((0.0, 0.5, 2.0))))
    if chance.random() < 0.5:
        again = restarted + _between(chance, 2, 10)
        faults.append(Fault(again, chance.choice(WORKERS), "kill", chance.choice((0.0, 0.5))))
    if chance.random() < 0.4:
        again = faults[-1].until + _between(chance, 2, 8)
        faults.append(Fault(again, "kafka", "kill", chance.choice((0.0, 0.5))))
    return sorted(faults)


async def kill_joins(stage: Stage, seed: int, rounds: int) -> None:
    """So many rounds on one broker with two workers of streams and two sinks."""
    chance, results = Random(seed), list[Joined]()
    with stage.kafka(1) as cluster:
        await _make_topics(cluster.address)
        async with stage.workers(cluster.address):
            broker = Broker("kafka", cluster.nodes[0], asyncio.Lock())
            targets: dict[str, Target] = {**stage.services, broker.name: broker}
            for number in range(1, rounds + 1):
                await _put(cluster.address, chance)
                faults = plan_round(chance)
                stage.say(f"round {number}")
                await inflict(faults, targets, stage.say)
                results.append(await _recovered(cluster.address, chance))
                stage.show(_line(number, faults, results[-1]))
                for problem in results[-1].problems:
                    stage.require(False, f"round {number}: {problem}")
    ended = sum(service.ended_itself for service in stage.services.values())
    stage.show(f"{rounds} rounds, seed {seed}; workers ended by themselves {ended} times")
    for group in TOPICS_OF:
        stage.show(f"{group}: {_summary([result.owned[group] for result in results])}")


async def _make_topics(kafka: str) -> None:
    settings = load_settings({"POSTBACKS_KAFKA": kafka, "POSTBACKS_PARTITIONS": str(PARTITIONS)})
    specs = [*gateway_topics(settings), messages_topic(settings)]
    await ensure_topics(client_options(settings), specs, patience=60)


async def _put(kafka: str, chance: Random) -> None:
    await produce(kafka, postbacks(MESSAGES_A_ROUND, chance.getrandbits(32)), PARTITIONS)


async def _recovered(kafka: str, chance: Random) -> Joined:
    """Wait until every partition has an owner and everything is merged, each within its time."""
    problems: list[str] = []
    began = await complete_metadata(kafka, dict.fromkeys(TOPICS_OF["sinks"], PARTITIONS))
    merging = asyncio.create_task(_merged(kafka, chance, began, problems))
    owned = await asyncio.gather(*(_owned(kafka, group, began, problems) for group in TOPICS_OF))
    return Joined(dict(zip(TOPICS_OF, owned, strict=True)), await merging, problems)


async def _merged(kafka: str, chance: Random, began: float, problems: list[str]) -> float | None:
    """Of what was put in before the faults, and of as much again now."""
    await _put(kafka, chance)
    for group in TOPICS_OF:
        if left := await wait_merged(kafka, group, began + MERGED_SECONDS):
            problems.append(f"{group} has {left} records left after {MERGED_SECONDS:.0f} s")
            return None
    return time.monotonic() - began


async def _owned(kafka: str, group: str, began: float, problems: list[str]) -> float | None:
    partitions = {TopicPartition(topic, number) for topic in TOPICS_OF[group] for number in range(PARTITIONS)}
    try:
        return (
            await wait_owned(kafka, group, partitions, len(WORKERS), HELD_SECONDS, began + OWNED_SECONDS)
            - began
        )
    except NotOwned as error:
        problems.append(f"{group} not completely owned within {OWNED_SECONDS:.0f} s: {error}")
        return None


def _line(number: int, faults: list[Fault], joined: Joined) -> str:
    kills = ", ".join(f"{fault.target} at {fault.at:.1f} s" for fault in faults)
    owned = ", ".join(f"{group} {_seconds(seconds)}" for group, seconds in joined.owned.items())
    return f"round {number}: killed {kills}; owned: {owned}; merged: {_seconds(joined.merged)}"


def _summary(times: list[float | None]) -> str:
    reached = [seconds for seconds in times if seconds is not None]
    if not reached:
        return "never completely owned"
    return (
        f"completely owned in {len(reached)} of {len(times)} rounds, after {statistics.median(reached):.1f} s"
        f" (median), {max(reached):.1f} s at most"
    )


def _seconds(seconds: float | None) -> str:
    return "never" if seconds is None else f"{seconds:.1f} s"


def _between(chance: Random, low: float, high: float) -> float:
    return round(chance.uniform(low, high), 2)
