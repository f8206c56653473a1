"""What Kafka says about handsets: their contacts, and the history of their automatic responses.

Every process reads all partitions of `contacts`, `contact_events` and `auto_responses` from their beginning
and keeps the result in memory, as the handset of a response may be in any partition. A contact takes about
1 kB; only numbers that have opted out or in have one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError
from aiokafka.partitioner import DefaultPartitioner
from msgspec import DecodeError

from runtime.retry import retrying
from streams.auto_response import AUTO_RESPONSES, auto_response_key, decode_auto_response
from streams.contact import CONTACTS, Contact, decode_contact, encode_contact, join_contacts, merge_contact
from streams.contact_event import CONTACT_EVENTS, contact_event_key, contact_key, decode_contact_event
from streams.respond.history import History

TOPICS = (CONTACTS, CONTACT_EVENTS, AUTO_RESPONSES)
#: Seconds between evictions, for a fetch, and between attempts to read the end of a log.
EVICTION_INTERVAL, POLL_TIMEOUT, MAX_BACKOFF = 120.0, 1.0, 1.0

log = structlog.get_logger(__name__)


class HandsetView:
    """Up to date while `run` runs."""

    def __init__(self, consumer: AIOKafkaConsumer, partitions: int, *, counts_dry_runs: bool = False) -> None:
        """
        Args:
            consumer: started, and without a group.
            partitions: of each of the topics.
            counts_dry_runs: whether a dry run's answers count to the caps.
        """
        self._consumer = consumer
        self._partitions = list(range(partitions))
        self._partition_of = DefaultPartitioner()
        self._histories = [History(counts_dry_runs=counts_dry_runs) for _ in self._partitions]
        #: Encoded, by key.
        self._contacts: dict[bytes, bytes] = {}
        self._offsets: dict[TopicPartition, int] = {}
        self._moved = asyncio.Condition()

    def partition_of(self, account: str, number: str) -> int:
        """The handset's partition of each topic."""
        found: int = self._partition_of(contact_key(account, number), self._partitions, self._partitions)
        return found

    def history(self, partition: int) -> History:
        """The history of the handsets of a partition."""
        return self._histories[partition]

    def contact(self, account: str, number: str) -> Contact | None:
        """The handset's contact; None if it has none."""
        state = self._contacts.get(contact_key(account, number))
        return decode_contact(state) if state else None

    async def run(self) -> None:
        """Read until cancelled.

        Raises:
            NewerVersion: newer code has written what this code cannot read.
        """
        partitions = [TopicPartition(topic, number) for topic in TOPICS for number in self._partitions]
        self._consumer.assign(partitions)
        await self._consumer.seek_to_beginning(*partitions)
        loop = asyncio.get_running_loop()
        evict_at = loop.time() + EVICTION_INTERVAL
        while True:
            fetched = await self._consumer.getmany(timeout_ms=int(POLL_TIMEOUT * 1000))
            for partition, records in fetched.items():
                self._apply(partition, records)
            positions = {partition: await self._consumer.position(partition) for partition in partitions}
            async with self._moved:
                self._offsets = positions
                self._moved.notify_all()
            if loop.time() >= evict_at:
                evict_at = loop.time() + EVICTION_INTERVAL
                for history in self._histories:
                    history.evict(datetime.now(UTC))

    async def load(self) -> None:
        """Wait until everything that is in Kafka now is applied."""
        for topic in TOPICS:
            for partition in self._partitions:
                await self.catch_up(topic, partition)

    async def catch_up(self, topic: str, partition: int, offset: int = -1) -> None:
        """Wait until everything that is in a partition now is applied.

        Args:
            offset: of a record that must be, even if the broker that is asked for the end does not have it.
        """
        tp = TopicPartition(topic, partition)
        end = max(await self._end(tp), offset + 1)
        async with self._moved:
            await self._moved.wait_for(lambda: self._offsets.get(tp, -1) >= end)

    async def _end(self, partition: TopicPartition) -> int:
        async for attempt in retrying((KafkaError, OSError), MAX_BACKOFF):
            with attempt:
                end: int = (await self._consumer.end_offsets([partition]))[partition]
        return end

    def _apply(self, partition: TopicPartition, records: Iterable[ConsumerRecord]) -> None:
        apply = self._appliers[partition.topic]
        for record in records:
            if record.value is None:
                continue
            try:
                apply(self, partition.partition, record.key, record.value)
            except DecodeError as error:  # its key or value is not ours
                log.warning(
                    "Record ignored",
                    topic=partition.topic,
                    partition=partition.partition,
                    offset=record.offset,
                    reason=str(error),
                )

    def _apply_contact(self, _: int, key: bytes | None, value: bytes) -> None:
        state = decode_contact(value)
        own_key = contact_key(state.account, state.number)
        _check_key(key, own_key)
        known = self._contacts.get(own_key)  # a stale record has less than the one before it
        self._contacts[own_key] = (
            encode_contact(join_contacts(decode_contact(known), state)) if known else value
        )

    def _apply_contact_event(self, _: int, key: bytes | None, value: bytes) -> None:
        event = decode_contact_event(value)
        own_key = contact_event_key(event)
        _check_key(key, own_key)
        known = self._contacts.get(own_key)
        self._contacts[own_key] = encode_contact(
            merge_contact(decode_contact(known) if known else None, event)
        )

    def _apply_auto_response(self, partition: int, key: bytes | None, value: bytes) -> None:
        record = decode_auto_response(value)
        _check_key(key, auto_response_key(record))
        self._histories[partition].apply(record)

    _appliers: Mapping[str, Callable[[HandsetView, int, bytes | None, bytes], None]] = {
        CONTACTS: _apply_contact,
        CONTACT_EVENTS: _apply_contact_event,
        AUTO_RESPONSES: _apply_auto_response,
    }


def _check_key(key: bytes | None, own_key: bytes) -> None:
    if key != own_key:
        raise DecodeError("its key is another one")
