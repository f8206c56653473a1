"""Reads a part of `messages` on the side: what others wrote between our records of a partition of ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition

from streams.message import MESSAGES

#: Records at a time, so that a long part does not fill the memory.
MOST = 20_000


class ChangelogSlice(NamedTuple):
    """Keys and values of the log up to before offset `end`."""

    records: list[tuple[bytes, bytes | None]]
    end: int


async def read_slice(options: Mapping[str, Any], partition: int, start: int) -> ChangelogSlice:
    """Read what stands in the partition from offset `start` on, as far as one read goes.

    Raises:
        KafkaError: no answer.
    """
    tp = TopicPartition(MESSAGES, partition)
    reader = AIOKafkaConsumer(**options, enable_auto_commit=False, auto_offset_reset="earliest")
    await reader.start()
    try:
        reader.assign([tp])
        reader.seek(tp, start)
        fetched = await reader.getmany(tp, timeout_ms=1000, max_records=MOST)
        records = [(record.key, record.value) for record in fetched.get(tp, [])]
        return ChangelogSlice(records, await reader.position(tp))
    finally:
        await reader.stop()
