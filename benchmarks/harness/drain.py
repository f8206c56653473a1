"""How fast a consumer group takes what is in its topics, seen from outside: by what it commits.

Between two commits lies a number of events that were surely done, and the time and CPU that they took; so a
process's start and the way to its first commit do not count, whatever it is written in.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from time import monotonic
from typing import Any, NamedTuple

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from benchmarks.harness.usage import cpu_seconds

LOOK_SECONDS = 0.2
STALL_SECONDS = 90.0


class Stalled(Exception):
    """The group commits nothing more, though there is more."""


class Sample(NamedTuple):
    """At that time (monotonic) so many events were committed, and each process had used up so much CPU."""

    at: float
    done: int
    cpu: list[float]


class Steady(NamedTuple):
    """What was done while there was always something to do, and the CPU seconds of each process for it."""

    events: int
    seconds: float
    cpu: list[float]


async def follow(
    kafka: str,
    group: str,
    ends: Mapping[TopicPartition, int],
    pids: Sequence[int],
    limit: float = float("inf"),
) -> list[Sample]:
    """Look until the group has committed all up to `ends`, or for `limit` seconds from its first commit.

    Raises:
        Stalled: it does not get on.
        ProcessLookupError: one of the processes has ended.
    """
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    total, moves = sum(ends.values()), [Sample(monotonic(), 0, _cpu(pids))]
    try:
        while moves[-1].done < total and moves[-1].at - moves[min(1, len(moves) - 1)].at < limit:
            await asyncio.sleep(LOOK_SECONDS)
            done = await _committed(admin, group, ends)
            now = Sample(monotonic(), done, _cpu(pids))
            if now.done > moves[-1].done:
                moves.append(now)
            elif now.at - moves[-1].at > STALL_SECONDS:
                raise Stalled(f"{group} has committed {done} of {total} and nothing for {STALL_SECONDS:g} s")
    finally:
        await admin.close()
    return moves[1:]


async def _committed(admin: AIOKafkaAdminClient, group: str, ends: Mapping[TopicPartition, int]) -> int:
    try:
        committed: Mapping[Any, Any] = await admin.list_consumer_group_offsets(group, partitions=list(ends))
    except KafkaError:  # there is no such group yet
        return 0
    return sum(max(0, offset.offset) for offset in committed.values())


def _cpu(pids: Sequence[int]) -> list[float]:
    return [cpu_seconds(pid) for pid in pids]


def steady(samples: list[Sample]) -> Steady:
    """What the samples say of the time in which there was always something to do.

    The last commit may have come long after the last event, so it counts only when there are few.
    """
    counted = samples[:-1] if len(samples) > 3 else samples
    first, last = counted[0], counted[-1]
    used = [end - start for start, end in zip(first.cpu, last.cpu, strict=True)]
    return Steady(last.done - first.done, last.at - first.at, used)
