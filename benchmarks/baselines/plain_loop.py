"""The ceiling of Python: a loop over aiokafka that decodes, and merges into a dictionary.

`python -m benchmarks.baselines.plain_loop KAFKA GROUP` runs until killed. It stores nothing, so anything that
does more per event is slower.
"""

from __future__ import annotations

import asyncio
import gc
import sys
from time import monotonic

from aiokafka import AIOKafkaConsumer

from gateway.postback import POSTBACK_TOPICS, decode
from streams.merge import merge
from streams.message import Message

COMMIT_INTERVAL = 1.0


async def main(kafka: str, group: str) -> None:
    gc.disable()  # there are no cycles, and half a million objects to traverse
    states: dict[bytes, Message] = {}
    async with AIOKafkaConsumer(
        *POSTBACK_TOPICS,
        bootstrap_servers=kafka,
        group_id=group,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=4 * 2**20,
        fetch_max_bytes=8 * 2**20,
        fetch_max_wait_ms=50,
    ) as consumer:
        committed_at = monotonic()
        while True:
            fetched = await consumer.getmany(timeout_ms=100)
            for partition, records in fetched.items():
                topic = partition.topic
                for record in records:
                    states[record.key] = merge(states.get(record.key), decode(topic, record.value))
            if monotonic() > committed_at + COMMIT_INTERVAL:
                committed_at = monotonic()
                await consumer.commit()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
