"""How long it takes from Kafka's append to a row that a query sees, at a steady rate of events."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from time import monotonic
from typing import Any, NamedTuple

from aiokafka import AIOKafkaProducer
from clickhouse_connect import get_async_client

from benchmarks.harness.events import Event
from gateway.kafka.partitioner import partition_of

TICK_SECONDS, LOOK_SECONDS, PATIENCE_SECONDS = 0.02, 0.05, 60.0

Place = tuple[str, int]


class Appended(NamedTuple):
    """Rows of one partition that were sent at one time; the last of them is the partition's `end`th."""

    place: Place
    rows: int
    end: int
    sent_at: float


async def seconds_to_be_visible(
    kafka: str, url: str, partitions: int, events: Sequence[Event], rate: float
) -> list[float]:
    """Of each event, in no order, into topics and a table that are empty at first."""
    looking = asyncio.create_task(_look(url, len(events)))
    appended = await _append(kafka, partitions, events, rate)
    async with asyncio.timeout(PATIENCE_SECONDS):
        seen = await looking
    waits: list[float] = []
    for place, rows, end, sent_at in appended:
        seen_at = next(at for at, counts in seen if counts.get(place, 0) >= end)
        waits += [seen_at - sent_at] * rows
    return waits


async def _append(kafka: str, partitions: int, events: Sequence[Event], rate: float) -> list[Appended]:
    counts: dict[Place, int] = defaultdict(int)
    appended: list[Appended] = []
    acknowledged: list[Any] = []
    async with AIOKafkaProducer(bootstrap_servers=kafka, acks="all", max_batch_size=500_000) as producer:
        began, done = monotonic(), 0
        while done < len(events):
            await asyncio.sleep(TICK_SECONDS)
            due = min(len(events), int((monotonic() - began) * rate))
            batches: dict[Place, Any] = {}
            for topic, key, value in events[done:due]:
                place = topic, partition_of(key, partitions)
                batch = batches.setdefault(place, None) or producer.create_batch()
                batches[place] = batch
                batch.append(timestamp=None, key=key, value=value)
            done, now = due, monotonic()
            for place, batch in batches.items():
                counts[place] += batch.record_count()
                appended.append(Appended(place, batch.record_count(), counts[place], now))
                acknowledged.append(await producer.send_batch(batch, place[0], partition=place[1]))
        await asyncio.gather(*acknowledged)
    return appended


async def _look(url: str, all_rows: int) -> list[tuple[float, Mapping[Place, int]]]:
    """At each time how many rows of each partition a query sees, until it sees all."""
    seen: list[tuple[float, Mapping[Place, int]]] = []
    client = await get_async_client(dsn=url)
    try:
        while True:
            found = await client.query("SELECT topic, partition, count() FROM postbacks GROUP BY ALL")
            counts = {(topic, partition): rows for topic, partition, rows in found.result_rows}
            seen.append((monotonic(), counts))
            if sum(counts.values()) >= all_rows:
                return seen
            await asyncio.sleep(LOOK_SECONDS)
    finally:
        await client.close()
