"""Ends a process that stalls: there is work, Kafka answers, and nothing is attempted.

An outage is not a stall, as processes keep retrying.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Hashable, Iterable

from runtime.errors import KafkaUnavailable
from runtime.health import Health
from runtime.kafka.consumer_group import TopicPartition
from runtime.kafka.group_monitor import GroupMonitor
from runtime.kafka.group_reader import GroupReader
from runtime.watchdog import StallDetector, Stalled

POLL_INTERVAL = 5.0
#: Part of the time to a stall after which /readyz reports it, and Kafka is asked whether it serves the work.
REPORT_AFTER = 0.25
PART = "progress"


async def _always() -> bool:
    return True


async def watch(
    pending: Callable[[], str],
    attempts: Callable[[], Hashable],
    health: Health,
    stall_after: float,
    is_servable: Callable[[], Awaitable[bool]] = _always,
) -> None:
    """Watch until cancelled.

    Args:
        pending: describes the work left; empty if there is none, or Kafka does not answer.
        attempts: differs from its previous value after an attempt.
        is_servable: whether Kafka serves the work; asked only when nothing is attempted.

    Raises:
        Stalled: there was work but no attempt, for more than `stall_after` seconds.
    """
    detector = StallDetector()
    while True:
        await asyncio.sleep(min(POLL_INTERVAL, stall_after / 4))
        work = pending()
        if work and detector.seconds >= stall_after * REPORT_AFTER and not await is_servable():
            work = ""
        seconds = detector.observe(time.monotonic(), attempts(), bool(work))
        problem = f"{work}; nothing attempted for {seconds:.0f} s"
        if seconds > stall_after:
            raise Stalled(problem)
        if seconds >= stall_after * REPORT_AFTER:
            health.down(PART, problem)
        else:
            health.up(PART)


def describe_lag(monitor: GroupMonitor, assigned: Collection[TopicPartition]) -> str:
    """The lag of assigned partitions; empty if there is none, or while Kafka is unavailable."""
    group_lag = monitor.latest.lag if monitor.latest else {}
    lag = {tp: group_lag[tp] for tp in assigned if group_lag.get(tp)}
    return f"{sum(lag.values())} records left in {', '.join(map(str, sorted(lag)))}" if lag else ""


async def accept_writes(reader: GroupReader, topics: Iterable[str]) -> bool:
    """Whether all partitions of the topics accept writes; False while Kafka is unavailable."""
    try:
        return all([await reader.is_writable(topic) for topic in topics])
    except KafkaUnavailable:
        return False
