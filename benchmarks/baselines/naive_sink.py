"""A sink of postbacks and messages as one would write it with clickhouse-connect: decode, `insert`, commit.

`python -m benchmarks.baselines.naive_sink KAFKA GROUP URL CHANGELOG` runs until killed. Messages come from
the changelog of `benchmarks.baselines.faust_table`, and go into a ReplacingMergeTree. Its batches are like
ours.
"""

from __future__ import annotations

import asyncio
import sys
from datetime import datetime
from time import monotonic
from typing import Any
from uuid import UUID

from aiokafka import AIOKafkaConsumer
from clickhouse_connect import get_async_client

from benchmarks.baselines.decoded_insert import COLUMNS, ROWS, SECONDS, row
from gateway.postback import POSTBACK_TOPICS
from streams.message import decode_message

MESSAGE_TABLE = "naive_messages"
TIMES = ("first_seen_at", "last_seen_at", "sent_at", "carrier_at", "delivered_at", "failed_at", "replied_at")
TEXTS = ("account", "status", "direction", "reference_id", "from_number", "to_number")
MESSAGE_COLUMNS = ("message_id", *TEXTS, *TIMES, "state")
CREATE = f"""
    CREATE TABLE IF NOT EXISTS {MESSAGE_TABLE} (
        message_id UUID, {", ".join(f"{name} String" for name in TEXTS)},
        first_seen_at DateTime64(3, 'UTC'), last_seen_at DateTime64(3, 'UTC'),
        {", ".join(f"{name} Nullable(DateTime64(3, 'UTC'))" for name in TIMES[2:])}, state String
    ) ENGINE = ReplacingMergeTree(last_seen_at) ORDER BY (account, message_id)
"""


def message_row(value: bytes) -> list[Any]:
    """Convert a value of the changelog to a row."""
    message = decode_message(value)
    times = [getattr(message, name) for name in TIMES]
    return [
        UUID(message.message_id),
        *(getattr(message, name) for name in TEXTS),
        *(time and datetime.fromisoformat(time) for time in times),
        value.decode(),
    ]


async def main(kafka: str, group: str, url: str, changelog: str) -> None:
    client = await get_async_client(dsn=url)
    await client.command(CREATE)
    async with AIOKafkaConsumer(
        *POSTBACK_TOPICS,
        changelog,
        bootstrap_servers=kafka,
        group_id=group,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    ) as consumer:
        while True:
            postbacks: list[list[Any]] = []
            messages: list[list[Any]] = []
            deadline = monotonic() + SECONDS
            while (room := ROWS - len(postbacks) - len(messages)) > 0 and monotonic() < deadline:
                fetched = await consumer.getmany(timeout_ms=100, max_records=room)
                for partition, records in fetched.items():
                    if partition.topic == changelog:
                        messages += [message_row(record.value) for record in records]
                    else:
                        postbacks += [row("benchmark", record) for record in records]
            if postbacks:
                await client.insert("postbacks", postbacks, COLUMNS, settings={"async_insert": 0})
            if messages:
                await client.insert(MESSAGE_TABLE, messages, MESSAGE_COLUMNS, settings={"async_insert": 0})
            if postbacks or messages:
                await consumer.commit()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
