"""Compares what was acknowledged with what Kafka and ClickHouse have, and both with the plain fold.

Lost: a postback got a 2xx, and its event is not in ClickHouse. Doubled: an exact count is off, that is,
ClickHouse counts an event or a record that Kafka does not have, or counts fewer. Wrong: a message is not
what the fold over the postbacks in Kafka says.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import clickhouse_connect
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from clickhouse_connect.driver.client import Client
from msgspec import convert, json

from gateway.postback import POSTBACK_TOPICS, decode
from streams.message import MESSAGES, Message, decode_message, encode_message, join, merge

ISO = {"date_time_output_format": "iso", "output_format_json_quote_64bit_integers": 0}


@dataclass
class Verdict:
    """What was found; `lost`, `doubled` and `wrong` hold event ids or keys, and must be empty."""

    records: int = 0
    events: int = 0
    messages: int = 0
    #: Records of `messages` whose last one is not the whole state: a zombie's, healed by joining.
    stale: int = 0
    lost: set[str] = field(default_factory=set)
    doubled: set[str] = field(default_factory=set)
    wrong: dict[str, str] = field(default_factory=dict)

    @property
    def good(self) -> bool:
        return not (self.lost or self.doubled or self.wrong)


async def judge(kafka: str, clickhouse: str, acknowledged: set[str], attempted: set[str]) -> Verdict:
    """Read everything there is, once nothing moves any more.

    Args:
        acknowledged: event ids of the postbacks that got a 2xx.
        attempted: event ids of all that were posted, answered or not.
    """
    verdict = Verdict()
    events, folded = set[str](), dict[bytes, Message]()
    async for record in read(kafka, POSTBACK_TOPICS):
        postback = decode(record.topic, record.value)
        events.add(postback.event_id)
        folded[record.key] = merge(folded.get(record.key), postback)
        verdict.records += 1
    verdict.events, verdict.messages = len(events), len(folded)
    verdict.doubled |= {f"{event} in Kafka, never posted" for event in events - attempted}

    client = clickhouse_connect.get_client(dsn=clickhouse)
    stored = {str(event) for (event,) in client.query("SELECT DISTINCT event_id FROM postbacks").result_rows}
    verdict.lost = acknowledged - stored
    verdict.doubled |= {f"{event} in ClickHouse, not in Kafka" for event in stored - events}
    _count(client, verdict)

    joined, stale = await join_messages(kafka, folded)
    verdict.stale = stale
    _compare("Kafka", folded, joined, verdict)
    _compare("ClickHouse", folded, dict(read_messages(client)), verdict)
    return verdict


def _count(client: Client, verdict: Verdict) -> None:
    """The exact counts that people ask for, before and after the engine has merged its parts."""
    for moment in ("before merges", "after merges"):
        for what, query, expected in (
            ("records", "SELECT count() FROM postbacks FINAL", verdict.records),
            ("events", "SELECT count() FROM events", verdict.events),
            ("messages", "SELECT count() FROM messages", verdict.messages),
        ):
            if (counted := client.command(query)) != expected:
                verdict.doubled.add(f"{counted} {what} in ClickHouse {moment}, {expected} in Kafka")
        client.command("OPTIMIZE TABLE postbacks FINAL")
        client.command("OPTIMIZE TABLE message_states FINAL")


def _compare(
    where: str, want: Mapping[bytes, Message], got: Mapping[bytes, Message], verdict: Verdict
) -> None:
    for key in want.keys() | got.keys():
        expected, found = want.get(key), got.get(key)
        if expected is None or found is None or encode_message(expected) != encode_message(found):
            verdict.wrong[f"{where} {key.decode()}"] = f"{expected}\n  is {found}"


async def join_messages(kafka: str, folded: Mapping[bytes, Message]) -> tuple[dict[bytes, Message], int]:
    """The states in `messages` as readers should join them, and for how many keys the last one is stale."""
    joined: dict[bytes, Message] = {}
    last: dict[bytes, bytes | None] = {}
    async for record in read(kafka, [MESSAGES]):
        last[record.key] = record.value
        if record.value is None:
            joined.pop(record.key, None)
            continue
        state = decode_message(record.value)
        known = joined.get(record.key)
        joined[record.key] = state if known is None else join(known, state)
    stale = sum(key in last and last[key] != encode_message(state) for key, state in folded.items())
    return joined, stale


def read_messages(client: Client) -> Iterable[tuple[bytes, Message]]:
    """ClickHouse's `messages`, by Kafka's key."""
    with client.raw_stream("SELECT * FROM messages", fmt="JSONEachRow", settings=ISO) as stream:
        for line in stream:
            row = json.decode(line)
            message = convert({name: value for name, value in row.items() if value is not None}, Message)
            yield f"{message.account}/{message.message_id}".encode(), message


async def read(kafka: str, topics: Sequence[str]) -> AsyncIterator[ConsumerRecord[Any, Any]]:
    """Every record of the topics, from the first to the last there is now."""
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
        left = {tp for tp in partitions if ends[tp]}
        while left:
            for records in (await consumer.getmany(timeout_ms=500)).values():
                for record in records:
                    yield record
            left = {tp for tp in left if await consumer.position(tp) < ends[tp]}
