"""Seeded workloads, produced directly to Kafka, with duplicates and out of order; and the expected states."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from msgspec.structs import replace

from gateway.kafka.partitioner import partition_of
from gateway.postback import TOPIC_OF, AnyPostback, encode, format_time, key_of
from gateway.submission import SUBMISSIONS, Submission
from streams.join import join
from streams.merge import Event, merge
from streams.message import Message, decode_message, encode_message
from tests.support.postbacks import receipt, reply, sent

CODES = ("003", "004", "000", "005", "023", "777")
BATCH = 4_000
BATCH_BYTES = 500_000


def generate_postbacks(
    messages: int, seed: int, account: str = "acme", start: datetime | None = None
) -> list[AnyPostback]:
    """Generate about three postbacks per message: attempts, receipts, replies.

    One in twenty is duplicated, and all are shuffled within two minutes.
    """
    rng = random.Random(seed)
    began = start or datetime.now(UTC) - timedelta(minutes=5)
    timed: list[tuple[float, AnyPostback]] = []

    def add(build: Any, second: float, **fields: Any) -> None:
        at = format_time(began + timedelta(seconds=second))
        event_id = f"{rng.getrandbits(128):032x}"
        body = f"MessageID={fields['message_id']}&ReferenceID={fields['reference_id']}&" + "x" * 150
        timed.append((second, build(event_id=event_id, account=account, received_at=at, body=body, **fields)))

    for n in range(messages):
        second = n / 200
        common = {
            "message_id": str(UUID(int=rng.getrandbits(128))),
            "reference_id": str(rng.randrange(10**6)),
            "from_number": rng.choice(("74121", "17575449510")),
            "to_number": f"1{rng.randrange(10**10):010d}",
        }
        for _ in range(rng.choice((0, 0, 0, 0, 1, 3)) if rng.random() < 0.1 else 0):
            add(sent, second + rng.random(), ok=False, **common)
        if rng.random() < 0.97:
            add(sent, second, **common)
        for code in rng.sample(CODES, rng.choice((0, 1, 2, 2, 3))):
            text = (
                f"id:{rng.randrange(10**9)} sub:001 dlvrd:001 submit date:1209281334 stat:DELIVRD err:{code}"
            )
            add(receipt, second + rng.random() * 60, code=code, text=text, **common)
        if rng.random() < 0.2:
            swapped = common | {"from_number": common["to_number"], "to_number": common["from_number"]}
            add(
                reply,
                second + 90,
                text="Thanks, got it",
                reply_id=str(UUID(int=rng.getrandbits(128))),
                **swapped,
            )
    for second, postback in rng.sample(timed, len(timed) // 20):
        again = format_time(began + timedelta(seconds=second + 5))
        timed.append((second + 5, replace(postback, received_at=again)))
    timed.sort(key=lambda entry: entry[0] + rng.random() * 120)
    return [postback for _, postback in timed]


def topic_of(event: Event) -> str:
    """The topic that an event is produced to."""
    return SUBMISSIONS if isinstance(event, Submission) else TOPIC_OF[type(event)]


def fold(events: Iterable[Event]) -> dict[bytes, bytes]:
    """Fold events into their messages' states, encoded, by key."""
    states: dict[bytes, Message] = {}
    for event in events:
        key = key_of(event.account, event.message_id or event.event_id)
        states[key] = merge(states.get(key), event)
    return {key: encode_message(state) for key, state in states.items()}


async def produce(kafka: str, events: Sequence[Event], partitions: int, rate: float = float("inf")) -> None:
    """Produce events to their topics, at most `rate` per second."""
    began = time.monotonic()
    async with bulk_producer(kafka) as producer:
        for start in range(0, len(events), BATCH):
            await produce_batched(
                producer,
                partitions,
                (
                    (
                        topic_of(event),
                        key_of(event.account, event.message_id or event.event_id),
                        encode(event),
                    )
                    for event in events[start : start + BATCH]
                ),
            )
            await asyncio.sleep(max(0, began + (start + BATCH) / rate - time.monotonic()))


