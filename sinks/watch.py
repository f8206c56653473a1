"""Looks after a worker: measures what is left of each partition, and ends the process when it stands still.

ClickHouse or Kafka being away is no standstill: whoever waits for them tries again and again. That nothing is
even tried, though records wait, is.
"""

from __future__ import annotations

import asyncio
import time

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from runtime.metrics import SINK_LAG
from runtime.ops import Health
from runtime.stall import Stalled, Standstill
from sinks.record import Partition
from sinks.worker import Worker

LOOK_SECONDS = 5.0
ASK_SECONDS = 10.0


async def watch(worker: Worker, stall_after: float, health: Health) -> None:
    """Watch until cancelled.

    Raises:
        Stalled: for so many seconds there was lag, and nothing was done.
    """
    standstill = Standstill()
    labelled: set[Partition] = set()
    while True:
        await asyncio.sleep(min(LOOK_SECONDS, stall_after / 4))
        try:
            lags = await measure_lags(worker)
            health.missing.pop("lag", None)
        except (KafkaError, TimeoutError) as error:
            lags = {}  # nobody can say; it is not the worker's fault
            health.missing["lag"] = f"Kafka does not answer ({error or type(error).__name__})"
        for partition in labelled - lags.keys():
            SINK_LAG.remove(*map(str, partition))
        labelled = set(lags)
        for partition, lag in lags.items():
            SINK_LAG.labels(*map(str, partition)).set(lag)
        behind = {partition: lag for partition, lag in lags.items() if lag}
        if standstill.look(time.monotonic(), worker.mark, bool(behind)) > stall_after:
            places = ", ".join(f"{topic}/{number}" for topic, number in sorted(behind))
            raise Stalled(
                f"For {standstill.seconds:.0f} s nothing was stored, though {sum(behind.values())} records "
                f"wait in {places}"
            )


async def measure_lags(worker: Worker) -> dict[Partition, int]:
    """The records of each of the worker's partitions that are not stored yet.

    Raises:
        KafkaError, TimeoutError: the brokers do not say.
    """
    consumer = worker.consumer
    async with asyncio.timeout(ASK_SECONDS):
        assigned: list[TopicPartition] = list(consumer.assignment())
        ends = await consumer.end_offsets(assigned) if assigned else {}
        read = {partition: await consumer.position(partition) for partition in assigned}
    return {
        # Some brokers call an end too low, so that the difference may be negative.
        Partition(*place): max(0, ends[place] - worker.offsets.stored(Partition(*place), read[place]))
        for place in assigned
    }
