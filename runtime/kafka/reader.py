"""Reads ranges of Kafka's logs, without joining a group. Skips records of aborted transactions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import OffsetOutOfRangeError

from runtime.errors import KafkaUnavailable
from runtime.kafka.errors import translate_errors

#: Bytes of one fetch from a partition; seconds without new records after which reading fails.
FETCH_BYTES = 8 * 2**20
TIMEOUT = 30.0

#: What a fetch returned: a partition, its records in order, and the next offset to read.
Fetched: TypeAlias = tuple[TopicPartition, list[ConsumerRecord], int]


class Records:
    """A cluster's records, see `open_records`. One `read` at a time."""

    def __init__(self, consumer: AIOKafkaConsumer) -> None:
        self._consumer = consumer

    async def read(self, ranges: Mapping[TopicPartition, range]) -> AsyncIterator[Fetched]:
        """Yield all records at these offsets; those that retention deletes meanwhile are skipped.

        Raises:
            KafkaUnavailable: no broker answers, or no new records arrive.
        """
        clock = asyncio.get_running_loop().time
        stops = {tp: offsets.stop for tp, offsets in ranges.items() if offsets}
        positions = {tp: ranges[tp].start for tp in stops}
        progress_at = clock()
        with translate_errors():
            self._consumer.assign(list(stops))
            for tp, offset in positions.items():
                self._consumer.seek(tp, offset)
            while stops:
                fetched = await self._fetch()
                for tp, stop in list(stops.items()):
                    position = await self._consumer.position(tp)
                    if position > positions[tp]:
                        records = [record for record in fetched.get(tp, []) if record.offset < stop]
                        yield tp, records, min(position, stop)
                        positions[tp], progress_at = position, clock()
                    if position >= stop:
                        self._consumer.pause(tp)
                        del stops[tp]
                if clock() > progress_at + TIMEOUT:
                    names = ", ".join(f"{tp.topic}-{tp.partition}" for tp in stops)
                    raise KafkaUnavailable(f"Kafka returned no records of {names} for {TIMEOUT:g} s")

    async def _fetch(self) -> dict[TopicPartition, list[ConsumerRecord]]:
        try:
            fetched: dict[TopicPartition, list[ConsumerRecord]] = await self._consumer.getmany(timeout_ms=500)
            return fetched
        except OffsetOutOfRangeError as error:
            (deleted,) = error.args
            for tp, start in (await self._consumer.beginning_offsets(list(deleted))).items():
                self._consumer.seek(tp, start)
            return {}


@asynccontextmanager
async def open_records(options: Mapping[str, Any]) -> AsyncIterator[Records]:
    """Connect with the options of `client_options`, and disconnect after the block.

    Raises:
        KafkaUnavailable: no broker answers.
    """
    consumer = AIOKafkaConsumer(
        **options,
        enable_auto_commit=False,
        auto_offset_reset="none",
        isolation_level="read_committed",
        max_partition_fetch_bytes=FETCH_BYTES,
    )
    try:
        with translate_errors():
            await consumer.start()
        await asyncio.sleep(0)  # aiokafka cannot stop a consumer whose tasks have not begun
        yield Records(consumer)
    finally:
        await consumer.stop()
