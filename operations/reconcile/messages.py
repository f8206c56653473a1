"""Keys of the topic `messages` that ClickHouse has no message for.

ClickHouse's keys of some partitions are held in memory, and those partitions are read past them. Held are
those of messages that something was heard of lately; a key that is not among them is looked up before it is
called missing. What is a tombstone was a state before, so it counts like one. A record that ClickHouse
refused is in `rejected`, with its key.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice
from zlib import crc32

from aiokafka import TopicPartition

from gateway.parsing.fields import read_guid
from operations.rows import Query, read_lines, text, time
from runtime.kafka.reader import Records
from streams.message import MESSAGES

#: Keys in memory at a time: about 120 bytes each.
TOGETHER = 3_000_000
#: Missing keys that are remembered (there may be more), and that are looked up at a time.
REMEMBERED, LOOKED_UP = 1_000_000, 10_000
#: How long before its last state a message was usually heard of last: it was marked overdue, or healed.
SILENCE = timedelta(days=7)

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


def count_keys(ask: Query, heard_since: datetime) -> int:
    """About how many messages ClickHouse has that something was heard of since then."""
    (line,) = read_lines(
        ask, f"SELECT uniq(account, message_id) FROM message_states WHERE last_seen_at >= {time(heard_since)}"
    )
    return int(line)


def stored_keys(ask: Query, compared: Pass, partitions: int, heard_since: datetime) -> set[bytes]:
    """ClickHouse's keys of that pass, out of so many partitions."""
    places = ",".join(map(str, compared.partitions))
    share = f" AND CRC32(key) % {compared.shares} = {compared.share}" if compared.shares > 1 else ""
    where = f"{PARTITION.format(of=partitions)} IN ({places}){share}"
    return set(
        read_lines(
            ask,
            f"SELECT DISTINCT {_KEY} AS key FROM message_states "
            f"WHERE last_seen_at >= {time(heard_since)} AND {where} UNION ALL "
            f"SELECT key FROM rejected WHERE stage = 'sinks' AND topic = '{MESSAGES}' AND {where}",
        )
    )


def not_stored(ask: Query, keys: set[bytes]) -> set[bytes]:
    """Those of the keys that ClickHouse has no state of at all."""
    missing = set(keys)
    asked = iter(keys)
    while some := list(islice(asked, LOOKED_UP)):
        ids = {key.rpartition(b"/")[2].decode(errors="replace") for key in some}
        guids = ",".join(text(guid) for guid in ids if read_guid(guid) == guid)
        if guids:
            query = f"SELECT DISTINCT {_KEY} FROM message_states WHERE message_id IN ({guids})"
            missing.difference_update(read_lines(ask, query))
    return missing


async def find_missing(
    ask: Query, records: Records, ranges: Mapping[int, range], since: datetime, done: Callable[[int], None]
) -> MissingKeys:
    """Compare the keys at these offsets of each partition, as far as their records are of that time or later.

    Raises:
        QueryFailed, KafkaAway: no answer.
    """
    found = MissingKeys()
    since_ms, heard_since = int(since.timestamp() * 1000), since - SILENCE
    keys = await asyncio.to_thread(count_keys, ask, heard_since)
    for compared in passes_over(len(ranges), keys) if ranges else ():
        wanted = {TopicPartition(MESSAGES, number): ranges[number] for number in compared.partitions}
        if not any(wanted.values()):
            continue
        known = await asyncio.to_thread(stored_keys, ask, compared, len(ranges), heard_since)
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
    found.missing = await asyncio.to_thread(not_stored, ask, found.missing)
    return found