def bulk_producer(kafka: str) -> AIOKafkaProducer:
    """Return a producer of large batches (acks=all)."""
    return AIOKafkaProducer(
        bootstrap_servers=kafka, acks="all", max_batch_size=BATCH_BYTES, max_request_size=8 * 2**20
    )


async def produce_batched(
    producer: AIOKafkaProducer, partitions: int, records: Iterable[tuple[str, bytes, bytes]]
) -> None:
    """Produce records (topic, key, value), each to the partition of its key; wait until acknowledged."""
    acknowledged: list[asyncio.Future[Any]] = []
    batches: dict[tuple[str, int], Any] = {}
    for topic, key, value in records:
        target = topic, partition_of(key, partitions)
        batch = batches.get(target)
        if batch is None or batch.append(timestamp=None, key=key, value=value) is None:
            if batch is not None:
                acknowledged.append(await producer.send_batch(batch, topic, partition=target[1]))
            batch = batches[target] = producer.create_batch()
            batch.append(timestamp=None, key=key, value=value)
    for (topic, partition), batch in batches.items():
        acknowledged.append(await producer.send_batch(batch, topic, partition=partition))
    await asyncio.gather(*acknowledged)


async def read_all(kafka: str, topic: str) -> list[Any]:
    """Read all records of a topic, as aiokafka returns them, ordered within each partition."""
    records: list[Any] = []
    async with AIOKafkaConsumer(
        bootstrap_servers=kafka, max_partition_fetch_bytes=4 << 20, enable_auto_commit=False
    ) as consumer:
        parts = await _partitions(consumer, topic)
        consumer.assign(parts)
        await consumer.seek_to_beginning()
        ends = await consumer.end_offsets(parts)
        while any([await consumer.position(part) < ends[part] for part in parts]):
            for fetched in (await consumer.getmany(timeout_ms=500)).values():
                records += fetched
    return records


async def lag(kafka: str, group: str, topics: Iterable[str]) -> int:
    """Return how many records the group has not committed; end offsets may be reported too low."""
    async with AIOKafkaConsumer(
        bootstrap_servers=kafka, group_id=group, enable_auto_commit=False
    ) as consumer:
        parts = [part for topic in topics for part in await _partitions(consumer, topic)]
        consumer.assign(parts)
        ends = await consumer.end_offsets(parts)
        found = await consumer._coordinator.fetch_committed_offsets(parts)  # all in one request
        committed = {part: max(0, commit.offset) for part, commit in found.items()}
        return sum(max(0, ends[part] - committed.get(part, 0)) for part in parts)


async def _partitions(consumer: AIOKafkaConsumer, topic: str) -> list[TopicPartition]:
    await consumer._client._wait_on_metadata(topic)
    return [TopicPartition(topic, number) for number in sorted(consumer.partitions_for_topic(topic))]


def compact(records: Iterable[Any]) -> dict[bytes, bytes]:
    """Keep the last record of each key, as log compaction does."""
    values: dict[bytes, bytes] = {}
    for record in records:
        if record.value is None:
            values.pop(record.key, None)
        else:
            values[record.key] = record.value
    return values


def join_states(records: Iterable[Any]) -> dict[bytes, bytes]:
    """Join all records of each key."""
    states: dict[bytes, Message] = {}
    for record in records:
        if record.value is None:
            states.pop(record.key, None)
        else:
            state = decode_message(record.value)
            known = states.get(record.key)
            states[record.key] = state if known is None else join(state, known)
    return {key: encode_message(state) for key, state in states.items()}


def diff_states(
    actual: Mapping[bytes, bytes], expected: Mapping[bytes, bytes]
) -> dict[bytes, tuple[Any, Any]]:
    """Return the keys whose states differ, with the actual and the expected state."""
    return {
        key: (actual.get(key), expected.get(key))
        for key in actual.keys() | expected.keys()
        if actual.get(key) != expected.get(key)
    }
