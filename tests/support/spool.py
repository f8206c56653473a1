"""What tests of the disk spool share: records to spool, a full disk, Kafka that starts late."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from uuid import uuid4

from aiokafka import AIOKafkaConsumer, TopicPartition
from msgspec import json

from gateway.postback import SENT
from gateway.spool.file import Spooled
from tests.support.gateway import RunningGateway, post, sent_form
from tests.support.kafka import free_ports, own_kafka


def spooled_records(count: int, first: int = 0, size: int = 300) -> list[Spooled]:
    """Records with ascending numbers and times; `size` is added to the length of each value."""
    return [
        Spooled("postbacks.sent", b"acme/%d" % n, b"%d" % n + b"x" * size, 1000.0 + n)
        for n in range(first, first + count)
    ]


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """Simulate a full disk: no file of this process can grow beyond `size` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def spool_postbacks(gateway: RunningGateway, count: int) -> list[str]:
    """Post to a gateway without Kafka, assert that each gets 202, and return the message ids."""
    ids = [str(uuid4()) for _ in range(count)]
    responses = await asyncio.gather(*(post(gateway.address, sent_form(message_id)) for message_id in ids))
    assert {response.status for response in responses} == {202}
    return ids


def free_kafka_address() -> str:
    """An address for `kafka_at`, where nothing listens yet."""
    (port,) = free_ports(1)
    return f"127.0.0.1:{port}"


@asynccontextmanager
async def kafka_at(address: str, home: Path) -> AsyncIterator[None]:
    """Run Kafka at the address, with its data in `home`."""
    async with own_kafka(home, int(address.rpartition(":")[2])):
        yield


async def sent_message_ids(kafka: str, count: int, partitions: int = 8) -> list[str]:
    """Wait for `count` different messages in `postbacks.sent`; return all ids, in each partition's order."""
    found: list[str] = []
    async with (
        AIOKafkaConsumer(bootstrap_servers=kafka, fetch_max_wait_ms=50) as consumer,
        asyncio.timeout(60),
    ):
        consumer.assign([TopicPartition(SENT, number) for number in range(partitions)])
        await consumer.seek_to_beginning()
        while len(set(found)) < count:
            for records in (await consumer.getmany(timeout_ms=100)).values():
                found += [json.decode(record.value)["message_id"] for record in records]
    return found
