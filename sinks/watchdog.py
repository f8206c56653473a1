"""Ends a sink that stalls: its partitions have lag, Kafka answers, and no insert is attempted.

An outage of ClickHouse or Kafka is not a stall, as the worker keeps retrying.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection
from typing import Protocol

from runtime.kafka.consumer_group import TopicPartition
from runtime.kafka.group_monitor import GroupMonitor
from runtime.watchdog import StallDetector, Stalled

POLL_INTERVAL = 5.0


class WatchedWorker(Protocol):
    """What the watchdog needs of a worker."""

    @property
    def attempts(self) -> int:
        """Grows with every attempt to insert."""

    @property
    def assigned(self) -> Collection[TopicPartition]:
        """The partitions that the worker owns."""


async def watch(worker: WatchedWorker, monitor: GroupMonitor, stall_after: float) -> None:
    """Watch until cancelled.

    Raises:
        Stalled: there was lag but no attempt to insert, for more than `stall_after` seconds.
    """
    detector = StallDetector()
    while True:
        await asyncio.sleep(min(POLL_INTERVAL, stall_after / 4))
        group_lag = monitor.latest.lag if monitor.latest else {}  # none while Kafka is unavailable
        lag = {tp: group_lag[tp] for tp in worker.assigned if group_lag.get(tp)}
        if detector.observe(time.monotonic(), worker.attempts, bool(lag)) > stall_after:
            work = f"{sum(lag.values())} records left in {', '.join(map(str, sorted(lag)))}"
            raise Stalled(f"{work}; no insert attempted for {detector.seconds:.0f} s")
