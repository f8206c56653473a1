"""Measures the time from a record's append to Kafka until a query sees its row, at a steady rate."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from time import monotonic
from typing import Any, NamedTuple, TypeAlias

from aiokafka import AIOKafkaProducer
from clickhouse_connect import get_async_client

from benchmarks.harness.events import Event
from gateway.kafka.partitioner import partition_of

PRODUCE_INTERVAL, POLL_INTERVAL, TIMEOUT = 0.02, 0.05, 60.0

Partition: TypeAlias = tuple[str, int]


class ProducedBatch(NamedTuple):
    """Rows of one partition that were sent together, and the number of its rows then."""

    partition: Partition
    rows: int
    rows_so_far: int
    sent_at: float


async def insert_latencies(
    kafka: str, url: str, partitions: int, events: Sequence[Event], rate: float
) -> list[float]:
    """Produce the events, and return the seconds of each, unordered. Topics and table must be empty.

    Raises:
        TimeoutError: a row was not visible `TIMEOUT` after the last append.
    """
    polling = asyncio.create_task(_poll_counts(url, len(events)))
    batches = await _produce(kafka, partitions, events, rate)
    async with asyncio.timeout(TIMEOUT):
        polls = await polling
    latencies: list[float] = []
    for partition, rows, rows_so_far, sent_at in batches:
        visible_at = next(at for at, counts in polls if counts.get(partition, 0) >= rows_so_far)
        latencies += [visible_at - sent_at] * rows
    return latencies


async def _produce(kafka: str, partitions: int, events: Sequence[Event], rate: float) -> list[ProducedBatch]:
    counts: dict[Partition, int] = defaultdict(int)
    produced: list[ProducedBatch] = []
    acknowledged: list[Any] = []
    async with AIOKafkaProducer(bootstrap_servers=kafka, acks="all", max_batch_size=500_000) as producer:
        began, done = monotonic(), 0
        while done < len(events):
            await asyncio.sleep(PRODUCE_INTERVAL)
            due = min(len(events), int((monotonic() - began) * rate))
            batches: dict[Partition, Any] = {}
            for number, (topic, key, value) in enumerate(events[done:due], done):
                target = topic, partition_of(key, partitions)
                batch = batches.setdefault(target, None) or producer.create_batch()
                batches[target] = batch
                if batch.append(timestamp=None, key=key, value=value) is None:  # full: leave it for the next
                    due = number
                    break
            done, now = due, monotonic()
            for target, batch in batches.items():
                counts[target] += batch.record_count()
                produced.append(ProducedBatch(target, batch.record_count(), counts[target], now))
                acknowledged.append(await producer.send_batch(batch, target[0], partition=target[1]))
        await asyncio.gather(*acknowledged)
    return produced


async def _poll_counts(url: str, rows: int) -> list[tuple[float, Mapping[Partition, int]]]:
    """Poll the number of rows per partition until all are visible; return all results with their times."""
    polls: list[tuple[float, Mapping[Partition, int]]] = []
    client = await get_async_client(dsn=url)
    try:
        while True:
            result = await client.query("SELECT topic, partition, count() FROM postbacks GROUP BY ALL")
            counts = {(topic, partition): count for topic, partition, count in result.result_rows}
            polls.append((monotonic(), counts))
            if sum(counts.values()) >= rows:
                return polls
            await asyncio.sleep(POLL_INTERVAL)
    finally:
        await client.close()
