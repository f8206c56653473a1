"""Computes states from changelog records, by joining all records of a key instead of trusting the last.

A worker that lost its partitions without noticing may append a state that is older than the one before it.
Joining makes their order irrelevant. A key is stale if its last record contains less than the join, and must
be rewritten. A tombstone ends a key: later records start a new state.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from msgspec import DecodeError

from streams.state.spec import Join
from streams.state.store import FIRST_KEY

log = structlog.get_logger(__name__)

#: Records per read of a slice; bounds the memory.
MAX_RECORDS = 20_000
READ_TIMEOUT_MS = 1000


class Restored(NamedTuple):
    """The state of each key after the records, and the stale keys among them."""

    values: dict[bytes, bytes | None]
    stale: set[bytes]


def keyed(records: Iterable[Any]) -> list[tuple[bytes, bytes | None]]:
    """The keys and values of Kafka's records. Those whose key no state can have are logged and skipped."""
    pairs = []
    for record in records:
        if record.key is None or record.key < FIRST_KEY:
            log.error("Skipping changelog record with invalid key", offset=record.offset)
        else:
            pairs.append((record.key, record.value))
    return pairs


def restore(
    join: Join, records: Iterable[tuple[bytes, bytes | None]], known: Mapping[bytes, bytes | None]
) -> Restored:
    """Apply records that follow `known` in the log. Undecodable records are logged and skipped.

    Raises:
        NewerVersion: a record's format is newer than this code.
    """
    by_key: dict[bytes, list[bytes | None]] = {}
    for key, value in records:
        by_key.setdefault(key, []).append(value)
    values = {key: _fold(join, key, known.get(key), values) for key, values in by_key.items()}
    return Restored(values, {key for key, value in values.items() if value != by_key[key][-1]})


def merge_foreign(
    join: Join, records: Iterable[tuple[bytes, bytes | None]], known: Mapping[bytes, bytes | None]
) -> Restored:
    """Merge records that other workers wrote between ours.

    Unlike in `restore`, `known` is newer than the records: a tombstone among them does not end a known state.

    Raises:
        NewerVersion: a record's format is newer than this code.
    """
    foreign = list(records)
    last = dict(foreign)
    values = {
        key: _fold(join, key, value, [known[key]]) if known.get(key) is not None else value
        for key, value in restore(join, foreign, {}).values.items()
    }
    return Restored(values, {key for key, value in values.items() if value != last[key]})


def _fold(join: Join, key: bytes, state: bytes | None, values: Sequence[bytes | None]) -> bytes | None:
    for value in values:
        if value is None:
            state = None
        elif value != state:
            try:
                state = join(state, value)
            except DecodeError as error:
                log.error(
                    "Skipping undecodable changelog record",
                    key=key.decode(errors="replace"),
                    reason=str(error),
                )
    return state


class ChangelogSlice(NamedTuple):
    """Keys and values of the records before offset `end`."""

    records: list[tuple[bytes, bytes | None]]
    end: int


async def read_slice(options: Mapping[str, Any], topic: str, partition: int, start: int) -> ChangelogSlice:
    """Read up to MAX_RECORDS from offset `start` on, with a consumer of its own.

    Args:
        options: of aiokafka's clients (`runtime.kafka.client_options`).

    Raises:
        KafkaError: the brokers are unavailable.
    """
    tp = TopicPartition(topic, partition)
    consumer = AIOKafkaConsumer(**options, enable_auto_commit=False, auto_offset_reset="earliest")
    await consumer.start()
    try:
        consumer.assign([tp])
        consumer.seek(tp, start)
        fetched = await consumer.getmany(tp, timeout_ms=READ_TIMEOUT_MS, max_records=MAX_RECORDS)
        return ChangelogSlice(keyed(fetched.get(tp, [])), await consumer.position(tp))
    finally:
        await consumer.stop()
