"""Seeded loads of postbacks, straight into Kafka: duplicates, out of order; and what they must come to."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.partitioner import murmur2
from msgspec.structs import replace

from gateway.postback import TOPIC_OF, AnyPostback, encode, format_time, key_of
from streams.message import MESSAGES, Message, decode_message, encode_message, join, merge
from tests.support.postbacks import receipt, reply, sent

CODES = ("003", "004", "000", "005", "023", "777")
BATCH = 4_000


def postbacks(
    messages: int, seed: int, account: str = "acme", start: datetime | None = None
) -> list[AnyPostback]:
    """About three a message: attempts, receipts, replies; one in twenty twice; shuffled within minutes."""
    rnd = random.Random(seed)
    began = start or datetime.now(UTC) - timedelta(minutes=5)
    timed: list[tuple[float, AnyPostback]] = []

    def add(build: Any, second: float, **fields: Any) -> None:
        at = format_time(began + timedelta(seconds=second))
        event_id = f"{rnd.getrandbits(128):032x}"
        body = f"MessageID={fields['message_id']}&ReferenceID={fields['reference_id']}&" + "x" * 150
        timed.append((second, build(event_id=event_id, account=account, received_at=at, body=body, **fields)))

    for n in range(messages):
        second = n / 200
        common = {
            "message_id": str(UUID(int=rnd.getrandbits(128))),
            "reference_id": str(rnd.randrange(10**6)),
            "from_number": rnd.choice(("74121", "17575449510")),
            "to_number": f"1{rnd.randrange(10**10):010d}",
        }
        for _ in range(rnd.choice((0, 0, 0, 0, 1, 3)) if rnd.random() < 0.1 else 0):
            add(sent, second + rnd.random(), ok=False, **common)
        if rnd.random() < 0.97:
            add(sent, second, **common)
        for code in rnd.sample(CODES, rnd.choice((0, 1, 2, 2, 3))):
            text = (
                f"id:{rnd.randrange(10**9)} sub:001 dlvrd:001 submit date:1209281334 stat:DELIVRD err:{code}"
            )
            add(receipt, second + rnd.random() * 60, code=code, text=text, **common)
        if rnd.random() < 0.2:
            turned = common | {"from_number": common["to_number"], "to_number": common["from_number"]}
            add(
                reply,
                second + 90,
                text="Thanks, got it",
                reply_id=str(UUID(int=rnd.getrandbits(128))),
                **turned,
            )
    for second, postback in rnd.sample(timed, len(timed) // 20):
        again = format_time(began + timedelta(seconds=second + 5))
        timed.append((second + 5, replace(postback, received_at=again)))
    timed.sort(key=lambda entry: entry[0] + rnd.random() * 120)
    return [postback for _, postback in timed]


def fold(all_postbacks: Iterable[AnyPostback]) -> dict[bytes, bytes]:
    """The states that the postbacks come to, encoded, by key."""
    states: dict[bytes, Message] = {}
    for postback in all_postbacks:
        key = key_of(postback.account, postback.message_id)
        states[key] = merge(states.get(key), postback)
    return {key: encode_message(state) for key, state in states.items()}


async def produce(
    kafka: str, all_postbacks: list[AnyPostback], partitions: int, rate: float = float("inf")
) -> None:
    """Put them into their topics, at most so many a second."""
    began = time.monotonic()
    async with AIOKafkaProducer(bootstrap_servers=kafka, acks="all", max_batch_size=900_000) as producer:
        for start in range(0, len(all_postbacks), BATCH):
            batches: dict[tuple[str, int], Any] = {}
            for postback in all_postbacks[start : start + BATCH]:
                key = key_of(postback.account, postback.message_id)
                where = TOPIC_OF[type(postback)], (murmur2(key) & 0x7FFFFFFF) % partitions
                batch = batches.setdefault(where, None) or producer.create_batch()
                batches[where] = batch
                value = encode(postback)
                if batch.append(timestamp=None, key=key, value=value) is None:
                    await (await producer.send_batch(batch, where[0], partition=where[1]))
                    batch = batches[where] = producer.create_batch()
                    batch.append(timestamp=None, key=key, value=value)
            for future in [await producer.send_batch(b, t, partition=p) for (t, p), b in batches.items()]:
                await future
            await asyncio.sleep(max(0, began + (start + BATCH) / rate - time.monotonic()))


async def read_all(kafka: str, topic: str) -> list[Any]:
    """Every record of the topic, as aiokafka gives them; of each partition in order."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=kafka, max_partition_fetch_bytes=4 << 20, enable_auto_commit=False
    )
    await consumer.start()
    try:
        parts = await _partitions(consumer, topic)
        consumer.assign(parts)
        await consumer.seek_to_beginning()
        ends = await consumer.end_offsets(parts)
        records: list[Any] = []
        while any([await consumer.position(part) < ends[part] for part in parts]):
            for fetched in (await consumer.getmany(timeout_ms=500)).values():
                records += fetched
        return records
    finally:
        await consumer.stop()


async def lag(kafka: str, group: str, topics: Iterable[str]) -> int:
    """How many records of the topics the group has not committed. (An engine may call ends too low.)"""
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka, group_id=group, enable_auto_commit=False)
    await consumer.start()
    try:
        parts = [part for topic in topics for part in await _partitions(consumer, topic)]
        consumer.assign(parts)
        ends = await consumer.end_offsets(parts)
        return sum([max(0, ends[part] - (await consumer.committed(part) or 0)) for part in parts])
    finally:
        await consumer.stop()


async def _partitions(consumer: AIOKafkaConsumer, topic: str) -> list[TopicPartition]:
    await consumer._client._wait_on_metadata(topic)
    return [TopicPartition(topic, number) for number in sorted(consumer.partitions_for_topic(topic))]


def last(records: Iterable[Any]) -> dict[bytes, bytes]:
    """What a reader has who believes the last record of each key."""
    values: dict[bytes, bytes] = {}
    for record in records:
        if record.value is None:
            values.pop(record.key, None)
        else:
            values[record.key] = record.value
    return values


def joined(records: Iterable[Any]) -> dict[bytes, bytes]:
    """What a reader has who joins the records of each key."""
    states: dict[bytes, Message] = {}
    for record in records:
        if record.value is None:
            states.pop(record.key, None)
        else:
            told = decode_message(record.value)
            known = states.get(record.key)
            states[record.key] = told if known is None else join(told, known)
    return {key: encode_message(state) for key, state in states.items()}


def differences(got: Mapping[bytes, bytes], want: Mapping[bytes, bytes]) -> dict[bytes, tuple[Any, Any]]:
    """Keys whose states differ, with what there is and what there should be."""
    return {
        key: (got.get(key), want.get(key))
        for key in got.keys() | want.keys()
        if got.get(key) != want.get(key)
    }


__all__ = ["MESSAGES", "differences", "fold", "joined", "lag", "last", "postbacks", "produce", "read_all"]
