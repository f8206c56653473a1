"""Measures from outside how fast a consumer group drains its topics: by what it commits.

Between two commits a known number of events was processed, in a known time and with a known use of CPU. So
the start of a process and the time to its first commit do not count, in whatever language it is written.
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
from tests.support.kafka import open_admin

POLL_INTERVAL = 0.2
STALL_TIMEOUT = 90.0


class NoProgress(Exception):
    """The group has lag and stopped committing."""


class CommitSample(NamedTuple):
    """The number of committed events, and the CPU seconds of each process, at a time (monotonic)."""

    at: float
    events: int
    cpu: list[float]


class SteadyState(NamedTuple):
    """What was processed while there was always more to do, and the CPU seconds of each process for it."""

    events: int
    seconds: float
    cpu: list[float]

    @property
    def rate(self) -> float:
        """Events per second."""
        return self.events / self.seconds

    @property
    def cpu_per_million(self) -> list[float]:
        """CPU seconds of each process per million events."""
        return [seconds / self.events * 1e6 for seconds in self.cpu]


async def measure_drain(
    kafka: str,
    group: str,
    ends: Mapping[TopicPartition, int],
    pids: Sequence[int],
    limit: float = float("inf"),
) -> SteadyState:
    """Observe the group until it reaches `ends`, or `limit` seconds after its first commit.

    Raises:
        NoProgress: nothing was committed for `STALL_TIMEOUT`.
        ProcessLookupError: one of the processes has exited.
    """
    total, samples = sum(ends.values()), [CommitSample(monotonic(), 0, _cpu(pids))]
    async with open_admin(kafka) as admin:
        while samples[-1].events < total and samples[-1].at - samples[min(1, len(samples) - 1)].at < limit:
            await asyncio.sleep(POLL_INTERVAL)
            events = await _committed(admin, group, ends)
            now = CommitSample(monotonic(), events, _cpu(pids))
            if now.events > samples[-1].events:
                samples.append(now)
            elif now.at - samples[-1].at > STALL_TIMEOUT:
                raise NoProgress(f"{group}: {events} of {total} committed, no commit for {STALL_TIMEOUT:g} s")
    return _steady_state(samples[1:])


async def _committed(admin: AIOKafkaAdminClient, group: str, ends: Mapping[TopicPartition, int]) -> int:
    try:
        committed: Mapping[Any, Any] = await admin.list_consumer_group_offsets(group, partitions=list(ends))
    except KafkaError:  # the group does not exist yet
        return 0
    return sum(max(0, offset.offset) for offset in committed.values())


def _cpu(pids: Sequence[int]) -> list[float]:
    return [cpu_seconds(pid) for pid in pids]


def _steady_state(samples: list[CommitSample]) -> SteadyState:
    """Return what happened between the first and the last commit that count.

    The last one may have come long after the last event, so it counts only if there are few.
    """
    counted = samples[:-1] if len(samples) > 3 else samples
    first, last = counted[0], counted[-1]
    cpu = [end - start for start, end in zip(first.cpu, last.cpu, strict=True)]
    return SteadyState(last.events - first.events, last.at - first.at, cpu)
