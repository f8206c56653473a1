"""Record batches as bytes: with header names and timestamps that aiokafka's producer would refuse."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import NoError, NotLeaderForPartitionError, for_code
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.record.util import calc_crc32c, encode_varint
from aiokafka.structs import TopicPartition

from tests.support.wait import eventually

GZIP = 1
#: Bytes of a batch before its attributes, which are the first that its checksum covers.
ATTRIBUTES_AT = 21
ALL_REPLICAS, TIMEOUT_MS = -1, 10_000


@dataclass(frozen=True)
class RawRecord:
    """A record; `timestamp` in milliseconds since 1970, any 64-bit integer."""

    value: bytes | None
    key: bytes | None = None
    timestamp: int = 1_795_435_200_000
    headers: Sequence[tuple[bytes, bytes | None]] = field(default=())


def record_batch(records: Sequence[RawRecord], codec: int = 0) -> bytes:
    """A batch in Kafka's log format (magic 2), from offset 0."""
    first = records[0].timestamp
    body = b"".join(_record(record, first, index) for index, record in enumerate(records))
    attributes = struct.pack(
        ">hiqqqhii",
        codec,
        len(records) - 1,
        first,
        max(record.timestamp for record in records),
        -1,
        -1,
        -1,
        len(records),
    )
    checked = attributes + (gzip.compress(body) if codec else body)
    counted = struct.pack(">ibI", -1, 2, calc_crc32c(checked)) + checked
    return struct.pack(">qi", 0, len(counted)) + counted


def _record(record: RawRecord, first: int, index: int) -> bytes:
    body = bytearray(b"\0")
    for number in (record.timestamp - first, index):
        encode_varint(number, body.append)
    _append_bytes(body, record.key)
    _append_bytes(body, record.value)
    encode_varint(len(record.headers), body.append)
    for name, value in record.headers:
        _append_bytes(body, name)
        _append_bytes(body, value)
    length = bytearray()
    encode_varint(len(body), length.append)
    return bytes(length + body)


def _append_bytes(body: bytearray, part: bytes | None) -> None:
    encode_varint(-1 if part is None else len(part), body.append)
    body += part or b""


async def produce_each(kafka: str, topic: str, partition: int, records: Sequence[RawRecord]) -> None:
    """Produce the records, each in a batch of its own, acknowledged by all replicas."""
    client = AIOKafkaClient(bootstrap_servers=kafka)
    await client.bootstrap()
    try:
        await client.set_topics([topic])
        leader = client.cluster.leader_for_partition(TopicPartition(topic, partition))
        for record in records:
            batches = [(topic, [(partition, record_batch([record]))])]

            async def produce(batches: Any = batches) -> type[Exception]:
                response = await client.send(leader, ProduceRequest(None, ALL_REPLICAS, TIMEOUT_MS, batches))
                ((_, ((_, code, *_),)),) = response.topics
                error: type[Exception] = for_code(code)
                return error

            # The leader of a new topic may not know of it yet.
            error = await eventually(
                produce, "the leader takes records", lambda error: error is not NotLeaderForPartitionError
            )
            assert error is NoError, f"Kafka refused {str(record)[:200]} with {error}"
    finally:
        await client.close()
