"""Keys of the topic `messages` that ClickHouse has no message for.

ClickHouse's keys of some partitions are held in memory, and those partitions are read past them. What was a
tombstone once was a state before, so it counts like one. A record that ClickHouse refused is in `rejected`,
with its key.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from zlib import crc32

from aiokafka import TopicPartition

from console.records import Records
from console.rows import Ask, read_lines
from streams.message import MESSAGES

#: Keys in memory at a time: about 120 bytes each.
TOGETHER = 3_000_000
#: Missing keys that are remembered; there may be more.
REMEMBERED = 1_000_000

#: As the topic's keys are made (`gateway.postback.key_of`), and as Kafka's clients choose a partition.
_KEY = "concat(account, '/', toString(message_id))"
PARTITION = "bitAnd(kafkaMurmurHash(key), 0x7fffffff) % {of}"


@dataclass(frozen=True)
class Pass:
    """What is compared at a time: the keys of some partitions, or one share of those of a single one."""

    partitions: tuple[int, ...]
    share: int = 0
    shares: int = 1

    def has(self, key: bytes) -> bool:
        return self.shares == 1 or crc32(key) % self.shares == self.share


@dataclass
class MissingKeys:
    """How many records were looked at, and keys that ClickHouse does not know, REMEMBERED or a few more."""

    records: int = 0
    missing: set[bytes] = field(default_factory=set)


def passes_over(partitions: int, keys: int, together: int = TOGETHER) -> list[Pass]:
    """How to compare so many keys, spread over the partitions, with so many in memory at a time."""
    needed = max(1, -(-keys // together))
    if needed <= partitions:
        size = partitions // needed
        return [
            Pass(tuple(range(start, min(start + size, partitions)))) for start in range(0, partitions, size)
        ]
    shares = -(-needed // partitions)
    return [Pass((number,), share, shares) for number in range(partitions) for share in range(shares)]


def count_keys(ask: Ask) -> int:
    """About how many messages ClickHouse has."""
    (line,) = read_lines(ask, "SELECT uniq(account, message_id) FROM message_states")
    return int(line)


def stored_keys(ask: Ask, compared: Pass, partitions: int) -> set[bytes]:
    """ClickHouse's keys of that pass, out of so many partitions."""
    places = ",".join(map(str, compared.partitions))
    share = f" AND CRC32(key) % {compared.shares} = {compared.share}" if compared.shares > 1 else ""
    where = f"{PARTITION.format(of=partitions)} IN ({places}){share}"
    query = (
        f"SELECT DISTINCT {_KEY} AS key FROM message_states WHERE {where} UNION ALL "
        f"SELECT key FROM rejected WHERE stage = 'sinks' AND topic = '{MESSAGES}' AND {where}"
    )
    return set(read_lines(ask, query))


async def find_missing(
    ask: Ask, records: Records, ranges: Mapping[int, range], since_ms: int, done: Callable[[int], None]
) -> MissingKeys:
    """Compare the keys at these offsets of each partition, as far as their records are of that time or later.

    Raises:
        QueryFailed, KafkaAway: no answer.
    """
    found = MissingKeys()
    keys = await asyncio.to_thread(count_keys, ask)
    for compared in passes_over(len(ranges), keys) if ranges else ():
        wanted = {TopicPartition(MESSAGES, number): ranges[number] for number in compared.partitions}
        if not any(wanted.values()):
            continue
        known = await asyncio.to_thread(stored_keys, ask, compared, len(ranges))
        async for _, fetched, _ in records.read(wanted):
            if len(found.missing) < REMEMBERED:
                found.missing |= {
                    record.key
                    for record in fetched
                    if record.key
                    and record.key not in known
                    and record.timestamp >= since_ms
                    and compared.has(record.key)
                }
            found.records += len(fetched)
            done(len(fetched))
    return found
