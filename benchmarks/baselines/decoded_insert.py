"""A sink of postbacks as one would write it with clickhouse-connect: decode, build rows, `insert`, commit.

`python -m benchmarks.baselines.decoded_insert KAFKA GROUP URL` runs until killed. Its batches are like ours.
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
from msgspec.structs import asdict

from gateway.postback import POSTBACK_TOPICS, decode

#: Limits of a batch.
ROWS, SECONDS = 20_000, 1.0
TYPES = dict(zip(POSTBACK_TOPICS, ("sent", "response", "receipt"), strict=True))
COLUMNS = (
    *("type", "event_id", "message_id", "account", "reference_id", "from_number", "to_number"),
    *("occurred_at", "received_at", "client_ip", "query", "body", "body_base64", "headers", "extra"),
    *("sent", "reply_id", "matched", "code", "text", "backup_message_id"),
    *("cluster", "topic", "partition", "offset"),
)


def row(cluster: str, record: Any) -> list[Any]:
    """Convert a record to a row for clickhouse-connect: times and ids as objects, all columns."""
    postback = asdict(decode(record.topic, record.value))
    for name in ("occurred_at", "received_at"):
        postback[name] = postback[name] and datetime.fromisoformat(postback[name])
    for name in ("message_id", "reply_id", "backup_message_id"):
        postback[name] = UUID(postback[name]) if postback.get(name) else None
    postback |= {
        "type": TYPES[record.topic],
        "code": postback.get("code", ""),
        "text": postback.get("text", ""),
        "cluster": cluster,
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
    }
    get = postback.get
    return [get(column) for column in COLUMNS]


async def main(kafka: str, group: str, url: str) -> None:
    client = await get_async_client(dsn=url)
    async with AIOKafkaConsumer(
        *POSTBACK_TOPICS,
        bootstrap_servers=kafka,
        group_id=group,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    ) as consumer:
        while True:
            rows: list[list[Any]] = []
            deadline = monotonic() + SECONDS
            while len(rows) < ROWS and monotonic() < deadline:
                for records in (
                    await consumer.getmany(timeout_ms=100, max_records=ROWS - len(rows))
                ).values():
                    rows += [row("benchmark", record) for record in records]
            if rows:
                await client.insert("postbacks", rows, COLUMNS, settings={"async_insert": 0})
                await consumer.commit()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
