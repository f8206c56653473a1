"""What Kafka says about handsets: their contacts, and the history of their automatic responses.

Every process reads all partitions of `contacts`, `contact_events` and `auto_responses` from their beginning
and keeps the result in memory, as the handset of a response may be in any partition.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import UTC, datetime

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError
from aiokafka.partitioner import DefaultPartitioner
from msgspec import DecodeError

from runtime.retry import retrying
from streams.auto_response import AUTO_RESPONSES, auto_response_key, decode_auto_response
from streams.contact import CONTACTS, Contact
from streams.contact_event import CONTACT_EVENTS, contact_key
from streams.respond.history import History
from streams.responder.contacts import CompressedContacts, check_key

TOPICS = (CONTACTS, CONTACT_EVENTS, AUTO_RESPONSES)
#: Seconds between evictions, for a fetch, and between attempts to read the end of a log.
EVICTION_INTERVAL, POLL_TIMEOUT, MAX_BACKOFF = 120.0, 1.0, 1.0
#: Records after which what is old is evicted at the latest: it takes a few times as much memory before.
EVICTION_RECORDS = 100_000

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
        self._contacts = CompressedContacts()
        self._offsets: dict[TopicPartition, int] = {}
        #: Grows with each request for the end of a log.
        self.attempts = 0
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
        return self._contacts.find(account, number)

    @property
    def applied(self) -> int:
        """Sum of the offsets up to which records are applied."""
        return sum(self._offsets.values())

    async def run(self) -> None:
        """Read until cancelled.

        Raises:
            NewerVersion: newer code has written what this code cannot read.
        """
        partitions = [TopicPartition(topic, number) for topic in TOPICS for number in self._partitions]
        self._consumer.assign(partitions)
        await self._consumer.seek_to_beginning(*partitions)
        loop = asyncio.get_running_loop()
        evict_at, applied = loop.time() + EVICTION_INTERVAL, 0
        while True:
            fetched = await self._consumer.getmany(timeout_ms=int(POLL_TIMEOUT * 1000))
            for partition, records in fetched.items():
                self._apply(partition, records)
                applied += len(records)
            positions = {partition: await self._consumer.position(partition) for partition in partitions}
            async with self._moved:
                self._offsets = positions
                self._moved.notify_all()
            if loop.time() >= evict_at or applied >= EVICTION_RECORDS:  # the latter while all is loaded
                evict_at, applied = loop.time() + EVICTION_INTERVAL, 0
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
            self.attempts += 1
            with attempt:
                end: int = (await self._consumer.end_offsets([partition]))[partition]
        return end

    def _apply(self, partition: TopicPartition, records: Iterable[ConsumerRecord]) -> None:
        for record in records:
            if record.value is None:
                continue
            try:
                self._apply_record(partition, record.key, record.value)
            except DecodeError as error:  # its key or value is not ours
                log.warning(
                    "Record ignored",
                    topic=partition.topic,
                    partition=partition.partition,
                    offset=record.offset,
                    reason=str(error),
                )

    def _apply_record(self, partition: TopicPartition, key: bytes | None, value: bytes) -> None:
        if partition.topic == CONTACTS:
            self._contacts.apply_state(key, value)
        elif partition.topic == CONTACT_EVENTS:
            self._contacts.apply_event(key, value)
        else:
            record = decode_auto_response(value)
            check_key(key, auto_response_key(record))
            self._histories[partition.partition].apply(record)
