"""Reads ranges of Kafka's logs, without joining any group, and sees no record of an aborted transaction."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError, OffsetOutOfRangeError

from runtime.errors import KafkaUnavailable

#: Bytes of one fetch from a partition; seconds without anything new after which Kafka is given up.
FETCH_BYTES = 8 * 2**20
TIMEOUT = 30.0

#: Of one fetch: a partition, its records in order, and the offset that will be read next.
Fetched: TypeAlias = tuple[TopicPartition, list[ConsumerRecord], int]


class Records:
    """A cluster's records; made by `open_records`. One reading at a time."""

    def __init__(self, consumer: AIOKafkaConsumer) -> None:
        self._consumer = consumer

    async def read(self, ranges: Mapping[TopicPartition, range]) -> AsyncIterator[Fetched]:
        """All records at these offsets; what retention deletes meanwhile is passed over.

        Raises:
            KafkaAway: no answer, or nothing new for too long.
        """
        clock = asyncio.get_running_loop().time
        left = {tp: wanted.stop for tp, wanted in ranges.items() if wanted}
        position = {tp: ranges[tp].start for tp in left}
        moved = clock()
        try:
            self._consumer.assign(list(left))
            for tp, offset in position.items():
                self._consumer.seek(tp, offset)
            while left:
                fetched = await self._fetch()
                for tp in list(left):
                    reached = await self._consumer.position(tp)
                    if reached > position[tp]:
                        records = [record for record in fetched.get(tp, []) if record.offset < left[tp]]
                        yield tp, records, min(reached, left[tp])
                        position[tp], moved = reached, clock()
                    if reached >= left[tp]:
                        self._consumer.pause(tp)
                        del left[tp]
                if clock() > moved + TIMEOUT:
                    raise KafkaUnavailable(f"Kafka has nothing more of {', '.join(map(_name, left))}")
        except KafkaError as error:
            raise KafkaUnavailable(f"Kafka does not answer: {error or type(error).__name__}") from None

    async def _fetch(self) -> dict[TopicPartition, list[ConsumerRecord]]:
        try:
            fetched: dict[TopicPartition, list[ConsumerRecord]] = await self._consumer.getmany(timeout_ms=500)
            return fetched
        except OffsetOutOfRangeError as error:
            (gone,) = error.args
            for tp, first in (await self._consumer.beginning_offsets(list(gone))).items():
                self._consumer.seek(tp, first)
            return {}


def _name(tp: TopicPartition) -> str:
    return f"{tp.topic}/{tp.partition}"


@asynccontextmanager
async def open_records(options: Mapping[str, Any]) -> AsyncIterator[Records]:
    """Connect with the options of `runtime.kafka.client_options`.

    Raises:
        KafkaAway: nobody answers there.
    """
    consumer = AIOKafkaConsumer(
        **options,
        enable_auto_commit=False,
        auto_offset_reset="none",
        isolation_level="read_committed",
        max_partition_fetch_bytes=FETCH_BYTES,
    )
    try:
        try:
            await consumer.start()
        except (KafkaError, OSError) as error:
            raise KafkaUnavailable(f"Kafka does not answer: {error or type(error).__name__}") from None
        yield Records(consumer)
    finally:
        await consumer.stop()
