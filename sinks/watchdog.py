"""Ends a sink that stalls: records of its partitions wait, Kafka answers, and no insert is even tried.

An outage of ClickHouse or Kafka is not a stall, as the worker keeps retrying.
"""

from __future__ import annotations

import asyncio
import time

from runtime.kafka.consumer_group import TopicPartition
from runtime.kafka.group_monitor import GroupMonitor
from runtime.watchdog import StallDetector, Stalled
from sinks.worker import Worker

POLL_INTERVAL = 5.0


async def watch(worker: Worker, monitor: GroupMonitor, stall_after: float) -> None:
    """Watch until cancelled.

    Raises:
        Stalled: for that many seconds there was lag, and nothing was tried.
    """
    detector = StallDetector()
    while True:
        await asyncio.sleep(min(POLL_INTERVAL, stall_after / 4))
        behind = _lag(worker, monitor)
        if detector.observe(time.monotonic(), worker.mark, bool(behind)) > stall_after:
            work = f"{sum(behind.values())} records wait in {', '.join(map(str, sorted(behind)))}"
            raise Stalled(f"{work}; no insert tried for {detector.seconds:.0f} s")


def _lag(worker: Worker, monitor: GroupMonitor) -> dict[TopicPartition, int]:
    """Records left of the worker's partitions; empty while Kafka does not answer."""
    lag = monitor.latest.lag if monitor.latest else {}
    assigned = (TopicPartition(*tp) for tp in worker.consumer.assignment())
    return {tp: lag[tp] for tp in assigned if lag.get(tp)}
