"""Reads Kafka and ClickHouse completely."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from hashlib import md5
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from clickhouse_connect.driver.client import Client
from msgspec import convert, json

from streams.contact import Contact, encode_contact
from streams.contact_event import contact_key
from streams.message import Message, encode_message

ISO = {"date_time_output_format": "iso", "output_format_json_quote_64bit_integers": 0}
DIGEST_BYTES = 16

#: MD5 of the body of a postback or a submission, to keep millions of them in memory.
Digest = bytes


def digest_of(body: bytes) -> Digest:
    """Return the digest that ClickHouse's MD5 returns."""
    return md5(body, usedforsecurity=False).digest()


async def read_records(kafka: str, topics: Sequence[str]) -> AsyncIterator[ConsumerRecord[Any, Any]]:
    """Yield all records of the topics, up to their current ends."""
    async with AIOKafkaConsumer(
        bootstrap_servers=kafka, max_partition_fetch_bytes=4 << 20, fetch_max_wait_ms=50
    ) as consumer:
        cluster = await consumer._client.fetch_all_metadata()
        partitions = [
            TopicPartition(topic, number)
            for topic in topics
            for number in cluster.partitions_for_topic(topic)
        ]
        ends = await consumer.end_offsets(partitions)
        consumer.assign(partitions)
        await consumer.seek_to_beginning()
        remaining = {tp for tp in partitions if ends[tp]}
        while remaining:
            for records in (await consumer.getmany(timeout_ms=500)).values():
                for record in records:
                    yield record
            remaining = {tp for tp in remaining if await consumer.position(tp) < ends[tp]}


def stored_bodies(client: Client, table: str) -> set[Digest]:
    """Return the digests of all bodies in a table of ClickHouse."""
    rows: bytes = client.raw_query(f"SELECT DISTINCT MD5(body) FROM {table}", fmt="RowBinary")
    return {rows[start : start + DIGEST_BYTES] for start in range(0, len(rows), DIGEST_BYTES)}


def read_messages(client: Client) -> Iterator[tuple[bytes, bytes]]:
    """Yield key and encoded message of each row of ClickHouse's view `messages`."""
    for row in _read_rows(client, "messages"):
        message = convert({name: value for name, value in row.items() if value is not None}, Message)
        yield f"{message.account}/{message.message_id}".encode(), encode_message(message)


def read_contacts(client: Client) -> Iterator[tuple[bytes, bytes]]:
    """Yield key and encoded contact of each row of ClickHouse's view `contacts`."""
    for row in _read_rows(client, "contacts"):
        contact = convert(row, Contact)
        yield contact_key(contact.account, contact.number), encode_contact(contact)


def _read_rows(client: Client, view: str) -> Iterator[dict[str, Any]]:
    with client.raw_stream(f"SELECT * FROM {view}", fmt="JSONEachRow", settings=ISO) as stream:
        yield from map(json.decode, stream)
