"""Keys of the topic `messages` that have no message in ClickHouse.

An anti-join in passes: load ClickHouse's keys of some partitions into memory, then stream those partitions
against them. Only keys of messages with recent events are loaded; any other key is looked up before it counts
as missing. A tombstone follows a state, so its key is expected, too. A state that ClickHouse refused is in
`rejected`, with its key.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from zlib import crc32

from aiokafka import TopicPartition

from gateway.parsing.values import read_guid
from gateway.postback import GUID
from operations.progress import Advance
from operations.rows import Query, read_lines, time
from runtime.batched import batched
from runtime.clickhouse.sql import quote
from runtime.kafka.reader import Records
from streams.message import MESSAGES

#: Keys in memory at a time, about 120 bytes each.
KEYS_PER_PASS = 3_000_000
#: Missing keys that are remembered (further ones are not counted), and keys in one lookup.
MAX_MISSING, LOOKUP_BATCH = 1_000_000, 10_000
#: How long a message's last state usually comes after its last event, at most: a state is also written when
#: the message becomes overdue, and when the changelog is repaired.
QUIET_PERIOD = timedelta(days=7)

#: The topic's key (as `gateway.postback.key_of`), and its partition as Kafka's clients choose it.
_KEY = "concat(account, '/', toString(message_id))"
PARTITION = "bitAnd(kafkaMurmurHash(key), 0x7fffffff) % {of}"


@dataclass(frozen=True)
class Pass:
    """The keys that are compared at a time: those of some partitions, or one share of a single one's."""

    partitions: tuple[int, ...]
    share: int = 0
    shares: int = 1

    def covers(self, key: bytes) -> bool:
        return self.shares == 1 or crc32(key) % self.shares == self.share


@dataclass
class MissingKeys:
    """How many records were checked, and the keys that ClickHouse lacks: MAX_MISSING or a few more."""

    records: int = 0
    missing: set[bytes] = field(default_factory=set)


def plan_passes(partitions: int, keys: int, keys_per_pass: int = KEYS_PER_PASS) -> list[Pass]:
    """Passes over `keys` keys, spread evenly over the partitions, that load `keys_per_pass` each."""
    needed = max(1, -(-keys // keys_per_pass))
    if needed <= partitions:
        size = partitions // needed
        return [
            Pass(tuple(range(start, min(start + size, partitions)))) for start in range(0, partitions, size)
        ]
    shares = -(-needed // partitions)
    return [Pass((number,), share, shares) for number in range(partitions) for share in range(shares)]


def count_keys(query: Query, active_since: datetime) -> int:
    """About how many messages in ClickHouse have had an event since then."""
    (line,) = read_lines(
        query,
        f"SELECT uniq(account, message_id) FROM message_states WHERE last_seen_at >= {time(active_since)}",
    )
    return int(line)


def load_keys(query: Query, keys: Pass, partitions: int, active_since: datetime) -> set[bytes]:
    """ClickHouse's keys of a pass over a topic of so many partitions."""
    numbers = ",".join(map(str, keys.partitions))
    share = f" AND CRC32(key) % {keys.shares} = {keys.share}" if keys.shares > 1 else ""
    where = f"{PARTITION.format(of=partitions)} IN ({numbers}){share}"
    return set(
        read_lines(
            query,
            f"SELECT DISTINCT {_KEY} AS key FROM message_states "
            f"WHERE last_seen_at >= {time(active_since)} AND {where} UNION ALL "
            f"SELECT key FROM rejected WHERE stage = 'sinks' AND topic = '{MESSAGES}' AND {where}",
        )
    )


def without_state(query: Query, keys: set[bytes]) -> set[bytes]:
    """The keys that have no state in ClickHouse at all."""
    missing = set(keys)
    for batch in batched(keys, LOOKUP_BATCH):
        ids = {key.rpartition(b"/")[2].decode(errors="replace") for key in batch}
        guids = ",".join(quote(guid) for guid in ids if read_guid(guid) == guid)
        if guids:
            sql = f"SELECT DISTINCT {_KEY} FROM message_states WHERE message_id IN ({guids})"
            missing.difference_update(read_lines(query, sql))
    return missing


async def find_missing(
    query: Query, records: Records, ranges: Mapping[int, range], since: datetime, advance: Advance
) -> MissingKeys:
    """Check the keys of the records at these offsets, by partition, whose timestamp is `since` or later.

    Keys that no message can have, of other producers' records, are not compared.

    Raises:
        QueryFailed, KafkaUnavailable: no answer.
    """
    result = MissingKeys()
    since_ms, active_since = int(since.timestamp() * 1000), since - QUIET_PERIOD
    count = await asyncio.to_thread(count_keys, query, active_since)
    for keys in plan_passes(len(ranges), count) if ranges else ():
        offsets = {TopicPartition(MESSAGES, number): ranges[number] for number in keys.partitions}
        if not any(offsets.values()):
            continue
        known = await asyncio.to_thread(load_keys, query, keys, len(ranges), active_since)
        async for _, batch, _ in records.read(offsets):
            if len(result.missing) < MAX_MISSING:
                result.missing |= {
                    record.key
                    for record in batch
                    if record.key
                    and record.key not in known
                    and record.timestamp >= since_ms
                    and keys.covers(record.key)
                    and _is_key(record.key)
                }
            result.records += len(batch)
            advance(len(batch))
    result.missing = await asyncio.to_thread(without_state, query, result.missing)
    return result


def _is_key(key: bytes) -> bool:
    """Whether a message can have this key, and the query result of `load_keys` contain it."""
    try:
        account, _, guid = key.decode().rpartition("/")
    except UnicodeDecodeError:
        return False
    return "\n" not in account and GUID.fullmatch(guid) is not None
