"""How fast a consumer group takes what is in its topics, seen from outside: by what it commits.

Between two commits lies a number of events that were surely done, and the time and CPU that they took; so a
process's start and the way to its first commit do not count, whatever it is written in.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from time import monotonic
from typing import Any, NamedTuple

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

LOOK_SECONDS = 0.2
STALL_SECONDS = 90.0


class Stalled(Exception):
    """The group commits nothing more, though there is more."""


class Sample(NamedTuple):
    """At that time (monotonic) so many events were committed, with so much CPU used up."""

    at: float
    done: int
    cpu: float


class Steady(NamedTuple):
    """Between the first commit and the last one that was not waiting for work."""

    events: int
    seconds: float
    cpu: float

    @property
    def figures(self) -> dict[str, float]:
        return {
            "events/s": self.events / self.seconds,
            "CPU s per million": self.cpu / self.events * 1e6,
        }


async def follow(
    kafka: str,
    group: str,
    ends: Mapping[TopicPartition, int],
    cpu: Callable[[], float],
    limit: float = float("inf"),
) -> list[Sample]:
    """Look until the group has committed everything up to `ends`, or for `limit` seconds from its first.

    Raises:
        Stalled: it does not get on.
    """
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    total, moves = sum(ends.values()), [Sample(monotonic(), 0, cpu())]
    try:
        while moves[-1].done < total and moves[-1].at - moves[min(1, len(moves) - 1)].at < limit:
            await asyncio.sleep(LOOK_SECONDS)
            done = await _committed(admin, group, ends)
            now = Sample(monotonic(), done, cpu())
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


def steady(samples: list[Sample]) -> Steady:
    """What the samples say of the time in which there was always something to do.

    The last commit may have come long after the last event, so it counts only when there are few.
    """
    counted = samples[:-1] if len(samples) > 3 else samples
    first, last = counted[0], counted[-1]
    return Steady(last.done - first.done, last.at - first.at, last.cpu - first.cpu)
